# Who comes first: contacts of a class, agents of a pool. Most come in order (who came last stands last) or come back to
# the head, so a line is a run, a ring of places in ascending order, and a 4-ary heap of those who stepped in between.
# In the run it takes no comparison but with the ends to join, and none to leave, however long it is.
#
# Every subject remembers its place in `at`, `stride` ints apart: i >= 0 is heap[i]; one with the top bit is its number in
# the run, and the low bits of that are its index in the ring. Who leaves the run between its ends leaves a gap there
# (subject -1); gaps side by side are one, and both of its ends tell how long it is (key), so that it is stepped over at
# once. Invariants: run[head] and run[tail - 1] are no gaps, unless the run is empty (head = tail); without the gaps the
# run ascends; for 0 < i < n_heap, heap[(i - 1) / 4] is before heap[i].
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from cordboard._core.acd_memory cimport prefetch
from cordboard._core.acd_types cimport ACD_NO_MEMORY, ACD_OK, Line, NEVER, Place

cdef enum:
    FIRST_ROOM = 4                # a power of two

cdef inline bint place_before(const Place* a, const Place* b) noexcept nogil:
    if a.key != b.key:
        return a.key < b.key
    if a.arrival != b.arrival:
        return a.arrival < b.arrival
    return a.seq < b.seq

cdef inline Place* run_at(const Line* line, uint32_t number) noexcept nogil:
    return &line.run[number & <uint32_t>(line.run_room - 1)]

cdef inline bint in_run(int32_t at) noexcept nogil:
    return at < 0

cdef inline bint is_gap(const Line* line, uint32_t number) noexcept nogil:
    return run_at(line, number).subject < 0

cdef inline uint32_t run_next(const Line* line, uint32_t number) noexcept nogil:
    # The number of the next one in the run; line.tail after the last.
    number += 1
    if number != line.tail and is_gap(line, number):
        number += <uint32_t>run_at(line, number).key
    return number

cdef inline const Place* line_place(const Line* line, int32_t at) noexcept nogil:
    return run_at(line, <uint32_t>at) if in_run(at) else &line.heap[at]

cdef inline const Place* line_first(const Line* line) noexcept nogil:
    # Of a line that is not empty.
    if line.n == line.n_heap or (line.n_heap > 0 and place_before(&line.heap[0], run_at(line, line.head))):
        return &line.heap[0]
    return run_at(line, line.head)

cdef inline const Place* line_second(const Line* line) noexcept nogil:
    # Who comes after the first, or NULL.
    cdef const Place* first = line_first(line)
    cdef const Place* best = NULL
    cdef uint32_t number
    cdef int32_t from_heap = 0
    cdef int32_t i
    if line.n < 2:
        return NULL
    if line.n > line.n_heap and first == run_at(line, line.head):
        number = run_next(line, line.head)
        if number != line.tail:
            best = run_at(line, number)
    else:
        from_heap = 1
        if line.n > line.n_heap:
            best = run_at(line, line.head)
    for i in range(from_heap, min(line.n_heap, 5 if from_heap else 1)):
        if best == NULL or place_before(&line.heap[i], best):
            best = &line.heap[i]
    return best

# ---- the heap

cdef inline void line_up(const Line* line, int32_t* at, int32_t stride, int32_t i, Place node) noexcept nogil:
    cdef Place* heap = line.heap
    cdef int32_t parent
    while i > 0:
        parent = (i - 1) >> 2
        if not place_before(&node, &heap[parent]):
            break
        heap[i] = heap[parent]
        at[<int64_t>heap[i].subject * stride] = i
        i = parent
    heap[i] = node
    at[<int64_t>node.subject * stride] = i

cdef inline void line_down(const Line* line, int32_t* at, int32_t stride, int32_t i, Place node) noexcept nogil:
    cdef Place* heap = line.heap
    cdef int32_t child, last, best
    while True:
        child = 4 * i + 1
        if child >= line.n_heap:
            break
        last = min(child + 4, line.n_heap)
        best = child
        child += 1
        while child < last:
            if place_before(&heap[child], &heap[best]):
                best = child
            child += 1
        if not place_before(&heap[best], &node):
            break
        heap[i] = heap[best]
        at[<int64_t>heap[i].subject * stride] = i
        i = best
    heap[i] = node
    at[<int64_t>node.subject * stride] = i

# ---- the run

cdef inline void run_put(const Line* line, int32_t* at, int32_t stride, uint32_t number, const Place* node) noexcept nogil:
    run_at(line, number)[0] = node[0]
    at[<int64_t>node.subject * stride] = <int32_t>(number | <uint32_t>0x80000000)

