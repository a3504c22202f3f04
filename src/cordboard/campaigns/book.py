"""The book of a tenant's campaigns: lists of numbers, who may not be called, and every attempt. One SQLite file.

The journal names entries; whose number it is stands here alone, and where personal data is kept apart not even here: a
subject stands in its place. What has come of the entries follows the journal: it is written together with the revision
up to which it is true, so that after a crash the rest is taken from the journal, and nothing is counted twice.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordboard.errors import StoreError

AT_ONCE = 5_000
BOOK = "outbound.db"  # in a tenant's folder
_TABLES = """
CREATE TABLE entries (
  campaign TEXT NOT NULL, entry INTEGER NOT NULL, number TEXT NOT NULL, zone TEXT NOT NULL, about TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'ready', attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0,
  outcome TEXT NOT NULL DEFAULT '', PRIMARY KEY (campaign, entry), UNIQUE (campaign, number)
) STRICT;
CREATE TABLE attempts (
  campaign TEXT NOT NULL, entry INTEGER NOT NULL, attempt INTEGER NOT NULL, dialed REAL NOT NULL, rang REAL,
  answered REAL, decided REAL, ended REAL, outcome TEXT NOT NULL DEFAULT '', agent TEXT NOT NULL DEFAULT '',
  machine REAL, PRIMARY KEY (campaign, entry, attempt)
) STRICT;
CREATE INDEX attempts_decided ON attempts (campaign, decided);
CREATE TABLE blocked (number TEXT PRIMARY KEY) STRICT;
CREATE TABLE followed (revision INTEGER NOT NULL) STRICT;
INSERT INTO followed VALUES (0);
"""
_ATTEMPT = "campaign, entry, attempt, dialed, rang, answered, decided, ended, outcome, agent, machine"


@dataclass(slots=True)
class Attempt:
    """One attempt; times are Unix seconds, None for what has not happened. ``decided``: when ``outcome`` was known.
    ``machine``: the probability that a machine answered, None if nobody listened."""

    campaign: str
    entry: int
    attempt: int
    dialed: float
    rang: float | None = None
    answered: float | None = None
    decided: float | None = None
    ended: float | None = None
    outcome: str = ""
    agent: str = ""
    machine: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands: ``ready`` to be dialed from ``due`` on, ``calling`` or ``done``."""

    campaign: str
    entry: int
    state: str
    attempts: int
    due: float
    outcome: str


