"""Records that keep up with a live engine, in a thread of their own.

The engine does not wait for them. When they fall behind what it holds in memory they read the journal instead; when
their database fails they try again; after a restart they go on from the revision that they reached.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cordboard.errors import CompactedError, CordboardError, SlowReaderError, UnavailableError
from cordboard.records.database import DATABASE_ERRORS, Records

if TYPE_CHECKING:
    from cordboard.live import Engine, Entry

PATIENCE_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # before each new try after a fault; the last for ever after
IDLE_S = 0.5  # so often at least it is looked whether to stop
FAULTS: tuple[type[Exception], ...] = (CordboardError, *DATABASE_ERRORS)

_log = logging.getLogger("cordboard.records")


class Follower:
    """Keeps ``Records(place, schema)`` at the revision of an engine. ``close`` books what was published and stops.
    A long history that is being read is left where it is; it goes on from there the next time.

    ``revision``: the last that is booked. ``fault``: why nothing can be booked now, or empty. Read by any thread.
    """

    def __init__(self, engine: Engine, place: str | Path, schema: str = "") -> None:
        self._engine, self._place, self._schema = engine, place, schema
        self._stop = threading.Event()
        self.revision = 0
        self.fault = ""
        self._thread = threading.Thread(target=self._run, name="cordboard-records", daemon=True)

    def start(self) -> Follower:
        """Begin; returns itself."""
        self._thread.start()
        return self

    def close(self, seconds: float = 30.0) -> None:
        """Book what the engine has published until now, and stop; give up after so many seconds."""
        self._stop.set()
        self._thread.join(seconds)

    @property
    def behind(self) -> int:
        """Revisions of the engine that are not booked yet."""
        return max(0, self._engine.state.revision - self.revision)

    def _run(self) -> None:
        faults = 0
        while True:
            try:
                with Records(self._place, self._schema) as records:
                    self.revision = records.revision
                    self.fault, faults = "", 0
                    self._keep_up(records)
                return
            except SlowReaderError:
                continue
            except FAULTS as error:
                self.fault = type(error).__name__
                if faults == 0:
                    words = str(error).partition("\n")[0]  # what follows may quote a row
                    facts = {"facts": {"revision": self.revision}}
                    _log.error("the records stand still at revision %d: %s", self.revision, words, extra=facts)
                wait = PATIENCE_S[min(faults, len(PATIENCE_S) - 1)]
                faults += 1
                if self._stop.wait(wait):
                    return

    def _keep_up(self, records: Records) -> None:
        """Book until told to stop, or the engine is closed."""
        while True:
            try:
                subscription = self._engine.subscribe(self.revision)
            except CompactedError:
                history = self._engine.entries(self.revision)
                self._book(records, itertools.takewhile(lambda _: not self._stop.is_set(), history))
                if self._stop.is_set():
                    return
                continue
            with closing(subscription):
                while True:
                    try:
                        entries = subscription.get(0.0 if self._stop.is_set() else IDLE_S)
                    except UnavailableError:  # the engine is closed, and all of it was read
                        return
                    self._book(records, entries)
                    if not entries and self._stop.is_set():
                        return

    def _book(self, records: Records, entries: Iterable[Entry]) -> None:
        records.apply(entries)
        self.revision = records.revision
