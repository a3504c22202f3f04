"""The client for ordinary programs.

Twin of ``asynchronous.py``: the types of Python can't say "this, or a coroutine of it", so every method has a signature
in each. What is no signature is in ``requests.py`` and ``connection.py``, and a test keeps the twins alike.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc
import numpy.typing as npt

from cordboard.client import requests
from cordboard.client.connection import CALL_S, CallError, Stubs, Tls, Token, call_error, metadata, options, pauses
from cordboard.client.requests import Columns, Mode, Outcome, Requests, State
from cordboard.v1 import agent_service_pb2 as agent_pb
from cordboard.v1 import call_service_pb2 as call_pb
from cordboard.v1 import center_service_pb2 as center_pb
from cordboard.v1 import journal_pb2 as journal_pb
from cordboard.v1 import queue_service_pb2 as queue_pb
from cordboard.v1 import recording_service_pb2 as recording_pb
from cordboard.v1 import routing_service_pb2 as routing_pb

T = TypeVar("T")


class Client:
    """Talks to one server as one tenant. Thread-safe; close it, or use it in ``with``.

    ``token``: what ``cordboard token issue`` printed, or a function that gives one that is fresh. ``tls``: for a server
    with certificates. ``timeout``: seconds that a call may take, repeats included.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:7443",
        *,
        tenant: str = "default",
        token: Token = None,
        tls: Tls | None = None,
        timeout: float = CALL_S,
    ) -> None:
        if tls is None:
            self._channel = grpc.insecure_channel(address, options(tls))
        else:
            self._channel = grpc.secure_channel(address, tls.credentials(), options(tls))
        self._make, self._token, self._timeout = Requests(tenant), token, timeout
        self.stubs = Stubs(self._channel)

    def close(self) -> None:
        """End all calls."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Callable[..., T], request: Any) -> T:
        try:
            return method(request, timeout=self._timeout, metadata=metadata(self._token))
        except grpc.RpcError as error:
            raise call_error(error) from None

    # ---- contacts

    def enqueue(
        self,
        queue: str,
        contact: str = "",
        *,
        priority: float | None = None,
        requires: Mapping[str, int] | None = None,
        customer: str = "",
        preferred_agent: str = "",
        queued_at: float | None = None,
        request_id: str = "",
    ) -> routing_pb.EnqueueResponse:
        """Put a contact into a queue; see RoutingService.Enqueue. ``queued_at``: Unix seconds."""
        request = self._make.enqueue(
            queue, contact, request_id, priority, requires, customer, preferred_agent, queued_at
        )
        return self._call(self.stubs.routing.Enqueue, request)

    def leave(self, contact: str, *, request_id: str = "") -> routing_pb.LeaveResponse:
        """Take a contact out that waits or is offered."""
        return self._call(self.stubs.routing.Leave, self._make.leave(contact, request_id))

    def explain(self, contact: str) -> list[routing_pb.AgentEligibility]:
        """For every agent whether it could get this contact now, and if not, why."""
        pages = self._pages(self.stubs.routing.Explain, lambda token: self._make.explain(contact, token))
        return [one for page in pages for one in page.agents]

    def estimate_wait(self, contact: str) -> routing_pb.EstimateWaitResponse:
        """How long a waiting contact will still wait."""
        return self._call(self.stubs.routing.EstimateWait, self._make.estimate_wait(contact))

    def route_columns(self, center_toml: str, events: Columns, *, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
        """Route columns of events through an engine of their own; the columns of effects. See columns.proto."""
        request = requests.route_columns(center_toml, events, seed)
        return requests.effect_columns(self._call(self.stubs.routing.RouteColumns, request).effects)

    # ---- agents and queues

    def set_state(
        self, agent: str, state: State, *, reason: str = "", request_id: str = ""
    ) -> agent_pb.SetStateResponse:
        """Set an agent ready, away or offline."""
        return self._call(self.stubs.agents.SetState, self._make.set_state(agent, state, reason, request_id))

    def agent(self, agent: str) -> agent_pb.Agent:
        """One agent as it is now."""
        return self._call(self.stubs.agents.Get, self._make.agent(agent)).agent

    def agents(self) -> list[agent_pb.Agent]:
        """All agents."""
        return [one for page in self._pages(self.stubs.agents.List, self._make.agents) for one in page.agents]

    def queue(self, queue: str) -> queue_pb.Queue:
        """One queue as it is now."""
        return self._call(self.stubs.queues.Get, self._make.queue(queue)).queue

    def queues(self) -> list[queue_pb.Queue]:
        """All queues."""
        return [one for page in self._pages(self.stubs.queues.List, self._make.queues) for one in page.queues]

    def _pages(self, method: Callable[..., T], make: Callable[[str], Any]) -> Iterator[T]:
        token = ""
        while True:
            page: Any = self._call(method, make(token))
            yield page
            token = page.next_page_token
            if not token:
                return

    def apply_center(self, text: str, *, etag: str = "", request_id: str = "") -> center_pb.ApplyResponse:
        """Go over to another configuration (the text of a center file); see CenterService.Apply."""
        return self._call(self.stubs.center.Apply, self._make.apply_center(text, etag, request_id))

    def check_calls(self) -> center_pb.CheckCallsResponse:
        """What is wrong in the server's file of calls, and what it would change; see CenterService.CheckCalls."""
        return self._call(self.stubs.center.CheckCalls, center_pb.CheckCallsRequest(tenant=self._make.tenant))

    def reload_calls(self, *, etag: str = "", request_id: str = "") -> center_pb.ReloadCallsResponse:
        """Go over to the server's file of calls as it is now; see CenterService.ReloadCalls."""
        return self._call(self.stubs.center.ReloadCalls, self._make.reload_calls(etag, request_id))

    def connect(self, agent: str, *, lease: float = 15.0) -> Line:
        """Open an agent's line. CallError if it can't be."""
        return Line(self, agent, lease)

    # ---- calls

    def calls(self) -> list[call_pb.Call]:
        """The calls of one's scope, with their legs and who hears whom."""
        return [one for page in self._pages(self.stubs.calls.List, self._make.calls) for one in page.calls]

    def call(self, call: str) -> call_pb.Call:
        """One call as it is now."""
        return (self._call(self.stubs.calls.Get, self._make.call(call))).call

    def hold(self, contact: str, *, request_id: str = "") -> call_pb.HoldResponse:
        """Put the others in an agent's conversation on hold."""
        request = self._make.conversation(call_pb.HoldRequest, contact, request_id)
        return self._call(self.stubs.calls.Hold, request)

    def resume(self, contact: str, *, request_id: str = "") -> call_pb.ResumeResponse:
        """End the hold."""
        request = self._make.conversation(call_pb.ResumeRequest, contact, request_id)
        return self._call(self.stubs.calls.Resume, request)

    def mute(self, contact: str, on: bool = True, *, request_id: str = "") -> call_pb.MuteResponse:
        """Mute the agent, or end that."""
        request = self._make.conversation(call_pb.MuteRequest, contact, request_id, on=on)
        return self._call(self.stubs.calls.Mute, request)

    def transfer(
        self,
        contact: str,
        *,
        queue: str = "",
        agent: str = "",
        number: str = "",
        priority: float | None = None,
        request_id: str = "",
    ) -> call_pb.TransferResponse:
        """Give the caller to a queue, an agent or a number, at once; the agent's part ends."""
        to = self._make.target(queue, agent, number)
        request = self._make.conversation(call_pb.TransferRequest, contact, request_id, priority=priority, **to)
        return self._call(self.stubs.calls.Transfer, request)

    def consult(
        self, contact: str, *, agent: str = "", number: str = "", request_id: str = ""
    ) -> call_pb.ConsultResponse:
        """Call an agent or a number, to be asked while the others are on hold."""
        to = self._make.target("", agent, number)
        request = self._make.conversation(call_pb.ConsultRequest, contact, request_id, **to)
        return self._call(self.stubs.calls.Consult, request)

    def end_consult(self, contact: str, outcome: Outcome, *, request_id: str = "") -> call_pb.EndConsultResponse:
        """Who was asked takes over (transfer), joins (conference) or leaves (cancel)."""
        ends = requests.known(outcome, requests.OUTCOMES, "outcome")
        request = self._make.conversation(call_pb.EndConsultRequest, contact, request_id, outcome=ends)
        return self._call(self.stubs.calls.EndConsult, request)

    def park(self, contact: str, slot: str, *, request_id: str = "") -> call_pb.ParkResponse:
        """Let the caller wait in a slot; the agent's part ends."""
        request = self._make.conversation(call_pb.ParkRequest, contact, request_id, slot=slot)
        return self._call(self.stubs.calls.Park, request)

    def pick_up(self, slot: str, agent: str, *, request_id: str = "") -> call_pb.PickUpResponse:
        """Offer a parked caller to an agent."""
        return self._call(self.stubs.calls.PickUp, self._make.pick_up(slot, agent, request_id))

    def dial_number(
        self, agent: str, number: str, *, campaign: str = "", request_id: str = ""
    ) -> call_pb.DialNumberResponse:
        """Dial a number for an agent, whose phone is brought up first."""
        request = self._make.for_agent(call_pb.DialNumberRequest, agent, request_id, number=number, campaign=campaign)
        return self._call(self.stubs.calls.DialNumber, request)

    def lead(self, agent: str) -> call_pb.Lead:
        """The lead that is offered to an agent now; CallError if there is none."""
        return (self._call(self.stubs.calls.GetLead, self._make.lead(agent))).lead

    def accept_lead(self, agent: str, campaign: str, entry: str, *, request_id: str = "") -> call_pb.AcceptLeadResponse:
        """The agent will talk to the lead: it is dialed."""
        request = self._make.for_agent(call_pb.AcceptLeadRequest, agent, request_id, campaign=campaign, entry=entry)
        return self._call(self.stubs.calls.AcceptLead, request)

    def skip_lead(
        self, agent: str, campaign: str, entry: str, reason: str = "", *, request_id: str = ""
    ) -> call_pb.SkipLeadResponse:
        """The agent does not want the lead."""
        about = {"campaign": campaign, "entry": entry, "reason": reason}
        request = self._make.for_agent(call_pb.SkipLeadRequest, agent, request_id, **about)
        return self._call(self.stubs.calls.SkipLead, request)

    def cancel_dial(self, agent: str, campaign: str, entry: str, *, request_id: str = "") -> call_pb.CancelDialResponse:
        """Give up what is being dialed for an agent."""
        request = self._make.for_agent(call_pb.CancelDialRequest, agent, request_id, campaign=campaign, entry=entry)
        return self._call(self.stubs.calls.CancelDial, request)

    def pause_recording(self, contact: str, *, request_id: str = "") -> call_pb.PauseRecordingResponse:
        """Record silence from now on."""
        request = self._make.conversation(call_pb.PauseRecordingRequest, contact, request_id)
        return self._call(self.stubs.calls.PauseRecording, request)

    def resume_recording(self, contact: str, *, request_id: str = "") -> call_pb.ResumeRecordingResponse:
        """Go on recording, or begin."""
        request = self._make.conversation(call_pb.ResumeRecordingRequest, contact, request_id)
        return self._call(self.stubs.calls.ResumeRecording, request)

    def hang_up(self, contact: str, *, request_id: str = "") -> call_pb.HangUpResponse:
        """End a conversation for everybody in it."""
        request = self._make.conversation(call_pb.HangUpRequest, contact, request_id)
        return self._call(self.stubs.calls.HangUp, request)

    def monitor(
        self, contact: str, mode: Mode = "listen", *, supervisor: str = "", request_id: str = ""
    ) -> call_pb.MonitorResponse:
        """Have a supervisor's phone (one's own, if none is given) listen, whisper to the agent, or barge in."""
        what = requests.known(mode, requests.MODES, "mode")
        request = self._make.conversation(call_pb.MonitorRequest, contact, request_id, supervisor=supervisor, mode=what)
        return self._call(self.stubs.calls.Monitor, request)

    def stop_monitoring(
        self, contact: str, *, supervisor: str = "", request_id: str = ""
    ) -> call_pb.StopMonitoringResponse:
        """Hang up the supervisor's phone."""
        request = self._make.conversation(call_pb.StopMonitoringRequest, contact, request_id, supervisor=supervisor)
        return self._call(self.stubs.calls.StopMonitoring, request)

    def take_over(self, contact: str, *, supervisor: str = "", request_id: str = "") -> call_pb.TakeOverResponse:
        """The supervisor who monitors goes on in the agent's place."""
        request = self._make.conversation(call_pb.TakeOverRequest, contact, request_id, supervisor=supervisor)
        return self._call(self.stubs.calls.TakeOver, request)

    # ---- recordings

    def hold_recording(self, recording: str, reason: str) -> recording_pb.Recording:
        """Keep a recording whatever its retention, until it is released."""
        request = self._make.recording(recording_pb.HoldRecordingRequest, recording, reason=reason)
        return (self._call(self.stubs.recordings.HoldRecording, request)).recording

    def release_recording(self, recording: str) -> recording_pb.Recording:
        """End its hold."""
        request = self._make.recording(recording_pb.ReleaseRecordingRequest, recording)
        return (self._call(self.stubs.recordings.ReleaseRecording, request)).recording

    def purge_recordings(self, *, validate_only: bool = False) -> recording_pb.PurgeRecordingsResponse:
        """Delete recordings that were kept long enough, 200 at most; ask again while some are left."""
        return self._call(self.stubs.recordings.PurgeRecordings, self._make.purge(validate_only))

    # ---- events

    def watch(
        self,
        start_revision: int = 0,
        *,
        kinds: Sequence[str] = (),
        queues: Sequence[str] = (),
        agents: Sequence[str] = (),
        contacts: Sequence[str] = (),
    ) -> Iterator[journal_pb.Entry]:
        """Entries of the journal from a revision on (0: from now on), one after the other, for ever and without a gap.

        A connection that breaks is made anew, and the stream goes on where it was. CallError for what does not pass by
        itself, such as ``COMPACTED``.
        """
        waits = pauses()
        while True:
            request = self._make.watch(start_revision, kinds, queues, agents, contacts)
            call = self.stubs.events.Watch(request, metadata=metadata(self._token), wait_for_ready=True)
            try:
                for message in call:
                    waits = pauses()
                    yield from message.entries
                    start_revision = message.revision + 1
            except grpc.RpcError as error:
                found = call_error(error)
                if not found.passes:
                    raise found from None
            finally:
                call.cancel()
            time.sleep(next(waits))


