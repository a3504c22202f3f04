"""Records in a database: SQLite or PostgreSQL, through SQLAlchemy's Core; the schema's changes by Alembic.

A batch is stored in one transaction together with the revision it ends at, so every entry is in the records exactly
once, whatever is applied again after a crash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cordboard.errors import DataError, InputError, MissingExtraError
from cordboard.records.projection import KEYS, EntryLike, Projection, Row, Step

try:
    import sqlalchemy as sa
    from sqlalchemy import event as sa_event

    from cordboard.records.tables import METADATA, TABLES, checkpoint
except ImportError as error:  # pragma: no cover  (an installation without the extra)
    raise MissingExtraError("sqlalchemy", "serve") from error

BATCH = 2000  # steps a transaction
MIGRATIONS = Path(__file__).parent / "migrations"
LATEST = "0003"  # the last of them


def database_url(place: str) -> sa.URL:
    """A PostgreSQL address as it is; anything else is the path of an SQLite file."""
    if place.startswith(("postgresql:", "postgresql+", "postgres:")):
        try:
            return sa.make_url(place).set(drivername="postgresql+psycopg")
        except sa.exc.ArgumentError as error:
            raise InputError(f"not an address of a database: {error}", hint="postgresql://USER@HOST/NAME") from None
    if place.startswith("sqlite:"):
        return sa.make_url(place)
    return sa.URL.create("sqlite", database=place)


# What a database raises when it can't be reached or written.
DATABASE_ERRORS: tuple[type[Exception], ...] = (sa.exc.SQLAlchemyError, OSError)


def connect(url: sa.URL, schema: str = "") -> sa.Engine:
    """SQLAlchemy's engine for the address; in PostgreSQL with a schema of its own, which is made."""
    try:
        engine = sa.create_engine(url, hide_parameters=True)  # errors are logged, and rows have customers
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "psycopg", "postgres") from error
    if engine.dialect.name == "sqlite":

        @sa_event.listens_for(engine, "connect")
        def prepare(connection: Any, _: Any) -> None:
            # What is lost when the power goes is applied again from the journal, with the checkpoint that was lost too.
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000"):
                connection.execute(f"PRAGMA {pragma}")

    elif schema:

        @sa_event.listens_for(engine, "connect", insert=True)  # before SQLAlchemy asks for the schema in use
        def choose(connection: Any, _: Any) -> None:
            name = '"' + schema.replace('"', '""') + '"'
            connection.autocommit = True
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
            connection.execute(f"SET search_path TO {name}")
            connection.autocommit = False

    return engine


