"""Flows: callers are led by keys, hours and answers, wait informed, are called back, leave messages, and give marks."""

from __future__ import annotations

import dataclasses
import datetime
import io
import json

import pytest

from cordboard import Acd
from cordboard.calls.config import Calls, calls_record, parse_calls
from cordboard.calls.flow import zone_of
from cordboard.calls.state import State
from cordboard.calls.switchboard import Switchboard
from cordboard.center import parse_center
from cordboard.errors import StaleEventError
from cordboard.explain import explain
from cordboard.kpi import QueueTallies, figures
from cordboard.media.backend import Cause
from cordboard.media.simulated import FarEnd
from cordboard.waits import WaitEstimate
from tests.floor import CALLS, CENTER, NODE, Floor
from tests.flow_text import EVERY_KIND

NUMBER = '[numbers.4001]\nqueue = "billing"\ngreeting = ["welcome"]\n'
MENU = """
[languages.en]
[steps.main]
menu = ["welcome"]
keys = { 1 = "billing", 2 = "sales" }
invalid = ["sorry"]
otherwise = "sales"
[steps.billing]
queue = "billing"
[steps.sales]
queue = "sales"
"""


def flow_floor(flow: str, center: str = "", calls: str = "", **more) -> Floor:
    """A floor whose number 4001 leads to this flow."""
    return Floor(
        CENTER + "[queues.sales]\n" + center,
        CALLS.replace(NUMBER, '[numbers.4001]\nflow = "main"\n') + '[queues.sales]\nmusic = ["music"]\n' + calls,
        flows={"main": flow},
        **more,
    )


def path(floor: Floor, call: str = "c1") -> list[str]:
    return [e["step"] for e in floor.effects if e["effect"] == "flow_step" and e["call"] == call]


def queues(floor: Floor) -> list[str]:
    return [e["queue"] for e in floor.effects if e["effect"] == "contact_queued"]


def test_a_key_leads_to_its_queue_and_stops_the_prompt():
    floor = flow_floor(MENU)
    floor.ready("li")
    caller = floor.call()
    assert floor.hears(caller) == {"en/welcome"}
    floor.media.press(caller, "1")
    floor.run(0.0)
    assert queues(floor) == ["billing"] and path(floor) == ["main", "billing"]
    floor.run(2.0)
    assert floor.hears(caller) == {floor.phone("li")}


def test_who_presses_nothing_hears_the_menu_again_and_then_goes_the_other_way():
    floor = flow_floor(MENU)
    caller = floor.call()
    floor.run(7.9)
    assert floor.hears(caller) == set()
    floor.run(0.2)
    assert floor.hears(caller) == {"en/welcome"}
    floor.run(15.0)
    assert queues(floor) == [] and floor.hears(caller) != {"music"}
    floor.run(1.0)
    assert queues(floor) == ["sales"] and floor.hears(caller) == {"music"}


def test_a_key_that_is_no_choice_is_told_and_counts_as_a_try():
    floor = flow_floor(MENU)
    caller = floor.call()
    for _ in range(2):
        floor.media.press(caller, "7")
        floor.run(0.0)
        assert floor.hears(caller) == {"en/sorry", "en/welcome"}
    floor.media.press(caller, "7")
    floor.run(0.0)
    assert queues(floor) == ["sales"]


def test_who_hangs_up_in_a_menu_is_over_and_the_step_is_told():
    floor = flow_floor(MENU)
    floor.call(FarEnd(hangs_up=1.0))
    floor.run(2.0)
    [ended] = [e for e in floor.effects if e["effect"] == "flow_ended"]
    assert (ended["step"], ended["why"]) == ("main", "hung_up") and not floor.board.state.calls


# ---- every kind of step


def every(center: str = "", calls: str = "", **more) -> Floor:
    """The flow that has them all."""
    return flow_floor(EVERY_KIND, "[queues.general]\n[queues.mails]\nchannel = 'email'\n" + center, calls, **more)


def press(floor: Floor, caller: str, keys: str) -> None:
    for key in keys:
        floor.media.press(caller, key)
        floor.run(0.0)


def notes(floor: Floor, kind: str) -> list[dict]:
    return [effect for effect in floor.effects if effect["effect"] == kind]


