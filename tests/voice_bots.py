"""Voice bots for tests, over either transport: they keep what they are told, and say what a test says."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cordboard.v1 import bot_service_pb2 as pb
from cordboard.v1 import bot_service_pb2_grpc
from tests.sip_peer import RATE, from_ulaw, loudness, to_ulaw, tone

PATIENCE_S = 20.0


class Bot:
    """What tests see of one. ``details``: of the call; ``frames``: number and audio of each; ``over``: how lines ended."""

    def __init__(self) -> None:
        self.details: dict[str, str] = {}
        self.frames: list[tuple[int, bytes]] = []
        self.keys: list[str] = []
        self.marks: list[str] = []
        self.over: list[Any] = []
        self.deaf = False

    def send_audio(self, audio: bytes) -> None:
        raise NotImplementedError

    def say(self, hertz: float, seconds: float) -> None:
        audio = to_ulaw(tone(hertz, int(seconds * RATE)))
        for at in range(0, len(audio), RATE):
            self.send_audio(audio[at : at + RATE])

    def hears(self, hertz: float) -> bool:
        audio = b"".join(audio for _, audio in self.frames[-10:])
        return len(audio) == 1600 and loudness(from_ulaw(audio), hertz) > 1500


class TwilioBot(Bot):
    """At a WebSocket. ``got``: messages as they came. ``tls``: certificate and key."""

    NORMAL, FAILED = 1000, 1011

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__()
        self.got: list[dict[str, Any]] = []
        self._socket: ServerConnection | None = None
        ready = threading.Event()
        secure = None
        if tls is not None:
            import ssl

            secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            secure.load_cert_chain(*tls)

        async def live() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            async with serve(self._talk, "127.0.0.1", 0, ssl=secure, max_queue=1) as server:
                self.port = next(iter(server.sockets)).getsockname()[1]
                ready.set()
                await self._stop.wait()

        self._thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE_S)
        self.url = f"{'wss' if secure else 'ws'}://127.0.0.1:{self.port}/ada?key=1"

    async def _talk(self, socket: ServerConnection) -> None:
        self._socket = socket
        while self.deaf:
            await asyncio.sleep(0.1)
        async for text in socket:
            self._take(json.loads(text))
        self.over.append(socket.close_code or 0)

    def _take(self, message: dict[str, Any]) -> None:
        self.got.append(message)
        if message["event"] == "start":
            self.details = message["start"]["customParameters"]
        elif message["event"] == "media":
            self.frames.append((int(message["media"]["chunk"]) - 1, base64.b64decode(message["media"]["payload"])))
        elif message["event"] == "dtmf":
            self.keys.append(message["dtmf"]["digit"])
        elif message["event"] == "mark":
            self.marks.append(message["mark"]["name"])

    def _do(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)

    def send(self, event: str, **fields: Any) -> None:
        self.send_raw(json.dumps({"event": event, "streamSid": self.stream, **fields}))

    def send_raw(self, text: str | bytes) -> None:
        assert self._socket is not None
        self._do(self._socket.send(text))

    def send_audio(self, audio: bytes) -> None:
        self.send("media", media={"payload": base64.b64encode(audio).decode()})

    def mark(self, name: str) -> None:
        self.send("mark", mark={"name": name})

    def mark_often(self, times: int) -> None:
        with contextlib.suppress(ConnectionClosed):  # it has been enough
            for _ in range(times):
                self.mark("m")

    def clear(self) -> None:
        self.send("clear")

    def said(self, who: str, text: str) -> None:
        self.send("transcript", transcript={"who": who, "text": text})

    def hand_over(self, **fields: Any) -> None:
        self.send("handover", handover=fields)

    def hang_up(self, code: int = NORMAL) -> None:
        assert self._socket is not None
        self._do(self._socket.close(code))

    def die(self) -> None:
        assert self._socket is not None
        self._loop.call_soon_threadsafe(self._socket.transport.abort)

    def send_huge(self) -> None:
        self.send_raw("x" * (2 << 20))

    def send_unknown(self) -> None:
        self.send("something-new", whatever=1)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in list(self.got) if one["event"] == kind]

    @property
    def stream(self) -> str:
        sid: str = self.events("start")[0]["streamSid"]
        return sid

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)


class StreamBot(Bot, bot_service_pb2_grpc.BotServiceServicer):
    """At a gRPC stream. ``greets``: whether it welcomes calls; ``refuses``: with what it ends them instead."""

    NORMAL, FAILED = grpc.StatusCode.OK, grpc.StatusCode.INTERNAL

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__()
        self.greets, self.refuses = True, None
        self.start: pb.BotStart | None = None
        self._out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=(self._handler(),))
        if tls is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            certificate, key = (file.read_bytes() for file in tls)
            self.port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
        self._server.start()
        self.url = f"{'grpcs' if tls else 'grpc'}://127.0.0.1:{self.port}"

    def _handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        """Its own, since the generated one sends no garbage."""
        talk = grpc.stream_stream_rpc_method_handler(self.Converse, pb.ConverseRequest.FromString, _raw)
        return grpc.method_handlers_generic_handler("cordboard.v1.BotService", {"Converse": talk})

    def Converse(self, requests: Iterator[pb.ConverseRequest], context: Any) -> Iterator[Any]:
        if self.refuses is not None:
            context.abort(self.refuses, "no")
        self.start = next(requests).start
        known = {name: getattr(self.start, name) for name in ("contact", "queue", "number", "language")}
        named = {"from": self.start.caller} | known | dict(self.start.parameters)
        self.details = {name: text for name, text in named.items() if text}
        threading.Thread(target=self._listen, args=(requests, context), daemon=True).start()
        if self.greets:
            yield pb.ConverseResponse(welcome=pb.BotWelcome())
        for said in iter(self._out.get, None):
            if isinstance(said, grpc.StatusCode):
                if said is not grpc.StatusCode.OK:
                    context.abort(said, "what a bot says of its end is left alone")
                break
            yield said
        self.over.append(self.NORMAL)

    def _listen(self, requests: Iterator[pb.ConverseRequest], context: Any) -> None:
        while self.deaf and context.is_active():
            time.sleep(0.1)
        try:
            for request in requests:
                if request.WhichOneof("message") == "heard":
                    self.frames.append((request.heard.frame, request.heard.audio))
                elif request.WhichOneof("message") == "key":
                    self.keys.append(request.key)
                elif request.WhichOneof("message") == "ping":
                    self._out.put(pb.ConverseResponse(pong=request.ping))
                else:
                    self.marks.append(request.played)
        except Exception:  # gRPC has no name for it
            self.over.append("broken")
        self._out.put(None)

    def send_raw(self, message: Any) -> None:
        self._out.put(message)

    def send_audio(self, audio: bytes) -> None:
        self._out.put(pb.ConverseResponse(say=audio))

    def mark(self, name: str) -> None:
        self._out.put(pb.ConverseResponse(mark=name))

    def mark_often(self, times: int) -> None:
        for _ in range(times):
            self.mark("m")

    def clear(self) -> None:
        self._out.put(pb.ConverseResponse(clear=pb.BotClear()))

    def said(self, who: str, text: str) -> None:
        self._out.put(pb.ConverseResponse(said=pb.BotLine(who=who, text=text)))

    def hand_over(self, **fields: Any) -> None:
        self._out.put(pb.ConverseResponse(hand_over=pb.BotHandOver(**fields)))

    def hang_up(self, code: grpc.StatusCode = NORMAL) -> None:
        self._out.put(code)

    def die(self) -> None:
        self._server.stop(0)

    def send_huge(self) -> None:
        self.send_audio(b"x" * (2 << 20))

    def send_unknown(self) -> None:
        self._out.put(b"\xfa\x3e\x03abc")  # field 1007

    def close(self) -> None:
        self._out.put(None)
        self._server.stop(0).wait(PATIENCE_S)


def _raw(message: Any) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


BOTS = {"websocket": TwilioBot, "grpc": StreamBot}
