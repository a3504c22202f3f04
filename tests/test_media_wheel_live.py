"""The pool on pjsua2 from PyPI with a live engine: what a new user has without compiling anything."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from cordboard.client import Client
from cordboard.media.simulated import FarEnd
from tests.recorded import channels
from tests.sip_floor import SipFloor, children, sip_floor, until
from tests.sip_peer import loudness
from tests.sip_world import prompt

WHEEL = ("--backend", "wheel", "--capacity", "12", "--drain", "5")
CENTER = """
[queues.billing]
offer_timeout = 20
[queues.spring]
max_wait = 2
[agents.li]
queues = ["billing"]
[agents.wang]
queues = ["billing"]
[agents.zhao]
queues = ["billing"]
[agents.dao]
queues = ["spring"]
"""
CALLS = """
[numbers.4001]
queue = "billing"
[queues.billing]
record = true
music = ["music"]
[trunks.main]
caller = "4001"
[campaigns.spring]
queue = "spring"
trunk = "main"
message = ["sorry"]
mode = "progressive"
hours = ["mon-sun 00:00-24:00"]
[phones.li]
to = "{li}"
[phones.wang]
to = "{wang}"
[phones.zhao]
to = "{zhao}"
[phones.dao]
to = "{dao}"
"""


@pytest.fixture(scope="module")
def floor(tmp_path_factory) -> Iterator[SipFloor]:
    folder = tmp_path_factory.mktemp("wheel")
    with sip_floor(folder, center=CENTER, calls=CALLS) as floor:
        (folder / "prompts").mkdir()
        for name, hertz in (("music", 3400.0), ("sorry", 3000.0)):
            prompt(folder / "prompts" / f"{name}.wav", hertz, 0.4)
        floor.add_node("n1", *WHEEL, "--trunk", f"main=127.0.0.1:{floor.telephone.port}")
        yield floor


def away(floor: SipFloor, *agents: str) -> None:
    with Client(floor.address) as client:
        for agent in agents:
            client.set_state(agent, "away", reason="break")


def test_a_caller_waits_with_music_talks_to_the_agent_and_is_recorded(floor):
    # Given a caller who hears the music of the queue
    caller = floor.call("n1")
    until(lambda: floor.telephone.hears(caller, 3400.0))
    # When an agent comes, then these two talk, until the caller hangs up
    floor.ready("li")
    agent = floor.wait_for_talk(caller)
    until(lambda: not floor.telephone.hears(caller, 3400.0))
    recorded = lambda: [event for event in floor.journal() if event["event"] == "leg_recorded"]  # noqa: E731
    time.sleep(1.0)
    floor.telephone.hang_up(caller)
    floor.all_over()
    until(recorded)
    # And each is on a channel of the recording
    first, second = channels(floor.folder / "recordings" / recorded()[0]["file"])
    assert loudness(first, caller.hertz) > loudness(second, caller.hertz)
    assert loudness(second, agent.hertz) > loudness(first, agent.hertz)
    away(floor, "li")


def test_a_campaign_dials_over_the_trunk_and_its_answers_have_agents(floor):
    # Given a list of one who answers and one who is busy
    fars = floor.telephone.fars
    fars["13800000001"] = FarEnd(rings=0.1, picks_up=0.5)
    fars["13800000002"] = FarEnd(rings=0.1, picks_up=0.3, refuses="busy")
    (floor.folder / "list.csv").write_text("number\n13800000001\n13800000002\n")
    floor.command("campaign", "import", "spring", "list.csv")
    floor.ready("dao")
    # When the campaign begins
    floor.command("campaign", "start", "spring")
    person = lambda: next((call for call in floor.telephone.calls.values() if call.name == "13800000001"), None)  # noqa: E731
    until(lambda: person() is not None and person().up)
    # Then who answers talks to its agent, and each has an outcome
    floor.wait_for_talk(person())
    floor.telephone.hang_up(person())
    outcomes = lambda: sorted(one["outcome"] for one in floor.effects("attempt_outcome"))  # noqa: E731
    until(lambda: outcomes() == ["busy", "connected"])
    floor.command("campaign", "pause", "spring")
    floor.all_over()
    away(floor, "dao")


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGABRT])
def test_a_child_that_fails_takes_its_own_calls_alone_and_whoever_calls_later_has_an_agent(floor, fault):
    # Given three conversations: six legs, which no child holds alone
    floor.ready("li", "wang", "zhao")
    port, telephone = floor.nodes["n1"].port, floor.telephone
    callers = {}
    for number in ("1381", "1382", "1383"):
        callers[number] = telephone.call(port, "4001", FarEnd(), number)
        floor.wait_for_talk(callers[number])
    # When the child that has the first of them fails
    os.kill(min(children(floor.nodes["n1"].worker())), fault)
    # Then some are over for the engine, and those that are not go on on both sides
    until(lambda: len(floor.board().state.calls) < 3)
    until(lambda: all(leg.phase == "up" and leg.heard for leg in floor.board().state.legs.values()))
    for call in floor.board().state.calls.values():
        floor.wait_for_talk(callers[call.caller])
    # And others are served as before, until all have gone
    again = floor.call("n1")
    floor.wait_for_talk(again)
    for caller in [*callers.values(), again]:
        telephone.hang_up(caller)
    floor.all_over()
    away(floor, "li", "wang", "zhao")
