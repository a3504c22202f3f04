# Has something changed? A Bayesian filter of one number that is usually what was learned, and now and then jumps: by how
# much answers are likelier than learned, or durations longer. A grid of sizes, a small chance of a jump to any of them at
# any time (a hidden Markov chain: Shiryaev's problem with unknown sizes), the exact likelihood of what was seen and of
# what was not.
from libc.math cimport exp

cdef enum:
    SIZES = 7
    SAME = 3  # the place of "as learned"

ctypedef struct Change_C:
    double weight[SIZES]
    double size[SIZES]
    double log_size[SIZES]

cdef inline void change_begin(Change_C* c, double step) noexcept nogil:
    cdef int k
    for k in range(SIZES):
        c.weight[k] = 0.0
        c.log_size[k] = step * (k - SAME)
        c.size[k] = exp(c.log_size[k])
    c.weight[SAME] = 1.0

cdef inline void change_learn(Change_C* c, double* likelihood, double jump) noexcept nogil:
    # `likelihood`: logarithms, one a size; `jump`: the chance of a jump meanwhile.
    cdef double most = likelihood[0], total = 0.0
    cdef int k
    for k in range(1, SIZES):
        most = max(most, likelihood[k])
    for k in range(SIZES):
        c.weight[k] = ((1.0 - jump) * c.weight[k] + jump / SIZES) * exp(likelihood[k] - most)
        total += c.weight[k]
    if total > 0.0:
        for k in range(SIZES):
            c.weight[k] /= total

cdef inline int change_sure(Change_C* c, double doubt) noexcept nogil:
    # The most likely size, as steps from "as learned", when that one has become unlikely; else 0.
    cdef int k, best = SAME
    if c.weight[SAME] >= doubt:
        return 0
    for k in range(SIZES):
        if c.weight[k] > c.weight[best]:
            best = k
    return best - SAME

cdef inline void change_fold(Change_C* c, int steps) noexcept nogil:
    # What was learned has been moved by so many steps: what is left to move.
    cdef double moved[SIZES]
    cdef int k
    for k in range(SIZES):
        moved[k] = c.weight[k + steps] if 0 <= k + steps < SIZES else 0.0
    for k in range(SIZES):
        c.weight[k] = moved[k]
