"""cordboard.client against live servers: short names, typed answers, errors with reasons, and streams that go on."""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import re
import signal
import socket
import threading
from importlib.resources import files

import grpc
import numpy as np
import pytest

import cordboard
from cordboard import Acd
from cordboard.center import parse_center
from cordboard.client import AsyncClient, CallError, Client
from cordboard.errors import CordboardError, InputError
from cordboard.services.security.rules import permission
from cordboard.v1 import agent_service_pb2 as agents
from tests.serving import CENTER, serve_command, served
from tests.test_services_routing import busy_day


@pytest.fixture
def live(tmp_path):
    with served(tmp_path) as found:
        yield found


@pytest.fixture
def client(live):
    with Client(live.address) as found:
        yield found


ITS_OWN = {"Client.connect", *(f"Line.{name}" for name in ("__init__", "open", "_beat", "_send", "_next", "__iter__", "close"))}  # threads are not tasks
MADE_PLAIN = (
    (r"\b(async|await) ", ""), (r"\bAsync(Client|Line|Stubs|Iterator)", r"\1"), (r"\bgrpc\.aio\.(AioRpcError)?", lambda m: "grpc." + "RpcError" * bool(m[1])),
    (r"Awaitable\[T\]", "T"), (r"\b__a(enter|exit|iter)__", r"__\1__"), (r"asyncio\.sleep", "time.sleep"),
    (r"for entry in message\.entries:\s+yield entry", "yield from message.entries"),
)  # fmt: skip


def plain_methods(name: str) -> dict[str, str]:
    """Class.method -> its text without a trace of asyncio, comments and layout."""
    text = ast.unparse(ast.parse((files("cordboard.client") / name).read_text("utf-8")))
    for pattern, replacement in MADE_PLAIN:
        text = re.sub(pattern, replacement, text)
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    return {f"{one.name}.{method.name}": ast.unparse(method) for one in classes for method in one.body if isinstance(method, ast.FunctionDef)}


def test_the_two_clients_are_twins_but_for_await():
    one, other = plain_methods("synchronous.py"), plain_methods("asynchronous.py")
    assert set(one) | {"Line.open"} == set(other) and len(set(one) - ITS_OWN) > 20
    for key in set(one) - ITS_OWN:
        assert one[key] == other[key]


def test_the_client_is_a_name_of_cordboard():
    assert cordboard.client.Client is Client and issubclass(CallError, CordboardError)


def test_a_contact_goes_through_the_center_by_short_names(client):
    with client.connect("ana") as line:
        assert line.welcome.agent.state == agents.Agent.STATE_OFFLINE
        line.ready()
        told = iter(line)
        assert next(m for m in told if m.WhichOneof("message") == "state").state.state == agents.Agent.STATE_READY
        entered = client.enqueue("sales", "c/1", priority=2)
        assert entered.contact == "tenants/default/contacts/c%2F1" and entered.applied.effects[0].offer.agent == "ana"
        offer = next(m for m in told if m.WhichOneof("message") == "offer").offer
        line.accept(offer.contact)
        assert next(m for m in told if m.WhichOneof("message") == "answer").answer.applied.revision == 3
        assert client.queue("sales").connected_count == 1
        line.end(offer.contact)
        assert next(m for m in told if m.WhichOneof("message") == "answer").answer.applied.revision == 4
    assert client.agent("ana").state == agents.Agent.STATE_OFFLINE and client.agent("ana").handled_count == 1


def test_questions_are_answered_whole_however_many_pages_they_take(client):
    client.enqueue("help", "c1")
    assert [row.filter for row in client.explain("c1")] == ["offline"] * 3
    assert len(client.agents()) == 3 and [q.waiting_count for q in client.queues()] == [0, 1, 0]
    assert client.estimate_wait("c1").position == 1
    client.set_state("ben", "away", reason="lunch")
    assert client.agent("ben").state == agents.Agent.STATE_AWAY
    assert client.leave("c1").applied.revision == 3


def test_an_error_has_the_servers_reason_facts_and_words(client):
    with pytest.raises(CallError) as raised:
        client.enqueue("sale", "c1")
    error = raised.value
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "NAME_UNKNOWN")
    assert "sales" in error.text("en") and error.text("zh") != error.text("en") and not error.passes
    with pytest.raises(CallError) as raised:
        client.enqueue("sales", "c" * 300)
    assert raised.value.fields == ["contact"]
    with pytest.raises(InputError):
        client.set_state("ana", "asleep")


