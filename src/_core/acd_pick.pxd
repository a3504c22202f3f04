# Which agent a waiting contact gets: tier by tier, the best of the first agents of the groups that may serve its class.
# Within a group the pool's own order decides; excluded agents are passed over in that order.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport qsort

from cordboard._core.acd_bits cimport bit_count, bit_get, bit_lowest, bits_next
from cordboard._core.acd_classes cimport DoubleBits
from cordboard._core.acd_occupancy cimport busy_share, less_occupied, occupancy_settle
from cordboard._core.acd_line cimport place_before, run_at, run_next
from cordboard._core.acd_types cimport (
    Agent, Class, Contact, Engine, FEWEST_CONTACTS, Group, HEAP_HANDLED, HEAP_IDLE, HEAP_LATEST, Interned,
    LEAST_OCCUPIED, LEAST_SKILLED, LINEAR, Line, LONGEST_IDLE, MOST_SKILLED, Place, Pool, Queue, RANDOM, Reserve, RING_ALL, ROUND_ROBIN,
    WEIGHTED,
)
from cordboard._core.rng cimport rng_below

ctypedef struct Out:              # who is passed over
    const int64_t* excluded       # sorted agents
    int32_t n_excluded
    int32_t skip                  # one agent more; -1: none
    const int64_t* valued         # pairs (agent, bits of the value), sorted by agent: judged one by one
    int32_t n_valued
    const Agent* held             # where not NULL: the agents, the idle ones of whom are held back

ctypedef struct Candidate:        # smaller is better: by (score, key, agent)
    double score
    int64_t key
    int32_t agent

cdef inline bint is_excluded(const Out* out, int32_t agent) noexcept nogil:
    cdef int32_t low = 0
    cdef int32_t high = out.n_excluded
    cdef int32_t middle
    while low < high:
        middle = (low + high) >> 1
        if out.excluded[middle] < agent:
            low = middle + 1
        else:
            high = middle
    return low < out.n_excluded and out.excluded[low] == agent

cdef inline bint is_out(const Out* out, int32_t agent) noexcept nogil:
    cdef int32_t i
    if agent == out.skip or (out.n_excluded > 0 and is_excluded(out, agent)):
        return True
    if out.held != NULL and out.held[agent].idle:
        return True
    for i in range(out.n_valued):
        if out.valued[2 * i] == agent:
            return True
    return False

cdef inline bint nobody_out(const Out* out) noexcept nogil:
    return out.n_excluded == 0 and out.skip < 0 and out.n_valued == 0 and out.held == NULL

cdef inline bint holds_idle(const Engine* e, int32_t group, int32_t queue) noexcept nogil:
    # Whether a reserve rule keeps the idle agents of this group from this queue. Those who have something on are free.
    cdef const Group* g = &e.groups[group]
    cdef const Reserve* rule
    cdef int32_t i
    for i in range(g.n_reserves):
        rule = &e.reserves[g.reserves[i]]
        if rule.idle <= rule.agents and not bit_get(rule.queues, queue):
            return True
    return False

cdef inline bint in_class(const Engine* e, const Class* cls, int32_t group, int32_t* tier) noexcept nogil:
    cdef int32_t i
    for i in range(cls.n_tiers):
        if bit_get(cls.groups + i * e.group_words, group):
            tier[0] = i
            return True
    return False

cdef inline bint is_free_for(const Engine* e, const Class* cls, int32_t a, int32_t* tier) noexcept nogil:
    # Available, in the class's groups, not held back; exclusions are the caller's to check.
    return (((e.agents[a].available >> cls.channel) & 1) != 0 and in_class(e, cls, e.agents[a].group, tier)
            and not (e.agents[a].idle and holds_idle(e, e.agents[a].group, cls.queue)))

cdef inline int32_t free_in_pool(const Engine* e, int32_t group, int32_t channel, const Out* out) noexcept nogil:
    # How many agents of the pool are not out, without looking at the pool's members.
    cdef int32_t n = e.pools[channel * e.n_groups + group].n
    cdef const Agent* agent
    cdef int32_t i
    if out.held != NULL:
        n -= e.groups[group].n_idle
    for i in range(out.n_excluded):
        agent = &e.agents[out.excluded[i]]
        if agent.group == group and (agent.available >> channel) & 1 and not (out.held != NULL and agent.idle):
            n -= 1
    if out.skip >= 0 and not is_excluded(out, out.skip):
        agent = &e.agents[out.skip]
        if agent.group == group and (agent.available >> channel) & 1 and not (out.held != NULL and agent.idle):
            n -= 1
    return n

