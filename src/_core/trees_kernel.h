/* Evaluation of compiled tree ensembles. The text of trees.pyx says how; here are the loops, once per instruction set. */
#ifndef CORDBOARD_TREES_KERNEL_H
#define CORDBOARD_TREES_KERNEL_H

#include <stdint.h>
#include <string.h>

#include "detmath.h"

enum {
    TREES_BLOCK = 256,     /* rows evaluated together: four vectors of 64 bytes */
    TREES_COLUMNS = 256,   /* ranked columns at most */
    TREES_RANKS = 254,     /* thresholds of one feature at most: rank 255 is kept for missing values that go right */
    TREES_TOGETHER = 6,    /* trees walked side by side for a single row */
    TREES_LEAVES = 256,    /* leaves of one tree at most */
    TREES_FLUSH = 128      /* trees after which the 32-bit sums are carried to 64 bits: 128 * 2^24 < 2^32 */
};

/* For single rows: siblings are neighbours, child = left + (rank > thr). A leaf is its own left child with thr = 255. */
typedef struct {
    uint8_t column; /* of a leaf: its label */
    uint8_t thr;
    uint16_t left;
} TreeNode;

/* For blocks: nodes in pre-order. A row stands at the node if its label is the node's; it takes `right` if it goes right and
 * keeps its label if it goes left, so that the label at the end is the leaf's. */
typedef struct {
    uint8_t column, thr, label, right;
} TreeStep;

typedef struct {
    int n_features, n_columns, n_trees;
    const double *thresholds;     /* [n_features][256], ascending, padded with +inf */
    const int32_t *n_thresholds;  /* [n_features] */
    const int32_t *columns;       /* [n_columns][2]: feature, 1 = missing goes left */
    const TreeNode *nodes;
    const int32_t *node_start, *depth; /* [n_trees], trees in order of depth */
    const TreeStep *steps;
    const int32_t *step_start;    /* [n_trees + 1] */
    const int64_t *leaves;        /* [n_trees][stride], fixed point: value * 2^shift */
    const int32_t *leaf_low, *leaf_high; /* [n_trees][64]: low 24 bits, the rest; trees of at most 64 leaves */
    const int32_t *n_leaves;
    int stride;
    double unit, baseline;        /* 2^-shift; log-odds without any tree */
} TreeEnsemble;

/* rank = number of thresholds below x, by bisection without branches, for four values at once so that a processor need not
 * wait for one; NaN compares false everywhere and gets 0. The tables have 256 places, the last of them +inf. */
DET_INLINE void trees_rank4(const double *const *thr, const double *x, uint32_t *at) {
    uint32_t a = 0, b = 0, c = 0, d = 0;
    for (uint32_t step = 128; step > 0; step >>= 1) {
        a += step & -(uint32_t)(thr[0][a + step - 1] < x[0]);
        b += step & -(uint32_t)(thr[1][b + step - 1] < x[1]);
        c += step & -(uint32_t)(thr[2][c + step - 1] < x[2]);
        d += step & -(uint32_t)(thr[3][d + step - 1] < x[3]);
    }
    at[0] = a, at[1] = b, at[2] = c, at[3] = d;
}

DET_INLINE uint32_t trees_next(const TreeNode *tree, uint32_t at, const uint8_t *q) {
    uint32_t node; /* one load: column, thr, left from the lowest byte up */
    memcpy(&node, tree + at, 4);
    return (node >> 16) + (q[node & 255] > ((node >> 8) & 255));
}

