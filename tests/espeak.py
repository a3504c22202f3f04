"""Synthetic speech for tests, by the espeak-ng that .ci/debian unpacked."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cordboard.calls.speaking import speak
from tests.debian import unpacked


def espeak_in(folder: Path) -> str:
    """A script in the folder that runs it."""
    unpacked_in = unpacked("espeak-ng")
    libraries = unpacked_in / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    program = folder / "espeak-ng"
    program.write_text(
        f'#!/bin/sh\nexport LD_LIBRARY_PATH="{libraries}:{libraries}/pulseaudio:{unpacked_in}/lib/{libraries.name}"\n'
        f'export ESPEAK_DATA_PATH="{libraries}/espeak-ng-data"\nexec "{unpacked_in}/usr/bin/espeak-ng" "$@"\n'
    )
    program.chmod(0o755)
    return str(program)


def said(text: str, folder: Path, voice: str = "en-us") -> np.ndarray:
    """A text as a telephone hears it: 8,000 samples a second, half a second of a quiet line before, one behind."""
    speech = np.concatenate([np.zeros(4000), speak(text, voice, espeak_in(folder)), np.zeros(8000)])
    return (speech + np.random.default_rng(7).normal(0.0, 4.0, speech.size)).astype(np.int16)
