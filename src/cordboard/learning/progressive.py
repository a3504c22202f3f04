"""Progressive validation: every row is predicted before its label is learned, in the order in which it happened.

It is the only honest test under drift. A random split lets a model learn from the future: on the bank's contacts it
reports an AUC of 0.80 for models that reach 0.55 to 0.66 in the order of time.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cordboard.errors import DataError, Where
from cordboard.learning import metrics
from cordboard.learning.model import AnswerModel, Result
from cordboard.learning.training import Recipe, train

Floats = NDArray[np.float64]
ROWS_MAX = 20_000_000


@dataclass(frozen=True, slots=True)
class HeadReport:
    """How one head did on the judged rows that had a label: ``rows`` of them. Metrics are those of
    ``metrics.summary``; ``blind`` are the running mean's, which knows nothing of the row, with the same delay."""

    head: str
    rows: int
    model: dict[str, float]
    blind: dict[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """One progressive validation: ``rows`` in all, judged from row ``start`` on, labels ``delay`` rows late."""

    rows: int
    start: int
    delay: int
    heads: tuple[HeadReport, ...]
    p: dict[str, Floats]
    labels: dict[str, Floats]


def read_table(path: str | Path, separator: str | None = None) -> dict[str, list[str]]:
    """The columns of a CSV file with a header, as text. The separator is found out unless given. DataError, with
    the line."""
    where = str(path)
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        hint = "Give one sign: a comma, a semicolon or a tab."
        raise DataError(f"the separator is {separator!r}", Where(where), hint)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            rows = csv.reader(file, delimiter=separator or max(";,\t", key=head.count), strict=True)
            names = next(rows, [])
            columns: list[list[str]] = [[] for _ in names]
            for row in rows:
                if len(row) != len(names):
                    raise DataError(
                        f"{len(row)} values for {len(names)} columns", Where(where, rows.line_num), "Correct the line."
                    )
                if len(columns[0]) >= ROWS_MAX:
                    raise DataError(f"more than {ROWS_MAX} rows", Where(where, rows.line_num), "Split the file.")
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
    except OSError as error:
        raise DataError(f"the file can't be read: {error}", Where(where), "Give a CSV file.") from None
    except UnicodeDecodeError:
        raise DataError("the file is not UTF-8", Where(where), "Convert it to UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"not CSV: {error}", Where(where, rows.line_num), "Correct the line.") from None
    if not names or len(set(names)) != len(names) or not columns[0]:
        raise DataError("the file has no rows, or two columns of one name", Where(where, 1), "Give a header and rows.")
    return dict(zip(names, columns, strict=True))


def validate(
    model: AnswerModel,
    table: dict[str, list[str]],
    results: Sequence[Result],
    *,
    delay: int = 0,
    judged: float = 0.3,
    recipe: Recipe | None = None,
    file: str | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Report:
    """Validate on the last ``judged`` share of the rows, learning from all of them.

    ``recipe``: also train a compiled model for each head on the rows before whose labels had come by then, and let it
    challenge; labels on their way at that moment are not learned at all. ``step`` is told what begins: encode, learn,
    train.
    """
    if not 0.0 < judged <= 1.0:
        raise DataError(f"the judged share is {judged}", Where(key="judge"), "Give a share above 0, up to 1.")
    if not 0 <= delay <= ROWS_MAX:
        raise DataError(f"the delay is {delay}", Where(key="delay"), f"Give a number of rows, 0 to {ROWS_MAX}.")
    step("encode")
    encoded = model.encoder.encode(table, file)
    labels = model.labels(results, file)
    n, start = len(encoded), int(len(encoded) * (1.0 - judged))
    model.watch(encoded)
    said = {}
    for name, head in model.heads.items():
        step("learn")
        first = head.run(encoded.rows(slice(0, start)), labels[name][:start], delay) if recipe else np.empty(0)
        if recipe:
            step("train")
            come = max(start - delay, 0)  # what is on its way then, the trees can't have learned either
            head.challenge(recipe.kind, train(encoded.rows(slice(0, come)), labels[name][:come], recipe))
        at = len(first)
        said[name] = np.concatenate([first, head.run(encoded.rows(slice(at, n)), labels[name][at:], delay)])
    return Report(n, start, delay, tuple(_judge(k, said[k], labels[k], start, delay) for k in said), said, labels)


def _judge(head: str, p: Floats, y: Floats, start: int, delay: int) -> HeadReport:
    blind = metrics.running_mean(y, delay)
    known = np.flatnonzero(~np.isnan(y))
    known = known[known >= start]
    if not len(known):
        return HeadReport(head, 0, {}, {})
    return HeadReport(head, len(known), metrics.summary(y[known], p[known]), metrics.summary(y[known], blind[known]))
