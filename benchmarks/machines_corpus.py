"""Calls that are answered, for the study of answering machines: synthetic speech, tones, noise, G.711. From seeds alone.

There is no public collection of real greetings, so everything here is made: espeak-ng speaks, the rest is arithmetic.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfilt

from benchmarks.machines_phrases import PHRASES, SPEAKERS, UNSEEN

RATE = 8000
ROOT = Path(__file__).resolve().parents[1]
AFTER_S = 6.0  # of audio after the answer
LONGEST_S = 9.0  # of a spoken phrase; what comes later decides nothing
Floats = NDArray[np.float64]
Audio = NDArray[np.int16]
Part = Literal["train", "calibrate", "test"]
# hertz, seconds on and off: what is heard in place of an answer, by country
RINGING = (((440.0, 480.0), (2.0, 4.0)), ((425.0,), (1.0, 4.0)), ((400.0, 450.0), (0.4, 0.2, 0.4, 2.0)), ((450.0,), (1.0, 4.0)))
BUSY = (((480.0, 620.0), (0.5, 0.5)), ((425.0,), (0.5, 0.5)), ((400.0,), (0.375, 0.375)), ((450.0,), (0.35, 0.35)))
REORDER = (((480.0, 620.0), (0.25, 0.25)), ((425.0,), (0.2, 0.2)), ((425.0,), (0.25, 0.25)), ((450.0,), (0.7, 0.7)))
SIT = {
    "sit": ((950.0, 0.33), (1400.0, 0.33), (1800.0, 0.33)),
    "sit_intercept": ((913.8, 0.274), (1370.6, 0.274), (1776.7, 0.38)),
    "sit_vacant": ((985.2, 0.38), (1370.6, 0.274), (1776.7, 0.38)),
    "sit_reorder": ((913.8, 0.274), (1428.5, 0.38), (1776.7, 0.38)),
    "sit_no_circuit": ((985.2, 0.38), (1428.5, 0.38), (1776.7, 0.38)),
}


@dataclass(frozen=True, slots=True)
class Answered:
    """A call and who answered it. ``answer``: the frame of 20 ms at which it was answered; ``kind``: the scenario."""

    machine: bool
    kind: str
    voice: str
    audio: Audio
    answer: int


def program() -> tuple[list[str], dict[str, str]]:
    """How espeak-ng is started: the one that is installed, or what .ci/debian has unpacked."""
    if found := shutil.which("espeak-ng"):
        return [found], {}
    folder = ROOT / "build" / "debian" / "espeak-ng"
    if not (folder / ".made-of").exists():
        raise SystemExit("espeak-ng is missing: install it, or run .ci/debian")
    libraries = folder / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    paths = f"{libraries}:{libraries}/pulseaudio:{folder}/lib/{libraries.name}"
    return [str(folder / "usr/bin/espeak-ng")], {"LD_LIBRARY_PATH": paths, "ESPEAK_DATA_PATH": f"{libraries}/espeak-ng-data"}


def spoken(voice: str, text: str, speed: int, pitch: int) -> Floats:
    """Synthetic speech in the band of telephones, the loudest sample at 1, without silence at its ends."""
    command, env = program()
    command += ["-v", voice, "-s", str(speed), "-p", str(pitch), "--stdin", "--stdout"]
    done = subprocess.run(command, input=text.encode(), env=os.environ | env, capture_output=True, check=True, timeout=30)
    sound = resample_poly(np.frombuffer(done.stdout[44:], "<i2").astype(np.float64), 160, 441)
    sound = sosfilt(butter(4, (300.0, 3400.0), "bandpass", fs=RATE, output="sos"), sound)[: int(LONGEST_S * RATE)]
    sound /= np.abs(sound).max() + 1e-9
    heard = np.flatnonzero(np.abs(sound) > 0.01)
    return np.asarray(sound[heard[0] : heard[-1] + 1])


def speeches(part: Part, machine: bool, takes: int, seed: int) -> list[tuple[str, Floats]]:
    """(voice, speech) of all phrases of a part, each so many times by other speakers. Spoken once, then kept in build/."""
    wanted = {"train": (0, 1), "calibrate": (2,), "test": (3,)}[part]
    chance = np.random.default_rng((seed, machine, len(part)))
    found = []
    for language, lists in PHRASES.items():
        if language in UNSEEN and part != "test":
            continue
        for n, text in enumerate(lists[machine]):
            if n % 4 not in wanted and language not in UNSEEN:
                continue
            for _ in range(takes):
                voice = f"{language}+{chance.choice(SPEAKERS[part])}"
                found.append((voice, text, int(chance.integers(130, 215)), int(chance.integers(30, 70))))
    cache = ROOT / "build" / "machines" / f"{hashlib.sha256(repr(found).encode()).hexdigest()[:16]}.npz"
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, *[(spoken(*one) * 32767).astype(np.int16) for one in found])
    with np.load(cache) as kept:
        return [(one[0], kept[f"arr_{i}"] / 32767.0) for i, one in enumerate(found)]


# ---- sounds


def tone(hertz: tuple[float, ...], seconds: float) -> Floats:
    t = np.arange(int(seconds * RATE)) / RATE
    return np.asarray(sum(np.sin(2 * np.pi * one * t) for one in hertz) / len(hertz))


def cadence(hertz: tuple[float, ...], times: tuple[float, ...], seconds: float) -> Floats:
    """A tone on and off."""
    turns = [tone(hertz, t) if i % 2 == 0 else np.zeros(int(t * RATE)) for i, t in enumerate(times)]
    once = np.concatenate(turns)
    return np.tile(once, int(seconds * RATE / len(once)) + 1)[: int(seconds * RATE)]


def put(into: Floats, sound: Floats, at_s: float, level: float = 1.0) -> float:
    """Add a sound; where it ends, s."""
    at = int(at_s * RATE)
    piece = sound[: max(0, len(into) - at)]
    into[at : at + len(piece)] += level * piece
    return at_s + len(sound) / RATE


def telephone(sound: Floats, chance: np.random.Generator, noise: float | None = None) -> Audio:
    """As a far end gets it: at a level, with noise, through G.711 (mu-law or A-law)."""
    level = 10 ** (chance.uniform(-26.0, -4.0) / 20)
    hiss = 10 ** (chance.uniform(-72.0, -46.0) / 20) if noise is None else noise
    mixed = sound * level + hiss * chance.normal(size=len(sound))
    return coded(np.clip(mixed * 32767, -32768, 32767), a_law=bool(chance.random() < 0.5))


def coded(x: Floats, a_law: bool) -> Audio:
    """Through the logarithmic quantizer of G.711, by its continuous curves and 8 bits."""
    y, sign = np.minimum(np.abs(x) / 32768.0, 1.0), np.sign(x)
    if a_law:
        a = 87.6
        scale = 1.0 + np.log(a)
        code = np.where(y < 1 / a, a * y / scale, (1 + np.log(np.maximum(a * y, 1.0))) / scale)
        code = (np.floor(code * 128) + 0.5) / 128
        back = np.where(code < 1 / scale, code * scale / a, np.exp(code * scale - 1) / a)
    else:
        code = np.rint(np.log1p(255 * y) / np.log(256) * 127) / 127
        back = np.expm1(code * np.log(256)) / 255
    return np.asarray(sign * back * 32767).astype(np.int16)


# ---- calls


def calls(part: Part, count: int, seed: int) -> Iterator[Answered]:
    """So many calls, half of them answered by machines. Two seconds of each are enough to train on."""
    after_s = AFTER_S if part == "test" else 2.1
    chance = np.random.default_rng((seed, len(part), 1))
    said = [speeches(part, machine, 12 if part == "train" else 8, seed) for machine in (False, True)]
    for i in range(count):
        machine = i % 2 == 1
        yield _machine(said, after_s, chance) if machine else _person(said, after_s, chance)


def _before(chance: np.random.Generator) -> Floats:
    """Early media: nothing, or ringing that stops wherever it is when somebody answers."""
    if chance.random() < 0.5:
        return np.zeros(0)
    hertz, times = RINGING[chance.integers(len(RINGING))]
    return 0.25 * cadence(hertz, times, chance.uniform(0.5, 4.0))


def _made(machine: bool, kind: str, voice: str, before: Floats, after: Floats, chance: np.random.Generator, noise: float | None) -> Answered:
    before = before[: len(before) // 160 * 160]
    return Answered(machine, kind, voice, telephone(np.concatenate([before, after]), chance, noise), len(before) // 160)


def _person(said: list[list[tuple[str, Floats]]], after_s: float, chance: np.random.Generator) -> Answered:
    """A greeting, a pause in which an answer is expected, perhaps another greeting; or nothing at all."""
    after = np.zeros(int(after_s * RATE))
    voice, speech = said[0][chance.integers(len(said[0]))]
    kind, noise = "greeting", None
    draw = chance.random()
    if draw < 0.06:
        kind = "silent"
    else:
        t = put(after, speech, float(np.clip(chance.lognormal(-0.7, 0.5), 0.05, 4.0)))
        if chance.random() < 0.8:
            again = said[0][chance.integers(len(said[0]))][1]
            put(after, again, t + chance.uniform(0.9, 3.0))
    if 0.06 <= draw < 0.16:  # somebody else speaks in the room, or a television
        kind = "background"
        other = np.concatenate([said[1][chance.integers(len(said[1]))][1] for _ in range(3)])
        put(after, other, 0.0, 10 ** (chance.uniform(-30.0, -14.0) / 20))
    elif draw < 0.24:
        kind, noise = "noisy", 10 ** (chance.uniform(-44.0, -34.0) / 20)
    elif draw < 0.28:  # the telephone is picked up with a clatter
        kind = "clatter"
        put(after, chance.normal(size=int(0.08 * RATE)) * np.linspace(1, 0, int(0.08 * RATE)), chance.uniform(0.0, 0.2), 0.5)
    return _made(False, kind, voice, _before(chance), after, chance, noise)


def _machine(said: list[list[tuple[str, Floats]]], after_s: float, chance: np.random.Generator) -> Answered:
    """A greeting that goes on, and a beep; a fax; the network; a person on the tape who says hello first."""
    after = np.zeros(int(after_s * RATE))
    voice, speech = said[1][chance.integers(len(said[1]))]
    kind = "greeting"
    t = float(np.clip(chance.lognormal(-0.9, 0.6), 0.0, 3.0))
    draw = chance.random()
    if draw < 0.04:
        kind = "fax"
        put(after, cadence((1100.0,), (0.5, 3.0), 6.0) if chance.random() < 0.5 else tone((2100.0,), 3.0), t, 0.3)
    elif draw < 0.07:
        kind = "beep"
        put(after, tone((chance.uniform(400.0, 2000.0),), chance.uniform(0.2, 0.8)), t, 0.3)
    elif draw < 0.11:  # the network answers, with tones and an announcement, or a busy line
        kind = "network"
        if chance.random() < 0.7:
            tones = list(SIT.values())[chance.integers(len(SIT))]
            t = put(after, np.concatenate([tone((hertz,), s) for hertz, s in tones]), t, 0.25)
            put(after, speech, t + chance.uniform(0.1, 0.5))
        else:
            hertz, times = (*BUSY, *REORDER)[chance.integers(len(BUSY) + len(REORDER))]
            put(after, cadence(hertz, times, after_s), t, 0.25)
    else:
        if draw < 0.21:  # "Hello." A pause. "This is ..."
            kind = "hello first"
            t = put(after, said[0][chance.integers(len(said[0]))][1], t) + chance.uniform(0.2, 0.7)
        t = put(after, speech, t)
        put(after, tone((chance.uniform(400.0, 2000.0),), chance.uniform(0.2, 0.8)), t + chance.uniform(0.2, 1.5), 0.3)
    return _made(True, kind, voice, _before(chance), after, chance, None)


def progress(count: int, seed: int) -> Iterator[tuple[str, Audio, bool]]:
    """(sound, audio, answered) of calls that get a tone: each sound in turn, "" for speech without any."""
    chance = np.random.default_rng((seed, 7))
    people = [*speeches("test", False, 3, seed), *speeches("test", True, 3, seed)]
    kinds = ("busy", "reorder", "ringback", *SIT, "fax", "beep", "")
    for i in range(count):
        kind, answered = kinds[i % len(kinds)], kinds[i % len(kinds)] in ("fax", "beep")
        sound = np.zeros(int(9 * RATE))
        at = chance.uniform(0.0, 0.5)
        if kind in ("busy", "reorder", "ringback"):
            table = {"busy": BUSY, "reorder": REORDER, "ringback": RINGING}[kind]
            hertz, times = table[chance.integers(len(table))]
            put(sound, cadence(hertz, times, 8.0), at, 0.25)
        elif kind in SIT:
            put(sound, np.concatenate([tone((hertz,), s) for hertz, s in SIT[kind]]), at, 0.25)
        elif kind == "fax":
            put(sound, cadence((1100.0,), (0.5, 3.0), 8.0) if chance.random() < 0.5 else tone((2100.0,), 3.0), at, 0.3)
        else:
            t = put(sound, people[chance.integers(len(people))][1], at)
            if kind == "beep":
                put(sound, tone((chance.uniform(400.0, 2000.0),), chance.uniform(0.2, 0.8)), t + chance.uniform(0.2, 1.0), 0.3)
        # networks make their tones 25 dB and more above the noise of the line
        yield kind, telephone(sound, chance, 10 ** (chance.uniform(-80.0, -66.0) / 20)), answered
