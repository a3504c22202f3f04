"""The published dialers, rewritten, give in the dialing world the figures that were measured of them elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.dialers.issabel import Issabel
from benchmarks.dialers.marginal import MarginalRisk
from benchmarks.dialers.simple import Ratio, Wombat
from benchmarks.dialers.vicidial import Vicidial
from cordboard.pacing.world import World, pooled, run

# policy, agents, answer probability -> occupancy, drop rate measured in an independent simulator of the same
# description
MEASURED = [
    ("progressive", 5, 0.3, 0.732, 0.0),
    ("progressive", 20, 0.3, 0.730, 0.0),
    ("progressive", 20, 0.1, 0.439, 0.0),
    ("progressive", 20, 0.5, 0.843, 0.0),
    ("HARD_LIMIT", 5, 0.3, 0.722, 0.032),
    ("HARD_LIMIT", 20, 0.3, 0.727, 0.031),
    ("HARD_LIMIT", 100, 0.3, 0.734, 0.030),
    ("HARD_LIMIT", 20, 0.1, 0.457, 0.031),
    ("AVERAGE", 20, 0.3, 0.725, 0.031),
    ("HARD_LIMIT, surplus", 20, 0.3, 0.761, 0.030),
    ("HARD_LIMIT, surplus", 100, 0.3, 0.803, 0.001),
    ("Issabel", 5, 0.3, 0.724, 0.025),
    ("Issabel", 20, 0.3, 0.724, 0.0006),
    ("Issabel overcommit", 20, 0.3, 0.868, 0.077),
    ("Issabel overcommit", 100, 0.3, 0.885, 0.004),
]


def policy(name: str, agents: int) -> object:
    return {
        "progressive": lambda: Ratio(agents),
        "HARD_LIMIT": lambda: Vicidial(agents, "HARD_LIMIT"),
        "AVERAGE": lambda: Vicidial(agents, "AVERAGE"),
        "HARD_LIMIT, surplus": lambda: Vicidial(agents, "HARD_LIMIT", -agents / 5),
        "Issabel": lambda: Issabel(agents, overcommit=False),
        "Issabel overcommit": lambda: Issabel(agents, overcommit=True),
    }[name]()


@pytest.mark.parametrize(("name", "agents", "p", "occupancy", "drops"), MEASURED)
def test_a_published_dialer_behaves_as_it_was_measured(
    name: str, agents: int, p: float, occupancy: float, drops: float
) -> None:
    seeds = 12 if agents <= 20 else 6
    result = pooled([run(World(agents=agents, p=p), policy(name, agents), seed) for seed in range(seeds)])
    assert result["occupancy"] == pytest.approx(occupancy, abs=0.012)
    assert result["drop_rate"] == pytest.approx(drops, abs=max(0.004, 0.2 * drops))


def test_the_tapered_method_lets_the_morning_drop_without_limit() -> None:
    result = pooled([run(World(agents=20), Vicidial(20, "TAPERED"), seed) for seed in range(6)])
    assert result["occupancy"] > 0.76
    assert result["drop_rate"] > 0.2


def test_the_marginal_risk_rule_with_true_parameters_comes_near_three_percent() -> None:
    world = World(agents=20)
    result = pooled([run(world, MarginalRisk(world, 0.068), seed) for seed in range(4)])
    assert result["occupancy"] == pytest.approx(0.895, abs=0.01)
    assert result["drop_rate"] <= 0.03


def test_a_boost_places_lines_for_available_agents_only() -> None:
    one = Wombat(7, boost=1.3)
    for agent in range(7):
        one.agent(agent, 1, 0.0, False)
    assert one.pace(0.0) == 9  # the vendor's example: 7 agents times 1.3
    assert run(World(agents=20, hours=2.0), Wombat(20, boost=1.3), 1).drop_rate() < 0.01
