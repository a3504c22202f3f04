"""What routing costs: the engine beside the three ways in which others are known to do it.

``python -m benchmarks.bench_routing`` prints the table (``--quick``: small sizes, for CI); under pytest-benchmark the same
cases are ``test_time_…``. Times are the thread's processor time.
One workload for all: a center in balance, in which every step is one conversation that ends
(its agent is free again and gets the next contact, who accepts) and one arrival, so that as many wait after it as before.

The baselines are written here after the published behavior (sources in docs/background/routing-engine.md):

- ``scan``: every decision goes through all members of the queue, as app_queue and OpenSIPS do, in plain Python;
- ``sql``: one SELECT over the waiting and, for a waiting one, one SELECT over agents and tiers, as mod_callcenter's
  dispatch does, in SQLite in memory, with indexes;
- ``python``: this engine's own idea, profiles and classes with heaps, in plain Python.
"""

from __future__ import annotations

import argparse
import heapq
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pytest

from cordboard import Acd
from cordboard._core.acd import EFFECTS, EVENT, EVENTS
from cordboard.center import Agent, Center, Queue

QUEUES = 32
CODE = {name: i for i, name in enumerate(EVENTS)}
REFUSED = EFFECTS.index("refused")


@dataclass(frozen=True)
class Size:
    """Agents, their profiles, and contacts waiting."""

    agents: int
    profiles: int
    waiting: int

    def __str__(self) -> str:
        return f"{self.agents:,} agents, {self.profiles} profiles, {self.waiting:,} waiting"


SIZES = {
    "small": Size(100, 16, 100),
    "regular": Size(1_000, 64, 10_000),
    "large": Size(15_000, 256, 500_000),
}
FLAT_AGENTS = [Size(n, 100, 0) for n in (100, 1_000, 10_000, 100_000)]
FLAT_WAITING = [Size(1_000, 100, n) for n in (0, 1_000, 50_000, 500_000)]


