"""The probability laws: moments of the kernel's draws, Kaplan-Meier, and Student's t."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.errors import DataError, Where
from cordboard.simulation import intervals
from cordboard.simulation.laws import (
    Deterministic,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    Law,
    LogNormal,
    Mixture,
    Never,
    Uniform,
    Weibull,
    hyperexponential,
    kaplan_meier,
    parse_law,
)

N = 200_000
LAWS: list[tuple[Law, float, float]] = [  # law, mean, variance
    (Deterministic(3.0), 3.0, 0.0),
    (Exponential(2.0), 2.0, 4.0),
    (Uniform(1.0, 5.0), 3.0, 16 / 12),
    (Erlang(2, 2.0), 2.0, 2.0),
    (Erlang(100, 2.0), 2.0, 0.04),
    (Gamma(3.0, 0.4), 3.0, 0.4 * 9),
    (Gamma(3.0, 4.0), 3.0, 4.0 * 9),
    (LogNormal(240.0, 1.5), 240.0, 1.5 * 240.0**2),
    (Weibull(10.0, 2.0), 10.0, 100 * (math.gamma(2) / math.gamma(1.5) ** 2 - 1)),
    (hyperexponential([0.5, 0.5], [0.4, 3.6]), 2.0, 0.5 * 2 * (0.4**2 + 3.6**2) - 4.0),
    (Mixture(((0.25, Deterministic(0.0)), (0.75, Uniform(2.0, 2.0)))), 1.5, 0.75 * 4 - 2.25),
    (Empirical.of([1.0, 1.0, 4.0]), 2.0, 2.0),
    (Empirical((1.0, 2.0), (0.25, 0.5), tail_mean=1.0), 0.25 + 0.5 + 0.5 * 3.0, 1.1875),
]


@pytest.mark.parametrize(("law", "mean", "variance"), LAWS, ids=lambda x: str(x)[:40])
def test_draws_have_the_mean_and_the_variance_of_their_law(law: Law, mean: float, variance: float) -> None:
    draws = law.draw(N, seed=5)
    error = math.sqrt(variance / N)
    assert law.mean == pytest.approx(mean)
    assert draws.mean() == pytest.approx(mean, abs=4.5 * error + 1e-12)
    assert draws.var() == pytest.approx(variance, rel=0.12, abs=1e-12)


@pytest.mark.parametrize(
    ("law", "cdf"),
    [
        (Exponential(2.0), lambda x: 1 - np.exp(-x / 2)),
        (Erlang(2, 2.0), lambda x: 1 - np.exp(-x) * (1 + x)),
        (Weibull(math.gamma(1.5), 2.0), lambda x: 1 - np.exp(-(x**2))),
        (Gamma(0.5, 2.0), lambda x: np.vectorize(math.erf)(np.sqrt(x))),
    ],
    ids=["exponential", "erlang", "weibull", "gamma"],
)
def test_draws_follow_the_distribution_function_by_kolmogorov_and_smirnov(law: Law, cdf) -> None:  # type: ignore[no-untyped-def]
    draws = np.sort(law.draw(N, seed=11))
    steps = np.arange(1, N + 1) / N
    distance = np.abs(cdf(draws) - steps).max()
    assert distance < 1.95 / math.sqrt(N)  # passed by a true law in 99.9 % of samples


def test_never_is_infinite() -> None:
    assert np.isinf(Never().draw(10)).all()


def test_the_same_seed_draws_the_same_and_another_seed_draws_others() -> None:
    law = LogNormal(10.0, 1.0)
    assert (law.draw(50, seed=1) == law.draw(50, seed=1)).all()
    assert (law.draw(50, seed=1) != law.draw(50, seed=2)).all()


def test_kaplan_meier_gives_the_textbook_steps() -> None:
    # given five callers, of whom those at 2 and 4 s were served
    law = kaplan_meier([1, 2, 3, 4, 5], [True, False, True, False, True])
    # then survival is 4/5, 4/5 * 2/3, 0
    assert isinstance(law, Empirical)
    assert law.values == (1, 3, 5)
    assert law.cumulative == pytest.approx((1 / 5, 1 - 8 / 15, 1))


def test_kaplan_meier_recovers_the_patience_behind_censored_waits() -> None:
    # given patience with mean 120 s, seen through offered waits with mean 60 s
    patience, offered = Exponential(120.0).draw(50_000, 1), Exponential(60.0).draw(50_000, 2)
    law = kaplan_meier(np.minimum(patience, offered), patience <= offered)
    # then the plain mean of the abandoned waits is far off, the estimate is not
    assert np.minimum(patience, offered)[patience <= offered].mean() < 50
    assert law.mean == pytest.approx(120.0, rel=0.06)
    assert float(np.median(law.draw(100_000, 3))) == pytest.approx(120 * math.log(2), rel=0.04)


def test_nobody_who_gave_up_means_endless_patience() -> None:
    assert kaplan_meier([3.0, 4.0], [False, False]) == Never()


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=1, max_size=60))
def test_kaplan_meier_is_a_distribution_whatever_the_sample(sample: list[tuple[float, bool]]) -> None:
    law = kaplan_meier([t for t, _ in sample], [e for _, e in sample])
    assert law.mean >= 0
    assert (law.draw(20) >= 0).all()


@pytest.mark.parametrize(
    "spec",
    [
        {"law": "exponentail", "mean": 3},
        {"law": "exponential"},
        {"law": "exponential", "mean": -1},
        {"law": "exponential", "mean": float("nan")},
        {"law": "exponential", "mean": "3"},
        {"law": "erlang", "k": 2.5, "mean": 3},
        {"law": "uniform", "low": 3, "high": 1},
        {"law": "mixture", "shares": [0.5], "laws": [1, 2]},
        {"law": "mixture", "shares": [0.5, 0.6], "laws": [1, 2]},
        {"law": "hyperexponential", "shares": [1.0], "means": [1.0, 2.0]},
        {"law": "empirical", "values": []},
        {"law": "empirical", "values": [1, 2], "ended": [True]},
        {"mean": 3},
        "exponential",
        True,
        -1,
        None,
    ],
    ids=str,
)
def test_a_bad_law_is_refused_with_its_place_and_a_hint(spec: object) -> None:
    with pytest.raises(DataError) as caught:
        parse_law(spec, Where("s.toml", key="arrivals[0].service"))
    assert "arrivals[0].service" in str(caught.value)
    assert caught.value.hint


def test_laws_are_read_by_name() -> None:
    assert parse_law(30, Where()) == Deterministic(30.0)
    assert parse_law({"law": "gamma", "mean": 3, "scv": 2}, Where()) == Gamma(3, 2)
    mixed = {"law": "mixture", "shares": [0.5, 0.5], "laws": [1, {"law": "exponential", "mean": 2}]}
    assert parse_law(mixed, Where()) == Mixture(((0.5, Deterministic(1)), (0.5, Exponential(2))))


@pytest.mark.parametrize(
    ("p", "df", "quantile"),
    [(0.975, 1, 12.7062047), (0.975, 2, 4.30265273), (0.975, 19, 2.09302405), (0.95, 7, 1.89457861)],
)
def test_student_quantiles_are_those_of_the_tables(p: float, df: int, quantile: float) -> None:
    assert intervals.student_quantile(p, df) == pytest.approx(quantile, rel=1e-8)


def test_an_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    draws = Exponential(1.0).draw(2000 * 30, seed=3).reshape(2000, 30)
    covered = sum(intervals.interval(list(row)).covers(1.0) for row in draws)
    assert 0.90 < covered / 2000 < 0.96  # t on 30 exponentials covers a little under 95 %


def test_the_jackknife_of_a_mean_is_its_plain_interval() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    left_out = [(sum(values) - v) / 3 for v in values]
    plain, jack = intervals.interval(values), intervals.jackknife(4.0, left_out)
    assert jack.half_width == pytest.approx(plain.half_width)
