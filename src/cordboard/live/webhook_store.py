"""What webhooks must remember: how far each endpoint is, whether it stands still, and what it never took.

An SQLite file beside the journal. The server's threads and the command ``cordboard webhooks`` open it at once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cordboard.errors import InputError, LimitError, StoreError, Where

DEAD_MAX = 10_000  # letters of an endpoint; when it is full the endpoint stands still, and loses nothing

_TABLES = (
    "CREATE TABLE IF NOT EXISTS endpoints"
    " (name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, stopped TEXT NOT NULL DEFAULT '') STRICT",
    "CREATE TABLE IF NOT EXISTS dead_letters (endpoint TEXT NOT NULL, revision INTEGER NOT NULL, id TEXT NOT NULL,"
    " body BLOB NOT NULL, attempts INTEGER NOT NULL, why TEXT NOT NULL, died_at REAL NOT NULL,"
    " again INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (endpoint, revision)) STRICT",
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that an endpoint did not take. ``again``: it is to be sent once more."""

    endpoint: str
    revision: int
    id: str
    body: bytes
    attempts: int
    why: str
    died_at: float
    again: bool


class WebhookStore:
    """See above. Each call is one transaction: any thread, any process."""

    def __init__(self, path: str | Path, *, make: bool = True) -> None:
        self.path = Path(path)
        if not make and not self.path.exists():
            raise InputError("there are no webhooks", Where(str(self.path)), "Is it the file beside the journal?")
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        with self._open() as db:
            for statement in _TABLES:
                db.execute(statement)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._db is None:
                    self._db = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
                    self._db.execute("PRAGMA journal_mode=WAL")
                    # What a power failure takes is sent again: at least once.
                    self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                self._let_go()
                if isinstance(error, sqlite3.Error):
                    raise StoreError("i/o error", f"{self.path}: {error}") from error
                raise

    def _let_go(self) -> None:
        """Close the connection; what it had begun is undone. The next call opens another one."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def close(self) -> None:
        """Let go of the file; may be used again."""
        with self._lock:
            self._let_go()

    def begin(self, endpoint: str, cursor: int) -> int:
        """The revision up to which an endpoint has everything; ``cursor`` for one that is new."""
        with self._open() as db:
            db.execute("INSERT OR IGNORE INTO endpoints (name, cursor) VALUES (?, ?)", (endpoint, cursor))
            found: int = db.execute("SELECT cursor FROM endpoints WHERE name = ?", (endpoint,)).fetchone()[0]
        return found

    def advance(self, endpoint: str, cursor: int) -> None:
        """The endpoint has everything up to this revision."""
        with self._open() as db:
            db.execute("UPDATE endpoints SET cursor = ? WHERE name = ?", (cursor, endpoint))

    def stopped(self, endpoint: str) -> str:
        """Why an endpoint stands still, or empty."""
        with self._open() as db:
            row = db.execute("SELECT stopped FROM endpoints WHERE name = ?", (endpoint,)).fetchone()
        return "" if row is None else str(row[0])

    def stop(self, endpoint: str, why: str) -> None:
        """Let an endpoint stand still, until ``resume``."""
        with self._open() as db:
            db.execute("UPDATE endpoints SET stopped = ? WHERE name = ?", (why, endpoint))

    def resume(self, endpoint: str) -> None:
        """Let an endpoint go on. InputError for one that is not known."""
        with self._open() as db:
            done = db.execute("UPDATE endpoints SET stopped = '' WHERE name = ?", (endpoint,)).rowcount
        if not done:
            raise InputError(f'there is no endpoint "{endpoint}"', Where(str(self.path)), "Check the spelling")

    def endpoints(self) -> list[tuple[str, int, str, int]]:
        """(name, cursor, why it stands still, dead letters) of each."""
        query = (
            "SELECT name, cursor, stopped, (SELECT count(*) FROM dead_letters WHERE endpoint = name)"
            " FROM endpoints ORDER BY name"
        )
        with self._open() as db:
            return [(str(a), int(b), str(c), int(d)) for a, b, c, d in db.execute(query)]

    def bury(self, letter: DeadLetter) -> None:
        """Keep a letter, and count its revision as done. LimitError, and nothing done, if there is no room."""
        with self._open() as db:
            count = "SELECT count(*) FROM dead_letters WHERE endpoint = ?"
            if db.execute(count, (letter.endpoint,)).fetchone()[0] >= DEAD_MAX:
                raise LimitError("the list of dead letters is full", DEAD_MAX, "Send them again, or drop them")
            db.execute(
                "INSERT OR REPLACE INTO dead_letters VALUES (?,?,?,?,?,?,?,0)",
                (letter.endpoint, letter.revision, letter.id, letter.body, letter.attempts, letter.why, letter.died_at),
            )
            db.execute(
                "UPDATE endpoints SET cursor = max(cursor, ?) WHERE name = ?", (letter.revision, letter.endpoint)
            )

    def dead(self, endpoint: str, *, again: bool = False, most: int = DEAD_MAX) -> list[DeadLetter]:
        """Dead letters in the order of their revisions; with ``again`` those alone that are to be sent once more."""
        query = "SELECT * FROM dead_letters WHERE endpoint = ? AND again >= ? ORDER BY revision LIMIT ?"
        with self._open() as db:
            rows = db.execute(query, (endpoint, int(again), most)).fetchall()
        return [DeadLetter(a, b, c, d, e, f, g, bool(h)) for a, b, c, d, e, f, g, h in rows]

    def again(self, endpoint: str, revision: int | None = None) -> int:
        """Send one or all of an endpoint's dead letters once more; returns how many."""
        with self._open() as db:
            return db.execute(
                "UPDATE dead_letters SET again = 1 WHERE endpoint = ? AND (revision = ? OR ? IS NULL)",
                (endpoint, revision, revision),
            ).rowcount

    def still_dead(self, letter: DeadLetter, attempts: int, why: str) -> None:
        """It was sent once more and not taken."""
        with self._open() as db:
            db.execute(
                "UPDATE dead_letters SET again = 0, attempts = attempts + ?, why = ?, died_at = ?"
                " WHERE endpoint = ? AND revision = ?",
                (attempts, why, time.time(), letter.endpoint, letter.revision),
            )

    def drop(self, endpoint: str, revision: int | None = None) -> int:
        """Forget one or all of an endpoint's dead letters; returns how many."""
        with self._open() as db:
            return db.execute(
                "DELETE FROM dead_letters WHERE endpoint = ? AND (revision = ? OR ? IS NULL)",
                (endpoint, revision, revision),
            ).rowcount
