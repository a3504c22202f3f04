"""What a simulation found: key figures with intervals, for each queue, each agent group, and the whole center.

Counters are kept per replication (or per batch of one long run); a figure is that of all replications together,
its interval the jackknife over them. Definitions are those of ``cordboard.kpi``, and every figure is shown by
its id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from cordboard.errors import DataError, Where
from cordboard.kpi import KPIS, SHORT_ABANDON_S, Tally
from cordboard.simulation.campaign_result import CAMPAIGN_FORMULAS, CAMPAIGN_IDS, CampaignResult
from cordboard.simulation.intervals import Estimate, interval, jackknife

Ints = npt.NDArray[np.int64]

# Columns of the kernel's counters of a queue, in its order (``_core/simkernel.pxd``); times in microseconds.
COUNTERS = (
    "offered", "answered", "abandoned", "short", "timeout", "flowout", "rejected", "answered_in", "abandoned_in",
    "wait_answered", "wait_abandoned", "wait_other", "longest", "delayed", "talk", "offers", "missed", "busy",
    "retried", "open",
)  # fmt: skip
AT = {name: i for i, name in enumerate(COUNTERS)}
STATES = ("offline", "away", "idle", "ringing", "talking", "wrap_up")  # columns of an agent's time, microseconds

BINS_PER_OCTAVE = 32
BIN_UNIT_US = 1024  # waits are binned from about a millisecond up; a bin is 1/32 of an octave wide


@dataclass(frozen=True)
class Counts:
    """What the kernel counted. First axis: replications or batches."""

    queues: Ints  # (n, queues, len(COUNTERS))
    waits: Ints  # (n, queues, bins): answered contacts by their wait
    agents: Ints  # (n, agents, len(STATES))
    handled: Ints  # (n, agents)
    seconds: npt.NDArray[np.float64]  # (n,) length of the window counted


def tally_of(row: Ints, threshold_s: float, short_s: float = SHORT_ABANDON_S) -> Tally:
    """The tally of one queue's counters."""
    count = {name: int(row[i]) for name, i in AT.items()}
    return Tally(
        threshold_s=threshold_s,
        short_s=short_s,
        wait_answered_s=count["wait_answered"] / 1e6,
        wait_abandoned_s=count["wait_abandoned"] / 1e6,
        wait_other_s=count["wait_other"] / 1e6,
        longest_s=count["longest"] / 1e6,
        **{name: count[name] for name in COUNTERS[: AT["wait_answered"]]},
    )



def bin_edges(bins: int) -> npt.NDArray[np.float64]:
    """Lower ends of the wait bins, seconds, with the upper end of the last: float64, shape (bins + 1,)."""
    low = np.arange(BINS_PER_OCTAVE, dtype=np.float64)
    edges = [low]
    octave = 0
    while sum(map(len, edges)) < bins + 1:
        edges.append((BINS_PER_OCTAVE + low) * 2.0**octave)
        octave += 1
    return np.concatenate(edges)[: bins + 1] * (BIN_UNIT_US / 1e6)


def quantile(counts: Ints, p: float) -> float:
    """The ``p`` quantile, seconds, of binned waits; linear within a bin, and 0 for those who did not wait (bin 0)."""
    total = int(counts.sum())
    if total == 0:
        return math.nan
    cumulative = np.cumsum(counts)
    i = int(np.searchsorted(cumulative, p * total))
    if i == 0:
        return 0.0
    edges = bin_edges(len(counts))
    share = (p * total - cumulative[i - 1]) / counts[i]
    return float(edges[i] + share * (edges[i + 1] - edges[i]))


Figure = Callable[[Tally, Ints, float], float]  # of a tally, its counter row, and the seconds it covers


T = TypeVar("T")


def _known(found: Mapping[str, T], name: str) -> T:
    if name not in found:
        raise DataError(f"there is no {name!r} here", Where(key=name), f"There are {', '.join(found)}.")
    return found[name]


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _ratio(top: float, base: float) -> float:
    return top / base if base else math.nan


def _kpi(id: str) -> Figure:
    return lambda tally, row, seconds: _nan(KPIS[id].compute(tally))


