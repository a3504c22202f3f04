"""The people of the demo: callers who wait or give up, agents who pick up or don't, shifts and lunches.

``Day`` owns the clock and the calendar of what people will do; it hands every event to ``cordboard.Acd`` and lets the
effects change the calendar. The same seed gives the same day.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cordboard.acd import Acd
from cordboard.center import Center
from cordboard.kpi import QueueTallies, Tally

OPEN_S = 9 * 3600.0
CLOSE_S = 17 * 3600.0
HALF_HOUR_S = 1800.0
DECISIONS_KEPT = 200
CALLBACK_SHARE = 0.25  # of those who give up, come back


@dataclass(frozen=True, slots=True)
class Stream:
    """How the callers of one queue behave. ``per_hour`` at the busiest time; the others are means in seconds."""

    per_hour: float
    talk_s: float
    patience_s: float
    vip_share: float = 0.0


STREAMS: dict[str, Stream] = {
    "billing": Stream(84, 240, 240),
    "support": Stream(60, 330, 300),
    "sales": Stream(54, 270, 150),
    "vip": Stream(8, 300, 200),
    "chat": Stream(40, 420, 600),
}
# Share of the peak by half hour of the day from 9:00 on: a morning peak, a dip at lunch, a smaller peak at three.
PROFILE = (0.55, 0.8, 0.95, 1.0, 0.95, 0.85, 0.6, 0.6, 0.75, 0.9, 0.95, 0.9, 0.75, 0.65, 0.5, 0.35)


@dataclass(order=True, slots=True)
class Appointment:
    """Something that someone will do at ``t``; ``seq`` breaks ties in the order of making."""

    t: float
    seq: int
    act: Callable[[], None] = field(compare=False)
    valid: bool = field(default=True, compare=False)


class Day:
    """One simulated day of a center, from nine to five and until the last caller is gone."""

    def __init__(self, center: Center, seed: int) -> None:
        self.center = center
        self.seed = seed
        self.acd = Acd(center, seed=seed)
        self.acd.learn_waits()
        self.now = OPEN_S
        self.journal: list[dict[str, Any]] = []
        self.tallies = QueueTallies({q.name: q.target_within for q in center.queues})
        self.half_hours: dict[int, Tally] = {}
        self.decisions: list[dict[str, Any]] = []
        self.announced: list[tuple[str, float]] = []  # contact and the p90 of its wait that it was told
        self.waited: dict[str, float] = {}  # contact that an agent answered -> its wait
        self.missed: list[str] = []  # contacts whose first agent did not pick up
        self.listeners: list[Callable[[dict[str, Any] | None, list[dict[str, Any]]], None]] = []
        self._calendar: list[Appointment] = []
        self._seq = 0
        self._random = random.Random(seed)
        self._calls = 0
        self._talk_s: dict[str, float] = {}  # contact -> how long it will talk
        self._patience: dict[str, Appointment] = {}
        self._came: dict[str, tuple[str, float]] = {}  # callers: queue and time of arrival
        self._within = {queue.name: queue.target_within for queue in center.queues}
        self._answers: dict[tuple[str, str], Appointment] = {}  # open offers that an agent will pick up
        self._plan_shifts()
        for queue in STREAMS:
            self._plan_arrival(queue)

    # -- the calendar ---------------------------------------------------------------------------------------------

    def at(self, t: float, act: Callable[[], None]) -> Appointment:
        """Do ``act`` at ``t``."""
        self._seq += 1
        one = Appointment(t, self._seq, act)
        heapq.heappush(self._calendar, one)
        return one

    def run(self) -> Iterator[float]:
        """Live through the day; yields the time after everything that happens."""
        while True:
            while self._calendar and not self._calendar[0].valid:
                heapq.heappop(self._calendar)
            timer = self.acd.next_timer()
            if self._calendar and (timer is None or self._calendar[0].t < timer):
                one = heapq.heappop(self._calendar)
                self.now = one.t
                one.act()
            elif timer is not None:
                self.now = timer
                self._settle(None, self.acd.advance(timer))
            else:
                return
            yield self.now

    def post(self, event: str, **fields: Any) -> None:
        """Hand one event to the engine, and let its effects change what people will do."""
        line = {"t": self.now, "event": event, **fields}
        self.journal.append(line)
        self._settle(line, self.acd.apply(line))

    def _settle(self, event: dict[str, Any] | None, effects: list[dict[str, Any]]) -> None:
        self.tallies.observe(event, effects)
        for effect in effects:
            handler = getattr(self, f"_on_{effect['effect']}", None)
            if handler is not None:
                handler(effect)
        for listener in self.listeners:
            listener(event, effects)

    def _half_hour(self, t: float) -> Tally:
        """The tally of the half hour of ``t``: a caller counts in the half hour of arrival."""
        return self.half_hours.setdefault(int((t - OPEN_S) // HALF_HOUR_S), Tally())

    # -- callers --------------------------------------------------------------------------------------------------

    def _rate(self, queue: str, t: float) -> float:
        slot = int((t - OPEN_S) // HALF_HOUR_S)
        return STREAMS[queue].per_hour / 3600 * (PROFILE[slot] if 0 <= slot < len(PROFILE) else 0.0)

    def _plan_arrival(self, queue: str) -> None:
        """The next caller, by thinning a Poisson stream at the peak rate (Lewis and Shedler, 1979)."""
        peak = STREAMS[queue].per_hour / 3600
        t = self.now
        while t < CLOSE_S:
            t += self._random.expovariate(peak)
            if t < CLOSE_S and self._random.random() < self._rate(queue, t) / peak:
                self.at(t, lambda: self._arrive(queue))
                return

    def _arrive(self, queue: str, customer: str | None = None) -> None:
        self._calls += 1
        contact = f"{queue[0]}{self._calls}"
        who = customer or f"u{self._random.randrange(4000)}"
        stream = STREAMS[queue]
        self._talk_s[contact] = self._lognormal(stream.talk_s, 0.8)
        patience = self._random.expovariate(1 / stream.patience_s)
        self._came[contact] = (queue, self.now)
        self._half_hour(self.now).offered += 1
        self._patience[contact] = self.at(self.now + patience, lambda: self._give_up(contact, queue, who))
        self.post("contact_queued", contact=contact, queue=queue, customer=who)
        self._announce(contact)
        if customer is None:
            self._plan_arrival(queue)

    def _announce(self, contact: str) -> None:
        """Tell who has to wait how long, as a voice would; the report judges it at the end of the day."""
        if contact in self._patience and not any(key[0] == contact for key in self._answers):
            self.announced.append((contact, self.acd.estimate_wait(contact).p90))

    def _give_up(self, contact: str, queue: str, customer: str) -> None:
        self._forget(contact)
        self.post("contact_left", contact=contact)
        if self._random.random() < CALLBACK_SHARE and self.now < CLOSE_S - 1800:
            self.at(self.now + self._random.uniform(120, 900), lambda: self._arrive(queue, customer))

    def _forget(self, contact: str) -> None:
        waiting = self._patience.pop(contact, None)
        if waiting is not None:
            waiting.valid = False
        self._talk_s.pop(contact, None)

    # -- agents ---------------------------------------------------------------------------------------------------

    def _plan_shifts(self) -> None:
        for i, agent in enumerate(self.center.agents):
            self.at(OPEN_S + self._random.uniform(-600, 30), lambda a=agent.name: self.post("agent_ready", agent=a))
            lunch = OPEN_S + 3 * 3600 + (i % 4) * 1800
            self.at(lunch, lambda a=agent.name: self.post("agent_away", agent=a, reason="lunch"))
            self.at(lunch + 1800, lambda a=agent.name: self.post("agent_ready", agent=a))
            self.at(CLOSE_S + 900, lambda a=agent.name: self.post("agent_offline", agent=a))

    def _on_offer(self, effect: dict[str, Any]) -> None:
        contact, agent = effect["contact"], effect["agent"]
        self.decisions.append(effect)
        del self.decisions[:-DECISIONS_KEPT]
        automatic = effect["queue"] == "campaign"
        picks_up = automatic or self._random.random() > 0.03  # 3 in 100 are missed: a headset, a coffee
        if picks_up:
            after = 0.0 if automatic else self._random.uniform(1.5, 4.0)
            self._answers[contact, agent] = self.at(self.now + after, lambda: self._pick_up(contact, agent))

    def _pick_up(self, contact: str, agent: str) -> None:
        del self._answers[contact, agent]
        waiting = self._patience.pop(contact, None)
        if waiting is not None:
            waiting.valid = False
        self.post("offer_accepted", contact=contact, agent=agent)
        if contact in self._came:
            queue, came = self._came.pop(contact)
            self.waited[contact] = self.now - came
            self._half_hour(came).answered_in += self.now - came <= self._within[queue]
        self.at(self.now + self._talk_s.pop(contact), lambda: self.post("contact_ended", contact=contact))

    def _on_offer_withdrawn(self, effect: dict[str, Any]) -> None:
        pending = self._answers.pop((effect["contact"], effect["agent"]), None)
        if pending is not None:
            pending.valid = False

    def _on_offer_expired(self, effect: dict[str, Any]) -> None:
        self.missed.append(effect["contact"])
        self._on_offer_withdrawn(effect)

    def _on_contact_expired(self, effect: dict[str, Any]) -> None:
        if effect["to"] is None:
            self._forget(effect["contact"])

    def _on_contact_rejected(self, effect: dict[str, Any]) -> None:
        self._forget(effect["contact"])

    def _on_agent_away(self, effect: dict[str, Any]) -> None:
        agent = effect["agent"]  # set away for missing calls: a look at the headset, and back
        self.at(self.now + 180, lambda: self.post("agent_ready", agent=agent))

    # -- outbound -------------------------------------------------------------------------------------------------

    def answered_outbound(self, contact: str, customer: str, talk_s: float) -> None:
        """A live answer of the campaign enters its queue; it finds an agent within 2 s or counts as abandoned."""
        self._talk_s[contact] = talk_s
        self.post("contact_queued", contact=contact, queue="campaign", customer=customer)

    def _lognormal(self, mean: float, cv: float) -> float:
        s2 = math.log(1 + cv * cv)
        return self._random.lognormvariate(math.log(mean) - s2 / 2, math.sqrt(s2))
