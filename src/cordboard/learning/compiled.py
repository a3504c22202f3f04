"""Fitted scikit-learn models, compiled to arrays that need no scikit-learn: tree ensembles and logistic regressions.

A compiled model gives log-odds for a dense float64 matrix. It is made of arrays alone, so that it can go into a model
file and come back without pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cordboard._core import trees as core
from cordboard.errors import DataError

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

FIXED_POINT_BITS = 46  # of the largest possible sum of leaves


class CompiledTrees:
    """A binary tree ensemble that answers as the scikit-learn model it was made of, 300 times as fast for one row.

    Probabilities agree with ``predict_proba`` to 1e-9. ``n_features`` columns, float64, NaN = missing where the model
    had seen missing values (else missing goes the way of most rows, as in scikit-learn).
    """

    kind = "trees"

    def __init__(self, arrays: Mapping[str, NDArray[Any]], level: int = -1) -> None:
        self._core = core.Trees(dict(arrays), level)
        self.n_features = len(self._core.arrays["thresholds"])
        self.n_trees = len(self._core.arrays["leaves"])
        self.predict_one = self._core.predict_one  # bound here: one call from Python, no more
        self.log_odds_one = self._core.log_odds_one

    def arrays(self) -> Arrays:
        """The arrays it consists of."""
        return dict(self._core.arrays)

    def log_odds(self, rows: Floats) -> Floats:
        """Log-odds of rows (n, n_features): float64 (n,)."""
        out = np.empty(len(rows))
        self._core.log_odds(np.ascontiguousarray(rows, dtype=np.float64), out)
        return out

    def predict(self, rows: Floats) -> Floats:
        """Probabilities of rows (n, n_features): float64 (n,)."""
        out = np.empty(len(rows))
        self._core.predict(np.ascontiguousarray(rows, dtype=np.float64), out)
        return out

    def contributions(self, row: Floats) -> tuple[float, Floats]:
        """(expected log-odds, exact path-dependent SHAP values (n_features,)): together the row's log-odds."""
        out = np.empty(self.n_features)
        expected = self._core.shap(np.ascontiguousarray(row, dtype=np.float64), out)
        return expected, out


class CompiledLinear:
    """A logistic regression: log-odds = intercept + row . weights. Missing values count as ``fill``."""

    kind = "linear"

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        try:
            self._weights, self._fill, intercept = (np.array(arrays[k], dtype=np.float64) for k in ("w", "fill", "b"))
        except KeyError as missing:
            raise ValueError(f"array {missing} is missing") from None
        if self._weights.ndim != 1 or self._fill.shape != self._weights.shape or intercept.shape != (1,):
            raise ValueError("the arrays of the linear model do not fit together")
        if not all(np.isfinite(a).all() for a in (self._weights, self._fill, intercept)):
            raise ValueError("a weight of the linear model is not finite")
        self.n_features = len(self._weights)
        self._intercept = float(intercept[0])

    def arrays(self) -> Arrays:
        """The arrays it consists of."""
        return {"w": self._weights, "fill": self._fill, "b": np.array([self._intercept])}

    def _terms(self, rows: Floats) -> Floats:
        rows = np.asarray(rows, dtype=np.float64)
        return np.asarray(np.where(np.isnan(rows), self._fill, rows) * self._weights)

    def log_odds(self, rows: Floats) -> Floats:
        """Log-odds of rows (n, n_features): float64 (n,)."""
        return np.asarray(self._intercept + self._terms(rows).sum(axis=1))

    def predict(self, rows: Floats) -> Floats:
        """Probabilities of rows (n, n_features): float64 (n,)."""
        return np.asarray(1.0 / (1.0 + np.exp(-self.log_odds(rows))))

    def contributions(self, row: Floats) -> tuple[float, Floats]:
        """(log-odds of the row that has every value at ``fill``, what each feature adds to it (n_features,))."""
        usual = self._fill * self._weights
        return self._intercept + float(usual.sum()), self._terms(np.asarray(row)[None, :])[0] - usual


Compiled = CompiledTrees | CompiledLinear


def compile_linear(model: LogisticRegression, mean: Floats, scale: Floats) -> CompiledLinear:
    """Compile a binary LogisticRegression that was fitted on (rows - mean) / scale. Missing values count as the
    mean."""
    if len(model.classes_) != 2:
        raise DataError(f"the model has {len(model.classes_)} classes", hint="Fit it on two classes, 0 and 1.")
    weights = np.asarray(model.coef_[0], dtype=np.float64) / scale
    intercept = float(model.intercept_[0]) - float((weights * mean).sum())
    return CompiledLinear({"w": weights, "fill": np.asarray(mean, dtype=np.float64), "b": np.array([intercept])})


def compile_trees(model: HistGradientBoostingClassifier, level: int = -1) -> CompiledTrees:
    """Compile a fitted binary HistGradientBoostingClassifier. DataError, saying which limit, if it can't be
    compiled."""
    if len(model.classes_) != 2:
        raise DataError(f"the model has {len(model.classes_)} classes", hint="Fit it on two classes, 0 and 1.")
    trees = [stage[0].nodes for stage in model._predictors]
    for t, nodes in enumerate(trees):
        if nodes["is_categorical"].any():
            raise DataError(
                f"tree {t} splits on a categorical feature, which the tree walker does not have",
                hint="Fit the model on codes as ordinary numbers (categorical_features=None).",
            )
        if nodes["is_leaf"].sum() > core.LIMITS["leaves"]:
            raise DataError(
                f"tree {t} has {nodes['is_leaf'].sum()} leaves; the walker takes {core.LIMITS['leaves']}",
                hint="Set max_leaf_nodes.",
            )
    baseline = float(np.ravel(model._baseline_prediction)[0])
    return CompiledTrees(_layout(trees, model.n_features_in_, baseline), level)


