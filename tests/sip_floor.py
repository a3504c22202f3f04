"""A center at work with real calls, all of it processes of their own: the server, its media nodes on PJSIP, and the
telephone of the tests at the other ends. What any of them does to the others is real, so is how they die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cordboard import Acd
from cordboard.calls.config import Calls
from cordboard.calls.switchboard import Switchboard
from cordboard.center import parse_center
from cordboard.client import Client
from cordboard.errors import EventError
from cordboard.live import Settings
from cordboard.live.store import make_store
from cordboard.media.simulated import FarEnd
from tests.floor import conserved
from tests.recorded import RECIPIENT
from tests.serving import serve_command
from tests.sip_peer import Call, Telephone
from tests.sipp import free_port

PATIENCE_S = 30.0
CENTER = "[queues.billing]\noffer_timeout = 20\n[agents.li]\n"
CALLS = '[numbers.4001]\nqueue = "billing"\n[queues.billing]\nrecord = true\n[phones.li]\nto = "{li}"\n'
# A node whose loop stops turning once there is a file stuck-NODE.
STUCK = """
import sys, time
from pathlib import Path
from cordboard.bindings.pjsip.backend import PjsipMedia
from cordboard.cli import main
turn, stuck = PjsipMedia.reports, Path("stuck-" + sys.argv[sys.argv.index("--node") + 1])
def reports(self, timeout):
    while stuck.exists():
        time.sleep(3600)
    return turn(self, timeout)
PjsipMedia.reports = reports
sys.exit(main())
"""


def until(found: Callable[[], Any], seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def children(process: int) -> list[int]:
    return [int(name) for name in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


class Node:
    """``cordboard media --sip``: the process that watches, and the one that works."""

    def __init__(self, folder: Path, server: str, name: str, *more: str, before: Sequence[str] = ()) -> None:
        self.name, self.port = name, free_port()
        for part in ("prompts", "recordings"):
            (folder / part).mkdir(exist_ok=True)
        command = [*before, sys.executable, "-c", STUCK, "media", "--sip", f"127.0.0.1:{self.port}", "--server", server]
        command += ["--recipient", RECIPIENT]
        command += ["--node", name, "--json", *more]
        self.log = (folder / f"{name}.log").open("w+")
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=self.log, text=True, env=dict(os.environ)
        )
        assert self.process.stdout is not None
        assert "ready" in self.process.stdout.readline(), self.said()

    def worker(self) -> int:
        until(lambda: children(self.process.pid))
        return children(self.process.pid)[0]

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0, self.said()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


class SipFloor:
    """See above. The telephones of agents pick up at once; ``{li}`` in the file of calls is the address of li's."""

    def __init__(self, folder: Path, center: str = CENTER, calls: str = CALLS) -> None:
        self.folder, self.telephone, self.nodes = folder, Telephone(), dict[str, Node]()
        self.center = parse_center(center)
        self.phones = {one.name: self.telephone.phone(FarEnd(rings=0.0, picks_up=0.05)) for one in self.center.agents}
        (folder / "center.toml").write_text(center)
        (folder / "calls.toml").write_text(calls.format(**self.phones))
        self.address = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        """Start the server, where it was before."""
        self._serving = contextlib.ExitStack()
        command = serve_command(
            "center.toml", "--calls", "calls.toml", "--data", "data", "--json", cwd=self.folder, listen=self.address
        )
        self.server, self.address = self._serving.enter_context(command)

    def add_node(self, name: str, *more: str, **options: Any) -> Node:
        self.nodes[name] = Node(self.folder, self.address, name, *more, **options)
        return self.nodes[name]

    def ready(self, *agents: str) -> None:
        with Client(self.address) as client:
            for agent in agents or ("li",):
                client.set_state(agent, "ready")

    def command(self, *words: str) -> str:
        """What ``cordboard`` says to such a command line for the server."""
        line = [sys.executable, "-m", "cordboard", *words, "--server", self.address]
        return subprocess.run(line, cwd=self.folder, check=True, capture_output=True, text=True, timeout=60).stdout

    def call(self, node: str) -> Call:
        """Somebody calls at a node."""
        return self.telephone.call(self.nodes[node].port, "4001", FarEnd())

    def talks_to(self, caller: Call) -> Call | None:
        """The call at an agent's telephone that hears the caller, and is heard."""
        hears, others = self.telephone.hears, list(self.telephone.calls.values())
        found = (other for other in others if other is not caller and hears(caller, other.hertz) and hears(other, caller.hertz))
        return next(found, None)

    def wait_for_talk(self, caller: Call) -> Call:
        end = time.monotonic() + PATIENCE_S
        while (found := self.talks_to(caller)) is None:
            assert time.monotonic() < end, f"{caller.name} talks to nobody\n{self.telephone.state()}\n{self.journal()[-12:]}"
            time.sleep(0.05)
        return found

    def journal(self) -> list[dict[str, Any]]:
        """All events so far, read beside the server."""
        store = make_store(Settings(data=self.folder / "data"), "default", read_only=True)
        store.open()
        try:
            return [{"t": row.ticks / 1e6} | json.loads(row.event) for row in store.rows()]
        finally:
            store.close()

    def board(self) -> Switchboard:
        """The switchboard that the journal makes: every leg in one place, every contact in one state, at every step."""
        return self._replayed()[0]

    def effects(self, kind: str) -> list[dict[str, Any]]:
        """All effects of a kind so far."""
        return [effect for effect in self._replayed()[1] if effect["effect"] == kind]

    def _replayed(self) -> tuple[Switchboard, list[dict[str, Any]]]:
        board, effects = Switchboard(Acd(self.center), Calls()), list[dict[str, Any]]()
        for event in self.journal():
            try:
                effects += board.apply(event)
            except EventError as error:
                effects += error.effects
            conserved(board)
        return board, effects

    def all_over(self) -> None:
        """No leg is left, and nobody is unaccounted for."""
        until(lambda: not self.board().state.legs)
        counts = self.board().acd.counts()
        assert counts["entered"] == counts["ended"]

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()
        self._serving.close()
        self.telephone.close()


@contextlib.contextmanager
def sip_floor(folder: Path, *nodes: str, center: str = CENTER, calls: str = CALLS) -> Iterator[SipFloor]:
    floor = SipFloor(folder, center, calls)
    try:
        for name in nodes:
            floor.add_node(name)
        yield floor
    finally:
        floor.close()
