"""Explanations: every spell of waiting says what kept every agent away, and what would have changed it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cordboard.acd import Acd
from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.errors import CordboardError, UnknownNameError
from cordboard.explain import Story, explain
from cordboard.floor import Floor
from cordboard.replay import fire_timers
from cordboard.telling import tell
from tests.oracle.worlds import Journalist, Seeded, random_center, written
from tests.test_center_change import changed

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
CENTER, JOURNAL = str(EXAMPLES / "center.toml"), str(EXAMPLES / "journal.jsonl")


def story_of(center_text: str, contact: str, *events: dict[str, object]) -> Story:
    center = parse_center(center_text)
    journal = "\n".join(json.dumps(event) for event in events).encode()
    return explain(Acd(center), center, io.BytesIO(journal), contact)


def ready(t: float, *names: str) -> list[dict[str, object]]:
    return [{"t": t, "event": "agent_ready", "agent": name} for name in names]


def queued(t: float, contact: str, queue: str = "q", **more: object) -> dict[str, object]:
    return {"t": t, "event": "contact_queued", "contact": contact, "queue": queue, **more}


def clock(t: float) -> dict[str, object]:
    return {"t": t, "event": "clock"}


def spells(story: Story) -> list[tuple[float, float | None, dict[str, tuple[str, ...]]]]:
    return [
        (entry.t, entry.until, {group.block.kind: group.agents for group in entry.groups})
        for entry in story.entries
        if entry.kind == "waiting"
    ]


def test_every_agent_is_named_with_what_keeps_it_away_and_until_when() -> None:
    center = """
    [queues.q]
    steps = [ { for = 30, requires = { zh = 5 } }, { requires = { zh = 3 } } ]
    tier_wait = 40
    tier_wait_multiplies = false
    [agents.li]
    skills = { zh = 4 }
    [agents.wu]
    skills = { zh = 9 }
    queues = { q = 2 }
    [agents.hu]
    skills = { zh = 9 }
    [agents.ma]
    capacity = { chat = 1 }
    """
    story = story_of(center, "c1", *ready(0, "li", "wu", "ma"), queued(1, "c1"), clock(40))
    assert spells(story) == [
        (1.0, 31.0, {"level": ("li",), "tier_wait": ("wu",), "offline": ("hu",), "channel": ("ma",)})
    ]
    spell = story.entries[1]
    assert {group.block.kind: group.block.until for group in spell.groups}["level"] == 31.0
    assert spell.change is not None and (spell.change.block.kind, spell.change.agents) == ("level", ("li",))
    assert [entry.kind for entry in story.entries] == ["contact_queued", "waiting", "offer"]


def test_an_agent_who_went_to_another_contact_is_told_with_the_reason() -> None:
    events = [*ready(0, "li"), queued(1, "c7"), queued(2, "c1")]
    events += [{"t": 3, "event": "contact_left", "contact": "c7"}]
    story = story_of("[queues.q]\n[agents.li]\n", "c1", *events, clock(4))
    assert [entry.kind for entry in story.entries] == ["contact_queued", "waiting", "offer"]
    assert "instead" not in story.entries[1].groups[0].block.detail  # li rang before c1 came

    events = [queued(1, "c1"), queued(2, "c7", priority=5), *ready(3, "li"), clock(9)]
    story = story_of("[queues.q]\n[agents.li]\n", "c1", *events)
    text = "\n".join(tell(story))
    assert "li: rings for another contact; was free at 3.0 and went to c7: its priority is 5, here 0" in text


def test_a_reserve_that_holds_back_a_free_agent_is_told() -> None:
    center = '[queues.q]\n[queues.vip]\n[agents.li]\nskills = { zh = 1 }\n[[reserve]]\nskill = "zh"\nagents = 1\nfor = ["vip"]'
    story = story_of(center, "c1", *ready(0, "li"), queued(1, "c1"), clock(5))
    assert "li: free, but held back by reserve 1: 1 idle with zh, 1 kept" in "\n".join(tell(story))
    assert "reserve 1 with 1 fewer: li" in "\n".join(tell(story))


def test_the_smallest_change_is_the_smallest_gap_of_one_level() -> None:
    center = "[queues.q]\nrequires = { zh = 9 }\n[agents.a]\nskills = { zh = 3 }\n[agents.b]\nskills = { zh = 7 }\n"
    story = story_of(center + "[agents.c]\nskills = { zh = 8 }\n", "c1", *ready(0, "a", "b"), queued(1, "c1"), clock(2))
    assert "asking for zh 7 instead of 9: b" in "\n".join(tell(story))  # c lacks less, but is offline too


def test_a_changed_center_shows_that_the_change_was_right() -> None:
    center = "[queues.q]\nrequires = { zh = 9 }\n[agents.b]\nskills = { zh = 7 }\n"
    events = [*ready(0, "b"), queued(1, "c1"), clock(2)]
    assert story_of(center, "c1", *events).entries[-1].kind == "waiting"
    assert story_of(center.replace("zh = 9", "zh = 7"), "c1", *events).entries[-1].kind == "offer"


def test_a_story_goes_on_over_changes_of_the_center() -> None:
    # given a contact that nobody has the level for, and one whose queue is taken away while it waits
    before = "[queues.q]\nrequires = { zh = 9 }\n[queues.old]\nrequires = { zh = 9 }\noverflow = 'q'\n[agents.a]\nskills = { zh = 3 }\n"
    after = "[queues.q]\nrequires = { zh = 5 }\n[agents.a]\nskills = { zh = 3 }\n[agents.b]\nskills = { zh = 7 }\n"
    events = [*ready(0, "a"), queued(1, "c1"), queued(2, "c2", "old"), {"t": 5, "event": "center_changed", "center": after}]
    events += [*ready(8, "b"), clock(9)]
    # then the new agent is seen, and gets the one who came first
    first, second = (story_of(before, name, *events) for name in ("c1", "c2"))
    assert [entry.kind for entry in first.entries] == ["contact_queued", "waiting", "center_changed", "waiting", "offer"]
    assert spells(first) == [(1.0, 5.0, {"level": ("a",)}), (5.0, 8.0, {"level": ("a",), "offline": ("b",)})]
    text = "\n".join(tell(second))
    assert "5.0  the center changes\n5.0  there is no such queue now; it goes on to q" in text
    assert "b: rings for another contact; was free at 8.0 and went to c1" in text and "asking for zh 3 instead of 5: a" in text
    assert first.skipped == second.skipped == 0


def test_an_offer_is_told_with_its_key_and_the_runner_up() -> None:
    events = [*ready(0, "li"), *ready(5, "wu"), queued(8, "c1")]
    text = "\n".join(tell(story_of("[queues.q]\n[agents.li]\n[agents.wu]\n", "c1", *events)))
    assert "idle longest (8 s); 2 eligible agents, tier 1; runner-up wu (3 s)" in text


def test_the_same_journal_gives_the_same_text_in_either_language(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for lang in ("en", "zh"):
        told = []
        for _ in range(2):
            assert main(["explain", CENTER, JOURNAL, "--contact", "c2", "--lang", lang]) == 0
            told.append(capfdbinary.readouterr().out)
        assert told[0] == told[1]
        assert ("nobody can take it" if lang == "en" else "无人可接") in told[0].decode()


def test_at_tells_only_how_things_stood_then(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["explain", CENTER, JOURNAL, "--contact", "c2", "--at", "15"]) == 0
    told = capfdbinary.readouterr().out.decode()
    assert "wang: tier 2 opens at 50.0" in told and "offered" not in told
    assert main(["explain", CENTER, JOURNAL, "--contact", "c2", "--at", "15", "--json"]) == 0
    [entry] = json.loads(capfdbinary.readouterr().out)["story"]
    assert entry["what"] == "waiting" and entry["change"]["agents"] == ["ann"]


MIDNIGHT_S = 1_795_363_200.0  # 2026-11-23 00:00 in Shanghai, 16:00 UTC the day before


def test_the_journal_of_a_live_engine_is_told_in_the_time_of_day_of_its_center(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    center, journal = tmp_path / "center.toml", tmp_path / "journal.jsonl"
    center.write_text('[center]\ntime_zone = "Asia/Shanghai"\n[queues.q]\n[agents.li]\n')
    events = [*ready(MIDNIGHT_S - 100, "li"), queued(MIDNIGHT_S - 90, "c1"), queued(MIDNIGHT_S - 50.25, "c2")]
    events += [{"t": MIDNIGHT_S - 85, "event": "offer_accepted", "contact": "c1", "agent": "li"}]
    events += [{"t": MIDNIGHT_S + 30, "event": "contact_ended", "contact": "c1"}]
    journal.write_text("\n".join(json.dumps(event) for event in sorted(events, key=lambda event: event["t"])))

    assert main(["explain", str(center), str(journal), "--contact", "c2"]) == 0
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert lines[0] == "2026-11-22  Asia/Shanghai"
    assert lines[1].startswith("23:59:09.75  enters the queue q") and "counts from 23:59:09.75" in lines[1]
    assert lines[2] == "23:59:09.75 – 2026-11-23 00:00:30  waits 80.25 s: nobody can take it"

    for at in ("2026-11-22T23:59:30", "2026-11-22T15:59:30Z", str(MIDNIGHT_S - 30)):
        assert main(["explain", str(center), str(journal), "--contact", "c2", "--at", at]) == 0
        lines = capfdbinary.readouterr().out.decode().splitlines()
        assert lines[:2] == ["2026-11-22  Asia/Shanghai", "c2 at 23:59:30, since:"]
    with pytest.raises(SystemExit, match="2"):
        main(["explain", str(center), str(journal), "--contact", "c2", "--at", "noon"])
    assert "noon is neither seconds nor like 2026-11-22T14:30:05" in capfdbinary.readouterr().err.decode()


def test_a_contact_that_never_came_is_an_error(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["explain", CENTER, JOURNAL, "--contact", "c77"]) == 2
    assert b'the contact "c77" is not in the journal' in capfdbinary.readouterr().err
    with pytest.raises(UnknownNameError):
        story_of("[queues.q]\n", "c1", clock(1))


# What the engine's own filters are called here.
SAME = {
    "skill": "level", "tier_window": "window", "retry_delay": "retry", "not_in_queue": "queue", "no_channel": "channel",
}  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_the_floor_and_the_engine_name_the_same_filters_for_every_waiting_contact(seed: int) -> None:
    source = Seeded(5000 + seed)
    center = random_center(source)
    acd, floor, journalist = Acd(center, seed=seed), Floor(center), Journalist(source, center)
    checked = 0
    for _ in range(120):
        event = journalist.next_event(acd.next_timer())
        fired = fire_timers(acd, event["t"])
        for effect in fired:
            floor.take_effect(effect)
        journalist.note(None, fired)
        try:
            effects = acd.apply(event)
        except CordboardError:
            continue
        floor.take_event(event)
        for effect in effects:
            floor.take_effect(effect)
        floor.sweep()
        journalist.note(event, effects)
        checked += compare_filters(acd, floor)
    assert checked > 50


@pytest.mark.parametrize("seed", range(12))
def test_they_still_do_when_the_center_changes_while_it_works(seed: int) -> None:
    source = Seeded(7000 + seed)
    center = replace(random_center(source), reserves=())
    acd, floor, journalist = Acd(center, seed=seed), Floor(center), Journalist(source, center)
    checked = 0
    for step in range(160):
        if step % 12 == 11:
            center = changed(source, center)
            acd, effects = acd.with_center(center, journalist.t)
            floor.with_center(center)
            journalist.center, event = center, None
        else:
            event = journalist.next_event(acd.next_timer())
            fired = fire_timers(acd, event["t"])
            for effect in fired:
                floor.take_effect(effect)
            journalist.note(None, fired)
            try:
                effects = acd.apply(event)
            except CordboardError:
                continue
            floor.take_event(event)
        for effect in effects:
            floor.take_effect(effect)
        floor.sweep()
        journalist.note(event, effects)
        checked += compare_filters(acd, floor)
    assert checked > 50


def compare_filters(acd: Acd, floor: Floor) -> int:
    """Every agent against every waiting contact: eligible for none, and the engine's filter is among ours."""
    count = 0
    for visit in floor.visits.values():
        if visit.state != "waiting":
            continue
        for entry in acd.eligibility(visit.name):
            kinds = [block.kind for block in floor.blocks(visit, floor.desks[entry["agent"]], acd.now)]
            kind = SAME.get(entry["filter"], entry["filter"])
            assert kinds, f"{entry['agent']} is eligible for {visit.name}, who waits"
            assert kind in kinds or (kind == "capacity" and {"rings", "talks"} & set(kinds)), (entry, kinds)
            count += 1
    return count


@pytest.mark.parametrize("seed", range(10))
def test_every_story_of_a_random_journal_is_told_without_a_gap(seed: int) -> None:
    source = Seeded(6000 + seed)
    center = random_center(source)
    journalist = Journalist(source, center)
    journal = written(journalist, Acd(center), 80)
    for name in [f"c{i}" for i in range(1, journalist.count + 1)]:
        story = explain(Acd(center), center, io.BytesIO(journal), name)
        assert tell(story, "en") and tell(story, "zh")
        times = [entry.t for entry in story.entries]
        assert times == sorted(times)
        assert all(group.block.kind != "eligible" for entry in story.entries for group in entry.groups)
