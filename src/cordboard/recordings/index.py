"""The index of recordings: found by number, agent, queue, time, outcome and length; held, kept, deleted.

What was recorded is a projection of the journal (``cordboard.records``). What stands in no journal, holds and
deletions, is beside it in the same database and outlives a rebuilding. Times are seconds since the epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cordboard.errors import EventError, InputError, UnknownNameError, Where
from cordboard.records import Records
from cordboard.records.tables import contacts, outcomes, recording_care, recordings

Entries = Sequence[tuple[str, str]]
STATES = ("recording", "whole", "short", "lost", "refused")


@dataclass(frozen=True, slots=True)
class Found:
    """A recording. ``state``: recording; whole; short (the disk did not take ``missing`` seconds); lost (its node died:
    what was recorded up to then plays); refused. ``outcome``: what became of its contact, None while it goes on.
    ``caller``: as the journal has it, a subject where personal data is kept apart. ``keep_until``: None for ever."""

    recording: str
    revision: int
    contact: str | None
    queue: str | None
    agent: str | None
    caller: str | None
    number: str | None
    campaign: str | None
    entry: str | None
    node: str
    file: str
    began_at: float
    keep_until: float | None
    seconds: float | None
    missing: float | None
    state: str
    outcome: str | None
    held_at: float | None
    held_by: str | None
    held_why: str | None
    deleted_at: float | None
    deleted_by: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: every field that is not None. ``person``: a caller, or whoever the contact's customer is, or
    whom a campaign called: ``entries`` (campaign, entry) of its lists are this person's. ``since``, ``until``: when it
    began; ``held``, ``deleted``: whether it is."""

    recording: str | None = None
    contact: str | None = None
    queue: str | None = None
    agent: str | None = None
    caller: str | None = None
    number: str | None = None
    campaign: str | None = None
    node: str | None = None
    state: str | None = None
    outcome: str | None = None
    person: str | None = None
    entries: Entries = ()
    since: float | None = None
    until: float | None = None
    longer: float | None = None
    shorter: float | None = None
    held: bool | None = None
    deleted: bool | None = None


_PLAIN = ("recording", "contact", "queue", "agent", "caller", "number", "campaign", "node", "state")


def _conditions(wanted: Wanted) -> Iterator[sa.ColumnElement[bool]]:
    at, care = recordings.c, recording_care.c
    for name in _PLAIN:
        if (value := getattr(wanted, name)) is not None:
            yield at[name] == value
    if wanted.outcome is not None:
        yield outcomes.c.outcome == wanted.outcome
    if wanted.person is not None:
        of = sa.select(contacts.c.revision).where(contacts.c.customer == wanted.person)
        called = sa.tuple_(at.campaign, at.entry).in_(wanted.entries)
        yield (at.caller == wanted.person) | at.contact_revision.in_(of) | called
    if wanted.since is not None:
        yield at.began_at >= wanted.since
    if wanted.until is not None:
        yield at.began_at < wanted.until
    if wanted.longer is not None:
        yield at.seconds >= wanted.longer
    if wanted.shorter is not None:
        yield at.seconds <= wanted.shorter
    if wanted.held is not None:
        yield care.held_at.is_not(None) if wanted.held else care.held_at.is_(None)
    if wanted.deleted is not None:
        yield care.deleted_at.is_not(None) if wanted.deleted else care.deleted_at.is_(None)


