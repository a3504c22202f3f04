"""Outbound and blended scenarios: live days of the Acd and the Pacer, counted as the kernel counts."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from cordboard.center import Agent, Center, Queue
from cordboard.cli import main
from cordboard.errors import CordboardError, DataError, LimitError
from cordboard.pacing.driver import Driver
from cordboard.pacing.modes import Limits
from cordboard.pacing.pacer import Pacer
from cordboard.pacing.rules import rule
from cordboard.pacing.world import World, run
from cordboard.simulation import (
    Campaign,
    Deterministic,
    Erlang,
    Exponential,
    LeadGroup,
    LogNormal,
    Redial,
    Scenario,
    Shift,
    Source,
    Trace,
    Uniform,
    live_runs,
    outbound,
    parse_scenario,
    poisson,
    simulate,
)
from cordboard.simulation.campaign_result import CAMPAIGN_IDS
from cordboard.simulation.compare import compare
from cordboard.simulation.counting import Counting
from cordboard.simulation.intervals import interval
from cordboard.simulation.live import Day
from cordboard.simulation.result import COUNTERS
from cordboard.simulation.run import Plan

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
TALK, WRAP = LogNormal(120.0, 0.81), Erlang(4, 30.0)  # of the dialing world


def team(agents: int, *more: Queue) -> Center:
    queue = Queue("out", wrap_up=30.0, offer_timeout=0)
    return Center(queues=(*more, queue), agents=tuple(Agent(f"a{i}") for i in range(agents)))


def campaign(**changes: object) -> Campaign:
    return dataclasses.replace(Campaign("out", (LeadGroup(100_000, 0.3),), TALK, wrap_up=WRAP), **changes)  # type: ignore[arg-type]


BLENDED = Scenario(
    (Source("calls", poisson(60.0), Exponential(120.0), Exponential(90.0), ring=Uniform(1.0, 3.0)),),
    7200.0,
    warm_up=1800.0,
    campaigns=(campaign(leads=(LeadGroup(50_000, 0.3, machine=0.2, valid=0.95),), machine_missed=0.02),),
)
BLENDED_TEAM = team(10, Queue("calls", weight=10, wrap_up=20.0))


# ---- the two worlds


@pytest.mark.slow
def test_a_simulated_campaign_has_the_occupancy_and_drops_of_the_dialing_world() -> None:
    # given the same team, list and people in both, and the same pacer
    hours, n = 2.5, 6
    days = []
    for seed in range(n):
        days.append(run(World(20, 0.3, hours), Driver(Pacer(target=0.03, closes=hours * 3600.0)), seed))
    scenario = Scenario((), hours * 3600.0, warm_up=1800.0, campaigns=(campaign(),))
    found = simulate(team(20), scenario, replications=n, seed=1).campaigns["out"]
    # then occupancy and drop rate are the same within the interval of their difference
    warm = 1800.0
    world = {
        "TEAM_OCC": [day.occupancy(warm) for day in days],
        "DROP_RATE": [day.drop_rate(warm) for day in days],
        "DIALS_HOUR": [day.total("dials", warm) / (hours - 0.5) for day in days],
    }
    for id, values in world.items():
        a, b = interval(values, 0.99), interval(found.per_run(id), 0.99)
        assert abs(a.mean - b.mean) <= math.hypot(a.half_width, b.half_width), id
    # and the estimate is narrow enough to say something
    assert found["TEAM_OCC"].half_width < 0.02
    assert max(found.per_run("DROP_RATE")) <= 0.03


def test_live_days_count_as_the_kernel_does() -> None:
    # given callers at known times with known needs, who give up, overflow, find the queue full or the lines busy
    center = Center(
        queues=(
            Queue("a", requires={"x": 2}, wrap_up=7.0, max_wait=31.0, overflow="b", offer_timeout=9.0),
            Queue("b", max_waiting=2, wrap_up=5.0, offer_timeout=0),
        ),
        agents=(Agent("li", {"x": 3}), Agent("wang", {"x": 1}), Agent("zhao", {"x": 2}, wrap_up=3.0)),
    )
    times = np.random.default_rng(5).uniform(0.0, 3600.0, 400)
    at = [tuple(float(t) for t in np.round(np.sort(times[i::2]), 3)) for i in range(2)]
    sources = (
        Source("a", Trace(at[0]), Deterministic(41.0), Deterministic(53.0), ring=Deterministic(2.5)),
        Source("b", Trace(at[1]), Deterministic(23.0), Deterministic(17.0), ring=Deterministic(1.0)),
    )
    shifts = (Shift(((0.0, 1200.0), (1500.0, 3600.0)), ("wang",)),)
    scenario = Scenario(sources, 3600.0, shifts, warm_up=600.0, lines=7)
    # when it goes through the kernel and through a live day
    kernel = Plan(center, scenario, 1, True).run(1, 0)
    day, _ = live_runs.one(live_runs.Job(center, scenario, 1, True, (0,)), 0)
    # then every counter, every wait and every agent's time is the same, and what became of each contact
    for number, name in enumerate(COUNTERS):
        assert (kernel.counters[..., number] == day.counters[..., number]).all(), name
    assert (kernel.bins == day.bins).all()
    assert (kernel.agents[0] == day.agents[0]).all()
    assert sorted(kernel.records.tolist()) == sorted(day.records.tolist())
    assert {0, 1, 3, 4} <= set(day.records["outcome"])  # answered, gave up, full and busy are all there


# ---- inbound beside outbound


def blended_day(
    center: Center = BLENDED_TEAM, scenario: Scenario = BLENDED, seed: int = 3
) -> tuple[Counting, outbound.Dialing]:
    day = Day(center, scenario, seed=seed)
    counting = Counting(day, records=False)
    (dialing,) = outbound.join(day)
    for _ in day.run(every=7200.0):
        pass
    counting.close()
    return counting, dialing


def test_every_dial_ends_once_and_every_answer_is_connected_or_dropped() -> None:
    counting, dialing = blended_day()
    total = dict(zip(outbound.COLUMNS, dialing.minutes.sum(axis=0), strict=True))
    ended = sum(total[name] for name in ("answers", "machines", "failed", "invalid", "cancelled"))
    assert total["dials"] == ended + len(dialing.calls)
    assert total["answers"] == total["connected"] + total["drops"]
    queue = counting.counters[:, 1].sum(axis=0)
    assert queue[COUNTERS.index("offered")] == total["answers"]
    assert queue[COUNTERS.index("abandoned")] == total["drops"]
    assert min(total[name] for name in ("dials", "machines", "failed", "invalid", "cancelled", "drops")) > 0


def test_inbound_keeps_its_target_beside_a_campaign_and_fills_its_agents_time() -> None:
    result = simulate(BLENDED_TEAM, BLENDED, replications=4, seed=2)
    alone = simulate(BLENDED_TEAM, dataclasses.replace(BLENDED, campaigns=()), replications=4, seed=2)
    found = result.campaigns["out"]
    assert result.queue("calls")["SL_OFFERED"].mean >= 0.8
    assert found["DROP_RATE"].mean <= 0.03
    assert result.everyone["OCC_AVAILABLE"].mean > alone.everyone["OCC_AVAILABLE"].mean + 0.3
    assert found["TEAM_OCC"].mean == pytest.approx(result.everyone["OCC_AVAILABLE"].mean)
    assert "inbound_reserve" in found.reasons
    assert sum(found.reasons.values()) == pytest.approx(1.0)
    assert set(found.windows) == {"campaign", "rolling_day"}


def test_a_strict_target_for_inbound_is_met_by_keeping_agents_back() -> None:
    # given inbound of a quarter of the team, whose callers should not wait five seconds
    center = team(20, Queue("calls", weight=10, wrap_up=30.0, target_within=5.0, offer_timeout=0))
    source = Source("calls", poisson(120.0), Exponential(120.0), Exponential(180.0))

    def level(*target: float) -> tuple[float, float]:
        scenario = Scenario((source,), 9000.0, warm_up=3600.0, campaigns=(campaign(inbound=target),))
        result = simulate(center, scenario, replications=3, seed=1)
        return result.queue("calls")["SL_OFFERED"].mean, result.campaigns["out"].reasons.get("inbound_reserve", 0.0)

    # when 97 % of them are to be answered so soon, then they are; when that is not asked for, they are not
    strict, kept = level(0.97, 5.0)
    lax, _ = level(0.5, 60.0)
    assert strict >= 0.955 > lax
    assert kept > 0.05


def test_a_progressive_campaign_drops_nobody_and_two_on_one_team_share_it_by_weight() -> None:
    two = tuple(
        campaign(name=name, mode="progressive", weight=weight) for name, weight in (("red", 2.0), ("blue", 1.0))
    )
    scenario = Scenario((), 5400.0, campaigns=two)
    found = simulate(team(8), scenario, replications=2, seed=1).campaigns
    assert found["red"].count("drops") == found["blue"].count("drops") == 0
    assert found["red"].count("connected") / found["blue"].count("connected") == pytest.approx(2.0, rel=0.15)


def test_an_agent_in_a_chat_is_not_dialed_for() -> None:
    # given one agent who takes a chat or a call, and is in a chat for the first ten minutes
    center = Center(
        queues=(Queue("chat", channel="chat"), Queue("out", offer_timeout=0)),
        agents=(Agent("li", capacity={"voice": 1, "chat": 2}),),
    )
    source = Source("chat", Trace((1.0,)), Deterministic(600.0))
    one = campaign(mode="progressive", start=5.0, wrap_up=None)
    _, dialing = blended_day(center, Scenario((source,), 1800.0, campaigns=(one,)))
    assert dialing.minutes[:9, 0].sum() == 0
    assert dialing.minutes[10:, 0].sum() > 0


def test_leads_end_are_dialed_again_as_often_as_is_said_and_only_in_their_hours() -> None:
    nobody = (LeadGroup(7, 0.0),)
    one = campaign(leads=nobody, mode="progressive", start=600.0, end=3000.0, redial=Redial(Deterministic(60.0), 2))
    _, dialing = blended_day(team(2), Scenario((), 3600.0, campaigns=(one,)))
    dials = dialing.minutes[:, 0]
    assert dials.sum() == 7 * 3
    assert dials[:10].sum() == dials[50:].sum() == 0
    assert dialing.reasons["list_exhausted"] > 1000.0


def test_trunk_lines_hold_for_inbound_and_outbound_together() -> None:
    scenario = dataclasses.replace(BLENDED, lines=9)
    day = Day(BLENDED_TEAM, scenario, seed=1)
    outbound.join(day)
    used = []
    day.listeners.append(lambda event, effects: used.append(scenario.lines - day.lines_free()))
    for _ in day.run(every=7200.0):
        pass
    assert max(used) == 9


def test_probabilities_by_the_hour_and_by_segment_decide_who_answers() -> None:
    leads = (LeadGroup(100_000, ((0.0, 0.1), (3600.0, 0.5))),)
    _, dialing = blended_day(team(10), Scenario((), 7200.0, campaigns=(campaign(leads=leads, mode="progressive"),)))
    early, late = (dialing.minutes[a:b].sum(axis=0) for a, b in ((0, 60), (61, 120)))
    assert early[1] / early[0] == pytest.approx(0.1, abs=0.04)
    assert late[1] / late[0] == pytest.approx(0.5, abs=0.05)


# ---- runs


def test_replications_are_the_same_in_processes_and_here_and_again() -> None:
    scenario = dataclasses.replace(BLENDED, duration=2700.0, warm_up=600.0)
    told: list[int] = []
    apart = simulate(BLENDED_TEAM, scenario, replications=3, seed=5, threads=2, records=True, progress=told.append)
    here = simulate(BLENDED_TEAM, scenario, replications=3, seed=5, threads=1, records=True)
    assert json.dumps(apart.as_dict()) == json.dumps(here.as_dict())
    assert all((a == b).all() for a, b in zip(apart.records, here.records, strict=True))
    assert told == [1, 2, 3]
    other = simulate(BLENDED_TEAM, scenario, replications=3, seed=6, threads=1)
    assert json.dumps(other.as_dict()) != json.dumps(here.as_dict())


def test_an_error_in_a_worker_comes_back_and_a_worker_that_dies_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = dataclasses.replace(BLENDED, duration=2700.0, warm_up=600.0, max_alive=1)
    with pytest.raises(LimitError):
        simulate(BLENDED_TEAM, scenario, replications=2, threads=2)
    monkeypatch.setattr(live_runs, "_SERVE", "import sys; sys.exit(3)  # {path}")
    with pytest.raises(CordboardError, match="a worker of the simulation ended"):
        simulate(BLENDED_TEAM, BLENDED, replications=2, threads=2)


def test_two_centers_are_compared_on_the_same_leads_and_callers() -> None:
    scenario = dataclasses.replace(BLENDED, duration=2400.0, warm_up=600.0)
    same = compare(BLENDED_TEAM, BLENDED_TEAM, scenario, replications=2, seed=1)
    differences = [one.difference.mean for one in same.campaigns["out"].values()]
    assert all(value == 0 for value in differences if not math.isnan(value))
    more = compare(BLENDED_TEAM, team(14, BLENDED_TEAM.queues[0]), scenario, replications=2, seed=1)
    assert more.campaigns["out"]["DIALS_HOUR"].difference.mean > 100.0
    assert len(more.contacts) > 40


def fates(agents: int) -> dict[int, str]:
    """How the dials of each lead ended in a progressive half hour, in which nobody's ring is cut short."""
    day = Day(team(agents), Scenario((), 1800.0, campaigns=(campaign(mode="progressive"),)), seed=1)
    (dialing,) = outbound.join(day)
    lead: dict[str, int] = {}
    ended: dict[int, str] = {}
    tell = dialing.pacer.call

    def told(id: str, event: str, now: float, **more: object) -> None:
        tell(id, event, now, **more)  # type: ignore[arg-type]
        if event == "placed":
            lead[id] = dialing.calls[id].lead
        elif event in ("answered", "failed"):
            ended[lead[id]] = event

    dialing.pacer.call = told  # type: ignore[assignment]
    for _ in day.run(every=1800.0):
        pass
    return ended


