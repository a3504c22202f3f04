"""A short way to write a scenario: ``day("3 offer_accepted c1 li")`` gives ``["0 offer c2 wang", ...]``."""

from __future__ import annotations

from typing import Any

from cordboard.journal import EVENTS, check_event
from cordboard.replay import Engine


class Day:
    """An engine spoken to in short lines: time, event, then the event's required fields in order."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, line: str, **more: Any) -> list[str]:
        """The effects of the line as ``time effect contact agent to reason``, as far as they have these."""
        t, kind, *words = line.split()
        event: dict[str, Any] = {"t": float(t), "event": kind}
        for key, word in zip(EVENTS[kind][0], words, strict=True):
            event[key] = float(word) if key == "priority" else word
        effects = self.engine.apply(check_event(event | more))
        return [self.short(effect) for effect in effects]

    def all(self, *lines: str) -> list[str]:
        """The effects of several lines."""
        return [effect for line in lines for effect in self(line)]

    @staticmethod
    def short(effect: dict[str, Any]) -> str:
        keys = ("effect", "contact", "agent", "to") + ("reason",) * (effect["effect"] != "offer_withdrawn")
        parts = [effect[key] for key in keys if effect.get(key) is not None]
        return " ".join([f"{effect['t']:g}", *parts])
