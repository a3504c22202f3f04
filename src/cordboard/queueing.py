"""Formulas of the steady state: Erlang B, C and A, general patience, limited places, priorities, sizing.

Units: rates in calls per second, times in seconds, loads in Erlang (rate * handle time). Service level here is the
share of *all* callers who are served within the threshold, those who hang up counting as missed (``SL_OFFERED``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordboard._core import queueing as _core
from cordboard.errors import InputError, LimitError, Where
from cordboard.patience import Patience

AGENTS_MAX = 10_000_000
SERVICE_LEVEL_ID = "SL_OFFERED"

Floats = NDArray[np.float64]
_Many = Sequence[float] | Floats | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Measures:
    """What a queue is like in its steady state. Times in seconds."""

    wait_probability: float  # P(an arrival finds no free agent)
    abandonment: float  # P(a caller hangs up before being served)
    mean_wait: float  # of all callers
    mean_wait_served: float  # of those served (average speed of answer)
    mean_offered_wait: float  # of a caller who would never hang up
    service_level: float  # P(served within the threshold), of all callers
    occupancy: float  # share of agents' time spent handling
    queue_length: float  # mean number waiting


# One row of measure_arrays; the order is that of Measures_C.
MEASURES = np.dtype([(name, np.float64) for name in Measures.__slots__])


@dataclass(frozen=True, slots=True)
class LimitedMeasures:
    """M/M/n/K: callers who find every place taken are turned away. Times in seconds."""

    blocking: float  # P(turned away)
    wait_probability: float  # P(waits), of those let in
    mean_wait: float  # of those let in
    queue_length: float
    occupancy: float


def _number(name: str, value: float, low: float = 0.0, *, above: bool = False) -> float:
    """The value as a float, if it is finite and at least (or above) `low`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r}, not a number", Where(key=name), "Give a number") from None
    if not math.isfinite(number) or number < low or (above and number == low):
        bound = f"greater than {low:g}" if above else f"at least {low:g}"
        raise InputError(f"{name} is {number:g}", Where(key=name), f"Give a finite number {bound}")
    return number


def _agents(value: int, name: str = "agents") -> int:
    """The value as an int, if it is a whole number from 1 to AGENTS_MAX."""
    number = _number(name, value, 1.0)
    if number != math.floor(number):
        raise InputError(f"{name} is {number:g}, not a whole number", Where(key=name), "Round it up or down")
    if number > AGENTS_MAX:
        raise LimitError(f"{name} is {number:g}", AGENTS_MAX, "Split the center")
    return int(number)


def _unstable(agents: int, load: float, key: str = "agents") -> InputError:
    return InputError(
        f"{agents} agents can't carry {load:g} Erlang: without abandonment the queue grows without end",
        Where(key=key),
        f"Use at least {math.floor(load) + 1} agents, or give the callers' patience (Erlang A)",
    )


def _columns(**columns: ArrayLike) -> tuple[tuple[int, ...], list[Floats]]:
    """The columns broadcast to one shape, and each of them flat; every entry checked."""
    arrays = []
    for name, value in columns.items():
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name} holds something that is not a number", Where(key=name), "Give numbers") from None
        low = 1.0 if name == "agents" else 0.0
        wrong = ~(array >= low)
        if name == "agents":
            wrong |= (array != np.floor(array)) | (array > AGENTS_MAX)
        elif name in ("handle_time", "patience"):
            wrong |= array == 0.0
        if name != "patience":
            wrong |= np.isinf(array)
        if wrong.any():
            first = float(array[wrong].flat[0])
            raise InputError(f"{name} holds {first:g}", Where(key=name), _WANTED[name])
        arrays.append(array)
    try:
        together = np.broadcast_arrays(*arrays)
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(columns, arrays, strict=True))
        raise InputError(f"The shapes do not fit together: {shapes}", hint="Give arrays of one shape") from None
    return together[0].shape, [np.ascontiguousarray(array).reshape(-1) for array in together]


_WANTED = {
    "agents": f"Give whole numbers from 1 to {AGENTS_MAX}",
    "load": "Give finite loads of at least 0 Erlang",
    "rate": "Give finite rates of at least 0 per second",
    "handle_time": "Give finite times above 0 seconds",
    "patience": "Give times above 0 seconds; inf is allowed",
    "within": "Give finite times of at least 0 seconds",
}


@overload
def erlang_b(agents: int, load: float) -> float: ...
@overload
def erlang_b(agents: int, load: _Many) -> Floats: ...
@overload
def erlang_b(agents: _Many, load: float | _Many) -> Floats: ...
def erlang_b(agents: int | _Many, load: float | _Many) -> float | Floats:
    """Erlang's loss formula: the probability that all of `agents` lines are busy, for `load` Erlang (M/M/n/n).

    Numbers give a float; arrays are broadcast and give float64 of their common shape. Raises InputError for a
    negative, infinite or NaN load, and for agents that are not whole numbers of at least 1. Exact to about 1e-12.
    """
    if isinstance(agents, int) and isinstance(load, float | int):
        return _core.blocking(_agents(agents), _number("load", load))
    shape, (n, a) = _columns(agents=agents, load=load)
    out = np.empty(n.size)
    _core.blocking_many(n.astype(np.int64), a, out)
    return out.reshape(shape) if shape else float(out[0])


