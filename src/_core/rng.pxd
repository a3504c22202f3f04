# Random numbers as an argument: a generator is a struct that its owner seeds and stores. Inline, because a simulated
# call draws several. xoshiro256++ (Blackman & Vigna, "Scrambled linear pseudorandom number generators", 2021),
# seeded through splitmix64 (Steele, Lea & Flood, OOPSLA 2014), as its authors recommend.
from libc.stdint cimport uint64_t
from libc.math cimport log

ctypedef struct Rng_C:
    uint64_t s0
    uint64_t s1
    uint64_t s2
    uint64_t s3

cdef inline uint64_t splitmix64(uint64_t* x) noexcept nogil:
    x[0] += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t z = x[0]
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)

cdef inline void rng_seed(Rng_C* r, uint64_t seed, uint64_t stream) noexcept nogil:
    # Streams of one seed are independent draws of splitmix64, so common random numbers keep one stream a purpose.
    cdef uint64_t x = seed
    cdef uint64_t y = stream
    x = splitmix64(&x) ^ splitmix64(&y)
    r.s0 = splitmix64(&x)
    r.s1 = splitmix64(&x)
    r.s2 = splitmix64(&x)
    r.s3 = splitmix64(&x)

cdef inline uint64_t rng_rotl(uint64_t x, int k) noexcept nogil:
    return (x << k) | (x >> (64 - k))

cdef inline uint64_t rng_next(Rng_C* r) noexcept nogil:
    cdef uint64_t result = rng_rotl(r.s0 + r.s3, 23) + r.s0
    cdef uint64_t t = r.s1 << 17
    r.s2 ^= r.s0
    r.s3 ^= r.s1
    r.s1 ^= r.s2
    r.s0 ^= r.s3
    r.s2 ^= t
    r.s3 = rng_rotl(r.s3, 45)
    return result

cdef inline double rng_uniform(Rng_C* r) noexcept nogil:
    # In (0, 1]: its logarithm is finite.
    return <double>((rng_next(r) >> 11) + 1) * (1.0 / 9007199254740992.0)

cdef inline double rng_exponential(Rng_C* r) noexcept nogil:
    return -log(rng_uniform(r))

cdef inline uint64_t rng_below(Rng_C* r, uint64_t n) noexcept nogil:
    # Uniform on 0..n-1 by rejection (no modulo bias); n > 0.
    cdef uint64_t limit = <uint64_t>0 - ((<uint64_t>0 - n) % n)
    cdef uint64_t x = rng_next(r)
    while limit != 0 and x >= limit:
        x = rng_next(r)
    return x % n
