"""RoutingService against a live server: contacts in and out, reasons, batches, columns."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from cordboard import Acd
from cordboard.acd import EFFECT, EVENT
from cordboard.center import parse_center
from cordboard.services.servicers.routing import BATCHES_MAX
from cordboard.v1 import agent_service_pb2 as agents
from cordboard.v1 import agent_service_pb2_grpc, columns_pb2, routing_service_pb2_grpc
from cordboard.v1 import journal_pb2 as journal
from cordboard.v1 import routing_service_pb2 as pb
from tests.serving import CENTER, TENANT, agent, contact, queue, served


@pytest.fixture
def live(tmp_path):
    with served(tmp_path) as found:
        yield found


@pytest.fixture
def routing(live):
    return live.stub(routing_service_pb2_grpc)


def set_ready(live, name):
    stub = live.stub(agent_service_pb2_grpc)
    return stub.SetState(agents.SetStateRequest(agent=agent(name), state=agents.Agent.STATE_READY))


def failure(call, request, **options):
    """The code of a call that must fail, and its ErrorInfo and BadRequest fields."""
    with pytest.raises(grpc.RpcError) as raised:
        call(request, **options)
    status = rpc_status.from_call(raised.value)
    info, fields = error_details_pb2.ErrorInfo(), []
    for packed in status.details if status else ():
        packed.Unpack(info)
        bad = error_details_pb2.BadRequest()
        if packed.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
    return raised.value.code(), info.reason, fields


def test_a_contact_is_offered_at_once_to_the_agent_who_is_free_with_the_reason(live, routing):
    set_ready(live, "ana")
    reply = routing.Enqueue(pb.EnqueueRequest(queue=queue("sales"), contact_id="c1", priority=3))
    assert reply.contact == contact("c1") and reply.applied.revision == 2
    (effect,) = reply.applied.effects
    assert (effect.offer.contact, effect.offer.agent, effect.offer.queue) == ("c1", "ana", "sales")
    assert effect.offer.why.eligible_agents == 1 and effect.offer.why.key == "idle_s"


def test_a_request_that_comes_twice_is_applied_once_and_answered_alike(live, routing):
    request = pb.EnqueueRequest(queue=queue("sales"), contact_id="c1", request_id="r1")
    first, second = routing.Enqueue(request), routing.Enqueue(request)
    assert not first.applied.repeated_request and second.applied.repeated_request
    assert first.applied.revision == second.applied.revision == live.engine.state.revision == 1


def test_a_request_id_with_another_request_is_refused(routing):
    routing.Enqueue(pb.EnqueueRequest(queue=queue("sales"), contact_id="c1", request_id="r1"))
    other = pb.EnqueueRequest(queue=queue("sales"), contact_id="c2", request_id="r1")
    assert failure(routing.Enqueue, other)[:2] == (grpc.StatusCode.ABORTED, "CONFLICT")


def test_a_contact_without_a_name_is_called_by_its_request(routing):
    assert routing.Enqueue(pb.EnqueueRequest(queue=queue("sales"), request_id="r1")).contact == contact("r1")


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (pb.EnqueueRequest(queue="sales", contact_id="c"), "INVALID_ARGUMENT", "queue"),
        (pb.EnqueueRequest(queue=queue("sales")), "INVALID_ARGUMENT", "contact_id"),
        (pb.EnqueueRequest(queue=queue("sales"), contact_id="c" * 256), "INVALID_ARGUMENT", "contact"),
        (pb.EnqueueRequest(queue=queue("sales"), contact_id="c", priority=float("nan")), "INVALID_ARGUMENT", "priority"),
        (pb.EnqueueRequest(queue=queue("sales"), contact_id="c", max_tier=0), "INVALID_ARGUMENT", "max_tier"),
        (pb.EnqueueRequest(queue=queue("sale"), contact_id="c"), "NOT_FOUND", None),
        (pb.EnqueueRequest(queue="tenants/other/queues/sales", contact_id="c"), "PERMISSION_DENIED", None),
    ],
)
def test_what_can_not_be_used_is_refused_by_name(live, routing, request_, code, field):
    found, _, fields = failure(routing.Enqueue, request_)
    assert found.name == code and (field is None or fields == [field])
    assert live.engine.state.revision == (1 if code == "NOT_FOUND" else 0)  # a name is the core's to know


def test_names_may_hold_anything(live, routing):
    name = "客户/1 %25"
    reply = routing.Enqueue(pb.EnqueueRequest(queue=queue("sales"), contact_id=name))
    routing.Leave(pb.LeaveRequest(contact=reply.contact))
    assert live.engine.read(lambda acd: acd.counts()["ended"]).result(5) == 1


def test_a_contact_that_left_is_gone_and_can_not_leave_again(routing):
    routing.Enqueue(pb.EnqueueRequest(queue=queue("sales"), contact_id="c1"))
    assert routing.Leave(pb.LeaveRequest(contact=contact("c1"))).applied.revision == 2
    assert failure(routing.Leave, pb.LeaveRequest(contact=contact("c1")))[1] == "TOO_LATE"
    assert failure(routing.Leave, pb.LeaveRequest(contact=contact("c9")))[1] == "NAME_UNKNOWN"


def test_a_full_queue_rejects_without_an_error(routing):
    routing.Enqueue(pb.EnqueueRequest(queue=queue("tiny"), contact_id="c1"))
    (effect,) = routing.Enqueue(pb.EnqueueRequest(queue=queue("tiny"), contact_id="c2")).applied.effects
    assert (effect.contact_rejected.contact, effect.contact_rejected.reason) == ("c2", "full")


def test_explain_tells_for_every_agent_what_keeps_it_from_the_contact(live, routing):
    set_ready(live, "ben")
    routing.Enqueue(pb.EnqueueRequest(queue=queue("help"), contact_id="c1"))
    first = routing.Explain(pb.ExplainRequest(contact=contact("c1"), page_size=2))
    rest = routing.Explain(pb.ExplainRequest(contact=contact("c1"), page_token=first.next_page_token))
    rows = {row.agent: row for row in (*first.agents, *rest.agents)}
    assert first.position == 1 and not rest.next_page_token
    assert rows[agent("ana")].filter == "offline"
    assert rows[agent("ben")].filter == "skill" and rows[agent("ben")].details["needs"] == "3"


def test_the_wait_is_estimated(routing):
    routing.Enqueue(pb.EnqueueRequest(queue=queue("help"), contact_id="c1"))
    reply = routing.EstimateWait(pb.EstimateWaitRequest(contact=contact("c1")))
    assert reply.position == 1 and 0 < reply.p50.ToSeconds() <= reply.p90.ToSeconds()


def test_a_live_session_applies_batches_and_answers_each_event_in_its_place(live, routing):
    ready = journal.Event(agent_ready=journal.AgentReady(agent="ana"))
    queued = journal.Event(contact_queued=journal.ContactQueued(contact="c1", queue="sales", priority=1))
    wrong = journal.Event(contact_left=journal.ContactLeft(contact="nobody"))
    taken = journal.Event(offer_accepted=journal.OfferAccepted(contact="c1", agent="ana"))
    batch = pb.EventBatch(events=[ready, queued, wrong, taken], request_ids=["a", "b", "c", "d"])
    opened, first, again = routing.Session(
        iter(
            [
                pb.SessionRequest(open=pb.SessionOpen(tenant=TENANT)),
                pb.SessionRequest(events=batch),
                pb.SessionRequest(events=batch),
            ]
        )
    )
    assert list(opened.opened.queues) == ["sales", "help", "tiny"]
    assert [bool(outcome.HasField("error")) for outcome in first.outcomes.outcomes] == [False, False, True, False]
    assert first.outcomes.outcomes[1].applied.effects[0].offer.agent == "ana"
    assert all(outcome.applied.repeated_request for outcome in again.outcomes.outcomes if outcome.HasField("applied"))
    assert live.engine.read(lambda acd: acd.counts()["connected"]).result(5) == 1


def test_batches_on_their_way_together_are_answered_in_order_and_what_is_wrong_after_them(routing):
    def messages():
        yield pb.SessionRequest(open=pb.SessionOpen(tenant=TENANT))
        for i in range(3 * BATCHES_MAX):
            event = journal.Event(contact_queued=journal.ContactQueued(contact=f"c{i}", queue="sales"))
            yield pb.SessionRequest(events=pb.EventBatch(events=[event] * 2))  # the second one is there already
        yield pb.SessionRequest(events=pb.EventBatch(events=[journal.Event(clock=journal.Clock())]))

    answers = routing.Session(messages())
    next(answers)
    found = [next(answers).outcomes.outcomes for _ in range(3 * BATCHES_MAX)]
    assert [first.applied.revision for first, _ in found] == [1 + 2 * i for i in range(3 * BATCHES_MAX)]
    assert all(second.HasField("error") for _, second in found)
    with pytest.raises(grpc.RpcError) as raised:
        next(answers)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_session_that_is_not_opened_ends(routing):
    with pytest.raises(grpc.RpcError) as raised:
        next(routing.Session(iter([pb.SessionRequest(events=pb.EventBatch())])))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def busy_day(n=500):
    """Events of a small center as a structured array, from a fixed seed; some can't be applied."""
    rng = np.random.default_rng(7)
    events = np.zeros(n, EVENT)
    events["t"] = np.cumsum(rng.exponential(2.0, n).round(3))
    events["event"] = rng.choice([0, 1, 4, 4, 4, 5, 6, 7, 8, 9], n)
    events["contact"] = rng.integers(0, 40, n)
    events["agent"] = rng.integers(0, 3, n)
    events["queue"] = rng.integers(0, 3, n)
    events["queued_at"], events["preferred"] = np.nan, -1
    return events


