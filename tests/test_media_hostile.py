"""Peers that are broken, rude or hostile, against a media layer that runs: no crash, no leak, every leg accounted for."""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import time

import pytest

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.media.simulated import FarEnd
from tests.bare_node import BareNode
from tests.fuzz.sip import SDP, Stranger, judged, let_loose, mutate, tortured
from tests.sip_peer import Telephone, to_ulaw, tone

PATIENCE_S = 20.0
GROWTH_KB = 8_192  # transactions of SIP live 32 s


@pytest.fixture
def start(tmp_path):
    made = []

    def one(**options) -> BareNode:
        made.append(BareNode(tmp_path, **options))
        return made[-1]

    yield one
    for node in made:
        node.kill()


@pytest.fixture
def node(start):
    return start()


@pytest.fixture
def telephone():
    made = Telephone()
    yield made
    made.close()


def until(found, seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def growth_kb(before: dict, after: dict) -> int:
    """Of memory; not where a sanitizer keeps what is freed."""
    found: int = after["memory_kb"] - before["memory_kb"]
    return 0 if "asan" in os.environ.get("LD_PRELOAD", "") else found


def idle(node: BareNode) -> dict:
    """The state once no leg is left and what it took is given back."""
    until(lambda: node.state()["legs"] == 0)
    time.sleep(0.5)
    return node.state()


# ---- messages


def test_messages_with_the_defects_of_rfc_4475_are_answered_or_refused_as_they_deserve(node):
    found = list(tortured(node.port))
    assert [(name, expected, status) for name, expected, status in found if not judged(status, expected)] == []
    assert len(found) > 40 and node.close()["reports"].get("Answered", 0) == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_mutants_of_messages_leave_the_node_alive_and_take_nothing(start, seed):
    node = start(requests_per_s=1e6)
    let_loose(node, seed=100 + seed, messages=300)
    before = node.state()
    let_loose(node, seed=seed, messages=2000)
    after = node.state()
    assert after["threads"] == before["threads"] and growth_kb(before, after) < 60_000
    node.close()


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER"])
def test_a_flood_of_strangers_is_answered_a_few_times_and_told_of_once(start, method):
    node = start(phones=("127.0.0.1",))
    flooding, known = Stranger(node.port, "127.0.0.5"), Stranger(node.port)
    before = node.state()
    for _ in range(5_000):
        flooding.say(flooding.message(method, body=SDP if method == "INVITE" else ""))
    assert known.lives()  # in the middle of it
    flooding.socket.settimeout(0.3)
    answers = []
    while True:
        try:
            answers.append(flooding.socket.recv(4096)[8:11])
        except TimeoutError:
            break
    after = node.state()
    assert set(answers) == {b"403"} and len(answers) < 100
    assert after["refused"] > 1_000 and after["reports"] == {} and after["legs"] == 0
    assert growth_kb(before, after) < 2_000
    node.close()
    assert node.log.read_text().count("127.0.0.5") == 1


def test_strangers_with_many_addresses_take_no_more_memory_than_a_few(start):
    node = start(phones=("127.0.0.1",))
    before = node.state()
    for i in range(3_000):
        one = Stranger(node.port, f"127.1.{i // 250}.{1 + i % 250}")
        one.say(one.message("INVITE", body=SDP))
        one.close()
    after = node.state()
    assert after["refused"] > 1_000 and growth_kb(before, after) < 2_000
    node.close()
    assert len(node.log.read_text().splitlines()) <= 61


def test_a_known_source_that_floods_is_told_to_wait_and_another_one_is_served(start):
    node = start(requests_per_s=20.0)
    flooding, other = Stranger(node.port, "127.0.0.5"), Stranger(node.port)
    status = [flooding.ask(flooding.message()) for _ in range(200)]
    assert status[0] == 200 and status.count(503) > 50
    assert other.lives()
    node.close()
    assert node.log.read_text().count("127.0.0.5") == 1


def test_a_stranger_can_not_touch_a_call_of_others(start, telephone):
    node = start(phones=("127.0.0.1",))
    caller = telephone.call(node.port, "4001", FarEnd())
    until(lambda: caller.up)
    stranger = Stranger(node.port, "127.0.0.5")
    tag = re.search(r";tag=([^;>\s]*)", caller.remote).group(1)
    for method in ("BYE", "INVITE", "INFO", "CANCEL"):  # who knows all but the tag of our side
        text = stranger.message(method, Call_ID=caller.call_id, From=caller.local, To=f"<sip:4001@127.0.0.1>;tag={tag}x", cseq=f"9 {method}")
        assert stranger.ask(text, 0.3) in (0, 403, 481)
    time.sleep(0.3)
    assert not caller.over and node.state()["legs"] == 1
    telephone.hang_up(caller)
    idle(node)
    node.close()


# ---- calls


def test_audio_of_strangers_is_not_heard(node, telephone):
    # Given two who talk
    one, other = (telephone.call(node.port, "4001", FarEnd()) for _ in range(2))
    until(lambda: telephone.hears(one, other.hertz) and telephone.hears(other, one.hertz))
    # When a stranger sends louder audio to the port of one, and half of it as that one's own stream
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.5", 0))
        for i in range(100):
            sound = to_ulaw(tone(3200.0, 160, i * 160, 12_000.0))
            stranger.sendto(struct.pack("!BBHII", 0x80, 0, one.sent + i & 0xFFFF, i * 160, (4242, 77)[i % 2]) + sound, one.media)
            time.sleep(0.01)
            assert not telephone.hears(other, 3200.0)
    # Then nothing has changed
    until(lambda: telephone.hears(one, other.hertz) and telephone.hears(other, one.hertz))
    for call in (one, other):
        telephone.hang_up(call)
    idle(node)
    node.close()


@pytest.mark.parametrize(
    "junk",
    [b"", b"\x80", bytes(12), b"\x80\x00" + bytes(10), bytes(1400), b"\x80\x65" + bytes(10) + b"\xff", b"\xbf\xff" * 30, b"\x80\x00" + bytes(60_000), b"\x90\x00" + bytes(10) + b"\xff" * 8],
    ids=["nothing", "a byte", "version 0", "no sound", "zeros", "half a key", "extensions", "oversized", "a long extension"],
)
def test_audio_that_is_none_does_no_harm(node, telephone, junk):
    one, other = (telephone.call(node.port, "4001", FarEnd()) for _ in range(2))
    until(lambda: telephone.hears(one, other.hertz))
    for _ in range(20):
        one.rtp.sendto(junk, one.media)
        one.rtp.sendto(junk, (one.media[0], one.media[1] + 1))  # RTCP
        time.sleep(0.005)
    until(lambda: telephone.hears(one, other.hertz) and telephone.hears(other, one.hertz))
    for call in (one, other):
        telephone.hang_up(call)
    idle(node)
    node.close()


def answered(peer: Stranger, **options) -> None:
    assert peer.ask(peer.message("INVITE", to="4001", body=SDP, **options), PATIENCE_S) == 200


def test_one_who_says_bye_twice_and_never_acknowledges_ends_once(node):
    peer = Stranger(node.port)
    answered(peer)
    bye = peer.follow_up("BYE")
    assert peer.ask(bye) == 200
    assert peer.ask(bye) == 200  # the same again
    assert peer.ask(peer.follow_up("BYE")) in (0, 481, 200)
    after = idle(node)
    assert after["reports"]["Ended"] == 1
    node.close()


def test_calls_whose_offers_never_end_are_bounded(node):
    peer = Stranger(node.port)
    answered(peer)
    peer.say(peer.follow_up("ACK"))
    before, status = node.state(), []
    for i in range(60):  # each time with another codec, held or not
        body = SDP.replace("RTP/AVP 0 8", ("RTP/AVP 8", "RTP/AVP 9", "RTP/AVP 0")[i % 3]).replace("sendrecv", ("sendrecv", "sendonly")[i % 2])
        text = peer.follow_up("INVITE").replace("Content-Length: 0\r\n\r\n", f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        text = re.sub(r"CSeq: \d+", f"CSeq: {10 + i}", text)
        status.append(peer.ask(text, 2.0))
        if status[-1] == 200:
            peer.say(peer.follow_up("ACK"))
    assert status.count(200) == 60
    after = node.state()
    assert after["descriptors"] <= before["descriptors"] + 2 and after["threads"] == before["threads"]
    assert growth_kb(before, after) < GROWTH_KB
    assert peer.ask(re.sub(r"CSeq: \d+", "CSeq: 99", peer.follow_up("BYE")), 2.0) == 200
    assert idle(node)["reports"]["Ended"] == 1
    node.close()


class Answerer:
    """Takes what we dial, and answers as badly as a test wants."""

    def __init__(self, node: BareNode) -> None:
        self.peer = Stranger(node.port)
        node.dial(f"sip:x@127.0.0.1:{self.peer.port}")
        self.peer.socket.settimeout(PATIENCE_S)
        self.invite = self.peer.socket.recv(65536).decode()

    def answer(self, status: str, tag: str = "a", body: str = "") -> None:
        kept = "".join(f"{line}\r\n" for line in self.invite.split("\r\n") if line.startswith(("Via", "From", "Call-ID", "CSeq")))
        to = re.search(r"^To:.*$", self.invite, re.M).group(0).strip()
        text = f"SIP/2.0 {status}\r\n{kept}{to};tag={tag}\r\nContact: <sip:x@127.0.0.1:{self.peer.port}>\r\n"
        self.peer.say(f"{text}{'Content-Type: application/sdp' + chr(13) + chr(10) if body else ''}Content-Length: {len(body)}\r\n\r\n{body}")


def test_one_who_answers_twice_differently_has_one_leg(node):
    answerer = Answerer(node)
    for tag in ("a", "b"):  # a fork: two who answer the same call
        answerer.answer("180 Ringing", tag)
    answerer.answer("200 OK", "a", SDP)
    answerer.answer("200 OK", "b", SDP)
    answerer.answer("200 OK", "a", SDP)
    answerer.answer("486 Busy Here", "b")
    until(lambda: node.state()["reports"].get("Answered") == 1)
    time.sleep(0.5)
    assert node.state()["legs"] == 1
    assert node.close()["reports"]["Ended"] == 1


@pytest.mark.parametrize("body", ["", "v=0\r\n", SDP.replace("127.0.0.1", "300.1.1.1"), SDP.replace("RTP/AVP 0 8 101", "RTP/AVP 96"), SDP.replace("m=audio 9", "m=audio 0")])
def test_one_who_answers_without_a_session_that_fits_is_accounted_for(node, body):
    answerer = Answerer(node)
    answerer.answer("200 OK", body=body)
    until(lambda: node.state()["reports"].get("Ended") == 1 or node.state()["legs"] == 1)
    assert node.close()["reports"]["Ended"] == 1


def test_one_who_rings_and_says_no_more_is_cancelled_and_one_who_vanishes_is_over(start, telephone):
    node = start(silence=1.0)
    answerer = Answerer(node)
    answerer.answer("180 Ringing")
    far = telephone.call(node.port, "4001", FarEnd())
    until(lambda: far.up)
    time.sleep(1.0)
    telephone.vanish(far)
    until(lambda: node.state()["causes"].get("unreachable") == 1)
    until(lambda: node.state()["legs"] == 1)
    assert node.close()["causes"]["cancelled"] == 1


def test_many_short_calls_leave_nothing_behind(node):
    peer = Stranger(node.port)

    def calls(count: int) -> None:
        for _ in range(count):
            answered(peer)
            peer.say(peer.follow_up("ACK"))
            assert peer.ask(peer.follow_up("BYE"), 5.0) == 200

    calls(100)
    before = idle(node)
    calls(200)
    after = idle(node)  # memory is the soak's matter: transactions of SIP live 32 s (benchmarks/soak_calls.py)
    assert after["descriptors"] <= before["descriptors"] and after["threads"] <= before["threads"]
    assert node.close()["reports"]["Ended"] == 300


def test_calls_of_a_known_source_beyond_what_the_node_holds_are_refused_and_all_end(start):
    node = start(legs=8)
    flooding, known = Stranger(node.port), Stranger(node.port, "127.0.0.6")
    for _ in range(300):  # nobody acknowledges anything
        flooding.say(flooding.message("INVITE", to="4001", body=SDP))
    assert known.lives()
    until(lambda: node.state()["reports"].get("Incoming", 0) >= 8)
    state = node.state()
    assert state["legs"] <= 8 and state["reports"]["Incoming"] < 300
    ended = node.close()
    assert ended["reports"]["Ended"] == ended["reports"]["Incoming"]


def test_answers_whose_sessions_are_mangled_leave_the_node_alive_and_every_leg_accounted_for(node):
    source = random.Random(7)
    for _ in range(40):
        answerer = Answerer(node)
        answerer.answer("183 Session Progress", body=mutate(source, SDP).encode("utf-8", "replace").decode())
        answerer.answer("200 OK", body=mutate(source, SDP).encode("utf-8", "replace").decode())
        answerer.peer.close()
    assert Stranger(node.port).lives()
    assert node.close()["dialed"] == 40
