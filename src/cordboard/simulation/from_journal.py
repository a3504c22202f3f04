"""A scenario out of a journal: who came as they came, the rest estimated.

Arrivals are the journal's own, to the microsecond, with their priorities and requirements. Service times are
the observed ones of the queue; patience is the Kaplan-Meier estimate, because those who were served would have
waited longer; agents work when they were ready. Journals hold what happened under one routing, so nothing is
taken from it that routing decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from cordboard.errors import DataError, InputError, JournalError, Where
from cordboard.journal import read_journal
from cordboard.simulation.laws import Empirical, Exponential, Law, kaplan_meier
from cordboard.simulation.scenario import Scenario, Shift, Source, Trace

TYPE_MIN = 200  # contacts that a type needs for a patience of its own; with fewer it has its queue's
DAY_S = 86400.0
LEFT_OUT = ("steps", "preferred_agent", "customer", "max_tier", "min_tier", "tier_rules", "values", "queued_at")

Type = tuple[str, int, tuple[tuple[str, int], ...] | None]  # queue, priority, requires


@dataclass
class _Contact:
    type: Type
    came: float
    accepted: float | None = None


@dataclass
class _Seen:
    """What a journal says about one type of contacts."""

    names: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    talks: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    gave_up: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class JournalScenario:
    """The scenario; ``origin`` is the journal's time at its second 0; ``left_out`` counts fields that it does
    not carry."""

    scenario: Scenario
    origin: float
    left_out: Mapping[str, int]


def scenario_of_journal(source: str | Path | BinaryIO, *, days: float | None = None) -> JournalScenario:
    """The scenario of a journal file, or of its first ``days``. Its second 0 is midnight of the first day of
    the journal's time.

    Raises JournalError at a line that can't be read, DataError where no contact was ever served.
    """
    if not isinstance(source, str | Path):
        return _Reader(days).read(source, getattr(source, "name", "<journal>"))
    try:
        with open(source, "rb") as stream:
            return _Reader(days).read(stream, str(source))
    except OSError as error:
        what = f"the journal can't be read: {error.strerror}"
        raise InputError(what, Where(str(source)), "Check the path") from error


class _Reader:
    def __init__(self, days: float | None) -> None:
        self.limit = None if days is None else days * DAY_S
        self.origin: float | None = None
        self.last = 0.0
        self.alive: dict[str, _Contact] = {}
        self.types: dict[Type, _Seen] = defaultdict(_Seen)
        self.hours: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.ready: dict[str, float] = {}
        self.left_out: dict[str, int] = defaultdict(int)

    def read(self, stream: BinaryIO, file: str) -> JournalScenario:
        for line, event in read_journal(stream, file):
            if isinstance(event, JournalError):
                raise event
            if self.origin is None:
                self.origin = event["t"] // DAY_S * DAY_S
            now = event["t"] - self.origin
            if now < self.last:
                raise JournalError("time goes back", Where(file, line, "t"), "Sort the journal by t.")
            if self.limit is not None and now > self.limit:
                break
            self.last = now
            self._event(event, now)
        for agent, since in self.ready.items():
            self._worked(agent, since, self.last)
        return JournalScenario(self._scenario(file), self.origin or 0.0, dict(self.left_out))

    def _event(self, event: Mapping[str, Any], now: float) -> None:
        kind = event["event"]
        if kind == "contact_queued":
            self._queued(event, now)
        elif kind == "offer_accepted" and event["contact"] in self.alive:
            self.alive[event["contact"]].accepted = now
            self._waited(self.alive[event["contact"]], now, gave_up=False)
        elif kind == "contact_left" and event["contact"] in self.alive:
            contact = self.alive.pop(event["contact"])
            if contact.accepted is None:
                self._waited(contact, now, gave_up=True)
        elif kind == "contact_ended" and event["contact"] in self.alive:
            contact = self.alive.pop(event["contact"])
            if contact.accepted is not None:
                self.types[contact.type].talks.append(now - contact.accepted)
        elif kind == "agent_ready":
            self.ready.setdefault(event["agent"], now)
        elif kind in ("agent_away", "agent_offline") and event["agent"] in self.ready:
            self._worked(event["agent"], self.ready.pop(event["agent"]), now)

    def _queued(self, event: Mapping[str, Any], now: float) -> None:
        for name in LEFT_OUT:
            self.left_out[name] += name in event
        requires = event.get("requires")
        wishes = None if requires is None else tuple(sorted(requires.items()))
        type_ = (event["queue"], event.get("priority", 0), wishes)
        self.alive[event["contact"]] = _Contact(type_, now)
        self.types[type_].names.append(event["contact"])
        self.types[type_].times.append(now)

    def _waited(self, contact: _Contact, now: float, *, gave_up: bool) -> None:
        self.types[contact.type].waits.append(now - contact.came)
        self.types[contact.type].gave_up.append(gave_up)

    def _worked(self, agent: str, start: float, end: float) -> None:
        if end > start:
            self.hours[agent].append((start, end))

    def _scenario(self, file: str) -> Scenario:
        if not any(seen.talks for seen in self.types.values()):
            raise DataError(
                "no contact of this journal was served to its end",
                Where(file),
                "A scenario needs service times: offer_accepted and contact_ended of some contacts.",
            )
        services, patience = self._services(), self._patience()
        sources = tuple(
            Source(
                queue=type_[0],
                arrivals=Trace(tuple(seen.times), tuple(seen.names)),
                service=services[type_],
                patience=patience[type_],
                priority=type_[1],
                requires=type_[2],
            )
            for type_, seen in self.types.items()
        )
        shifts = tuple(Shift(tuple(hours), (agent,)) for agent, hours in self.hours.items())
        last = max(time for seen in self.types.values() for time in seen.times[-1:])
        return Scenario(sources, duration=max(last + 1e-3, 1.0), shifts=shifts)

    def _services(self) -> dict[Type, Law]:
        """Observed conversations of the type, else of its queue, else of all."""
        of_queue: dict[str, list[float]] = defaultdict(list)
        for type_, seen in self.types.items():
            of_queue[type_[0]] += seen.talks
        everything = [talk for talks in of_queue.values() for talk in talks]
        out: dict[Type, Law] = {}
        for type_, seen in self.types.items():
            sample = seen.talks if len(seen.talks) >= TYPE_MIN else of_queue[type_[0]] or everything
            out[type_] = Empirical.of(sample)
        return out

    def _patience(self) -> dict[Type, Law]:
        of_queue: dict[str, _Seen] = defaultdict(_Seen)
        for type_, seen in self.types.items():
            of_queue[type_[0]].waits += seen.waits
            of_queue[type_[0]].gave_up += seen.gave_up
        out: dict[Type, Law] = {}
        for type_, seen in self.types.items():
            sample = seen if len(seen.waits) >= TYPE_MIN else of_queue[type_[0]]
            out[type_] = kaplan_meier(sample.waits, sample.gave_up) if sample.waits else Exponential(DAY_S)
        return out


def agents_known(scenario: Scenario, names: Iterable[str]) -> Scenario:
    """The scenario for a center that lacks some of the journal's agents: their shifts are left out.

    Agents of the center who never worked in the journal stay offline, where the journal says anything about hours.
    """
    from dataclasses import replace

    have = set(names)
    kept = tuple(shift for shift in scenario.shifts if set(shift.agents) <= have)
    if not scenario.shifts:
        return scenario
    absent = tuple(sorted(have - {name for shift in kept for name in shift.agents}))
    never = (Shift(((scenario.duration + scenario.drain, scenario.duration + scenario.drain + 1),), absent),)
    return replace(scenario, shifts=kept + (never if absent else ()))
