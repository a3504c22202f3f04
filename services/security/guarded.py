"""A server of grpc.aio whose rpcs all pass the guard, whoever adds them: our services, or gRPC's own helpers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc

from cordboard.services.security.guard import Guard

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Handlers(grpc.GenericRpcHandler):
    """Handlers by path: one look for all services."""

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard
        self.known: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        found = self.known.get(handler_call_details.method)
        if found is None or self._guard is None:
            return found
        return self._guard.arriving(handler_call_details.method, handler_call_details.invocation_metadata, found)


class GuardedServer(grpc.aio.Server):
    """See above; without a guard, a plain one. Handlers come through ``add_registered_method_handlers``; what generated
    code also adds as generic handlers is the same once more, and is passed over: nothing gets in beside the guard."""

    def __init__(self, guard: Guard | None, options: Sequence[tuple[str, Any]] = ()) -> None:
        self._guard = guard
        self.handlers = Handlers(guard)
        most = None if guard is None else guard.limits.calls
        self._server = grpc.aio.server(handlers=(self.handlers,), options=tuple(options), maximum_concurrent_rpcs=most)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        for name, handler in method_handlers.items():
            path = f"/{service_name}/{name}"
            self.handlers.known[path] = handler if self._guard is None else self._guard.around(path, handler)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        pass

    def add_insecure_port(self, address: str) -> int:
        return self._server.add_insecure_port(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        return self._server.add_secure_port(address, server_credentials)

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace: float | None) -> None:
        await self._server.stop(grace)
        if self._guard is not None:
            self._guard.write_down()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        return await self._server.wait_for_termination(timeout)
