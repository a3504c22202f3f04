# What happens to contacts and agents: the transitions behind the events and the timers. None of them matches; their
# callers do, once, when the event or the timer is through.
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport realloc

from cordboard._core.acd_classes cimport class_remove, contact_place, plan_drop
from cordboard._core.acd_ids cimport id_remove
from cordboard._core.acd_intern cimport intern_drop, intern_get
from cordboard._core.acd_match cimport (
    contact_unheld, contact_unoffer, contact_unwait, contact_wait, effect_add, link_remove, match, offer_withdraw,
    offers_withdraw, seconds,
)
from cordboard._core.acd_memory cimport array_grown
from cordboard._core.acd_pools cimport agent_refresh
from cordboard._core.acd_timers cimport timer_order, timer_start, timer_stop
from cordboard._core.acd_types cimport (
    ACD_NO_MEMORY, ACD_OK, ACD_TIME_BACK, ACD_TOO_MANY_CONTACTS, AWAY, Agent, Contact, EFFECT_AGENT_AWAY,
    EFFECT_CONTACT_EXPIRED, EFFECT_CONTACT_REJECTED, EFFECT_OFFER_EXPIRED, EFFECT_WRAP_UP_ENDED, EFFECT_WRAP_UP_STARTED,
    Effect_C, Engine, FREE, Interned, Link, OFFERED, OFFLINE, Queue, REASON_AGENT_AWAY, REASON_CONTACT_EXPIRED, REASON_FULL,
    REASON_NO_ANSWER, TIMER_MAX_WAIT, TIMER_OFFER, TIMER_PHASE, TIMER_RETRY, TIMER_WRAP_UP, Timer,
)

# ---- contacts

cdef enum:
    ROOM_WHOLE = 16384            # 2 MiB of contacts

cdef inline int contacts_grow(Engine* e) noexcept nogil:
    # Twice the room; from ROOM_WHOLE contacts on, room for all that there may be: to copy so many takes longer than an
    # event may, and memory that nobody has written to is none yet.
    cdef size_t used = <size_t>e.contacts_room * sizeof(Contact)
    cdef int32_t room = 2 * e.contacts_room
    cdef Contact* grown = NULL
    if room >= ROOM_WHOLE and e.max_contacts > room:
        grown = <Contact*>array_grown(e.contacts, used, <size_t>e.max_contacts * sizeof(Contact))
        if grown != NULL:
            room = <int32_t>e.max_contacts
    if grown == NULL:  # a system that promises no more memory than it has may still have this
        grown = <Contact*>array_grown(e.contacts, used, <size_t>room * sizeof(Contact))
    if grown == NULL:
        return ACD_NO_MEMORY
    e.contacts = grown
    e.contacts_room = room
    return ACD_OK

cdef inline int32_t contact_new(Engine* e) noexcept nogil:
    # An empty slot, or a negative code.
    cdef int32_t slot = e.free_contact
    if e.live_contacts >= e.max_contacts:
        return ACD_TOO_MANY_CONTACTS
    if slot >= 0:
        e.free_contact = e.contacts[slot].next_free
    else:
        if e.n_contacts == e.contacts_room and contacts_grow(e) < 0:
            return ACD_NO_MEMORY
        slot = e.n_contacts
        e.n_contacts += 1
    e.live_contacts += 1
    return slot

cdef inline void freed_add(Engine* e, int32_t slot) noexcept nogil:
    cdef int32_t* grown
    if e.n_freed == e.freed_room:
        grown = <int32_t*>realloc(e.freed, 2 * <size_t>e.freed_room * sizeof(int32_t))
        if grown == NULL:
            e.out_of_memory = 1
            return
        e.freed = grown
        e.freed_room *= 2
    e.freed[e.n_freed] = slot
    e.n_freed += 1

cdef inline void contact_free(Engine* e, int32_t slot) noexcept nogil:
    # It is gone, and counted. It must have no links and stand in no class.
    cdef Contact* contact = &e.contacts[slot]
    timer_stop(e, contact.tm_max_wait)
    if contact.excluded > 0:
        intern_drop(&e.exclusions, contact.excluded)
    if contact.steps >= 0:
        plan_drop(e, contact.steps)
    if contact.tiers >= 0:
        intern_drop(&e.windows, contact.tiers)
    if contact.values >= 0:
        intern_drop(&e.pair_values, contact.values)
    if contact.id < 0 or e.index_ids:
        freed_add(e, slot)
    if contact.id >= 0 and e.index_ids:
        id_remove(e, contact.id)
    contact.state = FREE
    contact.next_free = e.free_contact
    e.free_contact = slot
    e.live_contacts -= 1
    e.counts.ended += 1

