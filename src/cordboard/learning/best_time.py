"""The best time to call a lead, within the hours in which the law lets one call it.

Hours are data: a table of windows by weekday, and holidays. A lead may lie in several time zones (a mobile number
with a home address elsewhere); then a time is legal only if it is in all of them. Everything is reckoned in UTC and
looked up in each zone's own calendar, so that changes to and from daylight saving time neither add nor lose a legal
minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cordboard.errors import DataError, Where
from cordboard.learning.model import AnswerModel

SLOTS_MAX = 10_000
Window = tuple[time, time]


@dataclass(frozen=True, slots=True)
class CallingHours:
    """When calling is allowed, in local time.

    ``windows``: weekday (0 = Monday) -> windows (from, to); a call may start at ``from`` and must not start at ``to``
    or later; ``time(0)`` as ``to`` means midnight at the day's end. A weekday that is absent has none. ``holidays``:
    days without.
    """

    windows: Mapping[int, Sequence[Window]]
    holidays: frozenset[date] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        for weekday, windows in self.windows.items():
            if weekday not in range(7) or any(b <= a and b != time(0) for a, b in windows):
                raise DataError(
                    f"calling hours of weekday {weekday} are not usable", Where(key="windows"),
                    "Weekdays are 0 (Monday) to 6; a window ends after it begins.",
                )  # fmt: skip

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> CallingHours:
        """Hours from plain data: ``{"mon": [["08:00", "21:00"]], ..., "holidays": ["2026-12-25"]}``."""
        days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
        try:
            windows = {
                days.index(day): [(time.fromisoformat(a), time.fromisoformat(b)) for a, b in spans]
                for day, spans in dict(data).items()
                if day != "holidays"
            }
            if any(t.tzinfo is not None for spans in windows.values() for span in spans for t in span):
                raise ValueError("a time has a zone of its own; hours are in the lead's")
            holidays = frozenset(date.fromisoformat(day) for day in data.get("holidays", ()))
        except (ValueError, TypeError) as error:
            raise DataError(
                f"calling hours can't be read: {error}", Where(key="hours"), 'Write mon = [["08:00", "21:00"]].'
            ) from None
        return CallingHours(windows, holidays)

    def legal(self, start: datetime, seconds: float) -> bool:
        """Whether a call may start at any moment of ``seconds`` from a local time on."""
        if start.date() in self.holidays:
            return False
        opening = start.hour * 3600 + start.minute * 60 + start.second + start.microsecond / 1e6
        for a, b in self.windows.get(start.weekday(), ()):
            end = 86400 if b == time(0) else _seconds(b)
            if _seconds(a) <= opening and opening + seconds <= end:
                return True
        return False


def _seconds(t: time) -> float:
    return t.hour * 3600 + t.minute * 60 + t.second + t.microsecond / 1e6


@dataclass(frozen=True, slots=True)
class Slot:
    """A time to call: from ``start`` (UTC) on, local time in the lead's first zone, and the head's probability
    then."""

    start: datetime
    local: datetime
    p: float


def legal_slots(
    hours: CallingHours, zones: Sequence[str], start: datetime, days: float = 7.0, minutes: int = 60
) -> list[datetime]:
    """Starts (UTC) of the slots of ``minutes`` from ``start`` on, within ``days``, that are legal in every zone
    throughout.

    Slots begin at whole multiples of ``minutes`` of UTC. ``start`` must know its zone.
    """
    if start.tzinfo is None or not zones:
        raise DataError("the start has no time zone, or the lead has none", Where(key="start"), "Give both.")
    if not (1 <= minutes <= 1440 and minutes == int(minutes) and 0 <= days * 1440 / minutes <= SLOTS_MAX):
        raise DataError(
            f"slots of {minutes!r} minutes in {days!r} days were asked for", Where(key="days"),
            f"Give whole minutes from 1 to 1440, and at most {SLOTS_MAX} slots.",
        )  # fmt: skip
    count = int(days * 1440 / minutes)
    local = []
    for name in zones:
        try:
            local.append(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
            raise DataError(
                f"there is no time zone {name!r}", Where(key="zones"), "Use IANA names, e.g. Asia/Shanghai."
            ) from None
    step = timedelta(minutes=minutes)
    begin = datetime.fromtimestamp(-(-start.timestamp() // step.total_seconds()) * step.total_seconds(), UTC)
    try:
        starts = [begin + i * step for i in range(count + 1)]
        return [at for at in starts[:-1] if all(_legal_throughout(hours, at, step, zone) for zone in local)]
    except OverflowError:
        raise DataError("the slots lie outside the calendar", Where(key="start"), "Give another start.") from None


def _legal_throughout(hours: CallingHours, at: datetime, step: timedelta, zone: ZoneInfo) -> bool:
    """Whether a call may start at any moment of a slot, in one zone."""
    first, last = at.astimezone(zone), (at + step - timedelta(microseconds=1)).astimezone(zone)
    if first.utcoffset() == last.utcoffset():
        return hours.legal(first, step.total_seconds())
    minute = timedelta(minutes=1)  # the clocks change within the slot, and they do so on the minute
    return all(hours.legal((at + k * minute).astimezone(zone), 60.0) for k in range(step // minute))


def best_times(
    model: AnswerModel,
    lead: Mapping[str, Any],
    hours: CallingHours,
    zones: Sequence[str],
    start: datetime,
    *,
    days: float = 7.0,
    minutes: int = 60,
    goal: str = "person",
) -> list[Slot]:
    """Legal slots for a lead, the likeliest first (ties: the earliest). ``goal``: person, right_party or success.

    ``lead``: its features; those whose role is ``hour`` or ``weekday`` are set to the local time of each slot in the
    lead's first zone. DataError if the schema has no such feature, for then every time is as good.
    """
    roles = {f.role: f for f in model.encoder.schema.features if f.role}
    if not roles:
        raise DataError(
            "no feature of the schema has the role hour or weekday", Where(key="features"), 'Add role = "hour".'
        )
    starts = legal_slots(hours, zones, start, days, minutes)
    zone = ZoneInfo(zones[0])
    local = [at.astimezone(zone) for at in starts]
    table: dict[str, list[Any]] = {name: [value] * len(starts) for name, value in lead.items()}
    for role, feature in roles.items():
        table[feature.name] = [
            _as(feature.kind, when.hour if role == "hour" else when.weekday()) for when in local
        ]  # fmt: skip
    p = model.predict_many(table)
    if goal not in p:
        raise DataError(f"this model can't predict {goal!r}", Where(key="goal"), f"It predicts {', '.join(p)}.")
    slots = [Slot(at, when, float(value)) for at, when, value in zip(starts, local, p[goal], strict=True)]
    return sorted(slots, key=lambda slot: (-slot.p, slot.start))


def _as(kind: str, value: int) -> float | str:
    return float(value) if kind == "number" else str(value)
