"""QueueService: queues and those who wait in them."""

from __future__ import annotations

from typing import Any

from cordboard.center import Center, Queue
from cordboard.errors import UnknownNameError, Where
from cordboard.journal import nearest
from cordboard.services import names
from cordboard.services.paging import bounds
from cordboard.services.queue_messages import queue_message
from cordboard.services.tenants import Tenants
from cordboard.v1 import queue_service_pb2 as pb


class QueueServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def Get(self, request: pb.QueueServiceGetRequest, context: Any) -> pb.QueueServiceGetResponse:
        tenant, name = names.split(request.name, "queues", "name")
        held, who = self._tenants.of(tenant)
        who.require_queue(name)
        queue = _known(held.engine.center, name, "name")
        state = await held.read(lambda acd: acd.queue_state(name))
        return pb.QueueServiceGetResponse(queue=queue_message(tenant, queue, state))

    async def List(self, request: pb.QueueServiceListRequest, context: Any) -> pb.QueueServiceListResponse:
        held, who = self._tenants.of(names.tenant_of(request.parent))
        start, size = bounds(request.page_size, request.page_token)
        seen = [queue for queue in held.engine.center.queues if who.covers_queue(queue.name)]
        shown = seen[start : start + size]
        states = await held.read(lambda acd: [acd.queue_state(queue.name) for queue in shown])
        return pb.QueueServiceListResponse(
            queues=[queue_message(held.name, queue, state) for queue, state in zip(shown, states, strict=True)],
            next_page_token=str(start + size) if start + size < len(seen) else "",
        )

    async def ListContacts(self, request: pb.ListContactsRequest, context: Any) -> pb.ListContactsResponse:
        tenant, name = names.split(request.parent, "queues", "parent")
        held, who = self._tenants.of(tenant)
        who.require_queue(name)
        _known(held.engine.center, name, "parent")
        start, size = bounds(request.page_size, request.page_token)
        waiting = await held.read(lambda acd: list(acd.positions(name).items()))
        contacts = [
            pb.WaitingContact(name=names.resource(tenant, "contacts", str(contact)), position=position)
            for contact, position in waiting[start : start + size]
        ]
        token = str(start + size) if start + size < len(waiting) else ""
        return pb.ListContactsResponse(contacts=contacts, next_page_token=token)


def _known(center: Center, name: str, key: str) -> Queue:
    for queue in center.queues:
        if queue.name == name:
            return queue
    hint = nearest(name, [queue.name for queue in center.queues])
    raise UnknownNameError(f'there is no queue "{name}"', Where(key=key), hint)
