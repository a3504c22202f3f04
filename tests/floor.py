"""A floor for tests of calls: a switchboard, a simulated media node, and whoever is at their other ends, on one clock.

``Floor`` carries effects to the node and reports back (an entry of a campaign's list is its number), in order, as a live engine and its nodes do; ``journal`` keeps the
events, so that what happened can be replayed. After every event it checks :func:`conserved`.
"""

from __future__ import annotations

from typing import Any

from cordboard import Acd
from cordboard.calls.config import Calls, calls_record, parse_calls
from cordboard.calls.state import Phase, Role, Stage
from cordboard.calls.switchboard import Switchboard
from cordboard.calls.translate import commands_of, event_of
from cordboard.center import parse_center
from cordboard.errors import EventError
from cordboard.media.backend import Dial
from cordboard.media.simulated import FarEnd, SimulatedMedia

CENTER = """
[queues.billing]
offer_timeout = 20
wrap_up = 5
[agents.li]
[agents.wang]
"""
CALLS = """
[calls]
hold = ["hold"]
[numbers.4001]
queue = "billing"
greeting = ["welcome"]
[queues.billing]
music = ["music"]
expired = ["sorry"]
full = ["busy"]
[phones.li]
to = "sip:li"
[phones.wang]
to = "sip:wang"
[phones.boss]
to = "sip:boss"
[trunks.main]
caller = "4001"
"""
NODE = "n1"


def conserved(board: Switchboard) -> None:
    """Every leg and every contact is in one place, and counted."""
    state, acd = board.state, board.acd
    assert state.entered == state.ended + len(state.legs)
    members = [name for call in state.calls.values() for name in call.legs]
    assert sorted(members) == sorted(leg.name for leg in state.legs.values() if leg.call)
    counts = acd.counts()
    assert counts["entered"] == counts["waiting"] + counts["offered"] + counts["connected"] + counts["ended"]
    assert set(board.by_contact) == {call.contact for call in state.calls.values() if call.contact}
    for contact, call in board.by_contact.items():
        assert acd.queue_of(contact) == call.queue
    for call in state.calls.values():  # nobody waits for what does not come
        flow = call.flow
        if flow is not None and call.stage in (Stage.FLOW, Stage.RESTING):
            assert flow.due is not None or flow.says, call
            assert flow.due is None or flow.due >= board.now
    beside = {leg.person for leg in state.legs.values() if leg.call and leg.role in (Role.PARTY, Role.SUPERVISOR)}
    beside |= set(state.leads)
    for name, row in agents(board).items():
        assert row["engaged"] == (name in beside), name
        assert not (row["engaged"] and row["contacts"]), name  # nobody here has two voice contacts at once
    for leg in state.legs.values():
        assert leg.call or leg.phase == Phase.CLOSING or leg.nailed, leg
        assert not (leg.phase == Phase.CLOSING and leg.heard), leg
        if leg.phase == Phase.CLOSING and leg.call:  # of a campaign, cancelled: it may have been answered
            assert state.calls[leg.call].stage in (Stage.DIALING, Stage.GOODBYE) and leg.role == Role.CALLER, leg
        assert all(name in state.calls[leg.call].legs for name in leg.heard), leg
    for call in state.calls.values():
        waits_for_call_back = call.flow is not None and call.flow.back is not None
        assert (call.legs or waits_for_call_back) and all(state.legs[name].call == call.name for name in call.legs)
        assert all(state.legs[name].node == call.node for name in call.legs)
        assert bool(call.agent) <= bool(call.contact) and (call.stage != Stage.TALKING or len(call.legs) >= 2)
        if call.contact:
            held = [name for name, row in agents(board).items() if call.contact in row["contacts"]]
            if call.stage in (Stage.TALKING, Stage.CALLING_BACK):
                assert held == [call.agent]
                [leg] = [state.legs[n] for n in call.legs if state.legs[n].person == call.agent]
                assert (leg.role, leg.phase) == (Role.AGENT, Phase.UP)
            else:
                assert call.stage == Stage.WAITING and not call.agent


def agents(board: Switchboard) -> dict[str, Any]:
    found: dict[str, Any] = board.acd.state()["agents"]
    return found


