"""Routing: which contact goes to which agent.

:class:`Acd` takes a center and then one event after another, and answers each with its effects, as the contract
(docs/reference/journal.md) says. It reads no clock and does nothing by itself: timers fire when an event or
:meth:`Acd.advance` brings a time at or after them. The work is done by ``cordboard._core.acd``; here are names.

>>> from cordboard import Acd
>>> from cordboard.center import parse_center
>>> acd = Acd(parse_center('''
... [queues.billing]
... requires = { billing = 3 }
... [agents.li]
... skills = { billing = 5 }
... '''))
>>> acd.apply({"t": 0, "event": "agent_ready", "agent": "li"})
[]
>>> [offer] = acd.apply({"t": 2.5, "event": "contact_queued", "contact": "c1", "queue": "billing"})
>>> offer["agent"], offer["why"]["eligible"], offer["why"]["value"]
('li', 1, 2.5)

Timers that are due at one instant fire in this order, with a round of matching after each: contacts' ``max_wait``,
offers that expire, wrap-ups that end, retry delays that end, and then what changes with a contact's waiting time
(delay, steps, tier waits, tier rules); within a kind contacts by the line that queued them, offers by their contact's
line and then their agent, agents in file order. Where the contract leaves something open:

- ``handled`` counts conversations that have ended; the share of ``least_occupied`` is the time in conversation or
  wrap-up over the time logged in (ready or away), both since the engine began and without the time offline.
- ``random`` takes one draw a decision, uniform over the eligible agents of the first tier, who are counted profile by
  profile (alike in skills, queues and channels; profiles by their first agent in the file) and then in file order.
- Reserve rules count idle agents: ready, with nothing on. One who has something on is not held back.
- ``weighted`` compares the double sum wait + idle + priority + proficiency + value + tier, added in that order; within
  a profile the exact idle time decides.
- ``sticky``: a customer's contact in such a queue goes to the agent who accepted the customer's last one, if eligible,
  and after an eligible ``preferred_agent``.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cordboard._core.acd import AGENTS_MAX, CODES, EFFECT, EVENT, Router, Wish
from cordboard._core.front import Front
from cordboard.acd_eligibility import eligibility
from cordboard.acd_snapshot import decode, encode
from cordboard.acd_state import Capture, Change, Loaded, fill
from cordboard.acd_wishes import Customers, Wishes, fields_of
from cordboard.center import Center
from cordboard.errors import (
    CordboardError,
    DuplicateError,
    EventError,
    JournalError,
    LimitError,
    SnapshotError,
    StaleEventError,
    UnknownNameError,
    Where,
)
from cordboard.journal import check_event, nearest

if TYPE_CHECKING:
    from cordboard.waits import WaitEstimate, WaitEstimator

__all__ = ["EFFECT", "EVENT", "Acd"]

Effect = dict[str, Any]
_NO_WISH = (-1, -1, -1)

_KEYS = {  # strategy -> what `why.value` is
    "longest_idle": "idle_s",
    "fewest_contacts": "handled",
    "least_occupied": "occupancy",
    "most_skilled": "levels",
    "least_skilled": "levels",
    "round_robin": "file_order",
    "linear": "file_order",
    "random": "draw",
    "ring_all": "all",
    "weighted": "score",
}
_ORDER_KEYS = {"priority": "priority", "score": "wait_s+priority", "ratio": "wait/target"}

_REFUSALS: dict[int, tuple[type[EventError], str, str]] = {
    CODES["time_back"]: (EventError, "the time goes back", "Sort the journal by time"),
    CODES["unknown_contact"]: (StaleEventError, "the contact is gone", "It left, ended or expired before this"),
    CODES["duplicate_contact"]: (DuplicateError, "the contact is in the center already", "Give each a name of its own"),
    CODES["no_offer"]: (
        StaleEventError,
        "the contact is not offered to this agent",
        "The offer was withdrawn, has expired, or was never made",
    ),
    CODES["connected"]: (StaleEventError, "the contact is connected already", "contact_ended ends a conversation"),
    CODES["not_connected"]: (
        EventError,
        "the contact is not connected",
        "contact_left is for one that waits or is offered",
    ),
    CODES["no_wrap_up"]: (StaleEventError, "the agent is not in wrap-up", "It has ended already, or there was none"),
    CODES["bad_value"]: (EventError, "a value is out of range", "Check queued_at and priority"),
}


class Acd:
    """The routing of one center. Not thread-safe; deterministic: same center, events and seed, same effects.

    ``seed``: of the strategy ``random``. ``explain``: put into every offer why it was made; without, ``why`` is empty
    and routing quicker. ``max_contacts``: so many may be in the center at once (LimitError beyond).
    ``max_customers``: so many are remembered for sticky queues; the one who was seen longest ago is forgotten.
    LimitError for more than 1,048,576 agents.
    """

    def __init__(
        self,
        center: Center,
        *,
        seed: int = 0,
        explain: bool = True,
        max_contacts: int = 1_000_000,
        max_customers: int = 100_000,
    ) -> None:
        self._open(center, center, seed, explain, max_contacts, max_customers)

    def _open(
        self, center: Center, floor: Center, seed: int, explain: bool, max_contacts: int, max_customers: int
    ) -> None:
        """``floor``: the center, and behind its agents and queues those who are gone but still have contacts."""
        if len(floor.agents) > AGENTS_MAX:
            raise LimitError(f"{len(floor.agents)} agents are too many for one engine", AGENTS_MAX, "Shard them")
        self.center, self._floor = center, floor
        self.loaded: Loaded | None = None
        self._router = Router(floor, seed=seed, explain=explain, max_contacts=max_contacts, index_ids=True)
        self._max_contacts = max_contacts
        self._explain = explain
        self._agents = {agent.name: i for i, agent in enumerate(center.agents)}
        self._queues = {queue.name: i for i, queue in enumerate(center.queues)}
        self._agent_names = [agent.name for agent in floor.agents]
        self._queue_names = [queue.name for queue in floor.queues]
        self._wishes = Wishes(self._router, self._agents)
        self._customers = Customers(self._router, max_customers)
        self._front = Front(
            self._router,
            self._agents,
            self._queues,
            tuple(self._agent_names),
            tuple(self._queue_names),
            tuple((queue.strategy, _KEYS[queue.strategy]) for queue in floor.queues),
            (center.order, _ORDER_KEYS[center.order]),
            self._leaves,
        )
        self._waits: WaitEstimator | None = None
        self._handlers: dict[str, Callable[[float, dict[str, Any]], int]] = {
            "clock": lambda t, event: self._router.advance(t),
            "agent_ready": self._agent(self._router.agent_ready),
            "agent_away": self._agent(self._router.agent_away),
            "agent_offline": self._agent(self._router.agent_offline),
            "agent_engaged": self._agent(self._router.agent_engaged),
            "agent_released": self._agent(self._router.agent_released),
            "wrap_up_ended": self._agent(self._router.wrap_up_ended),
            "contact_queued": self._contact_queued,
            "contact_left": self._contact(self._router.contact_left),
            "contact_ended": self._contact(self._router.contact_ended),
            "offer_accepted": self._offer(self._router.offer_accepted),
            "offer_declined": self._offer(self._router.offer_declined),
            "priority_changed": self._priority_changed,
        }

    # ---- events

    def apply(self, event: dict[str, Any], *, checked: bool = False) -> list[Effect]:
        """Take one event of the journal; returns the effects of the timers before it and then its own.

        EventError if it can't be applied (UnknownNameError, StaleEventError say more): nothing has changed but time,
        and what the timers did is in the error's ``effects``. LimitError if there are too many contacts.
        ``checked``: the event is one that ``journal.check_event`` gave back, now or before it was written down.
        """
        effects = self._front.apply(event) if type(event) is dict else None
        if effects is None:
            return self._apply_with_care(event, checked)
        if self._waits is not None:
            self._waits.observe(event, effects)
        return effects

    def _apply_with_care(self, event: dict[str, Any], checked: bool) -> list[Effect]:
        """An event that asks for something special, or is wrong."""
        if not checked:
            try:
                event = check_event(event)
            except JournalError as error:
                raise EventError(error.what, error.where, error.hint) from None
        t = event["t"]
        self._check_names(event)
        fired = self._front.take_fired() + self._fire(t)
        try:
            code = self._handlers[event["event"]](t, event)
            if code < 0:
                self._refuse(code, event)
        except (EventError, LimitError) as error:
            error.effects = tuple(fired)
            if self._waits is not None and fired:
                self._waits.observe({"t": self.now, "event": "clock"}, fired)
            raise
        own = self._effects()
        effects = fired + own if fired else own
        if self._waits is not None:
            self._waits.observe(event, effects)
        return effects

    def advance(self, t: float) -> list[Effect]:
        """Bring the time to ``t`` (seconds); returns what the timers did."""
        return self.apply({"t": t, "event": "clock"})

    def apply_columns(self, events: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
        """Take many events in one call: dtype ``EVENT``, shape (n,); returns effects of dtype ``EFFECT``.

        Contacts are ids from 0 on, agents and queues their places in the center file, ``event`` the place in
        ``cordboard._core.acd.EVENTS``. An event that can't be applied gives an effect ``refused`` with the (negative)
        code as its reason and its place as its value, and the others go on. Estimated waits don't see these events.
        """
        rows = self._router.apply_columns(events)
        self._front.forget()
        return rows

    @property
    def now(self) -> float:
        """The time of the last event, seconds."""
        return self._router.now

    def next_timer(self) -> float | None:
        """When something happens by itself next, seconds, or None."""
        return self._router.next_timer()

    # ---- the whole state

    def dump(self) -> bytes:
        """The state as bytes, for :meth:`load`. See ``cordboard.acd_snapshot``."""
        return self.dump_later()()

    def dump_later(self) -> Callable[[], bytes]:
        """The state as it is now, but its bytes later: what is returned may be called once, by any thread, while this
        Acd goes on. The copy for it takes a fifth of the time of a dump.
        """
        capture = Capture(self)
        return lambda: encode(capture.snapshot())

    @classmethod
    def load(
        cls,
        center: Center,
        dump: bytes,
        *,
        explain: bool = True,
        max_contacts: int = 1_000_000,
        max_customers: int = 100_000,
    ) -> Acd:
        """An Acd in the state of a dump. With the center of the dump every later effect is what it would have been.

        With another center everything keeps its place: contacts their arrival, order, priority, and who refused them;
        agents their state and idle time; open offers their time. New agents are offline. Changed skills, levels and
        strategies hold at once: a matching round follows with the next event (``advance`` to now is enough). What
        the center no longer has: :attr:`loaded` says what became of it.

        SnapshotError if the bytes are no dump, or damaged; LimitError if the bounds are too small for it.
        """
        collects = gc.isenabled()
        gc.disable()  # a million objects that stay would be gone through a dozen times
        try:
            change = Change(center, decode(dump))
            acd = cls.__new__(cls)
            acd._open(center, change.floor(), 0, explain, max_contacts, max_customers)
            acd.loaded = fill(acd, change)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, CordboardError):
                raise
            raise SnapshotError(f"the dump does not make sense: {error}", hint="Take an earlier one") from error
        finally:
            if collects:
                gc.enable()
        return acd

    def with_center(self, center: Center, t: float) -> tuple[Acd, list[Effect]]:
        """The same contacts and agents in another center from ``t`` (seconds) on: see :meth:`load`.

        Returns the Acd that goes on in place of this one, and all effects: of the timers up to ``t``, of what the
        center no longer has, of the matching round in the new one. EventError if the time goes back.
        """
        effects = self.advance(t)
        acd = Acd.load(
            center,
            self.dump(),
            explain=self._explain,
            max_contacts=self._max_contacts,
            max_customers=self._customers.limit,
        )
        assert acd.loaded is not None
        return acd, [*effects, *acd.loaded.effects, *acd.advance(t)]

    # ---- how things stand

    def counts(self) -> dict[str, int]:
        """Contacts so far: entered = waiting + offered + connected + ended, at every instant."""
        return self._router.counts()

    def position(self, contact: str | int) -> int:
        """The place of a waiting contact in its queue, 1 is next; 0 for one that is offered or connected."""
        slot = self._find(contact)
        return self._router.rank(slot) + 1 if self._router.contact(slot)["state"] == "waiting" else 0

    def queue_of(self, contact: str | int) -> str:
        """The queue of a contact that is in the center."""
        queue: int = self._router.contact(self._find(contact))["queue"]
        return self._queue_names[queue]

    def positions(self, queue: str) -> dict[str | int, int]:
        """The place of every contact that waits in a queue, in that order."""
        index = self._known(self._queues, queue, "queue")
        return {self._name(slot): i for i, slot in enumerate(self._router.waiting(index), 1)}

    def eligibility(self, contact: str | int) -> list[dict[str, Any]]:
        """For every agent, in file order: whether it could get this contact now, and if not, why.

        ``filter`` is the first filter that removes the agent, in the order of the contract, or None; ``until`` the time
        at which that filter changes if nothing else happens, or None. Details of the filter stand beside it.
        """
        slot = self._find(contact)
        return eligibility(self._floor, self._router, slot, self._fields(slot))[: len(self.center.agents)]

    def estimate_wait(self, contact: str | int) -> WaitEstimate:
        """How long a waiting contact will still wait, seconds: mean, p50 and p90. See :meth:`learn_waits`."""
        if self._waits is None:
            raise EventError("waits are not being learned", hint="Call learn_waits() before the first event")
        return self._waits.predict(contact, self.now)

    def learn_waits(self, estimator: WaitEstimator | None = None) -> WaitEstimator:
        """From now on observe every event with an estimator, a new one or one that has learned before."""
        from cordboard.waits_state import begin  # late: routing alone does not need it

        self._waits = estimator if estimator is not None else begin(self)
        return self._waits

    def state(self) -> dict[str, Any]:
        """Everything a wallboard shows: queues with counts and the longest wait, agents with state and contacts."""
        center = self.center
        queues = {name: self._queue_row(i) for i, name in enumerate(self._queue_names)}
        agents = {name: self._agent_row(i) for i, name in enumerate(self._agent_names)}
        for name in self._queue_names[len(center.queues) :]:  # gone from the center
            if not queues[name]["connected"]:
                del queues[name]
        for name in self._agent_names[len(center.agents) :]:
            if not agents[name]["contacts"]:
                del agents[name]
        return {"t": self.now, "counts": self.counts(), "queues": queues, "agents": agents}

    def queue_state(self, queue: str) -> dict[str, Any]:
        """One queue as ``state`` shows it."""
        return self._queue_row(self._known(self._queues, queue, "queue"))

    def agent_state(self, agent: str) -> dict[str, Any]:
        """One agent as ``state`` shows it. ``presence``: ready, away or offline, whatever else it does;
        ``engaged``: on a call that is no contact of its own."""
        return self._agent_row(self._known(self._agents, agent, "agent"))

    def _queue_row(self, index: int) -> dict[str, Any]:
        row = self._router.queue(index)
        oldest = row.pop("oldest")
        return {**row, "longest_wait": 0.0 if oldest is None else self.now - oldest}

    def _agent_row(self, index: int) -> dict[str, Any]:
        row = self._router.agent(index)
        held = row["connected"] + row["offered"]
        first = self._router.contact(held[0]) if held else None
        return {
            "state": row["state"],
            "since": row["since"],
            "presence": row["presence"],
            "queue": None if first is None else self._queue_names[first["queue"]],
            "contacts": [self._name(slot) for slot in held],
            "offered": [self._name(slot) for slot in row["offered"]],
            "handled": row["handled"],
            "engaged": row["engaged"],
        }

    # ---- one function for each shape of event

    def _agent(self, call: Callable[[float, int], int]) -> Callable[[float, dict[str, Any]], int]:
        return lambda t, event: call(t, self._agents[event["agent"]])

    def _contact(self, call: Callable[[float, int], int]) -> Callable[[float, dict[str, Any]], int]:
        return lambda t, event: call(t, self._find(event["contact"]))

    def _offer(self, call: Callable[[float, int, int], int]) -> Callable[[float, dict[str, Any]], int]:
        return lambda t, event: call(t, self._find(event["contact"]), self._agents[event["agent"]])

    def _priority_changed(self, t: float, event: dict[str, Any]) -> int:
        return self._router.priority_changed(t, self._find(event["contact"]), event["priority"])

    def _contact_queued(self, t: float, event: dict[str, Any]) -> int:
        name = event["contact"]
        if name in self._front.slots:
            return CODES["duplicate_contact"]
        queue = self._queues[event["queue"]]
        if len(event) == 4:
            code, slot = self._router.contact_queued(t, queue)
            if code == 0:
                self._front.entered(name, slot)
            return code
        wish, preferred = self._wishes.find(event), event.get("preferred_agent")
        customer = self._customers.index(event.get("customer"))
        code, slot = self._router.contact_queued(
            t,
            queue,
            priority=event.get("priority", 0.0),
            queued_at=event.get("queued_at"),
            preferred=-1 if preferred is None else self._agents[preferred],
            customer=customer,
            wish=_NO_WISH if wish is None else wish.ids,
            handed=event.get("handed_over", False),
        )
        if code == 0:
            self._front.entered(name, slot)
        if slot >= 0:
            if wish is not None:
                wish.count += 1
            self._customers.enters(customer)
            if wish is not None or customer >= 0:
                self._front.brought[slot] = (wish, customer)
        elif wish is not None:
            self._wishes.release(wish)
        return code

    # ---- names

    @staticmethod
    def _known(names: Mapping[str, int], name: str, kind: str) -> int:
        index = names.get(name)
        if index is None:
            raise UnknownNameError(f'there is no {kind} "{name}"', Where(key=kind), nearest(name, names))
        return index

    def _check_names(self, event: dict[str, Any]) -> None:
        if "agent" in event:
            self._known(self._agents, event["agent"], "agent")
        if "queue" in event:
            self._known(self._queues, event["queue"], "queue")
            if event.get("preferred_agent") is not None:
                self._known(self._agents, event["preferred_agent"], "agent")
            for agent in event.get("values", ()):
                self._known(self._agents, agent, "agent")

    def _find(self, contact: str | int) -> int:
        """The slot of a live contact; -1 for none is the router's to refuse."""
        slot = self._router.find(contact) if isinstance(contact, int) else self._front.slots.get(contact, -1)
        if slot < 0:
            if contact in self._front.gone:
                hint = "It left, ended, expired or was rejected"
                raise StaleEventError(f'contact "{contact}" is gone', Where(key="contact"), hint)
            hint = "contact_queued brings a contact into the center"
            raise UnknownNameError(f'there is no contact "{contact}"', Where(key="contact"), hint)
        return slot

    def _name(self, slot: int) -> str | int:
        return self._front.name(slot)

    def _refuse(self, code: int, event: dict[str, Any]) -> None:
        if code == CODES["no_memory"]:
            raise MemoryError
        if code == CODES["too_many_contacts"]:
            raise LimitError("too many contacts are in the center", self._max_contacts, "Raise max_contacts")
        kind, what, hint = _REFUSALS[code]
        who = event.get("contact", event.get("agent"))
        where = Where(key="t" if code == CODES["time_back"] else "contact" if "contact" in event else "agent")
        if code == CODES["time_back"]:
            what = f"{what}: {event['t']} after {self.now}"
        elif who is not None:
            what = f'{what}: "{who}"'
        raise kind(what, where, hint)

    # ---- effects

    def _fire(self, t: float) -> list[Effect]:
        """Let timers fire before the event, so that a slot that they free is not taken before it is read."""
        due = self._router.next_timer()
        if due is None or due > t or t < self._router.now:
            return []
        self._router.advance(t)
        return self._effects()

    def _effects(self) -> list[Effect]:
        return self._front.effects()

    def _leaves(self, wish: Wish | None, customer: int) -> None:
        """A contact that brought this is gone."""
        if wish is not None:
            self._wishes.release(wish, 1)
        self._customers.leaves(customer)

    def _fields(self, slot: int) -> Mapping[str, Any]:
        """What a contact asks for beyond its queue."""
        wish, _ = self._front.brought.get(slot, (None, -1))
        return {} if wish is None else fields_of(wish.text)
