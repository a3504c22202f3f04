"""The pool on pjsua2 from PyPI: the contract of media layers, against telephones of the tests' own, and what only a pool
must do."""

from __future__ import annotations

import importlib.util
import os
import signal
import time

import pytest

from cordboard.bindings.settings import Srtp, Trunk
from cordboard.bindings.wheel import pool
from cordboard.bindings.wheel.pool import WheelMedia
from cordboard.errors import InputError, MissingExtraError
from cordboard.media.backend import Answered, Cause, Connect, Dial, Ended, HangUp, Incoming, Record, Recorded, Refused
from cordboard.media.simulated import FarEnd
from tests.media_contract import MediaContract, Watch, called, dialed, heard
from tests.recorded import channels
from tests.sip_peer import loudness
from tests.sip_world import SipWorld, settings


class TestWheel(MediaContract):
    @pytest.fixture
    def world(self, tmp_path):
        world = SipWorld(WheelMedia(settings(tmp_path, legs_max=4)))
        yield world
        world.close()


class TestApart:
    """Every leg on a child of its own: what legs hear of each other goes over lines."""

    watch = MediaContract.watch
    test_two = MediaContract.test_two_who_are_connected_hear_each_other_until_they_are_not
    test_third = MediaContract.test_a_third_can_listen_without_being_heard
    test_nobody = MediaContract.test_a_leg_can_be_made_to_hear_nobody
    test_hang_up = MediaContract.test_who_hangs_up_is_heard_no_more
    test_recording = MediaContract.test_a_recording_ends_with_its_last_leg
    test_closing = MediaContract.test_closing_ends_every_leg

    @pytest.fixture
    def world(self, tmp_path):
        world = SipWorld(WheelMedia(settings(tmp_path, legs_max=3), calls=1))
        yield world
        world.close()

    def test_both_sides_of_a_recording_are_there(self, world, watch, tmp_path):
        a, b = called(world, watch), dialed(world, watch, "b")
        world.backend.send([Record("r1", (a, b))])
        watch.rest(2.5)
        world.backend.send([HangUp(a), HangUp(b)])
        file = watch.until(Recorded).file
        for side, leg in zip(channels(tmp_path / "recordings" / file), (a, b), strict=True):
            tones = {name: loudness(side[8000:16000], world.at(name).hertz) for name in (a, b)}
            assert max(tones, key=tones.__getitem__) == leg and tones[leg] > 1000.0, tones


@pytest.fixture
def two(tmp_path):
    """Two children, and who watches them."""
    world = SipWorld(WheelMedia(settings(tmp_path, legs_max=8)))
    yield world, Watch(world), world.backend.inner
    world.close()


def pids(media: WheelMedia) -> list[int]:
    return [child.process.pid for child in media._children]


def until_all_work(watch: Watch, media: WheelMedia) -> None:
    end = time.monotonic() + 30.0
    while len(media._children) < 2 or not all(child.address for child in media._children):
        assert time.monotonic() < end
        watch.rest(0.1)


def test_a_child_that_dies_takes_its_own_calls_alone_and_is_replaced(two):
    world, watch, media = two
    for n in range(5):
        dialed(world, watch, f"d{n}")  # the fifth has no room on the first child
    other = called(world, watch)
    world.backend.send([Connect("d4", other), Connect(other, "d4"), Connect("d0", "d4"), Connect("d4", "d0")])
    before = pids(media)
    os.kill(before[0], signal.SIGABRT)
    for n in range(4):
        assert watch.until(Ended, lambda report, n=n: report.leg == f"d{n}").cause == Cause.FAILED
    assert media.legs() == {"d4", other}
    heard(world, watch, "d4", {other})
    until_all_work(watch, media)
    assert set(pids(media)) & set(before) == {before[1]}
    for n in range(5, 9):
        dialed(world, watch, f"d{n}")
    world.backend.close()
    watch.rest(0.1)
    over = [report.leg for report in watch.seen if isinstance(report, Ended)]
    assert sorted(over) == sorted([*(f"d{n}" for n in range(9)), other])


def test_a_child_that_hangs_is_replaced(two, monkeypatch):
    world, watch, media = two
    dialed(world, watch, "d0")
    monkeypatch.setattr(pool, "SILENT_S", 3.0)
    before = pids(media)
    os.kill(before[0], signal.SIGSTOP)
    assert watch.until(Ended).cause == Cause.FAILED
    until_all_work(watch, media)
    assert before[0] not in pids(media)


def test_a_full_pool_says_so_at_once(two):
    world, watch, media = two
    for n in range(8):
        world.backend.send([Dial(f"d{n}", world.phone(FarEnd()))])
    for n in range(8):
        watch.until(Answered, lambda report, n=n: report.leg == f"d{n}")
    world.backend.send([Dial("more", world.phone(FarEnd()))])
    assert watch.until(Ended).cause == Cause.CONGESTION
    world.call("4001", FarEnd())
    for _ in range(100):
        if world.placed[0].status:
            break
        watch.rest(0.1)
    assert world.placed[0].status == [503]
    world.backend.send([HangUp("d3")])
    watch.until(Ended, lambda report: report.leg == "d3")
    for _ in range(100):  # until the other side has confirmed the end
        if any(child.free() for child in media._children):
            break
        watch.rest(0.1)
    dialed(world, watch, "d9")


def test_calls_that_come_faster_than_the_wheel_bears_are_refused_and_nobody_dies(two):
    world, watch, media = two
    before = pids(media)
    for _ in range(20):
        for _ in range(15):
            world.call("4001", FarEnd())
        for report in watch.rest(0.1)[-50:]:
            if isinstance(report, Incoming) and report.leg in media.legs():
                world.backend.send([HangUp(report.leg, Cause.BUSY)])
    for _ in range(100):
        if all(call.status for call in world.placed):
            break
        watch.rest(0.1)
        world.backend.send([HangUp(leg, Cause.BUSY) for leg in media.legs()])
    assert {code for call in world.placed for code in call.status} == {486, 503}
    assert pids(media) == before


def test_a_voice_bot_is_refused_with_what_to_use_instead(two):
    world, watch, media = two
    world.backend.send([Dial("bot", "wss://127.0.0.1:9/bot")])
    assert "make media" in watch.until(Refused).why
    assert watch.until(Ended).cause == Cause.FAILED
    assert media.legs() == frozenset()


def test_lines_of_a_trunk_are_those_of_the_pool(tmp_path):
    given = settings(tmp_path, legs_max=8, trunks=(Trunk("main", "127.0.0.1:9", lines=1, sources=("127.0.0.2",)),))
    media = WheelMedia(given)
    try:
        media.send([Dial("d1", "10086", trunk="main"), Dial("d2", "10010", trunk="main")])
        assert media.reports(5.0) == [Ended("d2", Cause.CONGESTION)]
    finally:
        media.close()


def test_what_the_wheel_cannot_do_is_said_with_what_to_use_instead(tmp_path):
    with pytest.raises(InputError) as error:
        WheelMedia(settings(tmp_path, tcp_port=0, srtp=Srtp.OPTIONAL, legs_max=1000))
    for part in ("SIP by TCP or TLS", "encrypted audio (SRTP)", "more than 160 legs", "make media"):
        assert part in str(error.value)
    assert "registration" not in str(error.value)


def test_without_the_wheel_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cordboard\[media\]'"):
        WheelMedia(settings(tmp_path))
