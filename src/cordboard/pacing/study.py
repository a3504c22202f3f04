"""What pacing is worth for a campaign of one's own: our pacer beside one line an agent and a constant ratio, in the
dialing world, on the same seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cordboard.pacing.driver import pace
from cordboard.pacing.modes import Limits
from cordboard.pacing.pacer import Pacer
from cordboard.pacing.rules import CAMPAIGN, Rule
from cordboard.pacing.world import Day, World

Way = Literal["predictive", "progressive", "power"]
AS_GOOD = 0.02  # of occupancy: a smaller gain than this is not worth a dropped call
TUNING_DAYS = 3
Told = Callable[[int], None] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Pooled over the seeds. ``occupancy``: talk and wrap-up over staffed time after 30 minutes, ``error`` its 95 %
    half-width; ``drops``: share of answered calls; ``worst``: the highest of one day; ``answers_an_hour``: calls that
    an agent took, by agent and hour; ``idle``: seconds an agent waits for a call; ``dials``: in all; ``ratio``: of the
    power mode.
    """

    way: Way
    occupancy: float
    error: float
    drops: float
    worst: float
    answers_an_hour: float
    idle: float
    dials: float
    ratio: float | None = None


def outcome(way: Way, days: Sequence[Day], ratio: float | None = None) -> Outcome:
    occupancies = [day.occupancy() for day in days]
    answers = sum(day.total("answers") for day in days)
    dropped = sum(day.total("drops") for day in days)
    staffed, busy = (sum(day.total(name) for day in days) for name in ("staffed", "busy"))
    taken = max(1.0, answers - dropped)
    error = 1.96 * float(np.std(occupancies, ddof=1)) / math.sqrt(len(days)) if len(days) > 1 else math.nan
    return Outcome(
        way,
        float(np.mean(occupancies)),
        error,
        dropped / max(1.0, answers),
        max(day.drop_rate() for day in days),
        3600.0 * taken / staffed,
        (staffed - busy) / taken,
        sum(day.total("dials") for day in days),
        ratio,
    )


def make(way: Way, target: float, limits: Limits, ratio: float = 1.0) -> Pacer:
    """A pacer of the way asked for. The power mode is left to its ratio alone, without a budget, as such dialers
    are.
    """
    if way == "power":
        own = Limits(limits.lines, limits.calls_per_second, limits.lines_per_agent, ratio)
        return Pacer(mode="power", rules=[Rule("none", "0.999", CAMPAIGN, least=1 << 30)], limits=own)
    return Pacer(mode=way, target=target, limits=limits)


def days(world: World, make: Callable[[], Pacer], seeds: Sequence[int], told: Told = None) -> list[Day]:
    found = []
    for seed in seeds:
        found.append(pace(world, make(), seed)[0])
        if told is not None:
            told(1)
    return found


def tuned_ratio(world: World, target: float, limits: Limits, told: Told = None) -> float:
    """The largest constant number of lines for each free agent that keeps the target on other days: by bisection."""
    low, high = 1.0, 4.0 / max(0.02, world.p)
    for _ in range(6):
        middle = 0.5 * (low + high)
        tried = days(world, lambda m=middle: make("power", target, limits, m), range(9000, 9000 + TUNING_DAYS), told)  # type: ignore[misc]
        rate = sum(day.total("drops") for day in tried) / max(1.0, sum(day.total("answers") for day in tried))
        low, high = (middle, high) if rate <= target else (low, middle)
    return low


def runs(seeds: int, compare: bool) -> int:
    """Days that a study simulates, for a progress bar."""
    return 2 * seeds + ((seeds + 6 * TUNING_DAYS) if compare else 0)


def study(
    world: World, target: float, seeds: int, compare: bool = False, limits: Limits | None = None, told: Told = None
) -> list[Outcome]:
    """Predictive and progressive, and with ``compare`` a tuned constant ratio; ``told`` is called after each day."""
    own = limits or Limits()
    ways: tuple[Way, ...] = ("predictive", "progressive")
    found = [outcome(way, days(world, lambda way=way: make(way, target, own), range(seeds), told)) for way in ways]  # type: ignore[misc]
    if compare:
        ratio = tuned_ratio(world, target, own, told)
        found.append(
            outcome("power", days(world, lambda: make("power", target, own, ratio), range(seeds), told), ratio)
        )
    return found


def progressive_is_as_good(found: Sequence[Outcome]) -> bool:
    """Whether predicting gains less than two points of occupancy."""
    by_way = {one.way: one for one in found}
    return by_way["predictive"].occupancy - by_way["progressive"].occupancy < AS_GOOD
