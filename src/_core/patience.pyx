"""Laws of patience, and M/M/n+G by integration.

With H(x) the integral of the survival of patience from 0 to x, and phi(x) = rate * H(x) - n mu x, the wait that is offered
to an arrival has density rate * P(n-1 busy) * exp(phi(x)), and every measure is an integral of it against something
positive (Baccelli & Hebuterne 1981; Zeltyn & Mandelbaum 2005, Queueing Systems 51:361). phi is concave: there is one
hill to integrate, relative to its top, so that nothing overflows.
"""

from libc.math cimport INFINITY, NAN, ceil, erfc, exp, expm1, fabs, fmax, fmin, log, sqrt

cdef double TINY = 1e-18               # a term smaller than this share of its sum changes nothing
cdef double DEEP = 745.0               # exp(-DEEP) is the smallest double
cdef double STEP = 6.0                 # phi changes by no more than this in one panel

# Gauss and Legendre's rule with 16 points: the positive half of its nodes on [-1, 1], and their weights.
cdef double[8] NODES = [
    0.09501250983763744, 0.2816035507792589, 0.45801677765722737, 0.6178762444026438,
    0.755404408355003, 0.8656312023878318, 0.9445750230732326, 0.9894009349916499]
cdef double[8] WEIGHTS = [
    0.18945061045506850, 0.18260341504492358, 0.16915651939500254, 0.14959598881657673,
    0.12462897125553387, 0.09515851168249279, 0.06225352393864789, 0.02715245941175409]


cdef void set_nan(Measures_C* m) noexcept nogil:
    m.wait_probability = m.abandonment = m.mean_wait = m.mean_wait_served = NAN
    m.mean_offered_wait = m.service_level = m.occupancy = m.queue_length = NAN


cdef void poisson_tails(double y, long k, double log_factorial, double* below, double* at, double* above) noexcept nogil:
    """P(N < k), P(N = k), P(N >= k) for N Poisson with mean y; the smaller tail summed, the other its complement."""
    cdef double term, total
    cdef long i
    if y <= 0.0:
        below[0], at[0], above[0] = 1.0, 0.0, 0.0
        return
    at[0] = exp(k * log(y) - y - log_factorial)
    if y < <double>k:
        term = total = at[0]
        i = k
        while term > TINY * total:
            i += 1
            term *= y / i
            total += term
        above[0] = total
        below[0] = 1.0 - total
        return
    term = at[0] * k / y
    total = term
    i = k - 1
    while i > 0 and term > TINY * total:
        term *= i / y
        total += term
        i -= 1
    below[0] = total
    above[0] = 1.0 - total


cdef long step_at(const Law_C* law, double x) noexcept nogil:
    """Index of the last step at or before x; -1 before the first."""
    # Invariant: a[0..low-1] <= x, a[high..size-1] > x.
    cdef long low = 0, high = law.size, middle
    while low < high:
        middle = (low + high) // 2
        if law.a[middle] <= x:
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef void law_at(const Law_C* law, double x, double* stays, double* gone, double* area) noexcept nogil:
    """P(patience > x), P(patience <= x) and the integral of the first from 0 to x; both tails without cancellation."""
    cdef double y, at
    cdef long i
    if law.kind == LAW_MIXTURE:
        stays[0] = gone[0] = area[0] = 0.0
        for i in range(law.size):
            y = -law.a[i] * expm1(-x / law.b[i])
            gone[0] += y
            stays[0] += law.a[i] * exp(-x / law.b[i])
            area[0] += law.b[i] * y
    elif law.kind == LAW_UNIFORM:
        y = fmin(fmax(x - law.p0, 0.0), law.p1 - law.p0)
        gone[0] = y / (law.p1 - law.p0)
        stays[0] = fmax(law.p1 - fmax(x, law.p0), 0.0) / (law.p1 - law.p0)
        area[0] = fmin(x, law.p0) + y * (1.0 - 0.5 * y / (law.p1 - law.p0))
    elif law.kind == LAW_ERLANG:
        poisson_tails(x * law.p0, law.size, law.p1, stays, &at, gone)
        area[0] = x * stays[0] + law.mean * (gone[0] - at)
    elif law.kind == LAW_LOGNORMAL:
        y = (log(x) - law.p0) / law.p1 if x > 0.0 else -INFINITY
        stays[0] = 0.5 * erfc(y * 0.7071067811865476)
        gone[0] = 0.5 * erfc(-y * 0.7071067811865476)
        area[0] = x * stays[0] + law.mean * 0.5 * erfc((law.p1 - y) * 0.7071067811865476)
    else:
        i = step_at(law, x)
        stays[0] = law.b[i] if i >= 0 else 1.0
        gone[0] = 1.0 - stays[0]
        area[0] = law.area[i] + (x - law.a[i]) * law.b[i] if i >= 0 else x


