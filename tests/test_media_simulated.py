"""The simulated media layer: the contract, and what only it can show."""

from __future__ import annotations

import doctest

import pytest

from cordboard.errors import InputError
from cordboard.media import simulated
from cordboard.media.backend import Answer, Answered, Cause, Dial, Ended, Incoming, Key, PauseRecording, Record, Refused
from cordboard.media.simulated import VANISHED_S, FarEnd, SimulatedMedia
from tests.media_contract import LONG, SHORT, MediaContract


class SimulatedWorld:
    """Phones at addresses that are made up as they come."""

    def __init__(self) -> None:
        self.phones: dict[str, FarEnd] = {}
        self.calls = 0
        self.backend = SimulatedMedia(self.phones, prompts={SHORT: 0.5, LONG: 20.0})
        self.press, self.hang_up = self.backend.press, self.backend.hang_up
        self.hears, self.keys_heard = self.backend.hears, self.backend.keys_heard

    def kept_time(self, leg: str) -> bool:
        return True

    def phone(self, far: FarEnd) -> str:
        address = f"sip:phone{len(self.phones)}@simulated"
        self.phones[address] = far
        return address

    def call(self, to: str, far: FarEnd, caller: str = "") -> None:
        self.calls += 1
        self.backend.call(f"in{self.calls}", to, far, caller=caller)


class TestSimulated(MediaContract):
    @pytest.fixture
    def world(self):
        return SimulatedWorld()


def everything(media: SimulatedMedia, seconds: float = 100.0):
    """All reports of the next seconds, each with its time."""
    end, found = media.now + seconds, []
    while media.now < end:
        found += [(round(media.now, 6), report) for report in media.reports(end - media.now)]
    return found


def test_far_ends_keep_their_times():
    media = SimulatedMedia({"sip:li": FarEnd(rings=0.2, picks_up=3.0, hangs_up=10.0, presses=((1.0, "7"),))})
    media.send([Dial("d1", "sip:li")])
    told = [(at, type(report).__name__) for at, report in everything(media)]
    assert told == [(0.2, "Ringing"), (3.0, "Answered"), (4.0, "Key"), (13.0, "Ended")]


def test_one_who_vanishes_is_over_when_it_is_noticed():
    media = SimulatedMedia({})
    media.call("in1", "4001", FarEnd(vanishes=5.0, hangs_up=6.0))
    media.send([Answer("in1")])
    at, ended = everything(media)[-1]
    assert (at, ended.cause) == (5.0 + VANISHED_S, Cause.UNREACHABLE)


def test_what_nobody_has_is_invalid_and_what_has_no_line_is_congestion():
    media = SimulatedMedia({"sip:li": FarEnd()}, lines=1)
    media.send([Dial("d1", "sip:nobody"), Dial("d2", "sip:li"), Dial("d3", "sip:li")])
    ended = {r.leg: r.cause for r in media.reports(0.0) if isinstance(r, Ended)}
    assert ended == {"d1": Cause.INVALID, "d3": Cause.CONGESTION}


def test_a_tape_knows_its_pauses():
    media = SimulatedMedia({"sip:li": FarEnd(hangs_up=20.0)})
    media.send([Dial("d1", "sip:li"), Record("r1", ("d1",))])
    media.advance(5.0)
    media.send([PauseRecording("r1")])
    media.advance(8.0)
    media.send([PauseRecording("r1", on=False)])
    everything(media)
    tape = media.tapes["r1"]
    assert (tape.since, tape.until, tape.silences) == (0.0, 20.0, [(5.0, 8.0)])


def test_the_same_world_twice_gives_the_same_reports():
    def run():
        phones = {f"sip:{i}": FarEnd(picks_up=i % 3, hangs_up=i % 5) for i in range(20)}
        media = SimulatedMedia(phones)
        media.send([Dial(f"d{i}", f"sip:{i}") for i in range(20)])
        return everything(media)

    assert run() == run()


def test_a_caller_who_needs_a_name_that_was_used_is_a_mistake_of_the_test():
    media = SimulatedMedia({})
    media.call("in1", "4001", FarEnd())
    with pytest.raises(InputError, match="another leg"):
        media.call("in1", "4001", FarEnd())


def test_the_examples_hold():
    assert doctest.testmod(simulated).failed == 0


def test_reports_of_a_dialed_leg_can_be_told_apart():
    media = SimulatedMedia({"sip:li": FarEnd()})
    media.call("in1", "4001", FarEnd())
    media.send([Dial("d1", "sip:li"), Answer("d1")])
    kinds = [type(report) for report in media.reports(0.0)]
    assert kinds == [Incoming, Refused]  # what is dialed is not answered by us
    assert Answered("d1") in media.reports(1.0)
    media.press("d1", "#")
    assert media.reports(0.0) == [Key("d1", "#")]
