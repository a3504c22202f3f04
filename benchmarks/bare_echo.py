"""A bare grpc.aio server that answers every message with the same bytes: the limit for what stands on grpcio.

``python -m benchmarks.bare_echo`` prints its port and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc

from benchmarks.viewers import BARE
from cordboard.services.server import OPTIONS
from cordboard.v1 import routing_service_pb2 as pb


async def unary(request: pb.EnqueueRequest, context: Any) -> pb.LeaveRequest:
    return pb.LeaveRequest(contact=request.queue)


async def stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


class Fan:
    """One message to all who watch: the limit for what goes out to many."""

    def __init__(self) -> None:
        self._number = 0
        self._message = BARE.pack(0, time.time())
        self._waiting: list[asyncio.Future[None]] = []

    async def watch(self, request: bytes, context: Any) -> None:
        await context.write(self._message)
        while True:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
            await context.write(self._message)

    async def ring(self, request: bytes, context: Any) -> bytes:
        self._number += 1
        self._message = BARE.pack(self._number, time.time())
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
        return self._message


async def main() -> None:
    server = grpc.aio.server(options=OPTIONS)
    fan = Fan()
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(
            unary, pb.EnqueueRequest.FromString, pb.LeaveRequest.SerializeToString
        ),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
        "Watch": grpc.unary_stream_rpc_method_handler(fan.watch),
        "Ring": grpc.unary_unary_rpc_method_handler(fan.ring),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
