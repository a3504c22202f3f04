"""Calls of campaigns in the switchboard: dialed, answered, given to an agent or let go with a message; each accounted for."""

from __future__ import annotations

import json

import pytest

from cordboard import Acd
from cordboard.calls.config import Calls, calls_record, parse_calls, record_calls
from cordboard.calls.state import State
from cordboard.calls.switchboard import Switchboard
from cordboard.calls.translate import commands_of
from cordboard.center import parse_center
from cordboard.errors import CallsError, DuplicateError, EventError, StaleEventError
from cordboard.media.backend import Cause, Dial
from cordboard.media.simulated import FarEnd
from tests.floor import CALLS, CENTER, NODE, Floor

CAMPAIGN_CENTER = CENTER + "[queues.spring]\nmax_wait = 2\nwrap_up = 5\n"
CAMPAIGN_CALLS = CALLS.replace('to = "sip:li"', 'to = "sip:li"\nnailed_up = true').replace(
    'to = "sip:wang"', 'to = "sip:wang"\nnailed_up = true'
) + '[campaigns.spring]\nqueue = "spring"\ntrunk = "main"\nmessage = ["sorry"]\n'


class Dialed(Floor):
    """A floor with a campaign that dials."""

    def __init__(self, people: dict[str, FarEnd] | None = None, calls: str = CAMPAIGN_CALLS) -> None:
        super().__init__(CAMPAIGN_CENTER, calls, people)
        self.apply("campaign_started", campaign="spring")

    def dial(self, entry: str, attempt: int = 1) -> None:
        self.apply("campaign_dialed", campaign="spring", entry=entry, attempt=attempt)

    def story(self, entry: str) -> list[str]:
        found = [one for one in self.effects if one["effect"].startswith("attempt_") and one["entry"] == entry]
        assert not found or found.pop(0)["effect"] == "attempt_dialed"
        return [one["effect"].removeprefix("attempt_") + (" " + one["outcome"] if "outcome" in one else "") for one in found]


def test_who_picks_up_is_connected_with_a_free_agent_at_once_and_hears_nothing_else():
    # Given an agent whose phone is up, and a campaign
    floor = Dialed({"e7": FarEnd(rings=1.0, picks_up=4.0, hangs_up=30.0)})
    floor.ready("li")
    floor.run(2.0)
    # When a number is dialed and answered
    floor.dial("e7")
    [dial] = [one for one in floor.effects if one["effect"] == "leg_dial" and "entry" in one]
    assert (dial["campaign"], dial["entry"], dial["trunk"], dial["caller"]) == ("spring", "e7", "main", "4001")
    floor.run(5.0)
    # Then both hear each other, and the routing knows it as a contact
    assert floor.agent("li") == "connected"
    assert floor.hears(dial["leg"]) == {floor.phone("li")} and floor.hears(floor.phone("li")) == {dial["leg"]}
    floor.run(40.0)
    assert floor.story("e7") == ["ringing", "answered", "outcome connected", "ended"]
    assert not floor.board.state.calls and floor.agent("li") == "ready"


def test_who_picks_up_and_finds_no_agent_for_two_seconds_hears_the_message_and_is_let_go():
    floor = Dialed({"e7": FarEnd(picks_up=4.0)})
    floor.dial("e7")
    floor.run(6.5)
    [leg] = floor.media.legs()
    assert floor.hears(leg) == {"sorry"}
    assert floor.story("e7") == ["ringing", "answered", "outcome dropped"]
    [dropped] = [one["t"] for one in floor.effects if one["effect"] == "attempt_outcome"]
    assert dropped == 6.0
    floor.run(5.0)
    assert floor.story("e7")[-1] == "ended" and not floor.board.state.legs


@pytest.mark.parametrize(
    ("far", "outcome"),
    [
        (FarEnd(picks_up=3.0, refuses=Cause.BUSY), "busy"),
        (FarEnd(picks_up=3.0, refuses=Cause.INVALID), "invalid"),
        (FarEnd(picks_up=3.0, refuses=Cause.CONGESTION), "congestion"),
        (FarEnd(picks_up=None), "no_answer"),
        (FarEnd(picks_up=3.0, hangs_up=1.0), "hung_up"),
    ],
)
def test_every_attempt_has_exactly_one_outcome(far, outcome):
    floor = Dialed({"e7": far})
    floor.dial("e7")
    floor.run(60.0)
    assert [step for step in floor.story("e7") if step.startswith("outcome")] == [f"outcome {outcome}"]
    assert floor.story("e7")[-1] == "ended" and not floor.board.state.calls


