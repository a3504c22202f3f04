"""Backups of a running server, and the drill that shows that they can be restored.

A backup holds for each tenant everything that was acknowledged when its copy was made: the journal with its snapshots,
the audit log, how far webhooks are, the notes of campaigns, and the models that learn. Left out are the records (a
projection, rebuilt on demand; holds of recordings, which no journal has, are in it, and all records of a journal that
was compacted) and, on purpose, the key stores of personal data: a subject that was erased must not come back from a
backup.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordboard import __version__
from cordboard.acd import Acd
from cordboard.center import Center
from cordboard.errors import CordboardError, InputError, MissingExtraError, StoreError, Where
from cordboard.live import backup_beside, backup_records
from cordboard.live.archive import BASE, Archive
from cordboard.live.backup_file import Opener, Seal, read_backup, write_backup
from cordboard.live.beside import records_place
from cordboard.live.compaction import note_backup
from cordboard.live.hub import Hub
from cordboard.live.settings import Settings
from cordboard.live.store import ROWS_AT_ONCE, make_store

FACTS = ("made", "center", "given", "skipped", BASE)
RECORDS = "records.db"
PREFIX = "cordboard_"


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that was made. ``seconds``: all in all; ``copied_s``: until the copies were made, which is how old a
    backup's latest entry is at most when it is done copying."""

    manifest: dict[str, Any]
    bytes: int
    seconds: float
    copied_s: float


@dataclass(frozen=True, slots=True)
class Drill:
    """A restore that was tried out. ``differences``: what is not as the manifest says; none if it is good.

    ``unpack_s``: opening, unpacking, checksums; ``recover_s``: until every center stood where it had been: together
    the time to have service back, once the file is at hand. ``replay_s``: replaying every journal from its beginning.
    """

    manifest: dict[str, Any]
    differences: list[str]
    unpack_s: float
    recover_s: float
    replay_s: float


# ---- taking one


def tenants_of(settings: Settings) -> list[str]:
    """The tenants whose journals are in a data folder or a database."""
    if not settings.database:
        return sorted(path.parent.name for path in Path(settings.data).glob("*/journal.db"))
    try:
        import psycopg
    except ImportError:
        raise MissingExtraError("psycopg", "postgres") from None

    query = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'journal' ORDER BY 1"
    try:
        with psycopg.connect(settings.database, connect_timeout=10) as db:
            found = [str(row[0]) for row in db.execute(query)]
    except psycopg.Error as error:
        raise StoreError("lost connection", f"PostgreSQL: {str(error).strip()}") from error
    return [name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX)]


def take(settings: Settings, target: Path, seal: Seal, *, replay: bool = True, records_at: str = "") -> Taken:
    """Make a backup of all tenants, beside a running server. ``replay``: replay the copies, for the manifest's counts
    of records; without, a drill can't compare those. ``records_at``: where the records are, if not beside the
    journals."""
    began = time.time()
    tenants = tenants_of(settings)
    if not tenants:
        raise InputError("there is no journal", Where(settings.database or str(settings.data)), "Name the data folder")
    with tempfile.TemporaryDirectory(prefix="cordboard-backup-") as name:
        folder = Path(name)
        files: dict[str, Path] = {}
        for tenant in tenants:
            files |= _copies(settings, tenant, folder, records_place(settings, tenant, records_at))
        for extra in Path(settings.data).glob("audit.public.jwks"):
            files[extra.name] = extra
        copied = time.time()
        kept = Settings(data=folder)
        told = {tenant: summary(kept, tenant) | (records(kept, tenant) if replay else {}) for tenant in tenants}
        for path in (one for one in files.values() if one.suffix == ".db"):
            _settle(path)
        manifest = {"format": 1, "cordboard": __version__, "began_at": began, "copied_at": copied, "tenants": told}
        size = write_backup(target, seal, manifest, files)
    for tenant, about in told.items():
        note_backup(settings.tenant_folder(tenant), about["revision"])
    return Taken(manifest, size, time.time() - began, copied - began)


def _copies(settings: Settings, tenant: str, folder: Path, records_at: tuple[str, str]) -> dict[str, Path]:
    """Copies of a tenant's files in the folder: name in the backup -> path."""
    here, there = folder / tenant, settings.tenant_folder(tenant)
    here.mkdir()
    kept = Settings(data=folder)
    # The records first: they must not be ahead of the journal.
    backup_records.copy(*records_at, here / RECORDS, whole=bool(_base(settings, tenant)))
    if settings.database:
        copy_journal(settings, kept, tenant)
    else:
        backup_beside.vacuum(there / "journal.db", here / "journal.db")
        _copy_beginning(settings, kept, tenant)
    names = ["journal.db", *(name for name in ("snapshots.db", RECORDS) if (here / name).exists())]
    found = {name: here / name for name in names} | backup_beside.copies(there, here)
    return {f"{tenant}/{name}": path for name, path in found.items()}


def _base(settings: Settings, tenant: str) -> int:
    """The revision after which a journal begins; more than 0 if it was compacted."""
    store = make_store(settings, tenant, read_only=True)
    with closing(store):
        store.open()
        return int(store.fact(BASE) or 0)


def _copy_beginning(source: Settings, target: Settings, tenant: str) -> None:
    """The snapshot with which a copied journal begins, if it was compacted."""
    base = _base(target, tenant)
    if not base:
        return
    there, here = make_store(source, tenant, read_only=True), make_store(target, tenant)
    with closing(there), closing(here):
        there.open()
        here.open()
        here.put_snapshot(base, dict(there.snapshots()).get(base, ""), there.snapshot(base))


def _settle(copy: Path) -> None:
    """Bring all of an SQLite file into the one file that is packed."""
    with closing(sqlite3.connect(copy)) as db:
        db.execute("PRAGMA journal_mode=DELETE")


