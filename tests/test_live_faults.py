"""Real faults under the live engine: it says what is wrong, gives no wrong answer, and goes on by itself afterwards."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cordboard import Acd, parse_center
from cordboard.errors import StoreError, UnavailableError
from cordboard.live import Engine, Outcome, Settings
from cordboard.live.clock import EvenClock
from cordboard.live.store import Row
from cordboard.live.store_sqlite import SqliteStore
from tests.clocks import until

CENTER = parse_center("[queues.general]\n[agents.li]\n")
NOTE = "x" * 200  # makes events long, so that they fill a disk sooner


def queued(number: int) -> dict[str, Any]:
    return {"event": "contact_queued", "contact": f"c{number}", "queue": "general", "customer": f"{NOTE}{number}"}


def submit_until_refused(engine: Engine, most: int) -> tuple[list[Outcome], UnavailableError]:
    """Outcomes until the engine can't journal any more, and what it says then."""
    outcomes: list[Outcome] = []
    for number in range(most):
        try:
            outcomes.append(engine.submit(queued(number), request_id=f"r{number}").result(10))
        except UnavailableError as error:
            return outcomes, error
    raise AssertionError("the fault was not felt")


def expect_whole(engine: Engine, acknowledged: Sequence[Outcome]) -> None:
    """Journal, hub and core agree, and have all that was acknowledged."""
    entries = list(engine.entries())
    assert [entry.revision for entry in entries] == list(range(1, len(entries) + 1))
    for outcome in acknowledged:
        assert entries[outcome.entry.revision - 1] == outcome.entry
    taken = [entry.event["contact"] for entry in entries if entry.event["event"] == "contact_queued"]
    assert len(set(taken)) == len(taken)
    assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == len(taken)
    watch = engine.subscribe(engine.state.oldest, capacity=1_000_000)
    seen = []
    while got := watch.poll():
        seen += got
    assert seen == entries[engine.state.oldest :]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a file system can't be mounted here (root may): {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_makes_it_read_only_and_free_space_makes_it_serve_again(small_disk: Path) -> None:
    with Engine.open(CENTER, Settings(data=small_disk)) as engine:
        first = engine.submit(queued(10_000)).result(10)
        ballast = small_disk / "ballast"
        with open(ballast, "wb") as file:
            file.write(bytes(1_200_000))

        outcomes, error = submit_until_refused(engine, 20_000)

        assert error.reason == "read-only: disk full" == str(engine.state)
        assert len(outcomes) > 10
        assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == len(outcomes) + 1
        with pytest.raises(UnavailableError):
            engine.submit(queued(20_001))

        ballast.unlink()
        until(lambda: engine.state.status == "serving")
        later = engine.submit(queued(20_002)).result(10)
        expect_whole(engine, [first, *outcomes, later])
    with Engine.open(CENTER, Settings(data=small_disk)) as engine:
        expect_whole(engine, [first, *outcomes, later])


def test_on_a_read_only_volume_it_comes_up_answers_looks_and_goes_on_when_it_may(small_disk: Path) -> None:
    with Engine.open(CENTER, Settings(data=small_disk)) as engine:
        outcome = engine.submit(queued(1), request_id="r1").result(10)
        engine.snapshot()
        later = engine.submit(queued(2)).result(10)
        shutil.copytree(small_disk / "default", small_disk / "killed")  # as it is without a clean end
    shutil.rmtree(small_disk / "default")
    (small_disk / "killed").rename(small_disk / "default")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    other = replace(CENTER, queues=(*CENTER.queues, replace(CENTER.queues[0], name="more")))
    with Engine.open(other, Settings(data=small_disk)) as engine:
        assert str(engine.state) == "read-only: read-only"
        assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 2
        assert [entry.revision for entry in engine.entries()] == [1, 2]
        with pytest.raises(UnavailableError):
            engine.submit(queued(3))
        time.sleep(1.2)  # it has tried again, in vain
        assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 2
        assert [entry.revision for entry in engine.entries()] == [1, 2]

        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        until(lambda: engine.state.status == "serving")
        assert engine.submit(queued(1), request_id="r1").result(10).repeated
        last = engine.submit({**queued(4), "queue": "more"}).result(10)
        assert last.entry.error is None  # the center that it was opened with
        kinds = ["contact_queued", "contact_queued", "center_changed", "contact_queued"]
        assert [entry.event["event"] for entry in engine.entries()] == kinds
        assert [outcome.entry.revision, later.entry.revision, last.entry.revision] == [1, 2, 4]


