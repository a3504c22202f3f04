"""Tests of flows: a call at a time of day, with keys and answers, and where it should get.

They stand in the flow's file as ``[[tests]]`` and run on the switchboard that takes real calls, without media.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cordboard.acd import Acd
from cordboard.calls.config import Calls, Number, Trunk, calls_record
from cordboard.calls.flow import Flow, zone_of
from cordboard.calls.flow_reader import SAYS
from cordboard.calls.state import Call, Stage
from cordboard.calls.switchboard import Switchboard
from cordboard.center import Center, Queue
from cordboard.errors import CallsError, Where

MONDAY = "2027-01-04 10:00"
TURNS_MAX = 1_000
EXPECTED = ("path", "queue", "language", "requires", "number", "ends")
_NODE, _CALL, _NUMBER = "node", "call", "number"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a test: ``got`` has what the call did, ``wrong`` the expected keys that came out differently."""

    name: str
    got: Mapping[str, Any]
    wrong: Mapping[str, Any]


def run_tests(flow: Flow, center: Center | None = None) -> list[Outcome]:
    """Run the tests of a flow. ``center``: its queues and time zone; None: the queues that the flow names, in UTC."""
    center = center if center is not None else _center_of(flow)
    return [run_test(flow, center, test, number) for number, test in enumerate(flow.tests, 1)]


def run_test(flow: Flow, center: Center, test: Mapping[str, Any], number: int = 1) -> Outcome:
    """Run one. CallsError if its time makes no sense."""
    got = _Caller(flow, center, test).call()
    wrong = {key: test[key] for key in EXPECTED if key in test and _plain(test[key]) != _plain(got.get(key))}
    return Outcome(test.get("name", str(number)), got, wrong)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _center_of(flow: Flow) -> Center:
    voice = {step.value for step in flow.steps.values() if step.kind == "queue"}
    mail = {step.to_queue for step in flow.steps.values() if step.to_queue} - voice
    queues = [Queue(name) for name in sorted(voice)] + [Queue(name, channel="email") for name in sorted(mail)]
    return Center(tuple(queues), ())


def _time(text: str, zone: str) -> float:
    try:
        return datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()
    except ValueError:
        hint = 'Write at = "2027-01-04 10:00"'
        raise CallsError(f'"{text}" is not a time of a test', Where(key="tests.at"), hint) from None


class _Caller:
    """One call through a flow. Keys are pressed when they are waited for: an entry of ``keys`` each time."""

    def __init__(self, flow: Flow, center: Center, test: Mapping[str, Any]) -> None:
        self._test = test
        self._keys = list(test.get("keys", ()))
        self._t = _time(test.get("at", MONDAY), center.time_zone)
        numbers, trunks = {_NUMBER: Number(flow="flow")}, {"trunk": Trunk()}
        zone = zone_of(center.time_zone) if flow.hours else ()
        calls = Calls(numbers, trunks=trunks, flows={"flow": flow}, zone=zone)
        self._board = Switchboard(Acd(center), Calls())
        self._effects: list[dict[str, Any]] = []
        self._apply("calls_changed", calls=calls_record(calls))
        self._apply("node_attached", node=_NODE, capacity=10, legs=[])

    def _apply(self, kind: str, **fields: Any) -> None:
        self._effects += self._board.apply({"t": self._t, "event": kind, **fields})

    def call(self) -> dict[str, Any]:
        """Where the call got."""
        caller = self._test.get("caller", "10086")
        self._apply("leg_incoming", node=_NODE, leg=_CALL, to=_NUMBER, caller=caller)
        self._apply("leg_answered", node=_NODE, leg=_CALL)
        for _ in range(TURNS_MAX):
            call = self._board.state.calls.get(_CALL)
            if call is None or call.stage != Stage.FLOW or not self._turn(call):
                break
        return self._outcome(self._board.state.calls.get(_CALL))

    def _turn(self, call: Call) -> bool:
        """Do what the caller does next; False if there is nothing."""
        state = call.flow
        assert state is not None
        if state.says:
            self._apply("leg_played", node=_NODE, leg=_CALL, token=f"say{state.said}", whole=True)
            return True
        step = self._board.guide.step(call)
        answer = self._test.get("answers", {}).get(step.value) if step is not None and step.kind == "lookup" else None
        if answer is not None:
            self._apply("call_looked_up", call=_CALL, token=str(state.said), answer=answer)
            return True
        keys = self._keys.pop(0) if self._keys and (step is None or step.kind != "lookup") else ""
        if keys.startswith(SAYS):
            self._apply("call_heard", call=_CALL, text=keys.removeprefix(SAYS))
            return True
        for key in keys:
            self._apply("leg_key", node=_NODE, leg=_CALL, key=key)
        if not keys:
            if state.due is None:
                return False
            self._t = max(state.due, self._t)
            self._apply("clock")
        return True

    def _outcome(self, call: Call | None) -> dict[str, Any]:
        effects = self._effects
        ended = [effect["why"] for effect in effects if effect["effect"] == "flow_ended"]
        queued = [effect for effect in effects if effect["effect"] == "contact_queued"]
        dialed = [effect["number"] for effect in effects if effect["effect"] == "leg_dial" and "number" in effect]
        got: dict[str, Any] = {"path": [effect["step"] for effect in effects if effect["effect"] == "flow_step"]}
        if queued:
            got |= {"queue": queued[-1]["queue"], "requires": queued[-1].get("requires", {})}
        if dialed:
            got["number"] = dialed[-1]
        if call is not None and call.flow is not None:
            got["language"] = call.flow.language
        return got | ({"ends": ended[-1]} if ended else {})
