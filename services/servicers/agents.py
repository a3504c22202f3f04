"""AgentService: presence, states, and the line over which agents get their offers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from cordboard.errors import CordboardError, DeniedError, InputError, StaleEventError, Where
from cordboard.live.access import Caller
from cordboard.services import names
from cordboard.services.errors import status_of
from cordboard.services.lines import WISHES, Line, agent_message
from cordboard.services.paging import bounds
from cordboard.services.tenants import Tenant, Tenants
from cordboard.services.translate import applied, seconds_between
from cordboard.v1 import agent_service_pb2 as pb

LEASE_S = 15.0
LEASE_MIN_S, LEASE_MAX_S = 2.0, 300.0


class AgentServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def SetState(self, request: pb.SetStateRequest, context: Any) -> pb.SetStateResponse:
        tenant, agent = names.split(request.agent, "agents", "agent")
        held, who = self._tenants.of(tenant)
        who.require_agent(agent)
        outcome = await held.submit(_wish(agent, request.state, request.reason), request.request_id, who.name)
        return pb.SetStateResponse(applied=applied(outcome))

    async def Get(self, request: pb.AgentServiceGetRequest, context: Any) -> pb.AgentServiceGetResponse:
        tenant, agent = names.split(request.name, "agents", "name")
        held, who = self._tenants.of(tenant)
        if not who.covers_agent(agent):
            raise DeniedError("AGENT_OUT_OF_SCOPE", "that agent is not in this caller's scope")
        state = await held.read(lambda acd: acd.agent_state(agent))
        return pb.AgentServiceGetResponse(
            agent=agent_message(held.name, agent, state, held.engine.center, held.lines.connected(agent))
        )

    async def List(self, request: pb.AgentServiceListRequest, context: Any) -> pb.AgentServiceListResponse:
        held, who = self._tenants.of(names.tenant_of(request.parent))
        start, size = bounds(request.page_size, request.page_token)
        center = held.engine.center
        seen = [agent.name for agent in center.agents if who.covers_agent(agent.name)]
        shown = seen[start : start + size]
        states = await held.read(lambda acd: [acd.agent_state(agent) for agent in shown])
        agents = [
            agent_message(held.name, agent, state, center, held.lines.connected(agent))
            for agent, state in zip(shown, states, strict=True)
        ]
        return pb.AgentServiceListResponse(
            agents=agents, next_page_token=str(start + size) if start + size < len(seen) else ""
        )

    async def Connect(
        self, requests: AsyncIterator[pb.ConnectRequest], context: Any
    ) -> AsyncIterator[pb.ConnectResponse]:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("message") != "hello":
            raise InputError("the first message is not hello", Where(key="hello"), "Send hello first")
        tenant, agent = names.split(first.hello.agent, "agents", "hello.agent")
        held, who = self._tenants.of(tenant)
        who.require_agent(agent)
        wanted = first.hello.lease if first.hello.HasField("lease") else None
        lease = seconds_between(wanted, LEASE_MIN_S, LEASE_MAX_S, LEASE_S, "hello.lease")
        line = Line(agent, lease)
        reader: asyncio.Task[None] | None = None
        try:
            await held.lines.open(line)
            reader = asyncio.create_task(_listen(held, who, line, requests))
            while (message := await line.next()) is not None:
                yield message
            if line.ended is not None:
                raise line.ended
        finally:
            if reader is not None:
                reader.cancel()
            held.lines.close(line, held.draining)


async def _listen(held: Tenant, who: Caller, line: Line, requests: AsyncIterator[pb.ConnectRequest]) -> None:
    """Do what the agent asks for, message by message; the line ends when they do."""
    broken: CordboardError | None = None
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await _obey(held, who, line, requests)
        except CordboardError as error:  # bytes that are no message
            broken = error
    line.end(broken)


async def _obey(held: Tenant, who: Caller, line: Line, requests: AsyncIterator[pb.ConnectRequest]) -> None:
    async for request in requests:
        line.heard()
        kind = request.WhichOneof("message")
        if kind == "heartbeat":
            line.put(pb.ConnectResponse(pulse=pb.Pulse()))
            continue
        answer = pb.Answer(request_id=request.request_id)
        try:
            event = _asked(line, request)
            refusal = await _not_own(held, line.agent, event) if event["event"] == "contact_ended" else None
            outcome = await held.submit(event, request.request_id, who.name, refusal)
            line.said_goodbye = kind == "goodbye"
            answer.applied.CopyFrom(applied(outcome))
        except CordboardError as error:
            answer.error.CopyFrom(status_of(error))
        line.put(pb.ConnectResponse(revision=answer.applied.revision, answer=answer))
        if kind == "goodbye":
            return


async def _not_own(held: Tenant, agent: str, event: dict[str, Any]) -> CordboardError | None:
    """Why an agent may not end a conversation: it is not its own."""
    state = await held.read(lambda acd: acd.agent_state(agent))
    if event["contact"] in state["contacts"]:
        return None
    what = f'the agent does not have contact "{event["contact"]}"'
    return StaleEventError(what, Where(key="end.contact"), "It has ended")


def _asked(line: Line, request: pb.ConnectRequest) -> dict[str, Any]:
    """The event of an agent's message."""
    kind = request.WhichOneof("message")
    agent = line.agent
    if kind == "accept":
        return {"event": "offer_accepted", "contact": request.accept.contact, "agent": agent}
    if kind == "decline":
        return {"event": "offer_declined", "contact": request.decline.contact, "agent": agent}
    if kind == "end":
        return {"event": "contact_ended", "contact": request.end.contact}
    if kind == "end_wrap_up":
        return {"event": "wrap_up_ended", "agent": agent}
    if kind == "set_state":
        return _wish(agent, request.set_state.state, request.set_state.reason)
    if kind == "goodbye":
        return {"event": "agent_offline", "agent": agent}
    raise InputError("a line is opened once" if kind else "an empty message", Where(key="message"), "Send another one")


def _wish(agent: str, state: pb.Agent.State.ValueType, reason: str) -> dict[str, Any]:
    """The event for a state that somebody wishes."""
    event = WISHES.get(state)
    if event is None:
        raise InputError("not a state to wish for", Where(key="state"), "READY, AWAY or OFFLINE")
    if reason and event != "agent_away":
        raise InputError("a reason is for AWAY alone", Where(key="reason"), "Leave it out")
    return {"event": event, "agent": agent} | ({"reason": reason} if reason else {})
