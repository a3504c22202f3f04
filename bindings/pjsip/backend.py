"""MediaBackend on PJSIP: what a leg is, what it hears, and why it ended.

:mod:`sip` knows calls, ports of the bridge and players; this module knows legs by name. Commands are wishes about a
state: who hears whom is kept here and made true whenever a port of the bridge appears or changes. Every leg that was
named ends through :meth:`PjsipMedia._end`, once: because PJSIP says so, or because the watchdog finds that PJSIP has
forgotten it.
"""

from __future__ import annotations

import heapq
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from cordboard.bindings import prompts
from cordboard.bindings.addresses import user_of
from cordboard.bindings.bot_lines import is_bot
from cordboard.bindings.outcomes import CODES, RETRY_AFTER_S, quality, refusal
from cordboard.bindings.pjsip import events as pj
from cordboard.bindings.pjsip.bots import Bots, Opened, Over
from cordboard.bindings.pjsip.ears import Ears
from cordboard.bindings.pjsip.legs import Leg, Playing, Recording
from cordboard.bindings.pjsip.recognizing import Recognizing
from cordboard.bindings.pjsip.ways import Ways, start
from cordboard.bindings.settings import SipSettings
from cordboard.media.backend import (
    HEADERS_MAX,
    RECORDING_SUFFIX,
    TEXT_MAX,
    USED,
    Answer,
    Answered,
    Cause,
    Command,
    Connect,
    Dial,
    Disconnect,
    Ended,
    HangUp,
    Incoming,
    Listen,
    PauseRecording,
    Play,
    Played,
    Recognize,
    Record,
    Recorded,
    Report,
    Ring,
    Ringing,
    Stop,
    StopListening,
    StopRecognizing,
    StopRecording,
    refusals,
)
from cordboard.recordings.container import OPUS, PCM, Sealer

if TYPE_CHECKING:
    from cordboard.bindings.pjsip.sip import Sip

WATCHDOG_S = 1.0
NAMES_MAX = 100_000  # so many names of legs are remembered
CLOSING_S = 1.0
CANCEL_S = 2.0  # for the other side to confirm that a call is cancelled, or to say that it was answered
_KEYS = re.compile(r"[0-9*#A-Da-d]{1,32}")
_RECORDING = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
NO_LEG = "there is no such leg"
NOT_OPEN = "its audio is not open"


