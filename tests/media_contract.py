"""What every MediaBackend must do, as tests that are written once and run on each of them.

How to run it on a backend: in a file ``tests/test_media_NAME.py`` make a class that inherits :class:`MediaContract` and
has a fixture ``world`` which gives a :class:`World` of yours and takes it down afterwards::

    class TestSimulated(MediaContract):
        @pytest.fixture
        def world(self) -> World:
            return SimulatedWorld()

A world is a backend and the far ends that it talks to. Far ends behave as their ``FarEnd`` (of
``cordboard.media.simulated``) says; a world need not know its fields ``vanishes`` and ``presses``. A SIP world has peers of
its own that send a tone for each leg and tell by the tones that they get whom they hear; and it has two prompts.

The tests speak of what is reported and heard, and in which order, never of when: a real backend may take its time
(:data:`PATIENCE_S`), a simulated one lets its clock jump.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import pytest

from cordboard.media.backend import (
    Answer,
    Answered,
    Cause,
    Connect,
    Dial,
    Disconnect,
    Ended,
    HangUp,
    Heard,
    Incoming,
    Judged,
    Key,
    Listen,
    MediaBackend,
    PauseRecording,
    Play,
    Played,
    Record,
    Recorded,
    Refused,
    Report,
    Ring,
    Ringing,
    SendKeys,
    Stop,
    StopListening,
    StopRecording,
)
from cordboard.media.simulated import FarEnd

TRIES = 6  # of a far end whose timing matters
PATIENCE_S = 10.0
SHORT, LONG = "short", "long"  # prompts: at most a second, and at least ten seconds
R = TypeVar("R")


class World(Protocol):
    """A backend and those at the other end."""

    backend: MediaBackend

    def phone(self, far: FarEnd) -> str:
        """Put a phone there; the address at which it is dialed."""

    def call(self, to: str, far: FarEnd, caller: str = "") -> None:
        """Somebody calls the backend."""

    def kept_time(self, leg: str) -> bool:
        """Whether the far end of a leg said what it was to say without pauses of a machine that is too busy."""

    def press(self, leg: str, key: str) -> None:
        """The far end of a leg presses a key."""

    def hang_up(self, leg: str) -> None:
        """The far end of a leg hangs up."""

    def hears(self, leg: str) -> frozenset[str]:
        """What the far end of a leg hears at present: names of legs, and of SHORT and LONG. May take a moment."""

    def keys_heard(self, leg: str) -> str:
        """The keys that the far end of a leg got."""


class Watch:
    """All reports of a world so far."""

    def __init__(self, world: World) -> None:
        self.world, self.seen = world, list[Report]()

    def until(self, kind: type[R], there: Callable[[R], bool] = lambda report: True) -> R:
        """The first report of a kind, of those seen or to come, for which ``there`` holds."""
        at, patience = 0, PATIENCE_S
        while True:
            for report in self.seen[at:]:
                at += 1
                if isinstance(report, kind) and there(report):
                    return report
            got = self.world.backend.reports(0.1)
            patience -= 0.0 if got else 0.1
            assert patience > 0.0, f"no {kind.__name__} came, but {self.seen}"
            self.seen += got

    def rest(self, seconds: float = 0.5) -> list[Report]:
        """What else comes in a while."""
        for _ in range(round(seconds / 0.1)):
            self.seen += self.world.backend.reports(0.1)
        return self.seen

    def of(self, leg: str) -> list[Report]:
        return [report for report in self.seen if getattr(report, "leg", None) == leg]


def dialed(world: World, watch: Watch, leg: str, far: FarEnd | None = None) -> str:
    """A leg that was dialed and answered."""
    world.backend.send([Dial(leg, world.phone(far or FarEnd()))])
    watch.until(Answered, lambda report: report.leg == leg)
    return leg


def called(world: World, watch: Watch, far: FarEnd | None = None) -> str:
    """A leg that came in and was answered."""
    before = len([report for report in watch.seen if isinstance(report, Incoming)])
    world.call("4001", far or FarEnd())
    watch.until(Incoming, lambda report: len([r for r in watch.seen if isinstance(r, Incoming)]) > before)
    leg = [report.leg for report in watch.seen if isinstance(report, Incoming)][-1]
    world.backend.send([Answer(leg)])
    watch.until(Answered, lambda report: report.leg == leg)
    return leg


def heard(world: World, watch: Watch, leg: str, wanted: set[str]) -> None:
    """The far end hears exactly this, soon."""
    found: frozenset[str] = frozenset()
    for _ in range(round(PATIENCE_S / 0.1)):
        found = world.hears(leg)
        if found == wanted:
            return
        watch.rest(0.1)
    assert found == wanted, leg


class MediaContract:
    """The tests. Each ends with every leg ended once, see ``watch``."""

    @pytest.fixture
    def world(self) -> World:
        raise AssertionError("a class that runs the contract has a fixture `world` of its own")

    @pytest.fixture
    def watch(self, world: World):
        """Watches the world; at the end it closes the backend and counts: one Ended for every leg, its last report."""
        watch = Watch(world)
        yield watch
        world.backend.close()
        watch.rest(0.3)
        assert world.backend.legs() == frozenset()
        named = {r.leg for r in watch.seen if isinstance(r, Incoming | Ringing | Answered | Ended | Key | Played)}
        for leg in named:
            reports = [report for report in watch.of(leg) if not isinstance(report, Refused)]
            assert [isinstance(report, Ended) for report in reports].count(True) == 1, reports
            assert isinstance(reports[-1], Ended), reports

    # ---- placing a call

    def test_whoever_waits_for_reports_is_woken_by_another_thread(self, world: World, watch: Watch):
        back = threading.Event()
        waits = threading.Thread(target=lambda: (watch.seen.extend(world.backend.reports(PATIENCE_S)), back.set()))
        # Given somebody who waits for reports, or is about to
        began = time.monotonic()
        waits.start()
        # When it is woken though nothing happens
        world.backend.wake()
        # Then it comes back at once
        assert back.wait(PATIENCE_S / 2)
        waits.join()
        assert time.monotonic() - began < PATIENCE_S / 2
        # And what happens is told as ever
        dialed(world, watch, "d1")

    def test_a_phone_that_is_dialed_rings_answers_and_ends_when_it_hangs_up(self, world, watch):
        world.backend.send([Dial("d1", world.phone(FarEnd(picks_up=0.3, hangs_up=0.3)))])
        ended = watch.until(Ended)
        assert [type(report) for report in watch.of("d1")] == [Ringing, Answered, Ended]
        assert (ended.leg, ended.cause) == ("d1", Cause.NORMAL)
        assert ended.quality is not None

    @pytest.mark.parametrize("cause", [Cause.BUSY, Cause.REJECTED])
    def test_a_phone_that_refuses_says_why(self, world, watch, cause):
        world.backend.send([Dial("d1", world.phone(FarEnd(picks_up=0.2, refuses=cause)))])
        ended = watch.until(Ended)
        assert ended.cause == cause and ended.code >= 400 and ended.quality is None

    def test_a_phone_that_does_not_answer_is_given_up_after_its_ring_time(self, world, watch):
        world.backend.send([Dial("d1", world.phone(FarEnd(picks_up=None)), ring_s=1.0)])
        assert watch.until(Ended).cause == Cause.NO_ANSWER

    def test_a_call_that_is_hung_up_while_it_rings_is_cancelled(self, world, watch):
        world.backend.send([Dial("d1", world.phone(FarEnd(picks_up=None)))])
        watch.until(Ringing)
        world.backend.send([HangUp("d1")])
        assert watch.until(Ended).cause == Cause.CANCELLED
        assert not [report for report in watch.rest() if isinstance(report, Answered)]

    def test_a_name_is_used_once(self, world, watch):
        phone = world.phone(FarEnd())
        dialed(world, watch, "d1")
        world.backend.send([Dial("d1", phone)])
        refused = watch.until(Refused)
        assert (refused.command, refused.name) == ("Dial", "d1") and refused.why
        assert "d1" in world.backend.legs()

    # ---- being called

    def test_a_call_that_comes_in_is_named_and_can_be_answered(self, world, watch):
        world.call("4001", FarEnd(), caller="13800000001")
        incoming = watch.until(Incoming)
        assert (incoming.to, incoming.caller) == ("4001", "13800000001")
        assert incoming.leg in world.backend.legs()
        world.backend.send([Ring(incoming.leg), Answer(incoming.leg)])
        watch.until(Answered)
        world.backend.send([HangUp(incoming.leg)])
        assert watch.until(Ended).cause == Cause.NORMAL

    def test_a_call_that_comes_in_can_be_refused(self, world, watch):
        world.call("4001", FarEnd())
        incoming = watch.until(Incoming)
        world.backend.send([HangUp(incoming.leg, Cause.BUSY)])
        assert watch.until(Ended).cause == Cause.BUSY

    def test_a_caller_can_give_up_before_the_answer(self, world, watch):
        world.call("4001", FarEnd(gives_up=0.3))
        leg = watch.until(Incoming).leg
        world.backend.send([Ring(leg)])
        assert watch.until(Ended).cause == Cause.CANCELLED
        world.backend.send([Answer(leg)])
        assert watch.until(Refused).name == leg

    # ---- who hears whom

    def test_two_who_are_connected_hear_each_other_until_they_are_not(self, world, watch):
        caller, agent = called(world, watch), dialed(world, watch, "d1")
        world.backend.send([Connect(caller, agent), Connect(agent, caller), Connect(agent, caller)])
        heard(world, watch, caller, {agent})
        heard(world, watch, agent, {caller})
        world.backend.send([Disconnect(caller, agent), Disconnect(caller, agent)])
        heard(world, watch, agent, set())
        heard(world, watch, caller, {agent})

    def test_a_third_can_listen_without_being_heard(self, world, watch):
        a, b, c = dialed(world, watch, "a"), dialed(world, watch, "b"), dialed(world, watch, "c")
        world.backend.send([Connect(a, b), Connect(b, a), Connect(a, c), Connect(b, c)])
        heard(world, watch, c, {a, b})
        heard(world, watch, a, {b})
        heard(world, watch, b, {a})

    def test_a_leg_can_be_made_to_hear_nobody(self, world, watch):
        a, b, c = dialed(world, watch, "a"), dialed(world, watch, "b"), dialed(world, watch, "c")
        world.backend.send([Connect(a, c), Connect(b, c), Connect(c, a), Connect(b, a), Disconnect("", c)])
        heard(world, watch, c, set())
        heard(world, watch, a, {b, c})

    def test_who_hangs_up_is_heard_no_more(self, world, watch):
        a, b = dialed(world, watch, "a"), dialed(world, watch, "b")
        world.backend.send([Connect(a, b), Connect(b, a)])
        heard(world, watch, b, {a})
        world.hang_up(a)
        watch.until(Ended)
        heard(world, watch, b, set())
        assert world.backend.legs() == {b}

    # ---- prompts and keys

    def test_a_prompt_is_played_to_its_end_and_told(self, world, watch):
        leg = called(world, watch)
        world.backend.send([Play(leg, (SHORT, SHORT), token="greeting")])
        played = watch.until(Played)
        assert (played.leg, played.token, played.whole) == (leg, "greeting", True)
        heard(world, watch, leg, set())

    def test_music_goes_on_until_something_else_is_played_or_it_is_stopped(self, world, watch):
        leg = called(world, watch)
        world.backend.send([Play(leg, (LONG,), loop=True, token="music")])
        heard(world, watch, leg, {LONG})
        world.backend.send([Play(leg, (SHORT,), token="position")])
        assert watch.until(Played) == Played(leg, "music", False)
        assert watch.until(Played, lambda report: report.token == "position").whole
        world.backend.send([Play(leg, (LONG,), loop=True, token="again"), Stop(leg)])
        assert not watch.until(Played, lambda report: report.token == "again").whole
        heard(world, watch, leg, set())

    def test_a_prompt_that_is_not_there_is_refused(self, world, watch):
        leg = called(world, watch)
        world.backend.send([Play(leg, ("no-such-prompt",))])
        refused = watch.until(Refused)
        assert (refused.command, refused.name) == ("Play", leg) and refused.why

    def test_keys_go_both_ways(self, world, watch):
        leg = called(world, watch)
        world.press(leg, "5")
        assert watch.until(Key) == Key(leg, "5")
        world.backend.send([SendKeys(leg, "12#")])
        for _ in range(round(PATIENCE_S / 0.1)):
            if world.keys_heard(leg) == "12#":
                break
            watch.rest(0.1)
        assert world.keys_heard(leg) == "12#"

    # ---- listening

    @pytest.mark.parametrize(
        ("far", "low", "high", "why", "sounds"),
        [
            (FarEnd(says=((0.3, 0.9),)), 0.0, 0.4, {"certain", "deadline"}, []),
            (FarEnd(says=((0.2, 4.0),)), 0.8, 1.0, {"certain", "deadline"}, []),
            (FarEnd(says=()), 0.1, 0.9, {"deadline"}, []),  # nobody knows
            (FarEnd(sends=((1100.0, 0.2, 1.0),)), 0.9, 1.0, {"certain", "sound"}, ["fax"]),
            (FarEnd(sends=((950.0, 0.2, 0.52), (1400.0, 0.52, 0.84), (1776.0, 0.84, 1.16))), 0.9, 1.0, {"certain", "sound"}, ["sit"]),
        ],
    )
    def test_who_answers_is_told_once_as_a_probability_before_the_deadline(self, world, watch, far, low, high, why, sounds):
        for call in range(TRIES):
            leg = dialed(world, watch, f"a{call}", dataclasses.replace(far, silent=True))
            world.backend.send([Listen(leg), Listen(leg)])
            judged = watch.until(Judged, lambda report, leg=leg: report.leg == leg)
            watch.rest(0.5)
            if world.kept_time(leg):  # otherwise it has said something else
                break
        assert low <= judged.machine <= high and judged.why in why and 0.0 < judged.after_s <= 1.85
        assert [report for report in watch.of(leg) if isinstance(report, Judged)] == [judged]
        assert [report.sound for report in watch.of(leg) if isinstance(report, Heard)] == sounds

    def test_the_beep_of_a_machine_is_heard_to_its_end_and_nothing_after_the_listening(self, world, watch):
        far = FarEnd(says=((0.3, 2.5),), sends=((1000.0, 2.8, 3.3),), silent=True)
        leg = dialed(world, watch, "a", far)
        world.backend.send([Listen(leg)])
        assert watch.until(Judged).machine > 0.5
        assert watch.until(Heard) == Heard(leg, "beep")
        other = dialed(world, watch, "b", far)
        world.backend.send([Listen(other), StopListening(other), StopListening(other)])
        watch.rest(4.0)
        assert not [report for report in watch.of(other) if isinstance(report, Judged | Heard)]

    def test_only_a_leg_whose_audio_is_open_is_listened_to(self, world, watch):
        world.backend.send([Listen("nobody"), StopListening("nobody")])
        watch.until(Refused, lambda report: report.command == "StopListening")
        assert watch.until(Refused).command == "Listen"

    # ---- recording

    def test_a_recording_ends_with_its_last_leg(self, world, watch):
        a, b = dialed(world, watch, "a"), dialed(world, watch, "b")
        world.backend.send([Record("r1", (a, b)), Connect(a, b), Connect(b, a)])
        watch.rest(0.5)
        world.backend.send([PauseRecording("r1"), PauseRecording("r1", on=False), HangUp(a)])
        watch.until(Ended)
        assert not [report for report in watch.rest(0.3) if isinstance(report, Recorded)]
        world.backend.send([HangUp(b)])
        recorded = watch.until(Recorded)
        assert recorded.recording == "r1" and recorded.file and recorded.seconds > 0.3

    def test_a_recording_can_be_stopped_once(self, world, watch):
        leg = called(world, watch)
        world.backend.send([Record("r1", (leg,))])
        watch.rest(0.3)
        world.backend.send([StopRecording("r1"), StopRecording("r1")])
        assert watch.until(Recorded).recording == "r1"
        refused = watch.until(Refused)
        assert (refused.command, refused.name) == ("StopRecording", "r1")

    # ---- what is wrong, and the end

    @pytest.mark.parametrize(
        "command", [Ring("x"), Answer("x"), HangUp("x"), Play("x", (SHORT,)), SendKeys("x", "1"), Connect("x", "y"), Record("r", ("x",))]
    )
    def test_a_command_for_a_leg_that_is_not_there_is_refused(self, world, watch, command):
        world.backend.send([command])
        assert watch.until(Refused).command == type(command).__name__

    def test_closing_ends_every_leg(self, world, watch):
        dialed(world, watch, "d1")
        called(world, watch)
        world.backend.send([Dial("d2", world.phone(FarEnd(picks_up=None)))])
        watch.until(Ringing, lambda report: report.leg == "d2")
        world.backend.close()
        watch.rest(0.5)
        assert len([report for report in watch.seen if isinstance(report, Ended)]) == 3
        assert world.backend.legs() == frozenset()
