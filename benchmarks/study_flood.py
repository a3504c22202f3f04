"""What a flood of connections does to ``cordboard serve``: how many are held, what they cost, and who is served meanwhile.

    python -m benchmarks.study_flood [--connections 15000] [--seconds 12] [--sources 1] [--only KIND] [--times 1] [--json]

A server with TLS and tokens, and another process that floods it from other addresses of this machine: connections that
say nothing (``silent``), half a TLS hello (``hello``), that are idle in HTTP/2 and answer its pings (``idle``), and that
open streams of a unary rpc without a token and never send the request (``streams``, 100 on each). Meanwhile a caller
asks every 50 ms on the connection it has, and another one on a new connection every second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from benchmarks.viewers import share
from cordboard.live import certificates, tokens
from cordboard.live.access import ALL, Caller, Role
from cordboard.v1 import queue_service_pb2 as queues
from cordboard.v1 import queue_service_pb2_grpc

KINDS = ("silent", "hello", "idle", "streams")
STREAMS = 100  # on a connection
AT_ONCE = 200  # handshakes under way
HELLO = bytes.fromhex("1603010200010001fc0303")  # how a TLS client begins
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # and empty SETTINGS
PATIENCE_S = 30.0


# ---- who floods


def headers() -> bytes:
    """A request's headers in HPACK, nothing indexed."""
    path = "/cordboard.v1.RoutingService/Enqueue"
    pairs = {":method": "POST", ":scheme": "https", ":path": path, ":authority": "localhost", "te": "trailers",
             "content-type": "application/grpc"}  # fmt: skip
    texts = [text.encode() for pair in pairs.items() for text in pair]
    return b"".join((b"\0" if at % 2 == 0 else b"") + bytes([len(text)]) + text for at, text in enumerate(texts))


def opened(count: int) -> bytes:
    """HEADERS of so many streams, none of which ends."""
    block = headers()
    frame = len(block).to_bytes(3, "big") + b"\x01\x04"
    return b"".join(frame + (2 * number + 1).to_bytes(4, "big") + block for number in range(count))


SECURE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
SECURE.check_hostname, SECURE.verify_mode = False, ssl.CERT_NONE
SECURE.set_alpn_protocols(["h2"])


async def one(kind: str, port: int, source: str, room: asyncio.Semaphore, told: list[int]) -> None:
    """A connection, until the other side ends it."""
    writer = None
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with room:
            tls = {"ssl": SECURE, "server_hostname": "localhost"} if kind in ("idle", "streams") else {}
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), **tls)  # type: ignore[arg-type]
                writer.write({"silent": b"", "hello": HELLO, "idle": PREFACE, "streams": PREFACE + opened(STREAMS)}[kind])
        told[0] += 1
        while frame := await reader.readexactly(9 if tls else 1):
            body = await reader.readexactly(int.from_bytes(frame[:3], "big")) if tls else b""
            if frame[3:4] == b"\x06" and not frame[4] & 1:  # a PING
                writer.write(frame[:4] + b"\x01" + frame[5:] + body)
            elif frame[3:4] == b"\x04" and not frame[4] & 1:  # SETTINGS
                writer.write(bytes(3) + b"\x04\x01" + bytes(4))
    if writer is not None:
        writer.transport.abort()
    told[1] += 1


async def flood(kind: str, port: int, count: int, sources: int) -> None:
    """Open them all, and hold them until this process is ended; says every second how many were made, and are over."""
    told, room = [0, 0], asyncio.Semaphore(AT_ONCE)
    lines = [asyncio.ensure_future(one(kind, port, f"127.0.1.{n % sources + 1}", room, told)) for n in range(count)]
    while True:
        await asyncio.sleep(1.0)
        print(json.dumps([*told, len(lines)]), flush=True)


# ---- who is flooded


@dataclass
class Seen:
    """What was seen of the server and of those who have a right to be served. ``made``, ``over``: connections of the
    flood that were made, and that the server had ended by the end of it."""

    kind: str
    made: int = 0
    over: int = 0
    files_max: int = 0
    files_after: int = 0
    threads_max: int = 0
    rss_before_mib: float = 0.0
    rss_max_mib: float = 0.0
    rss_after_mib: float = 0.0
    failed: int = 0
    new_failed: int = 0
    calls_ms: list[float] = field(default_factory=list)
    new_ms: list[float] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        found = {name: value for name, value in vars(self).items() if not name.endswith("_ms")}
        for name, values in (("calls", sorted(self.calls_ms)), ("new", sorted(self.new_ms))):
            found[name] = len(values)
            found[f"{name}_p50_ms"], found[f"{name}_p99_ms"] = (share(values, 0.5), share(values, 0.99)) if values else (0.0, 0.0)
        return {name: round(value, 1) if isinstance(value, float) else value for name, value in found.items()}


