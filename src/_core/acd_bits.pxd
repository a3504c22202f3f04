# Bit sets: arrays of 64-bit words. A pool's set has a summary (one bit a word), so that the next member is found
# without reading the empty words between.
from libc.stdint cimport int32_t, uint64_t

cdef extern from *:
    """
    #define cb_lowest(x) ((int)__builtin_ctzll((unsigned long long)(x)))
    #define cb_count(x) ((int)__builtin_popcountll((unsigned long long)(x)))
    """
    int bit_lowest "cb_lowest"(uint64_t x) noexcept nogil  # x != 0
    int bit_count "cb_count"(uint64_t x) noexcept nogil

cdef inline void bit_set(uint64_t* words, int32_t i) noexcept nogil:
    words[i >> 6] |= <uint64_t>1 << (i & 63)

cdef inline void bit_clear(uint64_t* words, int32_t i) noexcept nogil:
    words[i >> 6] &= ~(<uint64_t>1 << (i & 63))

cdef inline bint bit_get(const uint64_t* words, int32_t i) noexcept nogil:
    return (words[i >> 6] >> (i & 63)) & 1

cdef inline int32_t bit_words(int32_t n) noexcept nogil:
    return (n + 63) >> 6

cdef inline void bits_add(uint64_t* words, uint64_t* summary, int32_t i) noexcept nogil:
    bit_set(words, i)
    bit_set(summary, i >> 6)

cdef inline void bits_remove(uint64_t* words, uint64_t* summary, int32_t i) noexcept nogil:
    bit_clear(words, i)
    if words[i >> 6] == 0:
        bit_clear(summary, i >> 6)

cdef inline int32_t bits_next(const uint64_t* words, const uint64_t* summary, int32_t n_words, int32_t start) noexcept nogil:
    # The first member >= start, or -1.
    cdef int32_t w = start >> 6
    cdef int32_t s
    cdef uint64_t found
    if w >= n_words:
        return -1
    found = words[w] & (~<uint64_t>0 << (start & 63))
    if found:
        return (w << 6) + bit_lowest(found)
    w += 1
    s = w >> 6
    if w >= n_words:
        return -1
    found = summary[s] & (~<uint64_t>0 << (w & 63))
    while found == 0:
        s += 1
        if s >= bit_words(n_words):
            return -1
        found = summary[s]
    w = (s << 6) + bit_lowest(found)
    return (w << 6) + bit_lowest(words[w])
