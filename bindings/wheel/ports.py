"""Ports of the bridge that are Python: the audio of a leg goes to another child, or comes from one, or is recorded.

Their frames of 20 ms pass in PJSIP's clock thread under the interpreter's lock: bearable for four calls. Ports are made
once and used again, never destroyed: 2.15.1 aborts when one goes while the clock runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import numpy as np
import pjsua2 as pj
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cordboard._core.listening import FRAME, FRAME_S, Listener, News
from cordboard.recordings.container import AUDIO, END

RATE = 8000
BYTES = 2 * FRAME
WAITING = 2  # frames before a line begins to speak: the clocks of two children drift and jump
WAITING_MAX = 6
LATE = 3  # frames by which a recording's channel may be behind before silence takes their place
_STREAM = struct.Struct("<Q")
_HEAD = struct.Struct("<IIQ")


class Port(pj.AudioMediaPort):  # type: ignore[misc]
    """A port whose use changes: ``use`` gets frames and gives them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.use: Line | Track | Ear | None = None
        form = pj.MediaFormatAudio()
        form.init(pj.PJMEDIA_FORMAT_PCM, RATE, 1, round(FRAME_S * 1e6), 16)
        self.createPort(name, form)

    def onFrameReceived(self, frame: pj.MediaFrame) -> None:
        use = self.use
        if use is not None and frame.type == pj.PJMEDIA_FRAME_TYPE_AUDIO:
            use.hear(bytes(frame.buf))
        elif isinstance(use, Ear):
            use.hear(bytes(BYTES))

    def onFrameRequested(self, frame: pj.MediaFrame) -> None:
        use = self.use
        said = use.say() if use is not None else None
        frame.type = pj.PJMEDIA_FRAME_TYPE_NONE if said is None else pj.PJMEDIA_FRAME_TYPE_AUDIO
        if said is not None:
            frame.buf = pj.ByteVector(said)
            frame.size = len(said)


class Ear:
    """A leg is listened to: ``tell`` gets the news."""

    def __init__(self, listener: Listener, tell: Callable[[News], None]) -> None:
        self.listener, self._tell = listener, tell

    def hear(self, samples: bytes) -> None:
        for one in self.listener.hear(np.frombuffer(samples, np.int16)):
            self._tell(one)

    def say(self) -> None:
        return None


class Lines:
    """The lines of this child. Its end of all of them is one socket in a folder that this user alone can enter."""

    def __init__(self, folder: Path, child: int) -> None:
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / str(child)))
        self._socket.setblocking(False)
        self._speaking: dict[int, Line] = {}

    def open(self, stream: int, to: int | None) -> Line:
        """One of this name, which sends to another child, or speaks if ``to`` is None."""
        line = Line(self, stream, None if to is None else str(self._folder / str(to)))
        if to is None:
            self._speaking[stream] = line
        return line

    def close(self, line: Line) -> None:
        self._speaking.pop(line.stream, None)

    def send(self, stream: int, samples: bytes, to: str) -> None:
        """What the other child does not take in time is lost, as on any line."""
        with contextlib.suppress(OSError):
            self._socket.sendto(_STREAM.pack(stream) + samples, to)

    def take(self) -> None:
        """Give every line what has come for it."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._socket.recv(_STREAM.size + BYTES)
                line = self._speaking.get(_STREAM.unpack_from(data)[0])
                if line is not None:
                    line.frames.append(data[_STREAM.size :])


class Line:
    """One end of a line between two children, for the audio of one leg, one way."""

    def __init__(self, lines: Lines, stream: int, to: str | None) -> None:
        self.stream, self.frames = stream, deque[bytes](maxlen=WAITING_MAX)
        self._lines, self._to, self._speaks = lines, to, False

    def hear(self, samples: bytes) -> None:
        """Frames of the leg, in its own child."""
        if self._to is not None:
            self._lines.send(self.stream, samples, self._to)

    def say(self) -> bytes | None:
        """Frames of the leg, in the other child."""
        self._lines.take()
        self._speaks = len(self.frames) > (0 if self._speaks else WAITING - 1)
        return self.frames.popleft() if self._speaks else None


class Tape:
    """A recording that is being written, as the container of recordings says (``cordboard.recordings.container``): a
    sealed chunk a second. What the disk does not take is missing. OSError if the file can't be made."""

    def __init__(self, path: Path, key: bytes, header: bytes, channels: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._aead, self._hash = AESGCM(key), hashlib.sha256(header).digest()
        self._chunks = self._first = self._missing = self._size = 0
        self._began, self.paused, self.error = time.monotonic(), False, 0  # error: errno of the last failure
        self.tracks = [Track(self) for _ in range(channels)]
        self._write(header)

    def frame_now(self) -> int:
        """Which frame this moment is."""
        return int((time.monotonic() - self._began) / FRAME_S)

    def turn(self, last: bool = False) -> None:
        """Write what is a second long, or whatever is there."""
        frames = self.frame_now() - (0 if last else LATE)
        if not last and frames * FRAME - self._first < RATE:
            return
        count = max(0, frames * FRAME - self._first)
        parts = [track.cut(count) for track in self.tracks]
        if count:
            pcm = np.stack([np.frombuffer(part, "<i2") for part in parts], axis=1).tobytes()
            if not self._seal(AUDIO, self._first, pcm):
                self._missing += count
            self._first += count

    def close(self) -> tuple[float, float]:
        """Write the rest; the length and what is missing of it, seconds."""
        self.turn(last=True)
        self._seal(END, self._first, struct.pack("<Q", self._missing))
        os.close(self._file)
        return self._first / RATE, self._missing / RATE

    def _seal(self, kind: int, first: int, content: bytes) -> bool:
        head = _HEAD.pack(len(content), kind, first)
        vouched = self._hash + struct.pack("<Q", self._chunks) + head
        sealed = head + self._aead.encrypt(struct.pack("<QI", self._chunks, 0), content, vouched)
        if not self._write(sealed):
            return False
        self._chunks += 1
        return True

    def _write(self, data: bytes) -> bool:
        """All of it, or nothing of it."""
        try:
            if os.write(self._file, data) == len(data):
                self._size += len(data)
                return True
        except OSError as error:
            self.error = error.errno or 0
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
        return False


class Track:
    """A channel of a recording."""

    def __init__(self, tape: Tape) -> None:
        self._tape, self._audio, self._at = tape, bytearray(), 0  # _at: the frame that comes next
        self._lock = Lock()  # frames come in the clock thread

    def hear(self, samples: bytes) -> None:
        now = self._tape.frame_now()
        with self._lock:
            if now > self._at + LATE:  # nothing came for a while
                self._audio += bytes((now - self._at) * BYTES)
                self._at = now
            self._audio += bytes(BYTES) if self._tape.paused else samples
            self._at += 1

    def say(self) -> None:
        return None

    def cut(self, samples: int) -> bytes:
        """The next samples; silence for what did not come."""
        size = 2 * samples
        with self._lock:
            found = bytes(self._audio[:size])
            del self._audio[:size]
            self._at += (size - len(found)) // BYTES
        return found + bytes(size - len(found))
