"""FlowService: look-ups of flows are answered, and flows are told what callers said."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from cordboard.errors import CordboardError, InputError, UnavailableError, Where
from cordboard.services import names
from cordboard.services.lookups import Stream
from cordboard.services.tenants import Tenant, Tenants
from cordboard.services.translate import applied
from cordboard.v1 import flow_service_pb2 as pb

LOOKUPS_MAX = 1000
ROOM, ROOM_MAX = 100, 1000

log = logging.getLogger(__name__)


class FlowServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def AnswerLookups(
        self, requests: AsyncIterator[pb.AnswerLookupsRequest], context: Any
    ) -> AsyncIterator[pb.AnswerLookupsResponse]:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("message") != "hello":
            raise InputError("the first message is not hello", Where(key="hello"), "Send hello first")
        hello = first.hello
        held, who = self._tenants.of(names.tenant_of(hello.parent))
        who.require_all()
        if len(hello.lookups) > LOOKUPS_MAX:
            raise InputError("too many names", Where(key="hello.lookups"), f"At most {LOOKUPS_MAX}")
        if not 0 <= hello.max_open <= ROOM_MAX:
            raise InputError(f"{hello.max_open} at once", Where(key="hello.max_open"), f"Give 1 to {ROOM_MAX}")
        stream = await held.lookups.open(hello.lookups, hello.max_open or ROOM, who)
        reader = asyncio.create_task(_listen(held, stream, requests))
        try:
            while (message := await stream.next()) is not None:
                yield message
            if stream.ended is not None:
                raise stream.ended
        finally:
            reader.cancel()
            held.lookups.close(stream)

    async def Hear(self, request: pb.HearRequest, context: Any) -> pb.HearResponse:
        tenant, call = names.split(request.call, "calls", "call")
        held, who = self._tenants.of(tenant)
        who.require_all()
        event = await held.private({"event": "call_heard", "call": call, "text": request.text})
        return pb.HearResponse(applied=applied(await held.submit(event, request.request_id, who.name)))


async def _listen(held: Tenant, stream: Stream, requests: AsyncIterator[pb.AnswerLookupsRequest]) -> None:
    """Take what is answered; the stream ends when nobody answers any more."""
    broken: CordboardError | None = None
    with contextlib.suppress(asyncio.CancelledError):
        try:
            async for request in requests:
                if request.WhichOneof("message") != "answer":
                    raise InputError("a stream is opened once", Where(key="message"), "Send an answer")
                await held.lookups.answer(stream, request.answer)
        except CordboardError as error:
            broken = error
        except Exception:  # a mistake of ours: look-ups must not wait for who is not read any more
            log.exception("the answers of a program can't be taken")
            broken = UnavailableError("answers can't be taken", "failed")
        stream.end(broken)
