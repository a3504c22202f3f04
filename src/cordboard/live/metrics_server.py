"""A small HTTP server for Prometheus and for whoever starts the process: /metrics, /health and /live."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import TYPE_CHECKING, Any

from cordboard.errors import StoreError

if TYPE_CHECKING:
    from cordboard.live.metrics import Metrics

CALLS_MAX = 16  # at once; more are turned away
CALL_S = 10.0  # for a caller to say what it wants and to take the answer
PAGE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsServer:
    """``/metrics``; ``/health``: 200 while every engine serves, else 503; ``/live``: 200 as long as it answers.

    Without a password; plain HTTP, or HTTPS with ``tls``, which may ask for clients' certificates. StoreError if the
    address is taken.
    """

    def __init__(
        self, metrics: Metrics, host: str = "127.0.0.1", port: int = 9464, *, tls: ssl.SSLContext | None = None
    ) -> None:
        try:
            self._server = _Server((host, port), metrics)
        except OSError as error:
            raise StoreError("in use", f"can't listen on {host}:{port}: {error.strerror}") from None
        if tls is not None:  # shaking hands is for the thread of the call, not for the one that accepts
            plain = self._server.socket
            self._server.socket = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="cordboard-http", daemon=True)

    def start(self) -> MetricsServer:
        """Begin; returns itself."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], metrics: Metrics) -> None:
        self.metrics = metrics
        self._places = threading.BoundedSemaphore(CALLS_MAX)
        super().__init__(address, _Handler)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Whoever goes away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    timeout = CALL_S
    server_version = "cordboard"
    sys_version = ""
    server: _Server

    def do_GET(self) -> None:
        metrics = self.server.metrics
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, PAGE, metrics.page())
        elif path == "/health":
            well, found = metrics.health()
            self._answer(200 if well else 503, "application/json", json.dumps(found).encode())
        elif path == "/live":
            self._answer(200, "application/json", b'{"live": true}')
        else:
            self._answer(404, "text/plain", b"/metrics, /health, /live\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line a scrape would drown the log."""
