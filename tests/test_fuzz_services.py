"""Any message of any shape to every rpc of a live server: an answer or a clear refusal, no crash, no hang.

The strategies are made from the descriptors, so that a field that is added is tried from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cordboard.live.access import Role
from cordboard.services.security.rules import path
from tests.secure import bearer, methods, somebody, two_tenants

Code = grpc.StatusCode
BAD = {Code.UNKNOWN, Code.INTERNAL, Code.DEADLINE_EXCEEDED, Code.DATA_LOSS}
ANSWERS_MAX, PATIENCE_S, DEADLINE_S = 5, 0.1, 20.0
ENDS_THE_SERVER = {"/cordboard.v1.AdminService/Drain"}
METHODS = [method for method in methods() if path(method) not in ENDS_THE_SERVER]
CENTER = '[queues.acme-queue]\n[queues.other]\noverflow = "acme-queue"\nmax_wait = 1\n[agents.acme-agent]\n'

NAMES = [
    *(f"tenants/acme{tail}" for tail in ("", "/queues/acme-queue", "/agents/acme-agent", "/contacts/c1", "/contacts/c2", "/subjects/s-1", "/center", "/queues/")),
    "tenants/globex", "tenants/globex/queues/globex-queue", "tenants//queues/x", "tenants/acme/queues/%2F", "tenants/acme/agents/%ff", "acme-queue", "acme-agent",
    "c1", "c2", "acme", "s-1", "", "/", "%", "voice", "2", "-1", "x" * 300, CENTER, "[queues.q]\n", "\x00", "座席", "service_level", "1h",
]
texts = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.text(max_size=20))
ints = {
    FieldDescriptor.TYPE_INT32: 31, FieldDescriptor.TYPE_SINT32: 31, FieldDescriptor.TYPE_SFIXED32: 31,
    FieldDescriptor.TYPE_INT64: 63, FieldDescriptor.TYPE_SINT64: 63, FieldDescriptor.TYPE_SFIXED64: 63,
}  # fmt: skip
unsigned = {FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_FIXED32: 32, FieldDescriptor.TYPE_UINT64: 64, FieldDescriptor.TYPE_FIXED64: 64}


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """Any value of a field, one of a repeated one."""
    kind = field.type
    if kind == FieldDescriptor.TYPE_STRING:
        return texts
    if kind == FieldDescriptor.TYPE_BYTES:
        return st.one_of(st.binary(max_size=64), st.sampled_from([bytes(8), bytes(80), b"\xff" * 16]))
    if kind == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if kind in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return st.one_of(st.sampled_from([0.0, -1.0, math.nan, math.inf, 1e300, 4.0]), st.floats(width=32))
    if kind == FieldDescriptor.TYPE_ENUM:
        return st.one_of(st.sampled_from([value.number for value in field.enum_type.values]), st.integers(-(2**31), 2**31 - 1))
    if kind == FieldDescriptor.TYPE_MESSAGE:
        return messages(field.message_type, depth - 1)
    if kind in unsigned:
        return st.one_of(st.sampled_from([0, 1, 2 ** unsigned[kind] - 1]), st.integers(0, 50))
    size = ints[kind]
    return st.one_of(st.sampled_from([0, 1, -1, 2**size - 1, -(2**size)]), st.integers(-5, 200))


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 4) -> Message:
    """Any message of a type: some of its fields, each with any value, of each oneof one at most."""
    message = GetMessageClass(descriptor)()
    if descriptor.full_name in ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.Any") or depth <= 0:
        return message
    fields = list(descriptor.fields)
    chosen = draw(st.lists(st.sampled_from(fields), max_size=len(fields), unique_by=lambda f: f.name)) if fields else []
    oneofs: set[str] = set()
    for field in chosen:
        if field.containing_oneof is not None:
            if field.containing_oneof.name in oneofs:
                continue
            oneofs.add(field.containing_oneof.name)
        fill(draw, message, field, depth)
    return message


def fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        for _ in range(draw(st.integers(0, 2))):
            if value.message_type is None:
                getattr(message, field.name)[draw(values(key, depth))] = draw(values(value, depth))
            else:
                getattr(message, field.name)[draw(values(key, depth))].CopyFrom(draw(values(value, depth)))
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(values(field, depth), max_size=3)))
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(draw(values(field, depth)))
    else:
        setattr(message, field.name, draw(values(field, depth)))


class Live:
    """A server in a loop of its own thread, and calls to it from the test's."""

    def __init__(self, folder: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.stack = contextlib.AsyncExitStack()
        self.run(self.open(folder))

    def run(self, coroutine: Any, seconds: float = 60.0) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    async def open(self, folder: Any) -> None:
        self.address, self.engines, _ = await self.stack.enter_async_context(two_tenants(folder, apart=True))
        self.channel = self.stack.enter_context(grpc.insecure_channel(self.address))
        self.proof = bearer(somebody(*Role))

    def close(self) -> None:
        self.run(self.stack.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)

    def call(self, method: MethodDescriptor, requests: list[bytes]) -> Code:
        """How a call with these messages ends; a stream that goes on is cancelled after some answers, or some patience."""
        kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
        sent: Any = iter(requests) if method.client_streaming else requests[0]
        made = getattr(self.channel, kind)(path(method))
        try:
            if not method.server_streaming:
                made(sent, metadata=self.proof, timeout=DEADLINE_S)
                return Code.OK
            call = made(sent, metadata=self.proof, timeout=DEADLINE_S)
            patience = threading.Timer(PATIENCE_S, call.cancel)
            patience.start()
            with contextlib.suppress(StopIteration):
                for _ in range(ANSWERS_MAX):
                    next(call)
            patience.cancel()
            call.cancel()
            return call.code()
        except grpc.RpcError as error:
            return error.code()

    async def left_behind(self) -> tuple[int, int]:
        """Tasks in the loop, and subscriptions to the engines."""
        gc.collect()
        return len(asyncio.all_tasks()), sum(len(engine._hub._watchers) for engine in self.engines.values())


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Iterator[Live]:
    found = Live(tmp_path_factory.mktemp("fuzz"))
    yield found
    found.close()


SETTINGS = settings(max_examples=15, suppress_health_check=list(HealthCheck))


def settled(live: Live, before: tuple[int, int]) -> None:
    """Nothing is left behind of what was called: neither a task nor a subscription."""
    for _ in range(200):
        now = live.run(live.left_behind())
        if now[0] <= before[0] and now[1] <= before[1]:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"tasks and subscriptions before {before}, now {now}")


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.containing_service.name}.{m.name}")
def test_any_message_gets_an_answer_or_a_clear_refusal(live, method):
    before = live.run(live.left_behind())

    @SETTINGS
    @given(st.lists(messages(method.input_type), min_size=1, max_size=4 if method.client_streaming else 1))
    def attempt(requests: list[Message]) -> None:
        code = live.call(method, [request.SerializeToString() for request in requests])
        assert code not in BAD, requests

    attempt()
    settled(live, before)
    assert all(engine.state.status == "serving" for engine in live.engines.values())


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.containing_service.name}.{m.name}")
def test_any_bytes_are_refused_as_what_they_are(live, method):
    @settings(SETTINGS, max_examples=4)
    @given(st.lists(st.binary(max_size=50).map(lambda b: b + b"\xff"), min_size=1, max_size=3 if method.client_streaming else 1))
    def attempt(requests: list[bytes]) -> None:
        assert live.call(method, requests) in (Code.INVALID_ARGUMENT, Code.CANCELLED), requests

    attempt()


def test_a_message_larger_than_the_limit_is_refused_before_it_is_read(live):
    enqueue = next(method for method in METHODS if method.name == "Enqueue")
    assert live.call(enqueue, [bytes(33 * 1024 * 1024)]) is Code.RESOURCE_EXHAUSTED


def test_a_server_that_was_fuzzed_still_works_and_its_memory_is_flat(live):
    import resource

    enqueue = next(method for method in METHODS if method.name == "Enqueue")
    request = GetMessageClass(enqueue.input_type)(queue="tenants/acme/queues/none", contact_id="nobody")

    def many(count: int) -> None:
        for _ in range(count):
            assert live.call(enqueue, [request.SerializeToString()]) is Code.NOT_FOUND

    many(200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    many(800)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 16 * 1024, f"{grown} KiB more at its peak after 800 calls"
