"""Recognizers in processes of their own, for a media node whose loop must never wait.

Each recognizer of the settings is a process, with two threads here: one starts it, gives it audio, and starts it again
when it has died; one takes what it says. A session that a process can't keep up with fails, and so do all of a process
that dies or hangs; calls go on by keys.
"""

from __future__ import annotations

import json
import logging
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from cordboard.errors import InputError, Where
from cordboard.speech.recognizer import Asked, Result, Setting
from cordboard.speech.worker import ALL, packed, unpacked

LOAD_S = 120.0  # for a model
QUEUE_MAX = 2000  # messages that wait for a process
STUCK_S = 15.0  # a process that has taken nothing for so long while something waits does not work
REST_S = 2.0  # before a process that died is started again
RESULTS_MAX = 10_000  # that nobody took
FULL = "as many callers are heard as the settings allow"
SLOW = "the recognizer does not keep up"
DEAD = "the process of the recognizer has ended"

News = tuple[int, Result | str]  # of which session; a text: why it failed, and it is over

log = logging.getLogger(__name__)


class Pool:
    """``wake`` is called from other threads when there is news. Waits until every recognizer is loaded; InputError if
    one can't be. One thread at a time may use it."""

    def __init__(self, settings: Sequence[Setting], wake: Callable[[], None]) -> None:
        self._news: deque[News] = deque(maxlen=RESULTS_MAX)
        self._numbers = 0
        self._at: dict[int, _Process] = {}
        self._processes = [_Process(setting, self._news, wake) for setting in settings]
        end = time.monotonic() + LOAD_S
        try:
            for process in self._processes:
                process.await_ready(end - time.monotonic())
        except InputError:
            self.stop()
            raise

    def start(self, asked: Asked) -> int | str:
        """The number of a session that hears this; or why there is none."""
        base = asked.language.partition("-")[0]
        for language in (asked.language, base):
            able = [one for one in self._processes if language in one.setting.languages]
            free = [one for one in able if len(one.sessions) < one.setting.sessions]
            if free:
                process = min(free, key=lambda one: len(one.sessions) / one.setting.sessions)
                self._numbers += 1
                why = process.begin(self._numbers, asked)
                if not why:
                    self._at[self._numbers] = process
                return why or self._numbers
            if able:
                return FULL
        return f'no recognizer hears "{asked.language}"'

    def feed(self, number: int, audio: bytes) -> None:
        """Audio of a session, int16; of one that is over it is passed over."""
        process = self._at.get(number)
        if process is not None:
            process.put(number, b"A", audio)

    def close(self, number: int) -> None:
        """The session is over; what it says of the audio so far still comes."""
        process = self._at.pop(number, None)
        if process is not None:
            process.end(number)

    def news(self) -> list[News]:
        """What was heard, in order."""
        found = [self._news.popleft() for _ in range(len(self._news))]
        for number, told in found:
            if isinstance(told, str):
                self._at.pop(number, None)
        return found

    def stop(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.stop()


class _Process:
    """One recognizer. ``sessions``: those that are not over."""

    def __init__(self, setting: Setting, news: deque[News], wake: Callable[[], None]) -> None:
        self.setting, self._news, self._wake = setting, news, wake
        self.sessions: set[int] = set()
        self._waiting: queue.Queue[bytes] = queue.Queue(QUEUE_MAX)
        self._lost: deque[int] = deque()  # sessions whose end did not fit in
        self._lock = threading.Lock()  # of the four below, and of sessions
        self._child: subprocess.Popen[bytes] | None = None
        self._works = False
        self._why = DEAD
        self._taken_at = time.monotonic()
        self._tried, self._stopping = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name=f"recognizer-{setting.name}", daemon=True).start()

    # ---- from the node's loop

    def await_ready(self, seconds: float) -> None:
        in_time = self._tried.wait(max(seconds, 0.0))
        with self._lock:
            why = "" if self._works else self._why if in_time else f"it was not loaded within {LOAD_S:g} seconds"
        if why:
            hint = "Look at its table in the file of settings"
            raise InputError(f'recognizer "{self.setting.name}": {why}', Where(key="speech"), hint)

    def begin(self, number: int, asked: Asked) -> str:
        with self._lock:
            if not self._works:
                return self._why
            self.sessions.add(number)
        self.put(number, b"S", json.dumps(asdict(asked)).encode())
        return ""

    def put(self, number: int, kind: bytes, body: bytes = b"") -> None:
        """Give it a message. What does not fit in is the end of its session."""
        try:
            self._waiting.put_nowait(packed(kind, number, body))
        except queue.Full:
            self._lost.append(number)
            self._fail([number], SLOW)
        with self._lock:
            if self._works and self._child is not None and time.monotonic() - self._taken_at > STUCK_S:
                self._child.kill()

    def end(self, number: int) -> None:
        with self._lock:
            there = number in self.sessions
            self.sessions.discard(number)
        if there:
            self.put(number, b"E")

    def stop(self) -> None:
        self._stopping.set()
        with self._lock:
            if self._child is not None:
                self._child.kill()

    # ---- in a thread of its own

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._forget()
            why = DEAD
            try:
                self._one_child()
            except OSError as error:  # no descriptor or process is free now; that passes
                why = f"no process for it: {error.strerror}"
                with self._lock:
                    self._why = why
            with self._lock:
                self._works, self._child = False, None
            self._tried.set()
            self._fail(list(self.sessions), why)
            if self._stopping.wait(REST_S):
                return
            log.warning("the recognizer %s is started again", self.setting.name)

    def _one_child(self) -> None:
        """A process from its start to its end."""
        here, there = Pipe()
        with here:
            with there:
                command = [sys.executable, "-m", "cordboard.speech.worker", str(there.fileno())]
                child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[there.fileno()])
            with self._lock:
                self._child, self._taken_at = child, time.monotonic()
            if self._stopping.is_set():
                child.kill()
            reader = threading.Thread(target=self._read, args=(here,), daemon=True)
            reader.start()
            self._write(here)
            child.kill()
            child.wait()
            reader.join()

    def _forget(self) -> None:
        """What was meant for a process that is gone."""
        self._lost.clear()
        with suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()

    def _write(self, link: Connection) -> None:
        """Give the process what waits for it, until it is gone."""
        wanted = {"kind": self.setting.kind, "options": dict(self.setting.options)}
        try:
            link.send_bytes(packed(b"L", ALL, json.dumps(wanted).encode()))
            while not self._stopping.is_set() and self._child is not None and self._child.poll() is None:
                with self._lock:
                    self._taken_at = time.monotonic()
                while self._lost:
                    link.send_bytes(packed(b"E", self._lost.popleft()))
                with suppress(queue.Empty):
                    link.send_bytes(self._waiting.get(timeout=0.5))
        except OSError:
            return

    def _read(self, link: Connection) -> None:
        """Take what the process says, until it is gone."""
        while True:
            try:
                kind, number, body = unpacked(link.recv_bytes())
            except (EOFError, OSError):
                return
            if kind == b"T":
                self._tell(number, Result(**json.loads(body)))
            elif kind == b"R":
                with self._lock:
                    self._works, self._why = True, DEAD
                self._tried.set()
            elif number == ALL:
                with self._lock:
                    self._why = body.decode()
                    child = self._child
                if child is not None:
                    child.kill()
            else:
                self._fail([number], body.decode())

    def _fail(self, numbers: list[int], why: str) -> None:
        for number in numbers:
            with self._lock:
                there = number in self.sessions
                self.sessions.discard(number)
            if there:
                self._tell(number, why)

    def _tell(self, number: int, told: Result | str) -> None:
        self._news.append((number, told))
        self._wake()
