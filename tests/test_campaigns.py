"""Campaigns that dial by themselves: a live engine, a book of numbers, a pacer, and simulated people who answer or not."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from cordboard.calls.config import parse_calls
from cordboard.calls.translate import commands_of, event_of
from cordboard.campaigns.book import Book
from cordboard.campaigns.dialer import Dialer, _answered
from cordboard.center import parse_center
from cordboard.journal import event_line
from cordboard.live import Engine, Settings
from cordboard.media.backend import Cause, Dial
from cordboard.media.simulated import FarEnd, SimulatedMedia
from cordboard.pacing.rules import judge
from tests.floor import NODE

AGENTS = tuple(f"a{n}" for n in range(6))
CENTER = "[center]\ntime_zone = 'UTC'\n[queues.spring]\nmax_wait = 2\nwrap_up = 5\n[queues.billing]\n" + "".join(
    f"[agents.{name}]\n" for name in AGENTS
)
CALLS = (
    "[trunks.main]\ncaller = '4001'\n"
    + "".join(f'[phones.{name}]\nto = "sip:{name}"\nnailed_up = true\n' for name in AGENTS)
    + '[campaigns.spring]\nqueue = "spring"\ntrunk = "main"\nmessage = ["sorry"]\nmode = "MODE"\n'
    + "drops = 0.03\nlines = 40\nhours = ['mon-sun 00:00-24:00']\nredial = { no_answer = 600, busy = 300 }\n"
)
BEGIN = 1_800_000_000.0


class Floor:
    """A live engine whose clock is a simulated media node's, and a dialer that is asked after every event."""

    def __init__(self, folder: Path, mode: str = "predictive", calls: str = "", answers: float = 0.35) -> None:
        self.folder, self.center = folder, parse_center(CENTER)
        self.calls = parse_calls(calls or CALLS.replace("MODE", mode), self.center)
        self.draw, self.answers = random.Random(5), answers
        self.dialed: list[str] = []
        self.media = SimulatedMedia(self._far, now=BEGIN, prompts={"sorry": 3.0})
        self.open()
        self.engine.change_calls(self.calls).result()
        self.submit("node_attached", node=NODE, capacity=1000, legs=[])

    def open(self) -> None:
        settings = Settings(data=self.folder / "data", durable=False)
        self.engine = Engine.open(self.center, settings, clock=lambda: self.media.now)
        self.entries = self.engine.subscribe()
        self.book = Book(self.folder / "outbound.db")
        self.dialer = Dialer(self.engine, self.calls, self.book)

    def _far(self, dial: Dial) -> FarEnd:
        draw = self.draw
        if dial.to.startswith("sip:"):
            return FarEnd(rings=0.1, picks_up=0.5)
        self.dialed.append(dial.to)
        if draw.random() < self.answers:
            return FarEnd(rings=1.0, picks_up=draw.uniform(4.0, 14.0), hangs_up=draw.expovariate(1 / 60.0))
        if draw.random() < 0.2:
            return FarEnd(rings=None, picks_up=2.0, refuses=draw.choice((Cause.BUSY, Cause.INVALID, Cause.CONGESTION)))
        return FarEnd(rings=1.0, picks_up=None)

    def submit(self, kind: str, **fields) -> None:
        self.engine.submit({"event": kind, **fields}).result()
        self.carry()

    def carry(self) -> None:
        while entries := self.entries.poll():
            for entry in entries:
                self.media.send(commands_of(entry.effects, NODE, self.calls, self.book.number))

    def run(self, seconds: float, decide: bool = True) -> None:
        end = self.media.now + seconds
        while self.media.now < end:
            for report in self.media.reports(min(0.5, end - self.media.now)):
                event = event_of(report, NODE)
                self.submit(event.pop("event"), **event)
            if decide:
                self.dialer.step()
            else:
                self.submit("clock")
            self.carry()

    def effects(self, kind: str) -> list[dict]:
        return [one for entry in self.engine.entries() for one in entry.effects if one["effect"] == kind]

    def close(self) -> None:
        self.dialer.close()
        self.book.close()
        self.engine.close()


def listed(floor: Floor, count: int) -> None:
    assert all(floor.book.add("spring", [(f"9{n:06d}", "UTC", "") for n in range(count)]))


def test_a_campaign_dials_its_list_and_every_attempt_is_accounted_for_under_the_drop_target(tmp_path):
    # Given a campaign with six agents and a list
    floor = Floor(tmp_path)
    listed(floor, 3000)
    for agent in AGENTS:
        floor.submit("agent_ready", agent=agent)
    # When it dials for an hour and then stops
    floor.submit("campaign_started", campaign="spring")
    floor.run(3600.0)
    floor.submit("campaign_paused", campaign="spring")
    floor.run(900.0)
    # Then every attempt in the journal is in the book with the same outcome, over, and nobody was dialed too often
    outcomes = Counter(one["outcome"] for one in floor.effects("attempt_outcome"))
    counts = floor.book.counts("spring")
    assert counts["attempts"] == dict(outcomes) and sum(outcomes.values()) == len(floor.effects("attempt_ended"))
    assert len(floor.dialed) == sum(outcomes.values()) and max(Counter(floor.dialed).values()) <= 3
    # And it dialed ahead, within the target
    answered = outcomes["connected"] + outcomes["dropped"] + outcomes["hung_up"]
    assert outcomes["connected"] > 150 and outcomes["dropped"] / answered <= 0.03
    [ledger] = [one for one in floor.dialer.works["spring"].pacer.ledger.windows(floor.dialer.now) if one.rule.name == "campaign"]
    assert (ledger.base, ledger.dropped) == (answered, outcomes["dropped"])
    floor.close()


