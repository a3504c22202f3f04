"""So many short calls with every outcome, at a steady rate, and what they leave behind in the media layer: nothing.

``python -m benchmarks.soak_calls [--calls 100000] [--rate 100] [--shortest 2] [--longest 20] [--quick]``: calls are placed at sipps, which are
busy, do not answer in time, refuse, answer and hang up after 2 to 20 s; half of the others come in from sipps and are hung up by the caller. Every call must end once,
with the cause that its peer gives it; at the end descriptors and threads are as before the first call, and memory with the last
call is what it was after 30 % of them, but for names (transactions of SIP live 32 s after their call, so that takes a minute).
``--quick``: 400 calls of a second or two. Needs `make media` and sipp.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from cordboard.bindings.pjsip.backend import PjsipMedia
from cordboard.bindings.settings import SipSettings
from cordboard.media.backend import Answer, Cause, Dial, Ended, HangUp, Incoming, Refused
from tests.bare_node import resources
from tests.sipp import Sipp, answerer, caller

NAMES_KB = 16_384  # the media layer remembers the names of 100,000 legs
LAST_S = 60.0  # for what is under way at the end
PEERS = 8  # sipps that answer, each with calls of another length


@dataclass
class Soak:
    """The media layer, its peers, and what came of each leg."""

    media: PjsipMedia
    folder: Path
    due: list[tuple[float, str]] = field(default_factory=list)  # legs that we give up, in order of time
    dialed: int = 0
    came: int = 0
    ended: Counter[str] = field(default_factory=Counter)  # kind of leg, cause
    open: dict[str, str] = field(default_factory=dict)  # leg -> its kind
    refused: Counter[str] = field(default_factory=Counter)
    twice: int = 0

    def take(self, seconds: float) -> None:
        for report in self.media.reports(seconds):
            if isinstance(report, Incoming):
                self.came += 1
                self.open[report.leg] = "called"
                self.media.send([Answer(report.leg)])
            elif isinstance(report, Refused):
                self.refused[f"{report.command}: {report.why}"] += 1
            elif isinstance(report, Ended):
                kind = self.open.pop(report.leg, "")
                self.twice += not kind
                self.ended[f"{kind}: {report.cause}"] += 1
        while self.due and self.due[0][0] <= time.monotonic():
            self.media.send([HangUp(self.due.pop(0)[1])])

    def dial(self, kind: str, peer: Sipp) -> None:
        leg = f"d{self.dialed}"
        self.dialed += 1
        self.open[leg] = kind
        self.media.send([Dial(leg, peer.address(), caller="4001")])
        if kind == "given up":
            self.due.append((time.monotonic() + 1.0, leg))


def soak(asked: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = Soak(PjsipMedia(SipSettings(prompts=folder, recordings=folder, silence_s=30.0)), folder)
        wide = ("-timeout", f"{asked.calls / asked.rate + 200:.0f}s", "-l", "4000")
        spans = [int(1000 * (asked.shortest + (asked.longest - asked.shortest) * i / (PEERS - 1))) for i in range(PEERS)]
        many = {"calls": asked.calls, "more": wide}
        peers = {
            "busy": [Sipp(folder, answerer("486 Busy Here"), **many)],
            "refused": [Sipp(folder, answerer("603 Decline", rings=False), **many)],
            "given up": [Sipp(folder, answerer(cancelled=True), **many)],
            "answered": [Sipp(folder, answerer(after_ms=50, hangs_up_ms=span), **many) for span in spans],
        }
        callers = [
            Sipp(folder, caller(talks_ms=span), to=f"127.0.0.1:{work.media.port}", calls=asked.calls // 2 // PEERS, rate=asked.rate / 2 / PEERS, more=wide)
            for span in spans
        ]
        expected = len(callers) * (asked.calls // 2 // PEERS)
        try:
            held = run(work, peers, asked, expected)
        finally:
            work.media.close()
            for peer in [*callers, *(peer for each in peers.values() for peer in each)]:
                peer.kill()
        return judge(work, held, expected, asked)


def run(work: Soak, peers: dict[str, list[Sipp]], asked: argparse.Namespace, expected: int) -> list[dict[str, int]]:
    """The load and its end; what the process holds before it, after 30 % of the calls, after the last one, and when all are over."""
    placed, begun, held = asked.calls - expected, time.monotonic(), [resources()]
    pattern = ("answered", "busy", "answered", "refused", "answered", "given up")
    while work.dialed < placed:
        at = begun + work.dialed / (asked.rate * placed / asked.calls)
        while (left := at - time.monotonic()) > 0:
            work.take(min(left, 0.05))
        kind = pattern[work.dialed % len(pattern)]
        work.dial(kind, peers[kind][work.dialed // 2 % len(peers[kind])])
        if work.dialed == 3 * placed // 10:
            held.append(resources())
        if work.dialed % max(1, placed // 10) == 0:
            print(f"{work.dialed:7d} placed, {work.came:7d} came, {len(work.open):5d} open, {resources()}", flush=True)
    held.append(resources())
    end = time.monotonic() + asked.longest + LAST_S
    while (work.open or work.came < expected) and time.monotonic() < end:
        work.take(0.1)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:  # what PJSIP gives back a moment later
        work.take(0.1)
    return [*held, resources()]


def judge(work: Soak, held: list[dict[str, int]], expected: int, asked: argparse.Namespace) -> int:
    """Print the outcome; 1 if a call is unaccounted for or something has grown."""
    before, early, late, after = held
    wanted = {"answered": Cause.NORMAL, "called": Cause.NORMAL, "busy": Cause.BUSY, "refused": Cause.REJECTED, "given up": Cause.CANCELLED}
    other = {key: count for key, count in sorted(work.ended.items()) if key not in {f"{kind}: {cause}" for kind, cause in wanted.items()}}
    print(f"placed {work.dialed}, came {work.came} of {expected}, ended {sum(work.ended.values())}, twice {work.twice}, open {len(work.open)}")
    print("ended as", dict(sorted(work.ended.items())), "unexpected", other or "none", dict(work.refused) or "")
    for when, what in zip(("before", "after 30 %", "after all", "all over"), held, strict=True):
        print(f"{when:10}", what)
    whole = not work.open and not work.twice and sum(work.ended.values()) == work.dialed + work.came
    grown = any(after[key] > before[key] for key in ("threads", "descriptors"))
    grown = grown or (not asked.quick and late["memory_kb"] > 1.05 * early["memory_kb"] + NAMES_KB)
    print("every call is accounted for" if whole else "CALLS ARE UNACCOUNTED FOR", "and something has grown" if grown else "and nothing has grown")
    return 0 if whole and not grown else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--shortest", type=float, default=2.0, help="seconds")
    parser.add_argument("--longest", type=float, default=20.0, help="seconds")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.calls, asked.rate, asked.shortest, asked.longest = 400, 50.0, 0.5, 2.0
    return soak(asked)


if __name__ == "__main__":
    sys.exit(main())
