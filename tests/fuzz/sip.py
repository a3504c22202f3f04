"""Messages that no peer should send, to a media layer that must not mind: ``python -m tests.fuzz.sip [--seconds 60] [--seed 0]``.

``TORTURE`` holds messages with the defects and oddities that RFC 4475 describes, written anew; ``mutants`` makes others of well-formed
ones, at random but the same for the same seed. The node is a process of its own (tests/bare_node.py).
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bare_node import BareNode

SDP = (
    "v=0\r\no=peer 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 8 101\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)


class Stranger:
    """A socket that says what it likes. ``hear`` gives the answers to what was said last."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.settimeout(0.5)
        self.address, self.port, self.node = address, self.socket.getsockname()[1], ("127.0.0.1", port)
        self.number = 0

    def message(self, method: str = "OPTIONS", *, to: str = "9999", body: str = "", cseq: str = "", **changes: str | None) -> str:
        """A well-formed request, with headers replaced, added, or left out where they are None."""
        self.number += 1
        name = f"{self.port}-{self.number}"
        headers: dict[str, str | None] = {
            "Via": f"SIP/2.0/UDP {self.address}:{self.port};branch=z9hG4bK{name}",
            "Max_Forwards": "70",
            "From": f"<sip:138@{self.address}:{self.port}>;tag=f{name}",
            "To": f"<sip:{to}@127.0.0.1:{self.node[1]}>",
            "Call_ID": f"{name}@test",
            "CSeq": cseq or f"1 {method}",
            "Contact": f"<sip:138@{self.address}:{self.port}>",
        }
        if body:
            headers["Content_Type"] = "application/sdp"
        headers["Content_Length"] = str(len(body.encode()))
        lines = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in (headers | changes).items() if value is not None)
        return f"{method} sip:{to}@127.0.0.1:{self.node[1]} SIP/2.0\r\n{lines}\r\n{body}"

    def say(self, text: str | bytes) -> None:
        self.socket.sendto(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text, self.node)

    def hear(self, seconds: float = 1.0) -> int:
        """The first final status that comes, or the last provisional one, or 0."""
        end, found = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                answer = self.socket.recv(65536)
            except TimeoutError:
                break
            self.last = answer.decode("utf-8", "replace")
            found = int(self.last[8:11]) if self.last.startswith("SIP/2.0") else found
            if found >= 200:
                break
        return found

    def ask(self, text: str | bytes, seconds: float = 1.0) -> int:
        while self.hear(0.0):
            pass
        self.say(text)
        return self.hear(seconds)

    def lives(self) -> bool:
        """Whether the node answers a plain question; asked twice, since a packet may be lost, and from a socket where
        no answers to something else come."""
        fresh = Stranger(self.node[1], self.address)
        found = any(fresh.ask(fresh.message(), 5.0) == 200 for _ in range(2))
        fresh.close()
        return found

    def follow_up(self, method: str) -> str:
        """A request inside the dialog of the answer that was heard last."""
        line = lambda name: re.search(rf"^{name}:[ \t]*(.*?)\r$", self.last, re.M | re.I).group(1)  # type: ignore[union-attr]  # noqa: E731
        self.number += 1
        cseq = int(line("CSeq").split()[0]) + (method != "ACK")
        return (
            f"{method} sip:4001@127.0.0.1:{self.node[1]} SIP/2.0\r\nVia: SIP/2.0/UDP {self.address}:{self.port};branch=z9hG4bKf{self.number}\r\n"
            f"Max-Forwards: 70\r\nFrom: {line('From')}\r\nTo: {line('To')}\r\nCall-ID: {line('Call-ID')}\r\n"
            f"CSeq: {cseq} {method}\r\nContact: <sip:138@{self.address}:{self.port}>\r\nContent-Length: 0\r\n\r\n"
        )

    def call_and_leave(self, invite: str) -> int:
        """An INVITE; if it is answered, the ACK and the BYE."""
        status = self.ask(invite, 2.0)
        if 200 <= status < 300:
            self.say(self.follow_up("ACK"))
            self.say(self.follow_up("BYE"))
        return status

    def close(self) -> None:
        self.socket.close()


ANSWERED, REJECTED, SILENT = "answered", "rejected", "silent"


