"""Who answered: a person, a machine, or nobody knows yet; from when somebody speaks and from pure tones.

A media layer hears voice begin and end, and tones (``bindings/pjsip/hearing.h``; the simulated one is told), and asks
:class:`Judge` at the times that it names. The rules are those that dialers publish (a person says a short greeting and
waits; a machine goes on, or sends a tone), with a deadline, since whoever answered may be kept waiting for two seconds
at most. Times are seconds of audio since the listening began; the same gives the same.

>>> judge = Judge(Rules())
>>> judge.voice(True, 0.3), judge.voice(False, 0.8), judge.due()
(None, None, 1.2)
>>> judge.look(1.2)
Verdict(what='human', why='short_greeting', after_s=1.2)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from cordboard.media.backend import Heard, Judged, Listen, Report

Who = Literal["human", "machine", "unknown"]
Sound = Literal["fax", "sit", "beep"]

SIT_HZ = ((900.0, 1000.0), (1350.0, 1450.0), (1750.0, 1800.0))  # special information tones, ITU-T E.180: rising
SIT_GAP_S = 0.1
FAX_HZ = ((1060.0, 1140.0), (2085.0, 2115.0))  # CNG, and CED of the answering side: ITU-T T.30
FAX_S = 0.4
BEEP_HZ = (350.0, 2200.0)
BEEP_S = 0.12


@dataclass(frozen=True, slots=True)
class Rules:
    """A person's greeting is shorter than ``greeting_s`` and followed by a ``pause_s``; what is no greeting by
    ``deadline_s`` is unknown. ``silence_s``: without a sound for so long it is unknown earlier."""

    greeting_s: float = 1.5
    pause_s: float = 0.4
    silence_s: float = 1.8
    deadline_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``why``: the rule; ``after_s``: when it was reached."""

    what: Who
    why: str
    after_s: float


class Judge:
    """See above. Tell it what is heard in order of time; ``sounds`` are the tones that it made out and nobody took."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._since: float | None = None  # voice began
        self._speaks = False
        self._quiet = 0.0  # voice ended
        self._tone: tuple[float, float] | None = None  # hertz, since
        self._rising: list[float] = []  # ends of the tones of a SIT so far
        self._beep = inf  # when the tone that is over was a beep
        self._named = False  # the tone that sounds now was made out
        self.sounds: list[Sound] = []
        self.verdict: Verdict | None = None

    def voice(self, on: bool, t: float) -> None:
        """Somebody begins or stops to speak."""
        self.look(t)
        self._speaks = on
        if not on:
            self._quiet = t
        elif self._since is None:
            self._since = t

    def tone(self, hertz: float, on: bool, t: float) -> None:
        """A pure tone begins or is over."""
        self.look(t)
        if on:
            self._tone, self._named = (hertz, t), False
            low, high = SIT_HZ[len(self._rising)]
            fits = low <= hertz <= high and (not self._rising or t - self._rising[-1] < SIT_GAP_S)
            if fits and len(self._rising) == 2:
                self._name("sit", t)
            elif fits:
                self._beep = inf  # it was the first or second tone of a SIT
            else:
                self._rising.clear()
            return
        if self._tone is None:
            return
        hertz, since = self._tone
        self._tone = None
        if self._named:
            return
        low, high = SIT_HZ[len(self._rising)]
        if low <= hertz <= high and len(self._rising) < 2:
            self._rising.append(t)
        if t - since >= BEEP_S and BEEP_HZ[0] <= hertz <= BEEP_HZ[1]:
            self._beep = round(t + SIT_GAP_S, 3)  # unless the next tone of a SIT follows

    def _name(self, sound: Sound, t: float) -> None:
        self._named, self._beep = True, inf
        self._rising.clear()
        self.sounds.append(sound)
        self._decide("machine", sound, t)

    def _decide(self, what: Who, why: str, t: float) -> None:
        if self.verdict is None:
            self.verdict = Verdict(what, why, round(t, 3))

    def look(self, t: float) -> Verdict | None:
        """What is known at ``t``, if nothing but what was told has been heard until then."""
        while (at := self.due()) <= t and at < inf:
            if at == self._beep:
                self._name("beep", at)
            elif at == self._fax_at():
                self._name("fax", at)
            else:
                self._decide(*self._next()[1:], at)
        return self.verdict

    def due(self) -> float:
        """When ``look`` says something new, if nothing is heard until then; infinity if never."""
        return min(self._fax_at(), self._beep, inf if self.verdict is not None else self._next()[0])

    def _fax_at(self) -> float:
        if self._tone is None or self._named or not any(low <= self._tone[0] <= high for low, high in FAX_HZ):
            return inf
        return round(self._tone[1] + FAX_S, 3)

    def _next(self) -> tuple[float, Who, str]:
        """The verdict that is next if all stays as it is, and when."""
        rules = self._rules
        end: tuple[float, Who, str] = (rules.deadline_s, "unknown", "deadline")
        if self._since is None:
            return min(end, (rules.silence_s, "unknown", "silence"))
        if self._speaks:
            return min(end, (round(self._since + rules.greeting_s, 3), "machine", "long_greeting"))
        return min(end, (round(self._quiet + rules.pause_s, 3), "human", "short_greeting"))


class Ear:
    """A judge of a leg, and what is to be reported of what it found."""

    def __init__(self, command: Listen) -> None:
        self._leg = command.leg
        self.judge = Judge(Rules(command.greeting_s, command.pause_s, command.silence_s, command.deadline_s))
        self._judged = False

    def news(self, t: float) -> list[Report]:
        """What is new at ``t``."""
        verdict = self.judge.look(t)
        found: list[Report] = [Heard(self._leg, sound) for sound in self.judge.sounds]
        self.judge.sounds.clear()
        if verdict is not None and not self._judged:
            self._judged = True
            found.append(Judged(self._leg, verdict.what, verdict.why, verdict.after_s))
        return found
