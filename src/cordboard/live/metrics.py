"""What Prometheus reads: how the engines are, what went through them, and what follows them.

Counters are fed by the entries of the journal in a thread of their own; gauges are looked up when somebody asks, the
agents in slices, so that the writer is never held up for long. Nothing here names a contact, a customer or an agent.
docs/reference/metrics.md lists all of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cordboard.errors import (
    CompactedError,
    CordboardError,
    MissingExtraError,
    SlowReaderError,
    UnavailableError,
    UnknownNameError,
)
from cordboard.journal import told
from cordboard.live.hub import BATCH_MAX

try:
    from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtraError("prometheus-client", "serve") from error

if TYPE_CHECKING:
    from cordboard.acd import Acd
    from cordboard.live.engine import Engine
    from cordboard.live.entry import Entry
    from cordboard.live.store import Row, Store
    from cordboard.live.webhooks import Webhooks
    from cordboard.records import Follower

T = TypeVar("T")
STATUSES = ("recovering", "serving", "draining", "read-only", "closed")
AGENT_STATES = ("ready", "offered", "connected", "wrap_up", "away", "offline")
COMMIT_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0)
GROUP_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
MOS_BUCKETS = (2.6, 3.1, 3.6, 4.0, 4.3)  # steps of satisfaction of ITU-T G.107, annex B
DELAY_BUCKETS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 1.0)
WAIT_BUCKETS = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1800.0)
SLICE = 200  # agents that are looked at in one go
LOOK_S = 5.0  # for one look at the core
PACE_S = 0.1  # entries are counted so often at most: to be woken for each group would cost the writer its turns

_log = logging.getLogger("cordboard.metrics")


class Metrics:
    """The metrics of one server with the engines of some tenants."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        tenant, queue, node = ["tenant"], ["tenant", "queue"], ["tenant", "node"]

        def counter(name: str, help: str, labels: Sequence[str]) -> Counter:
            return Counter(f"cordboard_{name}", help, labels, registry=self.registry)

        def histogram(name: str, help: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
            return Histogram(f"cordboard_{name}", help, labels, buckets=buckets, registry=self.registry)

        self.commit = histogram("commit_seconds", "To write a group of rows durably", tenant, COMMIT_BUCKETS)
        self.group = histogram("commit_rows", "Rows in a group", tenant, GROUP_BUCKETS)
        self.faults = counter("commit_failures", "Groups that could not be written", ["tenant", "kind"])
        self.events = counter("events", "Events applied", ["tenant", "event"])
        self.effects = counter("effects", "Effects of events and timers", ["tenant", "effect"])
        self.refused = counter("refused", "Events that the center refused", ["tenant", "error"])
        self.contacts = counter("contacts", "What became of contacts in a queue", [*queue, "outcome"])
        self.waits = histogram("answer_wait_seconds", "From entering the queue to the answer", queue, WAIT_BUCKETS)
        self.mos = histogram("leg_mos", "Estimated from loss, jitter and delay, of legs that ended", node, MOS_BUCKETS)
        self.jitter = histogram("leg_jitter_seconds", "Of what came, mean of a leg", node, DELAY_BUCKETS)
        self.round_trip = histogram("leg_round_trip_seconds", "To the far end and back, mean", node, DELAY_BUCKETS)
        self.packets = counter("leg_packets", "Of audio, of legs that ended", [*node, "fate"])
        self._watched: dict[str, _Watched] = {}
        self.registry.register(_Merged(self._watched))

    def timed(self, tenant: str, store: Store) -> Store:
        """The store, with its commits measured; for ``Engine.open(store=...)``."""
        return cast("Store", _TimedStore(store, self, tenant))

    def watch(
        self, tenant: str, engine: Engine, records: Follower | None = None, webhooks: Webhooks | None = None
    ) -> None:
        """From now on tell about this engine and what follows it."""
        watched = self._watched[tenant] = _Watched(tenant, engine, records, webhooks, self)
        watched.thread.start()

    def close(self) -> None:
        """Stop counting. What was counted can still be read."""
        for watched in self._watched.values():
            watched.stop.set()
        for watched in self._watched.values():
            watched.thread.join(LOOK_S)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether every engine serves, and how each is."""
        found = {name: watched.health() for name, watched in self._watched.items()}
        return all(one["status"] == "serving" for one in found.values()), {"tenants": found}


class _Merged(Collector):
    """The gauges of all tenants, one family for each name, as the format of the page demands."""

    def __init__(self, watched: Mapping[str, _Watched]) -> None:
        self._watched = watched

    def collect(self) -> Iterator[Metric]:
        """What Prometheus' client calls when the page is made."""
        families: dict[str, Metric] = {}
        for one in self._watched.values():
            for family in one.gauges():
                if family.name in families:
                    families[family.name].samples += family.samples
                else:
                    families[family.name] = family
        yield from families.values()


class _TimedStore:
    """A store whose ``append`` is measured; everything else is the store's own."""

    def __init__(self, store: Store, metrics: Metrics, tenant: str) -> None:
        self._store = store
        self._seconds, self._rows = metrics.commit.labels(tenant), metrics.group.labels(tenant)
        self._faults, self._tenant = metrics.faults, tenant

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, rows: Sequence[Row]) -> None:
        began = time.perf_counter()
        try:
            self._store.append(rows)
        except CordboardError as error:
            self._faults.labels(self._tenant, getattr(error, "kind", "other")).inc()
            raise
        self._seconds.observe(time.perf_counter() - began)
        self._rows.observe(len(rows))


