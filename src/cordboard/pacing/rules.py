"""Abandonment rules as data: who says it, how much is allowed, over which window, of which calls, from which
instant.

A rule here is a number in a table, not advice: ``verified`` says whether the figures were read in the named
source (True) or are remembered and must be checked against the official text before they are relied on
(False).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from cordboard.errors import InputError, Where

WindowKind = Literal["rolling", "day", "month", "period", "campaign"]
StartPoint = Literal["connect", "greeting_start", "greeting_end"]
FormName = Literal["live", "live_with_amd", "machines_deducted", "answered"]
Outcome = Literal["handled", "dropped", "machine"]

WINDOW_KINDS: tuple[WindowKind, ...] = ("rolling", "day", "month", "period", "campaign")
START_POINTS: tuple[StartPoint, ...] = ("connect", "greeting_start", "greeting_end")
FORMS: tuple[FormName, ...] = ("live", "live_with_amd", "machines_deducted", "answered")
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of time over which a rule counts.

    ``rolling``: the last ``seconds``, at every instant. ``day``, ``month``: of the calendar, in the
    campaign's time zone. ``period``: successive periods of ``days`` calendar days from the campaign's first
    day. ``campaign``: since its start.
    """

    kind: WindowKind
    seconds: float = 0.0
    days: int = 0

    def label(self, lang: str) -> str:
        """The window in words, for people."""
        if self.kind == "rolling":
            hours = self.seconds / 3600.0
            if hours > 48 and hours % 24 == 0:
                return f"最近 {hours / 24:g} 天" if lang == "zh" else f"the last {hours / 24:g} days"
            return f"最近 {hours:g} 小时" if lang == "zh" else f"the last {hours:g} hours"
        if self.kind == "period":
            return f"本 {self.days} 天周期" if lang == "zh" else f"this period of {self.days} days"
        names = {
            "day": ("today", "今天"),
            "month": ("this calendar month", "本自然月"),
            "campaign": ("the campaign to date", "活动开始至今"),
        }
        return names[self.kind][1 if lang == "zh" else 0]


