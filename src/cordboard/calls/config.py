"""The file of calls: numbers, phones, trunks and prompts, beside the center file.

``load_calls(path, center)`` reads what docs/reference/calls-file.md describes and returns :class:`Calls`, plain data in
the order of the file. Addresses of phones are for the media nodes; what decides (:func:`calls_record`) goes into the
journal without them.

Times are seconds; prompts are names of files in the media nodes' folder of prompts.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cordboard.calls.campaign import Campaign
from cordboard.calls.flow import Flow, Zone
from cordboard.calls.flow_reader import read_flow
from cordboard.center import CENTER_BYTES_MAX, Center
from cordboard.errors import CallsError, Where

Prompts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Number:
    """A number that people call: ``queue`` is where they wait, ``greeting`` what they hear before. With a ``flow`` it
    leads them to queues, and ``queue`` is empty."""

    queue: str = ""
    greeting: Prompts = ()
    priority: float = 0.0
    flow: str = ""


@dataclass(frozen=True, slots=True)
class QueueCalls:
    """What callers of a queue hear: ``music`` while they wait, ``expired`` when ``max_wait`` is over and no overflow is
    left, ``full`` when it takes no more.

    ``record``: the share of conversations that are recorded, 0 to 1, those that came ``in``, went ``out``, or both
    (``record_only`` empty); ``consent``: what is heard before; ``keep_days``: how long they are kept, 0 for ever."""

    music: Prompts = ()
    expired: Prompts = ()
    full: Prompts = ()
    record: float = 0.0
    record_only: str = ""
    consent: Prompts = ()
    keep_days: float = 0.0


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone of an agent or a supervisor. ``to``: its address, or with a ``trunk`` its number. ``nailed_up``: one leg
    stays up from the time that the agent is ready until it is offline.

    A ``bot`` answers itself: ``then`` is the queue of those whom it fails, ``cost`` what it is worth less than
    others, ``rest`` how long it is offered nothing after it has failed; ``parameters`` are told to it."""

    to: str = ""
    trunk: str = ""
    nailed_up: bool = False
    bot: bool = False
    then: str = ""
    cost: float = 0.0
    rest: float = 10.0
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Trunk:
    """A way to other numbers. ``caller``: the number that is shown; empty: the one that the caller has."""

    caller: str = ""


@dataclass(frozen=True, slots=True)
class Calls:
    """How calls are handled. ``ring``: seconds that a phone rings where the queue has no ``offer_timeout``.
    ``max_calls``: so many at once; others hear that all lines are busy. ``hold``: what they hear who are on hold."""

    numbers: Mapping[str, Number] = field(default_factory=dict)
    queues: Mapping[str, QueueCalls] = field(default_factory=dict)
    phones: Mapping[str, Phone] = field(default_factory=dict)
    trunks: Mapping[str, Trunk] = field(default_factory=dict)
    ring: float = 30.0
    max_calls: int = 10_000
    hold: Prompts = ()
    campaigns: Mapping[str, Campaign] = field(default_factory=dict)
    flows: Mapping[str, Flow] = field(default_factory=dict)  # by the name of their file
    zone: Zone = ()  # of the center, if a flow has hours
    warnings: tuple[CallsError, ...] = field(default=(), compare=False)


def load_calls(path: str | os.PathLike[str], center: Center) -> Calls:
    """Read a file of calls for a center. Raises CallsError, which holds all that is wrong with it."""
    file = os.fspath(path)
    try:
        with open(path, "rb") as stream:
            raw = stream.read(CENTER_BYTES_MAX + 1)
    except OSError as error:
        raise CallsError(f"can't be read: {error.strerror}", Where(file), "Check the path") from error
    try:
        return parse_calls(raw.decode("utf-8-sig"), center, file)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise CallsError("not valid UTF-8", Where(file, line), "Save the file as UTF-8") from error


def parse_calls(
    text: str, center: Center, file: str = "<string>", flows: Mapping[str, str] | None = None
) -> Calls:
    """Read calls from TOML text; ``file`` is the name that errors give. ``flows``: texts of the files of flows by name;
    None: they are files, beside ``file``. Raises as load_calls does."""
    if len(text) > CENTER_BYTES_MAX:
        raise CallsError(f"the file is longer than {CENTER_BYTES_MAX} characters", Where(file), "Make it shorter")
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise CallsError(f"not valid TOML: {error}", Where(file), "See https://toml.io for the notation") from error
    from cordboard.calls.reader import read_calls  # it needs the classes above

    return read_calls(data, text, file, center, flows)


def calls_record(calls: Calls) -> dict[str, Any]:
    """What decides, as plain data for the journal: all but the addresses."""
    record = {
        "numbers": {name: asdict(number) for name, number in calls.numbers.items()},
        "queues": {name: asdict(queue) for name, queue in calls.queues.items()},
        "phones": {name: _phone_record(phone) for name, phone in calls.phones.items()},
        "trunks": {name: asdict(trunk) for name, trunk in calls.trunks.items()},
        "ring": calls.ring,
        "max_calls": calls.max_calls,
        "hold": calls.hold,
        "campaigns": {name: asdict(campaign) for name, campaign in calls.campaigns.items()},
        "flows": {name: flow.tables for name, flow in calls.flows.items()},
        "zone": [list(part) for part in calls.zone],
    }
    return _listed(record)  # type: ignore[no-any-return]


def _phone_record(phone: Phone) -> dict[str, Any]:
    """All but where it is, and what is told to it."""
    bot = {"bot": True, "then": phone.then, "cost": phone.cost, "rest": phone.rest}
    return {"nailed_up": phone.nailed_up, **(bot if phone.bot else {})}


def record_calls(record: Mapping[str, Any]) -> Calls:
    """The calls of such a record. Raises JournalError if it is none."""
    from cordboard.errors import JournalError

    try:
        return Calls(
            {str(name): Number(**_tupled(each)) for name, each in record["numbers"].items()},
            {str(name): QueueCalls(**_tupled(each)) for name, each in record["queues"].items()},
            {str(name): Phone(**each) for name, each in record["phones"].items()},
            {str(name): Trunk(**each) for name, each in record["trunks"].items()},
            float(record["ring"]),
            int(record["max_calls"]),
            tuple(record["hold"]),
            {str(name): Campaign(**_tupled(each)) for name, each in record.get("campaigns", {}).items()},
            {str(name): read_flow(tables) for name, tables in record.get("flows", {}).items()},
            tuple((float(since), float(ahead)) for since, ahead in record.get("zone", ())),
        )
    except CallsError as error:
        raise JournalError(error.what, error.where, error.hint) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"these are no settings of calls: {error!r}"
        raise JournalError(what, Where(key="calls"), "The live engine writes them") from error


def _tupled(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value
