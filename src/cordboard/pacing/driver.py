"""Puts a ``Pacer`` into the dialing world, through the same calls that a live dialer makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cordboard.pacing.blend import INBOUND_EVENTS
from cordboard.pacing.group import PacerGroup
from cordboard.pacing.pacer import AgentState, CallEvent, Leads, Pacer, Plan
from cordboard.pacing.world import Day, World, run

STATE_NAMES: tuple[AgentState, ...] = ("away", "idle", "talk", "wrap")
EVENT_NAMES: tuple[CallEvent, ...] = (
    "placed",
    "ringing",
    "answered",
    "connected",
    "dropped",
    "failed",
    "machine",
    "cancelled",
)


class Driver:
    """A policy of the world that asks a pacer. ``plans``: every plan with something in it, or another reason than the
    last one, when ``keep`` is set.
    """

    every_event = True

    def __init__(self, pacer: Pacer, keep: bool = False) -> None:
        self.pacer = pacer
        self.keep = keep
        self.plans: list[Plan] = []

    def agent(self, agent: int, state: int, now: float, leaving: bool) -> None:
        self.pacer.agent(agent, STATE_NAMES[state], now, leaving=leaving)

    def call(self, call: int, event: int, now: float, bucket: int, p: float) -> None:
        self.pacer.call(call, EVENT_NAMES[event], now, p=None if math.isnan(p) else p, group=bucket)

    def beat(self, now: float) -> None:
        self.pacer.beat(now)

    def inbound(self, caller: int, event: int, now: float) -> None:
        if self.pacer.blend is not None:
            self.pacer.inbound_call(caller, INBOUND_EVENTS[event], now)

    def decide(self, now: float, offer: dict[str, Any]) -> tuple[Sequence[int], Sequence[int], float]:
        leads = [Leads(None if math.isnan(p) else p, room) for p, room in zip(offer["p"], offer["room"], strict=True)]
        plan = self.pacer.plan(now, leads, offer["ahead"])
        if self.keep and (plan.ids or plan.cancel or not self.plans or self.plans[-1].reason != plan.reason):
            self.plans.append(plan)
        return plan.dial, plan.cancel, plan.look  # type: ignore[return-value]  # the world's ids are numbers


class GroupDriver:
    """The same for a group: the lists of the world are its campaigns, in their order, one each."""

    every_event = True

    def __init__(self, group: PacerGroup, keep: bool = False) -> None:
        self.group = group
        self.names = list(group.campaigns)
        self.blended = any(pacer.blend is not None for pacer in group.campaigns.values())
        self.keep = keep
        self.plans: list[dict[str, Plan]] = []

    def agent(self, agent: int, state: int, now: float, leaving: bool) -> None:
        self.group.agent(agent, STATE_NAMES[state], now, leaving=leaving)

    def call(self, call: int, event: int, now: float, bucket: int, p: float) -> None:
        self.group.call(self.names[bucket], call, EVENT_NAMES[event], now, p=None if math.isnan(p) else p)

    def beat(self, now: float) -> None:
        self.group.beat(now)

    def inbound(self, caller: int, event: int, now: float) -> None:
        if self.blended:
            self.group.inbound_call(caller, INBOUND_EVENTS[event], now)

    def decide(self, now: float, offer: dict[str, Any]) -> tuple[Sequence[int], Sequence[int], float]:
        known = zip(self.names, offer["p"], offer["room"], strict=True)
        leads = {name: [Leads(None if math.isnan(p) else p, room)] for name, p, room in known}
        plans = self.group.plan(now, leads)
        if self.keep:
            self.plans.append(plans)
        cancel = [call for plan in plans.values() for call in plan.cancel]
        dial = [sum(plans[name].dial) for name in self.names]
        return dial, cancel, min(plan.look for plan in plans.values())  # type: ignore[return-value]


def pace(world: World, pacer: Pacer, seed: int, keep: bool = False) -> tuple[Day, Driver]:
    """One day of the world under a pacer; the driver has the plans that were kept."""
    driver = Driver(pacer, keep)
    return run(world, driver, seed), driver
