"""The switchboard: which legs there are, who is connected to whom, and what the routing is told about it.

A :class:`Switchboard` holds an ``Acd`` and takes the events of routing and of calls (``cordboard.journal``: ``EVENTS``
and ``CALL_EVENTS``), one after the other; like the Acd it has no clock, and the same events give the same effects.
Beside the effects of routing it gives

- ``leg_…``: commands for media nodes, with the fields of ``cordboard.media.backend`` and the node;
- what it told the routing by itself, under the event's name: ``contact_queued``, ``offer_accepted``,
  ``contact_ended`` ... Whoever follows the routing takes them as the events that
  they are (``cordboard.journal.told``).

Within one event everything is carried out: when an agent's phone answers, the offer is accepted and both hear each
other. Who hears whom and what is played is never kept as steps but worked out of the state (``cordboard.calls.state``),
and what has changed is said; so it can be said again as a whole to a node that comes back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from cordboard.acd import Acd
from cordboard.calls import flow_hearing
from cordboard.calls.bots import Bots
from cordboard.calls.config import Calls, Number, QueueCalls
from cordboard.calls.desk import Desk
from cordboard.calls.dialing import Dialing
from cordboard.calls.flow_runner import Guide
from cordboard.calls.leads import Leads
from cordboard.calls.reports import Reports
from cordboard.calls.state import SILENT, Call, Leg, Phase, Play, Role, Stage, State, hears, plays
from cordboard.calls.tapes import Tapes
from cordboard.center import Center
from cordboard.errors import EventError, JournalError, LimitError, Where
from cordboard.journal import CALL_EVENTS, EVENTS, check_event, tick
from cordboard.media.backend import Cause

Event = dict[str, Any]
Effect = dict[str, Any]

OFFER_GRACE_S = 5.0  # a phone rings so much longer than its offer lasts: the offer expires first
BESIDE = (Role.PARTY, Role.SUPERVISOR)  # who is on a call that is not theirs for the routing
_ALL = EVENTS | CALL_EVENTS
_QUIET = QueueCalls()


def with_calls(engine: Acd | Switchboard) -> Switchboard:
    """The switchboard that goes on with an engine when the first event of calls comes."""
    return engine if isinstance(engine, Switchboard) else Switchboard(engine, Calls())


class Switchboard:
    """See above. ``acd`` and ``calls`` may be looked at, and are this one's to change."""

    def __init__(self, acd: Acd, calls: Calls, state: State | None = None, left: Calls | None = None) -> None:
        self.acd, self.calls = acd, calls
        self.left = left if left is not None else Calls()  # what calls use that the settings have no more
        self.state = state if state is not None else State()
        self.out: list[Effect] = []
        self._work: deque[Effect] = deque()
        self.dialing, self.guide, self.tapes = Dialing(self), Guide(self), Tapes(self)
        self.reports, self.desk, self.leads, self.bots = Reports(self), Desk(self), Leads(self), Bots(self)
        self._timed = (self.guide, self.leads, self.bots, self.dialing)
        parts = (self.reports, self.desk, self.dialing, self.leads, self.guide, self.bots)
        self._handlers: dict[str, Callable[[Event], None]] = {
            kind: handler for part in parts for kind, handler in part.handlers.items()
        }
        self._index()

    def _index(self) -> None:
        """What is found by name, from the state."""
        self.agents = frozenset(agent.name for agent in self.acd.center.agents)
        self.timeouts = {queue.name: queue.offer_timeout for queue in self.acd.center.queues}
        self.by_contact = {call.contact: call for call in self.state.calls.values() if call.contact}
        self.attempts = {(call.campaign, call.entry): call for call in self.state.calls.values() if call.campaign}
        self.held = Counter(leg.node for leg in self.state.legs.values())  # legs by node
        self._beside = {leg.person for leg in self.state.legs.values() if leg.role in BESIDE and leg.person}
        self._beside.update(self.state.leads)
        self.nailed = {leg.person: leg for leg in self.state.legs.values() if leg.nailed and leg.phase != Phase.CLOSING}
        self.guide.index()
        self.bots.index()
        self.leads.index()
        self.dialing.index()

    # ---- events

    def apply(self, event: Event, *, checked: bool = False) -> list[Effect]:
        """Take one event; the effects of the timers before it, and then its own.

        EventError if it can't be applied, LimitError at a bound: nothing has changed but time, see ``Acd.apply``.
        """
        if not checked:
            try:
                event = check_event(event, _ALL)
            except JournalError as error:
                raise EventError(error.what, error.where, error.hint) from None
        self.out = []
        try:
            self._fire(event["t"])
            kind = event["event"]
            handler = self._handlers.get(kind)
            if handler is None:
                self._routed(event)
            else:
                self._take(self.acd.advance(event["t"]))
                handler(event)
            self._work_off()
        except (EventError, LimitError) as error:
            error.effects = (*self.out, *error.effects)
            raise
        return self.out

    def advance(self, t: float) -> list[Effect]:
        """Bring the time to ``t`` (seconds); returns what the timers did."""
        return self.apply({"t": t, "event": "clock"})

    @property
    def now(self) -> float:
        """The time of the last event, seconds."""
        return self.acd.now

    def next_timer(self) -> float | None:
        """When something happens by itself next, seconds, or None."""
        dues = (self.acd.next_timer(), *(part.next_due() for part in self._timed))
        return min((due for due in dues if due is not None), default=None)

    def with_center(self, center: Center, t: float) -> tuple[Switchboard, list[Effect]]:
        """The same calls in another center from ``t`` on; see ``Acd.with_center``. Returns itself."""
        self.out = []
        self._fire(t)
        self.acd, effects = self.acd.with_center(center, t)
        self._index()
        self.leads.withdraw()
        self._take(effects)
        self._work_off()
        self.bots.on_duty()
        self._work_off()
        return self, self.out

    def _fire(self, t: float) -> None:
        """Timers, one after the other, so that what they do is carried out at their time."""
        due = self.next_timer()
        while due is not None and tick(due) <= tick(t):
            self._take(self.acd.advance(due))
            self._work_off()
            for part in self._timed:
                own = part.next_due()
                if own is not None and tick(own) <= tick(due):
                    part.fire()
                    self._work_off()
            due = self.next_timer()

    def _routed(self, event: Event) -> None:
        """An event of routing from outside: of a contact that is no call, of an agent, or on behalf of a call."""
        call = self.by_contact.get(event.get("contact", ""))
        if call is not None and event["event"] == "offer_accepted":
            what = f'contact "{call.contact}" is a call: it is accepted by answering the phone'
            raise EventError(what, Where(key="contact"), "Answer it")
        self._take(self.acd.apply(event, checked=True))
        kind = event["event"]
        if call is not None and kind in ("contact_left", "contact_ended"):
            self.forget_contact(call)
            self.say_goodbye(call, ())
        elif call is not None and kind == "offer_declined":
            for leg in self.legs(call, Role.AGENT, event["agent"]):
                self.release(leg)
        if "agent" in event and kind.startswith("agent_"):
            self.bots.set_by_people(event["agent"])
        if kind == "agent_ready":
            self.nail_up(event["agent"])
        elif kind in ("agent_away", "agent_offline"):
            self.leads.end(event["agent"], "agent_left")
        if kind == "agent_offline":
            nailed = self.nailed.get(event["agent"])
            if nailed is not None and not nailed.call:
                self.hang_up(nailed)

    def tell(self, kind: str, **fields: Any) -> None:
        """Tell the routing what has happened, now, and say so."""
        told = {"t": self.acd.now, **fields}
        effects = self.acd.apply({**told, "event": kind}, checked=True)
        self.out.append({"t": told.pop("t"), "effect": kind, **told})
        self._take(effects)

    def _take(self, effects: list[Effect]) -> None:
        self.out += effects
        self._work.extend(effects)

    def _work_off(self) -> None:
        """Carry out what the routing decided."""
        while self._work:
            effect = self._work.popleft()
            if effect["effect"] == "agent_away":
                self.bots.rest(effect["agent"])
            call = self.by_contact.get(effect.get("contact", ""))
            if call is None:
                continue
            kind = effect["effect"]
            if kind == "offer":
                self._offer(call, effect["agent"])
            elif kind in ("offer_withdrawn", "offer_expired"):
                for leg in self.legs(call, Role.AGENT, effect["agent"]):
                    if leg.person != call.agent:
                        self.release(leg)
            elif kind == "contact_expired" and effect["to"] is not None:
                call.queue = effect["to"]
                self.tapes.ask(call)
                self.settle(call)
            elif kind in ("contact_expired", "contact_rejected"):
                own = self.sounds(call)
                self.forget_contact(call)
                if not self.guide.unserved(call):
                    self.say_goodbye(call, own.full if kind == "contact_rejected" else own.expired)

        self._engage()

    # ---- offers and phones

    def beside(self, leg: Leg) -> None:
        """A leg joins a call, or leaves one: whoever is beside on a call can't be offered another one meanwhile."""
        if leg.role in BESIDE and leg.person:
            self.occupied(leg.person)

    def occupied(self, person: str) -> None:
        """Whether somebody can be offered a contact may be different from now on."""
        self._beside.add(person)

    def _engage(self) -> None:
        """Tell the routing which agents take part in calls that are not theirs, as far as that has changed."""
        while self._beside:
            person = min(self._beside)
            self._beside.remove(person)
            if person not in self.agents:
                continue
            legs = self.state.legs.values()
            wanted = any(leg.person == person and leg.role in BESIDE and leg.call for leg in legs)
            wanted = wanted or person in self.state.leads
            if wanted != self.acd.agent_state(person)["engaged"]:
                self.tell("agent_engaged" if wanted else "agent_released", agent=person)
                self._work_off()

    def _offer(self, call: Call, agent: str) -> None:
        """Reach the agent whom the contact is offered to."""
        if call.stage != Stage.WAITING or call.contact not in self.acd.agent_state(agent)["offered"]:
            return  # it is over already
        here = [leg for leg in self.legs(call, Role.PARTY, agent) if leg.phase == Phase.UP]
        if here:  # asked before, and now to take over
            here[0].role = Role.AGENT
            self.note("agent_released", agent=agent)  # the hand-over did it; for those who follow
            self.accept(call, here[0])
            return
        phone = self.calls.phones.get(agent)
        nailed = self.nailed.get(agent)
        node = call.node if call.legs else nailed.node if nailed is not None else self.node()  # none: a call-back
        if phone is None or node is None or (nailed is not None and nailed.call):
            self.tell("offer_declined", contact=call.contact, agent=agent)
            return
        call.node = node
        if nailed is not None and nailed.node != call.node:  # legs of a conversation are on one node
            self.hang_up(nailed)
            nailed = None
        if nailed is None:
            timeout = self.timeouts[call.queue]
            ring = timeout + OFFER_GRACE_S if timeout else self.calls.ring
            self.dial(call.node, Role.AGENT, call, person=agent, caller=call.caller, ring_s=ring)
            return
        nailed.call = call.name
        call.legs.append(nailed.name)
        if nailed.phase == Phase.UP:
            self.accept(call, nailed)

    def accept(self, call: Call, leg: Leg) -> None:
        call.stage, call.agent = Stage.TALKING, leg.person
        self.tell("offer_accepted", contact=call.contact, agent=leg.person)
        self.dialing.decide(call, "connected", agent=leg.person)
        self.guide.connected(call)
        if not self.guide.backs.accepted(call):
            self.converse(call, leg)

    def converse(self, call: Call, leg: Leg) -> None:
        """Caller and agent, whose leg it is, are both there."""
        call.stage = Stage.TALKING
        for other in self.legs(call):
            other.held = False
        self.tapes.begin(call)
        self.settle(call)

    def record(self, call: Call, legs: list[str]) -> None:
        self.state.recordings += 1
        call.recording, call.recorded, call.paused = f"r{self.state.recordings}", legs, False
        self.tapes.say(call)

    def stop_recording(self, call: Call) -> None:
        """The recording is complete, unless it has ended with its legs."""
        if call.recording and any(name in self.state.legs for name in call.recorded):
            self.say(call.node, "leg_stop_recording", recording=call.recording)
        call.recording, call.recorded, call.paused, call.consent = "", [], False, ()

    def nail_up(self, agent: str) -> None:
        """Bring up the leg of an agent who works on a permanent one."""
        phone = self.calls.phones.get(agent)
        node = self.node()
        if phone is not None and phone.nailed_up and agent not in self.nailed and node is not None:
            self.dial(node, Role.AGENT, None, person=agent, caller="", ring_s=self.calls.ring)

    def node(self) -> str | None:
        """The node for a leg that is free to choose: attached, not draining, with the smallest share of legs."""
        found = [node for node in self.state.nodes.values() if node.attached and not node.draining and node.capacity]
        held = self.held
        found = [node for node in found if held[node.name] < node.capacity]
        return min(found, key=lambda node: (held[node.name] / node.capacity, node.name)).name if found else None

    def dial(
        self,
        node: str,
        role: Role,
        call: Call | None,
        *,
        caller: str,
        ring_s: float,
        person: str = "",
        number: str = "",
        to: dict[str, str] | None = None,
    ) -> Leg:
        """Dial a phone of a person, a number over the first trunk, or an entry of a list: ``to``."""
        self.state.dialed += 1
        if to is None:
            to = {"phone": person} if person else {"number": number, "trunk": next(iter(self.calls.trunks))}
        shown = self.calls.trunks[to["trunk"]].caller or caller if "number" in to else caller
        dial = {**to, "caller": shown, "ring_s": ring_s, **self.bots.about(call, person)}
        leg = Leg(f"d{self.state.dialed}", node, role, Phase.DIALED, person=person, dial=dial)
        self.add(leg)
        if role == Role.AGENT and self.calls.phones[person].nailed_up:
            leg.nailed = True
            self.nailed[person] = leg
        if call is not None:
            leg.call = call.name
            call.legs.insert(0 if role == Role.CALLER else len(call.legs), leg.name)
            self.beside(leg)
        self.say(node, "leg_dial", leg=leg.name, **dial)
        return leg

    def add(self, leg: Leg) -> None:
        """A leg begins."""
        self.state.legs[leg.name] = leg
        self.held[leg.node] += 1
        self.state.entered += 1

    def drop(self, leg: Leg) -> None:
        """A leg is over."""
        del self.state.legs[leg.name]
        self.held[leg.node] -= 1
        self.state.ended += 1

    # ---- calls

    def legs(self, call: Call, role: Role | None = None, person: str | None = None) -> list[Leg]:
        found = [self.state.legs[name] for name in call.legs]
        return [leg for leg in found if role in (None, leg.role) and person in (None, leg.person)]

    def number_of(self, call: Call) -> Number | None:
        """The number by which a call came in, as it is, or was when it was taken away."""
        return self.calls.numbers.get(call.number) or self.left.numbers.get(call.number)

    def sounds(self, call: Call) -> QueueCalls:
        return self.calls.queues.get(call.queue, _QUIET)

    def queue(self, call: Call, queue: str, **fields: Any) -> None:
        """The caller waits from now on, as a contact of its own."""
        if queue not in self.timeouts:  # the center has changed
            self.end_call(call)
            return
        call.contacts += 1
        call.contact = call.name if call.contacts == 1 else f"{call.name}~{call.contacts}"
        call.stage, call.queue, call.agent = Stage.WAITING, queue, ""
        self.by_contact[call.contact] = call
        try:
            self.tell("contact_queued", contact=call.contact, queue=queue, **(self.bots.costs() | fields))
        except (EventError, LimitError):  # too many, or another contact of that name
            self.forget_contact(call)
            self.say_goodbye(call, ())
        else:
            self.tapes.ask(call)
            self.settle(call)

    def forget_contact(self, call: Call) -> None:
        self.by_contact.pop(call.contact, None)
        call.contact = call.agent = ""

    def end_contact(self, call: Call) -> None:
        """The contact of a call is over, for the routing; its legs stay."""
        if call.contact:
            contact, kind = call.contact, "contact_ended" if call.agent else "contact_left"
            self.forget_contact(call)
            self.tell(kind, contact=contact)

    def say_goodbye(self, call: Call, prompts: tuple[str, ...]) -> None:
        """Play a last announcement to the caller and hang up. Who was called by a campaign is never let go without."""
        self.dialing.decide(call, "dropped")
        if call.outcome == "dropped":
            prompts = self.dialing.message(call)
        caller = self.state.legs[call.legs[0]] if call.legs else None
        if not prompts or caller is None or caller.role != Role.CALLER or caller.phase != Phase.UP:
            self.end_call(call)
            return
        self.stop_recording(call)
        call.stage, call.goodbye = Stage.GOODBYE, prompts
        for leg in self.legs(call)[1:]:
            self.release(leg)
        caller.held = False
        self.settle(call)

    def end_call(self, call: Call, why: str = "hung_up") -> None:
        """End what is left of a call."""
        self.guide.ended(call, why)
        self.end_contact(call)
        self.stop_recording(call)
        for leg in self.legs(call):
            self.release(leg)
        self.dialing.over(call)
        del self.state.calls[call.name]

    def release(self, leg: Leg) -> None:
        """Take a leg out of its call: a nailed-up one comes to rest, the others are hung up."""
        phone = self.calls.phones.get(leg.person)
        stays = leg.nailed and phone is not None and phone.nailed_up and leg.person in self.agents
        stays = stays and not self.state.nodes[leg.node].draining
        if stays and self.acd.agent_state(leg.person)["presence"] != "offline":
            self.part(leg, speaks=True)
        else:
            self.hang_up(leg)

    def hang_up(self, leg: Leg, cause: Cause = Cause.NORMAL) -> None:
        """Hang up a leg; it is here until its node says that it has ended."""
        self.part(leg, speaks=False)
        if self.nailed.get(leg.person) is leg:
            del self.nailed[leg.person]
        self.close(leg, cause)

    def close(self, leg: Leg, cause: Cause = Cause.NORMAL) -> None:
        """Have a node hang up a leg. What is being called stays in its call meanwhile: it may be answered yet."""
        leg.phase = Phase.CLOSING
        self.say(leg.node, "leg_hang_up", leg=leg.name, cause=cause.value)

    def part(self, leg: Leg, speaks: bool) -> None:
        """Take a leg out of its call. ``speaks``: it stays up, so that its node must be told whom it hears no more."""
        call = self.state.calls.get(leg.call)
        self.beside(leg)
        if call is not None:
            call.legs.remove(leg.name)
        for other in self.legs(call) if call is not None else ():
            if leg.name in other.heard:
                other.heard.remove(leg.name)
                if speaks:
                    self.say(leg.node, "leg_disconnect", source=leg.name, sink=other.name)
        if speaks:
            for name in leg.heard:
                self.say(leg.node, "leg_disconnect", source=name, sink=leg.name)
            self._play(leg, SILENT)
        if leg.nailed:
            leg.role = Role.AGENT
        leg.call, leg.mode, leg.held, leg.muted, leg.heard, leg.play = "", "", False, False, [], SILENT

    def leave(self, call: Call, leg: Leg) -> None:
        """A leg of a conversation is gone, or is to go: what becomes of the others."""
        free = leg.name == call.consult or (leg.role == Role.AGENT and leg.person == call.agent)
        if leg.role == Role.AGENT and leg.person == call.agent:
            self.end_contact(call)
        if leg.name in call.legs:
            self.release(leg)
        parties = [one for one in self.legs(call) if one.role != Role.SUPERVISOR]
        if len(parties) < 2:
            if not self.guide.alone(call):
                self.end_call(call)
            return
        if free:  # whoever had them on hold is gone
            call.consult = ""
            for one in parties:
                one.held = False
        self.settle(call)

    # ---- audio

    def settle(self, call: Call) -> None:
        """Say what has changed of who hears whom and what is played."""
        number = self.number_of(call)
        greeting = number.greeting if number else ()
        legs = self.legs(call)
        wanted = {leg.name: hears(self.state, call, leg) for leg in legs}
        for leg in legs:
            for name in [name for name in leg.heard if name not in wanted[leg.name]]:
                self.say(call.node, "leg_disconnect", source=name, sink=leg.name)
        for leg in legs:
            self._play(leg, plays(self.state, call, leg, greeting, self.sounds(call).music, self.calls.hold))
        flow_hearing.settle(self, call)
        for leg in legs:
            for name in [name for name in wanted[leg.name] if name not in leg.heard]:
                self.say(call.node, "leg_connect", source=name, sink=leg.name)
            leg.heard = wanted[leg.name]

    def _play(self, leg: Leg, play: Play) -> None:
        if play == leg.play:
            return
        leg.play = play
        prompts, loop, token = play
        if prompts:
            self.say(leg.node, "leg_play", leg=leg.name, prompts=list(prompts), loop=loop, token=token)
        else:
            self.say(leg.node, "leg_stop", leg=leg.name)

    def say(self, node: str, effect: str, **fields: Any) -> None:
        """A command for a node."""
        self.note(effect, node=node, **fields)

    def note(self, effect: str, **fields: Any) -> None:
        """An effect that says what has happened."""
        self.out.append({"t": self.acd.now, "effect": effect, **fields})
