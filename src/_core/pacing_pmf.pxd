# The exact distribution of a sum of independent yes-or-no events, each adding or taking one: answers in flight minus
# agents who become free. One event is one pass over the support (the recursion of Poisson-binomial distributions, Barlow
# & Heidtmann, IEEE Trans. Reliability 33(4), 1984); equal events go in together as a binomial. Both ends of the support
# are trimmed where they hold less than TRIM: `lost` counts what was cut, a bound on the error of every tail.
from libc.math cimport exp, log1p
from libc.string cimport memset

cdef enum:
    PMF_ROOM = 4096
    PMF_ZERO = 2048

cdef extern from *:
    """
    #define PMF_TRIM 1e-12
    """
    const double PMF_TRIM

ctypedef struct Pmf_C:
    double a[PMF_ROOM]
    double b[PMF_ROOM]
    double* x  # the one of the two in use
    int low, high  # the support, as indexes; index PMF_ZERO is the value 0
    double lost

cdef inline void pmf_clear(Pmf_C* f) noexcept nogil:
    f.x = &f.a[0]
    f.low = f.high = PMF_ZERO
    f.a[PMF_ZERO] = 1.0
    f.lost = 0.0

cdef inline double* pmf_other(Pmf_C* f) noexcept nogil:
    if f.x == &f.a[0]:
        return &f.b[0]
    return &f.a[0]

cdef inline void pmf_trim(Pmf_C* f) noexcept nogil:
    while f.low < f.high and f.x[f.low] < PMF_TRIM:
        f.lost += f.x[f.low]
        f.low += 1
    while f.high > f.low and f.x[f.high] < PMF_TRIM:
        f.lost += f.x[f.high]
        f.high -= 1

cdef inline void pmf_one(Pmf_C* f, double q, int step) noexcept nogil:
    # Adds `step` (+1 or -1) with probability q.
    cdef double* x = f.x
    cdef double* y = pmf_other(f)
    cdef double p = 1.0 - q
    cdef int i, low = f.low, high = f.high
    if low <= 1 or high >= PMF_ROOM - 2:
        return  # 2,000 calls beyond the agents: the tail is 1 there already
    if step > 0:
        y[low] = p * x[low]
        for i in range(low + 1, high + 1):
            y[i] = p * x[i] + q * x[i - 1]
        y[high + 1] = q * x[high]
        f.high = high + 1
    else:
        y[low - 1] = q * x[low]
        for i in range(low, high):
            y[i] = p * x[i] + q * x[i + 1]
        y[high] = p * x[high]
        f.low = low - 1
    f.x = y
    pmf_trim(f)

cdef inline void pmf_four(double* y, double* x, int n, double a, double b, double c, double d) noexcept nogil:
    # Four terms of a convolution in one pass; x is 0 for three places beyond either end.
    cdef int i
    for i in range(n):
        y[i] += a * x[i] + b * x[i - 1] + c * x[i - 2] + d * x[i - 3]

cdef inline void pmf_many(Pmf_C* f, int n, double q, int step) noexcept nogil:
    # Adds the sum of n equal events, in groups small enough for a short table of terms.
    cdef int most = n
    if n * q > 40.0:
        most = max(1, <int>(40.0 / q))
    while n > 0:
        pmf_group(f, min(n, most), q, step)
        n -= most

cdef inline void pmf_group(Pmf_C* f, int n, double q, int step) noexcept nogil:
    # A binomial, cut where its terms fall under the trim.
    cdef double term[136]
    cdef double* x = f.x
    cdef double* y
    cdef double odds, t
    cdef int k, terms, first
    if n < 4 or q > 0.5:
        for k in range(n):
            pmf_one(f, q, step)
        return
    odds = q / (1.0 - q)
    t = exp(n * log1p(-q))
    term[0] = t
    terms = 1
    while terms <= n and terms < 128:
        t *= odds * (n - terms + 1) / terms
        if t < PMF_TRIM and terms > n * q:
            break
        term[terms] = t
        terms += 1
    if f.low - terms <= 8 or f.high + terms >= PMF_ROOM - 8:
        return
    y = pmf_other(f)
    first = 0
    while term[first] < PMF_TRIM and first < terms - 1:
        f.lost += term[first]
        first += 1
    while terms & 3 != first & 3:
        term[terms] = 0.0
        terms += 1
    for k in range(1, 4):
        x[f.low - k] = x[f.high + k] = 0.0
    if step > 0:
        memset(&y[f.low + first], 0, (f.high - f.low + terms - first) * sizeof(double))
        for k in range(first, terms, 4):
            pmf_four(&y[f.low + k], &x[f.low], f.high - f.low + 4, term[k], term[k + 1], term[k + 2], term[k + 3])
        f.low += first
        f.high += terms - 1
    else:
        memset(&y[f.low - terms + 1], 0, (f.high - f.low + terms - first) * sizeof(double))
        for k in range(first, terms, 4):
            pmf_four(&y[f.low - k - 3], &x[f.low], f.high - f.low + 4, term[k + 3], term[k + 2], term[k + 1], term[k])
        f.high -= first
        f.low -= terms - 1
    f.x = y
    pmf_trim(f)

cdef inline double pmf_tail(Pmf_C* f, int value) noexcept nogil:
    # P(sum >= value).
    cdef int i, start = value + PMF_ZERO
    cdef double total = 0.0
    if start <= f.low:
        return 1.0
    for i in range(start, f.high + 1):
        total += f.x[i]
    return total
