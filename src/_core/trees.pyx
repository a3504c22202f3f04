"""Compiled tree ensembles: a fitted histogram gradient boosting made small and quick, with the same answers.

*Ranks.* A tree asks only whether x <= threshold, so a value is replaced by its rank among its feature's thresholds: the number
of thresholds below it. Histogram boosting has at most 254 a feature, so a rank is a byte, and comparing ranks is exactly
comparing the float64 values. Missing values get the rank 0 where a node sends them left, and 255 where it sends them right.

*One row* walks six trees at a time through 4-byte nodes. *Many rows* go in blocks of 256 through every node of a tree, a byte
a row, without branches: a row at the node whose rank is above the node's takes the label of the right subtree (compare
QuickScorer, Lucchese et al., SIGIR 2015, which marks unreachable leaves in bit vectors instead).

*Leaves* are fixed-point integers (46 bits for the largest possible sum), so sums are exact in any order: one row or many,
AVX-512 or none, every machine gives the same bytes.

*Explanations* are exact path-dependent SHAP values (Lundberg et al., Nature Machine Intelligence 2, 2020, algorithm 2): the
expectation over a feature that is left out follows the training counts of the nodes.
"""

import numpy as np

from libc.math cimport ldexp, isnan
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc

cdef extern from "trees_kernel.h" nogil:
    enum:
        TREES_COLUMNS, TREES_RANKS, TREES_LEAVES
    ctypedef struct TreeNode:
        uint8_t column
        uint8_t thr
        uint16_t left
    ctypedef struct TreeStep:
        uint8_t column
        uint8_t thr
        uint8_t label
        uint8_t right
    ctypedef struct TreeEnsemble:
        int n_features, n_columns, n_trees
        const double *thresholds
        const int32_t *n_thresholds
        const int32_t *columns
        const TreeNode *nodes
        const int32_t *node_start
        const int32_t *depth
        const TreeStep *steps
        const int32_t *step_start
        const int64_t *leaves
        const int32_t *leaf_low
        const int32_t *leaf_high
        const int32_t *n_leaves
        int stride
        double unit, baseline
    double trees_one(const TreeEnsemble*, const double*) noexcept
    void trees_many(const TreeEnsemble*, const double*, int64_t, double*, int) noexcept
    void trees_sigmoid(double*, int64_t, int) noexcept
    int trees_level() noexcept
    double det_sigmoid(double) noexcept

# The arrays that a compiled ensemble consists of, as they go into a model file.
ARRAYS = {
    "thresholds": (np.float64, 2), "n_thresholds": (np.int32, 1), "columns": (np.int32, 2), "nodes": (np.uint8, 2),
    "node_start": (np.int32, 1), "depth": (np.int32, 1), "steps": (np.uint8, 2), "step_start": (np.int32, 1),
    "leaves": (np.int64, 2), "n_leaves": (np.int32, 1), "scalars": (np.float64, 1),
    # for explanations, tree by tree as the nodes stand
    "cover": (np.float64, 1), "value": (np.float64, 1),
}
LIMITS = {"columns": TREES_COLUMNS, "ranks": TREES_RANKS, "leaves": TREES_LEAVES}


def kernel_level():
    """The best instruction set that this processor has for trees: 0 portable, 1 AVX2, 2 AVX-512."""
    return trees_level()


