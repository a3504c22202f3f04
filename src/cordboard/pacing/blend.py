"""Inbound callers and a campaign on the same agents: how many free agents outbound leaves alone.

With one kind of work that must be prompt and one that can wait, it is best, or nearly so, to begin the second only
while more agents than a threshold are free (Bhulai & Koole, IEEE Trans. Automatic Control 48(8):1434, 2003), and where
the load changes the threshold has to follow it (Legros, Jouini & Koole, IIE Trans. 47(4):414, 2015). Here it is
``safety * sqrt(load)``, as staffing is, with the inbound load in Erlang; and every caller whose wait is decided moves
the safety: one who waited too long by ``step * share`` up, one who did not by ``step * (1 - share)`` down. Summed over
n callers, the share of late ones is ``1 - share`` plus what the safety has moved over ``step * n``: the target is met
in the long run whatever the load is. Where the safety is at 0 it is met without a reserve; at ``SAFETY_MAX`` a center
that dials nothing would hardly do better.

What is in flight is exposed to the callers of the next seconds, too, so their number is predicted: by the rate of the
last ten minutes, moved into what those of the last one and the last three make likely.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from typing import Literal

from cordboard import words
from cordboard.errors import InputError, LimitError, StaleEventError, UnknownNameError, Where

InboundEvent = Literal["arrived", "connected", "left"]
INBOUND_EVENTS: tuple[InboundEvent, ...] = ("arrived", "connected", "left")
CALLERS_MAX = 1_000_000  # who wait at once
MEMORIES_S = (600.0, 180.0, 60.0)  # of the arrival rate; the first is the steady one
LIKELY = 0.5  # standard deviations of a short memory that the rate stays within
SAFETY_MAX = 2.0
HANDLE_S = 180.0  # of a call, before it is learned
RECENT = 50.0  # callers that the service level in the reason is about


class _Counted:
    """Arrivals with an exponential memory."""

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.weight = self.span = 0.0
        self.at = -math.inf

    def advance(self, now: float) -> None:
        if self.at > -math.inf:
            keep = math.exp((self.at - now) / self.memory)
            self.weight *= keep
            self.span = self.span * keep + self.memory * (1.0 - keep)
        self.at = now

    def likely(self) -> tuple[float, float]:
        """The rates that this memory makes likely; an exponential memory has half the variance of its count."""
        off = LIKELY * math.sqrt(0.5 * (self.weight + 1.0))
        return max(0.0, self.weight - off) / self.span, (self.weight + off) / self.span


class Blend:
    """What a campaign must know of the inbound callers of its agents.

    ``share`` of them should be answered within ``within`` seconds; one who gives up before counts as late. ``step``:
    how far a caller moves the safety, at most.
    """

    def __init__(self, share: float = 0.8, within: float = 20.0, *, step: float = 0.3) -> None:
        for name, value, high in (("share", share, 1.0), ("within", within, 1e6), ("step", step, SAFETY_MAX)):
            if not 0.0 < value < high:
                hint = f"Give more than 0, under {high:g}."
                raise InputError(f"{name} is {value!r}", Where(key=f"blend.{name}"), hint)
        self.share, self.within, self.step = share, within, step
        self.safety = 0.5
        self.handle = HANDLE_S
        self.in_time = share  # of the recent callers
        self.judged = 0
        self._arrived: dict[Hashable, float] = {}
        self._late: set[Hashable] = set()  # who still wait, and have been counted
        self._deadlines: deque[tuple[float, Hashable]] = deque()
        self._memories = tuple(_Counted(memory) for memory in MEMORIES_S)

    @property
    def waiting(self) -> int:
        """Callers who wait now."""
        return len(self._arrived)

    def reserve(self, now: float) -> int:
        """Free agents that are left to inbound."""
        return math.floor(self.safety * math.sqrt(self.rate(now) * self.handle))

    def observe(self, caller: Hashable, event: InboundEvent, now: float) -> None:
        """A caller has arrived, is connected to an agent, or left before."""
        if event not in INBOUND_EVENTS:
            hint = f"Use one of {', '.join(INBOUND_EVENTS)}."
            raise UnknownNameError(f"callers have no event {event!r}", Where(key="event"), hint)
        if event == "arrived" and caller in self._arrived:
            raise StaleEventError(f"the caller {caller!r} waits already", Where(key="caller"), "Check the order.")
        if event != "arrived" and caller not in self._arrived:
            raise StaleEventError(f"the caller {caller!r} does not wait", Where(key="caller"), "Check the order.")
        self.advance(now)
        if event == "arrived":
            if len(self._arrived) >= CALLERS_MAX:
                raise LimitError("too many inbound callers wait", CALLERS_MAX, "Report who was connected or left.")
            self._arrived[caller] = now
            self._deadlines.append((now + self.within, caller))
            for memory in self._memories:
                memory.weight += 1.0
            return
        del self._arrived[caller]
        if caller in self._late:
            self._late.remove(caller)
        else:
            self._judge(event == "connected")

    def advance(self, now: float) -> None:
        """Count those who wait too long by ``now``."""
        while self._deadlines and self._deadlines[0][0] < now:
            due, caller = self._deadlines.popleft()
            if self._arrived.get(caller, math.inf) + self.within <= due:
                self._late.add(caller)
                self._judge(False)
        for memory in self._memories:
            memory.advance(now)

    def _judge(self, in_time: bool) -> None:
        self.judged += 1
        self.safety = min(SAFETY_MAX, max(0.0, self.safety + self.step * (self.share - in_time)))
        self.in_time += (in_time - self.in_time) / min(RECENT, self.judged + 5.0)

    def rate(self, now: float) -> float:
        """Callers a second who are expected in the next ones."""
        self.advance(now)
        steady, *short = self._memories
        if steady.span < 1.0:
            return 0.0
        rate = steady.weight / steady.span
        for memory in short:
            low, high = memory.likely()
            rate = min(max(rate, low), high)
        return rate

    def text(self, lang: words.Lang) -> str:
        """Where inbound stands, in a clause."""
        return words.pick(
            lang,
            f"{100 * self.in_time:.0f} % of the last inbound callers within {self.within:g} s, "
            f"target {100 * self.share:g} %",
            f"最近呼入客户 {100 * self.in_time:.0f}% 在 {self.within:g} 秒内接通，目标 {100 * self.share:g}%",
        )
