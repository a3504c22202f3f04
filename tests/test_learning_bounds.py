"""What must not get into a model: leaks under other names, settings and arrays outside their range, labels before their time."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from cordboard import AnswerModel
from cordboard.cli import main
from cordboard.errors import DataError, LimitError
from cordboard.learning import progressive
from cordboard.learning.best_time import CallingHours, legal_slots
from cordboard.learning.head import Settings
from cordboard.learning.model import Result
from cordboard.learning.progressive import read_table, validate
from cordboard.learning.schema import Schema, exists_after_call
from cordboard.learning.training import Recipe


def schema_of(**features):
    return Schema.from_dict({"name": "x", "version": 1, "features": features})


AGE = {"kind": "number", "known": "before_dial"}


@pytest.mark.parametrize(
    "name",
    ["duration", " Duration (s)", "call_duration", "duration_ms", "talkTime", "Talk-Time", "billsec", "talk_seconds", "y ",
     "Call result", "通话时长", "通话时长（秒）", "hangup.cause"],
)  # fmt: skip
def test_a_leak_is_known_under_its_other_spellings(name):
    with pytest.raises(DataError, match="would leak"):
        schema_of(**{name: AGE})


@pytest.mark.parametrize("name", ["age", "year", "campaign", "calls", "last_result", "previous", "minutes", "dayofweek"])
def test_what_is_known_before_the_call_is_no_leak(name):
    assert not exists_after_call(name)


def test_the_column_that_is_learned_cannot_be_a_feature_too(tmp_path, capsys):
    schema, records = tmp_path / "s.toml", tmp_path / "r.csv"
    schema.write_text('name="x"\nversion=1\n[features.sold]\nkind="number"\nknown="before_dial"\n')
    records.write_text("sold\n1\n0\n")
    assert main(["learn", str(records), "--schema", str(schema), "--target", "sold"]) == 2
    assert "can't be what is learned" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [{"window": 0.0}, {"window": np.nan}, {"strength": 0.0}, {"pool_share": 1.0}, {"pool_rate": -1.0}, {"pool_decay": 2.0},
     {"platt_rate": np.inf}, {"platt_decay": 5.0}, {"platt_pull": 3.0}, {"lanes": ((np.nan, 1, 1, 0),) * 4},
     {"lanes": ((0.1, 1, 1, 2),) * 4}, {"lanes": ((0.1, 1, 0, 0),) * 4}],
)  # fmt: skip
def test_settings_that_would_end_in_no_number_are_refused(change):
    with pytest.raises(DataError, match="settings can't be used"):
        AnswerModel(schema_of(age=AGE), settings=Settings(**change))


def test_a_schema_of_more_weights_than_memory_is_refused_before_any_is_taken():
    many = {f"f{i}": {"kind": "category", "known": "before_dial", "hash_bits": 20} for i in range(200)}
    with pytest.raises(LimitError, match="weights"):
        AnswerModel(schema_of(**many))


def test_a_model_without_a_feature_is_refused():
    with pytest.raises(DataError, match="no feature"):
        AnswerModel(schema_of(seconds={"kind": "number", "known": "after_call"}))


@pytest.mark.parametrize("value", [["a"], {}, 10**400, object()])
def test_a_value_of_no_type_that_a_feature_takes_is_named(value):
    line = {"kind": "category", "known": "before_dial", "hash_bits": 4}
    model = AnswerModel(schema_of(age=AGE, line=line))
    column = "age" if isinstance(value, int) else "line"
    with pytest.raises(DataError, match=column):
        model.predict({"age": 1, "line": "a", column: value})


def test_trees_do_not_train_on_labels_that_have_not_come(monkeypatch):
    seen = []

    def train(rows, y, recipe):
        seen.append(len(y))
        raise InterruptedError

    monkeypatch.setattr(progressive, "train", train)
    results = [Result(success=i % 3 == 0) for i in range(100)]
    model = AnswerModel(schema_of(age=AGE), ["success"])
    with pytest.raises(InterruptedError):
        validate(model, {"age": [str(i) for i in range(100)]}, results, delay=20, judged=0.5, recipe=Recipe())
    assert seen == [30]


@pytest.mark.parametrize("delay", [-1, 10**20])
def test_a_delay_that_is_no_number_of_rows_is_refused(delay):
    with pytest.raises(DataError, match="the delay is"):
        validate(AnswerModel(schema_of(age=AGE)), {"age": ["1"]}, [Result("person")], delay=delay)


@pytest.mark.parametrize("separator", ["", "ab", '"', "\n"])
def test_a_separator_is_one_sign(tmp_path, separator):
    with pytest.raises(DataError, match="separator"):
        read_table(tmp_path / "r.csv", separator)


def test_a_long_slot_in_which_the_clocks_change_is_legal_throughout_or_not_at_all():
    # 8 March 2026, New York: 01:00 to 14:00 on the clock, with the hours from 3 to 13 forbidden
    hours = CallingHours.from_dict({"sun": [["00:00", "03:00"], ["13:00", "21:00"]]})
    start = datetime(2026, 3, 8, 0, tzinfo=UTC)
    assert datetime(2026, 3, 8, 6, tzinfo=UTC) not in legal_slots(hours, ["America/New_York"], start, 2, 720)
    assert datetime(2026, 3, 8, 6, tzinfo=UTC) in legal_slots(hours, ["America/New_York"], start, 2, 60)


@pytest.mark.parametrize("asked", [{"days": np.inf}, {"days": np.nan}, {"minutes": 0}, {"minutes": 10**9}])
def test_slots_that_cannot_be_counted_are_refused(asked):
    hours = CallingHours.from_dict({"sun": [["08:00", "21:00"]]})
    with pytest.raises(DataError, match="slots"):
        legal_slots(hours, ["Asia/Shanghai"], datetime(2026, 3, 8, tzinfo=UTC), **asked)


def test_the_end_of_the_calendar_is_told():
    hours = CallingHours.from_dict({"sun": [["08:00", "21:00"]]})
    with pytest.raises(DataError, match="calendar"):
        legal_slots(hours, ["Asia/Shanghai"], datetime(9999, 12, 31, tzinfo=UTC))
