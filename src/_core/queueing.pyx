"""Erlang B, C and A, M/M/n+G and M/M/n/K in double precision, without overflow.

With I(n) = 1 / B(n, a): I(n) = sum over k of n (n-1) ... (n-k+1) / a^k, all terms positive, falling like
exp(-k^2 / 2n) when n <= a; and I(n) = 1 + (n / a) I(n-1), all terms positive, for n > a. So no subtraction is made,
it takes about sqrt(n) steps, and the relative error is a few thousand rounding errors at 10,000 agents.

Erlang A sums the queue's states (Garnett, Mandelbaum & Reiman 2002, M&SOM 4:208), again positive terms alone. General
patience integrates exp(phi), phi(x) = rate * H(x) - n mu x, H(x) the integral of the survival of patience (Baccelli &
Hebuterne 1981; Zeltyn & Mandelbaum 2005, Queueing Systems 51:361). phi is concave, so one hill is integrated.
"""

from libc.math cimport INFINITY, NAN, ceil, exp, floor, fmax, fmin, isnan, log, sqrt

from cordboard._core.patience cimport LAW_MIXTURE, Law_C, Measures_C, general_measures, served_within, set_nan

cdef double TINY = 1e-18               # a term smaller than this share of its sum changes nothing
cdef double BIG = 1e200                # sums are scaled down by it before they can overflow
cdef double LOG_BIG = 460.51701859880916
cdef double TERMS_MAX = 20000.0        # longer sums are left to the integrals
cdef double STEP = 6.0                 # phi changes by no more than this in one panel

cdef double erlang_b_inverse(long n, double load) noexcept nogil:
    """1 / B(n, load); inf where B is below the smallest double."""
    cdef long start = n if <double>n <= load else <long>floor(load)
    cdef double inverse = 1.0 / load
    cdef double term = 1.0
    cdef double total = 1.0
    cdef long k
    for k in range(start):
        term *= <double>(start - k) * inverse
        total += term
        if term < TINY * total:
            break
    for k in range(start + 1, n + 1):
        total = 1.0 + <double>k * inverse * total
    return total


cdef double erlang_c_of(double b_inverse, long n, double load) noexcept nogil:
    """P(wait) in M/M/n from 1 / B(n, load); load < n."""
    return <double>n / ((<double>n - load) * b_inverse + load)


cdef void erlang_c_measures(Measures_C* m, long n, double rate, double handle, double within) noexcept nogil:
    cdef double load = rate * handle
    if not load < <double>n:
        set_nan(m)
        return
    cdef double drain = (<double>n - load) / handle
    m.wait_probability = erlang_c_of(erlang_b_inverse(n, load), n, load)
    m.abandonment = 0.0
    m.mean_wait = m.mean_wait_served = m.mean_offered_wait = m.wait_probability / drain
    m.service_level = 1.0 - m.wait_probability * exp(-drain * within)
    m.occupancy = load / <double>n
    m.queue_length = rate * m.mean_wait


cdef void exponential_measures(
        Measures_C* m, long n, double rate, double handle, double patience, double within) noexcept nogil:
    cdef Law_C law
    cdef double one = 1.0
    law.kind = LAW_MIXTURE
    law.size = 1
    law.a = &one
    law.b = &patience
    law.area = NULL
    law.p0 = law.p1 = 0.0
    law.mean = patience
    general_measures(m, &law, n, rate, handle, within, erlang_b_inverse(n - 1, rate * handle))


cdef double states_of_queue(double rate, double drain, double theta) noexcept nogil:
    """About how many states of the queue hold all of its probability."""
    cdef double spread = 9.0 * sqrt(rate / theta) + 40.0
    if rate >= drain:
        return (rate - drain) / theta + spread
    return fmin(spread, 45.0 * drain / (drain - rate))