def as_columns(events):
    fields = {"time": "t", "kind": "event", "contact": "contact", "agent": "agent", "queue": "queue"}
    return columns_pb2.EventColumns(**{key: events[field].tobytes() for key, field in fields.items()})


def as_effects(message):
    kinds = {"time": "t", "kind": "effect", "contact": "contact", "agent": "agent", "queue": "queue", "reason": "reason", "value": "value"}
    return {field: np.frombuffer(getattr(message, key), EFFECT[field]) for key, field in kinds.items()}


def test_columns_are_routed_exactly_as_the_library_routes_them(routing):
    events = busy_day()
    expected = Acd(parse_center(CENTER), explain=False).apply_columns(events)
    reply = routing.RouteColumns(pb.RouteColumnsRequest(center_toml=CENTER, events=as_columns(events)))
    found = as_effects(reply.effects)
    assert len(expected) > 100
    for field, values in found.items():
        assert np.array_equal(values, expected[field], equal_nan=values.dtype.kind == "f"), field


def test_a_session_of_ones_own_remembers_from_message_to_message(routing):
    events = busy_day()
    expected = Acd(parse_center(CENTER), explain=False).apply_columns(events)
    parts = [pb.SessionRequest(columns=as_columns(part)) for part in np.split(events, 10)]
    opening = pb.SessionRequest(open=pb.SessionOpen(center_toml=CENTER))
    replies = list(routing.Session(iter([opening, *parts])))[1:]
    times = np.concatenate([as_effects(reply.effects)["t"] for reply in replies])
    assert len(replies) == 10 and np.array_equal(times, expected["t"])


