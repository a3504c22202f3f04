"""Backends of real SIP for the contract of media layers, with telephones of the tests' own at the other end."""

from __future__ import annotations

import wave

import numpy as np

from cordboard.bindings.settings import SipSettings
from cordboard.media.backend import Dial, Incoming
from cordboard.media.simulated import FarEnd
from tests.media_contract import LONG, SHORT
from tests.recorded import RECIPIENT
from tests.sip_peer import RATE, Telephone, tone

LATE_S = 0.06  # a pause that makes two words of one, or no tone of one
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

    def __init__(self, backend) -> None:
        self.inner, self.dialed, self.came = backend, dict[str, str](), list[str]()
        self.legs, self.close, self.wake = backend.legs, backend.close, backend.wake

    def send(self, commands):
        for command in commands:
            if isinstance(command, Dial):
                self.dialed.setdefault(command.leg, command.to)
        self.inner.send(commands)

    def reports(self, timeout):
        found = self.inner.reports(timeout)
        self.came += [report.leg for report in found if isinstance(report, Incoming)]
        return found


class SipWorld:
    """``backend`` has a ``port``."""

    def __init__(self, backend) -> None:
        self.telephone = Telephone()
        self.backend = Watched(backend)
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

    def kept_time(self, leg: str) -> bool:
        return self.at(leg).late < LATE_S

    def keys_heard(self, leg: str) -> str:
        return self.at(leg).keys

    def close(self) -> None:
        self.backend.close()
        self.telephone.close()
