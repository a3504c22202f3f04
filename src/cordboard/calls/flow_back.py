"""Call-backs: the caller hangs up and the contact keeps its place; when an agent has it, the number is dialed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cordboard.calls.flow import Callback
from cordboard.calls.flow_state import Back, FlowState
from cordboard.calls.state import Call, Leg, Role, Stage
from cordboard.media.backend import Cause

if TYPE_CHECKING:
    from cordboard.calls.flow_runner import Guide
    from cordboard.calls.switchboard import Switchboard


class Backs:
    """See the module. Whoever asked is called back, or the journal says why not: ``callback_ended``."""

    def __init__(self, board: Switchboard, guide: Guide) -> None:
        self._board, self._guide = board, guide

    def number(self, call: Call, offer: Callback) -> str:
        """The number that would be called; empty if there is none."""
        assert call.flow is not None
        found = call.flow.values.get(offer.number, "") if offer.number else call.caller
        return found if self._board.calls.trunks else ""

    def agree(self, call: Call, state: FlowState, offer: Callback) -> None:
        """The caller wants to be called back, and no agent's phone rings yet."""
        number, board = self.number(call, offer), self._board
        if not number or not board.acd.position(call.contact):
            return
        state.back = Back(number, state.since, board.now)
        board.note("callback_agreed", call=call.name, contact=call.contact, number=number, since=state.since)
        self._guide.say(call, offer.accepted)
        if not state.says:
            self.told(call)

    def told(self, call: Call) -> None:
        """The caller knows: the line is free for others."""
        self._board.hang_up(self._board.state.legs[call.legs[0]])
        self.keep(call)

    def keep(self, call: Call) -> None:
        """The contact waits without a caller."""
        state, offer = call.flow, self._offer(call)
        assert state is not None and state.back is not None
        state.says = ()
        if offer is None:
            self._over(call, "cancelled")
            return
        self._guide.after(call, max(state.back.asked + offer.within - self._board.now, 0.0))
        self._board.settle(call)

    def _offer(self, call: Call) -> Callback | None:
        step = self._guide.step(call)
        return None if step is None else step.callback

    def accepted(self, call: Call) -> bool:
        """An agent has the contact: dial the number. False if the caller is still there."""
        state, board = call.flow, self._board
        if state is None or state.back is None:
            return False
        if board.legs(call, Role.CALLER):
            state.back = None
            return False
        if not board.calls.trunks:
            board.end_contact(call)
            self._over(call, "cancelled")
            return True
        call.stage = Stage.CALLING_BACK
        state.back.tries += 1
        ring, number = board.calls.ring, state.back.number
        board.dial(call.node, Role.CALLER, call, caller=call.number, ring_s=ring, number=number)
        return True

    def reached(self, call: Call) -> None:
        """The number has answered."""
        state = call.flow
        assert state is not None
        self._note(call, "reached")
        state.back = None
        self._board.converse(call, self._board.legs(call, Role.AGENT, call.agent)[0])

    def lost(self, call: Call, leg: Leg, cause: Cause) -> None:
        """A leg of a call-back has ended before both were there."""
        assert call.flow is not None and call.flow.back is not None
        self._board.end_contact(call)
        for other in self._board.legs(call):
            self._board.release(other)
        if leg.role == Role.AGENT:
            self._queue(call)
        else:
            self._rest(call, cause.value)

    def unserved(self, call: Call) -> None:
        """The queue gave the contact up, or has no place for it: once more, later."""
        for leg in self._board.legs(call):
            self._board.release(leg)
        self._rest(call, "expired")

    def _rest(self, call: Call, outcome: str) -> None:
        state, offer = call.flow, self._offer(call)
        assert state is not None and state.back is not None
        over = offer is None or self._board.now + offer.every > state.back.asked + offer.within
        if offer is None or over or state.back.tries > offer.retries:
            self._over(call, outcome)
            return
        self._note(call, outcome, "callback_missed")
        call.stage = Stage.RESTING
        self._guide.after(call, offer.every)

    def due(self, call: Call) -> None:
        """It is time to try again, or too late."""
        if call.stage == Stage.RESTING:
            self._queue(call)
        else:
            self._over(call, "expired")

    def _queue(self, call: Call) -> None:
        """As a new contact in the old place."""
        state, offer = call.flow, self._offer(call)
        assert state is not None and state.back is not None
        if offer is None or state.back.tries > offer.retries:
            self._over(call, "cancelled")
            return
        self._guide.after(call, max(state.back.asked + offer.within - self._board.now, 0.0))
        self._board.queue(call, call.queue, queued_at=state.back.since, **state.fields)

    def cancelled(self, call: Call) -> None:
        """Somebody else ended the call."""
        self._note(call, "cancelled")

    def _over(self, call: Call, outcome: str) -> None:
        self._note(call, outcome)
        assert call.flow is not None
        call.flow.back = None
        self._board.end_call(call)

    def _note(self, call: Call, outcome: str, effect: str = "callback_ended") -> None:
        assert call.flow is not None and call.flow.back is not None
        back = call.flow.back
        self._board.note(effect, call=call.name, number=back.number, outcome=outcome, tries=back.tries)
