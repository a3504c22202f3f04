/* Included once per instruction set, with TARGET and NAME(x) defined; no include guard: that is the point. Written in vectors
 * of GCC and Clang, which become whatever the processor has. Every lane does the same IEEE steps in the same order whatever
 * their width, so the results are equal to the last bit. */

/* log-odds of the lanes, kept within ONLINE_Z_MAX */
TARGET static inline V4 NAME(lanes)(const OnlineModel *m, const OnlineRow *row, const double *x) {
    const V4 *w = (const V4 *)m->w;
    int n_x = m->n_numbers + m->n_recent;
    V4 a = w[0], b = v4_all(0.0); /* two chains of additions, so that one need not wait for the other */
    for (int d = 0; d < n_x; d++) a += w[1 + d] * x[d];
    for (int c = 0; c < m->n_codes; c++) b += w[row->codes[c]];
    return v4_clip((a + b) * *(const V4 *)m->scale_w, ONLINE_Z_MAX);
}

/* Fills the trace; returns the probability. Changes nothing. */
TARGET static double NAME(predict)(const OnlineModel *m, const OnlineRow *row, double *trace) {
    double *x = trace, *z = trace + m->n_numbers + m->n_recent, effective;
    for (int d = 0; d < m->n_numbers; d++) {
        double v = row->numbers[d];
        double s = det_clip((v - m->mean[d]) * det_rsqrt(m->var[d] + 1e-300), ONLINE_X_MAX);
        x[d] = (v == v && m->var[d] > 1e-12) ? s : 0.0;
    }
    V4 rate = v4_all(0.5); /* recent rates, and last the shrunk one: one logarithm for all */
    for (int e = 0; e < m->n_recent; e++)
        rate[e] = (m->recent_s[e] + ONLINE_RECENT_PRIOR * m->prior) / (m->recent_n[e] + ONLINE_RECENT_PRIOR);
    if (m->n_levels > 0) rate[3] = online_shrunk(m, row->cells, &effective);
    rate = v4_pick(v4_all(ONLINE_P_MIN), rate, (U4)(rate < ONLINE_P_MIN));
    rate = v4_pick(v4_all(1.0 - ONLINE_P_MIN), rate, (U4)(rate > 1.0 - ONLINE_P_MIN));
    V4 odds = v4_log(rate / (1.0 - rate));
    for (int e = 0; e < m->n_recent; e++) x[m->n_numbers + e] = odds[e] - m->prior_logit;
    *(V4 *)z = NAME(lanes)(m, row, x);
    z[SLOT_SHRUNK] = odds[3];
    z[SLOT_EXTRA] = row->extra != row->extra ? row->extra : det_clip(row->extra, ONLINE_Z_MAX);
    double pooled = 0.0;
    for (int s = 0; s <= SLOT_SHRUNK; s++) pooled += m->weight[s] * z[s];
    if (m->on[SLOT_EXTRA] != 0.0) {
        if (row->extra == row->extra)
            pooled += m->weight[SLOT_EXTRA] * z[SLOT_EXTRA];
        else
            pooled /= 1.0 - m->weight[SLOT_EXTRA]; /* the others share what it leaves */
    }
    z[SLOT_POOLED] = pooled;
    z[SLOT_CALIBRATED] = det_clip(m->platt[0] * pooled + m->platt[1], ONLINE_Z_MAX);
    return det_sigmoid(m->platt[4] >= 0.0 ? z[SLOT_CALIBRATED] : pooled);
}

/* p = sigmoid(z) and loss = -ln p(y) for four experts; sign = 1 - 2y */
TARGET static inline void NAME(score)(V4 z, double y, double sign, V4 *p, V4 *loss) {
    V4 e = v4_exp(z * sign);
    *loss = v4_log(e + 1.0);
    *p = e / (e + 1.0) * sign + y; /* e / (1 + e) is the chance given to what did not happen */
}

TARGET static void NAME(pool)(OnlineModel *m) {
    const V4 *cum = (const V4 *)m->cum, *on = (const V4 *)m->on;
    V4 *weight = (V4 *)m->weight;
    double low = 1e300, total = 0.0, number = 0.0;
    for (int s = 0; s <= SLOT_EXTRA; s++) low = (m->on[s] != 0.0 && m->cum[s] < low) ? m->cum[s] : low;
    weight[0] = on[0] * v4_exp((cum[0] - low) * -m->pool_rate);
    weight[1] = on[1] * v4_exp((cum[1] - low) * -m->pool_rate);
    for (int s = 0; s <= SLOT_EXTRA; s++) total += m->weight[s], number += m->on[s];
    double keep = (1.0 - m->pool_share) / total, give = m->pool_share / number;
    weight[0] = weight[0] * keep + on[0] * give;
    weight[1] = weight[1] * keep + on[1] * give;
}

