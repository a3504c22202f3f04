/* Included once per instruction set, with TARGET and NAME(x) defined; no include guard: that is the point. Written in vectors
 * of GCC and Clang, which become whatever the processor has. Every lane does the same IEEE steps in the same order, so the
 * results are equal to the last bit. */
#define FUN(x) NAME(v4_##x)
#include "detvec_body.h"
#define V4_(x) NAME(v4_##x)
typedef struct { V4 a, b; } NAME(Pair); /* of eight slots */

/* log-odds of the lanes, kept within ONLINE_Z_MAX */
TARGET static inline V4 NAME(lanes)(const OnlineModel *m, const OnlineRow *row, const double *x) {
    const OnlineWeight *w = (const OnlineWeight *)m->table;
    const int32_t *code = row->codes, *end = code + m->n_codes - m->n_codes % 2;
    int n_x = m->n_numbers + m->n_recent;
    V4 a = w[0].w, b = V4_(all)(0.0), c = b; /* three chains of additions, so that none need wait for the others */
    for (int d = 0; d < n_x; d++) a = V4_(fma)(w[1 + d].w, V4_(all)(x[d]), a);
    for (; code < end; code += 2) b += w[code[0]].w, c += w[code[1]].w;
    if (m->n_codes % 2) b += w[*code].w;
    return V4_(clip)((a + b + c) * *(const V4 *)m->scale_w, ONLINE_Z_MAX);
}

/* Numbers of a row from the d-th on; what is beyond its end has no meaning, and the model's own arrays have room for it. */
TARGET static inline V4 NAME(numbers)(const OnlineRow *row, int d) {
    if (d + ONLINE_WIDE <= row->readable) return *(const V4 *)(row->numbers + d);
    double v[ONLINE_WIDE];
    for (int i = 0; i < ONLINE_WIDE; i++) v[i] = d + i < row->readable ? row->numbers[d + i] : 0.0;
    return *(V4 *)v;
}

/* What a prediction takes from the row alone and from labels, not from weights: fills x (numbers standardized, recent rates),
 * gives the shrunk rate as log-odds. */
TARGET static inline double NAME(prepare)(const OnlineModel *m, const OnlineRow *row, double *x) {
    double effective, recent[ONLINE_RECENT_MAX];
    for (int d = 0; d < m->n_numbers; d += ONLINE_WIDE) {
        V4 v = NAME(numbers)(row, d), var = *(const V4 *)(m->var + d);
        V4 s = V4_(clip)((v - *(const V4 *)(m->mean + d)) * V4_(rsqrt)(var + 1e-300), ONLINE_X_MAX);
        *(V4 *)(x + d) = (V4)((U4)s & (U4)(v == v) & (U4)(var > 1e-12)); /* else 0; what follows overwrites its end */
    }
    for (int e = 0; e < ONLINE_RECENT_MAX; e++) {
        if (e >= m->n_recent) { recent[e] = 0.5; continue; }
        recent[e] = (m->recent_s[e] + ONLINE_RECENT_PRIOR * m->prior) / (m->recent_n[e] + ONLINE_RECENT_PRIOR);
    }
    double inner = m->n_levels > 0 ? online_shrunk(m, row->cells, &effective) : 0.5;
    V4 rate = {recent[0], recent[1], recent[2], inner}; /* one logarithm for all */
    rate = V4_(pick)(V4_(all)(ONLINE_P_MIN), rate, (U4)(rate < ONLINE_P_MIN));
    rate = V4_(pick)(V4_(all)(1.0 - ONLINE_P_MIN), rate, (U4)(rate > 1.0 - ONLINE_P_MIN));
    V4 odds = V4_(log)(rate / (1.0 - rate));
    for (int e = 0; e < ONLINE_RECENT_MAX; e++)
        if (e < m->n_recent) x[m->n_numbers + e] = odds[e] - m->prior_logit;
    return odds[3];
}

