"""Why a contact got its agent, or nobody: the story of one contact, from a replay.

``explain`` replays a journal and watches one contact. The story is a list of entries in the order of time: what
happened to the contact, and between those the spells in which it waited, each with what kept every agent from it and
the smallest single change that would have made an agent eligible. ``cordboard.telling`` puts it in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from cordboard.center import Center
from cordboard.errors import UnknownNameError, Where
from cordboard.floor import Block, Desk, Effect, Floor, Visit, asked
from cordboard.journal import CALL_EVENTS, EVENTS, Event, told
from cordboard.replay import Engine, replay, with_calls

# How big a change each thing in the way would need, the smallest first. Within a kind the size decides.
CHANGES = ("level", "tier_wait", "delay", "window", "reserve", "retry", "wrap_up", "rings", "talks", "engaged",
           "other_channel", "excluded", "away", "offline", "queue", "channel")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Agents kept from the contact by the same thing."""

    block: Block
    agents: tuple[str, ...]


@dataclass(slots=True)
class Entry:
    """One part of a story. ``kind`` "waiting" has ``until``, ``groups`` and ``change``; the others have ``data``."""

    t: float
    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    until: float | None = None
    groups: tuple[Group, ...] = ()
    change: Group | None = None


@dataclass(slots=True)
class Story:
    """What happened to one contact. ``ended_at``: where the replay ended. ``skipped``: lines that did not fit.
    ``time_zone``: of the center with which the journal begins."""

    contact: str
    time_zone: str = "UTC"
    entries: list[Entry] = field(default_factory=list)
    ended_at: float = 0.0
    skipped: int = 0


def explain(
    engine: Engine,
    center: Center,
    stream: BinaryIO,
    contact: str,
    file: str = "<journal>",
    until: float | None = None,
) -> Story:
    """The story of ``contact``, up to ``until`` seconds or the end. Raises UnknownNameError if it never came."""
    witness = _Witness(engine, center, contact)
    story = witness.story
    for answer in replay(witness, center, stream, file, until):
        story.skipped += answer.error is not None
    witness.finish()
    if not story.entries:
        what = f'the contact "{contact}" is not in the journal'
        if until is not None:
            what = f'the contact "{contact}" is not in the journal up to t = {until:g}'
        raise UnknownNameError(what, Where(file), "Look for its contact_queued line")
    return story


_ROUTING = frozenset({  # its effects; all others are of calls
    "offer", "offer_withdrawn", "offer_expired", "contact_rejected", "contact_expired", "agent_away",
    "wrap_up_started", "wrap_up_ended",
})  # fmt: skip


