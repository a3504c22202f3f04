"""Calls that come in: from the number through the queue to the agent's phone, and all that can happen on the way."""

from __future__ import annotations

import pytest

from cordboard import Acd
from cordboard.calls.config import Calls
from cordboard.calls.switchboard import Switchboard
from cordboard.center import parse_center
from cordboard.errors import DuplicateError, EventError, LimitError, StaleEventError, UnknownNameError
from cordboard.media.backend import Cause, Ended
from cordboard.media.simulated import FarEnd
from tests.floor import CALLS, CENTER, NODE, Floor

NEVER = FarEnd(rings=0.1, picks_up=None)


def test_a_caller_hears_the_greeting_and_music_and_then_the_agent():
    # Given a caller before anybody is there
    floor = Floor()
    caller = floor.call()
    assert floor.hears(caller) == {"welcome"}
    floor.run(3.0)
    assert floor.hears(caller) == {"music"}
    # When an agent comes and her phone answers after a second
    floor.ready("li")
    floor.run(0.5)
    assert floor.hears(caller) == {"music"} and floor.agent("li") == "offered"
    floor.run(0.6)
    # Then both hear each other and nothing else
    phone = floor.phone("li")
    assert floor.hears(caller) == {phone} and floor.hears(phone) == {caller}
    assert floor.agent("li") == "connected"
    # And when the caller hangs up, the agent's phone is hung up and wrap-up begins
    floor.media.hang_up(caller)
    floor.run(0.1)
    assert floor.media.legs() == frozenset() and floor.agent("li") == "wrap_up"
    assert floor.told() == ["contact_queued c1", "offer_accepted c1", "contact_ended c1"]


def test_the_answer_of_the_phone_accepts_and_connects_in_one_event():
    floor = Floor()
    floor.ready("li")
    floor.call()
    floor.run(3.0)
    phone = floor.phone("li")
    effects = floor.apply("leg_answered", leg=phone, node=NODE)
    assert [e["effect"] for e in effects] == ["offer_accepted", "leg_stop", "leg_connect", "leg_connect"]


def test_the_caller_who_gives_up_while_waiting_has_left():
    floor = Floor()
    caller = floor.call()
    floor.run(5.0)
    floor.media.hang_up(caller)
    floor.run(0.0)
    assert floor.told() == ["contact_queued c1", "contact_left c1"]
    assert not floor.board.state.legs and not floor.board.state.calls


def test_the_caller_who_hangs_up_during_the_greeting_was_never_in_the_queue():
    floor = Floor()
    floor.call(FarEnd(hangs_up=1.0))
    floor.run(5.0)
    assert floor.told() == [] and not floor.board.state.legs


def test_the_caller_who_hangs_up_while_the_phone_rings_stops_the_ringing():
    floor = Floor(phones={"sip:li": NEVER})
    floor.ready("li")
    caller = floor.call()
    floor.run(5.0)
    floor.media.hang_up(caller)
    floor.run(0.0)
    assert floor.told()[-1] == "contact_left c1"
    assert not floor.media.legs() and floor.agent("li") == "ready"


@pytest.mark.parametrize("cause", [Cause.REJECTED, Cause.BUSY])
def test_a_phone_that_declines_passes_the_caller_on_to_the_next_agent(cause):
    floor = Floor(phones={"sip:li": FarEnd(picks_up=0.5, refuses=cause)})
    floor.ready("li", "wang")
    caller = floor.call()
    floor.run(6.0)
    assert floor.told() == ["contact_queued c1", "offer_declined c1", "offer_accepted c1"]
    assert floor.hears(caller) == {floor.phone("wang")}


def test_a_phone_that_does_not_answer_lets_the_offer_expire_and_stops_ringing():
    floor = Floor(phones={"sip:li": NEVER})
    floor.ready("li")
    caller = floor.call()
    floor.run(3.0 + 19.0)
    assert floor.agent("li") == "offered" and len(floor.media.legs()) == 2
    floor.run(2.0)
    assert floor.agent("li") == "ready" and floor.media.legs() == {caller}
    assert "offer_expired" in [e["effect"] for e in floor.effects]
    assert floor.hears(caller) == {"music"}


