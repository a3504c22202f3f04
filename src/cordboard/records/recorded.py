"""The index of recordings as a function of the journal: one row each, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cordboard.media.backend import RECORDING_SUFFIX

if TYPE_CHECKING:
    from cordboard.records.projection import Row

DAY_S = 86_400.0


class Recorded:
    """The rows of recordings that are not over. ``add`` makes a row, ``change`` changes one."""

    def __init__(self, add: Callable[..., Row], change: Callable[..., None], rows: Iterable[Row]) -> None:
        self._add, self._set = add, change
        self._open = {row.values["recording"]: row for row in rows}

    def begin(self, effect: Mapping[str, Any], revision: int, contact_revision: int | None) -> None:
        """The command to record; it is said again to a node that came back."""
        name, t = effect["recording"], float(effect["t"])
        if name in self._open:
            return
        days = effect.get("keep_days")
        said = {key: effect.get(key) for key in ("contact", "queue", "agent", "caller", "number", "campaign", "entry")}
        self._open[name] = self._add(
            "recordings",
            recording=name,
            revision=revision,
            contact_revision=contact_revision,
            **{key: value or None for key, value in said.items()},
            node=effect["node"],
            file=name + RECORDING_SUFFIX,
            began_at=t,
            keep_until=None if not days else t + DAY_S * float(days),
            seconds=None,
            missing=None,
            state="recording",
            ended_at=None,
            ended_revision=None,
        )

    def end(self, event: Mapping[str, Any], revision: int) -> None:
        """What a node says of recordings, and that it is gone."""
        kind, t = event["event"], float(event["t"])
        if kind == "node_lost":
            for row in [row for row in self._open.values() if row.values["node"] == event["node"]]:
                self._over(row, "lost", t, revision)
            return
        found = self._open.get(event["recording" if kind == "leg_recorded" else "name"])
        if found is None or found.values["node"] != event["node"]:
            return
        if kind == "leg_recorded":
            missing = float(event.get("missing", 0.0))
            facts = {"file": event["file"], "seconds": float(event["seconds"]), "missing": missing}
            self._over(found, "short" if missing else "whole", t, revision, **facts)
        elif event["command"] == "Record":
            self._over(found, "refused", t, revision)

    def _over(self, row: Row, state: str, t: float, revision: int, **facts: Any) -> None:
        del self._open[row.values["recording"]]
        self._set(row, state=state, ended_at=t, ended_revision=revision, **facts)
