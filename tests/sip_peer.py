"""A telephone of the tests' own: SIP and G.711 over UDP in plain Python, so that what PJSIP does is judged by something
that is not PJSIP. Each call sends a tone of its own, and tells by the tones that it gets whom it hears."""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

import numpy as np

RATE, FRAME = 8000, 160
EVENTS = "0123456789*#ABCD"
LISTEN = 2 * RATE // 10  # samples that a judgement needs
STALE_S = 2.0  # whoever has heard nothing for so long hears nobody, whatever it was


def to_ulaw(samples: np.ndarray) -> bytes:
    """16-bit samples as G.711 mu-law."""
    x = np.clip(samples.astype(np.int32), -32635, 32635)
    sign = np.where(x < 0, 0x80, 0)
    x = np.abs(x) + 132
    exponent = np.floor(np.log2(x)).astype(np.int32) - 7
    mantissa = (x >> (exponent + 3)) & 0x0F
    return (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8).tobytes()


def from_ulaw(data: bytes) -> np.ndarray:
    u = ~np.frombuffer(data, np.uint8).astype(np.int32) & 0xFF
    x = ((((u & 0x0F) << 3) + 132) << ((u >> 4) & 7)) - 132
    return np.where(u & 0x80, -x, x).astype(np.float64)


def tone(hertz: float, samples: int, start: int = 0, level: float = 4000.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * (np.arange(samples) + start) / RATE)


def loudness(samples: np.ndarray, hertz: float) -> float:
    """Amplitude of a tone in samples."""
    if len(samples) == 0:
        return 0.0
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / RATE)
    return float(2 * abs(np.dot(samples, wave)) / len(samples))


@dataclass
class Call:
    """One call at the telephone. ``hertz``: of the tone that it sends."""

    name: str
    call_id: str
    hertz: float
    far: object
    rtp: socket.socket
    remote: str = ""  # From of requests that we get
    local: str = ""
    target: str = ""
    address: tuple[str, int] = ("", 0)
    media: tuple[str, int] | None = None
    event_type: int = 101
    cseq: int = 1
    branch: str = ""
    invite: str = ""  # the INVITE as it came
    up: bool = False
    early: bool = False
    over: bool = False
    due: list[tuple[float, str]] = field(default_factory=list)  # what it does, when
    sent: int = 0
    sent_before: int = 0  # the answer
    late: float = 0.0  # seconds by which a packet was late at most, since our thread got no turn
    heard: np.ndarray = field(default_factory=lambda: np.zeros(0))
    heard_at: float = 0.0
    packets: int = 0  # of audio that came
    began_anew: int = 0  # of them, with the marker
    keys: str = ""
    last_event: int = -1
    pressing: list[str] = field(default_factory=list)
    speech: np.ndarray = field(default_factory=lambda: np.zeros(0))  # what is to be sent in place of the tone
    status: list[int] = field(default_factory=list)  # final answers that it got
    requests: list[str] = field(default_factory=list)  # that it got


def header(message: str, name: str) -> str:
    found = re.search(rf"^{name}:[ \t]*(.*?)\r?$", message, re.M | re.I)
    return found.group(1) if found else ""


