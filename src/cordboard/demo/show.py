"""What the demo shows: the board while it runs, and the report at the end with the reasons for the decisions."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cordboard.acd import Acd
from cordboard.center import Center
from cordboard.demo.campaign import Campaign
from cordboard.demo.day import HALF_HOUR_S, OPENS_AT_S, PROFILE, TEAM_QUEUE, DemoDay
from cordboard.explain import explain
from cordboard.kpi import KPIS, QueueTallies, Tally, figures, formula_text
from cordboard.telling import tell
from cordboard.wallboard import Board, CampaignRow, QueueRow, clock_text, share_text
from cordboard.words import Lang, pick

REPORT_KPIS = ("SL_OFFERED", "SL_EX_SHORT", "ANSWER_RATE", "ABANDON_RATE", "ASA", "TIME_TO_ABANDON")
STORY_LINES = 16


def time_of_day(t: float) -> str:
    """Seconds from nine o'clock as hh:mm."""
    clock = int(OPENS_AT_S + t)
    return f"{clock // 3600:02d}:{clock % 3600 // 60:02d}"


def board(day: DemoDay, campaign: Campaign, seed: int, lang: Lang) -> Board:
    """The wallboard at this instant of the day."""
    state = day.acd.state()
    agents: dict[str, int] = {}
    for agent in state["agents"].values():
        agents[agent["state"]] = agents.get(agent["state"], 0) + 1
    n_agents, n_queues = len(day.center.agents), len(day.center.queues)
    title = pick(
        lang,
        f"cordboard demo · {n_agents} agents · {n_queues} queues · simulated people · seed {seed}",
        f"cordboard 演示 · {n_agents} 名座席 · {n_queues} 个队列 · 仿真客户 · 种子 {seed}",
    )
    return Board(
        title=title,
        clock=time_of_day(day.now),
        queues=[_queue_row(day, queue.name, state["queues"][queue.name]) for queue in day.center.queues],
        agents=agents,
        half_hours=[(time_of_day(i * HALF_HOUR_S), _level(day.half_hours.get(i))) for i in range(len(PROFILE))],
        campaign=campaign_row(campaign, lang),
        decisions=[decision_line(offer, lang) for offer in reversed(day.decisions)],
    )


def _level(tally: Tally | None) -> float | None:
    return None if tally is None else KPIS["SL_OFFERED"].compute(tally)


def _queue_row(day: DemoDay, name: str, state: dict[str, Any]) -> QueueRow:
    queue = next(one for one in day.center.queues if one.name == name)
    tally = day.tallies.by_queue[name]
    last = max(day.acd.positions(name), key=day.acd.position, default=None) if state["waiting"] else None
    estimate = None if last is None else day.acd.estimate_wait(last)
    return QueueRow(
        name=name,
        service_level=KPIS["SL_OFFERED"].compute(tally),
        target=queue.target_share,
        within_s=queue.target_within,
        waiting=state["waiting"],
        longest_s=state["longest_wait"],
        estimate_p50_s=None if estimate is None else estimate.p50,
        estimate_p90_s=None if estimate is None else estimate.p90,
        offered=tally.offered,
        answered=tally.answered,
        abandoned=tally.abandoned,
    )


def campaign_row(campaign: Campaign, lang: Lang) -> CampaignRow:
    """The campaign as the wallboard shows it."""
    plan = campaign.plan
    return CampaignRow(
        name=TEAM_QUEUE,
        mode="–" if plan is None else plan.mode,
        dials=campaign.dials,
        in_flight=campaign.pacer.ringing,
        answered=campaign.answered,
        drops=campaign.drops,
        drop_share=campaign.drops / campaign.answered if campaign.answered else 0.0,
        cap=campaign.pacer.target,
        occupancy=campaign.busy_s / campaign.staffed_s if campaign.staffed_s else None,
        reason="" if plan is None else plan.text(lang),
    )


def decision_line(offer: dict[str, Any], lang: Lang) -> str:
    """One offer and its reason in a line."""
    return f"{time_of_day(offer['t'])}  {decision_text(offer, lang)}"


def decision_text(offer: dict[str, Any], lang: Lang) -> str:
    """The same without its time."""
    why = offer["why"]
    line = f"{offer['contact']} → {offer['agent']}  "
    line += pick(lang, f"{why['eligible']} eligible, by {why['key']}", f"{why['eligible']} 人可接，依据 {why['key']}")
    if why["runner_up"] is not None:
        line += pick(lang, f", before {why['runner_up']}", f"，先于 {why['runner_up']}")
    return line


# -- the report -----------------------------------------------------------------------------------------------------


def report(day: DemoDay, campaign: Campaign, lang: Lang) -> RenderableType:
    """The day in figures, and the reasons for its most telling decisions."""
    return Group(
        Text(pick(lang, "The day in figures", "一天的指标"), style="bold underline"),
        kpi_table(day.center, day.tallies, lang),
        kpi_note(lang),
        _waits(day, lang),
        Panel(_outbound(campaign, lang), title=pick(lang, "outbound campaign", "外呼活动"), border_style="blue"),
        *_stories(day, lang),
    )


