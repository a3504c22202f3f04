"""Where the services find recordings: the index of a tenant, the folder of its media nodes, and what opens them."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cordboard import words
from cordboard.errors import InputError, Where
from cordboard.live import Settings
from cordboard.live.beside import OFF, records_place
from cordboard.recordings.container import Reading, read_identities
from cordboard.recordings.index import Found, Index, path_of

if TYPE_CHECKING:
    from cordboard.records import Records

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser, lang: words.Lang) -> None:
    """The options of ``cordboard serve`` that are about this."""
    folder = words.pick(lang, "folder of recordings, so that they can be played", "录音目录，用于播放")
    parser.add_argument("--recordings", metavar="FOLDER", type=Path, help=folder)
    key = words.pick(lang, "the key that opens them", "录音密钥文件")
    parser.add_argument("--recordings-key", metavar="FILE", type=Path, help=key)


class Shelf:
    """The recordings of one tenant. Thread-safe; its methods wait for a disk, so call them in a thread."""

    def __init__(self, place: str, schema: str, folder: Path | None, identities: list[str]) -> None:
        self._place, self._schema, self.folder, self._identities = place, schema, folder, identities
        self._lock = threading.Lock()
        self._records: Records | None = None

    def ask(self, what: Callable[[Index], T]) -> T:
        """What the index gives."""
        from cordboard.records import Records

        with self._lock:
            if self._records is None:
                self._records = Records(self._place, self._schema)
            return what(Index(self._records))

    @property
    def opens(self) -> bool:
        """Whether recordings can be opened here."""
        return self.folder is not None and bool(self._identities)

    def read(self, found: Found) -> Reading:
        """The recording itself. InputError if it is not here, or not what it should be."""
        assert self.folder is not None
        reading = Reading(path_of(found, self.folder), self._identities)
        if reading.name != found.recording:
            what = f'it holds recording "{reading.name}"'
            raise InputError(what, Where(str(reading.path)), "Somebody has moved files")
        return reading

    def purge(self, by: str, most: int, only_say: bool) -> tuple[list[str], int, int]:
        """Delete those whose time is over: which ones, how many of them are held, how many are left for another time.
        Those whose files are not in the folder are another machine's to delete."""
        folder = self.folder
        assert folder is not None

        def work(index: Index) -> tuple[list[str], int, int]:
            if not only_say:
                index.sweep(folder)
            due = index.due()
            free = [one for one in due if one.held_at is None and path_of(one, folder).exists()]
            gone = [one.recording for one in free[:most] if only_say or index.delete(one, folder, by)]
            return gone, sum(one.held_at is not None for one in due), max(0, len(free) - most)

        return self.ask(work)

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            if self._records is not None:
                self._records.close()


def shelves(options: argparse.Namespace, settings: Settings, tenants: Mapping[str, object]) -> dict[str, Shelf]:
    """A shelf for each tenant; none where no records are kept. InputError for a key that is none."""
    if (options.recordings is None) != (options.recordings_key is None):
        raise InputError("a folder without its key, or a key alone", Where(key="--recordings"), "Give both, or neither")
    identities = read_identities(options.recordings_key) if options.recordings_key is not None else []
    if options.records == OFF:
        return {}
    found = {}
    for tenant in tenants:
        place, schema = records_place(settings, tenant, options.records)
        folder = options.recordings if options.recordings is None or len(tenants) == 1 else options.recordings / tenant
        found[tenant] = Shelf(place, schema, folder, identities)
    return found
