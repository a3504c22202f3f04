"""A live engine whose center changes, that is drained, and that goes on from snapshots."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from cordboard import Acd, Center, parse_center
from cordboard.errors import CompactedError, ConflictError, LimitError, UnavailableError
from cordboard.live import Engine, Entry, Outcome, Settings

BILLING = "[queues.billing]\nrequires = { billing = 3 }\noverflow = 'general'\nmax_wait = 900\n"
GENERAL = "[queues.general]\nmax_waiting = 2000\n"
LI, WANG = "[agents.li]\nskills = { billing = 5 }\n", "[agents.wang]\nskills = { billing = 3 }\n"
CENTER = parse_center(BILLING + GENERAL + LI)
READY = {"event": "agent_ready", "agent": "li"}


def opened(folder: Path, center: Center = CENTER, t: float = 1_000_000.0, **settings: Any) -> Engine:
    return Engine.open(center, Settings(data=folder, **settings), clock=lambda: t)


def queued(contact: str, queue: str = "billing") -> dict[str, Any]:
    return {"event": "contact_queued", "contact": contact, "queue": queue}


def done(engine: Engine, *events: dict[str, Any]) -> Outcome:
    return engine.submit_many(events).result(10)[-1]


def waiting(engine: Engine, queue: str) -> list[str | int]:
    return list(engine.read(lambda acd: acd.positions(queue)).result(10))


# ---- change of center


def test_another_center_is_taken_over_without_a_restart_and_contacts_keep_their_place(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        done(engine, queued("c1"), queued("c2"), {"event": "priority_changed", "contact": "c2", "priority": 5})

        outcome = engine.change_center(parse_center(BILLING + GENERAL + LI + WANG), etag=engine.etag).result(10)

        assert outcome.entry.event["event"] == "center_changed" and outcome.entry.error is None
        assert waiting(engine, "billing") == ["c2", "c1"]
        offer = done(engine, {"event": "agent_ready", "agent": "wang"}).entry.effects[0]
        assert (offer["effect"], offer["contact"], offer["agent"]) == ("offer", "c2", "wang")


def test_contacts_of_a_queue_that_is_gone_go_where_it_overflowed(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        done(engine, queued("c1"))
        entry = engine.change_center(parse_center(GENERAL + LI)).result(10).entry
        assert [(e["effect"], e["to"]) for e in entry.effects] == [("contact_expired", "general")]
        assert waiting(engine, "general") == ["c1"]


def test_a_change_of_another_center_than_the_one_that_is_there_is_a_conflict(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        before = engine.etag
        engine.change_center(parse_center(BILLING + GENERAL + LI + WANG), etag=before).result(10)
        with pytest.raises(ConflictError, match="etag"):
            engine.change_center(parse_center(GENERAL + LI), etag=before).result(10)
        first = engine.change_center(parse_center(GENERAL + LI), etag=engine.etag)
        second = engine.change_center(parse_center(GENERAL + WANG), etag=engine.etag)
        assert [type(future.exception(10)) for future in (first, second)] in (
            [type(None), ConflictError],
            [type(None), type(None)],  # where the first was applied before the second was given its etag
        )


def test_the_same_change_of_center_with_one_request_id_is_made_once(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        new = parse_center(BILLING + GENERAL + LI + WANG)
        first = engine.change_center(new, etag=engine.etag, request_id="r").result(10)
        again = engine.change_center(new, etag="of before", request_id="r").result(10)
        assert again.repeated and again.entry == first.entry


def test_a_changed_center_is_there_after_a_restart_with_the_file_of_before(tmp_path: Path) -> None:
    new = parse_center(BILLING + GENERAL + LI + WANG)
    for snapshots in (False, True):
        folder = tmp_path / str(snapshots)
        with opened(folder) as engine:
            done(engine, queued("c1"))
            engine.change_center(new).result(10)
            done(engine, queued("c2"))
            if snapshots:
                engine.snapshot()
            etag = engine.etag
            entries = list(engine.entries())
        if not snapshots:
            (folder / "default" / "snapshots.db").unlink()
        with opened(folder) as engine:
            assert engine.etag == etag and [agent.name for agent in engine.center.agents] == ["li", "wang"]
            assert waiting(engine, "billing") == ["c1", "c2"]
            assert list(engine.entries()) == entries


def test_the_log_says_what_a_changed_file_did_to_those_who_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given two who wait in a queue with an overflow, and one in a queue without
    with opened(tmp_path) as engine:
        done(engine, queued("c1"), queued("c2"), queued("c3", "general"))
    # when the server starts with files in which the first queue is gone, then the other, too
    with opened(tmp_path, parse_center(GENERAL + LI)):
        assert "2 contacts went to another queue, 0 had to leave" in caplog.text
    with opened(tmp_path, parse_center("[queues.new]\n" + LI)):
        assert "0 contacts went to another queue, 3 had to leave" in caplog.text
    with opened(tmp_path, parse_center("[queues.new]\n" + LI + WANG)):
        assert "all contacts stay" in caplog.text


def test_a_file_that_was_changed_while_the_engine_was_down_is_taken_over(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        done(engine, queued("c1"))
    new = parse_center(BILLING + GENERAL + LI + WANG)
    for _ in range(2):
        with opened(tmp_path, new) as engine:
            assert engine.state.revision == 2
            [entry] = list(engine.entries(1))
            assert entry.event["event"] == "center_changed"
            assert len(engine.center.agents) == 2 and waiting(engine, "billing") == ["c1"]


# ---- drain


def test_a_drain_stops_offers_and_waits_until_conversations_are_over(tmp_path: Path) -> None:
    center = parse_center(BILLING + GENERAL + LI + WANG)
    with opened(tmp_path, center) as engine:
        accepted = {"event": "offer_accepted", "contact": "c1", "agent": "li"}
        done(engine, READY, queued("c1"), accepted, {"event": "agent_ready", "agent": "wang"}, queued("c2"))
        drain = threading.Thread(target=engine.drain, args=(60,))
        watch = engine.subscribe()
        drain.start()
        seen: list[Entry] = []
        while len(seen) < 2:
            seen += watch.get(10)
        assert engine.state.status == "draining"
        assert [e["effect"] for entry in seen for e in entry.effects] == ["offer_withdrawn"]

        assert [effect["effect"] for effect in done(engine, queued("c3")).entry.effects] == []
        with pytest.raises(UnavailableError, match="draining"):
            engine.submit(READY)
        assert drain.is_alive()
        done(engine, {"event": "contact_ended", "contact": "c1"})
        drain.join(10)

        assert not drain.is_alive()
        assert waiting(engine, "billing") == ["c2", "c3"]
    with opened(tmp_path, center) as engine:
        assert engine.state.status == "serving"
        assert done(engine, READY).entry.effects[0]["contact"] == "c2"


def test_a_second_call_hurries_a_drain(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        done(engine, READY, queued("c1"), {"event": "offer_accepted", "contact": "c1", "agent": "li"})
        drain = threading.Thread(target=engine.drain, args=(3600,))
        drain.start()
        engine.drain(0)
        drain.join(10)
        assert not drain.is_alive()
        assert engine.read(lambda acd: acd.counts()["connected"]).result(10) == 1


# ---- snapshots


def snapshots_of(folder: Path) -> list[int]:
    with sqlite3.connect(folder / "default" / "snapshots.db") as db:
        return [row[0] for row in db.execute("SELECT revision FROM snapshots ORDER BY revision")]


def test_snapshots_are_written_by_themselves_and_those_that_no_recovery_needs_are_dropped(tmp_path: Path) -> None:
    with opened(tmp_path, snapshot_events=1_000, history=1_500) as engine:
        for start in range(0, 12_000, 500):
            done(engine, *(queued(f"c{start + i}", "general") for i in range(500)))
    kept = snapshots_of(tmp_path)
    assert kept[-1] == 12_000 and 3 <= len(kept) <= 4
    assert any(revision <= 12_000 - 1_500 for revision in kept)


def test_those_who_watch_go_on_after_a_restart_where_they_were(tmp_path: Path) -> None:
    with opened(tmp_path, snapshot_events=1_000, history=1_500) as engine:
        for start in range(0, 6_000, 500):
            done(engine, *(queued(f"c{start + i}", "general") for i in range(500)))
        held = engine.subscribe(after=4_500).poll()
    with opened(tmp_path, snapshot_events=1_000, history=1_500) as engine:
        assert engine.subscribe(after=4_500).poll() == held
        with pytest.raises(CompactedError):
            engine.subscribe(after=100)


def test_a_snapshot_of_another_version_of_cordboard_is_gone_on_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, history=100) as engine:
        done(engine, *(queued(f"c{i}") for i in range(500)))
    monkeypatch.setattr("cordboard.live.archive.__version__", "99.0")
    replayed = []
    apply = Acd.apply
    monkeypatch.setattr(Acd, "apply", lambda acd, event, **how: (replayed.append(event), apply(acd, event, **how))[1])
    with opened(tmp_path, history=100) as engine:
        assert replayed == [] and len(waiting(engine, "billing")) == 500


@pytest.mark.parametrize(
    "damage", ["substr(dump, 1, length(dump) - 10) || zeroblob(10)", "substr(dump, 30)", "''", "substr(dump, 1, 3000)"]
)
def test_a_damaged_snapshot_is_left_aside(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path, history=1) as engine:
        done(engine, *(queued(f"c{i}") for i in range(50)))
        engine.snapshot()
        done(engine, queued("c50"), queued("c51"))
    with sqlite3.connect(tmp_path / "default" / "snapshots.db") as db:
        db.execute(f"UPDATE snapshots SET dump = CAST({damage} AS BLOB)")
    with opened(tmp_path, history=1) as engine:
        assert waiting(engine, "billing") == [f"c{i}" for i in range(52)]
        assert engine.submit(queued("c52")).result(10).entry.revision == 53


def test_a_snapshot_that_is_ahead_of_the_journal_is_left_aside(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        done(engine, *(queued(f"c{i}") for i in range(50)))
    with sqlite3.connect(tmp_path / "default" / "journal.db") as db:  # as after a restore from a backup of before
        db.execute("DELETE FROM journal WHERE revision > 40")
    with opened(tmp_path) as engine:
        assert len(waiting(engine, "billing")) == 40


def test_the_cores_bounds_stay_with_a_journal(tmp_path: Path) -> None:
    with opened(tmp_path, max_contacts=3) as engine:
        outcomes = engine.submit_many([queued(f"c{i}") for i in range(4)]).result(10)
        assert isinstance(outcomes[3].entry.error, LimitError)
    (tmp_path / "default" / "snapshots.db").unlink()
    with opened(tmp_path, max_contacts=10) as engine:
        assert len(waiting(engine, "billing")) == 3
        assert isinstance(done(engine, queued("c9")).entry.error, LimitError)
