"""Profiles of hypothesis: no test is judged by the clock; fewer examples where every step is slow."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

_SLOW_MACHINES = [HealthCheck.too_slow, HealthCheck.differing_executors]
settings.register_profile("cordboard", deadline=None, suppress_health_check=_SLOW_MACHINES)
settings.register_profile("sanitize", deadline=None, max_examples=15, suppress_health_check=_SLOW_MACHINES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "cordboard"))
