"""``cordboard pace``: the pacing study for one's own campaign."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from cordboard import plots, words
from cordboard.errors import DataError, Where

if TYPE_CHECKING:
    from cordboard.pacing.study import Outcome
    from cordboard.pacing.world import World

HELP = ("study the pacing of a campaign", "研究外呼节奏")
NUMBERS = (  # name, default, English, Chinese
    ("--answer", 0.3, "share of dials that a person answers", "真人接听率"),
    ("--target", 0.03, "largest share of answered calls that may be dropped", "允许的掉话率"),
    ("--hours", 8.0, "length of the day", "每天小时数"),
    ("--talk-mean", 120.0, "mean conversation, seconds", "平均通话秒数"),
    ("--talk-cv", 0.9, "its coefficient of variation", "通话时长变异系数"),
    ("--wrap-mean", 30.0, "mean wrap-up, seconds", "平均事后处理秒数"),
    ("--ring-mean", 8.0, "mean ringing before an answer, seconds", "接听前平均振铃秒数"),
    ("--patience", 2.0, "seconds that an answered caller waits for an agent", "接通后等待座席的秒数"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    parser.add_argument("--agents", type=int, default=20, help=words.pick(lang, "agents (20)", "座席数（20）"))
    for name, default, en, zh in NUMBERS:
        text = words.pick(lang, f"{en} ({default:g})", f"{zh}（{default:g}）").replace("%", "%%")
        parser.add_argument(name, type=float, default=default, help=text)
    days = words.pick(lang, "simulated days, each with its seed (12)", "仿真天数，每天一个种子（12）")
    parser.add_argument("--seeds", type=int, default=12, help=days)
    parser.add_argument("--lines", type=int, help=words.pick(lang, "lines at most", "最大线路数"))
    cps = words.pick(lang, "new calls a second at most", "每秒最多新呼叫数")
    parser.add_argument("--calls-per-second", type=float, help=cps)
    compare = words.pick(lang, "also a constant ratio, tuned to the target", "同时比较按目标调好的固定倍率")
    parser.add_argument("--compare", action="store_true", help=compare)
    parser.add_argument("--plot", metavar="FILE", help=plots.help_text(lang))


def world(options: argparse.Namespace) -> World:
    """The world that the arguments describe; raises DataError for what can't be."""
    from cordboard.pacing.world import World

    for name, *_ in NUMBERS:
        value = getattr(options, name[2:].replace("-", "_"))
        if not (math.isfinite(value) and value > 0):
            raise DataError(f"{name} is {value:g}", Where(key=name), "Give a number above 0.")
    for name in ("answer", "target"):
        if getattr(options, name) >= 1:
            raise DataError(f"--{name} is {getattr(options, name):g}", Where(key=f"--{name}"), "Write 30 % as 0.3.")
    if not 1 <= options.seeds <= 10_000:
        raise DataError(f"--seeds is {options.seeds}", Where(key="--seeds"), "Give 1 to 10000.")
    return World(
        agents=options.agents,
        p=options.answer,
        hours=options.hours,
        ring_mean=options.ring_mean,
        talk_mean=options.talk_mean,
        talk_cv=options.talk_cv,
        wrap_mean=options.wrap_mean,
        patience=options.patience,
        fast_fail=min(0.15, 1.0 - options.answer),
    )


def run(options: argparse.Namespace) -> int:
    from cordboard.pacing.modes import Limits
    from cordboard.pacing.study import progressive_is_as_good, runs, study

    plots.check(options.plot)
    limits = Limits(lines=options.lines, calls_per_second=options.calls_per_second)
    the_world = world(options)
    with progress_bar(runs(options.seeds, options.compare), options.lang) as told:
        found = study(the_world, options.target, options.seeds, options.compare, limits, told)
    as_good = progressive_is_as_good(found)
    if options.plot:
        plot(found, options.target, options.plot, options.lang)
    if options.json:
        result = {
            "outcomes": [asdict(one) for one in found],
            "progressive_is_as_good": as_good,
            "target": options.target,
        }
        print(json.dumps(result, ensure_ascii=False))
    else:
        show(found, options)
        print(advice(found, as_good, options.lang))
    return 0


