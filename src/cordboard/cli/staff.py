"""``cordboard staff``: how many agents a load needs, by Erlang C and by Erlang A."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from typing import Any

from cordboard import plots, words
from cordboard.errors import InputError
from cordboard.kpi import KPIS
from cordboard.queueing import SERVICE_LEVEL_ID, Measures
from cordboard.staffing import Answer, Goal, Interval, Staffing, level, read_intervals, staff


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")

    def number(flag: str, en: str, zh: str, default: float | None = None) -> None:
        parser.add_argument(flag, type=float, default=default, metavar="N", help=words.pick(lang, en, zh))

    number("--calls", "calls expected in the period", "时段内预计呼入量")
    number("--period", "length of the period in seconds (1800)", "时段长度，秒（1800）", 1800.0)
    number("--aht", "mean handle time in seconds (240)", "平均处理时长，秒（240）", 240.0)
    number("--target", "share of all callers to be served in time (.8)", "目标服务水平（.8）", 0.8)
    number("--within", "seconds that count as in time (20)", "服务水平时限，秒（20）", 20.0)
    number("--patience", "mean seconds until a caller hangs up", "来电者平均耐心，秒")
    number("--max-abandon", "share of callers who may hang up", "允许的放弃率")
    number("--shrinkage", "share of paid time away from the phones (0)", "缩水率（0）", 0.0)
    parser.add_argument(
        "--intervals",
        metavar="FILE.csv",
        help=words.pick(lang, "a CSV file: interval, calls, aht, period", "CSV 文件：interval, calls, aht, period"),
    )
    parser.add_argument("--plot", metavar="FILE", help=plots.help_text(lang))


def run(options: argparse.Namespace) -> int:
    plots.check(options.plot)
    goal = Goal(options.target, options.within, options.patience, options.max_abandon, options.shrinkage)
    if (options.intervals is None) == (options.calls is None):
        raise InputError("Neither or both of --calls and --intervals are given", hint="Give one of them")
    if options.intervals is None:
        results = [staff(Interval(options.calls, options.period, options.aht), goal)]
    else:
        intervals = read_intervals(options.intervals, period=options.period, aht=options.aht)
        results = [staff(interval, goal) for interval in intervals]
    if options.plot:
        plot(results, goal, options.plot, options.lang)
    if options.json:
        print(json.dumps([record(result) for result in results], ensure_ascii=False))
    elif options.intervals is None:
        show_one(results[0], goal, options.lang)
    else:
        show_many(results, goal, options.lang)
    return 0


def record(result: Staffing) -> dict[str, Any]:
    """One interval for --json: shares between 0 and 1, times in seconds; null where there is nothing to measure."""
    interval = result.interval
    return {
        **asdict(interval),
        "load": interval.load,
        "service_level_id": SERVICE_LEVEL_ID,
        "erlang_c": asdict(result.erlang_c),
        "erlang_a": None if result.erlang_a is None else asdict(result.erlang_a),
    }


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def cells(agents: int, rostered: int | None, m: Measures | None) -> list[str]:
    head = [str(agents), "" if rostered is None else str(rostered)]
    if m is None:
        return [*head, *["–"] * 5]
    return [
        *head,
        percent(m.service_level),
        f"{m.mean_wait_served:.1f} s",
        percent(m.abandonment),
        percent(m.wait_probability),
        percent(m.occupancy),
    ]


def headings(lang: words.Lang) -> list[str]:
    return [
        words.pick(lang, "agents", "座席"),
        words.pick(lang, "rostered", "排班人数"),
        words.pick(lang, "service level", "服务水平"),
        words.pick(lang, "speed of answer", "平均应答速度"),
        words.pick(lang, "abandoned", "放弃率"),
        words.pick(lang, "must wait", "需等待"),
        words.pick(lang, "occupancy", "占有率"),
    ]


def definition(goal: Goal, lang: words.Lang) -> str:
    """What the service level shown means."""
    return words.pick(
        lang,
        f"Service level {SERVICE_LEVEL_ID}: {KPIS[SERVICE_LEVEL_ID].formula}, T = {goal.within:g} s; "
        f"target {percent(goal.target)}.",
        f"服务水平 {SERVICE_LEVEL_ID}：T 秒内应答量 / 呼入量，T = {goal.within:g} 秒；目标 {percent(goal.target)}。",
    )


def show_one(result: Staffing, goal: Goal, lang: words.Lang) -> None:
    from rich.console import Console
    from rich.table import Table

    interval = result.interval
    title = words.pick(
        lang,
        f"{interval.calls:g} calls in {interval.period:g} s, {interval.aht:g} s each: {interval.load:.2f} Erlang",
        f"{interval.period:g} 秒内 {interval.calls:g} 个来电，每个 {interval.aht:g} 秒：{interval.load:.2f} 爱尔兰",
    )
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in headings(lang):
        table.add_column(heading, justify="right")
    models: list[tuple[str, Answer]] = [("Erlang C", result.erlang_c)]
    if result.erlang_a is not None:
        models.append(("Erlang A", result.erlang_a))
    for name, answer in models:
        table.add_row(name, *cells(answer.agents, answer.rostered, answer.now))
        if answer.agents > 0:
            less = words.pick(lang, "  one agent less", "  少一名座席")
            table.add_row(less, *cells(answer.agents - 1, None, answer.one_less))
    console = Console(highlight=False)
    console.print(table)
    console.print(definition(goal, lang))
    if result.erlang_a is None:
        console.print(
            words.pick(
                lang,
                "Erlang C lets nobody hang up; --patience SECONDS sizes by Erlang A as well.",
                "Erlang C 假定无人放弃；用 --patience 秒数 可同时按 Erlang A 计算。",
            )
        )


def show_many(results: list[Staffing], goal: Goal, lang: words.Lang) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column(words.pick(lang, "interval", "时段"))
    table.add_column(words.pick(lang, "calls", "呼入量"), justify="right")
    table.add_column("Erlang", justify="right")
    table.add_column("Erlang C", justify="right")
    if goal.patience is not None:
        table.add_column("Erlang A", justify="right")
    for heading in headings(lang)[1:]:
        table.add_column(heading, justify="right")
    for result in results:
        interval, best = result.interval, result.best
        counts = [str(result.erlang_c.agents)] + ([str(result.erlang_a.agents)] if result.erlang_a else [])
        rest = cells(best.agents, best.rostered, best.now)[1:]
        table.add_row(interval.name, f"{interval.calls:g}", f"{interval.load:.2f}", *counts, *rest)
    console = Console(highlight=False)
    console.print(table)
    hours = math.fsum(r.best.rostered * r.interval.period for r in results) / 3600
    console.print(words.pick(lang, f"{hours:.1f} rostered agent hours.", f"共 {hours:.1f} 排班工时。"))
    console.print(definition(goal, lang))


def plot(results: list[Staffing], goal: Goal, path: str, lang: words.Lang) -> None:
    """Agents over the intervals; for one interval, the service level over the number of agents."""
    with plots.drawing(path, lang, 9, 4.5) as (figure, lang):
        axes = figure.subplots()
        if len(results) == 1:
            plot_one(axes, results[0], goal, lang)
        else:
            plot_many(axes, results, goal, lang)
        axes.legend()


def plot_one(axes: Any, result: Staffing, goal: Goal, lang: words.Lang) -> None:
    models = [("Erlang C", None)] + ([("Erlang A", goal.patience)] if goal.patience is not None else [])
    interval, center = result.interval, result.best.agents
    counts = list(range(max(1, center - max(3, center // 5)), center + max(4, center // 5)))
    for name, patience in models:
        found = [level(interval, goal, n, patience) for n in counts]
        axes.plot(counts, [math.nan if m is None else m.service_level for m in found], marker="o", label=name)
    target = words.pick(lang, "target ", "目标 ") + percent(goal.target)
    axes.axhline(goal.target, color="gray", linestyle="--", label=target)
    within = f"{goal.within:g}"
    text = words.pick(lang, f"service level within {within} s", f"{within} 秒内服务水平")
    axes.set(xlabel=words.pick(lang, "agents", "座席"), ylabel=f"{text} ({SERVICE_LEVEL_ID})")


def plot_many(axes: Any, results: list[Staffing], goal: Goal, lang: words.Lang) -> None:
    names = [result.interval.name for result in results]
    places = list(range(len(results)))
    load, agents = words.pick(lang, "load, Erlang", "负载，Erlang"), words.pick(lang, "agents", "座席")
    axes.bar(places, [r.interval.load for r in results], color="lightgray", label=load)
    axes.step(places, [r.erlang_c.agents for r in results], where="mid", label=f"{agents}, Erlang C")
    if goal.patience is not None:
        axes.step(places, [r.best.agents for r in results], where="mid", label=f"{agents}, Erlang A")
    every = max(1, len(names) // 16)
    axes.set_xticks(places[::every], names[::every], rotation=45, ha="right")
    axes.set(ylabel=agents)
