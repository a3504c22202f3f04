"""What can go wrong, and what to do about it.

::

    CordboardError
    ├── InputError(what, where, hint)        something that was handed in is not usable
    │   ├── CenterError                      a center file: file, line and key
    │   │   ├── CallsError                   a file of calls, likewise
    │   │   └── NodeFileError                the settings of a SIP node, likewise
    │   ├── JournalError                     a journal line: file and line
    │   ├── EventError                       an event that the state of the center does not allow
    │   │   ├── DuplicateError               what it would bring in is there already
    │   │   ├── UnknownNameError             an agent, queue, contact ... that does not exist
    │   │   └── StaleEventError              it was true once: an offer withdrawn, a contact gone
    │   ├── DataError                        records for importing or learning
    │   ├── ModelFileError                   a model file: damaged, or of another schema
    │   └── SnapshotError                    a dump of the engine: damaged, or of another version
    ├── LimitError(what, limit)              a bound was reached; nothing was changed
    ├── AccessError(reason, what)            somebody asks for what is not theirs; nothing was changed
    │   ├── UnauthenticatedError             nobody knows who asks: no token or certificate, or one that does not hold
    │   └── DeniedError                      known, but without the permission or outside of its scope
    ├── ConflictError(what, hint)            it contradicts what was done before; nothing was changed
    ├── UnavailableError(what, reason)       not now: drained, closed, or the journal can't be written; try again
    ├── StoreError(kind, what)               a store (journal, records) can't be read or written
    ├── CompactedError(oldest)               a subscription from a revision that is no longer held in memory
    ├── SlowReaderError(revision, capacity)  a subscription fell too far behind and was dropped; it can resume
    └── MissingExtraError(extra)             an optional library is not installed

Every message has three parts: what happened, where (file, line, key, when known), and what to do. ``str(error)`` is
English; ``error.text("zh")`` is Chinese (the sentences are in ``messages.zh.txt``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cordboard.messages import chinese
from cordboard.words import Lang, pick


@dataclass(frozen=True, slots=True)
class Where:
    """A place in something that was handed in. Parts that are not known are None."""

    file: str | None = None
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}" if place else f"line {self.line}"
        if self.key:
            place += f" [{self.key}]" if place else f"[{self.key}]"
        return place


def sentence(text: str, lang: Lang) -> str:
    """A part of a message in the language asked for."""
    return chinese(text) if lang == "zh" else text


def _joined(what: str, hint: str, lang: Lang) -> str:
    if not hint:
        return what
    if lang == "en":
        return f"{what}. {hint}"
    said = sentence(hint, lang)
    return f"{what}。{said}" if said.endswith(("？", "。")) else f"{what}。{said}。"


class CordboardError(Exception):
    """The root: catch this to catch everything that cordboard raises on purpose."""

    def text(self, lang: Lang) -> str:
        """The whole message in the language asked for."""
        return sentence(super().__str__(), lang)

    def __str__(self) -> str:
        return self.text("en")


class InputError(CordboardError, ValueError):
    """Something that was handed in is not usable; nothing was changed.

    ``what`` says what is wrong, ``where`` the place, ``hint`` what to do about it.
    """

    def __init__(self, what: str, where: Where | None = None, hint: str = "") -> None:
        self.what = what
        self.where = where or Where()
        self.hint = hint
        super().__init__(what, self.where, hint)

    def text(self, lang: Lang) -> str:
        place, what = str(self.where), sentence(self.what, lang)
        return _joined(f"{place}: {what}" if place else what, self.hint, lang)

    def at(self, where: Where) -> InputError:
        """The same error with its place filled in, for a caller who knows the file and the line."""
        key = where.key or self.where.key
        return type(self)(self.what, Where(where.file, where.line, key), self.hint)


class CenterError(InputError):
    """A center file that can't be used. ``errors``: all that the file has, in its order, this one first."""

    errors: tuple[CenterError, ...] = ()


class CallsError(CenterError):
    """A file of calls that can't be used."""


class NodeFileError(CenterError):
    """Settings of a SIP node that can't be used."""


class JournalError(InputError):
    """A journal line that can't be read."""


class EventError(InputError):
    """An event that the present state of the center does not allow.

    ``effects``: what the timers due before the event did; they have fired, as they would have without it.
    """

    effects: tuple[dict[str, Any], ...] = ()

    def at(self, where: Where) -> EventError:
        error = super().at(where)
        assert isinstance(error, EventError)
        error.effects = self.effects
        return error


class DuplicateError(EventError):
    """An event would bring in what is in the center already."""


class UnknownNameError(EventError):
    """An event names an agent, a queue or a contact that does not exist."""


