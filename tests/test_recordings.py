"""The index of recordings and its command: found, held, kept, deleted, and every use of them is in the audit log."""

from __future__ import annotations

import io
import json
import os
import wave

import pytest

from cordboard.cli import main
from cordboard.errors import EventError, UnknownNameError
from cordboard.live.audit_check import verify
from cordboard.live.tokens import read_keys
from cordboard.media.simulated import FarEnd
from cordboard.recordings.index import Index, Wanted
from cordboard.records import Records, steps_of_journal
from tests.floor import CALLS, NODE, Floor
from tests.recorded import IDENTITY, recording

DAY_S = 86_400.0
RULE = CALLS.replace("music = ", "record = true\nkeep_days = 90\nmusic = ")


def journal() -> Floor:
    """r1: 11 s of 138 with li, whole; r2: wang's, whose node dies; r3: begun by hand, which the disk took only in part."""
    floor = Floor(calls=RULE)
    floor.ready("li")
    floor.call(FarEnd(hangs_up=15.0), caller="138")
    floor.run(30.0)
    floor.apply("agent_offline", agent="li")
    floor.ready("wang")
    floor.call(caller="139")
    floor.run(10.0)
    floor.apply("node_lost", node=NODE)
    floor.media = floor.node(floor.media.now)
    floor.apply("node_attached", node=NODE, capacity=1000, legs=[])
    floor.run(10.0)
    floor.call(FarEnd(hangs_up=15.0), caller="138")
    floor.run(10.0)
    [call] = floor.board.state.calls.values()
    leg = floor.board.state.legs[call.legs[0]]
    floor.apply("leg_recorded", node=NODE, recording="r3", file="r3.cbr", seconds=9.0, missing=2.5)
    assert leg.node == NODE
    floor.run(20.0)
    return floor


@pytest.fixture(scope="module")
def lines() -> tuple[Floor, bytes]:
    floor = journal()
    return floor, b"".join(json.dumps(event).encode() + b"\n" for event in floor.journal)


@pytest.fixture
def records(tmp_path, lines):
    (tmp_path / "data" / "default").mkdir(parents=True)
    with Records(tmp_path / "data" / "default" / "records.db") as made:
        made.apply_steps(steps_of_journal(lines[0].center, io.BytesIO(lines[1])))
        yield made


@pytest.fixture
def index(records):
    return Index(records, clock=lambda: 100.0 * DAY_S)


def names(found) -> list[str]:
    return [one.recording for one in found]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["r1", "r2", "r3"]),
        ({"agent": "li"}, ["r1"]),
        ({"queue": "billing"}, ["r1", "r2", "r3"]),
        ({"queue": "none"}, []),
        ({"person": "138"}, ["r1", "r3"]),
        ({"number": "4001"}, ["r1", "r2", "r3"]),
        ({"number": "4002"}, []),
        ({"state": "lost"}, ["r2"]),
        ({"state": "short"}, ["r3"]),
        ({"outcome": "answered"}, ["r1", "r2", "r3"]),
        ({"outcome": "abandoned"}, []),
        ({"longer": 10.0}, ["r1"]),
        ({"shorter": 10.0}, ["r3"]),
        ({"since": 20.0}, ["r2", "r3"]),
        ({"until": 20.0}, ["r1"]),
        ({"held": True}, []),
    ],
)
def test_recordings_are_found_by_what_is_known_of_them(index, wanted, found):
    assert names(index.find(Wanted(**wanted))) == found


def test_the_index_tells_all_of_a_recording(index):
    one = index.get("r1")
    assert (one.contact, one.queue, one.agent, one.caller, one.number, one.node) == ("c1", "billing", "li", "138", "4001", NODE)
    assert (one.began_at, one.seconds, one.state, one.outcome) == (4.0, 11.0, "whole", "answered")
    assert one.keep_until == 4.0 + 90 * DAY_S and one.file == "r1.cbr"
    assert index.get("r3").missing == 2.5
    with pytest.raises(UnknownNameError, match="no such recording"):
        index.get("r9")


