"""Which request was journaled at which revision, for 24 hours, in 32 to 64 bytes each.

An index of request ids in the journal itself would cost more than the journal: ids are random, so each one would dirty
a page of its own. Here the 64-bit hashes of ids stand in maps, one for each hour or so, and a map is dropped when all
in it is older than 24 hours. A find is a candidate: whoever asks compares the id with the row's. After a restart the
maps are made from the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cordboard._core.idmap import IdMap

KEPT_TICKS = 24 * 3600 * 1_000_000
MAP_TICKS = 3600 * 1_000_000  # of one map: so much longer at most is an id kept than it needs to be
MAP_MAX = 500_000  # ids in one map


@dataclass(slots=True)
class _Hour:
    began: int  # ticks
    map: IdMap = field(default_factory=IdMap)


class Requests:
    """See above. ``most``: ids that are kept; of more, the oldest are forgotten before their 24 hours are over."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._hours = [_Hour(0)]  # oldest first
        self._add = self._hours[0].map.add

    def __len__(self) -> int:
        return sum(len(hour.map) for hour in self._hours)

    def add(self, request_id: str, revision: int, ticks: int) -> None:
        """Remember one. Revisions and ticks (µs since the epoch) never fall."""
        last = self._hours[-1]
        if ticks - last.began > MAP_TICKS or len(last.map) >= MAP_MAX:
            self._begin(ticks)
        self._add(hash(request_id), revision)

    def add_all(self, pages: Iterable[list[tuple[int, int, str]]]) -> None:
        """Remember many, by the page: (revision, ticks, request id)."""
        for page in pages:
            last = self._hours[-1]
            if page[-1][1] - last.began > MAP_TICKS or len(last.map) >= MAP_MAX:
                self._begin(page[0][1])
            self._hours[-1].map.add_rows(page)

    def find(self, request_ids: Sequence[str]) -> dict[str, int]:
        """The last revision that each of these may have been journaled at. Those that were not are left out, but for
        the odd one whose hash is another's."""
        found: dict[str, int] = {}
        for request_id in request_ids:
            key = hash(request_id)
            for hour in self._hours:  # a later one has the later revision
                revision = hour.map.find(key)
                if revision:
                    found[request_id] = revision
        return found

    def _begin(self, ticks: int) -> None:
        """Begin another map, and drop those that are old (the next one began after all in it) or too many."""
        self._hours.append(_Hour(ticks))
        self._add = self._hours[-1].map.add
        while len(self._hours) > 1 and (self._hours[1].began <= ticks - KEPT_TICKS or len(self) > self._most):
            del self._hours[0]