def kpi_table(center: Center, tallies: QueueTallies, lang: Lang) -> RenderableType:
    """A row a queue: REPORT_KPIS beside what was wanted."""
    table = Table(box=None, pad_edge=False)
    table.add_column(pick(lang, "queue", "队列"), style="bold")
    for head in (pick(lang, "offered", "呼入"), pick(lang, "target", "目标")):
        table.add_column(head, justify="right")
    for id in REPORT_KPIS:
        table.add_column(id, justify="right")
    for queue in center.queues:
        tally = tallies.by_queue[queue.name]
        known = figures(tally, REPORT_KPIS)
        cells = [
            share_text(known[id]) if id not in ("ASA", "TIME_TO_ABANDON") else _seconds(known[id]) for id in REPORT_KPIS
        ]
        target = f"{100 * queue.target_share:.0f} % / {queue.target_within:.0f} s"
        table.add_row(queue.name, str(tally.offered), target, *cells)
    return table


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def kpi_note(lang: Lang) -> Text:
    """What they mean, and how they are computed."""
    kpis = [KPIS[id] for id in REPORT_KPIS]
    lines = "\n".join(f"  {one.id}: {pick(lang, one.en, one.zh)} = {formula_text(one.formula, lang)}" for one in kpis)
    return Text(lines + "\n", style="dim")


def _waits(day: DemoDay, lang: Lang) -> Text:
    """Were the announced waits honest? Of those who waited to the end, how many waited longer than the p90 told."""
    judged = [(p90, day.waited[contact]) for contact, p90 in day.announced if contact in day.waited]
    if not judged:
        return Text("")
    n, late = len(judged), 100 * sum(wait > p90 for p90, wait in judged) / len(judged)
    return Text(
        pick(
            lang,
            f"Announced waits: {n} callers were told a p90; {late:.1f} % waited longer (10 % is honest).\n",
            f"等待播报：{n} 位客户听到 p90 预计；{late:.1f} % 实际更久（10 % 为准确）。\n",
        )
    )


def _outbound(campaign: Campaign, lang: Lang) -> RenderableType:
    row = campaign_row(campaign, lang)
    n = max(1, len(campaign.scores))
    brier = sum((p - y) ** 2 for p, _, y in campaign.scores) / n
    base = sum(y for _, _, y in campaign.scores) / n
    blind, best = base * (1 - base), sum((q - y) ** 2 for _, q, y in campaign.scores) / n
    lines = [
        pick(
            lang,
            f"{row.dials} dials, {row.answered} answered live ({100 * row.answered / max(1, row.dials):.1f} %), "
            f"{campaign.machines} machines",
            f"拨号 {row.dials}，真人接听 {row.answered}（{100 * row.answered / max(1, row.dials):.1f} %），"
            f"应答机 {campaign.machines}",
        ),
        pick(
            lang,
            f"{row.drops} found no agent within 2 s: {100 * row.drop_share:.2f} % of live answers, "
            f"cap {100 * row.cap:g} %",
            f"{row.drops} 个在 2 秒内没有座席：占真人接听的 {100 * row.drop_share:.2f} %，上限 {100 * row.cap:g} %",
        ),
        pick(
            lang,
            f"Team's occupancy, talk and wrap-up over staffed time (OCC_STAFFED): {share_text(row.occupancy)}",
            f"团队占用率，通话加话后占在岗时间（OCC_STAFFED）：{share_text(row.occupancy)}",
        ),
        pick(
            lang,
            f"Answer model, learned during the day: Brier {brier:.4f}; "
            f"blind {blind:.4f}, with the truth known {best:.4f}",
            f"接听模型（当天在线学习）：Brier {brier:.4f}；盲猜 {blind:.4f}，已知真值 {best:.4f}",
        ),
        *(f"  {text}" for text in _windows(campaign, lang)),
        pick(lang, "Why it dialed as it did:", "拨号方式的原因："),
        *(f"  {time_of_day(t)}  {pick(lang, en, zh)}" for t, en, zh in campaign.turns()),
    ]
    return Text("\n".join(lines))


def _windows(campaign: Campaign, lang: Lang) -> list[str]:
    shown = []
    for window in campaign.pacer.ledger.windows(campaign.day.now):
        shown.append(
            pick(
                lang,
                f"window {window.rule.name}: worst full {100 * window.worst:.2f} %, now {100 * window.rate:.2f} %",
                f"窗口 {window.rule.name}：最差 {100 * window.worst:.2f} %，当前 {100 * window.rate:.2f} %",
            )
        )
    return shown


def _stories(day: DemoDay, lang: Lang) -> list[RenderableType]:
    """The whole story of the caller who waited longest and of one who was refused by an agent first."""
    told: list[RenderableType] = []
    for contact, title in _telling_contacts(day, lang):
        told.append(story_panel(story_of(day.center, day.journal, day.seed, contact, lang), title, lang))
    return told


def story_panel(lines: list[str], title: str, lang: Lang) -> RenderableType:
    """A story, of which the beginning is enough."""
    if len(lines) > STORY_LINES:
        more = pick(lang, f"… {len(lines) - STORY_LINES} more lines", f"……还有 {len(lines) - STORY_LINES} 行")
        lines = [*lines[:STORY_LINES], more]
    return Panel(Text("\n".join(lines)), title=title, border_style="green")


def _telling_contacts(day: DemoDay, lang: Lang) -> list[tuple[str, str]]:
    chosen = []
    voice = {name: wait for name, wait in day.waited.items() if not name.startswith("chat")}
    if voice:
        longest = max(voice, key=lambda name: voice[name])
        wait = clock_text(voice[longest])
        chosen.append((longest, pick(lang, f"why {longest} waited {wait}", f"{longest} 为何等了 {wait}")))
    if day.missed:
        first = day.missed[0]
        chosen.append((first, pick(lang, f"{first}: an agent did not pick up", f"{first}：座席未应答")))
    return chosen


def story_of(center: Center, journal: list[dict[str, Any]], seed: int, contact: str, lang: Lang) -> list[str]:
    """What ``cordboard explain`` says of a contact of the day."""
    lines = io.BytesIO("".join(json.dumps(line) + "\n" for line in journal).encode())
    return tell(explain(Acd(center, seed=seed), center, lines, contact), lang)
