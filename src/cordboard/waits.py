"""Estimated waits: a projection of a center's events that says how long a waiting contact will still wait.

Feed :meth:`WaitEstimator.observe` every event with the effects that the engine answered, and ask
:meth:`WaitEstimator.predict` at any time. It learns with every contact that an agent takes, and uses the state alone:
who waits ahead for the same agents, who of them is staffed and busy, handle times, patience, the flow of the last
minutes, the time of day. What the contact before got is not extrapolated. See docs/background/estimated-waits.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordboard._core.wait import FEATURE_COUNT, WaitCore
from cordboard.center import Agent, Center, Queue, Step
from cordboard.errors import EventError, LimitError, UnknownNameError, Where

KINDS_MORE_MAX = 64  # kinds beyond the queues' own: contacts that bring their own requirements
LINES_MAX = 16  # lines a kind, one for each priority and origin; a further one stands with the nearest

QUEUES_MAX = 2000
KEYS_MAX = 100_000  # sets of requirements remembered

# Where a contact in a line comes from: a queue it overflowed from (0 ...), or
NEW, CALL_BACK, PRIORITY_CHANGED = -1, -2, -3

_ORDERS = {"priority": 0, "score": 1, "ratio": 2}
_STAFFED = {"agent_ready": True, "agent_away": False, "agent_offline": False}
_ENGAGED = {"agent_engaged": True, "agent_released": False}


@dataclass(frozen=True, slots=True)
class WaitEstimate:
    """Seconds that a contact will still wait if it stays: the mean, and what half and nine tenths of such contacts wait
    at most. Zero where an agent is free for it."""

    mean: float
    p50: float
    p90: float


class WaitEstimator:
    """Learns and predicts the waits of one center. Not thread-safe; deterministic: same events, same answers.

    Contacts are named as in the events, any hashable name will do. Bounded: it learns from at most 4,096 contacts that
    wait at one time and keeps at most ``KINDS_MORE_MAX`` sets of requirements beyond the queues' own; others count as
    their queue's. LimitError for a center of more than ``QUEUES_MAX`` queues.
    """

    def __init__(self, center: Center) -> None:
        if len(center.queues) > QUEUES_MAX:
            raise LimitError(f"{len(center.queues)} queues are too many for estimated waits", QUEUES_MAX)
        self._center = center
        self._queues = {queue.name: i for i, queue in enumerate(center.queues)}
        self._agents = {agent.name: i for i, agent in enumerate(center.agents)}
        profiles: dict[object, int] = {}
        agent_group = np.zeros(len(center.agents), dtype=np.int32)
        self._groups: list[Agent] = []  # one agent of each profile
        for i, agent in enumerate(center.agents):
            agent_group[i] = profiles.setdefault(_profile(agent), len(profiles))
            if len(profiles) > len(self._groups):
                self._groups.append(agent)
        slots = [next(iter(a.capacity.values())) if len(a.capacity) == 1 else 0 for a in self._groups]
        kinds = len(center.queues) + KINDS_MORE_MAX
        self._core = WaitCore(
            agent_group, np.array(slots, dtype=np.int32), _ORDERS[center.order], kinds, kinds * LINES_MAX
        )
        self._slots: dict[object, int] = {}
        self._engaged: dict[int, float] = {}  # agents on calls that are no contacts of theirs -> expected ends a second
        self._apart: set[object] = set()  # conversations of queues that the center no longer has
        self._waiting: dict[object, tuple[int, int, float]] = {}  # contact -> queue, kind, priority
        self._kinds: dict[object, int] = {}
        self._lines: dict[int, dict[tuple[float, int], int]] = {}  # kind -> priority, origin -> line
        for i, queue in enumerate(center.queues):
            self._add_kind(i, queue.requires, queue.steps, (i,))

    @property
    def learned(self) -> int:
        """Contacts learned from so far."""
        return self._core.learned

    def observe(self, event: Mapping[str, Any], effects: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Take one event of the journal and the effects with which the engine answered it.

        Without effects (None) no engine is asked, and an idle agent is taken to be free for whoever it can serve. With
        them, a contact that the engine did not offer has to wait, whoever is idle: its tier, delay, step or a reserve
        keeps it from them.

        Times in seconds that never fall (EventError). UnknownNameError if it names what was never seen.
        """
        t = _time(event)
        if not t >= self._core.now:  # NaN too
            what = f"the time goes back: {event['t']} after {self._core.now}"
            raise EventError(what, Where(key="t"), "Feed the events in order of time")
        held = refused = False
        for effect in effects or ():  # timers fire before the event that lets them be seen ...
            name = effect["effect"]
            if name == "wrap_up_started":
                held = True
            elif name == "contact_rejected" and effect["contact"] not in self._waiting:
                refused = True
            else:
                self._effect(name, effect)
        name = event["event"]
        if name == "contact_queued":
            contact = event["contact"]
            slot = self._queued(t, contact, event)
            if refused:  # ... and a contact must have come to be turned away
                self._gone(t, contact, abandoned=False)
            elif effects is not None:
                offers = [effect for effect in effects if effect["effect"] == "offer"]
                to = [effect["agent"] for effect in offers if effect["contact"] == contact]
                if event.get("handed_over") and event["preferred_agent"] in to:
                    self._engage(t, event["preferred_agent"], False)  # by this contact, which she has from now on
                self._core.refused(slot, not to)
        else:
            self._event(t, name, event, held)

    def predict(self, contact: object, now: float = 0.0) -> WaitEstimate:
        """The wait still ahead of a waiting contact, at ``now`` (seconds) or the last event, whichever is later.

        UnknownNameError if no contact of that name waits.
        """
        return WaitEstimate(*self._core.predict(now, self._slot(contact)))

    def features(self, contact: object) -> NDArray[np.float64] | None:
        """What the estimate of a waiting contact is made of: float64, shape (47,), in the order of ``_core/wait.pyx``.

        None where an agent is free for it, and the estimate is 0. For studies.
        """
        row = np.empty(FEATURE_COUNT, dtype=np.float64)
        return row if self._core.features(self._slot(contact), row) else None

    @property
    def trust(self) -> float:
        """The share of the learned correction in the estimates: 0 is the physics alone, 1 the regression alone."""
        return self._core.trust()

    def ahead(self, contact: object) -> float:
        """Contacts ahead that compete for the agents of this one, each by the share of those agents who serve it."""
        return self._core.ahead(self._slot(contact))

    def learned_rates(self, queue: str) -> tuple[float, float]:
        """Of a queue: mean handle time (conversation and wrap-up, seconds), abandonments a second of waiting."""
        return self._core.parameters(_known(self._queues, queue, "queue"))

    # ---- events and effects

    def _event(self, t: float, name: str, event: Mapping[str, Any], held: bool) -> None:
        if name == "offer_accepted":
            slot = self._slot(event["contact"])
            agent = -1 if event["agent"] is None else _known(self._agents, event["agent"], "agent")
            self._core.connected(t, slot, agent)
            del self._waiting[event["contact"]]
        elif name == "contact_ended" and event["contact"] in self._apart:
            self._apart.discard(event["contact"])
        elif name == "contact_ended":
            self._core.ended(t, _known(self._slots, event["contact"], "contact"), held)
            del self._slots[event["contact"]]
        elif name == "contact_left":
            self._gone(t, event["contact"], abandoned=True)
        elif name in _STAFFED:
            self._core.agent_staffed(t, _known(self._agents, event["agent"], "agent"), _STAFFED[name])
        elif name in _ENGAGED:
            self._engage(t, event["agent"], _ENGAGED[name])
        elif name == "offer_declined":
            self._core.refused(self._slot(event["contact"]), True)
        elif name == "priority_changed":
            self._slot(event["contact"])
            queue, kind, _ = self._waiting[event["contact"]]
            self._move(t, event["contact"], (queue, kind, float(event["priority"])), PRIORITY_CHANGED)

    def _effect(self, name: str, effect: Mapping[str, Any]) -> None:
        if name in ("offer", "offer_expired", "offer_withdrawn"):
            if effect["contact"] in self._waiting:
                self._core.refused(self._slots[effect["contact"]], name != "offer")
            return
        t = _time(effect)
        if name == "agent_away":
            self._core.agent_staffed(t, _known(self._agents, effect["agent"], "agent"), False)
        elif name == "wrap_up_ended":
            self._core.wrap_up_ended(t, _known(self._agents, effect["agent"], "agent"))
        elif name == "contact_rejected":
            self._gone(t, effect["contact"], abandoned=False)
        elif name == "contact_expired":
            if effect["to"] is None:
                self._gone(t, effect["contact"], abandoned=False)
            else:
                before, kind, priority = self._waiting[effect["contact"]]
                queue = _known(self._queues, effect["to"], "queue")
                own = kind >= len(self._queues)  # it brought its own requirements and keeps them
                self._move(t, effect["contact"], (queue, kind if own else queue, priority), before)

    def _engage(self, t: float, name: str, engaged: bool) -> None:
        """An agent on a call that is no contact of hers (she consults, previews, listens in) is as busy as with one."""
        agent = _known(self._agents, name, "agent")
        if engaged and agent not in self._engaged:
            self._engaged[agent] = self._core.engaged(t, agent, 0.0)
        elif not engaged and agent in self._engaged:
            self._core.engaged(t, agent, self._engaged.pop(agent))

    def _queued(self, t: float, contact: object, event: Mapping[str, Any]) -> int:
        queue = _known(self._queues, event["queue"], "queue")
        priority, kind, since, origin = 0.0, queue, t, NEW
        if len(event) > 4:
            priority = float(event.get("priority") or 0.0)
            kind = self._kind_of(queue, event.get("requires"), event.get("steps"))
            if event.get("queued_at") is not None:
                since, origin = float(event["queued_at"]), CALL_BACK
        slot = self._core.queued(t, self._line(queue, kind, priority, origin), since)
        self._slots[contact] = slot
        self._waiting[contact] = (queue, kind, priority)
        return slot

    def _gone(self, t: float, contact: object, abandoned: bool) -> None:
        self._core.left(t, self._slot(contact), abandoned)
        del self._waiting[contact], self._slots[contact]

    def _move(self, t: float, contact: object, to: tuple[int, int, float], origin: int) -> None:
        self._core.moved(t, self._slot(contact), self._line(*to, origin))
        self._waiting[contact] = to

    # ---- kinds and lines

    def _slot(self, contact: object) -> int:
        if contact not in self._waiting:
            raise UnknownNameError(
                f"no contact {contact!r} waits", Where(key="contact"), "It may be connected, or gone"
            )
        return self._slots[contact]

    def _kind_of(self, queue: int, requires: object, steps: object) -> int:
        if requires is None and steps is None:
            return queue
        levels = requires if isinstance(requires, Mapping) else {}
        parts = tuple(
            Step(part.get("for"), dict(part.get("requires", {})))
            for part in (steps if isinstance(steps, Sequence) else ())
        )
        key = (
            queue,
            tuple(sorted(levels.items())),
            tuple((s.seconds, tuple(sorted(s.requires.items()))) for s in parts),
        )
        kind = self._kinds.get(key)
        if kind is not None:
            return kind
        return self._add_kind(queue, levels, parts, key)

    def _add_kind(self, queue: int, requires: Mapping[str, int], steps: Sequence[Step], key: object) -> int:
        spec = self._center.queues[queue]
        ways = _ways(requires, steps)
        opens = np.array([_opens(agent, spec, ways) for agent in self._groups], dtype=np.float64)
        room = [agent.capacity.get(spec.channel, 0) for agent in self._groups]
        can = np.where(np.isfinite(opens), np.array(room, dtype=np.int32), 0).astype(np.int32)
        kind = self._core.add_kind(can, opens)
        self._kinds[key] = kind if kind >= 0 else queue
        if len(self._kinds) > KEYS_MAX:  # requirements without end: those that got no kind are looked up anew
            self._kinds = {k: v for k, v in self._kinds.items() if v >= len(self._queues)}
        return self._kinds.get(key, queue)

    def _line(self, queue: int, kind: int, priority: float, origin: int) -> int:
        """The line of contacts alike: a line is in order of arrival, so those that keep an earlier one stand apart."""
        lines = self._lines.setdefault(kind, {})
        line = lines.get((priority, origin))
        if line is not None:
            return line
        if len(lines) >= LINES_MAX:
            return lines[min(lines, key=lambda known: (abs(known[0] - priority), known[1] != origin, known))]
        spec = self._center.queues[queue]
        line = self._core.add_line(kind, spec.weight, priority, max(spec.target_within, 1e-6))
        lines[(priority, origin)] = line
        return line


