"""The media layer on PJSIP in a process of its own, without an engine: what hostile peers are let loose upon.

``python -m tests.bare_node FOLDER [--phones NETWORK] [--requests-per-s N]``: answers who calls 4001, refuses others, and dials
whom it is told to. Each line on its input is a command: ``dial URI``, ``state``; ``state`` is answered by a line of JSON.
At the end of its input it closes, and tells its state once more. :class:`BareNode` is the other end of all that.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any


def resources() -> dict[str, int]:
    """Of this process: descriptors, threads, and memory that is its own, kB."""
    status = Path("/proc/self/status").read_text()
    found = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith(("Threads", "RssAnon"))}
    return {"descriptors": len(os.listdir("/proc/self/fd")), "threads": int(found["Threads"]), "memory_kb": int(found["RssAnon"])}


def serve(asked: argparse.Namespace) -> None:
    from cordboard.bindings.pjsip.backend import PjsipMedia
    from cordboard.bindings.settings import SipSettings
    from cordboard.media.backend import Answer, Answered, Cause, Connect, Dial, Ended, HangUp, Incoming

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    folder, count, causes = Path(asked.folder), Counter[str](), Counter[str]()
    media = PjsipMedia(
        SipSettings(
            prompts=folder,
            recordings=folder,
            phones=tuple(asked.phones),
            requests_per_s=asked.requests_per_s,
            legs_max=asked.legs,
            silence_s=asked.silence,
            tcp_port=0,
        )
    )
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in itertools.chain(sys.stdin, [""]):
            commands.put(line)

    threading.Thread(target=read, daemon=True).start()

    def take(seconds: float) -> None:
        for report in media.reports(seconds):
            count[type(report).__name__] += 1
            if isinstance(report, Incoming):
                known = report.to == "4001"
                media.send([Answer(report.leg)] if known else [HangUp(report.leg, Cause.INVALID)])
            elif isinstance(report, Answered):
                others = sorted(media.legs() - {report.leg})[:1]
                media.send([Connect(*pair) for other in others for pair in ((other, report.leg), (report.leg, other))])
            elif isinstance(report, Ended):
                causes[report.cause] += 1

    def tell() -> None:
        state = {"legs": len(media.legs()), "refused": media.turned_away, "dialed": dialed, "causes": dict(causes)}
        print(json.dumps(state | resources() | {"reports": dict(count)}), flush=True)

    dialed, line = 0, "start"
    print(json.dumps({"port": media.port, "tcp_port": media.tcp_port}), flush=True)
    while line:
        take(0.02)
        while line and not commands.empty():
            line = commands.get()
            if line.startswith("dial "):
                media.send([Dial(f"d{dialed}", line.split()[1], ring_s=60.0)])
                dialed += 1
            elif line == "state\n":
                tell()
    media.close()
    take(0.0)
    tell()


class BareNode:
    """Starts one, and talks to it."""

    def __init__(self, folder: Path, *, phones: tuple[str, ...] = ("127.0.0.0/8",), requests_per_s: float = 1000.0, legs: int = 256, silence: float = 60.0, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tests.bare_node", str(folder), "--requests-per-s", str(requests_per_s), "--legs", str(legs)]
        command += ["--silence", str(silence), *(word for network in phones for word in ("--phones", network))]
        self.log = folder / "node.log"
        here = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(__file__).parents[1],
                env=os.environ | here | (env or {}),
            )
        ready = self._hear()
        self.port: int = ready["port"]
        self.tcp_port: int = ready["tcp_port"]

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the node is dead: {self.process.wait()}\n{self.log.read_text()[-4000:]}"
        found: dict[str, Any] = json.loads(line)
        return found

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def dial(self, uri: str) -> None:
        self._say(f"dial {uri}")

    def state(self) -> dict[str, Any]:
        self._say("state")
        return self._hear()

    def close(self) -> dict[str, Any]:
        """It ends by itself, and every leg that began has ended once."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        found = self._hear()
        assert self.process.wait(30) == 0, self.log.read_text()[-4000:]
        self.process.stdout.close()
        assert found["legs"] == 0
        assert found["reports"].get("Ended", 0) == found["reports"].get("Incoming", 0) + found["dialed"], found
        return found

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for end in (self.process.stdin, self.process.stdout):
            if end is not None:
                end.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--phones", action="append", default=[])
    parser.add_argument("--requests-per-s", type=float, default=1000.0)
    parser.add_argument("--legs", type=int, default=256)
    parser.add_argument("--silence", type=float, default=60.0)
    serve(parser.parse_args())
