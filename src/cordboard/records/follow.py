"""Records that keep up with a live engine: a thread takes its entries, a process of their own books them.

The engine does not wait for them. When they fall behind what it holds in memory they read the journal instead; when
their database fails, or their process ends, they try again; after a restart they go on from the revision that they
reached.
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cordboard.errors import CompactedError, CordboardError, SlowReaderError, UnavailableError
from cordboard.live.hub import BATCH_MAX
from cordboard.records.aside import Aside, BookingFault

if TYPE_CHECKING:
    from cordboard.live import Engine

PATIENCE_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # before each new try after a fault; the last for ever after
IDLE_S = 0.5  # so often at least it is looked whether to stop
PACE_S = 0.1  # between two bookings: few large ones cost the engine less than many small ones
HISTORY_AT_ONCE = 20_000  # revisions that are read from the journal before it is looked whether to stop

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
        faults, stuck = 0, -1
        while True:
            try:
                engine = self._engine
                with Aside(engine.settings, engine.tenant, self._place, self._schema) as records:
                    self.revision = records.revision
                    self.fault = ""
                    self._keep_up(records)
                return
            except SlowReaderError:
                continue
            except (BookingFault, CordboardError) as error:
                self.fault = error.name if isinstance(error, BookingFault) else type(error).__name__
                if self.revision != stuck:  # something was booked since the last fault
                    faults, stuck = 0, self.revision
                if faults == 0:
                    facts = {"facts": {"tenant": self._engine.tenant, "revision": self.revision}}
                    _log.error("the records stand still at revision %d: %s", self.revision, error, extra=facts)
                wait = PATIENCE_S[min(faults, len(PATIENCE_S) - 1)]
                faults += 1
                if self._stop.wait(wait):
                    return

    def _keep_up(self, records: Aside) -> None:
        """Book until told to stop, or the engine is closed."""
        while True:
            try:
                subscription = self._engine.subscribe(self.revision)
            except CompactedError:
                if self._stop.is_set():
                    return
                records.apply_journal(min(self.revision + HISTORY_AT_ONCE, self._engine.state.revision))
                self.revision = records.revision
                continue
            with closing(subscription):
                while True:
                    try:
                        entries = subscription.get(0.0 if self._stop.is_set() else IDLE_S)
                    except UnavailableError:  # the engine is closed, and all of it was read
                        return
                    if entries:
                        records.apply(entries)
                        self.revision = records.revision
                    elif self._stop.is_set():
                        return
                    if len(entries) < BATCH_MAX:
                        self._stop.wait(PACE_S)
