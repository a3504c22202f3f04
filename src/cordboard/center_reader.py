"""Checks what tomllib read from a center file and makes a Center of it."""

from __future__ import annotations

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
    WEIGHT_MAX,
    Agent,
    Center,
    Queue,
    Reserve,
    Step,
    Weights,
    serves,
)
from cordboard.toml_lines import Path
from cordboard.toml_reader import (
    Check,
    Reader,
    Wrong,
    flag,
    mapping,
    name_of,
    nearest,
    number,
    one_of,
    seconds,
    shown,
    whole,
)


def read_center(data: dict[str, Any], text: str, file: str) -> Center:
    """The center of ``data``, which tomllib read from ``text``. Raises CenterError."""
    return _CenterReader(text, file).center(data)


def _weight(reader: Reader, path: Path, value: Any) -> float:
    number(-WEIGHT_MAX, WEIGHT_MAX)(reader, path, value)
    return value  # type: ignore[no-any-return]  # a whole number stays one, for people to read


def _zone(reader: Reader, path: Path, value: Any) -> str:
    import zoneinfo  # late: only a center that names its zone needs it

    name = name_of(reader, path, value)
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if known:
            hint = nearest(name, sorted(known)) or 'Give a name such as "Asia/Shanghai"'
            raise Wrong(path, f"{shown(name)} is not a time zone", hint) from None
        reader.warn(path, f'time zone "{name}" can\'t be checked: this machine has no time zone data')
    return name


_levels = mapping(whole(1, LEVEL_MAX))
_STEP: dict[str, Check] = {"for": seconds, "requires": _levels}


def _steps(reader: Reader, path: Path, value: Any) -> tuple[Step, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= STEPS_MAX:
        raise Wrong(path, f"{shown(value)} is not a list of 1 to {STEPS_MAX} steps", "Leave it out for no steps")
    steps = []
    for index, item in enumerate(value):
        got = reader.table((*path, index), item, _STEP)
        steps.append(Step(got.get("for"), got.get("requires", {})))
        if steps[-1].seconds is None and index + 1 < len(value):
            reader.warn((*path, index), "a step without `for` never ends: the steps after it are out of reach")
    return tuple(steps)


_WEIGHTS: dict[str, Check] = {
    name: number(-1e9, 1e9) for name in ("wait", "idle", "priority", "proficiency", "value", "tier")
}
_TARGET: dict[str, Check] = {"share": number(0, 1), "within": number(1e-6, DURATION_MAX_S, is_seconds=True)}


def _weights(reader: Reader, path: Path, value: Any) -> Weights:
    return Weights(**reader.table(path, value, _WEIGHTS))


def _target(reader: Reader, path: Path, value: Any) -> dict[str, float]:
    return reader.table(path, value, _TARGET)


def _memberships(reader: Reader, path: Path, value: Any) -> dict[str, int]:
    if isinstance(value, list):
        for index, name in enumerate(value):
            if not isinstance(name, str):
                raise Wrong((*path, index), f"{shown(name)} is not the name of a queue")
        return dict.fromkeys(value, 1)
    tiers: dict[str, int] = mapping(whole(1, TIER_MAX))(reader, path, value)
    return tiers


def _capacity(reader: Reader, path: Path, value: Any) -> dict[str, int]:
    slots: dict[str, int] = mapping(whole(0, CAPACITY_MAX))(reader, path, value)
    for channel in slots:
        if channel not in CHANNELS:
            raise Wrong((*path, channel), f'"{channel}" is not a channel', nearest(channel, CHANNELS))
    return slots


def _queue_names(_: Reader, path: Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise Wrong(path, f"{shown(value)} is not a list of queues", 'Write it as ["vip"]')
    return tuple(value)


_CENTER: dict[str, Check] = {"order": one_of(ORDERS), "time_zone": _zone}
_QUEUE: dict[str, Check] = {
    "channel": one_of(CHANNELS),
    "requires": _levels,
    "steps": _steps,
    "strategy": one_of(STRATEGIES),
    "weight": _weight,
    "target": _target,
    "delay": seconds,
    "tier_wait": seconds,
    "tier_wait_multiplies": flag,
    "offer_timeout": seconds,
    "retry_delay": seconds,
    "max_no_answer": whole(0, WEIGHT_MAX),
    "wrap_up": seconds,
    "max_waiting": whole(0, WEIGHT_MAX),
    "max_wait": seconds,
    "overflow": name_of,
    "sticky": flag,
    "weights": _weights,
}
_AGENT: dict[str, Check] = {
    "skills": _levels,
    "queues": _memberships,
    "capacity": _capacity,
    "blend": flag,
    "wrap_up": seconds,
}
_RESERVE: dict[str, Check] = {
    "skill": name_of,
    "level": whole(1, LEVEL_MAX),
    "agents": whole(0, WEIGHT_MAX),
    "for": _queue_names,
}
_TOP = ("center", "queues", "agents", "reserve")


class _CenterReader(Reader):
    """Reads a center file."""

    def center(self, data: dict[str, Any]) -> Center:
        for key in data:
            if key not in _TOP:
                self.wrong.append(Wrong((key,), f'unknown key "{key}"', nearest(key, _TOP)))
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
            self.wrong.append(Wrong(("reserve",), "not a list of tables", "Write [[reserve]] before each"))
            return ()
        reserves = []
        for index, item in enumerate(items):
            path = ("reserve", index)
            try:
                got = self.table(path, item, _RESERVE)
            except Wrong as wrong:
                self.wrong.append(wrong)
                continue
            missing = [key for key in ("skill", "agents", "for") if key not in item]
            for key in missing:
                self.wrong.append(Wrong(path, f'the reserve has no "{key}"', "It needs skill, agents and for"))
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
                self.wrong.append(Wrong(path, f'there is no queue "{name}"', nearest(name, known)))

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
                self.warn(path, f'no agent has the skill "{skill}"', nearest(skill, had))
        for skill, path in had.items():
            if skill not in asked:
                self.warn(path, f'no queue asks for the skill "{skill}"', nearest(skill, asked))

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
