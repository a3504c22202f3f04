# Pools: for a group and a channel, the agents who can take one more contact of it, kept in every order that a strategy
# of the group's queues asks for. The first of each line is copied to e.head_key / e.head_agent, side by side for all
# groups, because a decision reads nothing else of most groups.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from cordboard._core.acd_bits cimport bit_clear, bit_lowest, bit_set, bits_add, bits_remove
from cordboard._core.acd_line cimport line_add, line_first, line_remove
from cordboard._core.acd_memory cimport prefetch
from cordboard._core.acd_occupancy cimport occupancy_set
from cordboard._core.acd_types cimport (
    Agent, CHANNELS, Engine, Group, HEAP_HANDLED, HEAP_IDLE, HEAP_KINDS, HEAP_LATEST, KEEP_BITS, KEEP_OCCUPANCY, Line, Place, Pool,
    READY, Reserve, SHOWN_CONNECTED, SHOWN_OFFERED, SHOWN_WRAP_UP, VOICE,
)

cdef inline int64_t line_key(const Agent* agent, int32_t kind) noexcept nogil:
    if kind == HEAP_HANDLED:
        return agent.handled
    return agent.idle_since if kind == HEAP_IDLE else -agent.idle_since

cdef inline void head_store(Engine* e, int32_t kind, int32_t index) noexcept nogil:
    cdef const Place* first = line_first(&e.pools[index].lines[kind])
    e.head_key[kind][index] = first.key
    e.head_agent[kind][index] = first.subject
    prefetch(&e.agents[first.subject])  # whoever comes next gets this one
    prefetch(<const char*>&e.agents[first.subject] + 64)

cdef inline void lines_add(Engine* e, Pool* pool, int32_t a, int32_t channel, int32_t index) noexcept nogil:
    cdef Line* line
    cdef Place place
    cdef int32_t kind
    place.arrival = 0
    place.seq = place.subject = a
    for kind in range(HEAP_KINDS):
        if pool.keep & (1 << kind):
            place.key = line_key(&e.agents[a], kind)
            line = &pool.lines[kind]
            if line_add(line, &place, e.agent_at[kind] + channel * e.n_agents, 1) < 0:
                e.out_of_memory = 1
                return
            if line.n == 1 or place.key < e.head_key[kind][index] or (
                place.key == e.head_key[kind][index] and a < e.head_agent[kind][index]
            ):
                head_store(e, kind, index)

cdef inline void lines_remove(Engine* e, Pool* pool, int32_t a, int32_t channel, int32_t index) noexcept nogil:
    cdef int32_t kind
    for kind in range(HEAP_KINDS):
        if pool.keep & (1 << kind):
            line_remove(&pool.lines[kind], a, e.agent_at[kind] + channel * e.n_agents, 1)
            if pool.lines[kind].n > 0:
                head_store(e, kind, index)

cdef inline void group_touch(Engine* e, int32_t group) noexcept nogil:
    if not e.groups[group].dirty:
        e.groups[group].dirty = 1
        e.dirty_groups[e.n_dirty_groups] = group
        e.n_dirty_groups += 1

cdef inline void agent_idle(Engine* e, Agent* agent, bint idle) noexcept nogil:
    # Count the idle agents of the group and of its reserve rules.
    cdef Group* group = &e.groups[agent.group]
    cdef Reserve* rule
    cdef int32_t i, j
    cdef int32_t change = 1 if idle else -1
    agent.idle = idle
    group.n_idle += change
    if group.n_reserves > 0:
        group_touch(e, agent.group)  # one who has got something to do is held back no longer
    for i in range(group.n_reserves):
        rule = &e.reserves[group.reserves[i]]
        rule.idle += change
        if idle and rule.idle == rule.agents + 1:  # more are idle than are held back: the rule opens
            for j in range(rule.n_groups):
                group_touch(e, rule.groups[j])

cdef inline void pool_add(Engine* e, int32_t a, int32_t channel) noexcept nogil:
    cdef Agent* agent = &e.agents[a]
    cdef int32_t index = channel * e.n_groups + agent.group
    cdef Pool* pool = &e.pools[index]
    lines_add(e, pool, a, channel, index)
    if pool.keep & KEEP_BITS:
        bits_add(pool.bits, pool.summary, agent.rank)
    if pool.keep & KEEP_OCCUPANCY:
        occupancy_set(e, pool, agent.rank, a)
    pool.n += 1
    if pool.n == 1:
        bit_set(e.has_agents + channel * e.group_words, agent.group)
    group_touch(e, agent.group)

cdef inline void pool_remove(Engine* e, int32_t a, int32_t channel) noexcept nogil:
    cdef Agent* agent = &e.agents[a]
    cdef int32_t index = channel * e.n_groups + agent.group
    cdef Pool* pool = &e.pools[index]
    pool.n -= 1
    lines_remove(e, pool, a, channel, index)
    if pool.keep & KEEP_BITS:
        bits_remove(pool.bits, pool.summary, agent.rank)
    if pool.keep & KEEP_OCCUPANCY:
        occupancy_set(e, pool, agent.rank, -1)
    if pool.n == 0:
        bit_clear(e.has_agents + channel * e.group_words, agent.group)

cdef inline void pool_update(Engine* e, int32_t a, int32_t channel) noexcept nogil:
    # The agent stays, its keys have changed.
    cdef Agent* agent = &e.agents[a]
    cdef int32_t index = channel * e.n_groups + agent.group
    cdef Pool* pool = &e.pools[index]
    lines_remove(e, pool, a, channel, index)
    lines_add(e, pool, a, channel, index)
    if pool.keep & KEEP_OCCUPANCY:
        occupancy_set(e, pool, agent.rank, a)

cdef inline void agent_show(Engine* e, Agent* agent) noexcept nogil:
    cdef int32_t shown = agent.presence
    if agent.n_connected > 0 or agent.engaged:
        shown = SHOWN_CONNECTED
    elif agent.wrapping:
        shown = SHOWN_WRAP_UP
    elif agent.n_links > 0:
        shown = SHOWN_OFFERED
    if shown != agent.shown:
        agent.shown = shown
        agent.since = e.now

cdef inline void agent_refresh(Engine* e, int32_t a, bint keys_changed) noexcept nogil:
    # After anything that happens to an agent: into the pools of the channels that it can take now, out of the others.
    cdef Agent* agent = &e.agents[a]
    cdef uint8_t want = 0
    cdef uint8_t alone = 0        # channels besides which it has nothing on
    cdef uint8_t have = agent.available
    cdef uint8_t changed
    cdef int32_t c
    cdef int32_t engaged
    cdef bint idle = False
    if agent.presence == READY and not agent.wrapping and agent.tm_retry < 0:
        idle = agent.n_links == 0 and not agent.engaged
        for c in range(CHANNELS):
            engaged = agent.engaged and c == VOICE
            want |= <uint8_t>(agent.held[c] + engaged < agent.capacity[c]) << c
            alone |= <uint8_t>(agent.n_links + agent.engaged == agent.held[c] + engaged) << c
        if not agent.blend:
            want &= alone
    agent_show(e, agent)
    if agent.idle != idle:
        agent_idle(e, agent, idle)
    agent.available = want
    changed = want | have if keys_changed else want ^ have
    while changed:
        c = bit_lowest(changed)
        changed &= changed - 1
        if not have & (1 << c):
            pool_add(e, a, c)
        elif not want & (1 << c):
            pool_remove(e, a, c)
        else:
            pool_update(e, a, c)
