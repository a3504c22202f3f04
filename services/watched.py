"""A process that works and one that watches it: what dies or falls silent is started again.

The watching process stays small: it forks the worker, reads its pulse from a pipe and does nothing else, so that it
outlives what kills a worker, and a new one is there as fast as a process forks. The worker that finds nobody watching
any more ends as if told to.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from types import FrameType

STARTING_S = 60.0  # until the first pulse
SILENT_S = 3.0  # a node is lost for its engine after 1.5 s
STOPPING_S = 15.0  # after a signal
ABORTING_S = 1.0  # for the stacks of a silent one to be written
RESTART_S = (0.1, 5.0)  # the first wait, doubled each time up to the second
STEADY_S = 60.0  # who worked for so long is started again at once
FINAL = (0, 2)  # ended as told; can't work as it is configured

log = logging.getLogger(__name__)


class Pulse:
    """The worker's end. ``beat`` is False when nobody watches any more."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        os.set_blocking(pipe, False)

    def beat(self) -> bool:
        try:
            os.write(self._pipe, b".")
        except BlockingIOError:
            pass  # it is full of pulses that nobody has read yet
        except BrokenPipeError:
            return False
        return True


class Watcher:
    """Runs ``work`` in a process of its own, again and again. ``winding_down``: seconds that it may take after a signal
    before it begins to stop; after another one none."""

    def __init__(self, winding_down: float = 0.0) -> None:
        self._winding_down = winding_down
        self._worker = 0
        self._stop_by = 0.0  # when it must have stopped, once it was told to

    def run(self, work: Callable[[Pulse], int]) -> int:
        """The exit status: in the worker that of ``work``, in the watcher that of the last worker. So both return."""
        told = {number: signal.signal(number, self._told) for number in (signal.SIGTERM, signal.SIGINT)}
        wait, most = RESTART_S
        while True:
            begun = time.monotonic()
            theirs, ours = os.pipe()
            self._worker = os.fork()
            if not self._worker:
                os.close(theirs)
                os.setpgid(0, 0)  # what a terminal tells both of us would come twice
                for number, handler in told.items():
                    signal.signal(number, handler)
                faulthandler.enable()
                return work(Pulse(ours))
            os.close(ours)
            status = self._watch(theirs)
            os.close(theirs)
            if self._stop_by or status in FINAL:
                return max(status, 0)
            wait = RESTART_S[0] if time.monotonic() - begun >= STEADY_S else wait
            log.error("the worker ended with status %d, another one starts in %.1f s", status, wait)
            self._rest(wait)
            if self._stop_by:
                return 0
            wait = min(2.0 * wait, most)

    def _told(self, number: int, _frame: FrameType | None) -> None:
        self._stop_by = time.monotonic() + STOPPING_S + (0.0 if self._stop_by else self._winding_down)
        if self._worker:
            os.kill(self._worker, number)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._stop_by:
            time.sleep(0.05)

    def _watch(self, pipe: int) -> int:
        """Until the worker is gone; how it ended, negative: by which signal."""
        until = time.monotonic() + STARTING_S
        while True:
            end = self._stop_by or until
            ready = select.select([pipe], [], [], min(max(0.0, end - time.monotonic()), 1.0))[0]
            if ready and not os.read(pipe, 65536):
                return self._gone(os.waitpid(self._worker, 0)[1])
            if ready:
                until = time.monotonic() + SILENT_S
            elif time.monotonic() >= end:
                return self._end()

    def _end(self) -> int:
        """End a worker that is silent, or does not stop."""
        log.error("the worker is silent: it is ended")
        os.kill(self._worker, signal.SIGABRT)
        end = time.monotonic() + ABORTING_S
        while time.monotonic() < end:
            gone, status = os.waitpid(self._worker, os.WNOHANG)
            if gone:
                return self._gone(status)
            time.sleep(0.02)
        os.kill(self._worker, signal.SIGKILL)
        return self._gone(os.waitpid(self._worker, 0)[1])

    def _gone(self, status: int) -> int:
        self._worker = 0  # its number may be another process's from now on
        return os.waitstatus_to_exitcode(status)
