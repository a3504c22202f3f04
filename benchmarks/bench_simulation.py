"""Calls a second of the simulator through the real router, beside a plain C loop, SimPy and Ciw on the same model.

Run it as ``python -m benchmarks.bench_simulation`` for the table (``--quick`` for a short one), or by pytest-benchmark. The
programs take turns, so that other work on the machine hits all alike; rates are medians and ratios are medians of the
ratios within one round.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
from rich.console import Console
from rich.table import Table

from benchmarks.baselines import mmn_m
from cordboard.center import Agent, Center, Queue
from cordboard.simulation import Exponential, Scenario, Source, poisson, simulate

HERE = Path(__file__).parent / "baselines"
N, LAMBDA, MU, THETA = 100, 100.0, 1.0, 0.5
Rate = Callable[[], float]  # runs once, gives calls a second


def compiled(name: str, folder: Path) -> Path:
    """A baseline in C, compiled as theory.md's was: gcc -O2."""
    target = folder / name
    subprocess.run(["gcc", "-O2", "-o", target, HERE / f"{name}.c", "-lm"], check=True)
    return target


def c_rate(program: Path, calls: int, *arguments: object) -> float:
    command = [str(program), str(calls), *map(str, arguments)]
    return calls / float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])


def python_rate(run: Callable[[int, int, float, float, float, int], object], calls: int) -> float:
    start = time.perf_counter()
    run(calls, N, LAMBDA, MU, THETA, 1)
    return calls / (time.perf_counter() - start)


def kernel_rate(case: tuple[Center, Scenario]) -> float:
    """One replication on one thread; the kernel's own seconds, as the C programs report theirs."""
    result = simulate(*case, replications=1, seed=1, threads=1)
    return result.contacts / result.kernel_seconds


def pool(calls: int) -> tuple[Center, Scenario]:
    """M/M/100+M."""
    center = Center(queues=(Queue("q", offer_timeout=0),), agents=tuple(Agent(f"a{i}") for i in range(N)))
    source = Source("q", poisson(LAMBDA * 3600), Exponential(1 / MU), Exponential(1 / THETA))
    return center, Scenario((source,), duration=calls / LAMBDA)


def six_types(calls: int, erlang: float = 84.0, skills: int = 3) -> tuple[Center, Scenario]:
    """Wallace & Whitt's 6 types and 90 agents; see tests/theory_cases.py, which checks its figures."""
    agents = []
    for i in range(90):
        primary, turn = i % 6, i // 6
        levels = {f"s{primary}": 10}
        levels |= {f"s{(primary + 1 + (turn + j - 1) % 5) % 6}": 10 - j for j in range(1, skills)}
        agents.append(Agent(f"a{i}", skills=levels))
    queues = [Queue(f"t{k}", requires={f"s{k}": 1}, strategy="most_skilled", offer_timeout=0) for k in range(6)]
    lam = erlang / 600
    sources = tuple(Source(f"t{k}", poisson(lam / 6 * 3600), Exponential(600.0)) for k in range(6))
    return Center(queues=tuple(queues), agents=tuple(agents)), Scenario(sources, calls / lam, waiting_places=30)


def measured(rounds: int, scale: float, folder: Path) -> dict[str, list[float]]:
    """Calls a second of each program, one number a round."""
    loop, types = compiled("mmn_m", folder), compiled("six_types", folder)
    calls = int(2_000_000 * scale)
    programs: dict[str, Rate] = {
        "plain C loop, gcc -O2": lambda: c_rate(loop, calls, N, LAMBDA, MU, THETA, 1),
        "cordboard, through the router": lambda: kernel_rate(pool(calls)),
        "SimPy": lambda: python_rate(mmn_m.run_simpy, int(20_000 * scale) + 2000),
        "Ciw": lambda: python_rate(mmn_m.run_ciw, int(6_000 * scale) + 1000),
        "plain C, 6 types": lambda: c_rate(types, calls, 84, 3, 0, 1),
        "cordboard, 6 types": lambda: kernel_rate(six_types(calls)),
    }
    rates: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, run in programs.items():
            rates[name].append(run())
    return rates


def ratio(rates: dict[str, list[float]], above: str, below: str) -> float:
    """Median over the rounds of the ratio within one round."""
    return median(a / b for a, b in zip(rates[above], rates[below], strict=True))


def table(rates: dict[str, list[float]]) -> Table:
    out = Table(title="M/M/100+M (lambda 100, mu 1, theta .5), then 6 types and 90 agents; one thread")
    for name in ("program", "calls/s, median", "cordboard / it", "bar"):
        out.add_column(name, justify="left" if name == "program" else "right")
    bars = {"plain C loop, gcc -O2": ">= 1/3, aim 1/2", "SimPy": ">= 20", "Ciw": ">= 60", "cordboard, 6 types": ">= 1,000,000/s"}
    for name, values in rates.items():
        mine = "cordboard, 6 types" if "6 types" in name else "cordboard, through the router"
        relative = "" if name == mine else f"{ratio(rates, mine, name):.2f}"
        out.add_row(name, f"{median(values):,.0f}", relative, bars.get(name, ""))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, three rounds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rates = measured(3 if options.quick else 9, 0.1 if options.quick else 1.0, Path(folder))
    Console(width=100).print(table(rates))


needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc for the plain C loop")


@needs_gcc
def test_track_calls_a_second_beside_c_simpy_and_ciw(tmp_path: Path) -> None:
    rates = measured(3, 0.1, tmp_path)
    Console(width=100).print(table(rates))
    mine = "cordboard, through the router"
    assert ratio(rates, mine, "plain C loop, gcc -O2") > 1 / 3
    assert ratio(rates, mine, "SimPy") > 20
    assert ratio(rates, mine, "Ciw") > 60


def test_time_a_hundred_thousand_calls_of_the_pool(benchmark) -> None:  # type: ignore[no-untyped-def]
    benchmark(kernel_rate, pool(100_000))


def test_time_a_hundred_thousand_calls_of_six_types(benchmark) -> None:  # type: ignore[no-untyped-def]
    benchmark(kernel_rate, six_types(100_000))


if __name__ == "__main__":
    main()