@overload
def erlang_c(agents: int, load: float) -> float: ...
@overload
def erlang_c(agents: int, load: _Many) -> Floats: ...
@overload
def erlang_c(agents: _Many, load: float | _Many) -> Floats: ...
def erlang_c(agents: int | _Many, load: float | _Many) -> float | Floats:
    """Erlang's delay formula: the probability that a caller must wait, when nobody ever hangs up (M/M/n).

    Shapes and errors as in `erlang_b`; besides, InputError where load >= agents, because such a queue has no end.
    """
    if isinstance(agents, int) and isinstance(load, float | int):
        count, erlang = _agents(agents), _number("load", load)
        if erlang >= count:
            raise _unstable(count, erlang)
        return _core.waiting(count, erlang)
    shape, (n, a) = _columns(agents=agents, load=load)
    _refuse_unstable(n, a, np.full(n.size, math.inf))
    out = np.empty(n.size)
    _core.waiting_many(n.astype(np.int64), a, out)
    return out.reshape(shape) if shape else float(out[0])


def _refuse_unstable(n: Floats, load: Floats, patience: Floats) -> None:
    wrong = np.flatnonzero((load >= n) & np.isinf(patience))
    if wrong.size:
        row = int(wrong[0])
        raise _unstable(int(n[row]), float(load[row]), f"agents[{row}]" if n.size > 1 else "agents")


def measures(
    agents: int,
    rate: float,
    handle_time: float,
    *,
    patience: float | Patience | None = None,
    within: float = 20.0,
) -> Measures:
    """The steady state of one queue: `rate` calls per second, `handle_time` seconds each (exponential).

    patience: None, nobody hangs up (Erlang C, M/M/n); seconds, the mean of exponential patience (Erlang A, M/M/n+M,
    Garnett, Mandelbaum & Reiman 2002); a law of `cordboard.patience` (M/M/n+G, Zeltyn & Mandelbaum 2005).
    within: the service level's threshold in seconds. Raises InputError for impossible numbers and unstable queues.

    >>> round(measures(39, 200 / 1800, 300).service_level, 6)
    0.825916
    """
    count, rate = _agents(agents), _number("rate", rate)
    handle = _number("handle_time", handle_time, above=True)
    within = _number("within", within)
    if isinstance(patience, Patience) and rate > 0:
        law = patience.columns()
        result = _core.law_measures(*law, count, rate, handle, within)
    else:
        seconds = math.inf
        if patience is not None and not isinstance(patience, Patience):
            seconds = _number("patience", patience, above=True)
        result = _core.measures(count, rate, handle, seconds, within)
    if math.isnan(result[0]):
        raise _unstable(count, rate * handle)
    return Measures(*result)


def measure_arrays(
    agents: ArrayLike,
    rate: ArrayLike,
    handle_time: ArrayLike,
    *,
    patience: ArrayLike = math.inf,
    within: ArrayLike = 20.0,
) -> NDArray[np.void]:
    """`measures` for arrays: broadcasts its arguments, and gives a structured array (dtype MEASURES) of their shape.

    patience: mean seconds of exponential patience; inf where nobody hangs up. Raises InputError as `measures` does,
    naming the row.
    """
    shape, (n, r, h, p, w) = _columns(
        agents=agents, rate=rate, handle_time=handle_time, patience=patience, within=within
    )
    _refuse_unstable(n, r * h, p)
    out = np.empty((n.size, len(Measures.__slots__)))
    _core.measures_many(n.astype(np.int64), r, h, p, w, out)
    return out.view(MEASURES).reshape(shape)


def limited_queue(agents: int, places: int, rate: float, handle_time: float) -> LimitedMeasures:
    """M/M/n/K: `places` callers at most, those in conversation included (so places >= agents)."""
    count, room = _agents(agents), _agents(places, "places")
    if room < count:
        raise InputError(f"{room} places for {count} agents", Where(key="places"), "Count the agents' places too")
    rate, handle = _number("rate", rate, above=True), _number("handle_time", handle_time, above=True)
    blocked, waits, queue, busy = _core.limited(count, room, rate * handle)
    return LimitedMeasures(blocked, waits, queue / (rate * (1.0 - blocked)), queue, busy / count)


