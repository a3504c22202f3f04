"""Logs as OpenTelemetry records: what cordboard says through ``logging``, structured, with the trace it belongs to.

A record has its words, its severity, its logger, the facts that were given with it (ids and numbers, as
``extra={"facts": {...}}``; ``"at"`` beside them for another time than now), and the trace and span in which it was
written. Of an exception it has the type and the lines of code, not the words: those may quote what a caller sent.

Only loggers of cordboard are followed: what other libraries log at will is not known to be free of personal data.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

from cordboard import __version__
from cordboard.errors import InputError, MissingExtraError, Where

try:
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
    from opentelemetry.sdk._logs.export import (
        BatchLogRecordProcessor,
        ConsoleLogRecordExporter,
        SimpleLogRecordProcessor,
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import format_span_id, format_trace_id
except ImportError as error:
    raise MissingExtraError("opentelemetry-sdk", "traces") from error

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LogRecordProcessor

JSON = "json"
_SEVERITIES = {
    logging.DEBUG: ("DEBUG", SeverityNumber.DEBUG),
    logging.INFO: ("INFO", SeverityNumber.INFO),
    logging.WARNING: ("WARN", SeverityNumber.WARN),
    logging.ERROR: ("ERROR", SeverityNumber.ERROR),
    logging.CRITICAL: ("FATAL", SeverityNumber.FATAL),
}


def resource() -> Resource:
    """Who sends: this service."""
    return Resource.create({"service.name": "cordboard", "service.version": __version__})


class Logs(logging.Handler):
    """Takes all that cordboard logs, from INFO on, from ``start`` to ``close``. ``where``: ``json`` for lines on
    standard error, or a collector for OTLP over HTTP, ``http://HOST:4318``. InputError for anything else."""

    def __init__(self, where: str) -> None:
        super().__init__()
        processor = _processor(where)
        self._provider = LoggerProvider(resource=resource())
        self._provider.add_log_record_processor(processor)
        self._top = logging.getLogger("cordboard")
        self._level_before = self._top.level

    def start(self) -> None:
        """Begin."""
        self._top.setLevel(logging.INFO)
        self._top.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """One record on its way; never raises."""
        try:
            self._provider.get_logger(record.name).emit(_translated(record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Send what waits, and let go."""
        self._top.removeHandler(self)
        self._top.setLevel(self._level_before)
        self._provider.shutdown()
        super().close()


def _processor(where: str) -> LogRecordProcessor:
    if where == JSON:
        return SimpleLogRecordProcessor(ConsoleLogRecordExporter(out=sys.stderr, formatter=_line))
    if not where.startswith(("http://", "https://")):
        raise InputError(f"{where!r} is no place for logs", Where(key="--logs"), f"Write http://HOST:4318, or {JSON}")
    try:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    except ImportError as error:
        raise MissingExtraError(error.name or "opentelemetry-exporter-otlp-proto-http", "traces") from error
    return BatchLogRecordProcessor(OTLPLogExporter(endpoint=where.rstrip("/") + "/v1/logs"))


def _translated(record: logging.LogRecord) -> LogRecord:
    text, number = _SEVERITIES.get(record.levelno, (record.levelname, SeverityNumber.UNSPECIFIED))
    facts = vars(record).get("facts", {})
    attributes = {f"cordboard.{key}": value for key, value in facts.items() if value is not None}
    if record.exc_info and record.exc_info[0]:
        attributes["exception.type"] = record.exc_info[0].__name__
        attributes["exception.stacktrace"] = _places(record.exc_info[2])
    return LogRecord(
        timestamp=round(vars(record).get("at", record.created) * 1e6) * 1000,
        severity_text=text,
        severity_number=number,
        body=record.getMessage(),
        attributes=attributes,
    )


def _places(found: TracebackType | None) -> str:
    return "".join(traceback.format_tb(found))


def _line(readable: ReadableLogRecord) -> str:
    """A record as a line of JSON."""
    record = readable.log_record
    line = {
        "timestamp": (record.timestamp or 0) / 1e9,
        "severity": record.severity_text,
        "logger": readable.instrumentation_scope.name if readable.instrumentation_scope else "",
        "body": record.body,
        **(record.attributes or {}),
    }
    if record.trace_id:
        line |= {"trace_id": format_trace_id(record.trace_id), "span_id": format_span_id(record.span_id or 0)}
    return json.dumps(line, ensure_ascii=False) + "\n"
