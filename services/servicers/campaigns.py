"""CampaignService: lists, whether campaigns dial, what has come of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from cordboard.campaigns.dialer import Status
from cordboard.campaigns.listing import ROWS_MAX, Problem, Row
from cordboard.errors import LimitError
from cordboard.live.access import Caller, masked
from cordboard.services import names
from cordboard.services.outbound import Outbound
from cordboard.services.tenants import Tenant, Tenants
from cordboard.services.translate import applied, timestamp
from cordboard.v1 import campaign_service_pb2 as pb
from cordboard.v1.journal_pb2 import Applied

ENTRIES_AT_ONCE = 500


class CampaignServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def ListCampaigns(self, request: pb.ListCampaignsRequest, context: Any) -> pb.ListCampaignsResponse:
        held, who = self._tenants.of(names.tenant_of(request.parent))
        outbound = held.outbound
        seen = [name for name, one in outbound.calls.campaigns.items() if who.covers_queue(one.queue)]
        found = await asyncio.to_thread(lambda: [outbound.dialer.status(name) for name in seen])
        return pb.ListCampaignsResponse(campaigns=[campaign_message(held, one) for one in found])

    async def StartCampaign(self, request: pb.StartCampaignRequest, context: Any) -> pb.StartCampaignResponse:
        return pb.StartCampaignResponse(applied=await self._switch(request, "campaign_started"))

    async def PauseCampaign(self, request: pb.PauseCampaignRequest, context: Any) -> pb.PauseCampaignResponse:
        return pb.PauseCampaignResponse(applied=await self._switch(request, "campaign_paused"))

    async def _switch(self, request: pb.StartCampaignRequest | pb.PauseCampaignRequest, kind: str) -> Applied:
        held, who, campaign = self._one(request.name)
        done = held.submit({"event": kind, "campaign": campaign}, request.request_id, who.name)
        return applied(await done)

    async def ImportEntries(self, request: pb.ImportEntriesRequest, context: Any) -> pb.ImportEntriesResponse:
        held, who, campaign = self._one(request.name)
        who.require_all()
        rows = _rows(request.rows)
        added, problems = await asyncio.to_thread(held.outbound.import_rows, campaign, rows)
        return pb.ImportEntriesResponse(added_count=added, problems=map(_problem, problems))

    async def BlockNumbers(self, request: pb.BlockNumbersRequest, context: Any) -> pb.BlockNumbersResponse:
        held, who = self._tenants.of(names.tenant_of(request.parent))
        who.require_all()
        added, problems = await asyncio.to_thread(held.outbound.block_rows, _rows(request.rows))
        return pb.BlockNumbersResponse(added_count=added, problems=map(_problem, problems))

    async def ExportEntries(
        self, request: pb.ExportEntriesRequest, context: Any
    ) -> AsyncIterator[pb.ExportEntriesResponse]:
        held, who, campaign = self._one(request.name)
        who.require_all()
        outbound = held.outbound
        results = await asyncio.to_thread(outbound.dialer.results, campaign)
        while entries := await asyncio.to_thread(_some, results, outbound, who):
            yield pb.ExportEntriesResponse(entries=entries)

    def _one(self, name: str) -> tuple[Tenant, Caller, str]:
        tenant, campaign = names.split(name, "campaigns", "name")
        held, who = self._tenants.of(tenant)
        who.require_queue(held.outbound.queue_of(campaign))
        return held, who, campaign


def _rows(rows: Sequence[pb.ListRow]) -> list[Row]:
    if len(rows) > ROWS_MAX:
        raise LimitError(f"{len(rows)} rows", ROWS_MAX, "Send them in parts")
    return [Row(row.line, row.number, row.time_zone, row.about) for row in rows]


def _problem(problem: Problem) -> pb.ListProblem:
    return pb.ListProblem(
        line=problem.line,
        reason=problem.reason,
        english_text=problem.text("en"),
        chinese_text=problem.text("zh"),
    )


def _some(results: Any, outbound: Outbound, who: Caller) -> list[pb.ListEntry]:
    """The next entries of an export."""
    found = []
    for entry, number, about, state, attempts, outcome, dialed, answered, ended, agent in results:
        message = pb.ListEntry(
            entry=entry,
            number=masked(outbound.shown(number), who),
            about=about,
            state=state,
            attempt_count=attempts,
            outcome=outcome,
            agent=agent or "",
        )
        for key, t in (("dial_time", dialed), ("answer_time", answered), ("end_time", ended)):
            if t is not None:
                getattr(message, key).CopyFrom(timestamp(t))
        found.append(message)
        if len(found) == ENTRIES_AT_ONCE:
            break
    return found


def campaign_message(held: Tenant, status: Status) -> pb.Campaign:
    """A campaign as a message."""
    plan = status.plan if status.running else None
    return pb.Campaign(
        name=names.resource(held.name, "campaigns", status.name),
        running=status.running,
        asked_mode=status.asked,
        mode=plan.mode if plan is not None else "stopped",
        english_text=plan.en if plan is not None else "",
        chinese_text=plan.zh if plan is not None else "",
        ready_count=status.entries.get("ready", 0),
        calling_count=status.entries.get("calling", 0),
        done_count=status.entries.get("done", 0),
        outcomes=status.outcomes,
        connect_rate=status.connect_rate,
        drop_rate=status.drop_rate,
        windows=[
            pb.DropWindow(
                rule=one.rule.name,
                cap=float(one.rule.share),
                dropped=one.dropped,
                base=one.base,
                budget=max(0, one.budget),
            )
            for one in status.windows
        ],
    )
