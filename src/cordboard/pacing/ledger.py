"""How many calls may still be dropped, in every legal window at once.

**Windows with a fixed start** (day, month, period, campaign). At every instant the drops of the window so far
stay within the cap of its base so far. So the window is legal whenever it ends.

**Rolling windows.** A rolling window loses its old answers while a drop stays in it, so "the rate now is under the cap"
is not enough: a drop that is legal at 17:00 because of the morning's answers is in a window without them the next day.
What the future brings is not known, so nothing is assumed of it. The ledger keeps, for the window's length W, the cap c
and a least base m (``Rule.least``, or a share of the busiest window so far; m never falls)::

    for every x in [now - W, now]:   D(x, now] <= c * max(A(x, now], m)      (*)

where D and A are the drops and the base after x. If (*) holds whenever a drop is recorded, then *every*
interval (x, t] no longer than W has D <= c * max(A, m), for whatever comes later. Proof: let s be the last
drop in (x, t]; no drop follows it, so D(x, t] = D(x, s] <= c * max(A(x, s], m) <= c * max(A(x, t], m). And
(*) can't be weakened for that promise: if no answer came after now, the windows that end later are exactly
the (x, now] of (*). Without a least base no rolling rule can ever allow a drop, since the window that holds
that drop alone has a rate of 100 %.

Cost. With P_A, P_D the running totals and F = c * P_A - P_D, the slack of (*) at x is F(now) - F(x), so only the
largest F in the window matters: a deque that stays sorted, one entry for each time bucket (amortized O(1) an event, and
at most ``BUCKETS`` + 2 entries). The last floor(c * m) drops are kept one by one (in at most ``RECENT`` entries), since
for them ``m`` may be the base. A bucket leaves when all of it is older than W: windows up to W + W / BUCKETS long are
safe too. All sums are integers (millionths of a call times the cap's denominator): nothing is rounded.
"""

from __future__ import annotations

import datetime
import math
import zoneinfo
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cordboard import words
from cordboard.errors import InputError, Where
from cordboard.pacing.rules import AnsweredCall, Outcome, Rule, judge

CALL = 1_000_000  # a call, in the units of the sums: estimated machine errors are fractions of one
BUCKETS = 288  # of a rolling window: five minutes of a day
RECENT = 64  # entries for the drops that the least base may allow
UNLIMITED = 1 << 40  # drops; no campaign reaches it


@dataclass(frozen=True, slots=True)
class WindowState:
    """One rule's window now. ``dropped`` and ``base`` in calls, with estimated machine errors; ``budget``:
    drops that may still happen now; ``worst``: the highest rate that a window of this rule has ended with (a
    rolling window: that it has had when a call was counted) with at least ``Rule.floor_base`` calls in its
    base; ``since``: Unix seconds.
    """

    rule: Rule
    since: float
    dropped: float
    base: float
    budget: int
    worst: float

    @property
    def rate(self) -> float:
        """Share of the base that was dropped; 0 while it is empty."""
        return self.dropped / self.base if self.base else 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """The drops that may still happen now, and the window that says so. ``overdrawn``: that window is over
    its cap.
    """

    drops: int
    strictest: WindowState | None
    overdrawn: bool

    def text(self, lang: words.Lang) -> str:
        """One sentence for people."""
        if self.strictest is None:
            return words.pick(lang, "No rule limits drops.", "没有限制掉话的规则。")
        w = self.strictest
        label = w.rule.window.label(lang)
        return words.pick(
            lang,
            f"{self.drops} drops may still happen: {label} has {w.dropped:g} of {w.base:g} calls "
            f"({100 * w.rate:.2f} %, {w.rule.name} allows {100 * float(w.rule.share):g} %).",
            f"还可掉话 {self.drops} 次：{label}已掉 {w.dropped:g}／{w.base:g} 次"
            f"（{100 * w.rate:.2f}%，{w.rule.name} 上限 {100 * float(w.rule.share):g}%）。",
        )


