"""What real calls cost in the production media layer, with sipp at the other end on the same machine.

``python -m benchmarks.bench_media [--legs 400] [--seconds 10] [--calls 1000] [--rate 100] [--only recorded]`` prints a table; under pytest
the same at a small size. CPU is that of the process that holds the media layer, all its threads and its Python included,
sipp not; it is told beside the wall clock because the machine is shared. Needs `make media` and sipp.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rtp_peer import Telephones
from cordboard.media.backend import (
    Answer,
    Answered,
    Cause,
    Connect,
    Dial,
    Ended,
    HangUp,
    Incoming,
    Play,
    Record,
    Report,
)
from tests.recorded import RECIPIENT
from tests.sipp import SIPP, Sipp, answerer, caller

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ImportError)
from cordboard.bindings.pjsip.backend import PjsipMedia
from cordboard.bindings.settings import SipSettings

pytestmark = pytest.mark.skipif(SIPP is None, reason="sipp is not installed (apt-get install sip-tester)")
LEGS_A_PEER = 125  # calls of one sipp share one socket, which a burst of more would overrun
PATIENCE_S = 60.0


def cpu_s() -> float:
    """CPU of this process so far, s."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def writer_cpu_s() -> float:
    """CPU so far of the thread that seals and writes recordings, s."""
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().strip() == "recorder":
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    return 0.0


def dropped() -> int:
    """Packets that came for sockets of this process and were not taken in time."""
    ours = {os.readlink(fd).removeprefix("socket:[").rstrip("]") for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if row[9] in ours)


