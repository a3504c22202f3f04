"""How many agents a load needs: one interval, or a day of them from a CSV file. Times in seconds."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from cordboard.errors import DataError, InputError, Where
from cordboard.queueing import Measures, measures, minimum_agents

INTERVALS_MAX = 100_000
FIELDS = ("interval", "calls", "aht", "period")


@dataclass(frozen=True, slots=True)
class Goal:
    """What the center promises its callers, and what it knows of them and of its agents."""

    target: float = 0.8  # share of all callers served ...
    within: float = 20.0  # ... within so many seconds
    patience: float | None = None  # mean seconds until a caller hangs up; None: sized by Erlang C alone
    max_abandon: float | None = None  # share of callers who may hang up; needs patience
    shrinkage: float = 0.0  # share of paid time in which an agent is not there

    def __post_init__(self) -> None:
        if not 0.0 <= self.shrinkage < 1.0:
            hint = "Give a share from 0 to less than 1, such as .3"
            raise InputError(f"shrinkage is {self.shrinkage:g}", Where(key="shrinkage"), hint)
        if self.max_abandon is not None and self.patience is None:
            hint = "Give patience too: without it nobody ever hangs up"
            raise InputError("max_abandon is given without patience", Where(key="max_abandon"), hint)


@dataclass(frozen=True, slots=True)
class Interval:
    """The calls expected in one period."""

    calls: float
    period: float = 1800.0
    aht: float = 240.0  # mean handle time: talk, hold and wrap-up
    name: str = ""

    def __post_init__(self) -> None:
        for key, value, low in (("calls", self.calls, 0.0), ("period", self.period, 1e-9), ("aht", self.aht, 1e-9)):
            if not (math.isfinite(value) and value >= low):
                hint = "Give a finite number, at least 0" if key == "calls" else "Give seconds above 0"
                raise InputError(f"{key} is {value:g}", Where(key=key), hint)

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.period

    @property
    def load(self) -> float:
        """Erlang."""
        return self.rate * self.aht


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer. Measures are None where there are none: without calls, or with too few agents."""

    agents: int  # on the phones
    rostered: int  # paid, with shrinkage
    now: Measures | None
    one_less: Measures | None


@dataclass(frozen=True, slots=True)
class Staffing:
    """An interval's answers. `erlang_a` is None where the callers' patience is not known."""

    interval: Interval
    erlang_c: Answer
    erlang_a: Answer | None

    @property
    def best(self) -> Answer:
        """The answer to staff by: Erlang A's where patience is known."""
        return self.erlang_a or self.erlang_c


def staff(interval: Interval, goal: Goal) -> Staffing:
    """The fewest agents for one interval, by Erlang C (nobody hangs up) and by Erlang A (callers lose patience).

    >>> staff(Interval(calls=200, period=1800, aht=300), Goal(target=0.8, within=20)).best.agents
    39
    """
    by_c = _answer(interval, goal, None)
    return Staffing(interval, by_c, None if goal.patience is None else _answer(interval, goal, goal.patience))


def _answer(interval: Interval, goal: Goal, patience: float | None) -> Answer:
    agents = minimum_agents(
        interval.rate,
        interval.aht,
        service_level=goal.target,
        within=goal.within,
        abandonment=None if patience is None else goal.max_abandon,
        patience=patience,
    )
    rostered = math.ceil(agents / (1.0 - goal.shrinkage) - 1e-9)
    now, less = (level(interval, goal, n, patience) for n in (agents, agents - 1))
    return Answer(agents, rostered, now, less)


def level(interval: Interval, goal: Goal, agents: int, patience: float | None) -> Measures | None:
    """What so many agents give; None without calls or agents, and where the queue would grow without end."""
    if interval.calls == 0 or agents < 1 or (patience is None and interval.load >= agents):
        return None
    return measures(agents, interval.rate, interval.aht, patience=patience, within=goal.within)


def read_intervals(path: str | Path, *, period: float, aht: float) -> list[Interval]:
    """The intervals of a CSV file with a header: `calls`, and if they differ, `interval`, `aht` and `period`.

    period and aht (seconds) stand in where the file has no such column. Raises DataError with file, line and column.
    """
    file = str(path)
    try:
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"Can't read it: {error.strerror}", Where(file), "Check the path") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError("It is not UTF-8", Where(file, line), "Save it as UTF-8") from None
    rows = csv.DictReader(text.splitlines())
    try:
        return _intervals(rows, file, period, aht)
    except csv.Error as error:
        raise DataError(f"not a CSV file: {error}", Where(file, rows.line_num), "Write one row a line") from None


def _intervals(rows: csv.DictReader[str], file: str, period: float, aht: float) -> list[Interval]:
    columns = rows.fieldnames or []
    if "calls" not in columns:
        hint = f"Name the columns in the first line: {', '.join(FIELDS)}"
        raise DataError("There is no column calls", Where(file, 1), hint)
    unknown = [name for name in columns if name not in FIELDS]
    if unknown:
        raise DataError(f"Unknown column {unknown[0]!r}", Where(file, 1), f"Columns are {', '.join(FIELDS)}")
    found: list[Interval] = []
    for row in rows:
        if len(found) == INTERVALS_MAX:
            raise DataError(f"More than {INTERVALS_MAX} intervals", Where(file, rows.line_num), "Split the file")
        if None in row:
            raise DataError("More values than columns", Where(file, rows.line_num), "Quote values that hold a comma")
        numbers = {"calls": math.nan, "aht": aht, "period": period}
        for key in numbers:
            if key in columns:
                numbers[key] = _cell(row[key], file, rows.line_num, key)
        try:
            found.append(Interval(name=row.get("interval") or str(len(found) + 1), **numbers))
        except InputError as error:
            raise DataError(error.what, Where(file, rows.line_num, error.where.key), error.hint) from None
    return found


def _cell(text: str | None, file: str, line: int, key: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise DataError(f"{text!r} is not a number", Where(file, line, key), "Give a number") from None