def _layout(trees: list[NDArray[Any]], n_features: int, baseline: float) -> Arrays:
    """The arrays of ``_core.trees`` for trees in scikit-learn's node format."""
    thresholds, n_thresholds = _thresholds(trees, n_features)
    columns: dict[tuple[int, int], int] = {}
    laid = [_Laid(nodes, thresholds, n_thresholds, columns) for nodes in trees]
    laid.sort(key=lambda tree: tree.depth)  # stable; trees walked side by side should be equally deep
    if len(columns) > core.LIMITS["columns"]:
        raise DataError(
            f"the trees use {len(columns)} features; the walker takes {core.LIMITS['columns']} "
            "(a feature whose missing values go both ways counts twice)",
            hint="Fit on fewer features.",
        )
    largest = sum(max(abs(v) for v in tree.leaves) for tree in laid)
    shift = min(FIXED_POINT_BITS - int(np.ceil(np.log2(largest + 1e-300))), 60)
    leaves = np.zeros((len(laid), max(len(tree.leaves) for tree in laid)), np.int64)
    for t, tree in enumerate(laid):
        leaves[t, : len(tree.leaves)] = np.rint(np.ldexp(np.array(tree.leaves), shift)).astype(np.int64)
    count = [len(tree.nodes) for tree in laid]
    steps = [step for tree in laid for step in tree.steps]
    return {
        "thresholds": thresholds,
        "n_thresholds": n_thresholds,
        "columns": np.array(list(columns), np.int32).reshape(-1, 2),
        "nodes": np.array([node for tree in laid for node in tree.nodes], np.uint8),
        "node_start": np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int32),
        "depth": np.array([tree.depth for tree in laid], np.int32),
        "steps": np.array(steps, np.uint8).reshape(-1, 4),
        "step_start": np.cumsum([0] + [len(tree.steps) for tree in laid]).astype(np.int32),
        "leaves": leaves,
        "n_leaves": np.array([len(tree.leaves) for tree in laid], np.int32),
        "scalars": np.array([shift, baseline]),
        "cover": np.array([c for tree in laid for c in tree.cover], np.float64),
        "value": np.array([v for tree in laid for v in tree.value], np.float64),
    }


def _thresholds(trees: list[NDArray[Any]], n_features: int) -> tuple[Floats, NDArray[np.int32]]:
    """Each feature's thresholds, ascending and padded with +inf: float64 (n_features, 256), and how many: int32."""
    inner = np.concatenate([nodes[nodes["is_leaf"] == 0] for nodes in trees])
    table = np.full((n_features, 256), np.inf)
    number = np.zeros(n_features, np.int32)
    for f in range(n_features):
        found = np.unique(inner["num_threshold"][inner["feature_idx"] == f])
        if len(found) > core.LIMITS["ranks"]:
            raise DataError(
                f"feature {f} has {len(found)} thresholds; the walker takes {core.LIMITS['ranks']}",
                hint="Set max_bins=255.",
            )
        table[f, : len(found)] = found
        number[f] = len(found)
    return table, number


class _Laid:
    """One tree in the two layouts of ``_core.trees``: nodes with neighbouring siblings, and steps in pre-order."""

    def __init__(
        self, source: NDArray[Any], thresholds: Floats, n: NDArray[np.int32], columns: dict[tuple[int, int], int]
    ) -> None:
        self.nodes: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)]
        self.cover: list[float] = [0.0]
        self.value: list[float] = [0.0]
        self.steps: list[tuple[int, int, int, int]] = []
        self.leaves: list[float] = [0.0]
        self.depth = 0
        todo = [(0, 0, 0, 0)]  # index in source, place in nodes, label, depth: left before right
        while todo:
            index, place, label, depth = todo.pop()
            node = source[index]
            self.cover[place], self.value[place] = float(node["count"]), float(node["value"])
            self.depth = max(self.depth, depth)
            if node["is_leaf"]:
                self.nodes[place] = (label, 255, place & 255, place >> 8)
                self.leaves[label] = float(node["value"])
                continue
            f = int(node["feature_idx"])
            column = columns.setdefault((f, int(node["missing_go_to_left"])), len(columns))
            rank = int(np.searchsorted(thresholds[f, : n[f]], node["num_threshold"]))
            left, right = len(self.nodes), len(self.leaves)
            self.nodes[place] = (column & 255, rank, left & 255, left >> 8)
            self.nodes += [(0, 0, 0, 0)] * 2
            self.cover += [0.0] * 2
            self.value += [0.0] * 2
            self.leaves.append(0.0)
            self.steps.append((column & 255, rank, label, right))
            todo.append((int(node["right"]), left + 1, right, depth + 1))
            todo.append((int(node["left"]), left, label, depth + 1))
