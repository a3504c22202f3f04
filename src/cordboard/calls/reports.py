"""What media nodes report: nodes that come and go, and what happens to legs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cordboard.calls.change import left_of
from cordboard.calls.config import record_calls
from cordboard.calls.flow_waiting import announces_waits
from cordboard.calls.state import UNHEARD, UNKNOWN, Call, Leg, Node, Phase, Role, Stage
from cordboard.errors import (
    DuplicateError,
    EventError,
    JournalError,
    LimitError,
    StaleEventError,
    UnknownNameError,
    Where,
)
from cordboard.media.backend import Cause

if TYPE_CHECKING:
    from cordboard.calls.switchboard import Switchboard

Event = dict[str, Any]

NODES_MAX = 1_000


class Reports:
    """The handlers of these events. Each first sees that its event fits, and then changes the switchboard."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self.handlers: dict[str, Callable[[Event], None]] = {
            "calls_changed": self._calls_changed,
            "node_attached": self._node_attached,
            "node_draining": self._node_draining,
            "node_lost": self._node_lost,
            "leg_incoming": self._leg_incoming,
            "leg_ringing": self._leg_ringing,
            "leg_answered": self._leg_answered,
            "leg_ended": self._leg_ended,
            "leg_key": self._leg_key,
            "leg_played": self._leg_played,
            "leg_recorded": self._leg_recorded,
            "leg_judged": self._leg_judged,
            "leg_heard": self._leg_heard,
            "leg_recognized": self._leg_recognized,
            "leg_refused": self._leg_refused,
        }

    def _calls_changed(self, event: Event) -> None:
        """Other settings: they hold from the next step of each call on. Calls that use what is gone go on with it; a
        campaign that is gone dials no more, and is paused if it comes back."""
        board = self._board
        told, bots = announces_waits(board.calls.flows), board.bots.named()
        try:
            calls = record_calls(event["calls"])
        except JournalError as error:
            raise EventError(error.what, error.where, error.hint) from error
        board.left = left_of(board.calls, board.left, calls, board.state)
        board.calls = calls
        board.state.campaigns = [name for name in board.state.campaigns if name in calls.campaigns]
        board.bots.index()
        board.leads.withdraw()
        if announces_waits(board.calls.flows) and not told:
            board.acd.learn_waits()  # from here on, whatever was learned before: a replay may know nothing of that
        board.bots.on_duty(bots)
        self._nail_up()
        for agent, leg in list(board.nailed.items()):
            phone = calls.phones.get(agent)
            if not leg.call and (phone is None or not phone.nailed_up):
                board.hang_up(leg)

    # ---- nodes

    def _node(self, event: Event) -> Node:
        node = self._board.state.nodes.get(event["node"])
        if node is None or not node.attached:
            what = f'media node "{event["node"]}" is not attached'
            raise UnknownNameError(what, Where(key="node"), "node_attached comes first")
        return node

    def _node_attached(self, event: Event) -> None:
        """A node is there, maybe again: make both sides the same."""
        board, name = self._board, event["node"]
        state = board.state
        if name not in state.nodes and len(state.nodes) >= NODES_MAX:
            self._forget_node()
        before = state.nodes.get(name)
        draining = before is not None and before.attached and before.draining
        state.nodes[name] = Node(name, event["capacity"], draining=draining)
        held = set(event["legs"])
        for leg in self._of(name):
            if leg.name in held:
                self._say_again(leg)
            elif leg.phase == Phase.DIALED:  # the command was lost
                self._dial_again(leg)
            else:
                self._end(leg, Cause.LOST)
        known = state.legs.keys() | set(event.get("coming", ()))
        for unknown in event["legs"]:
            if unknown not in known:
                board.say(name, "leg_hang_up", leg=unknown, cause=Cause.NORMAL.value)
        self._say_audio_again(name, held)
        self._nail_up()
        board.bots.on_duty()

    def _nail_up(self) -> None:
        """Bring up the permanent legs of those who are ready."""
        board = self._board
        for phone in board.calls.phones:
            if phone in board.agents and board.acd.agent_state(phone)["presence"] == "ready":
                board.nail_up(phone)

    def _forget_node(self) -> None:
        """Make room for another one: the first that was lost and never came back. Machines that come and go have a new
        name each time."""
        state = self._board.state
        used = {leg.node for leg in state.legs.values()}
        gone = next((one.name for one in state.nodes.values() if not one.attached and one.name not in used), None)
        if gone is None:
            raise LimitError("too many media nodes", NODES_MAX, "Shard the center")
        del state.nodes[gone]

    def _dial_again(self, leg: Leg) -> None:
        """Under another name: should the first command get there after all, it is followed by its end."""
        board = self._board
        call, role, mode, dial = board.state.calls.get(leg.call), leg.role, leg.mode, leg.dial
        if call is not None and call.stage == Stage.DIALING:  # whether a phone rang is not known
            board.dialing.decide(call, Cause.LOST.value)
            board.end_call(call)
            return
        consult = call is not None and call.consult == leg.name
        board.hang_up(leg)
        who = {"person": dial["phone"]} if "phone" in dial else {"number": dial["number"]}
        new = board.dial(leg.node, Role(role), call, caller=dial["caller"], ring_s=dial["ring_s"], **who)
        new.mode = mode
        if call is not None and consult:
            call.consult = new.name

    def _say_again(self, leg: Leg) -> None:
        """What the node may not have been told about a leg that it holds."""
        if leg.phase == Phase.CLOSING:
            self._board.say(leg.node, "leg_hang_up", leg=leg.name, cause=Cause.NORMAL.value)
        elif leg.phase == Phase.INCOMING:
            self._board.say(leg.node, "leg_answer", leg=leg.name)

    def _say_audio_again(self, node: str, held: set[str]) -> None:
        """Who hears whom and what is played, as if nothing of it had been said."""
        board = self._board
        for leg in board.state.legs.values():
            if leg.node == node and leg.name in held and leg.phase == Phase.UP:
                board.say(node, "leg_disconnect", source="", sink=leg.name)
                if leg.call:
                    leg.heard, leg.play, leg.listens = [], UNKNOWN, UNHEARD
                else:
                    board.say(node, "leg_stop", leg=leg.name)
        for call in [call for call in board.state.calls.values() if call.node == node]:
            board.settle(call)
            if call.stage == Stage.LISTENING:
                board.dialing.listen(call)
            if call.recording:
                board.tapes.say(call)
                board.say(node, "leg_pause_recording", recording=call.recording, on=call.paused)

    def _node_draining(self, event: Event) -> None:
        """No new calls for a node, or again. Phones at rest there come up on another one."""
        board, node = self._board, self._node(event)
        node.draining = event["on"]
        resting = [leg for leg in self._of(node.name) if leg.nailed and not leg.call and leg.phase != Phase.CLOSING]
        for leg in resting if node.draining else ():
            board.hang_up(leg)
            if leg.person in board.agents and board.acd.agent_state(leg.person)["presence"] == "ready":
                board.nail_up(leg.person)

    def _node_lost(self, event: Event) -> None:
        node = self._node(event)
        node.attached = False
        for leg in self._of(node.name):
            self._end(leg, Cause.LOST)
        self._board.bots.on_duty()

    def _of(self, node: str) -> list[Leg]:
        """The legs of a node. What the routing decides when they end is carried out after the last of them."""
        return [leg for leg in self._board.state.legs.values() if leg.node == node]

    # ---- legs

    def leg(self, event: Event) -> Leg:
        """The leg that a report speaks of."""
        self._node(event)
        leg = self._board.state.legs.get(event["leg"])
        if leg is None or leg.node != event["node"]:
            what = f'media node "{event["node"]}" has no leg "{event["leg"]}"'
            raise StaleEventError(what, Where(key="leg"), "It has ended, or its beginning was not reported")
        return leg

    def _leg_incoming(self, event: Event) -> None:
        board = self._board
        node = self._node(event)
        if event["leg"] in board.state.legs or event["leg"] in board.state.calls:
            what = f'"{event["leg"]}" is the name of another leg'
            raise DuplicateError(what, Where(key="leg"), "Give each a name of its own")
        leg = Leg(event["leg"], node.name, Role.CALLER, Phase.INCOMING)
        board.add(leg)
        number = board.calls.numbers.get(event["to"])
        if number is None or node.draining or len(board.state.calls) >= board.calls.max_calls:
            board.hang_up(leg, Cause.INVALID if number is None else Cause.CONGESTION)
            return
        leg.call = leg.name
        caller = event.get("caller", "")
        board.state.calls[leg.name] = Call(
            leg.name, node.name, Stage.OPENING, event["to"], caller, number.queue, legs=[leg.name]
        )
        board.say(node.name, "leg_answer", leg=leg.name)

    def _leg_ringing(self, event: Event) -> None:
        leg = self.leg(event)
        if leg.phase == Phase.DIALED:
            leg.phase = Phase.RINGING
            self._board.dialing.rings(leg)
        if event.get("early"):
            leg.early = True
            self._board.dialing.sends_early(leg)
        call = self._board.state.calls.get(leg.call)
        if call is not None and leg.role in (Role.CALLER, Role.PARTY):
            self._board.settle(call)  # an agent for whom it rings hears that

    def _leg_answered(self, event: Event) -> None:
        board, leg = self._board, self.leg(event)
        call = board.state.calls.get(leg.call)
        if leg.phase == Phase.CLOSING and call is not None and call.stage == Stage.DIALING:
            board.dialing.answered_late(call)
            return
        if leg.phase in (Phase.UP, Phase.CLOSING):
            what = f'leg "{leg.name}" is {"answered" if leg.phase == Phase.UP else "being hung up"} already'
            raise StaleEventError(what, Where(key="leg"), "It came too late, or twice")
        leg.phase = Phase.UP
        if call is None:
            return  # a nailed-up phone comes to rest
        if call.stage == Stage.PHONING:
            board.leads.phoned(call)
            return
        if call.stage == Stage.DIALING:
            board.dialing.answered(call)
            return
        if leg.role == Role.CALLER:
            if call.stage == Stage.CALLING_BACK:
                board.guide.backs.reached(call)
                return
            number = board.number_of(call)
            call.stage = Stage.GREETING
            if number is None or not number.greeting:
                self._greeted(call)
        elif leg.role == Role.AGENT and call.stage == Stage.WAITING:
            board.accept(call, leg)
            return
        elif call.stage == Stage.REACHING:
            call.stage = Stage.TALKING
        board.settle(call)

    def _greeted(self, call: Call) -> None:
        number = self._board.number_of(call)
        if number is not None and self._board.guide.known(number.flow) is not None:
            self._board.guide.start(call, number.flow)
            return
        priority = {"priority": number.priority} if number is not None and number.priority else {}
        self._board.queue(call, call.queue, **priority)

    def _leg_ended(self, event: Event) -> None:
        self._end(self.leg(event), Cause(event["cause"]))

    def _end(self, leg: Leg, cause: Cause) -> None:
        """A leg is over: its one end here."""
        board = self._board
        call = board.state.calls.get(leg.call)
        role = leg.role
        if call is not None:
            board.part(leg, speaks=False)
        if board.nailed.get(leg.person) is leg:
            del board.nailed[leg.person]
        board.drop(leg)
        if call is None:
            return
        if call.stage == Stage.TALKING:
            if not board.bots.lost(call, leg, cause):
                board.leave(call, leg)
        elif call.stage == Stage.CALLING_BACK:
            board.guide.backs.lost(call, leg, cause)
        elif call.stage == Stage.PHONING:
            board.end_call(call)
        elif role != Role.CALLER and call.stage == Stage.DIALING:
            board.dialing.agent_left(call)
        elif role == Role.CALLER and not board.guide.caller_gone(call):
            board.dialing.person_left(call, cause)
            board.end_call(call)
        elif role == Role.AGENT and call.contact:
            offered = board.acd.agent_state(leg.person)["offered"] if leg.person in board.agents else ()
            if call.contact in offered:
                board.tell("offer_declined", contact=call.contact, agent=leg.person)
                board.bots.failed(leg.person)
        elif role == Role.PARTY and call.stage == Stage.REACHING and not board.guide.not_reached(call):
            board.say_goodbye(call, board.sounds(call).expired)

    def _leg_key(self, event: Event) -> None:
        leg = self.leg(event)
        call = self._board.state.calls.get(leg.call)
        if call is not None and leg.role == Role.CALLER:
            self._board.guide.key(call, event["key"])

    def _leg_played(self, event: Event) -> None:
        leg = self.leg(event)
        call = self._board.state.calls.get(leg.call)
        if call is None or not event["whole"] or event["token"] != leg.play[2]:
            return
        if not self._board.tapes.heard(call, leg, whole=True):
            self._said(call, leg)

    def _said(self, call: Call, leg: Leg) -> None:
        """What was to be played once to a leg is over, or can't be played."""
        if leg.role != Role.CALLER:
            return
        if call.stage == Stage.GREETING:
            self._greeted(call)
        elif call.stage == Stage.GOODBYE:
            self._board.end_call(call)
        elif call.flow is not None and leg.play[2].startswith("say"):
            self._board.guide.said(call)

    def _leg_judged(self, event: Event) -> None:
        call = self._board.state.calls.get(self.leg(event).call)
        if call is not None:
            self._board.dialing.judged(call, event["machine"])

    def _leg_heard(self, event: Event) -> None:
        call = self._board.state.calls.get(self.leg(event).call)
        if call is not None:
            self._board.dialing.heard(call, event["sound"])

    def _leg_recognized(self, event: Event) -> None:
        leg = self.leg(event)
        call = self._board.state.calls.get(leg.call)
        if call is None or not leg.listens[0] or event["token"] != leg.listens[0]:
            raise StaleEventError("nobody listens to this any more", Where(key="token"), "It came too late")
        self._board.guide.recognized(call, event)

    def _leg_recorded(self, event: Event) -> None:
        self._node(event)
        self._board.guide.recorded(event)

    def _leg_refused(self, event: Event) -> None:
        """What can't be done must keep nobody for ever: a prompt that is not there, a leg that the node has not."""
        self._node(event)
        board = self._board
        leg, command = board.state.legs.get(event["name"]), event["command"]
        if leg is None:
            return
        call = board.state.calls.get(leg.call)
        if command == "Play" and call is not None and not leg.play[1]:
            if not board.tapes.heard(call, leg, whole=False):
                self._said(call, leg)
        elif command == "Listen" and call is not None:
            board.dialing.judged(call, None)
        elif command == "Answer" and call is not None and leg.phase == Phase.INCOMING:
            board.end_call(call)
        elif (command, leg.phase) in (("Dial", Phase.DIALED), ("HangUp", Phase.CLOSING)):
            self._end(leg, Cause.FAILED)
