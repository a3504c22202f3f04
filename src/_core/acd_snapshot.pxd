# The state of an engine as plain rows, and back. Rows hold what can't be worked out: no heap, class, pool or timer, no
# interned id, and no slot. What a row says in ticks means the same in every build.
#
# Restoring relies on what is true between events: every timer that was due has fired, so a contact's phase is its waiting
# time, and the class and the phase timer that follow from it are those that it had. All orders (of a heap, of timers,
# of withdrawals) are by keys that name the subject, never by where something lies, so places need not be the same.
from libc.stdint cimport int32_t, int64_t

from cordboard._core.acd_events cimport agent_leave, contact_expire, contact_new, wrap_up_end
from cordboard._core.acd_ids cimport id_add
from cordboard._core.acd_intern cimport intern_keep
from cordboard._core.acd_match cimport contact_wait, link_add, nothing_dirty
from cordboard._core.acd_pools cimport agent_refresh
from cordboard._core.acd_timers cimport timer_order, timer_start
from cordboard._core.acd_types cimport *

cdef enum:
    ENGAGED = 4                   # in a row: the agent is engaged

cdef packed struct AgentRow_C:    # NumPy dtype: AGENT_ROW
    int64_t idle_since
    int64_t handled
    int64_t login
    int64_t logged_in
    int64_t busy_before
    int64_t busy_from             # -1: not handling
    int64_t wrap_until            # -1: not in wrap-up
    int64_t retry_until           # -1: not resting
    int64_t since
    int32_t presence              # + ENGAGED
    int32_t misses

cdef packed struct ContactRow_C:  # NumPy dtype: CONTACT_ROW
    int64_t id                    # -1: it has a name
    int64_t arrival
    int64_t entered
    int64_t seq
    double priority
    int32_t state
    int32_t queue
    int32_t excluded              # which of the sets of agents; 0: the empty one
    int32_t wish                  # what it brought: which of the wishes; -1: nothing
    int32_t preferred
    int32_t customer

cdef packed struct LinkRow_C:     # NumPy dtype: LINK_ROW
    int64_t due                   # when the offer expires; -1: never, or it is a conversation
    int32_t contact               # which of the contacts
    int32_t agent
    int32_t connected
    int32_t rest

cdef packed struct Wish_C:        # NumPy dtype: WISH_ROW; interned ids, -1: none
    int32_t steps
    int32_t tiers
    int32_t values

cdef inline void agent_row(const Engine* e, int32_t a, AgentRow_C* row) noexcept nogil:
    cdef const Agent* agent = &e.agents[a]
    row.idle_since = agent.idle_since
    row.handled = agent.handled
    row.login = agent.login
    row.logged_in = agent.logged_in
    row.busy_before = agent.busy_before
    row.busy_from = agent.busy_from
    row.wrap_until = e.timers[agent.tm_wrap_up].due if agent.wrapping else -1
    row.retry_until = e.timers[agent.tm_retry].due if agent.tm_retry >= 0 else -1
    row.since = agent.since
    row.presence = agent.presence + (ENGAGED if agent.engaged else 0)
    row.misses = agent.misses

cdef inline void contact_row(const Engine* e, int32_t slot, ContactRow_C* row) noexcept nogil:
    cdef const Contact* contact = &e.contacts[slot]
    row.id = contact.id if contact.id >= 0 else -1
    row.arrival = contact.arrival
    row.entered = contact.entered
    row.seq = contact.seq
    row.priority = contact.priority
    row.state = contact.state
    row.queue = contact.queue
    row.excluded = contact.excluded
    row.wish = -1
    row.preferred = contact.preferred
    row.customer = contact.customer

cdef inline int32_t contact_links(const Engine* e, int32_t slot, LinkRow_C* rows) noexcept nogil:
    # Its links as rows; returns how many. rows NULL: only count them.
    cdef int32_t l = e.contacts[slot].links
    cdef int32_t n = 0
    while l >= 0:
        if rows != NULL:
            rows[n].contact = slot
            rows[n].agent = e.links[l].agent
            rows[n].connected = e.links[l].connected
            rows[n].due = e.timers[e.links[l].timer].due if e.links[l].timer >= 0 else -1
            rows[n].rest = 0
        n += 1
        l = e.links[l].next_of_contact
    return n

# ---- back, into an engine in which nothing has happened yet

