"""People at the other ends of a simulated media layer: callers who come by chance, and phones that are picked up.

All chance comes from the seed. Calls come as a Poisson process; times are exponential with the given means (seconds).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cordboard.media.backend import Cause, Command, Dial, Report
from cordboard.media.simulated import FarEnd, SimulatedMedia


@dataclass(frozen=True, slots=True)
class Habits:
    """``hourly``: calls an hour, spread evenly over ``numbers``. A caller hangs up ``stays`` seconds after the center
    answered, whether connected by then or not. A phone that is dialed is picked up after ``pick_up``, except a share of
    ``missed``. Of numbers that are dialed over a trunk a share of ``answers`` picks up, some seconds later, and stays
    as long as a caller; a tenth of the others is busy or no number."""

    hourly: float = 60.0
    numbers: tuple[str, ...] = ("4001",)
    stays: float = 120.0
    pick_up: float = 2.0
    missed: float = 0.0
    answers: float = 0.3


class People:
    """Who is there. The same seed gives the same people in the same order."""

    def __init__(self, habits: Habits, seed: int = 0) -> None:
        self._habits, self._random = habits, random.Random(seed)

    def next_call(self) -> float:
        """Seconds until the next caller."""
        return self._random.expovariate(self._habits.hourly / 3600.0)

    def caller(self) -> tuple[str, str, FarEnd]:
        """Which number somebody calls, from which number, and what they do then."""
        draw = self._random
        shown = f"139{draw.randrange(10**8):08d}"
        return draw.choice(self._habits.numbers), shown, FarEnd(hangs_up=draw.expovariate(1.0 / self._habits.stays))

    def phone(self, dial: Dial) -> FarEnd:
        """A phone that is dialed."""
        draw = self._random
        if dial.trunk:
            return self._dialed()
        picks_up = draw.expovariate(1.0 / self._habits.pick_up)
        return FarEnd(rings=0.1, picks_up=None if draw.random() < self._habits.missed else picks_up)

    def _dialed(self) -> FarEnd:
        draw, habits = self._random, self._habits
        if draw.random() < habits.answers:
            picks_up = 2.0 + draw.expovariate(1.0 / (2.0 + habits.pick_up))
            return FarEnd(rings=1.0, picks_up=picks_up, hangs_up=draw.expovariate(1.0 / habits.stays))
        if draw.random() < 0.1:
            return FarEnd(rings=None, picks_up=1.0, refuses=draw.choice((Cause.BUSY, Cause.INVALID)))
        return FarEnd(rings=1.0, picks_up=None)


class CrowdedMedia:
    """A MediaBackend: a simulated one in real time, where people call. ``prefix``: of the names of legs that come in.

    ``clock`` gives seconds and ``sleep`` waits for some, until ``wake`` if it is not given: a test has others.
    """

    def __init__(
        self,
        people: People,
        prefix: str,
        clock: Callable[[], float],
        sleep: Callable[[float], object] | None = None,
        *,
        lines: int = 10_000,
    ) -> None:
        self.media = SimulatedMedia(people.phone, lines=lines)
        self._awake = threading.Event()
        self._people, self._prefix, self._clock, self._sleep = people, prefix, clock, sleep or self._awake.wait
        self._began = clock()
        self._next, self._calls = people.next_call(), 0

    def send(self, commands: Sequence[Command]) -> None:
        """Take commands, now."""
        self._catch_up()
        self.media.send(commands)

    def reports(self, timeout: float) -> list[Report]:
        """What has happened; waits ``timeout`` seconds at most for something."""
        end = self._clock() - self._began + timeout
        while True:
            self._catch_up()
            found = self.media.reports(0.0)
            if found or self._awake.is_set() or self.media.now >= end:
                self._awake.clear()
                return found
            due = self.media.next_due()
            self._sleep(max(min(end, self._next, end if due is None else due) - self.media.now, 0.0001))

    def _catch_up(self) -> None:
        now = self._clock() - self._began
        while self._next <= now:
            self.media.advance(self._next)
            self._calls += 1
            to, caller, far = self._people.caller()
            self.media.call(f"{self._prefix}{self._calls}", to, far, caller=caller)
            self._next += self._people.next_call()
        self.media.advance(max(now, self.media.now))

    def wake(self) -> None:
        """From any thread: let ``reports`` return at once."""
        self._awake.set()

    def legs(self) -> frozenset[str]:
        """The legs that are not over."""
        return self.media.legs()

    def close(self) -> None:
        """Hang up everything; nobody calls any more."""
        self._next = float("inf")
        self.media.close()
