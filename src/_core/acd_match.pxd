# Who holds whom (links), the effects that tell of it, and the matching loop.
#
# Loop invariant of match(): a waiting contact that has an eligible agent is in a dirty class, or one of its eligible
# agents is in a dirty group. Between events nobody is eligible for anybody.
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memset

from cordboard._core.acd_bits cimport bit_lowest
from cordboard._core.acd_classes cimport (
    contact_place, contact_unplace, first_before, node_before_first,
)
from cordboard._core.acd_line cimport line_first, line_second
from cordboard._core.acd_memory cimport array_grown
from cordboard._core.acd_occupancy cimport busy_share
from cordboard._core.acd_pick cimport (
    Out, class_has_agent, count_free, is_excluded, out_of, pair_score, holds_idle, pick_agent, proficiency, ring_list, sticky_agent,
)
from cordboard._core.acd_pools cimport agent_refresh
from cordboard._core.acd_timers cimport timer_order, timer_start, timer_stop
from cordboard._core.acd_types cimport (
    Agent, Class, Contact, EFFECT_OFFER, EFFECT_OFFER_WITHDRAWN, Effect_C, Engine, FEWEST_CONTACTS, LEAST_OCCUPIED,
    LEAST_SKILLED, LONGEST_IDLE, Link, MOST_SKILLED, OFFERED, ORDER_PRIORITY, ORDER_SCORE, Place, Queue, RANDOM, RING_ALL,
    TIMER_OFFER, WAITING, WEIGHTED,
)

cdef inline double seconds(int64_t ticks) noexcept nogil:
    return <double>ticks / 1e6

# ---- effects

cdef inline Effect_C* effect_add(Engine* e, int32_t kind, int32_t slot, int32_t agent) noexcept nogil:
    cdef Effect_C* row = &e.spare
    cdef Effect_C* grown
    if e.n_effects == e.effects_room:
        grown = <Effect_C*>realloc(e.effects, 2 * <size_t>e.effects_room * sizeof(Effect_C))
        if grown == NULL:
            e.out_of_memory = 1
        else:
            e.effects = grown
            e.effects_room *= 2
    if e.n_effects < e.effects_room:
        row = &e.effects[e.n_effects]
        e.n_effects += 1
    memset(row, 0, sizeof(Effect_C))
    row.t = seconds(e.now)
    row.effect = kind
    row.slot = slot
    row.contact = e.contacts[slot].id if slot >= 0 else -1
    row.agent = agent
    row.queue = -1
    row.runner_agent = -1
    row.runner_slot = -1
    row.runner_contact = -1
    return row

# ---- links

cdef inline int32_t link_add(Engine* e, int32_t slot, int32_t a) noexcept nogil:
    cdef size_t used
    cdef Link* grown
    cdef Link* link
    cdef int32_t l = e.free_link
    cdef int32_t first
    if l >= 0:
        e.free_link = e.links[l].next_of_contact
    else:
        if e.n_links == e.links_room:
            used = <size_t>e.links_room * sizeof(Link)
            grown = <Link*>array_grown(e.links, used, 2 * used)
            if grown == NULL:
                e.out_of_memory = 1
                return -1
            e.links = grown
            e.links_room *= 2
        l = e.n_links
        e.n_links += 1
    link = &e.links[l]
    link.contact = slot
    link.agent = a
    link.connected = 0
    link.timer = -1
    first = e.contacts[slot].links
    link.prev_of_contact = -1
    link.next_of_contact = first
    if first >= 0:
        e.links[first].prev_of_contact = l
    e.contacts[slot].links = l
    first = e.agents[a].links
    link.prev_of_agent = -1
    link.next_of_agent = first
    if first >= 0:
        e.links[first].prev_of_agent = l
    e.agents[a].links = l
    e.agents[a].n_links += 1
    e.agents[a].held[e.queues[e.contacts[slot].queue].channel] += 1
    return l

