"""Where a journal is kept: one table of rows, one of snapshots, one of facts about the journal.

A store is simple on purpose: it appends a group of rows in one durable transaction or not at all, and gives them back
in order. What the rows mean is the engine's. Two stores, with one set of tests: SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from cordboard.live.settings import Settings, checked_tenant

SCHEMA = 1  # the version of the tables; a store of a newer one is not opened
PASSING = ("disk full", "read-only", "i/o error", "lost connection")  # kinds of StoreError that pass by themselves
ROWS_AT_ONCE = 5_000  # held in memory while a journal is read


class Row(NamedTuple):
    """A row of the journal: ``ticks`` is its time in microseconds since the epoch, ``event`` JSON without its ``t``."""

    revision: int
    ticks: int
    event: str
    actor: str
    request_id: str


class Store(Protocol):
    """A journal's store. Every method raises StoreError, whose kind says whether it may pass by itself.

    One thread at a time; but ``rows``, ``requests`` and what concerns snapshots may be called by any at any time.
    """

    def open(self) -> None:
        """Connect, make the tables if there are none, and keep other writers out (StoreError ``in use``)."""

    def open_reading(self) -> None:
        """Open what is there for reading alone, where ``open`` can't since nothing can be written. A copy may be made
        in the folder for temporary files; it stays until an ``open`` that works."""

    def close(self) -> None:
        """Let go of everything. Never raises; may be called twice, and ``open`` may follow."""

    def append(self, rows: Sequence[Row]) -> None:
        """Write all rows, durably. After a StoreError it is not known whether they are there: open anew and look."""

    def probe(self) -> None:
        """Write something durably that changes nothing: whether ``append`` would work again."""

    def forget(self, until: int, most: int) -> int:
        """Delete the first rows, durably: those with revision <= ``until``, and no more than ``most``. Returns how
        many. The last row of all must stay."""

    def shrink(self) -> None:
        """Give the space of what was deleted back to the system. Takes as long as writing all of it anew; nobody else
        may use the store meanwhile."""

    def last(self) -> int:
        """The last revision, 0 for an empty journal."""

    def rows(self, after: int = 0, until: int | None = None) -> Iterator[Row]:
        """The rows with after < revision <= until, in order."""

    def get(self, revisions: Sequence[int]) -> dict[int, Row]:
        """These rows, by revision, as far as they are there."""

    def requests(self, since: int) -> Iterator[list[tuple[int, int, str]]]:
        """(revision, ticks, request id) of the rows with ``ticks`` > ``since`` that have a request id, in order, by the
        page."""

    def fact(self, key: str) -> str | None:
        """A fact about the journal."""

    def set_facts(self, facts: dict[str, str]) -> None:
        """Write facts, durably, all or none."""

    def snapshots(self) -> list[tuple[int, str]]:
        """(revision, by which version of cordboard) of each snapshot, latest first."""

    def snapshot(self, revision: int) -> bytes:
        """A snapshot's contents."""

    def put_snapshot(self, revision: int, version: str, dump: bytes | bytearray) -> None:
        """Write a snapshot, durably."""

    def drop_snapshot(self, revision: int) -> None:
        """Delete a snapshot, if it is there."""


def make_store(settings: Settings, tenant: str, *, read_only: bool = False) -> Store:
    """The store of a tenant, not opened yet. ``read_only``: for looking at a journal, beside a writer."""
    if settings.database:
        from cordboard.live.store_postgres import PostgresStore  # needs psycopg

        return PostgresStore(
            settings.database, checked_tenant(tenant), read_only=read_only, durable=settings.durable
        )
    from cordboard.live.store_sqlite import SqliteStore

    path = settings.tenant_folder(tenant) / "journal.db"
    return SqliteStore(path, read_only=read_only, durable=settings.durable)


def first_after(ticks_of: Callable[[int], int], last: int, since: int, first: int = 1) -> int:
    """The first revision from ``first`` on whose ticks are > ``since`` (``last`` + 1 for none): ticks never fall from
    row to row."""
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        if ticks_of(middle) > since:
            high = middle
        else:
            low = middle + 1
    return low
