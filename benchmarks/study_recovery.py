"""How long ``cordboard serve`` takes from its start until it serves, after a ``kill -9``, and what of that is what.

    python -m benchmarks.study_recovery [--records 1000000] [--rate 20000] [--only burst] [--json]

Three journals of so many records: one whose last snapshot lies half a period before its end (``snapshot``), one of an engine
that was killed while it took ``--rate`` events a second, durable, with the snapshots that it made meanwhile
(``burst``), and one that has lost all its snapshots (``none``). For each: the whole process, by the clock and in CPU time,
until it says that it is ready; and, in a process of its own, its parts in CPU time: the snapshot that is loaded, the
records that are replayed (with what is booked of them), and the request ids. Records are off and on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench_live import CENTER, drive, fill
from cordboard.center_writer import center_toml
from cordboard.live import Engine, Settings, interpreter
from cordboard.live.archive import Archive
from cordboard.live.requests import Requests

KINDS = ("snapshot", "burst", "none")
TICK = os.sysconf("SC_CLK_TCK")


def settings_of(data: Path) -> Settings:
    return Settings(data=data, queue_events=1_000_000, snapshots_apart=True)


def taking(data: Path, rate: float, seconds: float) -> None:
    """Take events until this process is killed."""
    interpreter.tune()
    with Engine.open(CENTER, settings_of(data)) as engine:
        print("begun", flush=True)
        drive(engine, rate, 10 * seconds, 100)


def killed(data: Path, records: int, rate: float) -> None:
    """The journal of an engine that was killed at an instant after so many records."""
    seconds = records / rate
    command = [sys.executable, "-m", "benchmarks.study_recovery", "--taking", str(data), "--rate", str(rate), "--records", str(records)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds + random.Random(records).random() * 2.0)
    process.kill()
    process.wait()


def without_snapshots(data: Path) -> None:
    with sqlite3.connect(data / "default" / "snapshots.db") as db:
        db.execute("DELETE FROM snapshots")


def parts(data: Path) -> dict[str, Any]:
    """What opening costs, part by part."""
    spent: dict[str, float] = {}
    wall: dict[str, float] = {}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any) -> Any:
            cpu, began = time.process_time(), time.perf_counter()
            try:
                return call(*args)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - cpu
                wall[name] = wall.get(name, 0.0) + time.perf_counter() - began

        return measured

    found: dict[str, Any] = {"imports_cpu_s": time.process_time()}
    Archive._latest = timed("snapshot", Archive._latest)  # type: ignore[method-assign]
    Archive.recover = timed("recover", Archive.recover)  # type: ignore[method-assign]
    Requests.add_all = timed("request_ids", Requests.add_all)  # type: ignore[method-assign]
    engine = timed("open", Engine.open)(CENTER, settings_of(data))
    found["records"] = engine.state.revision
    os.sync()
    spent["replay"] = spent.pop("recover") - spent["snapshot"]
    found |= {f"{name}_cpu_s": seconds for name, seconds in spent.items()}
    return found | {"open_wall_s": wall["open"]}


def served(data: Path, records: str) -> dict[str, float]:
    """Seconds until the whole process serves, by the clock and of CPU; it is killed then."""
    (data.parent / "center.toml").write_text(center_toml(CENTER))
    command = [sys.executable, "-m", "cordboard", "serve", "center.toml", "--json", "--listen", "127.0.0.1:0"]
    command += ["--data", str(data), "--metrics", "off", "--records", records]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=data.parent, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    json.loads(process.stdout.readline())
    wall = time.perf_counter() - began
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    return {"wall_s": wall, "cpu_s": (int(fields[11]) + int(fields[12])) / TICK}


def last_snapshots(data: Path) -> list[int]:
    with sqlite3.connect(data / "default" / "snapshots.db") as db:
        return [number for (number,) in db.execute("SELECT revision FROM snapshots ORDER BY revision DESC LIMIT 3")]


def study(kind: str, records: int, rate: float) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="cordboard-recovery-", dir=os.environ.get("CORDBOARD_BENCH_FOLDER")) as name:
        data = Path(name) / "data"
        if kind == "burst":
            killed(data, records, rate)
        else:
            fill(data, settings_of(data), records)
        if kind == "none":
            without_snapshots(data)
        snapshots = last_snapshots(data)
        found = {"kind": kind, **served(data, "off")}
        if kind == "none":  # what is left by that start: it has a snapshot now
            yield found
            found = {"kind": "after none", **served(data, "off")}
        command = [sys.executable, "-m", "benchmarks.study_recovery", "--parts", str(data)]
        inside = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
        yield found | inside | {"snapshots_before_end": [inside["records"] - number for number in snapshots]}
        yield {"kind": f"{kind}, records on", **served(data, "")}
        yield {"kind": f"{kind}, records on, again", **served(data, "")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=20_000.0, help="events a second of the burst")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--taking", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--parts", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.taking:
        taking(options.taking, options.rate, options.records / options.rate)
    elif options.parts:
        print(json.dumps(parts(options.parts)))
    else:
        for kind in (options.only,) if options.only else KINDS:
            for found in study(kind, options.records, options.rate):
                rounded = {name: round(value, 2) if isinstance(value, float) else value for name, value in found.items()}
                text = "  ".join(f"{name} {value}" for name, value in rounded.items())
                print(json.dumps(rounded) if options.json else text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