def torture(peer: Stranger) -> Iterator[tuple[str, str | bytes, str]]:
    """What it is, the message, and what must come of it: an answer that is none to a malformed request; a refusal or silence; silence."""
    ask, at, host = peer.message, f"127.0.0.1:{peer.node[1]}", f"{peer.address}:{peer.port}"
    odd = ask("OPTIONS").replace("Call-ID:", "i   :\t").replace("From:", "f:").replace("To:", "TO :\r\n  ").replace("Max-Forwards: 70", "mAx-fOrWaRdS:\r\n\t 0070")
    odd = odd.replace("CSeq: 1 OPTIONS", "cseq: 00001\r\n   OPTIONS").replace("Via: SIP/2.0/UDP", "v:  SIP  / 2.0\r\n /UDP").replace("Content-Length", "l")
    yield "folded lines, short names, odd spaces", odd, ANSWERED
    yield "a method of strange characters", ask("!interesting-Method0123456789_*+`.%indeed'~"), ANSWERED
    yield "escaped characters in the user", ask(to="sips%3Auser%40example.com"), ANSWERED
    yield "an escaped zero in the user", ask(to="null-%00-null"), ANSWERED
    yield "escapes that make no method", ask("RE%47IST%45R"), ANSWERED
    yield "no space between name and address", ask(From=f"caller<sip:caller@{host}>;tag=323"), ANSWERED
    yield "long values", ask(From=f'"{"I have a user name of extreme proportion" * 40}" <sip:{"a" * 400}@{host}>;tag=12', X_Long="very " * 1500), ANSWERED
    yield "a second request behind the first", ask("OPTIONS") + ask("INVITE", body=SDP), ANSWERED
    yield "a semicolon and escapes in the user", ask(to="user;par=u%40example.net"), ANSWERED
    yield "unknown transports of other hops", ask().replace("Max-Forwards", "Via: SIP/2.0/SCTP a.example;branch=z9hG4bKa\r\nVia: SIP/2.0/UNKNOWN b.example;branch=z9hG4bKb\r\nMax-Forwards"), ANSWERED
    yield "names in many scripts", ask(From=f'"\u547c\u53eb \u05e9 \U0001f4de" <sip:138@{host}>;tag=u1', Subject="\u00fc" * 200), ANSWERED
    yield "extensions that nobody has", ask("INVITE", body=SDP, Require="nothingSupportsThis, nothingSupportsThisEither"), ANSWERED
    yield "a body of an unknown kind", ask("INVITE", body="<xml/>", Content_Type="application/unknownformat"), ANSWERED
    yield "hops are over", ask(Max_Forwards="0"), ANSWERED
    yield "a dialog that is not", ask("BYE", To=f"<sip:9999@{at}>;tag=none"), ANSWERED
    parts = "--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\nContent-Type: application/octet-stream\r\n\r\n\x00\x01\r\n--x--\r\n"
    yield "a body of parts", ask("MESSAGE", body=parts, Content_Type='multipart/mixed;boundary="x"'), ANSWERED

    # RFC 4475 would have these two answered; PJSIP's parser drops them.
    yield "an unknown scheme that we are asked for", ask().replace(f"OPTIONS sip:9999@{at}", "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent"), REJECTED
    yield "an unknown way of authorization", ask("REGISTER", Authorization='NoOneKnowsThisScheme opaque-data="here"'), REJECTED
    yield "separators without values", ask("INVITE", body=SDP, Contact='"Joe" <sip:joe@example.org>;;;;', Via=f"SIP/2.0/UDP {host};;,;,,"), REJECTED
    yield "a length beyond the packet", ask("INVITE", body=SDP, Content_Length="9999"), REJECTED
    yield "a negative length", ask("INVITE", body=SDP, Content_Length="-999"), REJECTED
    yield "numbers beyond their range", ask("OPTIONS", cseq="36893488147419103232 OPTIONS", Max_Forwards="300", Expires="10" * 20), REJECTED
    yield "a quote without end", ask("INVITE", body=SDP, To=f'"Mr. J. User <sip:j.user@{at}>'), REJECTED
    yield "angle brackets in the first line", ask("INVITE", body=SDP).replace(f"INVITE sip:9999@{at}", f"INVITE <sip:9999@{at}>"), REJECTED
    yield "a space in the address", ask("INVITE", body=SDP).replace(f"INVITE sip:9999@{at}", f"INVITE sip:9999@{at}; lr"), REJECTED
    yield "two spaces in the first line", ask("INVITE", body=SDP).replace("INVITE sip:", "INVITE  sip:"), REJECTED
    yield "headers in the address", ask("INVITE", body=SDP).replace(f"sip:9999@{at} SIP", f"sip:9999@{at}?Route=%3Csip:example.com%3E SIP"), REJECTED
    yield "spaces around an address", ask("OPTIONS", To=f'"Watson, Thomas" < sip:t.watson@{at} >', From=f"<sip:>;tag=1, <<{host}"), REJECTED
    yield "a version to come", ask("OPTIONS").replace(" SIP/2.0\r\nVia", " SIP/7.0\r\nVia").replace("SIP/2.0/UDP", "SIP/7.0/UDP"), REJECTED
    yield "another method in CSeq", ask("OPTIONS", cseq="8 INVITE"), REJECTED
    yield "no Call-ID, no From, no To", ask("INVITE", body=SDP, Call_ID=None, From=None, To=None), REJECTED
    yield "no CSeq", ask("INVITE", body=SDP, CSeq=None), REJECTED
    yield "no Via", ask("INVITE", body=SDP, Via=None), SILENT
    yield "headers twice that may come once", ask("INVITE", body=SDP, X="y").replace("Max-Forwards", f"Call-ID: other@test\r\nCSeq: 8 BYE\r\nFrom: <sip:x@{host}>;tag=2\r\nMax-Forwards", 1), REJECTED
    yield "an answer with too large a code", f"SIP/2.0 4294967301 better not break the receiver\r\n{ask().split(chr(10), 1)[1]}", SILENT
    yield "an answer that nobody waits for", f"SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e\r\n{ask().split(chr(10), 1)[1]}", SILENT
    yield "an answer without a reason", f"SIP/2.0 100 \r\n{ask().split(chr(10), 1)[1]}", SILENT
    yield "no session at all", ask("INVITE", body="m=audio\r\nv=\r\n", to="4001"), REJECTED
    yield "half of a message", ask("INVITE", body=SDP)[:150], REJECTED
    yield "nothing but line ends", "\r\n\r\n\r\n", SILENT
    yield "zeros", bytes(400), SILENT
    yield "not SIP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(range(256)), SILENT
    yield "as much as a datagram holds", ask(X="y" * 64_000), REJECTED