cdef inline bint queue_full(const Queue* queue) noexcept nogil:
    return queue.max_waiting > 0 and queue.waiting + queue.offered >= queue.max_waiting

cdef inline void contact_enter(Engine* e, int32_t slot, int32_t q) noexcept nogil:
    # Into a queue with room: on arrival, and by overflow.
    cdef Contact* contact = &e.contacts[slot]
    cdef int64_t max_wait = e.queues[q].max_wait
    contact.queue = q
    contact.entered = e.now
    contact.phase = e.now - contact.arrival
    if max_wait > 0 and timer_start(
        e, TIMER_MAX_WAIT, slot, e.now + max_wait, timer_order(TIMER_MAX_WAIT, contact.seq, 0)
    ) < 0:
        e.out_of_memory = 1
    contact_wait(e, slot)

cdef inline void contact_release(Engine* e, int32_t slot, int32_t reason) noexcept nogil:
    # Waiting or offered no longer.
    if e.contacts[slot].state == OFFERED:
        offers_withdraw(e, slot, reason)
        contact_unoffer(e, slot)
    else:
        contact_unwait(e, slot)

cdef inline void contact_expire(Engine* e, int32_t slot) noexcept nogil:
    cdef int32_t to = e.queues[e.contacts[slot].queue].overflow
    contact_release(e, slot, REASON_CONTACT_EXPIRED)
    effect_add(e, EFFECT_CONTACT_EXPIRED, slot, -1).queue = to
    if to < 0:
        contact_free(e, slot)
    elif queue_full(&e.queues[to]):
        contact_reject(e, slot, e.contacts[slot].id, to)
        contact_free(e, slot)
    else:
        contact_enter(e, slot, to)

cdef inline void contact_reject(Engine* e, int32_t slot, int64_t id, int32_t queue) noexcept nogil:
    cdef Effect_C* row = effect_add(e, EFFECT_CONTACT_REJECTED, slot, -1)
    row.contact = id
    row.queue = queue
    row.reason = REASON_FULL

cdef inline void contact_exclude(Engine* e, int32_t slot, int32_t a) noexcept nogil:
    # This contact won't be offered to this agent again.
    cdef Contact* contact = &e.contacts[slot]
    cdef const Interned* old = &e.exclusions.items[contact.excluded]
    cdef int32_t n = 0
    cdef int32_t i, found
    for i in range(old.n):
        if n == i and old.data[i] > a:
            e.numbers[n] = a
            n += 1
        e.numbers[n] = old.data[i]
        n += 1
    if n == old.n:
        e.numbers[n] = a
        n += 1
    found = intern_get(&e.exclusions, e.numbers, n)
    if found < 0:
        e.out_of_memory = 1
        return
    if contact.excluded > 0:
        intern_drop(&e.exclusions, contact.excluded)
    contact.excluded = found

# ---- agents

cdef inline void agent_busy(Engine* e, int32_t a) noexcept nogil:
    # Handling is a conversation, be it no contact of its own, or wrap-up: keep its clock.
    cdef Agent* agent = &e.agents[a]
    cdef bint busy = agent.presence != OFFLINE and (agent.n_connected > 0 or agent.engaged or agent.wrapping)
    if busy and agent.busy_from < 0:
        agent.busy_from = e.now
    elif not busy and agent.busy_from >= 0:
        agent.busy_before += e.now - agent.busy_from
        agent.busy_from = -1

cdef inline void agent_engage(Engine* e, int32_t a, bint engaged) noexcept nogil:
    # On a call that is no contact of its own, or not any more.
    e.agents[a].engaged = engaged
    agent_busy(e, a)
    agent_refresh(e, a, False)

cdef inline void agent_withdraw(Engine* e, int32_t a, int32_t reason) noexcept nogil:
    # Withdraw its open offers, in the order of the contacts' lines.
    cdef int32_t l, first, slot
    while True:
        first = -1
        l = e.agents[a].links
        while l >= 0:
            if not e.links[l].connected and (
                first < 0 or e.contacts[e.links[l].contact].seq < e.contacts[e.links[first].contact].seq
            ):
                first = l
            l = e.links[l].next_of_agent
        if first < 0:
            return
        slot = e.links[first].contact
        offer_withdraw(e, first, reason)
        contact_unheld(e, slot)

cdef inline void agent_appear(Engine* e, int32_t a, int32_t presence) noexcept nogil:
    # Its presence, and the clocks of the time that it is logged in and busy.
    cdef Agent* agent = &e.agents[a]
    if presence == OFFLINE and agent.presence != OFFLINE:
        agent.logged_in = e.now - agent.login
    elif presence != OFFLINE and agent.presence == OFFLINE:
        agent.login = e.now - agent.logged_in
    agent.presence = presence
    agent_busy(e, a)

