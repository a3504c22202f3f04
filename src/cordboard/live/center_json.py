"""A center as JSON, for the journal, and back; and its etag."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cordboard.center import Agent, Center, Queue, Reserve, Step, Weights

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_text = json.encoder.encode_basestring


def encode(value: Mapping[str, Any]) -> str:
    """JSON as the journal keeps it, without spaces."""
    parts = []
    for key, part in value.items():
        if type(part) is not str:
            return _encode(value)
        parts.append(f"{_text(key)}:{_text(part)}")
    return f"{{{','.join(parts)}}}"  # of texts alone, as most events are: the encoder would need twice the time


def center_record(center: Center) -> dict[str, Any]:
    """A center as plain data. Its warnings are left out: they are about a file."""
    record = dataclasses.asdict(center)
    del record["warnings"]
    return record


def record_center(record: Mapping[str, Any]) -> Center:
    """The center of such a record."""
    rest = dict(record)
    queues = tuple(_queue(queue) for queue in rest.pop("queues"))
    agents = tuple(Agent(**agent) for agent in rest.pop("agents"))
    reserves = tuple(Reserve(**(rule | {"queues": tuple(rule["queues"])})) for rule in rest.pop("reserves"))
    return Center(queues, agents, reserves=reserves, **rest)


def _queue(record: dict[str, Any]) -> Queue:
    weights = record["weights"]
    parts = {
        "steps": tuple(Step(**step) for step in record["steps"]),
        "weights": None if weights is None else Weights(**weights),
    }
    return Queue(**(record | parts))


def etag_of(center: Center) -> str:
    """A short text that is another one for another center."""
    return text_etag(encode(center_record(center)))


def text_etag(text: str) -> str:
    """A short text that is another one for another text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
