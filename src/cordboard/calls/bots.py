"""Voice bots: agents whose phone is a program. They are offered contacts like everybody; see docs/guides/voice-bots.md.

A bot is on duty by itself: ready while there is a media node, and offline for its ``rest`` after it has failed. Whom it
fails in conversation waits in the queue that its settings name (``then``), which it does not serve itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from cordboard.calls.config import Phone
from cordboard.calls.state import Call, Leg, Role, Stage
from cordboard.errors import StaleEventError, Where
from cordboard.journal import tick
from cordboard.media.backend import Cause

if TYPE_CHECKING:
    from cordboard.calls.switchboard import Switchboard


class Bots:
    """What a switchboard does for bots."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self.handlers: dict[str, Callable[[dict[str, Any]], None]] = {"leg_handed_over": self._handed_over}

    def phone(self, person: str) -> Phone | None:
        """That of an agent who is a bot."""
        phone = self._board.calls.phones.get(person)
        return phone if phone is not None and phone.bot and person in self._board.agents else None

    def _of(self, leg: Leg) -> Phone | None:
        """The phone of a bot that is on a call, as it is, or was when it was taken away."""
        phone = self.phone(leg.person) or self._board.left.phones.get(leg.person)
        return phone if phone is not None and phone.bot else None

    def index(self) -> None:
        """What is worked out once of the settings and the center."""
        phones = [(name, phone) for name, phone in self._board.calls.phones.items() if self.phone(name) is not None]
        self._costs = {name: -phone.cost for name, phone in phones if phone.cost}

    # ---- duty

    def named(self) -> set[str]:
        """The agents who are bots."""
        return {name for name in self._board.calls.phones if self.phone(name) is not None}

    def on_duty(self, before: Iterable[str] = ()) -> None:
        """Nodes or settings have changed; ``before``: those who were bots. Who was set away by people stays away."""
        board = self._board
        for name in sorted(set(before) & board.agents - self.named()):
            if board.acd.agent_state(name)["presence"] != "offline":
                board.tell("agent_offline", agent=name)
        there = any(node.attached for node in board.state.nodes.values())
        for name in board.calls.phones:
            if self.phone(name) is None:
                board.state.resting.pop(name, None)
                continue
            presence = board.acd.agent_state(name)["presence"]
            if there and presence == "offline" and name not in board.state.resting:
                board.tell("agent_ready", agent=name)
            elif not there and presence != "offline":
                board.state.resting.pop(name, None)
                board.tell("agent_offline", agent=name)

    def failed(self, person: str) -> None:
        """A bot rests: it is offered nothing meanwhile."""
        board = self._board
        if self.phone(person) is not None and board.acd.agent_state(person)["presence"] == "ready":
            board.tell("agent_offline", agent=person)
            self.rest(person)

    def rest(self, person: str) -> None:
        """It is out because it does not take offers, and is to be back."""
        phone = self.phone(person)
        if phone is not None:
            self._board.state.resting[person] = self._board.now + phone.rest

    def set_by_people(self, person: str) -> None:
        """Somebody has said what a bot is to do."""
        self._board.state.resting.pop(person, None)

    def next_due(self) -> float | None:
        """When the next one is back, seconds, or None."""
        return min(self._board.state.resting.values(), default=None)

    def fire(self) -> None:
        """Bring back who has rested."""
        board = self._board
        for name in [name for name, due in board.state.resting.items() if tick(due) <= tick(board.now)]:
            del board.state.resting[name]
            if self.phone(name) is not None and board.acd.agent_state(name)["presence"] != "ready":
                board.tell("agent_ready", agent=name)

    # ---- calls

    def about(self, call: Call | None, person: str) -> dict[str, Any]:
        """What a bot is told of a call beside its caller."""
        if call is None or self.phone(person) is None:
            return {}
        told = [["contact", call.contact], ["queue", call.queue], ["number", call.number]]
        return {"headers": told if call.flow is None else [*told, ["language", call.flow.language]]}

    def costs(self) -> dict[str, Any]:
        """What the routing is told with each contact: a bot is worth less by what it costs."""
        return {"values": dict(self._costs)} if self._costs else {}

    def _handed_over(self, event: dict[str, Any]) -> None:
        """A bot gives its caller to somebody else, or has failed."""
        board = self._board
        leg = board.reports.leg(event)
        call = board.state.calls.get(leg.call)
        if call is None or self._of(leg) is None or not self._talks(call, leg):
            what = f'leg "{leg.name}" is no bot in conversation'
            raise StaleEventError(what, Where(key="leg"), "It came too late, or twice")
        call.transcript = [list(line) for line in event.get("transcript", ())]
        bot, failed = leg.person, bool(event.get("why"))
        if board.state.legs[call.legs[0]].role == Role.CALLER:
            self._pass_on(call, leg, event.get("to_queue", ""), event.get("to_agent", ""))
        else:
            board.leave(call, leg)
        if failed:
            self.failed(bot)

    def _talks(self, call: Call, leg: Leg) -> bool:
        return call.stage == Stage.TALKING and leg.role == Role.AGENT and leg.person == call.agent

    def _pass_on(self, call: Call, leg: Leg | None, queue: str = "", agent: str = "") -> None:
        """The caller waits again: where the bot has said, if that can be, or where its settings say."""
        board, phone = self._board, self._board.calls.phones.get(call.agent) or self._board.left.phones[call.agent]
        here = board.desk.eligible(call, agent) and board.acd.agent_state(agent)["state"] == "ready"
        board.desk.let_go(call, leg)
        board.state.legs[call.legs[0]].held = False
        if agent and here:
            board.queue(call, call.queue, preferred_agent=agent)
        else:
            there = [name for name in (queue, phone.then) if name in board.timeouts]
            board.queue(call, there[0] if there else call.queue)

    def lost(self, call: Call, leg: Leg, cause: Cause) -> bool:
        """The leg of a conversation has ended: whether it was a bot's that failed, whose caller waits now."""
        if self._of(leg) is None or not self._talks(call, leg) or cause in (Cause.NORMAL, Cause.LOST):
            return False
        if not call.legs or self._board.state.legs[call.legs[0]].role != Role.CALLER:
            return False
        bot = leg.person
        self._pass_on(call, None)
        self.failed(bot)
        return True
