"""Events and effects of the library as messages, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from cordboard.errors import InputError, Where
from cordboard.journal import TIME_MAX_S
from cordboard.live.center_json import etag_of, record_center
from cordboard.live.entry import Entry, Outcome
from cordboard.services.errors import status_of
from cordboard.v1 import journal_pb2 as pb

Event = dict[str, Any]


def timestamp(t: float) -> Timestamp:
    """Seconds since the epoch as a Timestamp, in whole microseconds."""
    seconds, us = divmod(round(t * 1e6), 1_000_000)
    return Timestamp(seconds=seconds, nanos=us * 1000)


def duration(seconds: float) -> Duration:
    """Seconds as a Duration, in whole microseconds."""
    whole, us = divmod(round(seconds * 1e6), 1_000_000)
    return Duration(seconds=whole, nanos=us * 1000)


def seconds_of(value: Timestamp | Duration, key: str) -> float:
    """Seconds of a Timestamp or a Duration that is not negative. InputError for one that can't be."""
    seconds = value.seconds + value.nanos / 1e9
    if not 0 <= seconds <= TIME_MAX_S or not 0 <= value.nanos < 1_000_000_000:
        raise InputError("not a time", Where(key=key), f"Give 0 to {TIME_MAX_S:g} seconds")
    return seconds


def seconds_between(value: Duration | None, low: float, high: float, default: float, key: str) -> float:
    """Seconds of an optional Duration, within bounds. InputError outside of them."""
    if value is None:
        return default
    seconds = seconds_of(value, key)
    if not low <= seconds <= high:
        raise InputError(f"{seconds:g} s is out of bounds", Where(key=key), f"Give {low:g} to {high:g} seconds")
    return seconds


# ---- events


def contact_queued(message: Any, contact: str, queue: str, preferred_agent: str) -> Event:
    """The event of an EnqueueRequest or a ContactQueued, which have the same optional fields."""
    event: Event = {"event": "contact_queued", "contact": contact, "queue": queue}
    has = message.HasField
    if has("priority"):
        event["priority"] = _finite(message.priority, "priority")
    if message.required_levels:
        event["requires"] = dict(message.required_levels)
    if message.steps:
        event["steps"] = [_step(step, f"steps[{i}]") for i, step in enumerate(message.steps)]
    if message.customer:
        event["customer"] = message.customer
    if preferred_agent:
        event["preferred_agent"] = preferred_agent
    if has("min_tier"):
        event["min_tier"] = message.min_tier
    if has("max_tier"):
        event["max_tier"] = message.max_tier
    if message.tier_rules:
        event["tier_rules"] = [_tier_rule(rule, f"tier_rules[{i}]") for i, rule in enumerate(message.tier_rules)]
    if has("queued_at"):
        event["queued_at"] = seconds_of(message.queued_at, "queued_at")
    if message.agent_values:
        event["values"] = {agent: _finite(value, "agent_values") for agent, value in message.agent_values.items()}
    return event


def _finite(value: float, key: str) -> float:
    if not math.isfinite(value):
        raise InputError("not a number", Where(key=key), "Give a finite number")
    return value


def _step(step: pb.RequirementStep, key: str) -> dict[str, Any]:
    found: dict[str, Any] = {"requires": dict(step.required_levels)}
    if step.HasField("duration"):
        found["for"] = seconds_of(step.duration, f"{key}.duration")
    return found


def _tier_rule(rule: pb.TierRule, key: str) -> dict[str, Any]:
    found: dict[str, Any] = {"after": seconds_of(rule.after, f"{key}.after")}
    if rule.HasField("min_tier"):
        found["min_tier"] = rule.min_tier
    if rule.HasField("max_tier"):
        found["max_tier"] = rule.max_tier
    return found


# Kinds that a caller may send, and their fields, which have the same names in the message and in the journal.
_PLAIN: dict[str, tuple[str, ...]] = {
    "agent_ready": ("agent",),
    "agent_offline": ("agent",),
    "contact_left": ("contact",),
    "offer_accepted": ("contact", "agent"),
    "offer_declined": ("contact", "agent"),
    "contact_ended": ("contact",),
    "wrap_up_ended": ("agent",),
}


def event_of(message: pb.Event, key: str) -> Event:
    """The event of a message, without its time. InputError for a kind that callers don't send."""
    kind = message.WhichOneof("kind")
    if kind is not None and kind in _PLAIN:
        part = getattr(message, kind)
        return {"event": kind, **{field: getattr(part, field) for field in _PLAIN[kind]}}
    if kind == "contact_queued":
        queued = message.contact_queued
        return contact_queued(queued, queued.contact, queued.queue, queued.preferred_agent)
    if kind == "agent_away":
        away = message.agent_away
        reason = {"reason": away.reason} if away.reason else {}
        return {"event": kind, "agent": away.agent, **reason}
    if kind == "priority_changed":
        changed = message.priority_changed
        return {"event": kind, "contact": changed.contact, "priority": _finite(changed.priority, f"{key}.priority")}
    raise InputError(f"an event of kind {kind or '(none)'} is not for callers", Where(key=key), "See journal.proto")


