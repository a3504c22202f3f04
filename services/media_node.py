"""The process of a media node: a backend on one side, the engine on the other, and reports that none is lost.

It attaches, carries commands and reports, and says that it is alive; when the connection dies, calls go on, and it
attaches again. A report is kept until the engine has acknowledged it, and sent again after attaching; the engine counts
it once.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc

from cordboard.client.connection import call_error
from cordboard.media.backend import Command, Ended, HideKeys, Incoming, MediaBackend, Report
from cordboard.services import line
from cordboard.services.meanwhile import Callers, HiddenKeys
from cordboard.services.media_messages import command_of, report_message
from cordboard.v1 import media_service_pb2 as pb
from cordboard.v1 import media_service_pb2_grpc

ATTACH = "/cordboard.v1.MediaService/Attach"
HEARTBEAT_S = 0.4
RETRY_S = 0.3
TURNS_S = 0.1  # so long the backend's thread works before the loop looks how it is; commands wake it
GATHER_S = 0.010  # reports that come closer together than this are told together
STUCK_S = 0.4  # a backend that has not come back for so long does not work: no heartbeat says so
QUIET_S = 1.0  # a draining node without calls for so long has none on the way
KEPT_MAX = 100_000  # reports that are not acknowledged; beyond, the oldest are forgotten: the engine finds legs gone

FINAL = (  # trying again would not help
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
)

Attach = Callable[[AsyncIterator[pb.AttachRequest]], AsyncIterable[pb.AttachResponse]]
Metadata = Sequence[tuple[str, str]]

log = logging.getLogger(__name__)


def over_grpc(channel: grpc.aio.Channel, metadata: Metadata = ()) -> Attach:
    """The stream on a channel of gRPC."""
    stub = media_service_pb2_grpc.MediaServiceStub(channel)
    return lambda requests: stub.Attach(requests, metadata=tuple(metadata))


def over_line(socket: str, metadata: Metadata = ()) -> Attach:
    """The stream on the line beside a server's Unix socket, for a fraction of what gRPC costs."""
    read = pb.AttachResponse.FromString
    return lambda requests: line.call(socket + line.SUFFIX, ATTACH, metadata, requests, read)


