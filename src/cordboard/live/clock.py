"""The time of live events: seconds since the Unix epoch, in whole microseconds, never going back.

A wall clock jumps: it is set by hand, it is stepped by NTP, a machine sleeps. Timers of the center (an offer's 15
seconds) must run on evenly all the same. So :class:`EvenClock` reads the wall once, at its start, and from then on adds
the seconds that have really passed (``CLOCK_BOOTTIME``: time asleep counts). Towards a wall that went elsewhere it
drifts by at most ``DRIFT``, and says how far it is off.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable

from cordboard.errors import InputError, Where

DRIFT = 0.0005  # seconds a second, as NTP does when it slews


def passed() -> float:
    """Seconds that have passed, from some start; sleep counts, and setting the clock does not."""
    return time.clock_gettime(_CLOCK)


_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class EvenClock:
    """A clock that starts at the wall's time, goes on evenly, and drifts slowly to where the wall is. Thread-safe."""

    def __init__(self, wall: Callable[[], float] = time.time, passed: Callable[[], float] = passed) -> None:
        self._wall, self._passed = wall, passed
        self._lock = threading.Lock()
        self._read_at = passed()
        self._time = wall()

    def __call__(self) -> float:
        """The time, seconds since the epoch."""
        with self._lock:
            at = self._passed()
            step, self._read_at = max(at - self._read_at, 0.0), at
            off = self._wall() - self._time - step
            self._time += step + min(max(off, -DRIFT * step), DRIFT * step)
            return self._time

    def off(self) -> float:
        """How far the wall clock is ahead of this one (below 0: behind), seconds."""
        return self._wall() - self._time

    def start_after(self, t: float) -> None:
        """Be at ``t`` at least: where a journal ends whose writer's clock was ahead of this one."""
        with self._lock:
            self._time = max(self._time, t)


class FileClock:
    """The time that stands in a file: 8 bytes, a float64 of this machine, seconds since the epoch. For rehearsals:
    whoever writes the file sets the time of the center, and a day takes as long as they like. Where it goes back, the
    time of the center stands still."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            with open(path, "rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise InputError(f"no clock: {error}", Where(str(path)), "Write 8 bytes, a float64") from None
        self._time = memoryview(self._bytes).cast("d")  # read as one word: never half of an old time and half of a new

    def __call__(self) -> float:
        """The time, seconds since the epoch."""
        return self._time[0]
