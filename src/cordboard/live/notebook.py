"""What something with a memory was told, in order, in a file: so that after a crash it can be told again.

For what lives beside the journal: campaigns that are paced, models that learn. One SQLite file each; a note is on disk
when ``add`` comes back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from cordboard.errors import StoreError
from cordboard.live.store_sqlite import kind_of

P = ParamSpec("P")
T = TypeVar("T")

_TABLE = "CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, base TEXT NOT NULL, note BLOB NOT NULL) STRICT"
AT_ONCE = 1_000


def _told(call: Callable[Concatenate[Notebook, P], T]) -> Callable[Concatenate[Notebook, P], T]:
    """Errors of SQLite and the system as StoreError."""

    @wraps(call)
    def told(self: Notebook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(self, *args, **kwargs)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(kind_of(error), f"{self.path}: {error}") from error

    return told


class Notebook:
    """Notes in a file, whose folder is made. Every method raises StoreError; one thread at a time.

    ``power_cut``: a note outlives a power cut too, and not only the process; a sync of the disk each.
    """

    def __init__(self, path: Path, *, power_cut: bool) -> None:
        self.path, self._power_cut = path, power_cut
        self._db: sqlite3.Connection | None = None
        self.count = 0  # of notes, once it is open

    @_told
    def add(self, *notes: bytes, base: str = "") -> None:
        """Write notes, all or none. ``base``: what they go on from."""
        db = self._opened()
        with db:
            db.executemany("INSERT INTO notes (base, note) VALUES (?, ?)", [(base, note) for note in notes])
        self.count += len(notes)

    @_told
    def replace(self, notes: Sequence[bytes], base: str) -> None:
        """Forget all notes and write these, in one step."""
        db = self._opened()
        with db:
            db.execute("DELETE FROM notes")
            db.executemany("INSERT INTO notes (base, note) VALUES (?, ?)", [(base, note) for note in notes])
        self.count = len(notes)

    def read(self, base: str = "") -> Iterator[bytes]:
        """The notes that go on from ``base``, in order."""
        last = 0
        while rows := self._page(base, last):
            yield from (note for _, note in rows)
            last = rows[-1][0]

    @_told
    def _page(self, base: str, after: int) -> list[tuple[int, bytes]]:
        query = "SELECT number, note FROM notes WHERE number > ? AND base = ? ORDER BY number LIMIT ?"
        return self._opened().execute(query, (after, base, AT_ONCE)).fetchall()

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=5.0, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute(f"PRAGMA synchronous={'FULL' if self._power_cut else 'NORMAL'}")
                db.execute(_TABLE)
                self.count = db.execute("SELECT count(*) FROM notes").fetchone()[0]
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None
