"""What waits for the writer: submissions and looks, in order, in a bounded queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from cordboard.errors import CordboardError, LimitError, UnavailableError
from cordboard.live.core import Core

Checked = tuple[dict[str, Any], str]  # an event without its time, and its JSON


class Reply(Protocol):
    """Where what comes of something is put, on the writer's thread: a Future, or something lighter."""

    def set_running_or_notify_cancel(self) -> bool: ...

    def done(self) -> bool: ...

    def set_result(self, result: Any) -> None: ...

    def set_exception(self, exception: BaseException | None) -> None: ...


class Asked(NamedTuple):
    """An event that somebody asks for, and where what comes of it is to be put."""

    event: Mapping[str, Any]
    request_id: str
    actor: str
    reply: Reply
    refusal: CordboardError | None = None


Changes = Literal["center", "calls"]


@dataclass(slots=True)
class Submission:
    """Events that were checked, and whoever waits for them. ``etag``: of what this is to change (``changes``), or
    empty; ``new_etag``: of what it brings. ``refusal``: why it is not done, unless it was before."""

    events: Sequence[Checked]
    request_ids: list[str]
    actor: str
    future: Reply
    many: bool
    etag: str = ""
    new_etag: str = ""
    changes: Changes = "center"
    refusal: CordboardError | None = None

    @property
    def size(self) -> int:
        return len(self.events)


@dataclass(slots=True)
class Look:
    """A function to be called with the core, between two events."""

    look: Callable[[Core], Any]
    future: Reply
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

    def put(self, item: Item, *, wake: bool = True) -> None:
        """Add one. UnavailableError if the inbox is closed, LimitError if it is full. Without ``wake`` whoever takes is
        left asleep."""
        with self._changed:
            if self._closed:
                raise UnavailableError("the engine is closed", "closed")
            if self.size + item.size > self._limit:
                raise LimitError("too many events wait for the journal", self._limit, "Send them more slowly")
            self._items.append(item)
            self.size += item.size
            if wake and self._idle:
                self._changed.notify()

    def wait(self, timeout: float) -> bool:
        """Wait until there is something, for ``timeout`` seconds at most, or until ``wake``; False when it is closed
        and empty."""
        with self._changed:
            if not self._items and not self._closed:
                self._idle = True
                self._changed.wait(timeout)
                self._idle = False
            return bool(self._items) or not self._closed

    def wake(self) -> None:
        """End a ``wait``."""
        with self._changed:
            self._changed.notify()

    def take(self, most: int) -> list[Item]:
        """What is there, in order, up to ``most`` events (one item at least, if there is one)."""
        with self._changed:
            if not self._items:
                return []
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
