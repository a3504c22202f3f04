"""Callers in flows: from step to step, by keys, answers and time-outs.

It changes nothing but through the switchboard that holds it, and knows the time from the routing alone.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cordboard.calls import flow_waiting
from cordboard.calls.flow import Flow, Step
from cordboard.calls.flow_back import Backs
from cordboard.calls.flow_hearing import SPEAKING_S, match
from cordboard.calls.flow_speech import said
from cordboard.calls.flow_state import FlowState
from cordboard.calls.state import Call, Leg, Phase, Role, Stage
from cordboard.errors import EventError, LimitError, StaleEventError, Where
from cordboard.journal import tick
from cordboard.media.backend import HIDDEN

if TYPE_CHECKING:
    from cordboard.calls.switchboard import Switchboard

Event = dict[str, Any]

HOPS_MAX = 100  # steps in a row that take no time: more is a loop
MAIL_S_MIN = 1.0  # who said nothing left no message
VOICEMAILS_MAX = 10_000  # recordings that are not complete yet


class Guide:
    """Leads callers through flows. Each first sees that its event fits, and then changes the switchboard."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self.backs = Backs(board, self)
        self.handlers: dict[str, Callable[[Event], None]] = {
            "call_looked_up": self._looked_up,
            "call_heard": self._heard,
        }
        self._enter: dict[str, Callable[[Call, FlowState, Step], str | None]] = {
            "play": self._ask,
            "menu": self._ask,
            "collect": self._ask,
            "rate": self._ask,
            "voicemail": self._ask,
            "hang_up": self._hang_up,
            "language": self._language,
            "hours": self._hours,
            "lookup": self._lookup,
            "queue": self._queue,
            "number": self._number,
        }
        self._due: list[tuple[int, str]] = []

    # ---- timers

    def index(self) -> None:
        """What is due, from the state."""
        self._due = [
            (tick(call.flow.due), call.name)
            for call in self._board.state.calls.values()
            if call.flow is not None and call.flow.due is not None
        ]
        heapq.heapify(self._due)

    def next_due(self) -> float | None:
        """When the next caller is due, seconds, or None."""
        while self._due:
            due, name = self._due[0]
            state = self._state(name)
            if state is not None and state.due is not None and tick(state.due) == due:
                return state.due
            heapq.heappop(self._due)
        return None

    def _state(self, name: str) -> FlowState | None:
        call = self._board.state.calls.get(name)
        return None if call is None else call.flow

    def after(self, call: Call, seconds: float) -> None:
        """Something is to be done for a call when so much time has passed."""
        assert call.flow is not None
        call.flow.due = round((self._board.now + seconds) * 1e6) / 1e6
        heapq.heappush(self._due, (tick(call.flow.due), call.name))

    def fire(self) -> None:
        """Do what is due for the first caller."""
        _, name = heapq.heappop(self._due)
        call = self._board.state.calls[name]
        state, step = call.flow, self.step(call)
        assert state is not None
        state.due = None
        if state.back is not None:
            self.backs.due(call)
        elif step is None:
            self._board.end_call(call)
        elif call.stage == Stage.WAITING:
            flow_waiting.announce(self._board, call, state, step)
        elif step.kind == "lookup":
            self._go(call, step.otherwise)
        elif step.kind == "voicemail":
            self._board.stop_recording(call)
            self._go(call, step.next)
        elif step.kind == "collect" and len(state.typed) >= step.min:
            self._collected(call, state, step)
        else:
            self._again(call, state, step, spoken=False)

    # ---- steps

    def flow(self, call: Call) -> Flow | None:
        """The flow of a call, or None if it has none."""
        return None if call.flow is None else self.known(call.flow.flow)

    def known(self, name: str) -> Flow | None:
        """A flow by its name; of one that the file of calls has no more, what it was, while calls use it."""
        return self._board.calls.flows.get(name) or self._board.left.flows.get(name)

    def step(self, call: Call) -> Step | None:
        """The step where a call is."""
        flow = self.flow(call)
        return None if flow is None or call.flow is None else flow.steps.get(call.flow.step)

    def start(self, call: Call, name: str) -> None:
        """A caller begins a flow."""
        flow = self.known(name)
        assert flow is not None
        call.flow = FlowState(name, "", flow.language)
        self._go(call, flow.start)

    def _go(self, call: Call, name: str | None) -> None:
        """Go to a step, and through those that take no time. No name: the end of the flow."""
        board, state = self._board, call.flow
        assert state is not None
        for _ in range(HOPS_MAX):
            if not name:
                break
            state.step, state.typed, state.tries, state.waits = name, "", 0, False
            call.stage = Stage.FLOW
            step = self.step(call)
            if step is None:  # another file of calls
                break
            board.note("flow_step", call=call.name, flow=state.flow, step=name)
            name = self._enter[step.kind](call, state, step)
            if name is None:
                return
        if call.name in board.state.calls and call.stage == Stage.FLOW:
            board.end_call(call, "completed" if not name else "failed")

    def say(self, call: Call, prompts: tuple[str, ...]) -> None:
        """Have something said to the caller."""
        state = call.flow
        assert state is not None
        state.says, state.said, state.due = said(prompts, state.language, state.values), state.said + 1, None
        self._board.settle(call)

    def _ask(self, call: Call, state: FlowState, step: Step) -> str | None:
        if step.secret:
            self._board.note("keys_hidden", node=call.node, leg=call.legs[0], on=True)
        if step.kind == "rate":
            self._board.note("rating_asked", call=call.name, rating=step.into, **state.talked)
        self.say(call, step.prompts)
        return None if state.says else self._silence(call, state, step)

    def _silence(self, call: Call, state: FlowState, step: Step) -> str | None:
        """What a step has to say is said: the next step, or None if the caller is waited for."""
        if step.kind == "play":
            return step.next
        if step.kind == "voicemail":
            self._record(call, state)
            self.after(call, step.seconds)
            return None
        self.after(call, step.timeout)
        return None

    def said(self, call: Call) -> None:
        """What was said is over, or can't be played."""
        state, step = call.flow, self.step(call)
        assert state is not None
        state.says = ()
        if state.back is not None:
            self.backs.told(call)
        elif step is None:
            self._board.end_call(call)
        elif call.stage == Stage.WAITING:
            if step.announce is not None and state.waits:
                self.after(call, step.announce.every)
            self._board.settle(call)
        elif step.kind == "hang_up":
            self._board.end_call(call, "completed")
        else:
            self._on(call, self._silence(call, state, step), settle=True)

    def _on(self, call: Call, name: str | None, settle: bool = False) -> None:
        if name is not None:
            self._go(call, name)
        elif settle:
            self._board.settle(call)

    def _again(self, call: Call, state: FlowState, step: Step, spoken: bool) -> None:
        """A try is over without what was asked for."""
        state.tries += 1
        state.typed = ""
        if state.tries > step.retries:
            self._leave(call, step, step.otherwise or (step.next if step.kind == "rate" else ""))
            return
        self.say(call, (step.invalid if spoken else ()) + step.prompts)
        if not state.says:
            self.after(call, step.timeout)

    def _leave(self, call: Call, step: Step, name: str) -> None:
        """Go on from a step whose keys may have been secret."""
        if step.secret and call.legs:
            self._board.note("keys_hidden", node=call.node, leg=call.legs[0], on=False)
        self._go(call, name)

    # ---- keys and words

    def key(self, call: Call, key: str) -> None:
        """The caller pressed a key."""
        state, step = call.flow, self.step(call)
        if state is None or step is None:
            return
        if call.stage == Stage.WAITING and state.waits and step.callback is not None and state.back is None:
            if key == step.callback.key:
                self.backs.agree(call, state, step.callback)
        elif call.stage != Stage.FLOW:
            return
        elif step.kind == "menu":
            if key in step.keys:
                self._go(call, step.keys[key])
            else:
                self._again(call, state, step, spoken=True)
        elif step.kind == "collect":
            self._typed(call, state, step, key)
        elif step.kind == "rate":
            self._rated(call, state, step, key)
        elif step.kind == "voicemail" and call.recording:
            self._board.stop_recording(call)
            self._go(call, step.next)

    def _typed(self, call: Call, state: FlowState, step: Step, key: str) -> None:
        if key == step.end and len(state.typed) >= step.min:
            self._collected(call, state, step)
        elif key not in "0123456789?":
            self._again(call, state, step, spoken=True)
        else:
            state.typed += HIDDEN if step.secret else key
            if len(state.typed) >= step.max:
                self._collected(call, state, step)
                return
            state.says = ()
            self.after(call, step.timeout)
            self._board.settle(call)

    def _collected(self, call: Call, state: FlowState, step: Step) -> None:
        state.values[step.into] = state.typed
        self._leave(call, step, step.next)

    def _rated(self, call: Call, state: FlowState, step: Step, key: str) -> None:
        score = int(key) if key.isdecimal() else 0
        if not 1 <= score <= step.scale:
            self._again(call, state, step, spoken=True)
            return
        self._board.note("call_rated", call=call.name, rating=step.into, score=score, scale=step.scale, **state.talked)
        self._go(call, step.next)

    def _heard(self, event: Event) -> None:
        """Another program says what the caller said."""
        call, state, step = self._at(event, "menu")
        self._said_to(call, state, step, event["text"])

    def recognized(self, call: Call, event: Event) -> None:
        """A recognizer says that the caller begins to speak, or what was said."""
        call, state, step = self._at({"call": call.name}, "menu")
        if event["final"]:
            self._said_to(call, state, step, event["text"] if event["confidence"] >= step.sure else "")
        else:  # the prompt is stopped, and what is said is waited for
            state.says = ()
            self.after(call, SPEAKING_S)
            self._board.settle(call)

    def _said_to(self, call: Call, state: FlowState, step: Step, text: str) -> None:
        """What was said to a menu: a word that stands for a key, or none."""
        key = match(step.words, text)
        if key:
            self._go(call, step.keys[key])
        else:
            self._again(call, state, step, spoken=True)

    def _at(self, event: Event, kind: str) -> tuple[Call, FlowState, Step]:
        """The call that an event speaks of, if it is at a step of this kind."""
        call = self._board.state.calls.get(event["call"])
        step = None if call is None else self.step(call)
        if call is None or call.flow is None or step is None or call.stage != Stage.FLOW or step.kind != kind:
            what = f'call "{event["call"]}" is at no step of the kind {kind}'
            raise StaleEventError(what, Where(key="call"), "It has gone on, or ended")
        return call, call.flow, step

    # ---- what steps do

    def _hang_up(self, call: Call, state: FlowState, step: Step) -> str | None:
        if not said(step.prompts, state.language, state.values):
            return ""
        self.say(call, step.prompts)
        return None

    def _language(self, call: Call, state: FlowState, step: Step) -> str | None:
        state.language = step.value
        return step.next

    def _hours(self, call: Call, state: FlowState, step: Step) -> str | None:
        flow = self.flow(call)
        assert flow is not None
        is_open = flow.hours[step.value].are_open(self._board.now, self._board.calls.zone or self._board.left.zone)
        return step.open if is_open else step.closed

    def _lookup(self, call: Call, state: FlowState, step: Step) -> str | None:
        state.said += 1
        self._board.out.append(self.lookup(call, step, self._board.now))
        state.says = ()
        self.after(call, step.timeout)
        self._board.settle(call)
        return None

    def lookup(self, call: Call, step: Step, t: float) -> dict[str, Any]:
        """The effect that asks what the step of a call wants to know, from ``t`` on."""
        state = call.flow
        assert state is not None
        who = {"number": call.number, "caller": call.caller, "language": state.language}
        asked = {"call": call.name, "lookup": step.value, "token": str(state.said), **who}
        sent = {name: state.values.get(name, "") for name in step.send}
        return {"t": t, "effect": "lookup", **asked, "values": sent, "timeout": step.timeout}

    def _looked_up(self, event: Event) -> None:
        call, state, step = self._at(event, "lookup")
        if event["token"] != str(state.said):
            raise StaleEventError("the look-up is over", Where(key="token"), "It was answered, or took too long")
        state.values.update(event.get("values", {}))
        self._go(call, step.answers.get(event["answer"], step.otherwise))

    def _number(self, call: Call, state: FlowState, step: Step) -> str | None:
        board = self._board
        if not board.calls.trunks:
            return step.otherwise
        call.stage, state.says = Stage.REACHING, ()
        board.dial(call.node, Role.PARTY, call, caller=call.caller, ring_s=board.calls.ring, number=step.value)
        board.settle(call)
        return None

    def _queue(self, call: Call, state: FlowState, step: Step) -> str | None:
        board, flow = self._board, self.flow(call)
        assert flow is not None
        asked = {**step.requires}
        if state.language in flow.languages:
            asked |= flow.languages[state.language].requires
        state.fields = flow_waiting.wishes(board.acd.center, step, asked)
        state.says, state.waits, state.since = (), True, board.now
        state.position, state.minutes, state.promised = 0, 0, 0.0
        board.queue(call, step.value, **state.fields)
        if call.stage == Stage.WAITING and step.announce is not None and state.back is None:
            self.after(call, step.announce.first)
        return None

    def _record(self, call: Call, state: FlowState) -> None:
        board = self._board
        board.record(call, [call.legs[0]])
        mails = board.state.voicemails
        if len(mails) >= VOICEMAILS_MAX:
            del mails[next(iter(mails))]
        step = self.step(call)
        assert step is not None
        who = {"call": call.name, "number": call.number, "caller": call.caller, "language": state.language}
        mails[call.recording] = who | {"queue": step.to_queue}

    # ---- what the switchboard asks

    def ended(self, call: Call, why: str) -> None:
        """A call is over."""
        state = call.flow
        if state is not None and call.stage == Stage.FLOW:
            self._board.note("flow_ended", call=call.name, flow=state.flow, step=state.step, why=why)
        if state is not None and state.back is not None:
            self.backs.cancelled(call)

    def caller_gone(self, call: Call) -> bool:
        """The caller's leg has ended: whether the call goes on without it."""
        if call.flow is None or call.flow.back is None or call.stage != Stage.WAITING:
            return False
        self.backs.keep(call)
        return True

    def recorded(self, event: Event) -> None:
        """A recording is complete: if it is a voicemail, it may be for somebody."""
        board = self._board
        mail = board.state.voicemails.pop(event["recording"], None)
        if mail is None:
            return
        queue = mail.pop("queue")
        contact = f"voicemail-{event['recording']}"
        board.note("voicemail", contact=contact, file=event["file"], seconds=event["seconds"], **mail)
        if queue and event["seconds"] >= MAIL_S_MIN:
            with contextlib.suppress(EventError, LimitError):  # no such queue, too many, another contact of that name
                board.tell("contact_queued", contact=contact, queue=queue)

    def connected(self, call: Call) -> None:
        """An agent has answered: nothing more is said."""
        state = call.flow
        if state is not None:
            state.says, state.due, state.waits = (), None, False
            state.talked = {"contact": call.contact, "agent": call.agent, "queue": call.queue}

    def alone(self, call: Call) -> bool:
        """The conversation is over and the caller is still there: whether the flow goes on."""
        step = self.step(call)
        if step is None or step.kind != "queue" or not step.after or not self._here(call):
            return False
        self._go_alone(call, step.after)
        return True

    def unserved(self, call: Call) -> bool:
        """The queue has no agent for the caller, or no place: whether the flow goes on."""
        state, step = call.flow, self.step(call)
        if state is None or step is None or step.kind != "queue":
            return False
        if state.back is not None:
            self.backs.unserved(call)
            return True
        if not step.otherwise or not self._here(call):
            return False
        self._go_alone(call, step.otherwise)
        return True

    def not_reached(self, call: Call) -> bool:
        """A number does not answer: whether the flow goes on."""
        step = self.step(call)
        if step is None or step.kind != "number" or not self._here(call):
            return False
        self._go_alone(call, step.otherwise)
        return True

    def _here(self, call: Call) -> bool:
        """Whether the caller's leg is up."""
        leg: Leg | None = self._board.state.legs[call.legs[0]] if call.legs else None
        return leg is not None and leg.role == Role.CALLER and leg.phase == Phase.UP

    def _go_alone(self, call: Call, name: str) -> None:
        board = self._board
        board.stop_recording(call)
        for leg in board.legs(call)[1:]:
            board.release(leg)
        board.state.legs[call.legs[0]].held = False
        call.consult = ""
        self._go(call, name)
