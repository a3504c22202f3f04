"""How long a drain still waits: the least of what everyone who called for it allows."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

LOOK_S = 0.2


class Drain:
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._until = math.inf

    def until(self, seconds: float) -> None:
        """Wait no longer than so many seconds from now."""
        with self._changed:
            self._until = min(self._until, time.monotonic() + seconds)
            self._changed.notify_all()

    def wait(self, done: Callable[[], bool]) -> None:
        """Come back when ``done`` says so, or the time is over."""
        while not done():
            with self._changed:
                left = self._until - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(min(left, LOOK_S))
