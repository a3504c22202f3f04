"""Voice bots over real audio: a caller's SIP telephone, a media node on PJSIP, and a bot at a WebSocket or a gRPC stream."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from cordboard.calls.translate import event_of
from cordboard.journal import CALL_EVENTS, EVENTS, check_event
from cordboard.media.backend import (
    HIDDEN,
    Answer,
    Answered,
    Cause,
    Connect,
    Dial,
    Ended,
    HandedOver,
    HangUp,
    Incoming,
    Key,
)
from cordboard.media.simulated import FarEnd
from cordboard.services.media_messages import report_message
from tests.sip_peer import Telephone
from tests.test_docs import ROOT

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.pjsip.backend import PjsipMedia
from tests.sip_world import settings
from tests.voice_bots import BOTS, PATIENCE_S, StreamBot, TwilioBot


class World:
    """A node, and a caller whose call is answered."""

    def __init__(self, folder: Any, **changes: Any) -> None:
        self.telephone = Telephone()
        self.backend = PjsipMedia(settings(folder, legs_max=8, **changes))
        self.reports: list[Any] = []
        self.call = self.telephone.call(self.backend.port, "4001", FarEnd(), "138")
        self.caller = self.until(Incoming).leg
        self.backend.send([Answer(self.caller)])
        self.until(Answered)

    def wait(self, found: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not found():
            assert time.monotonic() < end, self.reports
            self.reports += self.backend.reports(0.02)

    def until(self, kind: type) -> Any:
        """The next report of a kind."""
        found: list[Any] = []

        def look() -> bool:
            for at, report in enumerate(self.reports):
                if isinstance(report, kind):
                    found.append(self.reports.pop(at))
                    return True
            return False

        self.wait(look)
        return found[0]

    def connect(self, url: str) -> None:
        """The caller talks with a bot."""
        self.backend.send([Dial("ada", url, caller="138", headers=(("queue", "billing"), ("language", "zh"), ("tone", "calm")))])
        assert self.until(Answered).leg == "ada"
        self.backend.send([Connect("ada", self.caller), Connect(self.caller, "ada")])

    def close(self) -> None:
        self.backend.close()
        self.telephone.close()


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture(params=BOTS)
def bot(request) -> Iterator[Any]:
    bot = BOTS[request.param]()
    yield bot
    bot.close()


def test_a_bot_hears_and_is_heard_gets_keys_and_marks_and_is_cleared(world, bot):
    world.connect(bot.url)
    # The bot is told of the call, and hears the caller, frame after frame
    world.wait(lambda: bot.hears(world.call.hertz))
    assert bot.details == {"from": "138", "queue": "billing", "language": "zh", "tone": "calm"}
    numbers = [number for number, _ in bot.frames[:50]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # What it says is heard, and a mark behind it comes back when it was
    bot.say(2600.0, 1.0)
    bot.mark("said")
    assert not bot.marks
    world.wait(lambda: world.telephone.hears(world.call, 2600.0))
    world.wait(lambda: bot.marks == ["said"])
    # When the caller breaks in, the rest is cleared: its mark comes back at once, and it is not heard
    bot.say(3000.0, 60.0)
    bot.mark("long")
    world.wait(lambda: world.telephone.hears(world.call, 3000.0))
    bot.clear()
    world.wait(lambda: bot.marks == ["said", "long"])
    world.wait(lambda: not world.telephone.hears(world.call, 3000.0))
    # A digit comes, which is reported to nobody else, and the end
    for key in "7#":
        world.telephone.press(world.call, key)
        assert world.until(Key) == Key(world.caller, key if key == "#" else HIDDEN)
    world.wait(lambda: bot.keys == ["7", "#"])
    world.backend.send([HangUp("ada")])
    assert world.until(Ended) == Ended("ada", Cause.NORMAL)
    world.wait(lambda: bot.over == [bot.NORMAL])
    assert world.caller in world.backend.legs()
    # And digits that no bot hears are reported as they are
    world.telephone.press(world.call, "8")
    assert world.until(Key) == Key(world.caller, "8")


def test_a_bot_for_twilio_is_told_what_twilio_tells_it(world):
    bot = TwilioBot()
    world.connect(bot.url)
    world.wait(lambda: bot.hears(world.call.hertz))
    assert bot.got[0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    start = bot.events("start")[0]
    assert start["sequenceNumber"] == "1" and start["start"]["streamSid"] == start["streamSid"]
    assert start["start"]["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    media = bot.events("media")[:50]
    assert [int(one["media"]["timestamp"]) for one in media] == [20 * (int(one["media"]["chunk"]) - 1) for one in media]
    numbers = [int(one["sequenceNumber"]) for one in list(bot.got)[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    world.telephone.press(world.call, "7")
    world.wait(lambda: bot.events("dtmf"))
    assert bot.events("dtmf")[0]["dtmf"] == {"track": "inbound_track", "digit": "7"}
    world.backend.send([HangUp("ada")])
    world.wait(lambda: bot.over == [1000])
    assert bot.events("stop")
    bot.close()


def test_a_bot_hands_over_with_its_transcript_and_says_goodbye(world, bot):
    world.connect(bot.url)
    world.wait(lambda: bot.frames)
    bot.said("caller", "my bill")
    bot.said("Zhang San", "x" * 500)  # no name of a person stands in the place of who speaks
    bot.send_unknown()
    bot.hand_over(queue="people", summary="a refund", transcript=[{"who": "caller", "text": "yes"}])
    found = world.until(HandedOver)
    assert (found.leg, found.caller, found.to_queue, found.to_agent, found.why) == ("ada", "138", "people", "", "")
    assert found.transcript[:3] == (("summary", "a refund"), ("caller", "my bill"), ("bot", "x" * 180))
    assert [len(text) for _, text in found.transcript] == [8, 7, 180, 180, 140, 3]
    bot.hang_up()
    assert world.until(Ended) == Ended("ada", Cause.NORMAL)
    assert not [one for one in world.reports if isinstance(one, HandedOver)]


def test_what_a_bot_writes_can_stand_in_a_report_whatever_it_is(world, bot):
    world.connect(bot.url)
    world.wait(lambda: bot.frames)
    bot.said("caller", "" if bot.NORMAL == grpc.StatusCode.OK else "\ud800!")  # which no message of gRPC can carry
    bot.hand_over(queue="p" * 5000 + "\n", agent="l\x00i", summary="a refund\nof 20\r\n\tyuan\x1b[2J")
    found = world.until(HandedOver)
    event = event_of(found, "n1")
    assert found.to_agent == "l i" and len(found.to_queue) == 255
    assert found.transcript[:3] == (("summary", "a refund"), ("summary", "of 20"), ("summary", " yuan [2J"))
    assert check_event({"t": 0.0, **event}, EVENTS | CALL_EVENTS) and report_message(found).SerializeToString()


@pytest.mark.parametrize(
    ("kind", "does", "why"),
    [
        ("websocket", lambda bot: bot.die(), "closed the line with 1006"),
        ("grpc", lambda bot: bot.die(), "closed the line with "),
        ("websocket", lambda bot: bot.hang_up(bot.FAILED), "closed the line with 1011"),
        ("grpc", lambda bot: bot.hang_up(bot.FAILED), "closed the line with INTERNAL"),
        ("websocket", lambda bot: bot.send_raw("what?"), "no message: JSONDecodeError"),
        ("websocket", lambda bot: bot.send_raw(b"\xff\x00"), "no message: "),
        ("grpc", lambda bot: bot.send_raw(b"\xff\x00"), "no message"),
        ("websocket", lambda bot: bot.send_raw("[]"), "no message: TypeError"),
        ("websocket", lambda bot: bot.send("media", media={"payload": "not base64!"}), "no message: Error"),
        ("websocket", lambda bot: bot.send("transcript", transcript={"text": 7}), "no message: TypeError"),
        ("websocket", lambda bot: bot.send_huge(), "closed the line with 1006"),
        ("grpc", lambda bot: bot.send_huge(), "closed the line with RESOURCE_EXHAUSTED"),
        ("websocket", lambda bot: (bot.say(2600.0, 30.0), bot.mark_often(1001)), "more than 1000 marks"),
        ("grpc", lambda bot: (bot.say(2600.0, 30.0), bot.mark_often(1001)), "more than 1000 marks"),
    ],
)
def test_a_bot_that_fails_says_why_once_and_its_caller_stays(world, kind, does, why):
    bot = BOTS[kind]()
    world.connect(bot.url)
    world.wait(lambda: bot.frames)
    bot.said("bot", "hello")
    world.wait(lambda: len(bot.frames) > 20)  # and it has come
    does(bot)
    found = world.until(HandedOver)
    assert why in found.why and found.transcript == (("bot", "hello"),)
    assert world.until(Ended) == Ended("ada", Cause.FAILED)
    assert world.backend.legs() == {world.caller}
    bot.close()


def test_a_bot_that_reads_nothing_is_given_up(world, bot):
    bot.deaf = True
    world.connect(bot.url)
    found = world.until(HandedOver)
    assert found.why
    assert world.until(Ended).cause == Cause.FAILED
    bot.deaf = False


def test_a_bot_that_is_far_ahead_waits_and_is_not_taken_for_dead(world, bot, monkeypatch):
    monkeypatch.setattr("cordboard.bindings.bot_lines.PING_S", 1.0)
    world.connect(bot.url)
    world.wait(lambda: bot.frames)
    # When it says more than there is room for
    bot.say(2600.0, 210.0)
    began = len(bot.frames)
    world.wait(lambda: len(bot.frames) > began + 200)
    # Then it still hears and is heard, and nobody has given it up
    assert bot.hears(world.call.hertz) and world.telephone.hears(world.call, 2600.0) and not world.reports
    world.backend.send([HangUp("ada")])
    assert world.until(Ended) == Ended("ada", Cause.NORMAL)


def test_the_bot_of_the_guide_says_back_what_it_hears_and_hands_over_at_a_key_and_may_be_killed(world):
    # Given the example, which the guide prints, as a process of its own
    example, guide = ROOT / "docs" / "examples" / "voice_bot.py", (ROOT / "docs" / "guides" / "voice-bots.md").read_text()
    program = example.read_text()
    assert program[program.index("class Echo") : program.index("\n\n\nasync def main")] in guide
    with subprocess.Popen([sys.executable, str(example), "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as bot:
        assert bot.stdout is not None
        world.connect(f"grpc://127.0.0.1:{int(bot.stdout.readline().split()[1])}")
        # Then a caller hears the own voice, and a key leads on
        world.wait(lambda: world.telephone.hears(world.call, world.call.hertz))
        world.telephone.press(world.call, "1")
        assert world.until(HandedOver).transcript == (("summary", "pressed a key"), ("caller", "has pressed a key"))
        assert world.until(Key).key == HIDDEN
        # And when it is killed, the caller stays
        bot.kill()
        assert world.until(HandedOver).why == "the bot has closed the line with UNAVAILABLE"
        assert world.until(Ended) == Ended("ada", Cause.FAILED)
        assert world.backend.legs() == {world.caller}


@pytest.mark.parametrize("refuses", [grpc.StatusCode.RESOURCE_EXHAUSTED, None])
def test_a_bot_on_a_stream_that_does_not_welcome_a_call_has_not_taken_it(world, refuses):
    bot = StreamBot()
    bot.refuses, bot.greets = refuses, False
    world.backend.send([Dial("ada", bot.url)])
    if refuses is None:
        world.wait(lambda: bot.start is not None)
        bot.said("bot", "hello")
    assert world.until(Ended) == Ended("ada", Cause.UNREACHABLE)
    assert world.backend.legs() == {world.caller} and not world.reports
    bot.close()


def test_a_bot_that_is_not_there_or_elsewhere_is_not_called(world):
    there = {"b1": "ws://127.0.0.1:9/", "b2": "wss://192.0.2.1/", "b3": "ws://[::1", "b4": "grpc://127.0.0.1:9", "b5": "grpcs://192.0.2.1", "b6": "grpc://192.0.2.1"}
    world.backend.send([Dial(leg, url) for leg, url in there.items()])
    ends = [world.until(Ended) for _ in there]
    gone, wrong = Cause.UNREACHABLE, Cause.FAILED
    assert {one.leg: one.cause for one in ends} == {"b1": gone, "b2": wrong, "b3": wrong, "b4": gone, "b5": wrong, "b6": wrong}
    assert world.backend.legs() == {world.caller}


def test_a_number_that_looks_like_a_bot_is_none(world):
    world.backend.send([Dial("b1", "ws://127.0.0.1:9/", trunk="main")])
    assert world.until(Ended).leg == "b1"
    assert world.backend._bots._lines is None


def test_a_caller_who_hangs_up_while_the_bot_is_called_leaves_nothing(world, bot):
    world.backend.send([Dial("ada", bot.url), HangUp("ada")])
    assert world.until(Ended) == Ended("ada", Cause.CANCELLED)
    assert world.backend.legs() == {world.caller}


@pytest.mark.parametrize("kind", BOTS)
def test_a_bot_on_tls_must_show_a_certificate_that_somebody_vouches_for(tmp_path, kind):
    # Given a bot whose certificate its own authority has signed
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=bot", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "bot.key", "-out", "bot.pem"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    bot = BOTS[kind](tls=(tmp_path / "bot.pem", tmp_path / "bot.key"))
    # Then a node that was told of the authority takes it, and another one does not
    for authority, taken in ((tmp_path / "bot.pem", True), (None, False)):
        world = World(tmp_path, bots_authority=authority)
        if taken:
            world.connect(bot.url)
            world.wait(lambda: bot.frames)
        else:
            world.backend.send([Dial("ada", bot.url)])
            assert world.until(Ended) == Ended("ada", Cause.UNREACHABLE)
        world.close()
    bot.close()