class Telephone:
    """Answers and places calls. ``far``s are FarEnds of cordboard.media.simulated."""

    def __init__(self) -> None:
        self.sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sip.bind(("127.0.0.1", 0))
        self.port = self.sip.getsockname()[1]
        self.fars: dict[str, object] = {}
        self.calls: dict[str, Call] = {}  # by Call-ID
        self.lock = threading.RLock()
        self.running = True
        self.fault: BaseException | None = None  # of which its thread died
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.running = False
        self.thread.join()
        for call in self.calls.values():
            call.rtp.close()
        self.sip.close()
        self.check()

    def check(self) -> None:
        """A telephone that died is no peer that is silent: whoever waits for it fails, and says of what."""
        if self.fault is not None:
            raise RuntimeError("the telephone of this test died") from self.fault

    # ---- what tests say

    def phone(self, far: object) -> str:
        with self.lock:
            user = f"p{len(self.fars)}"
            self.fars[user] = far
            return f"sip:{user}@127.0.0.1:{self.port}"

    def call(self, port: int, to: str, far: object, caller: str = "", extra: str = "") -> Call:
        with self.lock:
            call = self._new(f"out{len(self.calls)}-{self.port}@test", far, f"out{len(self.calls)}")
            call.address = ("127.0.0.1", port)
            call.local = f"<sip:{caller or 'anonymous'}@127.0.0.1:{self.port}>;tag={call.name}"
            call.remote, call.target = f"<sip:{to}@127.0.0.1:{port}>", f"sip:{to}@127.0.0.1:{port}"
            call.branch = f"z9hG4bK{call.name}"
            self._request(call, "INVITE", extra, self._sdp(call), branch=call.branch)
            if far.gives_up is not None:
                call.due.append((time.monotonic() + far.gives_up, "cancel"))
            return call

    def hang_up(self, call: Call) -> None:
        with self.lock:
            if not call.over:
                call.over = True
                call.cseq += 1
                self._request(call, "BYE")

    def vanish(self, call: Call) -> None:
        """Not a word from now on."""
        with self.lock:
            call.over = True

    def press(self, call: Call, key: str) -> None:
        with self.lock:
            call.pressing.append(key)

    def speak(self, call: Call, samples: np.ndarray) -> None:
        """Send this audio, 8,000 samples a second, from now on."""
        with self.lock:
            call.speech = samples

    def hears(self, call: Call, hertz: float) -> bool:
        """Whether the last fifth of a second that came has this tone, and something came a moment ago."""
        self.check()
        with self.lock:
            there = not call.over and len(call.heard) >= LISTEN and time.monotonic() - call.heard_at < STALE_S
            return there and loudness(call.heard[-LISTEN:], hertz) > 800.0

    def state(self) -> str:
        """Who hears whom, for whoever looks for the cause of a failure."""
        with self.lock:
            calls, now = list(self.calls.values()), time.monotonic()
            return "\n".join(
                f"{call.name} {'over' if call.over else 'up' if call.up else 'not up'} sends {call.hertz:.0f} Hz to {call.media} sent {call.sent}"
                f" got {call.packets}, the last {now - call.heard_at:.1f} s ago, late by {call.late:.2f} s, asked {call.requests}, hears"
                f" {[one.name for one in calls if loudness(call.heard[-LISTEN:], one.hertz) > 800.0]}"
                for call in calls
            )

    # ---- messages

    def _new(self, call_id: str, far: object, name: str) -> Call:
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.bind(("127.0.0.1", 0))
        rtp.setblocking(False)
        call = Call(name, call_id, 400.0 + 150.0 * (len(self.calls) % 17), far, rtp)  # up to 2,800 Hz
        self.calls[call_id] = call
        return call

    def _sdp(self, call: Call) -> str:
        port, event = call.rtp.getsockname()[1], call.event_type
        return (
            f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 {event}\r\n"
            f"a=rtpmap:0 PCMU/8000\r\na=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-16\r\na=sendrecv\r\n"
        )

    def _request(self, call: Call, method: str, extra: str = "", body: str = "", branch: str = "") -> None:
        text = (
            f"{method} {call.target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{self.port};branch={branch or f'z9hG4bK{call.name}{method}{call.cseq}'}\r\n"
            f"Max-Forwards: 70\r\nFrom: {call.local}\r\nTo: {call.remote}\r\nCall-ID: {call.call_id}\r\n"
            f"CSeq: {call.cseq} {method}\r\nContact: <sip:peer@127.0.0.1:{self.port}>\r\n{extra}"
        )
        self._send(text, body, call.address)

    def _respond(self, message: str, call: Call | None, status: str, to: tuple[str, int], body: str = "") -> None:
        vias = "".join(f"Via: {via}\r\n" for via in re.findall(r"^Via:[ \t]*(.*?)\r?$", message, re.M | re.I))
        tag = "" if ";tag=" in header(message, "To") else f";tag={call.name if call else 'none'}"
        text = (
            f"SIP/2.0 {status}\r\n{vias}From: {header(message, 'From')}\r\nTo: {header(message, 'To')}{tag}\r\n"
            f"Call-ID: {header(message, 'Call-ID')}\r\nCSeq: {header(message, 'CSeq')}\r\n"
            f"Contact: <sip:peer@127.0.0.1:{self.port}>\r\n"
        )
        self._send(text, body, to)

    def _send(self, text: str, body: str, to: tuple[str, int]) -> None:
        if body:
            text += "Content-Type: application/sdp\r\n"
        self.sip.sendto(f"{text}Content-Length: {len(body)}\r\n\r\n{body}".encode(), to)

    def _take(self, message: str, source: tuple[str, int]) -> None:
        call = self.calls.get(header(message, "Call-ID"))
        if message.startswith("SIP/2.0"):
            if call is not None:
                self._answer_came(call, message)
            return
        method = message.split(" ", 1)[0]
        if call is not None:
            call.requests.append(method)
        if method == "INVITE" and call is None:
            self._invited(message, source)
        elif method in ("BYE", "CANCEL"):
            self._respond(message, call, "200 OK", source)
            if call is not None and not call.over:
                call.over = True
                if method == "CANCEL":
                    self._respond(call.invite, call, "487 Request Terminated", source)
        elif method == "INFO":
            self._respond(message, call, "200 OK", source)

    def _invited(self, message: str, source: tuple[str, int]) -> None:
        user = re.match(r"INVITE sip:([^@]*)@", message)
        far = self.fars.get(user.group(1) if user else "")
        if far is None:
            return self._respond(message, None, "404 Not Found", source)
        call = self._new(header(message, "Call-ID"), far, user.group(1))
        call.invite, call.address = message, source
        call.local, call.remote = header(message, "To") + f";tag={call.name}", header(message, "From")
        call.target = re.search(r"<?(sip:[^>\s]*)>?", header(message, "Contact")).group(1)
        self._media(call, message)
        now = time.monotonic()
        if far.rings is not None:
            call.due.append((now + far.rings, "ring"))
        if far.picks_up is not None:
            call.due.append((now + far.picks_up, "refuse" if far.refuses else "pick up"))
        return None

    def _media(self, call: Call, message: str) -> None:
        port = re.search(r"^m=audio (\d+)", message, re.M)
        event = re.search(r"^a=rtpmap:(\d+) telephone-event/8000", message, re.M)
        if port:
            call.media = ("127.0.0.1", int(port.group(1)))
        if event:
            call.event_type = int(event.group(1))

    def _answer_came(self, call: Call, message: str) -> None:
        status, cseq = int(message.split(" ", 2)[1]), header(message, "CSeq")
        if "INVITE" not in cseq or status < 180:
            return
        call.remote = header(message, "To")
        self._media(call, message)
        if status < 200:
            return
        call.status.append(status)
        if status < 300:
            call.target = re.search(r"<?(sip:[^>\s]*)>?", header(message, "Contact")).group(1)
            self._request(call, "ACK")
            if not call.up:
                self._up(call)
        else:
            self._request(call, "ACK", branch=call.branch)
            call.over = True

    def _up(self, call: Call) -> None:
        call.up, call.sent_before = True, call.sent
        call.speech = getattr(call.far, "audio", call.speech)
        if call.far.hangs_up is not None:
            call.due.append((time.monotonic() + call.far.hangs_up, "hang up"))

    def _do(self, call: Call, what: str) -> None:
        if call.over:
            return
        if what == "ring" and getattr(call.far, "early", ()):  # its audio, or its network's, comes before it answers
            self._respond(call.invite, call, "183 Session Progress", call.address, self._sdp(call))
            call.early = True
        elif what == "ring":
            self._respond(call.invite, call, "180 Ringing", call.address)
        elif what == "pick up":
            self._respond(call.invite, call, "200 OK", call.address, self._sdp(call))
            self._up(call)
        elif what == "refuse":
            status = {"busy": "486 Busy Here", "rejected": "603 Decline"}[str(call.far.refuses)]
            self._respond(call.invite, call, status, call.address)
            call.over = True
        elif what == "cancel" and not call.up:
            self._request(call, "CANCEL", branch=call.branch)
        elif what == "hang up":
            self.hang_up(call)

    # ---- audio

    @staticmethod
    def _samples(call: Call) -> np.ndarray:
        """What is to be spoken, or the tone of the call, or what its far end says."""
        if call.speech.size:
            frame, call.speech = call.speech[:FRAME], call.speech[FRAME:]
            return np.pad(frame, (0, FRAME - frame.size))
        if not getattr(call.far, "silent", False):
            return tone(call.hertz, FRAME, call.sent * FRAME)
        since = (call.sent - call.sent_before) * FRAME / RATE
        for begin, end in call.far.says if call.up else ():  # noise like that of a voice
            if begin <= since < end:
                return np.random.default_rng(call.sent).normal(0.0, 3000.0, FRAME)
        for hertz, begin, end in call.far.sends if call.up else call.far.early:
            if begin <= since < end:
                return tone(hertz, FRAME, call.sent * FRAME)
        return np.zeros(FRAME)

    def _speak(self, call: Call) -> None:
        samples = self._samples(call)
        self._rtp(call, 0, call.sent * FRAME, to_ulaw(samples))
        if call.pressing:
            event = EVENTS.index(call.pressing.pop(0))
            for end, length in ((0, 160), (0, 480), (0x80, 800), (0x80, 800), (0x80, 800)):
                call.sent += 1
                self._rtp(call, call.event_type, 7 * RATE + call.sent // 100 * RATE, struct.pack("!BBH", event, end | 10, length))
        call.sent += 1

    def _rtp(self, call: Call, kind: int, stamp: int, payload: bytes) -> None:
        packet = struct.pack("!BBHII", 0x80, kind, call.sent & 0xFFFF, stamp & 0xFFFFFFFF, 4242) + payload
        call.rtp.sendto(packet, call.media)

    def _listen(self, call: Call) -> None:
        packet = call.rtp.recv(2048)
        kind, stamp = packet[1] & 0x7F, struct.unpack("!I", packet[4:8])[0]
        if kind == 0:
            call.packets += 1
            call.began_anew += packet[1] >> 7
            call.heard, call.heard_at = np.concatenate((call.heard[-RATE:], from_ulaw(packet[12:]))), time.monotonic()
        elif kind == call.event_type and packet[13] & 0x80 and stamp != call.last_event:
            call.last_event = stamp
            call.keys += EVENTS[packet[12]]

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as fault:
            self.fault = fault

    def _serve(self) -> None:
        tick = time.monotonic()
        while self.running:
            with self.lock:
                open_calls = {call.rtp: call for call in self.calls.values() if not call.over}
            ready, _, _ = select.select([self.sip, *open_calls], [], [], max(0.0, tick - time.monotonic()))
            with self.lock:
                for one in ready:
                    if one is self.sip:
                        data, source = self.sip.recvfrom(65536)
                        self._take(data.decode("utf-8", "replace"), source)
                    else:
                        self._listen(open_calls[one])
                now = time.monotonic()
                for call in list(self.calls.values()):
                    for at, what in [item for item in call.due if item[0] <= now]:
                        call.due.remove((at, what))
                        self._do(call, what)
                if now >= tick:
                    late, tick = now - tick, max(tick + FRAME / RATE, now - 0.1)
                    for call in self.calls.values():
                        if (call.up or call.early) and not call.over and call.media:
                            call.late = max(call.late, late if call.sent else 0.0)
                            self._speak(call)
