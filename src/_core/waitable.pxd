# The agents that a waiting contact may have by now: tiers, delays and steps open groups of agents to it one by one.
from libc.math cimport INFINITY
from libc.stdint cimport int32_t
from libc.string cimport memset

from cordboard._core.wait cimport Able_C, Group_C

cdef inline void able_agents(
    const Group_C* groups, int n, const int32_t* can, const double* opens, double waited, Able_C* out
) noexcept nogil:
    # `can` and `opens` are the kind's, one entry a group. Where nobody may have it yet: those who may have it first.
    cdef const Group_C* group
    cdef double left, first = INFINITY
    cdef int g, later
    for later in range(2):
        memset(out, 0, sizeof(Able_C))
        out.opens_idle = INFINITY
        out.not_before = first if later else 0.0
        for g in range(n):
            group = groups + g
            if can[g] <= 0 or group.staffed == 0:
                continue
            left = opens[g] - waited
            if left > out.not_before:
                if not later and left < first:
                    first = left
                if group.idle > 0 and left < out.opens_idle:
                    out.opens_idle = left
                continue
            out.staffed += <double>group.staffed * can[g]
            out.idle += group.staffed * group.slots - group.busy if group.slots > 0 else group.idle * can[g]
            out.busy += group.busy
            out.load += group.load
        if out.staffed > 0.0 or first == INFINITY:
            return
