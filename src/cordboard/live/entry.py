"""What the live engine hands out: entries of the journal, outcomes of requests, and its own state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from cordboard.errors import CordboardError


class Entry(NamedTuple):
    """One row of the journal and what it did. Every subscriber gets the same objects: don't change what is in them.

    ``revision``: 1, 2, ... without a gap; 0 for what never came into the journal (a conflict in ``submit_many``).
    ``t``: seconds since the Unix epoch, whole microseconds, never falling. ``effects``: of the timers that were due
    before the event and then its own, each with a ``t`` of its own. ``error``: why the core refused the event, or None.
    """

    revision: int
    t: float
    event: dict[str, Any]
    effects: tuple[dict[str, Any], ...]
    error: CordboardError | None
    actor: str
    request_id: str


class Outcome(NamedTuple):
    """What came of a request. ``repeated``: its request_id was applied before, and ``entry`` is what came of it
    then."""

    entry: Entry
    repeated: bool


@dataclass(frozen=True, slots=True)
class EngineState:
    """How the engine is. ``status``: recovering, serving, draining, read-only or closed; ``reason``: why, if not
    serving.

    ``revision``: the last that was applied; ``oldest``: the least that one can subscribe after; ``t``: of the last
    entry, seconds; ``waiting_events``: in the queue before the writer; ``clock_off_s``: how far the wall clock is ahead
    of the engine's time (below 0: behind), seconds.
    """

    status: str
    reason: str
    revision: int
    oldest: int
    t: float
    waiting_events: int
    clock_off_s: float

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}" if self.reason else self.status
