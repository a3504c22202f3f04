"""The answer models of a server: read when they are first asked for, learning, and written back now and then.

Each is a registry of its own (docs/reference/answer-model.md): ``DATA/TENANT/models/NAME``. What a model was told since
its file was written, and the calls whose result it waits for, stand in a notebook beside the file, and are told to it
again after a crash. Thread-safe.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordboard.errors import CordboardError, LimitError, UnknownNameError, Where
from cordboard.journal import nearest
from cordboard.learning.model import AnswerModel, Prediction, Result
from cordboard.learning.registry import Registry
from cordboard.live.notebook import Notebook

WRITE_EVERY = 1_000  # outcomes
NOTES_MAX = 200_000  # after so many it is written, too: most calls may never have an outcome
KEPT = 50  # of the versions that were written here
WRITER = "cordboard serve"
MODELS_MAX = 100
FORGET_S = 7 * 24 * 3600.0  # that a result may take
NOTEBOOK = "notes.db"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

_log = logging.getLogger("cordboard.live")


class ServedModel:
    """One model at work."""

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        self._registry, self._clock = registry, clock
        self._lock = threading.Lock()
        self._model: AnswerModel = registry.load()
        self._notebook = Notebook(registry.folder / NOTEBOOK, power_cut=False)
        self._waiting: dict[str, bytes] = {}  # call -> the note of its prediction
        self.learned = self._written = 0
        self.written_at: float | None = None
        for note in self._notebook.read(self._model.version):
            self._tell_again(note)

    @property
    def version(self) -> str:
        """The version of the file that it began with, or was last written as."""
        return self._model.version

    def predict(self, row: Mapping[str, Any]) -> Prediction:
        """See AnswerModel.predict."""
        with self._lock:
            return self._model.predict(row)

    def predict_many(self, table: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
        """See AnswerModel.predict_many."""
        with self._lock:
            return self._model.predict_many(table)

    def expect(self, call: str, row: Mapping[str, Any]) -> Prediction:
        """See AnswerModel.expect. StoreError if it can't be noted; then nothing waits."""
        with self._lock:
            now = self._clock()
            note = json.dumps({"t": now, "call": call, "row": dict(row)}).encode()
            self._notebook.add(note, base=self.version)
            found = self._expect(call, row, now, note)
            if self._notebook.count >= NOTES_MAX + len(self._waiting):
                self._write()
            return found

    def learn(self, call: str, result: Result) -> None:
        """See AnswerModel.learn; writes the model when it has learned enough since the last time. StoreError if it
        can't be noted; then nothing is learned."""
        with self._lock:
            now = self._clock()
            note = json.dumps({"t": now, "call": call, "result": asdict(result)}).encode()
            self._notebook.add(note, base=self.version)
            self._learn(call, result, now)
            if self.learned - self._written >= WRITE_EVERY:
                self._write()

    def _expect(self, call: str, row: Mapping[str, Any], now: float, note: bytes) -> Prediction:
        if len(self._model.pending) >= self._model.pending.limit:
            self._forget(now)
        found = self._model.expect(call, row, now)
        self._waiting[call] = note
        return found

    def _learn(self, call: str, result: Result, now: float) -> None:
        self._model.learn(call, result, now)
        self._waiting.pop(call, None)
        self.learned += 1

    def _tell_again(self, note: bytes) -> None:
        """What was refused then is refused now."""
        told = json.loads(note)
        try:
            if "row" in told:
                self._expect(told["call"], told["row"], told["t"], note)
            else:
                self._learn(told["call"], Result(**told["result"]), told["t"])
        except CordboardError:
            return

    def _forget(self, now: float) -> None:
        """Wait no longer for calls that nobody has told the result of in a week."""
        self._model.pending.expire(now, FORGET_S)
        self._waiting = {call: note for call, note in self._waiting.items() if call in self._model.pending}

    def _write(self) -> None:
        now = self._clock()
        self._forget(now)
        self._model.version = self._registry.add(self._model, now, WRITER, {"learned": self.learned})
        self._notebook.replace(list(self._waiting.values()), self.version)
        self._written, self.written_at = self.learned, now
        self._registry.drop_old(WRITER, KEPT, now)

    def close(self) -> None:
        """Write what was learned."""
        with self._lock:
            try:
                if self.learned > self._written:
                    self._write()
            finally:
                self._notebook.close()


class Models:
    """The models of one tenant, in a folder."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()
        self._served: dict[str, ServedModel] = {}

    def get(self, name: str) -> ServedModel:
        """A model by its name. UnknownNameError if there is none, ModelFileError if it can't be read."""
        with self._lock:
            found = self._served.get(name)
            if found is None:
                folder = self._folder / name
                if not _NAME.fullmatch(name) or not folder.is_dir():
                    known = sorted(path.name for path in self._folder.glob("*") if path.is_dir())
                    raise UnknownNameError(f'there is no model "{name}"', Where(key="model"), nearest(name, known))
                if len(self._served) >= MODELS_MAX:
                    raise LimitError("too many models are served", MODELS_MAX, "Use fewer")
                found = self._served[name] = ServedModel(Registry(folder), self._clock)
            return found

    def close(self) -> None:
        """Write what the models have learned."""
        with self._lock:
            for name, model in self._served.items():
                try:
                    model.close()
                except (CordboardError, OSError):
                    _log.exception("the model %s could not be written; it is told again at the next start", name)
            self._served.clear()
