"""The abandonment ledger against brute force: every interval of every history, rates in exact fractions."""

from __future__ import annotations

import datetime
import json
import zoneinfo
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard.errors import InputError
from cordboard.pacing.ledger import BUCKETS, Ledger
from cordboard.pacing.rules import (
    CALENDAR_DAY,
    CALENDAR_MONTH,
    CAMPAIGN,
    RULES,
    AnsweredCall,
    Rule,
    Window,
    abandonment,
    judge,
    rule,
)

HOUR = Window("rolling", seconds=3600.0)
WIDTH = 3600.0 / BUCKETS


def allowed(rule: Rule, dropped: int, base: int) -> bool:
    """The promise of a rule for one interval, written plainly."""
    share = Fraction(dropped)
    limit = rule.share * max(base, rule.floor_base)
    return dropped == 0 or (share < limit if rule.below else share <= limit)


def brute_budget(rule: Rule, history: list[tuple[float, bool]], now: float, keep: float) -> int:
    """Most drops that may happen at ``now`` with every interval (x, now] inside ``keep`` seconds still
    allowed.
    """
    starts = [i for i, (t, _) in enumerate(history) if t > now - keep] + [len(history)]
    n = 0
    while n < 1000:
        for i in starts:
            dropped = sum(d for _, d in history[i:]) + n + 1
            if not allowed(rule, dropped, len(history) - i + n + 1):
                return n
        n += 1
    return n


steps = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 7.0, 13.0, 200.0, 1500.0]), st.integers(1, 12), st.booleans()),
    max_size=40,
)
rolling_rules = st.builds(
    Rule,
    st.just("r"),
    st.sampled_from(["0.03", "0.1", "0.25", "0.5"]),
    st.just(HOUR),
    below=st.booleans(),
    least=st.sampled_from([None, 0, 4, 10, 40]),
    least_share=st.just(0.0),
)


@settings(max_examples=120, deadline=None)
@given(rolling_rules, steps)
def test_a_rolling_budget_equals_brute_force_up_to_one_bucket(rule: Rule, moves: list[tuple[float, int, bool]]) -> None:
    # given a history in which drops happen only as the ledger allows, or now and then against it
    ledger, history, t = Ledger([rule], start=0.0), [], 0.0
    for pause, answers, drop in moves:
        t += pause
        for _ in range(answers):
            ledger.handled(t)
            history.append((t, False))
        if drop:
            ledger.dropped(t)
            history.append((t, True))
        # then the budget lies between those of windows that are a bucket longer and exactly as long
        left = ledger.drops_left(t)
        longer = brute_budget(rule, history, t, 3600.0 + WIDTH)
        exact = brute_budget(rule, history, t, 3600.0)
        assert min(longer, exact) <= max(left, 0) <= exact


