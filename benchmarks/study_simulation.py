"""Every row of the theory tables through the real router, longer than the tests run them.

``python -m benchmarks.study_simulation`` (some minutes; ``--quick``: a tenth) prints for each figure the estimate, the half
width of its 95 % interval, the known value, and their distance in half widths, and at the end how many intervals cover.
The rows are those of tests/theory_cases.py.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from cordboard.simulation import Estimate, Exponential, SimulationResult, simulate
from tests import theory_cases as theory

BATCHES = 20
Row = tuple[str, str, Estimate, float, float]  # system, figure, estimate, known value, its own half width


def run(case: tuple[theory.Center, theory.Scenario]) -> SimulationResult:
    return simulate(*case, batches=BATCHES, seed=22)


def pools(scale: float) -> Iterator[Row]:
    for n, lam, theta, threshold, delayed, abandoned, wait, asa, level, occupancy in theory.ERLANG_A:
        result = run(theory.pool(n, lam, Exponential(1 / theta), threshold=threshold, calls=5e6 * scale))
        name = f"Erlang A n={n} lambda={lam:g} theta={theta:g}"
        for id, known in (
            ("DELAYED", delayed), ("ABANDON_RATE", abandoned), ("WAIT_ALL", wait), ("ASA", asa), ("SL_OFFERED", level),
        ):  # fmt: skip
            yield name, id, result.total[id], known, 0.0
        yield name, "OCC_TALK", result.everyone["OCC_TALK"], occupancy, 0.0
    for patience, lam, delayed, abandoned, wait, level, length in theory.GENERAL_PATIENCE:
        total = run(theory.pool(100, lam, theory.PATIENCE[patience], calls=5e6 * scale)).total
        for id, known in (
            ("DELAYED", delayed), ("ABANDON_RATE", abandoned), ("WAIT_ALL", wait), ("SL_OFFERED", level),
            ("QUEUE_LENGTH", length),
        ):  # fmt: skip
            yield f"M/M/100+G {patience} lambda={lam:g}", id, total[id], known, 0.0
    for service, patience, at_once, e1, abandoned, e2, length, e3 in theory.GENERAL_SERVICE:
        total = run(theory.pool(100, 102.0, theory.LAWS[patience], service=theory.LAWS[service], calls=5e6 * scale)).total
        name = f"M/G/100+G {service} service {patience} patience (published simulation)"
        yield name, "DELAYED", total["DELAYED"], 1 - at_once, e1
        yield name, "ABANDON_RATE", total["ABANDON_RATE"], abandoned, e2
        yield name, "QUEUE_LENGTH", total["QUEUE_LENGTH"], length, e3


def networks(scale: float) -> Iterator[Row]:
    for n, lams, waits in theory.PRIORITIES:
        result = run(theory.priorities(n, lams, 1e7 * scale))
        for k, wait in enumerate(waits):
            yield f"priorities n={n}", f"WAIT_ALL class {k}", result.queues[f"c{k}"]["WAIT_ALL"], wait, 0.0
    for name, (_, _, waits, busy) in theory.PRODUCT_FORM.items():
        result = run(theory.product_form(name, 1e7 * scale))
        for k, wait in enumerate(waits):
            yield f"product form {name}", f"WAIT_ALL class {k}", result.queues[f"c{k}"]["WAIT_ALL"], wait, 0.0
        for group, share in zip(result.groups, busy, strict=True):
            yield f"product form {name}", f"OCC_TALK {group.name}", group["OCC_TALK"], share, 0.0
    for reserve, exact in (*theory.N_MODEL_RESERVE.items(), (-1, theory.N_MODEL_PRIORITY_1)):
        case = theory.n_model(reserve, 5e6 * scale) if reserve >= 0 else theory.n_model(0, 5e6 * scale, first=1)
        result = run(case)
        name = f"N-model R={reserve}" if reserve >= 0 else "N-model class 1 first"
        for number in (0, 1):
            queue = result.queues[f"c{number + 1}"]
            yield name, f"WAIT_ALL class {number + 1}", queue["WAIT_ALL"], exact[number], 0.0
            yield name, f"ABANDON_RATE class {number + 1}", queue["ABANDON_RATE"], exact[2 + number], 0.0
        yield name, "OCC_TALK pool 2", result.groups[1]["OCC_TALK"], exact[4], 0.0
    for (erlang, skills), (blocked, asa, delayed) in theory.SIX_TYPES.items():
        total = run(theory.six_types(erlang, skills, 1e7 * scale)).total
        name = f"6 types, 90 agents, {erlang:g} Erlang, {skills} skills"
        yield name, "BLOCKED", total["BLOCKED"], *blocked
        yield name, "ASA", total["ASA"], 60 * asa[0], 60 * asa[1]
        yield name, "DELAYED", total["DELAYED"], *delayed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    scale = 0.1 if parser.parse_args().quick else 1.0
    table = Table(title="The simulator against theory")
    for column in ("system", "figure", "simulated", "±", "known", "distance / ±"):
        table.add_column(column, justify="left" if column in ("system", "figure") else "right")
    covered = total = 0
    for system, figure, estimate, known, own in (*pools(scale), *networks(scale)):
        width = math.hypot(estimate.half_width, own)
        distance = (estimate.mean - known) / width if width else math.nan
        table.add_row(
            system, figure, f"{estimate.mean:.6g}", f"{estimate.half_width:.2g}", f"{known:.6g}", f"{distance:+.2f}"
        )
        if width:
            total += 1
            covered += abs(distance) <= 1
    console = Console(width=150)
    console.print(table)
    console.print(f"{covered} of {total} intervals cover the known value ({covered / total:.1%}; 95 % are meant to)")


if __name__ == "__main__":
    main()
