"""A media node whose server is away: secret digits stay secret however late they come, and callers are served or sent on."""

from __future__ import annotations

import asyncio

import pytest

from cordboard.calls.config import parse_calls
from cordboard.center import parse_center
from cordboard.media import backend
from cordboard.media.backend import Cause, Ended, HangUp, HideKeys, Incoming, Key, Ring
from cordboard.media.simulated import FarEnd
from cordboard.services.meanwhile import RINGS_S, Callers, HiddenKeys
from tests.floor import CENTER, NODE, Floor
from tests.test_media_node import SECRET, Running, WallMedia, center, connected, legs, restart, told, until


def waiting(server) -> int:
    return server.engine.read(lambda acd: acd.counts()["waiting"]).result()


def test_a_secret_digit_is_covered_when_it_is_typed_however_late_its_report_comes():
    keys = HiddenKeys()
    # Given a step that is over in the same moment in which a digit was typed
    keys.follow([HideKeys("a")])
    keys.follow([HideKeys("a", False), HideKeys("b")])
    assert keys.covered([Key("a", "7"), Key("b", "8"), Key("c", "9"), Key("b", "#")]) == [
        Key("a", "?"), Key("b", "?"), Key("c", "9"), Key("b", "#")
    ]  # fmt: skip
    assert keys.covered([Key("a", "7"), Key("b", "8")]) == [Key("a", "7"), Key("b", "?")]
    # And a server that comes back knows best
    keys.follow(keys.only(["c"]))
    assert keys.covered([Key("b", "8")]) == [Key("b", "?")], "it was there before"
    assert keys.covered([Key("b", "8"), Key("c", "1")]) == [Key("b", "8"), Key("c", "?")]


def test_secret_digits_that_are_typed_while_the_server_is_away_do_not_get_into_the_journal(tmp_path):
    # Given a caller at a secret step that gives up soon
    with center(tmp_path) as server:
        text = SECRET.replace("secret = true", "secret = true\ntimeout = 3.0\nretries = 0\notherwise = 'billing'")
        calls = parse_calls('[numbers.4001]\nflow = "pin"\n', parse_center(CENTER), flows={"pin": text})
        server.engine.change_calls(calls).result()
        node = Running(server, WallMedia())
        node.do(lambda: node.media.call("c1", "4001", FarEnd()))
        until(lambda: told(server, "leg_refused") != [] and "c1" in node.node._hidden._legs)

        async def meanwhile() -> None:
            # When the server goes away, a digit is typed, and the step is over before the server is back
            await asyncio.to_thread(lambda: until(lambda: not node.node.attached.is_set()))
            await asyncio.to_thread(lambda: node.do(lambda: node.media.press("c1", "7")))
            await asyncio.to_thread(lambda: until(lambda: waiting(server) == 1))

        server.run(restart(server, int(server.address.rpartition(":")[2]), tmp_path, meanwhile))
        until(lambda: told(server, "leg_key") != [])
        assert [entry.event["key"] for entry in told(server, "leg_key")] == ["?"]
        node.stop()


def test_who_calls_while_the_server_is_away_rings_and_is_served_when_it_is_back(tmp_path):
    with center(tmp_path) as server:
        node = Running(server, WallMedia())
        server.engine.submit({"event": "agent_ready", "agent": "li"}).result()

        async def meanwhile() -> None:
            await asyncio.to_thread(lambda: until(lambda: not node.node.attached.is_set()))
            await asyncio.to_thread(lambda: node.do(lambda: node.media.call("c1", "4001", FarEnd())))
            await asyncio.to_thread(lambda: until(lambda: "c1" in node.node._callers._until))

        server.run(restart(server, int(server.address.rpartition(":")[2]), tmp_path, meanwhile))
        until(lambda: connected(server) == 1 and node.media.hears("c1") == {"d1"})
        node.do(lambda: node.media.hang_up("c1"))
        until(lambda: not legs(server) and not node.media.legs())
        node.stop()


def test_callers_ring_for_a_bounded_time_and_are_refused_at_once_when_the_server_is_away_for_longer():
    callers = Callers(0.0)
    assert callers.look(4.0, True, [], [Incoming("a", "4001")]) == [Ring("a")]
    assert callers.look(RINGS_S - 0.1, True, [], []) == []
    assert callers.look(RINGS_S, True, [], [Incoming("b", "4001")]) == [Ring("b"), HangUp("a", Cause.LOST), HangUp("b", Cause.LOST)]
    # A server that is back is given the same time to say something, and the next one anew
    assert callers.look(20.0, False, [], [Incoming("c", "4001"), Incoming("d", "4001"), Incoming("e", "4001")]) == []
    assert callers.look(21.0, True, [backend.Answer("c")], [Ended("d", Cause.CANCELLED)]) == []
    assert callers.look(20.0 + RINGS_S, True, [], []) == [HangUp("e", Cause.LOST)]
    assert callers.look(21.0 + RINGS_S, True, [], []) == []


@pytest.mark.parametrize("coming", [True, False])
def test_a_node_that_attaches_has_callers_whose_report_follows(coming):
    floor = Floor()
    floor.ready("li")
    floor.media.call("c1", "4001", FarEnd())
    effects = floor.apply("node_attached", node=NODE, capacity=10, legs=["c1"], **({"coming": ["c1"]} if coming else {}))
    assert ("leg_hang_up" in [one["effect"] for one in effects]) is not coming
    floor.run(6.0)
    assert (floor.agent("li") == "connected") is coming
