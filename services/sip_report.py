"""What came of the day of ``cordboard demo --sip``: the figures, the reasons, and where everything is."""

from __future__ import annotations

import os
import shlex
import shutil
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cordboard.demo.show import kpi_note, kpi_table, story_of, story_panel, time_of_day
from cordboard.kpi import figures
from cordboard.services.sip_show import Show
from cordboard.wallboard import share_text
from cordboard.words import Lang, pick

TURNS = 8  # that are told of why it dialed as it did
OUTCOMES = {
    "connected": "接通座席", "dropped": "无座席", "hung_up": "接听后挂断", "machine": "应答机", "busy": "忙",
    "no_answer": "无人接听", "invalid": "空号", "cancelled": "取消", "rejected": "拒接",
}  # fmt: skip


def figures_of(show: Show) -> dict[str, Any]:
    """The day as data. Waits for the disk."""
    status = show.tenant.outbound.dialer.status(show.name)
    teams = {"inbound": next(name for name in show.tallies.by_queue if name != show.name), "campaign": show.name}
    return {
        "bridged": show.bridged,
        "recorded": show.recorded,
        "recorded_s": show.recorded_s,
        "queues": {name: figures(one) | {"offered": one.offered} for name, one in show.tallies.by_queue.items()},
        "occupancy": {team: show.occupancy(queue) for team, queue in teams.items()},
        "attempts": sum(status.outcomes.values()),
        "outcomes": status.outcomes,
        "connect_rate": status.connect_rate,
        "drop_rate": status.drop_rate,
        "cap": show.tenant.outbound.calls.campaigns[show.name].drops,
        "legs": len(show.audio.mos),
        "packets": show.audio.received,
        "packets_lost": show.audio.lost,
        "mos": statistics.median(show.audio.mos) if show.audio.mos else None,
    }


def report(show: Show, found: dict[str, Any], folder: Path) -> RenderableType:
    """All of it, for people."""
    lang = show.lang
    return Group(
        Text(pick(lang, "The day in figures", "一天的指标"), style="bold underline"),
        kpi_table(show.center, show.tallies, lang),
        kpi_note(lang),
        Panel(_calls(show, found), title=pick(lang, "calls", "通话"), border_style="blue"),
        Panel(_outbound(show, found), title=pick(lang, "outbound campaign", "外呼活动"), border_style="blue"),
        *_stories(show),
        Panel(_places(show, folder), title=pick(lang, "look for yourself", "自行查看"), border_style="blue"),
    )


def _calls(show: Show, found: dict[str, Any]) -> Text:
    lang, occupancy = show.lang, {team: share_text(share) for team, share in found["occupancy"].items()}
    mos = "–" if found["mos"] is None else f"{found['mos']:.1f}"
    began = datetime.fromtimestamp(show.began, UTC)
    lines = [
        pick(
            lang,
            f"{found['bridged']} conversations were bridged over SIP; {found['recorded']} recordings, "
            f"{found['recorded_s']:.0f} s, each side on a channel of its own, encrypted",
            f"经 SIP 接通 {found['bridged']} 次通话；录音 {found['recorded']} 个，共 {found['recorded_s']:.0f} 秒，"
            "双方各占一个声道，已加密",
        ),
        pick(
            lang,
            f"RTP: {found['packets']} packets came on {found['legs']} legs, {found['packets_lost']} were lost; "
            f"median estimated MOS {mos}",
            f"RTP：{found['legs']} 条通话腿共收到 {found['packets']} 个包，丢失 {found['packets_lost']} 个；"
            f"MOS 估计中位数 {mos}",
        ),
        pick(
            lang,
            f"Occupancy, talk and wrap-up over staffed time (OCC_STAFFED): agents for callers {occupancy['inbound']}, "
            f"for the campaign {occupancy['campaign']}",
            f"占用率，通话加话后占在岗时间（OCC_STAFFED）：呼入座席 {occupancy['inbound']}，"
            f"外呼座席 {occupancy['campaign']}",
        ),
        pick(
            lang,
            f"09:00 of this day was {began:%H:%M:%S} UTC: callers came as over eight hours, calls lasted real seconds",
            f"当天 09:00 即 UTC {began:%H:%M:%S}：来电按八小时分布，通话时长为真实秒数",
        ),
    ]
    if not found["spoken"]:
        lines.append(
            pick(
                lang,
                "Announcements were tones: espeak-ng, which speaks them, is not installed",
                "未安装 espeak-ng，提示音以单音代替",
            )
        )
    return Text("\n".join(lines))