def _time(line: Mapping[str, Any]) -> float:
    """Seconds to the microsecond, as the engine counts: an effect's time is rounded, its event's may not be."""
    t = line["t"] * 1e6
    return round(t) / 1e6 if -math.inf < t < math.inf else math.nan


def _profile(agent: Agent) -> object:
    """What decides whom an agent can serve, and when; agents who share it are one group."""
    queues = None if agent.queues is None else frozenset(agent.queues.items())
    return frozenset(agent.skills.items()), queues, frozenset(agent.capacity.items()), agent.blend


def _ways(requires: Mapping[str, int], steps: Sequence[Step]) -> list[tuple[float, Mapping[str, int]]]:
    """From how many seconds of waiting on a contact asks for which levels."""
    if not steps:
        return [(0.0, requires)]
    ways: list[tuple[float, Mapping[str, int]]] = []
    start = 0.0
    for step in steps:
        ways.append((start, step.requires))
        if step.seconds is None:
            return ways
        start += step.seconds
    return [*ways, (start, {})]  # when the last timed step is over, queue membership alone counts


def _opens(agent: Agent, queue: Queue, ways: Sequence[tuple[float, Mapping[str, int]]]) -> float:
    """The seconds of waiting from which on the agent may have such a contact; infinite if it never may."""
    tier = 1 if agent.queues is None else agent.queues.get(queue.name)
    able = (start for start, way in ways if all(agent.skills.get(skill, 0) >= level for skill, level in way.items()))
    start = min(able, default=math.inf)
    if tier is None:
        return math.inf
    tier_wait = queue.tier_wait * (tier if queue.tier_wait_multiplies else 1) if tier > 1 else 0.0
    return max(start, queue.delay, tier_wait)


def _known(names: Mapping[Any, int], name: object, what: str) -> int:
    found = names.get(name)
    if found is None:
        raise UnknownNameError(f"there is no {what} {name!r}", Where(key=what), "Names are those of the center file")
    return found
