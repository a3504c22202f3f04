"""Recordings over a live server: found and heard by whom it is theirs to, and nothing is heard that is not in the audit log."""

from __future__ import annotations

import io
import json

import grpc
import pytest

from cordboard.live.access import Role
from cordboard.recordings.index import Index
from cordboard.records import Records, steps_of_journal
from cordboard.services.recordings import Shelf
from cordboard.services.security.rules import path
from cordboard.v1 import recording_service_pb2 as pb
from tests.recorded import IDENTITY, recording
from tests.secure import bearer, call, code_of, methods, run, somebody, two_tenants
from tests.test_recordings import journal

Code = grpc.StatusCode
METHODS = {path(method).rpartition("/")[2]: method for method in methods() if "RecordingService" in path(method)}
BOSS = somebody(Role.ADMINISTRATOR, name="boss")
AUDIO = [bytes(range(256)) * 125] * 11


def name(recording: str) -> str:
    return f"tenants/acme/recordings/{recording}"


@pytest.fixture
def shelf(tmp_path):
    floor = journal()
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in floor.journal)
    place = str(tmp_path / "records.db")
    with Records(place) as records:
        records.apply_steps(steps_of_journal(floor.center, io.BytesIO(lines)))
    (tmp_path / "recordings").mkdir()
    recording(tmp_path / "recordings" / "r1.cbr", AUDIO)
    return Shelf(place, "", tmp_path / "recordings", [IDENTITY])


def played(address_path: str, channel, who, recording: str):
    stream = channel.unary_stream(address_path, lambda m: m.SerializeToString(), pb.PlayRecordingResponse.FromString)
    return stream(pb.PlayRecordingRequest(name=name(recording)), metadata=bearer(who))


def test_recordings_are_found_shown_as_the_role_allows_and_heard(tmp_path, shelf):
    async def scene():
        async with two_tenants(tmp_path, shelves={"acme": shelf}) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            async def ask(method, request, who=BOSS):
                return await call(channel, METHODS[method], request, metadata=bearer(who))

            first = await ask("ListRecordings", pb.ListRecordingsRequest(parent="tenants/acme", page_size=2))
            rest = await ask("ListRecordings", pb.ListRecordingsRequest(parent="tenants/acme", page_token=first.next_page_token))
            assert [one.name for page in (first, rest) for one in page.recordings] == [name("r1"), name("r2"), name("r3")]
            assert rest.next_page_token == ""
            one = (await ask("GetRecording", pb.GetRecordingRequest(name=name("r1")))).recording
            assert (one.agent, one.caller, one.length.seconds, one.state, one.outcome) == ("li", "138", 11, "whole", "answered")
            mine = await ask("ListRecordings", pb.ListRecordingsRequest(parent="tenants/acme", caller="138"))
            assert [one.name for one in mine.recordings] == [name("r1"), name("r3")]
            # QA does not see numbers (of longer ones the last two digits), and may not look for a number
            qa = somebody(Role.QA)
            assert (await ask("GetRecording", pb.GetRecordingRequest(name=name("r1")), qa)).recording.caller == "***"
            search = pb.ListRecordingsRequest(parent="tenants/acme", caller="138")
            assert await code_of(channel, METHODS["ListRecordings"], search, metadata=bearer(qa)) is Code.PERMISSION_DENIED
            # an agent neither finds nor hears any
            for method, request in (("GetRecording", pb.GetRecordingRequest(name=name("r1"))), ("PlayRecording", pb.PlayRecordingRequest(name=name("r1")))):
                assert await code_of(channel, METHODS[method], request, metadata=bearer(somebody(Role.AGENT))) is Code.PERMISSION_DENIED
            heard = b"".join([part.content async for part in played(path(METHODS["PlayRecording"]), channel, BOSS, "r1")])
            assert heard[:4] == b"RIFF" and heard[44:] == b"".join(AUDIO)
            for missing in ("r2", "r9"):
                assert await code_of(channel, METHODS["PlayRecording"], pb.PlayRecordingRequest(name=name(missing)), metadata=bearer(BOSS)) is Code.NOT_FOUND

    run(scene())
    log = [json.loads(line[65:]) for line in (tmp_path / "acme" / "audit" / "audit-00000001.log").read_text().splitlines()]
    plays = [(one["outcome"], one["target"]) for one in log if one.get("action", "").endswith("PlayRecording") and one.get("actor") == "boss"]
    assert plays[:2] == [("STARTED", name("r1")), ("OK", name("r1"))]


