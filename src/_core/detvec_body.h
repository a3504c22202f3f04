/* detmath.h's functions for vectors. Included once per instruction set, with TARGET and FUN(x) (their names) defined: a function
 * must have the instruction set of its caller from the start, as compilers cut up vectors that are too wide before they inline. */
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
VEC_INLINE V4 FUN(rsqrt_rough)(V4 x) { DET_RSQRT_ROUGH(V4, TO_BITS, TO_V4) }

#undef TO_BITS
#undef TO_V4
#undef VEC_INLINE
#undef FUN
