"""The entries of one list that are still to be dialed: in order, by time zone, those of later apart."""

from __future__ import annotations

import heapq
import zoneinfo
from collections import deque
from collections.abc import Iterable, Sequence

from cordboard.campaigns import hours

LOOK_S = 30.0  # whether a zone is open is looked at so often


class Shelf:
    """``spans``: when people may be called, in the time zone of their number."""

    def __init__(self, spans: Sequence[hours.Span]) -> None:
        self._spans = spans
        self._now: dict[str, deque[int]] = {}
        self._later: list[tuple[float, int, str]] = []
        self._open: dict[str, tuple[float, bool]] = {}

    def put(self, entry: int, zone: str, due: float = 0.0) -> None:
        """An entry is to be dialed from ``due`` on."""
        if due:
            heapq.heappush(self._later, (due, entry, zone))
        else:
            self._now.setdefault(zone, deque()).append(entry)

    def is_open(self, zone: str, now: float) -> bool:
        """Whether people in a zone may be called."""
        looked_at, found = self._open.get(zone, (-LOOK_S, False))
        if not 0.0 <= now - looked_at < LOOK_S or int(now // 60) != int(looked_at // 60):
            found = hours.is_open(self._spans, now, zoneinfo.ZoneInfo(zone))
            self._open[zone] = (now, found)
        return found

    def _due(self, now: float) -> Iterable[deque[int]]:
        while self._later and self._later[0][0] <= now:
            _, entry, zone = heapq.heappop(self._later)
            self._now.setdefault(zone, deque()).append(entry)
        return [line for zone, line in self._now.items() if line and self.is_open(zone, now)]

    def count(self, now: float) -> int:
        """How many may be dialed now."""
        return sum(map(len, self._due(now)))

    def take(self, now: float) -> int | None:
        """The next one that may be dialed now: the zones in turns."""
        lines = list(self._due(now))
        if not lines:
            return None
        line = max(lines, key=len)
        return line.popleft()
