"""``cordboard replay``: feed a journal to a center, write its effects."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

from cordboard import words
from cordboard.center import Center, load_center
from cordboard.errors import InputError, LimitError, Where, sentence
from cordboard.journal import TIME_MAX_S, event_line
from cordboard.kpi import KPIS, Tally, figures
from cordboard.replay import Answer, Summary, replay

HELP = ("feed a journal to a center, write its effects", "把流水日志送入中心，输出结果")
SHOWN = ("SL_OFFERED", "ASA", "ABANDON_RATE")
PROGRESS_EVERY = 500  # lines


def add_journal_arguments(parser: argparse.ArgumentParser, lang: words.Lang) -> None:
    """What is replayed, for every command that replays."""
    parser.add_argument("center", metavar="CENTER.toml", help=words.pick(lang, "the center file", "中心配置文件"))
    parser.add_argument(
        "journal",
        metavar="JOURNAL.jsonl",
        help=words.pick(lang, "the journal; - reads standard input", "日志文件；- 表示标准输入"),
    )
    parser.add_argument(
        "--seed", type=int, default=0, help=words.pick(lang, "of the strategy random (0)", "随机策略的种子（0）")
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    add_journal_arguments(parser, lang)
    parser.add_argument("--effects", metavar="OUT.jsonl", help=words.pick(lang, "write effects here", "结果写入此文件"))
    parser.add_argument(
        "--until",
        type=moment,
        metavar="T",
        help=words.pick(lang, "take no later line, fire the timers up to T", "只处理 T 及以前的日志和定时器"),
    )
    parser.add_argument(
        "--strict", action="store_true", help=words.pick(lang, "stop at the first bad line", "遇到错误行即停止")
    )


def seconds(text: str) -> float:
    """A time on the command line."""
    value = float(text)
    if not 0 <= value <= TIME_MAX_S:
        raise argparse.ArgumentTypeError(f"{text} is not a time from 0 to {TIME_MAX_S:g} seconds")
    return value


def moment(text: str) -> float | datetime:
    """A time on the command line: the journal's seconds, or a date and time of day; see ``in_seconds``."""
    try:
        return datetime.fromisoformat(text) if "-" in text.lstrip("-") else seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is neither seconds nor like 2026-11-22T14:30:05") from None


def in_seconds(at: float | datetime | None, center: Center) -> float | None:
    """A moment in the journal's seconds; one without a time zone is in the center's."""
    if not isinstance(at, datetime):
        return at
    return (at if at.tzinfo else at.replace(tzinfo=ZoneInfo(center.time_zone))).timestamp()


def run(options: argparse.Namespace) -> int:
    from cordboard.acd import Acd  # the compiled core, only when something is replayed

    center = load_center(options.center)
    summary = Summary.of(center)
    engine = Acd(center, seed=options.seed)
    name = "<stdin>" if options.journal == "-" else options.journal
    status = 0
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_journal(options.journal))
        target = stack.enter_context(open_effects(options.effects, options.journal, options.center))
        answers = replay(engine, center, source, name, in_seconds(options.until, center))
        for answer in with_progress(answers, source, options):
            summary.add(answer)
            for effect in (*answer.fired, *answer.effects):
                target.write(event_line(effect).encode() + b"\n")
            if options.journal == "-":
                target.flush()
            if answer.error is not None:
                complain(answer, name, options.json, options.lang)
                if options.strict:
                    return 2
                status = 1
    if options.effects:
        show(center, summary, options)
    return status