@pytest.mark.parametrize(
    "columns",
    [
        columns_pb2.EventColumns(time=b"1234"),
        columns_pb2.EventColumns(time=b"12345678", kind=b"12345678"),
        columns_pb2.EventColumns(time=b"12345678" * 2, kind=b"1234" * 2, contact=b"1"),
    ],
)
def test_columns_that_do_not_fit_together_are_refused(routing, columns):
    code, _, fields = failure(routing.RouteColumns, pb.RouteColumnsRequest(center_toml=CENTER, events=columns))
    assert code is grpc.StatusCode.INVALID_ARGUMENT and fields[0].startswith("events.")


def test_more_columns_than_the_bound_are_refused_with_the_bound(routing):
    n = 100_001
    columns = columns_pb2.EventColumns(time=bytes(8 * n), kind=bytes(4 * n))
    request = pb.RouteColumnsRequest(center_toml=CENTER, events=columns)
    assert failure(routing.RouteColumns, request)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")


def test_a_call_whose_deadline_has_passed_ends_and_the_server_goes_on(live, routing):
    # given a writer that is held up
    import threading

    gate = threading.Event()
    held = live.engine.read(lambda acd: gate.wait(30))
    # when a call may take a tenth of a second
    code, _, _ = failure(routing.Enqueue, pb.EnqueueRequest(queue=queue("sales"), contact_id="c1"), timeout=0.1)
    gate.set()
    held.result(30)
    # then it is over for the caller, and the next one is served
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert routing.Enqueue(pb.EnqueueRequest(queue=queue("sales"), contact_id="c2")).applied.revision > 0
