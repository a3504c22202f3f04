# The events themselves, as inline functions, so that one event is one call from wherever it comes: acd.pyx exports them
# for C (acd.pxd says how they answer), acd_columns.pxd loops over them.
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from cordboard._core.acd_classes cimport contact_place, contact_unplace
from cordboard._core.acd_events cimport (
    agent_appear, agent_busy, agent_engage, agent_leave, come_to, contact_enter, contact_free, contact_new, contact_reject,
    contact_release, offer_refuse, queue_full, wrap_up_end, wrap_up_start,
)
from cordboard._core.acd_ids cimport id_add, id_find
from cordboard._core.acd_intern cimport intern_keep
from cordboard._core.acd_match cimport (
    contact_unheld, contact_unoffer, link_find, link_remove, match, offer_contact, offer_withdraw,
)
from cordboard._core.acd_pick cimport pick_agent
from cordboard._core.acd_pools cimport agent_refresh
from cordboard._core.acd_timers cimport timer_stop
from cordboard._core.acd_types cimport *

cdef inline int on_advance(Engine* e, int64_t t) noexcept nogil:
    cdef int code = come_to(e, t)
    if code < 0:
        return code
    return match(e)  # nothing to do but after a change of the center

cdef inline int64_t on_next_timer(const Engine* e) noexcept nogil:
    return e.timers[0].due if e.n_timers > 0 else NEVER

cdef inline int come_to_agent(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    # Time moves on to an event of this agent, if there is one.
    cdef int code = come_to(e, t)
    return ACD_UNKNOWN_AGENT if code >= 0 and not 0 <= agent < e.n_agents else code

cdef inline bint is_live(const Engine* e, int32_t slot) noexcept nogil:
    return 0 <= slot < e.n_contacts and e.contacts[slot].state != FREE

cdef inline int come_to_contact(Engine* e, int64_t t, int32_t slot) noexcept nogil:
    # Time moves on to an event of this contact, if it is still there then.
    cdef int code = come_to(e, t)
    return ACD_UNKNOWN_CONTACT if code >= 0 and not is_live(e, slot) else code

cdef inline int on_agent_ready(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    cdef int code = come_to_agent(e, t, agent)
    if code < 0:
        return code
    cdef Agent* a = &e.agents[agent]
    agent_appear(e, agent, READY)
    a.idle_since = e.now
    a.misses = 0
    agent_refresh(e, agent, True)
    return match(e)

cdef inline int on_agent_away(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    cdef int code = come_to_agent(e, t, agent)
    if code < 0:
        return code
    agent_leave(e, agent, AWAY, REASON_AGENT_AWAY)
    return match(e)

cdef inline int on_agent_offline(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    cdef int code = come_to_agent(e, t, agent)
    if code < 0:
        return code
    agent_leave(e, agent, OFFLINE, REASON_AGENT_OFFLINE)
    return match(e)

cdef inline int on_agent_engaged(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    cdef int code = come_to_agent(e, t, agent)
    if code < 0:
        return code
    agent_engage(e, agent, True)
    return match(e)

cdef inline int on_agent_released(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    # Its idle time starts, as after a contact.
    cdef int code = come_to_agent(e, t, agent)
    if code < 0:
        return code
    if e.agents[agent].engaged:
        e.agents[agent].idle_since = e.now
        agent_engage(e, agent, False)
        agent_refresh(e, agent, True)
    return match(e)

cdef inline void hand_over(Engine* e, int32_t slot) noexcept nogil:
    # The engaged agent whom the contact prefers has it on the phone already: offered before anybody gets anything else,
    # if the agent is eligible but for being engaged. Else it waits like any other, and the agent stays engaged.
    cdef Contact* contact = &e.contacts[slot]
    cdef int32_t a = contact.preferred
    cdef int32_t tier
    agent_engage(e, a, False)
    if contact.cls >= 0 and pick_agent(e, &e.classes[contact.cls], contact, -1, &tier) == a:
        offer_contact(e, contact.cls, slot)
    else:
        agent_engage(e, a, True)

cdef inline void on_queued_defaults(Queued_C* spec, int64_t id, int32_t queue) noexcept nogil:
    memset(spec, 0, sizeof(Queued_C))
    spec.id = id
    spec.queue = queue
    spec.queued_at = -1
    spec.steps = spec.tiers = spec.preferred = spec.values = spec.customer = -1

cdef inline int on_contact_queued(Engine* e, int64_t t, const Queued_C* spec, int32_t* slot) noexcept nogil:
    cdef int code = come_to(e, t)
    cdef int32_t s
    cdef Contact* contact
    cdef bint handed
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
    handed = spec.handed and spec.preferred >= 0 and e.agents[spec.preferred].engaged
    if queue_full(&e.queues[spec.queue]) and not handed:
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
    if handed:
        hand_over(e, s)
    return match(e)

cdef inline int on_contact_left(Engine* e, int64_t t, int32_t slot) noexcept nogil:
    cdef int code = come_to_contact(e, t, slot)
    if code < 0:
        return code
    if e.contacts[slot].state == CONNECTED:
        return ACD_CONNECTED
    contact_release(e, slot, REASON_CONTACT_LEFT)
    contact_free(e, slot)
    return match(e)

cdef inline int on_offer_accepted(Engine* e, int64_t t, int32_t slot, int32_t agent) noexcept nogil:
    cdef int code = come_to_contact(e, t, slot)
    cdef int32_t l
    if code < 0:
        return code
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

cdef inline int on_offer_declined(Engine* e, int64_t t, int32_t slot, int32_t agent) noexcept nogil:
    cdef int code = come_to_contact(e, t, slot)
    cdef int32_t l
    if code < 0:
        return code
    l = link_find(e, slot, agent)
    if l < 0 or e.contacts[slot].state != OFFERED:
        return ACD_NO_OFFER
    offer_refuse(e, l)
    agent_refresh(e, agent, False)
    contact_unheld(e, slot)
    return match(e)

cdef inline int on_contact_ended(Engine* e, int64_t t, int32_t slot) noexcept nogil:
    cdef int code = come_to_contact(e, t, slot)
    cdef int32_t agent
    cdef Agent* a
    if code < 0:
        return code
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

cdef inline int on_wrap_up_ended(Engine* e, int64_t t, int32_t agent) noexcept nogil:
    cdef int code = come_to_agent(e, t, agent)
    if code < 0:
        return code
    if not e.agents[agent].wrapping:
        return ACD_NO_WRAP_UP
    wrap_up_end(e, agent)
    return match(e)

cdef inline int on_priority_changed(Engine* e, int64_t t, int32_t slot, double priority) noexcept nogil:
    cdef int code = come_to_contact(e, t, slot)
    if code < 0:
        return code
    if e.contacts[slot].state == CONNECTED:
        return ACD_CONNECTED
    if not -1e12 <= priority <= 1e12:
        return ACD_BAD_VALUE
    e.contacts[slot].priority = priority
    if e.contacts[slot].state == WAITING:
        contact_unplace(e, slot)
        contact_place(e, slot)
    return match(e)
