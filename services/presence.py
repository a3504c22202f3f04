"""Who had a line when the server ended: kept in a file beside the journal, so that after a crash an agent who does not
come back within its lease is set away, like one whose connection died."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TextIO

log = logging.getLogger(__name__)


class Presence:
    """A file of lines: ``+LEASE AGENT`` for one who came, ``-AGENT`` for one who went. Not synced: whoever loses the
    page cache with the power loses the connections, too, and each of them is told to come again by its own client."""

    def __init__(self, path: Path) -> None:
        self.left: dict[str, float] = _read(path)  # agent -> lease, of those who had a line
        self._file: TextIO | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"+{lease:g} {agent}\n" for agent, lease in self.left.items()), "utf-8")
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


def _read(path: Path) -> dict[str, float]:
    """The agents whose line was open; what is damaged is left out."""
    found: dict[str, float] = {}
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        if line.startswith("-"):
            found.pop(line[1:], None)
        elif line.startswith("+"):
            lease, _, agent = line[1:].partition(" ")
            try:
                found[agent] = min(max(float(lease), 0.0), 3600.0)
            except ValueError:
                continue
    return found
