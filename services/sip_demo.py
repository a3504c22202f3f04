"""``cordboard demo --sip``: a center at work over real SIP and RTP on loopback.

Three processes: the live engine with its services and the dialer (this one), a media node on PJSIP, and the people and
phones at the other ends (:mod:`cordboard.services.sip_people`). Callers call a number and hear an announcement, the
campaign dials over a trunk, whoever picks up is bridged with an agent, and every conversation is recorded and sealed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live

from cordboard.calls.config import parse_calls
from cordboard.calls.speaking import RATE, speak, write_wav
from cordboard.campaigns.listing import Row
from cordboard.center import Center, parse_center
from cordboard.demo.show import decision_text
from cordboard.errors import InputError, Where
from cordboard.kpi import KPIS, QueueTallies
from cordboard.live import Engine, Settings
from cordboard.live.access import local_administrator
from cordboard.recordings.container import new_identity
from cordboard.services.server import Server
from cordboard.services.tenants import Tenant, Tenants
from cordboard.wallboard import Board, CampaignRow, QueueRow, render
from cordboard.words import Lang, pick

INBOUND, OUTBOUND = tuple(f"in{n}" for n in range(1, 5)), tuple(f"out{n}" for n in range(1, 9))
NUMBERS = 2_000  # of the list
FRAME_S = 0.5
START_S = 30.0  # that a process may take to begin
SPOKEN = {
    "welcome": "Welcome to cordboard. Please hold the line.",
    "who-called": "This was cordboard. Nobody was free for you. We are sorry.",
    "talk": "Hello, good morning, how are you. This is a call about nothing at all.",
    "waiting": "You are being connected.",
}


def center() -> Center:
    """Four agents for callers, eight for the campaign."""
    agents = "".join(f'[agents.{name}]\nqueues = ["billing"]\nwrap_up = 2\n' for name in INBOUND)
    agents += "".join(f'[agents.{name}]\nqueues = ["spring"]\nwrap_up = 2\n' for name in OUTBOUND)
    return parse_center(
        "[queues.billing]\noffer_timeout = 10\ntarget = { share = 0.8, within = 20 }\n"
        "[queues.spring]\nmax_wait = 2\ntarget = { share = 0.97, within = 2 }\n" + agents
    )


def calls_text(people: int) -> str:
    """The file of calls, with the phones at a port of this machine."""
    phones = "".join(f'[phones.{name}]\nto = "sip:{name}@127.0.0.1:{people}"\n' for name in INBOUND)
    phones += "".join(f'[phones.{name}]\nto = "sip:{name}@127.0.0.1:{people}"\nnailed_up = true\n' for name in OUTBOUND)
    return phones + (
        '[numbers.4001]\nqueue = "billing"\ngreeting = ["welcome"]\n[trunks.main]\ncaller = "4001"\n'
        '[queues.billing]\nmusic = ["waiting"]\nrecord = true\n[queues.spring]\nrecord = true\n'
        '[campaigns.spring]\nqueue = "spring"\ntrunk = "main"\nmessage = ["who-called"]\nlines = 40\n'
        'hours = ["mon-sun 00:00-24:00"]\n'
    )


def prompts(folder: Path) -> None:
    """Spoken where espeak-ng is installed, else a tone each."""
    for number, (name, text) in enumerate(SPOKEN.items()):
        try:
            samples = speak(text, "en")
        except InputError:
            samples = (6000 * np.sin(np.arange(2 * RATE) * (300 + 150 * number) * 2 * np.pi / RATE)).astype(np.int16)
        write_wav(folder / f"{name}.wav", samples)


class Show:
    """What the wallboard shows, from the entries of the engine."""

    def __init__(self, tenant: Tenant, lang: Lang) -> None:
        self.tenant, self._lang = tenant, lang
        self._center = tenant.engine.center
        self._entries = tenant.engine.subscribe(0)
        self.tallies = QueueTallies({queue.name: queue.target_within for queue in self._center.queues})
        self.recorded = self.bridged = 0
        self._decisions: deque[str] = deque(maxlen=5)
        self._began = time.monotonic()

    async def board(self) -> Board:
        """The screen of this moment."""
        engine = self.tenant.engine
        passed = int(time.monotonic() - self._began)
        clock = f"{passed // 60:02d}:{passed % 60:02d}"
        while entries := self._entries.poll():
            for entry in entries:
                self.tallies.observe(None if entry.error else entry.event, entry.effects)
                self.recorded += entry.event["event"] == "leg_recorded"
                offers = [effect for effect in entry.effects if effect["effect"] == "offer"]
                self._decisions.extendleft(f"{clock}  {decision_text(offer, self._lang)}" for offer in offers)
                self.bridged += sum(effect["effect"] == "offer_accepted" for effect in entry.effects)
        state = await self.tenant.settle(engine.read(lambda acd: acd.state()))
        agents: dict[str, int] = {}
        for agent in state["agents"].values():
            agents[agent["state"]] = agents.get(agent["state"], 0) + 1
        en, zh = "cordboard demo · real SIP and RTP on loopback", "cordboard 演示 · 本机真实 SIP/RTP"
        return Board(
            title=pick(self._lang, en, zh),
            clock=clock,
            queues=[self._queue(queue.name, state["queues"][queue.name]) for queue in self._center.queues],
            agents=agents,
            half_hours=[],
            campaign=await asyncio.to_thread(self.campaign),
            decisions=tuple(self._decisions),
        )

    def _queue(self, name: str, state: dict[str, Any]) -> QueueRow:
        tally = self.tallies.by_queue[name]
        queue = next(one for one in self._center.queues if one.name == name)
        return QueueRow(
            name, KPIS["SL_OFFERED"].compute(tally), queue.target_share, queue.target_within, state["waiting"],
            state["longest_wait"], None, None, tally.offered, tally.answered, tally.abandoned,
        )  # fmt: skip

    def campaign(self) -> CampaignRow:
        """The campaign's part of it."""
        status = self.tenant.outbound.dialer.status("spring")
        answered = sum(status.outcomes.get(one, 0) for one in ("connected", "dropped", "hung_up"))
        plan = status.plan
        return CampaignRow(
            "spring", plan.mode if plan else "–", sum(status.outcomes.values()), status.entries.get("calling", 0),
            answered, status.outcomes.get("dropped", 0), status.drop_rate or 0.0, 0.03, None,
            plan.text(self._lang) if plan else "",
        )  # fmt: skip


