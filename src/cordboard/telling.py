"""The story of a contact in sentences, in English and Chinese.

Times are told as the journal has them, or, where they are seconds since the Unix epoch (the journals of a live engine),
as the time of day in the center's time zone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cordboard.explain import Entry, Group, Story
from cordboard.floor import Block
from cordboard.words import Lang, pick

NAMES_SHOWN = 4
EPOCH_FROM = 1e8  # journals that count from another time are shorter than three years

Data = dict[str, Any]


class Voice:
    """How a story is told: ``lang``, and its times. A time of another day than the story's first has its date."""

    def __init__(self, story: Story, lang: Lang) -> None:
        self.lang, self._zone = lang, ZoneInfo(story.time_zone)
        self._day = self._of_day(story.entries[0].t).date() if story.entries else None
        self.of_day = story.ended_at >= EPOCH_FROM

    def _of_day(self, t: float) -> datetime:
        return datetime.fromtimestamp(round(t, 3), self._zone)

    def pick(self, en: str, zh: str) -> str:
        return pick(self.lang, en, zh)

    def head(self) -> list[str]:
        """The day and the time zone, where times are told as times of day."""
        return [f"{self._day}  {self._zone.key}"] if self.of_day else []

    def clock(self, t: float) -> str:
        """A time, in words."""
        if not self.of_day:
            return exact(t)
        at = self._of_day(t)
        text = f"{at:%H:%M:%S}" + (f".{at.microsecond // 1000:03}".rstrip("0") if at.microsecond >= 1000 else "")
        return text if at.date() == self._day else f"{at.date()} {text}"


def tell(story: Story, lang: Lang = "en", at: float | None = None) -> list[str]:
    """The whole story, a line a sentence; what belongs to a spell of waiting is indented. ``at``: only how things stood
    at that time, which was the replay's end."""
    voice = Voice(story, lang)
    if at is not None:
        since = voice.pick(
            f"{story.contact} at {voice.clock(at)}, since:", f"{story.contact} 在 {voice.clock(at)} 的情形，自："
        )
        return [*voice.head(), since, *tell_entry(story.entries[-1], voice)]
    lines = [*voice.head(), *(line for entry in story.entries for line in tell_entry(entry, voice))]
    last = story.entries[-1] if story.entries else None
    if last is not None and last.kind == "waiting" and last.until == story.ended_at:
        end = voice.clock(story.ended_at)
        lines.append(voice.pick(f"{end}  the replay ends; it still waits", f"{end}  回放结束，仍在等待"))
    return lines


def tell_entry(entry: Entry, voice: Voice) -> list[str]:
    """One part of the story."""
    if entry.kind == "waiting":
        return _spell(entry, voice)
    lines = [f"{voice.clock(entry.t)}  {_HAPPENINGS[entry.kind](entry.data, voice)}"]
    if entry.kind == "offer":
        lines += [f"    {line}" for line in why_lines(entry.data, voice)]
    return lines


