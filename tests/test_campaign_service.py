"""Campaigns over gRPC and by command: lists go in, a server dials over simulated media, figures and results come out."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cordboard.campaigns.listing import read_rows
from cordboard.client import Client
from cordboard.errors import DataError
from tests.serving import serve_command
from tests.test_campaigns import AGENTS, CALLS, CENTER

PATIENCE_S = 30.0
LIST = "name,phone,time_zone\nAnn,+1 (212) 555-0100,America/New_York\nBo,139 0000 0001,\nCai,,\nDora,13900000001,\n"


def command(address: str, *args: str, cwd, lang="en") -> subprocess.CompletedProcess[str]:
    full = [sys.executable, "-m", "cordboard", "campaign", *args, "--server", address, "--lang", lang]
    return subprocess.run(full, cwd=cwd, capture_output=True, text=True, timeout=60)


def status(address: str, cwd) -> dict:
    done = command(address, "status", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    [one] = json.loads(done.stdout)
    return one


def kill(server: subprocess.Popen) -> None:
    server.kill()
    server.wait(PATIENCE_S)


def test_a_list_is_imported_dialed_and_exported_and_outlives_kill_9(tmp_path):
    # Given a server with a campaign, and a list with mistakes and a number that is not to be called
    (tmp_path / "center.toml").write_text(CENTER)
    (tmp_path / "calls.toml").write_text(CALLS.replace("MODE", "power"))
    (tmp_path / "list.csv").write_text(LIST)
    (tmp_path / "many.csv").write_text("number\n" + "".join(f"1380{n:07d}\n" for n in range(400)))
    (tmp_path / "never.csv").write_text("number\n+12125550100\n13800000003\n")
    with serve_command("center.toml", "--calls", "calls.toml", "--json", cwd=tmp_path) as (server, address):
        blocked = command(address, "block", "never.csv", "--json", cwd=tmp_path)
        assert json.loads(blocked.stdout)["added"] == 2
        done = command(address, "import", "spring", "list.csv", cwd=tmp_path)
        assert done.returncode == 1 and done.stdout == "1 numbers added, 3 rows left out\n"
        assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [
            "not to be called", "not a number that can be dialed", "in the list already",
        ]  # fmt: skip
        assert "list.csv:4: " in done.stderr
        done = command(address, "import", "spring", "many.csv", "--json", cwd=tmp_path)
        assert json.loads(done.stdout) == {"added": 399, "problems": [{"line": 5, "reason": "do_not_call"}]}
        # When it dials over simulated media
        media = [sys.executable, "-m", "cordboard", "media", "--simulated", "--server", address, "--json",
                 "--stays", "2", "--answers", "0.9", "--hourly", "1", "--drain", "0"]  # fmt: skip
        node = subprocess.Popen(media, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        with Client(address) as client:
            for agent in AGENTS:
                client.set_state(agent, "ready")
        assert command(address, "start", "spring", cwd=tmp_path).returncode == 0
        end = time.monotonic() + PATIENCE_S
        while status(address, tmp_path)["outcomes"].get("connected", 0) < 5:
            assert time.monotonic() < end, status(address, tmp_path)
            time.sleep(0.3)
        # And the server is killed
        kill(server)
    with serve_command("center.toml", "--calls", "calls.toml", "--json", cwd=tmp_path) as (server, address):
        # Then the next one knows what came of every attempt, and goes on dialing nobody twice
        time.sleep(1.0)
        found = status(address, tmp_path)
        assert found["running"] and found["outcomes"]["connected"] >= 5 and found["windows"][0]["base"] >= 5
        assert found["ready"] + found["calling"] + found["done"] == 400
        assert command(address, "pause", "spring", cwd=tmp_path).returncode == 0
        node.send_signal(signal.SIGTERM)
        node.wait(PATIENCE_S)
        rows = list(csv.DictReader(io.StringIO(command(address, "export", "spring", cwd=tmp_path).stdout)))
        assert len(rows) == 400 and rows[0]["about"] == "name=Bo" and rows[0]["number"] == "13900000001"
        had = [row for row in rows if row["outcome"] == "connected"]
        assert len(had) >= 5 and all(row["agent"] in AGENTS and row["answered"] for row in had)
        # And a campaign that is not there is told
        wrong = command(address, "start", "sprnig", cwd=tmp_path)
        assert wrong.returncode == 2 and "spring" in wrong.stderr
        node.stdout.close()
        journal = subprocess.run(
            [sys.executable, "-m", "cordboard", "journal", "export", "--data", "cordboard-data"],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert journal.returncode == 0, journal.stderr
        assert "campaign_dialed" in journal.stdout and "13800000" not in journal.stdout
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)


def test_a_list_without_a_column_of_numbers_is_refused_and_chinese_heads_are_known():
    with pytest.raises(DataError, match="no column"):
        list(read_rows(io.StringIO("a,b\n1,2\n"), "x.csv"))
    [row] = read_rows(io.StringIO("姓名,手机号\n李,139\n"), "x.csv")
    assert (row.number, row.about, row.line) == ("139", "姓名=李", 2)
    [row] = read_rows(io.StringIO("a,b\n1,2\n"), "x.csv", number="b")
    assert row.number == "2"
