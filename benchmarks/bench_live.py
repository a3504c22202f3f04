"""The live engine: durable events a second, time until an event is acknowledged, and recovery of a long journal.

    python -m pytest benchmarks/bench_live.py --benchmark-enable -o addopts= -q -s

The bars: 20,000 durable events a second with a p99 acknowledgement of 15 ms; 1,000,000 journal records recover within 5 s.
``CORDBOARD_BENCH_FOLDER`` says on which disk (the system's temporary folder if it is not set): fsync is what takes time.
What it prints beside them is the CPU time an event of the whole process, which does not depend on who else is at work.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cordboard import parse_center
from cordboard.live import Engine, Settings, interpreter
from cordboard.live.archive import Archive
from cordboard.live.center_json import encode
from cordboard.live.store import Row, make_store

CENTER = parse_center(
    "[queues.billing]\nrequires = { billing = 2 }\n"
    + "".join(f"[agents.a{i}]\nskills = {{ billing = {1 + i % 5} }}\n" for i in range(100))
)
AGENTS = 100


@pytest.fixture
def folder() -> Iterator[Path]:
    made = tempfile.mkdtemp(dir=os.environ.get("CORDBOARD_BENCH_FOLDER"))
    before, garbage = sys.getswitchinterval(), gc.get_threshold()
    interpreter.tune()  # as `cordboard serve` does
    yield Path(made)
    sys.setswitchinterval(before)
    gc.set_threshold(*garbage)
    gc.unfreeze()
    shutil.rmtree(made)


def events(number: int) -> list[dict[str, Any]]:
    """Ten events of a contact's life; what is refused costs as much as what is not."""
    contact, agent = f"contact-{number}", f"a{number % AGENTS}"
    here: dict[str, Any] = {"contact": contact}
    return [
        {"event": "contact_queued", "queue": "billing", **here},
        {"event": "agent_ready", "agent": agent},
        {"event": "priority_changed", "priority": number % 7, **here},
        {"event": "offer_accepted", "agent": agent, **here},
        {"event": "contact_queued", "contact": f"{contact}-b", "queue": "billing"},
        {"event": "contact_ended", **here},
        {"event": "agent_away", "agent": agent},
        {"event": "contact_left", "contact": f"{contact}-b"},
        {"event": "contact_left", **here},
        {"event": "contact_left", **here},
    ]


def drive(engine: Engine, rate: float, seconds: float, message: int) -> tuple[float, float, list[float]]:
    """Events at an even rate, in messages of so many: (a second, CPU µs an event, seconds until acknowledged)."""
    times: list[float] = []
    last: Future[Any] | None = None
    sent, number = 0, 0
    pending: list[dict[str, Any]] = []
    start, cpu = time.perf_counter(), time.process_time()
    while sent < rate * seconds:
        due = int((time.perf_counter() - start) * rate)
        while sent + message <= due:
            while len(pending) < message:
                number += 1
                pending += events(number)
            some, pending = pending[:message], pending[message:]
            ids = [f"request-{number}-{sent + i}" for i in range(message)]
            at = time.perf_counter()
            if message == 1:
                last = engine.submit(some[0], request_id=ids[0])
            else:
                last = engine.submit_many(some, request_ids=ids)
            last.add_done_callback(lambda _, at=at: times.append(time.perf_counter() - at))
            sent += message
        time.sleep(0.0005)
    assert last is not None
    last.result()
    return sent / (time.perf_counter() - start), (time.process_time() - cpu) / sent * 1e6, times


@pytest.mark.parametrize(("rate", "message"), [(100, 1), (2_000, 1), (10_000, 1), (10_000, 10), (20_000, 1), (20_000, 20), (20_000, 100)])
def test_track_durable_events(benchmark: Any, folder: Path, rate: float, message: int) -> None:
    with Engine.open(CENTER, Settings(data=folder, queue_events=1_000_000)) as engine:
        drive(engine, rate, 0.5, message)
        found = benchmark.pedantic(drive, (engine, rate, 4.0, message), rounds=1, iterations=1)
    done, cpu, times = found
    p50, p99, worst = (float(np.percentile(times, q)) * 1e3 for q in (50, 99, 100))
    print(
        f"\n{rate:6,.0f}/s asked in messages of {message:3}: {done:8,.0f}/s durable,"
        f" acknowledged p50 {p50:6.1f} p99 {p99:6.1f} max {worst:6.1f} ms, CPU {cpu:5.1f} µs an event"
    )
    benchmark.extra_info.update(rate=done, p50_ms=p50, p99_ms=p99, cpu_us=cpu)


def fill(folder: Path, settings: Settings, records: int) -> int:
    """A journal of so many records as a crash leaves it: its last snapshot half a period before the end.

    Returns the revision of that snapshot.
    """
    with Engine.open(CENTER, settings):
        pass
    store = make_store(settings, "default")
    archive = Archive(store, settings)
    archive.begin(CENTER)
    rows: list[Row] = []
    revision = number = 0
    while revision < records:
        number += 1
        for event in events(number):
            revision += 1
            ticks = 1_700_000_000_000_000 + revision * 40_000  # a million in 11 hours
            rows.append(Row(revision, ticks, encode(event), "bench", f"request-{revision}"))
        if len(rows) >= 5_000 or revision >= records:
            store.append(rows)
            rows = []
    core = archive._latest(0)
    for _ in core.replay(store.rows(until=records - settings.snapshot_events // 2)):
        pass
    archive.keep(core.revision, core.dump())
    store.close()
    return core.revision


@pytest.mark.parametrize("records", [100_000, 1_000_000])
def test_track_recovery(benchmark: Any, folder: Path, records: int) -> None:
    settings = Settings(data=folder)
    snapshot = fill(folder, settings, records)

    def opened() -> Engine:
        return Engine.open(CENTER, settings)

    engine = benchmark.pedantic(opened, rounds=1, iterations=1)
    assert engine.state.revision == records
    engine.close()
    took = benchmark.stats.stats.max
    print(f"\n{records:9,} records recovered in {took:.2f} s: the snapshot, {records - snapshot:,} records, all request ids")
