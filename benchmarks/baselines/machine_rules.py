"""Rules by which dialers tell machines from people: ours before there was a model, and those of Asterisk's AMD().

Both hear the same audio as the model. Asterisk's are written anew from its documentation (docs.asterisk.org, application AMD,
and the comments of its sample amd.conf, whose values are the defaults here); its code was not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.machines_corpus import Answered
from cordboard._core.listening import FEATURES, FRAME, FRAME_S, Listener


@dataclass(frozen=True, slots=True)
class Verdict:
    """``machine``: it is let go; otherwise it gets an agent, also where nobody knows."""

    machine: bool
    why: str
    after_s: float


def rules(call: Answered, greeting_s: float = 1.5, pause_s: float = 0.4, silence_s: float = 1.8, deadline_s: float = 2.0) -> Verdict:
    """A greeting of less than 1.5 s and a pause of 0.4 s: a person. One that goes on: a machine. Fax, SIT and beep: likewise."""
    listener = Listener(None, 2.0, -1.0, 60.0)
    listener.hear(call.audio[: call.answer * FRAME])
    listener.answered()
    columns = [FEATURES.index(name) for name in ("time", "onset", "word", "quiet")]
    after = call.audio[call.answer * FRAME :]
    for i in range(len(after) // FRAME):
        for sound, *_ in listener.hear(after[i * FRAME : (i + 1) * FRAME]):
            if sound not in ("", "ringback"):
                return Verdict(True, sound, (i + 1) * FRAME_S)
        t, onset, word, quiet = listener.features()[columns]
        if np.isnan(onset):
            if t >= silence_s:
                return Verdict(False, "silence", t)
        elif (word > 0.0 or quiet < 0.2) and t - onset >= greeting_s:  # pauses of less than 0.2 s are none
            return Verdict(True, "long greeting", t)
        elif word == 0.0 and quiet >= pause_s:
            return Verdict(False, "short greeting", t)
        if t >= deadline_s:
            break
    return Verdict(False, "deadline", deadline_s)


def asterisk(
    call: Answered,
    *,
    initial_silence: float = 2.5,
    greeting: float = 1.5,
    after_greeting_silence: float = 0.8,
    total_analysis_time: float = 5.0,
    min_word_length: float = 0.1,
    between_words_silence: float = 0.05,
    maximum_number_of_words: int = 2,
    maximum_word_length: float = 5.0,
    silence_threshold: float = 256.0,
) -> Verdict:
    """AMD(): silence is a mean amplitude below the threshold; words are voice of min_word_length after between_words_silence."""
    silence = voice = total = 0.0  # of the silence and the voice that go on
    words, in_greeting, in_word = 0, False, False
    after = call.audio[call.answer * FRAME :]
    frames = np.abs(after[: len(after) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)).mean(axis=1)
    for level in frames:
        total += FRAME_S
        if level < silence_threshold:
            silence += FRAME_S
            if silence >= between_words_silence:
                in_word, voice = False, voice if in_word else 0.0
            if in_greeting and silence >= after_greeting_silence:
                return Verdict(False, "HUMAN", total)
            if not in_greeting and silence >= initial_silence:
                return Verdict(True, "INITIALSILENCE", total)
        else:
            silence = 0.0
            voice += FRAME_S
            if not in_word and voice >= min_word_length:
                words, in_word, in_greeting = words + 1, True, True
            if voice >= maximum_word_length:
                return Verdict(True, "MAXWORDLENGTH", total)
            if words > maximum_number_of_words:
                return Verdict(True, "MAXWORDS", total)
            if in_greeting and voice >= greeting:
                return Verdict(True, "LONGGREETING", total)
        if total >= total_analysis_time - 1e-9:
            break
    return Verdict(False, "NOTSURE", total)