class Book:
    """See above. Thread-safe; every method raises StoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._told():
            self._db = sqlite3.connect(path, timeout=5.0, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA secure_delete=ON")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(f"BEGIN;{_TABLES}PRAGMA user_version=2;COMMIT")
            elif version == 1:
                added = "ALTER TABLE attempts ADD COLUMN machine REAL"
                self._db.executescript(f"BEGIN;{added};PRAGMA user_version=2;COMMIT")
            path.chmod(0o600)
            self._look = sqlite3.connect(path, timeout=5.0, check_same_thread=False, isolation_level=None)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError("unusable", f"{self.path}: {error}") from error

    @contextmanager
    def _transaction(self, power_cut: bool = True) -> Iterator[sqlite3.Connection]:
        """``power_cut``: what is written outlives one, too; what follows the journal need not, that is there again."""
        with self._lock, self._told():
            self._db.execute(f"PRAGMA synchronous={'FULL' if power_cut else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    # ---- lists

    def add(self, campaign: str, rows: Sequence[tuple[str, str, str]]) -> list[bool]:
        """Put numbers with their time zones, and what else is known of them, at the end of a list; for each whether it
        is new there."""
        put = "INSERT OR IGNORE INTO entries (campaign, entry, number, zone, about) VALUES (?, ?, ?, ?, ?)"
        with self._transaction() as db:
            found = db.execute("SELECT max(entry) FROM entries WHERE campaign = ?", (campaign,)).fetchone()
            last, new = found[0] or 0, []
            for number, zone, about in rows:
                new.append(db.execute(put, (campaign, last + 1, number, zone, about)).rowcount == 1)
                last += new[-1]
        return new

    def block(self, numbers: Iterable[str], marks: Iterable[str] = ()) -> int:
        """Numbers (or their subjects) that no campaign calls from now on, and what stands for them when their subjects
        are erased; how many of them are new."""
        put = "INSERT OR IGNORE INTO blocked VALUES (?)"
        given, marked = ([(one,) for one in each] for each in (numbers, marks))
        with self._transaction() as db:
            before = db.total_changes
            db.executemany(put, marked or given)
            new = db.total_changes - before
            db.executemany(put, given)
            return new

    def blocked(self, numbers: Sequence[str]) -> set[str]:
        """Those of some numbers that are not to be called."""
        with self._lock, self._told():
            query = "SELECT 1 FROM blocked WHERE number = ?"
            return {number for number in numbers if self._db.execute(query, (number,)).fetchone()}

    def ready(self, campaign: str) -> Iterator[tuple[int, str, int, float]]:
        """Entry, time zone, attempts and due time of those that are to be dialed, in order."""
        query = (
            "SELECT entry, zone, attempts, due FROM entries WHERE campaign = ? AND state = 'ready' AND entry > ?"
            " ORDER BY entry LIMIT ?"
        )
        last = 0
        while rows := self._rows(query, campaign, last, AT_ONCE):
            yield from rows
            last = rows[-1][0]

    def may_dial(self, campaign: str, entry: int) -> bool:
        """Whether an entry is still to be called, and nobody has said meanwhile that it must not be. The one who dials
        knows better which are being called: the book is written later."""
        query = (
            "SELECT 1 FROM entries WHERE campaign = ? AND entry = ? AND state != 'done'"
            " AND number NOT IN (SELECT number FROM blocked)"
        )
        return bool(self._rows(query, campaign, entry))

    def put(self, campaign: str, number: str, zone: str) -> int:
        """The entry of a number (or its subject), which is put into the list if it is not there."""
        self.add(campaign, [(number, zone, "")])
        query = "SELECT entry FROM entries WHERE campaign = ? AND number = ?"
        return int(self._rows(query, campaign, number)[0][0])

    def zone_of(self, campaign: str, entry: int) -> tuple[str, str]:
        """The number of an entry (or its subject) and its time zone; both empty if there is none."""
        found = self._rows("SELECT number, zone FROM entries WHERE campaign = ? AND entry = ?", campaign, entry)
        return found[0] if found else ("", "")

    def about(self, campaign: str, entry: str) -> str:
        """What a list says of an entry."""
        query = "SELECT about FROM entries WHERE campaign = ? AND entry = ?"
        found = self._rows(query, campaign, int(entry)) if entry.isdigit() else []
        return found[0][0] if found else ""

    def attempts_of(self, campaign: str, entry: int) -> int:
        """How often an entry was dialed."""
        found = self._rows("SELECT attempts FROM entries WHERE campaign = ? AND entry = ?", campaign, entry)
        return int(found[0][0]) if found else 0

    def attempts_since(self, campaign: str, entry: int, since: float) -> int:
        """How often an entry was dialed since a time."""
        query = "SELECT count(*) FROM attempts WHERE campaign = ? AND entry = ? AND dialed > ?"
        return int(self._rows(query, campaign, entry, since)[0][0])

    def number(self, campaign: str, entry: str) -> str:
        """The number of an entry (or its subject); empty if there is none. Never waits for a writer."""
        with self._told():
            query = "SELECT number FROM entries WHERE campaign = ? AND entry = ?"
            found = self._look.execute(query, (campaign, int(entry))).fetchone() if entry.isdigit() else None
        return found[0] if found else ""

    def entries_of(self, number: str) -> list[tuple[str, str]]:
        """Where a number (or its subject) stands: campaign and entry."""
        with self._told():
            query = "SELECT campaign, entry FROM entries WHERE number = ? ORDER BY campaign"
            return [(campaign, str(entry)) for campaign, entry in self._look.execute(query, (number,))]

    # ---- what follows the journal

    @property
    def revision(self) -> int:
        """The journal was followed up to here."""
        return int(self._rows("SELECT revision FROM followed")[0][0])

    def follow(self, revision: int, attempts: Iterable[Attempt], places: Iterable[Place]) -> None:
        """What the journal says up to a revision: in one step with it."""
        rows = [tuple(getattr(one, name) for name in Attempt.__slots__) for one in attempts]
        put = f"INSERT OR REPLACE INTO attempts ({_ATTEMPT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        move = "UPDATE entries SET state = ?, attempts = ?, due = ?, outcome = ? WHERE campaign = ? AND entry = ?"
        with self._transaction(power_cut=False) as db:
            db.executemany(put, rows)
            moved = [(one.state, one.attempts, one.due, one.outcome, one.campaign, one.entry) for one in places]
            db.executemany(move, moved)
            db.execute("UPDATE followed SET revision = ?", (revision,))

    def attempts(self, campaign: str, since: float = 0.0) -> Iterator[Attempt]:
        """Attempts whose outcome is known, in the order in which it was; ``since`` a time."""
        query = (
            f"SELECT {_ATTEMPT} FROM attempts WHERE campaign = ? AND (decided, entry, attempt) > (?, ?, ?)"
            " ORDER BY decided, entry, attempt LIMIT ?"
        )
        last = (since, -1, -1)
        while rows := self._rows(query, campaign, *last, AT_ONCE):
            yield from (Attempt(*row) for row in rows)
            last = (rows[-1][6], rows[-1][1], rows[-1][2])

    def begun(self, campaign: str) -> float | None:
        """When a campaign dialed first; None if it never did."""
        found: float | None = self._rows("SELECT min(dialed) FROM attempts WHERE campaign = ?", campaign)[0][0]
        return found

    def open_attempts(self) -> list[Attempt]:
        """Attempts that are not over."""
        return [Attempt(*row) for row in self._rows(f"SELECT {_ATTEMPT} FROM attempts WHERE ended IS NULL")]

    # ---- figures

    def counts(self, campaign: str) -> dict[str, dict[str, int]]:
        """How many entries are in each state, how many attempts came out in each way."""
        states = "SELECT state, count(*) FROM entries WHERE campaign = ? GROUP BY state"
        outcomes = "SELECT outcome, count(*) FROM attempts WHERE campaign = ? GROUP BY outcome"
        return {"entries": dict(self._rows(states, campaign)), "attempts": dict(self._rows(outcomes, campaign))}

    def results(self, campaign: str) -> Iterator[tuple[Any, ...]]:
        """Of every entry: entry, number, about, state, attempts, outcome, and of its last attempt when it was dialed,
        answered and ended, and who had it."""
        query = (
            "SELECT e.entry, e.number, e.about, e.state, e.attempts, coalesce(a.outcome, ''), a.dialed, a.answered,"
            " a.ended, a.agent FROM entries e LEFT JOIN attempts a ON a.campaign = e.campaign AND a.entry = e.entry"
            " AND a.attempt = e.attempts WHERE e.campaign = ? AND e.entry > ? ORDER BY e.entry LIMIT ?"
        )
        last = 0
        while rows := self._rows(query, campaign, last, AT_ONCE):
            yield from rows
            last = rows[-1][0]

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._lock, self._told():
            return self._db.execute(query, values).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock, suppress(sqlite3.Error):
            self._look.close()
            self._db.close()


def listed(folder: Path, number: str) -> list[tuple[str, str]]:
    """Where a number (or its subject) stands in the lists of a tenant, whose folder this is: campaign and entry."""
    path = folder / BOOK
    if not path.exists():
        return []
    with closing(Book(path)) as book:
        return book.entries_of(number)