cdef inline int run_room(Line* line, int32_t* at, int32_t stride) noexcept nogil:
    # Make sure that the ring has a free place: close the gaps if half of it are gaps, else twice the room. Either way
    # this is paid for by as many who joined.
    cdef uint32_t number, to
    cdef Place* grown
    cdef int32_t room = line.run_room
    if <int32_t>(line.tail - line.head) < room:
        return ACD_OK
    if room > 0 and 2 * (line.n - line.n_heap) <= room:
        to = line.head
        number = line.head
        while number != line.tail:
            run_put(line, at, stride, to, run_at(line, number))
            to += 1
            number = run_next(line, number)
        line.tail = to
        return ACD_OK
    grown = <Place*>malloc(<size_t>max(2 * room, FIRST_ROOM) * sizeof(Place))
    if grown == NULL:
        return ACD_NO_MEMORY
    number = line.head
    while number != line.tail:
        grown[number & <uint32_t>(2 * room - 1)] = run_at(line, number)[0]
        number += 1
    free(line.run)
    line.run = grown
    line.run_room = max(2 * room, FIRST_ROOM)
    return ACD_OK

cdef inline void run_leave(Line* line, uint32_t number) noexcept nogil:
    cdef Place* gone = run_at(line, number)
    cdef uint32_t low = number
    cdef uint32_t high = number
    if line.n == line.n_heap:
        line.head = line.tail = 0  # a short run stays where it is in the cache
    elif gone == run_at(line, line.head):
        line.head = run_next(line, line.head)
        prefetch(run_at(line, line.head + 2))
    elif gone == run_at(line, line.tail - 1):
        line.tail -= 1
        if is_gap(line, line.tail - 1):
            line.tail -= <uint32_t>run_at(line, line.tail - 1).key
    else:
        if is_gap(line, number - 1):
            low -= <uint32_t>run_at(line, number - 1).key
        if is_gap(line, number + 1):
            high += <uint32_t>run_at(line, number + 1).key
        gone.subject = -1
        run_at(line, low).key = run_at(line, high).key = <int64_t>(high - low) + 1

# ---- joining and leaving

cdef inline int line_add(Line* line, const Place* node, int32_t* at, int32_t stride) noexcept nogil:
    cdef Place* grown
    cdef bint empty = line.n == line.n_heap
    if empty or place_before(run_at(line, line.tail - 1), node) or place_before(node, run_at(line, line.head)):
        if run_room(line, at, stride) < 0:
            return ACD_NO_MEMORY
        if empty or place_before(run_at(line, line.tail - 1), node):
            run_put(line, at, stride, line.tail, node)
            line.tail += 1
            prefetch(run_at(line, line.tail + 1))
        else:
            line.head -= 1
            run_put(line, at, stride, line.head, node)
        line.n += 1
        return ACD_OK
    if line.n_heap == line.heap_room:
        grown = <Place*>realloc(line.heap, <size_t>max(2 * line.heap_room, FIRST_ROOM) * sizeof(Place))
        if grown == NULL:
            return ACD_NO_MEMORY
        line.heap = grown
        line.heap_room = max(2 * line.heap_room, FIRST_ROOM)
    line.n += 1
    line.n_heap += 1
    line_up(line, at, stride, line.n_heap - 1, node[0])
    return ACD_OK

cdef inline void line_remove(Line* line, int32_t subject, int32_t* at, int32_t stride) noexcept nogil:
    cdef int32_t i = at[<int64_t>subject * stride]
    cdef Place last
    line.n -= 1
    if in_run(i):
        run_leave(line, <uint32_t>i & 0x7FFFFFFF)
        return
    line.n_heap -= 1
    if i == line.n_heap:
        return
    last = line.heap[line.n_heap]
    if place_before(&last, &line.heap[i]):
        line_up(line, at, stride, i, last)
    else:
        line_down(line, at, stride, i, last)

# ---- all of a line

cdef inline int64_t line_oldest(const Line* line) noexcept nogil:
    # The earliest arrival; NEVER of an empty one.
    cdef int64_t oldest = NEVER
    cdef uint32_t number = line.head
    cdef int32_t i
    while number != line.tail:
        oldest = min(oldest, run_at(line, number).arrival)
        number = run_next(line, number)
    for i in range(line.n_heap):
        oldest = min(oldest, line.heap[i].arrival)
    return oldest

cdef inline int32_t line_before(const Line* line, const Place* place) noexcept nogil:
    # How many come before this place, of this or of another line.
    cdef uint32_t number = line.head
    cdef int32_t n = 0
    cdef int32_t i
    while number != line.tail and place_before(run_at(line, number), place):
        n += 1
        number = run_next(line, number)
    for i in range(line.n_heap):
        n += place_before(&line.heap[i], place)
    return n

cdef inline void line_copy(const Line* line, Place* out) noexcept nogil:
    # Into line.n places, in no order.
    cdef uint32_t number = line.head
    cdef int32_t n = 0
    while number != line.tail:
        out[n] = run_at(line, number)[0]
        n += 1
        number = run_next(line, number)
    if line.n_heap > 0:
        memcpy(out + n, line.heap, line.n_heap * sizeof(Place))

cdef inline void line_free(Line* line) noexcept nogil:
    free(line.heap)
    free(line.run)
