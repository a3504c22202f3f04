"""The compiled way of batches between the wire and the journal gives what the general one gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard._core.wire import plain_events, session_response
from cordboard.errors import CordboardError, EventError
from cordboard.journal import check_event
from cordboard.live.center_json import encode
from cordboard.live.entry import Entry, Outcome
from cordboard.services.errors import status_of
from cordboard.services.translate import applied, event_of
from cordboard.v1 import journal_pb2 as journal
from cordboard.v1 import routing_service_pb2 as pb

texts = st.text(max_size=6) | st.sampled_from(["c1", "x" * 255, "x" * 256, "李雷", "é", "a\x9fb", 'a"b', "a\\b", "\x7f"])
agent, contact, both = {"agent": texts}, {"contact": texts}, {"contact": texts, "agent": texts}
kinds = st.one_of(
    *(
        st.builds(getattr(journal, name), **fields).map(lambda part, kind=kind: journal.Event(**{kind: part}))
        for kind, name, fields in (
            ("agent_ready", "AgentReady", agent),
            ("agent_away", "AgentAway", agent | {"reason": texts}),
            ("agent_offline", "AgentOffline", agent),
            ("contact_queued", "ContactQueued", contact | {"queue": texts}),
            ("contact_queued", "ContactQueued", contact | {"queue": texts, "priority": st.floats(0, 9)}),
            ("contact_queued", "ContactQueued", contact | {"queue": texts, "customer": texts}),
            ("contact_left", "ContactLeft", contact),
            ("offer_accepted", "OfferAccepted", both),
            ("offer_declined", "OfferDeclined", both),
            ("contact_ended", "ContactEnded", contact),
            ("wrap_up_ended", "WrapUpEndedByAgent", agent),
            ("priority_changed", "PriorityChanged", contact | {"priority": st.floats(0, 9)}),
            ("clock", "Clock", {}),
        )
    ),
    st.just(journal.Event()),
)


def generally(message):
    """An event and its JSON as the engine makes them, or None for what it does not take."""
    try:
        event = check_event({"t": 9.0, **event_of(message, "event")})
    except CordboardError:
        return None
    del event["t"]
    return event, encode(event)


@given(st.lists(kinds, max_size=5), st.lists(texts, max_size=2), st.booleans())
def test_a_plain_event_is_what_the_general_way_makes_of_it_and_others_are_left_to_that(events, ids, timed):
    for event in events if timed else ():
        event.time.seconds = 7
    found = plain_events(pb.EventBatch(events=events, request_ids=ids).SerializeToString())
    assert len(found) == len(events)
    for one, event in zip(found, events, strict=True):
        assert one is None or one == generally(event)


@given(kinds)
def test_most_events_are_plain(event):
    (found,) = plain_events(pb.EventBatch(events=[event]).SerializeToString())
    said = generally(event)
    if found is None and said is not None:  # then there is a reason
        names = "".join(str(value) for value in said[0].values())
        more = set(said[0]) - {"event", "contact", "agent", "queue", "reason"}
        assert more or said[0]["event"] == "clock" or set(names.encode()) & {0x22, 0x5C, 0xC2} or len(names.encode()) > 255


@given(st.binary(max_size=60))
def test_bytes_that_are_no_batch_do_no_harm(raw):
    try:
        assert isinstance(plain_events(raw), list)
    except ValueError as error:
        assert str(error) == "no EventBatch"


entries = st.builds(
    Entry,
    revision=st.integers(1, 2**62),
    t=st.integers(0, 9 * 10**15).map(lambda ticks: ticks / 1e6),
    event=st.just({"event": "clock"}),
    effects=st.sampled_from([(), ({"t": 5.5, "effect": "offer_expired", "contact": "c", "agent": "a"},)]),
    error=st.sampled_from([None, EventError("no")]),
    actor=st.just(""),
    request_id=st.just(""),
)


def outcome_message(outcome):
    try:
        return pb.Outcome(applied=applied(outcome))
    except CordboardError as error:
        return pb.Outcome(error=status_of(error))


@given(st.lists(st.builds(Outcome, entries, st.booleans()), max_size=4))
def test_outcomes_are_told_as_the_general_way_tells_them(outcomes):
    raw = session_response(outcomes, lambda outcome: outcome_message(outcome).SerializeToString())
    assert pb.SessionResponse.FromString(raw) == pb.SessionResponse(
        outcomes=pb.OutcomeBatch(outcomes=[outcome_message(outcome) for outcome in outcomes])
    )


def test_a_plain_event_names_what_it_names():
    event = journal.Event(contact_queued=journal.ContactQueued(contact="李", queue="q1"))
    raw = pb.EventBatch(events=[event], request_ids=["r1"]).SerializeToString()
    said = {"event": "contact_queued", "contact": "李", "queue": "q1"}
    assert plain_events(raw) == [(said, '{"event":"contact_queued","contact":"李","queue":"q1"}')]
    with pytest.raises(ValueError):
        plain_events(raw[:-3])
