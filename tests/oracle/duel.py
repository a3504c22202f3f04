"""The engine and the brute-force router on the same random journal, compared effect for effect after every event."""

from __future__ import annotations

import json
from typing import Any

from cordboard.center import Center
from cordboard.errors import CordboardError
from cordboard.replay import Engine, fire_timers
from tests.oracle.ledger import Ledger
from tests.oracle.router import Refused, Router
from tests.oracle.worlds import Journalist, Source

Effect = dict[str, Any]
COMPARED = ("t", "effect", "contact", "agent", "to", "reason")


class Difference(AssertionError):
    """The two disagree; the message has the center and the journal so far."""


class Duel:
    def __init__(self, center: Center, engine: Engine) -> None:
        self.center, self.engine = center, engine
        self.oracle = Router(center, self._choose)
        self.ledger = Ledger(center)
        self.journal: list[dict[str, Any]] = []
        self.picks: dict[str, list[str]] = {}  # what the engine drew in this step, by contact

    def _choose(self, contact: str, names: list[str]) -> str:
        drawn = self.picks.get(contact)
        return drawn.pop(0) if drawn and drawn[0] in names else names[0]

    def play(self, source: Source, events: int) -> None:
        """Play so many random events. Raises Difference at the first disagreement."""
        journalist = Journalist(source, self.center)
        for _ in range(events):
            due = self.oracle.next_timer()
            event = journalist.next_event(due)
            self.journal.append(event)
            fired = fire_timers(self.engine, event["t"])
            self._remember(fired)
            self._compare(fired, self.oracle.fire(event["t"]))
            self.ledger.take(None, fired)
            journalist.note(None, fired)
            effects = self._apply(event)
            taken = None if effects is None else event
            self.ledger.take(taken, effects or [])
            journalist.note(taken, effects or [])
            self._count()

    def _count(self) -> None:
        """The engine's own counts are the ledger's."""
        counts = getattr(self.engine, "counts", None)
        if counts is None:
            return
        got, ledger = counts(), self.ledger
        want = {"entered": ledger.entered, "waiting": ledger.waiting, "offered": ledger.offered}
        want |= {"connected": len(ledger.talks), "ended": ledger.ended}
        if got != want:
            self._fail(f"counts of the engine: {got}; of the ledger: {want}")

    def _remember(self, effects: list[Effect]) -> None:
        self.picks = {}
        for effect in effects:
            if effect["effect"] == "offer":
                self.picks.setdefault(effect["contact"], []).append(effect["agent"])

    def _apply(self, event: dict[str, Any]) -> list[Effect] | None:
        """The effects of one event on which both agree; None if both refuse it."""
        refusal = None
        effects: list[Effect] = []
        try:
            effects = self.engine.apply(dict(event))
        except CordboardError as error:
            refusal = error
        self._remember(effects)
        try:
            expected = self.oracle.apply(event)
        except Refused as refused:
            if refusal is None:
                self._fail(f"the engine takes what the oracle refuses: {refused}; {effects}")
            return None
        if refusal is not None:
            self._fail(f"the engine refuses: {refusal}; the oracle says {expected}")
        self._compare(effects, expected)
        return effects

    def _compare(self, effects: list[Effect], expected: list[Effect]) -> None:
        got = [{key: effect[key] for key in COMPARED if key in effect} for effect in effects]
        want = [{key: effect[key] for key in COMPARED if key in effect} for effect in expected]
        if got != want:
            self._fail("engine:\n  " + "\n  ".join(map(str, got)) + "\noracle:\n  " + "\n  ".join(map(str, want)))

    def _fail(self, what: str) -> None:
        lines = "\n".join(json.dumps(event) for event in self.journal)
        raise Difference(f"{what}\ncenter: {self.center}\njournal:\n{lines}")


class OracleEngine:
    """The oracle with the face of an engine, to try the tests themselves on."""

    def __init__(self, center: Center) -> None:
        self.router = Router(center)

    @property
    def now(self) -> float:
        return self.router.now

    def next_timer(self) -> float | None:
        return self.router.next_timer()

    def advance(self, t: float) -> list[Effect]:
        return self.router.advance(t)

    def apply(self, event: dict[str, Any]) -> list[Effect]:
        try:
            return self.router.apply(event)
        except Refused as refused:
            raise CordboardError(str(refused)) from None
