"""What an estimate and an event cost: ``python -m pytest benchmarks/bench_waits.py --benchmark-enable``."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cordboard.center import Agent, Center, Queue
from cordboard.waits import WaitEstimator

sys.path.append(str(Path(__file__).resolve().parents[1]))
from benchmarks.waits_worlds import learned_world

SIZES = {"small": (1, 1, 100), "regular": (16, 32, 1_000), "large": (64, 256, 15_000)}  # queues, profiles, agents


def busy_center(size: str, waiting: int) -> WaitEstimator:
    """Agents in profiles of skills, all ready, and contacts that wait although."""
    queues, profiles, agents = SIZES[size]
    center = Center(
        queues=tuple(Queue(f"q{i}", requires={f"s{i % 16}": 1}) for i in range(queues)),
        agents=tuple(
            Agent(f"a{i}", skills={f"s{k}": 5 for k in range(16) if (i % profiles) >> (k % 8) & 1})
            for i in range(agents)
        ),
    )
    estimator = WaitEstimator(center)
    for agent in center.agents:
        estimator.observe({"t": 0.0, "event": "agent_ready", "agent": agent.name})
    for i in range(waiting):
        estimator.observe({"t": 1.0 + i * 1e-3, "event": "contact_queued", "contact": i, "queue": f"q{i % queues}"})
    return estimator


@pytest.mark.parametrize("size", SIZES)
def test_time_estimate(benchmark: Any, size: str) -> None:
    """One estimate with 20,000 contacts waiting."""
    estimator = busy_center(size, 20_000)
    benchmark(estimator.predict, 19_999)


@pytest.mark.parametrize("size", SIZES)
def test_time_contact_comes(benchmark: Any, size: str) -> None:
    """A contact comes to wait."""
    estimator = busy_center(size, 20_000)
    numbers = count(20_000)

    def come() -> None:
        i = next(numbers)
        estimator.observe({"t": 100.0 + i * 1e-3, "event": "contact_queued", "contact": i, "queue": "q0"})

    benchmark(come)


def test_time_learn(benchmark: Any) -> None:
    """An agent takes a contact, which is learned from, ends it, and the next comes."""
    estimator, t = learned_world(agents=100, arrivals=110, theta=0.5, contacts=20_000, seed=1)
    numbers = count()
    estimator.observe({"t": t, "event": "contact_queued", "contact": "first", "queue": "q"})
    before = ["first"]

    def turn() -> None:
        i = next(numbers)
        now = t + (i + 1) * 0.01
        estimator.observe({"t": now, "event": "contact_queued", "contact": f"n{i}", "queue": "q"})
        estimator.observe({"t": now, "event": "offer_accepted", "contact": before[0], "agent": "a0"})
        estimator.observe({"t": now, "event": "contact_ended", "contact": before[0]})
        before[0] = f"n{i}"

    benchmark(turn)