cdef inline int32_t count_free(const Engine* e, const Class* cls, Out* out, int32_t tier, int32_t enough) noexcept nogil:
    # How many agents may take a contact of this class now, in one tier (-1: all); stops when it has enough.
    cdef const uint64_t* has = e.has_agents + cls.channel * e.group_words
    cdef uint64_t bits
    cdef int32_t i, w, g
    cdef int32_t n = 0
    for i in range(cls.n_tiers):
        if tier >= 0 and i != tier:
            continue
        for w in range(e.group_words):
            bits = cls.groups[i * e.group_words + w] & has[w]
            while bits:
                g = 64 * w + bit_lowest(bits)
                bits &= bits - 1
                out.held = e.agents if holds_idle(e, g, cls.queue) else NULL
                n += free_in_pool(e, g, cls.channel, out)
                if n >= enough:
                    return n
    return n

cdef inline void out_of(const Engine* e, const Class* cls, int32_t skip, Out* out) noexcept nogil:
    out.excluded = e.exclusions.items[cls.excluded].data
    out.n_excluded = e.exclusions.items[cls.excluded].n
    out.skip = skip
    out.valued = NULL
    out.n_valued = 0
    out.held = NULL

cdef inline bint class_has_agent(const Engine* e, int32_t c) noexcept nogil:
    cdef Out out
    out_of(e, &e.classes[c], -1, &out)
    return count_free(e, &e.classes[c], &out, -1, 1) > 0

# ---- the best of one group

cdef inline const Place* run_best(const Line* line, const Out* out) noexcept nogil:
    cdef uint32_t number = line.head
    while number != line.tail and is_out(out, run_at(line, number).subject):
        number = run_next(line, number)
    return run_at(line, number) if number != line.tail else NULL

cdef inline const Place* heap_best(const Line* line, int32_t i, const Out* out, const Place* best) noexcept nogil:
    # The first of `best` and of those under node i who are not out. Below a node nothing is before it: only nodes that
    # are out are looked under.
    cdef int32_t child
    if i >= line.n_heap or (best != NULL and not place_before(&line.heap[i], best)):
        return best
    if not is_out(out, line.heap[i].subject):
        return &line.heap[i]
    for child in range(4 * i + 1, 4 * i + 5):
        best = heap_best(line, child, out, best)
    return best

cdef inline bint first_of_line(const Engine* e, int32_t at, int32_t kind, const Out* out, Candidate* found) noexcept nogil:
    cdef const Line* line = &e.pools[at].lines[kind]
    cdef const Place* best
    if nobody_out(out):
        found.key = e.head_key[kind][at]
        found.agent = e.head_agent[kind][at]
        return True
    best = heap_best(line, 0, out, run_best(line, out))
    if best == NULL:
        return False
    found.key = best.key
    found.agent = best.subject
    return True

cdef inline int32_t next_in_file(const Engine* e, const Pool* pool, const Group* g, int32_t rank, const Out* out) noexcept nogil:
    cdef int32_t i = bits_next(pool.bits, pool.summary, pool.n_words, rank)
    while i >= 0 and is_out(out, g.members[i]):
        i = bits_next(pool.bits, pool.summary, pool.n_words, i + 1)
    return g.members[i] if i >= 0 else -1

cdef inline int32_t rank_after(const Group* g, int32_t agent) noexcept nogil:
    # The rank of the first member that stands after this agent in the file.
    cdef int32_t low = 0
    cdef int32_t high = g.n
    cdef int32_t middle
    while low < high:
        middle = (low + high) >> 1
        if g.members[middle] <= agent:
            low = middle + 1
        else:
            high = middle
    return low

cdef inline void least_occupied_below(const Engine* e, const Pool* pool, int32_t i, const Out* out, int32_t* best) noexcept nogil:
    cdef int32_t winner = pool.matches[i].winner
    if winner < 0 or (best[0] >= 0 and not less_occupied(e, winner, best[0], e.now)):
        return
    if not is_out(out, winner):
        best[0] = winner
    elif i < pool.leaves:
        least_occupied_below(e, pool, 2 * i, out, best)
        least_occupied_below(e, pool, 2 * i + 1, out, best)

cdef inline int32_t proficiency(const Engine* e, const Class* cls, int32_t group) noexcept nogil:
    # The sum of the levels of the required skills.
    cdef const Interned* r = &e.requirements.items[cls.requirement]
    cdef int32_t i
    cdef int32_t total = 0
    for i in range(r.n):
        total += e.levels[<size_t>group * e.n_skills + (r.data[i] >> 8)]
    return total

