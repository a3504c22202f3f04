"""``cordboard import``: make a center, a journal and a scenario of the records of another system."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from cordboard import words
from cordboard.errors import DataError, Where

if TYPE_CHECKING:
    from rich.console import Console

    from cordboard.importers.anonymous_bank import Call, ImportReport

HELP = ("make a center and a journal of other systems' records", "从其他系统的记录生成中心和日志")
PROGRESS_EVERY = 500  # events


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    parser.add_argument(
        "system", choices=["anonymous-bank"], help=words.pick(lang, "where the records are from", "记录来自哪个系统")
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help=words.pick(lang, "in order of time", "按时间顺序"))
    parser.add_argument(
        "--center", required=True, metavar="OUT.toml", help=words.pick(lang, "write the center here", "中心写入此文件")
    )
    parser.add_argument(
        "--journal", metavar="OUT.jsonl", help=words.pick(lang, "write a journal here", "日志写入此文件")
    )
    parser.add_argument(
        "--scenario",
        metavar="OUT.toml",
        help=words.pick(lang, "write a scenario for `cordboard simulate` here", "仿真场景写入此文件"),
    )


def run(options: argparse.Namespace) -> int:
    from cordboard.importers import anonymous_bank as bank

    calls, report = bank.read_calls(options.files)
    text = bank.center_toml(calls)
    try:
        with open(options.center, "w", encoding="utf-8") as stream:
            stream.write(text)
        events = _write_journal(options, calls, text) if options.journal else None
        if options.scenario:
            with open(options.scenario, "w", encoding="utf-8") as stream:
                stream.write(bank.scenario_toml(calls))
    except OSError as error:
        where = Where(str(error.filename) if error.filename else None)
        raise DataError(f"can't be written: {error.strerror}", where, "Check the folder and the rights") from error
    _show(options, report, events)
    return 0


def _write_journal(options: argparse.Namespace, calls: list[Call], center_text: str) -> int:
    from rich.progress import Progress

    from cordboard.acd import Acd
    from cordboard.center import parse_center
    from cordboard.importers import anonymous_bank as bank
    from cordboard.importers.driving import drive
    from cordboard.journal import event_line

    center = parse_center(center_text, options.center)
    contacts, hours = bank.contacts(calls), bank.working_hours(calls)
    count = 0
    with (
        open(options.journal, "w", encoding="utf-8") as stream,
        Progress(console=_error_console(), disable=options.json, transient=True) as progress,
    ):
        task = progress.add_task(words.pick(options.lang, "journal", "日志"), total=3 * len(contacts))
        for event in drive(Acd(center, explain=False), contacts, hours):
            stream.write(event_line(event) + "\n")
            count += 1
            if count % PROGRESS_EVERY == 0:
                progress.update(task, completed=count)
    return count


def _error_console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _show(options: argparse.Namespace, report: ImportReport, events: int | None) -> None:
    if options.json:
        print(json.dumps({**dataclasses.asdict(report), "events": events}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    lang = options.lang
    table = Table(title=words.pick(lang, "what became of the lines", "各行的处理结果"))
    for title in (("reason", "原因"), ("lines", "行数"), ("for example", "例如")):
        table.add_column(words.pick(lang, *title), overflow="fold")
    table.add_row(words.pick(lang, "read", "读取"), str(report.read))
    table.add_row(words.pick(lang, "used", "使用"), str(report.used))
    for title, counts in ((("left out", "略去"), report.skipped), (("used, though", "使用，但"), report.mended)):
        for reason, count in counts.items():
            table.add_row(f"{words.pick(lang, *title)}: {reason}", str(count), ", ".join(report.places[reason]))
    Console(file=sys.stdout).print(table)
    if events is not None:
        print(words.pick(lang, f"{events} events in {options.journal}", f"{options.journal} 中有 {events} 个事件"))
