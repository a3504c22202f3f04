"""Key figures of a live center over a time, from its journal."""

from __future__ import annotations

from collections.abc import Iterable

from cordboard.center import Center
from cordboard.kpi import QueueTallies, Tally
from cordboard.live.entry import Entry

NO_TARGET_S = 20.0  # threshold of a queue that the center of today does not have


class _ByQueue(dict[str, Tally]):
    """Tallies that begin when they are first asked for: a journal may know queues that the center no longer has."""

    def __init__(self, center: Center, threshold: float | None) -> None:
        super().__init__()
        self._targets = {queue.name: queue.target_within for queue in center.queues}
        self._threshold = threshold
        for name in self._targets:
            self[name]  # those of today are there from the beginning, in the order of the file

    def __missing__(self, name: str) -> Tally:
        within = self._targets.get(name, NO_TARGET_S) if self._threshold is None else self._threshold
        tally = self[name] = Tally(threshold_s=within)
        return tally


def queue_tallies(
    center: Center,
    entries: Iterable[Entry],
    start: float = 0.0,
    end: float | None = None,
    threshold: float | None = None,
) -> tuple[dict[str, Tally], int]:
    """(a tally for each queue, the last revision that was counted) for start <= t < end, Unix seconds.

    ``entries``: of a journal, from its first on. A contact is offered in the time in which it enters a queue, and
    answered, abandoned and so on in the time in which that happens. ``threshold``: T of every queue, seconds; None for
    each queue's own.
    """
    tallies = QueueTallies({})
    tallies.by_queue = _ByQueue(center, threshold)
    revision, began = 0, start <= 0.0
    for entry in entries:
        if end is not None and entry.t >= end:
            break
        if not began and entry.t >= start:
            tallies.by_queue, began = _ByQueue(center, threshold), True
        tallies.observe(None if entry.error is not None else entry.event, entry.effects)
        revision = entry.revision
    return dict(tallies.by_queue) if began else dict(_ByQueue(center, threshold)), revision
