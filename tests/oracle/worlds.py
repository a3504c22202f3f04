"""Random centers, and random journals that react to what the router does.

``Source`` is where the randomness comes from: a seed, or hypothesis, which can then shrink the case.
Times lie on a coarse grid most of the time, so that timers coincide with each other and with events.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from cordboard.center import STRATEGIES, Agent, Center, Queue, Reserve, Step, Weights
from cordboard.errors import CordboardError
from cordboard.replay import Engine, fire_timers

T = TypeVar("T")
SKILLS = ("s", "t", "u")
CHANNELS = ("voice", "chat", "email")


class Source(Protocol):
    def whole(self, low: int, high: int) -> int: ...

    def pick(self, options: list[T]) -> T: ...


class Seeded:
    """Randomness from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def whole(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def pick(self, options: list[T]) -> T:
        return self.random.choice(options)


def sometimes(source: Source, share: int) -> bool:
    """True in about ``share`` of a hundred cases; a shrunk case has False."""
    return source.whole(0, 99) >= 100 - share


def duration(source: Source, longest: int = 6) -> float:
    """Seconds on a grid of halves, now and then off it by microseconds."""
    seconds = source.whole(1, 2 * longest) / 2
    return seconds + source.whole(1, 3) / 1e6 if sometimes(source, 5) else seconds


def levels(source: Source, most: int = 2) -> dict[str, int]:
    return {source.pick(list(SKILLS)): source.whole(1, 3) for _ in range(source.whole(0, most))}


def steps(source: Source) -> tuple[Step, ...]:
    made = [Step(duration(source), levels(source)) for _ in range(source.whole(0, 3))]
    if sometimes(source, 40):
        made.append(Step(None, levels(source)))
    return tuple(made)


def random_queue(source: Source, name: str, names: list[str], strategies: tuple[str, ...]) -> Queue:
    strategy = source.pick(list(strategies))
    maybe = lambda share, value: value if sometimes(source, share) else 0  # noqa: E731
    grid = [0.0, 1.0, 0.5, -1.0, 2.0]
    weights = Weights(*(source.pick(grid) for _ in range(6))) if strategy == "weighted" else None
    return Queue(
        name,
        channel=source.pick([*CHANNELS[:1], *CHANNELS]),
        requires=levels(source),
        steps=steps(source) if sometimes(source, 35) else (),
        strategy=strategy,
        weight=maybe(40, source.pick([0, 0.5, 1, 2])),
        target_within=source.pick([20.0, 10.0, 5.0, 7.5]),
        delay=maybe(25, duration(source)),
        tier_wait=maybe(40, duration(source)),
        tier_wait_multiplies=sometimes(source, 60),
        offer_timeout=source.pick([0, 2.0, 2.5, 4.0, 4.0]),
        retry_delay=maybe(40, duration(source, 4)),
        max_no_answer=maybe(30, source.whole(1, 3)),
        wrap_up=maybe(50, duration(source, 4)),
        max_waiting=maybe(25, source.whole(1, 4)),
        max_wait=maybe(40, duration(source, 10) + 1),
        overflow=source.pick(names) if sometimes(source, 50) else None,
        sticky=sometimes(source, 30),
        weights=weights,
    )


def random_agent(source: Source, name: str, queues: list[str]) -> Agent:
    capacity = {"voice": 1}
    if sometimes(source, 50):
        capacity = {channel: source.whole(0, 3) for channel in CHANNELS if sometimes(source, 70)} or capacity
    member = None
    if sometimes(source, 75):
        member = {queue: source.whole(1, 3) for queue in queues if sometimes(source, 75)}
    return Agent(
        name,
        skills=levels(source, 3),
        queues=member,
        capacity=capacity,
        blend=sometimes(source, 40),
        wrap_up=source.pick([None, None, None, 0.0, 3.0]),
    )


def random_center(source: Source, most_agents: int = 7, strategies: tuple[str, ...] = STRATEGIES) -> Center:
    queues = [f"q{i}" for i in range(source.whole(1, 4))]
    agents = [f"a{i}" for i in range(source.whole(1, most_agents))]
    reserves = []
    if sometimes(source, 30):
        for _ in range(source.whole(1, 2)):
            kept = tuple(queue for queue in queues if sometimes(source, 40))
            reserves.append(Reserve(source.pick(list(SKILLS)), source.whole(1, 3), source.whole(0, 3), kept))
    return Center(
        queues=tuple(random_queue(source, name, queues, strategies) for name in queues),
        agents=tuple(random_agent(source, name, queues) for name in agents),
        order=source.pick(["priority", "score", "ratio"]),
        reserves=tuple(reserves),
    )


def crowded_center(source: Source) -> Center:
    """Few agents with room for several calls, and times of a few whole seconds: much falls on one instant."""
    center = random_center(source, most_agents=4)
    queues = tuple(
        replace(
            queue,
            channel="voice",
            requires={},
            steps=queue.steps[:1],
            max_wait=source.pick([0.0, 0.0, 6.0]),
            offer_timeout=source.pick([2.0, 3.0, 4.0]),
            retry_delay=source.pick([0.0, 1.0, 2.0, 4.0]),
            wrap_up=source.pick([0.0, 1.0, 2.0, 4.0]),
        )
        for queue in center.queues
    )
    agents = tuple(
        replace(agent, capacity={"voice": source.whole(1, 3)}, wrap_up=None, queues=None if i % 2 else agent.queues)
        for i, agent in enumerate(center.agents)
    )
    return replace(center, queues=queues, agents=agents)


class Journalist:
    """Makes up the next event from what is going on. ``view`` is what it knows: see ``note``."""

    def __init__(self, source: Source, center: Center) -> None:
        self.source, self.center = source, center
        self.t = 0.0
        self.count = 0
        self.made = 0
        self.waiting: dict[str, None] = {}  # waiting or offered
        self.offers: dict[tuple[str, str], None] = {}
        self.connected: dict[str, str] = {}
        self.gone: list[str] = []
        self.gone_offers: list[tuple[str, str]] = []
        self.wrapping: dict[str, None] = {}
        self.load = source.whole(1, 4)

    def note(self, event: dict[str, Any] | None, effects: list[dict[str, Any]]) -> None:
        """Keep up with one event (None: it was refused) and its effects."""
        kind = event["event"] if event else ""
        if event and kind == "contact_queued":
            self.waiting[event["contact"]] = None
        elif event and kind in ("contact_left", "contact_ended"):
            self.waiting.pop(event["contact"], None)
            self.connected.pop(event["contact"], None)
            self.gone.append(event["contact"])
        elif event and kind == "offer_accepted":
            self.waiting.pop(event["contact"])
            self.connected[event["contact"]] = event["agent"]
        if event and kind in ("offer_accepted", "offer_declined"):
            self.offers.pop((event["contact"], event["agent"]))
        for effect in effects:
            pair = (effect.get("contact", ""), effect.get("agent", ""))
            if effect["effect"] == "offer":
                self.offers[pair] = None
            elif effect["effect"] in ("offer_withdrawn", "offer_expired"):
                del self.offers[pair]
                self.gone_offers.append(pair)
            elif effect["effect"] == "contact_rejected" or effect["effect"] == "contact_expired":
                if effect.get("to") is None:
                    self.waiting.pop(effect["contact"])
                    self.gone.append(effect["contact"])
            elif effect["effect"] == "wrap_up_started":
                self.wrapping[effect["agent"]] = None
            elif effect["effect"] == "wrap_up_ended":
                self.wrapping.pop(effect["agent"], None)

    def next_event(self, next_timer: float | None) -> dict[str, Any]:
        source = self.source
        kind = source.whole(0, 9)
        if kind >= 8 and next_timer is not None:
            self.t = max(self.t, next_timer)  # at the very instant of a timer
        elif kind >= 3:
            self.t = round(self.t + source.whole(0, 4) / 2, 6)
        elif kind == 2:
            self.t = round(self.t + source.whole(0, 2_000_000) / 1e6, 6)
        event = {"t": self.t, **self._what()}
        if event["event"] == "contact_queued" and "queued_at" in event:
            event["queued_at"] = max(0.0, round(self.t - event["queued_at"], 6))
        return event

    def _what(self) -> dict[str, Any]:
        source = self.source
        agents = [agent.name for agent in self.center.agents]
        if self.made < len(agents) and sometimes(source, 80):  # most begin the day ready
            self.made += 1
            return {"event": "agent_ready", "agent": agents[self.made - 1]}
        kinds = ["agent_ready"] * 6 + ["agent_away"] * 2 + ["agent_offline", "clock", "clock", "wrong", "wrong"]
        kinds += ["agent_engaged"] + ["agent_released"] * 2
        kinds += ["contact_queued"] * (18 if len(self.waiting) < 3 * self.load else 4)
        kinds += (["offer_accepted"] * 12 + ["offer_declined"] * 4) * bool(self.offers)
        kinds += ["contact_ended"] * 9 * bool(self.connected) + ["wrap_up_ended"] * 2 * bool(self.wrapping)
        kinds += (["contact_left"] * 3 + ["priority_changed"] * 2) * bool(self.waiting)
        kind = source.pick(kinds)
        event: dict[str, Any] = {"event": kind}
        if kind == "wrong":
            return self._wrong(source.pick(agents))
        if kind == "contact_queued":
            return self._queued()
        if kind in ("offer_accepted", "offer_declined"):
            return self._answer(kind, list(self.offers))
        if kind in ("contact_left", "priority_changed"):
            event["contact"] = source.pick(list(self.waiting))
        if kind == "priority_changed":
            event["priority"] = source.pick([-1, -0.5, 0, 0.1, 1, 2, 3])
        if kind == "contact_ended":
            event["contact"] = source.pick(list(self.connected))
        if kind.startswith("agent_"):
            event["agent"] = source.pick(agents)
        if kind == "wrap_up_ended":
            event["agent"] = source.pick(list(self.wrapping))
        return event

    def _answer(self, kind: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
        contact, agent = self.source.pick(pairs)
        return {"event": kind, "contact": contact, "agent": agent}

    def _wrong(self, agent: str) -> dict[str, Any]:
        """What comes too late, or makes no sense now."""
        everyone = [*self.gone[-5:], *self.waiting, *self.connected, "nobody"]
        contact = self.source.pick(everyone)
        kinds = ["contact_left", "contact_ended", "offer_accepted", "offer_declined", "wrap_up_ended", "contact_queued"]
        kind = self.source.pick(kinds)
        if kind == "contact_queued":
            return {"event": kind, "contact": contact, "queue": self.center.queues[0].name}
        if kind == "wrap_up_ended":
            return {"event": kind, "agent": agent}
        if kind in ("contact_left", "contact_ended"):
            return {"event": kind, "contact": contact}
        if self.gone_offers:
            return self._answer(kind, self.gone_offers[-5:])
        return {"event": kind, "contact": contact, "agent": agent}

    def _queued(self) -> dict[str, Any]:
        source = self.source
        self.count += 1
        event: dict[str, Any] = {
            "event": "contact_queued",
            "contact": f"c{self.count}",
            "queue": source.pick(list(self.center.queues)).name,
        }
        if sometimes(source, 30):
            event["priority"] = source.pick([-1, 0, 0.5, 1, 1.25, 2, 3])
        if sometimes(source, 15):
            event["requires"] = levels(source)
        made = steps(source) if sometimes(source, 15) else ()
        if made:
            event["steps"] = [
                {**({} if step.seconds is None else {"for": step.seconds}), "requires": step.requires} for step in made
            ]
        if sometimes(source, 40):
            event["customer"] = f"u{source.whole(1, 4)}"
        if sometimes(source, 10):
            event["preferred_agent"] = source.pick(list(self.center.agents)).name
            if sometimes(source, 50):
                event["handed_over"] = True  # which counts for an agent who is engaged
        if sometimes(source, 15):
            event["max_tier"] = source.whole(1, 3)
        if sometimes(source, 10):
            event["min_tier"] = source.whole(1, 3)
        if sometimes(source, 15):
            event["tier_rules"] = [self._tier_rule() for _ in range(source.whole(1, 3))]
        if sometimes(source, 15):
            event["queued_at"] = source.pick([0.0, 1.0, 4.0, 0.000001])  # seconds ago
        if sometimes(source, 20):
            event["values"] = {agent.name: source.whole(-2, 2) / 2 for agent in self.center.agents}
        return event

    def _tier_rule(self) -> dict[str, Any]:
        rule: dict[str, Any] = {"after": duration(self.source)}
        for key in ("max_tier", "min_tier"):
            if sometimes(self.source, 60):
                rule[key] = self.source.whole(1, 3)
        return rule


def written(journalist: Journalist, engine: Engine, events: int) -> bytes:
    """A journal of so many events, of which an engine takes what it can: what it did decides what comes next."""
    lines = []
    for _ in range(events):
        event = journalist.next_event(engine.next_timer())
        lines.append(json.dumps(event))
        journalist.note(None, fire_timers(engine, event["t"]))
        try:
            journalist.note(event, engine.apply(event))
        except CordboardError:
            continue
    return "\n".join(lines).encode()