TARGET static void NAME(step)(OnlineModel *m, const OnlineRow *row, const double *x, V4 g) {
    V4 *w = (V4 *)m->w, *g2 = (V4 *)m->g2;
    V4 *scale_w = (V4 *)m->scale_w, *scale_g = (V4 *)m->scale_g, eps = *(const V4 *)m->eps;
    int n_x = m->n_numbers + m->n_recent;
    *scale_w *= *(const V4 *)m->keep;
    *scale_g *= *(const V4 *)m->decay;
    V4 scale = *scale_g, rate = g * *(const V4 *)m->lr / *scale_w, add = g * g / scale;
    for (int d = -1; d < n_x; d++) {
        double v = d < 0 ? 1.0 : x[d];
        V4 s = g2[1 + d] + add * (v * v);
        g2[1 + d] = s;
        w[1 + d] -= rate * v * v4_rsqrt(s * scale + eps);
    }
    for (int c = 0; c < m->n_codes; c++) {
        int32_t at = row->codes[c];
        V4 s = g2[at] + add;
        g2[at] = s;
        w[at] -= rate * v4_rsqrt(s * scale + eps);
    }
}

/* fresh: nothing was learned since the trace was made, so the lanes need not be computed again */
TARGET static void NAME(learn)(OnlineModel *m, const OnlineRow *row, const double *trace, double y, int fresh) {
    const double *z = trace + m->n_numbers + m->n_recent;
    double sign = 1.0 - 2.0 * y, p_calibrated, gain;
    V4 p[2], loss[2], z1 = *(const V4 *)(z + 4);
    int absent = z[SLOT_EXTRA] != z[SLOT_EXTRA];
    if (absent) z1[SLOT_EXTRA - 4] = 0.0;
    NAME(score)(*(const V4 *)z, y, sign, &p[0], &loss[0]);
    NAME(score)(z1, y, sign, &p[1], &loss[1]);
    gain = loss[1][SLOT_POOLED - 4] - loss[1][SLOT_CALIBRATED - 4];
    if (absent) loss[1][SLOT_EXTRA - 4] = loss[1][SLOT_POOLED - 4]; /* charged what the pool paid */
    ((V4 *)m->cum)[0] = ((V4 *)m->cum)[0] * m->pool_decay + loss[0];
    ((V4 *)m->cum)[1] = ((V4 *)m->cum)[1] * m->pool_decay + loss[1];
    NAME(pool)(m);

    double *platt = m->platt, pooled = z[SLOT_POOLED];
    p_calibrated = p[1][SLOT_CALIBRATED - 4];
    if (!fresh) { /* by the calibration of now; through the same function, so that the bits are the same if it is that of then */
        NAME(score)(v4_all(det_clip(platt[0] * pooled + platt[1], ONLINE_Z_MAX)), y, sign, &p[0], &loss[0]);
        p_calibrated = p[0][0];
    }
    double g = p_calibrated - y, gz = g * pooled;
    platt[4] = m->platt_decay * platt[4] + gain; /* by what each predicted then, not what it would say now */
    platt[2] = m->platt_decay * platt[2] + gz * gz;
    platt[3] = m->platt_decay * platt[3] + g * g;
    double a = platt[0] - m->platt_rate * gz * det_rsqrt(platt[2] + 1.0);
    double b = platt[1] - m->platt_rate * g * det_rsqrt(platt[3] + 1.0);
    a += m->platt_pull * (1.0 - a);
    platt[0] = a < 0.2 ? 0.2 : a > 2.0 ? 2.0 : a;
    platt[1] = b - m->platt_pull * b;

    if (!fresh) NAME(score)(NAME(lanes)(m, row, trace), y, sign, &p[0], &loss[0]);
    NAME(step)(m, row, trace, p[0] - y);
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
TARGET static void NAME(observe)(OnlineModel *m, const double *numbers) {
    for (int d = 0; d < m->n_numbers; d++) {
        double v = numbers[d], c = m->count[d] + 1.0;
        int seen = v == v;
        c = c < m->window ? c : m->window;
        double r = 1.0 / c, delta = v - m->mean[d];
        double mean = m->mean[d] + r * delta;
        double var = m->var[d] + r * (delta * (v - mean) - m->var[d]);
        m->count[d] = seen ? c : m->count[d];
        m->mean[d] = seen ? mean : m->mean[d];
        m->var[d] = seen ? var : m->var[d];
    }
}

static const OnlineKernel NAME(kernel) = {NAME(predict), NAME(learn), NAME(observe)};