ROLLING_DAY = Window("rolling", seconds=DAY)
ROLLING_30_DAYS = Window("rolling", seconds=30 * DAY)
CALENDAR_DAY = Window("day")
CALENDAR_MONTH = Window("month")
PERIODS_OF_30_DAYS = Window("period", days=30)
CAMPAIGN = Window("campaign")


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit on abandoned calls.

    ``cap``: the largest allowed share, a decimal string ("0.03"), so that it is exact. ``below``: the share
    must stay *under* the cap (a regulator's "less than"), else at most equal to it. ``form``: which calls are
    the numerator and the base; see ``abandonment``. ``threshold``: seconds from ``start_point`` within which
    an agent must have the call, inclusive: exactly the threshold is not abandoned. ``early_hangup_counts``:
    whether a person who hangs up before the threshold, without an agent, was abandoned; if not, the call
    stays in the base alone.
    ``least``: a window with fewer calls in its base than this is held to ``floor(cap * least)`` drops instead of to the
    share. 0 means: every window, from its first call. A rolling window needs some (see ``Ledger``); None picks the base
    in which ten drops are allowed. ``least_share``: of a rolling window: this share of the largest base that any
    of its windows has had, when that is more than ``least``.
    """

    name: str
    cap: str
    window: Window
    form: FormName = "live"
    below: bool = False
    threshold: float = 2.0
    start_point: StartPoint = "connect"
    early_hangup_counts: bool = False
    least: int | None = None
    least_share: float = 0.5
    min_ring: float = 15.0
    verified: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        share = self.share
        if not 0 < share < 1:
            raise _bad(self.name, "cap", f"the cap {self.cap} is not between 0 and 1", "Write 3 % as 0.03.")
        if self.window.kind not in WINDOW_KINDS:
            raise _bad(self.name, "window", f"there is no window {self.window.kind!r}", f"Use one of {WINDOW_KINDS}.")
        if self.window.kind == "rolling" and not (self.window.seconds > 0 and math.isfinite(self.window.seconds)):
            raise _bad(self.name, "window", "a rolling window needs a positive number of seconds", "A day has 86400.")
        if self.window.kind == "period" and self.window.days < 1:
            raise _bad(self.name, "window", "a period needs a positive number of days", "The TSR has 30.")
        if self.form not in FORMS:
            raise _bad(self.name, "form", f"there is no form {self.form!r}", f"Use one of {FORMS}.")
        if self.start_point not in START_POINTS:
            raise _bad(
                self.name,
                "start_point",
                f"there is no start {self.start_point!r}",
                f"Use one of {START_POINTS}.",
            )
        if not (self.threshold >= 0 and math.isfinite(self.threshold)):
            raise _bad(self.name, "threshold", f"{self.threshold} s is no threshold", "It is 2.0 s in most rules.")
        if self.least is not None and self.least < 0:
            raise _bad(self.name, "least", f"{self.least} calls is no base", "Use 0 or more.")
        if not 0 <= self.least_share < 1:
            raise _bad(self.name, "least_share", f"{self.least_share} is no share", "Use 0 or more, under 1.")

    @property
    def share(self) -> Fraction:
        """The cap as an exact fraction."""
        try:
            return Fraction(self.cap)
        except (ValueError, ZeroDivisionError):
            raise _bad(self.name, "cap", f"{self.cap!r} is not a number", "Write 3 % as 0.03.") from None

    @property
    def floor_base(self) -> int:
        """``least``, with its default worked out: 0 for windows with a fixed start, ten drops' worth for
        rolling ones.
        """
        if self.least is not None:
            return self.least
        return math.ceil(10 / self.share) if self.window.kind == "rolling" else 0


def _bad(rule: str, key: str, what: str, hint: str) -> InputError:
    return InputError(what, Where(key=f"rules.{rule}.{key}"), hint)


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            "us_tsr",
            "0.03",
            PERIODS_OF_30_DAYS,
            start_point="greeting_end",
            verified=True,
            source="16 CFR 310.4(b)(4): 3 % of calls answered by a person, per campaign, each successive 30"
            " days; an agent "
            "within 2 s of the completed greeting; at least 15 s or 4 rings.",
        ),
        Rule(
            "us_fcc",
            "0.03",
            ROLLING_30_DAYS,
            start_point="greeting_end",
            source="47 CFR 64.1200(a)(6)-(7): 3 % of live-answered calls over 30 days, per campaign; 2 s; "
            "15 s or 4 rings.",
        ),
        Rule(
            "uk_ofcom_2008",
            "0.03",
            ROLLING_DAY,
            form="live_with_amd",
            below=True,
            start_point="greeting_start",
            source="Ofcom statements of 2008 and 2010: under 3 % of live calls in any 24 hours, per "
            "campaign, estimated "
            "answering-machine errors counted as abandoned; 15 s of ringing. The start point is remembered,"
            " not read.",
        ),
        Rule(
            "uk_ofcom_2008_no_amd",
            "0.03",
            ROLLING_DAY,
            form="machines_deducted",
            below=True,
            start_point="greeting_start",
            source="The same without answering-machine detection: a reasoned estimate of machines is "
            "deducted from the drops.",
        ),
        Rule(
            "uk_ofcom_2017",
            "0.03",
            ROLLING_DAY,
            form="live_with_amd",
            below=True,
            start_point="greeting_start",
            early_hangup_counts=True,
            source="Ofcom statement of 20 December 2016, in force from 1 March 2017: 3 % is no longer a "
            "safe threshold, any "
            "abandoned call may be misuse. The figure here is the former one: choose a lower one with your "
            "counsel.",
        ),
        Rule(
            "ca_crtc",
            "0.05",
            CALENDAR_MONTH,
            source="CRTC Unsolicited Telecommunications Rules: 2 s of dead air; the 5 % per calendar month "
            "is remembered.",
        ),
        Rule(
            "house_day",
            "0.03",
            CALENDAR_DAY,
            verified=True,
            source="Nobody's law: a customary rule of the house.",
        ),
        Rule(
            "house_campaign",
            "0.03",
            CAMPAIGN,
            verified=True,
            source="Nobody's law: the whole campaign at or under 3 %.",
        ),
    )
}


def rule(name: str, cap: float | str | None = None) -> Rule:
    """A rule of the table, with another cap if one is given. Raises InputError for a name that is not in
    it.
    """
    if name not in RULES:
        known = ", ".join(RULES)
        raise InputError(f"there is no abandonment rule {name!r}", Where(key="rules"), f"The table has {known}.")
    found = RULES[name]
    return found if cap is None else replace(found, cap=str(cap))


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call that was picked up, all instants in seconds on one clock; None for what did not happen or is not
    known.

    ``connect``: the answer signal; ``greeting_start``, ``greeting_end``: of the voice; ``agent``: an agent
    had the call; ``hung_up``: the person left. ``machine``: judged to be an answering machine and not given
    to an agent.
    """

    connect: float
    greeting_start: float | None = None
    greeting_end: float | None = None
    agent: float | None = None
    hung_up: float | None = None
    machine: bool = False

    def begin(self, start_point: StartPoint) -> float:
        """Where the clock starts; a start that was not observed falls back to the earlier one, which is
        stricter.
        """
        if start_point == "greeting_end" and self.greeting_end is not None:
            return self.greeting_end
        if start_point != "connect" and self.greeting_start is not None:
            return self.greeting_start
        return self.connect


def judge(rule: Rule, call: AnsweredCall) -> Outcome:
    """What a call was under a rule: handled, dropped or machine. The threshold is inclusive, to the
    microsecond.
    """
    if call.machine:
        return "machine"
    begin = call.begin(rule.start_point)
    limit = round(rule.threshold * 1e6)
    if call.agent is not None and round((call.agent - begin) * 1e6) <= limit:
        return "handled"
    left_early = call.agent is None and call.hung_up is not None and round((call.hung_up - begin) * 1e6) <= limit
    if left_early and not rule.early_hangup_counts:
        return "handled"
    return "dropped"


def abandonment(
    form: FormName, *, handled: float, dropped: float, machines: float = 0.0, false_positives: float = 0.0
) -> float:
    """The abandoned share, by one of the forms in use; 0 when the base is empty.

    ``handled``: live answers given to an agent; ``dropped``: live answers that were not; ``machines``:
    answers judged to be machines; ``false_positives``: the share of those that were people.

    - ``live`` (TSR, FCC): dropped / (handled + dropped).
    - ``live_with_amd`` (Ofcom with detection): (dropped + e) / (handled + dropped + e), e = false_positives *
      machines.
    - ``machines_deducted`` (Ofcom without detection, as VICIdial writes it): d' = dropped * (1 - machines /
      (handled + machines)), d' / (handled + d'). It equals ``answered`` for every input, which its authors do
      not say: d' is dropped * handled / (handled + machines), and handled cancels.
    - ``answered`` (VICIdial's statistics page): dropped / (handled + dropped + machines).
    """
    if form == "live":
        part, base = dropped, handled + dropped
    elif form == "live_with_amd":
        errors = false_positives * machines
        part, base = dropped + errors, handled + dropped + errors
    elif form == "machines_deducted":
        part = dropped * (1.0 - machines / (handled + machines)) if handled + machines else dropped
        base = handled + part
    else:
        part, base = dropped, handled + dropped + machines
    return part / base if base else 0.0
