"""Lines: streams on a Unix socket without HTTP/2, behind the guard that stands before gRPC."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from google.rpc.status_pb2 import Status

from cordboard.services.line import FRAME_BYTES_MAX, HEAD, MESSAGE, OPENING, STATUS, SUFFIX, Frames, call
from cordboard.services.line_server import LINES_MAX
from cordboard.services.media_node import ATTACH
from cordboard.v1 import media_service_pb2 as pb
from tests.floor import CALLS, CENTER
from tests.serving import serve_command, served

NODE = "tenants/default/nodes/n1"
HELLO = pb.AttachRequest(hello=pb.NodeHello(node=NODE, capacity=10, run="a"))
PATIENCE_S = 20.0


@pytest.fixture
def server(tmp_path):
    with served(tmp_path, CENTER, lines=True) as found:
        yield found


class Raw:
    """A connection that sends what it likes."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.socket.connect(path)
                return
            except BlockingIOError:  # more than the server has had time to accept
                assert time.monotonic() < end
                time.sleep(0.01)

    def open(self, method: str = ATTACH, metadata: object = ()) -> Raw:
        return self.send(OPENING, json.dumps({"method": method, "metadata": metadata}).encode())

    def send(self, kind: int, content: bytes) -> Raw:
        self.socket.sendall(HEAD.pack(len(content), kind) + content)
        return self

    def frame(self) -> tuple[int, bytes] | None:
        """The next one; None at the end."""
        head = self._read(HEAD.size)
        if head is None:
            return None
        size, kind = HEAD.unpack(head)
        return kind, self._read(size) or b""

    def _read(self, size: int) -> bytes | None:
        found = b""
        while len(found) < size:
            try:
                more = self.socket.recv(size - len(found))
            except ConnectionResetError:
                return None
            if not more:
                return None
            found += more
        return found

    def ends(self) -> grpc.StatusCode:
        """Its status, which must be the last that comes."""
        kind, content = self.frame() or (-1, b"")
        assert kind == STATUS, kind
        assert self.frame() is None
        self.socket.close()
        number = Status.FromString(content).code
        return next(code for code in grpc.StatusCode if code.value[0] == number)


def line(server) -> Raw:
    return Raw(server.lines + SUFFIX)


def test_messages_of_any_cut_come_as_they_were_sent(server):
    # Given a line whose bytes come one by one
    raw = line(server)
    opening, hello = json.dumps({"method": ATTACH, "metadata": []}).encode(), HELLO.SerializeToString()
    for byte in HEAD.pack(len(opening), OPENING) + opening + HEAD.pack(len(hello), MESSAGE) + hello:
        raw.socket.sendall(bytes([byte]))
    # Expect the welcome
    kind, content = raw.frame()
    assert kind == MESSAGE and pb.AttachResponse.FromString(content).welcome.reports_max
    raw.socket.close()


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b'{"method": "x"}', b'{"method": "x", "metadata": [1]}'])
def test_a_line_that_does_not_open_as_one_is_refused(server, content):
    assert line(server).send(OPENING, content).ends() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_line_begins_with_its_opening(server):
    assert line(server).send(MESSAGE, HELLO.SerializeToString()).ends() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", ["/cordboard.v1.MediaService/Nothing", "/cordboard.v1.AdminService/DrainNode", "", "x" * 10_000])
def test_only_streams_both_ways_have_lines(server, method):
    assert line(server).open(method).ends() is grpc.StatusCode.UNIMPLEMENTED


def test_what_the_method_refuses_ends_the_line_with_its_status_and_details(server):
    # Given a line whose first message is no hello
    async def attach() -> None:
        async def says():
            yield pb.AttachRequest(heartbeat=pb.NodeHeartbeat())

        async for _ in call(server.lines + SUFFIX, ATTACH, (), says(), pb.AttachResponse.FromString):
            raise AssertionError("it was let in")

    # Expect the error as gRPC would have it
    with pytest.raises(grpc.aio.AioRpcError) as found:
        asyncio.run(attach())
    assert found.value.code() is grpc.StatusCode.INVALID_ARGUMENT and "hello" in (found.value.details() or "")
    assert found.value.trailing_metadata()["grpc-status-details-bin"]


def test_who_breaks_while_he_speaks_hears_of_it_and_not_of_silence(server):
    # Given a caller whose messages can't be made
    async def attach() -> None:
        async def says():
            yield HELLO
            raise ZeroDivisionError

        async for _ in call(server.lines + SUFFIX, ATTACH, (), says(), pb.AttachResponse.FromString):
            pass

    with pytest.raises(ZeroDivisionError):
        asyncio.run(attach())


def test_a_message_that_is_too_long_ends_the_connection_and_nothing_else(server):
    # Given a line that works
    works = line(server).open().send(MESSAGE, HELLO.SerializeToString())
    assert works.frame()[0] == MESSAGE
    # When another one announces more than any message has
    raw = line(server)
    raw.socket.sendall(HEAD.pack(FRAME_BYTES_MAX + 1, OPENING))
    # Then that one ends
    assert raw.frame() is None
    # And the other one goes on
    report = pb.NodeReport(number=1, report=pb.MediaReport(incoming=pb.MediaReport.Incoming(leg="c1", to="4001")))
    works.send(MESSAGE, pb.AttachRequest(report=report).SerializeToString())
    while pb.AttachResponse.FromString(works.frame()[1]).acknowledged != 1:
        pass
    works.socket.close()


