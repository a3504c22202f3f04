"""Look-ups of flows, for programs that answer them over gRPC.

The journal has each of them as an effect; here it is given to one of the streams that answer its name, and to another
one when that stream ends. Time-outs are the flow's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cordboard.calls.state import Stage
from cordboard.calls.switchboard import Switchboard
from cordboard.errors import CordboardError, LimitError, StaleEventError, UnavailableError, Where
from cordboard.live import Subscription
from cordboard.live.access import Caller, masked
from cordboard.services import names
from cordboard.services.translate import timestamp
from cordboard.v1 import flow_service_pb2 as pb

if TYPE_CHECKING:
    from cordboard.services.tenants import Tenant

STREAMS_MAX = 100  # of a tenant

log = logging.getLogger(__name__)


class Stream:
    """One program that answers. ``lookups``: their names, empty for all; ``room``: so many at once."""

    def __init__(self, lookups: Sequence[str], room: int, who: Caller) -> None:
        self._lookups, self._room, self.who = frozenset(lookups), room, who
        self.open: set[str] = set()  # calls
        self.ended: CordboardError | None = None
        self._outbox: asyncio.Queue[pb.AnswerLookupsResponse | None] = asyncio.Queue()

    def takes(self, lookup: str) -> bool:
        """Whether it can be given this one now."""
        return len(self.open) < self._room and (not self._lookups or lookup in self._lookups)

    def put(self, message: pb.AnswerLookupsResponse) -> None:
        """Send a message. Who does not read loses the stream."""
        if self._outbox.qsize() > 2 * self._room:
            self.end(LimitError("messages that nobody takes", 2 * self._room, "Read them"))
        else:
            self._outbox.put_nowait(message)

    def end(self, error: CordboardError | None = None) -> None:
        """Send what waits, and then nothing more."""
        self.ended = self.ended or error
        self._outbox.put_nowait(None)

    async def next(self) -> pb.AnswerLookupsResponse | None:
        """The next message to send; None at the end."""
        return await self._outbox.get()


@dataclass(slots=True)
class _Asked:
    effect: Mapping[str, Any]
    stream: Stream | None = None


class Lookups:
    """The look-ups of one tenant that are not answered, by call: a call waits for one at most."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._streams: list[Stream] = []
        self._asked: dict[str, _Asked] = {}
        self._following: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def open(self, lookups: Sequence[str], room: int, who: Caller) -> Stream:
        """Somebody answers from now on, beginning with what waits. LimitError if there are too many."""
        async with self._opening:
            if len(self._streams) >= STREAMS_MAX:
                raise LimitError("too many programs answer look-ups", STREAMS_MAX, "Close those that are not used")
            if self._following is None:
                subscription = self._tenant.engine.subscribe()
                waiting = await self._tenant.settle(self._tenant.engine.read_calls(_waiting))
                self._asked = {effect["call"]: _Asked(effect) for effect in waiting}
                self._following = asyncio.get_running_loop().create_task(self._follow(subscription))
            stream = Stream(lookups, room, who)
            stream.put(pb.AnswerLookupsResponse(welcome=pb.LookupsWelcome()))
            self._streams.append(stream)
            self._share()
            return stream

    def close(self, stream: Stream) -> None:
        """It has ended; others get what it has not answered."""
        self._streams.remove(stream)
        for asked in self._asked.values():
            if asked.stream is stream:
                asked.stream = None
        self._share()
        if not self._streams and self._following is not None:
            self._following.cancel()
            self._following = None

    async def answer(self, stream: Stream, answer: pb.LookupAnswer) -> None:
        """Take an answer, or refuse it to who gave it."""
        try:
            _, call = names.split(answer.call, "calls", "call")
            asked = self._asked.get(call)
            if asked is None or asked.stream is not stream or asked.effect["token"] != answer.token:
                raise StaleEventError("the look-up is over", Where(key="token"), "It was answered, or took too long")
            self._forget(call)
            fields = {"call": call, "token": answer.token, "answer": answer.answer}
            event = await self._tenant.private(
                {"event": "call_looked_up", **fields} | ({"values": dict(answer.values)} if answer.values else {})
            )
            outcome = await self._tenant.submit(event, "", stream.who.name)
            if outcome.entry.error is not None:
                raise outcome.entry.error
        except CordboardError as error:
            refusal = pb.LookupRefusal(call=answer.call, token=answer.token, why=error.text("en"))
            stream.put(pb.AnswerLookupsResponse(refusal=refusal))

    async def _follow(self, subscription: Subscription) -> None:
        """What is asked, and what is over, as the journal has it."""
        try:
            while True:
                ringing = self._tenant.bell.ringing()
                entries = subscription.poll()
                for entry in entries:
                    for effect in entry.effects:
                        self._take(effect)
                if not entries:
                    await asyncio.shield(ringing)
        except CordboardError as error:  # we fell behind, or the engine is closed
            self.shut(error)
        except asyncio.CancelledError:
            self.shut(UnavailableError("the server is going away", "draining"))
            raise
        except Exception:  # who is told nothing more must not look as if nothing were asked
            log.exception("look-ups can't be given to those who answer them")
            self.shut(UnavailableError("look-ups can't be told", "failed"))
        finally:
            subscription.close()
            self._following = None

    def _take(self, effect: Mapping[str, Any]) -> None:
        kind = effect["effect"]
        if kind in ("flow_step", "flow_ended"):  # the caller has gone on
            self._forget(effect["call"])
        elif kind == "lookup":
            self._forget(effect["call"])
            self._asked[effect["call"]] = _Asked(effect)
            self._give(self._asked[effect["call"]])

    def _forget(self, call: str) -> None:
        asked = self._asked.pop(call, None)
        if asked is not None and asked.stream is not None:
            asked.stream.open.discard(call)
            self._share()

    def _share(self) -> None:
        for asked in self._asked.values():
            if asked.stream is None:
                self._give(asked)

    def _give(self, asked: _Asked) -> None:
        able = [stream for stream in self._streams if stream.takes(asked.effect["lookup"])]
        if able:
            asked.stream = min(able, key=lambda stream: len(stream.open))
            asked.stream.open.add(asked.effect["call"])
            asked.stream.put(pb.AnswerLookupsResponse(lookup=self._message(asked.effect, asked.stream.who)))

    def _message(self, effect: Mapping[str, Any], who: Caller) -> pb.Lookup:
        keys, caller = self._tenant.keys, effect["caller"]
        return pb.Lookup(
            call=names.resource(self._tenant.name, "calls", effect["call"]),
            token=effect["token"],
            lookup=effect["lookup"],
            number=effect["number"],
            caller=masked(keys.shown(caller) if keys is not None else caller, who),
            language=effect["language"],
            values=effect["values"],
            expire_time=timestamp(effect["t"] + effect["timeout"]),
        )

    def shut(self, error: CordboardError) -> None:
        """End all streams."""
        for stream in self._streams:
            stream.end(error)

    async def stop(self) -> None:
        """Follow nothing any more."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following


def _waiting(board: Switchboard | None) -> list[dict[str, Any]]:
    """The look-ups of callers who wait for one now."""
    if board is None:
        return []
    found = []
    for call in board.state.calls.values():
        step = board.guide.step(call)
        if call.stage == Stage.FLOW and step is not None and step.kind == "lookup" and call.flow is not None:
            found.append(board.guide.lookup(call, step, (call.flow.due or board.now) - step.timeout))
    return found
