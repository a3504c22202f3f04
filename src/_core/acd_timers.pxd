# Every timer in one 4-ary heap by (due, kind, contact's line, agent). A timer knows its subject and the subject its
# place in the heap, so that any timer can be stopped.
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport realloc

from cordboard._core.acd_types cimport (
    ACD_NO_MEMORY, ACD_OK, Engine, TIMER_MAX_WAIT, TIMER_OFFER, TIMER_PHASE, TIMER_RETRY, TIMER_WRAP_UP, Timer,
)

cdef inline uint64_t timer_order(int32_t kind, int64_t seq, int32_t agent) noexcept nogil:
    return (<uint64_t>kind << 60) | (<uint64_t>seq << 20) | <uint64_t>agent

cdef inline void timer_place(Engine* e, const Timer* t, int32_t at) noexcept nogil:
    if t.kind == TIMER_OFFER:
        e.links[t.subject].timer = at
    elif t.kind == TIMER_WRAP_UP:
        e.agents[t.subject].tm_wrap_up = at
    elif t.kind == TIMER_RETRY:
        e.agents[t.subject].tm_retry = at
    elif t.kind == TIMER_PHASE:
        e.contacts[t.subject].tm_phase = at
    else:
        e.contacts[t.subject].tm_max_wait = at

cdef inline bint timer_before(const Timer* a, const Timer* b) noexcept nogil:
    return a.due < b.due or (a.due == b.due and a.order < b.order)

cdef inline void timer_up(Engine* e, int32_t at, Timer t) noexcept nogil:
    cdef int32_t parent
    while at > 0:
        parent = (at - 1) >> 2
        if not timer_before(&t, &e.timers[parent]):
            break
        e.timers[at] = e.timers[parent]
        timer_place(e, &e.timers[at], at)
        at = parent
    e.timers[at] = t
    timer_place(e, &t, at)

cdef inline void timer_down(Engine* e, int32_t at, Timer t) noexcept nogil:
    cdef int32_t child, last, best
    while True:
        child = 4 * at + 1
        if child >= e.n_timers:
            break
        last = min(child + 4, e.n_timers)
        best = child
        child += 1
        while child < last:
            if timer_before(&e.timers[child], &e.timers[best]):
                best = child
            child += 1
        if not timer_before(&e.timers[best], &t):
            break
        e.timers[at] = e.timers[best]
        timer_place(e, &e.timers[at], at)
        at = best
    e.timers[at] = t
    timer_place(e, &t, at)

cdef inline int timer_start(Engine* e, int32_t kind, int32_t subject, int64_t due, uint64_t order) noexcept nogil:
    cdef Timer t
    cdef Timer* grown
    if e.n_timers == e.timers_room:
        grown = <Timer*>realloc(e.timers, 2 * <size_t>e.timers_room * sizeof(Timer))
        if grown == NULL:
            return ACD_NO_MEMORY
        e.timers = grown
        e.timers_room *= 2
    t.due = due
    t.order = order
    t.subject = subject
    t.kind = kind
    e.n_timers += 1
    timer_up(e, e.n_timers - 1, t)
    return ACD_OK

cdef inline void timer_stop(Engine* e, int32_t at) noexcept nogil:
    # at: the place that the subject remembers; -1 does nothing.
    cdef Timer last, gone
    if at < 0:
        return
    gone = e.timers[at]
    timer_place(e, &gone, -1)
    e.n_timers -= 1
    if at == e.n_timers:
        return
    last = e.timers[e.n_timers]
    if timer_before(&last, &gone):
        timer_up(e, at, last)
    else:
        timer_down(e, at, last)