def test_on_a_full_disk_it_comes_up_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    with Engine.open(CENTER, Settings(data=small_disk)) as engine:
        outcome = engine.submit(queued(1)).result(10)
    ballast = small_disk / "ballast"
    with suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with Engine.open(CENTER, Settings(data=small_disk)) as engine:
        assert str(engine.state) == "read-only: disk full"
        assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 1
        ballast.unlink()
        until(lambda: engine.state.status == "serving")
        expect_whole(engine, [outcome, engine.submit(queued(2)).result(10)])


def test_a_write_that_the_system_refuses_is_an_i_o_error_and_passes(tmp_path: Path) -> None:
    with Engine.open(CENTER, Settings(data=tmp_path)) as engine:
        first = [engine.submit(queued(10_000 + number)).result(10) for number in range(20)]
        wal = tmp_path / "default" / "journal.db-wal"
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 60_000, hard))
        try:
            outcomes, error = submit_until_refused(engine, 20_000)
            assert error.reason == "read-only: i/o error"
            assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == len(outcomes) + 20
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        until(lambda: engine.state.status == "serving")
        later = engine.submit(queued(20_000)).result(10)
        expect_whole(engine, [*first, *outcomes, later])


class Flaky(SqliteStore):
    """A store whose appends fail when ``fails`` says so: before they have happened, or after."""

    fails: Callable[[int], str] = staticmethod(lambda number: "")
    number = 0

    def append(self, rows: Sequence[Row]) -> None:
        self.number += 1
        how = self.fails(self.number)
        if how == "before":
            raise StoreError("i/o error", "the write failed")
        super().append(rows)
        if how == "after":
            raise StoreError("i/o error", "the write was done, and the answer was lost")


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("how", ["before", "after"])
def test_a_group_whose_commit_failed_is_applied_only_if_it_is_in_the_journal(
    tmp_path: Path, how: str, durable: bool
) -> None:
    store = Flaky(tmp_path / "journal.db")
    store.fails = lambda number: how if number == 3 else ""
    with Engine.open(CENTER, Settings(data=tmp_path, durable=durable), store=store) as engine:
        outcomes = [engine.submit(queued(number), request_id=f"r{number}").result(10) for number in range(2)]
        with pytest.raises(UnavailableError, match="i/o error"):
            engine.submit(queued(2), request_id="r2").result(10)
        until(lambda: engine.state.status == "serving")
        assert engine.state.revision == (3 if how == "after" else 2)

        again = engine.submit(queued(2), request_id="r2").result(10)

        assert again.repeated == (how == "after")
        expect_whole(engine, [*outcomes, again])


@pytest.mark.parametrize("durable", [True, False])
def test_a_writer_that_fails_while_it_tries_the_store_again_says_so_and_lets_nobody_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("cordboard.live.writer.RETRY_S", 0.2)
    store = Flaky(tmp_path / "journal.db")
    store.fails = lambda number: "before" if number == 2 else ""
    with Engine.open(CENTER, Settings(data=tmp_path, durable=durable), store=store) as engine:
        engine.submit(queued(0)).result(10)
        monkeypatch.setattr(engine._archive, "adopt", failing)
        with pytest.raises(UnavailableError, match="i/o error"):
            engine.submit(queued(1)).result(10)
        until(lambda: "a fault of ours" in engine.state.reason)
        with pytest.raises(UnavailableError):
            engine.read(lambda acd: acd.counts()).result(10)


@pytest.mark.parametrize("durable", [True, False])
def test_many_faults_in_a_row_leave_journal_and_core_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    monkeypatch.setattr("cordboard.live.writer.RETRY_S", 0.01)
    store = Flaky(tmp_path / "journal.db")
    store.fails = lambda number: ("", "before", "", "after", "")[number % 5]
    with Engine.open(CENTER, Settings(data=tmp_path, durable=durable), store=store) as engine:
        outcomes: dict[int, Outcome] = {}
        for number in range(60):
            for _ in range(10):
                try:
                    outcomes[number] = engine.submit(queued(number), request_id=f"r{number}").result(10)
                    break
                except UnavailableError:
                    until(lambda: engine.state.status == "serving")
        assert len(outcomes) == 60 and any(outcome.repeated for outcome in outcomes.values())
        expect_whole(engine, list(outcomes.values()))


def test_a_lost_connection_to_postgresql_is_made_anew(tmp_path: Path, postgres_url: str) -> None:
    import psycopg

    settings = Settings(data=tmp_path, database=postgres_url)
    name = postgres_url.rpartition("/")[2]
    end_them = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    with Engine.open(CENTER, settings) as engine, psycopg.connect(postgres_url, autocommit=True) as admin:
        outcomes = [engine.submit(queued(number)).result(10) for number in range(3)]

        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        admin.execute(end_them, [name])
        with pytest.raises(UnavailableError, match="read-only: lost connection"):
            engine.submit(queued(3)).result(10)
        assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 3
        until(lambda: str(engine.state) == "read-only: read-only")

        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
        until(lambda: engine.state.status == "serving")
        outcomes.append(engine.submit(queued(4)).result(10))
        expect_whole(engine, outcomes)
    with Engine.open(CENTER, settings) as engine:
        expect_whole(engine, outcomes)


