"""EventService: everything that happens, from a revision on, without a gap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from typing import Any

from cordboard.errors import InputError, UnavailableError, Where
from cordboard.live import Entry
from cordboard.live.access import Caller
from cordboard.services import names
from cordboard.services.feed import message
from cordboard.services.scope import queues_of
from cordboard.services.tenants import Tenant, Tenants
from cordboard.services.translate import seconds_between
from cordboard.v1 import event_service_pb2 as pb

RATE_DEFAULT_HZ, RATE_MIN_HZ, RATE_MAX_HZ = 4.0, 0.1, 20.0
FILTER_NAMES_MAX = 1000
CONTACTS_MAX = 100_000  # whose queue one stream remembers


class EventServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def Watch(self, request: pb.WatchRequest, context: Any) -> AsyncIterator[pb.WatchResponse | bytes]:
        held, who = self._tenants.of(names.tenant_of(request.parent))
        sieve = Sieve(request.filter, who)
        stream = _states(held, request, who) if request.conflate else _entries(held, request, sieve)
        try:
            async for response in stream:
                yield response
        except asyncio.CancelledError:
            if not held.draining:
                raise
            raise UnavailableError("the server is going away", "draining") from None


async def _entries(held: Tenant, request: pb.WatchRequest, sieve: Sieve) -> AsyncIterator[bytes]:
    """Entries as bytes that were made once for all who see the same."""
    if request.start_revision < 0:
        raise InputError(f"revision {request.start_revision}", Where(key="start_revision"), "Give 0 or more")
    wanted = request.progress_interval if request.HasField("progress_interval") else None
    progress = seconds_between(wanted, 1.0, 3600.0, 30.0, "progress_interval")
    told = time.monotonic()
    async for stretch in held.feed.stretches(request.start_revision - 1 if request.start_revision else None, progress):
        if isinstance(stretch, int):
            told = time.monotonic()
            yield message([], stretch)
            continue
        if sieve.asks:
            sieve.learn(await held.read(partial(queues_of, contacts=sieve.unknown(stretch.entries))))
        for part in stretch.messages(sieve.key, sieve.sift):
            told = time.monotonic()
            yield part
        if time.monotonic() - told > progress:  # others' entries come, and none of ours
            told = time.monotonic()
            yield message([], stretch.revision)


async def _states(held: Tenant, request: pb.WatchRequest, who: Caller) -> AsyncIterator[pb.WatchResponse]:
    """The latest states, a bounded number of times a second."""
    if request.start_revision:
        raise InputError("a conflated stream begins now", Where(key="start_revision"), "Leave it out")
    if request.filter.kinds or request.filter.contacts:
        raise InputError("a conflated stream has queues and agents", Where(key="filter"), "Filter these alone")
    rate = request.max_rate_hz or RATE_DEFAULT_HZ
    if not RATE_MIN_HZ <= rate <= RATE_MAX_HZ:
        hint = f"Give {RATE_MIN_HZ} to {RATE_MAX_HZ}"
        raise InputError(f"{rate:g} messages a second", Where(key="max_rate_hz"), hint)
    only_queues, only_agents = set(request.filter.queues), set(request.filter.agents)
    board, seen = held.board, -1
    while True:
        ringing = held.bell.ringing()
        await board.look()
        if board.revision > seen:
            queues, agents = board.since(seen)
            seen = board.revision
            yield pb.WatchResponse(
                revision=seen,
                queues=[m for n, m in queues.items() if who.covers_queue(n) and (not only_queues or n in only_queues)],
                agents=[m for n, m in agents.items() if who.covers_agent(n) and (not only_agents or n in only_agents)],
            )
            await asyncio.sleep(1.0 / rate)
            continue
        await asyncio.wait([ringing])
        if ringing.cancelled():
            raise UnavailableError("the server is going away", "draining")


class Sieve:
    """Which entries a stream tells: those that its filter lets through, of what its caller may see."""

    def __init__(self, wanted: pb.WatchFilter, who: Caller) -> None:
        self._kinds, self._queues = frozenset(wanted.kinds), frozenset(wanted.queues)
        self._agents, self._contacts = frozenset(wanted.agents), frozenset(wanted.contacts)
        if max(map(len, (self._kinds, self._queues, self._agents, self._contacts))) > FILTER_NAMES_MAX:
            raise InputError("too many names", Where(key="filter"), f"At most {FILTER_NAMES_MAX} a field")
        self._who = who
        self._queue_of: dict[str, str] = {}
        self._whole = who.unlimited  # entries are told as they are or not at all
        self._open = self._whole and not (self._kinds or self._queues or self._agents or self._contacts)
        self.asks = not self._whole or bool(self._queues)  # whether it depends on the queues of contacts
        # Two streams of the same key see the same. One that asks remembers queues of its own, and has none.
        self.key = None if self.asks else wanted.SerializeToString(deterministic=True)

    def unknown(self, entries: Iterable[Entry]) -> list[str]:
        """Contacts whose queue has to be asked for."""
        found: dict[str, None] = {}
        for entry in entries:
            for part in (entry.event, *entry.effects):
                contact = part.get("contact")
                if contact is not None and "queue" not in part and contact not in self._queue_of:
                    found[contact] = None
        return list(found)

    def learn(self, queues: Mapping[str, str]) -> None:
        """Remember queues of contacts."""
        self._queue_of.update(queues)

    def sift(self, entry: Entry) -> Entry | None:
        """The entry as this stream tells it, or None."""
        if self._open:
            return entry
        parts = [(part, self._place(part)) for part in (entry.event, *entry.effects)]
        if self._whole:
            return entry if any(self._wanted(part, queue) for part, queue in parts) else None
        seen = [part for part, queue in parts if self._visible(part, queue)]
        if not any(self._wanted(part, queue) for part, queue in parts if part in seen):
            return None
        effects = tuple(effect for effect in entry.effects if effect in seen)
        event = entry.event if entry.event in seen else {"t": entry.t, "event": "clock"}
        return entry._replace(event=event, effects=effects)

    def _place(self, part: Mapping[str, Any]) -> str | None:
        """The queue that an event or effect is about, as far as it can be told."""
        contact: str | None = part.get("contact")
        queue: str | None = part.get("to") or part.get("queue")
        if contact is None:
            return queue
        if queue is not None:
            if len(self._queue_of) >= CONTACTS_MAX:
                self._queue_of.pop(next(iter(self._queue_of)))
            self._queue_of[contact] = queue
            return queue
        return self._queue_of.get(contact)

    def _wanted(self, part: Mapping[str, Any], queue: str | None) -> bool:
        if self._kinds and part.get("event", part.get("effect")) not in self._kinds:
            return False
        if self._agents and part.get("agent") not in self._agents:
            return False
        if self._contacts and part.get("contact") not in self._contacts:
            return False
        return not self._queues or (queue in self._queues if queue is not None else "contact" in part)

    def _visible(self, part: Mapping[str, Any], queue: str | None) -> bool:
        if queue is not None:
            return self._who.covers_queue(queue)
        return "agent" in part and self._who.covers_agent(part["agent"])
