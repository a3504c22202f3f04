"""Records: exactly once, the same from any batches on both databases, and true to what the engine and the figures say."""

from __future__ import annotations

import csv
import itertools
import json
import random
from collections import defaultdict
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from cordboard import Acd
from cordboard.center import parse_center
from cordboard.errors import CordboardError, DataError
from cordboard.kpi import QueueTallies, Tally
from cordboard.records import Records, Step, steps_of_journal
from cordboard.records.projection import KEYS
from cordboard.replay import fire_timers
from tests.oracle.worlds import Journalist, Seeded, crowded_center, random_center
from tests.realdata import real_data

REAL_EVENTS = 30_000  # of the 121,199 of the month


class World:
    """A random center, so many random events, and all that came of them."""

    def __init__(self, seed: int, events: int = 300) -> None:
        source = Seeded(seed)
        self.center = crowded_center(source) if seed % 3 == 0 else random_center(source)
        self.acd = Acd(self.center, seed=seed)
        self.tallies = QueueTallies({queue.name: 20.0 for queue in self.center.queues})
        self.steps: list[Step] = []
        journalist = Journalist(source, self.center)
        for revision in range(1, events + 1):
            event = journalist.next_event(self.acd.next_timer())
            fired = fire_timers(self.acd, event["t"])
            journalist.note(None, fired)
            try:
                effects, taken = self.acd.apply(dict(event)), event
            except CordboardError:
                effects, taken = [], None
            journalist.note(taken, effects)
            self.tallies.observe(None, fired)
            self.tallies.observe(taken, effects)
            self.steps.append(Step(revision, event["t"], fired, taken, effects))


def in_random_batches(place: str | Path, steps: list[Step], seed: int) -> Records:
    """Booked piece by piece, with pieces that come twice and restarts in between."""
    chance, at, records = random.Random(seed), 0, Records(place)
    while at < len(steps):
        upto = at + chance.randint(1, 60)
        again = max(0, at - chance.randint(0, 30))
        records.apply_steps(steps[again:upto], batch=chance.choice([1, 2, 7, 1000]))
        at = upto
        if chance.random() < 0.4:
            records.close()
            records = Records(place)
    return records


@pytest.mark.parametrize("seed", range(14))
def test_booked_in_random_batches_with_restarts_is_booked_at_once(tmp_path, seed):
    world = World(seed)
    with Records(tmp_path / "once") as once, in_random_batches(tmp_path / "bits", world.steps, seed) as bits:
        once.rebuild(world.steps)
        assert list(bits.dump()) == list(once.dump())
        assert once.revision == len(world.steps)
        assert once.counts()["contacts"] > 0


@pytest.mark.parametrize("seed", range(100, 102))
def test_postgresql_holds_the_same_bytes_as_sqlite(tmp_path, postgres_url, seed):
    world = World(seed)
    with in_random_batches(postgres_url, world.steps, seed) as theirs, Records(tmp_path / "ours") as ours:
        ours.rebuild(world.steps)
        before = theirs.digest()
        assert before == ours.digest()
        theirs.rebuild(world.steps)
        assert theirs.digest() == before


@pytest.mark.parametrize("seed", range(200, 214))
def test_the_records_say_what_the_engine_and_the_tallies_say(tmp_path, seed):
    world = World(seed, events=400)
    with Records(tmp_path / "db") as records:
        records.apply_steps(world.steps)
        rows = {table: [dict(row) for row in records.rows(table)] for table in KEYS}
    counts = world.acd.counts()
    assert len(rows["contacts"]) == counts["entered"]
    assert len(rows["outcomes"]) == counts["ended"]
    ringing = {row["contact"] for row in rows["offers"] if row["ended_revision"] is None}
    assert len(ringing) == counts["offered"]
    talking = [leg for leg in rows["legs"] if leg["agent"] is not None and leg["ended_revision"] is None]
    assert len(talking) == counts["connected"]
    agents_agree(rows["agent_states"], world)
    for queue, tally in tallied(rows["legs"]).items():
        theirs = world.tallies.by_queue[queue]
        for name in ("offered", "answered", "abandoned", "timeout", "flowout", "rejected"):
            assert getattr(tally, name) == getattr(theirs, name), (queue, name)
        assert tally.wait_answered_s == pytest.approx(theirs.wait_answered_s)
        assert tally.wait_abandoned_s == pytest.approx(theirs.wait_abandoned_s)
        assert tally.wait_other_s == pytest.approx(theirs.wait_other_s)


