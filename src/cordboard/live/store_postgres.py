"""A journal in PostgreSQL: a schema for each tenant, ``synchronous_commit=on``, one INSERT a group.

An advisory lock of the session keeps a second writer out; if the connection is lost, so is the lock, and a writer that
comes in between is found by the revision it took, which is a primary key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from cordboard.errors import MissingExtraError, StoreError
from cordboard.live.store import ROWS_AT_ONCE, SCHEMA, Row, first_after

try:
    import psycopg
    from psycopg import conninfo, errors, sql
except ImportError as error:
    raise MissingExtraError("psycopg", "postgres") from error

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="PostgresStore")

_TABLES = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.journal (
  revision bigint PRIMARY KEY, ticks bigint NOT NULL, event text NOT NULL, actor text NOT NULL, request_id text NOT NULL
);
CREATE TABLE {schema}.snapshots (revision bigint PRIMARY KEY, version text NOT NULL, dump bytea NOT NULL);
CREATE TABLE {schema}.facts (key text PRIMARY KEY, value text NOT NULL);
INSERT INTO {schema}.facts VALUES ('schema', '{version}');
"""
# A server that is gone without a word is noticed after so long.
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
}


def _kind(error: psycopg.Error, connection: psycopg.Connection[Any] | None) -> str:
    """What the caller may do about it: the kind of a StoreError."""
    if isinstance(error, errors.DiskFull | errors.OutOfMemory):
        return "disk full"
    if isinstance(error, errors.ReadOnlySqlTransaction | errors.InsufficientPrivilege):
        return "read-only"
    if isinstance(error, errors.UniqueViolation):
        return "in use"  # a revision that is there already: someone else wrote it
    if connection is None or connection.closed or isinstance(error, errors.OperatorIntervention):
        return "lost connection"
    return "i/o error"


