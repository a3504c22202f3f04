"""The pacer of a campaign: told what happens, it answers how many numbers to dial now, which ringing calls to cancel,
and when to look again, with the reason.

It reads no clock and draws no number: the same observations in the same order give the same plans, with the same ids,
on every run. So a driver that keeps its observations can replay them after a crash and dial nothing twice.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cordboard import words
from cordboard._core.pacing import PacingCore
from cordboard._core.pacing_drive import Drive
from cordboard.errors import EventError, InputError, LimitError, StaleEventError, UnknownNameError, Where
from cordboard.pacing.blend import Blend, InboundEvent
from cordboard.pacing.ledger import Ledger
from cordboard.pacing.modes import (
    ASKED,
    Asked,
    CallRate,
    Choice,
    Limits,
    Mode,
    Reason,
    Situation,
    capacity_bound,
    choose,
    inbound_reserve,
)
from cordboard.pacing.rules import CAMPAIGN, ROLLING_DAY, AnsweredCall, Rule

AgentState = Literal["away", "idle", "talk", "wrap", "wrap_up"]
CallEvent = Literal[
    "placed",
    "ringing",
    "answered",
    "greeting",
    "greeted",
    "connected",
    "hung_up",
    "dropped",
    "failed",
    "invalid",
    "machine",
    "cancelled",
]

STATES: dict[AgentState, int] = {"away": 0, "idle": 1, "talk": 2, "wrap": 3, "wrap_up": 3}
EVENTS: dict[CallEvent, int] = {
    "placed": 0,
    "ringing": 1,
    "answered": 2,
    "connected": 3,
    "dropped": 4,
    "hung_up": 4,
    "failed": 5,
    "invalid": 5,
    "machine": 6,
    "cancelled": 7,
}
GROUPS_MAX = 16
CALLS_MAX = 1_000_000  # in flight at once
BORROW = 0.8  # share of the answers expected until closing that drops may be borrowed from
EVEN = 10.0  # drops over which the price is evened out towards closing
BORROW_MAX = 7.0  # drops that are ever borrowed, up to 20 agents; then as the root of their number
PLAN_MAX = 4096  # calls placed by one plan
HANDLE_EVERY = 30.0  # seconds between two looks at the learned handle time
VALIDITY_OF = 200  # last ended dials that list validity is taken from


@dataclass(frozen=True, slots=True)
class Leads:
    """Numbers that may be dialed now and have about one answer probability ``p`` (None: not known, the mean is
    learned); ``count``: how many there are.
    """

    p: float | None = None
    count: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. ``dial``: how many numbers of each group of leads; ``ids``: one id for each of them, in order,
    the same after a replay; ``cancel``: calls to hang up; ``look``: ask again then, or at any event before; ``wanted``:
    calls that the mode would place without the limits; ``drops_left``: of the strictest window (the ledger has the
    details).
    """

    number: int
    at: float
    dial: tuple[int, ...]
    ids: tuple[str, ...]
    cancel: tuple[Hashable, ...]
    look: float
    mode: Mode
    reason: Reason
    en: str
    zh: str
    wanted: int
    drops_left: int

    def text(self, lang: words.Lang) -> str:
        """Mode and reason in a sentence."""
        return words.pick(lang, self.en, self.zh)


@dataclass(slots=True)
class _Call:
    slot: int
    group: int
    p: float
    placed: float
    rang: float | None = None
    answered: float | None = None
    greeting: float | None = None
    greeted: float | None = None


