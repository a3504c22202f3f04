"""The simulator through the real router against exact theory: the interval of every figure covers the known value.

Seeds are fixed. A 95 % interval misses one true value in twenty, and here stand some two hundred; so a figure passes when
the value lies within 1.6 half widths (99.8 % for 20 batches), and how often intervals cover is a test of its own, the
last. Run lengths are such that a row takes seconds; ``python -m benchmarks.study_simulation`` runs all rows longer.
"""

from __future__ import annotations

import math

import pytest

from cordboard.center import Center
from cordboard.simulation import Estimate, Exponential, Scenario, SimulationResult, simulate
from tests import theory_cases as theory

BATCHES = 20
SEED = 20261122
WIDE = 1.6


def run(case: tuple[Center, Scenario], seed: int = SEED) -> SimulationResult:
    return simulate(*case, batches=BATCHES, seed=seed)


def assert_close(estimate: Estimate, exact: float, width: float, name: str, extra: float = 0.0) -> None:
    """Within the interval, and the interval is no wider than ``width`` of the value (else the test would say nothing).

    ``extra``: half width of the exact value, where it was itself simulated.
    """
    within = WIDE * math.hypot(estimate.half_width, extra)
    assert abs(estimate.mean - exact) <= within, f"{name}: {estimate} does not cover {exact:.6g}"
    assert estimate.half_width <= width * exact, f"{name}: {estimate} is too wide to say anything about {exact:.6g}"


@pytest.mark.parametrize("row", theory.ERLANG_A, ids=lambda row: f"n={row[0]} lambda={row[1]:g} theta={row[2]:g}")
def test_erlang_a_is_reproduced(row: tuple[float, ...]) -> None:
    n, lam, theta, threshold, delayed, abandoned, wait, asa, level, occupancy = row
    result = run(theory.pool(int(n), lam, Exponential(1 / theta), threshold=threshold, calls=8e5))
    total = result.total
    assert_close(total["DELAYED"], delayed, 0.12, "P(wait)")
    assert_close(total["ABANDON_RATE"], abandoned, 0.25, "P(abandon)")
    assert_close(total["WAIT_ALL"], wait, 0.25, "E[W]")
    assert_close(total["ASA"], asa, 0.25, "E[W | served]")
    if level > 0.05:
        assert_close(total["SL_OFFERED"], level, 0.25, "service level")
    assert_close(result.everyone["OCC_TALK"], occupancy, 0.02, "occupancy")


@pytest.mark.parametrize("row", theory.GENERAL_PATIENCE, ids=lambda row: f"{row[0]} lambda={row[1]:g}")
def test_all_five_patience_laws_are_reproduced(row: tuple[str, float, float, float, float, float, float]) -> None:
    patience, lam, delayed, abandoned, wait, level, length = row
    total = run(theory.pool(100, lam, theory.PATIENCE[patience], calls=6e5)).total
    wide = 0.8 if patience == "deterministic" else 0.3  # its queue swings for hundreds of service times
    if delayed < 0.999:
        assert_close(total["DELAYED"], delayed, wide, "P(wait)")
    if abandoned > 1e-4:
        assert_close(total["ABANDON_RATE"], abandoned, wide, "P(abandon)")
    assert_close(total["WAIT_ALL"], wait, wide, "E[W]")
    assert_close(total["QUEUE_LENGTH"], length, wide, "E[Q]")
    if level > 0.05:
        assert_close(total["SL_OFFERED"], level, wide, "service level")


@pytest.mark.parametrize("row", theory.GENERAL_SERVICE, ids=lambda row: f"{row[0]} service {row[1]} patience")
def test_non_exponential_service_agrees_with_the_published_simulation(row: tuple[str, str, *tuple[float, ...]]) -> None:
    service, patience, at_once, at_once_hw, abandoned, abandoned_hw, length, length_hw = row
    total = run(theory.pool(100, 102.0, theory.LAWS[patience], service=theory.LAWS[service], calls=6e5)).total
    answered_at_once = Estimate(1 - total["DELAYED"].mean, total["DELAYED"].half_width, BATCHES)
    assert_close(answered_at_once, at_once, 0.6, "P(W=0)", at_once_hw)
    assert_close(total["ABANDON_RATE"], abandoned, 0.3, "P(A)", abandoned_hw)
    assert_close(total["QUEUE_LENGTH"], length, 0.3, "E[Q]", length_hw)


