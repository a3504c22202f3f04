"""Probability laws for service times, patience, wrap-up, delays: by name, by moments, or from data.

Every law is a frozen object with a ``mean`` (seconds) that encodes itself into plain arrays for the kernel. The
same laws can be written in a scenario file as a table, ``{ law = "lognormal", mean = 240, scv = 1.2 }``, or as
a number, which is that many seconds exactly. ``scv`` is the squared coefficient of variation, variance /
mean**2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard.errors import DataError, Where

STEPS_MAX = 1_000_000  # steps of one empirical law
PARTS_MAX = 64  # parts of one mixture
DEPTH_MAX = 4  # mixtures in mixtures; LAW_DEPTH_MAX of the kernel
STAGES_MAX = 10_000
POSITIVE_MAX = 1e15
SHAPE_MIN = 0.01  # of a Weibull law: under it its scale leaves what a double holds
SCV_MIN = 1e-9  # of a gamma law: under it its shape does, and the draw would never end


@dataclass
class LawTable:
    """Laws as arrays: what ``cordboard._core.simlaws`` reads. Equal laws are stored once."""

    kinds: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    parameters: list[tuple[float, float]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    tables: list[float] = field(default_factory=lambda: [0.0])
    known: dict[Law, int] = field(default_factory=dict)

    def add(self, law: Law) -> int:
        """The index of a law, which is stored if it is new."""
        if law not in self.known:
            kind, count, a, b, table = law.encode(self)
            self.kinds.append(kind)
            self.counts.append(count)
            self.parameters.append((a, b))
            self.offsets.append(len(self.tables) if table else 0)
            self.tables.extend(table)
            self.known[law] = len(self.kinds) - 1
        return self.known[law]

    def arrays(self) -> tuple[Any, Any, Any, Any, Any]:
        """kinds, counts, parameters, offsets, tables, in the order and with the dtypes that the kernel takes."""
        return (
            np.array(self.kinds, np.int32),
            np.array(self.counts, np.int32),
            np.array(self.parameters, np.float64).reshape(-1, 2),
            np.array(self.offsets, np.int32),
            np.array(self.tables, np.float64),
        )


Code = tuple[int, int, float, float, Sequence[float]]


class Law(ABC):
    """The root of the laws."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """Seconds."""

    @abstractmethod
    def encode(self, table: LawTable) -> Code:
        """kind, count, a, b, doubles of its own; see ``_core/simlaws.pxd``."""

    def draw(self, n: int, seed: int = 0) -> npt.NDArray[np.float64]:
        """``n`` independent draws, float64 seconds, by the kernel's own code."""
        from cordboard._core import simlaws

        table = LawTable()
        index = table.add(self)
        return np.asarray(simlaws.draw(*table.arrays(), index, n, seed))


def _require(ok: bool, what: str, hint: str) -> None:
    if not ok:
        raise DataError(what, hint=hint)


def _positive(name: str, value: float) -> None:
    _require(
        0 < value <= POSITIVE_MAX,
        f"{name} is {value!r}, but it must be a positive number",
        f"Give a number greater than 0, at most {POSITIVE_MAX:g}.",
    )


def _shape(name: str, value: float) -> None:
    _require(
        SHAPE_MIN <= value <= 1 / SHAPE_MIN, f"{name} is {value!r}", f"Give {SHAPE_MIN:g} to {1 / SHAPE_MIN:g}."
    )


@dataclass(frozen=True)
class Deterministic(Law):
    """Always ``seconds``."""

    seconds: float

    def __post_init__(self) -> None:
        _require(
            0 <= self.seconds <= POSITIVE_MAX,
            f"a time is {self.seconds!r}",
            "Give a finite number of seconds, 0 or more.",
        )

    @property
    def mean(self) -> float:
        return self.seconds

    def encode(self, table: LawTable) -> Code:
        return 0, 0, self.seconds, 0.0, ()