class Pacer:
    """Paces one campaign.

    ``target``: the share of answered calls that may be dropped, for the default rules (campaign to date, and every
    rolling 24 hours). ``rules``: others instead, all of them bind at once. ``start``: Unix seconds of the campaign's
    beginning; ``time_zone`` of the calendar windows. ``mode``: what is asked for; see ``modes.choose`` for when it
    falls back. ``closes``: see ``close_at``. ``false_positives``: estimated share of people among the calls that
    detection takes for machines. ``choose``: the pacer may pick the group of leads; otherwise groups are used in their
    order. ``blend``: the agents take inbound calls, too; told by ``inbound_call``, it says how many free ones are left
    to them. Times are Unix seconds and may not go back.
    """

    def __init__(
        self,
        *,
        target: float = 0.03,
        mode: Asked = "predictive",
        rules: Iterable[Rule] | None = None,
        limits: Limits | None = None,
        start: float = 0.0,
        time_zone: str = "UTC",
        false_positives: float = 0.0,
        choose: bool = True,
        closes: float | None = None,
        blend: Blend | None = None,
    ) -> None:
        if not 0.0 < target < 1.0:
            raise InputError(f"{target} is no share of calls", Where(key="target"), "Write 3 % as 0.03.")
        if rules is None:
            cap = format(target, ".6g")
            rules = (Rule("campaign", cap, CAMPAIGN), Rule("rolling_day", cap, ROLLING_DAY))
        self.target = target
        self.set_mode(mode)
        self.limits, self._other_limits = limits or Limits(), False
        self.set_limits(self.limits)
        self.ledger = Ledger(rules, start=start, time_zone=time_zone, false_positives=false_positives)
        self.choose_group = choose
        self.blend = blend
        self.core = PacingCore(target)
        self._drive = Drive(self.core)
        self._agents: dict[Hashable, int] = {}
        self._agent_state: list[int] = []
        self._count = [0, 0, 0, 0]  # agents in each state
        self._calls: dict[Hashable, _Call] = {}
        self._ids: dict[int, Hashable] = {}
        self._free_slots: list[int] = []
        self._waiting = 0  # answered, and no agent yet
        self._outcomes = 0
        self._valid: deque[bool] = deque(maxlen=VALIDITY_OF)
        self._heard: float | None = None
        self._inbound = 0
        self._plans = 0
        self._answers = 0
        self._began: float | None = None
        self._handle_at = -math.inf
        self.close_at(closes)

    def set_mode(self, mode: Asked) -> None:
        """Ask for another mode from now on."""
        if mode not in ASKED:
            raise InputError(f"there is no mode {mode!r}", Where(key="mode"), f"Use one of {', '.join(ASKED)}.")
        self.asked: Asked = mode

    def set_limits(self, limits: Limits) -> None:
        """Use other limits from now on. What was saved up under the old ones is not spent at once under these."""
        self._other_limits = self._other_limits or limits != self.limits
        self.limits = limits
        self._rate = CallRate(limits.calls_per_second) if limits.calls_per_second else None

    def close_at(self, closes: float | None) -> None:
        """When dialing ends today (Unix seconds), or None if that is not known.

        Without it no drop is ever borrowed: at every instant all windows are within their caps. With it a window may be
        over for a while, by a few drops (``BORROW_MAX``) that four fifths of the answers expected until then would make
        good: it ends within its cap unless fewer than these come. Right after a change nothing is borrowed.
        """
        self.closes = closes

    def answers_until_closing(self, now: float) -> float:
        """Answers expected until ``closes`` at the rate so far, as far as drops are borrowed from them; 0 where the
        closing is not known.
        """
        if self.closes is None or self._began is None:
            return 0.0
        expected = self._answers / (now - self._began + 60.0) * max(0.0, self.closes - now)
        staffed = self._count[1] + self._count[2] + self._count[3]
        most = BORROW_MAX * max(1.0, math.sqrt(staffed / 20.0))
        return min(expected, most / (BORROW * self.target)) * (1.0 - self.core.careful)

    # ---- observations

    def agent(self, name: Hashable, state: AgentState, now: float, *, leaving: bool = False) -> None:
        """An agent's state since ``now``. ``leaving``: will be away after the present call or wrap-up."""
        number = STATES.get(state)
        if number is None:
            raise UnknownNameError(
                f"agents have no state {state!r}", Where(key="state"), f"Use one of {', '.join(STATES)}."
            )
        self._clock(now)
        slot = self._agents.get(name)
        if slot is None:
            slot = self._agents[name] = len(self._agents)
            self._agent_state.append(0)
            self._count[0] += 1
        self._count[self._agent_state[slot]] -= 1
        self._count[number] += 1
        self._agent_state[slot] = number
        self._drive.agent(slot, number, leaving, now)
        if self._heard is not None:
            self._heard = now

    def beat(self, now: float) -> None:
        """A sign of life of the agents' side. After the first, silence longer than ``Limits.stale_after`` stops
        dialing.
        """
        self._clock(now)
        self._heard = now
        self.core.stale_after = self.limits.stale_after
        self.core.beat(now)

    def inbound(self, waiting: int, now: float) -> None:
        """How many inbound callers wait for these agents."""
        self._clock(now)
        self._inbound = waiting

    def inbound_call(self, caller: Hashable, event: InboundEvent, now: float) -> None:
        """An inbound caller of these agents ``arrived``, is ``connected`` to one, or ``left`` before. For ``blend``."""
        if self.blend is None:
            hint = "Make the pacer with blend=Blend(share, within), or give numbers by inbound()."
            raise InputError("the pacer has no target for inbound callers", Where(key="blend"), hint)
        self._clock(now)
        self.blend.observe(caller, event, now)
        self._inbound = self.blend.waiting

    def call(self, id: Hashable, event: CallEvent, now: float, *, p: float | None = None, group: int = 0) -> None:
        """Something happened to a call. ``placed`` begins it and gives its answer probability and group.

        ``greeting`` and ``greeted`` are the start and the end of the person's greeting, for rules that count from
        there. ``connected``: an agent has it; ``dropped``: ended by us without an agent; ``hung_up``: by the person,
        likewise; ``failed``: busy or no answer; ``invalid``: no such number; ``machine``: taken for one and ended, at
        once or after it was ``answered``.
        """
        if event == "placed":
            self._place(id, now, math.nan if p is None else p, group)
            return
        call = self._calls.get(id)
        if call is None:
            raise StaleEventError(f"there is no call {id!r}", Where(key="id"), "It has ended, or was never placed.")
        self._clock(now)
        if event == "greeting":
            call.greeting = now
        elif event == "greeted":
            call.greeted = now
        elif event in EVENTS:
            self._progress(id, call, event, now)
        else:
            raise UnknownNameError(
                f"calls have no event {event!r}", Where(key="event"), f"Use one of {', '.join(EVENTS)}."
            )

    def observe(self, event: Mapping[str, Any]) -> None:
        """The same observations as journal events: ``{"t": seconds, "event": "agent", "agent": name, "state": ...,
        "leaving": false}``, ``{"t": ..., "event": "call", "call": id, "is": ..., "p": ..., "group": 0}``, ``{"t": ...,
        "event": "alive"}`` for ``beat``, ``{"t": ..., "event": "inbound", "waiting": n}`` and ``{"t": ..., "event":
        "inbound_call", "caller": id, "is": "arrived"}``.
        """
        kind, t = event.get("event"), event.get("t")
        if not isinstance(t, int | float):
            raise EventError(f"{t!r} is no time", Where(key="t"), "Use seconds.")
        if kind == "agent":
            self.agent(event.get("agent"), event.get("state", "away"), t, leaving=bool(event.get("leaving", False)))
        elif kind == "call":
            self.call(event.get("call"), event.get("is", ""), t, p=event.get("p"), group=event.get("group", 0))
        elif kind == "alive":
            self.beat(t)
        elif kind == "inbound":
            self.inbound(int(event.get("waiting", 0)), t)
        elif kind == "inbound_call":
            self.inbound_call(event.get("caller"), event.get("is", ""), t)
        else:
            raise EventError(
                f"the pacer has no event {kind!r}",
                Where(key="event"),
                "Use agent, call, alive, inbound or inbound_call.",
            )

    def _clock(self, now: float) -> None:
        if not now >= self.ledger.now:
            hint = "Feed the observations in the order in which they happened."
            raise EventError(f"time goes back from {self.ledger.now} to {now}", Where(key="now"), hint)
        self.ledger.now = now
        if self._began is None:
            self._began = now

    def _place(self, id: Hashable, now: float, p: float, group: int) -> None:
        if id in self._calls:
            raise StaleEventError(
                f"the call {id!r} was placed before", Where(key="id"), "Give each call an id of its own."
            )
        if len(self._calls) >= CALLS_MAX:
            raise LimitError("too many calls in flight", CALLS_MAX, "Report how calls end.")
        self._clock(now)
        slot = self._free_slots.pop() if self._free_slots else len(self._calls)
        self._drive.call(slot, EVENTS["placed"], group, p, now)
        self._calls[id] = _Call(slot, group, p, now)
        self._ids[slot] = id

    def _progress(self, id: Hashable, call: _Call, event: CallEvent, now: float) -> None:
        answered = call.answered is not None
        if (event in ("connected", "dropped", "hung_up")) != answered and event not in ("ringing", "machine"):
            what = "has been answered already" if answered else "has not been answered"
            raise StaleEventError(
                f"the call {id!r} {what}, it can't be {event}", Where(key="event"), "Check the order."
            )
        self._drive.call(call.slot, EVENTS[event], call.group, call.p, now)
        if event == "ringing":
            call.rang = now
            return
        if event == "answered":
            call.answered = now
            self._answers += 1
            self._waiting += 1
            self._outcomes += 1
            self._valid.append(True)
            return
        if call.answered is not None:
            self._waiting -= 1
            agent = now if event == "connected" else None
            left = now if event == "hung_up" else None
            machine = event == "machine"  # found out after a while, during which an agent was to be free
            self.ledger.record(now, AnsweredCall(call.answered, call.greeting, call.greeted, agent, left, machine))
        elif event == "machine":
            self.ledger.machine(now)
        if event in ("failed", "invalid", "machine") and not answered:
            self._outcomes += 1
            self._valid.append(event != "invalid")
        del self._calls[id]
        del self._ids[call.slot]
        self._free_slots.append(call.slot)

    # ---- the decision

    @property
    def inbound_waiting(self) -> int:
        """Inbound callers who wait for these agents."""
        return self._inbound

    @property
    def ringing(self) -> int:
        """Calls placed and neither answered nor ended."""
        return len(self._calls) - self._waiting

    def situation(self, now: float, leads: Sequence[Leads]) -> Situation:
        """What ``modes.choose`` is asked about."""
        count = self._count
        validity = sum(self._valid) / VALIDITY_OF if len(self._valid) == VALIDITY_OF else None
        return Situation(
            self.asked,
            staffed=count[1] + count[2] + count[3],
            free=count[1],
            outcomes=self._outcomes,
            heard=None if self._heard is None else now - self._heard,
            drops_left=self.ledger.leeway(now) + BORROW * self.target * self.answers_until_closing(now),
            infeasible=self.ledger.infeasible(now) is not None,
            leads=sum(group.count for group in leads),
            validity=validity,
            inbound_waiting=self._inbound if self.blend is None else 0,
        )

    def _hold_back(self, now: float, s: Situation) -> int:
        """Tell the core of the agents' other work; returns the free agents that must not be dialed for."""
        core, blend = self.core, self.blend
        core.reserve = self.limits.reserve
        if blend is not None:
            if now - self._handle_at >= HANDLE_EVERY:
                blend.handle, self._handle_at = core.handle_time(), now
            core.inbound_rate, core.inbound_waiting = blend.rate(now), self._inbound
            core.reserve += blend.reserve(now)
        return core.reserve + core.inbound_waiting

    def plan(
        self,
        now: float,
        leads: Sequence[Leads] = (Leads(),),
        ahead: Sequence[int] = (),
        *,
        hold: Choice | None = None,
    ) -> Plan:
        """What to dial and cancel at ``now``. ``leads``: the groups that may be dialed, at most 16. ``ahead``: the
        groups of the next leads, where they must be dialed in their order (then ``dial`` counts the first of them).
        ``hold``: why nothing may be dialed now, if so; ringing calls may still be cancelled.
        """
        if len(leads) > GROUPS_MAX:
            raise LimitError(f"{len(leads)} groups of leads", GROUPS_MAX, "Put leads of near probabilities together.")
        self._clock(now)
        if self._other_limits:
            self.core.shake(now)
            self._other_limits = False
        s = self.situation(now, leads)
        choice = choose(s, self.limits)
        kept = self._hold_back(now, s)
        self.core.one_to_one = choice.mode in ("preview", "progressive")
        lines, held = self._lines(now) if hold is None else (0, None)
        dial, look, wanted = [0] * len(leads), now + 1.0, 0
        cancel: list[int] = []
        if choice.mode == "predictive":
            dial, cancel, look, wanted = self._predict(now, leads, s, lines, ahead, 0 if hold else PLAN_MAX)
        elif choice.mode == "stopped":
            cancel, look = self._cancel_all(now) if choice.reason == "no_agents" else ([], now + 1.0)
        else:
            ratio = self.limits.ratio if choice.mode == "power" else 1.0
            spare = s.free - self._waiting - kept - (self.core.claimed(now) if self.core.beside else 0)
            wanted = max(0, math.floor(ratio * max(0, spare) + 1e-9) - self.ringing)
            dial = self._spread(min(wanted, lines), leads, ahead)
        total = sum(dial)
        if hold is not None and choice.mode != "stopped":
            choice = hold
        elif wanted > total and total >= lines and held is not None:
            choice = capacity_bound(choice, wanted, total, *held)
        elif total == 0 and choice.mode != "stopped" and self._inbound_binds(s, kept):
            choice = inbound_reserve(choice, s.free - self._waiting, self._inbound, self.core.reserve, self.blend)
        return self._finish(now, dial, cancel, look, choice, wanted, math.floor(s.drops_left))

    def _inbound_binds(self, s: Situation, kept: int) -> bool:
        return kept > 0 and (self._inbound > 0 or 0 < s.free - self._waiting <= kept)

    def _finish(
        self, now: float, dial: list[int], cancel: list[int], look: float, choice: Choice, wanted: int, left: int
    ) -> Plan:
        total = sum(dial)
        if self._rate is not None and total:
            self._rate.take(now, total)
        if self._rate is not None and wanted > total:
            look = min(look, self._rate.next_at(now))
        self._plans += 1
        ids = tuple(f"{self._plans}.{k}" for k in range(1, total + 1))
        calls = tuple(self._ids[slot] for slot in cancel if slot in self._ids)
        return Plan(
            self._plans,
            now,
            tuple(dial),
            ids,
            calls,
            max(look, now),
            choice.mode,
            choice.reason,
            choice.en,
            choice.zh,
            wanted,
            left,
        )

    def _lines(self, now: float) -> tuple[int, tuple[str, str] | None]:
        """Calls that the limits allow now, and the name of the one that binds."""
        lines, held = 1 << 20, None
        limits = self.limits
        if limits.lines is not None:
            lines, held = max(0, limits.lines - len(self._calls) - self._count[2]), ("the line limit", "线路上限")
        if self._rate is not None and self._rate.allowed(now) < lines:
            lines, held = self._rate.allowed(now), ("the calls-per-second limit", "每秒呼叫上限")
        if limits.lines_per_agent is not None:
            most = math.floor(limits.lines_per_agent * self._count[1]) - self.ringing
            if most < lines:
                lines, held = max(0, most), ("the limit of lines per agent", "每座席线路上限")
        return lines, held

    def _predict(
        self, now: float, leads: Sequence[Leads], s: Situation, lines: int, ahead: Sequence[int], most: int
    ) -> tuple[list[int], list[int], float, int]:
        groups = [(math.nan if group.p is None else group.p, 0, group.count) for group in leads]
        self._set_budget(now, s.drops_left)
        dial, cancel, look = self._drive.ask(now, groups, most, self.choose_group and not ahead, ahead)
        wanted = sum(dial)
        over = wanted - lines
        for i in reversed(range(len(dial))):
            if over > 0:
                cut = min(over, dial[i])
                dial[i] -= cut
                over -= cut
        return dial, cancel, look, wanted

    def _set_budget(self, now: float, drops_left: float) -> None:
        """What the core may spend. While drops are borrowed it prices them by all answers that are expected, evenly;
        the limit is ``drops_left``: with at most ``BORROW`` of those, less what the calls in flight may bring.
        """
        core = self.core
        core.room = drops_left
        core.budget, core.answers_left = self.ledger.leeway(now), 0.0
        if self.closes is not None and now < self.closes:
            core.answers_left = max(self.answers_until_closing(now), EVEN / self.target)

    def _spread(self, wanted: int, leads: Sequence[Leads], ahead: Sequence[int]) -> list[int]:
        """So many calls over the groups: the likeliest answers first where there is a choice, else in order."""
        dial = [0] * len(leads)
        if ahead:
            for group in ahead[:wanted]:
                dial[group] += 1
            return dial
        order: Iterable[int] = range(len(leads))
        if self.choose_group:
            order = sorted(order, key=lambda i: -(leads[i].p or 0.0))
        for i in order:
            dial[i] = min(wanted, leads[i].count)
            wanted -= dial[i]
        return dial

    def _cancel_all(self, now: float) -> tuple[list[int], float]:
        """The ringing calls whose minimum ring is over, and when the next one's will be."""
        ring = max((rule.min_ring for rule in self.ledger.rules), default=15.0)
        due, look = [], now + 60.0
        for call in self._calls.values():
            if call.answered is None:
                over = now + 1.0 if call.rang is None else call.rang + ring
                if over <= now:
                    due.append(call.slot)
                    over = now + 1.0  # if it could not be cancelled, again
                look = min(look, over)
        return due, look

    def state(self) -> dict[str, Any]:
        """Counts for a wallboard: agents by state, calls ringing and waiting, outcomes seen."""
        return {
            "agents": dict(zip(("away", "idle", "talk", "wrap_up"), self._count, strict=True)),
            "ringing": self.ringing,
            "waiting": self._waiting,
            "outcomes": self._outcomes,
            "plans": self._plans,
        }
