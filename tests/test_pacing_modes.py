"""The mode of the moment and its reason; the calls-per-second limit."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.errors import InputError
from cordboard.pacing.ledger import Ledger
from cordboard.pacing.modes import ASKED, CallRate, Limits, Situation, capacity_bound, choose
from cordboard.pacing.rules import CAMPAIGN, Rule

GOOD = Situation("predictive", staffed=20, free=3, outcomes=1000, heard=0.5, drops_left=5, leads=900, validity=0.9)


@pytest.mark.parametrize(
    ("change", "mode", "reason"),
    [
        ({}, "predictive", "as_asked"),
        ({"asked": "power"}, "power", "as_asked"),
        ({"asked": "preview"}, "preview", "as_asked"),
        ({"staffed": 0, "heard": 60.0, "drops_left": 0}, "stopped", "no_agents"),
        ({"heard": 2.1}, "stopped", "telemetry_stale"),
        ({"heard": 2.0}, "predictive", "as_asked"),
        ({"heard": None}, "predictive", "as_asked"),
        ({"inbound_waiting": 1}, "stopped", "inbound_waiting"),
        ({"leads": 0}, "stopped", "list_exhausted"),
        ({"leads": None}, "predictive", "as_asked"),
        ({"infeasible": True}, "progressive", "budget_infeasible"),
        ({"drops_left": 0.9}, "predictive", "budget_exhausted"),
        ({"drops_left": -3, "asked": "power"}, "progressive", "budget_exhausted"),
        ({"outcomes": 49, "drops_left": 0}, "progressive", "cold_start"),
        ({"outcomes": 50}, "predictive", "as_asked"),
        ({"outcomes": 0, "asked": "power"}, "power", "as_asked"),
        ({"staffed": 2}, "progressive", "few_agents"),
        ({"validity": 0.4}, "predictive", "list_validity_low"),
        ({"drops_left": 0, "asked": "progressive"}, "progressive", "as_asked"),
    ],
)
def test_each_situation_has_its_mode_and_reason(change: dict[str, object], mode: str, reason: str) -> None:
    choice = choose(dataclasses.replace(GOOD, **change), Limits())
    assert (choice.mode, choice.reason) == (mode, reason)


@given(
    st.sampled_from(ASKED),
    st.integers(0, 5),
    st.integers(0, 60),
    st.one_of(st.none(), st.floats(0, 5)),
    st.integers(-2, 2),
    st.booleans(),
)
def test_every_reason_is_a_sentence_in_both_languages(asked, staffed, outcomes, heard, left, infeasible) -> None:
    s = Situation(asked, staffed, staffed, outcomes, heard, left, infeasible, validity=0.5)
    choice = choose(s, Limits())
    assert choice.text("en").endswith(".") and len(choice.text("en")) > 20
    assert choice.text("zh").endswith("。") and re.search("[一-鿿]", choice.text("zh"))
    if left <= 0 or infeasible:  # nothing dials ahead without a budget, whatever was asked for
        assert (choice.mode != "power" and choice.reason != "as_asked") or choice.mode in ("preview", "progressive")


def test_a_limit_that_binds_is_said() -> None:
    choice = capacity_bound(choose(GOOD, Limits()), 12, 4, "the line limit", "线路上限")
    assert (choice.mode, choice.reason) == ("predictive", "capacity_bound")
    assert "12" in choice.en and "4" in choice.en and "线路上限" in choice.zh


@given(st.floats(0.1, 50.0), st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(0, 80)), max_size=60))
def test_no_second_has_more_calls_than_the_limit(rate: float, moves: list[tuple[float, int]]) -> None:
    limit, now, placed = CallRate(rate), 0.0, []
    for pause, wanted in moves:
        now += pause
        allowed = limit.allowed(now)
        assert allowed >= 0
        if allowed == 0:
            assert limit.next_at(now) > now
        calls = min(wanted, allowed)
        limit.take(now, calls)
        placed += [now] * calls
        assert sum(1 for t in placed if now - t < 1.0 - 1e-9) <= max(1.0, rate)


def test_detection_errors_alone_can_make_a_cap_unreachable() -> None:
    # given 200 people and 400 machines in 1,000 dials
    for error, expected in ((0.02, True), (0.01, False)):
        ledger = Ledger([Rule("r", "0.03", CAMPAIGN, form="live_with_amd")], start=0.0, false_positives=error)
        for i in range(1000):
            if i % 5 == 0:
                ledger.handled(float(i))
            elif i % 5 in (1, 2):
                ledger.machine(float(i))
        # then 8 errors in 208 are over 3 %, 4 in 204 are not, and leave 2 drops
        assert (ledger.infeasible(1000.0) is not None) is expected
        assert ledger.drops_left(1000.0) == (-1 if expected else 2) or expected


@pytest.mark.parametrize(
    "bad", [{"lines": 0}, {"calls_per_second": float("nan")}, {"reserve": -1}, {"least_validity": 2}]
)
def test_limits_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="limits"):
        Limits(**bad)
