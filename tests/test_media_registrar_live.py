"""Agents' phones by registration, over real SIP: sipp is the phone."""

from __future__ import annotations

import hashlib
import socket

import pytest

from cordboard.media.backend import Answer, Answered, Cause, Dial, Ended, HangUp, Incoming
from tests.sipp import SIPP, answerer, caller

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.settings import Destination, Phones, Trunk
from tests.test_media_sipp import Bench, make  # noqa: F401  (a fixture)

pytestmark = pytest.mark.skipif(SIPP is None, reason="sipp is not installed (apt-get install sip-tester)")
PHONES = Phones("calls", (("li", hashlib.md5(b"li:calls:secret").hexdigest()),), expires_min=1)
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="phone">\n'
REGISTER = """<send retrans="500"><![CDATA[

REGISTER sip:calls SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:li@calls>;tag=[pid]reg[call_number]
To: <sip:li@calls>
Call-ID: [call_id]
CSeq: {cseq} REGISTER
Contact: <sip:li@[local_ip]:[local_port];transport=[transport]>
Expires: {expires}
Max-Forwards: 70
{authorization}Content-Length: 0

]]></send>
"""


def registers(password: str = "secret", status: int = 200, expires: int = 60) -> str:
    """The elements of a scenario in which a phone registers."""
    text = REGISTER.format(cseq=1, expires=expires, authorization="") + '<recv response="401" auth="true"/>\n'
    answer = f"[authentication username=li password={password}]\n"
    return text + REGISTER.format(cseq=2, expires=expires, authorization=answer) + f'<recv response="{status}"/>\n'


def phone(bench: Bench, password: str = "secret", status: int = 200, expires: int = 60, more: tuple[str, ...] = (), port: int = 0):
    """A phone that has registered, or was refused."""
    scenario = HEAD + registers(password, status, expires) + "</scenario>\n"
    made = bench.sipp(scenario, to=f"127.0.0.1:{port or bench.backend.port}", more=more)
    while made.process.poll() is None:
        bench.rest(0.1)
    made.done()
    return made


def test_a_phone_registers_and_is_dialed_by_its_agents_name(make):  # noqa: F811
    bench = make(registrar=PHONES, phones=())
    port = phone(bench).port
    peer = bench.sipp(answerer(hangs_up_ms=300), port=port)
    bench.backend.send([Dial("d1", "agent:li", caller="4001")])
    bench.until(Answered)
    assert bench.until(Ended).cause is Cause.NORMAL
    peer.done()


def test_a_phone_that_is_dialed_as_a_number_of_a_trunk_gives_back_no_line_that_it_never_had(make):  # noqa: F811
    trunk = Trunk("main", (Destination("127.0.0.1:9"),), lines=1)
    bench = make(registrar=PHONES, phones=(), trunks=(trunk,))
    port = phone(bench).port
    peer = bench.sipp(answerer(hangs_up_ms=300), port=port)
    bench.backend.send([Dial("d1", "agent:li", trunk="main", caller="4001")])
    assert bench.until(Ended).cause is Cause.NORMAL
    peer.done()
    assert bench.backend._ways.trunks.lines("main") == 0


def test_a_phone_by_tcp_is_dialed_on_the_connection_that_it_registered_by(make):  # noqa: F811
    bench = make(registrar=PHONES, tcp_port=0)
    with socket.create_connection(("127.0.0.1", bench.backend.tcp_port)) as connection:
        host, port = connection.getsockname()
        connection.settimeout(10.0)
        talk = Talk(connection, f"<sip:li@{host}:{port};transport=tcp>")
        for _ in range(2):
            bench.rest(0.3)
            talk.register()
            bench.rest(0.3)
            answer = talk.read()
        assert answer.startswith("SIP/2.0 200")
        bench.backend.send([Dial("d1", "sip:li@calls")])
        bench.rest(0.5)
        assert talk.read().startswith(f"INVITE sip:li@127.0.0.1:{port};transport=tcp SIP/2.0")


class Talk:
    """A phone that is written by hand: it registers on one connection."""

    def __init__(self, connection: socket.socket, contact: str) -> None:
        self.connection, self.contact, self.authorization, self.cseq = connection, contact, "", 0

    def register(self) -> None:
        self.cseq += 1
        text = f"REGISTER sip:calls SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK{self.cseq}\r\nMax-Forwards: 70\r\n"
        text += f"From: <sip:li@calls>;tag=a\r\nTo: <sip:li@calls>\r\nCall-ID: by-hand\r\nCSeq: {self.cseq} REGISTER\r\n"
        text += f"Contact: {self.contact}\r\n{self.authorization}Content-Length: 0\r\n\r\n"
        self.connection.sendall(text.encode())

    def read(self) -> str:
        text = self.connection.recv(65536).decode()
        if text.startswith("SIP/2.0 401"):
            nonce = text.split('nonce="')[1].split('"')[0]
            asked = hashlib.md5(b"REGISTER:sip:calls").hexdigest()
            proof = hashlib.md5(f"{PHONES.users[0][1]}:{nonce}:00000001:c:auth:{asked}".encode()).hexdigest()
            self.authorization = f'Authorization: Digest username="li", realm="calls", nonce="{nonce}", uri="sip:calls", '
            self.authorization += f'response="{proof}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c"\r\n'
        return text


def test_a_wrong_password_is_refused_and_the_phone_can_not_be_reached(make):  # noqa: F811
    bench = make(registrar=PHONES)
    phone(bench, "wrong", 403)
    bench.backend.send([Dial("d1", "agent:li")])
    assert bench.until(Ended) == Ended("d1", Cause.UNREACHABLE)


def test_a_phone_whose_registration_is_over_can_not_be_reached(make):  # noqa: F811
    bench = make(registrar=PHONES)
    phone(bench, expires=1)
    bench.rest(1.2)
    bench.backend.send([Dial("d1", "agent:li")])
    assert bench.until(Ended) == Ended("d1", Cause.UNREACHABLE)


def test_calls_of_registered_phones_alone_are_taken(make):  # noqa: F811
    bench = make(registrar=PHONES, phones=())
    stranger = bench.calls_us(caller(expects=403))
    bench.rest(0.8)
    stranger.done()
    port = phone(bench).port
    friend = bench.calls_us(caller(), port=port)
    leg = bench.until(Incoming).leg
    bench.backend.send([Answer(leg)])
    bench.until(Answered)
    bench.backend.send([HangUp(leg)])
    bench.until(Ended)
    friend.kill()


def test_more_registrations_than_can_be_decided_are_sent_away_and_calls_go_on(make):  # noqa: F811
    # Given a burst of REGISTER that comes between two looks
    bench = make(registrar=PHONES)
    flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flood.bind(("127.0.0.1", 0))
    for i in range(2000):
        head = f"REGISTER sip:calls SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{flood.getsockname()[1]};branch=z9hG4bK{i}\r\n"
        head += f"From: <sip:x@calls>;tag={i}\r\nTo: <sip:x@calls>\r\nCall-ID: {i}\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
        flood.sendto(head.encode(), ("127.0.0.1", bench.backend.port))
    # When it is taken, then calls are possible as before
    peer = bench.calls_us(caller(expects=486))
    bench.backend.send([HangUp(bench.until(Incoming).leg, Cause.BUSY)])
    bench.until(Ended)
    bench.rest(0.3)
    peer.done()
    flood.close()
