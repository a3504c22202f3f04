"""The flows of calls with Asterisk 22: both ways in every codec, encrypted, held, refreshed. Run by make interop."""

from __future__ import annotations

import time

import pytest

from cordboard.bindings.settings import Srtp, Tls, Trunk
from cordboard.live import certificates
from cordboard.media.backend import (
    Answer,
    Answered,
    Cause,
    Dial,
    Ended,
    HangUp,
    Incoming,
    Key,
    Play,
    Record,
    Recorded,
    Ringing,
    SendKeys,
)
from tests.interop.asterisk import CODECS, Asterisk
from tests.interop.flows import received, wait
from tests.interop.peers import Baresip
from tests.recorded import channels
from tests.sip_peer import RATE, loudness
from tests.sip_world import prompt
from tests.sipp import free_port
from tests.test_media_sipp import Bench, make  # noqa: F401  (a fixture)

OURS = {"ulaw": "PCMU", "alaw": "PCMA", "g722": "G722", "opus": "opus"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A folder with node.pem, node.key and ca.pem, for both sides."""
    folder = tmp_path_factory.mktemp("tls")
    made = certificates.make_authority("interop")
    (folder / "ca.pem").write_bytes(made.certificate)
    certificates.write_pair(folder, "node", certificates.make_server(made, ["127.0.0.1"]))
    return folder


@pytest.fixture(scope="module")
def asterisk(authority):
    one = Asterisk(tls=authority)
    yield one
    one.close()


def loud(bench: Bench, leg: str, hertz: float, seconds: float = 1.5) -> float:
    """How loud a tone comes from a leg, recorded for so long."""
    name = f"r{len(bench.seen)}"
    bench.backend.send([Record(name, (leg,))])
    bench.rest(seconds)
    bench.backend.send([HangUp(leg)])
    recorded = bench.until(Recorded)
    return loudness(channels(bench.folder / recorded.file)[0][RATE // 2 :], hertz)


@pytest.mark.parametrize("codec", CODECS)
def test_a_call_to_asterisk_carries_our_audio_there_and_back_in_every_codec(make, asterisk, tmp_path, codec):  # noqa: F811
    bench = make(phones=(), codecs=(OURS[codec],))
    prompt(tmp_path / "ours.wav", 900.0, 1.0)
    bench.backend.send([Dial("d1", f"sip:echo@127.0.0.1:{asterisk.port}", caller=codec)])
    bench.until(Answered)
    assert codec in asterisk.command("core show channels concise") + asterisk.command("pjsip show channelstats")
    bench.backend.send([Play("d1", ("ours",), loop=True)])
    assert loud(bench, "d1", 900.0) > 1000.0
    ended = bench.until(Ended)
    assert ended.cause is Cause.NORMAL and ended.quality.received > 50


@pytest.mark.parametrize("codec", CODECS)
def test_a_call_from_asterisk_is_answered_and_both_hear(make, asterisk, tmp_path, codec):  # noqa: F811
    bench = make(trunks=(Trunk("pbx", f"127.0.0.1:{asterisk.port}"),), phones=(), codecs=(OURS[codec],))
    prompt(tmp_path / "ours.wav", 900.0, 1.0)
    person = f"9{1000 + 50 * CODECS.index(codec)}"
    asterisk.calls(codec, f"sip:4001@127.0.0.1:{bench.backend.port}", person)
    incoming = bench.until(Incoming)
    assert (incoming.to, incoming.trunk) == ("4001", "pbx")
    bench.backend.send([Answer(incoming.leg)])
    bench.until(Answered)
    bench.backend.send([Play(incoming.leg, ("ours",), loop=True)])
    wait(bench, lambda: asterisk.hears(person, 900.0))
    assert loud(bench, incoming.leg, float(person[1:])) > 1000.0
    assert bench.until(Ended).cause is Cause.NORMAL


@pytest.mark.parametrize("keying", ["sdes", "dtls"])
@pytest.mark.parametrize("outward", [True, False])
def test_audio_with_asterisk_is_encrypted(make, asterisk, authority, keying, outward):  # noqa: F811
    tls = Tls(authority / "node.pem", authority / "node.key", authority / "ca.pem")
    port = {"port": None, "tls_port": 0, "tls": tls} if keying == "sdes" else {}
    bench = make(srtp=Srtp.MANDATORY, keying=(keying,), codecs=("PCMU",), **port)
    if outward:
        to = f"{asterisk.tls_port};transport=tls" if keying == "sdes" else f"{asterisk.port}"
        bench.backend.send([Dial("a", f"sip:91400@127.0.0.1:{to}", caller=keying)])
        leg = "a"
    else:
        to = f"{bench.backend.tls_port};transport=tls" if keying == "sdes" else f"{bench.backend.port}"
        asterisk.calls(keying, f"sip:4001@127.0.0.1:{to}", "91400")
        leg = bench.until(Incoming).leg
        bench.backend.send([Answer(leg)])
    bench.until(Answered)
    wait(bench, lambda: received(bench, leg) > 50)
    assert loud(bench, leg, 1400.0) > 1000.0
    assert bench.until(Ended).cause is Cause.NORMAL


def test_keys_go_to_asterisk_and_come_back_from_it(make, asterisk):  # noqa: F811
    bench = make(phones=())
    bench.backend.send([Dial("d1", f"sip:keys@127.0.0.1:{asterisk.port}", caller="ulaw")])
    bench.until(Answered)
    bench.rest(0.5)
    bench.backend.send([SendKeys("d1", "4829")])
    assert bench.until(Key, 4) and [one.key for one in bench.seen if isinstance(one, Key)] == ["4", "8", "2", "9"]
    bench.backend.send([HangUp("d1")])
    bench.until(Ended)


def test_what_asterisk_plays_before_it_answers_is_heard_early(make, asterisk):  # noqa: F811
    bench = make(phones=())
    bench.backend.send([Dial("d1", f"sip:early@127.0.0.1:{asterisk.port}", caller="ulaw")])
    wait(bench, lambda: Ringing("d1", early=True) in bench.seen)
    wait(bench, lambda: received(bench, "d1") > 20)
    assert not any(isinstance(one, Answered) for one in bench.seen)
    bench.until(Answered)
    bench.backend.send([HangUp("d1")])
    assert bench.until(Ended).cause is Cause.NORMAL


def test_what_asterisk_refuses_has_its_cause(make, asterisk):  # noqa: F811
    bench = make(phones=())
    bench.backend.send([Dial("d1", f"sip:busy@127.0.0.1:{asterisk.port}", caller="ulaw")])
    bench.backend.send([Dial("d2", f"sip:nobody@127.0.0.1:{asterisk.port}", caller="ulaw")])
    bench.until(Ended, 2)
    assert {one.leg: (one.cause, one.code) for one in bench.ended()} == {"d1": (Cause.BUSY, 486), "d2": (Cause.INVALID, 404)}


def test_a_transfer_that_asterisk_asks_for_is_refused_and_the_call_goes_on(make, asterisk):  # noqa: F811
    bench = make(phones=())
    bench.backend.send([Dial("d1", f"sip:refer@127.0.0.1:{asterisk.port}", caller="ulaw")])
    bench.until(Answered)
    wait(bench, lambda: "transfer FAILURE" in asterisk.said())
    assert loud(bench, "d1", 1300.0) > 1000.0 and not bench.ended()[:-1]
    assert bench.until(Ended).cause is Cause.NORMAL


@pytest.mark.parametrize("outward", [True, False])
def test_a_session_is_refreshed_in_time_and_lives_on(make, asterisk, outward):  # noqa: F811
    """Both sides agree on 90 s, the least that there is; half of it later comes the refresh."""
    bench = make(session_s=90)
    asterisk.command("pjsip set logger on")
    if outward:
        bench.backend.send([Dial("a", f"sip:echo@127.0.0.1:{asterisk.port}", caller="timers")])
        leg = "a"
    else:
        asterisk.calls("timers", f"sip:4001@127.0.0.1:{bench.backend.port}", "echo")
        leg = bench.until(Incoming).leg
        bench.backend.send([Answer(leg)])
    bench.until(Answered)
    before = asterisk.said().count("Session-Expires: 90")
    assert before >= 2  # one asked, the other agreed
    end = time.monotonic() + 60.0
    while asterisk.said().count("Session-Expires: 90") < before + 2:
        assert time.monotonic() < end and not bench.ended()
        bench.rest(1.0)
    asterisk.command("pjsip set logger off")
    wait(bench, lambda: received(bench, leg) > 50)
    bench.backend.send([HangUp(leg)])
    assert bench.until(Ended).cause is Cause.NORMAL


def test_a_phone_behind_asterisk_holds_and_comes_back(make, asterisk, tmp_path):  # noqa: F811
    # Given baresip, whose calls Asterisk passes on to us
    bench = make(trunks=(Trunk("pbx", f"127.0.0.1:{asterisk.port}"),), phones=())
    folder = tmp_path / "baresip"
    folder.mkdir()
    phone = Baresip(folder, f"<sip:baresip@127.0.0.1:{asterisk.port}>;regint=0;answermode=auto", free_port(), free_port())
    try:
        bench.rest(1.0)
        phone.do("dial", f"sip:{bench.backend.port}4001@127.0.0.1:{asterisk.port}")
        leg = bench.until(Incoming).leg
        bench.backend.send([Answer(leg)])
        bench.until(Answered)
        wait(bench, lambda: received(bench, leg) > 20)
        # When it holds, then nothing comes; when it goes on, then audio does
        phone.do("hold")
        bench.rest(1.5)
        held = received(bench, leg)
        bench.rest(1.0)
        assert received(bench, leg) - held <= 5 and not bench.ended()
        phone.do("resume")
        wait(bench, lambda: received(bench, leg) - held > 50)
        phone.do("hangup")
        assert bench.until(Ended).cause is Cause.NORMAL
    finally:
        phone.close()
