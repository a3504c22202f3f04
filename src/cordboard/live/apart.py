"""Snapshots made by a process of their own, from the latest one and the rows of the journal since.

To put a large center into bytes takes as long as thousands of events, and who calls waits meanwhile: the interpreter's
lock is held for milliseconds at a time. Another process can do it from the journal, since what has been decided there
does not depend on who replays it.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from io import BufferedReader
from typing import IO, cast

from cordboard.errors import CordboardError, SnapshotError
from cordboard.live import child
from cordboard.live.archive import Archive
from cordboard.live.core import CoreError
from cordboard.live.settings import Settings
from cordboard.live.store import make_store

NICE = 5  # a snapshot can be late, but each event until then makes a recovery longer


class Apart:
    """Makes snapshots, one at a time; ``stop`` may be called by another thread."""

    def __init__(self, settings: Settings, tenant: str) -> None:
        self._asked = pickle.dumps((settings, tenant))
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def snapshot(self, revision: int) -> bytearray | None:
        """The snapshot of a revision that is in the journal; None if it was stopped. SnapshotError if there is none."""
        with child.start(__name__) as self._process:
            if self._stopped:
                self._process.kill()
            stream = self._process.stdout
            assert self._process.stdin is not None and stream is not None
            with contextlib.suppress(BrokenPipeError), self._process.stdin as asks:
                asks.write(self._asked + pickle.dumps(revision))
            made = bytearray(int.from_bytes(stream.read(8), "little"))
            whole = len(made) > 0 and cast(BufferedReader, stream).readinto(made) == len(made)
        if self._stopped:
            return None
        if not whole:
            raise SnapshotError("the process that makes snapshots failed", hint="Look into the log for what it said")
        return made

    def stop(self) -> None:
        """What is being made is not wanted any more, and nothing will be."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()


def main() -> None:
    """The other end: one snapshot."""
    answers = child.begin(NICE)
    with contextlib.suppress(BrokenPipeError):
        answer(sys.stdin.buffer, answers)


def answer(asks: IO[bytes], answers: IO[bytes]) -> None:
    """Make what is asked for, and write it after its length; nothing if that can't be."""
    settings, tenant = pickle.load(asks)
    revision = pickle.load(asks)
    store = make_store(settings, tenant, read_only=True)
    try:
        store.open()
        archive = Archive(store, settings)
        archive.look()
        dump = archive.core_at(revision).dump()
    except (CordboardError, CoreError) as error:
        print(f"no snapshot of revision {revision}: {error}", file=sys.stderr)
        return
    finally:
        store.close()
    answers.write(len(dump).to_bytes(8, "little"))
    answers.write(dump)
    answers.flush()
