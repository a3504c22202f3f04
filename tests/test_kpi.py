"""The key figures on the golden log of the field: one log, eight service levels."""

from __future__ import annotations

import re

import pytest

from cordboard.kpi import KPIS, QueueTallies, Tally, figures, formula_text
from cordboard.simulation.result import FORMULAS


def golden() -> Tally:
    tally = Tally(threshold_s=20, short_s=5, offered=12)
    for wait in (5, 18, 20, 65, 8, 0, 22):
        tally.answer(wait)
    for wait in (3, 12, 75, 200):
        tally.abandon(wait)
    tally.expire(180, to_queue=False)
    return tally


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("SL_ANSWERED", 0.7143), ("SL_POSITIVE", 0.6364), ("SL_ASTERISK2", 0.5833), ("SL_IGNORE", 0.5556),
        ("SL_SHORT_CREDIT", 0.5455), ("SL_EX_SHORT", 0.5), ("SL_NEGATIVE", 0.4545), ("SL_OFFERED", 0.4167),
        ("ANSWER_RATE", 0.5833), ("ABANDON_RATE", 0.3333), ("ABANDON_EX_SHORT", 0.2727), ("LOST_RATE", 0.4167),
        ("ASA", 19.714), ("WAIT_ALL", 50.667), ("TIME_TO_ABANDON", 72.5),
    ],
)  # fmt: skip
def test_each_definition_gives_its_published_figure_on_the_golden_log(id: str, expected: float) -> None:
    assert figures(golden())[id] == pytest.approx(expected, rel=5e-4)


def test_offered_is_answered_and_abandoned_and_timed_out_and_flown_out() -> None:
    tally = golden()
    assert tally.offered == tally.answered + tally.abandoned + tally.timeout + tally.flowout


def test_a_figure_without_valid_events_is_none_and_not_zero() -> None:
    assert set(figures(Tally()).values()) == {None}


def test_tallies_of_two_hours_add_up_to_the_tally_of_both() -> None:
    whole = golden()
    whole.add(golden())
    assert whole.answered == 14 and whole.longest_s == 200
    assert figures(whole) == pytest.approx(figures(golden()))


def test_tallies_of_different_thresholds_refuse_to_add_up() -> None:
    with pytest.raises(ValueError, match="thresholds"):
        golden().add(Tally(threshold_s=30))


def test_an_answer_at_the_threshold_is_within_it() -> None:
    tally = Tally(threshold_s=20)
    tally.answer(20.0)
    tally.answer(20.000001)
    assert tally.answered_in == 1


def test_a_contact_is_counted_once_in_each_queue_that_it_entered() -> None:
    tallies = QueueTallies({"a": 20, "b": 20})
    tallies.observe({"t": 0, "event": "contact_queued", "contact": "c", "queue": "a"}, [])
    tallies.observe(None, [{"t": 30, "effect": "contact_expired", "contact": "c", "to": "b"}])
    tallies.observe({"t": 40, "event": "offer_accepted", "contact": "c", "agent": "li"}, [])
    a, b = tallies.by_queue["a"], tallies.by_queue["b"]
    assert (a.offered, a.flowout, a.answered) == (1, 1, 0)
    assert (b.offered, b.answered, b.wait_answered_s) == (1, 1, 10)
    assert tallies.total().offered == 2


def test_timers_that_fired_before_the_event_are_counted_before_it() -> None:
    tallies = QueueTallies({"a": 20})
    tallies.observe({"t": 0, "event": "contact_queued", "contact": "c", "queue": "a"}, [])
    # at t=30 the first c times out; in the same call, at t=40, a new contact of the same name comes
    expired = {"t": 30, "effect": "contact_expired", "contact": "c", "to": None}
    tallies.observe({"t": 40, "event": "contact_queued", "contact": "c", "queue": "a"}, [expired])
    assert (tallies.by_queue["a"].offered, tallies.by_queue["a"].timeout) == (2, 1)


def test_a_rejected_contact_was_never_offered() -> None:
    tallies = QueueTallies({"a": 20})
    tallies.observe(
        {"t": 0, "event": "contact_queued", "contact": "c", "queue": "a"},
        [{"t": 0, "effect": "contact_rejected", "contact": "c", "reason": "full"}],
    )
    assert (tallies.by_queue["a"].offered, tallies.by_queue["a"].rejected) == (0, 1)


def test_every_figure_has_labels_in_both_languages_and_a_formula() -> None:
    for id, kpi in KPIS.items():
        assert kpi.id == id and kpi.en and kpi.formula
        assert any("\u4e00" <= char <= "\u9fff" for char in kpi.zh)


def test_every_formula_has_its_chinese_and_keeps_its_arithmetic() -> None:
    for _, _, formula in FORMULAS.values():
        zh = formula_text(formula, "zh")
        assert not re.search("[a-z]", zh), zh
        assert [c for c in zh if c in "/+"] == [c for c in formula if c in "/+"]
    assert formula_text("(abandoned - short) / (offered - short)", "zh") == "(放弃量 - 速挂量) / (呼入量 - 速挂量)"


def test_satisfied_are_the_upper_two_fifths_of_any_scale_and_marks_without_a_conversation_are_of_no_queue() -> None:
    tallies = QueueTallies({"a": 20})
    marks = [(score, 5) for score in range(1, 6)] + [(score, 9) for score in range(1, 10)] + [(1, 2), (2, 2), (2, 3), (3, 3)]
    asked = [{"t": 1, "effect": "rating_asked", "call": "c", "rating": "r", "queue": "a"} for _ in range(36)]
    rated = [
        {"t": 2, "effect": "call_rated", "call": "c", "rating": "r", "queue": "a", "score": score, "scale": scale}
        for score, scale in marks
    ]
    nobody = {"t": 3, "effect": "call_rated", "call": "d", "rating": "r", "score": 1, "scale": 5}
    tallies.observe(None, [*asked, *rated, nobody])
    tally = tallies.by_queue["a"]
    # 4, 5 of 5; 8, 9 of 9; 2 of 2; 3 of 3
    assert (tally.asked, tally.rated, tally.satisfied) == (36, 18, 6)
    assert figures(tally, ("CSAT", "RATING_RESPONSE")) == {"CSAT": 6 / 18, "RATING_RESPONSE": 0.5}
