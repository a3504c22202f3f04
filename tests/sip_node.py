"""A second media node as the other end: answers every call in a process of its own, and says what it sees.

One process holds one PJSIP, so a peer that speaks TLS and SRTP as ours does is another process. What it sees comes as
JSON lines; the command comes as JSON on its command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

LIVES_S = 60.0


class Node:
    """The process. ``dials``: what it calls itself as soon as it is there."""

    def __init__(self, settings: Path, folder: Path, dials: str = "", trunk: str = "") -> None:
        command = [sys.executable, "-m", "tests.sip_node", str(settings), str(folder), dials, trunk]
        root = Path(__file__).resolve().parents[1]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=dict(os.environ))
        self.lines: Queue[dict[str, Any]] = Queue()
        Thread(target=self._read, daemon=True).start()
        self.ports = self.until("ready")["ports"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def until(self, kind: str, seconds: float = 20.0) -> dict[str, Any]:
        """The next line of a kind."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                raise AssertionError(f"no {kind} from the other node") from None
            if line["kind"] == kind:
                return line

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def main() -> None:
    from cordboard.bindings.node_file import load_node
    from cordboard.bindings.pjsip.backend import PjsipMedia
    from cordboard.media.backend import Answer, Dial, Incoming

    file, folder, dials, trunk = sys.argv[1:]
    backend = PjsipMedia(load_node(file, Path(folder), Path(folder), 64))
    print(json.dumps({"kind": "ready", "ports": [backend.port, backend.tcp_port, backend.tls_port]}), flush=True)
    if dials:
        backend.send([Dial("out", dials, trunk=trunk)])
    end = time.monotonic() + LIVES_S
    while time.monotonic() < end:
        for report in backend.reports(0.1):
            said = {key: getattr(report, key, None) for key in ("leg", "cause", "to", "caller", "headers")}
            quality = getattr(report, "quality", None)
            said |= {"received": quality.received} if quality else {}
            print(json.dumps({"kind": type(report).__name__, **said}), flush=True)
            if isinstance(report, Incoming):
                backend.send([Answer(report.leg)])


if __name__ == "__main__":
    main()
