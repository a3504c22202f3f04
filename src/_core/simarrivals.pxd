# When callers come, and the random numbers that each brings along.
from libc.math cimport log
from libc.stdint cimport int32_t, int64_t, uint64_t

from cordboard._core.simheap cimport push
from cordboard._core.simkernel cimport K_ARRIVAL, Source_C, World_C
from cordboard._core.simlaws cimport unit

cdef inline uint64_t stream(uint64_t key, int purpose, int number) noexcept nogil:
    # An odd factor: for one key no purpose's stream starts where another's does.
    return key + <uint64_t>(purpose + 8 * number) * <uint64_t>0xD1342543DE82EF95

cdef inline void schedule_arrival(World_C* w, int32_t source) noexcept nogil:
    # The next arrival of a source: of its trace, or of the Poisson process by inversion of the integrated rate.
    cdef Source_C* s = &w.sources[source]
    cdef double need, end, rate, at = s.at
    if s.trace != NULL:
        if s.count < s.n_trace:
            push(w, s.trace[s.count], K_ARRIVAL, source, 0)
        return
    need = -log(unit(&s.arrival_state))
    while s.piece < s.n_pieces:
        end, rate = s.piece_end[s.piece], s.piece_rate[s.piece]
        if (end - at) * rate > need:
            s.at = at + need / rate
            push(w, <int64_t>s.at, K_ARRIVAL, source, 0)
            return
        need -= (end - at) * rate
        at = end
        s.piece += 1
