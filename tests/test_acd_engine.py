"""The engine by itself: its array interface, its bounds, its errors, its wallboard. Who gets whom is judged by the
brute-force router in test_differential.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cordboard import Acd
from cordboard._core.acd import CODES, EFFECT, EFFECTS, EVENT, EVENTS, Router
from cordboard.center import Agent, Center, Queue, Step
from cordboard.errors import EventError, LimitError, StaleEventError, UnknownNameError
from cordboard.journal import check_event


def center(agents: int = 3, **queue: Any) -> Center:
    queues = (Queue("a", **{"offer_timeout": 10.0, "wrap_up": 5.0, **queue}), Queue("b", requires={"zh": 3}))
    return Center(queues, tuple(Agent(f"x{i}", {"zh": i + 1}) for i in range(agents)))


def ready(acd: Acd, *agents: str, t: float = 0.0) -> None:
    for agent in agents:
        acd.apply({"t": t, "event": "agent_ready", "agent": agent})


def queue(acd: Acd, t: float, contact: str, **more: Any) -> list[dict[str, Any]]:
    return acd.apply({"t": t, "event": "contact_queued", "contact": contact, "queue": "a", **more})


def test_the_dtype_of_effects_is_the_struct() -> None:
    # effect_rows and apply_columns compare them field by field; what is left is that the names mean the same
    assert EFFECT.itemsize == 104 and EVENT.itemsize == 48
    router = Router(center())
    router.agent_ready(1.0, 2)
    router.contact_queued(2.5, 1, id=77)
    [row] = router.effect_rows()
    assert (row["t"], row["contact"], row["agent"], row["queue"], row["value"]) == (2.5, 77, 2, 1, 1.5)
    assert (row["eligible_agents"], row["eligible_contacts"], row["runner_agent"], row["tier"]) == (1, 1, -1, 1)


def test_a_column_of_events_does_what_they_do_one_by_one() -> None:
    # given
    names = ["agent_ready", "contact_queued", "offer_accepted", "contact_queued", "contact_left", "contact_ended"]
    rows = np.zeros(len(names), dtype=EVENT)
    rows["event"] = [EVENTS.index(name) for name in names]
    rows["t"] = np.arange(len(names))
    rows["contact"] = [0, 1, 1, 2, 2, 1]
    rows["queued_at"], rows["preferred"] = np.nan, -1
    # when
    acd = Acd(center(1))
    effects = acd.apply_columns(rows)
    # then
    assert [EFFECTS[e["effect"]] for e in effects] == ["offer", "wrap_up_started"]
    assert acd.counts() == {"entered": 2, "waiting": 0, "offered": 0, "connected": 0, "ended": 2}


def test_a_row_that_can_not_be_applied_is_refused_and_the_others_go_on() -> None:
    rows = np.zeros(5, dtype=EVENT)
    rows["event"] = [EVENTS.index("contact_left"), EVENTS.index("contact_queued"), 99, 0, EVENTS.index("contact_queued")]
    rows["t"] = [0, 1, 1, np.nan, 2]
    rows["contact"] = [5, 6, 6, 6, 6]
    rows["queued_at"], rows["preferred"] = np.nan, -1
    effects = Acd(center()).apply_columns(rows)
    assert list(effects["effect"]) == [EFFECTS.index("refused")] * 4
    assert list(effects["value"]) == [0, 2, 3, 4]
    codes = ("unknown_contact", "bad_value", "bad_value", "duplicate_contact")
    assert list(effects["reason"]) == [CODES[name] for name in codes]


def test_an_event_that_can_not_be_applied_changes_nothing_but_time_and_hands_over_what_fired() -> None:
    # given an offer that expires at 12
    acd = Acd(center(2))
    ready(acd, "x0", "x1")
    queue(acd, 2.0, "c")
    # when it is accepted too late
    with pytest.raises(StaleEventError) as caught:
        acd.apply({"t": 12.0, "event": "offer_accepted", "contact": "c", "agent": "x0"})
    # then
    assert [e["effect"] for e in caught.value.effects] == ["offer_expired", "offer"]
    assert acd.now == 12.0 and acd.state()["agents"]["x1"]["contacts"] == ["c"]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"event": "agent_ready", "agent": "nobody"}, UnknownNameError),
        ({"event": "contact_left", "contact": "nobody"}, UnknownNameError),
        ({"event": "contact_queued", "contact": "n", "queue": "nowhere"}, UnknownNameError),
        ({"event": "contact_queued", "contact": "c", "queue": "a"}, EventError),
        ({"event": "contact_ended", "contact": "c"}, EventError),
        ({"event": "wrap_up_ended", "agent": "x0"}, StaleEventError),
        ({"event": "contact_left", "contact": "old"}, StaleEventError),
        ({"event": "clock", "t": 1.0}, EventError),
        ({"event": "clock", "t": float("nan")}, EventError),
        ({"event": "clock", "t": -1}, EventError),
        ({"event": "dance"}, EventError),
    ],
)
def test_a_wrong_event_gets_a_clear_error(event: dict[str, Any], error: type[EventError]) -> None:
    acd = Acd(center())
    queue(acd, 2.0, "old")
    acd.apply({"t": 2.0, "event": "contact_left", "contact": "old"})
    queue(acd, 2.0, "c")
    before = acd.state()
    with pytest.raises(error) as caught:
        acd.apply({"t": 3.0, **event})
    assert caught.value.hint
    after = acd.state()
    assert before["agents"] == after["agents"] and before["counts"] == after["counts"]


def test_too_many_contacts_are_a_limit_error() -> None:
    acd = Acd(center(), max_contacts=2)
    queue(acd, 0.0, "c1")
    queue(acd, 0.0, "c2")
    with pytest.raises(LimitError):
        queue(acd, 0.0, "c3")
    acd.apply({"t": 1.0, "event": "contact_left", "contact": "c1"})
    queue(acd, 1.0, "c3")
    assert acd.positions("a") == {"c2": 1, "c3": 2}


def test_what_contacts_bring_is_forgotten_with_them() -> None:
    # given many contacts with requirements, steps, windows and exclusions of their own
    acd = Acd(center(2, retry_delay=0.0))
    ready(acd, "x0", "x1")
    empty = acd._router.sizes
    for i in range(300):
        contact = f"c{i}"
        more = [{"requires": {f"s{i}": i % 9 + 1}}, {"steps": [{"for": i + 1, "requires": {"zh": 1}}]}, {"max_tier": i % 9 + 1}]
        for effect in queue(acd, float(i), contact, **more[i % 3]):
            if effect["effect"] == "offer":
                acd.apply({"t": i, "event": "offer_declined", "contact": effect["contact"], "agent": effect["agent"]})
    assert acd._router.sizes["plans"] > 100
    for i in range(300):
        acd.apply({"t": 1000.0, "event": "contact_left", "contact": f"c{i}"})
    # then nothing stays but empty classes, and their number is bounded
    sizes = acd._router.sizes
    assert {**sizes, "classes": 0, "requirements": 0, "exclusions": 0} == {
        **empty, "classes": 0, "requirements": 0, "exclusions": 0,
    }
    assert sizes["classes"] <= 1024 and sizes["requirements"] <= sizes["classes"] + 2
    assert not acd._wishes and not acd._front.brought and not acd._front.slots and not any(acd._front.names)


def test_the_wallboard_shows_states_and_since_when() -> None:
    acd = Acd(center(2))
    ready(acd, "x0", "x1")
    queue(acd, 1.0, "c1")
    acd.apply({"t": 2.0, "event": "offer_accepted", "contact": "c1", "agent": "x0"})
    queue(acd, 3.0, "c2")
    queue(acd, 4.0, "c3")
    state = acd.advance(6.0) or acd.state()
    agents, queues = state["agents"], state["queues"]
    assert (agents["x0"]["state"], agents["x0"]["since"], agents["x0"]["contacts"]) == ("connected", 2.0, ["c1"])
    assert (agents["x1"]["state"], agents["x1"]["since"], agents["x1"]["queue"]) == ("offered", 3.0, "a")
    assert queues["a"] == {"waiting": 1, "offered": 1, "connected": 1, "longest_wait": 2.0}
    acd.apply({"t": 7.0, "event": "contact_ended", "contact": "c1"})
    assert acd.state()["agents"]["x0"]["state"] == "wrap_up"


def test_eligibility_names_the_first_filter_and_when_it_changes() -> None:
    queues = (Queue("a", requires={}, steps=(Step(30.0, {"zh": 3}), Step(None, {})), delay=10.0, tier_wait=20.0),)
    agents = (
        Agent("off"), Agent("away"), Agent("early", {"zh": 5}), Agent("tier2", {"zh": 5}, {"a": 2}), Agent("low", {"zh": 1}),
        Agent("elsewhere", queues={}), Agent("chatter", capacity={"chat": 2}),
    )
    acd = Acd(Center(queues, agents))
    ready(acd, "early", "tier2", "low", "elsewhere", "chatter")
    acd.apply({"t": 0, "event": "agent_away", "agent": "away"})
    queue(acd, 1.0, "c")
    found = {e["agent"]: (e["filter"], e["until"]) for e in acd.eligibility("c")}
    assert found == {
        "off": ("offline", None), "away": ("away", None), "early": ("delay", 11.0), "tier2": ("delay", 11.0),
        "low": ("delay", 11.0), "elsewhere": ("not_in_queue", None), "chatter": ("no_channel", None),
    }
    acd.apply({"t": 5.0, "event": "agent_away", "agent": "early"})
    acd.advance(12.0)
    found = {e["agent"]: (e["filter"], e["until"]) for e in acd.eligibility("c")}
    assert found["tier2"] == ("tier_wait", 41.0) and found["low"] == ("skill", 31.0)
    [offer] = acd.advance(31.0)
    assert offer["agent"] == "low"


def test_a_decision_says_both_sides() -> None:
    acd = Acd(center(2))
    queue(acd, 0.0, "c1")
    queue(acd, 1.0, "c2", priority=5)
    [offer] = acd.apply({"t": 4.0, "event": "agent_ready", "agent": "x1"})
    assert offer["contact"] == "c2" and offer["why"] == {
        "eligible": 1, "strategy": "longest_idle", "key": "idle_s", "value": 0.0, "runner_up": None,
        "runner_up_value": None, "tier": 1,
        "contacts": {
            "eligible": 2, "order": "priority", "key": "priority", "value": 5.0, "runner_up": "c1", "runner_up_value": 0.0,
        },
    }


def test_a_sticky_queue_finds_the_agent_again_and_forgets_the_oldest_customers() -> None:
    acd = Acd(center(3, sticky=True, wrap_up=0.0), max_customers=4)
    ready(acd, "x0", "x1", "x2")
    for i in range(20):
        t = 10.0 * i + 10
        [offer] = queue(acd, t, f"c{i}", customer=f"k{i % 6}" if i % 2 else "regular")
        if i > 0 and i % 2 == 0:
            assert offer["agent"] == "x0" and offer["why"]["key"] == "sticky"
        acd.apply({"t": t, "event": "offer_accepted", "contact": f"c{i}", "agent": offer["agent"]})
        acd.apply({"t": t + 1, "event": "contact_ended", "contact": f"c{i}"})
    assert len(acd._customers) <= 4


def test_many_classes_come_and_go_without_losing_a_contact() -> None:
    # given more classes at once than the engine starts with, so that their tables grow
    agent = Agent("x", {"s": 5, "t": 5, "u": 5})
    acd = Acd(Center((Queue("a", offer_timeout=0.0),), (agent,)))
    asked = [{"s": i % 10 + 1, "t": i // 10 % 10 + 1, "u": i // 100 + 1} for i in range(500)]
    for i, requires in enumerate(asked):
        queue(acd, 0.0, f"c{i}", requires=requires)
    assert acd._router.sizes["classes"] == 500
    # when the agent takes one after the other
    served = []
    offers = acd.apply({"t": 1.0, "event": "agent_ready", "agent": "x"})
    while offers:
        [offer] = offers
        served.append(offer["contact"])
        offers = acd.apply({"t": 2.0, "event": "contact_left", "contact": offer["contact"]})[1:]
    # then it got exactly those whose levels it has, in the order in which they came
    assert served == [f"c{i}" for i, requires in enumerate(asked) if max(requires.values()) <= 5]
    assert acd.counts()["waiting"] == 500 - len(served)


def test_an_event_that_was_checked_before_needs_no_second_check() -> None:
    acd = Acd(center(1))
    ready(acd, "x0")
    event = check_event({"t": 1, "event": "contact_queued", "contact": "c", "queue": "a", "requires": {"zh": 1}})
    [offer] = acd.apply(event, checked=True)
    assert offer["agent"] == "x0"


@pytest.mark.parametrize("name", ["", "a\nb", "\x7f", "\x85", "x" * 256, 7, None])
@pytest.mark.parametrize("kind", ["contact_queued", "contact_left", "offer_accepted"])
def test_a_name_that_can_not_be_is_refused_before_any_timer_fires(name: Any, kind: str) -> None:
    # given an offer that would expire at 10
    acd = Acd(center(1))
    ready(acd, "x0")
    queue(acd, 0.0, "c")
    more = {"contact_queued": {"queue": "a"}, "contact_left": {}, "offer_accepted": {"agent": "x0"}}[kind]
    # when
    with pytest.raises(EventError) as caught:
        acd.apply({"t": 20, "event": kind, "contact": name, **more})
    # then
    assert caught.value.effects == () and acd.now == 0.0 and acd.agent_state("x0")["offered"] == ["c"]


@pytest.mark.parametrize("t", [-1, True, "3", None, float("nan"), float("inf"), 10**400, 9.1e9])
def test_a_time_that_can_not_be_is_refused(t: Any) -> None:
    acd = Acd(center(1))
    with pytest.raises(EventError):
        acd.apply({"t": t, "event": "agent_ready", "agent": "x0"})
    assert acd.now == 0.0