def test_columns_of_arrays_come_back_as_columns_of_arrays(client):
    events = busy_day()
    expected = Acd(parse_center(CENTER), explain=False).apply_columns(events)
    given = {"time": events["t"], "kind": events["event"], "contact": events["contact"], "agent": events["agent"], "queue": events["queue"]}
    found = client.route_columns(CENTER, given)
    assert np.array_equal(found["contact"], expected["contact"]) and np.array_equal(found["value"], expected["value"], equal_nan=True)
    with pytest.raises(InputError, match="kinds"):
        client.route_columns(CENTER, {"kinds": [1]})


def test_a_configuration_is_applied_from_its_text(client):
    etag = client.apply_center(CENTER + "[agents.dan]\n").etag
    assert len(client.agents()) == 4
    with pytest.raises(CallError) as raised:
        client.apply_center(CENTER, etag="not " + etag)
    assert raised.value.code is grpc.StatusCode.ABORTED


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_watch_goes_on_without_a_gap_while_the_server_is_killed_and_started_anew(tmp_path):
    # given a client that watches from the first revision
    (tmp_path / "center.toml").write_text(CENTER)
    address = f"127.0.0.1:{free_port()}"
    found: list[int] = []
    with Client(address) as client:
        def watch():
            for entry in client.watch(1):
                found.append(entry.revision)
                if entry.revision == 30:
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        # when the server is killed twice, and contacts come all the time
        for start in (0, 10, 20):
            with serve_command("center.toml", "--data", "data", cwd=tmp_path, listen=address) as (process, _):
                for i in range(start, start + 10):
                    client.enqueue("help", f"c{i}")
                if start == 20:
                    watcher.join(30)
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(30) == 0
                else:
                    process.kill()
        # then it has seen each of them once, in order
        assert found == list(range(1, 31))


def test_a_call_is_repeated_when_the_server_is_away_for_a_moment_and_applied_once(tmp_path):
    (tmp_path / "center.toml").write_text(CENTER)
    address = f"127.0.0.1:{free_port()}"
    with Client(address) as client:
        results = []
        with serve_command("center.toml", "--data", "data", cwd=tmp_path, listen=address) as (process, _):
            client.enqueue("help", "c1")
            process.kill()
        with serve_command("center.toml", "--data", "data", cwd=tmp_path, listen=address) as (process, _):
            results.append(client.enqueue("help", "c2", request_id="r2"))
            results.append(client.enqueue("help", "c2", request_id="r2"))
            process.kill()
    assert [r.applied.revision for r in results] == [2, 2] and results[1].applied.repeated_request


def test_the_service_config_repeats_only_what_is_safe_to_repeat():
    config = json.loads((files("cordboard.client") / "service_config.json").read_text())
    (method_config,) = config["methodConfig"]
    assert method_config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    named = set()
    for name in method_config["name"]:
        service = name["service"].rsplit(".", 1)[1]
        module = importlib.import_module(f"cordboard.v1.{service.removesuffix('Service').lower()}_service_pb2")
        methods = module.DESCRIPTOR.services_by_name[service].methods
        chosen = [method for method in methods if name.get("method") in (None, method.name)]
        assert chosen, name
        for method in chosen:
            safe = permission(method).endswith(".read") or "request_id" in method.input_type.fields_by_name
            assert safe and not method.client_streaming and not method.server_streaming, method.full_name
            named.add(method.name)
    assert {"Enqueue", "Leave", "SetState", "Apply"} <= named


def test_the_same_works_with_asyncio(live):
    async def scene():
        async with AsyncClient(live.address) as client:
            seen = []

            async def watch():
                async for entry in client.watch(1, kinds=["offer", "offer_accepted"]):
                    seen.append(entry.revision)
                    if len(seen) == 2:
                        return

            watching = asyncio.create_task(watch())
            async with await client.connect("ana", lease=3) as line:
                await line.ready()
                told = aiter(line)

                async def until(kind):
                    async for message in told:
                        if message.WhichOneof("message") == kind:
                            return getattr(message, kind)

                await until("state")
                await client.enqueue("sales", "c1")
                offer = await until("offer")
                await line.accept(offer.contact)
                assert (await until("answer")).applied.revision == 3
                assert (await client.queue("sales")).connected_count == 1
                assert len(await client.agents()) == 3 and len(await client.explain("c1")) == 3
                await line.end("c1")
                await until("answer")
            with pytest.raises(CallError) as raised:
                await client.leave("c1")
            assert raised.value.reason == "TOO_LATE"
            await asyncio.wait_for(watching, 20)
            assert seen == [2, 3]
            assert (await client.agent("ana")).state == agents.Agent.STATE_OFFLINE

    asyncio.run(scene())