def test_what_was_changed_is_heard_up_to_there_and_what_was_deleted_not_at_all(tmp_path, shelf):
    file = tmp_path / "recordings" / "r1.cbr"
    content = bytearray(file.read_bytes())
    content[-40_000] ^= 1
    file.write_bytes(content)

    async def scene():
        async with two_tenants(tmp_path, shelves={"acme": shelf}) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            heard = []
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                async for part in played(path(METHODS["PlayRecording"]), channel, BOSS, "r1"):
                    heard.append(part.content)
            assert refused.value.code() is Code.FAILED_PRECONDITION
            whole = b"".join(AUDIO)
            assert len(whole) // 2 < len(b"".join(heard)[44:]) < len(whole) and whole.startswith(b"".join(heard)[44:])
            shelf.ask(lambda index: Index.delete(index, index.get("r1"), tmp_path / "recordings", "cron"))
            assert await code_of(channel, METHODS["PlayRecording"], pb.PlayRecordingRequest(name=name("r1")), metadata=bearer(BOSS)) is Code.NOT_FOUND

    run(scene())


def test_recordings_are_held_released_and_purged_by_whom_it_is_given_to_and_the_audit_log_has_it(tmp_path, shelf):
    folder = tmp_path / "recordings"
    recording(folder / "r3.cbr", AUDIO)

    def overdue(index: Index) -> None:
        with index._engine.begin() as db:
            db.exec_driver_sql("UPDATE recordings SET keep_until = 1 WHERE recording IN ('r1', 'r3')")

    shelf.ask(overdue)

    async def scene():
        async with two_tenants(tmp_path, shelves={"acme": shelf}) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            async def ask(method, request, who=BOSS):
                return await call(channel, METHODS[method], request, metadata=bearer(who))

            async def code(method, request, who=BOSS):
                return await code_of(channel, METHODS[method], request, metadata=bearer(who))

            hold = pb.HoldRecordingRequest(name=name("r1"), reason="case 12")
            for role in (Role.QA, Role.TEAM_LEAD, Role.AGENT):
                assert await code("HoldRecording", hold, somebody(role)) is Code.PERMISSION_DENIED
            purge = pb.PurgeRecordingsRequest(parent="tenants/acme")
            assert await code("PurgeRecordings", purge, somebody(Role.MANAGER)) is Code.PERMISSION_DENIED
            assert await code("HoldRecording", pb.HoldRecordingRequest(name=name("r1"))) is Code.INVALID_ARGUMENT
            assert await code("HoldRecording", pb.HoldRecordingRequest(name=name("r9"), reason="x")) is Code.NOT_FOUND
            assert (await ask("HoldRecording", hold, somebody(Role.MANAGER))).recording.held
            # what is held stays, the other one goes, and a look before says so
            would = await ask("PurgeRecordings", pb.PurgeRecordingsRequest(parent="tenants/acme", validate_only=True))
            assert list(would.recordings) == [name("r3")] and (folder / "r3.cbr").exists()
            done = await ask("PurgeRecordings", purge)
            assert (list(done.recordings), done.held_count, done.left_count) == ([name("r3")], 1, 0)
            assert (folder / "r1.cbr").exists() and not (folder / "r3.cbr").exists()
            assert await code("HoldRecording", pb.HoldRecordingRequest(name=name("r3"), reason="late")) is Code.NOT_FOUND
            # released, it goes too
            assert not (await ask("ReleaseRecording", pb.ReleaseRecordingRequest(name=name("r1")))).recording.held
            assert list((await ask("PurgeRecordings", purge)).recordings) == [name("r1")]
            assert not (folder / "r1.cbr").exists()

    run(scene())
    log = [json.loads(line[65:]) for line in (tmp_path / "acme" / "audit" / "audit-00000001.log").read_text().splitlines()]
    done = [one for one in log if one.get("outcome") in ("STARTED", "OK")]
    told = [(one["action"].rpartition("/")[2], one["outcome"], one.get("details") or {}) for one in done]
    assert ("HoldRecording", "STARTED", {}) in told and ("HoldRecording", "OK", {"reason": "case 12"}) in told
    assert ("PurgeRecordings", "OK", {"deleted": "r3", "held": "1"}) in told
    assert ("PurgeRecordings", "OK", {"would_delete": "r3", "held": "1"}) in told


def test_a_server_without_records_says_so(tmp_path):
    async def scene():
        async with two_tenants(tmp_path) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            request = pb.ListRecordingsRequest(parent="tenants/acme")
            assert await code_of(channel, METHODS["ListRecordings"], request, metadata=bearer(BOSS)) is Code.FAILED_PRECONDITION

    run(scene())