def test_a_lead_has_the_same_fate_in_every_center() -> None:
    few, many = fates(3), fates(9)
    both = set(few) & set(many)
    assert len(both) > 40
    assert all(few[lead] == many[lead] for lead in both)


# ---- files and commands

CENTER_TOML = "[queues.calls]\nweight = 10\n[queues.out]\n" + "".join(f"[agents.a{i}]\n" for i in range(6))
TEXT = """
[scenario]
duration = 3600

[[arrivals]]
queue = "calls"
per_hour = 20
service = 60

[[campaigns]]
queue = "out"
name = "red"
mode = "power"
target = 0.02
rules = ["us_tsr"]
limits = { lines = 20, ratio = 1.5, calls_per_second = 2 }
from = 60
to = 3000
service = { law = "exponential", mean = 90 }
wrap_up = 12
connect_within = 1.5
post_dial = 1
answer_after = { law = "erlang", k = 2, mean = 6 }
ring_until = 20
fails = 0.1
fails_after = 2
machine_missed = 0.01
false_positives = 0.02
redial = { after = 900, attempts = 3 }
weight = 2
inbound = [0.9, 10]
choose = false
leads = [
  { count = 500, answer = 0.3, machine = 0.1, told = true, valid = 0.9 },
  { count = 9, answer = [[0, 0.1], [60, 0.2]] },
]
"""


