"""Compiled trees answer as scikit-learn does, the same to the last bit however they are run, and explain themselves exactly."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard._core import trees as core
from cordboard.errors import DataError
from cordboard.learning.compiled import CompiledTrees, compile_linear, compile_trees

ensemble = pytest.importorskip("sklearn.ensemble")
LEVELS = range(core.kernel_level() + 1)


def rows(seed: int, n: int, features: int, missing: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)) * 10.0 ** rng.integers(-3, 4, size=features)
    x[:, 0] = np.round(x[:, 0])  # ties with thresholds
    x[rng.random(x.shape) < missing] = np.nan
    return x


def fitted(x: np.ndarray, seed: int, **settings):
    rng = np.random.default_rng(seed + 1)
    y = (np.nan_to_num(x / (np.nanstd(x, axis=0) + 1e-9)).sum(axis=1) + rng.normal(size=len(x)) > 0).astype(int)
    y[:2] = 0, 1
    return ensemble.HistGradientBoostingClassifier(early_stopping=False, **settings).fit(x, y)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    features=st.integers(1, 12),
    trees=st.integers(1, 12),
    leaves=st.integers(2, 120),
    depth=st.sampled_from([None, 1, 3, 6]),
    missing=st.sampled_from([0.0, 0.02, 0.4]),
)
def test_compiled_trees_answer_as_scikit_learn_does_missing_values_included(
    seed, features, trees, leaves, depth, missing
):
    x = rows(seed, 400, features, missing)
    model = fitted(x, seed, max_iter=trees, max_leaf_nodes=leaves, max_depth=depth, min_samples_leaf=2)
    fresh = np.concatenate([x, rows(seed + 2, 150, features, 0.1), [[np.inf] * features, [-np.inf] * features]])
    expected = model.predict_proba(fresh)[:, 1]

    compiled = compile_trees(model)

    assert np.abs(compiled.predict(fresh) - expected).max() < 1e-9


def test_a_value_equal_to_a_threshold_goes_left_and_the_next_float_goes_right():
    x = rows(3, 2000, 5, 0.0)
    model = fitted(x, 3, max_iter=5)
    nodes = np.concatenate([stage[0].nodes for stage in model._predictors])
    inner = nodes[nodes["is_leaf"] == 0]
    at = np.tile(x[0], (len(inner) * 3, 1))
    for i, node in enumerate(inner):
        t = node["num_threshold"]
        at[3 * i : 3 * i + 3, node["feature_idx"]] = np.nextafter(t, -np.inf), t, np.nextafter(t, np.inf)

    compiled = compile_trees(model)

    assert np.abs(compiled.predict(at) - model.predict_proba(at)[:, 1]).max() < 1e-9


@pytest.mark.parametrize(("trees", "leaves"), [(3, 8), (150, 31), (300, 60), (20, 200)])
def test_every_instruction_set_and_one_row_or_many_give_the_same_bits(trees, leaves):
    x = rows(5, 3000, 9, 0.05)
    arrays = compile_trees(fitted(x, 5, max_iter=trees, max_leaf_nodes=leaves, min_samples_leaf=2)).arrays()

    each = [CompiledTrees(arrays, level) for level in LEVELS]
    many = [compiled.log_odds(x[:777]) for compiled in each]
    one = np.array([each[0].log_odds_one(row) for row in x[:777]])

    for other in (*many, one):
        assert many[0].tobytes() == other.tobytes()


def brute_shap(arrays: dict, row: np.ndarray) -> np.ndarray:
    """Shapley values by their definition: the mean over all orders of what a feature adds to the conditional expectation."""
    features = len(arrays["thresholds"])
    bounds = [*arrays["node_start"], len(arrays["nodes"])]

    def expectation(known: frozenset) -> float:
        total = 0.0
        for start, _ in itertools.pairwise(bounds):
            stack = [(0, 1.0)]
            while stack:
                at, share = stack.pop()
                column, thr, low, high = (int(v) for v in arrays["nodes"][start + at])
                left = low + 256 * high
                if left == at:
                    total += share * arrays["value"][start + at]
                    continue
                f, missing_left = arrays["columns"][column]
                if f in known:
                    goes_left = missing_left if math.isnan(row[f]) else row[f] <= arrays["thresholds"][f][thr]
                    stack.append((left + (not goes_left), share))
                else:
                    for child in (left, left + 1):
                        part = arrays["cover"][start + child] / arrays["cover"][start + at]
                        stack.append((child, share * part))
        return total

    values = np.zeros(features)
    for size in range(features):
        weight = math.factorial(size) * math.factorial(features - size - 1) / math.factorial(features)
        for f in range(features):
            for others in itertools.combinations([g for g in range(features) if g != f], size):
                values[f] += weight * (expectation(frozenset((*others, f))) - expectation(frozenset(others)))
    return values


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), features=st.integers(1, 5), leaves=st.integers(2, 20))
def test_explanations_of_trees_are_the_shapley_values_of_the_definition(seed, features, leaves):
    x = rows(seed, 200, features, 0.1)
    compiled = compile_trees(fitted(x, seed, max_iter=3, max_leaf_nodes=leaves, min_samples_leaf=2))
    row = x[0]

    expected, values = compiled.contributions(row)

    assert values == pytest.approx(brute_shap(compiled.arrays(), row), abs=1e-9)
    assert expected + values.sum() == pytest.approx(compiled.log_odds_one(row), abs=1e-9)


def test_contributions_add_up_to_the_log_odds_for_deep_ensembles():
    x = rows(8, 4000, 15, 0.03)
    compiled = compile_trees(fitted(x, 8, max_iter=100))
    for row in x[:50]:
        expected, values = compiled.contributions(row)
        assert expected + values.sum() == pytest.approx(compiled.log_odds_one(row), abs=1e-8)


def test_what_cannot_be_compiled_is_refused_with_the_reason():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, size=(500, 2)).astype(float), rng.integers(0, 2, 500)
    three = ensemble.HistGradientBoostingClassifier(max_iter=2).fit(x, rng.integers(0, 3, 500))
    with pytest.raises(DataError, match="3 classes"):
        compile_trees(three)
    y[x[:, 0] == 2] = 1
    categorical = ensemble.HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]).fit(x, y)
    with pytest.raises(DataError, match="categorical"):
        compile_trees(categorical)
    wide = ensemble.HistGradientBoostingClassifier(
        max_iter=1, max_leaf_nodes=None, min_samples_leaf=1, early_stopping=False
    ).fit(rng.normal(size=(4000, 8)), rng.integers(0, 2, 4000))
    with pytest.raises(DataError, match="leaves"):
        compile_trees(wide)


def corrupted(arrays: dict, name: str, place: int, value: int) -> dict:
    changed = {key: array.copy() for key, array in arrays.items()}
    flat = changed[name].reshape(-1)
    flat[place % len(flat)] = value
    return changed


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(core.ARRAYS)), place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_damaged_arrays_are_refused_or_stay_inside_their_memory(name, place, value, small_trees):
    arrays, x = small_trees
    try:
        compiled = CompiledTrees(corrupted(arrays, name, place, value))
    except ValueError:
        return
    compiled.predict(x)  # whatever it says: the sanitizer build watches the memory
    compiled.predict_one(x[0])
    compiled.contributions(x[0])


@pytest.fixture(scope="module")
def small_trees():
    x = rows(1, 300, 4, 0.1)
    return compile_trees(fitted(x, 1, max_iter=3, max_leaf_nodes=9)).arrays(), x


@pytest.mark.parametrize("change", [-1, 1, 10**6])
def test_a_tree_that_lies_about_its_depth_is_refused(small_trees, change):
    # Memory for explanations is taken by the depth, and a walk takes so many steps.
    arrays = {name: array.copy() for name, array in small_trees[0].items()}
    arrays["depth"][-1] += change
    if change < 0:
        arrays["depth"][:] = np.minimum(arrays["depth"], arrays["depth"][-1])
    with pytest.raises(ValueError, match="as deep as it says"):
        CompiledTrees(arrays)


def test_a_tree_whose_nodes_share_children_is_refused(small_trees):
    # A chain of them would be walked once for every path: two to the depth.
    arrays = {name: array.copy() for name, array in small_trees[0].items()}
    last = arrays["node_start"][-1]
    nodes = arrays["nodes"][last:]
    inner = [i for i, node in enumerate(nodes) if int(node[2]) + 256 * int(node[3]) != i]
    below = next(i for i in inner if i in (nodes[0][2], nodes[0][2] + 1))
    nodes[0][2:] = nodes[below][2:]
    with pytest.raises(ValueError, match="share their children"):
        CompiledTrees(arrays)


def test_a_compiled_logistic_regression_answers_as_scikit_learn_does():
    from sklearn.linear_model import LogisticRegression

    x = rows(2, 500, 6, 0.0)
    y = (x[:, 1] > 0).astype(int)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    model = LogisticRegression().fit((x - mean) / scale, y)

    compiled = compile_linear(model, mean, scale)

    assert compiled.predict(x) == pytest.approx(model.predict_proba((x - mean) / scale)[:, 1], abs=1e-9)
    base, terms = compiled.contributions(x[0])
    assert base + terms.sum() == pytest.approx(compiled.log_odds(x[:1])[0], abs=1e-9)
    assert np.isfinite(compiled.predict(np.full((1, 6), np.nan))).all()
