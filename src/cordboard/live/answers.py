"""What the writer answers to a submission: for each event its entry, the first entry of its request, or why not."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Sequence

from cordboard.errors import ConflictError, CordboardError, JournalError, Where
from cordboard.live.entry import Entry, Outcome
from cordboard.live.inbox import Changes, Submission
from cordboard.live.store import Row

Plan = list[int | Row | CordboardError]  # for each event: its revision, the row of its request, or why it is refused
EntryOf = Callable[[Row, Callable[[Entry], None], Callable[[BaseException], None]], None]


class Answer:
    """Collects the outcomes of one submission and resolves its future when all are there."""

    def __init__(self, item: Submission, plan: Plan) -> None:
        self._item, self._plan = item, plan
        self._found: list[Outcome | None] = [None] * len(plan)
        self._missing = len(plan)
        self._lock = threading.Lock()  # outcomes of before may come from another thread

    def give(self, entries: Sequence[Entry], first: int, now: float, entry_of: EntryOf) -> None:
        """``entries``: of this round, from revision ``first`` on; ``entry_of`` finds those of before."""
        item = self._item
        if not self._plan:
            item.future.set_result([])
        for place, mark in enumerate(self._plan):
            if isinstance(mark, int):
                self._put(place, False, entries[mark - first])
            elif isinstance(mark, Row):
                if mark.revision >= first:
                    self._put(place, True, entries[mark.revision - first])
                else:
                    entry_of(mark, functools.partial(self._put, place, True), self._fail)
            elif item.many:
                never = Entry(0, now, item.events[place][0], (), mark, item.actor, item.request_ids[place])
                self._put(place, False, never)
            else:
                self._fail(mark)

    def _put(self, place: int, repeated: bool, entry: Entry) -> None:
        with self._lock:
            self._found[place] = Outcome(entry, repeated)
            self._missing -= 1
            done = self._missing == 0 and not self._item.future.done()
        if done:
            self._item.future.set_result(self._found if self._item.many else self._found[0])

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            done = not self._item.future.done()
        if done:
            self._item.future.set_exception(error)


def same_event(journaled: str, asked: str) -> bool:
    """Whether two events as JSON are the same, in whatever order their fields stand."""
    return journaled == asked or bool(json.loads(journaled) == json.loads(asked))


def conflict(request_id: str) -> ConflictError:
    what = f'request_id "{request_id}" came before with another event'
    return ConflictError(what, "Give each event an id of its own")


def of_the_future(queued_at: float) -> JournalError:
    """The clock was set back in the meantime."""
    return JournalError(f"{queued_at} is later than now", Where(key="queued_at"), "It can't lie in the future")


def out_of_date(changes: Changes, given: str, now: str) -> ConflictError:
    what = f'the center has changed: its etag is "{now}" and not "{given}"'
    if changes == "calls":
        what = f'the settings of calls have changed: their etag is "{now}" and not "{given}"'
    return ConflictError(what, "Read it again, and decide whether your change still fits")
