"""Compaction: what a journal says before one of its snapshots is forgotten; from then on it begins there.

Nothing is forgotten that somebody still needs: rows of the last ``keep_days`` (a day at least, for request ids),
those that the hub holds after a restart, and what ``needs`` says: records, webhooks, the latest backup. The new
beginning is written first, in one transaction (the fact ``base``); only then rows are deleted, in small bites. So a
crash at any instant leaves a whole journal, and the next start goes on deleting.

A server at work (:class:`Compaction`) takes a snapshot that is there: ``Archive.keep`` leaves one a day. The rows are
deleted on the writer's thread, which waits for nobody then, and their pages are used again. A server that is stopped
(:func:`compact`) makes the snapshot that it needs by a replay, and gives the space back to the system.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cordboard import __version__
from cordboard.errors import CordboardError, InputError, StoreError, Where
from cordboard.live.archive import DAY_TICKS, Archive
from cordboard.live.center_json import center_record, encode
from cordboard.live.core import Core, center_of
from cordboard.live.requests import KEPT_TICKS
from cordboard.live.store import Row, first_after

BITE = 500  # rows that are deleted at once beside the work: a millisecond or two
PAUSE_S = 0.05  # between two bites
FAR_BITE = 20_000  # at once where nobody waits
LOOK_TICKS = 3600 * 1_000_000  # between two looks for a new beginning
BACKUP = "backup.json"  # in a tenant's folder: what its latest backup has

Needs = Mapping[str, Callable[[], int]]  # who -> the last revision that it has done with

_log = logging.getLogger("cordboard.live")


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did. ``base``: the revision before the journal's first; ``held_by``: what hindered it from
    forgetting more; ``forgotten``: rows that were deleted."""

    base: int
    held_by: str
    forgotten: int


def spare(archive: Archive, last: int, needs: Needs) -> tuple[int, str]:
    """The last revision that nobody needs, as far as ``last`` goes, and who needs the next one."""
    ticks = _row(archive, last).ticks if last > archive.base else 0
    keep = max(archive.settings.keep_days * DAY_TICKS, KEPT_TICKS)
    old = first_after(lambda revision: _row(archive, revision).ticks, last, round(ticks - keep), archive.base + 1) - 1
    limits = {"keep_days": old, "history": last - archive.settings.history}
    limits |= {name: done() for name, done in needs.items()}
    who = min(limits, key=limits.__getitem__)
    return limits[who], who


def _row(archive: Archive, revision: int) -> Row:
    return next(archive.store.rows(revision - 1, revision))


def backed_up(folder: Path) -> Callable[[], int] | None:
    """Up to where a tenant's latest backup goes; None if none was ever made."""
    path = folder / BACKUP
    if not path.exists():
        return None

    def revision() -> int:
        try:
            return int(json.loads(path.read_bytes())["revision"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"it can't be read: {error}", Where(str(path)), "Make a backup") from error

    return revision


def note_backup(folder: Path, revision: int) -> None:
    """Note up to where a backup goes that was made; where the folder can't be written, compaction stays behind it."""
    part = folder / f"{BACKUP}.part"
    with suppress(OSError):
        part.write_text(json.dumps({"revision": revision, "at": time.time()}))
        part.replace(folder / BACKUP)


class Compaction:
    """Of an engine at work. ``round`` is called after every round, on the writer's thread; ``aside`` does what takes
    longer."""

    def __init__(self, archive: Archive, aside: Executor, needs: Needs) -> None:
        self._archive, self._aside, self._needs = archive, aside, needs
        self._chosen: tuple[int, str] | None = None  # where it is to begin, and its center
        self._left = archive.base > 0  # rows to delete; maybe from before a crash
        self._look_at = 0  # ticks
        self._bite_at = 0.0

    def round(self, core: Core) -> None:
        """Do a little."""
        try:
            self._step(core)
        except StoreError as error:  # whoever appends next finds out, and says so
            _log.error("the journal is not compacted: %s", error)
            self._left, self._look_at = False, core.ticks + LOOK_TICKS

    def _step(self, core: Core) -> None:
        archive, now = self._archive, time.monotonic()
        if self._chosen is not None:
            chosen, self._chosen = self._chosen, None
            archive.begin_at(*chosen)
            self._left = True
            _log.info("the journal begins after revision %d from now on", archive.base)
        elif self._left and now >= self._bite_at:
            self._bite_at = now + PAUSE_S
            if archive.store.forget(archive.base, BITE) < BITE:
                self._left = False
                self._aside.submit(self._drop_snapshots)
        elif not self._left and core.ticks >= self._look_at:
            self._look_at = core.ticks + LOOK_TICKS
            self._aside.submit(self._look, core.revision)

    def _look(self, last: int) -> None:
        """Choose the latest snapshot from which on everything is there that somebody needs."""
        archive = self._archive
        try:
            most, _ = spare(archive, last, self._needs)
            for revision, version in archive.store.snapshots():
                if archive.base < revision <= most and version == __version__:  # that this version can surely read
                    self._chosen = revision, encode(center_of(archive.store.snapshot(revision)))
                    return
        except CordboardError as error:
            _log.error("the journal is not compacted: %s", error)

    def _drop_snapshots(self) -> None:
        try:
            self._archive.drop_before_base()
        except StoreError as error:
            _log.error("old snapshots are still there: %s", error)


def compact(archive: Archive, needs: Needs) -> Compacted:
    """Compact a journal that is open for writing and at rest, as far as may be, and give the space back."""
    store = archive.store
    last = store.last()
    cut, held_by = spare(archive, last, needs) if last > archive.base else (0, "keep_days")
    if cut > archive.base:
        core = archive.core_at(cut)
        store.put_snapshot(cut, __version__, core.dump())
        archive.begin_at(cut, encode(center_record(core.acd.center)))
    forgotten = 0
    while some := store.forget(archive.base, FAR_BITE):
        forgotten += some
    archive.drop_before_base()
    store.shrink()
    return Compacted(archive.base, held_by, forgotten)
