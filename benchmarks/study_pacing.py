"""The pacing study: our pacer and everybody's dialers in one world, the same seeds.

    python -m benchmarks.study_pacing [--quick] [--rows 1,2] [--seeds 12] [--hours 8] [--plot FILE] [--write]

Prints the issue's table and the responses to shocks. ``--write`` puts the tables and the plot into docs/background.
Every figure is pooled over the seeds: occupancy (talk and wrap-up over staffed time) after 30 minutes, drops over calls
that a person answered, over the whole time. "Tuned" dialers get their one number by a search on other seeds.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.dialers.issabel import Issabel
from benchmarks.dialers.marginal import MarginalRisk
from benchmarks.dialers.ours import ours
from benchmarks.dialers.simple import Ratio, Wombat
from benchmarks.dialers.vicidial import Vicidial
from cordboard.pacing.world import Day, World, run

DOCS = Path(__file__).resolve().parents[1] / "docs" / "background"
PAGE, PICTURE = DOCS / "pacing-study.md", DOCS / "pacing-study.svg"
TUNING_SEEDS = range(9000, 9004)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: the setting, the bar, the aim and the optimum of a world without memory (all
    occupancies).
    """

    agents: int
    p: float
    target: float
    least: float
    aim: float
    optimum: float

    def label(self) -> str:
        return f"{self.agents}, {self.p:g}, {100 * self.target:g} %"


ROWS = (
    Row(5, 0.3, 0.03, 0.825, 0.84, 0.858),
    Row(20, 0.3, 0.03, 0.898, 0.905, 0.912),
    Row(20, 0.3, 0.01, 0.865, 0.88, 0.890),
    Row(20, 0.1, 0.03, 0.88, 0.89, 0.898),
    Row(50, 0.3, 0.03, 0.94, 0.945, 0.950),
    Row(100, 0.3, 0.03, 0.962, 0.966, 0.969),
    Row(500, 0.3, 0.03, 0.98, 0.985, 0.992),
)


@dataclass(frozen=True, slots=True)
class Result:
    """``worst``: the highest drop rate of any run at its end; ``overrun``: of any run at any minute once 100 calls were
    answered; ``over``: runs whose rate ended above the target; ``idle``: idle seconds for each call that an agent
    had.
    """

    occupancy: float
    error: float
    drops: float
    worst: float
    overrun: float
    over: int
    idle: float


def summary(days: Sequence[Day], target: float) -> Result:
    occupancies = [day.occupancy() for day in days]
    answers = sum(day.total("answers") for day in days)
    rates = [day.drop_rate() for day in days]
    overrun = 0.0
    for day in days:
        base, dropped = np.cumsum(day.column("answers")), np.cumsum(day.column("drops"))
        if base[-1] >= 100:
            overrun = max(overrun, float((dropped / np.maximum(base, 1))[base >= 100].max()))
    spread = float(np.std(occupancies, ddof=1)) / math.sqrt(len(days)) if len(days) > 1 else math.nan
    idle = sum(day.total("staffed") - day.total("busy") for day in days)
    return Result(
        float(np.mean(occupancies)),
        1.96 * spread,
        sum(day.total("drops") for day in days) / max(1.0, answers),
        max(rates),
        overrun,
        sum(rate > target + 1e-12 for rate in rates),
        idle / max(1.0, sum(day.total("answers") - day.total("drops") for day in days)),
    )


Maker = Callable[[], object]


def tuned(world: World, target: float, make: Callable[[float], object], low: float, high: float, steps: int) -> float:
    """The largest number whose drops, pooled over the tuning seeds, keep the target: a bisection."""
    for _ in range(steps):
        middle = 0.5 * (low + high)
        days = [run(world, make(middle), seed) for seed in TUNING_SEEDS]
        rate = sum(day.total("drops") for day in days) / max(1.0, sum(day.total("answers") for day in days))
        low, high = (middle, high) if rate <= target else (low, middle)
    return low


def makers(row: Row, world: World, quick: bool) -> dict[str, Maker]:
    """Every dialer of a row. The exact rule with true parameters is slow in Python: not at 500 agents, nor in a quick
    run.
    """
    n = row.agents
    steps = 5 if quick else 8
    ratio = tuned(world, row.target, lambda r: Ratio(n, r), 1.0, 4.0 / row.p if n < 200 else 2.5 / row.p, steps)
    found: dict[str, Maker] = {
        "cordboard": lambda: ours(world, row.target),
        "progressive 1:1": lambda: Ratio(n),
        "VICIdial HARD_LIMIT": lambda: Vicidial(n, "HARD_LIMIT"),
        "VICIdial AVERAGE": lambda: Vicidial(n, "AVERAGE"),
        "VICIdial TAPERED": lambda: Vicidial(n, "TAPERED"),
        "Issabel": lambda: Issabel(n, overcommit=False),
        "Issabel, overcommit": lambda: Issabel(n, overcommit=True),
        "WombatDialer, boost 1.3": lambda: Wombat(n, 1.3),
        f"constant ratio {ratio:.2f} (tuned)": lambda: Ratio(n, ratio),
    }
    if n <= 100 and not quick:
        alpha = tuned(world, row.target, lambda a: MarginalRisk(world, a), 0.0, 0.3, 6 if n <= 20 else 5)
        found[f"marginal risk {alpha:.3f} (tuned, true parameters)"] = lambda: MarginalRisk(world, alpha)
    return found


