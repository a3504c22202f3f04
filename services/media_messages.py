"""Commands and reports of media nodes as messages, and back: the same names on both sides."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from cordboard.errors import InputError, Where
from cordboard.media import backend
from cordboard.media.backend import Cause, Command, HideKeys, Quality, Report
from cordboard.v1 import media_service_pb2 as pb


def command_message(command: Command | HideKeys) -> pb.MediaCommand:
    """A command as a message."""
    message = pb.MediaCommand()
    _fill(getattr(message, _field(command)), command)
    return message


def report_message(report: Report) -> pb.MediaReport:
    """A report as a message."""
    message = pb.MediaReport()
    _fill(getattr(message, _field(report)), report)
    return message


def command_of(message: pb.MediaCommand) -> Command | HideKeys:
    """The command of a message. InputError if it is none."""
    command: Command | HideKeys = _made(message, "command")
    return command


def report_of(message: pb.MediaReport) -> Report:
    """The report of a message. InputError if it is none."""
    report: Report = _made(message, "report")
    return report


def _field(record: Command | HideKeys | Report) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(record).__name__).lower()


def _fill(part: Any, record: Any) -> None:
    part.SetInParent()
    for one in dataclasses.fields(record):
        value = getattr(record, one.name)
        if one.name == "headers":
            for name, text in value:
                part.headers.add(name=name, value=text)
        elif one.name == "transcript":
            for who, text in value:
                part.transcript.add(who=who, text=text)
        elif isinstance(value, tuple):
            getattr(part, one.name).extend(value)
        elif isinstance(value, Quality):
            _fill(part.quality, value)
        elif value is not None:
            setattr(part, one.name, value)


def _made(message: Any, key: str) -> Any:
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InputError("an empty message", Where(key=key), "Send another one")
    part = getattr(message, kind)
    made: type[Any] = getattr(backend, part.DESCRIPTOR.name)
    return made(**{one.name: _value(part, one.name, key) for one in dataclasses.fields(made)})


def _value(part: Any, name: str, key: str) -> Any:
    value = getattr(part, name)
    if name == "headers":
        return tuple((header.name, header.value) for header in value)
    if name == "transcript":
        return tuple((line.who, line.text) for line in value)
    if name in ("prompts", "legs", "words"):
        return tuple(value)
    if name == "quality":
        fields = dataclasses.fields(Quality)
        return Quality(**{one.name: getattr(value, one.name) for one in fields}) if part.HasField("quality") else None
    if name == "cause":
        try:
            return Cause(value)
        except ValueError:
            raise InputError(f"{value!r} is no cause", Where(key=f"{key}.cause"), "See media_service.proto") from None
    return value
