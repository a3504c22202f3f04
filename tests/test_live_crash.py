"""kill -9 at any instant: nothing that was acknowledged is lost, nothing is applied twice, the center is as it was."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cordboard import Acd, load_center
from cordboard.journal import event_line
from cordboard.live import Engine, Settings
from cordboard.live.store import make_store
from cordboard.replay import replay
from tests.live_child import SETTINGS

CENTER = """
[queues.billing]
requires = { billing = 1 }
offer_timeout = 0.05
wrap_up = 0.02
max_wait = 0.5
overflow = "general"
[queues.general]
offer_timeout = 0.1
retry_delay = 0.03
""" + "".join(f"[agents.a{i}]\nskills = {{ billing = {1 + i % 3} }}\n" for i in range(1, 10))


def run_and_kill(folder: Path, seed: int, seconds: float) -> dict[str, int]:
    """What a child acknowledged until it was killed, so many seconds after its first acknowledgement."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.live_child", str(folder), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert child.stdout is not None and child.stderr is not None
    try:
        first = child.stdout.readline()
        assert first, child.stderr.read().decode()
        time.sleep(seconds)
    finally:
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.wait()
        child.stdout.close()
        child.stderr.close()
    told = [line.split() for line in (first + rest).decode().splitlines()]
    return {request_id: int(revision) for revision, request_id in told}


@pytest.mark.timeout(120)
def test_kill_9_at_random_instants_loses_nothing_acknowledged_and_applies_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "center.toml").write_text(CENTER)
    source = random.Random(7)
    told: dict[str, int] = {}
    for seed in range(10):
        told |= run_and_kill(tmp_path, seed, source.choice([0.0, 0.003, 0.02, 0.2, 0.6]) * source.random())

        store = make_store(Settings(data=tmp_path), "default", read_only=True)
        store.open()
        rows = list(store.rows())
        store.close()
        assert [row.revision for row in rows] == list(range(1, len(rows) + 1))
        found = {row.request_id: row.revision for row in rows if row.request_id}
        assert told.items() <= found.items()
        assert max(Counter(row.request_id for row in rows if row.request_id).values()) == 1
    assert len(told) > 100


@pytest.mark.timeout(120)
def test_after_kill_9_the_center_is_that_of_a_fresh_replay_and_a_repeated_request_gets_its_first_answer(
    tmp_path: Path,
) -> None:
    (tmp_path / "center.toml").write_text(CENTER)
    center = load_center(tmp_path / "center.toml")
    for seed in range(3):
        told = run_and_kill(tmp_path, seed, 0.7)

        with Engine.open(center, Settings(data=tmp_path, **SETTINGS), clock=lambda: 0.0) as engine:
            revision = engine.state.revision
            journal = "".join(event_line(event) + "\n" for event in engine.export()).encode()
            live = engine.read(look).result(10)
            entries = {entry.request_id: entry for entry in engine.entries() if entry.request_id}
            assert set(told) <= set(entries)
            for request_id in random.Random(seed).sample(sorted(told), 5):
                first = entries[request_id]
                event = {key: value for key, value in first.event.items() if key != "t"}
                again = engine.submit(event, request_id=request_id).result(10)
                assert again.repeated and again.entry.revision == told[request_id]
                assert json.dumps(again.entry.effects) == json.dumps(first.effects)
            assert engine.state.revision == revision

        acd = Acd(center)
        for _ in replay(acd, center, io.BytesIO(journal)):
            pass
        assert look(acd) == live


def look(acd: Acd) -> object:
    return acd.state(), acd.next_timer(), acd.positions("billing"), acd.positions("general")
