"""What learning and predicting cost: the online learner, and compiled trees beside those who compile trees too.

    python -m pytest benchmarks/bench_learning.py --benchmark-enable -o addopts= -s

Rivals run in the same process, in turns with ours, on one thread; the table gives medians and ratios.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cordboard.learning import synthetic
from cordboard.learning.compiled import CompiledTrees, compile_trees
from cordboard.learning.head import Settings
from cordboard.learning.model import AnswerModel

FEATURES, TREES, LEAVES = 19, 200, 31
BATCH = int(os.environ.get("CORDBOARD_BENCH_ROWS", "200000"))  # 1,000,000 for the table in the docs
NONE = np.nan
BLOCK = 2048  # rows; a fraction of a millisecond, in which mostly nobody else gets the processor


def turns(functions: dict[str, Callable[[], object]], rounds: int, calls: int = 1) -> dict[str, float]:
    """Median processor seconds a call of each, taken in turns so that a busy machine is busy for all."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.process_time()
            for _ in range(calls):
                function()
            taken[name].append((time.process_time() - start) / calls)
    return {name: float(np.median(values)) for name, values in taken.items()}


def table(title: str, seconds: dict[str, float], unit: float, name: str, ours: str) -> None:
    print(f"\n{title}\n| engine | {name} | times ours |\n|---|---|---|")
    for engine, value in sorted(seconds.items(), key=lambda item: item[1]):
        print(f"| {engine} | {value / unit:.3g} | {value / seconds[ours]:.3g} |")


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, FEATURES))
    x[:, 3] = np.round(x[:, 3])
    y = (x[:, :6].sum(axis=1) + x[:, 0] * x[:, 1] + rng.normal(size=len(x)) > 0).astype(int)
    return x, y


@pytest.fixture(scope="module")
def boosted(world):
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return HistGradientBoostingClassifier(
            max_iter=TREES, max_leaf_nodes=LEAVES, max_depth=6, learning_rate=0.05, early_stopping=False
        ).fit(*world)


@pytest.fixture(scope="module")
def light(world):
    lightgbm = pytest.importorskip("lightgbm")
    return lightgbm.LGBMClassifier(
        n_estimators=TREES, num_leaves=LEAVES, max_depth=6, learning_rate=0.05, n_jobs=1, verbose=-1
    ).fit(*world)


def tl2cgen_predictor(boosted, folder: Path):
    """The same ensemble through treelite and tl2cgen, on one thread; None where it does not install or compile."""
    try:
        import tl2cgen
        import treelite

        library = folder / "model.so"
        model = treelite.sklearn.import_model(boosted)
        tl2cgen.export_lib(model, toolchain="gcc", libpath=str(library), params={"parallel_comp": 8})
        return tl2cgen, tl2cgen.Predictor(str(library), nthread=1)
    except Exception as error:
        print(f"tl2cgen is left out: {error}")
        return None


def lleaves_model(light, folder: Path):
    """LightGBM's ensemble of the same size through lleaves; None where it does not install or compile."""
    try:
        import lleaves

        light.booster_.save_model(folder / "light.txt")
        model = lleaves.Model(model_file=str(folder / "light.txt"))
        model.compile()
        return model
    except Exception as error:
        print(f"lleaves is left out: {type(error).__name__}: {error}")
        return None


def test_track_a_row_through_200_trees(benchmark, world, boosted, light, tmp_path):
    from threadpoolctl import threadpool_limits

    x = world[0]
    compiled = compile_trees(boosted)
    rows = [np.ascontiguousarray(row) for row in x[:500]]
    many = iter(np.random.default_rng(1).integers(len(rows), size=10**7).tolist())
    functions: dict[str, Callable[[], object]] = {
        "cordboard predict_one": lambda: compiled.predict_one(rows[next(many)]),
        "HistGradientBoosting.predict_proba": lambda: boosted.predict_proba(x[next(many)][None, :]),
        "LightGBM Booster.predict": lambda: light.booster_.predict(x[next(many)][None, :], num_threads=1),
    }
    if found := tl2cgen_predictor(boosted, tmp_path):
        tl2cgen, predictor = found
        functions["tl2cgen"] = lambda: predictor.predict(tl2cgen.DMatrix(x[next(many)][None, :]))
    with threadpool_limits(1):
        seconds = turns(functions, 60, 3)
        ours = turns({"cordboard predict_one": functions["cordboard predict_one"]}, 60, 200)
        seconds.update(ours)
        table("One row, 200 trees of 31 leaves, called from Python", seconds, 1e-6, "us", "cordboard predict_one")
        benchmark(lambda: compiled.predict_one(rows[0]))
        ratio = seconds["HistGradientBoosting.predict_proba"] / seconds["cordboard predict_one"]
        print(f"{ratio:.0f} times as fast as HistGradientBoostingClassifier.predict_proba")
    assert compiled.predict_one(rows[0]) == pytest.approx(boosted.predict_proba(x[:1])[0, 1], abs=1e-9)


