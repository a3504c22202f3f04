"""A media layer without SIP, on a clock of its own: for tests, for the simulator, and for trying things out.

Nothing in it waits and nothing is left to chance: its time passes in :meth:`SimulatedMedia.reports` and
:meth:`SimulatedMedia.advance` only, and a far end does what its :class:`FarEnd` says. Audio is who hears whom:
:meth:`SimulatedMedia.hears` tells it at every instant.

>>> from cordboard.media.backend import Connect, Dial
>>> media = SimulatedMedia({"sip:li@desk": FarEnd(rings=0.1, picks_up=2.0, hangs_up=30.0)})
>>> media.send([Dial("d1", "sip:li@desk")])
>>> media.reports(5.0)
[Ringing(leg='d1', early=False)]
>>> media.reports(5.0), media.now
([Answered(leg='d1')], 2.0)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from cordboard._core.listening import FRAME_S, Listener
from cordboard.errors import InputError, Where
from cordboard.media import answering
from cordboard.media.backend import (
    HEADERS_MAX,
    RECORDING_SUFFIX,
    RINGBACK,
    TEXT_MAX,
    USED,
    Answer,
    Answered,
    Cause,
    Command,
    Connect,
    Dial,
    Disconnect,
    Ended,
    HandedOver,
    HangUp,
    Incoming,
    Key,
    Listen,
    PauseRecording,
    Play,
    Played,
    Quality,
    Recognize,
    Recognized,
    Record,
    Recorded,
    Report,
    Ring,
    Ringing,
    SendKeys,
    Stop,
    StopListening,
    StopRecognizing,
    StopRecording,
    refusals,
)

SPOKEN_S = 1.0  # so long everything takes to be said
PROMPT_S = 2.0  # a prompt of which nobody said how long it is
NAMES_MAX = 100_000  # so many names of legs and recordings are remembered
VANISHED_S = 30.0  # without a sign of life a leg is over
CODES = {
    Cause.NORMAL: 200,
    Cause.CANCELLED: 487,
    Cause.BUSY: 486,
    Cause.NO_ANSWER: 487,
    Cause.REJECTED: 603,
    Cause.INVALID: 404,
    Cause.UNREACHABLE: 480,
    Cause.CONGESTION: 503,
    Cause.FORBIDDEN: 403,
    Cause.FAILED: 500,
}
_OfLeg = Ring | Answer | HangUp | Play | Stop | SendKeys | Listen | StopListening | Recognize | StopRecognizing
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FarEnd:
    """What whoever is at the other end does. Times are seconds; None: never.

    Of one who is dialed: ``rings`` and ``picks_up`` count from the dialing; ``refuses``: in place of picking up it ends
    the call, with this cause. Of one who calls: ``gives_up`` counts from the calling and holds until it is answered.
    Of both: ``hangs_up``, ``vanishes`` (it goes without a word), the keys of ``presses``, when it speaks (``says``:
    from, to), words that it speaks (``speaks``: from, text; a recognizer hears them as they are, after SPOKEN_S) and
    tones that it sends (``sends``: hertz, from, to) count from the answer;
    tones before that (``early``: likewise, early media) from when it rings.
    ``silent``: a far end of real audio sends nothing else. ``hands_over``: of a voice bot, when, and to which queue.
    """

    rings: float | None = 0.0
    picks_up: float | None = 0.0
    refuses: Cause | None = None
    gives_up: float | None = None
    hangs_up: float | None = None
    vanishes: float | None = None
    presses: tuple[tuple[float, str], ...] = ()
    says: tuple[tuple[float, float], ...] = ()
    speaks: tuple[tuple[float, str], ...] = ()
    sends: tuple[tuple[float, float, float], ...] = ()
    early: tuple[tuple[float, float, float], ...] = ()
    silent: bool = False
    hands_over: tuple[float, str] | None = None


@dataclass(slots=True)
class _Leg:
    name: str
    far: FarEnd
    incoming: bool
    caller: str = ""  # of one who was dialed
    answered: bool = False
    open: bool = False  # its audio
    ringing: bool = False
    vanished: bool = False
    playing: Play | None = None
    plays: int = 0  # counts, so that the end of a stopped one is not taken for that of the next
    heard_keys: str = ""
    sources: set[str] = field(default_factory=set)  # whom it hears
    sinks: set[str] = field(default_factory=set)  # who hears it
    tapes: set[str] = field(default_factory=set)
    answered_at: float = 0.0
    rang_at: float = 0.0
    ear: Listener | None = None
    recognizing: Recognize | None = None


@dataclass(slots=True)
class Tape:
    """A recording: one leg a channel, seconds of the clock; ``silences``: pauses, each from and to."""

    legs: tuple[str, ...]
    since: float
    until: float | None = None
    silences: list[tuple[float, float]] = field(default_factory=list)
    silent_since: float | None = None


class SimulatedMedia:
    """A MediaBackend, see above. Not thread-safe.

    ``phones``: who is there to be dialed, or a function that makes the far end of a dialing; what it does not have is
    INVALID. ``prompts``: name -> seconds; None: every name is there, and :data:`PROMPT_S` long. ``lines``: so many legs
    at once (CONGESTION beyond). ``now``: where the clock begins, seconds.
    """

    def __init__(
        self,
        phones: Mapping[str, FarEnd] | Callable[[Dial], FarEnd | None],
        *,
        prompts: Mapping[str, float] | None = None,
        lines: int = 10_000,
        now: float = 0.0,
    ) -> None:
        self._find = phones if callable(phones) else lambda dial: phones.get(dial.to)
        self._prompts = prompts
        self._lines = lines
        self.now = now
        self._legs: dict[str, _Leg] = {}
        self._used: dict[str, None] = {}  # names of legs, the last ones
        self.tapes: dict[str, Tape] = {}  # the last ones
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._reports: list[Report] = []
        self._closed = False

    # ---- MediaBackend

    def send(self, commands: Sequence[Command]) -> None:
        """Take commands, in order. What can't be done is a Refused report."""
        for command in commands:
            why = self._do(command)
            if why:
                self._reports += refusals(command, why)

    def reports(self, timeout: float) -> list[Report]:
        """What has happened. The clock goes on to the next report, and no further than ``timeout`` seconds."""
        end = self.now + timeout
        while not self._reports and self._due and self._due[0][0] <= end:
            self.advance(self._due[0][0])
        if not self._reports:
            self.now = max(self.now, end)
        found, self._reports = self._reports, []
        return found

    def wake(self) -> None:
        """Its ``reports`` never waits: the clock jumps."""

    def legs(self) -> frozenset[str]:
        """The legs that are not over."""
        return frozenset(self._legs)

    def close(self) -> None:
        """Hang up everything."""
        self._closed = True
        for name in list(self._legs):
            self._end(name, self._given_up(self._legs[name]))
        self._due.clear()

    # ---- the clock and the far ends

    def advance(self, t: float) -> None:
        """Let happen what is due up to and at ``t``, seconds."""
        while self._due and self._due[0][0] <= t:
            at, _, happen = heapq.heappop(self._due)
            self.now = max(self.now, at)
            happen()
        self.now = max(self.now, t)

    def next_due(self) -> float | None:
        """When something happens by itself next, seconds, or None."""
        return self._due[0][0] if self._due else None

    def call(self, leg: str, to: str, far: FarEnd, *, caller: str = "", trunk: str = "") -> None:
        """Somebody calls now. InputError if the leg's name was used before."""
        if leg in self._used:
            raise InputError(f'"{leg}" is the name of another leg', Where(key="leg"), "Give each a name of its own")
        _remember(self._used, leg, None)
        if self._closed or len(self._legs) >= self._lines:
            return  # it hears that all lines are busy; nobody here hears of it
        self._legs[leg] = _Leg(leg, far, incoming=True)
        self._reports.append(Incoming(leg, to, caller, trunk))
        if far.gives_up is not None:
            self._after(far.gives_up, lambda: self._give_up(leg))

    def hang_up(self, leg: str) -> None:
        """The far end hangs up now, or gives up."""
        if leg in self._legs:
            one = self._legs[leg]
            self._end(leg, Cause.NORMAL if one.answered else Cause.CANCELLED if one.incoming else Cause.REJECTED)

    def pick_up(self, leg: str) -> None:
        """The far end of a dialed leg picks up now."""
        if leg in self._legs and not self._legs[leg].incoming:
            self._answer(self._legs[leg])

    def press(self, leg: str, key: str) -> None:
        """The far end presses a key now."""
        if leg in self._legs and self._legs[leg].open:
            self._reports.append(Key(leg, key))

    def speak(self, leg: str, text: str) -> None:
        """The far end says something now, and it is recognized at once if it is listened to."""
        one = self._legs.get(leg)
        if one is not None and one.recognizing is not None:
            self._recognized(one, one.recognizing, "", 0.0, False)
            self._recognized(one, one.recognizing, text, 1.0, True)

    def hand_over(self, leg: str, report: HandedOver) -> None:
        """A voice bot hands over now."""
        if leg in self._legs and not self._legs[leg].vanished:
            self._reports.append(report)

    def hears(self, leg: str) -> frozenset[str]:
        """What the far end of a leg hears now: names of legs, and of the prompts that are played to it."""
        one = self._legs.get(leg)
        if one is None or not one.open:
            return frozenset()
        heard = {source for source in one.sources if self._legs[source].open}
        return frozenset(heard.union(one.playing.prompts if one.playing else ()))

    def listened_for(self, leg: str) -> str:
        """The token of what is to be found out of what is said on a leg; empty if it is nothing."""
        command = self._legs[leg].recognizing if leg in self._legs else None
        return "" if command is None else command.token

    def keys_heard(self, leg: str) -> str:
        """The keys that were sent to the far end of a leg."""
        return self._legs[leg].heard_keys if leg in self._legs else ""

    # ---- commands

    def _do(self, command: Command) -> str:
        """Do it; why not, if it can't be done."""
        if isinstance(command, Dial):
            return self._dial(command)
        if isinstance(command, Connect | Disconnect):
            return self._link(command)
        if isinstance(command, Record):
            return self._record(command)
        if isinstance(command, PauseRecording | StopRecording):
            return self._change_recording(command)
        leg = self._legs.get(command.leg)
        if leg is None:
            return "there is no such leg"
        return self._on_leg(leg, command)

    def _on_leg(self, leg: _Leg, command: _OfLeg) -> str:
        if isinstance(command, HangUp):
            self._end(leg.name, Cause.NORMAL if leg.answered else command.cause if leg.incoming else Cause.CANCELLED)
        elif isinstance(command, Ring | Answer) and not leg.incoming:
            return "it did not come in"
        elif isinstance(command, Answer):
            if command.early:
                leg.open = True
            elif not leg.answered:
                self._after(0.0, lambda: self._answer(leg))
        elif isinstance(command, Play):
            return self._play(leg, command)
        elif isinstance(command, Stop):
            self._stop(leg)
        elif isinstance(command, Listen):
            return self._listen(leg, command)
        elif isinstance(command, StopListening):
            leg.ear = None
        elif isinstance(command, Recognize | StopRecognizing):
            return self._recognize(leg, command)
        elif isinstance(command, SendKeys):
            if not leg.open:
                return "its audio is not open"
            leg.heard_keys += command.keys
        return ""

    def _dial(self, dial: Dial) -> str:
        if dial.leg in self._used:
            return USED
        _remember(self._used, dial.leg, None)
        if len(dial.headers) > HEADERS_MAX or any(len(text) > TEXT_MAX for text in (dial.leg, dial.to, dial.caller)):
            return "too long"
        if self._closed:
            return "closed"
        far = self._find(dial)
        if far is None or len(self._legs) >= self._lines:
            cause = Cause.INVALID if far is None else Cause.CONGESTION
            self._reports.append(Ended(dial.leg, cause, CODES[cause]))
            return ""
        leg = self._legs[dial.leg] = _Leg(dial.leg, far, incoming=False, caller=dial.caller)
        if far.rings is not None:
            self._after(far.rings, lambda: self._ringing(leg))
        if far.picks_up is not None and far.refuses is None:
            self._after(far.picks_up, lambda: self._answer(leg))
        elif far.refuses is not None:
            refuses = far.refuses
            self._after(far.picks_up or 0.0, lambda: self._end_unanswered(leg, refuses))
        self._after(dial.ring_s, lambda: self._end_unanswered(leg, Cause.NO_ANSWER))
        return ""

    def _link(self, command: Connect | Disconnect) -> str:
        source, sink = self._legs.get(command.source), self._legs.get(command.sink)
        if isinstance(command, Disconnect) and sink is not None and not command.source:
            for name in sink.sources:
                self._legs[name].sinks.discard(sink.name)
            sink.sources.clear()
            return ""
        if source is None or sink is None:
            return "" if isinstance(command, Disconnect) else "there is no such leg"
        if source is sink:
            return "a leg does not hear itself"
        if isinstance(command, Connect):
            source.sinks.add(sink.name)
            sink.sources.add(source.name)
        else:
            source.sinks.discard(sink.name)
            sink.sources.discard(source.name)
        return ""

    def _play(self, leg: _Leg, command: Play) -> str:
        if not leg.open:
            return "its audio is not open"
        known = {RINGBACK: PROMPT_S, **(self._prompts or {})}
        unknown = PROMPT_S if self._prompts is None else -1.0
        seconds = [known.get(name, unknown) for name in command.prompts]
        if not seconds or min(seconds) < 0.0:
            return "there is no such prompt"
        self._stop(leg)
        leg.playing = command
        leg.plays += 1
        number = leg.plays
        if not command.loop:
            self._after(sum(seconds), lambda: self._played(leg, number))
        return ""

    def _listen(self, leg: _Leg, command: Listen) -> str:
        if not leg.open:
            return "its audio is not open"
        if leg.ear is None:
            leg.ear = answering.listener(command)
            if leg.answered:
                leg.ear.answered(round((self.now - leg.answered_at) / FRAME_S))
            self._hear(leg, leg.ear, self.now)
        return ""

    def _recognize(self, leg: _Leg, command: Recognize | StopRecognizing) -> str:
        if isinstance(command, StopRecognizing):
            leg.recognizing = None
            return ""
        if not leg.open:
            return "its audio is not open"
        if leg.recognizing is not None and leg.recognizing.token == command.token:
            return ""
        leg.recognizing = command
        for since, text in leg.far.speaks:
            begins = leg.answered_at + since - self.now
            if begins >= 0.0:
                self._after(begins, partial(self._recognized, leg, command, "", 0.0, False))
                self._after(begins + SPOKEN_S, partial(self._recognized, leg, command, text, 1.0, True))
        return ""

    def _recognized(self, leg: _Leg, command: Recognize, text: str, confidence: float, final: bool) -> None:
        if leg.recognizing is command and leg.name in self._legs and not leg.vanished:
            self._reports.append(Recognized(leg.name, command.token, text, confidence, final))

    def _hear(self, leg: _Leg, ear: Listener, began: float) -> None:
        """The frames of a leg go into its ear, one each 20 ms, as long as somebody listens."""
        if leg.ear is not ear or leg.name not in self._legs:
            return
        since, far = self.now - (leg.answered_at if leg.answered else leg.rang_at) + FRAME_S / 2, leg.far
        tones, words = (far.sends, far.says) if leg.answered else (far.early, ())
        hertz = next((one for one, begin, end in tones if begin <= since < end), 0.0)
        voice = any(begin <= since < end for begin, end in words)
        found = ear.tell(voice, hertz) if not leg.vanished else ear.tell(False, 0.0)
        if found:
            self._after(FRAME_S, lambda: self._reports.extend(answering.news(leg.name, one) for one in found))
        self._after(began + ear.seconds - self.now, lambda: self._hear(leg, ear, began))

    def _stop(self, leg: _Leg) -> None:
        if leg.playing is not None:
            self._reports.append(Played(leg.name, leg.playing.token, False))
            leg.playing = None

    def _record(self, command: Record) -> str:
        if command.recording in self.tapes:
            return "" if self.tapes[command.recording].until is None else USED
        if not 1 <= len(command.legs) <= 2 or len(set(command.legs)) != len(command.legs):
            return "one or two legs can be recorded"
        if not all(name in self._legs for name in command.legs):
            return "there is no such leg"
        _remember(self.tapes, command.recording, Tape(command.legs, self.now))
        for name in command.legs:
            self._legs[name].tapes.add(command.recording)
        return ""

    def _change_recording(self, command: PauseRecording | StopRecording) -> str:
        tape = self.tapes.get(command.recording)
        if tape is None or tape.until is not None:
            return "there is no such recording"
        if isinstance(command, StopRecording):
            self._complete(command.recording)
        elif command.on and tape.silent_since is None:
            tape.silent_since = self.now
        elif not command.on and tape.silent_since is not None:
            tape.silences.append((tape.silent_since, self.now))
            tape.silent_since = None
        return ""

    # ---- what happens

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._due, (self.now + seconds, self._number, happen))

    def _ringing(self, leg: _Leg) -> None:
        if leg.name in self._legs and not leg.answered and not leg.ringing:
            leg.ringing, leg.rang_at = True, self.now
            leg.open = bool(leg.far.early)
            self._reports.append(Ringing(leg.name, leg.open))

    def _answer(self, leg: _Leg) -> None:
        if leg.name not in self._legs or leg.answered:
            return
        leg.answered = leg.open = True
        leg.answered_at = self.now
        if leg.ear is not None:
            leg.ear.answered()
        self._reports.append(Answered(leg.name))
        far = leg.far
        for seconds, key in far.presses:
            self._after(seconds, lambda key=key: self.press(leg.name, key))  # type: ignore[misc]
        if far.vanishes is not None:
            self._after(far.vanishes, lambda: self._vanish(leg))
        if far.hangs_up is not None:
            self._after(far.hangs_up, lambda: self._hangs_up(leg))
        if far.hands_over is not None:
            seconds, queue = far.hands_over
            self._after(seconds, lambda: self.hand_over(leg.name, HandedOver(leg.name, leg.caller, queue)))

    def _hangs_up(self, leg: _Leg) -> None:
        if not leg.vanished:
            self._end(leg.name, Cause.NORMAL)

    def _vanish(self, leg: _Leg) -> None:
        leg.vanished = True
        self._after(VANISHED_S, lambda: self._end(leg.name, Cause.UNREACHABLE))

    def _played(self, leg: _Leg, number: int) -> None:
        if leg.plays == number and leg.playing is not None:
            token, leg.playing = leg.playing.token, None
            self._reports.append(Played(leg.name, token, True))

    def _give_up(self, name: str) -> None:
        if name in self._legs and not self._legs[name].answered:
            self._end(name, Cause.CANCELLED)

    def _end_unanswered(self, leg: _Leg, cause: Cause) -> None:
        if not leg.answered:
            self._end(leg.name, cause)

    @staticmethod
    def _given_up(leg: _Leg) -> Cause:
        return Cause.NORMAL if leg.answered else Cause.CANCELLED

    def _end(self, name: str, cause: Cause) -> None:
        """The one place where a leg ends; again changes nothing."""
        leg = self._legs.get(name)
        if leg is None:
            return
        self._stop(leg)
        del self._legs[name]
        for source in leg.sources:
            self._legs[source].sinks.discard(name)
        for sink in leg.sinks:
            self._legs[sink].sources.discard(name)
        for recording in sorted(leg.tapes):
            tape = self.tapes[recording]
            if tape.until is None and not any(other in self._legs for other in tape.legs):
                self._complete(recording)
        quality = Quality(0, 0, 0, 0.0, 0.0, 4.4) if leg.open else None
        self._reports.append(Ended(name, cause, CODES[cause], quality))

    def _complete(self, recording: str) -> None:
        tape = self.tapes[recording]
        tape.until = self.now
        if tape.silent_since is not None:
            tape.silences.append((tape.silent_since, self.now))
        self._reports.append(Recorded(recording, recording + RECORDING_SUFFIX, self.now - tape.since))


def _remember(names: dict[str, _T], name: str, value: _T) -> None:
    names[name] = value
    if len(names) > NAMES_MAX:
        del names[next(iter(names))]
