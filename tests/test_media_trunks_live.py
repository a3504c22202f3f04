"""Trunks over real SIP: destinations that fail, limits, registration, passwords, TLS, SRTP, audio of strangers."""

from __future__ import annotations

import re
import socket
import struct
import time

import pytest

from cordboard.media.backend import Answer, Answered, Cause, Connect, Dial, Ended, HangUp, Incoming, Ringing
from cordboard.media.simulated import FarEnd
from tests.sip_peer import Telephone
from tests.sipp import SIPP, Sipp, answerer, caller

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.settings import Destination, Login, Srtp, Tls, Transport, Trunk
from cordboard.live import certificates
from tests.sip_node import Node
from tests.test_media_sipp import Bench, make  # noqa: F401  (a fixture)

pytestmark = pytest.mark.skipif(SIPP is None, reason="sipp is not installed (apt-get install sip-tester)")
CHALLENGED = """<recv request="{method}"/>
<send><![CDATA[

SIP/2.0 401 Unauthorized
[last_Via:]
[last_From:]
[last_To:];tag=[pid]challenge
[last_Call-ID:]
[last_CSeq:]
WWW-Authenticate: Digest realm="acme", nonce="abcdef", algorithm=MD5, qop="auth"
Content-Length: 0

]]></send>
"""


def to(*ports: int, **more) -> Trunk:
    """A trunk to peers on these ports, the first one first."""
    return Trunk("main", tuple(Destination(f"127.0.0.1:{port}", i + 1) for i, port in enumerate(ports)), **more)


def dial(bench: Bench, leg: str = "d1") -> None:
    bench.backend.send([Dial(leg, "13912345678", trunk="main", caller="4001")])


# ---- failover


@pytest.mark.parametrize("status", ["503 Service Unavailable", "500 Server Error"])
def test_a_call_goes_on_to_the_next_destination_as_the_same_leg(make, tmp_path, status):  # noqa: F811
    broken = Sipp(tmp_path, answerer(status, rings=False))
    good = Sipp(tmp_path, answerer(hangs_up_ms=300))
    bench = make(trunks=(to(broken.port, good.port),))
    bench.sipps += [broken, good]
    dial(bench)
    assert bench.until(Ended).cause is Cause.NORMAL
    assert [type(report) for report in bench.seen] == [Ringing, Answered, Ended]
    broken.done()
    good.done()


def test_a_destination_that_says_nothing_is_given_up_and_rests(make, tmp_path):  # noqa: F811
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        good = Sipp(tmp_path, answerer(hangs_up_ms=200), calls=2)
        bench = make(trunks=(to(silent.getsockname()[1], good.port, patience_s=0.5),))
        bench.sipps.append(good)
        for leg in ("d1", "d2"):
            dial(bench, leg)
            assert bench.until(Ended, 1 + (leg == "d2")).cause is Cause.NORMAL
        good.done()
        silent.setblocking(False)
        calls = set()
        while True:
            try:
                calls |= set(re.findall(rb"Call-ID: (\S+)", silent.recv(4096)))
            except BlockingIOError:
                break
        assert len(calls) == 1  # it rested when the second was dialed


def test_when_all_destinations_are_silent_the_leg_is_unreachable(make):  # noqa: F811
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        bench = make(trunks=(to(silent.getsockname()[1], patience_s=0.5),))
        dial(bench)
        assert bench.until(Ended) == Ended("d1", Cause.UNREACHABLE)


def test_one_who_is_busy_is_not_called_by_another_way(make, tmp_path):  # noqa: F811
    busy, good = Sipp(tmp_path, answerer("486 Busy Here", rings=False)), Sipp(tmp_path, answerer())
    bench = make(trunks=(to(busy.port, good.port),))
    bench.sipps += [busy, good]
    dial(bench)
    ended = bench.until(Ended)
    assert (ended.cause, ended.code) == (Cause.BUSY, 486)


def test_a_call_that_is_given_up_between_two_destinations_ends_once(make, tmp_path):  # noqa: F811
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        ringing = Sipp(tmp_path, answerer(cancelled=True))
        bench = make(trunks=(to(silent.getsockname()[1], ringing.port, patience_s=0.5),))
        bench.sipps.append(ringing)
        dial(bench)
        bench.until(Ringing)
        bench.backend.send([HangUp("d1")])
        assert bench.until(Ended).cause is Cause.CANCELLED
        bench.rest(0.3)
        ringing.done()


