"""Results as tables for a terminal and as plots; every figure with its id and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cordboard import plots, words
from cordboard.kpi import formula_text
from cordboard.simulation.campaign_result import CAMPAIGN_IDS, CAMPAIGN_PERCENT, CampaignResult
from cordboard.simulation.compare import OUTCOMES, Comparison, Difference
from cordboard.simulation.intervals import Estimate
from cordboard.simulation.result import (
    FORMULAS,
    GROUP_IDS,
    QUEUE_IDS,
    QueueResult,
    SimulationResult,
    bin_edges,
)
from cordboard.simulation.scenario import Scenario

PERCENT = {
    "SL_OFFERED", "ABANDON_RATE", "ANSWER_RATE", "DELAYED", "BLOCKED", "MISSED_OFFERS", "OCC_AVAILABLE", "OCC_LOGIN",
    "OCC_TALK", *CAMPAIGN_PERCENT,
}  # fmt: skip
ROWS_MAX = 40  # queues or groups in a table; the rest is in --json


def shown(id: str, estimate: Estimate, *, signed: bool = False, digits: int | None = None) -> str:
    """An estimate for people: percent where the figure is a share."""
    if math.isnan(estimate.mean):
        return "-"
    scale, unit, usual = (100.0, " %", 1) if id in PERCENT else (1.0, "", 2)
    digits = usual if digits is None else digits
    sign = "+" if signed else ""
    text = f"{estimate.mean * scale:{sign}.{digits}f}"
    return text + ("" if math.isnan(estimate.half_width) else f" ±{estimate.half_width * scale:.{digits}f}") + unit


def label(id: str, lang: words.Lang) -> str:
    """The name of a figure in a language."""
    return words.pick(lang, *FORMULAS[id][:2])


def tables(result: SimulationResult, lang: words.Lang) -> RenderableType:
    """Queues, agents and definitions of one simulation."""
    pick = words.pick
    title = pick(lang, "Queues: mean ± half width of the 95 % interval", "队列：均值 ± 95 % 置信区间半宽")
    queues = Table(title=title)
    queues.add_column(pick(lang, "figure", "指标"))
    some = [*list(result.queues.values())[:ROWS_MAX], result.total]
    if len(result.queues) == 1:
        some = [result.total]
    for one in some:
        queues.add_column(_queue_name(one, result, lang), justify="right")
    for id in QUEUE_IDS:
        queues.add_row(label(id, lang), *(shown(id, one[id]) for one in some))
    agents = Table(title=pick(lang, "Agents", "座席"))
    agents.add_column(pick(lang, "group", "组"))
    agents.add_column(pick(lang, "agents", "人数"), justify="right")
    for id in GROUP_IDS:
        agents.add_column(label(id, lang), justify="right")
    for group in (*result.groups[:ROWS_MAX], result.everyone):
        name = pick(lang, "all", "全体") if group is result.everyone else group.name
        agents.add_row(name, str(len(group.agents)), *(shown(id, group[id]) for id in GROUP_IDS))
    rate = result.contacts / max(result.kernel_seconds, 1e-9)
    footer = pick(
        lang,
        f"{result.contacts:,} contacts in {result.replications} replications or batches, "
        f"{rate:,.0f} a second and thread; seed {result.seed}",
        f"{result.replications} 次重复（或分段）共 {result.contacts:,} 个联系，"
        f"每线程每秒 {rate:,.0f} 个；种子 {result.seed}",
    )
    campaigns = [campaign_table(list(result.campaigns.values()), lang)] if result.campaigns else []
    return Group(queues, agents, *campaigns, definitions(lang, result.ids), Text(footer))


def campaign_table(some: Sequence[CampaignResult], lang: words.Lang) -> RenderableType:
    """Campaigns side by side; below, the worst window of each rule, and what the pacers' time went to."""
    pick = words.pick
    table = Table(title=pick(lang, "Campaigns", "外呼活动"))
    table.add_column(pick(lang, "figure", "指标"))
    for one in some[:ROWS_MAX]:
        table.add_column(f"{one.name} ({pick(lang, 'target', '目标')} {100 * one.target:g} %)", justify="right")
    for id in CAMPAIGN_IDS:
        digits = 2 if id in ("DROP_RATE", "DROP_WORST_HOUR") else None
        table.add_row(label(id, lang), *(shown(id, one[id], digits=digits) for one in some[:ROWS_MAX]))
    rules = {rule: None for one in some for rule in one.windows}
    for rule in rules:
        cells = [f"{100 * one.windows[rule]:.2f} %" if rule in one.windows else "-" for one in some[:ROWS_MAX]]
        table.add_row(pick(lang, f"Worst full window, {rule}", f"最差完整窗口 {rule}"), *cells)
    reasons = {reason: None for one in some for reason in one.reasons}
    for reason in reasons:
        cells = [f"{100 * one.reasons.get(reason, 0.0):.1f} %" for one in some[:ROWS_MAX]]
        table.add_row(pick(lang, f"Time under {reason}", f"{reason} 所占时间"), *cells)
    return table


