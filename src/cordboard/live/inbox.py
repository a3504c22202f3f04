"""What waits for the writer: submissions and looks, in order, in a bounded queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from cordboard.errors import LimitError
from cordboard.live.core import Core


@dataclass(slots=True)
class Submission:
    """Events that were checked, and whoever waits for them. Events are without ``t``, each with its JSON. ``etag``: of
    the center that this is to change, or empty; ``new_etag``: of the one that it brings."""

    events: list[tuple[dict[str, Any], str]]
    request_ids: list[str]
    actor: str
    future: Future[Any]
    many: bool
    etag: str = ""
    new_etag: str = ""

    @property
    def size(self) -> int:
        return len(self.events)


@dataclass(slots=True)
class Look:
    """A function to be called with the core, between two events."""

    look: Callable[[Core], Any]
    future: Future[Any]
    size: int = 1


Item = Submission | Look


class Inbox:
    """Many put, one takes. ``limit``: of events and looks together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._idle = False
        self._closed = False
        self.size = 0

    def put(self, item: Item) -> bool:
        """Add one; False if the inbox is closed. LimitError if it has no room for it."""
        with self._changed:
            if self._closed:
                return False
            if self.size + item.size > self._limit:
                raise LimitError("too many events wait for the journal", self._limit, "Send them more slowly")
            self._items.append(item)
            self.size += item.size
            if self._idle:
                self._changed.notify()
            return True

    def take(self, most: int, timeout: float) -> list[Item] | None:
        """What waits, in order, up to ``most`` events (one item at least); an empty list after ``timeout`` seconds
        without any; None when it is closed and empty."""
        with self._changed:
            if not self._items and not self._closed:
                self._idle = True
                self._changed.wait(timeout)
                self._idle = False
            if not self._items:
                return None if self._closed else []
            found = [self._items.popleft()]
            size = found[0].size
            while self._items and size + self._items[0].size <= most:
                found.append(self._items.popleft())
                size += found[-1].size
            self.size -= size
            return found

    def close(self) -> None:
        """Take nothing more; what is in it can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify()
