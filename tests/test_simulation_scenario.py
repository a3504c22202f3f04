"""Scenario files: what is read, and what is refused with its place and a hint."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard.center import Agent, Center, Queue
from cordboard.errors import DataError
from cordboard.simulation import Deterministic, Exponential, Rates, Trace, load_scenario, parse_scenario
from cordboard.simulation.scenario import check_names

GOOD = """
[scenario]
duration = 28800
warm_up = 600
lines = 120

[[arrivals]]
queue = "billing"
rates = [[0, 100], [1800, 140.5]]
period = 86400
day_scv = 0.04
priority = 2
requires = { zh = 3 }
service = { law = "lognormal", mean = 240, scv = 1.2 }
service_by = [{ agents = ["li"], service = { law = "exponential", mean = 200 } }]
patience = { law = "exponential", mean = 120 }
wrap_up = 20
ring = { law = "uniform", low = 1, high = 5 }
no_answer = 0.02
retry = { probability = 0.4, delay = 300, attempts = 3 }

[[arrivals]]
queue = "general"
trace = [1, 2.5, 2.5]
service = 10

[[shifts]]
work = [[0, 14400], [18000, 28800]]
"""


def test_every_key_of_a_scenario_is_read() -> None:
    scenario = parse_scenario(GOOD)
    first, second = scenario.sources
    assert (scenario.duration, scenario.warm_up, scenario.lines) == (28800, 600, 120)
    assert first.arrivals == Rates(((0, 100), (1800, 140.5)), period=86400, day_scv=0.04)
    assert first.requires == (("zh", 3),)
    assert (first.priority, first.no_answer, first.wrap_up) == (2, 0.02, Deterministic(20))
    assert first.retry is not None
    assert (first.retry.attempts, first.retry.delay) == (3, Deterministic(300))
    assert first.service_by[0].service == Exponential(200)
    assert second.arrivals == Trace((1, 2.5, 2.5))
    assert scenario.shifts[0].work == ((0, 14400), (18000, 28800))


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("duration = 28800", "", "scenario.duration"),
        ("duration = 28800", "duration = nan", "scenario.duration"),
        ("duration = 28800", "duration = -1", "duration"),
        ("warm_up = 600", "warm_up = 28800", "warm_up"),
        ("lines = 120", "lines = 1.5", "scenario.lines"),
        ("lines = 120", "linse = 120", "scenario.linse"),
        ('queue = "billing"', "", "arrivals[0].queue"),
        ("rates = [[0, 100], [1800, 140.5]]", "", "arrivals[0]"),
        ("rates = [[0, 100], [1800, 140.5]]", "per_hour = -3", "rates"),
        ("rates = [[0, 100], [1800, 140.5]]", "rates = [[0, 100], [0, 3]]", "rates"),
        ("rates = [[0, 100], [1800, 140.5]]", "rates = [[0, 100, 2]]", "arrivals[0].rates"),
        ("trace = [1, 2.5, 2.5]", "trace = [3, 1]", "trace"),
        ("trace = [1, 2.5, 2.5]", "trace = [-3, 1]", "trace"),
        ("service = 10", 'service = { law = "exp" }', "arrivals[1].service"),
        ("work = [[0, 14400], [18000, 28800]]", "work = [[0, 14400], [1800, 28800]]", "work"),
        ("work = [[0, 14400], [18000, 28800]]", "work = []", "work"),
        ("probability = 0.4", "probability = 1.4", "retry"),
        ("no_answer = 0.02", "no_answer = 2", "no_answer"),
        ("[[shifts]]", "[shifts]", "shifts"),
        ("[scenario]", "[scenari]", "scenari"),
    ],
)
def test_a_mistake_names_its_key_and_says_what_to_do(old: str, new: str, place: str) -> None:
    assert old in GOOD
    with pytest.raises(DataError) as caught:
        parse_scenario(GOOD.replace(old, new), "day.toml")
    assert f"day.toml [{place}" in str(caught.value)
    assert caught.value.hint


def test_broken_toml_names_the_line() -> None:
    with pytest.raises(DataError, match=r"day\.toml:3:"):
        parse_scenario("[scenario]\nduration = 3\nlines = = 3\n", "day.toml")


def test_a_file_that_is_not_there_or_not_utf8_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.toml"):
        load_scenario(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(DataError, match="UTF-8"):
        load_scenario(tmp_path / "latin.toml")


CENTER = Center(queues=(Queue("billing"), Queue("general")), agents=(Agent("li", skills={"zh": 5}),))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('queue = "billing"', 'queue = "biling"'),
        ('agents = ["li"]', 'agents = ["lee"]'),
        ("zh = 3", "zhh = 3"),
        ("work = [[0, 14400]", 'agents = ["lee"]\nwork = [[0, 14400]'),
    ],
)
def test_names_that_the_center_does_not_have_are_refused(old: str, new: str) -> None:
    check_names(parse_scenario(GOOD), CENTER)
    with pytest.raises(DataError):
        check_names(parse_scenario(GOOD.replace(old, new, 1)), CENTER)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_scenario_is_read_or_refused_but_never_crashes(data: st.DataObject) -> None:
    # given a good file of which a slice was replaced by other characters of it
    start = data.draw(st.integers(0, len(GOOD) - 1))
    length = data.draw(st.integers(1, 12))
    junk = data.draw(st.text(alphabet=st.sampled_from(GOOD), max_size=12))
    text = GOOD[:start] + junk + GOOD[start + length :]
    try:
        parse_scenario(text)
    except DataError as error:
        assert str(error)
