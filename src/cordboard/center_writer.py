"""A center as the text of a center file, which ``parse_center`` reads back as the same center."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from cordboard.center import Agent, Center, Queue, Reserve, Step

_QUEUE, _AGENT = Queue(""), Agent("")  # what is as here is left out


def center_toml(center: Center) -> str:
    """The text of a center file. What has its default value is left out; so are the warnings."""
    parts = [["[center]", f"order = {_value(center.order)}", f"time_zone = {_value(center.time_zone)}"]]
    parts += [_queue(queue) for queue in center.queues]
    parts += [_agent(agent) for agent in center.agents]
    parts += [_reserve(rule) for rule in center.reserves]
    return "\n".join("\n".join(lines) + "\n" for lines in parts)


def _queue(queue: Queue) -> list[str]:
    lines = [f"[queues.{_value(queue.name)}]"]
    lines += _plain(queue, _QUEUE, leave=("name", "steps", "target_share", "target_within", "weights"))
    if queue.steps:
        lines.append(f"steps = [{', '.join(map(_step, queue.steps))}]")
    if (queue.target_share, queue.target_within) != (_QUEUE.target_share, _QUEUE.target_within):
        lines.append(f"target = {_value({'share': queue.target_share, 'within': queue.target_within})}")
    if queue.weights is not None:
        lines.append(f"weights = {_value(dataclasses.asdict(queue.weights))}")
    return lines


def _step(step: Step) -> str:
    return _value(({} if step.seconds is None else {"for": step.seconds}) | {"requires": step.requires})


def _agent(agent: Agent) -> list[str]:
    return [f"[agents.{_value(agent.name)}]", *_plain(agent, _AGENT, leave=("name",))]


def _reserve(rule: Reserve) -> list[str]:
    fields = {"skill": rule.skill, "level": rule.level, "agents": rule.agents, "for": list(rule.queues)}
    return ["[[reserve]]", *(f"{key} = {_value(value)}" for key, value in fields.items())]


def _plain(thing: Queue | Agent, default: Queue | Agent, leave: Iterable[str]) -> list[str]:
    """A line for each field that is not as in ``default``."""
    return [
        f"{name} = {_value(getattr(thing, name))}"
        for name in (field.name for field in dataclasses.fields(thing))
        if name not in leave and getattr(thing, name) != getattr(default, name)
    ]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_value(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)  # a string of JSON is one of TOML
