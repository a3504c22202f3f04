"""sherpa-onnx, with a streaming model of the user's: https://k2-fsa.github.io/sherpa/onnx/pretrained_models names some.

It hears whatever is said; words are no grammar for it, and a flow finds them in the text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cordboard.errors import InputError, MissingExtraError, Where
from cordboard.speech.recognizer import UTTERANCE_S, Asked, Result, Samples, heard, only

PAUSE_S = 0.8  # ends an utterance


class SherpaOnnx:
    """A Recognizer. Options: ``model``, the folder of an unpacked streaming model (transducer, paraformer or zipformer2
    CTC, told by its files); ``threads`` (1)."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        try:
            import sherpa_onnx
        except ImportError as error:
            raise MissingExtraError("sherpa-onnx", "sherpa") from error
        only(options, "model", "threads")
        files = model_files(options)
        made = sherpa_onnx.OnlineRecognizer
        make = made.from_zipformer2_ctc if "model" in files else made.from_paraformer
        if "joiner" in files:
            make = made.from_transducer
        try:
            self._made = make(
                **files,
                num_threads=int(options.get("threads", 1)),
                enable_endpoint_detection=True,
                rule1_min_trailing_silence=UTTERANCE_S,
                rule2_min_trailing_silence=PAUSE_S,
                rule3_min_utterance_length=UTTERANCE_S,
            )
        except (AssertionError, RuntimeError, ValueError) as error:
            raise InputError(f"the model can't be used: {error}", Where(key="model"), "Check the path") from error

    def start(self, asked: Asked) -> SherpaSession:
        return SherpaSession(self._made, asked.rate)

    def close(self) -> None:
        del self._made


class SherpaSession:
    """A Session."""

    def __init__(self, made: Any, rate: int) -> None:
        self._made, self._rate, self._stream = made, rate, made.create_stream()
        self._speaks = False

    def feed(self, samples: Samples) -> Sequence[Result]:
        made, stream = self._made, self._stream
        stream.accept_waveform(self._rate, samples.astype(np.float32) / 32768.0)
        while made.is_ready(stream):
            made.decode_stream(stream)
        if made.is_endpoint(stream):
            return self._ended()
        text = made.get_result(stream)
        if not text or self._speaks:
            return []
        self._speaks = True
        return [heard(text, 0.0, final=False)]

    def close(self) -> Sequence[Result]:
        self._stream.input_finished()
        while self._made.is_ready(self._stream):
            self._made.decode_stream(self._stream)
        return self._ended()

    def _ended(self) -> Sequence[Result]:
        text = self._made.get_result(self._stream)
        sure = self._made.ys_probs(self._stream)
        self._made.reset(self._stream)
        self._speaks = False
        return [heard(text, math.exp(sum(sure) / len(sure)) if sure else 1.0)] if text else []


def model_files(options: Mapping[str, Any]) -> dict[str, str]:
    """The files of a model's folder by what they are; of several, one of 8 bits. InputError if it is no model."""
    folder = Path(str(options.get("model", "")))
    if "model" not in options or not (folder / "tokens.txt").is_file():
        what = f'there is no model with tokens.txt in the folder "{folder}"'
        raise InputError(what, Where(key="model"), "Unpack a streaming model of sherpa-onnx, and give its folder")
    found = {"tokens": str(folder / "tokens.txt")}
    for part in ("encoder", "decoder", "joiner"):
        files = sorted(folder.glob(f"*{part}*.onnx"), key=lambda file: ("int8" not in file.name, file.name))
        if files:
            found[part] = str(files[0])
    if "encoder" not in found:
        files = sorted(folder.glob("*.onnx"), key=lambda file: ("int8" not in file.name, file.name))
        found = {"tokens": found["tokens"]} | ({"model": str(files[0])} if files else {})
    if len(found) < 2:
        raise InputError(f'the folder "{folder}" has no .onnx files', Where(key="model"), "Unpack a whole model there")
    return found
