"""The brute-force router: the contract's rules, one by one, over plain lists, looking at everything at every event.

It shares no code with the engine. Times are whole microseconds. What the contract leaves open is decided in
docs/reference/journal.md and repeated beside the line that depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from cordboard.center import Agent, Center, Queue, Step

Effect = dict[str, Any]
NEVER = 1 << 62


class Refused(Exception):
    """The event does not fit the state; nothing but time has changed."""


def ticks(seconds: float) -> int:
    return round(seconds * 1e6)


@dataclass
class Desk:
    """An agent at work."""

    agent: Agent
    index: int
    state: str = "offline"
    idle_since: int = 0
    connected: list[Call] = field(default_factory=list)
    ringing: list[Call] = field(default_factory=list)
    wrap_up_until: int | None = None
    retry_until: int | None = None
    engaged: bool = False
    missed: int = 0
    handled: int = 0
    busy: int = 0
    logged_in: int = 0
    counted_to: int = 0

    def count(self, now: int) -> None:
        """Bring the clocks of occupancy up to now; call before any change of state."""
        spent = now - self.counted_to
        if self.state != "offline":
            self.logged_in += spent
            if self.connected or self.engaged or self.wrap_up_until is not None:
                self.busy += spent
        self.counted_to = now

    def load(self, channel: str) -> int:
        engaged = self.engaged and channel == "voice"
        return sum(call.queue.channel == channel for call in self.connected + self.ringing) + engaged

    def is_idle(self) -> bool:
        """Ready with nothing on: what a reserve counts."""
        nothing_on = not self.connected and not self.ringing and not self.engaged
        return self.state == "ready" and nothing_on and self.wrap_up_until is None and self.retry_until is None


@dataclass
class Call:
    """A contact on its way."""

    name: str
    line: int
    queue: Queue
    arrived: int
    entered: int
    priority: float
    requires: dict[str, int] | None
    steps: tuple[Step, ...] | None
    customer: str | None
    preferred: str | None
    min_tier: int | None
    max_tier: int | None
    tier_rules: list[dict[str, Any]]
    values: dict[str, float]
    excluded: set[str] = field(default_factory=set)
    state: str = "waiting"
    offers: dict[int, int] = field(default_factory=dict)  # desk index -> when it expires
    phase: int = 0  # the waiting time up to which delay, tiers and steps have been applied

    def boundaries(self, last_tier: int) -> list[int]:
        """Every waiting time at which something about the contact changes."""
        queue = self.queue
        times = [ticks(queue.delay)]
        if queue.tier_wait:
            reach = last_tier if queue.tier_wait_multiplies else 1
            times += [ticks(queue.tier_wait) * k for k in range(1, reach + 1)]
        times += [ticks(rule["after"]) for rule in self.tier_rules]
        end = 0
        for step in self.step_list():
            if step.seconds is None:
                break
            end += ticks(step.seconds)
            times.append(end)
        return times

    def step_list(self) -> tuple[Step, ...]:
        if self.steps is not None:
            return self.steps
        if self.requires is not None:
            return (Step(None, self.requires),)
        return self.queue.steps or (Step(None, self.queue.requires),)

    def asks(self) -> dict[str, int]:
        """The levels of the present step; after the last one membership alone counts."""
        end = 0
        for step in self.step_list():
            if step.seconds is None:
                return step.requires
            end += ticks(step.seconds)
            if self.phase < end:
                return step.requires
        return {}

    def window(self) -> tuple[int, int]:
        low, high = self.min_tier or 1, self.max_tier or NEVER
        for rule in sorted(self.tier_rules, key=lambda rule: ticks(rule["after"])):
            if self.phase >= ticks(rule["after"]):
                low, high = rule.get("min_tier", low), rule.get("max_tier", high)
        return low, high


class Router:
    """``apply`` an event, get its effects. ``choose`` decides for the strategy random: (contact, names) -> name."""

    def __init__(self, center: Center, choose: Callable[[str, list[str]], str] | None = None) -> None:
        self.center = center
        self.choose = choose or (lambda contact, names: names[0])
        self.queues = {queue.name: queue for queue in center.queues}
        self.desks = [Desk(agent, index) for index, agent in enumerate(center.agents)]
        self.by_name = {desk.agent.name: desk for desk in self.desks}
        self.calls: dict[str, Call] = {}
        self.turn = dict.fromkeys(self.queues, -1)  # round robin: the agent offered last
        self.known_customer: dict[str, int] = {}
        self.last_tier = max((tier for agent in center.agents for tier in (agent.queues or {}).values()), default=1)
        self.tick = 0
        self.lines = 0
        self.out: list[Effect] = []

    # -- time -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.tick / 1e6

    def timers(self) -> list[tuple[int, int, int, int, Callable[[], None]]]:
        """(when, kind, first key, second key, what): in the order in which they fire."""
        found: list[tuple[int, int, int, int, Callable[[], None]]] = []
        for call in self.calls.values():
            if call.state == "connected":
                continue
            if call.queue.max_wait:
                due = call.entered + ticks(call.queue.max_wait)
                found.append((due, 0, call.line, 0, lambda call=call: self.expire(call)))
            for index, due in call.offers.items():
                found.append((due, 1, call.line, index, lambda c=call, i=index: self.expire_offer(c, i)))
            later = [time for time in call.boundaries(self.last_tier) if time > call.phase]
            if later:
                step = min(later)
                found.append((call.arrived + step, 4, call.line, 0, lambda c=call, s=step: self.set_phase(c, s)))
        for desk in self.desks:
            if desk.wrap_up_until is not None:
                found.append((desk.wrap_up_until, 2, desk.index, 0, lambda d=desk: self.end_wrap_up(d)))
            if desk.retry_until is not None:
                found.append((desk.retry_until, 3, desk.index, 0, lambda d=desk: self.end_retry(d)))
        return sorted((timer for timer in found if timer[0] < NEVER), key=lambda timer: timer[:4])

    def next_timer(self) -> float | None:
        timers = self.timers()
        return timers[0][0] / 1e6 if timers else None

    def run_to(self, when: int) -> None:
        """Fire what is due up to and at ``when``; the clock stops at the last timer."""
        while True:
            timers = self.timers()
            if not timers or timers[0][0] > when:
                return
            self.tick = timers[0][0]
            timers[0][4]()
            self.match()

    def fire(self, t: float) -> list[Effect]:
        """The effects of the timers up to and at t."""
        self.out = []
        self.run_to(ticks(t))
        return self.out

    def advance(self, t: float) -> list[Effect]:
        return self.apply({"t": t, "event": "clock"})

    # -- events -----------------------------------------------------------------------------------------------

    def apply(self, event: dict[str, Any]) -> list[Effect]:
        """The effects of one event and of the timers before it; Refused if it does not fit."""
        when = ticks(event["t"])
        if when < self.tick:
            raise Refused("time goes back")
        self.out = []
        self.run_to(when)
        self.tick = when
        getattr(self, "on_" + event["event"])(event)
        self.match()
        return self.out

    def on_clock(self, event: dict[str, Any]) -> None:
        pass

    def on_agent_ready(self, event: dict[str, Any]) -> None:
        desk = self.desk(event)
        desk.count(self.tick)
        desk.state = "ready"
        desk.idle_since = self.tick
        desk.missed = 0

    def on_agent_away(self, event: dict[str, Any]) -> None:
        self.step_out(self.desk(event), "away", "agent_away")

    def on_agent_offline(self, event: dict[str, Any]) -> None:
        self.step_out(self.desk(event), "offline", "agent_offline")

    def on_contact_queued(self, event: dict[str, Any]) -> None:
        if event["contact"] in self.calls:
            raise Refused("it is here already")
        steps = event.get("steps")
        if steps is not None:
            steps = tuple(Step(step.get("for"), step.get("requires", {})) for step in steps)
        self.lines += 1
        call = Call(
            event["contact"],
            self.lines,
            self.find(self.queues, event["queue"]),
            ticks(event.get("queued_at", event["t"])),
            self.tick,
            event.get("priority", 0),
            event.get("requires"),
            steps,
            event.get("customer"),
            event.get("preferred_agent"),
            event.get("min_tier"),
            event.get("max_tier"),
            event.get("tier_rules", []),
            event.get("values", {}),
        )
        if call.preferred is not None:
            self.find(self.by_name, call.preferred)
        desk = self.by_name.get(call.preferred)
        handed = bool(event.get("handed_over")) and desk is not None and desk.engaged
        self.enter(call, handed)
        if handed:
            self.hand_over(call, desk)

    def hand_over(self, call: Call, desk: Desk) -> None:
        """Who is engaged with the contact already gets it before anybody gets anything, if eligible but for that."""
        desk.count(self.tick)
        desk.engaged = False
        if self.eligible(call, desk):
            self.offer(call, [desk])
        else:
            desk.engaged = True

    def on_agent_engaged(self, event: dict[str, Any]) -> None:
        desk = self.desk(event)
        desk.count(self.tick)
        desk.engaged = True

    def on_agent_released(self, event: dict[str, Any]) -> None:
        desk = self.desk(event)
        desk.count(self.tick)
        if desk.engaged:
            desk.engaged, desk.idle_since = False, self.tick

    def on_contact_left(self, event: dict[str, Any]) -> None:
        call = self.call(event)
        if call.state == "connected":
            raise Refused("it is connected: contact_ended is meant")
        self.withdraw_all(call, "contact_left")
        del self.calls[call.name]

    def on_offer_accepted(self, event: dict[str, Any]) -> None:
        call, desk = self.open_offer(event)
        desk.count(self.tick)
        desk.ringing.remove(call)
        del call.offers[desk.index]
        self.withdraw_all(call, "accepted_elsewhere")
        call.state = "connected"
        desk.connected.append(call)
        desk.missed = 0
        if call.customer is not None:
            self.known_customer[call.customer] = desk.index

    def on_offer_declined(self, event: dict[str, Any]) -> None:
        call, desk = self.open_offer(event)
        self.lapse(call, desk)

    def on_contact_ended(self, event: dict[str, Any]) -> None:
        call = self.call(event)
        if call.state != "connected":
            raise Refused("it is not connected: contact_left is meant")
        desk = next(desk for desk in self.desks if call in desk.connected)
        desk.count(self.tick)
        desk.connected.remove(call)
        desk.handled += 1
        del self.calls[call.name]
        own = desk.agent.wrap_up
        length = ticks(call.queue.wrap_up if own is None else own)
        if length:
            # A second wrap-up beside a running one lasts until the later end.
            desk.wrap_up_until = max(desk.wrap_up_until or 0, self.tick + length)
            self.effect("wrap_up_started", agent=desk.agent.name)
        elif desk.wrap_up_until is None:
            desk.idle_since = self.tick

    def on_wrap_up_ended(self, event: dict[str, Any]) -> None:
        desk = self.desk(event)
        if desk.wrap_up_until is None:
            raise Refused("no wrap-up")
        self.end_wrap_up(desk)

    def on_priority_changed(self, event: dict[str, Any]) -> None:
        call = self.call(event)
        if call.state == "connected":
            raise Refused("it is connected")
        call.priority = event["priority"]

    # -- what events and timers do ------------------------------------------------------------------------------

    def effect(self, kind: str, **fields: Any) -> None:
        self.out.append({"t": self.tick / 1e6, "effect": kind, **fields})

    @staticmethod
    def find(known: dict[str, Any], name: str) -> Any:
        if name not in known:
            raise Refused(f"no {name}")
        return known[name]

    def desk(self, event: dict[str, Any]) -> Desk:
        desk: Desk = self.find(self.by_name, event["agent"])
        return desk

    def call(self, event: dict[str, Any]) -> Call:
        call: Call = self.find(self.calls, event["contact"])
        return call

    def open_offer(self, event: dict[str, Any]) -> tuple[Call, Desk]:
        call, desk = self.call(event), self.desk(event)
        if desk.index not in call.offers:
            raise Refused("no such offer")
        return call, desk

    def enter(self, call: Call, handed: bool = False) -> None:
        queue = call.queue
        inside = sum(one.queue is queue and one.state != "connected" for one in self.calls.values())
        if queue.max_waiting and inside >= queue.max_waiting and not handed:
            self.effect("contact_rejected", contact=call.name, queue=queue.name, reason="full")
            return
        self.calls[call.name] = call
        call.entered = self.tick
        call.phase = self.tick - call.arrived

    def set_phase(self, call: Call, waited: int) -> None:
        call.phase = waited

    def expire(self, call: Call) -> None:
        self.withdraw_all(call, "contact_expired")
        del self.calls[call.name]
        to = call.queue.overflow
        self.effect("contact_expired", contact=call.name, to=to)
        if to is not None:
            call.queue = self.queues[to]
            self.enter(call)

    def withdraw_all(self, call: Call, reason: str) -> None:
        for index in sorted(call.offers):
            self.desks[index].ringing.remove(call)
            self.effect("offer_withdrawn", contact=call.name, agent=self.desks[index].agent.name, reason=reason)
        call.offers.clear()
        call.state = "waiting"

    def wait_again(self, call: Call) -> None:
        """With its last offer gone the contact waits again."""
        if not call.offers:
            call.state = "waiting"

    def lapse(self, call: Call, desk: Desk) -> None:
        """An offer declined or missed: the agent is out for this contact, and gets nothing for a while."""
        del call.offers[desk.index]
        desk.ringing.remove(call)
        call.excluded.add(desk.agent.name)
        self.wait_again(call)
        pause = ticks(call.queue.retry_delay)
        if pause:
            desk.retry_until = max(desk.retry_until or 0, self.tick + pause)

    def expire_offer(self, call: Call, index: int) -> None:
        desk = self.desks[index]
        self.effect("offer_expired", contact=call.name, agent=desk.agent.name)
        self.lapse(call, desk)
        desk.missed += 1
        if call.queue.max_no_answer and desk.missed >= call.queue.max_no_answer and desk.state == "ready":
            self.effect("agent_away", agent=desk.agent.name, reason="no_answer")
            self.step_out(desk, "away", "agent_away")

    def step_out(self, desk: Desk, state: str, reason: str) -> None:
        desk.count(self.tick)
        desk.state = state
        for call in sorted(desk.ringing, key=lambda call: call.line):
            del call.offers[desk.index]
            self.wait_again(call)
            self.effect("offer_withdrawn", contact=call.name, agent=desk.agent.name, reason=reason)
        desk.ringing.clear()

    def end_wrap_up(self, desk: Desk) -> None:
        desk.count(self.tick)
        desk.wrap_up_until = None
        desk.idle_since = self.tick
        self.effect("wrap_up_ended", agent=desk.agent.name)

    def end_retry(self, desk: Desk) -> None:
        desk.retry_until = None

    # -- matching -------------------------------------------------------------------------------------------------

    def match(self) -> None:
        while True:
            for call in sorted((c for c in self.calls.values() if c.state == "waiting"), key=self.place):
                eligible = [desk for desk in self.desks if self.eligible(call, desk)]
                if eligible:
                    self.offer(call, eligible)
                    break
            else:
                return

    def place(self, call: Call) -> tuple[Any, ...]:
        order = self.center.order
        if order == "priority":
            key: tuple[Any, ...] = (-call.queue.weight, -call.priority)
        elif order == "score":
            key = (call.arrived - ticks(call.priority),)
        else:
            key = (-Fraction(self.tick - call.arrived, ticks(call.queue.target_within)),)
        return (*key, call.arrived, call.line)

    @staticmethod
    def tier(desk: Desk, queue: Queue) -> int | None:
        if desk.agent.queues is None:
            return 1
        return desk.agent.queues.get(queue.name)

    def eligible(self, call: Call, desk: Desk) -> bool:
        agent, queue = desk.agent, call.queue
        if desk.state != "ready" or desk.wrap_up_until is not None or desk.retry_until is not None:
            return False
        if desk.load(queue.channel) >= agent.capacity.get(queue.channel, 0):
            return False
        busy_with = {one.queue.channel for one in desk.connected + desk.ringing} | ({"voice"} if desk.engaged else set())
        if not agent.blend and busy_with - {queue.channel}:
            return False
        tier = self.tier(desk, queue)
        low, high = call.window()
        if tier is None or not low <= tier <= high or call.phase < ticks(queue.delay):
            return False
        needed = ticks(queue.tier_wait) * (tier if queue.tier_wait_multiplies else 1)
        if tier > 1 and call.phase < needed:
            return False
        if any(agent.skills.get(skill, 0) < level for skill, level in call.asks().items()):
            return False
        return agent.name not in call.excluded and not self.held_back(call, desk)

    def held_back(self, call: Call, desk: Desk) -> bool:
        """Whether a reserve keeps this idle agent for other queues."""
        for rule in self.center.reserves:
            if call.queue.name in rule.queues or not desk.is_idle():
                continue
            pool = [one for one in self.desks if one.agent.skills.get(rule.skill, 0) >= rule.level]
            if desk in pool and sum(one.is_idle() for one in pool) <= rule.agents:
                return True
        return False

    def offer(self, call: Call, eligible: list[Desk]) -> None:
        wanted = [] if call.preferred is None else [self.by_name[call.preferred].index]
        if call.queue.sticky and call.customer in self.known_customer:
            wanted.append(self.known_customer[call.customer])
        for index in wanted:
            if self.desks[index] in eligible:
                self.ring(call, self.desks[index])
                return
        first = min(self.tier(desk, call.queue) or 0 for desk in eligible)
        ranked = [desk for desk in eligible if self.tier(desk, call.queue) == first]
        strategy = call.queue.strategy
        if strategy == "ring_all":
            for desk in ranked:
                if not self.held_back(call, desk):  # each offer leaves one idle agent fewer
                    self.ring(call, desk)
        elif strategy == "random":
            name = self.choose(call.name, [desk.agent.name for desk in ranked])
            self.ring(call, self.by_name[name])
        else:
            self.ring(call, min(ranked, key=lambda desk: (*self.rank(call, desk), desk.index)))

    def rank(self, call: Call, desk: Desk) -> tuple[Any, ...]:
        strategy = call.queue.strategy
        levels = sum(desk.agent.skills.get(skill, 0) for skill in call.asks())
        if strategy == "longest_idle":
            return (desk.idle_since,)
        if strategy == "fewest_contacts":
            return (desk.handled,)
        if strategy == "least_occupied":
            desk.count(self.tick)
            return (Fraction(desk.busy, desk.logged_in) if desk.logged_in else Fraction(0),)
        if strategy == "most_skilled":
            return (-levels, desk.idle_since)
        if strategy == "least_skilled":
            return (levels, desk.idle_since)
        if strategy == "round_robin":
            return ((desk.index - self.turn[call.queue.name] - 1) % len(self.desks),)
        if strategy == "weighted":
            return (-self.score(call, desk),)
        return ()  # linear

    def score(self, call: Call, desk: Desk) -> float:
        weights = call.queue.weights
        if weights is None:
            return 0.0
        return (
            weights.wait * ((self.tick - call.arrived) / 1e6)
            + weights.idle * ((self.tick - desk.idle_since) / 1e6)
            + weights.priority * call.priority
            + weights.proficiency * sum(desk.agent.skills.get(skill, 0) for skill in call.asks())
            + weights.value * call.values.get(desk.agent.name, 0.0)
            + weights.tier * (self.tier(desk, call.queue) or 0)
        )

    def ring(self, call: Call, desk: Desk) -> None:
        timeout = ticks(call.queue.offer_timeout)
        call.offers[desk.index] = self.tick + timeout if timeout else NEVER
        call.state = "offered"
        desk.ringing.append(call)
        self.turn[call.queue.name] = desk.index
        self.effect("offer", contact=call.name, agent=desk.agent.name)
