"""A process with a live engine that is killed by a test: it tells what was acknowledged, line by line, on its output.

``python -m tests.live_child FOLDER SEED``: submits random events without end, some of them twice with the same request_id,
and writes ``revision request_id`` for each outcome as soon as it has it.
"""

from __future__ import annotations

import os
import random
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from cordboard import load_center
from cordboard.live import Engine, Outcome, Settings

IN_FLIGHT = 64
SETTINGS: dict[str, Any] = {"snapshot_events": 1_000, "history": 500}


def random_event(source: random.Random) -> dict[str, Any]:
    agent, contact = f"a{source.randint(1, 9)}", f"c{source.randint(1, 400)}"
    return source.choice(
        [
            {"event": "contact_queued", "contact": contact, "queue": source.choice(["billing", "general"])},
            {"event": "contact_queued", "contact": contact, "queue": "billing", "requires": {"billing": 2}, "priority": 2},
            {"event": "offer_accepted", "contact": contact, "agent": agent},
            {"event": "offer_declined", "contact": contact, "agent": agent},
            {"event": "contact_ended", "contact": contact},
            {"event": "contact_left", "contact": contact},
            {"event": "agent_ready", "agent": agent},
            {"event": "agent_away", "agent": agent},
        ]
    )


def main(folder: str, seed: int) -> None:
    """Submit until killed. Every second one has a journal that is not synced, which outlives the process all the same."""
    source = random.Random(seed)
    engine = Engine.open(load_center(Path(folder) / "center.toml"), Settings(data=folder, durable=seed % 2 == 0, **SETTINGS))
    flying: list[Future[Outcome]] = []

    def told(future: Future[Outcome]) -> None:
        entry = future.result().entry
        os.write(1, f"{entry.revision} {entry.request_id}\n".encode())  # one write: whole or not at all

    number = 0
    while True:
        number += 1
        event, request_id = random_event(source), f"{seed}-{number}"
        for _ in range(2 if number % 5 == 0 else 1):
            future = engine.submit(event, request_id=request_id)
            future.add_done_callback(told)
            flying.append(future)
        if len(flying) > IN_FLIGHT:
            flying.pop(0).result()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