def test_track_a_batch_through_200_trees(benchmark, world, boosted, light, tmp_path):
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(2)
    x = np.ascontiguousarray(
        world[0][rng.integers(len(world[0]), size=BATCH)] + rng.normal(size=(BATCH, FEATURES)) * 0.1
    )
    compiled, core = compile_trees(boosted), None
    functions: dict[str, Callable[[], object]] = {"cordboard": lambda: compiled.predict(x)}
    for level in range(CompiledTrees(compiled.arrays())._core.level):
        core = CompiledTrees(compiled.arrays(), level)
        functions[f"cordboard, {('portable', 'AVX2')[level]}"] = lambda core=core: core.predict(x)
    if found := tl2cgen_predictor(boosted, tmp_path):
        tl2cgen, predictor = found
        matrix = tl2cgen.DMatrix(x, dtype="float64")
        functions["tl2cgen"] = lambda: predictor.predict(matrix)
    if (leaves := lleaves_model(light, tmp_path)) is not None:
        functions["lleaves (LightGBM of the same size)"] = lambda: leaves.predict(x, n_jobs=1)
    with threadpool_limits(1):
        functions["HistGradientBoosting"] = lambda: boosted.predict_proba(x)
        seconds = turns(functions, 3)
        table(f"{BATCH:,} rows, one thread", {k: v / BATCH for k, v in seconds.items()}, 1e-9, "ns a row", "cordboard")
        benchmark.pedantic(compiled.predict, (x,), rounds=3)


@pytest.fixture(scope="module")
def contacts():
    """The bank's contacts if they are there (CORDBOARD_DATA), else made-up call attempts."""
    from cordboard.learning.progressive import read_table
    from cordboard.learning.schema import Schema

    path = Path(os.environ.get("CORDBOARD_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
    path /= "bank-additional-full.csv"
    if path.exists():
        columns = read_table(path)
        model = AnswerModel(Schema.load("bank-additional"), ["success"])
        return model, model.encoder.encode(columns), np.array([v == "yes" for v in columns["y"]], dtype=float)
    made = synthetic.attempts(20_000, 1)
    model = AnswerModel(synthetic.schema(), ["success"])
    return model, model.encoder.encode(made.table), np.array([r.outcome == "person" for r in made.results], dtype=float)


def test_track_predict_and_update(benchmark, contacts):
    model, rows, y = contacts
    learner = Settings().learner(model.encoder)
    out, extra = np.empty(len(y)), np.full(len(y), NONE)
    run = lambda: learner.run(rows.numbers, rows.codes, rows.cells, extra, y, 0, out)  # noqa: E731
    seconds = turns({"cordboard": run}, 9)["cordboard"]
    blocks = [slice(at, at + BLOCK) for at in range(0, len(y) - BLOCK + 1, BLOCK)]
    least = np.full(len(blocks), np.inf)
    for _ in range(30):
        for k, one in enumerate(blocks):
            start = time.perf_counter()
            learner.run(rows.numbers[one], rows.codes[one], rows.cells[one], extra[one], y[one], 0, out[one])
            least[k] = min(least[k], time.perf_counter() - start)
    width = rows.numbers.shape[1] + rows.codes.shape[1] + len(model.settings.recent) + 1
    print(f"\npredict and update, four regressions over {width} weights a row, pooled and calibrated: ")
    print(f"{seconds / len(y) * 1e9:.0f} ns a row (median of 9 runs over {len(y):,} rows)")
    print(f"{least.mean() / BLOCK * 1e9:.0f} ns a row where nothing else ran (each {BLOCK} rows at their quickest of 30 times)")
    benchmark.pedantic(run, rounds=3)


def test_time_one_live_prediction(benchmark):
    made = synthetic.attempts(200, 1)
    live = AnswerModel(synthetic.schema())
    row = {name: values[0] for name, values in made.table.items()}
    benchmark(live.predict, row)