cdef inline double pair_score(const Engine* e, const Class* cls, const Contact* contact, int32_t tier, int32_t a,
                              double value) noexcept nogil:
    # The affine score of a pair (Chan, Koole & L'Ecuyer, M&SOM 16:544, 2014), summed from left to right.
    cdef const Queue* q = &e.queues[cls.queue]
    cdef double waited = <double>(e.now - contact.arrival) / 1e6
    cdef double idle = <double>(e.now - e.agents[a].idle_since) / 1e6
    return (q.w_wait * waited + q.w_idle * idle + q.w_priority * contact.priority
            + q.w_proficiency * proficiency(e, cls, e.agents[a].group) + q.w_value * value + q.w_tier * cls.tiers[tier])

cdef inline bint group_candidate(Engine* e, const Class* cls, const Contact* contact, int32_t tier, int32_t g,
                                 const Out* out, Candidate* found) noexcept nogil:
    # The group's best agent in the strategy of the class's queue. False: all of its agents are out.
    cdef const Queue* q = &e.queues[cls.queue]
    cdef int32_t at = cls.channel * e.n_groups + g
    cdef Pool* pool = &e.pools[at]
    cdef int32_t rank
    found.score = 0
    found.key = 0
    found.agent = -1
    if q.strategy == LONGEST_IDLE:
        return first_of_line(e, at, HEAP_IDLE, out, found)
    if q.strategy == FEWEST_CONTACTS:
        return first_of_line(e, at, HEAP_HANDLED, out, found)
    if q.strategy == MOST_SKILLED or q.strategy == LEAST_SKILLED:
        found.score = proficiency(e, cls, g)
        if q.strategy == MOST_SKILLED:
            found.score = -found.score
        return first_of_line(e, at, HEAP_IDLE, out, found)
    if q.strategy == WEIGHTED:
        if q.w_idle == 0:
            found.agent = next_in_file(e, pool, &e.groups[g], 0, out)
        elif first_of_line(e, at, HEAP_IDLE if q.w_idle > 0 else HEAP_LATEST, out, found):
            found.key = 0  # between groups the score alone decides, and then the file
        if found.agent >= 0:
            found.score = -pair_score(e, cls, contact, tier, found.agent, 0)
        return found.agent >= 0
    if q.strategy == LEAST_OCCUPIED:
        occupancy_settle(e, pool, 1)
        least_occupied_below(e, pool, 1, out, &found.agent)
    elif q.strategy == ROUND_ROBIN:
        rank = rank_after(&e.groups[g], q.last_agent)
        found.agent = next_in_file(e, pool, &e.groups[g], rank, out)
        if found.agent < 0:
            found.score = 1  # past the end: they come after those who follow the last agent
            found.agent = next_in_file(e, pool, &e.groups[g], 0, out)
    else:
        found.agent = next_in_file(e, pool, &e.groups[g], 0, out)
    return found.agent >= 0

cdef inline bint better(const Engine* e, int32_t strategy, const Candidate* a, const Candidate* b) noexcept nogil:
    if b.agent < 0:
        return True
    if strategy == LEAST_OCCUPIED:
        return less_occupied(e, a.agent, b.agent, e.now)
    if a.score != b.score:
        return a.score < b.score
    if a.key != b.key:
        return a.key < b.key
    return a.agent < b.agent

# ---- the best of a tier

cdef inline void weigh_valued(Engine* e, const Class* cls, const Contact* contact, int32_t tier, const Out* out,
                              Candidate* best) noexcept nogil:
    # Agents for whom the contact brought a value, one by one.
    cdef Candidate found
    cdef DoubleBits value
    cdef int32_t i, at_tier
    for i in range(out.n_valued):
        found.agent = <int32_t>out.valued[2 * i]
        if found.agent == out.skip or is_excluded(out, found.agent):
            continue
        if not is_free_for(e, cls, found.agent, &at_tier) or at_tier != tier:
            continue
        value.bits = out.valued[2 * i + 1]
        found.score = -pair_score(e, cls, contact, tier, found.agent, value.number)
        found.key = 0
        if better(e, WEIGHTED, &found, best):
            best[0] = found

cdef inline int32_t nth_of_pool(const Pool* pool, const Group* g, const Out* out, int32_t k) noexcept nogil:
    cdef int32_t w, i
    cdef uint64_t bits
    for w in range(pool.n_words):
        bits = pool.bits[w]
        if nobody_out(out) and bit_count(bits) <= k:
            k -= bit_count(bits)
            continue
        while bits:
            i = 64 * w + bit_lowest(bits)
            bits &= bits - 1
            if is_out(out, g.members[i]):
                continue
            if k == 0:
                return g.members[i]
            k -= 1
    return -1

