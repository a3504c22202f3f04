# Making and unmaking an Engine's arrays, once the numbers of agents, queues, groups and skills are known.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from cordboard._core.acd_bits cimport bit_words
from cordboard._core.acd_intern cimport intern_close, intern_init
from cordboard._core.acd_ids cimport id_table
from cordboard._core.acd_line cimport line_free
from cordboard._core.acd_memory cimport array_new, array_zeros
from cordboard._core.acd_types cimport (
    ACD_NO_MEMORY, ACD_OK, Agent, CHANNELS, Class, Contact, Effect_C, Engine, Group, HEAP_KINDS, KEEP_BITS,
    KEEP_OCCUPANCY, Link, Match, Membership, NEVER, Pool, Queue, Reserve, Timer,
)

cdef enum:
    ROOM = 64                     # first size of what grows; class ids come in whole words

cdef inline int engine_tables(Engine* e) noexcept nogil:
    # What grows with use.
    cdef int32_t i
    e.effects_room = e.freed_room = e.contacts_room = e.links_room = e.timers_room = ROOM
    e.classes_room = e.n_class_buckets = ROOM
    e.class_words = bit_words(ROOM)
    e.free_contact = e.free_link = e.free_class = -1
    e.effects = <Effect_C*>malloc(ROOM * sizeof(Effect_C))
    e.freed = <int32_t*>malloc(ROOM * sizeof(int32_t))
    e.contacts = <Contact*>array_new(ROOM * sizeof(Contact))
    e.links = <Link*>array_new(ROOM * sizeof(Link))
    e.timers = <Timer*>malloc(ROOM * sizeof(Timer))
    e.classes = <Class*>array_zeros(ROOM * sizeof(Class))
    e.class_buckets = <int32_t*>malloc(ROOM * sizeof(int32_t))
    e.has_contacts = <uint64_t*>calloc(e.class_words, sizeof(uint64_t))
    e.first_weight = <int64_t*>malloc(ROOM * sizeof(int64_t))
    e.first_key = <int64_t*>malloc(ROOM * sizeof(int64_t))
    e.first_arrival = <int64_t*>malloc(ROOM * sizeof(int64_t))
    e.first_seq = <int64_t*>malloc(ROOM * sizeof(int64_t))
    e.dirty_classes = <int32_t*>malloc(ROOM * sizeof(int32_t))
    if (e.effects == NULL or e.freed == NULL or e.contacts == NULL or e.links == NULL
            or e.timers == NULL or id_table(e, ROOM) < 0 or e.classes == NULL or e.class_buckets == NULL
            or e.has_contacts == NULL or e.first_weight == NULL or e.first_key == NULL or e.first_arrival == NULL
            or e.first_seq == NULL or e.dirty_classes == NULL):
        return ACD_NO_MEMORY
    for i in range(ROOM):
        e.class_buckets[i] = -1
    if (intern_init(&e.requirements) < 0 or intern_init(&e.exclusions) < 0 or intern_init(&e.plans) < 0
            or intern_init(&e.windows) < 0 or intern_init(&e.pair_values) < 0):
        return ACD_NO_MEMORY
    return ACD_OK

cdef inline int engine_arrays(Engine* e, int32_t n_agents, int32_t n_queues, int32_t n_groups, int32_t n_skills,
                              int32_t n_memberships, int32_t n_reserves) noexcept nogil:
    # What the center fixes. calloc takes one more than needed, so that an empty center is no special case.
    cdef int32_t kind
    e.n_agents = n_agents
    e.n_queues = n_queues
    e.n_groups = n_groups
    e.n_skills = n_skills
    e.n_reserves = n_reserves
    e.group_words = bit_words(n_groups)
    e.agents = <Agent*>array_zeros(<size_t>(n_agents + 1) * sizeof(Agent))
    e.queues = <Queue*>calloc(n_queues + 1, sizeof(Queue))
    e.groups = <Group*>calloc(n_groups + 1, sizeof(Group))
    e.by_queue = <Membership*>calloc(n_memberships + 1, sizeof(Membership))
    e.reserves = <Reserve*>calloc(n_reserves + 1, sizeof(Reserve))
    e.levels = <uint8_t*>calloc(<size_t>n_groups * n_skills + 1, sizeof(uint8_t))
    e.pools = <Pool*>array_zeros((<size_t>CHANNELS * n_groups + 1) * sizeof(Pool))
    e.has_agents = <uint64_t*>calloc(CHANNELS * e.group_words + 1, sizeof(uint64_t))
    e.dirty_groups = <int32_t*>calloc(n_groups + 1, sizeof(int32_t))
    e.may_serve = <uint64_t*>calloc(<size_t>(n_groups + 1) * e.class_words, sizeof(uint64_t))
    e.scratch = <int32_t*>calloc(n_agents + 1, sizeof(int32_t))
    e.numbers = <int64_t*>calloc(n_agents + 1, sizeof(int64_t))
    if (e.agents == NULL or e.queues == NULL or e.groups == NULL or e.by_queue == NULL or e.reserves == NULL
            or e.levels == NULL or e.pools == NULL or e.has_agents == NULL or e.dirty_groups == NULL
            or e.may_serve == NULL or e.scratch == NULL or e.numbers == NULL):
        return ACD_NO_MEMORY
    for kind in range(HEAP_KINDS):
        e.head_key[kind] = <int64_t*>calloc(<size_t>CHANNELS * n_groups + 1, sizeof(int64_t))
        e.head_agent[kind] = <int32_t*>calloc(<size_t>CHANNELS * n_groups + 1, sizeof(int32_t))
        e.agent_at[kind] = <int32_t*>calloc(<size_t>CHANNELS * n_agents + 1, sizeof(int32_t))
        if e.head_key[kind] == NULL or e.head_agent[kind] == NULL or e.agent_at[kind] == NULL:
            return ACD_NO_MEMORY
    return ACD_OK

