"""Draws from probability laws for the simulation kernel; see ``cordboard.simulation.laws`` for the laws by name."""

from libc.math cimport INFINITY
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

import numpy as np


cdef double TWO_PI = 6.283185307179586


cdef double normal(uint64_t* x) noexcept nogil:
    # Box and Muller (Annals of Mathematical Statistics 29, 1958): one of the pair, so that a draw keeps no state.
    cdef double radius = sqrt(-2.0 * log(unit(x)))
    return radius * cos(TWO_PI * unit(x))


cdef double gamma_draw(double shape, uint64_t* x) noexcept nogil:
    # Marsaglia and Tsang (ACM TOMS 26:363, 2000); a shape under 1 by their boost: Gamma(s) = Gamma(s + 1) * U ** (1 / s).
    cdef double boost = 1.0, d, c, v, z
    if shape < 1.0:
        boost = pow(unit(x), 1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / sqrt(9.0 * d)
    while True:
        z = normal(x)
        v = 1.0 + c * z
        if v <= 0.0:
            continue
        v = v * v * v
        if log(unit(x)) < 0.5 * z * z + d - d * v + d * log(v):
            return boost * d * v


cdef double erlang(int stages, uint64_t* x) noexcept nogil:
    cdef double product = 1.0, total = 0.0
    cdef int i
    for i in range(stages):
        product *= unit(x)
        if i & 15 == 15:  # sixteen factors of at least 2 ** -53 stay far above the smallest double
            total -= log(product)
            product = 1.0
    return total - log(product)


cdef int find_step(const double* cumulative, int n, double u) noexcept nogil:
    # The first i with u <= cumulative[i], or n. Invariant: cumulative[0..low) < u <= cumulative[high..n).
    cdef int low = 0, high = n, middle
    while low < high:
        middle = (low + high) >> 1
        if cumulative[middle] < u:
            low = middle + 1
        else:
            high = middle
    return low


cdef double law_draw_rare(const Law_C* laws, int law, uint64_t* x) noexcept nogil:
    cdef const Law_C* one = &laws[law]
    cdef int i
    if one.kind == LAW_UNIFORM:
        return one.b - (one.b - one.a) * unit(x)
    if one.kind == LAW_ERLANG:
        return erlang(one.n, x) * one.a
    if one.kind == LAW_GAMMA:
        return gamma_draw(one.a, x) * one.b
    if one.kind == LAW_LOGNORMAL:
        return exp(one.a + one.b * normal(x))
    if one.kind == LAW_WEIBULL:
        return one.b * pow(-log(unit(x)), one.a)
    if one.kind == LAW_MIXTURE:
        i = find_step(one.table, one.n - 1, unit(x))
        return law_draw(laws, <int>one.table[one.n + i], x)
    if one.kind == LAW_EMPIRICAL:
        i = find_step(one.table, one.n, unit(x))
        if i < one.n:
            return one.table[one.n + i]
        return one.table[2 * one.n - 1] - log(unit(x)) * one.a
    return INFINITY


cdef int laws_fill(Law_C* laws, const int[:] kinds, const int[:] counts, const double[:, :] parameters,
                   const int[:] offsets, const double* tables) noexcept nogil:
    # Points every law into `tables`, which must outlive the laws.
    cdef int i
    for i in range(kinds.shape[0]):
        laws[i].kind = kinds[i]
        laws[i].n = counts[i]
        laws[i].a = parameters[i, 0]
        laws[i].b = parameters[i, 1]
        laws[i].table = tables + offsets[i]
    return 0


def draw(const int[:] kinds, const int[:] counts, const double[:, :] parameters, const int[:] offsets,
         const double[:] tables, int law, int n, uint64_t seed):
    """``n`` independent draws (float64, seconds) of one law of an encoded set; for tests and for plots."""
    if not 0 <= law < kinds.shape[0]:
        raise IndexError(f"law {law} of {kinds.shape[0]}")
    cdef double[:] out = np.empty(n)
    cdef uint64_t key = seed, state
    cdef int i
    cdef Law_C* laws = <Law_C*>malloc(kinds.shape[0] * sizeof(Law_C))
    if laws == NULL:
        raise MemoryError
    with nogil:
        laws_fill(laws, kinds, counts, parameters, offsets, &tables[0])
        for i in range(n):
            state = splitmix64(&key)
            out[i] = law_draw(laws, law, &state)
    free(laws)
    return np.asarray(out)
