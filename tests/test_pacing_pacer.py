"""The pacer as a driver sees it: modes, limits, loss of agents and of telemetry, replay after a crash (scenarios 8, 9,
10, 14, 15, 18, 19 and 26).
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard.errors import InputError, LimitError, StaleEventError, UnknownNameError
from cordboard.pacing.driver import Driver, pace
from cordboard.pacing.modes import Limits
from cordboard.pacing.pacer import Leads, Pacer, Plan
from cordboard.pacing.rules import CAMPAIGN, Rule
from cordboard.pacing.world import World, run


class Watch(Driver):
    """A driver that notes (time, dialed, cancelled, reason) of every decision, and the lines and free agents after
    it.
    """

    def __init__(self, pacer: Pacer) -> None:
        super().__init__(pacer)
        self.notes: list[tuple[float, int, int, str, int, int]] = []

    def decide(self, now, offer):
        leads = [Leads(None if math.isnan(p) else p, room) for p, room in zip(offer["p"], offer["room"], strict=True)]
        plan = self.pacer.plan(now, leads, offer["ahead"])
        lines = self.pacer.ringing + len(plan.ids) - len(plan.cancel)
        free = self.pacer.state()["agents"]["idle"]
        self.notes.append((now, len(plan.ids), len(plan.cancel), plan.reason, lines, free))
        return plan.dial, plan.cancel, plan.look


def ready_pacer(agents: int, **settings: object) -> Pacer:
    """A pacer that has learned for an hour in the world, its agents all idle and no calls in flight."""
    pacer = Pacer(choose=False, **settings)  # type: ignore[arg-type]
    run(World(agents=agents, hours=1.0), Driver(pacer), 7)
    now = 3600.0
    for id in list(pacer._calls):
        if pacer._calls[id].answered is not None:
            pacer.call(id, "connected", now)
        else:
            pacer.call(id, "failed", now)
    for agent in range(agents):
        pacer.agent(agent, "idle", now)
    return pacer


def place(pacer: Pacer, plan: Plan, now: float) -> None:
    for id in plan.ids:
        pacer.call(id, "placed", now)


@pytest.mark.parametrize(("agents", "leave"), [(20, 12), (50, 30)])
def test_scenario_8_no_dial_follows_the_loss_of_most_agents(agents: int, leave: int) -> None:
    # given a team with ten agents free and the lines for them in flight
    pacer = ready_pacer(agents)
    for agent in range(10, agents):
        pacer.agent(agent, "talk", 3600.0)
    plan = pacer.plan(3600.0)
    assert len(plan.ids) >= 10
    place(pacer, plan, 3600.0)
    # when most of them leave at once
    for agent in range(leave):
        pacer.agent(agent, "away", 3601.0) if agent < 10 else pacer.agent(agent, "talk", 3601.0, leaving=True)
    # then nothing is dialed for the ring time of the calls that are out, but for those that end
    assert pacer.plan(3601.0).ids == ()
    assert pacer.plan(3602.0).ids == ()


def test_scenario_9_without_agents_nothing_is_dialed_and_ringing_calls_end_at_their_minimum_ring() -> None:
    world = World(agents=20, hours=1.5, changes=((3600.0, "leave", 20, True),))
    watch = Watch(Pacer(choose=False))
    day = run(world, watch, 3)
    after = [note for note in watch.notes if note[0] >= 3600.0]
    assert day.total("dials", 0, 3600) > 500
    assert sum(dialed for _, dialed, _, _, _, _ in after) == 0
    assert {reason for *_, reason, _, _ in after} == {"no_agents"}
    assert after[-1][4] == 0
    # every call that could be cancelled was, at once when its fifteen seconds were over: none rings after that
    ends = [t for t, _, cancelled, *_ in after if cancelled]
    assert ends and max(ends) <= 3600.0 + 2.0 + 15.0 + 1e-6  # ringing begins two seconds after a dial
    assert day.column("ringing")[61:].sum() == 0


def test_scenario_10_agents_who_return_in_bulk_start_no_burst() -> None:
    changes = ((1.0, "leave", 12, True), (5400.0, "return", 12))
    drops = answers = 0.0
    most = 0.0
    for seed in range(12):
        watch = Watch(Pacer(choose=False))
        day = run(World(agents=20, hours=1.75, changes=changes), watch, seed)
        drops += day.total("drops", 5400, 6000)
        answers += day.total("answers", 5400, 6000)
        most = max(most, max(lines / max(1, free) for t, _, _, _, lines, free in watch.notes if 5400 <= t < 5402))
    assert drops / answers <= 0.03
    assert most <= 1 / 0.3 + 0.5  # never more lines than would give each free agent one answer


@pytest.mark.parametrize(
    ("limits", "change"), [(Limits(lines=26), ("lines",)), (Limits(calls_per_second=0.3), ("calls_per_second",))]
)
def test_scenario_14_a_limit_is_kept_and_said_and_nothing_winds_up(limits: Limits, change: tuple[str]) -> None:
    drops = answers = before_drops = before_answers = 0.0
    for seed in range(12):
        pacer = Pacer(choose=False, limits=limits)
        watch = Watch(pacer)

        class Lifted(Watch):
            def decide(self, now, offer):
                if now >= 3600.0:
                    self.pacer.set_limits(Limits())
                return super().decide(now, offer)

        watch = Lifted(pacer)
        day = run(World(agents=20, hours=1.5), watch, seed)
        bound = [note for note in watch.notes if note[0] < 3600.0]
        if limits.lines:
            # ringing, waiting and talking calls together
            assert max(note[4] for note in bound) <= limits.lines
        else:
            times = np.repeat([n[0] for n in bound], [n[1] for n in bound])
            assert (np.diff(times) >= 1 / 0.3 - 1e-6).all()
        assert Counter(note[3] for note in bound)["capacity_bound"] > 100
        before_drops += day.total("drops", 1800, 3600)
        before_answers += day.total("answers", 1800, 3600)
        drops += day.total("drops", 3600, 4200)
        answers += day.total("answers", 3600, 4200)
    # then the minutes after it was lifted are no more than a point over the target
    assert drops / answers <= 0.04


def test_scenario_15_pacing_stops_within_two_seconds_of_silence_and_does_not_catch_up() -> None:
    changes = tuple((at, "stall", 10.0) for at in (3600.0, 4200.0, 4800.0))
    usual, after = 0, 0
    for seed in range(4):
        watch = Watch(Pacer(choose=False))
        run(World(agents=20, hours=1.5, beat=0.5, changes=changes), watch, seed)
        usual = max(usual, burst(watch, 1800.0, 3600.0))
        for at, _, length in changes:
            silent = [n for n in watch.notes if at + 2.0 < n[0] < at + length]
            assert silent and all(n[1] == 0 and n[3] == "telemetry_stale" for n in silent)
            late = [n for n in watch.notes if at + length <= n[0] < at + length + 10]
            assert late and all(n[3] != "telemetry_stale" for n in late[1:])
            after = max(after, burst(watch, at + length, at + length + 60))
    assert after <= usual


def burst(watch: Watch, start: float, end: float) -> int:
    """The most calls that were placed in any five seconds."""
    placed = [(n[0], n[1]) for n in watch.notes if start <= n[0] < end and n[1]]
    return max((sum(m for u, m in placed if t <= u < t + 5.0) for t, _ in placed), default=0)


def test_scenario_18_a_cold_start_is_progressive_for_fifty_dials_then_soon_good() -> None:
    drops = answers = 0.0
    early, late = [], []
    for seed in range(12):
        watch = Watch(Pacer(choose=False))
        day = run(World(agents=20, hours=3.0), watch, seed)
        cold = [n for n in watch.notes if n[3] == "cold_start"]
        assert sum(n[1] for n in cold) >= 50
        assert all(lines <= free for _, dialed, _, _, lines, free in cold if dialed)
        drops += day.total("drops", 0, 1800)
        answers += day.total("answers", 0, 1800)
        early.append(day.occupancy(1200, 2400))
        late.append(day.occupancy(7200))
    assert drops / answers <= 0.03
    assert np.mean(early) >= np.mean(late) - 0.03


@pytest.mark.parametrize(("error", "feasible"), [(0.01, True), (0.02, False)])
def test_scenario_19_detection_errors_take_their_part_of_the_budget_or_all_of_it(error: float, feasible: bool) -> None:
    # given 20 % people and 40 % machines, of whose detections a known share are people
    rule = Rule("r", "0.03", CAMPAIGN, form="live_with_amd")
    world = World(agents=20, p=0.2, machine=0.4, hours=3.0)
    reasons: Counter[str] = Counter()
    for seed in range(12):
        pacer = Pacer(choose=False, rules=[rule], false_positives=error)
        _, driver = pace(world, pacer, seed, keep=True)
        state = pacer.ledger.windows(10800.0)[0]
        reasons.update(plan.reason for plan in driver.plans)
        if feasible:
            # then drops and estimated errors together keep the cap, and drops were still made
            assert state.rate <= 0.03
            assert state.dropped > 1.0 * error * pacer.ledger.false_positives
        else:
            assert driver.plans[-1].reason == "budget_infeasible"
            assert "误判" in driver.plans[-1].zh
    assert (reasons["budget_infeasible"] > 0) is not feasible


# ---- scenario 26: idempotence

CHILD = """
import json, os, sys
from cordboard.pacing.pacer import Pacer
folder, kill_at = sys.argv[1], int(sys.argv[2])
journal = open(os.path.join(folder, "journal"), "a+")
dialed = open(os.path.join(folder, "dialed"), "a+")
journal.seek(0), dialed.seek(0)
seen = [json.loads(line) for line in journal if line.endswith("\\n")]
done = {line.strip() for line in dialed if line.endswith("\\n")}
events = [json.loads(line) for line in open(os.path.join(folder, "events"))]
pacer = Pacer(choose=False)

