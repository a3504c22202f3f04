"""Dialers with one number: progressive, a constant ratio, WombatDialer's boost."""

from __future__ import annotations

import math

from benchmarks.dialers.board import Board


class Ratio(Board):
    """Keeps ``ratio`` lines in flight for each free agent, at every event; 1.0 is progressive dialing."""

    every_event = True
    tick = 60.0

    def __init__(self, agents: int, ratio: float = 1.0) -> None:
        super().__init__(agents)
        self.ratio = ratio

    def pace(self, now: float) -> int:
        free = self.idle - len(self.waiting)
        return math.floor(self.ratio * free + 1e-9) - len(self.ringing)


class Wombat(Board):
    """floor(boost * available agents) lines; none while more than ``max_waiting`` answered callers wait."""

    tick = 1.0

    def __init__(self, agents: int, boost: float = 1.3, max_waiting: int = 0) -> None:
        super().__init__(agents)
        self.boost = boost
        self.max_waiting = max_waiting

    def pace(self, now: float) -> int:
        if len(self.waiting) > self.max_waiting:
            return 0
        return math.floor(self.boost * self.idle + 1e-9) - len(self.ringing)
