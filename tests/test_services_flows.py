"""FlowService: programs answer the look-ups of flows over a stream, and tell what callers said."""

from __future__ import annotations

import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from cordboard.calls.config import parse_calls
from cordboard.center import parse_center
from cordboard.client import Client
from cordboard.errors import UnavailableError
from cordboard.live.access import ALL, Caller, Role
from cordboard.v1 import flow_service_pb2 as pb
from tests.serving import served

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "examples" / "answer_lookups.py"
PARENT = "tenants/default"
PATIENCE_S = 20.0
CENTER = "[queues.gold]\n[queues.general]\n"
FLOW = """
[steps.who]
lookup = "customer"
timeout = {timeout}
answers = {{ gold = "ask" }}
otherwise = "general"
[steps.ask]
menu = []
keys = {{ 1 = "gold", 2 = "general" }}
words = {{ premium = "1", nothing = "2" }}
timeout = 60
otherwise = "general"
[steps.gold]
queue = "gold"
[steps.general]
queue = "general"
"""


class Answerer:
    """A program at a stream."""

    def __init__(self, client: Client, *lookups: str, max_open: int = 0) -> None:
        self._out: queue.SimpleQueue[pb.AnswerLookupsRequest | None] = queue.SimpleQueue()
        hello = pb.LookupsHello(parent=PARENT, lookups=lookups, max_open=max_open)
        self._out.put(pb.AnswerLookupsRequest(hello=hello))
        self._call = client.stubs.flows.AnswerLookups(iter(self._out.get, None), timeout=PATIENCE_S)
        assert next(self._call).WhichOneof("message") == "welcome"

    def next(self) -> pb.Lookup:
        message = next(self._call)
        assert message.WhichOneof("message") == "lookup", message
        return message.lookup

    def refusal(self) -> pb.LookupRefusal:
        message = next(self._call)
        assert message.WhichOneof("message") == "refusal", message
        return message.refusal

    def answer(self, asked: pb.Lookup, answer: str, **values: str) -> None:
        said = pb.LookupAnswer(call=asked.call, token=asked.token, answer=answer, values=values)
        self._out.put(pb.AnswerLookupsRequest(answer=said))

    def close(self) -> None:
        self._out.put(None)
        assert list(self._call) == []


