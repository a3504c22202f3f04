"""``cordboard simulate``: a center in a world of statistical callers and agents."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from cordboard import plots, words
from cordboard.center import Center, load_center
from cordboard.errors import DataError, Where

if TYPE_CHECKING:
    from cordboard.simulation.run import Progress
    from cordboard.simulation.scenario import Scenario

HELP = ("simulate a center", "仿真一个中心")
DAY_S = 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    parser.add_argument("center", metavar="CENTER.toml", help=words.pick(lang, "the center file", "中心配置文件"))
    add_world_arguments(parser, lang)


def add_world_arguments(parser: argparse.ArgumentParser, lang: words.Lang) -> None:
    """The arguments that simulate and compare share."""
    world = parser.add_mutually_exclusive_group(required=True)
    world.add_argument("--scenario", metavar="SCENARIO.toml", help=words.pick(lang, "who comes when", "场景文件"))
    world.add_argument(
        "--journal",
        metavar="JOURNAL.jsonl",
        help=words.pick(
            lang,
            "arrivals as in this journal, service and patience estimated from it",
            "按日志到达，并估计服务时长与耐心",
        ),
    )
    parser.add_argument(
        "--days",
        type=positive,
        help=words.pick(lang, "days to simulate; of a journal, its first days", "仿真天数；对日志取最初几天"),
    )
    runs = words.pick(lang, "independent runs (20)", "独立重复次数（20）")
    parser.add_argument("--replications", type=int, default=20, help=runs)
    seed = words.pick(lang, "of everything random (0)", "随机种子（0）")
    parser.add_argument("--seed", type=int, default=0, help=seed)
    parser.add_argument("--plot", metavar="FILE", help=plots.help_text(lang))


def positive(text: str) -> float:
    """A number of days on the command line."""
    value = float(text)
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number of days from 0 to 10000")
    return value


def world(options: argparse.Namespace) -> Scenario:
    """The scenario that the arguments ask for."""
    from cordboard.simulation.from_journal import scenario_of_journal
    from cordboard.simulation.scenario_file import load_scenario

    if options.seed < 0:
        raise DataError(f"the seed is {options.seed}", Where(key="--seed"), "Give 0 or more.")
    if options.journal:
        found = scenario_of_journal(options.journal, days=options.days)
        dropped = {name: n for name, n in found.left_out.items() if n}
        if dropped:
            counts = ", ".join(f"{name} ({n})" for name, n in dropped.items())
            text = words.pick(options.lang, f"not simulated from the journal: {counts}", f"未从日志仿真：{counts}")
            print(text, file=sys.stderr)
        return found.scenario
    scenario = load_scenario(options.scenario)
    return scenario if options.days is None else replace(scenario, duration=options.days * DAY_S)


def fitted(scenario: Scenario, center: Center, options: argparse.Namespace) -> Scenario:
    """A journal's hours fit the agents that a center has; a scenario file must fit as it is."""
    from cordboard.simulation.from_journal import agents_known

    return agents_known(scenario, (agent.name for agent in center.agents)) if options.journal else scenario


def run(options: argparse.Namespace) -> int:
    plots.check(options.plot)
    center = load_center(options.center)
    scenario = fitted(world(options), center, options)
    from cordboard.simulation.run import simulate

    with progress_bar(options.replications, options.lang) as progress:
        result = simulate(center, scenario, replications=options.replications, seed=options.seed, progress=progress)
    if options.plot:
        from cordboard.simulation.report import plot

        plot([(options.center, result)], options.plot, options.lang)
    if options.json:
        print(json.dumps(result.as_dict(), ensure_ascii=False))
        return 0
    from rich.console import Console

    from cordboard.simulation.report import tables

    Console().print(tables(result, options.lang))
    return 0


@contextlib.contextmanager
def progress_bar(total: int, lang: words.Lang) -> Iterator[Progress | None]:
    """A bar on standard error, at a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words.pick(lang, "replications", "重复"), total=total)
        yield lambda done: bar.update(task, completed=done)