static double trees_one(const TreeEnsemble *e, const double *x) {
    uint8_t q[TREES_COLUMNS + 4];
    int64_t total = 0;
    for (int c = 0; c < e->n_columns; c += 4) {
        const double *thr[4];
        double v[4];
        uint32_t at[4];
        for (int k = 0; k < 4; k++) {
            int f = e->columns[2 * (c + k < e->n_columns ? c + k : c)];
            thr[k] = e->thresholds + (size_t)f * 256;
            v[k] = x[f];
        }
        trees_rank4(thr, v, at);
        for (int k = 0; k < 4 && c + k < e->n_columns; k++)
            q[c + k] = v[k] == v[k] ? (uint8_t)at[k] : e->columns[2 * (c + k) + 1] ? 0 : 255;
    }
    int t = 0;
    for (; t + TREES_TOGETHER <= e->n_trees; t += TREES_TOGETHER) {
        const int32_t *start = e->node_start + t;
        const TreeNode *n0 = e->nodes + start[0], *n1 = e->nodes + start[1], *n2 = e->nodes + start[2];
        const TreeNode *n3 = e->nodes + start[3], *n4 = e->nodes + start[4], *n5 = e->nodes + start[5];
        uint32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0;
        for (int level = e->depth[t + TREES_TOGETHER - 1]; level > 0; level--) {
            a0 = trees_next(n0, a0, q), a1 = trees_next(n1, a1, q), a2 = trees_next(n2, a2, q);
            a3 = trees_next(n3, a3, q), a4 = trees_next(n4, a4, q), a5 = trees_next(n5, a5, q);
        }
        const int64_t *leaves = e->leaves + (size_t)t * e->stride;
        total += leaves[n0[a0].column] + leaves[e->stride + n1[a1].column] + leaves[2 * e->stride + n2[a2].column];
        leaves += 3 * (size_t)e->stride;
        total += leaves[n3[a3].column] + leaves[e->stride + n4[a4].column] + leaves[2 * e->stride + n5[a5].column];
    }
    for (; t < e->n_trees; t++) {
        const TreeNode *tree = e->nodes + e->node_start[t];
        uint32_t at = 0;
        for (int level = e->depth[t]; level > 0; level--) at = trees_next(tree, at, q);
        total += e->leaves[(size_t)t * e->stride + tree[at].column];
    }
    return e->baseline + (double)total * e->unit;
}

/* ranks of a block's values of one feature */
static void trees_rank_portable(const double *thr, const double *v, uint8_t *rank) {
    const double *table[4] = {thr, thr, thr, thr};
    uint32_t at[4];
    for (int r = 0; r < TREES_BLOCK; r += 4) {
        trees_rank4(table, v + r, at);
        for (int k = 0; k < 4; k++) rank[r + k] = (uint8_t)at[k];
    }
}

/* A block through every node of every tree, in vectors V of the width that the target has. */
#define TREES_BLOCK_FUNCTION(NAME, TARGET, V)                                                                          \
    TARGET static void NAME(const TreeEnsemble *e, uint8_t (*q)[TREES_BLOCK], int64_t *total) {                       \
        uint8_t at[TREES_BLOCK];                                                                                      \
        memset(total, 0, TREES_BLOCK * sizeof *total);                                                                \
        for (int t = 0; t < e->n_trees; t++) {                                                                        \
            const int64_t *leaves = e->leaves + (size_t)t * e->stride;                                                \
            const TreeStep *end = e->steps + e->step_start[t + 1];                                                    \
            for (int r = 0; r < TREES_BLOCK; r += 4 * (int)sizeof(V)) {                                               \
                V at0 = {0}, at1 = {0}, at2 = {0}, at3 = {0};                                                         \
                for (const TreeStep *s = e->steps + e->step_start[t]; s < end; s++) {                                 \
                    const V *column = (const V *)(q[s->column] + r);                                                  \
                    V thr = (V){0} + s->thr, label = (V){0} + s->label, right = (V){0} + s->right, go;                \
                    TREES_GO_VECTOR(V, at0, column[0])                                                                \
                    TREES_GO_VECTOR(V, at1, column[1])                                                                \
                    TREES_GO_VECTOR(V, at2, column[2])                                                                \
                    TREES_GO_VECTOR(V, at3, column[3])                                                                \
                }                                                                                                     \
                V *to = (V *)(at + r);                                                                                \
                to[0] = at0, to[1] = at1, to[2] = at2, to[3] = at3;                                                   \
            }                                                                                                         \
            for (int r = 0; r < TREES_BLOCK; r++) total[r] += leaves[at[r]];                                          \
        }                                                                                                             \
    }
#define TREES_GO_VECTOR(V, at, x)                                                                                      \
    go = (V)(at == label) & (V)(x > thr);                                                                             \
    at = (right & go) | (at & ~go);

typedef uint8_t B16 __attribute__((vector_size(16), aligned(1)));
TREES_BLOCK_FUNCTION(trees_block_portable, , B16)

#if defined(__x86_64__)
#include <immintrin.h>

typedef uint8_t B32 __attribute__((vector_size(32), aligned(1)));
TREES_BLOCK_FUNCTION(trees_block_avx2, __attribute__((target("avx2"))), B32)

#define TREES_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

