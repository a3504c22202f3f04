"""Conversations: hold, mute, transfer, consult, conference, park, supervisors, recording."""

from __future__ import annotations

import pytest

from cordboard.errors import DuplicateError, EventError, StaleEventError, UnknownNameError
from cordboard.media.backend import Cause
from cordboard.media.simulated import FarEnd
from tests.floor import CALLS, CENTER, Floor


def talking(calls: str = CALLS, **phones: FarEnd) -> tuple[Floor, str, str]:
    """A floor with a caller and li in conversation."""
    floor = Floor(calls=calls, phones={f"sip:{name}": far for name, far in phones.items()})
    floor.ready("li")
    caller = floor.call()
    floor.run(5.0)
    return floor, caller, floor.phone("li")


def do(floor: Floor, kind: str, seconds: float = 2.0, contact: str = "c1", **fields) -> None:
    floor.apply(kind, contact=contact, **fields)
    floor.run(seconds)


def test_who_is_on_hold_hears_music_until_resumed():
    floor, caller, li = talking()
    do(floor, "call_held")
    assert floor.hears(caller) == {"hold"} and floor.hears(li) == set()
    with pytest.raises(StaleEventError, match="on hold already"):
        do(floor, "call_held")
    do(floor, "call_resumed")
    assert floor.hears(caller) == {li} and floor.hears(li) == {caller}


def test_a_muted_agent_hears_and_is_not_heard():
    floor, caller, li = talking()
    do(floor, "call_muted", on=True)
    assert floor.hears(caller) == set() and floor.hears(li) == {caller}
    do(floor, "call_muted", on=False)
    assert floor.hears(caller) == {li}


def test_nobody_is_put_on_hold_before_the_conversation():
    floor = Floor()
    floor.call()
    floor.run(4.0)
    with pytest.raises(EventError, match="not in conversation"):
        do(floor, "call_held")
    with pytest.raises(StaleEventError, match="no call that is here"):
        do(floor, "call_held", contact="c9")


# ---- transfer


def test_a_blind_transfer_to_an_agent_rings_that_agent_and_frees_the_first():
    floor, caller, _ = talking()
    floor.ready("wang")
    do(floor, "call_transferred", 0.5, to_agent="wang")
    assert floor.hears(caller) == {"music"} and floor.agent("li") == "wrap_up"
    floor.run(1.0)
    assert floor.hears(caller) == {floor.phone("wang")}
    assert floor.told()[-3:] == ["contact_ended c1", "contact_queued c1~2", "offer_accepted c1~2"]


def test_a_blind_transfer_to_an_agent_who_is_away_is_refused_and_the_conversation_goes_on():
    floor, caller, li = talking()
    with pytest.raises(StaleEventError, match="can't take a contact now: offline"):
        do(floor, "call_transferred", to_agent="wang")
    with pytest.raises(UnknownNameError, match="there is no agent"):
        do(floor, "call_transferred", to_agent="wong")
    assert floor.hears(caller) == {li}


def test_a_blind_transfer_to_a_queue_waits_there():
    floor, caller, _ = talking()
    do(floor, "call_transferred", 1.0, to_queue="billing", priority=5)
    assert floor.hears(caller) == {"music"} and floor.board.acd.queue_of("c1~2") == "billing"


def test_a_blind_transfer_to_a_number_goes_over_the_trunk_and_leaves_the_routing():
    floor, caller, _ = talking()
    do(floor, "call_transferred", 0.5, to_number="13900000001")
    [dial] = [e for e in floor.effects if e["effect"] == "leg_dial" and "number" in e]
    assert (dial["trunk"], dial["caller"]) == ("main", "4001") and floor.hears(caller) == {"hold"}
    floor.run(1.0)
    assert floor.hears(caller) == {dial["leg"]} and floor.board.acd.counts()["connected"] == 0
    floor.media.hang_up(caller)
    floor.run(0.0)
    assert not floor.media.legs()


def test_a_number_that_is_busy_ends_a_blind_transfer_with_an_announcement():
    floor, caller, _ = talking()
    floor.phones["139"] = FarEnd(picks_up=1.0, refuses=Cause.BUSY)
    do(floor, "call_transferred", 1.5, to_number="139")
    assert floor.hears(caller) == {"sorry"}
    floor.run(3.0)
    assert not floor.media.legs()


# ---- consultation and conference


def consulting(**phones: FarEnd) -> tuple[Floor, str, str, str]:
    floor, caller, li = talking(**phones)
    floor.ready("wang")
    do(floor, "call_consulted", to_agent="wang")
    return floor, caller, li, floor.phone("wang")


def test_an_agent_asks_another_while_the_caller_is_on_hold():
    floor, caller, li, wang = consulting()
    assert floor.hears(caller) == {"hold"} and floor.hears(li) == {wang} and floor.hears(wang) == {li}


