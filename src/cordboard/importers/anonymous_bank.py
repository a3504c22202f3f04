"""The calls of the "Anonymous Bank" (Technion SEE; A. Mandelbaum, I. Guedj): reading the monthly files of 1999.

A file is tab separated with a header. A line is one call: its time in the voice menu (vru), in the queue (q) and with
an agent (ser), as clock times and lengths in whole seconds. :func:`read_calls` makes :class:`Call` of the lines that
reached the queue or an agent and reports the others, with line numbers. Times count from midnight of the first day
read, so ``t % 86400`` is the time of day (no clock was changed in January or February).
"""

from __future__ import annotations

import bisect
import datetime
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cordboard.center import Center
from cordboard.errors import DataError, Where
from cordboard.importers.driving import Contact

COLUMNS = [
    *("vru+line", "call_id", "customer_id", "priority", "type", "date", "vru_entry", "vru_exit", "vru_time"),
    *("q_start", "q_exit", "q_time", "outcome", "ser_start", "ser_exit", "ser_time", "server"),
]
TYPES = {
    "PS": "regular",
    "PE": "regular, in English",
    "IN": "internet support",
    "NE": "stock trading",
    "NW": "prospective customers",
    "TT": "call-back asked for",
}
HEAD_START = 90.0  # seconds by which a caller of priority 2 goes before those who came at the same time
DAY = 86_400
SHIFT_GAP = 1800.0  # seconds without a call after which an agent is taken to have gone
CALLS_MAX = 5_000_000
EXAMPLES_MAX = 5  # line numbers kept for a reason


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the queue or an agent. Times in seconds from midnight of the first day read."""

    line: int
    contact: str
    type: str
    priority: float  # seconds of head start
    customer: str | None
    entered: float  # the queue; where it did not queue, the agent
    wait: float  # until the agent, or until it hung up
    agent: str | None  # None: it hung up, or the record does not name the agent
    served: bool
    service: float  # seconds with the agent, 0 if it hung up

    @property
    def left_queue(self) -> float:
        """When an agent took it, or it hung up."""
        return self.entered + self.wait

    @property
    def ended(self) -> float:
        """When its conversation was over."""
        return self.left_queue + self.service


@dataclass(slots=True)
class ImportReport:
    """What became of the lines: counts, and for each reason the first few places (``file:line``)."""

    read: int = 0
    used: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, place: Where) -> None:
        """Count a line that is left out."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1
        self._place(reason, place)

    def mend(self, reason: str, place: Where) -> None:
        """Count a line that is used although something about it is odd."""
        self.mended[reason] = self.mended.get(reason, 0) + 1
        self._place(reason, place)

    def _place(self, reason: str, place: Where) -> None:
        places = self.places.setdefault(reason, [])
        if len(places) < EXAMPLES_MAX:
            places.append(f"{os.path.basename(place.file or '')}:{place.line}")


def read_calls(files: Sequence[str | os.PathLike[str]]) -> tuple[list[Call], ImportReport]:
    """The calls of one or more files, in order of entering, and what became of every line.

    DataError if a file is not one of these, or if a line of it can't be understood; the error names the line.
    """
    report = ImportReport()
    first_day: datetime.date | None = None
    seen: dict[tuple[str, ...], str] = {}
    ids: dict[str, int] = {}
    calls: list[Call] = []
    for file in files:
        for place, row in _rows(os.fspath(file)):
            report.read += 1
            if report.read > CALLS_MAX:
                raise DataError(f"more than {CALLS_MAX} calls", place, "Import fewer files at a time")
            day = _day(row, place)
            if first_day is None:
                first_day = day
            key = tuple(row.values())
            if key in seen:
                report.skip("the same line again", place)
                continue
            seen[key] = str(place)
            call = _call(row, place, (day - first_day).days * float(DAY), report)
            if call is None:
                continue
            ids[call.contact] = ids.get(call.contact, 0) + 1
            if ids[call.contact] > 1:
                report.mend("an id used before; it got a number of its own", place)
                call = _renamed(call, f"{call.contact}#{ids[call.contact]}")
            calls.append(call)
    report.used = len(calls)
    calls.sort(key=lambda call: call.entered)  # stable: calls of one second stay in the order of the file
    if calls and calls[0].entered < 0:
        raise DataError("a call lies before the first day of the first file", hint="Name the files in order of time")
    return calls, report