/* The same, 8 rows at a time: the first four steps among 16 pivots in registers, the others by gathering. */
TREES_AVX512 static void trees_rank_avx512(const double *thr, int n_thr, const double *v, uint8_t *rank) {
    double pivot[16];
    int few = n_thr < 16;
    for (int i = 0; i < 16; i++) pivot[i] = few ? thr[i] : thr[16 * i + 15];
    __m512d p0 = _mm512_loadu_pd(pivot), p1 = _mm512_loadu_pd(pivot + 8);
    for (int r = 0; r < TREES_BLOCK; r += 8) {
        __m512d x = _mm512_loadu_pd(v + r);
        __m512i at = _mm512_setzero_si512();
        for (int step = 8; step > 0; step >>= 1) {
            __m512i next = _mm512_add_epi64(at, _mm512_set1_epi64(step));
            __m512i probe = _mm512_sub_epi64(next, _mm512_set1_epi64(1));
            at = _mm512_mask_mov_epi64(
                at, _mm512_cmp_pd_mask(_mm512_permutex2var_pd(p0, probe, p1), x, _CMP_LT_OQ), next);
        }
        if (!few) {
            at = _mm512_slli_epi64(at, 4);
            for (int step = 8; step > 0; step >>= 1) {
                __m512i next = _mm512_add_epi64(at, _mm512_set1_epi64(step));
                __m512d there = _mm512_i64gather_pd(next, thr - 1, 8);
                at = _mm512_mask_mov_epi64(at, _mm512_cmp_pd_mask(there, x, _CMP_LT_OQ), next);
            }
        }
        _mm_storel_epi64((__m128i *)(rank + r), _mm512_cvtepi64_epi8(at));
    }
}

/* add the leaves of 16 rows, looked up in registers by label */
TREES_AVX512 static inline void trees_add16(__m128i labels, const __m512i *low, const __m512i *high, int wide,
                                            __m512i *sum_low, __m512i *sum_high) {
    __m512i at = _mm512_cvtepu8_epi32(labels);
    __m512i a = _mm512_permutex2var_epi32(low[0], at, low[1]), b = _mm512_permutex2var_epi32(high[0], at, high[1]);
    if (wide) {
        __mmask16 upper = _mm512_test_epi32_mask(at, _mm512_set1_epi32(32));
        a = _mm512_mask_mov_epi32(a, upper, _mm512_permutex2var_epi32(low[2], at, low[3]));
        b = _mm512_mask_mov_epi32(b, upper, _mm512_permutex2var_epi32(high[2], at, high[3]));
    }
    *sum_low = _mm512_add_epi32(*sum_low, a);
    *sum_high = _mm512_add_epi32(*sum_high, b);
}

TREES_AVX512 static void trees_block_avx512(const TreeEnsemble *e, uint8_t (*q)[TREES_BLOCK], int64_t *total) {
    __m512i sum_low[16], sum_high[16];
    memset(total, 0, TREES_BLOCK * sizeof *total);
    for (int first = 0; first < e->n_trees; first += TREES_FLUSH) {
        int last = first + TREES_FLUSH < e->n_trees ? first + TREES_FLUSH : e->n_trees;
        memset(sum_low, 0, sizeof sum_low);
        memset(sum_high, 0, sizeof sum_high);
        for (int t = first; t < last; t++) {
            __m512i at0 = _mm512_setzero_si512(), at1 = at0, at2 = at0, at3 = at0;
            for (const TreeStep *s = e->steps + e->step_start[t], *end = e->steps + e->step_start[t + 1]; s < end; s++) {
                const uint8_t *column = q[s->column];
                __m512i thr = _mm512_set1_epi8((char)s->thr), label = _mm512_set1_epi8((char)s->label);
                __m512i right = _mm512_set1_epi8((char)s->right);
#define TREES_GO(at, i)                                                                                                \
    at = _mm512_mask_mov_epi8(at, _mm512_mask_cmpgt_epu8_mask(_mm512_cmpeq_epi8_mask(at, label),                      \
                                                              _mm512_loadu_si512(column + 64 * (i)), thr), right)
                TREES_GO(at0, 0);
                TREES_GO(at1, 1);
                TREES_GO(at2, 2);
                TREES_GO(at3, 3);
#undef TREES_GO
            }
            __m512i at[4] = {at0, at1, at2, at3}, low[4], high[4];
            int wide = e->n_leaves[t] > 32;
            if (e->n_leaves[t] > 64) { /* too many for registers */
                const int64_t *leaves = e->leaves + (size_t)t * e->stride;
                for (int r = 0; r < TREES_BLOCK; r++) total[r] += leaves[((const uint8_t *)at)[r]];
                continue;
            }
            for (int i = 0; i < 4; i++) {
                low[i] = _mm512_loadu_si512(e->leaf_low + (size_t)t * 64 + 16 * i);
                high[i] = _mm512_loadu_si512(e->leaf_high + (size_t)t * 64 + 16 * i);
            }
            for (int v = 0; v < 4; v++) {
                trees_add16(_mm512_extracti32x4_epi32(at[v], 0), low, high, wide, &sum_low[4 * v], &sum_high[4 * v]);
                trees_add16(_mm512_extracti32x4_epi32(at[v], 1), low, high, wide, &sum_low[4 * v + 1], &sum_high[4 * v + 1]);
                trees_add16(_mm512_extracti32x4_epi32(at[v], 2), low, high, wide, &sum_low[4 * v + 2], &sum_high[4 * v + 2]);
                trees_add16(_mm512_extracti32x4_epi32(at[v], 3), low, high, wide, &sum_low[4 * v + 3], &sum_high[4 * v + 3]);
            }
        }
        const uint32_t *low = (const uint32_t *)sum_low;
        const int32_t *high = (const int32_t *)sum_high;
        for (int r = 0; r < TREES_BLOCK; r++) total[r] += (int64_t)high[r] * (1 << 24) + (int64_t)low[r];
    }
}

