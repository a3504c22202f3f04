"""Columns of events and effects: bytes in messages, structured arrays for the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard.acd import EFFECT, EVENT
from cordboard.errors import InputError, Where
from cordboard.v1 import columns_pb2 as pb

# field of the message -> (field of EVENT, what holds where the column is absent)
_EVENT_FIELDS: dict[str, tuple[str, float]] = {
    "time": ("t", 0.0),
    "kind": ("event", 0),
    "contact": ("contact", -1),
    "agent": ("agent", -1),
    "queue": ("queue", -1),
    "priority": ("priority", 0.0),
    "queued_at": ("queued_at", np.nan),
    "preferred_agent": ("preferred", -1),
}
_EFFECT_FIELDS = {
    "time": "t", "kind": "effect", "contact": "contact", "agent": "agent", "queue": "queue", "reason": "reason",
    "value": "value",
}  # fmt: skip


def events_of(message: pb.EventColumns) -> npt.NDArray[np.void]:
    """The events, dtype EVENT, shape (n,). InputError names the column that does not fit."""
    count, left = divmod(len(message.time), 8)
    if left:
        raise InputError(f"{len(message.time)} bytes are no float64s", Where(key="events.time"), "8 bytes each")
    table = np.empty(count, EVENT)
    for key, (field, default) in _EVENT_FIELDS.items():
        raw: bytes = getattr(message, key)
        if not raw and key not in ("time", "kind"):
            table[field] = default
            continue
        dtype = EVENT[field]
        if len(raw) != count * dtype.itemsize:
            what = f"{len(raw)} bytes for {count} events"
            raise InputError(what, Where(key=f"events.{key}"), f"Give {dtype.itemsize} bytes an event")
        table[field] = np.frombuffer(raw, dtype)
    return table


def effects_message(rows: npt.NDArray[Any]) -> pb.EffectColumns:
    """Effects of dtype EFFECT as columns."""
    assert rows.dtype == EFFECT
    return pb.EffectColumns(**{key: rows[field].tobytes() for key, field in _EFFECT_FIELDS.items()})
