"""``cordboard pace``: the study of one's own campaign."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cordboard.cli import main

pytestmark = pytest.mark.usefixtures("wide")

SMALL = ["pace", "--agents", "8", "--hours", "1.5", "--seeds", "2"]


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def test_it_shows_what_predicting_gains(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--lang", "en"]) == 0
    shown = capsys.readouterr().out
    assert "predictive" in shown and "progressive" in shown and "Predictive gains" in shown


def test_it_speaks_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--lang", "zh"]) == 0
    shown = capsys.readouterr().out
    assert "预测外呼" in shown and "占用率" in shown


def test_json_has_every_outcome_and_the_ratio_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "pace.svg"
    assert main([*SMALL, "--json", "--compare", "--plot", str(picture)]) == 0
    result = json.loads(capsys.readouterr().out)
    predictive, progressive, power = result["outcomes"]
    assert predictive["occupancy"] > progressive["occupancy"]
    assert progressive["drops"] == 0.0
    assert 1.0 <= power["ratio"] <= 14.0
    assert result["progressive_is_as_good"] is False
    assert picture.read_text().lstrip().startswith("<?xml")


def test_a_team_of_two_is_told_that_progressive_is_as_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pace", "--agents", "2", "--hours", "2", "--seeds", "3", "--lang", "en"]) == 0
    assert "Progressive is as good" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--answer", "30"],
        ["--target", "0"],
        ["--talk-mean", "nan"],
        ["--seeds", "0"],
        ["--agents", "0"],
        ["--lines", "-1"],
    ],
)
def test_what_makes_no_sense_ends_with_a_reason(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *wrong]) == 2
    assert "cordboard:" in capsys.readouterr().err
