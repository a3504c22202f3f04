"""The core and the rows of a journal: what every replay does in the same way, now, after a crash, and for a history.

A :class:`Core` takes row after row and makes entries of them. An event that the core refuses is an entry as well, with
the error; so is nothing else. What a row does depends on the rows before it and on nothing else: no clock, no chance.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cordboard.acd import Acd
from cordboard.center import Agent, Center, Queue, Reserve, Step, Weights
from cordboard.errors import CordboardError, EventError, LimitError
from cordboard.live.entry import Entry
from cordboard.live.store import Row

Event = dict[str, Any]


def encode(value: Mapping[str, Any]) -> str:
    """JSON as the journal keeps it: one form for one value, so that texts can be compared."""
    return _encode(value)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def center_text(center: Center) -> str:
    """A center as JSON, for the journal. Its warnings are left out: they are about a file."""
    record = dataclasses.asdict(center)
    del record["warnings"]
    return encode(record)


def center_of(text: str) -> Center:
    """The center of such a text."""
    record = json.loads(text)
    queues = [_queue(queue) for queue in record.pop("queues")]
    agents = [Agent(**agent) for agent in record.pop("agents")]
    reserves = [Reserve(**(rule | {"queues": tuple(rule["queues"])})) for rule in record.pop("reserves")]
    return Center(tuple(queues), tuple(agents), reserves=tuple(reserves), **record)


def _queue(record: dict[str, Any]) -> Queue:
    steps = tuple(Step(**step) for step in record.pop("steps"))
    weights = record.pop("weights")
    return Queue(**record, steps=steps, weights=None if weights is None else Weights(**weights))


def etag_of(center: Center) -> str:
    """A short text that is another one for another center."""
    return hashlib.sha256(center_text(center).encode()).hexdigest()[:32]


class Core:
    """An Acd that is fed by rows. ``make`` gives a fresh Acd for a center."""

    def __init__(self, center: Center, make: Callable[[Center], Acd], revision: int = 0) -> None:
        self.acd = make(center)
        self.revision = revision
        self.ticks = 0

    def apply(self, row: Row, event: Event) -> Entry:
        """Take the next row; ``event`` is what it says, with its ``t``."""
        assert row.revision == self.revision + 1, (row.revision, self.revision)
        self.revision = row.revision
        self.ticks = row.ticks
        effects: Iterable[dict[str, Any]]
        error: CordboardError | None = None
        try:
            effects = self.acd.apply(event)
        except (EventError, LimitError) as refused:
            effects, error = refused.effects, refused.with_traceback(None)
        return Entry(row.revision, event["t"], event, tuple(effects), error, row.actor, row.request_id)

    def replay(self, rows: Iterable[Row]) -> Iterator[Entry]:
        """Take rows as they stand in the journal."""
        for row in rows:
            yield self.apply(row, event_of(row))


def event_of(row: Row) -> Event:
    """The event of a row, with its time in seconds."""
    return {"t": row.ticks / 1e6, **json.loads(row.event)}
