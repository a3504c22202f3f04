"""Voice bots in routing: on duty by themselves, offered contacts like agents, handing over, and failing without harm."""

from __future__ import annotations

import json

import pytest

from cordboard import Acd
from cordboard.calls.config import Calls, calls_record, parse_calls, record_calls
from cordboard.calls.state import State
from cordboard.calls.switchboard import Switchboard
from cordboard.calls.translate import commands_of
from cordboard.center import parse_center
from cordboard.errors import CallsError
from cordboard.media.backend import Cause, Dial, HandedOver
from cordboard.media.simulated import FarEnd
from tests.floor import NODE, Floor

CENTER = """
[queues.billing]
offer_timeout = 20
strategy = "longest_idle"
[queues.people]
offer_timeout = 20
[agents.ada]
queues = { billing = 1 }
capacity = { voice = 2 }
wrap_up = 0
[agents.li]
queues = { billing = 2, people = 1 }
wrap_up = 0
"""
CALLS = """
[numbers.4001]
queue = "billing"
[queues.billing]
music = ["music"]
[queues.people]
music = ["music"]
[phones.li]
to = "sip:li"
[bots.ada]
to = "wss://bots.example/ada"
then = "people"
rest = 30
parameters = { language = "zh" }
"""
ADA = "wss://bots.example/ada"
TALKS = FarEnd(rings=None, picks_up=0.2)


def floor(ada: FarEnd = TALKS, calls: str = CALLS, center: str = CENTER) -> Floor:
    return Floor(center, calls, {ADA: ada, "sip:li": FarEnd(rings=0.1, picks_up=1.0)})


def test_a_bot_is_on_duty_while_there_is_a_media_node_and_takes_as_many_calls_as_it_has_capacity():
    made = floor()
    assert made.agent("ada") == "ready"
    made.ready("li")
    # When three call, two get the bot, which is first in order, and the third a person
    callers = [made.call(caller=f"13{i}") for i in range(3)]
    made.run(5.0)
    talking = [made.board.state.calls[name].agent for name in callers]
    assert talking == ["ada", "ada", "li"]
    [first] = [leg for leg in made.media.legs() if leg not in callers and callers[0] in made.media.hears(leg)]
    assert made.hears(callers[0]) == {first}
    # And the node is lost
    made.apply("node_lost", node=NODE)
    assert made.agent("ada") == "offline"


def test_a_bot_is_told_of_the_call_what_it_needs_and_its_address_is_not_in_the_journal():
    made = floor()
    leg = made.call(caller="138")
    [effect] = [one for one in made.effects if one["effect"] == "leg_dial"]
    assert effect["headers"] == [["contact", leg], ["queue", "billing"], ["number", "4001"]]
    assert ADA not in json.dumps([made.journal, made.effects])
    [dial] = commands_of([effect], NODE, made.calls)
    assert isinstance(dial, Dial) and dial.to == ADA and not dial.trunk and dial.caller == "138"
    assert dial.headers == (("language", "zh"), ("contact", leg), ("queue", "billing"), ("number", "4001"))


def test_a_bot_is_told_the_language_that_the_caller_has_chosen():
    flow = 'start = "choose"\n[languages.en]\n[languages.zh]\n[steps.choose]\nlanguage = "en"\nnext = "wait"\n[steps.wait]\nqueue = "billing"\n'
    made = Floor(CENTER, CALLS.replace('queue = "billing"', 'flow = "flow.toml"', 1), {ADA: TALKS}, {"flow.toml": flow})
    made.call()
    [effect] = [one for one in made.effects if one["effect"] == "leg_dial"]
    [dial] = commands_of([effect], NODE, made.calls)
    assert [text for name, text in dial.headers if name == "language"] == ["zh", "en"]  # the last one holds


def test_a_bot_hands_over_to_a_queue_and_the_next_agent_has_its_transcript():
    made = floor()
    made.ready("li")
    caller = made.call(FarEnd())
    made.run(1.0)
    [ada] = [leg for leg in made.media.legs() if leg != caller]
    transcript = (("summary", "wants a refund"), ("caller", "my bill is wrong"))
    made.media.hand_over(ada, HandedOver(ada, "138", to_queue="people", transcript=transcript))
    made.run(5.0)
    call = made.board.state.calls[caller]
    assert (call.agent, call.queue, call.contact) == ("li", "people", f"{caller}~2")
    assert call.transcript == [list(line) for line in transcript]
    assert made.agent("ada") == "ready" and ada not in made.media.legs()


@pytest.mark.parametrize(("to", "queue"), [({}, "people"), ({"to_queue": "nowhere"}, "people"), ({"to_agent": "li"}, "billing"), ({"to_agent": "eve"}, "people")])
def test_a_bot_that_names_nobody_or_nonsense_hands_over_to_the_queue_of_its_settings(to, queue):
    made = floor()
    made.ready("li")
    caller = made.call()
    made.run(1.0)
    [ada] = [leg for leg in made.media.legs() if leg != caller]
    made.media.hand_over(ada, HandedOver(ada, **to))
    made.run(5.0)
    call = made.board.state.calls[caller]
    assert (call.agent, call.queue) == ("li", queue)