def test_an_attended_transfer_makes_it_the_other_agents_contact_at_once():
    floor, caller, _, wang = consulting()
    do(floor, "call_consult_ended", 0.0, outcome="transfer")
    assert floor.hears(caller) == {wang} and floor.hears(wang) == {caller}
    assert floor.agent("wang") == "connected" and floor.agent("li") == "wrap_up"
    floor.media.hang_up(wang)
    floor.run(1.0)
    assert not floor.media.legs() and floor.told()[-1] == "contact_ended c1~2"


def test_a_cancelled_consultation_brings_the_caller_back():
    floor, caller, li, wang = consulting()
    do(floor, "call_consult_ended", outcome="cancel")
    assert floor.hears(caller) == {li} and wang not in floor.media.legs()


def test_one_who_is_asked_and_hangs_up_brings_the_caller_back():
    floor, caller, li, wang = consulting()
    floor.media.hang_up(wang)
    floor.run(0.0)
    assert floor.hears(caller) == {li} and floor.hears(li) == {caller}


def test_who_is_asked_must_have_answered_to_take_over():
    floor, caller, li, _ = consulting(wang=FarEnd(picks_up=None))
    with pytest.raises(EventError, match="has not answered"):
        do(floor, "call_consult_ended", outcome="transfer")
    floor.run(40.0)
    assert floor.hears(caller) == {li}


def test_a_conference_grows_by_consultations_and_goes_on_when_one_leaves():
    floor, caller, li, wang = consulting()
    do(floor, "call_consult_ended", outcome="conference")
    do(floor, "call_consulted", to_number="139")
    assert floor.hears(caller) == floor.hears(wang) == {"hold"}
    do(floor, "call_consult_ended", outcome="conference")
    everybody = {caller, li, wang, "d3"}
    assert all(floor.hears(leg) == everybody - {leg} for leg in everybody)
    floor.media.hang_up(li)
    floor.run(0.0)
    assert floor.hears(caller) == {wang, "d3"} and floor.board.acd.counts()["connected"] == 0


def test_the_agent_who_hangs_up_while_asking_leaves_the_two_others_together():
    floor, caller, li, wang = consulting()
    floor.media.hang_up(li)
    floor.run(0.0)
    assert floor.hears(caller) == {wang} and floor.hears(wang) == {caller}


# ---- who is asked, or listens, is not free meanwhile


def waiting_beside() -> tuple[Floor, str, str, str]:
    """li talks with c1 and asks wang; c2 waits for whoever is free first."""
    floor, caller, _, wang = consulting()
    other = floor.call()
    floor.run(4.0)
    return floor, caller, wang, other


def offers(floor: Floor) -> list[tuple[str, str]]:
    return [(e["contact"], e["agent"]) for e in floor.effects if e["effect"] == "offer"]


def test_who_is_asked_gets_no_offer_until_the_consultation_is_over():
    floor, _, _, other = waiting_beside()
    assert floor.agent("wang") == "connected" and floor.hears(other) == {"music"} and offers(floor) == [("c1", "li")]
    assert [e["effect"] for e in floor.effects if e.get("agent") == "wang"] == ["agent_engaged"]
    do(floor, "call_consult_ended", 0.0, outcome="cancel")
    assert offers(floor)[-1] == ("c2", "wang") and not floor.board.acd.agent_state("wang")["engaged"]


def test_who_is_asked_and_takes_over_gets_that_contact_before_those_who_wait_longer():
    floor, caller, wang, other = waiting_beside()
    do(floor, "call_consult_ended", 0.0, outcome="transfer")
    assert floor.hears(caller) == {wang} and floor.hears(other) == {"music"}
    assert floor.board.acd.agent_state("wang")["contacts"] == ["c1~2"] and floor.board.by_contact["c1~2"].agent == "wang"
    floor.media.hang_up(wang)
    floor.run(20.0)
    assert ("c2", "wang") in offers(floor) or ("c2", "li") in offers(floor)


def test_a_colleague_who_stays_in_a_conference_is_not_free_until_it_ends():
    floor, caller, wang, _ = waiting_beside()
    do(floor, "call_consult_ended", outcome="conference")
    floor.media.hang_up(floor.phone("li"))
    floor.run(1.0)
    assert floor.hears(caller) == {wang} and floor.agent("wang") == "connected"
    floor.media.hang_up(caller)
    floor.run(0.0)
    assert ("c2", "wang") in offers(floor)


def test_an_agent_who_listens_in_is_not_free_and_takes_over_as_its_contact():
    floor, caller, _ = talking()
    floor.ready("wang")
    do(floor, "call_monitored", supervisor="wang", mode="listen")
    floor.call()
    floor.run(4.0)
    assert offers(floor) == [("c1", "li")]
    do(floor, "call_taken_over", 0.0, supervisor="wang")
    assert floor.board.acd.agent_state("wang")["contacts"] == ["c1~2"] and floor.hears(caller) == {floor.phone("wang")}


