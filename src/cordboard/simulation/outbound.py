"""Campaigns in a live day: real pacers over its agents, and a world of people who answer or do not.

The pacers hear what live ones would: agents' states as the routing engine shows them, what becomes of each call, and
the inbound callers of the same agents. Whoever answers is queued in the routing engine like any contact; who finds no
agent in time leaves it, and that is a drop.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard.pacing.blend import Blend
from cordboard.pacing.group import PacerGroup
from cordboard.pacing.pacer import AgentState, CallEvent, Leads, Pacer, Plan
from cordboard.simulation.campaign_result import AT, COLUMNS
from cordboard.simulation.campaigns import Campaign, teams
from cordboard.simulation.laws import Uniform
from cordboard.simulation.live import Day

PACED_AS: dict[str, AgentState] = {"ready": "idle", "offered": "talk", "connected": "talk", "wrap_up": "wrap"}
SOONEST_S = 0.001  # to the next look
MINUTE_S = 60.0
_UNIT = Uniform(0.0, 1.0)


@dataclass(slots=True)
class _Dial:
    id: str
    group: int
    lead: int
    attempt: int
    ringing: bool = True


@dataclass
class Dialing:
    """One campaign as it goes. ``minutes``: counts, shape (minutes, COLUMNS). ``reasons``: seconds under each reason of
    its plans.
    """

    campaign: Campaign
    number: int
    pacer: Pacer
    minutes: npt.NDArray[np.int64]
    end: float
    due: list[deque[tuple[int, int]]] = field(default_factory=list)  # of each group: (lead, attempt) to dial again
    fresh: list[int] = field(default_factory=list)  # next lead of each group that was never dialed
    calls: dict[str, _Dial] = field(default_factory=dict)
    reasons: dict[str, float] = field(default_factory=dict)
    plan: Plan | None = None

    def count(self, name: str, now: float) -> None:
        """One more of a column."""
        self.minutes[min(int(now // MINUTE_S), len(self.minutes) - 1), AT[name]] += 1

    def begun(self, now: float) -> bool:
        """Whether it dials at this time of the day."""
        return self.campaign.start <= now < self.end

    def leads(self, now: float, lines: int) -> list[Leads]:
        """What the pacer may dial of each group."""
        on = self.begun(now)
        found = []
        for group, fresh, due in zip(self.campaign.leads, self.fresh, self.due, strict=True):
            left = min(group.count - fresh + len(due), lines) if on else 0
            found.append(Leads(group.answer_at(now) if group.told else None, left))
        return found


class Team:
    """Agents, and the campaigns that they serve."""

    def __init__(self, day: Day, agents: tuple[str, ...], campaigns: list[tuple[int, Campaign]]) -> None:
        self.day = day
        self.agents = dict.fromkeys(agents, ("away", False))
        others = _inbound_queues(day, agents)
        self.inbound_queues = {name for name, _, _ in others}
        blend = _blend(others, campaigns)
        self.dialings = {one.label: _dialing(day, number, one, blend) for number, one in campaigns}
        self.group = PacerGroup(
            {name: dialing.pacer for name, dialing in self.dialings.items()},
            weights={one.label: one.weight for _, one in campaigns},
        )
        self._inbound: set[str] = set()  # who wait
        self._of: dict[str, Dialing] = {}  # answered calls in the center
        self._asked = False
        self._look = self._set = math.inf
        self._planned = 0.0
        for agent in agents:
            self.group.agent(agent, "away", 0.0)
        day.listeners.append(self._listen)
        for _, one in campaigns:
            day.at(one.start, self._dirty)

    # ---- what the pacers are told

    def _listen(self, event: dict[str, Any] | None, effects: list[dict[str, Any]]) -> None:
        if event is not None:
            self._heard(event)
        for effect in effects:
            kind, contact = effect["effect"], effect.get("contact")
            if kind == "contact_rejected" or (kind == "contact_expired" and effect["to"] is None):
                self._lost(str(contact))
        for name in self.day.touched(event, effects):
            if name in self.agents:
                self._watch(name)
        self._dirty()

    def _heard(self, event: dict[str, Any]) -> None:
        kind, contact, now = event["event"], event.get("contact"), self.day.now
        if kind == "contact_queued" and event["queue"] in self.inbound_queues and contact not in self._of:
            self._inbound.add(event["contact"])
            self.group.inbound_call(event["contact"], "arrived", now)
        elif kind == "offer_accepted":
            dialing = self._of.pop(event["contact"], None)
            if dialing is not None:
                dialing.count("connected", now)
                self.group.call(dialing.campaign.label, event["contact"], "connected", now)
            elif contact in self._inbound:
                self._inbound.remove(event["contact"])
                self.group.inbound_call(event["contact"], "connected", now)
        elif kind == "contact_left":
            self._lost(event["contact"])

    def _lost(self, contact: str) -> None:
        dialing = self._of.pop(contact, None)
        if dialing is not None:
            dialing.count("drops", self.day.now)
            self.group.call(dialing.campaign.label, contact, "dropped", self.day.now)
        elif contact in self._inbound:
            self._inbound.remove(contact)
            self.group.inbound_call(contact, "left", self.day.now)

    def _watch(self, name: str) -> None:
        shown = self.day.acd.agent_state(name)
        state = PACED_AS.get(shown["state"], "away")
        leaving = state != "away" and shown["presence"] != "ready"
        if (state, leaving) != self.agents[name]:
            self.agents[name] = (state, leaving)
            self.group.agent(name, state, self.day.now, leaving=leaving)

    # ---- asking them, once an instant

    def _dirty(self) -> None:
        if not self._asked:
            self._asked = True
            self.day.at(self.day.now, self._pace)

    def _pace(self) -> None:
        self._asked = False
        now, lines = self.day.now, self.day.lines_free()
        leads = {name: dialing.leads(now, lines) for name, dialing in self.dialings.items()}
        if not self.day.dialing and not any(one.begun(now) for one in self.dialings.values()):
            self._remember(now, {})
            return
        plans = self.group.plan(now, leads)
        self._remember(now, plans)
        for name, plan in plans.items():
            self._obey(self.dialings[name], plan, now)
        self._look = max(min(plan.look for plan in plans.values()), now + SOONEST_S)
        if self._look < self._set:
            self._set = self._look
            self.day.at(self._set, self._look_again)

    def _look_again(self) -> None:
        self._set = math.inf
        if self.day.now >= self._look:
            self._dirty()
        elif self._look < math.inf:
            self._set = self._look
            self.day.at(self._set, self._look_again)

    def _remember(self, now: float, plans: dict[str, Plan]) -> None:
        for name, dialing in self.dialings.items():
            if dialing.plan is not None:
                reason = dialing.plan.reason
                dialing.reasons[reason] = dialing.reasons.get(reason, 0.0) + now - self._planned
            dialing.plan = plans.get(name) if dialing.begun(now) else None
        self._planned = now

    def _obey(self, dialing: Dialing, plan: Plan, now: float) -> None:
        for call in plan.cancel:
            self._finish(dialing, dialing.calls[str(call)], "cancelled")
        ids = iter(plan.ids)
        for group, count in enumerate(plan.dial):
            for _ in range(count):
                self._dial(dialing, f"{dialing.campaign.label} {next(ids)}", group, now)

    # ---- the people

    def _dial(self, dialing: Dialing, id: str, group: int, now: float) -> None:
        campaign, leads = dialing.campaign, dialing.campaign.leads[group]
        if dialing.due[group]:
            lead, attempt = dialing.due[group].popleft()
        else:
            lead, attempt = dialing.fresh[group], 0
            dialing.fresh[group] += 1
        call = dialing.calls[id] = _Dial(id, group, lead, attempt)
        p = leads.answer_at(now)
        self.day.dialing += 1
        dialing.count("dials", now)
        self.group.call(campaign.label, id, "placed", now, p=p if leads.told else None, group=group)
        post_dial = self._draw(dialing, call, "post-dial", campaign.post_dial)
        fate = self._draw(dialing, call, "fate", _UNIT)
        answer = post_dial + self._draw(dialing, call, "answer", campaign.answer_after)
        if leads.valid < 1.0 and self.day.draw(_source(dialing, group), "valid", _UNIT, lead) > leads.valid:
            self._later(campaign.fails_after, call, lambda: self._finish(dialing, call, "invalid"))
            return
        self._later(post_dial, call, lambda: self.group.call(campaign.label, id, "ringing", self.day.now))
        if fate <= p:
            self._later(answer, call, lambda: self._person(dialing, call))
        elif fate <= p + leads.machine:
            self._later(answer, call, lambda: self._machine(dialing, call))
        elif fate <= p + leads.machine + campaign.fails:
            self._later(campaign.fails_after, call, lambda: self._finish(dialing, call, "failed"))
        else:
            self._later(max(campaign.ring_until, post_dial), call, lambda: self._finish(dialing, call, "failed"))

    def _draw(self, dialing: Dialing, call: _Dial, purpose: str, law: Any) -> float:
        return self.day.draw(_source(dialing, call.group), f"{purpose}{call.attempt}", law, call.lead)

    def _later(self, seconds: float, call: _Dial, act: Callable[[], None]) -> None:
        self.day.at(self.day.now + seconds, lambda: act() if call.ringing else None)

    def _person(self, dialing: Dialing, call: _Dial) -> None:
        missed = dialing.campaign.false_positives
        if missed and self._draw(dialing, call, "detected", _UNIT) <= missed:
            dialing.count("false_machines", self.day.now)
            self._finish(dialing, call, "machine")
        else:
            self._answer(dialing, call)

    def _machine(self, dialing: Dialing, call: _Dial) -> None:
        missed = dialing.campaign.machine_missed
        if missed and self._draw(dialing, call, "detected", _UNIT) <= missed:
            self._answer(dialing, call)
        else:
            self._finish(dialing, call, "machine")

    def _answer(self, dialing: Dialing, call: _Dial) -> None:
        now, campaign = self.day.now, dialing.campaign
        self._hang_up(dialing, call)
        dialing.count("answers", now)
        self.group.call(campaign.label, call.id, "answered", now)
        self._of[call.id] = dialing
        talk = self._draw(dialing, call, "service", campaign.service)
        wrap_up = None if campaign.wrap_up is None else self._draw(dialing, call, "wrap-up", campaign.wrap_up)
        self.day.call(
            call.id, campaign.queue, now, service=talk, patience=campaign.connect_within, wrap_up=wrap_up
        )

    def _hang_up(self, dialing: Dialing, call: _Dial) -> None:
        call.ringing = False
        self.day.dialing -= 1
        del dialing.calls[call.id]

    def _finish(self, dialing: Dialing, call: _Dial, how: CallEvent) -> None:
        """The dial ended without an answer by a person."""
        self._hang_up(dialing, call)
        dialing.count({"machine": "machines"}.get(how, how), self.day.now)
        self.group.call(dialing.campaign.label, call.id, how, self.day.now)
        redial = dialing.campaign.redial
        if redial is not None and how != "invalid" and call.attempt < redial.attempts:
            after = self._draw(dialing, call, "redial", redial.after)
            again = (call.lead, call.attempt + 1)
            self.day.at(self.day.now + after, lambda: self._due(dialing, call.group, again))
        self._dirty()

    def _due(self, dialing: Dialing, group: int, lead: tuple[int, int]) -> None:
        dialing.due[group].append(lead)
        self._dirty()


def _source(dialing: Dialing, group: int) -> int:
    """The number under which random numbers of a group of leads are drawn; inbound sources are 0 and above."""
    return -1 - 16 * dialing.number - group


def _inbound_queues(day: Day, agents: tuple[str, ...]) -> list[tuple[str, float, float]]:
    """Queues with callers of their own that some of these agents serve: name, target share, seconds."""
    sources = {source.queue for source in day.scenario.sources}
    team = [agent for agent in day.asked.agents if agent.name in set(agents)]
    return [
        (queue.name, queue.target_share, queue.target_within)
        for queue in day.asked.queues
        if queue.name in sources
        and any((a.queues is None or queue.name in a.queues) and a.capacity.get(queue.channel, 0) for a in team)
    ]


def _blend(others: list[tuple[str, float, float]], campaigns: list[tuple[int, Campaign]]) -> Blend | None:
    """What the campaigns leave to inbound callers: the strictest of the targets."""
    if not others:
        return None
    asked = [one.inbound for _, one in campaigns if one.inbound is not None]
    targets = asked or [(share, within) for _, share, within in others]
    return Blend(min(0.999, max(share for share, _ in targets)), min(within for _, within in targets))


def _dialing(day: Day, number: int, campaign: Campaign, blend: Blend | None) -> Dialing:
    duration = day.scenario.duration
    end = duration if campaign.end is None else min(campaign.end, duration)
    pacer = Pacer(
        target=campaign.target,
        mode=campaign.mode,
        rules=campaign.rules,
        limits=campaign.limits,
        false_positives=campaign.false_positives,
        choose=campaign.choose,
        closes=end,
        blend=blend,
    )
    minutes = np.zeros((int(duration // MINUTE_S) + 2, len(COLUMNS)), np.int64)
    groups = len(campaign.leads)
    return Dialing(campaign, number, pacer, minutes, end, [deque() for _ in range(groups)], [0] * groups)


def join(day: Day) -> list[Dialing]:
    """Put the scenario's campaigns into a day that has not begun; returns them in the scenario's order."""
    campaigns = day.scenario.campaigns
    found: dict[str, Dialing] = {}
    for agents, members in teams(day.asked, campaigns):
        found |= Team(day, agents, [(campaigns.index(one), one) for one in members]).dialings
    return [found[one.label] for one in campaigns]
