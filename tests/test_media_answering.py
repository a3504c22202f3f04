"""Who answered: the rules on what is heard, and the C detector on synthetic speech."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.media.answering import Judge, Rules
from tests.debian import unpacked

TIMES = st.floats(0.0, 6.0).map(lambda t: round(t, 2))


@given(st.lists(TIMES, max_size=8, unique=True), st.lists(st.tuples(TIMES, st.sampled_from((440.0, 950.0, 1100.0))), max_size=3))
def test_the_verdict_is_the_same_however_often_one_looks_and_never_after_the_deadline(changes, tones):
    events = [(t, i % 2 == 0, 0.0) for i, t in enumerate(sorted(changes))]
    for since, hertz in tones:
        events += [(since, True, hertz), (round(since + 0.3, 2), False, hertz)]
    found = []
    for every in (0.01, 0.5, 10.0):
        judge, t = Judge(Rules()), 0.0
        for at, on, hertz in sorted(events):
            while t < at:
                judge.look(t)
                t += every
            if hertz:
                judge.tone(hertz, on, at)
            else:
                judge.voice(on, at)
        judge.look(10.0)
        found.append((judge.verdict, judge.sounds))
    assert found[0] == found[1] == found[2] and found[0][0].after_s <= Rules().deadline_s


def test_two_halves_of_a_greeting_are_one_and_a_beep_alone_is_a_machine():
    judge = Judge(Rules())
    for t, on in ((0.2, True), (0.5, False), (0.7, True), (1.0, False)):
        judge.voice(on, t)
    assert judge.due() == 1.4 and judge.look(1.39) is None and judge.look(1.4).what == "human"
    judge = Judge(Rules())
    judge.tone(1000.0, True, 0.3)
    judge.tone(1000.0, False, 0.7)
    judge.look(1.0)
    assert (judge.verdict.what, judge.verdict.why, judge.sounds) == ("machine", "beep", ["beep"])


PERSONS = (
    ("en-us", "Hello?"), ("en-us", "Hi."), ("en-us", "Yes?"), ("en-us", "Hello, John speaking."), ("en-us", "Good morning."),
    ("en-us", "Who is this?"), ("en-us", "Smith residence."), ("en-us", "Hello hello?"), ("cmn", "喂"), ("cmn", "喂？你好"), ("cmn", "你好"),
    ("cmn", "您好，哪位？"), ("cmn", "谁呀"),
)  # fmt: skip
MACHINES = (
    ("en-us", "Hi, you have reached the voicemail of John Smith. Please leave a message after the tone."),
    ("en-us", "The person you are calling is not available. Please try again later."),
    ("en-us", "You've reached the Millers. We can't come to the phone right now."),
    ("en-us", "Your call has been forwarded to an automated voice messaging system."),
    ("en-us", "Thank you for calling. Our office is closed."),
    ("en-us", "Hello. This is Anna. I am not here. Leave a message."),
    ("cmn", "您好，您拨打的电话暂时无人接听，请稍后再拨"),
    ("cmn", "您好，我现在不在，请在提示音后留言"),
    ("cmn", "对不起，您拨打的用户已关机"),
)


def spoken(voice: str, text: str, speed: int) -> np.ndarray:
    """Synthetic speech as a telephone has it: 8,000 samples a second."""
    from scipy.signal import resample_poly

    folder = unpacked("espeak-ng")
    libraries = folder / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    env = {"LD_LIBRARY_PATH": f"{libraries}:{libraries}/pulseaudio:{folder}/lib/{libraries.name}", "ESPEAK_DATA_PATH": f"{libraries}/espeak-ng-data"}
    command = [folder / "usr" / "bin" / "espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    wav = subprocess.run(command, env=os.environ | env, capture_output=True, check=True, timeout=30).stdout
    return resample_poly(np.frombuffer(wav[44:], "<i2").astype(float), 160, 441)


def test_synthetic_greetings_of_persons_and_machines_are_told_apart(capsys):
    pj = pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
    chance = np.random.default_rng(7)
    counts = {(who, what): 0 for who in ("person", "machine") for what in ("human", "machine", "unknown")}
    for who, said in (("person", PERSONS), ("machine", MACHINES)):
        for voice, text in said:
            for speed in (130, 160, 200):
                speech = spoken(voice, text, speed) * chance.uniform(0.15, 0.9)
                audio = np.concatenate([np.zeros(int(chance.uniform(0.1, 0.7) * 8000)), speech, np.zeros(20_000)])
                audio += chance.normal(0.0, chance.uniform(5.0, 60.0), len(audio))
                judge = Judge(Rules())
                for what, at, hertz in pj.hear(np.clip(audio, -32767, 32767).astype(np.int16)):
                    if what in (pj.VOICE, pj.QUIET):
                        judge.voice(what == pj.VOICE, at)
                    else:
                        judge.tone(hertz, what == pj.TONE, at)
                counts[who, judge.look(10.0).what] += 1
    with capsys.disabled():
        print("\n" + "\n".join(f"{who} judged {what}: {n}" for (who, what), n in counts.items()))
    # Then few persons are taken for machines, and half of the machines are found in two seconds
    persons, machines = 3 * len(PERSONS), 3 * len(MACHINES)
    assert counts["person", "machine"] <= 0.06 * persons and counts["machine", "human"] <= 0.12 * machines
    assert counts["person", "human"] >= 0.75 * persons and counts["machine", "machine"] >= 0.4 * machines
