"""pocketsphinx: a small grammar in English with the model that its wheel brings, or another one of CMU Sphinx.

An utterance is cut out by its detector of speech and recognized when it is over, by a JSGF grammar of the words. How
sure that is comes from a second pass over the same audio with phones in any order: the logarithm of the ratio of both
likelihoods for each frame of 10 ms, on a logistic curve. SLOPE is chosen on speech of espeak-ng, and nothing else was
there to choose it on.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cordboard.calls.speaking import resampled
from cordboard.errors import InputError, MissingExtraError, Where
from cordboard.speech.recognizer import UTTERANCE_S, Asked, Result, Samples, heard, only

RATE = 16000  # of the models
MARGIN_S = 0.25  # of audio around an utterance
PAUSE_S = 0.5  # ends it
SLOPE = 3.0
_WORD = re.compile(r"[\w'.-]+")


class Pocketsphinx:
    """A Recognizer. Options: ``model``, ``dictionary`` and ``phones`` (a folder and two files), those of the wheel if
    they are absent."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        try:
            import pocketsphinx
        except ImportError as error:
            raise MissingExtraError("pocketsphinx", "pocketsphinx") from error
        only(options, "model", "dictionary", "phones")
        own = {"model": "en-us/en-us", "dictionary": "en-us/cmudict-en-us.dict", "phones": "en-us/en-us-phone.lm.bin"}
        paths = {key: str(options.get(key) or pocketsphinx.get_model_path(name)) for key, name in own.items()}
        for key, path in paths.items():
            if not os.path.exists(path):
                raise InputError(f"there is no model {path}", Where(key=key), "Check the path")
        self._sphinx = pocketsphinx
        try:
            # The best path through the lattice may end before the grammar does: the best of the search does not.
            self._decoder = pocketsphinx.Decoder(
                hmm=paths["model"], dict=paths["dictionary"], lm=None, bestpath=False, loglevel="FATAL"
            )
            self._decoder.add_allphone_file("phones", paths["phones"])
        except RuntimeError as error:
            raise InputError(f"the model can't be used: {error}", Where(key="model"), "Check the path") from error

    def start(self, asked: Asked) -> PocketsphinxSession:
        phrases = {" ".join(_WORD.findall(word.lower())): word for word in asked.words}
        known = {key: word for key, word in phrases.items() if key and all(map(self._knows, key.split()))}
        if not known:
            what = f"the model knows none of the words {', '.join(asked.words[:5])}"
            raise InputError(what, Where(key="words"), "Give words of its dictionary")
        return PocketsphinxSession(self._sphinx, self._decoder, known, asked.rate)

    def _knows(self, word: str) -> bool:
        return self._decoder.lookup_word(word) is not None

    def close(self) -> None:
        del self._decoder


class PocketsphinxSession:
    """A Session. All sessions share a decoder: each recognizes a whole utterance at once."""

    def __init__(self, sphinx: Any, decoder: Any, phrases: Mapping[str, str], rate: int) -> None:
        self._decoder, self._phrases, self._rate = decoder, phrases, rate
        self._grammar = f"#JSGF V1.0; grammar words; public <words> = {' | '.join(phrases)};"
        self._sphinx = sphinx
        self._begin()

    def _begin(self) -> None:
        self._ends = self._sphinx.Endpointer(PAUSE_S, 0.9, sample_rate=self._rate)
        self._frame = self._ends.frame_bytes // 2
        self._audio = np.zeros(0, np.int16)  # since the endpointer began
        self._seen = 0  # samples of it that it has seen
        self._speaks = False

    def feed(self, samples: Samples) -> Sequence[Result]:
        found: list[Result] = []
        self._audio = np.concatenate([self._audio, samples])
        while self._audio.size - self._seen >= self._frame:
            self._ends.process(self._audio[self._seen : self._seen + self._frame].tobytes())
            self._seen += self._frame
            if self._ends.in_speech and not self._speaks:
                self._speaks = True
                found.append(heard("", 0.0, final=False))
            spoken = self._seen / self._rate
            if self._speaks and (not self._ends.in_speech or spoken - self._ends.speech_start > UTTERANCE_S):
                found.append(self._recognized())
            elif not self._speaks and spoken > 2 * UTTERANCE_S:
                self._again(int(MARGIN_S * self._rate))
        return found

    def close(self) -> Sequence[Result]:
        return [self._recognized()] if self._speaks else []

    def _again(self, keep: int) -> None:
        """Go on with the last ``keep`` samples that were seen, and those that were not."""
        rest = self._audio[max(self._seen - keep, 0) :]
        self._begin()
        self._audio = rest

    def _recognized(self) -> Result:
        """What the utterance was; the next one may begin."""
        since = max(int((self._ends.speech_start - MARGIN_S) * self._rate), 0)
        audio = self._audio[since : self._seen]
        self._again(0)
        if self._rate != RATE:
            audio = resampled(audio, self._rate, RATE)
        self._decoder.add_jsgf_string("words", self._grammar)
        text, score = self._pass("words", audio)
        if not text:
            return heard("", 0.0)
        ratio = score - self._pass("phones", audio)[1]
        return heard(self._phrases.get(text, text), 1.0 / (1.0 + math.exp(min(-ratio / SLOPE, 50.0))))

    def _pass(self, search: str, audio: Samples) -> tuple[str, float]:
        """The text and its log likelihood a frame."""
        decoder = self._decoder
        decoder.activate_search(search)
        decoder.start_utt()
        decoder.process_raw(audio.tobytes(), full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        if best is None:
            return "", 0.0
        return best.hypstr, decoder.logmath.log(best.best_score) / max(decoder.n_frames(), 1)
