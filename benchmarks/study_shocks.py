"""What a sudden change costs a pacer that is told of it, at once or late, beside the pacer that has to find out.

    python -m benchmarks.study_shocks [--first 1000] [--seeds 36] [--case 1] [--late 10]

Twenty agents; after 90 minutes the answer probability is another one. The told pacer gets the new probability so many
seconds after the change, and learns as usual otherwise. Drop rates are pooled over the seeds; the error is that of
resampling whole days, for drops come in bursts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.dialers.ours import ours
from cordboard.pacing.driver import Driver
from cordboard.pacing.world import Day, World, run

CHANGE = 5400.0
SPANS = ((0, 60), (60, 120), (0, 300), (300, 600))
CASES = ((0.15, 0.45, 2.75), (0.40, 0.20, 2.5))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=36)
    parser.add_argument("--case", type=int, choices=(1, 2), help="only answers that triple (1), or that halve (2)")
    parser.add_argument("--late", type=float, help="only told so many seconds late; -1: only not told")
    options = parser.parse_args()
    print("change       told after    " + "".join(f"{a:4d}-{b:3d} s     " for a, b in SPANS))
    cases = CASES if options.case is None else CASES[options.case - 1 : options.case]
    tellings = TOLD if options.late is None else (None if options.late < 0 else options.late,)
    for before, after, hours in cases:
        world = World(20, before, hours, changes=((CHANGE, "p", after, 0),))
        for late in tellings:
            days = []
            for seed in range(options.first, options.first + options.seeds):
                driver = ours(world, 0.03)
                days.append(run(world, driver if late is None else Told(driver, after / before, late), seed))
            found = (rate_and_error(days, *span) for span in SPANS)
            cells = "".join(f"{100 * rate:5.1f} ± {100 * error:3.1f} % " for rate, error in found)
            told = "not told" if late is None else f"{late:.0f} s"
            print(f".{100 * before:.0f} to .{100 * after:.0f}   {told:>10s}  {cells}", flush=True)


if __name__ == "__main__":
    main()