class _Watched:
    """One engine: a thread that counts its entries, and the gauges of the moment."""

    def __init__(
        self, tenant: str, engine: Engine, records: Follower | None, webhooks: Webhooks | None, metrics: Metrics
    ) -> None:
        self._tenant, self._engine, self._metrics = tenant, engine, metrics
        self._records, self._webhooks = records, webhooks
        self._waiting: dict[str, tuple[str, float]] = {}  # contact -> queue, entered; no more than are in the center
        self._outcomes: Counts[tuple[str, str]] = Counts()  # queue, outcome; of the entries that are tallied
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._count, name="cordboard-metrics", daemon=True)

    def health(self) -> dict[str, Any]:
        state = self._engine.state
        found: dict[str, Any] = {"status": state.status, "reason": state.reason, "revision": state.revision}
        if self._records is not None:
            found["records_behind"] = self._records.behind
        return found

    # ---- counters

    def _count(self) -> None:
        after: int | None = None
        while not self.stop.is_set():
            try:
                subscription = self._engine.subscribe(after, capacity=1_000_000)
                while not self.stop.is_set():
                    entries = subscription.get(0.5)
                    self._tally(entries)
                    after = subscription.revision
                    if len(entries) < BATCH_MAX:
                        self.stop.wait(PACE_S)
                subscription.close()
            except (SlowReaderError, CompactedError):
                _log.warning("the counters missed entries after revision %s", after)
                self._waiting.clear()
                after = None
            except UnavailableError:
                return

    def _tally(self, entries: Iterable[Entry]) -> None:
        events: Counts[str] = Counts()
        effects: Counts[str] = Counts()
        refused: Counts[str] = Counts()
        for entry in entries:
            if entry.error is None:
                events[entry.event["event"]] += 1
            else:
                refused[type(entry.error).__name__] += 1
            for effect in entry.effects:
                if effect["t"] < entry.t:
                    self._effect(effect)
            if entry.error is None:
                self._event(entry.event, entry.t)
            for effect in entry.effects:
                effects[effect["effect"]] += 1
                if effect["t"] >= entry.t:
                    self._effect(effect)
        counters = ((events, self._metrics.events), (effects, self._metrics.effects), (refused, self._metrics.refused))
        for counts, counter in counters:
            for name, count in counts.items():
                counter.labels(self._tenant, name).inc(count)
        for (queue, outcome), count in self._outcomes.items():
            self._metrics.contacts.labels(self._tenant, queue, outcome).inc(count)
        self._outcomes.clear()

    def _event(self, event: Mapping[str, Any], t: float) -> None:
        kind = event["event"]
        if kind == "contact_queued":
            self._enter(event["contact"], event["queue"], t)
        elif kind == "offer_accepted":
            place = self._leave(event["contact"], "answered")
            if place is not None:
                self._metrics.waits.labels(self._tenant, place[0]).observe(t - place[1])
        elif kind == "contact_left":
            self._leave(event["contact"], "abandoned")
        elif kind == "leg_ended" and "quality" in event:
            self._quality(event["node"], event["quality"])

    def _quality(self, node: str, audio: Mapping[str, float]) -> None:
        metrics, place = self._metrics, (self._tenant, node)
        metrics.mos.labels(*place).observe(audio["mos"])
        metrics.jitter.labels(*place).observe(audio["jitter_ms"] / 1000.0)
        metrics.round_trip.labels(*place).observe(audio["round_trip_ms"] / 1000.0)
        for fate in ("received", "lost", "sent"):
            metrics.packets.labels(*place, fate).inc(audio[fate])

    def _effect(self, effect: Mapping[str, Any]) -> None:
        kind = effect["effect"]
        event = told(effect)
        if event is not None:
            self._event(event, effect["t"])
        if kind == "contact_rejected":
            self._leave(effect["contact"], "rejected")
        elif kind == "contact_expired":
            self._leave(effect["contact"], "expired" if effect["to"] is None else "overflowed")
            if effect["to"] is not None:
                self._enter(effect["contact"], effect["to"], effect["t"])

    def _enter(self, contact: str, queue: str, t: float) -> None:
        self._waiting[contact] = (queue, t)
        self._outcomes[queue, "entered"] += 1

    def _leave(self, contact: str, outcome: str) -> tuple[str, float] | None:
        """A contact that waited is not waiting any more. One that came before the counting began is left out."""
        place = self._waiting.pop(contact, None)
        if place is not None:
            self._outcomes[place[0], outcome] += 1
        return place

    # ---- gauges

    def gauges(self) -> Iterator[Metric]:
        """How things are now; counters of others among them."""
        yield from self._of_engine()
        try:
            yield from self._of_center()
        except (CordboardError, TimeoutError):  # the engine is closed, or its writer is busy for long
            yield self._gauge("up", "Whether the center could be looked at", 0)
        else:
            yield self._gauge("up", "Whether the center could be looked at", 1)
        if self._records is not None:
            yield self._gauge("records_behind", "Revisions that the records have not booked yet", self._records.behind)
            yield self._gauge("records_fault", "Whether the records stand still", float(bool(self._records.fault)))
        if self._webhooks is not None:
            yield from self._of_webhooks(self._webhooks)

    def _of_engine(self) -> Iterator[Metric]:
        state = self._engine.state
        yield self._gauge("revision", "Rows in the journal", state.revision)
        yield self._gauge("inbox_events", "Events that wait for the writer", state.waiting_events)
        yield self._gauge("inbox_limit", "Most that may wait", self._engine.settings.queue_events)
        yield self._gauge("clock_off_seconds", "Wall clock ahead of the engine's", state.clock_off_s)
        by_status = GaugeMetricFamily("cordboard_engine_status", "1 for the status it has", labels=["tenant", "status"])
        for status in STATUSES:
            by_status.add_metric([self._tenant, status], float(state.status == status))
        yield by_status
        fault = GaugeMetricFamily("cordboard_read_only", "1 while nothing can be journaled", labels=["tenant", "kind"])
        if state.status == "read-only":
            fault.add_metric([self._tenant, state.reason], 1)
        yield fault

    def _of_center(self) -> Iterator[Metric]:
        queues, agents = self._look(_queues), self._look(lambda acd: [agent.name for agent in acd.center.agents])
        labels = ["tenant", "queue", "state"]
        contacts = GaugeMetricFamily("cordboard_contacts_now", "Contacts in the center", labels=labels)
        longest = GaugeMetricFamily("cordboard_longest_wait_seconds", "Of a waiting contact", labels=labels[:2])
        for name, row in queues.items():
            for state in ("waiting", "offered", "connected"):
                contacts.add_metric([self._tenant, name, state], row[state])
            longest.add_metric([self._tenant, name], row["longest_wait"])
        yield contacts
        yield longest
        states: Counts[str] = Counts()
        for start in range(0, len(agents), SLICE):
            states += self._look(_slice(agents[start : start + SLICE]))
        by_state = GaugeMetricFamily("cordboard_agents", "Agents by state", labels=["tenant", "state"])
        for state in AGENT_STATES:
            by_state.add_metric([self._tenant, state], states[state])
        yield by_state

    def _of_webhooks(self, webhooks: Webhooks) -> Iterator[Metric]:
        labels = ["tenant", "endpoint"]
        behind = GaugeMetricFamily("cordboard_webhook_behind", "Revisions it has not got yet", labels=labels)
        stopped = GaugeMetricFamily("cordboard_webhook_stopped", "1 while it stands still", labels=labels)
        dead = GaugeMetricFamily("cordboard_webhook_dead_letters", "Messages it did not take", labels=labels)
        sent = CounterMetricFamily("cordboard_webhook_delivered", "Messages taken", labels=labels)
        failed = CounterMetricFamily("cordboard_webhook_failed", "Attempts that failed", labels=labels)
        for one in webhooks.states():
            place = [self._tenant, one.name]
            behind.add_metric(place, one.behind)
            stopped.add_metric(place, float(bool(one.stopped)))
            dead.add_metric(place, one.dead)
            sent.add_metric(place, one.delivered)
            failed.add_metric(place, one.failed)
        yield from (behind, stopped, dead, sent, failed)

    def _look(self, look: Callable[[Acd], T]) -> T:
        future: Future[T] = self._engine.read(look)
        return future.result(LOOK_S)

    def _gauge(self, name: str, help: str, value: float) -> Metric:
        found = GaugeMetricFamily(f"cordboard_{name}", help, labels=["tenant"])
        found.add_metric([self._tenant], value)
        return found


def _queues(acd: Acd) -> dict[str, dict[str, Any]]:
    return {queue.name: acd.queue_state(queue.name) for queue in acd.center.queues}


def _slice(names: Sequence[str]) -> Callable[[Acd], Counts[str]]:
    def look(acd: Acd) -> Counts[str]:
        found: Counts[str] = Counts()
        for name in names:
            with suppress(UnknownNameError):  # the center may have changed since the names were asked
                found[acd.agent_state(name)["state"]] += 1
        return found

    return look