class MediaNode:
    """See above. ``attach``: opens the stream to the server; see :func:`over_grpc` and :func:`over_line`.
    ``name``: ``tenants/{tenant}/nodes/{node}``. ``capacity``: legs at once."""

    def __init__(
        self,
        attach: Attach,
        backend: MediaBackend,
        name: str,
        capacity: int,
    ) -> None:
        self._way, self._backend, self._name, self._capacity = attach, backend, name, capacity
        self._run = uuid.uuid4().hex
        self._number = 0
        self._kept: deque[tuple[int, Report]] = deque(maxlen=KEPT_MAX)
        self._unsent: deque[tuple[int, Report]] = deque(maxlen=KEPT_MAX)  # those that this connection has not had
        self._together = 0  # so many reports this server takes in a message; 0: one, as itself
        self._commands: deque[Command | HideKeys] = deque()
        self._hidden, self._callers = HiddenKeys(), Callers(time.monotonic())
        self._news = asyncio.Event()
        self._stopping = False
        self._found: list[Report] = []  # the backend's thread has these until it tells them
        self._tell_at = 0.0
        self._turned = time.monotonic()
        self._drained_by: float | None = None
        self._told_at = self._quiet_at = 0.0  # while draining: since when, and when it will have been quiet long enough
        self._refused = set[str]()  # legs that came in while it drains
        self._thread = ThreadPoolExecutor(1, "cordboard-media")  # the only one that calls the backend
        self.attached = asyncio.Event()

    def stop(self) -> None:
        """Hang up everything, report it, say goodbye and end."""
        self._stopping = True
        self._backend.wake()

    def drain(self, seconds: float) -> None:
        """Have the engine give no new calls, and :meth:`stop` when the last one is over, or after some seconds."""
        self._told_at = time.monotonic()
        self._drained_by, self._quiet_at = self._told_at + seconds, self._told_at + QUIET_S
        self._news.set()

    @property
    def draining(self) -> bool:
        """Whether it takes no new calls."""
        return self._drained_by is not None

    def works(self) -> bool:
        """Whether the backend takes its turns, or is being closed."""
        return self._stopping or time.monotonic() - self._turned < STUCK_S

    async def run(self) -> None:
        """Until :meth:`stop`. CallError if the server does not let us attach."""
        work = asyncio.create_task(self._work())
        try:
            while not work.done():
                try:
                    await self._attach(work)
                except grpc.aio.AioRpcError as error:
                    if error.code() in FINAL:
                        raise call_error(error) from None
                    log.warning("the server is away: %s", error.code().name)
                self.attached.clear()
                if not work.done():
                    await asyncio.wait([work], timeout=RETRY_S)
            await work
        finally:
            self._stopping = True
            await asyncio.wait([work])
            self._thread.shutdown()

    # ---- the backend

    async def _work(self) -> None:
        """Give the backend commands and take its reports, until it is stopped and all is told."""
        loop = asyncio.get_running_loop()
        while not self._stopping:
            await loop.run_in_executor(self._thread, self._turns, loop)
        await loop.run_in_executor(self._thread, self._backend.close)
        await loop.run_in_executor(self._thread, self._turn, 0.0)
        self._number_reports(self._found)

    def _turns(self, loop: asyncio.AbstractEventLoop) -> None:
        """A tenth of a second of work in the backend's thread. What it finds is told at once, and then together with
        what else comes in the next moment."""
        end = time.monotonic() + TURNS_S
        while not self._stopping:
            now = self._turned = time.monotonic()
            if self._found and now >= self._tell_at:
                self._tell_at = now + GATHER_S
                self._tell(loop)
            if now >= end:
                return
            self._turn((min(end, self._tell_at) if self._found else end) - now)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(self._number_reports, self._found)
        self._found = []

    def _turn(self, seconds: float) -> None:
        given = [self._commands.popleft() for _ in range(len(self._commands))]
        self._hidden.follow(command for command in given if isinstance(command, HideKeys))
        commands = [command for command in given if not isinstance(command, HideKeys)]
        if commands:
            self._backend.send(commands)
        found = self._hidden.covered(self._backend.reports(seconds))
        own = self._callers.look(time.monotonic(), not self.attached.is_set(), commands, found)
        if own:
            self._backend.send(own)
        if self._drained_by is not None and self._is_drained(self._drained_by, found):
            self._stopping = True
        self._found += found

    def _is_drained(self, until: float, found: Sequence[Report]) -> bool:
        """Whether nobody is on the phone any more, or the time is over. Who calls by now is being refused."""
        now, legs = time.monotonic(), self._backend.legs()
        if now >= self._told_at + QUIET_S:
            self._refused.update(report.leg for report in found if isinstance(report, Incoming))
        self._refused &= legs
        if legs - self._refused:
            self._quiet_at = now + QUIET_S
        return now >= min(self._quiet_at, until)

    def _number_reports(self, reports: Sequence[Report]) -> None:
        for report in reports:
            self._number += 1
            self._kept.append((self._number, report))
            self._unsent.append((self._number, report))
        self._news.set()

    def _held(self, loop: asyncio.AbstractEventLoop) -> frozenset[str]:
        """The legs that are not over, when all that was found about them is among the reports that are kept."""
        self._tell(loop)
        return self._backend.legs()

    # ---- the connection

    async def _attach(self, work: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        legs = await loop.run_in_executor(self._thread, self._held, loop)
        self._commands.clear()  # of an older connection; the engine says again what still holds
        ended = {report.leg for _, report in self._kept if isinstance(report, Ended)}
        coming = {report.leg for _, report in self._kept if isinstance(report, Incoming)}
        held = sorted(legs | ended)
        hello = pb.NodeHello(node=self._name, capacity=self._capacity, legs=held, run=self._run, coming=sorted(coming))
        self._unsent = unsent = deque(self._kept, KEPT_MAX)
        self._together = 0
        async for response in self._way(self._say(hello, work, unsent)):
            kind = response.WhichOneof("message")
            if kind == "welcome":
                self._commands.extend(self._hidden.only(response.welcome.secret_legs))
                self._together = response.welcome.reports_max
                self._backend.wake()
                self.attached.set()
            elif kind == "acknowledged":
                while self._kept and self._kept[0][0] <= response.acknowledged:
                    self._kept.popleft()
            elif kind == "commands":
                self._commands.extend(map(command_of, response.commands.commands))
                self._backend.wake()

    async def _say(
        self, hello: pb.NodeHello, work: asyncio.Task[None], unsent: deque[tuple[int, Report]]
    ) -> AsyncIterator[pb.AttachRequest]:
        """What is said on one connection. gRPC may go on asking for it for a moment when there is another one."""
        yield pb.AttachRequest(hello=hello)
        await self.attached.wait()
        told, loop = False, asyncio.get_running_loop()
        while self._unsent is unsent:
            self._news.clear()
            if self._drained_by is not None and not told:
                told = True
                yield pb.AttachRequest(draining=pb.NodeDraining())
            silent = not unsent
            while unsent:
                yield self._reports_message(unsent)
            if work.done():
                yield pb.AttachRequest(goodbye=pb.NodeGoodbye())
                return
            if silent and self.works():
                yield pb.AttachRequest(heartbeat=pb.NodeHeartbeat())
            patience = loop.call_later(HEARTBEAT_S, self._news.set)
            await self._news.wait()
            patience.cancel()

    def _reports_message(self, unsent: deque[tuple[int, Report]]) -> pb.AttachRequest:
        """The next reports, as many in a message as this server takes."""
        some = [unsent.popleft() for _ in range(min(len(unsent), max(self._together, 1)))]
        told = [pb.NodeReport(number=number, report=report_message(report)) for number, report in some]
        if not self._together:
            return pb.AttachRequest(report=told[0])
        return pb.AttachRequest(reports=pb.NodeReports(reports=told))