static int trees_level(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return 2;
    return __builtin_cpu_supports("avx2") ? 1 : 0;
}
#else
static int trees_level(void) { return 0; }
#endif

/* rank columns of a block: q[column][row]; rows past n count as missing */
static void trees_rank_block(const TreeEnsemble *e, const double *x, int n, uint8_t (*q)[TREES_BLOCK], int level) {
    double v[TREES_BLOCK];
    for (int c = 0; c < e->n_columns; c++) {
        int f = e->columns[2 * c], some = n < TREES_BLOCK;
        uint8_t missing = e->columns[2 * c + 1] ? 0 : 255;
        for (int r = 0; r < n; r++) {
            v[r] = x[(size_t)r * e->n_features + f];
            some |= v[r] != v[r];
        }
        for (int r = n; r < TREES_BLOCK; r++) v[r] = 0.0 / 0.0;
#if defined(__x86_64__)
        if (level == 2)
            trees_rank_avx512(e->thresholds + (size_t)f * 256, e->n_thresholds[f], v, q[c]);
        else
#endif
            trees_rank_portable(e->thresholds + (size_t)f * 256, v, q[c]);
        for (int r = 0; some && r < TREES_BLOCK; r++) q[c][r] = v[r] == v[r] ? q[c][r] : missing;
    }
    (void)level;
}

/* log-odds of n rows of x [n][n_features]; level: 0 portable, 1 AVX2, 2 AVX-512. The sums are of integers, so all agree. */
static void trees_many(const TreeEnsemble *e, const double *x, int64_t n, double *out, int level) {
    uint8_t q[TREES_COLUMNS][TREES_BLOCK];
    int64_t total[TREES_BLOCK];
    for (int64_t row = 0; row < n; row += TREES_BLOCK) {
        int rows = n - row < TREES_BLOCK ? (int)(n - row) : TREES_BLOCK;
        trees_rank_block(e, x + (size_t)row * (size_t)e->n_features, rows, q, level);
#if defined(__x86_64__)
        if (level == 2)
            trees_block_avx512(e, q, total);
        else if (level == 1)
            trees_block_avx2(e, q, total);
        else
#endif
            trees_block_portable(e, q, total);
        for (int r = 0; r < rows; r++) out[row + r] = e->baseline + (double)total[r] * e->unit;
    }
}

/* p = 1 / (1 + exp(-z)), in place */
#define TREES_SIGMOID(LEVEL)                                                                                           \
    TARGET static void trees_sigmoid_##LEVEL(double *z, int64_t n) {                                                  \
        int64_t i = 0;                                                                                                \
        for (; i + 4 <= n; i += 4) *(V4 *)(z + i) = 1.0 / (1.0 + LEVEL##_exp(LEVEL##_clip(-*(V4 *)(z + i), 700.0))); \
        for (; i < n; i++) z[i] = det_sigmoid(z[i]);                                                                  \
    }
#define TARGET
#define FUN(x) portable_##x
#include "detvec_body.h"
TREES_SIGMOID(portable)
#undef TARGET
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2")))
#define FUN(x) avx2_##x
#include "detvec_body.h"
TREES_SIGMOID(avx2)
#undef TARGET
#endif
static void trees_sigmoid(double *z, int64_t n, int level) {
#if defined(__x86_64__)
    if (level > 0) {
        trees_sigmoid_avx2(z, n);
        return;
    }
#endif
    (void)level;
    trees_sigmoid_portable(z, n);
}

#endif
