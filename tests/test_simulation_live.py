"""A simulated day through cordboard.Acd: it agrees with the kernel, accounts for everybody, and its journal replays."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from cordboard.acd import Acd
from cordboard.center import Agent, Center, Queue
from cordboard.errors import DataError
from cordboard.simulation import (
    Deterministic,
    Exponential,
    LogNormal,
    Rates,
    Retry,
    Scenario,
    ServiceBy,
    Shift,
    Source,
    Trace,
    Uniform,
    poisson,
    simulate,
)
from cordboard.simulation.live import Day, Moment, run_day

CENTER = Center(
    queues=(Queue("billing", requires={"zh": 2}, wrap_up=10, max_no_answer=2), Queue("chat", channel="chat", max_wait=60)),
    agents=tuple(Agent(f"a{i}", skills={"zh": 1 + i}, capacity={"voice": 1, "chat": 2}) for i in range(6)),
)
RATES = Rates(((0.0, 60.0), (1800.0, 120.0), (5400.0, 0.0)), day_scv=0.02)
SCENARIO = Scenario(
    (
        Source(
            "billing",
            RATES,
            LogNormal(180.0, 1.0),
            Exponential(90.0),
            ring=Uniform(1.0, 6.0),
            no_answer=0.05,
            wrap_up=Exponential(20.0),
            retry=Retry(0.5, Exponential(120.0), 2),
            service_by=(ServiceBy(("a0", "a1"), LogNormal(240.0, 1.0)),),
        ),
        Source("chat", poisson(40.0), Exponential(200.0), Exponential(300.0), ring=Deterministic(2.0)),
    ),
    duration=7200.0,
    shifts=(Shift(((0.0, 3000.0), (3600.0, 9000.0))),),
)


def day(seed: int = 4) -> list[Moment]:
    return list(run_day(CENTER, SCENARIO, seed=seed, every=60.0))


def test_a_day_goes_on_in_time_and_accounts_for_every_contact_at_every_moment() -> None:
    moments = day()
    assert len(moments) >= 120
    assert all(a.t < b.t for a, b in pairwise(moments))
    for moment in moments:
        counts = moment.state["counts"]
        assert counts["entered"] == sum(counts[k] for k in ("waiting", "offered", "connected", "ended"))
    last = moments[-1].state["counts"]
    assert last["entered"] > 150
    assert last["waiting"] == last["offered"] == last["connected"] == 0


def test_effects_carry_their_reasons() -> None:
    offers = [e for moment in day() for e in moment.effects if e["effect"] == "offer"]
    assert len(offers) > 100
    assert all(offer["why"] for offer in offers)


def test_the_same_seed_is_the_same_day_and_another_seed_another() -> None:
    def told(seed: int) -> list[Any]:
        return [(moment.t, moment.events, moment.effects) for moment in day(seed)]

    assert told(4) == told(4)
    assert told(4) != told(5)


def test_the_journal_of_a_day_replays_to_the_same_effects() -> None:
    # given a day whose wrap-ups are the center's own, so that the center file is all the engine knows
    source = Source("billing", RATES, LogNormal(180.0, 1.0), Exponential(90.0), ring=Uniform(1.0, 20.0), no_answer=0.1)
    moments = list(run_day(CENTER, Scenario((source,), 7200.0), seed=1))
    engine = Acd(CENTER, seed=1)
    effects = [e for moment in moments for event in moment.events for e in engine.apply(event)]
    effects += engine.advance(moments[-1].t)
    assert effects == [e for moment in moments for e in moment.effects]


def test_live_days_and_the_kernel_agree_on_the_same_scenario() -> None:
    # given Erlang A: 20 agents, lambda 18, theta 1/2, in minutes
    center = Center(queues=(Queue("q", offer_timeout=0),), agents=tuple(Agent(f"a{i}") for i in range(20)))
    scenario = Scenario((Source("q", poisson(18 * 60.0), Exponential(60.0), Exponential(120.0)),), duration=7200.0)
    kernel = simulate(center, scenario, replications=200, seed=1).total
    left = came = 0
    for seed in range(6):
        for moment in run_day(center, scenario, seed=seed, every=7200.0):
            came += sum(event["event"] == "contact_queued" for event in moment.events)
            left += sum(event["event"] == "contact_left" for event in moment.events)
    # then abandonment is the same within the noise of a few thousand calls (exact, in equilibrium: .0378)
    share, error = left / came, math.sqrt(0.0378 / came) * 3
    assert came == pytest.approx(6 * 2160, rel=0.03)
    assert abs(share - kernel["ABANDON_RATE"].mean) < 3 * error


def test_callers_from_outside_join_the_day() -> None:
    quiet = Scenario((Source("billing", Trace((10.0,)), Deterministic(5.0)),), duration=100.0)
    world = Day(CENTER, quiet)
    world.call("dialed-1", "billing", 20.0, service=30.0, patience=2.0)
    events = [e for moment in world.run(every=50.0) for e in moment.events if e.get("contact") == "dialed-1"]
    assert [(e["t"], e["event"]) for e in events] == [(20, "contact_queued"), (20, "offer_accepted"), (50, "contact_ended")]


def test_what_a_live_day_can_not_do_is_refused() -> None:
    with pytest.raises(DataError, match="waiting_places"):
        Day(CENTER, Scenario(SCENARIO.sources, 10.0, waiting_places=3))
