"""The live engine on SQLite: what is acknowledged, what is handed out, and what is there after it is opened again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cordboard import Center, parse_center
from cordboard.errors import (
    CompactedError,
    ConflictError,
    JournalError,
    LimitError,
    SlowReaderError,
    StoreError,
    UnavailableError,
)
from cordboard.live import Engine, Outcome, Settings
from tests.clocks import Wall, until

CENTER = parse_center("""
[queues.billing]
requires = { billing = 3 }
offer_timeout = 10
wrap_up = 5
[agents.li]
skills = { billing = 5 }
[agents.wang]
skills = { billing = 3 }
""")


def opened(folder: Path, wall: Wall, center: Center = CENTER, **settings: Any) -> Engine:
    return Engine.open(center, Settings(data=folder, **settings), clock=wall)


def queued(contact: str) -> dict[str, Any]:
    return {"event": "contact_queued", "contact": contact, "queue": "billing"}


READY = {"event": "agent_ready", "agent": "li"}


def done(engine: Engine, event: dict[str, Any], request_id: str = "") -> Outcome:
    return engine.submit(event, request_id=request_id).result(10)


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture(params=[True, False], ids=["durable", "not durable"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, wall: Wall) -> Iterator[Engine]:
    with opened(tmp_path, wall, durable=request.param) as found:
        yield found


def test_an_event_gets_a_revision_and_the_engines_time_and_does_what_the_core_says(engine: Engine, wall: Wall) -> None:
    done(engine, READY)
    wall.t += 2.5

    entry = done(engine, queued("c1")).entry

    assert (entry.revision, entry.t) == (2, wall.t)
    assert [(effect["effect"], effect["agent"], effect["t"]) for effect in entry.effects] == [("offer", "li", wall.t)]


def test_an_event_that_the_core_refuses_has_a_revision_and_an_error(engine: Engine) -> None:
    entry = done(engine, {"event": "contact_ended", "contact": "nobody"}).entry

    assert entry.revision == 1 and "nobody" in str(entry.error)


@pytest.mark.parametrize("event", [{"event": "nonsense"}, {"event": "agent_ready"}, {"event": "clock", "t": 3}, {**READY, "x": 1}])
def test_what_is_no_event_is_refused_at_once_and_never_journaled(engine: Engine, event: dict[str, Any]) -> None:
    with pytest.raises(JournalError):
        engine.submit(event)
    assert engine.state.revision == 0


def test_the_clock_of_the_journal_never_goes_back(engine: Engine, wall: Wall) -> None:
    first = done(engine, READY).entry
    wall.t -= 3600

    second = done(engine, queued("c1")).entry

    assert second.t == first.t and second.effects[0]["effect"] == "offer"


def test_a_timer_that_fires_is_an_entry_of_its_own(engine: Engine, wall: Wall) -> None:
    done(engine, READY)
    done(engine, queued("c1"))
    watch = engine.subscribe()
    wall.t += 11

    [entry] = watch.get(10)

    assert entry.event == {"t": wall.t, "event": "clock"}
    assert [effect["effect"] for effect in entry.effects] == ["offer_expired"]
    assert entry.effects[0]["t"] == wall.t - 1


def test_the_same_request_is_applied_once_also_after_a_restart(tmp_path: Path, wall: Wall) -> None:
    with opened(tmp_path, wall) as engine:
        done(engine, READY)
        first = done(engine, queued("c1"), "r1")
        assert not first.repeated
        again = done(engine, queued("c1"), "r1")
        assert again.repeated and again.entry == first.entry

    with opened(tmp_path, wall) as engine:
        later = done(engine, queued("c1"), "r1")
        assert later.repeated and later.entry == first.entry
        assert engine.state.revision == 2


def test_a_repeated_request_is_answered_from_the_journal_when_memory_has_it_no_more(tmp_path: Path, wall: Wall) -> None:
    with opened(tmp_path, wall, history=2) as engine:
        first = done(engine, queued("c1"), "r1")
        for number in range(20):
            done(engine, queued(f"d{number}"))

        assert done(engine, queued("c1"), "r1") == Outcome(first.entry, True)


def test_a_request_id_is_forgotten_after_24_hours(engine: Engine, wall: Wall) -> None:
    done(engine, queued("c1"), "r1")
    wall.t += 24 * 3600

    outcome = done(engine, queued("c2"), "r1")

    assert not outcome.repeated and outcome.entry.error is None


def test_a_request_id_with_another_event_is_a_conflict_and_changes_nothing(engine: Engine) -> None:
    done(engine, queued("c1"), "r1")

    with pytest.raises(ConflictError):
        done(engine, queued("c2"), "r1")

    outcomes = engine.submit_many([queued("c3"), queued("c4")], request_ids=["r2", "r1"]).result(10)
    assert [(o.entry.revision, type(o.entry.error)) for o in outcomes] == [(2, type(None)), (0, ConflictError)]
    assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 2


def test_the_same_request_twice_in_one_call_is_applied_once(engine: Engine) -> None:
    first, second = engine.submit_many([queued("c1"), queued("c1")], request_ids=["r", "r"]).result(10)

    assert (first.repeated, second.repeated) == (False, True) and first.entry is second.entry


def test_no_event_is_changed_by_its_sender_after_it_was_submitted(engine: Engine, tmp_path: Path) -> None:
    event = {**queued("c1"), "requires": {"billing": 3}}
    future = engine.submit(event)
    event["requires"]["billing"] = 9  # type: ignore[index]

    assert future.result(10).entry.event["requires"] == {"billing": 3}


def test_a_look_sees_all_that_was_submitted_before_it(engine: Engine) -> None:
    engine.submit_many([queued(f"c{i}") for i in range(500)])

    assert engine.read(lambda acd: acd.counts()["waiting"]).result(10) == 500


def test_what_a_look_raises_is_given_to_who_looked(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError):
        engine.read(lambda acd: 1 // 0).result(10)
    assert done(engine, READY).entry.error is None


def test_a_subscription_has_every_entry_once_and_in_order_from_where_it_starts(engine: Engine) -> None:
    engine.submit_many([queued(f"c{i}") for i in range(2_500)]).result(10)
    watch = engine.subscribe(after=1_200)
    seen: list[int] = []
    while entries := watch.poll():
        seen += [entry.revision for entry in entries]

    assert seen == list(range(1_201, 2_501))


def test_a_subscription_from_before_what_is_held_is_told_the_oldest(tmp_path: Path, wall: Wall) -> None:
    with opened(tmp_path, wall, history=100) as engine:
        for start in range(0, 1_000, 50):
            engine.submit_many([queued(f"c{start + i}") for i in range(50)]).result(10)
        with pytest.raises(CompactedError) as told:
            engine.subscribe(after=10)
        assert told.value.oldest == engine.state.oldest == 900
        assert engine.subscribe(after=900).poll()[0].revision == 901
        assert [entry.revision for entry in engine.entries(10, 12)] == [11, 12]


def test_a_reader_that_falls_behind_its_capacity_is_dropped_and_can_resume(engine: Engine) -> None:
    watch = engine.subscribe(capacity=10)
    engine.submit_many([queued(f"c{i}") for i in range(11)]).result(10)

    with pytest.raises(SlowReaderError) as told:
        watch.poll()

    assert [e.revision for e in engine.subscribe(after=told.value.revision).poll()] == list(range(1, 12))


def test_who_waits_for_entries_is_called_once_and_again_after_an_empty_poll(engine: Engine) -> None:
    calls: list[int] = []
    watch = engine.subscribe()
    watch.on_ready = lambda: calls.append(engine.state.revision)
    done(engine, queued("c1"))
    done(engine, queued("c2"))
    assert len(calls) == 1
    while watch.poll():
        pass
    done(engine, queued("c3"))
    assert len(calls) == 2


def test_one_who_watches_and_raises_harms_nobody(engine: Engine) -> None:
    watch = engine.subscribe()
    watch.on_ready = lambda: [][0]
    assert done(engine, queued("c1")).entry.revision == 1
    assert done(engine, queued("c2")).entry.revision == 2
    assert len(watch.poll()) == 2


def test_too_many_repeated_requests_of_long_ago_are_refused(
    tmp_path: Path, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cordboard.live.engine.OLD_MAX", 3)
    with opened(tmp_path, wall, history=1) as engine:
        for number in range(10):
            done(engine, queued(f"c{number}"), f"r{number}")
        gate = threading.Event()
        try:
            for _ in range(engine._aside._max_workers):
                engine._aside.submit(gate.wait)  # the lookups queue up behind these
            futures = [engine.submit(queued(f"c{number}"), request_id=f"r{number}") for number in range(5)]
            assert [type(future.exception(10)) for future in futures[3:]] == [LimitError, LimitError]
        finally:
            gate.set()  # else closing the engine waits for its workers for ever
        assert all(future.result(10).repeated for future in futures[:3])


def test_after_a_restart_the_center_is_where_it_was(tmp_path: Path, wall: Wall) -> None:
    with opened(tmp_path, wall) as engine:
        for event in (READY, queued("c1"), queued("c2"), {"event": "offer_accepted", "contact": "c1", "agent": "li"}):
            done(engine, event)
        before = engine.read(lambda acd: (acd.state(), acd.positions("billing"), acd.next_timer())).result(10)

    with opened(tmp_path, wall) as engine:
        assert engine.read(lambda acd: (acd.state(), acd.positions("billing"), acd.next_timer())).result(10) == before
        assert engine.subscribe(after=0).poll()[1].effects[0]["effect"] == "offer"


def test_a_full_queue_refuses_at_once(tmp_path: Path, wall: Wall) -> None:
    with opened(tmp_path, wall, queue_events=5) as engine:
        with pytest.raises(LimitError):
            engine.submit_many([queued(f"c{i}") for i in range(6)])
        assert engine.state.revision == 0


def test_a_second_engine_on_the_same_journal_is_kept_out(engine: Engine, tmp_path: Path, wall: Wall) -> None:
    with pytest.raises(StoreError, match="in use"):
        opened(tmp_path, wall)


def test_a_closed_engine_takes_nothing_and_ends_its_subscriptions(tmp_path: Path, wall: Wall) -> None:
    engine = opened(tmp_path, wall)
    watch = engine.subscribe()
    waiting = engine.submit(READY)
    engine.close()

    assert waiting.result(0).entry.revision == 1 and len(watch.poll()) == 1
    for call in (watch.poll, lambda: engine.submit(READY), lambda: engine.read(lambda acd: 0)):
        with pytest.raises(UnavailableError):
            call()
    engine.close()


def test_without_durability_many_threads_share_one_writer_and_each_ones_events_stay_in_order(tmp_path: Path, wall: Wall) -> None:
    with opened(tmp_path, wall, durable=False) as engine:
        watching = engine.subscribe(0)

        def many(name: int) -> None:
            for number in range(200):
                engine.submit(queued(f"{name}-{number}"))

        threads = [threading.Thread(target=many, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        engine.read(lambda acd: acd.now).result(10)
        seen = [entry.event["contact"].split("-") for entry in watching.poll()]
        assert len(seen) == 800
        for name in range(4):
            assert [int(number) for own, number in seen if own == str(name)] == list(range(200))


def test_without_durability_a_timer_wakes_the_thread_that_sleeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cordboard.live.writer.LOOK_UP_S", 3600.0)
    center = parse_center("[queues.billing]\noffer_timeout = 0.05\n[agents.li]\nskills = {}\n")
    with Engine.open(center, Settings(data=tmp_path, durable=False)) as engine:
        watching = engine.subscribe(0)
        engine.submit(READY)
        engine.submit(queued("c1")).result(10)
        seen: list[Any] = []
        until(lambda: seen.extend(watching.poll()) or len(seen) == 3)
        assert seen[2].effects[0]["effect"] == "offer_expired"
