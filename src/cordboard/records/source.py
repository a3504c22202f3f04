"""Where a projection's steps come from: a journal file, replayed by an engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from cordboard.center import Center
from cordboard.records.projection import Step
from cordboard.replay import Engine, replay


def steps_of_journal(center: Center, stream: BinaryIO, file: str = "<journal>", seed: int = 0) -> Iterator[Step]:
    """Every line of a journal as a step; its line number is the revision. A refused line still lets timers fire."""
    from cordboard.acd import Acd  # the compiled core, only when something is replayed

    engine: Engine = Acd(center, seed=seed)
    for answer in replay(engine, center, stream, file):
        event = None if answer.error is not None else answer.event
        if event is not None or answer.fired:
            t = engine.now if event is None else event["t"]
            yield Step(answer.line, t, answer.fired, event, answer.effects)
