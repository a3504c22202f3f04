"""The dialing world: the published baseline comes out of it, and no call or second is lost in it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cordboard.errors import DataError
from cordboard.pacing import world as w


class LinesPerAgent:
    """So many lines for each idle agent; at 1 it is progressive dialing."""

    def __init__(self, ratio: float = 1.0) -> None:
        self.ratio = ratio
        self.states: dict[int, int] = {}
        self.calls: set[int] = set()
        self.idle = 0

    def agent(self, agent: int, state: int, now: float, leaving: bool) -> None:
        self.idle += (state == w.IDLE) - (self.states.get(agent) == w.IDLE)
        self.states[agent] = state

    def call(self, call: int, event: int, now: float, bucket: int, p: float) -> None:
        if event == w.PLACED:
            self.calls.add(call)
        elif event >= w.CONNECTED:
            self.calls.discard(call)

    def decide(self, now: float, offer: dict[str, Any]) -> tuple[int, tuple[int, ...], float]:
        return max(0, int(self.ratio * self.idle) - len(self.calls)), (), math.inf


PUBLISHED = [(5, 0.3, 0.732), (20, 0.3, 0.730), (20, 0.1, 0.439), (20, 0.5, 0.843)]


@pytest.mark.parametrize(("agents", "p", "published"), PUBLISHED)
def test_progressive_dialing_has_its_published_occupancy_and_no_drops(agents: int, p: float, published: float) -> None:
    days = [w.run(w.World(agents=agents, p=p), LinesPerAgent(), seed) for seed in range(6)]
    assert w.pooled(days)["occupancy"] == pytest.approx(published, abs=0.008)
    assert w.pooled(days)["drop_rate"] == 0.0


def test_every_call_is_accounted_for_once_and_no_agent_works_twice() -> None:
    ended: dict[int, int] = {}
    live: set[int] = set()

    class Counting(LinesPerAgent):
        def call(self, call: int, event: int, now: float, bucket: int, p: float) -> None:
            super().call(call, event, now, bucket, p)
            ended[event] = ended.get(event, 0) + 1
            if event == w.PLACED:
                assert call not in live
                live.add(call)
            elif event >= w.CONNECTED:
                live.remove(call)

        def agent(self, agent: int, state: int, now: float, leaving: bool) -> None:
            before = self.states.get(agent, w.AWAY)
            assert (before, state) in {(w.AWAY, w.IDLE), (w.IDLE, w.TALK), (w.TALK, w.WRAP), (w.WRAP, w.IDLE)}
            super().agent(agent, state, now, leaving)

    day = w.run(w.World(agents=8, hours=4), Counting(2.5), 3)
    assert ended[w.PLACED] == sum(ended[e] for e in (w.CONNECTED, w.DROPPED, w.FAILED)) + len(live)
    assert day.total("dials") == ended[w.PLACED]
    assert day.total("drops") == ended[w.DROPPED] > 0
    assert day.total("answers") == ended[w.ANSWERED]
    assert day.total("staffed") == pytest.approx(8 * 4 * 3600)


def test_the_same_seed_gives_the_same_day() -> None:
    one, two, other = (w.run(w.World(hours=1), LinesPerAgent(2), seed) for seed in (1, 1, 2))
    assert (one.minutes == two.minutes).all()
    assert (one.minutes != other.minutes).any()


def test_lines_and_calls_per_second_are_never_exceeded() -> None:
    class Most(LinesPerAgent):
        most, times = 0, []

        def call(self, call: int, event: int, now: float, bucket: int, p: float) -> None:
            super().call(call, event, now, bucket, p)
            self.most = max(self.most, len(self.calls))
            if event == w.PLACED:
                self.times.append(now)

    policy = Most(5)
    day = w.run(w.World(agents=10, hours=1, lines=12, cps=1.5), policy, 1)
    assert policy.most <= 12
    assert all(later - sooner > 1.0 - 1e-9 for sooner, later in zip(policy.times, policy.times[2:], strict=False))
    assert day.total("refused") > 0


def test_agents_leave_after_their_call_and_return() -> None:
    changes = ((1800.0, "leave", 12, False), (3600.0, "return", 12))
    day = w.run(w.World(hours=2, changes=changes), LinesPerAgent(), 1)
    assert day.total("staffed", 0, 1800) == pytest.approx(20 * 1800)
    assert day.total("staffed", 2700, 3600) == pytest.approx(8 * 900)
    assert day.total("staffed", 3600, 7200) == pytest.approx(20 * 3600)


def test_a_world_that_can_not_be_is_refused() -> None:
    with pytest.raises(DataError, match="agents"):
        w.World(agents=0)
    with pytest.raises(DataError, match="not possible"):
        w.World(p=0.8, machine=0.3)