def study(rows: Sequence[Row], hours: float, seeds: int, quick: bool, console: Console) -> dict[Row, dict[str, Result]]:
    table: dict[Row, dict[str, Result]] = {}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("rows", total=len(rows))
        for row in rows:
            world = World(agents=row.agents, p=row.p, hours=hours, gap=0.2 if row.agents >= 100 else 0.0)
            table[row] = {}
            for name, make in makers(row, world, quick).items():
                progress.update(task, description=f"{row.label()}: {name}")
                table[row][name] = summary([run(world, make(), seed) for seed in range(seeds)], row.target)
            progress.advance(task)
    return table


# ---- shocks: what happens when the world changes at two hours

SHOCK_AT = 7200.0


@dataclass(frozen=True, slots=True)
class Shock:
    name: str
    world: World
    ratio: float


SHOCKS = (
    Shock("20 agents, answers .15 to .45", World(20, 0.15, 4.0, changes=((SHOCK_AT, "p", 0.45, 0),)), 2.66),
    Shock("20 agents, answers .40 to .20", World(20, 0.40, 4.0, changes=((SHOCK_AT, "p", 0.20, 0),)), 2.66),
    Shock("20 agents, 12 leave after their call", World(20, 0.3, 4.0, changes=((SHOCK_AT, "leave", 12, False),)), 2.66),
    Shock("50 agents, 30 leave after their call", World(50, 0.3, 4.0, changes=((SHOCK_AT, "leave", 30, False),)), 3.97),
)
SPANS = (("before", -3600, 0), ("0-5 min", 0, 300), ("5-15 min", 300, 900), ("60-120 min", 3600, 7200))


