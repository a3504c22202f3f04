"""vosk, with a model of the user's: https://alphacephei.com/vosk/models names some, in Chinese and English too.

Words are a grammar where the model can have one (the small models can), and the text may be ``[unk]`` then, which is
told as none. Where the model knows none of the words it hears whatever is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cordboard.errors import InputError, MissingExtraError, Where
from cordboard.speech.recognizer import Asked, Doubler, Result, Samples, heard, only

UNKNOWN = "[unk]"


class Vosk:
    """A Recognizer. Options: ``model``, the folder of an unpacked model; ``rate``: what the model was trained on, 16000
    or 8000 (16000)."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        try:
            import vosk
        except ImportError as error:
            raise MissingExtraError("vosk", "vosk") from error
        only(options, "model", "rate")
        self._rate = int(options.get("rate", 16000))
        path = Path(str(options.get("model", "")))
        if "model" not in options or not path.is_dir():
            what = f'there is no folder "{path}" of a model'
            raise InputError(what, Where(key="model"), "Unpack a model of vosk, and give its folder")
        vosk.SetLogLevel(-1)
        self._vosk = vosk
        try:
            self._model = vosk.Model(model_path=str(path))
        except Exception as error:  # it raises nothing more exact
            raise InputError(f"the model can't be used: {error}", Where(key="model"), "Check the path") from error

    def start(self, asked: Asked) -> VoskSession:
        known = self._model.vosk_model_find_word
        phrases = grammar(asked.words, lambda word: bool(known(word) >= 0))
        rate = max(self._rate, asked.rate)
        more = [json.dumps([*phrases, UNKNOWN], ensure_ascii=False)] if phrases else []
        made = self._vosk.KaldiRecognizer(self._model, rate, *more)
        made.SetWords(True)
        return VoskSession(made, asked.rate < rate)

    def close(self) -> None:
        del self._model


class VoskSession:
    """A Session."""

    def __init__(self, made: Any, doubled: bool) -> None:
        self._made, self._doubler = made, Doubler() if doubled else None
        self._speaks = False

    def feed(self, samples: Samples) -> Sequence[Result]:
        audio = samples if self._doubler is None else self._doubler.feed(samples)
        if self._made.AcceptWaveform(audio.tobytes()):
            return self._told(self._made.Result())
        text = told(json.loads(self._made.PartialResult()).get("partial", ""))
        if not text or self._speaks:
            return []
        self._speaks = True
        return [heard(text, 0.0, final=False)]

    def close(self) -> Sequence[Result]:
        return self._told(self._made.FinalResult())

    def _told(self, result: str) -> Sequence[Result]:
        speaks, self._speaks = self._speaks, False
        found = json.loads(result)
        text = told(found.get("text", ""))
        if not text and not speaks:  # it ends silence, too
            return []
        sure = [float(word.get("conf", 1.0)) for word in found.get("result", ()) if word.get("word") != UNKNOWN]
        return [heard(text, min(sure, default=1.0) if text else 0.0)]


def told(text: str) -> str:
    """A text without what was none of the words."""
    return " ".join(word for word in text.split() if word != UNKNOWN)


def grammar(words: Sequence[str], known: Callable[[str], bool]) -> list[str]:
    """The phrases that a model knows all words of, lower case; what is written without spaces is cut into words."""
    found: dict[str, None] = {}
    for phrase in words:
        parts = [cut(part, known) for part in phrase.lower().split()]
        if parts and all(parts):
            found[" ".join(word for part in parts for word in part)] = None
    return list(found)


def cut(text: str, known: Callable[[str], bool]) -> list[str]:
    """A text as words that are known, each as long as can be; empty if that can't be done."""
    if known(text):
        return [text]
    if text.isascii():
        return []
    words: list[str] = []
    at = 0
    while at < len(text):
        end = next((end for end in range(len(text), at, -1) if known(text[at:end])), at)
        if end == at:
            return []
        words.append(text[at:end])
        at = end
    return words
