"""The audit log: whatever is done to it shows."""

from __future__ import annotations

import errno
import json
import os
import shutil
from concurrent.futures import wait
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard.cli import main
from cordboard.errors import InputError, LimitError, StoreError
from cordboard.live import audit, tokens
from cordboard.live.audit import AuditLog, body_of, chained, files_of, start_of
from cordboard.live.audit_check import Verdict, verify

KEY, OTHER_KEY = tokens.new_key(), tokens.new_key()


def write(folder: Path, count: int, first: int = 0, **options: object) -> None:
    """A log of ``count`` records, closed."""
    log = AuditLog(folder, KEY, clock=lambda: 1_800_000_000.25, **options)
    for i in range(first, first + count):
        log.record("cordboard.v1.RoutingService/Enqueue", actor=f"caller-{i % 3}", target=f"queues/{i}", request_id=f"r{i}")
    log.close()


def check(folder: Path, **options: object) -> Verdict:
    return verify(folder, [KEY], **options)


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> list[bytes]:
    """The lines of a log of 12 records with a checkpoint after every 4 and at its end."""
    folder = tmp_path_factory.mktemp("audit")
    write(folder, 12, checkpoint_records=4)
    return files_of(folder)[0].read_bytes().splitlines(keepends=True)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path


def put(folder: Path, found: list[bytes]) -> Path:
    (folder / "audit-00000001.log").write_bytes(b"".join(found))
    return folder


def test_a_log_as_it_was_written_is_whole_and_signed_to_its_end(lines, folder):
    verdict = check(put(folder, lines))
    assert verdict.whole and verdict.records == len(lines) and verdict.signed == verdict.head[0] == len(lines)
    kinds = [json.loads(line[65:])["kind"] for line in lines]
    assert kinds.count("record") == 12 and kinds.count("checkpoint") == 4 and kinds[0] == "opened"


