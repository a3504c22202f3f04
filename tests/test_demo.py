"""The demo: a whole day, the same for the same seed, under the limit for dropped calls."""

from __future__ import annotations

import json

import pytest

from cordboard.cli import main
from cordboard.cli.demo import demo_center


def test_the_center_of_the_demo_has_nothing_odd() -> None:
    center, _ = demo_center()
    assert center.warnings == ()


@pytest.mark.slow
def test_the_day_of_the_demo_keeps_its_limit_and_accounts_for_everyone(capsys: pytest.CaptureFixture[str]) -> None:
    # when the day is lived through
    assert main(["demo", "--json", "--seconds", "0"]) == 0
    day = json.loads(capsys.readouterr().out)
    # then everyone has been accounted for, and the campaign was busy within its limit
    counts = day["counts"]
    assert counts["entered"] == counts["waiting"] + counts["offered"] + counts["connected"] + counts["ended"]
    assert day["campaign"]["drop_share"] <= day["campaign"]["cap"]
    assert day["campaign"]["answered"] > 500
    assert all(turn["zh"] != turn["en"] for turn in day["campaign"]["reasons"])


@pytest.mark.slow
def test_without_a_terminal_the_report_comes_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--lang", "zh", "demo", "--seconds", "0", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("队列（最差在前）") < shown.index("一天的指标") < shown.index("外呼活动")
