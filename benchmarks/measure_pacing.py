"""The table of the pacing method: ``python -m benchmarks.measure_pacing [--seeds 12] [--only 5,20]``.

Eight hours a seed in the world of docs/background/pacing-method.md, parameters learned, the day as the ledger's window.
"""

from __future__ import annotations

import argparse
import time

from cordboard._core.pacing import PacingCore
from cordboard.pacing.world import World, pooled, run

CASES = (  # agents, answer probability, target, at least
    (5, 0.3, 0.03, 0.825),
    (20, 0.3, 0.03, 0.898),
    (20, 0.3, 0.01, 0.865),
    (20, 0.1, 0.03, 0.88),
    (50, 0.3, 0.03, 0.94),
    (100, 0.3, 0.03, 0.962),
    (500, 0.3, 0.03, 0.98),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    only = {int(n) for n in options.only.split(",") if n}
    print("agents    p  target  occupancy  at least   drops  worst day  worst hour  cpu s")
    for agents, p, target, least in CASES:
        if only and agents not in only:
            continue
        begun = time.process_time()
        days = []
        for seed in range(options.first, options.first + options.seeds):
            core = PacingCore(target=target)
            core.window_end, core.price_scale = options.hours * 3600.0, options.scale
            world = World(agents=agents, p=p, hours=options.hours, gap=0.0 if agents < 100 else 0.2)
            days.append(run(world, core, seed))
        got = pooled(days)
        print(f"{agents:6d} {p:4.1f} {target:7.2f} {got['occupancy']:10.4f} {least:9.3f} {got['drop_rate']:7.4f}"
              f" {got['worst_day']:10.4f} {got['worst_hour']:11.4f} {time.process_time() - begun:6.1f}", flush=True)


if __name__ == "__main__":
    main()