def test_every_key_of_a_campaign_is_read() -> None:
    (found,) = parse_scenario(TEXT).campaigns
    assert found == Campaign(
        queue="out",
        leads=(LeadGroup(500, 0.3, 0.1, True, 0.9), LeadGroup(9, ((0.0, 0.1), (60.0, 0.2)))),
        service=Exponential(90.0),
        name="red",
        mode="power",
        target=0.02,
        rules=(rule("us_tsr"),),
        limits=Limits(lines=20, ratio=1.5, calls_per_second=2.0),
        start=60.0,
        end=3000.0,
        wrap_up=Deterministic(12.0),
        connect_within=1.5,
        post_dial=Deterministic(1.0),
        answer_after=Erlang(2, 6.0),
        ring_until=20.0,
        fails=0.1,
        fails_after=2.0,
        machine_missed=0.01,
        false_positives=0.02,
        redial=Redial(Deterministic(900.0), 3),
        weight=2.0,
        inbound=(0.9, 10.0),
        choose=False,
    )


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('mode = "power"', 'mode = "loud"', "campaigns.mode"),
        ("target = 0.02", "target = 3", "campaigns.target"),
        ('rules = ["us_tsr"]', 'rules = ["us_tsp"]', "rules"),
        ("ratio = 1.5", "ratio = -1", "limits.ratio"),
        ("ratio = 1.5", "ration = 1.5", "limits.ration"),
        ("count = 500", "count = 0", "leads.count"),
        ("count = 500, ", "", "leads.count"),
        ("answer = 0.3", "answer = 1.3", "leads.answer"),
        ("[[0, 0.1], [60, 0.2]]", "[[60, 0.2]]", "leads.answer"),
        ("machine = 0.1", "machine = 0.8", "leads.machine"),
        ("told = true", "told = 1", "leads.told"),
        ("valid = 0.9", "valid = 90", "leads.valid"),
        ("to = 3000", "to = 30", "campaigns.end"),
        ("fails = 0.1", "fails = -0.1", "campaigns.fails"),
        ("weight = 2", "weight = 0", "campaigns.weight"),
        ("inbound = [0.9, 10]", "inbound = [90, 10]", "campaigns.inbound"),
        ("attempts = 3", "attempts = 0", "redial.attempts"),
        ('queue = "out"', 'quue = "out"', "quue"),
        ("choose = false", 'choose = "no"', "choose"),
    ],
)
def test_a_mistake_in_a_campaign_names_its_key(old: str, new: str, place: str) -> None:
    assert old in TEXT
    with pytest.raises(DataError) as caught:
        parse_scenario(TEXT.replace(old, new, 1), "x.toml")
    assert place in str(caught.value)
    assert "x.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"queue": "nowhere"}, "no queue"),
        ({"end": 9e5}, "beyond the scenario"),
    ],
)
def test_a_campaign_that_the_center_can_not_hold_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        simulate(team(3), Scenario((), 600.0, campaigns=(campaign(**change),)))


