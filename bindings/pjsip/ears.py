"""Legs that are listened to: taps of the bridge, which judge in its clock thread (``_core/listening.h``); and
what is said on them (cordboard.bindings.pjsip.recognizing)."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from cordboard._core.listening import FRAME_S, SOUNDS, WHYS
from cordboard.bindings.pjsip import events as pj
from cordboard.bindings.pjsip.recognizing import Recognizing
from cordboard.media import machines
from cordboard.media.answering import NOBODY_KNOWS, news
from cordboard.media.backend import Judged, Listen, Recognize, Report, StopListening, StopRecognizing

if TYPE_CHECKING:
    from cordboard.bindings.pjsip.sip import Sip

LATE_S = 0.15  # after the deadline a tap that has said nothing gets no audio


@dataclass(slots=True)
class _Tap:
    command: Listen
    number: int
    port: int  # of the bridge
    answered: bool = False
    judged: bool = False


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

    def listen(self, command: Listen | Recognize, port: int, answered_at: float | None) -> str:
        """Listen to a leg, whose port this is, and which was answered then, if it was; why not, if it can't be done."""
        if isinstance(command, Recognize):
            return self._words.start(self._sip, command, port, time.monotonic())
        if command.leg in self._by_leg:
            return ""
        frames = round(command.deadline_s / FRAME_S)
        why, own, number = self._sip.listen(machines.model(), command.machine_at, command.person_at, frames)
        if why:
            return why
        tap = _Tap(command, number, own)
        self._by_leg[command.leg] = self._by_number[number] = tap
        if answered_at is not None:
            self.answered(command.leg, answered_at)
        self.connect(command.leg, port)
        return ""

    def answered(self, leg: str, at: float) -> float:
        """The leg was answered then, by this machine's clock; when, again."""
        tap = self._by_leg.get(leg)
        if tap is not None and not tap.answered:
            tap.answered = True
            self._sip.listening_answered(tap.number, round((time.monotonic() - at) / FRAME_S))
            heapq.heappush(self._due, (at + tap.command.deadline_s + LATE_S, tap.number))
        return at

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

    def heard(self, number: int, sound: int, why: int, numbers: pj.Numbers) -> list[Report]:
        """A tap has something to say."""
        tap = self._by_number.get(number)
        if tap is None:
            return []
        return self._told(tap, news(tap.command.leg, (SOUNDS[sound], WHYS[why], numbers[3], numbers[0] * FRAME_S)))

    def tick(self, now: float) -> list[Report]:
        """Who should be known by now, and is not; and what was said."""
        found = self._words.tick(self._sip, now)
        while self._due and self._due[0][0] <= now:
            tap = self._by_number.get(heapq.heappop(self._due)[1])
            if tap is not None:
                leg, after_s = tap.command.leg, tap.command.deadline_s
                found += self._told(tap, Judged(leg, NOBODY_KNOWS, "no_audio", after_s))
        return found

    @staticmethod
    def _told(tap: _Tap, report: Report) -> list[Report]:
        """Who it is is told once."""
        if isinstance(report, Judged):
            if tap.judged:
                return []
            tap.judged = True
        return [report]
