"""The live engine: a center at work, with a journal that loses nothing.

An event is journaled first (durably, in a group with others), then applied by the core, then its effects are handed
out. So what was acknowledged is on disk, and after a crash the journal makes the same center again: same contacts, same
places, same offers. See docs/background/live.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from cordboard.acd import Acd
from cordboard.center import UNFIT, Center
from cordboard.errors import InputError, JournalError, UnavailableError, Where
from cordboard.journal import NAME_CHARACTERS_MAX, check_event
from cordboard.live.clock import EvenClock
from cordboard.live.core import Core, Event, center_of, center_text, encode, etag_of, event_of
from cordboard.live.entry import EngineState, Entry, Outcome
from cordboard.live.hub import Hub, Subscription
from cordboard.live.inbox import Inbox, Item, Look, Submission
from cordboard.live.settings import Settings
from cordboard.live.store import Row, Store, make_store
from cordboard.live.writer import Writer

T = TypeVar("T")


class Engine:
    """A center, its journal and its one writer. Made by :meth:`open`; all methods may be called by any thread."""

    def __init__(self, center: Center, settings: Settings, store: Store, clock: Callable[[], float] | None) -> None:
        self.settings = settings
        self.center = center
        self._store = store
        self._even = EvenClock() if clock is None else None
        self._clock: Callable[[], float] = self._even if clock is None else clock  # type: ignore[assignment]
        self._status = "recovering"
        self._hub = Hub(settings.history)
        self._inbox = Inbox(settings.queue_events)
        self._old = ThreadPoolExecutor(1, "cordboard-history")

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

        ``clock``: seconds since the Unix epoch; None for the machine's, read so that jumps of it do no harm. ``store``:
        another place for the journal than the settings say. Raises StoreError if the journal can't be opened.
        """
        engine = cls(center, settings, store or make_store(settings, tenant), clock)
        try:
            engine._recover()
        except BaseException:
            engine._store.close()
            raise
        engine._status = "serving"
        engine._writer.start()
        return engine

    # ---- recovery

    def _recover(self) -> None:
        self._store.open()
        made = self._store.fact("made")
        if made is None:
            facts = {"center": center_text(self.center), "made": encode(self._core_settings())}
            self._store.set_facts(facts)
        self._center_text = self._store.fact("center") or ""
        self._made: dict[str, int] = json.loads(self._store.fact("made") or "{}")
        core = self._core_at(0)
        self._hub.begin(core.revision)
        for row in self._store.rows(after=core.revision):
            self._hub.publish([core.apply(row, event_of(row))])
        if self._even is not None:
            self._even.start_after(core.ticks / 1e6)
        self.center = core.acd.center
        self._writer = Writer(
            self._store, core, self._hub, self._inbox, self._clock, self.settings.group_events, self._find_old
        )

    def _core_settings(self) -> dict[str, int]:
        own = self.settings
        return {"seed": own.seed, "max_contacts": own.max_contacts, "max_customers": own.max_customers}

    def _core_at(self, revision: int) -> Core:
        """A core as it was at the latest point from which a replay can reach a revision."""
        return Core(center_of(self._center_text), self._make_acd)

    def _make_acd(self, center: Center) -> Acd:
        acd = Acd(center, explain=self.settings.explain, **self._made)
        if self.settings.learn_waits:
            acd.learn_waits()
        return acd

    # ---- events

    def submit(self, event: Mapping[str, Any], *, request_id: str = "", actor: str = "") -> Future[Outcome]:
        """Journal and apply one event (without ``t``: the engine gives it the time). The future comes when it is on
        disk and applied; an event that the core refuses is an Outcome too, with the error in its entry.

        ``request_id``: the same one again within 24 hours changes nothing and gives the first outcome; with another
        event the future raises ConflictError. ``actor``: whoever did it, for the journal. At once it raises
        JournalError for what is no event, LimitError when too many wait, UnavailableError when nothing can be journaled
        now.
        """
        return self._submit([event], [request_id], actor, many=False)

    def submit_many(
        self, events: Sequence[Mapping[str, Any]], *, request_ids: Sequence[str] = (), actor: str = ""
    ) -> Future[list[Outcome]]:
        """Like ``submit`` for many, in order, in one transaction. ``request_ids``: one for each event, or none.

        An event whose request_id is in conflict has an entry of revision 0 with the error; the others are applied.
        """
        ids = list(request_ids) or [""] * len(events)
        if len(ids) != len(events):
            what = f"{len(ids)} request_ids for {len(events)} events"
            raise InputError(what, Where(key="request_ids"), "Give one for each event, or none")
        return self._submit(events, ids, actor, many=True)

    def _submit(self, events: Sequence[Mapping[str, Any]], ids: list[str], actor: str, *, many: bool) -> Future[Any]:
        self._check_open()
        now = self._clock()
        checked = [_checked(event, now) for event in events]
        for key, text in (("actor", actor), *(("request_id", id) for id in ids)):
            if len(text) > NAME_CHARACTERS_MAX or UNFIT.search(text):
                what = f"{len(text)} characters, or some that no name may have"
                raise JournalError(
                    what, Where(key=key), f"Give {NAME_CHARACTERS_MAX} at most, without control characters"
                )
        future: Future[Any] = Future()
        texts = [encode(event) for event in checked]
        self._put(
            Submission([_own(e, x) for e, x in zip(checked, texts, strict=True)], texts, ids, actor, future, many)
        )
        return future

    def read(self, look: Callable[[Acd], T]) -> Future[T]:
        """Call ``look`` with the core, between two events, on the writer's thread; after all that was submitted before.

        It must be quick and change nothing. What it raises, the future raises.
        """
        future: Future[T] = Future()
        self._put(Look(look, future))
        return future

    def _put(self, item: Item) -> None:
        if not self._inbox.put(item):
            raise UnavailableError("the engine is closed", "closed")

    def _check_open(self) -> None:
        if self._writer.fault:
            raise UnavailableError("the journal can't be written", f"read-only: {self._writer.fault}")

    # ---- entries

    def subscribe(self, after: int | None = None, *, capacity: int = 10_000) -> Subscription:
        """Entries with a revision > ``after`` (None: from now on), in order and without a gap; close it when done.

        CompactedError if those are not held in memory any more (``history`` of the settings; ``entries`` has them all).
        More than ``capacity`` entries behind, the subscription ends with SlowReaderError and can be made anew.
        """
        return self._hub.subscribe(after, capacity)

    def entries(self, after: int = 0, until: int | None = None) -> Iterator[Entry]:
        """All entries after a revision, up to ``until`` or the last: from the journal, by replaying it.

        Needs time, but not the writer's: it replays on a core of its own, in the thread of whoever asks.
        """
        until = self.state.revision if until is None else until
        core = self._core_at(after)
        for row in self._store.rows(after=core.revision, until=until):
            entry = core.apply(row, event_of(row))
            if entry.revision > after:
                yield entry

    def _find_old(self, row: Row, done: Callable[[Entry], None], failed: Callable[[BaseException], None]) -> None:
        def find() -> None:
            try:
                done(next(self.entries(row.revision - 1, row.revision)))
            except BaseException as error:
                failed(error)

        self._old.submit(find)

    def export(self) -> Iterator[dict[str, Any]]:
        """The events of the journal with their times, as ``cordboard replay`` takes them."""
        for row in self._store.rows():
            yield event_of(row)

    # ---- how it is, and its end

    @property
    def state(self) -> EngineState:
        """How the engine is now."""
        writer, status = self._writer, self._status
        reason = ""
        if writer.fault and status != "closed":
            status, reason = "read-only", writer.fault
        off = 0.0 if self._even is None else self._even.off()
        revision = self._hub.revision
        return EngineState(status, reason, revision, self._hub.oldest, writer.core.ticks / 1e6, self._inbox.size, off)

    @property
    def etag(self) -> str:
        """Changes with the center."""
        return etag_of(self.center)

    def close(self) -> None:
        """Take nothing more, finish what was submitted, and let go of the journal. May be called twice."""
        self._inbox.close()
        self._writer.join()
        self._old.shutdown()
        self._status = "closed"
        self._hub.close()
        self._store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(event: Mapping[str, Any], now: float) -> Event:
    """The event, checked, without its time."""
    if "t" in event:
        raise JournalError("the engine gives events their time", Where(key="t"), "Leave it out")
    checked = dict(check_event({"t": now, **event}))
    del checked["t"]
    return checked


def _own(event: Event, text: str) -> Event:
    """The event so that nobody else can change it: what is applied must be what was journaled."""
    if any(isinstance(value, dict | list) for value in event.values()):
        owned: Event = json.loads(text)
        return owned
    return event
