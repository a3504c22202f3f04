"""Agents with more than one kind of work: inbound that triples beside a campaign, two campaigns of unlike targets, and
how quick scenarios with campaigns are simulated.

    python -m benchmarks.study_sharing [--seeds 12] [--quick]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.dialers.ours import ours, rules
from cordboard.center import Agent, Center, Queue
from cordboard.pacing.blend import Blend
from cordboard.pacing.driver import Driver, GroupDriver
from cordboard.pacing.group import PacerGroup
from cordboard.pacing.pacer import Pacer
from cordboard.pacing.world import Day, LeadList, World, run
from cordboard.simulation import Campaign, Erlang, Exponential, LeadGroup, LogNormal, Scenario, Source, poisson
from cordboard.simulation.live_runs import Job, one

HANDLE_S = 150.0
SPIKE_S, OVER_S, END_S = 5400.0, 9000.0, 12600.0


def share(days: Sequence[Day], part: str, whole: str, start: float, end: float) -> float:
    return sum(day.total(part, start, end) for day in days) / max(1.0, sum(day.total(whole, start, end) for day in days))


def spike(blend: tuple[float, float] | None, seeds: int) -> None:
    """20 agents, p = .3; inbound of 5 Erlang that is 15 for an hour."""
    base = 20 * 0.25 / HANDLE_S
    changes = ((SPIKE_S, "inbound_rate", 3 * base), (OVER_S, "inbound_rate", base))
    world = World(20, 0.3, END_S / 3600.0, inbound_rate=base, changes=changes)
    days = []
    for seed in range(seeds):
        kept = None if blend is None else Blend(*blend)
        days.append(run(world, Driver(Pacer(rules=rules(0.03, 1680), closes=END_S, blend=kept)), seed))
    name = "no blend" if blend is None else f"{100 * blend[0]:g}/{blend[1]:g}"
    for label, start, end in (
        ("before", 1800.0, SPIKE_S), ("first 5 min", SPIKE_S, SPIKE_S + 300), ("spike", SPIKE_S, OVER_S),
        ("10 min after", OVER_S, OVER_S + 600), ("after", OVER_S + 600, END_S),
    ):  # fmt: skip
        dials = sum(day.total("dials", start, end) for day in days) / len(days) / (end - start) * 60.0
        print(
            f"| {name} | {label} | {100 * share(days, 'inbound_in_time', 'inbound', start, end):.1f} % "
            f"| {100 * share(days, 'drops', 'answers', start, end):.2f} % | {dials:.1f} "
            f"| {share(days, 'busy', 'staffed', start, end):.3f} |"
        )
    print(f"| {name} | worst day | | {100 * max(day.drop_rate() for day in days):.2f} % | | |", flush=True)


def team(targets: Sequence[float], agents: int, hours: float, seed: int) -> Day:
    lists = tuple(LeadList(0.3, campaign=i) for i in range(len(targets)))
    world = World(agents, 0.3, hours, lists=lists, choose=True)
    end = hours * 3600.0
    answers = int(agents * end / HANDLE_S / len(targets))
    pacers = {f"c{i}": Pacer(target=t, rules=rules(t, answers), closes=end) for i, t in enumerate(targets)}
    return run(world, GroupDriver(PacerGroup(pacers)), seed)


def shared(targets: Sequence[float], agents: int, hours: float, seeds: int) -> None:
    days = [team(targets, agents, hours, seed) for seed in range(seeds)]
    rates = [
        (share(days, f"drops_{i}", f"answers_{i}", 0.0, 1e9), max(share([d], f"drops_{i}", f"answers_{i}", 0.0, 1e9) for d in days))
        for i in range(len(targets))
    ]
    told = ", ".join(f"{100 * mean:.2f} % ({100 * worst:.2f} %)" for mean, worst in rates)
    names = " and ".join(f"{100 * t:g} %" for t in targets)
    print(f"| {names}, shared | {agents} | {np.mean([day.occupancy() for day in days]):.4f} | {told} |", flush=True)


def alone(target: float, agents: int, hours: float, seeds: int) -> None:
    world = World(agents, 0.3, hours)
    days = [run(world, ours(world, target), seed) for seed in range(seeds)]
    drops = share(days, "drops", "answers", 0.0, 1e9)
    worst = max(day.drop_rate() for day in days)
    occupancy = np.mean([day.occupancy() for day in days])
    print(f"| {100 * target:g} % alone | {agents} | {occupancy:.4f} | {100 * drops:.2f} % ({100 * worst:.2f} %) |", flush=True)


def speed(agents: int, hours: float) -> None:
    """One live day on one core: a campaign alone, and beside inbound."""
    inbound = Source("calls", poisson(agents * 6.0), Exponential(120.0), Exponential(90.0))
    for name, sources in (("outbound", ()), ("blended", (inbound,))):
        center = Center(
            queues=(Queue("calls", weight=10, wrap_up=20), Queue("out", wrap_up=30, offer_timeout=0)),
            agents=tuple(Agent(f"a{i}") for i in range(agents)),
        )
        campaign = Campaign("out", (LeadGroup(1_000_000, 0.3),), LogNormal(120.0, 0.81), wrap_up=Erlang(4, 30.0))
        scenario = Scenario(sources, hours * 3600.0, campaigns=(campaign,))
        start = time.process_time()
        _, (found,) = one(Job(center, scenario, 1, False, (0,)), 0)
        seconds = time.process_time() - start
        dials = int(found.counts[0])
        print(f"| {name} | {agents} | {dials} | {seconds:.1f} s | {dials / seconds:,.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="two seeds and two hours")
    options = parser.parse_args()
    seeds, hours = (2, 2.0) if options.quick else (options.seeds, 8.0)
    print(f"{seeds} seeds, {hours:g} hours, {os.cpu_count()} cores")
    print("\n| inbound target | when | inbound in 20 s | outbound drops | dials a minute | occupancy |")
    print("| --- | --- | --- | --- | --- | --- |")
    for blend in ((0.8, 20.0), (0.9, 10.0), None):
        spike(blend, seeds)
    print("\n| campaigns | agents | occupancy | drops of each (worst day) |")
    print("| --- | --- | --- | --- |")
    shared((0.01, 0.03), 20, hours, seeds)
    for agents in (20, 10):
        for target in (0.01, 0.03):
            alone(target, agents, hours, seeds)
    shared((0.03, 0.03), 20, hours, seeds)
    print("\n| scenario, 8 hours | agents | dials | CPU | dials a second |")
    print("| --- | --- | --- | --- | --- |")
    for agents in (20,) if options.quick else (20, 100):
        speed(agents, 1.0 if options.quick else 8.0)


if __name__ == "__main__":
    main()
