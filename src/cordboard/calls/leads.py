"""Leads that an agent sees before they are dialed, and numbers that agents dial: the agent is there first.

A lead (an entry of a campaign's list) is offered to one agent, who accepts or skips it until its deadline; meanwhile
nothing else is offered to her. Once she has accepted, her phone is brought up, and then the entry is dialed: whoever
answers talks to her at once, so that nobody is dropped. A number that she dials from her desk is an entry, too, which
nobody has offered. Of every lead there is one end: ``attempt_dialed``, or ``lead_over`` with the reason.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cordboard.calls.campaign import Campaign
from cordboard.calls.state import Call, Lead, Phase, Role, Stage
from cordboard.center import serves
from cordboard.errors import DuplicateError, EventError, LimitError, StaleEventError, Where
from cordboard.journal import tick

if TYPE_CHECKING:
    from cordboard.calls.switchboard import Switchboard

Event = dict[str, Any]


class Leads:
    """The handlers of these events, and what becomes of such calls until somebody answers."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._due: list[tuple[int, str]] = []  # ticks and agents, the first of them first; some are over already
        self.handlers: dict[str, Callable[[Event], None]] = {
            "lead_offered": self._offered,
            "lead_accepted": self._accepted,
            "lead_skipped": self._skipped,
            "lead_dialed": self._dialed,
        }

    def index(self) -> None:
        """What is found by name or time, from the state."""
        center, leads = self._board.acd.center, self._board.state.leads
        self._agents = {agent.name: agent for agent in center.agents}
        self._queues = {queue.name: queue for queue in center.queues}
        self._due = sorted((tick(lead.due), lead.agent) for lead in leads.values())

    # ---- timers

    def next_due(self) -> float | None:
        """When the next lead expires, seconds, or None."""
        leads = self._board.state.leads
        while self._due:
            due, agent = self._due[0]
            if agent in leads and tick(leads[agent].due) == due:
                return leads[agent].due
            heapq.heappop(self._due)
        return None

    def fire(self) -> None:
        """The first lead has expired."""
        self.end(heapq.heappop(self._due)[1], "expired")

    # ---- events

    def _offered(self, event: Event) -> None:
        board, agent = self._board, event["agent"]
        campaign = self._campaign(event, "preview")
        self._able(agent, campaign)
        if agent in board.state.leads:
            raise StaleEventError(f'agent "{agent}" has a lead already', Where(key="agent"), "Wait for its end")
        due = round((board.now + campaign.preview) * 1e6) / 1e6
        lead = Lead(agent, event["campaign"], event["entry"], event["attempt"], due)
        board.state.leads[agent] = lead
        heapq.heappush(self._due, (tick(due), agent))
        board.occupied(agent)
        self._note(lead, "lead_offered", until=due)

    def _accepted(self, event: Event) -> None:
        lead = self._lead(event)
        self._place(event, lead.attempt)
        del self._board.state.leads[lead.agent]

    def _skipped(self, event: Event) -> None:
        lead = self._lead(event)
        self.end(lead.agent, "skipped", said=event.get("reason", ""))

    def _dialed(self, event: Event) -> None:
        """By an agent, from her desk. The attempt is the book's to count."""
        self._able(event["agent"], self._campaign(event, "manual"))
        if event["agent"] in self._board.state.leads:
            what = f'agent "{event["agent"]}" has a lead already'
            raise StaleEventError(what, Where(key="agent"), "Wait for its end")
        self._place(event, 0)

    # ---- what an event speaks of

    def _lead(self, event: Event) -> Lead:
        lead = self._board.state.leads.get(event["agent"])
        if lead is None or (lead.campaign, lead.entry) != (event["campaign"], event["entry"]):
            what = f'agent "{event["agent"]}" has no such lead'
            raise StaleEventError(what, Where(key="agent"), "It has expired, was skipped, or was accepted")
        return lead

    def _campaign(self, event: Event, mode: str) -> Campaign:
        """The campaign of an event, which is for this mode, dials, and does not call the entry already."""
        board = self._board
        campaign = board.dialing.campaign(event)
        if campaign.mode != mode:
            what = f'campaign "{event["campaign"]}" has the mode {campaign.mode}, not {mode}'
            raise EventError(what, Where(key="campaign"), "Choose another campaign")
        board.dialing.may_dial(event, campaign)
        entry = event["campaign"], event["entry"]
        if any((one.campaign, one.entry) == entry for one in board.state.leads.values()):
            what = f'an agent is looking at entry "{event["entry"]}"'
            raise DuplicateError(what, Where(key="entry"), "Wait until she has accepted or skipped it")
        return campaign

    def _able(self, agent: str, campaign: Campaign) -> None:
        """An agent is free, has a phone, and may take what the campaign's answers would be."""
        board = self._board
        board.desk.free(agent, "agent")
        if not serves(self._agents[agent], self._queues[campaign.queue]):
            what = f'agent "{agent}" may not get contacts of queue "{campaign.queue}"'
            raise EventError(what, Where(key="agent"), "Choose another agent, or another campaign")
        if agent not in board.calls.phones:
            raise EventError(f'agent "{agent}" has no phone', Where(key="agent"), "Put it into the file of calls")

    # ---- calls

    def _place(self, event: Event, attempt: int) -> None:
        """Bring up the agent's phone, for an entry to be dialed then."""
        board, agent = self._board, event["agent"]
        campaign = board.dialing.campaign(event)
        nailed = board.nailed.get(agent)
        node = board.node() if nailed is None else nailed.node
        if node is None:
            raise EventError("no media node can dial", Where(key="entry"), "Attach one, or wait until it has room")
        if len(board.state.calls) >= board.calls.max_calls:
            raise LimitError("too many calls", board.calls.max_calls, "Dial more slowly")
        board.state.dialed += 1
        shown = board.dialing.shown(campaign)
        call = Call(f"d{board.state.dialed}", node, Stage.PHONING, "", shown, campaign.queue)
        call.campaign, call.entry, call.attempt = event["campaign"], event["entry"], attempt
        call.placed_by = agent
        board.state.calls[call.name] = board.attempts[call.campaign, call.entry] = call
        if nailed is None:
            board.dial(node, Role.PARTY, call, person=agent, caller=shown, ring_s=board.calls.ring)
            return
        nailed.call, nailed.role = call.name, Role.PARTY
        call.legs.append(nailed.name)
        board.beside(nailed)
        if nailed.phase == Phase.UP:
            self.phoned(call)

    def phoned(self, call: Call) -> None:
        """The agent is there: now the entry."""
        board = self._board
        campaign = board.calls.campaigns.get(call.campaign)
        if campaign is None or campaign.trunk not in board.calls.trunks:  # the file of calls has changed
            self.cancel(call)
        else:
            call.stage = Stage.DIALING
            board.dialing.dial(call, campaign, agent=call.placed_by)

    def cancel(self, call: Call) -> None:
        """Nothing is dialed any more."""
        call.outcome = "cancelled"
        self._board.end_call(call)

    def not_dialed(self, call: Call) -> None:
        """A call has ended before its entry was dialed."""
        lead = Lead(call.placed_by, call.campaign, call.entry, call.attempt, 0.0)
        self._note(lead, "lead_over", reason=call.outcome or "no_answer")

    # ---- leads that end

    def end(self, agent: str, reason: str, **fields: Any) -> None:
        """The lead of an agent, if she has one, is over without a call."""
        lead = self._board.state.leads.pop(agent, None)
        if lead is not None:
            self._board.occupied(agent)
            self._note(lead, "lead_over", reason=reason, **{key: value for key, value in fields.items() if value})

    def withdraw(self) -> None:
        """The leads of agents who are gone and of campaigns that do not offer any more are over."""
        board = self._board
        for lead in list(board.state.leads.values()):
            campaign = board.calls.campaigns.get(lead.campaign)
            if lead.agent not in self._agents:
                self.end(lead.agent, "agent_left")
            elif lead.campaign not in board.state.campaigns or campaign is None or campaign.mode != "preview":
                self.end(lead.agent, "paused")

    def _note(self, lead: Lead, effect: str, **fields: Any) -> None:
        about = {"campaign": lead.campaign, "entry": lead.entry, "attempt": lead.attempt, "agent": lead.agent}
        self._board.note(effect, **about, **fields)
