"""What the services cost: beside a bare grpc.aio echo in the same run, on the same machine, with the same client.

``python -m benchmarks.bench_services`` prints the table (``--quick``: shorter, for CI; ``--viewers N``). The servers are
processes of their own. "Durable off" is ``cordboard serve --durable off``, with its journal in memory (/dev/shm). "With
a token" is that server where callers show tokens: what the guard costs, with its audit record of each call, beside the
server that is open to this machine. Unary throughput is that of one core: all threads of the server share one, and the
client has the other. Rates "a core" divide by the server's processor time instead. ``--unary``: the unary part alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest

from benchmarks.viewers import Viewers, fan_out, share, told_bare
from cordboard.acd import EVENT
from cordboard.live import tokens
from cordboard.live.access import ALL, Caller, Role
from cordboard.v1 import columns_pb2, event_service_pb2, routing_service_pb2_grpc
from cordboard.v1 import journal_pb2 as journal
from cordboard.v1 import routing_service_pb2 as pb

AGENTS, QUEUES = 200, 8
BATCH = 32  # durable events in a message
CENTER = "".join(f"[queues.q{i}]\n" for i in range(QUEUES)) + "".join(f"[agents.a{i}]\n" for i in range(AGENTS))
TENANT = "tenants/default"
WATCH = "/cordboard.v1.EventService/Watch"
RUN, NUMBERS = uuid.uuid4().hex, itertools.count()  # names of contacts that no other run has
LOOP = asyncio.Runner()  # one for all: what is left of a channel of grpc.aio makes the pollers of a second loop spin
MEMORY = Path("/dev/shm")
BIG = (("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20))


def cpu_s(pid: int | str) -> float:
    """Processor time of a process so far, to the nanosecond: /proc counts in ticks of 10 ms, too coarse for a short run.
    The clock's number is the one that clock_getcpuclockid(3) gives on Linux."""
    return time.clock_gettime(~int(pid) << 3 | 2)


