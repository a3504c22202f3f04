"""The prompt that a SIP media layer has where its folder of prompts has none: ringing, as whoever dials hears it."""

from __future__ import annotations

import os
import wave
from functools import cache

import numpy as np

RATE = 8000
HERTZ, ON_S, OFF_S = 425.0, 1.0, 4.0  # what ITU-T E.180 recommends
LEVEL = 3000.0


@cache
def ringback() -> str:
    """The name of a WAV file with one ring, to be played again and again. It is in memory, as long as this process."""
    file = os.memfd_create("ringback")
    ring = LEVEL * np.sin(np.arange(int(ON_S * RATE)) * (2 * np.pi * HERTZ / RATE))
    with open(os.dup(file), "wb") as binary, wave.open(binary, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(np.concatenate((ring, np.zeros(int(OFF_S * RATE)))).astype(np.int16).tobytes())
    return f"/proc/self/fd/{file}"
