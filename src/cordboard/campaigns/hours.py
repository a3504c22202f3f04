"""Hours in which people may be called, in their own time zone."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)(?:-(mon|tue|wed|thu|fri|sat|sun))? (\d\d):(\d\d)-(\d\d):(\d\d)")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes [since, until) of some days of the week, Monday 0."""

    days: frozenset[int]
    since: int
    until: int


def parse(text: str) -> Span:
    """A span such as ``mon-fri 09:00-20:00``. ValueError if it is none.

    >>> sorted(parse("sat-mon 09:30-24:00").days)
    [0, 5, 6]
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(text)
    first, last = DAYS.index(found[1]), DAYS.index(found[2] or found[1])
    since, until = (int(found[n]) * 60 + int(found[n + 1]) for n in (3, 5))
    if not since < until <= _DAY_MINUTES or int(found[4]) > 59 or int(found[6]) > 59:
        raise ValueError(text)
    return Span(frozenset((first + n) % 7 for n in range((last - first) % 7 + 1)), since, until)


def is_open(spans: Iterable[Span], t: float, zone: zoneinfo.ZoneInfo) -> bool:
    """Whether it is within the hours at ``t`` (Unix seconds) where the clocks show the time of ``zone``."""
    local = datetime.datetime.fromtimestamp(t, zone)
    minute = local.hour * 60 + local.minute
    return any(local.weekday() in span.days and span.since <= minute < span.until for span in spans)
