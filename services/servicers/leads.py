"""The part of CallService in which an agent is there first: leads that she sees, and numbers that she dials."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from cordboard.calls.state import Lead, Stage
from cordboard.calls.switchboard import Switchboard
from cordboard.errors import CordboardError, StaleEventError, Where
from cordboard.live.access import Caller, masked
from cordboard.services import names
from cordboard.services.tenants import Tenant, Tenants
from cordboard.services.translate import applied, timestamp
from cordboard.v1 import call_service_pb2 as pb

NO_NUMBER = "this number may not be dialed now"


class LeadServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def DialNumber(self, request: pb.DialNumberRequest, context: Any) -> pb.DialNumberResponse:
        held, who, agent = self._agent(request.agent)
        campaign = held.outbound.manual(request.campaign, agent)
        entry = await asyncio.to_thread(held.outbound.entry_for, campaign, request.number)
        refusal = await self._turn(held, campaign, entry)
        event = {"event": "lead_dialed", "campaign": campaign, "entry": entry, "agent": agent}
        done = await held.submit(event, request.request_id, who.name, refusal)
        return pb.DialNumberResponse(applied=applied(done), campaign=campaign, entry=entry)

    async def AcceptLead(self, request: pb.AcceptLeadRequest, context: Any) -> pb.AcceptLeadResponse:
        held, who, agent = self._agent(request.agent)
        held.outbound.queue_of(request.campaign)
        refusal = await self._turn(held, request.campaign, request.entry)
        about = {"campaign": request.campaign, "entry": request.entry, "agent": agent}
        try:
            done = await held.submit({"event": "lead_accepted", **about}, request.request_id, who.name, refusal)
        except CordboardError as error:
            if error is refusal:  # whoever asks again gets the same answer, and she is free for another one
                with suppress(CordboardError):
                    await held.submit({"event": "lead_skipped", "reason": NO_NUMBER, **about}, "", who.name)
            raise
        return pb.AcceptLeadResponse(applied=applied(done))

    async def SkipLead(self, request: pb.SkipLeadRequest, context: Any) -> pb.SkipLeadResponse:
        held, who, agent = self._agent(request.agent)
        event = {"event": "lead_skipped", "campaign": request.campaign, "entry": request.entry, "agent": agent}
        if request.reason:
            event["reason"] = request.reason
        return pb.SkipLeadResponse(applied=applied(await held.submit(event, request.request_id, who.name)))

    async def GetLead(self, request: pb.GetLeadRequest, context: Any) -> pb.GetLeadResponse:
        tenant, agent = names.split(request.agent, "agents", "agent")
        held, who = self._tenants.of(tenant)
        who.require_visible(agent)

        def look(board: Switchboard | None) -> Lead | None:
            return None if board is None else board.state.leads.get(agent)

        lead = await held.settle(held.engine.read_calls(look))
        if lead is None:
            raise StaleEventError("the agent has no lead", Where(key="agent"), "It is over, or none was offered")
        number, zone, about = await asyncio.to_thread(held.outbound.known, lead.campaign, lead.entry)
        message = pb.Lead(
            campaign=names.resource(tenant, "campaigns", lead.campaign),
            entry=lead.entry,
            attempt=lead.attempt,
            number=masked(number, who),
            about=about,
            time_zone=zone,
            expire_time=timestamp(lead.due),
        )
        return pb.GetLeadResponse(lead=message)

    async def CancelDial(self, request: pb.CancelDialRequest, context: Any) -> pb.CancelDialResponse:
        held, who, agent = self._agent(request.agent)
        campaign, entry = request.campaign, request.entry

        def look(board: Switchboard | None) -> bool:
            call = None if board is None else board.dialing.find(campaign, entry)
            return call is not None and call.placed_by == agent and call.stage in (Stage.PHONING, Stage.DIALING)

        what = "nothing is being dialed for the agent"
        gone = StaleEventError(what, Where(key="agent"), "It was answered, or is over")
        refusal = None if await held.settle(held.engine.read_calls(look)) else gone
        event = {"event": "campaign_cancelled", "campaign": campaign, "entry": entry}
        return pb.CancelDialResponse(applied=applied(await held.submit(event, request.request_id, who.name, refusal)))

    def _agent(self, name: str) -> tuple[Tenant, Caller, str]:
        """The tenant, who calls, and the agent for whom it may act."""
        tenant, agent = names.split(name, "agents", "agent")
        held, who = self._tenants.of(tenant)
        who.require_agent(agent)
        return held, who, agent

    async def _turn(self, held: Tenant, campaign: str, entry: str) -> CordboardError | None:
        """Wait until an entry may be dialed, as far as calls per second go; why it may not at all."""
        try:
            await asyncio.sleep(await asyncio.to_thread(held.outbound.dialer.check, campaign, entry))
        except CordboardError as error:
            return error
        return None
