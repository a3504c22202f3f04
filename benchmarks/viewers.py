"""Many viewers of an event stream, and the bare fan-out beside them: what ``bench_services`` and ``soak_watch`` measure.

One process stands for all viewers, on the other core of the machine; so it is as lean as grpc.aio allows: messages are
read as bytes, and those that are alike, as they are for viewers who see the same, are parsed once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import grpc

from cordboard.v1 import event_service_pb2

CONNECTIONS = 10
PARSED_MAX = 1000  # messages whose contents are remembered

Told = tuple[int, list[tuple[int, float]]]  # the revision reached, and of each entry its revision and time
BARE = struct.Struct("<qd200x")  # a message of the bare server: number, time, and as much as an entry has


def told(raw: bytes) -> Told:
    """The contents of a WatchResponse."""
    message = event_service_pb2.WatchResponse.FromString(raw)
    times = [(entry.event.time.seconds + entry.event.time.nanos / 1e9) for entry in message.entries]
    return message.revision, [(entry.revision, t) for entry, t in zip(message.entries, times, strict=True)]


def told_bare(raw: bytes) -> Told:
    number, t = BARE.unpack(raw)
    return number, [(number, t)]


@dataclass
class Viewers:
    """So many streams of one rpc. ``latencies``: ms from the time of an entry to the viewer's program."""

    address: str
    path: str
    request: bytes
    parse: Callable[[bytes], Told] = told
    latencies: list[float] = field(default_factory=list)
    gaps: int = 0
    _parsed: dict[bytes, Told] = field(default_factory=dict)
    _reached: list[int] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def watching(self, viewers: int) -> AsyncIterator[None]:
        """All of them have begun to watch; at the end they leave."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        async with contextlib.AsyncExitStack() as stack:
            opened = [grpc.aio.insecure_channel(self.address, options=options) for _ in range(CONNECTIONS)]
            channels = [await stack.enter_async_context(channel) for channel in opened]
            begun = asyncio.Semaphore(0)
            self._reached = [0] * viewers
            self._tasks = [
                asyncio.create_task(self._view(place, channels[place % CONNECTIONS], begun)) for place in range(viewers)
            ]
            for _ in range(viewers):
                await asyncio.wait_for(begun.acquire(), 60)
            gc.collect()
            gc.disable()  # all viewers would stand still at once, which those of 500 programs don't
            try:
                yield
            finally:
                gc.enable()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _view(self, place: int, channel: grpc.aio.Channel, begun: asyncio.Semaphore) -> None:
        call = channel.unary_stream(self.path)(self.request)
        last, _ = self.parse(await call.read())
        begun.release()
        while (raw := await call.read()) is not grpc.aio.EOF:
            now = time.time()
            found = self._parsed.get(raw)
            if found is None:
                if len(self._parsed) >= PARSED_MAX:
                    self._parsed.clear()
                found = self._parsed[raw] = self.parse(raw)
            for revision, t in found[1]:
                self.gaps += revision != last + 1
                last = revision
                self.latencies.append((now - t) * 1e3)
            self._reached[place] = last

    async def all_at(self, revision: int) -> None:
        """Until every viewer has seen a revision; TimeoutError after a minute."""
        async with asyncio.timeout(60):
            while min(self._reached) < revision:
                if any(task.done() for task in self._tasks):
                    raise RuntimeError("a stream ended")
                await asyncio.sleep(0.05)

    def take(self) -> list[float]:
        """The latencies since the last call, in order of size."""
        found, self.latencies = sorted(self.latencies), []
        return found


async def fan_out(viewers: Viewers, count: int, update: Callable[[], Awaitable[int]], hz: float, seconds: float) -> None:
    """Updates at an even rate to so many viewers, until all have seen all. ``update`` gives the revision it made."""
    async with viewers.watching(count):
        reached = 0
        for _ in range(max(1, round(seconds * hz))):
            reached, _ = await asyncio.gather(update(), asyncio.sleep(1 / hz))
        await viewers.all_at(reached)


def share(latencies: list[float], part: float) -> float:
    """The latency within which such a part of all came; of a sorted list."""
    return latencies[int(part * (len(latencies) - 1))]
