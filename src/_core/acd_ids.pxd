# Contact id -> slot, for callers who know contacts by a number: open addressing, linear probing, backward shift on
# removal (Knuth, TAOCP vol. 3, 6.4, algorithm R), so that there are no tombstones. Ids mostly count up, and contacts that
# came together are served together: four ids that follow each other have one cache line as their home.
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free

from cordboard._core.acd_memory cimport array_new
from cordboard._core.acd_types cimport ACD_NO_MEMORY, ACD_OK, Engine, Id_C

cdef inline int64_t id_home(const Engine* e, int64_t id) noexcept nogil:
    cdef uint64_t h = (<uint64_t>id >> 2) * <uint64_t>0x9E3779B97F4A7C15
    return <int64_t>(((h ^ (h >> 32)) << 2 | (<uint64_t>id & 3)) & <uint64_t>(e.ids_room - 1))

cdef inline int32_t id_find(const Engine* e, int64_t id) noexcept nogil:
    cdef int64_t i = id_home(e, id)
    while e.ids[i].slot >= 0:
        if e.ids[i].id == id:
            return e.ids[i].slot
        i = (i + 1) & (e.ids_room - 1)
    return -1

cdef inline void id_put(Engine* e, int64_t id, int32_t slot) noexcept nogil:
    cdef int64_t i = id_home(e, id)
    while e.ids[i].slot >= 0:
        i = (i + 1) & (e.ids_room - 1)
    e.ids[i].id = id
    e.ids[i].slot = slot

cdef inline int id_table(Engine* e, int64_t room) noexcept nogil:
    # An empty table of that room, a power of two.
    cdef Id_C* table = <Id_C*>array_new(room * sizeof(Id_C))
    cdef int64_t i
    if table == NULL:
        return ACD_NO_MEMORY
    for i in range(room):
        table[i].slot = -1
    e.ids = table
    e.ids_room = room
    return ACD_OK

cdef inline int id_add(Engine* e, int64_t id, int32_t slot) noexcept nogil:
    cdef Id_C* old = e.ids
    cdef int64_t room = e.ids_room
    cdef int64_t i
    if 2 * (e.ids_used + 1) > room:
        if id_table(e, 2 * room) < 0:
            return ACD_NO_MEMORY
        for i in range(room):
            if old[i].slot >= 0:
                id_put(e, old[i].id, old[i].slot)
        free(old)
    id_put(e, id, slot)
    e.ids_used += 1
    return ACD_OK

cdef inline void id_remove(Engine* e, int64_t id) noexcept nogil:
    cdef int64_t mask = e.ids_room - 1
    cdef int64_t hole = id_home(e, id)
    cdef int64_t i
    while e.ids[hole].id != id or e.ids[hole].slot < 0:
        hole = (hole + 1) & mask
    i = (hole + 1) & mask
    while e.ids[i].slot >= 0:
        # Move i back if its home does not lie between the hole and i.
        if ((i - id_home(e, e.ids[i].id)) & mask) >= ((i - hole) & mask):
            e.ids[hole] = e.ids[i]
            hole = i
        i = (i + 1) & mask
    e.ids[hole].slot = -1
    e.ids_used -= 1
