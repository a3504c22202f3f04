"""Personal data: who a customer is stands in one place, sealed with a key of that customer's own, and can be shredded.

The journal, snapshots, records, webhooks, logs and every backup of them know a customer by a *subject*: a random name,
the same for the same customer, so that a customer's own agent is found again. What a subject is called outside stands
in the tenant's key store, encrypted (AES-256-GCM) with a key that is made for this subject alone; that key is wrapped
by the master key. To find a subject again, the store keeps an HMAC-SHA-256 of the customer under a key that the master
key wraps as well.

To erase a customer is to drop the row: nothing then leads from the subject to the customer or back, in no journal and
no backup of one, and the same customer is somebody new the next time. What remains is the key store's own backups: keep
them apart from the others and for a few days only (``backup`` drops old ones), since a row lives there until the last
backup that has it is gone.

So it is with callers and the numbers that people dial or transfer to (``PERSON`` says where they stand). What a SIP
network says of a caller in headers is sealed with the key of the caller's subject, so that it is shredded together with
the number; the same text is sealed to the same one, because a report that comes twice must be the same event.

The master key is 32 bytes in base64, in a file of mode 0600 or in the environment (``CORDBOARD_MASTER_KEY``).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from cordboard.errors import InputError, LimitError, MissingExtraError, StoreError, Where
from cordboard.journal import NAME_CHARACTERS_MAX
from cordboard.live.access import checked_name
from cordboard.live.keyfiles import read_file, write_file
from cordboard.media.backend import TEXT_MAX

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
except ImportError:
    raise MissingExtraError("cryptography", "serve") from None

ENVIRONMENT = "CORDBOARD_MASTER_KEY"
KEY_BYTES = 32
NONCE_BYTES = 12
PENDING_MAX = 10_000
SEEN_STEP_S = 86_400.0  # a subject's last sight is kept to the day
DAY_S = 86_400.0

# The field of an event that says who somebody is. Whatever is new in cordboard.journal stands here or in the test.
PERSON: Mapping[str, str] = {
    "contact_queued": "customer",
    "leg_incoming": "caller",
    "leg_handed_over": "caller",
    "call_transferred": "to_number",
    "call_consulted": "to_number",
}
TEXTS = ("headers", "transcript")  # fields of pairs, a name and what is sealed
NOBODY = "anonymous"  # for whom those are sealed where there is no caller; another one each day, so that days can end
_SUBJECT = re.compile(r"s-[A-Za-z0-9_-]{22}")
_SEALED = re.compile(rf"sealed:({_SUBJECT.pattern}):([A-Za-z0-9_=-]+)")
_SEALED_BYTES_MAX = (TEXT_MAX - len("sealed:s-:") - 22) // 4 * 3 - 16  # of a text, so that it fits when it is sealed

_TABLES = """
CREATE TABLE subjects (
  found BLOB NOT NULL PRIMARY KEY, subject TEXT NOT NULL UNIQUE, wrapped BLOB NOT NULL, sealed BLOB NOT NULL,
  created REAL NOT NULL, seen REAL NOT NULL
) STRICT;
CREATE INDEX subjects_seen ON subjects (seen);
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""