def test_a_bot_that_does_not_take_calls_rests_and_the_caller_gets_a_person():
    made = floor(FarEnd(picks_up=0.1, refuses=Cause.UNREACHABLE))
    caller = made.call()
    made.run(1.0)
    # It failed once, and is offered nothing
    declined = [one for one in made.effects if one["effect"] == "offer_declined"]
    assert len(declined) == 1 and made.agent("ada") == "offline"
    # Until it has rested: then those who come are offered to it again
    made.run(31.0)
    assert made.agent("ada") == "ready"
    made.call()
    made.run(1.0)
    assert len([one for one in made.effects if one["effect"] == "offer_declined"]) == 2
    made.ready("li")
    made.run(5.0)
    assert made.board.state.calls[caller].agent == "li"


@pytest.mark.parametrize("far", [FarEnd(picks_up=0.2, vanishes=5.0), TALKS])
def test_whom_a_bot_fails_in_conversation_waits_for_people(far):
    made = floor(far)
    caller = made.call()
    made.run(3.0)
    [ada] = [leg for leg in made.media.legs() if leg != caller]
    if far is TALKS:
        made.media.hand_over(ada, HandedOver(ada, why="the bot has closed the line with 1011"))
    made.run(40.0)
    call = made.board.state.calls[caller]
    assert call.queue == "people" and call.stage == "waiting"
    assert "music" in made.hears(caller)
    made.ready("li")
    made.run(5.0)
    assert made.board.state.calls[caller].agent == "li"


def test_a_bot_that_says_goodbye_ends_the_call_as_an_agent_who_hangs_up():
    made = floor(FarEnd(rings=None, picks_up=0.2, hangs_up=3.0))
    made.call()
    made.run(5.0)
    assert not made.media.legs() and made.agent("ada") == "ready"


def test_people_take_a_bot_out_and_it_stays_out():
    made = floor(FarEnd(picks_up=0.1, refuses=Cause.UNREACHABLE))
    made.call()
    made.run(1.0)
    made.apply("agent_away", agent="ada")
    made.run(60.0)
    assert made.agent("ada") == "away"
    made.apply("node_attached", node="n2", capacity=10, legs=[])
    assert made.agent("ada") == "away"
    made.ready("ada")
    assert made.board.state.resting == {} and made.agent("ada") != "away"


def test_a_bot_that_is_no_bot_any_more_is_off_duty():
    made = floor()
    without = CALLS[: CALLS.index("[bots.ada]")]
    made.apply("calls_changed", calls=calls_record(parse_calls(without, made.center)))
    assert made.agent("ada") == "offline"
    made.apply("calls_changed", calls=calls_record(made.calls))
    assert made.agent("ada") == "ready"


def test_what_a_bot_costs_counts_where_the_strategy_looks_at_value():
    center = CENTER.replace('"longest_idle"', '"weighted"\nweights = { value = 1, idle = 0.001 }').replace("queues = { billing = 1 }", "queues = ['billing']").replace("queues = { billing = 2, people = 1 }", "queues = ['billing', 'people']")
    for cost, agent in (("0", "ada"), ("0.5", "li")):
        made = floor(calls=CALLS.replace("rest = 30", f"rest = 30\ncost = {cost}"), center=center)
        made.run(10.0)
        made.ready("li")
        caller = made.call()
        made.run(5.0)
        assert made.board.state.calls[caller].agent == agent


def test_a_switchboard_that_is_loaded_brings_a_resting_bot_back_and_keeps_the_transcript():
    made = floor()
    caller = made.call()
    made.run(1.0)
    [ada] = [leg for leg in made.media.legs() if leg != caller]
    made.media.hand_over(ada, HandedOver(ada, why="dead", transcript=(("bot", "hello"),)))
    made.run(1.0)
    state = State.of(json.loads(json.dumps(made.board.state.record())))
    assert state.resting == made.board.state.resting != {}
    assert state.calls[caller].transcript == [["bot", "hello"]]
    again = Switchboard(Acd(made.center), Calls())
    for event in made.journal:
        again.apply(event)
    assert again.state.record() == made.board.state.record()
    assert record_calls(json.loads(json.dumps(calls_record(made.calls)))).phones["ada"].then == "people"


@pytest.mark.parametrize(
    ("was", "now", "what"),
    [
        ('to = "wss://bots.example/ada"\n', "", '"to" is missing'),
        ("wss://bots.example/ada", "https://bots.example/ada", "no address of a bot"),
        ('then = "people"\n', "", '"then" is missing'),
        ('then = "people"', 'then = "persons"', 'no queue for voice "persons"'),
        ('then = "people"', 'then = "billing"', 'serves "billing" itself'),
        ("[bots.ada]", "[bots.eve]", 'no agent "eve"'),
        ("[phones.li]", '[phones.ada]\nto = "sip:ada"\n[phones.li]', "has a phone, too"),
        ('language = "zh"', "language = 7", "7"),
    ],
)
def test_what_is_wrong_with_a_bot_is_said_when_the_file_is_read(was, now, what):
    with pytest.raises(CallsError, match=what):
        parse_calls(CALLS.replace(was, now), parse_center(CENTER))
