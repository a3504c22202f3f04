"""Our pacer as the study runs it. It is told nothing of the world but what happens in it, and the target."""

from __future__ import annotations

from cordboard.pacing.driver import Driver
from cordboard.pacing.pacer import Pacer
from cordboard.pacing.rules import CALENDAR_DAY, CALENDAR_MONTH, CAMPAIGN, PERIODS_OF_30_DAYS, ROLLING_DAY, Rule
from cordboard.pacing.world import World


def rules(target: float, answers_a_day: int) -> list[Rule]:
    """Every legal window at once, at the target; a rolling day with fewer calls than four fifths of a day's is held to
    what these allow.
    """
    cap = format(target, "g")
    windows = {
        "campaign": CAMPAIGN,
        "day": CALENDAR_DAY,
        "month": CALENDAR_MONTH,
        "30 days": PERIODS_OF_30_DAYS,
        "rolling day": ROLLING_DAY,
    }
    return [
        Rule(name, cap, window, least=answers_a_day * 4 // 5 if window is ROLLING_DAY else None)
        for name, window in windows.items()
    ]


def ours(world: World, target: float) -> Driver:
    end = world.hours * 3600.0
    full = world.agents * end / world.handle
    return Driver(Pacer(target=target, rules=rules(target, int(full)), choose=world.choose, closes=end))
