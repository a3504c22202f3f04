"""The online learner: logistic regressions that forget at several speeds, pooled by how well each has predicted lately.

One row goes through four stages, each of which learns from the label when it comes, which may be much later:

1. *Lanes.* ``LANES`` logistic regressions over the same features, each by AdaGrad (Duchi, Hazan, Singer, JMLR 12, 2011)
   whose sum of squared gradients decays, so that it keeps learning after the world has changed. They differ in rate and decay.
2. *Shrunk rate.* A beta-binomial estimate from the global rate down to the row's own cell, each level shrunk to the one above.
   It speaks first while the lanes know nothing (cold start), and is one more expert later.
3. *Pool.* The experts' log-odds are averaged with weights exp(-rate x discounted log-loss), a little shared among all
   (fixed share: Herbster & Warmuth, Machine Learning 32, 1998). An external expert (trees) takes part where it is given.
4. *Platt.* p = sigmoid(a z + b), a within [0.2, 2], learned online (Platt 1999); used only while it predicts better than without.

All sums run in a fixed order with IEEE operations and our own exp and log: same rows, same bytes, on every machine.
"""

import numpy as np

from libc.stdint cimport int32_t
from libc.math cimport NAN, isnan

cdef extern from "online_kernel.h" nogil:
    enum:
        ONLINE_LANES, ONLINE_SLOTS, ONLINE_WIDE, ONLINE_RECENT_MAX, ONLINE_LEVELS_MAX
    ctypedef struct OnlineModel:
        int n_numbers, n_recent, n_codes, n_levels
        double prior, prior_logit, window, strength, cell_decay
        double pool_rate, pool_decay, pool_share, platt_rate, platt_decay, platt_pull
        double *table
        double *lr
        double *decay
        double *eps
        double *keep
        double *scale_w
        double *scale_g
        double *mean
        double *var
        double *count
        double *cell_s
        double *cell_n
        double *cell_scale
        double *recent_s
        double *recent_n
        double *recent_keep
        double *cum
        double *on
        double *weight
        double *platt
    ctypedef struct OnlineRow:
        const double *numbers
        Py_ssize_t readable
        const int32_t *codes
        const int32_t *cells
        double extra
    ctypedef struct OnlineRows:
        Py_ssize_t n
        const double *numbers
        const double *extra
        const int32_t *codes
        const int32_t *cells
    ctypedef struct OnlineKernel:
        double (*predict)(const OnlineModel*, const OnlineRow*, double*) noexcept nogil
        void (*learn)(OnlineModel*, const OnlineRow*, const double*, double) noexcept nogil
        void (*observe)(OnlineModel*, const OnlineRow*) noexcept nogil
        Py_ssize_t (*run)(OnlineModel*, const OnlineRows*, const double*, double*, double*, int) noexcept nogil
    const OnlineKernel* online_kernel(int level) noexcept
    int online_kernel_level() noexcept
    OnlineRow online_row(const OnlineModel*, const OnlineRows*, Py_ssize_t) noexcept
    Py_ssize_t online_outside(const int32_t*, Py_ssize_t, int32_t, int32_t) noexcept
    double online_shrunk(const OnlineModel*, const int32_t*, double*) noexcept
    double det_exp(double) noexcept
    double det_log(double) noexcept
    double det_rsqrt(double) noexcept

LANES = ONLINE_LANES
SLOTS = ("lane 0", "lane 1", "lane 2", "lane 3", "shrunk rate", "trees", "pooled", "calibrated")
RECENT_MAX = ONLINE_RECENT_MAX
LEVELS_MAX = ONLINE_LEVELS_MAX

cdef double SCALE_MIN = 1e-100   # below it the lazily decayed sums are rewritten at scale 1
cdef long long SCALE_EVERY = 256 # labels between two looks at the scales; decays are at least 0.9

# What was learned, as it goes into a model file.
STATE = ("w", "g2", "scale_w", "scale_g", "mean", "var", "count", "cell_s", "cell_n", "cell_scale", "recent_s", "recent_n",
         "cum", "on", "weight", "platt")
SCALES = ("scale_w", "scale_g", "cell_scale")
SIGNLESS = ("g2", "var", "count", "cell_s", "cell_n", "recent_s", "recent_n", "weight", "cum")


