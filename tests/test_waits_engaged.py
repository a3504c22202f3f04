"""Estimated waits know who is engaged on a call that is no contact: a consultation, a preview, listening in."""

from __future__ import annotations

import pytest

from cordboard.acd import Acd
from cordboard.center import Agent, Center, Queue

AGENTS = ("a0", "a1")


def engine() -> Acd:
    made = Acd(Center(queues=(Queue("blue"),), agents=tuple(map(Agent, AGENTS))))
    made.learn_waits()
    for agent in AGENTS:
        made.apply({"t": 0.0, "event": "agent_ready", "agent": agent})
    return made


def say(acd: Acd, t: float, kind: str, **fields: object) -> list[dict]:
    return acd.apply({"t": t, "event": kind, **fields})


def serve(acd: Acd, t: float, contact: str) -> str:
    [offer] = [one for one in say(acd, t, "contact_queued", contact=contact, queue="blue") if one["effect"] == "offer"]
    say(acd, t, "offer_accepted", contact=contact, agent=offer["agent"])
    return str(offer["agent"])


def asked(acd: Acd) -> tuple[float, float, float]:
    found = acd.estimate_wait("c")
    return found.mean, found.p50, found.p90


def waiting(acd: Acd, t: float) -> tuple[float, float, float]:
    say(acd, t, "contact_queued", contact="c", queue="blue")
    return asked(acd)


def both_in_conversation() -> Acd:
    acd = engine()
    assert {serve(acd, 1.0, "x"), serve(acd, 1.0, "y")} == set(AGENTS)
    return acd


def test_an_agent_who_is_engaged_counts_as_busy_and_not_as_free():
    # Given one agent with a contact, and one on a call that is none
    acd = engine()
    say(acd, 1.0, "agent_engaged", agent="a1")
    assert serve(acd, 1.0, "x") == "a0"
    # Then whoever comes waits as behind two conversations, and not as if one agent were free
    assert waiting(acd, 2.0) == pytest.approx(waiting(both_in_conversation(), 2.0), rel=0.03)
    assert asked(acd)[0] > 0.0


def test_who_is_released_counts_as_free_again_and_a_second_time_changes_nothing():
    acd, other = engine(), engine()
    for t, kind in ((1.0, "engaged"), (1.5, "engaged"), (2.0, "released"), (2.5, "released")):
        say(acd, t, f"agent_{kind}", agent="a1")
    for each in (acd, other):
        say(each, 3.0, "agent_away", agent="a1")
        serve(each, 3.0, "x")
    assert waiting(acd, 4.0) == waiting(other, 4.0)


def test_who_takes_over_the_contact_that_engaged_her_is_counted_once():
    # Given an agent who was asked, and gets the contact handed over
    acd = engine()
    say(acd, 1.0, "agent_engaged", agent="a1")
    assert serve(acd, 1.0, "x") == "a0"
    say(acd, 1.0, "contact_queued", contact="y", queue="blue", preferred_agent="a1", handed_over=True)
    say(acd, 1.0, "offer_accepted", contact="y", agent="a1")
    assert waiting(acd, 2.0) == pytest.approx(waiting(both_in_conversation(), 2.0), rel=0.03)


def test_it_is_in_a_dump_and_in_an_estimator_that_begins_in_the_middle():
    acd = engine()
    say(acd, 1.0, "agent_engaged", agent="a1")
    serve(acd, 1.0, "x")
    expected = waiting(acd, 2.0)
    loaded = Acd.load(acd.center, acd.dump())
    begun = engine()
    say(begun, 1.0, "agent_engaged", agent="a1")
    serve(begun, 1.0, "x")
    say(begun, 2.0, "contact_queued", contact="c", queue="blue")
    begun, _ = begun.with_center(Center(queues=begun.center.queues, agents=(*begun.center.agents, Agent("a2"))), 2.0)
    assert asked(loaded) == expected and asked(begun)[0] > 0.0
    for each in (acd, loaded):
        say(each, 3.0, "agent_released", agent="a1")
        assert "c" in each.agent_state("a1")["offered"]
