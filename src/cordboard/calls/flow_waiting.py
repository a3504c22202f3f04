"""What callers are told while they wait, and what a flow asks of the agent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cordboard.calls.flow import Announce, Flow, Step
from cordboard.calls.flow_speech import MINUTES_MAX, position_prompts, wait_prompts
from cordboard.calls.flow_state import FlowState
from cordboard.calls.state import Call
from cordboard.center import Center

if TYPE_CHECKING:
    from cordboard.calls.switchboard import Switchboard


def announces_waits(flows: Mapping[str, Flow]) -> bool:
    """Whether callers are told how long they will wait."""
    steps = (step for flow in flows.values() for step in flow.steps.values())
    return any(step.announce is not None and step.announce.wait for step in steps)


def wishes(center: Center, step: Step, asked: dict[str, int]) -> dict[str, Any]:
    """The fields of the contact: what the flow asks for comes on top of what the queue requires, in all its steps."""
    fields: dict[str, Any] = {"priority": step.priority} if step.priority else {}
    if step.agent and any(agent.name == step.agent for agent in center.agents):
        fields["preferred_agent"] = step.agent
    queue = next((queue for queue in center.queues if queue.name == step.value), None)
    if not asked or queue is None:
        return fields
    if not queue.steps:
        return fields | {"requires": _both(queue.requires, asked)}
    steps = [
        {"requires": _both(part.requires, asked)} | ({} if part.seconds is None else {"for": part.seconds})
        for part in queue.steps
    ]
    if "for" in steps[-1]:  # after the last timed step membership alone counts: not so the caller's language
        steps.append({"requires": dict(asked)})
    return fields | {"steps": steps}


def _both(one: Any, other: dict[str, int]) -> dict[str, int]:
    return {skill: max(one.get(skill, 0), other.get(skill, 0)) for skill in {**one, **other}}


def announce(board: Switchboard, call: Call, state: FlowState, step: Step) -> None:
    """Tell a caller who waits how things stand, if there is anything to tell."""
    plan = step.announce
    if plan is None or not state.waits:
        return
    position = board.acd.position(call.contact)
    if not position:  # an agent's phone rings already
        board.guide.after(call, plan.every)
        return
    prompts = news(board, call, state, plan, position) or list(plan.comfort)
    offer = step.callback
    if offer is not None and board.now - state.since >= offer.after and board.guide.backs.number(call, offer):
        prompts += offer.offer
    if prompts:
        board.guide.say(call, tuple(prompts))
    else:
        board.guide.after(call, plan.every)


def news(board: Switchboard, call: Call, state: FlowState, plan: Announce, position: int) -> list[str]:
    """What is better than what the caller was told before.

    A wait is told as the whole minutes within which nine of ten are served, rounded up: a promise. A smaller number is
    told only if it does not put the promised end off; a promise that was not kept is owned up to, once.
    """
    prompts: list[str] = []
    if plan.position and (not state.position or position < state.position):
        state.position = position
        prompts += position_prompts(position, state.language)
    if not plan.wait:
        return prompts
    now, ahead = board.now, board.acd.estimate_wait(call.contact).p90
    minutes = max(math.ceil(ahead / 60.0), 1) if ahead <= MINUTES_MAX * 60.0 else MINUTES_MAX + 1
    if not state.minutes or (minutes < state.minutes and (not state.promised or now + ahead <= state.promised)):
        state.minutes = minutes
        state.promised = now + 60.0 * minutes if minutes <= MINUTES_MAX else 0.0
        prompts += wait_prompts(minutes, state.language)
    elif state.promised and now > state.promised:
        state.minutes, state.promised = 0, 0.0  # what is told next is a new promise
        prompts += plan.late
    return prompts
