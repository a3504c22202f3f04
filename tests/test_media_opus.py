"""Recordings in Opus: one side a channel, sealed, and what was recorded plays, also when its node was killed."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from cordboard.media.backend import PauseRecording, Record, StopRecording
from cordboard.recordings.container import OPUS, Reading, write_opus, write_wav
from tests.recorded import IDENTITY, channels
from tests.sip_peer import RATE, loudness

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from tests.test_media_recording import Talk


@pytest.fixture
def talk(tmp_path):
    made = Talk(tmp_path, opus=True)
    yield made
    made.close()


def test_a_recording_in_opus_has_one_side_a_channel_is_silent_in_pauses_and_plays_where_opus_does(talk):
    first, second = (call.hertz for call in talk.telephone.calls.values())
    talk.media.send([Record("r1", ("a", "b"))])
    talk.rest(2.5)
    talk.media.send([PauseRecording("r1")])
    talk.rest(2.0)
    talk.media.send([StopRecording("r1")])
    report = talk.recorded()
    reading = Reading(talk.folder / report.file, [IDENTITY])
    a, b = channels(talk.folder / report.file)
    assert sum(1 for _ in reading) >= 3 and (reading.state, reading.codec) == ("whole", OPUS)
    assert (reading.seconds, report.missing) == (report.seconds, 0.0) and len(a) == round(report.seconds * RATE)
    for side, own, other in ((a, first, second), (b, second, first)):
        assert loudness(side[RATE : 2 * RATE], own) > 30 * loudness(side[RATE : 2 * RATE], other)
        assert np.abs(side[-RATE:]).max() < 10.0
    ogg, wav = io.BytesIO(), io.BytesIO()
    write_opus(reading, ogg)
    write_wav(reading, wav)
    assert len(ogg.getvalue()) < len(wav.getvalue()) / 5
    found, rate = soundfile.read(io.BytesIO(ogg.getvalue()))
    assert found.shape == (len(a) * rate // RATE, 2)
    assert (talk.folder / report.file).stat().st_size < len(ogg.getvalue()) + 2000


def test_a_recording_that_was_cut_plays_up_to_its_last_chunk(talk):
    talk.media.send([Record("r1", ("a",))])
    talk.rest(3.3)
    [file] = talk.folder.iterdir()
    for cut in (0, 5):
        data = file.read_bytes()
        path = talk.folder / f"cut{cut}.cbr"
        path.write_bytes(data[: len(data) - cut])
        [only] = channels(path)
        reading = Reading(path, [IDENTITY])
        assert sum(1 for _ in reading) >= 2 - bool(cut) and reading.state == "cut"
        assert len(only) == reading.frames and loudness(only[RATE // 2 : RATE], next(iter(talk.telephone.calls.values())).hertz) > 500.0
