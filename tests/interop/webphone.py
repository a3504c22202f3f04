"""A web phone as a browser has it: SIP over a secure WebSocket, and aiortc's WebRTC (ICE, DTLS-SRTP, Opus) for audio."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import hashlib
import re
import ssl
import threading
import time
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import av
import numpy as np
import websockets
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

RATE, FRAME = 48_000, 960


class Tone(MediaStreamTrack):
    """What the phone says."""

    kind = "audio"

    def __init__(self, hertz: float) -> None:
        super().__init__()
        self._hertz, self._at, self._begun = hertz, 0, time.monotonic()

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(max(0.0, self._begun + self._at / RATE - time.monotonic()))
        wave = 8000 * np.sin(2 * np.pi * self._hertz * (np.arange(FRAME) + self._at) / RATE)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._at, fractions.Fraction(1, RATE)
        self._at += FRAME
        return frame


def header(message: str, name: str) -> str:
    found = re.search(rf"^{name}:[ \t]*(.*?)\r?$", message, re.M | re.I)
    return found.group(1) if found else ""


def headers(message: str, name: str) -> list[str]:
    return [line.strip() for line in re.findall(rf"^{name}:[ \t]*(.*?)\r?$", message, re.M | re.I)]


class WebPhone:
    """Registers as ``user``, answers what rings, and can call. It says a tone, and tells by the tones that come whom it hears."""

    def __init__(self, port: int, user: str, password: str, realm: str, authority: Path, hertz: float, origin: str) -> None:
        self._user, self._password, self._realm, self._hertz = user, password, realm, hertz
        self._port, self._origin = port, origin
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._contact = f"<sip:{user}@{uuid.uuid4().hex[:8]}.invalid;transport=ws>"
        self._waiting: dict[str, asyncio.Future[str]] = {}  # final answers, by CSeq and Call-ID
        self._heard, self._rate = np.zeros(0), RATE
        self._dialog: dict[str, str] = {}
        self._peer: RTCPeerConnection | None = None
        self._socket: Any = None
        self._cseq = 900
        self.answers: list[int] = []  # final ones that it got
        self.over = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    # ---- what tests say

    def register(self) -> int:
        """Connect and register; the final answer's code."""
        return self._run(self._register())

    def call(self, number: str) -> Future[int]:
        """Call; the final answer's code."""
        return asyncio.run_coroutine_threadsafe(self._call(number), self._loop)

    def hang_up(self) -> Future[int]:
        return asyncio.run_coroutine_threadsafe(self._bye(), self._loop)

    def hears(self, hertz: float) -> bool:
        """Whether the last fifth of a second that came has this tone."""
        samples = self._heard[-self._rate // 5 :]
        if len(samples) < self._rate // 5:
            return False
        wave = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / self._rate)
        return bool(2 * abs(np.dot(samples, wave)) / len(samples) > 500.0)

    def close(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(30.0)

    # ---- SIP

    async def _register(self) -> int:
        where = f"wss://127.0.0.1:{self._port}/"
        self._socket = await websockets.connect(where, ssl=self._tls, subprotocols=["sip"], origin=self._origin)
        self._reading = asyncio.create_task(self._read())
        self._from = f"<sip:{self._user}@{self._realm}>"
        more = f"Contact: {self._contact};expires=300\r\n"
        return await self._ask("REGISTER", f"sip:{self._realm}", self._from, uuid.uuid4().hex, more)

    async def _call(self, number: str) -> int:
        peer = self._connect()
        await peer.setLocalDescription(await peer.createOffer())
        target, call = f"sip:{number}@{self._realm}", uuid.uuid4().hex
        more = f"Contact: {self._contact}\r\nContent-Type: application/sdp\r\n"
        code = await self._ask("INVITE", target, f"<{target}>", call, more, peer.localDescription.sdp)
        if code == 200:
            answer = self._final
            self._dialog = {"call": call, "us": self._from + self._tag, "them": header(answer, "To")}
            self._dialog |= {"target": re.search(r"<([^>]+)>", header(answer, "Contact")).group(1)}
            self._dialog |= {"routes": "".join(f"Route: {each}\r\n" for each in reversed(headers(answer, "Record-Route")))}
            await self._request("ACK", self._dialog["target"], self._dialog["us"], self._dialog["them"], call, self._cseq, self._dialog["routes"])
            await peer.setRemoteDescription(RTCSessionDescription(answer.partition("\r\n\r\n")[2], "answer"))
        return code

    async def _bye(self) -> int:
        one = self._dialog
        return await self._ask("BYE", one["target"], one["them"], one["call"], one["routes"], sender=one["us"])

    async def _ask(self, method: str, target: str, to: str, call: str, more: str = "", body: str = "", sender: str = "") -> int:
        """Ask, and once more with a password if we are asked for it."""
        self._tag, credentials = f";tag={uuid.uuid4().hex[:8]}", ""
        for _ in range(2):
            self._cseq += 1
            cseq = self._cseq
            key = f"{cseq} {method} {call}"
            self._waiting[key] = self._loop.create_future()
            await self._request(method, target, sender or self._from + self._tag, to, call, cseq, credentials + more, body)
            self._final = await asyncio.wait_for(self._waiting[key], 20.0)
            del self._waiting[key]
            code = int(self._final.split(" ", 2)[1])
            if code not in (401, 407):
                break
            if method == "INVITE":
                await self._request("ACK", target, sender or self._from + self._tag, header(self._final, "To"), call, cseq)
            credentials = self._credentials(method, target, code)
        self.answers.append(code)
        return code

    async def _request(self, method: str, target: str, sender: str, to: str, call: str, cseq: int, more: str = "", body: str = "") -> None:
        branch = f"z9hG4bK{call}{cseq}" if method in ("INVITE", "ACK") and "Route:" not in more else f"z9hG4bK{uuid.uuid4().hex}"
        await self._socket.send(
            f"{method} {target} SIP/2.0\r\nVia: SIP/2.0/WSS {self._contact[5:].partition('@')[2].partition(';')[0]};branch={branch}\r\n"
            f"From: {sender}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{more}"
            f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
        )

    def _credentials(self, method: str, target: str, code: int) -> str:
        asked = header(self._final, "WWW-Authenticate" if code == 401 else "Proxy-Authenticate")
        realm, nonce = (re.search(rf'{name}="([^"]*)"', asked).group(1) for name in ("realm", "nonce"))

        def digest(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        ha1, ha2 = digest(f"{self._user}:{realm}:{self._password}"), digest(f"{method}:{target}")
        response = digest(f"{ha1}:{nonce}:00000001:c0ffee:auth:{ha2}")
        name = "Authorization" if code == 401 else "Proxy-Authorization"
        return (
            f'{name}: Digest username="{self._user}", realm="{realm}", nonce="{nonce}", uri="{target}", response="{response}", '
            f'qop=auth, nc=00000001, cnonce="c0ffee", algorithm=MD5\r\n'
        )

    async def _read(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for data in self._socket:
                message = data if isinstance(data, str) else data.decode()
                if message.startswith("SIP/2.0"):
                    if message.split(" ", 2)[1] >= "200":
                        waiting = self._waiting.get(f"{header(message, 'CSeq')} {header(message, 'Call-ID')}")
                        if waiting is not None and not waiting.done():
                            waiting.set_result(message)
                elif message.startswith("INVITE"):
                    await self._ring(message)
                elif message.startswith("BYE"):
                    self.over.set()
                    await self._answer(message, "200 OK")
                elif not message.startswith("ACK"):
                    await self._answer(message, "405 Method Not Allowed")

    async def _ring(self, message: str) -> None:
        if self._peer is not None and self._dialog["call"] == header(message, "Call-ID"):  # the same call, offered anew
            await self._take(message, self._peer)
            return
        await self._answer(message, "180 Ringing", f"Contact: {self._contact}\r\n", tag=";tag=web")
        self._dialog = {"call": header(message, "Call-ID"), "us": header(message, "To") + ";tag=web", "them": header(message, "From")}
        self._dialog |= {"target": re.search(r"<([^>]+)>", header(message, "Contact")).group(1)}
        self._dialog |= {"routes": "".join(f"Route: {each}\r\n" for each in headers(message, "Record-Route"))}
        await self._take(message, self._connect())

    async def _take(self, message: str, peer: RTCPeerConnection) -> None:
        await peer.setRemoteDescription(RTCSessionDescription(message.partition("\r\n\r\n")[2], "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        more = f"Contact: {self._contact}\r\nContent-Type: application/sdp\r\n"
        await self._answer(message, "200 OK", more, peer.localDescription.sdp, ";tag=web")

    async def _answer(self, message: str, status: str, more: str = "", body: str = "", tag: str = "") -> None:
        vias = "".join(f"{name}: {each}\r\n" for name in ("Via", "Record-Route") for each in headers(message, name))
        to = header(message, "To")
        await self._socket.send(
            f"SIP/2.0 {status}\r\n{vias}From: {header(message, 'From')}\r\nTo: {to}{tag if ';tag=' not in to else ''}\r\n"
            f"Call-ID: {header(message, 'Call-ID')}\r\nCSeq: {header(message, 'CSeq')}\r\n{more}Content-Length: {len(body.encode())}\r\n\r\n{body}"
        )

    # ---- audio

    def _connect(self) -> RTCPeerConnection:
        peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.addTrack(Tone(self._hertz))

        @peer.on("track")
        def listen(track: MediaStreamTrack) -> None:
            self._listening = asyncio.ensure_future(self._listen(track))

        return peer

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(Exception):  # the track ends with the call
            while True:
                frame = await track.recv()
                self._rate = frame.sample_rate
                samples = frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)].astype(float)
                self._heard = np.concatenate((self._heard, samples))[-RATE:]

    async def _close(self) -> None:
        if self._peer is not None:
            await self._peer.close()
        if self._socket is not None:
            await self._socket.close()
            await asyncio.gather(self._reading, return_exceptions=True)
