"""The guard: every rpc passes here first. Who calls, may they, how often; and the audit log knows of it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Protocol

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from cordboard.errors import AccessError, CordboardError, DeniedError, InputError, LimitError, UnauthenticatedError
from cordboard.live.access import Caller
from cordboard.services.calling import CALLER, NOTES
from cordboard.services.errors import status_of
from cordboard.services.security.identity import Identity
from cordboard.services.security.limits import Buckets, Limits
from cordboard.services.security.rules import KNOWN, OPEN, changes

SWEEP_S = 0.5
GATHER_S = 0.01  # that an ended call waits for others, to be written down with them
GROUP_MAX = 256
WELCOME_PER_CONNECTION = 2  # peers remembered: those of connections that have ended, too
FIRST_S = 1.0  # that whoever opens a stream in vain gets for the first message
Context = Any  # grpc.aio's, whose type differs between unary and streaming
Method = Callable[[Any, Context], Any]

# Who calls, in the task of an rpc from when its handler is looked up, if that was known by then.
ARRIVED: ContextVar[Caller | None] = ContextVar("cordboard_arrived", default=None)


class Audit(Protocol):
    """Where the guard tells of what was done. ``tenant`` is empty for who could not be known."""

    def __call__(self, tenant: str, action: str, **fields: Any) -> Future[int]:
        """Written at once; done when it is on disk."""

    def note(self, tenant: str, action: str, **fields: Any) -> None:
        """Written soon."""

    def check(self, tenant: str) -> None: ...


class Stream:
    """An open stream: when its caller's proof ends, and since when its reader has not read."""

    __slots__ = ("caller", "over", "task", "writing")

    def __init__(self, caller: Caller | None, task: asyncio.Task[Any]) -> None:
        self.caller, self.task = caller, task
        self.writing: float | None = None
        self.over: CordboardError | None = None

    def end(self, error: CordboardError) -> None:
        self.over = error
        self.task.cancel()