@contextlib.contextmanager
def open_journal(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        if sys.stdin is None:
            raise InputError("the journal can't be read: standard input is closed", hint="Name a file instead of -")
        yield sys.stdin.buffer
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise InputError(f"the journal can't be read: {error.strerror}", Where(path), "Check the path") from error
    with stream:
        yield stream


@contextlib.contextmanager
def open_effects(path: str | None, journal: str, center: str) -> Iterator[BinaryIO]:
    """Where the effects go; never over what they are made of."""
    if path is None:
        if sys.stdout is None:
            raise InputError("the effects can't be written: standard output is closed", hint="Give --effects")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    for what, source in (("journal", journal), ("center file", center)):
        if source != "-" and os.path.exists(path) and os.path.samefile(path, source):
            raise InputError(f"the effects would overwrite the {what}", Where(path), "Give another --effects")
    try:
        stream = open(path, "wb")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise InputError(f"the effects can't be written: {error.strerror}", Where(path), "Check the path") from error
    with stream:
        yield stream


def with_progress(answers: Iterator[Answer], source: BinaryIO, options: argparse.Namespace) -> Iterator[Answer]:
    """The answers; with a bar on standard error while a file is read at a terminal."""
    if options.journal == "-" or not sys.stderr.isatty() or not source.seekable():
        yield from answers
        return
    from rich.console import Console
    from rich.progress import Progress

    label = words.pick(options.lang, "replay", "回放")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=os.fstat(source.fileno()).st_size)
        for count, answer in enumerate(answers):
            if count % PROGRESS_EVERY == 0:
                progress.update(task, completed=source.tell())
            yield answer


def complain(answer: Answer, file: str, as_json: bool, lang: words.Lang) -> None:
    """One line on standard error: where, what is wrong, what to do."""
    error = answer.error
    assert error is not None
    if as_json:
        record: dict[str, Any] = {"file": file, "line": answer.line, "error": error.text(lang)}
        if isinstance(error, InputError):
            record |= {"key": error.where.key}
        elif isinstance(error, LimitError):
            record |= {"limit": error.limit}
        if isinstance(error, InputError | LimitError):
            record |= {"error": sentence(error.what, lang), "hint": sentence(error.hint, lang)}
        print(json.dumps(record, ensure_ascii=False), file=sys.stderr)
    else:
        place = "" if isinstance(error, InputError) else f"{file}:{answer.line}: "
        print(f"{place}{error.text(lang)}", file=sys.stderr)
    sys.stderr.flush()


def show(center: Center, summary: Summary, options: argparse.Namespace) -> None:
    """The summary of a replay whose effects went to a file."""
    tallies = summary.tallies.by_queue
    if options.json:
        record = {
            "lines": summary.lines,
            "skipped": summary.skipped,
            "ended_at": summary.ended_at,
            "effects": dict(sorted(summary.effects.items())),
            "queues": {name: queue_record(tally) for name, tally in tallies.items()},
        }
        print(json.dumps(record, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    lang = options.lang
    console = Console(highlight=False)
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(summary.effects.items()))
    console.print(
        words.pick(lang, f"{summary.lines} lines taken, {summary.skipped} skipped, to t = {summary.ended_at:g} s",
                   f"处理 {summary.lines} 行，跳过 {summary.skipped} 行，至 t = {summary.ended_at:g} 秒")
    )  # fmt: skip
    console.print(words.pick(lang, f"Effects: {counts or 'none'}", f"结果：{counts or '无'}"))
    table = Table()
    heads = ("queue", "队列"), ("offered", "进入"), ("answered", "接通"), ("abandoned", "放弃"), ("timed out", "超时")
    for column, (en, zh) in enumerate(heads):
        table.add_column(words.pick(lang, en, zh), justify="left" if column == 0 else "right")
    for id in SHOWN:
        kpi = KPIS[id]
        table.add_column(f"{words.pick(lang, kpi.en, kpi.zh)}\n{id}", justify="right")
    for name, tally in tallies.items():
        found = figures(tally, SHOWN)
        counted = (tally.offered, tally.answered, tally.abandoned, tally.timeout)
        table.add_row(escape(name), *map(str, counted), *(shown(id, found[id], tally, lang) for id in SHOWN))
    console.print(table)


def shown(id: str, value: float | None, tally: Tally, lang: words.Lang) -> str:
    """A figure as text; a service level with its threshold."""
    if value is None:
        return "–"
    if id == "ASA":
        return f"{value:.1f}"
    within = words.pick(lang, f" in {tally.threshold_s:g} s", f"（{tally.threshold_s:g} 秒内）")
    return f"{value:.1%}" + (within if id.startswith("SL_") else "")


def queue_record(tally: Tally) -> dict[str, Any]:
    counted = ("offered", "answered", "abandoned", "timeout", "flowout", "rejected")
    return {
        **{key: getattr(tally, key) for key in counted},
        "threshold_s": tally.threshold_s,
        "figures": figures(tally, SHOWN),
    }
