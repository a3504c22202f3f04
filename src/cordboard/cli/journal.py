"""``cordboard journal``: look at the journal of a live engine, and write it as lines that other commands take."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
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
        ("compact", "forget what is old and not needed, of a stopped server", "清除已停服务器的过期日志"),
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
        if name == "compact":
            days = words.pick(lang, "how many days stay for certain, 1 at least", "至少保留的天数（≥1）")
            one.add_argument("--keep-days", metavar="DAYS", type=float, required=True, help=days)
            place = words.pick(lang, "where the records are, if not beside the journal; off for none", "记录所在数据库")
            one.add_argument("--records", metavar="PLACE", default="", help=place)
        if name == "export":
            after = words.pick(lang, "only what is after this revision", "仅导出此修订之后")
            one.add_argument("--after", metavar="REVISION", type=int, default=0, help=after)
            one.add_argument(
                "--center", metavar="CENTER.toml",
                help=words.pick(lang, "write the center with which it begins here", "将起始中心配置写入此文件"),
            )  # fmt: skip
            one.add_argument(
                "--to", metavar="FILE", help=words.pick(lang, "standard output if absent", "默认为标准输出")
            )


def run(options: argparse.Namespace) -> int:
    if options.part == "compact":
        return compact(options)
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
    last, first = archive.store.last(), archive.base + 1
    some = (first, last) if last else ()
    ends = [next(archive.store.rows(revision - 1, revision)).ticks / 1e6 for revision in some]
    center = archive.first_center()
    record = {
        "first": first,
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
        "first": ("first revision", "首个修订号"),
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
        for event in archive.export(options.after):
            stream.write(event_line(event).encode() + b"\n")
    return 0


def compact(options: argparse.Namespace) -> int:
    """What a journal forgot, and who needs what is left."""
    from cordboard.live.archive import Archive
    from cordboard.live.compaction import compact as compact_archive
    from cordboard.live.settings import Settings
    from cordboard.live.store import make_store

    if options.keep_days < 1:
        raise InputError(f"{options.keep_days:g} days", Where(key="--keep-days"), "Keep 1 day at least")
    with opened(options):  # one that is not there is not made
        pass
    settings = Settings(data=options.data, database=options.database, keep_days=options.keep_days)
    archive = Archive(make_store(settings, options.tenant), settings)
    try:
        archive.open()
        done = compact_archive(archive, needs_of(options))
        last = archive.store.last()
    finally:
        archive.store.close()
    record = {"forgotten": done.forgotten, "first": done.base + 1, "revision": last, "held_by": done.held_by}
    if options.json:
        print(json.dumps(record))
        return 0
    en = "{forgotten} rows forgotten; left are revisions {first} to {revision}; what needs them: {held_by}"
    zh = "已清除 {forgotten} 行；日志现有修订 {first} 至 {revision}；保留原因：{held_by}"
    print(words.pick(options.lang, en, zh).format(**record))
    return 0


def needs_of(options: argparse.Namespace) -> dict[str, Callable[[], int]]:
    """Who follows a journal whose server is stopped, and how far each is: its records, webhooks, backups."""
    from cordboard.live.beside import OFF, records_place
    from cordboard.live.compaction import backed_up
    from cordboard.live.settings import Settings
    from cordboard.live.webhook_store import WebhookStore

    settings = Settings(data=options.data, database=options.database)
    folder = settings.tenant_folder(options.tenant)
    needs: dict[str, Callable[[], int]] = {}
    place, schema = records_place(settings, options.tenant, options.records)
    if place != OFF and (place.startswith("postgres") or os.path.exists(place)):
        from cordboard.records import Records

        with Records(place, schema) as records:
            revision = records.revision
        needs["records"] = functools.partial(int, revision)
    if (folder / "webhooks.db").exists():
        store = WebhookStore(folder / "webhooks.db", make=False)
        for name, cursor, _, _ in store.endpoints():
            needs[f"webhook {name}"] = functools.partial(int, cursor)
        store.close()
    backup = backed_up(folder)
    return needs if backup is None else {**needs, "backup": backup}


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