cdef inline int32_t draw(Engine* e, const Class* cls, int32_t tier, Out* out) noexcept nogil:
    # One draw, uniform over the eligible agents of the tier, who are counted group by group (groups in the order of
    # their first agent in the file), within a group in file order.
    cdef int32_t n = count_free(e, cls, out, tier, 0x7FFFFFFF)
    cdef const uint64_t* has = e.has_agents + cls.channel * e.group_words
    cdef uint64_t bits
    cdef int32_t w, g, k, here
    if n == 0:
        return -1
    k = <int32_t>rng_below(&e.rng, <uint64_t>n)
    for w in range(e.group_words):
        bits = cls.groups[tier * e.group_words + w] & has[w]
        while bits:
            g = 64 * w + bit_lowest(bits)
            bits &= bits - 1
            out.held = e.agents if holds_idle(e, g, cls.queue) else NULL
            here = free_in_pool(e, g, cls.channel, out)
            if k < here:
                return nth_of_pool(&e.pools[cls.channel * e.n_groups + g], &e.groups[g], out, k)
            k -= here
    return -1

cdef inline int32_t best_of_tier(Engine* e, const Class* cls, const Contact* contact, int32_t tier, Out* out) noexcept nogil:
    cdef int32_t strategy = e.queues[cls.queue].strategy
    cdef const uint64_t* has = e.has_agents + cls.channel * e.group_words
    cdef Candidate best, found
    cdef uint64_t bits
    cdef int32_t w, g
    best.score = 0
    best.key = 0
    best.agent = -1
    if strategy == RANDOM:
        return draw(e, cls, tier, out)
    for w in range(e.group_words):
        bits = cls.groups[tier * e.group_words + w] & has[w]
        while bits:
            g = 64 * w + bit_lowest(bits)
            bits &= bits - 1
            out.held = e.agents if holds_idle(e, g, cls.queue) else NULL
            if group_candidate(e, cls, contact, tier, g, out, &found) and better(e, strategy, &found, &best):
                best = found
    if out.n_valued > 0:
        weigh_valued(e, cls, contact, tier, out, &best)
    return best.agent

cdef inline int32_t sticky_agent(const Engine* e, const Contact* contact) noexcept nogil:
    # Of a contact in a sticky queue: the agent who had the customer's last conversation, or -1.
    if contact.customer < 0 or not e.queues[contact.queue].sticky:
        return -1
    return e.last_served[contact.customer]

cdef inline int32_t pick_agent(Engine* e, const Class* cls, const Contact* contact, int32_t skip, int32_t* tier) noexcept nogil:
    # The first eligible agent for this contact of the class (without the one to skip), or -1.
    cdef Out out
    cdef int32_t i
    cdef int32_t a = contact.preferred
    out_of(e, cls, skip, &out)
    if a >= 0 and not is_out(&out, a) and is_free_for(e, cls, a, tier):
        return a
    a = sticky_agent(e, contact)
    if a >= 0 and not is_out(&out, a) and is_free_for(e, cls, a, tier):
        return a
    if contact.values >= 0 and e.queues[cls.queue].strategy == WEIGHTED:
        out.valued = e.pair_values.items[contact.values].data
        out.n_valued = e.pair_values.items[contact.values].n >> 1
    for i in range(cls.n_tiers):
        a = best_of_tier(e, cls, contact, i, &out)
        if a >= 0:
            tier[0] = i
            return a
    return -1

cdef inline int32_t ring_list(Engine* e, const Class* cls, int32_t* tier) noexcept nogil:
    # Fill e.scratch with the eligible agents of the first tier that has any, in file order.
    cdef const uint64_t* has = e.has_agents + cls.channel * e.group_words
    cdef const Pool* pool
    cdef Out out
    cdef uint64_t bits, members
    cdef int32_t i, w, g, v, a
    cdef int32_t n = 0
    out_of(e, cls, -1, &out)
    for i in range(cls.n_tiers):
        for w in range(e.group_words):
            bits = cls.groups[i * e.group_words + w] & has[w]
            while bits:
                g = 64 * w + bit_lowest(bits)
                bits &= bits - 1
                out.held = e.agents if holds_idle(e, g, cls.queue) else NULL
                pool = &e.pools[cls.channel * e.n_groups + g]
                for v in range(pool.n_words):
                    members = pool.bits[v]
                    while members:
                        a = e.groups[g].members[64 * v + bit_lowest(members)]
                        members &= members - 1
                        if not is_out(&out, a):
                            e.scratch[n] = a
                            n += 1
        if n > 0:
            tier[0] = i
            qsort(e.scratch, n, sizeof(int32_t), &by_number)
            return n
    return 0

cdef inline int by_number(const void* a, const void* b) noexcept nogil:
    return (<const int32_t*>a)[0] - (<const int32_t*>b)[0]
