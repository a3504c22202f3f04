"""Media nodes on a live server: they attach, report, carry out, die, and come back; no leg is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest

from cordboard.calls.config import Calls, parse_calls
from cordboard.center import parse_center
from cordboard.errors import StoreError
from cordboard.live import Entry
from cordboard.live.access import Caller, Role
from cordboard.live.privacy import KeyStore
from cordboard.media import backend
from cordboard.media.people import CrowdedMedia, Habits, People
from cordboard.media.simulated import FarEnd, SimulatedMedia
from cordboard.services.media_messages import command_message, command_of, report_message, report_of
from cordboard.services.media_node import MediaNode, over_grpc, over_line
from cordboard.services.secret_keys import secret_legs
from cordboard.v1 import admin_service_pb2 as admin
from cordboard.v1 import admin_service_pb2_grpc, media_service_pb2_grpc
from cordboard.v1 import media_service_pb2 as pb
from tests.floor import CALLS, CENTER
from tests.serving import Served, line_socket, serve_command, served

NODE = "tenants/default/nodes/n1"
PATIENCE_S = 20.0


class WallMedia(SimulatedMedia):
    """A simulated media layer whose clock is the machine's."""

    def __init__(self) -> None:
        super().__init__(lambda dial: FarEnd(rings=0.01, picks_up=0.02), prompts=dict.fromkeys(("welcome", "music", "hold"), 0.1))
        self.began = time.monotonic()

    def reports(self, timeout: float):
        self.advance(time.monotonic() - self.began)
        found = super().reports(0.0)
        if not found:
            time.sleep(min(timeout, 0.01))
        return found


class Running:
    """A media node in a thread, with a connection that can be cut: of gRPC, or a line."""

    def __init__(self, server: Served, media: WallMedia, way: str = "grpc") -> None:
        self.media, self.server, self.way = media, server, way
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())

    async def _run(self) -> None:
        async with grpc.aio.insecure_channel(self.server.address) as channel:
            attach = over_grpc(channel) if self.way == "grpc" else over_line(self.server.lines)
            self.node = MediaNode(attach, self.media, NODE, 100)
            work = asyncio.create_task(self.node.run())
            await self.node.attached.wait()
            self._ready.set()
            await work

    def do(self, call: Callable[[], None]) -> None:
        """Something on the thread that has the backend."""
        self.node._thread.submit(call).result(PATIENCE_S)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self.node.stop)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def center(folder: Path, keys: KeyStore | None = None) -> Iterator[Served]:
    """A server with the floor's center and calls."""
    with served(folder, CENTER, keys=keys, lines=True) as server:
        calls: Calls = parse_calls(CALLS, parse_center(CENTER))
        server.engine.change_calls(calls).result()
        [tenant] = server.server.tenants
        tenant.nodes.calls = calls
        yield server


