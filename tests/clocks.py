"""Time in tests: a wall clock that the test sets, and waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


class Wall:
    """A clock that the test sets, for :meth:`Engine.open`."""

    def __init__(self) -> None:
        self.t = 1_000_000.0

    def __call__(self) -> float:
        return self.t


def until(done: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until it is so. AssertionError if it takes longer than any machine should need."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"it did not come to that within {seconds:g} s"
        time.sleep(0.01)
