"""Laws of patience for M/M/n+G: how long a caller waits before hanging up. Times in seconds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordboard.errors import DataError, InputError, Where

_Floats = NDArray[np.float64]
# kind, a, b, area, p0, p1, mean: Law_C of patience.pxd
Columns = tuple[int, _Floats, _Floats, _Floats, float, float, float]

_MIXTURE, _UNIFORM, _ERLANG, _LOGNORMAL, _STEPS = range(5)
_NONE: _Floats = np.empty(0)
PHASES_MAX = 100_000


def _check(condition: bool, key: str, what: str, hint: str) -> None:
    if not condition:
        raise InputError(what, Where(key=key), hint)


def _positive(key: str, value: float) -> None:
    _check(math.isfinite(value) and value > 0, key, f"{key} is {value:g}", "Give a finite time above 0 seconds")


class Patience(ABC):
    """A law of patience."""

    @abstractmethod
    def columns(self) -> Columns:
        """The law as the compiled core reads it."""


@dataclass(frozen=True, slots=True)
class Exponential(Patience):
    """Memoryless patience: M/M/n+G with it is Erlang A."""

    mean: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean)

    def columns(self) -> Columns:
        return _MIXTURE, np.array([1.0]), np.array([float(self.mean)]), _NONE, 0.0, 0.0, self.mean


@dataclass(frozen=True, slots=True)
class HyperExponential(Patience):
    """A mixture of exponentials: shares that add up to 1, and a mean for each."""

    shares: tuple[float, ...]
    means: tuple[float, ...]

    def __post_init__(self) -> None:
        _check(
            len(self.shares) == len(self.means) > 0,
            "shares",
            f"{len(self.shares)} shares for {len(self.means)} means",
            "Give one share for each mean",
        )
        for share in self.shares:
            _check(0 <= share <= 1, "shares", f"A share is {share:g}", "Shares lie between 0 and 1")
        total = math.fsum(self.shares)
        _check(abs(total - 1.0) < 1e-9, "shares", f"The shares add up to {total:g}", "Make them add up to 1")
        for mean in self.means:
            _positive("means", mean)

    def columns(self) -> Columns:
        a, b = np.array(self.shares, dtype=np.float64), np.array(self.means, dtype=np.float64)
        return _MIXTURE, a / a.sum(), b, _NONE, 0.0, 0.0, float(a @ b)


@dataclass(frozen=True, slots=True)
class Deterministic(Patience):
    """Everybody hangs up after the same time (a time limit of the queue has the same effect)."""

    seconds: float

    def __post_init__(self) -> None:
        _positive("seconds", self.seconds)

    def columns(self) -> Columns:
        return Empirical((float(self.seconds),), (0.0,)).columns()


@dataclass(frozen=True, slots=True)
class Uniform(Patience):
    """Evenly between low and high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _positive("high", self.high)
        _check(0 <= self.low < self.high, "low", f"low is {self.low:g}, high {self.high:g}", "Give 0 <= low < high")

    def columns(self) -> Columns:
        mean = 0.5 * (self.low + self.high)
        return _UNIFORM, _NONE, _NONE, _NONE, float(self.low), float(self.high), mean


@dataclass(frozen=True, slots=True)
class ErlangK(Patience):
    """The sum of `phases` equal exponential times."""

    phases: int
    mean: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean)
        _check(
            isinstance(self.phases, int) and 1 <= self.phases <= PHASES_MAX,
            "phases",
            f"phases is {self.phases!r}",
            f"Give a whole number from 1 to {PHASES_MAX}",
        )

    def columns(self) -> Columns:
        a = np.zeros(self.phases)
        return _ERLANG, a, _NONE, _NONE, self.phases / self.mean, math.lgamma(self.phases + 1.0), self.mean


@dataclass(frozen=True, slots=True)
class LogNormal(Patience):
    """Log-normal with this mean, and variance = scv * mean^2."""

    mean: float
    scv: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean)
        _positive("scv", self.scv)

    def columns(self) -> Columns:
        variance = math.log1p(self.scv)
        center = math.log(self.mean) - 0.5 * variance
        return _LOGNORMAL, _NONE, _NONE, _NONE, center, math.sqrt(variance), self.mean


@dataclass(frozen=True, slots=True)
class Empirical(Patience):
    """A survival curve with steps: `survival[i]` of the callers are still patient from `times[i]` on, 1 before.

    What is left after the last time never hangs up.
    """

    times: tuple[float, ...]
    survival: tuple[float, ...]

    def __post_init__(self) -> None:
        times, survival = np.asarray(self.times, dtype=float), np.asarray(self.survival, dtype=float)
        _check(
            times.shape == survival.shape and times.ndim == 1 and times.size > 0,
            "times",
            f"{times.size} times for {survival.size} survival shares",
            "Give one share for each time, and at least one",
        )
        _check(
            bool(np.isfinite(times).all() and times[0] >= 0 and (np.diff(times) > 0).all()),
            "times",
            "The times are not finite, not negative and rising",
            "Sort them and merge equal ones",
        )
        falling = bool((np.diff(np.concatenate(([1.0], survival))) <= 0).all() and survival[-1] >= 0)
        _check(falling, "survival", "The survival shares do not fall from at most 1 to at least 0", "Check their order")

    def columns(self) -> Columns:
        times, survival = np.array(self.times, dtype=float), np.array(self.survival, dtype=float)
        before = np.concatenate(([1.0], survival[:-1]))
        area = np.cumsum(before * np.diff(times, prepend=0.0))
        return _STEPS, times, survival, area, 0.0, 0.0, float(max(area[-1], times[-1]))

    @classmethod
    def from_calls(cls, waits: ArrayLike, abandoned: Sequence[bool] | NDArray[np.bool_]) -> Empirical:
        """Kaplan and Meier's estimate (1958, JASA 53:457) of recorded waits.

        waits: seconds, shape (calls,); abandoned: whether the caller hung up then, shape (calls,). A call that was
        served only says that its patience was longer. Raises DataError when nobody hung up.
        """
        seconds = np.asarray(waits, dtype=np.float64)
        left = np.asarray(abandoned, dtype=bool)
        if seconds.shape != left.shape or seconds.ndim != 1:
            raise DataError(f"waits {seconds.shape} and abandoned {left.shape} differ", hint="Give one of each a call")
        if not (np.isfinite(seconds).all() and (seconds >= 0).all()):
            raise DataError("A wait is negative or not a number", Where(key="waits"), "Drop or repair that call")
        if not left.any():
            raise DataError("Nobody hung up, so nothing is known of their patience", hint="Give more calls")
        times, gone = np.unique(seconds[left], return_counts=True)
        at_risk = seconds.size - np.searchsorted(np.sort(seconds), times)
        return cls(tuple(times.tolist()), tuple(np.cumprod(1.0 - gone / at_risk).tolist()))