cdef void erlang_a_measures(
        Measures_C* m, long n, double rate, double handle, double patience, double within) noexcept nogil:
    """Sums over the queue's states j = 0, 1, ... relative to n busy agents and none waiting.

    An arrival that finds j waiting is served with probability drain / (drain + (j+1) theta), after the time of j+1
    departures, each the first of rate drain + i theta, whether or not it is the one that hangs up.
    """
    cdef double drain = <double>n / handle
    cdef double theta = 1.0 / patience
    cdef double load = rate * handle
    if states_of_queue(rate, drain, theta) > TERMS_MAX:
        exponential_measures(m, n, rate, handle, patience, within)
        return
    cdef double log_scale = 0.0
    cdef double term = 1.0, next_term
    cdef double all_j = 0.0, waiting = 0.0, served = 0.0, served_wait = 0.0, offered_wait = 0.0
    cdef double step = 1.0 / drain                      # 1 / (drain + j theta)
    cdef double to_offered = 0.0                        # sum of it over 0..j
    cdef double to_served = 0.0                         # sum of it over 1..j+1
    cdef double j = 0.0
    while True:
        all_j += term
        waiting += j * term
        to_offered += step
        offered_wait += term * to_offered
        step = 1.0 / (drain + (j + 1.0) * theta)
        to_served += step
        next_term = term * rate * step                  # term * P(served), but for drain / rate
        served += next_term
        served_wait += next_term * to_served
        if next_term < TINY * all_j and next_term < term:
            break
        term = next_term
        j += 1.0
        if term > BIG:
            term /= BIG
            all_j /= BIG
            waiting /= BIG
            served /= BIG
            offered_wait /= BIG
            served_wait /= BIG
            log_scale += LOG_BIG
    cdef double below = <double>n / load * erlang_b_inverse(n - 1, load) * exp(-log_scale)   # an agent is free
    cdef double total = below + all_j                   # inf where practically nobody waits
    cdef double idle = 1.0 / (1.0 + all_j / below)
    served = idle + served * drain / rate / total
    m.wait_probability = all_j / total
    m.queue_length = waiting / total
    m.mean_wait = m.queue_length / rate
    m.abandonment = theta * m.mean_wait
    m.mean_offered_wait = offered_wait / total
    m.mean_wait_served = served_wait * drain / rate / total / served
    m.occupancy = load * served / <double>n
    # The offered wait's density starts from n-1 busy agents.
    cdef double log_empty = log(<double>n / load / total) - log_scale
    m.service_level = idle + served_within(rate, drain, theta, within, log_empty)


cdef bint good_enough(const Measures_C* m, const Target_C* target) noexcept nogil:
    # Written so that a NaN bound is met, and a NaN measure meets nothing.
    return (
        (isnan(target.service_level) or m.service_level >= target.service_level)
        and (isnan(target.abandonment) or m.abandonment <= target.abandonment)
        and (isnan(target.mean_wait) or m.mean_wait <= target.mean_wait))


cdef long minimum_agents_c(double rate, double handle, const Target_C* target, long limit) noexcept nogil:
    """The fewest agents of M/M/n that meet the target; -1 if that is more than limit."""
    cdef double load = rate * handle
    cdef Measures_C m
    cdef long n = <long>floor(load) + 1
    cdef double b_inverse, drain
    if n > limit:
        return -1
    b_inverse = erlang_b_inverse(n, load)
    m.abandonment = 0.0
    while n <= limit:
        drain = (<double>n - load) / handle
        m.wait_probability = erlang_c_of(b_inverse, n, load)
        m.mean_wait = m.wait_probability / drain
        m.service_level = 1.0 - m.wait_probability * exp(-drain * target.within)
        if good_enough(&m, target):
            return n
        n += 1
        b_inverse = 1.0 + <double>n / load * b_inverse
    return -1


cdef long minimum_agents_a(
        double rate, double handle, double patience, const Target_C* target, long limit) noexcept nogil:
    """The fewest agents of M/M/n+M that meet the target (every measure improves with n); -1 if more than limit."""
    cdef Measures_C m
    cdef double load = rate * handle
    # Invariant: low agents are too few; high are enough, or not tried yet.
    cdef long low = 0
    cdef long high = <long>fmin(fmax(ceil(load), 1.0), <double>limit)
    cdef long step = <long>ceil(0.25 * sqrt(load))
    cdef long middle
    erlang_a_measures(&m, high, rate, handle, patience, target.within)
    if good_enough(&m, target):
        middle = high - step
        while middle > low:
            erlang_a_measures(&m, middle, rate, handle, patience, target.within)
            if not good_enough(&m, target):
                low = middle
                break
            high = middle
            step *= 2
            middle = high - step
    else:
        while True:
            if high >= limit:
                return -1
            low = high
            high = low + step if low + step < limit else limit
            step *= 2
            erlang_a_measures(&m, high, rate, handle, patience, target.within)
            if good_enough(&m, target):
                break
    while high - low > 1:
        middle = low + (high - low) // 2
        erlang_a_measures(&m, middle, rate, handle, patience, target.within)
        if good_enough(&m, target):
            high = middle
        else:
            low = middle
    return high


# What Python calls. Arguments have been checked there; this module only computes.

cdef tuple as_tuple(const Measures_C* m):
    return (m.wait_probability, m.abandonment, m.mean_wait, m.mean_wait_served,
            m.mean_offered_wait, m.service_level, m.occupancy, m.queue_length)


def blocking(long agents, double load):
    """Erlang B for one system: P(all busy) in M/M/n/n."""
    return 1.0 / erlang_b_inverse(agents, load)


