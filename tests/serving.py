"""A live server for tests: real engine, real journal on disk, real gRPC on a port of loopback; in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from cordboard.center import parse_center
from cordboard.live import Engine, Settings
from cordboard.live.access import Caller, local_administrator
from cordboard.live.privacy import KeyStore
from cordboard.services.line import SUFFIX
from cordboard.services.server import Server
from cordboard.services.tenants import Tenants

TENANT = "tenants/default"
CENTER = """
[queues.sales]
offer_timeout = 20
max_no_answer = 1

[queues.help]
requires = { help = 3 }
offer_timeout = 0

[queues.tiny]
max_waiting = 1

[agents.ana]
skills = { help = 5 }
[agents.ben]
skills = { help = 2 }
[agents.cy]
queues = ["sales"]
"""


def queue(name: str) -> str:
    return f"{TENANT}/queues/{name}"


def contact(name: str) -> str:
    return f"{TENANT}/contacts/{name}"


def agent(name: str) -> str:
    return f"{TENANT}/agents/{name}"


@dataclass
class Served:
    """A server that runs. ``stub(module)`` gives the stub of a module's service on one shared channel."""

    address: str
    engine: Engine
    server: Server
    loop: asyncio.AbstractEventLoop
    channel: grpc.Channel
    lines: str = ""  # a Unix socket whose line beside it is served

    def stub(self, grpc_module: Any) -> Any:
        (name,) = [name for name in vars(grpc_module) if name.endswith("ServiceStub")]
        return getattr(grpc_module, name)(self.channel)

    def run(self, coroutine: Any) -> Any:
        """Run something in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)


def line_socket(folder: Path) -> socket.socket:
    """Where lines come in."""
    (folder / f"s{SUFFIX}").unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(folder / f"s{SUFFIX}"))
    return bound


@contextlib.contextmanager
def served(
    folder: Path, text: str = CENTER, local: Caller | None = None, keys: KeyStore | None = None, lines: bool = False, **settings: Any
) -> Iterator[Served]:
    """A server over an engine of its own in a folder. ``keys``: keeps personal data apart. ``lines``: takes lines."""
    engine = Engine.open(parse_center(text), Settings(data=folder, **settings))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[Server, int]:
        server = Server(Tenants({"default": engine}, {"default": keys} if keys else {}), local=local or local_administrator())
        port = server.listen("127.0.0.1:0")
        if lines:
            server.listen_lines(line_socket(folder))
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    address = f"127.0.0.1:{port}"
    channel = grpc.insecure_channel(address)
    found = Served(address, engine, server, loop, channel, str(folder / "s") if lines else "")
    try:
        yield found
    finally:
        channel.close()
        found.run(found.server.stop(0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
        engine.close()


@contextlib.contextmanager
def serve_command(
    *arguments: str | Path, cwd: Path, listen: str = "127.0.0.1:0"
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``cordboard serve`` as a process of its own; gives it and its address once it says that it is ready."""
    command = [sys.executable, "-m", "cordboard", "serve", *map(str, arguments), "--listen", listen]
    with (cwd / "serve.log").open("a") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=log, text=True, env=dict(os.environ))
    assert process.stdout is not None
    try:
        ready = process.stdout.readline()
        assert "127.0.0.1:" in ready, f"{ready!r} {(cwd / 'serve.log').read_text()}"
        yield process, json.loads(ready)["address"] if "--json" in arguments else ready.split()[-1]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        process.stdout.close()
