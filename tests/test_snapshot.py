"""A dump and a load change nothing: random centers and journals, cut at random places, against the run without a cut."""

from __future__ import annotations

import contextlib
import json
import random
import zlib
from typing import Any

import numpy as np
import pytest

from cordboard import Acd
from cordboard._core.acd import EVENT, EVENTS
from cordboard.acd_snapshot import HEAD, MAGIC, VERSION, decode, encode
from cordboard.center import Agent, Center, Queue
from cordboard.errors import CordboardError, LimitError, SnapshotError
from cordboard.replay import fire_timers
from tests.oracle.worlds import STRATEGIES, Journalist, Seeded, crowded_center, random_center


def events_of(center: Center, seed: int, count: int) -> list[dict[str, Any]]:
    """A random journal that reacts to what the engine does."""
    acd, journalist = Acd(center, seed=seed, explain=False), Journalist(Seeded(seed + 1), center)
    events = []
    for _ in range(count):
        event = journalist.next_event(acd.next_timer())
        events.append(event)
        journalist.note(None, fire_timers(acd, event["t"]))
        with contextlib.suppress(CordboardError):
            journalist.note(event, acd.apply(event))
    return events


def answer(acd: Acd, event: dict[str, Any]) -> Any:
    try:
        return acd.apply(event)
    except CordboardError as error:
        return type(error).__name__, str(error), getattr(error, "effects", ())


def view(acd: Acd) -> dict[str, Any]:
    """All that can be asked of an Acd."""
    waiting = {queue.name: acd.positions(queue.name) for queue in acd.center.queues}
    here = [contact for places in waiting.values() for contact in places]
    return {
        "now": acd.now,
        "next_timer": acd.next_timer(),
        "state": acd.state(),
        "positions": waiting,
        "eligibility": {contact: acd.eligibility(contact) for contact in here[:6]},
    }


def expect_no_difference(center: Center, seed: int, count: int, cuts: int) -> None:
    events = events_of(center, seed, count)
    places = set(random.Random(seed).sample(range(count), cuts))
    uncut, cut = Acd(center, seed=seed), Acd(center, seed=seed)
    for i, event in enumerate(events):
        if i in places:
            dump = cut.dump()
            cut = Acd.load(center, dump)
            assert cut.loaded is not None and cut.loaded.same_center
            assert cut.dump() == dump
            assert json.dumps(view(cut)) == json.dumps(view(uncut))
        assert json.dumps(answer(cut, event)) == json.dumps(answer(uncut, event)), (seed, i, event)
    assert cut.dump() == uncut.dump()


@pytest.mark.parametrize("block", range(4))
def test_a_run_that_was_dumped_and_loaded_goes_on_as_if_it_had_not_been(block: int) -> None:
    for seed in range(block * 15, block * 15 + 15):
        expect_no_difference(random_center(Seeded(seed)), seed, 150, 12)


@pytest.mark.parametrize("block", range(2))
def test_a_cut_where_much_falls_on_one_instant_changes_nothing(block: int) -> None:
    for seed in range(700 + block * 15, 700 + block * 15 + 15):
        expect_no_difference(crowded_center(Seeded(seed)), seed, 200, 40)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_cut_changes_nothing_under_any_strategy(strategy: str) -> None:
    for seed in range(3):
        expect_no_difference(random_center(Seeded(seed), 12, (strategy,)), seed, 150, 25)


def test_the_estimated_waits_go_on_as_if_nothing_had_been() -> None:
    # given a center in which much is learned, with contacts that bring their own requirements
    agents = tuple(Agent(f"a{i}", {"s": i % 4 + 1}) for i in range(6))
    center = Center((Queue("a", wrap_up=2.0), Queue("b", requires={"s": 2}, max_wait=30.0, overflow="a")), agents)
    events = events_of(center, 3, 2000)
    uncut, cut = Acd(center), Acd(center)
    estimators = uncut.learn_waits(), cut.learn_waits()
    # when
    for i, event in enumerate(events):
        if i % 150 == 149:
            dump = cut.dump()
            cut = Acd.load(center, dump)
            assert cut.loaded is not None and cut.loaded.waits == "kept"
            assert cut.dump() == dump == uncut.dump()
        assert answer(cut, event) == answer(uncut, event)
        if i % 7 == 0:
            for contact in uncut.positions("a"):
                assert cut.estimate_wait(contact) == uncut.estimate_wait(contact)
    # then
    assert estimators[0].learned > 100


def test_waits_that_another_version_remembers_otherwise_begin_anew_and_say_so() -> None:
    center, acd = busy()
    acd.learn_waits()
    snapshot = decode(acd.dump())
    snapshot.waits_data = b"something else"
    loaded = Acd.load(center, encode(snapshot))
    assert loaded.loaded is not None and loaded.loaded.waits == "begun anew"
    for event in events_of(center, 11, 60):
        answer(loaded, {**event, "t": event["t"] + loaded.now})


