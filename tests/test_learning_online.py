"""The online learner: what it computes, that it is the same everywhere, and that it stays so through a model file."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard._core.online import LANES, SLOTS, OnlineLearner, exp_log_check, kernel_level

LANE = ((0.05, 0.998, 1.0, 1e-5), (0.05, 0.9995, 1.0, 1e-5), (0.1, 0.9998, 1.0, 1e-4), (0.02, 0.998, 1.0, 1e-5))


def world(seed: int, n: int, numbers: int = 3, codes: int = 2, levels: int = 2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, numbers)) * 7 + 3
    x[rng.random(x.shape) < 0.05] = np.nan
    first = 1 + numbers + 1
    c = np.stack([first + 4 * i + rng.integers(4, size=n) for i in range(codes)], 1).astype(np.int32) if codes else None
    c = np.zeros((n, 0), np.int32) if c is None else c
    cells = np.stack([np.zeros(n), 1 + rng.integers(5, size=n)][:levels], 1).astype(np.int32) if levels else None
    cells = np.zeros((n, 0), np.int32) if cells is None else cells
    z = np.nan_to_num(x).sum(1) / 10 + (c.sum(1) % 3 if codes else 0) - 2
    y = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)
    return x, c, cells, y, first + 4 * codes


def learner(numbers: int = 3, codes: int = 2, levels: int = 2, **more) -> OnlineLearner:
    return OnlineLearner(numbers, codes, 1 + numbers + 1 + 4 * codes, levels, 6 if levels else 0, LANE, (30.0,), **more)


def run(model: OnlineLearner, w, delay: int = 0) -> np.ndarray:
    out = np.empty(len(w[3]))
    model.run(w[0], w[1], w[2], np.full(len(out), np.nan), w[3], delay, out)
    return out


class PlainLearner:
    """The same method in plain Python, with no lazy scales and no tricks."""

    def __init__(self, numbers: int, size: int, cells: int, prior: float = 0.1) -> None:
        self.numbers, self.prior = numbers, prior
        self.w, self.g = np.zeros((size, LANES)), np.zeros((size, LANES))
        self.w[0] = math.log(prior / (1 - prior))
        self.mean, self.var, self.count = np.zeros(numbers), np.zeros(numbers), np.zeros(numbers)
        self.s, self.n = np.zeros(cells), np.zeros(cells)
        self.rs, self.rn = 0.0, 0.0
        self.cum = np.zeros(LANES + 1)
        self.a, self.b, self.ga, self.gb, self.gain = 1.0, 0.0, 0.0, 0.0, 0.0

    def predict(self, v, codes, cells):
        x = np.zeros(self.numbers + 1)
        for d in range(self.numbers):
            if v[d] == v[d] and self.var[d] > 1e-12:
                x[d] = min(max((v[d] - self.mean[d]) / math.sqrt(self.var[d]), -5), 5)
        logit = lambda p: math.log(p / (1 - p))  # noqa: E731
        x[-1] = logit((self.rs + 5 * self.prior) / (self.rn + 5)) - logit(self.prior)
        z = self.w[0] + x @ self.w[1 : 1 + len(x)] + self.w[codes].sum(0)
        p = self.prior
        for c in cells:
            p = (self.s[c] + 20 * p) / (self.n[c] + 20)
        experts = np.append(z, logit(p))
        share = np.exp(-0.2 * (self.cum - self.cum.min()))
        share = 0.999 * share / share.sum() + 0.001 / len(share)
        pooled = float(share @ experts)
        calibrated = self.a * pooled + self.b
        served = calibrated if self.gain >= 0 else pooled
        return 1 / (1 + math.exp(-served)), (x, experts, pooled, calibrated)

    def learn(self, v, codes, cells, trace, y):
        x, experts, pooled, calibrated = trace
        loss = lambda z: math.log1p(math.exp((1 - 2 * y) * z))  # noqa: E731
        self.cum = 0.9999 * self.cum + np.array([loss(z) for z in experts])
        g = 1 / (1 + math.exp(-(self.a * pooled + self.b))) - y
        self.gain = 0.999 * self.gain + loss(pooled) - loss(calibrated)
        self.ga, self.gb = 0.999 * self.ga + (g * pooled) ** 2, 0.999 * self.gb + g * g
        self.a -= 0.01 * g * pooled / math.sqrt(self.ga + 1)
        self.b -= 0.01 * g / math.sqrt(self.gb + 1)
        self.a = min(max(self.a + 0.001 * (1 - self.a), 0.2), 2.0)
        self.b -= 0.001 * self.b
        z = self.w[0] + x @ self.w[1 : 1 + len(x)] + self.w[codes].sum(0)
        grad = 1 / (1 + np.exp(-z)) - y
        lr, decay, eps, shrink = np.array(LANE).T
        self.g *= decay
        self.w *= 1 - shrink
        places = [(0, 1.0), *((1 + i, value) for i, value in enumerate(x)), *((c, 1.0) for c in codes)]
        for at, value in places:
            self.g[at] += (grad * value) ** 2
            self.w[at] -= lr * grad * value / np.sqrt(self.g[at] + eps)
        self.rs, self.rn = self.rs * (1 - 1 / 30) + y, self.rn * (1 - 1 / 30) + 1
        self.s, self.n = self.s * 0.9995, self.n * 0.9995
        for c in cells:
            self.s[c] += y
            self.n[c] += 1

    def observe(self, v):
        for d in range(self.numbers):
            if v[d] == v[d]:
                self.count[d] = min(self.count[d] + 1, 5000)
                delta = v[d] - self.mean[d]
                self.mean[d] += delta / self.count[d]
                self.var[d] += (delta * (v[d] - self.mean[d]) - self.var[d]) / self.count[d]


@pytest.mark.parametrize("delay", [0, 1, 40])
def test_the_learner_does_what_a_plain_python_one_does(delay):
    w = world(1, 1500)
    x, c, cells, y, size = w
    plain, said, traces = PlainLearner(3, size, 6), [], []
    for i in range(len(y)):
        p, trace = plain.predict(x[i], c[i], cells[i])
        plain.observe(x[i])
        said.append(p)
        traces.append(trace)
        if i >= delay:
            plain.learn(x[i - delay], c[i - delay], cells[i - delay], traces[i - delay], y[i - delay])

    p = run(learner(), w, delay)

    assert np.abs(p - np.array(said)).max() < 1e-4  # its steps are sized by 1/sqrt to three digits


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(0, 9), st.integers(0, 5), st.sampled_from([0, 2])),
    delay=st.integers(0, 50),
)
def test_every_instruction_set_gives_the_same_bits(seed, shape, delay):
    w = world(seed, 400, *shape)
    said = [run(learner(*shape, level=level), w, delay) for level in range(kernel_level() + 1)]
    for other in said:
        assert other.tobytes() == said[0].tobytes()
        assert ((other > 0) & (other < 1)).all()


def test_row_by_row_and_in_one_run_give_the_same_bits():
    x, c, cells, y, _ = w = world(3, 600)
    at_once, model = run(learner(), w), learner()
    p, trace, none = np.empty(1), np.empty((1, model.trace_size())), np.full(1, np.nan)
    said = []
    for i in range(len(y)):
        row = x[i : i + 1], c[i : i + 1], cells[i : i + 1]
        model.predict(*row, none, p, trace)
        said.append(p[0])
        model.observe(row[0])
        model.learn(*row, trace, y[i : i + 1])
    assert np.array(said).tobytes() == at_once.tobytes()


def test_a_prediction_changes_nothing():
    w = world(4, 300)
    model = learner()
    run(model, w)
    before = model.state()
    out, trace = np.empty(300), np.empty((300, model.trace_size()))
    model.predict(w[0], w[1], w[2], np.full(300, np.nan), out, trace)
    assert all(np.array_equal(before[name], value) for name, value in model.state().items())


def test_a_restored_learner_goes_on_to_the_same_bits():
    first, second = world(5, 700), world(6, 300)
    model, twin = learner(), learner()
    run(model, first)
    twin.restore(model.state())
    assert run(model, second).tobytes() == run(twin, second).tobytes()


def test_lazily_decayed_sums_survive_many_labels():
    # 0.9 ^ 20,000 is far below the smallest double: without rewriting the scales the weights would become NaN.
    fast = ((0.05, 0.9, 1.0, 0.1),) * LANES
    model = OnlineLearner(3, 2, 13, 2, 6, fast, (30.0,), cell_decay=0.9)
    p = run(model, world(7, 20_000))
    assert np.isfinite(p).all() and 0.05 < p[-1000:].mean() < 0.95
    assert np.isfinite(model.weights()).all()


def test_the_first_prediction_is_the_prior_and_a_cell_starts_from_its_parents():
    model = learner(prior=0.3)
    none = np.full(1, np.nan)
    x, c = np.zeros((1, 3)), np.array([[5, 9]], np.int32)
    p, trace = np.empty(1), np.empty((1, model.trace_size()))
    model.predict(x, c, np.array([[0, 1]], np.int32), none, p, trace)
    assert p[0] == pytest.approx(0.3, abs=1e-9)
    assert model.rate(np.array([0, 1], np.int32)) == (pytest.approx(0.3), 0.0)

    for _ in range(100):  # cell 1 always succeeds
        model.predict(x, c, np.array([[0, 1]], np.int32), none, p, trace)
        model.learn(x, c, np.array([[0, 1]], np.int32), trace, np.ones(1))
    hot, n_hot = model.rate(np.array([0, 1], np.int32))
    new, n_new = model.rate(np.array([0, 2], np.int32))
    assert hot > new > 0.8, "an unseen cell inherits what its parent has seen, and no more"
    assert n_hot > 100 > n_new == pytest.approx(20.0), "a parent is worth `strength` labels"


def test_the_calibration_slope_stays_within_its_clamp_and_labels_of_either_kind_move_it():
    for label in (0.0, 1.0):
        model = learner(platt_rate=5.0, platt_pull=0.0)
        w = world(8, 400)
        run(model, (w[0], w[1], w[2], np.full(400, label), w[4]))
        slope, _, used = model.calibration()
        assert 0.2 <= slope <= 2.0 and isinstance(used, bool)


def test_the_pool_moves_to_the_expert_that_predicts_best():
    x, c, cells, y, _ = world(9, 2000)
    model = learner()
    model.use_extra(True)
    oracle = np.where(y > 0.5, 3.0, -3.0)  # an external expert that knows
    out = np.empty(len(y))
    model.run(x, c, cells, oracle, y, 0, out)
    assert SLOTS[int(np.argmax(model.pool()))] == "trees"
    assert model.pool().sum() == pytest.approx(1.0)
    assert np.mean(np.abs(out[-500:] - y[-500:])) < 0.1


def test_an_absent_external_expert_is_left_out_row_by_row():
    x, c, cells, y, _ = w = world(10, 500)
    plain, beside = learner(), learner()
    beside.use_extra(True)
    beside.use_extra(False)
    assert run(plain, w).tobytes() == run(beside, w).tobytes()
    sometimes = np.where(np.arange(500) % 2 == 0, np.nan, 0.5)
    out = np.empty(500)
    beside.use_extra(True)
    beside.run(x, c, cells, sometimes, y, 0, out)
    assert np.isfinite(out).all()


def test_our_exp_log_and_root_are_accurate():
    x = np.concatenate([np.linspace(-700, 700, 20_001), np.linspace(-2, 2, 20_001)])
    exp, log, rsqrt = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    exp_log_check(x, exp, log, rsqrt)
    assert np.abs(exp / np.exp(x) - 1).max() < 2e-11
    assert (np.abs(log - np.log(exp)) / (1 + np.abs(x))).max() < 1e-12
    assert np.abs(rsqrt * np.sqrt(exp) - 1).max() < 1e-5


@pytest.mark.parametrize(
    "change",
    [
        lambda w: (w[0][:, :2].copy(), *w[1:]),
        lambda w: (w[0], np.full_like(w[1], 99), *w[2:]),
        lambda w: (w[0], np.full_like(w[1], 0), *w[2:]),
        lambda w: (w[0], w[1], np.full_like(w[2], -1), *w[3:]),
        lambda w: (*w[:3], np.full(len(w[3]), 0.5), w[4]),
    ],
    ids=["numbers", "code beyond", "code of a number", "cell", "label"],
)
def test_rows_that_do_not_fit_are_refused_before_anything_is_learned(change):
    model = learner()
    before = model.state()
    with pytest.raises(ValueError):
        run(model, change(world(11, 20)))
    assert all(np.array_equal(before[name], value) for name, value in model.state().items())


def test_damaged_state_is_refused_and_nothing_is_changed():
    model = learner()
    run(model, world(12, 50))
    before = model.state()
    for name in before:
        bad = {**before, name: before[name][:0]}
        with pytest.raises(ValueError, match=name):
            model.restore(bad)
    with pytest.raises(ValueError, match="finite"):
        model.restore({**before, "w": np.full_like(before["w"], np.nan)})
    assert all(np.array_equal(before[name], value) for name, value in model.state().items())