def _queue_name(one: QueueResult, result: SimulationResult, lang: words.Lang) -> str:
    name = words.pick(lang, "all", "全部") if one is result.total else one.name
    return f"{name} (T={one.threshold_s:g} s)"


def definitions(lang: words.Lang, ids: Sequence[str]) -> RenderableType:
    """What each figure means."""
    table = Table(title=words.pick(lang, "Definitions", "定义"), show_header=False, box=None)
    for id in ids:
        table.add_row(id, label(id, lang), Text(formula_text(FORMULAS[id][2], lang), style="dim"))
    return table


def comparison_tables(one: Comparison, scenario: Scenario, lang: words.Lang) -> RenderableType:
    """Both centers side by side, b minus a, and what changed for the contacts."""
    pick = words.pick
    parts: list[RenderableType] = []
    for name, ids in list(one.queues.items())[-ROWS_MAX:]:
        shown_name = pick(lang, "all", "全部") if name == "total" else name
        table = Table(title=pick(lang, f"Queue {shown_name}", f"队列 {shown_name}"))
        _difference_columns(table, lang)
        for id, difference in ids.items():
            _difference_row(table, id, difference, lang)
        parts.append(table)
    agents = Table(title=pick(lang, "All agents", "全体座席"))
    _difference_columns(agents, lang)
    for id, difference in one.occupancy.items():
        _difference_row(agents, id, difference, lang)
    for name, ids in one.campaigns.items():
        table = Table(title=pick(lang, f"Campaign {name}", f"外呼活动 {name}"))
        _difference_columns(table, lang)
        for id, difference in ids.items():
            _difference_row(table, id, difference, lang)
        parts.append(table)
    return Group(*parts, agents, _moves(one, lang), _most_changed(one, scenario, lang))


def _difference_columns(table: Table, lang: words.Lang) -> None:
    table.add_column(words.pick(lang, "figure", "指标"))
    for name in ("A", "B", words.pick(lang, "B - A", "B − A"), ""):
        table.add_column(name, justify="right")


def _difference_row(table: Table, id: str, difference: Difference, lang: words.Lang) -> None:
    mark = words.pick(lang, "clear", "显著") if difference.clear else ""
    table.add_row(
        label(id, lang),
        shown(id, difference.a),
        shown(id, difference.b),
        shown(id, difference.difference, signed=True),
        mark,
    )


_OUTCOME_WORDS = {
    "answered": "接通",
    "abandoned": "放弃",
    "timeout": "超时",
    "rejected": "队列满",
    "busy": "占线",
}


def _outcome(name: str, lang: words.Lang) -> str:
    return words.pick(lang, name, _OUTCOME_WORDS[name])


