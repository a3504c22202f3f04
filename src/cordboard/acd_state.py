"""From an :class:`~cordboard.acd.Acd` to a snapshot, and from a snapshot to an Acd, of the same center or another one.

Where the center has changed everything keeps its place. What the new center no longer has stays beside it as long as it
is needed: an agent with conversations, who can take nothing, and a queue with conversations that nobody enters. Such
agents and queues stand behind those of the center, so that they have places like all others; no event can name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cordboard._core.acd import AGENT_ROW, CODES
from cordboard.acd_snapshot import (
    Rows,
    Snapshot,
    center_digest,
    numbered_by_first,
    renumbered,
    sets_of,
)
from cordboard.center import Agent, Center, Queue
from cordboard.center_diff import overflow_of
from cordboard.errors import LimitError

if TYPE_CHECKING:
    from cordboard._core.acd import Wish
    from cordboard.acd import Acd
    from cordboard.waits_state import WaitsCapture

Effect = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of loading a dump.

    ``effects`` happened because the center has changed, at the time of the dump and in this order: offers of agents who
    are gone withdrawn, their wrap-ups ended, contacts of queues that are gone expired to where those overflowed (or
    out of the center). ``talking``: agents who are gone -> the contacts with whom they still talk. ``waits``: what
    became of the estimated waits: off, kept as they were, inherited by those of the new center, or begun anew (because
    this version of the estimator remembers other things).
    """

    same_center: bool
    effects: tuple[Effect, ...] = ()
    agents_gone: tuple[str, ...] = ()
    agents_new: tuple[str, ...] = ()
    queues_gone: tuple[str, ...] = ()
    queues_new: tuple[str, ...] = ()
    talking: Mapping[str, tuple[str | int, ...]] | None = None
    waits: str = "off"


# ---- out


class Capture:
    """The state of an Acd at one instant: copies, made quickly. :meth:`snapshot` makes sense of them at any time later,
    in any thread, while the Acd goes on."""

    def __init__(self, acd: Acd) -> None:
        router, front, customers = acd._router, acd._front, acd._customers
        self.center, self.floor = acd.center, acd._floor
        self.clock = router.clock()
        self.contacts, self.slots = router.contact_rows()
        self.links, self.agents, self.sets = router.link_rows(), router.agent_rows(), router.exclusion_sets()
        self.served_last, self.offered_last = router.served_last(), router.offered_last()
        self.names, self.brought, self.gone = front.names.copy(), front.brought.copy(), list(front.gone)
        self.customers, self.customers_away = customers.names(), customers.away()
        self.waits: WaitsCapture | None = None
        if acd._waits is not None:
            from cordboard.waits_state import WaitsCapture  # late: routing alone does not need it

            self.waits = WaitsCapture(acd._waits)

    def snapshot(self) -> Snapshot:
        """Once only: the copies are used up."""
        order = np.argsort(self.contacts["seq"])
        contacts, slots = self.contacts[order], self.slots[order]
        place = np.full(int(slots.max()) + 1 if len(slots) else 0, -1, dtype=np.int32)
        place[slots] = np.arange(len(slots), dtype=np.int32)
        links = self.links
        links["contact"] = renumbered(links["contact"], place)
        links = links[np.lexsort((links["agent"], links["contact"]))]
        listed = slots.tolist()
        contacts["wish"], wishes = self._wishes(listed)
        own = contacts["excluded"] > 0
        contacts["excluded"][own], numbers = _sets_numbered(contacts["excluded"][own])
        members = [self.sets[number] for number in numbers]
        _, here = numbered_by_first(contacts["customer"][contacts["customer"] >= 0])
        known = np.array([*self.customers_away, *here], dtype=np.int32)
        rank = np.full(len(self.served_last), -1, dtype=np.int32)
        rank[known] = np.arange(len(known), dtype=np.int32)
        contacts["customer"] = renumbered(contacts["customer"], rank)
        agents, agent_places = _needed(len(self.center.agents), len(self.floor.agents), links["agent"])
        queues, queue_places = _needed(len(self.center.queues), len(self.floor.queues), contacts["queue"])
        links["agent"] = renumbered(links["agent"], agent_places)
        contacts["queue"] = renumbered(contacts["queue"], queue_places)
        rows = {
            "agents": self.agents[agents],
            "contacts": contacts,
            "links": links,
            "set_sizes": np.array([0, *map(len, members)]),
            "set_members": np.array([agent for one in members for agent in one], dtype=np.int32),
            "served_last": self.served_last[known],
            "offered_last": self.offered_last[: len(self.center.queues)],
        }
        names = [*self.names, *[None] * len(place)]  # those known by their number may have none
        texts = {
            "names": [name for name in map(names.__getitem__, listed) if name is not None],
            "gone": self.gone,
            "customers": [self.customers[number] for number in known.tolist()],
            "wishes": wishes,
        }
        said = [self.floor.queues[i] for i in queues]
        told = [{"name": q.name, "channel": q.channel, "wrap_up": q.wrap_up, "overflow": q.overflow} for q in said]
        named = [self.floor.agents[i].name for i in agents]
        snapshot = Snapshot(center_digest(self.center), self.clock, named, told, rows, texts)
        if self.waits is not None:
            snapshot.waits, snapshot.waits_data = self.waits.pack()
        return snapshot

    def _wishes(self, slots: list[int]) -> tuple[list[int], list[str]]:
        """For each contact the number of what it asked for, or -1; and what was asked for, numbered in that order."""
        brought, nothing = self.brought, (None, -1)
        numbers: dict[Wish | None, int] = {None: -1}
        asked = [brought.get(slot, nothing)[0] for slot in slots] if brought else [None] * len(slots)
        found = [numbers.setdefault(wish, len(numbers) - 1) for wish in asked]
        return found, [wish.text for wish in numbers if wish is not None]