def test_one_line_is_dialed_for_a_free_agent_in_progressive_mode(tmp_path):
    floor = Floor(tmp_path, "progressive", answers=1.0)
    listed(floor, 100)
    floor.submit("campaign_started", campaign="spring")
    for agent in AGENTS[:2]:
        floor.submit("agent_ready", agent=agent)
    floor.run(3.0)
    assert len(floor.dialed) == 2
    floor.run(600.0)
    outcomes = floor.book.counts("spring")["attempts"]
    assert outcomes.get("dropped", 0) == 0 and outcomes["connected"] > 10
    floor.close()


def test_after_a_crash_the_list_the_ledger_and_the_calls_are_what_the_journal_says(tmp_path):
    # Given a campaign that dials
    floor = Floor(tmp_path)
    listed(floor, 1000)
    for agent in AGENTS:
        floor.submit("agent_ready", agent=agent)
    floor.submit("campaign_started", campaign="spring")
    floor.run(900.0)
    # When everything goes on for a while without a dialer, as after a kill -9, and one is made anew
    floor.run(30.0, decide=False)
    before = Counter(floor.dialed)
    old = floor.dialer.works["spring"].pacer.ledger
    floor.dialer._subscription.close()
    floor.book.close()
    floor.engine.close()
    floor.open()
    # Then its ledger has counted every answer of the journal once, and what is open is what the engine has
    ends = {(one["entry"], one["attempt"]): one for one in floor.effects("attempt_outcome")}
    answered = {(one["entry"], one["attempt"]) for one in floor.effects("attempt_answered")} & set(ends)
    window = floor.dialer.works["spring"].pacer.ledger.windows(floor.dialer.now)[0]
    assert window.base == len(answered) and len(answered) > 0
    assert window.dropped == sum(ends[key]["outcome"] == "dropped" for key in answered)
    assert set(floor.dialer._open) == set(floor.engine.read_calls(lambda b: [(c, int(e)) for c, e in b.attempts]).result())
    assert old is not floor.dialer.works["spring"].pacer.ledger
    # And it goes on; nobody is dialed again who was not to be, and nobody twice for one attempt
    floor.run(300.0)
    assert sum(floor.dialed.count(number) for number in floor.dialed) >= len(before)
    dials = [(one["entry"], one["attempt"]) for one in floor.effects("attempt_dialed")]
    assert len(dials) == len(set(dials)) == len(floor.dialed)
    floor.close()


def test_nobody_is_dialed_outside_of_the_hours_of_their_own_time_zone_or_once_they_said_no(tmp_path):
    # Given 08:00 UTC on a Friday: open in Shanghai (16:00), closed in New York (03:00)
    calls = CALLS.replace("MODE", "progressive").replace("mon-sun 00:00-24:00", "mon-fri 09:00-20:00")
    floor = Floor(tmp_path, calls=calls)
    floor.book.add("spring", [("1", "America/New_York", ""), ("2", "Asia/Shanghai", ""), ("3", "Asia/Shanghai", "")])
    for agent in AGENTS:
        floor.submit("agent_ready", agent=agent)
    floor.submit("campaign_started", campaign="spring")
    floor.book.block(["3"])
    floor.run(60.0)
    assert floor.dialed == ["2"]
    floor.close()


def test_a_replay_of_the_journal_of_a_campaign_gives_the_same_without_a_pacer(tmp_path):
    floor = Floor(tmp_path, "power")
    listed(floor, 200)
    for agent in AGENTS:
        floor.submit("agent_ready", agent=agent)
    floor.submit("campaign_started", campaign="spring")
    floor.run(120.0)
    here = [event_line(effect) for entry in floor.engine.entries() for effect in entry.effects]
    floor.dialer.close()
    floor.engine.close()
    floor.open()
    again = [event_line(effect) for entry in floor.engine.entries() for effect in entry.effects]
    assert again[: len(here)] == here and sum("attempt_dialed" in line for line in here) > 10
    floor.close()


def test_an_attempt_is_judged_by_the_rules_from_the_times_in_the_book(tmp_path):
    floor = Floor(tmp_path, "progressive", answers=1.0)
    listed(floor, 10)
    floor.submit("campaign_started", campaign="spring")
    floor.submit("agent_ready", agent="a0")
    floor.run(100.0)
    done = list(floor.book.attempts("spring"))
    assert done and all(one.dialed < one.answered <= one.decided for one in done)
    rules = floor.dialer.works["spring"].pacer.ledger.rules
    assert {judge(rules[0], _answered(one)) for one in done if one.outcome == "connected"} == {"handled"}
    floor.close()


def test_a_number_is_dialed_again_after_its_time_and_not_more_often_than_allowed(tmp_path):
    floor = Floor(tmp_path, calls=CALLS.replace("MODE", "progressive") + "attempts = 2\n", answers=0.0)
    floor.draw = random.Random(1)
    listed(floor, 3)
    floor.submit("agent_ready", agent="a0")
    floor.submit("campaign_started", campaign="spring")
    floor.run(500.0)
    first = Counter(floor.dialed)
    assert max(first.values()) <= 2 and len(first) == 3
    floor.run(2000.0)
    rows = {entry: (state, attempts) for entry, _, _, state, attempts, *_ in floor.dialer.results("spring")}
    assert all(state == "done" and attempts <= 2 for state, attempts in rows.values()) and max(Counter(floor.dialed).values()) == 2
    floor.close()
