"""What every dialer here sees: agents and since when they are as they are, calls in flight and their age, counters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cordboard.pacing.world import ANSWERED, CONNECTED, DROPPED, IDLE, PLACED, RINGING, TALK

AWAY = 0


class Board:
    """Keeps the counts; a dialer overrides ``pace``, the number of lines to open now.

    ``every_event``: asked after every event; otherwise only at ``look(now)``. Times in seconds from the start.
    """

    every_event = False
    tick = 1.0

    def __init__(self, agents: int) -> None:
        self.state = [AWAY] * agents
        self.since = [0.0] * agents
        self.count = [agents, 0, 0, 0]  # away, idle, talking, wrapping up
        self.ringing: dict[int, float] = {}  # call -> placed at
        self.waiting: set[int] = set()  # answered, no agent yet
        self.dials = self.answers = self.drops = 0

    @property
    def idle(self) -> int:
        return self.count[IDLE]

    @property
    def talking(self) -> int:
        return self.count[TALK]

    @property
    def staffed(self) -> int:
        return len(self.state) - self.count[AWAY]

    def agent(self, agent: int, state: int, now: float, leaving: bool) -> None:
        before = self.state[agent]
        self.count[before] -= 1
        self.count[state] += 1
        if before == TALK and state != TALK:
            self.talk_ended(now - self.since[agent])
        self.state[agent] = state
        self.since[agent] = now

    def call(self, call: int, event: int, now: float, bucket: int, p: float) -> None:
        if event == PLACED:
            self.dials += 1
            self.ringing[call] = now
        elif event == ANSWERED:
            self.answers += 1
            self.waiting.add(call)
            self.answered(now - self.ringing.pop(call))
        elif event in (CONNECTED, DROPPED):
            self.waiting.discard(call)
            self.drops += event == DROPPED
        elif event != RINGING:
            self.ringing.pop(call, None)
            self.failed(now)

    def talk_ended(self, seconds: float) -> None:
        """A conversation took so long."""

    def answered(self, seconds: float) -> None:
        """A dial was answered so long after it was placed."""

    def failed(self, now: float) -> None:
        """A dial ended without a person."""

    def look(self, now: float) -> float:
        return now + self.tick

    def pace(self, now: float) -> int:
        raise NotImplementedError

    def decide(self, now: float, offer: dict[str, Any]) -> tuple[int, Iterable[int], float]:
        wanted = self.pace(now)
        return max(0, min(wanted, offer["lines"])), (), self.look(now)
