"""Settings of the live engine: one frozen object, checked when it is made."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cordboard.errors import InputError, Where

_TENANT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# setting -> least and greatest value
_BOUNDS: dict[str, tuple[float, float]] = {
    "queue_events": (1, 10_000_000),
    "group_events": (1, 10_000),
    "history": (1, 10_000_000),
    "snapshot_events": (1_000, 100_000_000),
    "request_ids": (100_000, 1_000_000_000),
    "keep_days": (0, 36_500),
    "max_contacts": (1, 16_000_000),
    "max_customers": (1, 16_000_000),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What an engine is opened with. InputError, with the name of the setting, for a value that can't be used.

    ``data``: folder of the SQLite journals, one folder a tenant within. ``database``: a PostgreSQL address
    (``postgresql://...``) to keep the journals there instead, one schema a tenant.

    ``durable``: an event is acknowledged when it is on disk. Without it, when the system has it: that survives the end
    of the process, ``kill -9`` too, but when the machine itself stops, the last events may be lost.

    ``queue_events``: so many may wait before the writer (LimitError beyond). ``group_events``: so many are committed at
    once. ``history``: so many entries are held in memory for subscribers. ``request_ids``: so
    many are remembered (for 24 hours, 32 to 64 bytes each). ``snapshot_events``: a snapshot after so
    many; ``snapshots_apart``: by a process of their own, from the journal of these settings, which takes no time of the
    engine's. ``keep_days``: what the journal says of so many days stays in it for certain, a day at least; older rows
    are forgotten once nobody needs them; 0: nothing is ever forgotten.

    ``seed``, ``max_contacts``, ``max_customers`` are the core's and stay with a journal: what is set when it is made
    holds for it, since a replay with others would give other effects. ``explain``: put into offers why they were made.
    ``learn_waits``: learn from every event, for ``Acd.estimate_wait``.
    """

    data: str | os.PathLike[str] = "cordboard-data"
    database: str = ""
    durable: bool = True
    queue_events: int = 50_000
    group_events: int = 1_000
    history: int = 20_000
    snapshot_events: int = 50_000
    snapshots_apart: bool = False
    request_ids: int = 20_000_000
    keep_days: float = 0.0
    seed: int = 0
    max_contacts: int = 1_000_000
    max_customers: int = 100_000
    explain: bool = True
    learn_waits: bool = True

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                what = f"{getattr(self, name)!r} is not from {low:g} to {high:g}"
                raise InputError(what, Where(key=name), "See docs/reference/live-settings.md")
        if self.database and not self.database.startswith(("postgresql://", "postgres://")):
            raise InputError("not an address of PostgreSQL", Where(key="database"), "Write postgresql://user@host/name")

    def tenant_folder(self, tenant: str) -> Path:
        """Where a tenant's SQLite journal is. InputError for a name that can't be one of a tenant."""
        return Path(self.data) / checked_tenant(tenant)


def checked_tenant(tenant: str) -> str:
    """A tenant's name, if it can be one: DNS characters, so that it can't lead out of its folder or schema."""
    if not _TENANT.fullmatch(tenant):
        hint = "Use lower-case letters, digits and hyphens, 63 at most"
        raise InputError(f"{tenant!r} is not a name of a tenant", Where(key="tenant"), hint)
    return tenant