def _rows(file: str) -> Iterator[tuple[Where, dict[str, str]]]:
    try:
        with open(file, encoding="latin-1", newline=None) as stream:
            header = stream.readline().rstrip("\n").split("\t")
            if header != COLUMNS:
                raise DataError(
                    "this is not a file of the Anonymous Bank: its first line should be the column names "
                    f"{' '.join(COLUMNS[:3])}",
                    Where(file, 1),
                    "Use the monthly text files, tab separated",
                )
            for number, line in enumerate(stream, 2):
                values = line.rstrip("\n").split("\t")
                place = Where(file, number)
                if len(values) != len(COLUMNS):
                    raise DataError(
                        f"{len(values)} columns where {len(COLUMNS)} should be", place, "Is the file cut off?"
                    )
                yield place, dict(zip(COLUMNS, values, strict=True))
    except OSError as error:
        raise DataError(f"the file can't be read: {error.strerror}", Where(file), "Check the path") from error


def _day(row: dict[str, str], place: Where) -> datetime.date:
    text = row["date"]
    try:
        return datetime.date(1900 + int(text[:2]), int(text[2:4]), int(text[4:6]))
    except ValueError:
        raise DataError(
            f"{text!r} is no date", Where(place.file, place.line, "date"), "Dates are written yymmdd"
        ) from None


def _clock(row: dict[str, str], key: str, place: Where) -> float:
    parts = row[key].split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        parts = ["-1", "0", "0"]
    hours, minutes, seconds = (int(part) for part in parts)
    if not (0 <= hours < 24 and minutes < 60 and seconds < 60):
        raise DataError(
            f"{row[key]!r} is no clock time", Where(place.file, place.line, key), "Times are written h:mm:ss"
        )
    return float(hours * 3600 + minutes * 60 + seconds)


def _seconds(row: dict[str, str], key: str, place: Where) -> float:
    try:
        return float(int(row[key]))
    except ValueError:
        raise DataError(
            f"{row[key]!r} is no number of seconds", Where(place.file, place.line, key), "Correct the line"
        ) from None


def _call(row: dict[str, str], place: Where, midnight: float, report: ImportReport) -> Call | None:
    """The call of a line, or None if the line is left out; either way the report knows why."""
    outcome, kind = row["outcome"], row["type"]
    if outcome == "PHANTOM":
        report.skip("PHANTOM: to be ignored, says its publisher", place)
        return None
    if outcome not in ("AGENT", "HANG"):
        report.skip(f"unknown outcome {outcome}", place)
        return None
    if kind not in TYPES:
        report.skip(f"unknown type {kind}", place)
        return None
    in_menu = _clock(row, "vru_entry", place)
    wait, served = _seconds(row, "q_time", place), outcome == "AGENT"
    queued = wait > 0
    if not queued and not served:
        report.skip("hung up before the queue", place)
        return None
    entered = _clock(row, "q_start" if queued else "ser_start", place)
    if not queued and row["ser_start"] == row["ser_exit"] == "0:00:00":
        report.mend("no time of service; taken to begin at the end of the voice menu", place)
        entered = _clock(row, "vru_exit", place)
    if entered < in_menu - DAY / 2:
        report.mend("passed midnight on the way to the queue", place)
        entered += DAY
    service = _seconds(row, "ser_time", place) if served else 0.0
    if wait < 0 or service < 0:
        report.skip("a negative waiting or service time", place)
        return None
    _note_quirks(row, place, served, service, report)
    priority = HEAD_START if row["priority"] == "2" else 0.0
    agent = row["server"] if served and row["server"] != "NO_SERVER" else None
    customer = row["customer_id"] if row["customer_id"] != "0" else None
    contact = f"{row['vru+line']}-{row['call_id']}"
    entered += midnight
    return Call(place.line or 0, contact, kind, priority, customer, entered, wait, agent, served, service)


def _note_quirks(row: dict[str, str], place: Where, served: bool, service: float, report: ImportReport) -> None:
    if _seconds(row, "vru_time", place) < 0:
        report.mend("a negative time in the voice menu, which is not used", place)
    if served and service == 0:
        report.mend("a conversation of 0 seconds", place)
    if served and row["server"] == "NO_SERVER":
        report.mend("served, but by no agent that is named", place)
    if served and row["q_exit"] == "0:00:00" and row["q_start"] != "0:00:00":
        report.mend("no end of its waiting; its length is used", place)


