"""``cordboard media``: a media node, which places and answers the calls of a center."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
import uuid
from pathlib import Path

import grpc

from cordboard import words
from cordboard.client.connection import Tls, metadata, options
from cordboard.errors import InputError, Where
from cordboard.media.people import CrowdedMedia, Habits, People
from cordboard.services.media_node import MediaNode
from cordboard.services.names import resource

SERVER = "127.0.0.1:7443"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang: words.Lang = parser.get_default("lang")

    def add(name: str, shown: str, en: str, zh: str, default: object, kind: type = str) -> None:
        parser.add_argument(name, metavar=shown, type=kind, default=default, help=words.pick(lang, en, zh))

    simulated = words.pick(lang, "without SIP: simulated callers and phones", "不用 SIP：模拟来电者与话机")
    parser.add_argument("--simulated", action="store_true", required=True, help=simulated)
    add("--server", "HOST:PORT", f"the server ({SERVER})", f"服务器（{SERVER}）", SERVER)
    add("--tenant", "NAME", "the tenant (default)", "租户（default）", "default")
    add("--node", "NAME", "this node's name, its own (media1)", "本节点名称（media1）", "media1")
    add("--capacity", "LEGS", "legs at once (1000)", "同时的通话腿数（1000）", 1000, int)
    add("--token", "FILE", "file of a token with the role service", "角色为 service 的令牌文件", None, Path)
    add("--authority", "FILE", "PEM of who vouches for the server", "服务器证书机构（PEM）", None, Path)
    add("--certificate", "FILE", "our certificate (PEM)", "本方证书（PEM）", None, Path)
    add("--key", "FILE", "our key (PEM)", "本方密钥（PEM）", None, Path)
    parser.add_argument(
        "--number",
        metavar="NUMBER",
        action="append",
        help=words.pick(lang, "a number that people call (4001)", "人们拨打的号码（4001）"),
    )
    add("--hourly", "CALLS", "calls an hour (60)", "每小时来电数（60）", 60.0, float)
    add("--stays", "SECONDS", "how long a caller stays, the mean (120)", "来电者平均停留秒数（120）", 120.0, float)
    add("--missed", "SHARE", "phones that are not picked up (0)", "无人接听的话机比例（0）", 0.0, float)
    add("--seed", "N", "of all chance (0)", "随机种子（0）", 0, int)


def run(options: argparse.Namespace) -> int:
    """Status 0 after a signal; 2 if something can't be used."""
    for key, low, high in (("hourly", 1e-3, 1e6), ("stays", 1e-3, 1e6), ("missed", 0.0, 1.0), ("capacity", 1, 100_000)):
        if not low <= getattr(options, key) <= high:
            what = f"{getattr(options, key)!r} is not from {low:g} to {high:g}"
            raise InputError(what, Where(key=f"--{key}"), "Give another one")
    return asyncio.run(serve(options))


def channel(asked: argparse.Namespace) -> grpc.aio.Channel:
    """The way to the server, with our token on every call."""
    if asked.authority is None and asked.certificate is None:
        return grpc.aio.insecure_channel(asked.server, options(None))
    tls = Tls(asked.authority, asked.certificate, asked.key)
    return grpc.aio.secure_channel(asked.server, tls.credentials(), options(tls))


async def serve(asked: argparse.Namespace) -> int:
    """Work until a signal, then hang up everything."""
    habits = Habits(asked.hourly, tuple(asked.number or ["4001"]), asked.stays, missed=asked.missed)
    prefix = f"{asked.node}.{uuid.uuid4().hex[:8]}."
    backend = CrowdedMedia(People(habits, asked.seed), prefix, time.monotonic, time.sleep, lines=asked.capacity)
    token = asked.token.read_text().strip() if asked.token else None
    async with channel(asked) as way:
        name = resource(asked.tenant, "nodes", asked.node)
        node = MediaNode(way, backend, name, asked.capacity, metadata(token))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, node.stop)
        work = asyncio.create_task(node.run())
        ready = asyncio.create_task(node.attached.wait())
        await asyncio.wait([work, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not work.done():
            say_ready(asked)
        await work
    return 0


def say_ready(asked: argparse.Namespace) -> None:
    """The line that whoever started us waits for."""
    if asked.json:
        print(json.dumps({"ready": True, "node": asked.node, "server": asked.server}), flush=True)
    else:
        en = f"media node {asked.node} is attached to {asked.server}"
        print(words.pick(asked.lang, en, f"媒体节点 {asked.node} 已接入 {asked.server}"), flush=True)
