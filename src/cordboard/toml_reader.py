"""Checks what tomllib read from a file of settings, and says all that is wrong with it, in the order of the file.

One table per kind of section says which keys there are and what checks each. Nothing stops at the first mistake: all
of them are reported, with line and key. The center file and the file of calls are read with it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

from cordboard.center import DURATION_MAX_S, UNFIT
from cordboard.errors import CenterError, Where
from cordboard.toml_lines import Path, key_lines, line_of


class Wrong(Exception):
    """A value that can't be used: ``what`` and ``hint`` for the error, at ``path``."""

    def __init__(self, path: Path, what: str, hint: str = "") -> None:
        self.path, self.what, self.hint = path, what, hint


Check = Callable[["Reader", Path, Any], Any]


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the known name that is most like ``name``, or with all of them if they are few."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f'Did you mean "{close[0]}"?'
    return "Known: " + ", ".join(names) if 0 < len(names) <= 24 else ""


def number(low: float, high: float, is_seconds: bool = False) -> Check:
    hint = f"Give seconds from {low:g} to {high:g}" if is_seconds else f"Give a number from {low:g} to {high:g}"

    def check(_: Reader, path: Path, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(path, f"{shown(value)} is not a number", hint)
        if not low <= value <= high:  # NaN comes here too
            raise Wrong(path, f"{shown(value)} is out of range", hint)
        return float(value)

    return check


def seconds(reader: Reader, path: Path, value: Any) -> float:
    given: float = number(0, DURATION_MAX_S, is_seconds=True)(reader, path, value)
    if 0 < given < 1e-6:
        raise Wrong(path, f"{shown(value)} seconds is less than a microsecond", "The clock has microseconds")
    return given


def whole(low: int, high: int) -> Check:
    def check(_: Reader, path: Path, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(path, f"{shown(value)} is not a whole number from {low} to {high}")
        return value

    return check


def flag(_: Reader, path: Path, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(path, f"{shown(value)} is not true or false")
    return value


def name_of(_: Reader, path: Path, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Wrong(path, f"{shown(value)} is not a name", "Give a text in quotes")
    return value


def one_of(known: tuple[str, ...]) -> Check:
    def check(_: Reader, path: Path, value: Any) -> str:
        if value not in known:
            hint = nearest(value, known) if isinstance(value, str) else "Known: " + ", ".join(known)
            raise Wrong(path, f"{shown(value)} is not known", hint)
        return str(value)

    return check


def mapping(check: Check) -> Check:
    """A table of names, every value under one check."""

    def check_all(reader: Reader, path: Path, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Wrong(path, f"{shown(value)} is not a table", "Write it as { name = number }")
        return reader.each(path, value, dict.fromkeys(value, check))

    return check_all


class Reader:
    """Reads one file: collects what is wrong and what is odd, by path; lines are looked up at the end."""

    kind: type[CenterError] = CenterError

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.wrong: list[Wrong] = []
        self.odd: list[Wrong] = []

    def warn(self, path: Path, what: str, hint: str = "") -> None:
        self.odd.append(Wrong(path, what, hint))

    def each(self, path: Path, table: dict[str, Any], checks: dict[str, Check]) -> dict[str, Any]:
        """Check every value of a table whose keys are known; a wrong one is noted and left out."""
        out = {}
        for key, value in table.items():
            try:
                out[key] = checks[key](self, (*path, key), value)
            except Wrong as wrong:
                self.wrong.append(wrong)
        return out

    def table(self, path: Path, value: Any, checks: dict[str, Check]) -> dict[str, Any]:
        """Check a table with the given keys; an unknown key is an error."""
        if not isinstance(value, dict):
            raise Wrong(path, f"{shown(value)} is not a table")
        for key in value:
            if key not in checks:
                self.wrong.append(Wrong((*path, key), f'unknown key "{key}"', nearest(key, checks)))
        return self.each(path, {key: value[key] for key in value if key in checks}, checks)

    def section(self, data: dict[str, Any], name: str, checks: dict[str, Check]) -> dict[str, dict[str, Any]]:
        """``[queues.*]`` or ``[agents.*]``: name -> its checked keys."""
        named = data.get(name, {})
        if not isinstance(named, dict):
            self.wrong.append(Wrong((name,), f"{shown(named)} is not a table", f"Write [{name}.NAME]"))
            return {}
        for one in named:
            if not one or UNFIT.search(one):
                self.wrong.append(Wrong((name, one), "a name that is empty or has control characters", "Give another"))
        tables: dict[str, Check] = {one: lambda reader, path, value: reader.table(path, value, checks) for one in named}
        return self.each((name,), named, tables)

    def raise_wrong(self) -> None:
        """Raise what is wrong, in file order: the first, which holds them all."""
        if not self.wrong:
            return
        errors = [self.kind(one.what, where, one.hint) for where, one in self.located(self.wrong)]
        errors[0].errors = tuple(errors)
        raise errors[0]

    def warnings(self) -> tuple[CenterError, ...]:
        return tuple(self.kind(one.what, where, one.hint) for where, one in self.located(self.odd))

    def located(self, found: list[Wrong]) -> list[tuple[Where, Wrong]]:
        if not found:
            return []
        lines = key_lines(self.text)
        placed = [(line_of(lines, one.path), one) for one in found]
        placed.sort(key=lambda pair: pair[0] or 0)
        return [(Where(self.file, line, _path_text(one.path)), one) for line, one in placed]


def _path_text(path: Path) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[\w-]+", part) else f'"{part}"')
    return text
