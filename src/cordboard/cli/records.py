"""``cordboard records``: rebuild, show and export the records of a journal."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from cordboard import words
from cordboard.errors import InputError, Where

if TYPE_CHECKING:
    from cordboard.records import Records, Step

TOLD_EVERY = 1000  # revisions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)

    def part(name: str, en: str, zh: str) -> argparse.ArgumentParser:
        text = words.pick(lang, en, zh)
        one = parts.add_parser(name, help=text, description=text)
        one.add_argument("--lang", choices=words.LANGS, default=lang, help=words.pick(lang, "language", "语言"))
        one.add_argument("--json", action="store_true", help=words.pick(lang, "print JSON", "以 JSON 输出"))
        return one

    place = words.pick(lang, "an SQLite file or postgresql://...", "SQLite 文件或 postgresql://...")
    rebuild = part("rebuild", "drop the records and make them of a journal anew", "删除记录并由日志重建")
    center = words.pick(lang, "the center file of a journal file", "日志文件的中心配置文件")
    rebuild.add_argument("center", nargs="?", metavar="CENTER.toml", help=center)
    journal = words.pick(lang, "the journal file", "日志文件")
    rebuild.add_argument("journal", nargs="?", metavar="JOURNAL.jsonl", help=journal)
    data = words.pick(lang, "or the data folder of a server that is stopped", "或已停止的服务器的数据目录")
    rebuild.add_argument("--data", metavar="DIR", help=data)
    database = words.pick(lang, "the PostgreSQL that has its journal", "其日志所在的 PostgreSQL")
    rebuild.add_argument("--database", metavar="URL", default="", help=database)
    tenant = words.pick(lang, "whose journal (default)", "租户（default）")
    rebuild.add_argument("--tenant", metavar="NAME", default="default", help=tenant)
    rebuild.add_argument("--to", metavar="RECORDS", help=place)
    rebuild.add_argument("--seed", type=int, default=0, help=words.pick(lang, "of the strategy random (0)", "随机种子"))

    show = part("show", "how many records there are, and what became of the contacts", "显示记录数量和联系结果")
    show.add_argument("records", metavar="RECORDS", help=place)
    show.add_argument("--contact", metavar="NAME", help=words.pick(lang, "all its rows", "其全部记录"))

    export = part("export", "one row a contact", "每个联系一行")
    export.add_argument("records", metavar="RECORDS", help=place)
    export.add_argument("--format", choices=("csv", "jsonl"), default="csv", help=words.pick(lang, "csv", "格式"))
    export.add_argument("--to", metavar="FILE", help=words.pick(lang, "standard output if absent", "默认为标准输出"))


def run(options: argparse.Namespace) -> int:
    return {"rebuild": rebuild, "show": show, "export": export}[options.part](options)


def rebuild(options: argparse.Namespace) -> int:
    if options.data is not None:
        return rebuild_data(options)
    if options.journal is None or options.to is None:
        hint = "Give CENTER.toml, JOURNAL.jsonl and --to; or --data of a server"
        raise InputError("it is not said what to rebuild the records of", Where(key="JOURNAL.jsonl"), hint)
    from cordboard.center import load_center
    from cordboard.cli.replay import open_journal
    from cordboard.records import Records, steps_of_journal

    center = load_center(options.center)
    with open_journal(options.journal) as stream, Records(options.to) as records:
        steps = steps_of_journal(center, stream, options.journal, options.seed)
        count = records.rebuild(with_progress(steps, stream, options))
        summary(records, options, {"booked": count})
    return 0


def rebuild_data(options: argparse.Namespace) -> int:
    """The records of a server's journal, where the server keeps them unless ``--to`` says otherwise."""
    from cordboard.live import Settings
    from cordboard.live.beside import records_place
    from cordboard.records import Records, steps_of_data

    settings = Settings(data=options.data, database=options.database)
    place, schema = (options.to, "") if options.to else records_place(settings, options.tenant)
    steps = steps_of_data(settings, options.tenant)
    first = next(steps, None)  # a journal that is not there is told before anything is dropped
    with Records(place, schema) as records:
        count = records.rebuild(itertools.chain([] if first is None else [first], steps))
        summary(records, options, {"booked": count})
    return 0


def with_progress(steps: Iterator[Step], stream: Any, options: argparse.Namespace) -> Iterator[Step]:
    """The steps; with a bar on standard error while a file is read at a terminal."""
    if options.json or not sys.stderr.isatty() or not stream.seekable():
        yield from steps
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(words.pick(options.lang, "records", "记录"), total=os.fstat(stream.fileno()).st_size)
        for count, step in enumerate(steps):
            if count % TOLD_EVERY == 0:
                progress.update(task, completed=stream.tell())
            yield step


def existing(place: str) -> Records:
    """The records at a place; a file that does not exist is not made."""
    from cordboard.records import Records, database_url

    file = database_url(place).database if not place.startswith("postgres") else None
    if file is not None and not os.path.exists(file):
        raise InputError("there are no records", Where(place), "Make them with: cordboard records rebuild")
    return Records(place)


def show(options: argparse.Namespace) -> int:
    with existing(options.records) as records:
        if options.contact is None:
            summary(records, options, {})
        else:
            one_contact(records, options)
    return 0


def summary(records: Records, options: argparse.Namespace, more: dict[str, Any]) -> None:
    revision, t = records.checkpoint()
    counts = records.counts()
    outcomes: dict[str, Counter[str]] = {}
    for row in records.rows("outcomes"):
        outcomes.setdefault(row["queue"], Counter())[row["outcome"]] += 1
    if options.json:
        record = {"revision": revision, "t": t, **more, "rows": counts, "outcomes": outcomes}
        print(json.dumps(record, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    lang = options.lang
    console = Console(highlight=False)
    rows = ", ".join(f"{name} {count}" for name, count in counts.items())
    text = f"Up to revision {revision}, t = {t:g} s: {rows}", f"至修订 {revision}，t = {t:g} 秒：{rows}"
    console.print(words.pick(lang, *text))
    table = Table(title=words.pick(lang, "what became of the contacts, by their last queue", "联系结果（按最后队列）"))
    table.add_column(words.pick(lang, "queue", "队列"))
    kinds = {"answered": "接通", "abandoned": "放弃", "expired": "超时", "rejected": "拒绝"}
    for kind, zh in kinds.items():
        table.add_column(words.pick(lang, kind, zh), justify="right")
    for queue, found in sorted(outcomes.items()):
        table.add_row(escape(queue), *(str(found[kind]) for kind in kinds))
    console.print(table)


def one_contact(records: Records, options: argparse.Namespace) -> None:
    """Every row of the contacts of this name, in the order of what began first."""
    found = [(table, dict(row)) for table in ("contacts", "legs", "offers", "outcomes")
             for row in records.rows(table, contact=options.contact)]  # fmt: skip
    if not found:
        raise InputError(f'there is no contact "{options.contact}" in the records', hint="Check the spelling")
    for table, row in found:
        print(json.dumps({"table": table, **row}, ensure_ascii=False))


def export(options: argparse.Namespace) -> int:
    from cordboard.records.export import csv_lines, json_lines

    with existing(options.records) as records, output(options.to) as target:
        for line in (csv_lines if options.format == "csv" else json_lines)(records):
            target.write(line)
    return 0


@contextlib.contextmanager
def output(path: str | None) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdout
        return
    try:
        stream = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", Where(path), "Check the path") from error
    with stream:
        yield stream
