# Waiting contacts. Contacts with the same eligibility (queue, requirement, tier window, excluded agents) share a class,
# and a class knows the groups that may serve it. A contact whose eligibility changes with time has one phase timer, at
# which it moves to its next class; one that nobody may take yet waits in a class that no group may serve ("parked").
# Contact.phase is the waiting time that counts. It runs through boundaries in their turn: a contact that comes back by
# another timer of the very instant of a boundary waits in the phase before it, until the boundary's own timer fires.
#
# first_*[class] is the first of its line, if it has any; bit c of has_contacts is set if and only if class c has any.
from libc.math cimport llrint
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from cordboard._core.acd_bits cimport bit_clear, bit_get, bit_lowest, bit_set
from cordboard._core.acd_intern cimport intern_drop, intern_forget, intern_keep, intern_release, mix
from cordboard._core.acd_line cimport line_add, line_first, line_free, line_remove, place_before
from cordboard._core.acd_memory cimport array_grown, prefetch
from cordboard._core.acd_occupancy cimport int128
from cordboard._core.acd_timers cimport timer_order, timer_start, timer_stop
from cordboard._core.acd_types cimport (
    ACD_NO_MEMORY, ACD_OK, Class, Contact, Engine, Interned, Membership, NEVER, ORDER_PRIORITY, ORDER_RATIO, ORDER_SCORE,
    Place, Queue, TIMER_PHASE, WAITING,
)

cdef enum:
    CONTACT_INTS = sizeof(Contact) // 4

ctypedef union DoubleBits:
    double number
    int64_t bits

cdef inline int64_t ordered(double x) noexcept nogil:
    # An int64 in the same order as the doubles (IEEE 754; -0.0 counts as 0.0).
    cdef DoubleBits u
    u.number = x + 0.0
    return u.bits if u.bits >= 0 else u.bits ^ <int64_t>0x7FFFFFFFFFFFFFFF

cdef inline int64_t contact_key(const Engine* e, const Contact* contact) noexcept nogil:
    if e.order == ORDER_PRIORITY:
        return ordered(-contact.priority)
    if e.order == ORDER_SCORE:
        return contact.arrival - llrint(contact.priority * 1e6)
    return contact.arrival

cdef inline bint node_before_first(const Engine* e, int32_t a, const Place* node, int32_t b) noexcept nogil:
    # Whether a contact of class a comes before the first one of class b, in the center's order.
    cdef int128 ratio_a, ratio_b  # (now - arrival) / within, multiplied crosswise
    if e.order == ORDER_RATIO:
        ratio_a = <int128>(e.now - node.arrival) * <int128>e.queues[e.classes[b].queue].within
        ratio_b = <int128>(e.now - e.first_arrival[b]) * <int128>e.queues[e.classes[a].queue].within
        if ratio_a != ratio_b:
            return ratio_a > ratio_b
    else:
        if e.first_weight[a] != e.first_weight[b]:
            return e.first_weight[a] < e.first_weight[b]
        if node.key != e.first_key[b]:
            return node.key < e.first_key[b]
    if node.arrival != e.first_arrival[b]:
        return node.arrival < e.first_arrival[b]
    return node.seq < e.first_seq[b]

cdef inline bint first_before(const Engine* e, int32_t a, int32_t b) noexcept nogil:
    # Whether the first contact of class a comes before that of class b.
    cdef Place node
    node.key = e.first_key[a]
    node.arrival = e.first_arrival[a]
    node.seq = e.first_seq[a]
    return node_before_first(e, a, &node, b)

# ---- the line of a class

cdef inline int32_t first_store(Engine* e, int32_t c) noexcept nogil:
    cdef const Place* first = line_first(&e.classes[c].line)
    e.first_key[c] = first.key
    e.first_arrival[c] = first.arrival
    e.first_seq[c] = first.seq
    return first.subject

