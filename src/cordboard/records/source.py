"""Where a projection's steps come from: a journal file, or a live engine's journal, replayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO

from cordboard.center import Center
from cordboard.records.projection import Step
from cordboard.replay import Engine, replay

if TYPE_CHECKING:
    from cordboard.live import Settings


def steps_of_journal(center: Center, stream: BinaryIO, file: str = "<journal>", seed: int = 0) -> Iterator[Step]:
    """Every line of a journal as a step; its line number is the revision. A refused line still lets timers fire."""
    from cordboard.acd import Acd  # the compiled core, only when something is replayed

    engine: Engine = Acd(center, seed=seed)
    for answer in replay(engine, center, stream, file):
        event = None if answer.error is not None else answer.event
        if event is not None or answer.fired:
            t = engine.now if event is None else event["t"]
            yield Step(answer.line, t, answer.fired, event, answer.effects)


def steps_of_data(
    settings: Settings, tenant: str = "default", after: int = 0, until: int | None = None
) -> Iterator[Step]:
    """The entries of a live engine's journal, all or those with after < revision <= until, whether the engine is at
    work or not. StoreError if there is none."""
    from cordboard.live.archive import Archive  # late: the live engine needs more libraries
    from cordboard.live.store import make_store

    archive = Archive(make_store(settings, tenant, read_only=True), settings)
    with closing(archive.store):
        archive.begin(Center((), ()))
        for entry in archive.entries(after, archive.store.last() if until is None else until):
            yield Step.of(entry)