cdef double next_break(const Law_C* law, double x, double within) noexcept nogil:
    """The next point after x where an integrand has a corner or a jump; inf if there is none."""
    cdef double at = within if within > x else INFINITY
    cdef long i
    if law.kind == LAW_UNIFORM:
        if law.p0 > x:
            at = fmin(at, law.p0)
        elif law.p1 > x:
            at = fmin(at, law.p1)
    elif law.kind == LAW_STEPS:
        i = step_at(law, x) + 1
        if i < law.size:
            at = fmin(at, law.a[i])
    return at


# The integrals over a panel, each of exp(phi - top) times:
cdef enum:
    OF_ONE = 0
    OF_STAYS = 1           # survival of patience
    OF_GONE = 2            # its complement
    OF_AREA = 3            # integral of survival
    OF_X = 4
    OF_X_STAYS = 5
    PARTS = 6

ctypedef struct Hill_C:
    const Law_C* law
    double rate
    double drain
    double top             # phi's maximum
    double noise           # relative error that rounding phi makes in exp(phi)
    double[PARTS] scale    # first estimate of each integral over the whole line


cdef double phi(const Hill_C* hill, double x) noexcept nogil:
    cdef double stays, gone, area
    law_at(hill.law, x, &stays, &gone, &area)
    return hill.rate * area - hill.drain * x


cdef void panel(const Hill_C* hill, double low, double high, double* parts) noexcept nogil:
    cdef double half = 0.5 * (high - low), middle = 0.5 * (high + low)
    cdef double x, weight, stays, gone, area
    cdef int i, p
    for p in range(PARTS):
        parts[p] = 0.0
    for i in range(16):
        x = middle + half * (NODES[i] if i < 8 else -NODES[i - 8])
        law_at(hill.law, x, &stays, &gone, &area)
        weight = half * WEIGHTS[i & 7] * exp(hill.rate * area - hill.drain * x - hill.top)
        parts[OF_ONE] += weight
        parts[OF_STAYS] += weight * stays
        parts[OF_GONE] += weight * gone
        parts[OF_AREA] += weight * area
        parts[OF_X] += weight * x
        parts[OF_X_STAYS] += weight * x * stays


cdef void refine(
        const Hill_C* hill, double low, double high, const double* whole, int depth, double* sums) noexcept nogil:
    """Add the panel's integrals to sums, halved until halving changes nothing that counts."""
    cdef double[PARTS] left
    cdef double[PARTS] right
    cdef double middle = 0.5 * (low + high), both
    cdef bint good = True
    cdef int p
    panel(hill, low, middle, left)
    panel(hill, middle, high, right)
    for p in range(PARTS):
        both = left[p] + right[p]
        if fabs(both - whole[p]) > hill.noise * both + 1e-16 * hill.scale[p]:
            good = False
    if good or depth == 0:
        for p in range(PARTS):
            sums[p] += left[p] + right[p]
        return
    refine(hill, low, middle, left, depth - 1, sums)
    refine(hill, middle, high, right, depth - 1, sums)


cdef double march(const Hill_C* hill, double low, double step, double within) noexcept nogil:
    """The end of the panel that starts at low: short enough that phi changes by at most STEP, and with no break inside."""
    cdef double here = phi(hill, low)
    cdef double high = fmin(low + step, next_break(hill.law, low, within))
    # phi is concave: at most STEP at the middle and at the end bounds it everywhere by 2 STEP.
    while high - low > 1e-14 * high and (
            fabs(phi(hill, high) - here) > STEP or fabs(phi(hill, 0.5 * (low + high)) - here) > STEP):
        high = 0.5 * (low + high)
    return high


cdef void integrate(
        const Hill_C* hill, double start, double end, double within, bint fine, double* below, double* above) noexcept nogil:
    """The integrals from start to end, apart for below and above `within`; coarse, or refined against hill.scale."""
    cdef double[PARTS] parts
    cdef double* sums
    cdef double low = start, high, step = end - start
    cdef int p
    for p in range(PARTS):
        below[p] = above[p] = 0.0
    while low < end:
        high = fmin(march(hill, low, step, within), end)
        if not high > low:
            return
        sums = below if high <= within else above
        panel(hill, low, high, parts)
        if fine:
            refine(hill, low, high, parts, 40, sums)
        else:
            for p in range(PARTS):
                sums[p] += parts[p]
        step = 2.0 * (high - low)
        low = high


