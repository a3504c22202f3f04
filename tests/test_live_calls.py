"""Calls in the live engine: journaled, recovered, exported, replayed; and what follows the routing is told."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest

from cordboard import Acd, explain
from cordboard.calls.config import Calls
from cordboard.calls.translate import commands_of, event_of
from cordboard.errors import EventError, JournalError
from cordboard.journal import event_line
from cordboard.kpi import QueueTallies
from cordboard.live import Engine, Settings
from cordboard.live.core import Core, CoreOptions
from cordboard.media.simulated import FarEnd, SimulatedMedia
from cordboard.records import Projection, Step
from cordboard.replay import replay
from tests.floor import CALLS, NODE, Floor

RECORDED = CALLS.replace("music = ", "record = true\nmusic = ")


class Live:
    """A live engine whose clock is a simulated media node's."""

    def __init__(self, folder: Path, floor: Floor) -> None:
        self.folder, self.center, self.calls = folder, floor.center, floor.calls
        self.media: SimulatedMedia = floor.node(1000.0)
        self.engine = self.open()
        self.engine.change_calls(self.calls).result()
        self.submit("node_attached", node=NODE, capacity=100, legs=[])

    def open(self) -> Engine:
        settings = Settings(data=self.folder, history=1, snapshot_events=1000)
        return Engine.open(self.center, settings, clock=lambda: self.media.now)

    def submit(self, kind: str, **fields) -> None:
        entry = self.engine.submit({"event": kind, **fields}).result().entry
        self.media.send(commands_of(entry.effects, NODE, self.calls))

    def run(self, seconds: float) -> None:
        end = self.media.now + seconds
        while self.media.now < end:
            for report in self.media.reports(min(1.0, end - self.media.now)):
                event = event_of(report, NODE)
                self.submit(event.pop("event"), **event)
            self.submit("clock")


def busy(folder: Path) -> Live:
    """An engine with a conversation, a caller who waits, and some calls that are over."""
    live = Live(folder, Floor(calls=RECORDED))
    live.submit("agent_ready", agent="li")
    for n in range(4):
        live.media.call(f"c{n}", "4001", FarEnd(hangs_up=20.0 if n < 2 else None), caller="138")
        live.run(9.0)
    live.submit("call_held", contact="c2")
    return live


def effects_of(engine: Engine) -> list[dict]:
    return [effect for entry in engine.entries() for effect in entry.effects]


def test_after_a_restart_the_switchboard_is_what_it_was(tmp_path):
    # Given an engine with calls
    live = busy(tmp_path)
    before = live.engine.read_calls(lambda board: json.dumps(board.state.record())).result()
    effects = effects_of(live.engine)
    # When it is closed and opened again, from its snapshot
    live.engine.close()
    live.engine = live.open()
    # Then it holds the same legs and calls, and goes on
    after = live.engine.read_calls(lambda board: json.dumps(board.state.record())).result()
    assert after == before and effects_of(live.engine) == effects
    live.submit("node_attached", node=NODE, capacity=100, legs=sorted(live.media.legs()))
    for leg in sorted(live.media.legs()):
        live.media.hang_up(leg)
    live.run(30.0)
    assert live.engine.read_calls(lambda board: len(board.state.legs)).result() == 0
    live.engine.close()


def test_an_exported_journal_replays_to_the_same_bytes(tmp_path):
    live = busy(tmp_path)
    lines = b"".join(event_line(event).encode() + b"\n" for event in live.engine.export())
    engine = Acd(live.center)
    replayed = [
        effect for answer in replay(engine, live.center, io.BytesIO(lines)) for effect in (*answer.fired, *answer.effects)
    ]
    assert [event_line(e) for e in replayed] == [event_line(e) for e in effects_of(live.engine)]
    assert any(effect["effect"] == "leg_connect" for effect in replayed)
    live.engine.close()


def test_at_any_row_a_core_can_be_dumped_and_loaded(tmp_path):
    live = busy(tmp_path)
    rows = list(live.engine.rows())
    core = Core.new(live.center, CoreOptions())
    for row in rows:
        [entry] = core.replay([row])
        loaded = Core.load(core.dump(), CoreOptions())
        assert (loaded.board is None) == (core.board is None)
        if core.board is not None and loaded.board is not None:
            assert loaded.board.state == core.board.state and loaded.board.calls == bare(core.board.calls)
        core = loaded
        assert entry.error is None or isinstance(entry.error, EventError)
    live.engine.close()


def bare(calls: Calls) -> Calls:
    phones = {name: dataclasses.replace(phone, to="", trunk="") for name, phone in calls.phones.items()}
    return dataclasses.replace(calls, phones=phones)


def test_settings_of_calls_are_not_submitted_as_events(tmp_path):
    live = Live(tmp_path, Floor())
    with pytest.raises(JournalError, match="unknown event"):
        live.engine.submit({"event": "calls_changed", "calls": {}})
    live.engine.close()


def test_another_center_keeps_the_calls(tmp_path):
    live = busy(tmp_path)
    changed = dataclasses.replace(live.center, order="score")
    live.engine.change_center(changed).result()
    assert live.engine.read_calls(lambda board: board.acd.center.order).result() == "score"
    live.run(5.0)
    live.engine.close()


def test_who_follows_the_routing_hears_what_the_switchboard_told_it():
    # Given a day of calls
    floor = Floor(calls=RECORDED)
    floor.ready("li", "wang")
    for _ in range(4):
        floor.call(FarEnd(hangs_up=20.0))
        floor.run(10.0)
    floor.run(60.0)
    # Then figures, records and explanations know the contacts
    lines = b"".join(event_line(event).encode() + b"\n" for event in floor.journal)
    tallies = QueueTallies({"billing": 20.0})
    projection = Projection()
    for answer in replay(Acd(floor.center), floor.center, io.BytesIO(lines)):
        tallies.observe(None, answer.fired)
        tallies.observe(answer.event, answer.effects)
        assert answer.event is not None
        projection.take(Step(answer.line, answer.event["t"], answer.fired, answer.event, answer.effects))
    assert (tallies.by_queue["billing"].offered, tallies.by_queue["billing"].answered) == (4, 4)
    outcomes = [row.values["outcome"] for row in projection.take_dirty() if row.table == "outcomes"]
    assert outcomes == ["answered"] * 4
    story = explain.explain(Acd(floor.center), floor.center, io.BytesIO(lines), "c1")
    assert [entry.kind for entry in story.entries][:3] == ["contact_queued", "offer", "offer_accepted"]
