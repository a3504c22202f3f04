"""What a media node does by itself while no server tells it anything: it keeps secret digits, and callers, in mind.

A digit is covered when it is typed, by what the node was told before: so one that reaches the journal much later, after
the step of its flow is over, is covered too. Who calls while the server is away hears that it rings, for as long as a
server may need to come back; then, and from then on at once, callers are refused with 503 and Retry-After, so that
their carrier goes elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cordboard.media.backend import HIDDEN, Cause, Command, Ended, HangUp, HideKeys, Incoming, Key, Report, Ring

RINGS_S = 10.0  # as long as nodes get to come back to a server


class HiddenKeys:
    """The legs on which secret digits are typed now."""

    def __init__(self) -> None:
        self._legs = frozenset[str]()  # another thread may look at it
        self._over = set[str]()

    def follow(self, commands: Iterable[HideKeys]) -> None:
        """What is secret is so at once; what is no more, after the reports that are there by now."""
        for command in commands:
            if command.on:
                self._legs |= {command.leg}
            (self._over.discard if command.on else self._over.add)(command.leg)

    def only(self, legs: Iterable[str]) -> list[HideKeys]:
        """The commands after which these are secret and no others."""
        wanted = set(legs)
        return [HideKeys(leg, leg in wanted) for leg in sorted(self._legs | wanted)]

    def covered(self, reports: Sequence[Report]) -> list[Report]:
        """Reports as they may leave the node."""
        found: list[Report] = []
        for report in reports:
            if isinstance(report, Key) and report.leg in self._legs and report.key.isdecimal():
                report = replace(report, key=HIDDEN)
            elif isinstance(report, Ended):
                self._over.add(report.leg)
            found.append(report)
        self._legs -= self._over
        self._over.clear()
        return found


class Callers:
    """Callers of whom no server has said anything yet. Times are seconds of one clock."""

    def __init__(self, now: float) -> None:
        self._away: float | None = now  # since when no server is there
        self._until: dict[str, float] = {}

    def look(self, now: float, away: bool, commands: Iterable[Command], reports: Iterable[Report]) -> list[Command]:
        """What to do by ourselves, after ``commands`` were carried out and ``reports`` came."""
        self._away = (now if self._away is None else self._away) if away else None
        for command in commands:
            self._until.pop(getattr(command, "leg", ""), None)
        found: list[Command] = []
        for report in reports:
            if isinstance(report, Incoming):
                self._until[report.leg] = now + RINGS_S
                if away:
                    found.append(Ring(report.leg))
            elif isinstance(report, Ended):
                self._until.pop(report.leg, None)
        gone = self._away is not None and now >= self._away + RINGS_S
        for leg in [leg for leg, until in self._until.items() if gone or now >= until]:
            del self._until[leg]
            found.append(HangUp(leg, Cause.LOST))
        return found
