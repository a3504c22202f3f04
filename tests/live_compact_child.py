"""A process that compacts a journal in small steps, until it is killed by a test: ``python -m tests.live_compact_child FOLDER``."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from cordboard.live import Settings, compaction
from cordboard.live.archive import Archive
from cordboard.live.store import make_store

STEP = 7  # revisions


def main(folder: str) -> None:
    compaction.FAR_BITE = 2
    settings = Settings(data=Path(folder), keep_days=2, history=50)
    archive = Archive(make_store(settings, "default"), settings)
    archive.open()
    for at in itertools.count(archive.base + STEP, STEP):
        os.write(1, b"begun\n")
        compaction.compact(archive, {"test": at.__index__})


if __name__ == "__main__":
    main(sys.argv[1])
