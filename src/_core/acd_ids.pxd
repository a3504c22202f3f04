# Contact id -> slot, for callers who know contacts by a number: open addressing, linear probing, backward shift on
# removal (Knuth, TAOCP vol. 3, 6.4, algorithm R), so that there are no tombstones.
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc

from cordboard._core.acd_types cimport ACD_NO_MEMORY, ACD_OK, Engine

cdef extern from *:
    """
    #define cb_prefetch(p) __builtin_prefetch(p)
    """
    void prefetch "cb_prefetch"(const void* p) noexcept nogil

cdef inline int64_t id_home(const Engine* e, int64_t id) noexcept nogil:
    cdef uint64_t h = <uint64_t>id * <uint64_t>0x9E3779B97F4A7C15
    return <int64_t>((h ^ (h >> 32)) & <uint64_t>(e.ids_room - 1))

cdef inline int32_t id_find(const Engine* e, int64_t id) noexcept nogil:
    cdef int64_t i = id_home(e, id)
    while e.id_slots[i] >= 0:
        if e.ids[i] == id:
            return e.id_slots[i]
        i = (i + 1) & (e.ids_room - 1)
    return -1

cdef inline void id_put(Engine* e, int64_t id, int32_t slot) noexcept nogil:
    cdef int64_t i = id_home(e, id)
    while e.id_slots[i] >= 0:
        i = (i + 1) & (e.ids_room - 1)
    e.ids[i] = id
    e.id_slots[i] = slot

cdef inline int id_add(Engine* e, int64_t id, int32_t slot) noexcept nogil:
    cdef int64_t* ids = e.ids
    cdef int32_t* slots = e.id_slots
    cdef int64_t room = e.ids_room
    cdef int64_t i
    if 2 * (e.ids_used + 1) > room:
        e.ids = <int64_t*>malloc(2 * room * sizeof(int64_t))
        e.id_slots = <int32_t*>malloc(2 * room * sizeof(int32_t))
        if e.ids == NULL or e.id_slots == NULL:
            free(e.ids)
            free(e.id_slots)
            e.ids = ids
            e.id_slots = slots
            return ACD_NO_MEMORY
        e.ids_room = 2 * room
        for i in range(2 * room):
            e.id_slots[i] = -1
        for i in range(room):
            if slots[i] >= 0:
                id_put(e, ids[i], slots[i])
        free(ids)
        free(slots)
    id_put(e, id, slot)
    e.ids_used += 1
    return ACD_OK

cdef inline void id_remove(Engine* e, int64_t id) noexcept nogil:
    cdef int64_t mask = e.ids_room - 1
    cdef int64_t hole = id_home(e, id)
    cdef int64_t i
    while e.ids[hole] != id or e.id_slots[hole] < 0:
        hole = (hole + 1) & mask
    i = (hole + 1) & mask
    while e.id_slots[i] >= 0:
        # Move i back if its home does not lie between the hole and i.
        if ((i - id_home(e, e.ids[i])) & mask) >= ((i - hole) & mask):
            e.ids[hole] = e.ids[i]
            e.id_slots[hole] = e.id_slots[i]
            hole = i
        i = (i + 1) & mask
    e.id_slots[hole] = -1
    e.ids_used -= 1
