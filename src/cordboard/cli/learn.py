"""``cordboard learn``: learn who answers from one's own records, judged in the order in which they happened."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cordboard import plots, words
from cordboard.errors import InputError
from cordboard.learning.model import HEADS, AnswerModel, results_of
from cordboard.learning.progressive import Report, read_table, validate
from cordboard.learning.registry import Registry
from cordboard.learning.schema import Schema, ready_schemas
from cordboard.learning.training import Recipe

PARTS = {"outcome": HEADS[:4], "right_party": ("right_party",), "success": ("success",)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")

    def text(flag: str, en: str, zh: str, **more: Any) -> None:
        parser.add_argument(flag, help=words.pick(lang, en, zh), **more)

    text(
        "file", "records in the order of time, CSV with a header", "按时间排序的记录，带表头的 CSV", metavar="FILE.csv"
    )
    ready = ", ".join(ready_schemas())
    text("--schema", f"a schema file, or one of: {ready}", f"特征模式文件，或：{ready}", required=True, metavar="S")
    text("--outcome", "column: person, machine, busy, no_answer or invalid", "列：接听结果", metavar="COLUMN")
    text("--right-party", "column: was it the right person (yes, no)", "列：是否本人（yes、no）", metavar="COLUMN")
    text("--target", "column: did it succeed (yes, no)", "列：是否成功（yes、no）", metavar="COLUMN")
    text("--delay", "rows after which a label comes (0)", "标签迟到的行数（0）", type=int, default=0, metavar="ROWS")
    text(
        "--judge",
        "share of the rows, the last, that is judged (.3)",
        "评估最后多大比例的行（.3）",
        type=float,
        default=0.3,
    )
    text(
        "--trees",
        "train trees on the rows before, as a challenger",
        "用之前的行训练树模型作为挑战者",
        action="store_true",
    )
    text("--registry", "folder of model files to save to", "保存模型的目录", metavar="FOLDER")
    text("--separator", "of the columns (found out)", "列分隔符（自动识别）", metavar="C")
    parser.add_argument("--plot", metavar="FILE", help=plots.help_text(lang))


def run(options: argparse.Namespace) -> int:
    plots.check(options.plot)
    columns = {"outcome": options.outcome, "right_party": options.right_party, "success": options.target}
    columns = {part: column for part, column in columns.items() if column}
    if not columns:
        raise InputError("nothing to learn is named", hint="Give --target, --outcome or --right-party with its column")
    schema = Schema.load(options.schema)
    table = read_table(options.file, options.separator)
    results = results_of(table, columns, file=options.file)
    model = AnswerModel(schema, [head for part in PARTS if part in columns for head in PARTS[part]])
    for column in columns.values():
        if column in model.encoder.dense_names:
            hint = "Name the column with the result, or use a schema without this feature"
            raise InputError(f"{column!r} is a feature of the schema: it can't be what is learned", hint=hint)
    recipe = Recipe() if options.trees else None
    with steps(options, len(model.heads) * (2 if recipe else 1) + 1) as step:
        report = validate(
            model,
            table,
            results,
            delay=options.delay,
            judged=options.judge,
            recipe=recipe,
            file=options.file,
            step=step,
        )
    saved = None
    if options.registry:
        notes = {"file": Path(options.file).name, "rows": report.rows, "judged": record(report)["heads"]}
        saved = Registry(options.registry).add(model, time.time(), "cordboard learn", notes)
    if options.plot:
        plot(report, options.plot, options.lang)
    if options.json:
        print(json.dumps({**record(report), "schema_hash": schema.hash, "version": saved}, ensure_ascii=False))
    else:
        show(report, model, saved, options)
    return 0


def record(report: Report) -> dict[str, Any]:
    """The report as plain data: metrics of each head beside the blind running mean's; null where one can't be had."""
    heads = [asdict(head) for head in report.heads]
    for head in heads:
        for side in ("model", "blind"):
            head[side] = {k: None if math.isnan(v) else round(v, 6) for k, v in head[side].items()}
    return {"rows": report.rows, "judged_from": report.start, "delay": report.delay, "heads": heads}


@contextmanager
def steps(options: argparse.Namespace, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on standard error; what is told to it is the name of the step that begins."""
    from rich.console import Console
    from rich.progress import Progress

    names = {"encode": ("reading", "读取"), "learn": ("learning", "学习"), "train": ("training trees", "训练树模型")}
    with Progress(console=Console(stderr=True), transient=True, disable=options.json) as bar:
        task = bar.add_task("", total=total)

        def step(name: str) -> None:
            bar.update(task, description=words.pick(options.lang, *names[name]))
            bar.advance(task)

        yield step


def show(report: Report, model: AnswerModel, saved: str | None, options: argparse.Namespace) -> None:
    """Tables for people. `blind` is the running mean that knows nothing of the row."""
    from rich.console import Console
    from rich.table import Table

    lang, console = options.lang, Console()
    judged = report.rows - report.start
    title = words.pick(
        lang,
        f"Predicted, then learned: the last {judged:,} of {report.rows:,} rows, labels {report.delay} rows late",
        f"先预测后学习：{report.rows:,} 行中的最后 {judged:,} 行，标签迟到 {report.delay} 行",
    )
    out = Table(title=title)
    out.add_column(words.pick(lang, "head", "预测项"), no_wrap=True)
    blind = words.pick(lang, "blind", "盲")
    rows, rate = words.pick(lang, "rows", "行数"), words.pick(lang, "rate", "比例")
    blocks = words.pick(lang, "block AUC", "块内 AUC")
    for name in (rows, rate, "log-loss", blind, "ECE", "AUC", blocks, blind):
        out.add_column(name, justify="right", no_wrap=True)
    for head in report.heads:
        m, b = head.model, head.blind
        cells = [m[k] for k in ("rate", "log_loss")] + [b["log_loss"]] if m else []
        cells += [m[k] for k in ("ece", "auc", "block_auc")] + [b["block_auc"]] if m else []
        out.add_row(head.head, f"{head.rows:,}", *(f"{value:.4f}" for value in cells))
    console.print(out)
    for name, learned in model.heads.items():
        for line in learned.log:
            console.print(f"{name}: {line}")
    alarms = sorted({f"{where}: {alarm.detail}" for where, alarm in model.alarms})
    if alarms:
        console.print(words.pick(lang, "Drift alarms: ", "漂移警报：") + "; ".join(alarms))
    if saved:
        console.print(words.pick(lang, f"Saved as {saved}, now current.", f"已保存为 {saved}，现为当前模型。"))


def plot(report: Report, path: str, lang: words.Lang) -> None:
    """Predicted against observed shares, ten groups of equal size a head."""
    import numpy as np

    with plots.drawing(path, lang, 5, 5) as (figure, lang):
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="gray", linewidth=1)
        for name, p in report.p.items():
            y = report.labels[name]
            known = np.flatnonzero(~np.isnan(y))
            known = known[known >= report.start]
            groups = np.array_split(known[np.argsort(p[known], kind="stable")], 10)
            groups = [group for group in groups if len(group)]
            axes.plot([p[g].mean() for g in groups], [y[g].mean() for g in groups], marker="o", label=name)
        axes.set_xlabel(words.pick(lang, "predicted", "预测"))
        axes.set_ylabel(words.pick(lang, "observed", "实际"))
        axes.legend()
