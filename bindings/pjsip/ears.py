"""Legs that are listened to: taps of the bridge, and what is made of what they hear (cordboard.media.answering); and
what is said on them (cordboard.bindings.pjsip.recognizing)."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from cordboard.bindings.pjsip import events as pj
from cordboard.bindings.pjsip.recognizing import Recognizing
from cordboard.media.answering import Ear
from cordboard.media.backend import Listen, Recognize, Report, StopListening, StopRecognizing

if TYPE_CHECKING:
    from cordboard.bindings.pjsip.sip import Sip

FRAME_S = 0.02
LATE_S = 0.06  # by the machine's clock, a moment of the audio has been through the tap so much later at most


@dataclass(slots=True)
class _Tap:
    leg: str
    number: int
    port: int  # of the bridge
    began: float
    ear: Ear


class Ears:
    """By leg. ``due``: when :meth:`tick` has something to do, infinity if never."""

    def __init__(self, sip: Sip, words: Recognizing) -> None:
        self._sip, self._words = sip, words
        self._by_leg: dict[str, _Tap] = {}
        self._by_number: dict[int, _Tap] = {}
        self._due: list[tuple[float, int]] = []

    @property
    def due(self) -> float:
        return min(self._due[0][0] if self._due else inf, self._words.due)

    def listen(self, command: Listen | Recognize, port: int) -> str:
        """Listen to a leg, whose port this is; why not, if it can't be done."""
        if isinstance(command, Recognize):
            return self._words.start(self._sip, command, port, time.monotonic())
        if command.leg in self._by_leg:
            return ""
        why, own, number = self._sip.listen()
        if why:
            return why
        tap = _Tap(command.leg, number, own, time.monotonic(), Ear(command))
        self._by_leg[command.leg] = self._by_number[number] = tap
        self.connect(command.leg, port)
        self._set(tap)
        return ""

    def connect(self, leg: str, port: int) -> None:
        """The leg has this port of the bridge."""
        self._words.connect(self._sip, leg, port)
        if leg in self._by_leg:
            self._sip.connect(port, self._by_leg[leg].port)

    def stop(self, command: StopListening | StopRecognizing) -> None:
        """Listen no more."""
        if isinstance(command, StopRecognizing):
            self._words.stop(self._sip, command.leg)
        else:
            self._stop(command.leg)

    def ended(self, leg: str) -> None:
        """The leg is over."""
        self._words.stop(self._sip, leg)
        self._stop(leg)

    def _stop(self, leg: str) -> None:
        tap = self._by_leg.pop(leg, None)
        if tap is not None:
            del self._by_number[tap.number]
            self._sip.stop_listening(tap.number)

    def heard(self, number: int, what: int, numbers: pj.Numbers) -> list[Report]:
        """A tap has heard something: what it is good for."""
        tap = self._by_number.get(number)
        if tap is None:
            return []
        at, hertz = numbers[0] * FRAME_S, numbers[3]
        if what in (pj.VOICE, pj.QUIET):
            tap.ear.judge.voice(what == pj.VOICE, at)
        else:
            tap.ear.judge.tone(hertz, what == pj.TONE, at)
        found = tap.ear.news(at)
        self._set(tap)
        return found

    def tick(self, now: float) -> list[Report]:
        """What silence has told by now, and what was said."""
        found = self._words.tick(self._sip, now)
        while self._due and self._due[0][0] <= now:
            tap = self._by_number.get(heapq.heappop(self._due)[1])
            if tap is not None:
                found += tap.ear.news(now - tap.began - LATE_S)
                self._set(tap)
        return found

    def _set(self, tap: _Tap) -> None:
        due = tap.ear.judge.due()
        if due < inf:
            heapq.heappush(self._due, (tap.began + due + LATE_S + 0.001, tap.number))
