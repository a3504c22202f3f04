"""Champion and challenger: which of two models serves, by the log-loss of what each predicted before it knew."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContestRule:
    """When a challenger takes over: after ``labels`` at least, when its log-loss, over about ``memory`` labels, is
    lower by ``margin`` nats *and* by ``sigmas`` standard errors. After a change the count starts anew, so they can't
    flicker."""

    labels: int = 500
    memory: int = 2000
    margin: float = 0.0005
    sigmas: float = 2.0


class Contest:
    """The running comparison of a champion with one challenger."""

    def __init__(self, rule: ContestRule | None = None) -> None:
        self.rule = rule or ContestRule()
        self.changes = 0
        self._restart()

    def _restart(self) -> None:
        self.labels, self._weight, self._sum, self._square = 0, 0.0, 0.0, 0.0

    @property
    def gain(self) -> float:
        """Champion's less challenger's mean log-loss, in nats; above 0 the challenger is better."""
        return self._sum / self._weight if self._weight else 0.0

    @property
    def error(self) -> float:
        """Standard error of the gain."""
        if self._weight < 2.0:
            return math.inf
        return math.sqrt(max(self._square / self._weight - self.gain**2, 0.0) / self._weight)

    def add(self, y: float, champion: float, challenger: float) -> bool:
        """Take a label and what both had said; whether the challenger takes over now."""
        a, b = (min(max(p if y > 0.5 else 1.0 - p, 1e-9), 1.0) for p in (champion, challenger))
        gain = math.log(b) - math.log(a)
        keep = 1.0 - 1.0 / self.rule.memory
        self._weight = keep * self._weight + 1.0
        self._sum = keep * self._sum + gain
        self._square = keep * self._square + gain * gain
        self.labels += 1
        if self.labels < self.rule.labels or self.gain < max(self.rule.margin, self.rule.sigmas * self.error):
            return False
        self.changes += 1
        self._restart()
        return True
