"""Tenants at work on one server: journals apart, and no name of one to be told by another; the settings file."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.errors import InputError, StoreError
from cordboard.live import Settings, certificates, tokens
from cordboard.live.access import ALL, Caller, Role
from cordboard.live.audit_check import verify
from cordboard.live.server_file import ServerFile, load_server_file
from cordboard.live.tenants import SERVER, TenantEngines
from cordboard.services.security.rules import path, permission
from cordboard.v1 import routing_service_pb2 as routing
from tests.secure import CA, CENTER, KEY, bearer, call, code_of, methods, run, somebody, two_tenants

Code = grpc.StatusCode
METHODS = {path(method): method for method in methods()}
ENQUEUE, WATCH = METHODS["/cordboard.v1.RoutingService/Enqueue"], METHODS["/cordboard.v1.EventService/Watch"]


FIRST = {"open", "hello", "config"}  # of a stream's first message
OF_NO_TENANT = {"PacingService/PaceColumns", "ReportService/ListFigures", "RoutingService/RouteColumns"}
KINDS = {
    "AgentService": "agents",
    "CallService": "calls",
    "CampaignService": "campaigns",
    "PrivacyService": "subjects",
    "RecordingService": "recordings",
}


def filled(method: Any, tenant: str, name: str) -> Message:
    """A request whose names are all of this tenant and of things called so."""
    request = GetMessageClass(method.input_type)()
    fill(request, method, tenant, name)
    for first in FIRST & set(request.DESCRIPTOR.fields_by_name):
        if request.DESCRIPTOR.fields_by_name[first].message_type is not None:
            getattr(request, first).SetInParent()
            fill(getattr(request, first), method, tenant, name)
    return request


def fill(request: Message, method: Any, tenant: str, name: str) -> None:
    """See ``filled``; the fields of one message."""
    collections = {"queue": "queues", "agent": "agents", "contact": "contacts", "preferred_agent": "agents", "node": "nodes", "call": "calls",
                   "model": "models", "campaign": "campaigns"}  # fmt: skip
    for field in request.DESCRIPTOR.fields:
        if field.type != field.TYPE_STRING or field.is_repeated:
            continue
        if field.name == "parent" and method.name == "ListContacts":
            request.parent = f"tenants/{tenant}/queues/{name}-queue"
        elif field.name in ("parent", "tenant"):
            setattr(request, field.name, f"tenants/{tenant}")
        elif field.name in collections:
            setattr(request, field.name, f"tenants/{tenant}/{collections[field.name]}/{name}-{field.name.rpartition('_')[2]}")
        elif field.name == "name":
            service = method.containing_service.name
            kind = KINDS.get(service, "queues")
            setattr(request, field.name, f"tenants/{tenant}/{kind}/{name}-{kind[:-1]}")
        elif field.name in ("request_id", "contact_id"):
            setattr(request, field.name, f"{method.name}-{tenant}-{name}")
    for field in request.DESCRIPTOR.fields:
        if field.enum_type is not None and not field.is_repeated:
            setattr(request, field.name, field.enum_type.values[1].number)


async def ended(channel: grpc.aio.Channel, method: Any, request: Message, proof: Any) -> tuple[Code, bytes]:
    """How a call ends, in all that the caller can see of it."""
    try:
        await call(channel, method, request, metadata=proof)
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)
        return error.code(), (status.SerializeToString() if status else (error.details() or "").encode())
    return Code.OK, b""


def test_every_rpc_with_another_tenants_names_ends_as_if_there_were_no_such_tenant(tmp_path):
    async def scene():
        async with two_tenants(tmp_path) as (address, engines, _), grpc.aio.insecure_channel(address) as channel:
            await call(channel, ENQUEUE, filled(ENQUEUE, "globex", "globex"), metadata=bearer(somebody(*Role, tenant="globex")))
            before = engines["globex"].state.revision
            boss = bearer(somebody(*Role, tenant="acme"))
            tried = set()
            for name, method in METHODS.items():
                theirs, nobodys = filled(method, "globex", "globex"), filled(method, "initech", "globex")
                if name.removeprefix("/cordboard.v1.") in OF_NO_TENANT or theirs == nobodys:
                    continue  # names nothing of any tenant
                tried.add(name)
                for existing, missing in ((theirs, nobodys), (theirs, filled(method, "globex", "nothing"))):
                    one, two = await ended(channel, method, existing, boss), await ended(channel, method, missing, boss)
                    assert one == two, name
                    assert one[0] in (Code.PERMISSION_DENIED, Code.NOT_FOUND), (name, one)
                    assert b"globex-" not in one[1] and b"exist" not in one[1]
            assert set(METHODS) - tried == {f"/cordboard.v1.{method}" for method in OF_NO_TENANT}
            assert engines["globex"].state.revision == before and engines["acme"].state.revision == 0

    run(scene())


def test_each_tenant_has_its_own_journal_and_nothing_of_another_stands_in_it(tmp_path):
    async def scene():
        async with two_tenants(tmp_path) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            for tenant in ("acme", "globex"):
                await call(channel, ENQUEUE, filled(ENQUEUE, tenant, tenant), metadata=bearer(somebody(Role.SERVICE, tenant=tenant)))

    run(scene())
    for tenant, other in (("acme", "globex"), ("globex", "acme")):
        with contextlib.closing(sqlite3.connect(tmp_path / tenant / "journal.db")) as db:
            rows = str(db.execute("SELECT * FROM journal").fetchall()) + str(db.execute("SELECT * FROM facts").fetchall())
        assert f"{tenant}-queue" in rows and other not in rows
        for log in (tmp_path / tenant / "audit").iterdir():
            assert other not in log.read_text()


def test_scope_holds_inside_a_tenant_too(tmp_path):
    async def scene():
        teams = {"acme": {"north": {"acme-agent"}}}
        async with two_tenants(tmp_path, teams=teams) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            request = filled(ENQUEUE, "acme", "acme")
            narrow = Caller("acme", "crm", frozenset({Role.SERVICE}), frozenset(), frozenset({"other"}), somebody().expires)
            assert await code_of(channel, ENQUEUE, request, metadata=bearer(narrow)) is Code.PERMISSION_DENIED
            wide = Caller("acme", "crm", frozenset({Role.SERVICE}), frozenset(), frozenset({"acme-queue"}), somebody().expires)
            assert await code_of(channel, ENQUEUE, request, metadata=bearer(wide)) is Code.OK
            state = METHODS["/cordboard.v1.AgentService/SetState"]
            request = filled(state, "acme", "acme")
            for team, expected in (("south", Code.PERMISSION_DENIED), ("north", Code.OK)):
                lead = Caller("acme", "boss", frozenset({Role.TEAM_LEAD}), frozenset({team}), ALL, somebody().expires)
                assert await code_of(channel, state, request, metadata=bearer(lead)) is expected
            narrow = somebody(*Role, scope=frozenset({"acme-queue"}))
            for whole in ("CenterService/Apply", "AdminService/CreateSnapshot", "AdminService/Drain", "PrivacyService/FindSubject"):
                method = METHODS[f"/cordboard.v1.{whole}"]
                assert await code_of(channel, method, filled(method, "acme", "acme"), metadata=bearer(narrow)) is Code.PERMISSION_DENIED, whole
            other = somebody(Role.AGENT, name="another-agent")
            connect = METHODS["/cordboard.v1.AgentService/Connect"]
            assert await code_of(channel, connect, filled(connect, "acme", "acme"), metadata=bearer(other)) is Code.PERMISSION_DENIED

    run(scene())


def test_what_is_done_stands_in_the_audit_log_of_its_tenant_and_refusals_of_strangers_in_the_servers(tmp_path):
    async def scene():
        async with two_tenants(tmp_path) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            await call(channel, ENQUEUE, filled(ENQUEUE, "acme", "acme"), metadata=bearer(somebody(Role.SERVICE, name="crm")))
            await code_of(channel, ENQUEUE, filled(ENQUEUE, "acme", "acme"))
            await code_of(channel, WATCH, filled(WATCH, "globex", "globex"), metadata=bearer(somebody(Role.AGENT)))

    run(scene())
    found = {}
    for tenant in ("acme", "globex", SERVER):
        folder = tmp_path / tenant / "audit"
        assert verify(folder, [KEY], tenant=tenant).whole
        lines = (folder / "audit-00000001.log").read_text().splitlines()
        records = [json.loads(line[65:]) for line in lines]
        found[tenant] = [(r["actor"], r["outcome"]) for r in records if r["kind"] == "record"]
    assert found == {"acme": [("crm", "OK"), ("li", "PERMISSION_MISSING")], "globex": [], SERVER: [("", "TOKEN_MISSING")]}


def test_one_tenant_that_can_t_be_opened_leaves_none_open(tmp_path):
    center = parse_center(CENTER.format("x"))
    settings = Settings(data=tmp_path)
    held = TenantEngines.open({"globex": center}, settings)
    with pytest.raises(StoreError):
        TenantEngines.open({"acme": center, "globex": center}, settings)
    held.close()
    TenantEngines.open({"acme": center, "globex": center}, settings).close()
    with pytest.raises(InputError):
        TenantEngines.open({"../acme": center}, settings)


FILE = """
[server]
listen = "0.0.0.0:7443"
data = "data"
[tls]
certificate = "certs/server.pem"
key = "certs/server.key"
clients = "certs/ca.pem"
[tokens]
keys = "public.jwks"
audience = "prod"
[limits]
requests_per_s = 50.5
streams = 7
[tenants.acme]
center = "acme.toml"
teams = { north = ["li", "wang"] }
[tenants.globex]
center = "globex.toml"
"""


def test_a_settings_file_says_it_all_with_paths_from_its_own_folder(tmp_path):
    (tmp_path / "server.toml").write_text(FILE)
    found = load_server_file(tmp_path / "server.toml")
    assert found.listen == "0.0.0.0:7443" and found.data == tmp_path / "data" and found.key == tmp_path / "certs/server.key"
    assert found.audience == "prod" and found.limits == {"requests_per_s": 50.5, "streams": 7}
    assert found.tenants["acme"].teams == {"north": {"li", "wang"}} and found.tenants["globex"].center == tmp_path / "globex.toml"
    (tmp_path / "empty.toml").write_text("")
    assert load_server_file(tmp_path / "empty.toml") == ServerFile()


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("[tsl]", 1, "tsl"), ("tls = 1", 1, "tls"), ("[tls]\n\ncert = 'a'", 3, "tls.cert"), ("[server]\nlisten = 5", 2, "server.listen"),
        ("[limits]\nburst = 0", 2, "limits.burst"), ("[limits]\nburst = 'x'", 2, "limits.burst"), ("[tenants.A]\ncenter='x'", 1, "tenants.A"),
        ("[tenants.a]\nteams={}", 1, "tenants.a"), ("[tenants]\na = 1", 2, "tenants.a"), ("[tenants.a]\ncenter='x'\nteam={}", 3, "tenants.a.team"),
        ("[tenants.a]\ncenter='x'\nteams={n='li'}", 3, "tenants.a.teams.n"), ("[tenants.a]\ncenter='x'\nteams=[]", 3, "tenants.a.teams"), ("a = \nb = 1", 1, None),
    ],
)
def test_a_mistake_in_a_settings_file_is_named_with_its_line_and_key(tmp_path, text, line, key):
    (tmp_path / "server.toml").write_text(text)
    with pytest.raises(InputError) as wrong:
        load_server_file(tmp_path / "server.toml")
    assert (wrong.value.where.line, wrong.value.where.key) == (line, key) and wrong.value.hint


@pytest.fixture
def prepared(tmp_path) -> Path:
    """A folder with all that a secure server of two tenants needs."""
    text = FILE.replace("0.0.0.0:7443", "127.0.0.1:0")
    (tmp_path / "server.toml").write_text(text)
    for name in ("acme", "globex"):
        (tmp_path / f"{name}.toml").write_text(CENTER.format(name))
    certificates.write_pair(tmp_path / "certs", "server", certificates.make_server(CA, ["localhost"]))
    (tmp_path / "certs" / "ca.pem").write_bytes(CA.certificate)
    tokens.write_keys(tmp_path / "public.jwks", [KEY], private=False)
    return tmp_path


@contextlib.contextmanager
def served(*arguments: object) -> Iterator[str]:
    """``cordboard serve`` as a process of its own; gives its address, and sees that it ends well."""
    command = [sys.executable, "-m", "cordboard", "serve", "--json", "--drain", "1", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield json.loads(line)["address"].replace("127.0.0.1", "localhost")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, process.stderr.read()
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


def test_a_served_pair_of_tenants_over_mutual_tls_with_tokens_and_an_audit_log_that_holds(prepared):
    async def scene(address: str) -> None:
        pair = certificates.make_client(CA, somebody(Role.SERVICE, name="crm"))
        proof = bearer(somebody(Role.MANAGER, name="boss"), audience="prod")
        async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(CA.certificate, pair.key, pair.certificate)) as channel:
            await call(channel, ENQUEUE, filled(ENQUEUE, "acme", "acme"))
            request = routing.EnqueueRequest(queue="tenants/acme/queues/acme-queue", contact_id="c2", request_id="c2")
            await call(channel, ENQUEUE, request, metadata=proof)
            assert await code_of(channel, ENQUEUE, filled(ENQUEUE, "globex", "globex")) is Code.PERMISSION_DENIED
        async with grpc.aio.insecure_channel(address) as channel:
            assert await code_of(channel, ENQUEUE) is Code.UNAVAILABLE

    with served("--settings", prepared / "server.toml") as address:
        run(scene(address))
    keys = tokens.read_keys(prepared / "data" / "audit.public.jwks")
    verdict = verify(prepared / "data" / "acme" / "audit", keys, tenant="acme")
    assert verdict.whole and verdict.signed == verdict.head[0]
    text = (prepared / "data" / "acme" / "audit" / "audit-00000001.log").read_text()
    assert text.count('"actor":"crm"') == 2 and text.count('"actor":"boss"') == 1


def test_serve_refuses_what_would_be_unsafe_and_says_what_to_do(prepared, capsys):
    def refused(*arguments: object) -> str:
        assert main(["serve", "--check", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    center = prepared / "acme.toml"
    certificate = ["--tls-cert", prepared / "certs/server.pem", "--tls-key", prepared / "certs/server.key"]
    assert "cordboard certs init" in refused(center, "--listen", "0.0.0.0:7443")
    assert "--token-keys" in refused(center, "--listen", "0.0.0.0:7443", *certificate)
    assert "--tls-key" in refused(center, *certificate[:2])
    assert "neither or both" in refused(center, "--settings", prepared / "server.toml")
    assert "neither or both" in refused()
    assert main(["serve", "--check", str(center), "--listen", "0.0.0.0:7443", *map(str, certificate), "--token-keys", str(prepared / "public.jwks")]) == 0
    (prepared / "two.toml").write_text("[tenants.a]\ncenter='acme.toml'\n[tenants.b]\ncenter='globex.toml'\n")
    assert "several tenants" in refused("--settings", prepared / "two.toml")
    assert main(["serve", "--check", "--settings", str(prepared / "server.toml")]) == 0
    (prepared / "certs" / "server.key").chmod(0o644)
    assert "chmod 600" in refused("--settings", prepared / "server.toml")


def test_every_rpc_of_the_real_server_needs_its_permission(tmp_path):
    async def scene():
        async with two_tenants(tmp_path) as (address, _, _), grpc.aio.insecure_channel(address) as channel:
            for name, method in METHODS.items():
                request = filled(method, "acme", "acme")
                assert await code_of(channel, method, request) is Code.UNAUTHENTICATED, name
                for role in Role:
                    if not Caller("acme", "x", frozenset({role})).has(permission(method)):
                        assert await code_of(channel, method, request, metadata=bearer(somebody(role))) is Code.PERMISSION_DENIED, name
            health = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert await health(b"") == b"\x08\x01"
            for closed in ("/grpc.channelz.v1.Channelz/GetServers",):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await channel.unary_unary(closed)(b"")
                assert refused.value.code() is Code.UNAUTHENTICATED
            stream = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                async for _ in stream(iter([b""])):
                    pass
            assert refused.value.code() is Code.UNAUTHENTICATED
            assert [one async for one in stream(iter([b"\x3a\x00"]), metadata=bearer(somebody(Role.AGENT)))]

    run(scene())
