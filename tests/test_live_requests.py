"""The index of request ids, against a plain dict."""

from __future__ import annotations

import random

import pytest

from cordboard.live import requests
from cordboard.live.requests import KEPT_TICKS, Requests


def test_it_finds_what_a_dict_finds_through_all_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "LATE_MAX", 50)
    monkeypatch.setattr(requests, "RUN_MAX", 1_000)
    source = random.Random(3)
    index, plain = Requests(most=1_000_000), dict[str, int]()
    for revision in range(1, 8_000):
        request_id = f"id {source.randint(1, 6_000)}"
        index.add(request_id, revision, revision)
        plain[request_id] = revision
        if revision % 100 == 0:
            asked = [f"id {source.randint(1, 7_000)}" for _ in range(20)]
            assert index.find(asked) == {key: plain[key] for key in asked if key in plain}
    assert len(index._runs) < 30


def test_what_is_older_than_24_hours_is_dropped_and_what_is_younger_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "LATE_MAX", 10)
    monkeypatch.setattr(requests, "RUN_MAX", 100)
    index = Requests(most=1_000_000)
    step = KEPT_TICKS // 1_000
    for revision in range(1, 5_001):
        index.add(str(revision), revision, revision * step)
    assert len(index.find([str(n) for n in range(4_001, 5_001)])) == 1_000
    assert len(index) < 1_300


def test_no_more_are_kept_than_the_bound_says_but_for_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "LATE_MAX", 10)
    monkeypatch.setattr(requests, "RUN_MAX", 100)
    index = Requests(most=500)
    for revision in range(1, 5_001):
        index.add(str(revision), revision, revision)
    assert len(index) <= 610
    assert len(index.find([str(n) for n in range(4_700, 5_001)])) == 301
