"""The process of one recognizer: ``python -m cordboard.speech.worker DESCRIPTOR``, started by the pool.

It takes messages from its descriptor, and answers there; when that is closed it ends. A message is a kind (one letter),
the number of a session (8 bytes), and JSON or audio:

    to it    L  options: load a recognizer      S  a session begins: what is asked   A  audio, int16   E  it ends
    from it  R  it is loaded                    T  what was heard                    F  why a session, or all, failed
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from multiprocessing.connection import Connection

import numpy as np

from cordboard.errors import CordboardError
from cordboard.speech.recognizer import TEXT_MAX, Asked, Recognizer, Session, recognizer

MESSAGE_MAX = 1 << 20  # bytes
NICE = 5  # calls come first
ALL = 0  # the number that is of no session


def packed(kind: bytes, number: int, body: bytes = b"") -> bytes:
    return kind + number.to_bytes(8, "little") + body


def unpacked(message: bytes) -> tuple[bytes, int, bytes]:
    return message[:1], int.from_bytes(message[1:9], "little"), message[9:]


class Worker:
    """Does what the messages say, one after the other."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._recognizer: Recognizer | None = None
        self._sessions: dict[int, Session] = {}

    def run(self) -> None:
        """Until nobody is at the other end."""
        while True:
            try:
                kind, number, body = unpacked(self._link.recv_bytes(MESSAGE_MAX))
                self._take(kind, number, body)
            except (EOFError, ConnectionError):
                return

    def _take(self, kind: bytes, number: int, body: bytes) -> None:
        try:
            if kind == b"L":
                wanted = json.loads(body)
                self._recognizer = recognizer(wanted["kind"], wanted["options"])
                self._say(b"R", ALL)
            elif kind == b"S" and self._recognizer is not None:
                wanted = json.loads(body)
                asked = Asked(wanted["language"], tuple(wanted["words"]), wanted["rate"])
                self._sessions[number] = self._recognizer.start(asked)
            elif kind == b"A" and number in self._sessions:
                self._tell(number, self._sessions[number].feed(np.frombuffer(body, np.int16)))
            elif kind == b"E" and number in self._sessions:
                self._tell(number, self._sessions.pop(number).close())
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # a library may raise anything; what fails is this session
            self._sessions.pop(number, None)
            plain = error.text("en") if isinstance(error, CordboardError) else f"{type(error).__name__}: {error}"
            self._say(b"F", number, plain[:TEXT_MAX].encode())

    def _tell(self, number: int, results: object) -> None:
        for result in results:  # type: ignore[attr-defined]
            self._say(b"T", number, json.dumps(asdict(result)).encode())

    def _say(self, kind: bytes, number: int, body: bytes = b"") -> None:
        self._link.send_bytes(packed(kind, number, body))


def main() -> None:
    link = Connection(int(sys.argv[1]))
    os.dup2(2, 1)  # what libraries print is not for whoever started us
    os.nice(NICE)
    Worker(link).run()


if __name__ == "__main__":
    main()