def exact(seconds: float) -> str:
    """Seconds, as exact as they are."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".") if seconds != int(seconds) else f"{seconds:.1f}"


def levels(asks: dict[str, int], voice: Voice) -> str:
    """Skills and minimum levels."""
    if not asks:
        return voice.pick("no skill", "不要求技能")
    return ", ".join(f"{skill} ≥ {level}" for skill, level in sorted(asks.items()))


def agents(names: tuple[str, ...], voice: Voice) -> str:
    """Some names, and how many more."""
    if len(names) == 1:
        return names[0]
    shown = ", ".join(names[:NAMES_SHOWN])
    if len(names) > NAMES_SHOWN:
        rest = len(names) - NAMES_SHOWN
        shown += voice.pick(f" and {rest} more", f" 等另外 {rest} 名")
    return voice.pick(f"{len(names)} agents ({shown})", f"{len(names)} 名座席（{shown}）")


# -- what happened ---------------------------------------------------------------------------------------


def _queued(data: Data, voice: Voice) -> str:
    queue, asks = data["queue"], levels(data["asks"], voice)
    arrived = voice.clock(data["arrived"])
    return voice.pick(
        f"enters the queue {queue}, priority {data['priority']}, its wait counts from {arrived}; it asks for {asks}",
        f"进入队列 {queue}，优先级 {data['priority']}，等待从 {arrived} 起算；要求：{asks}",
    )


def _withdrawn(data: Data, voice: Voice) -> str:
    reasons = {
        "agent_away": ("the agent stepped away", "座席离开"),
        "agent_offline": ("the agent logged out", "座席签出"),
        "contact_left": ("the contact left", "联系方已离开"),
        "accepted_elsewhere": ("someone else accepted it", "已由他人接听"),
        "contact_expired": ("its wait was over", "等待超时"),
    }
    en, zh = reasons.get(data.get("reason", ""), ("", ""))
    return voice.pick(
        f"the offer to {data['agent']} is withdrawn" + (f": {en}" if en else ""),
        f"撤回给 {data['agent']} 的分配" + (f"：{zh}" if zh else ""),
    )


def _expired(data: Data, voice: Voice) -> str:
    en, zh = ("there is no such queue now", "队列已不存在") if data["queue_gone"] else ("its wait is over", "等待超时")
    if data["to"] is None:
        return voice.pick(f"{en}; it leaves", f"{zh}，离开")
    return voice.pick(f"{en}; it goes on to {data['to']}", f"{zh}，溢出到 {data['to']}")


_HAPPENINGS: dict[str, Callable[[Data, Voice], str]] = {
    "contact_queued": _queued,
    "offer": lambda d, voice: voice.pick(f"offered to {d['agent']}", f"分配给 {d['agent']}"),
    "offer_accepted": lambda d, voice: voice.pick(f"{d['agent']} accepts; connected", f"{d['agent']} 接听，通话开始"),
    "offer_declined": lambda d, voice: voice.pick(f"{d['agent']} declines", f"{d['agent']} 拒接"),
    "offer_expired": lambda d, voice: voice.pick(f"{d['agent']} does not answer in time", f"{d['agent']} 未按时应答"),
    "offer_withdrawn": _withdrawn,
    "priority_changed": lambda d, voice: voice.pick(
        f"its priority is {d['priority']} from now on", f"优先级改为 {d['priority']}"
    ),
    "center_changed": lambda d, voice: voice.pick("the center changes", "中心配置变更"),
    "contact_rejected": lambda d, voice: voice.pick("rejected: the queue is full", "被拒绝：队列已满"),
    "contact_expired": _expired,
    "contact_left": lambda d, voice: voice.pick("leaves before it is connected", "接通前离开"),
    "contact_ended": lambda d, voice: voice.pick(
        f"the conversation with {d['agent']} ends", f"与 {d['agent']} 的通话结束"
    ),
}


# -- why nobody ------------------------------------------------------------------------------------------


def _spell(entry: Entry, voice: Voice) -> list[str]:
    until = entry.until if entry.until is not None else entry.t
    start, end, length = voice.clock(entry.t), voice.clock(until), exact(round(until - entry.t, 6))
    if not entry.groups:
        reason = voice.pick("the center has no agents", "中心没有座席")
        return [f"{start} – {end}  {reason}"]
    lines = [voice.pick(f"{start} – {end}  waits {length} s: nobody can take it",
                  f"{start} – {end}  等待 {length} 秒：无人可接")]  # fmt: skip
    for group in entry.groups:
        who, why = agents(group.agents, voice), block_text(group.block, voice)
        lines.append(voice.pick(f"    {who}: {why}", f"    {who}：{why}"))
    if entry.change is not None:
        change = change_text(entry.change, voice)
        lines.append(voice.pick(f"    What would have changed it: {change}", f"    怎样会不同：{change}"))
    return lines


def _until(block: Block, voice: Voice) -> str:
    if block.until is None:
        return ""
    return voice.pick(f" until {voice.clock(block.until)}", f"，至 {voice.clock(block.until)}")


def _instead(block: Block, voice: Voice) -> str:
    """Who got the agent while our contact waited, and why."""
    got = block.detail.get("instead")
    if not got:
        return ""
    keys = {
        "weight": ("the weight of its queue is {its}, here {ours}", "其队列权重 {its}，本队列 {ours}"),
        "priority": ("its priority is {its}, here {ours}", "其优先级 {its}，本联系 {ours}"),
        "score": ("wait and priority together were more", "其等待加优先级更高"),
        "ratio": ("its target is {its:g} s, here {ours:g} s", "其目标 {its:g} 秒，此处 {ours:g} 秒"),
        "arrival": (
            "it had waited since {its}, this one since {ours}",
            "其自 {its} 起等待，本联系自 {ours} 起",
        ),
        "line": ("it came first at the same instant", "同一时刻其先到"),
    }
    its, ours = got["its"], got["ours"]
    if got["key"] == "arrival":
        its, ours = voice.clock(its), voice.clock(ours)
    en, zh = (text.format(its=its, ours=ours) for text in keys[got["key"]])
    t, other = voice.clock(got["t"]), got["contact"]
    return voice.pick(f"; was free at {t} and went to {other}: {en}", f"；{t} 时空闲，分给了 {other}：{zh}")


_DECLINED_OR_MISSED = {"declined": "已拒接该联系", "missed": "未应答该联系"}


def block_text(block: Block, voice: Voice) -> str:
    """What keeps an agent from the contact."""
    d = block.detail
    until, instead = _until(block, voice), _instead(block, voice)
    texts: dict[str, Callable[[], tuple[str, str]]] = {
        "eligible": lambda: ("eligible", "符合条件"),
        "channel": lambda: (f"has no capacity for {d['channel']}", f"不处理 {d['channel']}"),
        "queue": lambda: (f"not in the queue {d['queue']}", f"不在队列 {d['queue']}"),
        "window": lambda: (
            f"tier {d['tier']}, the contact goes to tiers {d['min_tier']} to {d['max_tier'] or 'any'}{until}",
            f"层级 {d['tier']}，该联系只到层级 {d['min_tier']} 至 {d['max_tier'] or '不限'}{until}",
        ),
        "delay": lambda: (f"the queue's delay holds{until}", f"队列延迟{until}"),
        "tier_wait": lambda: (f"tier {d['tier']} opens at {voice.clock(block.until or 0)}",
                              f"层级 {d['tier']} 于 {voice.clock(block.until or 0)} 开放"),
        "level": lambda: (f"level {d['skill']} {d['has']} < {d['needs']}{until}",
                          f"{d['skill']} 等级 {d['has']} < {d['needs']}{until}"),
        "excluded": lambda: (f"has {d['how']} this contact", _DECLINED_OR_MISSED[d["how"]]),
        "offline": lambda: ("offline", "未签入"),
        "away": lambda: ("away", "离开"),
        "wrap_up": lambda: (f"in wrap-up{until}", f"话后处理{until}"),
        "retry": lambda: (f"gets nothing after an unanswered offer{until}", f"未应答后暂停分配{until}"),
        "other_channel": lambda: (f"busy with {d['channel']}{instead}", f"正在处理 {d['channel']}{instead}"),
        "rings": lambda: (f"rings for another contact{instead}", f"正为另一联系振铃{instead}"),
        "talks": lambda: (f"in conversation{instead}", f"通话中{instead}"),
        "engaged": lambda: (f"on a call of somebody else{instead}", f"正参与他人的通话{instead}"),
        "reserve": lambda: (
            f"free, but held back by reserve {d['rule']}: {d['idle']} idle with {d['skill']}, {d['agents']} kept",
            f"空闲，但被预留规则 {d['rule']} 保留：{d['skill']} 空闲 {d['idle']} 名，预留 {d['agents']} 名",
        ),
    }  # fmt: skip
    en, zh = texts[block.kind]()
    return voice.pick(en, zh)


def change_text(change: Group, voice: Voice) -> str:
    """The smallest single change that makes an agent eligible."""
    name, block = change.agents[0], change.block
    d = block.detail
    texts: dict[str, Callable[[], tuple[str, str]]] = {
        "level": lambda: (f"asking for {d['skill']} {d['has']} instead of {d['needs']}: {name}",
                          f"{d['skill']} 要求由 {d['needs']} 降为 {d['has']}：{name}"),
        "tier_wait": lambda: (
            f"tier {d['tier']} open after {exact(d['waited'])} s of waiting (tier_wait): {name}",
            f"层级 {d['tier']} 在等待 {exact(d['waited'])} 秒后开放（tier_wait）：{name}",
        ),
        "delay": lambda: (f"a delay of {exact(d['waited'])} s: {name}", f"延迟为 {exact(d['waited'])} 秒：{name}"),
        "window": lambda: (f"a tier window with tier {d['tier']}: {name}", f"层级范围包含 {d['tier']}：{name}"),
        "reserve": lambda: (f"reserve {d['rule']} with {int(block.size)} fewer: {name}",
                            f"预留规则 {d['rule']} 减少 {int(block.size)} 名：{name}"),
        "retry": lambda: (f"a shorter retry_delay: {name}", f"缩短 retry_delay：{name}"),
        "wrap_up": lambda: (f"a shorter wrap-up: {name}", f"缩短话后处理：{name}"),
        "rings": lambda: (f"one more contact at a time for {name}", f"{name} 多一个并发"),
        "talks": lambda: (f"one more contact at a time for {name}", f"{name} 多一个并发"),
        "engaged": lambda: (f"one more contact at a time for {name}", f"{name} 多一个并发"),
        "other_channel": lambda: (f"blend for {name}", f"{name} 允许混合渠道"),
        "excluded": lambda: (f"if {name} had taken it", f"若 {name} 当时接听"),
        "away": lambda: (f"if {name} had been ready", f"若 {name} 处于就绪"),
        "offline": lambda: (f"if {name} had been logged in and ready", f"若 {name} 已签入并就绪"),
        "queue": lambda: (f"{name} in the queue {d['queue']}", f"{name} 加入队列 {d['queue']}"),
        "channel": lambda: (f"capacity for {d['channel']} for {name}", f"{name} 增加 {d['channel']} 容量"),
    }  # fmt: skip
    en, zh = texts[block.kind]()
    return voice.pick(en, zh)


# -- why this agent, why this contact ----------------------------------------------------------------------

# What an agent's key says: the text before the value, the unit after it.
_AGENT_KEYS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "idle_s": (("idle longest", "空闲最久"), (" s", " 秒")),
    "handled": (("has handled fewest contacts", "已处理联系最少"), ("", " 个")),
    "occupancy": (("least occupied", "占用率最低"), ("", "")),
    "levels": (("by the sum of the required levels", "按所需技能等级之和"), ("", "")),
    "file_order": (("next in turn", "按顺序轮到"), ("", "")),
    "draw": (("drawn by lot", "随机抽取"), ("", "")),
    "all": (("all of the tier ring", "同层级全部振铃"), ("", "")),
    "score": (("greatest weighted score", "加权得分最高"), ("", "")),
    "preferred_agent": (("the contact's preferred agent", "该联系的首选座席"), ("", "")),
    "sticky": (("served this customer last", "上次服务该客户"), ("", "")),
}
_WITHOUT_VALUE = ("file_order", "draw", "all", "preferred_agent", "sticky")
_CONTACT_KEYS = {
    "priority": ("by weight, priority and wait", "按权重、优先级和等待"),
    "wait_s+priority": ("by wait plus priority", "按等待加优先级"),
    "wait/target": ("by wait over target", "按等待与目标之比"),
}


def why_lines(data: Data, voice: Voice) -> list[str]:
    """Why this agent and why this contact: the winning key and the runner-up of both."""
    why = data.get("why")
    if not why:
        return []
    contacts = why["contacts"]
    key, unit = ((text[voice.lang == "zh"]) for text in _AGENT_KEYS[why["key"]])
    has_value = why["key"] not in _WITHOUT_VALUE
    won = key + (f" ({number(why['value'])}{unit})" if has_value else "")
    lines = [voice.pick(f"{won}; {_count(why['eligible'], 'eligible agent')}, tier {why['tier']}",
                  f"{won}；符合条件的座席 {why['eligible']} 名，层级 {why['tier']}")]  # fmt: skip
    if why["runner_up"] is not None:
        value = f" ({number(why['runner_up_value'])}{unit})" if has_value else ""
        lines[0] += voice.pick(f"; runner-up {why['runner_up']}{value}", f"；其次 {why['runner_up']}{value}")
    if contacts["eligible"] > 1 and contacts["runner_up"] is not None:
        order = _CONTACT_KEYS[contacts["key"]][voice.lang == "zh"]
        mine, its = number(contacts["value"]), number(contacts["runner_up_value"])
        lines.append(voice.pick(
            f"first of {contacts['eligible']} contacts {order} ({mine}); next is {contacts['runner_up']} ({its})",
            f"在 {contacts['eligible']} 个联系中{order}居首（{mine}）；其次 {contacts['runner_up']}（{its}）",
        ))  # fmt: skip
    return lines


def number(value: float) -> str:
    """A key's value: six decimals at most."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)
