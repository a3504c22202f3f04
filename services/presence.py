"""Who had a line when the server ended: kept in a file beside the journal, so that after a crash an agent who does not
come back within its lease is set away, like one whose connection died."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TextIO

LEASES = 3  # that an agent who does not come back is waited for in all, over several restarts
LEASE_MAX_S = 3600.0

log = logging.getLogger(__name__)


class Presence:
    """A file of lines: ``+LEASE AGENT`` for one who came, ``-AGENT`` for one who went; ``=LEASE UNTIL AGENT`` for one
    who had a line before a restart and is waited for: the lease after each restart, but not beyond UNTIL (Unix
    seconds), so that a server that starts again and again does not wait for ever. Not synced: whoever loses the page
    cache with the power loses the connections, too, and each of them is told to come again by its own client."""

    def __init__(self, path: Path) -> None:
        now = time.time()
        found = _read(path, now)
        # agent -> seconds that it is waited for, of those who had a line
        self.left = {agent: max(0.0, min(lease, until - now)) for agent, (lease, until) in found.items()}
        self._file: TextIO | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")  # so that who kills us now leaves the old file or the new one
            lines = (f"={lease:g} {until:.3f} {agent}\n" for agent, (lease, until) in found.items())
            fresh.write_text("".join(lines), "utf-8")
            os.replace(fresh, path)
            self._file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            self._failed(error)

    def came(self, agent: str, lease: float) -> None:
        """An agent's line is open."""
        self._note(f"+{lease:g} {agent}\n")

    def went(self, agent: str) -> None:
        """An agent's line has ended, and the journal says what came of it."""
        self._note(f"-{agent}\n")

    def _note(self, line: str) -> None:
        if self._file is not None:
            try:
                self._file.write(line)
            except OSError as error:
                self._failed(error)

    def _failed(self, error: OSError) -> None:
        log.warning("who is connected is not kept for the next start: %s", error.strerror)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _read(path: Path, now: float) -> dict[str, tuple[float, float]]:
    """The agents whose line was open: lease, and until when they are waited for. What is damaged is left out."""
    found: dict[str, tuple[float, float]] = {}
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        kind, rest = line[:1], line[1:]
        try:
            if kind == "-":
                found.pop(rest, None)
            elif kind == "+":
                lease, _, agent = rest.partition(" ")
                found[agent] = _bounded(float(lease), now + LEASES * float(lease), now)
            elif kind == "=":
                lease, until, agent = rest.split(" ", 2)
                found[agent] = _bounded(float(lease), float(until), now)
        except ValueError:
            continue
    return found


def _bounded(lease: float, until: float, now: float) -> tuple[float, float]:
    """Both as they can be, whatever stands in the file or became of the clock; 0 for a NaN."""
    lease = min(max(0.0, lease), LEASE_MAX_S)
    return lease, min(max(now, until), now + LEASES * lease)
