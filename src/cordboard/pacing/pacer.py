"""The pacer: told what happens to agents and calls, it says how many numbers to dial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cordboard._core.pacing import PacingCore
from cordboard.errors import EventError, InputError, LimitError, UnknownNameError, Where

STATES = {"away": 0, "idle": 1, "talk": 2, "wrap_up": 3}
CALL_EVENTS = {
    "placed": 0, "ringing": 1, "answered": 2, "connected": 3, "dropped": 4, "failed": 5, "machine": 6, "cancelled": 7,
}
ENDS = frozenset({"connected", "dropped", "failed", "machine", "cancelled"})
MAX_AGENTS = 20_000
MAX_CALLS = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now.

    ``dial`` numbers in all, ``per_list`` of each list that was offered; ``cancel`` these ringing calls; ask again at
    ``look_again`` (seconds) at the latest. ``reason`` says what held the number down: ``risk_reached``,
    ``capacity_bound``, ``budget_spent``, ``telemetry_stale``, ``no_agents``, or ``paced`` when numbers were dialed.
    """

    dial: int
    per_list: tuple[int, ...]
    cancel: tuple[str, ...]
    look_again: float
    reason: str


class Pacer:
    """Predictive pacing of one group of agents.

    ``target`` is the share of calls answered by a person that may be dropped; ``connect_within`` how long such a caller
    may wait for an agent, and ``min_ring`` how long a call must ring before it may be cancelled (seconds; 2 and 15 are
    the United States' rules, 16 CFR 310.4(b)(4)). ``window_end`` is the end of the ledger's window in seconds of the
    same clock, 0 when there is none.

    >>> pacer = Pacer(target=0.03)
    >>> pacer.observe({"t": 0.0, "event": "agent", "agent": "li", "state": "idle"})
    >>> pacer.decide(0.0).dial
    1
    """

    def __init__(
        self,
        target: float = 0.03,
        *,
        connect_within: float = 2.0,
        min_ring: float = 15.0,
        window_end: float = 0.0,
        prior_answer_probability: float = 0.2,
        prior_talk: float = 150.0,
        prior_wrap_up: float = 30.0,
    ) -> None:
        if not 0.0 < target < 1.0:
            raise InputError(f"the drop target is {target}", Where(key="target"), "Use a share above 0, below 1.")
        if not 0.0 < prior_answer_probability < 1.0 or prior_talk <= 0.0 or prior_wrap_up <= 0.0:
            what = "the priors are not possible"
            raise InputError(what, Where(key="prior"), "Use a probability and positive seconds.")
        self.core = PacingCore(target, prior_answer_probability, prior_talk, prior_wrap_up)
        self.core.connect_within, self.core.min_ring, self.core.window_end = connect_within, min_ring, window_end
        self.now = -math.inf
        self._agents: dict[str, int] = {}
        self._calls: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._free: list[int] = []

    def observe(self, event: Mapping[str, Any]) -> None:
        """Take in one thing that happened.

        ``{"t": seconds, "event": "agent", "agent": id, "state": "away" | "idle" | "talk" | "wrap_up", "leaving":
        bool}``, ``{"t": ..., "event": "call", "call": id, "is": "placed" | "ringing" | "answered" | "connected" |
        "dropped" | "failed" | "machine" | "cancelled", "p": answer probability if known}``, or ``{"t": ..., "event": "alive"}``,
        a heartbeat of whoever sends these. Raises EventError and changes nothing when the event can't be true.
        """
        now = self._time(event.get("t"))
        kind = event.get("event")
        if kind == "agent":
            self._agent(str(event.get("agent")), event.get("state"), now, bool(event.get("leaving", False)))
        elif kind == "call":
            self._call(str(event.get("call")), event.get("is"), now, event.get("p"))
        elif kind == "alive":
            self.core.beat(now)
        else:
            raise EventError(f"the pacer has no event {kind!r}", Where(key="event"), "Use agent, call or alive.")
        self.now = now

    def decide(self, now: float, lists: Sequence[tuple[float | None, int]] | None = None, lines: int = 1 << 20) -> Plan:
        """How many numbers to dial at ``now`` (seconds).

        ``lists`` are ``(answer probability or None, leads on hand)``, at most 16 groups of leads of about one
        probability; ``lines`` the calls that lines and calls-per-second limits allow now.
        """
        now = self._time(now)
        groups = lists if lists is not None else [(None, 1 << 20)]
        offered = [(math.nan if p is None else p, room) for p, room in groups]
        if len(offered) > 16:
            raise LimitError(f"{len(offered)} lists were offered", 16, "Put leads of about one probability together.")
        counts, cancel, look, reason = self.core.plan(now, offered, max(0, lines))
        self.now = now
        return Plan(sum(counts), tuple(counts), tuple(self._names[call] for call in cancel), look, reason)

    def _time(self, t: object) -> float:
        if not isinstance(t, (int, float)) or not math.isfinite(t) or t < 0.0:
            raise EventError(f"{t!r} is no time", Where(key="t"), "Use seconds, 0 or more.")
        if t < self.now:
            raise EventError(f"the time {t} is before {self.now}", Where(key="t"), "Feed events in order.")
        return float(t)

    def _agent(self, name: str, state: object, now: float, leaving: bool) -> None:
        if state not in STATES:
            raise EventError(f"agent {name} can't be {state!r}", Where(key="state"), f"Use {', '.join(STATES)}.")
        if name not in self._agents and len(self._agents) >= MAX_AGENTS:
            raise LimitError("too many agents", MAX_AGENTS, "Pace them in groups.")
        slot = self._agents.setdefault(name, len(self._agents))
        self.core.agent(slot, STATES[str(state)], now, leaving)

    def _call(self, name: str, what: object, now: float, p: object) -> None:
        if what not in CALL_EVENTS:
            raise EventError(f"call {name} can't be {what!r}", Where(key="is"), f"Use {', '.join(CALL_EVENTS)}.")
        if p is not None and not (isinstance(p, (int, float)) and 0.0 <= p <= 1.0):
            what_is_wrong = f"call {name} has the answer probability {p!r}"
            raise EventError(what_is_wrong, Where(key="p"), "Use 0 to 1, or leave it out.")
        if what == "placed":
            if name in self._calls:
                raise EventError(f"call {name} was placed before", Where(key="call"), "Give each call its own id.")
            if len(self._calls) >= MAX_CALLS:
                raise LimitError("too many calls in flight", MAX_CALLS, "Report the end of calls.")
            slot = self._free.pop() if self._free else len(self._calls)
            self._calls[name], self._names[slot] = slot, name
        elif name not in self._calls:
            raise UnknownNameError(f"call {name} is not in flight", Where(key="call"), "Report it placed first.")
        slot = self._calls[name]
        self.core.call(slot, CALL_EVENTS[str(what)], now, 0, math.nan if p is None else float(p))
        if what in ENDS:
            del self._calls[name], self._names[slot]
            self._free.append(slot)
