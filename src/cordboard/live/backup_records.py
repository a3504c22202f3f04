"""The records in a backup: what of them is not made of the journal (holds and deletions of recordings), or all of them
where the journal does not go back to its beginning. Whatever database they are in, in the backup they are an SQLite
file, and are restored from it to either.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cordboard.errors import InputError, StoreError, Where
from cordboard.live.backup_beside import vacuum

if TYPE_CHECKING:
    import sqlalchemy as sa

CARE = "recording_care"
POSTGRES = ("postgresql:", "postgresql+", "postgres:")
ROWS_AT_ONCE = 1000

log = logging.getLogger(__name__)


def copy(place: str, schema: str, target: Path, *, whole: bool) -> None:
    """Copy the records of a tenant to an SQLite file: all of them (``whole``), or the care of recordings alone, which
    becomes the whole records when they are booked again. Without records, or any care, there is no file.

    ``place``, ``schema``: as in ``beside.records_place``. Nothing is made or changed there.
    """
    if place.startswith(POSTGRES):
        _from_database(place, schema, target, whole)
    elif (path := Path(place.removeprefix("sqlite:///"))).exists():
        (vacuum if whole else _care)(path, target)


def _care(source: Path, target: Path) -> None:
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as db:
            made = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", [CARE]).fetchone()
            rows = db.execute(f"SELECT * FROM {CARE}").fetchall() if made else []
    except sqlite3.DatabaseError as error:
        log.warning("holds of recordings are not in the backup: %s: %s", source, error)
        return
    if rows:
        with closing(sqlite3.connect(target)) as db, db:
            db.execute(made[0])
            db.executemany(f"INSERT INTO {CARE} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _from_database(place: str, schema: str, target: Path, whole: bool) -> None:
    """From PostgreSQL, all tables as they stood at one instant; whoever books goes on."""
    import sqlalchemy as sa

    from cordboard.records.database import LATEST, Records, connect, database_url
    from cordboard.records.tables import KEPT, METADATA

    source = connect(database_url(place))
    options = {"isolation_level": "REPEATABLE READ", "schema_translate_map": {None: schema}, "stream_results": True}
    try:
        with source.connect().execution_options(**options) as there:
            look = sa.inspect(there)
            if not look.has_table(CARE, schema=schema):
                return
            version = sa.text(f"SELECT version_num FROM {_quoted(schema)}.alembic_version")
            if whole and there.execute(version).scalar() != LATEST:
                raise StoreError("unusable", f"{schema}: records of another version; start this version's server first")
            care = KEPT.tables[CARE]
            if not whole and there.execute(sa.select(care).limit(1)).first() is None:
                return
            if whole:
                Records(target).close()  # makes the tables
            here = connect(database_url(str(target)))
            try:
                with closing(here.connect()) as copied, copied.begin():
                    KEPT.create_all(copied)  # where there is the care alone
                    for table in (care, *(METADATA.sorted_tables if whole else ())):
                        _copy_rows(there, copied, table)
            finally:
                here.dispose()
    except sa.exc.SQLAlchemyError as error:
        raise StoreError("lost connection", f"PostgreSQL: {error}") from error
    finally:
        source.dispose()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _copy_rows(source: sa.Connection, target: sa.Connection, table: sa.Table) -> None:
    """What is in one table into the other, in place of what is there."""
    target.execute(table.delete())
    found = source.execute(table.select(), execution_options={"yield_per": ROWS_AT_ONCE})
    for rows in found.mappings().partitions():
        target.execute(table.insert(), [dict(row) for row in rows])


def restore(source: Path, place: str, schema: str) -> None:
    """Bring the records of a backup, if it has any, into PostgreSQL. InputError if there are some already."""
    from cordboard.records.database import Records, connect, database_url
    from cordboard.records.tables import KEPT, METADATA

    if not source.exists():
        return
    import sqlalchemy as sa

    here = connect(database_url(str(source)))
    try:
        with Records(place, schema) as records, closing(here.connect()) as from_, records.engine.begin() as to:
            care = KEPT.tables[CARE]
            if records.revision or to.execute(sa.select(care).limit(1)).first() is not None:
                raise InputError("there are records already", Where(schema), "Restore it to where there is none")
            whole = sa.inspect(from_).has_table("checkpoint")
            for table in (care, *(METADATA.sorted_tables if whole else ())):
                _copy_rows(from_, to, table)
    finally:
        here.dispose()


def told(path: Path) -> dict[str, Any]:
    """What can be told of the care of recordings in a copy: how many rows, and a digest of them."""
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            rows = db.execute(f"SELECT * FROM {CARE} ORDER BY recording").fetchall()
    except sqlite3.Error as error:
        return {"care": str(error)}
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    return {"care": {"recordings": len(rows), "sha256": digest}} if rows else {}
