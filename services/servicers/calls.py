"""CallService: what agents and supervisors do with calls. Each rpc is one event of the journal."""

from __future__ import annotations

from typing import Any

from cordboard.calls.state import Call
from cordboard.calls.switchboard import Switchboard
from cordboard.errors import CordboardError, DeniedError, InputError, StaleEventError, UnknownNameError, Where
from cordboard.live.access import Caller
from cordboard.services import names
from cordboard.services.call_messages import call_message, show_caller
from cordboard.services.calling import NOTES
from cordboard.services.paging import page
from cordboard.services.servicers.leads import LeadServicer
from cordboard.services.tenants import Tenant
from cordboard.services.translate import applied
from cordboard.v1 import call_service_pb2 as pb
from cordboard.v1.journal_pb2 import Applied

OUTCOMES = {
    pb.EndConsultRequest.OUTCOME_TRANSFER: "transfer",
    pb.EndConsultRequest.OUTCOME_CONFERENCE: "conference",
    pb.EndConsultRequest.OUTCOME_CANCEL: "cancel",
}
MODES = {pb.MONITOR_MODE_LISTEN: "listen", pb.MONITOR_MODE_WHISPER: "whisper", pb.MONITOR_MODE_BARGE: "barge"}


class CallServicer(LeadServicer):
    # ---- an agent's own conversation

    async def Hold(self, request: pb.HoldRequest, context: Any) -> pb.HoldResponse:
        return pb.HoldResponse(applied=await self._own(request, "call_held"))

    async def Resume(self, request: pb.ResumeRequest, context: Any) -> pb.ResumeResponse:
        return pb.ResumeResponse(applied=await self._own(request, "call_resumed"))

    async def Mute(self, request: pb.MuteRequest, context: Any) -> pb.MuteResponse:
        return pb.MuteResponse(applied=await self._own(request, "call_muted", on=request.on))

    async def Transfer(self, request: pb.TransferRequest, context: Any) -> pb.TransferResponse:
        fields = self._target(request)
        if request.HasField("priority"):
            fields["priority"] = request.priority
        return pb.TransferResponse(applied=await self._own(request, "call_transferred", **fields))

    async def Consult(self, request: pb.ConsultRequest, context: Any) -> pb.ConsultResponse:
        return pb.ConsultResponse(applied=await self._own(request, "call_consulted", **self._target(request)))

    async def EndConsult(self, request: pb.EndConsultRequest, context: Any) -> pb.EndConsultResponse:
        outcome = OUTCOMES.get(request.outcome)
        if outcome is None:
            raise InputError("no outcome", Where(key="outcome"), "TRANSFER, CONFERENCE or CANCEL")
        return pb.EndConsultResponse(applied=await self._own(request, "call_consult_ended", outcome=outcome))

    async def Park(self, request: pb.ParkRequest, context: Any) -> pb.ParkResponse:
        return pb.ParkResponse(applied=await self._own(request, "call_parked", slot=request.slot))

    async def PauseRecording(self, request: pb.PauseRecordingRequest, context: Any) -> pb.PauseRecordingResponse:
        return pb.PauseRecordingResponse(applied=await self._own(request, "call_recording", on=False))

    async def ResumeRecording(self, request: pb.ResumeRecordingRequest, context: Any) -> pb.ResumeRecordingResponse:
        return pb.ResumeRecordingResponse(applied=await self._own(request, "call_recording", on=True))

    async def HangUp(self, request: pb.HangUpRequest, context: Any) -> pb.HangUpResponse:
        return pb.HangUpResponse(applied=await self._own(request, "contact_ended"))

    async def PickUp(self, request: pb.PickUpRequest, context: Any) -> pb.PickUpResponse:
        tenant, agent = names.split(request.agent, "agents", "agent")
        held, who = self._tenants.of(tenant)
        who.require_agent(agent)

        def look(board: Switchboard | None) -> str | None:
            calls = board.state.calls.values() if board is not None else ()
            return next((call.queue for call in calls if call.slot == request.slot), None)

        queue = await held.settle(held.engine.read_calls(look))
        if queue is not None and not who.is_agent(agent):  # an agent must be in the queue itself, see Desk
            who.require_queue(queue)
        event = {"event": "call_picked_up", "slot": request.slot, "agent": agent}
        return pb.PickUpResponse(applied=applied(await held.submit(event, request.request_id, who.name)))

    # ---- supervisors

    async def Monitor(self, request: pb.MonitorRequest, context: Any) -> pb.MonitorResponse:
        mode = MODES.get(request.mode)
        if mode is None:
            raise InputError("no mode", Where(key="mode"), "LISTEN, WHISPER or BARGE")
        needed = "calls.monitor" if mode == "listen" else "calls.join"
        return pb.MonitorResponse(applied=await self._watch(request, "call_monitored", needed, mode=mode))

    async def StopMonitoring(self, request: pb.StopMonitoringRequest, context: Any) -> pb.StopMonitoringResponse:
        return pb.StopMonitoringResponse(applied=await self._watch(request, "call_unmonitored", "calls.monitor"))

    async def TakeOver(self, request: pb.TakeOverRequest, context: Any) -> pb.TakeOverResponse:
        return pb.TakeOverResponse(applied=await self._watch(request, "call_taken_over", "calls.join"))

    # ---- how they stand

    async def Get(self, request: pb.CallServiceGetRequest, context: Any) -> pb.CallServiceGetResponse:
        tenant, name = names.split(request.name, "calls", "name")
        held, who = self._tenants.of(tenant)

        def look(board: Switchboard | None) -> pb.Call:
            call = board.state.calls.get(name) if board is not None else None
            if board is None or call is None:
                raise UnknownNameError(f'there is no call "{name}"', Where(key="name"), "It is over, or never was")
            if not _sees(who, call):
                raise DeniedError("CALL_OUT_OF_SCOPE", "that call is not in this caller's scope")
            return call_message(tenant, board, call)

        call = await held.settle(held.engine.read_calls(look))
        return pb.CallServiceGetResponse(call=show_caller(held, call, who))

    async def List(self, request: pb.CallServiceListRequest, context: Any) -> pb.CallServiceListResponse:
        held, who = self._tenants.of(names.tenant_of(request.parent))

        def look(board: Switchboard | None) -> tuple[list[pb.Call], str]:
            if board is None:
                return [], ""
            seen = [call for call in board.state.calls.values() if _sees(who, call)]
            shown, token = page(seen, request.page_size, request.page_token)
            return [call_message(held.name, board, call) for call in shown], token

        calls, token = await held.settle(held.engine.read_calls(look))
        return pb.CallServiceListResponse(calls=[show_caller(held, call, who) for call in calls], next_page_token=token)

    # ---- how it is done

    async def _own(self, request: Any, kind: str, **fields: Any) -> Applied:
        """An event of a conversation whose agent the caller may act for."""
        held, who, contact, agent, refusal = await self._conversation(request.contact)
        if refusal is None:
            who.require_agent(agent)
        event = await held.private({"event": kind, "contact": contact, **fields})
        return applied(await held.submit(event, request.request_id, who.name, refusal))

    async def _watch(self, request: Any, kind: str, needed: str, **fields: str) -> Applied:
        """An event of a conversation that the caller may listen to. The audit log gets to know who and whom."""
        held, who, contact, agent, refusal = await self._conversation(request.contact)
        supervisor = request.supervisor or who.name
        NOTES.set({"agent": agent, "supervisor": supervisor, **fields})
        who.require(needed)
        if refusal is None:
            who.require_watched(agent)
        if supervisor != who.name:
            who.require_all()
        event = {"event": kind, "contact": contact, "supervisor": supervisor, **fields}
        return applied(await held.submit(event, request.request_id, who.name, refusal))

    async def _conversation(self, name: str) -> tuple[Tenant, Caller, str, str, CordboardError | None]:
        """The tenant, who calls, the contact, its agent; why it is not to be done if the contact is not here, which it
        may not be because of this very request."""
        tenant, contact = names.split(name, "contacts", "contact")
        held, who = self._tenants.of(tenant)

        def look(board: Switchboard | None) -> str | None:
            call = board.by_contact.get(contact) if board is not None else None
            return None if call is None else call.agent

        agent = await held.settle(held.engine.read_calls(look))
        what = f'contact "{contact}" is no call that is here'
        gone = StaleEventError(what, Where(key="contact"), "It has ended, or it is not a call")
        return held, who, contact, agent or "", gone if agent is None else None

    def _target(self, request: pb.TransferRequest | pb.ConsultRequest) -> dict[str, Any]:
        """The fields of the event that say to whom."""
        kind = request.WhichOneof("target")
        if kind is None:
            raise InputError("no target", Where(key="target"), "Say to whom")
        target = getattr(request, kind)
        if kind != "number":
            tenant, target = names.split(target, f"{kind}s", kind)
            self._tenants.of(tenant)
        return {f"to_{kind}": target}


def _sees(who: Caller, call: Call) -> bool:
    """Whether a call is in a caller's scope: by its queue or by its agent."""
    agent = call.agent or call.placed_by
    return who.covers_queue(call.queue) or bool(agent and who.covers_agent(agent))
