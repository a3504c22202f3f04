"""PrivacyService: who subjects are, what is kept about them, and how they are forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from cordboard.errors import EventError, InputError, UnknownNameError, Where
from cordboard.journal import NAME_CHARACTERS_MAX
from cordboard.live import Entry
from cordboard.live.access import Caller, masked
from cordboard.live.core import event_of
from cordboard.live.privacy import KeyStore, about_subject, opened_event
from cordboard.services import names
from cordboard.services.tenants import Tenant, Tenants
from cordboard.services.translate import entry_message, timestamp
from cordboard.v1 import privacy_service_pb2 as pb

ENTRIES_AT_ONCE = 500


class PrivacyServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def FindSubject(self, request: pb.FindSubjectRequest, context: Any) -> pb.FindSubjectResponse:
        held, who = self._tenants.of(names.tenant_of(request.parent))
        who.require_all()
        if not 0 < len(request.customer) <= NAME_CHARACTERS_MAX:
            what = f"a customer of {len(request.customer)} characters"
            raise InputError(what, Where(key="customer"), f"Give 1 to {NAME_CHARACTERS_MAX}")
        store = keys_of(held)
        subject = store.known(request.customer)
        if subject is None:
            raise UnknownNameError("there is no such customer", Where(key="customer"), "It never was, or was erased")
        return pb.FindSubjectResponse(subject=subject_message(held, store, subject, None))

    async def GetSubject(self, request: pb.GetSubjectRequest, context: Any) -> pb.GetSubjectResponse:
        held, who, store, subject = self._subject(request.name)
        return pb.GetSubjectResponse(subject=subject_message(held, store, subject, who))

    async def ExportSubject(
        self, request: pb.ExportSubjectRequest, context: Any
    ) -> AsyncIterator[pb.ExportSubjectResponse]:
        held, who, store, subject = self._subject(request.name)
        who.require_all()
        yield pb.ExportSubjectResponse(subject=subject_message(held, store, subject, who))
        found = await asyncio.to_thread(kept_about, held, store, subject)
        for start in range(0, len(found), ENTRIES_AT_ONCE):
            entries = [entry_message(entry) for entry in found[start : start + ENTRIES_AT_ONCE]]
            yield pb.ExportSubjectResponse(entries=entries)

    async def EraseSubject(self, request: pb.EraseSubjectRequest, context: Any) -> pb.EraseSubjectResponse:
        held, who, store, subject = self._subject(request.name)
        who.require_all()
        kept = held.shelf
        if kept is not None and store.seen(subject) is not None:
            entries = await asyncio.to_thread(held.outbound.entries_of, subject)
            await asyncio.to_thread(kept.ask, lambda index: index.erase(subject, kept.folder, who.name, entries))
        if not await asyncio.wrap_future(store.erase(subject)):
            raise nobody()
        return pb.EraseSubjectResponse()

    def _subject(self, name: str) -> tuple[Tenant, Caller, KeyStore, str]:
        tenant, subject = names.split(name, "subjects", "name")
        held, who = self._tenants.of(tenant)
        return held, who, keys_of(held), subject


def keys_of(held: Tenant) -> KeyStore:
    """The tenant's key store. EventError if this server has none."""
    if held.keys is None:
        raise EventError("personal data is not kept apart here", hint="Start the server with --master-key")
    return held.keys


def nobody() -> UnknownNameError:
    return UnknownNameError("there is no such subject", Where(key="name"), "It never was, or was erased")


def subject_message(held: Tenant, store: KeyStore, subject: str, who: Caller | None) -> pb.Subject:
    """A subject, with its customer as ``who`` may see it; None leaves it out."""
    seen, customer = store.seen(subject), store.customer(subject)
    if seen is None or customer is None:
        raise nobody()
    return pb.Subject(
        name=names.resource(held.name, "subjects", subject),
        create_time=timestamp(seen[0]),
        seen_time=timestamp(seen[1]),
        customer=masked(customer, who) if who is not None else "",
    )


def kept_about(held: Tenant, store: KeyStore, subject: str) -> list[Entry]:
    """The rows of the journal about a subject's contacts and calls, without their effects."""
    events = ({**event_of(row), "row": row} for row in held.engine.rows())
    found = ((event.pop("row"), opened_event(event, store)) for event in about_subject(events, subject))
    return [Entry(row.revision, event["t"], event, (), None, row.actor, row.request_id) for row, event in found]
