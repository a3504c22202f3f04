"""The routing engine: contacts in, offers out.

A pure state machine in C (see the modules ``acd_*.pxd``, one idea each) with a thin Python class, :class:`Router`, that
names agents and queues by their place in the center file, contacts by a slot, and time in seconds. People use
``cordboard.Acd``, which has names; simulators in C use the functions of ``acd.pxd``.

Timers that are due at one instant fire in this order, with a round of matching after each: contacts' ``max_wait``,
offers that expire, wrap-ups that end, retry delays that end, and contacts' phases (delay, steps, tier waits and tier
rules); within a kind contacts by the line that queued them, offers by their contact's line and then their agent,
agents in file order.
"""
import numpy as np

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy

from cordboard._core.acd_build cimport engine_close, engine_tables
from cordboard._core.acd_center cimport build, plan_store, store, ticks_of, window_numbers
from cordboard._core.acd_classes cimport plan_drop
from cordboard._core.acd_columns cimport AHEAD, Event_C, apply_row, fetch, refused
from cordboard._core.acd_ids cimport id_find
from cordboard._core.acd_intern cimport intern_drop
from cordboard._core.acd_line cimport line_before, line_copy, line_oldest, line_place, place_before
from cordboard._core.acd_match cimport seconds
from cordboard._core.acd_pick cimport holds_idle
from cordboard._core.acd_snapshot cimport *
from cordboard._core.acd_steps cimport *
from cordboard._core.acd_types cimport *
from cordboard._core.acd_values cimport values_read, values_store
from cordboard._core.rng cimport rng_seed

ORDERS = ("priority", "score", "ratio")
STRATEGIES = (
    "longest_idle", "fewest_contacts", "least_occupied", "most_skilled", "least_skilled", "round_robin", "linear", "random",
    "ring_all", "weighted",
)
CHANNEL_NAMES = ("voice", "chat", "email", "sms", "social", "task")
AGENT_STATES = ("offline", "away", "ready", "offered", "connected", "wrap_up")
CONTACT_STATES = ("free", "waiting", "offered", "connected")
EVENTS = (
    "clock", "agent_ready", "agent_away", "agent_offline", "contact_queued", "contact_left", "offer_accepted",
    "offer_declined", "contact_ended", "wrap_up_ended", "priority_changed",
)
EFFECTS = (
    "", "offer", "offer_withdrawn", "offer_expired", "contact_rejected", "contact_expired", "agent_away", "wrap_up_started",
    "wrap_up_ended", "refused",
)
REASONS = (
    "", "agent_away", "agent_offline", "contact_left", "accepted_elsewhere", "contact_expired", "full", "no_answer",
)
CODES = {  # what a method that takes an event returns
    "no_memory": ACD_NO_MEMORY, "time_back": ACD_TIME_BACK, "unknown_agent": ACD_UNKNOWN_AGENT,
    "unknown_queue": ACD_UNKNOWN_QUEUE, "unknown_contact": ACD_UNKNOWN_CONTACT,
    "duplicate_contact": ACD_DUPLICATE_CONTACT, "no_offer": ACD_NO_OFFER, "connected": ACD_CONNECTED,
    "not_connected": ACD_NOT_CONNECTED, "no_wrap_up": ACD_NO_WRAP_UP, "too_many_contacts": ACD_TOO_MANY_CONTACTS,
    "bad_value": ACD_BAD_VALUE,
}
TIME_MAX_S = 1e12  # seconds; ticks of it, and of a priority as large, still fit an int64
AGENTS_MAX = ACD_MAX_AGENTS

