"""``cordboard media``: a media node, which places and answers the calls of a center."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
import uuid
from dataclasses import replace
from pathlib import Path

import grpc

from cordboard import words
from cordboard.bindings.node_file import load_node
from cordboard.bindings.settings import SipSettings, Trunk
from cordboard.bindings.wheel.pool import WheelMedia
from cordboard.bindings.wheel.pool import check as check_wheel
from cordboard.client.connection import Tls, metadata, options
from cordboard.errors import InputError, Where
from cordboard.media.backend import MediaBackend
from cordboard.media.people import CrowdedMedia, Habits, People
from cordboard.services.loops import run_in_loop
from cordboard.services.media_node import MediaNode, over_grpc, over_line
from cordboard.services.names import resource
from cordboard.services.watched import Pulse, Watcher

SERVER = "127.0.0.1:7443"
UNIX = "unix:"
PULSE_S = 0.25
DRAIN_S = 30.0
CAPACITY = {"pjsip": 1000, "wheel": 32}
BOUNDS = (
    ("hourly", 1e-3, 1e6),
    ("stays", 1e-3, 1e6),
    ("missed", 0.0, 1.0),
    ("answers", 0.0, 1.0),
    ("capacity", 1, 100_000),
    ("drain", 0.0, 86_400.0),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang: words.Lang = parser.get_default("lang")

    def add(name: str, shown: str, en: str, zh: str, default: object, kind: type = str) -> None:
        parser.add_argument(name, metavar=shown, type=kind, default=default, help=words.pick(lang, en, zh))

    simulated = words.pick(lang, "without SIP: simulated callers and phones", "不用 SIP：模拟来电者与话机")
    sip = words.pick(lang, "real calls by PJSIP, on this address", "以 PJSIP 处理真实电话，监听此地址")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--simulated", action="store_true", help=simulated)
    kind.add_argument("--sip", metavar="IP:PORT", help=sip)
    settings = words.pick(lang, "real calls by PJSIP, as this file says", "以 PJSIP 处理真实电话，按此文件设置")
    kind.add_argument("--settings", metavar="FILE", type=Path, help=settings)
    layer = words.pick(
        lang,
        "what makes real calls: pjsip, the production build; wheel, pjsua2 from PyPI, for trial (pjsip)",
        "处理真实电话者：pjsip 为生产构建；wheel 为 PyPI 的 pjsua2，供试用（pjsip）",
    )
    parser.add_argument("--backend", choices=("pjsip", "wheel"), default="pjsip", help=layer)
    check = words.pick(lang, "only say whether the settings can be used", "仅检查设置是否可用")
    parser.add_argument("--check", action="store_true", help=check)
    server = f"the server: host:port or unix:FILE ({SERVER})", f"服务器：主机:端口 或 unix:文件（{SERVER}）"
    add("--server", "ADDRESS", *server, SERVER)
    add("--tenant", "NAME", "the tenant (default)", "租户（default）", "default")
    add("--node", "NAME", "this node's name, its own (media1)", "本节点名称（media1）", "media1")
    add("--capacity", "LEGS", "legs at once (1000; wheel: 32)", "同时的通话腿数（1000；wheel：32）", None, int)
    add("--token", "FILE", "file of a token with the role service", "角色为 service 的令牌文件", None, Path)
    add("--authority", "FILE", "PEM of who vouches for the server", "服务器证书机构（PEM）", None, Path)
    add("--certificate", "FILE", "our certificate (PEM)", "本方证书（PEM）", None, Path)
    add("--key", "FILE", "our key (PEM)", "本方密钥（PEM）", None, Path)
    add("--prompts", "DIR", "folder of prompts, WAV (prompts)", "提示音文件夹，WAV（prompts）", Path("prompts"), Path)
    add("--recordings", "DIR", "folder of recordings", "录音文件夹（recordings）", Path("recordings"), Path)
    recipient = words.pick(lang, "age1...: who can open recordings", "可解开录音的 age 收件人；缺省不录音")
    opus = words.pick(lang, "record as Opus, an eighth of the room", "以 Opus 录音，占用空间为八分之一")
    parser.add_argument("--opus", action="store_true", help=opus)
    parser.add_argument("--recipient", metavar="AGE1", action="append", default=[], help=recipient)
    trunk = words.pick(lang, "a trunk of the file of calls and its gateway", "呼叫文件中的中继及其网关")
    parser.add_argument("--trunk", metavar="NAME=HOST", action="append", default=[], help=trunk)
    phones = words.pick(lang, "who may call without a trunk: a network", "可不经中继来电的网络")
    parser.add_argument("--phones", metavar="NETWORK", action="append", default=[], help=phones)
    beyond = words.pick(lang, "be reached by other machines", "可被其他机器访问")
    parser.add_argument("--beyond-loopback", action="store_true", help=beyond)
    parser.add_argument(
        "--number",
        metavar="NUMBER",
        action="append",
        help=words.pick(lang, "a number that people call (4001)", "人们拨打的号码（4001）"),
    )
    add("--hourly", "CALLS", "calls an hour (60)", "每小时来电数（60）", 60.0, float)
    add("--stays", "SECONDS", "how long a caller stays, the mean (120)", "来电者平均停留秒数（120）", 120.0, float)
    add("--missed", "SHARE", "phones that are not picked up (0)", "无人接听的话机比例（0）", 0.0, float)
    add("--answers", "SHARE", "dialed numbers that answer (0.3)", "外呼号码的接听比例（0.3）", 0.3, float)
    add("--drain", "SECONDS", "that calls get after a signal (30)", "收到信号后留给通话的秒数（30）", DRAIN_S, float)
    add("--seed", "N", "of all chance (0)", "随机种子（0）", 0, int)


def run(options: argparse.Namespace) -> int:
    """Status 0 after a signal; 2 if something can't be used."""
    if options.capacity is None:
        options.capacity = CAPACITY[options.backend]
    for key, low, high in BOUNDS:
        if not low <= getattr(options, key) <= high:
            what = f"{getattr(options, key)!r} is not from {low:g} to {high:g}"
            raise InputError(what, Where(key=f"--{key}"), "Give another one")
    settings = None if options.simulated else sip_settings(options)
    if settings is not None and options.backend == "wheel":
        check_wheel(settings)
    if options.check:
        return say_checked(options, settings)
    return Watcher(options.drain).run(lambda pulse: run_in_loop(serve(options, settings, pulse)))