cdef double find_top(const Hill_C* hill) noexcept nogil:
    """Where phi is greatest: survival has fallen to drain / rate there; -1 if it never does."""
    cdef double low = 0.0, high, middle, stays, gone, area
    cdef int i
    if hill.rate <= hill.drain:
        return 0.0
    high = hill.law.mean
    for i in range(1100):
        law_at(hill.law, high, &stays, &gone, &area)
        if hill.rate * stays < hill.drain:
            break
        high *= 2.0
    else:
        return -1.0
    for i in range(200):
        middle = 0.5 * (low + high)
        law_at(hill.law, middle, &stays, &gone, &area)
        if hill.rate * stays > hill.drain:
            low = middle
        else:
            high = middle
    return high


cdef double find_depth(const Hill_C* hill, double inside, double outside) noexcept nogil:
    """A point between where phi is DEEP under its top, by halving; `inside` is above that, `outside` below it."""
    cdef double middle
    cdef int i
    for i in range(60):
        middle = 0.5 * (inside + outside)
        if phi(hill, middle) < hill.top - DEEP:
            outside = middle
        else:
            inside = middle
    return outside


cdef void general_measures(
        Measures_C* m, const Law_C* law, long n, double rate, double handle, double within, double free) noexcept nogil:
    cdef Hill_C hill
    cdef double[PARTS] below
    cdef double[PARTS] above
    cdef double at, start, end, start_density
    cdef int i, p
    hill.law = law
    hill.rate = rate
    hill.drain = <double>n / handle
    hill.top = 0.0
    at = find_top(&hill)
    if at < 0.0 or (law.kind == LAW_STEPS and rate * law.b[law.size - 1] >= hill.drain):
        set_nan(m)
        return
    hill.top = fmax(phi(&hill, at), 0.0)
    law_at(law, at, &end, &start_density, &start)
    hill.noise = fmax(1e-13, 1e-15 * rate * start)
    start = 0.0
    if hill.top > DEEP:
        start = find_depth(&hill, at, 0.0)
    end = fmax(at, handle / <double>n)
    for i in range(1100):
        end *= 2.0
        if phi(&hill, end) < hill.top - DEEP:
            break
    end = find_depth(&hill, at, end)
    integrate(&hill, start, end, within, False, below, above)
    for p in range(PARTS):
        hill.scale[p] = below[p] + above[p]
    integrate(&hill, start, end, within, True, below, above)
    # The density of the offered wait is rate * P(n-1 busy) * exp(phi); P(a free agent) = P(n-1 busy) / B(n-1).
    if hill.top > 0.0:
        free *= exp(-hill.top)
        start_density = 1.0 / (free + rate * (below[OF_ONE] + above[OF_ONE]))
        free *= start_density
    else:
        start_density = 1.0 / free
        free = 1.0 / (1.0 + rate * start_density * (below[OF_ONE] + above[OF_ONE]))
        start_density *= free
    for p in range(PARTS):
        below[p] *= rate * start_density
        above[p] *= rate * start_density
    law_at(law, 0.0, &at, &end, &start)
    m.wait_probability = (below[OF_ONE] + above[OF_ONE]) * at
    m.abandonment = below[OF_GONE] + above[OF_GONE]
    m.mean_wait = below[OF_AREA] + above[OF_AREA]
    m.mean_offered_wait = below[OF_X] + above[OF_X]
    m.service_level = free + below[OF_STAYS]
    at = free + below[OF_STAYS] + above[OF_STAYS]        # P(served)
    m.mean_wait_served = (below[OF_X_STAYS] + above[OF_X_STAYS]) / at
    m.occupancy = rate * handle * at / <double>n
    m.queue_length = rate * m.mean_wait


cdef double served_density(double rate, double drain, double theta, double x, double log_empty) noexcept nogil:
    """Density of the offered wait at x, times the survival of patience there."""
    return exp(-rate * expm1(-theta * x) / theta - (drain + theta) * x + log_empty)


cdef double served_within(double rate, double drain, double theta, double within, double log_empty) noexcept nogil:
    """Integral of served_density from 0 to `within`, by panels in which the exponent changes little."""
    cdef double slope = fmax(fabs(rate - drain), fabs(rate * exp(-theta * within) - drain)) + theta
    cdef double width = 1.0 / (slope / STEP + sqrt(rate * theta) / 3.0 + theta)
    cdef double panels = ceil(within / width)
    cdef double half, middle, part, total = 0.0
    cdef double k = 0.0
    cdef int i
    if panels < 1.0:
        return 0.0
    half = 0.5 * within / panels
    while k < panels:
        middle = (2.0 * k + 1.0) * half
        part = 0.0
        for i in range(8):
            part += WEIGHTS[i] * (
                served_density(rate, drain, theta, middle - half * NODES[i], log_empty)
                + served_density(rate, drain, theta, middle + half * NODES[i], log_empty))
        part *= half * rate
        total += part
        # Past the top of its one hill the density only falls.
        if part <= TINY * total and rate * exp(-theta * middle) < drain + theta:
            break
        k += 1.0
    return total
