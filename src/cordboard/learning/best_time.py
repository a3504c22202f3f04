"""The best time to call a lead, within the hours in which the law lets one call it.

Hours are data: a table of windows by weekday, and holidays. A lead may lie in several time zones (a mobile number
with a home
address elsewhere); then a time is legal only if it is in all of them. Everything is reckoned in UTC and looked up
in each
zone's own calendar, so that changes to and from daylight saving time neither add nor lose a legal minute.
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

    ``windows``: weekday (0 = Monday) -> windows (from, to); a call may start at ``from`` and must not start at
    ``to`` or
    later; ``time(0)`` as ``to`` means midnight at the day's end. A weekday that is absent has none. ``holidays``:
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
                for day, spans in data.items()
                if day != "holidays"
            }
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
    count = int(days * 1440 / minutes) if minutes > 0 and days >= 0 else -1
    if not 0 <= count <= SLOTS_MAX:
        raise DataError(f"{count} slots were asked for", Where(key="days"), f"Ask for 0 to {SLOTS_MAX}.")
    local = []
    for name in zones:
        try:
            local.append(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise DataError(
                f"there is no time zone {name!r}", Where(key="zones"), "Use IANA names, e.g. Asia/Shanghai."
            ) from None
    step = timedelta(minutes=minutes)
    begin = datetime.fromtimestamp(-(-start.timestamp() // step.total_seconds()) * step.total_seconds(), UTC)
    found = []
    for i in range(count):
        at = begin + i * step
        last = at + step - timedelta(microseconds=1)
        # Both ends are looked up: within a slot the clocks may change.
        if all(
            hours.legal(at.astimezone(zone), 0.0) and hours.legal(last.astimezone(zone), 0.0)
            and (at.astimezone(zone).utcoffset() != last.astimezone(zone).utcoffset()
                 or hours.legal(at.astimezone(zone), step.total_seconds()))
            for zone in local
        ):  # fmt: skip
            found.append(at)
    return found


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

    ``lead``: its features; those whose role is ``hour`` or ``weekday`` are set to the local time of each slot in
    the lead's
    first zone. DataError if the schema has no such feature, for then every time is as good.
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
