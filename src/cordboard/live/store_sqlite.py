"""A journal in SQLite: WAL, ``synchronous=FULL``, one statement a group.

A group is one INSERT of many rows, in a transaction of its own: the interpreter's lock is let go once, for the whole of
the write and its fsync, and not once a row. A file beside the journal, locked as long as it is open, keeps a second
writer out; readers, of this process or others, need no lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from cordboard.errors import StoreError
from cordboard.live.checkpoints import ROW_BYTES, Checkpoints
from cordboard.live.store import ROWS_AT_ONCE, SCHEMA, Row, first_after

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="SqliteStore")

_TABLES = """
CREATE TABLE journal (
  revision INTEGER PRIMARY KEY, ticks INTEGER NOT NULL, event TEXT NOT NULL,
  actor TEXT NOT NULL, request_id TEXT NOT NULL
) STRICT;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_SNAPSHOTS = """
CREATE TABLE IF NOT EXISTS snapshots (revision INTEGER PRIMARY KEY, version TEXT NOT NULL, dump BLOB NOT NULL) STRICT
"""
_ROW = "(?,?,?,?,?)"
_ROWS_A_STATEMENT = 512  # a statement has at most 32,766 values
_PROBE_BYTES = 65_536  # more than SQLite asks for at once
_BUSY_S = 5.0  # wait so long for a checkpoint of someone else's


def kind_of(error: Exception) -> str:
    """What the caller may do about it: the kind of a StoreError."""
    if isinstance(error, OSError):
        full = (errno.ENOSPC, errno.EDQUOT)
        denied = (errno.EROFS, errno.EACCES, errno.EPERM)
        return "disk full" if error.errno in full else "read-only" if error.errno in denied else "i/o error"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return {
        sqlite3.SQLITE_FULL: "disk full",
        sqlite3.SQLITE_READONLY: "read-only",
        sqlite3.SQLITE_CANTOPEN: "read-only",
        sqlite3.SQLITE_PERM: "read-only",
        sqlite3.SQLITE_NOTADB: "unusable",
        sqlite3.SQLITE_CORRUPT: "unusable",
        sqlite3.SQLITE_BUSY: "in use",
        sqlite3.SQLITE_LOCKED: "in use",
        sqlite3.SQLITE_CONSTRAINT: "in use",  # a revision that is there already: someone else wrote it
    }.get(code, "i/o error")


