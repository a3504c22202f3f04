/* detmath.h's functions for vectors. Included once per instruction set, with TARGET and FUN(x) (their names) defined: a function
 * must have the instruction set of its caller from the start, as compilers cut up vectors that are too wide before they inline.
 * FUSED is defined where the set has a fused multiply-add; elsewhere C's fma gives the same bits, if slowly. */
#define TO_BITS(x) ((U4)(x))
#define TO_V4(x) ((V4)(x))
#define VEC_INLINE TARGET static inline __attribute__((always_inline, unused))

VEC_INLINE V4 FUN(all)(double x) { return x - (V4){0}; }
VEC_INLINE V4 FUN(pick)(V4 yes, V4 no, U4 mask) { return (V4)(((U4)yes & mask) | ((U4)no & ~mask)); }
VEC_INLINE V4 FUN(clip)(V4 x, double limit) {
    x = FUN(pick)(FUN(all)(limit), x, (U4)(x > limit));
    return FUN(pick)(FUN(all)(-limit), x, (U4)(x < -limit));
}
VEC_INLINE V4 FUN(exp)(V4 x) { DET_EXP(V4, TO_BITS, TO_V4) } /* |x| <= 700 is the caller's to see to */
VEC_INLINE V4 FUN(log)(V4 x) { DET_LOG(V4, U4, TO_BITS, TO_V4) }
VEC_INLINE V4 FUN(rsqrt)(V4 x) { DET_RSQRT(V4, TO_BITS, TO_V4) }

/* a b + c, rounded once. */
VEC_INLINE V4 FUN(fma)(V4 a, V4 b, V4 c) {
#ifdef FUSED
    return (V4)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    return (V4){fma(a[0], b[0], c[0]), fma(a[1], b[1], c[1]), fma(a[2], b[2], c[2]), fma(a[3], b[3], c[3])};
#endif
}

/* w - rate DET_ROUGH / sqrt(x) for normal x > 0, relative error of the step below 7e-4: one Newton step from the exponent-halving
 * guess, its constants and the guess's chosen together so that the largest error is least. It sizes steps of learning, where more
 * digits buy nothing. */
VEC_INLINE V4 FUN(descend)(V4 w, V4 rate, V4 x) {
    V4 y = TO_V4(0x5fdb4f5000000000ULL - (TO_BITS(x) >> 1));
    return FUN(fma)(rate * y, FUN(fma)(x * y, y, FUN(all)(-1.1265)), w);
}

#undef TO_BITS
#undef TO_V4
#undef VEC_INLINE
#undef FUN