@pytest.mark.parametrize("durable", [True, False])
def test_an_event_on_which_the_core_fails_is_left_out_by_every_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    apply = Acd.apply

    def failing(acd: Acd, event: dict[str, Any], **how: bool) -> list[dict[str, Any]]:
        effects = apply(acd, event, **how)
        if event.get("contact") == "c5":
            raise RuntimeError("a fault of the core, after it has changed its state")
        return effects

    monkeypatch.setattr(Acd, "apply", failing)
    with Engine.open(CENTER, Settings(data=tmp_path, durable=durable)) as engine:
        for number in range(10):
            if number == 5:
                with pytest.raises(UnavailableError, match="the core failed"):
                    engine.submit(queued(5), request_id="r5").result(10)
                until(lambda: engine.state.status == "serving")
            else:
                engine.submit(queued(number)).result(10)
        again = engine.submit(queued(5), request_id="r5").result(10)
        assert again.repeated and "the core failed" in str(again.entry.error)
        entries = list(engine.entries())
        assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 9

    monkeypatch.undo()
    with Engine.open(CENTER, Settings(data=tmp_path)) as engine:
        assert [e.effects for e in engine.entries()] == [e.effects for e in entries]
        assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 9
        exported = [event.get("contact", event["event"]) for event in engine.export()]
        assert exported == [f"c{n}" if n != 5 else "clock" for n in range(10)]


def test_a_core_that_fails_while_a_journal_is_recovered_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine.open(CENTER, Settings(data=tmp_path)) as engine:
        engine.submit_many([queued(number) for number in range(10)]).result(10)
    os.unlink(tmp_path / "default" / "snapshots.db")
    apply = Acd.apply

    def failing(acd: Acd, event: dict[str, Any], **how: bool) -> list[dict[str, Any]]:
        if event.get("contact") in ("c3", "c7"):
            raise MemoryError
        return apply(acd, event, **how)

    monkeypatch.setattr(Acd, "apply", failing)
    with Engine.open(CENTER, Settings(data=tmp_path)) as engine:
        assert engine.state.revision == 10
        assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 8


# ---- clocks


def even(wall: list[float], passed: list[float]) -> EvenClock:
    return EvenClock(lambda: wall[0], lambda: passed[0])


@pytest.mark.parametrize("jump", [-86_400.0, -1.0, 1.0, 86_400.0])
def test_time_goes_on_evenly_when_the_wall_clock_jumps(jump: float) -> None:
    wall, passed = [1_000.0], [50.0]
    clock = even(wall, passed)
    assert clock() == 1_000.0
    wall[0] += 10 + jump
    passed[0] += 10

    assert clock() == pytest.approx(1_010.0, abs=0.01)
    assert clock.off() == pytest.approx(jump, abs=0.01)


def test_time_drifts_to_the_wall_clock_and_stays_with_it() -> None:
    wall, passed = [1_000.0], [50.0]
    clock = even(wall, passed)
    wall[0] += 1.0
    for _ in range(30_000):
        wall[0] += 0.1
        passed[0] += 0.1
        clock()
    assert clock.off() == pytest.approx(0.0, abs=1e-6)


def test_an_engines_timers_run_on_when_the_wall_clock_was_set_back(tmp_path: Path) -> None:
    wall, passed = [1_000_000.0], [0.0]
    clock = even(wall, passed)
    center = parse_center("[queues.general]\noffer_timeout = 10\n[agents.li]\n")
    with Engine.open(center, Settings(data=tmp_path), clock=clock) as engine:
        watch = engine.subscribe()
        engine.submit({"event": "agent_ready", "agent": "li"})
        engine.submit(queued(1)).result(10)
        wall[0] -= 3_600
        passed[0] += 10.5
        until(lambda: engine.state.revision == 3)
        entry = watch.poll()[-1]
    assert [effect["effect"] for effect in entry.effects] == ["offer_expired"]


def test_a_journal_whose_end_lies_in_the_future_is_gone_on_with_from_there(tmp_path: Path) -> None:
    with Engine.open(CENTER, Settings(data=tmp_path), clock=lambda: 5_000_000_000.0) as engine:
        engine.submit(queued(1)).result(10)
    with Engine.open(CENTER, Settings(data=tmp_path)) as engine:
        entry = engine.submit(queued(2)).result(10).entry
        assert 5_000_000_000.0 < entry.t < 5_000_000_060.0
        assert engine.state.clock_off_s < -1e9
