"""Snapshots made by a process of their own, from the latest one and the rows of the journal since.

To put a large center into bytes, and those into a file, takes as long as thousands of events, and who calls waits
meanwhile: the interpreter's lock is held for milliseconds at a time. Another process can do it from the journal, since
what has been decided there does not depend on who replays it.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from typing import IO

from cordboard.errors import CordboardError, SnapshotError
from cordboard.live import child
from cordboard.live.archive import Archive
from cordboard.live.core import CoreError
from cordboard.live.settings import Settings
from cordboard.live.store import make_store

_KEPT, _NOT_WRITTEN = b"1", b"0"
NICE, NICE_LATE = 19, 0  # a snapshot can be late, but each event until then makes a recovery longer


class Apart:
    """Makes snapshots, one at a time; ``stop`` may be called by another thread."""

    def __init__(self, settings: Settings, tenant: str) -> None:
        self._asked = pickle.dumps((settings, tenant))
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def snapshot(self, revision: int, late: bool = False) -> bool:
        """Make the snapshot of a revision that is in the journal, and put it into the store; whether it is there: not
        if this was stopped, nor if the store can't be written. ``late``: others don't go first. SnapshotError if none
        can be made in this way."""
        with child.start(__name__) as self._process:
            if self._stopped:
                self._process.kill()
            assert self._process.stdin is not None and self._process.stdout is not None
            with contextlib.suppress(BrokenPipeError), self._process.stdin as asks:
                asks.write(pickle.dumps(NICE_LATE if late else NICE) + self._asked + pickle.dumps(revision))
            answer = self._process.stdout.read(1)
        if not answer and not self._stopped:
            raise SnapshotError("the process that makes snapshots failed", hint="Look into the log for what it said")
        return answer == _KEPT

    def stop(self) -> None:
        """What is being made is not wanted any more, and nothing will be."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()


def main() -> None:
    """The other end: one snapshot."""
    with contextlib.suppress(BrokenPipeError, EOFError):  # who asked is gone
        answer(sys.stdin.buffer, child.begin(pickle.load(sys.stdin.buffer)))


def answer(asks: IO[bytes], answers: IO[bytes]) -> None:
    """Make what is asked for, put it into the store, and say whether that went well; nothing if it can't be made."""
    settings, tenant = pickle.load(asks)
    revision = pickle.load(asks)
    store = make_store(settings, tenant, read_only=True)
    try:
        store.open()
        archive = Archive(store, settings)
        archive.look()
        dump = archive.core_at(revision).dump()
        answers.write(_KEPT if archive.put(revision, dump) else _NOT_WRITTEN)
    except (CordboardError, CoreError) as error:
        print(f"no snapshot of revision {revision}: {error}", file=sys.stderr)
    finally:
        store.close()
    answers.flush()
