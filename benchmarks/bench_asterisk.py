"""What a call costs that comes in, waits in a queue and is bridged with an agent's phone: cordboard, and Asterisk's Queue() beside it.

``python -m benchmarks.bench_asterisk [--rate 50] [--calls 500] [--rounds 3] [--talk 0.5] [--agents 400]`` prints a table. sipp
calls, sipp answers as the agents, on the same machine; both systems are up all the time and take turns with the same load,
so a machine that is busy is so for both. CPU is that of all processes of a system, from /proc: Asterisk one, cordboard the
server, the process that keeps its records, the media node and the one that watches it. Nobody speaks, and the peers
send nothing back: Asterisk then sends no packets, cordboard five a second to each leg. Without Asterisk (see .ci/asterisk) cordboard is measured alone.
Needs `make media` and sipp; under pytest the same at a small size.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from rich.console import Console
from rich.table import Table

from cordboard.client import Client
from tests.interop.asterisk import Asterisk
from tests.serving import serve_command
from tests.sipp import SIPP, Sipp, answerer, caller, free_port

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ImportError)
pytestmark = pytest.mark.skipif(SIPP is None, reason="sipp is not installed (apt-get install sip-tester)")
TICKS = os.sysconf("SC_CLK_TCK")
KINDS = ("asterisk", "records", "serve", "media")  # of processes, by a word of their command
PATIENCE_S = 60.0


class System(Protocol):
    """One of those that are compared. ``processes``: the first of each tree; ``bridged``: calls with an agent so far."""

    name: str
    port: int
    processes: tuple[int, ...]

    def bridged(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Load:
    rate: float
    calls: int
    talk_s: float
    agents: int


def cpu_s(process: int) -> dict[str, float]:
    """CPU so far of a process and all below it, those that have ended too, by what they are called; s."""
    found: dict[str, float] = {}
    left = [process]
    while left:
        one = left.pop()
        try:
            stat = Path(f"/proc/{one}/stat").read_text()
            tasks = list(Path(f"/proc/{one}/task").iterdir())
            words = Path(f"/proc/{one}/cmdline").read_text().split("\0")
            left += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:  # it has ended since
            continue
        kind = next((kind for kind in KINDS if any(kind in word.split("/")[-1] for word in words[:4])), "other")
        name = f"{kind} {one}"
        found[name] = sum(map(int, stat.rpartition(")")[2].split()[11:15])) / TICKS
    return found


class Ours:
    """``cordboard serve`` with a journal on disk and every write confirmed, and ``cordboard media`` on PJSIP."""

    name = "cordboard"

    def __init__(self, client: Client, port: int, processes: tuple[int, ...]) -> None:
        self._client, self.port, self.processes = client, port, processes

    def bridged(self) -> int:
        return sum(agent.handled_count for agent in self._client.agents())


class Theirs:
    """Asterisk's Queue(), as many members, the one that has rested longest first."""

    name = "Asterisk 22 Queue()"

    def __init__(self, asterisk: Asterisk) -> None:
        self._asterisk, self.port, self.processes = asterisk, asterisk.port, (asterisk.process.pid,)

    def bridged(self) -> int:
        shown = self._asterisk.command("queue show calls")
        return int(re.search(r"C:(\d+)", shown).group(1)) if "C:" in shown else 0


@contextlib.contextmanager
def ours(folder: Path, agents: int, phones: int) -> Iterator[System]:
    """A center whose agents have their phones at a port of this machine."""
    names, port = [f"a{n}" for n in range(agents)], free_port()
    for part in ("prompts", "recordings"):
        (folder / part).mkdir()
    (folder / "center.toml").write_text("[queues.calls]\noffer_timeout = 20\nwrap_up = 0\n" + "".join(f"[agents.{name}]\n" for name in names))
    calls = "".join(f'[phones.{name}]\nto = "sip:{name}@127.0.0.1:{phones}"\n' for name in names)
    (folder / "calls.toml").write_text('[numbers.4001]\nqueue = "calls"\n' + calls)
    with serve_command("center.toml", "--calls", "calls.toml", "--socket", "s", "--json", cwd=folder) as (server, address):
        command = [sys.executable, "-m", "cordboard", "media", "--sip", f"127.0.0.1:{port}", "--server", f"unix:{folder / 's'}", "--capacity", "4000", "--drain", "0", "--json"]
        node = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert node.stdout is not None and "ready" in node.stdout.readline()
            with Client(address) as client:
                for name in names:
                    client.set_state(name, "ready")
                yield Ours(client, port, (server.pid, node.pid))
        finally:
            node.terminate()
            node.wait(PATIENCE_S)
            server.terminate()
            server.wait(PATIENCE_S)


@contextlib.contextmanager
def theirs(agents: int, phones: int) -> Iterator[System]:
    asterisk = Asterisk(agents=agents, agents_port=phones)
    try:
        yield Theirs(asterisk)
    finally:
        asterisk.close()


