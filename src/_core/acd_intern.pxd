# Interned arrays: equal arrays of int64 share one id, so that equality is a comparison of two ints. Each is counted and
# freed with its last reference, so a table is never larger than what is alive.
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy

from cordboard._core.acd_types cimport Interned, InternTable

cdef inline uint64_t mix(uint64_t h, uint64_t x) noexcept nogil:
    # One round of a multiply-xor hash (the constants of splitmix64).
    h = (h ^ x) * <uint64_t>0xBF58476D1CE4E5B9
    return h ^ (h >> 29)

cdef inline uint64_t hash_numbers(const int64_t* data, int32_t n) noexcept nogil:
    cdef uint64_t h = <uint64_t>0x9E3779B97F4A7C15 + <uint64_t>n
    cdef int32_t i
    for i in range(n):
        h = mix(h, <uint64_t>data[i])
    return mix(h, <uint64_t>n)

cdef inline int intern_init(InternTable* t) noexcept nogil:
    # Id 0 is the empty array, for ever.
    t.n = 0
    t.room = 16
    t.n_buckets = 16
    t.free = -1
    t.live = 0
    t.items = <Interned*>calloc(t.room, sizeof(Interned))
    t.buckets = <int32_t*>malloc(t.n_buckets * sizeof(int32_t))
    if t.items == NULL or t.buckets == NULL:
        return -1
    cdef int32_t i
    for i in range(t.n_buckets):
        t.buckets[i] = -1
    return 0 if intern_get(t, NULL, 0) == 0 else -1

cdef inline void intern_close(InternTable* t) noexcept nogil:
    cdef int32_t i
    if t.items != NULL:
        for i in range(t.n):
            free(t.items[i].data)
    free(t.items)
    free(t.buckets)
    t.items = NULL
    t.buckets = NULL

cdef inline int intern_grow(InternTable* t) noexcept nogil:
    cdef int32_t i, bucket
    cdef int32_t room = t.room * 2
    cdef Interned* items = <Interned*>realloc(t.items, room * sizeof(Interned))
    if items == NULL:
        return -1
    t.items = items
    cdef int32_t* buckets = <int32_t*>realloc(t.buckets, room * sizeof(int32_t))
    if buckets == NULL:
        return -1
    t.buckets = buckets
    t.room = room
    t.n_buckets = room
    for i in range(room):
        buckets[i] = -1
    for i in range(t.n):
        if items[i].refs > 0:
            bucket = <int32_t>(items[i].hash & <uint64_t>(room - 1))
            items[i].next = buckets[bucket]
            buckets[bucket] = i
    return 0

cdef inline int32_t intern_get(InternTable* t, const int64_t* data, int32_t n) noexcept nogil:
    # The id of this array with one more reference, or -1 without memory.
    cdef uint64_t h = hash_numbers(data, n)
    cdef int32_t i = t.buckets[h & <uint64_t>(t.n_buckets - 1)]
    cdef int32_t bucket
    while i >= 0:
        if t.items[i].hash == h and t.items[i].n == n and (n == 0 or memcmp(t.items[i].data, data, n * sizeof(int64_t)) == 0):
            t.items[i].refs += 1
            return i
        i = t.items[i].next
    if t.free < 0 and t.n == t.room and intern_grow(t) < 0:
        return -1
    cdef int64_t* copy = <int64_t*>malloc(max(n, 1) * sizeof(int64_t))
    if copy == NULL:
        return -1
    if n > 0:
        memcpy(copy, data, n * sizeof(int64_t))
    if t.free >= 0:
        i = t.free
        t.free = t.items[i].next
    else:
        i = t.n
        t.n += 1
    bucket = <int32_t>(h & <uint64_t>(t.n_buckets - 1))
    t.items[i].data = copy
    t.items[i].n = n
    t.items[i].hash = h
    t.items[i].refs = 1
    t.items[i].next = t.buckets[bucket]
    t.buckets[bucket] = i
    t.live += 1
    return i

cdef inline void intern_keep(InternTable* t, int32_t i) noexcept nogil:
    t.items[i].refs += 1

cdef inline bint intern_release(InternTable* t, int32_t i) noexcept nogil:
    # True if this was the last reference: the array is gone (its data stays readable until intern_forget).
    t.items[i].refs -= 1
    return t.items[i].refs == 0

cdef inline void intern_forget(InternTable* t, int32_t i) noexcept nogil:
    cdef int32_t* link = &t.buckets[t.items[i].hash & <uint64_t>(t.n_buckets - 1)]
    while link[0] != i:
        link = &t.items[link[0]].next
    link[0] = t.items[i].next
    free(t.items[i].data)
    t.items[i].data = NULL
    t.items[i].next = t.free
    t.free = i
    t.live -= 1

cdef inline void intern_drop(InternTable* t, int32_t i) noexcept nogil:
    if intern_release(t, i):
        intern_forget(t, i)
