"""Voice bots over real audio: a caller's SIP telephone, a media node on PJSIP, and a bot that speaks Twilio Media Streams."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cordboard.media.backend import Answer, Answered, Cause, Connect, Dial, Ended, HandedOver, HangUp, Incoming, Key
from cordboard.media.simulated import FarEnd
from tests.sip_peer import RATE, Telephone, from_ulaw, loudness, to_ulaw, tone

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.pjsip.backend import PjsipMedia
from tests.sip_world import settings

PATIENCE_S = 20.0


class Bot:
    """A WebSocket server that keeps what it is sent; tests say what it sends. ``secure``: its TLS context."""

    def __init__(self, secure: Any = None) -> None:
        self.got: list[dict[str, Any]] = []
        self.over: list[int] = []  # codes
        self.deaf = False
        self._socket: ServerConnection | None = None
        self._loop, ready = asyncio.new_event_loop(), threading.Event()

        async def live() -> None:
            self._stop = asyncio.Event()
            async with serve(self._talk, "127.0.0.1", 0, ssl=secure, max_queue=1) as server:
                self.port = next(iter(server.sockets)).getsockname()[1]
                ready.set()
                await self._stop.wait()

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(live()), daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE_S)
        self.url = f"{'wss' if secure else 'ws'}://127.0.0.1:{self.port}/ada?key=1"

    async def _talk(self, socket: ServerConnection) -> None:
        self._socket = socket
        while self.deaf:
            await asyncio.sleep(0.1)
        async for text in socket:
            self.got.append(json.loads(text))
        self.over.append(socket.close_code or 0)

    def _do(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)

    def send(self, event: str, **fields: Any) -> None:
        assert self._socket is not None
        self._do(self._socket.send(json.dumps({"event": event, "streamSid": self.stream, **fields})))

    def send_text(self, text: str | bytes) -> None:
        assert self._socket is not None
        self._do(self._socket.send(text))

    def say(self, hertz: float, seconds: float) -> None:
        audio = to_ulaw(tone(hertz, int(seconds * RATE)))
        for at in range(0, len(audio), RATE):
            self.send("media", media={"payload": base64.b64encode(audio[at : at + RATE]).decode()})

    def mark_often(self, times: int) -> None:
        with contextlib.suppress(ConnectionClosed):  # it has been enough
            for _ in range(times):
                self.send("mark", mark={"name": "m"})

    def hang_up(self, code: int = 1000) -> None:
        assert self._socket is not None
        self._do(self._socket.close(code))

    def die(self) -> None:
        assert self._socket is not None
        self._loop.call_soon_threadsafe(self._socket.transport.abort)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in list(self.got) if one["event"] == kind]

    @property
    def stream(self) -> str:
        sid: str = self.events("start")[0]["streamSid"]
        return sid

    def hears(self, hertz: float) -> bool:
        audio = b"".join(base64.b64decode(one["media"]["payload"]) for one in self.events("media")[-10:])
        return len(audio) == 1600 and loudness(from_ulaw(audio), hertz) > 1500

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)


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
        self.backend.send([Dial("ada", url, caller="138", headers=(("queue", "billing"), ("language", "zh")))])
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


@pytest.fixture
def bot() -> Iterator[Bot]:
    bot = Bot()
    yield bot
    bot.close()


def test_a_bot_for_twilio_hears_and_is_heard_gets_keys_and_marks_and_is_cleared(world, bot):
    world.connect(bot.url)
    # The bot is told of the call as Twilio tells it, and hears the caller, frame after frame
    world.wait(lambda: bot.hears(world.call.hertz))
    assert bot.got[0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    start = bot.events("start")[0]
    assert start["sequenceNumber"] == "1" and start["start"]["streamSid"] == start["streamSid"]
    assert start["start"]["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert start["start"]["customParameters"] == {"from": "138", "queue": "billing", "language": "zh"}
    media = bot.events("media")[:50]
    chunks = [int(one["media"]["chunk"]) for one in media]
    assert chunks == list(range(chunks[0], chunks[0] + len(chunks)))
    assert [int(one["media"]["timestamp"]) for one in media] == [20 * (chunk - 1) for chunk in chunks]
    numbers = [int(one["sequenceNumber"]) for one in list(bot.got)[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    # What it says is heard, and a mark behind it comes back when it was
    bot.say(2600.0, 1.0)
    bot.send("mark", mark={"name": "said"})
    assert not bot.events("mark")
    world.wait(lambda: world.telephone.hears(world.call, 2600.0))
    world.wait(lambda: bot.events("mark"))
    assert bot.events("mark")[0]["mark"] == {"name": "said"}
    # When the caller breaks in, the rest is cleared: its mark comes back at once, and it is not heard
    bot.say(3000.0, 60.0)
    bot.send("mark", mark={"name": "long"})
    world.wait(lambda: world.telephone.hears(world.call, 3000.0))
    bot.send("clear")
    world.wait(lambda: len(bot.events("mark")) == 2)
    world.wait(lambda: not world.telephone.hears(world.call, 3000.0))
    # A key comes, and the end
    world.telephone.press(world.call, "7")
    world.until(Key)
    world.wait(lambda: bot.events("dtmf"))
    assert bot.events("dtmf")[0]["dtmf"]["digit"] == "7"
    world.backend.send([HangUp("ada")])
    assert world.until(Ended) == Ended("ada", Cause.NORMAL)
    world.wait(lambda: bot.over == [1000])
    assert bot.events("stop") and world.caller in world.backend.legs()


def test_a_bot_hands_over_with_its_transcript_and_says_goodbye(world, bot):
    world.connect(bot.url)
    world.wait(lambda: bot.events("start"))
    bot.send("transcript", transcript={"who": "caller", "text": "my bill"})
    bot.send("transcript", transcript={"text": "x" * 500})
    bot.send("something-new", whatever=1)
    bot.send("handover", handover={"queue": "people", "summary": "a refund", "transcript": [{"who": "caller", "text": "yes"}]})
    found = world.until(HandedOver)
    assert (found.leg, found.caller, found.to_queue, found.to_agent, found.why) == ("ada", "138", "people", "", "")
    assert found.transcript[:2] == (("summary", "a refund"), ("caller", "my bill"))
    assert [len(text) for _, text in found.transcript] == [8, 7, 200, 200, 100, 3]
    bot.hang_up()
    assert world.until(Ended) == Ended("ada", Cause.NORMAL)
    assert not [one for one in world.reports if isinstance(one, HandedOver)]


@pytest.mark.parametrize(
    ("does", "why"),
    [
        (lambda bot: bot.die(), "closed the line with 1006"),
        (lambda bot: bot.hang_up(1011), "closed the line with 1011"),
        (lambda bot: bot.send_text("what?"), "no message: JSONDecodeError"),
        (lambda bot: bot.send_text(b"\xff\x00"), "no message: "),
        (lambda bot: bot.send_text("[]"), "no message: TypeError"),
        (lambda bot: bot.send("media", media={"payload": "not base64!"}), "no message: Error"),
        (lambda bot: bot.send("transcript", transcript={"text": 7}), "no message: TypeError"),
        (lambda bot: bot.send_text("x" * (2 << 20)), "closed the line with 1006"),
        (lambda bot: (bot.say(2600.0, 30.0), bot.mark_often(1001)), "more than 1000 marks"),
    ],
)
def test_a_bot_that_fails_says_why_once_and_its_caller_stays(world, bot, does, why):
    world.connect(bot.url)
    world.wait(lambda: bot.events("media"))
    bot.send("transcript", transcript={"who": "bot", "text": "hello"})
    does(bot)
    found = world.until(HandedOver)
    assert why in found.why and found.transcript == (("bot", "hello"),)
    assert world.until(Ended) == Ended("ada", Cause.FAILED)
    assert world.backend.legs() == {world.caller}


def test_a_bot_that_reads_nothing_is_given_up(world, bot):
    bot.deaf = True
    world.connect(bot.url)
    found = world.until(HandedOver)
    assert found.why
    assert world.until(Ended).cause == Cause.FAILED
    bot.deaf = False


def test_a_bot_that_is_not_there_or_elsewhere_is_not_called(world):
    world.backend.send([Dial("b1", "ws://127.0.0.1:9/"), Dial("b2", "wss://192.0.2.1/"), Dial("b3", "ws://[::1")])
    ends = [world.until(Ended) for _ in range(3)]
    assert {(one.leg, one.cause) for one in ends} == {("b1", Cause.UNREACHABLE), ("b2", Cause.FAILED), ("b3", Cause.FAILED)}
    assert world.backend.legs() == {world.caller}


def test_a_number_that_looks_like_a_bot_is_none(world):
    world.backend.send([Dial("b1", "ws://127.0.0.1:9/", trunk="main")])
    assert world.until(Ended).leg == "b1"
    assert world.backend._bots._lines is None


def test_a_caller_who_hangs_up_while_the_bot_is_called_leaves_nothing(world, bot):
    world.backend.send([Dial("ada", bot.url), HangUp("ada")])
    assert world.until(Ended) == Ended("ada", Cause.CANCELLED)
    assert world.backend.legs() == {world.caller}


def test_a_bot_on_tls_must_show_a_certificate_that_somebody_vouches_for(tmp_path):
    # Given a bot whose certificate its own authority has signed
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=bot", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "bot.key", "-out", "bot.pem"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "bot.pem", tmp_path / "bot.key")
    bot = Bot(context)
    # Then a node that was told of the authority takes it, and another one does not
    for authority, taken in ((tmp_path / "bot.pem", True), (None, False)):
        world = World(tmp_path, bots_authority=authority)
        if taken:
            world.connect(bot.url)
            world.wait(lambda: bot.events("media"))
        else:
            world.backend.send([Dial("ada", bot.url)])
            assert world.until(Ended) == Ended("ada", Cause.UNREACHABLE)
        world.close()
    bot.close()