def measure(system: System, load: Load, folder: Path) -> dict[str, float]:
    """One round: so many calls at a rate; what they cost a call, ms, and how many met an agent."""
    before = system.bridged()
    used = [cpu_s(process) for process in system.processes]
    begun = time.monotonic()
    scenario = caller(talks_ms=round(1000 * load.talk_s), rings=False)
    wide = ("-s", "4001", "-l", "4000", "-timeout", f"{load.calls / load.rate + PATIENCE_S:.0f}s", "-default_behaviors", "all,-abortunexp")
    callers = Sipp(folder, scenario, to=f"127.0.0.1:{system.port}", calls=load.calls, rate=load.rate, more=wide, echo=False)
    status = callers.process.wait(load.calls / load.rate + 2 * PATIENCE_S)
    passed = time.monotonic() - begun - load.talk_s
    time.sleep(1.0)  # what is done after the call is part of it
    spent = [{name: s - first.get(name, 0.0) for name, s in cpu_s(process).items()} for process, first in zip(system.processes, used, strict=True)]
    callers.kill()
    found = {"ms": 1000.0 * sum(sum(each.values()) for each in spent) / load.calls, "bridged": system.bridged() - before, "rate": load.calls / passed}
    found["failed"] = float(status != 0)
    for each in spent:
        for name, s in each.items():
            key = f"of it {name.split()[0]}"
            found[key] = found.get(key, 0.0) + 1000.0 * s / load.calls
    return found


def compare(load: Load, rounds: int) -> dict[str, list[dict[str, float]]]:
    """By system, what each round found. A first one, which is not counted, warms both up."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, everything = Path(name), load.calls * (rounds + 1)
        lasting = ("-timeout", "3600s", "-l", "4000", "-default_behaviors", "all,-abortunexp")
        phones = [Sipp(folder, answerer(rings=False), calls=2 * everything, more=lasting, echo=False) for _ in range(2)]
        for phone in phones:
            stack.callback(phone.kill)
        (folder / "ours").mkdir()
        systems = [stack.enter_context(ours(folder / "ours", load.agents, phones[0].port))]
        try:
            systems.append(stack.enter_context(theirs(load.agents, phones[1].port)))
        except pytest.skip.Exception as missing:
            print(missing, file=sys.stderr)
        found: dict[str, list[dict[str, float]]] = {system.name: [] for system in systems}
        for number in range(rounds + 1):
            for system in systems:
                result = measure(system, load, folder)
                if number:
                    found[system.name].append(result)
        return found


def table(found: dict[str, list[dict[str, float]]], load: Load) -> Table:
    shown = Table(title=f"{load.calls} calls at {load.rate:g} a second, {load.talk_s:g} s each, {load.agents} agents")
    for head in ("", "CPU ms a call (median)", "all rounds", "with an agent", "calls a second", "of it"):
        shown.add_column(head, justify="left" if head in ("", "of it") else "right")
    for name, rounds in found.items():
        parts = {key: statistics.median(each.get(key, 0.0) for each in rounds) for key in rounds[0] if key.startswith("of it")}
        shown.add_row(
            name,
            f"{statistics.median(each['ms'] for each in rounds):.2f}",
            " ".join(f"{each['ms']:.2f}" for each in rounds),
            f"{sum(each['bridged'] for each in rounds):.0f} of {load.calls * len(rounds)}",
            f"{statistics.median(each['rate'] for each in rounds):.0f}",
            ", ".join(f"{key.removeprefix('of it ')} {value:.2f}" for key, value in parts.items()),
        )
    return shown


def ratio(found: dict[str, list[dict[str, float]]]) -> float | None:
    """Median over the rounds of what Asterisk took for what cordboard took, right before."""
    mine, theirs = found[Ours.name], found.get(Theirs.name)
    return statistics.median(b["ms"] / a["ms"] for a, b in zip(mine, theirs, strict=True)) if theirs else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second")
    parser.add_argument("--calls", type=int, default=500, help="in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--talk", type=float, default=0.5, help="seconds from the answer until the caller hangs up")
    parser.add_argument("--agents", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    load = Load(asked.rate, asked.calls, asked.talk, asked.agents)
    found = compare(load, asked.rounds)
    if asked.json:
        print(json.dumps(found))
        return
    Console(width=150).print(table(found, load))
    if (times := ratio(found)) is not None:
        print(f"Asterisk takes {times:.1f} times the CPU (median of {asked.rounds} pairs)")


def test_track_cpu_of_a_call_through_a_queue(benchmark):
    found = benchmark.pedantic(lambda: compare(Load(20.0, 40, 0.5, 40), 1), rounds=1)
    assert [each["bridged"] for each in found[Ours.name]] == [40]
    benchmark.extra_info.update({name: rounds[0]["ms"] for name, rounds in found.items()})


if __name__ == "__main__":
    main()
