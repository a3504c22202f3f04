/* exp and log that give the same bits on every machine: additions, multiplications and integer steps alone. A C
 * library picks its own exp by processor, so two machines' models would drift apart. Compile with -ffp-contract=off. */
#ifndef CORDBOARD_DETMATH_H
#define CORDBOARD_DETMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if !defined(__GNUC__)
#error "cordboard is built with GCC or Clang: it uses their vectors"
#endif
#define DET_INLINE static inline __attribute__((always_inline))

#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are passed between inlined functions only */
DET_INLINE double det_from_bits(uint64_t bits) { double x; memcpy(&x, &bits, 8); return x; }
DET_INLINE uint64_t det_bits(double x) { uint64_t bits; memcpy(&bits, &x, 8); return bits; }

/* Four doubles; any alignment, so that NumPy's arrays will do. detvec_body.h has the functions for them. */
typedef double V4 __attribute__((vector_size(32), aligned(8)));
typedef uint64_t U4 __attribute__((vector_size(32), aligned(8)));

/* exp(x) for |x| <= 700, relative error below 1e-11. x = k ln 2 + r, |r| <= ln2/2; Taylor polynomial of degree 9, summed in
 * pairs (Estrin) so that a processor can work at several terms at once. (1.5 * 2^52 added to a double rounds it to an
 * integer, kept in the low bits.) */
#define DET_EXP(T, BITS, FROM)                                                                                        \
    T t = x * 1.4426950408889634 + 6755399441055744.0, k = t - 6755399441055744.0;                                    \
    T r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;                                         \
    T r2 = r * r, r4 = r2 * r2;                                                                                       \
    T low = (r + 1.0) + (r * (1.0 / 6.0) + 0.5) * r2;                                                                 \
    T mid = (r * (1.0 / 120.0) + 1.0 / 24.0) + (r * (1.0 / 5040.0) + 1.0 / 720.0) * r2;                               \
    T high = r * (1.0 / 362880.0) + 1.0 / 40320.0;                                                                    \
    return (low + mid * r4 + high * (r4 * r4)) * FROM((BITS(t) + 1023u) << 52);

/* ln(x) for normal x > 0, absolute error below 1e-12 (1 + |ln x|). x = 2^k m, m in [sqrt(1/2), sqrt 2); series of atanh.
 * The exponent becomes a double without an integer conversion, which SSE2 and AVX2 lack for 64 bits. */
#define DET_LOG(T, U, BITS, FROM)                                                                                     \
    U bits = BITS(x) - 0x3fe6a09e667f3bcdULL;                                                                         \
    T m = FROM((bits & 0x000fffffffffffffULL) + 0x3fe6a09e667f3bcdULL);                                               \
    T k = FROM(((bits >> 52) ^ 0x800u) | 0x4330000000000000ULL) - 4503599627372544.0;                                 \
    T s = (m - 1.0) / (m + 1.0), q = s * s, q2 = q * q;                                                               \
    T p = (q * (1.0 / 5.0) + 1.0 / 3.0) + (q * (1.0 / 9.0) + 1.0 / 7.0) * q2 + (q * (1.0 / 13.0) + 1.0 / 11.0) * (q2 * q2); \
    return k * 0.693147180559945309417 + s * 2.0 * (p * q + 1.0);

/* 1/sqrt(x) for normal x > 0, relative error below 5e-6: two Newton steps from the exponent-halving guess. Three times as fast
 * as a square root and a division. */
#define DET_RSQRT(T, BITS, FROM)                                                                                      \
    T y = FROM(0x5fe6eb50c7b537a9ULL - (BITS(x) >> 1)), h = x * 0.5;                                                  \
    y = y * (1.5 - h * y * y);                                                                                        \
    return y * (1.5 - h * y * y);

/* What the steps of FUN(descend) in detvec_body.h are multiplied by. */
#define DET_ROUGH (1.0 / 2.1744)

DET_INLINE double det_clip(double x, double limit) { x = x > limit ? limit : x; return x < -limit ? -limit : x; }
DET_INLINE double det_exp(double x) { x = det_clip(x, 700.0); DET_EXP(double, det_bits, det_from_bits) }
DET_INLINE double det_log(double x) { DET_LOG(double, uint64_t, det_bits, det_from_bits) }
DET_INLINE double det_rsqrt(double x) { DET_RSQRT(double, det_bits, det_from_bits) }
DET_INLINE double det_sigmoid(double z) { return 1.0 / (1.0 + det_exp(-z)); }

#endif