class PjsipMedia:
    """The production media layer; one in a process. See :class:`cordboard.media.backend.MediaBackend`.

    ``start``: gets PJSIP under way, ours or another. OSError if it can't start, RuntimeError if this process has one
    already, InputError if a recognizer of speech can\'t be loaded.
    """

    def __init__(self, settings: SipSettings, start: Callable[[SipSettings], Sip] = start) -> None:
        self._settings = settings
        self._sealer = Sealer(settings.recipients) if settings.recipients else None
        with ExitStack() as undo:
            words = Recognizing(settings.recognizers, self._ring)  # before anybody can call
            undo.callback(words.close)
            self._sip = start(settings)
            undo.callback(self._sip.stop)
            self._ways = Ways(settings, self._sip)
            self._stop_all = undo.pop_all().close
        self.port = self._sip.port(0)
        self.tcp_port, self.tls_port = self._sip.port(1), self._sip.port(2)
        self._turned_away = 0
        self._prefix = secrets.token_hex(4)
        self._ears, self._bots = Ears(self._sip, words), Bots(settings, self._sip, self._ring)
        self._legs: dict[str, Leg] = {}
        self._by_number: dict[int, Leg] = {}
        self._used: dict[str, None] = {}
        self._players: dict[int, Leg] = {}  # number of a player that will say that it is at its end
        self._recordings: dict[str, tuple[int, Recording]] = {}
        self._recorded: dict[int, Recording] = {}  # until sip says that they are complete
        self._due: list[tuple[float, str, int]] = []  # see _place and _tick
        self._watch_at = time.monotonic() + WATCHDOG_S
        self._reports: list[Report] = []
        self._closed = self._awake = False

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
            now = time.monotonic()
            until = min(end, self._watch_at, self._ears.due, self._due[0][0] if self._due else end)
            self._take(self._sip.poll(0.0 if self._reports else max(0.0, until - now)))
            self._take_news()
            self._tick(time.monotonic())
            if self._reports or self._awake or time.monotonic() >= end:
                break
        self._awake = False
        found, self._reports = self._reports, []
        return found

    @property
    def turned_away(self) -> int:
        """Requests from unknown sources, or too many from known ones."""
        return self._turned_away + self._sip.refused

    def legs(self) -> frozenset[str]:
        """The legs that are not over."""
        return frozenset(self._legs)

    def wake(self) -> None:
        """From any thread: let ``reports`` return at once."""
        self._awake = True
        self._ring()

    def _ring(self) -> None:
        """From any thread: there is news of a bot or a recognizer."""
        self._sip.wake()

    def close(self) -> None:
        """Hang up everything and stop; a second at most, for recordings to be written."""
        if self._closed:
            return
        for leg in list(self._legs.values()):
            self._hang_up(leg, Cause.CANCELLED)
        for number, _ in self._recordings.values():
            self._sip.stop_recording(number)
        end = time.monotonic() + CLOSING_S
        while (self._legs or self._recorded) and time.monotonic() < end:
            self._take(self._sip.poll(0.02))
        for leg in list(self._legs.values()):
            self._end(leg, leg.why or Cause.FAILED, 0)
        self._closed = True
        self._bots.stop()
        self._stop_all()
        self._take([event for event in self._sip.take() if event[0] == pj.RECORDED])

    # ---- commands

    def _do(self, command: Command) -> str:
        """Do it; why not, if it can't be done."""
        if isinstance(command, Dial):
            return self._dial(command)
        if isinstance(command, Connect | Disconnect):
            return self._link(command)
        if isinstance(command, Record):
            return self._record(command)
        if isinstance(command, PauseRecording | StopRecording):
            return self._change_recording(command)
        leg = self._legs.get(command.leg)
        if leg is None:
            return NO_LEG
        if isinstance(command, HangUp):
            return self._hang_up(leg, command.cause if leg.incoming else Cause.CANCELLED)
        if isinstance(command, Ring | Answer):
            return self._answer(leg, command)
        if isinstance(command, Play):
            return self._play(leg, command)
        if isinstance(command, Stop):
            self._stop(leg)
            return ""
        if isinstance(command, StopListening | StopRecognizing):
            self._ears.stop(command)
            return ""
        if leg.port < 0:
            return NOT_OPEN
        if isinstance(command, Listen | Recognize):
            return self._ears.listen(command, leg.port, leg.answered_at if leg.answered else None)
        if not _KEYS.fullmatch(command.keys):
            return "these are no keys"
        if leg.bot:
            self._bots.hear((leg.name,), command.keys)
            return ""
        return self._sip.keys(leg.call, leg.number, command.keys)

    def _dial(self, dial: Dial) -> str:
        if dial.leg in self._used:
            return USED
        self._remember(dial.leg)
        texts = [dial.leg, dial.to, dial.caller, *(text for header in dial.headers for text in header)]
        if len(dial.headers) > HEADERS_MAX or any(len(text) > TEXT_MAX or _CONTROL.search(text) for text in texts):
            return "a text is too long or has control characters, or there are too many headers"
        if not all(_HEADER.fullmatch(name) for name, _ in dial.headers):
            return "this is no name of a header"
        now = time.monotonic()
        if is_bot(dial.to) and not dial.trunk:
            return self._dial_bot(dial)
        way = self._ways.find(dial, now)
        if isinstance(way, Cause):
            self._reports.append(Ended(dial.leg, way))
            return ""
        if isinstance(way, str):
            return way
        headers = "\n".join(f"{name}: {value}" for name, value in dial.headers)
        leg = Leg(dial.leg, -1, 0, incoming=False, way=way, headers=headers, trunk=way.trunk)
        why = self._place(leg, now)
        if why:
            self._release(leg)
            if "PJ_ETOOMANY" not in why:
                return why
            self._reports.append(Ended(dial.leg, Cause.CONGESTION))
            return ""
        self._add(leg)
        heapq.heappush(self._due, (now + dial.ring_s, leg.name, 0))
        return ""

    def _dial_bot(self, dial: Dial) -> str:
        if len(self._legs) >= self._settings.legs_max:
            self._reports.append(Ended(dial.leg, Cause.CONGESTION))
            return ""
        why, number = self._bots.dial(dial)
        if not why:
            self._add(Leg(dial.leg, -1, number, incoming=False, bot=True))
        return why

    def _place(self, leg: Leg, now: float) -> str:
        """Call where its way leads to; where that can't be done, the next destination. Why not, if none is left."""
        way = leg.way
        assert way is not None
        while True:
            why, call, number = self._sip.dial(way.to, way.caller, leg.headers, way.account)
            if not why:
                break
            if "PJ_ETOOMANY" in why or not self._ways.next(way, 0, now):
                return why
        leg.call, leg.number, leg.heard, leg.missing = call, number, False, False
        self._by_number[number] = leg
        patience = self._ways.patience(way)
        if patience is not None:
            heapq.heappush(self._due, (now + patience, leg.name, number))
        return ""

    def _elsewhere(self, leg: Leg, code: int, now: float) -> bool:
        """Its call failed, with ``code`` or without a word: whether it goes to another destination. Not if it rang."""
        if leg.way is None or leg.rang or leg.confirmed or leg.why is not None:
            return False
        if not self._ways.next(leg.way, code, now):
            return False
        del self._by_number[leg.number]
        leg.port = -1
        if not self._place(leg, now):
            return True
        self._by_number[leg.number] = leg
        return False

    def _release(self, leg: Leg) -> None:
        if leg.trunk:
            self._ways.trunks.release(leg.trunk)

    def _answer(self, leg: Leg, command: Ring | Answer) -> str:
        if not leg.incoming:
            return "it did not come in"
        if leg.confirmed:
            return ""
        code = 180 if isinstance(command, Ring) else 183 if command.early else 200
        return self._sip.answer(leg.call, leg.number, code)

    def _hang_up(self, leg: Leg, cause: Cause) -> str:
        if leg.bot:
            self._end(leg, Cause.NORMAL if leg.answered else cause, 0)
        elif leg.why is None:
            leg.why = Cause.NORMAL if leg.answered else cause
            code, later = 0 if leg.answered or not leg.incoming else CODES[cause], RETRY_AFTER_S * (cause == Cause.LOST)
            if leg.heard and not leg.confirmed and not self._sip.cancel(leg.call, leg.number):
                heapq.heappush(self._due, (time.monotonic() + CANCEL_S, leg.name, leg.number))
            else:
                self._sip.hang_up(leg.call, leg.number, code, later)
        return ""

    def _link(self, command: Connect | Disconnect) -> str:
        source, sink = self._legs.get(command.source), self._legs.get(command.sink)
        if isinstance(command, Disconnect) and not command.source and sink is not None:
            for name in sorted(sink.sources):
                self._link(Disconnect(name, sink.name))
            return ""
        if source is None or sink is None:
            return "" if isinstance(command, Disconnect) else NO_LEG
        if source is sink:
            return "a leg does not hear itself"
        there = sink.name in source.sinks
        if isinstance(command, Connect):
            source.sinks.add(sink.name)
            sink.sources.add(source.name)
            if not there:
                self._connect(source.port, sink.port)
        elif there:
            source.sinks.discard(sink.name)
            sink.sources.discard(source.name)
            if source.port >= 0 and sink.port >= 0:
                self._sip.disconnect(source.port, sink.port)
        return ""

    def _connect(self, source: int, sink: int) -> None:
        if source >= 0 and sink >= 0:
            self._sip.connect(source, sink)

    # ---- prompts

    def _play(self, leg: Leg, command: Play) -> str:
        if leg.port < 0:
            return NOT_OPEN
        files = [prompts.find(self._settings.prompts, name) for name in command.prompts]
        if not files or not all(files):
            return "there is no such prompt"
        self._stop(leg)
        leg.playing = Playing(command, files)
        why = self._next_prompt(leg, leg.playing)
        if why:
            leg.playing = None
        return why

    def _next_prompt(self, leg: Leg, playing: Playing) -> str:
        alone = playing.command.loop and len(playing.files) == 1
        why, playing.player, playing.port, number = self._sip.play(playing.files[playing.at], alone, leg.port)
        if not why:
            self._players[number] = leg
        return why

    def _prompt_over(self, leg: Leg) -> None:
        playing = leg.playing
        if playing is None:
            return
        self._sip.stop_player(playing.player)
        playing.at += 1
        if playing.command.loop:
            playing.at %= len(playing.files)
        if playing.at < len(playing.files) and not self._next_prompt(leg, playing):
            return
        leg.playing = None
        self._reports.append(Played(leg.name, playing.command.token, playing.at == len(playing.files)))

    def _stop(self, leg: Leg) -> None:
        if leg.playing is not None:
            self._players = {number: other for number, other in self._players.items() if other is not leg}
            self._sip.stop_player(leg.playing.player)
            self._reports.append(Played(leg.name, leg.playing.command.token, False))
            leg.playing = None

    # ---- recordings

    def _record(self, command: Record) -> str:
        if command.recording in self._recordings:
            return ""
        if not 1 <= len(command.legs) <= 2 or len(set(command.legs)) != len(command.legs):
            return "one or two legs can be recorded"
        if not all(name in self._legs for name in command.legs):
            return NO_LEG
        if not _RECORDING.fullmatch(command.recording):
            return "the name of a recording has letters, digits, points, dashes and underscores only"
        if self._sealer is None:
            return "it is not said for whom recordings are sealed"
        file = command.recording + RECORDING_SUFFIX
        if (self._settings.recordings / file).exists():
            return USED
        path, count, opus = str(self._settings.recordings / file), len(command.legs), self._settings.opus
        key, header = self._sealer.header(command.recording, count, codec=OPUS if opus else PCM)
        why, ports, number = self._sip.record(path, key, header, count, opus)
        if why:
            return why
        recording = Recording(command.recording, file, command.legs, ports)
        self._recordings[command.recording] = (number, recording)
        self._recorded[number] = recording
        for name, port in zip(command.legs, ports, strict=True):
            self._legs[name].recordings.add(command.recording)
            self._connect(self._legs[name].port, port)
        return ""

    def _change_recording(self, command: PauseRecording | StopRecording) -> str:
        if command.recording not in self._recordings:
            return "there is no such recording"
        if isinstance(command, PauseRecording):
            return self._sip.pause_recording(self._recordings[command.recording][0], command.on)
        return self._sip.stop_recording(self._recordings.pop(command.recording)[0])

    # ---- what happens

    def _add(self, leg: Leg) -> None:
        leg.packets_at = time.monotonic()
        self._legs[leg.name] = self._by_number[leg.number] = leg

    def _remember(self, name: str) -> None:
        self._used[name] = None
        if len(self._used) > NAMES_MAX:
            del self._used[next(iter(self._used))]

    def _take(self, events: list[pj.Event]) -> None:
        for kind, call, number, code, flag, text, numbers in events:
            if kind == pj.INCOMING:
                self._incoming(call, number, text)
            elif kind == pj.REFUSED:
                self._ways.refused(text, code, number)
            elif kind == pj.PLAYED:
                if number in self._players:
                    self._prompt_over(self._players.pop(number))
            elif kind == pj.HEARD:
                self._reports += self._ears.heard(number, code, flag, numbers)
            elif kind == pj.RECORDED:
                recording = self._recorded.pop(number, None)
                if recording is None:  # one that could not begin, and was refused
                    continue
                self._recordings.pop(recording.name, None)
                self._reports.append(Recorded(recording.name, recording.file, *numbers[3:5]))
            elif number in self._by_number:
                self._happen(self._by_number[number], kind, code, bool(flag), numbers)
            elif kind == pj.ANSWERED:  # by a destination that was given up
                self._sip.hang_up(call, number, 0)
            else:
                self._ways.happen(kind, call, number, code, text, time.monotonic())

    def _take_news(self) -> None:
        for name, news in self._bots.news():
            leg = self._legs.get(name)
            if leg is None:
                continue
            if isinstance(news, Opened):
                leg.confirmed = leg.answered = True
                self._reports.append(Answered(name))
                self._audio(leg, self._bots.port(name))
            elif isinstance(news, Over):
                self._end(leg, news.cause, 0)
            else:
                self._reports.append(self._bots.handed_over(name, news))

    def _incoming(self, call: int, number: int, text: str) -> None:
        lines = text.split("\n") if text else ["", "", ""]
        trunk = self._ways.origin(lines[2], time.monotonic())
        if trunk is None:
            self._turned_away += 1
            self._sip.hang_up(call, number, 403)
            return
        if trunk and not self._ways.trunks.incoming(trunk):
            self._sip.hang_up(call, number, CODES[Cause.CONGESTION])
            return
        leg = Leg(f"{self._prefix}-{number}", call, number, incoming=True, trunk=trunk)
        self._remember(leg.name)
        self._add(leg)
        pairs = [line.partition(":") for line in lines[3:] if ":" in line][:HEADERS_MAX]
        headers = tuple((name.strip(), value.strip()[:TEXT_MAX]) for name, _, value in pairs)
        self._reports.append(Incoming(leg.name, user_of(lines[0]), user_of(lines[1]), trunk, headers))

    def _happen(self, leg: Leg, kind: int, code: int, local: bool, numbers: pj.Numbers) -> None:
        if not leg.heard and leg.way is not None and kind in (pj.TRYING, pj.EARLY, pj.ANSWERED):
            leg.heard = True
            self._ways.heard(leg.way)
        if kind == pj.ENDED:
            if self._elsewhere(leg, 0 if local else code, time.monotonic()):
                return
            self._end(leg, self._cause(leg, code, local), 0 if local else code)
        elif kind == pj.KEY:
            self._reports.append(self._bots.pressed(leg, chr(code).upper()))
        elif kind == pj.QUALITY:
            leg.stats = numbers
        elif kind == pj.AUDIO:
            self._audio(leg, code)
        elif kind == pj.ANSWERED:
            leg.confirmed = True
        elif kind == pj.EARLY and (not leg.rang or (leg.port >= 0 and not leg.early)):
            leg.rang, leg.early = True, leg.port >= 0
            self._reports.append(Ringing(leg.name, leg.early))
        given_up = leg.why is not None and not leg.incoming  # and picked up all the same
        if leg.confirmed and (leg.port >= 0 or given_up) and not leg.answered:
            leg.answered = True
            leg.answered_at = self._ears.answered(leg.name, time.monotonic())
            self._reports.append(Answered(leg.name))
            if given_up:
                self._sip.hang_up(leg.call, leg.number, 0)
            elif leg.why is not None:  # we hung up before we took this event
                leg.why = Cause.NORMAL

    def _audio(self, leg: Leg, port: int) -> None:
        """A port of the bridge has come, changed or gone; what was connected to it must be so again."""
        leg.port = port
        if port < 0:
            return
        for name in leg.sources:
            self._connect(self._legs[name].port, port)
        for name in leg.sinks:
            self._connect(port, self._legs[name].port)
        for name in leg.recordings & self._recordings.keys():
            recording = self._recordings[name][1]
            self._connect(port, recording.ports[recording.legs.index(leg.name)])
        if leg.playing is not None:
            self._connect(leg.playing.port, port)
        self._ears.connect(leg.name, port)

    @staticmethod
    def _cause(leg: Leg, code: int, local: bool) -> Cause:
        if leg.why is not None:
            return leg.why
        if leg.answered:
            return Cause.UNREACHABLE if local else Cause.NORMAL
        return Cause.UNREACHABLE if local else refusal(code, leg.rang)

    def _end(self, leg: Leg, cause: Cause, code: int) -> None:
        """The one place where a leg ends."""
        self._stop(leg)
        self._ears.ended(leg.name)
        self._bots.close(leg.name)
        self._release(leg)
        del self._legs[leg.name], self._by_number[leg.number]
        for name in leg.sources:
            self._legs[name].sinks.discard(leg.name)
        for name in leg.sinks:
            self._legs[name].sources.discard(leg.name)
        for name in leg.recordings & self._recordings.keys():
            number, recording = self._recordings[name]
            if not any(other in self._legs for other in recording.legs):
                del self._recordings[name]
                self._sip.stop_recording(number)
        self._reports.append(Ended(leg.name, cause, code, quality(*leg.stats) if leg.stats else None))

    # ---- timers

    def _tick(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, name, number = heapq.heappop(self._due)
            leg = self._legs.get(name)
            if leg is None or leg.confirmed:
                continue
            if not number:
                self._hang_up(leg, Cause.NO_ANSWER)
            elif number == leg.number and leg.why is not None:  # nobody says that it is cancelled
                self._sip.hang_up(leg.call, leg.number, 0)
            elif number == leg.number and not leg.heard:
                self._give_up(leg, now)
            self._take(self._sip.take())
        self._ways.tick(now)
        self._reports += self._ears.tick(now)
        if now >= self._watch_at:
            self._watch_at = now + WATCHDOG_S
            for leg in list(self._legs.values()):
                self._look_after(leg, now)

    def _give_up(self, leg: Leg, now: float) -> None:
        """Its destination is silent: PJSIP goes on trying to cancel that call, for half a minute, without us."""
        call, number = leg.call, leg.number
        if not self._elsewhere(leg, 0, now):
            self._end(leg, Cause.UNREACHABLE, 0)
        self._sip.hang_up(call, number, 0)

    def _look_after(self, leg: Leg, now: float) -> None:
        """End a leg that PJSIP has forgotten (seen twice, so that an event under way is not overtaken), and one whose
        audio has stopped."""
        if leg.bot:  # its line looks after it
            return
        if not self._sip.is_alive(leg.call, leg.number):
            if leg.missing:
                self._end(leg, leg.why or (Cause.NORMAL if leg.answered else Cause.FAILED), 0)
            leg.missing = True
            return
        if leg.answered and self._settings.silence_s and now - leg.packets_at >= self._settings.silence_s / 2:
            packets = self._sip.received(leg.call, leg.number)
            if packets != leg.packets or packets <= 0:
                leg.packets, leg.packets_at = packets, now
            elif now - leg.packets_at >= self._settings.silence_s:
                self._hang_up(leg, Cause.UNREACHABLE)
                leg.why = Cause.UNREACHABLE
                self._take(self._sip.take())