cdef inline void link_remove(Engine* e, int32_t l) noexcept nogil:
    # The agent holds the contact no longer. Whoever calls this refreshes the agent afterwards.
    cdef Link* link = &e.links[l]
    timer_stop(e, link.timer)
    if link.prev_of_contact >= 0:
        e.links[link.prev_of_contact].next_of_contact = link.next_of_contact
    else:
        e.contacts[link.contact].links = link.next_of_contact
    if link.next_of_contact >= 0:
        e.links[link.next_of_contact].prev_of_contact = link.prev_of_contact
    if link.prev_of_agent >= 0:
        e.links[link.prev_of_agent].next_of_agent = link.next_of_agent
    else:
        e.agents[link.agent].links = link.next_of_agent
    if link.next_of_agent >= 0:
        e.links[link.next_of_agent].prev_of_agent = link.prev_of_agent
    e.agents[link.agent].n_links -= 1
    e.agents[link.agent].held[e.queues[e.contacts[link.contact].queue].channel] -= 1
    link.next_of_contact = e.free_link
    e.free_link = l

cdef inline int32_t link_find(const Engine* e, int32_t slot, int32_t a) noexcept nogil:
    cdef int32_t l = e.contacts[slot].links
    while l >= 0 and e.links[l].agent != a:
        l = e.links[l].next_of_contact
    return l

cdef inline int32_t link_first_agent(const Engine* e, int32_t slot) noexcept nogil:
    # The link of the contact whose agent comes first in the file: the order in which offers are withdrawn.
    cdef int32_t l = e.contacts[slot].links
    cdef int32_t best = l
    while l >= 0:
        if e.links[l].agent < e.links[best].agent:
            best = l
        l = e.links[l].next_of_contact
    return best

# ---- states of a contact and their counts

cdef inline void contact_wait(Engine* e, int32_t slot) noexcept nogil:
    e.contacts[slot].state = WAITING
    e.counts.waiting += 1
    e.queues[e.contacts[slot].queue].waiting += 1
    contact_place(e, slot)

cdef inline void contact_unwait(Engine* e, int32_t slot) noexcept nogil:
    contact_unplace(e, slot)
    e.counts.waiting -= 1
    e.queues[e.contacts[slot].queue].waiting -= 1

cdef inline void contact_unoffer(Engine* e, int32_t slot) noexcept nogil:
    e.counts.offered -= 1
    e.queues[e.contacts[slot].queue].offered -= 1

# ---- why

cdef inline double agent_value(Engine* e, const Class* cls, const Contact* contact, int32_t tier, int32_t a) noexcept nogil:
    # The agent's key in the strategy of the class's queue, as a person would read it.
    cdef const Queue* q = &e.queues[cls.queue]
    cdef const Agent* agent = &e.agents[a]
    cdef int64_t busy, logged_in
    cdef double value = 0
    if q.strategy == LONGEST_IDLE:
        return seconds(e.now - agent.idle_since)
    if q.strategy == FEWEST_CONTACTS:
        return <double>agent.handled
    if q.strategy == MOST_SKILLED or q.strategy == LEAST_SKILLED:
        return proficiency(e, cls, agent.group)
    if q.strategy == LEAST_OCCUPIED:
        busy_share(agent, e.now, &busy, &logged_in)
        return <double>busy / <double>logged_in
    if q.strategy == WEIGHTED:
        if contact.values >= 0:
            value = value_for(e, contact.values, a)
        return pair_score(e, cls, contact, tier, a, value)
    return a

cdef inline double value_for(const Engine* e, int32_t values, int32_t a) noexcept nogil:
    cdef const int64_t* data = e.pair_values.items[values].data
    cdef int32_t i
    for i in range(0, e.pair_values.items[values].n, 2):
        if data[i] == a:
            return (<const double*>&data[i + 1])[0]
    return 0

cdef inline double contact_value(const Engine* e, int32_t slot) noexcept nogil:
    cdef const Contact* contact = &e.contacts[slot]
    if e.order == ORDER_PRIORITY:
        return contact.priority
    if e.order == ORDER_SCORE:
        return seconds(e.now - contact.arrival) + contact.priority
    return <double>(e.now - contact.arrival) / <double>e.queues[contact.queue].within

