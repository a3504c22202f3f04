"""Recording in the production media layer: sealed while it is written, and what fails under it costs no more than it must."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cordboard.media.backend import Connect, Dial, Incoming, PauseRecording, Record, Recorded, StopRecording
from cordboard.media.simulated import FarEnd
from cordboard.recordings.container import Reading
from tests.recorded import IDENTITY, channels
from tests.sip_peer import RATE, Telephone, loudness

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.pjsip import sip
from cordboard.bindings.pjsip.backend import PjsipMedia
from tests.sip_world import settings

PATIENCE_S = 20.0


class Talk:
    """Two telephones that are connected through a media layer, and all that it reports."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.media = PjsipMedia(settings(folder, legs_max=8, **changes))
        self.telephone = Telephone()
        self.folder, self.seen = folder / "recordings", []
        for leg in ("a", "b"):
            self.media.send([Dial(leg, self.telephone.phone(FarEnd(picks_up=0.0)))])
        self.until(lambda: len([report for report in self.seen if type(report).__name__ == "Answered"]) == 2)
        self.media.send([Connect("a", "b"), Connect("b", "a")])

    def until(self, found) -> None:
        end = time.monotonic() + PATIENCE_S
        while not found():
            assert time.monotonic() < end, self.seen[-3:]
            self.seen += self.media.reports(0.05)

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.seen += self.media.reports(0.05)

    def recorded(self) -> Recorded:
        self.until(lambda: any(isinstance(report, Recorded) for report in self.seen))
        return next(report for report in self.seen if isinstance(report, Recorded))

    def close(self) -> None:
        self.media.close()
        self.telephone.close()


@pytest.fixture
def talk(tmp_path):
    made = Talk(tmp_path)
    yield made
    made.close()


def test_a_recording_is_whole_has_one_side_a_channel_and_is_silent_while_it_is_paused(talk):
    first, second = (call.hertz for call in talk.telephone.calls.values())
    talk.media.send([Record("r1", ("a", "b"))])
    talk.rest(2.5)
    talk.media.send([PauseRecording("r1")])
    talk.rest(2.0)
    talk.media.send([StopRecording("r1")])
    report = talk.recorded()
    reading = Reading(talk.folder / report.file, [IDENTITY])
    a, b = channels(talk.folder / report.file)
    assert sum(1 for _ in reading) >= 3 and reading.state == "whole"
    assert (reading.seconds, report.missing) == (report.seconds, 0.0) and len(a) == round(report.seconds * RATE)
    for side, own, other in ((a, first, second), (b, second, first)):
        assert loudness(side[RATE : 2 * RATE], own) > 10 * loudness(side[RATE : 2 * RATE], other)
        assert not np.any(side[-RATE:])


def test_nothing_in_the_file_is_readable_and_its_key_is_on_no_disk(talk, tmp_path, monkeypatch):
    keys, header = [], talk.media._sealer.header
    monkeypatch.setattr(talk.media._sealer, "header", lambda *args, **more: keys.append(header(*args, **more)) or keys[-1])
    talk.media.send([Record("r1", ("a", "b"))])
    talk.rest(1.5)
    talk.media.send([StopRecording("r1")])
    file = talk.folder / talk.recorded().file
    everything = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(keys) == 1 and not any(secret in content for content in everything for secret in (keys[0][0], IDENTITY.encode()))
    content = np.frombuffer(file.read_bytes()[-20_000:-100], np.uint8)
    assert file.stat().st_mode & 0o777 == 0o600
    # Sealed bytes are all alike; audio is not: silence and tones have few values.
    counts = np.bincount(content, minlength=256)
    assert counts.max() < 3 * counts.mean()


def test_without_somebody_to_seal_it_for_nothing_is_recorded(tmp_path):
    from dataclasses import replace

    media = PjsipMedia(replace(settings(tmp_path), recipients=()))
    telephone = Telephone()
    telephone.call(media.port, "4001", FarEnd(), "138")
    seen = []
    while not seen:
        seen += media.reports(0.1)
    assert isinstance(seen[0], Incoming)
    media.send([Record("r1", (seen[0].leg,))])
    [refused] = media.reports(1.0)
    media.close()
    telephone.close()
    assert refused.command == "Record" and "sealed" in refused.why
    assert not list((tmp_path / "recordings").iterdir())


