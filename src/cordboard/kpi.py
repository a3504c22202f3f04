"""Key figures of a queue: counters, and the definitions that turn them into numbers.

"Service level" alone is not a number: eight definitions are in use, and on one and the same log they give 42 % to 71 %.
So every figure here has an id, a formula and labels in English and Chinese, and whoever shows the figure shows the id.
Counters are kept, never ratios: tallies of queues, hours and days add up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from cordboard.journal import told
from cordboard.words import Lang

SHORT_ABANDON_S = 5.0  # an abandonment this soon says nothing about the queue


@dataclass(slots=True)
class Tally:
    """Counters of one queue over some time. Waits are in seconds, from entering the queue to the agent's answer.

    ``offered = answered + abandoned + timeout + flowout + still waiting`` at every instant.
    """

    threshold_s: float = 20.0
    short_s: float = SHORT_ABANDON_S
    offered: int = 0  # entered the queue
    answered: int = 0
    abandoned: int = 0  # left while waiting
    short: int = 0  # abandoned within short_s
    timeout: int = 0  # waited as long as the queue allows, and left
    flowout: int = 0  # went on to another queue
    rejected: int = 0  # found the queue full; not offered
    answered_in: int = 0  # answered within threshold_s, inclusive
    abandoned_in: int = 0  # abandoned within threshold_s, inclusive
    wait_answered_s: float = 0.0
    wait_abandoned_s: float = 0.0
    wait_other_s: float = 0.0
    longest_s: float = 0.0
    asked: int = 0  # for a mark, after the conversation
    rated: int = 0  # gave one
    satisfied: int = 0  # of these, marks in the upper two fifths of the scale: 4 and 5 of 5
    rating_sum: float = 0.0  # of marks, each as a share of its scale

    def rate(self, score: float, scale: float) -> None:
        """Count a mark that somebody gave: 1 to ``scale``, the best."""
        self.rated += 1
        self.satisfied += 5 * score >= 4 * scale
        self.rating_sum += score / scale

    def answer(self, wait_s: float) -> None:
        """Count one answered contact."""
        self.answered += 1
        self.answered_in += wait_s <= self.threshold_s
        self.wait_answered_s += wait_s
        self.longest_s = max(self.longest_s, wait_s)

    def abandon(self, wait_s: float) -> None:
        """Count one contact that left while it waited."""
        self.abandoned += 1
        self.abandoned_in += wait_s <= self.threshold_s
        self.short += wait_s <= self.short_s
        self.wait_abandoned_s += wait_s
        self.longest_s = max(self.longest_s, wait_s)

    def expire(self, wait_s: float, *, to_queue: bool) -> None:
        """Count one contact that waited as long as the queue allows."""
        self.flowout += to_queue
        self.timeout += not to_queue
        self.wait_other_s += wait_s
        self.longest_s = max(self.longest_s, wait_s)

    def add(self, other: Tally) -> None:
        """Add another tally's counters to this one's. Both must have the same thresholds."""
        if (self.threshold_s, self.short_s) != (other.threshold_s, other.short_s):
            raise ValueError("tallies with different thresholds do not add up")
        for one in fields(self):
            if one.name in ("threshold_s", "short_s"):
                continue
            mine, its = getattr(self, one.name), getattr(other, one.name)
            setattr(self, one.name, max(mine, its) if one.name == "longest_s" else mine + its)


@dataclass(frozen=True, slots=True)
class Kpi:
    """One figure: its id, its names, its formula, and how to compute it from a tally (None = no valid events)."""

    id: str
    en: str
    zh: str
    formula: str
    compute: Callable[[Tally], float | None] = field(repr=False)


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def _kpi(id: str, en: str, zh: str, formula: str, top: Callable[[Tally], float], base: Callable[[Tally], float]) -> Kpi:
    return Kpi(id, en, zh, formula, lambda t: _ratio(top(t), base(t)))


# Definitions and their users: docs/reference/kpis.md.
# fmt: off
KPIS: Mapping[str, Kpi] = {
    kpi.id: kpi
    for kpi in (
        _kpi("SL_OFFERED", "Service level", "服务水平", "answered within T / offered",
             lambda t: t.answered_in, lambda t: t.offered),
        _kpi("SL_ANSWERED", "Service level of answered", "服务水平（已接）", "answered within T / answered",
             lambda t: t.answered_in, lambda t: t.answered),
        _kpi("SL_POSITIVE", "Service level, abandons count as good", "服务水平（放弃计入达标）",
             "(answered + abandoned within T) / (answered + abandoned)",
             lambda t: t.answered_in + t.abandoned_in, lambda t: t.answered + t.abandoned),
        _kpi("SL_IGNORE", "Service level, abandons within T ignored", "服务水平（忽略时限内放弃）",
             "answered within T / (answered + abandoned - abandoned within T)",
             lambda t: t.answered_in, lambda t: t.answered + t.abandoned - t.abandoned_in),
        _kpi("SL_SHORT_CREDIT", "Service level, short abandons count as good", "服务水平（速挂计入达标）",
             "(answered within T + short) / (answered + abandoned)",
             lambda t: t.answered_in + t.short, lambda t: t.answered + t.abandoned),
        _kpi("SL_EX_SHORT", "Service level without short abandons", "服务水平（剔除速挂）",
             "answered within T / (answered + abandoned - short)",
             lambda t: t.answered_in, lambda t: t.answered + t.abandoned - t.short),
        _kpi("SL_NEGATIVE", "Service level, abandons count as missed", "服务水平（放弃计为未达标）",
             "answered within T / (answered + abandoned)",
             lambda t: t.answered_in, lambda t: t.answered + t.abandoned),
        _kpi("SL_ASTERISK2", "Service level 2 of app_queue", "服务水平（app_queue SL2）",
             "(answered + abandoned within T) / (answered + abandoned + timeout)",
             lambda t: t.answered_in + t.abandoned_in, lambda t: t.answered + t.abandoned + t.timeout),
        _kpi("ANSWER_RATE", "Answer rate", "接通率", "answered / offered",
             lambda t: t.answered, lambda t: t.offered),
        _kpi("ABANDON_RATE", "Abandonment rate", "放弃率", "abandoned / offered",
             lambda t: t.abandoned, lambda t: t.offered),
        _kpi("ABANDON_EX_SHORT", "Abandonment rate without short abandons", "放弃率（剔除速挂）",
             "(abandoned - short) / (offered - short)",
             lambda t: t.abandoned - t.short, lambda t: t.offered - t.short),
        _kpi("LOST_RATE", "Lost, with time-outs", "呼损率", "(abandoned + timeout) / offered",
             lambda t: t.abandoned + t.timeout, lambda t: t.offered),
        _kpi("ASA", "Average speed of answer, s", "平均应答速度（秒）", "sum of waits of answered / answered",
             lambda t: t.wait_answered_s, lambda t: t.answered),
        _kpi("WAIT_ALL", "Mean queue time, s", "平均排队时长（秒）",
             "sum of waits of all / offered",
             lambda t: t.wait_answered_s + t.wait_abandoned_s + t.wait_other_s, lambda t: t.offered),
        _kpi("TIME_TO_ABANDON", "Mean time to abandon, s", "平均放弃时长（秒）",
             "sum of waits of abandoned / abandoned",
             lambda t: t.wait_abandoned_s, lambda t: t.abandoned),
        _kpi("CSAT", "Customer satisfaction", "满意率", "satisfied / rated",
             lambda t: t.satisfied, lambda t: t.rated),
        _kpi("RATING_MEAN", "Mean mark, as a share of the scale", "平均评分（占满分）", "sum of marks / rated",
             lambda t: t.rating_sum, lambda t: t.rated),
        _kpi("RATING_RESPONSE", "Response rate of surveys", "评价率", "rated / asked",
             lambda t: t.rated, lambda t: t.asked),
    )
}
# fmt: on


# What formulas consist of, in Chinese; longer ones first, as some begin like others.
TERMS = {
    "answers that found no agent in time": "未及时找到座席的应答",
    "offered that did not get an agent at once": "未立即得到座席的呼入量",
    "highest of any 60 minutes, mean over runs": "任意 60 分钟内的最高值，各次平均",
    "% of answered waited no longer": "% 的应答等待不超过此值",
    "answers taken for a person": "判为真人的应答",
    "(no line free + queue full)": "（无空闲线路 + 队列已满）",
    "sum of waits of abandoned": "放弃者等待总和",
    "sum of waits of answered": "应答者等待总和",
    "offers expired or declined": "超时或被拒的振铃",
    "judged to be machines": "判为应答机",
    "sum of waits of all": "全部等待总和",
    "(Little's law)": "（利特尔法则）",
    "abandoned within T": "T 内放弃量",
    "answered within T": "T 内应答量",
    ", without wrap-up": "，不含事后处理",
    "hours of login": "登录小时数",
    "all that came": "全部来电",
    "sum of marks": "评分总和",
    "abandoned": "放弃量",
    "cancelled": "取消量",
    "connected": "接通量",
    "satisfied": "满意数",
    "answered": "应答量",
    "answers": "应答",
    "handled": "处理量",
    "offered": "呼入量",
    "seconds": "秒数",
    "timeout": "超时量",
    "wrap-up": "事后处理",
    "offers": "振铃",
    "asked": "邀评数",
    "dials": "拨号",
    "hours": "小时数",
    "login": "登录",
    "rated": "评价数",
    "short": "速挂量",
    "away": "离席",
    "talk": "通话",
}
_TERM = re.compile("|".join(map(re.escape, TERMS)))


def formula_text(formula: str, lang: Lang) -> str:
    """A figure's formula in the language asked for."""
    return formula if lang == "en" else _TERM.sub(lambda found: TERMS[found[0]], formula)