def center_of(size: Size) -> Center:
    """Profiles differ in their queues (a main one and two others), queues in the level that they require."""
    queues = tuple(Queue(f"q{i}", requires={"s": i % 5 + 1}, offer_timeout=0.0, wrap_up=0.0) for i in range(QUEUES))
    agents = []
    for i in range(size.agents):
        profile = i % size.profiles
        places = {f"q{profile % QUEUES}": 1, f"q{(profile * 7 + 3) % QUEUES}": 1, f"q{(profile * 5 + 11) % QUEUES}": 2}
        agents.append(Agent(f"a{i}", {"s": 5, "p": profile % 10 + 1, "r": profile // 10 % 10 + 1}, queues=places))
    return Center(queues, tuple(agents))


class Router(Protocol):
    """A routing method: each call returns the offers (contact, agent) that follow."""

    def ready(self, t: float, agent: int) -> list[tuple[int, int]]: ...

    def queued(self, t: float, contact: int, queue: int) -> list[tuple[int, int]]: ...

    def accepted(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]: ...

    def ended(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]: ...


class Engine:
    """The engine through Acd.apply, one dict an event."""

    def __init__(self, center: Center, explain: bool = False) -> None:
        self.acd = Acd(center, explain=explain)
        self.agents = {agent.name: i for i, agent in enumerate(center.agents)}

    def _offers(self, event: dict[str, Any]) -> list[tuple[int, int]]:
        effects = self.acd.apply(event)
        return [(int(e["contact"]), self.agents[e["agent"]]) for e in effects if e["effect"] == "offer"]

    def ready(self, t: float, agent: int) -> list[tuple[int, int]]:
        return self._offers({"t": t, "event": "agent_ready", "agent": f"a{agent}"})

    def queued(self, t: float, contact: int, queue: int) -> list[tuple[int, int]]:
        return self._offers({"t": t, "event": "contact_queued", "contact": str(contact), "queue": f"q{queue}"})

    def accepted(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]:
        return self._offers({"t": t, "event": "offer_accepted", "contact": str(contact), "agent": f"a{agent}"})

    def ended(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]:
        return self._offers({"t": t, "event": "contact_ended", "contact": str(contact)})


class Scan:
    """app_queue, OpenSIPS: lists of waiting contacts and of members; every decision walks them."""

    def __init__(self, center: Center) -> None:
        self.center = center
        self.members: list[list[tuple[int, int]]] = [[] for _ in center.queues]  # (agent, tier)
        for i, agent in enumerate(center.agents):
            for name, tier in (agent.queues or {}).items():
                self.members[int(name[1:])].append((i, tier))
        self.idle: list[float | None] = [None] * len(center.agents)
        self.waiting: list[tuple[float, int, int]] = []  # (arrival, contact, queue)

    def _fits(self, agent: int, queue: int) -> bool:
        skills = self.center.agents[agent].skills
        return all(skills.get(s, 0) >= level for s, level in self.center.queues[queue].requires.items())

    def _offer(self, contact: int, queue: int) -> list[tuple[int, int]]:
        best: tuple[int, float, int] | None = None
        for agent, tier in self.members[queue]:
            since = self.idle[agent]
            if since is not None and self._fits(agent, queue) and (best is None or (tier, since, agent) < best):
                best = (tier, since, agent)
        if best is None:
            return []
        self.idle[best[2]] = None
        return [(contact, best[2])]

    def ready(self, t: float, agent: int) -> list[tuple[int, int]]:
        self.idle[agent] = t
        places = self.center.agents[agent].queues or {}
        for i, (_, contact, queue) in enumerate(self.waiting):
            if f"q{queue}" in places and self._fits(agent, queue):
                del self.waiting[i]
                return self._offer(contact, queue)
        return []

    def queued(self, t: float, contact: int, queue: int) -> list[tuple[int, int]]:
        offers = self._offer(contact, queue)
        if not offers:
            self.waiting.append((t, contact, queue))
        return offers

    def accepted(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]:
        return []

    def ended(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]:
        return self.ready(t, agent)


class Sql:
    """mod_callcenter: members, agents and tiers in SQL; a dispatch selects the waiting by score, and for each in turn
    the agents of its queue in the order of the strategy, until one is found."""

    def __init__(self, center: Center) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(
            """
            CREATE TABLE agents (name INTEGER PRIMARY KEY, status TEXT, state TEXT, last_bridge_end REAL);
            CREATE TABLE tiers (queue INTEGER, agent INTEGER, level INTEGER);
            CREATE TABLE members (uuid INTEGER PRIMARY KEY, queue INTEGER, joined_epoch REAL, state TEXT);
            CREATE INDEX by_queue ON tiers (queue, agent);
            CREATE INDEX by_state ON members (state, joined_epoch);
            """
        )
        rows = [(i, "Logged Out", "Waiting", 0.0) for i in range(len(center.agents))]
        self.db.executemany("INSERT INTO agents VALUES (?, ?, ?, ?)", rows)
        tiers = [
            (int(name[1:]), i, tier)
            for i, agent in enumerate(center.agents)
            for name, tier in (agent.queues or {}).items()
        ]
        self.db.executemany("INSERT INTO tiers VALUES (?, ?, ?)", tiers)

    def _dispatch(self, t: float) -> list[tuple[int, int]]:
        waiting = self.db.execute(
            "SELECT uuid, queue FROM members WHERE state = 'Waiting' ORDER BY (? - joined_epoch) DESC", (t,)
        )
        free = self.db.execute("SELECT COUNT(*) FROM agents WHERE status = 'Available' AND state = 'Waiting'")
        if free.fetchone()[0] == 0:
            return []
        for uuid, queue in waiting:
            found = self.db.execute(
                "SELECT a.name FROM agents a LEFT JOIN tiers t ON a.name = t.agent WHERE t.queue = ? "
                "AND a.status = 'Available' AND a.state = 'Waiting' ORDER BY t.level, a.last_bridge_end LIMIT 1",
                (queue,),
            ).fetchone()
            if found is not None:
                self.db.execute("UPDATE members SET state = 'Trying' WHERE uuid = ?", (uuid,))
                self.db.execute("UPDATE agents SET state = 'Receiving' WHERE name = ?", found)
                return [(uuid, found[0])]
        return []

    def ready(self, t: float, agent: int) -> list[tuple[int, int]]:
        sql = "UPDATE agents SET status = 'Available', state = 'Waiting', last_bridge_end = ? WHERE name = ?"
        self.db.execute(sql, (t, agent))
        return self._dispatch(t)

    def queued(self, t: float, contact: int, queue: int) -> list[tuple[int, int]]:
        self.db.execute("INSERT INTO members VALUES (?, ?, ?, 'Waiting')", (contact, queue, t))
        return self._dispatch(t)

    def accepted(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]:
        self.db.execute("UPDATE agents SET state = 'In a queue call' WHERE name = ?", (agent,))
        self.db.execute("DELETE FROM members WHERE uuid = ?", (contact,))
        return []

    def ended(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]:
        return self.ready(t, agent)


class Python:
    """Profiles and classes with heaps, in plain Python."""

    def __init__(self, center: Center) -> None:
        self.group: list[int] = []
        profiles: dict[Any, int] = {}
        self.tiers: list[dict[int, int]] = []
        self.serving: list[list[tuple[int, int]]] = [[] for _ in center.queues]  # (tier, group)
        for agent in center.agents:
            key = (tuple(sorted(agent.skills.items())), tuple(sorted((agent.queues or {}).items())))
            if key not in profiles:
                profiles[key] = len(profiles)
                self.tiers.append({int(name[1:]): tier for name, tier in (agent.queues or {}).items()})
                for queue, tier in self.tiers[-1].items():
                    needs = center.queues[queue].requires
                    if all(agent.skills.get(s, 0) >= level for s, level in needs.items()):
                        self.serving[queue].append((tier, profiles[key]))
            self.group.append(profiles[key])
        for groups in self.serving:
            groups.sort()
        self.may = [
            [q for q in range(len(center.queues)) if any(g == i for _, g in self.serving[q])]
            for i in range(len(profiles))
        ]
        self.idle: list[list[tuple[float, int]]] = [[] for _ in profiles]
        self.waiting: list[list[tuple[float, int]]] = [[] for _ in center.queues]

    def ready(self, t: float, agent: int) -> list[tuple[int, int]]:
        heads = [(self.waiting[q][0], q) for q in self.may[self.group[agent]] if self.waiting[q]]
        if heads:
            (_, contact), queue = min(heads)
            heapq.heappop(self.waiting[queue])
            return [(contact, agent)]
        heapq.heappush(self.idle[self.group[agent]], (t, agent))
        return []

    def queued(self, t: float, contact: int, queue: int) -> list[tuple[int, int]]:
        best = min(((tier, self.idle[g][0], g) for tier, g in self.serving[queue] if self.idle[g]), default=None)
        if best is None:
            heapq.heappush(self.waiting[queue], (t, contact))
            return []
        return [(contact, heapq.heappop(self.idle[best[2]])[1])]

    def accepted(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]:
        return []

    def ended(self, t: float, contact: int, agent: int) -> list[tuple[int, int]]:
        return self.ready(t, agent)


class Explained(Engine):
    """The same, each offer with the reasons for it, as live systems want them."""

    def __init__(self, center: Center) -> None:
        super().__init__(center, explain=True)


METHODS: dict[str, Callable[[Center], Router]] = {
    "engine": Engine, "engine, reasons": Explained, "scan": Scan, "sql": Sql, "python": Python,
}  # fmt: skip


class Workload:
    """A center in balance. ``events`` runs events one by one and gives the time of each, ns."""

    def __init__(self, router: Router, size: Size) -> None:
        self.router, self.size = router, size
        self.rng = np.random.default_rng(7)
        self.t = 0.0
        self.contacts = 0
        self.talking: list[tuple[int, int]] = []  # (contact, agent)
        share = 2 if size.waiting == 0 else 1  # with nobody waiting half of the agents are idle
        for agent in range(size.agents):
            self._take(router.ready(self._tick(), agent))
        for _ in range(size.agents // share):
            self._arrive()
        extra = 0
        while extra < size.waiting:
            extra += not self._arrive()

    def _tick(self) -> float:
        self.t = round(self.t + 0.001, 3)
        return self.t

    def _take(self, offers: list[tuple[int, int]]) -> None:
        for contact, agent in offers:
            self.talking.append((contact, agent))
            self.router.accepted(self.t, contact, agent)

    def _arrive(self) -> bool:
        offers = self.router.queued(self._tick(), self.contacts, int(self.rng.integers(QUEUES)))
        self.contacts += 1
        self._take(offers)
        return bool(offers)

    def events(self, n: int) -> Iterator[int]:
        clock = time.thread_time_ns
        router = self.router
        for i, place in enumerate(self.rng.integers(1 << 62, size=n)):
            t = self._tick()
            queue = int(place) % QUEUES
            if i % 2 and self.talking:
                at = int(place) % len(self.talking)
                self.talking[at], self.talking[-1] = self.talking[-1], self.talking[at]
                contact, agent = self.talking.pop()
                start = clock()
                offers = router.ended(t, contact, agent)
                yield clock() - start
            else:
                self.contacts += 1
                start = clock()
                offers = router.queued(t, self.contacts - 1, queue)
                yield clock() - start
            for contact, agent in offers:
                self.talking.append((contact, agent))
                start = clock()
                router.accepted(t, contact, agent)
                yield clock() - start


def event_rows(n: int) -> Any:
    rows = np.zeros(n, dtype=EVENT)
    rows["queued_at"] = np.nan
    rows["preferred"] = -1
    return rows


class Columns:
    """The same workload through Acd.apply_columns: recorded once on one engine, then timed on another."""

    def __init__(self, size: Size, n: int) -> None:
        self.center = center_of(size)
        self.fill, self.run = self._record(self.center, size, n)

    @staticmethod
    def _record(center: Center, size: Size, n: int) -> tuple[Any, Any]:
        log: list[tuple[float, int, int, int, int]] = []

        class Recorder(Engine):
            def _offers(self, event: dict[str, Any]) -> list[tuple[int, int]]:
                agent = int(event["agent"][1:]) if "agent" in event else -1
                queue = int(event["queue"][1:]) if "queue" in event else -1
                log.append((event["t"], CODE[event["event"]], int(event.get("contact", -1)), agent, queue))
                return super()._offers(event)

        work = Workload(Recorder(center), size)
        filled = len(log)
        for _ in work.events(n):
            pass
        rows = event_rows(len(log))
        for name, column in zip(("t", "event", "contact", "agent", "queue"), zip(*log, strict=True), strict=True):
            rows[name] = column
        return rows[:filled], rows[filled:]

    def filled(self) -> Acd:
        acd = Acd(self.center, explain=False)
        acd.apply_columns(self.fill)
        return acd

    def once(self) -> float:
        """ns an event, all in one call, on an engine of the same state."""
        acd = self.filled()
        start = time.thread_time_ns()
        effects = acd.apply_columns(self.run)
        taken = time.thread_time_ns() - start
        assert not (effects["effect"] == REFUSED).any(), "the recorded events must fit"
        return taken / len(self.run)

    def median(self) -> float:
        return statistics.median(self.once() for _ in range(5))


def measure(method: str, size: Size, n: int) -> tuple[float, float, float]:
    """Median, mean and 99th percentile of an event, µs of processor time."""
    work = Workload(METHODS[method](center_of(size)), size)
    times = list(work.events(n))
    return statistics.median(times) / 1e3, statistics.mean(times) / 1e3, float(np.percentile(times, 99)) / 1e3


def reasons(rounds: int, n: int) -> None:
    """The engine with and without reasons for its offers at the large size, by turns; medians over the rounds."""
    size = SIZES["large"]
    works = {m: Workload(METHODS[m](center_of(size)), size) for m in ("engine", "engine, reasons")}
    found: dict[str, list[tuple[float, float, float]]] = {method: [] for method in works}
    for _ in range(rounds):
        for method, work in works.items():
            times = np.array(list(work.events(n))) / 1e3
            found[method].append((float(np.median(times)), float(times.mean()), float(np.percentile(times, 99))))
    print(f"{size}, {rounds} rounds of {n:,} conversations\n")
    print("| method | median, µs | mean, µs | p99, µs |\n| --- | ---: | ---: | ---: |")
    for method, rows in found.items():
        print(f"| {method} | " + " | ".join(f"{value:.2f}" for value in np.median(rows, axis=0)) + " |")


def flat(rounds: int) -> None:
    """The array interface alone over all sizes, by turns, so that a busy machine is busy for all; and how much it grows."""
    cases = {size: Columns(size, 50_000) for size in [*FLAT_AGENTS, *FLAT_WAITING, SIZES["large"]]}
    taken: dict[Size, list[float]] = {size: [] for size in cases}
    for _ in range(rounds):
        for size, columns in cases.items():
            taken[size].append(columns.once())
    found = {size: statistics.median(times) for size, times in taken.items()}
    print("| size | apply_columns, ns an event | least | times the smallest of its kind |\n| --- | ---: | ---: | ---: |")
    for sizes in (FLAT_AGENTS, FLAT_WAITING, [SIZES["large"]]):
        for size in sizes:
            ratio = found[size] / found[sizes[0]]
            print(f"| {size} | {found[size]:.0f} | {min(taken[size]):.0f} | {ratio:.2f} |")


# ---- pytest-benchmark


@pytest.mark.parametrize("method", list(METHODS))
def test_time_events_small(benchmark: Any, method: str) -> None:
    work = Workload(METHODS[method](center_of(SIZES["small"])), SIZES["small"])
    benchmark(lambda: sum(work.events(200)))


@pytest.mark.parametrize("name", ["small", "regular"])
def test_time_columns(benchmark: Any, name: str) -> None:
    columns = Columns(SIZES[name], 20_000)
    benchmark.pedantic(lambda acd: acd.apply_columns(columns.run), setup=lambda: ((columns.filled(),), {}), rounds=3)


# ---- the table


def report(quick: bool) -> None:
    n = 2_000 if quick else 50_000
    sizes = {k: v for k, v in SIZES.items() if not quick or k == "small"}
    print("| size | method | median, µs | mean, µs | p99, µs | mean, times the engine's |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for size in sizes.values():
        base = 0.0
        for method in METHODS:
            # The slow ones get fewer events, and only sizes that can be filled in reasonable time.
            if method in ("scan", "sql") and size.waiting > 10_000:
                continue
            count = n if method in ("engine", "engine, reasons", "python") else min(n, 200 if size.waiting > 1_000 else 2_000)
            median, mean, p99 = measure(method, size, count)
            base = base or mean
            print(f"| {size} | {method} | {median:.2f} | {mean:.2f} | {p99:.2f} | {mean / base:.1f} |", flush=True)
        each = Columns(size, n * 4).median() / 1e3
        print(f"| {size} | engine, array interface | | {each:.2f} | | {each / base:.2f} |", flush=True)
    if quick:
        return
    print("\n| flat? | median, µs | p99, µs | apply_columns, ns an event |\n| --- | ---: | ---: | ---: |")
    for size in [*FLAT_AGENTS, *FLAT_WAITING]:
        median, _, p99 = measure("engine", size, n)
        print(f"| {size} | {median:.2f} | {p99:.2f} | {Columns(size, n).median():.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, for CI")
    parser.add_argument("--reasons", action="store_true", help="with reasons and without, at the large size")
    parser.add_argument("--flat", action="store_true", help="the array interface alone, over all sizes by turns")
    options = parser.parse_args()
    if options.reasons:
        reasons(5, 10_000)
    elif options.flat:
        flat(7)
    else:
        report(options.quick)
