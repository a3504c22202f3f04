"""From the engine's threads to asyncio: futures, and waking up when there are entries."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from cordboard.errors import CordboardError
from cordboard.live import Engine
from cordboard.live.inbox import Asked

T = TypeVar("T")
FEW = 1  # calls at once with which each event goes alone
GATHER_S = 0.002
CALM_S = 0.004  # between two groups of what nobody waits for step by step
GROUP_MAX = 64


class Mailbox:
    """Brings results of other threads into the loop: one wake-up for as many as have come."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = threading.get_ident()
        self._done: deque[Reply[Any]] = deque()
        self._armed = False

    def settle(self, future: Future[T]) -> Reply[T]:
        """What a future of another thread comes to, to be awaited here. Giving up waiting leaves that one as it is."""
        reply: Reply[T] = Reply(self)

        def done(finished: Future[T]) -> None:
            error = finished.exception()
            if error is None:
                reply.set_result(finished.result())
            else:
                reply.set_exception(error)

        future.add_done_callback(done)
        return reply

    def bring(self, reply: Reply[Any]) -> None:
        """Something has come for whoever awaits this."""
        if threading.get_ident() == self._thread:
            reply.wake()
            return
        self._done.append(reply)
        if not self._armed:
            self._armed = True
            self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._armed = False  # before the first is taken: whoever adds one now wakes us again
        while self._done:
            self._done.popleft().wake()


class Reply(Generic[T]):
    """What an engine is asked, to be awaited once, in the mailbox's loop: lighter than the future of a thread and one
    of a loop. What has come by then is there without waiting."""

    __slots__ = ("_error", "_here", "_mailbox", "_value", "_waiter")

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._here = False

    def set_running_or_notify_cancel(self) -> bool:
        return True

    def done(self) -> bool:
        return self._here

    def set_result(self, result: T) -> None:
        self._value = result
        self._here = True
        self._mailbox.bring(self)

    def set_exception(self, exception: BaseException | None) -> None:
        self._error = exception
        self._here = True
        self._mailbox.bring(self)

    def wake(self) -> None:
        """It is here: whoever waits goes on."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __await__(self) -> Generator[Any, None, T]:
        if not self._here:
            self._waiter = self._mailbox.loop.create_future()
            yield from self._waiter
        if self._error is not None:
            raise self._error
        return self._value


class Calls:
    """How many unary calls that change something are in the server, from when they are read until they are answered."""

    def __init__(self) -> None:
        self.running = 0

    def count(self, task: asyncio.Task[Any]) -> None:
        """A call begins, whose task this is."""
        self.running += 1
        task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[Any]) -> None:
        self.running -= 1


class Gathering:
    """Events for an engine: at once while few call; together with those of the next millisecond while many do. A group
    goes through every step in one loop, one commit and one wake-up, and costs an event less than half."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop, calls: Calls) -> None:
        self._engine, self._loop, self._calls = engine, loop, calls
        self._asked: list[Asked] = []
        self._due: asyncio.TimerHandle | None = None
        self._posted = -math.inf  # when, in the loop's time

    def add(self, asked: Asked, *, calm: bool = False) -> None:
        """Have the event journaled; what comes of it, or why not, comes into its reply. ``calm``: of those that come by
        the hundred from one line, which goes on meanwhile: the first is journaled at once, the next ones together."""
        self._asked.append(asked)
        if len(self._asked) >= GROUP_MAX or not (calm or self._calls.running > FEW):
            self._post()
        elif self._due is None:
            rest = self._posted + CALM_S - self._loop.time() if calm else GATHER_S
            self._due = self._loop.call_later(max(rest, 0.0), self._post)

    def _post(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._asked:
            asked, self._asked = self._asked, []
            self._posted = self._loop.time()
            self._engine.post(asked)


class Bell:
    """Rings in the loop when an engine has new entries; one for all who wait, and silent while nobody does."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self._engine, self._loop = engine, loop
        self._next: asyncio.Future[None] | None = None
        self._closed = False
        self._subscribe()

    def _subscribe(self) -> None:
        self._subscription = self._engine.subscribe()
        self._subscription.on_ready = self._ready

    def _ready(self) -> None:
        self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        waiting, self._next = self._next, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def ringing(self) -> asyncio.Future[None]:
        """Done when the bell rings next; cancelled once it is closed. Take it before you look for entries; wait with
        ``shield`` or ``wait``."""
        if self._next is None:
            self._next = self._loop.create_future()
            if self._closed:
                self._next.cancel()
            else:
                self._arm()
        return self._next

    def _arm(self) -> None:
        """Have the hub call at the next entry: it does so after an empty poll."""
        try:
            while self._subscription.poll():
                pass
        except CordboardError:  # nobody waited for so long that it fell behind; or the engine is closed
            if self._engine.state.status != "closed":
                self._subscribe()
                self._arm()

    def close(self) -> None:
        """Whoever waits is cancelled."""
        self._closed = True
        self._subscription.on_ready = None
        self._subscription.close()
        self.ringing().cancel()