/* Log-odds: of the lanes in `z`, of the other slots as result. */
TARGET static inline V4 NAME(look)(const OnlineModel *m, const OnlineRow *row, const double *x, double shrunk, V4 *z) {
    *z = NAME(lanes)(m, row, x);
    double extra = row->extra != row->extra ? row->extra : det_clip(row->extra, ONLINE_Z_MAX);
    V4 said = *(const V4 *)m->weight * *z;
    double pooled = (said[0] + said[1]) + (said[2] + said[3]) + m->weight[SLOT_SHRUNK] * shrunk;
    if (m->on[SLOT_EXTRA] != 0.0) {
        if (extra == extra)
            pooled += m->weight[SLOT_EXTRA] * extra;
        else
            pooled /= 1.0 - m->weight[SLOT_EXTRA]; /* the others share what it leaves */
    }
    return (V4){shrunk, extra, pooled, det_clip(m->platt[0] * pooled + m->platt[1], ONLINE_Z_MAX)};
}

TARGET static inline double NAME(served)(const OnlineModel *m, V4 rest) {
    return m->platt[4] >= 0.0 ? rest[SLOT_CALIBRATED - 4] : rest[SLOT_POOLED - 4];
}

/* p = sigmoid(z) and loss = -ln p(y) for eight slots; sign = 1 - 2y */
TARGET static inline NAME(Pair) NAME(score)(V4 a, V4 b, double y, double sign, NAME(Pair) *loss) {
    NAME(Pair) e = {V4_(exp)(a * sign), V4_(exp)(b * sign)}; /* e / (1 + e) is the chance given to what did not happen */
    *loss = (NAME(Pair)){V4_(log)(e.a + 1.0), V4_(log)(e.b + 1.0)};
    return (NAME(Pair)){e.a / (e.a + 1.0) * sign + y, e.b / (e.b + 1.0) * sign + y};
}

TARGET static inline void NAME(pool)(OnlineModel *m, NAME(Pair) cum) {
    V4 *weight = (V4 *)m->weight, on = ((const V4 *)m->on)[0], on2 = ((const V4 *)m->on)[1];
    V4 a = V4_(pick)(cum.a, V4_(all)(1e300), (U4)(on != 0.0)), b = V4_(pick)(cum.b, V4_(all)(1e300), (U4)(on2 != 0.0));
    V4 least = V4_(pick)(a, b, (U4)(a < b));
    double low = least[0] < least[1] ? least[0] : least[1], other = least[2] < least[3] ? least[2] : least[3];
    low = low < other ? low : other;
    a = (cum.a - low) * -m->pool_rate, b = (cum.b - low) * -m->pool_rate;
    least = V4_(all)(-700.0);
    a = on * V4_(exp)(V4_(pick)(least, a, (U4)(a < least)));
    b = on2 * V4_(exp)(V4_(pick)(least, b, (U4)(b < least)));
    double total = (a[0] + a[1]) + (a[2] + a[3]) + (b[0] + b[1]);
    double number = (on[0] + on[1]) + (on[2] + on[3]) + (on2[0] + on2[1]);
    double keep = (1.0 - m->pool_share) / total, give = m->pool_share / number;
    weight[0] = a * keep + on * give;
    weight[1] = b * keep + on2 * give;
}

/* One weight's step of AdaGrad; `square`, `rate` and `eps` as NAME(step) has them. */
TARGET static inline __attribute__((always_inline)) void NAME(nudge)(OnlineWeight *w, V4 square, V4 rate, V4 eps) {
    V4 sum = w->g2 + square;
    w->g2 = sum;
    w->w = V4_(descend)(w->w, rate, sum + eps);
}

/* The sums of squares are kept divided by their scale. So are here the square of the gradient and epsilon, once a row, and the
 * root of the scale is in the rate: no weight need be multiplied by it. */