class Line:
    """An agent's line: iterate it for what the agent is told, call it for what the agent does. Use it in ``with``.

    It beats by itself, three times a lease. ``welcome``: how the agent was when it opened. What
    the agent does takes a ``request_id``: the answer carries it, and after a line that broke the same can be said again
    on the next one, and is done once.
    """

    def __init__(self, client: Client, agent: str, lease: float) -> None:
        self._out: queue.SimpleQueue[agent_pb.ConnectRequest | None] = queue.SimpleQueue()
        self._out.put(client._make.hello(agent, lease))
        sending = iter(self._out.get, None)
        self._call = client.stubs.agents.Connect(sending, metadata=metadata(client._token))
        self._closed = threading.Event()
        self.welcome = self._next().welcome
        self._beating = threading.Thread(target=self._beat, args=(lease / 3,), daemon=True)
        self._beating.start()

    def _beat(self, every: float) -> None:
        while not self._closed.wait(every):
            self._send(agent_pb.ConnectRequest(heartbeat=agent_pb.Heartbeat()))

    def _send(self, message: agent_pb.ConnectRequest) -> None:
        self._out.put(message)

    def _next(self) -> agent_pb.ConnectResponse:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            self._closed.set()
            raise call_error(error) from None

    def __iter__(self) -> Iterator[agent_pb.ConnectResponse]:
        """What the agent is told, heartbeats left out, until the line ends; CallError if it breaks."""
        while True:
            try:
                message = self._next()
            except StopIteration:
                return
            if message.WhichOneof("message") != "pulse":
                yield message

    def ready(self, *, request_id: str = "") -> None:
        """Take contacts."""
        self._send(requests.wish("ready", "", request_id))

    def away(self, reason: str = "", *, request_id: str = "") -> None:
        """Take none."""
        self._send(requests.wish("away", reason, request_id))

    def accept(self, contact: str, *, request_id: str = "") -> None:
        """Take an offered contact."""
        self._send(requests.about("accept", contact, request_id))

    def decline(self, contact: str, *, request_id: str = "") -> None:
        """Refuse an offered contact."""
        self._send(requests.about("decline", contact, request_id))

    def end(self, contact: str, *, request_id: str = "") -> None:
        """The conversation is over."""
        self._send(requests.about("end", contact, request_id))

    def end_wrap_up(self, *, request_id: str = "") -> None:
        """The work after it is done."""
        self._send(requests.wrapped_up(request_id))

    def close(self) -> None:
        """Log out and hang up."""
        self._closed.set()
        self._send(agent_pb.ConnectRequest(goodbye=agent_pb.Goodbye()))
        self._out.put(None)
        for _ in range(1000):  # what is still on its way
            try:
                self._next()
            except (StopIteration, CallError):
                break

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