class Floor:
    """See above. ``phones``: address -> FarEnd; people pick up at once where nothing is said."""

    def __init__(
        self,
        center: str = CENTER,
        calls: str = CALLS,
        phones: dict[str, FarEnd] | None = None,
        flows: dict[str, str] | None = None,
    ) -> None:
        self.center = parse_center(center)
        self.calls: Calls = parse_calls(calls, self.center, flows=flows)
        self.phones = phones if phones is not None else {}
        self.media = self.node()
        self.board = Switchboard(Acd(self.center), Calls())
        self.journal: list[dict[str, Any]] = []
        self.effects: list[dict[str, Any]] = []
        self.refused: list[EventError] = []
        self.callers = 0
        self.apply("calls_changed", calls=calls_record(self.calls))
        self.apply("node_attached", node=NODE, capacity=1000, legs=[])

    def node(self, now: float = 0.0) -> SimulatedMedia:
        """A media node that has just begun."""
        prompts = dict.fromkeys(("welcome", "sorry", "busy", "music", "hold", "told"), 3.0)
        prompts |= {f"{language}/{name}": seconds for name, seconds in prompts.items() for language in ("zh", "en")}
        return SimulatedMedia(self._phone, prompts=prompts, now=now)

    def _phone(self, dial: Dial) -> FarEnd:
        return self.phones.get(dial.to, FarEnd(rings=0.1, picks_up=1.0))

    def apply(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Let an event happen now. EventError goes through, after what the timers did was carried out."""
        event = {"t": round(max(self.media.now, self.board.now), 6), "event": kind, **fields}
        self.journal.append(event)
        try:
            effects = self.board.apply(event)
        except EventError as error:
            self._carry_out(error.effects)
            conserved(self.board)
            raise
        self._carry_out(effects)
        conserved(self.board)
        return effects

    def _carry_out(self, effects: Any) -> None:
        self.effects += effects
        self.media.send(commands_of(effects, NODE, self.calls, lambda campaign, entry: entry))

    def ready(self, *people: str) -> None:
        for agent in people:
            self.apply("agent_ready", agent=agent)

    def call(self, far: FarEnd | None = None, to: str = "4001", caller: str = "138") -> str:
        """Somebody calls now; the name of the leg."""
        self.callers += 1
        leg = f"c{self.callers}"
        self.media.call(leg, to, far or FarEnd(), caller=caller)
        self.pump()
        return leg

    def pump(self) -> None:
        """Carry reports over, until there is none at this instant."""
        while True:
            reports = self.media.reports(0.0)
            if not reports:
                return
            for report in reports:
                self.report(event_of(report, NODE))

    def report(self, event: dict[str, Any]) -> None:
        try:
            self.apply(event.pop("event"), **event)
        except EventError as error:
            self.refused.append(error)

    def run(self, seconds: float) -> None:
        """Let time pass: timers of the routing and of the far ends, each at its instant."""
        self.pump()
        end = self.media.now + seconds
        while True:
            due = [t for t in (self.media.next_due(), self.board.next_timer()) if t is not None and t <= end]
            if not due:
                break
            self.media.advance(max(min(due), self.media.now))
            timer = self.board.next_timer()
            if timer is not None and timer <= self.media.now:
                self.apply("clock")
            self.pump()
        self.media.advance(end)
        self.apply("clock")
        self.pump()

    def hears(self, leg: str) -> set[str]:
        return set(self.media.hears(leg))

    def phone(self, person: str) -> str:
        """The leg of a person's phone that is up or on its way."""
        [leg] = [leg for leg in self.board.state.legs.values() if leg.person == person and leg.phase != Phase.CLOSING]
        return leg.name

    def agent(self, name: str) -> str:
        state: str = self.board.acd.agent_state(name)["state"]
        return state

    def told(self) -> list[str]:
        """What the routing was told by the switchboard, in short."""
        kinds = ("contact_queued", "contact_left", "offer_accepted", "offer_declined", "contact_ended")
        return [f"{e['effect']} {e['contact']}" for e in self.effects if e["effect"] in kinds]
