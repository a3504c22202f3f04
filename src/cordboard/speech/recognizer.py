"""The interface of speech recognizers, and how one is found.

A recognizer holds a model; a session of it hears one caller. Whoever writes an adapter gives a class that takes the
settings as a mapping, and names it as an entry point of the group ``cordboard.recognizers``. A recognizer is used by
one thread of a process of its own (``cordboard.speech.worker``), so it may take its time and all of a core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cordboard.errors import InputError, Where
from cordboard.journal import nearest

GROUP = "cordboard.recognizers"
RATES = (8000, 16000)
WORDS_MAX = 1000  # of one session
TEXT_MAX = 1000  # characters of a result
UTTERANCE_S = 15.0  # somebody who speaks longer has said it by then

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a session is to hear. ``language``: as flows name it (``en``, ``zh``, ``en-gb``); ``words``: words and
    phrases that are expected, as hints or as a grammar: a recognizer may give other text, or none of what it does not
    know; ``rate``: samples a second, 8000 or 16000."""

    language: str
    words: tuple[str, ...] = ()
    rate: int = 8000

    def __post_init__(self) -> None:
        if self.rate not in RATES:
            raise InputError(f"{self.rate} samples a second", Where(key="rate"), "Give 8000 or 16000")
        if len(self.words) > WORDS_MAX:
            raise InputError(f"{len(self.words)} words", Where(key="words"), f"At most {WORDS_MAX}")


@dataclass(frozen=True, slots=True)
class Result:
    """What was heard. Not ``final``: somebody speaks, and ``text`` is what it sounds like by now, maybe empty. Final:
    an utterance is over; an empty text was none of the words, or no speech. ``confidence``: 0 to 1; 1 where a
    recognizer has none."""

    text: str
    confidence: float = 1.0
    final: bool = True


class Session(Protocol):
    """Hears one caller. InputError if the audio can't be taken; it is over then."""

    def feed(self, samples: Samples) -> Sequence[Result]:
        """Take audio, int16, of any length. What it has told, in order; one that is not final once an utterance at
        least, when somebody begins to speak."""

    def close(self) -> Sequence[Result]:
        """No more audio comes: what is said of an utterance that was not over."""


class Recognizer(Protocol):
    """Holds a model."""

    def start(self, asked: Asked) -> Session:
        """Hear another caller. InputError if nothing of what is asked for can be recognized."""

    def close(self) -> None:
        """Let go of the model. Its sessions are over."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A recognizer of a node. ``kind``: one of BUILT_IN, or the name of an entry point; ``languages``: of callers whom
    it hears; ``sessions``: at once; ``options``: what its class is given (``model``: a path ...)."""

    name: str
    kind: str
    languages: tuple[str, ...]
    sessions: int = 20
    options: Mapping[str, Any] = field(default_factory=dict)


def _pocketsphinx(options: Mapping[str, Any]) -> Recognizer:
    from cordboard.speech.pocketsphinx import Pocketsphinx

    return Pocketsphinx(options)


def _vosk(options: Mapping[str, Any]) -> Recognizer:
    from cordboard.speech.vosk import Vosk

    return Vosk(options)


def _sherpa_onnx(options: Mapping[str, Any]) -> Recognizer:
    from cordboard.speech.sherpa_onnx import SherpaOnnx

    return SherpaOnnx(options)


BUILT_IN: dict[str, Callable[[Mapping[str, Any]], Recognizer]] = {
    "pocketsphinx": _pocketsphinx,
    "vosk": _vosk,
    "sherpa-onnx": _sherpa_onnx,
}


def recognizer(kind: str, options: Mapping[str, Any]) -> Recognizer:
    """A recognizer of a kind. InputError if there is no such kind, or its options or its model can't be used;
    MissingExtraError if its library is not installed."""
    if kind in BUILT_IN:
        return BUILT_IN[kind](options)
    others = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in others:
        what = f'there is no recognizer of the kind "{kind}"'
        raise InputError(what, Where(key="kind"), nearest(kind, [*BUILT_IN, *others]))
    found: Recognizer = others[kind].load()(options)
    return found


def only(options: Mapping[str, Any], *known: str) -> None:
    """These options and no others. InputError."""
    for key in options:
        if key not in known:
            raise InputError(f'the recognizer has no option "{key}"', Where(key=key), nearest(key, known))


def heard(text: str, confidence: float = 1.0, final: bool = True) -> Result:
    """A result within its bounds."""
    return Result(" ".join(text.split())[:TEXT_MAX], min(max(round(float(confidence), 3), 0.0), 1.0), final)


class Doubler:
    """Audio of 8,000 samples a second as 16,000, as it comes: a windowed sinc of 3.6 kHz in between."""

    SIDE = 16  # samples of the input to each side that a new one is made of

    def __init__(self) -> None:
        at = np.arange(-2 * self.SIDE, 2 * self.SIDE + 1)
        kernel = np.sinc(at * 0.45) * np.hamming(at.size)
        self._kernel = 2.0 * kernel / kernel.sum()
        self._tail = np.zeros(2 * self.SIDE)

    def feed(self, samples: Samples) -> Samples:
        """Twice as many samples, late by SIDE of the input."""
        if not samples.size:
            return samples
        known = np.concatenate([self._tail, samples])
        self._tail = known[-2 * self.SIDE :]
        spread = np.zeros(2 * known.size)
        spread[::2] = known
        made = np.convolve(spread, self._kernel, "valid")[: 2 * samples.size]
        return np.clip(np.rint(made), -32768, 32767).astype(np.int16)
