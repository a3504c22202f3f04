"""From the engine's threads to asyncio: futures, and waking up when there are entries."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar

from cordboard.errors import CordboardError
from cordboard.live import Engine

T = TypeVar("T")


class Mailbox:
    """Brings results of other threads into the loop: one wake-up for as many as have come."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: deque[tuple[Future[Any], asyncio.Future[Any]]] = deque()
        self._armed = False

    def settle(self, future: Future[T]) -> asyncio.Future[T]:
        """What a future of another thread comes to, as one of this loop. Giving up waiting leaves that one as it is."""
        waiter: asyncio.Future[T] = self._loop.create_future()

        def done(finished: Future[T]) -> None:
            self._done.append((finished, waiter))
            if not self._armed:
                self._armed = True
                self._loop.call_soon_threadsafe(self._deliver)

        future.add_done_callback(done)
        return waiter

    def _deliver(self) -> None:
        self._armed = False  # before the first is taken: whoever adds one now wakes us again
        while self._done:
            future, waiter = self._done.popleft()
            if waiter.done():
                continue
            error = future.exception()
            if error is None:
                waiter.set_result(future.result())
            else:
                waiter.set_exception(error)


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
