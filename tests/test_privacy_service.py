"""Personal data over a live server: subjects, masking, export, erasure; and a day after which no number stands anywhere."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
import urllib.request

import grpc
import pytest
from grpc_status import rpc_status

from cordboard.live import certificates, tokens
from cordboard.live.access import ALL, Caller, Role
from cordboard.live.tenants import keys_path
from cordboard.services.security.rules import path
from cordboard.v1 import agent_service_pb2 as agents
from cordboard.v1 import event_service_pb2 as events
from cordboard.v1 import journal_pb2 as journal
from cordboard.v1 import privacy_service_pb2 as pb
from cordboard.v1 import routing_service_pb2 as routing
from tests.secure import CA, CENTER, KEY, bearer, call, code_of, methods, run, somebody, two_tenants

Code = grpc.StatusCode
METHODS = {path(method).rpartition("/")[2]: method for method in methods() if "Privacy" in path(method)}
ENQUEUE = next(m for m in methods() if path(m) == "/cordboard.v1.RoutingService/Enqueue")
LEAVE = next(m for m in methods() if path(m) == "/cordboard.v1.RoutingService/Leave")
NUMBER = "+86 138 0013 8000"
BOSS = somebody(Role.ADMINISTRATOR, name="boss")


def enqueued(contact: str, customer: str = NUMBER) -> routing.EnqueueRequest:
    return routing.EnqueueRequest(queue="tenants/acme/queues/acme-queue", contact_id=contact, request_id=contact, customer=customer)


def test_a_customer_is_found_shown_as_the_role_allows_exported_and_erased(tmp_path):
    async def scene():
        async with two_tenants(tmp_path, apart=True) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            async def ask(name, request, who=BOSS):
                return await call(channel, METHODS[name], request, metadata=bearer(who))

            for contact in ("c1", "c2"):
                answer = await call(channel, ENQUEUE, enqueued(contact), metadata=bearer(somebody(Role.SERVICE)))
                assert answer.applied.revision
            repeated = await call(channel, ENQUEUE, enqueued("c1"), metadata=bearer(somebody(Role.SERVICE)))
            assert repeated.applied.repeated_request
            found = await ask("FindSubject", pb.FindSubjectRequest(parent="tenants/acme", customer=NUMBER))
            name = found.subject.name
            assert name.startswith("tenants/acme/subjects/s-") and not found.subject.customer
            for role, shown in ((Role.MANAGER, NUMBER), (Role.SERVICE, NUMBER), (Role.QA, "+** *** **** **00"), (Role.TEAM_LEAD, "+** *** **** **00")):
                got = await ask("GetSubject", pb.GetSubjectRequest(name=name), somebody(role))
                assert got.subject.customer == shown
            parts = []
            stream = channel.unary_stream(path(METHODS["ExportSubject"]), lambda m: m.SerializeToString(), pb.ExportSubjectResponse.FromString)
            async for part in stream(pb.ExportSubjectRequest(name=name), metadata=bearer(BOSS)):
                parts.append(part)
            assert parts[0].subject.customer == NUMBER
            entries = [entry for part in parts for entry in part.entries]
            assert [entry.event.contact_queued.contact for entry in entries] == ["c1", "c2"]
            assert {entry.event.contact_queued.customer for entry in entries} == {name.rpartition("/")[2]}
            erase = pb.EraseSubjectRequest(name=name)
            for role in Role:
                if role is not Role.ADMINISTRATOR:
                    assert await code_of(channel, METHODS["EraseSubject"], erase, metadata=bearer(somebody(role))) is Code.PERMISSION_DENIED
            await ask("EraseSubject", erase)
            for method, request in (
                ("EraseSubject", erase), ("GetSubject", pb.GetSubjectRequest(name=name)), ("ExportSubject", pb.ExportSubjectRequest(name=name)),
                ("FindSubject", pb.FindSubjectRequest(parent="tenants/acme", customer=NUMBER)),
            ):
                assert await code_of(channel, METHODS[method], request, metadata=bearer(BOSS)) is Code.NOT_FOUND, method
            await call(channel, ENQUEUE, enqueued("c3"), metadata=bearer(somebody(Role.SERVICE)))
            fresh = await ask("FindSubject", pb.FindSubjectRequest(parent="tenants/acme", customer=NUMBER))
            assert fresh.subject.name != name

    run(scene())
    log = (tmp_path / "acme" / "audit" / "audit-00000001.log").read_text()
    done = [json.loads(line[65:]) for line in log.splitlines()]
    subject = [(r["action"].rpartition("/")[2], r["outcome"]) for r in done if r.get("target", "").startswith("tenants/acme/subjects/")]
    assert subject[:4] == [("ExportSubject", "STARTED"), ("ExportSubject", "OK"), ("EraseSubject", "STARTED"), ("EraseSubject", "OK")]
    assert subject[4:] == [("EraseSubject", "STARTED"), ("EraseSubject", "NOT_FOUND"), ("ExportSubject", "STARTED"), ("ExportSubject", "NOT_FOUND")]
    assert len([r for r in done if r.get("outcome") == "PERMISSION_MISSING"]) == 6
    assert NUMBER not in log


def test_without_a_key_store_customers_stand_as_they_are_and_the_service_says_so(tmp_path):
    async def scene():
        async with two_tenants(tmp_path) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            request = pb.FindSubjectRequest(parent="tenants/acme", customer=NUMBER)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel, METHODS["FindSubject"], request, metadata=bearer(BOSS))
            assert refused.value.code() is Code.FAILED_PRECONDITION and "kept apart" in rpc_status.from_call(refused.value).message

    run(scene())


def test_an_export_is_not_given_when_it_can_t_be_audited(tmp_path, monkeypatch):
    async def scene():
        async with two_tenants(tmp_path, apart=True) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            await call(channel, ENQUEUE, enqueued("c1"), metadata=bearer(somebody(Role.SERVICE)))
            found = await call(channel, METHODS["FindSubject"], pb.FindSubjectRequest(parent="tenants/acme", customer=NUMBER), metadata=bearer(BOSS))
            monkeypatch.setattr("cordboard.live.audit.QUEUED_MAX", 0)
            request = pb.ExportSubjectRequest(name=found.subject.name)
            assert await code_of(channel, METHODS["ExportSubject"], request, metadata=bearer(BOSS)) is Code.UNAVAILABLE
            monkeypatch.undo()
            assert await code_of(channel, METHODS["ExportSubject"], request, metadata=bearer(BOSS)) is Code.OK

    run(scene())


NUMBERS = [f"+8613{i:09}" for i in range(700_000_000, 700_000_000 + 145 * 1237, 1237)]
NUMBERS += ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "6200000000000005"]  # of cards
NUMBERS = NUMBERS[-5:] + NUMBERS[:-5]
DAY = len(NUMBERS)


async def a_day(channel: grpc.aio.Channel) -> int:
    """Contacts of many customers, well and badly asked for, an agent at work, a watcher. Returns entries watched."""
    crm = bearer(somebody(Role.SERVICE, name="crm"))
    watch = channel.unary_stream("/cordboard.v1.EventService/Watch", lambda m: m.SerializeToString(), events.WatchResponse.FromString)(
        events.WatchRequest(parent="tenants/acme"), metadata=crm
    )
    await watch.read()
    line = channel.stream_stream("/cordboard.v1.AgentService/Connect", lambda m: m.SerializeToString(), agents.ConnectResponse.FromString)(
        metadata=bearer(Caller("acme", "acme-agent", frozenset({Role.AGENT}), expires=BOSS.expires))
    )
    await line.write(agents.ConnectRequest(hello=agents.Hello(agent="tenants/acme/agents/acme-agent")))
    await line.write(agents.ConnectRequest(request_id="r", set_state=agents.StateWish(state=agents.Agent.STATE_READY)))
    for i, number in enumerate(NUMBERS[:50]):
        await call(channel, ENQUEUE, enqueued(f"c{i}", number), metadata=crm)
    wrong = [enqueued("bad", number + "\n") for number in NUMBERS[:5]] + [enqueued("long", NUMBERS[0] * 30)]
    wrong += [routing.EnqueueRequest(queue="tenants/acme/queues/none", contact_id="x", request_id="x", customer=NUMBERS[1])]
    wrong += [enqueued("c1", NUMBERS[2])]  # the same request with another customer
    for request in wrong:
        assert await code_of(channel, ENQUEUE, request, metadata=crm) not in (Code.OK, Code.UNKNOWN, Code.INTERNAL)
    assert await code_of(channel, ENQUEUE, enqueued("n", NUMBERS[3])) is Code.UNAUTHENTICATED
    batch = [
        journal.Event(contact_queued=journal.ContactQueued(contact=f"s{i}", queue="acme-queue", customer=number)) for i, number in enumerate(NUMBERS[50:])
    ]
    session = channel.stream_stream("/cordboard.v1.RoutingService/Session", lambda m: m.SerializeToString(), routing.SessionResponse.FromString)
    asked = [routing.SessionRequest(open=routing.SessionOpen(tenant="tenants/acme")), routing.SessionRequest(events=routing.EventBatch(events=batch))]
    assert len([answer async for answer in session(iter(asked), metadata=crm)]) == 2
    for i in range(1, 20):  # the first one rings
        await call(channel, LEAVE, routing.LeaveRequest(contact=f"tenants/acme/contacts/c{i}"), metadata=crm)
    seen = 0
    while seen < DAY:
        seen += sum(entry.event.HasField("contact_queued") for entry in (await watch.read()).entries)
    watch.cancel(), line.cancel()
    return seen


def stands(text: str) -> list[str]:
    """The numbers that stand in a text, however they are written."""
    plain = re.sub(r"[\s()-]", "", text)
    return [number for number in NUMBERS if number[3:] in plain]


def test_after_a_day_no_number_stands_in_logs_metrics_journals_records_or_audit(tmp_path):
    (tmp_path / "acme.toml").write_text(CENTER.format("acme"))
    (tmp_path / "server.toml").write_text(
        '[server]\nlisten = "127.0.0.1:0"\ndata = "data"\n[tls]\ncertificate = "server.pem"\nkey = "server.key"\n[tokens]\nkeys = "public.jwks"\n[tenants.acme]\ncenter = "acme.toml"\n'
    )
    certificates.write_pair(tmp_path, "server", certificates.make_server(CA, ["localhost"]))
    tokens.write_keys(tmp_path / "public.jwks", [KEY], private=False)
    program = "import logging, sys; logging.basicConfig(level=logging.DEBUG); from cordboard.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "serve", "--json", "--drain", "1", "--metrics", "127.0.0.1:0", "--logs", "json", "--settings", str(tmp_path / "server.toml")]
    log = tmp_path / "server.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, text=True)
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        ready = json.loads(process.stdout.readline() or "{}")
        assert ready, log.read_text()

        async def scene() -> None:
            address = ready["address"].replace("127.0.0.1", "localhost")
            async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(CA.certificate)) as channel:
                assert await a_day(channel) >= DAY

        run(scene())
        with urllib.request.urlopen(f"http://{ready['metrics']}/metrics", timeout=20) as page:
            metrics = page.read().decode()
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    finally:
        guard.cancel()
        process.kill()
        process.communicate()
    assert "cordboard" in metrics and not stands(metrics)
    logged = log.read_text(errors="replace")
    assert logged.count('"body": "a contact is over: abandoned"') == 19 and not stands(logged)
    files = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert any(file.name == "journal.db" for file in files) and any(file.name == "records.db" for file in files)
    for file in files:
        content = file.read_bytes()
        assert not [number for number in NUMBERS if number.encode() in content or number[1:].encode() in content], file
    assert keys_path(tmp_path / "data", "acme") in files
    assert stands(f"called {NUMBERS[0][:6]} {NUMBERS[0][6:]}") == [NUMBERS[0]]  # what looks for them finds them


def test_an_error_s_words_reach_its_caller_and_no_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)

    async def scene():
        async with two_tenants(tmp_path, apart=True) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            crm = bearer(Caller("acme", "crm", frozenset({Role.SERVICE}), ALL, ALL, BOSS.expires))
            assert await code_of(channel, ENQUEUE, enqueued(NUMBERS[0], NUMBERS[1] + "\n"), metadata=crm) is Code.INVALID_ARGUMENT

    run(scene())
    assert not stands(caplog.text)