cdef inline void agent_leave(Engine* e, int32_t a, int32_t presence, int32_t reason) noexcept nogil:
    # Away or offline. Out of the pools before its offers are withdrawn, so that none comes back.
    agent_appear(e, a, presence)
    agent_refresh(e, a, False)
    agent_withdraw(e, a, reason)

cdef inline void agent_rest(Engine* e, int32_t a, int64_t delay) noexcept nogil:
    # retry_delay: nothing from any queue until then; of two, the later counts.
    cdef Agent* agent = &e.agents[a]
    if delay <= 0 or (agent.tm_retry >= 0 and e.timers[agent.tm_retry].due >= e.now + delay):
        return
    timer_stop(e, agent.tm_retry)
    if timer_start(e, TIMER_RETRY, a, e.now + delay, timer_order(TIMER_RETRY, 0, a)) < 0:
        e.out_of_memory = 1

cdef inline void wrap_up_start(Engine* e, int32_t a, int64_t length) noexcept nogil:
    # After a conversation; of two, the later end counts.
    cdef Agent* agent = &e.agents[a]
    if length <= 0:
        if not agent.wrapping:
            agent.idle_since = e.now
        return
    cdef int64_t until = e.now + length
    if agent.wrapping:
        until = max(until, e.timers[agent.tm_wrap_up].due)
    timer_stop(e, agent.tm_wrap_up)
    agent.wrapping = 1
    if timer_start(e, TIMER_WRAP_UP, a, until, timer_order(TIMER_WRAP_UP, 0, a)) < 0:
        e.out_of_memory = 1
    effect_add(e, EFFECT_WRAP_UP_STARTED, -1, a).value = seconds(until)

cdef inline void wrap_up_end(Engine* e, int32_t a) noexcept nogil:
    cdef Agent* agent = &e.agents[a]
    timer_stop(e, agent.tm_wrap_up)
    agent.wrapping = 0
    agent.idle_since = e.now
    effect_add(e, EFFECT_WRAP_UP_ENDED, -1, a)
    agent_busy(e, a)
    agent_refresh(e, a, True)

# ---- offers

cdef inline void offer_refuse(Engine* e, int32_t l) noexcept nogil:
    # Declined or expired: the agent is excluded for this contact and may have to rest. The caller refreshes the agent
    # and lets the contact wait.
    cdef int32_t slot = e.links[l].contact
    cdef int32_t a = e.links[l].agent
    contact_exclude(e, slot, a)
    link_remove(e, l)
    agent_rest(e, a, e.queues[e.contacts[slot].queue].retry_delay)

cdef inline void offer_expire(Engine* e, int32_t l) noexcept nogil:
    cdef int32_t slot = e.links[l].contact
    cdef int32_t a = e.links[l].agent
    cdef Agent* agent = &e.agents[a]
    cdef int32_t limit = e.queues[e.contacts[slot].queue].max_no_answer
    effect_add(e, EFFECT_OFFER_EXPIRED, slot, a)
    offer_refuse(e, l)
    agent.misses += 1
    if limit > 0 and agent.misses >= limit:
        effect_add(e, EFFECT_AGENT_AWAY, -1, a).reason = REASON_NO_ANSWER
        agent_leave(e, a, AWAY, REASON_AGENT_AWAY)
    else:
        agent_refresh(e, a, False)
    contact_unheld(e, slot)

# ---- time

cdef inline void fire(Engine* e) noexcept nogil:
    # The first timer, and what follows from it.
    cdef Timer t = e.timers[0]
    timer_stop(e, 0)
    e.now = t.due
    e.early = t.kind != TIMER_PHASE
    if t.kind == TIMER_OFFER:
        offer_expire(e, t.subject)
    elif t.kind == TIMER_WRAP_UP:
        wrap_up_end(e, t.subject)
    elif t.kind == TIMER_RETRY:
        agent_refresh(e, t.subject, False)
    elif t.kind == TIMER_PHASE:
        class_remove(e, t.subject)
        contact_place(e, t.subject)
    else:
        contact_expire(e, t.subject)
    match(e)
    e.early = 0

cdef inline int come_to(Engine* e, int64_t t) noexcept nogil:
    # Everything that is due at or before t, in its order; then it is t.
    if e.out_of_memory:
        return ACD_NO_MEMORY
    if t < e.now:
        return ACD_TIME_BACK
    while e.n_timers > 0 and e.timers[0].due <= t:
        fire(e)
        if e.out_of_memory:
            return ACD_NO_MEMORY
    e.now = t
    return ACD_OK