_DELAYED = "DELAYED"
FIGURES: Mapping[str, Figure] = {
    **{id: _kpi(id) for id in KPIS},
    _DELAYED: lambda tally, row, seconds: _ratio(float(row[AT["delayed"]]), tally.offered),
    "AHT_TALK": lambda tally, row, seconds: _ratio(row[AT["talk"]] / 1e6, tally.answered),
    "BLOCKED": lambda tally, row, seconds: _ratio(
        float(row[AT["busy"]] + tally.rejected), float(row[AT["busy"]] + tally.rejected + tally.offered)
    ),
    "MISSED_OFFERS": lambda tally, row, seconds: _ratio(float(row[AT["missed"]]), float(row[AT["offers"]])),
    "QUEUE_LENGTH": lambda tally, row, seconds: _ratio(
        tally.wait_answered_s + tally.wait_abandoned_s + tally.wait_other_s, seconds
    ),
    "OFFERED_HOUR": lambda tally, row, seconds: _ratio(3600.0 * tally.offered, seconds),
}
FORMULAS: Mapping[str, tuple[str, str, str]] = {  # English, Chinese, formula
    **CAMPAIGN_FORMULAS,
    **{id: (kpi.en, kpi.zh, kpi.formula) for id, kpi in KPIS.items()},
    _DELAYED: ("Share delayed", "需等待比例", "offered that did not get an agent at once / offered"),
    "AHT_TALK": ("Mean conversation, s", "平均通话时长（秒）", "talk / answered, without wrap-up"),
    "BLOCKED": ("Blocked", "遇忙率", "(no line free + queue full) / all that came"),
    "MISSED_OFFERS": ("Offers missed", "振铃未接率", "offers expired or declined / offers"),
    "QUEUE_LENGTH": ("Mean queue length", "平均排队人数", "sum of waits of all / seconds (Little's law)"),
    "OFFERED_HOUR": ("Offered an hour", "每小时呼入量", "offered / hours"),
    "WAIT_P50": ("Wait of answered, median, s", "接通等待中位数（秒）", "50 % of answered waited no longer"),
    "WAIT_P90": ("Wait of answered, 90 %, s", "接通等待 90 分位（秒）", "90 % of answered waited no longer"),
    "OCC_AVAILABLE": ("Occupancy", "占有率", "(talk + wrap-up) / (login - away)"),
    "OCC_LOGIN": ("Occupancy of login time", "占有率（登录）", "(talk + wrap-up) / login"),
    "OCC_TALK": ("Share of available time in conversation", "通话占比", "talk / (login - away)"),
    "HANDLED_HOUR": ("Handled an hour and agent", "每座席每小时处理量", "handled / hours of login"),
}
QUANTILES = {"WAIT_P50": 0.5, "WAIT_P90": 0.9}


@dataclass(frozen=True)
class QueueResult:
    """One queue, or all together: ``result["SL_OFFERED"]`` is an Estimate; ``per_run`` one value a replication."""

    name: str
    threshold_s: float
    rows: Ints = field(repr=False)  # (n, len(COUNTERS))
    waits: Ints = field(repr=False)  # (n, bins)
    seconds: npt.NDArray[np.float64] = field(repr=False)

    def tally(self) -> Tally:
        """The counters of all replications together."""
        return tally_of(_sum_rows(self.rows), self.threshold_s)

    def count(self, counter: str) -> int:
        """One of ``COUNTERS``, over all replications."""
        return int(_sum_rows(self.rows)[_known(AT, counter)])

    def __getitem__(self, id: str) -> Estimate:
        if id in QUANTILES:
            runs = interval(self.per_run(id))
            return Estimate(quantile(self.waits.sum(axis=0), QUANTILES[id]), runs.half_width, runs.n)
        total = _sum_rows(self.rows)
        pooled = _known(FIGURES, id)(tally_of(total, self.threshold_s), total, float(self.seconds.sum()))
        return jackknife(pooled, self.left_out(id))

    def left_out(self, id: str) -> list[float]:
        """The figure of all replications or batches but one, for each of them; empty where there is only one."""
        if len(self.rows) < 2:
            return []
        if id in QUANTILES:
            all_waits = self.waits.sum(axis=0)
            return [quantile(all_waits - waits, QUANTILES[id]) for waits in self.waits]
        figure, total, seconds = _known(FIGURES, id), _sum_rows(self.rows), float(self.seconds.sum())
        return [
            figure(tally_of(total - row, self.threshold_s), total - row, seconds - float(length))
            for row, length in zip(self.rows, self.seconds, strict=True)
        ]

    def per_run(self, id: str) -> list[float]:
        """The figure of each replication or batch; NaN where nothing was observed."""
        if id in QUANTILES:
            return [quantile(waits, QUANTILES[id]) for waits in self.waits]
        figure = _known(FIGURES, id)
        return [
            figure(tally_of(row, self.threshold_s), row, float(length))
            for row, length in zip(self.rows, self.seconds, strict=True)
        ]


def _sum_rows(rows: Ints) -> Ints:
    total: Ints = rows.sum(axis=0)
    total[AT["longest"]] = rows[:, AT["longest"]].max(initial=0)
    return total