def say_checked(asked: argparse.Namespace, settings: SipSettings | None) -> int:
    """What the settings are, in a line; an error would have been raised before."""
    trunks = [trunk.name for trunk in settings.trunks] if settings else []
    phones = len(settings.registrar.users) if settings and settings.registrar else 0
    if asked.json:
        print(json.dumps({"usable": True, "trunks": trunks, "registered_phones_max": phones}))
    else:
        named = ", ".join(trunks) or "-"
        print(
            words.pick(
                asked.lang,
                f"usable; trunks: {named}; phones that may register: {phones}",
                f"可用；中继：{named}；可注册的话机：{phones}",
            )
        )
    return 0


def simulated(asked: argparse.Namespace) -> MediaBackend:
    """A media layer without SIP."""
    numbers = tuple(asked.number or ["4001"])
    habits = Habits(asked.hourly, numbers, asked.stays, missed=asked.missed, answers=asked.answers)
    prefix = f"{asked.node}.{uuid.uuid4().hex[:8]}."
    return CrowdedMedia(People(habits, asked.seed), prefix, time.monotonic, lines=asked.capacity)


def sip_settings(asked: argparse.Namespace) -> SipSettings:
    """What --settings, or --sip and the options beside it, say."""
    if asked.settings is not None:
        for key in ("trunk", "phones", "beyond_loopback"):
            if getattr(asked, key):
                what = f"--{key.replace('_', '-')} is an option of --sip"
                raise InputError(what, Where(key="--settings"), "Write it into the file")
        settings = load_node(asked.settings, asked.prompts, asked.recordings, asked.capacity)
        return replace(settings, recipients=tuple(asked.recipient), opus=asked.opus)
    address, _, port = asked.sip.rpartition(":")
    if not address or not port.isdigit() or int(port) > 65535:
        raise InputError(f"{asked.sip!r} is no address", Where(key="--sip"), "Write 127.0.0.1:5060")
    if not all("=" in trunk for trunk in asked.trunk):
        raise InputError("no name of a trunk", Where(key="--trunk"), "Write NAME=HOST or NAME=HOST:PORT")
    return SipSettings(
        prompts=asked.prompts,
        recordings=asked.recordings,
        address=address,
        port=int(port),
        beyond_loopback=asked.beyond_loopback,
        trunks=tuple(Trunk(*trunk.split("=", 1)) for trunk in asked.trunk),
        phones=tuple(asked.phones) or ("127.0.0.0/8",),
        legs_max=asked.capacity,
        recipients=tuple(asked.recipient),
        opus=asked.opus,
    )