@dataclass
class Running:
    """A server in a process of its own."""

    address: str
    process: subprocess.Popen[str]
    metadata: tuple[tuple[str, str], ...] = ()  # that callers send

    def threads(self) -> list[int]:
        return [int(thread.name) for thread in Path(f"/proc/{self.process.pid}/task").iterdir()]

    def beside_s(self) -> float:
        """Processor time so far of processes that it has started."""
        children = [Path(f"/proc/{self.process.pid}/task/{one}/children").read_text() for one in self.threads()]
        return sum(map(cpu_s, " ".join(children).split()))

    def cpu_s(self) -> float:
        """Processor time so far."""
        return cpu_s(self.process.pid)

    def rss_mib(self) -> float:
        """Memory that it has now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def running(*command: str) -> Iterator[Running]:
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Running(process.stdout.readline().split()[-1], process)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def serving(durable: bool, *more: str) -> Iterator[Running]:
    """``cordboard serve`` with its journal on disk, or in memory; records are written beside it if not told ``off``."""
    folder = Path(tempfile.mkdtemp(dir=None if durable or not MEMORY.is_dir() else MEMORY))
    try:
        (folder / "center.toml").write_text(CENTER)
        center, data = str(folder / "center.toml"), str(folder / "data")
        listen = ("--listen", "127.0.0.1:0", "--metrics", "off")
        sync = ("--durable", "on" if durable else "off")
        with running("cordboard", "serve", center, "--data", data, *listen, *sync, *more) as found:
            yield found
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def guarded() -> Iterator[Running]:
    """A server that wants tokens, with its journal in memory, and no limit that this benchmark would reach."""
    with tempfile.TemporaryDirectory() as folder:
        key, keys, limits = tokens.new_key(), Path(folder, "keys.jwks"), Path(folder, "limits.toml")
        tokens.write_keys(keys, [key], private=False)
        limits.write_text("[limits]\nrequests_per_s = 1e6\nburst = 1e6\n")
        now = time.time()
        who = Caller("default", "bench", frozenset({Role.SERVICE}), ALL, ALL, now + 3600)
        more = ("--records", "off", "--token-keys", str(keys), "--settings", str(limits))
        with serving(False, *more) as found:
            found.metadata = (("authorization", f"Bearer {tokens.issue(key, who, now=now)}"),)
            yield found


def echo() -> contextlib.AbstractContextManager[Running]:
    return running("benchmarks.bare_echo")


def an_enqueue() -> pb.EnqueueRequest:
    name = f"{RUN}-{next(NUMBERS)}"
    return pb.EnqueueRequest(queue=f"{TENANT}/queues/q1", contact_id=name, request_id=name)


def unary_call(server: Running, channel: grpc.Channel, is_echo: bool) -> Callable[[], object]:
    """One call, as a function."""
    if is_echo:
        call = channel.unary_unary(
            "/bare.Echo/Unary", pb.EnqueueRequest.SerializeToString, pb.LeaveRequest.FromString
        )
        return lambda: call(an_enqueue())
    stub = routing_service_pb2_grpc.RoutingServiceStub(channel)
    return lambda: stub.Enqueue(an_enqueue(), metadata=server.metadata)


@dataclass
class Latency:
    """Microseconds of single calls."""

    us: list[float] = field(default_factory=list)

    def take(self, call: Callable[[], object], n: int) -> None:
        for _ in range(n):
            began = time.perf_counter()
            call()
            self.us.append((time.perf_counter() - began) * 1e6)

    def at(self, share: float) -> float:
        return sorted(self.us)[int(share * (len(self.us) - 1))]


def one_at_a_time(servers: dict[str, Running], rounds: int, calls: int) -> dict[str, Latency]:
    """Latency of single calls, the servers taking turns so that what disturbs one disturbs all."""
    found = {name: Latency() for name in servers}
    with contextlib.ExitStack() as stack:
        channels = {name: stack.enter_context(grpc.insecure_channel(s.address)) for name, s in servers.items()}
        makers = {name: unary_call(s, channels[name], name == "echo") for name, s in servers.items()}
        for call in makers.values():
            Latency().take(call, 50)
        for _ in range(rounds):
            for name, call in makers.items():
                found[name].take(call, calls)
    return found


async def _many(server: Running, is_echo: bool, in_flight: int, seconds: float) -> tuple[int, float]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        if is_echo:
            call = channel.unary_unary(
                "/bare.Echo/Unary", pb.EnqueueRequest.SerializeToString, pb.LeaveRequest.FromString
            )
        else:
            call = routing_service_pb2_grpc.RoutingServiceStub(channel).Enqueue  # type: ignore[assignment]
        until = time.monotonic() + seconds
        count = 0

        async def worker() -> None:
            nonlocal count
            while time.monotonic() < until:
                await call(an_enqueue(), metadata=server.metadata)
                count += 1

        began = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return count, time.monotonic() - began


@dataclass
class Rate:
    """How many a second, by the clock and by the server's processor time."""

    a_second: float
    a_core: float
    beside_us: float = 0.0  # processor time, a piece, of processes that the server has started


def bind(threads: Iterable[int], cores: set[int]) -> None:
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(thread, cores)


@contextlib.contextmanager
def one_core(server: Running) -> Iterator[None]:
    """All threads of the server on one core, and this process on the others."""
    cores = os.sched_getaffinity(0)
    first = {min(cores)}
    own = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
    try:
        bind(server.threads(), first)
        bind(own, cores - first or cores)
        yield
    finally:
        bind((*server.threads(), *own), cores)


def throughput(server: Running, is_echo: bool, seconds: float, in_flight: int = 64) -> Rate:
    with one_core(server):
        LOOP.run(_many(server, is_echo, in_flight, 0.3))
        cpu, beside = server.cpu_s(), server.beside_s()
        count, took = LOOP.run(_many(server, is_echo, in_flight, seconds))
        beside_us = (server.beside_s() - beside) / count * 1e6
        return Rate(count / took, count / (server.cpu_s() - cpu), beside_us)


