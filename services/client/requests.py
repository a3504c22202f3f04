"""Requests from short names and plain values, for both clients."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from cordboard.errors import InputError, Where
from cordboard.v1 import agent_service_pb2 as agent_pb
from cordboard.v1 import call_service_pb2 as call_pb
from cordboard.v1 import center_service_pb2 as center_pb
from cordboard.v1 import columns_pb2 as columns_pb
from cordboard.v1 import event_service_pb2 as event_pb
from cordboard.v1 import queue_service_pb2 as queue_pb
from cordboard.v1 import recording_service_pb2 as recording_pb
from cordboard.v1 import routing_service_pb2 as routing_pb

State = Literal["ready", "away", "offline"]
STATES = {
    "ready": agent_pb.Agent.STATE_READY,
    "away": agent_pb.Agent.STATE_AWAY,
    "offline": agent_pb.Agent.STATE_OFFLINE,
}
# column -> its type in messages
EVENT_COLUMNS = {
    "time": "<f8", "kind": "<i4", "contact": "<i8", "agent": "<i4", "queue": "<i4", "priority": "<f8",
    "queued_at": "<f8", "preferred_agent": "<i4",
}  # fmt: skip
EFFECT_COLUMNS = {
    "time": "<f8", "kind": "<i4", "contact": "<i8", "agent": "<i4", "queue": "<i4", "reason": "<i4", "value": "<f8",
}  # fmt: skip
Columns = Mapping[str, npt.ArrayLike]
Outcome = Literal["transfer", "conference", "cancel"]
OUTCOMES = {
    "transfer": call_pb.EndConsultRequest.OUTCOME_TRANSFER,
    "conference": call_pb.EndConsultRequest.OUTCOME_CONFERENCE,
    "cancel": call_pb.EndConsultRequest.OUTCOME_CANCEL,
}
Mode = Literal["listen", "whisper", "barge"]
MODES = {
    "listen": call_pb.MONITOR_MODE_LISTEN,
    "whisper": call_pb.MONITOR_MODE_WHISPER,
    "barge": call_pb.MONITOR_MODE_BARGE,
}
C = TypeVar("C", bound=Message)
T = TypeVar("T")


def new_request_id() -> str:
    """An id that no other request has."""
    return str(uuid.uuid4())


class Requests:
    """Makes the requests of one tenant."""

    def __init__(self, tenant: str) -> None:
        self.tenant = f"tenants/{tenant}"

    def name(self, collection: str, short: str) -> str:
        """The resource name of a short one."""
        return f"{self.tenant}/{collection}/{short.replace('%', '%25').replace('/', '%2F')}"

    def enqueue(
        self,
        queue: str,
        contact: str,
        request_id: str,
        priority: float | None,
        requires: Mapping[str, int] | None,
        customer: str,
        preferred_agent: str,
        queued_at: float | None,
    ) -> routing_pb.EnqueueRequest:
        request = routing_pb.EnqueueRequest(
            request_id=request_id or new_request_id(),
            queue=self.name("queues", queue),
            contact_id=contact,
            priority=priority,
            required_levels=requires,
            customer=customer,
            preferred_agent=self.name("agents", preferred_agent) if preferred_agent else "",
        )
        if queued_at is not None:
            request.queued_at.FromMicroseconds(round(queued_at * 1e6))
        return request

    def leave(self, contact: str, request_id: str) -> routing_pb.LeaveRequest:
        name = self.name("contacts", contact)
        return routing_pb.LeaveRequest(contact=name, request_id=request_id or new_request_id())

    def explain(self, contact: str, token: str) -> routing_pb.ExplainRequest:
        return routing_pb.ExplainRequest(contact=self.name("contacts", contact), page_size=1000, page_token=token)

    def estimate_wait(self, contact: str) -> routing_pb.EstimateWaitRequest:
        return routing_pb.EstimateWaitRequest(contact=self.name("contacts", contact))

    def set_state(self, agent: str, state: State, reason: str, request_id: str) -> agent_pb.SetStateRequest:
        return agent_pb.SetStateRequest(
            agent=self.name("agents", agent),
            state=_state(state),
            reason=reason,
            request_id=request_id or new_request_id(),
        )

    def agent(self, agent: str) -> agent_pb.AgentServiceGetRequest:
        return agent_pb.AgentServiceGetRequest(name=self.name("agents", agent))

    def agents(self, token: str) -> agent_pb.AgentServiceListRequest:
        return agent_pb.AgentServiceListRequest(parent=self.tenant, page_size=1000, page_token=token)

    def for_agent(self, kind: type[C], agent: str, request_id: str, **fields: Any) -> C:
        """A request of CallService for an agent."""
        return kind(agent=self.name("agents", agent), request_id=request_id or new_request_id(), **fields)

    def lead(self, agent: str) -> call_pb.GetLeadRequest:
        return call_pb.GetLeadRequest(agent=self.name("agents", agent))

    def recording(self, kind: type[C], recording: str, **fields: Any) -> C:
        """A request of RecordingService about one recording."""
        return kind(name=self.name("recordings", recording), request_id=new_request_id(), **fields)

    def purge(self, validate_only: bool) -> recording_pb.PurgeRecordingsRequest:
        return recording_pb.PurgeRecordingsRequest(
            parent=self.tenant, request_id=new_request_id(), validate_only=validate_only
        )

    def conversation(self, kind: type[C], contact: str, request_id: str, **fields: Any) -> C:
        """A request of CallService about a contact in conversation."""
        return kind(contact=self.name("contacts", contact), request_id=request_id or new_request_id(), **fields)

    def target(self, queue: str, agent: str, number: str) -> dict[str, str]:
        """To whom, as fields of a request. InputError unless it is exactly one."""
        given = {"queue": queue, "agent": agent, "number": number}
        found = {k: v if k == "number" else self.name(f"{k}s", v) for k, v in given.items() if v}
        if len(found) != 1:
            raise InputError("one target is needed", Where(key="target"), "Give exactly one of queue, agent, number")
        return found

    def pick_up(self, slot: str, agent: str, request_id: str) -> call_pb.PickUpRequest:
        return call_pb.PickUpRequest(
            slot=slot, agent=self.name("agents", agent), request_id=request_id or new_request_id()
        )

    def call(self, call: str) -> call_pb.CallServiceGetRequest:
        return call_pb.CallServiceGetRequest(name=self.name("calls", call))

    def calls(self, token: str) -> call_pb.CallServiceListRequest:
        return call_pb.CallServiceListRequest(parent=self.tenant, page_size=1000, page_token=token)

    def queue(self, queue: str) -> queue_pb.QueueServiceGetRequest:
        return queue_pb.QueueServiceGetRequest(name=self.name("queues", queue))

    def queues(self, token: str) -> queue_pb.QueueServiceListRequest:
        return queue_pb.QueueServiceListRequest(parent=self.tenant, page_size=1000, page_token=token)

    def apply_center(self, text: str, etag: str, request_id: str) -> center_pb.ApplyRequest:
        return center_pb.ApplyRequest(
            tenant=self.tenant, center_toml=text, etag=etag, request_id=request_id or new_request_id()
        )

    def reload_calls(self, etag: str, request_id: str) -> center_pb.ReloadCallsRequest:
        return center_pb.ReloadCallsRequest(tenant=self.tenant, etag=etag, request_id=request_id or new_request_id())

    def watch(
        self,
        start_revision: int,
        kinds: Sequence[str],
        queues: Sequence[str],
        agents: Sequence[str],
        contacts: Sequence[str],
    ) -> event_pb.WatchRequest:
        wanted = event_pb.WatchFilter(kinds=kinds, queues=queues, agents=agents, contacts=contacts)
        return event_pb.WatchRequest(parent=self.tenant, start_revision=start_revision, filter=wanted)

    def hello(self, agent: str, lease: float) -> agent_pb.ConnectRequest:
        hello = agent_pb.Hello(agent=self.name("agents", agent))
        hello.lease.FromMicroseconds(round(lease * 1e6))
        return agent_pb.ConnectRequest(hello=hello)


def _state(state: State) -> agent_pb.Agent.State.ValueType:
    if state not in STATES:
        raise InputError(f"{state!r} is no state", Where(key="state"), f"Use one of {', '.join(STATES)}")
    return STATES[state]


def known(value: str, values: Mapping[str, T], key: str) -> T:
    """What a short word stands for. InputError that lists the known ones."""
    if value not in values:
        raise InputError(f"{value!r} is not known", Where(key=key), f"Use one of {', '.join(values)}")
    return values[value]


def wish(state: State, reason: str, request_id: str) -> agent_pb.ConnectRequest:
    """An agent's wish to be ready, away or offline, over its line."""
    return agent_pb.ConnectRequest(
        request_id=request_id or new_request_id(), set_state=agent_pb.StateWish(state=_state(state), reason=reason)
    )