def test_without_an_offer_timeout_the_phone_rings_as_long_as_the_file_says():
    floor = Floor(CENTER.replace("offer_timeout = 20", "offer_timeout = 0"), phones={"sip:li": NEVER})
    floor.ready("li")
    floor.call()
    floor.run(3.0 + 29.0)
    assert floor.agent("li") == "offered"
    floor.run(2.0)
    assert floor.told()[-1] == "offer_declined c1"


def test_an_agent_who_goes_away_during_the_ring_is_not_rung_any_more():
    floor = Floor(phones={"sip:li": NEVER})
    floor.ready("li", "wang")
    caller = floor.call()
    floor.run(3.5)
    floor.apply("agent_away", agent="li")
    floor.run(2.0)
    assert floor.hears(caller) == {floor.phone("wang")} and len(floor.media.legs()) == 2


def test_an_answer_that_crosses_the_withdrawal_connects_nobody():
    floor = Floor(phones={"sip:li": NEVER})
    floor.ready("li")
    caller = floor.call()
    floor.run(3.5)
    phone = floor.phone("li")
    floor.media.pick_up(phone)  # its report is on its way when the agent goes away
    floor.apply("agent_away", agent="li")
    floor.run(1.0)
    assert isinstance(floor.refused[0], StaleEventError)
    assert floor.hears(caller) == {"music"} and floor.media.legs() == {caller}


def test_two_callers_and_one_agent_are_served_one_after_the_other():
    floor = Floor()
    floor.ready("li")
    first, second = floor.call(), floor.call()
    floor.run(5.0)
    assert floor.hears(first) == {floor.phone("li")} and floor.hears(second) == {"music"}
    floor.media.hang_up(first)
    floor.run(7.0)  # wrap-up and the phone's second
    assert floor.hears(second) == {floor.phone("li")}


def test_the_agent_who_hangs_up_ends_the_call():
    floor = Floor(phones={"sip:li": FarEnd(picks_up=1.0, hangs_up=30.0)})
    floor.ready("li")
    floor.call()
    floor.run(40.0)
    assert floor.told()[-1] == "contact_ended c1" and not floor.board.state.legs


def test_max_wait_ends_with_an_announcement():
    floor = Floor(CENTER.replace("wrap_up = 5", "wrap_up = 5\nmax_wait = 30"))
    caller = floor.call()
    floor.run(34.0)
    assert floor.hears(caller) == {"sorry"}
    floor.run(3.0)
    assert not floor.board.state.legs and floor.board.acd.counts()["ended"] == 1


def test_overflow_keeps_the_caller_and_plays_the_music_of_the_other_queue():
    center = CENTER.replace("wrap_up = 5", 'wrap_up = 5\nmax_wait = 30\noverflow = "general"') + "[queues.general]\n"
    calls = CALLS + '[queues.general]\nmusic = ["hold"]\n'
    floor = Floor(center, calls)
    caller = floor.call()
    floor.run(34.0)
    assert floor.hears(caller) == {"hold"}


def test_a_full_queue_says_so():
    floor = Floor(CENTER.replace("wrap_up = 5", "max_waiting = 1"))
    floor.call()
    second = floor.call()
    floor.run(3.5)
    assert floor.hears(second) == {"busy"}
    floor.run(3.0)
    assert len(floor.board.state.calls) == 1


def test_a_number_that_nobody_configured_is_invalid():
    floor = Floor()
    floor.call(to="4999")
    assert [e["cause"] for e in floor.effects if e["effect"] == "leg_hang_up"] == ["invalid"]
    assert not floor.board.state.legs


def test_more_calls_than_allowed_are_congestion():
    floor = Floor(calls=CALLS.replace("[calls]", "[calls]\nmax_calls = 1"))
    floor.call()
    floor.call()
    assert [e["cause"] for e in floor.effects if e["effect"] == "leg_hang_up"] == ["congestion"]


