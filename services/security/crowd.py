"""One address may not take all connections: what gRPC itself bounds is those of everybody together.

gRPC says nothing of a connection before its first rpc, and takes no listening socket of ours. So the process looks at
its own descriptors, once a second and only while there are more of them than one address may have, and shuts down the
newest connections of an address beyond its share. gRPC then finds them closed by their peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections import defaultdict

LOOK_S = 1.0
DESCRIPTORS = "/dev/fd"
MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address within IPv6

_log = logging.getLogger("cordboard.serve")


class Crowd:
    """Closes connections to ``port`` of addresses that have more than ``most``. Of IPv6 a network of 64 bits counts as
    an address: whoever has one has all of it."""

    def __init__(self, port: int, most: int) -> None:
        self._port, self._most = port, most
        self._known: set[int] = set()  # connections that were there when it last looked

    async def watch(self) -> None:
        """Look again and again, until this is cancelled."""
        while os.path.isdir(DESCRIPTORS):
            await asyncio.sleep(LOOK_S)
            if len(os.listdir(DESCRIPTORS)) > self._most:
                await asyncio.to_thread(self.look)

    def look(self) -> int:
        """Look once; returns how many were closed."""
        found: dict[bytes, list[tuple[bool, int, int]]] = defaultdict(list)
        for name in os.listdir(DESCRIPTORS):
            with contextlib.suppress(OSError, ValueError):  # it was closed meanwhile, or is no connection
                file = os.fstat(int(name))
                if stat.S_ISSOCK(file.st_mode) and (host := self._peer(int(name))):
                    found[host].append((file.st_ino not in self._known, file.st_ino, int(name)))
        self._known = {inode for sockets in found.values() for _, inode, _ in sockets}
        closed = sum(_shut(number, inode) for some in found.values() for _, inode, number in sorted(some)[self._most :])
        if closed:
            _log.warning("connections of addresses that have more than %d: %d closed", self._most, closed)
        return closed

    def _peer(self, number: int) -> bytes | None:
        """The address of who is connected to the port; None for what is not such a connection."""
        line = socket.socket(fileno=number)
        try:
            if line.family not in (socket.AF_INET, socket.AF_INET6) or line.getsockname()[1] != self._port:
                return None
            packed = socket.inet_pton(line.family, line.getpeername()[0].partition("%")[0])
        finally:
            line.detach()
        return packed[12:] if packed.startswith(MAPPED) else packed[:8]


def _shut(number: int, inode: int) -> bool:
    """Shut down a connection, if its descriptor is still its own."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as line:
        if os.fstat(line.fileno()).st_ino == inode:
            line.shutdown(socket.SHUT_RDWR)
            return True
    return False
