"""Attacks on a real server: floods, slow and silent peers, oversized and expired things; others are served meanwhile."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from cordboard.center import parse_center
from cordboard.live import Engine, Settings, certificates, tokens
from cordboard.live.access import ALL, Caller, Role
from cordboard.live.tokens import LEEWAY_S
from cordboard.services.security.limits import Buckets, Limits
from cordboard.v1 import agent_service_pb2 as agents
from cordboard.v1 import (
    agent_service_pb2_grpc,
    event_service_pb2_grpc,
    queue_service_pb2_grpc,
    routing_service_pb2_grpc,
)
from cordboard.v1 import event_service_pb2 as events
from cordboard.v1 import journal_pb2 as journal
from cordboard.v1 import queue_service_pb2 as queues
from cordboard.v1 import routing_service_pb2 as routing
from tests.secure import CA, CENTER, KEY

Code = grpc.StatusCode
CONNECTIONS, HANDSHAKE_S, WRITE_S = 300, 3, 1
PATIENCE_S = 30.0


@dataclass
class Attacked:
    address: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def channel(self, who: Caller | None = None, **more: int) -> grpc.Channel:
        """A connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1), *((f"grpc.{key}", value) for key, value in more.items())]
        credentials = grpc.ssl_channel_credentials(CA.certificate)
        if who is not None:
            token = tokens.issue(KEY, who, now=time.time() - 60)
            credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
        return grpc.secure_channel(self.address, credentials, options)

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096


def crm(lasts: float = 600.0) -> Caller:
    return Caller("acme", "crm", frozenset({Role.SERVICE}), ALL, ALL, time.time() + lasts)


def asked(channel: grpc.Channel, timeout: float = PATIENCE_S) -> int:
    """An ordinary call of an ordinary caller."""
    request = queues.QueueServiceGetRequest(name="tenants/acme/queues/acme-queue")
    found = queue_service_pb2_grpc.QueueServiceStub(channel).Get(request, timeout=timeout)
    return int(found.queue.waiting_count)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "acme.toml").write_text(CENTER.format("acme"))
    (folder / "server.toml").write_text(
        '[server]\nlisten = "127.0.0.1:0"\ndata = "data"\n[tls]\ncertificate = "server.pem"\nkey = "server.key"\n'
        f'[tokens]\nkeys = "public.jwks"\n[limits]\nconnections = {CONNECTIONS}\nhandshake_s = {HANDSHAKE_S}\n'
        f'write_s = {WRITE_S}\nrequests_per_s = 100000\nburst = 100000\n[tenants.acme]\ncenter = "acme.toml"\n'
    )
    certificates.write_pair(folder, "server", certificates.make_server(CA, ["localhost"]))
    tokens.write_keys(folder / "public.jwks", [KEY], private=False)
    command = [sys.executable, "-m", "cordboard", "serve", "--json", "--drain", "1", "--metrics", "off"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*command, "--settings", "server.toml"], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        )
    guard = threading.Timer(150, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready, (folder / "log").read_text()
        yield Attacked(json.loads(ready)["address"].replace("127.0.0.1", "localhost"), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "log").read_text()
        assert "Traceback" not in (folder / "log").read_text()
    finally:
        guard.cancel()
        process.kill()
        process.communicate()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def closed(sockets: list[socket.socket], seconds: float) -> int:
    """How many of them the server closes within so many seconds."""
    end, left, count = time.monotonic() + seconds, list(sockets), 0
    while left and time.monotonic() < end:
        for one in list(left):
            one.setblocking(False)
            try:
                over = one.recv(4096) == b""
            except BlockingIOError:
                continue
            except OSError:
                over = True
            if over:
                left.remove(one)
                count += 1
        time.sleep(0.05)
    return count


def idle(server: Attacked, count: int, first: bytes = b"") -> list[socket.socket]:
    found = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(count)]
    for one in found:
        one.sendall(first)
    return found


HELLO = bytes.fromhex("1603010200010001fc0303")  # how a TLS client begins


@pytest.mark.parametrize("first", [b"", HELLO, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], ids=["silent", "half a hello", "in the clear"])
def test_connections_that_never_say_hello_are_closed_and_others_are_served_meanwhile(server: Attacked, first: bytes) -> None:
    with server.channel(crm()) as channel:
        assert asked(channel) >= 0
        held = idle(server, 100, first)
        with server.channel(crm()) as late:  # a handshake beside theirs
            assert asked(channel) >= 0 and asked(late) >= 0
        assert closed(held, HANDSHAKE_S + PATIENCE_S) == 100
        assert asked(channel) >= 0
    for one in held:
        one.close()