def a_day(n: int, seed: int = 3) -> np.ndarray:
    """A center in balance, as columns: each agent is ready once; contacts come, are accepted, end."""
    events = np.zeros(n, EVENT)
    events["queued_at"], events["preferred"], events["contact"], events["agent"], events["queue"] = np.nan, -1, -1, -1, -1
    events["event"][:AGENTS] = 1
    events["agent"][:AGENTS] = np.arange(AGENTS)
    rest = events[AGENTS:]
    trips = len(rest) // 3
    rest["event"][: trips * 3] = np.tile([4, 6, 8], trips)
    rest["contact"][: trips * 3] = np.repeat(np.arange(trips), 3)
    # The agent idle longest gets it: with all idle and alike, they take turns in the order in which they became idle.
    rest["agent"][1 : trips * 3 : 3] = np.arange(trips) % AGENTS
    rest["queue"][0 : trips * 3 : 3] = np.random.default_rng(seed).integers(0, QUEUES, trips)
    events["t"] = np.arange(n) * 0.001
    return events


def as_columns(events: np.ndarray) -> columns_pb2.EventColumns:
    fields = {"time": "t", "kind": "event", "contact": "contact", "agent": "agent", "queue": "queue"}
    return columns_pb2.EventColumns(**{key: events[name].tobytes() for key, name in fields.items()})


async def _session(server: Running, parts: list[bytes]) -> tuple[float, int, int]:
    """Send messages over one stream, a few in flight; (seconds, effects, of these refused)."""
    async with grpc.aio.insecure_channel(server.address, options=BIG) as channel:
        call = channel.stream_stream("/cordboard.v1.RoutingService/Session")()
        opening = pb.SessionRequest(open=pb.SessionOpen(center_toml=CENTER))
        await call.write(opening.SerializeToString())
        await call.read()
        began = time.perf_counter()
        room = asyncio.Semaphore(16)

        async def send() -> None:
            for part in parts:
                await room.acquire()
                await call.write(part)
            await call.done_writing()

        sender = asyncio.create_task(send())
        replies = []
        while (reply := await call.read()) is not grpc.aio.EOF:
            replies.append(reply)
            room.release()
        await sender
        took = time.perf_counter() - began
    kinds = np.concatenate([np.frombuffer(pb.SessionResponse.FromString(r).effects.kind, np.int32) for r in replies])
    return took, len(kinds), int((kinds == 9).sum())


def session(server: Running, events: int, a_message: int) -> Rate:
    """Columns over a stream; every message answered with its effects."""
    table = a_day(events)
    parts = [
        pb.SessionRequest(columns=as_columns(table[i : i + a_message])).SerializeToString()
        for i in range(0, events, a_message)
    ]
    cpu = server.cpu_s()
    took, effects, refused = LOOP.run(_session(server, parts))
    assert effects >= events // 3 - AGENTS and not refused, (effects, refused)
    return Rate(events / took, events / (server.cpu_s() - cpu))


def route_columns(server: Running, a_message: int, messages: int) -> Rate:
    """Columns in single calls, each with an engine made for it."""
    raw = pb.RouteColumnsRequest(center_toml=CENTER, events=as_columns(a_day(a_message))).SerializeToString()
    with grpc.insecure_channel(server.address, options=BIG) as channel:
        call = channel.unary_unary("/cordboard.v1.RoutingService/RouteColumns")
        call(raw)
        cpu, began = server.cpu_s(), time.perf_counter()
        for _ in range(messages):
            call(raw)
        took = time.perf_counter() - began
    return Rate(messages * a_message / took, messages * a_message / (server.cpu_s() - cpu))


@dataclass
class Durable:
    """What came of durable events: a second, CPU of the server, and ms until a message was answered."""

    rate: Rate
    p50_ms: float
    p99_ms: float


