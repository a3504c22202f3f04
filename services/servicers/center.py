"""CenterService: the configuration, read, checked, compared and changed; and that of calls."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

from cordboard.calls.change import CallsChange, diff_calls
from cordboard.calls.config import Calls, calls_record
from cordboard.calls.switchboard import Switchboard
from cordboard.center import Center, parse_center
from cordboard.center_diff import CenterChange, diff_centers
from cordboard.errors import CallsError, CenterError, sentence
from cordboard.live.center_json import center_record, encode, etag_of
from cordboard.live.core import calls_etag
from cordboard.services import names
from cordboard.services.tenants import Tenants
from cordboard.services.translate import applied
from cordboard.v1 import center_service_pb2 as pb

FINDINGS_MAX = 1000
FILE = "center_toml"


class CenterServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def Get(self, request: pb.CenterServiceGetRequest, context: Any) -> pb.CenterServiceGetResponse:
        held, _ = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        center = held.engine.center
        return pb.CenterServiceGetResponse(center_json=encode(center_record(center)), etag=etag_of(center))

    async def Validate(self, request: pb.ValidateRequest, context: Any) -> pb.ValidateResponse:
        self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        try:
            center = await asyncio.to_thread(parse_center, request.center_toml, FILE)
        except CenterError as error:
            return pb.ValidateResponse(errors=[_finding(one) for one in (error.errors or (error,))[:FINDINGS_MAX]])
        return pb.ValidateResponse(
            warnings=[one.text("en") for one in center.warnings],
            chinese_warnings=[one.text("zh") for one in center.warnings],
            etag=etag_of(center),
        )

    async def Diff(self, request: pb.DiffRequest, context: Any) -> pb.DiffResponse:
        held, _ = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        center = await asyncio.to_thread(parse_center, request.center_toml, FILE)
        return pb.DiffResponse(changes=differences(held.engine.center, center), etag=held.engine.etag)

    async def Apply(self, request: pb.ApplyRequest, context: Any) -> pb.ApplyResponse:
        held, who = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        who.require_all()
        center = await asyncio.to_thread(parse_center, request.center_toml, FILE)
        future = held.engine.change_center(center, etag=request.etag, request_id=request.request_id, actor=who.name)
        return pb.ApplyResponse(applied=applied(await held.settle(future)), etag=etag_of(center))

    async def GetCalls(self, request: pb.GetCallsRequest, context: Any) -> pb.GetCallsResponse:
        held, _ = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        return await held.settle(held.engine.read_calls(_calls_in_force))

    async def CheckCalls(self, request: pb.CheckCallsRequest, context: Any) -> pb.CheckCallsResponse:
        held, _ = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        try:
            calls = await held.calls_file.read()
        except CallsError as error:
            found = [_finding(one) for one in (error.errors or (error,))[:FINDINGS_MAX]]
            return pb.CheckCallsResponse(errors=found, etag=held.engine.calls_etag)
        return pb.CheckCallsResponse(
            warnings=[one.text("en") for one in calls.warnings],
            chinese_warnings=[one.text("zh") for one in calls.warnings],
            changes=[_calls_change(one) for one in diff_calls(held.outbound.calls, calls)],
            etag=held.engine.calls_etag,
            new_etag=calls_etag(calls),
        )

    async def ReloadCalls(self, request: pb.ReloadCallsRequest, context: Any) -> pb.ReloadCallsResponse:
        held, who = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        who.require_all()
        done = await held.calls_file.reload(etag=request.etag, request_id=request.request_id, actor=who.name)
        return pb.ReloadCallsResponse(applied=applied(done), etag=held.engine.calls_etag)


def _calls_in_force(board: Switchboard | None) -> pb.GetCallsResponse:
    calls = Calls() if board is None else board.calls
    return pb.GetCallsResponse(calls_json=encode(calls_record(calls)), etag=calls_etag(calls))


def _calls_change(one: CallsChange) -> pb.CenterChange:
    told = one.kind == "changed" and (one.old is not None or one.new is not None)
    return pb.CenterChange(
        kind=pb.CenterChange.Kind.Value(f"KIND_{one.kind.upper()}"),
        key=one.key,
        old_json=_json(one.old) if told else "",
        new_json=_json(one.new) if told else "",
        english_text=one.text("en"),
        chinese_text=one.text("zh"),
    )


def _finding(error: CenterError) -> pb.CenterFinding:
    where = error.where
    return pb.CenterFinding(
        line=where.line or 0,
        key=where.key or "",
        what=error.what,
        hint=error.hint,
        chinese_what=sentence(error.what, "zh"),
        chinese_hint=sentence(error.hint, "zh"),
    )


def differences(old: Center, new: Center) -> list[pb.CenterChange]:
    """What turns one center into the other."""
    return [_change(one) for one in diff_centers(old, new)]


def _change(one: CenterChange) -> pb.CenterChange:
    changed = one.kind == "changed"
    place = "" if one.what == "center" else f"{one.what}s"
    return pb.CenterChange(
        kind=pb.CenterChange.Kind.Value(f"KIND_{one.kind.upper()}"),
        key=".".join(part for part in (place, one.name, one.field) if part),
        old_json=_json(one.old) if changed else "",
        new_json=_json(one.new) if changed else "",
        english_text=one.text("en"),
        chinese_text=one.text("zh"),
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=dataclasses.asdict)
