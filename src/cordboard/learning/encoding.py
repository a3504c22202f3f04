"""From records to the arrays that the learners take.

What can't be used is named in an error, with its row and column.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordboard.errors import DataError, LimitError, Where
from cordboard.learning.schema import Feature, Schema

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Table = Mapping[str, Sequence[Any]]  # column name -> values, all of one length

WEIGHTS_MAX = 1 << 26  # weights, and cells, of one head: 4 GiB of them
CROSS_BITS = 16  # a cross or a cell of the shrunk rate with more combinations than 2^16 shares them by hashing


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as arrays. numbers float64 (n, numbers), NaN = missing; codes int32 (n, codes): rows of the weight table;
    cells int32 (n, levels): cells of the shrunk rate; dense float64 (n, features): what tree models take, NaN =
    missing."""

    numbers: Floats
    codes: Ints
    cells: Ints
    dense: Floats

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, chosen: Any) -> Encoded:
        """Some of the rows: a slice, a mask or indices."""
        return Encoded(*(np.ascontiguousarray(a[chosen]) for a in (self.numbers, self.codes, self.cells, self.dense)))


class Encoder:
    """Encodes records after a schema (see ``Schema.at``). ``recent``: how many recent rates the learner keeps."""

    def __init__(self, schema: Schema, recent: int = 0) -> None:
        self.schema = schema
        self.numbers = [f.name for f in schema.features if f.kind == "number"]
        self.coded: list[tuple[str, ...]] = [(f.name,) for f in schema.features if f.codes] + list(schema.crosses)
        self.n_weights = 1 + len(self.numbers) + recent
        self._starts = []
        for group in self.coded:
            self._starts.append(self.n_weights)
            self.n_weights += self._size(group)
        self.levels: list[tuple[str, ...]] = []
        self._cell_starts = []
        self.n_cells = 0
        path: tuple[str, ...] = ()
        for group in ((), *schema.shrink) if schema.shrink else ():
            path += group
            self.levels.append(path)
            self._cell_starts.append(self.n_cells)
            self.n_cells += self._size(path)
        if max(self.n_weights, self.n_cells) > WEIGHTS_MAX:
            raise LimitError(
                f"the schema asks for {max(self.n_weights, self.n_cells)} weights", WEIGHTS_MAX,
                "Use fewer features, values, hash_bits or crosses.",
            )  # fmt: skip

    @property
    def dense_names(self) -> list[str]:
        """The features of the dense matrix, in order."""
        return [f.name for f in self.schema.features]

    def _size(self, group: tuple[str, ...]) -> int:
        return min(
            math.prod(self.schema.feature(name).codes for name in group), max(1 << CROSS_BITS, self._widest(group))
        )

    def _widest(self, group: tuple[str, ...]) -> int:
        return max((self.schema.feature(name).codes for name in group), default=1)

    def _combined(self, group: tuple[str, ...], codes: Mapping[str, NDArray[np.int64]], n: int) -> NDArray[np.int64]:
        sizes = [self.schema.feature(name).codes for name in group]
        value = np.zeros(n, np.uint64)
        exact = math.prod(sizes) <= self._size(group)
        for name, size in zip(group, sizes, strict=True):
            if exact:
                value = value * np.uint64(size) + codes[name].astype(np.uint64)
            else:  # a multiplicative hash; collisions share a weight
                value = (value ^ (codes[name].astype(np.uint64) + np.uint64(1))) * np.uint64(0x9E3779B97F4A7C15)
                value ^= value >> np.uint64(29)
        if not exact:
            value %= np.uint64(self._size(group))
        return value.astype(np.int64)

    def encode(self, table: Table, file: str | None = None, first_line: int = 2) -> Encoded:
        """Encode columns. DataError names ``file``, the line (rows start at ``first_line``) and the column."""
        n = table_length(table, [f.name for f in self.schema.features], file)
        numbers: dict[str, Floats] = {}
        codes: dict[str, NDArray[np.int64]] = {}
        dense = np.empty((n, len(self.schema.features)))
        for i, f in enumerate(self.schema.features):
            place = _Place(file, first_line, f.name)
            if f.kind == "number":
                numbers[f.name] = dense[:, i] = _numbers(f, table[f.name], place)
                if f.codes:
                    codes[f.name] = _intervals(f, numbers[f.name])
            else:
                codes[f.name] = dense[:, i] = _categories(f, table[f.name], place)
        coded = [s + self._combined(g, codes, n) for g, s in zip(self.coded, self._starts, strict=True)]
        cells = [s + self._combined(g, codes, n) for g, s in zip(self.levels, self._cell_starts, strict=True)]
        return Encoded(_stack([numbers[name] for name in self.numbers], n, np.float64), _stack(coded, n, np.int32),
                       _stack(cells, n, np.int32), dense)  # fmt: skip

    def encode_one(self, row: Mapping[str, Any]) -> Encoded:
        """Encode one record, a mapping of feature names to values."""
        try:
            missing = [f.name for f in self.schema.features if f.name not in row]
        except TypeError:  # None, a number
            hint = "Give a mapping of feature names to values."
            raise DataError(f"{row!r} is no record", Where(key="row"), hint) from None
        if missing:
            raise DataError(f"no value for {missing[0]!r}", Where(key=missing[0]), "Give every feature of the schema.")
        return self.encode({f.name: [row[f.name]] for f in self.schema.features}, first_line=1)


