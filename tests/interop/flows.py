"""The flows of calls with peers that no one here wrote: baresip, Kamailio, sipp. Run by make interop."""

from __future__ import annotations

import hashlib
import time

import pytest

from cordboard.bindings.settings import Phones, Srtp, Tls, Trunk
from cordboard.live import certificates
from cordboard.media.backend import Answer, Answered, Cause, Connect, Dial, Ended, HangUp, Incoming, Key
from tests.interop.peers import Baresip, Kamailio
from tests.sipp import Sipp, answerer, caller, free_port
from tests.test_media_sipp import Bench, make  # noqa: F401  (a fixture)

PHONES = Phones("calls", (("li", hashlib.md5(b"li:calls:secret").hexdigest()),), expires_min=1)


def wait(bench: Bench, found, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        bench.rest(0.1)


def received(bench: Bench, leg: str) -> int:
    one = bench.backend._legs[leg]
    return bench.backend._sip.received(one.call, one.number)


@pytest.fixture
def phone(tmp_path):
    """A baresip that registers as li."""
    made = []

    def start(bench: Bench, transport: str = "udp", more: str = "", tls: str = "") -> Baresip:
        port = bench.backend.port if transport == "udp" else bench.backend.tls_port
        account = f"<sip:li@127.0.0.1:{port};transport={transport}>;auth_user=li;auth_pass=secret;regint=60;answermode=auto{more}"
        folder = tmp_path / "baresip"
        folder.mkdir()
        made.append(Baresip(folder, account, free_port(), free_port(), tls))
        wait(bench, lambda: bench.backend._ways.registrar.contact("li", time.monotonic()))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_baresip_registers_as_an_agents_phone_is_dialed_and_both_hear(make, phone):  # noqa: F811
    bench = make(registrar=PHONES, phones=())
    phone(bench)
    bench.backend.send([Dial("d1", "agent:li", caller="4001")])
    bench.until(Answered)
    wait(bench, lambda: received(bench, "d1") > 50)
    bench.backend.send([HangUp("d1")])
    assert bench.until(Ended).cause is Cause.NORMAL


@pytest.mark.parametrize("media", ["srtp-mand", "dtls_srtp"])
def test_baresip_by_tls_with_encrypted_audio(make, phone, tmp_path, media):  # noqa: F811
    authority = certificates.make_authority("interop")
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    pair = certificates.make_server(authority, ["127.0.0.1"])
    certificates.write_pair(tmp_path, "node", pair)
    both = tmp_path / "phone.pem"
    both.write_bytes(pair.certificate + pair.key)
    tls = Tls(tmp_path / "node.pem", tmp_path / "node.key", tmp_path / "ca.pem")
    keying = ("sdes",) if media == "srtp-mand" else ("dtls",)
    bench = make(port=None, tls_port=0, tls=tls, srtp=Srtp.MANDATORY, keying=keying, registrar=PHONES, phones=())
    files = f"sip_certificate {both}\nsip_cafile {tmp_path}/ca.pem\n"
    phone(bench, "tls", f";mediaenc={media}", files)
    bench.backend.send([Dial("d1", "agent:li")])
    bench.until(Answered)
    wait(bench, lambda: received(bench, "d1") > 50)
    bench.backend.send([HangUp("d1")])
    assert bench.until(Ended).cause is Cause.NORMAL


def test_baresip_calls_presses_keys_holds_and_comes_back(make, phone):  # noqa: F811
    bench = make(registrar=PHONES, phones=())
    one = phone(bench)
    one.do("dial", f"sip:4001@127.0.0.1:{bench.backend.port}")
    incoming = bench.until(Incoming)
    assert (incoming.to, incoming.caller) == ("4001", "li")
    bench.backend.send([Answer(incoming.leg)])
    bench.until(Answered)
    wait(bench, lambda: received(bench, incoming.leg) > 20)
    one.do("sndcode", "5")
    assert bench.until(Key).key == "5"
    # When it holds, then nothing comes; when it goes on, then audio does
    one.do("hold")
    bench.rest(1.0)
    held = received(bench, incoming.leg)
    bench.rest(1.0)
    assert received(bench, incoming.leg) - held <= 5 and not bench.ended()
    one.do("resume")
    wait(bench, lambda: received(bench, incoming.leg) > 20)
    one.do("hangup")
    assert bench.until(Ended).cause is Cause.NORMAL


def test_a_transfer_by_the_phone_is_refused_and_nobody_is_called(make, phone):  # noqa: F811
    # Given a call with baresip, and somebody whom it would like us to call
    bench = make(registrar=PHONES, phones=())
    one = phone(bench)
    target = bench.sipp(answerer())
    bench.backend.send([Dial("d1", "agent:li")])
    bench.until(Answered)
    wait(bench, lambda: received(bench, "d1") > 20)
    # When it sends REFER, then nobody is called; baresip itself hangs up after the refusal
    one.do("transfer", target.address())
    assert bench.until(Ended).cause is Cause.NORMAL
    bench.rest(1.0)
    assert "403" in one.log.read_text() and target.process.poll() is None  # it waits for its first call still


@pytest.fixture
def edge(make, tmp_path):  # noqa: F811
    """A node whose trunk is a Kamailio, behind which is a port of a peer."""
    made = []

    def start() -> tuple[Bench, int, int]:
        port, node, peer = free_port(), free_port(), free_port()
        made.append(Kamailio(tmp_path, port, node, peer))
        return make(port=node, phones=(), trunks=(Trunk("edge", f"127.0.0.1:{port}"),)), port, peer

    yield start
    for one in made:
        one.close()


def test_a_call_comes_in_through_kamailio_and_one_goes_out_through_it(edge, tmp_path):
    bench, port, peer = edge()
    extra = "P-Asserted-Identity: <sip:+861013800000001@carrier>\nDiversion: <sip:9000@carrier>;reason=no-answer\n"
    calls = bench.sipp(caller(talks_ms=-1, extra=extra), to=f"127.0.0.1:{port}", more=("-s", "4001"))
    incoming = bench.until(Incoming)
    assert (incoming.to, incoming.trunk) == ("4001", "edge")
    assert dict(incoming.headers)["Diversion"] == "<sip:9000@carrier>;reason=no-answer"
    bench.backend.send([Answer(incoming.leg)])
    bench.until(Answered)
    answers = Sipp(tmp_path, answerer(), port=peer)
    bench.sipps.append(answers)
    bench.backend.send([Dial("d1", "13912345678", trunk="edge", caller="4001")])
    bench.until(Answered, 2)
    bench.backend.send([Connect(incoming.leg, "d1"), Connect("d1", incoming.leg)])
    wait(bench, lambda: received(bench, "d1") > 20)
    bench.backend.send([HangUp("d1"), HangUp(incoming.leg)])
    bench.until(Ended, 2)
    assert {end.cause for end in bench.ended()} == {Cause.NORMAL}
    bench.rest(0.3)
    calls.done()
    answers.done()
