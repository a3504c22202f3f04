"""Between media nodes and the journal: reports as events, effects as commands."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from cordboard.calls.config import Calls, Phone
from cordboard.center import UNFIT
from cordboard.media.backend import (
    TEXT_MAX,
    Answer,
    Cause,
    Command,
    Connect,
    Dial,
    Disconnect,
    HangUp,
    Listen,
    PauseRecording,
    Play,
    Quality,
    Recognize,
    Record,
    Report,
    Stop,
    StopListening,
    StopRecognizing,
    StopRecording,
)

_PLAIN: dict[str, type[Any]] = {
    "leg_answer": Answer,
    "leg_connect": Connect,
    "leg_disconnect": Disconnect,
    "leg_listen": Listen,
    "leg_stop_listening": StopListening,
    "leg_stop": Stop,
    "leg_stop_recognizing": StopRecognizing,
    "leg_pause_recording": PauseRecording,
    "leg_stop_recording": StopRecording,
}


def event_of(report: Report, node: str) -> dict[str, Any]:
    """The event of a report, without its time. Far ends send what they like: what no text of a journal may have is left
    out."""
    event: dict[str, Any] = {"event": _kind(type(report).__name__), "node": node}
    for key in type(report).__match_args__:
        value = getattr(report, key)
        if type(value) is str:
            value = _fit(value)
        elif key in ("headers", "transcript"):
            value = [[_fit(text) for text in pair] for pair in value]
        elif type(value) is Quality:
            value = {name: getattr(value, name) for name in Quality.__match_args__}
        if value or key in _KEPT:
            event[key] = value
    return event


@functools.cache
def _kind(name: str) -> str:
    return "leg_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _fit(text: str) -> str:
    return UNFIT.sub("", text)[:TEXT_MAX]


# fields that events have even where they say nothing
_KEPT = ("token", "whole", "file", "seconds", "why", "to", "after_s", "machine", "text", "confidence", "final")


Numbers = Callable[[str, str], str]  # of a campaign and an entry; empty if there is none any more


def no_numbers(campaign: str, entry: str) -> str:
    return ""


def commands_of(
    effects: Iterable[dict[str, Any]], node: str, calls: Calls, numbers: Numbers = no_numbers
) -> list[Command]:
    """The commands for a node among effects. ``calls`` knows the addresses of phones, ``numbers`` those of lists."""
    told = (effect for effect in effects if effect["effect"].startswith("leg_") and effect.get("node") == node)
    return [_command(effect, calls, numbers) for effect in told]


def _command(effect: dict[str, Any], calls: Calls, numbers: Numbers) -> Command:
    kind = effect["effect"]
    fields = {key: value for key, value in effect.items() if key not in ("t", "effect", "node", "contact")}
    if kind == "leg_dial":
        phone = calls.phones.get(fields.pop("phone", ""), Phone())
        if "entry" in fields:
            fields["number"] = numbers(fields.pop("campaign"), fields.pop("entry"))
        to, trunk = fields.pop("number", phone.to), fields.pop("trunk", phone.trunk)
        headers = (*phone.parameters, *map(tuple, fields.pop("headers", ())))  # the call's come last and hold
        return Dial(to=to, trunk=trunk, headers=headers, **fields)
    if kind == "leg_hang_up":
        return HangUp(fields["leg"], Cause(fields["cause"]))
    if kind == "leg_play":
        return Play(fields["leg"], tuple(fields["prompts"]), fields["loop"], fields["token"])
    if kind == "leg_recognize":
        return Recognize(fields["leg"], fields["token"], fields["language"], tuple(fields["words"]))
    if kind == "leg_record":
        return Record(fields["recording"], tuple(fields["legs"]))
    command: Command = _PLAIN[kind](**fields)
    return command
