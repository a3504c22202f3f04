"""The world of the soak: sites with callers and agents, who decide from what the center has told them and from nothing else.

What a caller or an agent does is drawn by who they are (the site, the contact, the how-manieth offer), never by the order
in which things are done. Each site does one thing after the other and sees what came of it before it does the next; the
sites work at the same time, and share nothing. So without faults or with any, every site lives the same day.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cordboard.v1 import journal_pb2 as journal

if TYPE_CHECKING:
    from benchmarks.soak_day import Company

START_S = 1_790_000_000.0
HOUR_S = 3600.0


@dataclass(frozen=True)
class Plan:
    """What is simulated. ``agents``: of a site; a third of them is at work at a time. ``tick``: seconds between the
    moments at which things are done. ``losses``: connections lost for good, per agent and hour."""

    hours: float = 24.0
    sites: int = 4
    agents: int = 24
    seed: int = 1
    tick: float = 2.0
    talk_s: float = 180.0
    load: float = 0.9
    losses: float = 0.25
    shift_h: float = 8.0

    @property
    def names(self) -> Iterator[tuple[int, str]]:
        return ((site, f"s{site}-a{number}") for site in range(self.sites) for number in range(self.agents))

    def center(self) -> str:
        """The center file: in each site two queues for the phone with skills, one of which overflows into the other."""
        parts = []
        for site in range(self.sites):
            parts.append(
                f"[queues.s{site}-sales]\nstrategy = 'most_skilled'\nrequires = {{ s{site} = 4 }}\noffer_timeout = 15\n"
                f"steps = [ {{ for = 20, requires = {{ s{site} = 4 }} }}, {{ for = 40, requires = {{ s{site} = 2 }} }} ]\n"
                f"max_no_answer = 1\nretry_delay = 5\nwrap_up = 20\nmax_wait = 90\noverflow = 's{site}-help'\n"
                f"[queues.s{site}-help]\noffer_timeout = 10\nmax_waiting = 6\nwrap_up = 12.5\nsticky = true\nweight = 1\n"
                f"target = {{ share = 0.8, within = 15 }}\n"
            )
        for site, agent in self.names:
            level = 1 + draw(self.seed, "level", agent).randrange(6)
            parts.append(f"[agents.{agent}]\nskills = {{ s{site} = {level} }}\nqueues = ['s{site}-sales', 's{site}-help']\n")
        return "".join(parts)


def draw(*key: object) -> random.Random:
    """Chance that belongs to something."""
    return random.Random("/".join(map(str, key)))


@dataclass
class Agent:
    name: str
    presence: str = "offline"
    on_shift: bool = False
    lost: bool = False


@dataclass
class Contact:
    queue: str
    offers: dict[str, int] = field(default_factory=dict)  # open ones: agent -> the how-manieth of all
    offered: int = 0
    agent: str = ""  # whom it talks to


class Site:
    """One site: what is due, and what it knows of its agents and contacts."""

    def __init__(self, number: int, plan: Plan, company: Company) -> None:
        self.number, self.plan, self.company = number, plan, company
        self.agents = {agent: Agent(agent) for site, agent in plan.names if site == number}
        self.contacts: dict[str, Contact] = {}
        self.facts = 0  # requests so far
        self._due: list[tuple[float, int, str, tuple[str, ...]]] = []
        self._numbers = 0
        self._arrivals = 0
        self._late = ("", "")  # an accept that can't be any more
        self._plan_shifts()
        self._next_arrival(START_S)

    def _later(self, t: float, what: str, *about: str) -> None:
        self._numbers += 1
        heapq.heappush(self._due, (round(t, 6), self._numbers, what, about))

    def _draw(self, *key: object) -> random.Random:
        return draw(self.plan.seed, self.number, *key)

    def _plan_shifts(self) -> None:
        """Every agent works eight hours of the day, begun all around the clock, with breaks and lost connections."""
        day = 24.0 * HOUR_S
        for number, agent in enumerate(self.agents):
            begin = START_S + number / self.plan.agents * day
            for start in (begin - day, begin):
                end = start + self.plan.shift_h * HOUR_S
                if end <= START_S:
                    continue
                chance = self._draw("shift", agent, start)
                self._later(max(start, START_S), "begin", agent)
                t = max(start, START_S)
                while (t := t + chance.expovariate(1 / (0.5 * HOUR_S))) < end - 600.0:
                    if chance.random() < 0.5:
                        self._later(t, "break", agent)
                        self._later(t := t + 30.0 + chance.expovariate(1 / 300.0), "return", agent)
                t = max(start, START_S)
                while (t := t + chance.expovariate(self.plan.losses / HOUR_S)) < end - 300.0:
                    self._later(t, "lose", agent)
                    self._later(t := t + chance.choice((4.0, 40.0, 200.0)), "back", agent)
                self._later(end, "finish", agent)

    def _next_arrival(self, t: float) -> None:
        self._arrivals += 1
        rate = self.plan.load * self.plan.agents / 3 / (self.plan.talk_s + 20.0)
        self._later(t + self._draw("arrival", self._arrivals).expovariate(rate), "arrive", f"s{self.number}-c{self._arrivals}")

    # ---- what the center tells

    def take(self, entry: journal.Entry) -> None:
        """Learn from an entry of the journal what concerns this site."""
        if not entry.HasField("error"):
            kind = entry.event.WhichOneof("kind")
            assert kind is not None
            self._event(kind, getattr(entry.event, kind), seconds(entry.event))
        for effect in entry.effects:
            kind = effect.WhichOneof("kind")
            assert kind is not None
            self._effect(kind, getattr(effect, kind), seconds(effect))

    def _event(self, kind: str, event: Any, t: float) -> None:
        if kind.startswith("agent_"):
            if event.agent in self.agents:
                self.agents[event.agent].presence = kind.removeprefix("agent_")
        elif kind == "contact_queued":
            if self._mine(event.contact):
                self.contacts[event.contact] = Contact(event.queue)
                patience = 5.0 + self._draw("patience", event.contact).expovariate(1 / 240.0)
                self._later(t + patience, "leave", event.contact)
        elif kind in ("contact_left", "contact_ended"):
            self.contacts.pop(event.contact, None)
        elif kind in ("offer_accepted", "offer_declined") and (contact := self.contacts.get(event.contact)):
            contact.offers.pop(event.agent, None)
            if kind == "offer_accepted":
                contact.agent = event.agent
                talk = self._draw("talk", event.contact).expovariate(1 / self.plan.talk_s)
                self._later(t + 1.0 + talk, "end", event.contact)

    def _effect(self, kind: str, effect: Any, t: float) -> None:
        if kind == "agent_away" and effect.agent in self.agents:
            self.agents[effect.agent].presence = "away"
            self._later(t + 20.0, "return", effect.agent)
        contact = self.contacts.get(getattr(effect, "contact", ""))
        if contact is None:
            return
        if kind == "offer":
            contact.offered += 1
            contact.offers[effect.agent] = contact.offered
            chance = self._draw("answer", effect.contact, contact.offered)
            word = chance.choices(("accept", "decline", "ignore"), (0.9, 0.06, 0.04))[0]
            if word != "ignore":
                self._later(t + 1.0 + chance.random() * 7.0, word, effect.agent, effect.contact, str(contact.offered))
        elif kind in ("offer_withdrawn", "offer_expired"):
            contact.offers.pop(effect.agent, None)
        elif kind == "contact_rejected" or (kind == "contact_expired" and not effect.to):
            del self.contacts[effect.contact]

    def _mine(self, contact: str) -> bool:
        return contact.startswith(f"s{self.number}-")

    # ---- what is done

    async def turn(self, t: float) -> None:
        """Do all that is due."""
        while self._due and self._due[0][0] <= t:
            _, _, what, about = heapq.heappop(self._due)
            await getattr(self, f"_do_{what}")(t, *about)

    def _id(self) -> str:
        self.facts += 1
        return f"s{self.number}-r{self.facts}"

    async def _do_arrive(self, t: float, contact: str) -> None:
        self._next_arrival(t)
        chance = self._draw("contact", contact)
        queue = f"s{self.number}-{chance.choice(('sales', 'sales', 'help'))}"
        customer = f"s{self.number}-k{chance.randrange(200)}"
        priority = chance.choice((None, None, 2.0))
        await self.company.enqueue(self, self._id(), queue, contact, customer, priority)

    async def _do_leave(self, t: float, contact: str) -> None:
        found = self.contacts.get(contact)
        if found is not None and not found.agent:
            await self.company.leave(self, self._id(), contact)

    def _offer(self, agent: str, contact: str, number: str) -> bool:
        """Whether that offer is open, and the agent there to answer it."""
        found = self.contacts.get(contact)
        return found is not None and str(found.offers.get(agent, 0)) == number and not self.agents[agent].lost

    async def _do_accept(self, t: float, agent: str, contact: str, number: str) -> None:
        if self._offer(agent, contact, number):
            await self.company.answer(self, self._id(), "accept", agent, contact)

    async def _do_decline(self, t: float, agent: str, contact: str, number: str) -> None:
        if self._offer(agent, contact, number):
            await self.company.answer(self, self._id(), "decline", agent, contact)

    async def _do_end(self, t: float, contact: str) -> None:
        agent = self.agents[self.contacts[contact].agent]
        away = agent.lost or not agent.on_shift
        await self.company.end(self, self._id(), "" if away else agent.name, contact)

    async def _do_begin(self, t: float, name: str) -> None:
        agent = self.agents[name]
        agent.on_shift = True
        await self.company.log_in(self, self._id(), name)

    async def _do_finish(self, t: float, name: str) -> None:
        agent = self.agents[name]
        await self.company.log_out(self, self._id(), name)
        agent.on_shift = agent.lost = False

    async def _do_break(self, t: float, name: str) -> None:
        agent = self.agents[name]
        if agent.on_shift and not agent.lost:
            await self.company.wish(self, self._id(), name, "away", "break")

    async def _do_return(self, t: float, name: str) -> None:
        agent = self.agents[name]
        if agent.on_shift and not agent.lost and agent.presence == "away":
            await self.company.wish(self, self._id(), name, "ready")

    async def _do_lose(self, t: float, name: str) -> None:
        agent = self.agents[name]
        if agent.on_shift and not agent.lost:
            agent.lost = True
            await self.company.lose(self, self._id(), name, agent.presence == "ready")

    async def _do_back(self, t: float, name: str) -> None:
        agent = self.agents[name]
        if agent.lost:
            agent.lost = False
            await self.company.come_back(self, self._id(), name)


def seconds(message: Any) -> float:
    """The time of an event or effect."""
    return float(message.time.ToMicroseconds()) / 1e6
