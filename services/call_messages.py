"""Calls as messages."""

from __future__ import annotations

from cordboard.calls.state import Call, Leg
from cordboard.calls.switchboard import Switchboard
from cordboard.live.access import Caller, masked, masked_within
from cordboard.services import names
from cordboard.services.tenants import Tenant
from cordboard.v1 import call_service_pb2 as pb


def call_message(tenant: str, board: Switchboard, call: Call) -> pb.Call:
    """A call with its legs; its caller as the journal has it, for ``show_caller``."""

    def named(collection: str, name: str) -> str:
        return names.resource(tenant, collection, name) if name else ""

    return pb.Call(
        name=named("calls", call.name),
        stage=pb.Call.Stage.Value(f"STAGE_{call.stage.upper()}"),
        number=call.number,
        caller=call.caller,
        queue=named("queues", call.queue),
        contact=named("contacts", call.contact),
        agent=named("agents", call.agent),
        slot=call.slot,
        recording=call.recording,
        recording_paused=call.paused,
        legs=[_leg(board.state.legs[name], call) for name in call.legs],
        placed_by=named("agents", call.placed_by),
        transcript=[pb.CallLine(who=who, text=text) for who, text in call.transcript],
    )


def show_caller(held: Tenant, call: pb.Call, who: Caller) -> pb.Call:
    """The same call, with its caller and its transcript as ``who`` may see them."""
    keys = held.keys
    call.caller = masked(keys.shown(call.caller) if keys is not None else call.caller, who)
    for line in call.transcript:
        line.text = masked_within(keys.opened(line.text) if keys is not None else line.text, who)
    return call


def _leg(leg: Leg, call: Call) -> pb.CallLeg:
    return pb.CallLeg(
        leg=leg.name,
        role=pb.CallLeg.Role.Value(f"ROLE_{leg.role.upper()}"),
        phase=pb.CallLeg.Phase.Value(f"PHASE_{leg.phase.upper()}"),
        person=leg.person,
        held=leg.held,
        muted=leg.muted,
        consulted=leg.name == call.consult,
        mode=pb.MonitorMode.Value(f"MONITOR_MODE_{(leg.mode or 'unspecified').upper()}"),
        hears=leg.heard,
        prompts=leg.play[0],
    )
