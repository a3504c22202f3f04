"""Checks what tomllib read from a center file and makes a Center of it.

One table per kind of section says which keys there are and what checks each. Nothing stops at the first
mistake: all that is wrong is reported, in the order of the file, with line and key.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

from cordboard.center import (
    CAPACITY_MAX,
    CHANNELS,
    DURATION_MAX_S,
    LEVEL_MAX,
    ORDERS,
    STEPS_MAX,
    STRATEGIES,
    TIER_MAX,
    UNFIT,
    WEIGHT_MAX,
    Agent,
    Center,
    Queue,
    Reserve,
    Step,
    Weights,
    serves,
)
from cordboard.errors import CenterError, Where
from cordboard.toml_lines import Path, key_lines, line_of


def read_center(data: dict[str, Any], text: str, file: str) -> Center:
    """The center of ``data``, which tomllib read from ``text``. Raises CenterError."""
    return _Reader(text, file).center(data)


class _Wrong(Exception):
    """A value that can't be used: ``what`` and ``hint`` for the CenterError, at ``path``."""

    def __init__(self, path: Path, what: str, hint: str = "") -> None:
        self.path, self.what, self.hint = path, what, hint


Check = Callable[["_Reader", Path, Any], Any]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the known name that is most like ``name``, or with all of them if they are few."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f'Did you mean "{close[0]}"?'
    return "Known: " + ", ".join(names) if 0 < len(names) <= 24 else ""


