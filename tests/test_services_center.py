"""CenterService, QueueService, ReportService and AdminService against a live server."""

from __future__ import annotations

import json

import grpc
import pytest

from cordboard.center import parse_center
from cordboard.kpi import KPIS
from cordboard.live import Engine, Settings
from cordboard.services.servicers.center import differences
from cordboard.v1 import admin_service_pb2 as admin
from cordboard.v1 import (
    admin_service_pb2_grpc,
    center_service_pb2_grpc,
    queue_service_pb2_grpc,
    report_service_pb2_grpc,
)
from cordboard.v1 import center_service_pb2 as pb
from cordboard.v1 import queue_service_pb2 as queues
from cordboard.v1 import report_service_pb2 as reports
from tests.serving import CENTER, TENANT, contact, queue, served

WITHOUT_TINY = CENTER.replace("[queues.tiny]\nmax_waiting = 1\n", "").replace("offer_timeout = 20", "offer_timeout = 30")


@pytest.fixture
def live(tmp_path):
    with served(tmp_path) as found:
        yield found


@pytest.fixture
def centers(live):
    return live.stub(center_service_pb2_grpc)


def submit(live, kind, **fields):
    return live.engine.submit({"event": kind, **fields}).result(10)


def test_the_configuration_is_given_whole_with_its_etag(live, centers):
    reply = centers.Get(pb.CenterServiceGetRequest(tenant=TENANT))
    record = json.loads(reply.center_json)
    assert [one["name"] for one in record["queues"]] == ["sales", "help", "tiny"]
    assert record["queues"][0]["offer_timeout"] == 20 and reply.etag == live.engine.etag


def test_a_center_file_is_checked_without_being_applied(live, centers):
    bad = centers.Validate(pb.ValidateRequest(tenant=TENANT, center_toml="[queues.a]\ndelay = -1\nwrap_up = -2\n"))
    assert [(error.line, error.key) for error in bad.errors] == [(2, "queues.a.delay"), (3, "queues.a.wrap_up")]
    assert all(error.what and error.hint for error in bad.errors) and not bad.etag
    assert all(error.chinese_what != error.what and error.chinese_hint != error.hint for error in bad.errors)
    good = centers.Validate(pb.ValidateRequest(tenant=TENANT, center_toml=CENTER))
    assert not good.errors and good.etag == live.engine.etag
    assert live.engine.state.revision == 0


def test_what_would_change_is_told_key_by_key(centers):
    reply = centers.Diff(pb.DiffRequest(tenant=TENANT, center_toml=WITHOUT_TINY + "[agents.dan]\n"))
    kinds = {change.key: pb.CenterChange.Kind.Name(change.kind) for change in reply.changes}
    assert kinds == {
        "queues.tiny": "KIND_REMOVED",
        "queues.sales.offer_timeout": "KIND_CHANGED",
        "agents.dan": "KIND_ADDED",
    }
    changed = next(change for change in reply.changes if change.key == "queues.sales.offer_timeout")
    assert (json.loads(changed.old_json), json.loads(changed.new_json)) == (20, 30)
    assert all(change.english_text and change.chinese_text != change.english_text for change in reply.changes)


def test_the_order_of_the_file_counts_as_a_difference():
    old, new = (parse_center(f"[queues.q]\n[agents.{a}]\n[agents.{b}]\n") for a, b in ("xy", "yx"))
    assert [change.key for change in differences(old, new)] == ["agents.order"] and not differences(old, old)


def test_a_configuration_is_applied_and_those_who_wait_keep_their_place(live, centers):
    for i in range(5):
        submit(live, "contact_queued", contact=f"c{i}", queue="help", priority=i % 2)
    before = live.engine.read(lambda acd: acd.positions("help")).result(5)
    etag = centers.Get(pb.CenterServiceGetRequest(tenant=TENANT)).etag
    request = pb.ApplyRequest(tenant=TENANT, center_toml=WITHOUT_TINY, etag=etag, request_id="apply-1")
    reply = centers.Apply(request)
    assert reply.applied.revision == 6 and reply.etag == live.engine.etag != etag
    assert live.engine.read(lambda acd: acd.positions("help")).result(5) == before
    assert [one.name for one in live.engine.center.queues] == ["sales", "help"]
    assert centers.Apply(request).applied.repeated_request


def test_a_change_to_a_configuration_that_is_no_longer_in_force_is_refused(centers):
    with pytest.raises(grpc.RpcError) as raised:
        centers.Apply(pb.ApplyRequest(tenant=TENANT, center_toml=WITHOUT_TINY, etag="an older one"))
    assert raised.value.code() is grpc.StatusCode.ABORTED


def test_a_center_file_that_can_not_be_used_is_not_applied(live, centers):
    for call, request in (
        (centers.Apply, pb.ApplyRequest(tenant=TENANT, center_toml="[queues")),
        (centers.Diff, pb.DiffRequest(tenant=TENANT, center_toml="[queues")),
    ):
        with pytest.raises(grpc.RpcError) as raised:
            call(request)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert live.engine.state.revision == 0


