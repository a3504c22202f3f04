"""EventService against a live server: every revision, in order, without a gap; filtered, resumed, conflated."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest

from cordboard.center import parse_center
from cordboard.errors import SlowReaderError
from cordboard.live import Engine, Settings
from cordboard.live.access import ALL, Caller, Role
from cordboard.services.feed import BEHIND_MAX, HISTORIES_MAX, STRETCHES_MAX, Feed
from cordboard.services.translate import entry_message
from cordboard.v1 import event_service_pb2 as pb
from cordboard.v1 import event_service_pb2_grpc
from tests.serving import TENANT, served


@pytest.fixture
def live(tmp_path):
    with served(tmp_path) as found:
        yield found


def submit(live, kind, **fields):
    return live.engine.submit({"event": kind, **fields}).result(10)


def watch(live, **fields):
    return live.stub(event_service_pb2_grpc).Watch(pb.WatchRequest(parent=TENANT, **fields), timeout=60)


def take(call, count, found=None):
    """The first entries of a stream, put behind those that were found."""
    found = [] if found is None else found
    for message in call:
        found += message.entries
        if len(found) >= count:
            call.cancel()
            return found[:count]
    raise AssertionError("the stream ended")


def some_events(live, count, prefix="c"):
    for i in range(count):
        submit(live, "contact_queued", contact=f"{prefix}{i}", queue=("sales", "help")[i % 2])


def test_a_stream_from_the_first_revision_has_all_of_them_as_they_were(live):
    submit(live, "agent_ready", agent="ana")
    some_events(live, 20)
    submit_refused = live.engine.submit({"event": "contact_left", "contact": "nobody"}).result(10)
    assert submit_refused.entry.error is not None
    found = take(watch(live, start_revision=1), 22)
    subscription = live.engine.subscribe(0)
    assert [entry.revision for entry in found] == list(range(1, 23))
    assert found == [entry_message(entry) for entry in subscription.poll()]
    assert found[1].effects[0].offer.agent == "ana" and found[21].error.code == grpc.StatusCode.NOT_FOUND.value[0]


def test_a_stream_goes_on_with_what_comes_and_can_be_resumed_without_a_gap(live):
    some_events(live, 3)
    first = take(watch(live, start_revision=1), 2)
    rest = watch(live, start_revision=first[-1].revision + 1)
    thread = threading.Thread(target=some_events, args=(live, 50, "d"))
    thread.start()
    found = take(rest, 51)
    thread.join()
    assert [entry.revision for entry in (*first, *found)] == list(range(1, 54))


def test_many_viewers_all_see_everything(live):
    calls = [watch(live) for _ in range(20)]
    for call in calls:
        assert next(call).revision == 0  # all of them watch from here
    some_events(live, 100)
    for call in calls:
        assert [entry.revision for entry in take(call, 100)] == list(range(1, 101))


def test_a_filter_passes_what_it_names(live):
    submit(live, "agent_ready", agent="ana")
    some_events(live, 6)
    submit(live, "contact_left", contact="c1")
    submit(live, "agent_away", agent="ana")
    kinds = take(watch(live, start_revision=1, filter=pb.WatchFilter(kinds=["offer"])), 1)
    help_only = take(watch(live, start_revision=1, filter=pb.WatchFilter(queues=["help"])), 4)
    ana = take(watch(live, start_revision=1, filter=pb.WatchFilter(agents=["ana"])), 3)
    one = take(watch(live, start_revision=1, filter=pb.WatchFilter(contacts=["c1"])), 2)
    assert [entry.revision for entry in kinds] == [2]
    assert [entry.revision for entry in help_only] == [3, 5, 7, 8]  # c1 left from help
    assert [entry.revision for entry in ana] == [1, 2, 9]
    assert [entry.revision for entry in one] == [3, 8]


def test_a_stream_that_has_nothing_to_tell_tells_how_far_it_is(live):
    call = watch(live, filter=pb.WatchFilter(kinds=["contact_left"]), progress_interval={"seconds": 1})
    assert next(call).revision == 0
    some_events(live, 5)
    assert next(call).revision == 5
    call.cancel()


def many_events(live, count, prefix):
    """Queued and gone again, so that not all of them stay."""
    for start in range(0, count, 50):
        names = [f"{prefix}{i}" for i in range(start, start + 25)]
        events = [{"event": kind, "contact": name} for kind in ("contact_queued", "contact_left") for name in names]
        live.engine.submit_many([e | {"queue": "sales"} if "queued" in e["event"] else e for e in events]).result(30)


def test_what_memory_does_not_hold_comes_from_the_journal_and_goes_on_without_a_gap(tmp_path):
    with served(tmp_path, history=10) as live:
        submit(live, "agent_ready", agent="cy")
        many_events(live, 3000, "old")
        thread = threading.Thread(target=many_events, args=(live, 3000, "new"))
        thread.start()
        found = []
        while len(found) < 6001:  # memory holds little here: a reader who got no turn for a moment reads on from where he was
            try:
                take(watch(live, start_revision=len(found) + 1), 6001, found)
            except grpc.RpcError as slow:
                assert slow.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        thread.join()
        assert [entry.revision for entry in found] == list(range(1, 6002))
        assert found == [entry_message(entry) for entry in live.engine.entries()]


def test_more_than_can_be_read_from_the_journal_at_once_take_turns(tmp_path):
    with served(tmp_path, history=10) as live:
        many_events(live, 500, "old")
        calls = [watch(live, start_revision=1 + i) for i in range(3 * HISTORIES_MAX)]
        for i, call in enumerate(calls):
            assert [entry.revision for entry in take(call, 500 - i)] == list(range(1 + i, 501))
        gone = watch(live, start_revision=1)
        next(gone)
        gone.cancel()  # amid the journal: the turn goes to the next
        assert len(take(watch(live, start_revision=1), 500)) == 500


def run_feed(tmp_path, scenario):
    """A feed over an engine of its own, in a loop of its own: what a scenario of them gives."""

    async def main(engine):
        feed = Feed(engine, asyncio.get_running_loop())
        try:
            return await scenario(engine, feed)
        finally:
            feed.close()

    with Engine.open(parse_center("[queues.sales]\n"), Settings(data=tmp_path)) as engine:
        return asyncio.run(main(engine))


def leave(engine, count):
    """So many events, refused all, in one group."""
    return asyncio.wrap_future(engine.submit_many([{"event": "contact_left", "contact": "nobody"}] * count))


def test_those_at_the_end_are_told_the_same_bytes_and_those_behind_all_that_came(tmp_path):
    async def scenario(engine, feed):
        first, second, late = (feed.stretches(None, 30.0) for _ in range(3))
        assert [await anext(one) for one in (first, second, late)] == [0, 0, 0]
        told = []
        for _ in range(3 * STRETCHES_MAX):  # more than are kept for the late one
            await leave(engine, 2)
            one, other = await anext(first), await anext(second)
            assert one.messages(b"", lambda entry: entry)[0] is other.messages(b"", lambda entry: entry)[0]
            told += one.entries
        behind = []
        while len(behind) < len(told):
            behind += (await anext(late)).entries
        return told, behind

    told, behind = run_feed(tmp_path, scenario)
    assert [entry.revision for entry in told] == list(range(1, 6 * STRETCHES_MAX + 1)) and behind == told


def test_who_falls_too_far_behind_is_told_so_and_can_begin_again_there(tmp_path):
    async def scenario(engine, feed):
        slow, quick = feed.stretches(None, 30.0), feed.stretches(None, 30.0)
        assert (await anext(slow), await anext(quick)) == (0, 0)
        seen = 0
        while seen <= BEHIND_MAX:
            await leave(engine, 500)
            seen = (await anext(quick)).revision
        with pytest.raises(SlowReaderError) as told:
            await anext(slow)
        again = feed.stretches(told.value.revision, 30.0)
        assert await anext(again) == 0
        while (await anext(again)).revision < seen:
            pass

    run_feed(tmp_path, scenario)


@pytest.mark.parametrize(
    "fields",
    [
        {"start_revision": -1},
        {"start_revision": 99},
        {"progress_interval": {"seconds": 0}},
        {"conflate": True, "start_revision": 1},
        {"conflate": True, "max_rate_hz": 1000},
        {"conflate": True, "filter": pb.WatchFilter(kinds=["offer"])},
        {"filter": pb.WatchFilter(queues=[str(i) for i in range(1001)])},
    ],
)
def test_streams_that_can_not_be_are_refused(live, fields):
    with pytest.raises(grpc.RpcError) as raised:
        next(watch(live, **fields))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_conflated_stream_has_everything_first_and_then_only_the_latest_of_what_changed(live):
    call = watch(live, conflate=True, max_rate_hz=4)
    first = next(call)
    assert [len(first.queues), len(first.agents)] == [3, 3]
    for i in range(200):
        live.engine.submit({"event": "contact_queued", "contact": f"c{i}", "queue": "sales"})
    seen, messages = first, 0
    while seen.revision < 200:
        seen = next(call)
        messages += 1
    call.cancel()
    assert messages <= 10 and [queue.waiting_count for queue in seen.queues] == [200] and not seen.agents


def test_a_caller_sees_nothing_that_is_not_in_its_scope(tmp_path):
    qa = Caller("default", "quin", frozenset({Role.QA}), teams=frozenset(), queues=frozenset({"help"}))
    with served(tmp_path, local=qa) as live:
        submit(live, "agent_ready", agent="ana")
        some_events(live, 6)
        found = take(watch(live, start_revision=1), 3)
        assert {entry.event.contact_queued.queue for entry in found} == {"help"}
        assert not any(effect.HasField("offer") for entry in found for effect in entry.effects)
        state = next(watch(live, conflate=True))
        assert [queue.name.rsplit("/", 1)[1] for queue in state.queues] == ["help"] and not state.agents
        assert ALL not in (qa.queues, qa.teams)


def test_a_reader_who_does_not_read_is_dropped_with_a_clear_status_and_can_resume(tmp_path):
    # given a client that takes little ahead of what it reads
    options = (("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0))
    with served(tmp_path, history=30_000) as live, grpc.insecure_channel(live.address, options) as narrow:
        call = event_service_pb2_grpc.EventServiceStub(narrow).Watch(pb.WatchRequest(parent=TENANT), timeout=60)
        assert next(call).revision == 0  # and then reads nothing more
        note = "x" * 200
        for start in range(0, 24_000, 1000):
            live.engine.submit_many(
                [{"event": "agent_away", "agent": "ana", "reason": f"{note}{start + i}"} for i in range(1000)]
            ).result(30)
        last = 0
        with pytest.raises(grpc.RpcError) as raised:
            for message in call:
                last = message.revision
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and last < 24_000
        rest = take(watch(live, start_revision=last + 1), 24_000 - last)
        assert [entry.revision for entry in rest] == list(range(last + 1, 24_001))