cdef class Trees:
    """An ensemble that ``cordboard.learning.compiled`` made. Its methods change nothing.

    ``arrays``: the arrays of ARRAYS; ValueError if they do not fit together (nothing outside them is ever read).
    ``level``: instruction set, -1 = the best.
    """

    cdef TreeEnsemble e
    cdef readonly dict arrays
    cdef readonly int level
    cdef int depth_max
    cdef object low, high

    def __init__(self, arrays, int level=-1):
        own = {}
        for name, (dtype, ndim) in ARRAYS.items():
            given = arrays.get(name)
            if given is None or given.dtype != dtype or given.ndim != ndim:
                raise ValueError(f"array {name!r} is missing or of another type")
            own[name] = np.array(given, order="C")
        best = trees_level()
        if level > best:
            raise ValueError(f"this processor lacks instruction set {level}; it has up to {best}")
        self.level = best if level < 0 else level
        self.arrays = own
        check_arrays(own)
        self.low, self.high = np.zeros((len(own["leaves"]), 64), np.int32), np.zeros((len(own["leaves"]), 64), np.int32)
        few = own["leaves"][:, :64]
        self.low[:, :few.shape[1]] = few & 0xFFFFFF
        self.high[:, :few.shape[1]] = few >> 24
        self.point()

    cdef int point(self) except -1:
        # self.arrays owns the memory that the struct points into
        cdef dict a = self.arrays
        cdef const double[:, ::1] thresholds = a["thresholds"]
        cdef const int32_t[::1] n_thresholds = a["n_thresholds"]
        cdef const int32_t[:, ::1] columns = a["columns"]
        cdef const uint8_t[:, ::1] nodes = a["nodes"], steps = a["steps"]
        cdef const int32_t[::1] node_start = a["node_start"], depth = a["depth"], step_start = a["step_start"]
        cdef const int64_t[:, ::1] leaves = a["leaves"]
        cdef const int32_t[::1] n_leaves = a["n_leaves"]
        cdef const int32_t[:, ::1] low = self.low, high = self.high
        self.e.n_features, self.e.n_columns, self.e.n_trees = thresholds.shape[0], columns.shape[0], leaves.shape[0]
        self.e.thresholds, self.e.n_thresholds = &thresholds[0, 0], &n_thresholds[0]
        self.e.columns = &columns[0, 0] if columns.shape[0] else NULL
        self.e.nodes = <const TreeNode*> &nodes[0, 0]
        self.e.node_start, self.e.depth = &node_start[0], &depth[0]
        self.e.steps = <const TreeStep*> &steps[0, 0] if steps.shape[0] else NULL
        self.e.step_start, self.e.n_leaves = &step_start[0], &n_leaves[0]
        self.e.leaves, self.e.stride = &leaves[0, 0], leaves.shape[1]
        self.e.leaf_low, self.e.leaf_high = &low[0, 0], &high[0, 0]
        self.e.unit, self.e.baseline = ldexp(1.0, -<int> a["scalars"][0]), a["scalars"][1]
        self.depth_max = a["depth"].max()
        return 0

    def log_odds_one(self, const double[::1] row):
        """Log-odds of one row: float64 (n_features,), NaN = missing."""
        if row.shape[0] != self.e.n_features:
            raise ValueError(f"{row.shape[0]} values, expected {self.e.n_features}")
        return trees_one(&self.e, &row[0])

    def predict_one(self, const double[::1] row):
        """Probability of one row: float64 (n_features,), NaN = missing."""
        if row.shape[0] != self.e.n_features:
            raise ValueError(f"{row.shape[0]} values, expected {self.e.n_features}")
        return det_sigmoid(trees_one(&self.e, &row[0]))

    def log_odds(self, const double[:, ::1] rows, double[::1] out):
        """Fills ``out`` (n,) with the log-odds of rows: float64 (n, n_features). Gives up the GIL."""
        self.fill(rows, out)

    def predict(self, const double[:, ::1] rows, double[::1] out):
        """Fills ``out`` (n,) with the probabilities of rows: float64 (n, n_features). Gives up the GIL."""
        self.fill(rows, out)
        if out.shape[0] > 0:
            with nogil:
                trees_sigmoid(&out[0], out.shape[0], self.level)

    cdef int fill(self, const double[:, ::1] rows, double[::1] out) except -1:
        if rows.shape[1] != self.e.n_features or out.shape[0] != rows.shape[0]:
            raise ValueError(f"rows of {rows.shape[1]} values, expected {self.e.n_features}, or out of another length")
        if rows.shape[0] > 0:
            with nogil:
                trees_many(&self.e, &rows[0, 0], rows.shape[0], &out[0], self.level)
        return 0

    def shap(self, const double[::1] row, double[::1] out):
        """Fills ``out`` (n_features,) with the row's SHAP values of the log-odds; returns the expected log-odds.

        Expected log-odds + sum of the values = the row's log-odds (to rounding).
        """
        cdef const double[::1] cover = self.arrays["cover"], value = self.arrays["value"]
        cdef int32_t t, f
        cdef double expected = self.e.baseline
        cdef int places = (self.depth_max + 2) * (self.depth_max + 3) // 2 + self.depth_max + 3
        if row.shape[0] != self.e.n_features or out.shape[0] != self.e.n_features:
            raise ValueError(f"expected {self.e.n_features} values")
        cdef uint8_t* goes = <uint8_t*> malloc(max(self.e.n_columns, 1))
        cdef PathStep* path = <PathStep*> malloc(places * sizeof(PathStep))
        if goes == NULL or path == NULL:
            free(goes)
            free(path)
            raise MemoryError()
        with nogil:
            for f in range(self.e.n_features):
                out[f] = 0.0
            self.rank(&row[0], goes)
            for t in range(self.e.n_trees):
                shap_tree(&self.e, goes, self.e.node_start[t], 0, &cover[0], &value[0], path, 0, 1.0, 1.0, -1, &out[0])
                expected += expect(&self.e, self.e.node_start[t], 0, &cover[0], &value[0])
        free(goes)
        free(path)
        return expected

    cdef void rank(self, const double* x, uint8_t* q) noexcept nogil:
        cdef int c, f, r
        for c in range(self.e.n_columns):
            f = self.e.columns[2 * c]
            r = 0
            while r < self.e.n_thresholds[f] and self.e.thresholds[f * 256 + r] < x[f]:
                r += 1
            if isnan(x[f]):
                r = 0 if self.e.columns[2 * c + 1] else 255
            q[c] = r


