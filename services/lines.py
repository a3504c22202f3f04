"""Agents' lines: who is connected, what each of them is to be told, and what happens when a line dies.

Presence is a lease. Whatever an agent sends renews it; when its connection ends without a goodbye, or it has been
silent for longer than the lease, the journal gets ``agent_away`` with the reason ``network``: an open offer is
withdrawn and goes to someone else, and nobody counts it as a miss.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cordboard.acd import Acd
from cordboard.calls.state import Lead
from cordboard.calls.switchboard import Switchboard
from cordboard.center import Center
from cordboard.errors import (
    ConflictError,
    CordboardError,
    LimitError,
    SlowReaderError,
    UnavailableError,
    UnknownNameError,
    Where,
)
from cordboard.journal import told
from cordboard.live import Entry, Subscription
from cordboard.services import names
from cordboard.services.presence import Presence
from cordboard.services.translate import duration, effect_message, timestamp
from cordboard.v1 import agent_service_pb2 as pb

if TYPE_CHECKING:
    from cordboard.services.tenants import Tenant

LINES_MAX = 20_000  # of one tenant
OUTBOX_MAX = 1_000  # messages that wait for one agent
RETRY_S = 1.0  # until an agent who could not be set away is tried again

log = logging.getLogger(__name__)

STATES = {
    "offline": pb.Agent.STATE_OFFLINE,
    "away": pb.Agent.STATE_AWAY,
    "ready": pb.Agent.STATE_READY,
    "offered": pb.Agent.STATE_OFFERED,
    "connected": pb.Agent.STATE_CONNECTED,
    "wrap_up": pb.Agent.STATE_WRAP_UP,
}
WISHES = {
    pb.Agent.STATE_READY: "agent_ready",
    pb.Agent.STATE_AWAY: "agent_away",
    pb.Agent.STATE_OFFLINE: "agent_offline",
}


class Line:
    """One agent's connection: what waits to be sent, and until when its lease holds."""

    def __init__(self, agent: str, lease: float) -> None:
        self.agent, self.lease = agent, lease
        self.said_goodbye = False
        self.shown = ""  # the state that the agent was told last
        self.ended: CordboardError | None = None
        self._loop = asyncio.get_running_loop()
        self._outbox: asyncio.Queue[pb.ConnectResponse | None] = asyncio.Queue()
        self.heard()

    def heard(self) -> None:
        """The agent has sent something."""
        self.until = self._loop.time() + self.lease

    def put(self, message: pb.ConnectResponse) -> None:
        """Send a message. An agent who does not read loses the line."""
        if self._outbox.qsize() >= OUTBOX_MAX:
            self.end(SlowReaderError(message.revision, OUTBOX_MAX))
        else:
            self._outbox.put_nowait(message)

    def begin(self, welcome: pb.ConnectResponse) -> None:
        """Send the welcome before all that has come for the agent meanwhile, less the offers that stand in it."""
        known = {offer.contact for offer in welcome.welcome.offers}
        held = [self._outbox.get_nowait() for _ in range(self._outbox.qsize())]
        self._outbox.put_nowait(welcome)
        for message in held:
            if message is None or message.WhichOneof("message") != "offer" or message.offer.contact not in known:
                self._outbox.put_nowait(message)

    def end(self, error: CordboardError | None = None) -> None:
        """Send what waits and then nothing more; ``error`` is how the stream ends."""
        if self.ended is None:
            self.ended = error
        self._outbox.put_nowait(None)

    async def next(self) -> pb.ConnectResponse | None:
        """The next message to send; None at the end. The lease's end is an end."""
        while True:
            left = self.until - self._loop.time()
            if left <= 0:
                self.ended = UnavailableError("the agent was silent for longer than its lease", "lease expired")
                return None
            try:
                return await asyncio.wait_for(self._outbox.get(), left)
            except TimeoutError:
                continue


