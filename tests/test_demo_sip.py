"""The demo over real SIP: callers and answerers, agents' phones, a trunk, recordings; three processes on loopback."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip(
    "cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError
)


def test_the_demo_bridges_callers_and_the_campaign_over_sip_and_records_them(tmp_path):
    # When the demo runs for a while
    command = [sys.executable, "-m", "cordboard", "demo", "--sip", "--seconds", "20", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    # Then people called and were called, had agents, and were recorded
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["outcomes"]["connected"] >= 1 and found["offered"] >= 1
    assert found["bridged"] > found["outcomes"]["connected"] >= 1 and found["recordings"] >= found["recorded"] > 0
