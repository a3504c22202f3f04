"""The registry under several writers, its history, and model files that were made to mislead."""

from __future__ import annotations

import hashlib
import json
import threading

import pytest

from cordboard import AnswerModel
from cordboard.errors import ModelFileError
from cordboard.learning import registry
from cordboard.learning.model import Result
from cordboard.learning.registry import AUDIT, MAGIC, POINTER, Registry, from_bytes, to_bytes
from cordboard.learning.schema import Schema

SCHEMA = Schema.from_dict(
    {"name": "x", "version": 1, "features": {"age": {"kind": "number", "known": "before_dial"}}}
)


def model_of(labels):
    model = AnswerModel(SCHEMA, ["success"])
    for i in range(labels):
        model.expect(str(i), {"age": i}, 0.0)
        model.learn(str(i), Result(success=i % 2 == 0), 1.0)
    return model


def test_rolling_back_twice_goes_back_twice_and_never_to_what_was_rolled_back(tmp_path):
    registry = Registry(tmp_path)
    first, second, _ = (registry.add(model_of(n), float(n)) for n in (1, 2, 3))
    assert [registry.roll_back(4.0), registry.roll_back(5.0)] == [second, first]
    with pytest.raises(ModelFileError, match="no earlier model"):
        registry.roll_back(6.0)
    assert registry.current() == first


def test_publishing_the_current_model_again_is_nothing_to_roll_back(tmp_path):
    registry = Registry(tmp_path)
    first = registry.add(model_of(1), 1.0)
    second = registry.add(model_of(2), 2.0)
    assert registry.add(model_of(2), 3.0) == second
    assert registry.roll_back(4.0) == first


def test_threads_that_write_one_registry_do_not_disturb_each_other(tmp_path):
    registry, failures = Registry(tmp_path), []
    models = [model_of(n) for n in range(4)]

    def write(model):
        try:
            for i in range(8):
                registry.add(model, float(i))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    published = [entry for entry in registry.audit() if entry["action"] == "publish"]
    assert len(published) == 32 and published[-1]["version"] == registry.current()
    # Pointer and log tell one story: each change begins where the one before it ended.
    assert [entry["notes"]["before"] for entry in published] == [None, *(e["version"] for e in published[:-1])]
    assert not list(tmp_path.glob(".*"))  # nothing half-written is left


@pytest.mark.parametrize("text", [b"\xff\xfe", b"../../etc", b"0123456789abcdef\n"])
def test_a_damaged_pointer_names_no_model(tmp_path, text):
    registry = Registry(tmp_path)
    registry.add(model_of(1), 1.0)
    (tmp_path / POINTER).write_bytes(text)
    with pytest.raises(ModelFileError, match=r"no version|can't be read"):
        registry.load()


@pytest.mark.parametrize("line", ['{"t": 1, "acti', "[]", '{"t": 1}'])
def test_a_damaged_line_of_the_audit_log_is_named(tmp_path, line):
    registry = Registry(tmp_path)
    registry.add(model_of(1), 1.0)
    with open(tmp_path / AUDIT, "a") as log:
        log.write(line)
    with pytest.raises(ModelFileError, match=r"audit\.jsonl:3: this line"):
        registry.roll_back(2.0)


def sealed(header, rest):
    body = MAGIC + len(header).to_bytes(8, "little") + header + rest
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    "change",
    [{"heads": []}, {"schema": 3}, {"settings": {}}, {"at": None}, {"arrays": [["x", "<f8", [0, 10**30]]]}],
)
def test_a_header_of_values_that_make_no_sense_is_refused_whatever_they_are(change):
    data = to_bytes(model_of(3))
    start = len(MAGIC) + 8
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    header = json.dumps({**json.loads(data[start : start + length]), **change}).encode()
    for schema in (None, SCHEMA):
        with pytest.raises(ModelFileError):
            from_bytes(sealed(header, data[start + length : -32]), schema)


def test_a_header_nested_too_deeply_is_refused():
    with pytest.raises(ModelFileError, match="header"):
        from_bytes(sealed(b"[" * 100_000, b""))


def test_a_system_without_file_locks_is_told_so_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "fcntl", None)
    with pytest.raises(ModelFileError, match="no locks"):
        Registry(tmp_path / "models").add(model_of(2), 1.0)
    assert not list(tmp_path.iterdir())
