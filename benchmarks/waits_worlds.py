"""Two worlds to judge wait estimates in: the M/M/n+M queue, where the best possible is known, and the real bank."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cordboard.center import Agent, Center, Queue, parse_center
from cordboard.importers import anonymous_bank as bank
from cordboard.waits import WaitEstimator

Array = NDArray[np.float64]
HANDLE = 180.0  # seconds of a mean conversation in the M/M/n+M world; its rates are per conversation


@dataclass(frozen=True)
class Delayed:
    """The contacts of an M/M/n+M queue that had to wait, in order of arrival; times in mean conversations.

    ``wait`` is the offered wait: of one who gave up, what it would have waited. ``ahead``: contacts before it.
    """

    wait: Array
    gave_up: NDArray[np.bool_]
    ahead: NDArray[np.int64]
    mean: Array
    p50: Array
    p90: Array
    head: Array  # what the head of the line had waited at the arrival (HOL)
    last: Array  # what the last one to be served had waited (LES)

    def after(self, share: float) -> Delayed:
        """Without the first ``share`` of them, in which the estimator learns the rates."""
        skip = int(len(self.wait) * share)
        return Delayed(**{name: getattr(self, name)[skip:] for name in self.__dataclass_fields__})


def qla(ahead: NDArray[np.int64], agents: int, theta: float) -> Array:
    """The exact conditional mean with the true rates: sum of 1 / (agents + i theta), i = 0 .. ahead (mu = 1)."""
    table = np.cumsum(1.0 / (agents + theta * np.arange(int(ahead.max(initial=0)) + 1)))
    return np.asarray(table[ahead], np.float64)


def mmn_m(agents: int, arrivals: float, theta: float, contacts: int, seed: int) -> Delayed:
    """Simulate M/M/n+M (mu = 1) with an estimator that watches it and is told none of the rates."""
    return _mmn_m(agents, arrivals, theta, contacts, seed)[0]


def learned_world(agents: int, arrivals: float, theta: float, contacts: int, seed: int) -> tuple[WaitEstimator, float]:
    """The estimator as it is when the last contact has come, with every agent busy, and that instant (seconds)."""
    return _mmn_m(agents, arrivals, theta, contacts, seed, stop=True)[1:]


def _mmn_m(
    agents: int, arrivals: float, theta: float, contacts: int, seed: int, stop: bool = False
) -> tuple[Delayed, WaitEstimator, float]:
    # An offered wait is known for everyone: who gave up keeps its place in `line`, and the agent who would have taken
    # it is the first one free when nobody before it is left.
    draw = np.random.default_rng(seed)
    came = np.cumsum(draw.exponential(HANDLE / arrivals, contacts))
    talk = draw.exponential(HANDLE, contacts)
    patience = draw.exponential(HANDLE / theta, contacts) if theta > 0 else np.full(contacts, np.inf)
    center = Center(queues=(Queue("q"),), agents=tuple(Agent(f"a{i}") for i in range(agents)))
    estimator = WaitEstimator(center)
    idle = [agent.name for agent in center.agents]
    for name in idle:
        estimator.observe({"t": 0.0, "event": "agent_ready", "agent": name})
    line: deque[int] = deque()  # who waits, and who gave up but would not have been served yet
    there: dict[int, None] = {}  # who waits, in order
    agenda: list[tuple[float, int, int, str]] = []  # time, 0 a conversation ends / 1 patience ends, contact, agent
    asked: dict[int, tuple[float, ...]] = {}
    offered: dict[int, float] = {}
    last, i, t = 0.0, 0, 0.0
    while (i < contacts or agenda) and not (stop and i == contacts and not idle):
        if i < contacts and (not agenda or came[i] <= agenda[0][0]):
            t, contact, i = float(came[i]), i, i + 1
            estimator.observe({"t": t, "event": "contact_queued", "contact": contact, "queue": "q"})
            if idle:
                _take(estimator, t, contact, idle.pop(), agenda, talk)
                continue
            guess = estimator.predict(contact)
            head = t - came[next(iter(there))] if there else 0.0
            asked[contact] = (len(there), guess.mean, guess.p50, guess.p90, head, last)
            line.append(contact)
            there[contact] = None
            heapq.heappush(agenda, (t + patience[contact], 1, contact, ""))
            continue
        t, what, contact, agent = heapq.heappop(agenda)
        if what == 1:
            if contact in there:
                del there[contact]
                estimator.observe({"t": t, "event": "contact_left", "contact": contact})
            continue
        estimator.observe({"t": t, "event": "contact_ended", "contact": contact})
        while line:
            contact = line.popleft()
            offered[contact] = t - came[contact]
            if contact in there:
                del there[contact]
                last = offered[contact]
                _take(estimator, t, contact, agent, agenda, talk)
                break
        else:
            idle.append(agent)
    who = sorted(offered)
    rows = np.array([asked[contact] for contact in who])
    wait = np.array([offered[contact] for contact in who])
    scaled = rows[:, 1:] / HANDLE
    ahead = rows[:, 0].astype(np.int64)
    seen = Delayed(wait / HANDLE, patience[who] < wait, ahead, *np.ascontiguousarray(scaled.T))
    return seen, estimator, t


def _take(
    estimator: WaitEstimator, t: float, contact: int, agent: str, agenda: list[tuple[float, int, int, str]], talk: Array
) -> None:
    estimator.observe({"t": t, "event": "offer_accepted", "contact": contact, "agent": agent})
    heapq.heappush(agenda, (t + talk[contact], 0, contact, agent))


@dataclass(frozen=True)
class BankCalls:
    """The calls that waited, in order of arrival. ``state`` is what is known at the arrival; see STATE."""

    wait: Array  # seconds
    served: NDArray[np.bool_]
    day: NDArray[np.int64]  # 0 is the first of January
    hour: Array
    state: Array  # the common state of the baselines, shape (calls, len(STATE))
    features: Array  # the estimator's own, shape (calls, 47)
    mean: Array
    p50: Array
    p90: Array
    last: Array
    last_of_type: Array

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Served after waiting, and came from 7:00 to 24:00."""
        return self.served & (self.hour >= 7)


