"""What SIP says in cordboard's words: causes, quality, addresses, settings. Nothing here needs PJSIP."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.bindings import outcomes
from cordboard.bindings.addresses import caller_uri, is_loopback, sip_uri, stays_here, user_of
from cordboard.bindings.outcomes import CODES, mean_opinion, quality, refusal
from cordboard.bindings.settings import SipSettings, Trunk
from cordboard.calls.translate import event_of
from cordboard.errors import InputError
from cordboard.journal import CALL_EVENTS, check_event
from cordboard.media.backend import Cause, Ended
from cordboard.services.media_messages import report_message, report_of


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (486, Cause.BUSY),
        (600, Cause.BUSY),
        (404, Cause.INVALID),
        (484, Cause.INVALID),
        (604, Cause.INVALID),
        (403, Cause.FORBIDDEN),
        (407, Cause.FORBIDDEN),
        (438, Cause.FORBIDDEN),
        (408, Cause.UNREACHABLE),
        (480, Cause.UNREACHABLE),
        (504, Cause.UNREACHABLE),
        (503, Cause.CONGESTION),
        (603, Cause.REJECTED),
        (608, Cause.REJECTED),
        (699, Cause.REJECTED),
        (487, Cause.CANCELLED),
        (488, Cause.FAILED),
        (500, Cause.FAILED),
    ],
)
def test_every_refusal_has_its_cause(code, cause):
    assert refusal(code) == cause


def test_when_it_rang_no_answer_is_what_it_was():
    assert refusal(480, rang=True) == refusal(408, rang=True) == Cause.NO_ANSWER
    assert refusal(486, rang=True) == Cause.BUSY


def test_what_a_caller_is_told_is_understood_as_the_same_by_another_node():
    for cause in (Cause.BUSY, Cause.INVALID, Cause.CONGESTION, Cause.FORBIDDEN, Cause.REJECTED):
        assert refusal(CODES[cause]) == cause
    assert set(CODES) == set(Cause)


@given(st.integers(300, 699), st.booleans())
def test_any_code_has_a_cause(code, rang):
    assert refusal(code, rang) not in (Cause.NORMAL, Cause.LOST)


def test_the_opinion_is_that_of_the_recommendation_at_its_ends():
    assert mean_opinion(0.0, 0.0) == pytest.approx(4.41, abs=0.01)  # R = 93.2, the default of G.107
    assert mean_opinion(0.05, 0.0) == pytest.approx(4.0, abs=0.1)
    assert mean_opinion(1.0, 1000.0) == 1.0
    assert doctest.testmod(outcomes).failed == 0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 2000), st.floats(0, 2000))
def test_more_loss_or_delay_is_never_better(a, b, c, d):
    assert 1.0 <= mean_opinion(max(a, b), max(c, d)) <= mean_opinion(min(a, b), min(c, d)) <= 4.5


def test_quality_counts_loss_as_a_share_of_what_was_sent_to_us():
    assert quality(95, 5, 100, 2.0, 40.0).mos == pytest.approx(mean_opinion(0.05, 20.0 + 4.0 + 40.0))
    assert quality(0, 0, 0, 0.0, 0.0).mos > 4.0


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_the_end_of_a_leg_fits_the_journal_whatever_was_counted(received, lost, sent):
    found = event_of(Ended("c1", Cause.NORMAL, 200, quality(received, lost, sent, 1.0, 1.0)), "n1")
    assert check_event({"t": 1.0, **found}, CALL_EVENTS)["event"] == "leg_ended"
    assert report_of(report_message(Ended("c1", Cause.NORMAL, 200, quality(received, lost, sent, 1.0, 1.0)))).leg == "c1"


def test_a_number_goes_to_its_gateway_and_a_uri_is_taken_as_it_is():
    assert sip_uri("13800000001", "10.0.0.1:5070") == "sip:13800000001@10.0.0.1:5070"
    assert sip_uri("sip:li@10.0.0.1") == "sip:li@10.0.0.1"
    assert caller_uri("*31#4001", "10.0.0.1") == "sip:*31%234001@10.0.0.1"
    for wrong in ("", "li@10.0.0.1", "sip:a b@c", "sip:a@b>", "sip:a@b\r\nX: y", "tel:+1", "sip:a@b?X=y"):
        assert sip_uri(wrong, "10.0.0.1") == "", wrong


@pytest.mark.parametrize("uri", ["sip:a@127.0.0.1", "sip:a@127.9.9.9:5080;transport=tcp", "sip:[::1]", "sip:a@localhost"])
def test_what_stays_on_this_machine_may_be_dialed(uri):
    assert stays_here(uri)


@pytest.mark.parametrize("uri", ["sip:a@10.0.0.1", "sip:a@example.org", "sip:a@127.0.0.1;maddr=10.0.0.1", "sip:a@127.0.0.1.example.org", "x"])
def test_what_leaves_this_machine_may_not(uri):
    assert not stays_here(uri)


def test_users_are_read_from_headers_and_withheld_ones_are_empty():
    assert user_of('"Li, Mei" <sip:+86138@10.0.0.1:5060;user=phone>') == "+86138"
    assert user_of("sip:*31%234001@10.0.0.1") == "*31#4001"
    assert user_of("<sip:anonymous@anonymous.invalid>") == user_of("sip:10.0.0.1") == user_of("") == ""


def test_settings_that_would_be_reached_from_outside_must_be_forced(tmp_path):
    with pytest.raises(InputError, match="this machine alone"):
        SipSettings(prompts=tmp_path, recordings=tmp_path, address="0.0.0.0")
    SipSettings(prompts=tmp_path, recordings=tmp_path, address="0.0.0.0", beyond_loopback=True)
    assert not is_loopback("0.0.0.0")


def test_settings_say_what_is_wrong_with_them(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        SipSettings(prompts=tmp_path / "none", recordings=tmp_path)
    with pytest.raises(InputError, match="no gateway"):
        SipSettings(prompts=tmp_path, recordings=tmp_path, trunks=(Trunk("main", "a b"),))
    with pytest.raises(InputError, match="phones"):
        SipSettings(prompts=tmp_path, recordings=tmp_path, phones=("everybody",))
    with pytest.raises(InputError, match="main"):
        SipSettings(prompts=tmp_path, recordings=tmp_path, trunks=(Trunk("main", "gateway.example.org"),))
