"""The journal: what has happened, one JSON object a line, in the order of time.

``read_journal`` goes through a journal and gives every line as an event or as the JournalError that says what is
wrong with it; it never stops at a bad line and never holds more than one. ``parse_event`` reads a single line.
One table, ``EVENTS``, says which fields an event has and what each may hold; see docs/reference/journal.md.

Whether an event fits the state of the center (does the agent exist, is the offer still open, does time go on) is the
engine's to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, NoReturn

from cordboard.center import LEVEL_MAX, STEPS_MAX, TIER_MAX, UNFIT
from cordboard.errors import JournalError, Where
from cordboard.media.backend import HEADERS_MAX, SOUNDS, TEXT_MAX, TRANSCRIPT_MAX, Cause

LINE_BYTES_MAX = 8 * 1024 * 1024  # the center of 50,000 agents fits in a line
NAME_CHARACTERS_MAX = 255
PRIORITY_MAX = 1_000_000_000_000  # counted in microseconds it fits the engine's clock
TIME_MAX_S = 9e9  # until here a float64 of seconds holds microseconds exactly
SKILLS_MAX = 100
TIER_RULES_MAX = 100
LEGS_MAX = 100_000
TEXTS_MAX = 100

Event = dict[str, Any]


class _Wrong(Exception):
    """A field that can't be used."""

    def __init__(self, key: str, what: str, hint: str = "") -> None:
        self.key, self.what, self.hint = key, what, hint