def priority_waits(agents: int, rates: Sequence[float], handle_time: float) -> Floats:
    """Mean wait in seconds of each class in M/M/n with non-preemptive priorities, the first class the highest.

    rates: calls per second of each class, all with the same mean handle time (Cobham 1954; Kella & Yechiali 1985).
    Returns float64 (classes,). Raises InputError when all classes together are too much for the agents.
    """
    count, handle = _agents(agents), _number("handle_time", handle_time, above=True)
    loads = [_number(f"rates[{i}]", rate) * handle for i, rate in enumerate(rates)]
    if not loads:
        raise InputError("rates is empty", Where(key="rates"), "Give one rate a class")
    total = math.fsum(loads)
    if total >= count:
        raise _unstable(count, total)
    free = np.array([count - math.fsum(loads[:i]) for i in range(len(loads) + 1)]) / count
    return np.asarray(_core.waiting(count, total) * handle / count / (free[:-1] * free[1:]))


def halfin_whitt(beta: float) -> float:
    """P(wait) with a + beta sqrt(a) agents for a Erlang, in the limit of large a (Halfin & Whitt 1981, OR 29:567)."""
    beta = _number("beta", beta, above=True)
    # beta Phi / phi overflows beyond 38 standard deviations, where nobody waits.
    ratio = 0.5 * math.erfc(-beta / math.sqrt(2.0)) * math.sqrt(2.0 * math.pi)
    return 1.0 / (1.0 + beta * ratio * math.exp(min(0.5 * beta * beta, 700.0)))


def square_root_agents(load: float, wait_probability: float) -> int:
    """Agents for `load` Erlang by the square-root rule: about `wait_probability` of the callers wait (Erlang C).

    A first estimate for large centers; `minimum_agents` is exact.
    """
    load = _number("load", load)
    target = _share("wait_probability", wait_probability)
    low, high = 1e-12, 38.0
    while high - low > 1e-12 * high:  # halfin_whitt falls from 1 to 0
        middle = 0.5 * (low + high)
        low, high = (middle, high) if halfin_whitt(middle) > target else (low, middle)
    return math.ceil(load + high * math.sqrt(load))


def _share(name: str, value: float) -> float:
    number = _number(name, value)
    if not 0.0 < number < 1.0:
        raise InputError(f"{name} is {number:g}", Where(key=name), "Give a share between 0 and 1, both excluded")
    return number


def minimum_agents(
    rate: float,
    handle_time: float,
    *,
    service_level: float | None = None,
    within: float = 20.0,
    abandonment: float | None = None,
    mean_wait: float | None = None,
    patience: float | Patience | None = None,
) -> int:
    """The fewest agents that meet every target given: service level at least, abandonment and mean wait at most.

    rate per second, times in seconds, shares between 0 and 1. patience as in `measures`: None sizes by Erlang C,
    seconds by Erlang A, a law by M/M/n+G. No calls need no agents. Raises InputError for impossible targets and
    LimitError where more than AGENTS_MAX would be needed.

    >>> minimum_agents(200 / 1800, 300, service_level=0.8, within=20)
    39
    """
    rate, handle = _number("rate", rate), _number("handle_time", handle_time, above=True)
    within = _number("within", within)
    share = math.nan if service_level is None else _share("service_level", service_level)
    lost = math.nan if abandonment is None else _share("abandonment", abandonment)
    wait = math.nan if mean_wait is None else _number("mean_wait", mean_wait, above=True)
    if service_level is None and mean_wait is None and (abandonment is None or patience is None):
        hint = "Give service_level, mean_wait, or abandonment together with patience"
        raise InputError("There is no target to size for", hint=hint)
    if rate == 0.0:
        return 0
    if isinstance(patience, Patience):
        law = patience.columns()

        def enough(agents: int) -> bool:
            return _meets(_core.law_measures(*law, agents, rate, handle, within), share, lost, wait)

        found = _fewest(rate * handle, enough)
    else:
        seconds = math.inf if patience is None else _number("patience", patience, above=True)
        found = _core.minimum_agents(rate, handle, seconds, share, within, lost, wait, AGENTS_MAX)
    if found < 0:
        raise LimitError(f"{rate * handle:g} Erlang need more agents than can be sized", AGENTS_MAX, "Split the center")
    return found


def _meets(result: tuple[float, ...], share: float, lost: float, wait: float) -> bool:
    """Whether measures meet the bounds that are not NaN; measures that do not exist meet nothing."""
    m = Measures(*result)
    return not (math.isnan(m.mean_wait) or m.service_level < share or m.abandonment > lost or m.mean_wait > wait)


def _fewest(load: float, enough: Callable[[int], bool]) -> int:
    """The least n with enough(n), which stays true once it is; -1 beyond AGENTS_MAX."""
    high, step = min(max(1, math.ceil(load)), AGENTS_MAX), 1
    low = 0
    while not enough(high):
        if high == AGENTS_MAX:
            return -1
        low, high, step = high, min(high + step, AGENTS_MAX), step * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