def test_a_call_that_rings_can_be_given_up_and_one_that_was_answered_can_not():
    floor = Dialed({"e7": FarEnd(picks_up=None), "e8": FarEnd(picks_up=1.0)})
    floor.ready("li")
    floor.dial("e7")
    floor.dial("e8")
    floor.run(1.5)
    floor.apply("campaign_cancelled", campaign="spring", entry="e7")
    with pytest.raises(StaleEventError):
        floor.apply("campaign_cancelled", campaign="spring", entry="e8")
    floor.run(1.0)
    assert floor.story("e7") == ["ringing", "outcome cancelled", "ended"]
    assert floor.story("e8") == ["ringing", "answered", "outcome connected"]


def test_an_answer_that_crosses_a_cancelling_is_an_answer_that_got_nobody_and_is_counted_once():
    # Given a phone that is picked up at the moment in which its cancelling is on the way to the node
    floor = Dialed({"e7": FarEnd(picks_up=None)})
    floor.dial("e7")
    floor.run(1.5)
    [leg] = floor.media.legs()
    floor.media.pick_up(leg)
    floor.apply("campaign_cancelled", campaign="spring", entry="e7")
    with pytest.raises(StaleEventError):
        floor.apply("campaign_cancelled", campaign="spring", entry="e7")
    assert floor.story("e7") == ["ringing"], "how it came out is not known yet"
    floor.run(1.0)
    # Then it counts as answered and dropped, whoever reports it twice, and nothing is left
    assert floor.story("e7") == ["ringing", "answered", "outcome dropped", "ended"]
    assert not floor.board.state.calls and not floor.board.state.legs


def test_an_entry_is_not_dialed_while_it_is_being_called_or_while_the_campaign_is_paused():
    floor = Dialed({"e7": FarEnd(picks_up=None)})
    floor.dial("e7")
    with pytest.raises(DuplicateError):
        floor.dial("e7", 2)
    floor.apply("campaign_paused", campaign="spring")
    with pytest.raises(StaleEventError):
        floor.dial("e8")
    floor.run(40.0)
    assert floor.story("e7") == ["ringing", "outcome no_answer", "ended"] and floor.story("e8") == []


def test_without_a_node_nothing_is_dialed():
    floor = Dialed()
    floor.media.close()
    floor.apply("node_lost", node=NODE)
    with pytest.raises(EventError, match="no media node"):
        floor.dial("e7")


def test_a_node_that_is_lost_ends_its_attempts_and_those_who_had_picked_up_count_as_dropped():
    floor = Dialed({"e7": FarEnd(picks_up=None), "e8": FarEnd(picks_up=1.0)})
    floor.dial("e7")
    floor.dial("e8")
    floor.run(2.0)
    floor.media.close()
    floor.apply("node_lost", node=NODE)
    assert floor.story("e7")[-2:] == ["outcome lost", "ended"] and floor.story("e8")[-2:] == ["outcome dropped", "ended"]


def test_a_dialing_of_which_a_node_that_comes_back_knows_nothing_is_not_done_again():
    floor = Dialed({"e7": FarEnd(picks_up=None)})
    send, floor.media.send = floor.media.send, lambda commands: None
    floor.dial("e7")
    floor.media.send = send
    floor.apply("node_attached", node=NODE, capacity=1000, legs=[])
    assert floor.story("e7") == ["outcome lost", "ended"]
    floor.run(5.0)
    assert not floor.media.legs() and not floor.board.state.legs


def test_a_person_whose_contact_is_taken_out_by_hand_hears_the_message_too():
    floor = Dialed({"e7": FarEnd(picks_up=1.0)})
    floor.dial("e7")
    floor.run(1.5)
    [contact] = floor.board.by_contact
    floor.apply("contact_left", contact=contact)
    [leg] = floor.media.legs()
    assert floor.hears(leg) == {"sorry"} and floor.story("e7")[-1] == "outcome dropped"


