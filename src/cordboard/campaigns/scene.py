"""What whoever dials sees of the engine at one instant: which agents are free, who waits, what is being called."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cordboard.calls.campaign import Campaign
from cordboard.calls.state import Stage
from cordboard.calls.switchboard import Switchboard
from cordboard.center import Center, serves
from cordboard.pacing.pacer import AgentState

AGENTS: dict[str, AgentState] = {"ready": "idle", "offered": "talk", "connected": "talk", "wrap_up": "wrap"}
Kind = tuple[str, bool]  # a queue, and whether its agents see entries before they are dialed
Team = tuple[list[str], list[str]]  # the agents of a queue, and the other queues for voice that they serve


@dataclass(frozen=True, slots=True)
class Scene:
    """What is read from the engine at one instant: who is free, who waits."""

    now: float
    running: frozenset[str]
    agents: dict[str, AgentState]
    waiting: dict[str, int]  # queue of campaigns -> inbound callers who wait for the same agents
    here: frozenset[tuple[str, int]]  # calls of campaigns
    leads: frozenset[tuple[str, int]] = frozenset()  # entries that an agent looks at
    own: frozenset[str] = frozenset()  # agents who look at one, or for whom one is dialed
    free: tuple[str, ...] = ()  # agents who could be offered a lead: who has been free for longest is first
    cost: float = 0.0  # seconds of the writer's time


def look_at(board: Switchboard, teams: Mapping[str, Team]) -> Scene:
    """On the writer's thread: short, and only of those who matter. ``teams``: of the queues of campaigns."""
    begun, acd = time.thread_time(), board.acd
    here = frozenset((campaign, int(entry)) for campaign, entry in board.attempts if entry.isdigit())
    if not board.state.campaigns:
        return Scene(acd.now, frozenset(), {}, {}, here)
    leads = board.state.leads
    own = {call.placed_by for call in board.attempts.values() if call.stage in (Stage.PHONING, Stage.DIALING)}
    agents: dict[str, AgentState] = {}
    free: dict[str, float] = {}
    for team, _ in teams.values():
        for agent in team:
            if agent in agents:
                continue
            state = acd.agent_state(agent)
            agents[agent] = AGENTS.get(state["state"], "away")
            if agents[agent] == "idle" and agent in board.calls.phones:
                free[agent] = state["since"]
    waiting = {
        queue: sum(acd.queue_state(other)["waiting"] for other in others) for queue, (_, others) in teams.items()
    }
    return Scene(
        acd.now,
        frozenset(board.state.campaigns),
        agents,
        waiting,
        here,
        frozenset((lead.campaign, int(lead.entry)) for lead in leads.values() if lead.entry.isdigit()),
        frozenset(own | set(leads)),
        tuple(sorted(free, key=free.__getitem__)),
        time.thread_time() - begun,
    )


def team_of(center: Center, queue: str, campaigns: Collection[str]) -> Team:
    """The agents of a queue, and the other queues for voice that they serve."""
    queues = {one.name: one for one in center.queues}
    team = [agent for agent in center.agents if queue in queues and serves(agent, queues[queue])]
    others = [
        name
        for name, one in queues.items()
        if name not in campaigns and one.channel == "voice" and any(serves(agent, one) for agent in team)
    ]
    return [agent.name for agent in team], others


def kind_of(campaign: Campaign) -> Kind:
    """Campaigns of one kind share agents in the same way."""
    return campaign.queue, campaign.mode == "preview"


def unchanged(before: Mapping[str, Campaign], now: Mapping[str, Campaign]) -> set[Kind]:
    """The kinds in which every campaign is as it was, and none has come or gone."""

    def of(campaigns: Mapping[str, Campaign], kind: Kind) -> dict[str, Campaign]:
        return {name: campaign for name, campaign in campaigns.items() if kind_of(campaign) == kind}

    return {kind for kind in map(kind_of, now.values()) if of(before, kind) == of(now, kind)}
