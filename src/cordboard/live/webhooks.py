"""Webhooks: entries of the journal posted to other systems, signed, in order, at least once.

Each endpoint has a thread and a cursor of its own: the revision up to which it has everything, kept in a file, so that
it goes on there after a restart. A message that is not taken is tried again with growing pauses; while it is, later
ones wait, so the order holds. After the last attempt it becomes a dead letter, which can be sent once more. An answer
410 (Gone) stops the endpoint until somebody resumes it. See docs/reference/webhooks.md.
"""

from __future__ import annotations

import itertools
import json
import logging
import random
import ssl
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cordboard._core.acd import EFFECTS
from cordboard.errors import (
    CompactedError,
    CordboardError,
    InputError,
    LimitError,
    SlowReaderError,
    UnavailableError,
    Where,
)
from cordboard.journal import JOURNAL_EVENTS, nearest
from cordboard.live.entry import Entry
from cordboard.live.webhook_http import Answer, Poster, checked_url, key_of, signature
from cordboard.live.webhook_store import DeadLetter, WebhookStore

if TYPE_CHECKING:
    from cordboard.live.engine import Engine

ENDPOINTS_MAX = 32
LOOK_S = 0.5  # so often it is looked for dead letters to be sent again, and whether to stop
GONE = 410
RETRY = ("first_s", "most_s", "attempts")
KINDS = (frozenset(EFFECTS) - {""}) | set(JOURNAL_EVENTS)

_log = logging.getLogger("cordboard.webhooks")


@dataclass(frozen=True, slots=True)
class Retry:
    """When a message is tried again. Pauses double from ``first_s`` to ``most_s``, each with a random part (half to
    whole); ``Retry-After`` counts up to ``most_s``. After ``attempts`` it is a dead letter."""

    first_s: float = 1.0
    most_s: float = 300.0
    attempts: int = 12

    def __post_init__(self) -> None:
        whole = type(self.attempts) is int  # a fraction would never be reached, and the message tried for ever
        if not (whole and 0 < self.first_s <= self.most_s <= 86_400 and 1 <= self.attempts <= 100):
            what = "pauses from above 0 to 86,400 seconds and 1 to 100 attempts are possible"
            raise InputError(what, Where(key="retry"))

    def pause(self, attempt: int, answer: Answer, chance: Callable[[], float]) -> float:
        """Seconds after the attempt of this number (from 1). ``chance`` draws from 0 to 1."""
        pause = min(self.first_s * 2.0 ** (attempt - 1), self.most_s) * (0.5 + chance() / 2)
        return max(pause, min(answer.retry_after or 0.0, self.most_s))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where messages go. ``secrets``: ``whsec_...``, the first is the one in use, others while it is being rotated.

    ``tenant``: whose entries. ``kinds``: events and effects; an entry is sent if it has one of them, or always if there
    are none. ``after``: where a new endpoint begins, None for now. ``timeout_s``: for one attempt, all in all.
    """

    name: str
    url: str
    secrets: tuple[str, ...]
    kinds: frozenset[str] = frozenset()
    after: int | None = None
    timeout_s: float = 10.0
    retry: Retry = Retry()
    tenant: str = "default"

    def __post_init__(self) -> None:
        checked_url(self.url)
        if not self.secrets:
            raise InputError("an endpoint needs a secret", Where(key="secret"), "cordboard webhooks secret makes one")
        for secret in self.secrets:
            key_of(secret)
        if not 0 < self.timeout_s <= 60:
            raise InputError(f"{self.timeout_s} is not from above 0 to 60 seconds", Where(key="timeout_s"))

    def wants(self, entry: Entry) -> bool:
        """Whether an entry is sent: one that the center refused only for what its timers did."""
        if entry.error is not None and not entry.effects:
            return False
        if not self.kinds:
            return True
        happened = {effect["effect"] for effect in entry.effects}
        if entry.error is None:
            happened.add(entry.event["event"])
        return not self.kinds.isdisjoint(happened)


_FIELDS = ("url", "secret", "secret_file", "old_secret", "kinds", "tenant", "timeout_s", *RETRY)


def load_endpoints(path: str | Path) -> list[Endpoint]:
    """The endpoints of a TOML file with a table ``[webhooks.NAME]`` for each. InputError with file and key."""
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8")).get("webhooks", {})
    except (OSError, ValueError) as error:
        raise InputError(f"can't be read: {error}", Where(str(path)), "See docs/reference/webhooks.md") from None
    if not isinstance(tables, dict):
        raise InputError("is not a table", Where(str(path), key="webhooks"), "Write [webhooks.NAME]")
    found = []
    for name, table in tables.items():
        try:
            found.append(_endpoint(name, table, Path(path).parent))
        except InputError as error:
            raise error.at(Where(str(path), key=f"webhooks.{name}.{error.where.key}")) from None
        except (AttributeError, TypeError, ValueError, OSError) as error:  # a value of another kind than it should be
            raise InputError(f"can't be used: {error}", Where(str(path), key=f"webhooks.{name}")) from None
    return found


def _endpoint(name: str, table: dict[str, Any], folder: Path) -> Endpoint:
    for key in table:
        if key not in _FIELDS:
            raise InputError("unknown key", Where(key=key), nearest(key, _FIELDS))
    secrets = [table["secret"]] if "secret" in table else []
    if "secret_file" in table:
        secrets.insert(0, (folder / table["secret_file"]).read_text("utf-8").strip())
    if "old_secret" in table:
        secrets.append(table["old_secret"])
    kinds = frozenset(table.get("kinds", ()))
    for kind in sorted(kinds - KINDS):
        what = f"{kind!r} is neither an event nor an effect"
        raise InputError(what, Where(key="kinds"), nearest(kind, sorted(KINDS)))
    own = {key: table[key] for key in RETRY if key in table}
    return Endpoint(
        name,
        table.get("url", ""),
        tuple(secrets),
        kinds,
        timeout_s=table.get("timeout_s", 10.0),
        retry=Retry(**own),
        tenant=table.get("tenant", "default"),
    )


def message(entry: Entry) -> bytes:
    """The body: ``type``, ``timestamp`` and ``data`` with the entry, as Standard Webhooks recommends."""
    event: dict[str, Any] | None = {key: value for key, value in entry.event.items() if key != "center"}
    at = datetime.fromtimestamp(entry.t, UTC)
    body = {
        "type": entry.event["event"] if entry.error is None else "clock",
        "timestamp": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "data": {
            "revision": entry.revision,
            "t": entry.t,
            "event": event if entry.error is None else None,
            "effects": entry.effects,
        },
    }
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How an endpoint is. ``stopped``: why it stands still, or empty; ``behind``: revisions that it has not got yet."""

    name: str
    cursor: int
    behind: int
    stopped: str
    delivered: int
    failed: int
    dead: int


