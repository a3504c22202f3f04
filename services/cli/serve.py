"""``cordboard serve``: a center at work, with its gRPC services."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from cordboard import words
from cordboard.calls.config import Calls, calls_record, load_calls
from cordboard.center import Center, load_center
from cordboard.errors import CordboardError, InputError, Where
from cordboard.live import Engine, Settings, beside, interpreter
from cordboard.live.beside import Beside
from cordboard.live.clock import FileClock
from cordboard.live.privacy import KeyStore
from cordboard.live.server_file import ServerFile, load_server_file
from cordboard.live.tenants import AuditLogs, TenantEngines, audit_key, open_key_stores
from cordboard.services import local_socket, recordings
from cordboard.services.local_socket import LocalSocket
from cordboard.services.loops import run_in_loop
from cordboard.services.recordings import Shelf, shelves
from cordboard.services.security import plan
from cordboard.services.security.crowd import Crowd
from cordboard.services.security.limits import make_room
from cordboard.services.security.plan import Plan
from cordboard.services.server import Server
from cordboard.services.tenants import Tenants

TENANT = "default"
DATA = "cordboard-data"
LISTEN = "127.0.0.1:7443"
DRAIN_S = 30.0  # that conversations get after the first signal
STOP_S = 5.0  # that calls get which still run then


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang: words.Lang = parser.get_default("lang")
    center = words.pick(
        lang, "the center file, unless --settings names tenants", "中心配置文件（或由 --settings 指定租户）"
    )
    parser.add_argument("center", metavar="CENTER.toml", nargs="?", help=center)
    calls = words.pick(lang, "the file of calls: numbers, phones, prompts", "呼叫文件：号码、话机、提示音")
    parser.add_argument("--calls", metavar="CALLS.toml", help=calls)
    settings = words.pick(lang, "a settings file: tenants, TLS, tokens, limits", "设置文件：租户、TLS、令牌、限额")
    parser.add_argument("--settings", metavar="FILE.toml", help=settings)
    data = words.pick(lang, f"folder of the journal ({DATA})", f"日志所在文件夹（{DATA}）")
    parser.add_argument("--data", metavar="DIR", help=data)
    database = words.pick(lang, "keep the journals in PostgreSQL instead", "改用 PostgreSQL 保存日志")
    parser.add_argument("--database", metavar="URL", default="", help=database)
    durable = words.pick(
        lang, "off: acknowledge before the disk has it; a power cut may lose the last events", "off：落盘前即确认"
    )
    parser.add_argument("--durable", choices=("on", "off"), default="on", help=durable)
    keep = words.pick(lang, "forget what is older and not needed by anyone (0: nothing)", "清除更早且无人需要的日志")
    parser.add_argument("--keep-days", metavar="DAYS", type=float, default=0.0, help=keep)
    listen = words.pick(lang, f"address; port 0 lets the system choose ({LISTEN})", f"监听地址（{LISTEN}）")
    parser.add_argument("--listen", metavar="HOST:PORT", help=listen)
    local = words.pick(lang, "a Unix socket beside it, for this user's programs", "另设 Unix 套接字，供本机程序使用")
    parser.add_argument("--socket", metavar="FILE", type=Path, help=local)
    drain = words.pick(lang, "seconds that conversations get at the end (30)", "停止时留给通话的秒数（30）")
    parser.add_argument("--drain", metavar="SECONDS", type=float, default=DRAIN_S, help=drain)
    clock = words.pick(
        lang, "take the time from a file (8 bytes, a float64)", "从文件（8 字节 float64）取时间，用于演练"
    )
    parser.add_argument("--clock", metavar="FILE", help=clock)
    check = words.pick(lang, "check everything and end", "只检查，不启动")
    parser.add_argument("--check", action="store_true", help=check)
    plan.add_arguments(parser, lang)
    beside.add_arguments(parser, lang)
    recordings.add_arguments(parser, lang)


def run(options: argparse.Namespace) -> int:
    """Status 0 after a signal; 2 if something can't be used."""
    file = load_server_file(options.settings) if options.settings else ServerFile()
    if bool(options.center) == bool(file.tenants):
        hint = "Give a center file, or --settings FILE with [tenants.NAME]"
        raise InputError("neither or both of a center file and tenants", Where(key="CENTER.toml"), hint)
    tenants = {name: load_center(tenant.center) for name, tenant in file.tenants.items()}
    centers = tenants or {TENANT: load_center(options.center)}
    paths = {name: tenant.calls for name, tenant in file.tenants.items()} or {TENANT: options.calls}
    files = {name: str(path) for name, path in paths.items() if path is not None}
    calls = {name: load_calls(path, centers[name]) for name, path in files.items()}
    options.listen = options.listen or file.listen or LISTEN
    settings = Settings(
        data=options.data or file.data or DATA,
        database=options.database,
        durable=options.durable == "on",
        snapshots_apart=True,
        keep_days=options.keep_days,
    )
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise InputError(f"{options.listen!r} is no address", Where(key="--listen"), "Write 127.0.0.1:7443")
    safety = Plan.of(options, file)
    safety.check(options.listen, centers)
    safety.metrics(options.metrics)
    options.socket = options.socket or file.socket
    if options.socket is not None:
        local_socket.check(options.socket, safety)
    company = Beside(options)
    kept = shelves(options, settings, centers)
    company.check(centers)
    if options.check:
        return checked(centers, calls, options)
    return run_in_loop(serve(centers, calls, settings, safety, company, kept, files, options))