def _sets_numbered(ids: Rows) -> tuple[Rows, list[int]]:
    """Set 0 is the empty one; the others are numbered in the order in which the contacts need them."""
    numbers, sets = numbered_by_first(ids)
    return numbers + 1, sets


def _needed(center: int, known: int, used: Rows) -> tuple[list[int], Rows]:
    """The places of the center's own and of those beside it that are still used; and the new place of every old one."""
    beside = np.unique(used[used >= center]).tolist()
    places = np.full(known, -1, dtype=np.int32)
    kept = [*range(center), *beside]
    places[kept] = np.arange(len(kept), dtype=np.int32)
    return kept, places


# ---- in


class Change:
    """Which agents and queues of a snapshot a center has, and who stands beside it for what goes on without it."""

    def __init__(self, center: Center, snapshot: Snapshot) -> None:
        self.center, self.snapshot = center, snapshot
        rows = snapshot.rows
        held = np.bincount(rows["links"]["agent"], minlength=len(snapshot.agents)) > 0
        busy = held | (rows["agents"]["wrap_until"] >= 0)
        known = {agent.name: i for i, agent in enumerate(center.agents)}
        self.agents_gone = [name for name in snapshot.agents if name not in known]
        old = frozenset(snapshot.agents)
        self.agents_new = [agent.name for agent in center.agents if agent.name not in old]
        self.agents: list[str] = [
            name for name, needed in zip(snapshot.agents, busy.tolist(), strict=True) if needed and name not in known
        ]
        known |= {name: len(center.agents) + i for i, name in enumerate(self.agents)}
        self.agent_places = np.array([known.get(name, -1) for name in snapshot.agents], dtype=np.int32)
        self._queues()

    def _queues(self) -> None:
        center, said = self.center, {queue["name"]: queue for queue in self.snapshot.queues}
        overflows = {name: queue["overflow"] for name, queue in said.items()}
        known = {queue.name: i for i, queue in enumerate(center.queues)}
        self.queues_gone = [name for name in said if name not in known]
        self.queues_new = [queue.name for queue in center.queues if queue.name not in said]
        used = np.bincount(self.snapshot.rows["contacts"]["queue"], minlength=len(said)).tolist()
        self.queues: list[Queue] = []
        for needed, (name, queue) in zip(used, said.items(), strict=True):
            if needed and name not in known:
                to = overflow_of(name, overflows, known)
                self.queues.append(Queue(name, queue["channel"], wrap_up=queue["wrap_up"], overflow=to))
        known |= {queue.name: len(center.queues) + i for i, queue in enumerate(self.queues)}
        self.queue_places = np.array([known.get(name, -1) for name in said], dtype=np.int32)

    def floor(self) -> Center:
        """The center with those beside it: they have no skills, queues, channels or wrap-up of their own."""
        beside = tuple(Agent(name, queues={}, capacity={}, wrap_up=0.0) for name in self.agents)
        if not beside and not self.queues:
            return self.center
        agents, queues = (*self.center.agents, *beside), (*self.center.queues, *self.queues)
        return Center(queues, agents, self.center.order, self.center.time_zone, self.center.reserves)


def fill(acd: Acd, change: Change) -> Loaded:
    """Bring an Acd in which nothing has happened yet into the state of a snapshot."""
    snapshot, router = change.snapshot, acd._router
    rows = snapshot.rows
    contacts, links = rows["contacts"], rows["links"]
    if len(contacts) > acd._max_contacts:
        raise LimitError(f"the dump has {len(contacts)} contacts", acd._max_contacts, "Raise max_contacts")
    agent_places = change.agent_places
    contacts["preferred"] = renumbered(contacts["preferred"], _own(agent_places, acd))
    contacts["queue"] = renumbered(contacts["queue"], change.queue_places)
    links["agent"] = renumbered(links["agent"], agent_places)
    own = _own(agent_places, acd).tolist()
    served = renumbered(rows["served_last"], _own(agent_places, acd))
    wishes = acd._wishes.load(snapshot.texts["wishes"])
    customers = snapshot.texts["customers"]
    came = contacts["customer"][contacts["customer"] >= 0]
    acd._customers.restore(customers, np.bincount(came, minlength=len(customers)).tolist())
    code = router.restore(
        snapshot.clock,
        _agent_rows(acd, change),
        contacts,
        links,
        sets_of(rows["set_sizes"], rows["set_members"], own.__getitem__),
        wishes,
        served,
        _offered_last(acd, change),
    )
    if code == CODES["no_memory"]:
        raise MemoryError
    _names(acd, snapshot, wishes)
    if snapshot.center == center_digest(change.center):
        router.settled()
        return Loaded(True, waits=_waits(acd, change, same_center=True))
    return _changed(acd, change)


