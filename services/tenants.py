"""What the servicers work on: for each tenant its engine, and what the services keep beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from cordboard.acd import Acd
from cordboard.calls import config
from cordboard.errors import CordboardError, DeniedError
from cordboard.live import Engine, Outcome
from cordboard.live.access import Caller
from cordboard.live.inbox import Asked
from cordboard.live.models import Models
from cordboard.live.privacy import KeyStore, is_private
from cordboard.media.backend import Command, Dial
from cordboard.services.board import Board
from cordboard.services.calling import caller_of
from cordboard.services.calls_file import CallsFile
from cordboard.services.campaigns import Campaigns
from cordboard.services.feed import Feed
from cordboard.services.lines import Lines
from cordboard.services.lookups import Lookups
from cordboard.services.nodes import Nodes
from cordboard.services.outbound import Outbound
from cordboard.services.recordings import Shelf
from cordboard.services.waiting import Bell, Calls, Gathering, Mailbox, Reply

T = TypeVar("T")


class Tenant:
    """A tenant at work, for the servicers; in the loop in which it is made."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        calls: Calls,
        keys: KeyStore | None = None,
        telephony: config.Calls | None = None,
        shelf: Shelf | None = None,
        file: str = "",
    ) -> None:
        loop = asyncio.get_running_loop()
        self.name, self.engine, self.keys, self.shelf = name, engine, keys, shelf
        self.mailbox = Mailbox(loop)
        self._gathering = Gathering(engine, loop, calls)
        self.bell = Bell(engine, loop)
        self.feed = Feed(engine, loop)
        self.draining = False
        self.lines = Lines(self)
        self.outbound = Outbound(self, telephony or config.Calls())
        self.nodes = Nodes(self, telephony or config.Calls())
        self.calls_file = CallsFile(self, file)
        self.lookups = Lookups(self)
        self.board = Board(self)
        self.models = Models(engine.settings.tenant_folder(name) / "models")
        self.campaigns = Campaigns(engine.settings.tenant_folder(name) / "campaigns")

    def submit(
        self,
        event: dict[str, Any],
        request_id: str,
        actor: str,
        refusal: CordboardError | None = None,
        *,
        calm: bool = False,
    ) -> Reply[Outcome]:
        """Journal and apply one event, as ``private`` gives it. ``refusal``: see Engine.submit; ``calm``:
        Gathering.add."""
        if self.keys is not None and not is_private(event):
            raise RuntimeError(f"personal data in {event['event']} for a journal that is kept free of it")
        reply: Reply[Outcome] = Reply(self.mailbox)
        self._gathering.add(Asked(event, request_id, actor, reply, refusal), calm=calm)
        return reply

    async def private(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event for the journal: where personal data is kept apart, with subjects in the place of people."""
        if self.keys is None:
            return event
        found = self.keys.private(event)
        return found if isinstance(found, dict) else await asyncio.wrap_future(found)

    def shown(self, command: Command) -> Command:
        """A command for a media node, with numbers in the place of subjects."""
        if self.keys is None or not isinstance(command, Dial):
            return command
        return replace(command, to=self.keys.shown(command.to), caller=self.keys.shown(command.caller))

    def read(self, look: Callable[[Acd], T]) -> Reply[T]:
        """What a look at the core gives, between two events."""
        reply: Reply[T] = Reply(self.mailbox)
        self.engine.look(look, reply)
        return reply

    def settle(self, future: Future[T]) -> Reply[T]:
        """A future of the engine, to be awaited in the loop."""
        return self.mailbox.settle(future)

    def end_streams(self, error: CordboardError) -> None:
        """End the streams; that sets no agent away."""
        self.draining = True
        self.lines.shut(error)
        self.nodes.shut(error)
        self.lookups.shut(error)
        self.bell.close()
        self.feed.close()

    async def close(self) -> None:
        """Let go of the engine, which is its owner's to close."""
        self.draining = True
        self.bell.close()
        self.feed.close()
        await self.lines.stop()
        await self.nodes.stop()
        await self.lookups.stop()
        await self.outbound.stop()
        await asyncio.to_thread(self.models.close)
        await asyncio.to_thread(self.campaigns.close)
        if self.shelf is not None:
            await asyncio.to_thread(self.shelf.close)


class Tenants:
    """The tenants of a server. ``keys``: the stores of those whose personal data is kept apart. ``telephony``: the
    files of calls of those who have any, ``files`` where they are; ``shelves``: their recordings."""

    def __init__(
        self,
        engines: Mapping[str, Engine],
        keys: Mapping[str, KeyStore] | None = None,
        telephony: Mapping[str, config.Calls] | None = None,
        shelves: Mapping[str, Shelf] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        held, read, kept, paths = keys or {}, telephony or {}, shelves or {}, files or {}
        self.calls = Calls()
        self._tenants = {
            name: Tenant(name, engine, self.calls, held.get(name), read.get(name), kept.get(name), paths.get(name, ""))
            for name, engine in engines.items()
        }

    def __iter__(self) -> Iterator[Tenant]:
        return iter(self._tenants.values())

    def of(self, name: str) -> tuple[Tenant, Caller]:
        """The tenant of this name and who calls, if they belong to it; DeniedError otherwise, in the same words
        whether there is such a tenant or not."""
        caller = caller_of(name)
        found = self._tenants.get(name)
        if found is None:
            raise DeniedError("TENANT_OUT_OF_SCOPE", "that tenant is not this caller's")
        return found, caller

    async def close(self) -> None:
        """Let go of all."""
        for tenant in self._tenants.values():
            await tenant.close()
