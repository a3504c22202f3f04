"""Node's side of the tests: what stands in a package.json, installed beside it once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest


def installed(folder: Path) -> Path:
    """The folder's node_modules, as its package-lock.json says; made where it is missing or out of date.

    Skips where there is no Node, except in CI, where that is a failure.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        why = "Node and npm are not installed (sudo apt-get install nodejs npm)"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    modules, lock = folder / "node_modules", folder / "package-lock.json"
    with (folder / ".npm-lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # tests run in several processes
        made = modules / ".made-of"
        if not made.exists() or made.read_bytes() != lock.read_bytes():
            # Not `npm ci`: it wants the packages of every platform in the lock, which no one machine can write there.
            command = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr[-3000:]
            made.write_bytes(lock.read_bytes())
    return modules
