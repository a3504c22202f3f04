# The physics of a wait: rates learned from events and time at risk, and the mean wait that they give.
from libc.math cimport log, log1p

cdef enum:
    RATE_MEMORY = 20_000    # conversations, or waits, over which a rate is averaged

ctypedef struct Rate_C:
    # Events over the time at risk: conversations that ended, or contacts who gave up.
    double events        # forgetting
    double seconds       # at risk, of those that are over, forgetting
    double closed        # how many are over, forgetting
    double open          # how many go on
    double open_since    # sum of the times at which those began

cdef inline void begun(Rate_C* rate, double t) noexcept nogil:
    rate.open += 1.0
    rate.open_since += t

cdef inline void over(Rate_C* rate, double since, double t, double event) noexcept nogil:
    cdef double keep = 1.0 - 1.0 / <double>RATE_MEMORY
    rate.open -= 1.0
    rate.open_since = rate.open_since - since if rate.open > 0.0 else 0.0
    rate.events = keep * rate.events + event
    rate.seconds = keep * rate.seconds + t - since
    rate.closed = keep * rate.closed + 1.0

cdef inline double at_risk(const Rate_C* rate, double t) noexcept nogil:
    # Events / seconds at risk is the maximum-likelihood rate when some are still open (censored). Of those only the share
    # counts that is not yet forgotten elsewhere: at the start all, in the long run none, where it would be counted twice.
    cdef double fresh = 1.0 - rate.closed / <double>RATE_MEMORY
    return rate.seconds + (fresh * (rate.open * t - rate.open_since) if fresh > 0.0 else 0.0)

cdef inline double digamma(double x) noexcept nogil:
    # x > 0; recurrence up to 8, then the asymptotic series (DLMF 5.11.2), relative error below 1e-11.
    cdef double total = 0.0, f
    while x < 8.0:
        total -= 1.0 / x
        x += 1.0
    f = 1.0 / (x * x)
    return total + log(x) - 0.5 / x - f * (1 / 12.0 - f * (1 / 120.0 - f * (1 / 252.0 - f * (1 / 240.0 - f / 132.0))))

cdef inline double qla(double ahead, double rate, double theta) noexcept nogil:
    # sum of 1 / (rate + i theta), i = 0 .. ahead, for any real ahead >= 0 (the sum is a difference of digammas).
    cdef double x = rate / theta
    if x > 1e5:  # the difference would cancel; the midpoint integral is exact to 1 / x^2 there
        return log1p((ahead + 1.0) / (x - 0.5)) / theta if theta > 1e-300 * rate else (ahead + 1.0) / rate
    return (digamma(x + ahead + 1.0) - digamma(x)) / theta
