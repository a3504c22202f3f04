"""The answer model: who will answer, a person or a machine, the right one, and with what success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordboard.errors import DataError, Where
from cordboard.learning.compiled import Compiled
from cordboard.learning.contest import ContestRule
from cordboard.learning.drift import Alarm, FeatureDrift
from cordboard.learning.encoding import Encoded, Encoder, Table, is_missing
from cordboard.learning.head import Explanation, Head, Pending, Settings
from cordboard.learning.labels import LabelQueue
from cordboard.learning.schema import Known, Schema

Floats = NDArray[np.float64]

# How an attempt ends. Asked one after the other, each among those that are left: a chain of yes-or-no questions, so
# that the five probabilities sum to one by construction, and each question is calibrated by itself (continuation
# ratios: Fienberg, The Analysis of Cross-Classified Categorical Data, 1980, chapter 6).
OUTCOMES = ("person", "machine", "busy", "no_answer", "invalid")
HEADS = (*OUTCOMES[:-1], "right_party", "success")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call. ``outcome``: one of OUTCOMES, None = not recorded; the others: None = not known."""

    outcome: str | None = None
    right_party: bool | None = None
    success: bool | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Probabilities of one attempt.

    ``outcomes``: of each of OUTCOMES, summing to 1 (empty if the model has no outcome heads). ``right_party`` and
    ``success`` are of the whole attempt: a person answers *and* is the right one *and* agrees; None without such a
    head. ``given``: each head's own answer, e.g. ``success`` among those who are the right party. ``effective_n``:
    labels behind the shrunk rate of the first head: how sure it is of this kind of row. ``served_by``: the expert
    that counts most in each head.
    """

    outcomes: dict[str, float]
    right_party: float | None
    success: float | None
    given: dict[str, float]
    effective_n: float
    served_by: dict[str, str]
    version: str

    @property
    def person(self) -> float | None:
        """Probability that a person answers."""
        return self.outcomes.get("person")

    @property
    def machine(self) -> float | None:
        """Probability that an answering machine answers."""
        return self.outcomes.get("machine")


class AnswerModel:
    """Predicts how an attempt to call will end, and learns from how it ended.

    ``schema``: the features. ``heads``: some of HEADS in their order; the four outcome heads come together or not at
    all. ``at``: when predictions are made; features known later are refused (those named in ``features``) or left
    out. ``pending_limit``: predictions that may wait for their outcome.
    """

    def __init__(
        self,
        schema: Schema,
        heads: Sequence[str] = HEADS,
        *,
        at: Known = "before_dial",
        features: Sequence[str] | None = None,
        settings: Settings | None = None,
        rule: ContestRule | None = None,
        pending_limit: int = 100_000,
    ) -> None:
        for name in heads:
            if name not in HEADS:
                raise DataError(f"there is no head {name!r}", Where(key="heads"), f"Heads are {', '.join(HEADS)}.")
        chain = [name for name in heads if name in OUTCOMES]
        if not heads or chain not in ([], list(OUTCOMES[:-1])) or list(heads) != [h for h in HEADS if h in heads]:
            raise DataError(
                "these heads do not make a model", Where(key="heads"),
                f"Give some of {', '.join(HEADS)}, in this order; the outcomes all or none.",
            )  # fmt: skip
        self.schema, self.at, self.settings = schema, at, settings or Settings()
        self.features = tuple(features) if features is not None else None
        self.encoder = Encoder(schema.at(at, self.features), recent=len(self.settings.recent))
        if not self.encoder.schema.features:
            raise DataError(f"no feature of the schema is known {at}", Where(key="at"), "A model needs one at least.")
        self.heads = {name: Head(name, self.encoder, self.settings, rule) for name in heads}
        self.pending: LabelQueue[dict[str, Pending]] = LabelQueue(pending_limit)
        self.feature_drift = FeatureDrift([" x ".join(g) for g in self.encoder.coded], self.encoder.n_weights)
        self.feature_alarms: list[Alarm] = []
        self.version = "new"

    # -- one call at a time --

    def predict(self, row: Mapping[str, Any]) -> Prediction:
        """Predict one attempt; learns nothing, so ask as often as you like. DataError names the column it can't
        use."""
        encoded = self.encoder.encode_one(row)
        given = {name: float(head.predict(encoded)[0]) for name, head in self.heads.items()}
        return self._prediction(encoded, given)

    def expect(self, call: str, row: Mapping[str, Any], now: float) -> Prediction:
        """Predict an attempt that is made at ``now`` (seconds), and wait for its result under the id ``call``.

        LimitError if too many wait, EventError if this call does already; then nothing has changed.
        """
        encoded = self.encoder.encode_one(row)
        self.pending.put(call, waiting := {}, now)
        for name, head in self.heads.items():
            waiting[name] = head.expect(encoded)
        self.watch(encoded)
        return self._prediction(encoded, {name: float(p.p[0]) for name, p in waiting.items()})

    def learn(self, call: str, result: Result, now: float) -> None:
        """Learn the result of an expected call, known at ``now`` (seconds). StaleEventError if no prediction waits
        for it."""
        labels = self.labels([result])
        waiting = self.pending.take(call, now)
        for name, head in self.heads.items():
            y = labels[name][0]
            if not np.isnan(y):
                head.learn(waiting[name], float(y))

    def explain(self, row: Mapping[str, Any], head: str | None = None) -> Explanation:
        """Why a head's probability for this row is what it is, exactly; the first head unless one is named."""
        return self._head(head).explain(self.encoder.encode_one(row))

    def _prediction(self, row: Encoded, given: dict[str, float]) -> Prediction:
        outcomes = {name: float(p[0]) for name, p in chain({k: np.array([v]) for k, v in given.items()}).items()}
        reach = outcomes.get("person", 1.0)
        right = reach * given["right_party"] if "right_party" in given else None
        success = (reach if right is None else right) * given["success"] if "success" in given else None
        first = next(iter(self.heads.values()))
        _, effective_n = first.champion.learner.rate(row.cells[0])
        served = {name: head.served_by() for name, head in self.heads.items()}
        return Prediction(outcomes, right, success, given, effective_n, served, self.version)

    # -- many calls --

    def predict_many(self, table: Table) -> dict[str, Floats]:
        """Predict columns of attempts: arrays (n,) of each outcome, and of ``right_party`` and ``success`` as in
        Prediction."""
        encoded = self.encoder.encode(table)
        return whole_attempt({name: head.predict(encoded) for name, head in self.heads.items()})

    def replay(
        self, table: Table, results: Sequence[Result], delay: int = 0, file: str | None = None
    ) -> dict[str, Floats]:
        """Predict, then learn, attempts in the order given; each result comes ``delay`` attempts later.

        Returns each head's own probabilities (n,), made before the result was known: progressive validation.
        ``whole_attempt`` multiplies them up.
        """
        if delay < 0:
            raise DataError(f"the delay is {delay}", Where(key="delay"), "Give a number of rows, 0 or more.")
        encoded = self.encoder.encode(table, file)
        labels = self.labels(results, file)
        if len(results) != len(encoded):
            raise DataError(f"{len(results)} results for {len(encoded)} rows", Where(file), "Give one a row.")
        self.watch(encoded)
        return {name: head.run(encoded, labels[name], delay) for name, head in self.heads.items()}

    def labels(self, results: Sequence[Result], file: str | None = None) -> dict[str, Floats]:
        """Each head's labels (n,): 0, 1, or NaN where its question did not come up."""
        labels = {name: np.full(len(results), np.nan) for name in self.heads}
        for i, result in enumerate(results):
            if not isinstance(result, Result):
                raise DataError(f"{result!r} is no Result", Where(file, i + 2), "Use cordboard.learning.model.Result.")
            if result.outcome is not None and result.outcome not in OUTCOMES:
                raise DataError(
                    f"unknown outcome {result.outcome!r}",
                    Where(file, i + 2, "outcome"),
                    f"It is one of {', '.join(OUTCOMES)}.",
                )
            if "person" in labels and result.outcome is not None:
                for name in OUTCOMES[:-1]:
                    labels[name][i] = float(result.outcome == name)
                    if result.outcome == name:
                        break
            reached = result.outcome == "person" or "person" not in labels
            if "right_party" in labels and reached and result.right_party is not None:
                labels["right_party"][i] = float(result.right_party)
            asked = reached and (result.right_party is True or "right_party" not in labels)
            if "success" in labels and asked and result.success is not None:
                labels["success"][i] = float(result.success)
        return labels

    # -- heads --

    def watch(self, rows: Encoded) -> None:
        """Look at the features of rows that are really used, for drift; the last 1,000 alarms are kept."""
        self.feature_alarms.extend(self.feature_drift.add(rows))
        del self.feature_alarms[:-1000]

    def _head(self, name: str | None) -> Head:
        if name is None:
            return next(iter(self.heads.values()))
        if name not in self.heads:
            raise DataError(f"this model has no head {name!r}", Where(key="head"), f"It has {', '.join(self.heads)}.")
        return self.heads[name]

    def challenge(
        self, head: str, name: str, compiled: Compiled | None = None, settings: Settings | None = None
    ) -> None:
        """Let a challenger run beside a head's champion, learning as it does; it takes over when it has proved
        better."""
        self._head(head).challenge(name, compiled, settings)

    @property
    def alarms(self) -> list[tuple[str, Alarm]]:
        """Drift alarms so far, (head or ``features``, alarm), the last 1,000 of each."""
        found = [(name, alarm) for name, head in self.heads.items() for alarm in head.alarms]
        return found + [("features", alarm) for alarm in self.feature_alarms]

    # -- files --

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """(plain data, arrays) of the champions: what a model file holds."""
        meta = {
            "schema": self.schema.to_dict(),
            "schema_hash": self.schema.hash,
            "at": self.at,
            "features": list(self.features) if self.features is not None else None,
            "heads": list(self.heads),
            "labels": {name: int(head.champion.learner.labels) for name, head in self.heads.items()},
            "settings": {name: asdict(head.champion.settings) for name, head in self.heads.items()},
        }
        arrays = {f"{name}/{key}": value for name, head in self.heads.items() for key, value in head.state().items()}
        return meta, arrays


