"""Which destination of a trunk a call goes to, and whether it may go at all."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.bindings.settings import Destination, Trunk
from cordboard.bindings.trunks import Trunks

TWO = (Destination("a", 1), Destination("b", 2))


def trunks(gateway=TWO, **limits) -> Trunks:
    return Trunks([Trunk("main", gateway, **limits)], seed=1)


def test_the_lowest_priority_is_tried_first_and_then_the_next():
    some = trunks()
    attempt = some.outgoing("main", 0.0)
    assert attempt.destination.gateway == "a"
    assert some.next(attempt, 0.0) and attempt.destination.gateway == "b"
    assert not some.next(attempt, 0.0)


def test_among_equals_the_first_is_drawn_by_weight():
    some = trunks((Destination("a", 1, 30), Destination("b", 1, 10), Destination("c", 2, 1000)))
    firsts = Counter(some.outgoing("main", 0.0).destination.gateway for _ in range(4000))
    assert set(firsts) == {"a", "b"}
    assert firsts["a"] / 4000 == pytest.approx(0.75, abs=0.03)  # four standard deviations of a fixed seed


def test_one_that_failed_rests_and_is_tried_again_afterwards():
    some = trunks(rest_s=30.0)
    some.failed("main", "a", 100.0)
    assert some.outgoing("main", 129.9).destination.gateway == "b"
    assert some.outgoing("main", 130.0).destination.gateway == "a"


def test_one_that_answers_rests_no_more():
    some = trunks()
    some.failed("main", "a", 100.0)
    some.works("main", "a")
    assert some.outgoing("main", 100.0).destination.gateway == "a"


def test_if_all_rest_the_one_whose_rest_is_over_first_is_tried_alone():
    some = trunks()
    some.failed("main", "b", 100.0)
    some.failed("main", "a", 101.0)
    attempt = some.outgoing("main", 102.0)
    assert attempt.destination.gateway == "b" and not some.next(attempt, 102.0)


def test_one_that_began_to_rest_while_a_call_was_tried_elsewhere_is_left_out():
    some = trunks()
    attempt = some.outgoing("main", 0.0)
    some.failed("main", "b", 1.0)
    assert not some.next(attempt, 2.0)


def test_the_same_seed_gives_the_same_choices():
    many = tuple(Destination(f"g{i}", 1, 1 + i) for i in range(5))
    a, b = trunks(many), trunks(many)
    assert [a.outgoing("main", i) for i in range(100)] == [b.outgoing("main", i) for i in range(100)]


@given(st.lists(st.sampled_from("iord"), max_size=200), st.integers(1, 5))
def test_lines_are_never_more_than_may_be_and_come_back(steps, lines):
    some, used = trunks(lines=lines), 0
    for step in steps:
        if step in "io":
            got = some.incoming("main") if step == "i" else some.outgoing("main", 0.0) is not None
            assert got == (used < lines)
            used += got
        elif used:
            some.release("main")
            used -= 1
        assert some.lines("main") == used


@given(st.floats(0.1, 50.0), st.lists(st.floats(0.0, 2.0), min_size=1, max_size=300))
def test_in_no_time_span_are_there_more_calls_than_its_seconds_and_one_more_give(rate, gaps):
    # Given calls that are wanted at any times
    some, now, at = trunks(calls_per_second=rate), 1000.0, []
    for gap in gaps:
        now += gap
        if some.outgoing("main", now) is not None:
            at.append(now)
            some.release("main")
    # Then any span holds what its length allows, and what one second saves up
    for i in range(len(at)):
        for j in range(i, len(at)):
            assert j - i + 1 <= (at[j] - at[i]) * rate + max(1.0, rate) + 1e-6


def test_calls_within_the_rate_are_all_let_through():
    some = trunks(calls_per_second=4.0)
    assert all(some.outgoing("main", 10.0 + i / 4) for i in range(100))
