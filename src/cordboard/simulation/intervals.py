"""Confidence intervals for replications and batch means, by Student's t; no SciPy at run time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with the half width of its confidence interval over ``n`` replications or batches.

    ``half_width`` is NaN where there are fewer than two; ``mean`` is NaN where nothing was observed.
    """

    mean: float
    half_width: float
    n: int
    confidence: float = 0.95

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half_width

    def covers(self, value: float) -> bool:
        """Whether the interval covers a value."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "-"
        return f"{self.mean:.4g}" if math.isnan(self.half_width) else f"{self.mean:.4g} ±{self.half_width:.2g}"


def student_cdf(t: float, df: int) -> float:
    """P(T <= t) of Student's t with whole ``df``: the finite series (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(abs(t), math.sqrt(df))
    cosine, term, total = math.cos(angle), 1.0, 0.0
    if df % 2:
        if df > 1:
            term = total = cosine
            for k in range(3, df - 1, 2):
                term *= cosine * cosine * (k - 1) / k
                total += term
        inside = 2.0 / math.pi * (angle + math.sin(angle) * total)
    else:
        total = 1.0
        for k in range(2, df - 1, 2):
            term *= cosine * cosine * (k - 1) / k
            total += term
        inside = math.sin(angle) * total
    return 0.5 + math.copysign(inside, t) / 2


@lru_cache(maxsize=1024)
def student_quantile(p: float, df: int) -> float:
    """The ``p`` quantile (p over one half) of Student's t, by bisection; relative error under 1e-10."""
    if not (0.5 <= p < 1 and df >= 1):
        raise ValueError(f"quantile {p} with {df} degrees of freedom")
    df = min(df, 10_000)  # beyond it the quantile changes in the fourth digit of its fourth digit
    low, high = 0.0, 1.0
    while student_cdf(high, df) < p:
        high *= 2
    while high - low > 1e-11 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean of independent values and its interval; NaN values (nothing observed) are left out."""
    seen = [v for v in values if not math.isnan(v)]
    n = len(seen)
    if n == 0:
        return Estimate(math.nan, math.nan, 0, confidence)
    mean = math.fsum(seen) / n
    if n == 1:
        return Estimate(mean, math.nan, 1, confidence)
    variance = math.fsum((v - mean) ** 2 for v in seen) / (n - 1)
    return Estimate(mean, _t(n, confidence) * math.sqrt(variance / n), n, confidence)


def jackknife(pooled: float, left_out: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The interval of a figure of all replications together, from the same figure with each of them left out in turn.

    For ratios, whose mean over replications is not their ratio (Miller, Biometrika 61:1, 1974).
    """
    seen, pooled = [v for v in left_out if not math.isnan(v)], float(pooled)
    n = len(seen)
    if n < 2 or math.isnan(pooled):
        return Estimate(pooled, math.nan, n, confidence)
    mean = math.fsum(seen) / n
    variance = (n - 1) / n * math.fsum((v - mean) ** 2 for v in seen)
    return Estimate(pooled, _t(n, confidence) * math.sqrt(variance), n, confidence)


def _t(n: int, confidence: float) -> float:
    return student_quantile(0.5 + confidence / 2, n - 1)