def response(days: Sequence[Day]) -> tuple[list[tuple[float, float]], int | None]:
    """(drop rate, occupancy) in each span, and the minutes until every 5-minute window of the next ten is at or under 3
    %.
    """
    spans = []
    for _, start, end in SPANS:
        at = (SHOCK_AT + start, SHOCK_AT + end)
        answers = sum(day.total("answers", *at) for day in days)
        busy, staffed = (sum(day.total(name, *at) for day in days) for name in ("busy", "staffed"))
        spans.append((sum(day.total("drops", *at) for day in days) / max(1.0, answers), busy / staffed))
    answers_a_minute, drops_a_minute = (sum(day.column(name) for day in days) for name in ("answers", "drops"))
    shock = int(SHOCK_AT // 60)
    window = np.ones(5)
    rolling = np.convolve(drops_a_minute, window)[: len(drops_a_minute)] / np.maximum(
        np.convolve(answers_a_minute, window)[: len(answers_a_minute)], 1.0
    )
    for minute in range(shock, len(rolling) - 10):
        if (rolling[minute : minute + 10] <= 0.03).all():
            return spans, minute - shock
    return spans, None


def shock_study(seeds: int) -> dict[Shock, dict[str, tuple[list[tuple[float, float]], int | None]]]:
    found: dict[Shock, dict[str, tuple[list[tuple[float, float]], int | None]]] = {}
    for shock in SHOCKS:
        n, ratio = shock.world.agents, shock.ratio
        dialers: dict[str, Maker] = {
            "cordboard": lambda shock=shock: ours(shock.world, 0.03),
            "VICIdial HARD_LIMIT": lambda n=n: Vicidial(n, "HARD_LIMIT"),
            f"constant ratio {ratio}": lambda n=n, ratio=ratio: Ratio(n, ratio),
            "Issabel, overcommit": lambda n=n: Issabel(n, overcommit=True),
        }
        found[shock] = {
            name: response([run(shock.world, make(), seed) for seed in range(seeds)]) for name, make in dialers.items()
        }
    return found


# ---- printing


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{os.cpu_count()}-core {model}, {datetime.date.today().isoformat()}"


def markdown(table: dict[Row, dict[str, Result]], settings: str) -> str:
    lines = [f"{settings}", ""]
    lines.append(
        "| agents, answer probability, target | dialer | occupancy | drops | worst run | runs over | idle s a call |"
    )
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for row, results in table.items():
        for name, r in results.items():
            bold = "**" if name == "cordboard" else ""
            lines.append(
                f"| {row.label() if bold else ''} | {bold}{name}{bold} | {bold}{r.occupancy:.3f} ± {r.error:.3f}{bold} | "
                f"{100 * r.drops:.2f} % | {100 * r.worst:.2f} % | {r.over} | {r.idle:.1f} |"
            )
        lines.append(f"| | *optimum without memory* | *{row.optimum:.3f}* | | | | |")
    return "\n".join(lines) + "\n"


def shock_markdown(found: dict[Shock, dict[str, tuple[list[tuple[float, float]], int | None]]]) -> str:
    heads = " | ".join(name for name, _, _ in SPANS)
    lines = [f"| change at 2 h | dialer | {heads} | back under 3 % |", "| --- | --- |" + " --- |" * (len(SPANS) + 1)]
    for shock, results in found.items():
        for i, (name, (spans, minutes)) in enumerate(results.items()):
            cells = " | ".join(f"{100 * rate:.1f} % / {occupancy:.2f}" for rate, occupancy in spans)
            back = "never" if minutes is None else f"{minutes} min"
            lines.append(f"| {shock.name if i == 0 else ''} | {name} | {cells} | {back} |")
    return "\n".join(lines) + "\n"


def show(table: dict[Row, dict[str, Result]], console: Console) -> None:
    out = Table(title="occupancy and drops")
    for head in (
        "agents, p, target",
        "dialer",
        "occupancy",
        "drops %",
        "worst run %",
        "runs over",
        "bar",
        "aim",
        "optimum",
    ):
        out.add_column(head)
    for row, results in table.items():
        for name, r in results.items():
            mine = name == "cordboard"
            bar = (f"{row.least:.3f}", f"{row.aim:.3f}", f"{row.optimum:.3f}") if mine else ("", "", "")
            figures = (
                f"{r.occupancy:.4f} ± {r.error:.3f}",
                f"{100 * r.drops:.3f}",
                f"{100 * r.worst:.3f}",
                str(r.over),
            )
            out.add_row(row.label() if mine else "", name, *figures, *bar, style="bold" if mine else "")
        out.add_section()
    console.print(out)


def plot(table: dict[Row, dict[str, Result]], path: Path) -> None:
    """Occupancy against drops, one panel a row of the table."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = list(table)
    columns = min(4, len(rows))
    figure, axes = pyplot.subplots(
        math.ceil(len(rows) / columns),
        columns,
        figsize=(4.2 * columns, 3.6 * math.ceil(len(rows) / columns)),
        squeeze=False,
    )
    names: list[str] = []
    for axis, row in zip(axes.flat, rows, strict=False):
        for name, r in table[row].items():
            short = name.split(" (")[0].rstrip("0123456789. ") if "tuned" in name else name
            if short not in names:
                names.append(short)
            color = "black" if short == "cordboard" else f"C{names.index(short) % 10}"
            marker = "*" if short == "cordboard" else "o^sDvPXd<>"[names.index(short) % 10]
            axis.scatter(
                100 * r.drops, r.occupancy, color=color, marker=marker, s=160 if marker == "*" else 40, label=short
            )
        axis.axvline(100 * row.target, color="0.6", linestyle="--", linewidth=1)
        axis.axhline(row.optimum, color="0.6", linestyle=":", linewidth=1)
        axis.set_xscale("symlog", linthresh=1.0)
        axis.set_xlim(left=-0.05)
        axis.set_title(f"{row.agents} agents, answers {row.p:g}, target {100 * row.target:g} %", fontsize=10)
        axis.set_xlabel("drops, % of calls a person answered")
        axis.set_ylabel("occupancy")
    for axis in list(axes.flat)[len(rows) :]:
        axis.axis("off")
    handles = {label: h for axis in axes.flat for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="lower right", fontsize=8, ncols=1)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def write_page(parts: dict[str, str]) -> None:
    """Replace the marked parts of the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name, content in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        head, rest = text.split(start, 1)
        text = head + start + "\n" + content + end + rest.split(end, 1)[1]
    PAGE.write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_pacing", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 hours, 3 seeds, the rows up to 20 agents, no shocks")
    parser.add_argument("--rows", help="rows of the table, 1 to 7, with commas between")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--hours", type=float, default=None)
    parser.add_argument("--plot", type=Path, help="write the picture (SVG or PNG)")
    parser.add_argument("--no-shocks", action="store_true")
    parser.add_argument(
        "--write", action="store_true", help="put tables and picture into docs/background/pacing-study.md"
    )
    options = parser.parse_args(argv)
    rows = (
        [ROWS[int(i) - 1] for i in options.rows.split(",")]
        if options.rows
        else list(ROWS[:4] if options.quick else ROWS)
    )
    seeds = options.seeds or (3 if options.quick else 12)
    hours = options.hours or (2.0 if options.quick else 8.0)
    console = Console()
    began = time.perf_counter()
    table = study(rows, hours, seeds, options.quick, Console(stderr=True))
    settings = f"{hours:g} hours, {seeds} seeds, {machine()}."
    show(table, console)
    console.print(f"{settings} {time.perf_counter() - began:.0f} s.")
    parts = {"table": markdown(table, settings)}
    if not (options.quick or options.no_shocks):
        shocks = shock_markdown(shock_study(seeds))
        console.print(shocks, markup=False)
        parts["shocks"] = f"Drop rate / occupancy, {seeds} seeds pooled, {machine()}.\n\n{shocks}"
    if options.plot:
        plot(table, options.plot)
    if options.write:
        plot(table, PICTURE)
        write_page(parts)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
