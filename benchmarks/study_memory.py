"""Memory of a live engine with many agents and waiting contacts: ``python -m benchmarks.study_memory [--waiting N]``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from cordboard.center import parse_center
from cordboard.live import Engine, Settings

AGENTS, QUEUES, SKILLS, AT_ONCE = 15_000, 256, 64, 1_000


def rss_mib() -> float:
    """Memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=500_000)
    waiting = parser.parse_args().waiting
    text = "".join(f"[queues.q{n}]\nrequires = {{ s{n % SKILLS} = 1 }}\n" for n in range(QUEUES))
    text += "".join(f"[agents.a{n}]\nskills = {{ s{n % SKILLS} = 1 }}\n" for n in range(AGENTS))
    with tempfile.TemporaryDirectory() as folder, Engine.open(
        parse_center(text), Settings(data=folder, durable=False, snapshot_events=100_000_000)
    ) as engine:
        for first in range(0, waiting, AT_ONCE):
            names = [f"c{number}" for number in range(first, min(first + AT_ONCE, waiting))]
            events = [
                {"event": "contact_queued", "contact": name, "queue": f"q{place % QUEUES}"}
                for place, name in enumerate(names)
            ]
            engine.submit_many(events, request_ids=names).result()
        count = engine.read(lambda acd: acd.counts()["waiting"]).result()
        print(f"{AGENTS} agents, {count} waiting contacts with request ids: {rss_mib():.0f} MiB")


if __name__ == "__main__":
    main()
