# Pools: for a group and a channel, the agents who can take one more contact of it, kept in every order that a strategy
# of the group's queues asks for. The first of each heap is copied to e.head_key / e.head_agent, side by side for all
# groups, because a decision reads nothing else of most groups.
#
# Heap invariant: for 0 < i < n, (key, agent) of node (i - 1) / 4 is before that of node i; agent_at[agent, channel] = i.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from cordboard._core.acd_bits cimport bit_clear, bit_set, bits_add, bits_remove
from cordboard._core.acd_occupancy cimport occupancy_set
from cordboard._core.acd_types cimport (
    Agent, CHANNELS, Engine, Group, HEAP_HANDLED, HEAP_IDLE, HEAP_KINDS, HEAP_LATEST, HeapNode, KEEP_BITS, KEEP_OCCUPANCY, Pool,
    READY, Reserve, SHOWN_CONNECTED, SHOWN_OFFERED, SHOWN_WRAP_UP,
)

cdef inline bint node_before(const HeapNode* a, const HeapNode* b) noexcept nogil:
    return a.key < b.key or (a.key == b.key and a.agent < b.agent)

cdef inline void heap_up(HeapNode* heap, int32_t* at, int32_t i, HeapNode node) noexcept nogil:
    cdef int32_t parent
    while i > 0:
        parent = (i - 1) >> 2
        if not node_before(&node, &heap[parent]):
            break
        heap[i] = heap[parent]
        at[heap[i].agent * CHANNELS] = i
        i = parent
    heap[i] = node
    at[node.agent * CHANNELS] = i

cdef inline void heap_down(HeapNode* heap, int32_t* at, int32_t n, int32_t i, HeapNode node) noexcept nogil:
    cdef int32_t child, last, best
    while True:
        child = 4 * i + 1
        if child >= n:
            break
        last = min(child + 4, n)
        best = child
        child += 1
        while child < last:
            if node_before(&heap[child], &heap[best]):
                best = child
            child += 1
        if not node_before(&heap[best], &node):
            break
        heap[i] = heap[best]
        at[heap[i].agent * CHANNELS] = i
        i = best
    heap[i] = node
    at[node.agent * CHANNELS] = i

cdef inline int64_t heap_key(const Agent* agent, int32_t kind) noexcept nogil:
    if kind == HEAP_HANDLED:
        return agent.handled
    return agent.idle_since if kind == HEAP_IDLE else -agent.idle_since

cdef inline void head_store(Engine* e, int32_t kind, int32_t at, const Pool* pool) noexcept nogil:
    e.head_key[kind][at] = pool.heap[kind][0].key
    e.head_agent[kind][at] = pool.heap[kind][0].agent

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
    cdef HeapNode node
    cdef int32_t kind
    node.agent = a
    node.rest = 0
    for kind in range(HEAP_KINDS):
        if pool.keep & (1 << kind):
            node.key = heap_key(agent, kind)
            heap_up(pool.heap[kind], e.agent_at[kind] + channel, pool.n, node)
            head_store(e, kind, index, pool)
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
    cdef HeapNode last
    cdef int32_t kind, i
    pool.n -= 1
    for kind in range(HEAP_KINDS):
        if pool.keep & (1 << kind):
            i = e.agent_at[kind][a * CHANNELS + channel]
            last = pool.heap[kind][pool.n]
            if i < pool.n:
                if node_before(&last, &pool.heap[kind][i]):
                    heap_up(pool.heap[kind], e.agent_at[kind] + channel, i, last)
                else:
                    heap_down(pool.heap[kind], e.agent_at[kind] + channel, pool.n, i, last)
            if pool.n > 0:
                head_store(e, kind, index, pool)
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
    cdef HeapNode node, old
    cdef int32_t kind, i
    node.agent = a
    node.rest = 0
    for kind in range(HEAP_KINDS):
        if pool.keep & (1 << kind):
            i = e.agent_at[kind][a * CHANNELS + channel]
            old = pool.heap[kind][i]
            node.key = heap_key(agent, kind)
            if node_before(&node, &old):
                heap_up(pool.heap[kind], e.agent_at[kind] + channel, i, node)
            else:
                heap_down(pool.heap[kind], e.agent_at[kind] + channel, pool.n, i, node)
            head_store(e, kind, index, pool)
    if pool.keep & KEEP_OCCUPANCY:
        occupancy_set(e, pool, agent.rank, a)

cdef inline void agent_show(Engine* e, Agent* agent) noexcept nogil:
    cdef int32_t shown = agent.presence
    if agent.n_connected > 0:
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
    cdef uint8_t have = agent.available
    cdef int32_t c
    cdef bint idle = False
    if agent.presence == READY and not agent.wrapping and agent.tm_retry < 0:
        idle = agent.n_links == 0
        for c in range(CHANNELS):
            if agent.held[c] < agent.capacity[c] and (agent.blend or agent.n_links == agent.held[c]):
                want |= 1 << c
    agent_show(e, agent)
    if agent.idle != idle:
        agent_idle(e, agent, idle)
    agent.available = want
    if want == have and not keys_changed:
        return
    for c in range(CHANNELS):
        if (want ^ have) & (1 << c):
            if want & (1 << c):
                pool_add(e, a, c)
            else:
                pool_remove(e, a, c)
        elif keys_changed and want & (1 << c):
            pool_update(e, a, c)
