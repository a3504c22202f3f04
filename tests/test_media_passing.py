"""Two legs that hear each other alone: their packets go from one to the other as they came, and are mixed again as soon as
anybody else has to do with them. Judged by telephones that are not PJSIP's, over real SIP and RTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from cordboard.media.backend import (
    Answered,
    Connect,
    Dial,
    Disconnect,
    Ended,
    HangUp,
    Key,
    Play,
    Played,
    Record,
    Recorded,
    Report,
    SendKeys,
    Stop,
)
from cordboard.media.simulated import FarEnd
from tests.media_contract import LONG
from tests.recorded import channels
from tests.sip_peer import RATE, Call, Telephone, loudness

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.pjsip.backend import PjsipMedia
from tests.sip_world import settings


class Talk:
    """Legs ``a``, ``b`` and so on, which have answered; ``a`` and ``b`` hear each other."""

    def __init__(self, folder, legs: str = "ab") -> None:
        self.folder, self.seen, self.telephone = folder, [], Telephone()
        self.backend = PjsipMedia(settings(folder, legs_max=8))
        self.calls: dict[str, Call] = {}
        for leg in legs:
            self.backend.send([Dial(leg, self.telephone.phone(FarEnd(rings=0.0, picks_up=0.0)))])
            self.until(lambda leg=leg: any(isinstance(one, Answered) and one.leg == leg for one in self.seen))
            self.calls[leg] = list(self.telephone.calls.values())[-1]
        self.join("a", "b")

    def join(self, one: str, other: str) -> None:
        self.backend.send([Connect(one, other), Connect(other, one)])

    def part(self, one: str, other: str) -> None:
        self.backend.send([Disconnect(one, other), Disconnect(other, one)])

    def until(self, found: Callable[[], object], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < end, self.state()
            self.seen += self.backend.reports(0.02)

    def state(self) -> str:
        """Who hears whom, for whoever reads why a test failed."""
        heard = [
            f"{sink} hears {[name for name in self.calls if self.hears(sink, name)]}, the last {time.monotonic() - call.heard_at:.2f} s ago"
            for sink, call in self.calls.items()
        ]
        return f"{self.passed} packets passed on in all; {'; '.join(heard)}; told: {self.seen}"

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end)

    def hears(self, sink: str, source: str) -> bool:
        return self.telephone.hears(self.calls[sink], self.calls[source].hertz)

    @property
    def passed(self) -> int:
        return self.backend._sip.passed

    def passes(self) -> None:
        """Both directions are passed on, and heard."""
        before = self.passed
        self.until(lambda: self.passed >= before + 100)
        self.until(lambda: self.hears("a", "b") and self.hears("b", "a"))

    def mixes(self) -> None:
        """Nothing more is passed on."""
        self.rest(0.5)
        before = self.passed
        self.rest(0.5)
        assert self.passed == before

    def reports(self, kind: type[Report]) -> list:
        return [one for one in self.seen if isinstance(one, kind)]

    def close(self) -> None:
        self.backend.close()
        self.telephone.close()


@pytest.fixture
def talk(tmp_path) -> Iterator[Talk]:
    talk = Talk(tmp_path)
    yield talk
    talk.close()


def test_two_who_hear_each_other_alone_get_each_others_packets_and_quality_counts_them(talk):
    talk.passes()
    # When they hang up
    talk.backend.send([HangUp("a"), HangUp("b")])
    talk.until(lambda: len(talk.reports(Ended)) == 2)
    # Then what came and what was sent has been counted, though no stream saw it
    for ended in talk.reports(Ended):
        assert ended.quality.received >= 50 and ended.quality.sent >= 50 and ended.quality.lost == 0


def test_a_third_party_is_heard_by_both_and_when_it_leaves_they_are_alone_again(tmp_path):
    talk = Talk(tmp_path, "abc")
    try:
        talk.passes()
        # When one joins
        for leg in "ab":
            talk.join("c", leg)
        talk.until(lambda: all(talk.hears(sink, source) for sink in "abc" for source in "abc" if sink != source))
        talk.mixes()
        # And leaves
        for leg in "ab":
            talk.part("c", leg)
        talk.passes()
        assert not talk.hears("a", "c") and not talk.hears("c", "a")
    finally:
        talk.close()


def test_a_listener_hears_both_and_they_notice_nothing(tmp_path):
    talk = Talk(tmp_path, "abc")
    try:
        talk.passes()
        heard = {leg: len(call.heard) for leg, call in talk.calls.items()}
        # When a supervisor listens
        talk.backend.send([Connect("a", "c"), Connect("b", "c")])
        talk.until(lambda: talk.hears("c", "a") and talk.hears("c", "b"))
        assert heard and talk.hears("a", "b") and talk.hears("b", "a")
        # And leaves
        talk.backend.send([Disconnect("", "c")])
        talk.passes()
    finally:
        talk.close()


def test_the_change_to_mixing_leaves_no_gap(talk):
    talk.passes()
    # When somebody begins to listen in, which is a stream of the bridge
    why, port, number = talk.backend._sip.open_stream()
    assert not why
    talk.rest(0.5)
    talk.backend._sip.connect(talk.backend._legs["b"].port, port)
    talk.rest(0.6)
    # Then the last second at the other side is loud in every 20 ms of it
    with talk.telephone.lock:
        heard = talk.calls["a"].heard[-8000:].copy()
    frames = [loudness(heard[at : at + 160], talk.calls["b"].hertz) for at in range(0, len(heard) - 160, 160)]
    assert min(frames) > 800.0
    talk.backend._sip.close_stream(number)
    talk.passes()


def test_one_on_hold_hears_music_and_after_it_they_are_alone_again(talk):
    talk.passes()
    # When a is held, with a prompt of 1,000 Hz
    talk.part("a", "b")
    talk.backend.send([Play("a", (LONG,), loop=True)])
    talk.until(lambda: not talk.hears("a", "b") and not talk.hears("b", "a"))
    talk.mixes()
    # And taken back
    talk.backend.send([Stop("a")])
    talk.join("a", "b")
    talk.passes()
    assert talk.reports(Played)


def test_keys_of_both_are_recognized_and_told_to_nobody_else(talk):
    talk.passes()
    for key in "58#":
        talk.telephone.press(talk.calls["a"], key)
        talk.until(lambda key=key: Key("a", key) in talk.seen)
    talk.telephone.press(talk.calls["b"], "1")
    talk.until(lambda: Key("b", "1") in talk.seen)
    assert talk.calls["a"].keys == talk.calls["b"].keys == ""
    talk.passes()


def test_keys_are_sent_to_one_of_two_and_come_whole(talk):
    talk.passes()
    talk.backend.send([SendKeys("b", "42#7")])
    talk.until(lambda: talk.calls["b"].keys == "42#7")
    talk.until(lambda: talk.hears("a", "b"))


def test_what_is_recorded_from_the_middle_of_a_call_has_both_sides(talk, tmp_path):
    talk.passes()
    # When it is recorded for a second and a half
    talk.backend.send([Record("r1", ("a", "b"))])
    talk.rest(1.5)
    talk.backend.send([HangUp("a"), HangUp("b")])
    talk.until(lambda: talk.reports(Recorded))
    [recorded] = talk.reports(Recorded)
    sides = channels(tmp_path / "recordings" / recorded.file)
    # Then each channel is one side
    assert recorded.seconds > 1.0
    for channel, (own, other) in enumerate((("a", "b"), ("b", "a"))):
        last = sides[channel][-RATE:]
        assert loudness(last, talk.calls[own].hertz) > 2000 > 10 * loudness(last, talk.calls[other].hertz)


def test_one_who_says_nothing_is_mixed_so_that_the_other_gets_silence(talk):
    talk.passes()
    # When a sends no more packets
    with talk.telephone.lock:
        talk.calls["a"].up = False
    talk.until(lambda: not talk.hears("b", "a"))
    # Then b gets packets all the same, and a hears b
    sent = len(talk.calls["b"].heard)
    talk.until(lambda: len(talk.calls["b"].heard) >= sent and not np.any(talk.calls["b"].heard[-800:] > 100.0))
    assert talk.hears("a", "b")


def test_two_who_send_nothing_get_little_silence_until_one_of_them_speaks(talk):
    talk.passes()
    a, b = talk.calls["a"], talk.calls["b"]
    # When neither has sent a packet for some time: a second or two until it is mixed, one more until it counts as silent
    with talk.telephone.lock:
        a.up = b.up = False
    talk.rest(4.0)
    before = [call.packets for call in (a, b)]
    talk.rest(1.0)
    # Then each gets a few packets a second, which keep its way open
    got = [call.packets - count for call, count in zip((a, b), before, strict=True)]
    assert max(got) <= 25, got
    talk.until(lambda: min(a.packets - before[0], b.packets - before[1]) >= 10)
    # And what one says is heard, as speech that begins anew
    anew = a.began_anew
    with talk.telephone.lock:
        b.up = True
    talk.until(lambda: talk.hears("a", "b"))
    assert a.began_anew > anew
    # And who speaks gets silence all the time, as before
    packets = b.packets
    talk.until(lambda: b.packets >= packets + 50, 10.0)
    with talk.telephone.lock:
        a.up = True
    talk.passes()


def test_one_of_two_hangs_up_and_the_other_hears_no_more_of_it(talk):
    talk.passes()
    talk.telephone.hang_up(talk.calls["a"])
    talk.until(lambda: len(talk.reports(Ended)) == 1)
    talk.until(lambda: not talk.hears("b", "a"))
    talk.mixes()