def test_a_dump_in_the_middle_goes_on_and_a_journal_without_campaigns_is_read():
    floor = Dialed({"e7": FarEnd(picks_up=30.0)})
    floor.dial("e7")
    state = json.loads(json.dumps(floor.board.state.record()))
    again = Switchboard(Acd(floor.center), floor.calls, State.of(state))
    assert again.state.record() == floor.board.state.record() and again.dialing.find("spring", "e7") is not None
    assert again.state.campaigns == ["spring"]
    record = json.loads(json.dumps(calls_record(floor.calls)))
    assert record_calls(record).campaigns == floor.calls.campaigns
    del record["campaigns"]
    assert record_calls(record).campaigns == {} == Calls().campaigns
    assert isinstance(commands_of([one for one in floor.effects if one["effect"] == "leg_dial"], NODE, floor.calls)[0], Dial)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ('queue = "billing"', "could wait longer than 2 s"),
        ('trunk = "other"', 'there is no trunk "other"'),
        ("message = []", "would hear nothing"),
        ("ring = 10", "out of range"),
        ('hours = ["mon-fri 20:00-09:00"]', "are no hours"),
        ("redial = { never = 3 }", "is not known"),
        ('rules = ["mine"]', "are no abandonment rules"),
    ],
)
def test_what_the_law_or_the_center_forbids_is_an_error_of_the_file(wrong, what):
    key = wrong.split(" ")[0]
    head, tail = CAMPAIGN_CALLS.split("[campaigns.spring]\n")
    tail = "".join(line + "\n" for line in tail.splitlines() if not line.startswith(key + " "))
    with pytest.raises(CallsError, match=what):
        parse_calls(f"{head}[campaigns.spring]\n{tail}{wrong}\n", parse_center(CAMPAIGN_CENTER))


def test_agents_of_a_campaign_whose_phones_ring_are_warned_of():
    calls = parse_calls(CAMPAIGN_CALLS.replace("nailed_up = true", "nailed_up = false"), parse_center(CAMPAIGN_CENTER))
    assert any("rings while" in str(warning) for warning in calls.warnings)


LISTENING = CAMPAIGN_CALLS.replace('message = ["sorry"]', 'message = ["sorry"]\ndetect = true')


class Listening(Dialed):
    """The same, and machines are let go."""

    def __init__(self, people: dict[str, FarEnd], more: str = "") -> None:
        Floor.__init__(self, CAMPAIGN_CENTER, LISTENING.replace("detect = true", f"detect = true\n{more}"), people)
        self.apply("campaign_started", campaign="spring")
        self.ready("li")
        self.run(2.0)


@pytest.mark.parametrize(
    ("far", "story"),
    [
        (FarEnd(says=((0.3, 0.8),), hangs_up=20.0), ["outcome connected", "ended"]),
        (FarEnd(says=((0.2, 9.0),)), ["outcome machine", "ended"]),
        (FarEnd(sends=((1100.0, 0.4, 3.0),)), ["outcome machine", "ended"]),
        (FarEnd(hangs_up=20.0), ["outcome connected", "ended"]),  # nobody knows who it is: it may be a person
        (FarEnd(says=((0.3, 0.5),), hangs_up=0.6), ["outcome hung_up", "ended"]),
        (FarEnd(vanishes=0.1), ["outcome connected", "ended"]),
    ],
)
def test_a_campaign_that_listens_gives_persons_to_an_agent_and_lets_machines_go(far, story):
    floor = Listening({"e7": far})
    floor.dial("e7")
    floor.run(0.4)
    assert floor.story("e7") == ["ringing", "answered"] and floor.agent("li") == "ready"
    floor.run(40.0)
    assert floor.story("e7") == ["ringing", "answered", *story] and not floor.board.state.calls


def outcomes(floor: Dialed) -> list[dict]:
    return [one for one in floor.effects if one["effect"] == "attempt_outcome"]


def test_how_probable_a_machine_was_is_told_with_the_outcome_and_the_limit_is_the_campaigns():
    far = FarEnd(says=((0.2, 9.0),), hangs_up=30.0)
    strict = Listening({"e7": far}, "machine_at = 0.999")
    usual = Listening({"e7": far})
    for floor in (strict, usual):
        floor.dial("e7")
        floor.run(5.0)
    [connected], [machine] = outcomes(strict), outcomes(usual)
    assert (connected["outcome"], machine["outcome"]) == ("connected", "machine")
    assert 0.95 <= machine["machine"] < 0.999 and 0.9 < connected["machine"] < 0.999
    with pytest.raises(EventError, match="from 0 to 1"):
        usual.board.apply({"t": 99.0, "event": "leg_judged", "node": NODE, "leg": "d1", "machine": 1.5, "why": "certain", "after_s": 1.0})