@dataclass(frozen=True)
class Exponential(Law):
    """Exponential with the given mean."""

    mean_s: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean_s)

    @property
    def mean(self) -> float:
        return self.mean_s

    def encode(self, table: LawTable) -> Code:
        return 1, 0, self.mean_s, 0.0, ()


@dataclass(frozen=True)
class Uniform(Law):
    """Uniform between ``low`` and ``high``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _require(
            0 <= self.low <= self.high <= POSITIVE_MAX,
            f"uniform from {self.low!r} to {self.high!r}",
            "Give 0 <= low <= high.",
        )

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    def encode(self, table: LawTable) -> Code:
        return 2, 0, self.low, self.high, ()


@dataclass(frozen=True)
class Erlang(Law):
    """The sum of ``k`` exponential stages; ``mean_s`` is the mean of the sum."""

    k: int
    mean_s: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean_s)
        _require(
            isinstance(self.k, int) and 1 <= self.k <= STAGES_MAX,
            f"k is {self.k!r}",
            f"Give a whole number of stages, 1 to {STAGES_MAX}.",
        )

    @property
    def mean(self) -> float:
        return self.mean_s

    def encode(self, table: LawTable) -> Code:
        return 3, self.k, self.mean_s / self.k, 0.0, ()


@dataclass(frozen=True)
class Gamma(Law):
    """Gamma with the given mean and squared coefficient of variation (shape = 1 / scv)."""

    mean_s: float
    scv: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean_s)
        _positive("scv", self.scv)
        _require(self.scv >= SCV_MIN, f"scv is {self.scv!r}", f"Give at least {SCV_MIN:g}, or a deterministic law.")

    @property
    def mean(self) -> float:
        return self.mean_s

    def encode(self, table: LawTable) -> Code:
        return 4, 0, 1.0 / self.scv, self.mean_s * self.scv, ()


@dataclass(frozen=True)
class LogNormal(Law):
    """Log-normal with the given mean and squared coefficient of variation."""

    mean_s: float
    scv: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean_s)
        _positive("scv", self.scv)

    @property
    def mean(self) -> float:
        return self.mean_s

    def encode(self, table: LawTable) -> Code:
        variance = math.log1p(self.scv)
        return 5, 0, math.log(self.mean_s) - variance / 2, math.sqrt(variance), ()


@dataclass(frozen=True)
class Weibull(Law):
    """Weibull with the given mean and shape (under 1: the hazard falls with time)."""

    mean_s: float
    shape: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean_s)
        _shape("shape", self.shape)

    @property
    def mean(self) -> float:
        return self.mean_s

    def encode(self, table: LawTable) -> Code:
        return 6, 0, 1.0 / self.shape, self.mean_s / math.gamma(1.0 + 1.0 / self.shape), ()


@dataclass(frozen=True)
class Mixture(Law):
    """One of several laws, with the given probabilities."""

    parts: tuple[tuple[float, Law], ...]

    def __post_init__(self) -> None:
        shares = [share for share, _ in self.parts]
        _require(
            1 <= len(shares) <= PARTS_MAX, f"a mixture of {len(shares)} parts", f"Give 1 to {PARTS_MAX} parts."
        )
        _require(
            all(share >= 0 for share in shares) and abs(sum(shares) - 1) < 1e-9,
            f"the shares of a mixture add up to {sum(shares):g}",
            "Give shares of 0 or more that add up to 1.",
        )
        _require(_depth(self) <= DEPTH_MAX, "mixtures are nested too deeply", f"At most {DEPTH_MAX} levels.")

    @property
    def mean(self) -> float:
        return sum(share * law.mean for share, law in self.parts if share)

    def encode(self, table: LawTable) -> Code:
        members = [float(table.add(law)) for _, law in self.parts]
        cumulative = np.cumsum([share for share, _ in self.parts]).tolist()
        return 7, len(members), 0.0, 0.0, [*cumulative, *members]


def _depth(law: Law) -> int:
    return 1 + max(_depth(part) for _, part in law.parts) if isinstance(law, Mixture) else 0


def hyperexponential(shares: Sequence[float], means: Sequence[float]) -> Mixture:
    """A mixture of exponentials: more variable than one of them, as many real service times are."""
    _require(len(shares) == len(means), "shares and means differ in number", "Give one mean for each share.")
    return Mixture(tuple((p, Exponential(m)) for p, m in zip(shares, means, strict=True)))


@dataclass(frozen=True)
class Empirical(Law):
    """A step law: ``values[i]`` with probability ``cumulative[i] - cumulative[i - 1]``.

    Where the last ``cumulative`` is under 1 (the longest-lived were censored), the rest gets the last value plus an
    exponential time with mean ``tail_mean``.
    """

    values: tuple[float, ...]
    cumulative: tuple[float, ...]
    tail_mean: float = 0.0

    def __post_init__(self) -> None:
        _require(
            1 <= len(self.values) <= STEPS_MAX and len(self.values) == len(self.cumulative),
            f"an empirical law of {len(self.values)} values and {len(self.cumulative)} probabilities",
            f"Give as many of one as of the other, 1 to {STEPS_MAX}.",
        )
        values, steps = np.array(self.values), np.array(self.cumulative)
        _require(
            bool(np.isfinite(values).all() and (values >= 0).all()),
            "an empirical law has a time that is negative or not finite",
            "Give seconds, 0 or more.",
        )
        _require(
            bool((np.diff(steps) >= 0).all() and steps[0] >= 0 and steps[-1] <= 1 + 1e-9),
            "the cumulative probabilities of an empirical law do not rise from 0 to 1",
            "Give them in the order of the values.",
        )
        _require(
            self.tail_mean > 0 or steps[-1] > 1 - 1e-9,
            f"an empirical law ends at probability {steps[-1]:g}",
            "Give tail_mean for the rest.",
        )

    @property
    def mean(self) -> float:
        weights = np.diff(np.concatenate(([0.0], self.cumulative)))
        rest = 1.0 - self.cumulative[-1]
        return float(weights @ np.array(self.values) + rest * (self.values[-1] + self.tail_mean))

    def encode(self, table: LawTable) -> Code:
        return 8, len(self.values), self.tail_mean, 0.0, [*self.cumulative, *self.values]

    @staticmethod
    def of(values: npt.ArrayLike) -> Empirical:
        """The law of a sample: every value with the same probability."""
        sample = np.sort(np.asarray(values, np.float64))
        _require(len(sample) > 0, "an empirical law of no values", "Give at least one.")
        distinct, counts = np.unique(sample, return_counts=True)
        cumulative = np.cumsum(counts) / len(sample)
        cumulative[-1] = 1.0
        return Empirical(tuple(distinct.tolist()), tuple(cumulative.tolist()))


@dataclass(frozen=True)
class Never(Law):
    """Infinite: a caller who never gives up."""

    @property
    def mean(self) -> float:
        return math.inf

    def encode(self, table: LawTable) -> Code:
        return 9, 0, 0.0, 0.0, ()


def kaplan_meier(times: npt.ArrayLike, ended: npt.ArrayLike) -> Law:
    """The law of patience from waits of which many are censored, because the callers were served.

    ``times``: waits, seconds, shape (n,); ``ended``: True where the caller gave up at that time, False where an agent
    answered first. The product-limit estimate (Kaplan & Meier, JASA 53:457, 1958). What it leaves over beyond the last
    abandonment gets an exponential tail with the hazard of the whole sample, abandonments / total time waited.
    """
    wait, gone = np.asarray(times, np.float64), np.asarray(ended, bool)
    _require(wait.shape == gone.shape, "times and ended differ in shape", "Give one flag for each time.")
    _require(bool((wait >= 0).all()), "a wait is negative or not a number", "Give seconds, 0 or more.")
    if not gone.any():
        return Never()
    order = np.lexsort((~gone, wait))  # at the same instant, who gave up counts before who was served
    wait, gone = wait[order], gone[order]
    at_risk = len(wait) - np.arange(len(wait))
    survival = np.cumprod(np.where(gone, 1.0 - 1.0 / at_risk, 1.0))
    values, last = np.unique(wait[gone][::-1], return_index=True)
    lived = survival[gone][::-1][last]  # the last of equal times
    tail = float(wait.sum() / gone.sum())
    return Empirical(tuple(values.tolist()), tuple((1.0 - lived).tolist()), max(tail, 1e-6))


_Keys = tuple[tuple[str, ...], Callable[..., Law]]
_NAMED: Mapping[str, _Keys] = {
    "deterministic": (("seconds",), Deterministic),
    "exponential": (("mean",), Exponential),
    "uniform": (("low", "high"), Uniform),
    "erlang": (("k", "mean"), Erlang),
    "gamma": (("mean", "scv"), Gamma),
    "lognormal": (("mean", "scv"), LogNormal),
    "weibull": (("mean", "shape"), Weibull),
    "hyperexponential": (("shares", "means"), hyperexponential),
    "never": ((), Never),
}
NAMES = (*_NAMED, "mixture", "empirical")


def parse_law(spec: Any, where: Where) -> Law:
    """The law of a TOML value: a number (exactly so many seconds) or a table with ``law`` and its parameters."""
    try:
        return _parse(spec)
    except DataError as error:
        raise error.at(where) from None


def _parse(spec: Any) -> Law:
    if isinstance(spec, (int, float)) and not isinstance(spec, bool):
        return Deterministic(spec)
    _require(
        isinstance(spec, dict) and isinstance(spec.get("law"), str),
        f"{spec!r} is no probability law",
        'Write seconds, or a table as { law = "exponential", mean = 240 }.',
    )
    name, given = spec["law"], {key: value for key, value in spec.items() if key != "law"}
    if name == "mixture":
        return _parse_mixture(given)
    if name == "empirical":
        return _parse_empirical(given)
    _require(name in _NAMED, f"there is no law {name!r}", f"Known laws: {', '.join(NAMES)}.")
    keys, make = _NAMED[name]
    _require_keys(name, given, keys)
    for key, value in given.items():
        wanted = list if name == "hyperexponential" else int if key == "k" else (int, float)
        _require(
            isinstance(value, wanted) and not isinstance(value, bool), f"{key} is {value!r}", "Give a number."
        )
        _require(
            not isinstance(value, list) or all(_is_number(v) for v in value), f"{key} is {value!r}", "Give numbers."
        )
    return make(*(given[key] for key in keys))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= POSITIVE_MAX


def _require_keys(name: str, given: Mapping[str, Any], keys: Sequence[str]) -> None:
    _require(
        set(given) == set(keys),
        f"the law {name!r} has the keys {', '.join(sorted(given)) or 'none'}",
        f"It takes {', '.join(keys) or 'none'}.",
    )


def _parse_mixture(given: Mapping[str, Any]) -> Mixture:
    _require_keys("mixture", given, ("shares", "laws"))
    shares, laws = given["shares"], given["laws"]
    _require(
        isinstance(shares, list) and isinstance(laws, list) and len(shares) == len(laws),
        "shares and laws of a mixture differ in number",
        "Give one law for each share.",
    )
    _require(
        all(_is_number(p) for p in shares), "a share of a mixture is no number", "Give numbers."
    )
    return Mixture(tuple((float(p), _parse(law)) for p, law in zip(shares, laws, strict=True)))


def _parse_empirical(given: Mapping[str, Any]) -> Law:
    hint = "Give values = [...], and ended = [...] (true where it was not cut off) for a Kaplan-Meier estimate."
    _require(set(given) <= {"values", "ended"} and "values" in given, "an empirical law has other keys", hint)
    values = given["values"]
    _require(
        isinstance(values, list) and all(_is_number(v) for v in values),
        "the values of an empirical law are no numbers",
        hint,
    )
    if "ended" not in given:
        return Empirical.of(values)
    ended = given["ended"]
    _require(
        isinstance(ended, list) and all(isinstance(e, bool) for e in ended) and len(ended) == len(values),
        "ended does not match values",
        hint,
    )
    return kaplan_meier(values, ended)