def test_a_prompt_that_is_not_there_keeps_nobody_waiting():
    floor = Floor(calls=CALLS.replace('greeting = ["welcome"]', 'greeting = ["lost"]'))
    caller = floor.call()
    assert floor.hears(caller) == {"music"}


def test_ring_all_rings_every_phone_and_the_first_wins():
    center = CENTER.replace("wrap_up = 5", 'strategy = "ring_all"')
    floor = Floor(center, phones={"sip:li": FarEnd(picks_up=5.0), "sip:wang": FarEnd(picks_up=2.0)})
    floor.ready("li", "wang")
    caller = floor.call()
    floor.run(4.0)
    assert len(floor.media.legs()) == 3
    floor.run(2.0)
    assert floor.hears(caller) == {floor.phone("wang")} and len(floor.media.legs()) == 2
    assert floor.agent("li") == "ready"


def test_an_agent_without_a_phone_gets_no_calls():
    floor = Floor(calls=CALLS.replace('[phones.li]\nto = "sip:li"\n', ""))
    floor.ready("li", "wang")
    caller = floor.call()
    floor.run(6.0)
    assert floor.told()[1] == "offer_declined c1" and floor.hears(caller) == {floor.phone("wang")}


# ---- nailed-up agents

NAILED = CALLS.replace('to = "sip:li"', 'to = "sip:li"\nnailed_up = true')


def test_a_nailed_up_agent_has_one_leg_for_the_shift_and_answers_at_once():
    floor = Floor(calls=NAILED)
    floor.ready("li")
    floor.run(2.0)
    leg = floor.phone("li")
    for _ in range(2):
        caller = floor.call()
        floor.run(3.0)
        assert floor.hears(caller) == {leg} and floor.hears(leg) == {caller}
        floor.media.hang_up(caller)
        floor.run(6.0)
        assert floor.hears(leg) == set() and floor.phone("li") == leg
    floor.apply("agent_offline", agent="li")
    floor.run(0.0)
    assert not floor.media.legs()


def test_a_node_that_drains_takes_no_call_and_lets_go_of_phones_at_rest_while_conversations_go_on():
    floor = Floor(calls=NAILED)
    floor.ready("li")
    floor.run(2.0)
    first = floor.call()
    floor.run(4.0)
    assert floor.hears(first) == {floor.phone("li")}
    # When the node is to drain
    floor.apply("node_draining", node=NODE, on=True)
    floor.call()
    floor.run(1.0)
    # Then who calls is refused, the conversation goes on, and after it the agent's leg is not kept
    assert floor.hears(first) == {floor.phone("li")} and floor.media.legs() == {first, floor.phone("li")}
    floor.media.hang_up(first)
    floor.run(1.0)
    assert not floor.media.legs()
    # And once it takes calls again, agents who are ready come up again with the next call
    floor.apply("node_draining", node=NODE, on=False)
    last = floor.call()
    floor.run(12.0)
    assert floor.hears(last) == {floor.phone("li")}


def test_a_node_that_drains_lets_go_of_the_phone_of_an_agent_who_is_gone_from_the_center():
    floor = Floor(calls=NAILED)
    floor.ready("li")
    floor.run(2.0)
    floor.board.with_center(parse_center(CENTER.replace("[agents.li]\n", "")), floor.board.now)
    floor.apply("node_draining", node=NODE, on=True)
    floor.run(1.0)
    assert not floor.media.legs()


def test_a_contact_that_ends_at_the_desk_leaves_the_nailed_up_leg():
    floor = Floor(calls=NAILED)
    floor.ready("li")
    floor.call()
    floor.run(6.0)
    floor.apply("contact_ended", contact="c1")
    floor.run(1.0)
    assert floor.media.legs() == {floor.phone("li")}


