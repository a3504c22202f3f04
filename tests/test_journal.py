"""The journal: what a line may say, and what is said about one that is wrong; nothing else is lost."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard.errors import JournalError
from cordboard.journal import EVENTS, LINE_BYTES_MAX, check_event, event_line, parse_event, read_journal

EXAMPLE = Path(__file__).resolve().parent.parent / "docs" / "examples" / "journal.jsonl"
CLOCK = b'{"t": 1, "event": "clock"}\n'

FULL = {
    "t": 10.5,
    "event": "contact_queued",
    "contact": "c1",
    "queue": "billing",
    "priority": -3,
    "requires": {"zh": 5},
    "steps": [{"for": 30, "requires": {"zh": 5}}, {"requires": {}}],
    "customer": "客户",
    "preferred_agent": "li",
    "max_tier": 3,
    "min_tier": 1,
    "tier_rules": [{"after": 30, "max_tier": 5}, {"after": 60, "min_tier": 2}],
    "queued_at": 2,
    "values": {"li": 0.5},
}


def read(raw: bytes) -> list[object]:
    """Line numbers of events, texts of errors."""
    items = read_journal(io.BytesIO(raw), "j.jsonl")
    return [str(item) if isinstance(item, JournalError) else number for number, item in items]


def test_every_line_of_the_example_is_an_event() -> None:
    with EXAMPLE.open("rb") as stream:
        assert all(isinstance(item, dict) for _, item in read_journal(stream))


def test_an_event_with_every_field_is_read_as_it_stands() -> None:
    assert parse_event(event_line(FULL)) == FULL


def test_every_event_needs_each_of_its_required_fields() -> None:
    samples = {"agent": "li", "contact": "c1", "queue": "billing", "priority": 1}
    for kind, (required, _) in EVENTS.items():
        event = {"t": 0, "event": kind, **{key: samples[key] for key in required}}
        assert check_event(dict(event)) == event
        for key in ("t", "event", *required):
            with pytest.raises(JournalError, match=r"needs|no time|no event"):
                check_event({name: value for name, value in event.items() if name != key})


@pytest.mark.parametrize(
    ("change", "key", "text"),
    [
        ({"t": -1}, "t", "-1 is not a time"),
        ({"t": "3"}, "t", '"3" is not a time'),
        ({"t": True}, "t", "true is not a time"),
        ({"t": None}, "t", "null is not a time"),
        ({"t": 1e300}, "t", "1e+300 is not a time"),
        ({"t": float("nan")}, "t", "NaN is not a time"),
        ({"queued_at": 11}, "queued_at", "11 is later than t"),
        ({"queued_at": -1}, "queued_at", "-1 is not a time"),
        ({"event": "contact_queue"}, "event", 'Did you mean "contact_queued"?'),
        ({"event": ["x"]}, "event", "unknown event"),
        ({"contact": 7}, "contact", "7 is not a name"),
        ({"contact": ""}, "contact", '"" is not a name'),
        ({"contact": "c" * 256}, "contact", "a name of 256 characters. The limit is 255"),
        ({"contact": "a\nb"}, "contact", "control characters"),
        ({"contact": "\ud800"}, "contact", "half characters"),
        ({"priority": float("nan")}, "priority", "NaN is not a number from"),
        ({"priority": float("inf")}, "priority", "Infinity is not a number from"),
        ({"priority": 10**13}, "priority", "is not a number from -1000000000000 to 1000000000000"),
        ({"priority": True}, "priority", "true is not a number"),
        ({"requires": {"zh": 11}}, "requires.zh", "11 is not a whole number from 1 to 10"),
        ({"requires": []}, "requires", "[] is not an object"),
        ({"requires": {f"s{i}": 1 for i in range(101)}}, "requires", "101 skills. The limit is 100"),
        ({"steps": [{"for": -1}]}, "steps[0].for", "-1 is not a time"),
        ({"steps": [{"four": 1}]}, "steps[0].four", "unknown field"),
        ({"steps": []}, "steps", "[] is not a list of 1 to 100 objects"),
        ({"steps": [3]}, "steps[0]", "3 is not an object"),
        ({"tier_rules": [{"max_tier": 3}]}, "tier_rules[0]", '"after" is missing'),
        ({"max_tier": 0}, "max_tier", "0 is not a whole number"),
        ({"values": {"li": "x"}}, "values.li", '"x" is not a number'),
        ({"colour": 1}, "colour", "contact_queued has no such field"),
        ({"preferred_agnt": "li"}, "preferred_agnt", 'Did you mean "preferred_agent"?'),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong(change: dict[str, object], key: str, text: str) -> None:
    with pytest.raises(JournalError) as caught:
        check_event({**FULL, **change})
    assert caught.value.where.key == key
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"{", "not valid JSON at column 2"),
        (b'{"t": NaN, "event": "clock"}', "NaN is not a number"),
        (b'{"t": -Infinity, "event": "clock"}', "-Infinity is not a number"),
        (b'{"t": 1e999, "event": "clock"}', "Infinity is not a time"),
        (b'{"t": 1, "t": 2, "event": "clock"}', "[t]: the key stands twice"),
        (b'{"t": 1, "event": "clock"} {}', "not valid JSON at column"),
        (b'{"t": 1, "event": "clo\xffck"}', "not valid UTF-8 at byte"),
        (b"[1]", "[1] is not an event"),
        (b"3", "3 is not an event"),
        (b"{}", "the line has no event"),
        (b'{"t": 1' + b"0" * 5000 + b"}", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_is_no_event_is_refused_with_the_reason(line: bytes, text: str) -> None:
    with pytest.raises(JournalError) as caught:
        parse_event(line)
    assert text in str(caught.value)


def test_a_bad_line_is_named_and_the_others_are_kept() -> None:
    got = read(CLOCK + b"oops\n" + CLOCK + b"\xff\n" + CLOCK)
    assert got[0] == 1 and got[2] == 3 and got[4] == 5
    assert str(got[1]).startswith("j.jsonl:2: not valid JSON")
    assert str(got[3]).startswith("j.jsonl:4: not valid UTF-8")


def test_a_line_of_ten_megabytes_is_skipped_and_the_bound_is_said() -> None:
    got = read(CLOCK + b'{"t": 1, "event": "' + b"x" * 10_000_000 + b'"}\n' + CLOCK)
    assert got[0] == 1 and got[2] == 3
    assert str(got[1]).startswith(f"j.jsonl:2: the line is longer than {LINE_BYTES_MAX} bytes")


def test_a_journal_cut_off_in_its_last_line_loses_only_that_line() -> None:
    got = read(CLOCK + CLOCK[:-9])
    assert got[0] == 1
    assert "the last line is cut off" in str(got[1])


def test_a_last_line_without_an_end_of_line_counts() -> None:
    assert read(CLOCK + CLOCK.rstrip()) == [1, 2]


def test_empty_lines_a_byte_order_mark_and_crlf_are_no_mistakes() -> None:
    assert read(b"\xef\xbb\xbf" + CLOCK + b"\n  \n" + CLOCK.replace(b"\n", b"\r\n")) == [1, 4]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda kids: st.lists(kids, max_size=3) | st.dictionaries(st.text(max_size=5), kids, max_size=3),
)
FIELDS = sorted({key for required, optional in EVENTS.values() for key in (*required, *optional)})


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), JSON)
def test_any_object_is_an_event_or_a_journal_error(kind: str, fields: dict[str, object], t: object) -> None:
    try:
        event = parse_event(json.dumps({"t": t, "event": kind, **fields}))
    except JournalError as error:
        assert str(error)
    else:
        assert json.loads(event_line(event)) == event


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | st.text(st.sampled_from('{}[]":,tevn0123.e-\\ud8 \n')).map(str.encode))
def test_any_bytes_are_events_or_journal_errors_line_by_line(raw: bytes) -> None:
    for number, item in read_journal(io.BytesIO(raw)):
        assert isinstance(item, dict) or item.where.line == number


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_to_one_line_leaves_the_other_lines_alone(data: st.DataObject) -> None:
    lines = EXAMPLE.read_bytes().splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=8)).replace(b"\n", b"")
    place = data.draw(st.integers(0, len(lines[index]) - 1))
    lines[index] = lines[index][:place] + noise + lines[index][place:]
    got = dict(read_journal(io.BytesIO(b"".join(lines))))
    for number in range(1, len(lines) + 1):
        if number != index + 1:
            assert isinstance(got[number], dict)
