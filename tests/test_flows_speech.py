"""What callers say to a menu leads them on as keys do."""

from __future__ import annotations

import pytest

from cordboard import Acd
from cordboard.calls.config import Calls
from cordboard.calls.flow_check import check_flow
from cordboard.calls.flow_hearing import SPEAKING_S, match, plain
from cordboard.calls.flow_reader import parse_flow
from cordboard.calls.flow_test import run_tests
from cordboard.calls.state import State
from cordboard.calls.switchboard import Switchboard
from cordboard.errors import CallsError, StaleEventError
from cordboard.media.backend import Recognize, StopRecognizing
from cordboard.media.simulated import FarEnd
from tests.floor import NODE
from tests.test_flows import flow_floor, notes, path, queues

SPOKEN = """
[languages.en]
[steps.main]
menu = ["welcome"]
keys = { 1 = "billing", 2 = "sales" }
words = { billing = "1", "my bill" = "1", sales = "2", "账单" = "1" }
invalid = ["sorry"]
otherwise = "sales"
[steps.billing]
queue = "billing"
[steps.sales]
queue = "sales"
"""


def test_a_word_leads_to_its_queue_and_stops_the_prompt():
    # Given a caller who hears a menu
    floor = flow_floor(SPOKEN)
    floor.ready("li")
    caller = floor.call(FarEnd(speaks=((0.5, "Billing!"),)))
    [asked] = notes(floor, "leg_recognize")
    assert (asked["leg"], asked["language"]) == (caller, "en") and asked["words"] == ["billing", "my bill", "sales", "账单"]
    # When the caller begins to speak, the prompt stops; when the word is said, it leads on
    floor.run(0.6)
    assert floor.hears(caller) == set() and path(floor) == ["main"]
    floor.run(1.0)
    assert queues(floor) == ["billing"] and path(floor) == ["main", "billing"]
    # And nobody listens any more
    assert [effect["leg"] for effect in notes(floor, "leg_stop_recognizing")] == [caller]
    floor.media.speak(caller, "sales")
    floor.run(1.0)
    assert queues(floor) == ["billing"]


def test_without_barge_in_the_caller_is_listened_to_when_the_prompt_is_over():
    floor = flow_floor(SPOKEN.replace("invalid =", "barge_in = false\ninvalid ="))
    caller = floor.call(FarEnd(speaks=((0.5, "sales"), (3.0, "billing"))))
    assert not notes(floor, "leg_recognize") and floor.hears(caller) == {"en/welcome"}
    floor.run(1.9)
    assert floor.hears(caller) == {"en/welcome"}
    floor.run(2.2)
    assert queues(floor) == ["billing"]


def test_what_is_none_of_the_words_is_asked_again_and_counts_as_a_try():
    floor = flow_floor(SPOKEN)
    caller = floor.call()
    for _ in range(2):
        floor.media.speak(caller, "the weather")
        floor.run(0.0)
        assert floor.hears(caller) == {"en/sorry", "en/welcome"}
    floor.media.speak(caller, "nothing")
    floor.run(0.0)
    assert queues(floor) == ["sales"]
    assert len({effect["token"] for effect in notes(floor, "leg_recognize")}) == 3


def recognized(floor, text: str, confidence: float, final: bool = True, token: str | None = None) -> None:
    asked = notes(floor, "leg_recognize")[-1]
    fields = {"node": NODE, "leg": asked["leg"], "token": asked["token"] if token is None else token}
    floor.apply("leg_recognized", **fields, text=text, confidence=confidence, final=final)


def test_what_the_recognizer_is_not_sure_of_counts_as_none():
    floor = flow_floor(SPOKEN.replace("invalid =", "sure = 0.7\ninvalid ="))
    caller = floor.call()
    recognized(floor, "billing", 0.69)
    assert queues(floor) == [] and floor.hears(caller) == {"en/sorry", "en/welcome"}
    recognized(floor, "billing", 0.7)
    assert queues(floor) == ["billing"]


def test_whoever_begins_to_speak_is_waited_for_and_not_for_ever():
    floor = flow_floor(SPOKEN)
    caller = floor.call()
    recognized(floor, "", 0.0, final=False)
    floor.run(SPEAKING_S - 0.1)
    assert floor.hears(caller) == set()
    floor.run(0.2)
    assert floor.hears(caller) == {"en/welcome"}


