"""The other side of a demonstration: SIP user agents who answer what is dialed, each in their own way, and who call.

A process of its own, since PJSIP is one in a process: ``python -m cordboard.services.sip_people SETTINGS.json``. Phones
of agents answer at once and stay; other numbers answer by chance, are busy, or ring on; callers come by chance and hang
up by themselves. Everybody talks: the prompt ``talk``, again and again.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from cordboard.bindings.pjsip.backend import PjsipMedia
from cordboard.bindings.settings import SipSettings
from cordboard.media.backend import Answer, Answered, Cause, Command, Dial, Ended, HangUp, Incoming, Play, Report, Ring

LOOK_S = 0.02


class Crowd:
    """People and phones, decided by a seed. ``agents``: users that are agents' phones; ``centers``: where callers call;
    ``hourly`` of them at the busiest time, by the parts of a day in ``profile`` (shares of it), which
    takes ``seconds``; ``stays``, ``answers``: as ``cordboard media --simulated`` has them."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked, self._draw = asked, random.Random(asked["seed"])
        self._agents = frozenset(asked["agents"])
        self._due: list[tuple[float, Command]] = []
        self._people: set[str] = set()  # legs that hang up by themselves
        self._calls = 0
        self._next = 0.0
        self._began = 0.0

    def at(self, now: float) -> list[Command]:
        """What is done now."""
        self._began = self._began or now
        peak = self._asked["hourly"] / 3600.0
        if self._next and now >= self._next:
            if self._draw.random() < self._busy(now):  # by thinning: a Poisson process of this moment's rate
                self._calls += 1
                leg, to = f"caller{self._calls}", self._draw.choice(self._asked["centers"])
                self._people.add(leg)
                self._due.append((now, Dial(leg, to, caller=f"139{self._draw.randrange(10**8):08d}")))
            self._next = 0.0
        if not self._next:
            self._next = now + self._draw.expovariate(peak)
        found = [command for due, command in self._due if due <= now]
        self._due = [one for one in self._due if one[0] > now]
        return found

    def _busy(self, now: float) -> float:
        """The share of the busiest time's callers that call at this time of the day; 0 after it."""
        profile = self._asked["profile"]
        part = int((now - self._began) * len(profile) / self._asked["seconds"])
        return float(profile[part]) if part < len(profile) else 0.0

    def hear(self, report: Report, now: float) -> None:
        """What somebody does because of it."""
        draw = self._draw
        if isinstance(report, Incoming):
            if report.to in self._agents:
                self._due.append((now, Answer(report.leg)))
                return
            self._people.add(report.leg)
            if draw.random() < self._asked["answers"]:
                self._due += [(now + 0.3, Ring(report.leg)), (now + draw.uniform(2.0, 8.0), Answer(report.leg))]
            elif draw.random() < 0.5:
                self._due.append((now + 0.5, HangUp(report.leg, draw.choice((Cause.BUSY, Cause.INVALID)))))
            else:
                self._due.append((now + 0.3, Ring(report.leg)))
        elif isinstance(report, Answered):
            self._due.append((now, Play(report.leg, ("talk",), loop=True)))
            if report.leg in self._people:
                self._due.append((now + 2.0 + draw.expovariate(1.0 / self._asked["stays"]), HangUp(report.leg)))
        elif isinstance(report, Ended):
            self._people.discard(report.leg)


def main(path: str) -> int:
    """Until a signal."""
    asked = json.loads(Path(path).read_text())
    folder = Path(path).parent
    settings = SipSettings(prompts=folder / "prompts", recordings=folder / "recordings", rtp_port=asked["rtp_port"])
    media, crowd, stopped = PjsipMedia(settings), Crowd(asked), [False]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.__setitem__(0, True))
    print(json.dumps({"ready": True, "port": media.port}), flush=True)
    while not stopped[0]:
        for report in media.reports(LOOK_S):
            crowd.hear(report, time.monotonic())
        media.send(crowd.at(time.monotonic()))
    media.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
