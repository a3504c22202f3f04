"""One address may not take all connections, and a stranger not all of the time: what gRPC itself bounds is those of
everybody together.

gRPC says nothing of a connection before its first rpc, and takes no listening socket of ours. So the process looks at
its own descriptors, once a second and only while there are more of them than one address may have, and shuts down the
newest connections of an address beyond its share. gRPC then finds them closed by their peer. In the same way it shuts
out an address whose rpcs are refused again and again, but for those connections of it that had one let in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Collection, Container

LOOK_S = 1.0
SHUT_S = 10.0
SHUT_LOOK_S = 0.05
DESCRIPTORS = "/dev/fd"
MAPPED = "::ffff:"  # before an IPv4 address within IPv6

_log = logging.getLogger("cordboard.serve")


class Crowd:
    """Closes connections to ``port`` of addresses that have more than ``most``. Of IPv6 a network of 64 bits counts as
    an address: whoever has one has all of it. ``welcome``: the peers who are never shut out (``shut_out``)."""

    def __init__(self, port: int, most: int) -> None:
        self._port, self._most = port, most
        self._known: set[int] = set()  # connections that were there when it last looked
        self.welcome: Container[str] = ()
        self._shut_until: dict[str, float] = {}
        self._shutting: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        """Look again and again, until this is cancelled."""
        while os.path.isdir(DESCRIPTORS):
            await asyncio.sleep(LOOK_S)
            if len(os.listdir(DESCRIPTORS)) > self._most:
                await asyncio.to_thread(self.look)

    def look(self) -> int:
        """Look once; returns how many were closed."""
        found: dict[str, list[tuple[bool, int, int]]] = defaultdict(list)
        for name in os.listdir(DESCRIPTORS):
            with contextlib.suppress(OSError, ValueError):  # it was closed meanwhile, or is no connection
                file = os.fstat(int(name))
                if stat.S_ISSOCK(file.st_mode) and (peer := self._peer(int(name))):
                    found[share_of(peer) or peer].append((file.st_ino not in self._known, file.st_ino, int(name)))
        self._known = {inode for sockets in found.values() for _, inode, _ in sockets}
        closed = sum(end(number, inode) for some in found.values() for _, inode, number in sorted(some)[self._most :])
        if closed:
            _log.warning("connections of addresses that have more than %d: %d closed", self._most, closed)
        return closed

    def shut_out(self, peer: str) -> None:
        """Let nobody new in from the address of a peer, as gRPC names it, for ``SHUT_S`` seconds from now, and end what
        is there but of those who are welcome. In the event loop."""
        share = share_of(peer)
        if share is None or not os.path.isdir(DESCRIPTORS):
            return
        self._shut_until[share] = time.monotonic() + SHUT_S
        if self._shutting is None or self._shutting.done():
            _log.warning("too many rpcs of strangers were refused: new connections of their addresses are closed")
            self._shutting = asyncio.get_running_loop().create_task(self._shut())

    async def _shut(self) -> None:
        closed = 0
        while self._shut_until:
            began = time.monotonic()
            # Here and not in a thread, which would wait for the interpreter's lock of a busy loop at each descriptor.
            closed += self.end_strangers(self._shut_until)
            await asyncio.sleep(max(SHUT_LOOK_S, 4 * (time.monotonic() - began)))  # not all of the time
            now = time.monotonic()
            self._shut_until = {share: until for share, until in self._shut_until.items() if until > now}
        _log.warning("new connections of all addresses are taken again; %d were closed", closed)

    def end_strangers(self, shares: Collection[str]) -> int:
        """End the connections of these addresses but of those who are welcome; returns how many there were."""
        closed = 0
        for name in os.listdir(DESCRIPTORS):
            with contextlib.suppress(OSError, ValueError):
                file = os.fstat(int(name))
                peer = self._peer(int(name)) if stat.S_ISSOCK(file.st_mode) else ""
                if share_of(peer) in shares and peer not in self.welcome:
                    closed += end(int(name), file.st_ino)
        return closed

    def _peer(self, number: int) -> str:
        """Who is connected to the port, as gRPC names them; empty for what is not such a connection."""
        line = socket.socket(fileno=number)
        try:
            if line.family not in (socket.AF_INET, socket.AF_INET6) or line.getsockname()[1] != self._port:
                return ""
            host, port = line.getpeername()[:2]
        finally:
            line.detach()
        host = host.removeprefix(MAPPED)
        return f"ipv6:%5B{host.partition('%')[0]}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"


def share_of(peer: str) -> str | None:
    """What of a peer's name counts as one address, of IPv6 its network; None over a Unix socket."""
    family, _, rest = urllib.parse.unquote(peer).partition(":")
    host = rest.rpartition(":")[0]
    if family == "ipv6":
        return socket.inet_pton(socket.AF_INET6, host.strip("[]").partition("%")[0])[:8].hex()
    return host if family == "ipv4" else None


def end(number: int, inode: int) -> bool:
    """Shut down a connection, if its descriptor is still its own."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as line:
        if os.fstat(line.fileno()).st_ino == inode:
            line.shutdown(socket.SHUT_RDWR)
            return True
    return False