def real(settings: SipSettings, backend: str) -> MediaBackend:
    """A media layer of real calls. InputError if it was not built, or can't start as asked."""
    if backend == "wheel":
        try:
            return WheelMedia(settings)
        except OSError as error:
            raise InputError(f"pjsua2 can't start: {error}", Where(key="--sip"), "Is the port in use?") from error
    try:
        from cordboard.bindings.pjsip.backend import PjsipMedia
    except ImportError as error:
        what = f"PJSIP is not built: {error}"
        hint = "Run make media in the sources of cordboard, or take --backend wheel for a trial"
        raise InputError(what, Where(key="--sip"), hint) from error
    try:
        return PjsipMedia(settings)
    except OSError as error:
        raise InputError(f"PJSIP can't start: {error}", Where(key="--sip"), "Is the port in use?") from error


def channel(asked: argparse.Namespace) -> grpc.aio.Channel:
    """The way to the server, with our token on every call."""
    if asked.authority is None and asked.certificate is None:
        return grpc.aio.insecure_channel(asked.server, options(None))
    tls = Tls(asked.authority, asked.certificate, asked.key)
    return grpc.aio.secure_channel(asked.server, tls.credentials(), options(tls))


async def serve(asked: argparse.Namespace, settings: SipSettings | None, pulse: Pulse) -> int:
    """Work until a signal, or until nobody watches any more; then hang up everything."""
    backend = real(settings, asked.backend) if settings else simulated(asked)
    token = metadata(asked.token.read_text().strip() if asked.token else None)
    async with channel(asked) as way:
        name = resource(asked.tenant, "nodes", asked.node)
        attach = over_line(asked.server[len(UNIX) :], token) if asked.server.startswith(UNIX) else over_grpc(way, token)
        node = MediaNode(attach, backend, name, asked.capacity)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, wind_down, node, asked.drain)
        work = asyncio.create_task(node.run())
        beating = asyncio.create_task(beat(node, pulse))
        ready = asyncio.create_task(node.attached.wait())
        await asyncio.wait([work, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not work.done():
            say_ready(asked)
        await work
        beating.cancel()
    return 0


def wind_down(node: MediaNode, seconds: float) -> None:
    """After a signal: no new calls, those that are here get their time; another signal hurries."""
    if node.draining:
        node.stop()
    else:
        node.drain(seconds)


async def beat(node: MediaNode, pulse: Pulse) -> None:
    """Say that the node works, for as long as it does."""
    while not node.works() or pulse.beat():
        await asyncio.sleep(PULSE_S)
    node.stop()


def say_ready(asked: argparse.Namespace) -> None:
    """The line that whoever started us waits for."""
    if asked.json:
        print(json.dumps({"ready": True, "node": asked.node, "server": asked.server}), flush=True)
    else:
        en = f"media node {asked.node} is attached to {asked.server}"
        print(words.pick(asked.lang, en, f"媒体节点 {asked.node} 已接入 {asked.server}"), flush=True)
