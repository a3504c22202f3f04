"""Simulation: the routing engine that runs live, in a world of statistical callers and agents.

``simulate(center, scenario)`` runs replications and gives key figures with confidence intervals; with campaigns in
the scenario the pacer that runs live dials, too. A scenario is made from the classes here, read from TOML
(``load_scenario``), or estimated from a journal (``scenario_of_journal``).
"""

from cordboard.simulation.campaign_result import CampaignResult
from cordboard.simulation.campaigns import Campaign, LeadGroup, Redial
from cordboard.simulation.intervals import Estimate
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
)
from cordboard.simulation.result import GroupResult, QueueResult, SimulationResult
from cordboard.simulation.run import simulate, sweep
from cordboard.simulation.scenario import Rates, Retry, Scenario, ServiceBy, Shift, Source, Trace, poisson
from cordboard.simulation.scenario_file import load_scenario, parse_scenario

__all__ = [
    "Campaign",
    "CampaignResult",
    "Deterministic",
    "Empirical",
    "Erlang",
    "Estimate",
    "Exponential",
    "Gamma",
    "GroupResult",
    "Law",
    "LeadGroup",
    "LogNormal",
    "Mixture",
    "Never",
    "QueueResult",
    "Rates",
    "Redial",
    "Retry",
    "Scenario",
    "ServiceBy",
    "Shift",
    "SimulationResult",
    "Source",
    "Trace",
    "Uniform",
    "Weibull",
    "hyperexponential",
    "kaplan_meier",
    "load_scenario",
    "parse_scenario",
    "poisson",
    "simulate",
    "sweep",
]
