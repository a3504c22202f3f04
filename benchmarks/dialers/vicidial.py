"""VICIdial's pacing: one loop that places calls, another that multiplies a stored level.

After the published source (AST_VDauto_dial.pl and AST_VDadapt.pl, build 240219-1514) at its defaults: agents in wrap-up
are paused and do not count; the level starts at 1 and stays within 1 and 3; the day runs from 9:00 to 21:00. Its limits
on calls a second and on lines a server are left out: they only make it slower.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from benchmarks.dialers.board import Board

Method = Literal["HARD_LIMIT", "AVERAGE", "TAPERED"]
PLACE_EVERY = 2.5
ADAPT_EVERY = 15.0
COUNT_EVERY = 60.0
MAX_LEVEL = 3.0
DROP_LIMIT = 3.0  # percent
OPENS, CLOSES = 9, 2100


class Vicidial(Board):
    """``method``: what happens when the day's drops pass the limit. ``dl_diff``: the wanted surplus of waiting agents
    over waiting calls (adaptive_dl_diff_target).
    """

    def __init__(self, agents: int, method: Method, dl_diff: float = 0.0) -> None:
        super().__init__(agents)
        self.method = method
        self.dl_diff = dl_diff
        self.level = 1.0
        self.samples: deque[tuple[int, int, int]] = deque(maxlen=15)
        self.next_place = self.next_sample = 0.0
        self.next_adapt, self.next_count = ADAPT_EVERY, COUNT_EVERY
        self.counted = (0, 0, 0)  # dials, answers, drops, as of the last count
        self.last_minute = (0, 0)  # dials, drops

    def look(self, now: float) -> float:
        return min(self.next_place, self.next_sample)

    def pace(self, now: float) -> int:
        if now >= self.next_sample:
            self.samples.append((self.idle, len(self.waiting), self.staffed))
            self.next_sample += 1.0
        if now >= self.next_count:
            dials, _, drops = self.counted
            self.last_minute = (self.dials - dials, self.drops - drops)
            self.counted = (self.dials, self.answers, self.drops)
            self.next_count += COUNT_EVERY
        if now >= self.next_adapt:
            self.adapt(now)
            self.next_adapt += ADAPT_EVERY
        if now < self.next_place:
            return 0
        self.next_place += PLACE_EVERY
        goal = round(self.level * (self.idle + self.talking))
        return goal - len(self.ringing) - len(self.waiting) - self.talking

    def adapt(self, now: float) -> None:
        size = len(self.samples)
        ready, waiting, total = (sum(sample[i] for sample in self.samples) / size for i in range(3))
        difference = ready - waiting + self.dl_diff
        share = difference / total if total else 0.0
        level = round(self.level * (1.0 + share), 3)
        level = max(1.0, min(MAX_LEVEL, level))
        calls, drops = self.last_minute
        if calls > 20 and drops > 0.5 * calls:
            level /= 2.0
        dials, answers, dropped = self.counted
        if dials > 50 and 100.0 * dropped / max(1, answers) > DROP_LIMIT:
            level = self.trip(level, now)
        self.level = max(1.0, level)

    def trip(self, level: float, now: float) -> float:
        if self.method == "HARD_LIMIT":
            return 1.0
        if self.method == "AVERAGE":
            return level / 2.0
        minutes = int(now // 60)
        left = CLOSES - ((OPENS + minutes // 60) * 100 + minutes % 60)  # as it counts: 20:30 is 2030, 70 from 21:00
        return 1.0 if left < 0 else level * min(1.0, left / 1000.0)