def _number(low: float, high: float, seconds: bool = False) -> Check:
    hint = f"Give seconds from {low:g} to {high:g}" if seconds else f"Give a number from {low:g} to {high:g}"

    def check(_: _Reader, path: Path, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Wrong(path, f"{_shown(value)} is not a number", hint)
        if not low <= value <= high:  # NaN comes here too
            raise _Wrong(path, f"{_shown(value)} is out of range", hint)
        return float(value)

    return check


def _weight(reader: _Reader, path: Path, value: Any) -> float:
    _number(-WEIGHT_MAX, WEIGHT_MAX)(reader, path, value)
    return value  # type: ignore[no-any-return]  # a whole number stays one, for people to read


def _seconds(reader: _Reader, path: Path, value: Any) -> float:
    number: float = _number(0, DURATION_MAX_S, seconds=True)(reader, path, value)
    if 0 < number < 1e-6:
        raise _Wrong(path, f"{_shown(value)} seconds is less than a microsecond", "The clock has microseconds")
    return number


def _whole(low: int, high: int) -> Check:
    def check(_: _Reader, path: Path, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _Wrong(path, f"{_shown(value)} is not a whole number from {low} to {high}")
        return value

    return check


def _flag(_: _Reader, path: Path, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(path, f"{_shown(value)} is not true or false")
    return value


def _name(_: _Reader, path: Path, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong(path, f"{_shown(value)} is not a name", "Give a text in quotes")
    return value


def _one_of(known: tuple[str, ...]) -> Check:
    def check(_: _Reader, path: Path, value: Any) -> str:
        if value not in known:
            hint = _nearest(value, known) if isinstance(value, str) else "Known: " + ", ".join(known)
            raise _Wrong(path, f"{_shown(value)} is not known", hint)
        return str(value)

    return check


def _zone(reader: _Reader, path: Path, value: Any) -> str:
    import zoneinfo  # late: only a center that names its zone needs it

    name = _name(reader, path, value)
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if known:
            hint = _nearest(name, sorted(known)) or 'Give a name such as "Asia/Shanghai"'
            raise _Wrong(path, f"{_shown(name)} is not a time zone", hint) from None
        reader.warn(path, f'time zone "{name}" can\'t be checked: this machine has no time zone data')
    return name


def _mapping(check: Check) -> Check:
    """A table of names, every value under one check."""

    def check_all(reader: _Reader, path: Path, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _Wrong(path, f"{_shown(value)} is not a table", "Write it as { name = number }")
        return reader.each(path, value, dict.fromkeys(value, check))

    return check_all


_levels = _mapping(_whole(1, LEVEL_MAX))
_STEP: dict[str, Check] = {"for": _seconds, "requires": _levels}


def _steps(reader: _Reader, path: Path, value: Any) -> tuple[Step, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= STEPS_MAX:
        raise _Wrong(path, f"{_shown(value)} is not a list of 1 to {STEPS_MAX} steps", "Leave it out for no steps")
    steps = []
    for index, item in enumerate(value):
        got = reader.table((*path, index), item, _STEP)
        steps.append(Step(got.get("for"), got.get("requires", {})))
        if steps[-1].seconds is None and index + 1 < len(value):
            reader.warn((*path, index), "a step without `for` never ends: the steps after it are out of reach")
    return tuple(steps)


_WEIGHTS: dict[str, Check] = {
    name: _number(-1e9, 1e9) for name in ("wait", "idle", "priority", "proficiency", "value", "tier")
}
_TARGET: dict[str, Check] = {"share": _number(0, 1), "within": _number(1e-6, DURATION_MAX_S, seconds=True)}


def _weights(reader: _Reader, path: Path, value: Any) -> Weights:
    return Weights(**reader.table(path, value, _WEIGHTS))


def _target(reader: _Reader, path: Path, value: Any) -> dict[str, float]:
    return reader.table(path, value, _TARGET)


def _memberships(reader: _Reader, path: Path, value: Any) -> dict[str, int]:
    if isinstance(value, list):
        for index, name in enumerate(value):
            if not isinstance(name, str):
                raise _Wrong((*path, index), f"{_shown(name)} is not the name of a queue")
        return dict.fromkeys(value, 1)
    tiers: dict[str, int] = _mapping(_whole(1, TIER_MAX))(reader, path, value)
    return tiers


def _capacity(reader: _Reader, path: Path, value: Any) -> dict[str, int]:
    slots: dict[str, int] = _mapping(_whole(0, CAPACITY_MAX))(reader, path, value)
    for channel in slots:
        if channel not in CHANNELS:
            raise _Wrong((*path, channel), f'"{channel}" is not a channel', _nearest(channel, CHANNELS))
    return slots


def _queue_names(_: _Reader, path: Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _Wrong(path, f"{_shown(value)} is not a list of queues", 'Write it as ["vip"]')
    return tuple(value)


_CENTER: dict[str, Check] = {"order": _one_of(ORDERS), "time_zone": _zone}
_QUEUE: dict[str, Check] = {
    "channel": _one_of(CHANNELS),
    "requires": _levels,
    "steps": _steps,
    "strategy": _one_of(STRATEGIES),
    "weight": _weight,
    "target": _target,
    "delay": _seconds,
    "tier_wait": _seconds,
    "tier_wait_multiplies": _flag,
    "offer_timeout": _seconds,
    "retry_delay": _seconds,
    "max_no_answer": _whole(0, WEIGHT_MAX),
    "wrap_up": _seconds,
    "max_waiting": _whole(0, WEIGHT_MAX),
    "max_wait": _seconds,
    "overflow": _name,
    "sticky": _flag,
    "weights": _weights,
}
_AGENT: dict[str, Check] = {
    "skills": _levels,
    "queues": _memberships,
    "capacity": _capacity,
    "blend": _flag,
    "wrap_up": _seconds,
}
_RESERVE: dict[str, Check] = {
    "skill": _name,
    "level": _whole(1, LEVEL_MAX),
    "agents": _whole(0, WEIGHT_MAX),
    "for": _queue_names,
}
_TOP = ("center", "queues", "agents", "reserve")


class _Reader:
    """Reads one file: collects what is wrong and what is odd, by path; lines are looked up at the end."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.wrong: list[_Wrong] = []
        self.odd: list[_Wrong] = []

    def warn(self, path: Path, what: str, hint: str = "") -> None:
        self.odd.append(_Wrong(path, what, hint))

    def each(self, path: Path, table: dict[str, Any], checks: dict[str, Check]) -> dict[str, Any]:
        """Check every value of a table whose keys are known; a wrong one is noted and left out."""
        out = {}
        for key, value in table.items():
            try:
                out[key] = checks[key](self, (*path, key), value)
            except _Wrong as wrong:
                self.wrong.append(wrong)
        return out

    def table(self, path: Path, value: Any, checks: dict[str, Check]) -> dict[str, Any]:
        """Check a table with the given keys; an unknown key is an error."""
        if not isinstance(value, dict):
            raise _Wrong(path, f"{_shown(value)} is not a table")
        for key in value:
            if key not in checks:
                self.wrong.append(_Wrong((*path, key), f'unknown key "{key}"', _nearest(key, checks)))
        return self.each(path, {key: value[key] for key in value if key in checks}, checks)

    def section(self, data: dict[str, Any], name: str, checks: dict[str, Check]) -> dict[str, dict[str, Any]]:
        """``[queues.*]`` or ``[agents.*]``: name -> its checked keys."""
        named = data.get(name, {})
        if not isinstance(named, dict):
            self.wrong.append(_Wrong((name,), f"{_shown(named)} is not a table", f"Write [{name}.NAME]"))
            return {}
        for one in named:
            if not one or UNFIT.search(one):
                self.wrong.append(_Wrong((name, one), "a name that is empty or has control characters", "Give another"))
        tables: dict[str, Check] = {one: lambda reader, path, value: reader.table(path, value, checks) for one in named}
        return self.each((name,), named, tables)

    def center(self, data: dict[str, Any]) -> Center:
        for key in data:
            if key not in _TOP:
                self.wrong.append(_Wrong((key,), f'unknown key "{key}"', _nearest(key, _TOP)))
        head = self.each((), {"center": data.get("center", {})}, {"center": lambda r, p, v: r.table(p, v, _CENTER)})
        queues = tuple(self.queue(name, got) for name, got in self.section(data, "queues", _QUEUE).items())
        agents = tuple(self.agent(name, got) for name, got in self.section(data, "agents", _AGENT).items())
        reserves = self.reserves(data.get("reserve", []))
        self.references(data, queues, agents)
        self.raise_wrong()
        self.skills(queues, agents, reserves)
        self.oddities(queues, agents)
        return Center(queues, agents, reserves=reserves, warnings=self.warnings(), **head.get("center", {}))

    def queue(self, name: str, got: dict[str, Any]) -> Queue:
        target = got.pop("target", {})
        return Queue(name, **got, **{f"target_{key}": value for key, value in target.items()})

    def agent(self, name: str, got: dict[str, Any]) -> Agent:
        return Agent(name, **got)

    def reserves(self, items: Any) -> tuple[Reserve, ...]:
        if not isinstance(items, list):
            self.wrong.append(_Wrong(("reserve",), "not a list of tables", "Write [[reserve]] before each"))
            return ()
        reserves = []
        for index, item in enumerate(items):
            path = ("reserve", index)
            try:
                got = self.table(path, item, _RESERVE)
            except _Wrong as wrong:
                self.wrong.append(wrong)
                continue
            missing = [key for key in ("skill", "agents", "for") if key not in item]
            for key in missing:
                self.wrong.append(_Wrong(path, f'the reserve has no "{key}"', "It needs skill, agents and for"))
            if not missing and len(got) == len(item):
                reserves.append(Reserve(got["skill"], got.get("level", 1), got["agents"], got["for"]))
        return tuple(reserves)

    def references(self, data: dict[str, Any], queues: tuple[Queue, ...], agents: tuple[Agent, ...]) -> None:
        """Every queue that is named somewhere exists."""
        known = list(data["queues"]) if isinstance(data.get("queues"), dict) else []
        named: list[tuple[Path, str]] = []
        for queue in queues:
            if queue.overflow is not None:
                named.append((("queues", queue.name, "overflow"), queue.overflow))
        for agent in agents:
            is_list = isinstance(data["agents"][agent.name].get("queues"), list)
            for index, name in enumerate(agent.queues or ()):
                named.append((("agents", agent.name, "queues", index if is_list else name), name))
        items = data.get("reserve", [])
        for index, item in enumerate(items if isinstance(items, list) else []):
            wanted = item.get("for") if isinstance(item, dict) else None
            for place, name in enumerate(wanted if isinstance(wanted, list) else []):
                named.append((("reserve", index, "for", place), name))
        for path, name in named:
            if isinstance(name, str) and name not in known:
                self.wrong.append(_Wrong(path, f'there is no queue "{name}"', _nearest(name, known)))

    def skills(self, queues: tuple[Queue, ...], agents: tuple[Agent, ...], reserves: tuple[Reserve, ...]) -> None:
        """Skills that only one side knows are likely typos."""
        asked: dict[str, Path] = {}
        for queue in queues:
            for skill in queue.requires:
                asked.setdefault(skill, ("queues", queue.name, "requires", skill))
            for index, step in enumerate(queue.steps):
                for skill in step.requires:
                    asked.setdefault(skill, ("queues", queue.name, "steps", index, "requires", skill))
        for index, reserve in enumerate(reserves):
            asked.setdefault(reserve.skill, ("reserve", index, "skill"))
        had: dict[str, Path] = {}
        for agent in agents:
            for skill in agent.skills:
                had.setdefault(skill, ("agents", agent.name, "skills", skill))
        for skill, path in asked.items():
            if skill not in had and agents:
                self.warn(path, f'no agent has the skill "{skill}"', _nearest(skill, had))
        for skill, path in had.items():
            if skill not in asked:
                self.warn(path, f'no queue asks for the skill "{skill}"', _nearest(skill, asked))

    def oddities(self, queues: tuple[Queue, ...], agents: tuple[Agent, ...]) -> None:
        if not queues:
            self.warn(("queues",), "the center has no queues")
        if not agents:
            self.warn(("agents",), "the center has no agents")
        for queue in queues:
            path = ("queues", queue.name)
            if queue.overflow is not None and not queue.max_wait:
                self.warn((*path, "overflow"), "overflow is never used: the queue has no max_wait")
            if queue.weights is not None and queue.strategy != "weighted":
                self.warn((*path, "weights"), f'weights are never used: the strategy is "{queue.strategy}"')
            if queue.strategy == "weighted" and queue.weights is None:
                self.warn((*path, "strategy"), "weighted has no weights: the file's order decides")
            if agents and not any(serves(agent, queue) for agent in agents):
                self.warn(path, "no agent serves this queue")
        channels = {queue.name: queue.channel for queue in queues}
        for agent in agents:
            for name in agent.queues or ():
                if not agent.capacity.get(channels[name], 0):
                    place: Path = ("agents", agent.name, "queues", name)
                    self.warn(place, f'no capacity for {channels[name]}, the channel of "{name}"')

    def raise_wrong(self) -> None:
        """Raise what is wrong, in file order: the first, which holds them all."""
        if not self.wrong:
            return
        errors = [CenterError(one.what, where, one.hint) for where, one in self.located(self.wrong)]
        errors[0].errors = tuple(errors)
        raise errors[0]

    def warnings(self) -> tuple[CenterError, ...]:
        return tuple(CenterError(one.what, where, one.hint) for where, one in self.located(self.odd))

    def located(self, found: list[_Wrong]) -> list[tuple[Where, _Wrong]]:
        if not found:
            return []
        lines = key_lines(self.text)
        placed = [(line_of(lines, one.path), one) for one in found]
        placed.sort(key=lambda pair: pair[0] or 0)
        return [(Where(self.file, line, _path_text(one.path)), one) for line, one in placed]


def _path_text(path: Path) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[\w-]+", part) else f'"{part}"')
    return text
