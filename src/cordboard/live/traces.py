"""Every contact as an OpenTelemetry trace: where it waited, to whom it was offered, with whom it talked.

Spans are made of the records of a contact when it is over, with the times of the journal. Their attributes are ids of
contacts, queues and agents and numbers of journal rows; customers are left out. Each contact also logs a line in its
span, and each offer that came to nothing one in its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from cordboard.errors import CompactedError, MissingExtraError, SlowReaderError, UnavailableError
from cordboard.live.logs import resource
from cordboard.records.projection import Projection, Row, Step

try:
    from opentelemetry import trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
except ImportError as error:
    raise MissingExtraError("opentelemetry-sdk", "traces") from error

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider

    from cordboard.live.engine import Engine
    from cordboard.live.entry import Entry

LOOK_S = 0.5

_log = logging.getLogger("cordboard.traces")


def exporting(url: str | None) -> SdkTracerProvider:
    """A provider that sends spans to a collector in batches, by OTLP over HTTP: ``url`` as in http://HOST:4318; without
    one it sends them nowhere, and logs have the ids of their traces all the same."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtraError(error.name or "opentelemetry-sdk", "traces") from error
    provider = SdkTracerProvider(resource=resource())
    if url:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url.rstrip("/") + "/v1/traces")))
    return provider


class Traces:
    """Makes traces of an engine's contacts in a thread of its own, of those that come from now on.

    ``provider``: of the SDK, with the exporter that the operator wants; None for the one that is set globally.
    """

    def __init__(self, engine: Engine, tenant: str = "default", provider: TracerProvider | None = None) -> None:
        self._engine, self._tenant = engine, tenant
        self._tracer = trace.get_tracer("cordboard", tracer_provider=provider)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cordboard-traces", daemon=True)

    def start(self) -> Traces:
        """Begin; returns itself."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Make what is over, and stop."""
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        after = None
        while True:
            contacts = Contacts()
            try:
                with closing(self._engine.subscribe(after)) as subscription:
                    while True:
                        entries = subscription.get(0.0 if self._stop.is_set() else LOOK_S)
                        self._make(contacts.over(entries))
                        if not entries and self._stop.is_set():
                            return
            except (SlowReaderError, CompactedError):
                _log.warning("traces fell behind: those of the contacts inside are left out")
                after = None
            except UnavailableError:
                return

    def _make(self, over: Iterable[list[Row]]) -> None:
        for rows in over:
            self._trace({row.table: row.values for row in rows if row.table in ("contacts", "outcomes")}, rows)

    def _trace(self, one: dict[str, dict[str, Any]], rows: list[Row]) -> None:
        contact, outcome = one["contacts"], one["outcomes"]
        ids = {"tenant": self._tenant, "contact": contact["contact"], "revision": contact["revision"]}
        whole = self._span("contact", contact["arrived_at"], None, SpanKind.SERVER, contact["revision"], contact)
        whole.set_attribute("cordboard.outcome", outcome["outcome"])
        parent = trace.set_span_in_context(whole)
        for row in rows:
            values = row.values
            if row.table == "legs":
                name = "conversation" if values["agent"] else "queue"
                span = self._span(name, values["began_at"], parent, SpanKind.INTERNAL, values["began_revision"], values)
                span.set_attribute("cordboard.ended_by", values["ended_by"])
                span.end(_nanoseconds(values["ended_at"]))
            elif row.table == "offers":
                span = self._span("offer", values["offered_at"], parent, SpanKind.CLIENT, values["revision"], values)
                span.set_attribute("cordboard.outcome", values["outcome"])
                if values["outcome"] in ("expired", "declined"):
                    span.set_status(Status(StatusCode.ERROR, values["outcome"]))
                    facts = ids | {"queue": values["queue"], "agent": values["agent"], "outcome": values["outcome"]}
                    _tell(span, f"an offer was {values['outcome']}", values["ended_at"], facts)
                span.end(_nanoseconds(values["ended_at"]))
        facts = ids | {key: outcome[key] for key in ("outcome", "queue", "agent", "offers", "missed")}
        answered, ended = outcome["answered_at"], outcome["ended_at"]
        facts["waited_s"] = round((ended if answered is None else answered) - contact["arrived_at"], 6)
        facts["talked_s"] = None if answered is None else round(ended - answered, 6)
        _tell(whole, f"a contact is over: {outcome['outcome']}", ended, facts)
        whole.end(_nanoseconds(contact["ended_at"]))

    def _span(self, name: str, t: float, parent: Any, kind: SpanKind, revision: int, values: dict[str, Any]) -> Span:
        attributes: dict[str, Any] = {"cordboard.tenant": self._tenant, "cordboard.revision": revision}
        attributes |= {f"cordboard.{key}": values[key] for key in ("contact", "queue", "agent") if values.get(key)}
        start = _nanoseconds(t)
        return self._tracer.start_span(name, context=parent, kind=kind, attributes=attributes, start_time=start)


class Contacts:
    """Gathers the records of each contact until it is over. Contacts that were there before are left out."""

    def __init__(self) -> None:
        self._projection = Projection(lenient=True)
        self._rows: dict[int, list[Row]] = {}

    def over(self, entries: Iterable[Entry]) -> list[list[Row]]:
        """The rows of every contact that is over with these entries."""
        found = []
        for entry in entries:
            self._projection.take(Step.of(entry))
            for row in self._projection.take_dirty():
                if row.table == "agent_states" or row.stored:
                    continue
                row.stored = True
                key = row.values["revision" if row.table == "contacts" else "contact_revision"]
                self._rows.setdefault(key, []).append(row)
                if row.table == "outcomes":
                    found.append(self._rows.pop(key))
        return found


def _tell(span: Span, text: str, at: float, facts: dict[str, Any]) -> None:
    with trace.use_span(span):
        _log.info(text, extra={"facts": facts, "at": at})


def _nanoseconds(t: float) -> int:
    return round(t * 1e6) * 1000
