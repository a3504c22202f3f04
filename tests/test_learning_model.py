"""The answer model: probabilities that sum to one, labels that come late, champions and challengers, alarms,
explanations."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard import AnswerModel
from cordboard.errors import DataError, EventError, LimitError, StaleEventError
from cordboard.learning import metrics, synthetic
from cordboard.learning.contest import Contest, ContestRule
from cordboard.learning.drift import FeatureDrift, OutcomeDrift
from cordboard.learning.head import Settings
from cordboard.learning.model import OUTCOMES, Result, chain, results_of, whole_attempt
from cordboard.learning.training import Recipe, Training, train

from .realdata import real_data


@pytest.fixture(scope="module")
def calls():
    return synthetic.attempts(6000, seed=3)


@pytest.fixture(scope="module")
def learned(calls):
    model = AnswerModel(synthetic.schema())
    return model, model.replay(calls.table, calls.results)


def row_of(calls, i: int) -> dict:
    return {name: values[i] for name, values in calls.table.items()}


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=20))
def test_competing_outcomes_sum_to_one_whatever_the_heads_say(rows):
    given_ = {name: np.array([row[i] for row in rows]) for i, name in enumerate(OUTCOMES[:-1])}
    outcomes = chain(given_)
    assert tuple(outcomes) == OUTCOMES
    assert sum(outcomes.values()) == pytest.approx(1.0, abs=1e-12)
    assert all(((p >= 0) & (p <= 1)).all() for p in outcomes.values())


def test_one_prediction_is_a_distribution_and_a_success_needs_the_right_person(learned, calls):
    model, _ = learned
    for i in range(0, 6000, 500):
        p = model.predict(row_of(calls, i))
        assert sum(p.outcomes.values()) == pytest.approx(1.0, abs=1e-12)
        assert p.person > p.right_party > p.success > 0
        assert p.right_party == pytest.approx(p.person * p.given["right_party"])
        assert p.effective_n > 0 and set(p.served_by) == set(model.heads)


def test_one_row_and_many_rows_agree(learned, calls):
    model, _ = learned
    many = model.predict_many({name: values[:50] for name, values in calls.table.items()})
    for i in range(50):
        one = model.predict(row_of(calls, i))
        assert one.outcomes == {name: many[name][i] for name in OUTCOMES}
        assert one.success == many["success"][i]


def test_it_beats_the_blind_mean_and_is_no_better_than_the_truth(learned, calls):
    _, said = learned
    p = whole_attempt(said)["person"]
    y = np.array([r.outcome == "person" for r in calls.results], dtype=float)
    late = slice(3000, None)
    loss = [metrics.log_loss(y[late], q[late]) for q in (calls.p[:, 0], p, metrics.running_mean(y))]
    assert loss[0] < loss[1] < loss[2]


def test_live_calls_learn_what_a_replay_learns(calls):
    live, replayed = (AnswerModel(synthetic.schema()) for _ in range(2))
    n, late = 150, 7
    said = []
    for i in range(n + late):
        if i < n:
            said.append(live.expect(f"call {i}", row_of(calls, i), now=float(i)).given["person"])
        if 0 <= i - late < n - late:
            live.learn(f"call {i - late}", calls.results[i - late], now=float(i))
    table = {name: values[:n] for name, values in calls.table.items()}
    p = replayed.replay(table, calls.results[:n], delay=late)["person"]
    assert np.array(said).tobytes() == p.tobytes()
    account = live.pending.account
    assert (account.made, account.learned, len(live.pending)) == (n, n - late, late)
    assert account.mean_delay == account.seconds_max == late
    assert live.pending.expire(now=1000.0, older=1.0) == late and account.expired == late


def test_a_call_is_learned_once_and_the_queue_is_bounded(calls):
    model = AnswerModel(synthetic.schema(), pending_limit=2)
    model.expect("a", row_of(calls, 0), 0.0)
    with pytest.raises(EventError, match="waits for its outcome already"):
        model.expect("a", row_of(calls, 0), 0.0)
    model.expect("b", row_of(calls, 1), 0.0)
    with pytest.raises(LimitError, match=r"limit is 2"):
        model.expect("c", row_of(calls, 2), 0.0)
    model.learn("a", Result("busy"), 5.0)
    with pytest.raises(StaleEventError, match="no prediction waits"):
        model.learn("a", Result("busy"), 5.0)
    with pytest.raises(DataError, match="unknown outcome"):
        model.learn("b", Result("perhaps"), 5.0)
    assert "b" in model.pending, "a result that can't be used loses no prediction"


def test_labels_reach_the_heads_whose_question_came_up(calls):
    model = AnswerModel(synthetic.schema())
    labels = model.labels(
        [Result("person", True, False), Result("busy"), Result("person", False), Result(), Result("invalid")]
    )
    nan = math.nan
    expected = {
        "person": [1, 0, 1, nan, 0],
        "machine": [nan, 0, nan, nan, 0],
        "busy": [nan, 1, nan, nan, 0],
        "no_answer": [nan, nan, nan, nan, 0],
        "right_party": [1, nan, 0, nan, nan],
        "success": [0, nan, nan, nan, nan],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(labels[name], values, err_msg=name)


@pytest.mark.parametrize("kind", ["trees", "linear"])
def test_explanations_add_up_to_the_log_odds_compiled_models_included(calls, kind):
    model = AnswerModel(synthetic.schema(), ["person", "machine", "busy", "no_answer"])
    rows = model.encoder.encode(calls.table)
    y = model.labels(calls.results)["person"]
    model.replay(calls.table, calls.results)
    head = model.heads["person"]
    head.challenge("trees", train(rows, y, Recipe(kind=kind, trees=20)))
    head.run(rows.rows(slice(0, 500)), y[:500])
    for challenger in (False, True):
        if challenger:
            head.champion = head.challenger
        for i in range(0, 3000, 600):
            why = model.explain(row_of(calls, i), "person")
            assert why.base + sum(value for _, value in why.terms) == pytest.approx(why.log_odds, abs=1e-9)
            assert 1 / (1 + math.exp(-why.log_odds)) == pytest.approx(why.p, abs=1e-9)
            assert why.p == model.predict(row_of(calls, i)).person
            names = {name for name, _ in why.terms}
            assert {"hour", "line x hour", "shrunk rate", "recent rate (10 labels)"} <= names


def test_a_challenger_that_is_better_takes_over_once_and_a_worse_one_never(calls):
    def model_with(y_train):
        model = AnswerModel(synthetic.schema(), ["success"], rule=ContestRule(labels=200, memory=1000))
        rows = model.encoder.encode(calls.table)
        with Training(rows, y_train, Recipe(trees=40)) as training:
            compiled = training.result(timeout=300)
        assert training.done()
        model.challenge("success", "new", compiled)
        model.heads["success"].run(rows, y)
        return model.heads["success"]

    # given a question whose answer trees see at once and regressions can't
    rng = np.random.default_rng(0)
    age, tries = np.array(calls.table["age"]), np.array(calls.table["tries"])
    hidden = (age > 40) ^ (tries > 0)
    y = (rng.random(len(age)) < np.where(hidden, 0.85, 0.15)).astype(float)
    better = model_with(y)
    assert better.champion.name == "new" and "takes over" in better.log[1]
    # then labels that have nothing to do with it make no champion
    worse = model_with(rng.permutation(y))
    assert worse.champion.name == "champion" and worse.contest.gain < 0.01


def test_a_contest_waits_for_enough_labels_and_starts_anew_after_a_change():
    contest = Contest(ContestRule(labels=100, memory=500, margin=0.001, sigmas=2))
    rng = np.random.default_rng(0)
    changes = [i for i in range(1000) if contest.add(float(rng.random() < 0.5), 0.9, 0.5)]
    assert changes and changes[0] >= 99
    assert all(b - a >= 100 for a, b in itertools.pairwise(changes))
    level = Contest(ContestRule(labels=100))
    assert not any(level.add(float(rng.random() < 0.5), 0.5, 0.5) for _ in range(2000))


def test_drift_alarms_come_after_the_change_and_seldom_without_one():
    rng = np.random.default_rng(1)
    still = OutcomeDrift()
    assert not [a for _ in range(20_000) for a in still.add(float(rng.random() < 0.3), 0.3)]
    moved = OutcomeDrift()
    for _ in range(3000):
        assert not moved.add(float(rng.random() < 0.3), 0.3)
    found = [a for _ in range(2000) for a in moved.add(float(rng.random() < 0.6), 0.3)]
    assert {a.what for a in found} == {"log_loss", "residual"}
    assert found[0].at < 3500 and all(a.value >= a.limit for a in found)


def test_the_stability_index_names_the_feature_that_moved(calls):
    model = AnswerModel(synthetic.schema(), ["success"])
    half = 3000
    table = {name: list(values) for name, values in calls.table.items()}
    drift = FeatureDrift([" x ".join(g) for g in model.encoder.coded], model.encoder.n_weights, 1000, 1000)
    assert "line" not in {a.detail for a in drift.add(model.encoder.encode({k: v[:half] for k, v in table.items()}))}
    table["line"] = ["landline"] * 6000
    found = drift.add(model.encoder.encode({k: v[half:] for k, v in table.items()}))
    assert "line" in {a.detail for a in found} and drift.index()["line"] > 0.25 > drift.index()["region"]


def test_cold_start_is_the_shrunk_rate_and_the_regressions_take_over(calls):
    model = AnswerModel(synthetic.schema(), ["success"], settings=Settings(prior=0.2))
    p = model.predict(row_of(calls, 0))
    assert p.success == pytest.approx(0.2, abs=1e-9) and p.effective_n == 0


def test_the_generator_keeps_the_published_marginals(calls):
    big = synthetic.attempts(20_000, seed=9)
    share = {name: np.mean([r.outcome == name for r in big.results]) for name in OUTCOMES}
    assert 0.25 <= share["no_answer"] <= 0.35 and 0.03 <= share["busy"] <= 0.06 and share["invalid"] <= 0.05
    answered = np.array([r.outcome in ("person", "machine") for r in big.results])
    humps = np.histogram(big.ring[answered], [0, 6, 10.5, 17, 22, 25])[0]
    assert humps[1] > humps[0] and humps[1] > humps[2] and humps[3] > humps[2] and humps[3] > humps[4]
    assert big.p.sum(axis=1) == pytest.approx(np.ones(20_000))
    assert synthetic.attempts(500, 4).results == synthetic.attempts(500, 4).results


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=200))
def test_the_metrics_are_those_of_scikit_learn(pairs):
    scores = pytest.importorskip("sklearn.metrics")
    y, p = np.array([a for a, _ in pairs], dtype=float), np.array([b for _, b in pairs])
    if 0 < y.sum() < len(y):
        assert metrics.auc(y, p) == pytest.approx(scores.roc_auc_score(y, p))
        clipped = np.clip(p, 1e-9, 1 - 1e-9)
        assert metrics.log_loss(y, p) == pytest.approx(scores.log_loss(y, clipped, labels=[0, 1]))
    assert metrics.brier(y, p) == pytest.approx(scores.brier_score_loss(y, p))
    assert 0 <= metrics.ece(y, p) <= 1


def test_heads_that_make_no_model_are_refused():
    for heads in (["person"], [], ["answered"], ["success", "right_party"], ["machine", "busy", "no_answer"]):
        with pytest.raises(DataError):
            AnswerModel(synthetic.schema(), heads)


def test_results_read_yes_and_no_and_name_the_line_of_anything_else():
    found = results_of({"y": ["yes", "NO", "", "1"]}, {"success": "y"})
    assert [r.success for r in found] == [True, False, None, True]
    with pytest.raises(DataError, match=r"calls.csv:3 \[y\].*'maybe'"):
        results_of({"y": ["yes", "maybe"]}, {"success": "y"}, file="calls.csv")


def test_importing_and_predicting_need_no_scikit_learn():
    code = (
        "import sys, cordboard; from cordboard.learning import synthetic; a = synthetic.attempts(50);"
        "m = cordboard.AnswerModel(synthetic.schema()); m.replay(a.table, a.results);"
        "assert not [k for k in sys.modules if k.split('.')[0] in ('sklearn', 'scipy', 'lightgbm')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.data
@pytest.mark.parametrize("delay", [0, 500])
def test_on_the_banks_contacts_it_reaches_what_was_promised(delay):
    from cordboard.learning.progressive import read_table
    from cordboard.learning.schema import Schema

    table = read_table(real_data("bank-additional-full.csv"))
    y = np.array([value == "yes" for value in table["y"]], dtype=float)
    model = AnswerModel(Schema.load("bank-additional"), ["success"])
    p = model.replay(table, results_of(table, {"success": "y"}), delay=delay)["success"]
    last = slice(int(len(y) * 0.7), None)
    found = metrics.summary(y[last], p[last])
    if delay == 0:
        assert found["log_loss"] <= 0.4416 and found["ece"] <= 0.010
        assert found["auc"] >= 0.800 and found["block_auc"] >= 0.630
    else:
        assert found["log_loss"] <= 0.478


@settings(max_examples=30)
@given(st.integers(0, 5999), st.sampled_from(["person", "success"]))
def test_predicting_changes_nothing(learned_once, i, head):
    model, calls = learned_once
    before = {k: v.tobytes() for k, v in model.heads[head].state().items()}
    model.predict(row_of(calls, i))
    model.explain(row_of(calls, i), head)
    assert before == {k: v.tobytes() for k, v in model.heads[head].state().items()}


@pytest.fixture(scope="module")
def learned_once(learned, calls):
    return learned[0], calls


@pytest.mark.parametrize("now", [math.nan, math.inf, None, "3", True])
def test_a_time_that_is_none_is_refused_and_changes_nothing(now):
    model = AnswerModel(synthetic.schema())
    row = {name: values[0] for name, values in synthetic.attempts(1, 1).table.items()}
    for wrong in (
        lambda: model.expect("c", row, now),
        lambda: model.learn("c", Result(), now),
        lambda: model.pending.expire(now, 1.0),
        lambda: model.pending.expire(1.0, now),
    ):
        with pytest.raises(EventError, match="is no time"):
            wrong()
    assert len(model.pending) == 0 and model.pending.account.made == 0


def test_what_is_no_row_no_table_no_call_and_no_result_is_refused():
    model = AnswerModel(synthetic.schema())
    row = {name: values[0] for name, values in synthetic.attempts(1, 1).table.items()}
    for wrong, match in (
        (lambda: model.predict(None), "None is no record"),
        (lambda: model.predict(7), "7 is no record"),
        (lambda: model.expect("c", None, 1.0), "None is no record"),
        (lambda: model.predict_many(None), "None is no table"),
        (lambda: model.expect(None, row, 1.0), "None is no id of a call"),
        (lambda: model.expect(["c"], row, 1.0), "is no id of a call"),
        (lambda: model.learn(["c"], Result(), 1.0), "no prediction waits"),
        (lambda: model.learn("c", None, 1.0), "None is no Result"),
    ):
        with pytest.raises((DataError, EventError), match=match):
            wrong()
    assert len(model.pending) == 0
