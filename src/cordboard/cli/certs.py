"""``cordboard certs``: an authority, and the certificates of servers and clients."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cordboard import words
from cordboard.cli.actions import Actions
from cordboard.errors import InputError, Where
from cordboard.live.access import ALL, Caller, Role, checked_roles
from cordboard.live.keyfiles import read_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = Actions(parser)
    several: dict[str, Any] = {"action": "append", "default": []}

    init = actions.add("init", "make an authority: ca.pem and ca.key", "生成证书颁发机构：ca.pem 与 ca.key")
    init.value("folder", "FOLDER", "where it is kept", "存放目录", type=Path)
    init.value("--name", "NAME", "its name (cordboard CA)", "名称（cordboard CA）", default="cordboard CA")
    init.value("--days", "N", "how long it holds (3650)", "有效天数（3650）", type=int, default=3650)

    server = actions.add("server", "make a server's certificate: server.pem, server.key", "生成服务器证书")
    server.value("folder", "FOLDER", "the folder of the authority", "颁发机构目录", type=Path)
    server.value("--host", "NAME", "a name or address of it", "主机名或地址", action="append", required=True)
    server.value("--days", "N", "how long it holds (397)", "有效天数（397）", type=int, default=397)
    server.value("--out", "STEM", "the files' name without .pem (server)", "输出文件名（server）", default="server")

    client = actions.add("client", "make a client's certificate: NAME.pem, NAME.key", "生成客户端证书")
    client.value("folder", "FOLDER", "the folder of the authority", "颁发机构目录", type=Path)
    client.value("--tenant", "NAME", "its tenant (default)", "租户（default）", default="default")
    client.value("--name", "NAME", "its name", "名称", required=True)
    client.value("--role", "ROLE", ", ".join(Role), ", ".join(Role), action="append", required=True)
    client.value("--team", "NAME", "a team in its scope; '*' is all", "可管团队；* 为全部", **several)
    client.value("--queue", "NAME", "a queue in its scope; '*' is all", "可管队列；* 为全部", **several)
    client.value("--days", "N", "how long it holds (90)", "有效天数（90）", type=int, default=90)
    client.value("--out", "STEM", "the files' name without .pem (client)", "输出文件名（client）", default="client")

    show = actions.add("show", "what a certificate says", "显示证书内容")
    show.value("file", "FILE.pem", "the certificate", "证书文件", type=Path)


def run(options: argparse.Namespace) -> int:
    from cordboard.live import certificates

    if options.action == "show":
        said = certificates.described(read_file(options.file, secret=False), str(options.file))
        if options.json:
            print(json.dumps(said, ensure_ascii=False))
        else:
            for name, value in said.items():
                print(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
        return 0
    folder: Path = options.folder
    if options.action == "init":
        if (folder / "ca.key").exists():
            hint = "Choose another folder: what the old one has signed would hold no more"
            raise InputError("there is an authority here already", Where(str(folder)), hint)
        pair, stem = certificates.make_authority(options.name, days=options.days), "ca"
    else:
        authority = certificates.read_pair(folder / "ca.pem", folder / "ca.key")
        stem = options.out
        if stem == "ca" or "/" in stem or stem.startswith("."):
            raise InputError(f"{stem!r} can't be the files' name", Where(key="out"), "Give a plain one, not ca")
        if options.action == "server":
            pair = certificates.make_server(authority, options.host, days=options.days)
        else:
            pair = certificates.make_client(authority, client_of(options), days=options.days)
    written = certificates.write_pair(folder, stem, pair)
    if options.json:
        print(json.dumps({"certificate": str(written[0]), "key": str(written[1])}))
    else:
        print(words.pick(options.lang, "Written: {} and {}", "已写入：{} 与 {}").format(*written))
    return 0


def client_of(options: argparse.Namespace) -> Caller:
    scopes = [frozenset(names) for names in (options.team, options.queue)]
    for names in scopes:
        if "*" in names and names != ALL:
            raise InputError("* stands for all; it can't stand beside names", hint="Give one or the other")
    return Caller(options.tenant, options.name, checked_roles(options.role), scopes[0], scopes[1])
