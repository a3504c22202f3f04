"""What the live engine does, its journal says: any replay of it gives the same effects, restarts or not."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cordboard import Acd, Center, parse_center
from cordboard.center_writer import center_toml
from cordboard.cli import main
from cordboard.journal import event_line
from cordboard.live import Engine, Entry, Settings
from cordboard.live.archive import BATCH, Archive
from cordboard.live.center_json import center_record, record_center
from cordboard.live.store import Row, make_store
from cordboard.replay import replay
from tests.oracle.worlds import Journalist, Seeded, crowded_center, duration, random_center

START = 1_000_000.0


class Session:
    """A random day in a live engine, which is closed and opened again now and then."""

    def __init__(self, folder: Path, seed: int, database: str = "") -> None:
        self.source = Seeded(seed)
        self.center: Center = (crowded_center if seed % 3 == 0 else random_center)(self.source)
        self.settings = Settings(data=folder, database=database, seed=seed, history=200, snapshot_events=1_000)
        self.journalist = Journalist(self.source, self.center)
        self.t = START
        self.entries: list[Entry] = []
        self.engine = self.open()

    def open(self) -> Engine:
        return Engine.open(self.center, self.settings, clock=lambda: self.t)

    def play(self, events: int, restarts: int, changes: int = 0) -> None:
        for number in range(events):
            if self.source.whole(1, events) <= restarts:
                self.restart()
            if self.source.whole(1, events) <= changes:
                self.take(self.engine.state.revision)
                entry = self.engine.change_center(another(self.source, self.center)).result(10).entry
                self.take(entry.revision)
            due = self.engine.read(lambda acd: acd.next_timer()).result(10)
            event = self.journalist.next_event(None if due is None else due - START)
            self.t = max(self.t, START + event.pop("t"))
            if "queued_at" in event:
                event["queued_at"] += START
            entry = self.engine.submit(event, request_id=f"r{number}").result(10).entry
            own = [effect for effect in entry.effects if effect["t"] >= entry.t]
            self.take(entry.revision - 1)
            self.journalist.note(None, [effect for effect in entry.effects if effect["t"] < entry.t])
            self.journalist.note(None if entry.error else entry.event, own)
            self.entries.append(entry)

    def take(self, until: int) -> None:
        """Clock entries that came before the last one."""
        for entry in self.engine.subscribe(after=len(self.entries)).poll():
            if entry.revision <= until:
                self.journalist.note(None, list(entry.effects))
                self.entries.append(entry)

    def restart(self) -> None:
        before = self.engine.read(look).result(10)
        self.engine.close()
        self.engine = self.open()
        assert self.engine.read(look).result(10) == before


def another(source: Seeded, center: Center) -> Center:
    """Other times and order, and now and then without the last agent."""
    queues = tuple(
        replace(queue, offer_timeout=duration(source), wrap_up=source.pick([0.0, 1.0]), overflow=None) for queue in center.queues
    )
    agents = center.agents[:-1] if len(center.agents) > 1 and source.whole(0, 1) else center.agents
    return replace(center, queues=queues, agents=agents, order=source.pick(["priority", "score"]), reserves=())


def look(acd: Acd) -> Any:
    return acd.state(), acd.next_timer(), [acd.positions(queue.name) for queue in acd.center.queues]


def lines(engine: Engine) -> bytes:
    return "".join(event_line(event) + "\n" for event in engine.export()).encode()


@pytest.mark.parametrize("seed", range(12))
def test_a_replay_of_the_exported_journal_gives_the_effects_of_the_live_engine(tmp_path: Path, seed: int) -> None:
    session = Session(tmp_path, seed)
    session.play(150, restarts=4)
    journal = lines(session.engine)
    live = [[entry.event, list(entry.effects), entry.error is None] for entry in session.entries]
    told = [[e.event, list(e.effects), e.error is None] for e in session.engine.entries()]
    state = session.engine.read(look).result(10)
    session.engine.close()

    acd = Acd(session.center, seed=seed)
    answers = list(replay(acd, session.center, io.BytesIO(journal)))

    assert [[a.event, [*a.fired, *a.effects], a.error is None] for a in answers] == live == told
    assert [str(a.error) for a in answers if a.error] != [] and look(acd) == state


def test_so_it_does_where_the_journal_is_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    session = Session(tmp_path, 31, postgres_url)
    session.play(150, restarts=3)
    journal = lines(session.engine)
    live = [[*entry.effects] for entry in session.entries]
    session.engine.close()

    answers = list(replay(Acd(session.center, seed=31), session.center, io.BytesIO(journal)))

    assert [[*a.fired, *a.effects] for a in answers] == live


@pytest.mark.parametrize("seed", range(20, 26))
def test_so_it_does_where_the_center_changes_on_the_way(tmp_path: Path, seed: int) -> None:
    session = Session(tmp_path, seed)
    session.play(120, restarts=2, changes=5)
    journal = lines(session.engine)
    live = [[entry.event["event"], list(entry.effects), entry.error is None] for entry in session.entries]
    told = [[e.event["event"], list(e.effects), e.error is None] for e in session.engine.entries()]
    state = session.engine.read(look).result(10)
    first = center_toml(session.engine.first_center())
    session.engine.close()

    center = parse_center(first)
    answers = list(replay(Acd(center, seed=seed), center, io.BytesIO(journal)))

    assert [[a.event and a.event["event"], [*a.fired, *a.effects], a.error is None] for a in answers] == live == told
    assert sum(a.event is not None and a.event["event"] == "center_changed" for a in answers) >= 1
    assert state[0]["t"] == answers[-1].event["t"]  # type: ignore[index]


@pytest.mark.parametrize("seed", range(40))
def test_a_center_that_is_written_is_read_as_the_same_center(seed: int) -> None:
    source = Seeded(seed)
    center = (crowded_center if seed % 4 == 0 else random_center)(source)
    center = replace(center, time_zone=source.pick(["UTC", "Asia/Shanghai"]), order=source.pick(["priority", "ratio"]))
    assert replace(parse_center(center_toml(center)), warnings=()) == replace(center, warnings=())
    assert record_center(json.loads(json.dumps(center_record(center)))) == replace(center, warnings=())


def test_the_command_exports_what_replay_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(tmp_path / "data", 3)
    session.play(60, restarts=1, changes=1)
    effects = [effect for entry in session.entries for effect in entry.effects]
    place = ["--data", str(tmp_path / "data")]
    files = ["--center", str(tmp_path / "center.toml"), "--to", str(tmp_path / "journal.jsonl")]
    assert main(["journal", "export", *place, *files]) == 0  # while the engine is at work
    assert main(["journal", "export", *place, *files]) == 2  # no file is written over
    session.engine.close()
    capsys.readouterr()

    main(["replay", str(tmp_path / "center.toml"), str(tmp_path / "journal.jsonl"), "--seed", "3"])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == effects
    out = str(tmp_path / "effects.jsonl")
    main(["replay", str(tmp_path / "center.toml"), str(tmp_path / "journal.jsonl"), "--seed", "3", "--effects", out])

    capsys.readouterr()
    assert main(["journal", "show", *place, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["revision"] == len(session.entries) and shown["agents"] == len(session.center.agents)
    assert main(["journal", "show", "--data", str(tmp_path / "nowhere")]) == 2


def test_after_a_long_replay_the_next_one_begins_near_the_end(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, history=200, snapshot_events=1_000)
    store = make_store(settings, "default")
    site = parse_center("[queues.general]\n")
    archive = Archive(store, settings)
    archive.begin(site)
    event = '{{"event":"contact_queued","contact":"c{}","queue":"general"}}'
    store.append([Row(number, 1_000_000 + number, event.format(number), "", "") for number in range(1, 5_001)])
    store.close()
    with Engine.open(site, settings) as engine:  # no snapshot is there
        kept = [revision for revision, _ in engine._archive.store.snapshots()]
        assert any(4_800 - BATCH < revision <= 4_800 for revision in kept)
        assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 5_000