def agents_agree(states: list[dict], world: World) -> None:
    """The latest state of each agent is the engine's, and the states of an agent follow each other without a gap."""
    by_agent = defaultdict(list)
    for row in states:
        by_agent[row["agent"]].append(row)
    for name, agent in world.acd.state()["agents"].items():
        mine = by_agent[name]
        assert [row["ended_at"] for row in mine[:-1]] == [row["began_at"] for row in mine[1:]]
        assert all(a["began_at"] <= b["began_at"] for a, b in itertools.pairwise(mine))
        if not mine:
            assert agent["state"] == "offline"
            continue
        last = mine[-1]
        assert last["ended_revision"] is None
        assert (last["activity"] == "engaged") == agent["engaged"]
        doing = {"idle": last["presence"], "engaged": "connected"}.get(last["activity"], last["activity"])
        assert agent["state"] == doing


def tallied(legs: list[dict]) -> dict[str, Tally]:
    """The counters of each queue, from the legs alone."""
    found: dict[str, Tally] = defaultdict(Tally)
    for leg in legs:
        if leg["agent"] is not None:
            continue
        tally, by = found[leg["queue"]], leg["ended_by"]
        wait = 0.0 if by is None else leg["ended_at"] - leg["began_at"]
        tally.offered += by != "rejected"
        tally.rejected += by == "rejected"
        if by == "answered":
            tally.answer(wait)
        elif by == "abandoned":
            tally.abandon(wait)
        elif by in ("expired", "overflowed"):
            tally.expire(wait, to_queue=by == "overflowed")
    return found


def test_a_batch_that_fails_half_way_leaves_nothing_and_is_booked_when_it_comes_again(tmp_path, monkeypatch):
    # given records that stand at revision 100, and a database that fails behind the first table of the next batch
    import sqlalchemy as sa

    world = World(7)
    records = Records(tmp_path / "db")
    records.apply_steps(world.steps[:100])
    standing = records.digest()
    failing = {"left": 2}

    @sa.event.listens_for(records.engine, "before_cursor_execute")
    def fail(connection, cursor, statement, *rest):
        if statement.startswith("INSERT"):
            failing["left"] -= 1
            if failing["left"] == 0:
                raise sa.exc.OperationalError(statement, {}, Exception("disk I/O error"))

    # when the batch is booked, then nothing of it stays
    with pytest.raises(sa.exc.OperationalError):
        records.apply_steps(world.steps[100:])
    assert records.digest() == standing
    # and when it comes again, then all of it is there, once
    records.apply_steps(world.steps[100:])
    with Records(tmp_path / "whole") as whole:
        whole.rebuild(world.steps)
        assert records.digest() == whole.digest()
    records.close()


def test_two_writers_of_the_same_records_are_found_out(tmp_path):
    world = World(8)
    with Records(tmp_path / "db") as one, Records(tmp_path / "db") as two:
        one.apply_steps(world.steps[:50])
        two.apply_steps(world.steps[:60])
        with pytest.raises(DataError, match="someone else writes"):
            one.apply_steps(world.steps[50:70])
        assert one.apply_steps(world.steps[50:70]) == 10  # what is still missing, now that it has looked
        with Records(tmp_path / "whole") as whole:
            whole.rebuild(world.steps[:70])
            assert one.digest() == whole.digest()


def test_a_journal_that_does_not_go_on_where_the_records_stand_is_refused(tmp_path):
    step = Step(5, 1.0, [], {"t": 1.0, "event": "contact_ended", "contact": "c9"}, [])
    with Records(tmp_path / "db") as records, pytest.raises(DataError, match=r'contact "c9" is not in the records.*rebuild'):
        records.apply_steps([step])