async def _durable(server: Running, parts: list[list[bytes]], asked: float) -> tuple[float, list[float]]:
    """Each stream's messages at an even rate (0: eight in flight, as fast as they are answered): (seconds, ms)."""
    latencies: list[float] = []
    loop = asyncio.get_running_loop()

    async def one(channel: grpc.aio.Channel, raws: list[bytes], start: float) -> None:
        call = channel.stream_stream("/cordboard.v1.RoutingService/Session")()
        await call.write(pb.SessionRequest(open=pb.SessionOpen(tenant=TENANT)).SerializeToString())
        await call.read()
        room, sent = asyncio.Semaphore(8), []

        async def send() -> None:
            for place, raw in enumerate(raws):
                if asked:
                    due = start + place * BATCH * len(parts) / asked
                    await asyncio.sleep(max(0.0, due - loop.time()))
                    sent.append(due)  # waiting for a sender that is late counts
                else:
                    await room.acquire()
                    sent.append(loop.time())
                await call.write(raw)

        sender = asyncio.create_task(send())
        for place in range(len(raws)):
            await call.read()
            latencies.append((loop.time() - sent[place]) * 1e3)
            room.release()
        await sender
        await call.done_writing()

    async with grpc.aio.insecure_channel(server.address, options=BIG) as channel:
        start = loop.time() + 0.1
        gaps = BATCH / asked if asked else 0.0
        await asyncio.gather(*(one(channel, raws, start + i * gaps) for i, raws in enumerate(parts)))
        return loop.time() - start, latencies


def durable_events(server: Running, seconds: float, asked: float = 20_000.0, streams: int = 4) -> Durable:
    """Events on the live engine in messages of 32, each answered when it is on disk. ``asked``: so many a second, or 0
    for as many as come through."""
    each = int((asked or 30_000.0) * seconds / BATCH / streams)
    parts = [[a_batch() for _ in range(each)] for _ in range(streams)]
    gc.collect()
    gc.disable()  # the client's: it stands for many
    cpu = server.cpu_s()
    took, found = LOOP.run(_durable(server, parts, asked))
    used, count = server.cpu_s() - cpu, each * streams * BATCH
    gc.enable()
    found.sort()
    return Durable(Rate(count / took, count / used), share(found, 0.5), share(found, 0.99))


def a_batch() -> bytes:
    queued = [journal.ContactQueued(contact=f"{RUN}-{next(NUMBERS)}", queue="q1") for _ in range(BATCH)]
    return pb.SessionRequest(events=pb.EventBatch(events=[journal.Event(contact_queued=one) for one in queued])).SerializeToString()


@dataclass
class Fanout:
    """What viewers of the event stream saw."""

    p50_ms: float
    p99_ms: float
    gaps: int
    grown_mib: float
    cpu_us: float  # of the server, a message


async def _watch(server: Running, viewers: Viewers, count: int, seconds: float, hz: float, bare: bool) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        ring = channel.unary_unary("/bare.Echo/Ring")
        stub = routing_service_pb2_grpc.RoutingServiceStub(channel)

        async def update() -> int:
            if bare:
                return told_bare(await ring(b""))[0]
            return int((await stub.Enqueue(an_enqueue())).applied.revision)

        await fan_out(viewers, count, update, hz, seconds)


def watch(server: Running, viewers: int, seconds: float, hz: float = 4.0, bare: bool = False) -> Fanout:
    """Updates to many viewers: from the time in the journal to the viewer's program."""
    made = (
        Viewers(server.address, "/bare.Echo/Watch", b"", told_bare)
        if bare
        else Viewers(server.address, WATCH, event_service_pb2.WatchRequest(parent=TENANT).SerializeToString())
    )
    LOOP.run(_watch(server, made, viewers, 1.0, hz, bare))
    made.take()
    before, cpu = server.rss_mib(), server.cpu_s()
    LOOP.run(_watch(server, made, viewers, seconds, hz, bare))
    found = made.take()
    used = (server.cpu_s() - cpu) / len(found) * 1e6
    return Fanout(share(found, 0.5), share(found, 0.99), made.gaps, server.rss_mib() - before, used)


TITLES = {
    "echo": "bare echo",
    "memory": "Enqueue, durable off",
    "token": "... with a token",
    "disk": "Enqueue, durable on",
    "whole": "... and records",
}