def test_the_end_of_a_recording_that_could_not_begin_and_was_refused_stops_nobody(talk):
    # Given the event that the writer gives for it: the bridge had no port left
    talk.media._take([(sip.RECORDED, 0, 1 << 40, 0, 0, "", (0, 0, 0, 0.0, 0.0))])
    # Then nothing is reported, and the next one is recorded
    talk.media.send([Record("r1", ("a", "b"))])
    talk.rest(0.3)
    talk.media.send([StopRecording("r1")])
    assert talk.recorded().recording == "r1"


# ---- a disk that is full


class SmallDisk:
    """A file system of its own, of so many bytes, and a file that fills it."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.ballast = folder, folder / "ballast"
        folder.mkdir(parents=True, exist_ok=True)
        found = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True)
        if found.returncode:
            pytest.skip(f"a file system can't be mounted here (root may): {found.stderr.strip()}")

    def fill(self) -> None:
        with open(self.ballast, "ab", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path):
    made = SmallDisk(tmp_path / "recordings", 1 << 20)
    yield made
    made.close()


def test_a_full_disk_stops_no_call_and_recording_goes_on_when_there_is_room(disk, talk):
    talk.media.send([Record("r1", ("a", "b"))])
    talk.rest(2.5)
    disk.fill()
    talk.rest(4.5)
    # What was recorded until then plays, while nothing can be written
    early = Reading(talk.folder / "r1.cbr", [IDENTITY])
    assert sum(1 for _ in early) >= 1 and early.state == "cut" and 0.9 < early.seconds < 4.0
    disk.ballast.unlink()
    talk.rest(3.5)
    talk.media.send([StopRecording("r1")])
    report = talk.recorded()
    reading = Reading(talk.folder / report.file, [IDENTITY])
    a, _ = channels(talk.folder / report.file)
    list(reading)
    # Then it is whole, its time is right, and the report says how much of it is silent
    assert reading.state == "whole" and reading.seconds == report.seconds > 8.0
    assert 0.5 < report.missing < 6.0 and reading.missing / RATE == report.missing
    silent = np.flatnonzero(~np.any(a[: len(a) // RATE * RATE].reshape(-1, RATE // 10), axis=1))
    assert abs(len(silent) / 10 - report.missing) < 0.5
    first = next(iter(talk.telephone.calls.values())).hertz
    # On a loaded machine the telephone itself may be silent for a while
    assert max(loudness(a[at : at + RATE // 2], first) for at in range(len(a) - 2 * RATE, len(a), RATE // 2)) > 1000.0
    assert talk.media.legs() == {"a", "b"}


def test_a_recording_that_begins_on_a_full_disk_is_refused_or_short_and_the_calls_go_on(disk, talk):
    disk.fill()
    talk.media.send([Record("r1", ("a", "b"))])
    talk.rest(1.0)
    assert talk.media.legs() == {"a", "b"}
    disk.ballast.unlink()
    talk.rest(1.5)
    talk.media.send([StopRecording("r1")])
    report = talk.recorded()
    assert Reading(talk.folder / report.file, [IDENTITY]).name == "r1" and report.seconds > 2.0


# ---- a node that is killed

CHILD = """
import sys
from pathlib import Path
from tests.test_media_recording import Talk
talk = Talk(Path(sys.argv[1]))
from cordboard.media.backend import Record
talk.media.send([Record("r1", ("a", "b"))])
print("recording", *(call.hertz for call in talk.telephone.calls.values()), flush=True)
talk.rest(60.0)
"""


def test_what_was_recorded_when_the_node_was_killed_plays(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        hertz = [float(text) for text in child.stdout.readline().split()[1:]]
        begun = time.monotonic()
        time.sleep(3.5)
    finally:
        child.send_signal(signal.SIGKILL)
        took = time.monotonic() - begun
        child.wait()
        child.stdout.close()
    file = tmp_path / "recordings" / "r1.cbr"
    reading = Reading(file, [IDENTITY])
    a, b = channels(file)
    list(reading)
    # At most a chunk of a second and the writer's tenth are gone; a loaded machine's clock thread may be late besides
    assert reading.state == "cut" and took - 2.5 < reading.seconds <= took + 0.2
    assert loudness(a[RATE // 2 :], hertz[0]) > 500.0 and loudness(b[RATE // 2 :], hertz[1]) > 500.0
