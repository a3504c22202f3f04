"""Routing scenarios: a state, an event, what must come of it. The engine and the brute-force router both play them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cordboard.center import parse_center
from cordboard.errors import CordboardError
from tests.oracle.day import Day
from tests.oracle.duel import OracleEngine

DayOf = Callable[[str], Day]


@pytest.fixture(params=["engine", "oracle"])
def day_of(request: pytest.FixtureRequest) -> DayOf:
    """Makes a day of a center's text."""

    def make(text: str) -> Day:
        center = parse_center(text)
        if request.param == "oracle":
            return Day(OracleEngine(center))
        from cordboard.acd import Acd

        return Day(Acd(center))

    return make


def agents(*names: str, **fields: str) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in fields.items())
    return "".join(f"[agents.{name}]\n{lines}" for name in names)


# -- who is offered -------------------------------------------------------------------------------------------------


def test_a_free_agent_gets_the_contact_that_comes(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li"))
    assert day("0 agent_ready li") == []
    assert day("5 contact_queued c1 q") == ["5 offer c1 li"]


def test_a_waiting_contact_goes_to_the_agent_who_becomes_ready(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li"))
    assert day("0 contact_queued c1 q") == []
    assert day("5 agent_ready li") == ["5 offer c1 li"]


def test_agents_are_offline_until_they_say_that_they_are_ready(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li"))
    assert day("0 contact_queued c1 q") == []
    assert day("9 clock") == []


def test_an_agent_outside_the_contacts_tier_window_never_rings_and_the_contact_times_out(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nmax_wait = 3\n" + agents("li", queues="{ q = 2 }"))
    day("0 agent_ready li")
    assert day("0 contact_queued c1 q", max_tier=1) == []
    assert day("10 clock") == ["3 contact_expired c1"]


def test_nobody_rings_while_all_are_away_and_only_the_other_while_one_is(day_of: DayOf) -> None:
    day = day_of("[queues.q]\noffer_timeout = 5\nmax_wait = 20\n" + agents("li", "wu"))
    assert day.all("0 agent_away li", "0 agent_away wu", "0 contact_queued c1 q") == []
    assert day("3 agent_ready wu") == ["3 offer c1 wu"]
    assert day("30 clock") == ["8 offer_expired c1 wu", "20 contact_expired c1"]


def test_an_agent_who_is_busy_is_not_called_and_so_misses_nothing(day_of: DayOf) -> None:
    day = day_of("[queues.q]\noffer_timeout = 5\nmax_no_answer = 1\nmax_wait = 9\n" + agents("li"))
    assert day.all("0 agent_ready li", "0 contact_queued c1 q", "1 offer_accepted c1 li") == ["0 offer c1 li"]
    assert day.all("2 contact_queued c2 q", "20 clock") == ["11 contact_expired c2"]
    assert day.all("21 contact_ended c1", "22 contact_queued c3 q") == ["22 offer c3 li"]


def test_the_lower_tier_is_asked_first_and_the_next_when_it_is_busy(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("wu", queues="{ q = 2 }") + agents("li", queues="{ q = 1 }"))
    day.all("0 agent_ready wu", "5 agent_ready li")
    assert day.all("6 contact_queued c1 q", "6 contact_queued c2 q") == ["6 offer c1 li", "6 offer c2 wu"]


def test_a_tier_rule_opens_a_tier_at_its_second_and_the_contact_keeps_its_place(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li", queues="{ q = 8 }"))
    day("0 agent_ready li")
    assert day("0 contact_queued c1 q", max_tier=5, tier_rules=[{"after": 30, "max_tier": 8}]) == []
    assert day("29.999999 clock") == []
    assert day("29.999999 contact_queued c2 q", max_tier=7) == []
    assert day("30 clock") == ["30 offer c1 li"]


def test_a_tier_rule_can_shut_out_the_first_tier(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li", queues="{ q = 1 }") + agents("wu", queues="{ q = 2 }"))
    day("0 contact_queued c1 q", tier_rules=[{"after": 10, "min_tier": 2}])
    assert day("10 agent_ready li") == []
    assert day("11 agent_ready wu") == ["11 offer c1 wu"]


@pytest.mark.parametrize(("multiplies", "opens"), [("true", 600), ("false", 300)])
def test_the_second_tier_opens_after_the_tier_wait(day_of: DayOf, multiplies: str, opens: int) -> None:
    text = f"[queues.q]\ntier_wait = 300\ntier_wait_multiplies = {multiplies}\n"
    day = day_of(text + agents("li", queues="{ q = 2 }"))
    day.all("0 agent_ready li", "0 contact_queued c1 q")
    assert day(f"{opens - 0.000001:.6f} clock") == []
    assert day(f"{opens} clock") == [f"{opens} offer c1 li"]


def test_a_contact_waits_out_its_queues_delay_to_the_microsecond(day_of: DayOf) -> None:
    day = day_of("[queues.q]\ndelay = 30\n" + agents("li"))
    day.all("0 agent_ready li", "0.000001 contact_queued c1 q")
    assert day("30 clock") == []
    assert day("30.000001 clock") == ["30 offer c1 li"]


def test_a_skill_level_at_the_minimum_is_enough_and_below_it_is_not(day_of: DayOf) -> None:
    day = day_of(
        "[queues.q]\nrequires = { zh = 5 }\n" + agents("li", skills="{ zh = 4 }") + agents("wu", skills="{ zh = 5 }")
    )
    day.all("0 agent_ready li", "1 agent_ready wu")
    assert day("2 contact_queued c1 q") == ["2 offer c1 wu"]


def test_a_step_widens_at_its_exact_end_for_the_agent_who_waits(day_of: DayOf) -> None:
    text = (
        "[queues.q]\nsteps = [ { for = 30, requires = { fr = 4, db = 5 } }, { for = 30, requires = { fr = 3 } } ]\n"
        + agents("li", skills="{ fr = 3, db = 5 }")
        + agents("wu", skills="{ fr = 5, db = 5 }")
    )
    day = day_of(text)
    assert day.all("0 agent_ready li", "0 contact_queued c1 q", "29.9 clock") == []
    assert day("40 clock") == ["30 offer c1 li"]
    day = day_of(text)
    assert day.all("0 agent_ready li", "0 contact_queued c1 q", "10 agent_ready wu") == ["10 offer c1 wu"]


def test_after_the_last_timed_step_membership_alone_counts(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nsteps = [ { for = 30, requires = { fr = 4 } } ]\n" + agents("li", "wu"))
    day.all("0 agent_ready li", "0 contact_queued c1 q")
    assert day("40 clock") == ["30 offer c1 li"]


def test_a_last_step_without_end_is_never_widened(day_of: DayOf) -> None:
    text = "[queues.q]\nsteps = [ { for = 30, requires = { fr = 4 } }, { requires = { fr = 2 } } ]\n"
    day = day_of(text + agents("li", skills="{ fr = 1 }"))
    assert day.all("0 agent_ready li", "0 contact_queued c1 q", "100000 clock") == []


def test_a_contacts_own_requirements_replace_its_queues(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nrequires = { zh = 9 }\n" + agents("li", skills="{ fr = 1 }"))
    day("0 agent_ready li")
    assert day("0 contact_queued c1 q", requires={"fr": 1}) == ["0 offer c1 li"]


def test_the_preferred_agent_gets_it_if_eligible_and_nobody_waits_for_him(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li", "wu"))
    day.all("0 agent_ready li", "5 agent_ready wu")
    assert day("9 contact_queued c1 q", preferred_agent="wu") == ["9 offer c1 wu"]
    assert day("9 contact_queued c2 q", preferred_agent="wu") == ["9 offer c2 li"]


def test_a_sticky_queue_gives_a_customer_to_the_agent_of_last_time(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nsticky = true\n" + agents("li", "wu"))
    day.all("0 agent_ready li", "1 agent_ready wu")
    day("2 contact_queued c1 q", customer="u1")
    day.all("3 offer_accepted c1 li", "9 contact_ended c1")
    assert day("10 contact_queued c2 q", customer="u2") == ["10 offer c2 wu"]
    assert day.all("11 offer_accepted c2 wu", "20 contact_ended c2") == []
    assert day("21 contact_queued c3 q", customer="u2") == ["21 offer c3 wu"]


# -- strategies ------------------------------------------------------------------------------------------------------


def test_longest_idle_counts_from_ready_and_from_the_end_of_the_last_contact(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li", "wu", "hu"))
    day.all("0 agent_ready li", "1 agent_ready wu", "2 agent_ready hu")
    day.all("3 contact_queued c1 q", "3 offer_accepted c1 li", "4 contact_ended c1")
    offers = day.all("5 contact_queued c2 q", "5 contact_queued c3 q", "5 contact_queued c4 q")
    assert offers == ["5 offer c2 wu", "5 offer c3 hu", "5 offer c4 li"]


def test_fewest_contacts_asks_those_who_handled_least(day_of: DayOf) -> None:
    day = day_of('[queues.q]\nstrategy = "fewest_contacts"\n' + agents("li", "wu"))
    day.all("0 agent_ready li", "0 agent_ready wu")
    assert day("1 contact_queued c1 q") == ["1 offer c1 li"]
    day.all("1 offer_accepted c1 li", "2 contact_ended c1", "3 agent_away li", "4 agent_ready li")
    assert day("5 contact_queued c2 q") == ["5 offer c2 wu"]


def test_linear_always_begins_with_the_first_of_the_file(day_of: DayOf) -> None:
    day = day_of('[queues.q]\nstrategy = "linear"\n' + agents("li", "wu"))
    day.all("0 agent_ready wu", "1 agent_ready li")
    for name in ("c1", "c2"):
        assert day(f"2 contact_queued {name} q") == [f"2 offer {name} li"]
        day.all(f"2 offer_accepted {name} li", f"2 contact_ended {name}")


def test_round_robin_goes_on_after_the_agent_offered_last_and_wraps(day_of: DayOf) -> None:
    day = day_of('[queues.q]\nstrategy = "round_robin"\n' + agents("li", "wu", "hu"))
    day.all("0 agent_ready li", "0 agent_ready wu", "0 agent_ready hu")
    offered = []
    for index in range(5):
        effect = day(f"{index} contact_queued c{index} q")[0]
        offered.append(effect.split()[-1])
        day.all(f"{index} offer_accepted c{index} {offered[-1]}", f"{index} contact_ended c{index}")
    assert offered == ["li", "wu", "hu", "li", "wu"]


def test_most_skilled_and_least_skilled_sum_the_required_levels(day_of: DayOf) -> None:
    two = agents("li", skills="{ zh = 9, fr = 1 }") + agents("wu", skills="{ zh = 4, fr = 5 }")
    for strategy, first in (("most_skilled", "li"), ("least_skilled", "wu")):
        day = day_of(f'[queues.q]\nstrategy = "{strategy}"\nrequires = {{ zh = 1, fr = 1 }}\n' + two)
        day.all("0 agent_ready li", "0 agent_ready wu")
        assert day("1 contact_queued c1 q") == [f"1 offer c1 {first}"]


def test_least_occupied_is_not_forgotten_over_a_break(day_of: DayOf) -> None:
    day = day_of('[queues.q]\nstrategy = "least_occupied"\n' + agents("li", "wu"))
    day.all("0 agent_ready li", "0 agent_ready wu")
    day.all("0 contact_queued c1 q", "0 offer_accepted c1 li", "50 contact_ended c1")
    day.all("60 agent_away li", "70 agent_ready li")
    assert day("100 contact_queued c2 q") == ["100 offer c2 wu"]


def test_ring_all_rings_the_first_tier_together_and_the_first_to_accept_wins(day_of: DayOf) -> None:
    text = '[queues.q]\nstrategy = "ring_all"\n'
    day = day_of(text + agents("li", "wu") + agents("hu", queues="{ q = 2 }"))
    day.all("0 agent_ready li", "0 agent_ready wu", "0 agent_ready hu")
    assert day("1 contact_queued c1 q") == ["1 offer c1 li", "1 offer c1 wu"]
    assert day("2 offer_accepted c1 wu") == ["2 offer_withdrawn c1 li"]
    assert day("3 contact_queued c2 q") == ["3 offer c2 li"]


def test_the_weighted_strategy_adds_what_it_is_told_to(day_of: DayOf) -> None:
    text = '[queues.q]\nstrategy = "weighted"\nweights = { idle = 1, value = 10 }\n'
    day = day_of(text + agents("li", "wu"))
    day.all("0 agent_ready li", "5 agent_ready wu")
    assert day("6 contact_queued c1 q", values={"wu": 0.6}) == ["6 offer c1 wu"]
    assert day("6 contact_left c1") == ["6 offer_withdrawn c1 wu"]
    assert day("6 contact_queued c2 q", values={"wu": 0.4}) == ["6 offer c2 li"]


# -- which contact ---------------------------------------------------------------------------------------------------


def test_priority_orders_by_queue_weight_then_priority_then_wait(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n[queues.vip]\nweight = 10\n" + agents("li"))
    day("0 contact_queued c1 q")
    day("1 contact_queued c2 q", priority=2)
    day("2 contact_queued c3 q", priority=2)
    day("3 contact_queued c4 vip")
    order = []
    effects = day("4 agent_ready li")
    while effects:
        order.append(effects[0].split()[2])
        day(f"4 offer_accepted {order[-1]} li")
        effects = day(f"4 contact_ended {order[-1]}")
    assert order == ["c4", "c2", "c3", "c1"]


def test_a_changed_priority_counts_at_once_with_the_original_arrival(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li"))
    day("0 contact_queued c1 q")
    day("1 contact_queued c2 q", priority=1)
    day("2 priority_changed c1 1")
    assert day("3 agent_ready li") == ["3 offer c1 li"]


def test_a_point_of_priority_is_a_second_of_head_start_by_score(day_of: DayOf) -> None:
    day = day_of('[center]\norder = "score"\n[queues.q]\n' + agents("li"))
    day("0 contact_queued c1 q")
    day("9 contact_queued c2 q", priority=10)
    assert day("10 agent_ready li") == ["10 offer c2 li"]


def test_by_ratio_the_queue_with_the_nearer_target_goes_first(day_of: DayOf) -> None:
    text = (
        '[center]\norder = "ratio"\n[queues.slow]\ntarget = { within = 60 }\n[queues.fast]\ntarget = { within = 10 }\n'
    )
    day = day_of(text + agents("li"))
    day.all("0 contact_queued c1 slow", "10 contact_queued c2 fast")
    assert day("13 agent_ready li") == ["13 offer c2 li"]  # 13/60 < 3/10


def test_a_contact_nobody_may_take_yet_does_not_hold_back_the_one_behind_it(day_of: DayOf) -> None:
    day = day_of("[queues.a]\nweight = 66\n[queues.b]\nweight = 65\n" + agents("li", queues="{ a = 2, b = 1 }"))
    day("0 contact_queued c1 a", max_tier=1, tier_rules=[{"after": 30, "max_tier": 2}])
    day("0 contact_queued c2 b")
    assert day("1 agent_ready li") == ["1 offer c2 li"]
    assert day.all("2 offer_accepted c2 li", "20 contact_ended c2", "40 clock") == ["30 offer c1 li"]


def test_a_call_back_keeps_its_place_in_line(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li"))
    day("10 contact_queued c1 q")
    day("20 contact_queued c2 q", queued_at=5)
    assert day("21 agent_ready li") == ["21 offer c2 li"]


def test_a_contact_that_rings_does_not_stand_in_line(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li", "wu"))
    day.all("0 contact_queued c1 q", "1 contact_queued c2 q")
    assert day("2 agent_ready li") == ["2 offer c1 li"]
    assert day("3 agent_ready wu") == ["3 offer c2 wu"]


def test_three_idle_agents_and_three_contacts_are_three_offers_in_one_event(day_of: DayOf) -> None:
    day = day_of("[queues.q]\ndelay = 5\n" + agents("li", "wu", "hu"))
    day.all("0 agent_ready li", "0 agent_ready wu", "0 agent_ready hu")
    day.all("1 contact_queued c1 q", "1 contact_queued c2 q", "1 contact_queued c3 q")
    assert day("6 clock") == ["6 offer c1 li", "6 offer c2 wu", "6 offer c3 hu"]


def test_one_agent_and_two_contacts_at_one_instant_are_one_offer(day_of: DayOf) -> None:
    day = day_of("[queues.q]\ndelay = 5\n" + agents("li"))
    assert day.all("0 contact_queued c1 q", "0 contact_queued c2 q", "5 agent_ready li") == ["5 offer c1 li"]


# -- offers ----------------------------------------------------------------------------------------------------------


def test_a_missed_offer_goes_to_the_next_best_in_the_same_event_and_never_back(day_of: DayOf) -> None:
    day = day_of("[queues.q]\noffer_timeout = 10\n" + agents("li", "wu"))
    day.all("0 agent_ready li", "1 agent_ready wu")
    day("2 contact_queued c1 q")
    assert day("12 clock") == ["12 offer_expired c1 li", "12 offer c1 wu"]
    assert day("30 clock") == ["22 offer_expired c1 wu"]
    assert day("31 contact_queued c2 q") == ["31 offer c2 li"]


def test_an_offer_can_be_accepted_until_just_before_its_deadline(day_of: DayOf) -> None:
    day = day_of("[queues.q]\noffer_timeout = 10\n" + agents("li"))
    day.all("0 agent_ready li", "0 contact_queued c1 q")
    assert day("9.999999 offer_accepted c1 li") == []
    day = day_of("[queues.q]\noffer_timeout = 10\n" + agents("li"))
    day.all("0 agent_ready li", "0 contact_queued c1 q")
    assert day("10 clock") == ["10 offer_expired c1 li"]
    with pytest.raises(CordboardError):
        day("10 offer_accepted c1 li")


def test_an_offer_without_a_limit_stays_open(day_of: DayOf) -> None:
    day = day_of("[queues.q]\noffer_timeout = 0\n" + agents("li"))
    day.all("0 agent_ready li", "0 contact_queued c1 q")
    assert day("100000 clock") == []


def test_an_agent_who_declines_gets_nothing_from_any_queue_for_the_retry_delay(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nretry_delay = 5\n[queues.p]\n" + agents("li"))
    day.all("0 agent_ready li", "0 contact_queued c1 q", "1 offer_declined c1 li", "2 contact_queued c2 p")
    assert day("9 clock") == ["6 offer c2 li"]


def test_an_agent_who_misses_too_many_in_a_row_is_set_away(day_of: DayOf) -> None:
    day = day_of("[queues.q]\noffer_timeout = 5\nmax_no_answer = 2\n" + agents("li"))
    day.all("0 agent_ready li", "0 contact_queued c1 q", "5 contact_queued c2 q")
    effects = day("10 clock")
    assert effects[0] == "10 offer_expired c2 li"
    assert effects[1].startswith("10 agent_away li")
    assert day("11 contact_queued c3 q") == []
    assert day("12 agent_ready li") == ["12 offer c3 li"]


def test_a_declined_offer_is_no_miss_and_an_accepted_one_wipes_the_slate(day_of: DayOf) -> None:
    day = day_of("[queues.q]\noffer_timeout = 5\nmax_no_answer = 2\n" + agents("li"))
    day.all("0 agent_ready li", "0 contact_queued c1 q", "5 contact_queued c2 q", "6 offer_declined c2 li")
    day.all("7 contact_queued c3 q", "8 offer_accepted c3 li", "9 contact_ended c3", "10 contact_queued c4 q")
    assert day("20 clock") == ["15 offer_expired c4 li"]
    assert day("20 contact_queued c5 q") == ["20 offer c5 li"]


def test_a_caller_who_hangs_up_while_it_rings_leaves_the_idle_time_untouched(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li", "wu"))
    day.all("0 agent_ready li", "1 agent_ready wu", "2 contact_queued c1 q")
    assert day("3 contact_left c1") == ["3 offer_withdrawn c1 li"]
    assert day("4 contact_queued c2 q") == ["4 offer c2 li"]


def test_when_an_agent_steps_away_its_contact_is_offered_to_someone_else_at_once(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li", "wu"))
    day.all("0 agent_ready li", "1 agent_ready wu", "2 contact_queued c1 q")
    assert day("3 agent_away li") == ["3 offer_withdrawn c1 li", "3 offer c1 wu"]
    assert day("4 agent_offline wu") == ["4 offer_withdrawn c1 wu"]
    assert day("5 agent_ready li") == ["5 offer c1 li"]  # withdrawn is not missed


def test_an_agent_who_goes_away_in_a_conversation_finishes_it(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nwrap_up = 5\n" + agents("li"))
    day.all("0 agent_ready li", "0 contact_queued c1 q", "1 offer_accepted c1 li", "2 agent_away li")
    assert day("9 contact_ended c1") == ["9 wrap_up_started li"]
    assert day("20 contact_queued c2 q") == ["14 wrap_up_ended li"]


# -- wrap-up, limits, overflow ----------------------------------------------------------------------------------------


def test_an_agents_wrap_up_overrides_the_queues_and_blocks_every_queue(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nwrap_up = 10\n[queues.p]\n" + agents("li", wrap_up="20"))
    day.all("0 agent_ready li", "0 contact_queued c1 q", "0 offer_accepted c1 li")
    assert day("5 contact_ended c1") == ["5 wrap_up_started li"]
    assert day.all("6 contact_queued c2 p", "7 agent_ready li") == []
    assert day("25 clock") == ["25 wrap_up_ended li", "25 offer c2 li"]


def test_an_agent_can_end_its_wrap_up_early(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nwrap_up = 10\n" + agents("li"))
    day.all("0 agent_ready li", "0 contact_queued c1 q", "0 offer_accepted c1 li", "5 contact_ended c1")
    day("6 contact_queued c2 q")
    assert day("7 wrap_up_ended li") == ["7 wrap_up_ended li", "7 offer c2 li"]


def test_of_two_wrap_ups_at_once_the_later_end_counts(day_of: DayOf) -> None:
    text = "[queues.long]\nwrap_up = 20\n[queues.short]\nwrap_up = 5\n" + agents("li", capacity="{ voice = 2 }")
    day = day_of(text)
    day.all("0 agent_ready li", "0 contact_queued c1 long", "0 contact_queued c2 short")
    day.all("1 offer_accepted c1 li", "1 offer_accepted c2 li", "2 contact_ended c1", "3 contact_ended c2")
    assert day("50 clock") == ["22 wrap_up_ended li"]


def test_of_two_retry_delays_at_once_the_later_end_counts(day_of: DayOf) -> None:
    text = "[queues.long]\nretry_delay = 20\n[queues.short]\nretry_delay = 5\n" + agents("li", capacity="{ voice = 2 }")
    day = day_of(text)
    day.all("0 agent_ready li", "0 contact_queued c1 long", "0 contact_queued c2 short")
    day.all("2 offer_declined c1 li", "3 offer_declined c2 li", "4 contact_queued c3 long")
    assert day("30 clock") == ["22 offer c3 li"]


def test_idle_time_starts_after_the_wrap_up(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li", wrap_up="10") + agents("wu", wrap_up="1"))
    day.all("0 agent_ready li", "0 agent_ready wu", "0 contact_queued c1 q", "0 contact_queued c2 q")
    day.all("0 offer_accepted c1 li", "0 offer_accepted c2 wu", "1 contact_ended c1", "9 contact_ended c2", "12 clock")
    assert day("13 contact_queued c3 q") == ["13 offer c3 wu"]


def test_when_the_wait_is_over_the_offer_is_withdrawn_and_the_contact_expires(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nmax_wait = 8\noffer_timeout = 10\n" + agents("li"))
    day.all("0 contact_queued c1 q", "5 agent_ready li")
    assert day("9 clock") == ["8 offer_withdrawn c1 li", "8 contact_expired c1"]


def test_overflow_keeps_arrival_priority_and_excluded_agents(day_of: DayOf) -> None:
    text = '[queues.q]\nmax_wait = 20\noverflow = "p"\n[queues.p]\n'
    day = day_of(text + agents("li") + agents("wu", queues='["p"]'))
    day("0 contact_queued c1 q", priority=1)
    day.all("1 agent_ready li", "2 offer_declined c1 li", "10 agent_away li", "15 contact_queued c2 p")
    assert day("20 clock") == ["20 contact_expired c1 p"]
    assert day("21 agent_ready li") == ["21 offer c2 li"]  # excluded for c1
    assert day("22 agent_ready wu") == ["22 offer c1 wu"]


def test_an_overflow_chain_ends_where_it_ends(day_of: DayOf) -> None:
    text = (
        '[queues.a]\nmax_wait = 5\noverflow = "b"\n[queues.b]\nmax_wait = 5\noverflow = "c"\n[queues.c]\nmax_wait = 5\n'
    )
    day = day_of(text + agents("li"))
    day("0 contact_queued c1 a")
    assert day("60 clock") == ["5 contact_expired c1 b", "10 contact_expired c1 c", "15 contact_expired c1"]


def test_a_full_queue_rejects_and_counts_those_who_ring(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nmax_waiting = 2\n" + agents("li"))
    day.all("0 agent_ready li", "1 contact_queued c1 q", "1 contact_queued c2 q")
    assert day("1 contact_queued c3 q") == ["1 contact_rejected c3 full"]
    day("2 offer_accepted c1 li")
    assert day("3 contact_queued c4 q") == []


def test_a_full_overflow_queue_rejects_the_contact(day_of: DayOf) -> None:
    text = '[queues.q]\nmax_wait = 5\noverflow = "p"\n[queues.p]\nmax_waiting = 1\n'
    day = day_of(text + agents("li"))
    day.all("0 contact_queued c1 p", "0 contact_queued c2 q")
    assert day("9 clock")[-1] == "5 contact_rejected c2 full"


# -- several contacts at once ----------------------------------------------------------------------------------------


def test_without_blend_an_agent_has_one_channel_at_a_time(day_of: DayOf) -> None:
    text = '[queues.call]\n[queues.chat]\nchannel = "chat"\n'
    day = day_of(text + agents("li", capacity="{ voice = 1, chat = 2 }"))
    day.all("0 agent_ready li", "0 contact_queued v1 call", "0 offer_accepted v1 li")
    day.all("1 contact_queued h1 chat", "2 contact_queued h2 chat", "3 contact_queued h3 chat")
    assert day("4 contact_ended v1") == ["4 offer h1 li", "4 offer h2 li"]
    assert day("5 contact_queued v2 call") == []


def test_with_blend_the_capacities_of_the_channels_count_apart(day_of: DayOf) -> None:
    text = '[queues.call]\n[queues.chat]\nchannel = "chat"\n'
    day = day_of(text + agents("li", capacity="{ voice = 1, chat = 2 }", blend="true"))
    day.all("0 agent_ready li", "0 contact_queued v1 call", "0 offer_accepted v1 li")
    assert day("1 contact_queued h1 chat") == ["1 offer h1 li"]
    assert day("1 contact_queued v2 call") == []


def test_a_hundred_chats_at_one_instant_are_ten_for_each_of_ten_agents(day_of: DayOf) -> None:
    names = [f"a{i}" for i in range(10)]
    day = day_of('[queues.q]\nchannel = "chat"\ndelay = 1\n' + agents(*names, capacity="{ chat = 10 }"))
    for name in names:
        day(f"0 agent_ready {name}")
    for index in range(101):
        day(f"1 contact_queued c{index} q")
    offers = [effect.split()[-1] for effect in day("2 clock")]
    assert {name: offers.count(name) for name in names} == dict.fromkeys(names, 10)


def test_a_reserve_holds_idle_agents_back_for_its_queues(day_of: DayOf) -> None:
    text = '[queues.q]\n[queues.vip]\n[[reserve]]\nskill = "zh"\nagents = 1\nfor = ["vip"]\n'
    day = day_of(text + agents("li", "wu", skills="{ zh = 5 }"))
    day.all("0 agent_ready li", "0 agent_ready wu")
    assert day.all("1 contact_queued c1 q", "1 contact_queued c2 q") == ["1 offer c1 li"]
    assert day("2 contact_queued c3 vip") == ["2 offer c3 wu"]


# -- one instant -----------------------------------------------------------------------------------------------------


def test_a_wait_that_is_over_comes_before_an_offer_that_expires_at_the_same_instant(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nmax_wait = 8\noffer_timeout = 8\nmax_no_answer = 1\n" + agents("li"))
    day.all("0 agent_ready li", "0 contact_queued c1 q")
    assert day("8 clock") == ["8 offer_withdrawn c1 li", "8 contact_expired c1"]


def test_an_offer_that_expires_comes_before_a_wrap_up_that_ends_at_the_same_instant(day_of: DayOf) -> None:
    day = day_of("[queues.q]\noffer_timeout = 8\n" + agents("li") + agents("wu", wrap_up="6"))
    day.all("0 agent_ready wu", "0 contact_queued c1 q", "1 offer_accepted c1 wu", "2 agent_ready li")
    day.all("2 contact_queued c2 q", "4 contact_ended c1")
    assert day("10 clock") == ["10 offer_expired c2 li", "10 wrap_up_ended wu", "10 offer c2 wu"]


def test_a_wrap_up_that_ends_comes_before_a_retry_delay_that_ends_at_the_same_instant(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nretry_delay = 5\n" + agents("li") + agents("wu", wrap_up="5"))
    day.all("0 agent_ready wu", "0 contact_queued c1 q", "0 offer_accepted c1 wu", "1 agent_ready li")
    day.all("2 contact_queued c2 q", "3 offer_declined c2 li", "3 contact_ended c1", "4 contact_queued c3 q")
    assert day("8 clock") == ["8 wrap_up_ended wu", "8 offer c2 wu", "8 offer c3 li"]


def test_a_retry_delay_that_ends_comes_before_a_delay_of_a_contact_that_ends_at_the_same_instant(day_of: DayOf) -> None:
    day = day_of("[queues.q]\nretry_delay = 5\n[queues.late]\ndelay = 6\nweight = 9\n" + agents("li"))
    day.all("0 agent_ready li", "1 contact_queued c1 q", "2 contact_queued c2 late", "3 offer_declined c1 li")
    day("4 contact_queued c3 q")
    assert day("8 clock") == ["8 offer c3 li"]


# -- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("5 agent_ready nobody", {}),
        ("5 contact_queued c9 nowhere", {}),
        ("5 contact_queued c1 q", {}),
        ("5 contact_queued c2 q", {}),
        ("5 contact_queued c9 q", {"preferred_agent": "nobody"}),
        ("5 contact_left c9", {}),
        ("5 contact_left c1", {}),
        ("5 contact_ended c2", {}),
        ("5 contact_ended c9", {}),
        ("5 offer_accepted c2 li", {}),
        ("5 offer_accepted c1 li", {}),
        ("5 offer_accepted c9 li", {}),
        ("5 offer_declined c2 li", {}),
        ("5 wrap_up_ended li", {}),
        ("5 priority_changed c9 1", {}),
        ("4 clock", {}),
    ],
)
def test_an_event_that_does_not_fit_is_refused_and_changes_nothing_but_the_time(
    day_of: DayOf, line: str, more: dict[str, object]
) -> None:
    day = day_of("[queues.q]\n" + agents("li"))
    day.all("0 agent_ready li", "1 contact_queued c1 q", "2 offer_accepted c1 li", "4.5 contact_queued c2 q")
    with pytest.raises(CordboardError):
        day(line, **more)
    assert day("6 contact_ended c1") == ["6 offer c2 li"]


def test_an_offer_that_was_withdrawn_cannot_be_accepted(day_of: DayOf) -> None:
    day = day_of("[queues.q]\n" + agents("li", "wu"))
    day.all("0 agent_ready li", "1 agent_ready wu", "2 contact_queued c1 q", "3 agent_away li")
    with pytest.raises(CordboardError):
        day("4 offer_accepted c1 li")
    assert day("5 offer_accepted c1 wu") == []
