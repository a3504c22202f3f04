# A line of waiting contacts in order of arrival, in which "how many of them arrived before x" costs O(log n).
#
#   place    0    1    2    3   ...  used-1 | free up to capacity
#   arrival  a0 <= a1 <= a2 <= a3                (never falls)
#   owner    7   -1    9    4                    the contact's slot, -1: gone
#   tree     Fenwick tree of who is still there  (Fenwick, Software: Practice and Experience 24:327, 1994)
#
# New contacts are appended. When the places are used up, those that are gone are squeezed out (`moved` tells the owners
# their new place); the arrays double when more than half are still there. So an append costs O(log n), amortized.
from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc

ctypedef struct Line_C:
    int32_t used
    int32_t capacity
    int32_t alive
    double* arrival
    int32_t* owner
    int32_t* tree  # 1 .. capacity

cdef inline void line_free(Line_C* q) noexcept nogil:
    free(q.arrival)
    free(q.owner)
    free(q.tree)
    q.arrival = NULL
    q.owner = NULL
    q.tree = NULL

cdef inline int line_init(Line_C* q, int32_t capacity) noexcept nogil:
    # 0, or -1 if there is no memory.
    q.used = 0
    q.alive = 0
    q.capacity = capacity
    q.arrival = <double*>malloc(capacity * sizeof(double))
    q.owner = <int32_t*>malloc(capacity * sizeof(int32_t))
    q.tree = <int32_t*>malloc((capacity + 1) * sizeof(int32_t))
    if q.arrival == NULL or q.owner == NULL or q.tree == NULL:
        line_free(q)
        return -1
    cdef int32_t i
    for i in range(capacity + 1):
        q.tree[i] = 0
    return 0

cdef inline void line_count(Line_C* q, int32_t place, int32_t change) noexcept nogil:
    cdef int32_t i = place + 1
    while i <= q.capacity:
        q.tree[i] += change
        i += i & -i

cdef inline int32_t line_before(const Line_C* q, int32_t place) noexcept nogil:
    """How many of the places 0 .. place - 1 are still there."""
    cdef int32_t total = 0
    while place > 0:
        total += q.tree[place]
        place -= place & -place
    return total

cdef inline int32_t line_arrived(const Line_C* q, double x) noexcept nogil:
    """How many of those still there arrived at or before x."""
    cdef int32_t low = 0, high = q.used, middle
    while low < high:  # arrival[0 .. low) <= x < arrival[high .. used)
        middle = (low + high) >> 1
        if q.arrival[middle] <= x:
            low = middle + 1
        else:
            high = middle
    return line_before(q, low)

cdef inline int line_squeeze(Line_C* q, int32_t* places) noexcept nogil:
    # Writes places[owner] for every contact that stays. 0, or -1 if there is no memory (then nothing has changed).
    cdef Line_C fresh
    if line_init(&fresh, q.capacity * 2 if q.alive * 2 > q.capacity else q.capacity) != 0:
        return -1
    cdef int32_t i, above
    for i in range(q.used):
        if q.owner[i] >= 0:
            fresh.arrival[fresh.used] = q.arrival[i]
            fresh.owner[fresh.used] = q.owner[i]
            places[q.owner[i]] = fresh.used
            fresh.used += 1
    fresh.alive = fresh.used
    for i in range(1, fresh.capacity + 1):  # each sum is whole when its turn comes to be added to the one above
        fresh.tree[i] += i <= fresh.used
        above = i + (i & -i)
        if above <= fresh.capacity:
            fresh.tree[above] += fresh.tree[i]
    line_free(q)
    q[0] = fresh
    return 0

cdef inline int line_append(Line_C* q, double arrival, int32_t owner, int32_t* places) noexcept nogil:
    # One who keeps an earlier place (a call-back) stands at the end for the others' counts; its own look back is exact.
    if q.used == q.capacity and line_squeeze(q, places) != 0:
        return -1
    if q.used > 0 and arrival < q.arrival[q.used - 1]:
        arrival = q.arrival[q.used - 1]
    q.arrival[q.used] = arrival
    q.owner[q.used] = owner
    places[owner] = q.used
    line_count(q, q.used, 1)
    q.used += 1
    q.alive += 1
    return 0

cdef inline void line_remove(Line_C* q, int32_t place) noexcept nogil:
    q.owner[place] = -1
    q.alive -= 1
    line_count(q, place, -1)
