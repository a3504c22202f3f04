# Draws from probability laws, without Python. A law is a struct; compound laws point into a shared table of doubles.
# The source of randomness is one splitmix64 state a draw, keyed by (caller, purpose): two centers that meet the same
# caller draw the same service demand and the same patience, in whatever order they come to need them (common random
# numbers), and a draw that nobody needs is never made.
from libc.stdint cimport int64_t, uint64_t
from libc.math cimport log, exp, sqrt, cos, pow, llrint

from cordboard._core.rng cimport splitmix64

cdef enum:
    LAW_DETERMINISTIC = 0   # a = the value
    LAW_EXPONENTIAL = 1     # a = mean
    LAW_UNIFORM = 2         # a = low, b = high
    LAW_ERLANG = 3          # n = stages, a = mean of one stage
    LAW_GAMMA = 4           # a = shape, b = scale
    LAW_LOGNORMAL = 5       # a = mean and b = standard deviation of the logarithm
    LAW_WEIBULL = 6         # a = 1 / shape, b = scale
    LAW_MIXTURE = 7         # n parts: table[0..n) cumulative probability, table[n..2n) index of the part's law
    LAW_EMPIRICAL = 8       # n steps: table[0..n) cumulative probability, table[n..2n) value; past the last: a = mean of the tail
    LAW_NEVER = 9           # infinity

cdef enum:
    LAW_DEPTH_MAX = 4       # mixtures of mixtures

# About 73,000 years in microseconds: a time that no run reaches, and that can be added to any that one does.
cdef extern from *:
    """
    #define CORDBOARD_NEVER_US INT64_C(0x1FFFFFFFFFFFFFFF)
    """
    const int64_t NEVER_US "CORDBOARD_NEVER_US"

ctypedef struct Law_C:
    int kind
    int n
    double a
    double b
    const double* table

cdef inline double unit(uint64_t* x) noexcept nogil:
    # In (0, 1]: its logarithm is finite.
    return <double>((splitmix64(x) >> 11) + 1) * (1.0 / 9007199254740992.0)

cdef double law_draw_rare(const Law_C* laws, int law, uint64_t* x) noexcept nogil

cdef inline double law_draw(const Law_C* laws, int law, uint64_t* x) noexcept nogil:
    # Seconds; infinity for LAW_NEVER.
    if laws[law].kind == LAW_EXPONENTIAL:
        return -log(unit(x)) * laws[law].a
    if laws[law].kind == LAW_DETERMINISTIC:
        return laws[law].a
    return law_draw_rare(laws, law, x)

cdef inline int64_t law_ticks(const Law_C* laws, int law, uint64_t* x) noexcept nogil:
    # Microseconds, rounded to the nearest, at most NEVER_US.
    cdef double seconds = law_draw(laws, law, x)
    return llrint(seconds * 1e6) if seconds < 2.3e12 else <int64_t>NEVER_US

cdef int laws_fill(Law_C* laws, const int[:] kinds, const int[:] counts, const double[:, :] parameters,
                   const int[:] offsets, const double* tables) noexcept nogil