def until(found: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def told(server: Served, kind: str) -> list[Entry]:
    return [entry for entry in server.engine.entries() if entry.event["event"] == kind]


def legs(server: Served) -> set[str]:
    return server.engine.read_calls(lambda board: set(board.state.legs) if board else set()).result()


def connected(server: Served) -> int:
    return server.engine.read(lambda acd: acd.counts()["connected"]).result()


@pytest.mark.parametrize("way", ["grpc", "line"])
def test_a_call_goes_through_a_live_server_and_its_node(tmp_path, way):
    with center(tmp_path) as server:
        node = Running(server, WallMedia(), way)
        server.engine.submit({"event": "agent_ready", "agent": "li"}).result()
        # When somebody calls
        node.do(lambda: node.media.call("c1", "4001", FarEnd()))
        until(lambda: connected(server) == 1)
        # Then caller and agent hear each other, until the caller hangs up
        until(lambda: node.media.hears("c1") == {"d1"} and node.media.hears("d1") == {"c1"})
        node.do(lambda: node.media.hang_up("c1"))
        until(lambda: not legs(server) and not node.media.legs())
        # And a node that goes says so
        node.do(lambda: node.media.call("c2", "4001", FarEnd()))
        until(lambda: bool(legs(server)))
        node.stop()
        until(lambda: not legs(server))
        until(lambda: not server.engine.read_calls(lambda board: board.state.nodes["n1"].attached).result())


def test_a_node_that_is_not_heard_is_lost_with_its_legs_and_hangs_up_strays_when_it_is_back(tmp_path):
    with center(tmp_path) as server:
        stub = server.stub(media_service_pb2_grpc)
        ends = threading.Event()

        def say() -> Iterator[pb.AttachRequest]:
            yield pb.AttachRequest(hello=pb.NodeHello(node=NODE, capacity=10, run="a"))
            report = backend.Incoming("c1", "4001", "138")
            yield pb.AttachRequest(report=pb.NodeReport(number=1, report=report_message(report)))
            ends.wait(PATIENCE_S)  # and not a word more

        stream = stub.Attach(say())
        assert next(stream).WhichOneof("message") == "welcome"
        until(lambda: legs(server) == {"c1"})
        with pytest.raises(grpc.RpcError) as raised:
            list(stream)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        until(lambda: not legs(server))
        ends.set()
        [lost] = [entry for entry in server.engine.entries() if entry.event["event"] == "node_lost"]
        [last] = [entry for entry in server.engine.entries() if entry.event["event"] == "leg_incoming"]
        assert lost.t - last.t < 2.0
        # When it is back with the leg
        back = stub.Attach(iter([pb.AttachRequest(hello=pb.NodeHello(node=NODE, capacity=10, legs=["c1"], run="a"))]))
        assert next(back).WhichOneof("message") == "welcome"
        assert next(back).commands.commands[0].hang_up.leg == "c1"
        back.cancel()


def test_a_report_that_is_sent_twice_counts_once_and_is_acknowledged(tmp_path):
    with center(tmp_path) as server:
        stub = server.stub(media_service_pb2_grpc)
        report = pb.NodeReport(number=1, report=report_message(backend.Incoming("c1", "4001")))
        for held in ([], ["c1"]):
            hello = pb.NodeHello(node=NODE, capacity=10, legs=held, run="a")
            heard = threading.Event()
            said = [pb.AttachRequest(hello=hello), pb.AttachRequest(report=report)]
            stream = stub.Attach(message for message in (*said, None) if message or (heard.wait(PATIENCE_S) and False))
            assert any(response.acknowledged == 1 for response in stream)
            heard.set()
        incoming = [entry for entry in server.engine.entries() if entry.event["event"] == "leg_incoming"]
        assert len(incoming) == 1


def test_several_reports_come_in_one_message_and_old_nodes_go_on_sending_one(tmp_path):
    with center(tmp_path) as server:
        stub = server.stub(media_service_pb2_grpc)
        calls = [pb.NodeReport(number=n, report=report_message(backend.Incoming(f"c{n}", "4001"))) for n in (1, 2, 3)]
        said = [pb.AttachRequest(reports=pb.NodeReports(reports=calls[:2])), pb.AttachRequest(report=calls[2])]
        heard = threading.Event()
        hello = pb.AttachRequest(hello=pb.NodeHello(node=NODE, capacity=10, run="a"))
        stream = stub.Attach(message for message in (hello, *said, None) if message or (heard.wait(PATIENCE_S) and False))
        assert next(stream).welcome.reports_max >= 2
        assert any(response.acknowledged == 3 for response in stream)
        heard.set()
        incoming = [entry.event["leg"] for entry in server.engine.entries() if entry.event["event"] == "leg_incoming"]
        assert incoming == ["c1", "c2", "c3"]


@pytest.mark.parametrize(("takes", "expected"), [(0, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (256, [5])])
def test_a_node_puts_as_many_reports_into_a_message_as_its_server_takes(takes, expected):
    async def sizes() -> list[tuple[str, int]]:
        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            node = MediaNode(over_grpc(channel), WallMedia(), NODE, 100)
            node._together = takes
            node._number_reports([backend.Incoming(f"c{n}", "4001") for n in range(5)])
            found = []
            while node._unsent:
                message = node._reports_message(node._unsent)
                found.append((message.WhichOneof("message"), len(message.reports.reports) or 1))
            return found

    assert asyncio.run(sizes()) == [("reports" if takes else "report", size) for size in expected]


@pytest.mark.parametrize("way", ["grpc", "line"])
def test_conversations_go_on_over_a_restart_of_the_server(tmp_path, way):
    with center(tmp_path) as server:
        node = Running(server, WallMedia(), way)
        server.engine.submit({"event": "agent_ready", "agent": "li"}).result()
        node.do(lambda: node.media.call("c1", "4001", FarEnd()))
        until(lambda: connected(server) == 1 and node.media.hears("c1") == {"d1"})
        port = int(server.address.rpartition(":")[2])
        # When the services stop and start again on the same port
        tenants = server.run(restart(server, port, tmp_path))
        until(lambda: "n1" in tenants.nodes._wires)
        # Then the conversation goes on, and its end is heard
        assert node.media.hears("c1") == {"d1"} and connected(server) == 1
        node.do(lambda: node.media.hang_up("c1"))
        until(lambda: not legs(server) and not node.media.legs())
        node.stop()


async def restart(server: Served, port: int, folder: Path, meanwhile: Callable[[], Awaitable[None]] | None = None):
    from cordboard.live.access import local_administrator
    from cordboard.services.server import Server
    from cordboard.services.tenants import Tenants

    [old] = server.server.tenants
    await server.server.stop(0)
    if meanwhile is not None:
        await meanwhile()
    server.server = Server(Tenants({"default": server.engine}, telephony={"default": old.nodes.calls}), local=local_administrator())
    for left in reversed(range(100)):  # the old one lets go of the port after a while
        try:
            server.server.listen(f"127.0.0.1:{port}")
            break
        except StoreError:
            assert left, f"port {port} is still taken"
            await asyncio.sleep(0.1)
    server.server.listen_lines(line_socket(folder))
    await server.server.start()
    gc.collect()  # the old one, while the loop is there
    [tenant] = server.server.tenants
    return tenant


def test_only_services_and_administrators_attach(tmp_path):
    agent = Caller(tenant="default", name="li", roles=frozenset({Role.AGENT}))
    assert not agent.has("media.attach")
    assert dataclasses.replace(agent, roles=frozenset({Role.SERVICE})).has("media.attach")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.AttachRequest(heartbeat=pb.NodeHeartbeat()), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.AttachRequest(hello=pb.NodeHello(node="n1", capacity=1)), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.AttachRequest(hello=pb.NodeHello(node=NODE, capacity=-1)), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_is_no_hello_is_refused(tmp_path, request_, code):
    with center(tmp_path) as server, pytest.raises(grpc.RpcError) as raised:
        list(server.stub(media_service_pb2_grpc).Attach(iter([request_])))
    assert raised.value.code() is code


@pytest.mark.parametrize(
    "command",
    [
        backend.Dial("d1", "sip:li", "main", "4001", 20.0, (("Diversion", "x"),)),
        backend.HangUp("d1", backend.Cause.BUSY),
        backend.Play("d1", ("a", "b"), True, "t"),
        backend.Connect("a", "b"),
        backend.Record("r1", ("a", "b")),
        backend.PauseRecording("r1", False),
        backend.Stop("d1"),
    ],
)
def test_commands_come_through_messages_as_they_are(command):
    assert command_of(pb.MediaCommand.FromString(command_message(command).SerializeToString())) == command


@pytest.mark.parametrize(
    "report",
    [
        backend.Incoming("c1", "4001", "138", "main", (("Diversion", "x"),)),
        backend.Ended("c1", backend.Cause.LOST, 0, None),
        backend.Ended("c1", backend.Cause.NORMAL, 200, backend.Quality(1, 2, 3, 0.5, 1.5, 4.0)),
        backend.Played("c1", "t", False),
        backend.Recorded("r1", "r1.cbr", 1.5, 0.25),
        backend.Refused("Play", "c1", "why"),
        backend.Ringing("d1", True),
    ],
)
def test_reports_come_through_messages_as_they_are(report):
    assert report_of(pb.MediaReport.FromString(report_message(report).SerializeToString())) == report


def test_people_come_by_chance_and_the_same_seed_brings_the_same():
    def day() -> list[str]:
        now = [0.0]
        media = CrowdedMedia(People(Habits(hourly=360.0), seed=3), "in", lambda: now[0], lambda s: now.__setitem__(0, now[0] + s))
        found = [repr(report) for _ in range(600) for report in media.reports(1.0)]
        media.close()
        return found

    calls = [line for line in day() if line.startswith("Incoming")]
    assert day() == day() and 40 <= len(calls) <= 80


@pytest.mark.parametrize("way", ["grpc", "line"])
def test_a_node_that_drains_refuses_new_calls_and_ends_with_its_last_conversation(tmp_path, way):
    with center(tmp_path) as server:
        node = Running(server, WallMedia(), way)
        server.engine.submit({"event": "agent_ready", "agent": "li"}).result()
        node.do(lambda: node.media.call("c1", "4001", FarEnd()))
        until(lambda: connected(server) == 1)
        # When it is to drain
        node._loop.call_soon_threadsafe(node.node.drain, 600.0)
        until(lambda: server.engine.read_calls(lambda board: board.state.nodes["n1"].draining).result())
        # Then a new caller is refused, and the conversation goes on
        node.do(lambda: node.media.call("c2", "4001", FarEnd()))
        until(lambda: [e.event.get("cause") for e in told(server, "leg_ended")] == ["congestion"])
        assert connected(server) == 1 and node._thread.is_alive()
        # And when that is over, so is the node
        node.do(lambda: node.media.hang_up("c1"))
        node._thread.join(PATIENCE_S)
        assert not node._thread.is_alive() and not legs(server)
        until(lambda: not server.engine.read_calls(lambda board: board.state.nodes["n1"].attached).result())
        # A new one of that name takes calls
        again = Running(server, WallMedia(), way)
        assert not server.engine.read_calls(lambda board: board.state.nodes["n1"].draining).result()
        again.stop()


@pytest.mark.parametrize("way", ["grpc", "line"])
def test_a_draining_node_is_given_its_time_and_no_more(tmp_path, way):
    with center(tmp_path) as server:
        node = Running(server, WallMedia(), way)
        server.engine.submit({"event": "agent_ready", "agent": "li"}).result()
        node.do(lambda: node.media.call("c1", "4001", FarEnd()))
        until(lambda: connected(server) == 1)
        node._loop.call_soon_threadsafe(node.node.drain, 0.5)
        node._thread.join(PATIENCE_S)
        assert not node._thread.is_alive()
        until(lambda: not legs(server) and connected(server) == 0)


def test_an_administrator_drains_a_node_and_gives_it_calls_again(tmp_path):
    with center(tmp_path) as server:
        node = Running(server, WallMedia())
        stub = server.stub(admin_service_pb2_grpc)
        draining = lambda: server.engine.read_calls(lambda board: board.state.nodes["n1"].draining).result()  # noqa: E731
        assert stub.DrainNode(admin.DrainNodeRequest(node=NODE)).applied.revision and draining()
        assert stub.DrainNode(admin.DrainNodeRequest(node=NODE, undo=True)).applied.revision and not draining()
        with pytest.raises(grpc.RpcError) as found:
            stub.DrainNode(admin.DrainNodeRequest(node="tenants/default/nodes/n9"))
        assert found.value.code() is grpc.StatusCode.NOT_FOUND
        node.stop()


@pytest.mark.slow
def test_the_commands_serve_and_media_work_together(tmp_path):
    (tmp_path / "center.toml").write_text(CENTER)
    (tmp_path / "calls.toml").write_text(CALLS)
    arguments = ("center.toml", "--calls", "calls.toml", "--json", "--data", "data")
    with serve_command(*arguments, cwd=tmp_path) as (process, address):
        command = [sys.executable, "-m", "cordboard", "media", "--simulated", "--server", address, "--json"]
        command += ["--hourly", "7200", "--stays", "1", "--drain", "10"]
        media = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert media.stdout is not None
        assert json.loads(media.stdout.readline())["ready"]
        time.sleep(2.0)
        media.send_signal(signal.SIGTERM)
        assert media.wait(PATIENCE_S) == 0
        media.stdout.close()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    show = [sys.executable, "-m", "cordboard", "journal", "export", "--data", "data"]
    exported = subprocess.run(show, cwd=tmp_path, capture_output=True, text=True, check=True)
    kinds = [json.loads(line)["event"] for line in exported.stdout.splitlines()]
    assert "node_draining" in kinds and kinds.index("node_draining") < kinds.index("node_lost")
    assert kinds.count("leg_incoming") == kinds.count("leg_ended") > 0 and "node_lost" in kinds


SECRET = """
[steps.pin]
collect = ["welcome"]
as = "pin"
secret = true
min = 2
max = 2
next = "choose"
[steps.choose]
menu = ["welcome"]
keys = { 1 = "billing" }
[steps.billing]
queue = "billing"
"""


def test_secret_digits_do_not_get_into_the_journal(tmp_path):
    # Given a caller who is asked for a secret
    with center(tmp_path) as server:
        flows = parse_calls('[numbers.4001]\nflow = "pin"\n', parse_center(CENTER), flows={"pin": SECRET})
        server.engine.change_calls(flows).result()
        node = Running(server, WallMedia())
        node.do(lambda: node.media.call("c1", "4001", FarEnd()))
        until(lambda: told(server, "leg_answered") != [])
        # When it is typed, and then a key that is none
        node.do(lambda: node.media.press("c1", "7"))
        until(lambda: len(told(server, "leg_key")) == 1)
        assert server.engine.read_calls(secret_legs).result() == ["c1"]  # for a node that attaches in the middle of it
        node.do(lambda: node.media.press("c1", "8"))
        until(lambda: server.engine.read_calls(lambda board: board.state.calls["c1"].flow.step).result() == "choose")
        assert server.engine.read_calls(secret_legs).result() == []
        until(lambda: not node.node._hidden._legs)  # a key that comes before the node knows is covered, too
        node.do(lambda: node.media.press("c1", "1"))
        until(lambda: server.engine.read(lambda acd: acd.counts()["waiting"]).result() == 1)
        # Then the journal has that one alone
        assert [entry.event["key"] for entry in told(server, "leg_key")] == ["?", "?", "1"]
        node.stop()


def test_a_flow_goes_on_by_itself_when_nobody_does_anything(tmp_path):
    # Given a caller at a menu who presses nothing
    with center(tmp_path) as server:
        text = SECRET.replace("secret = true", "timeout = 0.3\nretries = 1\notherwise = 'billing'")
        flows = parse_calls('[numbers.4001]\nflow = "pin"\n', parse_center(CENTER), flows={"pin": text})
        server.engine.change_calls(flows).result()
        node = Running(server, WallMedia())
        node.do(lambda: node.media.call("c1", "4001", FarEnd()))
        # Then the time-outs lead to the queue, each by a line of the journal
        until(lambda: server.engine.read(lambda acd: acd.counts()["waiting"]).result() == 1)
        assert len([entry for entry in told(server, "clock") if entry.effects]) == 2
        node.stop()
