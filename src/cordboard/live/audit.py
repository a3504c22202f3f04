"""The audit log: who did what, in a chain of hashes with signed checkpoints.

A folder of files ``audit-00000001.log``, ... A line is ``HASH BODY``: BODY a JSON object with its number ``n``, HASH
the BLAKE2b-256 of the line before's HASH, a space and BODY. The first line names the tenant. Every
``CHECKPOINT_RECORDS`` records, every ``CHECKPOINT_S`` seconds and at the end a checkpoint is signed (Ed25519) over the
chain so far.

``verify`` finds any changed, dropped or reordered record up to the last checkpoint, whoever did it, so long as the key
was not theirs. What it can't tell by itself: that records *after* the last checkpoint were rewritten with fresh hashes,
or that the file ends at an earlier checkpoint than it once had. Against the second keep heads elsewhere: a log that no
longer has that line with that hash was cut or rewritten.

Records are handed to one thread that writes and syncs them in groups; whoever must know that one is on disk waits for
its Future. A disk that fails is tried again every second; meanwhile records queue up to a bound, beyond which
LimitError says so: what must be audited is then refused.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import blake2b
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any

from cordboard.errors import InputError, LimitError, StoreError, Where
from cordboard.live.keyfiles import sync_folder
from cordboard.live.tokens import Key

FILE_BYTES_MAX = 64 * 1024 * 1024
BODY_BYTES_MAX = 16 * 1024
QUEUED_MAX = 50_000
CHECKPOINT_RECORDS = 1000
CHECKPOINT_S = 60.0
GROUP_S = 0.2  # how long a record that nobody waits for may wait for company
RETRY_S = 1.0
PASSING = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of an OSError that may pass by itself
TEXT_CHARACTERS_MAX = 512

Fields = dict[str, Any]
# A record as it waits: its body from the time on, as text (an object a record, and none that is searched for garbage),
# and who waits for it.
Waiting = tuple[str, Future[int] | None]


def start_of(tenant: str) -> str:
    """The hash that stands before the first line of a tenant's log."""
    return blake2b(b"cordboard audit 1 " + tenant.encode(), digest_size=32).hexdigest()


def chained(before: str, body: bytes) -> str:
    """The hash of a line from the hash of the line before it."""
    return blake2b(before.encode() + b" " + body, digest_size=32).hexdigest()


def body_of(fields: Fields) -> bytes:
    """A line's body: one way to write it, so that a signature over it can be checked."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def files_of(folder: Path) -> list[Path]:
    """The files of a log, oldest first."""
    return sorted(folder.glob("audit-[0-9]*.log"))


def _locked(path: Path) -> int:
    """Keep other writers out for as long as the descriptor is open: two would break the chain."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StoreError("in use", f"{path.parent}: another process writes this audit log") from None
    return lock


