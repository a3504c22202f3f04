"""One simulated day through ``cordboard.Acd`` itself, watched as it goes: for wallboards, demos, and trial journals.

The kernel runs a million contacts in a second and tells figures; this runs a few thousand in Python and shows
everything: each event, each effect with its reason, and the state of the center. Same scenarios, same laws.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard.acd import Acd
from cordboard.center import Center
from cordboard.errors import DataError, LimitError, Where
from cordboard.simulation.laws import Deterministic, Exponential, Law, Uniform
from cordboard.simulation.run import BACK_AFTER_S, Plan, draws_wrap_up, pieces_of, shift_plan
from cordboard.simulation.scenario import Scenario, Source, Trace, check_names

CONTACTS_MAX = 200_000  # in one day; the kernel is the tool for more
Draws = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """What the day has come to at ``t`` (s): events and effects since the moment before, and ``Acd.state()``."""

    t: float
    events: list[dict[str, Any]]
    effects: list[dict[str, Any]]
    state: dict[str, Any]


@dataclass
class Caller:
    """One attempt of a caller. ``given``: brought from outside, with its times; else drawn, by the place ``index``
    among the callers of source ``number``.
    """

    name: str
    source: Source
    service: float  # seconds, where it was given; else the index
    patience: float
    given: bool = False
    wrap_up: float | None = None
    number: int = 0
    attempt: int = 0
    agent: str | None = None
    offers: dict[str, int] = field(default_factory=dict)  # agent -> number of its open offer

    @property
    def index(self) -> int:
        """Place among the callers of its source; 0 for one that was given."""
        return 0 if self.given else int(self.service)


class Day:
    """The world of one day. ``run`` goes through it; ``call`` brings a caller from outside, such as an answered dial;
    ``at`` makes an appointment; who stands in ``listeners`` hears every event (None: timers) with its effects, who
    stands in ``turned_away`` of every caller who found no line. ``dialing``: lines that outbound calls take.

    Raises DataError for what the scenario names and the center lacks, and for ``waiting_places``, which only the
    kernel has.
    """

    def __init__(self, center: Center, scenario: Scenario, *, seed: int = 0, acd: Acd | None = None) -> None:
        check_names(scenario, center)
        if scenario.waiting_places:
            raise DataError("waiting_places are not for a live day", Where(key="waiting_places"), "Use lines.")
        self.scenario = scenario
        self.drawn_wrap_up = draws_wrap_up(scenario)
        self.dialing = 0
        self.acd = acd or Acd(Plan.center_for(center, scenario), seed=seed)
        self.asked = center
        self.seed = seed
        self.now = 0.0
        self._own_wrap_up = {agent.name for agent in center.agents if agent.wrap_up is not None}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._callers: dict[str, Caller] = {}
        self._present: dict[str, bool] = {}
        self._wrap_up: dict[str, int] = {}
        self._ending: Caller | None = None
        self._arriving: Caller | None = None
        self.listeners: list[Callable[[dict[str, Any] | None, list[dict[str, Any]]], None]] = []
        self.turned_away: list[Callable[[Caller], None]] = []
        self._events: list[dict[str, Any]] = []
        self._effects: list[dict[str, Any]] = []
        self._draws: dict[tuple[int, str], Draws] = {}
        for at, agent, presence in zip(*shift_plan(center, scenario), strict=True):
            name = center.agents[int(agent)].name
            self.at(int(at) / 1e6, lambda n=name, p=int(presence): self._presence(n, p))  # type: ignore[misc]
        for number, source in enumerate(scenario.sources):
            self._arrivals(number, source)

    def run(self, every: float = 60.0, until: float | None = None) -> Iterator[Moment]:
        """Go through the day; a Moment every so many seconds, and one at the end.

        The day ends when nobody is left after the scenario's duration, or at ``until``, or when its drain is over.
        """
        stop = self.scenario.duration + self.scenario.drain if until is None else until
        tick = every
        while True:
            due = self._next()
            over = due > stop or (self.now >= self.scenario.duration and not self._callers)
            while tick <= min(due, stop) and not (over and tick > self.now + every):
                yield self._moment(tick)
                tick += every
            if over:
                break
            self._step(due)
        yield self._moment(max(self.now, tick - every))

    def call(
        self,
        name: str,
        queue: str,
        at: float,
        *,
        service: float,
        patience: float = math.inf,
        wrap_up: float | None = None,
    ) -> None:
        """Bring a caller from outside into ``queue`` at second ``at``; the times are in seconds.

        ``wrap_up`` None: the center's. One that is given counts only in a day whose scenario draws wrap-ups.
        """
        source = Source(queue, Trace(()), Deterministic(float(service)))
        caller = Caller(name, source, float(service), patience, given=True, wrap_up=wrap_up)
        self.at(max(at, self.now), lambda: self._come(caller))

    def caller(self, name: str) -> Caller:
        """Who is in the center under this name, or has just come and was turned away."""
        arriving = self._arriving
        return arriving if arriving is not None and arriving.name == name else self._callers[name]

    def touched(self, event: dict[str, Any] | None, effects: list[dict[str, Any]]) -> list[str]:
        """The agents whose state an event or its effects may have changed."""
        names = {effect["agent"]: None for effect in effects if "agent" in effect}
        if event is not None:
            if "agent" in event:
                names[event["agent"]] = None
            elif event["event"] == "contact_ended" and self._ending is not None and self._ending.agent is not None:
                names[self._ending.agent] = None
        return list(names)

    # ---- time

    def at(self, t: float, what: Callable[[], None]) -> None:
        """Do ``what`` at second ``t``."""
        heapq.heappush(self._agenda, (t, next(self._order), what))

    def _next(self) -> float:
        timer = self.acd.next_timer()
        agenda = self._agenda[0][0] if self._agenda else math.inf
        return agenda if timer is None else min(timer, agenda)

    def _step(self, due: float) -> None:
        self.now = due
        timer = self.acd.next_timer()
        if timer is not None and timer <= due:
            self._take(self.acd.advance(due))  # what is due by itself comes first, and may make an appointment stale
        if self._agenda and self._agenda[0][0] <= due:
            heapq.heappop(self._agenda)[2]()

    def _moment(self, t: float) -> Moment:
        self.now = max(self.now, t)
        self._take(self.acd.advance(self.now))
        events, effects = self._events, self._effects
        self._events, self._effects = [], []
        return Moment(t, events, effects, self.acd.state())

    def _apply(self, event: str, **fields: Any) -> None:
        record = {"t": self.now, "event": event, **fields}
        self._events.append(record)
        self._take(self.acd.apply(record), record)

    # ---- random numbers, drawn by the kernel's own laws: one array a source and purpose, one entry a caller

    def _seed(self, source: int, purpose: str) -> int:
        key = [source & 0xFFFFFFFF, *purpose.encode()]
        return int(np.random.SeedSequence(self.seed, spawn_key=key).generate_state(1, np.uint64)[0])

    def draw(self, source: int, purpose: str, law: Law, index: int) -> float:
        drawn = self._draws.get((source, purpose))
        if drawn is None or len(drawn) <= index:
            drawn = law.draw(max(256, 2 * (index + 1)), self._seed(source, purpose))  # a longer draw begins the same
            self._draws[source, purpose] = drawn
        return float(drawn[index])

    def _chance(self, source: int, purpose: str, index: int) -> float:
        return self.draw(source, purpose, Uniform(0.0, 1.0), index)

    def _arrivals(self, number: int, source: Source) -> None:
        times = self._times(number, source)
        if len(times) > CONTACTS_MAX:
            raise LimitError(f"{len(times)} contacts are too many for a live day", CONTACTS_MAX, "Use simulate")
        names = source.arrivals.names if isinstance(source.arrivals, Trace) else ()
        label = source.name or source.queue
        for index, time in enumerate(times):
            name = names[index] if names else f"{label}-{index + 1}"
            caller = Caller(name, source, float(index), 0.0, number=number)
            self.at(float(time), lambda c=caller: self._come(c))  # type: ignore[misc]

    def _times(self, number: int, source: Source) -> Draws:
        if isinstance(source.arrivals, Trace):
            recorded = np.array(source.arrivals.times, np.float64)
            return recorded[recorded <= self.scenario.duration]
        ends, rates = pieces_of(
            source.arrivals, self.scenario.duration, self._seed(number, "day"), self._seed(number, "interval")
        )
        mass = np.concatenate(([0.0], np.cumsum(rates / 3600.0 * np.diff(ends, prepend=0.0))))
        count = int(mass[-1] + 10 * math.sqrt(mass[-1]) + 50)
        if count > 2 * CONTACTS_MAX:
            raise LimitError(f"about {mass[-1]:.0f} contacts are too many for a live day", CONTACTS_MAX, "Use simulate")
        points = np.cumsum(Exponential(1.0).draw(count, self._seed(number, "arrivals")))
        rising = np.concatenate(([True], np.diff(mass) > 0))  # np.interp wants a mass that grows
        times: Draws = np.interp(points[points < mass[-1]], mass[rising], np.concatenate(([0.0], ends))[rising])
        return times

    # ---- agents

    def _presence(self, agent: str, presence: int) -> None:
        self._present[agent] = presence == 2
        self._apply(("agent_offline", "agent_away", "agent_ready")[presence], agent=agent)

    def _back(self, agent: str) -> None:
        if self._present[agent] and self.acd.state()["agents"][agent]["state"] == "away":
            self._apply("agent_ready", agent=agent)

    # ---- callers

    def lines_free(self) -> int:
        """Trunk lines that neither a contact nor an outbound call holds."""
        if not self.scenario.lines:
            return 1 << 30
        counts = self.acd.counts()
        return self.scenario.lines - self.dialing - counts["waiting"] - counts["offered"] - counts["connected"]

    def _come(self, caller: Caller) -> None:
        if not caller.given and self.lines_free() <= 0:
            for told in self.turned_away:
                told(caller)
            return self._again(caller)
        source, name = caller.source, caller.name
        wishes: dict[str, Any] = {}
        if source.priority:
            wishes["priority"] = source.priority
        if source.requires is not None:
            wishes["requires"] = dict(source.requires)
        self._callers[name] = self._arriving = caller
        self._apply("contact_queued", contact=name, queue=source.queue, **wishes)
        if self._callers.get(name) is not caller or caller.agent is not None:
            return None
        patience = caller.patience
        if not caller.given:
            patience = self.draw(caller.number, f"patience{caller.attempt}", source.patience, caller.index)
        if math.isfinite(patience):
            self.at(self.now + patience, lambda: self._leave(caller))
        return None

    def _leave(self, caller: Caller) -> None:
        if self._callers.get(caller.name) is caller and caller.agent is None:
            del self._callers[caller.name]
            self._apply("contact_left", contact=caller.name)
            self._again(caller)

    def _again(self, caller: Caller) -> None:
        retry = caller.source.retry
        if caller.given or retry is None or caller.attempt >= retry.attempts:
            return
        index = caller.index
        if self._chance(caller.number, f"again{caller.attempt}", index) > retry.probability:
            return
        delay = self.draw(caller.number, f"delay{caller.attempt}", retry.delay, index)
        base = caller.name.split("/")[0]
        later = Caller(f"{base}/{caller.attempt + 2}", caller.source, caller.service, 0.0, number=caller.number)
        later.attempt = caller.attempt + 1
        self.at(self.now + delay, lambda: self._come(later))

    def _accept(self, caller: Caller, agent: str, offer: int) -> None:
        if caller.offers.get(agent) != offer or self._callers.get(caller.name) is not caller:
            return
        caller.offers.clear()
        caller.agent = agent
        self._apply("offer_accepted", contact=caller.name, agent=agent)
        talk = caller.service
        if not caller.given:
            rules = enumerate(caller.source.service_by)
            which, law = next(
                ((f"service{i}", r.service) for i, r in rules if agent in r.agents), ("service", caller.source.service)
            )
            talk = self.draw(caller.number, which, law, caller.index)
        self.at(self.now + talk, lambda: self._end(caller))

    def _decline(self, caller: Caller, agent: str, offer: int) -> None:
        if caller.offers.get(agent) == offer and self._callers.get(caller.name) is caller:
            del caller.offers[agent]
            self._apply("offer_declined", contact=caller.name, agent=agent)

    def _end(self, caller: Caller) -> None:
        del self._callers[caller.name]
        self._ending = caller
        self._apply("contact_ended", contact=caller.name)

    def _wrapped(self, agent: str, number: int) -> None:
        if self._wrap_up.get(agent) == number:
            self._apply("wrap_up_ended", agent=agent)

    # ---- effects

    def _take(self, effects: list[dict[str, Any]], event: dict[str, Any] | None = None) -> None:
        self._effects += effects
        for effect in effects:
            kind = effect["effect"]
            if kind == "offer":
                self._offered(effect)
            elif kind in ("offer_withdrawn", "offer_expired"):
                caller = self._callers.get(effect["contact"])
                if caller is not None:
                    caller.offers.pop(effect["agent"], None)
            elif kind == "wrap_up_started":
                self._start_wrap_up(effect["agent"])
            elif kind == "wrap_up_ended":
                self._wrap_up.pop(effect["agent"], None)
            elif kind == "agent_away":
                self.at(self.now + BACK_AFTER_S, lambda a=effect["agent"]: self._back(a))  # type: ignore[misc]
            elif kind == "contact_rejected" or (kind == "contact_expired" and effect["to"] is None):
                self._again(self._callers.pop(effect["contact"]))
        if effects or event is not None:
            for listener in self.listeners:
                listener(event, effects)

    def _offered(self, effect: dict[str, Any]) -> None:
        """The agent answers after its ring time: by the agenda, so that nothing happens within an effect."""
        caller, agent = self._callers[effect["contact"]], effect["agent"]
        offer = caller.offers[agent] = next(self._order)
        number, index = caller.number, caller.index
        source = caller.source
        ring = 0.0 if caller.given else self.draw(number, f"ring-{agent}", source.ring, index)
        if source.no_answer and self._chance(number, f"no answer-{agent}", index) <= source.no_answer:
            queue = next(q for q in self.asked.queues if q.name == source.queue)
            if queue.offer_timeout == 0:
                self.at(self.now + ring, lambda: self._decline(caller, agent, offer))
            return
        self.at(self.now + ring, lambda: self._accept(caller, agent, offer))

    def _start_wrap_up(self, agent: str) -> None:
        caller = self._ending
        number = next(self._order)
        self._wrap_up[agent] = number
        if not self.drawn_wrap_up or agent in self._own_wrap_up or caller is None:
            return
        length = caller.wrap_up
        if length is None:
            queue = next(q for q in self.asked.queues if q.name == caller.source.queue)
            law = caller.source.wrap_up or Deterministic(queue.wrap_up)
            length = self.draw(caller.number, f"wrap-up {queue.name}", law, caller.index)
        self.at(self.now + length, lambda: self._wrapped(agent, number))


def run_day(
    center: Center, scenario: Scenario, *, seed: int = 0, every: float = 60.0, until: float | None = None
) -> Iterator[Moment]:
    """A simulated day, moment by moment: ``for moment in run_day(center, scenario, every=30): show(moment.state)``."""
    return Day(center, scenario, seed=seed).run(every, until)