cdef inline bint comes_first(const Engine* e, int32_t c, const Place* place) noexcept nogil:
    # Before the first of class c so far; without a look at the line itself, the head of which may be long out of the cache.
    cdef Place first
    first.key = e.first_key[c]
    first.arrival = e.first_arrival[c]
    first.seq = e.first_seq[c]
    return place_before(place, &first)

cdef inline void class_touch(Engine* e, int32_t c) noexcept nogil:
    if not e.classes[c].dirty:
        e.classes[c].dirty = 1
        e.dirty_classes[e.n_dirty_classes] = c
        e.n_dirty_classes += 1

cdef inline int class_add(Engine* e, int32_t c, int32_t slot) noexcept nogil:
    cdef Class* cls = &e.classes[c]
    cdef Contact* contact = &e.contacts[slot]
    cdef Place place
    place.key = contact_key(e, contact)
    place.arrival = contact.arrival
    place.seq = contact.seq
    place.subject = slot
    if line_add(&cls.line, &place, &e.contacts.place, CONTACT_INTS) < 0:
        e.out_of_memory = 1
        return ACD_NO_MEMORY
    contact.cls = c
    if cls.line.n == 1:
        bit_set(e.has_contacts, c)
    if cls.line.n == 1 or comes_first(e, c, &place):
        first_store(e, c)
    class_touch(e, c)
    return ACD_OK

cdef inline void class_remove(Engine* e, int32_t slot) noexcept nogil:
    cdef int32_t c = e.contacts[slot].cls
    cdef Class* cls
    if c < 0:
        return
    cls = &e.classes[c]
    e.contacts[slot].cls = -1
    line_remove(&cls.line, slot, &e.contacts.place, CONTACT_INTS)
    if cls.line.n == 0:
        bit_clear(e.has_contacts, c)
    else:
        prefetch(&e.contacts[first_store(e, c)])  # whoever gets free next takes this one

# ---- making and finding classes

cdef inline bint group_satisfies(const Engine* e, int32_t group, int32_t requirement) noexcept nogil:
    cdef const Interned* r = &e.requirements.items[requirement]
    cdef const uint8_t* levels = e.levels + <size_t>group * e.n_skills
    cdef int32_t i
    for i in range(r.n):
        if (r.data[i] >> 8) >= e.n_skills or levels[r.data[i] >> 8] < (r.data[i] & 255):
            return False
    return True

cdef inline int32_t class_bucket(const Engine* e, const Class* key) noexcept nogil:
    cdef uint64_t h = mix(<uint64_t>key.queue, <uint64_t><int64_t>key.requirement)
    h = mix(h, (<uint64_t>key.min_tier << 32) | <uint64_t>key.max_tier)
    return <int32_t>(mix(h, <uint64_t>key.excluded) & <uint64_t>(e.n_class_buckets - 1))

cdef inline bint same_class(const Class* a, const Class* b) noexcept nogil:
    return (a.queue == b.queue and a.requirement == b.requirement and a.min_tier == b.min_tier
            and a.max_tier == b.max_tier and a.excluded == b.excluded)

cdef inline void class_free(Engine* e, int32_t c) noexcept nogil:
    cdef Class* cls = &e.classes[c]
    cdef int32_t* link = &e.class_buckets[class_bucket(e, cls)]
    cdef int32_t i, w
    cdef uint64_t bits
    while link[0] != c:
        link = &e.classes[link[0]].next_in_bucket
    link[0] = cls.next_in_bucket
    if cls.prev_in_queue >= 0:
        e.classes[cls.prev_in_queue].next_in_queue = cls.next_in_queue
    else:
        e.queues[cls.queue].classes = cls.next_in_queue
    if cls.next_in_queue >= 0:
        e.classes[cls.next_in_queue].prev_in_queue = cls.prev_in_queue
    for i in range(cls.n_tiers):
        for w in range(e.group_words):
            bits = cls.groups[i * e.group_words + w]
            while bits:
                bit_clear(e.may_serve + <size_t>(64 * w + bit_lowest(bits)) * e.class_words, c)
                bits &= bits - 1
    if e.queues[cls.queue].plain_class == c:
        e.queues[cls.queue].plain_class = -1
    if cls.requirement >= 0:
        intern_drop(&e.requirements, cls.requirement)
    intern_drop(&e.exclusions, cls.excluded)
    line_free(&cls.line)
    free(cls.tiers)
    free(cls.groups)
    memset(cls, 0, sizeof(Class))
    cls.next_in_bucket = e.free_class
    e.free_class = c
    e.live_classes -= 1

