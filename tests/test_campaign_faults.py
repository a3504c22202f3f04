"""Campaigns whose book or journal fails for a while: what was not done is done later, and nothing is forgotten."""

from __future__ import annotations

import random

import pytest

from cordboard import Acd
from cordboard.campaigns.book import Book
from cordboard.campaigns.dialer import Dialer
from cordboard.errors import StoreError
from cordboard.media.backend import Cause
from cordboard.media.simulated import FarEnd
from tests.test_campaigns import AGENTS, CALLS, Floor, listed


def failing(monkeypatch, method: str, times: int = 1) -> list[int]:
    """Have a method of the book fail so many times."""
    right, left = getattr(Book, method), [times]

    def fails(*args):
        if left[0]:
            left[0] -= 1
            raise StoreError("unusable", "outbound.db: the disk is full")
        return right(*args)

    monkeypatch.setattr(Book, method, fails)
    return left


def try_to_step(floor: Floor) -> None:
    with pytest.raises(StoreError):
        floor.dialer.step()
    floor.carry()


@pytest.mark.parametrize("method", ["ready", "may_dial", "follow"])
def test_a_campaign_goes_on_with_its_whole_list_after_its_book_could_not_be_used(tmp_path, monkeypatch, method):
    floor = Floor(tmp_path, "progressive", answers=1.0)
    listed(floor, 3)
    floor.submit("agent_ready", agent="a0")
    floor.run(1.0)
    floor.submit("campaign_started", campaign="spring")
    failing(monkeypatch, method)
    try_to_step(floor)
    floor.run(1500.0)
    counts = floor.dialer.book.counts("spring")
    assert sorted(floor.dialed) == ["9000000", "9000001", "9000002"]
    assert counts["entries"] == {"done": 3} and sum(counts["attempts"].values()) == 3
    floor.close()


def test_what_was_polled_before_an_error_is_followed_after_it(tmp_path, monkeypatch):
    # Given calls that ring
    floor = Floor(tmp_path, "power")
    listed(floor, 30)
    for agent in AGENTS:
        floor.submit("agent_ready", agent=agent)
    floor.submit("campaign_started", campaign="spring")
    floor.run(5.0)
    assert floor.dialer._open
    # When they end while the book can't be written, with more in the journal than a subscription holds
    floor.dialer._subscription._capacity = 1
    floor.run(60.0, decide=False)
    failing(monkeypatch, "follow", 3)
    right, floor.engine.entries = floor.engine.entries, lambda *args: next(iter(()))
    with pytest.raises((StoreError, StopIteration, RuntimeError)):
        floor.dialer.step()
    floor.engine.entries = right
    for _ in range(3):
        try_to_step(floor)
    # Then the book has what came of each, once it can
    floor.run(5.0)
    assert set(floor.dialer._open) == set(floor.engine.read_calls(lambda b: [(c, int(e)) for c, e in b.attempts]).result())
    floor.submit("campaign_paused", campaign="spring")
    floor.run(300.0)
    assert floor.book.open_attempts() == []
    floor.close()


def test_a_dialer_starts_though_the_journal_grows_faster_than_it_is_read_at_first(tmp_path, monkeypatch):
    floor = Floor(tmp_path, "power")
    listed(floor, 30)
    floor.submit("agent_ready", agent="a0")
    floor.submit("campaign_started", campaign="spring")
    floor.run(5.0)
    subscribe = floor.engine.subscribe
    monkeypatch.setattr(floor.engine, "subscribe", lambda after: subscribe(after, capacity=5))
    look = Dialer._look

    def look_late(self):
        for _ in range(20):
            floor.engine.submit({"event": "clock"}).result()
        return look(self)

    with monkeypatch.context() as late:
        late.setattr(Dialer, "_look", look_late)
        floor.dialer = Dialer(floor.engine, floor.calls, floor.book)
    floor.run(60.0)
    assert len(floor.effects("attempt_dialed")) > 2
    assert set(floor.dialer._open) == set(floor.engine.read_calls(lambda b: [(c, int(e)) for c, e in b.attempts]).result())
    floor.close()


def test_an_entry_that_may_be_dialed_again_at_once_is_before_the_book_knows(tmp_path, monkeypatch):
    monkeypatch.setattr("cordboard.campaigns.dialer.WRITE_S", 10.0)
    calls = CALLS.replace("MODE", "progressive").replace("redial = { no_answer = 600, busy = 300 }", "redial = { no_answer = 0 }")
    floor = Floor(tmp_path, calls=calls + "attempts = 3\nring = 15\n", answers=0.0)
    floor.draw = random.Random(0)
    listed(floor, 1)
    floor.submit("agent_ready", agent="a0")
    floor.submit("campaign_started", campaign="spring")
    floor.run(100.0)
    assert floor.dialed == ["9000000"] * 3
    floor.close()


def test_a_dialer_starts_though_a_number_was_dialed_before_the_first_that_has_come_out(tmp_path):
    # Given two numbers, of which the first still rings when the second is busy; and a crash before anything came out
    for seconds, ended in ((1.0, 0), (4.0, 1)):
        floor = Floor(tmp_path / str(ended), "power")
        listed(floor, 2)
        for agent in AGENTS:
            floor.submit("agent_ready", agent=agent)
        floor.submit("campaign_started", campaign="spring")
        begin = floor.media.now
        answers = {"9000000": FarEnd(rings=1.0, picks_up=None), "9000001": FarEnd(rings=None, picks_up=2.0, refuses=Cause.BUSY)}
        floor.media._find = lambda dial, answers=answers: answers.get(dial.to, FarEnd(rings=0.1, picks_up=0.5))
        floor.run(0.6)
        floor.run(seconds - (floor.media.now - begin))
        floor.dialer._write()
        assert len(floor.book.open_attempts()) == 2 - ended
        # When the next one begins
        floor.dialer._subscription.close()
        floor.dialer = Dialer(floor.engine, floor.calls, floor.book)
        # Then it goes on
        floor.run(60.0)
        assert floor.book.open_attempts() == []
        floor.close()


def test_a_book_on_a_full_disk_hinders_nobody_from_ending(tmp_path, monkeypatch):
    floor = Floor(tmp_path)
    listed(floor, 1)
    floor.submit("campaign_started", campaign="spring")
    floor.dialer._poll()
    floor.dialer._follow_waiting()
    failing(monkeypatch, "follow")
    floor.close()


def test_a_large_team_is_looked_at_only_while_a_campaign_dials_and_seldom_enough_to_leave_the_writer_its_time(tmp_path, monkeypatch):
    floor = Floor(tmp_path)
    asked = []
    right = Acd.agent_state
    monkeypatch.setattr(Acd, "agent_state", lambda self, agent: asked.append(agent) or right(self, agent))
    floor.dialer.step()
    assert asked == []
    floor.submit("campaign_started", campaign="spring")
    spent = iter((0.0, 0.03))
    with monkeypatch.context() as slow:
        slow.setattr("cordboard.campaigns.dialer.time.thread_time", lambda: next(spent))
        floor.dialer.step()
    assert set(asked) == set(AGENTS) and floor.dialer._pause == pytest.approx(1.5)
    floor.close()