def _outbound(show: Show, found: dict[str, Any]) -> Text:
    lang, outcomes = show.lang, found["outcomes"]
    told = ", ".join(f"{pick(lang, name, OUTCOMES.get(name, name))} {n}" for name, n in sorted(outcomes.items()))
    lines = [
        pick(lang, f"{found['attempts']} attempts: {told}", f"拨号 {found['attempts']} 次：{told}"),
        pick(
            lang,
            f"Connect rate {share_text(found['connect_rate'])} of attempts; drop rate {share_text(found['drop_rate'])} "
            f"of live answers, cap {100 * found['cap']:g} %",
            f"接通率（占拨号）{share_text(found['connect_rate'])}；骚扰率（占真人接听）{share_text(found['drop_rate'])}，"
            f"上限 {100 * found['cap']:g} %",
        ),
        pick(lang, "Why it dialed as it did:", "拨号方式的原因："),
        *(f"  {time_of_day(t)}  {why}" for t, why in show.turns()[:TURNS]),
    ]
    return Text("\n".join(lines))


def telling_contacts(show: Show) -> list[tuple[str, str]]:
    """Callers whose story tells most: contact, title."""
    lang, chosen = show.lang, []
    if show.waited:
        longest = max(show.waited, key=lambda name: show.waited[name])
        wait = f"{show.waited[longest]:.1f} s"
        chosen.append((longest, pick(lang, f"why {longest} waited {wait}", f"{longest} 为何等了 {wait}")))
    if show.gave_up:
        longest = max(show.gave_up, key=lambda name: show.gave_up[name])
        text = f"why {longest} had no agent before it hung up", f"{longest} 挂断前为何无人接听"
        chosen.append((longest, pick(lang, *text)))
    return chosen


def _stories(show: Show) -> list[RenderableType]:
    return [
        story_panel(story_of(show.center, show.journal, 0, contact, show.lang), title, show.lang)
        for contact, title in telling_contacts(show)
    ]


def program() -> str:
    """How the reader's shell finds the command that runs now."""
    called = Path(sys.argv[0])
    if called.name != "cordboard":
        return "python -m cordboard"
    on_path = shutil.which("cordboard")
    return "cordboard" if on_path and os.path.samefile(on_path, called) else os.path.relpath(called)


def commands(show: Show, folder: Path) -> list[tuple[str, str, str]]:
    """What looks at what was kept: a command, and what it shows in English and Chinese."""
    called, place = program(), os.path.relpath(folder)
    place = shlex.quote(place if not place.startswith("..") else str(folder))
    journal = f"{place}/center.toml {place}/journal.jsonl"
    recorded = {event["recording"]: event["seconds"] for event in show.journal if event["event"] == "leg_recorded"}
    found = [(f"{called} recordings list --data {place}/data", "who talked with whom", "录音列表")]
    if recorded:
        longest = max(recorded, key=lambda name: recorded[name])
        export = f"{called} recordings export {longest} --data {place}/data --folder {place}/recordings"
        export += f" --identity {place}/recordings.key --to {place}/talk.wav"
        found.append((export, "the longest, to listen to", "导出最长的录音"))
    contact = next((contact for contact, _ in telling_contacts(show)), None)
    if contact:
        explain = f"{called} explain {journal} --contact {contact}"
        found.append((explain, "the reasons, for any contact", "任一联系的原因"))
    replay = f"{called} replay {journal} --effects {place}/again.jsonl"
    found.append((replay, "the day decided again", "重放全天的决定"))
    records = f"{called} records show {place}/data/default/records.db"
    found.append((records, "what became of the contacts", "联系的结果"))
    return found


def _places(show: Show, folder: Path) -> RenderableType:
    lang: Lang = show.lang
    table = Table.grid(padding=(0, 1))
    for command, en, zh in commands(show, folder):
        table.add_row(Text(pick(lang, en, zh), style="dim"), Text(command, overflow="fold"))
    where = pick(lang, f"Journal, recordings, their key and all files: {folder}", f"日志、录音、密钥等文件：{folder}")
    return Group(Text(where, overflow="fold"), table)
