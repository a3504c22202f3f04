"""The live engine: a center at work, with a journal that loses nothing.

An event is journaled first (durably, in a group with others), then applied by the core, then its effects are handed
out. So what was acknowledged is on disk, and after a crash the journal makes the same center again: same contacts, same
places, same offers. See docs/background/live.md.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from cordboard.acd import Acd
from cordboard.calls.config import Calls
from cordboard.calls.switchboard import Switchboard
from cordboard.center import UNFIT, Center
from cordboard.errors import (
    CordboardError,
    InputError,
    JournalError,
    LimitError,
    SnapshotError,
    StoreError,
    UnavailableError,
    Where,
)
from cordboard.journal import CALL_EVENTS, EVENTS, NAME_CHARACTERS_MAX, check_event, tick
from cordboard.live.apart import Apart
from cordboard.live.archive import Archive
from cordboard.live.center_json import encode, etag_of
from cordboard.live.clock import EvenClock
from cordboard.live.compaction import Compaction, Needs, backed_up
from cordboard.live.core import Core, Event, calls_changed, calls_etag, center_changed
from cordboard.live.drain import Drain
from cordboard.live.entry import EngineState, Entry, Outcome
from cordboard.live.hub import Hub, Subscription
from cordboard.live.inbox import Asked, Changes, Checked, Inbox, Item, Look, Reply, Submission
from cordboard.live.requests import KEPT_TICKS, Requests
from cordboard.live.settings import Settings
from cordboard.live.store import PASSING, Row, Store, make_store
from cordboard.live.writer import Writer

OLD_MAX = 100  # requests of long ago that are looked up at once
_SUBMITTED = EVENTS | {kind: fields for kind, fields in CALL_EVENTS.items() if kind != "calls_changed"}
REST = 5.0  # times as long as it took, the process that makes snapshots makes none: it has a sixth of a core at most
LATE = 1.5  # times the rows after which a snapshot is made: then it rests no more, or they would grow and grow
DRAIN_AT_ONCE = 250  # agents who are set away in one transaction

_log = logging.getLogger("cordboard.live")

T = TypeVar("T")


class Engine:
    """A center, its journal and its one writer. Made by :meth:`open`; all methods may be called by any thread."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], float] | None) -> None:
        self.settings, self.tenant = settings, "default"
        self._archive = Archive(store, settings)
        self._even = EvenClock() if clock is None else None
        self._clock: Callable[[], float] = clock or self._even or EvenClock()
        self._status = "recovering"
        self._hub = Hub(settings.history)
        self._inbox = Inbox(settings.queue_events)
        self._aside = ThreadPoolExecutor(2, "cordboard-aside")  # what may take long: old entries, writing snapshots
        self._apart: Apart | None = None
        self._old = threading.Semaphore(OLD_MAX)
        self._drain = Drain()
        self._helped = not settings.durable and not settings.database  # whoever submits makes the round: see Writer
        self._snapshot_at = 0
        self._keeping = False  # a snapshot is being made
        self._rests_until = 0.0  # the process that makes them, in seconds of the monotonic clock
        self._compaction: Compaction | None = None

    @classmethod
    def open(
        cls,
        center: Center,
        settings: Settings,
        *,
        tenant: str = "default",
        clock: Callable[[], float] | None = None,
        store: Store | None = None,
    ) -> Engine:
        """Open the journal of a tenant, or make it, and bring the center to where it was.

        A journal keeps its center. ``center`` is taken over (as by ``change_center``) if it is another one than at the
        last opening; so a change made while the engine ran is not undone by a restart with the file of before.

        ``clock``: seconds since the Unix epoch; None for the machine's, read so that jumps of it do no harm. ``store``:
        another place for the journal than the settings say. Raises StoreError if the journal can't be opened; one that
        can be read, but not written, is opened ``read-only``, and written as soon as that is possible.
        """
        engine = cls(settings, store or make_store(settings, tenant), clock)
        engine.tenant = tenant
        if settings.snapshots_apart:
            engine._apart = Apart(settings, tenant)
        try:
            engine._recover(center)
        except BaseException:
            engine._archive.store.close()
            engine._aside.shutdown()
            raise
        engine._status = "serving"
        engine._writer.start()
        return engine

    def _recover(self, center: Center) -> None:
        archive = self._archive
        fault = archive.begin(center)
        core = archive.recover(self._hub)
        if self._even is not None:
            self._even.start_after(core.ticks / 1e6)
        requests = Requests(self.settings.request_ids)
        requests.add_all(archive.store.requests(core.ticks - KEPT_TICKS))
        try:
            if not fault:
                archive.adopt(core, self._hub, max(core.ticks, tick(self._clock())))
        except StoreError as error:
            if error.kind not in PASSING:
                raise
            fault = error.kind
        self._snapshot_at = archive.kept
        self._writer = Writer(
            archive,
            core,
            self._hub,
            self._inbox,
            requests,
            self._clock,
            self.settings.group_events,
            self._find_old,
            self._after_round,
        )
        self._writer.fault = fault

    # ---- events

    def submit(
        self, event: Mapping[str, Any], *, request_id: str = "", actor: str = "", refusal: CordboardError | None = None
    ) -> Future[Outcome]:
        """Journal and apply one event (without ``t``: the engine gives it the time). The future comes when it is on
        disk and applied; an event that the core refuses is an Outcome too, with the error in its entry.

        ``request_id``: the same one again within 24 hours changes nothing and gives the first outcome; with another
        event the future raises ConflictError. ``actor``: whoever did it, for the journal. ``refusal``: why it is not to
        be done, by whoever looked at the center as it is now; the future raises it, unless the same request was done
        before, since then things may look so because of it. At once it raises
        JournalError for what is no event, LimitError when too many wait, UnavailableError when nothing can be journaled
        now.
        """
        future: Future[Outcome] = Future()
        self._put(self._single(Asked(event, request_id, actor, future, refusal), self._clock()))
        return future

    def post(self, asked: Iterable[Asked]) -> None:
        """Like ``submit``, for some at once, each with a reply of its own for what comes of it, be it an error."""
        now = self._clock()
        for one in asked:
            try:
                self._inbox.put(self._single(one, now), wake=False)
            except CordboardError as error:
                one.reply.set_exception(error)
        if self._helped:
            self._writer.help()
        else:
            self._inbox.wake()

    def _single(self, asked: Asked, now: float) -> Submission:
        """One event, checked. Raises what ``submit`` raises."""
        self._check_open()
        checked = _checked(asked.event, now)
        self._check_draining(checked[0])
        _check_texts(asked.actor, (asked.request_id,))
        return Submission([checked], [asked.request_id], asked.actor, asked.reply, False, refusal=asked.refusal)

    def submit_many(
        self, events: Sequence[Mapping[str, Any]], *, request_ids: Sequence[str] = (), actor: str = ""
    ) -> Future[list[Outcome]]:
        """Like ``submit`` for many, in order, in one transaction. ``request_ids``: one for each event, or none.

        An event whose request_id is in conflict has an entry of revision 0 with the error; the others are applied.
        """
        now = self._clock()
        return self.submit_checked([_checked(event, now) for event in events], request_ids=request_ids, actor=actor)

    def check(self, event: Mapping[str, Any]) -> Checked:
        """An event as ``submit_checked`` takes it. JournalError for what is none."""
        return _checked(event, self._clock())

    def submit_checked(
        self, events: Sequence[Checked], *, request_ids: Sequence[str] = (), actor: str = ""
    ) -> Future[list[Outcome]]:
        """``submit_many`` for events that were checked: by ``check``, or by whoever made them and their JSON."""
        ids = list(request_ids) or [""] * len(events)
        if len(ids) != len(events):
            what = f"{len(ids)} request_ids for {len(events)} events"
            raise InputError(what, Where(key="request_ids"), "Give one for each event, or none")
        self._check_open()
        for event, _ in events:
            self._check_draining(event)
        _check_texts(actor, ids)
        future: Future[list[Outcome]] = Future()
        self._put(Submission(events, ids, actor, future, True))
        return future

    def change_center(
        self, center: Center, *, etag: str = "", request_id: str = "", actor: str = ""
    ) -> Future[Outcome]:
        """Go over to another center without a restart: an event ``center_changed``, with all of it, in the journal.

        Waiting contacts keep their arrival, place and priority; contacts of queues that are gone go where those
        overflowed, or expire; conversations with agents who are gone go on; new agents are offline. ``etag``: of the
        center that this is to change; the future raises ConflictError if it is another one by now.
        """
        return self._change(center_changed(center), request_id, actor, etag, etag_of(center))

    def change_calls(
        self, calls: Calls, *, etag: str = "", request_id: str = "", actor: str = ""
    ) -> Future[Outcome]:
        """Go over to other settings of calls: an event ``calls_changed``, with all that decides, in the journal. They
        hold from the next step of each call on; calls that use what is gone end as they would. ``etag``: as in
        ``change_center``, of the settings of calls (``calls_etag``)."""
        return self._change(calls_changed(calls), request_id, actor, etag, calls_etag(calls), "calls")

    def _change(
        self, event: Event, request_id: str, actor: str, etag: str, new_etag: str, changes: Changes = "center"
    ) -> Future[Outcome]:
        self._check_open()
        _check_texts(actor, [request_id])
        future: Future[Outcome] = Future()
        self._put(Submission([(event, encode(event))], [request_id], actor, future, False, etag, new_etag, changes))
        return future

    def read_calls(self, look: Callable[[Switchboard | None], T]) -> Future[T]:
        """Like ``read``, with the switchboard; None before the first event of calls."""
        future: Future[T] = Future()
        self._put(Look(lambda core: look(core.board), future))
        return future

    def read(self, look: Callable[[Acd], T]) -> Future[T]:
        """Call ``look`` with the core, between two events, on the thread that writes; after all that was submitted
        before.

        It must be quick and change nothing. What it raises, the future raises.
        """
        future: Future[T] = Future()
        self.look(look, future)
        return future

    def look(self, look: Callable[[Acd], T], reply: Reply) -> None:
        """Like ``read``, with what it gives, or raises, into a reply of the caller's own."""
        self._put(Look(lambda core: look(core.acd), reply))

    def _put(self, item: Item) -> None:
        self._inbox.put(item, wake=not self._helped)
        if self._helped:
            self._writer.help()

    def _check_open(self) -> None:
        if self._writer.fault:
            raise UnavailableError("the journal can't be written", f"read-only: {self._writer.fault}")

    def _check_draining(self, event: Event) -> None:
        if self._status == "draining" and event["event"] == "agent_ready":
            raise UnavailableError("no agent can become ready", "draining")

    # ---- entries

    def subscribe(self, after: int | None = None, *, capacity: int = 10_000) -> Subscription:
        """Entries with a revision > ``after`` (None: from now on), in order and without a gap; close it when done.

        CompactedError if those are not held in memory any more (``history`` of the settings; ``entries`` has them all).
        More than ``capacity`` entries behind, the subscription ends with SlowReaderError and can be made anew.
        """
        return self._hub.subscribe(after, capacity)

    def entries(self, after: int = 0, until: int | None = None) -> Generator[Entry, None, None]:
        """All entries after a revision, up to ``until`` or the last: from the journal, by replaying it. CompactedError
        if some of them were forgotten.

        Needs time, but not the writer's: it replays on a core of its own, in the thread of whoever asks.
        """
        return self._archive.entries(after, self._hub.revision if until is None else until)

    def _find_old(self, row: Row, done: Callable[[Entry], None], failed: Callable[[BaseException], None]) -> None:
        """The entry of a request of long ago, by a replay, aside."""

        def find() -> None:
            try:
                done(next(self.entries(row.revision - 1, row.revision)))
            except BaseException as error:
                failed(error)
            finally:
                self._old.release()

        if self._old.acquire(blocking=False):
            self._aside.submit(find)
        else:
            failed(LimitError("too many requests of long ago are repeated at once", OLD_MAX, "Send them more slowly"))

    def export(self) -> Iterator[dict[str, Any]]:
        """The events of the journal with their times, one for each revision, as ``cordboard replay`` takes them for the
        center with which the journal began (``first_center``). CompactedError if its beginning was forgotten."""
        return self._archive.export()

    def first_center(self) -> Center:
        """The center with which the journal began."""
        return self._archive.first_center()

    def rows(self) -> Iterator[Row]:
        """The rows of the journal as they were written, up to the last that was applied."""
        return self._archive.store.rows(0, self._hub.revision)

    # ---- snapshots

    def snapshot(self) -> int:
        """Write a snapshot of how things are, and give its revision. The engine writes some by itself, too."""
        found: Future[tuple[int, Callable[[], bytes]]] = Future()
        self._put(Look(lambda core: (core.revision, core.dump_later()), found))
        revision, dump = found.result()
        self._archive.keep(revision, dump())
        return revision

    def _after_round(self, core: Core) -> None:
        if self._compaction is not None:
            self._compaction.round(core)
        if self._keeping or core.revision - self._snapshot_at < self.settings.snapshot_events:
            return
        late = core.revision - self._archive.kept >= LATE * self.settings.snapshot_events
        if time.monotonic() < self._rests_until and not late:
            return
        self._snapshot_at, self._keeping = core.revision, True
        if self._apart is None:
            self._aside.submit(self._keep, core.revision, core.dump_later())
        else:
            self._aside.submit(self._keep_apart, core.revision, self._apart, late)

    def _keep(self, revision: int, dump: Callable[[], bytes]) -> None:
        try:
            self._archive.keep(revision, dump())
        finally:
            self._keeping = False

    def _keep_apart(self, revision: int, apart: Apart, late: bool) -> None:
        began = time.monotonic()
        try:
            if apart.snapshot(revision, late):
                self._archive.kept_one(revision)
        except (SnapshotError, OSError) as error:  # the next ones are made in this process
            _log.error("no snapshot was made of revision %d: %s", revision, error)
            self._apart = None
        else:
            self._rests_until = time.monotonic() + REST * (time.monotonic() - began)
        finally:
            self._keeping = False

    def compact(self, needs: Needs) -> None:
        """From now on forget what is older than ``keep_days`` of the settings (0: nothing), as far as nobody needs it.

        ``needs``: who follows the journal -> a function that gives the last revision that it has done with; it is
        called by a thread of the engine's.
        """
        if self.settings.keep_days:
            backup = backed_up(self.settings.tenant_folder(self.tenant))
            also = {} if backup is None else {"backup": backup}
            self._compaction = Compaction(self._archive, self._aside, {**needs, **also})

    # ---- how it is, and its end

    @property
    def state(self) -> EngineState:
        """How the engine is now."""
        writer, status, reason = self._writer, self._status, ""
        if writer.fault and status != "closed":
            status, reason = "read-only", writer.fault
        off = 0.0 if self._even is None else self._even.off()
        revision = self._hub.revision
        return EngineState(status, reason, revision, self._hub.oldest, writer.core.ticks / 1e6, self._inbox.size, off)

    @property
    def center(self) -> Center:
        """The center as it is now."""
        return self._writer.core.acd.center

    @property
    def etag(self) -> str:
        """Changes with the center; for ``change_center``."""
        return self._writer.core.etag

    @property
    def calls_etag(self) -> str:
        """Changes with the settings of calls; for ``change_calls``."""
        return self._writer.core.calls_etag

    def drain(self, seconds: float) -> None:
        """Come to rest: every agent is set away, for the reason ``drain``, and none can become ready, so that there are
        no new offers; then wait until no conversation is open, ``seconds`` at most. Waiting contacts stay for the next
        process, and events go on to be taken. Another call, of any thread, with fewer seconds hurries the first one.
        """
        self._drain.until(seconds)
        self._status = "draining"
        try:
            away = self.read(_taking).result()
            events = [{"event": "agent_away", "agent": agent, "reason": "drain"} for agent in away]
            for start in range(0, len(events), DRAIN_AT_ONCE):
                self.submit_many(events[start : start + DRAIN_AT_ONCE], actor="drain").result()
            self._drain.wait(lambda: self.read(lambda acd: acd.counts()["connected"] == 0).result())
        except UnavailableError:  # what can't be journaled offers nothing either
            return

    def close(self) -> None:
        """Take nothing more, finish what was submitted, write a snapshot, let go of the journal. Twice is as once."""
        self._inbox.close()
        self._writer.join()
        if self._status != "closed":
            core = self._writer.core
            if self._apart is not None:
                self._apart.stop()
            if not self._writer.fault and core.revision > self._archive.kept:
                self._aside.submit(self._archive.keep, core.revision, core.dump())
            self._aside.shutdown()
            self._status = "closed"
            self._hub.close()
            self._archive.store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(event: Mapping[str, Any], now: float) -> Checked:
    """The event, checked, and as JSON; both without its time, and so that nobody else can change them."""
    if "t" in event:
        raise JournalError("the engine gives events their time", Where(key="t"), "Leave it out")
    checked = check_event({"t": now, **event}, _SUBMITTED)
    del checked["t"]
    text = encode(checked)
    kind = checked["event"]
    if kind in CALL_EVENTS or (len(checked) > 3 and kind == "contact_queued"):  # it may hold objects of whoever sent it
        checked = json.loads(text)
    return checked, text


def _check_texts(actor: str, request_ids: Sequence[str]) -> None:
    """Texts that come into the journal beside the event."""
    _check_text("actor", actor)
    for request_id in request_ids:
        _check_text("request_id", request_id)


def _check_text(key: str, text: str) -> None:
    if len(text) > NAME_CHARACTERS_MAX or (not text.isprintable() and UNFIT.search(text)):
        hint = f"Give {NAME_CHARACTERS_MAX} characters at most, and none for control"
        raise JournalError("not fit for the journal", Where(key=key), hint)


def _taking(acd: Acd) -> list[str]:
    """The agents who could get an offer, now or after their wrap-up."""
    return [name for name, agent in acd.state()["agents"].items() if agent["state"] not in ("away", "offline")]
