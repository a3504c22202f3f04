"""Processes beside the engine's, for work that would hold its interpreter's lock: how they begin, at both ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import IO


def start(module: str) -> subprocess.Popen[bytes]:
    """A process that runs ``main`` of a module, with a pipe to it and one back."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", f"from {module} import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
    )


def begin(nice: int) -> IO[bytes]:
    """In that process, first of all: it ends with its pipe and not by a signal that is meant for the server. Where the
    answers go."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(nice)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed
    return answers
