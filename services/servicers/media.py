"""MediaService: the line of a media node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from cordboard.errors import CordboardError, InputError, Where
from cordboard.live.access import Caller
from cordboard.services import names
from cordboard.services.media_messages import report_of
from cordboard.services.nodes import Wire
from cordboard.services.tenants import Tenant, Tenants
from cordboard.v1 import media_service_pb2 as pb


class MediaServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def Attach(self, requests: AsyncIterator[pb.AttachRequest], context: Any) -> AsyncIterator[pb.AttachResponse]:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("message") != "hello":
            raise InputError("the first message is not hello", Where(key="hello"), "Send hello first")
        tenant, node = names.split(first.hello.node, "nodes", "hello.node")
        held, who = self._tenants.of(tenant)
        wire = await held.nodes.open(first.hello, node, who.name)
        reader = asyncio.create_task(_listen(held, who, wire, requests))
        try:
            while (message := await wire.next()) is not None:
                yield message
            if wire.ended is not None:
                raise wire.ended
        finally:
            reader.cancel()
            held.nodes.close(wire, held.draining)


async def _listen(held: Tenant, who: Caller, wire: Wire, requests: AsyncIterator[pb.AttachRequest]) -> None:
    """Take what the node says; the line ends when it does."""
    broken: CordboardError | None = None
    with contextlib.suppress(asyncio.CancelledError):
        try:
            async for request in requests:
                wire.heard()
                kind = request.WhichOneof("message")
                if kind in ("report", "reports"):
                    for one in request.reports.reports if kind == "reports" else (request.report,):
                        await held.nodes.report(wire, one.number, report_of(one.report), who.name)
                elif kind == "draining":
                    held.nodes.keep(held.nodes.drain(wire, who.name))
                elif kind == "goodbye":
                    wire.said_goodbye = True
                    break
                elif kind != "heartbeat":
                    raise InputError("a line is opened once", Where(key="message"), "Send another one")
        except CordboardError as error:
            broken = error
        wire.end(broken)
