# The event heap of a simulated world, and the memory that grows with it. Inline: every event pushes and pops. What lacks
# memory sets w.error, and the run ends after the event.
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memset

from cordboard._core.simkernel cimport Caller_C, Node_C, Pending_C, World_C

cdef enum:
    W_OK = 0
    W_NO_MEMORY = -1          # as ACD_NO_MEMORY
    W_HALTED = -1000          # by another thread; no code of the engine
    KIND_BITS = 4

cdef inline void sift_down(Node_C* heap, int32_t n, Node_C node) noexcept nogil:
    # heap[0] is free; every other node is in order. Four children a node: half the levels of a binary heap, and the
    # children lie in one cache line.
    cdef int32_t at = 0, child, best, end
    while True:
        child = 4 * at + 1
        if child + 3 < n:
            best = child + (heap[child + 1].t < heap[child].t)
            end = child + 2 + (heap[child + 3].t < heap[child + 2].t)
            best = end if heap[end].t < heap[best].t else best
        elif child < n:
            best = child
            for end in range(child + 1, n):
                if heap[end].t < heap[best].t:
                    best = end
        else:
            break
        if heap[best].t >= node.t:
            break
        heap[at] = heap[best]
        at = best
    heap[at] = node

cdef inline int heap_grow(World_C* w) noexcept nogil:
    cdef int32_t room = 2 * w.heap_room if w.heap_room else 1024
    cdef void* block = realloc(w.heap, room * sizeof(Node_C))
    if block == NULL:
        return W_NO_MEMORY
    w.heap = <Node_C*>block
    w.heap_room = room
    return W_OK

cdef inline void push(World_C* w, int64_t t, uint32_t kind, uint32_t ref, uint32_t generation) noexcept nogil:
    # On lack of memory w.error is set, and the run ends after this event.
    cdef Node_C node
    cdef int32_t at, parent
    node.t = t
    node.ref = ref
    node.tag = kind | (generation << KIND_BITS)
    if w.hole:
        w.hole = 0
        sift_down(w.heap, w.n_heap, node)
        return
    if w.n_heap == w.heap_room and heap_grow(w) != W_OK:
        w.error = W_NO_MEMORY
        return
    at = w.n_heap
    w.n_heap += 1
    while at > 0:
        parent = (at - 1) >> 2
        if w.heap[parent].t <= t:
            break
        w.heap[at] = w.heap[parent]
        at = parent
    w.heap[at] = node

cdef inline void close_hole(World_C* w) noexcept nogil:
    if w.hole:
        w.hole = 0
        w.n_heap -= 1
        if w.n_heap:
            sift_down(w.heap, w.n_heap, w.heap[w.n_heap])

cdef inline int callers_grow(World_C* w, int32_t slot) noexcept nogil:
    cdef int32_t room = w.callers_room if w.callers_room else 1024
    while room <= slot:
        room *= 2
    cdef void* block = realloc(w.callers, room * sizeof(Caller_C))
    if block == NULL:
        return W_NO_MEMORY
    w.callers = <Caller_C*>block
    memset(w.callers + w.callers_room, 0, (room - w.callers_room) * sizeof(Caller_C))
    w.callers_room = room
    return W_OK

cdef inline int32_t pending_new(World_C* w) noexcept nogil:
    # A free pending, or -1 with w.error set.
    cdef int32_t i = w.free_pending, room
    cdef void* block
    if i >= 0:
        w.free_pending = w.pendings[i].next
        return i
    if w.n_pendings == w.pendings_room:
        room = 2 * w.pendings_room if w.pendings_room else 256
        block = realloc(w.pendings, room * sizeof(Pending_C))
        if block == NULL:
            w.error = W_NO_MEMORY
            return -1
        w.pendings = <Pending_C*>block
        w.pendings_room = room
    w.n_pendings += 1
    return w.n_pendings - 1

cdef inline void pending_free(World_C* w, int32_t i) noexcept nogil:
    w.pendings[i].next = w.free_pending
    w.free_pending = i
