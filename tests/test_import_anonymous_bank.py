"""The importer of the Anonymous Bank: every odd line is known by its number, and what comes out runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.errors import DataError
from cordboard.importers import anonymous_bank as bank
from tests.realdata import real_data

HEADER = "\t".join(bank.COLUMNS)
# One call a line: vru+line, call id, customer, priority, type, date, vru in, out, s, queue in, out, s, outcome, service
# from, to, s, server. The comments are what is odd about them.
LINES = [
    "AA01 1 7 2 PS 990101 9:00:00 9:00:05 5 9:00:05 9:01:05 60 AGENT 9:01:04 9:03:04 120 ANA",
    "AA01 2 0 0 NW 990101 9:00:10 9:00:15 5 0:00:00 0:00:00 0 AGENT 9:00:15 9:02:15 120 BEN",  # did not queue
    "AA01 3 0 0 PS 990101 9:00:20 9:00:25 5 9:00:25 9:00:55 30 HANG 0:00:00 0:00:00 0 NO_SERVER",
    "AA01 4 0 0 PS 990101 9:00:30 9:00:35 5 0:00:00 0:00:00 0 HANG 0:00:00 0:00:00 0 NO_SERVER",  # no queue
    "AA01 5 0 0 PS 990101 9:00:40 9:00:45 5 9:00:45 9:00:50 5 PHANTOM 0:00:00 0:00:00 0 NO_SERVER",
    "AA01 6 0 0 AA 990101 9:01:00 9:01:05 5 9:01:05 9:01:10 5 HANG 0:00:00 0:00:00 0 NO_SERVER",  # unknown type
    "AA01 7 0 1 PS 990101 9:02:00 9:01:55 -5 9:02:00 9:03:10 70 AGENT 9:03:09 9:03:09 0 ANA",  # -5 s, service 0 s
    "AA01 1 0 0 PS 990101 9:10:00 9:10:05 5 9:10:05 9:11:05 60 AGENT 9:11:04 9:13:04 120 ANA",  # id again
    "AA01 8 0 0 PS 990101 23:59:50 23:59:58 8 0:00:03 0:00:43 40 AGENT 0:00:42 0:02:42 120 ANA",  # midnight
    "AA01 9 0 0 PS 990102 8:00:00 8:00:05 5 0:00:00 0:00:00 0 AGENT 8:00:05 8:00:25 20 NO_SERVER",  # by whom?
    "AA01 1 7 2 PS 990101 9:00:00 9:00:05 5 9:00:05 9:01:05 60 AGENT 9:01:04 9:03:04 120 ANA",  # line 2 again
]


def write(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    path = folder / "month.txt"
    path.write_text("\n".join([header, *("\t".join(line.split(" ")) for line in lines)]) + "\n", "utf-8")
    return path


def test_every_line_is_used_or_left_out_for_a_reason_with_its_number(tmp_path: Path) -> None:
    calls, report = bank.read_calls([write(tmp_path, LINES)])
    assert (report.read, report.used, sum(report.skipped.values())) == (11, 7, 4)
    places = {reason: report.places[reason] for reason in report.skipped}
    assert places == {
        "hung up before the queue": ["month.txt:5"],
        "PHANTOM: to be ignored, says its publisher": ["month.txt:6"],
        "unknown type AA": ["month.txt:7"],
        "the same line again": ["month.txt:12"],
    }
    odd = {reason: report.places[reason] for reason in report.mended}
    assert odd == {
        "a negative time in the voice menu, which is not used": ["month.txt:8"],
        "a conversation of 0 seconds": ["month.txt:8"],
        "an id used before; it got a number of its own": ["month.txt:9"],
        "passed midnight on the way to the queue": ["month.txt:10"],
        "served, but by no agent that is named": ["month.txt:11"],
    }
    assert len({call.contact for call in calls}) == 7


def test_times_count_from_midnight_of_the_first_day_and_priority_is_a_head_start(tmp_path: Path) -> None:
    calls, _ = bank.read_calls([write(tmp_path, LINES)])
    first = next(call for call in calls if call.contact == "AA01-1")
    assert (first.entered, first.wait, first.service, first.priority) == (9 * 3600 + 5, 60, 120, 90)
    assert first.ended == first.entered + 180
    over_midnight = next(call for call in calls if call.contact == "AA01-8")
    assert over_midnight.entered == 86_400 + 3
    assert next(call for call in calls if call.contact == "AA01-9").entered == 86_400 + 8 * 3600 + 5
    gave_up = next(call for call in calls if call.contact == "AA01-3")
    assert (gave_up.served, gave_up.wait, gave_up.service) == (False, 30, 0)


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (LINES[0].replace("9:00:05 9:01:05", "9.00.05 9:01:05"), "q_start"),
        (LINES[0].replace("9:00:05 9:01:05", "24:00:05 9:01:05"), "q_start"),
        (LINES[0].replace("990101", "991301"), "date"),
        (LINES[0].replace(" 60 ", " x "), "q_time"),
        (LINES[0].removesuffix(" ANA"), "16 columns"),
    ],
)
def test_a_line_that_makes_no_sense_is_an_error_with_its_number(tmp_path: Path, line: str, column: str) -> None:
    with pytest.raises(DataError, match=r"month\.txt:3") as error:
        bank.read_calls([write(tmp_path, [LINES[1], line])])
    assert column in str(error.value)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a file of the Anonymous Bank"):
        bank.read_calls([write(tmp_path, LINES, header="age;job")])
    with pytest.raises(DataError, match="can't be read"):
        bank.read_calls([tmp_path / "absent.txt"])


def test_the_center_has_a_queue_a_type_and_an_agent_a_server(tmp_path: Path) -> None:
    calls, _ = bank.read_calls([write(tmp_path, LINES)])
    center = parse_center(bank.center_toml(calls))
    assert center.order == "score"
    assert [queue.name for queue in center.queues] == ["PS", "NW"]
    assert {agent.name: agent.queues for agent in center.agents} == {"BEN": {"NW": 1}, "ANA": {"PS": 1}}


def test_an_agent_who_took_nobody_while_somebody_waited_was_not_there(tmp_path: Path) -> None:
    served = "AA01 {} 0 0 PS 990101 9:00:00 9:00:05 5 {} {} {} AGENT {} {} {} ANA"
    calls, _ = bank.read_calls(
        [
            write(
                tmp_path,
                [
                    served.format(1, "9:00:00", "9:00:01", 1, "9:00:01", "9:02:00", 119),
                    served.format(2, "9:01:00", "9:05:00", 240, "9:05:00", "9:06:00", 60),  # waits, though 1 is over
                    served.format(3, "9:08:00", "9:08:01", 1, "9:08:01", "9:09:00", 59),  # nobody waited before
                    served.format(4, "11:00:00", "11:00:01", 1, "11:00:01", "11:01:00", 59),  # two hours later
                ],
            )
        ]
    )
    nine = 9 * 3600.0
    assert bank.working_hours(calls) == {
        "ANA": [
            (nine + 1, nine + 120),
            (nine + 300, nine + 360),
            (nine + 481, nine + 540),
            (2 * 3600 + nine + 1, 2 * 3600 + nine + 60),
        ]
    }


def test_the_records_as_events_name_the_agent_of_the_record_and_use_nothing_later(tmp_path: Path) -> None:
    calls, _ = bank.read_calls([write(tmp_path, LINES)])
    center = parse_center(bank.center_toml(calls))
    events = list(bank.recorded_events(calls, center))
    assert [event["t"] for event in events] == sorted(event["t"] for event in events)
    taken = {event["contact"]: event["agent"] for event in events if event["event"] == "offer_accepted"}
    assert taken["AA01-1"] == "ANA" and taken["AA01-9"] is None
    cut = [event for event in events if event["t"] < 9 * 3600 + 60]
    early = [call for call in calls if call.entered < 9 * 3600 + 60]
    again = [event for event in bank.recorded_events(early, center) if event["t"] < 9 * 3600 + 60]
    assert cut == again, "what comes later changes nothing"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_what_the_command_writes_replays_without_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    month, center, journal = write(tmp_path, LINES), tmp_path / "bank.toml", tmp_path / "month.jsonl"
    assert run("import", "anonymous-bank", month, "--center", center, "--journal", journal, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["used"] == 7 and report["events"] == len(journal.read_text().splitlines())
    assert run("replay", center, journal, "--effects", tmp_path / "effects.jsonl", "--strict") == 0
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    accepted = {event["contact"]: event["t"] for event in events if event["event"] == "offer_accepted"}
    ended = {event["contact"]: event["t"] for event in events if event["event"] == "contact_ended"}
    assert ended["AA01-1"] - accepted["AA01-1"] == 120, "it talks as long as the record says"
    assert run("import", "anonymous-bank", month, "--center", center, "--lang", "zh") == 0
    assert "读取" in capsys.readouterr().out


def test_a_line_that_makes_no_sense_ends_the_command_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    month = write(tmp_path, [LINES[0].replace("990101", "yesterday")])
    assert run("import", "anonymous-bank", month, "--center", tmp_path / "bank.toml") == 2
    assert "month.txt:2 [date]" in capsys.readouterr().err


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    month, nowhere = write(tmp_path, LINES), tmp_path / "no folder" / "bank.toml"
    assert run("import", "anonymous-bank", month, "--center", nowhere) == 2
    assert "bank.toml: can't be written" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.slow
def test_january_1999_replays_and_simulates_without_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    january = real_data("anonymous_bank_1999_01.txt")
    center, journal, scenario = tmp_path / "bank.toml", tmp_path / "january.jsonl", tmp_path / "january.toml"
    outputs = ("--center", center, "--journal", journal, "--scenario", scenario)
    assert run("import", "anonymous-bank", january, *outputs, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["read"], report["used"]) == (31_599, 30_140)
    assert report["skipped"] == {
        "hung up before the queue": 1217,
        "PHANTOM: to be ignored, says its publisher": 240,
        "unknown type AA": 2,
    }
    assert run("replay", center, journal, "--effects", tmp_path / "effects.jsonl", "--strict", "--json") == 0
    capsys.readouterr()
    effects = [json.loads(line) for line in (tmp_path / "effects.jsonl").read_text().splitlines()]
    assert 27_000 < sum(effect["effect"] == "offer" for effect in effects) < 30_140
    assert run("simulate", center, "--scenario", scenario, "--replications", 2, "--json") == 0
    assert json.loads(capsys.readouterr().out)