cdef inline void explain_contacts(const Engine* e, int32_t chosen, int32_t a, Effect_C* row) noexcept nogil:
    # Among whom this contact (the first of class `chosen`) was taken for this agent.
    cdef int32_t g = e.agents[a].group
    cdef const uint64_t* may = e.may_serve + <size_t>g * e.class_words
    cdef const Class* cls
    cdef Out out
    cdef uint64_t bits
    cdef int32_t w, c
    cdef int32_t n = 0
    cdef int32_t runner = -1
    cdef const Place* second = line_second(&e.classes[chosen].line)
    for w in range(e.class_words):
        bits = may[w] & e.has_contacts[w]
        while bits:
            c = 64 * w + bit_lowest(bits)
            bits &= bits - 1
            cls = &e.classes[c]
            out_of(e, cls, -1, &out)
            if (not (e.agents[a].available >> cls.channel) & 1 or is_excluded(&out, a)
                    or (e.agents[a].idle and holds_idle(e, g, cls.queue))):
                continue
            n += cls.line.n
            if c != chosen and (runner < 0 or first_before(e, c, runner)):
                runner = c
    row.eligible_contacts = n
    # The chosen class's second contact against the first of the best other class.
    if second != NULL and (runner < 0 or node_before_first(e, chosen, second, runner)):
        row.runner_slot = second.subject
    elif runner >= 0:
        row.runner_slot = line_first(&e.classes[runner].line).subject
    if row.runner_slot >= 0:
        row.runner_contact = e.contacts[row.runner_slot].id
        row.runner_contact_value = contact_value(e, row.runner_slot)

cdef inline void explain(Engine* e, int32_t c, int32_t slot, int32_t a, int32_t tier, Effect_C* row) noexcept nogil:
    cdef const Class* cls = &e.classes[c]
    cdef const Contact* contact = &e.contacts[slot]
    cdef Out out
    cdef int32_t runner_tier = 0
    out_of(e, cls, -1, &out)
    row.eligible_agents = count_free(e, cls, &out, -1, 0x7FFFFFFF)
    row.value = agent_value(e, cls, contact, tier, a)
    if e.queues[cls.queue].strategy != RANDOM and e.queues[cls.queue].strategy != RING_ALL:
        row.runner_agent = pick_agent(e, cls, contact, a, &runner_tier)
        if row.runner_agent >= 0:
            row.runner_value = agent_value(e, cls, contact, runner_tier, row.runner_agent)
    row.contact_value = contact_value(e, slot)
    explain_contacts(e, c, a, row)

# ---- offers

cdef inline void offer_to(Engine* e, int32_t c, int32_t slot, int32_t a, int32_t tier) noexcept nogil:
    # One open offer more for a contact that still stands in its class (so that it can be explained).
    cdef Contact* contact = &e.contacts[slot]
    cdef Queue* queue = &e.queues[contact.queue]
    cdef Effect_C* row = effect_add(e, EFFECT_OFFER, slot, a)
    cdef int32_t l
    row.queue = contact.queue
    row.tier = e.classes[c].tiers[tier]
    if contact.preferred == a:
        row.preferred = 1
    elif sticky_agent(e, contact) == a:
        row.preferred = 2
    if e.explain:
        explain(e, c, slot, a, tier, row)
    l = link_add(e, slot, a)
    if l < 0:
        return
    queue.last_agent = a
    if queue.offer_timeout > 0 and timer_start(
        e, TIMER_OFFER, l, e.now + queue.offer_timeout, timer_order(TIMER_OFFER, contact.seq, a)
    ) < 0:
        e.out_of_memory = 1
    agent_refresh(e, a, False)

cdef inline void offer_first(Engine* e, int32_t c) noexcept nogil:
    # Offer the first contact of class c, which has an eligible agent.
    offer_contact(e, c, line_first(&e.classes[c].line).subject)