def at_menu(floor: Floor, far: FarEnd | None = None) -> str:
    """A caller who has heard the welcome and is asked for a key."""
    caller = floor.call(far)
    floor.run(3.5)
    return caller


def test_a_language_decides_what_is_said_and_who_may_answer():
    # Given agents who speak Chinese or not
    floor = every("[agents.zhao]\nskills = { zh = 3 }\n", '[phones.zhao]\nto = "sip:zhao"\n')
    floor.ready("li")
    first = at_menu(floor)
    press(floor, first, "9")
    assert floor.hears(first) == {"zh/welcome"}
    # When one caller stays with Chinese, and another chooses English
    floor.run(8.0 + 3.0)
    second = at_menu(floor)
    press(floor, second, "1")
    floor.run(2.0)
    # Then the one waits for who speaks it
    assert floor.hears(second) == {floor.phone("li")} and queues(floor) == ["billing", "billing"]
    floor.ready("zhao")
    floor.run(2.0)
    assert floor.hears(first) == {floor.phone("zhao")}


def test_what_a_flow_asks_for_comes_on_top_of_what_the_queue_requires():
    floor = every("")
    floor.center = parse_center(
        "[queues.billing]\nsteps = [{ for = 30, requires = { b = 3 } }, { for = 9, requires = {} }]\n"
        "[queues.sales]\n[queues.general]\n[queues.mails]\nchannel = 'email'\n[agents.li]\n[agents.wang]\nskills = { b = 3, zh = 1 }\n"
    )
    floor.apply("calls_changed", calls=calls_record(floor.calls))
    floor.board.with_center(floor.center, floor.board.now)
    caller = at_menu(floor)
    press(floor, caller, "99")
    [queued] = notes(floor, "contact_queued")
    assert queued["steps"] == [
        {"requires": {"b": 3, "zh": 1}, "for": 30.0},
        {"requires": {"zh": 1}, "for": 9.0},
        {"requires": {"zh": 1}},
    ]


def test_hours_are_those_of_the_center_and_a_replay_needs_no_time_zone_data():
    # Given Shanghai, where it is 00:00:30 at 16:00:30 UTC
    hours = "[hours.night]\nopen = ['mon-fri 00:00-00:01']\nholidays = [1970-01-02]\n"
    flow = hours + "[steps.a]\nhours = 'night'\nopen = 'b'\nclosed = 'c'\n[steps.b]\nqueue = 'billing'\n[steps.c]\nhang_up = []\n"
    floor = flow_floor(flow)
    shanghai = dataclasses.replace(floor.center, time_zone="Asia/Shanghai")
    calls = parse_calls('[numbers.4001]\nflow = "main"\n', shanghai, flows={"main": flow})
    floor.apply("calls_changed", calls=json.loads(json.dumps(calls_record(calls))))
    day = 86_400.0
    for at, goes_to in ((16 * 3600 + 30.0, "c"), (day + 16 * 3600 + 30.0, "c"), (4 * day + 16 * 3600 + 30.0, "b")):
        floor.run(at - floor.media.now)
        floor.call()
        floor.run(0.0)
        assert path(floor, f"c{floor.callers}") == ["a", goes_to], at


def test_clocks_change_at_the_second_at_which_they_do():
    zone = zone_of("Europe/Berlin")
    spring = datetime.datetime(2027, 3, 28, 1, tzinfo=datetime.UTC).timestamp()
    assert (spring, 7200.0) in zone and len(zone) == 201
    assert zone_of("Asia/Shanghai") == ((946684800.0, 28800.0),)


def test_secret_digits_are_counted_and_kept_nowhere():
    floor = every()
    caller = at_menu(floor)
    press(floor, caller, "4")
    assert notes(floor, "keys_hidden")[-1]["on"] is True
    press(floor, caller, "12#")
    assert notes(floor, "keys_hidden")[-1]["on"] is False
    [lookup] = notes(floor, "lookup")
    assert lookup["values"] == {"account": "??"} and lookup["caller"] == "138"
    assert floor.board.state.calls["c1"].flow.typed == ""