def waiting(long agents, double load):
    """Erlang C for one system: P(wait) in M/M/n; NaN when load >= agents."""
    if not load < <double>agents:
        return NAN
    return erlang_c_of(erlang_b_inverse(agents, load), agents, load)


def blocking_many(const long[::1] agents, const double[::1] load, double[::1] out):
    """Erlang B row by row: int64 (rows,), float64 (rows,) Erlang, float64 (rows,) to be filled."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(agents.shape[0]):
            out[i] = 1.0 / erlang_b_inverse(agents[i], load[i])


def waiting_many(const long[::1] agents, const double[::1] load, double[::1] out):
    """Erlang C row by row: int64 (rows,), float64 (rows,) Erlang, float64 (rows,) to be filled; NaN where unstable."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(agents.shape[0]):
            if load[i] < <double>agents[i]:
                out[i] = erlang_c_of(erlang_b_inverse(agents[i], load[i]), agents[i], load[i])
            else:
                out[i] = NAN


cdef void measures_of(
        Measures_C* m, long n, double rate, double handle, double patience, double within) noexcept nogil:
    # Without callers nobody loses patience.
    if patience == INFINITY or rate == 0.0:
        erlang_c_measures(m, n, rate, handle, within)
    else:
        erlang_a_measures(m, n, rate, handle, patience, within)


def measures(long agents, double rate, double handle, double patience, double within):
    """The eight measures of M/M/n+M, or of M/M/n when patience is inf; NaN when there is no steady state."""
    cdef Measures_C m
    measures_of(&m, agents, rate, handle, patience, within)
    return as_tuple(&m)


def measures_many(
        const long[::1] agents, const double[::1] rate, const double[::1] handle, const double[::1] patience,
        const double[::1] within, double[:, ::1] out):
    """Row by row: int64 (rows,), float64 (rows,) per second and seconds, float64 (rows, 8) to be filled."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(agents.shape[0]):
            measures_of(<Measures_C*>&out[i, 0], agents[i], rate[i], handle[i], patience[i], within[i])


def law_measures(
        int kind, const double[::1] a, const double[::1] b, const double[::1] area, double p0, double p1, double mean,
        long agents, double rate, double handle, double within):
    """The eight measures of M/M/n+G; the law as Law_C describes it (for LAW_ERLANG, a has one entry a phase)."""
    cdef Measures_C m
    cdef Law_C law
    law.kind = kind
    law.size = a.shape[0]
    law.a = &a[0] if a.shape[0] else NULL
    law.b = &b[0] if b.shape[0] else NULL
    law.area = &area[0] if area.shape[0] else NULL
    law.p0 = p0
    law.p1 = p1
    law.mean = mean
    with nogil:
        general_measures(&m, &law, agents, rate, handle, within, erlang_b_inverse(agents - 1, rate * handle))
    return as_tuple(&m)


def minimum_agents(
        double rate, double handle, double patience, double service_level, double within, double abandonment,
        double mean_wait, long limit):
    """The fewest agents that meet every bound that is not NaN (patience inf: M/M/n); -1 if that is more than limit."""
    cdef Target_C target
    target.service_level = service_level
    target.within = within
    target.abandonment = abandonment
    target.mean_wait = mean_wait
    if patience == INFINITY:
        return minimum_agents_c(rate, handle, &target, limit)
    return minimum_agents_a(rate, handle, patience, &target, limit)


def limited(long agents, long places, double load):
    """M/M/n/K: (P(blocked), P(delay | admitted), mean queue, mean busy); places counts callers in service too."""
    cdef double rho = load / <double>agents
    cdef double empty = erlang_b_inverse(agents, load)   # states up to all busy, relative to all busy
    cdef double term = 1.0, waiting_states = 0.0, queue = 0.0, last
    cdef long j
    # Relative to the larger end of the queue's states, so that nothing overflows.
    if rho <= 1.0:
        for j in range(1, places - agents + 1):
            term *= rho
            waiting_states += term
            queue += j * term
            if term < TINY * waiting_states and j * term < TINY * queue:
                break
        last = rho ** <double>(places - agents)
    else:
        last = 1.0
        for j in range(places - agents, 0, -1):
            waiting_states += term
            queue += j * term
            term /= rho
            if term < TINY * waiting_states:
                break
        term = rho ** -<double>(places - agents)
        empty *= term
    cdef double total = empty + waiting_states
    cdef double blocked = last / total
    cdef double all_busy = ((1.0 if rho <= 1.0 else term) + waiting_states) / total
    return blocked, (all_busy - blocked) / (1.0 - blocked), queue / total, load * (1.0 - blocked)
