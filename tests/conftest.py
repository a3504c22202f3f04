"""Profiles of hypothesis: no test is judged by the clock; fewer examples where every step is slow. And what may skip."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

_SLOW_MACHINES = [HealthCheck.too_slow, HealthCheck.differing_executors]
settings.register_profile("cordboard", deadline=None, suppress_health_check=_SLOW_MACHINES)
settings.register_profile("sanitize", deadline=None, max_examples=15, suppress_health_check=_SLOW_MACHINES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "cordboard"))

# All that CI can't make for itself. Any other skip there hides a missing step of the set-up, and fails.
_MAY_SKIP_IN_CI = (
    "ray is not installed",  # a gigabyte, for one test of an optional extra
    "no release of the contract",
    "the production build is missing",  # a step of its own in .ci/run makes it and runs those tests
    "get it from",  # real records lie beside the project, not in it
)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    why = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if not any(text in why for text in _MAY_SKIP_IN_CI):
        report.outcome, report.longrepr = "failed", f"in CI this may not be skipped: {why}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    report = yield
    _refuse_skip(report)
    return report
