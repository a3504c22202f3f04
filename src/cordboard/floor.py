"""The floor: who is where, kept from events and effects alone, and what keeps an agent from a contact.

The engine knows who is eligible by groups and classes, and forgets the rest. To explain a decision one needs more: for
every agent *all* that stands in the way. So this projection follows the journal and applies the rules of eligibility
one by one, for one contact at a time; it decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cordboard.center import Agent, Center, Queue, Step
from cordboard.journal import Event, tick, told

Effect = dict[str, Any]

# What is named first where several things keep an agent from a contact: what lasts, before what passes.
SHOWN_FIRST = ("channel", "queue", "offline", "away", "excluded", "level", "window", "delay", "tier_wait", "wrap_up",
               "retry", "other_channel", "talks", "rings", "engaged", "reserve")  # fmt: skip


@dataclass(slots=True)
class Desk:
    """An agent as it stands. ``held``: contact -> since when; ``ringing``: those of them that are not accepted yet."""

    agent: Agent
    presence: str = "offline"
    since: float = 0.0
    idle_since: float = 0.0
    held: dict[str, float] = field(default_factory=dict)
    ringing: set[str] = field(default_factory=set)
    wrap_up_until: float | None = None
    retry_until: float = -1.0
    engaged: bool = False


@dataclass(slots=True)
class Visit:
    """A contact as it stands."""

    name: str
    event: Event
    queue: Queue
    arrived: float
    priority: float
    state: str = "waiting"  # waiting, offered, connected
    excluded: dict[str, str] = field(default_factory=dict)  # agent -> declined or missed


@dataclass(frozen=True, slots=True)
class Block:
    """One thing between an agent and a contact. ``until``: when time alone ends it; ``size``: how far off."""

    kind: str
    until: float | None = None
    size: float = 1.0
    detail: dict[str, Any] = field(default_factory=dict)


class Floor:
    """Feed it every event (None for timers) with its effects, in order."""

    def __init__(self, center: Center) -> None:
        self.center = center
        self.queues = {queue.name: queue for queue in center.queues}
        self.desks = {agent.name: Desk(agent) for agent in center.agents}
        self.visits: dict[str, Visit] = {}
        self._gone: set[str] = set()  # agents whom the center no longer has, and who have a conversation still

    # -- following ------------------------------------------------------------------------------------------------

    def take_event(self, event: Event) -> None:
        """Follow one event that the engine has taken; its effects come after it."""
        kind, t = event["event"], float(event["t"])
        visit = self.visits.get(event.get("contact", ""))
        desk = self.desks.get(event.get("agent", ""))
        if kind == "contact_queued":
            arrived = float(event.get("queued_at", t))
            queue = self.queues[event["queue"]]
            self.visits[event["contact"]] = Visit(event["contact"], event, queue, arrived, event.get("priority", 0))
        elif kind in ("agent_ready", "agent_away", "agent_offline") and desk:
            self._presence(desk, kind.removeprefix("agent_"), t)
        elif kind in ("agent_engaged", "agent_released") and desk:
            if desk.engaged and kind == "agent_released":
                desk.idle_since = t
            desk.engaged = kind == "agent_engaged"
        elif kind == "priority_changed" and visit:
            visit.priority = event["priority"]
        elif kind == "offer_accepted" and visit and desk:
            visit.state = "connected"
            desk.ringing.discard(visit.name)
        elif kind == "offer_declined" and visit and desk:
            self._lapse(visit, desk, "declined", t)
        elif kind == "contact_ended" and visit:
            self._end(visit, t)
        elif kind == "contact_left" and visit:
            visit.state = "gone"  # until its offers are withdrawn, just below

    def with_center(self, center: Center) -> None:
        """Another center from now on; the effects of the change come after it. Who and what is in both stays as it is;
        agents who are gone stay while they talk, queues that are gone while they are talked for."""
        before = self.desks
        self.center = center
        self.queues = {queue.name: queue for queue in center.queues}
        self.desks = {one.name: before.pop(one.name) if one.name in before else Desk(one) for one in center.agents}
        for agent in center.agents:
            self.desks[agent.name].agent = agent
        for desk in before.values():
            desk.presence = "offline"
        self.desks |= before
        self._gone = set(before)
        for visit in self.visits.values():
            visit.queue = self.queues.get(visit.queue.name, visit.queue)

    def take_effect(self, effect: Effect) -> None:
        """Follow one effect."""
        event = told(effect)
        if event is not None:
            self.take_event(event)
            return
        kind, t = effect["effect"], float(effect["t"])
        visit = self.visits.get(effect.get("contact", ""))
        desk = self.desks.get(effect.get("agent", ""))
        if kind == "offer" and visit and desk:
            visit.state = "offered"
            handed = visit.event.get("handed_over") and t == float(visit.event["t"])
            if handed and visit.event.get("preferred_agent") == desk.agent.name:
                desk.engaged = False
            desk.held[visit.name] = t
            desk.ringing.add(visit.name)
        elif kind == "offer_withdrawn" and visit and desk:
            self._release(visit, desk)
        elif kind == "offer_expired" and visit and desk:
            self._lapse(visit, desk, "missed", t)
        elif kind == "contact_rejected" or (kind == "contact_expired" and effect["to"] is None):
            self.visits.pop(effect["contact"], None)
        elif kind == "contact_expired" and visit:
            visit.queue = self.queues[effect["to"]]
        elif kind == "agent_away" and desk:
            self._presence(desk, "away", t)
        elif kind == "wrap_up_ended" and desk:
            desk.wrap_up_until = None
            desk.idle_since = t

    def sweep(self) -> None:
        """Forget the contacts that have left, and agents who are gone; call after an event's effects."""
        for name in [name for name, visit in self.visits.items() if visit.state == "gone"]:
            del self.visits[name]
        for name in [name for name in self._gone if not self.desks[name].held]:
            self._gone.discard(name)
            del self.desks[name]
            for visit in self.visits.values():
                visit.excluded.pop(name, None)

    def _presence(self, desk: Desk, presence: str, t: float) -> None:
        desk.presence, desk.since = presence, t
        if presence == "ready":
            desk.idle_since = t

    def _release(self, visit: Visit, desk: Desk) -> None:
        desk.held.pop(visit.name, None)
        desk.ringing.discard(visit.name)
        rings = any(visit.name in other.ringing for other in self.desks.values())
        if visit.state == "offered" and not rings:
            visit.state = "waiting"

    def _lapse(self, visit: Visit, desk: Desk, how: str, t: float) -> None:
        self._release(visit, desk)
        visit.excluded[desk.agent.name] = how
        if visit.queue.retry_delay:
            desk.retry_until = max(desk.retry_until, t + visit.queue.retry_delay)

    def _end(self, visit: Visit, t: float) -> None:
        desk = next(desk for desk in self.desks.values() if visit.name in desk.held)
        del desk.held[visit.name], self.visits[visit.name]
        own = desk.agent.wrap_up
        length = visit.queue.wrap_up if own is None else own
        if length:
            desk.wrap_up_until = max(desk.wrap_up_until or 0.0, t + length)
        elif desk.wrap_up_until is None:
            desk.idle_since = t

    # -- what stands in the way -------------------------------------------------------------------------------------

    def blocks(self, visit: Visit, desk: Desk, now: float) -> list[Block]:
        """All that keeps this agent from this contact at ``now``; empty: eligible. The reserve is asked last."""
        found = self._membership(visit, desk, now)
        found += self._levels(visit, desk, now)
        if desk.agent.name in visit.excluded:
            found.append(Block("excluded", detail={"how": visit.excluded[desk.agent.name]}))
        found += self._presence_blocks(desk, now)
        found += self._capacity(visit, desk)
        found.sort(key=lambda block: SHOWN_FIRST.index(block.kind))
        return found or self._reserve(visit, desk, now)

    def tier(self, visit: Visit, desk: Desk) -> int | None:
        """The agent's tier in the contact's queue; None: it is not in the queue."""
        queues = desk.agent.queues
        return 1 if queues is None else queues.get(visit.queue.name)

    def _membership(self, visit: Visit, desk: Desk, now: float) -> list[Block]:
        queue, tier = visit.queue, self.tier(visit, desk)
        if not desk.agent.capacity.get(queue.channel, 0):
            return [Block("channel", detail={"channel": queue.channel})]
        if tier is None:
            return [Block("queue", detail={"queue": queue.name})]
        found = []
        low, high, until = window(visit, now)
        if not low <= tier <= (high or tier):
            size = low - tier if tier < low else tier - (high or tier)
            found.append(Block("window", until, size, {"tier": tier, "min_tier": low, "max_tier": high}))
        opens = visit.arrived + queue.delay
        if tick(now) < tick(opens):
            found.append(Block("delay", opens, opens - now, {"waited": now - visit.arrived}))
        opens = visit.arrived + queue.tier_wait * (tier if queue.tier_wait_multiplies else 1)
        if tier > 1 and tick(now) < tick(opens):
            found.append(Block("tier_wait", opens, opens - now, {"tier": tier, "waited": now - visit.arrived}))
        return found

    def _levels(self, visit: Visit, desk: Desk, now: float) -> list[Block]:
        needs, until = asked(visit, now)
        found = []
        for skill, level in sorted(needs.items()):
            has = desk.agent.skills.get(skill, 0)
            if has < level:
                found.append(Block("level", until, level - has, {"skill": skill, "has": has, "needs": level}))
        return found

    def _presence_blocks(self, desk: Desk, now: float) -> list[Block]:
        if desk.presence != "ready":
            return [Block(desk.presence, detail={"since": desk.since})]
        found = []
        if desk.wrap_up_until is not None:
            found.append(Block("wrap_up", desk.wrap_up_until, desk.wrap_up_until - now))
        if tick(desk.retry_until) > tick(now):
            found.append(Block("retry", desk.retry_until, desk.retry_until - now))
        return found

    def _capacity(self, visit: Visit, desk: Desk) -> list[Block]:
        channel = visit.queue.channel
        held = {name: self.visits[name].queue.channel for name in desk.held if name in self.visits}
        same = [name for name, other in held.items() if other == channel]
        others = [name for name in held if name not in same]
        capacity = desk.agent.capacity.get(channel, 0)
        found = []
        if others and not desk.agent.blend:
            found.append(Block("other_channel", detail={"contacts": others, "channel": held[others[0]]}))
        if len(same) >= capacity and same:
            rings = all(name in desk.ringing for name in same)
            found.append(Block("rings" if rings else "talks", detail={"contacts": same}))
        engaged = desk.engaged and (len(same) + 1 >= capacity if channel == "voice" else not desk.agent.blend)
        return found or [Block("engaged")] * engaged

    def is_idle(self, desk: Desk, now: float) -> bool:
        """Ready with nothing on: what a reserve counts."""
        free = desk.wrap_up_until is None and tick(desk.retry_until) <= tick(now) and not (desk.held or desk.engaged)
        return desk.presence == "ready" and free

    def _reserve(self, visit: Visit, desk: Desk, now: float) -> list[Block]:
        for number, rule in enumerate(self.center.reserves, 1):
            able = desk.agent.skills.get(rule.skill, 0) >= rule.level
            if visit.queue.name in rule.queues or not able or not self.is_idle(desk, now):
                continue
            pool = [one for one in self.desks.values() if one.agent.skills.get(rule.skill, 0) >= rule.level]
            idle = sum(self.is_idle(one, now) for one in pool)
            if idle <= rule.agents:
                detail = {"rule": number, "skill": rule.skill, "idle": idle, "agents": rule.agents, "for": rule.queues}
                return [Block("reserve", size=rule.agents - idle + 1, detail=detail)]
        return []