def test_a_hello_that_comes_a_byte_at_a_time_does_not_hold_its_connection_open(server: Attacked) -> None:
    held = idle(server, 50)
    end, alive = time.monotonic() + HANDSHAKE_S + PATIENCE_S, list(held)
    while alive and time.monotonic() < end:
        for one in list(alive):
            try:
                one.sendall(HELLO[:1])
            except OSError:
                alive.remove(one)
        time.sleep(0.2)
    assert not alive
    for one in held:
        one.close()
    with server.channel(crm()) as channel:
        assert asked(channel) >= 0


def test_more_connections_than_there_may_be_are_closed_as_they_come_and_those_that_are_there_go_on(server: Attacked) -> None:
    with server.channel(crm()) as channel:
        assert asked(channel) >= 0
        before = server.files()
        held = idle(server, CONNECTIONS + 200)
        assert asked(channel) >= 0
        assert closed(held, 2.0) >= 150  # long before their time for a hello is over
        assert server.files() <= before + CONNECTIONS + 20
        assert closed(held, HANDSHAKE_S + PATIENCE_S) == len(held)  # the last of them
        for one in held:
            one.close()
        with server.channel(crm()) as late:
            assert asked(late) >= 0


def enqueue(channel: grpc.Channel, count: int, name: str) -> None:
    stub = routing_service_pb2_grpc.RoutingServiceStub(channel)
    batch = [
        journal.Event(contact_queued=journal.ContactQueued(contact=f"{name}{n}", queue="acme-queue", preferred_agent="x" * 250)) for n in range(count)
    ] + [journal.Event(contact_left=journal.ContactLeft(contact=f"{name}{n}")) for n in range(count)]
    open_ = routing.SessionRequest(open=routing.SessionOpen(tenant="tenants/acme"))
    parts = [routing.SessionRequest(events=routing.EventBatch(events=batch[at : at + 500])) for at in range(0, len(batch), 500)]
    assert len(list(stub.Session(iter([open_, *parts]), timeout=PATIENCE_S))) == len(parts) + 1


def test_a_watcher_who_never_reads_is_dropped_and_told_where_to_go_on(server: Attacked) -> None:
    with server.channel(crm()) as channel:
        enqueue(channel, 6_000, "w")
        stream = event_service_pb2_grpc.EventServiceStub(channel).Watch(
            events.WatchRequest(parent="tenants/acme", start_revision=1), timeout=60
        )
        first = next(stream)
        before = server.rss()
        time.sleep(WRITE_S + 3)
        enqueue(channel, 500, "x")
        with pytest.raises(grpc.RpcError) as dropped:
            for _ in stream:
                pass
        assert dropped.value.code() is Code.RESOURCE_EXHAUSTED and "last revision" in dropped.value.details()
        assert server.rss() < before + 64 * 1024 * 1024
        # And goes on without a gap
        again = event_service_pb2_grpc.EventServiceStub(channel).Watch(
            events.WatchRequest(parent="tenants/acme", start_revision=first.revision + 1), timeout=PATIENCE_S
        )
        entries = next(part.entries for part in again if part.entries)
        assert entries[0].revision == first.revision + 1
        again.cancel()


def test_a_session_that_sends_and_never_reads_is_held_back_and_dropped(server: Attacked) -> None:
    sent = 0
    stop = threading.Event()
    batch = [journal.Event(contact_left=journal.ContactLeft(contact="nobody" * 40))] * 500

    def parts() -> Iterator[routing.SessionRequest]:
        nonlocal sent
        yield routing.SessionRequest(open=routing.SessionOpen(tenant="tenants/acme"))
        while not stop.is_set() and sent < 5000:
            yield routing.SessionRequest(events=routing.EventBatch(events=batch))
            sent += 1

    with server.channel(crm()) as channel, server.channel(crm()) as other:
        before = server.rss()
        stream = routing_service_pb2_grpc.RoutingServiceStub(channel).Session(parts(), timeout=60)
        next(stream)
        end = time.monotonic() + WRITE_S + 4  # how it ended is told behind what was not read
        while time.monotonic() < end:
            assert asked(other) >= 0
            time.sleep(0.2)
        stop.set()
        assert sent < 5000 and server.rss() < before + 200 * 1024 * 1024
        with pytest.raises(grpc.RpcError) as dropped:
            for _ in stream:
                pass
        assert dropped.value.code() is Code.RESOURCE_EXHAUSTED


def test_a_thousand_streams_on_one_connection_are_served(server: Attacked) -> None:
    with server.channel(crm()) as channel:
        stub = event_service_pb2_grpc.EventServiceStub(channel)
        streams = [stub.Watch(events.WatchRequest(parent="tenants/acme"), timeout=60) for _ in range(1000)]
        for stream in streams:
            next(stream)  # the first says where it begins
        threads = server.threads()
        enqueue(channel, 1, "t")
        for stream in streams:
            assert next(stream).entries
        for stream in streams:
            stream.cancel()
        assert asked(channel) >= 0 and threads < 100


