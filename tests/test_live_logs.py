"""Structured logs: each line with its facts and its trace, and nothing of what customers are."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("sqlalchemy")

import sqlalchemy as sa
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cordboard.errors import InputError
from cordboard.live import Engine, Settings
from cordboard.live.logs import Logs
from cordboard.live.traces import Traces
from cordboard.records import Follower
from tests.clocks import Wall, until
from tests.test_live_metrics import CENTER
from tests.test_live_traces import one_call
from tests.test_live_webhooks import Receiver

CARD = "4111111111111111"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch):
    """Gives what was logged as lines of JSON since the test began; ends the logging."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    logs = Logs("json")
    logs.start()

    def found() -> list[dict]:
        logs.close()
        return [json.loads(line) for line in written.getvalue().splitlines()]

    yield found
    logs.close()


def test_a_contact_and_its_missed_offer_are_lines_in_the_spans_of_its_trace(tmp_path: Path, lines) -> None:
    # given
    wall, spans = Wall(), InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with Engine.open(CENTER, Settings(data=tmp_path), clock=wall) as engine:
        traces = Traces(engine, provider=provider).start()
        # when
        one_call(engine, wall)
        traces.close()
    # then
    missed, over = lines()
    assert missed["body"] == "an offer was expired" and missed["cordboard.agent"] == "li"
    assert over["body"] == "a contact is over: answered" and over["severity"] == "INFO"
    assert over | {"cordboard.waited_s": 5.5, "cordboard.talked_s": 60.0, "cordboard.agent": "wu", "cordboard.missed": 1} == over
    assert (missed["timestamp"], over["timestamp"]) == (1_000_006.0, wall.t)
    ids = {(span.name, span.attributes.get("cordboard.agent")): span.context for span in spans.get_finished_spans()}
    for line, context in ((missed, ids["offer", "li"]), (over, ids["contact", None])):
        assert (int(line["trace_id"], 16), int(line["span_id"], 16)) == (context.trace_id, context.span_id)
    assert "0815" not in json.dumps([missed, over])


def test_an_exception_is_its_type_and_its_places_and_not_its_words(lines) -> None:
    try:
        raise ValueError(f"what a caller sent: {CARD}")
    except ValueError:
        logging.getLogger("cordboard.live").exception("it failed on revision %d", 7, extra={"facts": {"revision": 7}})
    logging.getLogger("another.library").error("the card %s", CARD)
    [line] = lines()
    assert (line["body"], line["severity"], line["cordboard.revision"]) == ("it failed on revision 7", "ERROR", 7)
    assert line["exception.type"] == "ValueError" and "test_live_logs.py" in line["exception.stacktrace"]
    assert CARD not in json.dumps(line)


def test_records_that_can_t_be_written_are_logged_without_their_rows(tmp_path: Path, lines) -> None:
    # given a database of records that takes no contact
    place = tmp_path / "records.db"
    with Engine.open(CENTER, Settings(data=tmp_path)) as engine:
        Follower(engine, place).start().close(10)
        database = sa.create_engine(f"sqlite:///{place}")
        with database.begin() as connection:
            connection.execute(sa.text("CREATE TRIGGER no BEFORE INSERT ON contacts BEGIN SELECT RAISE(ABORT, 'no'); END"))
        database.dispose()
        follower = Follower(engine, place).start()
        # when
        engine.submit({"event": "contact_queued", "contact": "c1", "queue": "billing", "customer": CARD}).result(10)
        until(lambda: follower.fault)
        follower.close(0)
    # then
    [line] = [line for line in lines() if line["logger"] == "cordboard.records"]
    assert line["body"].startswith("the records stand still at revision 0: (sqlite3.IntegrityError) no") and CARD not in json.dumps(line)


def test_logs_reach_a_collector_by_otlp(tmp_path: Path) -> None:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    receiver, wall = Receiver(), Wall()
    logs = Logs(receiver.url.rpartition("/")[0])
    logs.start()
    with Engine.open(CENTER, Settings(data=tmp_path), clock=wall) as engine:
        traces = Traces(engine, provider=TracerProvider()).start()
        one_call(engine, wall)
        traces.close()
    logs.close()
    receiver.server.shutdown()
    receiver.server.server_close()
    [resource] = [one for _, body, _ in receiver.requests for one in ExportLogsServiceRequest.FromString(body).resource_logs]
    assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == "cordboard"
    records = [record for scope in resource.scope_logs for record in scope.log_records]
    assert [record.body.string_value for record in records] == ["an offer was expired", "a contact is over: answered"]
    assert len({record.trace_id for record in records}) == 1 and len({record.span_id for record in records}) == 2
    assert logging.getLogger("cordboard").level == logging.NOTSET


def test_a_place_that_is_none_is_told() -> None:
    with pytest.raises(InputError, match="no place for logs"):
        Logs("collector:4317")
