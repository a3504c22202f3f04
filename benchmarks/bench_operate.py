"""Operating: records booked, a backup with its drill, the page of metrics, webhooks; on a small journal.

The figures of docs/guides/operate.md come from ``python -m benchmarks.study_operate``.
"""

from __future__ import annotations

from typing import Any

from benchmarks.study_operate import study


def test_track_operating(benchmark: Any) -> None:
    found = benchmark.pedantic(study, args=(3_000, 1_000), rounds=1)
    benchmark.extra_info.update(found)
    assert found["contacts"] > 0 and found["webhook_messages_s"] > 0
