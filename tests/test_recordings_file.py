"""The sealed file of a recording: what was written is read, and what was changed is noticed."""

from __future__ import annotations

import io
import wave

import pyrage
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cordboard.errors import InputError
from cordboard.recordings.container import OPUS, Reading, Sealer, write_opus, write_wav
from cordboard.recordings.ogg import silent
from tests.recorded import IDENTITY, RECIPIENT, recording, sealed_chunks

AUDIO = st.lists(st.binary(min_size=1, max_size=64).map(lambda part: part * 4), min_size=1, max_size=6)
SHARE = st.floats(0.0, 1.0, exclude_max=True)  # a file's length differs from run to run: age puts chaff into its header
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path) -> tuple[str, list[bytes]]:
    reading = Reading(path, [IDENTITY])
    found = [chunk.content for chunk in reading]
    return reading.state, found


@RELAXED
@given(audio=AUDIO, missing=st.integers(0, 2**60))
def test_what_was_written_is_read_and_whole(tmp_path, audio, missing):
    recording(tmp_path / "r1.cbr", audio, missing=missing)
    reading = Reading(tmp_path / "r1.cbr", [IDENTITY])
    assert b"".join(reading.audio()) == b"".join(audio)
    assert (reading.name, reading.state, reading.missing) == ("r1", "whole", missing)
    assert reading.frames == sum(map(len, audio)) // 4


@RELAXED
@given(audio=AUDIO, share=SHARE)
def test_a_file_that_was_cut_anywhere_plays_up_to_its_last_whole_chunk(tmp_path, audio, share):
    parts = recording(tmp_path / "r1.cbr", audio)
    whole = b"".join(parts)
    cut = len(parts[0]) + int(share * (len(whole) - len(parts[0])))
    (tmp_path / "r1.cbr").write_bytes(whole[:cut])
    state, found = read(tmp_path / "r1.cbr")
    ends = [sum(map(len, parts[: 2 + i])) for i in range(len(audio))]
    assert state == "cut" and found == audio[: sum(end <= cut for end in ends)]


@RELAXED
@given(audio=AUDIO, share=SHARE, bit=st.integers(0, 7))
def test_a_bit_that_was_flipped_is_noticed_and_nothing_wrong_is_played(tmp_path, audio, share, bit):
    parts = recording(tmp_path / "r1.cbr", audio)
    whole = bytearray(b"".join(parts))
    at = int(share * len(whole))
    whole[at] ^= 1 << bit
    (tmp_path / "r1.cbr").write_bytes(whole)
    try:
        state, found = read(tmp_path / "r1.cbr")
    except InputError:
        assert at < len(parts[0])  # the header: it can't be opened at all
        return
    assert state != "whole" and found == audio[: len(found)]


@RELAXED
@given(audio=AUDIO.filter(lambda audio: len(audio) > 1), data=st.data())
def test_chunks_that_were_dropped_moved_or_doubled_are_noticed(tmp_path, audio, data):
    header, *chunks = recording(tmp_path / "r1.cbr", audio)
    usual = range(len(chunks))
    order = data.draw(st.permutations(usual) | st.lists(st.sampled_from(usual), max_size=8) | st.just([*usual, 0]))
    if list(order) == list(usual):
        return
    changed = [chunks[i] for i in order]
    (tmp_path / "r1.cbr").write_bytes(header + b"".join(changed))
    state, found = read(tmp_path / "r1.cbr")
    assert state != "whole" and found == audio[: len(found)]


def test_a_chunk_of_another_recording_does_not_open(tmp_path):
    header, *_ = recording(tmp_path / "r1.cbr", [b"abcd"])
    _, *others = recording(tmp_path / "r2.cbr", [b"abcd"])
    (tmp_path / "r1.cbr").write_bytes(header + b"".join(others))
    assert read(tmp_path / "r1.cbr") == ("damaged", [])


def test_what_the_disk_did_not_take_is_silent_and_the_rest_keeps_its_time(tmp_path):
    key, header = Sealer([RECIPIENT]).header("r1", 2)
    chunks = sealed_chunks(header, key, [(0, 0, b"abcd"), (0, 3, b"efgh"), (1, 4, bytes([2]) + bytes(7))])
    (tmp_path / "r1.cbr").write_bytes(header + b"".join(chunks))
    reading = Reading(tmp_path / "r1.cbr", [IDENTITY])
    assert b"".join(reading.audio()) == b"abcd" + bytes(8) + b"efgh"
    assert (reading.state, reading.missing, reading.seconds) == ("whole", 2, 4 / 8000)


def test_only_a_recipient_can_read(tmp_path):
    recording(tmp_path / "r1.cbr", [b"abcd"])
    with pytest.raises(InputError, match="can't be opened"):
        Reading(tmp_path / "r1.cbr", [str(pyrage.x25519.Identity.generate())])
    with pytest.raises(InputError, match="not an identity"):
        Reading(tmp_path / "r1.cbr", ["AGE-SECRET-KEY-1"])
    with pytest.raises(InputError, match="not a recipient"):
        Sealer(["age1"])


def test_each_recording_has_a_key_of_its_own_and_the_header_does_not_hold_it():
    sealer = Sealer([RECIPIENT])
    made = [sealer.header("r1", 2) for _ in range(100)]
    assert len({key for key, _ in made}) == 100
    assert not any(key in header for key, header in made)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "ends in its header"), (b"CBREC", "ends in its header"), (b"RIFF", "not a recording"), (b"CBRECORD" + b"\x09" * 40, "ends|version")],
)
def test_what_is_no_recording_says_so(tmp_path, content, why):
    (tmp_path / "r1.cbr").write_bytes(content)
    with pytest.raises(InputError, match=why):
        Reading(tmp_path / "r1.cbr", [IDENTITY])


def test_it_becomes_a_wav_file(tmp_path):
    recording(tmp_path / "r1.cbr", [bytes(8000), bytes(8000)])
    out = io.BytesIO()
    write_wav(Reading(tmp_path / "r1.cbr", [IDENTITY]), out)
    out.seek(0)
    with wave.open(out) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 4000)


def test_what_the_disk_did_not_take_of_opus_is_silent_and_the_time_stays_right(tmp_path):
    # Given packets of a second, a gap of half a second that is no whole number of them, and a last one that is not full
    key, header = Sealer([RECIPIENT]).header("r1", 2, codec=OPUS)
    second = 50 * (len(silent(2)).to_bytes(2, "little") + silent(2))
    chunks = [(0, 0, second), (0, 12_010, second), (1, 20_000, (4_010).to_bytes(8, "little"))]
    (tmp_path / "r1.cbr").write_bytes(b"".join([header, *sealed_chunks(header, key, chunks)]))
    reading, ogg = Reading(tmp_path / "r1.cbr", [IDENTITY]), io.BytesIO()
    write_opus(reading, ogg)
    assert (reading.state, reading.frames, reading.missing) == ("whole", 20_000, 4_010)
    # Then whoever plays Opus plays it, for so long
    with soundfile.SoundFile(io.BytesIO(ogg.getvalue())) as played:
        assert (played.subtype, played.channels, len(played)) == ("OPUS", 2, 20_000 * played.samplerate // 8_000)
    assert sum(map(len, reading.audio())) == 20_000 * 4
    # And one that was cut plays up to there
    cut = (tmp_path / "r1.cbr").read_bytes()[:-60]
    (tmp_path / "r1.cbr").write_bytes(cut)
    assert sum(map(len, reading.audio())) == 8_000 * 4 and reading.state == "cut"