cdef inline int classes_grow(Engine* e) noexcept nogil:
    # Twice the room. Every array is grown before any field says so.
    cdef int32_t room = 2 * e.classes_room
    cdef int32_t words = 2 * e.class_words
    cdef int32_t g, c, bucket
    cdef Class* classes = <Class*>array_grown(e.classes, <size_t>e.classes_room * sizeof(Class), <size_t>room * sizeof(Class))
    if classes != NULL:
        e.classes = classes
    cdef int64_t* grown
    cdef int64_t** firsts[4]
    firsts[0] = &e.first_weight
    firsts[1] = &e.first_key
    firsts[2] = &e.first_arrival
    firsts[3] = &e.first_seq
    for g in range(4):
        grown = <int64_t*>realloc(firsts[g][0], <size_t>room * sizeof(int64_t))
        if grown == NULL:
            return ACD_NO_MEMORY
        firsts[g][0] = grown
    cdef int32_t* dirty = <int32_t*>realloc(e.dirty_classes, <size_t>room * sizeof(int32_t))
    if dirty != NULL:
        e.dirty_classes = dirty
    cdef uint64_t* has = <uint64_t*>realloc(e.has_contacts, <size_t>words * sizeof(uint64_t))
    if has != NULL:
        e.has_contacts = has
    cdef int32_t* buckets = <int32_t*>realloc(e.class_buckets, <size_t>room * sizeof(int32_t))
    if buckets != NULL:
        e.class_buckets = buckets
    if classes == NULL or dirty == NULL or has == NULL or buckets == NULL:
        return ACD_NO_MEMORY
    cdef uint64_t* serve = <uint64_t*>calloc(<size_t>max(e.n_groups, 1) * words, sizeof(uint64_t))
    if serve == NULL:
        return ACD_NO_MEMORY
    for g in range(e.n_groups):
        memcpy(serve + <size_t>g * words, e.may_serve + <size_t>g * e.class_words, e.class_words * sizeof(uint64_t))
    free(e.may_serve)
    e.may_serve = serve
    memset(has + e.class_words, 0, e.class_words * sizeof(uint64_t))
    e.class_words = words
    e.classes_room = room
    e.n_class_buckets = room
    for bucket in range(room):
        buckets[bucket] = -1
    for c in range(e.n_classes):
        if classes[c].live:
            bucket = class_bucket(e, &classes[c])
            classes[c].next_in_bucket = buckets[bucket]
            buckets[bucket] = c
    return ACD_OK

cdef inline int class_room(Engine* e) noexcept nogil:
    # Make sure that one id is free: forget the empty classes first, and grow if more than half are in use even so.
    cdef int32_t c
    if e.free_class >= 0 or e.n_classes < e.classes_room:
        return ACD_OK
    for c in range(e.n_classes):
        if e.classes[c].live and e.classes[c].line.n == 0 and not e.classes[c].dirty:
            class_free(e, c)
    if 2 * e.live_classes > e.classes_room and classes_grow(e) < 0:
        return ACD_NO_MEMORY
    return ACD_OK

