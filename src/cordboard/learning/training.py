"""Training scikit-learn models in the background. Nothing starts by itself: the caller starts a training, and asks
for it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cordboard.errors import DataError, MissingExtraError
from cordboard.learning.compiled import Compiled, compile_linear, compile_trees
from cordboard.learning.encoding import Encoded

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to train: ``trees`` (HistGradientBoostingClassifier) or ``linear`` (LogisticRegression)."""

    kind: Literal["trees", "linear"] = "trees"
    trees: int = 200
    leaves: int = 31
    learning_rate: float = 0.05
    leaf_rows: int = 50
    l2: float = 1.0
    seed: int = 0
    threads: int = 1


def train(rows: Encoded, y: Floats, recipe: Recipe | None = None) -> Compiled:
    """Train on rows and their labels (0 or 1; NaN rows are left out) and compile. MissingExtraError without
    scikit-learn."""
    recipe = recipe or Recipe()
    known = ~np.isnan(y)
    x, target = rows.dense[known], y[known]
    if len(np.unique(target)) != 2:
        raise DataError("the labels to train on are all alike", hint="Collect labels of both kinds first.")
    try:
        from threadpoolctl import threadpool_limits  # comes with scikit-learn
    except ImportError:
        raise MissingExtraError("scikit-learn", "learn") from None
    with threadpool_limits(recipe.threads):
        return _trees(x, target, recipe) if recipe.kind == "trees" else _linear(x, target, recipe)


def _trees(x: Floats, y: Floats, recipe: Recipe) -> Compiled:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        raise MissingExtraError("scikit-learn", "learn") from None
    model = HistGradientBoostingClassifier(
        max_iter=recipe.trees, max_leaf_nodes=recipe.leaves, learning_rate=recipe.learning_rate, early_stopping=False,
        min_samples_leaf=recipe.leaf_rows, l2_regularization=recipe.l2, random_state=recipe.seed,
    )  # fmt: skip
    return compile_trees(model.fit(x, y))


def _linear(x: Floats, y: Floats, recipe: Recipe) -> Compiled:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtraError("scikit-learn", "learn") from None
    mean = np.nan_to_num(np.nanmean(x, axis=0))
    scale = np.nanstd(x, axis=0)
    scale[~(scale > 1e-12)] = 1.0
    model = LogisticRegression(C=1.0 / recipe.l2, max_iter=1000)
    return compile_linear(model.fit(np.where(np.isnan(x), 0.0, (x - mean) / scale), y), mean, scale)


class Training:
    """A training in a thread of its own, which the caller starts by making this object.

    scikit-learn gives up the GIL while it works, so calls go on being routed. ``done()``, then ``result()``; close()
    or ``with`` waits for the end.
    """

    def __init__(self, rows: Encoded, y: Floats, recipe: Recipe | None = None) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="cordboard-training")
        self._future: Future[Compiled] = self._pool.submit(train, rows, np.array(y, dtype=np.float64), recipe)

    def done(self) -> bool:
        """Whether it has ended, well or badly."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> Compiled:
        """The compiled model; waits at most ``timeout`` seconds (TimeoutError). Raises what the training raised."""
        return self._future.result(timeout)

    def close(self) -> None:
        """Wait for the thread to end."""
        self._pool.shutdown(wait=True)

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
