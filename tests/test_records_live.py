"""Records that follow a live engine: through restarts, faults and falling behind, with nothing lost or twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.live import Engine, Settings
from cordboard.live.beside import records_place
from cordboard.records import Follower, Records
from cordboard.records.aside import Aside
from tests.clocks import Wall, until

CENTER = parse_center("""
[queues.billing]
offer_timeout = 2
wrap_up = 1
max_wait = 30
[agents.li]
skills = {}
[agents.wu]
skills = {}
""")


def opened(folder: Path, wall: Wall, history: int = 20_000) -> Engine:
    return Engine.open(CENTER, Settings(data=folder, history=history), clock=wall)


def some_calls(engine: Engine, wall: Wall, names: list[str]) -> None:
    """Each is queued, offered, accepted or missed, and ended; times in between fire the timers."""
    for place, name in enumerate(names):
        [queued] = engine.submit_many([{"event": "contact_queued", "contact": name, "queue": "billing"}]).result(30)
        offered = [effect for effect in queued.entry.effects if effect["effect"] == "offer"]
        if offered and place % 3:
            who = {"contact": name, "agent": offered[0]["agent"]}
            engine.submit({"event": "offer_accepted", **who}).result(30)
            wall.t += 7.25
            engine.submit({"event": "contact_ended", "contact": name}).result(30)
        wall.t += 2.5
        engine.submit({"event": "clock"}).result(30)


def ready(engine: Engine) -> None:
    engine.submit_many([{"event": "agent_ready", "agent": agent} for agent in ("li", "wu")]).result(30)


def rebuilt(engine: Engine, place: Path) -> list[bytes]:
    with Records(place) as records:
        records.apply(engine.entries())
        return list(records.dump())


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_they_go_on_after_a_restart_and_are_what_a_rebuild_makes(tmp_path, database, request):
    # given records of a first life of the engine, in a schema of their own where there are schemas
    place = tmp_path / "records.db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    wall = Wall()
    with opened(tmp_path, wall) as engine:
        follower = Follower(engine, place, "cordboard_a-b_records").start()
        ready(engine)
        some_calls(engine, wall, [f"c{i}" for i in range(30)])
        follower.close()
        assert follower.behind == 0
        some_calls(engine, wall, ["unseen1", "unseen2"])
    # when the engine and they come again
    with opened(tmp_path, wall) as engine:
        follower = Follower(engine, place, "cordboard_a-b_records").start()
        some_calls(engine, wall, [f"d{i}" for i in range(10)])
        follower.close()
        # then
        with Records(place, "cordboard_a-b_records") as records:
            assert list(records.dump()) == rebuilt(engine, tmp_path / "rebuilt.db")
            assert records.counts()["contacts"] == 42


def test_they_read_the_journal_when_they_are_further_behind_than_the_engine_remembers(tmp_path):
    wall = Wall()
    with opened(tmp_path, wall, history=10) as engine:
        ready(engine)
        some_calls(engine, wall, [f"c{i}" for i in range(40)])
        follower = Follower(engine, tmp_path / "records.db").start()
        until(lambda: follower.behind == 0)
        follower.close()
        with Records(tmp_path / "records.db") as records:
            assert list(records.dump()) == rebuilt(engine, tmp_path / "rebuilt.db")


def test_a_database_that_fails_stops_them_and_not_the_engine_and_they_catch_up(tmp_path, monkeypatch):
    # given a place where no database can be made
    monkeypatch.setattr("cordboard.records.follow.PATIENCE_S", (0.05,))
    place, wall = tmp_path / "nowhere" / "records.db", Wall()
    with opened(tmp_path / "data", wall) as engine:
        follower = Follower(engine, place).start()
        ready(engine)
        some_calls(engine, wall, ["c1", "c2"])
        until(lambda: follower.fault == "OperationalError")
        assert engine.state.status == "serving"
        # when there is one
        place.parent.mkdir()
        until(lambda: follower.fault == "" and follower.behind == 0)
        follower.close()
        # then
        with Records(place) as records:
            assert records.counts()["contacts"] == 2


SMALLER = parse_center("""
[queues.other]
[queues.billing]
offer_timeout = 2
max_waiting = 2
[agents.wu]
skills = {}
[agents.new]
skills = {}
""")


def test_they_follow_through_a_change_of_the_center(tmp_path):
    # given a conversation with an agent and contacts in a queue that will both be gone, and one that stays
    center = parse_center("""
