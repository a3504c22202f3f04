"""Secret digits: what a caller types at a secret step of a flow gets into the journal as ``?``.

The caller hears the prompt after the node was told to play it, and the node is told after the effect was seen here: so
what is typed to that prompt is covered. The node is told, too, and covers digits when they are typed: what it reports
later, when the step is over, was covered before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cordboard.calls.state import Stage
from cordboard.calls.switchboard import Switchboard
from cordboard.media.backend import HIDDEN, HideKeys


class SecretKeys:
    """The legs of one node on which secret digits are typed now."""

    def __init__(self, node: str, legs: Iterable[str] = ()) -> None:
        self._node, self._legs = node, set(legs)

    def follow(self, effects: Iterable[Mapping[str, Any]]) -> list[HideKeys]:
        """Take what the switchboard decided; what the node must be told of it."""
        found = []
        for effect in effects:
            if effect["effect"] == "keys_hidden" and effect["node"] == self._node:
                (self._legs.add if effect["on"] else self._legs.discard)(effect["leg"])
                found.append(HideKeys(effect["leg"], effect["on"]))
        return found

    def covered(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event of a report as it may stand in the journal."""
        if event["event"] == "leg_key" and event["leg"] in self._legs and event["key"].isdecimal():
            return event | {"key": HIDDEN}
        if event["event"] == "leg_ended":
            self._legs.discard(event["leg"])
        return event


def secret_legs(board: Switchboard | None) -> list[str]:
    """The legs on which secret digits are typed, when a node attaches in the middle of it."""
    if board is None:
        return []
    calls = [call for call in board.state.calls.values() if call.stage == Stage.FLOW and call.legs]
    steps = [(call, board.guide.step(call)) for call in calls]
    return [call.legs[0] for call, step in steps if step is not None and step.secret]