TARGET static inline void NAME(step)(OnlineModel *m, const OnlineRow *row, const double *x, V4 g) {
    OnlineWeight *w = (OnlineWeight *)m->table;
    V4 *scale_w = (V4 *)m->scale_w, *scale_g = (V4 *)m->scale_g;
    const int32_t *code = row->codes, *end = code + m->n_codes - m->n_codes % 2;
    int n_x = m->n_numbers + m->n_recent;
    *scale_w *= *(const V4 *)m->keep;
    *scale_g *= *(const V4 *)m->decay;
    V4 part = 1.0 / *scale_g, eps = *(const V4 *)m->eps * part, square = g * g * part;
    V4 rate = g * (*(const V4 *)m->lr * V4_(rsqrt)(*scale_g) / (*scale_w * DET_ROUGH));
    NAME(nudge)(w, square, rate, eps); /* the bias */
    for (int d = 0; d < n_x; d++) {
        V4 v = V4_(all)(x[d]);
        NAME(nudge)(w + 1 + d, square * (v * v), rate * v, eps);
    }
    for (; code < end; code += 2) {
        NAME(nudge)(w + code[0], square, rate, eps);
        NAME(nudge)(w + code[1], square, rate, eps);
    }
    if (m->n_codes % 2) NAME(nudge)(w + *code, square, rate, eps);
}

/* Charges what each slot said, calibrates, and gives the lanes' gradient by log-odds; `pooled` are the discounted losses for
 * NAME(pool). fresh: nothing was learned since z was computed, so the lanes need not be computed again. */
TARGET static inline __attribute__((always_inline)) V4 NAME(judge)(OnlineModel *m, const OnlineRow *row, const double *x, V4 z,
                                                                   V4 rest, double y, int fresh, NAME(Pair) *cum) {
    double sign = 1.0 - 2.0 * y, pooled = rest[SLOT_POOLED - 4], gain, *platt = m->platt;
    int absent = rest[SLOT_EXTRA - 4] != rest[SLOT_EXTRA - 4];
    if (absent) rest[SLOT_EXTRA - 4] = 0.0;
    NAME(Pair) loss, p = NAME(score)(z, rest, y, sign, &loss);
    gain = loss.b[SLOT_POOLED - 4] - loss.b[SLOT_CALIBRATED - 4];
    if (absent) loss.b[SLOT_EXTRA - 4] = loss.b[SLOT_POOLED - 4]; /* charged what the pool paid */
    cum->a = ((const V4 *)m->cum)[0] * m->pool_decay + loss.a;
    cum->b = ((const V4 *)m->cum)[1] * m->pool_decay + loss.b;
    ((V4 *)m->cum)[0] = cum->a, ((V4 *)m->cum)[1] = cum->b;
    if (!fresh) { /* by the weights and the calibration of now */
        double now = det_clip(platt[0] * pooled + platt[1], ONLINE_Z_MAX);
        p = NAME(score)(NAME(lanes)(m, row, x), V4_(all)(now), y, sign, &loss);
    }
    double g = p.b[SLOT_CALIBRATED - 4] - y, gz = g * pooled;
    platt[4] = m->platt_decay * platt[4] + gain; /* by what each predicted then, not what it would say now */
    platt[2] = m->platt_decay * platt[2] + gz * gz;
    platt[3] = m->platt_decay * platt[3] + g * g;
    double a = platt[0] - m->platt_rate * gz * det_rsqrt(platt[2] + 1.0);
    double b = platt[1] - m->platt_rate * g * det_rsqrt(platt[3] + 1.0);
    a += m->platt_pull * (1.0 - a);
    platt[0] = a < 0.2 ? 0.2 : a > 2.0 ? 2.0 : a;
    platt[1] = b - m->platt_pull * b;
    return p.a - y;
}

/* the recent and the shrunk rates */
TARGET static inline void NAME(count)(OnlineModel *m, const OnlineRow *row, double y) {
    for (int e = 0; e < m->n_recent; e++) {
        m->recent_s[e] = m->recent_s[e] * m->recent_keep[e] + y;
        m->recent_n[e] = m->recent_n[e] * m->recent_keep[e] + 1.0;
    }
    if (m->n_levels > 0) {
        double unit = 1.0 / (*m->cell_scale *= m->cell_decay);
        for (int level = 0; level < m->n_levels; level++) {
            m->cell_n[row->cells[level]] += unit;
            m->cell_s[row->cells[level]] += unit * y;
        }
    }
}

