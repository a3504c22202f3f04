"""From descriptors to handlers: every rpc of a servicer, with its errors turned into statuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from cordboard.errors import CordboardError
from cordboard.live.access import Caller
from cordboard.services.calling import CALLER
from cordboard.services.errors import status_of
from cordboard.services.waiting import Calls

Context = Any  # grpc.aio's, whose type differs between unary and streaming


def _serialized(response: Message | bytes) -> bytes:
    """A response's bytes; what is sent to many may come as bytes already."""
    return response if type(response) is bytes else response.SerializeToString()  # type: ignore[union-attr]


async def refuse(context: Context, error: CordboardError) -> None:
    """End an rpc with the status of an error."""
    await context.abort_with_status(rpc_status.to_status(status_of(error)))


def _unary(method: Callable[..., Any], local: Caller | None, calls: Calls | None) -> Callable[..., Any]:
    async def call(request: Any, context: Context) -> Any:
        task = asyncio.current_task()
        if calls is not None and task is not None:
            calls.count(task)
        if local is not None:
            CALLER.set(local)
        try:
            return await method(request, context)
        except CordboardError as error:
            await refuse(context, error)

    return call


def _streaming(method: Callable[..., AsyncIterator[Any]], local: Caller | None) -> Callable[..., AsyncIterator[Any]]:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        if local is not None:
            CALLER.set(local)
        try:
            async for response in method(request, context):
                yield response
        except CordboardError as error:
            await refuse(context, error)

    return call


def handler(
    method: MethodDescriptor, servicer: object, local: Caller | None, calls: Calls
) -> grpc.RpcMethodHandler[Any, Any]:
    """The handler of one rpc."""
    function = getattr(servicer, method.name)
    read = GetMessageClass(method.input_type).FromString
    if method.server_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make(_streaming(function, local), read, _serialized)
    make = grpc.stream_unary_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
    changes = "request_id" in method.input_type.fields_by_name  # others submit no events, and some of them take long
    return make(_unary(function, local, calls if changes else None), read, _serialized)


def handlers(
    service: ServiceDescriptor, servicer: object, local: Caller | None, calls: Calls
) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """The handlers of a service, by the names of its rpcs. ``local``: who calls, where no guard says it.
    ``calls``: counts the unary ones that change something."""
    return {method.name: handler(method, servicer, local, calls) for method in service.methods}
