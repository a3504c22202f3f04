"""The audio of legs outside of the node: what is heard comes out frame by frame, what is said is played, marked and cleared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from cordboard.media.backend import Answer, Answered, Incoming
from cordboard.media.simulated import FarEnd
from tests.sip_peer import RATE, Telephone, loudness, tone

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.pjsip.backend import PjsipMedia
from tests.sip_world import settings

FRAME = 160


class Line:
    """A caller whose leg is answered, and a stream that hears it and that it hears."""

    def __init__(self, folder) -> None:
        self.telephone, self.backend = Telephone(), PjsipMedia(settings(folder, legs_max=8))
        self.caller = self.telephone.call(self.backend.port, "4001", FarEnd(), "138")
        [leg] = [report.leg for report in self.until(Incoming)]
        self.backend.send([Answer(leg)])
        self.until(Answered)
        self.sip, port = self.backend._sip, self.backend._legs[leg].port
        why, own, self.number = self.sip.open_stream()
        assert not why
        self.sip.connect(port, own)
        self.sip.connect(own, port)

    def until(self, kind: type) -> list[Any]:
        found: list[Any] = []
        self.wait(lambda: found.extend(one for one in self.backend.reports(0.05) if isinstance(one, kind)) or found)
        return found

    def wait(self, found: Callable[[], Any]) -> None:
        end = time.monotonic() + 20.0
        while not found():
            assert time.monotonic() < end
            self.backend.reports(0.02)

    def close(self) -> None:
        self.backend.close()
        self.telephone.close()


@pytest.fixture
def line(tmp_path) -> Iterator[Line]:
    line = Line(tmp_path)
    yield line
    line.close()


def test_what_a_leg_says_comes_out_in_frames_that_follow_one_another(line):
    # When the frames of a caller's tone are taken as they come
    audio, numbers = bytearray(), []

    def take() -> bool:
        found, first, dropped = line.sip.stream_heard(line.number, False)
        assert dropped == 0
        numbers.extend(range(first, first + len(found) // (2 * FRAME)))
        audio.extend(found)
        return len(numbers) >= 50

    line.wait(take)
    # Then none is missing, and the last half of them are the tone
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    heard = np.frombuffer(audio, dtype=np.int16)[len(audio) // 4 :].astype(float)
    assert loudness(heard, line.caller.hertz) > 2000


def test_frames_that_nobody_takes_are_dropped_and_counted_and_the_numbers_tell_the_gap(line):
    # Given a reader that is away for longer than the ring is
    line.wait(lambda: line.sip.stream_heard(line.number, True)[2] == 0)
    end = time.monotonic() + 6.0
    line.wait(lambda: time.monotonic() > end)
    # When it takes all that is there
    taken: list[tuple[bytes, int, int]] = []
    line.wait(lambda: taken.append(line.sip.stream_heard(line.number, True)) or taken[-1][1] - taken[0][1] > 256)
    # Then so many are missing as were counted
    frames = [number for audio, first, _ in taken for number in range(first, first + len(audio) // FRAME)]
    gap = frames[-1] - frames[0] + 1 - len(frames)
    assert gap == taken[-1][2] > 0


def test_what_is_said_is_played_in_order_and_cleared_at_once(line):
    # When ten seconds of a tone are given at once
    samples = tone(2600.0, 10 * RATE).astype(np.int16)
    assert line.sip.stream_say(line.number, samples.tobytes(), False) == 2 * len(samples)
    line.wait(lambda: line.telephone.hears(line.caller, 2600.0))
    given, played = line.sip.stream_said(line.number)
    assert given == len(samples) and 0 < played < given
    # And then cleared
    assert line.sip.stream_clear(line.number)
    assert line.sip.stream_said(line.number) == (given, given)
    line.wait(lambda: not line.telephone.hears(line.caller, 2600.0))
    # Then what is said next is heard, and its last sample is played
    line.sip.stream_say(line.number, tone(3000.0, RATE).astype(np.int16).tobytes(), False)
    line.wait(lambda: line.telephone.hears(line.caller, 3000.0))
    line.wait(lambda: line.sip.stream_said(line.number) == (given + RATE, given + RATE))


def test_a_stream_takes_two_minutes_and_no_more_and_a_closed_one_says_so(line):
    minute = bytes(60 * RATE)
    taken = [line.sip.stream_say(line.number, minute, True) for _ in range(3)]
    assert taken[:2] == [len(minute)] * 2 and 0 < taken[2] < len(minute)
    assert not line.sip.close_stream(line.number)
    assert line.sip.stream_say(line.number, minute, True) == -1
    assert line.sip.stream_heard(line.number, True) is None and line.sip.stream_said(line.number) is None
    assert not line.sip.stream_clear(line.number) and line.sip.close_stream(line.number)
