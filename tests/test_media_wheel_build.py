"""What the pool on pjsua2 from PyPI has of its own, held against the production build."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.bindings.wheel.hearing import FRAME, RATE, Hearing

sip = pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)

SOUNDS = st.tuples(st.sampled_from(("silence", "noise", "tone")), st.integers(1, 40), st.floats(200.0, 12000.0), st.floats(60.0, 3900.0))


def audio(sounds) -> np.ndarray:
    """16-bit samples: kinds of sound, frames of each, loudness, hertz."""
    parts, draw = [], np.random.default_rng(1)
    for kind, frames, level, hertz in sounds:
        n = frames * FRAME
        wave = {
            "silence": np.zeros(n),
            "noise": draw.normal(0.0, level / 3.0, n),
            "tone": level * np.sin(2 * np.pi * hertz * np.arange(n) / RATE),
        }[kind]
        parts.append(wave)
    return np.clip(np.concatenate(parts), -32000, 32000).astype(np.int16)


@given(st.lists(SOUNDS, min_size=1, max_size=12))
def test_both_hear_the_same(sounds):
    samples, hearing, found = audio(sounds), Hearing(), []
    for at in range(0, len(samples), FRAME):
        found += hearing.frame(samples[at : at + FRAME].tobytes())
    wanted = sip.hear(samples)
    assert [(what, frame) for what, frame, _ in found] == [(what, round(seconds * RATE / FRAME)) for what, seconds, _ in wanted]
    assert np.allclose([hertz for _, _, hertz in found], [hertz for _, _, hertz in wanted], atol=2.0)