def kernel_level():
    """The best instruction set that this processor has: 0 portable, 1 AVX2 and FMA, 2 AVX-512."""
    return online_kernel_level()


def exp_log_check(double[::1] x, double[::1] exp_out, double[::1] log_out, double[::1] rsqrt_out):
    """For tests: our exp(x), and the log and 1/sqrt of it. All float64, shape (n,), |x| <= 700."""
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        exp_out[i] = det_exp(x[i])
        log_out[i] = det_log(exp_out[i])
        rsqrt_out[i] = det_rsqrt(exp_out[i])


cdef struct Held:                 # what a handle points to
    const OnlineModel* model
    const OnlineKernel* kernel
    int n_weights, n_cells


cdef class OnlineLearner:
    """A binary online learner. The module's text says what it does; ``cordboard.learning`` uses it.

    ``n_numbers``: numeric features; ``n_codes``: codes a row; ``n_weights``: rows of the weight table (bias, numbers, recent
    rates, then those that codes name); ``n_levels`` and ``n_cells``: the shrunk rate's cells a row and in all (0 = none).
    ``lanes``: float64 (LANES, 4): learning rate, decay a label, epsilon, weight decay a label.
    ``recent``: label counts over which recent rates are kept, e.g. (30,). ``level``: instruction set, -1 = the best.
    """

    cdef OnlineModel m
    cdef const OnlineKernel* kernel
    cdef Held held
    cdef readonly long long labels            # labels learned
    cdef readonly int n_weights, n_cells
    cdef dict arrays                          # name -> the array that m points into

    def __init__(self, int n_numbers, int n_codes, int n_weights, int n_levels, int n_cells, lanes, recent=(), *,
                 double prior=0.1, double window=5000.0, double strength=20.0, double cell_decay=0.9995,
                 double pool_rate=0.2, double pool_decay=0.9999, double pool_share=0.001, double platt_rate=0.01,
                 double platt_decay=0.999, double platt_pull=0.001, int level=-1):
        self.kernel = online_kernel(level)
        if self.kernel == NULL:
            raise ValueError(f"this processor lacks instruction set {level}; it has up to {online_kernel_level()}")
        table = np.array(lanes, dtype=np.float64)
        taus = np.array(recent, dtype=np.float64).reshape(-1)
        if table.shape != (ONLINE_LANES, 4):
            raise ValueError(f"lanes: shape {table.shape}, expected ({ONLINE_LANES}, 4)")
        if not (table[:, 1].min() >= 0.9 and table[:, 1].max() <= 1.0 and 0.9 <= cell_decay <= 1.0
                and table[:, 3].min() >= 0.0 and table[:, 3].max() <= 0.1):
            raise ValueError("decays must be within [0.9, 1], weight decays within [0, 0.1]")
        if not (table[:, 0].min() >= 0.0 and table[:, 0].max() <= 100.0 and 1e-12 <= table[:, 2].min()
                and table[:, 2].max() <= 1e12 and 0.0 <= platt_rate <= 100.0):
            raise ValueError("rates must be within [0, 100], each epsilon within [1e-12, 1e12]")
        if not (1.0 <= window <= 1e15 and 1e-6 <= strength <= 1e15 and 0.0 <= pool_rate <= 1000.0
                and 0.0 <= pool_decay <= 1.0 and 1e-9 <= pool_share < 1.0 and 0.0 <= platt_decay <= 1.0
                and 0.0 <= platt_pull <= 1.0):
            raise ValueError("window from 1 and strength from 1e-6; pool_rate at most 1000; pool_decay, platt_decay and "
                             "platt_pull within [0, 1], pool_share within [1e-9, 1)")
        if len(taus) > ONLINE_RECENT_MAX or n_levels > ONLINE_LEVELS_MAX or (len(taus) and taus.min() < 1.0):
            raise ValueError(f"at most {ONLINE_RECENT_MAX} recent rates, of 1 label or more, and {ONLINE_LEVELS_MAX} levels")
        if min(n_numbers, n_codes, n_levels, n_cells) < 0 or (n_levels > 0) != (n_cells > 0) or not 0 < prior < 1 \
                or n_weights < 1 + n_numbers + len(taus):
            raise ValueError("n_weights must count the bias, the numbers and the recent rates; 0 < prior < 1")
        self.m.n_numbers, self.m.n_recent, self.m.n_codes, self.m.n_levels = n_numbers, len(taus), n_codes, n_levels
        self.n_weights, self.n_cells = n_weights, n_cells
        self.m.prior, self.m.window, self.m.strength, self.m.cell_decay = prior, window, strength, cell_decay
        self.m.pool_rate, self.m.pool_decay, self.m.pool_share = pool_rate, pool_decay, pool_share
        self.m.platt_rate, self.m.platt_decay, self.m.platt_pull = platt_rate, platt_decay, platt_pull
        self.m.prior_logit = det_log(prior / (1.0 - prior))
        self.held.model, self.held.kernel = &self.m, self.kernel
        self.held.n_weights, self.held.n_cells = n_weights, n_cells
        self.clear(table, taus)

    def clear(self, table, taus):
        zeros, ones = np.zeros, np.ones
        w = zeros((self.n_weights, ONLINE_LANES))
        w[0] = self.m.prior_logit  # every lane starts by saying the prior
        numbers, cells, recent = max(self.m.n_numbers, 1), max(self.n_cells, 1), max(self.m.n_recent, 1)
        on = np.array([1.0] * ONLINE_LANES + [1.0 if self.n_cells else 0.0, 0.0, 0.0, 0.0])
        self.labels = 0
        self.take({
            "w": w, "g2": zeros((self.n_weights, ONLINE_LANES)), "scale_w": ones(ONLINE_LANES), "scale_g": ones(ONLINE_LANES),
            "mean": zeros(numbers), "var": zeros(numbers), "count": zeros(numbers),
            "cell_s": zeros(cells), "cell_n": zeros(cells), "cell_scale": ones(1),
            "recent_s": zeros(recent), "recent_n": zeros(recent),
            "cum": zeros(ONLINE_SLOTS), "on": on, "weight": on / on.sum(), "platt": np.array([1.0, 0.0, 0.0, 0.0, 0.0]),
            "lr": table[:, 0].copy(), "decay": table[:, 1].copy(), "eps": table[:, 2].copy(), "keep": 1.0 - table[:, 3],
            "recent_keep": 1.0 - 1.0 / taus if len(taus) else ones(1),
        })

    cdef int take(self, dict arrays) except -1:
        # The dict owns the memory; the struct points into it. Every array begins at a line of the cache and has room for whole
        # vectors. A weight lies beside its sum of squares: the two are always used together, and so they cost one line.
        cdef Py_ssize_t n
        table = aligned(2 * ONLINE_LANES * self.n_weights).reshape(self.n_weights, 2, ONLINE_LANES)
        self.m.table = address(table.reshape(-1))
        for i, name in enumerate(("w", "g2")):
            table[:, i] = arrays[name]
            arrays[name] = table[:, i]
        for name in arrays.keys() - {"w", "g2"}:
            n = len(arrays[name])
            whole = aligned((n + ONLINE_WIDE - 1) // ONLINE_WIDE * ONLINE_WIDE)
            whole[:n] = arrays[name]
            arrays[name] = whole[:n]
        self.arrays = arrays
        self.m.scale_w, self.m.scale_g = address(arrays["scale_w"]), address(arrays["scale_g"])
        self.m.lr, self.m.decay = address(arrays["lr"]), address(arrays["decay"])
        self.m.eps, self.m.keep = address(arrays["eps"]), address(arrays["keep"])
        self.m.mean, self.m.var, self.m.count = address(arrays["mean"]), address(arrays["var"]), address(arrays["count"])
        self.m.cell_s, self.m.cell_n = address(arrays["cell_s"]), address(arrays["cell_n"])
        self.m.cell_scale, self.m.recent_keep = address(arrays["cell_scale"]), address(arrays["recent_keep"])
        self.m.recent_s, self.m.recent_n = address(arrays["recent_s"]), address(arrays["recent_n"])
        self.m.cum, self.m.on = address(arrays["cum"]), address(arrays["on"])
        self.m.weight, self.m.platt = address(arrays["weight"]), address(arrays["platt"])
        return 0

    # -- state, for model files ------------------------------------------------------------------------------------------

    def state(self):
        """Everything learned, as arrays; ``restore`` takes it back and continues to the same bytes."""
        state = {name: self.arrays[name].copy() for name in STATE}
        state["labels"] = np.array([self.labels], dtype=np.int64)
        return state

    def restore(self, state):
        """Takes arrays of ``state()``. ValueError, and nothing changed, if one is missing, of another shape, not finite or
        outside the range that learning keeps it in."""
        for name, mine in self.state().items():
            given = state.get(name)
            if given is None or given.shape != mine.shape or given.dtype != mine.dtype:
                raise ValueError(f"state {name!r} is missing or of another shape")
            if not np.isfinite(given).all():
                raise ValueError(f"state {name!r} holds a number that is not finite")
            if name in SIGNLESS and given.min() < 0.0 or name in SCALES and given.min() <= 0.0:
                raise ValueError(f"state {name!r} holds a number below its range")
        share, on = state["weight"], state["on"]
        if abs(share.sum() - 1.0) > 1e-6 or share[ONLINE_LANES + 1] >= 1.0 or not np.isin(on, (0.0, 1.0)).all() \
                or on[:ONLINE_LANES].min() < 1.0:
            raise ValueError("state 'weight' or 'on' is no pool of experts")
        arrays = dict(self.arrays)
        arrays.update({name: np.array(state[name], order="C") for name in STATE})
        self.take(arrays)
        self.labels = int(state["labels"][0])

    cdef int rescale(self) except -1:
        # Lazily decayed sums are kept divided by a scale that falls; before it gets too small, all is rewritten at scale 1.
        # Looked at without Python: it happens every few hundred rows, and a look through NumPy would cost 6 % of their time.
        cdef dict a
        cdef int lane
        cdef double least = self.m.cell_scale[0]
        for lane in range(ONLINE_LANES):
            least = min(least, self.m.scale_w[lane], self.m.scale_g[lane])
        if least >= SCALE_MIN:
            return 0
        a = self.arrays
        for sums, scale in (("w", "scale_w"), ("g2", "scale_g"), ("cell_s", "cell_scale"), ("cell_n", "cell_scale")):
            a[sums] *= a[scale]
        for scale in SCALES:
            a[scale][:] = 1.0
        return 0

    # -- rows ------------------------------------------------------------------------------------------------------------

    cdef OnlineRows rows(self, const double[:, ::1] numbers, const int32_t[:, ::1] codes, const int32_t[:, ::1] cells,
                         const double[::1] extra) except *:
        # The rows as the kernel takes them; ValueError for another shape or a code that would be outside of the tables.
        cdef OnlineRows rows
        cdef int first = 1 + self.m.n_numbers + self.m.n_recent, width = self.m.n_codes, levels = self.m.n_levels
        cdef Py_ssize_t n = numbers.shape[0], at
        if numbers.shape[1] != self.m.n_numbers or codes.shape[0] != n or codes.shape[1] != width \
                or cells.shape[0] != n or cells.shape[1] != levels or extra.shape[0] != n:
            raise ValueError("numbers, codes, cells or extra has another shape than this learner was made for")
        rows.n = n
        rows.numbers = &numbers[0, 0] if numbers.size > 0 else NULL
        rows.codes = &codes[0, 0] if codes.size > 0 else NULL
        rows.cells = &cells[0, 0] if cells.size > 0 else NULL
        rows.extra = &extra[0] if n > 0 else NULL
        at = online_outside(rows.codes, n * width, first, self.n_weights)
        if at < n * width:
            raise ValueError(f"code {rows.codes[at]} of row {at // width} is outside the weight table")
        at = online_outside(rows.cells, n * levels, 0, self.n_cells)
        if at < n * levels:
            raise ValueError(f"cell {rows.cells[at]} of row {at // levels} is outside the table of cells")
        return rows

    def trace_size(self):
        """float64 values that a prediction leaves behind for its label: what ``predict`` fills and ``learn`` takes."""
        return self.m.n_numbers + self.m.n_recent + ONLINE_SLOTS

    def use_extra(self, bint used):
        """Whether the external expert takes part where it is given. It joins the pool with the best expert's standing."""
        on, cum = self.arrays["on"], self.arrays["cum"]
        if used and not on[ONLINE_LANES + 1]:
            cum[ONLINE_LANES + 1] = cum[:ONLINE_LANES + 1][on[:ONLINE_LANES + 1] > 0].min()
        on[ONLINE_LANES + 1] = 1.0 if used else 0.0
        weight = self.arrays["weight"] * on
        if used and not weight[ONLINE_LANES + 1]:
            weight[ONLINE_LANES + 1] = weight.max()
        self.arrays["weight"][:] = weight / weight.sum()

    def predict(self, const double[:, ::1] numbers, const int32_t[:, ::1] codes, const int32_t[:, ::1] cells,
                const double[::1] extra, double[::1] out, double[:, ::1] trace):
        """Fills ``out`` (n,) with probabilities and ``trace`` (n, trace_size()) with what learning needs. Changes nothing.

        numbers float64 (n, n_numbers), NaN = missing; codes int32 (n, n_codes); cells int32 (n, n_levels);
        extra float64 (n,): log-odds of the external expert, NaN = absent.
        """
        cdef Py_ssize_t i
        cdef OnlineRow row
        cdef OnlineRows rows = self.rows(numbers, codes, cells, extra)
        if out.shape[0] != rows.n or trace.shape[0] != rows.n or trace.shape[1] != self.trace_size():
            raise ValueError("out or trace has another shape")
        with nogil:
            for i in range(rows.n):
                row = online_row(&self.m, &rows, i)
                out[i] = self.kernel.predict(&self.m, &row, &trace[i, 0])

    def observe(self, const double[:, ::1] numbers):
        """Takes the numbers of rows that are really used into the running means: once a row, after its prediction."""
        cdef Py_ssize_t i
        cdef OnlineRow row
        if numbers.shape[1] != self.m.n_numbers:
            raise ValueError(f"not {self.m.n_numbers} numbers a row")
        if self.m.n_numbers > 0:
            for i in range(numbers.shape[0]):
                row.numbers, row.readable = &numbers[i, 0], (numbers.shape[0] - i) * self.m.n_numbers
                self.kernel.observe(&self.m, &row)

    def learn(self, const double[:, ::1] numbers, const int32_t[:, ::1] codes, const int32_t[:, ::1] cells,
              const double[:, ::1] trace, const double[::1] y):
        """Learns labels y (n,), 0 or 1, of rows that ``predict`` traced, in order. ValueError before anything is changed."""
        cdef Py_ssize_t i
        cdef OnlineRow row
        cdef OnlineRows rows = self.rows(numbers, codes, cells, y)
        if trace.shape[0] != rows.n or trace.shape[1] != self.trace_size():
            raise ValueError("trace has another shape")
        for i in range(rows.n):
            if y[i] != 0.0 and y[i] != 1.0:
                raise ValueError(f"label {y[i]} of row {i} is neither 0 nor 1")
        for i in range(rows.n):
            row = online_row(&self.m, &rows, i)
            self.kernel.learn(&self.m, &row, &trace[i, 0], y[i])
            self.labels += 1
            if self.labels % SCALE_EVERY == 0:
                self.rescale()

    def run(self, const double[:, ::1] numbers, const int32_t[:, ::1] codes, const int32_t[:, ::1] cells,
            const double[::1] extra, const double[::1] y, Py_ssize_t delay, double[::1] out):
        """Predict, then learn, row by row; the label of row i is learned after row i + delay was predicted.

        Arrays as in ``predict``; y float64 (n,): 0, 1, or NaN where this learner has no label. ``out`` (n,) gets the
        probabilities. The labels of the last ``delay`` rows are not learned.
        """
        cdef Py_ssize_t i = 0, n = numbers.shape[0]
        cdef OnlineRows rows = self.rows(numbers, codes, cells, extra)
        cdef double[::1] x
        if out.shape[0] != n or y.shape[0] != n or delay < 0:
            raise ValueError("out or y has another shape, or the delay is negative")
        for i in range(n):
            if y[i] != 0.0 and y[i] != 1.0 and not isnan(y[i]):
                raise ValueError(f"label {y[i]} of row {i} is neither 0, 1 nor NaN")
        if delay > 0:
            self.run_late(rows, y, min(delay, n), out)
            return
        x = aligned(2 * (self.m.n_numbers + ONLINE_RECENT_MAX + ONLINE_WIDE))
        i = 0
        while i < n:
            i += self.run_now(rows, i, y, out, &x[0])

    cdef Py_ssize_t run_now(self, OnlineRows rows, Py_ssize_t i, const double[::1] y, double[::1] out, double* x) except -1:
        # Rows from the i-th on, up to where the scales must be looked at; gives how many.
        cdef int room = <int>(SCALE_EVERY - self.labels % SCALE_EVERY)
        cdef Py_ssize_t done, j
        rows.n -= i
        rows.numbers, rows.extra = rows.numbers + i * self.m.n_numbers, rows.extra + i
        rows.codes, rows.cells = rows.codes + i * self.m.n_codes, rows.cells + i * self.m.n_levels
        with nogil:
            done = self.kernel.run(&self.m, &rows, &y[i], &out[i], x, room)
            for j in range(i, i + done):
                self.labels += not isnan(y[j])
        if self.labels % SCALE_EVERY == 0:
            self.rescale()
        return done

    cdef int run_late(self, OnlineRows rows, const double[::1] y, Py_ssize_t delay, double[::1] out) except -1:
        # Each row's trace waits in a ring until its label comes.
        cdef Py_ssize_t i, j, at = 0, places = delay + 1
        cdef OnlineRow row
        cdef double[:, ::1] ring = np.empty((places, self.trace_size()))
        with nogil:
            for i in range(rows.n):
                row = online_row(&self.m, &rows, i)
                out[i] = self.kernel.predict(&self.m, &row, &ring[at, 0])
                self.kernel.observe(&self.m, &row)
                at = at + 1 if at + 1 < places else 0  # the place of row i + 1 and, as the ring is full, of row i - delay
                j = i - delay
                if j >= 0 and not isnan(y[j]):
                    row = online_row(&self.m, &rows, j)
                    self.kernel.learn(&self.m, &row, &ring[at, 0], y[j])
                    self.labels += 1
                    if self.labels % SCALE_EVERY == 0:
                        with gil:
                            self.rescale()
        return 0

    # -- what it knows ---------------------------------------------------------------------------------------------------

    def rate(self, const int32_t[::1] cells):
        """The shrunk rate of a row's cells (n_levels,) as (mean, effective number of labels behind it)."""
        cdef double n_eff = 0.0, p
        cdef Py_ssize_t j
        if cells.shape[0] != self.m.n_levels:
            raise ValueError(f"not {self.m.n_levels} cells")
        for j in range(cells.shape[0]):
            if cells[j] < 0 or cells[j] >= self.n_cells:
                raise ValueError(f"cell {cells[j]} is outside the table of cells")
        if cells.shape[0] == 0:
            return self.m.prior, 0.0
        p = online_shrunk(&self.m, &cells[0], &n_eff)
        return p, n_eff

    def weights(self):
        """Weights as they act: float64 (n_weights, LANES)."""
        return self.arrays["w"] * self.arrays["scale_w"]

    def pool(self):
        """The experts' shares in the pool, float64 (8,) in the order of SLOTS, summing to 1."""
        return self.arrays["weight"].copy()

    def losses(self):
        """Discounted log-loss of each of SLOTS, as predicted: float64 (8,)."""
        return self.arrays["cum"].copy()

    def calibration(self):
        """(slope, intercept, used): the calibration, and whether it serves now."""
        return self.m.platt[0], self.m.platt[1], bool(self.m.platt[4] >= 0.0)


cdef object aligned(Py_ssize_t n):
    # Zeros (n,) that begin at a line of the cache (64 bytes): a vector that lies across two lines costs twice.
    block = np.zeros(n + 7)
    return block[-(block.ctypes.data // 8) % 8 :][:n]


cdef inline double* address(double[::1] array) noexcept:
    return &array[0]


cdef void* online_handle(object learner) except NULL:
    return &(<OnlineLearner?>learner).held


cdef int online_trace(const void* handle) noexcept nogil:
    cdef const OnlineModel* m = (<const Held*>handle).model
    return m.n_numbers + m.n_recent + ONLINE_SLOTS


cdef double online_probability(const void* handle, const double* numbers, const int32_t* codes, const int32_t* cells,
                               double extra, double* trace) noexcept nogil:
    cdef const Held* held = <const Held*>handle
    cdef const OnlineModel* m = held.model
    cdef OnlineRow row
    if online_outside(codes, m.n_codes, 1 + m.n_numbers + m.n_recent, held.n_weights) < m.n_codes \
            or online_outside(cells, m.n_levels, 0, held.n_cells) < m.n_levels:
        return NAN
    row.numbers, row.readable, row.codes, row.cells, row.extra = numbers, m.n_numbers, codes, cells, extra
    return held.kernel.predict(m, &row, trace)
