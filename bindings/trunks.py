"""Which destination of a trunk a call goes to, and whether it may go at all: pure logic, without clock and SIP.

Every method that needs the time is told it, in seconds of a clock that only goes forward; chance comes from a seed. So
the same calls in the same order choose the same destinations.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from cordboard.bindings.settings import Destination, Trunk


@dataclass(slots=True)
class Attempt:
    """One call on its way out: ``left`` are the destinations that were not tried yet, best first."""

    trunk: str
    destination: Destination
    left: list[Destination] = field(default_factory=list)


class Trunks:
    """The state of all trunks: calls at once, calls a second, destinations that rest."""

    def __init__(self, trunks: Iterable[Trunk], seed: int = 0) -> None:
        self._trunks = {trunk.name: trunk for trunk in trunks}
        self._random = random.Random(seed)
        self._lines = dict.fromkeys(self._trunks, 0)
        self._credit = {name: (max(1.0, each.calls_per_second), 0.0) for name, each in self._trunks.items()}
        self._rests: dict[tuple[str, str], float] = {}  # trunk and gateway: until when

    def __getitem__(self, name: str) -> Trunk:
        return self._trunks[name]

    def get(self, name: str) -> Trunk | None:
        return self._trunks.get(name)

    def lines(self, name: str) -> int:
        """Calls of a trunk now."""
        return self._lines[name]

    def incoming(self, name: str) -> bool:
        """A call came in: whether there is a line for it, which it has from now on."""
        trunk = self._trunks[name]
        if trunk.lines and self._lines[name] >= trunk.lines:
            return False
        self._lines[name] += 1
        return True

    def outgoing(self, name: str, now: float) -> Attempt | None:
        """A call goes out: its first destination, and a line for it; None if all lines are in use, or there were as
        many calls in the last second as may be."""
        trunk = self._trunks[name]
        if trunk.lines and self._lines[name] >= trunk.lines:
            return None
        if trunk.calls_per_second:
            credit, then = self._credit[name]
            most = max(1.0, trunk.calls_per_second)  # what a second saves up
            credit = min(most, credit + (now - then) * trunk.calls_per_second)
            if credit < 1.0 - 1e-9:
                self._credit[name] = (credit, now)
                return None
            self._credit[name] = (credit - 1.0, now)
        self._lines[name] += 1
        first, *left = self._order(trunk, now)
        return Attempt(name, first, left)

    def next(self, attempt: Attempt, now: float) -> bool:
        """The destination did not take the call: whether another is tried, ``attempt.destination`` from now on."""
        left = [one for one in attempt.left if not self.rests(attempt.trunk, one.gateway, now)]
        if not left:
            return False
        attempt.destination, attempt.left = left[0], left[1:]
        return True

    def release(self, name: str) -> None:
        """A call that had a line is over."""
        self._lines[name] -= 1

    def failed(self, name: str, gateway: str, now: float) -> None:
        """A destination does not work: it rests."""
        self._rests[name, gateway] = now + self._trunks[name].rest_s

    def works(self, name: str, gateway: str) -> None:
        """A destination has answered."""
        self._rests.pop((name, gateway), None)

    def rests(self, name: str, gateway: str, now: float) -> bool:
        return self._rests.get((name, gateway), now) > now

    def _order(self, trunk: Trunk, now: float) -> list[Destination]:
        """In which order destinations are tried: those that don't rest, by priority, among equals drawn by weight (as
        RFC 2782 draws servers). If all rest, the one whose rest is over first: it may work again."""
        ready = [one for one in trunk.destinations if not self.rests(trunk.name, one.gateway, now)]
        if not ready:
            return [min(trunk.destinations, key=lambda one: (self._rests[trunk.name, one.gateway], one.priority))]
        if len(ready) == 1:
            return ready
        # The smallest of exponential variables with rates w is the i-th with probability w_i / sum(w).
        drawn = [(one.priority, self._random.expovariate(one.weight), i) for i, one in enumerate(ready)]
        return [ready[i] for _, _, i in sorted(drawn)]
