"""The production media layer: the contract of media layers, against telephones of the tests' own."""

from __future__ import annotations

import time

import pytest

from cordboard.media.backend import Answered, Cause, Dial, Ended, HangUp, Incoming, Ringing
from cordboard.media.simulated import FarEnd
from tests.clocks import until
from tests.media_contract import MediaContract
from tests.sip_peer import Telephone, header
from tests.sip_world import SipWorld, settings

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.pjsip import events, sip
from cordboard.bindings.pjsip.backend import PjsipMedia


class TestPjsip(MediaContract):
    @pytest.fixture
    def world(self, tmp_path):
        world = SipWorld(PjsipMedia(settings(tmp_path, legs_max=32)))
        yield world
        world.close()


def test_the_numbers_of_events_are_those_that_were_compiled():
    def numbers(module):
        return {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, int)}

    assert numbers(events) == numbers(sip)


class Late(Telephone):
    """Picks up at the moment in which it is cancelled: its answer is on the way first."""

    def _take(self, message, source):
        call = self.calls.get(header(message, "Call-ID"))
        if message.startswith("CANCEL") and call is not None:
            self._do(call, "pick up")
            self._respond(message, call, "200 OK", source)
        else:
            super()._take(message, source)


def test_an_answer_that_crosses_a_cancelling_is_reported_before_the_end(tmp_path):
    telephone, media = Late(), PjsipMedia(settings(tmp_path, legs_max=4))
    try:
        media.send([Dial("d1", telephone.phone(FarEnd(rings=0.0, picks_up=None)))])
        _until(media, Ringing)
        media.send([HangUp("d1")])
        assert [type(report) for report in _until(media, Ended)] == [Answered, Ended]
        [call] = telephone.calls.values()
        until(lambda: call.requests[-1:] == ["BYE"])  # it may come after the report
    finally:
        media.close()
        telephone.close()


def _until(media: PjsipMedia, kind: type) -> list:
    found, end = [], time.monotonic() + 20.0
    while not any(isinstance(report, kind) for report in found):
        assert time.monotonic() < end, found
        found += media.reports(0.1)
    return found


def test_a_caller_whom_nobody_can_serve_is_told_to_go_elsewhere_for_a_while(tmp_path):
    telephone, media = Telephone(), PjsipMedia(settings(tmp_path, legs_max=4))
    heard: list[str] = []
    telephone._answer_came = lambda call, message, take=telephone._answer_came: (heard.append(message), take(call, message))
    try:
        call = telephone.call(media.port, "4001", FarEnd())
        [incoming] = _until(media, Incoming)
        media.send([HangUp(incoming.leg, Cause.LOST)])
        assert _until(media, Ended)[-1].cause == Cause.LOST
        end = time.monotonic() + 20.0
        while not call.status:
            assert time.monotonic() < end
            media.reports(0.1)
        assert call.status == [503] and header(heard[-1], "Retry-After") == "10"
    finally:
        media.close()
        telephone.close()
