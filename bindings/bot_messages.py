"""What a media node and a voice bot say to each other on the line of one call, whatever carries it. Audio is G.711
mu-law, 8,000 bytes a second."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from cordboard.center import UNFIT
from cordboard.media.backend import SUMMARY, TRANSCRIPT_MAX

FRAME = 160  # bytes of audio that are sent at once: 20 ms
LINE_MAX = 180  # characters of a line of a transcript: longer ones are made several. So much fits when it is sealed
MESSAGE_BYTES_MAX = 1 << 20  # that a bot sends at once
TEXT_MAX = 20_000  # characters of a text of a bot
SPEAKERS = ("caller", "bot", "agent", SUMMARY)  # all that stands readable of a transcript: no names of people


@dataclass(frozen=True, slots=True)
class About:
    """The call that a bot gets. ``details``: contact, queue, number, and what its settings add."""

    leg: str
    to: str
    caller: str
    details: tuple[tuple[str, str], ...]


# ---- to the bot


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame of what the bot is to hear; ``number``: since the beginning."""

    number: int
    audio: bytes


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key that the caller pressed."""

    key: str


@dataclass(frozen=True, slots=True)
class Played:
    """All that was said before a mark has been played, or was cleared."""

    mark: str


ToBot: TypeAlias = Heard | Pressed | Played

# ---- from the bot


@dataclass(frozen=True, slots=True)
class Say:
    """Play this after what waits."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """Say :class:`Played` when all that was said before has been played."""

    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Play nothing more of what was said: the caller has begun to speak."""


@dataclass(frozen=True, slots=True)
class Said:
    """A line of the transcript."""

    who: str
    text: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """Somebody else is to go on: a queue, an agent, or with neither whoever the settings say."""

    queue: str = ""
    agent: str = ""
    summary: str = ""
    said: tuple[Said, ...] = ()


FromBot: TypeAlias = Say | Mark | Clear | Said | HandOver


def plain(text: str) -> str:
    """A text of a bot as it can stand in a report: without what does not belong into a line."""
    return UNFIT.sub(" ", text)


class GarbageError(Exception):
    """A bot has sent what is no message. The text says why."""


class LostError(Exception):
    """A bot is gone without a goodbye. The text says why."""


class Wire(Protocol):
    """What carries the messages of one line. Both ends of it are used at the same time."""

    async def send(self, message: ToBot) -> None:
        """LostError if the bot is gone."""

    async def ping(self) -> None:
        """Ask whether the bot reads what comes. LostError."""

    def answered(self) -> bool:
        """Whether it has answered the last ping."""

    def messages(self) -> AsyncIterator[FromBot]:
        """What the bot says, until its goodbye. GarbageError, LostError."""

    async def close(self) -> None:
        """Say goodbye, and end."""


@dataclass(slots=True)
class Transcript:
    """What a bot has told of a conversation so far, as pairs of who and what."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def add(self, said: Said) -> None:
        """The beginning of what is too long is kept. Whoever is none of SPEAKERS is the bot."""
        who = said.who if said.who in SPEAKERS else "bot"
        for text in map(plain, said.text.splitlines()):
            for at in range(0, len(text), LINE_MAX):
                if len(self.lines) < TRANSCRIPT_MAX:
                    self.lines.append((who, text[at : at + LINE_MAX]))

    def whole(self, summary: str = "") -> tuple[tuple[str, str], ...]:
        """With the summary before it."""
        head = Transcript()
        head.add(Said(SUMMARY, summary))
        return tuple([*head.lines, *self.lines][:TRANSCRIPT_MAX])
