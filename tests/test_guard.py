"""Every rpc, with nobody, with the wrong role and with the right one; limits; and what the audit log hears of it."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import replace

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st

from cordboard.errors import InputError
from cordboard.live import tokens
from cordboard.live.access import PERMISSIONS, ROLES, Caller, Role, local_administrator
from cordboard.services.security import guard as guard_module
from cordboard.services.security.guard import Guard
from cordboard.services.security.guarded import GuardedServer
from cordboard.services.security.identity import Identity
from cordboard.services.security.limits import Buckets, Limits
from cordboard.services.security.rules import KNOWN, OPEN, STANDARD, changes, path, permission, rules
from tests.secure import Told, bearer, call, code_of, empty_server, methods, run, somebody, verifier

Code = grpc.StatusCode
METHODS = {path(method): method for method in methods()}
ENQUEUE = METHODS["/cordboard.v1.RoutingService/Enqueue"]
WATCH = METHODS["/cordboard.v1.EventService/Watch"]
SESSION = METHODS["/cordboard.v1.RoutingService/Session"]


def details_of(error: grpc.aio.AioRpcError, kind: type) -> object:
    found = kind()
    for detail in rpc_status.from_call(error).details:
        if detail.Is(kind.DESCRIPTOR):
            detail.Unpack(found)
    return found


@pytest.fixture
def identity(tmp_path) -> Identity:
    return Identity(verifier=verifier(tmp_path, tenants={"acme", "globex"}), teams={"acme": {"north": {"li", "wang"}}})


def test_every_rpc_says_which_permission_it_needs_and_it_is_a_known_one():
    assert METHODS
    for method in METHODS.values():
        assert permission(method) in PERMISSIONS, f"{method.full_name}: {permission(method) or 'no permission'}"
    for needed in STANDARD.values():
        assert needed in (OPEN, KNOWN) or needed in PERMISSIONS


def test_a_permission_that_changes_something_is_audited():
    assert changes("contacts.write") and changes("agents.self") and changes("subjects.export")
    assert not changes("contacts.read") and not changes("events.watch") and not changes(OPEN)


def test_every_rpc_is_closed_to_nobody_and_to_every_role_without_its_permission_and_open_to_the_others(identity):
    async def scene():
        async with empty_server(Guard(rules(), identity, Told())) as (address, reached), grpc.aio.insecure_channel(address) as channel:
            proofs = {role: bearer(somebody(role)) for role in Role}
            for name, method in METHODS.items():
                assert await code_of(channel, method) is Code.UNAUTHENTICATED, name
                for role in Role:
                    expected = Code.OK if permission(method) in ROLES[role] else Code.PERMISSION_DENIED
                    assert await code_of(channel, method, metadata=proofs[role]) is expected, (name, role)
                assert await code_of(channel, method, metadata=bearer(somebody())) is Code.PERMISSION_DENIED, name
            allowed = {(name, role) for name, m in METHODS.items() for role in Role if permission(m) in ROLES[role]}
            came = [(name, role) for name, caller in reached.calls for role in caller.roles]
            assert len(came) == len(allowed) and set(came) == allowed

    run(scene())


def test_an_rpc_without_a_rule_is_open_to_nobody(identity):
    async def scene():
        without = {name: needed for name, needed in rules().items() if name != path(ENQUEUE)}
        async with empty_server(Guard(without, identity, Told())) as (address, _), grpc.aio.insecure_channel(address) as channel:
            everything = bearer(somebody(*Role))
            assert await code_of(channel, ENQUEUE, metadata=everything) is Code.PERMISSION_DENIED
            assert await code_of(channel, WATCH, metadata=everything) is Code.OK

    run(scene())


def test_whoever_may_look_at_health_may_not_look_at_the_services(identity):
    async def scene():
        server = GuardedServer(Guard(rules(), identity, Told()))
        health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
            assert await code_of(channel, ENQUEUE) is Code.UNIMPLEMENTED  # not there: nothing to protect
        await server.stop(0)

    run(scene())


PROOFS = {
    "none": [],
    "no token": [("authorization", "Bearer ")],
    "another scheme": [("authorization", "Basic bGk6bGk=")],
    "not a token": [("authorization", "Bearer x.y.z")],
    "two tokens": bearer(somebody(*Role)) + bearer(somebody(*Role)),
    "another key": bearer(somebody(*Role), tokens.new_key()),
    "another audience": bearer(somebody(*Role), audience="elsewhere"),
    "another tenant": bearer(somebody(*Role, tenant="initech")),
    "long": [("authorization", "Bearer " + "x" * 9000)],
}


@pytest.mark.parametrize("kind", PROOFS)
def test_a_proof_that_does_not_hold_is_refused_with_a_reason_code_and_nothing_more(identity, kind):
    async def scene():
        told = Told()
        async with empty_server(Guard(rules(), identity, told)) as (address, reached), grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel, ENQUEUE, metadata=PROOFS[kind])
            assert refused.value.code() is Code.UNAUTHENTICATED and not reached.calls
            info = details_of(refused.value, ErrorInfo)
            assert info.domain == "cordboard" and info.reason == ("TOKEN_MISSING" if kind == "none" else "TOKEN_INVALID")
            for word in ("key", "signature", "audience", "tenant", "algorithm"):
                assert word not in str(rpc_status.from_call(refused.value)).lower()
            assert [entry["outcome"] for entry in told] == [info.reason] and told[0]["tenant"] == ""

    run(scene())


def test_the_servicer_is_told_who_calls_with_the_agents_of_their_teams(identity):
    async def scene():
        async with empty_server(Guard(rules(), identity, Told())) as (address, reached), grpc.aio.insecure_channel(address) as channel:
            lead = replace(somebody(Role.TEAM_LEAD, name="boss"), teams=frozenset({"north"}), queues=frozenset({"billing"}))
            await call(channel, METHODS["/cordboard.v1.AgentService/List"], metadata=bearer(lead))
            found = reached.calls[0][1]
            assert found.agents == {"li", "wang"} and found.covers_queue("billing") and not found.covers_queue("vip")

    run(scene())


def test_without_security_on_loopback_the_caller_is_an_administrator_and_is_not_held_back():
    async def scene():
        guard = Guard(rules(), Identity(local=local_administrator()), Told(), limits=Limits(requests_per_s=1, burst=1))
        async with empty_server(guard) as (address, reached), grpc.aio.insecure_channel(address) as channel:
            for method in METHODS.values():
                assert await code_of(channel, method) is Code.OK
            assert {caller for _, caller in reached.calls} == {local_administrator()}

    run(scene())


def test_without_security_and_without_a_local_caller_nobody_gets_in():
    async def scene():
        async with empty_server(Guard(rules(), Identity(), Told())) as (address, _), grpc.aio.insecure_channel(address) as channel:
            assert await code_of(channel, ENQUEUE, metadata=bearer(somebody(*Role))) is Code.UNAUTHENTICATED

    run(scene())


def test_who_asks_too_often_is_told_how_long_to_wait_and_others_are_not_held_back(identity):
    async def scene():
        guard = Guard(rules(), identity, Told(), limits=Limits(requests_per_s=0.5, burst=3))
        async with empty_server(guard) as (address, _), grpc.aio.insecure_channel(address) as channel:
            li, wang = (bearer(somebody(Role.SERVICE, name=name)) for name in ("li", "wang"))
            assert [await code_of(channel, ENQUEUE, metadata=li) for _ in range(3)] == [Code.OK] * 3
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel, ENQUEUE, metadata=li)
            assert refused.value.code() is Code.RESOURCE_EXHAUSTED
            delay = details_of(refused.value, RetryInfo).retry_delay.ToTimedelta().total_seconds()
            assert 0 < delay <= 2
            assert await code_of(channel, ENQUEUE, metadata=wang) is Code.OK

    run(scene())


def test_messages_of_a_stream_are_held_back_and_not_refused(identity):
    async def scene():
        got = []

        async def session(requests, context):
            async for _ in requests:
                got.append(time.monotonic())
            return
            yield

        handler = grpc.stream_stream_rpc_method_handler(session, bytes, bytes)
        guard = Guard(rules(), identity, Told(), limits=Limits(requests_per_s=20, burst=3))
        async with empty_server(guard, handlers={path(SESSION): handler}) as (address, _), grpc.aio.insecure_channel(address) as channel:
            stream = channel.stream_stream(path(SESSION))(itertools.repeat(b"", 6), metadata=bearer(somebody(Role.SERVICE)))
            assert [answer async for answer in stream] == []
            assert len(got) == 6 and got[-1] - got[0] >= 0.1  # 2 at once, 4 at 20 a second

    run(scene())


def test_too_many_streams_of_one_caller_are_refused_until_one_ends(identity):
    async def scene():
        async def watch(request, context):
            yield b""
            await asyncio.sleep(60)

        handler = grpc.unary_stream_rpc_method_handler(watch)
        guard = Guard(rules(), identity, Told(), limits=Limits(streams=2))
        proof = bearer(somebody(Role.SERVICE))
        async with empty_server(guard, handlers={path(WATCH): handler}) as (address, _), grpc.aio.insecure_channel(address) as channel:
            opened = [channel.unary_stream(path(WATCH))(b"", metadata=proof) for _ in range(2)]
            for stream in opened:
                await stream.read()
            assert await code_of(channel, WATCH, metadata=proof) is Code.RESOURCE_EXHAUSTED
            opened[0].cancel()
            while guard._open[("acme", "li")] > 1:
                await asyncio.sleep(0.01)
            third = channel.unary_stream(path(WATCH))(b"", metadata=proof)
            assert await third.read() == b""
            for stream in (opened[1], third):
                stream.cancel()
            while guard._streams:
                await asyncio.sleep(0.01)
            assert not guard._open

    run(scene())


def test_a_stream_ends_when_its_token_does(tmp_path, monkeypatch):
    monkeypatch.setattr(guard_module, "SWEEP_S", 0.02)

    async def scene():
        async def watch(request, context):
            yield b""
            await asyncio.sleep(60)

        now = [time.time()]
        identity = Identity(verifier=verifier(tmp_path, clock=lambda: now[0]))
        guard = Guard(rules(), identity, Told(), clock=lambda: now[0])
        handler = grpc.unary_stream_rpc_method_handler(watch)
        async with empty_server(guard, handlers={path(WATCH): handler}) as (address, _), grpc.aio.insecure_channel(address) as channel:
            stream = channel.unary_stream(path(WATCH))(b"", metadata=bearer(somebody(Role.SERVICE)))
            await stream.read()
            now[0] += 3600 + tokens.LEEWAY_S + 1
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await stream.read()
            assert ended.value.code() is Code.UNAUTHENTICATED
            assert details_of(ended.value, ErrorInfo).reason == "TOKEN_EXPIRED"

    run(scene())


def test_a_reader_who_does_not_read_is_dropped_with_a_clear_status(identity, monkeypatch):
    monkeypatch.setattr(guard_module, "SWEEP_S", 0.02)

    async def scene():
        ended = asyncio.Event()

        async def watch(request, context):
            try:
                while True:
                    yield bytes(100_000)
            finally:
                ended.set()

        handler = grpc.unary_stream_rpc_method_handler(watch)
        guard = Guard(rules(), identity, Told(), limits=Limits(write_s=0.3))
        async with empty_server(guard, handlers={path(WATCH): handler}) as (address, _), grpc.aio.insecure_channel(address) as channel:
            stream = channel.unary_stream(path(WATCH))(b"", metadata=bearer(somebody(Role.SERVICE)))
            await stream.read()
            await asyncio.wait_for(ended.wait(), 30)  # the server has let go, though nobody reads
            with pytest.raises(grpc.aio.AioRpcError) as dropped:
                while True:
                    await stream.read()
            assert dropped.value.code() is Code.RESOURCE_EXHAUSTED and "Begin again" in dropped.value.details()

    run(scene())


def test_the_audit_log_hears_of_changes_and_refusals_and_of_no_reading(identity):
    async def scene():
        told = Told()
        async with empty_server(Guard(rules(), identity, told)) as (address, _), grpc.aio.insecure_channel(address) as channel:
            request = ENQUEUE.input_type._concrete_class(queue="tenants/acme/queues/billing", request_id="r1", customer="+86 138 0013 8000")
            await call(channel, ENQUEUE, request, metadata=bearer(somebody(Role.SERVICE, name="crm")))
            await call(channel, WATCH, metadata=bearer(somebody(Role.SERVICE, name="crm")))
            await code_of(channel, ENQUEUE, metadata=bearer(somebody(Role.QA, name="qa-1")))
            await call(channel, SESSION, metadata=bearer(somebody(Role.SERVICE, name="crm")))
        kept = [{name: entry.get(name) for name in ("tenant", "actor", "action", "outcome", "target", "request_id")} for entry in told]
        enqueue, session = "cordboard.v1.RoutingService/Enqueue", "cordboard.v1.RoutingService/Session"
        assert kept == [
            {"tenant": "acme", "actor": "crm", "action": enqueue, "outcome": "OK", "target": "tenants/acme/queues/billing", "request_id": "r1"},
            {"tenant": "acme", "actor": "qa-1", "action": enqueue, "outcome": "PERMISSION_MISSING", "target": "", "request_id": None},
            {"tenant": "acme", "actor": "crm", "action": session, "outcome": "STARTED", "target": "", "request_id": None},
            {"tenant": "acme", "actor": "crm", "action": session, "outcome": "OK", "target": "", "request_id": ""},
        ]
        assert "0013 8000" not in str(told)
        assert all(entry["peer"].startswith(("ipv4:127.0.0.1", "ipv6:")) for entry in told)

    run(scene())


def test_a_change_that_fails_is_audited_with_its_code(identity):
    async def scene():
        told = Told()

        async def enqueue(request, context):
            await context.abort(Code.ABORTED, "no")

        handler = grpc.unary_unary_rpc_method_handler(enqueue)
        guard = Guard(rules(), identity, told)
        async with empty_server(guard, handlers={path(ENQUEUE): handler}) as (address, _), grpc.aio.insecure_channel(address) as channel:
            assert await code_of(channel, ENQUEUE, metadata=bearer(somebody(Role.SERVICE))) is Code.ABORTED
        assert [entry["outcome"] for entry in told] == ["ABORTED"]

    run(scene())


def test_who_has_no_token_is_refused_before_the_request_comes_and_who_has_one_is_waited_for(identity):
    async def never():
        await asyncio.sleep(60)
        yield b""

    async def scene():
        async with empty_server(Guard(rules(), identity, Told())) as (address, reached), grpc.aio.insecure_channel(address) as channel:
            for method in (ENQUEUE, WATCH):
                held = channel.stream_unary(path(method))(never())
                assert await asyncio.wait_for(held.code(), 30) is Code.UNAUTHENTICATED
            held = channel.stream_unary(path(ENQUEUE))(never(), metadata=bearer(somebody(Role.SERVICE)))
            done, _ = await asyncio.wait([asyncio.ensure_future(held.code())], timeout=0.5)
            assert not done and not reached.calls
            held.cancel()

    run(scene())


def test_of_many_calls_at_once_the_audit_log_has_each_once_also_of_those_after_which_the_server_stops(identity):
    async def scene():
        told = Told()
        async with empty_server(Guard(rules(), identity, told)) as (address, _), grpc.aio.insecure_channel(address) as channel:
            proof = bearer(somebody(Role.SERVICE, name="crm"))
            asked = [ENQUEUE.input_type._concrete_class(queue="tenants/acme/queues/billing", request_id=f"r{n}") for n in range(400)]
            await asyncio.gather(*(call(channel, ENQUEUE, request, metadata=proof) for request in asked))
        assert sorted(entry["request_id"] for entry in told) == sorted(request.request_id for request in asked)
        assert {(entry["actor"], entry["outcome"], entry["peer"].startswith("ipv")) for entry in told} == {("crm", "OK", True)}

    run(scene())


def test_a_flood_of_refused_attempts_does_not_flood_the_audit_log_but_is_counted(identity):
    async def scene():
        told = Told()
        now = [time.time()]
        guard = Guard(rules(), identity, told, limits=Limits(refusals_per_s=1, refusals_burst=3), clock=lambda: now[0])
        async with empty_server(guard) as (address, _), grpc.aio.insecure_channel(address) as channel:
            for _ in range(10):
                assert await code_of(channel, ENQUEUE) is Code.UNAUTHENTICATED
            now[0] += 2
            await code_of(channel, ENQUEUE)
        assert len(told) == 4 and told[-1]["details"]["suppressed_before"] == 7

    run(scene())


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=60), st.floats(0.1, 5), st.integers(1, 5))
def test_a_bucket_never_gives_more_than_its_rate_and_burst_and_says_when_there_is_one_again(asked, rate, burst):
    buckets, now, taken = Buckets(rate, burst), 100.0, {"a": [], "b": []}
    for key, later in asked:
        now += later
        wait = buckets.take(key, now)
        if wait:
            assert 0 < wait <= 1 / rate + 1e-9
            probe = Buckets(rate, burst)
            probe._levels.update(buckets._levels)
            assert probe.take(key, now + wait + 1e-9) == 0
        else:
            taken[key].append(now)
    for times in taken.values():
        for i, start in enumerate(times):
            for j in range(i, len(times)):
                assert j - i + 1 <= burst + rate * (times[j] - start) + 1e-6


def test_buckets_are_bounded_and_limits_of_nothing_are_refused():
    buckets = Buckets(1, 1, most=10)
    for i in range(100):
        buckets.take(i, 0.0)
    assert len(buckets._levels) == 10
    with pytest.raises(InputError):
        Limits(streams=0)


def test_a_caller_of_no_role_is_known_and_may_do_nothing():
    assert not any(Caller("acme", "li", frozenset()).has(needed) for needed in PERMISSIONS)


def test_who_is_refused_a_stream_learns_why_even_if_the_first_message_comes_late(identity):
    async def scene():
        connect = METHODS["/cordboard.v1.AgentService/Connect"]
        wrong, chance = bearer(somebody(Role.QA)), random.Random(7)
        found = []

        async def late(delay):
            await asyncio.sleep(delay)
            yield b""

        async with empty_server(Guard(rules(), identity, Told())) as (address, _), grpc.aio.insecure_channel(address) as channel:

            async def attempt(delay):
                try:
                    async for _ in channel.stream_stream(path(connect))(late(delay), metadata=wrong, timeout=20):
                        pass
                except grpc.aio.AioRpcError as error:
                    found.append(error.code())

            for _ in range(40):  # given messages that are on their way when the refusal could be
                await asyncio.gather(*(attempt(chance.uniform(0, 0.005)) for _ in range(10)))
        assert found == [Code.PERMISSION_DENIED] * 400

    run(scene())
