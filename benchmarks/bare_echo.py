"""A bare grpc.aio server that answers every message with the same bytes: the limit for what stands on grpcio.

``python -m benchmarks.bare_echo`` prints its port and serves until it is ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from cordboard.services.server import OPTIONS
from cordboard.v1 import routing_service_pb2 as pb


async def unary(request: pb.EnqueueRequest, context: Any) -> pb.LeaveRequest:
    return pb.LeaveRequest(contact=request.queue)


async def stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def main() -> None:
    server = grpc.aio.server(options=OPTIONS)
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(
            unary, pb.EnqueueRequest.FromString, pb.LeaveRequest.SerializeToString
        ),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
