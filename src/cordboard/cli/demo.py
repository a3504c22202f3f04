"""``cordboard demo``: a center at work for one simulated day, on a live wallboard, and a report at the end."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import re
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from cordboard import words
from cordboard.center import Center, parse_center
from cordboard.demo.campaign import Campaign
from cordboard.demo.day import DAY_S, HALF_HOUR_S, DemoDay
from cordboard.demo.leads import LeadModel
from cordboard.demo.show import board, campaign_row, report
from cordboard.kpi import figures
from cordboard.wallboard import render

SNAPSHOT_S = 2 * 3600.0  # eleven o'clock: the board that is printed where there is no terminal, and drawn by --svg
FRAME_S = 0.1
SECONDS = 40.0
FONT_FACE = re.compile(r"@font-face \{.*?\}\n?", re.DOTALL)  # no font is fetched from elsewhere to show the picture
WIDTH, HEIGHT = 132, 26


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    parser.add_argument(
        "--seed", type=int, default=7, help=words.pick(lang, "of the simulated people (7)", "仿真种子（7）")
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=words.pick(
            lang,
            "that the day takes on the screen (40; 90 with --sip); 0 is as fast as it goes, without --sip",
            "演示时长（秒，默认 40；--sip 为 90）；不用 --sip 时 0 为最快",
        ),
    )
    sip = words.pick(
        lang, "over real SIP and RTP on this machine (after make media)", "经本机真实 SIP/RTP（先运行 make media）"
    )
    parser.add_argument("--sip", action="store_true", help=sip)
    kept = words.pick(lang, "keep the day there, with --sip (a new folder)", "--sip 的数据保存目录（默认新建）")
    parser.add_argument("--keep", metavar="FOLDER", help=kept)
    parser.add_argument("--journal", metavar="FILE", help=words.pick(lang, "write the day's journal", "保存当天的日志"))
    parser.add_argument("--center", metavar="FILE", help=words.pick(lang, "write the center file", "保存中心配置文件"))
    svg = words.pick(
        lang, "draw the wallboard at 11:00 (15:00 with --sip)", "保存 11:00（--sip 为 15:00）的看板图"
    )
    parser.add_argument("--svg", metavar="FILE", help=svg)


def run(options: argparse.Namespace) -> int:
    """Live through the day; the report comes last."""
    if options.sip:
        return int(importlib.import_module("cordboard.services.sip_demo").run(options))
    console = Console(width=None if Console().is_terminal else WIDTH)
    center, text = demo_center()
    if options.center:
        Path(options.center).write_text(text, encoding="utf-8")
    day = DemoDay(center, options.seed)
    model = LeadModel()
    campaign = Campaign(day, options.seed, model)
    screen: Callable[[], Any] = lambda: render(board(day, campaign, options.seed, options.lang), options.lang)  # noqa: E731
    if options.json:
        for _ in day.run(HALF_HOUR_S):
            pass
        print(json.dumps(record(day, campaign), ensure_ascii=False))
    elif console.is_terminal:
        watch(console, day, screen, SECONDS if options.seconds is None else options.seconds)
        console.print(report(day, campaign, options.lang))
    else:
        snapshot(console, day, screen, options.svg)
        console.print(report(day, campaign, options.lang))
    if options.journal:
        lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in day.journal)
        Path(options.journal).write_text(lines, encoding="utf-8")
    return 0


def demo_center() -> tuple[Center, str]:
    """The center of the demo, and its file."""
    text = resources.files("cordboard.demo").joinpath("center.toml").read_text(encoding="utf-8")
    return parse_center(text, "center.toml"), text


def watch(console: Console, day: DemoDay, screen: Callable[[], Any], seconds: float) -> None:
    """The live board: the day at an even pace, the same number of frames however fast the machine is."""
    frames = max(1, round(seconds / FRAME_S))
    begun = time.monotonic()
    with Live(screen(), console=console, screen=True, auto_refresh=False) as live:
        for shown, _ in enumerate(day.run(DAY_S / frames), 1):
            live.update(screen(), refresh=True)
            time.sleep(max(0.0, min(shown, frames) * FRAME_S - (time.monotonic() - begun)) if seconds else 0.0)


def snapshot(console: Console, day: DemoDay, screen: Callable[[], Any], svg: str | None) -> None:
    """Without a terminal: the board once, in the middle of the morning."""
    for moment in day.run(HALF_HOUR_S):
        if moment.t == SNAPSHOT_S:
            console.print(screen(), height=HEIGHT)
            if svg:
                draw(screen(), svg)


def draw(screen: Any, svg: str) -> None:
    """The board as a picture."""
    drawn = Console(width=WIDTH, height=HEIGHT, record=True, file=io.StringIO())
    drawn.print(screen, height=HEIGHT)
    picture = FONT_FACE.sub("", drawn.export_svg(title="cordboard demo"))
    Path(svg).write_text(picture, encoding="utf-8")


def record(day: DemoDay, campaign: Campaign) -> dict[str, Any]:
    """The report as data."""
    row = campaign_row(campaign, "en")
    return {
        "queues": {name: figures(tally) | {"offered": tally.offered} for name, tally in day.tallies.by_queue.items()},
        "campaign": {
            "dials": row.dials,
            "answered": row.answered,
            "drops": row.drops,
            "drop_share": row.drop_share,
            "cap": row.cap,
            "occupancy": row.occupancy,
            "reasons": [{"t": t, "en": en, "zh": zh} for t, en, zh in campaign.turns()],
        },
        "counts": day.acd.counts(),
    }
