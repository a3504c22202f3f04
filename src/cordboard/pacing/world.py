"""The dialing world: what pacing is judged in.

Its defaults are the world in which the published dialers were measured (docs/background/pacing-method.md): 2 s
post-dial delay, an Erlang-4 ring of mean 8 s for those who answer, 15 % fast failures at 3 s, no answer at 24 s,
lognormal talk of mean 120 s and coefficient of variation .9, Erlang-4 wrap-up of mean 30 s, callers who wait 2 s for
an agent, 8 hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard._core.dialworld import COLUMN_NAMES, DialWorld
from cordboard._core.pacing_policy import Policy, PythonPolicy
from cordboard.errors import DataError, Where

AWAY, IDLE, TALK, WRAP = range(4)
PLACED, RINGING, ANSWERED, CONNECTED, DROPPED, FAILED, MACHINE, CANCELLED = range(8)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LeadList:
    """Leads of one answer probability ``p``.

    ``shown`` is the probability that the policy is told (NaN: none); ``weight`` the share of the next leads when the
    policy can't choose; ``campaign`` (0 to 3) only separates the counts in the result and the ledgers of the policy.
    """

    p: float
    shown: float = math.nan
    campaign: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class World:
    """The world's numbers. Times in seconds, rates per second, probabilities in 0..1.

    ``talk_mean`` and ``talk_cv`` describe lognormal talk; with ``short_share`` > 0 that share of calls talks for an
    exponential time of ``short_mean`` and the others for an Erlang-16 of ``talk_mean``. ``machine`` is the probability
    that a machine answers a dial, ``amd_missed`` that it reaches an agent, ``amd_false`` that a person is taken for a
    machine.
    ``choose`` lets the policy pick lists, keeping their use within ``balance`` of each other when that is above 0.
    ``gap`` is the least time between two decisions, ``beat`` the time between heartbeats of the telemetry (0: none).

    ``changes`` are ``(time, name, value)`` for any number above from ``post_dial`` to ``cps``, and
    ``(time, "p" | "shown" | "weight", value, list)``, ``(time, "leave", agents, at_once)`` (who is busy leaves after
    the call, or in the middle of it), ``(time, "return", agents)``, ``(time, "stall", seconds)`` (agent events are held
    back).
    """

    agents: int = 20
    p: float = 0.3
    hours: float = 8.0
    post_dial: float = 2.0
    ring_mean: float = 8.0
    ring_phases: int = 4
    ring_until: float = 24.0
    fast_fail: float = 0.15
    fast_fail_at: float = 3.0
    talk_mean: float = 120.0
    talk_cv: float = 0.9
    short_share: float = 0.0
    short_mean: float = 10.0
    wrap_mean: float = 30.0
    wrap_phases: int = 4
    patience: float = 2.0
    machine: float = 0.0
    amd_missed: float = 0.0
    amd_false: float = 0.0
    inbound_rate: float = 0.0
    inbound_patience: float = 120.0
    lines: int = 1_000_000
    cps: float = 0.0
    lists: tuple[LeadList, ...] = ()
    choose: bool = False
    balance: int = 0
    min_ring: float = 15.0
    gap: float = 0.0
    beat: float = 0.0
    trace: float = 0.0
    changes: tuple[tuple[Any, ...], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.agents <= 100_000:
            raise DataError(f"the world has {self.agents} agents", Where(key="agents"), "Use 1 to 100,000.")
        if len(self.lists) > 16:
            raise DataError(f"the world has {len(self.lists)} lists", Where(key="lists"), "Use at most 16.")
        if not 0.0 < self.hours <= 24.0 * 60.0:
            what = f"the world runs for {self.hours} hours"
            raise DataError(what, Where(key="hours"), "Use more than 0, at most 1440.")
        for lead in self.lists or (LeadList(self.p),):
            if not 0.0 <= lead.p <= 1.0 - self.machine or not 0 <= lead.campaign <= 3:
                raise DataError(
                    f"the list {lead} is not possible",
                    Where(key="lists"),
                    "p and machine together are at most 1, campaigns are 0 to 3.",
                )

    @property
    def handle(self) -> float:
        """The mean of talk and wrap-up together."""
        return self.short_share * self.short_mean + (1.0 - self.short_share) * self.talk_mean + self.wrap_mean

    def numbers(self) -> dict[str, Any]:
        """What the compiled world reads."""
        lists = self.lists or (LeadList(self.p),)
        known = asdict(self)
        known["lists"] = [(one.p, one.shown, one.campaign, one.weight) for one in lists]
        known["changes"] = [tuple(what) for what in sorted(self.changes, key=lambda what: float(what[0]))]
        return known


@dataclass(frozen=True, slots=True)
class Day:
    """What happened, minute by minute. ``minutes`` has one row a minute and the columns COLUMN_NAMES."""

    minutes: Floats
    trace: list[tuple[float, int, int, int, int]]

    def column(self, name: str) -> Floats:
        """One column: counts, or seconds for staffed, busy (talk and wrap-up) and ringing."""
        return np.asarray(self.minutes[:, COLUMN_NAMES.index(name)])

    def total(self, name: str, start: float = 0.0, end: float = math.inf) -> float:
        """The sum of a column from ``start`` to ``end`` (seconds, whole minutes)."""
        last = len(self.minutes) if end == math.inf else int(end // 60)
        return float(self.column(name)[int(start // 60) : last].sum())

    def occupancy(self, start: float = 1800.0, end: float = math.inf) -> float:
        """Talk and wrap-up over staffed time."""
        staffed = self.total("staffed", start, end)
        return self.total("busy", start, end) / staffed if staffed else 0.0

    def drop_rate(self, start: float = 0.0, end: float = math.inf) -> float:
        """Drops over calls that a person answered."""
        answers = self.total("answers", start, end)
        return self.total("drops", start, end) / answers if answers else 0.0

    def rolling_drop_rate(self, minutes: int) -> Floats:
        """The drop rate of each window of so many minutes; window i ends with minute i."""
        ones = np.ones(minutes)
        drops = np.convolve(self.column("drops"), ones)[: len(self.minutes)]
        answers = np.convolve(self.column("answers"), ones)[: len(self.minutes)]
        return np.asarray(drops / np.maximum(answers, 1.0))


def run(world: World, policy: object, seed: int) -> Day:
    """One day of the world under a policy: a compiled one, or any object :class:`PythonPolicy` describes.

    A policy with an attribute ``every_event = False`` is asked only at the times it asks for.
    """
    numbers = world.numbers()
    numbers["every_event"] = bool(getattr(policy, "every_event", True))
    core = getattr(policy, "core", policy)
    simulation = DialWorld(core if isinstance(core, Policy) else PythonPolicy(policy), numbers, seed)
    minutes = simulation.run()
    return Day(minutes, simulation.trace)


def pooled(days: Sequence[Day]) -> dict[str, float]:
    """Mean occupancy after 30 minutes, drop rate over all days, and the worst day's, hour's and five minutes' rate."""
    answers = sum(day.total("answers") for day in days)
    hours = [day.rolling_drop_rate(60)[59:].max() for day in days if len(day.minutes) >= 60]
    return {
        "occupancy": float(np.mean([day.occupancy() for day in days])),
        "drop_rate": sum(day.total("drops") for day in days) / max(1.0, answers),
        "worst_day": max(day.drop_rate() for day in days),
        "worst_hour": float(max(hours, default=0.0)),
        "answers": answers,
        "dials": sum(day.total("dials") for day in days),
    }