cdef inline int class_connect(Engine* e, int32_t c) noexcept nogil:
    # Find the groups that may serve class c, tier by tier.
    cdef Class* cls = &e.classes[c]
    cdef const Queue* queue = &e.queues[cls.queue]
    cdef const Membership* member
    cdef int32_t i, tier
    cdef int32_t last = -1
    cdef int32_t count = 0
    if cls.requirement < 0:
        return ACD_OK
    for i in range(queue.groups_from, queue.groups_to):
        tier = e.by_queue[i].tier
        if tier != last and cls.min_tier <= tier <= cls.max_tier:
            count += 1
            last = tier
    if count == 0:
        return ACD_OK
    cls.tiers = <int32_t*>malloc(count * sizeof(int32_t))
    cls.groups = <uint64_t*>calloc(<size_t>count * e.group_words, sizeof(uint64_t))
    if cls.tiers == NULL or cls.groups == NULL:
        return ACD_NO_MEMORY
    for i in range(queue.groups_from, queue.groups_to):
        member = &e.by_queue[i]
        if not cls.min_tier <= member.tier <= cls.max_tier or not group_satisfies(e, member.group, cls.requirement):
            continue
        if cls.n_tiers == 0 or cls.tiers[cls.n_tiers - 1] != member.tier:
            cls.tiers[cls.n_tiers] = member.tier
            cls.n_tiers += 1
        bit_set(cls.groups + (cls.n_tiers - 1) * e.group_words, member.group)
        bit_set(e.may_serve + <size_t>member.group * e.class_words, c)
    return ACD_OK

cdef inline int32_t class_for(Engine* e, const Class* key) noexcept nogil:
    # The class with this key, made if need be; -1 without memory.
    cdef int32_t c = e.class_buckets[class_bucket(e, key)]
    cdef int32_t bucket
    cdef Class* cls
    cdef Queue* queue = &e.queues[key.queue]
    while c >= 0:
        if same_class(&e.classes[c], key):
            return c
        c = e.classes[c].next_in_bucket
    if class_room(e) < 0:
        e.out_of_memory = 1
        return -1
    if e.free_class >= 0:
        c = e.free_class
        e.free_class = e.classes[c].next_in_bucket
    else:
        c = e.n_classes
        e.n_classes += 1
    cls = &e.classes[c]
    memset(cls, 0, sizeof(Class))
    cls.queue = key.queue
    cls.requirement = key.requirement
    cls.min_tier = key.min_tier
    cls.max_tier = key.max_tier
    cls.excluded = key.excluded
    cls.channel = queue.channel
    cls.live = 1
    if key.requirement >= 0:
        intern_keep(&e.requirements, key.requirement)
    intern_keep(&e.exclusions, key.excluded)
    bucket = class_bucket(e, cls)
    cls.next_in_bucket = e.class_buckets[bucket]
    e.class_buckets[bucket] = c
    cls.prev_in_queue = -1
    cls.next_in_queue = queue.classes
    if queue.classes >= 0:
        e.classes[queue.classes].prev_in_queue = c
    queue.classes = c
    e.first_weight[c] = queue.weight if e.order == ORDER_PRIORITY else 0
    e.live_classes += 1
    if class_connect(e, c) < 0:
        e.out_of_memory = 1
        return -1
    return c

# ---- phases: what a contact asks for now, and until when

cdef inline int32_t requirement_at(const Engine* e, int32_t plan, int64_t waited, int64_t* until) noexcept nogil:
    # A plan is [until_0, requirement_0, until_1, ...], in ticks of waiting; after the last one nothing is required.
    cdef const Interned* p = &e.plans.items[plan]
    cdef int32_t i
    for i in range(0, p.n, 2):
        if waited < p.data[i]:
            until[0] = p.data[i]
            return <int32_t>p.data[i + 1]
    until[0] = NEVER
    return 0

