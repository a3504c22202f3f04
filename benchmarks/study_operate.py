"""What an operator sizes by: records, backups and restore drills, metrics, webhooks; on a journal of a day's calls.

    python -m benchmarks.study_operate [--events 1000000] [--quick] [--json]

The journal is made by driving the router itself: 300 agents, calls of three minutes, some that give up. Prints a table.
Where one thread does the work, its processor time is measured (``cpu``), so that neighbours make no difference; backups,
drills and webhooks by the wall clock.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cordboard.acd import Acd
from cordboard.center import Agent, Center, Queue
from cordboard.center_writer import center_toml
from cordboard.client import Client
from cordboard.live import Engine, Settings, backup
from cordboard.live.archive import Archive
from cordboard.live.backup_file import Opener, Seal
from cordboard.live.metrics import Metrics
from cordboard.live.store import Row, make_store
from cordboard.live.webhooks import Endpoint, Webhooks
from cordboard.records import Records, Step

AGENTS = 300
START_S = 1_790_000_000
SECRET = "whsec_" + "A" * 43 + "="


def center(agents: int = AGENTS, queues: int = 6) -> Center:
    return Center(
        tuple(Queue(f"q{i}", wrap_up=10.0) for i in range(queues)),
        tuple(Agent(f"agent{i}", {}) for i in range(agents)),
    )


class Day:
    """Events in order of time: arrivals a little above what the agents can take, so that some wait and some give up."""

    def __init__(self, site: Center, seed: int = 1) -> None:
        self.site, self.chance, self.acd = site, random.Random(seed), Acd(site, explain=False)
        self.later: list[tuple[float, int, str, str]] = []  # t, a number, event, contact
        self.connected: set[str] = set()
        self.contacts = 0

    def events(self, most: int) -> Iterator[dict[str, Any]]:
        made = self._made()
        for _ in range(most):
            yield next(made)

    def _made(self) -> Iterator[dict[str, Any]]:
        t = float(START_S)
        for agent in self.site.agents:
            event = {"t": t, "event": "agent_ready", "agent": agent.name}
            self.acd.apply(event)
            yield event
        self._later(t, 0.0, "contact_queued", "")
        while True:
            t, _, kind, contact = heapq.heappop(self.later)
            if kind == "contact_left" and contact in self.connected:
                continue
            event = {"t": t, "event": kind, "contact": contact}
            if kind == "contact_queued":
                self.contacts += 1
                event |= {"contact": f"c{self.contacts}", "queue": self.chance.choice(self.site.queues).name}
                self._later(t, 185.0 / len(self.site.agents), "contact_queued", "")
                self._later(t, 120.0, "contact_left", event["contact"])
            effects = self.acd.apply(event)
            yield event
            yield from self._accepted(t, effects)

    def _accepted(self, t: float, effects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        offers = {effect["contact"]: effect["agent"] for effect in effects if effect["effect"] == "offer"}
        for effect in effects:
            if effect["effect"] == "offer_withdrawn":
                offers.pop(effect["contact"], None)
        for contact, agent in offers.items():
            event = {"t": t, "event": "offer_accepted", "contact": contact, "agent": agent}
            self.acd.apply(event)
            self.connected.add(contact)
            self._later(t, 180.0, "contact_ended", contact)
            yield event

    def _later(self, t: float, mean: float, event: str, contact: str) -> None:
        after = self.chance.expovariate(1 / mean) if mean else 0.0
        heapq.heappush(self.later, (round(t + after, 6), len(self.later) + 10**9 * self.contacts, event, contact))


def write_journal(settings: Settings, site: Center, events: int) -> float:
    """A journal with so many rows; returns the seconds of the day that they span."""
    store = make_store(settings, "default")
    archive = Archive(store, settings)
    archive.begin(site)
    rows: list[Row] = []
    first = last = 0.0
    for revision, event in enumerate(Day(site).events(events), 1):
        last = event.pop("t")
        first = first or last
        rows.append(Row(revision, round(last * 1e6), json.dumps(event, separators=(",", ":")), "study", ""))
        if len(rows) == 10_000:
            store.append(rows)
            rows.clear()
    if rows:
        store.append(rows)
    store.close()
    return last - first


def study_records(settings: Settings, folder: Path, events: int) -> dict[str, Any]:
    """How quickly records are booked, without the replay that makes the entries."""
    archive = Archive(make_store(settings, "default", read_only=True), settings)
    archive.begin(center())
    began = time.process_time()
    steps = [Step.of(entry) for entry in archive.entries(0, events)]
    replayed = time.process_time() - began
    archive.store.close()
    with Records(folder / "records.db") as records:
        began = time.process_time()
        records.apply_steps(steps)
        seconds = time.process_time() - began
        contacts = records.counts()["contacts"]
    size = (folder / "records.db").stat().st_size
    return {"replay_events_cpu_s": events / replayed, "records_events_cpu_s": events / seconds,
            "contacts": contacts, "records_bytes_contact": size / contacts}  # fmt: skip


def study_backup(settings: Settings, folder: Path) -> dict[str, Any]:
    """A backup sealed for a key, and the drill."""
    import pyrage

    key = pyrage.x25519.Identity.generate()
    target = folder / "b.age"
    taken = backup.take(settings, target, Seal((str(key.to_public()),)), replay=False)
    drill = backup.drill(target, Opener((str(key),)))
    assert not drill.differences, drill.differences
    journal = (settings.tenant_folder("default") / "journal.db").stat().st_size
    return {"journal_mb": journal / 1e6, "backup_mb": taken.bytes / 1e6, "backup_s": taken.seconds,
            "copied_s": taken.copied_s, "unpack_s": drill.unpack_s, "recover_s": drill.recover_s}  # fmt: skip


def study_recovery(settings: Settings, folder: Path) -> dict[str, Any]:
    """From the start of ``cordboard serve`` until it has answered a call (RTO after a kill -9): on the journal without a
    snapshot, and again with the one that the first start left. And the processor time of opening alone."""
    site = folder / "center.toml"
    site.write_text(center_toml(center()), "utf-8")
    found = {"rto_without_snapshot_s": _started(settings, site), "rto_with_snapshot_s": _started(settings, site)}
    began = time.process_time()
    engine = Engine.open(center(), settings)
    found["open_cpu_s"] = time.process_time() - began
    engine.close()
    return found


def _started(settings: Settings, site: Path) -> float:
    """Seconds until a server answers, which is then killed."""
    command = [sys.executable, "-m", "cordboard", "serve", str(site), "--data", str(settings.data), "--json",
               "--listen", "127.0.0.1:0", "--metrics", "off", "--records", "off"]  # fmt: skip
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        with Client(json.loads(server.stdout.readline())["address"]) as client:
            client.queue("q0")
            seconds = time.perf_counter() - began
        server.kill()
    return seconds


def study_metrics(folder: Path, agents: int = 15_000, queues: int = 100) -> dict[str, Any]:
    """The page at the design size, with all agents ready."""
    with Engine.open(center(agents, queues), Settings(data=folder / "large", learn_waits=False)) as engine:
        metrics = Metrics()
        metrics.watch("default", engine)
        ready = [{"event": "agent_ready", "agent": f"agent{i}"} for i in range(agents)]
        for start in range(0, agents, 1000):
            engine.submit_many(ready[start : start + 1000]).result(60)
        times = []
        for _ in range(7):
            began = time.process_time()
            page = metrics.page()
            times.append(time.process_time() - began)
        metrics.close()
    return {"page_cpu_ms": sorted(times)[3] * 1e3, "page_kb": len(page) / 1e3}


class _Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def study_webhooks(folder: Path, messages: int) -> dict[str, Any]:
    """Messages a second to one endpoint on this machine, which shares its cores with the sender."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Engine.open(center(), Settings(data=folder / "hooks", learn_waits=False)) as engine:
        events = [{"event": "contact_queued", "contact": f"c{i}", "queue": "q0"} for i in range(messages)]
        for start in range(0, messages, 1000):
            engine.submit_many(events[start : start + 1000]).result(60)
        endpoint = Endpoint("e", f"http://127.0.0.1:{server.server_port}/", (SECRET,), after=0)
        webhooks = Webhooks(engine, [endpoint], folder / "hooks.db")
        began = time.perf_counter()
        webhooks.start()
        while webhooks.states()[0].behind:
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        webhooks.close()
    server.shutdown()
    server.server_close()
    return {"webhook_messages_s": messages / seconds}


def study(events: int, agents: int = 15_000) -> dict[str, Any]:
    """All figures, of a journal with so many events; ``agents``: of the center whose page of metrics is made."""
    found: dict[str, Any] = {"events": events}
    with tempfile.TemporaryDirectory(prefix="cordboard-study-") as name:
        folder = Path(name)
        settings = Settings(data=folder / "data")
        found["hours"] = write_journal(settings, center(), events) / 3600
        found |= study_recovery(settings, folder)
        found |= study_backup(settings, folder)
        found |= study_records(settings, folder, min(events, 200_000))
        found |= study_metrics(folder, agents)
        found |= study_webhooks(folder, min(events // 10, 5_000))
    found["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 events, for a look whether it works")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = study(20_000 if options.quick else options.events)
    if options.json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        print(f"{key:24} {value:>14,.3f}" if isinstance(value, float) else f"{key:24} {value:>14,}")


if __name__ == "__main__":
    main()