def test_a_stream_ends_with_its_token(server: Attacked) -> None:
    with server.channel(crm(lasts=3.0 - LEEWAY_S)) as channel:
        watch = event_service_pb2_grpc.EventServiceStub(channel).Watch(events.WatchRequest(parent="tenants/acme"), timeout=PATIENCE_S)
        next(watch)
        with pytest.raises(grpc.RpcError) as ended:
            next(watch)
        assert ended.value.code() is Code.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as refused:
            asked(channel)
        assert refused.value.code() is Code.UNAUTHENTICATED


@pytest.mark.parametrize("what", ["a big value", "many headers", "a big message", "a big message into a stream"])
def test_what_is_too_big_is_refused_and_its_connection_and_others_go_on(server: Attacked, what: str) -> None:
    with server.channel(crm(), max_send_message_length=-1) as channel, server.channel(crm()) as other:
        stub = routing_service_pb2_grpc.RoutingServiceStub(channel)
        queue = "tenants/acme/queues/acme-queue"
        request, metadata = routing.EnqueueRequest(queue=queue, contact_id="c"), []
        if what == "a big value":
            metadata = [("x-much", "x" * 60_000)]
        elif what == "many headers":
            metadata = [(f"x-{n}", "x" * 20) for n in range(3_000)]
        else:
            request.customer = "x" * (Limits().message_bytes + 1)
        with pytest.raises(grpc.RpcError) as refused:
            if what == "a big message into a stream":
                hello = agents.Hello(agent="tenants/acme/agents/" + "x" * (Limits().message_bytes + 1))
                list(agent_service_pb2_grpc.AgentServiceStub(channel).Connect(iter([agents.ConnectRequest(hello=hello)]), timeout=PATIENCE_S))
            else:
                stub.Enqueue(request, metadata=metadata, timeout=PATIENCE_S)
        assert refused.value.code() is Code.RESOURCE_EXHAUSTED
        assert asked(channel) >= 0 and asked(other) >= 0


def test_a_flood_of_calls_that_nobody_lets_in_keeps_nobody_out(server: Attacked) -> None:
    with server.channel() as stranger, server.channel(crm()) as channel:
        stub = routing_service_pb2_grpc.RoutingServiceStub(stranger)
        futures = [stub.Enqueue.future(routing.EnqueueRequest(queue="tenants/acme/queues/acme-queue"), timeout=60) for _ in range(800)]  # of 1,000 that wait gRPC itself turns some away
        assert asked(channel, 60) >= 0
        assert {future.code() for future in futures} == {Code.UNAUTHENTICATED}


def test_a_clock_that_jumps_neither_locks_a_caller_out_nor_lets_it_flood() -> None:
    buckets = Buckets(10.0, 20.0)
    for now in (1000.0, 1e9, 1000.0, -5.0):
        assert buckets.take("crm", now) == 0.0
    assert sum(buckets.take("crm", -5.0) == 0.0 for _ in range(100)) <= 20
    assert buckets.take("crm", -5.0) <= 0.1 and buckets.take("crm", -4.0) == 0.0


@pytest.mark.parametrize("twice", [False, True])
def test_a_signal_while_it_recovers_ends_it_with_status_0_and_loses_nothing(tmp_path: Path, twice: bool) -> None:
    # Given a journal without a snapshot, which takes a while to replay
    (tmp_path / "center.toml").write_text(CENTER.format("a"))
    settings = Settings(data=tmp_path / "data", durable=False, snapshot_events=100_000_000)
    with Engine.open(parse_center(CENTER.format("a")), settings) as engine:
        for at in range(0, 15_000, 1_000):
            events_ = [{"event": "contact_queued", "contact": f"c{at + n}", "queue": "a-queue"} for n in range(1_000)]
            engine.submit_many(events_).result(30)
    (tmp_path / "data" / "default" / "snapshots.db").unlink()
    command = [sys.executable, "-m", "cordboard", "serve", "center.toml", "--data", "data", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--metrics", "off"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    guard = threading.Timer(90, process.kill)
    guard.start()
    try:
        lock = tmp_path / "data" / "default" / "journal.db-shm"
        while not lock.exists():  # it has opened its journal
            assert process.poll() is None
            time.sleep(0.01)
        # When it is told to end
        for _ in range(1 + twice):
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=80)
    finally:
        guard.cancel()
        process.kill()
    # Then it does, without having served, and the journal is whole
    assert process.returncode == 0, err
    assert out == ""
    with Engine.open(parse_center(CENTER.format("a")), settings) as engine:
        assert engine.state.revision == 15_000 and engine.read(lambda acd: acd.counts()["waiting"]).result() == 15_000