def _moves(one: Comparison, lang: words.Lang) -> Table:
    moves = one.moves()
    table = Table(title=words.pick(lang, "The same contacts, A down, B across", "同一批联系：行为 A，列为 B"))
    table.add_column("")
    columns = [o for o in OUTCOMES if any(b == o for _, b in moves)]
    for outcome in columns:
        table.add_column(_outcome(outcome, lang), justify="right")
    for a in OUTCOMES:
        if any(x == a for x, _ in moves):
            table.add_row(_outcome(a, lang), *(f"{moves.get((a, b), 0):,}" for b in columns))
    return table


def _most_changed(one: Comparison, scenario: Scenario, lang: words.Lang) -> RenderableType:
    wait = one.wait_change()
    line = words.pick(
        lang,
        f"Answered in both: {wait['contacts']:,.0f}; wait changed by {wait['mean']:+.2f} s on average; shorter for "
        f"{wait['shorter']:.1%}, longer for {wait['longer']:.1%}",
        f"两边均接通 {wait['contacts']:,.0f} 个；等待平均变化 {wait['mean']:+.2f} 秒；"
        f"缩短 {wait['shorter']:.1%}，变长 {wait['longer']:.1%}",
    )
    table = Table(title=words.pick(lang, "Changed most (first replication)", "变化最大的联系（首次重复）"))
    for name in (words.pick(lang, "contact", "联系"), words.pick(lang, "queue", "队列"), "A", "B"):
        table.add_column(name)
    for row in one.most_changed(scenario):
        a = f"{_outcome(row['a'], lang)} {row['wait_a']:.1f} s"
        table.add_row(row["contact"], row["queue"], a, f"{_outcome(row['b'], lang)} {row['wait_b']:.1f} s")
    return Group(Text(line), table)


def plot(results: Sequence[tuple[str, SimulationResult]], path: str | Path, lang: words.Lang) -> None:
    """Service level by queue with intervals, and the waits of the answered; PNG or SVG by the name of the file."""
    with plots.drawing(path, lang, 11, 4.5) as (figure, lang):
        left, right = figure.subplots(1, 2)
        _plot_levels_and_waits(left, right, results)
        left.set_ylabel(words.pick(lang, "SL_OFFERED, %", "服务水平 SL_OFFERED，%"))
        right.set_xlabel(words.pick(lang, "wait of answered, s", "接通等待，秒"))
        right.set_ylabel(words.pick(lang, "waited no longer, %", "等待不超过者，%"))
        right.set_xlim(0, _upper(results))
        if len(results) > 1:
            left.legend()
            right.legend()


def _plot_levels_and_waits(left: Any, right: Any, results: Sequence[tuple[str, SimulationResult]]) -> None:
    for number, (name, result) in enumerate(results):
        some = [*list(result.queues.values())[:ROWS_MAX]]
        levels = [one["SL_OFFERED"] for one in some]
        at = np.arange(len(some)) + 0.8 * number / len(results)
        error = [0.0 if math.isnan(level.half_width) else 100 * level.half_width for level in levels]
        width = 0.8 / len(results)
        left.bar(at, [100 * level.mean for level in levels], width, yerr=error, capsize=3, label=name)
        left.set_xticks(np.arange(len(some)), [one.name for one in some], rotation=45 if len(some) > 4 else 0)
        waits = result.total.waits.sum(axis=0)
        share = np.cumsum(waits) / max(1, waits.sum())
        right.step(bin_edges(len(waits))[1:], 100 * share, where="post", label=name)


def _upper(results: Sequence[tuple[str, SimulationResult]]) -> float:
    ends = []
    for _, result in results:
        waits = result.total.waits.sum(axis=0)
        share = np.cumsum(waits) / max(1, waits.sum())
        ends.append(bin_edges(len(waits))[1:][min(int(np.searchsorted(share, 0.995)), len(waits) - 1)])
    return float(max(1e-3, *ends))
