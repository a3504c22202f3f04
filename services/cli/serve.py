"""``cordboard serve``: a center at work, with its gRPC services."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

from cordboard import words
from cordboard.center import Center, load_center
from cordboard.errors import InputError, Where
from cordboard.live import Engine, Settings
from cordboard.live.access import local_administrator
from cordboard.services.server import Server
from cordboard.services.tenants import Tenants

TENANT = "default"
DRAIN_S = 30.0  # that conversations get after the first signal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang: words.Lang = parser.get_default("lang")
    parser.add_argument("center", metavar="CENTER.toml", help=words.pick(lang, "the center file", "中心配置文件"))
    data = words.pick(lang, "folder of the journal (cordboard-data)", "日志所在文件夹（cordboard-data）")
    parser.add_argument("--data", metavar="DIR", default="cordboard-data", help=data)
    listen = words.pick(lang, "address; port 0 lets the system choose (127.0.0.1:7443)", "监听地址（127.0.0.1:7443）")
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:7443", help=listen)
    drain = words.pick(lang, "seconds that conversations get at the end (30)", "停止时留给通话的秒数（30）")
    parser.add_argument("--drain", metavar="SECONDS", type=float, default=DRAIN_S, help=drain)
    check = words.pick(lang, "check everything and end", "只检查，不启动")
    parser.add_argument("--check", action="store_true", help=check)


def run(options: argparse.Namespace) -> int:
    """Status 0 after a signal; 2 if something can't be used."""
    center = load_center(options.center)
    settings = Settings(data=options.data)
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise InputError(f"{options.listen!r} is no address", Where(key="--listen"), "Write 127.0.0.1:7443")
    if options.check:
        return checked(center, options)
    return asyncio.run(serve(center, settings, options))


def checked(center: Center, options: argparse.Namespace) -> int:
    """What --check says when everything can be used."""
    for warning in center.warnings:
        print(warning, file=sys.stderr)
    text = words.pick(
        options.lang,
        f"usable: {len(center.queues)} queues, {len(center.agents)} agents",
        f"可用：{len(center.queues)} 个队列，{len(center.agents)} 名座席",
    )
    record = {"ok": True, "queues": len(center.queues), "agents": len(center.agents), "warnings": [*center.warnings]}
    print(json.dumps(record, ensure_ascii=False) if options.json else text)
    return 0


async def serve(center: Center, settings: Settings, options: argparse.Namespace) -> int:
    """Serve until a signal; the first one drains, the second one hurries."""
    engine = await asyncio.to_thread(Engine.open, center, settings, tenant=TENANT)
    try:
        server = Server(Tenants({TENANT: engine}), local=local_administrator(TENANT))
        port = server.listen(options.listen)
        await server.start()
        signals: asyncio.Queue[int] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signals.put_nowait, number)
        say_ready(options, port)
        await signals.get()
        await wind_down(server, signals, options.drain)
    finally:
        await asyncio.to_thread(engine.close)
    return 0


def say_ready(options: argparse.Namespace, port: int) -> None:
    """The line that whoever started us waits for."""
    address = f"{options.listen.rpartition(':')[0]}:{port}"
    if options.json:
        print(json.dumps({"ready": True, "address": address, "tenant": TENANT}), flush=True)
    else:
        print(words.pick(options.lang, f"cordboard serves {address}", f"cordboard 已在 {address} 服务"), flush=True)
    if not options.json:
        text = words.pick(
            options.lang,
            f"whoever reaches this address is an administrator of tenant {TENANT}",
            f"凡能访问此地址者即为租户 {TENANT} 的管理员",
        )
        print(text, file=sys.stderr)


async def wind_down(server: Server, signals: asyncio.Queue[int], seconds: float) -> None:
    """End the streams, give what runs its time, hurry at another signal."""
    await server.drain()
    stopping = asyncio.create_task(server.stop(seconds))
    hurry = asyncio.create_task(signals.get())
    await asyncio.wait([stopping, hurry], return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await server.stop(0)
        await stopping
    hurry.cancel()
