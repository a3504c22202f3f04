"""Checkpoints of a SQLite journal beside its writer, so that hardly a commit has to wait for one.

What is in the WAL has to come into the database file some day: two syncs and as many pages as have changed, and whoever
commits meanwhile waits. So a thread does it, with a connection of its own, for each MiB that was written, while commits
go on. But a WAL begins anew only when all of it is in the database and nothing came since; so each 8 MiB the writer
itself does the rest, which is next to nothing by then. A file that does not grow is synced sooner, and this one stays.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing

PAGES = 256  # written, about, until the thread does its part: 1 MiB
PAGES_ANEW = 2048  # in the WAL until the writer does the rest
ROW_BYTES = 40  # of a row beside its event
PAGE_BYTES = 4096

_CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"
_log = logging.getLogger("cordboard.live")


class Checkpoints:
    """See above. ``connect`` opens a connection to the journal; ``close`` ends the thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._written = 0  # pages since the thread was called, about
        self._called = threading.Event()
        self._anew = self._closed = False
        self._thread = threading.Thread(target=self._run, name="cordboard-checkpoints", daemon=True)
        self._thread.start()

    def wrote(self, db: sqlite3.Connection, size: int) -> None:
        """The writer has committed so many bytes with this connection. Never raises: a checkpoint may fail, a commit
        that is on the disk stays there."""
        self._written += 2 + size // PAGE_BYTES
        if self._written >= PAGES:
            self._written = 0
            self._called.set()
        if self._anew:
            self._anew = False
            _checkpoint(db)

    def _run(self) -> None:
        try:
            with closing(self._connect()) as db:
                while True:
                    self._called.wait()
                    self._called.clear()
                    if self._closed:
                        return
                    if _checkpoint(db) > PAGES_ANEW:
                        self._anew = True
        except sqlite3.Error:
            _log.error("no checkpoints beside the journal", exc_info=True)

    def close(self) -> None:
        """End the thread; returns when it has let go of the journal."""
        self._closed = True
        self._called.set()
        self._thread.join()


def _checkpoint(db: sqlite3.Connection) -> int:
    """Bring into the database what can be without anybody waiting; how many pages the WAL has, 0 if that failed."""
    try:
        return int(db.execute(_CHECKPOINT).fetchone()[1])
    except sqlite3.Error as error:  # a full disk, for example: commits will say so
        _log.warning("the journal's checkpoint failed: %s", error)
        return 0