def plan(visit: Visit) -> tuple[Step, ...]:
    """What the contact asks for, step by step: its own steps or requirements, else its queue's."""
    steps = visit.event.get("steps")
    if steps is not None:
        return tuple(Step(step.get("for"), step.get("requires", {})) for step in steps)
    requires = visit.event.get("requires")
    if requires is not None:
        return (Step(None, requires),)
    return visit.queue.steps or (Step(None, visit.queue.requires),)


def asked(visit: Visit, now: float) -> tuple[dict[str, int], float | None]:
    """The levels that the contact asks for at ``now``, and until when."""
    end = visit.arrived
    for step in plan(visit):
        if step.seconds is None:
            return step.requires, None
        end += step.seconds
        if tick(now) < tick(end):
            return step.requires, end
    return {}, None


def window(visit: Visit, now: float) -> tuple[int, int | None, float | None]:
    """The tiers that the contact goes to at ``now``: first, last (None: no last), and until when."""
    low, high = visit.event.get("min_tier", 1), visit.event.get("max_tier")
    for rule in sorted(visit.event.get("tier_rules", []), key=lambda rule: float(rule["after"])):
        due = visit.arrived + rule["after"]
        if tick(now) < tick(due):
            return low, high, due
        low, high = rule.get("min_tier", low), rule.get("max_tier", high)
    return low, high, None
