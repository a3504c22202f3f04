"""``cordboard check``: what is wrong or odd in a center file."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from cordboard import words
from cordboard.center import Center, load_center, serves
from cordboard.center_diff import diff_centers
from cordboard.errors import CenterError, sentence

HELP = ("check a center file", "检查中心配置文件")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    parser.add_argument("center", metavar="CENTER.toml", help=words.pick(lang, "the center file", "中心配置文件"))
    parser.add_argument(
        "--against", metavar="OLD.toml", help=words.pick(lang, "say what differs from this one", "列出与旧配置的差异")
    )


def run(options: argparse.Namespace) -> int:
    """Status 0: usable; 2: not. All errors go to standard error, or with --json into the record."""
    try:
        center = load_center(options.center)
        changes = None if options.against is None else diff_centers(load_center(options.against), center)
    except CenterError as error:
        errors = error.errors or (error,)
        if options.json:
            told = [error_record(one, options.lang) for one in errors]
            print(json.dumps({"ok": False, "errors": told}, ensure_ascii=False))
            return 2
        for one in errors:
            print(one.text(options.lang), file=sys.stderr)
        count = len(errors)
        print(words.pick(options.lang, f"{count} to mend", f"共 {count} 处错误"), file=sys.stderr)
        return 2
    if options.json:
        record = center_record(center, options.lang)
        if changes is not None:
            record["changes"] = [change.record() | {"text": change.text(options.lang)} for change in changes]
        print(json.dumps(record, ensure_ascii=False))
        return 0
    for warning in center.warnings:
        print(warning.text(options.lang), file=sys.stderr)
    print(summary(center, options.lang))
    if changes is not None:
        n, old = len(changes), options.against
        print(words.pick(options.lang, f"{n} changes since {old}", f"与 {old} 相比有 {n} 处变化"))
        for change in changes:
            print(f"  {change.text(options.lang)}")
    return 0


def error_record(error: CenterError, lang: words.Lang) -> dict[str, Any]:
    where, what, hint = error.where, sentence(error.what, lang), sentence(error.hint, lang)
    return {"file": where.file, "line": where.line, "key": where.key, "error": what, "hint": hint}


def center_record(center: Center, lang: words.Lang) -> dict[str, Any]:
    return {
        "ok": True,
        "order": center.order,
        "time_zone": center.time_zone,
        "queues": [queue.name for queue in center.queues],
        "agents": len(center.agents),
        "profiles": profiles(center),
        "warnings": [warning.text(lang) for warning in center.warnings],
    }


def profiles(center: Center) -> int:
    """How many different kinds of agents there are: what the cost of routing depends on."""
    kinds = {
        (
            tuple(sorted(agent.skills.items())),
            None if agent.queues is None else tuple(sorted(agent.queues.items())),
            tuple(sorted(agent.capacity.items())),
            agent.blend,
        )
        for agent in center.agents
    }
    return len(kinds)


def summary(center: Center, lang: words.Lang) -> str:
    """What the center is made of, a line a queue."""
    lines = [
        words.pick(
            lang,
            f"The center is usable: {len(center.queues)} queues, {len(center.agents)} agents in"
            f" {profiles(center)} profiles, order {center.order}, {len(center.warnings)} warnings",
            f"配置可用：{len(center.queues)} 个队列，{len(center.agents)} 名座席（{profiles(center)} 种技能组合），"
            f"次序 {center.order}，{len(center.warnings)} 条警告",
        )
    ]
    for queue in center.queues:
        able = sum(serves(agent, queue) for agent in center.agents)
        lines.append(
            words.pick(
                lang,
                f"  {queue.name}: {queue.channel}, {queue.strategy}, {able} agents",
                f"  {queue.name}：{queue.channel}，{queue.strategy}，{able} 名座席",
            )
        )
    return "\n".join(lines)
