"""What a backup has of a tenant beside its journal: webhooks, audit logs, notes of campaigns, models."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from cordboard.errors import CordboardError, StoreError

DATABASES = ("webhooks.db", "outbound.db", "campaigns/*.db", "models/*/notes.db")
WHOLE = ("models/*/CURRENT", "models/*/audit.jsonl", "models/*/*.model")  # after the notes: these may be newer
LOGS = ("audit*/audit-*.log",)


def copies(source: Path, target: Path) -> dict[str, Path]:
    """Copies of a tenant's files, in a folder: name within the tenant's folder -> path. Writers go on meanwhile."""
    made: dict[str, Path] = {}
    for patterns, copy in ((DATABASES, vacuum), (WHOLE, shutil.copyfile), (LOGS, _whole_lines)):
        for path in sorted(path for pattern in patterns for path in source.glob(pattern)):
            name = str(path.relative_to(source))
            made[name] = target / name
            made[name].parent.mkdir(parents=True, exist_ok=True)
            copy(path, made[name])
    return made


def vacuum(source: Path, copy: Path) -> None:
    """A copy of an SQLite file as it stands at one instant; writers go on meanwhile."""
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as db:
            db.execute("VACUUM INTO ?", [str(copy)])
    except sqlite3.Error as error:
        raise StoreError("i/o error", f"{source}: {error}") from error


def _whole_lines(source: Path, copy: Path) -> None:
    """A copy of a file that is being appended to, up to its last whole line."""
    shutil.copyfile(source, copy)
    with open(copy, "r+b") as stream:
        end = size = stream.seek(0, 2)
        while end > 0:
            start = max(0, end - 65536)
            stream.seek(start)
            place = stream.read(end - start).rfind(b"\n")
            if place >= 0:
                end = start + place + 1
                break
            end = start
        if end < size:
            stream.truncate(end)


def told(folder: Path) -> dict[str, Any]:
    """What can be told of copies: how many notes each campaign has, which version of each model can be used."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("campaigns/*.db")):
        found.setdefault("campaigns", {})[path.stem] = _notes(path)
    for path in sorted(folder.glob("models/*/CURRENT")):
        notes = path.with_name("notes.db")
        about = {"version": _version(path.parent), "notes": _notes(notes) if notes.exists() else 0}
        found.setdefault("models", {})[path.parent.name] = about
    return found


def _notes(path: Path) -> int | str:
    try:
        with closing(sqlite3.connect(path)) as db:
            if db.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                return "damaged"
            return int(db.execute("SELECT count(*) FROM notes").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)


def _version(folder: Path) -> str:
    from cordboard.learning.registry import Registry

    try:
        return Registry(folder).load().version
    except CordboardError as error:
        return str(error)
