"""Issabel (Elastix) Call Center's pacing, with and without "overcommit", after its published dialer process.

It adds to the free agents those whose call is older than nearly all calls get, and takes away the calls it has placed
at full weight each. Nothing limits abandonment.
"""

from __future__ import annotations

import math
from collections import deque

from benchmarks.dialers.board import Board

ANSWER_TIMES = 20
DEFAULT_ANSWER_TIME = 8.0
SERVICE = 0.97
HALF_HOUR = 1800.0


class Issabel(Board):
    tick = 5.0

    def __init__(self, agents: int, overcommit: bool) -> None:
        super().__init__(agents)
        self.overcommit = overcommit
        self.answer_times: deque[float] = deque(maxlen=ANSWER_TIMES)
        self.talks = 0
        self.talk_total = 0.0
        self.outcomes: deque[tuple[float, bool]] = deque()  # ended dials of the last half hour
        self.good = 0
        self.clock = 0.0

    def talk_ended(self, seconds: float) -> None:
        self.talks += 1
        self.talk_total += seconds

    def answered(self, seconds: float) -> None:
        self.answer_times.append(seconds)
        self.outcomes.append((self.clock, True))
        self.good += 1

    def failed(self, now: float) -> None:
        self.outcomes.append((now, False))

    def call(self, call: int, event: int, now: float, bucket: int, p: float) -> None:
        self.clock = now
        super().call(call, event, now, bucket, p)

    def soon_free(self, now: float) -> int:
        if self.talks < 10:
            return 0
        known = len(self.answer_times)
        answer = (sum(self.answer_times) + (ANSWER_TIMES - known) * DEFAULT_ANSWER_TIME) / ANSWER_TIMES
        mean = self.talk_total / self.talks
        oldest = -math.log(1.0 - SERVICE) * mean - answer  # 1 - exp(-(answer + age) / mean) >= service
        return sum(
            1 for state, since in zip(self.state, self.since, strict=True) if state == 2 and now - since >= oldest
        )

    def pace(self, now: float) -> int:
        n = self.idle + self.soon_free(now) - len(self.waiting) - len(self.ringing)
        if n <= 0 or not self.overcommit:
            return n
        while self.outcomes and self.outcomes[0][0] < now - HALF_HOUR:
            self.good -= self.outcomes.popleft()[1]
        total = len(self.outcomes)
        ratio = self.good / total if total >= 10 and self.good else 1.0
        return round(n / max(ratio, 0.2))
