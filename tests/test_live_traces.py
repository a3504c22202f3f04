"""Contacts as OpenTelemetry traces: the spans, their times, and what they must not hold."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("sqlalchemy")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cordboard.live import Engine, Settings
from cordboard.live.traces import Traces, exporting
from tests.clocks import Wall
from tests.test_live_metrics import CENTER
from tests.test_live_webhooks import Receiver


def one_call(engine: Engine, wall: Wall) -> None:
    """Offered to li who misses it, then to wu who takes it."""
    for event, after in (
        ({"event": "agent_ready", "agent": "li"}, 1.0),
        ({"event": "contact_queued", "contact": "c1", "queue": "billing", "customer": "customer-0815"}, 2.0),
        ({"event": "agent_ready", "agent": "wu"}, 3.5),
    ):
        engine.submit(event).result(10)
        wall.t += after
    entry = engine.submit({"event": "priority_changed", "contact": "c1", "priority": 1}).result(10).entry
    assert entry.error is None
    engine.submit({"event": "offer_accepted", "contact": "c1", "agent": "wu"}).result(10)
    wall.t += 60
    engine.submit({"event": "contact_ended", "contact": "c1"}).result(10)


def test_a_contact_is_a_trace_of_its_queue_its_offers_and_its_conversation(tmp_path: Path) -> None:
    # given a contact that is inside when the tracing begins, and one that comes then
    wall, spans = Wall(), InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with Engine.open(CENTER, Settings(data=tmp_path), clock=wall) as engine:
        engine.submit({"event": "contact_queued", "contact": "old", "queue": "sales"}).result(10)
        traces = Traces(engine, provider=provider).start()
        time.sleep(0.1)
        engine.submit({"event": "contact_left", "contact": "old"}).result(10)
        # when
        one_call(engine, wall)
        traces.close()
    # then
    found = spans.get_finished_spans()
    whole = next(span for span in found if span.name == "contact")
    assert whole.attributes["cordboard.outcome"] == "answered" and whole.attributes["cordboard.contact"] == "c1"
    assert len({span.context.trace_id for span in found}) == 1
    parts = {(span.name, span.attributes.get("cordboard.agent"), span.attributes.get("cordboard.outcome")): span for span in found}
    assert set(parts) == {
        ("contact", None, "answered"), ("queue", None, None), ("conversation", "wu", None),
        ("offer", "li", "expired"), ("offer", "wu", "accepted"),
    }  # fmt: skip
    seconds = {key: (span.end_time - span.start_time) / 1e9 for key, span in parts.items()}
    assert seconds["offer", "li", "expired"] == 5 and seconds["conversation", "wu", None] == 60
    assert seconds["queue", None, None] == 5.5 and seconds["contact", None, "answered"] == 65.5
    assert not parts["offer", "li", "expired"].status.is_ok
    assert "0815" not in repr([dict(span.attributes) for span in found])


def test_traces_reach_a_collector_by_otlp(tmp_path: Path) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    receiver, wall = Receiver(), Wall()
    provider = exporting(receiver.url.rpartition("/")[0])
    with Engine.open(CENTER, Settings(data=tmp_path), clock=wall) as engine:
        traces = Traces(engine, provider=provider).start()
        one_call(engine, wall)
        traces.close()
    provider.shutdown()
    receiver.server.shutdown()
    receiver.server.server_close()
    names = [
        span.name
        for _, body, _ in receiver.requests
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert sorted(names) == ["contact", "conversation", "offer", "offer", "queue"]
