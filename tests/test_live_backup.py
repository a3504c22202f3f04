"""Backups of engines at work, what is in them and what is not, and drills that find what is wrong with them."""

from __future__ import annotations

import io
import json
import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("pyrage")
pytest.importorskip("sqlalchemy")

import psycopg
import pyrage

from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.errors import InputError
from cordboard.live import Engine, Settings, backup
from cordboard.live.backup_file import Opener, Seal, read_backup, write_backup
from cordboard.live.beside import records_place
from cordboard.recordings.index import Index, Wanted
from cordboard.records import Records, steps_of_data, steps_of_journal
from tests.clocks import until
from tests.test_live_compaction import compacted, settings_of, weeks
from tests.test_recordings import journal as recorded_journal

CENTER = parse_center("""
[queues.billing]
offer_timeout = 2
wrap_up = 1
[queues.sales]
max_waiting = 50
[agents.li]
skills = {}
[agents.wu]
skills = {}
""")
PLAIN, OPEN = Seal(plain=True), Opener()


class Load:
    """Calls without an end, until it is told to stop. ``acknowledged``: the last revision that was."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.acknowledged, self._stop = engine, 0, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        until(lambda: self.acknowledged > 50)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        chance, count, inside = random.Random(1), 0, []
        for agent in ("li", "wu"):
            self.engine.submit({"event": "agent_ready", "agent": agent}).result(10)
        while not self._stop.is_set():
            count += 1
            queue = chance.choice(["billing", "sales"])
            events = [{"event": "contact_queued", "contact": f"c{count}", "queue": queue}]
            inside.append(f"c{count}")
            if len(inside) > 20:
                events.append({"event": "contact_left", "contact": inside.pop(chance.randrange(20))})
            outcomes = self.engine.submit_many(events).result(10)
            for effect in outcomes[0].entry.effects:
                if effect["effect"] == "offer":
                    accepted = {"event": "offer_accepted", "contact": effect["contact"], "agent": effect["agent"]}
                    self.engine.submit(accepted).result(10)
            self.acknowledged = outcomes[-1].entry.revision


def data_with(folder: Path, contacts: int = 5) -> Settings:
    """A data folder of a closed engine with some contacts."""
    settings = Settings(data=folder)
    with Engine.open(CENTER, settings) as engine:
        events = [{"event": "contact_queued", "contact": f"c{i}", "queue": "billing"} for i in range(contacts)]
        engine.submit_many(events).result(10)
    return settings


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_backup_of_a_running_engine_has_all_that_was_acknowledged_and_can_be_restored(tmp_path, database, request):
    # given an engine under load, with a snapshot in its journal
    url = "" if database == "sqlite" else request.getfixturevalue("postgres_url")
    settings = Settings(data=tmp_path / "data", database=url)
    key = pyrage.x25519.Identity.generate()
    with Engine.open(CENTER, settings) as engine, Load(engine) as load:
        engine.snapshot()
        # when a backup is made
        before = load.acknowledged
        taken = backup.take(settings, tmp_path / "b.age", Seal((str(key.to_public()),)))
    # then nothing that was acknowledged before is missing, and the drill is good
    told = taken.manifest["tenants"]["default"]
    assert told["revision"] >= before and told["records"]["contacts"] == told["counts"]["entered"]
    assert (tmp_path / "b.age").read_bytes().startswith(b"age-encryption.org/v1")
    drill = backup.drill(tmp_path / "b.age", Opener((str(key),)))
    assert drill.differences == []
    # and an engine goes on from it
    backup.restore(tmp_path / "b.age", Opener((str(key),)), tmp_path / "restored")
    with Engine.open(CENTER, Settings(data=tmp_path / "restored")) as engine:
        assert engine.state.revision >= told["revision"]
        [outcome] = engine.submit_many([{"event": "contact_queued", "contact": "new", "queue": "billing"}]).result(10)
        assert outcome.entry.error is None


def test_a_backup_goes_into_postgresql_where_there_is_no_such_tenant(tmp_path, postgres_url):
    settings = data_with(tmp_path / "data")
    backup.take(settings, tmp_path / "b", PLAIN)
    manifest = backup.restore_database(tmp_path / "b", OPEN, postgres_url)
    there = Settings(data=tmp_path / "other", database=postgres_url)
    assert backup.summary(there, "default") == {
        key: value for key, value in manifest["tenants"]["default"].items() if key != "records"
    }
    with pytest.raises(InputError, match="has a journal there already"):
        backup.restore_database(tmp_path / "b", OPEN, postgres_url)


def test_keys_of_personal_data_and_records_stay_out_and_audit_and_webhooks_are_in(tmp_path):
    # given all that lies in a data folder, with an audit log whose last line is being written
    from cordboard.live.webhook_store import WebhookStore

    settings = data_with(tmp_path / "data")
    tenant = tmp_path / "data" / "default"
    for name in ("privacy/keys.db", "records.db"):
        (tenant / name).parent.mkdir(exist_ok=True)
        (tenant / name).write_bytes(b"secret")
    (tmp_path / "data" / "master.key").write_bytes(b"secret")
    (tenant / "audit").mkdir()
    (tenant / "audit" / "audit-00000001.log").write_bytes(b'{"n":1}\n{"n":2}\n{"n":')
    WebhookStore(tenant / "webhooks.db").begin("crm", 3)
    # when
    backup.take(settings, tmp_path / "b", PLAIN)
    backup.restore(tmp_path / "b", OPEN, tmp_path / "restored")
    # then
    found = {path.relative_to(tmp_path / "restored").as_posix() for path in (tmp_path / "restored").rglob("*") if path.is_file()}
    assert found == {"default/journal.db", "default/webhooks.db", "default/audit/audit-00000001.log"}
    assert (tmp_path / "restored" / "default" / "audit" / "audit-00000001.log").read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert WebhookStore(tmp_path / "restored" / "default" / "webhooks.db").endpoints() == [("crm", 3, "", 0)]


def test_holds_of_recordings_outlive_a_restore_and_the_records_are_booked_beside_them(tmp_path):
    # given records of a journal, with a recording that is held and one that was deleted
    floor = recorded_journal()
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in floor.journal)
    settings = data_with(tmp_path / "data")
    with Records(tmp_path / "data" / "default" / "records.db") as records:
        records.apply_steps(steps_of_journal(floor.center, io.BytesIO(lines)))
        index = Index(records)
        index.hold("r1", "boss", "case 12")
        (tmp_path / "r2.cbr").write_bytes(b"")
        assert index.delete(index.get("r2"), tmp_path, "cron")
    # when it is backed up and restored, and the records are booked again
    backup.take(settings, tmp_path / "b", PLAIN)
    backup.restore(tmp_path / "b", OPEN, tmp_path / "restored")
    with Records(tmp_path / "restored" / "default" / "records.db") as records:
        records.apply_steps(steps_of_journal(floor.center, io.BytesIO(lines)))
        index = Index(records)
        found = [(one.recording, one.held_why, one.deleted_by) for one in index.find(Wanted())]
    # then they are held and deleted as before
    assert found == [("r1", "case 12", None), ("r2", None, "cron"), ("r3", None, None)]


def restore_both(folder: Path, url: str) -> None:
    """Bring the backup ``b`` back into a folder, and into PostgreSQL in the place of what is there."""
    backup.restore(folder / "b", OPEN, folder / "restored")
    with psycopg.connect(url, autocommit=True) as db:
        for schema in ("cordboard_default", "cordboard_default_records"):
            db.execute(f"DROP SCHEMA {schema} CASCADE")
    backup.restore_database(folder / "b", OPEN, url)


def test_records_in_postgresql_are_backed_up_with_their_holds_and_restored_to_either(tmp_path, postgres_url):
    # given a journal in PostgreSQL, and records there with a recording that is held and one that was deleted
    floor = recorded_journal()
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in floor.journal)
    settings = Settings(data=tmp_path / "data", database=postgres_url)
    with Engine.open(CENTER, settings) as engine:
        engine.submit_many([{"event": "contact_queued", "contact": "c1", "queue": "billing"}]).result(10)
    place = records_place(settings, "default")
    with Records(*place) as records:
        records.apply_steps(steps_of_journal(floor.center, io.BytesIO(lines)))
        index = Index(records)
        index.hold("r1", "boss", "case 12")
        (tmp_path / "r2.cbr").write_bytes(b"")
        assert index.delete(index.get("r2"), tmp_path, "cron")
        before = b"".join(records.dump())
    # when it is backed up, drilled, and restored into SQLite, and into another schema's place
    assert main(["backup", str(settings.data), "--database", postgres_url, "--to", str(tmp_path / "b"), "--plain"]) == 0
    drill = backup.drill(tmp_path / "b", OPEN)
    assert drill.differences == [] and drill.manifest["tenants"]["default"]["care"]["recordings"] == 2
    restore_both(tmp_path, postgres_url)
    # then they are held and deleted as before, once the records are booked again, which gives the same ones
    for there in ((tmp_path / "restored" / "default" / "records.db",), place):
        with Records(*there) as records:
            records.apply_steps(steps_of_journal(floor.center, io.BytesIO(lines)))
            assert b"".join(records.dump()) == before
            found = [(one.recording, one.held_why, one.deleted_by) for one in Index(records).find(Wanted())]
        assert found == [("r1", "case 12", None), ("r2", None, "cron"), ("r3", None, None)]
    # and a hold is not restored over those that are there
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("DROP SCHEMA cordboard_default CASCADE")
    with pytest.raises(InputError, match="there are records already"):
        backup.restore_database(tmp_path / "b", OPEN, postgres_url)


def test_all_records_in_postgresql_are_in_the_backup_of_a_journal_that_has_forgotten_its_beginning(tmp_path, postgres_url):
    # given a journal of eight days whose records were booked before it forgot five of them
    settings = settings_of(tmp_path / "data", postgres_url, keep_days=3)
    place = records_place(settings, "default")
    weeks(settings, calls=20)
    with Records(*place) as records:
        records.apply_steps(steps_of_data(settings, "default"))
        before, contacts = b"".join(records.dump()), records.counts()["contacts"]
    assert compacted(settings).base > 0
    # when it is backed up, and restored to a folder and to the database
    taken = backup.take(settings, tmp_path / "b", PLAIN)
    assert taken.manifest["tenants"]["default"]["records"]["contacts"] == contacts == 160
    assert backup.drill(tmp_path / "b", OPEN).differences == []
    restore_both(tmp_path, postgres_url)
    # then the records are those of before
    for there in ((tmp_path / "restored" / "default" / "records.db",), place):
        with Records(*there) as records:
            assert b"".join(records.dump()) == before


def test_a_backup_makes_no_records_in_postgresql_where_there_are_none(tmp_path, postgres_url):
    settings = Settings(data=tmp_path / "data", database=postgres_url)
    with Engine.open(CENTER, settings) as engine:
        engine.submit_many([{"event": "contact_queued", "contact": "c1", "queue": "billing"}]).result(10)
    assert "care" not in backup.take(settings, tmp_path / "b", PLAIN).manifest["tenants"]["default"]
    with psycopg.connect(postgres_url) as db:
        schemas = {row[0] for row in db.execute("SELECT schema_name FROM information_schema.schemata")}
    assert "cordboard_default" in schemas and "cordboard_default_records" not in schemas


def test_two_tenants_are_kept_apart_in_one_backup(tmp_path):
    for tenant, contacts in (("a", 2), ("b", 3)):
        with Engine.open(CENTER, Settings(data=tmp_path / "data"), tenant=tenant) as engine:
            events = [{"event": "contact_queued", "contact": f"c{i}", "queue": "billing"} for i in range(contacts)]
            engine.submit_many(events).result(10)
    backup.take(Settings(data=tmp_path / "data"), tmp_path / "b", PLAIN)
    drill = backup.drill(tmp_path / "b", OPEN)
    assert drill.differences == []
    assert {name: told["revision"] for name, told in drill.manifest["tenants"].items()} == {"a": 2, "b": 3}


@pytest.mark.parametrize("sealed", [True, False])
def test_a_backup_that_is_damaged_anywhere_or_cut_off_is_refused_and_leaves_nothing(tmp_path, sealed):
    settings = data_with(tmp_path / "data", contacts=200)
    key = pyrage.x25519.Identity.generate()
    seal = Seal((str(key.to_public()),)) if sealed else PLAIN
    opener = Opener((str(key),)) if sealed else OPEN
    backup.take(settings, tmp_path / "b", seal)
    whole, chance = (tmp_path / "b").read_bytes(), random.Random(5)
    for attempt in range(30):
        place = chance.randrange(len(whole))
        # a flipped bit, or a file that ends too soon; gzip's own header bytes 3 to 9 mean nothing
        if attempt % 3 == 0:
            damaged = whole[:place]
        elif sealed or place > 9:
            damaged = whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :]
        else:
            continue
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            backup.restore(tmp_path / "damaged", opener, tmp_path / "restored")
        except InputError:
            assert not (tmp_path / "restored").exists()
        else:  # in a plain file the padding of the tar says nothing either; what was unpacked is as it was written
            assert not sealed and backup.summary(Settings(data=tmp_path / "restored"), "default")["counts"]["entered"] == 200
            for path in sorted((tmp_path / "restored").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            (tmp_path / "restored").rmdir()


def test_only_the_right_identity_or_passphrase_opens_it(tmp_path):
    settings = data_with(tmp_path / "data")
    key, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    backup.take(settings, tmp_path / "k", Seal((str(key.to_public()),)))
    backup.take(settings, tmp_path / "p", Seal(passphrase="right 口令"))
    for file, opener in (
        ("k", Opener((str(other),))),
        ("k", OPEN),
        ("p", Opener((str(key),))),
        ("k", Opener(("AGE-SECRET-KEY-NONE",))),
    ):
        with pytest.raises(InputError):
            backup.restore(tmp_path / file, opener, tmp_path / "restored")
        assert not (tmp_path / "restored").exists()
    assert backup.drill(tmp_path / "k", Opener((str(other), str(key)))).differences == []
    assert backup.drill(tmp_path / "p", Opener(passphrase="right 口令")).differences == []


def test_a_drill_finds_a_journal_that_is_not_what_the_manifest_says(tmp_path):
    # given a backup whose journal lost its last row before it was packed
    settings = data_with(tmp_path / "data")
    taken = backup.take(settings, tmp_path / "b", PLAIN)
    read_backup(tmp_path / "b", OPEN, tmp_path / "out")
    journal = tmp_path / "out" / "default" / "journal.db"
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute("DELETE FROM journal WHERE revision = 5")
    manifest = {key: value for key, value in taken.manifest.items() if key != "files"}
    write_backup(tmp_path / "b2", PLAIN, manifest, {"default/journal.db": journal})
    # when
    drill = backup.drill(tmp_path / "b2", OPEN)
    # then
    text = "\n".join(drill.differences)
    assert "revision is 4, the manifest says 5" in text and "state_sha256" in text and "records" in text


def test_a_backup_that_would_lead_out_of_its_folder_is_refused(tmp_path):
    inside = tmp_path / "x"
    inside.write_bytes(b"x")
    write_backup(tmp_path / "b", PLAIN, {"format": 1, "tenants": {}}, {"../outside": inside})
    (tmp_path / "deep").mkdir()
    with pytest.raises(InputError, match="not in the manifest"):
        backup.restore(tmp_path / "b", OPEN, tmp_path / "deep" / "restored")
    assert not (tmp_path / "deep" / "outside").exists()


def test_a_failed_backup_leaves_the_old_one_and_no_piece_of_itself(tmp_path, monkeypatch):
    settings = data_with(tmp_path / "data")
    backup.take(settings, tmp_path / "b", PLAIN)
    old = (tmp_path / "b").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cordboard.live.backup_file._pack", full)
    with pytest.raises(OSError, match="No space"):
        backup.take(settings, tmp_path / "b", PLAIN)
    assert (tmp_path / "b").read_bytes() == old and not (tmp_path / "b.part").exists()


def test_the_commands_back_up_drill_and_restore(tmp_path, capsys):
    data_with(tmp_path / "data")
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "recipients").write_text(f"# the operator\n{key.to_public()}\n", "utf-8")
    (tmp_path / "identity").write_text(f"# created\n{key}\n", "utf-8")
    file, identity = str(tmp_path / "b.age"), ["--identity", str(tmp_path / "identity")]
    command = ["backup", str(tmp_path / "data"), "--to", file]
    assert main([*command, "--recipients-file", str(tmp_path / "recipients"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["tenants"]["default"]["revision"] == 5 and made["copied_s"] <= made["seconds"]
    assert main(["restore", file, "--verify", "--json", *identity]) == 0
    drill = json.loads(capsys.readouterr().out)
    assert drill["good"] and drill["rto_s"] >= drill["recover_s"]
    assert main(["restore", file, "--verify", "--lang", "zh", *identity]) == 0
    assert "备份可用" in capsys.readouterr().out
    assert main(["restore", file, "--to", str(tmp_path / "new"), *identity]) == 0
    assert main(["restore", file, "--to", str(tmp_path / "new"), *identity]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(command) == 2 and "exactly one way" in capsys.readouterr().err
    assert main(["backup", str(tmp_path / "none"), "--to", file, "--plain"]) == 2
    assert main(["restore", str(tmp_path / "recipients"), "--verify"]) == 2
