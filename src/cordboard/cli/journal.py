"""``cordboard journal``: look at the journal of a live engine, and write it as lines that other commands take."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from cordboard import words
from cordboard.errors import InputError, Where
from cordboard.journal import event_line

if TYPE_CHECKING:
    from cordboard.live.archive import Archive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for name, en, zh in (
        ("show", "how long it is, and from when to when", "显示日志长度与起止时间"),
        ("export", "write it as JSON lines, for `cordboard replay`", "导出为 JSON 行，供 replay 使用"),
    ):
        text = words.pick(lang, en, zh)
        one = parts.add_parser(name, help=text, description=text)
        one.add_argument("--lang", choices=words.LANGS, default=lang, help=words.pick(lang, "language", "语言"))
        one.add_argument("--json", action="store_true", help=words.pick(lang, "print JSON", "以 JSON 输出"))
        one.add_argument(
            "--data", default="cordboard-data", metavar="FOLDER",
            help=words.pick(lang, "where the server keeps its journals (cordboard-data)", "服务器日志所在文件夹"),
        )  # fmt: skip
        one.add_argument(
            "--database",
            default="",
            metavar="URL",
            help=words.pick(lang, "postgresql://... instead", "PostgreSQL 地址"),
        )
        one.add_argument("--tenant", default="default", help=words.pick(lang, "whose (default)", "租户（default）"))
        if name == "export":
            one.add_argument(
                "--center", metavar="CENTER.toml",
                help=words.pick(lang, "write the center with which it begins here", "将起始中心配置写入此文件"),
            )  # fmt: skip
            one.add_argument(
                "--to", metavar="FILE", help=words.pick(lang, "standard output if absent", "默认为标准输出")
            )


def run(options: argparse.Namespace) -> int:
    with opened(options) as archive:
        return {"show": show, "export": export}[options.part](options, archive)


@contextlib.contextmanager
def opened(options: argparse.Namespace) -> Iterator[Archive]:
    """The journal, for reading; a server may be at work on it."""
    from cordboard.live.archive import Archive
    from cordboard.live.settings import Settings
    from cordboard.live.store import make_store

    settings = Settings(data=options.data, database=options.database)
    store = make_store(settings, options.tenant, read_only=True)
    try:
        store.open()
        archive = Archive(store, settings)
        archive.look()
        yield archive
    finally:
        store.close()


def show(options: argparse.Namespace, archive: Archive) -> int:
    last = archive.store.last()
    ends = [next(archive.store.rows(revision - 1, revision)).ticks / 1e6 for revision in ((1, last) if last else ())]
    center = archive.first_center()
    record = {
        "revision": last,
        "from": ends[0] if ends else None,
        "to": ends[-1] if ends else None,
        "snapshots": [revision for revision, _ in archive.store.snapshots()],
        "queues": len(center.queues),
        "agents": len(center.agents),
    }
    if options.json:
        print(json.dumps(record))
        return 0
    for key, (en, zh) in {
        "revision": ("last revision", "最后修订号"), "from": ("from (Unix seconds)", "起（Unix 秒）"),
        "to": ("to", "止"), "snapshots": ("snapshots at", "快照"), "queues": ("queues at its beginning", "起始队列数"),
        "agents": ("agents at its beginning", "起始座席数"),
    }.items():  # fmt: skip
        print(f"{words.pick(options.lang, en, zh)}: {record[key]}")
    return 0


def export(options: argparse.Namespace, archive: Archive) -> int:
    from cordboard.center_writer import center_toml

    if options.center:
        with written(options.center) as stream:
            stream.write(center_toml(archive.first_center()).encode())
    with written(options.to) as stream:
        for event in archive.export():
            stream.write(event_line(event).encode() + b"\n")
    return 0


@contextlib.contextmanager
def written(path: str | None) -> Iterator[BinaryIO]:
    """A file that must not be there yet, or the standard output."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InputError(f"it can't be written: {error.strerror}", Where(path), "Give another file") from error
    with open(handle, "wb") as stream:
        yield stream