/* running mean and variance, each over at most `window` rows */
TARGET static inline void NAME(observe)(OnlineModel *m, const OnlineRow *row) {
    for (int d = 0; d < m->n_numbers; d += ONLINE_WIDE) {
        V4 *count = (V4 *)(m->count + d), *mean = (V4 *)(m->mean + d), *var = (V4 *)(m->var + d);
        V4 v = NAME(numbers)(row, d), c = *count + 1.0, delta = v - *mean;
        U4 seen = (U4)(v == v);
        c = V4_(pick)(c, V4_(all)(m->window), (U4)(c < m->window));
        V4 r = 1.0 / c, moved = *mean + r * delta, spread = *var + r * (delta * (v - moved) - *var);
        *count = V4_(pick)(c, *count, seen);
        *mean = V4_(pick)(moved, *mean, seen);
        *var = V4_(pick)(spread, *var, seen);
    }
}

/* Fills the trace; returns the probability. Changes nothing. */
TARGET static double NAME(predict)(const OnlineModel *m, const OnlineRow *row, double *trace) {
    V4 *z = (V4 *)(trace + m->n_numbers + m->n_recent), lanes, rest;
    double shrunk = NAME(prepare)(m, row, trace);
    rest = NAME(look)(m, row, trace, shrunk, &lanes);
    z[0] = lanes, z[1] = rest;
    return det_sigmoid(NAME(served)(m, rest));
}

TARGET static void NAME(learn)(OnlineModel *m, const OnlineRow *row, const double *trace, double y) {
    const V4 *z = (const V4 *)(trace + m->n_numbers + m->n_recent);
    NAME(Pair) cum;
    V4 g = NAME(judge)(m, row, trace, z[0], z[1], y, 0, &cum);
    NAME(pool)(m, cum);
    NAME(step)(m, row, trace, g);
    NAME(count)(m, row, y);
}

/* Predict, observe and learn row by row, to the same bits as one after the other. A row's own part of its prediction is worked
 * out while the row before is learned: the processor would otherwise wait for one long chain of steps. */
TARGET static ptrdiff_t NAME(run)(OnlineModel *m, const OnlineRows *rows, const double *y, double *out, double *x, int room) {
    int next = m->n_numbers + ONLINE_RECENT_MAX + ONLINE_WIDE; /* two x, used by turns */
    OnlineRow row = online_row(m, rows, 0);
    double shrunk = NAME(prepare)(m, &row, x);
    ptrdiff_t i = 0, k = 0, n = rows->n;
    while (i < n) {
        V4 lanes, rest = NAME(look)(m, &row, x, shrunk, &lanes), g;
        NAME(Pair) cum;
        int known = y[i] == y[i];
        out[i] = NAME(served)(m, rest);
        NAME(observe)(m, &row);
        if (known) NAME(count)(m, &row, y[i]);
        OnlineRow after = online_row(m, rows, i + 1 < n ? i + 1 : i);
        double shrunk_after = NAME(prepare)(m, &after, x + next);
        if (known) {
            g = NAME(judge)(m, &row, x, lanes, rest, y[i], 1, &cum);
            NAME(step)(m, &row, x, g);
            NAME(pool)(m, cum);
        }
        row = after, shrunk = shrunk_after, x += next, next = -next, i++;
        if (known && --room == 0) break;
    }
    for (; k + ONLINE_WIDE <= i; k += ONLINE_WIDE) *(V4 *)(out + k) = 1.0 / (1.0 + V4_(exp)(-*(V4 *)(out + k)));
    for (; k < i; k++) out[k] = det_sigmoid(out[k]);
    return i;
}

static const OnlineKernel NAME(kernel) = {NAME(predict), NAME(learn), NAME(observe), NAME(run)};

#undef V4_
