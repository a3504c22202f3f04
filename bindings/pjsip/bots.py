"""Legs that are voice bots: a stream of the bridge in the place of a call, and a line that carries it to the bot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from cordboard.bindings.bot_lines import HandedOver, Lines, News, Opened, Over, refusal
from cordboard.bindings.bot_messages import About
from cordboard.bindings.pjsip.legs import Leg
from cordboard.bindings.settings import SipSettings
from cordboard.media import backend
from cordboard.media.backend import Dial

if TYPE_CHECKING:
    from cordboard.bindings.pjsip.sip import Sip

__all__ = ["Bots", "Opened", "Over"]


class _Stream:
    """The audio of one stream, for a line."""

    def __init__(self, sip: Sip, number: int) -> None:
        self._sip, self._number = sip, number

    def heard(self) -> tuple[bytes, int, int] | None:
        return self._sip.stream_heard(self._number, True)

    def say(self, audio: bytes) -> int:
        return self._sip.stream_say(self._number, audio, True)

    def clear(self) -> bool:
        return self._sip.stream_clear(self._number)

    def said(self) -> tuple[int, int] | None:
        return self._sip.stream_said(self._number)


@dataclass(frozen=True, slots=True)
class _Bot:
    number: int  # of its stream
    port: int  # of the bridge
    caller: str


class Bots:
    """By leg. ``wake``: called from another thread when there is news."""

    def __init__(self, settings: SipSettings, sip: Sip, wake: Callable[[], None]) -> None:
        self._settings, self._sip, self._wake = settings, sip, wake
        self._bots: dict[str, _Bot] = {}
        self._news: SimpleQueue[tuple[str, News]] = SimpleQueue()
        self._lines: Lines | None = None  # from the first bot on

    def dial(self, dial: Dial) -> tuple[str, int]:
        """(why not, number of the stream): call a bot."""
        why = refusal(dial.to, self._settings.beyond_loopback)
        if why:
            return why, 0
        if not hasattr(self._sip, "open_stream"):
            return "this media layer has no voice bots: use the production build", 0
        why, port, number = self._sip.open_stream()
        if why:
            return why, 0
        if self._lines is None:
            self._lines = Lines(self._tell, self._settings.bots_authority)
        self._bots[dial.leg] = _Bot(number, port, dial.caller)
        self._lines.open(About(dial.leg, dial.to, dial.caller, dial.headers), _Stream(self._sip, number))
        return "", number

    def _tell(self, leg: str, news: News) -> None:
        self._news.put((leg, news))
        self._wake()

    def news(self) -> Iterator[tuple[str, News]]:
        """What has happened since; of legs that are over, too."""
        while True:
            try:
                yield self._news.get_nowait()
            except Empty:
                return

    def port(self, leg: str) -> int:
        """Its port of the bridge."""
        return self._bots[leg].port

    def handed_over(self, leg: str, news: HandedOver) -> backend.HandedOver:
        """The report of a hand-over."""
        return backend.HandedOver(leg, self._bots[leg].caller, news.queue, news.agent, news.why, news.transcript)

    def pressed(self, leg: Leg, key: str) -> backend.Key:
        """A key was pressed on a leg: its report. A digit that a bot hears may be of a card, and is covered."""
        heard = self.hear(leg.sinks, key)
        return backend.Key(leg.name, backend.HIDDEN if heard and key.isdecimal() else key)

    def hear(self, legs: Iterable[str], keys: str) -> bool:
        """Those of the legs that are bots hear keys; whether there are any."""
        hears = [leg for leg in legs if leg in self._bots]
        if self._lines is not None:
            for leg in hears:
                for key in keys:
                    self._lines.key(leg, key)
        return bool(hears)

    def close(self, leg: str) -> None:
        """Its leg is over."""
        bot = self._bots.pop(leg, None)
        if bot is not None and self._lines is not None:
            self._lines.close(leg)
            self._sip.close_stream(bot.number)

    def stop(self) -> None:
        """End all lines; the legs must be over."""
        if self._lines is not None:
            self._lines.stop()
