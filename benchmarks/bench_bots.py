"""What a line to a voice bot costs a media node: processor time of a core for each, by WebSocket and by gRPC stream.

``python -m benchmarks.bench_bots`` prints the table (``--lines N``, ``--seconds S``). Bots that say back what they hear
are a process of their own; streams give a frame of 20 ms and take one, as those of the bridge do, but no SIP is there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cordboard.bindings.bot_lines import Lines, News, Opened
from cordboard.bindings.bot_messages import FRAME, About
from cordboard.v1 import bot_service_pb2 as pb
from cordboard.v1 import bot_service_pb2_grpc

FRAME_S = 0.02


class Tone:
    """Both ways of a stream, by the clock."""

    def __init__(self) -> None:
        self._began, self._frame = time.monotonic(), 0
        self.said_bytes = 0

    def heard(self) -> tuple[bytes, int, int] | None:
        first = self._frame
        self._frame = max(first, int((time.monotonic() - self._began) / FRAME_S))
        return b"\x55" * FRAME * (self._frame - first), first, 0

    def say(self, audio: bytes) -> int:
        self.said_bytes += len(audio)
        return len(audio)

    def clear(self) -> bool:
        return True

    def said(self) -> tuple[int, int] | None:
        return self.said_bytes, self.said_bytes


class Echo(bot_service_pb2_grpc.BotServiceServicer):
    async def Converse(self, requests: Any, context: Any) -> AsyncIterator[pb.ConverseResponse]:  # type: ignore[override]
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "start":
                yield pb.ConverseResponse(welcome=pb.BotWelcome())
            elif kind == "heard":
                yield pb.ConverseResponse(say=request.heard.audio)
            elif kind == "ping":
                yield pb.ConverseResponse(pong=request.ping)


async def echo(socket: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):  # while it says something
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "media":
                await socket.send(json.dumps({"event": "media", "media": {"payload": message["media"]["payload"]}}))


async def be_bots() -> None:
    """Serve both kinds until killed, and say where."""
    server = grpc.aio.server()
    bot_service_pb2_grpc.add_BotServiceServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with serve(echo, "127.0.0.1", 0) as sockets:
        other = next(iter(sockets.sockets)).getsockname()[1]
        print(json.dumps({"websocket": f"ws://127.0.0.1:{other}/", "grpc": f"grpc://127.0.0.1:{port}"}), flush=True)
        await server.wait_for_termination()


def measure(url: str, count: int, seconds: float) -> tuple[float, float]:
    """Per cent of a core for each line, and the part of the audio that came back."""
    opened = threading.Semaphore(0)

    def tell(leg: str, news: News) -> None:
        if isinstance(news, Opened):
            opened.release()

    lines, audio = Lines(tell), [Tone() for _ in range(count)]
    for number, each in enumerate(audio):
        lines.open(About(f"b{number}", url, "138", ()), each)
    try:
        for _ in audio:
            assert opened.acquire(timeout=30), f"{url} does not take all lines"
        time.sleep(1.0)
        before, began, spent = sum(each.said_bytes for each in audio), time.monotonic(), time.process_time()
        time.sleep(seconds)
        spent, took = time.process_time() - spent, time.monotonic() - began
        back = (sum(each.said_bytes for each in audio) - before) / (count * took * FRAME / FRAME_S)
    finally:
        lines.stop()
    return 100.0 * spent / took / count, back


def compare(count: int, seconds: float, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Both kinds in turns."""
    command = [sys.executable, "-m", "benchmarks.bench_bots", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bots:
        try:
            assert bots.stdout is not None
            urls = json.loads(bots.stdout.readline())
            found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in urls}
            for _ in range(rounds):
                for kind, url in urls.items():
                    found[kind].append(measure(url, count, seconds))
        finally:
            bots.kill()
    return found


def test_track_the_cost_of_lines_to_bots() -> None:
    for kind, [(cost, back)] in compare(4, 1.0, 1).items():
        assert cost > 0.0 and back > 0.5, kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="be the bots")
    parser.add_argument("--lines", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(be_bots())
        return
    print(f"{asked.lines} lines, {asked.seconds:g} s, {asked.rounds} rounds in turns")
    for kind, rounds in compare(asked.lines, asked.seconds, asked.rounds).items():
        cost, back = sorted(rounds)[len(rounds) // 2]
        print(f"{kind:10} {cost:6.3f} % of a core a line, {100 * back:.1f} % of the audio came back")


if __name__ == "__main__":
    main()
