"""What a user who means no good, or a clock that is finer than ours, does to the engine and its commands."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cordboard.acd import Acd
from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.errors import StaleEventError, UnknownNameError
from cordboard.replay import replay
from tests.oracle.day import Day
from tests.oracle.duel import OracleEngine

CENTER = """
[queues.q]
max_waiting = 1
[agents.li]
[agents.bo]
"""
READY = '{"t": 0, "event": "agent_ready", "agent": "li"}\n'
QUEUED = '{"t": 1, "event": "contact_queued", "contact": "c1", "queue": "q"}\n'


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A center file and a journal that gives one offer."""
    center, journal = tmp_path / "center.toml", tmp_path / "journal.jsonl"
    center.write_text(CENTER, encoding="utf-8")
    journal.write_text(READY + QUEUED, encoding="utf-8")
    return str(center), str(journal)


def days(text: str) -> list[Day]:
    center = parse_center(text)
    return [Day(Acd(center)), Day(OracleEngine(center))]


# -- numbers ------------------------------------------------------------------------------------------------------


def test_priorities_and_weights_may_have_a_fraction() -> None:
    for day in days("[queues.q]\n[queues.p]\nweight = 0.5\n[agents.li]\n"):
        day("0 contact_queued c1 q", priority=0.25)
        day("1 contact_queued c2 q", priority=0.5)
        day("2 contact_queued c3 p", priority=-1e12)
        assert day("3 agent_ready li") == ["3 offer c3 li"]
        assert day("4 contact_left c3") == ["4 offer_withdrawn c3 li", "4 offer c2 li"]
        day("5 priority_changed c2 0.125")
        assert day.all("6 agent_away li", "7 agent_ready li") == ["6 offer_withdrawn c2 li", "7 offer c1 li"]


def test_a_fraction_of_a_point_is_that_fraction_of_a_second_by_score() -> None:
    for day in days('[center]\norder = "score"\n[queues.q]\n[agents.li]\n'):
        day("10 contact_queued c1 q")
        day("10.25 contact_queued c2 q", priority=0.250001)
        assert day("11 agent_ready li") == ["11 offer c2 li"]


def test_two_lines_at_one_time_finer_than_a_microsecond_are_in_order() -> None:
    center = parse_center(CENTER)
    for t in (1.0000006, 1.7e9 + 0.0000006):  # what a wall clock gives
        lines = (READY + QUEUED).replace('"t": 0', f'"t": {t!r}').replace('"t": 1,', f'"t": {t!r},').encode()
        answers = list(replay(Acd(center), center, io.BytesIO(lines)))
        assert [answer.error for answer in answers] == [None, None]
        assert [effect["t"] for effect in answers[1].effects] == [round(t, 6)]


def test_a_timer_that_is_due_at_the_rounded_time_of_a_line_fires_before_it() -> None:
    acd = Acd(parse_center("[queues.p]\nmax_wait = 1\n"))
    acd.apply({"t": 0.000001, "event": "contact_queued", "contact": "old", "queue": "p"})
    [expired] = acd.apply({"t": 1.0000006, "event": "contact_queued", "contact": "new", "queue": "p"})
    assert (expired["effect"], expired["contact"], expired["t"]) == ("contact_expired", "old", 1.000001)
    assert acd.positions("p") == {"new": 1}


def test_a_replay_of_finer_times_counts_rejected_contacts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    center, journal = tmp_path / "center.toml", tmp_path / "journal.jsonl"
    center.write_text(CENTER, encoding="utf-8")
    line = '{"t": 1.0000004, "event": "contact_queued", "contact": "%s", "queue": "q"}\n'
    journal.write_text(line % "c1" + line % "c2", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    assert main(["replay", str(center), str(journal), "--effects", str(out), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["queues"]["q"]["rejected"] == 1


# -- reasons ------------------------------------------------------------------------------------------------------


def test_every_offer_of_a_ring_tells_how_many_could_have_it() -> None:
    acd = Acd(parse_center('[queues.q]\nstrategy = "ring_all"\n[agents.a]\n[agents.b]\n[agents.c]\n'))
    for name in "abc":
        acd.apply({"t": 0, "event": "agent_ready", "agent": name})
    offers = acd.apply({"t": 1, "event": "contact_queued", "contact": "c1", "queue": "q"})
    assert [offer["why"]["eligible"] for offer in offers] == [3, 3, 3]


def test_a_contact_that_was_rejected_is_gone_and_not_unknown() -> None:
    acd = Acd(parse_center(CENTER))
    for name in ("c1", "c2"):
        effects = acd.apply({"t": 0, "event": "contact_queued", "contact": name, "queue": "q"})
    assert effects[0]["effect"] == "contact_rejected"
    with pytest.raises(StaleEventError, match='"c2" is gone'):
        acd.apply({"t": 1, "event": "contact_left", "contact": "c2"})
    with pytest.raises(UnknownNameError):
        acd.apply({"t": 1, "event": "contact_left", "contact": "c3"})


# -- files and streams ----------------------------------------------------------------------------------------------


def test_the_effects_never_overwrite_the_center_file(files: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    center, journal = files
    assert main(["replay", center, journal, "--effects", center]) == 2
    assert "the effects would overwrite the center file" in capfd.readouterr().err
    assert Path(center).read_text(encoding="utf-8") == CENTER


def run(command: str, *args: str) -> subprocess.CompletedProcess[bytes]:
    """A shell command in which ``"$@"`` is cordboard with these arguments."""
    argv = ["/bin/sh", "-c", command, "sh", sys.executable, "-m", "cordboard", *args]
    return subprocess.run(argv, capture_output=True, env=dict(os.environ), check=False, timeout=60)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_status_2(files: tuple[str, str]) -> None:
    for command, args in (
        ('"$@"', ("replay", *files, "--effects", "/dev/full")),
        ('"$@" >/dev/full', ("replay", *files)),
        ('"$@" >/dev/full', ("check", files[0])),
        ('"$@" >/dev/full', ("explain", *files, "--contact", "c1")),
    ):
        done = run(command, *args)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
        assert b"No space left on device" in done.stderr


def test_closed_streams_are_said_and_never_a_traceback(files: tuple[str, str]) -> None:
    no_input = run('"$@" <&-', "replay", files[0], "-")
    assert (no_input.returncode, b"standard input is closed" in no_input.stderr) == (2, True)
    no_output = run('"$@" >&-', "replay", *files)
    assert (no_output.returncode, b"standard output is closed" in no_output.stderr) == (2, True)
    mute = run('echo oops | "$@" 2>&-', "replay", files[0], "-")
    assert (mute.returncode, mute.stdout) == (1, b"")


def test_the_language_may_stand_before_the_command_or_after_it(
    files: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    for argv in (
        ["--lang", "zh", "check", files[0]],
        ["check", "--lang=zh", files[0]],
        ["--lang=zh", "check", files[0]],
    ):
        assert main(argv) == 0
        assert "配置可用" in capfd.readouterr().out
