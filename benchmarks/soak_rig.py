"""What the soak plays with: a server that can be killed, connections that can be cut, and agents' phones that come back.

Every connection to the server goes through a :class:`Gate`, a relay of bytes that can be cut (as by a cable that is
pulled) or made deaf (nothing passes, and nobody is told).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc

from cordboard.client import AsyncClient, AsyncLine, CallError
from cordboard.v1 import agent_service_pb2 as agent_pb
from cordboard.v1 import journal_pb2 as journal

T = TypeVar("T")
LEASE_S = 15.0
PATIENCE_S = 120.0  # so long nothing takes, however many faults
TRY_S = 0.2  # before a request is tried again
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class Clock:
    """The time of the center, in a file that the server reads."""

    def __init__(self, path: Path, t: float) -> None:
        self.path, self.t = path, t
        path.write_bytes(struct.pack("d", t))
        self._file = path.open("r+b", buffering=0)

    def set(self, t: float) -> None:
        self.t = t
        self._file.seek(0)
        self._file.write(struct.pack("d", t))

    def close(self) -> None:
        self._file.close()


class Gate:
    """A relay between clients and the server."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.cuts = 0

    async def start(self, port: int) -> Gate:
        """Relay to a port of this machine; ``address`` is where clients connect."""
        self._to = port
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:  # the server is down
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            await asyncio.wait(
                [asyncio.ensure_future(self._pump(reader, far_writer)), asyncio.ensure_future(self._pump(far_reader, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._writers -= {writer, far_writer}
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._open.wait()
                writer.write(data)
                await writer.drain()

    def cut(self) -> None:
        """End all connections, whatever is on its way."""
        self.cuts += 1
        for writer in self._writers:
            writer.transport.abort()
        self._open.set()

    def deafen(self) -> None:
        """Let nothing pass until the next cut."""
        self._open.clear()

    def close(self) -> None:
        self._server.close()
        self.cut()


class ServerProcess:
    """``cordboard serve`` as a process; started again it goes on with the same journal, clock and port."""

    def __init__(self, folder: Path, center: Path, clock: Clock, port: int, database: str = "") -> None:
        self._folder, self.port = folder, port
        self._command = [sys.executable, "-m", "cordboard", "serve", str(center), "--data", str(folder / "data"),
                         "--listen", f"127.0.0.1:{port}", "--clock", str(clock.path), "--metrics", "off",
                         *(("--database", database) if database else ())]  # fmt: skip
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    async def start(self) -> None:
        """Come back when it says that it is ready."""
        with (self._folder / "serve.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=self._folder
            )
        assert self._process.stdout is not None
        ready = await self._process.stdout.readline()
        if b"127.0.0.1" not in ready:
            raise RuntimeError((self._folder / "serve.log").read_text("utf-8", "replace")[-3000:])
        self.starts += 1

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """What a request that bears an id comes to in the end, whatever happens to the connection and the server."""
    while True:
        try:
            return await call()
        except CallError as error:
            if error.code not in PASSING:
                raise
            await asyncio.sleep(TRY_S)


class Refused(Exception):
    """The server answered on a line that something can't be done."""


class Phone:
    """An agent's client: holds the line, and says again on the next one what the last one left unanswered."""

    def __init__(self, agent: str, gate: Gate) -> None:
        self.agent, self._gate = agent, gate
        self._client: AsyncClient | None = None
        self._line: AsyncLine | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._answers: dict[str, agent_pb.Answer] = {}
        self.offers: set[str] = set()  # told, and not told to be over
        self.lines = 0  # that were opened

    async def connect(self) -> None:
        """Have a line, and keep one until ``hang_up``."""
        self._client = AsyncClient(self._gate.address)
        self._keeping = asyncio.create_task(self._keep())
        await self._until(lambda: self._line)

    async def hang_up(self) -> None:
        """Close the connection, without a goodbye."""
        keeping, client = self._keeping, self._client
        self._keeping = self._client = self._line = None
        if keeping is not None and client is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await client.close()
        self.offers.clear()

    async def take_over(self) -> None:
        """Open another line beside the one there is, which the server then ends."""
        old, before = self._keeping, self.lines
        self._keeping = asyncio.create_task(self._keep())  # the old one opens no other line any more
        await self._until(lambda: self.lines > before)
        if old is not None:
            old.cancel()
            await asyncio.gather(old, return_exceptions=True)

    async def say(self, what: str, *about: str, request_id: str, times: int = 1) -> journal.Applied:
        """Say something to the server and get its answer; Refused for a no."""
        while True:
            line = await self._until(lambda: self._line)
            self._answers.pop(request_id, None)
            try:
                for _ in range(times):
                    await getattr(line, what)(*about, request_id=request_id)
            except CallError:
                self._drop(line)
                continue
            await self._until(functools.partial(self._answered, line, request_id))
            answer = self._answers.pop(request_id, None)
            if answer is None:  # the line broke before
                continue
            if answer.HasField("error"):
                raise Refused(answer.error.message)
            return answer.applied

    def _answered(self, line: AsyncLine, request_id: str) -> bool:
        return request_id in self._answers or self._line is not line

    async def told(self, contact: str) -> None:
        """Come back when the agent has been told of an offer."""
        await self._until(lambda: contact in self.offers)

    async def _until(self, done: Callable[[], T]) -> T:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := done()):
                keeping = self._keeping
                assert keeping is None or not keeping.done(), f"{self.agent} has no line any more: {keeping}"
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 5.0)
            return found

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _drop(self, line: AsyncLine) -> None:
        if self._line is line:
            self._line = None

    async def _keep(self) -> None:
        """Open a line, listen, and open the next one when it breaks."""
        while self._client is not None and asyncio.current_task() is self._keeping:
            line: AsyncLine | None = None
            try:
                line = await self._client.connect(self.agent, lease=LEASE_S)
                self._line, self.offers = line, {offer.contact for offer in line.welcome.offers}
                self.lines += 1
                self._wake()
                async for message in line:
                    if self._line is line:
                        self._hear(message)
                        self._wake()
            except CallError as error:
                if error.code not in (*PASSING, grpc.StatusCode.ABORTED):  # aborted: by a newer line
                    raise
            finally:
                if line is not None:
                    self._drop(line)
            self._wake()
            await asyncio.sleep(TRY_S)

    def _hear(self, message: Any) -> None:
        kind = message.WhichOneof("message")
        if kind == "answer":
            self._answers[message.answer.request_id] = message.answer
        elif kind == "offer":
            self.offers.add(message.offer.contact)
        elif kind == "offer_over":
            self.offers.discard(message.offer_over.contact)
