"""The server's side of lines: what comes on them goes to the handlers of gRPC, behind the same guard."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, NoReturn

import grpc
from google.rpc.status_pb2 import Status

from cordboard.services.line import MESSAGE, OPENING, OPENING_S, STATUS, Frames, Metadata

LINES_MAX = 200
INVALID = Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message="a line opens with a method and metadata")
UNKNOWN = Status(code=grpc.StatusCode.UNIMPLEMENTED.value[0], message="no such stream")
BROKEN = Status(code=grpc.StatusCode.INTERNAL.value[0], message="the server failed")
LATE = Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="the server is going away")
PEER = "unix:"

log = logging.getLogger(__name__)


class Details(NamedTuple):
    """What an rpc comes with: ``grpc.HandlerCallDetails``."""

    method: str
    invocation_metadata: tuple[tuple[str, str], ...]


Find = Callable[[Any], "grpc.RpcMethodHandler[Any, Any] | None"]


class Ended(Exception):
    """The handler has ended the stream with a status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


class LineContext:
    """What a handler is given to know and answer its caller: as much of grpc.aio's context as the guard uses."""

    def __init__(self, frames: Frames, serialize: Callable[[Any], bytes], metadata: Metadata) -> None:
        self._frames, self._serialize, self._metadata = frames, serialize, tuple(metadata)
        self.status = Status()

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def peer(self) -> str:
        return PEER

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    def code(self) -> int:
        return int(self.status.code)

    async def write(self, message: Any) -> None:
        await self._frames.put(MESSAGE, self._serialize(message))

    async def abort_with_status(self, status: Any) -> NoReturn:
        """``status``: as ``grpc_status.rpc_status.to_status`` makes it."""
        self.status = Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"])
        raise Ended(self.status)


class LineServer:
    """Serves streams on a Unix socket that listens. ``find``: the handler of an rpc, or None."""

    def __init__(self, listener: socket.socket, find: Find) -> None:
        self._listener, self._find = listener, find
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], Frames] = {}

    async def start(self) -> None:
        """Serve."""
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: Frames(self._begin), sock=self._listener
        )

    def _begin(self, frames: Frames) -> None:
        if len(self._lines) >= LINES_MAX:
            frames.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(frames))
        frames.when_gone(task)
        self._lines[task] = frames
        task.add_done_callback(self._lines.pop)

    async def _serve(self, frames: Frames) -> None:
        status = LATE
        try:
            status = await self._answer(frames)
        except Exception:
            log.exception("a line failed")
            status = BROKEN
        finally:
            frames.write(STATUS, status.SerializeToString())
            frames.close()

    async def _answer(self, frames: Frames) -> Status:
        try:
            async with asyncio.timeout(OPENING_S):
                kind, content = await frames.take() or (STATUS, b"")
            said = json.loads(content) if kind == OPENING else {}
            details = Details(str(said["method"]), tuple((str(key), str(value)) for key, value in said["metadata"]))
        except (TimeoutError, ValueError, TypeError, KeyError):
            return INVALID
        handler: Any = self._find(details)  # gRPC types it for its synchronous servers
        if handler is None or handler.stream_stream is None:
            return UNKNOWN
        context = LineContext(frames, handler.response_serializer or bytes, details.invocation_metadata)
        requests = _requests(frames, handler.request_deserializer or bytes)
        try:
            if inspect.isasyncgenfunction(handler.stream_stream):  # no guard stands before it
                async for response in handler.stream_stream(requests, context):
                    await context.write(response)
            else:
                await handler.stream_stream(requests, context)
        except Ended as ended:
            return ended.status
        return Status()

    async def stop(self, grace: float) -> None:
        """Take no more lines, and give those that are open ``grace`` seconds."""
        if self._server is None:
            self._listener.close()
            return
        self._server.close()
        if self._lines:
            await asyncio.wait([*self._lines], timeout=grace)
        for task in [*self._lines]:
            task.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)


async def _requests(frames: Frames, read: Callable[[bytes], Any]) -> AsyncIterator[Any]:
    while (frame := await frames.take()) is not None:
        yield read(frame[1])
