"""AdminService: for those who run the server."""

from __future__ import annotations

import asyncio
from typing import Any

from cordboard import __version__
from cordboard.services import names
from cordboard.services.tenants import Tenants
from cordboard.services.translate import applied, duration, seconds_between, timestamp
from cordboard.v1 import admin_service_pb2 as pb

STATUSES = {
    "recovering": pb.GetStateResponse.STATUS_RECOVERING,
    "serving": pb.GetStateResponse.STATUS_SERVING,
    "draining": pb.GetStateResponse.STATUS_DRAINING,
    "read-only": pb.GetStateResponse.STATUS_READ_ONLY,
    "closed": pb.GetStateResponse.STATUS_CLOSED,
}
DRAIN_S, DRAIN_MAX_S = 30.0, 3600.0


class AdminServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def GetState(self, request: pb.GetStateRequest, context: Any) -> pb.GetStateResponse:
        held, _ = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        counts = await held.read(lambda acd: acd.counts())
        state = held.engine.state
        found = pb.GetStateResponse(
            status=STATUSES[state.status],
            reason=state.reason,
            revision=state.revision,
            oldest_revision=state.oldest + 1,
            time=timestamp(state.t),
            waiting_events_count=state.waiting_events,
            clock_offset=duration(state.clock_off_s),
            connected_agents_count=held.lines.count,
            version=__version__,
        )
        for name in ("entered", "waiting", "offered", "connected", "ended"):
            setattr(found, f"{name}_count", counts[name])
        return found

    async def CreateSnapshot(self, request: pb.CreateSnapshotRequest, context: Any) -> pb.CreateSnapshotResponse:
        held, who = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        who.require_all()
        return pb.CreateSnapshotResponse(revision=await asyncio.to_thread(held.engine.snapshot))

    async def Drain(self, request: pb.DrainRequest, context: Any) -> pb.DrainResponse:
        held, who = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        who.require_all()
        wanted = request.wait if request.HasField("wait") else None
        seconds = seconds_between(wanted, 0.0, DRAIN_MAX_S, DRAIN_S, "wait")
        await asyncio.to_thread(held.engine.drain, seconds)
        counts = await held.read(lambda acd: acd.counts())
        return pb.DrainResponse(connected_count=counts["connected"])

    async def DrainNode(self, request: pb.DrainNodeRequest, context: Any) -> pb.DrainNodeResponse:
        tenant, node = names.split(request.node, "nodes", "node")
        held, who = self._tenants.of(tenant)
        who.require_all()
        event = {"event": "node_draining", "node": node, "on": not request.undo}
        return pb.DrainNodeResponse(applied=applied(await held.submit(event, request.request_id, who.name)))