class StaleEventError(EventError):
    """An event that came too late: its offer was withdrawn, its contact is gone."""


class DataError(InputError):
    """Records for importing, learning or simulation that can't be used."""


class ModelFileError(InputError):
    """A model file that is damaged or was made for another feature schema."""


class SnapshotError(InputError):
    """A dump of the engine's state that is damaged, or that this version can't read."""


class LimitError(CordboardError):
    """A bound was reached. ``limit`` is the bound; nothing was changed (``effects``: as in EventError)."""

    effects: tuple[dict[str, Any], ...] = ()

    def __init__(self, what: str, limit: int, hint: str = "") -> None:
        self.what, self.limit, self.hint = what, limit, hint
        super().__init__(what, limit, hint)

    def text(self, lang: Lang) -> str:
        what = sentence(self.what, lang)
        what += f"（上限为 {self.limit}）" if lang == "zh" else f" (the limit is {self.limit})"
        return _joined(what, self.hint, lang)


class AccessError(CordboardError):
    """Somebody asks for what is not theirs. ``reason``: a code in capitals, all that a peer is told beside ``what``."""

    def __init__(self, reason: str, what: str) -> None:
        self.reason, self.what = reason, what
        super().__init__(reason, what)

    def text(self, lang: Lang) -> str:
        return pick(lang, f"{self.what} ({self.reason})", f"{sentence(self.what, lang)}（{self.reason}）")


class UnauthenticatedError(AccessError):
    """Nobody knows who asks: no token or certificate, or one that does not hold."""


class DeniedError(AccessError):
    """Known, but without the permission, or outside of its scope."""


class ConflictError(CordboardError):
    """It contradicts what was done before: a request_id with another event, an etag that is out of date."""

    def __init__(self, what: str, hint: str = "") -> None:
        self.what, self.hint = what, hint
        super().__init__(what, hint)

    def text(self, lang: Lang) -> str:
        return _joined(sentence(self.what, lang), self.hint, lang)


class UnavailableError(CordboardError):
    """The live engine can't do this now. ``reason``: its state, as in ``read-only: disk full``.

    Whether the event was journaled is not always known (a commit that failed half-way): with the same ``request_id`` it
    can be sent again and is applied once.
    """

    def __init__(self, what: str, reason: str) -> None:
        self.what, self.reason = what, reason
        super().__init__(what, reason)

    def text(self, lang: Lang) -> str:
        what, reason = sentence(self.what, lang), sentence(self.reason, lang)
        return pick(
            lang,
            f"{what} ({reason}). Try again, with the same request_id",
            f"{what}（{reason}）。请用同一 request_id 重试",
        )


class StoreError(CordboardError):
    """A store can't be read or written.

    ``kind``: ``disk full``, ``i/o error``, ``read-only``, ``lost connection`` (these may pass by themselves),
    ``in use`` (another process has it) or ``unusable`` (not ours, or of a newer version).
    """

    def __init__(self, kind: str, what: str) -> None:
        self.kind, self.what = kind, what
        super().__init__(kind, what)

    def text(self, lang: Lang) -> str:
        return pick(lang, f"{self.what} ({self.kind})", f"{sentence(self.what, lang)}（{sentence(self.kind, lang)}）")


class CompactedError(CordboardError):
    """Entries from there on are not held in memory any more, or not in the journal. ``oldest``: the least ``after``
    that can be had."""

    def __init__(self, oldest: int) -> None:
        self.oldest = oldest
        super().__init__(oldest)

    def text(self, lang: Lang) -> str:
        return pick(
            lang,
            f"the oldest revision to go on after is {self.oldest}. Take the state anew, or read the journal",
            f"可从其后继续的最早修订为 {self.oldest}。请重新取状态，或读取流水日志",
        )


class SlowReaderError(CordboardError):
    """A subscription fell further behind than its capacity. ``revision``: the last that it was given; resume there."""

    def __init__(self, revision: int, capacity: int) -> None:
        self.revision, self.capacity = revision, capacity
        super().__init__(revision, capacity)

    def text(self, lang: Lang) -> str:
        return pick(
            lang,
            f"more than {self.capacity} entries behind, at revision {self.revision}. Subscribe again after it",
            f"在修订 {self.revision} 处已落后超过 {self.capacity} 条。请从其后重新订阅",
        )


class MissingExtraError(CordboardError, ImportError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        self.library, self.extra = library, extra
        super().__init__(library, extra)

    def text(self, lang: Lang) -> str:
        en, zh = f"{self.library} is not installed. Install it with: ", f"未安装 {self.library}。安装方法："
        return pick(lang, en, zh) + f"pip install 'cordboard[{self.extra}]'"
