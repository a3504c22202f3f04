"""Journals that forget: what is needed stays, whatever happens meanwhile, and the space comes back."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")

from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.errors import CompactedError, StoreError
from cordboard.live import Engine, Entry, Settings, backup
from cordboard.live import compaction as compaction_module
from cordboard.live.archive import Archive
from cordboard.live.backup_file import Opener, Seal
from cordboard.live.compaction import backed_up, compact, note_backup
from cordboard.live.models import NOTES_MAX
from cordboard.live.notebook import Notebook
from cordboard.live.store import Row, make_store
from cordboard.live.store_sqlite import SqliteStore
from cordboard.records import Records, steps_of_data
from tests.clocks import until

CENTER = parse_center("[queues.general]\noffer_timeout = 30\nwrap_up = 3\n[agents.li]\n[agents.wang]\n")
DAY = 86_400.0
BEGAN = 1_700_000_000.0
HISTORY = 50


class Days:
    """A clock that goes on by itself a little, and by days when it is told to."""

    def __init__(self, now: float = BEGAN) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def settings_of(folder: Path, database: str = "", **more: Any) -> Settings:
    return Settings(data=folder, database=database, history=HISTORY, snapshot_events=1_000, durable=False, **more)


def some_calls(engine: Engine, first: int, count: int, source: random.Random) -> None:
    """Contacts who come, leave, are offered, talk; some stay."""
    for number in range(first, first + count):
        contact = f"c{number}"
        engine.submit({"event": "contact_queued", "contact": contact, "queue": "general", "customer": "x" * 200}, request_id=contact).result(10)
        kind = source.choice(["contact_left", "contact_left", "contact_left", "nothing"])
        if kind != "nothing":
            engine.submit({"event": kind, "contact": contact}).result(10)
        if number % 5 == 0:
            engine.submit({"event": source.choice(["agent_ready", "agent_away"]), "agent": source.choice(["li", "wang"])}).result(10)


def weeks(settings: Settings, days: int = 8, calls: int = 60) -> tuple[Days, list[Entry], object]:
    """A journal of some days, its entries, and how its center is at the end."""
    clock, source = Days(), random.Random(3)
    with Engine.open(CENTER, settings, clock=clock) as engine:
        for day in range(days):
            clock.now += DAY if day else 0.0
            some_calls(engine, day * calls, calls, source)
            engine.snapshot()
        entries = list(engine.entries())
        state = looks(engine)
    return clock, entries, state


def looks(engine: Engine) -> object:
    return engine.read(lambda acd: (acd.state(), acd.positions("general"), acd.next_timer())).result(10)


def compacted(settings: Settings, needs: dict[str, Any] | None = None) -> Any:
    archive = Archive(make_store(settings, "default"), settings)
    archive.open()
    try:
        return compact(archive, needs or {})
    finally:
        archive.store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else ""


def test_what_is_old_is_forgotten_and_the_center_goes_on_as_if_nothing_had_been(tmp_path: Path, database: str) -> None:
    # Given a journal of eight days
    settings = settings_of(tmp_path, database, keep_days=3)
    clock, entries, state = weeks(settings)
    # When it is compacted to three
    done = compacted(settings)
    # Then the rows of five days are gone, those of three are all there
    assert done.held_by == "keep_days" and done.forgotten == done.base
    kept = [entry for entry in entries if entry.t > entries[-1].t - 3 * DAY]
    assert kept[0].revision == done.base + 1
    assert compacted(settings) == compaction_module.Compacted(done.base, "keep_days", 0)
    with Engine.open(CENTER, settings, clock=clock) as engine:
        assert looks(engine) == state
        assert [row.revision for row in engine.rows()] == [entry.revision for entry in kept]
        assert list(engine.entries(done.base)) == kept
        assert list(engine.entries(entries[-5].revision)) == entries[-4:]
        # And whoever asks for more is told from where there is something
        with pytest.raises(CompactedError) as told:
            list(engine.entries(done.base - 1))
        assert told.value.oldest == done.base
        with pytest.raises(CompactedError):
            list(engine.export())
        # And a request of the last day has its first answer, and new ones come after the last
        last = next(entry for entry in reversed(entries) if entry.request_id)
        clock.now = last.t + 3600
        again = engine.submit({key: value for key, value in last.event.items() if key != "t"}, request_id=last.request_id).result(10)
        assert again.repeated and again.entry == last
        assert engine.submit({"event": "clock"}).result(10).entry.revision == entries[-1].revision + 1


def test_a_day_stays_even_if_less_is_asked_for_and_a_journal_of_today_stays_whole(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, keep_days=0.001)
    _, entries, _ = weeks(settings, days=1)
    assert compacted(settings).base == 0
    _, entries, _ = weeks(settings_of(tmp_path / "more", keep_days=0.001))
    done = compacted(settings_of(tmp_path / "more", keep_days=0.001))
    assert entries[done.base].t > entries[-1].t - DAY


def test_nothing_is_forgotten_that_records_webhooks_or_the_latest_backup_still_need(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, keep_days=2)
    weeks(settings)
    note_backup(tmp_path / "default", 21)
    backup_has = backed_up(tmp_path / "default")
    assert backup_has is not None
    needs = {"records": lambda: 17, "webhook crm": lambda: 9, "backup": backup_has}
    assert (compacted(settings, needs).base, compacted(settings, needs).held_by) == (9, "webhook crm")
    del needs["webhook crm"]
    assert (compacted(settings, needs).base, compacted(settings, needs).held_by) == (17, "records")
    del needs["records"]
    assert (compacted(settings, needs).base, compacted(settings, needs).held_by) == (21, "backup")
    assert compacted(settings, {}).base > 100
    assert backed_up(tmp_path) is None


def test_the_entries_that_the_hub_holds_after_a_restart_are_never_forgotten(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, keep_days=2)
    clock, _, _ = weeks(settings, calls=5)
    clock.now += 100 * DAY
    with Engine.open(CENTER, settings, clock=clock) as engine:
        engine.submit({"event": "clock"}).result(10)
        last = engine.state.revision
    done = compacted(settings)
    assert (done.base, done.held_by) == (last - HISTORY, "history")


def test_the_space_comes_back(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, keep_days=1)
    weeks(settings, calls=300)
    journal = tmp_path / "default" / "journal.db"
    before = journal.stat().st_size
    compacted(settings)
    assert journal.stat().st_size < before / 3
    assert not (tmp_path / "default" / "journal.db-wal").exists() or not (tmp_path / "default" / "journal.db-wal").stat().st_size


class Stops(SqliteStore):
    """A store with which the process ends at its n-th write."""

    left = 0

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def set_facts(self, facts: dict[str, str]) -> None:
        self._count()
        super().set_facts(facts)

    def forget(self, until: int, most: int) -> int:
        self._count()
        return super().forget(until, most)

    def put_snapshot(self, revision: int, version: str, dump: bytes) -> None:
        self._count()
        super().put_snapshot(revision, version, dump)

    def drop_snapshot(self, revision: int) -> None:
        self._count()
        super().drop_snapshot(revision)


def test_an_end_between_any_two_writes_leaves_a_whole_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction_module, "FAR_BITE", 100)
    settings = settings_of(tmp_path, keep_days=2)
    clock, entries, state = weeks(settings)
    bases = set()
    for left in range(100):
        store = Stops(tmp_path / "default" / "journal.db")
        store.left = left % 7
        archive = Archive(store, settings)
        archive.open()
        try:
            compact(archive, {"records": lambda at=left * 8: at})
        except KeyboardInterrupt:
            pass
        finally:
            store.close()
        if left % 9 == 0:
            with Engine.open(CENTER, settings, clock=clock) as engine:
                base = engine._archive.base
                bases.add(base)
                assert looks(engine) == state and list(engine.entries(base)) == entries[base:]
    assert len(bases) > 3


def until_killed(folder: Path, steps: int, after: float) -> None:
    """Let a process begin so many compactions, and kill it so many seconds later."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.live_compact_child", str(folder)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert child.stdout is not None
    for _ in range(steps):
        assert child.stdout.readline() == b"begun\n"
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