cdef inline int group_members(Engine* e, int32_t g, int32_t n, int32_t n_rules) noexcept nogil:
    e.groups[g].members = <int32_t*>calloc(n, sizeof(int32_t))
    e.groups[g].reserves = <int32_t*>calloc(n_rules + 1, sizeof(int32_t))
    if e.groups[g].members == NULL or e.groups[g].reserves == NULL:
        return ACD_NO_MEMORY
    return ACD_OK

cdef inline int reserve_arrays(Engine* e, int32_t r) noexcept nogil:
    e.reserves[r].groups = <int32_t*>calloc(e.n_groups + 1, sizeof(int32_t))
    e.reserves[r].queues = <uint64_t*>calloc(bit_words(e.n_queues) + 1, sizeof(uint64_t))
    if e.reserves[r].groups == NULL or e.reserves[r].queues == NULL:
        return ACD_NO_MEMORY
    return ACD_OK

cdef inline int pool_arrays(Engine* e, int32_t channel, int32_t g, int32_t keep) noexcept nogil:
    cdef Pool* pool = &e.pools[channel * e.n_groups + g]
    cdef int32_t n = e.groups[g].n
    cdef int32_t i
    pool.keep = keep
    if keep & KEEP_BITS:
        pool.n_words = bit_words(n)
        pool.bits = <uint64_t*>calloc(pool.n_words, sizeof(uint64_t))
        pool.summary = <uint64_t*>calloc(bit_words(pool.n_words), sizeof(uint64_t))
        if pool.bits == NULL or pool.summary == NULL:
            return ACD_NO_MEMORY
    if keep & KEEP_OCCUPANCY:
        pool.leaves = 1
        while pool.leaves < n:
            pool.leaves *= 2
        pool.matches = <Match*>malloc(2 * <size_t>pool.leaves * sizeof(Match))
        if pool.matches == NULL:
            return ACD_NO_MEMORY
        for i in range(2 * pool.leaves):
            pool.matches[i].winner = -1
            pool.matches[i].fails = NEVER
    return ACD_OK

cdef inline void engine_close(Engine* e) noexcept nogil:
    cdef int32_t i, kind
    if e == NULL:
        return
    if e.classes != NULL:
        for i in range(e.n_classes):
            line_free(&e.classes[i].line)
            free(e.classes[i].tiers)
            free(e.classes[i].groups)
    if e.pools != NULL:
        for i in range(CHANNELS * e.n_groups):
            for kind in range(HEAP_KINDS):
                line_free(&e.pools[i].lines[kind])
            free(e.pools[i].bits)
            free(e.pools[i].summary)
            free(e.pools[i].matches)
    if e.groups != NULL:
        for i in range(e.n_groups):
            free(e.groups[i].members)
            free(e.groups[i].reserves)
    if e.reserves != NULL:
        for i in range(e.n_reserves):
            free(e.reserves[i].groups)
            free(e.reserves[i].queues)
    for kind in range(HEAP_KINDS):
        free(e.head_key[kind])
        free(e.head_agent[kind])
        free(e.agent_at[kind])
    cdef void* arrays[27]
    arrays[:] = [
        e.effects, e.freed, e.contacts, e.ids, e.links, e.timers, e.agents, e.queues, e.by_queue,
        e.groups, e.levels, e.pools, e.has_agents, e.dirty_groups, e.reserves, e.scratch, e.numbers, e.classes,
        e.class_buckets, e.has_contacts, e.may_serve, e.first_weight, e.first_key, e.first_arrival, e.first_seq,
        e.dirty_classes, e.last_served,
    ]
    for i in range(27):
        free(arrays[i])
    intern_close(&e.requirements)
    intern_close(&e.exclusions)
    intern_close(&e.plans)
    intern_close(&e.windows)
    intern_close(&e.pair_values)
    free(e)
