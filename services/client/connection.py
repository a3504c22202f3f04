"""What both clients share: channels, who we are, and errors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, LocalizedMessage
from grpc_status import rpc_status

from cordboard.errors import CordboardError
from cordboard.v1 import (
    admin_service_pb2_grpc,
    agent_service_pb2_grpc,
    call_service_pb2_grpc,
    campaign_service_pb2_grpc,
    center_service_pb2_grpc,
    event_service_pb2_grpc,
    flow_service_pb2_grpc,
    queue_service_pb2_grpc,
    recording_service_pb2_grpc,
    report_service_pb2_grpc,
    routing_service_pb2_grpc,
)
from cordboard.words import Lang

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
BACKOFF_S, BACKOFF_MAX_S = 0.2, 5.0
WRITE_FAILED = "Internal error from Core"  # what grpc.aio makes of a write on a connection that has just died: INTERNAL
CALL_S = 30.0  # deadline of a call unless another one is given

Token = str | Callable[[], str] | None

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # A connection that has died is found out within forty seconds, without disturbing the server.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A server that is started anew is found at once.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files (PEM): the authority that vouches for the server (None: the system's), and our own certificate and key
    where the server wants them. ``name``: the server's name in its certificate, where it is not the address's."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """As gRPC wants them."""
        parts = [None if file is None else file.read_bytes() for file in (self.authority, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*parts)


class CallError(CordboardError):
    """A call that failed. ``code``: of gRPC. ``reason``: the server's code for programs, empty if it gave none;
    ``metadata``: the facts that belong to it; ``fields``: those of the request that can't be used."""

    def __init__(self, code: grpc.StatusCode, message: str, status: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason, self.metadata, self.fields = "", dict[str, str](), list[str]()
        self._texts = {"en": message, "zh": message}
        for detail in () if status is None else status.details:
            self._take(detail)

    def _take(self, detail: Any) -> None:
        info, bad, local = ErrorInfo(), BadRequest(), LocalizedMessage()
        if detail.Unpack(info):
            self.reason, self.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            self.fields = [violation.field for violation in bad.field_violations]
        elif detail.Unpack(local):
            self._texts[local.locale] = local.message

    def text(self, lang: Lang) -> str:
        """The message in the language asked for."""
        return self._texts[lang]

    @property
    def passes(self) -> bool:
        """Whether the same may work in a moment, on this server or another one."""
        return self.code is grpc.StatusCode.UNAVAILABLE or self.reason == "SLOW_READER"


def call_error(error: Any) -> CallError:
    """The error of a call (RpcError, or that of asyncio) as ours."""
    code, message = error.code(), error.details() or error.code().name
    if message == WRITE_FAILED:
        return CallError(grpc.StatusCode.UNAVAILABLE, "the connection broke while a message was sent")
    return CallError(code, message, rpc_status.from_call(error))


def options(tls: Tls | None) -> list[tuple[str, Any]]:
    """Options of a channel, with the service config that says what is repeated."""
    config = (files("cordboard.client") / "service_config.json").read_text("utf-8")
    found = [*_OPTIONS, ("grpc.service_config", config)]
    if tls is not None and tls.name:
        found.append(("grpc.ssl_target_name_override", tls.name))
    return found


def metadata(token: Token) -> tuple[tuple[str, str], ...]:
    """What tells the server who we are."""
    if token is None:
        return ()
    return (("authorization", f"Bearer {token if isinstance(token, str) else token()}"),)


def pauses() -> Iterator[float]:
    """Seconds to wait before one attempt after the other: longer each time, and never the same for two clients."""
    pause = BACKOFF_S
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(pause * 2, BACKOFF_MAX_S)


class Stubs:
    """Every service's stub on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.routing = routing_service_pb2_grpc.RoutingServiceStub(channel)
        self.agents = agent_service_pb2_grpc.AgentServiceStub(channel)
        self.calls = call_service_pb2_grpc.CallServiceStub(channel)
        self.campaigns = campaign_service_pb2_grpc.CampaignServiceStub(channel)
        self.events = event_service_pb2_grpc.EventServiceStub(channel)
        self.flows = flow_service_pb2_grpc.FlowServiceStub(channel)
        self.queues = queue_service_pb2_grpc.QueueServiceStub(channel)
        self.center = center_service_pb2_grpc.CenterServiceStub(channel)
        self.recordings = recording_service_pb2_grpc.RecordingServiceStub(channel)
        self.reports = report_service_pb2_grpc.ReportServiceStub(channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(channel)


class AsyncStubs:
    """Every service's stub on one channel of asyncio."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.routing = routing_service_pb2_grpc.RoutingServiceStub(channel)
        self.agents = agent_service_pb2_grpc.AgentServiceStub(channel)
        self.calls = call_service_pb2_grpc.CallServiceStub(channel)
        self.campaigns = campaign_service_pb2_grpc.CampaignServiceStub(channel)
        self.events = event_service_pb2_grpc.EventServiceStub(channel)
        self.flows = flow_service_pb2_grpc.FlowServiceStub(channel)
        self.queues = queue_service_pb2_grpc.QueueServiceStub(channel)
        self.center = center_service_pb2_grpc.CenterServiceStub(channel)
        self.recordings = recording_service_pb2_grpc.RecordingServiceStub(channel)
        self.reports = report_service_pb2_grpc.ReportServiceStub(channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(channel)