class _Witness:
    """An engine that tells what it does: passes everything on and watches one contact."""

    def __init__(self, engine: Engine, center: Center, contact: str) -> None:
        self.engine, self.center = engine, center
        self.floor = Floor(center)
        self.story = Story(contact, center.time_zone)
        self._passed_over: dict[str, dict[str, Any]] = {}  # agent -> who got it instead, and why
        self._open: Entry | None = None

    @property
    def now(self) -> float:
        return self.engine.now

    def next_timer(self) -> float | None:
        return self.engine.next_timer()

    def advance(self, t: float) -> list[Effect]:
        effects = self.engine.advance(t)
        self._follow(t, None, effects)
        return effects

    def apply(self, event: Event) -> list[Effect]:
        if event["event"] in CALL_EVENTS:
            self.engine = with_calls(self.engine)
        effects = self.engine.apply(event)
        self._follow(float(event["t"]), event if event["event"] in EVENTS else None, effects)
        return effects

    def _follow(self, t: float, follow: Event | None, effects: list[Effect]) -> None:
        """Watch an event and what it did; what a switchboard told the routing meanwhile was an event, too."""
        own = list[Effect]()
        for effect in effects:
            event_told = told(effect)
            if event_told is not None:
                self._watch(t, follow, own)
                t, follow, own = float(effect["t"]), event_told, []
            elif effect["effect"] in _ROUTING:
                own.append(effect)
        self._watch(t, follow, own)

    def with_center(self, center: Center, t: float) -> tuple[Engine, list[Effect]]:
        self.engine, effects = self.engine.with_center(center, t)
        self.center = center
        self.floor.with_center(center)
        if self.story.contact in self.floor.visits:
            self._close(t)
            self._tell(t, "center_changed", {})
        self._watch(t, None, effects)
        return self, effects

    def finish(self) -> None:
        """Close the spell that is still open."""
        self.story.ended_at = self.engine.now
        self._close(self.engine.now, still=True)

    def _watch(self, t: float, event: Event | None, effects: list[Effect]) -> None:
        name = self.story.contact
        if event is not None:
            desk = self._desk_of(name) if event["event"] == "contact_ended" else None
            self.floor.take_event(event)
            if event.get("contact") == name:
                self._tell_event(t, event, desk)
        for effect in effects:
            if effect["effect"] == "offer" and effect["contact"] != name:
                self._notice_passing_over(effect)
            if effect.get("contact") == name:
                self._close(float(effect["t"]))
                self._tell(float(effect["t"]), effect["effect"], self._effect_data(effect))
            self.floor.take_effect(effect)
        self.floor.sweep()
        visit = self.floor.visits.get(name)
        if visit is None or visit.state != "waiting":
            self._close(t)
        else:
            self._stand(t, visit)

    def _desk_of(self, name: str) -> Desk | None:
        return next((desk for desk in self.floor.desks.values() if name in desk.held), None)

    def _tell(self, t: float, kind: str, data: dict[str, Any]) -> None:
        self.story.entries.append(Entry(t, kind, data))

    def _tell_event(self, t: float, event: Event, desk: Desk | None) -> None:
        self._close(t)
        data = {key: value for key, value in event.items() if key not in ("t", "event", "contact")}
        if event["event"] == "contact_queued":
            visit = self.floor.visits[event["contact"]]
            data = {"queue": visit.queue.name, "priority": visit.priority, "arrived": visit.arrived}
            data["asks"] = asked(visit, t)[0]
        elif desk is not None:
            data["agent"] = desk.agent.name
        self._tell(t, event["event"], data)

    def _effect_data(self, effect: Effect) -> dict[str, Any]:
        data = {key: value for key, value in effect.items() if key not in ("t", "effect", "contact")}
        if effect["effect"] == "offer":
            visit = self.floor.visits[effect["contact"]]
            data["queue"] = visit.queue.name
            data["strategy"] = visit.queue.strategy
            data["waited"] = float(effect["t"]) - visit.arrived
        elif effect["effect"] == "contact_expired":
            data["queue_gone"] = self.floor.visits[effect["contact"]].queue.name not in self.floor.queues
        return data

    def _notice_passing_over(self, effect: Effect) -> None:
        """An agent whom our contact could have had goes to another one: remember who and why."""
        visit = self.floor.visits.get(self.story.contact)
        other = self.floor.visits.get(effect["contact"])
        desk = self.floor.desks[effect["agent"]]
        t = float(effect["t"])
        if visit and other and visit.state == "waiting" and not self.floor.blocks(visit, desk, t):
            reason = self._precedence(other, visit)
            self._passed_over[desk.agent.name] = {"contact": other.name, "t": t, **reason}

    def _precedence(self, first: Visit, second: Visit) -> dict[str, Any]:
        """The key of the center's order by which ``first`` goes before ``second``."""
        order = self.center.order
        if order == "priority":
            if first.queue.weight != second.queue.weight:
                return {"key": "weight", "its": first.queue.weight, "ours": second.queue.weight}
            if first.priority != second.priority:
                return {"key": "priority", "its": first.priority, "ours": second.priority}
        elif order == "score" and first.arrived - first.priority != second.arrived - second.priority:
            return {"key": "score", "its": first.priority - first.arrived, "ours": second.priority - second.arrived}
        elif order == "ratio" and first.queue.target_within != second.queue.target_within:
            return {"key": "ratio", "its": first.queue.target_within, "ours": second.queue.target_within}
        if first.arrived != second.arrived:
            return {"key": "arrival", "its": first.arrived, "ours": second.arrived}
        return {"key": "line", "its": first.name, "ours": second.name}

    # -- spells of waiting --------------------------------------------------------------------------------------------

    def _stand(self, t: float, visit: Visit) -> None:
        """Note what keeps everyone from the contact now; a spell goes on as long as nothing of it changes."""
        groups, change = self._groups(visit, t)
        if self._open is not None and self._open.groups == groups and _same(self._open.change, change):
            return
        self._close(t)
        self._open = Entry(t, "waiting", groups=groups, change=change)

    def _groups(self, visit: Visit, t: float) -> tuple[tuple[Group, ...], Group | None]:
        found: dict[tuple[Any, ...], tuple[Block, list[str]]] = {}
        best: tuple[tuple[float, ...], Group] | None = None
        for index, agent in enumerate(self.center.agents):
            name = agent.name
            blocks = self.floor.blocks(visit, self.floor.desks[name], t) or [Block("eligible")]
            shown = self._shown(name, blocks[0])
            found.setdefault(_key(shown), (shown, []))[1].append(name)
            if len(blocks) == 1 and blocks[0].kind in CHANGES:
                cost = (CHANGES.index(shown.kind), shown.size, index)
                if best is None or cost < best[0]:
                    waited = {"waited": blocks[0].detail.get("waited", 0.0)}  # what the limit would have to be
                    best = (cost, Group(replace(shown, detail=shown.detail | waited), (name,)))
        groups = tuple(Group(block, tuple(names)) for block, names in found.values())
        return groups, best[1] if best else None

    def _shown(self, name: str, block: Block) -> Block:
        """The block as the story shows it: who got the agent instead; nothing that changes by itself."""
        detail = {key: value for key, value in block.detail.items() if key not in ("waited", "since", "contacts")}
        instead = self._passed_over.get(name)
        if instead and instead["contact"] in block.detail.get("contacts", ()):
            detail["instead"] = instead
        timed = block.kind in ("delay", "tier_wait", "retry", "wrap_up")  # their size is only the time left
        return Block(block.kind, block.until, 1.0 if timed else block.size, detail)

    def _close(self, t: float, still: bool = False) -> None:
        spell, self._open = self._open, None
        if spell is not None and (t > spell.t or still):
            spell.until = t
            self.story.entries.append(spell)


def _same(one: Group | None, other: Group | None) -> bool:
    """Whether two changes are the same but for the time that has gone by."""
    if one is None or other is None:
        return one is other
    return (one.block.kind, one.agents, one.block.until) == (other.block.kind, other.agents, other.block.until)


def _key(block: Block) -> tuple[Any, ...]:
    return (block.kind, block.until, tuple((key, str(value)) for key, value in sorted(block.detail.items())))


def records(story: Story) -> Iterator[dict[str, Any]]:
    """The entries as plain data."""
    for entry in story.entries:
        record: dict[str, Any] = {"t": entry.t, "what": entry.kind, **entry.data}
        if entry.kind == "waiting":
            record["until"] = entry.until
            record["groups"] = [_group_record(group) for group in entry.groups]
            record["change"] = _group_record(entry.change) if entry.change else None
        yield record


def _group_record(group: Group) -> dict[str, Any]:
    record: dict[str, Any] = {"agents": list(group.agents), "filter": group.block.kind, **group.block.detail}
    if group.block.until is not None:
        record["until"] = group.block.until
    return record
