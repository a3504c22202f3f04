"""What it costs to keep the state of an engine, to take it up again, and to replay a journal.

``python -m benchmarks.bench_snapshot`` prints the tables (``--quick``: small sizes, for CI); under pytest-benchmark a dump
and a load of 10,000 waiting contacts are ``test_time_…``. Times are processor time of the thread. Each row of the first
table is a process of its own, so that memory is what one engine takes.

What waiting contacts bring: ``plain`` nothing; ``asking`` a priority, one of 15 requirements and one of 200,000
customers; ``own`` a value for each of three agents, no two contacts alike.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench_routing import QUEUES, Engine, Size, Workload, center_of
from cordboard import Acd
from cordboard.center import Center

KINDS = ("plain", "asking", "own")
LARGE = Size(15_000, 256, 500_000)
SMALL = Size(1_000, 64, 10_000)
RECOVERY_S = 5.0  # the bar: a journal of a million records


def memory_mb() -> float:
    """What this process takes now (resident), MB."""
    text = Path("/proc/self/status").read_text("ascii")
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def contacts(size: Size, kind: str) -> Iterator[dict[str, Any]]:
    for n in range(size.waiting):
        event: dict[str, Any] = {"t": n / 1000, "event": "contact_queued", "contact": f"contact-{n:08d}-4711"}
        event["queue"] = f"q{n % QUEUES}"
        if kind == "asking":
            event |= {"priority": n % 5, "requires": {"s": n % 5 + 1, "p": n % 3 + 1}}
            event["customer"] = f"customer-{n % 200_000:07d}"
        elif kind == "own":
            event["values"] = {f"a{n * k % size.agents}": n / 1000 for k in (1, 3, 7)}
        yield event


def waiting(center: Center, size: Size, kind: str, waits: bool = False) -> Acd:
    """Agents who are away, contacts that wait."""
    acd = Acd(center)
    if waits:
        acd.learn_waits()
    for agent in center.agents:
        acd.apply({"t": 0, "event": "agent_ready", "agent": agent.name})
        acd.apply({"t": 0, "event": "agent_away", "agent": agent.name})
    for event in contacts(size, kind):
        acd.apply(event)
    return acd


def measure(size: Size, kind: str, waits: bool) -> dict[str, float]:
    """Seconds and MB of one engine."""
    center = center_of(size)
    empty = memory_mb()
    acd = waiting(center, size, kind, waits)
    gc.collect()
    full = memory_mb()
    start = time.thread_time()
    dump = acd.dump()
    dumped = time.thread_time()
    Acd.load(center, dump)
    loaded = time.thread_time()
    return {
        "dump_s": dumped - start,
        "load_s": loaded - dumped,
        "dump_mb": len(dump) / 1e6,
        "engine_mb": full - empty,
        "process_mb": full,
    }


class Recorder(Engine):
    """Keeps the events of a workload."""

    def __init__(self, center: Center) -> None:
        super().__init__(center)
        self.log: list[dict[str, Any]] = []

    def _offers(self, event: dict[str, Any]) -> list[tuple[int, int]]:
        self.log.append(event)
        return super()._offers(event)


def replay_costs(size: Size, steps: int) -> list[tuple[str, float]]:
    """Microseconds for each record of a journal of conversations: read from JSON, and applied."""
    center = center_of(size)
    recorder = Recorder(center)
    workload = Workload(recorder, size)
    first = len(recorder.log)
    for _ in workload.events(steps):
        pass
    before, events = recorder.log[:first], recorder.log[first:]
    lines = [json.dumps(event) for event in events]
    start = time.thread_time()
    for line in lines:
        json.loads(line)
    found = [("JSON read", (time.thread_time() - start) / len(lines) * 1e6)]
    for explain in (False, True):
        for waits in (False, True):
            acd = Acd(center, explain=explain)
            if waits:
                acd.learn_waits()
            for event in before:
                acd.apply(event)
            start = time.thread_time()
            for event in events:
                acd.apply(event, checked=True)
            name = f"applied{', explained' if explain else ''}{', waits learned' if waits else ''}"
            found.append((name, (time.thread_time() - start) / len(events) * 1e6))
    return found


def report(quick: bool) -> None:
    size = SMALL if quick else LARGE
    print(f"{size}\n\n| contacts | waits | dump, s | load, s | dump, MB | engine, MB | process, MB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for kind in KINDS:
        for waits in (False, True):
            command = [sys.executable, "-m", "benchmarks.bench_snapshot", "--row", kind]
            command += ["--waits"] * waits + ["--quick"] * quick
            row = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            cells = f"{row['dump_s']:.2f} | {row['load_s']:.2f} | {row['dump_mb']:.0f} | {row['engine_mb']:.0f}"
            print(f"| {kind} | {'yes' if waits else 'no'} | {cells} | {row['process_mb']:.0f} |", flush=True)
    print(f"\n{SMALL}\n\n| a record of the journal | µs | a million, s |\n| --- | ---: | ---: |")
    costs = replay_costs(SMALL, 3_000 if quick else 60_000)
    for name, each in costs:
        print(f"| {name} | {each:.2f} | {each:.1f} |")
    slowest = costs[0][1] + max(each for _, each in costs[1:])
    print(f"\nRead and applied with all: {slowest:.1f} µs, {int(RECOVERY_S / slowest * 1e6):,} records in {RECOVERY_S:.0f} s")


def test_time_dump(benchmark: Any) -> None:
    """A dump of 10,000 waiting contacts."""
    acd = waiting(center_of(SMALL), SMALL, "asking")
    benchmark(acd.dump)


def test_time_load(benchmark: Any) -> None:
    """A load of 10,000 waiting contacts."""
    center = center_of(SMALL)
    dump = waiting(center, SMALL, "asking").dump()
    benchmark(Acd.load, center, dump)


@pytest.mark.parametrize("waits", [False, True])
def test_time_center_changes(benchmark: Any, waits: bool) -> None:
    """Another center for 10,000 waiting contacts."""
    acd = waiting(center_of(SMALL), SMALL, "asking", waits)
    center = center_of(Size(SMALL.agents + 1, SMALL.profiles, SMALL.waiting))
    benchmark(acd.with_center, center, acd.now)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, for CI")
    parser.add_argument("--row", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--waits", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(SMALL if options.quick else LARGE, options.row, options.waits)))
    else:
        report(options.quick)
