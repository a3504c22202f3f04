"""The real records that some tests read. They are never part of the project: a test whose file is absent skips."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_SOURCES = {
    "anonymous_bank_": "the SEE laboratory of the Technion ('Anonymous Bank', A. Mandelbaum, I. Guedj)",
    "bank-additional-": "the UCI Machine Learning Repository, data set 222 (Moro, Cortez, Rita 2014)",
    "bank_calls_5min_2003": "the companion files of Weinberg, Brown, Stroud 2007",
    "nyc_council_complaints_daily": "NYC Open Data",
}


def data_folder() -> Path:
    """Where the records lie: CORDBOARD_DATA, else ``../shared/data`` beside the root of the project."""
    named = os.environ.get("CORDBOARD_DATA")
    if named:
        return Path(named)
    return Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


def real_data(name: str) -> Path:
    """The path of one file of real records; skips the test, saying which file and where to get it, if it is absent."""
    path = data_folder() / name
    if not path.exists():
        origin = next((text for start, text in _SOURCES.items() if name.startswith(start)), "its publisher")
        pytest.skip(f"{name} is not in {data_folder()}: get it from {origin}, or point CORDBOARD_DATA at it")
    return path
