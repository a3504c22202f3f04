"""What ``cordboard demo --sip`` shows and keeps while it runs: the wallboard, from the entries of the live engine."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cordboard.demo.day import DAY_S, HALF_HOUR_S, PROFILE
from cordboard.demo.show import decision_text, time_of_day
from cordboard.journal import told
from cordboard.kpi import KPIS, QueueTallies, Tally
from cordboard.live import Entry
from cordboard.pacing.pacer import Plan
from cordboard.services.tenants import Tenant
from cordboard.wallboard import Board, CampaignRow, QueueRow
from cordboard.words import Lang, pick

LASTING_S = 300.0  # of the day: a second of the demo
BUSY, STAFFED = ("connected", "wrap_up"), ("ready", "offered", "connected", "wrap_up")
TITLE = (
    "cordboard demo · real SIP and RTP on loopback · a day of callers in {} s",
    "cordboard 演示 · 本机真实 SIP/RTP · {} 秒呈现一天的来电",
)


@dataclass
class Audio:
    """What the audio of all legs that are over was like. Packets are counted, ``mos`` is one a leg."""

    received: int = 0
    lost: int = 0
    mos: list[float] = field(default_factory=list)

    def add(self, quality: dict[str, Any]) -> None:
        self.received += quality["received"]
        self.lost += quality["lost"]
        self.mos.append(quality["mos"])


class Show:
    """``campaign``: its queue and name. ``seconds``: that the day takes. Reads the engine twice a second."""

    def __init__(self, tenant: Tenant, campaign: str, seconds: float, lang: Lang) -> None:
        self.tenant, self.name, self.lang = tenant, campaign, lang
        self.center = tenant.engine.center
        self.tallies = QueueTallies({queue.name: queue.target_within for queue in self.center.queues})
        self.recorded = self.bridged = 0
        self.recorded_s = 0.0
        self.audio = Audio()
        self.waited: dict[str, float] = {}  # contact that an agent answered -> its wait
        self.gave_up: dict[str, float] = {}  # contact that left -> after so long
        self._plans: list[tuple[float, Plan]] = []  # when the mode or the reason changed
        self.journal: list[dict[str, Any]] = []
        self.began = time.time()
        self._seconds = seconds
        self._entries = tenant.engine.subscribe(0)
        self._decisions: deque[str] = deque(maxlen=5)
        self._half_hours: dict[int, Tally] = {}
        self._came: dict[str, tuple[str, float]] = {}
        self._looks: dict[str, list[int]] = {queue.name: [0, 0] for queue in self.center.queues}  # busy, staffed

    def day_time(self, t: float) -> float:
        """Seconds from nine o'clock in the day, of a time in Unix seconds."""
        return min(DAY_S, max(0.0, (t - self.began) * DAY_S / self._seconds))

    def follow(self) -> None:
        """What has happened since the last look."""
        while entries := self._entries.poll():
            for entry in entries:
                self._take(entry)

    def _take(self, entry: Entry) -> None:
        event = None if entry.error else entry.event
        if event is not None:
            self.journal.append(event)
        self.tallies.observe(event, entry.effects)
        for happened in happenings(entry):
            self._count(happened)
        for effect in entry.effects:
            if effect["effect"] == "offer":
                line = f"{time_of_day(self.day_time(effect['t']))}  {decision_text(effect, self.lang)}"
                self._decisions.appendleft(line)

    def _count(self, event: dict[str, Any]) -> None:
        kind, contact = event["event"], event.get("contact", "")
        if kind == "leg_recorded":
            self.recorded += 1
            self.recorded_s += event["seconds"]
        elif kind == "leg_ended" and event.get("quality"):
            self.audio.add(event["quality"])
        elif kind == "contact_queued":
            self._came[contact] = (event["queue"], event["t"])
            if event["queue"] != self.name:
                self._half_hour(event["t"]).offered += 1
        elif kind in ("offer_accepted", "contact_left") and contact in self._came:
            queue, came = self._came.pop(contact)
            answered, wait = kind == "offer_accepted", event["t"] - came
            self.bridged += answered
            if queue != self.name:
                (self.waited if answered else self.gave_up)[contact] = wait
                within = self.tallies.by_queue[queue].threshold_s
                self._half_hour(came).answered_in += answered and wait <= within

    def _half_hour(self, t: float) -> Tally:
        return self._half_hours.setdefault(min(len(PROFILE) - 1, int(self.day_time(t) // HALF_HOUR_S)), Tally())

    async def board(self) -> Board:
        """The screen of this moment."""
        self.follow()
        now = self.day_time(time.time())
        state = await self.tenant.settle(self.tenant.engine.read(lambda acd: acd.state()))
        agents: dict[str, int] = {}
        for name, agent in state["agents"].items():
            agents[agent["state"]] = agents.get(agent["state"], 0) + 1
            for queue in self._queues_of(name):
                self._looks[queue][0] += agent["state"] in BUSY
                self._looks[queue][1] += agent["state"] in STAFFED
        campaign = await asyncio.to_thread(self.campaign)
        plan = self.tenant.outbound.dialer.works[self.name].plan
        if plan and (not self._plans or _kind(self._plans[-1][1]) != _kind(plan)):
            self._plans.append((now, plan))
        levels = [
            KPIS["SL_OFFERED"].compute(self._half_hours[i]) if i in self._half_hours else None
            for i in range(len(PROFILE))
        ]
        return Board(
            title=pick(self.lang, *TITLE).format(f"{self._seconds:g}"),
            clock=time_of_day(now),
            queues=[self._queue(queue.name, state["queues"][queue.name]) for queue in self.center.queues],
            agents=agents,
            half_hours=[(time_of_day(i * HALF_HOUR_S), level) for i, level in enumerate(levels)],
            campaign=campaign,
            decisions=tuple(self._decisions),
        )

    def _queues_of(self, agent: str) -> Iterator[str]:
        return iter(next(one.queues for one in self.center.agents if one.name == agent) or ())

    def occupancy(self, queue: str) -> float | None:
        """Of the agents of a queue: talk and wrap-up over staffed time, by the looks of the board."""
        busy, staffed = self._looks[queue]
        return busy / staffed if staffed else None

    def turns(self) -> list[tuple[float, str]]:
        """When it went over to dialing in another way for longer than a moment, and why."""
        found: list[tuple[float, Plan]] = []
        ends = [t for t, _ in self._plans[1:]] + [DAY_S]
        for (t, plan), end in zip(self._plans, ends, strict=True):
            if end - t >= LASTING_S and (not found or _kind(found[-1][1]) != _kind(plan)):
                found.append((t, plan))
        return [(t, plan.text(self.lang)) for t, plan in found]

    def _queue(self, name: str, state: dict[str, Any]) -> QueueRow:
        tally = self.tallies.by_queue[name]
        queue = next(one for one in self.center.queues if one.name == name)
        return QueueRow(
            name, KPIS["SL_OFFERED"].compute(tally), queue.target_share, queue.target_within, state["waiting"],
            state["longest_wait"], None, None, tally.offered, tally.answered, tally.abandoned,
        )  # fmt: skip

    def campaign(self) -> CampaignRow:
        """The campaign's part of it. Waits for the disk."""
        status = self.tenant.outbound.dialer.status(self.name)
        answered = sum(status.outcomes.get(one, 0) for one in ("connected", "dropped", "hung_up"))
        plan, cap = status.plan, self.tenant.outbound.calls.campaigns[self.name].drops
        return CampaignRow(
            self.name, plan.mode if plan else "–", sum(status.outcomes.values()), status.entries.get("calling", 0),
            answered, status.outcomes.get("dropped", 0), status.drop_rate or 0.0, cap, self.occupancy(self.name),
            plan.text(self.lang) if plan else "",
        )  # fmt: skip


def _kind(plan: Plan) -> tuple[str, str]:
    return plan.mode, plan.reason


def happenings(entry: Entry) -> Iterator[dict[str, Any]]:
    """The event of an entry, and those that its effects tell."""
    if not entry.error:
        yield dict(entry.event)
    for effect in entry.effects:
        event = told(effect)
        if event is not None:
            yield dict(event)
