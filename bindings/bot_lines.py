"""The lines to voice bots of one media node: a thread of their own, which carries audio between streams and bots.

A line is one call of a bot. It connects where the settings say; from then on what the stream hears is sent every
20 ms, and what the bot says is played. Marks are positions of what was said: they come back when as much has been
played. Whatever a bot does ends in one :class:`Over`: it does not answer in time, reads too slowly, dies, or sends
garbage.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

from cordboard.bindings.bot_messages import (
    FRAME,
    About,
    Clear,
    FromBot,
    GarbageError,
    HandOver,
    Heard,
    LostError,
    Mark,
    Played,
    Pressed,
    Said,
    Say,
    Transcript,
    Wire,
    plain,
)
from cordboard.journal import NAME_CHARACTERS_MAX
from cordboard.media.backend import Cause

TICK_S = 0.02
CONNECT_S = 5.0  # for a bot to take a call
STUCK_S = 5.0  # a bot that reads nothing for so long is lost
PING_S = 5.0  # between two pings; a bot that has said nothing at all from one to the next is lost
CLOSE_S = 2.0
MARKS_MAX = 1000  # that have not come back
KEYS_MAX = 100
SECURE, PLAIN = ("wss", "grpcs"), ("ws", "grpc")

log = logging.getLogger(__name__)


class Audio(Protocol):
    """Both ways of a stream, see bindings/pjsip/stream.h; mu-law. Each method is called by one thread."""

    def heard(self) -> tuple[bytes, int, int] | None: ...
    def say(self, audio: bytes) -> int: ...
    def clear(self) -> bool: ...
    def said(self) -> tuple[int, int] | None: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """The bot has taken the call."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Somebody else is to go on. ``why``: the bot failed; empty if it has asked for it."""

    queue: str
    agent: str
    why: str
    transcript: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Over:
    """The line is over: normal, or why not."""

    cause: Cause


News: TypeAlias = Opened | HandedOver | Over


@dataclass(slots=True)
class _Line:
    about: About
    audio: Audio
    keys: deque[str] = field(default_factory=lambda: deque(maxlen=KEYS_MAX))
    marks: deque[tuple[int, str]] = field(default_factory=deque)  # where, and its name
    transcript: Transcript = field(default_factory=Transcript)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    listening: bool = False  # we wait for what the bot says; not while there is no room for more
    spoke: bool = False  # since the last ping


def is_bot(address: str) -> bool:
    """Whether an address is that of a bot."""
    return address.partition(":")[0].lower() in (*SECURE, *PLAIN)


