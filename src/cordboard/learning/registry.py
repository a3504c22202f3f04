"""Model files and the registry that keeps them: immutable, checked, without pickle.

A model file is: a magic line, the length of the header (8 bytes), the header (JSON: schema and its hash, settings,
the arrays' names, types and shapes), the arrays' bytes one after the other (little-endian), SHA-256 of all that. Equal
models make equal bytes. Reading runs no code from the file, and checks every length before it is believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from cordboard.errors import ModelFileError, Where
from cordboard.learning.compiled import Compiled, CompiledLinear, CompiledTrees
from cordboard.learning.head import Settings
from cordboard.learning.model import AnswerModel
from cordboard.learning.schema import Schema

try:
    import fcntl
except ImportError:  # a system without POSIX: models can be read and written there, a registry can't be shared
    fcntl = None  # type: ignore[assignment]

MAGIC = b"cordboard answer model 1\n"
DTYPES = ("<f8", "<i8", "<i4", "|u1")
# What values that make no sense raise on the way to a model.
_UNUSABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
HEADER_MAX = 16 * 1024 * 1024
POINTER = "CURRENT"
AUDIT = "audit.jsonl"


def to_bytes(model: AnswerModel, notes: Mapping[str, Any] | None = None) -> bytes:
    """A model's champions as the bytes of a model file. ``notes``: plain data to keep with it, e.g. metrics."""
    meta, arrays = model.to_arrays()
    return pack({**meta, "notes": dict(notes or {})}, arrays)


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Any header of plain data and arrays as the bytes of a model file: what :func:`file_parts` gives back."""
    index, parts = [], []
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        dtype = array.dtype.newbyteorder("<").str
        if dtype not in DTYPES:
            raise TypeError(f"array {name!r} has type {dtype}")
        index.append([name, dtype, list(array.shape)])
        parts.append(array.astype(dtype).tobytes())
    text = json.dumps({**header, "arrays": index}, allow_nan=False).encode()
    body = b"".join([MAGIC, len(text).to_bytes(8, "little"), text, *parts])
    return body + hashlib.sha256(body).digest()


def from_bytes(data: bytes, schema: Schema | None = None, file: str | None = None) -> AnswerModel:
    """The model in the bytes of a file. ModelFileError if it is damaged, or not for ``schema`` (where one is given)."""
    header, arrays = file_parts(data, file)
    try:
        made_for = Schema.from_dict(header["schema"])
        if made_for.hash != header["schema_hash"]:
            raise ValueError("the schema's hash does not agree with the schema")
        model = _build(made_for, header, arrays) if schema is None or made_for.hash == schema.hash else None
    except _UNUSABLE as error:
        raise ModelFileError(f"the model file holds no usable model: {error}", Where(file), "Train it again.") from None
    if model is None:
        assert schema is not None
        raise ModelFileError(
            f"the model was made for schema {made_for.name!r} version {made_for.version} ({made_for.hash[:12]}), "
            f"not for {schema.name!r} version {schema.version} ({schema.hash[:12]})",
            Where(file), "Train a model with this schema, or load it with the schema it was made for.",
        )  # fmt: skip
    return model


def file_parts(data: bytes, file: str | None = None) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(header, arrays) of a model file's bytes. ModelFileError if a checksum, a length or a type is not right."""

    def damaged(what: str) -> ModelFileError:
        return ModelFileError(
            f"the model file is damaged: {what}", Where(file), "Restore it, or roll back to another model."
        )

    if not data.startswith(MAGIC):
        raise ModelFileError(
            "this is no model file of cordboard", Where(file), "Give a file that `cordboard learn` wrote."
        )
    at = len(MAGIC) + 8
    if len(data) < at + 32 or hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise damaged("its checksum does not agree")
    length = int.from_bytes(data[len(MAGIC) : at], "little")
    end = len(data) - 32
    if length > min(HEADER_MAX, end - at):
        raise damaged("its header has no end")
    try:
        header = json.loads(data[at : at + length])
        index = [(str(name), str(dtype), tuple(int(n) for n in shape)) for name, dtype, shape in header["arrays"]]
    except _UNUSABLE as error:
        raise damaged(f"its header can't be read ({error})") from None
    at += length
    arrays = {}
    for name, dtype, shape in index:
        if dtype not in DTYPES or any(n < 0 for n in shape):
            raise damaged(f"array {name!r} has type {dtype}, shape {shape}")
        size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        if size > end - at:
            raise damaged(f"array {name!r} is cut off")
        try:
            arrays[name] = np.frombuffer(data, dtype, size // np.dtype(dtype).itemsize, at).reshape(shape)
        except _UNUSABLE as error:  # more axes, or longer ones, than NumPy has
            raise damaged(f"array {name!r} has a shape of {len(shape)} axes ({error})") from None
        at += size
    if at != end:
        raise damaged("bytes are left over")
    return header, arrays


def _build(schema: Schema, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> AnswerModel:
    settings = {name: _settings(entry) for name, entry in header["settings"].items()}
    first = settings[header["heads"][0]]
    model = AnswerModel(schema, header["heads"], at=header["at"], features=header["features"], settings=first)
    for name, head in model.heads.items():
        mine = {key.removeprefix(f"{name}/"): a for key, a in arrays.items() if key.startswith(f"{name}/")}
        head.settings = head.champion.settings = settings[name]
        learner = head.champion.learner = settings[name].learner(model.encoder)
        learner.restore(_part(mine, "online"))
        compiled: Compiled | None = None
        if trees := _part(mine, "trees"):
            compiled = CompiledTrees(trees)
        elif linear := _part(mine, "linear"):
            compiled = CompiledLinear(linear)
        if compiled is not None and compiled.n_features != len(model.encoder.dense_names):
            raise ValueError("the compiled model takes other features")
        head.champion.compiled = compiled
    return model


def _part(arrays: dict[str, NDArray[Any]], kind: str) -> dict[str, NDArray[Any]]:
    native = {k.removeprefix(f"{kind}/"): a for k, a in arrays.items() if k.startswith(f"{kind}/")}
    return {k: a.astype(a.dtype.newbyteorder("=")) for k, a in native.items()}


def _settings(entry: dict[str, Any]) -> Settings:
    fields = dict(entry)
    fields["lanes"] = tuple(tuple(float(v) for v in lane) for lane in entry["lanes"])
    fields["recent"] = tuple(float(v) for v in entry["recent"])
    return Settings(**fields)


class Registry:
    """A folder of model files, one of which is current. Files are named by their checksum and never change.

    The pointer to the current one is swapped atomically; every swap adds a line to the audit log. Several threads and
    processes may use one folder: those who write wait for each other. OSError where the folder can't be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def models(self) -> list[str]:
        """Versions in the folder, by name."""
        return sorted(path.stem for path in self.folder.glob("*.model"))

    def current(self) -> str | None:
        """The current version; None before the first."""
        try:
            return (self.folder / POINTER).read_text("ascii", errors="replace").strip() or None
        except OSError:
            return None

    def add(self, model: AnswerModel, now: float, who: str = "", notes: Mapping[str, Any] | None = None,
            publish: bool = True) -> str:  # fmt: skip
        """Write a model file and, unless told not to, make it current. Its version. ``now``: seconds since 1970,
        for the log."""
        data = to_bytes(model, notes)
        version = hashlib.sha256(data).hexdigest()[:16]
        path = self.folder / f"{version}.model"
        with self._locked_log() as log:
            if not path.exists():
                _write_whole(path, data)
                path.chmod(0o444)
            _append(log, {"t": now, "action": "add", "version": version, "who": who, "notes": dict(notes or {})})
        if publish:
            self.publish(version, now, who)
        return version

    def load(self, version: str | None = None, schema: Schema | None = None) -> AnswerModel:
        """A version's model, the current one unless named. ModelFileError if it is absent, damaged or for another
        schema."""
        version = version or self.current()
        if version is None:
            raise ModelFileError("the registry has no current model", Where(str(self.folder)), "Add one first.")
        path = self._path(version)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"model {version} can't be read: {error}", Where(str(path)), self._hint()) from None
        if hashlib.sha256(data).hexdigest()[:16] != version:
            raise ModelFileError(
                "the model file is damaged: its checksum is not its name", Where(str(path)), "Restore it, or roll back."
            )
        model = from_bytes(data, schema, str(path))
        model.version = version
        return model

    def publish(self, version: str, now: float, who: str = "") -> None:
        """Make a version current, after it has been read whole."""
        self._point_at(version, now, who, "publish")

    def roll_back(self, now: float, who: str = "") -> str:
        """Make the version current that was so before the present one was published; its name.

        A second roll-back goes on to the one before that, never back to what was rolled back.
        """
        history: list[str] = []  # what was current when, less what was rolled back
        for entry in self.audit():
            if entry["action"] == "publish" and entry["version"] not in history[-1:]:
                history.append(entry["version"])
            elif entry["action"] == "roll_back" and history:
                history.pop()
        if len(history) < 2:
            raise ModelFileError("there is no earlier model to go back to", Where(str(self.folder)), self._hint())
        self._point_at(history[-2], now, who, "roll_back")
        return history[-2]

    def drop_old(self, who: str, keep: int, now: float) -> list[str]:
        """Delete the files of the versions that somebody added, but for the latest ``keep`` of them, the current one
        and those that somebody else added or published, too. Which ones."""
        added: dict[str, None] = {}
        others = {self.current()}
        for entry in self.audit():
            if entry["who"] == who and entry["action"] == "add":
                added.pop(entry["version"], None)
                added[entry["version"]] = None
            elif entry["who"] != who:
                others.add(entry["version"])
        held = set(self.models())
        old = [version for version in list(added)[:-keep] if version in held - others]
        with self._locked_log() as log:
            for version in old:
                self._path(version).unlink(missing_ok=True)
                _append(log, {"t": now, "action": "drop", "version": version, "who": who, "notes": {}})
        return old

    def audit(self) -> list[dict[str, Any]]:
        """The log of what was done, oldest first: t, action, version, who, notes. ModelFileError at a damaged line."""
        try:
            lines = (self.folder / AUDIT).read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return []
        entries = []
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                entries.append({key: entry[key] for key in ("t", "action", "version", "who", "notes")})
            except _UNUSABLE:
                where = Where(str(self.folder / AUDIT), number)
                raise ModelFileError("this line of the audit log is damaged", where, "Correct or remove it.") from None
        return entries

    def _point_at(self, version: str, now: float, who: str, action: str) -> None:
        self.load(version)
        with self._locked_log() as log:  # so that pointer and log tell the same story
            notes = {"before": self.current()}
            _write_whole(self.folder / POINTER, f"{version}\n".encode())
            _append(log, {"t": now, "action": action, "version": version, "who": who, "notes": notes})

    @contextmanager
    def _locked_log(self) -> Iterator[TextIO]:
        """The audit log, for this process alone."""
        if fcntl is None:
            what = "this system has no locks for the registry's files"
            raise ModelFileError(what, Where(str(self.folder)), "Keep registries on Linux or macOS.")
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / AUDIT, "a", encoding="utf-8") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            yield log

    def _path(self, version: str) -> Path:
        if len(version) != 16 or not set(version) <= set("0123456789abcdef"):
            raise ModelFileError(f"{version!r} is no version", Where(str(self.folder)), self._hint())
        return self.folder / f"{version}.model"

    def _hint(self) -> str:
        return f"There are: {', '.join(self.models()) or 'none'}."


def _append(log: TextIO, entry: dict[str, Any]) -> None:
    log.write(json.dumps(entry, sort_keys=True) + "\n")
    log.flush()
    os.fsync(log.fileno())


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none, whatever happens."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # where it could not be written whole
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
