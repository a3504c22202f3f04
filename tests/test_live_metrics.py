"""The page that Prometheus reads, over HTTP, of live engines; and what it must never hold."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families

from cordboard.calls.config import parse_calls
from cordboard.center import parse_center
from cordboard.errors import StoreError
from cordboard.live import Engine, Settings
from cordboard.live.metrics import Metrics
from cordboard.live.metrics_server import CALLS_MAX, MetricsServer
from cordboard.live.store import make_store
from tests.clocks import Wall, until

CENTER = parse_center("""
[queues.billing]
offer_timeout = 5
max_wait = 60
max_waiting = 3
[queues.sales]
[agents.li]
skills = {}
[agents.wu]
skills = {}
""")


class Site:
    """An engine with its metrics on a port."""

    def __init__(self, folder: Path) -> None:
        self.wall, self.metrics = Wall(), Metrics()
        settings = Settings(data=folder)
        self.store = make_store(settings, "default")
        self.engine = Engine.open(CENTER, settings, clock=self.wall, store=self.metrics.timed("default", self.store))
        self.metrics.watch("default", self.engine)
        self.server = MetricsServer(self.metrics, port=0).start()

    def do(self, event: str, **more: object) -> None:
        self.engine.submit({"event": event, **more}).result(10)

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def samples(self) -> dict[tuple[str, ...], float]:
        """(name, values of the labels beside the tenant, in the order of their names ...) -> value"""
        text = self.get("/metrics")[1].decode()
        return {
            (sample.name, *(value for key, value in sorted(sample.labels.items()) if key != "tenant")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def close(self) -> None:
        self.server.close()
        self.metrics.close()
        self.engine.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.close()


def test_the_page_says_what_happened_and_how_things_are(site):
    # given an answered contact, one that left, one that is turned away, and three that wait
    site.do("agent_ready", agent="li")
    site.do("contact_queued", contact="c1", queue="billing")
    site.wall.t += 4
    site.do("offer_accepted", contact="c1", agent="li")
    for name in ("c2", "c3", "c4", "c5"):
        site.do("contact_queued", contact=name, queue="billing")
    site.wall.t += 7.5
    site.do("contact_left", contact="c2")
    site.do("contact_left", contact="nobody")
    until(lambda: site.samples().get(("cordboard_refused_total", "UnknownNameError")) == 1)
    # when
    found = site.samples()
    # then
    assert found["cordboard_revision",] == 9
    assert found["cordboard_events_total", "contact_queued"] == 5
    assert found["cordboard_effects_total", "offer"] == 1
    assert [found["cordboard_contacts_total", what, "billing"] for what in ("entered", "answered", "abandoned", "rejected")] \
        == [5, 1, 1, 1]  # fmt: skip
    assert found["cordboard_answer_wait_seconds_sum", "billing"] == 4
    assert found["cordboard_answer_wait_seconds_bucket", "5.0", "billing"] == 1
    assert found["cordboard_answer_wait_seconds_bucket", "2.0", "billing"] == 0
    assert [found["cordboard_contacts_now", "billing", state] for state in ("waiting", "offered", "connected")] == [2, 0, 1]
    assert found["cordboard_longest_wait_seconds", "billing"] == 7.5
    assert (found["cordboard_agents", "connected"], found["cordboard_agents", "offline"]) == (1, 1)
    assert found["cordboard_engine_status", "serving"] == 1 and found["cordboard_up",] == 1
    assert found["cordboard_commit_rows_sum",] == found["cordboard_commit_seconds_count",] == 9
    assert found["process_resident_memory_bytes",] > 1e6


def test_the_quality_of_the_audio_of_each_leg_that_ended_is_counted_by_its_node(site):
    # Given calls on two nodes
    site.engine.change_calls(parse_calls('[numbers.4001]\nqueue = "billing"\n', CENTER)).result(10)
    for node in ("n1", "n2"):
        site.do("node_attached", node=node, capacity=10, legs=[])
    good = {"received": 500, "lost": 0, "sent": 510, "jitter_ms": 1.0, "round_trip_ms": 30.0, "mos": 4.4}
    poor = {"received": 400, "lost": 100, "sent": 500, "jitter_ms": 60.0, "round_trip_ms": 400.0, "mos": 2.0}
    # When one ends well, one badly, and one had no audio
    for leg, node, quality in (("a", "n1", good), ("b", "n2", poor), ("c", "n2", None)):
        site.do("leg_incoming", node=node, leg=leg, to="4001", caller="138")
        site.do("leg_ended", node=node, leg=leg, cause="normal", **({"quality": quality} if quality else {}))
    # Then the page says so of each node
    until(lambda: ("cordboard_leg_mos_count", "n2") in site.samples())
    page = site.samples()
    assert page["cordboard_leg_mos_count", "n1"] == page["cordboard_leg_mos_count", "n2"] == 1
    assert page["cordboard_leg_mos_bucket", "3.6", "n1"] == 0 and page["cordboard_leg_mos_bucket", "3.6", "n2"] == 1
    assert page["cordboard_leg_packets_total", "lost", "n2"] == 100 and page["cordboard_leg_packets_total", "lost", "n1"] == 0
    assert page["cordboard_leg_jitter_seconds_sum", "n2"] == 0.06 and page["cordboard_leg_round_trip_seconds_sum", "n1"] == 0.03


def test_the_page_names_no_contact_customer_or_agent(site):
    site.do("agent_ready", agent="li")
    site.do("contact_queued", contact="contact-4711", queue="billing", customer="customer-0815")
    until(lambda: ("cordboard_effects_total", "offer") in site.samples())
    page = site.get("/metrics")[1].decode()
    assert "4711" not in page and "0815" not in page and '"li"' not in page


def test_health_is_503_while_nothing_can_be_journaled_and_the_page_says_why(site, monkeypatch):
    assert site.get("/health") == (200, b'{"tenants": {"default": {"status": "serving", "reason": "", "revision": 0}}}')

    def full(rows: object) -> None:
        raise StoreError("disk full", "no space left on device")

    monkeypatch.setattr(site.store, "append", full)
    monkeypatch.setattr(site.store, "probe", lambda: full(None))
    with pytest.raises(Exception, match="read-only: disk full"):
        site.do("agent_ready", agent="li")
    status, body = site.get("/health")
    assert (status, json.loads(body)["tenants"]["default"]["reason"]) == (503, "disk full")
    found = site.samples()
    assert found["cordboard_read_only", "disk full"] == 1 and found["cordboard_engine_status", "read-only"] == 1
    assert found["cordboard_commit_failures_total", "disk full"] == 1
    assert site.get("/live")[0] == 200 and site.get("/other")[0] == 404
    monkeypatch.undo()
    until(lambda: site.get("/health")[0] == 200)
    assert ("cordboard_read_only", "disk full") not in site.samples()


def test_of_two_tenants_each_name_has_one_family(tmp_path):
    metrics = Metrics()
    with Engine.open(CENTER, Settings(data=tmp_path)) as one, Engine.open(CENTER, Settings(data=tmp_path), tenant="b") as two:
        metrics.watch("default", one)
        metrics.watch("b", two)
        text = metrics.page().decode()
        metrics.close()
    kinds = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(kinds) == len(set(kinds))
    assert 'cordboard_revision{tenant="default"} 0.0' in text and 'cordboard_revision{tenant="b"} 0.0' in text


def test_of_a_closed_engine_there_is_still_a_page(tmp_path):
    metrics = Metrics()
    with Engine.open(CENTER, Settings(data=tmp_path)) as engine:
        metrics.watch("default", engine)
    assert 'cordboard_up{tenant="default"} 0.0' in metrics.page().decode()
    assert metrics.health()[0] is False
    metrics.close()


def test_callers_who_say_nothing_take_up_a_few_places_and_no_more(site):
    silent = [http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=10) for _ in range(CALLS_MAX)]
    for connection in silent:
        connection.connect()
    until(lambda: turned_away(site))
    for connection in silent:
        connection.close()
    until(lambda: not turned_away(site))


def turned_away(site: Site) -> bool:
    try:
        return site.get("/live")[0] != 200
    except (http.client.HTTPException, OSError):
        return True


def test_a_port_that_is_taken_is_told(site):
    with pytest.raises(StoreError, match="can't listen"):
        MetricsServer(site.metrics, port=site.server.port)


def test_the_counters_keep_up_with_more_events_than_are_taken_at_a_time(site, monkeypatch):
    # given counters that rest long once they have seen everything
    monkeypatch.setattr("cordboard.live.metrics.PACE_S", 5.0)
    # when twenty times as many events come as they take at a time
    for start in range(0, 20_000, 1_000):
        events = [{"event": "contact_queued", "contact": f"c{start + i}", "queue": "billing"} for i in range(1_000)]
        site.engine.submit_many(events).result(30)
    # then they do not rest in between
    counted = ("cordboard_events_total", "contact_queued")
    until(lambda: site.samples().get(counted) == 20_000, 40.0)