def _queued_message(event: Mapping[str, Any]) -> pb.ContactQueued:
    message = pb.ContactQueued(contact=event["contact"], queue=event["queue"])
    for key in ("priority", "customer", "preferred_agent", "min_tier", "max_tier"):
        if event.get(key) is not None:
            setattr(message, key, event[key])
    message.required_levels.update(event.get("requires") or {})
    for step in event.get("steps") or ():
        one = message.steps.add()
        one.required_levels.update(step.get("requires", {}))
        if step.get("for") is not None:
            one.duration.CopyFrom(duration(step["for"]))
    for rule in event.get("tier_rules") or ():
        tiers = {key: rule[key] for key in ("min_tier", "max_tier") if key in rule}
        message.tier_rules.add(after=duration(rule["after"]), **tiers)
    if event.get("queued_at") is not None:
        message.queued_at.CopyFrom(timestamp(event["queued_at"]))
    message.agent_values.update(event.get("values") or {})
    return message


_EVENT_MESSAGES: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "agent_ready": lambda e: pb.AgentReady(agent=e["agent"]),
    "agent_away": lambda e: pb.AgentAway(agent=e["agent"], reason=e.get("reason", "")),
    "agent_offline": lambda e: pb.AgentOffline(agent=e["agent"]),
    "contact_queued": _queued_message,
    "contact_left": lambda e: pb.ContactLeft(contact=e["contact"]),
    "offer_accepted": lambda e: pb.OfferAccepted(contact=e["contact"], agent=e["agent"]),
    "offer_declined": lambda e: pb.OfferDeclined(contact=e["contact"], agent=e["agent"]),
    "contact_ended": lambda e: pb.ContactEnded(contact=e["contact"]),
    "wrap_up_ended": lambda e: pb.WrapUpEndedByAgent(agent=e["agent"]),
    "priority_changed": lambda e: pb.PriorityChanged(contact=e["contact"], priority=e["priority"]),
    "clock": lambda e: pb.Clock(),
    "center_changed": lambda e: pb.CenterChanged(etag=etag_of(record_center(e["center"]))),
}


def event_message(event: Mapping[str, Any]) -> pb.Event:
    """An event of the journal as a message."""
    kind = event["event"]
    make = _EVENT_MESSAGES.get(kind)
    if make is not None:
        return pb.Event(time=timestamp(event["t"]), **{kind: make(event)})
    other = pb.OtherEvent(kind=kind, fields=_struct(event, "event"))
    return pb.Event(time=timestamp(event["t"]), other=other)


# ---- effects


def _why(why: Mapping[str, Any]) -> pb.OfferReason:
    contacts = why["contacts"]
    return pb.OfferReason(
        eligible_agents=why["eligible"],
        strategy=why["strategy"],
        key=why["key"],
        value=why["value"],
        runner_up=why["runner_up"] or "",
        runner_up_value=why["runner_up_value"],
        tier=why["tier"],
        eligible_contacts=contacts["eligible"],
        contact_order=contacts["order"],
        contact_key=contacts["key"],
        contact_value=contacts["value"],
        contact_runner_up="" if contacts["runner_up"] is None else str(contacts["runner_up"]),
        contact_runner_up_value=contacts["runner_up_value"],
    )


def _offer(e: Mapping[str, Any]) -> pb.Offer:
    why = e["why"]
    return pb.Offer(contact=e["contact"], agent=e["agent"], queue=e["queue"], why=_why(why) if why else None)


_EFFECT_MESSAGES: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "offer": _offer,
    "offer_withdrawn": lambda e: pb.OfferWithdrawn(contact=e["contact"], agent=e["agent"], reason=e["reason"]),
    "offer_expired": lambda e: pb.OfferExpired(contact=e["contact"], agent=e["agent"]),
    "contact_rejected": lambda e: pb.ContactRejected(contact=e["contact"], queue=e["queue"], reason=e["reason"]),
    "contact_expired": lambda e: pb.ContactExpired(contact=e["contact"], to=e["to"] or ""),
    "agent_away": lambda e: pb.AgentSetAway(agent=e["agent"], reason=e["reason"]),
    "wrap_up_started": lambda e: pb.WrapUpStarted(agent=e["agent"], until=timestamp(e["until"])),
    "wrap_up_ended": lambda e: pb.WrapUpEnded(agent=e["agent"]),
}


def effect_message(effect: Mapping[str, Any]) -> pb.Effect:
    """An effect as a message."""
    kind = effect["effect"]
    make = _EFFECT_MESSAGES.get(kind)
    if make is not None:
        return pb.Effect(time=timestamp(effect["t"]), **{kind: make(effect)})
    return pb.Effect(time=timestamp(effect["t"]), other=pb.OtherEffect(kind=kind, fields=_struct(effect, "effect")))


def _struct(record: Mapping[str, Any], name: str) -> Struct:
    fields = Struct()
    fields.update({key: value for key, value in record.items() if key not in ("t", name)})
    return fields


def effect_messages(effects: Iterable[Mapping[str, Any]]) -> list[pb.Effect]:
    return [effect_message(effect) for effect in effects]


def entry_message(entry: Entry) -> pb.Entry:
    """A row of the journal as a message."""
    return pb.Entry(
        revision=entry.revision,
        event=event_message(entry.event),
        effects=effect_messages(entry.effects),
        error=None if entry.error is None else status_of(entry.error),
        actor=entry.actor,
        request_id=entry.request_id,
    )


def applied(outcome: Outcome, into: pb.Applied | None = None) -> pb.Applied:
    """What a request did, as a message, or ``into`` one. Raises the error for which the core refused it."""
    entry = outcome.entry
    if entry.error is not None:
        raise entry.error
    found = pb.Applied() if into is None else into
    found.revision = entry.revision
    found.time.FromMicroseconds(round(entry.t * 1e6))
    if entry.effects:
        found.effects.extend(effect_messages(entry.effects))
    found.repeated_request = outcome.repeated
    return found
