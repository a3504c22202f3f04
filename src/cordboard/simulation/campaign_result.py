"""What a simulation found about a campaign, with intervals: dials, answers, drops by window, its agents' occupancy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cordboard.errors import DataError, Where
from cordboard.simulation.intervals import Estimate, interval, jackknife

if TYPE_CHECKING:
    from cordboard.simulation.outbound import Dialing
    from cordboard.simulation.scenario import Scenario

# Columns of the counts of a campaign.
COLUMNS = ("dials", "answers", "drops", "connected", "machines", "failed", "invalid", "cancelled", "false_machines")
AT = {name: i for i, name in enumerate(COLUMNS)}
HOUR = 60  # minutes


@dataclass(frozen=True)
class CampaignRun:
    """A campaign in one replication. ``counts``: of the window that is counted; ``worst_hour``: the highest share of
    answers dropped in any 60 minutes of the day that are full; ``windows``: the worst of each window of its ledger;
    ``reasons``: seconds under each reason of its plans.
    """

    counts: npt.NDArray[np.int64]
    worst_hour: float
    windows: Mapping[str, float]
    reasons: Mapping[str, float]

    @staticmethod
    def of(dialing: Dialing, scenario: Scenario) -> CampaignRun:
        """What a campaign has come to at the end of its day."""
        minutes = dialing.minutes
        first, last = math.ceil(scenario.warm_up / 60.0), math.ceil(scenario.duration / 60.0)
        ones = np.ones(HOUR)
        drops, answers = (
            np.convolve(minutes[:, AT[name]], ones)[HOUR - 1 : len(minutes)] for name in ("drops", "answers")
        )
        worst = float((drops / np.maximum(answers, 1.0)).max()) if len(drops) else math.nan
        ledger = dialing.pacer.ledger
        windows = {state.rule.name: state.worst for state in ledger.windows(ledger.now)}
        return CampaignRun(minutes[first:last].sum(axis=0), worst, windows, dict(dialing.reasons))


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


# A figure of counts, hours of the window, and hours that its agents were at work (login without away).
_FIGURES: Mapping[str, Callable[[npt.NDArray[np.int64], float, float], float]] = {
    "DIALS_HOUR": lambda c, hours, staffed: _ratio(float(c[AT["dials"]]), hours),
    "ANSWERED_DIALS": lambda c, hours, staffed: _ratio(float(c[AT["answers"]]), float(c[AT["dials"]])),
    "DROP_RATE": lambda c, hours, staffed: _ratio(float(c[AT["drops"]]), float(c[AT["answers"]])),
    "CONNECTED_AGENT_HOUR": lambda c, hours, staffed: _ratio(float(c[AT["connected"]]), staffed),
    "MACHINE_SHARE": lambda c, hours, staffed: _ratio(float(c[AT["machines"]]), float(c[AT["dials"]])),
    "CANCELLED_SHARE": lambda c, hours, staffed: _ratio(float(c[AT["cancelled"]]), float(c[AT["dials"]])),
}
CAMPAIGN_FORMULAS: Mapping[str, tuple[str, str, str]] = {  # English, Chinese, formula
    "DIALS_HOUR": ("Dials an hour", "每小时拨号", "dials / hours"),
    "ANSWERED_DIALS": ("Answered by a person", "真人接听率", "answers taken for a person / dials"),
    "DROP_RATE": ("Drop rate", "掉话率", "answers that found no agent in time / answers"),
    "DROP_WORST_HOUR": ("Drop rate of the worst hour", "最差一小时掉话率", "highest of any 60 minutes, mean over runs"),
    "CONNECTED_AGENT_HOUR": ("Connected an hour and agent", "每座席每小时接通", "connected / (login - away)"),
    "TEAM_OCC": ("Occupancy of its agents", "所属座席占有率", "(talk + wrap-up) / (login - away)"),
    "MACHINE_SHARE": ("Taken for a machine", "判为应答机", "judged to be machines / dials"),
    "CANCELLED_SHARE": ("Cancelled while ringing", "振铃中取消", "cancelled / dials"),
}
CAMPAIGN_IDS = tuple(CAMPAIGN_FORMULAS)
CAMPAIGN_PERCENT = {
    "ANSWERED_DIALS", "DROP_RATE", "DROP_WORST_HOUR", "TEAM_OCC", "MACHINE_SHARE", "CANCELLED_SHARE",
}  # fmt: skip


@dataclass(frozen=True)
class CampaignResult:
    """One campaign: ``result["DROP_RATE"]`` is an Estimate; ``per_run`` one value a replication.

    ``counts``: shape (n, COLUMNS). ``states``: microseconds of its agents in each state, shape (n, states).
    """

    name: str
    queue: str
    target: float
    agents: int
    runs: tuple[CampaignRun, ...] = field(repr=False)
    counts: npt.NDArray[np.int64] = field(repr=False)
    states: npt.NDArray[np.int64] = field(repr=False)
    seconds: npt.NDArray[np.float64] = field(repr=False)

    def count(self, column: str) -> int:
        """One of ``COLUMNS``, over all replications."""
        if column not in AT:
            raise DataError(f"nothing is counted as {column!r}", Where(key=column), f"Use one of {', '.join(COLUMNS)}.")
        return int(self.counts[:, AT[column]].sum())

    def _figure(self, id: str, counts: Any, states: Any, seconds: float) -> float:
        if id == "TEAM_OCC":
            return _ratio(float(states[4] + states[5]), float(states[2:].sum()))
        return _FIGURES[id](counts, seconds / 3600.0, float(states[2:].sum()) / 3.6e9)

    def per_run(self, id: str) -> list[float]:
        """The figure of each replication."""
        if id not in CAMPAIGN_FORMULAS:
            hint = f"Use one of {', '.join(CAMPAIGN_IDS)}."
            raise DataError(f"there is no figure {id!r} of a campaign", Where(key=id), hint)
        if id == "DROP_WORST_HOUR":
            return [run.worst_hour for run in self.runs]
        return [self._figure(id, *row) for row in zip(self.counts, self.states, self.seconds, strict=True)]

    def __getitem__(self, id: str) -> Estimate:
        single = self.per_run(id)
        if id == "DROP_WORST_HOUR":
            return interval(single)
        pooled = self._figure(id, self.counts.sum(axis=0), self.states.sum(axis=0), float(self.seconds.sum()))
        return jackknife(pooled, self.left_out(id))

    def left_out(self, id: str) -> list[float]:
        """The figure of all replications but one, for each of them; empty where there is only one."""
        single = self.per_run(id)
        if len(single) < 2:
            return []
        if id == "DROP_WORST_HOUR":  # a mean of replications
            return [(sum(single) - one) / (len(single) - 1) for one in single]
        rows = (self.counts, self.states, self.seconds)
        total, rest = [one.sum(axis=0) for one in rows], zip(*rows, strict=True)
        return [self._figure(id, *(t - part for t, part in zip(total, row, strict=True))) for row in rest]

    @property
    def windows(self) -> dict[str, float]:
        """The highest drop rate that a full window of each rule ended with, over all replications."""
        return {name: max(run.windows[name] for run in self.runs) for name in self.runs[0].windows}

    @property
    def reasons(self) -> dict[str, float]:
        """Share of the dialing hours under each reason of the pacer's plans, the longest first."""
        total: dict[str, float] = {}
        for run in self.runs:
            for reason, seconds in run.reasons.items():
                total[reason] = total.get(reason, 0.0) + seconds
        whole = sum(total.values()) or 1.0
        return {reason: s / whole for reason, s in sorted(total.items(), key=lambda pair: -pair[1])}

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the estimates."""
        return {
            "queue": self.queue,
            "target": self.target,
            "agents": self.agents,
            "counts": {name: self.count(name) for name in COLUMNS},
            "worst_windows": self.windows,
            "reasons": self.reasons,
        }


def campaign_result(
    name: str,
    queue: str,
    target: float,
    at: Sequence[int],
    runs: Sequence[CampaignRun],
    agents: npt.NDArray[np.int64],
    seconds: npt.NDArray[np.float64],
) -> CampaignResult:
    """A campaign's replications together; ``agents``: rows of all, (n, agents, states); ``at``: which are its own."""
    counts = np.stack([run.counts for run in runs])
    states = agents[:, list(at)].sum(axis=1)
    return CampaignResult(name, queue, target, len(at), tuple(runs), counts, states, seconds)