def test_what_comes_too_late_is_refused():
    floor = flow_floor(SPOKEN)
    floor.call()
    recognized(floor, "nothing", 1.0)
    with pytest.raises(StaleEventError):
        recognized(floor, "billing", 1.0, token="say1")
    recognized(floor, "billing", 1.0)
    with pytest.raises(StaleEventError):
        recognized(floor, "billing", 1.0)
    assert queues(floor) == ["billing"]


def test_keys_do_the_same_as_ever_where_nobody_recognizes():
    floor = flow_floor(SPOKEN)
    caller = floor.call()
    floor.apply("leg_refused", node=NODE, command="Recognize", name=caller, why='no recognizer hears "en"')
    floor.media.press(caller, "2")
    floor.run(0.0)
    assert queues(floor) == ["sales"]


def test_other_programs_may_say_what_was_heard_too():
    floor = flow_floor(SPOKEN)
    floor.call()
    floor.apply("call_heard", call="c1", text="I'd like to pay my bill, please")
    assert queues(floor) == ["billing"]


def test_a_node_that_comes_back_is_told_again_whom_to_listen_to():
    floor = flow_floor(SPOKEN)
    caller = floor.call()
    first = notes(floor, "leg_recognize")
    floor.apply("node_attached", node=NODE, capacity=100, legs=[caller])
    assert notes(floor, "leg_recognize")[1:] == [first[0] | {"t": floor.board.now}]
    # And after a dump of the state nothing is said twice
    board = Switchboard(Acd(floor.center), Calls(), State.of(floor.board.state.record()))
    board.apply({"t": floor.board.now, "event": "calls_changed", "calls": floor.journal[0]["calls"]})
    effects = board.apply({"t": floor.board.now, "event": "leg_key", "node": NODE, "leg": caller, "key": "7"})
    assert [effect["effect"] for effect in effects if effect["effect"].startswith("leg_rec")] == ["leg_recognize"]


def test_the_simulated_node_hears_words_only_while_it_is_to():
    floor = flow_floor(SPOKEN)
    caller = floor.call()
    floor.media.send([StopRecognizing(caller)])
    floor.media.speak(caller, "billing")
    assert floor.media.reports(0.0) == []
    floor.media.send([Recognize(caller, "a", "en"), Recognize("nobody", "a", "en")])
    assert [report.why for report in floor.media.reports(0.0)] == ["there is no such leg"]


# ---- words in texts


WORDS = {"billing": "1", "my bill": "1", "support": "2", "technical support": "3", "账单": "1", "报修": "4"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Billing.", "1"),
        ("i have a question about my bill", "1"),
        ("technical support", "3"),
        ("TECHNICAL  SUPPORT please", "3"),
        ("support", "2"),
        ("billing and my bill", "1"),
        ("billing or support", ""),
        ("billings", ""),
        ("查 账单", "1"),
        ("我要查一下账单。", "1"),
        ("我 要 报 修", "4"),
        ("报修账单", ""),
        ("", ""),
        ("...", ""),
    ],
)
def test_the_longest_word_in_a_text_counts_and_words_of_several_keys_do_not(text, key):
    assert match(WORDS, text) == key


def test_texts_are_compared_without_case_punctuation_and_spaces_between_chinese():
    assert plain(" Hello,  WORLD! ") == "hello world" and plain("账 单 abc") == "账单abc" and plain("don't") == "don't"


# ---- in the file


def test_a_test_of_a_flow_may_say_words():
    flow = parse_flow(SPOKEN + '[[tests]]\nkeys = ["say nonsense", "say my bill"]\nqueue = "billing"\npath = ["main", "billing"]\n')
    [outcome] = run_tests(flow)
    assert not outcome.wrong and check_flow(flow, SPOKEN, "f")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('billing = "1"', 'billing = "3"', "there is no key"),
        ('invalid = ["sorry"]', "sure = 2", "2 is out of range"),
        ('invalid = ["sorry"]', "barge_in = 1", "barge_in"),
    ],
)
def test_what_can_not_be_is_told(old, new, what):
    with pytest.raises(CallsError, match=what):
        parse_flow(SPOKEN.replace(old, new))
