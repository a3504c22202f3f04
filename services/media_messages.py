"""Commands and reports of media nodes as messages, and back: the same names on both sides."""

from __future__ import annotations

import functools
import re
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
        if name == "headers":
            for header, text in value:
                part.headers.add(name=header, value=text)
        elif name == "transcript":
            for who, text in value:
                part.transcript.add(who=who, text=text)
        elif isinstance(value, tuple):
            getattr(part, name).extend(value)
        elif isinstance(value, Quality):
            _fill(part.quality, value)
        elif value is not None:
            setattr(part, name, value)


def _made(message: Any, key: str) -> Any:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InputError("an empty message", Where(key=key), "Send another one")
    part = getattr(message, kind)
    made: type[Any] = getattr(backend, part.DESCRIPTOR.name)
    return made(**{name: _value(part, name, key) for name in made.__match_args__})


def _value(part: Any, name: str, key: str) -> Any:
    value = getattr(part, name)
    if name == "headers":
        return tuple((header.name, header.value) for header in value)
    if name == "transcript":
        return tuple((line.who, line.text) for line in value)
    if name in ("prompts", "legs", "words"):
        return tuple(value)
    if name == "quality":
        told = {one: getattr(value, one) for one in Quality.__match_args__}
        return Quality(**told) if part.HasField("quality") else None
    if name == "cause":
        try:
            return Cause(value)
        except ValueError:
            raise InputError(f"{value!r} is no cause", Where(key=f"{key}.cause"), "See media_service.proto") from None
    return value
