"""The simulated world: callers, agents, shifts, retrials, and the bookkeeping, driven through the real router."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard._core import simkernel
from cordboard.center import Agent, Center, Queue, Reserve
from cordboard.errors import DataError, LimitError, MissingExtraError
from cordboard.simulation import (
    Deterministic,
    Exponential,
    LogNormal,
    Never,
    Rates,
    Retry,
    Scenario,
    ServiceBy,
    Shift,
    SimulationResult,
    Source,
    Trace,
    Uniform,
    poisson,
    simulate,
    sweep,
)
from cordboard.simulation import result as result_columns
from cordboard.simulation.run import pieces_of


def center(agents: int = 3, **queue: object) -> Center:
    return Center(queues=(Queue("q", **{"offer_timeout": 0, **queue}),), agents=_agents(agents))  # type: ignore[arg-type]


def _agents(n: int) -> tuple[Agent, ...]:
    return tuple(Agent(f"a{i}") for i in range(n))


def trace(*times: float, service: float = 10.0, **source: object) -> Source:
    return Source("q", Trace(times), Deterministic(service), **source)  # type: ignore[arg-type]


def one_run(center: Center, *sources: Source, duration: float = 1000.0, **scenario: object) -> SimulationResult:
    return simulate(center, Scenario(sources, duration, **scenario), replications=1, records=True)  # type: ignore[arg-type]


def waits(result: SimulationResult) -> list[float]:
    records = np.sort(result.records[0], order=["source", "index", "attempt"])
    return [float(w) / 1e6 for w in records["wait"]]


def test_a_day_by_hand_comes_out_as_by_hand() -> None:
    # given one agent, calls at 0, 1, 2 s that take 10 s each, and a patience of 15 s
    result = one_run(center(1), trace(0, 1, 2, patience=Deterministic(15.0)))
    # then the second waits 9 s and the third gives up after 15 s
    assert waits(result) == [0, 9, 15]
    tally = result.total.tally()
    assert (tally.offered, tally.answered, tally.abandoned) == (3, 2, 1)
    assert (tally.wait_answered_s, tally.wait_abandoned_s, tally.longest_s) == (9, 15, 15)
    assert result.total.count("delayed") == 2
    assert result.everyone["OCC_AVAILABLE"].mean == pytest.approx(20 / 1000)


def test_ring_time_counts_into_the_wait_and_wrap_up_keeps_the_agent_away() -> None:
    result = one_run(center(1), trace(0, 1, ring=Deterministic(2.0), wrap_up=Deterministic(5.0)))
    # first: rings 0..2, talks 2..12, wraps up 12..17; second: offered at 17, accepted at 19
    assert waits(result) == [2, 18]
    states = result.everyone.states[0] / 1e6
    assert states.tolist() == [0, 0, 1000 - 34, 4, 20, 10]


def test_the_wrap_up_of_the_center_counts_where_the_scenario_gives_none() -> None:
    assert waits(one_run(center(1, wrap_up=7), trace(0, 1))) == [0, 16]


def test_an_agents_own_wrap_up_stands_against_the_scenarios() -> None:
    own = replace(center(1), agents=(Agent("a0", wrap_up=3.0),))
    assert waits(one_run(own, trace(0, 1, wrap_up=Deterministic(50.0)))) == [0, 12]


def test_agents_come_go_and_take_breaks() -> None:
    # given one agent who works 10..19 and 40..60, and ends a conversation that began
    result = one_run(center(1), trace(0, 15, 50), shifts=(Shift(((10, 19), (40, 60))),))
    # then the call at 0 waits for the start, the one at 15 for the end of the break
    assert waits(result) == [10, 25, 0]
    offline, away, idle, _, talking, _ = (result.everyone.states[0] / 1e6).tolist()
    assert talking == 30
    assert (offline, away, idle) == (10 + 940, 20, 0)


def test_a_shift_repeats_every_period() -> None:
    result = one_run(center(1), trace(5, 105, 205, service=1), shifts=(Shift(((10, 20),), period=100),), duration=300)
    assert waits(result) == [5, 5, 5]


def test_who_does_not_get_through_tries_again_as_often_as_it_may() -> None:
    # given nobody to answer, a patience of 5 s, and two more attempts 20 s later each
    source = trace(0, patience=Deterministic(5.0), retry=Retry(1.0, Deterministic(20.0), attempts=2))
    result = one_run(center(1), source, shifts=(Shift(((900, 999),)),))
    records = np.sort(result.records[0], order="attempt")
    assert records["attempt"].tolist() == [0, 1, 2]
    assert (records["entered"] / 1e6).tolist() == [0, 25, 50]
    assert result.total.count("retried") == 2


def test_lines_and_places_turn_callers_away() -> None:
    three = trace(0, 0.5, 1)
    assert one_run(center(1), three, lines=2).total.count("busy") == 1
    assert one_run(center(1), three, waiting_places=1).total.count("busy") == 1
    assert one_run(center(1), three, lines=3).total.count("busy") == 0
    full = one_run(center(1, max_waiting=1), three).total
    assert (full.count("rejected"), full.count("offered")) == (1, 2)
    assert full["BLOCKED"].mean == pytest.approx(1 / 3)


def test_an_offer_that_nobody_answers_goes_on_and_the_agent_comes_back() -> None:
    # given agents who never answer, 15 s a ring, away after one miss and back 300 s later
    never = center(2, offer_timeout=15, max_no_answer=1)
    result = one_run(never, trace(0, no_answer=1.0, patience=Deterministic(100.0)))
    assert result.total.count("missed") == 2  # each agent once; they are excluded for this contact
    assert result.total.tally().abandoned == 1
    _, away, _, ringing, _, _ = (result.everyone.states[0] / 1e6).tolist()
    assert (away, ringing) == (600, 30)


def test_without_an_offer_time_out_an_agent_who_does_not_answer_declines() -> None:
    result = one_run(center(2), trace(0, no_answer=1.0, ring=Deterministic(4.0), patience=Deterministic(100.0)))
    assert result.total.count("missed") == 2


def test_ring_all_connects_the_first_to_accept_and_nobody_twice() -> None:
    source = Source("q", poisson(3600.0), Exponential(2.0), Exponential(5.0), ring=Uniform(0.5, 3.0))
    total = one_run(center(3, strategy="ring_all"), source, duration=3000).total
    tally = total.tally()
    assert tally.offered == tally.answered + tally.abandoned
    assert total.count("offers") > tally.answered
    assert 0.5 < total["ASA"].mean < 3.0


def test_overflow_is_counted_where_the_contact_waits() -> None:
    both = Center(
        queues=(Queue("q", requires={"zh": 1}, max_wait=5, overflow="other", offer_timeout=0), Queue("other", offer_timeout=0)),
        agents=(Agent("a0", queues={"other": 1}),),
    )
    result = one_run(both, trace(0))
    assert result.queues["q"].tally().flowout == 1
    assert result.queues["other"].tally().answered == 1


def test_an_answer_at_the_threshold_to_the_microsecond_is_within_it() -> None:
    level = one_run(center(1, target_within=9), trace(0, 1)).total.tally()
    missed = one_run(center(1, target_within=9 - 1e-6), trace(0, 1)).total.tally()
    assert (level.answered_in, missed.answered_in) == (2, 1)


def test_max_wait_without_overflow_is_a_timeout() -> None:
    tally = one_run(center(1, max_wait=5), trace(0, 1)).total.tally()
    assert (tally.answered, tally.timeout, tally.wait_other_s) == (1, 1, 5)


def test_several_channels_share_an_agent_as_the_center_says() -> None:
    mixed = Center(
        queues=(Queue("q", offer_timeout=0), Queue("chat", channel="chat", offer_timeout=0)),
        agents=(Agent("a0", capacity={"voice": 1, "chat": 3}),),
    )
    chat = Source("chat", Trace((0.0, 1.0, 2.0, 3.0)), Deterministic(50.0))
    result = one_run(mixed, chat, Source("q", Trace((10.0,)), Deterministic(5.0)))
    records = {(int(r["source"]), int(r["index"])): float(r["wait"]) / 1e6 for r in result.records[0]}
    assert [records[0, i] for i in range(4)] == [0, 0, 0, 47]  # the fourth chat waits for the first to end
    assert records[1, 0] == 90  # voice waits until no chat is left: one channel at a time


def test_service_may_differ_by_agent() -> None:
    slow = ServiceBy(("a0",), Deterministic(100.0))
    result = one_run(center(2), trace(0, 1, service_by=(slow,)))
    assert sorted(int(t) / 1e6 for t in result.records[0]["talk"]) == [10, 100]


def test_a_contacts_own_requirements_and_priority_are_the_routers_to_keep() -> None:
    two = replace(center(2), agents=(Agent("a0", skills={"zh": 1}), Agent("a1", skills={"zh": 9})))
    result = one_run(two, trace(0, requires=(("zh", 5),)))
    assert result.records[0]["agent"].tolist() == [1]
    busy = one_run(center(1), trace(0), trace(1), trace(2, priority=5))
    assert waits(busy) == [0, 19, 8]


def test_a_reserve_of_the_center_holds_in_simulation() -> None:
    reserved = Center(
        queues=(Queue("q", offer_timeout=0), Queue("vip", offer_timeout=0)),
        agents=(Agent("a0", skills={"zh": 5}), Agent("a1", skills={"zh": 5})),
        reserves=(Reserve("zh", 1, 1, ("vip",)),),
    )
    assert waits(one_run(reserved, trace(0, 1), Source("vip", Trace((2.0,)), Deterministic(3.0)))) == [0, 9, 0]


def test_the_same_seed_gives_the_same_bytes_whatever_the_threads() -> None:
    source = Source("q", poisson(7200.0, day_scv=0.1), LogNormal(1.0, 1.0), Exponential(2.0), ring=Uniform(0, 0.2))
    scenario = Scenario((source,), 500.0)
    first = simulate(center(3), scenario, replications=6, seed=9, threads=1, records=True)
    again = simulate(center(3), scenario, replications=6, seed=9, threads=3, records=True)
    other = simulate(center(3), scenario, replications=6, seed=10, records=True)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first.records, again.records, strict=True))
    assert first.total.rows.tobytes() == again.total.rows.tobytes()
    assert first.total.rows.tobytes() != other.total.rows.tobytes()
    assert first.records[0].tobytes() != first.records[1].tobytes()


def test_two_centers_meet_the_same_callers_with_the_same_demand() -> None:
    # given the same scenario before a small and a large center
    source = Source("q", poisson(3600.0), LogNormal(5.0, 1.0), Exponential(3.0), ring=Uniform(0, 1))
    scenario = Scenario((source,), 400.0)
    small, large = (simulate(center(n), scenario, replications=1, records=True).records[0] for n in (4, 40))
    by_index = [{int(r["index"]): r for r in records} for records in (small, large)]
    assert by_index[0].keys() == by_index[1].keys()
    answered = [i for i, r in by_index[0].items() if r["outcome"] == 0 and by_index[1][i]["outcome"] == 0]
    assert len(answered) > 100
    for i in answered:
        assert by_index[0][i]["entered"] == by_index[1][i]["entered"]
        assert by_index[0][i]["talk"] == by_index[1][i]["talk"]


def test_a_time_varying_rate_brings_its_contacts_when_it_says() -> None:
    rates = Rates(((0.0, 0.0), (1000.0, 36_000.0), (2000.0, 3600.0)), period=4000)
    source = Source("q", rates, Deterministic(0.01))
    result = one_run(center(5), source, duration=8000)
    came = result.records[0]["entered"] / 1e6 % 4000
    counts = np.histogram(came, [0, 1000, 2000, 4000])[0]
    assert counts[0] == 0
    assert counts[1] == pytest.approx(20_000, rel=0.03)
    assert counts[2] == pytest.approx(4000, rel=0.07)


def test_doubly_stochastic_arrivals_are_overdispersed_as_asked() -> None:
    source = Source("q", poisson(3600.0, day_scv=0.04), Deterministic(0.01))
    result = simulate(center(5), Scenario((source,), 1000.0), replications=400, seed=1)
    counts = result.total.rows[:, 0]
    assert counts.mean() == pytest.approx(1000, rel=0.05)
    assert counts.var() == pytest.approx(1000 + 0.04 * 1000**2, rel=0.25)


def testpieces_of_of_the_rate_are_cut_at_the_end_and_repeated_by_period() -> None:
    ends, rates = pieces_of(Rates(((0, 10), (50, 20)), period=100), 180.0, 0, 0)
    assert ends.tolist() == [50, 100, 150, 180]
    assert rates.tolist() == [10, 20, 10, 20]


def test_the_columns_of_the_results_are_those_of_the_kernel() -> None:
    assert len(result_columns.COUNTERS) == simkernel.COUNTERS
    edges = result_columns.bin_edges(simkernel.BINS)
    assert (np.diff(edges) > 0).all()
    # a wait of 100 s is counted in the bin whose edges hold it
    waits = one_run(center(1), trace(0, 1, service=101.0)).total.waits[0]
    at = int(np.flatnonzero(waits[1:])[0]) + 1
    assert edges[at] <= 100.0 < edges[at + 1]
    assert edges[at + 1] / edges[at] < 1.04


def test_too_many_alive_is_a_limit_and_says_which() -> None:
    flood = Source("q", poisson(36_000.0), Deterministic(100.0), Never())
    with pytest.raises(LimitError, match="max_alive") as caught:
        one_run(center(1), flood, max_alive=500)
    assert caught.value.limit == 500


def test_a_run_without_replications_is_refused() -> None:
    with pytest.raises(DataError):
        simulate(center(1), Scenario((trace(0),), 10.0), replications=0)


def test_the_warm_up_is_left_out_of_the_figures() -> None:
    result = one_run(center(1), trace(0, 1, 500), warm_up=400)
    assert result.total.tally().offered == 1
    assert result.everyone.states.sum() == 600 * 1_000_000


def test_a_sweep_gives_each_case_its_result() -> None:
    cases = [(center(n), Scenario((Source("q", poisson(3600.0), Exponential(2.0), Exponential(1.0)),), 300.0)) for n in (1, 5)]
    few, many = sweep(cases, replications=4)
    assert few.total["ABANDON_RATE"].mean > many.total["ABANDON_RATE"].mean


def test_a_sweep_on_ray_gives_the_same_or_says_what_to_install() -> None:
    cases = [(center(2), Scenario((Source("q", poisson(3600.0), Exponential(2.0)),), 60.0))]
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match="scale"):
            sweep(cases, replications=2, on_ray=True)
        pytest.skip("ray is not installed: pip install 'cordboard[scale]'")
    here, there = sweep(cases, replications=2), sweep(cases, replications=2, on_ray=True)
    assert here[0].total.rows.tobytes() == there[0].total.rows.tobytes()
    nowhere = Scenario((Source("nowhere", poisson(3600.0), Exponential(2.0)),), 60.0)
    with pytest.raises(DataError) as caught:
        sweep([(center(2), nowhere)], on_ray=True)
    assert type(caught.value) is DataError and str(caught.value).startswith("[arrivals.queue]")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_contact_is_accounted_for_in_any_world(data: st.DataObject) -> None:
    # given a random center and scenario with everything that can happen to a contact
    strategy = data.draw(st.sampled_from(["longest_idle", "ring_all", "random", "most_skilled", "round_robin"]))
    first = Queue(
        "q",
        strategy=strategy,
        offer_timeout=data.draw(st.sampled_from([0, 3])),
        max_wait=data.draw(st.sampled_from([0, 4])),
        max_waiting=data.draw(st.sampled_from([0, 3])),
        overflow=data.draw(st.sampled_from([None, "r"])),
        max_no_answer=data.draw(st.sampled_from([0, 1])),
        wrap_up=data.draw(st.sampled_from([0, 2])),
        retry_delay=data.draw(st.sampled_from([0, 2])),
    )
    agents = tuple(Agent(f"a{i}", capacity={"voice": 1, "chat": 2}) for i in range(data.draw(st.integers(1, 4))))
    world = Center(queues=(first, Queue("r", max_waiting=2), Queue("c", channel="chat")), agents=agents)
    source = Source(
        "q",
        poisson(3600.0, day_scv=0.1),
        LogNormal(3.0, 1.0),
        data.draw(st.sampled_from([Exponential(5.0), Never(), Deterministic(0.0)])),
        ring=data.draw(st.sampled_from([Deterministic(0.0), Uniform(0.0, 4.0)])),
        no_answer=data.draw(st.sampled_from([0.0, 0.3])),
        wrap_up=data.draw(st.sampled_from([None, Exponential(1.0), Deterministic(0.0)])),
        retry=data.draw(st.sampled_from([None, Retry(0.5, Exponential(5.0), 3)])),
    )
    chat = Source("c", poisson(1800.0), Exponential(4.0), Exponential(10.0))
    shifts = data.draw(st.sampled_from([(), (Shift(((0.0, 60.0), (80.0, 200.0))),)]))
    scenario = Scenario(
        (source, chat), 200.0, shifts=shifts, drain=100.0, lines=data.draw(st.sampled_from([0, 6])), waiting_places=0
    )
    result = simulate(world, scenario, replications=2, seed=data.draw(st.integers(0, 1000)))
    # then in every queue what was offered is answered, abandoned, timed out, gone on, or still there
    for queue in result.queues.values():
        t = queue.tally()
        assert t.offered == t.answered + t.abandoned + t.timeout + t.flowout + queue.count("open")
        assert queue.waits.sum() == t.answered
        assert min(t.wait_answered_s, t.wait_abandoned_s, t.wait_other_s) >= 0
    # and the agents' time is the time there was
    assert result.everyone.states.sum() == 2 * len(agents) * 200 * 1_000_000
    for id in ("OCC_AVAILABLE", "OCC_LOGIN", "OCC_TALK"):
        assert not result.everyone[id].mean > 1
