"""Snapshots that a process of its own makes from the journal: the same bytes, and nobody waits for them."""

from __future__ import annotations

import math
import random
import signal
import sys
from pathlib import Path

import pytest

from cordboard import parse_center
from cordboard.live import Engine, Settings
from cordboard.live.apart import Apart
from tests.clocks import Wall, until
from tests.live_child import random_event

AGENTS = "".join(f"[agents.a{i}]\nskills = {{ billing = {1 + i % 5} }}\n" for i in range(1, 10))
CENTER = parse_center("[queues.billing]\nrequires = { billing = 1 }\n[queues.general]\n" + AGENTS)


def opened(folder: Path, database: str = "") -> Engine:
    settings = Settings(data=folder, database=database, snapshots_apart=True, snapshot_events=1_000, history=500)
    return Engine.open(CENTER, settings, clock=Wall())


def play(engine: Engine, source: random.Random, events: int = 100) -> None:
    engine.submit_many([random_event(source) for _ in range(events)]).result(10)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_another_process_makes_the_same_snapshot_from_the_journal(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    url = "" if database == "sqlite" else request.getfixturevalue("postgres_url")
    source = random.Random(7)
    with opened(tmp_path, url) as engine:
        play(engine, source, 1_000)
        until(lambda: engine._archive.kept)
        play(engine, source, 500)  # from the other's snapshot on
        kept, revision = engine._archive.kept, engine.snapshot()
        assert (kept, revision) == (1_000, 1_500)
        expected = engine._archive.store.snapshot(revision)
        engine._archive.store.drop_snapshot(revision)

        assert Apart(engine.settings, "default").snapshot(revision)
        assert engine._archive.store.snapshot(revision) == expected


def test_where_no_other_process_can_be_had_the_engine_makes_its_snapshots_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    source = random.Random(8)
    with opened(tmp_path) as engine:
        play(engine, source, 1_000)
        until(lambda: engine._apart is None)
        play(engine, source, 1_000)
        until(lambda: engine._archive.kept == 2_000)
    assert "no snapshot was made of revision 1000" in caplog.text


def test_an_engine_that_closes_does_not_wait_for_a_snapshot(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        play(engine, random.Random(9), 1_000)
        apart = engine._apart
        assert apart is not None
        until(lambda: apart._process is not None)
    assert apart._process is not None and apart._process.returncode == -signal.SIGKILL
    assert [revision for revision, _ in engine._archive.store.snapshots()] == [1_000]


def test_it_rests_between_snapshots_but_not_while_more_and_more_would_have_to_be_replayed(tmp_path: Path) -> None:
    source = random.Random(10)
    with opened(tmp_path) as engine:
        engine._rests_until = math.inf
        play(engine, source, 1_000)
        assert engine._snapshot_at == 0  # it rests
        play(engine, source, 500)
        until(lambda: engine._archive.kept)
        assert engine._archive.kept == 1_500
