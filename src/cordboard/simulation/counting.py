"""What a live day comes to, counted as the kernel counts: the same counters, bins of waits, agents' time, records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard.kpi import SHORT_ABANDON_S
from cordboard.simulation.live import Caller, Day
from cordboard.simulation.result import AT, COUNTERS, STATES

_US = 1_000_000
_SHORT_US = round(SHORT_ABANDON_S * _US)
_STATE = {"ready": 2, "offered": 3, "connected": 4, "wrap_up": 5, "away": 1, "offline": 0}
OUTCOMES = {"answered": 0, "contact_left": 1, "contact_expired": 2, "contact_rejected": 3, "busy": 4}


def wait_bin(wait: int) -> int:
    """The bin of a wait (us): 32 of 1,024 us, then 32 an octave."""
    units = wait >> 10
    if units < 32:
        return units
    octave = max(0, units.bit_length() - 6)
    return 32 * (octave + 1) + (units >> octave) - 32


@dataclass(slots=True)
class _Open:
    caller: Caller
    queue: int
    row: int
    entered: int
    connected: int = -1


class Counting:
    """Listens to a day. ``counters``, ``bins``, ``agents``: one batch of the kernel's, and one that is not counted."""

    def __init__(self, day: Day, *, records: bool) -> None:
        from cordboard._core.simkernel import BINS

        self.day = day
        center = day.asked
        n_queues, n_agents = len(center.queues), len(center.agents)
        self.counters = np.zeros((2, n_queues, len(COUNTERS)), np.int64)
        self.bins = np.zeros((2, n_queues, BINS), np.uint32)
        self.agents = np.zeros((2, n_agents, 8), np.int64)
        self.records: list[tuple[int, ...]] = []
        self.contacts = self.events = 0
        self._keep = records
        self._window = (round(day.scenario.warm_up * _US), round(day.scenario.duration * _US))
        self._queue_at = {queue.name: i for i, queue in enumerate(center.queues)}
        self._within = [round(queue.target_within * _US) for queue in center.queues]
        self._agent_at = {agent.name: i for i, agent in enumerate(center.agents)}
        self._state = [0] * n_agents
        self._since = [0] * n_agents
        self._open: dict[str, _Open] = {}
        day.listeners.append(self.listen)
        day.turned_away.append(self._busy)

    def _now(self) -> int:
        return round(self.day.now * _US)

    def _row(self) -> int:
        return 0 if self._window[0] <= self._now() < self._window[1] else 1

    def listen(self, event: dict[str, Any] | None, effects: list[dict[str, Any]]) -> None:
        """Take one event of the day and its effects."""
        self.events += 1
        if event is not None:
            self._event(event, effects)
        for effect in effects:
            self._effect(effect)
        for agent in self.day.touched(event, effects):
            self._touch(agent)

    # ---- contacts

    def _count(self, open: _Open, name: str, amount: int = 1) -> None:
        self.counters[open.row, open.queue, AT[name]] += amount

    def _event(self, event: dict[str, Any], effects: Sequence[dict[str, Any]]) -> None:
        kind, contact = event["event"], event.get("contact")
        if kind == "contact_queued":
            self._enter(event, effects)
        elif kind == "offer_accepted":
            self._answered(self._open[event["contact"]], event["agent"])
        elif kind == "contact_left":
            one = self._open.pop(event["contact"])
            wait = self._now() - one.entered
            self._count(one, "abandoned")
            self._count(one, "wait_abandoned", wait)
            self._count(one, "abandoned_in", int(wait <= self._within[one.queue]))
            self._count(one, "short", int(wait <= _SHORT_US))
            self._gone(one, kind, wait)
        elif kind == "contact_ended":
            one = self._open.pop(event["contact"])
            talk = self._now() - one.connected
            self._count(one, "talk", talk)
            agent = self._agent_at[str(one.caller.agent)]
            self.agents[self._row(), agent, len(STATES)] += 1
            wait = one.connected - one.entered
            self._record(one, "answered", wait, talk, agent)
        elif kind == "offer_declined":
            self._count(self._open[str(contact)], "missed")

    def _enter(self, event: dict[str, Any], effects: Sequence[dict[str, Any]]) -> None:
        name = event["contact"]
        self.contacts += 1
        one = _Open(self.day.caller(name), self._queue_at[event["queue"]], self._row(), self._now())
        self._open[name] = one
        self._count(one, "offered")
        if one.caller.attempt:
            self._count(one, "retried")
        own = {effect["effect"] for effect in effects if effect.get("contact") == name}
        if "contact_rejected" in own and one.caller.attempt:
            self._count(one, "retried", -1)
        self._count(one, "delayed", int(not own & {"offer", "contact_rejected"}))

    def _answered(self, one: _Open, agent: str) -> None:
        one.connected = self._now()
        wait = one.connected - one.entered
        self._count(one, "answered")
        self._count(one, "wait_answered", wait)
        self._count(one, "answered_in", int(wait <= self._within[one.queue]))
        self._longest(one, wait)
        self.bins[one.row, one.queue, min(wait_bin(wait), self.bins.shape[2] - 1)] += 1

    def _longest(self, one: _Open, wait: int) -> None:
        row = self.counters[one.row, one.queue]
        row[AT["longest"]] = max(row[AT["longest"]], wait)

    def _gone(self, one: _Open, outcome: str, wait: int) -> None:
        self._longest(one, wait)
        self._record(one, outcome, wait, 0, -1)

    def _effect(self, effect: dict[str, Any]) -> None:
        kind = effect["effect"]
        if kind == "offer":
            self._count(self._open[effect["contact"]], "offers")
        elif kind == "offer_expired":
            self._count(self._open[effect["contact"]], "missed")
        elif kind == "contact_rejected":
            one = self._open.pop(effect["contact"])
            self._count(one, "offered", -1)
            self._count(one, "rejected")
            self._gone(one, kind, 0)
        elif kind == "contact_expired":
            one = self._open[effect["contact"]]
            wait = self._now() - one.entered
            self._count(one, "wait_other", wait)
            if effect["to"] is None:
                self._count(one, "timeout")
                self._gone(self._open.pop(effect["contact"]), kind, wait)
            else:
                self._count(one, "flowout")
                self._longest(one, wait)
                moved = _Open(one.caller, self._queue_at[effect["to"]], self._row(), self._now())
                self._open[effect["contact"]] = moved
                self._count(moved, "offered")

    def _busy(self, caller: Caller) -> None:
        one = _Open(caller, self._queue_at[caller.source.queue], self._row(), self._now())
        self._count(one, "busy")
        self._record(one, "busy", 0, 0, -1)

    def _record(self, one: _Open, outcome: str, wait: int, talk: int, agent: int) -> None:
        caller = one.caller
        if self._keep and not caller.given:
            known = (caller.index, one.entered, wait, talk, caller.number, caller.attempt)
            self.records.append((*known, OUTCOMES[outcome], one.queue, agent))

    # ---- agents

    def _touch(self, name: str) -> None:
        agent = self._agent_at[name]
        state = _STATE[self.day.acd.agent_state(name)["state"]]
        if state != self._state[agent]:
            self._book(agent, self._now())
            self._state[agent] = state

    def _book(self, agent: int, now: int) -> None:
        low, high = self._window
        inside = max(0, min(now, high) - max(self._since[agent], low))
        self.agents[0, agent, self._state[agent]] += inside
        self.agents[1, agent, self._state[agent]] += now - self._since[agent] - inside
        self._since[agent] = now

    def close(self) -> None:
        """The end of the run: who still waits, and what agents do until now."""
        for one in self._open.values():
            if one.connected < 0:
                self._count(one, "open")
            else:
                talk, agent = self._now() - one.connected, self._agent_at[str(one.caller.agent)]
                self._record(one, "answered", one.connected - one.entered, talk, agent)
        now = max(self._now(), self._window[1])
        for agent in range(len(self._state)):
            self._book(agent, now)

    def record_array(self) -> npt.NDArray[Any]:
        """The records with the kernel's dtype."""
        from cordboard._core.simkernel import RECORD

        return np.array(self.records, RECORD)
