"""Time of one pacing decision, and of the ledger, at small, regular and large campaigns.

    python -m pytest benchmarks/bench_pacing.py --benchmark-enable -o addopts= -q

The bar: one decision at 500 agents and 1,000 calls in flight takes 50 microseconds at most.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.pacing_scenarios import judged
from benchmarks.study_shocks import QUICK
from cordboard._core.pacing_drive import Drive
from cordboard.pacing.ledger import Ledger
from cordboard.pacing.pacer import Pacer
from cordboard.pacing.rules import rule

SIZES = {"small": (5, 8), "regular": (50, 60), "large": (500, 1000)}


def busy_pacer(agents: int, calls: int) -> tuple[Pacer, float]:
    """A pacer that has learned talk, wrap-up and ring times, with agents in every state and calls of every age."""
    pacer = Pacer(choose=False)
    now = 0.0
    for i in range(2000):
        now += 0.5
        pacer.call(i, "placed", now - 0.4)
        if i % 3 == 0:
            pacer.call(i, "answered", now)
            pacer.agent(("trainer", i), "talk", now)
            pacer.call(i, "connected", now)
            pacer.agent(("trainer", i), "away", now)
        else:
            pacer.call(i, "failed", now)
    start = now
    for agent in range(agents):
        at = start + agent * 200.0 / agents
        pacer.agent(agent, ("talk", "talk", "talk", "wrap")[agent % 4], at)
    for call in range(calls):
        pacer.call(("ringing", call), "placed", start + 200.0 + call * 20.0 / calls)
    now = start + 221.0
    for agent in range(0, agents, 20):
        pacer.agent(agent, "idle", now)
    return pacer, now


@pytest.mark.parametrize("size", SIZES)
def test_time_decision_of_the_core(benchmark: Any, size: str) -> None:
    pacer, now = busy_pacer(*SIZES[size])
    drive = Drive(pacer.core)
    pacer.core.budget = 20.0
    groups = [(math.nan, 0, 1 << 20)]
    drive.ask(now, groups, 4096, False)  # builds the tables, which it then keeps for some seconds
    benchmark(drive.ask, now, groups, 4096, False)


@pytest.mark.parametrize("size", SIZES)
def test_time_plan(benchmark: Any, size: str) -> None:
    pacer, now = busy_pacer(*SIZES[size])
    pacer.plan(now)
    benchmark(pacer.plan, now)


def test_time_ledger_of_four_windows_an_answer(benchmark: Any) -> None:
    ledger = Ledger([rule(name) for name in ("us_tsr", "uk_ofcom_2008", "ca_crtc", "house_day")], start=0.0)
    clock = [0.0]

    def answer() -> int:
        clock[0] += 0.5
        (ledger.dropped if ledger.drops_left(clock[0]) > 3 else ledger.handled)(clock[0])
        return ledger.drops_left(clock[0])

    for _ in range(20_000):
        answer()
    benchmark(answer)


def test_track_scenarios(benchmark: Any) -> None:
    """A day of each: that the study runs; ``python -m benchmarks.study_shocks --scenarios`` is the study."""
    found = benchmark.pedantic(lambda: list(judged(range(2000, 2001), QUICK)), rounds=1)
    benchmark.extra_info.update({f"{number}: {figure.what}": figure.value for number, _, figure in found})
    assert {number for number, _, _ in found} == set(QUICK)
