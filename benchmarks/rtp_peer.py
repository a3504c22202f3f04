"""Telephones that send and get real RTP, for benchmarks: ``rtp_peer.c``, compiled when it is needed, beside sipp for the signalling."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.sipp import Sipp, answerer

CALLS_A_SIPP = 500


class Telephones:
    """So many telephones on this machine, which answer at once and talk fifty packets a second each way."""

    def __init__(self, folder: Path, count: int) -> None:
        program = folder / "rtp_peer"
        if not program.exists():
            subprocess.run(["cc", "-O2", "-o", str(program), str(Path(__file__).with_suffix(".c"))], check=True)
        self.process = subprocess.Popen([str(program), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ports = self._line().split()
        if len(ports) != count:
            raise OSError(f"there are not {count} sockets to be had: raise the limit of open files (ulimit -n)")
        self.sipps = []
        for begin in range(0, count, CALLS_A_SIPP):
            some = ports[begin : begin + CALLS_A_SIPP]
            file = folder / f"ports{begin}.csv"
            file.write_text("SEQUENTIAL\n" + "".join(f"{port};\n" for port in some))
            scenario = answerer(rings=False).replace("[media_port]", "[field0]")
            self.sipps.append(Sipp(folder, scenario, calls=len(some), more=("-inf", str(file), "-timeout", "600s")))
        self._dialed = 0

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def _say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def address(self) -> str:
        """Of the next telephone that nobody has called yet."""
        self._dialed += 1
        return self.sipps[(self._dialed - 1) // CALLS_A_SIPP].address()

    def begin(self) -> None:
        """Count from now on."""
        self._say("begin")

    def end(self) -> dict[str, float]:
        """What was counted since: packets, delays from telephone to telephone in ms, ``first_s``: when the first audio of one
        reached another, seconds of the epoch, 0 if none did."""
        self._say("end")
        found: dict[str, float] = json.loads(self._line())
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for sipp in self.sipps:
            sipp.kill()