def apply(event):
    t = event["t"]
    if event["what"] == "agent":
        pacer.agent(event["agent"], event["state"], t)
    elif pacer.ringing:
        pacer.call(next(iter(pacer._calls)), "failed", t)
    plan = pacer.plan(t)
    for id in plan.ids:
        pacer.call(id, "placed", t)
    return plan.ids

steps = 0
for i, event in enumerate(events):
    if i >= len(seen):
        journal.write(json.dumps(event) + "\\n"), journal.flush(), os.fsync(journal.fileno())
    for id in apply(event):
        steps += 1
        if steps == kill_at and i >= len(seen):
            os.kill(os.getpid(), 9)
        if id not in done:
            dialed.write(id + "\\n"), dialed.flush(), os.fsync(dialed.fileno())
"""


def test_scenario_26_killed_between_decision_and_dialing_nothing_is_dialed_twice_or_lost(tmp_path: Path) -> None:
    # given the events of a small campaign, whose calls are named by the plan's ids
    events = [{"t": 0.0, "what": "agent", "agent": a, "state": "idle"} for a in range(6)]
    for i in range(1, 400):
        t = float(i)
        if i % 3:
            agent, state = (i * 7) % 6, ("idle", "talk", "wrap")[(i // 6) % 3]
            events.append({"t": t, "what": "agent", "agent": agent, "state": state})
        else:
            events.append({"t": t, "what": "the oldest call fails"})

    def child(folder: Path, kill_at: int) -> int:
        folder.mkdir(exist_ok=True)
        (folder / "events").write_text("\n".join(map(json.dumps, events)))
        paths = os.pathsep.join([p for p in sys.path if p])
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder), str(kill_at)],
            env={**os.environ, "PYTHONPATH": paths},
            timeout=60,
        )
        return done.returncode

    # when it runs undisturbed, and when it is killed again and again and started anew on its journal
    assert child(tmp_path / "whole", -1) == 0
    kills = 0
    for kill_at in (1, 5, 12, 20, 31, -1):
        kills += child(tmp_path / "killed", kill_at) == -signal.SIGKILL
    # then the same numbers were dialed, each once
    whole, killed = ((tmp_path / name / "dialed").read_text().split() for name in ("whole", "killed"))
    assert kills >= 3
    assert len(whole) > 30
    assert killed == whole
    assert len(set(killed)) == len(killed)


def test_the_same_observations_give_the_same_plans() -> None:
    plans = []
    for _ in range(2):
        _, driver = pace(World(agents=8, hours=0.5), Pacer(choose=False), 5, keep=True)
        plans.append(driver.plans)
    assert plans[0] == plans[1]
    assert len({id for plan in plans[0] for id in plan.ids}) == sum(len(plan.ids) for plan in plans[0])


# ---- the rest of the interface


@pytest.mark.parametrize(("mode", "ratio", "lines"), [("progressive", 1.5, 6), ("preview", 1.5, 6), ("power", 1.5, 9)])
def test_fixed_modes_open_their_lines_for_each_free_agent(mode: str, ratio: float, lines: int) -> None:
    rules = [Rule("r", "0.5", CAMPAIGN, least=100)]
    pacer = Pacer(mode=mode, limits=Limits(ratio=ratio), rules=rules)  # type: ignore[arg-type]
    for agent in range(6):
        pacer.agent(agent, "idle", 0.0)
    plan = pacer.plan(0.0)
    assert (plan.mode, len(plan.ids)) == (mode, lines)
    place(pacer, plan, 0.0)
    assert pacer.plan(0.0).ids == ()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["idle", "talk", "wrap", "away"])), max_size=60))
def test_progressive_never_has_more_lines_than_free_agents_when_it_dials(moves) -> None:
    pacer, now = Pacer(mode="progressive"), 0.0
    for agent, state in moves:
        now += 1.0
        pacer.agent(agent, state, now)
        plan = pacer.plan(now)
        place(pacer, plan, now)
        assert not plan.ids or pacer.ringing <= pacer.state()["agents"]["idle"]


def test_likely_leads_go_first_when_there_is_one_line_an_agent() -> None:
    pacer = Pacer(mode="progressive")
    for agent in range(3):
        pacer.agent(agent, "idle", 0.0)
    assert pacer.plan(0.0, [Leads(0.1), Leads(0.5, count=2), Leads(None)]).dial == (1, 2, 0)
    assert pacer.plan(0.0, [Leads(0.1), Leads(0.5)], ahead=[0, 1, 0, 1]).dial == (2, 1)


def test_a_plan_never_has_more_dials_than_there_are_leads_in_their_order_or_chosen() -> None:
    for choose in (True, False):
        pacer = Pacer(limits=Limits(least_outcomes=0, least_agents=0), choose=choose)
        for agent in range(12):
            pacer.agent(agent, "idle", 0.0)
        assert pacer.plan(0.0, [Leads(0.3, 4)]).dial == (4,)
        dial = pacer.plan(1.0, [Leads(0.3, 2), Leads(0.2, 3), Leads(0.1, 1)]).dial
        assert dial == (2, 3, 1)


def test_reserved_agents_and_waiting_callers_hold_outbound_back() -> None:
    pacer = Pacer(mode="progressive", limits=Limits(reserve=2))
    for agent in range(3):
        pacer.agent(agent, "idle", 0.0)
    assert len(pacer.plan(0.0).ids) == 1
    pacer.inbound(1, 1.0)
    assert (pacer.plan(1.0).mode, pacer.plan(1.0).reason) == ("stopped", "inbound_waiting")
    pacer.inbound(0, 2.0)
    assert len(pacer.plan(2.0).ids) == 1


def test_the_time_of_the_greeting_decides_for_rules_that_start_there() -> None:
    rules = [Rule("g", "0.03", CAMPAIGN, start_point="greeting_end"), Rule("c", "0.03", CAMPAIGN)]
    pacer = Pacer(rules=rules)
    pacer.call("a", "placed", 0.0)
    pacer.call("a", "answered", 8.0)
    pacer.call("a", "greeting", 8.5)
    pacer.call("a", "greeted", 9.5)
    pacer.call("a", "connected", 11.5)
    assert [w.dropped for w in pacer.ledger.windows(12.0)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda p: p.call("x", "answered", 1.0), StaleEventError, "no call"),
        (lambda p: p.call("a", "placed", 1.0), StaleEventError, "placed before"),
        (lambda p: p.call("a", "connected", 1.0), StaleEventError, "not been answered"),
        (lambda p: p.call("a", "sung", 1.0), UnknownNameError, "no event"),
        (lambda p: p.agent("li", "asleep", 1.0), UnknownNameError, "no state"),
        (lambda p: p.agent("li", "idle", float("nan")), InputError, "time goes back"),
        (lambda p: p.plan(-1.0), InputError, "time goes back"),
        (lambda p: p.plan(1.0, [Leads()] * 17), LimitError, "groups"),
        (lambda p: p.set_mode("telepathic"), InputError, "no mode"),
    ],
)
def test_what_can_not_be_is_refused_and_changes_nothing(act, error, words: str) -> None:
    pacer = Pacer()
    pacer.call("a", "placed", 0.5)
    before = pacer.state()
    with pytest.raises(error, match=words):
        act(pacer)
    assert pacer.state() == before


@pytest.mark.parametrize("listened", [False, True])
def test_after_a_machine_the_agent_is_there_for_the_next_call(listened: bool) -> None:
    # given one agent, and a call that a machine answers, found out at once or by listening for a while
    pacer = Pacer(target=0.03)
    pacer.agent("li", "idle", now=0.0)
    [call] = pacer.plan(now=0.0, leads=[Leads(count=5)]).ids
    pacer.call(call, "placed", now=0.0)
    if listened:
        pacer.call(call, "answered", now=5.0)
        assert not pacer.plan(now=5.5, leads=[Leads(count=4)]).ids
    # when it is let go, then the next one is dialed, and nobody was dropped
    pacer.call(call, "machine", now=6.5)
    assert len(pacer.plan(now=7.0, leads=[Leads(count=4)]).ids) == 1
    assert pacer.ringing == 0 and all(window.dropped == 0 for window in pacer.ledger.windows(7.0))