def copy_journal(source: Settings, target: Settings, tenant: str) -> int:
    """Copy a tenant's journal, its latest snapshot and its facts from one store to another, which must be empty;
    returns its last revision. What is appended meanwhile is not copied."""
    there, here = make_store(source, tenant, read_only=True), make_store(target, tenant)
    with closing(there), closing(here):
        there.open()
        here.open()
        if here.last() or here.fact("made"):
            what, place = f'tenant "{tenant}" has a journal there already', target.database or str(target.data)
            raise InputError(what, Where(place), "Restore it to where there is none")
        last = there.last()
        rows = there.rows(until=last)
        while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
            here.append(some)
        facts = {key: value for key in FACTS if (value := there.fact(key)) is not None}
        base, listed = int(facts.get(BASE, 0)), there.snapshots()
        for revision, version in listed:
            if revision == base or (revision <= last and (revision, version) in listed[:2]):
                here.put_snapshot(revision, version, there.snapshot(revision))
        if facts:
            here.set_facts(facts)
    return last


# ---- what is in one


def _archive(settings: Settings, tenant: str) -> Archive:
    archive = Archive(make_store(settings, tenant), settings)
    archive.begin(Center((), ()))
    return archive


def summary(settings: Settings, tenant: str) -> dict[str, Any]:
    """Where a journal ends: revision, time, counts, and a digest of the state; found as a restart finds it."""
    archive = _archive(settings, tenant)
    with closing(archive.store):
        core = archive.recover(Hub(settings.history))
    state = {"revision": core.revision, "t": core.ticks / 1e6, "counts": core.acd.counts()}
    folder = settings.tenant_folder(tenant)
    more = backup_beside.told(folder) | backup_records.told(folder / RECORDS)
    return {**state, "state_sha256": digest(core.acd), **more}


def digest(acd: Acd) -> str:
    """SHA-256 over all that a center shows: counts, every queue with its contacts in order, every agent."""
    state = acd.state()
    for agent in state["agents"].values():
        agent["contacts"].sort()
    places = {queue.name: list(acd.positions(queue.name)) for queue in acd.center.queues}
    text = json.dumps([state, places], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def records(settings: Settings, tenant: str) -> dict[str, Any]:
    """How many records a journal makes, by a replay from its beginning; one that was compacted goes on from the records
    beside it, and without any there is nothing to tell."""
    archive = _archive(settings, tenant)
    with closing(archive.store):
        base = archive.base
        counts = {} if base else _counted(archive)
    if base:
        path = settings.tenant_folder(tenant) / RECORDS
        if not path.exists():
            return {}
        from cordboard.records import Records, steps_of_data

        with Records(path) as held:
            held.apply_steps(steps_of_data(settings, tenant, held.revision))
            counts = held.counts()
    return {"records": dict(sorted(counts.items()))}


def _counted(archive: Archive) -> dict[str, int]:
    from cordboard.records.projection import Projection, Step

    counts: Counter[str] = Counter()
    projection = Projection()
    for entry in archive.entries(0, archive.store.last()):
        projection.take(Step.of(entry))
        for row in projection.take_dirty():
            counts[row.table] += not row.stored
            row.stored = True
    return counts


# ---- restoring one


def restore(source: Path, opener: Opener, folder: Path) -> dict[str, Any]:
    """Unpack a backup into a data folder that does not exist or is empty; returns its manifest."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError("the folder is not empty", Where(str(folder)), "Restore into a new one, and move it then")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return read_backup(source, opener, folder)
    except BaseException:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if made:
            folder.rmdir()
        raise


def restore_database(source: Path, opener: Opener, database: str) -> dict[str, Any]:
    """Unpack a backup's journals, and the records that are in it, into PostgreSQL, where these tenants must have none;
    returns its manifest."""
    with tempfile.TemporaryDirectory(prefix="cordboard-restore-") as name:
        manifest = restore(source, opener, Path(name))
        for tenant in manifest["tenants"]:
            here, there = Settings(data=name), Settings(data=name, database=database)
            copy_journal(here, there, tenant)
            backup_records.restore(here.tenant_folder(tenant) / RECORDS, *records_place(there, tenant))
    return manifest


def drill(source: Path, opener: Opener) -> Drill:
    """Restore a backup into a temporary folder, bring every center to where it was, and compare with the manifest."""
    times = [time.perf_counter()]
    with tempfile.TemporaryDirectory(prefix="cordboard-drill-") as name:
        settings = Settings(data=name)
        manifest = restore(source, opener, Path(name))
        times.append(time.perf_counter())
        found, differences = {}, []
        for tenant in manifest["tenants"]:
            try:
                found[tenant] = summary(settings, tenant)
            except CordboardError as error:
                differences.append(f"{tenant}: {error}")
        times.append(time.perf_counter())
        for tenant, state in found.items():
            if "records" in manifest["tenants"][tenant]:
                state |= records(settings, tenant)
        times.append(time.perf_counter())
    for tenant, state in found.items():
        differences += _differences(tenant, manifest["tenants"][tenant], state)
    spans = [after - before for before, after in itertools.pairwise(times)]
    return Drill(manifest, differences, spans[0], spans[1], spans[2])


def _differences(tenant: str, said: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for key, value in said.items():
        if found.get(key) != value:
            yield f"{tenant}: {key} is {_short(found.get(key))}, the manifest says {_short(value)}"
    if "records" in found:
        made, counts = found["records"], found["counts"]
        for table, count in (("contacts", "entered"), ("outcomes", "ended")):
            if made.get(table, 0) != counts[count]:
                yield f"{tenant}: {counts[count]} contacts {count}, but the records have {made.get(table, 0)} {table}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."
