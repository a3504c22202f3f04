"""What differs between two centers: all of it, and in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cordboard import Acd
from cordboard.center import Agent, Center, Queue, Reserve, Step, Weights
from cordboard.center_diff import diff_centers
from cordboard.cli import main
from tests.oracle.worlds import Seeded, random_center

OLD = Center(
    (Queue("a", overflow="b"), Queue("b", overflow="c"), Queue("c", requires={"zh": 3})),
    (Agent("x", {"zh": 5}), Agent("y"), Agent("z")),
    reserves=(Reserve("zh", 1, 2, ("c",)),),
)


def test_the_same_center_has_no_changes() -> None:
    for seed in range(10):
        center = random_center(Seeded(seed))
        assert diff_centers(center, replace(center)) == []


def test_every_kind_of_change_is_told_in_the_order_of_the_files() -> None:
    new = Center(
        (replace(OLD.queues[2], requires={"zh": 4}, strategy="random", steps=(Step(5.0, {"zh": 4}), Step())), Queue("d")),
        (Agent("x", {"zh": 2}), Agent("z", wrap_up=3.0), Agent("new")),
        "score",
    )
    assert [change.text() for change in diff_centers(OLD, new)] == [
        "center: order priority -> score",
        "queue a: gone; those who wait go to c",
        "queue b: gone; those who wait go to c",
        "queue c: requires zh 3 -> zh 4",
        "queue c: steps none -> 5 s zh 4; for ever none",
        "queue c: strategy longest_idle -> random",
        "queue d: new",
        "agent x: skills zh 5 -> zh 2",
        "agent y: gone; open offers are withdrawn, conversations go on until they end",
        "agent z: wrap up none -> 3",
        "agent new: new, offline at first",
        "reserve zh >= 1: 2 for c: gone",
    ]


def test_every_change_has_its_chinese_and_is_plain_json() -> None:
    # given centers that differ in everything
    for seed in range(60):
        old, new = random_center(Seeded(seed)), random_center(Seeded(seed + 1))
        for change in diff_centers(old, new):
            text = change.text("zh")
            assert any("\u4e00" <= letter <= "\u9fff" for letter in text), text
            assert json.loads(json.dumps(change.record())) == change.record()
    weights = diff_centers(Center((Queue("a"),)), Center((Queue("a", weights=Weights(idle=2)),)))
    assert weights[0].text() == "queue a: weights none -> wait 0, idle 2, priority 0, proficiency 0, value 0, tier 0"


def test_a_changed_order_of_agents_is_a_change() -> None:
    [change] = diff_centers(OLD, replace(OLD, agents=OLD.agents[::-1]))
    assert change.text() == "agent: order x; y; z -> z; y; x"


def test_where_contacts_of_a_queue_that_is_gone_go_is_where_the_engine_sends_them() -> None:
    new = replace(OLD, queues=OLD.queues[2:], reserves=())
    acd = Acd(OLD)
    acd.apply({"t": 0, "event": "contact_queued", "contact": "k", "queue": "a"})
    _, effects = acd.with_center(new, 1.0)
    assert [effect["to"] for effect in effects] == [diff_centers(OLD, new)[0].to] == ["c"]


def test_check_against_an_old_file_lists_the_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text("[queues.a]\n[agents.li]\n", "utf-8")
    new.write_text("[queues.a]\nwrap_up = 5\n[agents.wang]\n", "utf-8")
    assert main(["check", str(new), "--against", str(old), "--lang", "en"]) == 0
    assert "  queue a: wrap up 0 -> 5\n" in capsys.readouterr().out
    assert main(["check", str(new), "--against", str(old), "--lang", "zh"]) == 0
    assert "  座席 wang：新增，起初离线\n" in capsys.readouterr().out
    assert main(["check", str(new), "--against", str(old), "--json"]) == 0
    assert [change["kind"] for change in json.loads(capsys.readouterr().out)["changes"]] == ["changed", "removed", "added"]
    assert main(["check", str(new), "--against", str(tmp_path / "none.toml")]) == 2
