"""The pacing decision and what it learns, against independent computations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from cordboard._core.pacing import PacingCore
from cordboard._core.pacing_learn import AnswerLearner, DurationLearner
from cordboard.pacing import world as w


def brute_force_tail(calls: list[float], agents: list[float], spare: int) -> float:
    """P(answers - agents freed >= spare), by every combination."""
    total = 0.0
    for outcome in itertools.product((0, 1), repeat=len(calls) + len(agents)):
        chance = 1.0
        for happened, q in zip(outcome, calls + agents, strict=True):
            chance *= q if happened else 1.0 - q
        if sum(outcome[: len(calls)]) - sum(outcome[len(calls) :]) >= spare:
            total += chance
    return total


@pytest.mark.parametrize("spare", [0, 1, 2, 4])
@pytest.mark.parametrize(("calls", "agents"), [([0.3, 0.1, 0.25, 0.7], [0.2, 0.05]), ([0.1] * 7, [0.3] * 5), ([], [0.5])])
def test_the_chance_of_no_free_agent_is_the_one_found_by_enumeration(
    calls: list[float], agents: list[float], spare: int
) -> None:
    assert PacingCore.chance(calls, agents, spare) == pytest.approx(brute_force_tail(calls, agents, spare), abs=1e-11)


def test_a_thousand_calls_against_five_hundred_agents_agree_with_a_convolution() -> None:
    rng = np.random.default_rng(1)
    calls, agents = list(rng.uniform(0, 0.2, 1000)), list(rng.uniform(0, 0.2, 500))
    pmf = np.ones(1)
    for q in calls:
        pmf = np.convolve(pmf, [1 - q, q])
    for q in agents:
        pmf = np.convolve(pmf, [q, 1 - q])  # one more for each agent who stays busy
    for spare in (20, 50, 80):
        assert PacingCore.chance(calls, agents, spare) == pytest.approx(pmf[spare + 500 :].sum(), abs=1e-9)


def test_learned_talk_survives_as_kaplan_meier_says_when_some_talks_are_cut_off() -> None:
    rng = np.random.default_rng(2)
    talk, cut = rng.lognormal(4.4, 0.8, 4000), rng.exponential(150, 4000)
    learner = DurationLearner(60.0, 0.5, 1.0, 1e9)
    for t, c in zip(talk, cut, strict=True):
        learner.add(float(min(t, c)), bool(t <= c))
    learner.learn()
    times, ended = np.minimum(talk, cut), talk <= cut
    order = np.argsort(times)
    survival = np.cumprod(1.0 - ended[order] / np.arange(4000, 0, -1))
    for age in (20.0, 60.0, 120.0, 200.0):
        expected = survival[np.searchsorted(times[order], age, side="right") - 1]
        assert learner.survives(age) == pytest.approx(expected, abs=0.012)


def test_the_answer_probability_by_age_is_the_one_of_the_world_it_was_learned_in() -> None:
    rng = np.random.default_rng(3)
    learner = AnswerLearner(0.5, 20.0, 20.0, 1e9)
    answers = 2.0 + rng.gamma(4, 2.0, 30_000)
    live, fast = rng.uniform(size=30_000) < 0.3, rng.uniform(size=30_000) < 0.15 / 0.7
    ends = np.where(live, answers, np.where(fast, 3.0, 24.0))
    for end, answered in zip(ends, live, strict=True):
        learner.add(float(end), int(answered))
    learner.learn()
    assert learner.mean_probability() == pytest.approx(0.3, abs=0.01)
    for age, span in ((0.0, 10.0), (5.0, 5.0), (12.0, 4.0)):
        alive = ends > age
        expected = (live & alive & (ends <= age + span)).sum() / alive.sum()
        assert learner.probability(age, span) == pytest.approx(expected, abs=0.03)


def test_nobody_free_and_nobody_due_means_no_dial_and_one_free_agent_means_one_line() -> None:
    core = PacingCore(0.001)
    core.agent(0, w.TALK, 0.0)
    assert core.plan(1.0)[0] == [0]
    core.agent(1, w.IDLE, 1.0)
    assert core.plan(1.0)[0] == [1]


def test_never_more_numbers_than_lines_or_leads() -> None:
    core = PacingCore()
    for agent in range(50):
        core.agent(agent, w.IDLE, 0.0)
    assert core.plan(0.0, lines=7) == ([7], [], 5.0, "capacity_bound")
    assert core.plan(0.0, ((math.nan, 3),))[0] == [3]


def test_high_probabilities_are_dialed_when_one_agent_is_free_and_low_ones_when_many_are() -> None:
    for idle, (low, high) in ((1, (False, True)), (12, (True, False))):
        core = PacingCore()
        for agent in range(idle):
            core.agent(agent, w.IDLE, 0.0)
        dialed = core.plan(0.0, ((0.05, 1000), (0.55, 1000)))[0]
        assert (dialed[0] > 0, dialed[1] > 0) == (low, high)


def test_when_all_agents_leave_nothing_is_dialed_and_ringing_calls_are_cancelled_after_the_minimum_ring() -> None:
    core = PacingCore()
    core.agent(0, w.IDLE, 0.0)
    core.call(0, w.PLACED, 0.0)
    core.call(0, w.RINGING, 2.0)
    core.agent(0, w.AWAY, 5.0)
    assert core.plan(6.0) == ([0], [], 11.0, "no_agents")
    assert core.plan(15.0) == ([0], [], 17.0, "no_agents")
    assert core.plan(17.0)[1] == [0]


def test_silent_telemetry_stops_the_dialing() -> None:
    core = PacingCore()
    core.agent(0, w.IDLE, 0.5)
    core.beat(1.0)
    assert core.plan(2.9)[0] == [1]
    assert core.plan(3.1)[::3] == ([0], "telemetry_stale")


def test_a_day_stays_under_its_target_with_learned_parameters_and_repeats_itself() -> None:
    def day(seed: int) -> w.Day:
        core = PacingCore(0.03)
        core.window_end = 8 * 3600.0
        return w.run(w.World(), core, seed)

    days = [day(seed) for seed in range(3)]
    assert w.pooled(days)["worst_day"] <= 0.03
    assert w.pooled(days)["occupancy"] >= 0.89
    assert (day(0).minutes == days[0].minutes).all()
