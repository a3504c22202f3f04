"""Which request was journaled at which revision, for 24 hours, in 16 bytes each.

An index of request ids in the journal itself would cost more than the journal: ids are random, so each one would dirty a
page of its own. Here the ids of late stand in a dict and the older ones in sorted arrays, which are merged as they grow
and dropped when all in them are old. What is kept of an id is its 64-bit hash: a find is a candidate, and whoever asks
compares it with the row. After a restart the index is made from the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

KEPT_TICKS = 24 * 3600 * 1_000_000
LATE_MAX = 16_384  # ids in the dict
RUN_MAX = 2_000_000  # ids in one array: so many at most are kept longer than they need to be

Ints = npt.NDArray[np.int64]


class _Run(NamedTuple):
    hashes: Ints  # ascending
    revisions: Ints
    ticks: int  # of the youngest


class Requests:
    """See above. ``most``: ids that are kept; of more, the oldest are forgotten before their 24 hours are over."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._late: dict[int, int] = {}
        self._runs: list[_Run] = []  # oldest first

    def __len__(self) -> int:
        return len(self._late) + sum(len(run.hashes) for run in self._runs)

    def add(self, request_id: str, revision: int, ticks: int) -> None:
        """Remember one. Revisions and ticks (µs since the epoch) never fall."""
        self._late[hash(request_id)] = revision
        if len(self._late) >= LATE_MAX:
            self._settle(ticks)

    def add_all(self, requests: Iterable[tuple[int, int, str]]) -> None:
        """Remember many: (revision, ticks, request id)."""
        for revision, ticks, request_id in requests:
            self.add(request_id, revision, ticks)

    def find(self, request_ids: Sequence[str]) -> dict[str, int]:
        """The last revision that each of these may have been journaled at. Those that were not are left out, but for
        the odd one whose hash is another's."""
        found: dict[str, int] = {}
        left = []
        for request_id in request_ids:
            revision = self._late.get(hash(request_id))
            if revision is None:
                left.append(request_id)
            else:
                found[request_id] = revision
        if left and self._runs:
            hashes = np.fromiter(map(hash, left), np.int64, len(left))
            for run in self._runs:  # a later run has the later revision
                places = np.searchsorted(run.hashes, hashes)
                places[places == len(run.hashes)] = 0
                for hit in np.nonzero(run.hashes[places] == hashes)[0]:
                    found[left[hit]] = int(run.revisions[places[hit]])
        return found

    def _settle(self, ticks: int) -> None:
        """Make a run of the dict, merge runs of about one size, and drop what is old."""
        hashes = np.fromiter(self._late.keys(), np.int64, len(self._late))
        revisions = np.fromiter(self._late.values(), np.int64, len(self._late))
        self._late.clear()
        order = np.argsort(hashes)
        self._runs.append(_Run(hashes[order], revisions[order], ticks))
        while len(self._runs) > 1 and len(self._runs[-2].hashes) <= min(2 * len(self._runs[-1].hashes), RUN_MAX // 2):
            younger, older = self._runs.pop(), self._runs.pop()
            self._runs.append(_merged(older, younger))
        while self._runs[0].ticks <= ticks - KEPT_TICKS or (len(self) > self._most and len(self._runs) > 1):
            del self._runs[0]


def _merged(older: _Run, younger: _Run) -> _Run:
    hashes = np.concatenate([older.hashes, younger.hashes])
    revisions = np.concatenate([older.revisions, younger.revisions])
    order = np.lexsort((revisions, hashes))
    hashes, revisions = hashes[order], revisions[order]
    last = np.append(hashes[1:] != hashes[:-1], True)  # of an id that was used again, the last revision
    return _Run(hashes[last], revisions[last], younger.ticks)
