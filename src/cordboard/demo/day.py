"""The day of the demo: a scenario of made-up people, lived through by the simulator's live day, and what is kept of it.

Times are seconds from nine in the morning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cordboard.acd import Acd
from cordboard.center import Center
from cordboard.kpi import QueueTallies, Tally
from cordboard.simulation import laws, live, scenario
from cordboard.simulation.live import Moment

OPENS_AT_S = 9 * 3600.0  # of the day
DAY_S = 8 * 3600.0
HALF_HOUR_S = 1800.0
TEAM_QUEUE = "campaign"
DECISIONS_KEPT = 5

# Calls an hour at the busiest time, mean talk and mean patience in seconds.
STREAMS: dict[str, tuple[float, float, float]] = {
    "billing": (84, 240, 240),
    "support": (60, 330, 300),
    "sales": (54, 270, 150),
    "vip": (8, 300, 200),
    "chat": (40, 420, 600),
}
# Share of the peak by half hour: a morning peak, a dip at lunch, a smaller peak at three.
PROFILE = (0.55, 0.8, 0.95, 1.0, 0.95, 0.85, 0.6, 0.6, 0.75, 0.9, 0.95, 0.9, 0.75, 0.65, 0.5, 0.35)


def demo_scenario(center: Center) -> scenario.Scenario:
    """Callers by half hour, agents who miss 3 offers in 100, callers who come back, lunches in four turns."""
    sources = tuple(
        scenario.Source(
            queue=name,
            arrivals=scenario.Rates(tuple((i * HALF_HOUR_S, peak * share) for i, share in enumerate(PROFILE))),
            service=laws.LogNormal(talk, 0.8),
            patience=laws.Exponential(patience),
            ring=laws.Uniform(1.5, 4.0),
            no_answer=0.03,
            retry=scenario.Retry(0.25, laws.Uniform(120.0, 900.0)),
        )
        for name, (peak, talk, patience) in STREAMS.items()
    )
    shifts = []
    for turn in range(4):
        lunch = 3 * 3600.0 + turn * HALF_HOUR_S
        names = tuple(agent.name for agent in center.agents[turn::4])
        shifts.append(scenario.Shift(((0.0, lunch), (lunch + HALF_HOUR_S, DAY_S + 900.0)), names))
    return scenario.Scenario(sources, DAY_S, shifts=tuple(shifts), drain=3600.0)


class DemoDay:
    """One day, and what the board and the report want to know of it."""

    def __init__(self, center: Center, seed: int) -> None:
        acd = Acd(center, seed=seed)
        acd.learn_waits()
        self.center, self.seed = center, seed
        self.live = live.Day(center, demo_scenario(center), seed=seed, acd=acd)
        self.live.listeners.append(self._listen)
        self.acd = acd
        self.journal: list[dict[str, Any]] = []
        self.tallies = QueueTallies({queue.name: queue.target_within for queue in center.queues})
        self.half_hours: dict[int, Tally] = {}
        self.decisions: list[dict[str, Any]] = []
        self.announced: list[tuple[str, float]] = []  # caller and the p90 of its wait that it was told
        self.waited: dict[str, float] = {}  # caller that an agent answered -> its wait
        self.missed: list[str] = []  # callers whose agent did not pick up
        self._came: dict[str, tuple[str, float]] = {}
        self._within = {queue.name: queue.target_within for queue in center.queues}

    @property
    def now(self) -> float:
        """Seconds from nine o'clock."""
        return self.live.now

    def run(self, every: float) -> Iterator[Moment]:
        """Live through the day, a moment every so many seconds."""
        return self.live.run(every)

    def _listen(self, event: dict[str, Any] | None, effects: list[dict[str, Any]]) -> None:
        self.tallies.observe(event, effects)
        for effect in effects:
            if effect["effect"] == "offer":
                self.decisions = [*self.decisions[1 - DECISIONS_KEPT :], effect]
            elif effect["effect"] == "offer_expired":
                self.missed.append(effect["contact"])
        if event is None:
            return
        self.journal.append(event)
        if event["event"] == "contact_queued" and event["queue"] != TEAM_QUEUE:
            self._arrive(event["contact"], event["queue"], effects)
        elif event["event"] == "offer_accepted" and event["contact"] in self._came:
            self._answer(*self._came.pop(event["contact"]), event["contact"])

    def _arrive(self, contact: str, queue: str, effects: list[dict[str, Any]]) -> None:
        """Count the caller in the half hour of arrival; who has to wait is told how long."""
        self._came[contact] = (queue, self.now)
        self._half_hour(self.now).offered += 1
        if not any(effect["effect"] == "offer" and effect["contact"] == contact for effect in effects):
            self.announced.append((contact, self.acd.estimate_wait(contact).p90))

    def _answer(self, queue: str, came: float, contact: str) -> None:
        wait = self.waited[contact] = self.now - came
        self._half_hour(came).answered_in += wait <= self._within[queue]

    def _half_hour(self, t: float) -> Tally:
        return self.half_hours.setdefault(int(t // HALF_HOUR_S), Tally())