def test_marks_of_callers_are_kept_with_whom_they_are_of_and_come_back_the_same(tmp_path):
    mark = {"t": 5.0, "effect": "call_rated", "call": "c1", "rating": "score", "score": 4, "scale": 5}
    talked = {"contact": "c1", "queue": "billing", "agent": "li"}
    steps = [
        Step(1, 5.0, [mark | talked], {"t": 5.0, "event": "clock"}, [mark | {"call": "c2", "score": 1}]),
        Step(2, 6.0, [], {"t": 6.0, "event": "clock"}, [mark | talked | {"t": 6.0}]),
    ]
    with Records(tmp_path / "db") as records, Records(tmp_path / "again") as again:
        records.apply_steps(steps)
        rows = list(records.rows("ratings"))
        again.apply_steps(steps[:1])
        again.apply_steps(steps[1:])
        assert list(again.rows("ratings")) == rows
    shown = [(row["call"], row["contact"], row["agent"], row["score"], row["scale"], row["rated_at"]) for row in rows]
    assert shown == [("c1", "c1", "li", 4, 5, 5.0), ("c2", None, None, 1, 5, 5.0), ("c1", "c1", "li", 4, 5, 6.0)]


def test_the_life_of_one_contact_stands_in_the_rows(tmp_path):
    center = parse_center("""
[queues.vip]
requires = { zh = 1 }
max_wait = 10
overflow = "all"
[queues.all]
wrap_up = 5
offer_timeout = 4
[agents.li]
skills = { zh = 1 }
[agents.wu]
skills = { en = 1 }
""")
    acd, steps = Acd(center), []
    for revision, event in enumerate(
        [
            {"t": 0, "event": "agent_ready", "agent": "wu"},
            {"t": 1, "event": "contact_queued", "contact": "c1", "queue": "vip", "customer": "张伟"},
            {"t": 11, "event": "clock"},  # on to "all", offered to wu
            {"t": 13, "event": "agent_ready", "agent": "li"},
            {"t": 15, "event": "clock"},  # wu misses it, li gets it
            {"t": 16.5, "event": "offer_accepted", "contact": "c1", "agent": "li"},
            {"t": 60, "event": "contact_ended", "contact": "c1"},
            {"t": 65, "event": "clock"},
        ],
        start=1,
    ):
        steps.append(Step(revision, event["t"], [], event, acd.apply(event)))
    with Records(tmp_path / "db") as records:
        records.apply_steps(steps)
        [contact] = records.rows("contacts")
        legs, offers, [outcome] = list(records.rows("legs")), list(records.rows("offers")), list(records.rows("outcomes"))
        states = [(s["began_at"], s["presence"], s["activity"]) for s in records.rows("agent_states", agent="li")]
    assert (contact["revision"], contact["customer"], contact["arrived_at"], contact["ended_at"]) == (2, "张伟", 1.0, 60.0)
    assert [(leg["queue"], leg["agent"], leg["began_at"], leg["ended_at"], leg["ended_by"]) for leg in legs] == [
        ("vip", None, 1.0, 11.0, "overflowed"),
        ("all", None, 11.0, 16.5, "answered"),
        ("all", "li", 16.5, 60.0, "ended"),
    ]
    assert (legs[2]["wrap_up_until"], legs[2]["wrap_up_ended_at"], legs[2]["wrap_up_ended_revision"]) == (65.0, 65.0, 8)
    assert [(o["agent"], o["outcome"], o["revision"], o["ended_revision"]) for o in offers] == [
        ("wu", "expired", 3, 5),
        ("li", "accepted", 5, 6),
    ]
    assert (outcome["outcome"], outcome["agent"], outcome["answered_revision"], outcome["missed"]) == ("answered", "li", 6, 1)
    assert states == [(13.0, "ready", "idle"), (15.0, "ready", "offered"), (16.5, "ready", "connected"),
                      (60.0, "ready", "wrap_up"), (65.0, "ready", "idle")]  # fmt: skip


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path, database, request):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from cordboard.records.tables import KEPT, METADATA

    place = tmp_path / "db" if database == "sqlite" else request.getfixturevalue("postgres_url")
    with Records(place) as records, records.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, [METADATA, KEPT]) == []


