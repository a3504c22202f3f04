"""Real calls with sipp at the other end, which judges every message that it gets by its scenario."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cordboard.media.backend import (
    Answer,
    Answered,
    Cause,
    Connect,
    Dial,
    Disconnect,
    Ended,
    HangUp,
    Incoming,
    Key,
    Record,
    Recorded,
    Refused,
    Ring,
    Ringing,
)
from tests.recorded import RECIPIENT, channels
from tests.sip_peer import RATE, loudness, to_ulaw, tone
from tests.sipp import SIPP, Sipp, answerer, caller

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.pjsip.backend import PjsipMedia
from cordboard.bindings.settings import SipSettings, Trunk

pytestmark = pytest.mark.skipif(SIPP is None, reason="sipp is not installed (apt-get install sip-tester)")
TONE_HZ = 1000.0


class Bench:
    """A backend, the sipps that talk to it, and all reports so far."""

    def __init__(self, folder, **changes) -> None:
        self.folder, self.seen, self.sipps = folder, [], []
        self.backend = PjsipMedia(SipSettings(prompts=folder, recordings=folder, recipients=(RECIPIENT,), **{"legs_max": 256} | changes))

    def sipp(self, scenario: str, **options) -> Sipp:
        self.sipps.append(Sipp(self.folder, scenario, **options))
        return self.sipps[-1]

    def calls_us(self, scenario: str, **options) -> Sipp:
        return self.sipp(scenario, to=f"127.0.0.1:{self.backend.port}", **options)

    def until(self, kind, count: int = 1, seconds: float = 20.0):
        """The last of the first ``count`` reports of a kind."""
        while sum(isinstance(report, kind) for report in self.seen) < count:
            assert seconds > 0.0, self.seen[-5:]
            got = self.backend.reports(0.1)
            seconds -= 0.0 if got else 0.1
            self.seen += got
        return [report for report in self.seen if isinstance(report, kind)][count - 1]

    def rest(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.1)):
            self.seen += self.backend.reports(0.1)

    def ended(self) -> list[Ended]:
        return [report for report in self.seen if isinstance(report, Ended)]

    def close(self) -> None:
        self.backend.close()
        self.seen += self.backend.reports(0.0)
        for sipp in self.sipps:
            sipp.kill()
        names = [report.leg for report in self.ended()]
        assert len(names) == len(set(names)), "a leg ended twice"
        assert self.backend.legs() == frozenset()


@pytest.fixture
def make(tmp_path):
    made = []

    def start(**changes) -> Bench:
        made.append(Bench(tmp_path, **changes))
        return made[-1]

    yield start
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make):
    return make()


# ---- out


@pytest.mark.parametrize(
    ("status", "rings", "cause"),
    [
        ("486 Busy Here", True, Cause.BUSY),
        ("480 Temporarily Unavailable", True, Cause.NO_ANSWER),
        ("480 Temporarily Unavailable", False, Cause.UNREACHABLE),
        ("404 Not Found", False, Cause.INVALID),
        ("503 Service Unavailable", False, Cause.CONGESTION),
        ("603 Decline", True, Cause.REJECTED),
        ("403 Forbidden", False, Cause.FORBIDDEN),
        ("500 Server Error", False, Cause.FAILED),
    ],
)
def test_a_refusal_gives_its_cause_and_code(bench, status, rings, cause):
    peer = bench.sipp(answerer(status, rings=rings))
    bench.backend.send([Dial("d1", peer.address())])
    ended = bench.until(Ended)
    assert (ended.cause, ended.code) == (cause, int(status[:3]))
    assert any(isinstance(report, Ringing) for report in bench.seen) == rings
    peer.done()


def test_one_who_answers_and_hangs_up_ends_as_normal(bench):
    peer = bench.sipp(answerer(after_ms=100, hangs_up_ms=500))
    bench.backend.send([Dial("d1", peer.address(), caller="4001")])
    ended = bench.until(Ended)
    assert [type(report) for report in bench.seen] == [Ringing, Answered, Ended]
    assert ended.cause == Cause.NORMAL
    assert ended.quality.sent > 10 and ended.quality.lost == 0 and ended.quality.mos > 4.0
    peer.done()


@pytest.mark.parametrize("rings", [True, False])
def test_one_whose_audio_comes_before_the_answer_rings_early(bench, rings):
    bench.backend.send([Dial("d1", bench.sipp(answerer(rings=rings, early=True, after_ms=300)).address())])
    bench.until(Answered)
    assert bench.seen[-2:] == [Ringing("d1", early=True), Answered("d1")]
    bench.backend.send([HangUp("d1")])
    bench.until(Ended)


def test_one_whom_we_hang_up_gets_a_bye(bench):
    peer = bench.sipp(answerer())
    bench.backend.send([Dial("d1", peer.address())])
    bench.until(Answered)
    bench.backend.send([HangUp("d1")])
    assert bench.until(Ended).cause == Cause.NORMAL
    bench.rest(0.2)
    peer.done()


def test_a_call_that_is_given_up_is_cancelled_on_the_wire(bench):
    peer = bench.sipp(answerer(cancelled=True))
    bench.backend.send([Dial("d1", peer.address())])
    bench.until(Ringing)
    bench.backend.send([HangUp("d1")])
    assert bench.until(Ended).cause == Cause.CANCELLED
    bench.rest(0.3)
    peer.done()


def test_a_number_goes_to_its_trunk_with_caller_and_headers(make, tmp_path):
    wanted = '<recv request="INVITE"><action><ereg regexp="sip:13912345678@" search_in="msg" check_it="true" assign_to="a"/>'
    wanted += '<ereg regexp="sip:4001@" search_in="hdr" header="From:" check_it="true" assign_to="b"/>'
    wanted += '<ereg regexp="abc" search_in="hdr" header="X-Campaign:" check_it="true" assign_to="c"/>'
    wanted += '<log message="[$a][$b][$c]"/></action></recv>'
    peer = Sipp(tmp_path, answerer("486 Busy Here").replace('<recv request="INVITE"/>', wanted))
    bench = make(trunks=(Trunk("main", f"127.0.0.1:{peer.port}"),))
    bench.sipps.append(peer)
    bench.backend.send([Dial("d1", "13912345678", trunk="main", caller="4001", headers=(("X-Campaign", "abc"),))])
    assert bench.until(Ended).cause == Cause.BUSY
    peer.done()


@pytest.mark.slow  # 32 s: the time that SIP gives a request
def test_where_nobody_listens_is_unreachable(bench):
    bench.backend.send([Dial("d1", "sip:nobody@127.0.0.1:9")])
    ended = bench.until(Ended, seconds=40.0)
    assert (ended.cause, ended.code) == (Cause.UNREACHABLE, 0)


@pytest.mark.parametrize(
    "dial",
    [
        Dial("d1", "sip:a@192.0.2.1"),
        Dial("d1", "sip:a@127.0.0.1;maddr=192.0.2.1"),
        Dial("d1", "13800000001"),
        Dial("d1", "13800000001", trunk="none"),
        Dial("d1", "sip:a@127.0.0.1\r\nX: y"),
        Dial("d1", "sip:a@127.0.0.1", headers=(("X", "1\r\nY: 2"),)),
        Dial("d1", "sip:a@127.0.0.1", caller='"a" <sip:b@c>'),
    ],
)
def test_what_may_not_be_dialed_is_refused_and_ended(bench, dial):
    bench.backend.send([dial])
    assert [type(report) for report in bench.backend.reports(0.0)] == [Refused, Ended]


# ---- in


def test_a_call_comes_in_rings_is_answered_and_hung_up_by_the_caller(bench):
    peer = bench.calls_us(caller(rings=True, extra="Diversion: <sip:9000@127.0.0.1>\n"), more=("-s", "4001"))
    incoming = bench.until(Incoming)
    assert (incoming.to, incoming.caller, incoming.trunk) == ("4001", "13800000001", "")
    assert incoming.headers == (("Diversion", "<sip:9000@127.0.0.1>"),)
    bench.backend.send([Ring(incoming.leg), Answer(incoming.leg)])
    bench.until(Answered)
    assert bench.until(Ended).cause == Cause.NORMAL
    peer.done()


def test_a_caller_hears_before_the_answer_that_is_given_early(bench):
    scenario = caller().replace('<recv response="180" optional="true"/>', '<recv response="183"/>')
    peer = bench.calls_us(scenario)
    leg = bench.until(Incoming).leg
    bench.backend.send([Answer(leg, early=True)])
    bench.rest(0.3)
    assert not any(isinstance(report, Answered) for report in bench.seen)
    bench.backend.send([Answer(leg)])
    bench.until(Answered)
    bench.until(Ended)
    peer.done()


@pytest.mark.parametrize(("cause", "code"), [(Cause.BUSY, 486), (Cause.INVALID, 404), (Cause.CONGESTION, 503)])
def test_a_caller_who_is_refused_is_told_why(bench, cause, code):
    peer = bench.calls_us(caller(expects=code))
    bench.backend.send([HangUp(bench.until(Incoming).leg, cause)])
    assert bench.until(Ended).cause == cause
    bench.rest(0.2)
    peer.done()


def test_a_caller_who_gives_up_is_cancelled(bench):
    peer = bench.calls_us(caller(gives_up_ms=200))
    bench.backend.send([Ring(bench.until(Incoming).leg)])
    ended = bench.until(Ended)
    assert (ended.cause, ended.code) == (Cause.CANCELLED, 487)
    bench.rest(0.2)
    peer.done()


def test_keys_come_by_info_and_what_is_no_key_does_not(bench):
    peer = bench.calls_us(caller(infos="4R!é#", talks_ms=200))
    bench.backend.send([Answer(bench.until(Incoming).leg)])
    bench.until(Ended)
    assert [report.key for report in bench.seen if isinstance(report, Key)] == ["4", "#"]
    peer.done()


def test_strangers_are_turned_away_and_nobody_hears_of_them(make):
    bench = make(phones=("127.0.0.2",))
    peer = bench.calls_us(caller(expects=403))
    bench.rest(0.8)
    peer.done()
    assert bench.seen == [] and bench.backend.turned_away == 1


def test_a_trunk_is_known_by_its_address(make):
    bench = make(phones=(), trunks=(Trunk("main", "127.0.0.9:5060", sources=("127.0.0.1",)),))
    bench.calls_us(caller(expects=486))
    incoming = bench.until(Incoming)
    assert incoming.trunk == "main"
    bench.backend.send([HangUp(incoming.leg, Cause.BUSY)])
    bench.until(Ended)


# ---- audio


def test_audio_flows_between_two_who_are_connected_and_a_recording_has_one_a_channel(bench, tmp_path):
    (tmp_path / "tone.ulaw").write_bytes(to_ulaw(tone(TONE_HZ, 5 * RATE)))
    bench.calls_us(caller(talks_ms=-1, plays="tone.ulaw"))
    a = bench.until(Incoming).leg
    bench.backend.send([Answer(a), Dial("b", bench.sipp(answerer()).address())])  # b sends back what it gets
    bench.until(Answered, 2)
    bench.backend.send([Connect(a, "b"), Record("both", (a, "b"))])
    bench.rest(2.0)
    bench.backend.send([Disconnect(a, "b")])
    bench.rest(1.5)
    bench.backend.send([HangUp(a), HangUp("b")])
    recorded = bench.until(Recorded)
    first, second = channels(tmp_path / recorded.file)
    assert recorded.seconds == len(first) / RATE and 3.0 < recorded.seconds < 6.0
    assert loudness(first[RATE : 2 * RATE], TONE_HZ) > 2000.0
    assert loudness(second[RATE : 2 * RATE], TONE_HZ) > 2000.0  # from a through the bridge to b and back
    assert loudness(second[-RATE // 2 :], TONE_HZ) < 100.0  # and no more
    assert loudness(first[-RATE // 2 :], TONE_HZ) > 2000.0
    assert all(end.quality.received > 100 and end.quality.lost == 0 for end in bench.until(Ended, 2) and bench.ended())


# ---- many, and what goes wrong


def test_a_hundred_calls_each_way_are_accounted_for(bench):
    """Eight at a time each way: what a machine that is busy does late, nobody does twice as much of. A message that comes
    again since its answer was late is no reason for sipp to give up a call."""
    patient = ("-timeout", "240s", "-default_behaviors", "all,-abortunexp")
    peer = bench.sipp(answerer(after_ms=50, hangs_up_ms=200), calls=100, more=patient)
    bench.calls_us(caller(talks_ms=200), calls=100, rate=40, more=(*patient, "-l", "8"))
    end, dialed = time.monotonic() + 240.0, 0
    while len(bench.ended()) < 200 and time.monotonic() < end:
        under_way = sum(name.startswith("d") for name in bench.backend.legs())
        bench.backend.send([Dial(f"d{dialed + i}", peer.address(), caller="4001") for i in range(min(8 - under_way, 100 - dialed))])
        dialed = min(100, dialed + 8 - under_way)
        found = bench.backend.reports(0.1)
        bench.seen += found
        bench.backend.send([Answer(report.leg) for report in found if isinstance(report, Incoming)])
    assert len(bench.ended()) == 200
    assert {end.cause for end in bench.ended()} == {Cause.NORMAL}
    for sipp in bench.sipps:
        sipp.done()


def test_a_peer_that_is_killed_in_the_middle_is_unreachable(make):
    bench = make(silence_s=1.0)
    peer = bench.sipp(answerer())
    bench.backend.send([Dial("d1", peer.address())])
    bench.until(Answered)
    bench.rest(1.5)
    assert not bench.ended()
    peer.process.kill()
    assert bench.until(Ended).cause == Cause.UNREACHABLE


def test_legs_whose_end_was_lost_are_found(make):
    bench = make(events_max=16)
    peer = bench.sipp(answerer("486 Busy Here", rings=False), calls=60)
    bench.backend.send([Dial(f"d{i}", peer.address()) for i in range(60)])
    bench.until(Ended, 60)
    assert {end.leg for end in bench.ended()} == {f"d{i}" for i in range(60)}
    assert bench.backend._sip.overflowed > 0


@pytest.mark.slow  # 13 s of calls
def test_a_soak_of_calls_with_every_outcome_leaves_nothing_behind():
    command = [sys.executable, "-m", "benchmarks.soak_calls", "--quick"]
    here = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    found = subprocess.run(command, cwd=Path(__file__).parents[1], env=here, capture_output=True, text=True, timeout=200)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    assert "unexpected none" in found.stdout
