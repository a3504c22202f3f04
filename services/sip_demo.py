"""``cordboard demo --sip``: a day of a center over real SIP and RTP on loopback, and a report with the reasons.

Three processes: the live engine with its services and the dialer (this one), a media node on PJSIP, and the people and
phones at the other ends (:mod:`cordboard.services.sip_people`). Callers call a number and hear an announcement, the
campaign dials over a trunk, whoever picks up is bridged with an agent, and every conversation is recorded and sealed.
Audio can't be sped up: callers come as over eight hours, and what they say lasts seconds. The folder of it all is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live

from cordboard.calls.config import parse_calls
from cordboard.calls.speaking import RATE, speak, write_wav
from cordboard.campaigns.listing import Row
from cordboard.center import Center, parse_center
from cordboard.center_writer import center_toml
from cordboard.cli.demo import HEIGHT, WIDTH, draw
from cordboard.demo.day import PROFILE
from cordboard.errors import InputError, Where
from cordboard.journal import event_line
from cordboard.live import Engine, Settings
from cordboard.live.access import local_administrator
from cordboard.live.beside import LAST_S, records_place
from cordboard.live.keyfiles import write_file
from cordboard.recordings.container import new_identity
from cordboard.records import Follower
from cordboard.services.server import Server
from cordboard.services.sip_report import figures_of, report
from cordboard.services.sip_show import Show
from cordboard.services.tenants import Tenant, Tenants
from cordboard.wallboard import render
from cordboard.words import Lang, pick

INBOUND = {  # agents for callers, and what they are good at
    "chen": "billing = 5, support = 3", "li": "billing = 4", "mia": "support = 5", "noah": "billing = 3, support = 4",
    "wang": "billing = 3, support = 3",
}  # fmt: skip
OUTBOUND = (
    "anna", "ben", "carla", "dan", "emma", "fang", "gao", "hugo", "ida", "jin", "kai", "lena", "ming", "nora", "omar",
    "ping",
)  # fmt: skip
NUMBERS = {"4001": "billing", "4002": "support"}  # that people call
CAMPAIGN = "spring"
LIST = 2_000  # numbers that the campaign may dial
SECONDS = 90.0
HOURLY = 1800.0  # callers at the busiest time, by the clock on the wall
CLOSING_S = 15.0  # that conversations get at the end of the day
FRAME_S = 0.5
START_S = 30.0  # that a process may take to begin
SPOKEN = {  # prompt: English, Chinese
    "billing": ("Welcome to billing. Please hold the line.", "欢迎致电账务部，请稍候。"),
    "support": ("Welcome to support. Please hold the line.", "欢迎致电技术支持，请稍候。"),
    "waiting": ("All agents are talking. You are next.", "座席正忙，请稍候。"),
    "who-called": ("This was cordboard. Nobody was free for you. We are sorry.", "这里是客服中心，暂无座席，抱歉。"),
    "talk": ("Hello, good morning. This is a call about nothing at all.", "您好，早上好，这通电话没有什么要紧的事。"),
}


def center() -> Center:
    """Five agents for callers, by skill; sixteen for the campaign."""
    agents = "".join(
        f'[agents.{name}]\nskills = {{ {skills} }}\nqueues = ["billing", "support"]\nwrap_up = 2\n'
        for name, skills in INBOUND.items()
    )
    agents += "".join(f'[agents.{name}]\nqueues = ["{CAMPAIGN}"]\nwrap_up = 2\n' for name in OUTBOUND)
    queues = "".join(
        f"[queues.{name}]\nrequires = {{ {name} = 3 }}\noffer_timeout = 10\ntarget = {{ share = 0.8, within = 5 }}\n"
        for name in NUMBERS.values()
    )
    queues += f"[queues.{CAMPAIGN}]\nmax_wait = 2\ntarget = {{ share = 0.97, within = 2 }}\n"
    return parse_center(queues + agents)


def calls_text(people: int) -> str:
    """The file of calls, with the phones at a port of this machine."""
    phones = [(name, "") for name in INBOUND] + [(name, "nailed_up = true\n") for name in OUTBOUND]
    text = "".join(f'[phones.{name}]\nto = "sip:{name}@127.0.0.1:{people}"\n{more}' for name, more in phones)
    for number, queue in NUMBERS.items():
        text += f'[numbers.{number}]\nqueue = "{queue}"\ngreeting = ["{queue}"]\n'
        text += f'[queues.{queue}]\nmusic = ["waiting"]\nrecord = true\n'
    return text + (
        f'[queues.{CAMPAIGN}]\nrecord = true\n[trunks.main]\ncaller = "4001"\n'
        f'[campaigns.{CAMPAIGN}]\nqueue = "{CAMPAIGN}"\ntrunk = "main"\nmessage = ["who-called"]\nlines = 40\n'
        'hours = ["mon-sun 00:00-24:00"]\n'
    )


def prompts(folder: Path, lang: Lang) -> bool:
    """Spoken where espeak-ng is installed, else a tone each; whether they are spoken."""
    spoken = True
    for number, (name, texts) in enumerate(SPOKEN.items()):
        try:
            samples = speak(pick(lang, *texts), lang)
        except InputError:
            spoken = False
            samples = (6000 * np.sin(np.arange(2 * RATE) * (300 + 150 * number) * 2 * np.pi / RATE)).astype(np.int16)
        write_wav(folder / f"{name}.wav", samples)
    return spoken


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


def folder_of(options: argparse.Namespace) -> Path:
    """Where all of the day is kept. InputError if something is there already."""
    if not options.keep:
        return Path(tempfile.mkdtemp(prefix="cordboard-demo-"))
    folder = Path(options.keep)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty", Where(key="--keep"), "Give a folder that is empty or not there")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def run(options: argparse.Namespace) -> int:
    """The day, then what came of it and why."""
    try:
        import cordboard.bindings.pjsip.sip  # noqa: F401  (only whether it is there)
    except ImportError as error:
        what = f"PJSIP is not built: {error}"
        raise InputError(what, Where(key="--sip"), "Run make media in the sources of cordboard") from error
    options.seconds = SECONDS if options.seconds is None else max(1.0, options.seconds)
    logging.getLogger("cordboard.services.nodes").setLevel(logging.ERROR)  # that the node goes at the end is no news
    folder = folder_of(options)
    show, found = asyncio.run(day(folder, options))
    if options.json:
        print(json.dumps(found | {"folder": str(folder)}, ensure_ascii=False))
    else:
        console = Console(width=None if Console().is_terminal else WIDTH)
        console.print(report(show, found, folder))
    return 0


def people_of(folder: Path, node_port: int, options: argparse.Namespace) -> list[str]:
    """The command that lets people come to a node."""
    asked = {
        "agents": [*INBOUND, *OUTBOUND], "centers": [f"sip:{number}@127.0.0.1:{node_port}" for number in NUMBERS],
        "hourly": HOURLY, "profile": PROFILE, "seconds": options.seconds, "stays": 10.0, "answers": 0.55,
        "seed": options.seed, "rtp_port": 40_000,
    }  # fmt: skip
    settings = folder / "people" / "settings.json"
    settings.write_text(json.dumps(asked))
    return [sys.executable, "-m", "cordboard.services.sip_people", str(settings)]


def node_of(folder: Path, node_port: int, people: int, server: str) -> list[str]:
    """The command of the media node, which seals recordings for a key that is kept beside them."""
    identity, recipient = new_identity()
    write_file(folder / "recordings.key", f"{identity}\n".encode(), secret=True)
    return [
        sys.executable, "-m", "cordboard", "media", "--sip", f"127.0.0.1:{node_port}", "--server", server,
        "--trunk", f"main=127.0.0.1:{people}", "--recipient", recipient, "--drain", "0", "--json",
    ]  # fmt: skip


async def day(folder: Path, options: argparse.Namespace) -> tuple[Show, dict[str, Any]]:
    """Everything on, watched, everything off."""
    for one in ("prompts", "recordings", "people/recordings"):
        (folder / one).mkdir(parents=True)
    spoken = prompts(folder / "prompts", options.lang)
    shutil.copytree(folder / "prompts", folder / "people" / "prompts")
    plan, node_port = center(), free_port()
    async with contextlib.AsyncExitStack() as ends:
        people, told = await asyncio.to_thread(started, people_of(folder, node_port, options), folder)
        ends.push_async_callback(ended, people)
        settings = Settings(data=folder / "data", durable=False)
        engine = Engine.open(plan, settings)
        follower = Follower(engine, *records_place(settings, "default")).start()
        ends.push_async_callback(asyncio.to_thread, follower.close, LAST_S)
        ends.push_async_callback(asyncio.to_thread, engine.close)
        text = calls_text(told["port"])
        (folder / "calls.toml").write_text(text)
        calls = parse_calls(text, plan)
        await asyncio.wrap_future(engine.change_calls(calls))
        server = Server(Tenants({"default": engine}, telephony={"default": calls}), local=local_administrator())
        address = f"127.0.0.1:{server.listen('127.0.0.1:0', None)}"
        await server.start()
        ends.push_async_callback(server.stop, 1.0)
        command = node_of(folder, node_port, told["port"], address)
        node, _ = await asyncio.to_thread(started, command, folder)
        ends.push_async_callback(ended, node)
        [tenant] = server.tenants
        show = Show(tenant, CAMPAIGN, options.seconds, options.lang)
        await work(tenant)
        await watch(show, options)
        await ended(node)
        show.follow()  # what the node told at its end
        found = await asyncio.to_thread(figures_of, show) | {"spoken": spoken}
    (folder / "center.toml").write_text(center_toml(plan))
    with (folder / "journal.jsonl").open("w", encoding="utf-8") as stream:
        stream.writelines(event_line(event) + "\n" for event in show.journal)
    return show, found


async def ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    await asyncio.to_thread(process.wait, START_S)


async def work(tenant: Tenant) -> None:
    """Agents come in, a list too, and the campaign begins."""
    for agent in (*INBOUND, *OUTBOUND):
        await tenant.submit({"event": "agent_ready", "agent": agent}, "", "demo")
    await tenant.outbound.ready()
    rows = [Row(n, f"1380{n:07d}") for n in range(LIST)]
    await asyncio.to_thread(tenant.outbound.import_rows, CAMPAIGN, rows)
    await tenant.submit({"event": "campaign_started", "campaign": CAMPAIGN}, "", "demo")


async def watch(show: Show, options: argparse.Namespace) -> None:
    """The board, on the screen or once at the end; after the day it dials no more, and who talks may end."""
    console, began, open_, drawn = Console(), time.monotonic(), True, not options.svg
    live = Live(console=console, screen=True, auto_refresh=False) if console.is_terminal and not options.json else None
    with live or contextlib.nullcontext():
        while True:
            board, passed = await show.board(), time.monotonic() - began
            if live is not None:
                live.update(render(board, options.lang), refresh=True)
            if not drawn and passed >= 0.75 * options.seconds:
                drawn = True
                draw(render(board, options.lang), options.svg)
            if open_ and passed >= options.seconds:
                open_ = False
                await show.tenant.submit({"event": "campaign_paused", "campaign": CAMPAIGN}, "", "demo")
            elif not open_ and (passed >= options.seconds + CLOSING_S or not board.agents.get("connected")):
                break
            await asyncio.sleep(FRAME_S)
    if live is None and not options.json:
        Console(width=WIDTH).print(render(board, options.lang), height=HEIGHT)
