"""The stores of a journal: the same tests for SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cordboard.errors import InputError, StoreError
from cordboard.live import Settings
from cordboard.live.store import Row, Store, make_store

Make = Callable[..., Store]


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes stores of one journal."""
    database = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    made: list[Store] = []

    def make_one(tenant: str = "default", *, read_only: bool = False) -> Store:
        made.append(make_store(Settings(data=tmp_path, database=database), tenant, read_only=read_only))
        return made[-1]

    yield make_one
    for store in made:
        store.close()


@pytest.fixture
def store(make: Make) -> Store:
    found = make()
    found.open()
    return found


def row(revision: int, request_id: str = "", ticks: int | None = None) -> Row:
    event = f'{{"event":"contact_left","contact":"联系 {revision}"}}'
    return Row(revision, 1_700_000_000_000_000 + revision if ticks is None else ticks, event, "工号 7", request_id)


def test_rows_come_back_as_they_were_written_and_in_order(store: Store) -> None:
    rows = [row(revision) for revision in range(1, 12_001)]
    for start, end in itertools.pairwise([0, 1, 4, 1_000, 12_000]):
        store.append(rows[start:end])

    assert store.last() == 12_000
    assert list(store.rows()) == rows
    assert list(store.rows(after=3, until=5_500)) == rows[3:5_500]
    assert list(store.rows(after=12_000)) == []


def test_what_was_written_is_there_when_it_is_opened_again(make: Make) -> None:
    store = make()
    store.open()
    store.append([row(1)])
    store.set_facts({"made": "{}", "center": "c"})
    store.close()
    store.close()

    again = make()
    again.open()

    assert list(again.rows()) == [row(1)] and again.fact("center") == "c" and again.fact("none") is None


def test_a_group_is_written_whole_or_not_at_all(store: Store) -> None:
    store.append([row(1)])

    with pytest.raises(StoreError, match="in use"):
        store.append([row(2), row(3), row(1)])
    with pytest.raises(StoreError):
        store.append([row(number) for number in [*range(2, 2_000), 1]])

    assert list(store.rows()) == [row(1)]
    store.append([row(2)])
    assert store.last() == 2


def test_request_ids_are_listed_from_a_time_on(store: Store) -> None:
    store.append([row(1, "a", 100), row(2, "b", 200), row(3, "", 300), row(4, "a", 400), row(5, "c", 400)])

    assert list(store.requests(since=100)) == [[(2, 200, "b"), (4, 400, "a"), (5, 400, "c")]]
    assert next(iter(store.requests(since=0)))[0] == (1, 100, "a")
    assert list(store.requests(since=400)) == []


def test_request_ids_of_many_rows_come_by_the_page(store: Store) -> None:
    store.append([row(revision, f"r{revision}") for revision in range(1, 12_001)])

    pages = list(store.requests(since=0))

    assert len(pages) > 1 and [one[0] for page in pages for one in page] == list(range(1, 12_001))


def test_rows_are_found_by_revision(store: Store) -> None:
    store.append([row(revision) for revision in range(1, 2_001)])

    assert store.get([3, 1_999, 2_001]) == {3: row(3), 1_999: row(1_999)}
    assert len(store.get(list(range(1, 2_001)))) == 2_000


def test_a_second_writer_is_kept_out_until_the_first_one_closes(make: Make, store: Store) -> None:
    second = make()
    with pytest.raises(StoreError, match="in use"):
        second.open()
    store.close()
    second.open()
    second.append([row(1)])


def test_a_reader_sees_what_a_writer_has_written_and_another_tenant_nothing(make: Make, store: Store) -> None:
    store.append([row(1)])
    reader = make(read_only=True)
    reader.open()
    assert list(reader.rows()) == [row(1)]

    other = make("other")
    other.open()
    assert list(other.rows()) == [] and list(other.requests(0)) == []
    with pytest.raises(StoreError, match="there is no journal"):
        make("third", read_only=True).open()


def test_rows_can_be_read_in_another_thread_while_more_are_written(store: Store) -> None:
    store.append([row(revision) for revision in range(1, 8_001)])
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.extend(r.revision for r in store.rows(until=8_000)))
    reader.start()
    for revision in range(8_001, 8_050):
        store.append([row(revision)])
    reader.join()

    assert seen == list(range(1, 8_001))


def test_snapshots_are_kept_until_they_are_dropped(store: Store) -> None:
    for revision in (10, 30, 20):
        store.put_snapshot(revision, "1.0", bytes([revision]) * 100_000)
    store.drop_snapshot(10)
    store.drop_snapshot(11)

    assert store.snapshots() == [(30, "1.0"), (20, "1.0")]
    assert store.snapshot(20) == bytes([20]) * 100_000
    with pytest.raises(StoreError):
        store.snapshot(10)


def test_a_probe_leaves_the_journal_as_it_was(store: Store) -> None:
    store.append([row(1)])
    store.probe()
    assert list(store.rows()) == [row(1)]


@pytest.mark.parametrize("tenant", ["", "..", "a/b", "A", "a_b", "-a", "a" * 64, 'a"b'])
def test_a_tenants_name_leads_nowhere_else(make: Make, tenant: str) -> None:
    with pytest.raises(InputError, match="tenant"):
        make(tenant)