def test_a_ping_that_is_not_answered_lets_a_destination_rest_before_any_call(make):  # noqa: F811
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        port = dead.getsockname()[1]
        bench = make(trunks=(to(port, ping_s=60.0),))
        bench.rest(0.2)
        assert dead.recv(4096).startswith(b"OPTIONS sip:")
        for _ in range(200):
            if bench.backend._ways.trunks.rests("main", f"127.0.0.1:{port}", time.monotonic()):
                return
            bench.rest(0.1)
        raise AssertionError("it does not rest")


# ---- limits


def test_no_more_lines_and_no_more_calls_a_second_than_may_be(make, tmp_path):  # noqa: F811
    peer = Sipp(tmp_path, answerer(), calls=2)
    bench = make(trunks=(to(peer.port, lines=2, calls_per_second=3.0),))
    bench.sipps.append(peer)
    for i in range(3):
        dial(bench, f"d{i}")
    assert bench.until(Ended) == Ended("d2", Cause.CONGESTION)
    bench.until(Answered, 2)
    # When a line is free again, calls can be made; but only one is left of this second
    bench.calls_us(caller(expects=503))
    bench.rest(0.5)
    assert not any(isinstance(report, Incoming) for report in bench.seen)
    bench.backend.send([HangUp("d0"), HangUp("d1")])
    bench.until(Ended, 3)
    assert bench.backend._ways.trunks.lines("main") == 0


# ---- who we are


def test_a_password_is_shown_to_whom_asks_for_it(make, tmp_path):  # noqa: F811
    asks = answerer("486 Busy Here", rings=False)
    check = '<recv request="ACK"/>\n<recv request="INVITE"><action><ereg regexp="username=.acme." search_in="hdr" '
    check += 'header="Authorization:" check_it="true" assign_to="a"/><log message="[$a]"/></action></recv>\n'
    peer = Sipp(tmp_path, asks.replace('<recv request="INVITE"/>', CHALLENGED.format(method="INVITE") + check))
    bench = make(trunks=(to(peer.port, login=Login("acme", "secret")),))
    bench.sipps.append(peer)
    dial(bench)
    assert bench.until(Ended).cause is Cause.BUSY
    peer.done()


def test_without_a_password_the_call_is_forbidden(make, tmp_path):  # noqa: F811
    peer = Sipp(tmp_path, answerer("407 Proxy Authentication Required", rings=False))
    bench = make(trunks=(to(peer.port),))
    bench.sipps.append(peer)
    dial(bench)
    assert bench.until(Ended).cause is Cause.FORBIDDEN


def test_a_trunk_registers_with_its_password(make, tmp_path):  # noqa: F811
    check = '<recv request="REGISTER"><action><ereg regexp="username=.acme.*response=" search_in="hdr" '
    check += 'header="Authorization:" check_it="true" assign_to="a"/><log message="[$a]"/></action></recv>\n'
    good = """<send><![CDATA[

SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]registered
[last_Call-ID:]
[last_CSeq:]
[last_Contact:];expires=60
Content-Length: 0

]]></send>
"""
    scenario = '<scenario name="registrar">\n' + CHALLENGED.format(method="REGISTER") + check + good + "</scenario>\n"
    peer = Sipp(tmp_path, '<?xml version="1.0" encoding="UTF-8"?>\n' + scenario)
    host = f"127.0.0.1:{peer.port}"
    bench = make(trunks=(Trunk("main", host, login=Login("acme", "secret", registrar=host)),))
    bench.sipps.append(peer)
    for _ in range(100):
        if bench.backend._ways.registered:
            break
        bench.rest(0.1)
    assert bench.backend._ways.registered == {"main": True}
    peer.done()


# ---- headers, session timers