def tick(seconds: float) -> int:
    """Microseconds: times that round to the same one are the same instant to the engine."""
    return round(seconds * 1e6)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _name(key: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise _Wrong(key, f"{_shown(value)} is not a name", "Give a text in quotes")
    if len(value) > NAME_CHARACTERS_MAX:
        raise _Wrong(key, f"a name of {len(value)} characters", f"The limit is {NAME_CHARACTERS_MAX}")
    if UNFIT.search(value):
        raise _Wrong(key, f"{_shown(value)} has control characters or half characters", "Leave them out")


def _time(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Wrong(key, f"{_shown(value)} is not a time", "Give seconds as a number")
    if not 0 <= value <= TIME_MAX_S:  # NaN comes here too
        raise _Wrong(key, f"{_shown(value)} is not a time", f"Give seconds from 0 to {TIME_MAX_S:g}")


def _whole(low: int, high: int) -> Callable[[str, Any], None]:
    def check(key: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _Wrong(key, f"{_shown(value)} is not a whole number from {low} to {high}")

    return check


_level = _whole(1, LEVEL_MAX)
_tier = _whole(1, TIER_MAX)


def _levels(key: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise _Wrong(key, f"{_shown(value)} is not an object of skills and levels", 'Write {"zh": 5}')
    if len(value) > SKILLS_MAX:
        raise _Wrong(key, f"{len(value)} skills", f"The limit is {SKILLS_MAX}")
    for skill, level in value.items():
        _name(key, skill)
        _level(f"{key}.{skill}", level)


def _number(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= PRIORITY_MAX:  # or NaN
        raise _Wrong(key, f"{_shown(value)} is not a number from {-PRIORITY_MAX} to {PRIORITY_MAX}")


def _share(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:  # or NaN
        raise _Wrong(key, f"{_shown(value)} is not a number from 0 to 1")


def _values(key: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise _Wrong(key, f"{_shown(value)} is not an object of agents and numbers", 'Write {"li": 0.5}')
    for agent, score in value.items():
        _name(key, agent)
        _number(f"{key}.{agent}", score)


def _records(key: str, value: Any, limit: int, fields: dict[str, Check], required: str = "") -> None:
    """A list of objects with the given fields."""
    if not isinstance(value, list) or not 0 < len(value) <= limit:
        raise _Wrong(key, f"{_shown(value)} is not a list of 1 to {limit} objects", "Leave it out for none")
    for index, item in enumerate(value):
        here = f"{key}[{index}]"
        if not isinstance(item, dict):
            raise _Wrong(here, f"{_shown(item)} is not an object")
        if required and required not in item:
            raise _Wrong(here, f'"{required}" is missing', "Add it")
        for name, part in item.items():
            if name not in fields:
                raise _Wrong(f"{here}.{name}", "unknown field", "Known: " + ", ".join(fields))
            fields[name](f"{here}.{name}", part)


def _steps(key: str, value: Any) -> None:
    _records(key, value, STEPS_MAX, {"for": _time, "requires": _levels})


def _tier_rules(key: str, value: Any) -> None:
    _records(key, value, TIER_RULES_MAX, {"after": _time, "max_tier": _tier, "min_tier": _tier}, "after")


def _text(key: str, value: Any) -> None:
    if not isinstance(value, str):
        raise _Wrong(key, f"{_shown(value)} is not the text of a center file")


def _line(key: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > TEXT_MAX or UNFIT.search(value):
        raise _Wrong(key, f"{_shown(value)} is not a text of a line", f"Give {TEXT_MAX} characters at most")


def _flag(key: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise _Wrong(key, f"{_shown(value)} is not true or false")


def _one_of(known: tuple[str, ...]) -> Callable[[str, Any], None]:
    def check(key: str, value: Any) -> None:
        if value not in known:
            raise _Wrong(key, f"{_shown(value)} is not known here", nearest(value, known))

    return check


def _names(key: str, value: Any) -> None:
    if not isinstance(value, list) or len(value) > LEGS_MAX:
        raise _Wrong(key, f"{_shown(value)} is not a list of names", f"Give {LEGS_MAX} at most")
    for index, name in enumerate(value):
        _name(f"{key}[{index}]", name)


def _pairs(key: str, value: Any) -> None:
    if not isinstance(value, list) or len(value) > HEADERS_MAX:
        raise _Wrong(key, f"{_shown(value)} is not a list of headers", f"Give {HEADERS_MAX} at most")
    for index, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            raise _Wrong(f"{key}[{index}]", f"{_shown(pair)} is not a header", 'Write ["Diversion", "..."]')
        for text in pair:
            _line(f"{key}[{index}]", text)


def _transcript(key: str, value: Any) -> None:
    if not isinstance(value, list) or len(value) > TRANSCRIPT_MAX:
        raise _Wrong(key, f"{_shown(value)} is not a list of lines", f"Give {TRANSCRIPT_MAX} at most")
    for index, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            raise _Wrong(f"{key}[{index}]", f"{_shown(pair)} is not a line", 'Write ["caller", "..."]')
        for text in pair:
            _line(f"{key}[{index}]", text)


def _texts(key: str, value: Any) -> None:
    _object(key, value)
    if len(value) > TEXTS_MAX:
        raise _Wrong(key, f"{len(value)} values", f"The limit is {TEXTS_MAX}")
    for name, text in value.items():
        _name(key, name)
        _line(f"{key}.{name}", text)


def _object(key: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise _Wrong(key, f"{_shown(value)} is not an object")


def _object_of(fields: dict[str, Check]) -> Callable[[str, Any], None]:
    def check(key: str, value: Any) -> None:
        _object(key, value)
        for name, part in value.items():
            if name not in fields:
                raise _Wrong(f"{key}.{name}", "unknown field", "Known: " + ", ".join(fields))
            fields[name](f"{key}.{name}", part)

    return check


Check = Callable[[str, Any], None]

_AGENT: dict[str, Check] = {"agent": _name}
_CONTACT: dict[str, Check] = {"contact": _name}

# event -> (the fields it must have, the fields it may have), beside t and event
EVENTS: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "agent_ready": (_AGENT, {}),
    "agent_away": (_AGENT, {"reason": _name}),
    "agent_offline": (_AGENT, {}),
    "contact_queued": (
        {"contact": _name, "queue": _name},
        {
            "priority": _number,
            "requires": _levels,
            "steps": _steps,
            "customer": _name,
            "preferred_agent": _name,
            "max_tier": _tier,
            "min_tier": _tier,
            "tier_rules": _tier_rules,
            "queued_at": _time,
            "values": _values,
            "handed_over": _flag,
        },
    ),
    "contact_left": (_CONTACT, {}),
    "offer_accepted": ({"contact": _name, "agent": _name}, {}),
    "offer_declined": ({"contact": _name, "agent": _name}, {}),
    "contact_ended": (_CONTACT, {}),
    "wrap_up_ended": (_AGENT, {}),
    "agent_engaged": (_AGENT, {}),
    "agent_released": (_AGENT, {}),
    "priority_changed": ({"contact": _name, "priority": _number}, {}),
    "clock": ({}, {}),
}

_LEG: dict[str, Check] = {"leg": _name, "node": _name}
_PHONE: dict[str, Check] = {"contact": _name, "supervisor": _name}
_TO: dict[str, Check] = {"to_agent": _name, "to_number": _name}
_CAMPAIGN: dict[str, Check] = {"campaign": _name}
_ENTRY: dict[str, Check] = _CAMPAIGN | {"entry": _name}
_LEAD: dict[str, Check] = _ENTRY | _AGENT
_COUNT = _whole(0, 1_000_000_000)
_QUALITY: dict[str, Check] = {
    "received": _COUNT,
    "lost": _COUNT,
    "sent": _COUNT,
    "jitter_ms": _number,
    "round_trip_ms": _number,
    "mos": _number,
}

# What media nodes report and people do with calls: for a switchboard (cordboard.calls), which holds an engine.
CALL_EVENTS: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "calls_changed": ({"calls": _object}, {}),
    "node_attached": ({"node": _name, "capacity": _COUNT, "legs": _names}, {"coming": _names}),
    "node_draining": ({"node": _name, "on": _flag}, {}),
    "node_lost": ({"node": _name}, {}),
    "leg_incoming": (_LEG | {"to": _line}, {"caller": _line, "trunk": _line, "headers": _pairs}),
    "leg_ringing": (_LEG, {"early": _flag}),
    "leg_answered": (_LEG, {}),
    "leg_ended": (_LEG | {"cause": _one_of(tuple(Cause))}, {"code": _whole(0, 999), "quality": _object_of(_QUALITY)}),
    "leg_key": (_LEG | {"key": _one_of(tuple("0123456789*#ABCD?"))}, {}),
    "leg_played": (_LEG | {"token": _line, "whole": _flag}, {}),
    "leg_recorded": ({"node": _name, "recording": _name, "file": _line, "seconds": _time}, {"missing": _time}),
    "leg_judged": (_LEG | {"machine": _share, "why": _name, "after_s": _time}, {}),
    "leg_heard": (_LEG | {"sound": _one_of(SOUNDS)}, {}),
    "leg_recognized": (_LEG | {"token": _line, "text": _line, "confidence": _share, "final": _flag}, {}),
    "leg_handed_over": (
        _LEG,
        {"caller": _line, "to_queue": _line, "to_agent": _line, "why": _line, "transcript": _transcript},
    ),
    "leg_refused": ({"node": _name, "command": _name, "name": _name, "why": _line}, {}),
    "call_looked_up": ({"call": _name, "token": _name, "answer": _line}, {"values": _texts}),
    "call_heard": ({"call": _name, "text": _line}, {}),
    "call_held": (_CONTACT, {}),
    "call_resumed": (_CONTACT, {}),
    "call_muted": (_CONTACT | {"on": _flag}, {}),
    "call_transferred": (_CONTACT, _TO | {"to_queue": _name, "priority": _number}),
    "call_consulted": (_CONTACT, _TO),
    "call_consult_ended": (_CONTACT | {"outcome": _one_of(("transfer", "conference", "cancel"))}, {}),
    "call_parked": (_CONTACT | {"slot": _name}, {}),
    "call_picked_up": ({"slot": _name, "agent": _name}, {}),
    "call_monitored": (_PHONE | {"mode": _one_of(("listen", "whisper", "barge"))}, {}),
    "call_unmonitored": (_PHONE, {}),
    "call_taken_over": (_PHONE, {}),
    "call_recording": (_CONTACT | {"on": _flag}, {}),
    "campaign_started": (_CAMPAIGN, {}),
    "campaign_paused": (_CAMPAIGN, {}),
    "campaign_dialed": (_ENTRY | {"attempt": _whole(1, 1_000_000)}, {}),
    "campaign_cancelled": (_ENTRY, {}),
    "lead_offered": (_LEAD | {"attempt": _whole(1, 1_000_000)}, {}),
    "lead_accepted": (_LEAD, {}),
    "lead_skipped": (_LEAD, {"reason": _line}),
    "lead_dialed": (_LEAD, {}),
}

# What a switchboard tells the routing by itself stands among its effects, under the event's name.
TOLD = (
    "contact_queued",
    "contact_left",
    "offer_accepted",
    "offer_declined",
    "contact_ended",
    "agent_ready",
    "agent_offline",
    "agent_engaged",
    "agent_released",
)

# What only a journal has, beside those: the replay takes it, and not the engine.
JOURNAL_EVENTS = EVENTS | CALL_EVENTS | {"center_changed": ({"center": _text}, {})}


def check_event(event: Any, events: Mapping[str, tuple[dict[str, Check], dict[str, Check]]] = EVENTS) -> Event:
    """The event, if it has the fields that its kind needs and nothing else. Raises JournalError with the key.

    Its ``t`` and ``queued_at`` come back in whole microseconds, as the engine counts: what happens at a time that is
    finer happens at the nearest microsecond.
    """
    if not isinstance(event, dict):
        raise JournalError(f"{_shown(event)} is not an event", hint='Write {"t": 0, "event": "clock"}')
    try:
        _check_fields(event, events)
    except _Wrong as wrong:
        raise JournalError(wrong.what, Where(key=wrong.key), wrong.hint) from None
    found: Event = event
    for key in ("t", "queued_at") if "queued_at" in event else ("t",):
        ticked = round(event[key] * 1e6) / 1e6
        if ticked != event[key]:
            found = found | {key: ticked}
    return found


def _check_fields(event: Event, events: Mapping[str, tuple[dict[str, Check], dict[str, Check]]]) -> None:
    kind = event.get("event")
    fields = events.get(kind) if isinstance(kind, str) else None
    if fields is None:
        if "event" not in event:
            raise _Wrong("event", "the line has no event", 'Write "event": "clock" or another one')
        raise _Wrong("event", f"unknown event {_shown(kind)}", nearest(kind, events))
    required, optional = fields
    if "t" not in event:
        raise _Wrong("t", "the line has no time", 'Write "t": seconds')
    _time("t", event["t"])
    for key, check in required.items():
        if key not in event:
            raise _Wrong(key, f'{kind} needs "{key}"', "Add it")
        check(key, event[key])
    if len(event) == len(required) + 2:
        return
    for key, value in event.items():
        if key in optional:
            optional[key](key, value)
        elif key not in required and key not in ("t", "event"):
            raise _Wrong(key, f"{kind} has no such field", nearest(key, [*required, *optional, "t"]))
    queued_at = event.get("queued_at")
    if queued_at is not None and queued_at > event["t"]:
        raise _Wrong("queued_at", f"{_shown(queued_at)} is later than t", "It can't lie in the future")


def told(effect: Mapping[str, Any]) -> Event | None:
    """The event of routing that an effect says has happened too, or None: for whoever follows the routing."""
    if effect["effect"] not in TOLD:
        return None
    return {"event" if key == "effect" else key: value for key, value in effect.items()}


def nearest(name: Any, known: Iterable[str]) -> str:
    """A hint: the known name that is most like this one, or the known names if they are few."""
    import difflib  # only a mistake needs it

    names = list(known)
    close = difflib.get_close_matches(name, names, n=1) if isinstance(name, str) else []
    if close:
        return f'Did you mean "{close[0]}"?'
    return "Known: " + ", ".join(names) if 0 < len(names) <= 24 else "Check the spelling"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Wrong(key, "the key stands twice", "Keep one of them")
            seen.add(key)
    return found


def _no_constant(name: str) -> NoReturn:
    raise _Wrong("", f"{name} is not a number that can be used", "Leave the field out or give a number")


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode


def parse_event(line: bytes | str) -> Event:
    """Read one line of a journal. Raises JournalError, without file and line, if it is no event."""
    try:
        text = line.decode("utf-8") if isinstance(line, bytes) else line
        event = _decode(text)
    except UnicodeDecodeError as error:
        raise JournalError(f"not valid UTF-8 at byte {error.start + 1}", hint="Write the journal as UTF-8") from None
    except json.JSONDecodeError as error:
        what = f"not valid JSON at column {error.pos + 1}: {error.msg}"
        raise JournalError(what, hint="One JSON object a line") from None
    except _Wrong as wrong:
        raise JournalError(wrong.what, Where(key=wrong.key or None), wrong.hint) from None
    except RecursionError:
        raise JournalError("nested too deeply", hint="An event needs four levels at most") from None
    except ValueError as error:  # an integer of more digits than Python converts
        raise JournalError(f"not valid JSON: {error}", hint="Write shorter numbers") from None
    return check_event(event, JOURNAL_EVENTS)


def read_journal(stream: BinaryIO, file: str = "<journal>") -> Iterator[tuple[int, Event | JournalError]]:
    """Every line of a journal with its number, as an event or as what is wrong with it. Empty lines are left out.

    A line longer than LINE_BYTES_MAX is an error and is skipped without being held in memory.
    """
    number = 0
    while True:
        line = stream.readline(LINE_BYTES_MAX + 1)
        if not line:
            return
        number += 1
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = stream.readline(LINE_BYTES_MAX)
            what = f"the line is longer than {LINE_BYTES_MAX} bytes"
            yield number, JournalError(what, Where(file, number), "Is it a journal? One event a line")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            yield number, parse_event(line)
        except JournalError as error:
            if not line.endswith(b"\n") and error.what.startswith("not valid"):
                error = JournalError(f"the last line is cut off ({error.what})", hint="Was the writer stopped?")
            yield number, JournalError(error.what, Where(file, number, error.where.key), error.hint)


def event_line(record: dict[str, Any]) -> str:
    """An event or an effect as a line of a journal, without the end of line."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False)
