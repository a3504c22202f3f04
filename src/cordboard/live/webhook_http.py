"""One signed message, posted once: Standard Webhooks over HTTP/1.1, bounded in time and size.

The signature is HMAC-SHA256 over ``id.timestamp.body`` with each of the endpoint's secrets, so that a secret can be
rotated: both are valid until the old one is taken out. See standardwebhooks.com, "Signature scheme".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from cordboard.errors import InputError, Where

ANSWER_BYTES_MAX = 64 * 1024  # of an answer's body; nobody reads it, but a connection that is to be kept must be empty
SECRET_BYTES = (24, 64)
PREFIX = "whsec_"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt: an HTTP status, or 0 and why there is none. ``retry_after``: seconds, if given."""

    status: int
    why: str
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300


def key_of(secret: str) -> bytes:
    """The bytes of a secret ``whsec_...`` (Base64 of 24 to 64 bytes). InputError if it is none; it is never shown."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:  # binascii.Error is one, too
        key = b""
    if not SECRET_BYTES[0] <= len(key) <= SECRET_BYTES[1]:
        hint = f"Write {PREFIX} and Base64 of {SECRET_BYTES[0]} to {SECRET_BYTES[1]} random bytes"
        raise InputError("not a secret of Standard Webhooks", Where(key="secret"), hint)
    return key


def signature(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``: one ``v1,...`` for each key."""
    content = b"%s.%d.%s" % (id.encode(), timestamp, body)
    digests = [hmac.new(key, content, hashlib.sha256).digest() for key in keys]
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def checked_url(url: str) -> SplitResult:
    """The parts of an endpoint's address. InputError unless it is https, or http on this machine."""
    where = Where(key="url")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InputError(f"{url!r} has no valid host or port", where) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is not an address of the web", where, "Write https://HOST/PATH")
    if parts.username or parts.password:
        raise InputError("an address with a password in it", where, "The signature says who we are; leave it out")
    if parts.scheme == "http" and not _loopback(parts.hostname):
        raise InputError(f"{url!r} would send personal data in the clear", where, "Use https")
    return parts


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Poster:
    """Posts to one address over one connection that is kept. For one thread; ``abort`` may be called by another."""

    def __init__(self, url: str, timeout_s: float, context: ssl.SSLContext | None = None) -> None:
        self._parts = checked_url(url)
        self._timeout_s = timeout_s
        self._context = context
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._ended = False

    def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """One attempt. Whatever goes wrong is an Answer; nothing is raised. It ends within the timeout."""
        for fresh in (self._connection is None, True):
            try:
                return self._once(body, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                self.close()
                if fresh or self._ended:  # a kept connection may have been closed while it was idle: that is no answer
                    return Answer(0, type(error).__name__)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.close()
                return Answer(0, "timeout" if isinstance(error, TimeoutError) else type(error).__name__)
        raise AssertionError("the second attempt is always fresh")

    def _once(self, body: bytes, headers: dict[str, str]) -> Answer:
        # The socket's timeout bounds each step; the watch bounds them all, for a server that sends a byte now and then.
        late = threading.Event()

        def end() -> None:
            late.set()
            self._break_off()

        watch = threading.Timer(self._timeout_s, end)
        watch.daemon = True
        watch.start()
        try:
            connection = self._connected()
            target = self._parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            rest = response.read(ANSWER_BYTES_MAX)
            if late.is_set():  # what was broken off looks like the end of an answer
                raise TimeoutError
            if len(rest) == ANSWER_BYTES_MAX or response.will_close:
                self.close()
            retry = response.getheader("Retry-After", "")
            return Answer(response.status, response.reason, float(retry) if retry.isdecimal() else None)
        except (OSError, http.client.HTTPException, ValueError):
            if late.is_set():
                raise TimeoutError from None
            raise
        finally:
            watch.cancel()

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._parts.hostname or "", self._parts.port
            if self._parts.scheme == "https":
                context = self._context or ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
            self._connection.connect()
            self._socket = self._connection.sock
        return self._connection

    def abort(self) -> None:
        """End what is going on now, from another thread, for good."""
        self._ended = True
        self._break_off()

    def _break_off(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._socket = None