@pytest.mark.timeout(120)
def test_kill_9_in_the_middle_of_compactions_loses_nothing_that_is_to_be_kept(tmp_path: Path) -> None:
    # Given a journal, and a process that compacts it in small steps, a few revisions further each time
    settings = settings_of(tmp_path)
    clock, entries, state = weeks(settings)
    source, bases = random.Random(5), []
    for _ in range(6):
        # When it is killed at some instant
        until_killed(tmp_path, source.randint(1, 6), source.random() * 0.05)
        # Then what is left is whole
        with Engine.open(CENTER, settings, clock=clock) as engine:
            base = engine._archive.base
            bases.append(base)
            assert looks(engine) == state and list(engine.entries(base)) == entries[base:]
    assert bases == sorted(bases) and bases[-1] > 0


def test_an_engine_at_work_forgets_what_is_old_in_bites_and_goes_on(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an engine that keeps two days, and records that follow it
    monkeypatch.setattr(compaction_module, "PAUSE_S", 0.0)
    monkeypatch.setattr(compaction_module, "BITE", 40)
    settings = settings_of(tmp_path, database, keep_days=2)
    clock, source, done = Days(), random.Random(4), {"records": 0}
    with Engine.open(CENTER, settings, clock=clock) as engine:
        engine.compact({"records": lambda: done["records"]})
        for day in range(6):
            some_calls(engine, day * 60, 60, source)
            engine.snapshot()
            clock.now += DAY
        # When the records need everything, nothing goes
        assert engine._archive.base == 0
        # When they don't any more, what is older than two days goes
        done["records"] = engine.state.revision
        clock.now += 3600
        entries = list(engine.entries())
        until(lambda: engine._archive.base > 0 and next(iter(engine.rows())).revision == engine._archive.base + 1)
        base = engine._archive.base
        assert base > 100 and entries[base - 1].t <= clock.now - 2 * DAY
        assert list(engine.entries(base))[: len(entries) - base] == entries[base:]
        until(lambda: min(revision for revision, _ in engine._archive.store.snapshots()) == base)
        some_calls(engine, 1000, 30, source)
        state = looks(engine)
        entries = list(engine.entries(base))
    # Then a restart finds the same
    with Engine.open(CENTER, settings, clock=clock) as engine:
        assert looks(engine) == state and list(engine.entries(base)) == entries


class Full(SqliteStore):
    """A store that can't delete."""

    def forget(self, until: int, most: int) -> int:
        raise StoreError("disk full", "it is")


def test_an_engine_that_can_not_forget_goes_on_with_its_work(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, keep_days=1)
    clock, _, _ = weeks(settings)
    with Engine.open(CENTER, settings, clock=clock, store=Full(tmp_path / "default" / "journal.db")) as engine:
        engine.compact({})
        for _ in range(20):
            assert engine.submit({"event": "clock"}).result(10).entry.error is None
        until(lambda: engine._archive.base > 0)
        engine.submit({"event": "clock"}).result(10)
        assert engine.state.status == "serving"


def test_a_compacted_journal_whose_snapshots_are_gone_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, keep_days=2)
    clock, _, _ = weeks(settings)
    compacted(settings)
    (tmp_path / "default" / "snapshots.db").unlink()
    with pytest.raises(StoreError, match="no snapshot from there on can be used"):
        Engine.open(CENTER, settings, clock=clock)


