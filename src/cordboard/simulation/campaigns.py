"""Outbound campaigns of a scenario: who is dialed, who answers, and how the dialing is paced.

The pacing is a real ``cordboard.Pacer`` with a mode, a target, rules and limits; what stands here beside them is the
world around it, which the pacer never sees: probabilities, and times to an answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from cordboard.center import Agent, Center, Queue
from cordboard.errors import DataError, Where
from cordboard.pacing.modes import ASKED, Asked, Limits
from cordboard.pacing.pacer import GROUPS_MAX
from cordboard.pacing.rules import Rule
from cordboard.simulation.laws import Deterministic, Erlang, Law

LEADS_MAX = 10_000_000


def _require(ok: bool, what: str, key: str, hint: str) -> None:
    if not ok:
        raise DataError(what, Where(key=key), hint)


def _share(value: float, key: str) -> None:
    _require(0.0 <= value <= 1.0, f"{key} is {value!r}", key, "Give a share, 0 to 1.")


@dataclass(frozen=True)
class LeadGroup:
    """Leads that are alike: a segment of a list.

    ``answer``: the probability that a person answers a dial, or (from second, probability) pairs, from 0 on in time
    order. ``machine``: that a machine does. ``told``: the pacer is told the probability with each call, as a good
    answer model would; otherwise it learns the mean. ``valid``: share of numbers that exist.
    """

    count: int
    answer: float | tuple[tuple[float, float], ...]
    machine: float = 0.0
    told: bool = False
    valid: float = 1.0

    def __post_init__(self) -> None:
        _require(1 <= self.count <= LEADS_MAX, f"{self.count} leads", "leads.count", f"Give 1 to {LEADS_MAX:,}.")
        _share(self.machine, "leads.machine")
        _share(self.valid, "leads.valid")
        starts = [start for start, _ in self.pieces]
        _require(
            len(starts) > 0 and starts[0] == 0 and all(a < b for a, b in pairwise(starts)),
            "the answer probabilities do not start at 0 and rise in time",
            "leads.answer",
            "Give a probability, or [[0, probability], [3600, probability], ...].",
        )
        for _, p in self.pieces:
            _share(p, "leads.answer")
            _require(p + self.machine <= 1.0, "answer and machine are over 1", "leads.machine", "Lower one of them.")

    @property
    def pieces(self) -> tuple[tuple[float, float], ...]:
        """(from second, probability) pairs."""
        return self.answer if isinstance(self.answer, tuple) else ((0.0, float(self.answer)),)

    def answer_at(self, t: float) -> float:
        """The probability that a dial at second ``t`` is answered by a person."""
        return next(p for start, p in reversed(self.pieces) if start <= t)


@dataclass(frozen=True)
class Redial:
    """Who was not reached is dialed again, ``after`` so long, at most ``attempts`` more times."""

    after: Law
    attempts: int = 1

    def __post_init__(self) -> None:
        _require(1 <= self.attempts <= 100, f"{self.attempts} more attempts", "redial.attempts", "Give 1 to 100.")


@dataclass(frozen=True)
class Campaign:
    """Dials ``leads`` from second ``start`` to ``end`` (None: the scenario's) and brings who answers into ``queue``.

    ``mode``, ``target``, ``rules``, ``limits``: of its Pacer; the pacer knows when dialing ends (``closes``). One who
    finds no agent ``connect_within`` seconds after the answer is dropped. ``service`` and ``wrap_up`` are the laws of
    the conversation and of the work after it (None: the center's). ``post_dial``: until it rings; ``answer_after``:
    from then to an answer by a person or a machine; ``fails``: share of all dials that fail after ``fails_after``;
    the rest rings until ``ring_until``, counted from the dial. ``machine_missed``: share of machines that are taken for
    people; ``false_positives``: of people that are taken for machines. ``weight``: its share of agents that it has in
    common with other campaigns. ``inbound``: (share, seconds) that inbound callers of its agents are to have, None: the
    strictest target of their queues. ``choose``: the pacer may pick among the groups of leads.
    """

    queue: str
    leads: tuple[LeadGroup, ...]
    service: Law
    name: str = ""
    mode: Asked = "predictive"
    target: float = 0.03
    rules: tuple[Rule, ...] | None = None
    limits: Limits = field(default_factory=Limits)
    start: float = 0.0
    end: float | None = None
    wrap_up: Law | None = None
    connect_within: float = 2.0
    post_dial: Law = field(default_factory=lambda: Deterministic(2.0))
    answer_after: Law = field(default_factory=lambda: Erlang(4, 8.0))
    ring_until: float = 24.0
    fails: float = 0.15
    fails_after: float = 3.0
    machine_missed: float = 0.0
    false_positives: float = 0.0
    redial: Redial | None = None
    weight: float = 1.0
    inbound: tuple[float, float] | None = None
    choose: bool = True

    def __post_init__(self) -> None:
        _require(
            1 <= len(self.leads) <= GROUPS_MAX, f"{len(self.leads)} groups of leads", "campaigns.leads",
            f"Give 1 to {GROUPS_MAX}.",
        )  # fmt: skip
        known = f"Use one of {', '.join(ASKED)}."
        _require(self.mode in ASKED, f"there is no mode {self.mode!r}", "campaigns.mode", known)
        _require(0.0 < self.target < 1.0, f"target is {self.target!r}", "campaigns.target", "Write 3 % as 0.03.")
        _require(
            0.0 <= self.start < (math.inf if self.end is None else self.end) and (self.end or 0.0) < math.inf,
            f"dialing goes from {self.start!r} to {self.end!r}", "campaigns.end", "Give seconds in time order.",
        )  # fmt: skip
        for key in ("connect_within", "ring_until", "fails_after", "weight"):
            value = getattr(self, key)
            _require(0.0 <= value < 1e6, f"{key} is {value!r}", f"campaigns.{key}", "Give 0 or more.")
        _require(self.weight > 0.0, "a weight of 0", "campaigns.weight", "Give more than 0.")
        for key in ("fails", "machine_missed", "false_positives"):
            _share(getattr(self, key), f"campaigns.{key}")
        if self.inbound is not None:
            share, within = self.inbound
            _require(
                0.0 < share < 1.0 and 0.0 < within < 1e6, f"inbound is {self.inbound!r}", "campaigns.inbound",
                "Give a share and seconds, such as 0.8 and 20.",
            )  # fmt: skip

    @property
    def label(self) -> str:
        """Its name, or that of its queue."""
        return self.name or self.queue


def able(agent: Agent, queue: Queue) -> bool:
    """Whether a contact that has just come into a queue may go to an agent, when free."""
    wanted = queue.steps[0].requires if queue.steps else queue.requires
    return (
        (agent.queues is None or queue.name in agent.queues)
        and agent.capacity.get(queue.channel, 0) > 0
        and all(agent.skills.get(skill, 0) >= level for skill, level in wanted.items())
    )


def teams(center: Center, campaigns: tuple[Campaign, ...]) -> list[tuple[tuple[str, ...], list[Campaign]]]:
    """Agents by name, and the campaigns that they serve. Raises DataError where two campaigns share some of their
    agents but not all, or a campaign has none.
    """
    queues = {queue.name: queue for queue in center.queues}
    found: dict[tuple[str, ...], list[Campaign]] = {}
    for one in campaigns:
        names = tuple(agent.name for agent in center.agents if able(agent, queues[one.queue]))
        hint = "Give agents the queue, its channel and its skills."
        _require(len(names) > 0, f"no agent serves the campaign {one.label!r}", "campaigns.queue", hint)
        for others, of in found.items():
            if others != names and set(others) & set(names):
                what = f"campaigns {of[0].label!r} and {one.label!r} share some of their agents, but not all"
                raise DataError(what, Where(key="campaigns.queue"), "Give them the same agents, or agents apart.")
        found.setdefault(names, []).append(one)
    return list(found.items())


def check_campaigns(campaigns: tuple[Campaign, ...], center: Center, duration: float) -> None:
    """Raise a DataError where campaigns name what the center does not have."""
    queues: Mapping[str, Queue] = {queue.name: queue for queue in center.queues}
    for one in campaigns:
        known = ", ".join(sorted(queues)[:8])
        _require(one.queue in queues, f"there is no queue {one.queue!r}", "campaigns.queue", f"The center has {known}.")
        within = one.start < duration and (one.end or 0.0) <= duration
        hint = f"The scenario ends at {duration:g} s."
        _require(within, f"{one.label} dials beyond the scenario", "campaigns.end", hint)
    labels = [one.label for one in campaigns]
    _require(len(set(labels)) == len(labels), "two campaigns have one name", "campaigns.name", "Name them apart.")
    teams(center, campaigns)
