"""The wallboard: one screen that a team lead reads from across the room.

``Board`` is what it shows, plain data; ``render`` makes a rich renderable of it. Queues stand worst first. Every share
carries the id of its definition, and state is told by a sign and not by color alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cordboard.words import Lang, pick

YELLOW_WAIT_S = 60.0  # longest waits are shown yellow and red from these on
RED_WAIT_S = 180.0
BARS = "▁▂▃▄▅▆▇█"
AGENT_STATES: tuple[tuple[str, str, str, str], ...] = (
    ("ready", "○", "free", "空闲"),
    ("offered", "◔", "ringing", "振铃"),
    ("connected", "●", "talking", "通话"),
    ("wrap_up", "✎", "wrap-up", "话后"),
    ("away", "‖", "away", "离席"),
    ("offline", "×", "offline", "离线"),
)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue. Shares are 0..1 and None before the first contact; times are seconds."""

    name: str
    service_level: float | None
    target: float
    within_s: float
    waiting: int
    longest_s: float
    estimate_p50_s: float | None
    estimate_p90_s: float | None
    offered: int
    answered: int
    abandoned: int


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """The outbound campaign. ``drop_share`` is drops over calls answered live, in the ledger's strictest window."""

    name: str
    mode: str
    dials: int
    in_flight: int
    answered: int
    drops: int
    drop_share: float
    cap: float
    occupancy: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Board:
    """All that the wallboard shows at one instant."""

    title: str
    clock: str
    queues: Sequence[QueueRow]
    agents: dict[str, int]  # state of AGENT_STATES -> how many
    half_hours: Sequence[tuple[str, float | None]]  # label, service level of all queues in that half hour
    campaign: CampaignRow | None
    decisions: Sequence[str] = field(default_factory=tuple)  # the latest, newest first


def render(board: Board, lang: Lang = "en") -> RenderableType:
    """The whole screen."""
    layout = Layout()
    layout.split_column(
        Layout(_title(board), name="title", size=1),
        Layout(name="body"),
        Layout(_decisions(board, lang), name="decisions", size=7),
    )
    layout["body"].split_row(Layout(name="left", ratio=2), Layout(name="right", ratio=1))
    history = [Layout(_half_hours(board, lang), size=5)] if board.half_hours else []
    layout["left"].split_column(Layout(_queues(board, lang), ratio=3), *history)
    layout["right"].split_column(
        Layout(_agents(board, lang), size=8),
        Layout(_campaign(board, lang)),
    )
    return layout


def clock_text(seconds: float) -> str:
    """A duration as m:ss."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def share_text(share: float | None) -> str:
    """A share in percent, or a dash where there is nothing to divide."""
    return "–" if share is None else f"{100 * share:.1f} %"


def _title(board: Board) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    line.add_row(Text(board.title, style="bold"), Text(board.clock, style="bold cyan"))
    return line


def _level(row: QueueRow) -> Text:
    if row.service_level is None:
        return Text("–")
    good = row.service_level >= row.target
    return Text(f"{share_text(row.service_level)} {'▲' if good else '▼'}", style="green" if good else "bold red")


def _longest(seconds: float) -> Text:
    if seconds >= RED_WAIT_S:
        return Text(f"{clock_text(seconds)} !!", style="bold red")
    if seconds >= YELLOW_WAIT_S:
        return Text(f"{clock_text(seconds)} !", style="yellow")
    return Text(clock_text(seconds))


def _queues(board: Board, lang: Lang) -> RenderableType:
    table = Table(expand=True, box=None, pad_edge=False)
    heads = (
        pick(lang, "queue", "队列"),
        pick(lang, "SL_OFFERED", "服务水平"),
        pick(lang, "target", "目标"),
        pick(lang, "waiting", "排队"),
        pick(lang, "longest", "最长"),
        pick(lang, "p50/p90", "预计"),
        pick(lang, "offered", "呼入"),
        pick(lang, "answered", "接通"),
        pick(lang, "lost", "放弃"),
    )
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 else "right", no_wrap=True)
    worst_first = sorted(
        board.queues, key=lambda row: (row.service_level is None, (row.service_level or 0) - row.target)
    )
    for row in worst_first:
        known = row.estimate_p50_s is not None and row.estimate_p90_s is not None
        estimate = f"{clock_text(row.estimate_p50_s or 0)}/{clock_text(row.estimate_p90_s or 0)}" if known else "–"
        table.add_row(
            Text(row.name, style="bold"),
            _level(row),
            f"{100 * row.target:.0f}/{row.within_s:.0f} s",
            str(row.waiting),
            _longest(row.longest_s),
            estimate,
            str(row.offered),
            str(row.answered),
            str(row.abandoned),
        )
    return Panel(table, title=pick(lang, "queues, worst first", "队列（最差在前）"), border_style="blue")


def _half_hours(board: Board, lang: Lang) -> RenderableType:
    bars, labels = Text(), Text(style="dim")
    for label, share in board.half_hours:
        step = 0 if share is None else min(7, int(share * 8))
        style = "dim" if share is None else "green" if share >= 0.8 else "yellow" if share >= 0.5 else "red"
        bars.append(BARS[step] * 2 + " ", style=style)
        labels.append(f"{label[:2]:<3}" if label.endswith(":00") else "   ")
    title = pick(lang, "SL_OFFERED by half hour, all queues", "各半小时服务水平（全部队列）")
    return Panel(Group(bars, labels), title=title, border_style="blue")


def _agents(board: Board, lang: Lang) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(justify="right")
    table.add_column()
    table.add_column(ratio=1)
    for state, sign, en, zh in AGENT_STATES:
        count = board.agents.get(state, 0)
        table.add_row(str(count), pick(lang, en, zh), Text(sign * min(count, 40), no_wrap=True))
    return Panel(table, title=pick(lang, "agents", "座席"), border_style="blue")


def _campaign(board: Board, lang: Lang) -> RenderableType:
    row = board.campaign
    if row is None:
        return Panel(pick(lang, "no campaign", "无外呼活动"), border_style="blue")
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column()
    table.add_column(justify="right")
    over = row.drop_share > row.cap
    drop = Text(f"{100 * row.drop_share:.2f} % {'!' if over else '✓'}", style="bold red" if over else "green")
    for name, value in (
        (pick(lang, "mode", "模式"), Text(row.mode, style="bold")),
        (pick(lang, "dials / in flight", "拨号 / 在途"), Text(f"{row.dials} / {row.in_flight}")),
        (pick(lang, "answered / dropped", "接通 / 无座席"), Text(f"{row.answered} / {row.drops}")),
        (pick(lang, f"drop rate, cap {100 * row.cap:.0f} %", f"骚扰率（上限 {100 * row.cap:.0f} %）"), drop),
        (pick(lang, "occupancy (OCC_STAFFED)", "占用率（OCC_STAFFED）"), Text(share_text(row.occupancy))),
    ):
        table.add_row(name, value)
    body = Group(table, Text(row.reason, style="italic"))
    title = pick(lang, f"outbound: {row.name}", f"外呼：{row.name}")
    return Panel(body, title=title, border_style="blue")


def _decisions(board: Board, lang: Lang) -> RenderableType:
    lines = Text("\n".join(board.decisions[:5]), no_wrap=True, overflow="ellipsis")
    return Panel(lines, title=pick(lang, "latest decisions", "最近的决定"), border_style="blue")
