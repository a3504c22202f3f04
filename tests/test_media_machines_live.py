"""Who answered a campaign, over real SIP: synthetic speech at the other end, a probability in time, and what the file of calls says to do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from cordboard.client import Client
from cordboard.media.simulated import FarEnd
from tests.espeak import said
from tests.sip_floor import SipFloor, sip_floor, until
from tests.sip_peer import RATE, Call, tone

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from tests.sip_world import prompt

CENTER = '[queues.spring]\nmax_wait = 2\nwrap_up = 0\n\n[agents.li]\nqueues = ["spring"]\n'
CALLS = """
[trunks.main]
caller = "4001"
[campaigns.spring]
queue = "spring"
trunk = "main"
mode = "progressive"
message = ["sorry"]
detect = true
machine_at = 0.8
hours = ["mon-sun 00:00-24:00"]
[phones.li]
to = "{li}"
"""
SORRY_HZ = 2200.0
GREETING = "You have reached the voice mail of Anna Miller. I can not take your call right now. Please leave a message after the tone."


class Voice(FarEnd):
    """A far end that says some audio once it has picked up, and then nothing."""

    audio: np.ndarray


def voice(audio: np.ndarray, picks_up: float = 0.5) -> Voice:
    made = Voice(rings=0.1, picks_up=picks_up, silent=True)
    object.__setattr__(made, "audio", audio)
    return made


@pytest.fixture(scope="module")
def floor(tmp_path_factory) -> Iterator[SipFloor]:
    folder = tmp_path_factory.mktemp("machines")
    with sip_floor(folder, center=CENTER, calls=CALLS) as floor:
        (folder / "prompts").mkdir()
        prompt(folder / "prompts" / "sorry.wav", SORRY_HZ, 1.5)
        floor.add_node("n1", "--trunk", f"main=127.0.0.1:{floor.telephone.port}")
        yield floor


def dialed(floor: SipFloor, number: str, far: FarEnd) -> Call:
    """Somebody whom the campaign calls."""
    floor.telephone.fars[number] = far
    file = floor.folder / f"{number}.csv"
    file.write_text(f"number\n{number}\n")
    floor.command("campaign", "import", "spring", file.name)
    floor.command("campaign", "start", "spring")
    there = lambda: [call for call in list(floor.telephone.calls.values()) if call.name == number]  # noqa: E731
    until(there)
    return there()[0]


def judged(floor: SipFloor) -> dict:
    """What the node said last of who it is: once, and within the two seconds of the law."""
    told = [event for event in floor.journal() if event["event"] == "leg_judged"]
    assert all(0.0 <= one["machine"] <= 1.0 and one["after_s"] <= 1.8 for one in told)
    assert len(told) == len(floor.effects("attempt_answered"))
    return told[-1]


def outcomes(floor: SipFloor) -> list[tuple[str, bool]]:
    """How each call came out, and whether its outcome has the probability."""
    return [(one["outcome"], "machine" in one) for one in floor.effects("attempt_outcome")]


def test_a_machine_is_let_go_a_person_has_the_agent_and_one_without_an_agent_hears_the_message_in_time(floor, tmp_path):
    # Given a machine with a long greeting and a beep, one that beeps at once, and a person who says hello
    beep = tone(1000.0, RATE // 3, level=3000.0)
    greeting, hello = said(GREETING, tmp_path), said("Hello?", tmp_path)
    floor.ready()
    # When a machine picks up, then it is let go, though an agent is free
    machine = dialed(floor, "13800000001", voice(np.concatenate((greeting, beep))))
    until(lambda: len(outcomes(floor)) == 1)
    assert judged(floor)["machine"] >= 0.8
    until(lambda: machine.over)
    machine = dialed(floor, "13800000002", voice(np.concatenate((np.zeros(RATE // 2), beep, np.zeros(RATE)))))
    until(lambda: len(outcomes(floor)) == 2)
    assert judged(floor)["machine"] >= 0.8 and judged(floor)["why"] in ("sound", "certain")
    # And a person talks to the agent
    person = dialed(floor, "13800000003", voice(hello))
    until(lambda: len(outcomes(floor)) == 3)
    assert judged(floor)["machine"] < 0.8
    until(lambda: any(floor.telephone.hears(person, call.hertz) for call in list(floor.telephone.calls.values()) if call.name == "p0" and not call.over))
    floor.telephone.hang_up(person)
    # When the agent goes away while it rings at another one, then that one hears the message
    alone = dialed(floor, "13800000004", voice(hello, picks_up=3.0))
    with Client(floor.address) as client:
        client.set_state("li", "away", reason="break")
    until(lambda: floor.telephone.hears(alone, SORRY_HZ))
    until(lambda: len(outcomes(floor)) == 4)
    floor.command("campaign", "pause", "spring")
    floor.all_over()
    assert outcomes(floor) == [("machine", True), ("machine", True), ("connected", True), ("dropped", True)]
    # And it began within two seconds of the answer, as the law wants it
    answered = floor.effects("attempt_answered")[-1]["t"]
    message = next(one["t"] for one in floor.effects("leg_play") if one["prompts"] == ["sorry"])
    assert message - answered <= 2.0 + 1e-6
