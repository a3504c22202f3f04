"""CallService: what people do with calls, on a live server with a simulated node; who may, and what the audit log has."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from cordboard.calls.config import parse_calls
from cordboard.calls.state import Mode, Phase, Stage
from cordboard.calls.state import Role as LegRole
from cordboard.center import parse_center
from cordboard.client import AsyncClient, CallError, Client
from cordboard.client.connection import call_error
from cordboard.errors import InputError
from cordboard.live import Engine, Settings
from cordboard.live.access import ALL, Caller, Role
from cordboard.live.audit_check import verify
from cordboard.live.tenants import AuditLogs, TenantEngines
from cordboard.media.simulated import FarEnd
from cordboard.services.security.guard import Guard
from cordboard.services.security.identity import Identity
from cordboard.services.security.rules import rules
from cordboard.services.server import Server
from cordboard.services.tenants import Tenants
from cordboard.v1 import call_service_pb2 as pb
from cordboard.v1 import call_service_pb2_grpc
from tests.floor import CALLS, CENTER
from tests.secure import KEY, bearer, run, somebody, verifier
from tests.test_docs import ROOT, blocks
from tests.test_media_node import Running, WallMedia, center, until
from tests.test_services_docs import grpcurl

GUIDE = ROOT / "docs" / "guides" / "take-calls.md"
QUEUES = CENTER + "[queues.general]\n"
C1, C2 = "tenants/default/contacts/c1", "tenants/default/contacts/c1~2"


@pytest.fixture
def floor(tmp_path):
    """A live server, a node, li and wang ready, and a caller c1 who talks with li; gives client and media."""
    with center(tmp_path) as server, Client(server.address) as client:
        node = Running(server, WallMedia())
        client.set_state("li", "ready")
        node.media.address = server.address
        node.do(lambda: node.media.call("c1", "4001", FarEnd(), caller="13800001234"))
        try:
            until(lambda: any(call.stage == pb.Call.STAGE_TALKING for call in client.calls()))
            client.set_state("wang", "ready")
            yield client, node.media
        finally:
            node.stop()


def hears(media: WallMedia, **wanted: set[str]) -> None:
    """Wait until everybody hears whom they should."""
    until(lambda: all(media.hears(leg) == heard for leg, heard in wanted.items()))


def refused(call) -> CallError:
    with pytest.raises(CallError) as found:
        call()
    return found.value


def test_a_call_shows_who_is_on_it_and_who_hears_whom(floor):
    client, media = floor
    hears(media, c1={"d1"}, d1={"c1"})
    [call] = client.calls()
    assert client.call("c1") == call
    assert (call.name, call.queue, call.contact) == ("tenants/default/calls/c1", "tenants/default/queues/billing", C1)
    assert (call.agent, call.number, call.caller) == ("tenants/default/agents/li", "4001", "13800001234")
    caller, agent = call.legs
    assert (caller.role, list(caller.hears), caller.person) == (pb.CallLeg.ROLE_CALLER, ["d1"], "")
    assert (agent.role, list(agent.hears), agent.person) == (pb.CallLeg.ROLE_AGENT, ["c1"], "li")
    assert caller.phase == agent.phase == pb.CallLeg.PHASE_UP
    gone = refused(lambda: client.call("c9"))
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "NAME_UNKNOWN") and "没有" in gone.text("zh")


def test_an_agent_holds_mutes_records_and_hangs_up(floor):
    client, media = floor
    client.hold("c1")
    hears(media, c1={"hold"}, d1=set())
    assert client.call("c1").legs[0].held and list(client.call("c1").legs[0].prompts) == ["hold"]
    assert refused(lambda: client.hold("c1")).code is grpc.StatusCode.FAILED_PRECONDITION
    client.resume("c1")
    client.mute("c1")
    hears(media, c1=set(), d1={"c1"})
    client.mute("c1", False)
    hears(media, c1={"d1"})
    assert refused(lambda: client.pause_recording("c1")).reason == "TOO_LATE"
    client.resume_recording("c1")
    client.pause_recording("c1")
    assert client.call("c1").recording == "r1" and client.call("c1").recording_paused
    client.hang_up("c1")
    until(lambda: not media.legs() and not client.calls())
    assert refused(lambda: client.hold("c1")).reason == "TOO_LATE"


def test_an_agent_consults_confers_and_transfers(floor):
    client, media = floor
    client.consult("c1", agent="wang")
    hears(media, c1={"hold"}, d1={"d2"}, d2={"d1"})
    assert client.call("c1").legs[2].consulted
    client.end_consult("c1", "conference")
    hears(media, c1={"d1", "d2"}, d1={"c1", "d2"}, d2={"c1", "d1"})
    client.consult("c1", number="13900000001")
    hears(media, d1={"d3"})
    client.end_consult("c1", "cancel")
    hears(media, c1={"d1", "d2"})
    client.transfer("c1", number="13900000002", request_id="t")
    until(lambda: client.call("c1").contact == "" and media.hears("c1") == {"d4"})
    # The same once more is answered as before, though the contact is gone by it
    assert client.transfer("c1", number="13900000002", request_id="t").applied.repeated_request


def test_a_transfer_to_a_queue_gives_a_new_contact_that_the_next_agent_gets(floor):
    client, _ = floor
    effects = client.transfer("c1", queue="billing", priority=2).applied.effects
    told = [effect.other.kind for effect in effects if effect.WhichOneof("kind") == "other"]
    assert "contact_ended" in told and "contact_queued" in told
    until(lambda: client.call("c1").contact == C2 and client.call("c1").agent.endswith("/wang"))
    assert refused(lambda: client.transfer("c1~2", agent="nobody")).code is grpc.StatusCode.NOT_FOUND
    with pytest.raises(InputError, match="one target"):
        client.transfer("c1~2", agent="li", queue="billing")


def test_a_parked_caller_is_picked_up(floor):
    client, media = floor
    client.park("c1", "p1")
    hears(media, c1={"hold"})
    assert client.call("c1").slot == "p1" and client.call("c1").stage == pb.Call.STAGE_PARKED
    client.pick_up("p1", "wang")
    until(lambda: client.call("c1").agent.endswith("/wang"))
    assert refused(lambda: client.pick_up("p1", "wang")).reason == "TOO_LATE"


def test_a_supervisor_listens_whispers_barges_leaves_and_takes_over(floor):
    client, media = floor
    client.monitor("c1", supervisor="boss")
    hears(media, d2={"c1", "d1"}, c1={"d1"})
    client.monitor("c1", "whisper", supervisor="boss")
    hears(media, d1={"c1", "d2"}, c1={"d1"})
    client.monitor("c1", "barge", supervisor="boss")
    hears(media, c1={"d1", "d2"})
    assert client.call("c1").legs[2].mode == pb.MONITOR_MODE_BARGE
    client.stop_monitoring("c1", supervisor="boss")
    until(lambda: "d2" not in media.legs())
    client.monitor("c1", supervisor="boss")
    hears(media, d3={"c1", "d1"})
    client.take_over("c1", supervisor="boss")
    hears(media, c1={"d3"})
    assert "d1" not in media.legs()


def test_the_asyncio_client_does_the_same(floor):
    _, media = floor

    async def scene() -> None:
        async with AsyncClient(media.address) as other:
            await other.hold("c1")
            [call] = await other.calls()
            assert call.legs[0].held
            await other.resume("c1")
            with pytest.raises(CallError, match="not on hold"):
                await other.resume("c1")
            await other.hang_up("c1")

    asyncio.run(scene())
    until(lambda: not media.legs())


def test_what_is_not_said_is_refused(floor):
    client, _ = floor
    for name, request in (
        ("Transfer", pb.TransferRequest(contact=C1)),
        ("EndConsult", pb.EndConsultRequest(contact=C1)),
        ("Monitor", pb.MonitorRequest(contact=C1)),
        ("Park", pb.ParkRequest(contact=C1)),
        ("Hold", pb.HoldRequest(contact="c1")),
        ("Get", pb.CallServiceGetRequest(name=C1)),
        ("List", pb.CallServiceListRequest(parent="tenants/default", page_size=-1)),
    ):
        with pytest.raises(grpc.RpcError) as found:
            getattr(client.stubs.calls, name)(request)
        assert found.value.code() is grpc.StatusCode.INVALID_ARGUMENT, name


def test_the_messages_know_every_stage_role_and_phase_that_calls_have():
    for kind, prefix, values in ((pb.Call.Stage, "STAGE", Stage), (pb.CallLeg.Role, "ROLE", LegRole), (pb.CallLeg.Phase, "PHASE", Phase), (pb.MonitorMode, "MONITOR_MODE", Mode)):
        assert {f"{prefix}_{value.upper()}" for value in values} == set(kind.keys()) - {f"{prefix}_UNSPECIFIED"}


# ---- who may


def talking(engine: Engine) -> None:
    """Callers c1 with li and c2 with wang, and c3 who waits, without a node of anybody's."""
    calls = CALLS.replace('greeting = ["welcome"]', "")
    engine.change_calls(parse_calls(calls, engine.center)).result()
    submit = lambda kind, **fields: engine.submit({"event": kind, **fields}).result().entry  # noqa: E731
    submit("node_attached", node="n1", capacity=100, legs=[])
    for leg, agent, phone in (("c1", "li", "d1"), ("c2", "wang", "d2"), ("c3", "", "")):
        submit("leg_incoming", node="n1", leg=leg, to="4001", caller="13800001234")
        submit("leg_answered", node="n1", leg=leg)
        if agent:
            submit("agent_ready", agent=agent)
            assert submit("leg_answered", node="n1", leg=phone).error is None