@pytest.mark.parametrize("row", theory.PRIORITIES, ids=lambda row: f"{len(row[1])} classes n={row[0]}")
def test_priorities_are_reproduced_and_conserve_the_mean_wait(
    row: tuple[int, tuple[float, ...], tuple[float, ...]],
) -> None:
    n, lams, waits = row
    result = run(theory.priorities(n, lams, 1e6))
    for k, wait in enumerate(waits):
        assert_close(result.queues[f"c{k}"]["WAIT_ALL"], wait, 0.35, f"E[W] of class {k}")
    mean = sum(lam * wait for lam, wait in zip(lams, waits, strict=True)) / sum(lams)
    assert_close(result.total["WAIT_ALL"], mean, 0.2, "E[W] of all, which no order changes")


@pytest.mark.parametrize("name", theory.PRODUCT_FORM)
def test_first_come_first_served_with_longest_idle_has_its_product_form(name: str) -> None:
    _, _, waits, busy = theory.PRODUCT_FORM[name]
    result = run(theory.product_form(name, 1e6))
    for k, wait in enumerate(waits):
        assert_close(result.queues[f"c{k}"]["WAIT_ALL"], wait, 0.15, f"E[W] of class {k}")
    for group, share in zip(result.groups, busy, strict=True):
        assert_close(group["OCC_TALK"], share, 0.02, f"P(busy) of {group.name}")


@pytest.mark.parametrize("reserve", [*theory.N_MODEL_RESERVE, "class 1 first"])
def test_the_n_model_with_abandonment_and_reserves_is_reproduced(reserve: int | str) -> None:
    if isinstance(reserve, int):
        exact, case = theory.N_MODEL_RESERVE[reserve], theory.n_model(reserve, 4e5)
    else:
        exact, case = theory.N_MODEL_PRIORITY_1, theory.n_model(0, 4e5, first=1)
    result = run(case)
    one, two = result.queues["c1"], result.queues["c2"]
    assert_close(one["WAIT_ALL"], exact[0], 0.1, "E[W] of class 1")
    assert_close(two["WAIT_ALL"], exact[1], 0.1, "E[W] of class 2")
    assert_close(one["ABANDON_RATE"], exact[2], 0.1, "P(abandon) of class 1")
    assert_close(two["ABANDON_RATE"], exact[3], 0.1, "P(abandon) of class 2")
    assert_close(result.groups[1]["OCC_TALK"], exact[4], 0.02, "occupancy of pool 2")


@pytest.mark.parametrize(("erlang", "skills"), theory.SIX_TYPES, ids=str)
def test_the_six_types_and_ninety_agents_are_reproduced(erlang: float, skills: int) -> None:
    blocked, asa, delayed = theory.SIX_TYPES[erlang, skills]
    total = run(theory.six_types(erlang, skills, 2e6)).total
    assert_close(total["BLOCKED"], blocked[0], 0.8, "blocking", blocked[1])
    assert_close(total["ASA"], 60 * asa[0], 0.12, "ASA", 60 * asa[1])
    assert_close(total["DELAYED"], delayed[0], 0.1, "P(delay)", delayed[1])


def test_intervals_of_independent_replications_cover_as_often_as_they_say() -> None:
    # given 60 independent estimates of the same known wait, from 10 replications each
    exact = theory.ERLANG_A[1]
    center, scenario = theory.pool(20, 18.0, Exponential(2.0), calls=2500, warm_up=30)
    estimates = [simulate(center, scenario, replications=10, seed=s).total["WAIT_ALL"] for s in range(60)]
    # then about 95 % of the intervals cover it: 51 or fewer of 60 has probability 0.2 % if they do
    assert sum(estimate.covers(exact[6]) for estimate in estimates) >= 52
