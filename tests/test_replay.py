"""The commands replay and check, end to end."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cordboard.acd import Acd
from cordboard.center import load_center, parse_center
from cordboard.cli import main
from cordboard.journal import read_journal
from cordboard.replay import Answer, Summary, replay
from tests.oracle.worlds import Journalist, Seeded, random_center, written

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
CENTER, JOURNAL = str(EXAMPLES / "center.toml"), str(EXAMPLES / "journal.jsonl")

Capture = pytest.CaptureFixture[bytes]


def lines_of(raw: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in raw.splitlines()]


def bad_journal(folder: Path) -> str:
    """The example with a bad line of every sort put between its lines."""
    bad = [
        "oops",
        '{"t": 0.5, "event": "agent_ready", "agent": "ana"}',
        '{"t": 0.5, "event": "offer_accepted", "contact": "c9", "agent": "li"}',
        '{"t": 0.2, "event": "clock"}',
        '{"t": NaN, "event": "clock"}',
        '{"t": -3, "event": "clock"}',
    ]
    lines = Path(JOURNAL).read_text(encoding="utf-8").splitlines()
    path = folder / "bad.jsonl"
    path.write_text("\n".join(lines[:2] + bad + lines[2:]) + "\n", encoding="utf-8")
    return str(path)


def test_replay_writes_what_the_engine_answers_one_effect_a_line(capfdbinary: Capture) -> None:
    assert main(["replay", CENTER, JOURNAL]) == 0
    written = lines_of(capfdbinary.readouterr().out)
    acd = Acd(load_center(CENTER))
    with open(JOURNAL, "rb") as stream:
        expected = [effect for _, event in read_journal(stream) for effect in acd.apply(event)]  # type: ignore[arg-type]
    assert written == expected
    assert [effect["effect"] for effect in written][:2] == ["offer", "offer"]


def test_a_bad_line_is_answered_on_standard_error_and_skipped(tmp_path: Path, capfdbinary: Capture) -> None:
    assert main(["replay", CENTER, JOURNAL]) == 0
    good = capfdbinary.readouterr().out
    path = bad_journal(tmp_path)
    assert main(["replay", CENTER, path]) == 1
    captured = capfdbinary.readouterr()
    assert captured.out == good
    errors = captured.err.decode().splitlines()
    assert [error.split(" ")[0].rstrip(":") for error in errors] == [f"{path}:{line}" for line in range(3, 9)]
    for error, text in zip(
        errors,
        ["not valid JSON", 'Did you mean "ann"?', 'no contact "c9"', "the time goes back", "NaN", "-3 is not a time"],
        strict=True,
    ):
        assert text in error


def test_with_json_the_answers_on_standard_error_are_objects(tmp_path: Path, capfdbinary: Capture) -> None:
    assert main(["replay", CENTER, bad_journal(tmp_path), "--json"]) == 1
    records = lines_of(capfdbinary.readouterr().err)
    assert [record["line"] for record in records] == [3, 4, 5, 6, 7, 8]
    assert records[1]["key"] == "agent" and records[1]["hint"] == 'Did you mean "ann"?'


def test_strict_ends_at_the_first_bad_line_with_status_2(tmp_path: Path, capfdbinary: Capture) -> None:
    assert main(["replay", CENTER, bad_journal(tmp_path), "--strict"]) == 2
    captured = capfdbinary.readouterr()
    assert captured.err.count(b"\n") == 1
    assert captured.out == b""  # the two lines before it have no effects


def test_standard_input_is_answered_line_by_line() -> None:
    command = [sys.executable, "-m", "cordboard", "replay", CENTER, "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        for line, expected in (
            ('{"t": 1, "event": "agent_ready", "agent": "li"}\n{"t": 2, "event": "contact_queued",'
             ' "contact": "c1", "queue": "billing"}\n', "offer"),
            ('{"t": 99, "event": "clock"}\n', "offer_expired"),
        ):  # fmt: skip
            process.stdin.write(line.encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["effect"] == expected
        process.stdin.close()
        assert process.wait(30) == 0


def test_nothing_happens_after_the_last_line_unless_until_says_so(capfdbinary: Capture) -> None:
    assert main(["replay", CENTER, JOURNAL]) == 0
    without = lines_of(capfdbinary.readouterr().out)
    assert main(["replay", CENTER, JOURNAL, "--until", "115"]) == 0
    longer = lines_of(capfdbinary.readouterr().out)
    assert longer[: len(without)] == without
    assert [(effect["t"], effect["effect"]) for effect in longer[len(without) :]] == [(115.0, "wrap_up_ended")]


def test_until_takes_no_later_line(capfdbinary: Capture) -> None:
    assert main(["replay", CENTER, JOURNAL, "--until", "20"]) == 0
    assert [effect["contact"] for effect in lines_of(capfdbinary.readouterr().out)] == ["c1", "c3"]


@pytest.mark.parametrize(("lang", "label"), [("en", "Service level"), ("zh", "服务水平")])
def test_effects_go_to_a_file_and_the_summary_names_its_definitions(
    tmp_path: Path, capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch, lang: str, label: str
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    out = tmp_path / "effects.jsonl"
    assert main(["replay", CENTER, JOURNAL, "--effects", str(out), "--lang", lang]) == 0
    shown = capfdbinary.readouterr().out.decode()
    assert label in shown and "SL_OFFERED" in shown and "20" in shown
    assert main(["replay", CENTER, JOURNAL]) == 0
    assert out.read_bytes() == capfdbinary.readouterr().out


def test_the_summary_as_json_has_counts_and_figures(tmp_path: Path, capfdbinary: Capture) -> None:
    out = str(tmp_path / "effects.jsonl")
    assert main(["replay", CENTER, bad_journal(tmp_path), "--effects", out, "--json"]) == 1
    record = json.loads(capfdbinary.readouterr().out)
    assert (record["lines"], record["skipped"], record["effects"]["offer"]) == (14, 6, 3)
    billing = record["queues"]["billing"]
    assert (billing["offered"], billing["answered"], billing["threshold_s"]) == (2, 2, 20)
    assert billing["figures"]["SL_OFFERED"] == 0.5  # c1 after 3 s, c2 after 50 s
    assert billing["figures"]["ASA"] == 26.5


def test_the_effects_never_overwrite_the_journal(tmp_path: Path, capfdbinary: Capture) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(Path(JOURNAL).read_bytes())
    assert main(["replay", CENTER, str(path), "--effects", str(path)]) == 2
    assert b"would overwrite the journal" in capfdbinary.readouterr().err
    assert path.read_bytes() == Path(JOURNAL).read_bytes()


def test_files_that_can_not_be_used_end_with_status_2(tmp_path: Path, capfdbinary: Capture) -> None:
    (tmp_path / "bad.toml").write_text("[queues.q]\ndelai = 1\n")
    nowhere = str(tmp_path / "no" / "where")
    for arguments, text in (
        ([nowhere, JOURNAL], b"the center file can't be read"),
        ([str(tmp_path / "bad.toml"), JOURNAL], b'unknown key "delai"'),
        ([CENTER, nowhere], b"the journal can't be read"),
        ([CENTER, str(tmp_path)], b"the journal can't be read"),
        ([CENTER, JOURNAL, "--effects", nowhere], b"the effects can't be written"),
    ):
        assert main(["replay", *arguments]) == 2
        assert text in capfdbinary.readouterr().err


def test_a_duplicate_contact_and_a_withdrawn_offer_are_refused_and_nothing_is_lost() -> None:
    center = parse_center("[queues.q]\n[agents.li]\n[agents.wu]\n")
    journal = b"""{"t": 0, "event": "agent_ready", "agent": "li"}
{"t": 1, "event": "agent_ready", "agent": "wu"}
{"t": 2, "event": "contact_queued", "contact": "c1", "queue": "q"}
{"t": 3, "event": "contact_queued", "contact": "c1", "queue": "q"}
{"t": 4, "event": "agent_away", "agent": "li"}
{"t": 5, "event": "offer_accepted", "contact": "c1", "agent": "li"}
{"t": 6, "event": "offer_accepted", "contact": "c1", "agent": "wu"}
{"t": 7, "event": "contact_en"""
    acd = Acd(center)
    answers = list(replay(acd, center, io.BytesIO(journal), "j"))
    assert [answer.line for answer in answers if answer.error] == [4, 6, 8]
    assert "j:4 [contact]: " in str(answers[3].error)
    assert "j:6 [contact]: the contact is not offered to this agent" in str(answers[5].error)
    assert "the last line is cut off" in str(answers[7].error)
    counts = acd.counts()
    assert (counts["entered"], counts["connected"]) == (1, 1)


def test_timers_before_a_refused_line_fire_and_are_written(capfdbinary: Capture, tmp_path: Path) -> None:
    path = tmp_path / "late.jsonl"
    path.write_text(
        '{"t": 0, "event": "agent_ready", "agent": "li"}\n'
        '{"t": 1, "event": "contact_queued", "contact": "c1", "queue": "billing"}\n'
        '{"t": 20, "event": "offer_accepted", "contact": "c1", "agent": "li"}\n'
    )
    assert main(["replay", CENTER, str(path)]) == 1
    captured = capfdbinary.readouterr()
    assert [(e["t"], e["effect"]) for e in lines_of(captured.out)] == [(1.0, "offer"), (16.0, "offer_expired")]
    assert b":3 [contact]: the contact is not offered to this agent" in captured.err


@pytest.mark.parametrize("seed", range(10))
def test_the_summary_of_a_replay_accounts_for_every_contact(seed: int) -> None:
    source = Seeded(seed)
    center = random_center(source)
    journalist = Journalist(source, center)
    journal = written(journalist, Acd(center), 100)
    again, summary = Acd(center), Summary.of(center)
    for answer in replay(again, center, io.BytesIO(journal), until=journalist.t + 30):
        summary.add(answer)
    tallies = summary.tallies.by_queue.values()
    out = sum(tally.answered + tally.abandoned + tally.timeout + tally.flowout for tally in tallies)
    counts = again.counts()
    assert sum(tally.offered for tally in tallies) == out + counts["waiting"] + counts["offered"]
    assert summary.lines + summary.skipped == len(journal.splitlines()) == 100


def test_check_reports_all_mistakes_with_their_lines(tmp_path: Path, capfdbinary: Capture) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[queues.q]\ndelai = 1\nwrap_up = -1\n")
    assert main(["check", str(path)]) == 2
    errors = capfdbinary.readouterr().err.decode()
    assert f"{path}:2 [queues.q.delai]" in errors and f"{path}:3 [queues.q.wrap_up]" in errors
    assert main(["check", str(path), "--json"]) == 2
    record = json.loads(capfdbinary.readouterr().out)
    assert [error["line"] for error in record["errors"]] == [2, 3]


def test_check_says_what_a_center_is_made_of(capfdbinary: Capture) -> None:
    assert main(["check", CENTER]) == 0
    assert "4 queues, 4 agents" in capfdbinary.readouterr().out.decode()
    assert main(["check", CENTER, "--lang", "zh"]) == 0
    assert "4 个队列，4 名座席" in capfdbinary.readouterr().out.decode()
    assert main(["check", CENTER, "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["profiles"] == 4


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f'"{sys.executable}" -m cordboard replay "{CENTER}" "{JOURNAL}" | head -c 10'
    done = subprocess.run(command, shell=True, capture_output=True, env=dict(os.environ), check=False)
    assert b"Traceback" not in done.stderr


def test_times_within_the_same_microsecond_are_the_same_instant() -> None:
    # given an engine that counts whole microseconds, so that its clock stands a little after the line before
    center = parse_center("[queues.a]\n[agents.li]\nwrap_up = 0.1\n")
    first, second = 34207.10908757702, 34207.109087577015
    lines = [
        {"t": first, "event": "agent_ready", "agent": "li"},
        {"t": first, "event": "contact_queued", "contact": "c", "queue": "a"},
        {"t": second, "event": "offer_accepted", "contact": "c", "agent": "li"},
    ]
    # when / expect
    stream = io.BytesIO("".join(json.dumps(line) + "\n" for line in lines).encode())
    assert [answer.error for answer in replay(Acd(center), center, stream)] == [None] * 3


def test_a_line_of_the_far_future_moves_the_clock_only_if_the_state_had_to_be_asked() -> None:
    center = parse_center("[queues.q]\noffer_timeout = 5\n[agents.a]\n")
    before = [
        {"t": 0, "event": "agent_ready", "agent": "a"},
        {"t": 1, "event": "contact_queued", "contact": "c", "queue": "q"},
    ]
    after = {"t": 3, "event": "offer_accepted", "contact": "c", "agent": "a"}
    nobody = {"t": 1e9, "event": "agent_away", "agent": "nobody"}  # refused whatever the state
    too_late = {"t": 1e9, "event": "offer_accepted", "contact": "c", "agent": "a"}  # refused: the offer expires at 6

    def answers(line: dict[str, object]) -> list[Answer]:
        journal = "\n".join(map(json.dumps, [*before, line, after]))
        return list(replay(Acd(center), center, io.BytesIO(journal.encode())))

    *_, refused, accepted = answers(nobody)
    assert refused.error is not None and refused.fired == [] and accepted.error is None
    *_, refused, accepted = answers(too_late)
    assert [effect["effect"] for effect in refused.fired] == ["offer_expired"]
    assert refused.error is not None and "not offered" in refused.error.what
    assert accepted.error is not None and "the time goes back" in accepted.error.what