cdef inline void offer_contact(Engine* e, int32_t c, int32_t slot) noexcept nogil:
    # Offer this contact of class c, which has an eligible agent.
    cdef Contact* contact = &e.contacts[slot]
    cdef int32_t tier = 0
    cdef int32_t a, i, n
    cdef int32_t rows = e.n_effects
    cdef bint ring = e.queues[contact.queue].strategy == RING_ALL
    a = pick_agent(e, &e.classes[c], contact, -1, &tier)
    if ring and a != contact.preferred and a != sticky_agent(e, contact):
        n = ring_list(e, &e.classes[c], &tier)
        for i in range(n):
            a = e.scratch[i]
            # An offer before this one may have brought a reserve down to its threshold.
            if not (e.agents[a].idle and holds_idle(e, e.agents[a].group, contact.queue)):
                offer_to(e, c, slot, a, tier)
        for i in range(rows + 1, e.n_effects):  # one decision: those who ring already were eligible as well
            e.effects[i].eligible_agents = e.effects[rows].eligible_agents
    else:
        offer_to(e, c, slot, a, tier)
    contact_unwait(e, slot)
    contact.state = OFFERED
    e.counts.offered += 1
    e.queues[contact.queue].offered += 1

cdef inline void offer_withdraw(Engine* e, int32_t l, int32_t reason) noexcept nogil:
    # Its agent is as if it had never been offered; the contact is the caller's to care for.
    cdef int32_t a = e.links[l].agent
    effect_add(e, EFFECT_OFFER_WITHDRAWN, e.links[l].contact, a).reason = reason
    link_remove(e, l)
    agent_refresh(e, a, False)

cdef inline void offers_withdraw(Engine* e, int32_t slot, int32_t reason) noexcept nogil:
    while e.contacts[slot].links >= 0:
        offer_withdraw(e, link_first_agent(e, slot), reason)

cdef inline void contact_unheld(Engine* e, int32_t slot) noexcept nogil:
    # After one of its offers is gone: with the last one it waits again.
    if e.contacts[slot].links < 0:
        contact_unoffer(e, slot)
        contact_wait(e, slot)

# ---- matching

cdef inline int32_t first_class_of_group(const Engine* e, int32_t g, int32_t best) noexcept nogil:
    # The class with the first contact that group g can take, or `best` if that one is before it.
    cdef const uint64_t* may = e.may_serve + <size_t>g * e.class_words
    cdef uint64_t bits
    cdef int32_t w, c
    for w in range(e.class_words):
        bits = may[w] & e.has_contacts[w]
        while bits:
            c = 64 * w + bit_lowest(bits)
            bits &= bits - 1
            if e.pools[e.classes[c].channel * e.n_groups + g].n == 0:
                continue
            if (best < 0 or first_before(e, c, best)) and class_has_agent(e, c):
                best = c
    return best

cdef inline void nothing_dirty(Engine* e) noexcept nogil:
    # Between events nobody is eligible for anybody: no need to look.
    cdef int32_t i
    for i in range(e.n_dirty_classes):
        e.classes[e.dirty_classes[i]].dirty = 0
    for i in range(e.n_dirty_groups):
        e.groups[e.dirty_groups[i]].dirty = 0
    e.n_dirty_classes = 0
    e.n_dirty_groups = 0

cdef inline int match(Engine* e) noexcept nogil:
    cdef int32_t i, c, best
    while not e.out_of_memory:
        best = -1
        for i in range(e.n_dirty_classes):
            c = e.dirty_classes[i]
            if e.classes[c].line.n > 0 and (best < 0 or first_before(e, c, best)) and class_has_agent(e, c):
                best = c
        for i in range(e.n_dirty_groups):
            best = first_class_of_group(e, e.dirty_groups[i], best)
        if best < 0:
            break
        offer_first(e, best)
    nothing_dirty(e)
    return -1 if e.out_of_memory else 0
