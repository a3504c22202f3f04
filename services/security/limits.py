"""How much one caller may ask for: token buckets, streams, sizes."""

from __future__ import annotations

import logging
import resource
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from cordboard.errors import InputError, Where

FILES_BESIDE = 1_000  # that a server has open beside its connections
CALLERS_MAX = 10_000  # whose buckets are remembered; who is forgotten begins with a full one

_log = logging.getLogger("cordboard.serve")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on each caller, and on what reaches the server before anybody is known.

    ``requests_per_s`` (with bursts of ``burst``) counts unary calls, streams that are opened and messages that are sent
    into them; ``streams`` are those open at once. ``refusals_per_s``: how many refused attempts of one address are
    audited one by one; the others are counted. ``flood_per_s``: who is refused faster, from one
    address, is shut out with new connections for a while. ``write_s``: how long a reader may take for one message.
    ``connections``: at once, of everybody together; one more is closed as it comes. ``peer_connections``: of one
    address; the newest beyond it are closed within seconds. ``calls``: rpcs at once, of everybody together.
    ``pending``: rpcs that nobody has looked at yet; gRPC refuses those beyond, whoever's they are. ``idle_s``: until a
    connection without any rpc is closed. ``handshake_s``: until a new connection must have said in full what it is to
    say first, TLS and HTTP/2; else it is closed.
    """

    requests_per_s: float = 2000.0
    burst: float = 4000.0
    streams: int = 5000
    refusals_per_s: float = 20.0
    refusals_burst: float = 100.0
    flood_per_s: float = 500.0
    flood_burst: float = 2000.0
    write_s: float = 30.0
    connections: int = 10_000
    peer_connections: int = 5_000
    calls: int = 50_000
    pending: int = 20_000
    idle_s: float = 300.0
    handshake_s: float = 20.0
    message_bytes: int = 32 * 1024 * 1024  # columns of 100,000 events, or a center file of 16 MiB
    metadata_bytes: int = 16 * 1024
    connection_streams: int = 10_000

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 < getattr(self, name) <= 1e9:
                raise InputError(f"{getattr(self, name)!r} is not above 0", Where(key=name), "Leave it out")

    def server_options(self) -> list[tuple[str, int]]:
        """What gRPC itself enforces."""
        return [
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.max_metadata_size", self.metadata_bytes),
            ("grpc.absolute_max_metadata_size", 2 * self.metadata_bytes),
            ("grpc.max_concurrent_streams", self.connection_streams),
            ("grpc.max_allowed_incoming_connections", self.connections),
            ("grpc.server.max_pending_requests", self.pending),
            ("grpc.server.max_pending_requests_hard_limit", 2 * self.pending),
            ("grpc.max_connection_idle_ms", round(self.idle_s * 1000)),
            ("grpc.server_handshake_timeout_ms", round(self.handshake_s * 1000)),
        ]


def make_room(connections: int) -> None:
    """Let this process have as many files open as so many connections need, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_BESIDE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        _log.warning("%d connections need %d open files, and the system allows %d", connections, wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Buckets:
    """A token bucket for each key: ``rate`` a second, ``burst`` at once. Time is an argument, seconds."""

    def __init__(self, rate: float, burst: float, most: int = CALLERS_MAX) -> None:
        self._rate, self._burst, self._most = rate, burst, most
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable, now: float) -> float:
        """Take one. 0 if there was one; else nothing is taken, and it is the seconds until there will be one."""
        level, at = self._levels.pop(key, (self._burst, now))
        level = min(self._burst, level + max(0.0, now - at) * self._rate)
        taken = level >= 1.0
        self._levels[key] = (level - 1.0 if taken else level, now)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return 0.0 if taken else (1.0 - level) / self._rate
