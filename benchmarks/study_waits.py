"""How good are the estimated waits? ``python -m benchmarks.study_waits [--quick] [--data FOLDER]``

Table 1: M/M/n+M, against the exact minimum. Table 2: the real calls of the Anonymous Bank, learned on January and
judged on February, against what others would announce; it needs the two files (see docs/guides/
import-the-anonymous-bank.md) and LightGBM. ``--write`` puts both tables into docs/background/estimated-waits.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.waits_worlds import ROWS, STATE, Array, BankCalls, bank_calls, errors, exceeded, mmn_m, qla

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "background" / "estimated-waits.md"
SKIP = 0.2  # of the M/M/n+M contacts, in which the rates are learned
FEBRUARY = 31  # the day it starts, counted from the first of January


def main() -> None:
    """Run the study and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer simulated contacts, no nightly retraining")
    parser.add_argument("--data", type=Path, default=None, help="folder of anonymous_bank_1999_01.txt and _02.txt")
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    options = parser.parse_args()
    data = options.data or Path(os.environ.get("CORDBOARD_DATA", ROOT / ".." / "shared" / "data"))
    flag = " --quick" if options.quick else ""
    lines = [f"`python -m benchmarks.study_waits{flag}`, {machine()}, {datetime.date.today()}.", ""]
    lines += table_queue(40_000 if options.quick else 200_000)
    files = [data / f"anonymous_bank_1999_0{month}.txt" for month in (1, 2)]
    if all(file.exists() for file in files):
        lines += ["", *table_bank(bank_calls(*files), options.quick)]
    else:
        lines += ["", f"The bank's calls are not here: {', '.join(file.name for file in files)}."]
    text = "\n".join(lines)
    print(text)
    if options.write:
        head, _, rest = PAGE.read_text("utf-8").partition("<!-- tables -->\n")
        _, _, tail = rest.partition("<!-- end of tables -->\n")
        PAGE.write_text(f"{head}<!-- tables -->\n{text}\n<!-- end of tables -->\n{tail}", "utf-8")