def test_an_answer_chooses_the_branch_and_brings_values():
    floor = every()
    caller = at_menu(floor)
    press(floor, caller, "2")
    [lookup] = notes(floor, "lookup")
    with pytest.raises(StaleEventError, match="the look-up is over"):
        floor.apply("call_looked_up", call="c1", token="99", answer="gold")
    floor.apply("call_looked_up", call="c1", token=lookup["token"], answer="gold", values={"balance": "20"})
    assert path(floor)[-1] == "billing" and floor.board.state.calls["c1"].flow.values == {"balance": "20"}
    with pytest.raises(StaleEventError, match="at no step of the kind lookup"):
        floor.apply("call_looked_up", call="c1", token=lookup["token"], answer="gold")


def test_nobody_waits_for_an_answer_that_does_not_come():
    floor = every()
    caller = at_menu(floor)
    press(floor, caller, "2")
    floor.run(2.9)
    assert path(floor)[-1] == "who"
    floor.run(0.2)
    assert path(floor)[-1] == "general"


def test_a_word_that_is_heard_stands_for_a_key():
    floor = every()
    at_menu(floor)
    floor.apply("call_heard", call="c1", text="Billing")
    assert path(floor)[-2:] == ["english", "billing"]


def test_a_voicemail_is_recorded_and_waits_for_somebody_like_an_e_mail():
    floor = every()
    caller = at_menu(floor)
    press(floor, caller, "5")
    floor.run(2.0)  # there is no prompt "lost": recording begins at once
    press(floor, caller, "#")
    [mail] = notes(floor, "voicemail")
    assert (mail["caller"], mail["language"], mail["seconds"]) == ("138", "zh", 2.0)
    assert notes(floor, "contact_queued")[-1]["queue"] == "mails"
    assert floor.hears(caller) == {"zh/sorry"} and mail["contact"] == "voicemail-r1"


def test_a_caller_who_hangs_up_has_left_the_message_that_was_said():
    floor = every()
    caller = at_menu(floor)
    press(floor, caller, "5")
    floor.run(7.0)
    floor.media.hang_up(caller)
    floor.run(0.0)
    [mail] = notes(floor, "voicemail")
    assert mail["seconds"] == 7.0 and not floor.board.state.calls and not floor.board.state.voicemails


def test_a_number_that_does_not_answer_leads_elsewhere():
    floor = every(phones={"139": FarEnd(picks_up=1.0, refuses=Cause.BUSY)})
    caller = at_menu(floor)
    press(floor, caller, "6")
    floor.run(1.5)
    assert path(floor)[-1] == "mail"
    again = every()
    caller = at_menu(again)
    press(again, caller, "6")
    again.run(1.5)
    assert len(again.hears(caller)) == 1 and path(again)[-1] == "outside"


def test_the_survey_comes_when_the_agent_has_hung_up_and_tells_whom_it_is_of():
    floor = every()
    floor.ready("li")
    caller = at_menu(floor)
    press(floor, caller, "1")
    floor.run(2.0)
    floor.media.hang_up(floor.phone("li"))
    floor.run(0.0)
    assert path(floor)[-1] == "score" and floor.hears(caller) == {"en/welcome"}
    press(floor, caller, "84")
    [rated] = notes(floor, "call_rated")
    assert (rated["score"], rated["scale"], rated["contact"], rated["agent"], rated["queue"]) == (4, 5, "c1", "li", "billing")
    floor.run(5.0)
    assert notes(floor, "flow_ended")[-1]["why"] == "completed" and not floor.board.state.calls
    # And it is in the key figures of the queue, with who was asked
    assert len(notes(floor, "rating_asked")) == 1
    tallies = QueueTallies({queue.name: 20.0 for queue in floor.center.queues})
    tallies.observe(None, floor.effects)
    tally = tallies.by_queue["billing"]
    assert (tally.asked, tally.rated, tally.satisfied) == (1, 1, 1)
    assert figures(tally, ("CSAT", "RATING_MEAN", "RATING_RESPONSE")) == {"CSAT": 1.0, "RATING_MEAN": 0.8, "RATING_RESPONSE": 1.0}


# ---- while they wait

WAITS = """
[languages.en]
[steps.billing]
queue = "billing"
announce = { first = 5, every = 10, position = true, wait = true, late = ["sorry"] }
callback = { key = "1", offer = ["busy"], accepted = ["welcome"], retries = 1, every = 20, within = 200 }
"""


