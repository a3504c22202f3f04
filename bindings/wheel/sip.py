"""pjsua2 from PyPI under the same methods and events as the compiled binding (:mod:`cordboard.bindings.pjsip.sip`), for
a child of the pool: so :class:`~cordboard.bindings.pjsip.backend.PjsipMedia` works on it, too.

Rules of the wheel (2.15.1): everything happens in one thread, but for frames of ports; objects are kept until they are
over and a moment longer, and what a field belongs to for as long as the field is used; the garbage collector runs in
this thread alone; nothing is torn down at the end, since the process ends.
"""

from __future__ import annotations

import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pjsua2 as pj

from cordboard._core.listening import FRAME_S, SOUNDS, WHYS, Listener, News
from cordboard._core.trees import Trees
from cordboard.bindings.pjsip import events
from cordboard.bindings.settings import SipSettings
from cordboard.bindings.wheel.message import Message, parameter
from cordboard.bindings.wheel.ports import Ear, Line, Lines, Port, Tape

CALLS_MAX = 4  # the wheel was compiled for
PORTS_MAX = 24
LINE = 1000  # call ids of lines, so that they are told from calls
SLICE_S = 0.01
GONE_S = 0.2
COLLECT_S = 1.0
NOTHING: events.Numbers = (0, 0, 0, 0.0, 0.0)
UNKNOWN = "the call is over"
ABSENT = "the media layer of the wheel can't do this: use the production build (make media)"
FULL = "too many ports of the bridge are in use"

log = logging.getLogger(__name__)


def kept(method: Callable[..., None]) -> Callable[..., None]:
    """A callback whose failure is logged: an exception would end the process."""

    def call(*given: Any) -> None:
        try:
            method(*given)
        except Exception:
            log.exception("in %s", method.__name__)

    return call


class Call(pj.Call):  # type: ignore[misc]
    """One call; what it tells goes to the events."""

    def __init__(self, sip: Sip, account: pj.Account, number: int, *call: int) -> None:
        super().__init__(account, *call)
        self.sip, self.number = sip, number
        self.media: pj.AudioMedia | None = None

    def tell(self, kind: int, code: int = 0, flag: int = 0, numbers: events.Numbers = NOTHING) -> None:
        self.sip.tell(kind, self.getId(), self.number, code, flag, "", numbers)

    @kept
    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_EARLY and info.role == pj.PJSIP_ROLE_UAC:
            self.tell(events.EARLY, info.lastStatusCode)
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            self.tell(events.ANSWERED, info.lastStatusCode)
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            silent = (pj.PJSIP_EVENT_TIMER, pj.PJSIP_EVENT_TRANSPORT_ERROR)
            lost = prm.e.type == pj.PJSIP_EVENT_TSX_STATE and prm.e.body.tsxState.type in silent
            self.sip.over(self, info, int(lost))

    @kept
    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        state = prm.e.body.tsxState
        tsx = state.tsx
        if (
            tsx.role == pj.PJSIP_ROLE_UAC
            and tsx.method == "INVITE"
            and tsx.state == pj.PJSIP_TSX_STATE_PROCEEDING
            and tsx.statusCode == 100
            and state.type == pj.PJSIP_EVENT_RX_MSG
        ):
            self.tell(events.TRYING)

    @kept
    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        slot, dead = -1, (pj.PJSUA_CALL_MEDIA_NONE, pj.PJSUA_CALL_MEDIA_ERROR)
        info = self.getInfo()
        for media in info.media:
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status not in dead and media.audioConfSlot >= 0:
                self.media = self.getAudioMedia(media.index)
                slot = self.media.getPortId()
                break
        self.sip.audio(self, slot)
        if info.state == pj.PJSIP_INV_STATE_EARLY and info.role == pj.PJSIP_ROLE_UAC:  # again, with audio
            self.tell(events.EARLY, info.lastStatusCode)

    @kept
    def onStreamDestroyed(self, prm: pj.OnStreamDestroyedParam) -> None:
        stat = self.getStreamStat(prm.streamIdx)
        rtcp = stat.rtcp
        jitter, trip = rtcp.rxStat.jitterUsec.mean / 1000.0, rtcp.rttUsec.mean / 1000.0
        self.tell(events.QUALITY, numbers=(rtcp.rxStat.pkt, rtcp.rxStat.loss, rtcp.txStat.pkt, jitter, trip))

    @kept
    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:
        if len(prm.digit) == 1 and prm.digit in "0123456789*#ABCDabcd":
            self.tell(events.KEY, ord(prm.digit))

    @kept
    def onCallTransferRequest(self, prm: pj.OnCallTransferRequestParam) -> None:
        prm.statusCode = 403  # left alone, PJSUA would call whomever a REFER names

    @kept
    def onCallReplaceRequest(self, prm: pj.OnCallReplaceRequestParam) -> None:
        prm.statusCode = 403