def figures(tally: Tally, ids: Iterable[str] = KPIS) -> dict[str, float | None]:
    """The figures asked for, by id; None where there was no valid event."""
    return {id: KPIS[id].compute(tally) for id in ids}


class QueueTallies:
    """A projection: feed it every event with its effects, read a tally for each queue.

    ``thresholds`` gives each queue's T in seconds. A contact that goes on to an overflow queue is offered there anew.
    """

    def __init__(self, thresholds: Mapping[str, float], short_s: float = SHORT_ABANDON_S) -> None:
        self._short_s = short_s
        self.by_queue: dict[str, Tally] = {}
        self._waiting: dict[str, tuple[str, float]] = {}  # contact -> queue, entered
        self.add_queues(thresholds)

    def add_queues(self, thresholds: Mapping[str, float]) -> None:
        """Queues that come with a change of the center; those that are there stay as they are."""
        for name, within in thresholds.items():
            if name not in self.by_queue:
                self.by_queue[name] = Tally(threshold_s=within, short_s=self._short_s)

    def observe(self, event: Mapping[str, Any] | None, effects: Iterable[Mapping[str, Any]]) -> None:
        """Take one event (None where only timers fired) and what came of it, timers included."""
        effects = list(effects)
        before = [e for e in effects if event is None or e["t"] < event["t"]]
        for effect in before:
            self._effect(effect)
        if event is not None:
            self._event(event)
        for effect in effects[len(before) :]:
            self._effect(effect)

    def _event(self, event: Mapping[str, Any]) -> None:
        kind, t = event["event"], event["t"]
        if kind == "contact_queued":
            self._enter(event["contact"], event["queue"], t)
        elif kind in ("offer_accepted", "contact_left") and event["contact"] in self._waiting:
            queue, entered = self._waiting.pop(event["contact"])
            tally = self.by_queue[queue]
            (tally.answer if kind == "offer_accepted" else tally.abandon)(t - entered)

    def _effect(self, effect: Mapping[str, Any]) -> None:
        kind, t = effect["effect"], effect["t"]
        event = told(effect)
        if event is not None:
            self._event(event)
        if kind in ("rating_asked", "call_rated"):
            tally = self.by_queue[effect["queue"]] if effect.get("queue") else Tally()  # after no conversation
            if kind == "rating_asked":
                tally.asked += 1
            else:
                tally.rate(effect["score"], effect["scale"])
        elif kind == "contact_rejected":
            queue, _ = self._waiting.pop(effect["contact"])
            self.by_queue[queue].offered -= 1
            self.by_queue[queue].rejected += 1
        elif kind == "contact_expired":
            queue, entered = self._waiting.pop(effect["contact"])
            self.by_queue[queue].expire(t - entered, to_queue=effect["to"] is not None)
            if effect["to"] is not None:
                self._enter(effect["contact"], effect["to"], t)

    def _enter(self, contact: str, queue: str, t: float) -> None:
        self._waiting[contact] = (queue, t)
        self.by_queue[queue].offered += 1

    def total(self) -> Tally:
        """All queues together, where they share one threshold; the first queue's threshold is taken as theirs."""
        tallies = list(self.by_queue.values())
        whole = Tally(threshold_s=tallies[0].threshold_s, short_s=tallies[0].short_s) if tallies else Tally()
        for tally in tallies:
            whole.add(tally)
        return whole
