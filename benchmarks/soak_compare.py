"""Whether two runs of the soak lived the same day, and whether each of them kept its word. See docs/background/soak.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.soak_world import Plan
from cordboard.live import Entry, Settings
from cordboard.live.archive import Archive
from cordboard.live.beside import records_place
from cordboard.live.store import make_store
from cordboard.records import Records
from cordboard.records.projection import KEYS
from cordboard.services.translate import entry_message
from cordboard.v1 import journal_pb2 as journal

if TYPE_CHECKING:
    from benchmarks.soak_day import Told

SHOWN = 5  # differences of a kind that are told
NUMBERS = ("revision", "contact_revision", "began_revision", "ended_revision", "answered_revision",
           "wrap_up_ended_revision", "ordinal")  # of journal rows, which faults shift  # fmt: skip

Fact = tuple[float, str, str]


def digest(entry: journal.Entry) -> bytes:
    """Of all that an entry says."""
    return blake2b(entry.SerializeToString(deterministic=True), digest_size=12).digest()


class Kept:
    """What a run left: its journal, replayed from the beginning, and its records."""

    def __init__(self, folder: Path, database: str = "") -> None:
        self.settings = Settings(data=folder / "data", database=database)
        self._folder = folder
        archive = Archive(make_store(self.settings, "default", read_only=True), self.settings)
        with closing(archive.store):
            archive.store.open()
            archive.look()
            self.entries: list[Entry] = list(archive.entries(0, archive.store.last()))

    def facts(self, site: int) -> list[Fact]:
        """What was done at a site, in order: the events that were applied, with time and request."""
        return [fact for name, fact in self._facts() if name == f"s{site}"]

    def _facts(self) -> Iterator[tuple[str, Fact]]:
        for entry in self.entries:
            if entry.error is None and entry.event["event"] != "clock":
                event = {key: value for key, value in entry.event.items() if key != "t"}
                named = event.get("contact") or event.get("agent") or ""
                by = "" if event.get("reason") == "network" else entry.request_id  # nobody asks for that when it happens
                yield named.partition("-")[0], (entry.t, json.dumps(event, sort_keys=True), by)

    def records(self) -> Iterator[tuple[str, list[str]]]:
        """The rows of each table, without the numbers of journal rows, sorted."""
        with Records(*self._place()) as records:
            for table in KEYS:
                rows = records.rows(table)
                yield table, sorted(json.dumps({k: v for k, v in row.items() if k not in NUMBERS}) for row in rows)

    def outcomes(self) -> Counter[str]:
        """How the contacts that are over ended."""
        with Records(*self._place()) as records:
            return Counter(row["outcome"] for row in records.rows("outcomes"))

    def _place(self) -> tuple[str, str]:
        return records_place(self.settings, "default")

    def broken(self, told: Told) -> Iterator[str]:
        """What the run promised and did not keep."""
        rows = {entry.revision: entry for entry in self.entries}
        for request_id, revision in told.acknowledged.items():
            if revision not in rows or rows[revision].request_id != request_id:
                yield f"{request_id} was acknowledged as revision {revision}, and is not there"
        asked = Counter(entry.request_id for entry in self.entries if entry.request_id)
        yield from (f"{request_id} is in the journal {count} times" for request_id, count in asked.items() if count > 1)
        for entry in self.entries:
            if entry.error is None and entry.request_id and entry.request_id not in told.acknowledged:
                yield f"revision {entry.revision} ({entry.request_id}) was done and never acknowledged"
        if len(told.watched) < max(told.acknowledged.values(), default=0):
            yield f"the watcher saw {len(told.watched)} entries"
        for seen, entry in zip(told.watched, self.entries, strict=False):
            if digest(entry_message(entry)) != seen:
                yield f"revision {entry.revision} was told otherwise than the replay has it"
        with Records(*self._place()) as kept, Records(self._folder / "rebuilt.db") as rebuilt:
            kept.apply(entry for entry in self.entries if entry.revision > kept.revision)
            rebuilt.apply(self.entries)
            if kept.digest() != rebuilt.digest():
                yield "the records that the server kept are not those that its journal gives"
        yield from self._lost()

    def _lost(self) -> Iterator[str]:
        """Contacts that came and are neither inside nor over, or twice over."""
        came = Counter(e.event["contact"] for e in self.entries if e.error is None and e.event["event"] == "contact_queued")
        with Records(*self._place()) as records:
            over = Counter(row["contact"] for row in records.rows("outcomes"))
            inside = Counter(row["contact"] for row in records.rows("contacts", ended_at=None))
        if came != over + inside:
            yield f"{sum(came.values())} contacts came, {sum(over.values())} are over, {sum(inside.values())} inside"


def compare(plan: Plan, folder: Path, faulted: Told, plain: Told, database: str) -> dict[str, Any]:
    """Figures of the run with faults, and the differences."""
    one, other = Kept(folder / "faulted", database), Kept(folder / "plain")
    differences = [*_few(one.broken(faulted)), *_few(f"without faults: {text}" for text in other.broken(plain))]
    facts = 0
    for site in range(plan.sites):
        ours, theirs = one.facts(site), other.facts(site)
        facts += len(ours)
        differences += _few(_unlike(f"fact of site {site}", ours, theirs))
    records = 0
    for (table, ours_rows), (_, their_rows) in zip(one.records(), other.records(), strict=True):
        records += len(ours_rows)
        differences += _few(_unlike(table, ours_rows, their_rows))
    refused = sum(entry.error is not None for entry in one.entries)
    return {"journal_rows": len(one.entries), "refused": refused, "facts": facts, "records": records,
            "acknowledged": len(faulted.acknowledged), "watched": len(faulted.watched), **one.outcomes(),
            "differences": differences}  # fmt: skip


def _unlike(what: str, ours: list[Any], theirs: list[Any]) -> Iterator[str]:
    for number, (one, other) in enumerate(zip_longest(ours, theirs)):
        if one != other:
            yield f"{what} {number}: {one} with faults, {other} without"


def _few(texts: Iterable[str]) -> list[str]:
    found = list(texts)
    return found[:SHOWN] + ([f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])
