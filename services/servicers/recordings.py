"""RecordingService: recordings, found and heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Literal

from cordboard.errors import DeniedError, EventError, InputError, UnknownNameError, Where
from cordboard.live.access import ALL, Caller, masked
from cordboard.recordings.container import wav_stream
from cordboard.recordings.index import Found, Wanted
from cordboard.services import names
from cordboard.services.calling import NOTES
from cordboard.services.paging import bounds
from cordboard.services.recordings import Shelf
from cordboard.services.tenants import Tenant, Tenants
from cordboard.services.translate import duration, timestamp
from cordboard.v1 import recording_service_pb2 as pb

PART = 64 * 1024
REASON_MAX = 1000
PURGE_MAX = 200  # in one call: their names stand in one record of the audit log


class RecordingServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def ListRecordings(self, request: pb.ListRecordingsRequest, context: Any) -> pb.ListRecordingsResponse:
        held, who = self._tenants.of(names.tenant_of(request.parent))
        if request.caller and not who.has("numbers.read"):
            raise DeniedError("PERMISSION_MISSING", "to look for a number needs the permission numbers.read")
        _, size = bounds(request.page_size, "")
        after = place_of(request.page_token)
        wanted = wish(held, request)
        if wanted.person:
            entries = await asyncio.to_thread(held.outbound.entries_of, wanted.person)
            wanted = replace(wanted, entries=entries)
        queues = None if who.queues == ALL else sorted(who.queues)
        agents = None if who.teams == ALL else sorted({*who.agents, who.name})

        found = await asyncio.to_thread(
            shelf(held).ask,
            lambda index: index.find(wanted, queues=queues, agents=agents, after=after, limit=size + 1),
        )
        shown = [message(held, who, one) for one in found[:size]]
        token = f"{found[size - 1].revision}:{found[size - 1].recording}" if len(found) > size else ""
        return pb.ListRecordingsResponse(recordings=shown, next_page_token=token)

    async def GetRecording(self, request: pb.GetRecordingRequest, context: Any) -> pb.GetRecordingResponse:
        held, who, found = await self._found(request.name)
        return pb.GetRecordingResponse(recording=message(held, who, found))

    async def PlayRecording(
        self, request: pb.PlayRecordingRequest, context: Any
    ) -> AsyncIterator[pb.PlayRecordingResponse]:
        held, _, found = await self._found(request.name)
        kept = shelf(held)
        if not kept.opens:
            raise EventError("recordings can't be opened here", hint="Start it with --recordings and --recordings-key")
        try:
            reading = await asyncio.to_thread(kept.read, found)
        except InputError as error:
            raise UnknownNameError(error.what, Where(key="name"), error.hint) from None
        parts = wav_stream(reading)
        while part := await asyncio.to_thread(next, parts, b""):
            for start in range(0, len(part), PART):
                yield pb.PlayRecordingResponse(content=part[start : start + PART])
        if reading.state == "damaged":
            raise EventError("the recording was changed from here on", Where(key="name"), "Take it from a backup")

    async def HoldRecording(self, request: pb.HoldRecordingRequest, context: Any) -> pb.HoldRecordingResponse:
        held, who, found = await self._found(request.name)
        if not 0 < len(request.reason) <= REASON_MAX:
            what = f"a reason of {len(request.reason)} characters"
            raise InputError(what, Where(key="reason"), f"Say why, in 1 to {REASON_MAX} characters")
        NOTES.set({"reason": request.reason})
        kept = await asyncio.to_thread(
            shelf(held).ask, lambda index: index.hold(found.recording, who.name, request.reason)
        )
        return pb.HoldRecordingResponse(recording=message(held, who, kept))

    async def ReleaseRecording(self, request: pb.ReleaseRecordingRequest, context: Any) -> pb.ReleaseRecordingResponse:
        held, who, found = await self._found(request.name)
        kept = await asyncio.to_thread(shelf(held).ask, lambda index: index.release(found.recording))
        return pb.ReleaseRecordingResponse(recording=message(held, who, kept))

    async def PurgeRecordings(self, request: pb.PurgeRecordingsRequest, context: Any) -> pb.PurgeRecordingsResponse:
        held, who = self._tenants.of(names.tenant_of(request.parent))
        who.require_all()
        kept = shelf(held)
        if kept.folder is None:
            raise EventError("recordings can't be deleted here", hint="Start it with --recordings")
        gone, stay, left = await asyncio.to_thread(kept.purge, who.name, PURGE_MAX, request.validate_only)
        NOTES.set({"would_delete" if request.validate_only else "deleted": " ".join(gone), "held": str(stay)})
        shown = [names.resource(held.name, "recordings", one) for one in gone]
        return pb.PurgeRecordingsResponse(recordings=shown, held_count=stay, left_count=left)

    async def _found(self, name: str) -> tuple[Tenant, Caller, Found]:
        tenant, recording = names.split(name, "recordings", "name")
        held, who = self._tenants.of(tenant)
        found = await asyncio.to_thread(shelf(held).ask, lambda index: index.get(recording))
        if found.queue is not None:
            who.require_queue(found.queue)
        if found.agent is not None:
            who.require_visible(found.agent)
        elif not who.unlimited:
            raise DeniedError("SCOPE_TOO_NARROW", "this needs the whole tenant in scope")
        if found.deleted_at is not None:
            raise UnknownNameError("the recording is deleted", Where(key="name"), "Its time was over, or it was erased")
        return held, who, found


def shelf(held: Tenant) -> Shelf:
    """The tenant's recordings. EventError if this server keeps no records."""
    if held.shelf is None:
        raise EventError("no records are kept here", hint="Start the server without --records off")
    return held.shelf


def place_of(token: str) -> tuple[int, str]:
    """Behind which recording a page begins: its revision and its name. InputError for a token not of ours."""
    revision, _, recording = (token or "0:").partition(":")
    if not (revision.isascii() and revision.isdigit() and len(revision) < 19):
        raise InputError("not a page_token of this server", Where(key="page_token"), "Give the next_page_token")
    return int(revision), recording


def wish(held: Tenant, request: pb.ListRecordingsRequest) -> Wanted:
    """What a request looks for."""

    def time_of(key: Literal["start_time", "end_time", "min_length", "max_length"]) -> float | None:
        value = getattr(request, key)
        return value.seconds + value.nanos / 1e9 if request.HasField(key) else None

    person = request.caller
    if person and held.keys is not None:
        person = held.keys.known(person) or "nobody"  # no subject is called so
    return Wanted(
        queue=request.queue or None,
        agent=request.agent or None,
        contact=request.contact or None,
        state=request.state or None,
        outcome=request.outcome or None,
        person=person or None,
        since=time_of("start_time"),
        until=time_of("end_time"),
        longer=time_of("min_length"),
        shorter=time_of("max_length"),
        deleted=False,
    )


def message(held: Tenant, who: Caller, found: Found) -> pb.Recording:
    """A recording, as ``who`` may see it."""
    caller = found.caller or ""
    return pb.Recording(
        name=names.resource(held.name, "recordings", found.recording),
        contact=found.contact or "",
        queue=found.queue or "",
        agent=found.agent or "",
        caller=masked(held.keys.shown(caller) if held.keys is not None else caller, who),
        number=found.number or "",
        campaign=found.campaign or "",
        node=found.node,
        start_time=timestamp(found.began_at),
        length=None if found.seconds is None else duration(found.seconds),
        missing=duration(found.missing) if found.missing else None,
        state=found.state,
        outcome=found.outcome or "",
        keep_time=None if found.keep_until is None else timestamp(found.keep_until),
        held=found.held_at is not None,
    )
