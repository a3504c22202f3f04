"""Personal data: found again, kept apart, shredded, and nowhere else."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.errors import InputError, LimitError, StoreError
from cordboard.live import Engine, Settings, privacy, tokens
from cordboard.live.audit_check import verify
from cordboard.live.privacy import Cipher, KeyStore, about_subject, new_master, read_master

NUMBER = "+86 138 0013 8000"
MASTER = Cipher(bytes(range(32)))
texts = st.text(max_size=40)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path


def opened(folder: Path, **options: object) -> KeyStore:
    return KeyStore(folder / "keys.db", options.pop("master", MASTER), **options)


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("keys.db*"))


@given(st.binary(max_size=200), texts, texts)
def test_what_is_sealed_opens_with_its_key_and_purpose_alone(content, about, other):
    sealed = MASTER.seal(content, about)
    assert MASTER.open(sealed, about) == content and MASTER.seal(content, about) != sealed
    with pytest.raises(InputError):
        Cipher(bytes(32)).open(sealed, about)
    if about.encode("utf-8", "replace") != other.encode("utf-8", "replace"):
        with pytest.raises(InputError):
            MASTER.open(sealed, other)


@given(st.data())
def test_any_changed_byte_of_what_is_sealed_is_noticed(data):
    sealed = bytearray(MASTER.seal(b"+8613800138000", "x"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InputError):
        MASTER.open(bytes(sealed), "x")
    with pytest.raises(InputError):
        MASTER.open(bytes(sealed[: data.draw(st.integers(0, 20))]), "x")


def test_a_customer_is_one_subject_now_and_after_a_restart_and_another_one_elsewhere(folder):
    store = opened(folder)
    assert store.known(NUMBER) is None
    subject = store.subject(NUMBER).result(10)
    assert subject == store.known(NUMBER) == store.subject(NUMBER).result(10) and NUMBER[4:] not in subject
    assert store.customer(subject) == NUMBER and store.subject("else").result(10) != subject
    store.close()
    store = opened(folder)
    assert store.known(NUMBER) == subject and store.customer(subject) == NUMBER
    store.close()
    other = KeyStore(folder / "other.db", MASTER, tenant="globex")
    assert other.subject(NUMBER).result(10) != subject
    other.close()


def test_many_at_once_make_one_subject_each(folder):
    store = opened(folder)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: (i % 50, store.subject(f"customer {i % 50}").result(30)), range(800)))
    assert len(set(found)) == 50 and len({subject for _, subject in found}) == 50
    store.close()


def test_one_who_waits_and_goes_away_takes_nothing_from_the_others(folder):
    store = opened(folder)
    waiting = [store.subject("somebody") for _ in range(5)]
    assert not waiting[0].cancel()
    assert {one.result(10) for one in waiting} == {store.known("somebody")}
    store.close()


def test_two_processes_agree_about_a_subject(folder):
    one, two = opened(folder), opened(folder)
    assert one.subject(NUMBER).result(10) == two.subject(NUMBER).result(10)
    assert two.erase(one.known(NUMBER)).result(10) and one.known(NUMBER) is None
    one.close(), two.close()


def test_nothing_of_a_customer_stands_in_the_file_in_the_clear(folder):
    store = opened(folder)
    store.subject(NUMBER).result(10)
    assert NUMBER.encode() not in bytes_of(folder)
    assert stat.S_IMODE(os.stat(folder / "keys.db").st_mode) == 0o600
    store.close()


def test_an_erased_subject_leads_nowhere_and_its_key_is_not_even_in_the_remains_of_the_file(folder):
    store = opened(folder)
    subjects = [store.subject(f"customer {i}").result(10) for i in range(30)]
    victim = store.subject(NUMBER).result(10)
    with sqlite3.connect(folder / "keys.db") as db:
        wrapped, sealed = db.execute("SELECT wrapped, sealed FROM subjects WHERE subject = ?", (victim,)).fetchone()
    assert wrapped in bytes_of(folder) or (folder / "keys.db-wal").exists()
    assert store.erase(victim).result(10) and not store.erase(victim).result(10)
    assert store.customer(victim) is None and store.known(NUMBER) is None and store.seen(victim) is None
    remains = bytes_of(folder)
    assert wrapped not in remains and sealed not in remains and victim.encode() not in remains
    assert store.subject(NUMBER).result(10) != victim  # somebody new
    assert [store.known(f"customer {i}") for i in range(30)] == subjects
    store.close()


def test_a_backup_of_the_store_forgets_too_when_its_days_are_over(folder):
    now = [1_800_000_000.0]
    store = opened(folder, clock=lambda: now[0])
    subject = store.subject(NUMBER).result(10)
    copy, gone = store.backup(folder / "copies", keep_days=7)
    assert not gone and stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    store.erase(subject).result(10)
    restored = KeyStore(copy, MASTER)
    assert restored.customer(subject) == NUMBER  # until then
    restored.close()
    now[0] += 8 * 86400
    fresh, gone = store.backup(folder / "copies", keep_days=7)
    assert gone == [copy] and not copy.exists()
    restored = KeyStore(fresh, MASTER)
    assert restored.customer(subject) is None
    restored.close()
    store.close()


def test_who_was_not_seen_for_long_is_forgotten_and_who_was_is_not(folder):
    now = [1_800_000_000.0]
    store = opened(folder, clock=lambda: now[0])
    old, regular = store.subject("old").result(10), store.subject("regular").result(10)
    now[0] += 40 * 86400
    store.subject("regular").result(10)
    assert store.erase_unseen(now[0] - 30 * 86400).result(10) == [old]
    assert store.customer(old) is None and store.customer(regular) == "regular"
    assert store.seen(regular) == (1_800_000_000.0, now[0])
    store.close()


def test_another_master_key_opens_nothing_and_a_changed_one_everything(folder):
    store = opened(folder)
    subject = store.subject(NUMBER).result(10)
    fresh = Cipher(bytes(32))
    with pytest.raises(InputError, match="right master key"):
        opened(folder, master=fresh)
    assert store.rewrap(fresh) == 1 and store.customer(subject) == NUMBER
    store.close()
    store = opened(folder, master=fresh)
    assert store.known(NUMBER) == subject and store.customer(subject) == NUMBER
    store.close()
    with pytest.raises(InputError):
        opened(folder)


def test_a_row_of_one_tenant_or_subject_can_t_be_passed_off_as_anothers(folder):
    store = opened(folder)
    one, two = store.subject("one").result(10), store.subject("two").result(10)
    with sqlite3.connect(folder / "keys.db") as db:
        db.execute("UPDATE subjects SET sealed = (SELECT sealed FROM subjects WHERE subject = ?), wrapped ="
                   " (SELECT wrapped FROM subjects WHERE subject = ?) WHERE subject = ?", (one, one, two))
    with pytest.raises(InputError):
        store.customer(two)
    store.close()
    with pytest.raises(InputError):
        opened(folder, tenant="globex")


def test_a_store_that_fails_says_so_and_loses_nobody(folder, monkeypatch):
    store = opened(folder)
    monkeypatch.setattr(store, "_row", lambda customer: ("too", "few"))
    with pytest.raises(StoreError):
        store.subject("x").result(10)
    monkeypatch.undo()
    assert store.subject("x").result(10) == store.known("x")
    monkeypatch.setattr(privacy, "PENDING_MAX", 0)
    with pytest.raises(LimitError):
        store.subject("y")
    store.close()


@pytest.mark.parametrize("text", ["", "x", base64.b64encode(bytes(16)).decode(), "%%%", base64.b64encode(bytes(33)).decode()])
def test_what_is_no_master_key_is_refused_without_being_shown(folder, text):
    path = folder / "master.key"
    path.write_text(text)
    path.chmod(0o600)
    for read in (lambda: read_master(path), lambda: read_master(None, {privacy.ENVIRONMENT: text})):
        with pytest.raises(InputError, match="cordboard privacy key") as refused:
            read()
        assert len(text) < 4 or text not in str(refused.value)


def test_a_master_key_comes_from_a_closed_file_or_from_the_environment(folder):
    path = folder / "master.key"
    sealed = new_master(path).seal(b"x", "y")
    assert read_master(path).open(sealed, "y") == b"x"
    assert read_master(None, {privacy.ENVIRONMENT: path.read_text()}).open(sealed, "y") == b"x"
    with pytest.raises(InputError, match="already"):
        new_master(path)
    path.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        read_master(path)


def test_an_export_has_the_events_of_the_subjects_contacts_and_of_nobody_elses():
    events = [
        {"event": "contact_queued", "contact": "a", "customer": "s-1"}, {"event": "contact_queued", "contact": "b", "customer": "s-2"},
        {"event": "offer_accepted", "contact": "a", "agent": "li"}, {"event": "contact_ended", "contact": "b"}, {"event": "agent_ready", "agent": "li"},
        {"event": "contact_ended", "contact": "a"}, {"event": "contact_queued", "contact": "a"}, {"event": "contact_left", "contact": "a"},
    ]
    assert about_subject(events, "s-1") == [events[0], events[2], events[5]]
    assert about_subject(events, "s-3") == []


CENTER = '[queues.billing]\nsticky = true\n[agents.li]\n[agents.wang]\n'


def worked(folder: Path, database: str = "") -> str:
    """A data folder with a journal in which a customer called twice; gives the subject."""
    master = new_master(folder / "master.key")
    store = KeyStore(folder / "default" / "privacy" / "keys.db", master)
    engine = Engine.open(parse_center(CENTER), Settings(data=folder, database=database))
    subject = store.subject(NUMBER).result(10)
    for event in (
        {"event": "agent_ready", "agent": "li"}, {"event": "contact_queued", "contact": "c1", "queue": "billing", "customer": subject},
        {"event": "offer_accepted", "contact": "c1", "agent": "li"}, {"event": "contact_ended", "contact": "c1"}, {"event": "agent_ready", "agent": "wang"},
        {"event": "contact_queued", "contact": "c2", "queue": "billing", "customer": store.subject(NUMBER).result(10)},
    ):
        entry = engine.submit(event).result(10).entry
        assert entry.error is None
    assert [e["agent"] for e in entry.effects if e["effect"] == "offer"] == ["li"]  # the customer's own, though wang waits longer
    engine.close()
    store.close()
    return subject


def test_the_command_exports_erases_and_keeps_to_retention_and_all_is_audited(folder, capsys):
    def run(*args: object, status: int = 0) -> dict:
        assert main(["privacy", "--json", *map(str, args)]) == status
        return json.loads(capsys.readouterr().out or "{}")

    subject = worked(folder)
    whole = run("export", "--data", folder, "--customer", NUMBER)
    assert whole["customer"] == NUMBER and whole["subject"] == subject
    assert [event["event"] for event in whole["events"]] == ["contact_queued", "offer_accepted", "contact_ended", "contact_queued"]
    copy = run("backup", folder / "copies", "--data", folder)["written"]
    assert Path(copy).exists()
    assert run("rotate", folder / "new.key", "--data", folder)["subjects"] == 1
    run("export", "--data", folder, "--customer", NUMBER, status=2)  # the old key opens nothing any more
    master = ["--master", folder / "new.key"]
    assert run("erase", "--data", folder, "--customer", NUMBER, *master)["subject"] == subject
    run("erase", "--data", folder, "--customer", NUMBER, *master, status=1)
    run("export", "--data", folder, "--customer", NUMBER, *master, status=1)
    assert run("retain", "--days", "30", "--data", folder, *master) == {"erased": 0}
    log = folder / "default" / "audit-commands"
    assert verify(log, tokens.read_keys(folder / "audit.public.jwks")).whole
    text = (log / "audit-00000001.log").read_text()
    assert NUMBER not in text and NUMBER[4:] not in text and NUMBER.replace(" ", "") not in text
    done = [(r["action"], r["outcome"]) for r in (json.loads(line[65:]) for line in text.splitlines()) if r["kind"] == "record"]
    assert done == [
        ("privacy export", "OK"), ("privacy backup", "OK"), ("privacy rotate", "OK"), ("privacy erase", "OK"),
        ("privacy erase", "NOT_FOUND"), ("privacy export", "NOT_FOUND"), ("privacy retain", "OK"),
    ]


def test_an_export_reads_a_journal_in_postgresql_while_its_server_is_at_work(folder, postgres_url, capsys):
    subject = worked(folder, postgres_url)
    given = ["privacy", "--json", "export", "--data", str(folder), "--customer", NUMBER]
    with Engine.open(parse_center(CENTER), Settings(data=folder, database=postgres_url)):
        assert main([*given, "--database", postgres_url]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["subject"] == subject and [event["revision"] for event in whole["events"]] == [2, 3, 4, 6]
    assert main(given) == 2  # there is no journal in the folder itself


def test_after_an_erasure_no_backup_of_the_journal_leads_to_the_customer(folder, capsys):
    subject = worked(folder)
    backup = (folder / "default" / "journal.db").read_bytes()
    assert NUMBER.encode() not in backup and subject.encode() in backup
    assert main(["privacy", "erase", "--data", str(folder), "--customer", NUMBER]) == 0
    store = KeyStore(folder / "default" / "privacy" / "keys.db", read_master(folder / "master.key"))
    assert store.customer(subject) is None and store.known(NUMBER) is None
    store.close()


def test_a_clock_of_its_own_is_not_needed(folder):
    store = opened(folder)
    before = time.time()
    created, seen = store.seen(store.subject("x").result(10))
    assert before - 1 <= created == seen <= time.time() + 1
    store.close()
