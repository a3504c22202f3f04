"""The demo over real SIP: callers and answerers, agents' phones, a trunk, recordings; three processes on loopback."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip(
    "cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError
)


def ran(*command) -> str:
    asked = [sys.executable, "-m", "cordboard", *map(str, command)]
    return subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_demo_bridges_callers_and_the_campaign_over_sip_and_records_them(tmp_path):
    # When the demo runs for a while
    command = [sys.executable, "-m", "cordboard", "demo", "--sip", "--seconds", "20", "--json", "--keep", "kept"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    # Then people called and were called, had agents, and were recorded
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["outcomes"]["connected"] >= 1 and found["queues"]["billing"]["offered"] + found["queues"]["support"]["offered"] >= 1
    assert found["bridged"] > found["outcomes"]["connected"] and found["recorded"] > 0
    assert found["packets"] > 1000 and found["mos"] > 3.5
    assert found["drop_rate"] <= found["cap"] or found["outcomes"]["dropped"] == 1
    # And what was kept of them says the same to the commands that look at it
    kept = tmp_path / "kept"
    listed = ran("recordings", "list", "--data", kept / "data", "--json")
    assert len(listed.splitlines()) == found["recorded"]
    ran("replay", kept / "center.toml", kept / "journal.jsonl", "--strict", "--effects", tmp_path / "again.jsonl")
    # When it is asked to keep another day there, then it refuses
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert again.returncode == 2 and "is not empty" in again.stderr
