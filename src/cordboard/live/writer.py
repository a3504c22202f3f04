"""The writer: one thread through which everything goes that changes the center.

Round after round it takes what waits in the inbox, writes all of it to the journal in one transaction, and only then
applies it to the core, hands the entries to the hub, and resolves the futures. While a transaction is being synced to
the disk the next events gather, so groups grow with the load by themselves; nobody waits for a group to fill.

A store that fails makes the engine read-only: what waits is refused, looks are answered, timers stand still, and the
writer tries once a second to open and write the store until it works. Then it first applies what the journal has and
the core has not: of a commit that failed it is not known whether it is there. A core that fails on an event is made
anew from the journal in the same way, and that event is marked to be left out by every replay.

Where a commit costs no more than a few microseconds (a journal that is not synced), going over to another thread and
back would cost more than all else. There a round is made by whoever has put something into the inbox (``help``), one at
a time and in order all the same, and the thread does what nobody has asked for: timers, and trying a store again.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from cordboard.errors import EventError, LimitError, StoreError, UnavailableError
from cordboard.journal import tick
from cordboard.live.answers import Answer, Plan, conflict, of_the_future, out_of_date, same_event
from cordboard.live.archive import Archive
from cordboard.live.core import CLOCK, Core, CoreError, Event, event_of
from cordboard.live.entry import Entry, Outcome
from cordboard.live.hub import Hub
from cordboard.live.inbox import Changes, Inbox, Item, Look, Submission
from cordboard.live.requests import KEPT_TICKS, Requests
from cordboard.live.store import Row

RETRY_S = 1.0
HANDED_OUT = 100  # entries that are applied before they are handed out
LOOK_UP_S = 0.25  # the clock is looked at so often at least
CORE_FAILED = "the core failed"

_log = logging.getLogger("cordboard.live")


class _Round:
    """What is written in one transaction: rows, the events in them, and for each submission which are its own."""

    def __init__(self, core: Core, now: int) -> None:
        self.now = now
        self.rows: list[Row] = []
        self.events: list[Event] = []
        self.plans: dict[int, Plan] = {}  # place among the items -> its plan
        self.first = core.revision + 1
        self.etags: dict[Changes, str] = {"center": core.etag, "calls": core.calls_etag}
        self.clock = False  # whether the first row is a timer's

    def add(self, event: Event, text: str, actor: str, request_id: str) -> Row:
        row = Row(self.first + len(self.rows), self.now, text, actor, request_id)
        self.rows.append(row)
        self.events.append({"t": self.now / 1e6, **event})
        return row


class Writer:
    """See above. ``old_entry(row, done, failed)`` finds the entry of a row that the hub does not hold any more, and may
    answer later; ``after_round(core)`` is called after every round, on the writer's thread."""

    def __init__(
        self,
        archive: Archive,
        core: Core,
        hub: Hub,
        inbox: Inbox,
        requests: Requests,
        clock: Callable[[], float],
        group_events: int,
        old_entry: Callable[[Row, Callable[[Entry], None], Callable[[BaseException], None]], None],
        after_round: Callable[[Core], None],
    ) -> None:
        self.core, self.hub = core, hub
        self._archive, self._store, self._inbox = archive, archive.store, inbox
        self._requests = requests
        self._clock, self._group_events = clock, group_events
        self._old_entry, self._after_round = old_entry, after_round
        self.fault = ""  # why nothing can be journaled now, or empty
        self._core_error: CoreError | None = None
        self._retry_at = 0.0
        self._turn = threading.Lock()  # held by whoever makes a round
        self._awake_at = math.inf  # when the thread looks at the clock again, in the clock's seconds
        self._thread = threading.Thread(target=self._run, name="cordboard-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    # ---- rounds

    def _run(self) -> None:
        while self._inbox.wait(self._patience()):
            with self._turn:
                self._work(retries=True)

    def help(self) -> None:
        """Work off what waits, on the thread of whoever has put something there, unless another one is at it: that one
        will find it."""
        while self._inbox.size:
            if self.fault:  # it is the thread that tries again
                self._inbox.wake()
                return
            if not self._turn.acquire(blocking=False):
                return
            try:
                self._work()
                due = self.core.next_timer()
            finally:
                self._turn.release()
            if due is not None and due < self._awake_at:
                self._inbox.wake()

    def _work(self, *, retries: bool = False) -> None:
        """One round; the turn is held. ``retries``: a store that failed is tried again before it, if it is time."""
        live = [item for item in self._inbox.take(self._group_events) if item.future.set_running_or_notify_cancel()]
        try:
            if retries and self.fault and time.monotonic() >= self._retry_at:
                self._try_again()
            if self.fault:
                self._refuse(live)
            else:
                self._round(live)
                self._after_round(self.core)
        except BaseException as error:  # a fault of ours: nobody may wait for ever, and nothing more is acknowledged
            _log.critical("the writer failed and stops", exc_info=True)
            self.fault = f"the writer failed: {error!r}"
            self._inbox.close()
            self._refuse([item for item in live if not item.future.done()])
            while rest := self._inbox.take(self._group_events):
                self._refuse([item for item in rest if item.future.set_running_or_notify_cancel()])

    def _patience(self) -> float:
        """How long nothing needs to be done if nobody asks, seconds."""
        if self.fault:
            return max(self._retry_at - time.monotonic(), 0.0)
        now, due = self._clock(), self.core.next_timer()
        patience = LOOK_UP_S if due is None else min(max(due - now, 0.0), LOOK_UP_S)
        self._awake_at = now + patience
        return patience

    def _round(self, items: list[Item]) -> None:
        now = max(self.core.ticks, tick(self._clock()))
        turn = _Round(self.core, now)
        due = self.core.next_timer()
        if due is not None and tick(due) <= now:
            turn.add({"event": "clock"}, CLOCK, "", "")
            turn.clock = True
        try:
            self._plan(turn, items)
            if turn.rows:
                self._store.append(turn.rows)
        except StoreError as error:
            _log.error("read-only: %s", error)
            self._fail(error.kind, RETRY_S, items)
            return
        try:
            self._perform(turn, items)
        except CoreError as failed:
            _log.critical("the core failed on revision %d", failed.revision, exc_info=failed.cause)
            self._core_error = failed
            self._fail(CORE_FAILED, 0.0, items)

    # ---- before the commit

    def _plan(self, turn: _Round, items: Sequence[Item]) -> None:
        """Number the events, and leave out those whose request_id was journaled before."""
        wanted = [id for item in items if isinstance(item, Submission) for id in item.request_ids if id]
        known = self._known(wanted, turn.now - KEPT_TICKS) if wanted else {}
        for place, item in enumerate(items):
            if isinstance(item, Submission):
                turn.plans[place] = self._plan_one(turn, item, known)

    def _known(self, request_ids: Sequence[str], since: int) -> dict[str, Row]:
        """The rows of those that were journaled in the last 24 hours."""
        candidates = self._requests.find(request_ids)
        if not candidates:
            return {}
        rows = self._store.get(list(candidates.values()))
        found = {request_id: rows[revision] for request_id, revision in candidates.items() if revision in rows}
        return {key: row for key, row in found.items() if row.request_id == key and row.ticks > since}

    def _plan_one(self, turn: _Round, item: Submission, known: dict[str, Row]) -> Plan:
        plan: Plan = []
        for (event, text), request_id in zip(item.events, item.request_ids, strict=True):
            first = known.get(request_id) if request_id else None
            if first is not None:
                plan.append(first if same_event(first.event, text) else conflict(request_id))
                continue
            if item.refusal is not None:
                plan.append(item.refusal)
                continue
            if item.etag and item.etag != turn.etags[item.changes]:
                plan.append(out_of_date(item.changes, item.etag, turn.etags[item.changes]))
                continue
            if "queued_at" in event and tick(event["queued_at"]) > turn.now:  # it was not when it was submitted
                plan.append(of_the_future(event["queued_at"]))
                continue
            row = turn.add(event, text, item.actor, request_id)
            plan.append(row.revision)
            if request_id:
                known[request_id] = row
            if item.new_etag:
                turn.etags[item.changes] = item.new_etag
        return plan

    # ---- after the commit

    def _perform(self, turn: _Round, items: list[Item]) -> None:
        """Apply what is in the journal now, and hand it out by the hundred. A look sees what stood before it."""
        entries: list[Entry] = []
        answers: list[Callable[[list[Entry]], None]] = []
        if turn.clock:
            entries.append(self._apply_one(turn.rows[0], turn.events[0]))
        for place, item in enumerate(items):
            if isinstance(item, Look):
                answers.append(self._look(item))
                continue
            plan = turn.plans[place]
            for mark in plan:
                if type(mark) is int:
                    at = mark - turn.first
                    entries.append(self._apply_one(turn.rows[at], turn.events[at]))
            answers.append(functools.partial(self._answer, item, plan, turn.now))
            if len(entries) >= HANDED_OUT:
                self._hand_out(entries, answers)
                entries, answers = [], []
        self._hand_out(entries, answers)

    def _hand_out(self, entries: list[Entry], answers: list[Callable[[list[Entry]], None]]) -> None:
        if entries:
            self.hub.publish(entries)
        for answer in answers:
            answer(entries)

    def _answer(self, item: Submission, plan: Plan, now: int, entries: list[Entry]) -> None:
        first = entries[0].revision if entries else self.core.revision + 1
        if plan and type(plan[0]) is int and type(plan[-1]) is int and plan[-1] - plan[0] == len(plan) - 1:
            # All of it was journaled now, as nearly always: the shortest way.
            found = [Outcome(entry, False) for entry in entries[plan[0] - first : plan[-1] - first + 1]]
            item.future.set_result(found if item.many else found[0])
        else:
            Answer(item, plan).give(entries, first, now / 1e6, self._entry_of)

    def _apply_one(self, row: Row, event: Event) -> Entry:
        if row.request_id:
            self._requests.add(row.request_id, row.revision, row.ticks)
        return self.core.apply(row, event)

    def _look(self, item: Look) -> Callable[[list[Entry]], None]:
        """Call it now; the answer is to be given later."""
        future = item.future
        if self._core_error is not None:
            error: BaseException = UnavailableError("the center is being made anew from its journal", CORE_FAILED)
            return lambda _: future.set_exception(error)
        try:
            value = item.look(self.core)
        except Exception as raised:  # the caller's own; it goes back to the caller
            error = raised
            return lambda _: future.set_exception(error)
        return lambda _: future.set_result(value)

    def _entry_of(self, row: Row, done: Callable[[Entry], None], failed: Callable[[BaseException], None]) -> None:
        """The entry of a row of before, at once if it is held."""
        held = self.hub.held(row.revision)
        if held is not None:
            done(held)
        else:
            self._old_entry(row, done, failed)

    # ---- when the store or the core fails

    def _fail(self, fault: str, retry_s: float, items: Sequence[Item]) -> None:
        self.fault = fault
        self._retry_at = time.monotonic() + retry_s
        self._refuse(items)

    def _refuse(self, items: Sequence[Item]) -> None:
        for item in items:
            if item.future.done():
                continue
            if isinstance(item, Look):
                self._look(item)([])
            else:
                item.future.set_exception(UnavailableError("the journal can't be written", f"read-only: {self.fault}"))

    def _try_again(self) -> None:
        """Open the store anew, see that it can be written, and catch up with it."""
        self._retry_at = time.monotonic() + RETRY_S
        try:
            self._store.close()
            self._archive.open()
            self._store.probe()
            missed = self._catch_up()
            self._archive.adopt(self.core, self.hub, max(self.core.ticks, tick(self._clock())))
        except StoreError as error:
            if error.kind != self.fault:
                _log.error("read-only: %s", error)
            if self._core_error is None:
                self.fault = error.kind
            return
        except CoreError as failed:
            _log.critical("the core failed on revision %d", failed.revision, exc_info=failed.cause)
            self._core_error = failed
            self.fault, self._retry_at = CORE_FAILED, 0.0
            return
        except (EventError, LimitError) as refused:
            _log.error("the center that was given at the start is not taken over: %s", refused)
        _log.warning("the journal is written again; %d of its rows were not applied before", missed)
        self.fault = ""

    def _catch_up(self) -> int:
        """Apply what is in the journal and not published; after an error of the core, with a new one."""
        published = self.hub.revision
        if self._core_error is not None:
            self._archive.skip(self._core_error.revision, repr(self._core_error.cause))
            self.core = self._archive.recover(self.hub)
            self._core_error = None
        for row in self._store.rows(after=self.core.revision):
            self.hub.publish([self._apply_one(row, event_of(row))])
        return self.hub.revision - published