class Guard:
    """Lets an rpc through if its caller is known, has the permission that its rule says, and keeps to the limits.

    ``rules``: permission by path (see ``rules.rules``); a path without a rule is denied to everybody. It stands around
    the handlers (``around``; see ``guarded.GuardedServer``) and not among the interceptors of grpc.aio, whose calls
    cost more than all that is looked at here. ``shut_out`` is told of peers who had no rpc let in (those who
    had are ``welcome``), and one refused while too many of their address are.
    """

    def __init__(
        self,
        rules: Mapping[str, str],
        identity: Identity,
        audit: Audit,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rules, self._identity, self._audit, self._clock = rules, identity, audit, clock
        self._knows_callers, self._by_token_alone = identity.knows_callers, identity.by_token_alone
        self.limits = limits or Limits()
        self._requests = Buckets(self.limits.requests_per_s, self.limits.burst)
        self._refusals = Buckets(self.limits.refusals_per_s, self.limits.refusals_burst)
        self._floods = Buckets(self.limits.flood_per_s, self.limits.flood_burst)
        self._suppressed: Counter[str] = Counter()
        self._open: Counter[tuple[str, str]] = Counter()
        self._streams: set[Stream] = set()
        self._refusers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._running = 0  # audited unary calls
        self.shut_out: Callable[[str], None] = lambda peer: None
        self.welcome: dict[str, None] = {}  # peers who were let in, latest last
        self._ended: list[tuple[str, Caller, str, Any, Any, dict[str, str] | None]] = []

    def around(self, method: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a path with the guard before it."""
        inner: Any = handler.unary_unary or handler.stream_unary or handler.unary_stream or handler.stream_stream
        stand = self._streaming if handler.response_streaming else self._unary
        call = stand(method, inner, handler.request_streaming)
        kinds = (handler.request_streaming, handler.response_streaming)
        self._refusers[method] = grpc.stream_unary_rpc_method_handler(self._unary(method, never, streams_in=False))
        return MAKERS[kinds](call, readable(handler.request_deserializer), handler.response_serializer)

    def arriving(
        self, method: str, metadata: Iterable[tuple[str, Any]], handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler for an rpc that has come, before any message of it. gRPC waits for the message of a unary request
        for ever, and asks the handler then; who has no token that holds is not waited for.
        """
        if not self._by_token_alone or self._rules.get(method, "") == OPEN:
            return handler
        try:
            ARRIVED.set(self._identity.caller(metadata, lambda: None))
        except AccessError:
            if not handler.request_streaming:
                return self._refusers[method]
        return handler

    # ---- letting in

    def _admit(self, needed: str, audited: bool, context: Context) -> Caller | None:
        """Who calls, None where anybody may. Raises AccessError or LimitError."""
        if needed == OPEN:
            return None
        if self._knows_callers:
            caller = ARRIVED.get() or self._identity.caller(
                context.invocation_metadata() or (), lambda: certificate_of(context)
            )
        else:
            caller = self._identity.local()
        if needed != KNOWN and not caller.has(needed):
            raise Refused(caller, DeniedError("PERMISSION_MISSING", "this caller lacks the permission for this"))
        if caller.by != "local":
            wait = self._requests.take((caller.tenant, caller.name), self._clock())
            if wait:
                raise Refused(caller, too_fast(self.limits.requests_per_s), wait)
            if audited:
                self._audit.check(caller.tenant)
            self._welcome_in(context.peer())
        return caller

    def _welcome_in(self, peer: str) -> None:
        if peer not in self.welcome:
            self.welcome[peer] = None
            if len(self.welcome) > WELCOME_PER_CONNECTION * self.limits.connections:
                del self.welcome[next(iter(self.welcome))]

    async def _refuse(self, method: str, context: Context, error: CordboardError) -> None:
        """Write down that somebody was refused, and end the rpc."""
        who, wait = (error.caller, error.wait) if isinstance(error, Refused) else (None, 0.0)
        why = error.error if isinstance(error, Refused) else error
        if isinstance(why, AccessError):
            host = host_of(context.peer())
            if self._floods.take(host, self._clock()) and context.peer() not in self.welcome:
                self.shut_out(context.peer())
            if self._refusals.take(host, self._clock()):
                self._suppressed[host] += 1
            else:
                found = {"cause": str(why.__cause__ or ""), "suppressed_before": self._suppressed.pop(host, 0)}
                details = {name: value for name, value in found.items() if value}
                about = about_of(who, context.peer(), why.reason)
                self._audit.note(who.tenant if who else "", method[1:], details=details, **about)
        status = status_of(why)
        if wait:
            delay = Duration()
            delay.FromNanoseconds(round(wait * 1e9))
            status.details.add().Pack(RetryInfo(retry_delay=delay))
        await context.abort_with_status(rpc_status.to_status(status))

    async def _begin(self, method: str, context: Context, caller: Caller | None, request: Any) -> None:
        """Write down that something begins: a stream, and what nobody may do unrecorded, which waits for the disk."""
        needed = self._rules.get(method, "")
        if caller is None or not changes(needed) or routine(needed, caller):
            return
        about = about_of(caller, context.peer(), "STARTED", request)
        if grave(needed):
            await asyncio.wrap_future(self._audit(caller.tenant, method[1:], **about))
        else:
            self._audit.note(caller.tenant, method[1:], **about)

    def _done(self, method: str, context: Context, caller: Caller, request: Any) -> None:
        """What was changed, or attempted, is to be written down: at once while few call, else together with what ends
        in the next hundredth of a second. One after the other such records cost a fraction of what each costs alone."""
        # A context can't be asked when its call is over: gRPC would read the peer from freed memory.
        self._ended.append((method, caller, context.peer(), context.code(), request, NOTES.get(None)))
        if self._running == 0 or len(self._ended) >= GROUP_MAX:
            self.write_down()
        elif len(self._ended) == 1:
            asyncio.get_running_loop().call_later(GATHER_S, self.write_down)

    def write_down(self) -> None:
        """Have the audit log know of all that has been done."""
        ended, self._ended = self._ended, []
        for method, caller, peer, code, request, notes in ended:
            number = code if isinstance(code, int) else code.value[0] if code is not None else 0
            about = about_of(caller, peer, CODES.get(number) or str(number), request)
            request_id = getattr(request, "request_id", "")
            self._audit.note(caller.tenant, method[1:], request_id=request_id, details=notes, **about)

    # ---- unary

    def _unary(self, method: str, inner: Method, streams_in: bool) -> Method:
        needed = self._rules.get(method, "")
        audited = changes(needed)
        weighs = grave(needed)

        async def call(request: Any, context: Context) -> Any:
            try:
                caller = self._admit(needed, audited, context)
                if request is UNREADABLE:
                    raise Refused(caller, unreadable())
                if weighs:
                    await self._begin(method, context, caller, request)
            except CordboardError as error:
                if streams_in:
                    await first_of(request)
                return await self._refuse(method, context, error)
            if caller is not None:
                CALLER.set(caller)
            if streams_in:
                request = self._messages(request, None)
            if not audited or caller is None or routine(needed, caller):
                return await inner(request, context)
            self._running += 1
            try:
                return await inner(request, context)
            finally:
                self._running -= 1
                self._done(method, context, caller, None if streams_in else request)

        return call

    # ---- streams

    def _streaming(self, method: str, inner: Method, streams_in: bool) -> Method:
        needed = self._rules.get(method, "")
        audited = changes(needed)
        generates = inspect.isasyncgenfunction(inner)

        async def call(request: Any, context: Context) -> None:
            try:
                caller = self._admit(needed, audited, context)
                if request is UNREADABLE:
                    raise Refused(caller, unreadable())
                key = (caller.tenant, caller.name) if caller is not None else ("", host_of(context.peer()))
                local = caller is not None and caller.by == "local"
                if not local and self._open[key] >= self.limits.streams:
                    raise Refused(caller, LimitError("too many streams are open", self.limits.streams, "Close some"))
                if audited:
                    await self._begin(method, context, caller, None if streams_in else request)
            except CordboardError as error:
                if streams_in:
                    await first_of(request)
                return await self._refuse(method, context, error)
            if caller is not None:
                CALLER.set(caller)
            task = asyncio.current_task()
            assert task is not None
            stream = Stream(caller, task)
            self._enter(key, stream)
            if streams_in:
                request = self._messages(request, None if caller is None or caller.by == "local" else key)
            try:
                if generates:
                    async for response in inner(request, context):
                        stream.writing = time.monotonic()
                        await context.write(response)
                        stream.writing = None
                else:
                    await inner(request, context)
            except asyncio.CancelledError:
                if stream.over is None:
                    raise
                task.uncancel()
                await self._refuse(method, context, stream.over)
            finally:
                self._leave(key, stream)
                if audited and caller is not None and not routine(needed, caller):
                    self._done(method, context, caller, None if streams_in else request)

        return call

    async def _messages(self, requests: AsyncIterator[Any], key: tuple[str, str] | None) -> AsyncIterator[Any]:
        """The messages of a stream, taken no faster than the caller may send; gRPC then holds the sender back.

        InputError, in the method that reads them, for what is no message of it. ``key`` None: as fast as they come.
        """
        async for request in requests:
            if request is UNREADABLE:
                raise unreadable()
            while key is not None and (wait := self._requests.take(key, self._clock())):
                await asyncio.sleep(wait)
            yield request

    def _enter(self, key: tuple[str, str], stream: Stream) -> None:
        self._open[key] += 1
        self._streams.add(stream)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    def _leave(self, key: tuple[str, str], stream: Stream) -> None:
        self._streams.discard(stream)
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    async def _sweep(self) -> None:
        """End streams whose caller's proof has ended, and those that nobody reads; as long as there are any."""
        while self._streams:
            await asyncio.sleep(SWEEP_S)
            now, here = self._clock(), time.monotonic()
            for stream in list(self._streams):
                if stream.over is not None:
                    continue
                if stream.caller is not None and stream.caller.expires <= now:
                    reason = "TOKEN_EXPIRED" if stream.caller.by == "token" else "CERTIFICATE_EXPIRED"
                    stream.end(UnauthenticatedError(reason, "what this caller was known by has expired"))
                elif stream.writing is not None and here - stream.writing > self.limits.write_s:
                    hint = "Begin again after the last revision that was read"
                    stream.end(LimitError("the reader took too long for a message", int(self.limits.write_s), hint))


async def never(requests: Any, context: Context) -> None:
    """In the place of a method for who is refused, even if a token that did not hold yet does by now."""
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token does not hold")


class Refused(CordboardError):
    """A refusal of somebody who is known; carries who, and how long to wait."""

    def __init__(self, caller: Caller | None, error: CordboardError, wait: float = 0.0) -> None:
        super().__init__(str(error))
        self.caller, self.error, self.wait = caller, error, wait


def about_of(caller: Caller | None, peer: str, outcome: str, request: Any = None) -> dict[str, Any]:
    """What an audit record says beside what was done."""
    return {
        "actor": caller.name if caller else "",
        "by": caller.by if caller else "",
        "peer": peer,
        "target": target_of(request),
        "outcome": outcome,
    }


GRAVE = (  # what nobody may do unrecorded
    "subjects.", "recordings.play", "recordings.hold", "recordings.purge", "calls.monitor", "calls.join",
)  # fmt: skip


def grave(needed: str) -> bool:
    """Whether what needs this permission is on disk in the audit log before it is done."""
    return needed.startswith(GRAVE)


def routine(needed: str, caller: Caller) -> bool:
    """Whether something is not worth a record: work by whoever is on this machine, where nobody is known by a name. The
    journal has what they did."""
    return caller.by == "local" and not needed.startswith(("admin.", "audit.", "center.", *GRAVE))


MAKERS: dict[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]] = {  # streams in, streams out
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

UNREADABLE = object()  # in the place of a request whose bytes are no message of its type


def readable(read: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserializer that never raises: gRPC would call what a caller has done wrong an error of ours."""
    if read is None:
        return None

    def attempt(content: bytes) -> Any:
        try:
            return read(content)
        except DecodeError:
            return UNREADABLE

    return attempt


async def first_of(requests: AsyncIterator[Any]) -> None:
    """Take what a client sends first into a stream that is refused, for a second at most. A client of grpc.aio that
    writes after the refusal has come takes its own write for the cause, and says INTERNAL (grpc/grpc#36066)."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(anext(requests, None), FIRST_S)


def unreadable() -> InputError:
    return InputError("the bytes of the request are no message of this rpc", hint="See the .proto files")


CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def too_fast(limit: float) -> LimitError:
    """What a caller is told who asks too often."""
    return LimitError("too many requests a second", round(limit), "Wait as long as RetryInfo says")


def certificate_of(context: Context) -> bytes | None:
    """The PEM certificate of the connection's client, if it has shown one."""
    found = context.auth_context().get("x509_pem_cert")
    return found[0] if found else None


def host_of(peer: str) -> str:
    """The address of a peer without its port: ``ipv4:10.0.0.1:5000`` is ``ipv4:10.0.0.1``."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer


def target_of(request: Any) -> str:
    """What a request is about, by its first resource name: never a person's data."""
    for field in ("name", "parent", "queue", "agent", "contact", "tenant"):
        value = getattr(request, field, "")
        if isinstance(value, str) and value.startswith("tenants/"):
            return value
    return ""
