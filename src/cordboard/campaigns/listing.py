"""Rows of a list: which of them can be called, and what is wrong with the others, by line."""

from __future__ import annotations

import csv
import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from cordboard import words
from cordboard.campaigns.book import Book
from cordboard.errors import DataError, Where

ROWS_MAX = 5_000  # at once
ABOUT_MAX = 4096
_SIGNS = re.compile(r"[\s().\-/]")
_NUMBER = re.compile(r"\+?[0-9]{3,15}")
WRONG: Mapping[str, tuple[str, str]] = {
    "bad_number": ("not a number that can be dialed", "不是可拨打的号码"),
    "bad_time_zone": ("not a time zone", "不是时区"),
    "too_long": ("too long", "过长"),
    "duplicate": ("in the list already", "名单中已有"),
    "do_not_call": ("not to be called", "禁止呼叫"),
}
NAMES = {"number": ("number", "phone", "号码", "电话", "手机号"), "time_zone": ("time_zone", "时区")}


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was given; ``line`` of a file."""

    line: int
    number: str
    time_zone: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row is left out: a key of ``WRONG``."""

    line: int
    reason: str

    def text(self, lang: words.Lang) -> str:
        return words.pick(lang, *WRONG[self.reason])


def plain(number: str) -> str:
    """A number as it is dialed; empty if it is none.

    >>> plain("+86 (139) 1234-5678"), plain("００１２３"), plain("ask reception")
    ('+8613912345678', '00123', '')
    """
    text = _SIGNS.sub("", unicodedata.normalize("NFKC", number))
    return text if _NUMBER.fullmatch(text) else ""


KeptAs = Callable[[Sequence[str]], Sequence[str]]  # of numbers, one for each


def zone_of(number: str, zones: Mapping[str, str], default: str) -> str:
    """The time zone of a number: of its longest prefix that has one.

    >>> zone_of("+12125550100", {"+1": "America/Chicago", "+1212": "America/New_York"}, "UTC")
    'America/New_York'
    """
    fitting = [prefix for prefix in zones if number.startswith(prefix)]
    return zones[max(fitting, key=len)] if fitting else default


def read_rows(stream: TextIO, file: str, number: str = "", time_zone: str = "") -> Iterator[Row]:
    """The rows of a CSV file with a head. ``number``, ``time_zone``: names of their columns, if they are not one of
    ``NAMES``; the other columns become ``about``. DataError if there is no such column."""
    reader = csv.DictReader(stream)
    try:
        head = [name.strip().lstrip("\ufeff") for name in reader.fieldnames or []]
        reader.fieldnames = head
        of_number = _column(head, number, NAMES["number"], file)
        of_zone = _column(head, time_zone, NAMES["time_zone"], file) if time_zone else _found(head, NAMES["time_zone"])
        for row in reader:
            rest = {key: value for key, value in row.items() if key not in (of_number, of_zone) and key and value}
            about = "; ".join(f"{key}={value}" for key, value in rest.items())
            yield Row(reader.line_num, row[of_number] or "", (row.get(of_zone) or "") if of_zone else "", about)
    except csv.Error as error:
        raise DataError(f"not a CSV file: {error}", Where(file, reader.line_num), "Write one row a line") from error


def _found(head: Sequence[str], names: Sequence[str]) -> str:
    return next((one for one in head if one.lower() in names), "")


def _column(head: Sequence[str], asked: str, names: Sequence[str], file: str) -> str:
    found = asked if asked in head else "" if asked else _found(head, names)
    if not found:
        what = f"there is no column {asked or names[0]!r}"
        raise DataError(what, Where(file, 1), "Its head has: " + ", ".join(head)[:200])
    return found


def import_rows(
    book: Book,
    campaign: str,
    rows: Iterable[Row],
    zones: Mapping[str, str],
    default_zone: str,
    kept_as: KeptAs = lambda numbers: numbers,
    marks: KeptAs = lambda numbers: numbers,
) -> tuple[int, list[Problem]]:
    """Put rows into a list. ``kept_as``: what stands for numbers in the book; ``marks``: what stands for those that
    must not be called, whoever is forgotten. Returns how many are new, and what is wrong with the others."""
    problems: list[Problem] = []
    fit: list[tuple[Row, str, str]] = []
    for row in rows:
        number, zone = plain(row.number), row.time_zone.strip()
        if not number:
            problems.append(Problem(row.line, "bad_number"))
        elif zone and not _is_zone(zone):
            problems.append(Problem(row.line, "bad_time_zone"))
        elif len(row.about) > ABOUT_MAX:
            problems.append(Problem(row.line, "too_long"))
        else:
            fit.append((row, number, zone or zone_of(number, zones, default_zone)))
    marked = marks([number for _, number, _ in fit])
    blocked = book.blocked(marked)
    rows_marked = list(zip(fit, marked, strict=True))
    problems += [Problem(row.line, "do_not_call") for (row, _, _), one in rows_marked if one in blocked]
    fit = [each for each, one in rows_marked if one not in blocked]
    kept = kept_as([number for _, number, _ in fit])
    wanted = [(row, one, zone) for (row, _, zone), one in zip(fit, kept, strict=True)]
    added = book.add(campaign, [(one, zone, row.about) for row, one, zone in wanted])
    problems += [Problem(row.line, "duplicate") for (row, _, _), new in zip(wanted, added, strict=True) if not new]
    return sum(added), sorted(problems, key=lambda one: one.line)


def block_rows(
    book: Book,
    rows: Iterable[Row],
    kept_as: KeptAs = lambda numbers: numbers,
    marks: KeptAs = lambda numbers: numbers,
) -> tuple[int, list[Problem]]:
    """Numbers that are not to be called; as ``import_rows``."""
    given = [(row, plain(row.number)) for row in rows]
    problems = [Problem(row.line, "bad_number") for row, number in given if not number]
    numbers = [number for _, number in given if number]
    return book.block(kept_as(numbers), marks(numbers)), problems


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
