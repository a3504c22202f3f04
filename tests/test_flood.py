"""A flood from one address: its share is bounded, and others are served meanwhile and afterwards."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from benchmarks.study_flood import flooded, study
from cordboard.services.security.crowd import Crowd


@contextlib.contextmanager
def connected(sources: list[str], listening: str = "127.0.0.1") -> Iterator[tuple[int, list[socket.socket]]]:
    """A port of this process, and connections to it from these addresses."""
    with contextlib.ExitStack() as stack:
        family = socket.AF_INET6 if ":" in listening else socket.AF_INET
        port = stack.enter_context(socket.create_server((listening, 0), family=family, backlog=200, dualstack_ipv6=":" in listening))
        number = port.getsockname()[1]
        made = []
        for source in sources:
            made.append(stack.enter_context(socket.create_connection(("127.0.0.1", number), 10, (source, 0))))
            stack.enter_context(port.accept()[0])
        yield number, made


def is_over(line: socket.socket) -> bool:
    line.settimeout(0.0)
    with contextlib.suppress(BlockingIOError):
        return line.recv(1) == b""
    return False


@pytest.mark.parametrize("listening", ["127.0.0.1", "::"])
def test_of_an_address_that_has_too_many_connections_the_newest_are_closed_and_no_others(listening: str) -> None:
    # Given ten connections of one address, and then twenty more of it among five of another
    first, later = ["127.0.0.2"] * 10, ["127.0.0.3", *["127.0.0.2"] * 4] * 5
    with connected(first, listening) as (port, before):
        crowd = Crowd(port, 12)
        assert crowd.look() == 0
        assert not any(map(is_over, before))
    with connected(first + later, listening) as (port, lines):
        crowd = Crowd(port, 12)
        # When it is looked at
        assert crowd.look() == 18
        # Then the first address has its share, and the other one all of its own
        ends = [is_over(line) for line in lines]
        assert sum(ends) == 18 and not any(over for over, source in zip(ends, first + later, strict=True) if source == "127.0.0.3")
        assert Crowd(port + 1 if port < 65_535 else 1, 0).look() == 0  # connections to other ports are not its concern


@pytest.mark.parametrize("kind", ["silent", "idle", "streams"])
def test_a_flood_gets_its_share_and_callers_are_served_meanwhile_and_afterwards(kind: str) -> None:
    with flooded({"peer_connections": 60}) as server:  # more than a server's own open files
        seen = study(server, kind, 120 if kind != "streams" else 10, 4.0, 1)
    assert seen.calls_ms and seen.new_ms and not seen.failed and not seen.new_failed
    assert seen.made > 0 and (seen.over > 0 or kind == "streams")
    assert seen.files_after < 60
