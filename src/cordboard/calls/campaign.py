"""Campaigns in the file of calls: what is dialed over which trunk, when, how often, and what a dropped person hears."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cordboard.campaigns import hours
from cordboard.center import WEIGHT_MAX, Center, serves
from cordboard.media.backend import MACHINE_AT, Cause
from cordboard.pacing.modes import Asked
from cordboard.pacing.rules import RULES
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

Mode = Asked | Literal["manual"]
MODES: tuple[Mode, ...] = ("predictive", "power", "progressive", "preview", "manual")
AGENT_FIRST: tuple[Mode, ...] = ("preview", "manual")  # an agent is there before anything is dialed
ANSWER_WAIT_S = 2.0  # the longest that somebody who picked up waits for an agent, by most regulations
RING_MIN_S = 15.0  # the least that an unanswered call rings, likewise
DAY_S = 86_400.0
# How a call of a campaign can come out: connected to an agent; dropped, since there was none in time; hung_up by the
# person before that; a machine; or never answered, with its cause.
ANSWERED = ("connected", "dropped", "hung_up", "machine")
SKIPPED = "skipped"  # not dialed at all: the agent who saw it did not want to
OUTCOMES = (*ANSWERED, SKIPPED, *(cause.value for cause in Cause if cause != Cause.NORMAL))
REDIAL: Mapping[str, float] = {
    "busy": 900.0,
    "no_answer": 4 * 3600.0,
    "cancelled": 1800.0,
    "unreachable": 4 * 3600.0,
    "congestion": 300.0,
    "failed": 1800.0,
    "lost": 300.0,
    "machine": 4 * 3600.0,
    "dropped": 3 * DAY_S,
    "skipped": DAY_S,
}


@dataclass(frozen=True, slots=True)
class Campaign:
    """``queue``: whose agents take its answers. ``message``: what a person hears for whom no agent is free. ``rules``:
    names of ``pacing.rules``, all of which bind; ``drops``: the target where none is named. ``hours``: in the time zone
    of the number, which the list says, or the longest prefix in ``zones``, or ``time_zone`` (empty: the center's).
    ``detect``: listen first, and let go what is a machine with the probability ``machine_at`` or more.
    ``redial``: outcome -> seconds until the next attempt; one that is not in it is the last.

    ``mode``: of the pacer, or ``manual``: agents dial numbers from their desk, each at most ``attempts`` times in 24
    hours. ``preview``: seconds that an agent has to look at an entry before it is dialed, in that mode."""

    queue: str
    trunk: str
    message: tuple[str, ...] = ()
    caller: str = ""
    mode: Mode = "predictive"
    preview: float = 60.0
    ring: float = 25.0
    priority: float = 1_000_000.0
    detect: bool = False
    machine_at: float = MACHINE_AT
    drops: float = 0.03
    rules: tuple[str, ...] = ()
    lines: int = 100
    calls_per_second: float = 10.0
    hours: tuple[str, ...] = ("mon-sun 08:00-21:00",)
    time_zone: str = ""
    zones: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 3
    redial: Mapping[str, float] = field(default_factory=lambda: dict(REDIAL))

    @property
    def agent_first(self) -> bool:
        """Whether an agent is there before an entry is dialed, so that nobody is dropped."""
        return self.mode in AGENT_FIRST


def _zone(_: Reader, path: Path, value: Any) -> str:
    try:
        zoneinfo.ZoneInfo(value if isinstance(value, str) else "")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Wrong(path, f"there is no time zone {shown(value)}", "Use an IANA name such as Asia/Shanghai") from None
    return str(value)


def _hours(_: Reader, path: Path, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    try:
        for text in texts:
            hours.parse(text)
    except (TypeError, ValueError):
        raise Wrong(path, f"{shown(value)} are no hours", 'Write ["mon-fri 09:00-20:00"]') from None
    return tuple(texts)


def _rules(_: Reader, path: Path, value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(name in RULES for name in names):
        raise Wrong(path, f"{shown(value)} are no abandonment rules", "Known: " + ", ".join(RULES))
    return tuple(names)


def _redial(reader: Reader, path: Path, value: Any) -> dict[str, float]:
    given: dict[str, float] = mapping(seconds)(reader, path, value)
    for name in given:
        if name not in OUTCOMES:
            raise Wrong((*path, name), f"{shown(name)} is not known", nearest(name, OUTCOMES))
    return given


def checks(prompts: Check, line: Check) -> dict[str, Check]:
    """What each key of ``[campaigns.NAME]`` may hold. ``prompts``, ``line``: checks of the file of calls."""
    return {
        "queue": name_of,
        "trunk": name_of,
        "message": prompts,
        "caller": line,
        "mode": one_of(MODES),
        "preview": number(1, 3600, is_seconds=True),
        "ring": number(RING_MIN_S, 120, is_seconds=True),
        "priority": number(-WEIGHT_MAX, WEIGHT_MAX),
        "detect": flag,
        "machine_at": number(0.5, 1.0),
        "drops": number(0.0001, 0.5),
        "rules": _rules,
        "lines": whole(1, 100_000),
        "calls_per_second": number(0.01, 1000),
        "hours": _hours,
        "time_zone": _zone,
        "zones": mapping(_zone),
        "attempts": whole(1, 100),
        "redial": _redial,
    }


def check_campaigns(
    reader: Reader, found: Mapping[str, Mapping[str, Any]], phones: Mapping[str, Mapping[str, Any]], center: Center
) -> None:
    """What holds between a campaign and its queue: nobody who picks up waits for long."""
    queues = {queue.name: queue for queue in center.queues}
    for name, got in found.items():
        here: Path = ("campaigns", name)
        if got.get("mode") in AGENT_FIRST:
            continue
        if not got.get("message"):
            at = (*here, "message") if "message" in got else here
            hint = "Name the prompt for whom no agent is free"
            reader.wrong.append(Wrong(at, "a dropped person would hear nothing", hint))
        queue = queues.get(got.get("queue", ""))
        if queue is None:
            continue
        wait = queue.max_wait or 0.0
        if not 0 < wait <= ANSWER_WAIT_S or queue.overflow is not None:
            what = f'whoever picks up could wait longer than {ANSWER_WAIT_S:g} s in queue "{queue.name}"'
            hint = "Give it max_wait = 2 and no overflow in the center file"
            reader.wrong.append(Wrong((*here, "queue"), what, hint))
        team = [agent.name for agent in center.agents if serves(agent, queue)]
        ringing = [agent for agent in team if agent in phones and not phones[agent].get("nailed_up")]
        if ringing:
            what = f'the phone of "{ringing[0]}" rings while somebody who picked up waits'
            reader.warn((*here, "queue"), what, "Set nailed_up = true for the agents of campaigns")