def _renamed(call: Call, contact: str) -> Call:
    values = {name: getattr(call, name) for name in Call.__slots__}
    return Call(**{**values, "contact": contact})


def servers(calls: Iterable[Call], share: float = 0.01) -> dict[str, list[str]]:
    """Agent -> the types it serves: those that are at least ``share`` of its conversations. In order of appearance."""
    counts: dict[str, dict[str, int]] = {}
    for call in calls:
        if call.agent is not None:
            kinds = counts.setdefault(call.agent, {})
            kinds[call.type] = kinds.get(call.type, 0) + 1
    return {
        agent: [kind for kind in TYPES if kinds.get(kind, 0) >= share * sum(kinds.values()) and kind in kinds]
        for agent, kinds in counts.items()
    }


def center_toml(calls: Sequence[Call]) -> str:
    """A center file for these calls: a queue for each type, an agent for each server.

    Priority is a head start in seconds (``order = "score"``); the files do not tell wrap-up, so there is none; an agent
    belongs to the queues of the types that are at least 1 % of its conversations.
    """
    used = {call.type for call in calls}
    lines = [
        "# Made by `cordboard import anonymous-bank` of the records of the Anonymous Bank, 1999.",
        "[center]",
        'order = "score"    # a point of priority is a second of head start; priority 2 of the records has 90',
        'time_zone = "Asia/Jerusalem"',
    ]
    for kind, meaning in TYPES.items():
        if kind in used:
            lines += ["", f"[queues.{kind}]  # {meaning}", 'channel = "voice"', "offer_timeout = 0"]
    for agent, kinds in servers(calls).items():
        names = ", ".join(f'"{kind}"' for kind in kinds)
        lines += ["", f"[agents.{json.dumps(agent)}]", f"queues = [{names}]"]
    return "\n".join(lines) + "\n"


def working_hours(calls: Sequence[Call]) -> dict[str, list[tuple[float, float]]]:
    """When each agent was there for a call: (from, to) seconds, in order, apart from each other.

    The records hold conversations alone, so this is inferred: an agent is there while it talks, and between two
    conversations from the last moment at which somebody whom it serves had to wait (it took nobody, so it was not
    there) until the next. A gap of more than ``SHIFT_GAP`` without a call is no work at all.
    """
    serves = servers(calls)
    talks: dict[str, list[tuple[float, float]]] = {agent: [] for agent in serves}
    for call in calls:
        if call.agent is not None:
            talks[call.agent].append((call.left_queue, call.ended))
    queues_seen: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    hours: dict[str, list[tuple[float, float]]] = {}
    for agent, kinds in serves.items():
        key = tuple(kinds)
        if key not in queues_seen:
            queues_seen[key] = _merged((c.entered, c.left_queue) for c in calls if c.type in kinds and c.wait > 0)
        hours[agent] = _there(sorted(talks[agent]), queues_seen[key])
    return hours


