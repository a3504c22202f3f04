"""Who answered: timing features, the probability and when it is told, sounds by name, the model's file."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard._core.listening import FEATURES, FRAME, FRAME_S, SOUNDS, WHYS, Listener
from cordboard.errors import ModelFileError
from cordboard.learning.compiled import CompiledTrees
from cordboard.media import backend, machines
from cordboard.media.answering import listener, news
from cordboard.media.backend import Heard, Judged, Listen

RATE = 8000
FRAMES = st.lists(st.tuples(st.booleans(), st.sampled_from((0.0, 0.0, 0.0, 425.0, 950.0, 1100.0)), st.integers(1, 40)), max_size=12)


def ear(machine_at: float = 2.0, person_at: float = -1.0, deadline_s: float = 9.0, model: bool = False) -> Listener:
    """One that is certain of nothing, unless told otherwise."""
    return Listener(machines.model() if model else None, machine_at, person_at, deadline_s)


def features(one: Listener) -> dict[str, float]:
    return dict(zip(FEATURES, one.features(), strict=True))


def say(one: Listener, *words: tuple[float, float], seconds: float) -> None:
    for frame in range(round(seconds / FRAME_S)):
        one.tell(any(begin <= (frame + 0.5) * FRAME_S < end for begin, end in words), 0.0)


def test_features_tell_words_phrases_and_pauses_since_the_answer():
    # Given somebody who says two short words and, after a pause, a third that goes on
    one = ear()
    one.answered()
    say(one, (0.2, 0.5), (0.6, 0.8), (1.2, 2.0), seconds=1.6)
    found = features(one)
    # Then every feature is what a stop watch would say
    expected = {
        "time": 1.6, "onset": 0.2, "spoken": 0.9, "words": 3, "word": 0.4, "word_last": 0.2, "word_longest": 0.4, "quiet": 0.0,
        "gap_longest": 0.4, "gaps": 0.5, "phrases": 2, "phrase": 0.4, "phrase_first": 0.6, "phrase_longest": 0.6,
        "share": 0.9 / 1.4, "tones": 0.0, "early_spoken": 0.0, "early_tones": 0.0,
    }  # fmt: skip
    assert found == pytest.approx(expected)
    say(one, seconds=0.4)
    assert features(one)["word"] == 0.0 and features(one)["quiet"] == pytest.approx(0.4) and features(one)["phrase"] == 0.0


def test_what_was_heard_before_the_answer_is_kept_apart_and_a_word_that_goes_on_begins_anew():
    one = ear()
    for _ in range(50):
        one.tell(False, 425.0)
    say(one, (0.0, 0.6), seconds=0.6)
    one.answered()
    assert features(one)["onset"] == 0.0 and features(one)["spoken"] == 0.0
    say(one, (0.0, 0.2), seconds=0.5)
    found = features(one)
    assert (found["words"], found["spoken"], found["early_spoken"], found["early_tones"]) == pytest.approx((1, 0.2, 0.6, 1.0))
    one.answered()
    assert features(one) == found


@pytest.mark.parametrize("late", [1, 5, 60])
def test_listening_that_begins_after_the_answer_keeps_the_same_deadline(late):
    one = listener(Listen("d1"))
    one.answered(late)
    told = [found for _ in range(100) for found in one.tell(False, 0.0) if not found[0]]
    assert [(why, seconds) for _, why, _, seconds in told] == [("deadline", pytest.approx(1.8))]


@given(FRAMES, st.integers(0, 60), st.floats(0.5, 1.0), st.floats(0.0, 0.5), st.integers(1, 95))
def test_who_it_is_is_told_once_by_the_rule_and_never_after_the_deadline(frames, early, machine_at, person_at, deadline):
    one, again = (ear(machine_at, person_at, deadline * FRAME_S, model=True) for _ in range(2))
    sure, expected, told, sounds = 0, None, [], []
    flat = [(voice, hertz) for voice, hertz, length in frames for _ in range(length)] + [(False, 0.0)] * 100
    for i, (voice, hertz) in enumerate([(False, 425.0)] * early + flat):
        if i == early:
            one.answered()
            again.answered()
        new = one.tell(voice, hertz)
        assert new == again.tell(voice, hertz)
        sounds += [sound for sound, *_ in new if sound and sound != "ringback"]
        told += [found for found in new if not found[0]]
        if i >= early and expected is None:
            p, since = machines.model().predict_one(one.features()), i + 1 - early
            side = 1 if p >= machine_at else -1 if p <= person_at else 0
            sure = sure + side if side * sure > 0 else side
            if any(sound and sound != "ringback" for sound, *_ in new):
                expected = ("", "sound", 0.999, since)
            elif abs(sure) >= 3 or since >= deadline:
                expected = ("", "certain" if abs(sure) >= 3 else "deadline", p, since)
    # Then the verdict is what the rule says of the probabilities, in time, and there is one
    assert told == [(*expected[:3], pytest.approx(expected[3] * FRAME_S))] and expected[3] <= deadline
    assert expected[1] in WHYS and set(sounds) <= set(SOUNDS)


def test_persons_are_probable_after_a_short_greeting_and_machines_after_a_long_one():
    found = []
    for words in (((0.3, 0.8),), ((0.2, 4.0),), ()):
        one, told = listener(Listen("d1")), []
        one.answered()
        for frame in range(100):
            told += one.tell(any(begin <= (frame + 0.5) * FRAME_S < end for begin, end in words), 0.0)
        found += [news("d1", said) for said in told]
    person, machine, silent = found
    assert person.machine < 0.2 and machine.machine > 0.9 and 0.2 < silent.machine < 0.8
    assert all(isinstance(one, Judged) and one.after_s <= 1.8 for one in found)


# ---- sounds


def tone(hertz: tuple[float, ...], seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * one * t) for one in hertz) / len(hertz)


def played(*turns: tuple[tuple[float, ...], float], level: float = 3000.0, noise: float = 10.0) -> np.ndarray:
    parts = [tone(hertz, seconds) if hertz else np.zeros(int(seconds * RATE)) for hertz, seconds in turns]
    sound = level * np.concatenate(parts)
    return (sound + np.random.default_rng(3).normal(0.0, noise, len(sound))).astype(np.int16)


def heard(audio: np.ndarray, answered: bool = False) -> list[str]:
    one = ear()
    if answered:
        one.answered()
    return [sound for sound, *_ in one.hear(audio) if sound]


LOW, US = (425.0,), (480.0, 620.0)
CADENCES = (
    (US, 0.5, 0.5, "busy"), (LOW, 0.5, 0.5, "busy"), ((450.0,), 0.35, 0.35, "busy"), (US, 0.25, 0.25, "reorder"),
    (LOW, 0.2, 0.2, "reorder"), ((450.0,), 0.7, 0.7, "reorder"), ((440.0, 480.0), 2.0, 4.0, "ringback"), (LOW, 1.0, 4.0, "ringback"),
)  # fmt: skip


@pytest.mark.parametrize(("hertz", "on", "off", "name"), CADENCES)
@pytest.mark.parametrize("level", [400.0, 12_000.0])
def test_tones_of_call_progress_are_named_by_their_cadence_once(hertz, on, off, name, level):
    assert heard(played(((), 0.13), *((hertz, on), ((), off)) * 8, level=level)) == [name]


@pytest.mark.parametrize(
    ("tones", "name"),
    [
        (((950.0, 0.33), (1400.0, 0.33), (1800.0, 0.33)), "sit"),
        (((913.8, 0.274), (1370.6, 0.274), (1776.7, 0.38)), "sit_intercept"),
        (((985.2, 0.38), (1370.6, 0.274), (1776.7, 0.38)), "sit_vacant"),
        (((913.8, 0.274), (1428.5, 0.38), (1776.7, 0.38)), "sit_reorder"),
        (((985.2, 0.38), (1428.5, 0.38), (1776.7, 0.38)), "sit_no_circuit"),
    ],
)
@pytest.mark.parametrize("answered", [False, True])
def test_special_information_tones_are_told_apart_by_their_frequencies(tones, name, answered):
    assert heard(played(((), 0.2), *(((hertz,), seconds) for hertz, seconds in tones), ((), 1.0)), answered) == [name]


def test_a_fax_sounds_before_anybody_speaks_and_a_beep_is_told_when_it_is_over():
    assert heard(played(((), 0.3), ((1100.0,), 0.5), ((), 2.0)), answered=True) == ["fax"]
    assert heard(played(((), 0.3), ((2100.0,), 3.0), ((), 1.0)), answered=True) == ["fax"]
    for hertz in (440.0, 1000.0, 1400.0, 2000.0):
        assert heard(played(((), 0.3), ((hertz,), 0.4), ((), 2.0)), answered=True) == ["beep"]
    assert heard(played(((), 0.3), ((1000.0,), 0.4), ((), 2.0))) == []  # nobody has answered: it is no machine's
    assert heard(played(((), 0.3), ((1000.0,), 0.06), ((), 2.0)), answered=True) == []


def test_keys_noise_and_silence_are_no_sounds():
    assert heard(played(*((((770.0, 1336.0), 0.1), ((), 0.1)) * 5), ((), 1.0)), answered=True) == []
    assert heard(played(((), 4.0), noise=2000.0), answered=True) == []
    assert heard(np.zeros(4 * RATE, np.int16), answered=True) == []


def test_ringing_that_stops_at_the_answer_is_no_beep():
    one = ear()
    one.hear(played(((), 0.3), (LOW, 0.5)))
    one.answered()
    assert [sound for sound, *_ in one.hear(played((LOW, 0.06), ((), 3.0))) if sound] == []


@given(st.integers(0, 2**31 - 1))
def test_whatever_the_audio_the_features_are_finite_and_the_same_again(seed):
    chance = np.random.default_rng(seed)
    audio = (chance.normal(size=40 * FRAME) * chance.choice([0.0, 50.0, 3e3, 3e5], 40).repeat(FRAME)).clip(-32768, 32767).astype(np.int16)
    one, other = ear(), ear()
    one.answered()
    other.answered()
    rows = one.follow(audio)
    other.hear(audio)
    assert np.array_equal(rows[-1], other.features(), equal_nan=True)
    assert np.isfinite(np.delete(rows, FEATURES.index("onset"), axis=1)).all() and (np.nan_to_num(rows) >= 0.0).all()


# ---- the model


def test_the_model_is_a_checked_file_of_trees_over_the_features():
    data = machines.FILE.read_bytes()
    trees = machines.from_bytes(data, "the file")
    assert len(data) < 200_000 and len(trees.arrays["thresholds"]) == len(FEATURES)
    with pytest.raises(ModelFileError, match="damaged"):
        machines.from_bytes(data[:-40] + bytes(8) + data[-32:], "the file")
    with pytest.raises(ModelFileError, match="not of answering machines"):
        machines.from_bytes(repacked(data, b'"answering machines"', b'"answering_machines"'), "the file")
    with pytest.raises(ValueError, match="other features"):
        Listener(CompiledTrees(narrower(trees.arrays))._core, 0.9, 0.1, 1.8)


def repacked(data: bytes, old: bytes, new: bytes) -> bytes:
    body = data[:-32].replace(old, new)
    return body + hashlib.sha256(body).digest()


def narrower(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    more = np.full((1, 256), np.inf)
    return {**arrays, "thresholds": np.vstack([arrays["thresholds"], more]), "n_thresholds": np.append(arrays["n_thresholds"], np.int32(0))}


def test_a_calibration_is_part_of_the_leaves():
    trees = machines.model()
    rows = np.random.default_rng(1).uniform(0.0, 2.0, (200, len(FEATURES)))
    before = CompiledTrees(trees.arrays).log_odds(rows)
    after = CompiledTrees(machines.scaled(trees.arrays, 0.7, -0.3)).log_odds(rows)
    assert after == pytest.approx(0.7 * before - 0.3, abs=1e-6)


def test_every_sound_has_a_name_that_the_journal_takes():
    assert set(SOUNDS) - {""} == set(backend.SOUNDS)
    assert news("d1", ("beep", "sound", 0.0, 2.5)) == Heard("d1", "beep")
