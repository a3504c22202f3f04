"""MediaBackend on pjsua2 from PyPI: a pool of child processes, for trial, demo and tests.

The wheel was compiled for four calls and 64 sockets a process, and aborts when calls change too fast. So every child
has at most four calls, gets so many new ones a second, and is replaced when it dies; its calls, and no others, end as
failed. Legs are where there was room. Two who are on different children hear each other by a line between them
(:mod:`~cordboard.bindings.wheel.ports`). One SIP port stands in front of all (:mod:`~cordboard.bindings.wheel.front`).
"""

from __future__ import annotations

import importlib.util
import ipaddress
import itertools
import logging
import pickle
import secrets
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

from cordboard.bindings.addresses import networks
from cordboard.bindings.bot_lines import is_bot
from cordboard.bindings.settings import SipSettings, Srtp, Transport
from cordboard.bindings.trunks import Trunks
from cordboard.bindings.wheel.front import Address, Front
from cordboard.bindings.wheel.words import PACKET_MAX, Beat, Begin, Broken, Close, Leaving, Open, Ready
from cordboard.errors import InputError, MissingExtraError, Where
from cordboard.media.backend import (
    RECORDING_SUFFIX,
    USED,
    Cause,
    Command,
    Connect,
    Dial,
    Disconnect,
    Ended,
    HangUp,
    Incoming,
    PauseRecording,
    Record,
    Recorded,
    Refused,
    Report,
    StopRecording,
    refusals,
)
from cordboard.recordings.container import seconds_written

CALLS = 4  # of a child: the wheel was compiled for so many
LEGS_MAX = 160
CODECS = ("PCMA/8000/1", "PCMU/8000/1", "G722/16000/1")
NEW_PER_S = 8.0  # calls of a child, in and out
BURST = 4.0
START_S = 30.0
SILENT_S = 10.0  # a child that says nothing for so long hangs
EXPECTED_S = 5.0  # from the INVITE that the front has given away to its report
AGAIN_S = (0.5, 30.0)  # until a child that died is replaced; twice as long each time that it did not start
CLOSING_S = 3.0
OUTBOX_MAX = 1_000
NAMES_MAX = 100_000
SOURCES_MAX = 4_096
NO_LEG = "there is no such leg"

log = logging.getLogger(__name__)


_User = tuple[str, str]


@dataclass(slots=True, eq=False)
class _Child:
    number: int
    process: subprocess.Popen[bytes]
    socket: socket.socket
    calls: int
    heard: float
    address: Address | None = None  # of SIP; None before it is ready
    legs: set[str] = field(default_factory=set)
    leaving: int = 0  # calls that are over and that the other side has not confirmed
    outbox: deque[tuple[float, bytes]] = field(default_factory=deque)  # from when on, and what
    credit: float = BURST
    credit_at: float = 0.0
    expected: deque[tuple[float, str]] = field(default_factory=deque)  # calls that are on the way: until, trunk

    def free(self) -> int:
        """How many calls it has room for; 0 before it is ready."""
        return self.calls - len(self.legs) - len(self.expected) - self.leaving if self.address else 0

    def wait(self, now: float) -> float:
        """Seconds until it may get another call."""
        self.credit = min(BURST, self.credit + (now - self.credit_at) * NEW_PER_S)
        self.credit_at = now
        return max(0.0, (1.0 - self.credit) / NEW_PER_S)


@dataclass(slots=True)
class _Line:
    """What a leg says, on another child. ``users``: who hears it there, ("leg", name) or ("recording", name)."""

    name: str
    source: str
    ends: tuple[_Child, _Child]
    users: set[_User] = field(default_factory=set)