def test_who_takes_over_what_the_routing_would_not_give_goes_on_without_a_contact():
    floor, caller, _, wang = consulting()
    floor.apply("agent_away", agent="wang")
    do(floor, "call_consult_ended", 0.0, outcome="transfer")
    assert floor.hears(caller) == {wang} and floor.board.acd.agent_state("wang")["engaged"]
    floor.media.hang_up(wang)
    floor.run(0.0)
    assert not floor.board.acd.agent_state("wang")["engaged"] and not floor.media.legs()


# ---- park


def test_a_parked_caller_is_picked_up_by_another_agent():
    floor, caller, _ = talking()
    do(floor, "call_parked", slot="p1")
    assert floor.hears(caller) == {"hold"} and floor.agent("li") == "wrap_up"
    floor.ready("wang")
    floor.apply("call_picked_up", slot="p1", agent="wang")
    floor.run(2.0)
    assert floor.hears(caller) == {floor.phone("wang")}
    with pytest.raises(StaleEventError, match="nobody is parked"):
        floor.apply("call_picked_up", slot="p1", agent="wang")


def test_a_parked_caller_is_not_picked_up_by_an_agent_who_is_not_in_the_queue():
    floor = Floor(CENTER + "[agents.zhao]\nqueues = { other = 1 }\n[queues.other]\n", CALLS + '[phones.zhao]\nto = "sip:zhao"\n')
    floor.ready("li", "zhao")
    caller = floor.call()
    floor.run(6.0)
    floor.apply("call_parked", contact=caller, slot="p1")
    with pytest.raises(EventError, match="may not get contacts"):
        floor.apply("call_picked_up", slot="p1", agent="zhao")
    assert floor.hears(caller) == {"hold"}


def test_a_slot_holds_one():
    floor, _, _ = talking()
    floor.ready("wang")
    floor.call()
    floor.run(5.0)
    do(floor, "call_parked", 0.0, slot="p1")
    with pytest.raises(DuplicateError, match="already"):
        do(floor, "call_parked", contact="c2", slot="p1")


# ---- supervisors


def test_a_supervisor_listens_whispers_barges_and_leaves():
    floor, caller, li = talking()
    do(floor, "call_monitored", supervisor="boss", mode="listen")
    boss = floor.phone("boss")
    assert floor.hears(boss) == {caller, li} and floor.hears(caller) == {li} and floor.hears(li) == {caller}
    do(floor, "call_monitored", supervisor="boss", mode="whisper")
    assert floor.hears(li) == {caller, boss} and floor.hears(caller) == {li}
    do(floor, "call_monitored", supervisor="boss", mode="barge")
    assert floor.hears(caller) == {li, boss}
    do(floor, "call_unmonitored", supervisor="boss")
    assert floor.hears(caller) == {li} and boss not in floor.media.legs()


def test_a_supervisor_takes_over():
    floor, caller, li = talking()
    do(floor, "call_monitored", supervisor="boss", mode="listen")
    do(floor, "call_taken_over", supervisor="boss")
    assert floor.hears(caller) == {floor.phone("boss")} and li not in floor.media.legs()
    assert floor.agent("li") == "wrap_up"


def test_a_supervisor_does_not_keep_a_conversation_alive():
    floor, caller, _ = talking()
    do(floor, "call_monitored", supervisor="boss", mode="barge")
    floor.media.hang_up(caller)
    floor.run(0.0)
    assert not floor.media.legs()


def test_only_people_with_a_phone_monitor():
    floor, _, _ = talking()
    with pytest.raises(UnknownNameError, match="has no phone"):
        do(floor, "call_monitored", supervisor="zhang", mode="listen")


# ---- recording


RECORDED = CALLS.replace("music = ", "record = true\nmusic = ")


def test_a_queue_with_the_rule_records_each_conversation_one_leg_a_channel():
    floor, caller, li = talking(RECORDED)
    floor.run(10.0)
    floor.media.hang_up(caller)
    floor.run(0.0)
    tape = floor.media.tapes["r1"]
    assert tape.legs == (caller, li) and (tape.since, tape.until) == (4.0, 15.0)
    [event] = [event for event in floor.journal if event["event"] == "leg_recorded"]
    assert event["file"] == "r1.cbr" and event["seconds"] == 11.0


def test_a_recording_pauses_for_card_data():
    floor, caller, _ = talking(RECORDED)
    do(floor, "call_recording", 3.0, on=False)
    do(floor, "call_recording", 3.0, on=True)
    floor.media.hang_up(caller)
    floor.run(0.0)
    assert floor.media.tapes["r1"].silences == [(5.0, 8.0)]


def test_without_a_rule_a_recording_begins_when_it_is_asked_for():
    floor, caller, li = talking()
    with pytest.raises(StaleEventError, match="not being recorded"):
        do(floor, "call_recording", on=False)
    do(floor, "call_recording", on=True)
    assert floor.media.tapes["r1"].legs == (caller, li)


def test_a_transferred_call_is_recorded_anew():
    floor, caller, _ = talking(RECORDED)
    floor.ready("wang")
    do(floor, "call_transferred", to_agent="wang")
    assert floor.media.tapes["r1"].until == 5.0 and floor.media.tapes["r2"].legs == (caller, floor.phone("wang"))