def said(floor: Floor, leg: str) -> list[str]:
    """What was said to a caller, announcement after announcement."""
    return [
        " ".join(name.removeprefix("en/") for name in effect["prompts"])
        for effect in notes(floor, "leg_play")
        if effect["leg"] == leg and effect["token"].startswith("say")
    ]


class Slow:
    """Waits as a test wants them."""

    p90 = 0.0

    def predict(self, contact, now):
        return WaitEstimate(self.p90 / 2, self.p90 / 2, self.p90)

    def observe(self, event, effects=None):
        pass


def test_only_what_is_better_is_announced_and_rounded_up():
    # Given two callers and no agent
    floor, waits = flow_floor(WAITS.replace('offer = ["busy"], ', "")), Slow()
    floor.board.acd.learn_waits(waits)
    first, second = floor.call(), floor.call()
    # When the estimates go 11, 5 and 6 minutes, a minute later 4 (which is later than promised), then a bit more than 2
    for p90, seconds in ((660.0, 11.0), (290.0, 11.0), (360.0, 65.0), (240.0, 11.0), (130.0, 11.0)):
        waits.p90 = p90
        floor.run(seconds)
    # Then the second heard what was better, and nothing that was worse
    assert said(floor, second) == [
        "position-before n-2 position-after wait-more",
        "wait-before n-5 wait-after",
        "wait-before n-3 wait-after",
    ]
    # And when the first leaves, the better position alone
    floor.media.hang_up(first)
    floor.run(11.0)
    assert said(floor, second)[-1] == "position-before n-1 position-after"


def test_a_promise_that_was_not_kept_is_owned_up_to_once():
    floor, waits = flow_floor(WAITS.replace('offer = ["busy"], ', "")), Slow()
    floor.board.acd.learn_waits(waits)
    waits.p90 = 50.0
    caller = floor.call()
    floor.run(64.0)
    assert said(floor, caller) == ["position-before n-1 position-after wait-before n-1 wait-one"]
    waits.p90 = 100.0
    floor.run(25.0)
    assert said(floor, caller)[1:] == ["sorry", "wait-before n-2 wait-after"]


def test_a_replay_that_learned_nothing_before_announces_the_same_waits():
    # Given an engine that has learned waits since yesterday, and one that has not
    effects = []
    for learns in (True, False):
        board = Switchboard(Acd(parse_center(CENTER)), Calls())
        if learns:
            board.acd.learn_waits()

        def apply(t, kind, board=board, **fields):
            return board.apply({"t": t, "event": kind, **fields})

        for i in range(30):
            apply(200.0 * i, "agent_ready", agent="li")
            apply(200.0 * i, "contact_queued", contact=f"x{i}", queue="billing")
            apply(200.0 * i, "offer_accepted", contact=f"x{i}", agent="li")
            apply(200.0 * i + 100.0, "contact_ended", contact=f"x{i}")
        t = 6000.0
        # When flows that announce waits come
        calls = parse_calls('[numbers.4001]\nflow = "main"\n[trunks.x]\n', board.acd.center, flows={"main": WAITS})
        apply(t, "calls_changed", calls=calls_record(calls))
        apply(t, "node_attached", node=NODE, capacity=9, legs=[])
        for i in range(9):
            apply(t, "leg_incoming", node=NODE, leg=f"c{i}", to="4001")
            apply(t, "leg_answered", node=NODE, leg=f"c{i}")
        effects.append(apply(t + 60.0, "clock"))
    # Then both say the same
    assert effects[0] == effects[1] and "en/wait-" in str(effects[0])


def test_waits_are_learned_as_soon_as_they_are_to_be_announced():
    floor = flow_floor(WAITS)
    caller = floor.call()
    floor.run(6.0)
    assert said(floor, caller)[0].endswith("busy")
    assert "wait-" in said(floor, caller)[0]