@pytest.mark.data
@pytest.mark.slow
def test_the_real_january_of_1999_is_booked_equal_to_the_byte_on_both_databases(tmp_path, postgres_url):
    from cordboard.importers import anonymous_bank as bank
    from cordboard.importers.driving import drive
    from cordboard.journal import event_line

    calls, _ = bank.read_calls([str(real_data("anonymous_bank_1999_01.txt"))])
    center = parse_center(bank.center_toml(calls))
    journal = tmp_path / "january.jsonl"
    driven = drive(Acd(center, explain=False), bank.contacts(calls), bank.working_hours(calls))
    with journal.open("w", encoding="utf-8") as stream:
        for event in itertools.islice(driven, REAL_EVENTS):
            stream.write(event_line(event) + "\n")
    with journal.open("rb") as stream:
        steps = list(steps_of_journal(center, stream))
    with Records(tmp_path / "ours") as ours, in_random_batches(postgres_url, steps[:1000], 1) as theirs:
        theirs.apply_steps(steps)
        ours.rebuild(steps)
        assert ours.digest() == theirs.digest()
        counts = ours.counts()
    assert counts["legs"] >= counts["contacts"] >= counts["outcomes"] > 5_000


def test_the_schema_that_is_taken_as_the_latest_is_the_latest():
    from alembic.script import ScriptDirectory

    from cordboard.records import database

    assert ScriptDirectory(str(database.MIGRATIONS)).get_current_head() == database.LATEST


def test_the_command_rebuilds_shows_and_exports(tmp_path, capsys):
    # given a journal with a contact whose name a spreadsheet would take for a formula
    from cordboard.cli import main

    center, journal, place = tmp_path / "c.toml", tmp_path / "j.jsonl", str(tmp_path / "records.db")
    center.write_text('[queues.a]\n[agents.li]\nskills = {}\n', "utf-8")
    events = [
        {"t": 0, "event": "agent_ready", "agent": "li"},
        {"t": 5, "event": "contact_queued", "contact": "=1+1", "queue": "a"},
        {"t": 7, "event": "offer_accepted", "contact": "=1+1", "agent": "li"},
        {"t": 8, "event": "contact_queued", "contact": "张,伟", "queue": "a"},
        {"t": 9, "event": "contact_ended", "contact": "nobody"},
        {"t": 10, "event": "contact_left", "contact": "张,伟"},
        {"t": 67.5, "event": "contact_ended", "contact": "=1+1"},
        {"t": 70, "event": "contact_queued", "contact": "late", "queue": "a"},
    ]
    journal.write_text("".join(json.dumps(event) + "\n" for event in events), "utf-8")
    # when
    assert main(["records", "rebuild", str(center), str(journal), "--to", place, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["records", "show", place, "--contact", "=1+1"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["records", "export", place, "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["records", "export", place, "--to", str(tmp_path / "out.csv")]) == 0
    table = list(csv.DictReader((tmp_path / "out.csv").read_text("utf-8").splitlines()))
    # then
    assert made["outcomes"] == {"a": {"answered": 1, "abandoned": 1}} and made["revision"] == 8
    assert [row["table"] for row in rows] == ["contacts", "legs", "legs", "offers", "outcomes"]
    assert [(row["contact"], row["outcome"], row["agent"], row["wait_s"], row["talk_s"]) for row in lines] == [
        ("=1+1", "answered", "li", 2.0, 60.5),
        ("张,伟", "abandoned", None, 2.0, None),
        ("late", "open", None, None, None),
    ]
    assert [row["contact"] for row in table] == ["'=1+1", "张,伟", "late"]
    assert main(["records", "show", str(tmp_path / "none")]) == 2
    assert "there are no records" in capsys.readouterr().err