def test_a_nailed_up_leg_that_is_hung_up_ends_the_conversation_and_is_dialed_for_the_next():
    floor = Floor(calls=NAILED)
    floor.ready("li")
    floor.call()
    floor.run(6.0)
    floor.media.hang_up(floor.phone("li"))
    floor.run(6.0)
    assert floor.told()[-1] == "contact_ended c1" and not floor.media.legs()
    caller = floor.call()
    floor.run(6.0)
    assert floor.hears(caller) == {floor.phone("li")}


def test_an_agent_who_logs_out_in_a_conversation_is_hung_up_after_it():
    floor = Floor(calls=NAILED)
    floor.ready("li")
    caller = floor.call()
    floor.run(6.0)
    floor.apply("agent_offline", agent="li")
    assert floor.hears(caller) == {floor.phone("li")}
    floor.media.hang_up(caller)
    floor.run(1.0)
    assert not floor.media.legs()


# ---- routing from outside

def test_a_call_is_not_accepted_by_a_click():
    floor = Floor(phones={"sip:li": NEVER})
    floor.ready("li")
    floor.call()
    floor.run(4.0)
    with pytest.raises(EventError, match="accepted by answering the phone"):
        floor.apply("offer_accepted", contact="c1", agent="li")


def test_a_call_can_be_declined_by_a_click():
    floor = Floor(phones={"sip:li": NEVER})
    floor.ready("li")
    caller = floor.call()
    floor.run(4.0)
    floor.apply("offer_declined", contact="c1", agent="li")
    floor.run(0.0)
    assert floor.media.legs() == {caller}


@pytest.mark.parametrize("seconds", [4.0, 10.0])
def test_a_call_can_be_ended_by_a_click(seconds):
    floor = Floor(phones={"sip:li": FarEnd(picks_up=3.0)})
    floor.ready("li")
    floor.call()
    floor.run(seconds)
    floor.apply("contact_left" if seconds < 6.0 else "contact_ended", contact="c1")
    floor.run(0.0)
    assert not floor.media.legs() and not floor.board.state.calls


def test_contacts_that_are_no_calls_go_their_way():
    floor = Floor()
    floor.ready("li")
    effects = floor.apply("contact_queued", contact="chat", queue="billing")
    assert [e["effect"] for e in effects] == ["offer"]
    floor.apply("offer_accepted", contact="chat", agent="li")
    floor.apply("contact_ended", contact="chat")


# ---- nodes and reports that don't fit

def test_reports_that_come_twice_or_too_late_change_nothing():
    floor = Floor()
    floor.ready("li")
    floor.call()
    floor.run(6.0)
    before = floor.board.state.record()
    for kind, fields, error in (
        ("leg_incoming", {"leg": "c1", "to": "4001"}, DuplicateError),
        ("leg_answered", {"leg": "c1"}, StaleEventError),
        ("leg_ended", {"leg": "c9", "cause": "normal"}, StaleEventError),
        ("leg_answered", {"leg": "c9"}, StaleEventError),
    ):
        with pytest.raises(error):
            floor.apply(kind, node=NODE, **fields)
    assert floor.board.state.record() == before


def test_a_node_speaks_for_its_own_legs_only():
    floor = Floor()
    floor.call()
    floor.apply("node_attached", node="n2", capacity=10, legs=[])
    with pytest.raises(StaleEventError, match="has no leg"):
        floor.apply("leg_ended", leg="c1", node="n2", cause="normal")
    with pytest.raises(UnknownNameError, match="not attached"):
        floor.apply("leg_incoming", leg="x", node="n3", to="4001")


def test_a_lost_node_ends_all_its_legs_and_contacts():
    floor = Floor()
    floor.ready("li")
    floor.call()
    floor.call()
    floor.run(6.0)
    floor.apply("node_lost", node=NODE)
    assert not floor.board.state.legs and not floor.board.state.calls
    assert floor.board.acd.counts() | {"entered": 0} == {"entered": 0, "waiting": 0, "offered": 0, "connected": 0, "ended": 2}


