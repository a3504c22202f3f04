"""The interface of a media layer: commands go in, reports come out.

A *leg* is one call between the media layer and somebody else: a caller, an agent's phone, a number that was dialed. A
conversation is legs whose audio is connected. The media layer knows legs, audio and files; contacts, queues and agents
are not its business. Every leg ends with exactly one :class:`Ended`, whatever happened to it: that is what the rest of
cordboard builds on.

Texts are UTF-8 without control characters, at most :data:`TEXT_MAX` characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

TEXT_MAX = 1024
HEADERS_MAX = 16
HIDDEN = "?"  # in the place of a secret digit
TRANSCRIPT_MAX = 500  # lines
SUMMARY = "summary"  # who says the summary, which stands first in a transcript
MACHINE_AT, PERSON_AT = 0.95, 0.05  # see Listen
RECORDING_SUFFIX = ".cbr"  # of a recording's file, behind the recording's name


class Cause(StrEnum):
    """Why a leg ended: the canonical outcome that SIP codes, time-outs and losses are mapped to."""

    NORMAL = "normal"  # hung up after it was answered, by either side
    CANCELLED = "cancelled"  # given up before it was answered, by whoever placed it
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"  # somebody refused it
    INVALID = "invalid"  # there is no such number
    UNREACHABLE = "unreachable"  # the phone is not registered, or no answer came from its network
    CONGESTION = "congestion"  # no line, or the other side or the trunk is full
    FORBIDDEN = "forbidden"  # not allowed: wrong password, unknown source
    FAILED = "failed"  # any other failure
    LOST = "lost"  # the media node that held it is gone


# What a call gets in place of an answer: the cause that it stands for. Special information tones (ITU-T E.180) are told
# apart where they have the frequencies and lengths that say why.
SOUND_CAUSES = {
    "busy": Cause.BUSY,
    "reorder": Cause.CONGESTION,
    "sit": Cause.UNREACHABLE,
    "sit_intercept": Cause.INVALID,
    "sit_vacant": Cause.INVALID,
    "sit_reorder": Cause.CONGESTION,
    "sit_no_circuit": Cause.CONGESTION,
}
SOUNDS = ("fax", "beep", "ringback", *SOUND_CAUSES)
RINGBACK = "ringback"  # a prompt that every media layer has, of its own where the folder of prompts has none


# ---- commands


@dataclass(frozen=True, slots=True)
class Dial:
    """Place a call. ``leg``: its name from now on, never used before. ``to``: a SIP URI, a number for a trunk, or
    without a trunk the address of a voice bot (``wss:`` ...), which is told the headers.
    ``ring_s``: seconds after which it is cancelled if it is not answered (Cause.NO_ANSWER)."""

    leg: str
    to: str
    trunk: str = ""
    caller: str = ""
    ring_s: float = 60.0
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ring:
    """Tell the caller of an incoming leg that it rings."""

    leg: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer an incoming leg. ``early``: open its audio without answering (SIP 183), for announcements before the
    call is charged."""

    leg: str
    early: bool = False


@dataclass(frozen=True, slots=True)
class HangUp:
    """End a leg in whatever state it is. ``cause``: what an incoming leg that was not answered is told."""

    leg: str
    cause: Cause = Cause.NORMAL


@dataclass(frozen=True, slots=True)
class Connect:
    """From now on ``sink`` hears ``source``; again changes nothing. There and back is a conversation; one of
    them is listening in or whispering; all pairs of many legs are a conference."""

    source: str
    sink: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """From now on ``sink`` does not hear ``source``; if that is empty, it hears no leg at all."""

    source: str
    sink: str


