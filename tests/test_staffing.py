"""Staffing: the handbook's vectors, intervals from a file, and the command."""

from __future__ import annotations

import csv
import json
import math

import pytest

from cordboard.cli import main
from cordboard.errors import DataError, InputError
from cordboard.staffing import Goal, Interval, read_intervals, staff

VECTORS = [  # calls, period, aht, agents, P(wait), service level, speed of answer, occupancy, level with one less
    (120, 1800, 240, 20, 0.256078, 0.816512, 15.3647, 0.800000, 0.709064),
    (200, 1800, 300, 39, 0.253995, 0.825916, 13.4468, 0.854701, 0.755702),
    (60, 1800, 180, 9, 0.195981, 0.859574, 11.7589, 0.666667, 0.714152),
    (360, 3600, 240, 29, 0.242274, 0.840283, 11.6292, 0.827586, 0.761296),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v[3]}-agents")
def test_the_handbooks_vectors_come_out_to_every_printed_digit(vector):
    calls, period, aht, agents, wait, level, speed, occupancy, less = vector
    answer = staff(Interval(calls, period, aht), Goal(0.8, 20)).erlang_c
    assert answer.agents == agents
    assert answer.now is not None and answer.one_less is not None
    got = (answer.now.wait_probability, answer.now.service_level, answer.now.mean_wait_served, answer.now.occupancy)
    assert got == pytest.approx((wait, level, speed, occupancy), rel=5e-6)
    assert answer.one_less.service_level == pytest.approx(less, abs=5e-7)


def test_patience_saves_agents_and_the_cap_on_abandonment_takes_some_back():
    # given a load where callers hang up after three minutes on average
    interval = Interval(500, 3600, 300)
    # when it is sized with and without a cap on those who hang up
    loose = staff(interval, Goal(patience=180))
    strict = staff(interval, Goal(patience=180, max_abandon=0.03))
    # then Erlang A needs fewer than Erlang C, and more with the cap
    assert loose.erlang_c.agents == 48
    assert loose.best.agents < strict.best.agents < 48
    assert strict.best.now is not None and strict.best.now.abandonment <= 0.03


def test_shrinkage_is_divided_out_and_rounded_up():
    # 20 agents at 30 % are 28.57 paid ones
    answer = staff(Interval(120, 1800, 240), Goal(shrinkage=0.3)).erlang_c
    assert (answer.agents, answer.rostered) == (20, 29)
    assert staff(Interval(120, 1800, 240), Goal(shrinkage=0.5)).erlang_c.rostered == 40


def test_no_calls_need_nobody_and_measure_nothing():
    answer = staff(Interval(0, 1800, 240), Goal(patience=60)).best
    assert answer.agents == answer.rostered == 0 and answer.now is None


def test_one_agent_less_may_have_no_steady_state():
    answer = staff(Interval(9, 1800, 100), Goal(target=0.2, within=600)).erlang_c
    assert answer.agents == 1 and answer.one_less is None


@pytest.fixture
def day(tmp_path):
    path = tmp_path / "day.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["interval", "calls", "aht"])
        writer.writerows([["09:00", 120, 240], ["09:30", 200, 300], ["10:00", 0, 300]])
    return path


def test_a_file_of_intervals_is_sized_line_by_line(day):
    intervals = read_intervals(day, period=1800, aht=1.0)
    assert [i.name for i in intervals] == ["09:00", "09:30", "10:00"]
    assert [staff(i, Goal()).best.agents for i in intervals] == [20, 39, 0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("interval,aht\n1,2\n", "no column calls"),
        ("calls,color\n1,red\n", "color"),
        ("calls\nmany\n", ":2 [calls]"),
        ("calls\n3\n-1\n", ":3 [calls]"),
        ("calls\n3\nnan\n", ":3 [calls]"),
        ("calls,aht\n3,0\n", ":2 [aht]"),
        ("calls\n3,4\n", ":2"),
        ("calls,aht\n3\n", ":2 [aht]"),
        ("calls\n" + "9" * 140_000 + "\n", "field larger"),
    ],
)
def test_a_bad_file_of_intervals_is_refused_with_its_line(tmp_path, text, says):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_intervals(path, period=1800, aht=240)
    assert says in str(error.value) and "bad.csv" in str(error.value)


def test_an_absent_file_and_one_that_is_not_utf_8_are_refused(tmp_path):
    with pytest.raises(DataError, match="Can't read"):
        read_intervals(tmp_path / "absent.csv", period=1800, aht=240)
    path = tmp_path / "latin.csv"
    path.write_bytes(b"calls,interval\n1,\xe9t\xe9\n")
    with pytest.raises(DataError, match=r":2.*UTF-8"):
        read_intervals(path, period=1800, aht=240)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Goal(shrinkage=1.0),
        lambda: Goal(shrinkage=math.nan),
        lambda: Goal(max_abandon=0.05),
        lambda: staff(Interval(10), Goal(target=1.0)),
        lambda: staff(Interval(10), Goal(target=80)),
    ],
)
def test_impossible_goals_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_the_command_writes_both_models_as_json(capsys):
    arguments = "staff --calls 200 --period 1800 --aht 300 --target .8 --within 20 --patience 180 --shrinkage .3 --json"
    assert main(arguments.split()) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["erlang_c"]["agents"] == 39 and row["erlang_c"]["rostered"] == 56
    assert row["erlang_a"]["agents"] < 39 and row["service_level_id"] == "SL_OFFERED"
    assert row["erlang_c"]["one_less"]["service_level"] == pytest.approx(0.755702, abs=1e-6)


@pytest.mark.parametrize(("lang", "word"), [("en", "service level"), ("zh", "服务水平")])
def test_the_command_shows_a_table_with_the_definition_in_the_language_asked_for(capsys, monkeypatch, lang, word):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["staff", "--calls", "200", "--period", "1800", "--aht", "300", "--patience", "180", "--lang", lang]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in (word, "SL_OFFERED", "Erlang C", "Erlang A", "39", "38", "82.6 %", "75.6 %"))


def test_the_command_shows_a_day_and_draws_it(capsys, day, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("COLUMNS", "140")
    for name, start in (("day.png", b"\x89PNG"), ("day.svg", b"<?xml")):
        path = tmp_path / name
        assert main(["staff", "--intervals", str(day), "--patience", "180", "--plot", str(path)]) == 0
        assert path.read_bytes().startswith(start)
    assert "09:30" in capsys.readouterr().out
    one = tmp_path / "one.svg"
    assert main(["staff", "--calls", "20", "--plot", str(one), "--json"]) == 0
    assert "SL_OFFERED" in one.read_text("utf-8") or one.stat().st_size > 1000


@pytest.mark.parametrize(
    "arguments",
    [[], ["--calls", "3", "--intervals", "x.csv"], ["--calls", "nan"], ["--calls", "3", "--plot", "x.gif"], ["--intervals", "absent.csv"]],
)
def test_the_command_refuses_what_it_cannot_size_with_one_line(capsys, arguments):
    assert main(["staff", *arguments]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("cordboard: ") and shown.count("\n") == 1