def test_campaigns_that_share_some_agents_only_are_refused_and_batches_too() -> None:
    center = Center(
        queues=(Queue("out"), Queue("other")), agents=(Agent("li"), Agent("wang", queues={"out": 1}), Agent("zhao"))
    )
    two = (campaign(), campaign(queue="other"))
    with pytest.raises(DataError, match="share some of their agents, but not all"):
        simulate(center, Scenario((), 600.0, campaigns=two))
    with pytest.raises(DataError, match="one name"):
        simulate(center, Scenario((), 600.0, campaigns=(two[0], two[0])))
    with pytest.raises(DataError, match="no agent serves"):
        wanting = Center(queues=(Queue("out", requires={"x": 1}),), agents=(Agent("li"),))
        simulate(wanting, Scenario((), 9.0, campaigns=(campaign(),)))
    with pytest.raises(DataError, match="batches"):
        simulate(team(3), Scenario((), 600.0, campaigns=(campaign(),)), batches=4)


def test_simulate_and_compare_speak_of_campaigns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    center, scenario = tmp_path / "center.toml", tmp_path / "scenario.toml"
    center.write_text(CENTER_TOML, "utf-8")
    scenario.write_text(TEXT.replace("duration = 3600", "duration = 900").replace("to = 3000", "to = 900"), "utf-8")
    arguments = [str(center), "--scenario", str(scenario), "--replications", "2"]
    assert main(["simulate", *arguments, "--lang", "zh"]) == 0
    printed = capsys.readouterr().out
    assert "外呼活动" in printed
    assert "掉话率" in printed
    assert main(["simulate", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(CAMPAIGN_IDS) <= set(found["definitions"]) & set(found["campaigns"]["red"])
    assert found["campaigns"]["red"]["counts"]["dials"] > 50
    assert main(["compare", str(center), *arguments]) == 0
    assert "Campaign red" in capsys.readouterr().out
