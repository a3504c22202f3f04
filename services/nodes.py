"""Media nodes: who is attached, what each is to do, and what happens when one is not heard any more.

A node is alive while it is heard. Silence, or a connection that died without a goodbye, is waited out for
:data:`SILENT_S`; then the journal gets ``node_lost``, and all its legs have ended. After a restart of the server nodes
that were attached get :data:`RETURN_S` to come back: their conversations go on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cordboard.calls.config import Calls
from cordboard.calls.switchboard import Switchboard
from cordboard.calls.translate import commands_of, event_of
from cordboard.errors import ConflictError, CordboardError, JournalError, SlowReaderError, UnavailableError
from cordboard.live import Outcome, Subscription
from cordboard.media.backend import Report
from cordboard.services.media_messages import command_message
from cordboard.services.secret_keys import SecretKeys, secret_legs
from cordboard.v1 import media_service_pb2 as pb

if TYPE_CHECKING:
    from cordboard.services.tenants import Tenant

SILENT_S = 1.5  # so that its legs have ended two seconds after it was heard last
RETURN_S = 10.0
OUTBOX_MAX = 10_000  # messages that wait for one node
REPORTS_MAX = 10_000  # of one node that are not in the journal yet
TOGETHER_MAX = 256  # reports in a message, and commands in one
RETRY_S = 0.2

log = logging.getLogger(__name__)


class Wire:
    """One node's connection: what waits to be sent, and when it was heard last."""

    def __init__(self, node: str, run: str, loop: asyncio.AbstractEventLoop) -> None:
        self.node, self.run = node, run
        self.ended: CordboardError | None = None
        self.said_goodbye = self.silent = False
        self.secrets = SecretKeys(node)
        self._loop = loop
        self._outbox: asyncio.Queue[pb.AttachResponse | None] = asyncio.Queue()
        self._watch: asyncio.TimerHandle | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.reports: asyncio.Queue[tuple[int, Awaitable[Outcome]]] = asyncio.Queue(REPORTS_MAX)
        self.heard()

    def heard(self) -> None:
        """The node has sent something."""
        self.until = self._loop.time() + SILENT_S

    def put(self, message: pb.AttachResponse) -> None:
        """Send a message. A node that does not read loses the connection."""
        if self._outbox.qsize() >= OUTBOX_MAX:
            self.end(SlowReaderError(message.commands.revision, OUTBOX_MAX))
        else:
            self._outbox.put_nowait(message)

    def end(self, error: CordboardError | None = None) -> None:
        """Send what waits and then nothing more; ``error`` is how the stream ends."""
        self.ended = self.ended or error
        self._outbox.put_nowait(None)

    def watch(self) -> None:
        """Whether the node is silent: once in the time that it may be, and not with each message."""
        if self._loop.time() >= self.until:
            self.silent = True
            self.end(UnavailableError("the media node was silent for too long", "silent"))
        else:
            self._watch = self._loop.call_at(self.until, self.watch)

    async def next(self) -> pb.AttachResponse | None:
        """The next message to send; None at the end. Silence is an end."""
        return None if self.silent else await self._outbox.get()

    def close(self) -> None:
        """Nobody looks after it any more."""
        for task in self.tasks:
            task.cancel()
        if self._watch is not None:
            self._watch.cancel()