@contextlib.asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[tuple[grpc.aio.Channel, Engine]]:
    """A server with tokens and an audit log; li is in team north, wang in team south."""
    engines = TenantEngines.open({"acme": parse_center(QUEUES)}, Settings(data=folder))
    audit = AuditLogs(folder, engines, KEY)
    teams = {"acme": {"north": {"li"}, "south": {"wang"}}}
    guard = Guard(rules(), Identity(verifier=verifier(folder, tenants=engines), teams=teams), audit)
    server = Server(Tenants(engines), guard=guard, options=guard.limits.server_options())
    try:
        await asyncio.to_thread(talking, engines["acme"])
        port = server.listen("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel, engines["acme"]
        await server.stop(0)
    finally:
        engines.close()
        audit.close()


def of(name: str, *roles: Role, teams: frozenset[str] = frozenset(), queues: frozenset[str] = frozenset()) -> Caller:
    return Caller("acme", name, frozenset(roles), teams, queues, somebody().expires)


async def tried(channel: grpc.aio.Channel, who: Caller, name: str, /, **fields: object) -> str:
    """How a request ends: OK, or the reason."""
    stub = call_service_pb2_grpc.CallServiceStub(channel)
    kind = getattr(pb, f"{name}Request", None) or getattr(pb, f"CallService{name}Request")
    try:
        await getattr(stub, name)(kind(**fields), metadata=bearer(who), timeout=20)
    except grpc.aio.AioRpcError as error:
        return call_error(error).reason
    return "OK"


def test_an_agent_acts_on_its_own_contact_alone_and_a_lead_on_those_of_the_team(tmp_path):
    async def scene() -> None:
        async with guarded(tmp_path) as (channel, _):
            li, lead = of("li", Role.AGENT), of("zhang", Role.TEAM_LEAD, teams=frozenset({"north"}))
            contact = "tenants/acme/contacts/{}".format
            for name, fields in (
                ("Hold", {}), ("Resume", {}), ("Mute", {"on": True}), ("Transfer", {"number": "139"}),
                ("Consult", {"number": "139"}), ("EndConsult", {"outcome": 3}), ("Park", {"slot": "p"}),
                ("PauseRecording", {}), ("ResumeRecording", {}), ("HangUp", {}),
            ):  # fmt: skip
                for who, other in ((li, "c2"), (li, "c3"), (lead, "c2"), (lead, "c3")):
                    assert await tried(channel, who, name, contact=contact(other), **fields) == "AGENT_OUT_OF_SCOPE", name
                assert await tried(channel, of("qa", Role.QA, teams=ALL), name, contact=contact("c1"), **fields) == "PERMISSION_MISSING"
            assert await tried(channel, li, "PickUp", slot="p", agent="tenants/acme/agents/wang") == "AGENT_OUT_OF_SCOPE"
            assert await tried(channel, li, "Hold", contact="tenants/globex/contacts/c1") == "TENANT_OUT_OF_SCOPE"
            assert await tried(channel, li, "Hold", contact=contact("c1")) == "OK"
            assert await tried(channel, lead, "Resume", contact=contact("c1")) == "OK"
            # And whoever has a call picked up for others needs its queue in scope
            assert await tried(channel, li, "Park", contact=contact("c1"), slot="p") == "OK"
            slot = {"slot": "p", "agent": "tenants/acme/agents/li"}
            assert await tried(channel, lead, "PickUp", **slot) == "QUEUE_OUT_OF_SCOPE"
            wide = of("zhang", Role.TEAM_LEAD, teams=frozenset({"north"}), queues=frozenset({"billing"}))
            assert await tried(channel, wide, "PickUp", **slot) != "QUEUE_OUT_OF_SCOPE"

    run(scene())


def test_listening_needs_the_agent_in_a_team_and_more_needs_more(tmp_path):
    async def scene() -> None:
        async with guarded(tmp_path) as (channel, _):
            north = frozenset({"north"})
            li, qa = of("li", Role.AGENT, teams=north), of("boss", Role.QA, teams=north)
            lead, manager = of("boss", Role.TEAM_LEAD, teams=north), of("zhang", Role.MANAGER, teams=ALL, queues=ALL)
            c1, c2 = {"contact": "tenants/acme/contacts/c1"}, {"contact": "tenants/acme/contacts/c2"}
            listen, whisper, barge = ({"mode": mode} for mode in (1, 2, 3))
            assert await tried(channel, li, "Monitor", **c1, **listen) == "PERMISSION_MISSING"
            assert await tried(channel, qa, "Monitor", **c2, **listen) == "AGENT_OUT_OF_SCOPE"
            assert await tried(channel, of("boss", Role.QA), "Monitor", **c1, **listen) == "AGENT_OUT_OF_SCOPE"
            assert await tried(channel, qa, "Monitor", **c1, **listen, supervisor="wang") == "SCOPE_TOO_NARROW"
            assert await tried(channel, qa, "Monitor", **c1, **whisper) == "PERMISSION_MISSING"
            assert await tried(channel, qa, "Monitor", **c1, **listen) == "OK"
            assert await tried(channel, qa, "TakeOver", **c1) == "PERMISSION_MISSING"
            assert await tried(channel, lead, "Monitor", **c1, **barge) == "OK"
            assert await tried(channel, lead, "TakeOver", **c2) == "AGENT_OUT_OF_SCOPE"
            assert await tried(channel, lead, "StopMonitoring", **c1) == "OK"
            assert await tried(channel, manager, "Monitor", **c2, **whisper, supervisor="boss") == "EVENT_REFUSED"  # still being hung up

    run(scene())


def test_callers_see_the_calls_of_their_scope_and_numbers_as_they_may(tmp_path):
    async def scene() -> None:
        async with guarded(tmp_path) as (channel, _):
            stub = call_service_pb2_grpc.CallServiceStub(channel)

            async def seen(who: Caller, size: int = 0) -> dict[str, str]:
                request, found = pb.CallServiceListRequest(parent="tenants/acme", page_size=size), {}
                while True:
                    answer = await stub.List(request, metadata=bearer(who))
                    found |= {call.name.rpartition("/")[2]: call.caller for call in answer.calls}
                    if not answer.next_page_token:
                        return found
                    request.page_token = answer.next_page_token

            assert await seen(of("li", Role.AGENT)) == {"c1": "*********34"}
            assert set(await seen(of("zhang", Role.TEAM_LEAD, teams=frozenset({"south"})))) == {"c2"}
            assert set(await seen(of("qa", Role.QA, queues=frozenset({"billing"})), 1)) == {"c1", "c2", "c3"}
            assert await seen(of("qa", Role.QA, queues=frozenset({"general"}))) == {}
            assert (await seen(of("m", Role.MANAGER, teams=ALL, queues=ALL)))["c3"] == "13800001234"
            name = {"name": "tenants/acme/calls/c2"}
            assert await tried(channel, of("li", Role.AGENT), "Get", **name) == "CALL_OUT_OF_SCOPE"
            assert await tried(channel, of("wang", Role.AGENT), "Get", **name) == "OK"

    run(scene())


def test_who_listened_to_whom_is_in_the_audit_log_before_it_begins_and_when_it_is_done(tmp_path):
    async def scene() -> None:
        async with guarded(tmp_path) as (channel, _):
            lead = of("boss", Role.TEAM_LEAD, teams=frozenset({"north"}))
            for mode in (1, 2, 3):
                assert await tried(channel, lead, "Monitor", contact="tenants/acme/contacts/c1", mode=mode) == "OK"
            assert await tried(channel, lead, "TakeOver", contact="tenants/acme/contacts/c1") == "EVENT_REFUSED"
            assert await tried(channel, of("li", Role.AGENT), "Hold", contact="tenants/acme/contacts/c1") == "OK"

    run(scene())
    [folder] = {path.parent for path in tmp_path.rglob("audit-*.log") if "acme" in str(path)}
    records = [json.loads(line.partition(b" ")[2]) for file in sorted(folder.glob("*.log")) for line in file.read_bytes().splitlines()]
    about = [one for one in records if "CallService" in one.get("action", "")]
    told = [(one["action"].rpartition("/")[2], one["outcome"], one.get("details", {})) for one in about]
    whom = {"agent": "li", "supervisor": "boss"}
    assert told == [
        *((("Monitor", outcome, details)) for mode in ("listen", "whisper", "barge") for outcome, details in (("STARTED", {}), ("OK", whom | {"mode": mode}))),
        ("TakeOver", "STARTED", {}), ("TakeOver", "FAILED_PRECONDITION", whom), ("Hold", "OK", {}),
    ]  # fmt: skip
    assert all(one["target"] == "tenants/acme/contacts/c1" and one["actor"] in ("boss", "li") for one in about)
    assert verify(folder, [KEY], tenant="acme").whole


@pytest.mark.sources
def test_the_guide_does_what_it_says(floor, capsys):
    client, media = floor
    [program] = [text for _, text in blocks(GUIDE, "python")]
    exec(program.replace("Client()", f"Client({media.address!r})"), {})
    assert "tenants/default/contacts/c1 [('c1', ['d1'])" in capsys.readouterr().out
    listed, held, moved = (
        grpcurl(line, media.address) for _, text in blocks(GUIDE, "sh") for line in text.splitlines() if line.startswith("grpcurl")
    )
    assert json.loads(listed)["calls"][0]["contact"] == C1
    assert json.loads(held)["applied"]["revision"] and json.loads(moved)["applied"]["revision"]
    until(lambda: client.call("c1").contact == "")
