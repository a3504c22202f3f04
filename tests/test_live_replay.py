"""What the live engine does, its journal says: any replay of it gives the same effects, restarts or not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from cordboard import Acd, Center
from cordboard.journal import event_line
from cordboard.live import Engine, Entry, Settings
from cordboard.replay import replay
from tests.oracle.worlds import Journalist, Seeded, crowded_center, random_center

START = 1_000_000.0


class Session:
    """A random day in a live engine, which is closed and opened again now and then."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.source = Seeded(seed)
        self.center: Center = (crowded_center if seed % 3 == 0 else random_center)(self.source)
        self.settings = Settings(data=folder, seed=seed, history=200, snapshot_events=1_000)
        self.journalist = Journalist(self.source, self.center)
        self.t = START
        self.entries: list[Entry] = []
        self.engine = self.open()

    def open(self) -> Engine:
        return Engine.open(self.center, self.settings, clock=lambda: self.t)

    def play(self, events: int, restarts: int) -> None:
        for number in range(events):
            if self.source.whole(1, events) <= restarts:
                self.restart()
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