class Webhooks:
    """The endpoints of one engine. ``path``: the file of what must be remembered. ``source``: makes ids of messages
    unique among journals. ``context``: of TLS, for authorities of one's own."""

    def __init__(
        self,
        engine: Engine,
        endpoints: Sequence[Endpoint],
        path: str | Path,
        *,
        source: str = "default",
        context: ssl.SSLContext | None = None,
    ) -> None:
        if len(endpoints) > ENDPOINTS_MAX:
            raise LimitError(f"{len(endpoints)} endpoints", ENDPOINTS_MAX, "Let one of them hand messages on")
        if len({endpoint.name for endpoint in endpoints}) < len(endpoints):
            raise InputError("two endpoints have the same name", Where(key="webhooks"))
        self.store = WebhookStore(path)
        self._workers = [_Worker(engine, endpoint, self.store, source, context) for endpoint in endpoints]

    def start(self) -> Webhooks:
        """Begin; returns itself."""
        for worker in self._workers:
            worker.thread.start()
        return self

    def close(self, seconds: float = 2.0) -> None:
        """Stop. What is being sent gets so many seconds; then it is broken off, and sent again the next time."""
        for worker in self._workers:
            worker.stop.set()
        until = time.monotonic() + seconds
        for worker in self._workers:
            worker.thread.join(max(0.0, until - time.monotonic()))
            worker.break_off()
        self.store.close()

    def done(self) -> int:
        """The revision up to which all endpoints have everything, or have it among their dead letters."""
        own = {worker.endpoint.name for worker in self._workers}
        return min(cursor for name, cursor, _, _ in self.store.endpoints() if name in own)

    def states(self) -> list[EndpointState]:
        """How each endpoint is."""
        dead = {name: count for name, _, _, count in self.store.endpoints()}
        return [worker.state(dead.get(worker.endpoint.name, 0)) for worker in self._workers]


