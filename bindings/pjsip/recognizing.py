"""Legs that are listened to for words: their audio goes to a recognizer, and what it hears comes back as reports.

The audio is taken out of its ring every FEED_S by the node's loop, and recognized by other processes
(``cordboard.speech.pool``): nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from cordboard.media.backend import Recognize, Recognized, Refused, Report
from cordboard.speech.pool import Pool
from cordboard.speech.recognizer import Asked, Setting

if TYPE_CHECKING:
    from cordboard.bindings.pjsip.sip import Sip

FEED_S = 0.1


@dataclass(slots=True)
class _Heard:
    command: Recognize
    session: int  # of the pool
    stream: int
    port: int  # of the stream


class Recognizing:
    """By leg. ``due``: when :meth:`tick` has something to do by itself, infinity if never. InputError if a recognizer
    can't be loaded."""

    def __init__(self, settings: Sequence[Setting], wake: Callable[[], None]) -> None:
        self._pool = Pool(settings, wake)
        self._by_leg: dict[str, _Heard] = {}
        self._by_session: dict[int, _Heard] = {}
        self.due = inf

    def start(self, sip: Sip, command: Recognize, port: int, now: float) -> str:
        """Listen to a leg, whose port this is; why not, if it can't be done."""
        before = self._by_leg.get(command.leg)
        if before is not None and before.command.token == command.token:
            return ""
        if before is not None:  # its session makes room for the next one
            self._forget(before)
        session = self._pool.start(Asked(command.language, command.words))
        if isinstance(session, str):
            self.stop(sip, command.leg)
            return session
        if before is not None:
            heard = _Heard(command, session, before.stream, before.port)
        else:
            why, own, stream = sip.open_stream()
            if why:
                self._pool.close(session)
                return why
            heard = _Heard(command, session, stream, own)
            sip.connect(port, own)
        self._by_leg[command.leg] = self._by_session[session] = heard
        self.due = min(self.due, now + FEED_S)
        return ""

    def connect(self, sip: Sip, leg: str, port: int) -> None:
        """The leg has this port of the bridge."""
        if leg in self._by_leg:
            sip.connect(port, self._by_leg[leg].port)

    def stop(self, sip: Sip, leg: str) -> None:
        """Listen no more."""
        heard = self._by_leg.pop(leg, None)
        if heard is not None:
            self._forget(heard)
            sip.close_stream(heard.stream)

    def _forget(self, heard: _Heard) -> None:
        self._by_session.pop(heard.session, None)
        self._pool.close(heard.session)

    def tick(self, sip: Sip, now: float) -> list[Report]:
        """Give the recognizers what was said, if it is time, and take what they have heard."""
        if now >= self.due:
            for heard in self._by_leg.values():
                while found := sip.stream_heard(heard.stream, False):
                    if not found[0]:
                        break
                    self._pool.feed(heard.session, found[0])
            self.due = now + FEED_S if self._by_leg else inf
        reports: list[Report] = []
        for session, told in self._pool.news():
            here = self._by_session.get(session)
            if here is None:
                continue
            leg = here.command.leg
            if isinstance(told, str):
                reports.append(Refused("Recognize", leg, told))
                self.stop(sip, leg)
            else:
                reports.append(Recognized(leg, here.command.token, told.text, told.confidence, told.final))
        return reports

    def close(self) -> None:
        """End the recognizers."""
        self._pool.stop()
