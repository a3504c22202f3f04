"""CenterService: the configuration, read, checked, compared and changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cordboard.center import Center, parse_center
from cordboard.errors import CenterError
from cordboard.live.center_json import center_record, encode, etag_of
from cordboard.services import names
from cordboard.services.tenants import Tenants
from cordboard.services.translate import applied
from cordboard.v1 import center_service_pb2 as pb

FINDINGS_MAX = 1000
FILE = "center_toml"

Change = pb.CenterChange


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
        return pb.ValidateResponse(warnings=[str(one) for one in center.warnings], etag=etag_of(center))

    async def Diff(self, request: pb.DiffRequest, context: Any) -> pb.DiffResponse:
        held, _ = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        center = await asyncio.to_thread(parse_center, request.center_toml, FILE)
        return pb.DiffResponse(changes=differences(held.engine.center, center), etag=held.engine.etag)

    async def Apply(self, request: pb.ApplyRequest, context: Any) -> pb.ApplyResponse:
        held, who = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        center = await asyncio.to_thread(parse_center, request.center_toml, FILE)
        future = held.engine.change_center(center, etag=request.etag, request_id=request.request_id, actor=who.name)
        return pb.ApplyResponse(applied=applied(await held.settle(future)), etag=etag_of(center))


def _finding(error: CenterError) -> pb.CenterFinding:
    where = error.where
    return pb.CenterFinding(line=where.line or 0, key=where.key or "", what=error.what, hint=error.hint)


def differences(old: Center, new: Center) -> list[pb.CenterChange]:
    """What turns one center into the other: whole queues and agents that come and go, fields of those that stay."""
    before, after = center_record(old), center_record(new)
    found: list[pb.CenterChange] = []
    for kind in ("queues", "agents"):
        olds, news = ({one["name"]: one for one in record.pop(kind)} for record in (before, after))
        found += [_removed(f"{kind}.{name}", olds[name]) for name in olds if name not in news]
        for name in olds:
            if name in news:
                found += _changed(f"{kind}.{name}.", olds[name], news[name])
        found += [_added(f"{kind}.{name}", news[name]) for name in news if name not in olds]
        common = [name for name in olds if name in news]
        if common != [name for name in news if name in olds]:  # the order of the file decides ties
            found.append(Change(kind=Change.KIND_CHANGED, key=f"{kind}.order", new_json=_json(list(news))))
    return found + list(_changed("", before, after))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _removed(key: str, value: Any) -> pb.CenterChange:
    return Change(kind=Change.KIND_REMOVED, key=key, old_json=_json(value))


def _added(key: str, value: Any) -> pb.CenterChange:
    return Change(kind=Change.KIND_ADDED, key=key, new_json=_json(value))


def _changed(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[pb.CenterChange]:
    for field, value in old.items():
        if new[field] != value:
            yield Change(
                kind=Change.KIND_CHANGED, key=prefix + field, old_json=_json(value), new_json=_json(new[field])
            )
