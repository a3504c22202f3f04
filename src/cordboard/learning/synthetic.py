"""Made-up call attempts, for studies of answer probabilities: no public records hold attempts, outcomes and clock
times.

What is published about the marginals is kept (known numbers, 25 s ring time-out): no answer 25 to 35 %, busy 3 to
6 %, fax and unobtainable numbers a few per cent (UNICOM Intelligence 7.5.1, 400,000 UK residential calls); ring times
of answered calls have two humps, 6 to 10 s and 18 to 22 s; weekday evenings and weekends are better on a first call
(Weeks, Kulka & Pierson 1987), and repeats in the same part of the day gain less and less (Kulka & Weeks 1988). The
rest is assumed and stands below as constants: each lead has a habit, a part of the day in which it is at home, and
campaigns drift. The true probabilities are returned too, so a study can say how far a model is from the best
possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordboard.learning.model import OUTCOMES, Result
from cordboard.learning.schema import Schema

Floats = NDArray[np.float64]

HOURS = np.arange(9, 21)
DAYS = 60  # over which the attempts are spread
LINES = ("mobile", "landline")
REGIONS = ("north", "south", "east", "west", "abroad")
CAMPAIGNS = ("renewal", "survey", "offer")
PARTS = ("morning", "afternoon", "evening")  # 9-12, 12-17, 17-21
BASE = {"machine": -0.35, "busy": -1.75, "no_answer": 0.05, "invalid": -2.3}  # log-odds against a person


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts in time order: ``table`` of features (schema ``call-attempts``), results, and the truth.

    ``p``: float64 (n, 5), the true probabilities of OUTCOMES; ``ring``: float64 (n,), seconds until it ended ringing.
    """

    table: dict[str, list[Any]]
    results: list[Result]
    p: Floats
    ring: Floats


def schema() -> Schema:
    """The schema of the attempts."""
    return Schema.load("call-attempts")


def attempts(n: int, seed: int = 0, leads: int | None = None) -> Attempts:
    """``n`` attempts to ``leads`` leads (n // 3 + 1 unless given), always the same for the same seed."""
    rng = np.random.default_rng(seed)
    leads = leads or n // 3 + 1
    line = rng.random(leads) < 0.35  # landlines
    region, campaign = rng.integers(len(REGIONS), size=leads), rng.integers(len(CAMPAIGNS), size=leads)
    age, habit = rng.integers(18, 86, size=leads), rng.integers(len(PARTS), size=leads)
    reachable = rng.normal(0.0, 0.7, size=leads)
    tries, last = np.zeros(leads, int), np.full(leads, -1)
    same = np.zeros((leads, len(PARTS)), int)
    who = rng.integers(leads, size=n)
    hour = HOURS[rng.integers(len(HOURS), size=n)]
    weekday = np.arange(n) * DAYS // max(n, 1) % 6  # Monday to Saturday
    truth, ring = np.empty((n, len(OUTCOMES))), np.empty(n)
    table: dict[str, list[Any]] = {
        k: [] for k in ("hour", "weekday", "line", "region", "campaign", "age", "tries", "last", "same_part")
    }
    results = []
    for i in range(n):
        lead, part = who[i], int(np.searchsorted([12, 17], hour[i], side="right"))
        z = _log_odds(bool(line[lead]), part, int(weekday[i]), int(habit[lead]), int(same[lead, part]), reachable[lead],
                      i / max(n, 1), int(region[lead]), int(last[lead]))  # fmt: skip
        truth[i] = np.exp(z) / np.exp(z).sum()
        k = int(rng.choice(len(OUTCOMES), p=truth[i]))
        row = (str(hour[i]), str(weekday[i]), LINES[int(line[lead])], REGIONS[region[lead]], CAMPAIGNS[campaign[lead]],
               float(age[lead]), float(tries[lead]), "none" if last[lead] < 0 else OUTCOMES[last[lead]],
               float(same[lead, part]))  # fmt: skip
        for column, value in zip(table.values(), row, strict=True):
            column.append(value)
        results.append(_result(OUTCOMES[k], rng, int(campaign[lead]), float(age[lead])))
        ring[i] = _ring(OUTCOMES[k], rng)
        tries[lead] += 1
        same[lead, part] += 1
        last[lead] = k
    return Attempts(table, results, truth, ring)


def _log_odds(landline: bool, part: int, weekday: int, habit: int, same: int, reachable: float, progress: float,
              region: int, last: int) -> Floats:  # fmt: skip
    """Of the five outcomes against a person."""
    z = np.array([0.0, *BASE.values()])
    evening = part == 2 or weekday >= 5
    z[0] += 0.35 * evening + 0.6 * (part == habit) - 0.25 * min(same, 4) + reachable
    z[0] += 0.3 * np.sin(2 * np.pi * progress) - 0.3 * (region == 4)  # drift; abroad is harder
    z[1] += 0.5 * (not landline) + 0.8 * (last == 1)  # who has a machine has it tomorrow
    z[3] += 0.4 * landline
    z[4] += 4.0 * (last == 4) - 0.5 * (last >= 0)  # an invalid number stays so
    return z


def _result(outcome: str, rng: np.random.Generator, campaign: int, age: float) -> Result:
    if outcome != "person":
        return Result(outcome)
    right = bool(rng.random() < 0.72)
    z = -1.6 + 0.5 * (campaign == 0) + 0.012 * (age - 45)
    return Result(outcome, right, bool(rng.random() < 1 / (1 + np.exp(-z))) if right else None)


def _ring(outcome: str, rng: np.random.Generator) -> float:
    """Seconds of ringing: a hump of people, a hump of machines, time-out at 25 s; busy and invalid at once."""
    if outcome == "person":
        return float(np.clip(rng.normal(8.0, 2.5), 1.0, 25.0))
    if outcome == "machine":
        return float(np.clip(rng.normal(20.0, 1.5), 1.0, 25.0))
    return 25.0 if outcome == "no_answer" else float(rng.uniform(0.2, 2.0))