def _own(places: Rows, acd: Acd) -> Rows:
    """The new places of agents of the center; -1 for those who are gone, even if they still talk."""
    return np.where(places < len(acd.center.agents), places, -1)


def _agent_rows(acd: Acd, change: Change) -> Rows:
    """In the order of the new center. A new agent is offline."""
    rows = np.zeros(len(acd._agent_names), dtype=AGENT_ROW)
    for key in ("busy_from", "wrap_until", "retry_until"):
        rows[key] = -1
    rows["since"] = change.snapshot.clock[0]
    here = change.agent_places >= 0
    rows[change.agent_places[here]] = change.snapshot.rows["agents"][here]
    return rows


def _offered_last(acd: Acd, change: Change) -> Rows:
    """For round_robin. If that agent is gone: the one before it who is still there, so that the turn goes on."""
    own = _own(change.agent_places, acd)
    before = np.maximum.accumulate(np.where(own >= 0, np.arange(len(own)), -1)) if len(own) else own
    last = np.full(len(acd._queue_names), -1, dtype=np.int32)
    said = change.snapshot.rows["offered_last"]
    for place, agent in zip(change.queue_places[: len(said)].tolist(), said.tolist(), strict=True):
        if place >= 0 and agent >= 0 and before[agent] >= 0:
            last[place] = own[before[agent]]
    return last


def _names(acd: Acd, snapshot: Snapshot, wishes: list[Wish]) -> None:
    """Contacts have come into slots 0, 1, ... in their order."""
    contacts = snapshot.rows["contacts"]
    names = snapshot.texts["names"]
    acd._front.fill(names, np.flatnonzero(contacts["id"] < 0).tolist())
    if len(acd._front.slots) != len(names):
        raise ValueError("two contacts of one name")
    acd._front.gone.update(dict.fromkeys(snapshot.texts["gone"]))
    came = np.flatnonzero((contacts["wish"] >= 0) | (contacts["customer"] >= 0))
    listed: list[Wish | None] = [*wishes, None]  # index -1 is the last
    asked = [listed[number] for number in contacts["wish"][came].tolist()]
    brought = zip(asked, contacts["customer"][came].tolist(), strict=True)
    acd._front.brought = dict(zip(came.tolist(), brought, strict=True))
    counts = np.bincount(contacts["wish"][contacts["wish"] >= 0], minlength=len(wishes)).tolist()
    for wish, count in zip(wishes, counts, strict=True):
        wish.count = count
        if count == 0:
            raise ValueError("a wish that nobody has")


def _changed(acd: Acd, change: Change) -> Loaded:
    """Let go of what the new center no longer has."""
    router = acd._router
    for place in range(len(acd.center.agents), len(acd._agent_names)):
        router.retire(place)
    lost = np.flatnonzero(change.snapshot.rows["contacts"]["queue"] >= len(acd.center.queues)).tolist()
    for slot in lost:
        router.evict(slot)
    effects = tuple(acd._effects())
    talking: dict[str, tuple[str | int, ...]] = {}
    for place in range(len(acd.center.agents), len(acd._agent_names)):
        held = router.agent(place)["connected"]
        if held:
            talking[acd._agent_names[place]] = tuple(acd._name(slot) for slot in held)
    return Loaded(
        False,
        effects,
        tuple(change.agents_gone),
        tuple(change.agents_new),
        tuple(change.queues_gone),
        tuple(change.queues_new),
        talking,
        _waits(acd, change, same_center=False),
    )


def _waits(acd: Acd, change: Change, same_center: bool) -> str:
    snapshot = change.snapshot
    if snapshot.waits is None:
        return "off"
    from cordboard.waits_state import FAULTS, begin, unpack  # late: routing alone does not need it

    try:
        if same_center:
            acd._waits = unpack(acd.center, snapshot.waits, snapshot.waits_data)
            return "kept"
        queues = [queue["name"] for queue in snapshot.queues]
        acd._waits = begin(acd, snapshot.waits, snapshot.waits_data, queues)
        return "inherited"
    except FAULTS:  # of another layout
        acd._waits = begin(acd)
        return "begun anew"