SAID = (
    ("P-Asserted-Identity", "<sip:+861013800000001@carrier>"),
    ("Diversion", "<sip:9000@carrier>;reason=no-answer"),
    ("Identity", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln;info=<https://carrier/cert>;alg=ES256;ppt=shaken"),
)


def test_headers_of_identity_go_out(make, tmp_path):  # noqa: F811
    checks = ""
    for i, (name, value) in enumerate(SAID):
        start = value.split(";")[0].replace("+", ".").replace("<", "&lt;").replace(">", "&gt;")
        checks += f'<ereg regexp="{name}: *{start}" search_in="msg" check_it="true" assign_to="h{i}"/>'
    wanted = f'<recv request="INVITE"><action>{checks}<log message="[$h0][$h1][$h2]"/></action></recv>'
    peer = Sipp(tmp_path, answerer("486 Busy Here").replace('<recv request="INVITE"/>', wanted))
    bench = make(trunks=(to(peer.port),))
    bench.sipps.append(peer)
    bench.backend.send([Dial("d1", "139", trunk="main", headers=SAID)])
    assert bench.until(Ended).cause is Cause.BUSY
    peer.done()


def test_headers_of_identity_come_in(make):  # noqa: F811
    bench = make()
    bench.calls_us(caller(expects=486, extra="".join(f"{name}: {value}\n" for name, value in SAID)))
    incoming = bench.until(Incoming)
    assert dict(incoming.headers) == dict(SAID)
    bench.backend.send([HangUp(incoming.leg, Cause.BUSY)])
    bench.until(Ended)


def test_a_session_is_refreshed_by_whom_the_caller_asks_for(make):  # noqa: F811
    bench = make()
    asked = caller(extra="Supported: timer\nSession-Expires: 90;refresher=uac\n")
    check = '<recv response="200"><action><ereg regexp="90;refresher=uac" search_in="hdr" header="Session-Expires:" '
    check += 'check_it="true" assign_to="a"/><log message="[$a]"/></action></recv>'
    peer = bench.calls_us(asked.replace('<recv response="200"/>', check, 1))
    bench.backend.send([Answer(bench.until(Incoming).leg)])
    assert bench.until(Ended).cause is Cause.NORMAL
    peer.done()


def test_a_session_that_is_to_be_refreshed_too_often_is_refused(make):  # noqa: F811
    bench = make()
    peer = bench.calls_us(caller(expects=422, extra="Supported: timer\nSession-Expires: 20\n"))
    bench.rest(0.8)
    peer.done()


# ---- transports, encryption


def test_a_trunk_by_tcp(make, tmp_path):  # noqa: F811
    peer = Sipp(tmp_path, answerer(hangs_up_ms=300), more=("-t", "t1"))
    bench = make(tcp_port=0, trunks=(to(peer.port, transport=Transport.TCP),))
    bench.sipps.append(peer)
    dial(bench)
    assert bench.until(Ended).cause is Cause.NORMAL
    peer.done()


def test_a_call_comes_in_by_tcp(make):  # noqa: F811
    bench = make(tcp_port=0)
    peer = bench.sipp(caller(), to=f"127.0.0.1:{bench.backend.tcp_port}", more=("-t", "t1"))
    bench.backend.send([Answer(bench.until(Incoming).leg)])
    assert bench.until(Ended).cause is Cause.NORMAL
    peer.done()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Certificates of an authority, and of another one."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("good", "other"):
        authority = certificates.make_authority(name)
        (folder / f"{name}.ca").write_bytes(authority.certificate)
        certificates.write_pair(folder, name, certificates.make_server(authority, ["127.0.0.1"]))
    return folder


@pytest.fixture
def node(tmp_path):
    """Starts the other node, by a file of settings."""
    made = []

    def start(text: str, **options) -> Node:
        folder = tmp_path / "other"
        folder.mkdir()
        (folder / "node.toml").write_text(text)
        made.append(Node(folder / "node.toml", folder, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


def tls_node(keys, name: str = "good", srtp: str = "mandatory", more: str = "") -> str:
    files = f'certificate = "{keys}/{name}.pem"\nkey = "{keys}/{name}.key"\nauthority = "{keys}/good.ca"'
    return f'[sip]\nudp = 0\ntcp = 0\ntls = 0\n[tls]\n{files}\n[audio]\nsrtp = "{srtp}"\n{more}'


def our_tls(keys) -> Tls:
    return Tls(keys / "good.pem", keys / "good.key", keys / "good.ca")


def talk(bench: Bench, node: Node) -> Ended:
    """The call that was dialed is answered, lasts a moment, and is hung up."""
    bench.until(Answered)
    for _ in range(100):
        if bench.backend._sip.received(*received_of(bench, "d1")) > 40:
            break
        bench.rest(0.1)
    bench.backend.send([HangUp("d1")])
    ended = bench.until(Ended)
    assert node.until("Ended")["received"] > 20
    return ended


@pytest.mark.parametrize("keying", ["sdes", "dtls"])
def test_a_call_by_tls_with_encrypted_audio(make, node, keys, keying):  # noqa: F811
    # Given another node that takes encrypted audio only
    other = node(tls_node(keys))
    # When it is called by TLS with keys by SDES or DTLS, then audio flows both ways
    trunk = to(other.ports[2], transport=Transport.TLS, srtp=Srtp.MANDATORY)
    bench = make(port=None, tls_port=0, tls=our_tls(keys), keying=(keying,), trunks=(trunk,))
    dial(bench)
    ended = talk(bench, other)
    assert ended.cause is Cause.NORMAL and ended.quality.received > 20


@pytest.mark.parametrize("keying", ["sdes", "dtls"])
def test_two_encrypted_legs_get_each_others_packets_under_keys_of_their_own(make, node, keys, keying):  # noqa: F811
    # Given two calls with encrypted audio to another node, which takes no packet that is not under the keys of its call
    other = node(tls_node(keys))
    trunk = to(other.ports[2], transport=Transport.TLS, srtp=Srtp.MANDATORY)
    bench = make(port=None, tls_port=0, tls=our_tls(keys), keying=(keying,), trunks=(trunk,))
    for leg in ("d1", "d2"):
        dial(bench, leg)
    bench.until(Answered, 2)
    # When they hear each other alone, then their packets are passed on
    bench.backend.send([Connect("d1", "d2"), Connect("d2", "d1")])
    before, end = bench.backend._sip.passed, time.monotonic() + 30.0
    while bench.backend._sip.passed < before + 400:
        assert time.monotonic() < end, bench.backend._sip.passed - before
        bench.rest(0.1)
    # And the other node takes them
    bench.backend.send([HangUp("d1"), HangUp("d2")])
    bench.until(Ended, 2)
    assert min(other.until("Ended")["received"] for _ in range(2)) > 200


def test_encrypted_audio_without_tls_has_keys_by_dtls(make, node, keys):  # noqa: F811
    other = node(tls_node(keys, srtp="optional"))
    bench = make(trunks=(to(other.ports[0], srtp=Srtp.MANDATORY),))
    dial(bench)
    assert talk(bench, other).quality.received > 20


def test_a_server_that_our_authority_does_not_vouch_for_is_not_called(make, node, keys):  # noqa: F811
    other = node(tls_node(keys, "other"))
    bench = make(port=None, tls_port=0, tls=our_tls(keys), trunks=(to(other.ports[2], transport=Transport.TLS),))
    dial(bench)
    assert bench.until(Ended, seconds=40.0).cause is Cause.UNREACHABLE


def test_a_server_is_called_unverified_only_if_told_so(make, node, keys):  # noqa: F811
    other = node(tls_node(keys, "other", "off"))
    tls = Tls(keys / "good.pem", keys / "good.key", keys / "good.ca", verify=False)
    bench = make(port=None, tls_port=0, tls=tls, trunks=(to(other.ports[2], transport=Transport.TLS),))
    dial(bench)
    assert talk(bench, other).cause is Cause.NORMAL


def test_audio_in_clear_is_refused_where_encryption_is_a_must(make):  # noqa: F811
    bench = make(srtp=Srtp.MANDATORY)
    peer = bench.calls_us(caller(expects=488))
    bench.rest(1.0)
    peer.done()
    assert not any(isinstance(report, Answered) for report in bench.seen)


# ---- audio of strangers


@pytest.mark.parametrize("strict", [True, False])
def test_audio_counts_only_if_it_comes_from_where_it_was_announced(make, strict):  # noqa: F811
    # Given a telephone that talks to us, and then says nothing any more
    bench, telephone = make(strict_rtp=strict), Telephone()
    call = telephone.call(bench.backend.port, "4001", FarEnd())
    leg = bench.until(Incoming).leg
    bench.backend.send([Answer(leg)])
    bench.until(Answered)
    bench.rest(0.5)
    call.over = True
    bench.rest(0.3)
    before = bench.backend._sip.received(*received_of(bench, leg))
    # When somebody else sends to the same port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for i in range(60):
            packet = struct.pack("!BBHII", 0x80, 0, 9000 + i, 160 * i, 4242) + bytes(160)
            stranger.sendto(packet, call.media)
    bench.rest(0.5)
    # Then it is as if nobody had sent, if the source is strict
    more = bench.backend._sip.received(*received_of(bench, leg)) - before
    assert more == 0 if strict else more > 30
    telephone.close()


def received_of(bench: Bench, leg: str) -> tuple[int, int]:
    one = bench.backend._legs[leg]
    return one.call, one.number
