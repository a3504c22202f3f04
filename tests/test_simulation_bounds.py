"""Laws, scenarios and arguments at and beyond what can be computed: told in a sentence, and at once."""

from __future__ import annotations

from time import sleep

import pytest

from cordboard import parse_center, simulate
from cordboard.errors import CordboardError, DataError
from cordboard.simulation import run
from cordboard.simulation.laws import Deterministic, Gamma
from cordboard.simulation.run import Plan
from cordboard.simulation.scenario import Scenario, Shift, Source, poisson
from cordboard.simulation.scenario_file import parse_scenario

CENTER = '[queues.q]\nchannel = "voice"\n[agents.a]\n'
HUGE = "1" + "0" * 400
HEAD = '[scenario]\nduration = 100\n[[arrivals]]\nqueue = "q"\n'


@pytest.mark.parametrize(
    "service",
    ['{law="weibull",mean=10,shape=0.001}', '{law="gamma",mean=10,scv=5e-324}', '{law="hyperexponential",shares=["a"],means=[1]}',
     '{law="hyperexponential",shares=[1],means=["a"]}', HUGE, f'{{law="exponential",mean={HUGE}}}', f'{{law="empirical",values=[{HUGE}]}}',
     '{law="mixture",shares=[1],laws=[' * 400 + "1" + "]}" * 400],
)  # fmt: skip
def test_a_law_that_cannot_be_computed_is_refused(service):
    with pytest.raises(DataError):
        parse_scenario(f"{HEAD}per_hour = 1\nservice = {service}\n")


@pytest.mark.parametrize(
    "text",
    [f"{HEAD}service = 1\nrates = [[0, {HUGE}]]\n", f"[scenario]\nduration = {HUGE}\n[[arrivals]]\nqueue='q'\nservice=1\nper_hour=1\n",
     "a=" + "[" * 5000, f"{HEAD}service = 1\nper_hour = 1\nday_scv = {HUGE}\n"],
)  # fmt: skip
def test_numbers_and_nesting_beyond_all_bounds_are_refused(text):
    with pytest.raises(DataError):
        parse_scenario(text)


def test_periods_too_short_to_be_unrolled_are_refused_before_memory_is_taken():
    source = Source("q", poisson(1.0), Deterministic(1.0))
    with pytest.raises(DataError, match="longer period"):
        Scenario((source,), 100.0, (Shift(((0.0, 1e-9),), period=1e-9),))
    with pytest.raises(DataError, match="longer period"):
        parse_scenario(f"{HEAD.replace('100', '1e9')}service = 1\nrates = [[0, 1]]\nperiod = 1e-3\n")


def test_a_gamma_factor_of_almost_no_variance_ends():
    with pytest.raises(DataError, match="scv"):
        Gamma(1.0, 5e-324)
    assert abs(Gamma(1.0, 1e-9).draw(1000).mean() - 1.0) < 1e-4


@pytest.mark.parametrize(
    "asked", [{"threads": -1}, {"threads": 1.5}, {"seed": -1}, {"seed": 1.5}, {"replications": 2.5}, {"batches": 2.5}]
)
def test_arguments_that_count_nothing_are_refused(asked):
    scenario = Scenario((Source("q", poisson(60.0), Deterministic(1.0)),), 60.0)
    with pytest.raises(DataError, match=next(iter(asked))):
        simulate(parse_center(CENTER), scenario, **asked)


def test_a_figure_or_queue_that_does_not_exist_is_named_with_those_that_do():
    scenario = Scenario((Source("q", poisson(60.0), Deterministic(1.0)),), 60.0)
    result = simulate(parse_center(CENTER), scenario, replications=2)
    for ask in (
        lambda: result.queue("nope"), lambda: result.total["nope"], lambda: result.total.per_run("nope"),
        lambda: result.total.count("nope"), lambda: result.everyone["nope"],
    ):  # fmt: skip
        with pytest.raises(DataError, match="nope"):
            ask()
    assert result.queue("q").name == "q"


def test_an_interrupted_simulation_ends_at_once_and_not_after_its_longest_run():
    # Thirty years of a call a minute: the second replication must be stopped when the first is interrupted.
    scenario = Scenario((Source("q", poisson(60.0), Deterministic(1.0)),), 9e8)
    center, halted = parse_center(CENTER), []

    class Interrupted(Plan):
        def run(self, seed, replication):
            if replication == 0:
                while not self.worlds:
                    sleep(0.01)
                raise KeyboardInterrupt
            try:
                return super().run(seed, replication)
            except CordboardError as error:
                halted.append(error)
                raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Plan", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulate(center, scenario, replications=2, threads=2)
    assert len(halted) == 1
