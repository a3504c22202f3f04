"""The index of request ids, against a plain dict."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard._core.idmap import IdMap
from cordboard.live import requests
from cordboard.live.requests import KEPT_TICKS, MAP_TICKS, Requests

KEYS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 20).map(lambda n: n * 1024))


@given(st.lists(st.tuples(KEYS, st.integers(1, 2**62)), max_size=60), st.lists(KEYS, max_size=20))
def test_a_map_is_a_dict_also_where_keys_collide(pairs: list[tuple[int, int]], asked: list[int]) -> None:
    found, plain = IdMap(), dict(pairs)
    for key, value in pairs:
        found.add(key, value)
    assert len(found) == len(plain)
    assert [found.find(key) for key in [*asked, *plain]] == [plain.get(key, 0) for key in [*asked, *plain]]


def test_a_map_grows() -> None:
    found = IdMap()
    for number in range(100_000):
        found.add(number * 4096, number + 1)
    assert [found.find(number * 4096) for number in (0, 50_000, 99_999, 100_000)] == [1, 50_001, 100_000, 0]
    with pytest.raises(ValueError, match="below 1"):
        found.add(1, 0)


def test_it_finds_the_last_revision_of_each_id_over_all_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAP_MAX", 500)
    source = random.Random(3)
    index, plain = Requests(most=1_000_000), dict[str, int]()
    for revision in range(1, 8_000):
        request_id = f"id {source.randint(1, 6_000)}"
        index.add(request_id, revision, revision)
        plain[request_id] = revision
        if revision % 100 == 0:
            asked = [f"id {source.randint(1, 7_000)}" for _ in range(20)]
            assert index.find(asked) == {key: plain[key] for key in asked if key in plain}


def test_what_is_older_than_24_hours_is_dropped_and_what_is_younger_is_not() -> None:
    index = Requests(most=1_000_000)
    step = KEPT_TICKS // 1_000
    for revision in range(1, 5_001):
        index.add(str(revision), revision, revision * step)
    assert len(index.find([str(n) for n in range(4_001, 5_001)])) == 1_000
    assert len(index) <= 1_000 + 2 * MAP_TICKS // step + 2


def test_no_more_are_kept_than_the_bound_says_but_for_one_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAP_MAX", 100)
    index = Requests(most=500)
    for revision in range(1, 5_001):
        index.add(str(revision), revision, revision)
    assert len(index) <= 600
    assert len(index.find([str(n) for n in range(4_700, 5_001)])) == 301


def test_pages_of_a_journal_are_remembered_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAP_MAX", 700)
    rows = [(revision, revision * MAP_TICKS // 900, f"id {revision % 4_000}") for revision in range(1, 6_001)]
    one, many = Requests(most=1_000_000), Requests(most=1_000_000)
    for revision, ticks, request_id in rows:
        one.add(request_id, revision, ticks)
    many.add_all(rows[start : start + 250] for start in range(0, 6_000, 250))
    asked = [f"id {number}" for number in range(4_100)]
    assert many.find(asked) == one.find(asked) and len(many.find(asked)) == 4_000
