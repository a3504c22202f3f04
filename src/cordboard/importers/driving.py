"""A journal of contacts that are known, at a center that is not theirs: made by driving the engine.

Records of another system say when a contact came and how long it talked, but whom the engine offers to whom is the
engine's. So the journal is made *with* it: contacts come when they came, agents are there when they were, every offer
is accepted at once, a conversation lasts as long as it lasted, and who waited in vain hangs up when it did, unless an
agent was found before.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cordboard.replay import Engine

LONG_GAP = 1800.0  # seconds between two times of work from which on an agent goes offline, not just away

# What comes first among things of one instant: ends free agents before others come to wait.
_ENDED, _HOURS, _LEFT, _QUEUED = range(4)


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact of the records. Times in seconds; ``patience`` math.inf: it never hangs up."""

    t: float
    contact: str
    queue: str
    priority: int
    service: float
    patience: float
    customer: str | None = None


def drive(
    engine: Engine, contacts: Sequence[Contact], hours: Mapping[str, Sequence[tuple[float, float]]]
) -> Iterator[dict[str, Any]]:
    """The events of the journal, in order of time. ``hours``: agent -> (from, to) seconds, in order.

    The engine must be fresh; it has taken every event when it is yielded. EventError, LimitError as of the engine.
    """
    by_name = {contact.contact: contact for contact in contacts}
    waiting: set[str] = set()
    order = 0
    agenda: list[tuple[float, int, int, dict[str, Any]]] = []

    def plan(t: float, rank: int, event: dict[str, Any]) -> None:
        nonlocal order
        order += 1
        heapq.heappush(agenda, (t, rank, order, {"t": t, **event}))

    for agent, times in hours.items():
        for (start, end), following in zip(times, [*times[1:], (math.inf, math.inf)], strict=True):
            plan(start, _HOURS, {"event": "agent_ready", "agent": agent})
            gone = "agent_offline" if following[0] - end > LONG_GAP else "agent_away"
            plan(end, _HOURS, {"event": gone, "agent": agent})
    for one in contacts:
        plan(one.t, _QUEUED, _queued(one))
    while agenda:
        t, rank, _, event = heapq.heappop(agenda)
        if rank == _LEFT:
            if event["contact"] not in waiting:
                continue
            waiting.remove(event["contact"])
        elif rank == _QUEUED:
            waiting.add(event["contact"])
            patience = by_name[event["contact"]].patience
            if patience < math.inf:
                plan(t + patience, _LEFT, {"event": "contact_left", "contact": event["contact"]})
        effects = engine.apply(event)
        yield event
        while effects:
            further: list[dict[str, Any]] = []
            for effect in effects:
                name = effect["effect"]
                if name == "offer":
                    contact = effect["contact"]
                    accepted = {"t": t, "event": "offer_accepted", "contact": contact, "agent": effect["agent"]}
                    waiting.discard(contact)
                    further += engine.apply(accepted)
                    yield accepted
                    plan(t + by_name[contact].service, _ENDED, {"event": "contact_ended", "contact": contact})
                elif name == "contact_rejected" or (name == "contact_expired" and effect["to"] is None):
                    waiting.discard(effect["contact"])
            effects = further


def _queued(one: Contact) -> dict[str, Any]:
    event: dict[str, Any] = {"event": "contact_queued", "contact": one.contact, "queue": one.queue}
    if one.priority:
        event["priority"] = one.priority
    if one.customer is not None:
        event["customer"] = one.customer
    return event
