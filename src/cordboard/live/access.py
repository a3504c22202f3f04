"""Who calls, and what they may do: roles, permissions, scope.

One table, ``ROLES``, says which permissions a role has; what does not stand in it is denied. A caller belongs to one
tenant and sees nothing of another. Inside the tenant its scope says which queues (and their contacts) and which teams
(and their agents) its permissions hold for: ``frozenset({"*"})`` is all of them, the empty set none. An agent acts for
itself whatever its scope. All of this is pure: no clock, no files, no network.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from cordboard.center import UNFIT
from cordboard.errors import DeniedError, InputError, Where

ALL = frozenset({"*"})
NAME_CHARACTERS_MAX = 255
NAMES_MAX = 1000  # of teams or queues in one caller's scope

PERMISSIONS: dict[str, str] = {
    "contacts.read": "see contacts: their place, their estimated wait, why they got their agent",
    "contacts.write": "queue contacts, let them leave, change their priority, end them",
    "agents.self": "act as the agent that one is: take offers, set one's own state",
    "agents.read": "see agents and their states",
    "agents.write": "act for the agents of one's scope",
    "queues.read": "see queues and their counts",
    "center.read": "read the configuration, compare and check another one",
    "center.write": "apply a configuration",
    "events.watch": "follow the events and effects of one's scope",
    "reports.read": "read reports",
    "campaigns.read": "see outbound campaigns, and what came of their lists",
    "campaigns.write": "start and pause outbound campaigns, import lists, block numbers",
    "pacing.read": "see the plans and ledgers of campaigns",
    "pacing.write": "tell a campaign's observations, get its plans",
    "predictions.read": "have answers predicted",
    "predictions.write": "teach the answer model",
    "simulations.read": "see simulations and their results",
    "simulations.write": "start and cancel simulations",
    "operations.read": "see long-running operations",
    "operations.write": "cancel and delete long-running operations",
    "admin.read": "see the state of the server and of its journal",
    "admin.write": "drain, make snapshots, back up",
    "audit.read": "read the audit log",
    "subjects.export": "export all that is kept about a person",
    "subjects.erase": "erase a person",
    "calls.read": "see calls, who is on them and who hears whom",
    "calls.write": "hold, transfer, confer, park, record and end the calls of the agents for whom one may act",
    "calls.monitor": "listen to the calls of the agents of one's teams",
    "recordings.read": "find recordings of one's scope",
    "recordings.play": "hear them",
    "recordings.hold": "keep them whatever their time, and end that",
    "recordings.purge": "delete those whose time is over",
    "calls.join": "whisper to those agents, barge in, take over",
    "flows.answer": "answer the look-ups of flows, tell them what callers said",
    "media.attach": "attach as a media node: report what happens to calls, carry out what is decided",
    "numbers.read": "see numbers unmasked",
}


class Role(StrEnum):
    """What a caller is employed for."""

    AGENT = "agent"
    TEAM_LEAD = "team-lead"
    QA = "qa"
    TRAINER = "trainer"
    MANAGER = "manager"
    ADMINISTRATOR = "administrator"
    SERVICE = "service"


_SEES = frozenset({"queues.read", "agents.read", "contacts.read", "calls.read", "reports.read", "events.watch"})
_MANAGES = _SEES | {
    "agents.self",
    "agents.write",
    "contacts.write",
    "calls.write",
    "calls.monitor",
    "calls.join",
    "recordings.read",
    "recordings.play",
    "recordings.hold",
    "center.read",
    "center.write",
    "campaigns.read",
    "campaigns.write",
    "pacing.read",
    "predictions.read",
    "simulations.read",
    "simulations.write",
    "operations.read",
    "operations.write",
    "numbers.read",
    "subjects.export",
}

ROLES: dict[Role, frozenset[str]] = {
    Role.AGENT: frozenset({"agents.self", "queues.read", "calls.read", "calls.write"}),
    Role.TEAM_LEAD: _SEES
    | {"agents.self", "agents.write", "center.read", "calls.write", "calls.monitor", "calls.join"}
    | {"recordings.read", "recordings.play"},
    Role.QA: _SEES | {"center.read", "calls.monitor", "recordings.read", "recordings.play"},
    Role.TRAINER: frozenset(
        {"queues.read", "agents.read", "reports.read", "center.read", "simulations.read", "simulations.write"}
    )
    | {"operations.read", "predictions.read"},
    Role.MANAGER: _MANAGES,
    Role.ADMINISTRATOR: frozenset(PERMISSIONS),
    Role.SERVICE: _SEES
    | {
        "contacts.write",
        "calls.write",
        "agents.self",
        "agents.write",
        "center.read",
        "campaigns.read",
        "campaigns.write",
        "pacing.read",
        "pacing.write",
        "predictions.read",
        "predictions.write",
        "flows.answer",
        "media.attach",
        "numbers.read",
    },
}


@functools.cache
def _of_roles(roles: frozenset[Role]) -> frozenset[str]:
    """What these roles may do together; there are as many sets of them as there are kinds of callers."""
    return frozenset().union(*(ROLES[role] for role in roles))


def checked_name(value: str, key: str) -> str:
    """A name that can stand in a token, a certificate and a log. Raises InputError."""
    if not isinstance(value, str) or not 0 < len(value) <= NAME_CHARACTERS_MAX or UNFIT.search(value):
        what = f"not a name of 1 to {NAME_CHARACTERS_MAX} characters without control characters"
        raise InputError(what, Where(key=key), "Give a plain name")
    return value


def checked_roles(names: Iterable[str], key: str = "role") -> frozenset[Role]:
    """The roles of these names. Raises InputError that lists the known ones."""
    found = set()
    for name in names:
        try:
            found.add(Role(name))
        except ValueError:
            raise InputError(f"no role {str(name)[:40]!r}", Where(key=key), "Known: " + ", ".join(Role)) from None
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls: a person or a program of one tenant.

    ``queues`` and ``teams`` are its scope (``ALL``, or names; none by default); ``agents`` those of its teams, filled
    in by ``knowing``. ``expires``: seconds since the epoch until which its token or certificate holds. ``by``: what it
    was known by (``local``, ``token``, ``certificate``).
    """

    tenant: str
    name: str
    roles: frozenset[Role]
    teams: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    expires: float = inf
    by: str = "local"
    agents: frozenset[str] = frozenset()

    def knowing(self, teams: Mapping[str, Collection[str]]) -> Caller:
        """The same caller with the agents of its teams. ``teams``: the tenant's, each with its agents."""
        found = frozenset(agent for team in self.teams for agent in teams.get(team, ()))
        return replace(self, agents=found)

    def has(self, permission: str) -> bool:
        """Whether one of its roles has the permission; a permission that nobody knows is had by nobody."""
        return permission in _of_roles(self.roles)

    def require(self, permission: str) -> None:
        """Raises DeniedError unless ``has``."""
        if not self.has(permission):
            raise DeniedError("PERMISSION_MISSING", f"this needs the permission {permission or '(none is declared)'}")

    def covers_queue(self, queue: str) -> bool:
        """Whether a queue, with its contacts, is in scope."""
        return self.queues == ALL or queue in self.queues

    def covers_agent(self, agent: str) -> bool:
        """Whether an agent is in scope for reading: of one of its teams, or itself."""
        return self.teams == ALL or agent in self.agents or self.is_agent(agent)

    def require_visible(self, agent: str) -> None:
        """Raises DeniedError unless ``covers_agent``."""
        if not self.covers_agent(agent):
            raise DeniedError("AGENT_OUT_OF_SCOPE", "that agent is not in this caller's scope")

    def is_agent(self, agent: str) -> bool:
        """Whether it is this agent itself."""
        return Role.AGENT in self.roles and agent == self.name

    def may_act_for(self, agent: str) -> bool:
        """Whether it may take offers and set states for this agent."""
        if self.has("agents.write") and (self.teams == ALL or agent in self.agents):
            return True
        return self.has("agents.self") and agent == self.name

    def require_agent(self, agent: str) -> None:
        """Raises DeniedError unless ``may_act_for``."""
        if not self.may_act_for(agent):
            raise DeniedError("AGENT_OUT_OF_SCOPE", "this caller may not act for that agent")

    def require_watched(self, agent: str) -> None:
        """Raises DeniedError unless this agent is in one of its teams, so that it may be listened to."""
        if self.teams != ALL and agent not in self.agents:
            raise DeniedError("AGENT_OUT_OF_SCOPE", "that agent is not in this caller's scope")

    def require_queue(self, queue: str) -> None:
        """Raises DeniedError unless ``covers_queue``."""
        if not self.covers_queue(queue):
            raise DeniedError("QUEUE_OUT_OF_SCOPE", "that queue is not in this caller's scope")

    def require_all(self) -> None:
        """Raises DeniedError unless its scope is all of its tenant: for what concerns every queue and agent."""
        if not self.unlimited:
            raise DeniedError("SCOPE_TOO_NARROW", "this needs the whole tenant in scope")

    @property
    def unlimited(self) -> bool:
        """Whether its scope is all of its tenant."""
        return self.queues == ALL and self.teams == ALL


def local_administrator(tenant: str = "default") -> Caller:
    """Who calls a server on loopback that has no security configured: an administrator of the one tenant."""
    return Caller(tenant, "local", frozenset({Role.ADMINISTRATOR}), ALL, ALL)


def masked(number: str, caller: Caller | None = None) -> str:
    """A number as this caller may see it: whole with ``numbers.read``, else its last two digits.

    Characters that are no digits stay, so that the form of a number can still be recognized.
    """
    if caller is not None and caller.has("numbers.read"):
        return number
    left = sum(char.isalnum() for char in number) - 2
    hidden = []
    for char in number:
        if char.isalnum():
            hidden.append("*" if left > 0 or len(number) <= 4 else char)
            left -= 1
        else:
            hidden.append(char)
    return "".join(hidden)


_NUMBER = re.compile(r"\+?\d(?:[ ./()-]{0,2}\d){6,}")  # seven digits or more, as people write them


def masked_within(text: str, caller: Caller | None = None) -> str:
    """A text as this caller may see it: numbers of telephones, cards and the like in it as ``masked`` shows them."""
    return _NUMBER.sub(lambda found: masked(found[0], caller), text)
