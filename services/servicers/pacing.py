"""PacingService: observations of a campaign in, plans out; by stream, and by columns."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard import Pacer
from cordboard.errors import InputError, LimitError, Where
from cordboard.pacing.modes import Asked, Limits
from cordboard.pacing.pacer import Leads, Plan
from cordboard.services import names
from cordboard.services.calling import caller
from cordboard.services.tenants import Tenants
from cordboard.services.translate import seconds_of, timestamp
from cordboard.v1 import pacing_service_pb2 as pb

OBSERVATIONS_MAX = 10_000  # in one message of a stream
ROWS_MAX = 1_000_000  # in columns
MANY = 1 << 20  # leads of a group without a count

_MODES: dict[int, Asked] = {
    pb.PacingPlanConfig.MODE_UNSPECIFIED: "predictive",
    pb.PacingPlanConfig.MODE_PREDICTIVE: "predictive",
    pb.PacingPlanConfig.MODE_POWER: "power",
    pb.PacingPlanConfig.MODE_PROGRESSIVE: "progressive",
    pb.PacingPlanConfig.MODE_PREVIEW: "preview",
}
_STATES = ("away", "idle", "talk", "wrap_up")
_CALLS = (
    "placed", "ringing", "answered", "connected", "dropped", "hung_up", "failed", "invalid", "machine", "cancelled",
)  # fmt: skip


class PacingServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def Pace(self, requests: AsyncIterator[pb.PaceRequest], context: Any) -> AsyncIterator[pb.PaceResponse]:
        caller()
        first = await anext(requests, None)
        if first is None or not first.HasField("open"):
            raise InputError("the first message does not open the campaign", Where(key="open"), "Send open first")
        if first.open.campaign:
            tenant, name = names.split(first.open.campaign, "campaigns", "open.campaign")
            held, _ = self._tenants.of(tenant)
            campaign = await asyncio.to_thread(held.campaigns.get, name, first.open, Pacing)
            stream = campaign.take_over()
            yield pb.PaceResponse(sequence=campaign.sequence)
            async for request in requests:
                _check(request)
                plan = await asyncio.to_thread(campaign.tell, stream, request)
                if plan is not None:
                    yield plan
            return
        pacing = Pacing(first.open)
        async for request in requests:
            _check(request)
            plan = pacing.take(request)
            if plan is not None:
                yield plan

    async def PaceColumns(self, request: pb.PaceColumnsRequest, context: Any) -> pb.PaceColumnsResponse:
        caller()
        return await asyncio.to_thread(_paced, request)


class Pacing:
    """A campaign at work: messages in, plans out."""

    def __init__(self, config: pb.PacingPlanConfig) -> None:
        self._pacer = pacer_of(config)

    def take(self, request: pb.PaceRequest) -> pb.PaceResponse | None:
        """Do what a message says; the plan that it asks for, if it does."""
        for index, observation in enumerate(request.observations):
            self._pacer.observe(_observed(observation, f"observations[{index}]"))
        return _message(_asked(self._pacer, request.question)) if request.HasField("question") else None


def _check(request: pb.PaceRequest) -> None:
    if request.HasField("open"):
        raise InputError("a campaign is opened once", Where(key="open"), "Leave it out")
    if len(request.observations) > OBSERVATIONS_MAX:
        what = f"{len(request.observations)} observations in one message"
        raise LimitError(what, OBSERVATIONS_MAX, "Send them in parts")


def pacer_of(config: pb.PacingPlanConfig) -> Pacer:
    """The pacer that a configuration asks for. InputError names the field."""
    limits = Limits(
        lines=config.max_lines or None,
        calls_per_second=config.max_calls_per_second or None,
        lines_per_agent=config.max_lines_per_agent or None,
        ratio=config.power_ratio or 1.5,
        reserve=config.reserved_agents,
    )
    mode = _MODES.get(config.mode)
    if mode is None:
        raise InputError(f"mode {config.mode} is not known", Where(key="mode"), "See pacing_service.proto")
    start = seconds_of(config.start_time, "start_time") if config.HasField("start_time") else 0.0
    target = config.target or 0.03
    return Pacer(target=target, mode=mode, limits=limits, start=start, time_zone=config.time_zone or "UTC")


def _observed(message: pb.PacingObservation, key: str) -> dict[str, Any]:
    """An observation as the pacer takes it."""
    t = seconds_of(message.time, f"{key}.time")
    kind = message.WhichOneof("kind")
    if kind == "agent":
        one = message.agent
        return {"t": t, "event": "agent", "agent": one.agent, "state": one.state, "leaving": one.leaving}
    if kind == "call":
        call = message.call
        p = _share(call.answer_probability, key) if call.HasField("answer_probability") else None
        return {"t": t, "event": "call", "call": call.call, "is": call.event, "p": p, "group": call.group}
    if kind == "inbound_waiting":
        return {"t": t, "event": "inbound", "waiting": message.inbound_waiting}
    if kind == "alive":
        return {"t": t, "event": "alive"}
    raise InputError("an empty observation", Where(key=key), "Set one of its kinds")


def _share(p: float, key: str) -> float:
    if not 0.0 <= p <= 1.0:
        raise InputError(f"{p} is no probability", Where(key=f"{key}.answer_probability"), "Give 0 to 1")
    return p


def _asked(pacer: Pacer, question: pb.PacingQuestion) -> Plan:
    leads = [
        Leads(
            _share(one.answer_probability, "leads") if one.HasField("answer_probability") else None, one.count or MANY
        )
        for one in question.leads
    ]
    return pacer.plan(seconds_of(question.time, "question.time"), leads or (Leads(),))


def _message(plan: Plan) -> pb.PaceResponse:
    return pb.PaceResponse(
        number=plan.number,
        dial_counts=plan.dial,
        call_ids=plan.ids,
        cancel_calls=[str(call) for call in plan.cancel],
        look_time=timestamp(plan.look),
        mode=plan.mode,
        reason=plan.reason,
        english_text=plan.en,
        chinese_text=plan.zh,
        wanted_count=plan.wanted,
        drops_left=plan.drops_left,
    )


def _column(request: pb.PaceColumnsRequest, name: str, dtype: str, rows: int) -> npt.NDArray[Any]:
    raw: bytes = getattr(request, name)
    size = np.dtype(dtype).itemsize
    if len(raw) != rows * size:
        raise InputError(f"{len(raw)} bytes for {rows} observations", Where(key=name), f"Give {size} bytes each")
    return np.frombuffer(raw, dtype)


def _paced(request: pb.PaceColumnsRequest) -> pb.PaceColumnsResponse:
    """Every plan that the observations ask for."""
    rows, left = divmod(len(request.time), 8)
    if left or not rows:
        raise InputError(f"{len(request.time)} bytes are no float64s", Where(key="time"), "8 bytes each, one at least")
    if rows > ROWS_MAX:
        raise LimitError(f"{rows} observations", ROWS_MAX, "Send them in parts")
    times = _column(request, "time", "<f8", rows)
    kinds = _column(request, "kind", "<i4", rows)
    subjects = _column(request, "subject", "<i8", rows)
    whats = _column(request, "what", "<i4", rows)
    shares = (
        _column(request, "answer_probability", "<f8", rows) if request.answer_probability else np.full(rows, np.nan)
    )
    pacer, plans = pacer_of(request.config), list[Plan]()
    for t, kind, subject, what, p in zip(
        times.tolist(), kinds.tolist(), subjects.tolist(), whats.tolist(), shares.tolist(), strict=True
    ):
        if kind == 4:
            plans.append(pacer.plan(t))
        elif kind == 1 and 0 <= what < len(_STATES):
            pacer.observe({"t": t, "event": "agent", "agent": subject, "state": _STATES[what]})
        elif kind == 2 and 0 <= what < len(_CALLS):
            share = None if math.isnan(p) else _share(p, "answer_probability")
            pacer.observe({"t": t, "event": "call", "call": subject, "is": _CALLS[what], "p": share})
        elif kind == 3:
            pacer.observe({"t": t, "event": "inbound", "waiting": subject})
        elif kind == 0:
            pacer.observe({"t": t, "event": "alive"})
        else:
            raise InputError(f"kind {kind} with what {what}", Where(key="what"), "See pacing_service.proto")
    return pb.PaceColumnsResponse(
        time=np.array([plan.at for plan in plans], "<f8").tobytes(),
        dial_count=np.array([sum(plan.dial) for plan in plans], "<i4").tobytes(),
        cancel_count=np.array([len(plan.cancel) for plan in plans], "<i4").tobytes(),
        look_time=np.array([plan.look for plan in plans], "<f8").tobytes(),
        drops_left=np.array([plan.drops_left for plan in plans], "<i4").tobytes(),
    )