def test_contacts_known_by_number_are_dumped_as_well() -> None:
    # given contacts that came in columns
    center = Center((Queue("a", offer_timeout=0.0),), (Agent("x"), Agent("y")))
    acd = Acd(center)
    rows = np.zeros(7, dtype=EVENT)
    names = ["agent_ready", "contact_queued", "offer_accepted", *["contact_queued"] * 4]
    rows["event"] = [EVENTS.index(name) for name in names]
    rows["t"] = np.arange(7)
    rows["contact"] = [0, 11, 11, 12, 13, 14, 15]
    rows["queued_at"], rows["preferred"] = np.nan, -1
    acd.apply_columns(rows)
    # when
    loaded = Acd.load(center, acd.dump())
    # then
    assert loaded.positions("a") == {12: 1, 13: 2, 14: 3, 15: 4}
    rows = rows[:1].copy()
    rows["event"], rows["t"], rows["contact"] = EVENTS.index("contact_ended"), 9, 11
    theirs, ours = loaded.apply_columns(rows), acd.apply_columns(rows)
    fields = [name for name in ours.dtype.names if "slot" not in name]
    assert theirs[fields].tolist() == ours[fields].tolist()


def busy(seed: int = 5) -> tuple[Center, Acd]:
    """An Acd in the middle of a day, with contacts that wait, ring and talk."""
    center = random_center(Seeded(seed))
    acd = Acd(center)
    for event in events_of(center, seed, 120):
        answer(acd, event)
    return center, acd


def test_a_dump_that_was_cut_off_or_changed_is_an_error() -> None:
    center, acd = busy()
    dump = acd.dump()
    source = random.Random(1)
    for length in [0, 5, 30, 40, *source.sample(range(len(dump)), 40)]:
        with pytest.raises(SnapshotError):
            Acd.load(center, dump[:length])
    for place in source.sample(range(len(dump)), 60):
        changed = bytearray(dump)
        changed[place] ^= 1 << source.randrange(8)
        with pytest.raises(SnapshotError):
            Acd.load(center, bytes(changed))
    with pytest.raises(SnapshotError):
        Acd.load(center, dump + b"\0")
    assert acd.dump() == dump


def test_a_dump_with_a_right_checksum_that_makes_no_sense_is_an_error_or_a_sound_engine() -> None:
    # given bytes changed at random, and a checksum that fits them
    center, acd = busy()
    dump = acd.dump()
    source = random.Random(2)
    refused = 0
    for _ in range(400):
        body = bytearray(dump[HEAD.size :])
        for _ in range(source.randint(1, 3)):
            body[source.randrange(len(body))] = source.choice([0, 1, 2, 3, 127, 255])
        try:
            loaded = Acd.load(center, HEAD.pack(MAGIC, VERSION, zlib.crc32(body), len(body)) + body)
        except (SnapshotError, LimitError):
            refused += 1
            continue
        for event in events_of(center, 9, 30):
            answer(loaded, {**event, "t": event["t"] + loaded.now})
        counts = loaded.counts()
        assert counts["entered"] == sum(counts.values()) - counts["entered"]
    assert refused > 100


def test_a_version_that_is_not_known_says_so() -> None:
    center, acd = busy()
    dump = acd.dump()
    with pytest.raises(SnapshotError, match="version 99"):
        Acd.load(center, HEAD.pack(MAGIC, 99, 0, 0) + dump[HEAD.size :])
    with pytest.raises(SnapshotError, match="not a dump"):
        Acd.load(center, b"%PDF-1.7" + dump[8:])


def test_a_dump_with_more_contacts_than_are_allowed_is_a_limit_error() -> None:
    center, acd = busy()
    with pytest.raises(LimitError):
        Acd.load(center, acd.dump(), max_contacts=1)


@pytest.mark.parametrize("waits", [False, True])
def test_bytes_that_are_made_later_are_those_of_the_instant_of_the_call(waits: bool) -> None:
    for seed in range(8):
        center = random_center(Seeded(seed))
        acd = Acd(center, seed=seed)
        if waits:
            acd.learn_waits()
        events = events_of(center, seed, 160)
        for event in events[:80]:
            answer(acd, event)
        dump, later = acd.dump(), acd.dump_later()
        for event in events[80:]:
            answer(acd, event)
        assert later() == dump


def test_waits_can_be_learned_from_the_middle_of_a_day_on() -> None:
    # given contacts that wait, ring and talk
    for seed in range(12):
        center, acd = busy(seed)
        acd.learn_waits()
        for queue in center.queues:
            for contact in acd.positions(queue.name):
                assert acd.estimate_wait(contact).mean >= 0.0
        # then no event surprises the estimator
        for event in events_of(center, seed, 200)[120:]:
            answer(acd, event)