@dataclass
class Run:
    """A media layer, its peers, and what it has reported."""

    folder: Path
    opus: bool = False
    media: PjsipMedia = field(init=False)
    peers: list[Sipp] = field(default_factory=list)
    seen: list[Report] = field(default_factory=list)
    dial_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        told = SipSettings(prompts=self.folder, recordings=self.folder, recipients=(RECIPIENT,), silence_s=0.0, opus=self.opus)
        self.media = PjsipMedia(told)

    def pump(self, until: Callable[[], bool], answer: bool = False) -> None:
        end = time.monotonic() + PATIENCE_S
        while not until() and time.monotonic() < end:
            found = self.media.reports(0.02)
            self.seen += found
            if answer:
                self.media.send([Answer(report.leg) for report in found if isinstance(report, Incoming)])

    def count(self, kind: type[Report]) -> int:
        return sum(isinstance(report, kind) for report in self.seen)

    def answerers(self, calls: int, hangs_up_ms: int | None, echo: bool = True) -> None:
        """Peers that answer so many calls in all, and send back what they get or nothing."""
        share = [len(range(i, calls, -(-calls // LEGS_A_PEER))) for i in range(-(-calls // LEGS_A_PEER))]
        self.peers = [Sipp(self.folder, answerer(hangs_up_ms=hangs_up_ms), calls=n, more=("-timeout", "300s"), echo=echo) for n in share]

    def call(self, telephones: Telephones, legs: int, rate: float) -> list[str]:
        """Call so many telephones; the legs, when all have answered."""
        start = time.monotonic()
        for i in range(legs):
            while (wait := start + i / rate - time.monotonic()) > 0.0:
                self.seen += self.media.reports(wait)
            self.media.send([Dial(f"t{i}", telephones.address(), caller="4001")])
        self.pump(lambda: self.count(Answered) + self.count(Ended) >= legs)
        return [report.leg for report in self.seen if isinstance(report, Answered)]

    def dial(self, calls: int, rate: float, prefix: str = "d") -> None:
        """Dial so many at a rate, taking reports in between; how late each INVITE was, from when it was due."""
        start = time.monotonic()
        for i in range(calls):
            while (wait := start + i / rate - time.monotonic()) > 0.0:
                self.seen += self.media.reports(wait)
            self.media.send([Dial(f"{prefix}{i}", self.peers[i % len(self.peers)].address(), caller="4001")])
            self.dial_s.append(time.monotonic() - start - i / rate)

    def close(self) -> None:
        self.media.close()
        self.seen += self.media.reports(0.0)
        for peer in self.peers:
            peer.kill()


def babble(file: Path) -> None:
    """Ten seconds like speech, as far as an encoder cares: noise of a voice's band in syllables, with pauses."""
    random, at = np.random.default_rng(1), np.arange(80_000)
    noise = np.convolve(random.normal(0.0, 6000.0, len(at)), np.hanning(9) / 4.5, "same")
    loud = np.clip(np.sin(2 * np.pi * 4.0 * at / 8000), 0.0, 1.0) * (at % 16_000 < 10_000)
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes((noise * loud).astype(np.int16).tobytes())


def recorded(legs: int, seconds: float, rate: float = 100.0, opus: bool = False) -> dict[str, float]:
    """Legs connected in pairs, each side sending back what it gets, 50 packets a second; each pair recorded in stereo. In
    Opus, what is said costs more than silence: a prompt is played to each leg, and comes back."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), opus)
        try:
            run.answerers(legs, None)
            run.dial(legs, rate)
            run.pump(lambda: run.count(Answered) + run.count(Ended) >= legs)
            names = [report.leg for report in run.seen if isinstance(report, Answered)]
            pairs = list(zip(names[::2], names[1::2], strict=False))
            run.media.send([Connect(*pair) for a, b in pairs for pair in ((a, b), (b, a))])
            if opus:
                babble(run.folder / "babble.wav")
                run.media.send([Play(name, ("babble",), loop=True) for name in names])
            run.media.send([Record(f"r{i}", pair) for i, pair in enumerate(pairs)])
            begun, used, wrote = time.monotonic(), cpu_s(), writer_cpu_s()
            run.pump(lambda: time.monotonic() - begun >= seconds)
            passed = time.monotonic() - begun
            share, writer = (cpu_s() - used) / passed, (writer_cpu_s() - wrote) / passed
            drops = dropped()
            run.media.send([HangUp(name) for name in names])
        finally:
            run.close()
        ended = [report.quality for report in run.seen if isinstance(report, Ended) and report.quality]
        received, lost = sum(q.received for q in ended), sum(q.lost for q in ended)
        return {
            "legs": len(names),
            "CPU % of a core a leg": 100.0 * share / len(names),
            "of it sealing and writing": 100.0 * writer / len(names),
            "lost anywhere %": 100.0 * lost / max(1, received + lost),  # sipp's sockets, which send back what they get, too
            "dropped at our sockets %": 100.0 * drops / max(1, received + lost),
        }


def talking(legs: int, seconds: float, record: bool = False, rate: float = 100.0) -> dict[str, float]:
    """Telephones connected in pairs, each of which sends G.711 of its own and gets the other's, perhaps recorded in stereo: CPU,
    packets that a telephone missed by their numbers, and what the node adds to the way of the audio there and back."""
    with tempfile.TemporaryDirectory() as folder:
        telephones, run = Telephones(Path(folder), legs), Run(Path(folder))
        try:
            names = run.call(telephones, legs, rate)
            pairs = list(zip(names[::2], names[1::2], strict=False))
            run.media.send([Connect(*pair) for a, b in pairs for pair in ((a, b), (b, a))])
            if record:
                run.media.send([Record(f"r{i}", pair) for i, pair in enumerate(pairs)])
            settled = time.monotonic() + 3.0
            run.pump(lambda: time.monotonic() >= settled)
            telephones.begin()
            begun, used, passed = time.monotonic(), cpu_s(), run.media._sip.passed
            run.pump(lambda: time.monotonic() - begun >= seconds)
            took, used, passed = time.monotonic() - begun, cpu_s() - used, run.media._sip.passed - passed
            counted, drops = telephones.end(), dropped()
            run.media.send([HangUp(name) for name in names])
        finally:
            run.close()
            telephones.close()
        return {
            "legs": len(names),
            "CPU % of a core a leg": 100.0 * used / took / len(names),
            "packets a second and leg": counted["received"] / took / len(names),
            "passed on %": 100.0 * passed / max(1.0, counted["received"]),
            "missing %": 100.0 * counted["missing"] / max(1.0, counted["received"] + counted["missing"]),
            "dropped at our sockets": drops,
            "two-way delay ms p50": 2.0 * counted["delay_p50_ms"],
            "p99": 2.0 * counted["delay_p99_ms"],
        }


def silent(legs: int, seconds: float, rate: float = 100.0) -> dict[str, float]:
    """Legs connected in pairs whose far ends send nothing."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        try:
            run.answerers(legs, None, echo=False)
            run.dial(legs, rate)
            run.pump(lambda: run.count(Answered) + run.count(Ended) >= legs)
            names = [report.leg for report in run.seen if isinstance(report, Answered)]
            run.media.send([Connect(*pair) for a, b in zip(names[::2], names[1::2], strict=False) for pair in ((a, b), (b, a))])
            begun, used = time.monotonic(), cpu_s()
            run.pump(lambda: time.monotonic() - begun >= seconds)
            share = (cpu_s() - used) / (time.monotonic() - begun)
        finally:
            run.close()
        return {"legs": len(names), "CPU % of a core a leg": 100.0 * share / len(names)}


def dialed(calls: int, rate: float) -> dict[str, float]:
    """Calls that are dialed, answered at once and hung up by the peer after 200 ms."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        try:
            run.answerers(calls, 200)
            begun, used = time.monotonic(), cpu_s()
            run.dial(calls, rate)
            reached = calls / (time.monotonic() - begun)
            run.pump(lambda: run.count(Ended) >= calls)
            used = cpu_s() - used
        finally:
            run.close()
        return {"calls": calls, "a second": reached, "CPU ms a call": 1000.0 * used / calls, "not normal": failures(run)} | times(run)


def called(calls: int, rate: float) -> dict[str, float]:
    """Calls that come in, are answered, and hung up by the caller after 200 ms."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        try:
            begun, used = time.monotonic(), cpu_s()
            run.peers = [Sipp(run.folder, caller(talks_ms=200), to=f"127.0.0.1:{run.media.port}", calls=calls, rate=rate)]
            run.pump(lambda: run.count(Ended) >= calls, answer=True)
            reached, used = calls / (time.monotonic() - begun), cpu_s() - used
        finally:
            run.close()
        return {"calls": calls, "a second": reached, "CPU ms a call": 1000.0 * used / calls, "not normal": failures(run)}


def dialed_beside(legs: int, calls: int, rate: float) -> dict[str, float]:
    """Attempts at a rate while legs carry audio in pairs: how long after it is due the INVITE of each is with the kernel, which is
    when ``send`` returns; half of them are answered and hung up by the peer after 200 ms, half are refused as busy."""
    with tempfile.TemporaryDirectory() as folder:
        telephones, run = Telephones(Path(folder), legs), Run(Path(folder))
        try:
            names = run.call(telephones, legs, 100.0)
            run.media.send([Connect(*pair) for a, b in zip(names[::2], names[1::2], strict=False) for pair in ((a, b), (b, a))])
            answered = Sipp(run.folder, answerer(hangs_up_ms=200), calls=calls, more=("-timeout", "300s"))
            run.peers = [answered, Sipp(run.folder, answerer("486 Busy Here"), calls=calls, more=("-timeout", "300s"))]
            run.seen.clear()
            begun, used = time.monotonic(), cpu_s()
            run.dial(calls // 2 * 2, rate)
            took = time.monotonic() - begun
            run.pump(lambda: run.count(Ended) >= calls // 2 * 2)
            used = cpu_s() - used
            lost = calls // 2 * 2 - run.count(Ended)
        finally:
            run.close()
            telephones.close()
        return {"legs": legs, "calls": calls, "a second": calls / took, "not ended": lost, "CPU ms a call": 1000.0 * used / calls} | times(run)


def failures(run: Run) -> int:
    return sum(isinstance(report, Ended) and report.cause != Cause.NORMAL for report in run.seen)


def times(run: Run) -> dict[str, float]:
    cut = statistics.quantiles(run.dial_s, n=100)
    return {"ms to INVITE p50": 1000.0 * cut[49], "p99": 1000.0 * cut[98]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--legs", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--only", help="a part of the names of what is measured", default="")
    options = parser.parse_args()
    tables: list[tuple[str, Callable[[], dict[str, float]]]] = [
        ("talking", lambda: talking(options.legs, options.seconds)),
        ("talking, recorded", lambda: talking(options.legs, options.seconds, record=True)),
        ("recorded", lambda: recorded(options.legs, options.seconds)),
        ("recorded, Opus", lambda: recorded(options.legs, options.seconds, opus=True)),
        ("silent", lambda: silent(options.legs, options.seconds)),
        ("dialed", lambda: dialed(options.calls, options.rate)),
        ("called", lambda: called(options.calls, options.rate)),
        ("attempts beside audio", lambda: dialed_beside(500, 4 * options.calls, 400.0)),
    ]
    for name, measure in [each for each in tables if options.only in each[0]]:
        print(f"{name:20}", "  ".join(f"{key} {value:.4g}" for key, value in measure().items()), flush=True)


def test_track_cpu_of_a_bridged_leg(benchmark):
    found = benchmark.pedantic(lambda: recorded(40, 2.0), rounds=1)
    assert found["legs"] == 40
    benchmark.extra_info.update(found)


def test_track_cpu_of_two_who_hear_each_other_alone(benchmark):
    found = benchmark.pedantic(lambda: talking(20, 2.0), rounds=1)
    assert found["legs"] == 20 and found["passed on %"] > 0
    benchmark.extra_info.update(found)


def test_track_cpu_of_a_call(benchmark):
    found = benchmark.pedantic(lambda: dialed(50, 50.0), rounds=1)
    assert found["not normal"] == 0
    benchmark.extra_info.update(found)


def test_track_cpu_of_a_call_that_comes_in(benchmark):
    found = benchmark.pedantic(lambda: called(50, 50.0), rounds=1)
    assert found["not normal"] == 0
    benchmark.extra_info.update(found)


if __name__ == "__main__":
    main()