EFFECT = np.dtype([
    ("t", "f8"), ("contact", "i8"), ("slot", "i4"), ("effect", "i4"), ("agent", "i4"), ("queue", "i4"), ("reason", "i4"),
    ("tier", "i4"), ("eligible_agents", "i4"), ("eligible_contacts", "i4"), ("runner_agent", "i4"), ("runner_slot", "i4"),
    ("value", "f8"), ("runner_value", "f8"), ("contact_value", "f8"), ("runner_contact_value", "f8"),
    ("runner_contact", "i8"), ("preferred", "i4"), ("rest", "i4"),
])
EVENT = np.dtype([
    ("t", "f8"), ("contact", "i8"), ("priority", "f8"), ("queued_at", "f8"), ("event", "i4"), ("agent", "i4"),
    ("queue", "i4"), ("preferred", "i4"),
])
AGENT_ROW = np.dtype([
    ("idle_since", "i8"), ("handled", "i8"), ("login", "i8"), ("logged_in", "i8"), ("busy_before", "i8"),
    ("busy_from", "i8"), ("wrap_until", "i8"), ("retry_until", "i8"), ("since", "i8"), ("presence", "i4"), ("misses", "i4"),
])
CONTACT_ROW = np.dtype([
    ("id", "i8"), ("arrival", "i8"), ("entered", "i8"), ("seq", "i8"), ("priority", "f8"), ("state", "i4"), ("queue", "i4"),
    ("excluded", "i4"), ("wish", "i4"), ("preferred", "i4"), ("customer", "i4"),
])
LINK_ROW = np.dtype([("due", "i8"), ("contact", "i4"), ("agent", "i4"), ("connected", "i4"), ("rest", "i4")])
WISH_ROW = np.dtype([("steps", "i4"), ("tiers", "i4"), ("values", "i4")])

# ---- for callers in C

cdef int acd_advance(Engine* e, int64_t t) noexcept nogil:
    return on_advance(e, t)

cdef int64_t acd_next_timer(const Engine* e) noexcept nogil:
    return on_next_timer(e)

