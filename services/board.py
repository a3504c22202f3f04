"""How queues and agents stand, read from the core once for all who watch, and what has changed since one looked."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from cordboard.services.lines import agent_message
from cordboard.services.queue_messages import queue_message
from cordboard.v1 import agent_service_pb2, queue_service_pb2

if TYPE_CHECKING:
    from cordboard.services.tenants import Tenant

CHANGES_MAX = 256  # looks that are kept; who has missed more gets everything
SHARE_MAX = 0.1  # of the writer's time that looks may take

Queues = dict[str, queue_service_pb2.Queue]
Agents = dict[str, agent_service_pb2.Agent]


class Board:
    """The latest state of one tenant."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._queues: Queues = {}
        self._agents: Agents = {}
        self._raw: dict[str, dict[str, Any]] = {"queues": {}, "agents": {}}
        self.revision = -1
        self._changes: deque[tuple[int, set[str], set[str]]] = deque(maxlen=CHANGES_MAX)
        self._not_before = 0.0
        self._looking = asyncio.Lock()

    async def look(self) -> None:
        """Bring the board up to date; many who ask at once cost one look, and looks leave the writer its time."""
        engine = self._tenant.engine
        if self.revision == engine.state.revision:
            return
        async with self._looking:
            revision = engine.state.revision
            if self.revision == revision:
                return
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            revision = engine.state.revision
            seconds, state = await self._tenant.read(_timed_state)
            self._not_before = time.monotonic() + seconds / SHARE_MAX
            self._take(revision, state)

    def _take(self, revision: int, state: dict[str, Any]) -> None:
        center, tenant = self._tenant.engine.center, self._tenant
        old_queues, old_agents = self._raw["queues"], self._raw["agents"]
        queues = {name for name, one in state["queues"].items() if old_queues.get(name) != one}
        agents = {name for name, one in state["agents"].items() if old_agents.get(name) != one}
        known = {queue.name: queue for queue in center.queues}
        for name in queues:
            self._queues[name] = queue_message(tenant.name, known[name], state["queues"][name])
        for name in agents:
            connected = tenant.lines.connected(name)
            self._agents[name] = agent_message(tenant.name, name, state["agents"][name], center, connected)
        self._raw = state
        self.revision = revision
        self._changes.append((revision, queues, agents))

    def since(self, revision: int) -> tuple[Queues, Agents]:
        """The queues and agents that have changed since the board was at a revision; all for -1 and for long ago."""
        changes = [change for change in self._changes if change[0] > revision]
        if revision < 0 or len(changes) == len(self._changes):
            queues, agents = set(self._raw["queues"]), set(self._raw["agents"])
        else:
            queues = set().union(*(change[1] for change in changes))
            agents = set().union(*(change[2] for change in changes))
        return {name: self._queues[name] for name in queues}, {name: self._agents[name] for name in agents}


def _timed_state(acd: Any) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    state: dict[str, Any] = acd.state()
    return time.perf_counter() - began, state
