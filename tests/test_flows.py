"""Flows: callers are led by keys, hours and answers, wait informed, are called back, leave messages, and give marks."""

from __future__ import annotations

from cordboard.media.simulated import FarEnd
from tests.floor import CALLS, CENTER, Floor

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
