"""What the pool and its children say to each other: pickled, a packet each. Both ends are ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cordboard.bindings.settings import SipSettings

PACKET_MAX = 200_000
BEAT_S = 0.5  # a child that works says so


@dataclass(frozen=True, slots=True)
class Begin:
    """The first word to a child. ``front``: the pool's SIP address, host:port. ``folder``: of the ends of lines."""

    settings: SipSettings
    front: str
    folder: Path
    child: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The child can place and take calls; its SIP port."""

    port: int


@dataclass(frozen=True, slots=True)
class Broken:
    """The child can't start."""

    why: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The child works."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """So many calls of the child are over, and still take room."""

    calls: int


@dataclass(frozen=True, slots=True)
class Open:
    """A line, which is a leg of this name from now on: what it hears goes to the child ``to``; if that is None, it says
    what comes from there under the same number."""

    name: str
    stream: int
    to: int | None


@dataclass(frozen=True, slots=True)
class Close:
    """Hang up everything and end."""
