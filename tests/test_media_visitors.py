"""Connections that others open to the SIP port, TCP and TLS: who says nothing does not stay, and others are not disturbed."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time

import pytest

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from tests.bare_node import BareNode
from tests.test_media_sipp import make  # noqa: F401  (a fixture)
from tests.test_media_trunks_live import keys, our_tls  # noqa: F401  (a fixture)

NEW_OF_ONE_MAX, SILENT_S = 32, 8.0
PATIENCE_S = 30.0


@pytest.fixture
def start(tmp_path):
    made = []

    def one(**options) -> BareNode:
        made.append(BareNode(tmp_path, **options))
        return made[-1]

    yield one
    for node in made:
        node.kill()


def comes(node: BareNode, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", node.tcp_port), PATIENCE_S, (host, 0))


def is_over(connection: socket.socket) -> bool:
    """Whether the other side has ended it. What it has sent before is thrown away."""
    try:
        while select.select([connection], [], [], 0)[0]:
            if not connection.recv(65536):
                return True
    except ConnectionError:
        return True
    return False


def open_of(connections: list[socket.socket]) -> int:
    return sum(not is_over(connection) for connection in connections)


def asks(connection: socket.socket, number: int) -> str:
    """What it answers to OPTIONS."""
    host, port = connection.getsockname()
    lines = [
        f"OPTIONS sip:4001@{host} SIP/2.0",
        f"Via: SIP/2.0/TCP {host}:{port};branch=z9hG4bK{number}{port}",
        "Max-Forwards: 70",
        f"From: <sip:a@{host}>;tag=1",
        f"To: <sip:4001@{host}>",
        f"Call-ID: {number}-{port}@{host}",
        f"CSeq: {number} OPTIONS",
        "Content-Length: 0",
    ]
    connection.settimeout(PATIENCE_S)
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection.recv(4096).decode().partition("\r\n")[0]


def until(found, seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def close(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def test_who_says_nothing_or_never_ends_a_message_is_shut_out_and_others_stay(start):
    # Given a phone that has a reason to be here
    node = start(phones=("127.0.0.1/32",))
    phone = comes(node)
    assert asks(phone, 1).startswith("SIP/2.0 200")
    before = node.state()["descriptors"]
    # When many connect and say nothing, and one sends byte after byte of a message that never ends
    silent = [comes(node) for _ in range(100)]
    trickle = comes(node, "127.0.0.3")
    # Then some of them stay for a moment, the youngest
    until(lambda: open_of(silent) <= NEW_OF_ONE_MAX)
    assert all(not is_over(connection) for connection in silent[-5:])
    # And in the end none
    end = time.monotonic() + PATIENCE_S
    while open_of(silent) or not is_over(trickle):
        assert time.monotonic() < end
        with contextlib.suppress(ConnectionError):
            trickle.send(b"O")
        time.sleep(0.2)
    until(lambda: node.state()["descriptors"] <= before)
    # And the phone goes on, and one more is let in
    assert asks(phone, 2).startswith("SIP/2.0 200")
    other = comes(node)
    assert asks(other, 1).startswith("SIP/2.0 200")
    # And it was told of once for each source
    assert node.log.read_text().count("opens connections and says nothing") == 2
    close([phone, other, trickle, *silent])
    node.close()


def test_a_stranger_who_asks_all_the_time_is_shut_out_too(start):
    # Given who is not let in
    node = start(phones=("127.0.0.2/32",))
    stranger, phone = comes(node), comes(node, "127.0.0.2")
    assert asks(phone, 1).startswith("SIP/2.0 200")
    # When he goes on asking, then he is answered for a while
    assert asks(stranger, 1).startswith("SIP/2.0 403")
    begun, number = time.monotonic(), 1
    while not is_over(stranger):
        assert time.monotonic() < begun + PATIENCE_S
        number += 1
        try:
            stranger.sendall(b"OPTIONS sip:a SIP/2.0\r\n\r\n")
        except ConnectionError:
            break
        time.sleep(0.2)
    # And the phone of somebody known stays
    assert asks(phone, 2).startswith("SIP/2.0 200")
    close([stranger, phone])
    node.close()


def test_one_address_has_so_many_connections_and_another_one_its_own(start):
    # Given an address that has as many as it may have, each with a reason
    node = start(phones=("127.0.0.1/32", "127.0.0.2/32"), requests_per_s=100_000.0)
    many = [comes(node) for _ in range(20)]
    for connection in many:
        assert asks(connection, 1).startswith("SIP/2.0 200")
    # When strangers of many addresses connect
    strangers = [comes(node, f"127.0.1.{n}") for n in range(1, 254)] + [comes(node, f"127.0.2.{n}") for n in range(1, 100)]
    until(lambda: open_of(strangers) <= 256)
    # Then who has a reason stays
    assert open_of(many) == len(many)
    assert asks(many[0], 2).startswith("SIP/2.0 200")
    close([*many, *strangers])
    node.close()


@pytest.mark.slow
def test_a_connection_by_tls_that_says_nothing_is_shut_out(make, keys):  # noqa: F811
    # Given one that shakes hands and says nothing, and one that does not even shake hands
    bench = make(port=None, tls_port=0, tls=our_tls(keys))
    context = ssl.create_default_context(cafile=str(keys / "good.ca"))
    context.check_hostname = False
    bare = socket.create_connection(("127.0.0.1", bench.backend.tls_port), PATIENCE_S)
    begun = socket.create_connection(("127.0.0.1", bench.backend.tls_port), PATIENCE_S)
    begun.setblocking(False)
    line = context.wrap_socket(begun, do_handshake_on_connect=False)
    for _ in range(200):
        try:
            line.do_handshake()
            break
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            bench.rest(0.1)
    else:
        raise AssertionError("no handshake")
    # Expect the end of both
    end, over = time.monotonic() + PATIENCE_S, False
    while not over or not is_over(bare):
        assert time.monotonic() < end
        bench.rest(0.1)
        try:
            over = over or line.recv(1) == b""
        except ssl.SSLWantReadError:
            continue
        except (ssl.SSLError, ConnectionError):
            over = True
    line.close()
    bare.close()
