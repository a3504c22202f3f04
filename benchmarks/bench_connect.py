"""How long after the decision an outbound call has its agent: ``python -m benchmarks.bench_connect [--calls 20] [--agents 4]``.

A server with its journal, a media node on PJSIP (`make media`) and telephones, each a process or thread of its own, over real SIP and RTP.
A campaign dials, listens who answers (its telephones say hello and wait) and gives a person to an agent whose line is up already. The decision
is the later of two reports, as the journal has them: that the call was answered, and who it was. From there to the first loud
packet of the agent's at the telephone that was called.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from cordboard.client import Client
from cordboard.media.simulated import FarEnd

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ImportError)
from tests import sip_floor
from tests.sip_peer import FRAME, Call, Telephone
from tests.sip_world import prompt

LOUD = 1000.0
CENTER = "[queues.spring]\nmax_wait = 2\n"
CALLS = """
[trunks.main]
caller = "4001"
[campaigns.spring]
queue = "spring"
trunk = "main"
message = ["sorry"]
mode = "progressive"
detect = true
hours = ["mon-sun 00:00-24:00"]
"""


class Listening(Telephone):
    """Knows when each call first heard something loud, seconds of the epoch."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        super().__init__()

    def _listen(self, call: Call) -> None:
        super()._listen(call)
        if call.name not in self.first and np.abs(call.heard[-FRAME:]).max(initial=0.0) > LOUD:
            self.first[call.name] = time.time()


def connected(calls: int, agents: int) -> dict[str, float]:
    """So many answered by persons, one after the other for each agent."""
    names = [f"agent{i}" for i in range(agents)]
    center = CENTER + "".join(f'[agents.{name}]\nqueues = ["spring"]\n' for name in names)
    phones = "".join(f'[phones.{name}]\nto = "{{{name}}}"\nnailed_up = true\n' for name in names)
    numbers = [f"1380000{i:04}" for i in range(calls)]
    with tempfile.TemporaryDirectory() as text, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sip_floor, "Telephone", Listening)
        folder = Path(text)
        with sip_floor.sip_floor(folder, center=center, calls=CALLS + phones) as floor:
            (folder / "prompts").mkdir()
            prompt(folder / "prompts" / "sorry.wav", 3000.0, 0.4)
            floor.add_node("n1", "--trunk", f"main=127.0.0.1:{floor.telephone.port}")
            person = FarEnd(rings=0.05, picks_up=0.2, hangs_up=4.0, silent=True, says=((0.2, 0.8),))
            floor.telephone.fars.update(dict.fromkeys(numbers, person))
            (folder / "list.csv").write_text("number\n" + "\n".join(numbers) + "\n")
            floor.command("campaign", "import", "spring", "list.csv")
            with Client(floor.address) as client:
                for name in names:
                    client.set_state(name, "ready")
            floor.command("campaign", "start", "spring")
            over = lambda: sum(call.over for call in list(floor.telephone.calls.values()) if call.name in numbers)  # noqa: E731
            sip_floor.until(lambda: over() >= calls, 30.0 + 15.0 * calls / agents)
            floor.command("campaign", "pause", "spring")
            first = floor.telephone.first  # type: ignore[attr-defined]
            journal, dials = floor.journal(), floor.effects("leg_dial")
    decided = {event["leg"]: event["t"] for event in journal if event["event"] in ("leg_answered", "leg_judged")}  # the later of the two
    reached = {dial["leg"]: numbers[int(dial["entry"]) - 1] for dial in dials if "entry" in dial}  # entries count from 1, in the list's order
    waits = [1000.0 * (first[number] - decided[leg]) for leg, number in reached.items() if number in first and leg in decided]
    waits.sort()
    return {"calls": calls, "connected": len(waits), "ms p50": statistics.median(waits), "p95": waits[int(0.95 * (len(waits) - 1))], "most": waits[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--agents", type=int, default=4)
    options = parser.parse_args()
    print("  ".join(f"{key} {value:.4g}" for key, value in connected(options.calls, options.agents).items()))


def test_track_time_from_the_decision_to_the_agent(benchmark):
    found = benchmark.pedantic(lambda: connected(2, 1), rounds=1)
    assert found["connected"] == 2
    benchmark.extra_info.update(found)


if __name__ == "__main__":
    main()