class _Worker:
    """One endpoint's thread."""

    def __init__(
        self, engine: Engine, endpoint: Endpoint, store: WebhookStore, source: str, context: ssl.SSLContext | None
    ) -> None:
        self.endpoint = endpoint
        self._engine, self._store, self._source = engine, store, source
        self._poster = Poster(endpoint.url, endpoint.timeout_s, context)
        self._keys = [key_of(secret) for secret in endpoint.secrets]
        self.stop = threading.Event()
        self._chance = random.Random()  # of pauses alone
        now = engine.state.revision
        self._cursor = store.begin(endpoint.name, now if endpoint.after is None else endpoint.after)
        self._saved = self._cursor
        self._stopped, self._delivered, self._failed = "", 0, 0
        self._looked = 0.0
        self.thread = threading.Thread(target=self._run, name=f"cordboard-webhook-{endpoint.name}", daemon=True)

    def state(self, dead: int) -> EndpointState:
        behind = max(0, self._engine.state.revision - self._cursor)
        name, delivered, failed = self.endpoint.name, self._delivered, self._failed
        return EndpointState(name, self._cursor, behind, self._stopped, delivered, failed, dead)

    def break_off(self) -> None:
        if self.thread.is_alive():
            self._poster.abort()
            self.thread.join(LOOK_S)

    # ---- entries

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                self._stopped = self._store.stopped(self.endpoint.name)
                if self._stopped:
                    self.stop.wait(LOOK_S)
                    continue
                self._keep_up()
            except SlowReaderError:
                continue
            except UnavailableError:  # the engine is closed, and everything was read
                break
            except CompactedError as error:  # it asks for what was forgotten before it was an endpoint
                self._store.stop(self.endpoint.name, str(error))
            except CordboardError as error:
                self._stopped = str(error)
                _log.error("webhook %s: %s", self.endpoint.name, error)
                self.stop.wait(LOOK_S)
        self._poster.close()

    def _keep_up(self) -> None:
        """Send what comes, until the endpoint is stopped, from the journal if the engine does not remember so much."""
        try:
            subscription = self._engine.subscribe(self._cursor, capacity=1_000_000)
        except CompactedError:
            history = self._engine.entries(self._cursor)
            self._send_all(itertools.takewhile(lambda _: not self.stop.is_set(), history))
            return
        with closing(subscription):
            while not self.stop.is_set():
                entries = subscription.get(LOOK_S)
                if not self._send_all(entries) or not self._send_again():
                    return

    def _send_all(self, entries: Iterable[Entry]) -> bool:
        """Send those that are wanted; False if the endpoint stands still now."""
        try:
            for entry in entries:
                if self.endpoint.wants(entry):
                    if not self._send(entry):
                        return False
                    self._save(entry.revision)
                self._cursor = entry.revision
                if not self._send_again():
                    return False
            return True
        finally:
            self._save(self._cursor)

    def _save(self, cursor: int) -> None:
        self._cursor = cursor
        if cursor != self._saved:
            self._store.advance(self.endpoint.name, cursor)
            self._saved = cursor

    def _send(self, entry: Entry) -> bool:
        """Send one until it is taken or dead; False if the endpoint stands still now, and the message is not done."""
        body, id = message(entry), f"{self._source}-{entry.revision}"
        attempts, answer = self._try(id, body)
        if answer.taken:
            return True
        if self.stop.is_set() or answer.status == GONE:
            self._note_gone(answer)
            return False
        letter = DeadLetter(
            self.endpoint.name, entry.revision, id, body, attempts, self._why(answer), time.time(), False
        )
        try:
            self._store.bury(letter)
        except LimitError as error:
            self._halt(str(error))
            return False
        self._saved = entry.revision
        # Without the words of the endpoint: they may quote the letter.
        text = "webhook %s: revision %d is a dead letter: %s"
        facts = {"tenant": self.endpoint.tenant, "endpoint": self.endpoint.name, "revision": entry.revision}
        _log.error(text, self.endpoint.name, entry.revision, answer.status or answer.why, extra={"facts": facts})
        return True

    def _send_again(self) -> bool:
        """Dead letters that somebody wants to be sent once more."""
        if time.monotonic() - self._looked < LOOK_S:
            return True
        self._looked = time.monotonic()
        for letter in self._store.dead(self.endpoint.name, again=True, most=100):
            attempts, answer = self._try(letter.id, letter.body)
            if answer.taken:
                self._store.drop(letter.endpoint, letter.revision)
            elif self.stop.is_set() or answer.status == GONE:
                self._note_gone(answer)
                return False
            else:
                self._store.still_dead(letter, attempts, self._why(answer))
        return True

    def _note_gone(self, answer: Answer) -> None:
        if answer.status == GONE and not self.stop.is_set():
            self._halt("the endpoint answered 410 Gone")

    def _halt(self, why: str) -> None:
        self._stopped = why
        self._store.stop(self.endpoint.name, why)
        _log.error("webhook %s stands still: %s", self.endpoint.name, why)

    @staticmethod
    def _why(answer: Answer) -> str:
        return f"{answer.status} {answer.why}".strip() if answer.status else answer.why

    # ---- one message

    def _try(self, id: str, body: bytes) -> tuple[int, Answer]:
        """Up to as many attempts as there may be; returns how many there were, and the last answer."""
        retry = self.endpoint.retry
        for attempt in itertools.count(1):
            now = int(time.time())
            headers = {
                "content-type": "application/json; charset=utf-8",
                "user-agent": "cordboard",
                "webhook-id": id,
                "webhook-timestamp": str(now),
                "webhook-signature": signature(self._keys, id, now, body),
            }
            answer = self._poster.post(body, headers)
            if answer.taken:
                self._delivered += 1
                return attempt, answer
            self._failed += 1
            if answer.status == GONE or attempt == retry.attempts or self.stop.is_set():
                return attempt, answer
            if self.stop.wait(retry.pause(attempt, answer, self._chance.random)):
                return attempt, answer
        raise AssertionError("an endless count has no end")
