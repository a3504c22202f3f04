"""Schemas that refuse leaks, records that are refused with line and column, model files, the registry, the best
time to call."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard import AnswerModel
from cordboard.cli import main
from cordboard.errors import CordboardError, DataError, ModelFileError
from cordboard.learning import synthetic
from cordboard.learning.best_time import CallingHours, best_times, legal_slots
from cordboard.learning.encoding import Encoder
from cordboard.learning.progressive import read_table
from cordboard.learning.registry import Registry, from_bytes, to_bytes
from cordboard.learning.schema import Schema, ready_schemas
from cordboard.learning.training import Recipe, train

AGE = {"kind": "number", "known": "before_dial"}
LINE = {"kind": "category", "known": "before_dial", "values": ["mobile", "landline"]}


def schema(**features) -> Schema:
    return Schema.from_dict({"name": "test", "version": 1, "features": features})


def test_a_feature_known_later_is_left_out_or_refused_by_name():
    s = schema(
        age=AGE, duration={"kind": "number", "known": "after_call"}, ring={"kind": "number", "known": "at_answer"}
    )
    assert [f.name for f in s.at("before_dial").features] == ["age"]
    assert [f.name for f in s.at("at_answer").features] == ["age", "ring"]
    with pytest.raises(DataError, match=r"'ring' is known at_answer.*leak"):
        AnswerModel(s, ["success"], features=["age", "ring"])
    AnswerModel(s, ["success"], at="at_answer", features=["age", "ring"])


@pytest.mark.parametrize("name", ["duration", "Talk_Time", "disposition", "outcome"])
def test_what_exists_only_after_the_call_is_refused_whatever_the_schema_says(name):
    with pytest.raises(DataError, match="only after the call"):
        schema(**{name: AGE})


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"a": {**AGE, "kind": "text"}}, "kind 'text'"),
        ({"a": {**AGE, "known": "soon"}}, "known 'soon'"),
        ({"a": {**AGE, "edges": [2, 1]}}, "do not ascend"),
        ({"a": {**AGE, "edges": ["x"]}}, "no number"),
        ({"a": {**AGE, "values": ["x"]}}, "values of a category"),
        ({"a": {"kind": "category", "known": "before_dial"}}, "without values"),
        ({"a": {**LINE, "values": ["x", "x"]}}, "twice"),
        ({"a": {**LINE, "colour": "red"}}, "'colour'"),
        ({"a": {**LINE, "role": "minute"}}, "'minute'"),
        ({"a": {"kind": "number"}}, "when it is known"),
        ({}, "needs features"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(features, message):
    with pytest.raises(DataError, match=message):
        schema(**features)


def test_the_hash_changes_with_anything_in_the_schema_and_with_nothing_else():
    base = schema(age=AGE, line=LINE)
    assert base.hash == Schema.from_dict(base.to_dict()).hash
    others = [schema(line=LINE, age=AGE), schema(age={**AGE, "missing": True}, line=LINE), schema(age=AGE)]
    assert len({base.hash, *(other.hash for other in others)}) == 4
    assert {"bank-additional", "call-attempts"} <= set(ready_schemas())


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("age", "forty", r"calls.csv:4 \[age\]: 'forty' is no number"),
        ("age", "", r"calls.csv:4 \[age\]: the value is missing"),
        ("age", float("nan"), r"calls.csv:4 \[age\]: the value is missing"),
        ("age", float("inf"), r"calls.csv:4 \[age\]: the value is infinite"),
        ("age", True, r"calls.csv:4 \[age\]: True is no number"),
        ("line", "pigeon", r"calls.csv:4 \[line\]: unknown category 'pigeon'"),
        ("line", None, r"calls.csv:4 \[line\]: the value is missing"),
        ("line", 2.5, r"calls.csv:4 \[line\]: 2.5 is neither text"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_line_and_column(column, value, message):
    table = {"age": [30.0, 40.0, 50.0], "line": ["mobile"] * 3}
    table[column] = [*table[column][:2], value]
    with pytest.raises(DataError, match=message):
        Encoder(schema(age=AGE, line=LINE)).encode(table, "calls.csv")


def test_a_column_that_is_missing_or_short_is_named():
    encoder = Encoder(schema(age=AGE, line=LINE))
    with pytest.raises(DataError, match=r"calls.csv \[line\]: column 'line' is missing"):
        encoder.encode({"age": [1.0]}, "calls.csv")
    with pytest.raises(DataError, match="differ in length"):
        encoder.encode({"age": [1.0, 2.0], "line": ["mobile"]})
    with pytest.raises(DataError, match="no value for 'line'"):
        encoder.encode_one({"age": 1.0})


def test_missing_and_other_values_get_weights_of_their_own_where_they_are_allowed():
    s = schema(age={**AGE, "missing": True}, line={**LINE, "missing": True, "other": True}, area={
        "kind": "category", "known": "before_dial", "hash_bits": 4})  # fmt: skip
    encoder = Encoder(s)
    rows = encoder.encode({"age": ["", 3], "line": [None, "pigeon"], "area": ["x", "anything"]})
    assert np.isnan(rows.numbers[0, 0]) and rows.numbers[1, 0] == 3
    assert len({int(c) for c in rows.codes.ravel()}) == 6 and rows.codes.max() < encoder.n_weights


@settings(max_examples=50)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=4), st.integers(0, 1000))
def test_every_code_stays_inside_its_own_part_of_the_table(sizes, seed):
    rng = np.random.default_rng(seed)
    features = {
        f"f{i}": {"kind": "category", "known": "before_dial", "values": [str(v) for v in range(size)]}
        for i, size in enumerate(sizes)
    }
    names = list(features)
    s = Schema.from_dict(
        {"name": "t", "version": 1, "features": features, "crosses": [names], "shrink": [[n] for n in names]}
    )
    encoder = Encoder(s, recent=1)
    rows = encoder.encode(
        {name: [str(v) for v in rng.integers(size, size=40)] for name, size in zip(names, sizes, strict=True)}
    )
    low = rows.codes.min(axis=0)
    high = rows.codes.max(axis=0)
    assert (low[1:] > high[:-1]).all() and low[0] >= 2 and high[-1] < encoder.n_weights
    assert rows.cells.min() == 0 and rows.cells.max() < encoder.n_cells


# -- files --


@pytest.fixture(scope="module")
def model():
    calls = synthetic.attempts(1500, seed=1)
    model = AnswerModel(synthetic.schema())
    model.replay(calls.table, calls.results)
    head = model.heads["person"]
    rows = model.encoder.encode(calls.table)
    head.champion.compiled = train(rows, model.labels(calls.results)["person"], Recipe(trees=5, leaves=7))
    head.champion.learner.use_extra(True)
    return model


@pytest.fixture(scope="module")
def data(model) -> bytes:
    return to_bytes(model, {"why": "test"})


def test_a_model_comes_back_from_its_file_and_goes_on_to_the_same_bytes(model, data):
    calls = synthetic.attempts(300, seed=2)
    one, two = from_bytes(data, model.schema), from_bytes(data)
    assert to_bytes(one, {"why": "test"}) == data
    said = [m.replay(calls.table, calls.results, delay=3) for m in (one, two)]
    assert all(said[0][name].tobytes() == said[1][name].tobytes() for name in said[0])
    row = {name: values[0] for name, values in calls.table.items()}
    assert from_bytes(data).predict(row) == model.predict(row)


def test_a_model_of_another_schema_is_refused(data):
    with pytest.raises(ModelFileError, match=r"was made for schema 'call-attempts' version 1.*not for 'test'"):
        from_bytes(data, schema(age=AGE), "m.model")


@settings(max_examples=150)
@given(place=st.integers(0, 10**7), flip=st.integers(1, 255), cut=st.integers(0, 10**7))
def test_any_changed_or_missing_byte_is_noticed(data, place, flip, cut):
    damaged = bytearray(data)
    damaged[place % len(data)] ^= flip
    for bad in (bytes(damaged), data[: cut % len(data)]):
        with pytest.raises(ModelFileError):
            from_bytes(bad)


@settings(max_examples=60)
@given(st.data())
def test_a_header_that_lies_is_refused_even_with_a_right_checksum(data, draw):
    import hashlib

    at = data.index(b"{")
    length = int.from_bytes(data[at - 8 : at], "little")
    header, rest = json.loads(data[at : at + length]), data[at + length : -32]
    key = draw.draw(st.sampled_from(sorted(header)))
    header[key] = draw.draw(st.sampled_from([None, 7, "x", [], {}, [["online/w", "<f8", [10**12]]], {"person": {}}]))
    text = json.dumps(header).encode()
    body = data[: at - 8] + len(text).to_bytes(8, "little") + text + rest
    try:
        from_bytes(body + hashlib.sha256(body).digest())
    except ModelFileError:
        return
    assert key in ("notes", "labels", "features"), key


def test_the_registry_publishes_rolls_back_and_logs(tmp_path, model):
    registry = Registry(tmp_path / "models")
    with pytest.raises(ModelFileError, match="no current model"):
        registry.load()
    first = registry.add(model, 1.0, "ann", {"note": "first"})
    second = registry.add(model, 2.0, "ben", {"note": "second"})
    assert registry.current() == second != first and registry.models() == sorted([first, second])
    assert registry.roll_back(3.0, "ann") == first == registry.current()
    assert registry.load(schema=model.schema).version == first
    log = [(entry["action"], entry["version"], entry["who"]) for entry in registry.audit()]
    assert log == [
        ("add", first, "ann"),
        ("publish", first, "ann"),
        ("add", second, "ben"),
        ("publish", second, "ben"),
        ("roll_back", first, "ann"),
    ]


def test_a_damaged_file_is_not_loaded_nor_published_and_the_current_model_stays(tmp_path, model):
    registry = Registry(tmp_path)
    good = registry.add(model, 1.0)
    other = registry.add(model, 2.0, notes={"n": 2}, publish=False)
    path = tmp_path / f"{other}.model"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="damaged"):
        registry.publish(other, 3.0)
    assert registry.current() == good
    for version in ("../../etc/passwd", "0" * 16):
        with pytest.raises(ModelFileError):
            registry.load(version)
    with pytest.raises(ModelFileError, match="no earlier model"):
        registry.roll_back(4.0)


# -- the best time --

WEEK = CallingHours.from_dict({day: [["08:00", "21:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat")})


@settings(max_examples=60)
@given(
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)),
    zones=st.lists(
        st.sampled_from(["Asia/Shanghai", "America/New_York", "Europe/London", "Australia/Lord_Howe", "UTC"]),
        min_size=1, max_size=3,
    ),
    minutes=st.sampled_from([15, 60]),
)  # fmt: skip
def test_no_slot_is_outside_the_hours_of_any_zone_at_any_minute(start, zones, minutes):
    slots = legal_slots(WEEK, zones, start.replace(tzinfo=UTC), days=3, minutes=minutes)
    assert slots == sorted(set(slots))
    for at in slots:
        assert at >= start.replace(tzinfo=UTC)
        for zone in zones:
            for minute in (0, minutes - 1):
                local = (at + timedelta(minutes=minute)).astimezone(ZoneInfo(zone))
                assert local.weekday() != 6 and time(8) <= local.time() < time(21)


def test_legal_hours_follow_daylight_saving_time_to_the_minute():
    # New York: 2026-03-07 08:00 is 13:00 UTC, 2026-03-09 (after the change) 08:00 is 12:00 UTC.
    slots = legal_slots(WEEK, ["America/New_York"], datetime(2026, 3, 7, tzinfo=UTC), days=4)
    first = {at.date(): at.hour for at in reversed(slots) if at.hour >= 8}
    assert first[date(2026, 3, 7)] == 13 and first[date(2026, 3, 9)] == 12 and date(2026, 3, 8) not in first


def test_a_lead_in_two_zones_is_called_only_when_both_allow_it_and_never_on_a_holiday():
    start = datetime(2026, 6, 1, tzinfo=UTC)  # a Monday
    both = set(legal_slots(WEEK, ["America/New_York", "America/Los_Angeles"], start))
    each = [set(legal_slots(WEEK, [zone], start)) for zone in ("America/New_York", "America/Los_Angeles")]
    assert both == each[0] & each[1] and len(both) < len(each[0])
    off = CallingHours(WEEK.windows, frozenset({date(2026, 6, 1)}))
    assert min(legal_slots(off, ["UTC"], start)).date() == date(2026, 6, 2)


def test_the_best_time_is_the_likeliest_legal_hour_of_the_lead(model):
    lead = {"line": "mobile", "region": "north", "campaign": "offer", "age": 40, "tries": 0, "last": "none",
            "same_part": 0, "hour": "12", "weekday": "0"}  # fmt: skip
    start = datetime(2026, 6, 1, tzinfo=UTC)
    slots = best_times(model, lead, WEEK, ["Asia/Shanghai"], start, days=7)
    assert len(slots) == 6 * 13 and slots == sorted(slots, key=lambda s: -s.p)
    best = slots[0]
    again = model.predict({**lead, "hour": str(best.local.hour), "weekday": str(best.local.weekday())})
    assert best.p == again.person and best.local.utcoffset() == timedelta(hours=8)
    with pytest.raises(DataError, match="no time zone 'Mars/Base'"):
        best_times(model, lead, WEEK, ["Mars/Base"], start)
    with pytest.raises(DataError, match="slots"):
        best_times(model, lead, WEEK, ["UTC"], start, days=1e6)
    for bad in ({"mon": [["21:00", "08:00"]]}, {"someday": []}, {"mon": [["8 o'clock", "21:00"]]}):
        with pytest.raises(DataError):
            CallingHours.from_dict(bad)


# -- the command --


@pytest.fixture
def calls_csv(tmp_path):
    calls = synthetic.attempts(600, seed=5)
    lines = [";".join([*calls.table, "outcome"])]
    for i, result in enumerate(calls.results):
        lines.append(";".join([*(str(values[i]) for values in calls.table.values()), str(result.outcome)]))
    path = tmp_path / "calls.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_learn_reports_each_head_beside_the_blind_mean_and_saves(calls_csv, tmp_path, capsys):
    folder = tmp_path / "models"
    arguments = [
        "learn",
        str(calls_csv),
        "--schema",
        "call-attempts",
        "--outcome",
        "outcome",
        "--registry",
        str(folder),
    ]
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [head["head"] for head in report["heads"]] == ["person", "machine", "busy", "no_answer"]
    assert report["rows"] == 600 and report["heads"][0]["rows"] == 180
    assert (
        {"log_loss", "ece", "auc", "block_auc"} <= set(report["heads"][0]["model"]) == set(report["heads"][0]["blind"])
    )
    assert Registry(folder).load(report["version"], synthetic.schema()).heads.keys() == {
        h["head"] for h in report["heads"]
    }
    plot = tmp_path / "calibration.svg"
    assert main([*arguments[:6], "--lang", "zh", "--trees", "--delay", "5", "--plot", str(plot)]) == 0
    assert "先预测后学习" in capsys.readouterr().out and plot.stat().st_size > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("mobile", "mobile;x", 1), "values for"),
        (lambda text: text.replace("outcome", "result", 1), "column 'outcome' is missing"),
        (lambda text: text.replace("tries;", "attempts;", 1), "column 'tries' is missing"),
        (lambda text: "", "no rows"),
    ],
    ids=["too wide", "no outcome", "no feature", "empty"],
)
def test_learn_says_what_is_wrong_with_a_file(calls_csv, capsys, change, message):
    calls_csv.write_text(change(calls_csv.read_text("utf-8")), "utf-8")
    assert main(["learn", str(calls_csv), "--schema", "call-attempts", "--outcome", "outcome"]) == 2
    assert message in capsys.readouterr().err


def test_a_table_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "calls.csv"
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_table(path)
    with pytest.raises(CordboardError, match="can't be read"):
        read_table(tmp_path / "absent.csv")
