"""M/M/n+M as a user of SimPy or Ciw would write it, to stand beside the kernel in the benchmark."""

from __future__ import annotations

import random
from typing import Any


def run_simpy(calls: int, n: int, lam: float, mu: float, theta: float, seed: int) -> tuple[float, float]:
    """Share abandoned and mean wait, by SimPy: one process a caller, which waits for the agent or for its patience."""
    import simpy

    draw = random.Random(seed)
    env = simpy.Environment()
    agents = simpy.Resource(env, capacity=n)
    abandoned, waited = 0, 0.0

    def caller() -> Any:
        nonlocal abandoned, waited
        came = env.now
        with agents.request() as request:
            if not request.triggered:
                yield request | env.timeout(draw.expovariate(theta))
            waited += env.now - came
            if not request.triggered:
                abandoned += 1
                return
            yield env.timeout(draw.expovariate(mu))

    def arrivals() -> Any:
        for _ in range(calls):
            yield env.timeout(draw.expovariate(lam))
            env.process(caller())

    env.process(arrivals())
    env.run()
    return abandoned / calls, waited / calls


def run_ciw(calls: int, n: int, lam: float, mu: float, theta: float, seed: int) -> tuple[float, float]:
    """Share abandoned and mean wait, by Ciw: one node with reneging."""
    import ciw

    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(lam)],
        service_distributions=[ciw.dists.Exponential(mu)],
        reneging_time_distributions=[ciw.dists.Exponential(theta)],
        number_of_servers=[n],
    )
    ciw.seed(seed)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(calls, method="Arrive")
    records = simulation.get_all_records()
    reneged = sum(record.record_type == "renege" for record in records)
    return reneged / len(records), sum(record.waiting_time for record in records) / len(records)
