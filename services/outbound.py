"""The campaigns of one tenant: its book of numbers, and who dials."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cordboard.calls.config import Calls
from cordboard.campaigns.book import BOOK, Book
from cordboard.campaigns.dialer import Dialer
from cordboard.campaigns.listing import Problem, Row, block_rows, import_rows, plain, zone_of
from cordboard.center import serves
from cordboard.errors import CordboardError, EventError, InputError, UnavailableError, UnknownNameError, Where
from cordboard.journal import nearest

if TYPE_CHECKING:
    from cordboard.services.tenants import Tenant

log = logging.getLogger(__name__)


class Outbound:
    """See above. ``calls``: the file of calls; without campaigns in it there is no book."""

    def __init__(self, tenant: Tenant, calls: Calls) -> None:
        self._tenant, self.calls = tenant, calls
        self._dialer: Dialer | None = None
        self._book: Book | None = None
        self._starting: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        if self.calls.campaigns and self._book is None:
            folder = self._tenant.engine.settings.tenant_folder(self._tenant.name)
            self._book = Book(folder / BOOK)
            self._starting = asyncio.get_running_loop().create_task(self._start(self._book))

    async def change(self, calls: Calls) -> None:
        """Go over to another file of calls, which the engine has taken over."""
        await self.ready()
        self.calls = calls
        if self._dialer is not None:
            await asyncio.to_thread(self._dialer.change, calls)
        self._begin()

    async def _start(self, book: Book) -> None:
        """The journal may have to be read for it."""
        try:
            self._dialer = await asyncio.to_thread(Dialer, self._tenant.engine, self.calls, book)
            self._dialer.start()
        except CordboardError:
            log.exception("campaigns can't dial")

    async def ready(self) -> None:
        """Comes back when whoever dials has started."""
        if self._starting is not None:
            await self._starting

    def number(self, campaign: str, entry: str) -> str:
        """The number of an entry of a list (or its subject); empty if there is none."""
        return self._book.number(campaign, entry) if self._book is not None else ""

    def entries_of(self, number: str) -> list[tuple[str, str]]:
        """Where a number (or its subject) stands in lists: campaign and entry. Waits for the disk."""
        return self._book.entries_of(number) if self._book is not None else []

    def queue_of(self, campaign: str) -> str:
        """The queue whose agents take a campaign's answers. UnknownNameError if there is no such campaign."""
        found = self.calls.campaigns.get(campaign)
        if found is None:
            hint = nearest(campaign, self.calls.campaigns)
            raise UnknownNameError(f'there is no campaign "{campaign}"', Where(key="name"), hint)
        return found.queue

    @property
    def dialer(self) -> Dialer:
        """Who dials. UnavailableError before it has started."""
        if self._dialer is None:
            raise UnavailableError("campaigns are not ready", "starting")
        return self._dialer

    def import_rows(self, campaign: str, rows: Sequence[Row]) -> tuple[int, list[Problem]]:
        """Put rows into a list; how many are new, and what is wrong with the others. Waits for the disk."""
        found, dialer = self.calls.campaigns[campaign], self.dialer
        zone = found.time_zone or self._tenant.engine.center.time_zone
        if self._tenant.keys is not None:  # what else is known of a person is not kept
            rows = [Row(row.line, row.number, row.time_zone) for row in rows]
        result = import_rows(dialer.book, campaign, rows, found.zones, zone, self._kept_as, self._marks)
        dialer.renew(campaign)
        return result

    def manual(self, asked: str, agent: str) -> str:
        """The campaign for a number that an agent dials: the one that is asked for, or the first that fits."""
        if asked:
            self.queue_of(asked)
            return asked
        center = self._tenant.engine.center
        queues = {one.name: one for one in center.queues}
        person = next((one for one in center.agents if one.name == agent), None)
        for name, one in self.calls.campaigns.items():
            queue = queues.get(one.queue)
            if one.mode == "manual" and person is not None and queue is not None and serves(person, queue):
                return name
        hint = 'Put one with mode = "manual" into the file of calls'
        raise EventError("no campaign of this agent is for numbers that agents dial", Where(key="campaign"), hint)

    def entry_for(self, campaign: str, number: str) -> str:
        """The entry of a number that an agent dials; new in the list if need be. Waits for the disk."""
        found, dialed = self.calls.campaigns[campaign], plain(number)
        if not dialed:
            hint = "Give digits, with a plus in front if you like"
            raise InputError("that is not a number that can be dialed", Where(key="number"), hint)
        zone = zone_of(dialed, found.zones, found.time_zone or self._tenant.engine.center.time_zone)
        return str(self.dialer.book.put(campaign, self._kept_as([dialed])[0], zone))

    def known(self, campaign: str, entry: str) -> tuple[str, str, str]:
        """Number, time zone, and what else a list says of an entry. Waits for the disk."""
        book = self.dialer.book
        number, zone = book.zone_of(campaign, int(entry)) if entry.isdigit() else ("", "")
        return self.shown(number), zone, book.about(campaign, entry)

    def block_rows(self, rows: Sequence[Row]) -> tuple[int, list[Problem]]:
        """Numbers that are not to be called any more; as ``import_rows``."""
        return block_rows(self.dialer.book, rows, self._kept_as, self._marks)

    def _kept_as(self, numbers: Sequence[str]) -> Sequence[str]:
        """Where personal data is kept apart, subjects stand for numbers."""
        keys = self._tenant.keys
        if keys is None:
            return numbers
        return [subject.result() for subject in [keys.subject(number) for number in numbers]]

    def _marks(self, numbers: Sequence[str]) -> Sequence[str]:
        """What stays of them in the list of those who must not be called."""
        keys = self._tenant.keys
        return numbers if keys is None else [keys.mark(number) for number in numbers]

    def shown(self, number: str) -> str:
        """The number for which something stands in the book; empty if the person was erased."""
        keys = self._tenant.keys
        return number if keys is None else keys.shown(number)

    async def stop(self) -> None:
        """Dial no more; calls go on."""
        await self.ready()
        if self._dialer is not None:
            await asyncio.to_thread(self._dialer.close)
        if self._book is not None:
            self._book.close()
