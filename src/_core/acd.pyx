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

from libc.math cimport llrint
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy, memset

from cordboard._core.acd_bits cimport bit_set
from cordboard._core.acd_build cimport (
    engine_arrays, engine_close, engine_tables, group_members, pool_arrays, reserve_arrays,
)
from cordboard._core.acd_classes cimport (
    DoubleBits, contact_place, contact_unplace, ordered, plan_drop, waiting_before,
)
from cordboard._core.acd_events cimport (
    agent_appear, agent_busy, agent_leave, come_to, contact_enter, contact_free, contact_new, contact_reject, contact_release,
    offer_refuse, queue_full, wrap_up_end, wrap_up_start,
)
from cordboard._core.acd_ids cimport id_add, id_find, id_home, prefetch
from cordboard._core.acd_intern cimport intern_drop, intern_get, intern_keep
from cordboard._core.acd_match cimport contact_unheld, contact_unoffer, effect_add, link_find, link_remove, match, offer_withdraw, seconds
from cordboard._core.acd_pick cimport holds_idle
from cordboard._core.acd_pools cimport agent_refresh
from cordboard._core.acd_timers cimport timer_stop
from cordboard._core.acd_types cimport *
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

cdef packed struct Event_C:       # NumPy dtype: EVENT
    double t
    int64_t contact
    double priority
    double queued_at              # NaN: now
    int32_t event                 # index into EVENTS
    int32_t agent
    int32_t queue
    int32_t preferred             # -1: none

# ---- one function an event

cdef int acd_advance(Engine* e, int64_t t) noexcept nogil:
    return come_to(e, t)

cdef int64_t acd_next_timer(const Engine* e) noexcept nogil:
    return e.timers[0].due if e.n_timers > 0 else NEVER

