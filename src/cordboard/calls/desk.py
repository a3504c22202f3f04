"""What people do with conversations: hold, mute, transfer, consult, conference, park, monitor, record.

Each is an event of the journal, so it is known who did what and when. What the audio is then follows from the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cordboard.calls.state import Call, Leg, Mode, Phase, Role, Stage
from cordboard.center import serves
from cordboard.errors import DuplicateError, EventError, StaleEventError, UnknownNameError, Where
from cordboard.journal import nearest

if TYPE_CHECKING:
    from cordboard.calls.switchboard import Switchboard

Event = dict[str, Any]


class Desk:
    """The handlers of these events. Each first sees that its event fits, and then changes the switchboard."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self.handlers: dict[str, Callable[[Event], None]] = {
            "call_held": self._held,
            "call_resumed": self._resumed,
            "call_muted": self._muted,
            "call_transferred": self._transferred,
            "call_consulted": self._consulted,
            "call_consult_ended": self._consult_ended,
            "call_parked": self._parked,
            "call_picked_up": self._picked_up,
            "call_monitored": self._monitored,
            "call_unmonitored": self._unmonitored,
            "call_taken_over": self._taken_over,
            "call_recording": self._recording,
        }

    # ---- what an event speaks of

    def _talk(self, event: Event) -> tuple[Call, Leg]:
        """The conversation of a contact, and its agent's leg."""
        call = self._board.by_contact.get(event["contact"])
        if call is None:
            what = f'contact "{event["contact"]}" is no call that is here'
            raise StaleEventError(what, Where(key="contact"), "It has ended, or it is not a call")
        if call.stage != Stage.TALKING:
            what = f'contact "{event["contact"]}" is not in conversation'
            raise EventError(what, Where(key="contact"), "An agent has to answer it first")
        return call, self._board.legs(call, Role.AGENT, call.agent)[0]

    def _others(self, call: Call) -> list[Leg]:
        """Who talks with the agent."""
        return [leg for leg in self._board.legs(call) if leg.role in (Role.CALLER, Role.PARTY)]

    def free(self, agent: str, key: str) -> None:
        """An agent who is to get a contact now can take one."""
        board = self._board
        if agent not in board.agents:
            raise UnknownNameError(f'there is no agent "{agent}"', Where(key=key), nearest(agent, board.agents))
        state = board.acd.agent_state(agent)["state"]
        if state != "ready":
            what = f'agent "{agent}" can\'t take a contact now: {state}'
            raise StaleEventError(what, Where(key=key), "Choose another one, or a queue")

    def eligible(self, call: Call, agent: str) -> bool:
        """Whether the routing would give a contact like this to an agent who is free, or on the call already."""
        rows = self._board.acd.eligibility(call.contact)
        return any(row["agent"] == agent and row["filter"] in (None, "engaged") for row in rows)

    def _serves(self, agent: str, queue: str) -> bool:
        """Whether an agent is in a queue."""
        center = self._board.acd.center
        found = next(one for one in center.agents if one.name == agent)
        return any(one.name == queue and serves(found, one) for one in center.queues)

    def _phone(self, person: str, key: str) -> None:
        phones = self._board.calls.phones
        if person not in phones:
            raise UnknownNameError(f'"{person}" has no phone', Where(key=key), nearest(person, phones))

    def _one_target(self, event: Event, *keys: str) -> str:
        given = [key for key in keys if key in event]
        if len(given) != 1:
            raise EventError("one target is needed", Where(key=keys[0]), "Give exactly one of " + ", ".join(keys))
        if given[0] == "to_number" and not self._board.calls.trunks:
            raise EventError("there is no trunk", Where(key="to_number"), "Put one into the file of calls")
        return given[0]

    # ---- hold and mute

    def _held(self, event: Event) -> None:
        call, _ = self._talk(event)
        if call.consult or all(leg.held for leg in self._others(call)):
            raise StaleEventError("it is on hold already", Where(key="contact"), "call_resumed ends it")
        self._hold(call, True)

    def _resumed(self, event: Event) -> None:
        call, _ = self._talk(event)
        if call.consult or not any(leg.held for leg in self._others(call)):
            raise StaleEventError("it is not on hold", Where(key="contact"), "call_consult_ended ends a consultation")
        self._hold(call, False)

    def _hold(self, call: Call, on: bool) -> None:
        for leg in self._others(call):
            leg.held = on and leg.name != call.consult
        self._board.settle(call)

    def _muted(self, event: Event) -> None:
        call, agent = self._talk(event)
        agent.muted = event["on"]
        self._board.settle(call)

    # ---- transfer

    def _transferred(self, event: Event) -> None:
        """Without asking before: the agent's part ends now."""
        board = self._board
        key = self._one_target(event, "to_queue", "to_agent", "to_number")
        call, agent = self._talk(event)
        target = event[key]
        if key == "to_queue" and target not in board.timeouts:
            raise UnknownNameError(f'there is no queue "{target}"', Where(key=key), nearest(target, board.timeouts))
        if key == "to_agent":
            self.free(target, key)
            if not self.eligible(call, target):
                what = f'agent "{target}" may not get contacts of queue "{call.queue}"'
                raise EventError(what, Where(key=key), "Transfer it to a queue of this agent")
        if board.state.legs[call.legs[0]].role != Role.CALLER:
            raise StaleEventError("the caller is gone", Where(key="contact"), "Nobody is left to be transferred")
        self.let_go(call, agent)
        self._hold(call, False)
        if key == "to_number":
            call.stage = Stage.REACHING
            board.dial(call.node, Role.PARTY, call, caller=call.caller, ring_s=board.calls.ring, number=target)
            board.settle(call)
            return
        fields = {"priority": event["priority"]} if "priority" in event else {}
        if key == "to_agent":
            fields["preferred_agent"] = target
        board.queue(call, target if key == "to_queue" else call.queue, **fields)

    def let_go(self, call: Call, agent: Leg | None) -> None:
        """The agent's part in a call ends; who was brought in by the agent goes too, and its recording ends."""
        board = self._board
        board.end_contact(call)
        board.stop_recording(call)
        if agent is not None:
            board.release(agent)
        for leg in board.legs(call):
            if leg.role != Role.CALLER:
                board.release(leg)
        call.consult = ""

    def _consulted(self, event: Event) -> None:
        """The agent asks somebody while the others are on hold."""
        board = self._board
        key = self._one_target(event, "to_agent", "to_number")
        call, _ = self._talk(event)
        if call.consult:
            raise StaleEventError("somebody is being asked already", Where(key="contact"), "call_consult_ended ends it")
        target = event[key]
        if key == "to_agent":
            self.free(target, key)
            self._phone(target, key)
            nailed = board.nailed.get(target)
            if nailed is not None:
                self._ask_nailed(call, nailed)
                return
        for leg in self._others(call):
            leg.held = True
        who = {"person" if key == "to_agent" else "number": target}
        call.consult = board.dial(call.node, Role.PARTY, call, caller=call.caller, ring_s=board.calls.ring, **who).name
        board.settle(call)

    def _ask_nailed(self, call: Call, leg: Leg) -> None:
        if leg.call or leg.node != call.node or leg.phase != Phase.UP:
            what = f'agent "{leg.person}" can\'t take a contact now: its phone is not ready'
            raise StaleEventError(what, Where(key="to_agent"), "Choose another one, or a queue")
        for other in self._others(call):
            other.held = True
        leg.call, leg.role, call.consult = call.name, Role.PARTY, leg.name
        call.legs.append(leg.name)
        self._board.beside(leg)
        self._board.settle(call)

    def _consult_ended(self, event: Event) -> None:
        board = self._board
        call, agent = self._talk(event)
        asked = board.state.legs.get(call.consult)
        if asked is None:
            raise StaleEventError("nobody is being asked", Where(key="contact"), "call_consulted comes first")
        outcome = event["outcome"]
        if outcome == "cancel":
            board.leave(call, asked)
            return
        if asked.phase != Phase.UP:
            raise EventError("who is asked has not answered", Where(key="outcome"), "Cancel it, or wait")
        if outcome == "conference":
            call.consult = ""
            self._hold(call, False)
        else:
            self._hand_over(call, agent, asked)

    def _hand_over(self, call: Call, agent: Leg, to: Leg) -> None:
        """Somebody who is in the call takes the agent's place: as an agent whose contact it is then, if the routing
        would give it to that one, else without."""
        board = self._board
        eligible = to.person in board.agents and self.eligible(call, to.person)
        caller = board.state.legs[call.legs[0]].role == Role.CALLER
        recorded = bool(call.recording)
        board.stop_recording(call)
        board.end_contact(call)
        call.consult = ""
        board.release(agent)
        to.role, to.mode = Role.PARTY, ""
        self._hold(call, False)
        if eligible and caller:
            self._make_contact(call, to.person)
        elif len(self._others(call)) < 2:
            board.end_call(call)
        elif recorded:
            board.record(call, [call.legs[0], to.name])

    def join(self, call: Call, agent: str) -> None:
        """Who was called for an agent has answered."""
        if call.queue in self._board.timeouts:
            self._make_contact(call, agent)
        else:  # the center has changed
            call.stage = Stage.TALKING
            self._board.settle(call)

    def _make_contact(self, call: Call, agent: str) -> None:
        """What an agent who is on the call already goes on with is a contact of this agent, if the routing agrees."""
        board = self._board
        board.queue(call, call.queue, preferred_agent=agent, handed_over=True)
        waits = board.by_contact.get(call.contact) is call
        if waits and call.contact not in board.acd.agent_state(agent)["offered"]:
            board.end_contact(call)
            call.stage = Stage.TALKING
            board.settle(call)

    # ---- park

    def _parked(self, event: Event) -> None:
        board = self._board
        call, agent = self._talk(event)
        if any(other.slot == event["slot"] for other in board.state.calls.values()):
            what = f'somebody is parked in "{event["slot"]}" already'
            raise DuplicateError(what, Where(key="slot"), "Choose another slot")
        if board.state.legs[call.legs[0]].role != Role.CALLER:
            raise StaleEventError("the caller is gone", Where(key="contact"), "Nobody is left to be transferred")
        self.let_go(call, agent)
        call.stage, call.slot = Stage.PARKED, event["slot"]
        self._hold(call, False)

    def _picked_up(self, event: Event) -> None:
        board = self._board
        call = next((call for call in board.state.calls.values() if call.slot == event["slot"]), None)
        if call is None:
            what = f'nobody is parked in "{event["slot"]}"'
            raise StaleEventError(what, Where(key="slot"), "The caller has hung up, or was picked up")
        self.free(event["agent"], "agent")
        if not self._serves(event["agent"], call.queue):
            what = f'agent "{event["agent"]}" may not get contacts of queue "{call.queue}"'
            raise EventError(what, Where(key="agent"), "Let an agent of that queue pick it up")
        call.slot = ""
        board.queue(call, call.queue, preferred_agent=event["agent"])

    # ---- supervisors

    def _watching(self, call: Call, supervisor: str) -> Leg | None:
        found = self._board.legs(call, Role.SUPERVISOR, supervisor)
        return found[0] if found else None

    def _monitored(self, event: Event) -> None:
        """A supervisor's phone joins, or changes what it does."""
        board = self._board
        call, _ = self._talk(event)
        self._phone(event["supervisor"], "supervisor")
        leg = self._watching(call, event["supervisor"])
        if leg is None:
            if any(leg.person == event["supervisor"] for leg in board.state.legs.values()):
                what = f'the phone of "{event["supervisor"]}" is in use'
                raise EventError(what, Where(key="supervisor"), "End its call first")
            who = event["supervisor"]
            leg = board.dial(call.node, Role.SUPERVISOR, call, caller=call.caller, ring_s=board.calls.ring, person=who)
        leg.mode = Mode(event["mode"])
        board.settle(call)

    def _supervisor(self, event: Event) -> tuple[Call, Leg, Leg]:
        call, agent = self._talk(event)
        leg = self._watching(call, event["supervisor"])
        if leg is None:
            what = f'"{event["supervisor"]}" does not monitor this call'
            raise StaleEventError(what, Where(key="supervisor"), "call_monitored comes first")
        return call, agent, leg

    def _unmonitored(self, event: Event) -> None:
        call, _, leg = self._supervisor(event)
        self._board.leave(call, leg)

    def _taken_over(self, event: Event) -> None:
        """The supervisor goes on in the agent's place."""
        call, agent, leg = self._supervisor(event)
        if leg.phase != Phase.UP:
            raise EventError("the supervisor has not answered", Where(key="supervisor"), "Wait")
        self._hand_over(call, agent, leg)

    # ---- recording

    def _recording(self, event: Event) -> None:
        """Pause for what must not be kept, or go on; where no rule says so, begin."""
        board = self._board
        call, agent = self._talk(event)
        if not call.recording:
            if not event["on"]:
                raise StaleEventError("it is not being recorded", Where(key="contact"), "There is nothing to pause")
            if call.consent:
                what = "what must be heard before it is recorded is not over"
                raise EventError(what, Where(key="contact"), "Then it is recorded by itself")
            board.record(call, [call.legs[0], agent.name])
        elif call.paused == event["on"]:
            call.paused = not event["on"]
            board.say(call.node, "leg_pause_recording", recording=call.recording, on=call.paused)