@settings(max_examples=120, deadline=None)
@given(rolling_rules, steps, st.integers(0, 3))
def test_no_interval_of_any_future_breaks_a_rule_whose_ledger_was_obeyed(
    rule: Rule, moves: list[tuple[float, int, bool]], silence: int
) -> None:
    # given a campaign that drops whenever its ledger lets it, then goes on without drops or falls silent
    ledger, history, t = Ledger([rule], start=0.0), [], 0.0
    for pause, answers, drop in moves:
        t += pause
        for _ in range(answers):
            ledger.handled(t)
            history.append((t, False))
        while drop and ledger.drops_left(t) > 0:
            ledger.dropped(t)
            history.append((t, True))
    for _ in range(silence):
        t += 900.0
        ledger.handled(t)
        history.append((t, False))
    # then no interval up to the window's length, wherever it begins and ends, is over
    for i in range(len(history)):
        dropped = 0
        for j in range(i, len(history)):
            if history[j][0] - history[i][0] >= 3600.0:
                break
            dropped += history[j][1]
            assert allowed(rule, dropped, j - i + 1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 40000), st.sampled_from("hdm")), max_size=150),
    st.sampled_from(["0.03", "0.2"]),
    st.sampled_from([CALENDAR_DAY, CALENDAR_MONTH, CAMPAIGN, Window("period", days=2)]),
    st.sampled_from(["live", "live_with_amd", "machines_deducted", "answered"]),
    st.sampled_from(["Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"]),
)
def test_a_window_with_a_fixed_start_counts_as_brute_force_does(moves, cap, window, form, zone_name) -> None:
    # given calls around the night on which New York and Lord Howe change their clocks
    rule = Rule("r", cap, window, form=form)
    start = datetime.datetime(2026, 3, 30, tzinfo=datetime.UTC).timestamp()
    ledger = Ledger([rule], start=start, time_zone=zone_name, false_positives=0.25)
    zone, t, history = zoneinfo.ZoneInfo(zone_name), start, []
    first = datetime.datetime.fromtimestamp(start, zone).date()

    def key(t: float) -> object:
        day = datetime.datetime.fromtimestamp(t, zone).date()
        days = (day - first).days // 2
        return {"day": day, "month": (day.year, day.month), "campaign": 0, "period": days}[window.kind]

    for pause, what in moves:
        t += pause
        {"h": ledger.handled, "d": ledger.dropped, "m": ledger.machine}[what](t)
        history.append((key(t), what))
        inside = [w for k, w in history if k == key(t)]
        handled, dropped, machines = (inside.count(x) for x in "hdm")
        errors = Fraction(machines, 4)

        # when so many more drops happened now
        def fits(n: int, h: int = handled, d: int = dropped, m: int = machines, e: Fraction = errors) -> bool:
            part, base = Fraction(d + n), Fraction(h + d + n)
            if form == "live_with_amd":
                part, base = part + e, base + e
            elif form == "machines_deducted" and h:
                part = part * (1 - Fraction(m, h + m))
                base = h + part
            elif form != "live":
                base += m
            return part <= rule.share * base

        # then the budget is the most that fit
        left = ledger.drops_left(t)
        expected = max((n for n in range(60) if fits(n)), default=-1)
        assert max(left, -1) == expected


def test_the_ofcom_vector_without_detection_is_64_44_percent_and_equals_the_answered_form() -> None:
    rate = abandonment("machines_deducted", handled=9, dropped=29, machines=7)
    assert rate == pytest.approx(16.3125 / 25.3125, abs=1e-12)
    assert f"{100 * rate:.2f}" == "64.44"
    assert rate == pytest.approx(abandonment("answered", handled=9, dropped=29, machines=7))


def test_estimated_detection_errors_turn_the_worked_campaign_from_pass_to_fail() -> None:
    assert abandonment("live", handled=296, dropped=9) == pytest.approx(9 / 305)
    assert abandonment("answered", handled=451, dropped=9) == pytest.approx(9 / 460)
    with_errors = abandonment("live_with_amd", handled=296, dropped=9, machines=150, false_positives=0.01)
    assert with_errors == pytest.approx(10.5 / 306.5)
    ledger = Ledger([Rule("r", "0.03", CAMPAIGN, form="live_with_amd")], start=0.0, false_positives=0.01)
    for _ in range(296):
        ledger.handled(0.0)
    for _ in range(9):
        ledger.dropped(0.0)
    assert not ledger.budget(0.0).overdrawn
    for _ in range(150):
        ledger.machine(0.0)
    assert ledger.budget(0.0).overdrawn
    assert ledger.windows(0.0)[0].rate == pytest.approx(10.5 / 306.5)


def test_the_live_base_excludes_machines_and_the_answered_one_holds_them() -> None:
    rules = [Rule("live", "0.03", CAMPAIGN), Rule("all", "0.03", CAMPAIGN, form="answered")]
    ledger = Ledger(rules, start=0.0)
    ledger.machine(1.0)
    ledger.handled(1.0)
    assert [w.base for w in ledger.windows(1.0)] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("seconds", "outcome"),
    [(0.0, "handled"), (1.99, "handled"), (2.0, "handled"), (2.000001, "dropped"), (2.01, "dropped")],
)
def test_two_seconds_after_the_greeting_is_not_abandoned_and_a_microsecond_more_is(
    seconds: float, outcome: str
) -> None:
    tsr = RULES["us_tsr"]
    call = AnsweredCall(1000.1, greeting_start=1000.4, greeting_end=1001.7, agent=1001.7 + seconds)
    assert judge(tsr, call) == outcome