class Cipher:
    """AES-256-GCM with one key; ``about`` is bound to what it seals, so that one thing can't stand for another."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise InputError(f"a key of {len(key)} bytes", hint=f"{KEY_BYTES} are needed, in base64")
        self._aead = AESGCM(key)

    def seal(self, content: bytes, about: str) -> bytes:
        """Encrypt with a fresh nonce, which stands in front."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, content, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """Decrypt. Raises InputError if it was sealed by another key or about something else, or was changed."""
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about.encode())
        except (InvalidTag, ValueError):
            raise InputError("what is sealed can't be opened", hint="Is it the right master key?") from None


def new_master(path: Path) -> Cipher:
    """Make a master key in a file that does not exist yet."""
    if path.exists():
        raise InputError("there is a key already", Where(str(path)), "Without it nothing that it sealed can be read")
    key = secrets.token_bytes(KEY_BYTES)
    write_file(path, base64.b64encode(key) + b"\n", secret=True)
    return Cipher(key)


def read_master(path: Path | None, environment: Mapping[str, str] = os.environ) -> Cipher:
    """The master key of a file, or of the environment if no file is named."""
    text = read_file(path, secret=True) if path is not None else environment.get(ENVIRONMENT, "").encode()
    try:
        return Cipher(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, InputError):
        where = Where(str(path) if path is not None else ENVIRONMENT)
        raise InputError("not a master key", where, "Make one with: cordboard privacy key FILE") from None


class KeyStore:
    """Who the subjects of one tenant are. Thread-safe; other processes may read and erase meanwhile.

    ``path``: a SQLite file, apart from the journal and from its backups. One thread of its own writes, many new
    subjects in one transaction; nobody else waits for the disk.
    """

    def __init__(
        self, path: Path, master: Cipher, *, tenant: str = "default", clock: Callable[[], float] = time.time
    ) -> None:
        self.path, self._master, self.tenant, self._clock = path, master, tenant, clock
        self._lock = threading.Lock()
        self._pending: dict[str, Future[str]] = {}
        self._sighted: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            self._out, self._in = self._connect(), self._connect()
            if self._out.execute("PRAGMA user_version").fetchone()[0] == 0:
                self._out.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version=1;COMMIT")
            self._finder = self._finding_key()
        except sqlite3.Error as error:
            raise StoreError("unusable", f"{path}: {error}") from error
        self._writer = ThreadPoolExecutor(1, f"cordboard-subjects-{tenant}")

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5.0)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA secure_delete=ON")  # what is erased is overwritten in the file
        return db

    def _finding_key(self) -> bytes:
        about = f"{self.tenant}/finder"
        made = self._master.seal(secrets.token_bytes(KEY_BYTES), about)
        self._out.execute("INSERT OR IGNORE INTO meta VALUES ('finder', ?)", (made,))
        return self._master.open(self._out.execute("SELECT value FROM meta").fetchone()[0], about)

    # ---- subjects of customers

    def known(self, customer: str) -> str | None:
        """The subject of a customer, if it was here before."""
        row = self._read("SELECT subject, seen FROM subjects WHERE found = ?", self._found(customer))
        if row is None:
            return None
        if self._clock() - row[1] >= SEEN_STEP_S:
            with self._lock:
                self._sighted.add(row[0])
                if len(self._sighted) == 1:
                    self._writer.submit(self._write_sights)
        return str(row[0])

    def subject(self, customer: str) -> Future[str]:
        """The subject of a customer, made if there is none; the Future comes when it is on disk.

        Raises LimitError if too many wait.
        """
        done: Future[str] = Future()
        done.set_running_or_notify_cancel()  # several may wait for it: none of them can cancel it for the others
        found = self.known(customer)
        if found is not None:
            done.set_result(found)
            return done
        with self._lock:
            waiting = self._pending.get(customer)
            if waiting is not None:
                return waiting
            if len(self._pending) >= PENDING_MAX:
                raise LimitError("too many new customers wait to be written", PENDING_MAX, "Send them more slowly")
            self._pending[customer] = done
            if len(self._pending) == 1:
                self._writer.submit(self._write)
        return done

    def _write(self) -> None:
        """Write all that wait; those that come meanwhile are the next round's."""
        with self._lock:
            taken, self._pending = self._pending, {}
        find = "SELECT subject FROM subjects WHERE found = ?"
        try:
            with self._transaction():
                rows = {customer: self._row(customer) for customer in taken}
                # Somebody else may have made the same one since we looked.
                self._out.executemany("INSERT OR IGNORE INTO subjects VALUES (?,?,?,?,?,?)", rows.values())
                found = {customer: self._out.execute(find, row[:1]).fetchone()[0] for customer, row in rows.items()}
        except StoreError as error:
            for done in taken.values():
                done.set_exception(error)
            return
        for customer, done in taken.items():
            done.set_result(found[customer])

    def _write_sights(self) -> None:
        with self._lock:
            taken, self._sighted = self._sighted, set()
        with suppress(StoreError), self._transaction():  # seen again, it is noted then
            rows = [(self._clock(), subject) for subject in taken]
            self._out.executemany("UPDATE subjects SET seen = ? WHERE subject = ?", rows)

    def _row(self, customer: str) -> tuple[bytes, str, bytes, bytes, float, float]:
        subject, key, now = f"s-{secrets.token_urlsafe(16)}", secrets.token_bytes(KEY_BYTES), self._clock()
        wrapped = self._master.seal(key, f"{self.tenant}/{subject}/key")
        sealed = Cipher(key).seal(customer.encode(), f"{self.tenant}/{subject}/customer")
        return self._found(customer), subject, wrapped, sealed, now, now

    def _found(self, customer: str) -> bytes:
        return hmac.digest(self._finder, customer.encode(), "sha256")

    def mark(self, number: str) -> str:
        """What stands for a number in a list of those who must not be called, also when its subject is erased: nobody
        can read the number from it, and with the master key one can be compared."""
        found = hmac.digest(self._finder, b"do not call:" + number.encode(), "sha256")
        return f"h-{base64.urlsafe_b64encode(found).decode()}"

    def _read(self, query: str, *values: object) -> Any:
        try:
            with self._lock:
                return self._in.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise StoreError("i/o error", f"{self.path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of what is done within, or nothing of it. On the writer's thread."""
        try:
            self._out.execute("BEGIN IMMEDIATE")
            yield
            self._out.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._out.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StoreError("i/o error", f"{self.path}: {error}") from error
            raise

    # ---- customers of subjects

    def customer(self, subject: str) -> str | None:
        """Who a subject is; None if it was erased, or never was."""
        row = self._read("SELECT wrapped, sealed FROM subjects WHERE subject = ?", subject)
        if row is None:
            return None
        key = self._master.open(row[0], f"{self.tenant}/{subject}/key")
        return Cipher(key).open(row[1], f"{self.tenant}/{subject}/customer").decode()

    def shown(self, text: str) -> str:
        """Who stands in an event or effect: the customer of a subject, empty if that was erased; else the text."""
        return (self.customer(text) or "") if _SUBJECT.fullmatch(text) else text

    def sealed(self, subject: str, text: str) -> str:
        """A text about a subject as it may stand in the journal, cut to what fits there. ``opened`` opens it, until
        the subject is erased."""
        content = text.encode()[:_SEALED_BYTES_MAX]
        cipher = self._cipher(subject)
        if cipher is None or not content:
            return ""
        return f"sealed:{subject}:{base64.urlsafe_b64encode(cipher.encrypt(content, None)).decode()}"

    def opened(self, text: str) -> str:
        """What was sealed; empty if its subject was erased; any other text as it is."""
        found = _SEALED.fullmatch(text)
        if found is None:
            return text
        cipher = self._cipher(found[1])
        try:
            content = b"" if cipher is None else cipher.decrypt(base64.urlsafe_b64decode(found[2]), None)
        except (InvalidTag, ValueError):
            return text
        return content.decode(errors="ignore")

    def _cipher(self, subject: str) -> AESSIV | None:
        """Of what is sealed in events about a subject: the same text to the same one."""
        row = self._read("SELECT wrapped FROM subjects WHERE subject = ?", subject)
        if row is None:
            return None
        key = self._master.open(row[0], f"{self.tenant}/{subject}/key")
        return AESSIV(hmac.digest(key, b"texts", "sha512"))

    def private(self, event: dict[str, Any]) -> dict[str, Any] | Future[dict[str, Any]]:
        """The event for the journal, with a subject in the place of a person, and headers sealed; a Future of it if the
        person is a new one. What is longer than a name is cut, except a customer, which is refused (InputError)."""
        field = PERSON.get(event["event"])
        person: str | None = event.get(field) if field is not None else None
        if person is None and not any(field in event for field in TEXTS):
            return event
        if field == "customer" and person is not None:
            checked_name(person, field)  # the journal checks the subject alone
        who = f"{NOBODY} {self._clock() // DAY_S:.0f}" if person is None else person[:NAME_CHARACTERS_MAX]
        at = None if person is None else field
        known = self.known(who)
        if known is not None:
            return self._with(event, at, known)
        done: Future[dict[str, Any]] = Future()
        self.subject(who).add_done_callback(lambda found: self._settle(done, event, at, found))
        return done

    def _settle(
        self, done: Future[dict[str, Any]], event: dict[str, Any], field: str | None, found: Future[str]
    ) -> None:
        try:
            done.set_result(self._with(event, field, found.result()))
        except Exception as error:
            done.set_exception(error)

    def _with(self, event: dict[str, Any], field: str | None, subject: str) -> dict[str, Any]:
        pairs = {key: event[key] for key in TEXTS if key in event}
        sealed = {key: [[name, self.sealed(subject, text)] for name, text in found] for key, found in pairs.items()}
        return event | sealed if field is None else event | {field: subject} | sealed

    def seen(self, subject: str) -> tuple[float, float] | None:
        """When a subject was made and, to the day, last seen; seconds since the epoch."""
        row = self._read("SELECT created, seen FROM subjects WHERE subject = ?", subject)
        return None if row is None else (float(row[0]), float(row[1]))

    def erase(self, subject: str) -> Future[bool]:
        """Shred a subject's key and name, durably. The Future gives False if it was not there."""
        return self._writer.submit(lambda: bool(self._erase([subject])))

    def erase_unseen(self, moment: float) -> Future[list[str]]:
        """Shred all subjects that were last seen before a moment: a rule of retention. Gives who they were."""
        return self._writer.submit(self._erase_unseen, moment)

    def _erase_unseen(self, moment: float) -> list[str]:
        query = "SELECT subject FROM subjects WHERE seen < ? ORDER BY seen"
        return self._erase([str(row[0]) for row in self._out.execute(query, (moment,))])

    def _erase(self, subjects: list[str]) -> list[str]:
        gone = []
        with self._transaction():
            for subject in subjects:
                if self._out.execute("DELETE FROM subjects WHERE subject = ?", (subject,)).rowcount:
                    gone.append(subject)
        # The log of SQLite still has what was; it is emptied, and a reader who hinders that is waited for.
        if self._out.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise StoreError("in use", f"{self.path}: erased, but its log could not be emptied; erase again")
        return gone

    def rewrap(self, master: Cipher) -> int:
        """Change the master key: all that it wraps is wrapped anew, all or none. Returns how many subjects there are.

        What the old master key could open, in remains of the file or in older backups, is lost with it. A server that
        runs has the old one and must be stopped before.
        """
        return self._writer.submit(self._rewrap, master).result()

    def _rewrap(self, master: Cipher) -> int:
        with self._transaction():
            rows = self._out.execute("SELECT subject, wrapped FROM subjects").fetchall()
            for subject, wrapped in rows:
                about = f"{self.tenant}/{subject}/key"
                fresh = master.seal(self._master.open(wrapped, about), about)
                self._out.execute("UPDATE subjects SET wrapped = ? WHERE subject = ?", (fresh, subject))
            self._out.execute("UPDATE meta SET value = ?", (master.seal(self._finder, f"{self.tenant}/finder"),))
        self._out.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._master = master
        return len(rows)

    def backup(self, folder: Path, keep_days: float) -> tuple[Path, list[Path]]:
        """Copy the store, while it is in use, and drop copies that are older than ``keep_days``. Returns both."""
        folder.mkdir(parents=True, exist_ok=True)
        now = self._clock()
        path = folder / time.strftime(f"keys-{self.tenant}-%Y%m%dT%H%M%SZ.db", time.gmtime(now))
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with self._lock, closing(sqlite3.connect(path)) as copy:
            self._in.backup(copy)
        os.utime(path, (now, now))
        old = [one for one in folder.glob(f"keys-{self.tenant}-*.db") if now - one.stat().st_mtime > keep_days * DAY_S]
        for one in old:
            one.unlink()
        return path, old

    def close(self) -> None:
        """Write what waits, and close."""
        self._writer.shutdown(wait=True)
        self._in.close()
        self._out.close()


def is_private(event: Mapping[str, Any]) -> bool:
    """Whether nobody can be told from an event by who reads the journal."""
    person = event.get(PERSON.get(event["event"], ""))
    texts = [text for field in TEXTS for _, text in event.get(field, ())]
    return (person is None or _SUBJECT.fullmatch(person) is not None) and all(
        not text or _SEALED.fullmatch(text) for text in texts
    )


def about_subject(events: Iterable[dict[str, Any]], subject: str) -> list[dict[str, Any]]:
    """The events of a journal that are about a subject's contacts and calls, in order: what an export holds."""
    contacts: set[object] = set()
    legs: set[object] = set()
    found = []
    for event in events:
        person = event.get(PERSON.get(event["event"], ""))
        for names, key, kind in ((contacts, "contact", "contact_queued"), (legs, "leg", "leg_incoming")):
            if event["event"] == kind and person == subject:
                names.add(event[key])
            elif event["event"] == kind:
                names.discard(event[key])  # a name that is used again, by somebody else
        contact = event.get("contact")
        call = str(contact).partition("~")[0]  # the contacts of a call: c1, c1~2, ...
        if person == subject or contact in contacts or call in legs or event.get("leg") in legs:
            found.append(event)
    return found


def opened_event(event: dict[str, Any], store: KeyStore) -> dict[str, Any]:
    """An event of an export: what its headers and transcripts say."""
    pairs = {key: event[key] for key in TEXTS if key in event}
    return event | {key: [[name, store.opened(text)] for name, text in found] for key, found in pairs.items()}