def name(one: Outcome, lang: words.Lang) -> str:
    if one.way == "power":
        return words.pick(lang, f"constant ratio {one.ratio:.2f} (tuned)", f"固定倍率 {one.ratio:.2f}（已调优）")
    return words.pick(
        lang, *{"predictive": ("predictive", "预测外呼"), "progressive": ("progressive", "渐进外呼")}[one.way]
    )


def show(found: list[Outcome], options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    lang = options.lang
    title = words.pick(
        lang,
        f"{options.agents} agents, {100 * options.answer:g} % answer, drops at most {100 * options.target:g} %, "
        f"{options.seeds} days of {options.hours:g} h",
        f"{options.agents} 座席，接听率 {100 * options.answer:g}%，掉话上限 {100 * options.target:g}%，"
        f"{options.seeds} 天，每天 {options.hours:g} 小时",
    )
    table = Table(title=title)
    heads = (
        ("pacing", "方式"),
        ("occupancy", "占用率"),
        ("drops", "掉话率"),
        ("worst day", "最差一天"),
        ("calls an agent and hour", "每座席每小时通话"),
        ("idle before a call", "通话间空闲"),
        ("dials", "拨号数"),
    )
    for i, (en, zh) in enumerate(heads):
        table.add_column(words.pick(lang, en, zh), justify="right" if i else "left")
    for one in found:
        table.add_row(
            name(one, lang),
            f"{100 * one.occupancy:.1f} %" + ("" if math.isnan(one.error) else f" ± {100 * one.error:.1f}"),
            f"{100 * one.drops:.2f} %",
            f"{100 * one.worst:.2f} %",
            f"{one.answers_an_hour:.1f}",
            f"{one.idle:.1f} s",
            f"{one.dials:,.0f}",
        )
    Console().print(table)


def advice(found: list[Outcome], as_good: bool, lang: words.Lang) -> str:
    """What to make of it, in a sentence."""
    predictive, progressive = found[0], found[1]
    gain = 100 * (predictive.occupancy - progressive.occupancy)
    if as_good:
        return words.pick(
            lang,
            f"Progressive is as good here: predicting gains {gain:.1f} points of occupancy, "
            "and progressive drops nobody.",
            f"此处渐进外呼同样好：预测外呼仅多 {gain:.1f} 个百分点占用率，而渐进外呼不会掉话。",
        )
    minutes = 0.6 * gain
    return words.pick(
        lang,
        f"Predictive gains {gain:.1f} points of occupancy, {minutes:.0f} minutes an hour for each agent, "
        f"for {100 * predictive.drops:.2f} % dropped calls.",
        f"预测外呼多 {gain:.1f} 个百分点占用率，即每座席每小时 {minutes:.0f} 分钟，"
        f"代价是 {100 * predictive.drops:.2f}% 的掉话。",
    )


def plot(found: list[Outcome], target: float, path: str, lang: words.Lang) -> None:
    """Occupancy against drops."""
    with plots.drawing(path, lang, 7, 4.5) as (figure, lang):
        axis = figure.subplots()
        for one in found:
            x, y, error = 100 * one.drops, 100 * one.occupancy, 100 * one.error
            axis.errorbar(x, y, yerr=error, fmt="o", capsize=3, label=name(one, lang))
        bar = words.pick(lang, f"target {100 * target:g} %", f"目标 {100 * target:g}%")
        axis.axvline(100 * target, color="0.6", linestyle="--", label=bar)
        axis.set_xlabel(words.pick(lang, "drops, % of answered calls", "掉话占接通，%"))
        axis.set_ylabel(words.pick(lang, "occupancy, %", "占用率，%"))
        axis.legend(loc="lower right")


@contextlib.contextmanager
def progress_bar(total: int, lang: words.Lang) -> Iterator[Callable[[int], None] | None]:
    """A bar on standard error, at a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words.pick(lang, "days", "天"), total=total)
        yield lambda done: bar.advance(task, done)