def machine() -> str:
    """The processor and how many of it."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"


def table_queue(contacts: int) -> list[str]:
    """Mean squared errors in M/M/n+M, after the first fifth, divided by that of QLa with the true rates."""
    lines = [
        f"Mean squared error over that of QLa with the true rates (the exact minimum), {contacts:,} contacts a row,",
        f"after the first {SKIP:.0%} of those delayed:",
        "",
        "| agents | arrivals | abandonment | QLa | estimate | served only | QL | HOL | LES | constant | over p50 | over p90 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for agents, arrivals, theta in ROWS:
        seen = mmn_m(agents, arrivals, theta, contacts, seed=1).after(SKIP)
        best = qla(seen.ahead, agents, theta)
        floor = np.mean((seen.wait - best) ** 2)
        kept = ~seen.gave_up
        served = np.mean((seen.wait - seen.mean)[kept] ** 2) / np.mean((seen.wait - best)[kept] ** 2)
        others = [seen.mean, (seen.ahead + 1) / agents, seen.head, seen.last, np.full(len(best), seen.wait.mean())]
        ratios = [np.mean((seen.wait - other) ** 2) / floor for other in others]
        ratios.insert(1, served)
        shown = " | ".join(f"{ratio:.3f}" for ratio in ratios)
        over = f"{exceeded(seen.wait, seen.p50):.1%} | {exceeded(seen.wait, seen.p90):.1%}"
        lines.append(f"| {agents} | {arrivals:g} | {theta:g} | {floor:.5f} | {shown} | {over} |")
    return lines


def table_bank(calls: BankCalls, quick: bool) -> list[str]:
    """The calls of February that waited and were served from 7:00 to 24:00."""
    test = calls.counted & (calls.day >= FEBRUARY)
    wait = calls.wait[test]
    lines = [
        f"Anonymous Bank, {test.sum():,} calls of February 1999 that waited and were served from 7:00 to 24:00:",
        "",
        "| what is announced | RMSE s | MAE s | longer than the p90 |",
        "| --- | --- | --- | --- |",
    ]
    for name, guess in baselines(calls, quick):
        rmse, mae = errors(wait, guess[test])
        lines.append(f"| {name} | {rmse:.1f} | {mae:.1f} | |")
    lines.append(f"| LightGBM, 90 % quantile, frozen | | | {frozen_p90(calls, calls.state)[0]:.1%} |")
    lines.append(
        f"| LightGBM, 90 % quantile, the estimate's features, frozen | | | {frozen_p90(calls, calls.features)[0]:.1%} |"
    )
    over = exceeded(wait, calls.p90[test])
    for name, guess in (("mean", calls.mean), ("median", calls.p50)):
        rmse, mae = errors(wait, guess[test])
        lines.append(f"| **estimate, {name}** | **{rmse:.1f}** | **{mae:.1f}** | **{over:.1%}** |")
    days = sorted(set(calls.day[test].tolist()))
    daily = [exceeded(calls.wait[test & (calls.day == day)], calls.p90[test & (calls.day == day)]) for day in days]
    lines += ["", f"The share longer than the p90 by day: {min(daily):.0%} to {max(daily):.0%}; longer than the median "
              f"{exceeded(wait, calls.p50[test]):.1%}."]  # fmt: skip
    return lines


def baselines(calls: BankCalls, quick: bool) -> Iterator[tuple[str, Array]]:
    """What others would announce, for every call."""
    train = calls.counted & (calls.day < FEBRUARY)
    column = {name: calls.state[:, i] for i, name in enumerate(STATE)}
    handle = 190.0  # seconds: the mean conversation of January, to the favor of QL
    yield "constant (January's mean)", np.full(len(calls.wait), calls.wait[train].mean())
    yield "last waiter (LES)", calls.last
    yield "last waiter of the type", calls.last_of_type
    yield "head of the line (HOL)", column["head"]
    yield "queue length (QL)", (column["ahead"] + 1) * handle / np.maximum(column["busy"], 1)
    for objective in ("l2", "l1"):
        yield f"LightGBM {objective}, frozen", boosted(calls, calls.state, objective, train, calls.day >= FEBRUARY)
    for objective in ("l2", "l1"):
        name = f"LightGBM {objective}, the estimate's features, frozen"
        yield name, boosted(calls, calls.features, objective, train, calls.day >= FEBRUARY)
    if not quick:
        guess = np.zeros(len(calls.wait))
        for day in range(FEBRUARY, int(calls.day.max()) + 1):
            rows = calls.day == day
            if rows.any():
                known = calls.counted & (calls.day < day)
                guess[rows] = boosted(calls, calls.features, "l2", known, rows)[rows]
        yield "LightGBM l2, the estimate's features, retrained every night", guess


def boosted(calls: BankCalls, state: Array, objective: str, train: Array, rows: Array) -> Array:
    """A LightGBM regression of the wait on a state, for the ``rows``."""
    import lightgbm

    model = lightgbm.LGBMRegressor(
        objective=objective, alpha=0.9, n_estimators=300, learning_rate=0.03, num_leaves=15, min_child_samples=40,
        subsample=0.7, subsample_freq=1, colsample_bytree=0.5, random_state=1, n_jobs=1, verbose=-1,
    )  # fmt: skip
    model.fit(state[train], calls.wait[train])
    guess = np.zeros(len(calls.wait))
    guess[rows] = model.predict(state[rows])
    return guess


def frozen_p90(calls: BankCalls, state: Array) -> tuple[float, Array]:
    """The share of February's calls over a quantile model of January, and its announcements."""
    test = calls.counted & (calls.day >= FEBRUARY)
    guess = boosted(calls, state, "quantile", calls.counted & (calls.day < FEBRUARY), test)
    return exceeded(calls.wait[test], guess[test]), guess


if __name__ == "__main__":
    main()
