"""A center that changes while it works: everything keeps its place, and no contact is lost or counted twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cordboard import Acd
from cordboard.center import Agent, Center, Queue
from cordboard.errors import CordboardError, EventError, UnknownNameError
from cordboard.replay import fire_timers
from tests.oracle.worlds import Journalist, Seeded, Source, random_agent, random_center, random_queue, sometimes

QUEUES = (Queue("a", offer_timeout=10.0, wrap_up=5.0), Queue("b", requires={"zh": 3}, offer_timeout=0.0))
AGENTS = (Agent("x", {"zh": 5}), Agent("y"), Agent("z"))
CENTER = Center(QUEUES, AGENTS)


def at_work() -> Acd:
    """x talks to c1, y is offered c2, z is away; c3, c4 wait in a (c4 first), c5 and c6 wait in b."""
    acd = Acd(CENTER)
    for i, (event, more) in enumerate(
        [
            ("agent_ready", {"agent": "x"}),
            ("contact_queued", {"contact": "c1", "queue": "b"}),
            ("offer_accepted", {"contact": "c1", "agent": "x"}),
            ("agent_ready", {"agent": "y"}),
            ("contact_queued", {"contact": "c2", "queue": "a"}),
            ("contact_queued", {"contact": "c3", "queue": "a"}),
            ("contact_queued", {"contact": "c4", "queue": "a", "priority": 5}),
            ("contact_queued", {"contact": "c5", "queue": "b"}),
            ("contact_queued", {"contact": "c6", "queue": "b"}),
        ]
    ):
        acd.apply({"t": i, "event": event, **more})
    return acd


def short(effects: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    keys = ("effect", "contact", "agent", "queue", "to", "reason")
    return [tuple(effect[key] for key in keys if effect.get(key) is not None) for effect in effects]


def test_new_skills_and_agents_count_at_once_and_nobody_loses_a_place() -> None:
    # given a new agent with the skill, and y who has learned it
    agents = (AGENTS[0], Agent("y", {"zh": 3}), Agent("z"), Agent("new", {"zh": 4}))
    acd, effects = at_work().with_center(Center(QUEUES, agents), 9.0)
    # then nothing happens to those who ring, talk or wait
    assert effects == [] and acd.loaded is not None
    assert (acd.loaded.agents_new, acd.loaded.agents_gone, acd.loaded.queues_gone) == (("new",), (), ())
    assert acd.positions("a") == {"c4": 1, "c3": 2} and acd.positions("b") == {"c5": 1, "c6": 2}
    assert acd.next_timer() == 14.0  # c2's offer, made at 4
    # and the new ones get what they can take
    assert short(acd.apply({"t": 10, "event": "agent_ready", "agent": "new"})) == [("offer", "c4", "new", "a")]
    assert acd.state()["agents"]["x"]["since"] == 2.0


def test_a_matching_round_follows_a_change_that_makes_somebody_eligible() -> None:
    acd = Acd(CENTER)
    acd.apply({"t": 0, "event": "agent_ready", "agent": "y"})
    acd.apply({"t": 1, "event": "contact_queued", "contact": "c", "queue": "b"})
    acd, effects = acd.with_center(replace(CENTER, queues=(QUEUES[0], replace(QUEUES[1], requires={}))), 5.0)
    assert short(effects) == [("offer", "c", "y", "b")]
    assert effects[0]["why"]["value"] == 5.0


def test_the_contacts_of_a_queue_that_is_gone_go_to_its_overflow() -> None:
    # given b, which overflowed to a queue that is gone as well, and that one to a
    queues = (*QUEUES[:1], replace(QUEUES[1], overflow="middle"), Queue("middle", overflow="a"))
    acd, _ = at_work().with_center(Center(queues, AGENTS), 9.0)
    acd, effects = acd.with_center(Center(QUEUES[:1], AGENTS), 10.0)
    # then
    assert short(effects) == [("contact_expired", "c5", "a"), ("contact_expired", "c6", "a")]
    assert acd.positions("a") == {"c4": 1, "c3": 2, "c5": 3, "c6": 4}
    assert acd.state()["queues"]["b"]["connected"] == 1
    # and the conversation goes on until it ends; then the queue is forgotten
    assert short(acd.apply({"t": 11, "event": "contact_ended", "contact": "c1"})) == [("offer", "c4", "x", "a")]
    assert "b" not in acd.state()["queues"]
    with pytest.raises(UnknownNameError):
        acd.apply({"t": 12, "event": "contact_queued", "contact": "new", "queue": "b"})


def test_the_contacts_of_a_queue_without_an_overflow_leave() -> None:
    acd, effects = at_work().with_center(Center(QUEUES[1:], AGENTS), 9.0)
    assert short(effects) == [
        ("offer_withdrawn", "c2", "y", "contact_expired"),
        ("contact_expired", "c2"),
        ("contact_expired", "c3"),
        ("contact_expired", "c4"),
    ]
    assert all(effect["to"] is None for effect in effects if effect["effect"] == "contact_expired")
    assert acd.counts() == {"entered": 6, "waiting": 2, "offered": 0, "connected": 1, "ended": 3}


def test_an_agent_who_is_gone_finishes_the_conversation_and_gets_no_other() -> None:
    acd, effects = at_work().with_center(Center(QUEUES, AGENTS[2:]), 9.0)
    assert short(effects) == [("offer_withdrawn", "c2", "y", "agent_offline")]
    assert acd.loaded is not None and acd.loaded.agents_gone == ("x", "y") and acd.loaded.talking == {"x": ("c1",)}
    assert acd.positions("a") == {"c4": 1, "c2": 2, "c3": 3}
    assert acd.state()["agents"]["x"]["contacts"] == ["c1"]
    with pytest.raises(UnknownNameError):
        acd.apply({"t": 10, "event": "agent_ready", "agent": "x"})
    # a dump in between changes nothing
    acd = Acd.load(Center(QUEUES, AGENTS[2:]), acd.dump())
    assert acd.loaded is not None and acd.loaded.same_center
    assert acd.apply({"t": 11, "event": "contact_ended", "contact": "c1"}) == []
    assert list(acd.state()["agents"]) == ["z"]


def test_an_agent_who_comes_back_has_its_conversation_still() -> None:
    acd, _ = at_work().with_center(Center(QUEUES, AGENTS[1:]), 9.0)
    acd, _ = acd.with_center(CENTER, 10.0)
    assert acd.agent_state("x")["contacts"] == ["c1"] and acd.agent_state("x")["presence"] == "offline"
    acd.apply({"t": 11, "event": "agent_ready", "agent": "x"})
    assert short(acd.apply({"t": 12, "event": "contact_ended", "contact": "c1"})) == [("offer", "c4", "x", "a")]


def test_a_capacity_below_what_is_held_is_allowed_and_takes_no_more() -> None:
    wide = Center((Queue("a", "chat", offer_timeout=0.0),), (Agent("x", capacity={"chat": 3}),))
    acd = Acd(wide)
    acd.apply({"t": 0, "event": "agent_ready", "agent": "x"})
    for i in range(5):
        acd.apply({"t": i, "event": "contact_queued", "contact": f"c{i}", "queue": "a"})
    for i in range(3):
        acd.apply({"t": 5, "event": "offer_accepted", "contact": f"c{i}", "agent": "x"})
    acd, effects = acd.with_center(replace(wide, agents=(Agent("x", capacity={"chat": 1}),)), 6.0)
    assert effects == []
    for i in range(2):
        assert acd.apply({"t": 7, "event": "contact_ended", "contact": f"c{i}"}) == []
    assert short(acd.apply({"t": 8, "event": "contact_ended", "contact": "c2"})) == [("offer", "c3", "x", "a")]


def test_a_shorter_max_wait_that_is_over_already_ends_with_the_change_and_not_before_it() -> None:
    acd, effects = at_work().with_center(Center((replace(QUEUES[0], max_wait=4.0), QUEUES[1]), AGENTS), 9.0)
    assert [(e["t"], e["effect"], e["contact"]) for e in effects][:2] == [
        (9.0, "offer_withdrawn", "c2"),
        (9.0, "contact_expired", "c2"),
    ]
    assert acd.next_timer() == 10.0 and acd.agent_state("y")["offered"] == ["c4"]


def test_time_does_not_go_back_with_a_change() -> None:
    acd = at_work()
    with pytest.raises(EventError):
        acd.with_center(CENTER, 1.0)


def changed(source: Source, center: Center) -> Center:
    """Some agents and queues gone, some new, some with other skills, channels, tiers and timers."""
    queues = [queue for queue in center.queues if sometimes(source, 70)]
    names = [queue.name for queue in queues] + [f"n{i}" for i in range(source.whole(0 if queues else 1, 2))]
    names += [queue.name for queue in center.queues if queue.name not in names and sometimes(source, 20)]
    names = list(dict.fromkeys(names))
    kept = {queue.name: queue for queue in queues}
    strategies = ("longest_idle", "round_robin", "random", "least_occupied", "ring_all", "most_skilled")
    made = []
    for name in names:
        queue = random_queue(source, name, names, strategies)
        if name in kept and sometimes(source, 50):
            to = kept[name].overflow
            queue = replace(kept[name], overflow=to if to in names else None)
        made.append(queue)
    people = [f"a{i}" for i in range(7) if sometimes(source, 75)] or ["a0"]
    return Center(tuple(made), tuple(random_agent(source, name, names) for name in people), center.order)


@pytest.mark.parametrize("block", range(3))
def test_no_contact_is_lost_or_counted_twice_however_the_center_changes(block: int) -> None:
    for seed in range(block * 8, block * 8 + 8):
        source = Seeded(seed)
        center = replace(random_center(source), reserves=())
        acd, twin = Acd(center, seed=seed), Acd(center, seed=seed)
        if seed % 2:
            acd.learn_waits()
        journalist = Journalist(source, center)
        entered = 0
        for step in range(160):
            if step % 12 == 11:
                before = {name: acd.positions(name) for name in (queue.name for queue in acd.center.queues)}
                center = changed(source, center)
                acd, effects = acd.with_center(center, journalist.t)
                journalist.note(None, effects)
                journalist.center = center
                check_places(before, acd, effects)
                twin = Acd.load(center, acd.dump())
                assert twin.dump() == acd.dump()
            event = journalist.next_event(acd.next_timer())
            journalist.note(None, fire_timers(acd, event["t"]))
            fire_timers(twin, event["t"])
            try:
                effects = acd.apply(event)
            except CordboardError as error:
                with pytest.raises(type(error)):
                    twin.apply(event)
                continue
            assert twin.apply(event) == effects
            entered += event["event"] == "contact_queued"
            journalist.note(event, effects)
            check_counts(acd, journalist, entered)


def check_counts(acd: Acd, journalist: Journalist, entered: int) -> None:
    """The engine's counts are those of who was told: nobody is lost, offered twice or talks to nobody."""
    counts = acd.counts()
    assert counts["entered"] == entered
    assert entered == counts["waiting"] + counts["offered"] + counts["connected"] + counts["ended"]
    assert counts["connected"] == len(journalist.connected)
    assert counts["waiting"] + counts["offered"] == len(journalist.waiting)
    state = acd.state()
    held = {(contact, name) for name, agent in state["agents"].items() for contact in agent["contacts"]}
    assert held == {*journalist.offers, *journalist.connected.items()}
    for key in ("waiting", "offered", "connected"):
        assert sum(queue[key] for queue in state["queues"].values()) == counts[key]


def check_places(before: dict[str, dict[str | int, int]], acd: Acd, effects: list[dict[str, Any]]) -> None:
    """Where the order of the center is the same, those who waited before and wait still stand in their old order."""
    if acd.center.order != "priority":
        return
    for name, places in before.items():
        if name not in {queue.name for queue in acd.center.queues}:
            continue
        moved = {effect.get("contact") for effect in effects}
        after = [contact for contact in acd.positions(name) if contact in places and contact not in moved]
        assert after == [contact for contact in places if contact in after]
