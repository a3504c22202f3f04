"""RoutingService: contacts in and out, and why they went where they went."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

from cordboard._core.wire import plain_events, session_response
from cordboard.acd import Acd
from cordboard.center import Center, parse_center
from cordboard.errors import CordboardError, InputError, LimitError, StaleEventError, UnknownNameError, Where
from cordboard.live import Outcome
from cordboard.live.access import Caller
from cordboard.services import columns, names
from cordboard.services.calling import caller
from cordboard.services.errors import status_of
from cordboard.services.paging import page
from cordboard.services.scope import queues_of
from cordboard.services.tenants import Tenant, Tenants
from cordboard.services.translate import applied, contact_queued, duration, event_of, timestamp
from cordboard.services.waiting import Reply
from cordboard.v1 import routing_service_pb2 as pb

BATCH_MAX = 1000  # events of a live session in one message
BATCHES_MAX = 16  # messages of a live session that are not answered yet
COLUMN_EVENTS_MAX = 100_000
CONTACTS_MAX = 1_000_000  # in an engine of a session's own
REMEMBERED_MAX = 1 << 20  # characters of a center's text
INLINE_EVENTS_MAX = 10_000  # more than this in one message, a millisecond, is routed beside the loop


class RoutingServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def Enqueue(self, request: pb.EnqueueRequest, context: Any) -> pb.EnqueueResponse:
        tenant, queue = names.split(request.queue, "queues", "queue")
        held, who = self._tenants.of(tenant)
        who.require_queue(queue)
        contact = request.contact_id or request.request_id
        if not contact:
            raise InputError("the contact has no name", Where(key="contact_id"), "Give contact_id or request_id")
        preferred = ""
        if request.preferred_agent:
            of, preferred = names.split(request.preferred_agent, "agents", "preferred_agent")
            self._tenants.of(of)
        event = contact_queued(request, contact, queue, preferred)
        if held.keys is not None:
            event = await held.private(event)
        outcome = await held.submit(event, request.request_id, who.name)
        response = pb.EnqueueResponse(contact=names.resource(tenant, "contacts", contact))
        applied(outcome, response.applied)
        return response

    async def Leave(self, request: pb.LeaveRequest, context: Any) -> pb.LeaveResponse:
        refusal: CordboardError | None = None
        try:
            held, who, contact = await self._contact(request.contact)
        except (UnknownNameError, StaleEventError) as error:  # it may have left by this very request
            tenant, contact = names.split(request.contact, "contacts", "contact")
            (held, who), refusal = self._tenants.of(tenant), error
        event = {"event": "contact_left", "contact": contact}
        outcome = await held.submit(event, request.request_id, who.name, refusal)
        return pb.LeaveResponse(applied=applied(outcome))

    async def Explain(self, request: pb.ExplainRequest, context: Any) -> pb.ExplainResponse:
        held, _, contact = await self._contact(request.contact)
        position, rows = await held.read(lambda acd: (acd.position(contact), acd.eligibility(contact)))
        shown, token = page(rows, request.page_size, request.page_token)
        agents = [_eligibility(held.name, row) for row in shown]
        return pb.ExplainResponse(agents=agents, next_page_token=token, position=position)

    async def EstimateWait(self, request: pb.EstimateWaitRequest, context: Any) -> pb.EstimateWaitResponse:
        held, _, contact = await self._contact(request.contact)
        position, wait = await held.read(lambda acd: (acd.position(contact), acd.estimate_wait(contact)))
        return pb.EstimateWaitResponse(
            mean=duration(wait.mean), p50=duration(wait.p50), p90=duration(wait.p90), position=position
        )

    async def _contact(self, name: str) -> tuple[Tenant, Caller, str]:
        """The tenant, who calls, and the short name of a contact in their scope."""
        tenant, contact = names.split(name, "contacts", "contact")
        held, who = self._tenants.of(tenant)
        if not who.unlimited:
            who.require_queue(await held.read(lambda acd: acd.queue_of(contact)))
        return held, who, contact

    async def Session(
        self, requests: AsyncIterator[pb.SessionRequest], context: Any
    ) -> AsyncIterator[pb.SessionResponse | bytes]:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("message") != "open":
            raise InputError("the first message does not open the session", Where(key="open"), "Send open first")
        if first.open.WhichOneof("engine") == "center_toml":
            caller().require("simulations.write")
            center = await asyncio.to_thread(center_of, first.open.center_toml)
            yield _opened(center)
            acd = own_engine(center, first.open.seed)
            async for request in requests:
                if request.WhichOneof("message") != "columns":
                    raise InputError("an engine of its own takes columns", Where(key="message"), "Send columns")
                if len(request.columns.kind) <= 4 * INLINE_EVENTS_MAX:
                    yield pb.SessionResponse(effects=routed(acd, request.columns))
                else:
                    yield pb.SessionResponse(effects=await asyncio.to_thread(routed, acd, request.columns))
            return
        held, who = self._tenants.of(names.tenant_of(first.open.tenant, "open.tenant"))
        if not who.unlimited:
            who.require("agents.write")
        yield _opened(held.engine.center)
        async for response in self._live(held, who, requests):
            yield response

    async def _live(
        self, held: Tenant, who: Caller, requests: AsyncIterator[pb.SessionRequest]
    ) -> AsyncIterator[bytes]:
        """Batches for the live engine, answered in order; while one is on its way to the disk the next are taken."""
        submitted: asyncio.Queue[Reply[list[Outcome]] | None] = asyncio.Queue()
        room = asyncio.Semaphore(BATCHES_MAX)

        async def take() -> None:
            try:
                async for request in requests:
                    await room.acquire()
                    submitted.put_nowait(await _submit(held, who, request))
            finally:
                submitted.put_nowait(None)

        taking = asyncio.create_task(take())
        try:
            while (outcomes := await submitted.get()) is not None:
                yield session_response(await outcomes, _outcome)
                room.release()
            await taking
        finally:
            taking.cancel()

    async def RouteColumns(self, request: pb.RouteColumnsRequest, context: Any) -> pb.RouteColumnsResponse:
        if len(request.events.kind) <= 4 * INLINE_EVENTS_MAX:
            return _route(request)
        return await asyncio.to_thread(_route, request)


@functools.lru_cache(maxsize=8)
def _small_center(text: str) -> Center:
    return parse_center(text, "center_toml")


def center_of(text: str) -> Center:
    """The center of a text; those of an ordinary size are remembered, since who evaluates sends one again and again."""
    return _small_center(text) if len(text) <= REMEMBERED_MAX else parse_center(text, "center_toml")


def _route(request: pb.RouteColumnsRequest) -> pb.RouteColumnsResponse:
    acd = own_engine(center_of(request.center_toml), request.seed)
    return pb.RouteColumnsResponse(effects=routed(acd, request.events))


def own_engine(center: Center, seed: int) -> Acd:
    """An engine for one stream or call, without explanations."""
    if seed < 0:
        raise InputError(f"the seed is {seed}", Where(key="seed"), "Give 0 or more")
    return Acd(center, seed=seed, explain=False, max_contacts=CONTACTS_MAX)


def routed(acd: Acd, events: Any) -> Any:
    """Columns of effects from columns of events."""
    table = columns.events_of(events)
    if len(table) > COLUMN_EVENTS_MAX:
        raise LimitError(f"{len(table)} events in one message", COLUMN_EVENTS_MAX, "Send them in parts")
    return columns.effects_message(acd.apply_columns(table))


async def _submit(held: Tenant, who: Caller, request: pb.SessionRequest) -> Reply[list[Outcome]]:
    """Give a batch to the live engine."""
    if request.WhichOneof("message") != "events":
        raise InputError("the live engine takes events", Where(key="message"), "Send events")
    batch = request.events
    if not 0 < len(batch.events) <= BATCH_MAX:
        raise InputError(f"{len(batch.events)} events", Where(key="events"), f"Send 1 to {BATCH_MAX}")
    plain = plain_events(batch.SerializeToString())
    events = [one[0] if one else event_of(batch.events[i], f"events[{i}]") for i, one in enumerate(plain)]
    if not who.unlimited:
        await _require_scope(held, who, events)
    ready = [one or held.engine.check(await held.private(event)) for one, event in zip(plain, events, strict=True)]
    return held.settle(held.engine.submit_checked(ready, request_ids=batch.request_ids, actor=who.name))


async def _require_scope(held: Tenant, who: Caller, events: list[dict[str, Any]]) -> None:
    """DeniedError unless all that the events are about is in the caller's scope."""
    entering = {event["contact"]: event["queue"] for event in events if "queue" in event}
    for queue in entering.values():
        who.require_queue(queue)
    others = {event["contact"] for event in events if "contact" in event} - entering.keys()
    for queue in (await held.read(lambda acd: queues_of(acd, others))).values() if others else ():
        who.require_queue(queue)
    for event in events:
        if "agent" in event:
            who.require_agent(event["agent"])


def _opened(center: Center) -> pb.SessionResponse:
    opened = pb.SessionOpened(queues=[q.name for q in center.queues], agents=[a.name for a in center.agents])
    return pb.SessionResponse(opened=opened)


def _outcome(outcome: Outcome) -> bytes:
    try:
        return pb.Outcome(applied=applied(outcome)).SerializeToString()
    except CordboardError as error:
        return pb.Outcome(error=status_of(error)).SerializeToString()


def _eligibility(tenant: str, row: dict[str, Any]) -> pb.AgentEligibility:
    details = {key: str(value) for key, value in row.items() if key not in ("agent", "filter", "until")}
    return pb.AgentEligibility(
        agent=names.resource(tenant, "agents", row["agent"]),
        eligible=row["filter"] is None,
        filter=row["filter"] or "",
        until=None if row["until"] is None else timestamp(row["until"]),
        details=details,
    )
