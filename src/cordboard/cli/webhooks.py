"""``cordboard webhooks``: how the endpoints are, their dead letters, and a secret for a new one."""

from __future__ import annotations

import argparse
import base64
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cordboard import words

if TYPE_CHECKING:
    from cordboard.live.webhook_store import DeadLetter, WebhookStore

PARTS = {
    "show": ("how each endpoint is", "显示各端点的状态"),
    "dead": ("the dead letters of an endpoint", "显示某端点的死信"),
    "again": ("send dead letters once more", "重新发送死信"),
    "drop": ("forget dead letters", "删除死信"),
    "resume": ("let an endpoint that stands still go on", "恢复停止的端点"),
    "check": ("check a file of endpoints", "检查端点配置文件"),
    "secret": ("make a secret", "生成密钥"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for name, text in PARTS.items():
        one = parts.add_parser(name, help=words.pick(lang, *text), description=words.pick(lang, *text))
        one.add_argument("--lang", choices=words.LANGS, default=lang, help=words.pick(lang, "language", "语言"))
        one.add_argument("--json", action="store_true", help=words.pick(lang, "print JSON", "以 JSON 输出"))
        if name == "check":
            one.add_argument("file", metavar="ENDPOINTS.toml", help=words.pick(lang, "the file", "配置文件"))
        elif name != "secret":
            place = words.pick(lang, "the file beside the journal", "日志旁的文件")
            one.add_argument("store", metavar="WEBHOOKS.db", help=place)
        if name in ("dead", "again", "drop", "resume"):
            one.add_argument("endpoint", metavar="NAME", help=words.pick(lang, "of the endpoint", "端点名称"))
        if name in ("again", "drop"):
            one.add_argument("--revision", type=int, metavar="N", help=words.pick(lang, "this one alone", "只此一封"))


def run(options: argparse.Namespace) -> int:
    from cordboard.live.webhook_store import WebhookStore
    from cordboard.live.webhooks import load_endpoints

    if options.part == "secret":
        print("whsec_" + base64.b64encode(os.urandom(32)).decode())
    elif options.part == "check":
        names = [endpoint.name for endpoint in load_endpoints(options.file)]
        say(options, {"endpoints": names}, f"{len(names)} endpoints: {', '.join(names)}", f"{len(names)} 个端点")
    else:
        store = WebhookStore(options.store, make=False)
        if options.part == "show":
            show(store, options)
        elif options.part == "dead":
            for letter in store.dead(options.endpoint):
                tell(letter, options)
        elif options.part == "resume":
            store.resume(options.endpoint)
            say(options, {"resumed": options.endpoint}, "It goes on within a second", "将在一秒内恢复")
        else:
            act = store.again if options.part == "again" else store.drop
            count = act(options.endpoint, options.revision)
            say(options, {"letters": count}, f"{count} dead letters", f"{count} 封死信")
    return 0


def say(options: argparse.Namespace, record: dict[str, object], en: str, zh: str) -> None:
    print(json.dumps(record, ensure_ascii=False) if options.json else words.pick(options.lang, en, zh))


def show(store: WebhookStore, options: argparse.Namespace) -> None:
    rows = store.endpoints()
    if options.json:
        keys = ("name", "cursor", "stopped", "dead")
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    heads = ("endpoint", "端点"), ("has up to", "已送至"), ("stands still", "停止原因"), ("dead letters", "死信")
    for en, zh in heads:
        table.add_column(words.pick(options.lang, en, zh))
    for name, cursor, stopped, dead in rows:
        table.add_row(escape(name), str(cursor), escape(stopped) or "–", str(dead))
    Console(highlight=False).print(table)


def tell(letter: DeadLetter, options: argparse.Namespace) -> None:
    """A dead letter on a line; with ``--json`` its body too, which may hold personal data."""
    if options.json:
        record = {"revision": letter.revision, "id": letter.id, "attempts": letter.attempts, "why": letter.why}
        print(json.dumps({**record, "died_at": letter.died_at, "body": letter.body.decode()}, ensure_ascii=False))
    else:
        at = datetime.fromtimestamp(letter.died_at, UTC).isoformat(timespec="seconds")
        print(f"{letter.revision}  {at}  {letter.attempts}  {letter.why}{'  …' if letter.again else ''}")