def _clipped(value: Any) -> Any:
    return value[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else value


def _inside(fields: Fields) -> str:
    """What stands between the braces of such an object."""
    return body_of(fields)[1:-1].decode()


class AuditLog:
    """Appends to the audit log of one tenant. Thread-safe.

    ``key``: the private key that signs checkpoints. Raises InputError if the log that is there does not end as it
    should.
    """

    def __init__(
        self,
        folder: Path,
        key: Key,
        *,
        tenant: str = "default",
        clock: Callable[[], float] = time.time,
        file_bytes: int = FILE_BYTES_MAX,
        checkpoint_records: int = CHECKPOINT_RECORDS,
    ) -> None:
        if key.private is None:
            raise InputError("the key of an audit log must be private", hint="Make one with: cordboard token keys FILE")
        self._folder, self._key, self._tenant, self._clock = folder, key, tenant, clock
        self._file_bytes, self._checkpoint_records = file_bytes, checkpoint_records
        self._queue: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._urgent = self._closing = False
        self.failing = ""  # why the disk does not take records at present
        self._lock = self._file = -1
        self._unsigned, self._signed_at = 0, 0.0
        try:
            self._queue.extend(self._begin())
        except OSError as error:
            if error.errno not in PASSING:
                raise
            self.failing = f"audit log: {error.strerror}"  # it begins when the disk takes it
        self._thread = threading.Thread(target=self._run, name=f"audit {tenant}", daemon=True)
        self._thread.start()

    def _begin(self) -> list[Waiting]:
        """Go on where the log ends; records that are due first: of a fresh one, and of a line that was cut off."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._folder / "audit.lock")
        try:
            self._hash, self._n, self._unsigned, torn = self._recover()
        except BaseException:
            self._let_go()
            raise
        self._signed_at = time.monotonic()
        due: list[Fields] = []
        if self._n == 0:
            due.append({"kind": "opened", "tenant": self._tenant})
        if torn:
            due.append({"kind": "recovered", "torn_bytes": torn})
        return [(f"{self._clock()!r},{_inside(fields)}", None) for fields in due]

    def _let_go(self) -> None:
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def record(self, action: str, *, wait: bool = False, **about: Any) -> Future[int]:
        """Put a record in line (see :meth:`note`); its Future gives its number when it is on disk. With ``wait`` it is
        written at once."""
        done: Future[int] = Future()
        done.set_running_or_notify_cancel()  # who waits may go away; what is recorded is recorded
        self._put(action, done, wait, **about)
        return done

    def note(self, action: str, **about: Any) -> None:
        """Put a record in line for which nobody waits: that costs a third of one with a Future.

        ``about``: ``actor``, and what there is of ``by``, ``peer``, ``target``, ``outcome`` (OK), ``request_id`` and
        ``details``. Never hand in what a person must not be known by: numbers, customers, notes. Raises LimitError if
        too many wait.
        """
        self._put(action, None, False, **about)

    def _put(
        self,
        action: str,
        done: Future[int] | None,
        wait: bool,
        *,
        actor: str,
        by: str = "",
        peer: str = "",
        target: str = "",
        outcome: str = "OK",
        request_id: str = "",
        details: Fields | None = None,
    ) -> None:
        text = f'"kind":"record","action":{quoted(action)},"actor":{quoted(actor)}'
        more = (("by", by), ("peer", peer), ("target", target), ("outcome", outcome), ("request_id", request_id))
        for name, value in more:
            if value:
                text += f',"{name}":{quoted(value[:TEXT_CHARACTERS_MAX])}'
        if details:
            text += "," + _inside({"details": {name: _clipped(value) for name, value in details.items()}})
        if len(text) * 4 > BODY_BYTES_MAX and len(text.encode("utf-8", "replace")) > BODY_BYTES_MAX:
            raise LimitError("an audit record that is too long", BODY_BYTES_MAX, "Leave details out")
        with self._changed:
            if self._closing:
                raise InputError("the audit log is closed")
            if len(self._queue) >= QUEUED_MAX:
                raise LimitError("too many audit records wait to be written", QUEUED_MAX, self.failing or "Try again")
            self._queue.append((f"{self._clock()!r},{text}", done))
            if wait or len(self._queue) == 1:
                self._urgent |= wait
                self._changed.notify()

    @property
    def crowded(self) -> bool:
        """Whether so many records wait that what must be audited should be refused."""
        return len(self._queue) >= QUEUED_MAX // 2

    def close(self) -> None:
        """Write what waits, sign a last checkpoint, and end. What a failing disk does not take fails its Future."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._let_go()

    # --- the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._queue and not self._closing:
                    left = self._signed_at + CHECKPOINT_S - time.monotonic() if self._unsigned else None
                    self._changed.wait(None if left is None else max(left, 0.0))
                if not self._urgent and not self._closing and self._queue:
                    self._changed.wait_for(lambda: self._urgent or self._closing, GROUP_S)
                taken = list(self._queue)
                self._queue.clear()
                self._urgent = False
                closing = self._closing
            due = self._unsigned > 0 and time.monotonic() - self._signed_at >= CHECKPOINT_S
            if taken or due or closing:
                self._write_until_done(taken, due or closing)
            if closing:
                return

    def _write_until_done(self, taken: list[Waiting], sign: bool) -> None:
        """Write a group; while the disk fails, again every second. A close gives up after one more try."""
        tries_left = 2
        while True:
            try:
                if self._file < 0:
                    taken = self._begin() + taken
                numbers = self._write(taken, sign)
                self.failing = ""
                break
            except (OSError, StoreError, InputError) as error:
                self.failing = f"audit log: {getattr(error, 'strerror', None) or error}"
                with self._changed:
                    tries_left -= self._closing
                    if tries_left <= 0:
                        for _, done in taken:
                            if done is not None:
                                done.set_exception(InputError(self.failing, Where(str(self._folder)), "Free the disk"))
                        return
                    self._changed.wait_for(lambda: self._closing, RETRY_S if not self._closing else 0.05)
        for (_, done), number in zip(taken, numbers, strict=True):
            if done is not None:
                done.set_result(number)

    def _write(self, taken: list[Waiting], sign: bool) -> list[int]:
        """Append and sync; on any failure the file is as it was. Returns the records' numbers."""
        before, lines, numbers = self._hash, bytearray(), []
        n, unsigned, head = self._n, self._unsigned, self._hash
        now = self._clock()
        for text, _ in taken:
            n += 1
            body = f'{{"n":{n},"t":{text}}}'.encode("utf-8", "replace")
            head = chained(head, body)
            lines += head.encode() + b" " + body + b"\n"
            numbers.append(n)
            unsigned += 1
            if unsigned >= self._checkpoint_records:
                n, head, unsigned = n + 1, self._signed_line(lines, n + 1, now, head), 0
        if sign and unsigned:
            n, head, unsigned = n + 1, self._signed_line(lines, n + 1, now, head), 0
        if head == before:
            return numbers
        self._append(bytes(lines))
        if not unsigned:
            self._signed_at = time.monotonic()
        self._n, self._hash, self._unsigned = n, head, unsigned
        if self._size >= self._file_bytes:
            self._next_file()
        return numbers

    def _signed_line(self, lines: bytearray, n: int, now: float, head: str) -> str:
        """Add a checkpoint; returns its hash."""
        assert self._key.private is not None
        fields: Fields = {"n": n, "t": now, "kind": "checkpoint", "tenant": self._tenant, "head": head}
        fields["kid"] = self._key.kid
        fields["signature"] = b64encode(self._key.private.sign(body_of(fields))).decode()
        body = body_of(fields)
        found = chained(head, body)
        lines += found.encode() + b" " + body + b"\n"
        return found

    def _append(self, content: bytes) -> None:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(content)

    def _next_file(self) -> None:
        number = int(self._path.stem.rpartition("-")[2]) + 1
        try:
            self._open(self._folder / f"audit-{number:08}.log", self._file)
        except OSError as error:  # the present file goes on growing until a new one can be made
            self.failing = f"audit log: {error.strerror}"

    def _open(self, path: Path, old: int = -1) -> None:
        """Append to this file from now on."""
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        sync_folder(self._folder)
        if old >= 0:
            os.close(old)
        self._file, self._path = descriptor, path
        self._size = os.fstat(descriptor).st_size

    def _recover(self) -> tuple[str, int, int, int]:
        """The last hash, the last number, whether the last line waits for a checkpoint (1) or is one (0), and how many
        bytes of a line that a crash cut off were taken away."""
        files = files_of(self._folder)
        self._open(files[-1] if files else self._folder / "audit-00000001.log")
        whole, torn = _whole_lines(self._path, self._size)
        if torn:
            os.ftruncate(self._file, self._size - torn)
            os.fsync(self._file)
            self._size -= torn
        if not whole and len(files) > 1:
            whole, _ = _whole_lines(files[-2], files[-2].stat().st_size)
        if not whole:
            return start_of(self._tenant), 0, 0, torn
        try:
            head, n, unsigned = _read_tail(whole, self._tenant)
        except ValueError:
            hint = "See cordboard audit verify; move the folder away to begin another log"
            raise InputError("the audit log does not end as it should", Where(str(self._path)), hint) from None
        return head, n, unsigned, torn


def _whole_lines(path: Path, size: int) -> tuple[list[bytes], int]:
    """The last two whole lines of a file (fewer if there are fewer), and the bytes of a cut one behind them."""
    with open(path, "rb") as source:
        source.seek(max(0, size - 4 * BODY_BYTES_MAX))
        tail = source.read()
    end = tail.rfind(b"\n") + 1
    return tail[:end].splitlines()[-2:], len(tail) - end


def _read_tail(lines: list[bytes], tenant: str) -> tuple[str, int, int]:
    """The hash and number of the last of these lines, checked against the line before it, and 0 if it is a checkpoint
    (else 1). Raises ValueError."""
    head, body = lines[-1][:64].decode("ascii"), lines[-1][65:]
    before = lines[-2][:64].decode("ascii") if len(lines) > 1 else start_of(tenant)
    fields = json.loads(body)
    n = fields["n"] if isinstance(fields, dict) and isinstance(fields.get("n"), int) else 0
    # A file's first line alone can't be checked here unless it is the log's first: its forerunner is in another file.
    if n < 1 or (chained(before, body) != head and (len(lines) > 1 or n == 1)):
        raise ValueError
    return head, n, int(fields.get("kind") != "checkpoint")