_AGENT_FIGURES: Mapping[str, Callable[[Ints, float], float]] = {  # of state times (us) and contacts handled
    "OCC_AVAILABLE": lambda s, handled: _ratio(float(s[4] + s[5]), float(s[2:].sum())),
    "OCC_LOGIN": lambda s, handled: _ratio(float(s[4] + s[5]), float(s[1:].sum())),
    "OCC_TALK": lambda s, handled: _ratio(float(s[4]), float(s[2:].sum())),
    "HANDLED_HOUR": lambda s, handled: _ratio(3.6e9 * handled, float(s[1:].sum())),
}


@dataclass(frozen=True)
class GroupResult:
    """Agents who have the same skills, queues and capacity: ``result["OCC_AVAILABLE"]`` is an Estimate."""

    name: str
    agents: tuple[str, ...]
    states: Ints = field(repr=False)  # (n, len(STATES)), summed over the agents
    handled: Ints = field(repr=False)  # (n,)

    def __getitem__(self, id: str) -> Estimate:
        figure = _known(_AGENT_FIGURES, id)
        return jackknife(figure(self.states.sum(axis=0), float(self.handled.sum())), self.left_out(id))

    def left_out(self, id: str) -> list[float]:
        """The figure of all replications but one, for each of them; empty where there is only one."""
        if len(self.states) < 2:
            return []
        figure, states, handled = _known(_AGENT_FIGURES, id), self.states.sum(axis=0), float(self.handled.sum())
        return [figure(states - row, handled - float(n)) for row, n in zip(self.states, self.handled, strict=True)]

    def per_run(self, id: str) -> list[float]:
        """The figure of each replication or batch."""
        figure = _known(_AGENT_FIGURES, id)
        return [figure(row, float(count)) for row, count in zip(self.states, self.handled, strict=True)]


QUEUE_IDS = (
    "OFFERED_HOUR", "SL_OFFERED", "ASA", "WAIT_P50", "WAIT_P90", "WAIT_ALL", "ABANDON_RATE", "ANSWER_RATE", "DELAYED",
    "QUEUE_LENGTH", "AHT_TALK", "BLOCKED", "MISSED_OFFERS",
)  # fmt: skip
GROUP_IDS = tuple(_AGENT_FIGURES)


@dataclass(frozen=True)
class SimulationResult:
    """The outcome of ``simulate``. ``queues`` by name, ``total``, and agent ``groups``; ``events`` and
    ``contacts`` done."""

    queues: Mapping[str, QueueResult]
    total: QueueResult
    groups: tuple[GroupResult, ...]
    everyone: GroupResult
    replications: int
    seed: int
    contacts: int
    events: int
    kernel_seconds: float  # spent in the kernel, summed over threads
    records: tuple[npt.NDArray[Any], ...] = field(repr=False, default=())
    campaigns: Mapping[str, CampaignResult] = field(default_factory=dict)

    def queue(self, name: str) -> QueueResult:
        """The result of one queue; ``total`` holds all queues together."""
        return _known(self.queues, name)

    @property
    def ids(self) -> tuple[str, ...]:
        """The figures that this result has."""
        return (*QUEUE_IDS, *GROUP_IDS, *(CAMPAIGN_IDS if self.campaigns else ()))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON. NaN (nothing observed) becomes None."""
        return {
            "replications": self.replications,
            "seed": self.seed,
            "contacts": self.contacts,
            "definitions": {id: FORMULAS[id][2] for id in self.ids},
            "queues": {name: _queue_dict(one) for name, one in (*self.queues.items(), ("total", self.total))},
            "groups": [_group_dict(group) for group in self.groups],
        } | ({} if not self.campaigns else {"campaigns": {n: _campaign_dict(c) for n, c in self.campaigns.items()}})


def _queue_dict(one: QueueResult) -> dict[str, Any]:
    return {"threshold_s": one.threshold_s, "counts": {name: one.count(name) for name in COUNTERS[:9]}} | {
        id: plain(one[id]) for id in QUEUE_IDS
    }


def _campaign_dict(one: CampaignResult) -> dict[str, Any]:
    return one.as_dict() | {id: plain(one[id]) for id in CAMPAIGN_IDS}


def _group_dict(one: GroupResult) -> dict[str, Any]:
    return {"name": one.name, "agents": len(one.agents)} | {id: plain(one[id]) for id in GROUP_IDS}


def plain(estimate: Estimate) -> dict[str, float | None]:
    """An estimate for JSON; None where there is no number."""

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {"mean": finite(estimate.mean), "half_width": finite(estimate.half_width)}
