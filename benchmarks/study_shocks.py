"""What a sudden change costs a pacer that is told of it, at once or late, beside the pacer that has to find out; and every
scenario's figures beside their bars, on seeds that nothing was tuned on.

    python -m benchmarks.study_shocks [--seeds 1000:1036] [--case 1] [--late 10]
    python -m benchmarks.study_shocks --scenarios [--seeds 2000:2036] [--only 6,7] [--quick]

The first: twenty agents; after 90 minutes the answer probability is another one. The told pacer gets the new probability so many
seconds after the change, and learns as usual otherwise. Drop rates are pooled over the seeds; the error is that of
resampling whole days, for drops come in bursts. The second: benchmarks/pacing_scenarios.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.dialers.ours import ours
from benchmarks.pacing_scenarios import SCENARIOS, judged
from benchmarks.pacing_scenarios import SHOCK as CHANGE
from cordboard.pacing.driver import Driver
from cordboard.pacing.world import Day, World, run

SPANS = ((0, 60), (60, 120), (0, 300), (300, 600))
CASES = ((0.15, 0.45, 2.75), (0.40, 0.20, 2.5))
QUICK = [number for number in SCENARIOS if number not in ("2", "2b", "2c", "8b")]
TOLD = (0.0, 10.0, 20.0, 40.0, None)


class Told(Driver):
    """A driver whose pacer is told, ``late`` seconds after the change, by how much answers are likelier."""

    def __init__(self, driver: Driver, times: float, late: float) -> None:
        super().__init__(driver.pacer)
        self.times, self.at, self.told = times, CHANGE + late, False

    def decide(self, now: float, offer: dict[str, Any]) -> tuple[Sequence[int], Sequence[int], float]:
        if now >= self.at and not self.told:
            self.told = True
            self.pacer.core.ring.rescale(self.times)
        return super().decide(now, offer)


def rate_and_error(days: Sequence[Day], start: float, end: float) -> tuple[float, float]:
    """The pooled drop rate, and its standard deviation over 400 resamplings of the days."""
    drops, answers = (
        np.array([day.total(name, CHANGE + start, CHANGE + end) for day in days]) for name in ("drops", "answers")
    )
    draws = np.random.default_rng(1).integers(0, len(days), (400, len(days)))
    spread = drops[draws].sum(axis=1) / np.maximum(1.0, answers[draws].sum(axis=1))
    return float(drops.sum() / max(1.0, answers.sum())), float(spread.std())


def scenarios(seeds: Sequence[int], only: Sequence[str]) -> None:
    """A line a figure: the scenario, what was found, the bar, and whether it is met."""
    print("scenario                                    figure                              value       bar  met")
    for number, words, figure in judged(seeds, only):
        value, bar = figure.text(figure.value), figure.text(figure.bar)
        met = "yes" if figure.met else "no"
        print(f"{number:>3s}  {words:37s}  {figure.what:32s}  {value:>8s}  {bar:>8s}  {met}", flush=True)


def shocks(seeds: Sequence[int], case: int | None, told: Sequence[float | None]) -> None:
    print("change       told after    " + "".join(f"{a:4d}-{b:3d} s     " for a, b in SPANS))
    for before, after, hours in CASES if case is None else CASES[case - 1 : case]:
        world = World(20, before, hours, changes=((CHANGE, "p", after, 0),))
        for late in told:
            days = []
            for seed in seeds:
                driver = ours(world, 0.03)
                days.append(run(world, driver if late is None else Told(driver, after / before, late), seed))
            found = (rate_and_error(days, *span) for span in SPANS)
            cells = "".join(f"{100 * rate:5.1f} ± {100 * error:3.1f} % " for rate, error in found)
            name = "not told" if late is None else f"{late:.0f} s"
            print(f".{100 * before:.0f} to .{100 * after:.0f}   {name:>10s}  {cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1000:1036", help="the first one, and the one after the last")
    parser.add_argument("--case", type=int, choices=(1, 2), help="only answers that triple (1), or that halve (2)")
    parser.add_argument("--late", type=float, help="only told so many seconds late; -1: only not told")
    parser.add_argument("--scenarios", action="store_true", help="every scenario's figures beside their bars")
    parser.add_argument("--only", default="", help="only these scenarios")
    parser.add_argument(
        "--quick", action="store_true", help="two seeds, without the teams of 50 agents or more, for CI"
    )
    options = parser.parse_args()
    first, end = (int(seed) for seed in options.seeds.split(":"))
    only = [number for number in options.only.split(",") if number]
    if options.quick:
        end, only = first + 2, only or QUICK
    if options.scenarios:
        scenarios(range(first, end), only)
    else:
        told = TOLD if options.late is None else (None if options.late < 0 else options.late,)
        shocks(range(first, end), options.case, told)


if __name__ == "__main__":
    main()
