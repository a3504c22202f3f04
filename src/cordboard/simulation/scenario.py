"""What happens to a center: who calls when, how long each is served, who gives up, who works when.

A scenario names the queues and agents of a center but holds none of its rules, so that two centers can meet the same
scenario. It is made in Python from the classes below, or read from TOML by ``load_scenario``
(docs/reference/simulation.md). Times are seconds from the start of the run; rates are contacts an hour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from cordboard.center import Center
from cordboard.errors import DataError, Where
from cordboard.simulation.campaigns import Campaign, check_campaigns
from cordboard.simulation.laws import Deterministic, Law, Never

ALIVE_MAX = 1_000_000  # contacts alive at once, if a scenario says nothing
PIECES_MAX = 1_000_000
TRACE_MAX = 50_000_000
DURATION_MAX_S = 1e9


def _require(ok: bool, what: str, key: str, hint: str) -> None:
    if not ok:
        raise DataError(what, Where(key=key), hint)


def _number(value: float, key: str, low: float, high: float) -> None:
    _require(
        low <= value <= high, f"{key} is {value!r}", key, f"Give {low:g} to {high:g}."
    )


@dataclass(frozen=True)
class Rates:
    """Poisson arrivals with a rate that is constant on pieces.

    ``pieces``: (start second, contacts an hour), starts rising from 0; repeated every ``period`` seconds if that is
    given. ``day_scv`` > 0: the rates of each period (or of the whole run) are multiplied by one gamma factor with
    mean 1 and this squared coefficient of variation; ``interval_scv`` > 0: likewise each piece on its own. Arrivals
    are then doubly stochastic, as real ones are (Ibrahim, Ye, L'Ecuyer & Shen, IJF 32:865, 2016).
    """

    pieces: tuple[tuple[float, float], ...]
    period: float | None = None
    day_scv: float = 0.0
    interval_scv: float = 0.0

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.pieces]
        _require(
            1 <= len(starts) <= PIECES_MAX, f"{len(starts)} pieces of arrival rate", "rates", "Give at least one."
        )
        _require(
            starts[0] == 0 and all(a < b for a, b in pairwise(starts)),
            "the pieces of the arrival rate do not start at 0 and rise",
            "rates",
            "Give [[0, rate], [1800, rate], ...] in time order.",
        )
        for _, rate in self.pieces:
            _number(rate, "rates", 0, 1e12)
        for key in ("day_scv", "interval_scv"):
            _number(getattr(self, key), key, 0, 100)
        if self.period is not None:
            _number(self.period, "period", 1e-3, DURATION_MAX_S)
            _require(
                starts[-1] < self.period, "a piece starts after the period", "period", "Give a longer period."
            )


def poisson(per_hour: float, *, day_scv: float = 0.0) -> Rates:
    """Poisson arrivals at one rate, contacts an hour."""
    return Rates(((0.0, per_hour),), day_scv=day_scv)


@dataclass(frozen=True)
class Trace:
    """Arrivals as they were: ``times`` in seconds, rising; ``names`` of the contacts, if they have any."""

    times: tuple[float, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(len(self.times) <= TRACE_MAX, f"a trace of {len(self.times)}", "trace", f"At most {TRACE_MAX}.")
        previous = 0.0
        for time in self.times:
            _require(
                math.isfinite(time) and previous <= time,
                f"{time!r} follows {previous!r} in a trace",
                "trace",
                "Give seconds, 0 or more, in time order.",
            )
            previous = time
        _require(
            not self.names or len(self.names) == len(self.times),
            f"{len(self.names)} names for {len(self.times)} arrivals",
            "trace",
            "Give one name an arrival, or none.",
        )


@dataclass(frozen=True)
class Retry:
    """Who does not get through tries again: with ``probability``, after ``delay``, at most ``attempts`` more times."""

    probability: float
    delay: Law
    attempts: int = 1

    def __post_init__(self) -> None:
        _number(self.probability, "retry", 0, 1)
        _require(1 <= self.attempts <= 1000, f"{self.attempts} more attempts", "retry", "Give 1 to 1000.")


@dataclass(frozen=True)
class ServiceBy:
    """The service time of some agents, where it differs from the others'."""

    agents: tuple[str, ...]
    service: Law


@dataclass(frozen=True)
class Source:
    """A stream of alike contacts to one queue.

    ``service`` is the time of conversation; ``patience`` how long a contact waits before it leaves; ``ring``
    the time that an agent takes to accept an offer; ``no_answer`` the share of offers that the agent lets
    expire (in a queue without an offer time-out it declines instead); ``wrap_up`` None keeps the wrap-up of the
    center file, and agents who have a wrap-up of their own there always keep it. ``requires`` and ``priority``
    are the contact's own, as in ``contact_queued``.
    """

    queue: str
    arrivals: Rates | Trace
    service: Law
    patience: Law = field(default_factory=Never)
    name: str = ""
    requires: tuple[tuple[str, int], ...] | None = None
    priority: int = 0
    ring: Law = field(default_factory=lambda: Deterministic(0.0))
    no_answer: float = 0.0
    wrap_up: Law | None = None
    retry: Retry | None = None
    service_by: tuple[ServiceBy, ...] = ()

    def __post_init__(self) -> None:
        _number(self.no_answer, "no_answer", 0, 1)
        _number(self.priority, "priority", -1_000_000_000, 1_000_000_000)


@dataclass(frozen=True)
class Shift:
    """When agents work: ``work`` are (from, to) seconds, in order; a gap between two is a break (away), else
    they are offline.

    ``agents`` empty: all who have no shift of their own. ``period``: repeated every so many seconds.
    """

    work: tuple[tuple[float, float], ...]
    agents: tuple[str, ...] = ()
    period: float | None = None

    def __post_init__(self) -> None:
        _require(len(self.work) > 0, "a shift without working hours", "work", "Give [[from, to], ...].")
        previous = 0.0
        for start, end in self.work:
            _require(
                previous <= start < end <= DURATION_MAX_S,
                f"working hours [{start!r}, {end!r}] after {previous!r}",
                "work",
                "Give pairs [from, to] in time order that do not overlap.",
            )
            previous = end
        _require(
            self.period is None or previous <= self.period < DURATION_MAX_S,
            "the working hours are longer than the period",
            "period",
            "Give a longer period.",
        )


@dataclass(frozen=True)
class Scenario:
    """A world around a center.

    ``duration``: seconds of arrivals; after it contacts that wait or talk are seen to their end, for at most
    ``drain`` seconds. ``warm_up``: contacts that arrive, and agents' time, before it are not counted. ``lines``:
    trunk lines, 0 without limit; a contact that finds all taken by waiting and connected ones hears busy.
    ``max_alive``: a run with more contacts alive at once (waiting, connected, or about to try again) ends with a
    LimitError. Agents without a shift work all the time. ``campaigns``: outbound ones.
    """

    sources: tuple[Source, ...]
    duration: float
    shifts: tuple[Shift, ...] = ()
    warm_up: float = 0.0
    drain: float = 86400.0
    lines: int = 0
    waiting_places: int = 0
    max_alive: int = ALIVE_MAX
    campaigns: tuple[Campaign, ...] = ()

    def __post_init__(self) -> None:
        _require(
            len(self.sources) + len(self.campaigns) > 0,
            "a scenario without arrivals",
            "arrivals",
            "Give at least one source, or a campaign.",
        )
        _number(self.duration, "duration", 1e-6, DURATION_MAX_S)
        _number(self.warm_up, "warm_up", 0, self.duration)
        _number(self.drain, "drain", 0, DURATION_MAX_S)
        _number(self.lines, "lines", 0, 2**31 - 1)
        _number(self.waiting_places, "waiting_places", 0, 2**31 - 1)
        _number(self.max_alive, "max_alive", 1, 50_000_000)
        for source in self.sources:
            if isinstance(source.arrivals, Rates) and source.arrivals.period is not None:
                self._repeats("rates", len(source.arrivals.pieces), source.arrivals.period)
        for shift in self.shifts:
            if shift.period is not None:
                self._repeats("work", len(shift.work), shift.period)
        _require(
            self.warm_up < self.duration, "the warm-up is the whole run", "warm_up", "Give a longer duration."
        )


    def _repeats(self, key: str, pieces: int, period: float) -> None:
        _require(
            pieces * (self.duration / period + 1) <= PIECES_MAX,
            f"{key} of a period of {period:g} s, {pieces} each, in {self.duration:g} s",
            "period",
            f"At most {PIECES_MAX} in all: give a longer period.",
        )


def check_names(scenario: Scenario, center: Center) -> None:
    """Raise a DataError where a scenario names what the center does not have."""
    queues, agents = {q.name for q in center.queues}, {a.name for a in center.agents}
    skills = {skill for agent in center.agents for skill in agent.skills}
    for source in scenario.sources:
        _require(
            source.queue in queues,
            f"there is no queue {source.queue!r}",
            "arrivals.queue",
            f"The center has {_some(queues)}.",
        )
        for rule in source.service_by:
            _known(rule.agents, agents, "arrivals.service_by.agents")
        for skill, level in source.requires or ():
            _require(skill in skills, f"no agent has the skill {skill!r}", "arrivals.requires", "Check the name.")
            _require(1 <= level <= 10, f"{skill} at level {level!r}", "arrivals.requires", "Levels are 1 to 10.")
    check_campaigns(scenario.campaigns, center, scenario.duration)
    seen: set[str] = set()
    for shift in scenario.shifts:
        _known(shift.agents, agents, "shifts.agents")
        twice = seen & set(shift.agents)
        _require(not twice, f"two shifts for {_some(twice)}", "shifts.agents", "Give all hours in one shift.")
        seen |= set(shift.agents)
    _require(
        sum(not shift.agents for shift in scenario.shifts) <= 1,
        "two shifts for all agents",
        "shifts",
        "Name the agents in all but one.",
    )


def _known(names: tuple[str, ...], all_names: set[str], key: str) -> None:
    for name in names:
        _require(name in all_names, f"there is no agent {name!r}", key, f"The center has {_some(all_names)}.")


def _some(names: set[str] | Mapping[str, object]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:8]) + (f" and {len(ordered) - 8} more" if len(ordered) > 8 else "")
