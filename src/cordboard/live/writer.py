"""The writer: one thread through which everything goes that changes the center.

Round after round it takes what waits in the inbox, writes all of it to the journal in one transaction, and only then
applies it to the core, hands the entries to the hub, and resolves the futures. While a transaction is being synced to
the disk the next events gather, so groups grow with the load by themselves; nobody waits for a group to fill.

A store that fails makes the engine read-only: what waits is refused, looks are answered, timers stand still, and the
writer tries to open and write the store once a second until it works. Then it first applies what the journal has and
the core has not (a commit that failed half-way may be there after all).
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from cordboard.errors import ConflictError, CordboardError, StoreError, UnavailableError
from cordboard.journal import tick
from cordboard.live.core import Core, Event, event_of
from cordboard.live.entry import Entry, Outcome
from cordboard.live.hub import Hub
from cordboard.live.inbox import Inbox, Item, Look, Submission
from cordboard.live.store import Row, Store

REQUEST_KEPT_TICKS = 24 * 3600 * 1_000_000
RETRY_S = 1.0
LOOK_UP_S = 0.25  # the clock is looked at so often at least

_log = logging.getLogger("cordboard.live")

Plan = list[int | Row | CordboardError]  # for each event of a submission: its revision, its first row, why not


class Writer:
    """See above. ``old_entry`` gives the entry of a row that the hub does not hold any more; it may be called late."""

    def __init__(
        self,
        store: Store,
        core: Core,
        hub: Hub,
        inbox: Inbox,
        clock: Callable[[], float],
        group_events: int,
        old_entry: Callable[[Row, Callable[[Entry], None], Callable[[BaseException], None]], None],
    ) -> None:
        self.store, self.core, self.hub, self.inbox = store, core, hub, inbox
        self._clock, self._group_events, self._old_entry = clock, group_events, old_entry
        self.fault = ""  # why the journal can't be written, or empty
        self._retry_at = 0.0
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cordboard-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    # ---- rounds

    def _run(self) -> None:
        try:
            while True:
                items = self.inbox.take(self._group_events, self._patience())
                if items is None:
                    break
                if self.fault and time.monotonic() >= self._retry_at:
                    self._try_again()
                if self.fault:
                    self._answer_without_store(items)
                else:
                    self._round(items)
        finally:
            self.closed.set()

    def _patience(self) -> float:
        """How long nothing needs to be done if nobody asks, seconds."""
        if self.fault:
            return max(self._retry_at - time.monotonic(), 0.0)
        due = self.core.acd.next_timer()
        return LOOK_UP_S if due is None else min(max(due - self._clock(), 0.0), LOOK_UP_S)

    def _now(self) -> int:
        return max(self.core.ticks, tick(self._clock()))

    def _round(self, items: list[Item]) -> None:
        live = [item for item in items if item.future.set_running_or_notify_cancel()]
        now = self._now()
        due = self.core.acd.next_timer()
        rows: list[Row] = []
        events: list[Event] = []
        if due is not None and tick(due) <= now:
            rows.append(Row(self.core.revision + 1, now, '{"event":"clock"}', "", ""))
            events.append({"t": now / 1e6, "event": "clock"})
        try:
            plans = self._plan(live, now, rows, events)
            if rows:
                self.store.append(rows)
        except StoreError as error:
            self._fail(error, live)
            return
        self._perform(live, plans, rows, events)

    # ---- before the commit

    def _plan(self, items: Sequence[Item], now: int, rows: list[Row], events: list[Event]) -> dict[int, Plan]:
        """Number the events, and leave out those whose request_id was journaled before."""
        wanted = [id for item in items if isinstance(item, Submission) for id in item.request_ids if id]
        known = self.store.find(wanted, now - REQUEST_KEPT_TICKS) if wanted else {}
        revision = rows[-1].revision if rows else self.core.revision
        plans: dict[int, Plan] = {}
        for place, item in enumerate(items):
            if not isinstance(item, Submission):
                continue
            plan = plans[place] = []
            for event, text, request_id in zip(item.events, item.texts, item.request_ids, strict=True):
                first = known.get(request_id) if request_id else None
                if first is not None:
                    plan.append(first if same_event(first.event, text) else conflict(request_id))
                    continue
                revision += 1
                row = Row(revision, now, text, item.actor, request_id)
                rows.append(row)
                events.append({"t": now / 1e6, **event})
                plan.append(revision)
                if request_id:
                    known[request_id] = row
        return plans

    # ---- after the commit

    def _perform(self, items: list[Item], plans: dict[int, Plan], rows: list[Row], events: list[Event]) -> None:
        """Apply what is in the journal now, publish, resolve. Looks see what stood before them in the inbox."""
        entries: list[Entry] = []
        first = self.core.revision + 1
        looked: list[tuple[Look, Any, BaseException | None]] = []
        if rows and rows[0].event == '{"event":"clock"}' and not rows[0].actor:
            entries.append(self.core.apply(rows[0], events[0]))
        for place, item in enumerate(items):
            if isinstance(item, Look):
                looked.append((item, *self._look(item)))
                continue
            for mark in plans[place]:
                if isinstance(mark, int):
                    entries.append(self.core.apply(rows[mark - first], events[mark - first]))
        if entries:
            self.hub.publish(entries)
        for look, value, error in looked:
            if error is None:
                look.future.set_result(value)
            else:
                look.future.set_exception(error)
        for place, plan in plans.items():
            item = items[place]
            assert isinstance(item, Submission)
            _Answer(item, plan).give(entries, first, self)

    def _look(self, item: Look) -> tuple[Any, BaseException | None]:
        try:
            return item.look(self.core.acd), None
        except Exception as error:  # the caller's own; it goes back to the caller
            return None, error

    def entry_of(self, row: Row, done: Callable[[Entry], None], failed: Callable[[BaseException], None]) -> None:
        """The entry of a row of before, at once if it is held."""
        held = self.hub.held(row.revision)
        if held is not None:
            done(held)
        else:
            self._old_entry(row, done, failed)

    # ---- without a store

    def _fail(self, error: StoreError, items: Sequence[Item]) -> None:
        self.fault = error.kind
        self._retry_at = time.monotonic() + RETRY_S
        _log.error("read-only: %s", error)
        self._refuse(items)

    def _answer_without_store(self, items: Sequence[Item]) -> None:
        self._refuse([item for item in items if item.future.set_running_or_notify_cancel()])

    def _refuse(self, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Look):
                value, error = self._look(item)
                if error is None:
                    item.future.set_result(value)
                else:
                    item.future.set_exception(error)
            else:
                item.future.set_exception(UnavailableError("the journal can't be written", f"read-only: {self.fault}"))

    def _try_again(self) -> None:
        """Open the store anew, see that it can be written, and catch up with it."""
        self._retry_at = time.monotonic() + RETRY_S
        try:
            self.store.close()
            self.store.open()
            self.store.probe()
            missed = list(self.store.rows(after=self.core.revision))
        except StoreError as error:
            if error.kind != self.fault:
                _log.error("read-only: %s", error)
            self.fault = error.kind
            return
        self.hub.publish([self.core.apply(row, event_of(row)) for row in missed])
        _log.warning("the journal can be written again; %d rows were there of commits that had failed", len(missed))
        self.fault = ""


class _Answer:
    """Collects the outcomes of one submission and resolves its future when all are there."""

    def __init__(self, item: Submission, plan: Plan) -> None:
        self._item, self._plan = item, plan
        self._found: list[Outcome | None] = [None] * len(plan)
        self._missing = len(plan)
        self._lock = threading.Lock()

    def give(self, entries: Sequence[Entry], first: int, writer: Writer) -> None:
        item = self._item
        if not self._plan:
            item.future.set_result([])
        for place, mark in enumerate(self._plan):
            if isinstance(mark, int):
                self._put(place, Outcome(entries[mark - first], False))
            elif isinstance(mark, Row):
                writer.entry_of(mark, functools.partial(self._repeat, place), self._fail)
            elif item.many:
                never = Entry(0, writer.core.acd.now, item.events[place], (), mark, item.actor, item.request_ids[place])
                self._put(place, Outcome(never, False))
            else:
                self._fail(mark)

    def _repeat(self, place: int, entry: Entry) -> None:
        self._put(place, Outcome(entry, True))

    def _put(self, place: int, outcome: Outcome) -> None:
        with self._lock:
            self._found[place] = outcome
            self._missing -= 1
            done = self._missing == 0
        if done and not self._item.future.done():
            self._item.future.set_result(self._found if self._item.many else outcome)

    def _fail(self, error: BaseException) -> None:
        if not self._item.future.done():
            self._item.future.set_exception(error)


def same_event(journaled: str, asked: str) -> bool:
    """Whether two events as JSON are the same, in whatever order their fields stand."""
    return journaled == asked or bool(json.loads(journaled) == json.loads(asked))


def conflict(request_id: str) -> ConflictError:
    return ConflictError(
        f'request_id "{request_id}" came before with another event', "Give each event an id of its own"
    )
