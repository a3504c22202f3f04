"""Replay, explain and check on the real calls of January 1999."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cordboard.cli import main
from tests.realdata import real_data

Capture = pytest.CaptureFixture[bytes]


@pytest.mark.data
@pytest.mark.slow
def test_a_real_month_is_imported_checked_replayed_and_explained(tmp_path: Path, capfdbinary: Capture) -> None:
    records = str(real_data("anonymous_bank_1999_01.txt"))
    center, journal, effects = (str(tmp_path / name) for name in ("bank.toml", "bank.jsonl", "effects.jsonl"))
    assert main(["import", "anonymous-bank", records, "--center", center, "--journal", journal]) == 0
    assert main(["check", center]) == 0
    capfdbinary.readouterr()

    assert main(["replay", center, journal, "--effects", effects, "--json"]) == 0
    record = json.loads(capfdbinary.readouterr().out)
    assert record["skipped"] == 0 and record["lines"] > 100_000
    for queue in record["queues"].values():
        assert queue["offered"] == queue["answered"] + queue["abandoned"]

    contact, waited = someone_who_waited(Path(journal))
    assert main(["explain", center, journal, "--contact", contact, "--json"]) == 0
    story = json.loads(capfdbinary.readouterr().out)["story"]
    spells = [entry for entry in story if entry["what"] == "waiting"]
    assert sum(spell["until"] - spell["t"] for spell in spells) == pytest.approx(waited)
    for spell in spells:
        assert spell["groups"] and all(group["filter"] != "eligible" for group in spell["groups"])
    assert story[-1]["what"] == "contact_ended"


def someone_who_waited(journal: Path) -> tuple[str, float]:
    """The first contact of the journal that was answered after 40 to 60 seconds, and how long it waited."""
    queued = {}
    with journal.open(encoding="utf-8") as stream:
        for line in stream:
            event = json.loads(line)
            if event["event"] == "contact_queued":
                queued[event["contact"]] = event["t"]
            elif event["event"] == "offer_accepted" and 40 <= event["t"] - queued[event["contact"]] <= 60:
                return event["contact"], event["t"] - queued[event["contact"]]
    raise AssertionError("nobody waited for 40 to 60 seconds")