cdef inline void agent_restore(Engine* e, int32_t a, const AgentRow_C* row) noexcept nogil:
    # What it has on comes with its links; then agent_settle.
    cdef Agent* agent = &e.agents[a]
    agent.idle_since = row.idle_since
    agent.handled = row.handled
    agent.login = row.login
    agent.logged_in = row.logged_in
    agent.busy_before = row.busy_before
    agent.busy_from = row.busy_from
    agent.since = row.since
    agent.presence = row.presence & (ENGAGED - 1)
    agent.engaged = row.presence >= ENGAGED
    agent.misses = row.misses
    if row.wrap_until >= 0:
        agent.wrapping = 1
        if timer_start(e, TIMER_WRAP_UP, a, row.wrap_until, timer_order(TIMER_WRAP_UP, 0, a)) < 0:
            e.out_of_memory = 1
    if row.retry_until >= 0:
        if timer_start(e, TIMER_RETRY, a, row.retry_until, timer_order(TIMER_RETRY, 0, a)) < 0:
            e.out_of_memory = 1

cdef inline int32_t contact_restore(Engine* e, const ContactRow_C* row, int32_t excluded, const Wish_C* wish) noexcept nogil:
    # excluded: an interned set; wish: NULL if it brought none. Returns its slot, or a negative code.
    cdef int32_t slot = contact_new(e)
    cdef Contact* contact
    cdef Queue* queue = &e.queues[row.queue]
    if slot < 0:
        return slot
    contact = &e.contacts[slot]
    contact.id = row.id
    contact.arrival = row.arrival
    contact.entered = row.entered
    contact.seq = row.seq
    contact.phase = e.now - row.arrival
    contact.priority = row.priority
    contact.state = row.state
    contact.queue = row.queue
    contact.cls = contact.links = contact.tm_max_wait = contact.tm_phase = -1
    contact.preferred = row.preferred
    contact.customer = row.customer
    contact.excluded = excluded
    if excluded > 0:
        intern_keep(&e.exclusions, excluded)
    contact.steps = contact.tiers = contact.values = -1
    if wish != NULL:
        contact.steps = wish.steps
        contact.tiers = wish.tiers
        contact.values = wish.values
        if wish.steps >= 0:
            intern_keep(&e.plans, wish.steps)
        if wish.tiers >= 0:
            intern_keep(&e.windows, wish.tiers)
        if wish.values >= 0:
            intern_keep(&e.pair_values, wish.values)
    if e.index_ids and row.id >= 0 and id_add(e, row.id, slot) < 0:
        e.out_of_memory = 1
    # A shorter max_wait of another center may be over already: then it ends with the next event, not in the past.
    if row.state != CONNECTED and queue.max_wait > 0 and timer_start(
        e, TIMER_MAX_WAIT, slot, max(row.entered + queue.max_wait, e.now), timer_order(TIMER_MAX_WAIT, row.seq, 0)
    ) < 0:
        e.out_of_memory = 1
    if row.state == WAITING:
        contact_wait(e, slot)
    elif row.state == OFFERED:
        e.counts.offered += 1
        queue.offered += 1
    else:
        e.counts.connected += 1
        queue.connected += 1
    return slot

cdef inline void link_restore(Engine* e, int32_t slot, const LinkRow_C* row) noexcept nogil:
    cdef int32_t l = link_add(e, slot, row.agent)
    if l < 0:
        return
    if row.connected:
        e.links[l].connected = 1
        e.agents[row.agent].n_connected += 1
    elif row.due >= 0 and timer_start(
        e, TIMER_OFFER, l, row.due, timer_order(TIMER_OFFER, e.contacts[slot].seq, row.agent)
    ) < 0:
        e.out_of_memory = 1

cdef inline void agent_settle(Engine* e, int32_t a) noexcept nogil:
    # All that it has on is there: into its pools. What it shows it has shown since agent.since.
    cdef Agent* agent = &e.agents[a]
    cdef int64_t since = agent.since
    agent_refresh(e, a, False)
    agent.since = since

# ---- what the center no longer has

cdef inline void agent_retire(Engine* e, int32_t a) noexcept nogil:
    # Gone from the center: nothing is offered to it any more, its conversations go on until they end.
    agent_leave(e, a, OFFLINE, REASON_AGENT_OFFLINE)
    if e.agents[a].wrapping:
        wrap_up_end(e, a)

cdef inline void contact_evict(Engine* e, int32_t slot) noexcept nogil:
    # Its queue is gone from the center: on to where that one overflowed.
    if e.contacts[slot].state != CONNECTED:
        contact_expire(e, slot)