def report_unary(servers: dict[str, Running], quick: bool) -> None:
    """Single calls and throughput, each beside the echo."""
    scale = 0.2 if quick else 1.0
    single = one_at_a_time(servers, 5, int(200 * scale))
    base = single["echo"]
    for name, title in TITLES.items():
        one = single[name]
        line = f"{title:28} p50 {one.at(0.5):7.0f} us  p99 {one.at(0.99):7.0f} us"
        ratios = f"{one.at(0.5) / base.at(0.5):.2f}, {one.at(0.99) / base.at(0.99):.2f} times the echo"
        print(line, "" if name == "echo" else ratios, flush=True)
    rates: dict[str, list[Rate]] = {name: [] for name in servers}
    for _ in range(1 if quick else 5):
        for name, server in servers.items():
            rates[name].append(throughput(server, name == "echo", 2.0 * scale))
    clocks = {name: statistics.median(rate.a_second for rate in found) for name, found in rates.items()}
    costs = {name: statistics.median(1e6 / rate.a_core for rate in found) for name, found in rates.items()}
    for name, title in TITLES.items():
        beside = statistics.median(rate.beside_us for rate in rates[name])
        print(
            f"{title:28} {clocks[name]:7,.0f} a second on one core, {clocks[name] / clocks['echo']:.0%} of the echo;"
            f" {costs[name]:4.0f} us of CPU, {costs['echo'] / costs[name]:.0%}",
            f"and {beside:.0f} us beside" if beside else "",
            flush=True,
        )


def report(quick: bool, viewers: int, unary: bool) -> None:
    """The whole table."""
    scale = 0.2 if quick else 1.0
    alone = ("--records", "off")
    with (
        echo() as bare,
        serving(False, *alone) as memory,
        guarded() as token,
        serving(True, *alone) as disk,
        serving(True) as whole,
    ):
        report_unary({"echo": bare, "memory": memory, "token": token, "disk": disk, "whole": whole}, quick)
        if unary:
            return
        for a_message in (100, 1000):
            found = session(memory, int(600_000 * scale), a_message)
            print(f"{f'Session, {a_message} a message':28} {found.a_second:9,.0f} events a second  {found.a_core:9,.0f} a core")
        found = route_columns(memory, 10_000, int(50 * scale))
        print(f"{'RouteColumns, 10,000':28} {found.a_second:9,.0f} events a second  {found.a_core:9,.0f} a core", flush=True)
        durable_events(disk, 1.0)
        for title, asked in (("durable events, 20,000 asked", 20_000.0), ("durable events, all that can", 0.0)):
            kept = durable_events(disk, 5 * scale, asked)
            print(
                f"{title:28} {kept.rate.a_second:9,.0f} a second  {kept.rate.a_core:9,.0f} a core"
                f"  answered p50 {kept.p50_ms:.1f} ms  p99 {kept.p99_ms:.1f} ms",
                flush=True,
            )
        for title, server in (("bare fan-out", bare), ("Watch", memory)):
            fan = watch(server, viewers, 10 * scale, bare=server is bare)
            print(
                f"{f'{title}, {viewers} viewers, 4 Hz':34} p50 {fan.p50_ms:.1f} ms  p99 {fan.p99_ms:.1f} ms  {fan.gaps} gaps"
                f"  {fan.cpu_us:.0f} us of CPU a message  grown by {fan.grown_mib:.1f} MiB",
                flush=True,
            )


@pytest.fixture(scope="module")
def memory() -> Iterator[Running]:
    with serving(False, "--records", "off") as found:
        yield found


def test_time_enqueue_one_at_a_time(memory, benchmark):
    with grpc.insecure_channel(memory.address) as channel:
        benchmark(unary_call(memory, channel, is_echo=False))


def test_time_bare_echo_one_at_a_time(benchmark):
    with echo() as bare, grpc.insecure_channel(bare.address) as channel:
        benchmark(unary_call(bare, channel, is_echo=True))


def test_time_enqueue_with_a_token_one_at_a_time(benchmark):
    with guarded() as server, grpc.insecure_channel(server.address) as channel:
        benchmark(unary_call(server, channel, is_echo=False))


def test_time_session_of_columns(memory, benchmark):
    benchmark.pedantic(session, (memory, 30_000, 100), rounds=3)


def test_time_route_columns(memory, benchmark):
    benchmark.pedantic(route_columns, (memory, 10_000, 5), rounds=3)


def test_time_watch_by_fifty(memory, benchmark):
    found = benchmark.pedantic(watch, (memory, 50, 1.0), rounds=1)
    assert not found.gaps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--viewers", type=int, default=500)
    parser.add_argument("--unary", action="store_true")
    options = parser.parse_args()
    report(options.quick, options.viewers, options.unary)
