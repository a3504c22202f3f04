"""A worker and the process that watches it, real processes both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("grpc")
from cordboard.services import watched

# Each worker writes a line when it begins; what it does then is the test's.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from cordboard.services import watched
watched.SILENT_S = 0.5
log = Path("log")
def work(pulse):
    lives = log.read_text().count("\\n") if log.exists() else 0
    with log.open("a") as file:
        file.write(f"{os.getpid()}\\n")
    pulse.beat()
    BODY
sys.exit(watched.Watcher().run(work))
"""


def watch(folder: Path, body: str) -> subprocess.Popen[str]:
    program = PROGRAM.replace("BODY", body.replace("\n", "\n    "))
    return subprocess.Popen([sys.executable, "-c", program], cwd=folder, stderr=subprocess.PIPE, text=True)


def lives(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "log").read_text().splitlines()] if (folder / "log").exists() else []


@pytest.mark.parametrize(
    "dies",
    ["os.kill(os.getpid(), signal.SIGKILL)", "os.abort()", "raise RuntimeError", "os.kill(os.getpid(), signal.SIGSTOP)", "time.sleep(60)"],
    ids=["kill", "abort", "exception", "stop", "silence"],
)
def test_a_worker_that_fails_is_started_again(tmp_path, dies):
    watcher = watch(tmp_path, f"if lives == 0:\n    {dies}\nreturn 0")
    assert watcher.wait(30) == 0 and len(set(lives(tmp_path))) == 2
    assert watcher.stderr is not None and "another one starts" in watcher.stderr.read()


@pytest.mark.parametrize("status", watched.FINAL)
def test_one_that_ends_as_it_should_is_not_started_again(tmp_path, status):
    assert watch(tmp_path, f"return {status}").wait(30) == status
    assert len(lives(tmp_path)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_both(tmp_path, number):
    watcher = watch(tmp_path, "while pulse.beat():\n    time.sleep(0.1)\nreturn 0")
    while not lives(tmp_path):
        time.sleep(0.05)
    watcher.send_signal(number)
    assert watcher.wait(30) == 0
    [worker] = lives(tmp_path)
    assert not Path(f"/proc/{worker}").exists()


def test_a_worker_that_nobody_watches_is_told(tmp_path):
    watcher = watch(tmp_path, 'while pulse.beat():\n    time.sleep(0.1)\nPath("told").touch()\nreturn 0')
    while not lives(tmp_path):
        time.sleep(0.05)
    watcher.kill()
    end = time.monotonic() + 30.0
    while not (tmp_path / "told").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_one_who_dies_again_and_again_is_started_less_and_less_often(tmp_path):
    watcher = watch(tmp_path, "os._exit(1)")
    time.sleep(2.0)
    watcher.terminate()
    assert watcher.wait(30) == 0
    assert 2 <= len(lives(tmp_path)) <= 5  # after 0.1, 0.2, 0.4, 0.8 s


def test_a_pulse_that_nobody_reads_does_not_block():
    theirs, ours = os.pipe()
    pulse = watched.Pulse(ours)
    assert all(pulse.beat() for _ in range(100_000))
    os.close(theirs)
    assert not pulse.beat()
    os.close(ours)