@settings(max_examples=300)
@given(data=st.data())
def test_any_changed_byte_is_found(lines, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("changed")
    content = bytearray(b"".join(lines))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    put(folder, [bytes(content)])
    assert not check(folder).whole
    shutil.rmtree(folder)


@settings(max_examples=100)
@given(data=st.data())
def test_any_line_that_is_dropped_doubled_or_moved_is_found(lines, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("moved")
    at = data.draw(st.integers(0, len(lines) - 2))
    to = data.draw(st.integers(0, len(lines) - 1).filter(lambda i: i != at))
    dropped = lines[:at] + lines[at + 1 :]
    moved = [*dropped[:to], lines[at], *dropped[to:]]
    for found in (dropped, moved, lines[: at + 1] + lines[at:]):
        assert not check(put(folder, found)).whole
    shutil.rmtree(folder)


def test_a_cut_is_found_within_a_line_and_by_a_noted_head_and_else_told_up_to_the_last_checkpoint(lines, folder):
    head = check(put(folder, lines)).head
    for kept in range(1, len(lines)):
        put(folder, lines[:kept])
        verdict = check(folder)
        assert verdict.whole and verdict.head[0] == kept
        assert verdict.signed == max((i for i in (5 * j for j in range(1, 5)) if i <= kept), default=0)
        assert not check(folder, heads=[head]).whole
        assert not check(put(folder, [*lines[:kept], lines[kept][:-1]])).whole
    assert check(put(folder, lines), heads=[head, (3, lines[2][:64].decode())]).whole
    assert not check(folder, heads=[(3, lines[3][:64].decode())]).whole


def forged(lines: list[bytes], change: dict[int, dict]) -> list[bytes]:
    """The log with bodies changed and every hash after them made anew, as somebody would who has the file but no key."""
    head, found = start_of("default"), []
    for i, line in enumerate(lines):
        fields = json.loads(line[65:]) | change.get(i, {})
        body = body_of(fields)
        head = chained(head, body)
        found.append(head.encode() + b" " + body + b"\n")
    return found


@given(at=st.integers(0, 16))
def test_hashes_made_anew_don_t_help_who_has_no_key(lines, tmp_path_factory, at):
    folder = tmp_path_factory.mktemp("forged")
    assert not check(put(folder, forged(lines, {at: {"actor": "somebody else"}}))).whole
    shutil.rmtree(folder)


def test_a_checkpoint_by_another_key_is_none(lines, folder):
    verdict = verify(put(folder, lines), [OTHER_KEY])
    assert not verdict.whole and "a key that is not given" in verdict.problems[0].what
    own = tokens.Key(KEY.kid, OTHER_KEY.public)  # the same id, another key
    assert "does not hold" in verify(folder, [own]).problems[0].what


def test_another_tenant_s_log_is_not_ours(lines, folder):
    assert not check(put(folder, lines), tenant="globex").whole


def test_the_chain_goes_on_over_a_restart_and_over_files(folder):
    for i in range(5):
        write(folder, 20, first=20 * i, file_bytes=4000)
    assert len(files_of(folder)) > 3
    verdict = check(folder)
    assert verdict.whole and verdict.signed == verdict.records
    records = [json.loads(line[65:]) for f in files_of(folder) for line in f.read_bytes().splitlines()]
    assert [r["request_id"] for r in records if r["kind"] == "record"] == [f"r{i}" for i in range(100)]
    files_of(folder)[1].unlink()
    assert not check(folder).whole


def test_a_line_that_a_crash_cut_off_is_taken_away_and_that_is_recorded(folder):
    write(folder, 3)
    with open(folder / "audit-00000001.log", "ab") as out:
        out.write(b"0" * 64 + b' {"n":')
    assert not check(folder).whole
    write(folder, 1, first=3)
    verdict = check(folder)
    assert verdict.whole
    text = (folder / "audit-00000001.log").read_text()
    assert '"kind":"recovered","torn_bytes":70' in text and '"r3"' in text


def test_a_log_whose_end_was_changed_is_not_gone_on_with(folder):
    write(folder, 3)
    path = folder / "audit-00000001.log"
    content = path.read_bytes()
    path.write_bytes(content[:-3] + b"!" + content[-2:])
    with pytest.raises(InputError, match="audit verify"):
        write(folder, 1)


def test_two_writers_would_break_the_chain_so_there_is_one(folder):
    log = AuditLog(folder, KEY)
    with pytest.raises(StoreError, match="another process"):
        AuditLog(folder, KEY)
    log.close()
    write(folder, 1)


def test_who_waits_knows_that_it_is_on_disk(folder):
    log = AuditLog(folder, KEY)
    done = log.record("export", actor="boss", outcome="OK", wait=True)
    assert done.result(10) == 2
    assert b'"export"' in (folder / "audit-00000001.log").read_bytes()
    assert not wait([log.record("later", actor="boss")], 10).not_done
    log.close()
    with pytest.raises(InputError, match="closed"):
        log.record("too late", actor="boss")


def test_who_waits_may_go_away_and_the_record_is_written(folder):
    log = AuditLog(folder, KEY)
    for i in range(20):
        assert not log.record("export", actor=f"{i}", wait=True).cancel()
    assert log.record("last", actor="boss", wait=True).result(10) == 22
    log.close()
    assert check(folder).whole


def test_a_tail_that_was_not_signed_before_a_crash_is_signed_after_it(folder):
    write(folder, 3)
    path = folder / "audit-00000001.log"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert check(folder).signed == 0
    write(folder, 0)
    verdict = check(folder)
    assert verdict.whole and verdict.signed == verdict.head[0] == 5


def test_a_disk_that_fails_loses_nothing_and_says_so(folder, monkeypatch):
    monkeypatch.setattr(audit, "RETRY_S", 0.02)
    log = AuditLog(folder, KEY)
    log.record("first", actor="a", wait=True).result(10)
    real, calls = os.write, []

    def full(descriptor: int, content: memoryview) -> int:
        calls.append(len(content))
        if len(calls) % 2:
            return real(descriptor, content[:7])  # a part gets through, as it does
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(audit.os, "write", full)
        waiting = [log.record(f"during {i}", actor="a", wait=True) for i in range(3)]
        assert wait(waiting, 0.2).not_done
        assert "No space left" in log.failing
    assert [done.result(10) for done in waiting] == [3, 4, 5]
    assert log.failing == ""
    log.close()
    assert check(folder).whole


def test_records_that_wait_are_bounded_and_too_long_ones_refused(folder, monkeypatch):
    monkeypatch.setattr(audit, "QUEUED_MAX", 0)
    log = AuditLog(folder, KEY)
    with pytest.raises(LimitError, match="wait to be written"):
        log.record("x", actor="a")
    monkeypatch.setattr(audit, "QUEUED_MAX", 10)
    with pytest.raises(LimitError, match="too long"):
        log.record("x", actor="a", details={str(i): "y" * 1000 for i in range(60)})
    log.record("x" * 300, actor="\ud800", target="z" * 9000, wait=True).result(10)
    log.close()
    assert check(folder).whole


@given(st.text(min_size=1), st.text(), st.text(max_size=600), st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
@settings(max_examples=50, deadline=None)
def test_a_record_reads_as_what_was_said_whatever_the_characters(tmp_path_factory, actor, peer, target, details):
    folder = tmp_path_factory.mktemp("log")
    log = AuditLog(folder, KEY, clock=lambda: 5.25)
    log.note("Enqueue", actor=actor, peer=peer, target=target, details=details)
    log.close()
    record = json.loads((folder / "audit-00000001.log").read_bytes().splitlines()[1][65:])
    said = {"peer": peer[:512], "target": target[:512], "outcome": "OK", "details": details}
    expected = {"n": 2, "t": 5.25, "kind": "record", "action": "Enqueue", "actor": actor, **{k: v for k, v in said.items() if v}}
    assert record == expected and list(record) == list(expected) and check(folder).whole


def test_many_threads_record_and_the_chain_is_whole(folder):
    from concurrent.futures import ThreadPoolExecutor

    log = AuditLog(folder, KEY, checkpoint_records=50)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda i: log.record("x", actor=str(i)), range(1000)))
    log.close()
    assert len({one.result(0) for one in done}) == 1000 and check(folder).whole


def test_the_command_finds_and_shows(folder, capsys):
    keys, log = folder / "keys.jwks", folder / "log"
    tokens.write_keys(keys, [KEY], private=False)
    write(log, 5)
    assert main(["audit", "verify", str(log), "--keys", str(keys), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["whole"] and verdict["signed"] == 7
    assert main(["audit", "verify", str(log), "--keys", str(keys), "--head", verdict["head"], "--lang", "zh"]) == 0
    assert "链头" in capsys.readouterr().out
    assert main(["audit", "show", str(log), "--actor", "caller-1", "--action", "Enqueue"]) == 0
    assert [json.loads(line)["request_id"] for line in capsys.readouterr().out.splitlines()] == ["r1", "r4"]
    path = log / "audit-00000001.log"
    path.write_bytes(path.read_bytes().replace(b"caller-1", b"caller-2", 1))
    assert main(["audit", "verify", str(log), "--keys", str(keys)]) == 1
    assert "audit-00000001.log:3" in capsys.readouterr().err
    for wrong in (["verify", str(folder / "none"), "--keys", str(keys)], ["verify", str(log), "--keys", str(keys), "--head", "x"]):
        assert main(["audit", *wrong]) == 2