class Flooded:
    """A server in a process of its own, and somebody who may call it."""

    def __init__(self, folder: Path, limits: dict[str, float]) -> None:
        self.folder, self.authority = folder, certificates.make_authority("flood")
        certificates.write_pair(folder, "server", certificates.make_server(self.authority, ["localhost"]))
        key = tokens.new_key()
        tokens.write_keys(folder / "public.jwks", [key], private=False)
        who = Caller("a", "crm", frozenset({Role.SERVICE}), ALL, ALL, time.time() + 3600)
        self.token = tokens.issue(key, who, now=time.time())
        (folder / "a.toml").write_text("[queues.q]\n")
        (folder / "server.toml").write_text(
            '[server]\nlisten = "127.0.0.1:0"\ndata = "data"\n[tls]\ncertificate = "server.pem"\nkey = "server.key"\n'
            '[tokens]\nkeys = "public.jwks"\n[tenants.a]\ncenter = "a.toml"\n[limits]\n'
            + "".join(f"{name} = {value}\n" for name, value in limits.items())
        )
        command = [sys.executable, "-m", "cordboard", "serve", "--json", "--drain", "1", "--metrics", "off", "--records", "off"]
        self.process = subprocess.Popen([*command, "--settings", "server.toml"], cwd=folder, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(json.loads(self.process.stdout.readline())["address"].rpartition(":")[2])

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def rss_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def channel(self) -> grpc.Channel:
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(self.authority.certificate), grpc.access_token_call_credentials(self.token)
        )
        return grpc.secure_channel(f"localhost:{self.port}", credentials, [("grpc.use_local_subchannel_pool", 1)])

    def asked(self, channel: grpc.Channel) -> float | None:
        """Milliseconds of an ordinary call; None if it failed."""
        began = time.perf_counter()
        try:
            request = queues.QueueServiceGetRequest(name="tenants/a/queues/q")
            queue_service_pb2_grpc.QueueServiceStub(channel).Get(request, timeout=PATIENCE_S)
        except grpc.RpcError as error:
            print(error.code().name, error.details(), file=sys.stderr)
            return None
        return (time.perf_counter() - began) * 1e3

    def new(self, seen: Seen, stop: threading.Event) -> None:
        """Somebody who comes anew every second."""
        while not stop.is_set():
            with self.channel() as channel:
                took = self.asked(channel)
            seen.new_failed += took is None
            seen.new_ms += [] if took is None else [took]
            stop.wait(1.0)


@contextlib.contextmanager
def flooded(limits: dict[str, float]) -> Iterator[Flooded]:
    with tempfile.TemporaryDirectory() as name:
        server = Flooded(Path(name), limits)
        try:
            yield server
        finally:
            server.process.kill()
            server.process.communicate()


def study(server: Flooded, kind: str, connections: int, seconds: float, sources: int) -> Seen:
    """A flood of one kind, and the time after it until its connections are gone."""
    seen, stop = Seen(kind, rss_before_mib=server.rss_mib()), threading.Event()
    before = server.files()
    command = [sys.executable, "-m", "benchmarks.study_flood", "--flood", kind, "--port", str(server.port)]
    command += ["--connections", str(connections), "--sources", str(sources)]
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    anew = threading.Thread(target=server.new, args=(seen, stop))
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(attacker.stdout or ()), daemon=True)
    with server.channel() as channel:
        server.asked(channel)
        anew.start()
        reading.start()
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if lines and until > time.monotonic() + seconds:  # it has begun
                until = time.monotonic() + seconds
            took = server.asked(channel)
            seen.failed += took is None
            seen.calls_ms += [] if took is None else [took]
            seen.files_max, seen.threads_max = max(seen.files_max, server.files()), max(seen.threads_max, server.threads())
            seen.rss_max_mib = max(seen.rss_max_mib, server.rss_mib())
            time.sleep(0.05)
        attacker.kill()
        attacker.wait()
        reading.join()
        stop.set()
        anew.join()
        if lines:
            seen.made, seen.over, _ = json.loads(lines[-1])
        end = time.monotonic() + PATIENCE_S
        while server.files() > before + 50 and time.monotonic() < end:
            time.sleep(0.1)
        seen.failed += server.asked(channel) is None
    seen.files_after, seen.rss_after_mib = server.files(), server.rss_mib()
    return seen


def more_files() -> None:
    """As many open files as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each flood")
    parser.add_argument("--sources", type=int, default=1, help="addresses that it comes from")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--times", type=int, default=1, help="one server is flooded, with all that is flooded with")
    parser.add_argument("--flood", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    more_files()
    if options.flood:
        asyncio.run(flood(options.flood, options.port, options.connections, options.sources))
    with flooded({}) as server:
        for kind in (options.only,) * options.times if options.only else KINDS * options.times:
            found = study(server, kind, options.connections, options.seconds, options.sources).record()
            print(json.dumps(found) if options.json else "  ".join(f"{name} {value}" for name, value in found.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
