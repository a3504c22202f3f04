"""The core and the rows of a journal: what every replay does in the same way, now, after a crash, and for a history.

A :class:`Core` takes row after row and makes entries of them. What a row does depends on the rows before it and on
nothing else: no clock, no chance. So an event that the core refuses is refused again by every replay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cordboard.acd import Acd
from cordboard.calls.config import Calls, calls_record, record_calls
from cordboard.calls.state import State
from cordboard.calls.switchboard import Switchboard, with_calls
from cordboard.center import Center
from cordboard.errors import CordboardError, EventError, JournalError, LimitError, SnapshotError
from cordboard.journal import CALL_EVENTS
from cordboard.live.center_json import center_record, encode, etag_of, record_center, text_etag
from cordboard.live.entry import Entry
from cordboard.live.store import Row

Event = dict[str, Any]
Effect = dict[str, Any]

CLOCK = '{"event":"clock"}'


class CoreError(Exception):
    """The core failed on a row in a way that it should not; what state it is in is not known."""

    def __init__(self, revision: int, cause: BaseException) -> None:
        self.revision, self.cause = revision, cause
        super().__init__(revision, cause)


@dataclass(frozen=True, slots=True)
class CoreOptions:
    """How the cores of one journal are made. ``skipped``: revision -> why it is left out by every replay."""

    seed: int = 0
    max_contacts: int = 1_000_000
    max_customers: int = 100_000
    explain: bool = True
    learn_waits: bool = True
    skipped: Mapping[int, str] = field(default_factory=dict)

    def bounds(self) -> dict[str, Any]:
        return {"explain": self.explain, "max_contacts": self.max_contacts, "max_customers": self.max_customers}


class Core:
    """An Acd that is fed by rows, at a revision of its journal. ``board`` holds it from the first event of calls on."""

    def __init__(
        self, acd: Acd, options: CoreOptions, revision: int = 0, ticks: int = 0, board: Switchboard | None = None
    ) -> None:
        self.acd, self.options, self.board = acd, options, board
        self.revision, self.ticks = revision, ticks
        self.etag = etag_of(acd.center)
        self.calls_etag = calls_etag(board.calls if board is not None else Calls())

    @classmethod
    def new(cls, center: Center, options: CoreOptions) -> Core:
        """The core of an empty journal."""
        acd = Acd(center, seed=options.seed, **options.bounds())
        if options.learn_waits:
            acd.learn_waits()
        return cls(acd, options)

    @classmethod
    def load(cls, snapshot: bytes, options: CoreOptions) -> Core:
        """The core of a snapshot. SnapshotError if it can't be used."""
        head, _, dump = snapshot.partition(b"\n")
        try:
            meta = json.loads(head)
            center, revision, ticks = record_center(meta["center"]), int(meta["revision"]), int(meta["ticks"])
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"its head makes no sense: {error!r}", hint="Take an earlier one") from error
        acd = Acd.load(center, dump, **options.bounds())
        if options.learn_waits and acd.loaded is not None and acd.loaded.waits == "off":
            acd.learn_waits()  # asked for since
        return cls(acd, options, revision, ticks, _board(acd, meta.get("calls")))

    def dump(self) -> bytes:
        """A snapshot: a line of JSON with the center and the revision, and then the dump of the Acd."""
        return self.dump_later()()

    def dump_later(self) -> Callable[[], bytes]:
        """A snapshot of now, whose bytes another thread may ask for while the core goes on."""
        revision, ticks, center, dump = self.revision, self.ticks, self.acd.center, self.acd.dump_later()
        board = self.board
        calls = None if board is None else {"settings": calls_record(board.calls), "state": board.state.record()}
        if calls is not None and board is not None:
            calls["left"] = calls_record(board.left)

        def later() -> bytes:
            meta = {"revision": revision, "ticks": ticks, "center": center_record(center), "calls": calls}
            return encode(meta).encode() + b"\n" + dump()

        return later

    def next_timer(self) -> float | None:
        """When something happens by itself next, seconds, or None."""
        return self.acd.next_timer() if self.board is None else self.board.next_timer()

    def apply(self, row: Row, event: Event) -> Entry:
        """Take the next row; ``event`` is what it says, with its ``t``. CoreError if the core is broken by it."""
        assert row.revision == self.revision + 1, (row.revision, self.revision)
        effects: Iterable[Effect] = ()
        error: CordboardError | None = None
        try:
            if row.revision in self.options.skipped:
                why = self.options.skipped[row.revision]
                error = EventError(f"the core failed on this event, and it was left out: {why}")
            elif event["event"] == "center_changed":
                effects = self._change_center(event)
            elif self.board is None and event["event"] not in CALL_EVENTS:
                effects = self.acd.apply(event, checked=True)
            else:
                self.board = with_calls(self.acd if self.board is None else self.board)
                effects = self.board.apply(event, checked=True)
                if event["event"] == "calls_changed":
                    self.calls_etag = calls_etag(self.board.calls)
        except (EventError, LimitError) as refused:
            effects, error = refused.effects, refused.with_traceback(None)
        except Exception as cause:
            raise CoreError(row.revision, cause) from cause
        self.revision, self.ticks = row.revision, row.ticks
        return Entry(row.revision, event["t"], event, tuple(effects), error, row.actor, row.request_id)

    def replay(self, rows: Iterable[Row]) -> Iterator[Entry]:
        """Take rows as they stand in the journal."""
        for row in rows:
            yield self.apply(row, event_of(row))

    def _change_center(self, event: Event) -> list[Effect]:
        """Go over to another center, with all contacts; first the timers of the old one, last a round of matching."""
        t = event["t"]
        engine = self.acd if self.board is None else self.board
        fired = engine.advance(t)
        try:
            engine, effects = engine.with_center(record_center(event["center"]), t)
            self.acd = engine.acd if isinstance(engine, Switchboard) else engine
        except (EventError, LimitError) as refused:
            refused.effects = tuple(fired)
            raise
        self.etag = etag_of(self.acd.center)
        return fired + effects


def center_of(snapshot: bytes) -> Any:
    """The center of a snapshot, as a record."""
    return json.loads(snapshot.partition(b"\n")[0])["center"]


def event_of(row: Row) -> Event:
    """The event of a row, with its time in seconds."""
    return {"t": row.ticks / 1e6, **json.loads(row.event)}


def _board(acd: Acd, calls: Any) -> Switchboard | None:
    """The switchboard of a snapshot, or None if it had none."""
    if calls is None:
        return None
    try:
        left = record_calls(calls["left"]) if "left" in calls else None
        return Switchboard(acd, record_calls(calls["settings"]), State.of(calls["state"]), left)
    except (JournalError, KeyError, TypeError) as error:
        raise SnapshotError(f"the dump of calls does not make sense: {error!r}", hint="Take an earlier one") from error


def calls_etag(calls: Calls) -> str:
    """A short text that is another one for other settings of calls."""
    return text_etag(encode(calls_record(calls)))


def calls_changed(calls: Calls) -> Event:
    """The event that brings other settings of calls."""
    return {"event": "calls_changed", "calls": calls_record(calls)}


def center_changed(center: Center) -> Event:
    """The event that brings another center."""
    return {"event": "center_changed", "center": center_record(center)}