def chain(given: Mapping[str, Floats]) -> dict[str, Floats]:
    """The probabilities (n,) of OUTCOMES from the answers of the chained heads; empty without them. They sum to 1."""
    if "person" not in given:
        return {}
    left = np.ones_like(given["person"])
    outcomes = {}
    for name in OUTCOMES[:-1]:
        outcomes[name] = left * given[name]
        left = left - outcomes[name]
    outcomes[OUTCOMES[-1]] = np.maximum(left, 0.0)
    return outcomes


def whole_attempt(given: Mapping[str, Floats]) -> dict[str, Floats]:
    """Outcomes, and right party and success of the whole attempt (n,), from the heads' own answers."""
    found = chain(given)
    reach = found.get("person", np.ones_like(next(iter(given.values()))))
    if "right_party" in given:
        reach = found["right_party"] = reach * given["right_party"]
    if "success" in given:
        found["success"] = reach * given["success"]
    return found


def results_of(table: Table, columns: Mapping[str, str], yes: Sequence[str] = ("yes", "1", "true"),
               no: Sequence[str] = ("no", "0", "false"), file: str | None = None) -> list[Result]:  # fmt: skip
    """Results from columns of a table. ``columns``: ``outcome``, ``right_party``, ``success`` -> the column's name.

    ``yes`` and ``no``: how truth is written there; empty means not known. DataError names line and column otherwise.
    """
    n = {len(table[column]) for column in columns.values() if column in table}
    for column in columns.values():
        if column not in table:
            raise DataError(f"column {column!r} is missing", Where(file, key=column), f"There are: {', '.join(table)}.")
    out: list[dict[str, Any]] = [{} for _ in range(n.pop() if n else 0)]
    for part, column in columns.items():
        for i, value in enumerate(table[column]):
            if is_missing(value):
                continue
            text = str(value).strip().lower()
            if part == "outcome":
                out[i][part] = text
            elif text in yes or text in no:
                out[i][part] = text in yes
            else:
                hint = f"Write one of {', '.join((*yes, *no))}."
                raise DataError(f"{value!r} is neither yes nor no", Where(file, i + 2, column), hint)
    return [Result(**fields) for fields in out]
