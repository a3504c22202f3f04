"""Two centers in the same world: differences of figures with intervals, and what changed for each contact.

Both meet the same callers with the same service demand, patience and retries (common random numbers), so a
difference is seen with far fewer replications than two simulations apart would need. A report on paper: nothing
is deployed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard.center import Center
from cordboard.errors import DataError, Where
from cordboard.simulation.campaign_result import CAMPAIGN_IDS
from cordboard.simulation.intervals import Estimate, jackknife
from cordboard.simulation.result import GROUP_IDS, QUEUE_IDS, SimulationResult, plain
from cordboard.simulation.run import Progress, simulate
from cordboard.simulation.scenario import Scenario, Trace

OUTCOMES = ("answered", "abandoned", "timeout", "rejected", "busy")

# What happened to one first attempt in both centers; waits in seconds, agents by their place in each center.
CHANGE = np.dtype([
    ("replication", "i4"), ("source", "i4"), ("index", "i8"), ("outcome_a", "i4"), ("outcome_b", "i4"),
    ("wait_a", "f8"), ("wait_b", "f8"), ("agent_a", "i4"), ("agent_b", "i4"),
])  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """A figure of all replications in both centers, and b minus a: its interval is the jackknife over replications in
    pairs."""

    a: Estimate
    b: Estimate
    difference: Estimate

    @property
    def clear(self) -> bool:
        """Whether the interval of the difference leaves out zero."""
        return self.difference.low > 0 or self.difference.high < 0


@dataclass(frozen=True)
class Comparison:
    """``queues["billing"]["ASA"]`` is a Difference, ``campaigns["renewals"]["DROP_RATE"]`` too; ``contacts`` an array
    of CHANGE, one row an inbound contact's first attempt."""

    a: SimulationResult
    b: SimulationResult
    queues: Mapping[str, Mapping[str, Difference]]
    occupancy: Mapping[str, Difference]
    campaigns: Mapping[str, Mapping[str, Difference]]
    contacts: npt.NDArray[Any]

    def moves(self) -> dict[tuple[str, str], int]:
        """How many contacts ended how in a and how in b."""
        pairs, counts = np.unique(
            np.stack([self.contacts["outcome_a"], self.contacts["outcome_b"]]), axis=1, return_counts=True
        )
        return {(OUTCOMES[x], OUTCOMES[y]): int(n) for (x, y), n in zip(pairs.T, counts, strict=True)}

    def wait_change(self) -> dict[str, float]:
        """Of the contacts answered in both: mean change of the wait (s), and the shares that waited less, as
        long, longer."""
        both = self.contacts[(self.contacts["outcome_a"] == 0) & (self.contacts["outcome_b"] == 0)]
        if len(both) == 0:
            return {"contacts": 0, "mean": math.nan, "shorter": math.nan, "same": math.nan, "longer": math.nan}
        change = both["wait_b"] - both["wait_a"]
        return {
            "contacts": len(both),
            "mean": float(change.mean()),
            "shorter": float((change < 0).mean()),
            "same": float((change == 0).mean()),
            "longer": float((change > 0).mean()),
        }

    def most_changed(self, scenario: Scenario, n: int = 10) -> list[dict[str, Any]]:
        """The ``n`` contacts whose wait changed most, in the first replication; by name where the trace has names."""
        first = self.contacts[self.contacts["replication"] == 0]
        change = np.abs(first["wait_b"] - first["wait_a"])
        rows = first[np.argsort(-change, kind="stable")[:n]]
        return [_described(row, scenario) for row in rows]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""

        def one(d: Difference) -> dict[str, Any]:
            return {"a": plain(d.a), "b": plain(d.b), "difference": plain(d.difference), "clear": d.clear}

        wait = {key: value if math.isfinite(value) else None for key, value in self.wait_change().items()}
        return {
            "replications": self.a.replications,
            "seed": self.a.seed,
            "queues": {name: {id: one(d) for id, d in ids.items()} for name, ids in self.queues.items()},
            "occupancy": {id: one(d) for id, d in self.occupancy.items()},
            "campaigns": {name: {id: one(d) for id, d in ids.items()} for name, ids in self.campaigns.items()},
            "contacts": {"moves": [{"a": a, "b": b, "n": n} for (a, b), n in self.moves().items()], "wait": wait},
        }


def _described(row: Any, scenario: Scenario) -> dict[str, Any]:
    source = scenario.sources[int(row["source"])]
    index = int(row["index"])
    named = isinstance(source.arrivals, Trace) and source.arrivals.names
    return {
        "contact": source.arrivals.names[index] if named else f"{source.name or source.queue}#{index}",  # type: ignore[union-attr]
        "queue": source.queue,
        "a": OUTCOMES[int(row["outcome_a"])],
        "b": OUTCOMES[int(row["outcome_b"])],
        "wait_a": float(row["wait_a"]),
        "wait_b": float(row["wait_b"]),
    }


def compare(
    a: Center,
    b: Center,
    scenario: Scenario,
    *,
    scenario_b: Scenario | None = None,
    replications: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Simulate two centers with common random numbers and compare them, b minus a.

    ``scenario_b`` is the same scenario where b needs other shifts (other agents); its sources must be the same. Raises
    DataError, LimitError as ``simulate`` does.
    """
    others = scenario if scenario_b is None else scenario_b
    if (others.sources, others.campaigns) != (scenario.sources, scenario.campaigns):
        raise DataError("the two scenarios have different arrivals", Where(key="arrivals"), "Only shifts may differ.")
    half = None if progress is None else (lambda n: progress(replications + n))
    result_a = simulate(a, scenario, replications=replications, seed=seed, records=True, progress=progress)
    result_b = simulate(b, scenario_b or scenario, replications=replications, seed=seed, records=True, progress=half)
    shared = [name for name in result_a.queues if name in result_b.queues]
    queues = {
        name: {id: _difference(result_a.queues[name], result_b.queues[name], id) for id in QUEUE_IDS} for name in shared
    }
    queues["total"] = {id: _difference(result_a.total, result_b.total, id) for id in QUEUE_IDS}
    occupancy = {id: _difference(result_a.everyone, result_b.everyone, id) for id in GROUP_IDS}
    campaigns = {
        name: {id: _difference(one, result_b.campaigns[name], id) for id in CAMPAIGN_IDS}
        for name, one in result_a.campaigns.items()
    }
    changes = [
        _changes(r, x, y) for r, (x, y) in enumerate(zip(result_a.records, result_b.records, strict=True))
    ]
    return Comparison(result_a, result_b, queues, occupancy, campaigns, np.concatenate(changes))


def _difference(a: Any, b: Any, id: str) -> Difference:
    left_out = [y - x for x, y in zip(a.left_out(id), b.left_out(id), strict=True)]
    return Difference(a[id], b[id], jackknife(b[id].mean - a[id].mean, left_out))


def _changes(replication: int, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """First attempts that both runs decided, side by side."""
    a, b = (records[records["attempt"] == 0] for records in (a, b))
    keys_a, keys_b = (records["source"].astype(np.int64) << 40 | records["index"] for records in (a, b))
    _, at_a, at_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
    a, b = a[at_a], b[at_b]
    out = np.zeros(len(a), CHANGE)
    out["replication"] = replication
    out["source"], out["index"] = a["source"], a["index"]
    for name, records in (("a", a), ("b", b)):
        out[f"outcome_{name}"] = records["outcome"]
        out[f"wait_{name}"] = records["wait"] / 1e6
        out[f"agent_{name}"] = records["agent"]
    return out
