"""Voice and tones in the audio of a leg: what ``bindings/pjsip/hearing.h`` describes, for frames that pass in Python.

A test holds both against each other (tests/test_media_wheel_build.py).
"""

from __future__ import annotations

from math import acos, pi
from typing import TypeAlias

import numpy as np

from cordboard.bindings.pjsip.events import QUIET, TONE, TONE_OVER, VOICE

FRAME = 160  # samples, at 8,000 a second
RATE = 8000
ON, OFF = 3, 10  # frames
STILL = 14400.0  # mean square below which nothing is voice
ABOVE = 8.0  # times the floor
PURE = 0.02  # of the energy may be left over beside a tone
DRIFT_HZ = 20.0  # between frames of one tone
LOWEST, RISE, FALL = STILL / ABOVE, 1.01, 0.3  # of the floor, and how it follows

Heard: TypeAlias = tuple[int, int, float]  # what, the frame where it began, hertz


class Hearing:
    """One leg."""

    def __init__(self) -> None:
        self.frames = 0
        self._floor, self._hertz, self._told = STILL, 0.0, 0.0
        self._voice = False
        self._loud = self._quiet = self._tones = 0

    def frame(self, audio: bytes) -> list[Heard]:
        """Take a frame; what has changed."""
        x = np.frombuffer(audio, np.int16).astype(np.float64)
        energy, before = float(x @ x) / FRAME, self._hertz
        self._hertz = _tone(x, energy)
        if before > 0.0 and abs(self._hertz - before) > DRIFT_HZ:
            self._tones = 0
        loud = self._hertz == 0.0 and energy > max(STILL, ABOVE * self._floor)
        lower = energy < self._floor
        self._floor = max(LOWEST, self._floor + FALL * (energy - self._floor) if lower else self._floor * RISE)
        found = [*self._follow_tone(), *self._follow_voice(loud)]
        self.frames += 1
        return found

    def _follow_tone(self) -> list[Heard]:
        found: list[Heard] = []
        same = self._hertz > 0.0 and self._tones > 0
        if self._told > 0.0 and (self._hertz == 0.0 or abs(self._hertz - self._told) > DRIFT_HZ):
            found.append((TONE_OVER, self.frames, self._told))
            self._told, same = 0.0, False
        self._tones = 0 if self._hertz == 0.0 else self._tones + 1 if same else 1
        if self._tones == ON and self._told == 0.0:
            self._told = self._hertz
            found.append((TONE, self.frames + 1 - ON, self._hertz))
        return found

    def _follow_voice(self, loud: bool) -> list[Heard]:
        self._loud = self._loud + 1 if loud else 0
        self._quiet = 0 if loud else self._quiet + 1
        if not self._voice and self._loud == ON:
            self._voice = True
            return [(VOICE, self.frames + 1 - ON, 0.0)]
        if self._voice and self._quiet == OFF:
            self._voice = False
            return [(QUIET, self.frames + 1 - OFF, 0.0)]
        return []


def _tone(x: np.ndarray, energy: float) -> float:
    """The frequency of a frame that is a pure tone, 0 of any other: x[n] + x[n-2] = 2 cos(w) x[n-1]."""
    if energy < STILL:
        return 0.0
    middle, outer = x[1:-1], x[2:] + x[:-2]
    square, cross = float(middle @ middle), float(middle @ outer)
    twice = cross / square
    left = float(outer @ outer) - twice * cross
    return 0.0 if abs(twice) >= 1.98 or left > PURE * square else acos(0.5 * twice) * RATE / (2.0 * pi)
