"""Campaigns that share agents.

An agent is never promised twice: every campaign decides over all answers in flight, its own and the others', against
agents who are counted once. One dial more must keep the chance that an answer finds nobody under the campaign's own
threshold and under that of every other campaign with answers in flight, so that a campaign that may drop 3 % never
spends what another may not.

Campaigns of unlike targets would then all live under the strictest one. So they take turns, of two minutes: while one
dials, the answers of the others run out, and its own threshold is what counts. The turn goes to the campaign that has
had least of the agents for its weight. Each has all agents in its turn: nothing of a large team's advantage is lost.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

from cordboard.errors import DataError, UnknownNameError, Where
from cordboard.pacing.blend import InboundEvent
from cordboard.pacing.modes import others_turn
from cordboard.pacing.pacer import AgentState, CallEvent, Leads, Pacer, Plan

CAMPAIGNS_MAX = 64
TURN_S = 120.0


class PacerGroup:
    """Paces several campaigns over the same agents, all of whom may serve each.

    ``campaigns``: by name; each pacer keeps its own mode, limits, rules and ledger, and is from now on told of agents
    and inbound callers through the group alone. ``weights``: what share of the answered calls each is to have (1 each).
    ``turn``: seconds. With inbound callers, give one ``Blend`` to all of the pacers.
    """

    def __init__(
        self, campaigns: Mapping[str, Pacer], *, weights: Mapping[str, float] | None = None, turn: float = TURN_S
    ) -> None:
        if not 1 <= len(campaigns) <= CAMPAIGNS_MAX or len(set(map(id, campaigns.values()))) < len(campaigns):
            hint = f"Give 1 to {CAMPAIGNS_MAX}, each a pacer of its own."
            raise DataError(f"a group of {len(campaigns)} campaigns", Where(key="campaigns"), hint)
        if not 0.0 < turn < math.inf:
            raise DataError(f"a turn of {turn} s", Where(key="turn"), "Give seconds, more than 0.")
        if len({id(pacer.blend) for pacer in campaigns.values()}) > 1:
            hint = "Give the same Blend to all of the group's pacers, or to none."
            raise DataError("the campaigns have different blends", Where(key="blend"), hint)
        self.campaigns = dict(campaigns)
        self.turn = turn
        self._weights = dict.fromkeys(campaigns, 1.0)
        for name, weight in (weights or {}).items():
            self._member(name)
            if not 0.0 < weight < math.inf:
                raise DataError(f"{name} has a weight of {weight}", Where(key="weights"), "Give a number above 0.")
            self._weights[name] = weight
        self._had = dict.fromkeys(campaigns, 0.0)  # answers connected, by weight
        self._holder: str | None = None
        self._until = -math.inf
        for pacer in self.campaigns.values():
            pacer.core.beside = tuple(other.core for other in self.campaigns.values() if other is not pacer)

    def _member(self, name: str) -> Pacer:
        pacer = self.campaigns.get(name)
        if pacer is None:
            hint = f"The group has {', '.join(self.campaigns)}."
            raise UnknownNameError(f"there is no campaign {name!r}", Where(key="campaign"), hint)
        return pacer

    # ---- observations

    def agent(self, name: Hashable, state: AgentState, now: float, *, leaving: bool = False) -> None:
        """An agent's state, as ``Pacer.agent``."""
        for pacer in self.campaigns.values():
            pacer.agent(name, state, now, leaving=leaving)

    def beat(self, now: float) -> None:
        """A sign of life of the agents' side, as ``Pacer.beat``."""
        for pacer in self.campaigns.values():
            pacer.beat(now)

    def inbound_call(self, caller: Hashable, event: InboundEvent, now: float) -> None:
        """An inbound caller of these agents, as ``Pacer.inbound_call``."""
        first, *others = self.campaigns.values()
        first.inbound_call(caller, event, now)
        for pacer in others:
            pacer.inbound(first.inbound_waiting, now)

    def call(
        self, campaign: str, id: Hashable, event: CallEvent, now: float, *, p: float | None = None, group: int = 0
    ) -> None:
        """Something happened to a call of a campaign, as ``Pacer.call``."""
        self._member(campaign).call(id, event, now, p=p, group=group)
        if event == "connected":
            self._had[campaign] += 1.0 / self._weights[campaign]

    # ---- the decision

    def plan(
        self,
        now: float,
        leads: Mapping[str, Sequence[Leads]],
        ahead: Mapping[str, Sequence[int]] | None = None,
    ) -> dict[str, Plan]:
        """What each campaign dials and cancels at ``now``; one that ``leads`` does not name has none.

        The plan of a campaign that has no turn says so (``others_turn``). Where the one whose turn it is can't use it
        (no leads, a limit that binds), the next one dials, too.
        """
        for name in leads:
            self._member(name)
        ahead = ahead or {}
        if now >= self._until or not self._may(self._holder, leads, now):
            self._pass_on(now, leads)
        order = sorted(self.campaigns, key=lambda name: (name != self._holder, self._had[name]))
        plans: dict[str, Plan] = {}
        for name in order[1:]:  # first, so that the thresholds of what they have in flight are of this instant
            plans[name] = self._plan(name, now, leads, ahead, held_by=self._holder)
        for name in order:
            plans[name] = self._plan(name, now, leads, ahead, held_by=None)
            if not self._left_room(plans[name], leads.get(name, ())):
                break
        return {name: plans[name] for name in self.campaigns}

    def _plan(
        self,
        name: str,
        now: float,
        leads: Mapping[str, Sequence[Leads]],
        ahead: Mapping[str, Sequence[int]],
        held_by: str | None,
    ) -> Plan:
        pacer = self.campaigns[name]
        hold = None if held_by is None else others_turn(pacer.asked, held_by, self._until - now)
        return pacer.plan(now, leads.get(name, ()), ahead.get(name, ()), hold=hold)

    @staticmethod
    def _left_room(plan: Plan, leads: Sequence[Leads]) -> bool:
        return plan.reason in ("list_exhausted", "capacity_bound") or sum(plan.dial) == sum(one.count for one in leads)

    def _may(self, name: str | None, leads: Mapping[str, Sequence[Leads]], now: float) -> bool:
        return name is not None and sum(one.count for one in leads.get(name, ())) > 0

    def _pass_on(self, now: float, leads: Mapping[str, Sequence[Leads]]) -> None:
        """The turn goes to who has had least; who could not use it must not catch up with all of it later."""
        able = [name for name in self.campaigns if self._may(name, leads, now)] or list(self.campaigns)
        least = min(self._had[name] for name in able)
        for name in self.campaigns:
            self._had[name] = max(self._had[name], least)
        self._holder = min(able, key=lambda name: (self._had[name], name == self._holder))
        self._until = now + self.turn
