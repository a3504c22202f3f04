"""A child of the pool: ``python -m cordboard.bindings.wheel.child FD``, at most four calls. The pool starts it.

It is :class:`~cordboard.bindings.pjsip.backend.PjsipMedia` over pjsua2. It ends when the pool says so or is gone, or
when the wheel aborts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import select
import signal
import socket
import sys
import time
from typing import cast

from cordboard.bindings.pjsip.backend import PjsipMedia
from cordboard.bindings.pjsip.legs import Leg
from cordboard.bindings.wheel.ports import Lines
from cordboard.bindings.wheel.sip import Sip
from cordboard.bindings.wheel.words import BEAT_S, PACKET_MAX, Beat, Begin, Broken, Close, Leaving, Open, Ready
from cordboard.media.backend import Command, Ended, Refused, Report

BUSY_S, IDLE_S = 0.01, 0.05  # how long a look for reports may keep commands waiting


class Seat(PjsipMedia):
    """The media layer of one child. Lines to other children are legs that nobody is told of."""

    def __init__(self, begin: Begin) -> None:
        lines = Lines(begin.folder, begin.child)
        self._pjsua = Sip(begin.settings, begin.front, lines)
        super().__init__(begin.settings, lambda _: self._pjsua)  # type: ignore[arg-type,return-value]
        self._lines = set[str]()

    def open(self, line: Open) -> None:
        """It can be connected at once."""
        why, call, number = self._pjsua.open_line(line.stream, line.to)
        if why:
            self._reports.append(Refused("Connect", line.name, why))
            return
        self._lines.add(line.name)
        self._add(Leg(line.name, call, number, incoming=False, confirmed=True, answered=True))

    @property
    def leaving(self) -> int:
        """Calls that are over and still take room."""
        return self._pjsua.leaving

    def told(self, seconds: float) -> list[Report]:
        """The reports of legs."""
        found = self.reports(seconds)
        over = {report.leg for report in found if isinstance(report, Ended)} & self._lines
        self._lines -= over
        return [report for report in found if not (isinstance(report, Ended) and report.leg in over)]


class Work:
    """The loop: SIP, commands, reports."""

    def __init__(self, pool: socket.socket) -> None:
        self._pool = pool
        begin = cast(Begin, pickle.loads(pool.recv(PACKET_MAX)))
        try:
            self._seat = Seat(begin)
        except OSError as error:
            self._say(Broken(str(error)))
            raise SystemExit(1) from None
        self._say(Ready(self._seat.port))
        self._beat_at, self._leaving = 0.0, 0
        self._going = True

    def run(self) -> None:
        while self._going:
            reports = self._seat.told(BUSY_S if self._seat.legs() else IDLE_S)
            if self._seat.leaving != self._leaving:
                self._leaving = self._seat.leaving
                self._say(Leaving(self._leaving))
            for report in reports:
                self._say(report)
            while self._going and select.select([self._pool], [], [], 0.0)[0]:
                self._take()
            if time.monotonic() >= self._beat_at:
                self._beat_at = time.monotonic() + BEAT_S
                self._say(Beat())

    def _take(self) -> None:
        packet = self._pool.recv(PACKET_MAX)
        word = pickle.loads(packet) if packet else Close()
        if isinstance(word, Open):
            self._seat.open(word)
        elif isinstance(word, Close):
            self._going = False
            self._seat.close()
            if packet:
                for report in self._seat.told(0.0):
                    self._say(report)
        else:
            self._seat.send([cast(Command, word)])

    def _say(self, word: object) -> None:
        self._pool.send(pickle.dumps(word))


def main(descriptor: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the pool decides
    logging.basicConfig(level=logging.WARNING)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the pool is gone
            Work(socket.socket(fileno=descriptor)).run()
    finally:
        logging.shutdown()
    os._exit(0)  # tearing down the wheel's library would abort while a port is left


if __name__ == "__main__":
    main(int(sys.argv[1]))
