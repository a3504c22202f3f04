# Laws of patience, and M/M/n+G. Rates are per second, times in seconds. A measure that does not exist is NaN.

ctypedef struct Measures_C:
    double wait_probability    # P(an arrival finds no free agent)
    double abandonment         # P(a caller hangs up before being served)
    double mean_wait           # of all callers
    double mean_wait_served    # of those served
    double mean_offered_wait   # of a caller who would never hang up
    double service_level       # P(served within the threshold), of all callers
    double occupancy           # share of agents' time spent handling
    double queue_length        # mean number waiting

cdef enum:
    LAW_MIXTURE = 0            # of exponentials: a = shares, b = means
    LAW_UNIFORM = 1            # p0 = low, p1 = high
    LAW_ERLANG = 2             # size = phases, p0 = rate of a phase, p1 = log(size!)
    LAW_LOGNORMAL = 3          # p0 = mean of the logarithm, p1 = its standard deviation
    LAW_STEPS = 4              # a = times, b = survival from that time on, area = integral of survival up to it

ctypedef struct Law_C:
    int kind
    long size
    const double* a
    const double* b
    const double* area
    double p0
    double p1
    double mean

cdef void set_nan(Measures_C* m) noexcept nogil
# free = 1 / B(n-1, rate * handle), Erlang's B.
cdef void general_measures(
    Measures_C* m, const Law_C* law, long n, double rate, double handle, double within, double free) noexcept nogil
# The probability of being served within (0, within], patience exponential with rate theta; drain = n / handle, and
# log_empty the logarithm of P(n-1 busy).
cdef double served_within(double rate, double drain, double theta, double within, double log_empty) noexcept nogil