def about(what: Literal["accept", "decline", "end"], contact: str, request_id: str) -> agent_pb.ConnectRequest:
    """An agent's word about one contact, over its line."""
    parts: dict[str, Any] = {what: agent_pb.ContactAnswer(contact=contact)}
    return agent_pb.ConnectRequest(request_id=request_id or new_request_id(), **parts)


def wrapped_up(request_id: str) -> agent_pb.ConnectRequest:
    """An agent has finished its wrap-up, over its line."""
    return agent_pb.ConnectRequest(request_id=request_id or new_request_id(), end_wrap_up=agent_pb.EndWrapUp())


def route_columns(center_toml: str, given: Columns, seed: int) -> routing_pb.RouteColumnsRequest:
    """Columns of events (see columns.proto) as a request. InputError for a column that there is not."""
    unknown = [name for name in given if name not in EVENT_COLUMNS]
    if unknown:
        raise InputError(f"no column {unknown[0]!r}", Where(key="events"), f"There are {', '.join(EVENT_COLUMNS)}")
    raw = {name: np.ascontiguousarray(values, EVENT_COLUMNS[name]).tobytes() for name, values in given.items()}
    return routing_pb.RouteColumnsRequest(center_toml=center_toml, seed=seed, events=columns_pb.EventColumns(**raw))


def effect_columns(message: columns_pb.EffectColumns) -> dict[str, npt.NDArray[Any]]:
    """Columns of effects as arrays, all of one length."""
    return {name: np.frombuffer(getattr(message, name), dtype) for name, dtype in EFFECT_COLUMNS.items()}
