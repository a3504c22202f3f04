# Strategy least_occupied: a kinetic tournament (Basch, Guibas & Hershberger, "Data structures for mobile data", 1999).
# The share of logged-in time that an agent has spent handling is (b + t - s) / (t - l) while it handles and b / (t - l)
# while it doesn't: between two agents the order changes at most once as t grows, as long as nothing happens to them. So
# a node keeps its winner together with the first tick at which its match, or one below it, may turn out differently.
#
# Invariant: for an inner node i with matches[i].fails > t, matches[i].winner is the least occupied agent below i at t.
# Leaves are matches[leaves + rank]. All comparisons are exact, in 128-bit integers.
from libc.stdint cimport int32_t, int64_t

from cordboard._core.acd_types cimport Agent, Engine, Match, NEVER, Pool

cdef extern from *:
    """
    typedef __int128 cb_int128;
    """
    ctypedef long long int128 "cb_int128"

cdef inline void busy_share(const Agent* agent, int64_t t, int64_t* busy, int64_t* logged_in) noexcept nogil:
    # Over all the time that the agent was logged in; 0 before there is any.
    logged_in[0] = max(t - agent.login, 1)
    busy[0] = agent.busy_before
    if agent.busy_from >= 0:
        busy[0] += t - agent.busy_from

cdef inline bint less_occupied(const Engine* e, int32_t a, int32_t b, int64_t t) noexcept nogil:
    cdef int64_t busy_a, busy_b, time_a, time_b
    cdef int128 left, right
    busy_share(&e.agents[a], t, &busy_a, &time_a)
    busy_share(&e.agents[b], t, &busy_b, &time_b)
    left = <int128>busy_a * <int128>time_b
    right = <int128>busy_b * <int128>time_a
    return left < right or (left == right and a < b)

cdef inline int64_t overtakes(const Engine* e, int32_t loser, int32_t winner, int64_t t) noexcept nogil:
    # The first tick after t at which the loser is less occupied than the winner. It stays so: bisection is exact.
    cdef int64_t low = t
    cdef int64_t high = t + (<int64_t>1 << 52)  # 142 years
    cdef int64_t middle
    if not less_occupied(e, loser, winner, high):
        return NEVER
    while high - low > 1:
        middle = low + ((high - low) >> 1)
        if less_occupied(e, loser, winner, middle):
            high = middle
        else:
            low = middle
    return high

cdef inline void occupancy_play(const Engine* e, Pool* pool, int32_t i) noexcept nogil:
    cdef const Match* left = &pool.matches[2 * i]
    cdef const Match* right = &pool.matches[2 * i + 1]
    cdef Match* node = &pool.matches[i]
    cdef int64_t turns
    node.fails = min(left.fails, right.fails)
    if left.winner < 0 or right.winner < 0:
        node.winner = max(left.winner, right.winner)
        return
    if less_occupied(e, left.winner, right.winner, e.now):
        node.winner = left.winner
        turns = overtakes(e, right.winner, left.winner, e.now)
    else:
        node.winner = right.winner
        turns = overtakes(e, left.winner, right.winner, e.now)
    node.fails = min(node.fails, turns)

cdef inline void occupancy_set(const Engine* e, Pool* pool, int32_t rank, int32_t agent) noexcept nogil:
    # agent: who plays from this leaf; -1: nobody.
    cdef int32_t i = pool.leaves + rank
    pool.matches[i].winner = agent
    pool.matches[i].fails = NEVER
    i >>= 1
    while i >= 1:
        occupancy_play(e, pool, i)
        i >>= 1

cdef inline void occupancy_settle(const Engine* e, Pool* pool, int32_t i) noexcept nogil:
    # Play again what may have turned out differently by now.
    if pool.matches[i].fails > e.now:
        return
    occupancy_settle(e, pool, 2 * i)
    occupancy_settle(e, pool, 2 * i + 1)
    occupancy_play(e, pool, i)
