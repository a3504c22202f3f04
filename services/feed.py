"""The end of a tenant's entries, for all who watch: taken from the hub once, encoded once, one wake-up for all.

A viewer is no more than a revision. Whoever is at the end of the feed, as nearly all are, gets the next
:class:`Stretch`, whose messages were made by the first one who asked; who is further behind reads from the hub,
and who is behind that from the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from cordboard.errors import CompactedError, CordboardError, SlowReaderError, UnavailableError
from cordboard.live import Engine, Entry
from cordboard.live.hub import Subscription
from cordboard.services.translate import entry_message

STRETCHES_MAX = 64  # that are kept for those who are a little behind
BEHIND_MAX = 10_000  # entries that a viewer may be behind
HISTORY_BATCH = 1_000  # entries of the journal that are held for one viewer
HISTORIES_MAX = 4  # viewers who read the journal at once, each with a core of its own; the next ones wait their turn
UNBOUNDED = 1 << 62
BATCH_BYTES_MAX = 1 << 20  # of entries in one message; at least one entry

Sift = Callable[[Entry], Entry | None]


class Stretch:
    """Entries that follow each other. ``after``: the revision before the first one."""

    __slots__ = ("_encoded", "_messages", "after", "entries", "revision")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.after, self.revision = entries[0].revision - 1, entries[-1].revision
        self._encoded: dict[int, bytes] = {}
        self._messages: dict[bytes, list[bytes]] = {}

    def messages(self, key: bytes | None, sift: Sift) -> list[bytes]:
        """What it tells to those who see it through a sieve, as WatchResponses; the same for all of one ``key``."""
        found = self._messages.get(key) if key is not None else None
        if found is None:
            passed = [(entry.revision, self._part(entry, told)) for entry in self.entries if (told := sift(entry))]
            found = list(_messages(passed, self.revision))
            if key is not None:
                self._messages[key] = found
        return found

    def _part(self, entry: Entry, told: Entry) -> bytes:
        """The bytes of an entry: made once if it is told as it is."""
        if told is not entry:
            return entry_message(told).SerializeToString()
        found = self._encoded.get(entry.revision)
        if found is None:
            found = self._encoded[entry.revision] = entry_message(entry).SerializeToString()
        return found


def _messages(parts: Iterable[tuple[int, bytes]], revision: int) -> Iterator[bytes]:
    """Entries in messages of a bounded size; the last one tells the revision that was reached."""
    some: list[bytes] = []
    size = 0
    for at, part in parts:
        if some and size + len(part) > BATCH_BYTES_MAX:
            yield message(some, at - 1)
            some, size = [], 0
        some.append(part)
        size += len(part)
    if some:
        yield message(some, revision)


def message(entries: Iterable[bytes], revision: int) -> bytes:
    """A WatchResponse: field 1 the entries, field 2 the revision."""
    parts = []
    for entry in entries:
        parts += [b"\x0a", _varint(len(entry)), entry]
    if revision:
        parts += [b"\x10", _varint(revision)]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Feed:
    """See above. In one loop; it costs nothing while nobody watches."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self._engine, self._loop = engine, loop
        self._stretches: deque[Stretch] = deque(maxlen=STRETCHES_MAX)
        self._waiting: list[asyncio.Future[bool]] = []
        self._viewers = 0
        self._revision = 0
        self._closed = False
        self._histories = asyncio.Semaphore(HISTORIES_MAX)
        self._aside = ThreadPoolExecutor(1, "cordboard-history")  # one: beside the loop and the writer, not before them

    async def stretches(self, after: int | None, progress: float) -> AsyncIterator[Stretch | int]:
        """What comes after a revision (None: from now on), in order and without a gap; the revision alone at first, and
        when nothing came for ``progress`` seconds.

        What the hub does not hold any more is read from the journal. CompactedError if that does not have it either,
        InputError for a revision that has not been, SlowReaderError for who falls too far behind, UnavailableError when
        the feed is closed.
        """
        if after is None:
            after = self._engine.state.revision
        self._join()
        try:
            subscription, end = self._held(after), self._revision
            yield after
            while subscription is None:
                async for stretch in self._history(after):
                    yield stretch
                    after = stretch.revision
                subscription, end = self._held(after), self._revision
            with contextlib.closing(subscription):
                while after < end and (entries := subscription.poll()):
                    yield Stretch(entries)
                    after = subscription.revision
            while not self._closed:
                found = self._next(after)
                if found is not None:
                    yield found
                    after = found.revision
                elif not await self._ring(progress):
                    yield after
            raise UnavailableError("the server is going away", "draining")
        finally:
            self._leave()

    # ---- at the end

    def _next(self, revision: int) -> Stretch | None:
        """What follows a revision, or None for nothing yet."""
        behind = self._revision - revision
        if behind <= 0:
            return None
        if behind > BEHIND_MAX:
            raise SlowReaderError(revision, BEHIND_MAX)
        for stretch in reversed(self._stretches):
            if stretch.after == revision:
                return stretch
            if stretch.after < revision:
                return Stretch(stretch.entries[revision - stretch.after :])
        subscription = self._held(revision)  # so many short stretches came since
        if subscription is None:
            raise SlowReaderError(revision, BEHIND_MAX)
        with contextlib.closing(subscription):
            return Stretch(subscription.poll())

    async def _ring(self, seconds: float) -> bool:
        """Wait for something new; False after so many seconds without."""
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.append(waiter)
        timer = self._loop.call_later(seconds, _wake, waiter, False)
        try:
            return await waiter
        finally:
            timer.cancel()

    def _wake_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            _wake(waiter, True)

    # ---- from the hub

    def _join(self) -> None:
        self._viewers += 1
        if self._viewers == 1:
            self._subscribe()

    def _leave(self) -> None:
        self._viewers -= 1
        if self._viewers == 0:
            self._subscription.on_ready = None
            self._subscription.close()
            self._stretches.clear()

    def _subscribe(self) -> None:
        self._stretches.clear()
        self._subscription = self._engine.subscribe()
        self._revision = self._subscription.revision
        self._subscription.on_ready = self._ready
        self._take()

    def _ready(self) -> None:
        self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        """Take what the hub has; it calls ``_ready`` after the next."""
        if self._viewers == 0 or self._closed:
            return
        try:
            while entries := self._subscription.poll():
                self._stretches.append(Stretch(entries))
                self._revision = self._subscription.revision
        except SlowReaderError:  # the loop stood still for long: who is behind reads for himself
            self._subscribe()
        except CordboardError:
            self.close()
        self._wake_all()

    # ---- from further back

    def _held(self, after: int) -> Subscription | None:
        """What the hub has after a revision, as far behind as that may be; None if it does not hold all of it."""
        try:
            return self._engine.subscribe(after, capacity=UNBOUNDED)
        except CompactedError:
            return None

    async def _history(self, after: int) -> AsyncIterator[Stretch]:
        """What the journal has after a revision up to now, by a replay beside the loop; a few at once."""
        async with self._histories:
            entries = self._engine.entries(after)
            reading = self._aside.submit(_some, entries)
            try:
                while batch := await asyncio.wrap_future(reading):
                    yield Stretch(batch)
                    reading = self._aside.submit(_some, entries)
            finally:
                reading.add_done_callback(lambda _: entries.close())  # not while it is being read

    def close(self) -> None:
        """Whoever watches is told to go."""
        self._closed = True
        self._wake_all()
        self._aside.shutdown(wait=False, cancel_futures=True)


def _some(entries: Iterator[Entry]) -> list[Entry]:
    return list(islice(entries, HISTORY_BATCH))


def _wake(waiter: asyncio.Future[bool], rung: bool) -> None:
    if not waiter.done():
        waiter.set_result(rung)
