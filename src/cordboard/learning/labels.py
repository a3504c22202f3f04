"""Predictions that wait for their outcome. Labels come late, some never: the queue is bounded and accounts for the
delay."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from numbers import Real
from typing import Generic, TypeVar

from cordboard.errors import EventError, LimitError, StaleEventError, Where

T = TypeVar("T")


@dataclass(slots=True)
class DelayAccount:
    """What became of the predictions. Seconds are between prediction and label."""

    made: int = 0
    learned: int = 0
    expired: int = 0
    seconds: float = 0.0
    seconds_max: float = 0.0

    @property
    def mean_delay(self) -> float:
        """Mean seconds from prediction to label; 0 before the first."""
        return self.seconds / self.learned if self.learned else 0.0


def _check_time(key: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise EventError(f"{value!r} is no time", Where(key=key), "Use seconds.")


class LabelQueue(Generic[T]):
    """Pending predictions by call, oldest first. ``limit``: how many may wait; LimitError beyond, and nothing is
    changed."""

    def __init__(self, limit: int = 100_000) -> None:
        self.limit = limit
        self.account = DelayAccount()
        self._pending: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, call: str) -> bool:
        return call in self._pending

    def put(self, call: str, item: T, now: float) -> None:
        """Start to wait for the outcome of ``call``. ``now``: seconds; EventError for another time or no name."""
        _check_time("now", now)
        if not isinstance(call, str) or not call:
            raise EventError(f"{call!r} is no id of a call", Where(key="call"), "Give a text.")
        if call in self._pending:
            raise EventError(
                f"call {call!r} waits for its outcome already", Where(key=call), "Give every call its own id."
            )
        if len(self._pending) >= self.limit:
            raise LimitError(
                f"{len(self._pending)} predictions wait for their outcome",
                self.limit,
                "Learn or expire() older ones first.",
            )
        self._pending[call] = (now, item)
        self.account.made += 1

    def take(self, call: str, now: float) -> T:
        """The prediction of ``call``, whose outcome has come. StaleEventError if none waits."""
        _check_time("now", now)
        found = self._pending.pop(call, None) if isinstance(call, str) else None
        if found is None:
            raise StaleEventError(
                f"no prediction waits for call {call!r}",
                Where(key=call),
                "It was learned, expired, or never predicted.",
            )
        then, item = found
        self.account.learned += 1
        self.account.seconds += now - then
        self.account.seconds_max = max(self.account.seconds_max, now - then)
        return item

    def expire(self, now: float, older: float) -> int:
        """Forget predictions made ``older`` seconds ago or more; how many."""
        _check_time("now", now)
        _check_time("older", older)
        count = 0
        while self._pending:
            call, (then, _) = next(iter(self._pending.items()))
            if now - then < older:
                break
            del self._pending[call]
            count += 1
        self.account.expired += count
        return count