cdef inline void window_at(const Engine* e, int32_t window, int64_t waited, Class* key, int64_t* until) noexcept nogil:
    # A window is [min, max, after_1, min_1, max_1, after_2, ...]; -1 leaves a bound as it was.
    cdef const Interned* p = &e.windows.items[window]
    cdef int32_t i = 2
    key.min_tier = <int32_t>p.data[0] if p.data[0] >= 0 else 1
    key.max_tier = <int32_t>p.data[1] if p.data[1] >= 0 else key.max_tier
    while i < p.n and p.data[i] <= waited:
        if p.data[i + 1] >= 0:
            key.min_tier = <int32_t>p.data[i + 1]
        if p.data[i + 2] >= 0:
            key.max_tier = <int32_t>p.data[i + 2]
        i += 3
    if i < p.n:
        until[0] = min(until[0], p.data[i])

cdef inline void tiers_unlocked(const Engine* e, const Queue* queue, int64_t waited, Class* key, int64_t* until) noexcept nogil:
    cdef int64_t unlocked = 1
    cdef int32_t i
    if not queue.tier_wait_multiplies:
        if waited >= queue.tier_wait:
            return
        until[0] = min(until[0], queue.tier_wait)
    else:
        unlocked = max(waited // queue.tier_wait, 1)
        for i in range(queue.groups_from, queue.groups_to):
            if e.by_queue[i].tier > unlocked:
                until[0] = min(until[0], e.by_queue[i].tier * queue.tier_wait)
                break
    if unlocked < key.max_tier:
        key.max_tier = <int32_t>unlocked

cdef inline void phase_of(const Engine* e, const Contact* contact, Class* key, int64_t* until) noexcept nogil:
    # Fill in the class's key for the present, and the waiting time (ticks) until which it holds.
    cdef const Queue* queue = &e.queues[contact.queue]
    cdef int64_t waited = contact.phase
    cdef int32_t highest = 0
    key.queue = contact.queue
    key.excluded = contact.excluded
    key.min_tier = 1
    if queue.groups_to > queue.groups_from:
        highest = e.by_queue[queue.groups_to - 1].tier
    key.max_tier = highest
    if waited < queue.delay:
        key.requirement = -1
        until[0] = queue.delay
    else:
        key.requirement = requirement_at(e, contact.steps if contact.steps >= 0 else queue.steps, waited, until)
        if contact.tiers >= 0:
            window_at(e, contact.tiers, waited, key, until)
        if queue.tier_wait > 0:
            tiers_unlocked(e, queue, waited, key, until)
        key.max_tier = min(key.max_tier, highest)
    if key.requirement < 0 or key.min_tier > key.max_tier:  # nobody: one key for all of those
        key.min_tier = 1
        key.max_tier = 0
        key.excluded = 0
        key.requirement = -1

cdef inline void contact_place(Engine* e, int32_t slot) noexcept nogil:
    # Let it wait in the class of its present phase.
    cdef Contact* contact = &e.contacts[slot]
    cdef Queue* queue = &e.queues[contact.queue]
    contact.phase = max(contact.phase, e.now - contact.arrival - e.early)
    cdef bint plain = queue.plain and contact.steps < 0 and contact.tiers < 0 and contact.excluded == 0
    cdef int64_t until = NEVER
    cdef Class key
    cdef int32_t c = queue.plain_class if plain else -1
    if c < 0:
        phase_of(e, contact, &key, &until)
        c = class_for(e, &key)
        if c < 0:
            return
        if plain:
            queue.plain_class = c
    class_add(e, c, slot)
    if until != NEVER:
        if timer_start(e, TIMER_PHASE, slot, contact.arrival + until, timer_order(TIMER_PHASE, contact.seq, 0)) < 0:
            e.out_of_memory = 1

cdef inline void contact_unplace(Engine* e, int32_t slot) noexcept nogil:
    class_remove(e, slot)
    timer_stop(e, e.contacts[slot].tm_phase)

cdef inline void plan_drop(Engine* e, int32_t plan) noexcept nogil:
    cdef const Interned* p = &e.plans.items[plan]
    cdef int32_t i
    if intern_release(&e.plans, plan):
        for i in range(0, p.n, 2):
            intern_drop(&e.requirements, <int32_t>p.data[i + 1])
        intern_forget(&e.plans, plan)