@dataclass(frozen=True, slots=True)
class Play:
    """Play prompts to a leg, one after the other, in place of what is played to it now. ``prompts``: names of files in
    the media node's prompt folder. ``loop``: until :class:`Stop`. ``token``: comes back in :class:`Played`."""

    leg: str
    prompts: tuple[str, ...]
    loop: bool = False
    token: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop what is played to a leg."""

    leg: str


@dataclass(frozen=True, slots=True)
class SendKeys:
    """Send keys (0-9 * # A-D) as RFC 4733 events."""

    leg: str
    keys: str


@dataclass(frozen=True, slots=True)
class Record:
    """Record what legs say: one leg a channel, one or two. ``recording``: its name from now on, never used before;
    again while it is being recorded changes nothing. Recording ends with :class:`StopRecording`, or when the last of
    its legs ends."""

    recording: str
    legs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PauseRecording:
    """Write silence from now on, as long as card data is said. ``on``: False to go on."""

    recording: str
    on: bool = True


@dataclass(frozen=True, slots=True)
class StopRecording:
    """The recording is complete."""

    recording: str


@dataclass(frozen=True, slots=True)
class Listen:
    """Find out who is on a leg whose audio is open, early media too: one :class:`Judged` comes, as soon as the
    probability of a machine has reached ``machine_at`` or fallen to ``person_at``, at ``deadline_s`` after the answer
    whatever it is. :class:`Heard` comes for sounds until :class:`StopListening` or the end of the leg; again changes
    nothing."""

    leg: str
    machine_at: float = MACHINE_AT
    person_at: float = PERSON_AT
    deadline_s: float = 1.8


@dataclass(frozen=True, slots=True)
class StopListening:
    """Listen no more."""

    leg: str


@dataclass(frozen=True, slots=True)
class HideKeys:
    """From now on, or no more, a digit that is typed on a leg is reported as :data:`HIDDEN`. For the media node itself:
    no media layer gets it."""

    leg: str
    on: bool = True


@dataclass(frozen=True, slots=True)
class Recognize:
    """Find out what is said on a leg whose audio is open, in place of what was to be found out before:
    :class:`Recognized` until :class:`StopRecognizing` or the end of the leg. With the same ``token`` again it changes
    nothing. ``language`` and ``words``: as ``cordboard.speech.recognizer.Asked`` says."""

    leg: str
    token: str
    language: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StopRecognizing:
    """It does not matter any more what is said."""

    leg: str


Command: TypeAlias = (
    Dial
    | Ring
    | Answer
    | HangUp
    | Connect
    | Disconnect
    | Play
    | Stop
    | SendKeys
    | Record
    | PauseRecording
    | StopRecording
    | Listen
    | StopListening
    | Recognize
    | StopRecognizing
)


# ---- reports


@dataclass(frozen=True, slots=True)
class Incoming:
    """Somebody calls. ``leg``: its name from now on. ``to``: the number or user that was called; ``caller``: as the
    signalling gives it, empty if withheld; ``trunk``: where it came from, empty for a phone. ``headers``: those that
    the node was told to pass on (Diversion, P-Asserted-Identity, Identity ...)."""

    leg: str
    to: str
    caller: str = ""
    trunk: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ringing:
    """A dialed leg rings. ``early``: it sends audio already (a ringing tone, an announcement)."""

    leg: str
    early: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """A leg is answered and its audio open: somebody picked up, or our Answer was confirmed."""

    leg: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A leg is over, however it came: exactly one for each leg. ``code``: of SIP, 0 if there was none. ``quality``: of
    its audio, None if there was none."""

    leg: str
    cause: Cause
    code: int = 0
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """What the audio of a leg was like. Packets are whole numbers; ``jitter_ms``, ``round_trip_ms``: means, as RTCP has
    them; ``mos``: estimated from loss, jitter and delay, 1 to 4.5."""

    received: int
    lost: int
    sent: int
    jitter_ms: float
    round_trip_ms: float
    mos: float


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was pressed on a leg."""

    leg: str
    key: str


@dataclass(frozen=True, slots=True)
class Played:
    """What was to be played is over. ``whole``: to its end, not stopped."""

    leg: str
    token: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording is complete. ``file``: below the media node's folder of recordings; ``seconds``: its length;
    ``missing``: so many of them were not taken by the disk, and are silent."""

    recording: str
    file: str
    seconds: float
    missing: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """Who is on a leg: ``machine`` is the probability that nobody is, 0 to 1; ``why``: certain, deadline,
    sound (see :class:`Heard`) or no_audio; ``after_s``: seconds after the answer."""

    leg: str
    machine: float
    why: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A sound on a leg that is listened to, one of :data:`SOUNDS`; beep: a beep is over."""

    leg: str
    sound: str


@dataclass(frozen=True, slots=True)
class Recognized:
    """What was said. Not ``final``: somebody begins to speak, ``text`` is what it sounds like, maybe empty. ``token``:
    of the command; ``confidence``: 0 to 1. See ``cordboard.speech.recognizer.Result``."""

    leg: str
    token: str
    text: str
    confidence: float
    final: bool


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A voice bot can't go on with whom it talks with, and hangs up when it is told to. ``caller``: as in its Dial.
    ``to_queue``, ``to_agent``: who is to go on, one of them or neither. ``why``: it failed; empty if it is its wish.
    ``transcript``: lines of who and what, of the whole conversation; a summary is its first, of :data:`SUMMARY`."""

    leg: str
    caller: str = ""
    to_queue: str = ""
    to_agent: str = ""
    why: str = ""
    transcript: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that could not be done. ``command``: its kind, such as ``Play``; ``name``: of the leg or recording. A
    refused Dial is followed by Ended, unless what was wrong is that the name was used before."""

    command: str
    name: str
    why: str


Report: TypeAlias = (
    Incoming
    | Ringing
    | Answered
    | Ended
    | Key
    | Played
    | Recorded
    | Judged
    | Heard
    | Recognized
    | HandedOver
    | Refused
)


USED = "the name was used before"


def refusals(command: Command, why: str) -> list[Report]:
    """What a media layer reports of a command that it can't do."""
    if isinstance(command, Record | PauseRecording | StopRecording):
        name = command.recording
    else:
        name = command.source if isinstance(command, Connect | Disconnect) else command.leg
    refused: list[Report] = [Refused(type(command).__name__, name, why)]
    return [*refused, Ended(command.leg, Cause.FAILED)] if isinstance(command, Dial) and why != USED else refused


class MediaBackend(Protocol):
    """A media layer. One thread at a time calls it, but for ``wake``; none of its methods waits for the network."""

    def send(self, commands: Sequence[Command]) -> None:
        """Take commands, in order. What can't be done is a Refused report, never an exception."""

    def reports(self, timeout: float) -> list[Report]:
        """What has happened, in order: at once if there is something, else after at most ``timeout`` seconds."""

    def wake(self) -> None:
        """From any thread: let the ``reports`` that waits, or the next one, return at once, though nothing happened."""

    def legs(self) -> frozenset[str]:
        """The legs that are not over, so that whoever lost count can compare."""

    def close(self) -> None:
        """Hang up everything and stop; every leg's Ended can still be had from ``reports``."""
