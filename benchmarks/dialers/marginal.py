"""The marginal-risk rule with the true parameters: one more dial while the chance that its answer finds nobody is
small.

A first version by the normal approximation: answers in flight (each by its age) against agents who are free, or will be
within the mean time to answer (each by the age of his talk or wrap-up). One threshold, tuned offline.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.dialers.board import Board
from cordboard.pacing.world import IDLE, TALK, WRAP, World

STEP = 0.5  # seconds of the tables
LAST = 2400  # entries: ages to 20 minutes


def erlang_tail(phases: int, mean: float, t: np.ndarray) -> np.ndarray:
    """P(Erlang > t)."""
    x = np.maximum(t, 0.0) * phases / mean
    return np.exp(-x) * sum(x**k / math.factorial(k) for k in range(phases))


def lognormal_tail(mean: float, cv: float, t: np.ndarray) -> np.ndarray:
    variance = math.log(1.0 + cv * cv)
    z = (np.log(np.maximum(t, 1e-9)) - math.log(mean) + variance / 2.0) / math.sqrt(variance)
    return np.array([0.5 * math.erfc(v / math.sqrt(2.0)) for v in z])


@lru_cache(maxsize=8)
def tables(world: World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P(free within the mean time to answer) by age of talk and of wrap-up, P(live) by age of a dial."""
    within = world.post_dial + world.ring_mean
    ages = np.arange(LAST) * STEP
    wrap = erlang_tail(world.wrap_phases, world.wrap_mean, ages)
    wrap_free = 1.0 - erlang_tail(world.wrap_phases, world.wrap_mean, ages + within) / np.maximum(wrap, 1e-300)
    steps = round(within / STEP)
    longer = lognormal_tail(world.talk_mean, world.talk_cv, np.arange(LAST + steps + 1) * STEP)
    done = 1.0 - erlang_tail(world.wrap_phases, world.wrap_mean, (steps - np.arange(steps) - 0.5) * STEP)
    talk_free = np.array([np.dot(longer[i : i + steps] - longer[i + 1 : i + steps + 1], done) for i in range(LAST)])
    talk_free /= np.maximum(longer[:LAST], 1e-300)
    live = world.p * erlang_tail(world.ring_phases, world.ring_mean, ages - world.post_dial)
    fast = world.fast_fail * (ages < world.fast_fail_at)
    rest = max(0.0, 1.0 - world.p - world.fast_fail) * (ages < world.ring_until)
    return talk_free, wrap_free, live / np.maximum(live + fast + rest, 1e-300)


class MarginalRisk(Board):
    every_event = True
    tick = 1.0

    """``memoryless``: takes talk and wrap-up together for one exponential time, of this mean plus the wrap-up's."""

    def __init__(self, world: World, alpha: float, memoryless: float = 0.0) -> None:
        super().__init__(world.agents)
        self.p = world.p
        self.alpha = alpha
        self.talk_free, self.wrap_free, self.live = tables(world)
        if memoryless:
            soon = 1.0 - math.exp(-(world.post_dial + world.ring_mean) / (memoryless + world.wrap_mean))
            self.talk_free, self.wrap_free = np.full(LAST, soon), np.full(LAST, soon)
        self.states = np.zeros(world.agents, dtype=np.int8)
        self.sinces = np.zeros(world.agents)
        z_low, z_high = -8.0, 0.0
        for _ in range(60):  # the quantile of the threshold
            z = 0.5 * (z_low + z_high)
            z_low, z_high = (z, z_high) if 0.5 * math.erfc(-z / math.sqrt(2.0)) < alpha else (z_low, z)
        self.z = z_low

    def agent(self, agent: int, state: int, now: float, leaving: bool) -> None:
        super().agent(agent, state, now, leaving)
        self.states[agent] = state
        self.sinces[agent] = now

    def pace(self, now: float) -> int:
        ages = np.minimum((now - self.sinces) * (1.0 / STEP), LAST - 1).astype(np.intp)
        talk = self.talk_free[ages[self.states == TALK]]
        wrap = self.wrap_free[ages[self.states == WRAP]]
        free = self.count[IDLE] + float(talk.sum() + wrap.sum())
        variance = float((talk * (1.0 - talk)).sum() + (wrap * (1.0 - wrap)).sum())
        answers = float(len(self.waiting))
        live, top = self.live, LAST - 1
        for placed in self.ringing.values():
            chance = live[min(top, int((now - placed) * (1.0 / STEP)))]
            answers += chance
            variance += chance * (1.0 - chance)
        lines = 0
        while answers - free + 0.5 <= self.z * math.sqrt(variance) and lines < 1000:
            lines += 1
            answers += self.p
            variance += self.p * (1.0 - self.p)
        return lines

    def decide(self, now: float, offer: dict[str, Any]) -> tuple[int, tuple[int, ...], float]:
        return min(self.pace(now), offer["lines"]), (), now + self.tick