class Index:
    """The recordings of one tenant. ``records``: its records, which this does not close."""

    def __init__(self, records: Records, clock: Callable[[], float] = time.time) -> None:
        self._engine, self._clock = records.engine, clock

    def find(
        self, wanted: Wanted, *, queues: Sequence[str] | None = None, agents: Sequence[str] | None = None,
        after: tuple[int, str] = (0, ""), limit: int = 1000,
    ) -> list[Found]:  # fmt: skip
        """The recordings that are wanted, by the revision at which they began, from behind ``after``, a revision and a
        recording: several may begin at once. ``queues``, ``agents``: of these alone; None for all."""
        place = sa.tuple_(recordings.c.revision, recordings.c.recording)
        query = _query().where(*_conditions(wanted), place > sa.tuple_(*map(sa.literal, after)))
        if queues is not None:
            query = query.where(recordings.c.queue.in_(queues))
        if agents is not None:
            query = query.where(recordings.c.agent.in_(agents))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(recordings.c.revision, recordings.c.recording).limit(limit))
            return [Found(**row) for row in rows.mappings()]

    def get(self, recording: str) -> Found:
        """One recording. UnknownNameError if there is none."""
        found = self.find(Wanted(recording=recording), limit=1)
        if not found:
            raise UnknownNameError("there is no such recording", Where(key="recording"), "cordboard recordings list")
        return found[0]

    def of(self, person: str, entries: Entries = ()) -> list[Found]:
        """All recordings of a person (see :class:`Wanted`) that are not deleted."""
        found: list[Found] = []
        wanted, after = Wanted(person=person, entries=entries, deleted=False), (0, "")
        while page := self.find(wanted, after=after):
            found += page
            after = (page[-1].revision, page[-1].recording)
        return found

    def hold(self, recording: str, by: str, why: str) -> Found:
        """Keep it whatever its retention and whoever asks for an erasure, until it is released. EventError if it is
        deleted."""
        self._care(recording, held_at=self._clock(), held_by=by, held_why=why)
        found = self.get(recording)
        if found.deleted_at is not None:
            self._care(recording, held_at=None, held_by=None, held_why=None)
            raise EventError("it is deleted", Where(key="recording"), "Nothing is left to be held")
        return found

    def release(self, recording: str) -> Found:
        """The hold is over."""
        self._care(recording, held_at=None, held_by=None, held_why=None)
        return self.get(recording)

    def _care(self, recording: str, **values: Any) -> None:
        self.get(recording)
        with self._engine.begin() as connection:
            self._make(connection, recording)
            connection.execute(_of(recording).values(**values))

    @staticmethod
    def _make(connection: sa.Connection, recording: str) -> None:
        there = sa.select(recording_care.c.recording).where(recording_care.c.recording == recording)
        made = sa.select(sa.literal(recording)).where(~there.exists())
        connection.execute(recording_care.insert().from_select(["recording"], made))

    def due(self, before: float | None = None) -> list[Found]:
        """Those that are over, and whose time to be kept is over; held ones too, deleted ones not."""
        moment = self._clock() if before is None else before
        query = _query().where(recordings.c.keep_until < moment, recordings.c.ended_revision.is_not(None))
        query = query.where(recording_care.c.deleted_at.is_(None)).order_by(recordings.c.revision)
        with self._engine.connect() as connection:
            return [Found(**row) for row in connection.execute(query).mappings()]

    def delete(self, found: Found, folder: Path, by: str) -> bool:
        """Delete the file of a recording and note it; False if it is held, or its file is not in this folder. It is
        noted first, so that a crash in between leaves a file that :meth:`sweep` finds."""
        path = path_of(found, folder)
        if not path.exists() or not self._note(found, by):
            return False
        path.unlink(missing_ok=True)
        return True

    def erase(self, person: str, folder: Path | None, by: str, entries: Entries = ()) -> tuple[int, int]:
        """Delete the recordings of a person (see :class:`Wanted`): how many are deleted, how many are held and stay.
        Files that are not in the folder are noted as deleted; :meth:`sweep` finds them where they are."""
        found = self.of(person, entries)
        free = [one for one in found if self._note(one, by)]
        for one in free:
            if folder is not None:
                path_of(one, folder).unlink(missing_ok=True)
        return len(free), len(found) - len(free)

    def _note(self, found: Found, by: str) -> bool:
        """Note that a recording is deleted, unless it is held."""
        with self._engine.begin() as connection:
            self._make(connection, found.recording)
            free = _of(found.recording).where(recording_care.c.held_at.is_(None))
            return connection.execute(free.values(deleted_at=self._clock(), deleted_by=by)).rowcount == 1

    def sweep(self, folder: Path) -> int:
        """Delete files that are noted as deleted and are there; returns how many."""
        query = sa.select(recordings.c.file).join(recording_care, recording_care.c.recording == recordings.c.recording)
        count = 0
        with self._engine.connect() as connection:
            for (file,) in connection.execute(query.where(recording_care.c.deleted_at.is_not(None))):
                path = folder / Path(file).name
                count += path.exists()
                path.unlink(missing_ok=True)
        return count


def path_of(found: Found, folder: Path) -> Path:
    """Where the file of a recording is. InputError for a name that leads out of the folder."""
    if Path(found.file).name != found.file:
        raise InputError(f"{found.file!r} is not in the folder", Where(found.file), "Nodes report names of files")
    return folder / found.file


def _of(recording: str) -> sa.Update:
    return recording_care.update().where(recording_care.c.recording == recording)


def _query() -> sa.Select[Any]:
    tables = {"outcome": outcomes, **dict.fromkeys([c.name for c in recording_care.columns][1:], recording_care)}
    columns = [tables.get(one.name, recordings).c[one.name] for one in fields(Found)]
    joined = recordings.outerjoin(recording_care, recording_care.c.recording == recordings.c.recording)
    joined = joined.outerjoin(outcomes, outcomes.c.contact_revision == recordings.c.contact_revision)
    return sa.select(*columns).select_from(joined)
