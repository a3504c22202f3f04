"""Calls of campaigns: dialed because a list says so, and given to an agent, or let go with a message.

An event names an entry of a list, not a number: like the address of a phone it is put in on the way to the node, so
that the journal has no numbers. Whoever decides what to dial is outside (``cordboard.campaigns``) and follows these
effects: ``attempt_dialed``, ``attempt_ringing``, ``attempt_answered``, exactly one ``attempt_outcome`` as soon as it is
known, ``attempt_ended`` when nothing is left of the call.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cordboard.calls.campaign import ANSWER_WAIT_S, Campaign
from cordboard.calls.state import Call, Leg, Phase, Role, Stage
from cordboard.errors import DuplicateError, EventError, LimitError, StaleEventError, UnknownNameError, Where
from cordboard.journal import nearest, tick
from cordboard.media.backend import MACHINE_AT, SOUND_CAUSES, Cause

if TYPE_CHECKING:
    from cordboard.calls.switchboard import Switchboard

Event = dict[str, Any]


class Dialing:
    """The handlers of these events, and what becomes of such calls."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self.handlers: dict[str, Callable[[Event], None]] = {
            "campaign_started": self._started,
            "campaign_paused": self._paused,
            "campaign_dialed": self._dialed,
            "campaign_cancelled": self._cancelled,
        }
        self._due: list[tuple[int, str]] = []

    # ---- timers: who was listened to has waited already, so that the queue's ``max_wait`` alone would be too late

    def index(self) -> None:
        """What is due, from the state."""
        calls = self._board.state.calls.values()
        self._due = sorted((tick(call.agent_by), call.name) for call in calls if call.agent_by is not None)

    def next_due(self) -> float | None:
        """When the next person will have waited too long, seconds, or None."""
        calls = self._board.state.calls
        while self._due:
            due, name = self._due[0]
            call = calls.get(name)
            if call is not None and call.agent_by is not None and tick(call.agent_by) == due:
                return call.agent_by
            heapq.heappop(self._due)
        return None

    def fire(self) -> None:
        """The first one has waited too long: the message, or, while the node has not said who it is, an agent who is
        free at this moment."""
        call = self._board.state.calls[self._due[0][1]]
        if call.stage == Stage.LISTENING:
            self.judged(call, None)
            return  # it is due again when that is done
        heapq.heappop(self._due)
        if call.stage == Stage.WAITING:
            self._board.end_contact(call)
            self._board.say_goodbye(call, ())

    # ---- events

    def campaign(self, event: Event) -> Campaign:
        name, known = event["campaign"], self._board.calls.campaigns
        if name not in known:
            raise UnknownNameError(f'there is no campaign "{name}"', Where(key="campaign"), nearest(name, known))
        return known[name]

    def _of(self, call: Call) -> Campaign | None:
        """The campaign of a call, as it is, or was when it was taken away."""
        return self._board.calls.campaigns.get(call.campaign) or self._board.left.campaigns.get(call.campaign)

    def _started(self, event: Event) -> None:
        self.campaign(event)
        if event["campaign"] not in self._board.state.campaigns:
            self._board.state.campaigns.append(event["campaign"])

    def _paused(self, event: Event) -> None:
        """Nothing new is dialed; calls go on. One that is not in the file any more can be paused, too."""
        if event["campaign"] in self._board.state.campaigns:
            self._board.state.campaigns.remove(event["campaign"])
            self._board.leads.withdraw()

    def may_dial(self, event: Event, campaign: Campaign) -> None:
        """Refuses what must not be, whatever they think who decide."""
        board = self._board
        if event["campaign"] not in board.state.campaigns:
            what = f'campaign "{event["campaign"]}" is paused'
            raise StaleEventError(what, Where(key="campaign"), "campaign_started comes first")
        if self.find(event["campaign"], event["entry"]) is not None:
            what = f'entry "{event["entry"]}" is being called already'
            raise DuplicateError(what, Where(key="entry"), "Wait until that call has ended")
        if campaign.trunk not in board.calls.trunks or campaign.queue not in board.timeouts:
            what = f'campaign "{event["campaign"]}" has no trunk or queue any more'
            raise EventError(what, Where(key="campaign"), "Mend the file of calls")

    def shown(self, campaign: Campaign) -> str:
        """The number that whoever is dialed sees."""
        return campaign.caller or self._board.calls.trunks[campaign.trunk].caller

    def _dialed(self, event: Event) -> None:
        board, campaign = self._board, self.campaign(event)
        if campaign.agent_first:
            what = f'campaign "{event["campaign"]}" has the mode {campaign.mode}: an agent comes first'
            raise EventError(what, Where(key="campaign"), "lead_offered or lead_dialed")
        self.may_dial(event, campaign)
        node = board.node()
        if node is None:
            raise EventError("no media node can dial", Where(key="entry"), "Attach one, or wait until it has room")
        if len(board.state.calls) >= board.calls.max_calls:
            raise LimitError("too many calls", board.calls.max_calls, "Dial more slowly")
        name = f"d{board.state.dialed + 1}"  # as its leg
        call = Call(name, node, Stage.DIALING, "", campaign.caller, campaign.queue)
        call.campaign, call.entry, call.attempt = event["campaign"], event["entry"], event["attempt"]
        board.state.calls[name] = board.attempts[call.campaign, call.entry] = call
        self.dial(call, campaign)

    def dial(self, call: Call, campaign: Campaign, **fields: Any) -> None:
        """Dial the entry of a call."""
        to = {"campaign": call.campaign, "entry": call.entry, "trunk": campaign.trunk}
        self._note(call, "attempt_dialed", **fields)
        shown = self.shown(campaign)
        self._board.dial(call.node, Role.CALLER, call, caller=shown, ring_s=campaign.ring, to=to)

    def _cancelled(self, event: Event) -> None:
        """How it came out is known when its leg has ended: somebody may pick up at this very moment."""
        call = self.find(event["campaign"], event["entry"])
        if call is not None and call.stage == Stage.PHONING:
            self._board.leads.cancel(call)
            return
        leg = self._board.state.legs[call.legs[0]] if call is not None and call.stage == Stage.DIALING else None
        if leg is None or leg.phase == Phase.CLOSING:
            what = f'entry "{event["entry"]}" does not ring'
            raise StaleEventError(what, Where(key="entry"), "It was answered, or has ended")
        self._board.close(leg)

    def agent_left(self, call: Call) -> None:
        """The agent for whom a number rings has hung up."""
        leg = self._board.state.legs[call.legs[0]]
        if leg.phase != Phase.CLOSING:
            self._board.close(leg)

    # ---- what becomes of them

    def find(self, campaign: str, entry: str) -> Call | None:
        """The call of an entry."""
        return self._board.attempts.get((campaign, entry))

    def rings(self, leg: Leg) -> None:
        """A leg that was dialed rings."""
        call = self._board.state.calls.get(leg.call)
        if call is not None and call.stage == Stage.DIALING:
            self._note(call, "attempt_ringing")

    def answered(self, call: Call) -> None:
        """Somebody picked up: now an agent, at once, or first who it is."""
        self._note(call, "attempt_answered")
        if call.placed_by:
            self._board.desk.join(call, call.placed_by)
            if call.stage == Stage.TALKING:  # the routing has no contact of it; else the outcome comes with that
                self.decide(call, "connected", agent=call.placed_by)
            return
        campaign = self._of(call)
        if campaign is not None and campaign.detect:
            call.stage = Stage.LISTENING
            call.agent_by = round((self._board.now + ANSWER_WAIT_S) * 1e6) / 1e6
            heapq.heappush(self._due, (tick(call.agent_by), call.name))
            self.listen(call)
        else:
            self._connect(call)

    def answered_late(self, call: Call) -> None:
        """Somebody picked up what was being cancelled, and is hung up on: as any other who got nobody."""
        self._note(call, "attempt_answered")
        self.decide(call, "dropped")
        call.stage = Stage.GOODBYE

    def sends_early(self, leg: Leg) -> None:
        """A leg that was dialed has audio before it is answered: what is heard there tells, too."""
        call = self._board.state.calls.get(leg.call)
        if call is not None and call.stage == Stage.DIALING:
            campaign = self._of(call)
            if campaign is not None and campaign.detect:
                self.listen(call)

    def listen(self, call: Call) -> None:
        """Have the node find out who it is; again does no harm."""
        self._board.say(call.node, "leg_listen", leg=call.legs[0], machine_at=self._machine_at(call))

    def _machine_at(self, call: Call) -> float:
        campaign = self._of(call)
        return campaign.machine_at if campaign is not None else MACHINE_AT

    def heard(self, call: Call, sound: str) -> None:
        """A sound in place of an answer says why there will be none."""
        cause = SOUND_CAUSES.get(sound)
        if call.campaign and call.stage == Stage.DIALING and cause is not None:
            self.decide(call, cause.value)
            self._board.end_call(call)

    def judged(self, call: Call, machine: float | None) -> None:
        """How probable a machine is, None if nobody could listen: from the campaign's limit on it is let go, whoever
        may be a person gets an agent."""
        if call.stage != Stage.LISTENING:
            return
        call.machine = machine
        if machine is not None and machine >= self._machine_at(call):
            self.decide(call, "machine")
            self._board.end_call(call)
            return
        self._board.say(call.node, "leg_stop_listening", leg=call.legs[0])
        self._connect(call)

    def _connect(self, call: Call) -> None:
        campaign = self._of(call)
        if campaign is None:  # the file of calls has changed
            self._board.end_call(call)
        else:
            self._board.queue(call, call.queue, priority=campaign.priority)

    def message(self, call: Call) -> tuple[str, ...]:
        """What a person hears who is let go."""
        campaign = self._of(call)
        return campaign.message if campaign is not None else ()

    def person_left(self, call: Call, cause: Cause) -> None:
        """The leg to the person is over before there was an agent."""
        if call.stage == Stage.DIALING:
            self.decide(call, Cause.FAILED.value if cause == Cause.NORMAL else cause.value)
        else:
            self.decide(call, "hung_up" if cause == Cause.NORMAL else "dropped")

    def decide(self, call: Call, outcome: str, **fields: Any) -> None:
        """How a call of a campaign came out; only the first time counts."""
        if call.campaign and not call.outcome:
            call.outcome, call.agent_by = outcome, None
            judged = {} if call.machine is None else {"machine": call.machine}
            self._note(call, "attempt_outcome", outcome=outcome, **judged, **fields)

    def over(self, call: Call) -> None:
        """Nothing is left of a call."""
        if call.stage == Stage.PHONING:
            self._board.leads.not_dialed(call)
            del self._board.attempts[call.campaign, call.entry]
        elif call.campaign:
            self.decide(call, Cause.CANCELLED.value if call.stage == Stage.DIALING else "dropped")
            self._note(call, "attempt_ended")
            del self._board.attempts[call.campaign, call.entry]

    def _note(self, call: Call, effect: str, **fields: Any) -> None:
        about = {"campaign": call.campaign, "entry": call.entry, "attempt": call.attempt}
        self._board.out.append({"t": self._board.now, "effect": effect, **about, **fields})
