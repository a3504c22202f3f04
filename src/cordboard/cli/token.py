"""``cordboard token``: key sets, and the tokens signed with them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cordboard import words
from cordboard.cli.actions import Actions
from cordboard.errors import InputError, UnauthenticatedError, Where
from cordboard.live.access import ALL, Caller, Role, checked_roles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = Actions(parser)
    several: dict[str, Any] = {"action": "append", "default": []}

    keys = actions.add("keys", "make a key set, or change one", "生成或更改密钥集")
    keys.value("file", "KEYS.jwks", "the private key set", "私钥集文件", type=Path)
    keys.value("--public", "FILE", "write the public key set here, for the servers", "公钥集输出文件", type=Path)
    keys.switch("--rotate", "add a key, which signs from now on", "加入新密钥，今后以其签名")
    keys.value("--drop", "KID", "take a key out: its tokens hold no more", "移除密钥，其令牌失效", default="")

    issue = actions.add("issue", "sign a token", "签发令牌")
    issue.value("--keys", "KEYS.jwks", "the private key set", "私钥集文件", type=Path, required=True)
    issue.value("--tenant", "NAME", "the tenant (default)", "租户（default）", default="default")
    issue.value("--name", "NAME", "who will bear it; an agent's name for an agent", "持有者名称", required=True)
    issue.value("--role", "ROLE", ", ".join(Role), ", ".join(Role), action="append", required=True)
    issue.value("--team", "NAME", "a team in its scope; '*' is all", "可管团队；* 为全部", **several)
    issue.value("--queue", "NAME", "a queue in its scope; '*' is all", "可管队列；* 为全部", **several)
    issue.value("--hours", "N", "how long it holds (12)", "有效小时数（12）", type=float, default=12.0)
    issue.value("--audience", "NAME", "the deployment (cordboard)", "部署名称（cordboard）", default="cordboard")

    show = actions.add("show", "what a token says, and whether it holds", "显示令牌内容及是否有效")
    show.value("token", "TOKEN", "the token, or - for standard input", "令牌，- 表示标准输入")
    show.value("--keys", "KEYS.jwks", "the key set to check it with", "用于校验的密钥集", type=Path)
    show.value("--audience", "NAME", "the deployment it must be for (cordboard)", "部署名称", default="cordboard")


def run(options: argparse.Namespace) -> int:
    """Status 0; 1 from ``show --keys`` if the token does not hold."""
    return {"keys": run_keys, "issue": run_issue, "show": run_show}[options.action](options)


def run_keys(options: argparse.Namespace) -> int:
    from cordboard.live import tokens

    file: Path = options.file
    if not file.exists():
        if options.drop:
            raise InputError("there is no such key set", Where(str(file)), "Leave --drop out to make one")
        keys: tuple[tokens.Key, ...] = (tokens.new_key(),)
    else:
        keys = tokens.read_keys(file, private=True)
        if options.drop:
            kept = tuple(key for key in keys if key.kid != options.drop)
            if len(kept) == len(keys):
                raise InputError(f"no key {options.drop}", Where(str(file)), "Known: " + ", ".join(k.kid for k in keys))
            if not kept and not options.rotate:
                raise InputError("it is the last key", Where(str(file)), "Give --rotate too, for a new one")
            keys = kept
        if options.rotate:
            keys = (tokens.new_key(), *keys)
    tokens.write_keys(file, keys, private=True)
    if options.public:
        tokens.write_keys(options.public, keys, private=False)
    if options.json:
        print(json.dumps({"keys": [key.kid for key in keys], "signs": keys[0].kid}))
    else:
        say = words.pick(options.lang, "signs with {}; verifies {}", "签名密钥 {}；可验证 {}")
        print(f"{file}: {say.format(keys[0].kid, ', '.join(key.kid for key in keys))}")
    return 0


def run_issue(options: argparse.Namespace) -> int:
    from cordboard.live import tokens

    now = time.time()
    scopes = [frozenset(names) for names in (options.team, options.queue)]
    for names, key in zip(scopes, ("team", "queue"), strict=True):
        if "*" in names and names != ALL:
            raise InputError("* stands for all; it can't stand beside names", Where(key=key), "Give one or the other")
    roles = checked_roles(options.role)
    caller = Caller(options.tenant, options.name, roles, scopes[0], scopes[1], now + options.hours * 3600)
    token = tokens.issue(tokens.read_keys(options.keys, private=True)[0], caller, now=now, audience=options.audience)
    print(json.dumps({"token": token, "expires": int(caller.expires)}) if options.json else token)
    return 0


def run_show(options: argparse.Namespace) -> int:
    from cordboard.live import tokens

    token = sys.stdin.readline().strip() if options.token == "-" else options.token
    said = tokens.shown(token)
    holds, why = None, ""
    if options.keys:
        try:
            tokens.Verifier(options.keys, audience=options.audience).verify(token)
            holds = True
        except UnauthenticatedError as error:
            holds, why = False, f"{error.reason}: {error.__cause__ or error.what}"
    if options.json:
        print(json.dumps(said | {"holds": holds, "why": why}, ensure_ascii=False))
    else:
        table = Table("", "", box=None, show_header=False)
        for part in said.values():
            for name, value in part.items():
                moment = name in ("iat", "nbf", "exp") and isinstance(value, int) and 0 <= value < 1e10
                table.add_row(name, time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(value)) if moment else str(value))
        unchecked = words.pick(options.lang, "not checked: give --keys", "未校验：请给出 --keys")
        yes = words.pick(options.lang, "yes", "是")
        table.add_row(
            words.pick(options.lang, "holds", "有效"), unchecked if holds is None else yes if holds else why
        )
        Console().print(table)
    return 1 if holds is False else 0
