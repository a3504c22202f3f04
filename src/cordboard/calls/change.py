"""Another file of calls while calls are up: what stays of the one before, and what is different.

What is gone from the file takes nothing new; calls that use it go on with what it was (:func:`left_of`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from cordboard import words
from cordboard.calls.config import Calls, calls_record
from cordboard.calls.state import State

T = TypeVar("T")
Kind = Literal["added", "removed", "changed"]
PRIVATE = ("to", "parameters")  # of phones: that they are others is told, what they are is not
SECTIONS = ("numbers", "queues", "phones", "trunks", "campaigns")


def left_of(before: Calls, left: Calls, now: Calls, state: State) -> Calls:
    """What of the settings ``before``, and of those ``left`` then, calls of ``state`` use that ``now`` has no more."""
    calls = state.calls.values()

    def gone(known: Mapping[str, T], old: Mapping[str, T], new: Mapping[str, T], used: Collection[str]) -> dict[str, T]:
        there = {**known, **old}
        return {name: there[name] for name in sorted(used) if name in there and name not in new}

    campaigns = gone(left.campaigns, before.campaigns, now.campaigns, {call.campaign for call in calls})
    numbers = gone(left.numbers, before.numbers, now.numbers, {call.number for call in calls})
    people = {leg.person for leg in state.legs.values()}
    flowing = {call.flow.flow for call in calls if call.flow is not None} | {one.flow for one in numbers.values()}
    return Calls(
        numbers=numbers,
        phones=gone(left.phones, before.phones, now.phones, people),
        campaigns=campaigns,
        flows=gone(left.flows, before.flows, now.flows, flowing),
        zone=now.zone or before.zone or left.zone,
    )


@dataclass(frozen=True, slots=True)
class CallsChange:
    """``key``: ``campaigns.spring``, or of a change ``campaigns.spring.lines``, with the values before and after it."""

    kind: Kind
    key: str
    old: Any = None
    new: Any = None

    def text(self, lang: words.Lang = "en") -> str:
        """One line for people."""
        if self.kind == "added":
            paused = words.pick(lang, ", paused at first", "，起初暂停") if self.key.startswith("campaigns.") else ""
            return words.pick(lang, f"{self.key}: new", f"{self.key}：新增") + paused
        if self.kind == "removed":
            meaning = words.pick(lang, "calls that use it go on to their end", "正在使用它的通话照常结束")
            return words.pick(lang, f"{self.key}: gone; {meaning}", f"{self.key}：移除；{meaning}")
        if self.old is None and self.new is None:
            return words.pick(lang, f"{self.key}: changed", f"{self.key}：已变")
        return words.pick(lang, f"{self.key}: {self.old} -> {self.new}", f"{self.key}：{self.old} -> {self.new}")


def diff_calls(old: Calls, new: Calls) -> list[CallsChange]:
    """Every difference, in the order of the file. Addresses of phones and texts of flows are not told."""
    before, after = calls_record(old), calls_record(new)
    found = [
        CallsChange("changed", f"calls.{key}", before[key], after[key])
        for key in ("ring", "max_calls", "hold")
        if before[key] != after[key]
    ]
    for section in SECTIONS:
        found += _section(section, _shown(old, section), _shown(new, section))
    for name in sorted(old.flows.keys() | new.flows.keys()):
        if name not in new.flows or name not in old.flows:
            found.append(CallsChange("added" if name in new.flows else "removed", f"flows.{name}"))
        elif old.flows[name].tables != new.flows[name].tables:
            found.append(CallsChange("changed", f"flows.{name}"))
    return found


def _shown(calls: Calls, section: str) -> dict[str, dict[str, Any]]:
    return {name: asdict(one) for name, one in getattr(calls, section).items()}


def _section(
    section: str, old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> list[CallsChange]:
    found = [CallsChange("removed", f"{section}.{name}") for name in old if name not in new]
    for name, fields in new.items():
        if name not in old:
            found.append(CallsChange("added", f"{section}.{name}"))
            continue
        for key, value in fields.items():
            if value != old[name][key]:
                told = () if section == "phones" and key in PRIVATE else (old[name][key], value)
                found.append(CallsChange("changed", f"{section}.{name}.{key}", *told))
    return found