cdef int acd_agent_ready(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    return on_agent_ready(e, t, agent)

cdef int acd_agent_away(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    return on_agent_away(e, t, agent)

cdef int acd_agent_offline(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    return on_agent_offline(e, t, agent)

cdef int acd_contact_queued(Engine* e, int64_t t, const Queued_C* spec, int32_t* slot) noexcept nogil:
    return on_contact_queued(e, t, spec, slot)

cdef int acd_contact_left(Engine* e, int64_t t, int32_t slot) noexcept nogil:
    return on_contact_left(e, t, slot)

cdef int acd_offer_accepted(Engine* e, int64_t t, int32_t slot, int32_t agent) noexcept nogil:
    return on_offer_accepted(e, t, slot, agent)

cdef int acd_offer_declined(Engine* e, int64_t t, int32_t slot, int32_t agent) noexcept nogil:
    return on_offer_declined(e, t, slot, agent)

cdef int acd_contact_ended(Engine* e, int64_t t, int32_t slot) noexcept nogil:
    return on_contact_ended(e, t, slot)

cdef int acd_wrap_up_ended(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    return on_wrap_up_ended(e, t, agent)

cdef int acd_priority_changed(Engine* e, int64_t t, int32_t slot, double priority) noexcept nogil:
    return on_priority_changed(e, t, slot, priority)

cdef void acd_queued_defaults(Queued_C* spec, int64_t id, int32_t queue) noexcept nogil:
    on_queued_defaults(spec, id, queue)

# ---- from Python

cdef int sorted_by_line(const void* a, const void* b) noexcept nogil:
    return -1 if place_before(<const Place*>a, <const Place*>b) else 1

cdef class Wish:
    """Fields of contact_queued that decide who may get a contact, as JSON. ``ids``: the router's; ``count``: contacts
    that have it. There may be as many as contacts: hence without a dict, and nothing that garbage collection looks at."""

    cdef readonly str text
    cdef public int count
    cdef int steps, tiers, values

    def __init__(self, str text, tuple ids):
        self.text = text
        self.steps, self.tiers, self.values = ids

    @property
    def ids(self):
        return self.steps, self.tiers, self.values


cdef class Router:
    """An engine for a center (``cordboard.center.Center``), without names.

    ``seed``: of the strategy ``random``. ``explain``: fill in why, in every offer. ``max_contacts``: so many may be in the
    center at once. ``index_ids``: contacts with an id can be found by it, and :meth:`freed` tells of them; a simulator,
    which knows their slots, needs neither. Methods that take an event return 0 or a negative code (``CODES``); what
    happened is in :meth:`effects`. Times are float64 seconds. Raises MemoryError.
    """

    def __cinit__(self, center, *, seed=0, bint explain=True, int max_contacts=1_000_000, bint index_ids=False):
        self.engine = <Engine*>calloc(1, sizeof(Engine))
        if self.engine == NULL:
            raise MemoryError
        cdef Engine* e = self.engine
        if engine_tables(e) < 0:
            raise MemoryError
        e.order = ORDERS.index(center.order)
        e.explain = explain
        e.index_ids = index_ids
        e.max_contacts = max_contacts
        rng_seed(&e.rng, <uint64_t>(seed & 0xFFFFFFFFFFFFFFFF), 0)
        self.skills = {}
        build(e, self.skills, center, CHANNEL_NAMES, STRATEGIES)

    def __dealloc__(self):
        engine_close(self.engine)

    # -- events

    def advance(self, double t):
        return acd_advance(self.engine, ticks_of(t))

    def agent_ready(self, double t, int agent):
        return acd_agent_ready(self.engine, ticks_of(t), agent)

    def agent_away(self, double t, int agent):
        return acd_agent_away(self.engine, ticks_of(t), agent)

    def agent_offline(self, double t, int agent):
        return acd_agent_offline(self.engine, ticks_of(t), agent)

    def agent_engaged(self, double t, int agent):
        return on_agent_engaged(self.engine, ticks_of(t), agent)

    def agent_released(self, double t, int agent):
        return on_agent_released(self.engine, ticks_of(t), agent)

    def contact_queued(self, double t, int queue, *, id=None, double priority=0.0, queued_at=None, int preferred=-1,
                       tuple wish=(-1, -1, -1), int customer=-1, bint handed=False):
        """Returns (code, slot). ``wish``: of :meth:`wish`; ``customer``: see :meth:`customers`."""
        cdef Queued_C spec
        cdef int32_t slot
        acd_queued_defaults(&spec, -1 if id is None else id, queue)
        spec.priority = priority
        spec.preferred = preferred
        spec.customer = customer
        spec.handed = handed
        spec.steps, spec.tiers, spec.values = wish
        if queued_at is not None:
            spec.queued_at = ticks_of(queued_at)
        return acd_contact_queued(self.engine, ticks_of(t), &spec, &slot), slot

    def contact_left(self, double t, int slot):
        return acd_contact_left(self.engine, ticks_of(t), slot)

    def offer_accepted(self, double t, int slot, int agent):
        return acd_offer_accepted(self.engine, ticks_of(t), slot, agent)

    def offer_declined(self, double t, int slot, int agent):
        return acd_offer_declined(self.engine, ticks_of(t), slot, agent)

    def contact_ended(self, double t, int slot):
        return acd_contact_ended(self.engine, ticks_of(t), slot)

    def wrap_up_ended(self, double t, int agent):
        return acd_wrap_up_ended(self.engine, ticks_of(t), agent)

    def priority_changed(self, double t, int slot, double priority):
        return acd_priority_changed(self.engine, ticks_of(t), slot, priority)

    def apply_columns(self, events):
        """Apply events (dtype EVENT, shape (n,)) in one call without the GIL; returns effects (dtype EFFECT).

        Contacts are int64 ids >= 0. An event that can't be applied gives a row ``refused`` with its code as the reason
        and its own place among the events as ``value``; the others go on.
        """
        cdef Engine* e = self.engine
        cdef const Event_C[::1] rows = np.ascontiguousarray(events, dtype=EVENT)
        cdef Py_ssize_t n = rows.shape[0]
        cdef Py_ssize_t i
        cdef int32_t slots[AHEAD]
        cdef int code
        for i in range(AHEAD):
            slots[i] = -1
        with nogil:
            for i in range(n):
                fetch(e, &rows[0], i, n, slots)
                code = apply_row(e, &rows[i])
                if code == ACD_NO_MEMORY:
                    break
                if code < 0:
                    refused(e, &rows[i], code, i)
        if e.out_of_memory:
            raise MemoryError
        return self.effect_rows()

    # -- what happened

    def effect_rows(self):
        """The effects since the last call, as an array of dtype EFFECT, shape (n,)."""
        cdef Engine* e = self.engine
        out = np.empty(e.n_effects, dtype=EFFECT)
        cdef Effect_C[::1] target = out  # Cython compares dtype and struct, field by field
        if e.n_effects > 0:
            memcpy(&target[0], e.effects, e.n_effects * sizeof(Effect_C))
        e.n_effects = 0
        return out

    def effects(self):
        """The effects since the last call, as dicts of the fields of dtype EFFECT."""
        cdef Engine* e = self.engine
        cdef int32_t i
        found = [e.effects[i] for i in range(e.n_effects)]
        e.n_effects = 0
        return found

    def freed(self):
        """Slots of the contacts that are gone since the last call."""
        cdef Engine* e = self.engine
        cdef int32_t i
        found = [e.freed[i] for i in range(e.n_freed)]
        e.n_freed = 0
        return found

    # -- how things stand

    @property
    def now(self):
        return seconds(self.engine.now)

    def next_timer(self):
        cdef int64_t due = acd_next_timer(self.engine)
        return None if due == NEVER else seconds(due)

    def counts(self):
        return dict(self.engine.counts)

    def find(self, int64_t id):
        """The slot of a contact that has an id, or -1."""
        return id_find(self.engine, id) if id >= 0 else -1

    def contact(self, int slot):
        """A live contact, as a dict, or None."""
        cdef Engine* e = self.engine
        cdef int32_t link
        if not is_live(e, slot):
            return None
        cdef Contact* c = &e.contacts[slot]
        held = []
        link = c.links
        while link >= 0:
            held.append(e.links[link].agent)
            link = e.links[link].next_of_contact
        excluded = [e.exclusions.items[c.excluded].data[i] for i in range(e.exclusions.items[c.excluded].n)]
        return {
            "id": c.id, "state": CONTACT_STATES[c.state], "queue": c.queue, "priority": c.priority,
            "arrival": seconds(c.arrival), "entered": seconds(c.entered), "agents": sorted(held), "excluded": excluded,
            "preferred": c.preferred,
        }

    def agent(self, int agent):
        """An agent, as a dict; contacts are slots, in the order in which they came."""
        cdef Engine* e = self.engine
        cdef Agent* a = &e.agents[agent]
        cdef int32_t link = a.links
        offered, connected = [], []
        while link >= 0:
            slot = e.links[link].contact
            (connected if e.links[link].connected else offered).append((e.contacts[slot].seq, slot))
            link = e.links[link].next_of_agent
        return {
            "presence": AGENT_STATES[a.presence], "state": AGENT_STATES[a.shown], "since": seconds(a.since), "idle_since": seconds(a.idle_since),
            "handled": a.handled, "misses": a.misses, "available": a.available, "engaged": a.engaged != 0,
            "offered": [slot for _, slot in sorted(offered)], "connected": [slot for _, slot in sorted(connected)],
            "held": [a.held[c] for c in range(CHANNELS)],
            "wrap_until": seconds(e.timers[a.tm_wrap_up].due) if a.wrapping else None,
            "retry_until": seconds(e.timers[a.tm_retry].due) if a.tm_retry >= 0 else None,
        }

    def queue(self, int queue):
        """A queue's counts, as a dict, and the arrival of the one who has waited longest (seconds or None)."""
        cdef Engine* e = self.engine
        cdef Queue* q = &e.queues[queue]
        cdef int64_t oldest = NEVER
        cdef int32_t c = q.classes
        while c >= 0:
            oldest = min(oldest, line_oldest(&e.classes[c].line))
            c = e.classes[c].next_in_queue
        return {
            "waiting": q.waiting, "offered": q.offered, "connected": q.connected,
            "oldest": None if oldest == NEVER else seconds(oldest),
        }

    def rank(self, int slot):
        """How many contacts of its queue wait before this waiting one, in the center's order."""
        cdef Engine* e = self.engine
        cdef Contact* contact = &e.contacts[slot]
        cdef const Place* place = line_place(&e.classes[contact.cls].line, contact.place)
        cdef int32_t c = e.queues[contact.queue].classes
        cdef int32_t n = 0
        with nogil:
            while c >= 0:
                n += line_before(&e.classes[c].line, place)
                c = e.classes[c].next_in_queue
        return n

    def waiting(self, int queue):
        """The slots of the contacts that wait in a queue, in the center's order."""
        cdef Engine* e = self.engine
        cdef int32_t total = e.queues[queue].waiting
        cdef int32_t n = 0
        cdef int32_t c = e.queues[queue].classes
        cdef int32_t i
        cdef Place* places = <Place*>malloc((total + 1) * sizeof(Place))
        if places == NULL:
            raise MemoryError
        while c >= 0:
            line_copy(&e.classes[c].line, places + n)
            n += e.classes[c].line.n
            c = e.classes[c].next_in_queue
        qsort(places, n, sizeof(Place), &sorted_by_line)
        try:
            return [places[i].subject for i in range(n)]
        finally:
            free(places)

    def held_back(self, int agent, int queue):
        """Whether a reserve rule keeps this agent from the contacts of a queue just now."""
        cdef Engine* e = self.engine
        return bool(e.agents[agent].idle and holds_idle(e, e.agents[agent].group, queue))

    @property
    def sizes(self):
        """How much is alive: for tests of what must stay bounded."""
        cdef Engine* e = self.engine
        return {
            "groups": e.n_groups, "classes": e.live_classes, "requirements": e.requirements.live,
            "exclusions": e.exclusions.live, "plans": e.plans.live, "windows": e.windows.live, "timers": e.n_timers,
            "contacts": e.live_contacts,
        }

    # -- what contacts may bring

    def customers(self, int n):
        """Room for customers 0 .. n - 1, of whom a sticky queue remembers the last agent. Grows only."""
        cdef Engine* e = self.engine
        cdef int32_t i
        if n <= e.customers_room:
            return
        cdef int32_t* grown = <int32_t*>realloc(e.last_served, n * sizeof(int32_t))
        if grown == NULL:
            raise MemoryError
        for i in range(e.customers_room, n):
            grown[i] = -1
        e.last_served = grown
        e.customers_room = n

    def forget_customer(self, int customer):
        """The index is for someone else from now on."""
        self.engine.last_served[customer] = -1

    def wish(self, steps, tiers, dict values, dict agents):
        """Intern what a contact brings: ``steps`` [(seconds or None, {skill: level})]; ``tiers`` (min, max, [(after, min,
        max)]) with None for an open bound; ``values`` {agent: value}, where ``agents`` gives the index of an agent and
        leaves out those without; each of the three may be None. Returns their ids, for :meth:`contact_queued`, good until
        :meth:`unwish`."""
        cdef Engine* e = self.engine
        return (
            -1 if steps is None else self.plan(steps),
            -1 if tiers is None else store(&e.windows, window_numbers(tiers)),
            -1 if values is None else values_store(e, values, agents),
        )

    def plain_wishes(self, list texts, dict agents):
        """For each text of a wish that is values alone, plainly written, a new Wish; for the others None."""
        cdef list found = [None] * len(texts)
        cdef Wish wish
        cdef Py_ssize_t i
        cdef int values
        for i in range(len(texts)):
            values = values_read(self.engine, texts[i], agents)
            if values >= 0:
                wish = Wish.__new__(Wish)
                wish.text, wish.steps, wish.tiers, wish.values = texts[i], -1, -1, values
                found[i] = wish
        return found

    def unwish(self, tuple wish):
        """No contact will be queued with these ids any more."""
        cdef Engine* e = self.engine
        cdef int32_t steps, tiers, values
        steps, tiers, values = wish
        if steps >= 0:
            plan_drop(e, steps)
        if tiers >= 0:
            intern_drop(&e.windows, tiers)
        if values >= 0:
            intern_drop(&e.pair_values, values)

    def plan(self, steps):
        """Intern a plan of requirements: [(seconds or None, {skill: level})], or {skill: level} for ever. Returns its id
        for ``Queued_C.steps``; it stays as long as the engine."""
        return plan_store(self.engine, self.skills, steps)

    # -- the state as rows, and back: see acd_snapshot.pxd

    def clock(self):
        """(now, seq, entered, ended, the four words of the random numbers): what is not of a contact or an agent."""
        cdef Engine* e = self.engine
        return (e.now, e.seq, e.counts.entered, e.counts.ended, e.rng.s0, e.rng.s1, e.rng.s2, e.rng.s3)

    def agent_rows(self):
        """dtype AGENT_ROW, one an agent, in the order of the center."""
        cdef Engine* e = self.engine
        cdef int32_t a
        out = np.empty(e.n_agents, dtype=AGENT_ROW)
        cdef AgentRow_C[::1] rows = out
        for a in range(e.n_agents):
            agent_row(e, a, &rows[a])
        return out

    def contact_rows(self):
        """(dtype CONTACT_ROW, slots int32), one a contact, in no order. ``excluded`` names one of
        :meth:`exclusion_sets`, ``wish`` is -1."""
        cdef Engine* e = self.engine
        cdef int32_t slot
        cdef int32_t n = 0
        found = np.empty(e.live_contacts, dtype=CONTACT_ROW)
        where = np.empty(e.live_contacts, dtype=np.int32)
        cdef ContactRow_C[::1] rows = found
        cdef int32_t[::1] slots = where
        for slot in range(e.n_contacts):
            if e.contacts[slot].state != FREE:
                contact_row(e, slot, &rows[n])
                slots[n] = slot
                n += 1
        return found, where

    def link_rows(self):
        """dtype LINK_ROW, one for each contact that an agent holds; ``contact`` is its slot."""
        cdef Engine* e = self.engine
        cdef int32_t slot
        cdef int32_t n = 0
        for slot in range(e.n_contacts):
            if e.contacts[slot].state != FREE:
                n += contact_links(e, slot, NULL)
        out = np.empty(n + 1, dtype=LINK_ROW)  # one more, so that there is a first
        cdef LinkRow_C[::1] rows = out
        n = 0
        for slot in range(e.n_contacts):
            if e.contacts[slot].state != FREE:
                n += contact_links(e, slot, &rows[n])
        return out[:n]

    def exclusion_sets(self):
        """Which agents are in which set: {id: [agent, ...]}."""
        cdef const InternTable* table = &self.engine.exclusions
        return {
            i: [table.items[i].data[k] for k in range(table.items[i].n)]
            for i in range(table.n) if table.items[i].refs > 0
        }

    def served_last(self):
        """int32: for every customer the agent who had them last, or -1."""
        cdef Engine* e = self.engine
        out = np.empty(e.customers_room + 1, dtype=np.int32)  # one more, so that there is a first
        cdef int32_t[::1] target = out
        if e.customers_room > 0:
            memcpy(&target[0], e.last_served, e.customers_room * sizeof(int32_t))
        return out[:e.customers_room]

    def offered_last(self):
        """int32: for every queue the agent to whom it offered last, or -1."""
        cdef Engine* e = self.engine
        cdef int32_t i
        return np.array([e.queues[i].last_agent for i in range(e.n_queues)], dtype=np.int32)

    def restore(self, tuple clock, agents, contacts, links, exclusions, list wishes, const int32_t[::1] served_last,
                const int32_t[::1] offered_last):
        """Fill an engine in which nothing has happened yet with rows that have been checked; ``exclusions``: lists of
        agents, the first of them empty; ``wishes``: Wish objects; links name contacts by their row. Returns
        ACD_OK or a negative code."""
        cdef Engine* e = self.engine
        cdef const AgentRow_C[::1] agent_rows = agents
        cdef const ContactRow_C[::1] contact_rows = contacts
        cdef const LinkRow_C[::1] link_rows = links
        cdef Wish_C[::1] wish_rows = np.empty(len(wishes), dtype=WISH_ROW)
        cdef Wish wish
        cdef int32_t[::1] sets = np.array([store(&e.exclusions, list(one)) for one in exclusions], dtype=np.int32)
        cdef int32_t[::1] slots = np.empty(len(contacts), dtype=np.int32)
        cdef Py_ssize_t i
        cdef int code = ACD_OK
        for i in range(wish_rows.shape[0]):
            wish = wishes[i]
            wish_rows[i].steps, wish_rows[i].tiers, wish_rows[i].values = wish.steps, wish.tiers, wish.values
        e.now, e.seq, e.counts.entered, e.counts.ended, e.rng.s0, e.rng.s1, e.rng.s2, e.rng.s3 = clock
        for i in range(served_last.shape[0]):
            e.last_served[i] = served_last[i]
        for i in range(offered_last.shape[0]):
            e.queues[i].last_agent = offered_last[i]
        with nogil:
            for i in range(agent_rows.shape[0]):
                agent_restore(e, <int32_t>i, &agent_rows[i])
            for i in range(contact_rows.shape[0]):
                slots[i] = contact_restore(
                    e, &contact_rows[i], sets[contact_rows[i].excluded],
                    &wish_rows[contact_rows[i].wish] if contact_rows[i].wish >= 0 else NULL,
                )
                if slots[i] < 0:
                    code = slots[i]
                    break
            for i in range(link_rows.shape[0] if code == ACD_OK else 0):
                link_restore(e, slots[link_rows[i].contact], &link_rows[i])
            for i in range(agent_rows.shape[0]):
                agent_settle(e, <int32_t>i)
        for i in range(sets.shape[0]):
            intern_drop(&e.exclusions, sets[i])
        return ACD_NO_MEMORY if e.out_of_memory else code

    def settled(self):
        """Nobody waits whom somebody could take: no matching round is due."""
        nothing_dirty(self.engine)

    def retire(self, int agent):
        """The center no longer has this agent."""
        agent_retire(self.engine, agent)

    def evict(self, int slot):
        """The center no longer has this contact's queue."""
        contact_evict(self.engine, slot)