def checked(centers: Mapping[str, Center], calls: Mapping[str, Calls], options: argparse.Namespace) -> int:
    """What --check says when everything can be used."""
    warnings = [warning for center in centers.values() for warning in center.warnings]
    warnings += [warning for file in calls.values() for warning in file.warnings]
    for warning in warnings:
        print(warning.text(options.lang), file=sys.stderr)
    queues, agents = map(sum, zip(*map(sizes, centers.values()), strict=True))
    text = words.pick(
        options.lang, f"usable: {queues} queues, {agents} agents", f"可用：{queues} 个队列，{agents} 名座席"
    )
    texts = [warning.text(options.lang) for warning in warnings]
    record = {"ok": True, "tenants": [*centers], "queues": queues, "agents": agents, "warnings": texts}
    print(json.dumps(record, ensure_ascii=False) if options.json else text)
    return 0


def sizes(center: Center) -> tuple[int, int]:
    return len(center.queues), len(center.agents)


async def serve(
    centers: Mapping[str, Center],
    calls: Mapping[str, Calls],
    settings: Settings,
    safety: Plan,
    company: Beside,
    kept: Mapping[str, Shelf],
    files: Mapping[str, str],
    options: argparse.Namespace,
) -> int:
    """Serve until a signal; the first one drains, the second one hurries."""
    company.start_logs()
    clock = FileClock(options.clock) if options.clock else None
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    engines = await asyncio.to_thread(TenantEngines.open, centers, settings, clock=clock, store=company.store)
    audit: AuditLogs | None = None
    local: LocalSocket | None = None
    keys: dict[str, KeyStore] = {}
    try:
        await asyncio.to_thread(company.begin, engines, safety.metrics(options.metrics))
        audit = AuditLogs(Path(settings.data), engines, audit_key(Path(settings.data), safety.audit_keys))
        guard = safety.guard(engines, audit)
        if safety.keeps_apart:
            keys = await asyncio.to_thread(open_key_stores, Path(settings.data), engines, safety.master)
        for tenant, file in calls.items():
            await asyncio.to_thread(adopt, engines[tenant], file)
        if not signals.empty():  # it is to end before it has begun
            return 0
        make_room(guard.limits.connections)
        tenants = Tenants(engines, keys, calls, kept, files)
        server = Server(tenants, guard=guard, options=guard.limits.server_options())
        port = server.listen(options.listen, safety.credentials())
        if options.socket is not None:
            local = LocalSocket(server, options.socket)
        await server.start()
        interpreter.tune()
        crowd = Crowd(port, guard.limits.peer_connections)
        crowd.welcome, guard.shut_out = guard.welcome, crowd.shut_out
        watching = loop.create_task(crowd.watch())
        loop.add_signal_handler(signal.SIGHUP, signals.put_nowait, signal.SIGHUP)
        say_ready(options, port, engines, safety, company.metrics)
        while await signals.get() == signal.SIGHUP:
            await reload(tenants, options.lang)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # it hurries nobody
        watching.cancel()
        await wind_down(server, signals, options.drain)
    finally:
        if local is not None:
            local.close()
        await asyncio.to_thread(engines.close)
        await asyncio.to_thread(company.close)
        for store in keys.values():
            await asyncio.to_thread(store.close)
        if audit is not None:
            await asyncio.to_thread(audit.close)
    return 0


async def reload(tenants: Tenants, lang: words.Lang) -> None:
    """Go over to the files of calls as they are now; those that can't be used change nothing."""
    for tenant in tenants:
        if not tenant.calls_file.path:
            continue
        try:
            await tenant.calls_file.reload(actor="SIGHUP")
        except CordboardError as error:
            stays = words.pick(lang, "the settings of calls stay as they are", "呼叫设置保持不变")
            print(f"{tenant.name}: {error.text(lang)}\n{tenant.name}: {stays}", file=sys.stderr, flush=True)
        else:
            taken = words.pick(lang, "the file of calls was taken over", "已采用新的呼叫文件")
            print(f"{tenant.name}: {taken}", file=sys.stderr, flush=True)


def adopt(engine: Engine, calls: Calls) -> None:
    """Have an engine take over a file of calls, if it says something else than what it has."""
    record = calls_record(calls)
    if engine.read_calls(lambda board: None if board is None else calls_record(board.calls)).result() != record:
        engine.change_calls(calls, actor="opening").result()


def say_ready(
    options: argparse.Namespace, port: int, tenants: Iterable[str], safety: Plan, metrics: str | None
) -> None:
    """The line that whoever started us waits for."""
    address = f"{options.listen.rpartition(':')[0]}:{port}"
    if options.json:
        names = [*tenants]
        record = {"ready": True, "address": address, "tenant": names[0], "tenants": names, "metrics": metrics}
        print(json.dumps(record), flush=True)
    else:
        print(words.pick(options.lang, f"cordboard serves {address}", f"cordboard 已在 {address} 服务"), flush=True)
    if not options.json and not safety.knows_callers:
        text = words.pick(
            options.lang,
            f"whoever reaches this address is an administrator of tenant {next(iter(tenants))}",
            f"凡能访问此地址者即为租户 {next(iter(tenants))} 的管理员",
        )
        print(text, file=sys.stderr)


async def wind_down(server: Server, signals: asyncio.Queue[int], seconds: float) -> None:
    """No new offers, conversations get their time, streams are told to go; another signal hurries."""
    draining = asyncio.create_task(server.drain(seconds))
    hurry = asyncio.create_task(signals.get())
    await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        await server.drain(0)
        await draining
    hurry.cancel()
    await server.stop(STOP_S)