def check_arrays(a):
    """ValueError unless every index in the arrays stays inside them: what the loops in C rely on."""
    nodes, steps, trees = a["nodes"], a["steps"], len(a["leaves"])
    starts = np.append(a["node_start"], len(nodes))
    ok = (
        trees > 0 and nodes.shape[1:] == (4,) and steps.shape[1:] == (4,) and a["columns"].shape[1:] == (2,)
        and a["thresholds"].shape[1:] == (256,) and len(a["n_thresholds"]) == len(a["thresholds"]) > 0
        and len(a["columns"]) <= TREES_COLUMNS and 1 <= a["leaves"].shape[1] <= TREES_LEAVES and len(a["scalars"]) == 2
        and all(len(a[k]) == trees for k in ("node_start", "depth", "n_leaves")) and len(a["step_start"]) == trees + 1
        and len(a["cover"]) == len(a["value"]) == len(nodes)
    )
    if not ok:
        raise ValueError("the arrays of the trees have shapes that do not fit together")
    if np.any(np.diff(starts) <= 0) or starts[0] != 0 or a["step_start"][0] != 0 or a["step_start"].item(-1) != len(steps) \
            or np.any(np.diff(a["step_start"]) < 0) or np.any(np.diff(a["depth"]) < 0) or a["depth"][0] < 0:
        raise ValueError("the trees do not follow each other")
    n, columns, stride = a["n_thresholds"], a["columns"], a["leaves"].shape[1]
    if n.min() < 0 or n.max() > TREES_RANKS or not np.all(np.isinf(a["thresholds"][np.arange(256) >= n[:, None]])):
        raise ValueError("the thresholds are not padded")
    if len(columns) and (columns.min() < 0 or columns[:, 0].max() >= len(n) or columns[:, 1].max() > 1):
        raise ValueError("a column names no feature")
    if a["n_leaves"].min() < 1 or a["n_leaves"].max() > stride or not np.isfinite(a["scalars"]).all():
        raise ValueError("a tree has no leaves, or more than there is room for")
    tree = np.repeat(np.arange(trees), np.diff(starts))
    left = nodes[:, 2].astype(np.int64) + 256 * nodes[:, 3].astype(np.int64)
    place = np.arange(len(nodes)) - starts[tree]
    leaf = left == place
    size = np.diff(starts)[tree]
    if np.any(leaf & (nodes[:, 1] != 255)) or np.any(~leaf & ((left <= place) | (left + 1 >= size))) \
            or np.any(np.where(leaf, nodes[:, 0] >= a["n_leaves"][tree], nodes[:, 0] >= len(columns))) \
            or np.any(~leaf & (nodes[:, 1] >= 254)):
        raise ValueError("a node of a tree points outside it")
    if np.any(np.bincount(left[~leaf] + starts[tree][~leaf], minlength=len(nodes)) > 1):
        raise ValueError("two nodes of a tree share their children")
    if np.any(a["depth"] != depths(starts, tree, left, leaf)):
        raise ValueError("a tree is not as deep as it says")
    if np.abs(a["leaves"].astype(np.float64)).max(axis=1).sum() > 2.0 ** 47 or abs(a["scalars"][0]) > 1000:
        raise ValueError("the leaves are too large")
    if not (a["cover"].min() > 0 and np.isfinite(a["cover"]).all() and np.isfinite(a["value"]).all()):
        raise ValueError("a node covers no rows, or its value is not finite")
    if len(steps):
        tree = np.repeat(np.arange(trees), np.diff(a["step_start"]))
        if np.any(steps[:, 0] >= len(columns)) or np.any(steps[:, 2:] >= a["n_leaves"][tree][:, None]):
            raise ValueError("a step of a tree points outside it")