@pytest.mark.parametrize("with_records", [True, False])
def test_a_backup_of_a_compacted_journal_has_its_beginning_and_its_records(tmp_path: Path, database: str, with_records: bool) -> None:
    # Given a journal whose records were booked before it was compacted
    settings = settings_of(tmp_path / "data", database, keep_days=3)
    clock, entries, state = weeks(settings)
    records = tmp_path / "data" / "default" / "records.db"
    records.parent.mkdir(parents=True, exist_ok=True)
    with_records = with_records and not database
    if with_records:
        with Records(records) as held:
            held.rebuild(steps_of_data(settings))
            counts = held.counts()
    done = compacted(settings)
    # When a backup is made, and tried out, and restored
    backup.take(settings, tmp_path / "b", Seal(plain=True))
    assert backed_up(tmp_path / "data" / "default")() == entries[-1].revision  # type: ignore[misc]
    drill = backup.drill(tmp_path / "b", Opener())
    assert drill.differences == []
    assert ("records" in drill.manifest["tenants"]["default"]) == with_records
    backup.restore(tmp_path / "b", Opener(), tmp_path / "back")
    # Then the same center goes on, with all records
    back = settings_of(tmp_path / "back")
    with Engine.open(CENTER, back, clock=clock) as engine:
        assert looks(engine) == state and list(engine.entries(done.base)) == entries[done.base :]
    if with_records:
        assert drill.manifest["tenants"]["default"]["records"] == dict(sorted(counts.items()))
        with Records(tmp_path / "back" / "default" / "records.db") as held:
            assert held.counts() == counts and held.revision == entries[-1].revision
    # And records are not rebuilt of what is not there any more
    with pytest.raises(CompactedError):
        next(steps_of_data(back))


