"""The outbound campaign of the demo: made-up leads, a real Pacer, a real AnswerModel.

The world knows each lead's true answer probability; the campaign knows only what an AnswerModel has learned from the
calls that ended before.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from cordboard.demo.day import DAY_S, OPENS_AT_S, TEAM_QUEUE, DemoDay
from cordboard.demo.leads import SEGMENTS, Lead, LeadModel
from cordboard.pacing.modes import Limits
from cordboard.pacing.pacer import Leads, Pacer, Plan

HELPED = ("sales", "billing")  # inbound queues that the outbound team helps when callers wait
TARGET = 0.03
START_S = 1800.0
LEADS = 9000
LASTING_S = 60.0
GROUPS = 4  # of leads, by predicted answer probability
PACER_STATES = {"ready": "idle", "offered": "talk", "connected": "talk", "wrap_up": "wrap"}


def answer_probability(lead: Lead, t: float) -> float:
    """The truth of this world: who answers when. The campaign never sees it."""
    hour = (OPENS_AT_S + t) / 3600
    logit = {"new": -1.6, "customer": -0.5, "lapsed": -1.1}[lead.segment]
    logit += 0.5 if lead.mobile else 0.0
    logit += 0.012 * (lead.age - 45)
    logit += 0.5 * math.exp(-(((hour - 16.0) / 1.2) ** 2)) - 0.4 * math.exp(-(((hour - 12.5) / 0.7) ** 2))
    return 1 / (1 + math.exp(-logit))


class Campaign:
    """Dials the leads through the day, by what the model has learned of them so far."""

    def __init__(self, day: DemoDay, seed: int, model: LeadModel) -> None:
        self.day = day
        self.pacer = Pacer(target=TARGET, limits=Limits(lines=60, calls_per_second=5, inbound_waiting=3))
        self.model = model
        self.plan: Plan | None = None
        self.reasons: list[tuple[float, str, str]] = []  # when the reason changed: time, English, Chinese
        self.dials = self.answered = self.drops = self.machines = 0
        self.busy_s = self.staffed_s = 0.0
        self.scores: list[tuple[float, float, bool]] = []  # predicted, true probability, answered
        self._random = random.Random(f"campaign {seed}")
        self._team = [agent.name for agent in day.center.agents if TEAM_QUEUE in (agent.queues or {})]
        self._state = dict.fromkeys(self._team, "away")
        self._counted_at = 0.0
        self._groups: list[deque[Lead]] = [deque() for _ in range(GROUPS)]
        self._p: list[float] = [0.0] * GROUPS
        self._ringing: set[str] = set()
        self._lead_of: dict[str, tuple[Lead, float, float]] = {}
        self._looks = 0
        self._pacing = False
        self._fill(LEADS)
        day.live.at(START_S, self._sort)
        day.live.listeners.append(self._listen)

    # -- leads ----------------------------------------------------------------------------------------------------

    def _fill(self, count: int) -> None:
        draw = self._random
        for number in range(count):
            lead = Lead(number, draw.choice(SEGMENTS), draw.random() < 0.6, draw.randint(20, 80))
            self._groups[0].append(lead)

    def _sort(self) -> None:
        """Put the leads left into groups by what is predicted of them now; again every half hour."""
        now = self.day.now
        scored = sorted(
            ((self.model.predict(lead, now), lead) for group in self._groups for lead in group),
            key=lambda pair: (-pair[0], pair[1].number),
        )
        size = math.ceil(len(scored) / GROUPS) or 1
        parts = [scored[i * size : (i + 1) * size] for i in range(GROUPS)]
        self._groups = [deque(lead for _, lead in part) for part in parts]
        self._p = [sum(p for p, _ in part) / len(part) if part else 0.0 for part in parts]
        if now + 1800 < DAY_S:
            self.day.live.at(now + 1800, self._sort)
        self._pace()

    # -- what the pacer is told -----------------------------------------------------------------------------------

    def _listen(self, event: dict[str, Any] | None, effects: list[dict[str, Any]]) -> None:
        for effect in effects:
            call = effect.get("contact")
            if effect["effect"] == "contact_expired" and call in self._lead_of:
                self.pacer.call(call, "dropped", self.day.now)
                self.drops += 1
        if event is not None and event["event"] == "offer_accepted" and event["contact"] in self._lead_of:
            self.pacer.call(event["contact"], "connected", self.day.now)
        state = self.day.acd.state()
        self._watch_team(state["agents"])
        self.pacer.inbound(sum(state["queues"][name]["waiting"] for name in HELPED), self.day.now)
        self._pace()

    def _watch_team(self, agents: dict[str, Any]) -> None:
        now = self.day.now
        for name in self._team:
            state = PACER_STATES.get(agents[name]["state"], "away")
            held = self._state[name]
            if START_S <= now <= DAY_S and held != "away":
                self.staffed_s += now - self._counted_at
                self.busy_s += (now - self._counted_at) * (held in ("talk", "wrap"))
            if state != held:
                self._state[name] = state
                self.pacer.agent(name, state, now)  # type: ignore[arg-type]
        self._counted_at = now

    # -- dialing --------------------------------------------------------------------------------------------------

    def _pace(self) -> None:
        if self._pacing or not START_S <= self.day.now < DAY_S:
            return
        self._pacing = True
        now = self.day.now
        plan = self.pacer.plan(now, [Leads(p, len(group)) for p, group in zip(self._p, self._groups, strict=True)])
        if self.plan is None or plan.reason != self.plan.reason:
            self.reasons.append((now, plan.en, plan.zh))
        self.plan = plan
        for call in plan.cancel:
            self._hang_up(str(call))
        ids = iter(plan.ids)
        for group, count in enumerate(plan.dial):
            for _ in range(count):
                self._dial(f"o{next(ids)}", group)
        self._pacing = False
        self._looks += 1
        look = self._looks
        self.day.live.at(max(plan.look, now + 0.05), lambda: self._look_again(look))

    def _look_again(self, look: int) -> None:
        if look == self._looks:  # else the pacer has been asked since
            self._pace()

    def _dial(self, call: str, group: int) -> None:
        lead = self._groups[group].popleft()
        now, draw = self.day.now, self._random
        predicted, truth = self.model.expect(call, lead, now), answer_probability(lead, now)
        self._lead_of[call] = (lead, predicted, truth)
        self.dials += 1
        self.pacer.call(call, "placed", now, p=predicted, group=group)
        if draw.random() < truth:
            self._later(call, 2 + draw.gammavariate(4, 2), self._answer)
        elif draw.random() < 0.25:
            self._later(call, 3.0, lambda call: self._end(call, "failed"))
        elif draw.random() < 0.25:
            self._later(call, draw.uniform(18, 22), lambda call: self._end(call, "machine"))
        else:
            self._later(call, 26.0, lambda call: self._end(call, "failed"))

    def _later(self, call: str, seconds: float, act: Callable[[str], None]) -> None:
        self._ringing.add(call)
        self.day.live.at(self.day.now + seconds, lambda: act(call) if call in self._ringing else None)

    def _answer(self, call: str) -> None:
        self._ringing.remove(call)
        self.answered += 1
        self._outcome(call, "person")
        self.pacer.call(call, "answered", self.day.now)
        self.day.live.call(call, TEAM_QUEUE, self.day.now, service=self._random.lognormvariate(4.5, 0.75))

    def _end(self, call: str, how: str) -> None:
        self._ringing.remove(call)
        self.machines += how == "machine"
        self._outcome(call, "machine" if how == "machine" else "no_answer")
        self.pacer.call(call, how, self.day.now)  # type: ignore[arg-type]
        self._pace()

    def _hang_up(self, call: str) -> None:
        if call in self._ringing:
            self._ringing.remove(call)
            self._outcome(call, "no_answer")
            self.pacer.call(call, "cancelled", self.day.now)

    def _outcome(self, call: str, outcome: str) -> None:
        _, predicted, truth = self._lead_of[call]
        self.scores.append((predicted, truth, outcome == "person"))
        self.model.learn(call, outcome, self.day.now)

    def turns(self, most: int = 8) -> list[tuple[float, str, str]]:
        """When the mode of dialing changed for longer than a moment, and why; the first ones of the day."""
        lasting: list[tuple[float, str, str]] = []
        for one, after in zip(self.reasons, [*self.reasons[1:], (math.inf, "", "")], strict=True):
            if after[0] - one[0] >= LASTING_S and (not lasting or lasting[-1][1] != one[1]):
                lasting.append(one)
        return lasting[:most]
