"""A flood from one address: its share is bounded, and others are served meanwhile and afterwards."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from benchmarks.study_flood import flooded, study
from cordboard.services.security.crowd import Crowd, share_of


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


def test_an_address_is_shut_out_but_for_its_connections_that_had_an_rpc_let_in() -> None:
    # Given six connections of an address, two of them known, and one of another
    with connected(["127.0.0.2"] * 6 + ["127.0.0.3"]) as (port, lines):
        crowd = Crowd(port, 100)
        crowd.welcome = {f"ipv4:127.0.0.2:{line.getsockname()[1]}" for line in lines[:2]}
        # When that address is shut out, then its strangers are, and nobody else
        assert crowd.end_strangers({str(share_of("ipv4:127.0.0.2:1"))}) == 4
        assert [is_over(line) for line in lines] == [False, False, True, True, True, True, False]


@pytest.mark.parametrize("listening", ["127.0.0.1", "[::]", "[::1]"])
def test_a_connection_is_named_as_grpc_names_its_peer(listening: str) -> None:
    named: list[str] = []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        named.append(context.peer())
        return request

    class Handlers(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), [Handlers()])
    port = server.add_insecure_port(f"{listening}:0")
    server.start()
    try:
        with grpc.insecure_channel(f"{'[::1]' if listening == '[::1]' else '127.0.0.1'}:{port}") as channel:
            channel.unary_unary("/a/b")(b"", timeout=30)
            crowd = Crowd(port, 100)
            crowd.welcome = named
            assert crowd.end_strangers({str(share_of(named[0]))}) == 0
            channel.unary_unary("/a/b")(b"", timeout=30)
            assert named[0] == named[1]
    finally:
        server.stop(0)


def test_a_peers_network_is_its_address_and_a_local_socket_has_none() -> None:
    assert share_of("ipv6:%5B2001:db8::1%5D:5") == share_of("ipv6:[2001:db8::2]:7") != share_of("ipv6:%5B2001:db9::1%5D:5")
    assert share_of("ipv4:10.0.0.1:5") == share_of("ipv4:10.0.0.1:6") != share_of("ipv4:10.0.0.2:5")
    assert share_of("unix:") is None


@pytest.mark.parametrize("kind", ["silent", "idle", "streams"])
def test_a_flood_gets_its_share_and_callers_are_served_meanwhile_and_afterwards(kind: str) -> None:
    with flooded({"peer_connections": 60, "flood_per_s": 20, "flood_burst": 100}) as server:  # more than a server's own open files
        seen = study(server, kind, 120 if kind != "streams" else 10, 4.0, 1)
    assert seen.calls_ms and seen.new_ms and not seen.failed and not seen.new_failed
    assert seen.made > 0 and seen.over > 0
    assert seen.files_after < 60