def started(command: list[str], folder: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A process of ours that says in a line of JSON that it is ready."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(START_S)
        what = f"a process of the demo ended with status {process.returncode}"
        raise InputError(what, Where(key="--sip"), "Run make media in the sources of cordboard")
    return process, json.loads(line)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def run(options: argparse.Namespace) -> int:
    """Work for ``options.seconds``, then say what came of it."""
    try:
        import cordboard.bindings.pjsip.sip  # noqa: F401  (only whether it is there)
    except ImportError as error:
        what = f"PJSIP is not built: {error}"
        raise InputError(what, Where(key="--sip"), "Run make media in the sources of cordboard") from error
    logging.getLogger("cordboard.services.nodes").setLevel(logging.ERROR)  # that the node goes at the end is no news
    with tempfile.TemporaryDirectory(prefix="cordboard-demo-") as name:
        found = asyncio.run(day(Path(name), options))
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        outcomes = ", ".join(f"{key} {count}" for key, count in sorted(found["outcomes"].items()))
        en = f"{found['bridged']} conversations bridged over SIP, {found['recordings']} recordings; dialed: {outcomes}"
        zh = f"经 SIP 接通 {found['bridged']} 次通话，录音 {found['recordings']} 个；外呼：{outcomes}"
        print(pick(options.lang, en, zh))
    return 0


async def day(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything on, watched, everything off."""
    for one in ("prompts", "recordings", "people/prompts", "people/recordings"):
        (folder / one).mkdir(parents=True)
    for one in ("prompts", "people/prompts"):
        prompts(folder / one)
    node_port, processes = free_port(), []
    asked = {
        "agents": [*INBOUND, *OUTBOUND], "center": f"sip:4001@127.0.0.1:{node_port}", "hourly": 600.0, "stays": 8.0,
        "answers": 0.5, "seed": options.seed, "rtp_port": 40_000,
    }  # fmt: skip
    (folder / "people" / "settings.json").write_text(json.dumps(asked))
    command = [sys.executable, "-m", "cordboard.services.sip_people", str(folder / "people" / "settings.json")]
    people, told = await asyncio.to_thread(started, command, folder)
    processes.append(people)
    plan = center()
    engine = Engine.open(plan, Settings(data=folder / "data", durable=False))
    calls = parse_calls(calls_text(told["port"]), plan)
    await asyncio.wrap_future(engine.change_calls(calls))
    server = Server(Tenants({"default": engine}, telephony={"default": calls}), local=local_administrator())
    address = f"127.0.0.1:{server.listen('127.0.0.1:0', None)}"
    await server.start()
    try:
        command = [
            sys.executable, "-m", "cordboard", "media", "--sip", f"127.0.0.1:{node_port}", "--server", address,
            "--trunk", f"main=127.0.0.1:{told['port']}", "--recipient", new_identity()[1], "--drain", "0", "--json",
        ]  # fmt: skip
        processes.append((await asyncio.to_thread(started, command, folder))[0])
        [tenant] = server.tenants
        show = Show(tenant, options.lang)
        await work(tenant)
        await watch(show, options)
        return result(show, folder)
    finally:
        for process in reversed(processes):
            process.terminate()
            await asyncio.to_thread(process.wait, START_S)
        await server.stop(1.0)
        await asyncio.to_thread(engine.close)


async def work(tenant: Tenant) -> None:
    """Agents come in, a list too, and the campaign begins."""
    for agent in (*INBOUND, *OUTBOUND):
        await tenant.submit({"event": "agent_ready", "agent": agent}, "", "demo")
    await tenant.outbound.ready()
    rows = [Row(n, f"1380{n:07d}") for n in range(NUMBERS)]
    await asyncio.to_thread(tenant.outbound.import_rows, "spring", rows)
    await tenant.submit({"event": "campaign_started", "campaign": "spring"}, "", "demo")


async def watch(show: Show, options: argparse.Namespace) -> None:
    """The board, on the screen or once at the end."""
    console, end = Console(), time.monotonic() + options.seconds
    if console.is_terminal and not options.json:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while time.monotonic() < end:
                live.update(render(await show.board(), options.lang), refresh=True)
                await asyncio.sleep(FRAME_S)
        return
    while time.monotonic() < end:
        board = await show.board()
        await asyncio.sleep(FRAME_S)
    if not options.json:
        Console(width=132).print(render(board, options.lang), height=26)


def result(show: Show, folder: Path) -> dict[str, Any]:
    """What came of it, as data."""
    status = show.tenant.outbound.dialer.status("spring")
    return {
        "bridged": show.bridged,
        "recordings": sum(1 for path in (folder / "recordings").rglob("*") if path.is_file()),
        "recorded": show.recorded,
        "offered": show.tallies.by_queue["billing"].offered,
        "outcomes": status.outcomes,
        "drop_rate": status.drop_rate,
        "connect_rate": status.connect_rate,
    }