def test_no_more_lines_than_are_allowed_are_open_and_those_that_end_make_room(server):
    # Given as many as there may be
    open_ = [line(server) for _ in range(LINES_MAX)]
    end = time.monotonic() + PATIENCE_S
    # When one more comes, then it is closed
    assert line(server).frame() is None
    # And one more finds room when the others have gone
    for raw in open_:
        raw.socket.close()
    while True:
        found = line(server).open("").frame()
        if found is not None:
            break
        assert time.monotonic() < end
        time.sleep(0.05)
    assert found[0] == STATUS


def test_a_node_that_falls_silent_on_its_line_is_lost(server):
    # Given a node that has attached, and says nothing more
    raw = line(server).open().send(MESSAGE, HELLO.SerializeToString())
    end = time.monotonic() + PATIENCE_S
    while not any(entry.event["event"] == "node_lost" for entry in server.engine.entries()):
        assert time.monotonic() < end
        time.sleep(0.05)
    # Then its line ends with a word
    assert raw.frame()[0] == MESSAGE
    assert raw.ends() is grpc.StatusCode.UNAVAILABLE


def test_whoever_does_not_read_is_waited_for_and_held_back(tmp_path):
    # Given somebody who answers as fast as he is asked, and an asker who does not read
    async def run() -> tuple[int, bool]:
        sent = 0

        async def answer(frames: Frames) -> None:
            nonlocal sent
            while True:
                await frames.put(MESSAGE, b"x" * 10_000)
                sent += 1

        tasks = []
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: Frames(lambda frames: tasks.append(asyncio.ensure_future(answer(frames)))), str(tmp_path / "s")
        )
        raw = await asyncio.to_thread(Raw, str(tmp_path / "s"))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        # When he reads some of it
        await asyncio.to_thread(lambda: [raw.frame() for _ in range(sent)])
        await asyncio.sleep(0.3)
        more = sent > before
        for task in tasks:
            task.cancel()
        raw.socket.close()
        server.close()
        return before, more

    # Then what is sent ahead is bounded, and goes on
    ahead, more = asyncio.run(run())
    assert 0 < ahead < 1000 and more


def test_a_server_that_stops_says_so_on_its_lines(tmp_path):
    with served(tmp_path, CENTER, lines=True) as server:
        raw = line(server).open().send(MESSAGE, HELLO.SerializeToString())
        assert raw.frame()[0] == MESSAGE
        stopping = threading.Thread(target=lambda: server.run(server.server.stop(0.2)))
        stopping.start()
        assert raw.ends() is grpc.StatusCode.UNAVAILABLE
        stopping.join(PATIENCE_S)
        assert not stopping.is_alive()


def token(folder: Path, role: str) -> list[str]:
    command = [sys.executable, "-m", "cordboard", "token", "issue", "--name", "n1", "--keys", "private.jwks", "--tenant", "default", "--role", role]
    found = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    return ["authorization", f"Bearer {found.stdout.split()[-1]}"]


def test_the_guard_stands_before_lines_as_before_grpc(tmp_path):
    # Given a server that knows callers by tokens
    (tmp_path / "center.toml").write_text(CENTER)
    (tmp_path / "calls.toml").write_text(CALLS)
    keys = [sys.executable, "-m", "cordboard", "token", "keys", "private.jwks", "--public", "public.jwks"]
    subprocess.run(keys, cwd=tmp_path, check=True, timeout=60)
    arguments = ("center.toml", "--calls", "calls.toml", "--token-keys", "public.jwks", "--socket", "s")
    with serve_command(*arguments, cwd=tmp_path):
        path, hello = str(tmp_path / f"s{SUFFIX}"), HELLO.SerializeToString()
        # Expect nobody let in without a token, with a false one, or with a role that may not attach
        assert Raw(path).open().send(MESSAGE, hello).ends() is grpc.StatusCode.UNAUTHENTICATED
        false = [["authorization", "Bearer x.y.z"]]
        assert Raw(path).open(metadata=false).send(MESSAGE, hello).ends() is grpc.StatusCode.UNAUTHENTICATED
        agent = [token(tmp_path, "agent")]
        assert Raw(path).open(metadata=agent).send(MESSAGE, hello).ends() is grpc.StatusCode.PERMISSION_DENIED
        # And a service let in
        raw = Raw(path).open(metadata=[token(tmp_path, "service")]).send(MESSAGE, hello)
        kind, content = raw.frame()
        assert kind == MESSAGE and pb.AttachResponse.FromString(content).HasField("welcome")
        # And not to another tenant
        other = pb.AttachRequest(hello=pb.NodeHello(node="tenants/other/nodes/n1", capacity=10, run="a"))
        stranger = Raw(path).open(metadata=[token(tmp_path, "service")]).send(MESSAGE, other.SerializeToString())
        assert stranger.ends() is grpc.StatusCode.PERMISSION_DENIED
        raw.socket.close()
