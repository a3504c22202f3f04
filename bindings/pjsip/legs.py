"""What the media layer on PJSIP knows of a leg, of what is played to it, and of a recording."""

from __future__ import annotations

from dataclasses import dataclass, field

from cordboard.bindings.pjsip import events as pj
from cordboard.bindings.pjsip.ways import Way
from cordboard.media.backend import Cause, Play


@dataclass(slots=True)
class Playing:
    command: Play
    files: list[str]
    at: int = 0  # which of them
    player: int = -1
    port: int = -1


@dataclass(slots=True)
class Recording:
    name: str
    file: str
    legs: tuple[str, ...]
    ports: tuple[int, ...]


@dataclass(slots=True)
class Leg:
    name: str
    call: int
    number: int  # of sip: tells it from others that had the same slot
    incoming: bool
    trunk: str = ""  # whose line it has
    way: Way | None = None  # where it was dialed
    bot: bool = False  # a stream in the place of a call; its number is that of the stream
    headers: str = ""
    heard: bool = False  # whoever was dialed has said something
    port: int = -1  # of the bridge; -1: its audio is not open
    confirmed: bool = False  # by the signalling
    answered: bool = False  # and reported
    answered_at: float = 0.0
    rang: bool = False
    early: bool = False
    missing: bool = False  # the watchdog did not find it
    why: Cause | None = None  # we ended it
    sources: set[str] = field(default_factory=set)  # whom it hears
    sinks: set[str] = field(default_factory=set)  # who hears it
    recordings: set[str] = field(default_factory=set)
    playing: Playing | None = None
    stats: pj.Numbers | None = None
    packets: int = 0  # received when the watchdog last looked
    packets_at: float = 0.0