class Nodes:
    """The media nodes of one tenant. ``calls``: its file of calls, which knows the addresses of phones."""

    def __init__(self, tenant: Tenant, calls: Calls) -> None:
        self._tenant, self.calls = tenant, calls
        self._wires: dict[str, Wire] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.keep(self._await_return())

    def change(self, calls: Calls, before: Calls) -> None:
        """Go over to another file of calls. Phones of the one ``before`` that it has no more may be dialed by what was
        decided already."""
        self.calls = replace(calls, phones={**before.phones, **calls.phones})

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside; a task that nobody holds may be forgotten before it is done."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def open(self, hello: pb.NodeHello, node: str, actor: str) -> Wire:
        """Attach a node: make it and the switchboard the same, and tell it everything from then on. An older
        connection of the node ends."""
        wire, older = Wire(node, hello.run, self._loop), self._wires.get(node)
        if older is not None:
            older.end(ConflictError("the media node has attached again", "Close the one that is not used"))
        subscription = self._tenant.engine.subscribe()
        try:
            event = {"event": "node_attached", "node": node, "capacity": hello.capacity, "legs": list(hello.legs)}
            event |= {"coming": list(hello.coming)} if hello.coming else {}
            outcome = await self._tenant.submit(event, "", actor)
            if outcome.entry.error is not None:
                raise outcome.entry.error
            secret = await self._tenant.settle(self._tenant.engine.read_calls(secret_legs))
        except BaseException:  # its connection may have ended meanwhile, and the journal has it attached
            subscription.close()
            self.keep(self._lose(node, SILENT_S))
            raise
        wire.secrets = SecretKeys(node, secret)
        self._wires[node] = wire
        wire.heard()
        wire.watch()
        welcome = pb.NodeWelcome(revision=outcome.entry.revision, secret_legs=secret, reports_max=TOGETHER_MAX)
        wire.put(pb.AttachResponse(welcome=welcome))
        wire.tasks = [
            self.keep(self._command(wire, subscription, outcome.entry.revision)),
            self.keep(self._acknowledge(wire)),
        ]
        return wire

    async def _command(self, wire: Wire, subscription: Subscription, first: int) -> None:
        """Tell a node what is for it, for as long as it is attached."""
        bell = self._tenant.bell
        try:
            while True:
                ringing = bell.ringing()
                entries, told = subscription.poll(), pb.MediaCommands()
                for entry in entries:
                    hides = wire.secrets.follow(entry.effects)
                    effects = entry.effects if entry.revision >= first else ()
                    commands = commands_of(effects, wire.node, self.calls, self._tenant.outbound.number)
                    told.commands.extend(map(command_message, hides))
                    told.commands.extend(command_message(self._tenant.shown(command)) for command in commands)
                    told.revision = entry.revision
                    if len(told.commands) >= TOGETHER_MAX:
                        wire.put(pb.AttachResponse(commands=told))
                        told = pb.MediaCommands()
                if told.commands:
                    wire.put(pb.AttachResponse(commands=told))
                if not entries:
                    await asyncio.shield(ringing)
        except CordboardError as error:  # it fell behind, or the engine is closed: attaching anew makes both the same
            wire.end(error)
        except Exception:  # a node that is told nothing more must not look as if it worked
            log.exception("media node %s can't be told what to do", wire.node)
            wire.end(UnavailableError("the media node can't be told what to do", "failed"))
        finally:
            subscription.close()

    async def report(self, wire: Wire, number: int, report: Report, actor: str) -> None:
        """Bring a report into the journal; it is acknowledged when it is there."""
        request = f"{wire.node}:{wire.run}:{number}"
        event = await self._tenant.private(wire.secrets.covered(event_of(report, wire.node)))
        done = self._tenant.submit(event, request, actor, calm=True)
        await wire.reports.put((number, done))

    async def drain(self, wire: Wire, actor: str) -> None:
        """A node is going to end: it gets no new calls."""
        try:
            await self._tenant.submit({"event": "node_draining", "node": wire.node, "on": True}, "", actor)
        except CordboardError as error:  # the node says it again when it has attached again
            wire.end(error)

    async def _acknowledge(self, wire: Wire) -> None:
        while True:
            number, done = await wire.reports.get()
            try:
                outcome = await done
                refusal = outcome.entry.error
            except (ConflictError, JournalError) as error:
                # It is there, otherwise (a secret digit, or a caller who was erased since); or it can't be there ever.
                refusal = error
            except CordboardError as error:  # not in the journal: the node sends it again when it has attached again
                wire.end(error)
                return
            if refusal is not None:
                log.info("a report of media node %s was too late, or makes no sense: %s", wire.node, refusal)
            if wire.reports.empty():
                wire.put(pb.AttachResponse(acknowledged=number))

    def close(self, wire: Wire, draining: bool) -> None:
        """A connection has ended."""
        wire.close()
        if self._wires.get(wire.node) is not wire:
            return
        del self._wires[wire.node]
        if not draining:
            grace = 0.0 if wire.said_goodbye else max(wire.until - self._loop.time(), 0.0)
            self.keep(self._lose(wire.node, grace))

    async def _lose(self, node: str, grace: float) -> None:
        """Unless a node is back in time, all its legs have ended; as soon as the journal can be written."""
        await asyncio.sleep(grace)
        while node not in self._wires:
            try:
                if node in await self._attached():
                    await self._tenant.submit({"event": "node_lost", "node": node}, "", "cordboard")
                    log.warning("media node %s is lost", node)
                return
            except CordboardError as error:
                if self._tenant.engine.state.status == "closed":
                    return
                log.warning("media node %s can't be given up yet: %s", node, type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _await_return(self) -> None:
        """Nodes that were attached when the server ended, and don't come back, are lost."""
        try:
            for node in await self._attached():
                self.keep(self._lose(node, RETURN_S))
        except UnavailableError:
            return

    async def _attached(self) -> list[str]:
        return await self._tenant.settle(self._tenant.engine.read_calls(_attached))

    def shut(self, error: CordboardError) -> None:
        """End all connections; the nodes stay attached for the journal, and come back to the next server."""
        for wire in self._wires.values():
            wire.end(error)

    async def stop(self) -> None:
        """Tell nobody anything more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _attached(board: Switchboard | None) -> list[str]:
    return [] if board is None else [node.name for node in board.state.nodes.values() if node.attached]
