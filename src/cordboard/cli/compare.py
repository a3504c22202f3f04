"""``cordboard compare``: two centers on the same contacts; an offline report, it deploys nothing."""

from __future__ import annotations

import argparse
import json

from cordboard import plots, words
from cordboard.center import load_center
from cordboard.cli.simulate import add_world_arguments, fitted, progress_bar, world

HELP = ("compare two centers on the same contacts", "用同一批联系比较两个中心")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    parser.add_argument("a", metavar="A.toml", help=words.pick(lang, "a center file", "中心配置文件"))
    parser.add_argument("b", metavar="B.toml", help=words.pick(lang, "another one", "另一个中心配置文件"))
    add_world_arguments(parser, lang)


def run(options: argparse.Namespace) -> int:
    from cordboard.simulation.compare import compare

    plots.check(options.plot)
    a, b = load_center(options.a), load_center(options.b)
    scenario = world(options)
    with progress_bar(2 * options.replications, options.lang) as progress:
        result = compare(
            a,
            b,
            fitted(scenario, a, options),
            scenario_b=fitted(scenario, b, options),
            replications=options.replications,
            seed=options.seed,
            progress=progress,
        )
    if options.plot:
        from cordboard.simulation.report import plot

        plot([("A", result.a), ("B", result.b)], options.plot, options.lang)
    if options.json:
        print(json.dumps(result.as_dict(), ensure_ascii=False))
        return 0
    from rich.console import Console

    from cordboard.simulation.report import comparison_tables

    Console().print(comparison_tables(result, scenario, options.lang))
    return 0