class Floor:
    """A server whose number 4001 leads to the flow; calls come from a node that only the journal knows."""

    def __init__(self, server, client: Client, timeout: float) -> None:
        self.server, self.client = server, client
        center = parse_center(CENTER)
        calls = parse_calls('[numbers.4001]\nflow = "f"\n', center, flows={"f": FLOW.format(timeout=timeout)})
        server.engine.change_calls(calls).result()
        self.submit("node_attached", capacity=100, legs=[])

    def submit(self, kind: str, **fields) -> None:
        assert self.server.engine.submit({"event": kind, "node": "n1", **fields}).result(PATIENCE_S).entry.error is None

    def call(self, leg: str) -> str:
        self.submit("leg_incoming", leg=leg, to="4001", caller="13800001234")
        self.submit("leg_answered", leg=leg)
        return f"{PARENT}/calls/{leg}"

    def until_at(self, call: str, step: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.server.engine.read_calls(lambda board: board.state.calls[call].flow.step).result(PATIENCE_S) != step:
            assert time.monotonic() < end
            time.sleep(0.02)

    def queue(self, name: str) -> str:
        """Where a call waits, once it does."""
        end = time.monotonic() + PATIENCE_S
        while not (found := self.client.call(name.rpartition("/")[2]).queue):
            assert time.monotonic() < end
            time.sleep(0.02)
        return found.rpartition("/")[2]


def floor_in(folder, timeout: float = 60.0, **more) -> Iterator[Floor]:
    with served(folder, CENTER, **more) as server, Client(server.address) as client:
        yield Floor(server, client, timeout)


@pytest.fixture
def floor(tmp_path):
    yield from floor_in(tmp_path)


def test_a_lookup_is_answered_and_the_caller_is_led_on(floor):
    # Given a program that answers one kind of look-ups, and one that answers others
    answerer, other = Answerer(floor.client, "customer"), Answerer(floor.client, "weather")
    # When a caller comes to one
    call = floor.call("c1")
    asked = answerer.next()
    assert (asked.call, asked.lookup, asked.number, asked.caller, asked.language) == (call, "customer", "4001", "13800001234", "en")
    assert 50.0 < asked.expire_time.seconds - time.time() < 65.0
    # Then the answer leads on, and what the caller says after it too
    answerer.answer(asked, "gold", balance="20")
    floor.until_at("c1", "ask")
    done = floor.client.stubs.flows.Hear(pb.HearRequest(call=call, text="Premium, please", request_id="r1"))
    assert floor.queue(call) == "gold" and done.applied.revision
    again = floor.client.stubs.flows.Hear(pb.HearRequest(call=call, text="Premium, please", request_id="r1"))
    assert again.applied.repeated_request and again.applied.revision == done.applied.revision
    answerer.close()
    other.close()


def test_what_waits_when_a_program_comes_is_asked_and_another_program_takes_over(floor):
    call = floor.call("c1")
    first = Answerer(floor.client)
    asked = first.next()
    assert asked.call == call
    second = Answerer(floor.client)
    # When the first ends without an answer, the second is asked
    first.close()
    again = second.next()
    assert again == asked
    second.answer(again, "unknown")
    assert floor.queue(call) == "general"
    second.close()


def test_lookups_are_shared_and_nobody_gets_more_than_it_wants(floor):
    one, two = Answerer(floor.client, max_open=1), Answerer(floor.client, max_open=1)
    calls = [floor.call(f"c{i}") for i in range(3)]
    asked = [one.next(), two.next()]
    assert {each.call for each in asked} == set(calls[:2])
    one.answer(asked[0], "unknown")
    third = one.next()
    assert third.call == calls[2]
    two.answer(asked[1], "unknown")
    one.answer(third, "unknown")
    assert [floor.queue(call) for call in calls] == ["general"] * 3
    one.close()
    two.close()


def test_an_answer_that_comes_too_late_or_makes_no_sense_is_refused_and_the_stream_goes_on(floor):
    answerer = Answerer(floor.client)
    call = floor.call("c1")
    asked = answerer.next()
    floor.submit("leg_ended", leg="c1", cause="normal")
    second = floor.call("c2")
    other = answerer.next()  # by now the first is known to be over
    answerer.answer(asked, "gold")
    refusal = answerer.refusal()
    assert (refusal.call, refusal.token) == (call, asked.token) and "over" in refusal.why
    answerer.answer(pb.Lookup(call="nonsense", token="1"), "gold")
    assert "nonsense" in answerer.refusal().why
    answerer.answer(other, "unknown")
    assert floor.queue(second) == "general"
    answerer.answer(other, "unknown")
    assert answerer.refusal().call == second
    answerer.close()


def test_a_lookup_that_nobody_answers_takes_the_other_way(tmp_path):
    for floor in floor_in(tmp_path, timeout=0.5):
        assert floor.queue(floor.call("c1")) == "general"
        answerer = Answerer(floor.client)
        call = floor.call("c2")
        assert answerer.next().call == call and floor.queue(call) == "general"
        answerer.close()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.AnswerLookupsRequest(answer=pb.LookupAnswer()), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.AnswerLookupsRequest(hello=pb.LookupsHello(parent="x")), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.AnswerLookupsRequest(hello=pb.LookupsHello(parent=PARENT, max_open=1001)), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.AnswerLookupsRequest(hello=pb.LookupsHello(parent="tenants/other")), grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_a_stream_that_begins_wrongly_ends_at_once(floor, request_, code):
    with pytest.raises(grpc.RpcError) as found:
        next(floor.client.stubs.flows.AnswerLookups(iter([request_]), timeout=PATIENCE_S))
    assert found.value.code() is code


@pytest.mark.sources
def test_the_example_answers(floor):
    example = subprocess.Popen([sys.executable, EXAMPLE, floor.server.address], stdout=subprocess.PIPE, text=True)
    try:
        assert example.stdout is not None and example.stdout.readline() == "ready\n"
        call = floor.call("c1")
        floor.until_at("c1", "ask")
        floor.client.stubs.flows.Hear(pb.HearRequest(call=call, text="premium"))
        assert floor.queue(call) == "gold"
    finally:
        example.kill()
        example.wait()
        example.stdout.close()


def test_an_end_of_the_server_is_told(tmp_path):
    with served(tmp_path, CENTER) as server, Client(server.address) as client:
        answerer = Answerer(client)
        [tenant] = server.server.tenants
        server.run(_later(lambda: tenant.end_streams(UnavailableError("the server is going away", "draining"))))
        with pytest.raises(grpc.RpcError) as found:
            next(answerer._call)
        assert found.value.code() is grpc.StatusCode.UNAVAILABLE


async def _later(call) -> None:
    call()


def test_only_services_and_administrators_may_answer():
    who = {role: Caller("acme", "x", frozenset({role}), ALL, ALL, 0.0).has("flows.answer") for role in Role}
    assert {role for role, may in who.items() if may} == {Role.SERVICE, Role.ADMINISTRATOR}
