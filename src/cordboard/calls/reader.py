"""Checks what tomllib read from a file of calls and makes Calls of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from cordboard.calls.campaign import Campaign, check_campaigns
from cordboard.calls.campaign import checks as campaign_checks
from cordboard.calls.config import Calls, Number, Phone, QueueCalls, Trunk
from cordboard.calls.flow import Flow, zone_of
from cordboard.calls.flow_reader import flow_text, line_text, parse_flow, prompts
from cordboard.center import WEIGHT_MAX, Center, serves
from cordboard.errors import CallsError, CenterError
from cordboard.media.backend import HEADERS_MAX
from cordboard.toml_lines import Path
from cordboard.toml_reader import Check, Reader, Wrong, flag, name_of, nearest, number, one_of, shown, whole


def read_calls(
    data: dict[str, Any], text: str, file: str, center: Center, flows: Mapping[str, str] | None = None
) -> Calls:
    """The calls of ``data``, which tomllib read from ``text``. Raises CallsError."""
    return _CallsReader(text, file).calls(data, center, flows)


def _address(reader: Reader, path: Path, value: Any) -> str:
    return line_text(reader, path, name_of(reader, path, value))


_CALLS: dict[str, Check] = {
    "ring": number(1, 3600, is_seconds=True),
    "max_calls": whole(1, 1_000_000),
    "hold": prompts,
}
_NUMBER: dict[str, Check] = {
    "queue": name_of,
    "greeting": prompts,
    "priority": number(-WEIGHT_MAX, WEIGHT_MAX),
    "flow": name_of,
}
def _share(reader: Reader, path: Path, value: Any) -> float:
    return float(value) if isinstance(value, bool) else number(0, 1)(reader, path, value)


_QUEUE: dict[str, Check] = {
    "music": prompts,
    "expired": prompts,
    "full": prompts,
    "record": _share,
    "record_only": one_of(("in", "out")),
    "consent": prompts,
    "keep_days": number(0, 36_500),
}
_PHONE: dict[str, Check] = {"to": _address, "trunk": name_of, "nailed_up": flag}


def _bot_address(reader: Reader, path: Path, value: Any) -> str:
    address = line_text(reader, path, name_of(reader, path, value))
    try:
        parts = urlsplit(address)
        known = parts.scheme in BOT_SCHEMES and bool(parts.hostname) and parts.port != 0
        known = known and not (parts.scheme.startswith("grpc") and (parts.path or parts.query or parts.username))
    except ValueError:
        known = False
    if not known:
        raise Wrong(path, f"{shown(value)} is no address of a bot", "Write wss://HOST/PATH or grpcs://HOST:PORT")
    return address


def _parameters(reader: Reader, path: Path, value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or len(value) > PARAMETERS_MAX:
        raise Wrong(path, f"{shown(value)} is not a table of at most {PARAMETERS_MAX} texts", 'Write { lang = "zh" }')
    checked = {key: name_of(reader, (*path, key), each) for key, each in value.items()}
    return tuple((key, line_text(reader, (*path, key), each)) for key, each in checked.items())


_BOT: dict[str, Check] = {
    "to": _bot_address,
    "then": name_of,
    "cost": number(0, WEIGHT_MAX),
    "rest": number(1, 3600, is_seconds=True),
    "parameters": _parameters,
}
_TRUNK: dict[str, Check] = {"caller": line_text}
_CAMPAIGN = campaign_checks(prompts, line_text)
_TOP = ("calls", "numbers", "queues", "phones", "bots", "trunks", "campaigns")
BOT_SCHEMES = ("ws", "wss", "grpc", "grpcs")
PARAMETERS_MAX = HEADERS_MAX - 4  # beside contact, queue, number and language


class _CallsReader(Reader):
    """Reads a file of calls."""

    kind = CallsError

    def calls(self, data: dict[str, Any], center: Center, texts: Mapping[str, str] | None) -> Calls:
        for key in data:
            if key not in _TOP:
                self.wrong.append(Wrong((key,), f'unknown key "{key}"', nearest(key, _TOP)))
        head = self.each((), {"calls": data.get("calls", {})}, {"calls": lambda r, p, v: r.table(p, v, _CALLS)})
        sections = {
            "numbers": self.section(data, "numbers", _NUMBER),
            "queues": self.section(data, "queues", _QUEUE),
            "phones": self.section(data, "phones", _PHONE),
            "bots": self.section(data, "bots", _BOT),
            "trunks": self.section(data, "trunks", _TRUNK),
            "campaigns": self.section(data, "campaigns", _CAMPAIGN),
        }
        for name, got in sections["numbers"].items():
            if ("queue" in got) == ("flow" in got):
                what = "a number leads to one queue or one flow"
                self.wrong.append(Wrong(("numbers", name), what, 'Give it a "queue" or a "flow"'))
        self.complete(data, "phones", "to", "Give its address, such as sip:li@10.0.0.5")
        self.complete(data, "bots", "to", "Give its address, such as wss://bots.example/ada")
        self.complete(data, "bots", "then", "Name the queue of those whom it fails")
        self.complete(data, "campaigns", "queue", "Say whose agents take its answers")
        self.complete(data, "campaigns", "trunk", "Say what it dials over")
        self.references(sections, center)
        self.bots(sections, center)
        check_campaigns(self, sections["campaigns"], sections["phones"] | sections["bots"], center)
        self.raise_wrong()
        self.oddities(sections, center)
        flows = self.flows(sections, center, texts)
        hours = any(flow.hours for flow in flows.values())
        return Calls(
            {name: Number(**got) for name, got in sections["numbers"].items()},
            {name: QueueCalls(**got) for name, got in sections["queues"].items()},
            {name: Phone(**got) for name, got in sections["phones"].items()}
            | {name: Phone(bot=True, **got) for name, got in sections["bots"].items()},
            {name: Trunk(**got) for name, got in sections["trunks"].items()},
            campaigns={name: Campaign(**got) for name, got in sections["campaigns"].items()},
            flows=flows,
            zone=zone_of(center.time_zone) if hours else (),
            warnings=self.warnings(),  # type: ignore[arg-type]  # of `kind`
            **head.get("calls", {}),
        )

    def flows(
        self, sections: dict[str, dict[str, dict[str, Any]]], center: Center, texts: Mapping[str, str] | None
    ) -> dict[str, Flow]:
        """The flows that numbers lead to, from files beside this one. Raises what is wrong with them, all of it."""
        flows: dict[str, Flow] = {}
        errors: list[CenterError] = []
        for number_, got in sections["numbers"].items():
            name = got.get("flow")
            if name is None or name in flows:
                continue
            file = os.path.join(os.path.dirname(self.file), name) if texts is None else name
            try:
                text = flow_text(file) if texts is None else texts[name]
                flows[name] = parse_flow(text, file, center, sections["trunks"])
            except (KeyError, OSError, UnicodeDecodeError) as error:
                what = f'the flow "{name}" can\'t be read: {getattr(error, "strerror", None) or "is it UTF-8?"}'
                self.wrong.append(Wrong(("numbers", number_, "flow"), what, "Give a file beside this one"))
            except CallsError as error:
                errors += error.errors or (error,)
        self.raise_wrong()
        if errors:
            errors[0].errors = tuple(errors)
            raise errors[0]
        return flows

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

    def bots(self, sections: dict[str, dict[str, dict[str, Any]]], center: Center) -> None:
        """A bot is an agent without another phone; those whom it fails wait for others."""
        queues = {queue.name: queue for queue in center.queues if queue.channel == "voice"}
        agents = {agent.name: agent for agent in center.agents}
        for name, got in sections["bots"].items():
            self.known(("bots", name), name, agents, "agent")
            if name in sections["phones"]:
                what = f'"{name}" has a phone, too'
                self.wrong.append(Wrong(("bots", name), what, "An agent is a person or a bot"))
            if "then" not in got:
                continue
            self.known(("bots", name, "then"), got["then"], queues, "queue for voice")
            if name in agents and got["then"] in queues and serves(agents[name], queues[got["then"]]):
                what = f'"{name}" serves "{got["then"]}" itself'
                self.wrong.append(Wrong(("bots", name, "then"), what, "Name a queue of people"))

    def known(self, path: Path, name: str, names: Iterable[str], what: str) -> None:
        names = list(names)
        if name not in names:
            self.wrong.append(Wrong(path, f'there is no {what} "{name}"', nearest(name, names)))

    def oddities(self, sections: dict[str, dict[str, dict[str, Any]]], center: Center) -> None:
        voice = [queue for queue in center.queues if queue.channel == "voice"]
        for agent in center.agents:
            if agent.name not in sections["phones"] | sections["bots"] and any(serves(agent, queue) for queue in voice):
                self.warn(("phones",), f'agent "{agent.name}" serves queues for voice and has no phone')
        for name, got in sections["queues"].items():
            if got.get("expired") and not next(queue.max_wait for queue in center.queues if queue.name == name):
                self.warn(("queues", name, "expired"), "expired is never played: the queue has no max_wait")
            if got.get("full") and not next(queue.max_waiting for queue in center.queues if queue.name == name):
                self.warn(("queues", name, "full"), "full is never played: the queue has no max_waiting")
            for key in ("record_only", "consent", "keep_days"):
                if got.get(key) and not got.get("record"):
                    self.warn(("queues", name, key), f"{key} has no effect: the queue has no record")
        if not sections["numbers"] and not sections["campaigns"]:
            self.warn(("numbers",), "there is no number that people can call")
