"""Alarms when the world is no longer the one a model learned in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cordboard.learning.encoding import Encoded


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something drifted. ``what``: log_loss, residual or feature; ``at``: labels or rows seen; ``value`` against
    ``limit``."""

    what: str
    at: int
    value: float
    limit: float
    detail: str = ""


class PageHinkley:
    """Page-Hinkley test for a rise of the mean (Page, Biometrika 41, 1954), of values scaled by their own spread.

    Raised when the sum of (x - mean)/sd - slack has climbed ``limit`` above its lowest point; then it starts anew,
    keeping nothing. ``warm_up``: values before the first alarm. The mean is the one of all values since the last
    start.
    """

    def __init__(self, limit: float = 50.0, slack: float = 0.1, warm_up: int = 500) -> None:
        self.limit, self.slack, self.warm_up = limit, slack, warm_up
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.n, self.mean, self.square, self.total, self.lowest = 0, 0.0, 0.0, 0.0, 0.0

    @property
    def score(self) -> float:
        """How far the sum is above its lowest point; an alarm at ``limit``."""
        return self.total - self.lowest

    def add(self, x: float) -> float | None:
        """Take a value; the score, if it reached the limit, else None."""
        self.n += 1
        delta = x - self.mean
        self.mean += delta / self.n
        self.square += delta * (x - self.mean)
        if self.n <= self.warm_up:
            return None
        spread = math.sqrt(self.square / self.n)
        self.total += (delta / spread if spread > 0.0 else 0.0) - self.slack
        self.lowest = min(self.lowest, self.total)
        if self.score < self.limit:
            return None
        score = self.score
        self.reset()
        return score


class OutcomeDrift:
    """Watches a head: its log-loss for a rise, its residual y - p for a shift either way."""

    def __init__(self, limit: float = 50.0) -> None:
        self._loss = PageHinkley(limit)
        self._up, self._down = PageHinkley(limit), PageHinkley(limit)
        self.labels = 0

    def add(self, y: float, p: float) -> list[Alarm]:
        """Take a label and the probability it had; the alarms it raises."""
        self.labels += 1
        p = min(max(p, 1e-9), 1 - 1e-9)
        found = []
        score = self._loss.add(-math.log(p if y > 0.5 else 1 - p))
        if score is not None:
            found.append(Alarm("log_loss", self.labels, score, self._loss.limit, "log-loss has risen"))
        for watch, x, word in ((self._up, y - p, "too low"), (self._down, p - y, "too high")):
            score = watch.add(x)
            if score is not None:
                found.append(Alarm("residual", self.labels, score, watch.limit, f"probabilities have become {word}"))
        return found


class FeatureDrift:
    """Population stability index of each coded feature, reference against the last rows: sum (q - r) ln(q / r).

    The first ``reference`` rows are the reference; after them, counts fade over ``recent`` rows. Above 0.25 is the
    usual limit of a major shift (Siddiqi, Credit Risk Scorecards, 2006). Numbers take part where they have edges.
    """

    def __init__(self, names: list[str], n_weights: int, reference: int = 2000, recent: int = 2000,
                 limit: float = 0.25) -> None:  # fmt: skip
        self.names, self.reference, self.recent, self.limit = names, reference, recent, limit
        self.rows = 0
        self._old, self._new = np.zeros(n_weights), np.zeros(n_weights)
        self._of = np.full(n_weights, -1)
        self._raised: set[int] = set()

    def add(self, encoded: Encoded) -> list[Alarm]:
        """Take rows; the alarms they raise. A feature alarms once until it has come back below half the limit."""
        codes: NDArray[np.int32] = encoded.codes[:, : len(self.names)]
        for start in range(0, len(codes), 200):
            part = codes[start : start + 200]
            for i in range(part.shape[1]):
                self._of[part[:, i]] = i
            if self.rows < self.reference:
                np.add.at(self._old, part.ravel(), 1.0)
            else:
                self._new *= math.exp(-len(part) / self.recent)
                np.add.at(self._new, part.ravel(), 1.0)
            self.rows += len(part)
        return self._judge() if self.rows >= self.reference + self.recent else []

    def index(self) -> dict[str, float]:
        """The stability index of each feature; 0 = as in the reference."""
        out = {}
        for i, name in enumerate(self.names):
            mine = self._of == i
            old, new = self._old[mine] + 0.5, self._new[mine] + 0.5
            old, new = old / old.sum(), new / new.sum()
            out[name] = float(((new - old) * np.log(new / old)).sum()) if len(old) else 0.0
        return out

    def _judge(self) -> list[Alarm]:
        found = []
        for i, (name, value) in enumerate(self.index().items()):
            if value > self.limit and i not in self._raised:
                self._raised.add(i)
                found.append(Alarm("feature", self.rows, value, self.limit, name))
            elif value < self.limit / 2:
                self._raised.discard(i)
        return found