def tortured(port: int) -> Iterator[tuple[str, str, int]]:
    """What was sent, what must come of it, and the status that came. Each has a socket of its own: a refusal is repeated
    until it is acknowledged."""
    for index in range(sum(1 for _ in torture(Stranger(port)))):
        peer = Stranger(port)
        name, message, expected = list(torture(peer))[index]
        yield name, expected, peer.ask(message, 1.0 if expected == ANSWERED else 0.3)
        peer.close()


def judged(status: int, expected: str) -> bool:
    if expected == SILENT:
        return status == 0
    return status == 0 or status >= 400 if expected == REJECTED else status >= 100 and status != 400


NUMBERS = ("0", "-1", "255", "65536", "4294967296", "99999999999999999999", "1e9", "")
BITS = ("\x00", "%00", "%", ";", ",", "<", ">", '"', "\\", "\r\n", "\r\n ", "=", "@", ":", "[::1]", "\udc80", "\udcff", "A" * 5000, ";" * 300, "(" * 300)


def mutate(source: random.Random, text: str) -> str:
    """The text with one to six defects."""
    for _ in range(source.randint(1, 6)):
        lines, at = text.split("\r\n"), source.randrange(len(text) + 1)
        kind, line = source.randrange(8), source.randrange(len(lines))
        if kind == 0:
            text = text[:at] + source.choice(BITS) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + source.randint(1, 40) :]
        elif kind == 2:
            numbers = list(re.finditer(r"\d+", text))
            if numbers:
                found = source.choice(numbers)
                text = text[: found.start()] + source.choice(NUMBERS) + text[found.end() :]
        elif kind == 3:
            text = "\r\n".join([*lines[:line], *lines[line + 1 :]])
        elif kind == 4:
            text = "\r\n".join([*lines[:line], *[lines[line]] * source.choice((2, 2, 60)), *lines[line:]])
        elif kind == 5:
            other = source.randrange(len(lines))
            lines[line], lines[other] = lines[other], lines[line]
            text = "\r\n".join(lines)
        elif kind == 6:
            text = text[:at] + chr(source.randrange(1, 256)) + text[at + 1 :]
        elif source.random() < 0.2:
            text = text[:at]
    return text


def mutants(source: random.Random, peer: Stranger) -> Iterator[tuple[bool, str]]:
    """Without end: (it is a call with a session that is wrong, the message)."""
    while True:
        method = source.choice(("INVITE", "OPTIONS", "REGISTER", "BYE", "CANCEL", "ACK", "INFO", "UPDATE", "PRACK", "SUBSCRIBE", "REFER", "MESSAGE"))
        body = SDP if method in ("INVITE", "UPDATE", "ACK", "PRACK") else ""
        if source.random() < 0.2:
            yield True, peer.message("INVITE", to="4001", body=mutate(source, SDP).encode("utf-8", "replace").decode())
        elif source.random() < 0.1:
            yield False, mutate(source, f"SIP/2.0 {source.randrange(1000)} OK\r\n{peer.message(method, body=body).split(chr(10), 1)[1]}")
        else:
            yield False, mutate(source, peer.message(method, body=body, Supported="100rel, timer, replaces", Session_Expires="90"))


def let_loose(node: BareNode, seed: int, seconds: float = 1e9, messages: int = 10**9) -> int:
    """Send mutants until one of both is over; how many it were. AssertionError if the node died or has gone silent."""
    peer, source, end, sent = Stranger(node.port), random.Random(seed), time.monotonic() + seconds, 0
    try:
        for is_call, text in mutants(source, peer):
            if sent >= messages or time.monotonic() >= end:
                break
            if is_call:
                peer.call_and_leave(text)
            else:
                peer.say(text.encode("utf-8", "surrogateescape")[:65_000])
                time.sleep(0.0005)
            sent += 1
            if sent % 500 == 0:
                assert peer.lives(), f"no answer after {sent} messages of seed {seed}"
        assert peer.lives(), f"no answer after {sent} messages of seed {seed}"
    finally:
        peer.close()
    return sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        node = BareNode(Path(folder), requests_per_s=1e6)
        try:
            before = node.state()
            print(f"{let_loose(node, asked.seed, asked.seconds)} messages of seed {asked.seed}; the node lives", flush=True)
            print("before", before, "\nafter ", node.close())
        finally:
            node.kill()


if __name__ == "__main__":
    main()