class _Account:
    """What all windows share: the rule's integers and the sums in the window."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.up = rule.share.numerator
        self.down = rule.share.denominator
        self.strict = 1 if rule.below else 0  # in integers, "less than" is "at most, less one"
        self.least_units = rule.floor_base * CALL
        self.floor_units = self.up * self.least_units - self.strict  # what down * D may reach in a small window
        self.dropped = 0
        self.base = 0
        self.errors = 0  # of the drops, those that are estimated errors of machine detection
        self.worst = 0.0

    def room(self, slack: int, dropped: int) -> int:
        """Most further drops n, in units, with down * (D + n) <= up * max(A + n, least), given slack = up * A - down *
        D.
        """
        by_share = (slack - self.strict) // (self.down - self.up)
        by_floor = (self.floor_units - self.down * dropped) // self.down
        return by_share if by_share > by_floor else by_floor

    def note_worst(self) -> None:
        if self.base > 0 and self.up * self.base >= self.floor_units + self.strict:
            self.worst = max(self.worst, self.dropped / self.base)


class _Fixed(_Account):
    """A window with a fixed start: calendar day or month, period of days, campaign."""

    def __init__(self, rule: Rule, start: float, zone: zoneinfo.ZoneInfo) -> None:
        super().__init__(rule)
        self.zone = zone
        self.first_day = datetime.datetime.fromtimestamp(start, zone).date()
        self.since, self.until = self._bounds(start)
        if rule.window.kind in ("period", "campaign"):
            self.since = start

    def _bounds(self, t: float) -> tuple[float, float]:
        """The window that holds t, as Unix seconds [since, until)."""
        kind = self.rule.window.kind
        if kind == "campaign":
            return t, math.inf
        day = datetime.datetime.fromtimestamp(t, self.zone).date()
        if kind == "day":
            first, last = day, day + datetime.timedelta(days=1)
        elif kind == "month":
            first = day.replace(day=1)
            last = (first + datetime.timedelta(days=32)).replace(day=1)
        else:
            days = self.rule.window.days
            first = self.first_day + datetime.timedelta(days=(day - self.first_day).days // days * days)
            last = first + datetime.timedelta(days=days)
        return self._midnight(first), self._midnight(last)

    def _midnight(self, day: datetime.date) -> float:
        return datetime.datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp()

    def advance(self, t: float) -> None:
        if t >= self.until:
            self.note_worst()
            self.since, self.until = self._bounds(t)
            self.dropped = self.base = self.errors = 0

    def add(self, dropped: int, base: int, errors: int = 0) -> None:
        self.dropped += dropped
        self.base += base
        self.errors += errors

    def budget(self) -> int:
        return self.room(self.up * self.base - self.down * self.dropped, self.dropped)

    def state(self) -> WindowState:
        worst = self.worst
        if self.base >= max(1, self.rule.floor_base) * CALL:  # the open window, as if it ended now
            worst = max(worst, self.dropped / self.base)
        return WindowState(self.rule, self.since, self.dropped / CALL, self.base / CALL, self.budget() // CALL, worst)

    def save(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("since", "dropped", "base", "errors", "worst")}

    def load(self, saved: dict[str, Any]) -> None:
        for name, value in saved.items():
            setattr(self, name, value)
        self.until = self._bounds(self.since)[1]


class _Rolling(_Account):
    """A rolling window; the module's docstring has the method and its proof."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.width = rule.window.seconds / BUCKETS
        self.bucket = 0
        self.buckets: deque[list[int]] = deque()  # [bucket, dropped, base, errors], of the window
        self.total_dropped = 0
        self.total_base = 0
        self.busiest = 0  # the largest base of a window so far
        self.grain = self._grain()  # of the entries of recent drops
        # The starts x just before a drop. recent: [bucket, F(x), P_D(x)], of the last drops; old: [bucket,
        # F(x)], F falling.
        self.recent: deque[list[int]] = deque()
        self.old: deque[list[int]] = deque()

    def _grain(self) -> int:
        return max(1, self.floor_units // (self.down * CALL * RECENT)) * CALL

    def _f(self) -> int:
        return self.up * self.total_base - self.down * self.total_dropped

    def advance(self, t: float) -> None:
        bucket = math.floor(t / self.width)
        if bucket == self.bucket:
            return
        self.bucket = bucket
        gone = bucket - BUCKETS - 1  # all of it is at least a window's length ago
        buckets = self.buckets
        while buckets and buckets[0][0] <= gone:
            _, dropped, base, errors = buckets.popleft()
            self.dropped -= dropped
            self.base -= base
            self.errors -= errors
            self.note_worst()
        while self.recent and self.recent[0][0] <= gone:
            self.recent.popleft()
        while self.old and self.old[0][0] <= gone:
            self.old.popleft()

    def add(self, dropped: int, base: int, errors: int = 0) -> None:
        if dropped:
            self._mark_start()
        self.dropped += dropped
        self.base += base
        self.errors += errors
        if self.base > self.busiest:
            self.busiest = self.base
            least = max(self.least_units, int(self.rule.least_share * self.base))
            self.floor_units = self.up * least - self.strict
            self.grain = self._grain()
        self.total_dropped += dropped
        self.total_base += base
        buckets = self.buckets
        if buckets and buckets[-1][0] == self.bucket:
            buckets[-1][1] += dropped
            buckets[-1][2] += base
            buckets[-1][3] += errors
        else:
            buckets.append([self.bucket, dropped, base, errors])
        if dropped:
            self._age_starts()
            self.note_worst()

    def _mark_start(self) -> None:
        """Remember the instant before this drop. Fractions of one call share an entry, and so do a few drops where the
        least base allows more than ``RECENT``; that makes it stricter, by at most the drops that share one."""
        f, recent = self._f(), self.recent
        if recent and self.total_dropped - recent[-1][2] < self.grain:
            recent[-1][0] = self.bucket
            recent[-1][1] = max(recent[-1][1], f)
        else:
            recent.append([self.bucket, f, self.total_dropped])

    def _age_starts(self) -> None:
        """Move the starts for which the least base no longer allows even the drops that happened."""
        recent, old = self.recent, self.old
        while recent and self.down * (self.total_dropped - recent[0][2]) > self.floor_units:
            bucket, f, _ = recent.popleft()
            while old and old[-1][1] <= f:  # an older and smaller F never binds
                old.pop()
            if not old or old[-1][0] != bucket:  # nor a smaller one that leaves with its elder
                old.append([bucket, f])

    def budget(self) -> int:
        f = self._f()
        room = self.room(0, 0)  # the window that starts now
        if self.old:
            room = min(room, (f - self.old[0][1] - self.strict) // (self.down - self.up))
        for _, then, dropped in self.recent:
            if self.down * (self.total_dropped - dropped + room) <= self.floor_units:
                break  # the least base allows so many since then, and more since any later start
            room = min(room, self.room(f - then, self.total_dropped - dropped))
        return room

    def state(self) -> WindowState:
        since = (self.bucket - BUCKETS) * self.width
        return WindowState(self.rule, since, self.dropped / CALL, self.base / CALL, self.budget() // CALL, self.worst)

    def save(self) -> dict[str, Any]:
        names = (
            "bucket",
            "dropped",
            "base",
            "errors",
            "total_dropped",
            "total_base",
            "busiest",
            "floor_units",
            "grain",
            "worst",
        )
        saved: dict[str, Any] = {name: getattr(self, name) for name in names}
        for name in ("buckets", "recent", "old"):
            saved[name] = [list(entry) for entry in getattr(self, name)]
        return saved

    def load(self, saved: dict[str, Any]) -> None:
        for name, value in saved.items():
            setattr(self, name, deque(list(entry) for entry in value) if isinstance(value, list) else value)


class Ledger:
    """Counts answered calls in every rule's window and says how many drops may still happen.

    ``rules``: the rules that bind the campaign, all at once. ``start``: the campaign's first instant; all
    times are Unix seconds and may not go back. ``time_zone``: of the calendar windows (an IANA name).
    ``false_positives``: the estimated share of people among the calls judged to be machines.
    """

    def __init__(
        self, rules: Iterable[Rule], *, start: float, time_zone: str = "UTC", false_positives: float = 0.0
    ) -> None:
        self.rules: Sequence[Rule] = tuple(rules)
        if len({r.name for r in self.rules}) < len(self.rules):
            raise InputError("two rules have one name", Where(key="rules"), "Give each rule a name of its own.")
        if not math.isfinite(start):
            raise InputError(f"{start} is not an instant", Where(key="start"), "Give Unix seconds.")
        self.start = start
        self.now = start
        self.time_zone = time_zone
        try:
            zone = zoneinfo.ZoneInfo(time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            hint = "Use an IANA name such as Asia/Shanghai."
            raise InputError(f"there is no time zone {time_zone!r}", Where(key="time_zone"), hint) from None
        self.set_false_positives(false_positives)
        self._windows = [_Rolling(r) if r.window.kind == "rolling" else _Fixed(r, start, zone) for r in self.rules]
        self._advance(start)

    def set_false_positives(self, share: float) -> None:
        """Use another estimate from now on; what was counted stays counted."""
        if not 0 <= share <= 1:
            hint = "It is the share of people among the calls judged to be machines, 0 to 1."
            raise InputError(f"{share} is not a share", Where(key="false_positives"), hint)
        self.false_positives = share
        self._error_units = math.ceil(share * CALL)

    def _advance(self, now: float) -> None:
        if not now >= self.now:  # also NaN
            hint = "Feed the calls in the order in which they ended."
            raise InputError(f"time goes back from {self.now} to {now}", Where(key="t"), hint)
        self.now = now
        for window in self._windows:
            window.advance(now)

    def handled(self, t: float) -> None:
        """A person answered and had an agent in time."""
        self._advance(t)
        for window in self._windows:
            window.add(0, CALL)

    def dropped(self, t: float) -> None:
        """A person answered and had no agent in time."""
        self._advance(t)
        for window in self._windows:
            window.add(CALL, CALL)

    def machine(self, t: float) -> None:
        """A call was judged to be an answering machine and not given to an agent."""
        self._advance(t)
        for window in self._windows:
            self._add_machine(window)

    def record(self, t: float, call: AnsweredCall) -> tuple[Outcome, ...]:
        """Count a call at the time ``t`` at which its outcome became known; the outcome under each rule, in
        order.
        """
        self._advance(t)
        outcomes = []
        for window in self._windows:
            outcome = judge(window.rule, call)
            if outcome == "machine":
                self._add_machine(window)
            else:
                window.add(CALL if outcome == "dropped" else 0, CALL)
            outcomes.append(outcome)
        return tuple(outcomes)

    def _add_machine(self, window: _Fixed | _Rolling) -> None:
        form = window.rule.form
        if form == "live_with_amd":
            if self._error_units:
                window.add(self._error_units, self._error_units, self._error_units)
        elif form != "live":  # d' / (H + d') <= c just when d / (H + AM + d) <= c: see rules.abandonment
            window.add(0, CALL)

    def budget(self, now: float) -> Budget:
        """How many drops may still happen at ``now``, in the strictest window."""
        self._advance(now)
        least, strictest = UNLIMITED * CALL, None
        for window in self._windows:
            room = window.budget()
            if room < least:
                least, strictest = room, window
        state = strictest.state() if strictest is not None else None
        return Budget(max(0, least // CALL), state, least < 0)

    def drops_left(self, now: float) -> int:
        """``budget(now).drops``, without the words. Negative when a window is overdrawn."""
        return math.floor(self.leeway(now))

    def leeway(self, now: float) -> float:
        """Drops that may still happen, with the part of the next one that has been earned already: for the pacing
        loop.
        """
        self._advance(now)
        return min((window.budget() for window in self._windows), default=UNLIMITED * CALL) / CALL

    def infeasible(self, now: float) -> Rule | None:
        """The first rule whose cap the estimated errors of machine detection alone exceed, or None.

        A window with fewer calls than ``Rule.floor_base``, or than a hundred, says nothing yet.
        """
        self._advance(now)
        for window in self._windows:
            people = window.base - window.dropped + window.errors  # as if nothing but errors had been dropped
            if people >= max(100, window.rule.floor_base) * CALL and window.down * window.errors > window.up * people:
                return window.rule
        return None

    def windows(self, now: float) -> tuple[WindowState, ...]:
        """Every rule's window at ``now``, in the order of the rules."""
        self._advance(now)
        return tuple(window.state() for window in self._windows)

    def save(self) -> dict[str, Any]:
        """All of it as JSON values; ``Ledger.load`` makes an equal ledger of them."""
        return {
            "now": self.now,
            "start": self.start,
            "time_zone": self.time_zone,
            "false_positives": self.false_positives,
            "windows": {w.rule.name: w.save() for w in self._windows},
        }

    @classmethod
    def load(cls, rules: Iterable[Rule], saved: dict[str, Any]) -> Ledger:
        """The ledger that was saved. The rules must be those it was saved with; raises InputError
        otherwise.
        """
        ledger = cls(
            rules,
            start=saved["start"],
            time_zone=saved["time_zone"],
            false_positives=saved["false_positives"],
        )
        if {r.name for r in ledger.rules} != set(saved["windows"]):
            hint = f"Give these rules: {', '.join(saved['windows'])}."
            raise InputError("the saved ledger was kept under other rules", Where(key="rules"), hint)
        for window in ledger._windows:
            window.load(saved["windows"][window.rule.name])
        ledger.now = saved["now"]
        return ledger