def test_a_scope_of_queues_and_agents_is_kept_to_and_pages_follow_each_other(index):
    assert names(index.find(Wanted(), agents=["wang"])) == ["r2", "r3"]
    assert names(index.find(Wanted(), queues=[])) == []
    first = index.find(Wanted(), limit=2)
    assert names(first + index.find(Wanted(), after=(first[-1].revision, first[-1].recording))) == ["r1", "r2", "r3"]


def test_the_index_comes_out_equal_however_it_was_booked_and_holds_outlive_a_rebuilding(records, index, lines, tmp_path):
    index.hold("r1", "boss", "court")
    digest = records.digest()
    with Records(tmp_path / "other.db") as other:
        other.apply_steps(steps_of_journal(lines[0].center, io.BytesIO(lines[1])), batch=1)
        assert other.digest() == digest
    records.rebuild(steps_of_journal(lines[0].center, io.BytesIO(lines[1])))
    assert records.digest() == digest and index.get("r1").held_why == "court"


def test_what_is_held_is_not_deleted_and_what_was_deleted_is_not_held(index, tmp_path):
    for name in ("r1", "r2"):
        recording(tmp_path / f"{name}.cbr", [b"abcd"])
    index.hold("r1", "boss", "court")
    assert not index.delete(index.get("r1"), tmp_path, "cron") and (tmp_path / "r1.cbr").exists()
    assert index.delete(index.get("r2"), tmp_path, "cron") and not (tmp_path / "r2.cbr").exists()
    assert not index.delete(index.get("r3"), tmp_path, "cron")  # its file is on another machine
    assert index.get("r3").deleted_at is None
    with pytest.raises(EventError, match="is deleted"):
        index.hold("r2", "boss", "too late")
    assert index.get("r2").held_at is None
    index.release("r1")
    assert index.delete(index.get("r1"), tmp_path, "cron")


def test_a_file_that_a_crash_left_behind_is_deleted_the_next_time(index, tmp_path):
    recording(tmp_path / "r1.cbr", [b"abcd"])
    content = (tmp_path / "r1.cbr").read_bytes()
    index.delete(index.get("r1"), tmp_path, "cron")
    (tmp_path / "r1.cbr").write_bytes(content)
    assert index.sweep(tmp_path) == 1 and not (tmp_path / "r1.cbr").exists()


def test_due_is_what_was_kept_long_enough(index):
    assert names(index.due()) == ["r1", "r2", "r3"]
    assert names(index.due(4.0 + 90 * DAY_S + 1.0)) == ["r1"]


# ---- the command