class Lines:
    """The lines of one tenant's agents."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._lines: dict[str, Line] = {}
        self._talking: dict[str, str] = {}  # connected contact -> agent
        self._loop = asyncio.get_running_loop()
        settings = tenant.engine.settings
        self._presence = Presence(settings.tenant_folder(tenant.name) / "lines.txt")
        self._tasks: set[asyncio.Task[None]] = set()
        self._dispatching: asyncio.Task[None] | None = None  # while there are lines
        for agent, lease in self._presence.left.items():
            self._keep(self._network(agent, lease))

    def connected(self, agent: str) -> bool:
        """Whether the agent's line is open."""
        return agent in self._lines

    @property
    def count(self) -> int:
        """Lines that are open."""
        return len(self._lines)

    # ---- a line's life

    async def open(self, line: Line) -> None:
        """Open a line; it begins with a welcome. An older one of the agent ends. Whatever happens, ``close`` it."""
        agent, lease = line.agent, line.lease
        if len(self._lines) >= LINES_MAX and agent not in self._lines:
            raise LimitError("too many agents are connected", LINES_MAX, "Shard the tenant")
        await self._tenant.read(lambda acd: acd.agent_state(agent))  # UnknownNameError for an agent who is none
        older = self._lines.get(agent)
        self._lines[agent] = line  # from here on it is told everything; what comes before its welcome is held back
        self._presence.came(agent, lease)
        if older is not None:
            older.end(ConflictError("the agent has opened another line", "Close the one that is not used"))
        if self._dispatching is None or self._dispatching.done():
            self._dispatching = self._keep(self._dispatch(self._tenant.engine.subscribe()))
        engine = self._tenant.engine
        center = engine.center
        state, queues = await self._tenant.read(lambda acd: _offers(acd, agent))
        lead = await self._tenant.settle(engine.read_calls(lambda board: _lead(board, agent)))
        line.shown = state["state"]
        offers = [self._offer(contact, queue, center, None) for contact, queue in queues.items()]
        shown = agent_message(self._tenant.name, agent, state, center, True)
        welcome = pb.Welcome(agent=shown, lease=duration(lease), offers=offers)
        if lead is not None:
            welcome.lead.CopyFrom(_lead_offer(asdict(lead), lead.due))
        line.begin(pb.ConnectResponse(welcome=welcome))

    def close(self, line: Line, draining: bool) -> None:
        """A line has ended. Unless the agent said goodbye, or has a newer line, or we end it ourselves, the network
        did it."""
        if self._lines.get(line.agent) is not line:
            return
        del self._lines[line.agent]
        if line.said_goodbye:
            self._presence.went(line.agent)
        elif not draining:
            self._keep(self._network(line.agent, 0.0))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside; a task that nobody holds may be forgotten before it is done."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _network(self, agent: str, grace: float) -> None:
        """Set an agent away whose connection died, as soon as the journal can be written, unless it is back within
        ``grace`` seconds."""
        await asyncio.sleep(grace)
        while agent not in self._lines:
            try:
                state = await self._tenant.read(lambda acd: acd.agent_state(agent))
                if state["presence"] == "ready":
                    away = {"event": "agent_away", "agent": agent, "reason": "network"}
                    await self._tenant.submit(away, "", "cordboard")
                self._presence.went(agent)
                return
            except UnknownNameError:  # the center has no such agent any more
                self._presence.went(agent)
                return
            except CordboardError as error:
                if self._tenant.engine.state.status == "closed":
                    return
                log.warning("an agent whose connection died is not away yet: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S)

    def shut(self, error: CordboardError) -> None:
        """End all lines."""
        for line in self._lines.values():
            line.end(error)

    async def stop(self) -> None:
        """Tell nobody anything more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._presence.close()

    # ---- what the agents are told

    async def _dispatch(self, subscription: Subscription) -> None:
        """Read the entries and tell each agent what concerns it, for as long as there are lines. What hinders that ends
        them all: the next line begins with how things are then, and with another of these."""
        bell = self._tenant.bell
        try:
            self._talking = await self._tenant.read(_conversations)
            while self._lines:
                ringing = bell.ringing()
                entries = subscription.poll()
                if entries:
                    await self._tell(entries)
                else:
                    await asyncio.shield(ringing)
        except CordboardError as error:
            if not isinstance(error, UnavailableError):
                log.warning("agents can't be told anything for now, all of their lines are ended: %s", error)
            self.shut(error)
        finally:
            subscription.close()

    async def _tell(self, entries: Iterable[Entry]) -> None:
        reasons: dict[str, str] = {}
        revision = 0
        for entry in entries:
            revision = entry.revision
            for agent, reason in self._concerned(entry):
                if agent in self._lines:
                    reasons[agent] = reason or reasons.get(agent, "")
        if not reasons:
            return
        states = await self._tenant.read(lambda acd: _states(acd, reasons))
        for agent, state in states.items():
            line = self._lines.get(agent)
            if line is not None and state is None:
                if agent not in self._talking.values():  # it can hang up until then
                    line.end(UnknownNameError(f'there is no agent "{agent}"', Where(key="agent")))
            elif line is not None and state is not None and line.shown != state["state"]:
                line.shown = state["state"]
                changed = pb.StateChanged(state=STATES[state["state"]], reason=reasons[agent])
                changed.state_time.CopyFrom(timestamp(state["since"]))
                line.put(pb.ConnectResponse(revision=revision, state=changed))

    def _concerned(self, entry: Entry) -> list[tuple[str, str]]:
        """The agents whose state may have changed, each with the reason; offers are told on the way."""
        event = entry.event
        found: list[tuple[str, str]] = []
        for effect in entry.effects:
            event_told = told(effect)
            if event_told is not None:
                found += self._talk(event_told)
            agent = effect.get("agent")
            if agent is None:
                continue
            line = self._lines.get(agent)
            if line is not None:
                self._tell_offer(line, entry.revision, effect)
            found.append((agent, effect["reason"] if effect["effect"] == "agent_away" else ""))
        if entry.error is not None:
            return found
        found += self._talk(event)
        if "agent" in event:
            found.append((event["agent"], event.get("reason", "")))
        return found

    def _talk(self, event: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Follow who talks with whom; the agent whose conversation is over."""
        if event["event"] == "offer_accepted":
            self._talking[event["contact"]] = event["agent"]
        agent = self._talking.pop(event["contact"], None) if event["event"] == "contact_ended" else None
        return [] if agent is None else [(agent, "")]

    def _tell_offer(self, line: Line, revision: int, effect: Mapping[str, Any]) -> None:
        kind = effect["effect"]
        if kind == "offer":
            offer = self._offer(effect["contact"], effect["queue"], self._tenant.engine.center, effect)
            line.put(pb.ConnectResponse(revision=revision, offer=offer))
        elif kind in ("offer_withdrawn", "offer_expired"):
            over = pb.OfferOver(contact=effect["contact"], reason=effect.get("reason", "expired"))
            line.put(pb.ConnectResponse(revision=revision, offer_over=over))
        elif kind == "lead_offered":
            line.put(pb.ConnectResponse(revision=revision, lead=_lead_offer(effect, effect["until"])))
        elif kind == "lead_over":
            ended = pb.LeadOver(campaign=effect["campaign"], entry=effect["entry"], reason=effect["reason"])
            line.put(pb.ConnectResponse(revision=revision, lead_over=ended))

    @staticmethod
    def _offer(contact: str, queue: str, center: Center, effect: Mapping[str, Any] | None) -> pb.OfferToAgent:
        """An offer as its agent sees it; without the effect, one that was open when the line was."""
        offer = pb.OfferToAgent(contact=contact, queue=queue)
        if effect is not None:
            timeout = next((one.offer_timeout for one in center.queues if one.name == queue), 0.0)
            if timeout:
                offer.expire_time.CopyFrom(timestamp(effect["t"] + timeout))
            offer.why.CopyFrom(effect_message(effect).offer.why)
        return offer


def _states(acd: Acd, agents: Iterable[str]) -> dict[str, dict[str, Any] | None]:
    """The states of agents; None for who is in the center no more."""
    found: dict[str, dict[str, Any] | None] = {}
    for agent in agents:
        try:
            found[agent] = acd.agent_state(agent)
        except UnknownNameError:
            found[agent] = None
    return found


def _offers(acd: Acd, agent: str) -> tuple[dict[str, Any], dict[str, str]]:
    """An agent's state, and its open offers: contact -> queue."""
    state = acd.agent_state(agent)
    return state, {contact: acd.queue_of(contact) for contact in state["offered"]}


def _lead(board: Switchboard | None, agent: str) -> Lead | None:
    return None if board is None else board.state.leads.get(agent)


def _lead_offer(lead: Mapping[str, Any], until: float) -> pb.LeadOffer:
    return pb.LeadOffer(
        campaign=lead["campaign"], entry=lead["entry"], attempt=lead["attempt"], expire_time=timestamp(until)
    )


def _conversations(acd: Acd) -> dict[str, str]:
    """Every connected contact with its agent."""
    found = {}
    for agent, state in acd.state()["agents"].items():
        for contact in state["contacts"]:
            if contact not in state["offered"]:
                found[contact] = agent
    return found


def agent_message(tenant: str, name: str, state: Mapping[str, Any], center: Center, connected: bool) -> pb.Agent:
    """An agent as a message. ``state``: of Acd.agent_state."""
    skills = next((one.skills for one in center.agents if one.name == name), {})
    return pb.Agent(
        name=names.resource(tenant, "agents", name),
        state=STATES[state["state"]],
        state_time=timestamp(state["since"]),
        queue=names.resource(tenant, "queues", state["queue"]) if state["queue"] else "",
        contacts=[names.resource(tenant, "contacts", contact) for contact in state["contacts"]],
        handled_count=state["handled"],
        skill_levels=skills,
        connected=connected,
    )