def depths(starts, tree, left, leaf):
    """How deep each tree is: int (trees,). Walks all trees a level at a time; every child stands behind its parent."""
    deep = np.zeros(len(starts) - 1, np.int32)
    at = starts[:-1].astype(np.int64)
    level = 0
    while True:
        at = at[~leaf[at]]
        if len(at) == 0:
            return deep
        level += 1
        deep[tree[at]] = level
        first = starts[tree[at]] + left[at]
        at = np.concatenate([first, first + 1])


# -- SHAP: a path holds the features met on the way down, each with the share of rows that would come this way without knowing
# the feature (zero), whether the row itself does (one), and weight[i] = the sum over the subsets of size i of the path.

cdef struct PathStep:
    int feature
    double zero
    double one
    double weight


cdef double expect(const TreeEnsemble* e, int32_t start, int32_t at, const double* cover, const double* value) noexcept nogil:
    cdef TreeNode node = e.nodes[start + at]
    if node.left == at:
        return value[start + at]
    return (cover[start + node.left] * expect(e, start, node.left, cover, value)
            + cover[start + node.left + 1] * expect(e, start, node.left + 1, cover, value)) / cover[start + at]


cdef void extend(PathStep* path, int length, double zero, double one, int feature) noexcept nogil:
    cdef int i
    path[length].feature, path[length].zero, path[length].one = feature, zero, one
    path[length].weight = 1.0 if length == 0 else 0.0
    for i in range(length - 1, -1, -1):
        path[i + 1].weight += one * path[i].weight * (i + 1) / (length + 1)
        path[i].weight = zero * path[i].weight * (length - i) / (length + 1)


cdef double unwound_sum(const PathStep* path, int length, int out) noexcept nogil:
    # The sum of the weights that the path of `length` + 1 steps would have without step `out`.
    cdef double one = path[out].one, zero = path[out].zero, next_weight = path[length].weight, total = 0.0, w
    cdef int i
    for i in range(length - 1, -1, -1):
        if one != 0.0:
            w = next_weight * (length + 1) / ((i + 1) * one)
            total += w
            next_weight = path[i].weight - w * zero * (length - i) / (length + 1)
        else:
            total += path[i].weight * (length + 1) / (zero * (length - i))
    return total


cdef void unwind(PathStep* path, int length, int out) noexcept nogil:
    cdef double one = path[out].one, zero = path[out].zero, next_weight = path[length].weight, w
    cdef int i
    for i in range(length - 1, -1, -1):
        if one != 0.0:
            w = path[i].weight
            path[i].weight = next_weight * (length + 1) / ((i + 1) * one)
            next_weight = w - path[i].weight * zero * (length - i) / (length + 1)
        else:
            path[i].weight = path[i].weight * (length + 1) / (zero * (length - i))
    for i in range(out, length):
        path[i].feature, path[i].zero, path[i].one = path[i + 1].feature, path[i + 1].zero, path[i + 1].one


cdef void shap_tree(const TreeEnsemble* e, const uint8_t* q, int32_t start, int32_t at, const double* cover,
                    const double* value, PathStep* parent, int length, double zero, double one, int feature,
                    double* out) noexcept nogil:
    # `parent` holds `length` steps; this call works on a copy behind it, so that the sibling finds it unchanged.
    cdef PathStep* path = parent + length
    cdef TreeNode node = e.nodes[start + at]
    cdef int i, f, hot, cold
    cdef double came_zero = 1.0, came_one = 1.0
    for i in range(length):
        path[i] = parent[i]
    extend(path, length, zero, one, feature)
    if node.left == at:
        for i in range(1, length + 1):
            out[path[i].feature] += unwound_sum(path, length, i) * (path[i].one - path[i].zero) * value[start + at]
        return
    f = e.columns[2 * node.column]
    hot = node.left + (q[node.column] > node.thr)
    cold = node.left + node.left + 1 - hot
    for i in range(1, length + 1):
        if path[i].feature == f:
            came_zero, came_one = path[i].zero, path[i].one
            unwind(path, length, i)
            length -= 1
            break
    shap_tree(e, q, start, hot, cover, value, path, length + 1, came_zero * cover[start + hot] / cover[start + at], came_one,
              f, out)
    shap_tree(e, q, start, cold, cover, value, path, length + 1, came_zero * cover[start + cold] / cover[start + at], 0.0,
              f, out)


cdef void* trees_handle(object trees) except NULL:
    return &(<Trees?>trees).e


cdef double trees_probability(const void* handle, const double* row) noexcept nogil:
    return det_sigmoid(trees_one(<const TreeEnsemble*>handle, row))
