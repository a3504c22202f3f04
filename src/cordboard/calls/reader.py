"""Checks what tomllib read from a file of calls and makes Calls of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cordboard.calls.campaign import Campaign, check_campaigns
from cordboard.calls.campaign import checks as campaign_checks
from cordboard.calls.config import Calls, Number, Phone, QueueCalls, Trunk
from cordboard.center import UNFIT, WEIGHT_MAX, Center, serves
from cordboard.errors import CallsError
from cordboard.media.backend import TEXT_MAX
from cordboard.toml_lines import Path
from cordboard.toml_reader import Check, Reader, Wrong, flag, name_of, nearest, number, shown, whole

PROMPTS_MAX = 100


def read_calls(data: dict[str, Any], text: str, file: str, center: Center) -> Calls:
    """The calls of ``data``, which tomllib read from ``text``. Raises CallsError."""
    return _CallsReader(text, file).calls(data, center)


def _text(_: Reader, path: Path, value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX or UNFIT.search(value):
        raise Wrong(path, f"{shown(value)} is not a text of a line", "Give a text in quotes")
    return value


def _prompts(reader: Reader, path: Path, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or len(value) > PROMPTS_MAX:
        raise Wrong(path, f"{shown(value)} is not a list of at most {PROMPTS_MAX} prompts", 'Write it as ["welcome"]')
    for index, name in enumerate(value):
        _text(reader, (*path, index), name_of(reader, (*path, index), name))
    return tuple(value)


def _address(reader: Reader, path: Path, value: Any) -> str:
    return _text(reader, path, name_of(reader, path, value))


_CALLS: dict[str, Check] = {
    "ring": number(1, 3600, is_seconds=True),
    "max_calls": whole(1, 1_000_000),
    "hold": _prompts,
}
_NUMBER: dict[str, Check] = {
    "queue": name_of,
    "greeting": _prompts,
    "priority": number(-WEIGHT_MAX, WEIGHT_MAX),
}
_QUEUE: dict[str, Check] = {"music": _prompts, "expired": _prompts, "full": _prompts, "record": flag}
_PHONE: dict[str, Check] = {"to": _address, "trunk": name_of, "nailed_up": flag}
_TRUNK: dict[str, Check] = {"caller": _text}
_CAMPAIGN = campaign_checks(_prompts, _text)
_TOP = ("calls", "numbers", "queues", "phones", "trunks", "campaigns")


class _CallsReader(Reader):
    """Reads a file of calls."""

    kind = CallsError

    def calls(self, data: dict[str, Any], center: Center) -> Calls:
        for key in data:
            if key not in _TOP:
                self.wrong.append(Wrong((key,), f'unknown key "{key}"', nearest(key, _TOP)))
        head = self.each((), {"calls": data.get("calls", {})}, {"calls": lambda r, p, v: r.table(p, v, _CALLS)})
        sections = {
            "numbers": self.section(data, "numbers", _NUMBER),
            "queues": self.section(data, "queues", _QUEUE),
            "phones": self.section(data, "phones", _PHONE),
            "trunks": self.section(data, "trunks", _TRUNK),
            "campaigns": self.section(data, "campaigns", _CAMPAIGN),
        }
        self.complete(data, "numbers", "queue", "Say where its callers wait")
        self.complete(data, "phones", "to", "Give its address, such as sip:li@10.0.0.5")
        self.complete(data, "campaigns", "queue", "Say whose agents take its answers")
        self.complete(data, "campaigns", "trunk", "Say what it dials over")
        self.complete(data, "campaigns", "message", "Name the prompt for whom no agent is free")
        self.references(sections, center)
        check_campaigns(self, sections["campaigns"], sections["phones"], center)
        self.raise_wrong()
        self.oddities(sections, center)
        return Calls(
            {name: Number(**got) for name, got in sections["numbers"].items()},
            {name: QueueCalls(**got) for name, got in sections["queues"].items()},
            {name: Phone(**got) for name, got in sections["phones"].items()},
            {name: Trunk(**got) for name, got in sections["trunks"].items()},
            campaigns={name: Campaign(**got) for name, got in sections["campaigns"].items()},
            warnings=self.warnings(),  # type: ignore[arg-type]  # of `kind`
            **head.get("calls", {}),
        )

    def complete(self, data: dict[str, Any], section: str, key: str, hint: str) -> None:
        """Every table of a section has a key."""
        named = data.get(section)
        for name, table in named.items() if isinstance(named, dict) else ():
            if isinstance(table, dict) and key not in table:
                self.wrong.append(Wrong((section, name), f'"{key}" is missing', hint))

    def references(self, sections: dict[str, dict[str, dict[str, Any]]], center: Center) -> None:
        """Every queue and trunk that is named exists; a nailed-up phone is for one voice contact at a time."""
        queues = {queue.name: queue for queue in center.queues}
        for section in ("numbers", "campaigns"):
            for name, got in sections[section].items():
                if "queue" in got:
                    self.known((section, name, "queue"), got["queue"], queues, "queue")
        for name in sections["queues"]:
            self.known(("queues", name), name, queues, "queue")
        for section in ("phones", "campaigns"):
            for name, got in sections[section].items():
                if "trunk" in got:
                    self.known((section, name, "trunk"), got["trunk"], sections["trunks"], "trunk")
        agents = {agent.name: agent for agent in center.agents}
        for name, got in sections["phones"].items():
            if got.get("nailed_up") and name not in agents:
                what = f'there is no agent "{name}"'
                self.wrong.append(Wrong(("phones", name, "nailed_up"), what, nearest(name, agents)))
            elif got.get("nailed_up") and agents[name].capacity.get("voice", 0) > 1:
                what = f'"{name}" may have several calls at once, which one leg can\'t hold'
                self.wrong.append(Wrong(("phones", name, "nailed_up"), what, "Set its capacity to voice = 1"))
        for section in ("numbers", "campaigns"):
            for name, got in sections[section].items():
                queue = queues.get(got.get("queue", ""))
                if queue is not None and queue.channel != "voice":
                    what = f'"{queue.name}" is a queue for {queue.channel}, not for voice'
                    self.wrong.append(Wrong((section, name, "queue"), what, "Give a queue of the channel voice"))

    def known(self, path: Path, name: str, names: Iterable[str], what: str) -> None:
        names = list(names)
        if name not in names:
            self.wrong.append(Wrong(path, f'there is no {what} "{name}"', nearest(name, names)))

    def oddities(self, sections: dict[str, dict[str, dict[str, Any]]], center: Center) -> None:
        voice = [queue for queue in center.queues if queue.channel == "voice"]
        for agent in center.agents:
            if agent.name not in sections["phones"] and any(serves(agent, queue) for queue in voice):
                self.warn(("phones",), f'agent "{agent.name}" serves queues for voice and has no phone')
        for name, got in sections["queues"].items():
            if got.get("expired") and not next(queue.max_wait for queue in center.queues if queue.name == name):
                self.warn(("queues", name, "expired"), "expired is never played: the queue has no max_wait")
            if got.get("full") and not next(queue.max_waiting for queue in center.queues if queue.name == name):
                self.warn(("queues", name, "full"), "full is never played: the queue has no max_waiting")
        if not sections["numbers"] and not sections["campaigns"]:
            self.warn(("numbers",), "there is no number that people can call")