class Account(pj.Account):  # type: ignore[misc]
    def __init__(self, sip: Sip) -> None:
        super().__init__()
        self.sip = sip

    @kept
    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        call = self.sip.keep(Call(self.sip, self, self.sip.number(), prm.callId))
        text = self.sip.describe(prm.rdata.wholeMsg, prm.rdata.srcAddress)
        self.sip.tell(events.INCOMING, prm.callId, call.number, text=text)


class Player(pj.AudioMediaPlayer):  # type: ignore[misc]
    def __init__(self, sip: Sip, number: int) -> None:
        super().__init__()
        self.sip, self.number = sip, number

    @kept
    def onEof2(self) -> None:
        self.sip.tell(events.PLAYED, 0, self.number)


class Sip:
    """The one PJSUA of this process. ``front``: the pool's SIP address, ``host:port``. ``lines``: to other children.
    OSError if it can't start."""

    def __init__(self, settings: SipSettings, front: str, lines: Lines) -> None:
        self._settings, self._front, self._lines = settings, front, lines
        self._events: deque[events.Event] = deque()
        self._numbers = 0
        self._calls: dict[int, Call] = {}
        self._over: list[tuple[Call, str]] = []  # with its Call-ID; see _bury
        self.leaving = 0  # calls that are over for us, and that PJSUA keeps until the other side has confirmed it
        self._accounts: list[Account] = []
        self._media: dict[int, pj.AudioMedia] = {}  # by port of the bridge
        self._players: dict[int, Player] = {}
        self._ports: list[Port] = []
        self._open: dict[int, tuple[int, Port, Line]] = {}  # lines by call: number, port
        self._tapes: dict[int, tuple[Tape, list[Port]]] = {}
        self._ears: dict[int, Port] = {}
        self._gone: deque[tuple[float, object]] = deque()  # what is over, until nothing in PJSIP looks at it any more
        self._collected = time.monotonic()
        gc.disable()
        self._endpoint = pj.Endpoint()
        try:
            self._start()
        except pj.Error as error:
            raise OSError(f"pjsua2 can't start on {settings.address}: {error.reason}") from None

    def _start(self) -> None:
        config, settings = pj.EpConfig(), self._settings
        ua, media = config.uaConfig, config.medConfig
        ua.threadCnt, ua.mainThreadOnly, ua.maxCalls, ua.userAgent = 0, True, CALLS_MAX, "cordboard"
        config.logConfig.level = config.logConfig.consoleLevel = settings.log_level
        media.clockRate = media.sndClockRate = 8000
        media.channelCount, media.audioFramePtime, media.ptime = 1, 20, 20
        media.noVad, media.ecTailLen, media.sndAutoCloseTime = True, 0, -1
        self._endpoint.libCreate()
        self._endpoint.libInit(config)
        names = [codec.codecId for codec in self._endpoint.codecEnum2()]
        for name in names:
            wanted = name in settings.codecs
            self._endpoint.codecSetPriority(name, 255 - settings.codecs.index(name) if wanted else 0)
        transport = pj.TransportConfig()
        transport.port, transport.boundAddress = 0, settings.address
        self._transport = self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
        self._endpoint.audDevManager().setNullDev()
        self._endpoint.libStart()
        gc.freeze()

    # ---- events

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def tell(
        self,
        kind: int,
        call: int,
        number: int,
        code: int = 0,
        flag: int = 0,
        text: str = "",
        numbers: events.Numbers = NOTHING,
    ) -> None:
        self._events.append((kind, call, number, code, flag, text, numbers))

    def keep(self, call: Call) -> Call:
        self._calls[call.number] = call
        return call

    def over(self, call: Call, info: pj.CallInfo, flag: int) -> None:
        self.tell(events.ENDED, info.id, call.number, info.lastStatusCode, flag)
        if self._calls.pop(call.number, None) is not None:
            self._over.append((call, info.callIdString))

    def audio(self, call: Call, slot: int) -> None:
        """The port of a call has come, changed or gone."""
        if slot >= 0:
            self._media[slot] = call.media
        call.tell(events.AUDIO, slot)

    def describe(self, message: str, source: str) -> str:
        """What Incoming tells, as lines. What came through the front, came from where the front had it."""
        found = Message.parse(message.encode("latin-1", "replace"))
        if found is None:
            return "\n\n"
        vias = found.all("via")
        host, _, port = source.rpartition(":")
        if source == self._front and len(vias) > 1:
            host, port = parameter(vias[1], "received"), parameter(vias[1], "rport")
        lines = [found.start.split(" ")[1], found.get("from"), f"{host} {port} UDP"]
        lines += [f"{name}: {value}" for name in self._settings.headers for value in found.all(name.lower())]
        return "\n".join(lines)

    def poll(self, seconds: float) -> list[events.Event]:
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            self._endpoint.libHandleEvents(0 if self._events else max(0, int(1000 * min(SLICE_S, end - now))))
            self._look_after(time.monotonic())
            if self._events or time.monotonic() >= end:
                return self.take()

    def take(self) -> list[events.Event]:
        return [self._events.popleft() for _ in range(len(self._events))]

    def _look_after(self, now: float) -> None:
        for tape, _ in self._tapes.values():
            tape.turn()
        while self._gone and self._gone[0][0] <= now:
            self._gone.popleft()
        self._bury()
        if now - self._collected >= COLLECT_S:
            self._collected = now
            gc.collect()

    def _bury(self) -> None:
        """Forget calls that are over. Destroying one touches whatever call has its slot: so only while it is free."""
        held, self.leaving = [], 0
        for call, name in self._over:
            try:
                info = call.getInfo()
            except pj.Error:
                continue  # its slot is free
            self.leaving += info.callIdString == name
            held.append((call, name))
        self._over = held

    def _later(self, thing: object) -> None:
        self._gone.append((time.monotonic() + GONE_S, thing))

    def stop(self) -> None:
        """Nothing more is done; the process ends."""

    # ---- accounts

    def port(self, transport: int) -> int:
        if transport:
            return -1
        return int(self._endpoint.transportGetInfo(self._transport).localAddress.rpartition(":")[2])

    def admit(self, networks: Iterable[tuple[bytes, int]], requests_per_s: float) -> None:
        """The pool's front does it."""

    @property
    def refused(self) -> int:
        return 0

    def account(
        self, id: str, transport: int, *, user: str = "", password: str = "", realm: str = "*", **more: object
    ) -> tuple[str, int]:
        config, settings = pj.AccountConfig(), self._settings
        config.idUri, config.natConfig.contactRewriteUse = id, 0
        config.natConfig.udpKaIntervalSec = 0
        config.callConfig.timerUse, config.callConfig.timerSessExpiresSec = 1, settings.session_s
        rtp = config.mediaConfig.transportConfig
        rtp.boundAddress, rtp.port, rtp.portRange = settings.address, settings.rtp_port, settings.rtp_ports
        rtp.randomizePort = True
        if user:
            config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", realm, user, 0, password))
        account = Account(self)
        why = attempt(lambda: account.create(config, not self._accounts))
        self._accounts.append(account)
        return why, len(self._accounts) - 1

    def reply(self, number: int, code: int, headers: str) -> str:
        return ABSENT

    def ping(self, to: str, account: int) -> tuple[str, int]:
        return ABSENT, 0

    # ---- calls

    def dial(self, to: str, caller: str, headers: str, account: int) -> tuple[str, int, int]:
        number = self.number()
        call = self.keep(Call(self, self._accounts[account], number))
        prm = options()
        prm.txOption.localUri = caller
        for line in headers.splitlines():
            name, _, value = line.partition(":")
            prm.txOption.headers.append(header(name, value.strip()))
        why = attempt(lambda: call.makeCall(to, prm))
        if why:
            self._calls.pop(number, None)
            self._later(call)
            return why, -1, number
        return "", call.getId(), number

    def answer(self, call: int, leg: int, code: int) -> str:
        return self._with(leg, lambda found: found.answer(options(code)))

    def hang_up(self, call: int, leg: int, code: int, retry_after: int = 0) -> str:
        if call in self._open:
            return self._close_line(call)
        prm = options(code)
        if retry_after:
            prm.txOption.headers.append(header("Retry-After", str(retry_after)))
        return self._with(leg, lambda found: found.hangup(prm))

    def cancel(self, call: int, leg: int) -> str:
        return ABSENT  # whoever asked hangs up instead

    def is_alive(self, call: int, leg: int) -> bool:
        return call in self._open or (leg in self._calls and bool(self._calls[leg].isActive()))

    def received(self, call: int, leg: int) -> int:
        try:
            stat = self._calls[leg].getStreamStat(0)
            return int(stat.rtcp.rxStat.pkt)
        except (KeyError, pj.Error):
            return -1

    def keys(self, call: int, leg: int, keys: str) -> str:
        why = self._with(leg, lambda found: found.dialDtmf(keys))
        if not why or leg not in self._calls:
            return why
        prm = pj.CallSendDtmfParam()
        prm.method, prm.digits = pj.PJSUA_DTMF_METHOD_SIP_INFO, keys
        return self._with(leg, lambda found: found.sendDtmf(prm))

    def _with(self, leg: int, work: Callable[[Call], Any]) -> str:
        call = self._calls.get(leg)
        return UNKNOWN if call is None else attempt(lambda: work(call))

    # ---- audio

    def connect(self, source: int, sink: int) -> str:
        return attempt(lambda: self._media[source].startTransmit(self._media[sink]))

    def disconnect(self, source: int, sink: int) -> str:
        return attempt(lambda: self._media[source].stopTransmit(self._media[sink]))

    def play(self, path: str, loop: bool, sink: int) -> tuple[str, int, int, int]:
        number = self.number()
        player = Player(self, number)
        why = attempt(lambda: player.createPlayer(path, 0 if loop else pj.PJMEDIA_FILE_NO_LOOP))
        if why:
            return why, -1, -1, number
        port = player.getPortId()
        self._media[port], self._players[port] = player, player
        why = self.connect(port, sink)
        if why:
            self.stop_player(port)
        return why, port, port, number

    def stop_player(self, player: int) -> str:
        found = self._players.pop(player, None)
        if found is not None:
            del self._media[player]
            for sink in listeners(found):
                if sink in self._media:
                    attempt(lambda sink=sink: found.stopTransmit(self._media[sink]))  # type: ignore[misc]
            self._later(found)
        return ""

    def _port(self) -> Port | None:
        """A port that nobody uses."""
        port = next((one for one in self._ports if one.use is None), None)
        if port is None and len(self._ports) < PORTS_MAX:
            port = Port(f"port{len(self._ports)}")
            self._ports.append(port)
            self._media[port.getPortId()] = port
        return port

    def _free(self, port: Port) -> None:
        """Nobody hears it, it hears nobody."""
        me = port.getPortId()
        for sink in listeners(port):
            if sink in self._media:
                self.disconnect(me, sink)
        for source, media in self._media.items():
            if source != me and me in listeners(media):
                self.disconnect(source, me)
        port.use = None

    def record(
        self, path: str, key: bytes, header: bytes, channels: int, opus: bool = False
    ) -> tuple[str, tuple[int, ...], int]:
        number, ports = self.number(), []
        try:
            tape = Tape(Path(path), key, header, channels)
        except OSError as error:
            return error.strerror or "the file can't be made", (), number
        for track in tape.tracks:
            port = self._port()
            if port is not None:
                port.use = track
                ports.append(port)
        if len(ports) < channels:
            for port in ports:
                port.use = None
            tape.close()
            Path(path).unlink(missing_ok=True)
            return FULL, (), number
        self._tapes[number] = tape, ports
        return "", tuple(port.getPortId() for port in ports), number

    def pause_recording(self, number: int, on: bool) -> str:
        if number not in self._tapes:
            return UNKNOWN
        self._tapes[number][0].paused = on
        return ""

    def stop_recording(self, number: int) -> str:
        if number not in self._tapes:
            return UNKNOWN
        tape, ports = self._tapes.pop(number)
        for port in ports:
            self._free(port)
        seconds, missing = tape.close()
        self.tell(events.RECORDED, 0, number, tape.error, numbers=(0, 0, 0, seconds, missing))
        return ""

    def listen(self, trees: Trees, machine_at: float, person_at: float, deadline: int) -> tuple[str, int, int]:
        port, number = self._port(), self.number()
        if port is None:
            return FULL, -1, 0
        listener = Listener(trees, machine_at, person_at, deadline * FRAME_S)
        port.use = Ear(listener, lambda news: self._heard(number, news))
        self._ears[number] = port
        return "", port.getPortId(), number

    def _heard(self, number: int, news: News) -> None:
        sound, why, machine, seconds = news
        numbers = (round(seconds / FRAME_S), 0, 0, machine, 0.0)
        self.tell(events.HEARD, 0, number, SOUNDS.index(sound), WHYS.index(why), numbers=numbers)

    def listening_answered(self, number: int, frames: int) -> str:
        port = self._ears.get(number)
        if port is None or not isinstance(port.use, Ear):
            return UNKNOWN
        port.use.listener.answered(frames)
        return ""

    def stop_listening(self, number: int) -> str:
        port = self._ears.pop(number, None)
        if port is None:
            return UNKNOWN
        self._free(port)
        return ""

    def open_stream(self) -> tuple[str, int, int]:
        return ABSENT, -1, 0

    # ---- lines

    def open_line(self, stream: int, to: int | None) -> tuple[str, int, int]:
        """(reason, call, leg): a line of :mod:`ports` that behaves like a call whose audio is open."""
        port = self._port()
        if port is None:
            return FULL, -1, 0
        line = self._lines.open(stream, to)
        port.use = line
        call, number = LINE + stream, self.number()
        self._open[call] = number, port, line
        self.tell(events.AUDIO, call, number, port.getPortId())
        return "", call, number

    def _close_line(self, call: int) -> str:
        number, port, line = self._open.pop(call)
        self._free(port)
        self._lines.close(line)
        self.tell(events.ENDED, call, number)
        return ""


def options(code: int = 0) -> pj.CallOpParam:
    """For a call with audio alone."""
    prm = pj.CallOpParam(True)
    prm.statusCode = code
    prm.opt.audioCount, prm.opt.videoCount = 1, 0
    return prm


def header(name: str, value: str) -> pj.SipHeader:
    made = pj.SipHeader()
    made.hName, made.hValue = name, value
    return made


def listeners(media: pj.AudioMedia) -> list[int]:
    """The ports that hear one; none of one that is gone."""
    try:
        info = media.getPortInfo()
    except pj.Error:
        return []
    return list(info.listeners)


def attempt(work: Callable[[], Any]) -> str:
    """Do it; PJSIP's reason if it can't be done."""
    try:
        work()
    except pj.Error as error:
        return f"{error.reason}"
    except KeyError:
        return UNKNOWN
    return ""
