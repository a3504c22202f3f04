"""The production media layer: the contract of media layers, against telephones of the tests' own."""

from __future__ import annotations

import time
import wave

import numpy as np
import pytest

from cordboard.media.backend import Answered, Cause, Dial, Ended, HangUp, Incoming, Ringing
from cordboard.media.simulated import FarEnd
from tests.media_contract import LONG, SHORT, MediaContract
from tests.recorded import RECIPIENT
from tests.sip_peer import RATE, Telephone, header, tone

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.pjsip import events, sip
from cordboard.bindings.pjsip.backend import PjsipMedia
from cordboard.bindings.settings import SipSettings

HERTZ = {SHORT: 3000.0, LONG: 3400.0}


def prompt(path, hertz: float, seconds: float) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(tone(hertz, int(RATE * seconds)).astype(np.int16).tobytes())


def settings(folder, **changes) -> SipSettings:
    for name in ("prompts", "recordings"):
        (folder / name).mkdir(exist_ok=True)
    prompt(folder / "prompts" / f"{SHORT}.wav", HERTZ[SHORT], 0.4)
    prompt(folder / "prompts" / f"{LONG}.wav", HERTZ[LONG], 10.0)
    return SipSettings(prompts=folder / "prompts", recordings=folder / "recordings", recipients=(RECIPIENT,), **changes)


class Watched:
    """A backend that remembers which leg was dialed where, and which came in how many-th."""

    def __init__(self, backend: PjsipMedia) -> None:
        self.inner, self.dialed, self.came = backend, dict[str, str](), list[str]()
        self.legs, self.close = backend.legs, backend.close

    def send(self, commands):
        for command in commands:
            if isinstance(command, Dial):
                self.dialed.setdefault(command.leg, command.to)
        self.inner.send(commands)

    def reports(self, timeout):
        found = self.inner.reports(timeout)
        self.came += [report.leg for report in found if isinstance(report, Incoming)]
        return found


class PjsipWorld:
    def __init__(self, folder) -> None:
        self.telephone = Telephone()
        self.backend = Watched(PjsipMedia(settings(folder, legs_max=32)))
        self.placed: list = []
        self.phone = self.telephone.phone

    def call(self, to: str, far: FarEnd, caller: str = "") -> None:
        self.placed.append(self.telephone.call(self.backend.inner.port, to, far, caller))

    def at(self, leg: str):
        if leg in self.backend.came:
            return self.placed[self.backend.came.index(leg)]
        user = self.backend.dialed[leg].split(":")[1].split("@")[0]
        return next(call for call in self.telephone.calls.values() if call.name == user)

    def press(self, leg: str, key: str) -> None:
        self.telephone.press(self.at(leg), key)

    def hang_up(self, leg: str) -> None:
        self.telephone.hang_up(self.at(leg))

    def hears(self, leg: str) -> frozenset[str]:
        self.backend.inner.reports(0.0)
        tones = dict(HERTZ) | {name: self.at(name).hertz for name in [*self.backend.dialed, *self.backend.came]}
        return frozenset(name for name, hertz in tones.items() if self.telephone.hears(self.at(leg), hertz))

    def keys_heard(self, leg: str) -> str:
        return self.at(leg).keys

    def close(self) -> None:
        self.backend.close()
        self.telephone.close()


class TestPjsip(MediaContract):
    @pytest.fixture
    def world(self, tmp_path):
        world = PjsipWorld(tmp_path)
        yield world
        world.close()


def test_the_numbers_of_events_are_those_that_were_compiled():
    def numbers(module):
        return {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, int)}

    assert numbers(events) == numbers(sip)


class Late(Telephone):
    """Picks up at the moment in which it is cancelled: its answer is on the way first."""

    def _take(self, message, source):
        call = self.calls.get(header(message, "Call-ID"))
        if message.startswith("CANCEL") and call is not None:
            self._do(call, "pick up")
            self._respond(message, call, "200 OK", source)
        else:
            super()._take(message, source)


def test_an_answer_that_crosses_a_cancelling_is_reported_before_the_end(tmp_path):
    telephone, media = Late(), PjsipMedia(settings(tmp_path, legs_max=4))
    try:
        media.send([Dial("d1", telephone.phone(FarEnd(rings=0.0, picks_up=None)))])
        _until(media, Ringing)
        media.send([HangUp("d1")])
        assert [type(report) for report in _until(media, Ended)] == [Answered, Ended]
        [call] = telephone.calls.values()
        assert call.requests[-1] == "BYE"
    finally:
        media.close()
        telephone.close()


def _until(media: PjsipMedia, kind: type) -> list:
    found, end = [], time.monotonic() + 20.0
    while not any(isinstance(report, kind) for report in found):
        assert time.monotonic() < end, found
        found += media.reports(0.1)
    return found


def test_a_caller_whom_nobody_can_serve_is_told_to_go_elsewhere_for_a_while(tmp_path):
    telephone, media = Telephone(), PjsipMedia(settings(tmp_path, legs_max=4))
    heard: list[str] = []
    telephone._answer_came = lambda call, message, take=telephone._answer_came: (heard.append(message), take(call, message))
    try:
        call = telephone.call(media.port, "4001", FarEnd())
        [incoming] = _until(media, Incoming)
        media.send([HangUp(incoming.leg, Cause.LOST)])
        assert _until(media, Ended)[-1].cause == Cause.LOST
        end = time.monotonic() + 20.0
        while not call.status:
            assert time.monotonic() < end
            media.reports(0.1)
        assert call.status == [503] and header(heard[-1], "Retry-After") == "10"
    finally:
        media.close()
        telephone.close()
