"""For tests of security: an authority, keys, callers, and a server over every rpc that answers with nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from cordboard.center import parse_center
from cordboard.live import Settings, certificates, tokens
from cordboard.live.access import ALL, Caller, Role
from cordboard.live.tenants import AuditLogs, TenantEngines, open_key_stores
from cordboard.services.calling import CALLER
from cordboard.services.security.guard import Guard
from cordboard.services.security.guarded import GuardedServer
from cordboard.services.security.identity import Identity
from cordboard.services.security.rules import path, rules, services
from cordboard.services.server import Server
from cordboard.services.tenants import Tenants

KEY = tokens.new_key()
CA = certificates.make_authority("tests")
OTHER_CA = certificates.make_authority("others")


def somebody(*roles: Role, tenant: str = "acme", name: str = "li", scope: frozenset[str] = ALL) -> Caller:
    return Caller(tenant, name, frozenset(roles), scope, scope, time.time() + 3600)


def bearer(caller: Caller, key: tokens.Key = KEY, **options: Any) -> list[tuple[str, str]]:
    """The metadata of an rpc of this caller."""
    return [("authorization", "Bearer " + tokens.issue(key, caller, now=time.time(), **options))]


def verifier(folder: Path, **options: Any) -> tokens.Verifier:
    tokens.write_keys(folder / "public.jwks", [KEY], private=False)
    return tokens.Verifier(folder / "public.jwks", **options)


def methods() -> list[MethodDescriptor]:
    return [method for service in services() for method in service.methods]


class Told(list[dict[str, Any]]):
    """An audit log in memory."""

    def __call__(self, tenant: str, action: str, **fields: Any) -> Future[int]:
        self.note(tenant, action, **fields)
        done: Future[int] = Future()
        done.set_result(len(self))
        return done

    def note(self, tenant: str, action: str, **fields: Any) -> None:
        self.append({"tenant": tenant, "action": action, **fields})

    def check(self, tenant: str) -> None:
        pass


@dataclass
class Reached:
    """What got past the guard."""

    calls: list[tuple[str, Caller | None]]


def handler_of(method: MethodDescriptor, reached: Reached) -> grpc.RpcMethodHandler:
    """Answers any request with an empty message, and remembers who came."""
    answer = GetMessageClass(method.output_type)

    def came() -> None:
        reached.calls.append((path(method), CALLER.get(None)))

    async def one(request: Any, context: Any) -> Any:
        came()
        return answer()

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        came()
        yield answer()

    read = GetMessageClass(method.input_type).FromString
    kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(many if method.server_streaming else one, read, lambda message: message.SerializeToString())


@contextlib.asynccontextmanager
async def empty_server(
    guard: Guard, credentials: grpc.ServerCredentials | None = None, handlers: Any = None
) -> AsyncIterator[tuple[str, Reached]]:
    """A real server on loopback with the guard and every rpc. Gives its address."""
    server, reached = GuardedServer(guard, guard.limits.server_options()), Reached([])
    for service in services():
        own = {m.name: (handlers or {}).get(path(m)) or handler_of(m, reached) for m in service.methods}
        server.add_registered_method_handlers(service.full_name, own)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"localhost:{port}", reached
    finally:
        await server.stop(0)


CENTER = '[queues.{0}-queue]\nchannel = "voice"\nsticky = true\n[agents.{0}-agent]\n'


@contextlib.asynccontextmanager
async def two_tenants(folder: Path, *, apart: bool = False, shelves: Any = None, **identity: Any) -> AsyncIterator[tuple[str, TenantEngines, AuditLogs]]:
    """The real server with tenants acme and globex; ``apart``: with key stores for personal data."""
    engines = TenantEngines.open({name: parse_center(CENTER.format(name)) for name in ("acme", "globex")}, Settings(data=folder))
    audit = AuditLogs(folder, engines, KEY)
    guard = Guard(rules(), Identity(verifier=verifier(folder, tenants=engines), **identity), audit)
    keys = open_key_stores(folder, engines, None) if apart else {}
    server = Server(Tenants(engines, keys, shelves=shelves), guard=guard, options=guard.limits.server_options())
    try:
        port = server.listen("127.0.0.1:0")
        await server.start()
        yield f"localhost:{port}", engines, audit
        await server.stop(0)
    finally:
        engines.close()
        audit.close()
        for store in keys.values():
            store.close()


async def call(channel: grpc.aio.Channel, method: MethodDescriptor, request: Any = None, **options: Any) -> Any:
    """Call any rpc once; the last answer. Raises grpc.aio.AioRpcError."""
    kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
    message = request if request is not None else GetMessageClass(method.input_type)()
    started = getattr(channel, kind)(
        path(method), lambda one: one.SerializeToString(), GetMessageClass(method.output_type).FromString
    )(iter([message]) if method.client_streaming else message, timeout=20, **options)
    if not method.server_streaming:
        return await started
    answers = [answer async for answer in started]
    return answers[-1] if answers else None


async def code_of(channel: grpc.aio.Channel, method: MethodDescriptor, request: Any = None, **options: Any) -> grpc.StatusCode:
    """How a call ends."""
    try:
        await call(channel, method, request, **options)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def run(coroutine: Any) -> Any:
    """Run a test's coroutine; a minute is the most."""
    return asyncio.run(asyncio.wait_for(coroutine, 60))
