"""A line: one stream of an rpc on a connection of its own, for programs of one machine.

HTTP/2 costs a media node and its server more than all that they say to each other: a report is a hundred bytes, and a
call has a dozen. So beside the Unix socket of the services there is another one, on which a stream opens with its path
and metadata, and then messages follow as they are, both ways, each behind its kind and length; a ``google.rpc.Status``
ends it. Who calls, what they may, limits and the audit log are those of gRPC: the same handlers answer.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status

OPENING, MESSAGE, STATUS = range(3)  # what a frame can be
HEAD = struct.Struct(">IB")  # bytes behind it, and which of these
FRAME_BYTES_MAX = 8 * 1024 * 1024  # the names of 100,000 legs are three
WAITING_MAX = 1024  # frames that nobody has taken yet; the other side waits then
OPENING_S = 20.0
SUFFIX = ".line"  # the socket of lines stands beside that of gRPC

Metadata = Iterable[tuple[str, str]]
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Frames(asyncio.Protocol):
    """One connection's frames, in and out. ``begun`` is called when there is a connection."""

    def __init__(self, begun: Callable[[Frames], None] | None = None) -> None:
        self._begun = begun
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._come: deque[tuple[int, bytes]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._held_back = False
        self._answering: asyncio.Task[None] | None = None
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._begun is not None:
            self._begun(self)

    def data_received(self, data: bytes) -> None:
        data, at, whole = self._rest + data if self._rest else data, 0, len(self._rest) + len(data)
        while whole - at >= HEAD.size:
            size, kind = HEAD.unpack_from(data, at)
            if size > FRAME_BYTES_MAX:  # nobody of ours has sent it
                self.close()
                return
            if whole - at < HEAD.size + size:
                break
            self._come.append((kind, data[at + HEAD.size : at + HEAD.size + size]))
            at += HEAD.size + size
        self._rest = data[at:]
        if len(self._come) > WAITING_MAX and not self._held_back and self._transport is not None:
            self._held_back = True
            self._transport.pause_reading()
        self._wake()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._room.set()
        self._wake()
        if self._answering is not None:
            self._answering.cancel()

    def when_gone(self, task: asyncio.Task[None]) -> None:
        """Cancel a task when the connection is gone, as gRPC does."""
        self._answering = task

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> tuple[int, bytes] | None:
        """The next frame: its kind and content. None when the connection is gone."""
        while not self._come:
            if self.gone:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._held_back and len(self._come) <= WAITING_MAX // 2 and self._transport is not None and not self.gone:
            self._held_back = False
            self._transport.resume_reading()
        return self._come.popleft()

    async def put(self, kind: int, content: bytes) -> None:
        """Send a frame; waits while the other side does not read."""
        if not self._room.is_set():
            await self._room.wait()
        self.write(kind, content)

    def write(self, kind: int, content: bytes) -> None:
        """Send a frame without waiting."""
        if self._transport is not None and not self.gone:
            self._transport.write(HEAD.pack(len(content), kind) + content)

    def close(self) -> None:
        """End the connection: after what was sent, unless the other side does not read."""
        if self._transport is None:
            return
        if self._room.is_set():
            self._transport.close()
        else:
            self._transport.abort()


async def call(
    path: str, method: str, metadata: Metadata, requests: AsyncIterator[Message], response: Callable[[bytes], Message]
) -> AsyncIterator[Any]:
    """The stream of an rpc on the line at ``path``: what the server sends. AioRpcError as gRPC raises it."""
    try:
        _, frames = await asyncio.get_running_loop().create_unix_connection(Frames, path)
    except OSError as error:
        raise failed(grpc.StatusCode.UNAVAILABLE, f"no server at {path}: {error.strerror}") from None
    await frames.put(OPENING, json.dumps({"method": method, "metadata": [*metadata]}).encode())
    saying = asyncio.create_task(_say(frames, requests))
    try:
        while True:
            frame = await frames.take()
            if frame is None:
                if saying.done():
                    saying.result()  # what broke on our side
                raise failed(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            kind, content = frame
            if kind == STATUS:
                ended = Status.FromString(content)
                if ended.code:
                    raise failed(_CODES.get(ended.code, grpc.StatusCode.UNKNOWN), ended.message, content)
                return
            yield response(content)
    except DecodeError:
        raise failed(grpc.StatusCode.INTERNAL, "the server sent what is no message") from None
    finally:
        saying.cancel()
        frames.close()


async def _say(frames: Frames, requests: AsyncIterator[Message]) -> None:
    try:
        async for request in requests:
            await frames.put(MESSAGE, request.SerializeToString())
    except Exception:
        frames.close()  # and whoever waits for the answers learns of it
        raise


def failed(code: grpc.StatusCode, message: str, status: bytes = b"") -> grpc.aio.AioRpcError:
    """How a line fails: as an rpc of gRPC does. ``status``: a ``google.rpc.Status`` with the details."""
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status)) if status else grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, message)