def test_who_asks_for_a_call_back_keeps_the_place_and_is_dialed_when_an_agent_is_there():
    # Given a caller who asks to be called back, and one who came later
    floor = flow_floor(WAITS)
    first, second = floor.call(), floor.call(caller="139")
    floor.run(1.0)
    press(floor, first, "1")
    assert floor.hears(first) == {"en/welcome"}
    floor.run(5.0)
    assert floor.media.legs() == {second} and floor.board.acd.position("c1") == 1
    # When an agent comes
    floor.ready("li")
    floor.run(1.1)
    # Then the number is dialed, and the agent has the first caller, though the second waits
    [dialed] = [effect for effect in notes(floor, "leg_dial") if effect.get("number") == "138"]
    assert floor.agent("li") == "connected"
    floor.run(1.1)
    assert floor.hears(floor.phone("li")) == {dialed["leg"]} and floor.hears(second) != {floor.phone("li")}
    [ended] = notes(floor, "callback_ended")
    assert (ended["outcome"], ended["tries"]) == ("reached", 1)
    assert notes(floor, "contact_left") == []
    floor.media.hang_up(dialed["leg"])
    floor.run(1.0)
    assert set(floor.board.state.calls) == {second}


def test_who_is_not_reached_is_tried_again_in_the_old_place_and_then_given_up():
    floor = flow_floor(WAITS, phones={"138": FarEnd(rings=0.1, picks_up=3.0, refuses=Cause.BUSY)})
    caller = floor.call()
    floor.run(1.0)
    press(floor, caller, "1")
    floor.run(5.0)
    floor.ready("li")
    floor.run(60.0)
    assert [effect["outcome"] for effect in notes(floor, "callback_missed")] == ["busy"]
    [ended] = notes(floor, "callback_ended")
    assert (ended["outcome"], ended["tries"]) == ("busy", 2)
    assert notes(floor, "contact_queued")[1]["queued_at"] == 0.0
    assert not floor.board.state.calls and floor.agent("li") == "ready"


def test_a_call_back_that_nobody_has_time_for_is_given_up_and_told():
    floor = flow_floor(WAITS)
    caller = floor.call()
    floor.run(1.0)
    press(floor, caller, "1")
    floor.run(205.0)
    [ended] = notes(floor, "callback_ended")
    assert ended["outcome"] == "expired" and not floor.board.state.calls
    assert floor.told()[-1] == "contact_left c1"


def test_a_caller_whose_number_is_withheld_is_offered_no_call_back():
    floor = flow_floor(WAITS)
    caller = floor.call(caller="")
    floor.run(6.0)
    assert not said(floor, caller)[0].endswith("busy")
    press(floor, caller, "1")
    assert notes(floor, "callback_agreed") == []


def test_a_call_back_outlives_the_node_on_which_the_caller_was():
    floor = flow_floor(WAITS)
    caller = floor.call()
    floor.run(1.0)
    press(floor, caller, "1")
    floor.run(5.0)
    floor.apply("node_lost", node=NODE)
    assert floor.board.acd.position("c1") == 1
    floor.apply("node_attached", node=NODE, capacity=10, legs=[])
    floor.ready("li")
    floor.run(3.0)
    assert notes(floor, "callback_ended")[0]["outcome"] == "reached"


def test_a_switchboard_can_be_dumped_and_loaded_in_the_middle_of_flows():
    floor = every("", phones={"138": FarEnd(rings=0.1, picks_up=None)})
    for keys in ("", "1", "4", "5"):
        press(floor, at_menu(floor), keys)
    press(floor, "c2", "1")
    floor.run(1.0)
    state = State.of(json.loads(json.dumps(floor.board.state.record())))
    assert state == floor.board.state
    again = Switchboard(floor.board.acd, floor.board.calls, state)
    assert again.next_timer() == floor.board.next_timer()


def test_the_story_of_a_contact_that_a_time_out_queued_and_that_was_called_back_can_be_told():
    # Given a caller whom a time-out leads to a queue, and who asks to be called back
    floor = flow_floor("start = 'ask'\n" + WAITS + "[steps.ask]\nmenu = []\nkeys = {}\notherwise = 'billing'\n")
    caller = floor.call()
    floor.run(16.0)
    press(floor, caller, "1")
    floor.run(5.0)
    floor.ready("li")
    floor.run(10.0)
    # When the journal is explained
    lines = "".join(json.dumps(event) + "\n" for event in floor.journal).encode()
    story = explain(Acd(floor.center), floor.center, io.BytesIO(lines), "c1")
    # Then it is the story of one contact, which waited from the time-out until an agent had it
    kinds = [entry.kind for entry in story.entries if entry.kind != "waiting"]
    assert kinds == ["contact_queued", "offer", "offer_accepted"] and story.entries[0].t == 15.0
