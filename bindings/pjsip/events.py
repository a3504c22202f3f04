"""What PJSIP tells, whichever way it is reached: the numbers of node.h, for those who must not import :mod:`sip`."""

from __future__ import annotations

from typing import TypeAlias

(INCOMING, TRYING, EARLY, ANSWERED, ENDED, AUDIO, KEY, QUALITY, PLAYED) = range(1, 10)
(RECORDED, REGISTERED, REGISTER, PONG, HEARD, REFUSED) = range(10, 16)

Numbers: TypeAlias = tuple[int, int, int, float, float]  # received, lost, sent, jitter ms, round trip ms
Event: TypeAlias = tuple[int, int, int, int, int, str, Numbers]  # kind, call, leg, code, flag, text
