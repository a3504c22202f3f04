"""Which conversations are recorded, what is heard before, and what the index of recordings is told.

A rule of the queue decides once a call: the call's name, hashed, is its place between 0 and 1, so the same journal
records the same calls. Where there is a consent prompt nothing is recorded before it was heard to its end: by the
caller while waiting, if there is time for it, else by both before they hear each other. A prompt that can't be played
means that nothing is recorded.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from cordboard.calls.state import CONSENT, Call, Leg, Role, Stage

if TYPE_CHECKING:
    from cordboard.calls.switchboard import Switchboard


class Tapes:
    """What a switchboard asks about recordings."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board

    def wanted(self, call: Call) -> bool:
        """Whether the rule of its queue is for recording a call."""
        rule = self._board.sounds(call)
        if rule.record_only and rule.record_only != ("out" if call.campaign else "in"):
            return False
        return _place(call.name) < rule.record

    def ask(self, call: Call) -> None:
        """A call is in another queue: what the caller is still to hear before it is recorded."""
        consent = self._board.sounds(call).consent
        call.consent = consent if consent != call.consented and self.wanted(call) else ()

    def begin(self, call: Call) -> None:
        """A conversation begins."""
        self.ask(call)
        agents = self._board.legs(call, Role.AGENT, call.agent)
        if not call.consent and agents and self.wanted(call):
            self._board.record(call, [call.legs[0], agents[0].name])

    def heard(self, call: Call, leg: Leg, whole: bool) -> bool:
        """What was to be played once to a leg is over, or can't be played; whether it was the consent prompt."""
        if leg.play[2] != CONSENT:
            return False
        if leg.role == Role.CALLER:
            if whole:
                call.consented = call.consent
            call.consent = ()
            if whole and call.stage == Stage.TALKING and not call.recording:
                self.begin(call)
            self._board.settle(call)
        return True

    def say(self, call: Call) -> None:
        """The command to record, with all that the index has of it."""
        about: dict[str, Any] = {
            "queue": call.queue,
            "agent": call.agent,
            "caller": call.caller,
            "number": call.number,
            "campaign": call.campaign,
            "entry": call.entry,
            "keep_days": self._board.sounds(call).keep_days,
        }
        known = {key: value for key, value in about.items() if value}
        legs = list(call.recorded)
        self._board.say(call.node, "leg_record", recording=call.recording, legs=legs, contact=call.contact, **known)


def _place(name: str) -> float:
    """From 0 to below 1, evenly, by the name alone."""
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest()) / 2.0**48