def test_nobody_is_dialed_on_a_node_that_is_lost():
    # Given a nailed-up leg that is older than its caller, and still rings
    floor = Floor(calls=NAILED, phones={"sip:li": NEVER})
    floor.ready("li", "wang")
    floor.call()
    floor.run(4.0)
    assert floor.agent("li") == "offered"
    # When the node is lost
    effects = floor.apply("node_lost", node=NODE)
    # Then the caller is gone, too, before the next agent is rung
    assert not [effect for effect in effects if effect["effect"] == "leg_dial"]
    assert not floor.board.state.legs


def test_nodes_with_a_new_name_each_time_are_taken_for_ever(monkeypatch):
    monkeypatch.setattr("cordboard.calls.reports.NODES_MAX", 3)
    floor = Floor()
    for number in range(10):
        floor.apply("node_attached", node=f"pod-{number}", capacity=10, legs=[])
        floor.apply("node_lost", node=f"pod-{number}")
    assert len(floor.board.state.nodes) == 3 and NODE in floor.board.state.nodes
    # but no more than so many at once
    for name in ("a", "b"):
        floor.apply("node_attached", node=name, capacity=10, legs=[])
    with pytest.raises(LimitError):
        floor.apply("node_attached", node="c", capacity=10, legs=[])


def test_a_node_that_comes_back_is_told_how_things_are():
    # Given a conversation, a caller who waits, and one whom only the node knows
    floor = Floor()
    floor.ready("li")
    talking, waiting = floor.call(), floor.call()
    floor.run(6.0)
    floor.media.call("stray", "4001", FarEnd())
    floor.media.reports(0.0)
    # When the node comes back and one of its legs is gone
    floor.media.hang_up(waiting)
    floor.media.reports(0.0)
    floor.apply("node_attached", node=NODE, capacity=1000, legs=sorted(floor.media.legs()))
    floor.run(0.0)
    # Then both sides are the same
    assert floor.media.legs() == set(floor.board.state.legs) == {talking, floor.phone("li")}
    assert floor.hears(talking) == {floor.phone("li")}
    assert floor.told()[-1] == "contact_left c2"


def test_commands_that_were_lost_are_said_again():
    floor = Floor()
    floor.ready("li")
    floor.call()
    floor.call()
    floor.run(6.0)
    # Given an engine that went away before its last effects reached the node
    commands, floor.media.send = floor.media.send, lambda commands: None
    floor.apply("call_held", contact="c1")
    floor.apply("contact_left", contact="c2")
    floor.ready("wang")
    caller = floor.call()
    floor.media.send = commands
    floor.run(0.0)
    assert floor.hears("c1") == {floor.phone("li")}
    # When the node attaches again
    floor.apply("node_attached", node=NODE, capacity=1000, legs=sorted(floor.media.legs()))
    floor.run(6.0)
    # Then what was said is done
    assert floor.hears("c1") == {"hold"} and floor.hears(caller) == {floor.phone("wang")}
    assert floor.media.legs() == set(floor.board.state.legs)


def test_a_replay_of_the_journal_gives_the_same_effects():
    floor = Floor(CENTER.replace("wrap_up = 5", "wrap_up = 5\nmax_wait = 30"), phones={"sip:li": NEVER})
    floor.ready("li", "wang")
    for _ in range(5):
        floor.call(FarEnd(hangs_up=9.0))
        floor.run(4.0)
    floor.run(100.0)
    again = Switchboard(Acd(floor.center), Calls())
    effects = []
    for event in floor.journal:
        try:
            effects += again.apply(event)
        except EventError as error:
            effects += error.effects
    assert effects == floor.effects and again.state == floor.board.state


def test_every_leg_that_ended_was_told_once():
    floor = Floor()
    floor.ready("li")
    for _ in range(3):
        floor.call(FarEnd(hangs_up=5.0))
    floor.run(60.0)
    ended = [event["leg"] for event in floor.journal if event["event"] == "leg_ended"]
    assert sorted(ended) == sorted(set(ended)) and len(ended) == floor.board.state.ended
    assert not [report for report in floor.media.reports(0.0) if isinstance(report, Ended)]
