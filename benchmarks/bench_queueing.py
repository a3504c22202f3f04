"""What the formulas cost, called from Python; and sizing beside a plain Python loop in the same run.

    python -m pytest benchmarks/bench_queueing.py --benchmark-enable -o addopts=
"""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from cordboard import patience as laws
from cordboard.queueing import erlang_b, erlang_c, measure_arrays, measures, minimum_agents

SIZES = {"small": 10.0, "regular": 500.0, "large": 9900.0}  # Erlang
HANDLE = 300.0


def plain_minimum_agents(load: float, target: float, within: float) -> int:
    """Erlang C's recursion and a loop, as a programmer would write it without a library; times in handle times."""
    inverse, n = 1.0, 0
    while True:
        n += 1
        inverse = 1.0 + n / load * inverse
        if n > load:
            wait = n / ((n - load) * inverse + load)
            if 1.0 - wait * math.exp(-(n - load) * within) >= target:
                return n


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="80 % in 25 s by Erlang C")
def test_time_minimum_agents_by_erlang_c(benchmark, size):
    n = benchmark(minimum_agents, SIZES[size] / HANDLE, HANDLE, service_level=0.8, within=25.0)
    assert n == plain_minimum_agents(SIZES[size], 0.8, 25.0 / HANDLE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="80 % in 25 s by Erlang C")
def test_time_minimum_agents_in_plain_python(benchmark, size):
    benchmark(plain_minimum_agents, SIZES[size], 0.8, 25.0 / HANDLE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="80 % in 25 s and 5 % lost by Erlang A")
def test_time_minimum_agents_by_erlang_a(benchmark, size):
    benchmark(
        minimum_agents, SIZES[size] / HANDLE, HANDLE, service_level=0.8, within=25.0, abandonment=0.05, patience=180.0
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.benchmark(group="all measures of one queue")
def test_time_measures_of_erlang_a(benchmark, size):
    benchmark(measures, int(SIZES[size]), SIZES[size] / HANDLE, HANDLE, patience=180.0)


@pytest.mark.parametrize(
    "law", [laws.Deterministic(180.0), laws.ErlangK(2, 180.0), laws.LogNormal(180.0, 1.0)], ids=lambda law: type(law).__name__
)
@pytest.mark.benchmark(group="all measures of one queue")
def test_time_measures_of_general_patience(benchmark, law):
    benchmark(measures, 500, 500.0 / HANDLE, HANDLE, patience=law)


@pytest.mark.parametrize("formula", [erlang_b, erlang_c], ids=lambda f: f.__name__)
@pytest.mark.benchmark(group="a formula")
def test_time_one_formula_at_500_erlang(benchmark, formula):
    benchmark(formula, 512, 500.0)


@pytest.mark.benchmark(group="100,000 rows of Erlang A")
def test_time_arrays_of_erlang_a(benchmark):
    rng = np.random.default_rng(1)
    agents = rng.integers(5, 200, 100_000)
    benchmark(measure_arrays, agents, agents * rng.uniform(0.7, 1.2, 100_000) / HANDLE, HANDLE, patience=180.0)


@pytest.mark.benchmark(group="import in a fresh interpreter, its own start included")
@pytest.mark.parametrize("module", ["cordboard", "cordboard.queueing", "numpy", "sys"])
def test_time_import_in_a_fresh_interpreter(benchmark, module):
    """The rows' differences are the imports; the time of the import statement alone is printed."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    inside = []

    def once() -> None:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        inside.append(float(done.stdout))

    benchmark.pedantic(once, rounds=7, iterations=1, warmup_rounds=1)
    benchmark.extra_info["import_ms"] = round(1000 * min(inside), 1)
    print(f"\nimport {module}: {1000 * min(inside):.1f} ms at best, {1000 * sorted(inside)[len(inside) // 2]:.1f} ms median")