class WheelMedia:
    """See above, and :class:`cordboard.media.backend.MediaBackend`. ``settings.legs_max`` is rounded up to a
    multiple of ``calls``, those of a child, four at most.

    MissingExtraError if the wheel is not installed, InputError if it can't do what the settings say, OSError if the
    pool can't start.
    """

    def __init__(self, settings: SipSettings, calls: int = CALLS) -> None:
        if importlib.util.find_spec("pjsua2") is None:
            raise MissingExtraError("pjsua2-python", "media")
        check(settings)
        self._settings, self._calls = settings, calls
        self._trunks = Trunks(settings.trunks)
        self._sources = [(network, trunk.name) for trunk in settings.trunks for network in networks(trunk.networks())]
        self._sources += [(network, "") for network in networks(settings.phones)]
        self._folder = tempfile.TemporaryDirectory(prefix="cordboard-")
        self._selector = selectors.DefaultSelector()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._children: list[_Child] = []
        self._numbers, self._streams = itertools.count(), itertools.count(1)
        self._where: dict[str, _Child] = {}
        self._trunk_of: dict[str, str] = {}
        self._used: dict[str, None] = {}
        self._recordings: dict[str, _Child] = {}
        self._lines: dict[tuple[str, int], _Line] = {}  # by whose audio it is and the child that hears it
        self._reports: list[Report] = []
        self._rates: dict[str, tuple[float, float]] = {}  # of sources: credit, since when
        self._missing: list[float] = []  # when children that died are to be replaced
        self._delay = AGAIN_S[0]
        self._looked = time.monotonic()
        self._closing = self._closed = self._awake = False
        self._bell = socket.socketpair()
        self.turned_away = 0
        try:
            self._start()
        except BaseException:
            self._stop()
            raise

    def _start(self) -> None:
        settings = self._settings
        self._socket.bind((settings.address, settings.port or 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._selector.register(self._socket, selectors.EVENT_READ)
        for end_of_bell in self._bell:
            end_of_bell.setblocking(False)
        self._selector.register(self._bell[0], selectors.EVENT_READ)
        self._front = Front((settings.address, self.port), self._place, self._addresses, secrets.token_bytes(16))
        for _ in range(-(-settings.legs_max // self._calls)):
            self._spawn()
        end = time.monotonic() + START_S
        while not all(child.address for child in self._children):
            self._turn(0.1)
            if self._missing or time.monotonic() >= end:
                raise OSError("a child process did not start")

    # ---- MediaBackend

    def send(self, commands: Sequence[Command]) -> None:
        """Take commands, in order. What can't be done is a Refused report."""
        for command in commands:
            why = "closed" if self._closed else self._do(command)
            if why:
                self._reports += refusals(command, why)

    def reports(self, timeout: float) -> list[Report]:
        """What has happened, in order: at once if there is something, else after at most ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while not self._closed:
            self._turn(0.0 if self._reports else max(0.0, end - time.monotonic()))
            if self._reports or self._awake or time.monotonic() >= end:
                break
        self._awake = False
        found, self._reports = self._reports, []
        return found

    def wake(self) -> None:
        """From any thread: let ``reports`` return at once."""
        self._awake = True
        with suppress(OSError):  # a full bell rings already
            self._bell[1].send(b"!")

    def legs(self) -> frozenset[str]:
        """The legs that are not over."""
        return frozenset(self._where)

    def close(self) -> None:
        """Hang up everything and stop; some seconds at most."""
        if self._closed:
            return
        self._closing = True
        for child in self._children:
            self._say(child, Close())
        end = time.monotonic() + CLOSING_S
        while self._children and time.monotonic() < end:
            self._turn(0.1)
        for child in list(self._children):
            self._lost(child)
        self._closed = True
        self._stop()

    def _stop(self) -> None:
        for child in self._children:
            child.process.kill()
            child.process.wait()
            child.socket.close()
        self._children.clear()
        self._selector.close()
        self._socket.close()
        for end_of_bell in self._bell:
            end_of_bell.close()
        self._folder.cleanup()

    # ---- commands

    def _do(self, command: Command) -> str:
        """Hand it to its child; why not, if it can't be done."""
        if isinstance(command, Dial):
            return self._dial(command)
        if isinstance(command, Connect | Disconnect):
            return self._link(command)
        if isinstance(command, Record):
            return self._record(command)
        if isinstance(command, PauseRecording | StopRecording):
            child = self._recordings.get(command.recording)
            if child is None:
                return "there is no such recording"
            if isinstance(command, StopRecording):
                del self._recordings[command.recording]
            self._say(child, command)
            return ""
        child = self._where.get(command.leg)
        if child is None:
            return NO_LEG
        self._say(child, command)
        return ""

    def _dial(self, dial: Dial) -> str:
        if dial.leg in self._used:
            return USED
        self._used[dial.leg] = None
        if len(self._used) > NAMES_MAX:
            del self._used[next(iter(self._used))]
        if is_bot(dial.to) and not dial.trunk:
            return "the media layer of the wheel has no voice bots: use the production build (make media)"
        if len(pickle.dumps(dial)) > PACKET_MAX:
            return "a text is too long"
        now = time.monotonic()
        free = [child for child in self._children if child.free() > 0]
        taken = bool(free) and self._trunks.get(dial.trunk) is not None
        if not free or (taken and self._trunks.outgoing(dial.trunk, now) is None):
            self._reports.append(Ended(dial.leg, Cause.CONGESTION))
            return ""
        # Where calls are already, so that those who talk are likely on one child; but first where it need not wait.
        child = min(free, key=lambda one: (one.wait(now), -len(one.legs), one.number))
        wait = child.wait(now)
        child.credit -= 1.0
        self._begin(child, dial.leg, dial.trunk if taken else "")
        self._say(child, dial, now + wait)
        return ""

    def _begin(self, child: _Child, leg: str, trunk: str) -> None:
        child.legs.add(leg)
        self._where[leg] = child
        if trunk:
            self._trunk_of[leg] = trunk

    def _link(self, command: Connect | Disconnect) -> str:
        there = self._where.get(command.sink)
        if isinstance(command, Disconnect) and not command.source and there is not None:
            self._say(there, command)
            self._unused(("leg", command.sink))
            return ""
        here = self._where.get(command.source)
        if here is None or there is None:
            return "" if isinstance(command, Disconnect) else NO_LEG
        if here is there:
            self._say(there, command)
        elif isinstance(command, Connect):
            self._say(there, Connect(self._line(command.source, here, there, ("leg", command.sink)), command.sink))
        elif (line := self._lines.get((command.source, there.number))) is not None:
            self._say(there, Disconnect(line.name, command.sink))
            self._unused(("leg", command.sink), line)
        return ""

    def _record(self, command: Record) -> str:
        if not all(leg in self._where for leg in command.legs) or not command.legs:
            return NO_LEG
        child = self._where[command.legs[0]]
        if self._recordings.setdefault(command.recording, child) is not child:
            return ""
        user = "recording", command.recording
        legs = tuple(
            leg if self._where[leg] is child else self._line(leg, self._where[leg], child, user) for leg in command.legs
        )
        self._say(child, Record(command.recording, legs))
        return ""

    # ---- lines

    def _line(self, source: str, here: _Child, there: _Child, user: _User) -> str:
        """The name of the line that brings a leg to another child."""
        line = self._lines.get((source, there.number))
        if line is None:
            stream = next(self._streams)
            line = _Line(f"line {stream} of {source}", source, (here, there))
            self._lines[source, there.number] = line
            self._say(there, Open(line.name, stream, None))
            self._say(here, Open(line.name, stream, there.number))
            self._say(here, Connect(source, line.name))
        line.users.add(user)
        return line.name

    def _unused(self, user: _User, only: _Line | None = None) -> None:
        """Somebody hears a line no more; all lines, if none is named."""
        for line in list(self._lines.values()) if only is None else [only]:
            line.users.discard(user)
            if not line.users:
                self._hang_up_line(line)

    def _hang_up_line(self, line: _Line) -> None:
        del self._lines[line.source, line.ends[1].number]
        for child in line.ends:
            if child in self._children:
                self._say(child, HangUp(line.name))

    # ---- the front

    def _addresses(self) -> set[Address]:
        return {child.address for child in self._children if child.address}

    def _place(self, method: str, source: str) -> Address | int:
        """The child that a request is for, or the code that refuses it."""
        now = time.monotonic()
        address = ipaddress.ip_address(source)
        trunk = next((name for network, name in self._sources if address in network), None)
        if trunk is None or not self._within_rate(source, now):
            self.turned_away += 1
            return 403 if trunk is None else 503
        if method != "INVITE":
            return next((child.address for child in self._children if child.address), 503)
        able = [child for child in self._children if child.free() > 0 and child.wait(now) <= 0.0]
        if not able or (trunk and not self._trunks.incoming(trunk)):
            return 503
        child = max(able, key=lambda one: (len(one.legs), -one.number))
        child.credit -= 1.0
        child.expected.append((now + EXPECTED_S, trunk))
        assert child.address is not None
        return child.address

    def _within_rate(self, source: str, now: float) -> bool:
        most = self._settings.requests_per_s
        credit, then = self._rates.pop(source, (most, now))
        credit = min(most, credit + (now - then) * most)
        self._rates[source] = max(0.0, credit - 1.0), now
        if len(self._rates) > SOURCES_MAX:
            del self._rates[next(iter(self._rates))]
        return credit >= 1.0

    # ---- children

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "cordboard.bindings.wheel.child", str(theirs.fileno())]
        with theirs:
            process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        ours.setblocking(False)
        child = _Child(next(self._numbers), process, ours, self._calls, time.monotonic() + START_S)
        self._children.append(child)
        self._selector.register(ours, selectors.EVENT_READ, child)
        settings = replace(
            self._settings,
            port=0,
            legs_max=self._calls,
            seed=self._settings.seed + child.number,
            trunks=tuple(replace(trunk, lines=0, calls_per_second=0.0) for trunk in self._settings.trunks),
        )
        front = f"{self._settings.address}:{self.port}"
        self._say(child, Begin(settings, front, Path(self._folder.name), child.number))

    def _say(self, child: _Child, word: object, due: float = 0.0) -> None:
        last = child.outbox[-1][0] if child.outbox else 0.0
        child.outbox.append((max(due, last), pickle.dumps(word)))
        self._flush(child)

    def _flush(self, child: _Child) -> None:
        now = time.monotonic()
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while child.outbox and child.outbox[0][0] <= now:
                child.socket.send(child.outbox[0][1])
                child.outbox.popleft()

    def _turn(self, seconds: float) -> None:
        """Wait for news, and take it."""
        now = time.monotonic()
        dues = [child.outbox[0][0] for child in self._children if child.outbox]
        wait = max(0.0, min(seconds, min(dues, default=inf) - now, 0.25))
        for key, _ in self._selector.select(wait):
            if key.fileobj is self._bell[0]:
                self._bell[0].recv(4096)
            elif key.data is None:
                self._relay()
            else:
                self._hear(key.data)
        self._look_after(time.monotonic())

    def _relay(self) -> None:
        for _ in range(100):
            try:
                data, source = self._socket.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError:  # of a datagram that we sent where nobody is
                continue
            found = self._front.take(data, source)
            if found is not None:
                with suppress(OSError):  # UDP: whoever sent it sends it again
                    self._socket.sendto(*found)

    def _hear(self, child: _Child) -> None:
        for _ in range(100):
            try:
                packet = child.socket.recv(PACKET_MAX)
            except BlockingIOError:
                return
            except ConnectionResetError:
                packet = b""
            if not packet:
                self._lost(child)
                return
            child.heard = time.monotonic()
            self._told(child, pickle.loads(packet))

    def _told(self, child: _Child, word: Ready | Broken | Beat | Leaving | Report) -> None:
        if isinstance(word, Ready):
            child.address = (self._settings.address, word.port)
            self._delay = AGAIN_S[0]
        elif isinstance(word, Broken):
            log.error("a child of the media layer can't start: %s", word.why)
        elif isinstance(word, Leaving):
            child.leaving = word.calls
        elif not isinstance(word, Beat):
            self._report(child, word)

    def _report(self, child: _Child, report: Report) -> None:
        if isinstance(report, Incoming):
            on_the_way = next((one for one in child.expected if one[1] == report.trunk), None)
            if on_the_way is not None:
                child.expected.remove(on_the_way)
            self._begin(child, report.leg, report.trunk if on_the_way is not None else "")
        elif isinstance(report, Ended):
            self._end(report.leg)
        elif isinstance(report, Recorded):
            self._recordings.pop(report.recording, None)
            self._unused(("recording", report.recording))
        elif isinstance(report, Refused):
            if report.command == "Record":
                self._recordings.pop(report.name, None)
                self._unused(("recording", report.name))
            source = next((line.source for line in self._lines.values() if line.name == report.name), report.name)
            report = Refused(report.command, source, report.why)
        self._reports.append(report)

    def _end(self, leg: str) -> None:
        """A leg is over."""
        child = self._where.pop(leg)
        child.legs.discard(leg)
        trunk = self._trunk_of.pop(leg, "")
        if trunk:
            self._trunks.release(trunk)
        for line in [line for line in self._lines.values() if line.source == leg]:
            self._hang_up_line(line)
        self._unused(("leg", leg))

    def _lost(self, child: _Child) -> None:
        """A child is gone, with its calls; another one takes its place."""
        child.process.kill()
        status = child.process.wait()
        self._selector.unregister(child.socket)
        child.socket.close()
        self._children.remove(child)
        Path(self._folder.name, str(child.number)).unlink(missing_ok=True)
        for _, trunk in child.expected:
            if trunk:
                self._trunks.release(trunk)
        lost = sorted(child.legs)
        for leg in lost:
            self._end(leg)
            self._reports.append(Ended(leg, Cause.FAILED))
        for line in [line for line in self._lines.values() if child in line.ends]:
            self._hang_up_line(line)
        for recording in [name for name, where in self._recordings.items() if where is child]:
            del self._recordings[recording]
            file = f"{recording}{RECORDING_SUFFIX}"
            self._reports.append(Recorded(recording, file, seconds_written(self._settings.recordings / file)))
        if not self._closing:
            log.warning("a child of the media layer ended (%s) with %d calls", status, len(lost))
            self._missing.append(time.monotonic() + self._delay)
            self._delay = min(2.0 * self._delay, AGAIN_S[1])

    def _look_after(self, now: float) -> None:
        paused, self._looked = now - self._looked > 1.0, now  # whoever has not asked us can't have heard a child
        for child in list(self._children):
            self._flush(child)
            while child.expected and child.expected[0][0] <= now:
                trunk = child.expected.popleft()[1]
                if trunk:
                    self._trunks.release(trunk)
            child.heard = max(child.heard, now) if paused else child.heard
            if now - child.heard > SILENT_S or len(child.outbox) > OUTBOX_MAX:
                log.warning("a child of the media layer does not answer")
                self._lost(child)
        while self._missing and self._missing[0] <= now and not self._closing:
            self._missing.pop(0)
            self._spawn()


def check(settings: SipSettings) -> None:
    """InputError that says all that the wheel can't do of what is asked."""
    trunks = settings.trunks
    srtp = {settings.srtp, *(trunk.srtp for trunk in trunks)} - {None, Srtp.OFF}
    asked = {
        "SIP by TCP or TLS": settings.transports != {Transport.UDP},
        "IPv6": ":" in settings.address,
        "encrypted audio (SRTP)": bool(srtp),
        "registration of phones": settings.registrar is not None,
        "registration at a trunk": any(one.login is not None and one.login.registrar for one in trunks),
        "pings of a trunk": any(one.ping_s for one in trunks),
        "audio from its announced source alone (strict_source) beyond loopback": settings.beyond_loopback
        and settings.strict_rtp,
        "recognizers of speech": bool(settings.recognizers),
        "recordings in Opus": settings.opus,
        f"more than {LEGS_MAX} legs": settings.legs_max > LEGS_MAX,
        "any of these codecs": not any(name in settings.codecs for name in CODECS),
    }
    absent = ", ".join(what for what, wanted in asked.items() if wanted)
    if absent:
        what = f"the media layer of the wheel (pjsua2-python) can't do this: {absent}"
        raise InputError(what, Where(key="--backend"), "Use the production build (make media), or change the settings")
