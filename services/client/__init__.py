"""Clients of the gRPC services: :class:`Client` for ordinary programs, :class:`AsyncClient` for asyncio.

Both take short names (``"billing"``, not ``tenants/default/queues/billing``), give every change a ``request_id`` so
that it can be repeated safely, repeat it when the server is away for a moment, and raise :class:`CallError` with the
server's reason. What they return are the messages of ``cordboard.v1``. ``stubs`` has all services as they are.
"""

from cordboard.client.asynchronous import AsyncClient as AsyncClient
from cordboard.client.asynchronous import AsyncLine as AsyncLine
from cordboard.client.connection import CallError as CallError
from cordboard.client.connection import Tls as Tls
from cordboard.client.synchronous import Client as Client
from cordboard.client.synchronous import Line as Line

__all__ = ["AsyncClient", "AsyncLine", "CallError", "Client", "Line", "Tls"]
