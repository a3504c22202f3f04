"""``cordboard audit``: whether an audit log is as it was written, and what it says."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

from cordboard import words
from cordboard.cli.actions import Actions
from cordboard.errors import InputError, Where


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = Actions(parser)
    verify = actions.add("verify", "find what was changed, dropped or moved", "查找被更改、删除或移动的记录")
    verify.value("folder", "FOLDER", "the log's folder", "日志目录", type=Path)
    verify.value("--keys", "KEYS.jwks", "public keys of its checkpoints", "检查点公钥集", type=Path, required=True)
    verify.value("--tenant", "NAME", "whose log it is (default)", "所属租户（default）", default="default")
    heads = {"action": "append", "default": []}
    verify.value("--head", "N:HASH", "a head noted before: that line must be there", "此前记下的链头", **heads)
    show = actions.add("show", "print its records", "显示记录")
    show.value("folder", "FOLDER", "the log's folder", "日志目录", type=Path)
    show.value("--actor", "NAME", "of this actor alone", "仅此操作者", default="")
    show.value("--action", "TEXT", "of actions with this in their name", "仅此类操作", default="", dest="named")


def run(options: argparse.Namespace) -> int:
    """Status 0; 1 if ``verify`` finds anything wrong."""
    return run_verify(options) if options.action == "verify" else run_show(options)


def head_of(text: str) -> tuple[int, str]:
    if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{64}", text):
        raise InputError(f"{text[:80]!r} is no head", Where(key="head"), "cordboard audit verify prints it: N:HASH")
    return int(text.partition(":")[0]), text.partition(":")[2]


def run_verify(options: argparse.Namespace) -> int:
    from cordboard.live.audit_check import verify
    from cordboard.live.tokens import read_keys

    heads = [head_of(text) for text in options.head]
    verdict = verify(options.folder, read_keys(options.keys), tenant=options.tenant, heads=heads)
    n, last = verdict.head
    if options.json:
        record = asdict(verdict) | {"whole": verdict.whole, "head": f"{n}:{last}"}
        print(json.dumps(record, ensure_ascii=False))
        return 0 if verdict.whole else 1
    for problem in verdict.problems:
        print(f"{problem.file}:{problem.line}: {problem.what}", file=sys.stderr)
    unsigned = n - verdict.signed
    print(
        words.pick(
            options.lang,
            f"{verdict.records} records, {len(verdict.problems)} problems; signed up to {verdict.signed}"
            + (f", the last {unsigned} chained only" if unsigned else ""),
            f"{verdict.records} 条记录，{len(verdict.problems)} 处问题；签名至第 {verdict.signed} 条"
            + (f"，其后 {unsigned} 条仅有哈希链" if unsigned else ""),
        )
    )
    print(words.pick(options.lang, "Head, to keep elsewhere: ", "链头（请另处保存）：") + f"{n}:{last}")
    return 0 if verdict.whole else 1


def run_show(options: argparse.Namespace) -> int:
    from cordboard.live.audit import files_of
    from cordboard.live.audit_check import lines_of

    for file in files_of(options.folder):
        with open(file, "rb") as source:
            for line in lines_of(source):
                try:
                    fields = json.loads(line[65:])
                except ValueError:
                    continue  # verify is who tells of it
                if not isinstance(fields, dict) or fields.get("kind") != "record":
                    continue
                if options.actor in ("", fields.get("actor")) and options.named in str(fields.get("action")):
                    print(json.dumps(fields, ensure_ascii=False))
    return 0