cdef int acd_agent_ready(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    cdef int code = come_to(e, t)
    if code < 0:
        return code
    if not 0 <= agent < e.n_agents:
        return ACD_UNKNOWN_AGENT
    cdef Agent* a = &e.agents[agent]
    agent_appear(e, agent, READY)
    a.idle_since = e.now
    a.misses = 0
    agent_refresh(e, agent, True)
    return match(e)

cdef int acd_agent_away(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    cdef int code = come_to(e, t)
    if code < 0:
        return code
    if not 0 <= agent < e.n_agents:
        return ACD_UNKNOWN_AGENT
    agent_leave(e, agent, AWAY, REASON_AGENT_AWAY)
    return match(e)

cdef int acd_agent_offline(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    cdef int code = come_to(e, t)
    if code < 0:
        return code
    if not 0 <= agent < e.n_agents:
        return ACD_UNKNOWN_AGENT
    agent_leave(e, agent, OFFLINE, REASON_AGENT_OFFLINE)
    return match(e)

cdef void acd_queued_defaults(Queued_C* spec, int64_t id, int32_t queue) noexcept nogil:
    memset(spec, 0, sizeof(Queued_C))
    spec.id = id
    spec.queue = queue
    spec.queued_at = -1
    spec.steps = spec.tiers = spec.preferred = spec.values = spec.customer = -1

cdef int acd_contact_queued(Engine* e, int64_t t, const Queued_C* spec, int32_t* slot) noexcept nogil:
    cdef int code = come_to(e, t)
    cdef int32_t s
    cdef Contact* contact
    slot[0] = -1
    if code < 0:
        return code
    if not 0 <= spec.queue < e.n_queues:
        return ACD_UNKNOWN_QUEUE
    if spec.preferred >= e.n_agents:
        return ACD_UNKNOWN_AGENT
    if spec.customer >= e.customers_room:
        return ACD_BAD_VALUE
    if spec.queued_at > t or not -1e12 <= spec.priority <= 1e12:  # not: NaN as well
        return ACD_BAD_VALUE
    if e.index_ids and spec.id >= 0 and id_find(e, spec.id) >= 0:
        return ACD_DUPLICATE_CONTACT
    if queue_full(&e.queues[spec.queue]):
        e.seq += 1
        e.counts.entered += 1
        e.counts.ended += 1
        contact_reject(e, -1, spec.id, spec.queue)
        return ACD_OK
    s = contact_new(e)
    if s < 0 or e.seq >= (<int64_t>1 << ACD_SEQ_BITS) - 1:
        return min(s, ACD_TOO_MANY_CONTACTS)
    contact = &e.contacts[s]
    contact.id = spec.id
    contact.arrival = spec.queued_at if spec.queued_at >= 0 else t
    contact.seq = e.seq
    contact.priority = spec.priority
    contact.cls = contact.links = contact.tm_max_wait = contact.tm_phase = -1
    contact.excluded = 0
    contact.steps = spec.steps
    contact.tiers = spec.tiers
    contact.values = spec.values
    contact.preferred = spec.preferred
    contact.customer = spec.customer
    if spec.steps >= 0:
        intern_keep(&e.plans, spec.steps)
    if spec.tiers >= 0:
        intern_keep(&e.windows, spec.tiers)
    if spec.values >= 0:
        intern_keep(&e.pair_values, spec.values)
    if e.index_ids and spec.id >= 0 and id_add(e, spec.id, s) < 0:
        e.out_of_memory = 1
    e.seq += 1
    e.counts.entered += 1
    slot[0] = s
    contact_enter(e, s, spec.queue)
    return match(e)

cdef inline bint is_live(const Engine* e, int32_t slot) noexcept nogil:
    return 0 <= slot < e.n_contacts and e.contacts[slot].state != FREE

cdef int acd_contact_left(Engine* e, int64_t t, int32_t slot) noexcept nogil:
    cdef int code = come_to(e, t)
    if code < 0:
        return code
    if not is_live(e, slot):
        return ACD_UNKNOWN_CONTACT
    if e.contacts[slot].state == CONNECTED:
        return ACD_CONNECTED
    contact_release(e, slot, REASON_CONTACT_LEFT)
    contact_free(e, slot)
    return match(e)

cdef int acd_offer_accepted(Engine* e, int64_t t, int32_t slot, int32_t agent) noexcept nogil:
    cdef int code = come_to(e, t)
    cdef int32_t l
    if code < 0:
        return code
    if not is_live(e, slot):
        return ACD_UNKNOWN_CONTACT
    l = link_find(e, slot, agent)
    if l < 0 or e.contacts[slot].state != OFFERED:
        return ACD_NO_OFFER
    cdef Contact* contact = &e.contacts[slot]
    timer_stop(e, e.links[l].timer)
    timer_stop(e, contact.tm_max_wait)
    e.links[l].connected = 1
    if contact.customer >= 0:
        e.last_served[contact.customer] = agent
    withdraw_others(e, slot, l)
    contact_unoffer(e, slot)
    contact.state = CONNECTED
    e.counts.connected += 1
    e.queues[contact.queue].connected += 1
    e.agents[agent].n_connected += 1
    e.agents[agent].misses = 0
    agent_busy(e, agent)
    agent_refresh(e, agent, True)
    return match(e)

cdef inline void withdraw_others(Engine* e, int32_t slot, int32_t accepted) noexcept nogil:
    # Of ring_all: the offers to the agents who were not first, in file order.
    cdef int32_t l, best
    while True:
        best = -1
        l = e.contacts[slot].links
        while l >= 0:
            if l != accepted and (best < 0 or e.links[l].agent < e.links[best].agent):
                best = l
            l = e.links[l].next_of_contact
        if best < 0:
            return
        offer_withdraw(e, best, REASON_ACCEPTED_ELSEWHERE)

cdef int acd_offer_declined(Engine* e, int64_t t, int32_t slot, int32_t agent) noexcept nogil:
    cdef int code = come_to(e, t)
    cdef int32_t l
    if code < 0:
        return code
    if not is_live(e, slot):
        return ACD_UNKNOWN_CONTACT
    l = link_find(e, slot, agent)
    if l < 0 or e.contacts[slot].state != OFFERED:
        return ACD_NO_OFFER
    offer_refuse(e, l)
    agent_refresh(e, agent, False)
    contact_unheld(e, slot)
    return match(e)

cdef int acd_contact_ended(Engine* e, int64_t t, int32_t slot) noexcept nogil:
    cdef int code = come_to(e, t)
    cdef int32_t agent
    cdef Agent* a
    if code < 0:
        return code
    if not is_live(e, slot):
        return ACD_UNKNOWN_CONTACT
    if e.contacts[slot].state != CONNECTED:
        return ACD_NOT_CONNECTED
    cdef Queue* queue = &e.queues[e.contacts[slot].queue]
    agent = e.links[e.contacts[slot].links].agent
    a = &e.agents[agent]
    link_remove(e, e.contacts[slot].links)
    a.n_connected -= 1
    a.handled += 1
    queue.connected -= 1
    e.counts.connected -= 1
    contact_free(e, slot)
    wrap_up_start(e, agent, a.wrap_up if a.wrap_up >= 0 else queue.wrap_up)
    agent_busy(e, agent)
    agent_refresh(e, agent, True)
    return match(e)

cdef int acd_wrap_up_ended(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    cdef int code = come_to(e, t)
    if code < 0:
        return code
    if not 0 <= agent < e.n_agents:
        return ACD_UNKNOWN_AGENT
    if not e.agents[agent].wrapping:
        return ACD_NO_WRAP_UP
    wrap_up_end(e, agent)
    return match(e)

cdef int acd_priority_changed(Engine* e, int64_t t, int32_t slot, double priority) noexcept nogil:
    cdef int code = come_to(e, t)
    if code < 0:
        return code
    if not is_live(e, slot):
        return ACD_UNKNOWN_CONTACT
    if e.contacts[slot].state == CONNECTED:
        return ACD_CONNECTED
    if not -1e12 <= priority <= 1e12:
        return ACD_BAD_VALUE
    e.contacts[slot].priority = priority
    if e.contacts[slot].state == WAITING:
        contact_unplace(e, slot)
        contact_place(e, slot)
    return match(e)


# ---- from Python

cdef int64_t ticks_of(double t) noexcept:
    return llrint(t * 1e6)

cdef int sorted_by_line(const void* a, const void* b) noexcept nogil:
    return -1 if waiting_before(<const Waiting*>a, <const Waiting*>b) else 1

cdef int store(InternTable* table, list numbers) except -1:
    """Intern numbers; the reference is the caller's."""
    cdef int32_t n = len(numbers)
    cdef int32_t i, found
    cdef int64_t* data = <int64_t*>malloc((n + 1) * sizeof(int64_t))
    if data == NULL:
        raise MemoryError
    try:
        for i in range(n):
            data[i] = numbers[i]
        found = intern_get(table, data, n)
    finally:
        free(data)
    if found < 0:
        raise MemoryError
    return found


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
        build(self, center)

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

    def contact_queued(self, double t, int queue, *, id=None, double priority=0.0, queued_at=None, int preferred=-1,
                       steps=None, tiers=None, values=None, int customer=-1):
        """Returns (code, slot). ``steps``: [(seconds or None, {skill: level})]; ``tiers``: (min, max, [(after, min,
        max)]) with None for an open bound; ``values``: {agent index: value}; ``customer``: see :meth:`customers`.
        """
        cdef Engine* e = self.engine
        cdef Queued_C spec
        cdef int32_t slot
        cdef int code
        acd_queued_defaults(&spec, -1 if id is None else id, queue)
        spec.priority = priority
        spec.preferred = preferred
        spec.customer = customer
        if queued_at is not None:
            spec.queued_at = ticks_of(queued_at)
        try:
            if steps is not None:
                spec.steps = self.plan(steps)
            if tiers is not None:
                spec.tiers = store(&e.windows, window_numbers(tiers))
            if values is not None:
                spec.values = store(&e.pair_values, value_numbers(values))
            code = acd_contact_queued(e, ticks_of(t), &spec, &slot)
        finally:
            if spec.steps >= 0:
                plan_drop(e, spec.steps)
            if spec.tiers >= 0:
                intern_drop(&e.windows, spec.tiers)
            if spec.values >= 0:
                intern_drop(&e.pair_values, spec.values)
        return code, slot

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
        cdef int code
        with nogil:
            for i in range(n):
                if i + AHEAD < n:
                    fetch(e, &rows[i + AHEAD], &rows[i + AHEAD // 2], &rows[i + AHEAD // 4])
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
        cdef char[::1] target
        if e.n_effects > 0:
            target = out.view(np.int8)
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
        """An agent, as a dict; contacts are slots."""
        cdef Engine* e = self.engine
        cdef Agent* a = &e.agents[agent]
        cdef int32_t link = a.links
        offered, connected = [], []
        while link >= 0:
            (connected if e.links[link].connected else offered).append(e.links[link].contact)
            link = e.links[link].next_of_agent
        return {
            "presence": AGENT_STATES[a.presence], "state": AGENT_STATES[a.shown], "since": seconds(a.since), "idle_since": seconds(a.idle_since),
            "handled": a.handled, "misses": a.misses, "available": a.available, "offered": sorted(offered),
            "connected": sorted(connected), "held": [a.held[c] for c in range(CHANNELS)],
            "wrap_until": seconds(a.wrap_until) if a.wrapping else None,
            "retry_until": seconds(a.retry_until) if a.tm_retry >= 0 else None,
        }

    def queue(self, int queue):
        """A queue's counts, as a dict, and the arrival of the one who has waited longest (seconds or None)."""
        cdef Engine* e = self.engine
        cdef Queue* q = &e.queues[queue]
        cdef int64_t oldest = NEVER
        cdef int32_t c = q.classes
        cdef int32_t i
        while c >= 0:
            for i in range(e.classes[c].n):
                oldest = min(oldest, e.classes[c].heap[i].arrival)
            c = e.classes[c].next_in_queue
        return {
            "waiting": q.waiting, "offered": q.offered, "connected": q.connected,
            "oldest": None if oldest == NEVER else seconds(oldest),
        }

    def rank(self, int slot):
        """How many contacts of its queue wait before this waiting one, in the center's order."""
        cdef Engine* e = self.engine
        cdef Contact* contact = &e.contacts[slot]
        cdef Waiting node = e.classes[contact.cls].heap[e.heap_at[slot]]
        cdef int32_t c = e.queues[contact.queue].classes
        cdef int32_t i
        cdef int32_t n = 0
        with nogil:
            while c >= 0:
                for i in range(e.classes[c].n):
                    n += waiting_before(&e.classes[c].heap[i], &node)
                c = e.classes[c].next_in_queue
        return n

    def waiting(self, int queue):
        """The slots of the contacts that wait in a queue, in the center's order."""
        cdef Engine* e = self.engine
        cdef int32_t total = e.queues[queue].waiting
        cdef int32_t n = 0
        cdef int32_t c = e.queues[queue].classes
        cdef int32_t i
        cdef Waiting* nodes = <Waiting*>malloc((total + 1) * sizeof(Waiting))
        if nodes == NULL:
            raise MemoryError
        while c >= 0:
            if e.classes[c].n > 0:
                memcpy(nodes + n, e.classes[c].heap, e.classes[c].n * sizeof(Waiting))
            n += e.classes[c].n
            c = e.classes[c].next_in_queue
        qsort(nodes, n, sizeof(Waiting), &sorted_by_line)
        try:
            return [nodes[i].slot for i in range(n)]
        finally:
            free(nodes)

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

    def plan(self, steps):
        """Intern a plan of requirements: [(seconds or None, {skill: level})], or {skill: level} for ever. Returns its id
        for ``Queued_C.steps``; it stays as long as the engine."""
        cdef Engine* e = self.engine
        cdef int64_t until = 0
        if isinstance(steps, dict):
            steps = [(None, steps)]
        numbers = []
        for length, requires in steps:
            until = NEVER if length is None else until + ticks_of(length)
            needs = sorted((self.skills.get(s, e.n_skills) << 8) | level for s, level in requires.items() if level > 0)
            numbers += [until, store(&e.requirements, needs)]
            if length is None:
                break
        known = e.plans.live
        cdef int32_t found = store(&e.plans, numbers)
        if e.plans.live == known:  # it was there already, and has its own references
            for requirement in numbers[1::2]:
                intern_drop(&e.requirements, requirement)
        return found


cdef list window_numbers(tiers):
    low, high, rules = tiers
    numbers = [-1 if low is None else low, -1 if high is None else high]
    for after, rule_low, rule_high in sorted(rules, key=lambda rule: rule[0]):
        numbers += [ticks_of(after), -1 if rule_low is None else rule_low, -1 if rule_high is None else rule_high]
    return numbers

cdef list value_numbers(dict values):
    cdef DoubleBits u
    numbers = []
    for agent in sorted(values):
        u.number = values[agent]
        numbers += [agent, u.bits]
    return numbers

# ---- the array interface

cdef int apply_row(Engine* e, const Event_C* row) noexcept nogil:
    cdef Queued_C spec
    cdef int32_t slot
    if not 0 <= row.t <= 1e12:  # not: NaN as well
        return ACD_BAD_VALUE
    cdef int64_t t = llrint(row.t * 1e6)
    if row.event == 0:
        return acd_advance(e, t)
    if row.event == 1:
        return acd_agent_ready(e, t, row.agent)
    if row.event == 2:
        return acd_agent_away(e, t, row.agent)
    if row.event == 3:
        return acd_agent_offline(e, t, row.agent)
    if row.event == 9:
        return acd_wrap_up_ended(e, t, row.agent)
    if row.contact < 0 or row.event < 0 or row.event > 10:
        return ACD_BAD_VALUE
    if row.event == 4:
        acd_queued_defaults(&spec, row.contact, row.queue)
        spec.priority = row.priority
        spec.preferred = row.preferred if row.preferred >= 0 else -1
        if row.queued_at == row.queued_at:
            if not 0 <= row.queued_at <= row.t:
                return ACD_BAD_VALUE
            spec.queued_at = llrint(row.queued_at * 1e6)
        return acd_contact_queued(e, t, &spec, &slot)
    slot = id_find(e, row.contact)
    if row.event == 5:
        return acd_contact_left(e, t, slot)
    if row.event == 6:
        return acd_offer_accepted(e, t, slot, row.agent)
    if row.event == 7:
        return acd_offer_declined(e, t, slot, row.agent)
    if row.event == 8:
        return acd_contact_ended(e, t, slot)
    return acd_priority_changed(e, t, slot, row.priority)

cdef enum:
    AHEAD = 16                    # rows; far enough for memory to answer, near enough to stay in the cache

cdef inline void fetch(const Engine* e, const Event_C* far, const Event_C* middle, const Event_C* near) noexcept nogil:
    # Ask early for the memory that events to come will touch: first the place of the id, then its contact, and then the
    # agent who holds it. Half a million contacts don't fit a cache; without this an event waits for memory three times.
    cdef int64_t home = id_home(e, far.contact)
    cdef int32_t slot, agent, link
    prefetch(&e.ids[home])
    prefetch(&e.id_slots[home])
    slot = id_find(e, middle.contact)
    if slot >= 0:
        prefetch(&e.contacts[slot])
        prefetch(<const char*>&e.contacts[slot] + 64)
        prefetch(&e.heap_at[slot])
    slot = id_find(e, near.contact)
    agent = near.agent
    if slot >= 0 and e.contacts[slot].links >= 0:
        link = e.contacts[slot].links
        agent = e.links[link].agent
    if 0 <= agent < e.n_agents:
        prefetch(&e.agents[agent])
        prefetch(<const char*>&e.agents[agent] + 64)
        prefetch(<const char*>&e.agents[agent] + 128)

cdef void refused(Engine* e, const Event_C* row, int code, Py_ssize_t place) noexcept nogil:
    cdef Effect_C* effect = effect_add(e, EFFECT_REFUSED, -1, row.agent)
    effect.t = row.t
    effect.contact = row.contact
    effect.reason = code
    effect.value = <double>place

# ---- from a center to an engine

cdef int build(Router self, center) except -1:
    """Number the skills and the groups, and fill in the arrays."""
    cdef Engine* e = self.engine
    queues, agents = list(center.queues), list(center.agents)
    self.skills = {name: i for i, name in enumerate(sorted({s for a in agents for s in a.skills}))}
    queue_index = {q.name: i for i, q in enumerate(queues)}
    by_channel = {c: [i for i, q in enumerate(queues) if q.channel == c] for c in CHANNEL_NAMES}
    profiles = {}  # what makes agents alike -> (group, their indexes)
    for i, agent in enumerate(agents):
        channels = tuple(c for c in CHANNEL_NAMES if agent.capacity.get(c, 0) > 0)
        named = None if agent.queues is None else tuple(sorted(agent.queues.items()))
        profiles.setdefault((tuple(sorted(agent.skills.items())), named, channels), []).append(i)
    memberships = []  # (queue, tier, group)
    for g, (_, named, channels) in enumerate(profiles):
        places = {q: 1 for c in channels for q in by_channel[c]} if named is None else {
            queue_index[name]: tier for name, tier in named if queues[queue_index[name]].channel in channels
        }
        memberships += [(q, tier, g) for q, tier in places.items()]
    memberships.sort()
    if engine_arrays(e, len(agents), len(queues), len(profiles), len(self.skills), len(memberships),
                     len(center.reserves)) < 0:
        raise MemoryError
    for i, (q, tier, g) in enumerate(memberships):
        e.by_queue[i].group = g
        e.by_queue[i].tier = tier
    build_queues(self, queues, queue_index, memberships)
    build_groups(self, profiles, center.reserves, queue_index)
    build_agents(self, agents, profiles)
    build_pools(self, queues, memberships)
    return 0

cdef int build_queues(Router self, list queues, dict queue_index, list memberships) except -1:
    cdef Engine* e = self.engine
    cdef Queue* q
    cdef int32_t place = 0
    for i, queue in enumerate(queues):
        q = &e.queues[i]
        q.weight = ordered(-<double>queue.weight)
        q.channel = CHANNEL_NAMES.index(queue.channel)
        q.strategy = STRATEGIES.index(queue.strategy)
        q.within = ticks_of(queue.target_within)
        q.delay = ticks_of(queue.delay)
        q.tier_wait = ticks_of(queue.tier_wait)
        q.tier_wait_multiplies = queue.tier_wait_multiplies
        q.offer_timeout = ticks_of(queue.offer_timeout)
        q.retry_delay = ticks_of(queue.retry_delay)
        q.max_no_answer = queue.max_no_answer
        q.wrap_up = ticks_of(queue.wrap_up)
        q.max_waiting = queue.max_waiting
        q.max_wait = ticks_of(queue.max_wait)
        q.overflow = -1 if queue.overflow is None else queue_index[queue.overflow]
        steps = [(s.seconds, s.requires) for s in queue.steps] or [(None, queue.requires)]
        q.steps = self.plan(steps)
        q.plain = steps[0][0] is None and q.delay == 0 and q.tier_wait == 0
        q.sticky = queue.sticky
        q.plain_class = q.classes = q.last_agent = -1
        q.groups_from = place
        while place < len(memberships) and memberships[place][0] == i:
            place += 1
        q.groups_to = place
        w = queue.weights
        if w is not None:
            q.w_wait, q.w_idle, q.w_priority = w.wait, w.idle, w.priority
            q.w_proficiency, q.w_value, q.w_tier = w.proficiency, w.value, w.tier
    return 0

cdef int build_groups(Router self, dict profiles, reserves, dict queue_index) except -1:
    cdef Engine* e = self.engine
    cdef Reserve* rule
    for r, reserve in enumerate(reserves):
        if reserve_arrays(e, r) < 0:
            raise MemoryError
        e.reserves[r].agents = reserve.agents
        for name in reserve.queues:
            bit_set(e.reserves[r].queues, queue_index[name])
    for g, ((skills, _, _), members) in enumerate(profiles.items()):
        if group_members(e, g, len(members), len(reserves)) < 0:
            raise MemoryError
        e.groups[g].n = len(members)
        for i, agent in enumerate(members):
            e.groups[g].members[i] = agent
        for name, level in skills:
            e.levels[<size_t>g * e.n_skills + <size_t>self.skills[name]] = level
        for r, reserve in enumerate(reserves):
            if dict(skills).get(reserve.skill, 0) >= reserve.level:
                rule = &e.reserves[r]
                rule.groups[rule.n_groups] = g
                rule.n_groups += 1
                e.groups[g].reserves[e.groups[g].n_reserves] = r
                e.groups[g].n_reserves += 1
    return 0

cdef int build_agents(Router self, list agents, dict profiles) except -1:
    cdef Engine* e = self.engine
    cdef Agent* a
    for g, members in enumerate(profiles.values()):
        for rank, i in enumerate(members):
            a = &e.agents[i]
            agent = agents[i]
            a.group = g
            a.rank = rank
            a.busy_from = -1
            a.links = a.tm_wrap_up = a.tm_retry = -1
            a.wrap_up = -1 if agent.wrap_up is None else ticks_of(agent.wrap_up)
            a.blend = agent.blend
            for c, name in enumerate(CHANNEL_NAMES):
                a.capacity[c] = agent.capacity.get(name, 0)
    return 0

cdef int build_pools(Router self, list queues, list memberships) except -1:
    """Keep each pool in the orders that the strategies of its queues need."""
    cdef Engine* e = self.engine
    keep = {}
    for i, _, g in memberships:
        at = (e.queues[i].channel, g)
        keep[at] = keep.get(at, 0) | kept_for(&e.queues[i])
    for (channel, g), flags in keep.items():
        if pool_arrays(e, channel, g, flags) < 0:
            raise MemoryError
    return 0

cdef int kept_for(const Queue* q) noexcept:
    if q.strategy == FEWEST_CONTACTS:
        return 1 << HEAP_HANDLED
    if q.strategy == LEAST_OCCUPIED:
        return KEEP_OCCUPANCY
    if q.strategy == WEIGHTED and q.w_idle != 0:
        return 1 << (HEAP_IDLE if q.w_idle > 0 else HEAP_LATEST)
    if q.strategy in (LONGEST_IDLE, MOST_SKILLED, LEAST_SKILLED):
        return 1 << HEAP_IDLE
    return KEEP_BITS