def _told(call: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Errors of PostgreSQL as StoreError."""

    @wraps(call)
    def told(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(self, *args, **kwargs)
        except psycopg.Error as error:
            raise StoreError(_kind(error, self._db), f"PostgreSQL: {str(error).strip()}") from error

    return told


class PostgresStore:
    """See :class:`cordboard.live.store.Store`. ``url``: the database's address; ``tenant``: names the schema."""

    def __init__(self, url: str, tenant: str, *, read_only: bool = False, durable: bool = True) -> None:
        self._url, self._read_only, self._durable = url, read_only, durable
        self._name = f"cordboard_{tenant}"
        self._schema = sql.Identifier(self._name)
        self._db: psycopg.Connection[Any] | None = None

    @_told
    def open(self) -> None:
        self._open(self._read_only)

    @_told
    def open_reading(self) -> None:
        self._open(True)

    def _open(self, reading: bool) -> None:
        db = self._db = self._connect()
        if not reading:
            row = db.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [self._name]).fetchone()
            if row is None or not row[0]:
                self.close()
                raise StoreError("in use", f"PostgreSQL: another process writes the journal {self._name}")
        if db.execute("SELECT to_regnamespace(%s)", [f'"{self._name}"']).fetchone() == (None,):
            if reading:
                raise StoreError("unusable", f"PostgreSQL: there is no journal {self._name}")
            with db.transaction():
                db.execute(sql.SQL(_TABLES).format(schema=self._schema, version=sql.SQL(str(SCHEMA))))
        found = self.fact("schema")
        if found != str(SCHEMA):
            what = f"PostgreSQL: {self._name} has schema {found}; this version of cordboard knows {SCHEMA}"
            raise StoreError("unusable", what)

    def close(self) -> None:
        if self._db is not None:
            with suppress(psycopg.Error):
                # Whoever opens it next need not wait until the server has seen that this connection is gone.
                self._db.execute("SELECT pg_advisory_unlock_all()")
            with suppress(psycopg.Error):
                self._db.close()
            self._db = None

    @_told
    def append(self, rows: Sequence[Row]) -> None:
        values = [list(column) for column in zip(*rows, strict=True)]
        self._run(
            "INSERT INTO {schema}.journal"
            " SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[])",
            values,
        )

    @_told
    def probe(self) -> None:
        self.set_facts({"probe": "written"})

    @_told
    def forget(self, until: int, most: int) -> int:
        query = (
            "WITH gone AS (DELETE FROM {schema}.journal WHERE revision <= %s"
            " AND revision < (SELECT min(revision) FROM {schema}.journal) + %s RETURNING 1) SELECT count(*) FROM gone"
        )
        return int(self._run(query, [until, most])[0][0])

    @_told
    def shrink(self) -> None:
        for table in ("journal", "snapshots"):
            self._run(f"VACUUM FULL {{schema}}.{table}", [])

    @_told
    def last(self) -> int:
        found: int = self._run("SELECT coalesce(max(revision), 0) FROM {schema}.journal", [])[0][0]
        return found

    def rows(self, after: int = 0, until: int | None = None) -> Iterator[Row]:
        query = "SELECT * FROM {schema}.journal WHERE revision > %s AND revision <= %s ORDER BY revision LIMIT %s"
        end = (1 << 62) if until is None else until
        db = self._reader()
        try:
            while True:
                rows = self._asked(db, query, [after, end, ROWS_AT_ONCE])
                yield from map(Row._make, rows)
                if len(rows) < ROWS_AT_ONCE:
                    return
                after = rows[-1][0]
        finally:
            db.close()

    @_told
    def get(self, revisions: Sequence[int]) -> dict[int, Row]:
        rows = self._run("SELECT * FROM {schema}.journal WHERE revision = ANY(%s)", [list(revisions)])
        return {row[0]: Row._make(row) for row in rows}

    def requests(self, since: int) -> Iterator[list[tuple[int, int, str]]]:
        db = self._reader()
        try:
            ticks = "SELECT ticks FROM {schema}.journal WHERE revision = %s"
            ends = "SELECT coalesce(min(revision), 1), coalesce(max(revision), 0) FROM {schema}.journal"
            first, last = self._asked(db, ends, [])[0]
            first = first_after(lambda revision: int(self._asked(db, ticks, [revision])[0][0]), last, since, first)
            query = (
                "SELECT revision, ticks, request_id FROM {schema}.journal"
                " WHERE revision >= %s AND request_id <> '' ORDER BY revision LIMIT %s"
            )
            while rows := self._asked(db, query, [first, ROWS_AT_ONCE]):
                yield rows
                first = rows[-1][0] + 1
        finally:
            db.close()

    @_told
    def fact(self, key: str) -> str | None:
        rows = self._run("SELECT value FROM {schema}.facts WHERE key = %s", [key])
        return str(rows[0][0]) if rows else None

    @_told
    def set_facts(self, facts: dict[str, str]) -> None:
        self._run(
            "INSERT INTO {schema}.facts SELECT * FROM unnest(%s::text[], %s::text[])"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [list(facts), list(facts.values())],
        )

    def snapshots(self) -> list[tuple[int, str]]:
        rows = self._beside("SELECT revision, version FROM {schema}.snapshots ORDER BY revision DESC", [])
        return [(int(revision), str(version)) for revision, version in rows]

    def snapshot(self, revision: int) -> bytes:
        rows = self._beside("SELECT dump FROM {schema}.snapshots WHERE revision = %s", [revision])
        if not rows:
            raise StoreError("unusable", f"PostgreSQL: there is no snapshot of revision {revision}")
        return bytes(rows[0][0])

    def put_snapshot(self, revision: int, version: str, dump: bytes | bytearray) -> None:
        self._beside(
            "INSERT INTO {schema}.snapshots VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", [revision, version, dump]
        )

    def drop_snapshot(self, revision: int) -> None:
        self._beside("DELETE FROM {schema}.snapshots WHERE revision = %s", [revision])

    # ---- connections

    def _connect(self) -> psycopg.Connection[Any]:
        given = conninfo.conninfo_to_dict(self._url)
        patience = {key: value for key, value in _PATIENCE.items() if key not in given}
        db = psycopg.connect(conninfo.make_conninfo(self._url, **patience), autocommit=True)
        db.execute(f"SET synchronous_commit = {'on' if self._durable else 'off'}")
        return db

    @_told
    def _reader(self) -> psycopg.Connection[Any]:
        """A connection of its own, beside the writer's."""
        return self._connect()

    def _run(self, text: Any, values: Sequence[Any]) -> list[Any]:
        """One statement on the writer's connection; its rows, if it has any."""
        if self._db is None:
            raise StoreError("lost connection", "PostgreSQL: not connected")
        return self._rows_of(self._db, text, values)

    @_told
    def _beside(self, text: Any, values: Sequence[Any]) -> list[Any]:
        """One statement on a connection of its own: the writer need not wait for so many bytes."""
        with self._connect() as db:
            return self._rows_of(db, text, values)

    @_told
    def _asked(self, db: psycopg.Connection[Any], text: Any, values: Sequence[Any]) -> list[Any]:
        return self._rows_of(db, text, values)

    def _rows_of(self, db: psycopg.Connection[Any], text: Any, values: Sequence[Any]) -> list[Any]:
        found = db.execute(sql.SQL(text).format(schema=self._schema), values)
        return found.fetchall() if found.description else []
