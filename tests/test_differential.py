"""The engine against the brute-force router: random centers, random journals, every effect of every event.

``python -m tests.test_differential FROM TO`` plays more seeds than the suite does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard.acd import Acd
from cordboard.center import parse_center
from tests.oracle.duel import Duel, OracleEngine
from tests.oracle.worlds import STRATEGIES, Journalist, Seeded, crowded_center, random_center

T = TypeVar("T")
EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"


def play(seed: int, events: int, agents: int = 7, strategies: tuple[str, ...] = STRATEGIES) -> Duel:
    source = Seeded(seed)
    center = random_center(source, agents, strategies)
    duel = Duel(center, Acd(center, seed=seed))
    duel.play(source, events)
    return duel


@pytest.mark.parametrize("block", range(8))
def test_engine_and_oracle_agree_on_random_journals(block: int) -> None:
    for seed in range(block * 15, block * 15 + 15):
        play(seed, 150)


@pytest.mark.parametrize("block", range(4))
def test_engine_and_oracle_agree_where_much_falls_on_one_instant(block: int) -> None:
    for seed in range(block * 15, block * 15 + 15):
        source = Seeded(9000 + seed)
        center = crowded_center(source)
        Duel(center, Acd(center, seed=seed)).play(source, 200)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_engine_and_oracle_agree_under_each_strategy(strategy: str) -> None:
    for seed in range(4):
        play(1000 + seed, 120, strategies=(strategy,))


def test_engine_and_oracle_agree_with_many_agents() -> None:
    play(2000, 400, agents=60)
    play(2003, 400, agents=130)


class Drawn:
    """Randomness from hypothesis."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def whole(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))

    def pick(self, options: list[T]) -> T:
        return self.data.draw(st.sampled_from(options))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_engine_and_oracle_agree_on_small_cases(data: st.DataObject) -> None:
    source = Drawn(data)
    center = random_center(source, most_agents=3)
    Duel(center, Acd(center)).play(source, data.draw(st.integers(1, 25)))


def test_the_random_strategy_draws_every_agent_about_equally_often() -> None:
    center = parse_center('[queues.q]\nstrategy = "random"\n' + "".join(f"[agents.a{i}]\n" for i in range(5)))
    acd = Acd(center, seed=7)
    for agent in center.agents:
        acd.apply({"t": 0, "event": "agent_ready", "agent": agent.name})
    drawn = dict.fromkeys((agent.name for agent in center.agents), 0)
    for index in range(5000):
        effect = acd.apply({"t": index, "event": "contact_queued", "contact": f"c{index}", "queue": "q"})[0]
        drawn[effect["agent"]] += 1
        acd.apply({"t": index, "event": "contact_left", "contact": f"c{index}"})
    squares = sum((count - 1000) ** 2 / 1000 for count in drawn.values())
    assert squares < 18.47, drawn  # chi-square with 4 degrees of freedom, p = 0.001


def replayed(seed: int, hash_seed: str) -> bytes:
    """What `cordboard replay` writes, in a process of its own."""
    command = [sys.executable, "-m", "cordboard", "replay", str(EXAMPLES / "center.toml"), "-", "--seed", str(seed)]
    journal = journal_of(seed)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, input=journal, capture_output=True, env=environment, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def journal_of(seed: int, events: int = 400) -> bytes:
    source = Seeded(seed)
    center = parse_center((EXAMPLES / "center.toml").read_text(encoding="utf-8"))
    router = OracleEngine(center)
    journalist = Journalist(source, center)
    lines = []
    for _ in range(events):
        event = journalist.next_event(router.next_timer())
        lines.append(json.dumps(event))
        effects: list[dict[str, Any]] = router.router.fire(event["t"])
        journalist.note(None, effects)
        try:
            journalist.note(event, router.apply(event))
        except Exception:
            continue
    return "\n".join(lines).encode() + b"\n"


def test_two_runs_with_other_hash_seeds_give_the_same_bytes() -> None:
    first = replayed(3, "1")
    assert first.count(b"\n") > 100
    assert first == replayed(3, "2")


if __name__ == "__main__":
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        try:
            play(number, 200, agents=4 + number % 9)
            source = Seeded(number)
            center = crowded_center(source)
            Duel(center, Acd(center, seed=number)).play(source, 200)
        except BaseException:
            print(f"seed {number}", file=sys.stderr)
            raise
    print(f"seeds {sys.argv[1]} to {sys.argv[2]}: engine and oracle agree")
