"""Prompts that nobody recorded, spoken by espeak-ng: WAV files of 8 kHz, 16 bits, one channel, as telephones use."""

from __future__ import annotations

import io
import os
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cordboard.calls.flow import Flow
from cordboard.calls.flow_check import prompts_of, recorded, says_numbers, text_of
from cordboard.calls.flow_speech import SPOKEN
from cordboard.errors import InputError, Where

RATE = 8000
VOICES = {"zh": "cmn"}  # language -> the voice of espeak-ng, where it has another name
SPEAK_S = 60.0  # so long at most for one prompt
QUIET = 300  # of 32767: what is softer at the ends is cut off
MARGIN_S = 0.04

Samples = npt.NDArray[np.int16]


def missing(flow: Flow, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Language, prompt and text of what the folder lacks and can be spoken: prompts, and numbers if there are any."""
    for language in flow.languages:
        names = list(prompts_of(flow))
        if says_numbers(flow):
            names += [name for name in SPOKEN.get(language.partition("-")[0], {}) if name.startswith("n-")]
        for name in names:
            text = text_of(flow, name, language)
            if text and not recorded(folder, language, name):
                yield language, name, text


def speak(text: str, language: str, espeak: str = "espeak-ng") -> Samples:
    """What a text sounds like. InputError if espeak-ng is not there or does not know the language."""
    base, dash, region = language.partition("-")
    voice = VOICES.get(base, base) + dash + region if base not in VOICES else VOICES[base]
    try:
        done = subprocess.run(
            [espeak, "-v", voice, "--stdin", "--stdout"], input=text.encode(), capture_output=True, timeout=SPEAK_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = "Install espeak-ng, or give its path with --espeak"
        raise InputError(f'"{espeak}" can\'t be run: {error}', Where(key="--espeak"), hint) from error
    try:
        # Written to a pipe, its header says nothing of the length: what follows the header is the sound.
        with wave.open(io.BytesIO(done.stdout)) as sound:
            rate, width, channels = sound.getframerate(), sound.getsampwidth(), sound.getnchannels()
        samples = np.frombuffer(done.stdout[44 : 44 + (len(done.stdout) - 44) // 2 * 2], dtype="<i2")
    except (EOFError, wave.Error) as error:
        told = done.stderr.decode("utf-8", "replace").strip()[:200]
        what = f'espeak-ng does not speak "{language}": {told}'
        raise InputError(what, Where(key="--espeak"), "Record it") from error
    if (width, channels) != (2, 1) or not samples.size:
        raise InputError(f'espeak-ng said nothing for "{text}"', Where(key="--espeak"), "Write it otherwise")
    return trimmed(resampled(samples, rate))


def resampled(samples: Samples, rate: int, to: int = RATE) -> Samples:
    """The same sound at another rate: what the other rate can't hold is left out of its spectrum."""
    size = max(round(samples.size * to / rate), 1)
    spectrum = np.fft.rfft(samples.astype(np.float64))
    sound = np.fft.irfft(spectrum[: size // 2 + 1], size) * (size / samples.size)
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)


def trimmed(samples: Samples) -> Samples:
    """Without the silence at both ends, so that numbers are said in one breath."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > QUIET)
    if not loud.size:
        return samples
    margin = int(MARGIN_S * RATE)
    return samples[max(int(loud[0]) - margin, 0) : int(loud[-1]) + margin]


def write_wav(path: Path, samples: Samples) -> None:
    """Write a prompt, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with wave.open(str(part), "wb") as sound:
            sound.setparams((1, 2, RATE, 0, "NONE", ""))
            sound.writeframes(samples.astype("<i2").tobytes())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
