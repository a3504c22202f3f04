/* The online learner's arithmetic: what one row costs. The text of online.pyx says what it computes and why. */
#ifndef CORDBOARD_ONLINE_KERNEL_H
#define CORDBOARD_ONLINE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "detmath.h"

enum {
    ONLINE_LANES = 4, /* logistic regressions side by side, one vector a weight */
    /* Experts: the lanes, then */
    SLOT_SHRUNK = 4, SLOT_EXTRA = 5, /* the shrunk rate; the external expert, NaN = absent */
    SLOT_POOLED = 6, SLOT_CALIBRATED = 7, /* no experts: kept beside them so that one pass scores all */
    ONLINE_SLOTS = 8,
    ONLINE_WIDE = 4, /* doubles in a vector: arrays by number are as long as the next multiple */
    ONLINE_RECENT_MAX = 3,
    ONLINE_LEVELS_MAX = 8
};

#define ONLINE_Z_MAX 30.0
#define ONLINE_X_MAX 5.0
#define ONLINE_P_MIN 1e-6
#define ONLINE_RECENT_PRIOR 5.0 /* labels that the prior counts for in a recent rate */

typedef struct {
    int n_numbers, n_recent, n_codes, n_levels;
    double prior, prior_logit, window, strength, cell_decay;
    double pool_rate, pool_decay, pool_share, platt_rate, platt_decay, platt_pull;
    double *table; /* [weight][w of each lane, then g2 of each], to be multiplied by the lane's scale */
    double *lr, *decay, *eps, *keep, *scale_w, *scale_g; /* [lane]; keep = 1 - weight decay */
    double *mean, *var, *count;                        /* [number], and on to a multiple of ONLINE_WIDE */
    double *cell_s, *cell_n, *cell_scale;              /* [cell]; decayed successes and labels, times *cell_scale */
    double *recent_s, *recent_n, *recent_keep;         /* [recent]; recent_keep = 1 - 1/labels */
    double *cum, *on, *weight;                         /* [slot]; discounted loss, takes part, share in the pool */
    double *platt; /* slope, intercept, sums of squared gradients of both, gain of calibrated over plain */
} OnlineModel;

typedef struct {
    const double *numbers;
    ptrdiff_t readable; /* doubles from `numbers` on that may be read: this row's and what lies behind it */
    const int32_t *codes, *cells;
    double extra;
} OnlineRow;

typedef struct { V4 w, g2; } OnlineWeight; /* one line of the cache, where the table is aligned */

typedef struct { /* n rows one behind the other */
    ptrdiff_t n;
    const double *numbers, *extra;
    const int32_t *codes, *cells;
} OnlineRows;

static OnlineRow online_row(const OnlineModel *m, const OnlineRows *rows, ptrdiff_t i) {
    OnlineRow row = {rows->numbers + i * m->n_numbers, (rows->n - i) * m->n_numbers, rows->codes + i * m->n_codes,
                     rows->cells + i * m->n_levels, rows->extra[i]};
    return row;
}

/* A trace is what a prediction leaves for its label: x (numbers standardized, recent rates), then z[ONLINE_SLOTS]. */
typedef struct {
    double (*predict)(const OnlineModel *m, const OnlineRow *row, double *trace);
    void (*learn)(OnlineModel *m, const OnlineRow *row, const double *trace, double y);
    void (*observe)(OnlineModel *m, const OnlineRow *row);
    /* Learns from up to `room` labels; gives the rows done. `x`: room for two times n_numbers + RECENT_MAX + WIDE. */
    ptrdiff_t (*run)(OnlineModel *m, const OnlineRows *rows, const double *y, double *out, double *x, int room);
} OnlineKernel;

/* Where the first of n codes is that is not from `low` to below `high`; n if none is. */
static ptrdiff_t online_outside(const int32_t *codes, ptrdiff_t n, int32_t low, int32_t high) {
    int32_t bad = 0;
    for (ptrdiff_t i = 0; i < n; i++) bad |= (codes[i] < low) | (codes[i] >= high); /* no way out: vectors */
    for (ptrdiff_t i = 0; bad && i < n; i++)
        if (codes[i] < low || codes[i] >= high) return i;
    return n;
}

/* Beta-binomial from the outermost level inwards; the level above is worth at most `strength` labels. */
static double online_shrunk(const OnlineModel *m, const int32_t *cells, double *effective) {
    double p = m->prior, n_eff = 0.0, scale = *m->cell_scale;
    for (int level = 0; level < m->n_levels; level++) {
        double s = m->cell_s[cells[level]] * scale, n = m->cell_n[cells[level]] * scale;
        double share = 1.0 / (n + m->strength);
        p = s * share + m->strength * share * p;
        n_eff = n + (n_eff < m->strength ? n_eff : m->strength);
    }
    *effective = n_eff;
    return p;
}

#define TARGET
#define NAME(x) portable_##x
#include "online_kernel_body.h"
#undef TARGET
#undef NAME

#if defined(__x86_64__)
#define FUSED
#define TARGET __attribute__((target("avx2,fma")))
#define NAME(x) avx2_##x
#include "online_kernel_body.h"
#undef TARGET
#undef NAME
#define TARGET __attribute__((target("fma,avx512f,avx512dq,avx512vl")))
#define NAME(x) avx512_##x
#include "online_kernel_body.h"
#undef TARGET
#undef NAME

#undef FUSED

static int online_kernel_level(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 2;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
}
#else
static int online_kernel_level(void) { return 0; }
#endif

/* 0 = portable, 1 = AVX2 and FMA, 2 = AVX-512; -1 = the best that this processor has. NULL if it lacks the level asked for. */
static const OnlineKernel *online_kernel(int level) {
    int best = online_kernel_level();
    if (level < 0) level = best;
    if (level > best) return NULL;
#if defined(__x86_64__)
    if (level == 2) return &avx512_kernel;
    if (level == 1) return &avx2_kernel;
#endif
    return &portable_kernel;
}

#endif
