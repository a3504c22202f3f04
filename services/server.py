"""The server: the services of cordboard with health, reflection and channelz, on one port.

Settings of HTTP/2 are those that long streams need: clients may ping every ten seconds, dead ones are found within
forty, and connections live for half an hour, so that they spread anew over the servers of a cluster.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cordboard.errors import StoreError, UnavailableError
from cordboard.live.access import Caller
from cordboard.services.line_server import LineServer
from cordboard.services.security.guard import Guard
from cordboard.services.security.guarded import GuardedServer
from cordboard.services.servicers.admin import AdminServicer
from cordboard.services.servicers.agents import AgentServicer
from cordboard.services.servicers.calls import CallServicer
from cordboard.services.servicers.campaigns import CampaignServicer
from cordboard.services.servicers.center import CenterServicer
from cordboard.services.servicers.events import EventServicer
from cordboard.services.servicers.flows import FlowServicer
from cordboard.services.servicers.media import MediaServicer
from cordboard.services.servicers.pacing import PacingServicer
from cordboard.services.servicers.predictions import PredictionServicer
from cordboard.services.servicers.privacy import PrivacyServicer
from cordboard.services.servicers.queues import QueueServicer
from cordboard.services.servicers.recordings import RecordingServicer
from cordboard.services.servicers.reports import ReportServicer
from cordboard.services.servicers.routing import RoutingServicer
from cordboard.services.servicers.simulations import Jobs, OperationsServicer, SimulationServicer
from cordboard.services.tenants import Tenants
from cordboard.services.wiring import handlers
from cordboard.v1 import (
    admin_service_pb2,
    agent_service_pb2,
    call_service_pb2,
    campaign_service_pb2,
    center_service_pb2,
    event_service_pb2,
    flow_service_pb2,
    media_service_pb2,
    pacing_service_pb2,
    prediction_service_pb2,
    privacy_service_pb2,
    queue_service_pb2,
    recording_service_pb2,
    report_service_pb2,
    routing_service_pb2,
    simulation_service_pb2,
)

MESSAGE_BYTES_MAX = 32 * 1024 * 1024  # columns of 100,000 events, or a center file of 16 MiB
CONNECTION_AGE_S = 30 * 60  # after it new calls go over another connection, perhaps to another server
AGE_GRACE_S = 12 * 60 * 60  # for its streams: no shift is longer, and an agent whose line is cut is set away

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", 10_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_connection_age_ms", CONNECTION_AGE_S * 1000),
    ("grpc.max_connection_age_grace_ms", AGE_GRACE_S * 1000),
    ("grpc.so_reuseport", 0),  # a second server on the same port is an error, not half of the calls
)


def service_of(file: FileDescriptor) -> ServiceDescriptor:
    """The one service of a .proto file."""
    (service,) = file.services_by_name.values()
    return service


class Server:
    """The services over the engines of some tenants. Made and used in one event loop.

    ``guard``: says who calls, and lets them in or not. ``local``: who calls, where there is none; with neither nobody
    gets anything. ``options``: channel arguments beside and over ``OPTIONS``.
    """

    def __init__(
        self,
        tenants: Tenants,
        *,
        local: Caller | None = None,
        guard: Guard | None = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self.tenants = tenants
        self._jobs = Jobs()
        merged = {**dict(OPTIONS), **dict(options)}
        self._server = GuardedServer(guard, tuple(merged.items()))
        self._lines: list[LineServer] = []
        servicers: list[tuple[ServiceDescriptor, object]] = [
            (service_of(routing_service_pb2.DESCRIPTOR), RoutingServicer(tenants)),
            (service_of(agent_service_pb2.DESCRIPTOR), AgentServicer(tenants)),
            (service_of(call_service_pb2.DESCRIPTOR), CallServicer(tenants)),
            (service_of(campaign_service_pb2.DESCRIPTOR), CampaignServicer(tenants)),
            (service_of(event_service_pb2.DESCRIPTOR), EventServicer(tenants)),
            (service_of(flow_service_pb2.DESCRIPTOR), FlowServicer(tenants)),
            (service_of(queue_service_pb2.DESCRIPTOR), QueueServicer(tenants)),
            (service_of(center_service_pb2.DESCRIPTOR), CenterServicer(tenants)),
            (service_of(report_service_pb2.DESCRIPTOR), ReportServicer(tenants)),
            (service_of(admin_service_pb2.DESCRIPTOR), AdminServicer(tenants)),
            (service_of(privacy_service_pb2.DESCRIPTOR), PrivacyServicer(tenants)),
            (service_of(recording_service_pb2.DESCRIPTOR), RecordingServicer(tenants)),
            (service_of(prediction_service_pb2.DESCRIPTOR), PredictionServicer(tenants)),
            (service_of(media_service_pb2.DESCRIPTOR), MediaServicer(tenants)),
            (service_of(pacing_service_pb2.DESCRIPTOR), PacingServicer(tenants)),
            (service_of(simulation_service_pb2.DESCRIPTOR), SimulationServicer(tenants, self._jobs)),
            (service_of(operations_pb2.DESCRIPTOR), OperationsServicer(tenants, self._jobs)),
        ]
        for service, servicer in servicers:
            found = handlers(service, servicer, local, tenants.calls)
            self._server.add_registered_method_handlers(service.full_name, found)
        self.servicers = {service.full_name: servicer for service, servicer in servicers}
        self._names = list(self.servicers)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        channelz.add_channelz_servicer(self._server)
        shown = [
            *self._names,
            health.SERVICE_NAME,
            channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name,
            reflection.SERVICE_NAME,
        ]
        reflection.enable_server_reflection(shown, self._server)

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on ``host:port``; returns the port, which the system chooses for port 0. StoreError if it is taken."""
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise StoreError("in use", f"can't listen on {address}") from None

    def listen_lines(self, listener: socket.socket) -> None:
        """Take lines (see :mod:`cordboard.services.line`) on a Unix socket that is bound."""
        self._lines.append(LineServer(listener, self._server.handlers.service))

    async def start(self) -> None:
        """Serve."""
        await self._server.start()
        for lines in self._lines:
            await lines.start()
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def _say(self, status: int) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def drain(self, seconds: float) -> None:
        """Say in the health service that others should be asked, make no new offers, wait until no conversation is
        open, ``seconds`` at most, and end the streams. Once more with fewer seconds hurries the first call."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        await asyncio.gather(*(asyncio.to_thread(tenant.engine.drain, seconds) for tenant in self.tenants))
        for tenant in self.tenants:
            tenant.end_streams(UnavailableError("the server is going away", "draining"))

    async def stop(self, grace: float) -> None:
        """Take no more calls, give those that run ``grace`` seconds, and let go of the tenants."""
        await asyncio.gather(self._server.stop(grace), *(lines.stop(grace) for lines in self._lines))
        await self._jobs.stop()
        await self.tenants.close()
