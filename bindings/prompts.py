"""Where a SIP media layer finds its prompts: files of a folder, and ringing of its own where that has none."""

from __future__ import annotations

import os
import re
import wave
from functools import cache
from pathlib import Path

import numpy as np

from cordboard.media.backend import RINGBACK

RATE = 8000
HERTZ, ON_S, OFF_S = 425.0, 1.0, 4.0  # what ITU-T E.180 recommends
LEVEL = 3000.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def find(folder: Path, name: str) -> str:
    """The file of a prompt in the folder of prompts; empty if there is none."""
    path = Path(name)
    if not name or path.is_absolute() or ".." in path.parts or _CONTROL.search(name):
        return ""
    for file in (folder / path, folder / f"{name}.wav"):
        if file.is_file():
            return str(file)
    return ringback() if name == RINGBACK else ""


@cache
def ringback() -> str:
    """The name of a WAV file with one ring, to be played again and again. It is in memory, as long as this process."""
    file = os.memfd_create("ringback")
    ring = LEVEL * np.sin(np.arange(int(ON_S * RATE)) * (2 * np.pi * HERTZ / RATE))
    with open(os.dup(file), "wb") as binary, wave.open(binary, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(np.concatenate((ring, np.zeros(int(OFF_S * RATE)))).astype(np.int16).tobytes())
    return f"/proc/self/fd/{file}"
