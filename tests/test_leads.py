"""Leads that an agent sees before they are dialed, and numbers that agents dial: she is there first, and nobody is dropped."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from cordboard import Acd
from cordboard.calls.config import calls_record, parse_calls, record_calls
from cordboard.calls.state import State
from cordboard.calls.switchboard import Switchboard
from cordboard.calls.translate import commands_of
from cordboard.center import parse_center
from cordboard.errors import DuplicateError, EventError, LimitError, StaleEventError, UnknownNameError
from cordboard.media.backend import Cause
from cordboard.media.simulated import FarEnd
from tests.floor import CALLS, CENTER, NODE
from tests.floor import Floor as Desk
from tests.test_campaigns import AGENTS, BEGIN, Floor, listed
from tests.test_campaigns import CALLS as DIALER_CALLS

LEADS = (
    CALLS + '[campaigns.look]\nqueue = "billing"\ntrunk = "main"\nmode = "preview"\npreview = 30\n'
    '[campaigns.desk]\nqueue = "billing"\ntrunk = "main"\nmode = "manual"\ncaller = "4009"\n'
)


class Looking(Desk):
    """A floor whose li is ready, with a campaign of each kind."""

    def __init__(self, people: dict[str, FarEnd] | None = None, calls: str = LEADS) -> None:
        super().__init__(CENTER, calls, people)
        for campaign in ("look", "desk"):
            self.apply("campaign_started", campaign=campaign)
        self.ready("li")

    def lead(self, kind: str, entry: str = "e1", campaign: str = "look", agent: str = "li", **fields) -> list[dict]:
        return self.apply(f"lead_{kind}", campaign=campaign, entry=entry, agent=agent, **fields)

    def story(self) -> list[str]:
        kinds = ("attempt_", "lead_")
        found = [one for one in self.effects if one["effect"].startswith(kinds)]
        return [" ".join([one["effect"], *(one[key] for key in ("outcome", "reason") if key in one)]) for one in found]


def test_a_lead_is_looked_at_accepted_dialed_and_connected_to_the_agent_who_is_there():
    # Given a lead that is offered to an agent
    floor = Looking({"e1": FarEnd(rings=0.5, picks_up=3.0, hangs_up=20.0), "sip:li": FarEnd(rings=0.2, picks_up=2.0)})
    [told] = [one for one in floor.lead("offered", attempt=1) if one["effect"] == "lead_offered"]
    assert told["until"] == floor.board.now + 30.0
    # When somebody calls meanwhile, she is not offered the call
    caller = floor.call()
    floor.run(3.5)
    assert floor.board.acd.agent_state("li")["engaged"] and floor.hears(caller) == {"music"}
    # And when she accepts, her phone rings, and then the number is dialed
    floor.lead("accepted")
    floor.run(1.0)
    assert "attempt_dialed" not in floor.story()
    floor.run(2.0)
    assert floor.story()[-2:] == ["attempt_dialed", "attempt_ringing"]
    floor.run(3.0)
    # Then who answers talks to her at once, as a contact of the campaign's queue
    [leg] = [one["leg"] for one in floor.effects if one["effect"] == "leg_dial" and "entry" in one]
    assert floor.board.acd.agent_state("li")["contacts"] and floor.hears(leg) == {floor.phone("li")}
    assert floor.story() == [
        "lead_offered", "attempt_dialed", "attempt_ringing", "attempt_answered", "attempt_outcome connected",
    ]  # fmt: skip
    # And afterwards she has her wrap-up, and gets who waits
    floor.run(20.0)
    assert floor.story()[-1] == "attempt_ended" and floor.agent("li") == "wrap_up"
    floor.run(6.0)
    assert floor.board.acd.queue_state("billing")["waiting"] == 0


@pytest.mark.parametrize(
    ("far", "outcome"),
    [
        (FarEnd(picks_up=3.0, refuses=Cause.BUSY), "busy"),
        (FarEnd(picks_up=None), "no_answer"),
        (FarEnd(picks_up=3.0, refuses=Cause.INVALID), "invalid"),
    ],
)
def test_after_a_number_that_nobody_answers_the_agent_is_free_at_once(far, outcome):
    floor = Looking({"e1": far})
    floor.lead("offered", attempt=2)
    floor.lead("accepted")
    floor.run(60.0)
    assert floor.story()[-2:] == [f"attempt_outcome {outcome}", "attempt_ended"]
    assert floor.agent("li") == "ready" and not floor.board.acd.agent_state("li")["engaged"]
    assert not floor.board.state.calls and floor.board.acd.counts()["entered"] == 0


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        (lambda floor: floor.lead("skipped", reason="called yesterday"), "skipped"),
        (lambda floor: floor.run(31.0), "expired"),
        (lambda floor: floor.apply("agent_away", agent="li", reason="network"), "agent_left"),
        (lambda floor: floor.apply("agent_offline", agent="li"), "agent_left"),
        (lambda floor: floor.apply("campaign_paused", campaign="look"), "paused"),
        (lambda floor: floor.apply("calls_changed", calls=calls_record(floor.calls) | {"campaigns": {}}), "paused"),
    ],
)
def test_a_lead_that_is_not_dialed_is_over_once_and_its_agent_is_free(then, reason):
    floor = Looking()
    floor.lead("offered", attempt=1)
    then(floor)
    assert floor.story() == ["lead_offered", f"lead_over {reason}"]
    assert not floor.board.acd.agent_state("li")["engaged"] and floor.board.next_timer() is None
    with pytest.raises(EventError):
        floor.lead("accepted")
    assert not floor.board.state.calls


def test_an_agent_who_is_gone_from_the_center_has_no_lead():
    floor = Looking()
    floor.lead("offered", attempt=1)
    _, effects = floor.board.with_center(parse_center(CENTER.replace("[agents.li]\n", "")), floor.board.now)
    assert [one["reason"] for one in effects if one["effect"] == "lead_over"] == ["agent_left"]


def test_who_does_not_answer_the_own_phone_or_hangs_it_up_lets_nobody_wait():
    # Given an agent whose phone is not answered
    floor = Looking({"sip:li": FarEnd(rings=0.2, picks_up=None)})
    floor.lead("offered", attempt=1)
    floor.lead("accepted")
    floor.run(60.0)
    assert floor.story() == ["lead_offered", "lead_over no_answer"] and not floor.board.state.legs
    # And one who hangs up while the number rings
    floor = Looking({"e1": FarEnd(picks_up=None)})
    floor.lead("offered", attempt=1)
    floor.lead("accepted")
    floor.run(3.0)
    floor.media.hang_up(floor.phone("li"))
    floor.run(1.0)
    assert floor.story()[-2:] == ["attempt_outcome cancelled", "attempt_ended"] and not floor.board.state.legs
    # And one who gives it up by a click, before and after the number is dialed
    for seconds, last in ((0.05, "lead_over cancelled"), (3.0, "attempt_ended")):
        floor = Looking({"e1": FarEnd(picks_up=None)})
        floor.lead("offered", attempt=1)
        floor.lead("accepted")
        floor.run(seconds)
        floor.apply("campaign_cancelled", campaign="look", entry="e1")
        floor.run(1.0)
        assert floor.story()[-1] == last and not floor.board.state.legs


def test_what_must_not_be_is_refused_whoever_decides():
    floor = Looking({"e1": FarEnd(picks_up=None)})
    with pytest.raises(StaleEventError):  # not ready
        floor.lead("offered", agent="wang", attempt=1)
    with pytest.raises(UnknownNameError):
        floor.lead("offered", agent="nobody", attempt=1)
    with pytest.raises(EventError, match="an agent comes first"):
        floor.apply("campaign_dialed", campaign="look", entry="e1", attempt=1)
    with pytest.raises(EventError, match="has the mode preview"):
        floor.lead("dialed")
    with pytest.raises(EventError, match="has the mode manual"):
        floor.lead("offered", campaign="desk", attempt=1)
    floor.lead("offered", attempt=1)
    floor.ready("wang")
    with pytest.raises(DuplicateError):  # somebody looks at it
        floor.lead("offered", agent="wang", attempt=1)
    with pytest.raises(StaleEventError):  # she has one
        floor.lead("offered", entry="e2", attempt=1)
    with pytest.raises(StaleEventError):  # not hers
        floor.lead("accepted", agent="wang")
    floor.lead("accepted")
    with pytest.raises(DuplicateError):  # it is being called
        floor.lead("offered", agent="wang", attempt=2)
    floor.apply("campaign_paused", campaign="desk")
    with pytest.raises(StaleEventError, match="is paused"):
        floor.lead("dialed", entry="e3", campaign="desk", agent="wang")


def test_an_agent_dials_a_number_on_a_phone_that_is_up_and_has_a_contact_when_it_is_answered():
    calls = LEADS.replace('to = "sip:li"', 'to = "sip:li"\nnailed_up = true').replace(
        "music = ", 'record = true\nrecord_only = "out"\nmusic = '
    )
    floor = Looking({"e5": FarEnd(rings=0.5, picks_up=2.0, hangs_up=10.0)}, calls)
    floor.run(2.0)
    phone = floor.phone("li")
    floor.lead("dialed", "e5", "desk")
    [dial] = [one for one in floor.effects if one["effect"] == "leg_dial" and "entry" in one]
    assert dial["caller"] == "4009" and floor.board.acd.agent_state("li")["engaged"]
    floor.run(3.0)
    assert floor.hears(phone) == {dial["leg"]} and floor.agent("li") == "connected"
    [tape] = [one for one in floor.effects if one["effect"] == "leg_record"]
    assert (tape["campaign"], tape["entry"], tape["agent"]) == ("desk", "e5", "li")
    floor.run(10.0)
    assert floor.story()[-1] == "attempt_ended" and floor.phone("li") == phone and floor.agent("li") == "wrap_up"


def test_a_center_that_lost_the_queue_and_a_node_that_died_leave_nobody_hanging():
    # Given somebody who answers when the queue is gone: they talk all the same
    floor = Looking({"e1": FarEnd(picks_up=5.0, hangs_up=10.0)})
    floor.lead("offered", attempt=1)
    floor.lead("accepted")
    floor.run(3.0)
    floor.board.with_center(parse_center("[queues.other]\n[agents.li]\n[agents.wang]\n"), floor.board.now)
    floor.run(5.0)
    assert "attempt_outcome connected" in floor.story() and not floor.board.by_contact
    floor.run(10.0)
    assert floor.story()[-1] == "attempt_ended" and not floor.board.state.legs
    # And a node that dies while the agent's phone rings
    floor = Looking()
    floor.lead("offered", attempt=1)
    floor.lead("accepted")
    floor.media.close()
    floor.apply("node_lost", node=NODE)
    assert floor.story()[-1] == "lead_over no_answer" and not floor.board.state.legs


def test_a_dump_with_leads_goes_on_and_its_deadline_holds():
    floor = Looking()
    floor.lead("offered", attempt=1)
    state = json.loads(json.dumps(floor.board.state.record()))
    again = Switchboard(Acd.load(floor.center, floor.board.acd.dump()), floor.calls, State.of(state))
    assert again.state.record() == floor.board.state.record() and again.next_timer() == floor.board.next_timer()
    assert record_calls(json.loads(json.dumps(calls_record(floor.calls)))).campaigns == floor.calls.campaigns


def test_a_campaign_whose_agents_come_first_needs_no_message_and_no_short_queue():
    assert parse_calls(LEADS, parse_center(CENTER)).campaigns["look"].agent_first


# ---- who decides


PREVIEW = DIALER_CALLS.replace("MODE", "preview") + 'attempts = 2\n[campaigns.desk]\nqueue = "spring"\ntrunk = "main"\n' + (
    'mode = "manual"\nattempts = 2\nhours = ["mon-sun 00:00-24:00"]\n'
)


class Previewing(Floor):
    """A live engine with a dialer, whose agents accept, skip or let leads expire, as ``does`` says."""

    def __init__(self, folder, calls: str = PREVIEW, **fields) -> None:
        self.does = "accepted"
        super().__init__(folder, calls=calls, **fields)

    def carry(self) -> None:
        while entries := self.entries.poll():
            for entry in entries:
                self.media.send(commands_of(entry.effects, NODE, self.calls, self.book.number))
                for one in entry.effects:
                    if one["effect"] == "lead_offered" and self.does:
                        about = {key: one[key] for key in ("campaign", "entry", "agent")}
                        self.engine.submit({"event": f"lead_{self.does}", **about}).result()

    def begin(self, agents: int = 2, count: int = 50) -> None:
        listed(self, count)
        for agent in AGENTS[:agents]:
            self.submit("agent_ready", agent=agent)
        self.submit("campaign_started", campaign="spring")


def test_a_preview_campaign_offers_each_free_agent_one_lead_at_a_time_and_drops_nobody(tmp_path):
    # Given two agents who accept what they get
    floor = Previewing(tmp_path, answers=0.6)
    floor.begin()
    # When it goes on for half an hour
    floor.run(1800.0)
    floor.submit("campaign_paused", campaign="spring")
    floor.run(300.0)
    # Then many were connected, none dropped, none called too often, and the book has what the journal has
    outcomes = Counter(one["outcome"] for one in floor.effects("attempt_outcome"))
    assert outcomes["connected"] > 15 and not {"dropped", "hung_up"} & set(outcomes)
    assert floor.book.counts("spring")["attempts"] == dict(outcomes)
    assert max(Counter(floor.dialed).values()) <= 2
    offered, over, dialed = (len(floor.effects(kind)) for kind in ("lead_offered", "lead_over", "attempt_dialed"))
    assert offered == over + dialed
    assert floor.dialer.status("spring").asked == "preview"
    floor.close()


def test_skipped_leads_come_again_later_and_do_not_count_as_attempts(tmp_path):
    floor = Previewing(tmp_path, PREVIEW.replace("busy = 300", "busy = 300, skipped = 600"))
    floor.does = "skipped"
    floor.begin(agents=1, count=3)
    floor.run(60.0)
    assert len(floor.effects("lead_over")) == 3 and not floor.dialed
    floor.does = "accepted"
    floor.run(700.0)
    assert sorted(set(floor.dialed)) == ["9000000", "9000001", "9000002"]
    assert {one["attempt"] for one in floor.effects("lead_offered")} <= {1, 2}
    floor.close()


def test_an_agent_who_lets_a_lead_expire_is_away_and_the_lead_goes_to_another(tmp_path):
    floor = Previewing(tmp_path, PREVIEW.replace('mode = "preview"', 'mode = "preview"\npreview = 10'))
    floor.does = ""
    floor.begin(agents=1, count=1)
    floor.run(13.0)
    assert [one["reason"] for one in floor.effects("lead_over")] == ["expired"]
    state = floor.engine.read(lambda acd: acd.agent_state(AGENTS[0])).result()
    assert state["state"] == "away" and not state["engaged"]
    floor.does = "accepted"
    floor.submit("agent_ready", agent=AGENTS[1])
    floor.run(20.0)
    assert [one["agent"] for one in floor.effects("lead_offered")] == [AGENTS[0], AGENTS[1]] and len(floor.dialed) == 1
    floor.close()


def test_after_a_crash_a_lead_that_is_open_is_not_offered_twice(tmp_path):
    floor = Previewing(tmp_path)
    floor.does = ""
    floor.begin(agents=1, count=2)
    floor.run(3.0)
    [first] = floor.effects("lead_offered")
    floor.close()
    floor.open()
    for agent in AGENTS[1:3]:
        floor.submit("agent_ready", agent=agent)
    floor.run(5.0)
    entries = [one["entry"] for one in floor.effects("lead_offered")]
    assert len(entries) == len(set(entries)) == 2 and entries[0] == first["entry"]
    floor.close()


def test_a_number_that_must_not_be_dialed_is_refused_with_the_reason(tmp_path):
    # Given a number that agents may dial
    floor = Previewing(tmp_path)
    entry = str(floor.book.put("desk", "1390001", "UTC"))
    assert floor.book.put("desk", "1390001", "UTC") == int(entry) and floor.dialer.check("desk", entry) == 0.0
    # When it was dialed as often in a day as the campaign allows
    floor.submit("agent_ready", agent=AGENTS[0])
    floor.submit("campaign_started", campaign="desk")
    floor.answers = 0.0
    for _ in range(2):
        floor.run(5.0)
        floor.dialer.check("desk", entry)
        floor.submit("lead_dialed", campaign="desk", entry=entry, agent=AGENTS[0])
        floor.run(60.0)
    assert [one.attempt for one in floor.book.attempts("desk")] == [1, 2] and floor.dialed == ["1390001"] * 2
    # Then it can't be dialed, until a day is over
    with pytest.raises(EventError, match="2 times within 24 hours"):
        floor.dialer.check("desk", entry)
    floor.media.advance(BEGIN + 86_400.0 + 200.0)
    floor.submit("clock")
    floor.dialer.check("desk", entry)
    # Nor where it is night, nor who asked not to be called
    night = str(floor.book.put("spring", "1390002", "UTC"))
    floor.dialer.works["spring"].campaign = parse_calls(
        PREVIEW.replace("mon-sun 00:00-24:00", "mon-sun 10:00-10:01"), floor.center
    ).campaigns["spring"]
    with pytest.raises(EventError, match="at this hour"):
        floor.dialer.check("spring", night)
    floor.book.block(["1390001"])
    with pytest.raises(EventError, match="not to be called"):
        floor.dialer.check("desk", entry)
    floor.close()


def test_agents_take_turns_at_the_calls_per_second_of_a_campaign(tmp_path):
    floor = Previewing(tmp_path, PREVIEW.replace("attempts = 2\nhours", "attempts = 2\ncalls_per_second = 0.5\nhours"))
    entries = [str(floor.book.put("desk", f"139000{n}", "UTC")) for n in range(4)]
    assert [floor.dialer.check("desk", entry) for entry in entries[:3]] == [0.0, 2.0, 4.0]
    with pytest.raises(LimitError):
        floor.dialer.check("desk", entries[3])
    floor.close()


@pytest.mark.parametrize(
    ("early", "heard"),
    [((), "ringback"), (((425.0, 0.0, 9.0),), "the number")],
)
def test_the_agent_hears_it_ring_or_what_the_network_of_the_number_sends(early, heard):
    # Given a lead that she has accepted, and whose phone is up
    floor = Looking({"e1": FarEnd(rings=1.0, picks_up=3.0, early=early), "sip:li": FarEnd(rings=0.1, picks_up=0.2)})
    floor.lead("offered", attempt=1)
    floor.lead("accepted")
    floor.run(0.5)
    agent = floor.phone("li")
    [leg] = [one["leg"] for one in floor.effects if one["effect"] == "leg_dial" and "entry" in one]
    assert floor.hears(agent) == set()
    # When it rings, then she hears it, and the number does not hear her
    floor.run(1.0)
    assert floor.hears(agent) == {leg if heard == "the number" else heard} and floor.hears(leg) == set()
    # And when it is answered, she hears that one alone
    floor.run(2.0)
    assert floor.hears(agent) == {leg} and floor.hears(leg) == {agent}
    assert floor.phone("li") in {one["leg"] for one in floor.effects if one["effect"] == "leg_stop"} or early


@pytest.mark.parametrize(("early", "heard"), [((), {"ringback"}), (((425.0, 0.0, 9.0),), {"139"})])
def test_whoever_asks_somebody_hears_it_ring_while_the_caller_hears_the_hold_music(early, heard):
    floor = Looking({"139": FarEnd(rings=0.5, picks_up=9.0, early=early)})
    caller = floor.call()
    floor.run(10.0)
    [contact] = floor.board.by_contact
    floor.apply("call_consulted", contact=contact, to_number="139")
    floor.run(1.0)
    [asked] = [leg.name for leg in floor.board.state.legs.values() if leg.dial.get("number") == "139"]
    assert floor.hears(floor.phone("li")) == {asked if one == "139" else one for one in heard}
    assert floor.hears(caller) == {"hold"} and floor.hears(asked) == set()
    floor.apply("call_consult_ended", contact=contact, outcome="cancel")
    floor.run(0.5)
    assert floor.hears(floor.phone("li")) == {caller}
