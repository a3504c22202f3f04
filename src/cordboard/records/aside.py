"""Records kept by a process of its own, so that booking takes no time of the engine's.

The engine's process sends entries over a pipe; this one books them, and answers with the revision that it has reached.
What the engine does not hold any more it reads from the journal by itself. ``main`` is the other end.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cordboard.errors import CordboardError
from cordboard.live import child
from cordboard.records.projection import EntryLike, Step

if TYPE_CHECKING:
    from cordboard.live import Settings

NICE = 10  # records can be late, calls can not


class BookingFault(Exception):
    """The other process could not book, or is gone. ``name``: of its error."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(words)
        self.name = name


class Aside:
    """``Records`` in another process. ``settings`` and ``tenant``: of the journal. For one thread. BookingFault from
    every method when it can't go on; it is made anew then."""

    def __init__(self, settings: Settings, tenant: str, place: str | Path, schema: str) -> None:
        try:
            self._process = child.start(__name__)
        except OSError as error:  # no descriptor or process is free now; that passes
            raise BookingFault(type(error).__name__, f"no process for the records: {error.strerror}") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self.revision = 0
        try:
            self._ask((settings, tenant, str(place), schema))
        except BookingFault:
            self.close()
            raise

    def apply(self, entries: Sequence[EntryLike]) -> None:
        """Book entries."""
        self._ask([Step.of(entry) for entry in entries])

    def apply_journal(self, until: int) -> None:
        """Book what the journal has, up to a revision that the engine has applied."""
        self._ask(until)

    def _ask(self, asked: Any) -> None:
        try:
            pickle.dump(asked, self._to, pickle.HIGHEST_PROTOCOL)
            self._to.flush()
            answer = pickle.load(self._from)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise BookingFault("ProcessLost", "the process that keeps the records is gone") from None
        if isinstance(answer, tuple):
            raise BookingFault(*answer)
        self.revision = answer

    def close(self) -> None:
        """End the other process; what was asked of it is done."""
        for stream in (self._to, self._from):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main() -> None:
    """The other end: ask after ask, until the pipe ends."""
    answers = child.begin(NICE)
    with contextlib.suppress(EOFError, BrokenPipeError):
        book(sys.stdin.buffer, answers)


def book(asks: IO[bytes], answers: IO[bytes]) -> None:
    """Do what is asked; an error is the last answer. EOFError when nobody asks any more."""
    from cordboard.records.database import DATABASE_ERRORS, Records
    from cordboard.records.source import steps_of_data

    def answer(what: int | tuple[str, str]) -> None:
        pickle.dump(what, answers)
        answers.flush()

    faults: tuple[type[Exception], ...] = (CordboardError, *DATABASE_ERRORS)
    settings, tenant, place, schema = pickle.load(asks)
    try:
        with Records(place, schema) as records:
            answer(records.revision)
            while True:
                asked = pickle.load(asks)
                steps = asked if isinstance(asked, list) else steps_of_data(settings, tenant, records.revision, asked)
                records.apply_steps(steps)
                answer(records.revision)
    except faults as error:
        if isinstance(error, BrokenPipeError):
            raise
        answer((type(error).__name__, str(error).partition("\n")[0]))  # what follows may quote a row