@dataclass(frozen=True, slots=True)
class _Place:
    file: str | None
    first_line: int
    column: str

    def error(self, row: int, what: str, hint: str) -> DataError:
        return DataError(what, Where(self.file, self.first_line + row, self.column), hint)


def table_length(table: Table, names: Sequence[str], file: str | None = None) -> int:
    """The number of rows. DataError if a column is missing or the columns differ in length."""
    if not hasattr(table, "__contains__"):
        raise DataError(f"{table!r} is no table", Where(file), "Give a mapping of column names to values.")
    for name in names:
        if name not in table:
            raise DataError(
                f"column {name!r} is missing",
                Where(file, key=name),
                f"There are: {', '.join(map(str, table)) or 'none'}.",
            )
    lengths = {len(table[name]) for name in names}
    if len(lengths) > 1:
        raise DataError(f"the columns differ in length: {sorted(lengths)}", Where(file), "Give every row every column.")
    return lengths.pop() if lengths else 0


def _stack(columns: Sequence[NDArray[Any]], n: int, dtype: Any) -> NDArray[Any]:
    return np.stack(columns, axis=1).astype(dtype) if columns else np.zeros((n, 0), dtype)


def is_missing(value: Any) -> bool:
    """Whether a value stands for nothing: None, an empty text, or NaN."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _numbers(f: Feature, values: Sequence[Any], place: _Place) -> Floats:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        out = values.astype(np.float64)
    else:
        out = np.empty(len(values))
        for row, value in enumerate(values):
            try:
                if isinstance(value, bool):
                    raise ValueError
                out[row] = math.nan if is_missing(value) else float(value)
            except (TypeError, ValueError, OverflowError):
                raise place.error(
                    row, f"{value!r} is no number", "Correct it, or leave it empty if it may be."
                ) from None
    bad = np.isinf(out) if f.missing else ~np.isfinite(out)
    if bad.any():
        row = int(np.argmax(bad))
        what = "the value is missing" if np.isnan(out[row]) else "the value is infinite"
        raise place.error(row, what, "Fill it, or declare the feature with missing = true.")
    return out


def _intervals(f: Feature, numbers: Floats) -> NDArray[np.int64]:
    missing = len(f.edges) + 1 if f.edges else 1
    return np.where(np.isnan(numbers), missing, np.searchsorted(np.array(f.edges), numbers, side="right")).astype(
        np.int64
    )


def _categories(f: Feature, values: Sequence[Any], place: _Place) -> NDArray[np.int64]:
    known: dict[Any, int] = {v: i for i, v in enumerate(f.values)}
    out = np.empty(len(values), np.int64)
    listed = 1 << f.hash_bits if f.hash_bits else len(f.values)
    for row, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
        try:
            code = known.get(value)
        except TypeError:  # what can't be hashed is no category either
            what = f"{value!r} is neither text nor a whole number"
            raise place.error(row, what, "Give the category as text.") from None
        if code is None:
            code = known[value] = _category(f, value, listed, place, row)
        out[row] = code
    return out


def _category(f: Feature, value: Any, listed: int, place: _Place, row: int) -> int:
    if is_missing(value):
        if not f.missing:
            raise place.error(row, "the value is missing", "Fill it, or declare the feature with missing = true.")
        return listed
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise place.error(row, f"{value!r} is neither text nor a whole number", "Give the category as text.")
    text = str(value)
    if f.hash_bits:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % listed
    if text in f.values:
        return f.values.index(text)
    if not f.other:
        some = ", ".join(f.values[:8])
        hint = f"The schema lists {some}...; or declare the feature with other = true."
        raise place.error(row, f"unknown category {text!r}", hint)
    return listed + int(f.missing)