def test_the_start_point_and_the_early_hangup_are_data() -> None:
    call = AnsweredCall(10.0, greeting_start=11.0, greeting_end=12.5, agent=13.5)
    outcomes = [
        judge(Rule("r", "0.03", CAMPAIGN, start_point=p), call) for p in ("connect", "greeting_start", "greeting_end")
    ]
    assert outcomes == ["dropped", "dropped", "handled"]
    short = AnsweredCall(10.0, hung_up=11.2)
    assert judge(Rule("r", "0.03", CAMPAIGN), short) == "handled"
    assert judge(Rule("r", "0.03", CAMPAIGN, early_hangup_counts=True), short) == "dropped"
    assert judge(Rule("r", "0.03", CAMPAIGN), AnsweredCall(10.0, hung_up=12.5)) == "dropped"
    assert judge(Rule("r", "0.03", CAMPAIGN), AnsweredCall(10.0, machine=True)) == "machine"


def test_the_strictest_of_all_windows_answers() -> None:
    # given one day of 1,000 answers and 20 drops, then a morning
    rules = [rule("us_tsr"), rule("house_day"), rule("uk_ofcom_2008")]
    start = 1_700_000_000.0
    ledger = Ledger(rules, start=start)
    for i in range(1000):
        (ledger.dropped if i % 50 == 49 else ledger.handled)(start + i)
    # then the calendar day that has just begun allows nothing, though the period has drops in hand
    later = start + 86400.0
    states = {w.rule.name: w.budget for w in ledger.windows(later)}
    assert states["us_tsr"] == 10
    budget = ledger.budget(later)
    assert (budget.drops, budget.strictest.rule.name) == (0, "house_day")
    assert "house_day" in budget.text("en")
    assert "今天" in budget.text("zh")


def test_a_ledger_that_was_saved_goes_on_as_if_nothing_had_happened() -> None:
    rules = [rule("us_tsr"), rule("uk_ofcom_2008"), rule("ca_crtc"), rule("house_campaign")]
    one = Ledger(rules, start=0.0, time_zone="Europe/Paris", false_positives=0.02)
    for i in range(5000):
        (one.dropped if i % 40 == 39 else one.machine if i % 3 == 0 else one.handled)(i * 61.0)
    two = Ledger.load(rules, json.loads(json.dumps(one.save())))
    for i in range(5000, 7000):
        for ledger in (one, two):
            (ledger.dropped if i % 50 == 49 else ledger.handled)(i * 61.0)
        assert one.drops_left(i * 61.0) == two.drops_left(i * 61.0)
    assert one.windows(7000 * 61.0) == two.windows(7000 * 61.0)
    with pytest.raises(InputError, match="other rules"):
        Ledger.load(rules[:2], one.save())


def test_memory_stays_bounded_over_a_year_of_drops() -> None:
    ledger = Ledger([rule("uk_ofcom_2008"), rule("us_fcc")], start=0.0, false_positives=0.03)
    for i in range(100_000):
        t = i * 315.0
        (ledger.machine if i % 2 else ledger.dropped if i % 34 == 0 else ledger.handled)(t)
    for window in ledger._windows:
        assert len(window.buckets) <= BUCKETS + 2
        assert len(window.old) <= BUCKETS + 2
        assert len(window.recent) <= window.floor_units // window.down + 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Rule("r", "3", CAMPAIGN), "between 0 and 1"),
        (lambda: Rule("r", "3 %", CAMPAIGN), "not a number"),
        (lambda: Rule("r", "0.03", Window("rolling")), "positive number of seconds"),
        (lambda: Rule("r", "0.03", CAMPAIGN, threshold=float("nan")), "threshold"),
        (lambda: rule("us_tsr2"), "no abandonment rule"),
        (lambda: Ledger([], start=0.0, time_zone="Mars/Base"), "no time zone"),
        (lambda: Ledger([rule("us_tsr"), rule("us_tsr")], start=0.0), "one name"),
        (lambda: Ledger([], start=10.0).handled(9.0), "time goes back"),
        (lambda: Ledger([], start=10.0).handled(float("nan")), "time goes back"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(make, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
