"""Which conversations are recorded, and what is heard before."""

from __future__ import annotations

import pytest

from cordboard.acd import Acd
from cordboard.calls.config import parse_calls
from cordboard.calls.state import Call, Stage
from cordboard.calls.switchboard import Switchboard
from cordboard.center import parse_center
from tests.floor import CALLS, CENTER, Floor

RECORDED = CALLS.replace("music = ", 'record = true\nconsent = "told"\nmusic = ')


def board(rule: str) -> Switchboard:
    center = parse_center(CENTER)
    return Switchboard(Acd(center), parse_calls(CALLS.replace("music = ", f"{rule}\nmusic = "), center))


def call(name: str, campaign: str = "") -> Call:
    return Call(name, "n1", Stage.WAITING, "4001", "", "billing", campaign=campaign)


def test_consent_is_heard_while_waiting_and_the_recording_begins_with_the_conversation():
    floor = Floor(calls=RECORDED.replace("record = true", "record = true\nkeep_days = 90"))
    caller = floor.call()
    floor.run(4.0)
    assert floor.hears(caller) == {"told"}
    floor.run(4.0)
    assert floor.hears(caller) == {"music"}
    floor.ready("li")
    floor.run(1.0)
    [record] = [effect for effect in floor.effects if effect["effect"] == "leg_record"]
    assert record["t"] == 9.0 and record["legs"] == [caller, floor.phone("li")]
    assert {key: record[key] for key in ("contact", "queue", "agent", "caller", "number", "keep_days")} == {
        "contact": "c1", "queue": "billing", "agent": "li", "caller": "138", "number": "4001", "keep_days": 90.0,
    }  # fmt: skip
    assert floor.hears(caller) == {floor.phone("li")}


def test_where_there_was_no_time_for_it_both_hear_it_before_they_hear_each_other():
    floor = Floor(calls=RECORDED)
    floor.ready("li")
    caller = floor.call()
    floor.run(5.0)  # a greeting of 3 s, a second of ringing, and one of the consent's 3
    assert floor.hears(caller) == floor.hears(floor.phone("li")) == {"told"} and not floor.media.tapes
    floor.run(2.0)
    assert floor.hears(caller) == {floor.phone("li")} and floor.hears(floor.phone("li")) == {caller}
    assert floor.media.tapes["r1"].since == 6.0


def test_whoever_was_told_once_is_not_told_again_after_a_transfer():
    floor = Floor(calls=RECORDED)
    caller = floor.call()
    floor.run(7.0)
    floor.ready("li", "wang")
    floor.run(2.0)
    agent = floor.board.state.calls[caller].agent
    floor.apply("call_transferred", contact="c1", to_queue="billing")
    floor.run(20.0)
    assert floor.board.state.calls[caller].agent and agent
    assert sum(effect["effect"] == "leg_play" and effect["prompts"] == ["told"] for effect in floor.effects) == 1
    assert len(floor.media.tapes) == 2


def test_what_nobody_could_be_told_is_not_recorded():
    floor = Floor(calls=RECORDED.replace('"told"', '"not-there"'))
    floor.ready("li")
    caller = floor.call()
    floor.run(9.0)
    assert floor.hears(caller) == {floor.phone("li")} and not floor.media.tapes


def test_while_the_caller_is_on_hold_the_agent_is_not_kept_from_asking_somebody():
    floor = Floor(calls=RECORDED)
    floor.ready("li", "wang")
    floor.call()
    floor.run(5.0)
    floor.apply("call_consulted", contact="c1", to_agent="wang" if floor.agent("li") != "ready" else "li")
    floor.run(1.5)
    asked, agent = floor.phone("wang"), floor.phone("li")
    assert agent in floor.hears(asked) and asked in floor.hears(agent)


def test_a_share_is_the_same_in_every_replay_and_about_as_large_as_asked():
    rule = board("record = 0.25").tapes
    chosen = [rule.wanted(call(f"n{i}")) for i in range(4000)]
    assert chosen == [rule.wanted(call(f"n{i}")) for i in range(4000)] and 900 < sum(chosen) < 1100


@pytest.mark.parametrize(
    ("only", "campaign", "recorded"), [("in", "", True), ("in", "spring", False), ("out", "", False), ("out", "spring", True)]
)
def test_a_rule_can_be_for_one_direction(only, campaign, recorded):
    assert board(f'record = true\nrecord_only = "{only}"').tapes.wanted(call("n1", campaign)) == recorded