@pytest.fixture
def run(tmp_path, records, capsys, monkeypatch):
    """The command; gives its status and the lines that it printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    (tmp_path / "key").write_text(IDENTITY)
    os.chmod(tmp_path / "key", 0o600)
    recording(tmp_path / "recordings" / "r1.cbr", [bytes(32_000)] * 11)
    recording(tmp_path / "recordings" / "r2.cbr", [bytes(32_000)] * 3, end=False)
    recording(tmp_path / "recordings" / "r3.cbr", [bytes(32_000)] * 9, missing=20_000)

    def call(action: str, *more: str) -> tuple[int, list[str]]:
        where = ["--folder", "recordings"] if action in ("play", "export", "verify", "purge") else []
        where += ["--identity", "key"] if action in ("play", "export", "verify") else []
        status = main(["--lang", "en", "recordings", action, "--json", "--data", "data", *where, *more])
        return status, capsys.readouterr().out.splitlines()

    return call


def audited(tmp_path) -> list[str]:
    folder = tmp_path / "data" / "default" / "audit-commands"
    verdict = verify(folder, read_keys(tmp_path / "data" / "audit.public.jwks"), tenant="default")
    assert verdict.whole
    lines = [json.loads(line[65:]) for file in sorted(folder.glob("*.log")) for line in file.read_bytes().splitlines()]
    return [f"{line['action']} {line.get('target', '')}".strip() for line in lines if line["kind"] == "record"]


def test_the_command_finds_exports_holds_and_deletes_and_all_of_it_is_audited(run, tmp_path):
    status, found = run("list", "--number", "138", "--agent", "li")
    assert status == 0 and [json.loads(line)["recording"] for line in found] == ["r1"]
    assert run("export", "r1", "--to", "r1.wav")[0] == 0
    with wave.open("r1.wav") as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 11 * 8000)
    assert run("hold", "r1", "--why", "court")[0] == 0
    assert json.loads(run("purge")[1][0]) == {"deleted": 2, "held": 1}
    assert sorted(path.name for path in (tmp_path / "recordings").iterdir()) == ["r1.cbr"]
    assert run("release", "r1")[0] == 0
    assert json.loads(run("purge")[1][0]) == {"deleted": 1, "held": 0}
    assert run("list")[1] == [] and len(run("list", "--deleted")[1]) == 3
    expected = ["list", "export r1", "hold r1", "purge r2", "purge r3", "release r1", "purge r1", "list", "list"]
    assert audited(tmp_path) == [f"recordings {one}" for one in expected]


def test_verify_names_what_is_not_as_it_was_recorded(run, tmp_path):
    status, told = run("verify")
    assert status == 0 and [json.loads(line)["state"] for line in told] == ["whole", "cut", "whole"]
    file = tmp_path / "recordings" / "r1.cbr"
    content = bytearray(file.read_bytes())
    content[-20_000] ^= 1
    file.write_bytes(content)
    (tmp_path / "recordings" / "r3.cbr").write_bytes((tmp_path / "recordings" / "r2.cbr").read_bytes())
    status, told = run("verify")
    assert status == 1 and [json.loads(line)["good"] for line in told] == [False, True, False]
    # what came before the change can be had, and the command says that it is not all
    assert run("export", "r1", "--to", "part.wav")[0] == 1
    with wave.open("part.wav") as out:
        assert out.getnframes() == 10 * 8000
    # a file that was put in another's place is not played as that
    assert run("export", "r3", "--to", "no.wav")[0] == 2 and not (tmp_path / "no.wav").exists()


def test_opus_is_a_sixth_of_its_size_or_less(run, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    assert run("export", "r1", "--to", "r1.opus")[0] == 0
    data, rate = soundfile.read(tmp_path / "r1.opus")
    assert rate in (8000, 48000) and len(data) / rate == pytest.approx(11.0, abs=0.1)
    assert (tmp_path / "r1.opus").stat().st_size < 11 * 32_000 / 6


def test_play_gives_the_player_a_wav_file_as_it_comes(run, tmp_path):
    status, _ = run("play", "r1", "--player", f"tee {tmp_path / 'played.wav'}")
    assert status == 0 and (tmp_path / "played.wav").stat().st_size == 44 + 11 * 32_000


def test_a_key_is_made_once_for_its_owner_alone_and_names_whom_to_seal_for(tmp_path, capsys):
    assert main(["recordings", "key", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.startswith("age1")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert main(["--lang", "en", "recordings", "key", str(tmp_path / "new")]) == 2


def test_whoever_is_erased_is_erased_from_the_recordings_but_for_what_is_held(index, tmp_path):
    for name in ("r1", "r3"):
        recording(tmp_path / f"{name}.cbr", [b"abcd"])
    index.hold("r1", "boss", "court")
    assert names(index.of("138")) == ["r1", "r3"]
    assert index.erase("138", tmp_path, "dpo") == (1, 1)
    assert [path.name for path in tmp_path.glob("*.cbr")] == ["r1.cbr"] and names(index.of("138")) == ["r1"]
    # where the file is on another machine it goes with the next purge there
    recording(tmp_path / "r2.cbr", [b"abcd"])
    assert index.erase("139", None, "dpo") == (1, 0) and index.sweep(tmp_path) == 1


def test_of_recordings_that_began_at_once_none_is_passed_over_at_the_end_of_a_page(index, records):
    from cordboard.records.tables import recordings as table

    with records.engine.begin() as connection:
        connection.execute(table.update().values(revision=7))
    pages, after = [], (0, "")
    while page := index.find(Wanted(), after=after, limit=1):
        pages += page
        after = (page[-1].revision, page[-1].recording)
    assert names(pages) == ["r1", "r2", "r3"]


def test_whom_a_campaign_called_is_found_and_erased_by_the_number_too(tmp_path, capsys, monkeypatch):
    from cordboard.campaigns.book import Book
    from cordboard.live.privacy import KeyStore, new_master
    from cordboard.live.tenants import keys_path
    from tests.test_campaign_calls import CAMPAIGN_CALLS, Dialed

    # Given two people of a list who were called and recorded; in the book stand their subjects
    calls = CAMPAIGN_CALLS + "[queues.spring]\nrecord = true\n"
    floor = Dialed({"1": FarEnd(rings=1.0, picks_up=2.0, hangs_up=9.0), "2": FarEnd(rings=1.0, picks_up=2.0, hangs_up=9.0)}, calls)
    floor.ready("li")
    floor.run(2.0)
    for entry in ("1", "2"):
        floor.dial(entry)
        floor.run(30.0)
    home = tmp_path / "data" / "default"
    home.mkdir(parents=True)
    (tmp_path / "recordings").mkdir()
    monkeypatch.chdir(tmp_path)
    store = KeyStore(keys_path(tmp_path / "data", "default"), new_master(tmp_path / "data" / "master.key"))
    people = [store.subject(number).result() for number in ("138", "139")]
    store.close()
    book = Book(home / "outbound.db")
    assert book.add("spring", [(one, "UTC", "") for one in people]) == [True, True]
    book.close()
    with Records(home / "records.db") as made:
        made.apply_steps(steps_of_journal(floor.center, io.BytesIO(b"".join(json.dumps(one).encode() + b"\n" for one in floor.journal))))
        assert [(one.recording, one.entry) for one in Index(made).find(Wanted())] == [("r1", "1"), ("r2", "2")]
    for name in ("r1", "r2"):
        recording(tmp_path / "recordings" / f"{name}.cbr", [b"abcd"])
    # When one is found by the number, and erased
    assert main(["recordings", "list", "--data", "data", "--number", "139", "--json"]) == 0
    assert [json.loads(line)["recording"] for line in capsys.readouterr().out.splitlines()] == ["r2"]
    assert main(["privacy", "erase", "--data", "data", "--customer", "139", "--recordings", "recordings", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"subject": people[1], "recordings": 1, "held": 0}
    # Then the other's is left
    assert [path.name for path in (tmp_path / "recordings").iterdir()] == ["r1.cbr"]


def test_the_command_of_privacy_erases_recordings_with_the_customer(run, tmp_path, capsys, records):
    from cordboard.live.privacy import KeyStore, new_master
    from cordboard.live.tenants import keys_path
    from cordboard.records.tables import recordings as table

    store = KeyStore(keys_path(tmp_path / "data", "default"), new_master(tmp_path / "data" / "master.key"))
    subject = store.subject("138").result()
    store.close()
    with records.engine.begin() as connection:  # as a server with --master-key would have it
        connection.execute(table.update().where(table.c.caller == "138").values(caller=subject))
    assert [json.loads(line)["recording"] for line in run("list", "--number", "138")[1]] == ["r1", "r3"]
    where = ["--data", "data", "--customer", "138", "--recordings", "recordings", "--json"]
    assert main(["privacy", "erase", *where]) == 0
    assert json.loads(capsys.readouterr().out) == {"subject": subject, "recordings": 2, "held": 0}
    assert [path.name for path in (tmp_path / "recordings").iterdir()] == ["r2.cbr"]
