"""Programs from Debian's packages, unpacked by .ci/debian into the clone."""

from __future__ import annotations

from pathlib import Path

import pytest

UNPACKED = Path(__file__).resolve().parents[1] / "build" / "debian"


def unpacked(name: str) -> Path:
    """The folder in which the packages of that name lie. Skips where there are none, which fails in CI."""
    folder = UNPACKED / name
    if not (folder / ".made-of").exists():
        pytest.skip(f"Debian's packages for {name} are not unpacked (.ci/debian does it)")
    return folder
