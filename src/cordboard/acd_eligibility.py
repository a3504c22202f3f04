"""Why an agent can't get a contact just now: the first filter that removes it, and when that changes.

The filters stand in the order of the contract's sentence on who is eligible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cordboard._core.acd import Router
from cordboard.center import CHANNELS, Agent, Center, Queue, Step

FILTERS = (
    "offline",
    "away",
    "wrap_up",
    "retry_delay",
    "no_channel",  # no capacity at all for the queue's channel
    "capacity",
    "other_channel",  # blend is false, and the agent holds a contact of another channel
    "not_in_queue",
    "tier_window",
    "delay",
    "tier_wait",
    "skill",
    "excluded",  # declined or missed this contact
    "reserve",
    "engaged",  # on a call that is no contact of its own, and nothing else keeps the agent from it
)


def eligibility(center: Center, router: Router, slot: int, wishes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry an agent: ``agent``, ``filter`` (None: eligible), ``until`` and details. See Acd.eligibility."""
    contact = router.contact(slot)
    queue = center.queues[contact["queue"]]
    found = []
    for index, agent in enumerate(center.agents):
        entry: dict[str, Any] = {"agent": agent.name, "filter": None, "until": None}
        entry.update(
            _at_work(agent, router.agent(index), queue)
            or _of_queue(agent, queue, contact["arrival"], router.now, wishes)
            or _of_skill(agent, queue, contact["arrival"], router.now, wishes)
            or ({"filter": "excluded"} if index in contact["excluded"] else {})
            or ({"filter": "reserve"} if router.held_back(index, contact["queue"]) else {})
            or _engaged(agent, router.agent(index), queue)
        )
        found.append(entry)
    return found


def _at_work(agent: Agent, row: Mapping[str, Any], queue: Queue) -> dict[str, Any]:
    """What keeps an agent from any contact of the channel."""
    if row["presence"] != "ready":
        return {"filter": row["presence"]}
    if row["wrap_until"] is not None:
        return {"filter": "wrap_up", "until": row["wrap_until"]}
    if row["retry_until"] is not None:
        return {"filter": "retry_delay", "until": row["retry_until"]}
    capacity = agent.capacity.get(queue.channel, 0)
    if capacity == 0:
        return {"filter": "no_channel", "channel": queue.channel}
    held = dict(zip(CHANNELS, row["held"], strict=True))
    if held[queue.channel] >= capacity:
        return {"filter": "capacity", "channel": queue.channel, "capacity": capacity}
    if not agent.blend and sum(held.values()) > held[queue.channel]:
        return {"filter": "other_channel", "channel": next(c for c in held if held[c] and c != queue.channel)}
    return {}


def _engaged(agent: Agent, row: Mapping[str, Any], queue: Queue) -> dict[str, Any]:
    """A place of voice is taken; without blend it keeps the agent from the other channels as well."""
    if not row["engaged"] or (queue.channel != "voice" and agent.blend):
        return {}
    free = agent.capacity.get("voice", 0) - row["held"][CHANNELS.index("voice")]
    return {} if queue.channel == "voice" and free > 1 else {"filter": "engaged"}


def _of_queue(agent: Agent, queue: Queue, arrival: float, now: float, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Membership, the contact's tier window, the queue's delay and its waits for higher tiers."""
    tier = 1 if agent.queues is None else agent.queues.get(queue.name)
    if tier is None:
        return {"filter": "not_in_queue", "queue": queue.name}
    low, high = wishes.get("min_tier"), wishes.get("max_tier")
    window: list[tuple[float, bool]] = [(arrival, _inside(tier, low, high))]
    for rule in sorted(wishes.get("tier_rules", ()), key=lambda rule: rule["after"]):
        low, high = rule.get("min_tier", low), rule.get("max_tier", high)
        window.append((round(arrival + rule["after"], 6), _inside(tier, low, high)))
    if not [inside for since, inside in window if since <= now][-1]:
        until = next((since for since, inside in window if inside and since > now), None)
        return {"filter": "tier_window", "tier": tier, "until": until}
    delayed = round(arrival + queue.delay, 6)  # whole microseconds, as the engine counts
    if now < delayed:
        return {"filter": "delay", "until": delayed}
    wait = queue.tier_wait * (tier if queue.tier_wait_multiplies else 1) if tier > 1 else 0.0
    unlocked = round(arrival + wait, 6)
    if now < unlocked:
        return {"filter": "tier_wait", "tier": tier, "until": unlocked}
    return {}


def _inside(tier: int, low: int | None, high: int | None) -> bool:
    return (low is None or tier >= low) and (high is None or tier <= high)


def _steps(queue: Queue, wishes: Mapping[str, Any]) -> tuple[Step, ...]:
    if wishes.get("steps") is not None:
        return tuple(Step(step.get("for"), step.get("requires", {})) for step in wishes["steps"])
    if wishes.get("requires") is not None:
        return (Step(None, wishes["requires"]),)
    return queue.steps or (Step(None, queue.requires),)


def _of_skill(agent: Agent, queue: Queue, arrival: float, now: float, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The present step's levels; ``until``: the next step that the agent satisfies."""
    since = arrival
    missing: dict[str, Any] = {}
    for step in _steps(queue, wishes):
        end = None if step.seconds is None else round(since + step.seconds, 6)
        lacks = [(s, n) for s, n in step.requires.items() if agent.skills.get(s, 0) < n]
        if missing and not lacks:
            return {**missing, "until": since}
        if not missing and (end is None or now < end):
            if not lacks:
                return {}
            skill, level = lacks[0]
            missing = {"filter": "skill", "skill": skill, "needs": level, "has": agent.skills.get(skill, 0)}
        if end is None:
            return missing
        since = end
    return {**missing, "until": since} if missing else {}

