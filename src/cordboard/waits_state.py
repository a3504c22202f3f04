"""What an estimator of waits knows, as bytes, and back; and how one begins in the middle of a day.

The bytes are for the same center and the same layout of the estimator's memory. Where the center has changed, a new
estimator is told how things stand and inherits what was learned: the regression, and the rates of queues still there.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from cordboard._core.waitstate import begin_flows, dump, inherit, restore
from cordboard.center import Center
from cordboard.waits import CALL_BACK, NEW, WaitEstimator

if TYPE_CHECKING:
    from cordboard.acd import Acd

Meta = dict[str, Any]
FAULTS = (KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError, OSError, zipfile.BadZipFile)


class WaitsCapture:
    """The state of an estimator at one instant: copies. Its contacts have names without line breaks."""

    def __init__(self, estimator: WaitEstimator) -> None:
        self.learned, self.arrays = dump(estimator._core)
        self.slots, self.waiting = estimator._slots.copy(), estimator._waiting.copy()
        self.lines = [[kind, *known, line] for kind, found in estimator._lines.items() for known, line in found.items()]
        self.kinds = [[key, kind] for key, kind in estimator._kinds.items()]
        self.apart = sorted(map(str, estimator._apart))
        self.engaged = sorted(estimator._engaged.items())

    def pack(self) -> tuple[Meta, bytes]:
        """What JSON can hold, and the rest."""
        nowhere = (-1, -1, 0.0)
        waiting = [self.waiting.get(name, nowhere) for name in self.slots]
        parts: dict[str, Any] = {
            **self.arrays,
            "slots": np.array(list(self.slots.values()), dtype=np.int32),
            "places": np.array([place[:2] for place in waiting], dtype=np.int32).reshape(-1, 2),
            "priorities": np.array([place[2] for place in waiting], dtype=np.float64),
            "names": np.frombuffer("\n".join(map(str, self.slots)).encode(), dtype=np.uint8),
        }
        stream = io.BytesIO()
        np.savez(stream, **parts)
        meta = {"learned": self.learned, "lines": self.lines, "kinds": self.kinds, "apart": self.apart}
        meta["engaged"] = self.engaged
        return meta, stream.getvalue()


def unpack(center: Center, meta: Meta, data: bytes) -> WaitEstimator:
    """One of :data:`FAULTS` if that can't be done: of another layout, or of another center."""
    arrays = _arrays(data)
    estimator = WaitEstimator(center)
    restore(estimator._core, meta["learned"], arrays)
    estimator._kinds = {_tuples(key): kind for key, kind in meta["kinds"]}
    estimator._lines = {}
    for kind, priority, origin, line in meta["lines"]:
        estimator._lines.setdefault(kind, {})[(priority, origin)] = line
    names = str(arrays["names"].tobytes(), "utf-8").split("\n") if len(arrays["slots"]) else []
    estimator._slots = dict(zip(names, arrays["slots"].tolist(), strict=True))
    queues, kinds = arrays["places"].T.tolist()
    places = zip(queues, kinds, arrays["priorities"].tolist(), strict=True)
    estimator._waiting = {name: place for name, place in zip(names, places, strict=True) if place[0] >= 0}
    estimator._apart = set(meta["apart"])
    estimator._engaged = dict(meta.get("engaged", ()))
    return estimator


def begin(acd: Acd, meta: Meta | None = None, data: bytes = b"", queues: list[str] | None = None) -> WaitEstimator:
    """A new estimator for an Acd at work. ``meta``, ``data``: what one of another center (with these queues) knew."""
    estimator = WaitEstimator(acd.center)
    core, now, center = estimator._core, acd.now, acd.center
    for index in range(len(center.agents)):
        agent = acd._router.agent(index)
        if agent["presence"] == "ready":
            core.agent_staffed(now, index, True)
        if agent["engaged"]:
            estimator._engage(now, center.agents[index].name, True)
    rows, slots = acd._router.contact_rows()
    for slot in slots[np.argsort(rows["seq"])].tolist():
        name = acd._name(slot)
        contact = acd._router.contact(slot)
        queue = contact["queue"]
        if queue >= len(center.queues):
            estimator._apart.add(name)
            continue
        wish = acd._fields(slot)
        kind = estimator._kind_of(queue, wish.get("requires"), wish.get("steps"))
        arrival, priority = contact["arrival"], contact["priority"]
        origin = NEW if arrival == contact["entered"] else CALL_BACK
        place = core.queued(now, estimator._line(queue, kind, priority, origin), arrival)
        estimator._slots[name] = place
        if contact["state"] == "connected":
            [agent] = contact["agents"]
            core.connected(now, place, agent if agent < len(center.agents) else -1)
        else:
            estimator._waiting[name] = (queue, kind, priority)
            core.refused(place, contact["state"] == "waiting")
    begin_flows(core)
    if meta is not None:
        there = {name: i for i, name in enumerate(queues or ())}
        pairs = [(i, there[queue.name]) for i, queue in enumerate(center.queues) if queue.name in there]
        inherit(core, meta["learned"], _arrays(data), pairs)
    return estimator


def _arrays(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
