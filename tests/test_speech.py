"""Recognizers of speech: what each must do, with the models that are here, and the processes that run them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard.errors import InputError
from cordboard.speech import Asked, Result, Setting, recognizer
from cordboard.speech.pool import DEAD, FULL, Pool
from cordboard.speech.recognizer import WORDS_MAX, Doubler, heard
from cordboard.speech.vosk import cut, grammar, told
from tests.espeak import said

WORDS = ("billing", "operator", "technical support", "账单")
# Those of vosk and sherpa-onnx run where somebody has a model: CORDBOARD_VOSK_MODEL, CORDBOARD_SHERPA_MODEL.
MODELS = {"pocketsphinx": {}} | {
    kind: {"model": os.environ[key]}
    for kind, key in (("vosk", "CORDBOARD_VOSK_MODEL"), ("sherpa-onnx", "CORDBOARD_SHERPA_MODEL"))
    if key in os.environ
}


@pytest.fixture(scope="module", params=MODELS)
def able(request):
    found = recognizer(request.param, MODELS[request.param])
    yield found
    found.close()


def fed(session, audio: np.ndarray, size: int = 800) -> list[Result]:
    return [result for at in range(0, audio.size, size) for result in session.feed(audio[at : at + size])]


# ---- what every recognizer must do


@pytest.mark.sources  # Debian's packages are unpacked in the sources
@pytest.mark.parametrize("word", WORDS[:3])
def test_a_word_is_told_when_somebody_begins_to_speak_and_when_it_is_over(able, word, tmp_path):
    results = fed(able.start(Asked("en", WORDS)), said(word, tmp_path))
    assert [result.final for result in results] == [False, True]
    assert results[1].text == word and results[1].confidence > 0.4


@pytest.mark.sources
def test_two_callers_are_heard_at_once_each_for_their_own_words_and_one_after_another(able, tmp_path):
    audio = {word: said(word, tmp_path) for word in ("billing", "operator")}
    one, two = able.start(Asked("en", WORDS)), able.start(Asked("en", ("operator", "yes")))
    results: dict[str, list[Result]] = {"one": [], "two": []}
    for at in range(0, max(map(len, audio.values())), 800):
        results["one"] += one.feed(audio["billing"][at : at + 800])
        results["two"] += two.feed(audio["operator"][at : at + 800])
    assert results["one"][-1].text == "billing" and results["two"][-1].text == "operator"
    assert fed(one, audio["operator"])[-1].text == "operator"


@pytest.mark.sources
def test_what_was_said_up_to_the_end_is_told_at_the_end(able, tmp_path):
    session = able.start(Asked("en", WORDS))
    audio = said("operator", tmp_path)[:-6000]
    assert [result.final for result in fed(session, audio)] == [False]
    [result] = session.close()
    assert result == heard("operator", result.confidence)


@pytest.mark.sources
def test_audio_of_16_khz_is_heard_too(able, tmp_path):
    audio = Doubler().feed(said("operator", tmp_path))
    assert fed(able.start(Asked("en", WORDS, rate=16000)), audio)[-1].text == "operator"


def test_a_quiet_line_says_nothing_however_long(able):
    quiet = np.random.default_rng(1).normal(0.0, 4.0, 8000 * 70).astype(np.int16)
    session = able.start(Asked("en", WORDS))
    assert fed(session, quiet) == [] and session.close() == []


def test_somebody_who_never_stops_is_cut_off(able):
    noise = np.random.default_rng(1).normal(0.0, 6000.0, 8000 * 20)
    speech = noise * (1.5 + np.sin(np.arange(noise.size) * 2 * np.pi * 3 / 8000))
    results = fed(able.start(Asked("en", WORDS)), np.clip(speech, -32768, 32767).astype(np.int16))
    assert len([result for result in results if result.final]) <= 3  # some take it for no speech at all


def test_no_audio_is_no_mistake(able):
    session = able.start(Asked("en", WORDS))
    assert session.feed(np.zeros(0, np.int16)) == [] and session.close() == []


# ---- what can't be used


def test_a_kind_that_nobody_has_is_told_with_the_nearest_one():
    with pytest.raises(InputError, match=r"no recognizer of the kind.*pocketsphinx"):
        recognizer("pocketsphynx", {})


@pytest.mark.parametrize("kind", ["vosk", "sherpa-onnx"])
@pytest.mark.parametrize("options", [{}, {"model": "nowhere"}])
def test_without_a_model_these_say_what_is_missing(kind, options):
    with pytest.raises(InputError, match="model"):
        recognizer(kind, options)


def test_a_folder_that_holds_no_model_is_refused_by_the_library_of_vosk(tmp_path):
    with pytest.raises(InputError, match="the model can't be used"):
        recognizer("vosk", {"model": str(tmp_path)})


def test_folders_that_hold_no_model_of_sherpa_are_told(tmp_path):
    (tmp_path / "tokens.txt").write_text("a 0\n")
    with pytest.raises(InputError, match=r"no \.onnx files"):
        recognizer("sherpa-onnx", {"model": str(tmp_path)})


@pytest.mark.parametrize("kind", ["pocketsphinx", "vosk", "sherpa-onnx"])
def test_options_that_there_are_not_are_told(kind):
    with pytest.raises(InputError, match="no option"):
        recognizer(kind, {"modle": "here"})


def test_a_model_of_pocketsphinx_that_is_not_there_is_told():
    with pytest.raises(InputError, match="there is no model"):
        recognizer("pocketsphinx", {"dictionary": "nowhere"})


def test_words_that_the_dictionary_does_not_have_are_passed_over_and_none_at_all_is_an_error(able):
    able.start(Asked("en", ("xqzt", "billing")))
    if type(able).__name__ == "Pocketsphinx":
        with pytest.raises(InputError, match="none of the words"):
            able.start(Asked("en", ("xqzt", "账单", "<xqzt> | (")))


@pytest.mark.parametrize("wrong", [{"rate": 11025}, {"words": ("word",) * (WORDS_MAX + 1)}])
def test_more_than_may_be_asked_is_refused(wrong):
    with pytest.raises(InputError):
        Asked("en", **wrong)


def test_a_recognizer_of_another_package_is_found_by_its_entry_point(tmp_path, monkeypatch):
    (tmp_path / "other.py").write_text("class Other:\n    def __init__(self, options): self.options = options\n")
    info = tmp_path / "other-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: other\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[cordboard.recognizers]\nother = other:Other\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert recognizer("other", {"model": "x"}).options == {"model": "x"}


# ---- words of vosk


def test_phrases_for_vosk_are_cut_into_words_that_its_model_knows():
    known = {"billing", "support", "technical", "账单", "查", "查账", "单"}.__contains__
    assert grammar(["Billing", "technical support", "technical help", "查账单", "报修"], known) == [
        "billing",
        "technical support",
        "查账 单",
    ]
    assert cut("queue", known) == [] and told("[unk] billing [unk]") == "billing"


# ---- audio


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-32768, 32767), max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_audio_at_twice_the_rate_is_the_same_in_whatever_pieces_it_comes(values, cuts):
    samples, doubler = np.array(values, np.int16), Doubler()
    pieces = [doubler.feed(piece) for piece in np.split(samples, sorted(min(cut, samples.size) for cut in cuts))]
    whole = Doubler().feed(samples)
    assert whole.size == 2 * samples.size and np.array_equal(np.concatenate(pieces), whole)


def test_audio_at_twice_the_rate_has_the_same_tones_and_no_others():
    tone = (np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000) * 10_000).astype(np.int16)
    spectrum = np.abs(np.fft.rfft(Doubler().feed(tone)[400:]))
    peak = int(np.argmax(spectrum))
    loud = np.flatnonzero(spectrum > spectrum[peak] / 100) * 16000 / 15600
    assert abs(loud - 1000).max() < 30 and 9_000 < np.abs(Doubler().feed(tone)[400:]).max() < 11_000


# ---- processes


class Listener:
    """A pool, and what it says."""

    def __init__(self, *found: Setting) -> None:
        self.woken = threading.Event()
        self.pool = Pool(found, self.woken.set)
        self.told: list[tuple[int, Result | str]] = []

    def until(self, number: int, wanted) -> Result | str:
        end = time.monotonic() + 30.0
        while time.monotonic() < end:
            self.woken.wait(0.1)
            self.woken.clear()
            self.told += self.pool.news()
            for session, news in self.told:
                if session == number and wanted(news):
                    return news
        raise AssertionError(self.told)

    def say(self, number: int, audio: np.ndarray) -> None:
        for at in range(0, audio.size, 800):
            self.pool.feed(number, audio[at : at + 800].tobytes())


def final(news: Result | str) -> bool:
    return isinstance(news, Result) and news.final


ENGLISH = Setting("words", "pocketsphinx", ("en", "en-gb"), sessions=2)


@pytest.mark.sources
def test_a_pool_hears_callers_by_their_language_as_many_as_the_settings_say(tmp_path):
    listener = Listener(ENGLISH)
    try:
        first, second = listener.pool.start(Asked("en", WORDS)), listener.pool.start(Asked("en-us", WORDS))
        assert listener.pool.start(Asked("en", WORDS)) == FULL
        assert listener.pool.start(Asked("zh", WORDS)) == 'no recognizer hears "zh"'
        assert isinstance(first, int) and isinstance(second, int)
        listener.say(first, said("billing", tmp_path))
        listener.say(second, said("operator", tmp_path))
        assert listener.until(first, final).text == "billing" and listener.until(second, final).text == "operator"
        # One that is over makes room
        listener.pool.close(first)
        third = listener.pool.start(Asked("en", ("xqzt",)))
        assert isinstance(third, int)
        why = listener.until(third, lambda news: isinstance(news, str))
        assert "none of the words" in why
        assert isinstance(listener.pool.start(Asked("en", WORDS)), int)
    finally:
        listener.pool.stop()


def children(of: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == of:
                found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_a_process_that_dies_ends_its_sessions_and_another_one_takes_its_place():
    before = set(children(os.getpid()))
    listener = Listener(ENGLISH)
    try:
        number = listener.pool.start(Asked("en", WORDS))
        [child] = set(children(os.getpid())) - before
        os.kill(child, signal.SIGKILL)
        assert listener.until(number, lambda news: isinstance(news, str)) == DEAD
        end = time.monotonic() + 30.0
        while isinstance(again := listener.pool.start(Asked("en", WORDS)), str):
            assert again == DEAD and time.monotonic() < end
            time.sleep(0.1)
        # And when the pool ends, so does the process
        [child] = set(children(os.getpid())) - before
    finally:
        listener.pool.stop()
    end = time.monotonic() + 10.0
    while child in children(os.getpid()):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_pool_whose_recognizer_can_not_be_loaded_does_not_begin():
    with pytest.raises(InputError, match=r'recognizer "words": .*no folder'):
        Pool([Setting("words", "vosk", ("zh",), options={"model": "nowhere"})], lambda: None)


def test_a_recognizer_for_which_there_is_no_process_says_so_at_once(monkeypatch):
    def none(*arguments, **more):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("cordboard.speech.pool.subprocess.Popen", none)
    with pytest.raises(InputError, match=os.strerror(errno.EAGAIN)):
        Pool([Setting("words", "pocketsphinx", ("en",))], lambda: None)


def test_what_is_imported_needs_none_of_the_libraries():
    code = "import sys, cordboard.speech.pool, cordboard.speech.vosk, cordboard.speech.sherpa_onnx, cordboard.speech.pocketsphinx\n"
    code += "print(sorted({'vosk', 'sherpa_onnx', 'pocketsphinx'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