def _there(talks: list[tuple[float, float]], waits: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The hours of one agent, from its conversations and the times when somebody it serves waited."""
    there: list[tuple[float, float]] = []
    for start, end in talks:
        since = start
        if there and start <= there[-1][1] + SHIFT_GAP:
            before = there[-1][1]
            i = bisect.bisect_left(waits, (start,)) - 1  # the last time of waiting that began before this conversation
            since = min(max(waits[i][1], before), start) if i >= 0 and waits[i][1] > before else before
            if since <= before:
                there[-1] = (there[-1][0], max(end, before))
                continue
        if end > since:
            there.append((since, end))
    return there


def _merged(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The union of intervals, in order."""
    union: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((start, end))
    return union


def contacts(calls: Sequence[Call]) -> list[Contact]:
    """The calls as they can meet any center: who came when, how long each talks, how long each was ready to wait.

    A caller who hung up talks, should it be served after all, as long as the callers of its type do on average; one
    who was served is taken to be ready to wait for ever, since nobody knows.
    """
    talk: dict[str, list[float]] = {}
    for call in calls:
        if call.served:
            talk.setdefault(call.type, []).append(call.service)
    usual = {kind: round(sum(times) / len(times)) * 1.0 for kind, times in talk.items()}
    return [
        Contact(
            call.entered,
            call.contact,
            call.type,
            int(call.priority),
            call.service if call.served else usual.get(call.type, 0.0),
            math.inf if call.served else call.wait,
            call.customer,
        )
        for call in calls
    ]


def scenario_toml(calls: Sequence[Call]) -> str:
    """A scenario file (docs/reference/simulation.md) for ``cordboard simulate``.

    A stream of arrivals for each type and priority, at the recorded times; service times drawn from the recorded ones
    of the type, patience from the Kaplan-Meier estimate of its waits; the agents' :func:`working_hours`.
    """
    streams: dict[tuple[str, int], list[float]] = {}
    for call in calls:
        streams.setdefault((call.type, int(call.priority)), []).append(call.entered)
    last = max((call.entered for call in calls), default=0.0)
    lines = [
        "# Made by `cordboard import anonymous-bank` of the records of the Anonymous Bank, 1999.",
        "[scenario]",
        f"duration = {math.floor(last) + 1}",
    ]
    for (kind, priority), times in sorted(streams.items()):
        mine = [call for call in calls if call.type == kind]
        services = [call.service for call in mine if call.served]
        lines += ["", "[[arrivals]]", f'queue = "{kind}"', f"priority = {priority}", f"trace = {_array(times)}"]
        lines += [f'service = {{ law = "empirical", values = {_array(services or [0.0])} }}']
        ended = json.dumps([not call.served for call in mine])
        waits = _array([call.wait for call in mine])
        lines += [f'patience = {{ law = "empirical", values = {waits}, ended = {ended} }}']
    for agent, hours in working_hours(calls).items():
        pairs = ", ".join(f"[{start:.10g}, {end:.10g}]" for start, end in hours)
        lines += ["", "[[shifts]]", f"agents = [{json.dumps(agent)}]", f"work = [{pairs}]"]
    return "\n".join(lines) + "\n"


def _array(values: Iterable[float]) -> str:
    return "[" + ", ".join(f"{value:.10g}" for value in values) + "]"


def recorded_events(calls: Sequence[Call], center: Center) -> Iterator[dict[str, Any]]:
    """What happened, call by call, as events: queued, taken by the recorded agent, ended, or left.

    For learning from the records (estimated waits), not for a replay: who takes whom is not the engine's choice here.
    An agent whom the center does not know, or whom the record does not name, is None. The records do not tell when an
    agent is at work, so that is inferred, from nothing later than the instant itself: an agent is ready from a call it
    takes until a caller whom it serves has to wait although the agent is idle; such an agent is set away there.
    """
    serves = {agent.name: agent.queues for agent in center.agents}
    queues = {queue.name for queue in center.queues}
    moments: list[tuple[float, int, int]] = []  # time, what (0 ended, 1 left, 2 taken, 3 queued, 4 taken at once), call
    for i, call in enumerate(calls):
        if call.type not in queues:
            continue
        moments.append((call.entered, 3, i))
        if call.wait > 0:
            moments.append((call.left_queue, 2 if call.served else 1, i))
        if call.served:
            moments.append((call.ended, 0 if call.service > 0 else 5, i))
    moments.sort()
    busy: dict[str, int] = {}
    ready: set[str] = set()
    for t, what, i in moments:
        call = calls[i]
        agent = call.agent if call.agent in serves else None
        if what in (0, 5):
            yield {"t": t, "event": "contact_ended", "contact": call.contact}
            if agent is not None:
                busy[agent] -= 1
            continue
        if what == 1:
            yield {"t": t, "event": "contact_left", "contact": call.contact}
            continue
        if what == 3:
            if call.wait > 0:
                for name in sorted(name for name in ready if not busy.get(name) and call.type in (serves[name] or ())):
                    ready.discard(name)
                    yield {"t": t, "event": "agent_away", "agent": name}
            event = {"t": t, "event": "contact_queued", "contact": call.contact, "queue": call.type}
            yield {**event, "priority": call.priority}
            if call.wait > 0:
                continue
        if agent is not None:
            if agent not in ready:
                ready.add(agent)
                yield {"t": t, "event": "agent_ready", "agent": agent}
            busy[agent] = busy.get(agent, 0) + 1
        yield {"t": t, "event": "offer_accepted", "contact": call.contact, "agent": agent}
