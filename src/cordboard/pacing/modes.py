"""Which mode paces now, and the reason said aloud.

The mode that was asked for is a wish. What is known now may forbid it: then the pacing falls back, to one line a free
agent or to none, and says why in a sentence that an operator can act on. Nothing here remembers: each decision looks
at the situation afresh, so that a fall-back ends by itself when its cause does.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

from cordboard import words
from cordboard.errors import InputError, Where
from cordboard.pacing.blend import Blend

Mode = Literal["preview", "progressive", "power", "predictive", "stopped"]
Asked = Literal["preview", "progressive", "power", "predictive"]
Reason = Literal[
    "as_asked",
    "no_agents",
    "telemetry_stale",
    "list_exhausted",
    "inbound_waiting",
    "budget_infeasible",
    "budget_exhausted",
    "cold_start",
    "few_agents",
    "capacity_bound",
    "list_validity_low",
    "inbound_reserve",
    "others_turn",
]
ASKED: tuple[Asked, ...] = ("preview", "progressive", "power", "predictive")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a campaign may use, and when it must fall back.

    ``lines``: calls at once, ringing and talking (None: no limit). ``calls_per_second``: new calls, averaged over a
    second. ``lines_per_agent``: ringing calls for each free agent, in any mode. ``ratio``: of the power mode.
    ``least_agents``: fewer logged-in agents than this are paced one to one. ``least_outcomes``: dials whose end must
    have been seen before the predictive mode begins. ``stale_after``: seconds without a sign of life from the agents'
    side after which nothing is dialed (counts only once a first ``beat`` was given). ``least_validity``: share of the
    last dials that reached a working number, below which the list is called poor. ``reserve``: free agents kept back
    for inbound calls. ``inbound_waiting``: callers in the inbound queues, from which on nothing is dialed.
    """

    lines: int | None = None
    calls_per_second: float | None = None
    lines_per_agent: float | None = None
    ratio: float = 1.5
    least_agents: int = 3
    least_outcomes: int = 50
    stale_after: float = 2.0
    least_validity: float = 0.6
    reserve: int = 0
    inbound_waiting: int = 1

    def __post_init__(self) -> None:
        positive = ("lines", "calls_per_second", "lines_per_agent", "ratio", "stale_after", "inbound_waiting")
        for name in positive:
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(f"{value} is no limit", Where(key=f"limits.{name}"), "Give a number above 0.")
        for name in ("least_agents", "least_outcomes", "reserve"):
            if getattr(self, name) < 0:
                raise InputError(f"{getattr(self, name)} is no limit", Where(key=f"limits.{name}"), "Give 0 or more.")
        if not 0 <= self.least_validity <= 1:
            hint = "It is a share, 0 to 1."
            raise InputError(f"{self.least_validity} is no share", Where(key="limits.least_validity"), hint)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known at one instant. ``heard``: seconds since the agents' side last gave a sign of life, None if it
    gives none; ``drops_left``: of the strictest window, negative when it is overdrawn; ``infeasible``: the estimated
    errors of machine detection alone are over a cap; ``leads``: that may be dialed now; ``validity``: share of the last
    dials that reached a working number, None before there are enough.
    """

    asked: Asked
    staffed: int
    free: int
    outcomes: int
    heard: float | None = None
    drops_left: float = 0.0
    infeasible: bool = False
    leads: int | None = None
    validity: float | None = None
    inbound_waiting: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """The mode that paces and why; ``text`` says it to people."""

    mode: Mode
    reason: Reason
    en: str
    zh: str

    def text(self, lang: words.Lang) -> str:
        return words.pick(lang, self.en, self.zh)


NAMES: dict[Mode, tuple[str, str]] = {
    "preview": ("preview", "预览外呼"),
    "progressive": ("progressive", "渐进外呼"),
    "power": ("power", "倍率外呼"),
    "predictive": ("predictive", "预测外呼"),
    "stopped": ("stopped", "停止"),
}


def choose(s: Situation, limits: Limits) -> Choice:
    """The mode for a situation: what stops all dialing first, then what forbids dialing ahead."""
    stop = _stop(s, limits)
    if stop is not None:
        return stop
    if s.asked in ("preview", "progressive"):
        return _as_asked(s, limits)
    if s.infeasible:
        return Choice(
            "progressive",
            "budget_infeasible",
            "One line a free agent: the estimated errors of machine detection alone are over the limit for abandoned "
            "calls. Measure the detection again, or switch it off.",
            "每个空闲座席一路：仅应答机检测误判的估计值就已超过放弃率上限。请重新抽样检测误判率，或关闭检测。",
        )
    if s.asked == "predictive" and s.outcomes < limits.least_outcomes:
        return Choice(
            "progressive",
            "cold_start",
            f"One line a free agent: {s.outcomes} of the {limits.least_outcomes} dials needed to predict have ended.",
            f"每个空闲座席一路：预测需要 {limits.least_outcomes} 次拨号结果，现有 {s.outcomes} 次。",
        )
    if s.staffed < limits.least_agents:
        return Choice(
            "progressive",
            "few_agents",
            f"One line a free agent: {s.staffed} agents are logged in, fewer than {limits.least_agents}.",
            f"每个空闲座席一路：登录座席 {s.staffed} 人，少于 {limits.least_agents} 人。",
        )
    if s.drops_left < 1:
        if s.asked == "predictive":
            return Choice(
                "predictive",
                "budget_exhausted",
                "Only lines for which an agent will all but surely be free: no more calls may be dropped in the "
                "strictest window now.",
                "仅拨几乎必有空闲座席的线路：最严格的统计窗口内已不允许再掉话。",
            )
        return Choice(
            "progressive",
            "budget_exhausted",
            "One line a free agent: no more calls may be dropped in the strictest window now.",
            "每个空闲座席一路：最严格的统计窗口内已不允许再掉话。",
        )
    return _as_asked(s, limits)


def _stop(s: Situation, limits: Limits) -> Choice | None:
    """What forbids any dial."""
    if s.staffed == 0:
        return Choice(
            "stopped",
            "no_agents",
            "Nothing is dialed: no agent is logged in. Ringing calls are cancelled after their minimum ring.",
            "停止拨号：没有座席登录。正在振铃的呼叫在最短振铃时间后取消。",
        )
    if s.heard is not None and s.heard > limits.stale_after:
        return Choice(
            "stopped",
            "telemetry_stale",
            f"Nothing is dialed: the agents' states are {s.heard:.1f} s old (limit {limits.stale_after:g} s).",
            f"停止拨号：座席状态已 {s.heard:.1f} 秒未更新（上限 {limits.stale_after:g} 秒）。",
        )
    if s.inbound_waiting >= limits.inbound_waiting:
        return Choice(
            "stopped",
            "inbound_waiting",
            f"Nothing is dialed: {s.inbound_waiting} inbound callers wait for these agents.",
            f"停止拨号：有 {s.inbound_waiting} 位呼入客户正在等待这些座席。",
        )
    if s.leads == 0:
        return Choice(
            "stopped",
            "list_exhausted",
            "Nothing is dialed: no lead may be called now. Add leads, or wait for their hours and retry times.",
            "停止拨号：当前没有可拨号码。请补充名单，或等待可拨时段和重拨时间。",
        )
    return None


def _as_asked(s: Situation, limits: Limits) -> Choice:
    en, zh = NAMES[s.asked]
    if s.validity is not None and s.validity < limits.least_validity:
        return Choice(
            s.asked,
            "list_validity_low",
            f"Mode {en}; only {100 * s.validity:.0f} % of the last numbers were valid: check the list and the carrier.",
            f"{zh}；最近号码有效率仅 {100 * s.validity:.0f}%：请检查名单和线路。",
        )
    return Choice(s.asked, "as_asked", f"Mode {en}, as asked for.", f"{zh}，按设定运行。")


def capacity_bound(choice: Choice, wanted: int, allowed: int, what_en: str, what_zh: str) -> Choice:
    """The same mode, said to be held by a limit on lines or on calls a second."""
    en, zh = NAMES[choice.mode]
    return Choice(
        choice.mode,
        "capacity_bound",
        f"Mode {en}; {wanted} lines are wanted, {what_en} allows {allowed} now.",
        f"{zh}；需要 {wanted} 路，{what_zh}目前允许 {allowed} 路。",
    )


def inbound_reserve(choice: Choice, free: int, waiting: int, reserve: int, blend: Blend | None) -> Choice:
    """The same mode, said to be held by the free agents that are left to inbound callers."""
    en = f"Nothing new is dialed: free agents {free}, kept for inbound {reserve}, inbound callers waiting {waiting}"
    zh = f"暂不新拨：空闲座席 {free} 人，为呼入客户保留 {reserve} 人，等待中 {waiting} 位"
    if blend is not None:
        en, zh = f"{en}; {blend.text('en')}", f"{zh}；{blend.text('zh')}"
    return Choice(choice.mode, "inbound_reserve", en + ".", zh + "。")


def others_turn(mode: Mode, name: str, left: float) -> Choice:
    """The mode, while another campaign of the same agents dials, for ``left`` more seconds."""
    en = f"Nothing new is dialed: campaign {name} has the turn for {left:.0f} s more."
    return Choice(mode, "others_turn", en, f"暂不新拨：轮到活动 {name}，还有 {left:.0f} 秒。")


class CallRate:
    """A calls-per-second limit: at most floor(rate) calls in any second, or one in 1 / rate seconds below one a second.
    Nothing is saved up while the limit is not used."""

    def __init__(self, rate: float) -> None:
        self.size = max(1, math.floor(rate))
        self.span = max(1.0, 1.0 / rate)
        self.placed: deque[float] = deque()

    def allowed(self, now: float) -> int:
        """Calls that may be placed at ``now``."""
        while self.placed and self.placed[0] + self.span <= now:  # as next_at says, to the last bit
            self.placed.popleft()
        return self.size - len(self.placed)

    def take(self, now: float, calls: int) -> None:
        """So many calls are placed at ``now``; no more than ``allowed(now)``."""
        self.placed.extend([now] * calls)

    def next_at(self, now: float) -> float:
        """When a call is allowed again."""
        return self.placed[0] + self.span if len(self.placed) >= self.size else now