def test_notes_of_campaigns_and_models_are_in_backups_and_a_drill_sees_damage(tmp_path: Path) -> None:
    from cordboard.learning.registry import Registry
    from tests.test_services_learning import trained

    settings = settings_of(tmp_path / "data")
    weeks(settings, days=1)
    tenant = tmp_path / "data" / "default"
    campaign = Notebook(tenant / "campaigns" / "renewals.db", power_cut=True)
    campaign.add(b"begun", b"told")
    version = Registry(tenant / "models" / "answers").add(trained(), 0.0)
    model = Notebook(tenant / "models" / "answers" / "notes.db", power_cut=False)
    model.add(b"a", b"b", b"c", base=version)
    # When a backup is made while both are in use
    backup.take(settings, tmp_path / "b", Seal(plain=True))
    drill = backup.drill(tmp_path / "b", Opener())
    told = drill.manifest["tenants"]["default"]
    assert drill.differences == [] and told["campaigns"] == {"renewals": 2}
    assert told["models"] == {"answers": {"version": version, "notes": 3}}
    backup.restore(tmp_path / "b", Opener(), tmp_path / "back")
    back = tmp_path / "back" / "default"
    assert list(Notebook(back / "campaigns" / "renewals.db", power_cut=True).read()) == [b"begun", b"told"]
    assert Registry(back / "models" / "answers").load().version == version
    # And what is damaged when the backup is made is told by the manifest
    campaign.close()
    model.close()
    (tenant / "models" / "answers" / f"{version}.model").chmod(0o600)
    (tenant / "models" / "answers" / f"{version}.model").write_bytes(b"no model")
    backup.take(settings, tmp_path / "c", Seal(plain=True))
    assert "damaged" in backup.drill(tmp_path / "c", Opener()).manifest["tenants"]["default"]["models"]["answers"]["version"]


def test_old_versions_of_a_model_that_the_server_wrote_are_dropped_and_others_kept(tmp_path: Path) -> None:
    from cordboard.learning.registry import Registry
    from tests.test_services_learning import trained

    registry, model = Registry(tmp_path), trained()
    first = registry.add(model, 0.0, "somebody", {"n": -1})
    own = [registry.add(model, float(n), "server", {"n": n}) for n in range(6)]
    assert registry.drop_old("server", 2, 9.0) == own[:4]
    assert set(registry.models()) == {first, *own[4:]} and registry.load().version == own[-1]
    assert registry.drop_old("server", 2, 9.0) == [] and registry.roll_back(10.0) == own[4]


def test_a_notebook_knows_how_many_notes_it_has(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "n.db", power_cut=False)
    notebook.add(b"a", b"b")
    notebook.add(b"c")
    assert notebook.count == 3
    notebook.close()
    again = Notebook(tmp_path / "n.db", power_cut=False)
    again.add(b"d")
    assert again.count == 4
    again.replace([b"e"], "1")
    assert again.count == 1 and NOTES_MAX > 1000


def test_the_command_compacts_a_stopped_server_s_journal_and_says_what_holds_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(tmp_path)
    clock, _, _ = weeks(settings)
    with Engine.open(CENTER, settings, clock=clock) as engine:
        for _ in range(20):  # more than a server holds in memory
            engine.submit_many([{"event": "clock"}] * 1_000).result(30)
        entries = list(engine.entries())

    def run(*arguments: str) -> Any:
        assert main(["journal", *arguments, "--data", str(tmp_path), "--json"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    with Engine.open(CENTER, settings, clock=clock):
        assert main(["journal", "compact", "--data", str(tmp_path), "--keep-days", "3"]) == 2
    assert "another process" in capsys.readouterr().err
    assert main(["journal", "compact", "--data", str(tmp_path), "--keep-days", "0.5"]) == 2
    assert main(["journal", "compact", "--data", str(tmp_path / "none"), "--keep-days", "3"]) == 2
    assert not (tmp_path / "none").exists()
    capsys.readouterr()
    # With records that are behind
    with Records(tmp_path / "default" / "records.db") as held:
        held.apply_steps(step for step in steps_of_data(settings, until=30))
    [told] = run("compact", "--keep-days", "3")
    assert told == {"forgotten": 30, "first": 31, "revision": entries[-1].revision, "held_by": "records"}
    with Records(tmp_path / "default" / "records.db") as held:
        held.apply_steps(steps_of_data(settings, after=30))
    [told] = run("compact", "--keep-days", "3")
    assert told["held_by"] == "keep_days" and told["first"] > 100
    [shown] = run("show")
    assert (shown["first"], shown["revision"]) == (told["first"], told["revision"])
    assert len(run("export", "--after", str(told["first"] - 1))) == told["revision"] - told["first"] + 1
    assert main(["journal", "export", "--data", str(tmp_path)]) == 2



def test_rows_are_deleted_from_the_first_on_and_no_more_than_asked_for(tmp_path: Path, database: str) -> None:
    store = make_store(Settings(data=tmp_path, database=database), "default")
    store.open()
    store.append([Row(n, n, "{}", "", f"r{n}") for n in range(1, 101)])
    assert [store.forget(50, 20), store.forget(50, 20), store.forget(50, 20), store.forget(50, 20)] == [20, 20, 10, 0]
    assert [row.revision for row in store.rows()] == list(range(51, 101)) and store.last() == 100
    assert [one[0] for page in store.requests(since=90) for one in page] == list(range(91, 101))
    assert [one[0] for page in store.requests(since=0) for one in page] == list(range(51, 101))
    store.shrink()
    assert [row.revision for row in store.rows()] == list(range(51, 101))
    store.close()