STATE = ["type", "priority", "hour", "ahead", "ahead_of_type", "waiting", "waiting_of_type", "busy", "active", "head"]
ACTIVE = 600.0  # an agent counts as active for so many seconds after a call


def bank_calls(january: Path, february: Path) -> BankCalls:
    """Feed both months, in order of time, to an estimator whose center was made of January alone."""
    calls_of_january, _ = bank.read_calls([january])
    calls, _ = bank.read_calls([january, february])
    center = parse_center(bank.center_toml(calls_of_january))
    estimator = WaitEstimator(center)
    by_name = {call.contact: call for call in calls}
    watch = _Watch(by_name)
    rows: list[tuple[float, ...]] = []
    states: list[list[float]] = []
    features: list[Array] = []
    for event in bank.recorded_events(calls, center):
        estimator.observe(event)
        call = by_name.get(event.get("contact", ""))
        if event["event"] == "contact_queued" and call is not None and call.wait > 0:
            guess = estimator.predict(call.contact)
            seen = estimator.features(call.contact)
            features.append(np.zeros(47) if seen is None else seen)
            states.append(watch.state(call))
            clock = call.entered % 86400 / 3600
            rows.append(
                (call.wait, call.served, call.entered // 86400, clock, guess.mean, guess.p50, guess.p90,
                 watch.last, watch.last_of_type.get(call.type, watch.last))
            )  # fmt: skip
        watch.observe(event)
    wait, served, day, hour, *others = np.array(rows, np.float64).T
    return BankCalls(wait, served > 0, day.astype(np.int64), hour, np.array(states), np.array(features), *others)


class _Watch:
    """The state that the baselines use, kept in the plainest way."""

    def __init__(self, calls: dict[str, bank.Call]) -> None:
        self.calls = calls
        self.waiting: dict[str, bank.Call] = {}
        self.busy: dict[str, str | None] = {}
        self.seen: dict[str, float] = {}
        self.last = 60.0
        self.last_of_type: dict[str, float] = {}

    def state(self, call: bank.Call) -> list[float]:
        key = call.entered - call.priority
        others = list(self.waiting.values())
        before = [one for one in others if one.entered - one.priority <= key]
        talking = {agent for agent in self.busy.values() if agent}
        active = talking | {agent for agent, t in self.seen.items() if call.entered - t < ACTIVE}
        return [
            float(list(bank.TYPES).index(call.type)),
            call.priority,
            call.entered % 86400 / 3600,
            float(len(before)),
            float(sum(one.type == call.type for one in before)),
            float(len(others)),
            float(sum(one.type == call.type for one in others)),
            float(len(self.busy)),
            float(len(active)),
            max((call.entered - one.entered for one in others), default=0.0),
        ]

    def observe(self, event: dict[str, object]) -> None:
        call = self.calls.get(str(event.get("contact", "")))
        if call is None:
            return
        kind, t = event["event"], float(str(event["t"]))
        if kind == "contact_queued":
            self.waiting[call.contact] = call
        elif kind == "contact_left":
            del self.waiting[call.contact]
        elif kind == "offer_accepted":
            del self.waiting[call.contact]
            self.busy[call.contact] = call.agent
            if call.wait > 0:
                self.last = self.last_of_type[call.type] = call.wait
        elif kind == "contact_ended":
            del self.busy[call.contact]
        if call.agent and kind in ("offer_accepted", "contact_ended"):
            self.seen[call.agent] = t


def errors(wait: Array, guess: Array | float) -> tuple[float, float]:
    """Root mean squared error and mean absolute error."""
    miss = wait - guess
    return float(np.sqrt(np.mean(miss**2))), float(np.mean(np.abs(miss)))


def exceeded(wait: Array, guess: Array) -> float:
    """Share of the contacts that waited longer."""
    return float(np.mean(wait > guess))


# theory.md's rows: agents, arrivals, abandonment (per conversation)
ROWS: Sequence[tuple[int, float, float]] = (
    (100, 95, 0.0),
    (100, 98, 0.0),
    (100, 100, 0.5),
    (100, 110, 1.0),
    (100, 140, 1.0),
    (100, 140, 0.25),
    (20, 24, 0.5),
    (10, 9, 0.0),
)