@pytest.mark.parametrize(
    ("early", "outcome"),
    [
        (tuple((425.0, t, t + 0.5) for t in (0.5, 1.5, 2.5, 3.5)), "busy"),
        (tuple((450.0, t, t + 0.7) for t in (0.5, 1.9, 3.3, 4.7)), "congestion"),
        (((985.2, 0.4, 0.78), (1370.6, 0.78, 1.06), (1776.7, 1.06, 1.44)), "invalid"),
        (((950.0, 0.4, 0.74), (1400.0, 0.74, 1.06), (1800.0, 1.06, 1.4)), "unreachable"),
    ],
)
def test_tones_in_place_of_an_answer_end_the_call_with_their_cause(early, outcome):
    floor = Listening({"e7": FarEnd(rings=0.1, picks_up=None, early=early)})
    floor.dial("e7")
    floor.run(8.0)
    assert floor.story("e7") == ["ringing", f"outcome {outcome}", "ended"] and not floor.board.state.calls
    assert floor.agent("li") == "ready"


def test_ringing_in_early_media_is_waited_through_and_whoever_answers_then_is_a_person():
    early = tuple((425.0, t, t + 1.0) for t in (0.0, 5.0, 10.0))
    floor = Listening({"e7": FarEnd(rings=0.1, picks_up=10.6, early=early, says=((0.5, 1.0),), hangs_up=30.0)})
    floor.dial("e7")
    floor.run(13.0)
    assert floor.story("e7") == ["ringing", "answered", "outcome connected"] and floor.agent("li") == "connected"


def times(floor: Dialed) -> dict[str, float]:
    """When what happened to attempts, since the answer."""
    found = {one["effect"].removeprefix("attempt_"): one["t"] for one in floor.effects if one["effect"].startswith("attempt_")}
    return {kind: t - found["answered"] for kind, t in found.items() if kind in ("outcome", "ended")}


def test_who_was_listened_to_and_finds_no_agent_hears_the_message_two_seconds_after_the_answer():
    # Given the one agent away, and a person who is known as one after more than a second
    floor = Listening({"e7": FarEnd(says=((0.3, 0.8),))})
    floor.apply("agent_away", agent="li")
    # When somebody picks up
    floor.dial("e7")
    floor.run(1.9)
    assert floor.story("e7") == ["ringing", "answered"] and floor.board.acd.counts()["waiting"] == 1
    floor.run(10.0)
    # Then the queue's own two seconds do not begin anew with the verdict
    assert floor.story("e7") == ["ringing", "answered", "outcome dropped", "ended"]
    assert times(floor)["outcome"] == pytest.approx(2.0) and times(floor)["ended"] > 2.0  # the message is between them
    assert floor.board.acd.counts()["waiting"] == 0 and floor.board.next_timer() is None


@pytest.mark.parametrize(("there", "outcome"), [(True, "connected"), (False, "dropped")])
def test_a_node_that_never_says_who_it_is_keeps_nobody_longer_than_two_seconds(there, outcome):
    floor = Listening({"e7": FarEnd(says=((0.3, 0.8),), hangs_up=30.0)})
    report = floor.report
    floor.report = lambda event: None if event["event"] == "leg_judged" else report(event)
    if not there:
        floor.apply("agent_away", agent="li")
    floor.dial("e7")
    floor.run(20.0)
    assert floor.story("e7")[:3] == ["ringing", "answered", f"outcome {outcome}"]
    assert times(floor)["outcome"] == pytest.approx(2.0)


def test_a_node_that_can_not_listen_keeps_nobody_waiting_and_one_that_comes_back_listens_again():
    floor = Listening({"e7": FarEnd(says=((0.3, 0.8),), hangs_up=30.0)})
    floor.dial("e7")
    floor.pump()
    [leg] = [call.legs[0] for call in floor.board.state.calls.values()]
    effects = floor.apply("node_attached", node=NODE, capacity=1000, legs=sorted(floor.media.legs()))
    assert [one["leg"] for one in effects if one["effect"] == "leg_listen"] == [leg]
    floor.report({"event": "leg_refused", "node": NODE, "command": "Listen", "name": leg, "why": "no ears"})
    floor.run(0.0)
    assert floor.agent("li") == "connected" and floor.board.state.calls
