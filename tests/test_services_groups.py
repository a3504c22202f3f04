"""Events of several calls at once go together, and each call gets its own answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from cordboard.v1 import routing_service_pb2 as pb
from cordboard.v1 import routing_service_pb2_grpc
from tests.serving import Served, queue, served


@pytest.fixture(params=[True, False], ids=["durable", "not durable"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, durable=request.param) as found:
        yield found


def enqueue(contact: str, name: str = "sales") -> pb.EnqueueRequest:
    return pb.EnqueueRequest(queue=queue(name), contact_id=contact, request_id=contact)


def test_of_calls_at_once_each_gets_its_own_outcome_or_error(server: Served) -> None:
    # given calls at once, one in ten of them about a queue that is not there
    stub = server.stub(routing_service_pb2_grpc)
    asked = [enqueue(f"c{i}", "nowhere" if i % 10 == 0 else "sales") for i in range(300)]
    # when
    calls = [stub.Enqueue.future(one) for one in asked]
    # then
    revisions = set()
    for one, call in zip(asked, calls, strict=True):
        if one.queue == queue("nowhere"):
            assert call.code() is grpc.StatusCode.NOT_FOUND, call.details()
        else:
            assert call.result().contact.endswith(f"/{one.contact_id}")
            revisions.add(call.result().applied.revision)
    assert len(revisions) == 270
    entries = {entry.revision: entry.event["contact"] for entry in server.engine.entries()}
    assert {call.result().applied.revision: one.contact_id for one, call in zip(asked, calls, strict=True) if not call.exception()} == {
        revision: contact for revision, contact in entries.items() if revision in revisions
    }


def test_calls_at_once_that_no_journal_could_take_are_refused_one_by_one(server: Served) -> None:
    stub = server.stub(routing_service_pb2_grpc)
    calls = [stub.Enqueue.future(enqueue(f"c{i}" if i % 2 else f"c{i}\n")) for i in range(40)]
    codes = [call.code() for call in calls]
    assert codes == [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OK] * 20


def test_the_same_request_in_calls_at_once_is_applied_once(server: Served) -> None:
    stub = server.stub(routing_service_pb2_grpc)
    found = [call.result().applied for call in [stub.Enqueue.future(enqueue("c1")) for _ in range(40)]]
    assert len({one.revision for one in found}) == 1
    assert sum(not one.repeated_request for one in found) == 1
