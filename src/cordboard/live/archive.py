"""A journal and its snapshots as cores: the core at the end, after a crash, and cores of before, for a history.

A recovery does not begin at the latest snapshot but at one that is ``history`` entries before the end, so that those
who watch can go on after a restart where they were. A snapshot of another version of cordboard is the exception: then
the latest one is taken, since a newer version may decide otherwise about what is done.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Generator, Iterable, Iterator

from cordboard import __version__
from cordboard.center import Center
from cordboard.center_writer import center_toml
from cordboard.errors import CompactedError, SnapshotError, StoreError
from cordboard.live.center_json import center_record, encode, etag_of, record_center
from cordboard.live.core import Core, CoreError, CoreOptions, Event, center_changed, event_of
from cordboard.live.entry import Entry
from cordboard.live.hub import Hub
from cordboard.live.settings import Settings
from cordboard.live.store import PASSING, Row, Store

BATCH = 1_000  # rows that are replayed at once
BASE = "base"  # the fact that a journal was compacted
DAY_TICKS = 24 * 3600 * 1_000_000

_log = logging.getLogger("cordboard.live")


class Archive:
    """See above. ``entries``, ``export``, ``keep``, ``core_at`` and ``drop_before_base`` may be called by
    any thread, the rest by the writer's alone.

    ``base``: the revision before the journal's first. It is more than 0 if the journal was compacted; then there is a
    snapshot of that revision, and all of it goes on from there.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self._keeping = threading.Lock()
        self.kept = 0  # the revision of the latest snapshot

    def begin(self, center: Center) -> str:
        """Open the store; an empty one becomes the journal of this center. Where it can't be written but read, it is
        opened so, and the kind of the error is returned; else an empty text."""
        self._center = center
        try:
            self.open()
        except StoreError as error:
            if error.kind not in PASSING:
                raise
            try:
                self.store.close()
                self.store.open_reading()
                self.look()
            except StoreError:
                raise error from None
            _log.error("read-only: %s", error)
            return error.kind
        return ""

    def open(self) -> None:
        """Open the store for writing."""
        self.store.open()
        if self.store.fact("made") is None:
            own = self.settings
            made = encode({"seed": own.seed, "max_contacts": own.max_contacts, "max_customers": own.max_customers})
            given = {"center": encode(center_record(self._center)), "given": etag_of(self._center)}
            self.store.set_facts({**given, "skipped": "{}", "made": made})
        self.look()
        self.kept = max((revision for revision, _ in self.store.snapshots()), default=0)

    def look(self) -> None:
        """Read what is known about the journal of a store that is open. StoreError if it is nobody's journal yet."""
        made = self.store.fact("made")
        if made is None:
            raise StoreError("unusable", "the journal was never begun")
        self._made: dict[str, int] = json.loads(made)
        self._first_center = self.store.fact("center") or ""
        self.base = int(self.store.fact(BASE) or 0)
        self._read_skipped()

    def adopt(self, core: Core, hub: Hub, ticks: int) -> None:
        """Take over the center that an engine was opened with, if it is another one than at the last opening."""
        center = self._center
        given = etag_of(center)
        if given == self.store.fact("given"):
            return
        if given != core.etag:
            event = center_changed(center)
            row = Row(core.revision + 1, ticks, encode(event), "opening", "")
            self.store.append([row])
            entry = core.apply(row, {"t": ticks / 1e6, **event})
            hub.publish([entry])
            if entry.error is not None:
                raise entry.error
            _log.warning("the center file has changed since the last start and is taken over: %s", _moved(entry))
        self.store.set_facts({"given": given})

    def skip(self, revision: int, why: str) -> None:
        """From now on every replay leaves a row out: the core failed on it."""
        skipped = {str(key): text for key, text in self._options.skipped.items()} | {str(revision): why}
        self.store.set_facts({"skipped": encode(skipped)})
        self._read_skipped()

    def _read_skipped(self) -> None:
        skipped = json.loads(self.store.fact("skipped") or "{}")
        own = self.settings
        self._options = CoreOptions(
            **self._made,
            explain=own.explain,
            learn_waits=own.learn_waits,
            skipped={int(key): text for key, text in skipped.items()},
        )

    # ---- cores

    def recover(self, hub: Hub) -> Core:
        """The core at the end of the journal. The hub gets the entries that it is to hold and has not yet. After a long
        replay a snapshot is left where the next one would begin, so that it need not be done again."""
        while True:
            core = self._start()
            began, next_start = core.revision, self.store.last() - self.settings.history
            if hub.revision == 0:
                hub.begin(core.revision)
            try:
                for rows in _batches(self.store.rows(after=core.revision)):
                    published = hub.revision
                    hub.publish([entry for entry in core.replay(rows) if entry.revision > published])
                    far = core.revision - began >= self.settings.snapshot_events
                    if far and core.revision <= next_start < core.revision + BATCH:
                        self.keep(core.revision, core.dump())
                return core
            except CoreError as failed:
                _log.critical("the core failed on revision %d", failed.revision, exc_info=failed.cause)
                self.skip(failed.revision, repr(failed.cause))

    def _start(self) -> Core:
        """A core from which a replay to the end makes the entries that are to be held."""
        last = self.store.last()
        listed = [(revision, version) for revision, version in self.store.snapshots() if revision <= last]
        same = not listed or listed[0][1] == __version__
        return self._latest(max(last - self.settings.history, self.base) if same else last)

    def entries(self, after: int, until: int) -> Generator[Entry, None, None]:
        """Entries of before, by a replay on a core of its own. CompactedError if they were forgotten."""
        core = self._latest(after)
        for entry in core.replay(self.store.rows(after=core.revision, until=until)):
            if entry.revision > after:
                yield entry

    def core_at(self, revision: int) -> Core:
        """The core as it was after a revision, by a replay."""
        core = self._latest(revision)
        for _ in core.replay(self.store.rows(after=core.revision, until=revision)):
            pass
        return core

    def export(self, after: int = 0) -> Iterator[Event]:
        """The events of the journal after a revision, one a revision, as ``cordboard replay`` takes them for
        ``first_center``. In the place of one that every replay leaves out stands its time. CompactedError if some of
        them were forgotten."""
        if after < self.base:
            raise CompactedError(self.base)
        for row in self.store.rows(after):
            event = event_of(row)
            if row.revision in self._options.skipped:
                event = {"t": event["t"], "event": "clock"}
            elif event["event"] == "center_changed":
                event["center"] = center_toml(record_center(event["center"]))
            yield event

    def first_center(self) -> Center:
        """The center with which the journal begins."""
        return record_center(json.loads(self._first_center))

    def _latest(self, revision: int) -> Core:
        """The core of the latest snapshot that is not after a revision and can be used, or of an empty journal.
        CompactedError for a revision that was forgotten."""
        if revision < self.base:
            raise CompactedError(self.base)
        for found, _ in self.store.snapshots():
            if found <= revision:
                try:
                    return Core.load(self.store.snapshot(found), self._options)
                except SnapshotError as error:
                    _log.error("the snapshot of revision %d can't be used: %s", found, error)
        if self.base:
            what = f"the journal begins after revision {self.base}, and no snapshot from there on can be used"
            raise StoreError("unusable", f"{what}: take the version of cordboard that wrote it, or a backup")
        return Core.new(self.first_center(), self._options)

    # ---- where it begins

    def begin_at(self, revision: int, center: str) -> None:
        """Let the journal begin after a revision of which there is a snapshot: rows of before don't count any more, and
        may be deleted. ``center``: of that snapshot, as JSON."""
        self.store.set_facts({BASE: str(revision), "center": center})
        self._first_center, self.base = center, revision

    def drop_before_base(self) -> None:
        """Drop the snapshots from which nothing begins any more."""
        with self._keeping:
            for revision, _ in self.store.snapshots():
                if revision < self.base:
                    self.store.drop_snapshot(revision)

    # ---- snapshots

    def keep(self, revision: int, snapshot: bytes | bytearray) -> None:
        """Write a snapshot, and drop those that no recovery needs."""
        if self.put(revision, snapshot):
            self.kept_one(revision)

    def put(self, revision: int, snapshot: bytes | bytearray) -> bool:
        """Write a snapshot; whether that was possible. A StoreError is logged: no snapshot is needed."""
        try:
            self.store.put_snapshot(revision, __version__, snapshot)
        except StoreError as error:
            _log.error("no snapshot was written: %s", error)
            return False
        return True

    def kept_one(self, revision: int) -> None:
        """A snapshot was written, here or by another process: drop those that no recovery needs now."""
        with self._keeping:
            self.kept = max(self.kept, revision)
            try:
                listed = [found for found, _ in self.store.snapshots()]
                old = [found for found in listed if found <= revision - self.settings.history]
                daily = self._daily(listed) if self.settings.keep_days else []
                for found in set(listed) - set(listed[:2]) - set(old[:2]) - {self.base} - set(daily):
                    self.store.drop_snapshot(found)
            except StoreError as error:
                _log.error("old snapshots are still there: %s", error)

    def _daily(self, listed: list[int]) -> list[int]:
        """Of these snapshots, latest first, the first of each day: for a compaction to begin at."""
        days: dict[int, int] = {}
        for found in listed:
            for row in self.store.rows(found - 1, found):
                days[row.ticks // DAY_TICKS] = found
        return list(days.values())


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows by the batch."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _moved(entry: Entry) -> str:
    """What a change of the center did to those who wait, for the log."""
    ends = [effect["to"] for effect in entry.effects if effect["effect"] == "contact_expired"]
    left = sum(to is None for to in ends)
    return f"{len(ends) - left} contacts went to another queue, {left} had to leave" if ends else "all contacts stay"
