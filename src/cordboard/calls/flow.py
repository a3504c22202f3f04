"""Flows: what callers hear and choose before they are in a queue, as plain data.

A flow is a file of steps (docs/reference/flows.md). What decides of it stands in the journal as its tables, and is read
again from there by the same reader (``cordboard.calls.flow_reader``). Times are seconds.
"""

from __future__ import annotations

import datetime
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Prompts = tuple[str, ...]  # names; "{number balance}" and "{digits account}" are spoken from the call's values
Zone = tuple[tuple[float, float], ...]  # from when on (Unix time), seconds that local time is ahead of UTC
Span = tuple[int, int]  # minutes of a day, from and to

DAY_S = 86_400
_FIRST_DAY = datetime.date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Language:
    """``requires``: levels that an agent must have for callers who chose it."""

    requires: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hours:
    """``week``: when it is open, for each day from Monday on; ``days``: dates (ordinals) that are another matter."""

    week: tuple[tuple[Span, ...], ...]
    days: Mapping[int, tuple[Span, ...]]

    def are_open(self, t: float, zone: Zone) -> bool:
        """Whether it is open at ``t`` (Unix time)."""
        at = bisect_right(zone, t, key=lambda part: part[0])
        local = t + (zone[max(at - 1, 0)][1] if zone else 0.0)
        day, minute = int(local // DAY_S), int(local % DAY_S // 60)
        spans = self.days.get(day + _FIRST_DAY, self.week[(day + 3) % 7])  # 1970 began on a Thursday
        return any(begin <= minute < end for begin, end in spans)


@dataclass(frozen=True, slots=True)
class Announce:
    """What callers are told while they wait: ``position``, ``wait`` (only what is better than what they were told
    before), ``comfort`` when there is nothing of it; ``late`` once, when it takes longer than they were told."""

    first: float = 20.0
    every: float = 45.0
    position: bool = False
    wait: bool = False
    comfort: Prompts = ()
    late: Prompts = ()


@dataclass(frozen=True, slots=True)
class Callback:
    """The offer to be called back. ``key``: takes it; ``offer``: said behind the announcements from ``after`` seconds
    of waiting on, ``accepted`` before the caller is hung up. Who is not reached is tried ``retries`` times more,
    ``every`` so many seconds; ``within``: seconds after which it is given up. ``number``: the value that holds the
    number; empty: the caller's."""

    key: str
    offer: Prompts = ()
    accepted: Prompts = ()
    after: float = 0.0
    retries: int = 2
    every: float = 300.0
    within: float = 14_400.0
    number: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``kind``: play, menu, collect, rate, language, hours, lookup, queue, number, voicemail or hang_up;
    ``value``: what it is of (a queue, a language ...), ``prompts``: what is said. The rest as the reference says."""

    kind: str
    value: str = ""
    prompts: Prompts = ()
    next: str = ""
    otherwise: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    sure: float = 0.4
    barge_in: bool = True
    answers: Mapping[str, str] = field(default_factory=dict)
    open: str = ""
    closed: str = ""
    invalid: Prompts = ()
    timeout: float = 5.0
    retries: int = 2
    min: int = 1
    max: int = 32
    end: str = "#"
    secret: bool = False
    scale: int = 5
    into: str = ""
    send: tuple[str, ...] = ()
    priority: float = 0.0
    requires: Mapping[str, int] = field(default_factory=dict)
    agent: str = ""
    announce: Announce | None = None
    callback: Callback | None = None
    after: str = ""
    to_queue: str = ""
    seconds: float = 120.0

    def targets(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """The steps that may follow, each with the keys under which it is named."""
        for key in ("next", "otherwise", "open", "closed", "after"):
            if getattr(self, key):
                yield (key,), getattr(self, key)
        for key in ("keys", "answers"):
            for choice, target in getattr(self, key).items():
                yield (key, choice), target

    def said(self) -> Iterator[tuple[tuple[str, ...], Prompts]]:
        """What is said in it, each with the keys under which it stands."""
        yield (self.kind,), self.prompts
        yield ("invalid",), self.invalid
        if self.announce is not None:
            yield ("announce", "comfort"), self.announce.comfort
            yield ("announce", "late"), self.announce.late
        if self.callback is not None:
            yield ("callback", "offer"), self.callback.offer
            yield ("callback", "accepted"), self.callback.accepted


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow. ``start``: its first step; the first of ``languages`` is spoken until another one is chosen; ``texts``:
    prompt -> language -> what is spoken where there is no recording; ``tests``: as they stand in the file; ``tables``:
    what decides, as it was read."""

    start: str
    steps: Mapping[str, Step]
    languages: Mapping[str, Language]
    hours: Mapping[str, Hours]
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False)
    tests: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)
    tables: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def language(self) -> str:
        """The first language."""
        return next(iter(self.languages))


def zone_of(name: str, since: int = 2000, until: int = 2100) -> Zone:
    """When the clocks of a time zone change between two years, from this machine's time zone data. The journal keeps
    it, so that a replay elsewhere decides the same."""
    import zoneinfo

    zone = zoneinfo.ZoneInfo(name)

    def offset(t: int) -> float:
        found = datetime.datetime.fromtimestamp(t, zone).utcoffset()
        return 0.0 if found is None else found.total_seconds()

    ends = [int(datetime.datetime(year, 1, 1, tzinfo=datetime.UTC).timestamp()) for year in (since, until)]
    parts = [(float(ends[0]), offset(ends[0]))]
    for begin in range(ends[0], ends[1], 7 * DAY_S):
        low, high = begin, begin + 7 * DAY_S
        if offset(high) == parts[-1][1]:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == parts[-1][1] else (low, middle)
        parts.append((float(high), offset(high)))
    return tuple(parts)
