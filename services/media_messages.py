"""Commands and reports of media nodes as messages, and back: the same names on both sides."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from cordboard.errors import InputError, Where
from cordboard.media import backend
from cordboard.media.backend import Cause, Command, HideKeys, Quality, Report
from cordboard.v1 import media_service_pb2 as pb


def command_message(command: Command | HideKeys) -> pb.MediaCommand:
    """A command as a message."""
    message = pb.MediaCommand()
    _fill(getattr(message, _field(type(command).__name__)), command)
    return message


def report_message(report: Report) -> pb.MediaReport:
    """A report as a message."""
    message = pb.MediaReport()
    _fill(getattr(message, _field(type(report).__name__)), report)
    return message


def command_of(message: pb.MediaCommand) -> Command | HideKeys:
    """The command of a message. InputError if it is none."""
    command: Command | HideKeys = _made(message, "command")
    return command


def report_of(message: pb.MediaReport) -> Report:
    """The report of a message. InputError if it is none."""
    report: Report = _made(message, "report")
    return report


@functools.cache
def _field(kind: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()


def _fill(part: Any, record: Any) -> None:
    part.SetInParent()
    for name in type(record).__match_args__:
        value = getattr(record, name)
        if name in _WRITTEN:
            _WRITTEN[name](getattr(part, name), value)
        elif value is not None:
            setattr(part, name, value)


def _write_headers(into: Any, pairs: tuple[tuple[str, str], ...]) -> None:
    for name, text in pairs:
        into.add(name=name, value=text)


def _write_transcript(into: Any, pairs: tuple[tuple[str, str], ...]) -> None:
    for who, text in pairs:
        into.add(who=who, text=text)


def _write_texts(into: Any, texts: tuple[str, ...]) -> None:
    into.extend(texts)


def _write_quality(into: Any, value: Quality | None) -> None:
    if value is not None:
        _fill(into, value)


_WRITTEN: dict[str, Callable[[Any, Any], None]] = {
    "headers": _write_headers,
    "transcript": _write_transcript,
    "prompts": _write_texts,
    "legs": _write_texts,
    "words": _write_texts,
    "quality": _write_quality,
}


def _made(message: Any, key: str) -> Any:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InputError("an empty message", Where(key=key), "Send another one")
    part = getattr(message, kind)
    made = _class(part.DESCRIPTOR.name)
    values = (_READ[name](part, key) if name in _READ else getattr(part, name) for name in made.__match_args__)
    return made(*values)


@functools.cache
def _class(name: str) -> type[Any]:
    found: type[Any] = getattr(backend, name)
    return found


def _quality(part: Any, _: str) -> Quality | None:
    if not part.HasField("quality"):
        return None
    return Quality(*(getattr(part.quality, name) for name in Quality.__match_args__))


def _cause(part: Any, key: str) -> Cause:
    try:
        return Cause(part.cause)
    except ValueError:
        raise InputError(f"{part.cause!r} is no cause", Where(key=f"{key}.cause"), "See media_service.proto") from None


_READ: dict[str, Callable[[Any, str], Any]] = {
    "headers": lambda part, _: tuple((header.name, header.value) for header in part.headers),
    "transcript": lambda part, _: tuple((line.who, line.text) for line in part.transcript),
    "prompts": lambda part, _: tuple(part.prompts),
    "legs": lambda part, _: tuple(part.legs),
    "words": lambda part, _: tuple(part.words),
    "quality": _quality,
    "cause": _cause,
}
