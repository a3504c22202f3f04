"""An agent who looks at a number before it is dialed, over real SIP: what she hears until it is answered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cordboard.media.simulated import FarEnd
from tests.sip_floor import SipFloor, sip_floor, until

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.prompts import HERTZ

CENTER = "[queues.look]\n[agents.li]\n"
CALLS = """
[trunks.main]
caller = "4001"
[campaigns.look]
queue = "look"
trunk = "main"
mode = "preview"
hours = ["mon-sun 00:00-24:00"]
[phones.li]
to = "{li}"
"""
NUMBERS = {"13800000001": (), "13800000002": ((0.0, 0.0, 9.0),)}  # one that rings, and one whose network is heard before the answer


@pytest.fixture(params=[(), ("--backend", "wheel", "--capacity", "4")], ids=["production", "wheel"])
def floor(request, tmp_path) -> Iterator[SipFloor]:
    with sip_floor(tmp_path, center=CENTER, calls=CALLS) as floor:
        floor.add_node("n1", *request.param, "--trunk", f"main=127.0.0.1:{floor.telephone.port}")
        for number, early in NUMBERS.items():
            floor.telephone.fars[number] = FarEnd(rings=0.1, picks_up=5.0, early=early)
        yield floor


def test_the_agent_hears_it_ring_or_what_its_network_sends_until_it_is_answered(floor):
    (floor.folder / "list.csv").write_text("number\n" + "".join(f"{number}\n" for number in NUMBERS))
    floor.command("campaign", "import", "look", "list.csv")
    floor.ready()
    floor.command("campaign", "start", "look")
    for _ in NUMBERS:
        # Given a lead that she accepts, and whose phone is up
        until(lambda: floor.board().state.leads)
        before = len(floor.telephone.calls)
        floor.command("campaign", "accept", "li")
        until(lambda before=before: len(floor.telephone.calls) == before + 2)
        phone, person = list(floor.telephone.calls.values())[before:]
        # Then she hears the number before it is answered, or else that it rings
        hears, tone = floor.telephone.hears, person.hertz if NUMBERS[person.name] else HERTZ
        until(lambda phone=phone, hears=hears, tone=tone: hears(phone, tone) and (tone == HERTZ or not hears(phone, HERTZ)))
        assert not person.up
        # And when it is answered, they talk, and nothing rings
        floor.wait_for_talk(person)
        until(lambda phone=phone, hears=hears: not hears(phone, HERTZ))
        floor.telephone.hang_up(person)
        floor.all_over()