def refusal(address: str, beyond_loopback: bool) -> str:
    """Why a bot is not called there; empty if it is."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host:
        return "this is no address of a bot"
    local = host == "localhost" or _is_loopback(host)
    if not local and not beyond_loopback:
        return "this bot is not on this machine, and beyond_loopback is not set"
    if not local and parts.scheme in PLAIN:
        return "a bot on another machine is called by TLS alone"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Lines:
    """See above. ``tell``: takes the news of a leg, in the thread of the lines. ``authority``: PEM of who vouches for
    bots; None: whom the system trusts."""

    def __init__(self, tell: Callable[[str, News], None], authority: Path | None = None) -> None:
        self._tell = tell
        self._authority, self._context = authority, ssl.create_default_context(cafile=authority)
        self._lines: dict[str, _Line] = {}  # of the loop's thread alone
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cordboard-bots", daemon=True)
        self._thread.start()

    # ---- from any thread

    def open(self, about: About, audio: Audio) -> None:
        """Call a bot: Opened comes, or Over."""
        self._loop.call_soon_threadsafe(self._begin, about, audio)

    def key(self, leg: str, key: str) -> None:
        """The caller has pressed a key."""
        self._loop.call_soon_threadsafe(self._press, leg, key)

    def close(self, leg: str) -> None:
        """The call is over: say goodbye. No news comes any more that anybody waits for."""
        self._loop.call_soon_threadsafe(self._end, leg)

    def stop(self) -> None:
        """End all lines, and the thread."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ---- in the thread of the lines

    def _begin(self, about: About, audio: Audio) -> None:
        line = self._lines[about.leg] = _Line(about, audio)
        task = self._loop.create_task(self._live(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _press(self, leg: str, key: str) -> None:
        if leg in self._lines:
            self._lines[leg].keys.append(key)

    def _end(self, leg: str) -> None:
        if leg in self._lines:
            self._lines[leg].closing.set()

    async def _stop(self) -> None:
        for line in self._lines.values():
            line.closing.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _live(self, line: _Line) -> None:
        leg, wire = line.about.leg, None
        try:
            wire = await self._connect(line)
            if wire is None:
                self._tell(leg, Over(Cause.UNREACHABLE))
                return
            self._tell(leg, Opened())
            why = await self._converse(line, wire)
            if why:
                log.warning("bot %s: %s", leg, why)
                self._tell(leg, HandedOver("", "", why, line.transcript.whole()))
            self._tell(leg, Over(Cause.FAILED if why else Cause.NORMAL))
        except Exception:  # a mistake of ours must leave no caller with nobody
            log.exception("the line of bot %s has failed", leg)
            self._tell(leg, HandedOver("", "", "the line has failed", line.transcript.whole()))
            self._tell(leg, Over(Cause.FAILED))
        finally:
            del self._lines[leg]
            if wire is not None:
                with contextlib.suppress(Exception):  # it is over, whether the bot hears of it or not
                    await asyncio.wait_for(wire.close(), CLOSE_S)

    async def _connect(self, line: _Line) -> Wire | None:
        """Unless the call is over before."""
        opening = self._loop.create_task(self._open(line.about))
        closing = self._loop.create_task(line.closing.wait())
        await asyncio.wait((opening, closing), timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait((opening,))
        if opening.cancelled() or opening.exception() is not None:
            why = "it does not answer" if opening.cancelled() else repr(opening.exception())
            log.warning("bot %s does not take a call: %s", line.about.leg, why)
            return None
        return opening.result()

    async def _open(self, about: About) -> Wire:
        if about.to.lower().startswith("grpc"):
            from cordboard.bindings.bot_stream import Stream  # each needs an extra

            return await Stream.open(about, self._authority)
        from cordboard.bindings.twilio import Twilio

        return await Twilio.open(about, self._context)

    async def _converse(self, line: _Line, wire: Wire) -> str:
        """Until either side has enough; why the bot failed, empty if it has not."""
        works = [self._loop.create_task(work(line, wire)) for work in (self._listen, self._speak)]
        works.append(self._loop.create_task(line.closing.wait()))  # type: ignore[arg-type]
        done, left = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if line.closing.is_set():
            return ""
        for task in done:
            error = task.exception()
            if isinstance(error, TimeoutError):
                return "the bot does not read"
            if isinstance(error, GarbageError | LostError):
                return str(error)
            if error is not None:
                raise error
        return ""

    async def _speak(self, line: _Line, wire: Wire) -> None:
        """To the bot: what is heard, keys, and marks that have been reached."""
        due = self._loop.time()
        ping_at = due + PING_S
        await wire.ping()
        while True:
            async with asyncio.timeout(STUCK_S):
                await self._tick(line, wire)
                if due >= ping_at and (line.spoke or wire.answered() or line.listening):
                    if not (line.spoke or wire.answered()):
                        raise LostError("the bot answers no ping")
                    line.spoke, ping_at = False, due + PING_S
                    await wire.ping()
            due = max(due + TICK_S, self._loop.time() - TICK_S)  # after a pause, not all that was missed at once
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    async def _tick(self, line: _Line, wire: Wire) -> None:
        heard, said = line.audio.heard(), line.audio.said()
        if heard is None or said is None:
            raise LostError("its stream is closed")
        audio, first, _ = heard
        for at in range(0, len(audio), FRAME):
            await wire.send(Heard(first + at // FRAME, audio[at : at + FRAME]))
        while line.keys:
            await wire.send(Pressed(line.keys.popleft()))
        while line.marks and line.marks[0][0] <= said[1]:
            await wire.send(Played(line.marks.popleft()[1]))

    async def _listen(self, line: _Line, wire: Wire) -> None:
        """From the bot."""
        line.listening = True
        async for message in wire.messages():
            line.listening, line.spoke = False, True
            await self._take(line, message)
            line.listening = True

    async def _take(self, line: _Line, message: FromBot) -> None:
        if isinstance(message, Say):
            audio = message.audio
            while audio:  # a bot that is two minutes ahead is not read until there is room
                taken = line.audio.say(audio)
                audio = audio[taken:] if taken >= 0 else b""
                if audio:
                    await asyncio.sleep(TICK_S)
        elif isinstance(message, Clear):
            line.audio.clear()
        elif isinstance(message, Mark):
            said = line.audio.said()
            if len(line.marks) == MARKS_MAX:
                raise GarbageError(f"the bot waits for more than {MARKS_MAX} marks")
            line.marks.append((said[0] if said is not None else 0, message.name))
        elif isinstance(message, Said):
            line.transcript.add(message)
        elif isinstance(message, HandOver):
            for one in message.said:
                line.transcript.add(one)
            whole = line.transcript.whole(message.summary)
            queue, agent = (plain(name)[:NAME_CHARACTERS_MAX] for name in (message.queue, message.agent))
            self._tell(line.about.leg, HandedOver(queue, agent, "", whole))
