"""The file of calls: what it takes, and what it says about mistakes."""

from __future__ import annotations

import dataclasses
import json

import pytest

from cordboard.calls.config import Phone, calls_record, load_calls, parse_calls, record_calls
from cordboard.center import parse_center
from cordboard.errors import CallsError, JournalError
from tests.floor import CALLS, CENTER

BASE = parse_center(CENTER)


def test_the_file_is_read_and_prompts_may_be_one_name():
    calls = parse_calls('[calls]\nring = 20\nhold = "hold"\n[numbers.4001]\nqueue = "billing"\n[phones.li]\nto = "sip:li"\n', BASE)
    assert (calls.ring, calls.hold, calls.numbers["4001"].queue) == (20.0, ("hold",), "billing")
    assert calls.phones == {"li": Phone("sip:li")}
    assert [str(warning) for warning in calls.warnings] == ['<string>:6 [phones]: agent "wang" serves queues for voice and has no phone']


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[call]\n", 1, 'unknown key "call"'),
        ('[numbers.4001]\nqueue = "biling"\n', 2, 'there is no queue "biling"'),
        ("[numbers.4001]\n", 1, "one queue or one flow"),
        ('[numbers.4001]\nqueue = "chats"\n', 2, "not for voice"),
        ('[phones.li]\nto = "sip:li"\ntrunk = "main"\n', 3, 'there is no trunk "main"'),
        ("[phones.li]\n", 1, '"to" is missing'),
        ('[phones.boss]\nto = "sip:b"\nnailed_up = true\n', 3, 'there is no agent "boss"'),
        ('[phones.zhao]\nto = "sip:z"\nnailed_up = true\n', 3, "several calls at once"),
        ('[queues.billing]\nmusic = [1]\n', 2, "1 is not a name"),
        ("[calls]\nring = -1\n", 2, "-1 is out of range"),
        ("[calls\n", None, "not valid TOML"),
        ('[phones.li]\nto = "sip:\\u0007"\n', 2, "not a text of a line"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(text, line, message):
    center = parse_center(CENTER + '[queues.chats]\nchannel = "chat"\n[agents.zhao]\ncapacity = { voice = 2 }\n')
    with pytest.raises(CallsError, match=message) as raised:
        parse_calls(text, center, "calls.toml")
    assert raised.value.where.file == "calls.toml" and raised.value.where.line == line
    assert raised.value.text("zh") != str(raised.value)


def test_all_mistakes_are_told_at_once_and_in_order():
    with pytest.raises(CallsError) as raised:
        parse_calls('[calls]\nring = 0\n[numbers.1]\nqueue = "x"\n[phones.li]\nat = 3\n', BASE)
    assert [error.where.line for error in raised.value.errors] == [2, 4, 5, 6]


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CallsError, match="can't be read"):
        load_calls(tmp_path / "none.toml", BASE)
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(CallsError, match="not valid UTF-8"):
        load_calls(tmp_path / "bad.toml", BASE)


def test_what_decides_goes_into_the_journal_and_addresses_do_not():
    calls = parse_calls(CALLS, BASE)
    record = json.loads(json.dumps(calls_record(calls)))
    assert "sip:" not in json.dumps(record)
    again = record_calls(record)
    bare = {name: Phone(nailed_up=phone.nailed_up) for name, phone in calls.phones.items()}
    assert again == dataclasses.replace(calls, phones=bare) and calls_record(again) == record


@pytest.mark.parametrize("record", [{}, {"numbers": 3}, {"numbers": {"1": {"que": 1}}}])
def test_a_record_that_is_none_is_refused(record):
    with pytest.raises(JournalError, match="no settings of calls"):
        record_calls(record)
