# What the dialing world is made of, and the two laws that it draws from.
from libc.math cimport log, sqrt

from cordboard._core.rng cimport Rng_C, rng_uniform

cdef enum Kind:
    EV_CHANGE
    EV_RINGING
    EV_ANSWER
    EV_FAIL
    EV_MACHINE
    EV_GIVE_UP
    EV_TALK_END
    EV_WRAP_END
    EV_INBOUND
    EV_INBOUND_LEAVES
    EV_BEAT
    EV_STALL_ENDS
    EV_LOOK

cdef enum CallState:
    FREE = 0
    DIALING = 1
    WAITING = 2
    TALKING = 3

cdef enum Column:  # of the result, one row a minute
    C_DIALS = 0
    C_ANSWERS
    C_DROPS
    C_CANCELLED
    C_REFUSED
    C_STAFFED
    C_BUSY
    C_RINGING
    C_INBOUND
    C_INBOUND_IN_TIME
    C_MACHINES
    C_HIDDEN_DROPS
    C_CAMPAIGN  # then answers and drops of each campaign
    COLUMNS = 12 + 2 * 4

ctypedef struct Event_C:
    double t
    long seq
    int kind
    int index
    long stamp  # of the call or agent the event belongs to: an older stamp is void

ctypedef struct Call_C:
    int state
    int bucket
    double placed
    long stamp
    bint inbound

ctypedef struct Agent_C:
    int state
    double since
    int call
    long stamp
    bint leaving
    double order  # of becoming idle, for longest idle first

ctypedef struct Bucket_C:
    double p
    double shown
    int campaign
    double weight
    long taken

cdef inline double draw_erlang(Rng_C* rng, int phases, double mean) noexcept nogil:
    cdef double product = 1.0
    cdef int k
    for k in range(phases):
        product *= rng_uniform(rng)
    return -log(product) * mean / phases

cdef inline double draw_normal(Rng_C* rng) noexcept nogil:
    # Marsaglia's polar method, one of the pair.
    cdef double u, v, s
    while True:
        u = 2.0 * rng_uniform(rng) - 1.0
        v = 2.0 * rng_uniform(rng) - 1.0
        s = u * u + v * v
        if 0.0 < s < 1.0:
            return u * sqrt(-2.0 * log(s) / s)
