"""Journals as scenarios, comparisons with common random numbers, and the commands simulate and compare."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cordboard.center import Agent, Center, Queue
from cordboard.cli import main
from cordboard.errors import DataError, JournalError
from cordboard.importers import anonymous_bank
from cordboard.journal import event_line
from cordboard.simulation import Deterministic, Exponential, Scenario, Source, Trace, poisson, simulate
from cordboard.simulation.compare import compare
from cordboard.simulation.from_journal import agents_known, scenario_of_journal
from cordboard.simulation.laws import Empirical, Never
from cordboard.simulation.live import run_day
from tests.realdata import real_data

CENTER = Center(queues=(Queue("q", offer_timeout=0),), agents=tuple(Agent(f"a{i}") for i in range(4)))
WORLD = Scenario((Source("q", poisson(90.0), Exponential(150.0), Exponential(60.0)),), duration=40_000.0)
CENTER_TOML = "[queues.q]\noffer_timeout = 0\n" + "".join(f"[agents.a{i}]\n" for i in range(4))
SCENARIO_TOML = """
[scenario]
duration = 3600
[[arrivals]]
queue = "q"
per_hour = 90
service = { law = "exponential", mean = 150 }
patience = { law = "exponential", mean = 60 }
"""


def lines(*events: dict[str, object]) -> io.BytesIO:
    return io.BytesIO("".join(event_line(e) + "\n" for e in events).encode())


def test_a_journal_becomes_a_trace_with_its_names_types_and_hours() -> None:
    # given a day that began at 100,000 s, with one call served, one given up, one cut off by the end
    day = 86400.0
    found = scenario_of_journal(
        lines(
            {"t": day + 10, "event": "agent_ready", "agent": "a0"},
            {"t": day + 20, "event": "contact_queued", "contact": "x", "queue": "q"},
            {"t": day + 22, "event": "offer_accepted", "contact": "x", "agent": "a0"},
            {"t": day + 30, "event": "contact_queued", "contact": "y", "queue": "q", "customer": "c"},
            {"t": day + 50, "event": "contact_left", "contact": "y"},
            {"t": day + 60, "event": "contact_queued", "contact": "z", "queue": "q", "priority": 3, "requires": {"zh": 2}},
            {"t": day + 82, "event": "contact_ended", "contact": "x"},
            {"t": day + 90, "event": "agent_away", "agent": "a0"},
            {"t": day + 95, "event": "agent_ready", "agent": "a0"},
            {"t": day + 99, "event": "agent_offline", "agent": "a0"},
        )
    )
    plain, special = found.scenario.sources
    assert found.origin == day
    assert plain.arrivals == Trace((20.0, 30.0), ("x", "y"))
    assert plain.service == Empirical((60.0,), (1.0,))
    assert isinstance(plain.patience, Empirical)
    assert plain.patience.values == (20.0,)
    assert (special.priority, special.requires, special.arrivals.names) == (3, (("zh", 2),), ("z",))  # type: ignore[union-attr]
    assert found.scenario.shifts[0].work == ((10.0, 90.0), (95.0, 99.0))
    assert found.left_out["customer"] == 1


def test_a_journal_that_can_not_be_read_names_the_line() -> None:
    with pytest.raises(JournalError, match=":2"):
        scenario_of_journal(io.BytesIO(b'{"t": 1, "event": "clock"}\n{"t": 2, "event": \n'))
    with pytest.raises(JournalError, match="time goes back"):
        scenario_of_journal(lines({"t": 5, "event": "clock"}, {"t": 4, "event": "clock"}))
    with pytest.raises(DataError, match="served"):
        scenario_of_journal(lines({"t": 5, "event": "contact_queued", "contact": "x", "queue": "q"}))


def test_patience_and_service_are_recovered_from_a_simulated_journal() -> None:
    # given a journal of a day with known laws, many of whose callers were served before they lost patience
    events = [e for moment in run_day(CENTER, WORLD, seed=2, every=3600.0) for e in moment.events]
    scenario = scenario_of_journal(lines(*events)).scenario
    assert scenario.sources[0].service.mean == pytest.approx(150, rel=0.1)
    assert scenario.sources[0].patience.mean == pytest.approx(60, rel=0.2)
    # when it is simulated, then it abandons as the day did
    left = sum(e["event"] == "contact_left" for e in events) / sum(e["event"] == "contact_queued" for e in events)
    again = simulate(CENTER, scenario, replications=20, seed=1).total["ABANDON_RATE"]
    assert again.mean == pytest.approx(left, rel=0.2)


def test_a_center_without_some_of_a_journals_agents_keeps_the_hours_of_the_others() -> None:
    scenario = scenario_of_journal(
        lines(
            {"t": 0, "event": "agent_ready", "agent": "a0"},
            {"t": 0, "event": "agent_ready", "agent": "gone"},
            {"t": 1, "event": "contact_queued", "contact": "x", "queue": "q"},
            {"t": 1, "event": "offer_accepted", "contact": "x", "agent": "a0"},
            {"t": 9, "event": "contact_ended", "contact": "x"},
        )
    ).scenario
    fitted = agents_known(scenario, ["a0", "a1"])
    result = simulate(replace(CENTER, agents=CENTER.agents[:2]), fitted, replications=1)
    offline = {group.name: group.states[0, 0] for group in result.groups}
    assert sum(shift.agents == ("a0",) for shift in fitted.shifts) == 1
    assert result.total.tally().answered == 1
    assert sum(offline.values()) > 0  # a1 never worked in the journal


def test_a_comparison_with_itself_is_zero_everywhere() -> None:
    same = compare(CENTER, CENTER, WORLD, replications=3)
    for figures in same.queues.values():
        for difference in figures.values():
            assert difference.difference.mean == 0 or np.isnan(difference.difference.mean)
            assert not difference.clear
    assert all(a == b for a, b in same.moves())
    assert same.wait_change()["same"] == 1


def test_one_more_agent_is_a_clear_difference_found_with_few_replications() -> None:
    # given the same callers before four and five agents
    five = replace(CENTER, agents=(*CENTER.agents, Agent("a4")))
    result = compare(CENTER, five, WORLD, replications=5)
    wait = result.queues["q"]["WAIT_ALL"]
    assert wait.clear
    assert wait.difference.high < 0
    # then common random numbers make the interval narrower than two independent simulations would
    apart = (wait.a.half_width**2 + wait.b.half_width**2) ** 0.5
    assert wait.difference.half_width < apart
    moves = result.moves()
    assert moves.get(("abandoned", "answered"), 0) > 5 * moves.get(("answered", "abandoned"), 0)


def test_most_changed_contacts_have_the_names_of_the_trace() -> None:
    source = Source("q", Trace((0.0, 1.0), ("first", "second")), Deterministic(30.0), Never())
    one, two = (replace(CENTER, agents=CENTER.agents[:n]) for n in (1, 2))
    result = compare(one, two, Scenario((source,), 100.0), replications=1)
    changed = result.most_changed(Scenario((source,), 100.0), 1)[0]
    assert changed == {"contact": "second", "queue": "q", "a": "answered", "b": "answered", "wait_a": 29.0, "wait_b": 0.0}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    (tmp_path / "center.toml").write_text(CENTER_TOML)
    (tmp_path / "five.toml").write_text(CENTER_TOML + "[agents.a4]\n")
    (tmp_path / "day.toml").write_text(SCENARIO_TOML)
    return tuple(str(tmp_path / name) for name in ("center.toml", "five.toml", "day.toml"))  # type: ignore[return-value]


@pytest.mark.parametrize(("lang", "word"), [("en", "Service level"), ("zh", "服务水平")])
def test_simulate_prints_figures_with_definitions(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str], lang: str, word: str
) -> None:
    assert main(["simulate", files[0], "--scenario", files[2], "--replications", "4", "--lang", lang]) == 0
    shown = capsys.readouterr().out
    assert word in shown
    assert "SL_OFFERED" in shown
    assert "±" in shown


def test_simulate_as_json_gives_every_figure_and_is_the_same_again(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["simulate", files[0], "--scenario", files[2], "--replications", "4", "--seed", "7", "--json"]
    assert main(command) == main(command) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    data = json.loads(first)
    assert 0 < data["queues"]["q"]["ABANDON_RATE"]["mean"] < 1
    assert data["definitions"]["ASA"] == "sum of waits of answered / answered"


def test_compare_prints_differences_and_json(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", *files[:2], "--scenario", files[2], "--replications", "5"]
    assert main(command) == 0
    assert "B - A" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["queues"]["total"]["ABANDON_RATE"]["difference"]["mean"] < 0
    # And what is shown as the difference is that of the two figures beside it
    for figures in (*data["queues"].values(), data["occupancy"]):
        for id, one in figures.items():
            if one["a"]["mean"] is not None and one["b"]["mean"] is not None:
                assert one["difference"]["mean"] == pytest.approx(one["b"]["mean"] - one["a"]["mean"], abs=1e-9), id


def test_a_plot_is_drawn(files: tuple[str, str, str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "figure.svg"
    assert main(["simulate", files[0], "--scenario", files[2], "--replications", "2", "--json", "--plot", str(target)]) == 0
    assert "<svg" in target.read_text("utf-8")


def test_a_bad_scenario_ends_with_status_2_and_one_line(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files[2]).write_text(SCENARIO_TOML.replace('queue = "q"', 'queue = "qq"'))
    assert main(["simulate", files[0], "--scenario", files[2]]) == 2
    assert "there is no queue 'qq'" in capsys.readouterr().err
    assert main(["simulate", files[0], "--scenario", files[2], "--seed", "-1"]) == 2


@pytest.mark.data
def test_the_real_calls_of_a_month_are_simulated_from_their_scenario(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    calls, _ = anonymous_bank.read_calls([str(real_data("anonymous_bank_1999_01.txt"))])
    (tmp_path / "bank.toml").write_text(anonymous_bank.center_toml(calls), "utf-8")
    (tmp_path / "month.toml").write_text(anonymous_bank.scenario_toml(calls), "utf-8")
    command = ["simulate", str(tmp_path / "bank.toml"), "--scenario", str(tmp_path / "month.toml"), "--replications", "2"]
    assert main([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    # every recorded call comes, in both replications, and about as many give up as did
    gave_up = sum(not call.served for call in calls) / len(calls)
    assert data["queues"]["total"]["counts"]["offered"] == 2 * len(calls)
    assert data["queues"]["total"]["ABANDON_RATE"]["mean"] == pytest.approx(gave_up, abs=0.06)