class Records:
    """The records of one journal. One writer at a time; not thread-safe.

    ``place``: an SQLite file or a PostgreSQL address; ``schema``: within the latter, the usual one if empty.
    ``engine``: SQLAlchemy's.
    """

    def __init__(self, place: str | Path, schema: str = "") -> None:
        self.url = database_url(str(place))
        self.engine = connect(self.url, schema)
        self._projection: Projection | None = None
        self.migrate()

    @property
    def revision(self) -> int:
        """The last revision that is in the records; 0 for none."""
        return self.checkpoint()[0]

    def checkpoint(self) -> tuple[int, float]:
        """The last revision that is in the records, and its time."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(checkpoint.c.revision, checkpoint.c.t)).one()
        return row[0], row[1]

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- schema

    def migrate(self) -> None:
        """Bring the tables to this version's schema, if they are not at it."""
        if self._schema() == LATEST:
            return
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if connection.execute(sa.select(checkpoint.c.id)).first() is None:
                connection.execute(checkpoint.insert().values(id=1, revision=0, t=0.0))

    def _schema(self) -> str | None:
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def drop(self) -> None:
        """Drop every table of the records, and what Alembic knows of them."""
        self._projection = None
        with self.engine.begin() as connection:
            METADATA.drop_all(connection)
            connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))

    # ---- in

    def apply(self, entries: Iterable[EntryLike], batch: int = BATCH) -> int:
        """Book the entries that are not in the records yet; returns how many. ``batch`` entries a transaction."""
        return self.apply_steps((Step.of(entry) for entry in entries), batch)

    def apply_steps(self, steps: Iterable[Step], batch: int = BATCH) -> int:
        """As :meth:`apply`. If the database fails, what was committed stays; applying all again goes on from there."""
        try:
            return self._apply(steps, batch)
        except BaseException:
            self._projection = None  # it may be ahead of the database: read it back next time
            raise

    def rebuild(self, steps: Iterable[Step], batch: int = BATCH, progress: Callable[[int], None] | None = None) -> int:
        """Drop everything and book the journal from its beginning."""
        self.drop()
        self.migrate()

        def told() -> Iterator[Step]:
            for step in steps:
                if progress is not None:
                    progress(step.revision)
                yield step

        return self.apply_steps(told(), batch)

    def _apply(self, steps: Iterable[Step], batch: int) -> int:
        projection = self._projection = self._projection or self._resume()
        before, pending, total = projection.revision, 0, 0
        for step in steps:
            if step.revision <= projection.revision:
                continue
            projection.take(step)
            pending += 1
            total += 1
            if pending == batch:
                self._store(projection, before)
                before, pending = projection.revision, 0
        if pending:
            self._store(projection, before)
        return total

    def _store(self, projection: Projection, before: int) -> None:
        new: dict[str, list[Row]] = {table: [] for table in KEYS}
        old: dict[str, list[Row]] = {table: [] for table in KEYS}
        for row in projection.take_dirty():
            (old if row.stored else new)[row.table].append(row)
            row.stored = True
        with self.engine.begin() as connection:
            # First, so that a second writer waits here and then finds that it is late.
            moved = connection.execute(
                checkpoint.update()
                .where(checkpoint.c.revision == before)
                .values(revision=projection.revision, t=projection.t)
            )
            if moved.rowcount != 1:
                raise DataError(
                    f"the records are not at revision {before} any more: someone else writes them",
                    hint="Let one process write the records of a journal",
                )
            for table, rows in old.items():
                if rows:
                    connection.execute(_update(table), [_bound(row) for row in rows])
            for table, rows in new.items():
                if rows:
                    connection.execute(TABLES[table].insert(), [row.values for row in rows])

    def _resume(self) -> Projection:
        """A projection as it was at the checkpoint, from the rows that are not over."""
        legs, offers, contacts = TABLES["legs"], TABLES["offers"], TABLES["contacts"]
        wrapping = legs.c.wrap_up_until.is_not(None) & legs.c.wrap_up_ended_revision.is_(None)
        conditions = {
            "contacts": contacts.c.ended_revision.is_(None),
            "legs": legs.c.ended_revision.is_(None) | wrapping,
            "offers": offers.c.ended_revision.is_(None),
            "agent_states": TABLES["agent_states"].c.ended_revision.is_(None),
            "recordings": TABLES["recordings"].c.ended_revision.is_(None),
        }
        missed = sa.func.sum(sa.case((offers.c.outcome.in_(["declined", "expired"]), 1), else_=0))
        made = (
            sa.select(offers.c.contact_revision, sa.func.count(), missed)
            .join(contacts, contacts.c.revision == offers.c.contact_revision)
            .where(contacts.c.ended_revision.is_(None))
            .group_by(offers.c.contact_revision)
        )
        with self.engine.connect() as connection:
            rows = [
                Row(table, dict(found), stored=True)
                for table, condition in conditions.items()
                for found in connection.execute(_ordered(table).where(condition)).mappings()
            ]
            counts = {key: (count, int(lost)) for key, count, lost in connection.execute(made)}
        return Projection(rows, counts, self.revision)

    # ---- out

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        with self.engine.connect() as connection:
            return {
                name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                for name, table in TABLES.items()
            }

    def rows(self, table: str, **where: Any) -> Iterator[dict[str, Any]]:
        """The rows of a table in the order of their key; with ``where``, those whose columns have these values."""
        wanted = _ordered(table)
        for column, value in where.items():
            wanted = wanted.where(TABLES[table].c[column] == value)
        with self.engine.connect() as connection:
            for row in connection.execution_options(yield_per=1000).execute(wanted).mappings():
                yield dict(row)

    def dump(self) -> Iterator[bytes]:
        """All records, one canonical line a row: equal bytes mean equal records, whatever the database."""
        revision, t = self.checkpoint()
        yield _line(["checkpoint", revision, t])
        for name, table in TABLES.items():
            names = [column.name for column in table.columns]
            for row in self.rows(name):
                yield _line([name, *(row[column] for column in names)])

    def digest(self) -> str:
        """SHA-256 of the dump."""
        found = hashlib.sha256()
        for line in self.dump():
            found.update(line)
        return found.hexdigest()


def _line(values: list[Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _ordered(table: str) -> sa.Select[Any]:
    found = TABLES[table]
    return sa.select(found).order_by(*(found.c[key] for key in KEYS[table]))


def _update(table: str) -> sa.Update:
    """Every column that can change, by primary key."""
    found, keys = TABLES[table], KEYS[table]
    wanted = found.update().values({c.name: sa.bindparam(c.name) for c in found.columns if c.name in CHANGING[table]})
    for key in keys:
        wanted = wanted.where(found.c[key] == sa.bindparam(f"key_{key}"))
    return wanted


CHANGING: Mapping[str, frozenset[str]] = {
    "contacts": frozenset({"priority", "ended_at", "ended_revision"}),
    "legs": frozenset(
        {"ended_at", "ended_revision", "ended_by", "wrap_up_until", "wrap_up_ended_at", "wrap_up_ended_revision"}
    ),
    "offers": frozenset({"ended_at", "ended_revision", "outcome", "reason"}),
    "agent_states": frozenset({"ended_at", "ended_revision"}),
    "outcomes": frozenset(),
    "ratings": frozenset(),
    "recordings": frozenset({"file", "seconds", "missing", "state", "ended_at", "ended_revision"}),
}


def _bound(row: Row) -> dict[str, Any]:
    bound = {column: row.values[column] for column in CHANGING[row.table]}
    return bound | {f"key_{key}": row.values[key] for key in KEYS[row.table]}
