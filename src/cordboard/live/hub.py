"""From the writer to everyone who watches: entries in order, without a gap, in bounded memory.

The hub holds the last entries once, in a list; a subscription is a place in it. So a thousand watchers cost no more
than one, and one who reads too slowly costs nothing: it finds out when it reads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from cordboard.errors import CompactedError, InputError, LimitError, SlowReaderError, UnavailableError, Where
from cordboard.live.entry import Entry

_log = logging.getLogger("cordboard.live")

BATCH_MAX = 1_000  # entries that one call of poll() returns


class Hub:
    """The last ``history`` entries and those who watch. Thread-safe."""

    def __init__(self, history: int, watchers_max: int = 10_000) -> None:
        self._history = history
        self._watchers_max = watchers_max
        self._entries: list[Entry] = []  # revisions _oldest + 1, _oldest + 2, ...
        self._oldest = 0
        self._changed = threading.Condition()
        self._watchers: set[Subscription] = set()
        self._closed = False

    @property
    def oldest(self) -> int:
        """The least revision that one can subscribe after."""
        with self._changed:
            return max(self._oldest, self._oldest + len(self._entries) - self._history)

    @property
    def revision(self) -> int:
        """The last revision that was published."""
        with self._changed:
            return self._oldest + len(self._entries)

    def begin(self, revision: int) -> None:
        """Nothing up to this revision is held: where a recovery begins."""
        with self._changed:
            self._entries.clear()
            self._oldest = revision

    def publish(self, entries: Sequence[Entry]) -> None:
        """Add the next entries and wake those who watch."""
        with self._changed:
            assert not entries or entries[0].revision == self._oldest + len(self._entries) + 1, "a gap"
            self._entries += entries
            surplus = len(self._entries) - self._history
            if surplus > self._history:  # moved seldom, so that it costs little an entry
                del self._entries[:surplus]
                self._oldest += surplus
            ready = [watcher for watcher in self._watchers if watcher._armed]
            for watcher in ready:
                watcher._armed = False
            self._changed.notify_all()
        for watcher in ready:
            watcher._ready()

    def held(self, revision: int) -> Entry | None:
        """The entry of a revision, if it is held."""
        with self._changed:
            place = revision - self._oldest - 1
            return self._entries[place] if 0 <= place < len(self._entries) else None

    def subscribe(self, after: int | None, capacity: int) -> Subscription:
        """A subscription to what comes after a revision. CompactedError if it is not held any more; InputError if
        it has not been."""
        with self._changed:
            revision = self._oldest + len(self._entries)
            after = revision if after is None else after
            oldest = max(self._oldest, revision - self._history)
            if after < oldest:
                raise CompactedError(oldest)
            if after > revision:
                what = f"revision {after} has not been; the last is {revision}"
                raise InputError(what, Where(key="after"), "Is it of another journal?")
            if len(self._watchers) >= self._watchers_max:
                raise LimitError("too many subscriptions", self._watchers_max, "Close some")
            found = Subscription(self, after, capacity)
            self._watchers.add(found)
            return found

    def close(self) -> None:
        """Wake everyone; what was published can still be read, and then UnavailableError ends it."""
        with self._changed:
            self._closed = True
            ready = list(self._watchers)
            self._changed.notify_all()
        for watcher in ready:
            watcher._ready()


class Subscription:
    """A place in the entries; see ``Engine.subscribe``. For one reader; ``close`` may be called by anyone.

    ``on_ready``: called once, on the writer's thread, when there is something after an empty ``poll`` (or the hub or
    the subscription is closed). It must be quick: ``loop.call_soon_threadsafe`` is meant. What it raises is logged.
    """

    def __init__(self, hub: Hub, after: int, capacity: int) -> None:
        self._hub, self._capacity = hub, capacity
        self._closed = False
        self._armed = True
        self._on_ready: Callable[[], None] | None = None
        self.revision = after  # the last that was read

    @property
    def on_ready(self) -> Callable[[], None] | None:
        return self._on_ready

    @on_ready.setter
    def on_ready(self, call: Callable[[], None] | None) -> None:
        with self._hub._changed:
            self._on_ready = call
            now = call is not None and (self._behind() > 0 or self._closed or self._hub._closed)
            self._armed = not now
        if now:
            self._ready()

    def poll(self) -> list[Entry]:
        """What there is, up to 1,000 entries; an empty list for nothing.

        SlowReaderError if more than the capacity waits: the subscription is closed and can be made anew after
        ``revision``. UnavailableError after the last entry of a closed engine, and after ``close``.
        """
        with self._hub._changed:
            return self._take()

    def get(self, timeout: float | None = None) -> list[Entry]:
        """Like ``poll``, but waits up to ``timeout`` seconds (None: for ever) for something."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._hub._changed:
            while True:
                found = self._take()
                left = None if until is None else until - time.monotonic()
                if found or (left is not None and left <= 0):
                    return found
                self._hub._changed.wait(left)

    def close(self) -> None:
        """Stop watching. A ``get`` that waits ends with UnavailableError."""
        with self._hub._changed:
            self._closed = True
            self._hub._watchers.discard(self)
            self._hub._changed.notify_all()
        self._ready()

    def _behind(self) -> int:
        return self._hub._oldest + len(self._hub._entries) - self.revision

    def _take(self) -> list[Entry]:
        """The next entries; the hub's lock is held."""
        hub = self._hub
        if self._closed:
            raise UnavailableError("the subscription is closed", "closed")
        if self._behind() > self._capacity or self.revision < hub._oldest:
            self._closed = True
            hub._watchers.discard(self)
            raise SlowReaderError(self.revision, self._capacity)
        start = self.revision - hub._oldest
        found = hub._entries[start : start + BATCH_MAX]
        self.revision += len(found)
        if not found:
            if hub._closed:
                raise UnavailableError("the engine is closed", "closed")
            self._armed = True
        return found

    def _ready(self) -> None:
        call = self._on_ready
        if call is None:
            return
        try:
            call()
        except Exception:  # a loop that was closed in the meantime, for example: no reason for the writer to stop
            _log.warning("who waits for entries could not be called", exc_info=True)
