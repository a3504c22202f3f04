"""What differs between two centers, in words for people.

``diff_centers(old, new)`` lists it in the order of the files: the center itself, queues, agents, reserves. A queue or
an agent that is gone says what that means for those who are in the center, as ``Acd.with_center`` does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from cordboard import words
from cordboard.center import Agent, Center, Queue, Reserve, Step

_WHAT = {"center": "中心", "queue": "队列", "agent": "座席", "reserve": "预留"}
_FIELDS = {
    "order": "次序",
    "time_zone": "时区",
    "channel": "渠道",
    "requires": "技能要求",
    "steps": "步骤",
    "strategy": "策略",
    "weight": "权重",
    "target_share": "目标比例",
    "target_within": "目标时限（秒）",
    "delay": "延迟（秒）",
    "tier_wait": "逐层等待（秒）",
    "tier_wait_multiplies": "逐层等待累加",
    "offer_timeout": "应答时限（秒）",
    "retry_delay": "重试间隔（秒）",
    "max_no_answer": "最多未应答次数",
    "wrap_up": "话后处理（秒）",
    "max_waiting": "最多等待数",
    "max_wait": "最长等待（秒）",
    "overflow": "溢出到",
    "sticky": "优先上次座席",
    "weights": "加权系数",
    "skills": "技能",
    "queues": "所属队列",
    "capacity": "并发能力",
    "blend": "混合渠道",
}


@dataclass(frozen=True, slots=True)
class CenterChange:
    """``kind``: added, removed, changed. ``what``: center, queue, agent, reserve. ``field``, ``old``, ``new``: of a
    change. ``to``: where the contacts of a queue that is gone go; None: they leave."""

    kind: str
    what: str
    name: str = ""
    field: str = ""
    old: Any = None
    new: Any = None
    to: str | None = None

    def text(self, lang: words.Lang = "en") -> str:
        """One line for people."""
        who = words.pick(lang, f"{self.what} {self.name}", f"{_WHAT[self.what]} {self.name}").strip()
        if self.kind == "changed":
            old, new = shown(self.old, lang), shown(self.new, lang)
            label = self.field.replace("_", " ")
            return words.pick(lang, f"{who}: {label} {old} -> {new}", f"{who}：{_FIELDS[self.field]} {old} -> {new}")
        if self.kind == "added":
            after = words.pick(lang, ", offline at first", "，起初离线") if self.what == "agent" else ""
            return words.pick(lang, f"{who}: new", f"{who}：新增") + after
        return words.pick(lang, f"{who}: gone", f"{who}：移除") + self._meaning(lang)

    def _meaning(self, lang: words.Lang) -> str:
        if self.what == "agent":
            return words.pick(
                lang,
                "; open offers are withdrawn, conversations go on until they end",
                "；未应答的分配被收回，进行中的通话照常结束",
            )
        if self.what != "queue":
            return ""
        if self.to is None:
            return words.pick(lang, "; those who wait leave", "；等待者离开")
        return words.pick(lang, f"; those who wait go to {self.to}", f"；等待者转到 {self.to}")

    def record(self) -> dict[str, Any]:
        """For programs: plain values only."""
        found: dict[str, Any] = {"kind": self.kind, "what": self.what, "name": self.name}
        if self.kind == "changed":
            found |= {"field": self.field, "old": plain(self.old), "new": plain(self.new)}
        if self.kind == "removed" and self.what == "queue":
            found["to"] = self.to
        return found


def diff_centers(old: Center, new: Center) -> list[CenterChange]:
    """Every difference that routing could tell."""
    found = list(_fields("center", "", old, new, ("order", "time_zone")))
    found += _named("queue", {q.name: q for q in old.queues}, {q.name: q for q in new.queues}, old, new)
    found += _named("agent", {a.name: a for a in old.agents}, {a.name: a for a in new.agents}, old, new)
    before, after = [_rule(rule) for rule in old.reserves], [_rule(rule) for rule in new.reserves]
    found += [CenterChange("removed", "reserve", rule) for rule in before if rule not in after]
    found += [CenterChange("added", "reserve", rule) for rule in after if rule not in before]
    return found


def _named(
    what: str, old: Mapping[str, Queue | Agent], new: Mapping[str, Queue | Agent], before: Center, after: Center
) -> Iterator[CenterChange]:
    for name, one in old.items():
        if name not in new:
            to = overflow_of(name, {q.name: q.overflow for q in before.queues}, {q.name for q in after.queues})
            yield CenterChange("removed", what, name, to=to if what == "queue" else None)
        else:
            yield from _fields(what, name, one, new[name], tuple(part.name for part in fields(one)))
    for name in new:
        if name not in old:
            yield CenterChange("added", what, name)
    order = [name for name in old if name in new], [name for name in new if name in old]
    if order[0] != order[1]:
        yield CenterChange("changed", what, field="order", old=order[0], new=order[1])


def _fields(what: str, name: str, old: Any, new: Any, names: tuple[str, ...]) -> Iterator[CenterChange]:
    for key in names:
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            yield CenterChange("changed", what, name, key, before, after)


def overflow_of(name: str, overflows: Mapping[str, str | None], known: Mapping[str, Any] | set[str]) -> str | None:
    """Where the contacts of a queue that is gone go: along the overflows that the queues had, to one that exists."""
    seen: set[str] = set()
    while name not in known:
        seen.add(name)
        to = overflows.get(name)
        if to is None or to in seen:
            return None
        name = to
    return name


def _rule(rule: Reserve) -> str:
    return f"{rule.skill} >= {rule.level}: {rule.agents} for {', '.join(rule.queues)}"


def shown(value: Any, lang: words.Lang) -> str:
    """A value of a center, short."""
    if value is None:
        return words.pick(lang, "none", "无")
    if isinstance(value, bool):
        return words.pick(lang, "yes" if value else "no", "是" if value else "否")
    if isinstance(value, float | int):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items()) or words.pick(lang, "none", "无")
    if isinstance(value, tuple | list):
        text = "; ".join(shown(part, lang) for part in value) or words.pick(lang, "none", "无")
        return text if len(text) <= 200 else text[:197] + "..."
    if isinstance(value, Step):
        until = words.pick(lang, "for ever", "一直") if value.seconds is None else f"{value.seconds:g} s"
        return f"{until} {shown(value.requires, lang)}"
    if hasattr(value, "__dataclass_fields__"):
        return ", ".join(f"{part.name} {getattr(value, part.name):g}" for part in fields(value))
    return str(value)


def plain(value: Any) -> Any:
    """The same in lists, dicts, texts and numbers."""
    if hasattr(value, "__dataclass_fields__"):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value