def _refusal(folder: Path) -> str:
    """Why the system does not let anything be written there, as the kind of a StoreError; empty if it does, or if the
    folder is not there. SQLite says no more than "disk I/O error" if there is no room for the index of its log."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
    except FileNotFoundError:
        return ""
    except OSError as error:
        kind = kind_of(error)
        return "" if kind == "i/o error" else kind
    return ""


def _told(call: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Errors of SQLite and the system as StoreError."""

    @wraps(call)
    def told(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(self, *args, **kwargs)
        except (sqlite3.Error, OSError) as error:
            kind = kind_of(error)
            if kind in ("i/o error", "read-only"):  # for which SQLite has other causes, too, than it says
                kind = _refusal(self.path.parent) or kind
            raise StoreError(kind, f"{self.path}: {error}") from error

    return told


class SqliteStore:
    """See :class:`cordboard.live.store.Store`. ``path``: the file of the journal; its folder is made. Not ``durable``:
    commits are not synced, checkpoints are, so that what is lost with the machine is the last commits and no more."""

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False, durable: bool = True) -> None:
        self.path, self._durable = Path(path), durable
        self._snapshots = self.path.with_name("snapshots.db")
        self._read_only = read_only
        self._db: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._checkpoints: Checkpoints | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None  # that is read while nothing can be written

    @_told
    def open(self) -> None:
        if self._read_only:
            if not self.path.exists():
                raise StoreError("unusable", f"{self.path}: there is no journal")
            self._db = self._connect()
            self._check_schema()
            return
        copy, self._copy = self._copy, None
        try:
            self._open()
        except BaseException:
            self._copy = copy
            raise
        if copy is not None:
            copy.cleanup()

    @_told
    def open_reading(self) -> None:
        if not self.path.exists():
            raise StoreError("unusable", f"{self.path}: there is no journal")
        copy = tempfile.TemporaryDirectory(prefix="cordboard-")
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            if path.exists():
                shutil.copyfile(path, Path(copy.name) / path.name)
        self._copy = copy
        self._db = self._connect()
        self._check_schema()

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # nobody else's to read
        self._take_lock()
        self._db = self._writing()
        self._db.execute("PRAGMA journal_mode=WAL")
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
            self._db.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version={SCHEMA};COMMIT")
        self._check_schema()
        # What an interrupted write left in the WAL counts from now on: it must be on the disk for certain.
        self._db.execute("PRAGMA wal_checkpoint(RESTART)")
        self._checkpoints = Checkpoints(self._writing)

    def close(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.close()
            self._checkpoints = None
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @_told
    def append(self, rows: Sequence[Row]) -> None:
        db = self._opened()
        if len(rows) <= _ROWS_A_STATEMENT:
            self._insert(db, rows)
        else:
            self._insert_many(db, rows)
        if self._checkpoints is not None:
            self._checkpoints.wrote(db, sum(len(row.event) + ROW_BYTES for row in rows))

    def _insert_many(self, db: sqlite3.Connection, rows: Sequence[Row]) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            for start in range(0, len(rows), _ROWS_A_STATEMENT):
                self._insert(db, rows[start : start + _ROWS_A_STATEMENT])
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    @staticmethod
    def _insert(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
        values = [value for row in rows for value in row]
        db.execute(f"INSERT INTO journal VALUES {','.join([_ROW] * len(rows))}", values)

    @_told
    def probe(self) -> None:
        db = self._opened()
        db.execute("INSERT OR REPLACE INTO facts VALUES ('probe', hex(randomblob(32768)))")
        db.execute("DELETE FROM facts WHERE key = 'probe'")

    @_told
    def forget(self, until: int, most: int) -> int:
        query = "DELETE FROM journal WHERE revision <= ? AND revision < (SELECT min(revision) FROM journal) + ?"
        count = self._opened().execute(query, (until, most)).rowcount
        if count and self._checkpoints is not None:
            self._checkpoints.wrote(self._opened(), count * ROW_BYTES)
        return count

    @_told
    def shrink(self) -> None:
        for db in (self._opened(), sqlite3.connect(self._snapshots, timeout=_BUSY_S, isolation_level=None)):
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if db is not self._db:
                db.close()

    @_told
    def last(self) -> int:
        found: int = self._opened().execute("SELECT coalesce(max(revision), 0) FROM journal").fetchone()[0]
        return found

    def rows(self, after: int = 0, until: int | None = None) -> Iterator[Row]:
        query = "SELECT * FROM journal WHERE revision > ? AND revision <= ? ORDER BY revision LIMIT ?"
        end = (1 << 62) if until is None else until
        with closing(self._reader()) as db:
            while True:
                rows = self._fetch(db, query, (after, end, ROWS_AT_ONCE))
                yield from map(Row._make, rows)
                if len(rows) < ROWS_AT_ONCE:
                    return
                after = rows[-1][0]

    @_told
    def get(self, revisions: Sequence[int]) -> dict[int, Row]:
        found: dict[int, Row] = {}
        for start in range(0, len(revisions), _ROWS_A_STATEMENT):
            some = revisions[start : start + _ROWS_A_STATEMENT]
            query = f"SELECT * FROM journal WHERE revision IN ({','.join('?' * len(some))})"
            found |= {row[0]: Row._make(row) for row in self._opened().execute(query, some)}
        return found

    def requests(self, since: int) -> Iterator[list[tuple[int, int, str]]]:
        with closing(self._reader()) as db:
            query = "SELECT ticks FROM journal WHERE revision = ?"
            ends = "SELECT coalesce(min(revision), 1), coalesce(max(revision), 0) FROM journal"
            first, last = self._fetch(db, ends, ())[0]
            first = first_after(lambda revision: int(self._fetch(db, query, (revision,))[0][0]), last, since, first)
            query = "SELECT revision, ticks, request_id FROM journal WHERE revision >= ? AND request_id <> '' LIMIT ?"
            while rows := self._fetch(db, query, (first, ROWS_AT_ONCE)):
                yield rows
                first = rows[-1][0] + 1

    @_told
    def fact(self, key: str) -> str | None:
        row = self._opened().execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    @_told
    def set_facts(self, facts: dict[str, str]) -> None:
        rows = [value for fact in facts.items() for value in fact]
        self._opened().execute(f"INSERT OR REPLACE INTO facts VALUES {','.join(['(?,?)'] * len(facts))}", rows)

    def snapshots(self) -> list[tuple[int, str]]:
        return self._beside("SELECT revision, version FROM snapshots ORDER BY revision DESC", ())

    def snapshot(self, revision: int) -> bytes:
        rows = self._beside("SELECT dump FROM snapshots WHERE revision = ?", (revision,))
        if not rows:
            raise StoreError("unusable", f"{self._snapshots}: there is no snapshot of revision {revision}")
        return bytes(rows[0][0])

    def put_snapshot(self, revision: int, version: str, dump: bytes | bytearray) -> None:
        self._beside("INSERT OR REPLACE INTO snapshots VALUES (?,?,?)", (revision, version, dump))

    def drop_snapshot(self, revision: int) -> None:
        self._beside("DELETE FROM snapshots WHERE revision = ?", (revision,))

    @_told
    def _beside(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        """A statement on the file of snapshots, which is another one so that the writer need not wait for it."""
        reading = self._read_only or self._copy is not None
        if reading and not self._snapshots.exists():
            return []
        with closing(sqlite3.connect(self._snapshots, timeout=_BUSY_S, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous=FULL")
            if not reading:
                db.execute(_SNAPSHOTS)
            return db.execute(query, values).fetchall()

    # ---- connections

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError("i/o error", f"{self.path}: the journal is not open")
        return self._db

    def _writing(self) -> sqlite3.Connection:
        """A connection that writes what is asked for and no more: checkpoints are made beside it."""
        db = self._connect()
        db.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        db.execute("PRAGMA wal_autocheckpoint=0")
        return db

    def _connect(self) -> sqlite3.Connection:
        path = self.path if self._copy is None else Path(self._copy.name) / self.path.name
        return sqlite3.connect(
            path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=600
        )

    @_told
    def _reader(self) -> sqlite3.Connection:
        """A connection of its own for reading, beside the writer's."""
        db = self._connect()
        db.execute("PRAGMA query_only=ON")
        return db

    @_told
    def _fetch(self, db: sqlite3.Connection, query: str, values: tuple[int, ...]) -> list[Any]:
        return db.execute(query, values).fetchall()

    def _take_lock(self) -> None:
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreError("in use", f"{self.path}: another process writes this journal") from None
        self._lock = lock

    def _check_schema(self) -> None:
        found = self._opened().execute("PRAGMA user_version").fetchone()[0]
        if found != SCHEMA:
            what = f"{self.path}: schema {found}; this version of cordboard knows {SCHEMA}"
            raise StoreError("unusable", what)