def test_queues_show_how_they_stand_and_who_waits_in_order(live):
    stub = live.stub(queue_service_pb2_grpc)
    for i in range(3):
        submit(live, "contact_queued", contact=f"c{i}", queue="help", priority=i)
    one = stub.Get(queues.QueueServiceGetRequest(name=queue("help"))).queue
    assert (one.waiting_count, one.offered_count, one.channel, one.target_share) == (3, 0, "voice", 0.8)
    page = stub.List(queues.QueueServiceListRequest(parent=TENANT, page_size=2))
    rest = stub.List(queues.QueueServiceListRequest(parent=TENANT, page_token=page.next_page_token))
    assert [q.name for q in (*page.queues, *rest.queues)] == [queue("sales"), queue("help"), queue("tiny")]
    waiting = stub.ListContacts(queues.ListContactsRequest(parent=queue("help"))).contacts
    assert [(c.name, c.position) for c in waiting] == [(contact("c2"), 1), (contact("c1"), 2), (contact("c0"), 3)]
    with pytest.raises(grpc.RpcError) as raised:
        stub.Get(queues.QueueServiceGetRequest(name=queue("hlep")))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND and 'Did you mean "help"?' in raised.value.details()


class Clock:
    """A clock that a test sets."""

    t = 1_000_000.0

    def __call__(self):
        return self.t


def test_a_report_counts_what_the_journal_says_within_a_time(tmp_path, monkeypatch):
    clock = Clock()
    real = Engine.open
    monkeypatch.setattr(Engine, "open", lambda center, settings, **more: real(center, settings, clock=clock, **more))
    assert isinstance(Settings(), Settings)
    with served(tmp_path) as live:
        stub = live.stub(report_service_pb2_grpc)
        submit(live, "agent_ready", agent="ana")
        for wait, end in ((10, "offer_accepted"), (40, "offer_accepted"), (7, "contact_left")):
            name = f"c{clock.t}"
            submit(live, "contact_queued", contact=name, queue="help")
            clock.t += wait
            submit(live, end, contact=name, **({"agent": "ana"} if end == "offer_accepted" else {}))
            if end == "offer_accepted":
                submit(live, "contact_ended", contact=name)
        reply = stub.QueryQueues(reports.QueryQueuesRequest(tenant=TENANT))
        found = {one.queue: one for one in reply.queues}[queue("help")]
        assert (found.offered_count, found.answered_count, found.abandoned_count) == (3, 2, 1)
        assert found.figures["SL_OFFERED"] == pytest.approx(1 / 3) and found.figures["ASA"] == 25.0
        assert found.longest_wait.ToSeconds() == 40 and reply.revision == live.engine.state.revision
        later = reports.QueryQueuesRequest(tenant=TENANT, figures=["ASA"], threshold={"seconds": 60})
        later.start_time.FromSeconds(1_000_011)
        later.end_time.FromSeconds(1_000_051)
        found = {one.queue: one for one in stub.QueryQueues(later).queues}[queue("help")]
        assert (found.offered_count, found.answered_count, found.abandoned_count) == (1, 1, 0)
        assert dict(found.figures) == {"ASA": 40.0} and found.threshold.ToSeconds() == 60


def test_figures_come_with_their_definitions(live):
    found = live.stub(report_service_pb2_grpc).ListFigures(reports.ListFiguresRequest()).figures
    assert [one.id for one in found] == list(KPIS) and all(one.formula and one.chinese_name for one in found)


@pytest.mark.parametrize(
    "request_",
    [
        reports.QueryQueuesRequest(tenant=TENANT, figures=["SERVICE"]),
        reports.QueryQueuesRequest(tenant=TENANT, start_time={"seconds": 9}, end_time={"seconds": 8}),
        reports.QueryQueuesRequest(tenant="acme"),
    ],
)
def test_reports_that_can_not_be_are_refused(live, request_):
    with pytest.raises(grpc.RpcError) as raised:
        live.stub(report_service_pb2_grpc).QueryQueues(request_)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_those_who_run_the_server_see_its_state_make_snapshots_and_drain(live):
    stub = live.stub(admin_service_pb2_grpc)
    submit(live, "agent_ready", agent="ana")
    submit(live, "contact_queued", contact="c1", queue="tiny")
    submit(live, "contact_queued", contact="c2", queue="sales")
    state = stub.GetState(admin.GetStateRequest(tenant=TENANT))
    assert state.status == admin.GetStateResponse.STATUS_SERVING and state.revision == 3
    assert (state.entered_count, state.offered_count, state.waiting_count) == (2, 1, 1)
    assert stub.CreateSnapshot(admin.CreateSnapshotRequest(tenant=TENANT)).revision == 3
    assert stub.Drain(admin.DrainRequest(tenant=TENANT, wait={"seconds": 1})).connected_count == 0
    state = stub.GetState(admin.GetStateRequest(tenant=TENANT))
    assert state.status == admin.GetStateResponse.STATUS_DRAINING and state.waiting_count == 2