[queues.gone]
overflow = "billing"
[queues.billing]
offer_timeout = 2
[agents.li]
skills = {}
[agents.wu]
skills = {}
""")
    wall = Wall()
    with Engine.open(center, Settings(data=tmp_path), clock=wall) as engine:
        follower = Follower(engine, tmp_path / "records.db").start()
        ready(engine)
        for name, queue in (("c1", "gone"), ("c2", "billing"), ("c3", "gone"), ("c4", "gone"), ("c5", "billing")):
            wall.t += 0.5
            engine.submit({"event": "contact_queued", "contact": name, "queue": queue}).result(10)
        engine.submit({"event": "offer_accepted", "contact": "c1", "agent": "li"}).result(10)
        # when the center changes, and life goes on
        wall.t += 0.25
        assert engine.change_center(SMALLER).result(10).entry.error is None
        wall.t += 3
        engine.submit({"event": "agent_ready", "agent": "new"}).result(10)
        engine.submit({"event": "contact_ended", "contact": "c1"}).result(10)
        wall.t += 3
        engine.submit({"event": "agent_ready", "agent": "wu"}).result(10)
        follower.close()
        # then the records are those of a rebuild, and what they say is what the engine says
        with Records(tmp_path / "records.db") as records:
            assert list(records.dump()) == rebuilt(engine, tmp_path / "rebuilt.db")
            rows = {table: list(records.rows(table)) for table in ("contacts", "legs", "offers", "outcomes", "agent_states")}
        state = engine.read(lambda acd: acd.state()).result(10)
        counts = state["counts"]
        assert (len(rows["contacts"]), len(rows["outcomes"])) == (counts["entered"], counts["ended"])
        assert sum(row["ended_revision"] is None for row in rows["offers"]) == counts["offered"]
        waiting = {row["contact"]: row["queue"] for row in rows["legs"] if row["ended_revision"] is None and not row["agent"]}
        assert len(waiting) == counts["waiting"] + counts["offered"] and set(waiting.values()) <= {"billing", "other"}
        latest = {row["agent"]: row for row in rows["agent_states"]}
        for name, agent in state["agents"].items():
            row = latest[name]
            assert agent["state"] == (row["presence"] if row["activity"] == "idle" else row["activity"]), name


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_command_rebuilds_those_of_a_server_that_is_stopped(tmp_path, database, request, capsys):
    url = "" if database == "sqlite" else request.getfixturevalue("postgres_url")
    settings, wall = Settings(data=tmp_path, database=url), Wall()
    with Engine.open(CENTER, settings, clock=wall) as engine:
        follower = Follower(engine, *records_place(settings, "default")).start()
        ready(engine)
        some_calls(engine, wall, ["c1", "c2", "c3"])
        follower.close()
    with Records(*records_place(settings, "default")) as records:
        before = records.digest()
        records.drop()
    assert main(["records", "rebuild", "--data", str(tmp_path), "--database", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]["contacts"] == 3
    with Records(*records_place(settings, "default")) as records:
        assert records.digest() == before
    assert main(["records", "rebuild", "--data", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()


def test_a_database_server_that_cuts_the_connection_loses_them_nothing(tmp_path, postgres_url, monkeypatch):
    import psycopg

    monkeypatch.setattr("cordboard.records.follow.PATIENCE_S", (0.05,))
    wall = Wall()
    with opened(tmp_path, wall) as engine, psycopg.connect(postgres_url, autocommit=True) as other:
        follower = Follower(engine, postgres_url).start()
        ready(engine)
        for round in range(5):
            some_calls(engine, wall, [f"c{round}-{i}" for i in range(6)])
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            other.execute(cut)
        some_calls(engine, wall, ["last"])
        until(lambda: follower.fault == "" and follower.behind == 0)
        follower.close()
        with Records(postgres_url) as records:
            assert list(records.dump()) == rebuilt(engine, tmp_path / "rebuilt.db")


def test_a_process_of_records_that_is_killed_loses_them_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("cordboard.records.follow.PATIENCE_S", (0.05,))
    made = []

    class Known(Aside):
        def __init__(self, *given):
            super().__init__(*given)
            made.append(self._process)

    monkeypatch.setattr("cordboard.records.follow.Aside", Known)
    wall = Wall()
    with opened(tmp_path, wall) as engine:
        follower = Follower(engine, tmp_path / "records.db").start()
        ready(engine)
        some_calls(engine, wall, ["c1", "c2"])
        until(lambda: made and follower.behind == 0)
        made[0].kill()
        some_calls(engine, wall, ["c3", "c4"])
        until(lambda: len(made) == 2 and follower.fault == "" and follower.behind == 0)
        follower.close()
        assert made[1].returncode == 0
        with Records(tmp_path / "records.db") as records:
            assert list(records.dump()) == rebuilt(engine, tmp_path / "rebuilt.db")


def test_they_end_with_the_engine_after_its_last_entry(tmp_path):
    wall = Wall()
    engine = opened(tmp_path, wall)
    follower = Follower(engine, tmp_path / "records.db").start()
    ready(engine)
    some_calls(engine, wall, ["c1"])
    last = engine.state.revision
    engine.close()
    until(lambda: not follower._thread.is_alive())
    with Records(tmp_path / "records.db") as records:
        assert records.revision == last
