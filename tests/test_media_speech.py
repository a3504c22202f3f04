"""Words that are said on real calls: SIP, RTP, a recognizer, a flow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cordboard.client import Client
from cordboard.media.backend import (
    Answer,
    Answered,
    Ended,
    HangUp,
    Incoming,
    Recognize,
    Recognized,
    Refused,
    StopRecognizing,
)
from cordboard.media.simulated import FarEnd
from tests.espeak import said
from tests.serving import serve_command
from tests.sip_peer import Telephone

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from cordboard.bindings.pjsip.backend import PjsipMedia
from cordboard.speech import Setting
from tests.sip_world import prompt, settings
from tests.test_media_sip_live import PATIENCE_S, free_port, until

pytestmark = pytest.mark.sources  # Debian's packages are unpacked in the sources
ENGLISH = Setting("words", "pocketsphinx", ("en",), sessions=1)
WORDS = ("billing", "operator")


class Line:
    """A media layer, and a telephone that called it."""

    def __init__(self, folder) -> None:
        self.telephone = Telephone()
        self.media = PjsipMedia(settings(folder, recognizers=(ENGLISH,)))
        self.seen: list = []

    def until(self, kind, count: int = 1):
        end = time.monotonic() + PATIENCE_S
        while len(found := [report for report in self.seen if isinstance(report, kind)]) < count:
            assert time.monotonic() < end, self.seen
            self.seen += self.media.reports(0.1)
        return found[-1]

    def call(self, count: int = 1):
        call = self.telephone.call(self.media.port, "4001", FarEnd(silent=True))
        leg = self.until(Incoming, count).leg
        self.media.send([Answer(leg)])
        self.until(Answered, count)
        return call, leg

    def close(self) -> None:
        self.media.close()
        self.telephone.close()


@pytest.fixture
def line(tmp_path):
    found = Line(tmp_path)
    yield found
    found.close()


def test_words_on_a_leg_are_reported_as_they_are_said_until_nobody_wants_them(line, tmp_path):
    # Given a leg that is listened to, once and again
    call, leg = line.call()
    line.media.send([Recognize(leg, "a", "en", WORDS), Recognize(leg, "a", "en", WORDS)])
    # When somebody says a word
    line.telephone.speak(call, said("billing", tmp_path))
    begin, word = line.until(Recognized), line.until(Recognized, 2)
    # Then it is told when that begins and when it is over
    assert (begin.leg, begin.token, begin.final) == (leg, "a", False)
    assert (word.text, word.token, word.final) == ("billing", "a", True) and word.confidence > 0.4
    # When something else is to be found out, it is
    line.media.send([Recognize(leg, "b", "en", ("operator",))])
    line.telephone.speak(call, said("operator", tmp_path))
    assert line.until(Recognized, 4).text == "operator" and line.seen[-1].token == "b"
    # When nothing is, nothing is told
    line.media.send([StopRecognizing(leg), StopRecognizing(leg)])
    line.telephone.speak(call, said("billing", tmp_path))
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        line.seen += line.media.reports(0.1)
    assert len([report for report in line.seen if isinstance(report, Recognized)]) == 4


def test_what_can_not_be_recognized_is_refused_and_the_call_goes_on(line):
    _, leg = line.call()
    line.media.send([Recognize(leg, "a", "zh"), Recognize("nobody", "a", "en"), Recognize(leg, "b", "en", ("xqzt",))])
    line.until(Refused, 3)
    why = [report.why for report in line.seen if isinstance(report, Refused)]
    assert why[:2] == ['no recognizer hears "zh"', "there is no such leg"] and "none of the words" in why[2]
    # One session is all there is; a leg that ends makes room
    other, second = line.call(2)
    line.media.send([Recognize(leg, "c", "en", WORDS), Recognize(second, "a", "en", WORDS)])
    assert "as many callers" in line.until(Refused, 4).why
    line.media.send([HangUp(leg)])
    line.until(Ended)
    line.media.send([Recognize(second, "b", "en", WORDS)])
    for _ in range(5):
        line.seen += line.media.reports(0.1)
    assert len([report for report in line.seen if isinstance(report, Refused)]) == 4 and not other.over


FLOW = """
[steps.main]
menu = ["welcome"]
keys = { 1 = "billing", 2 = "operator" }
words = { billing = "1", operator = "2" }
timeout = 30
otherwise = "main"
[steps.billing]
queue = "billing"
[steps.operator]
queue = "operator"
"""
NODE = """
[sip]
udp = {port}
phones = ["127.0.0.0/8"]
[speech.words]
kind = "pocketsphinx"
languages = ["en"]
"""


def test_a_caller_says_billing_and_is_led_there_over_sip(tmp_path):
    # Given a center whose number leads to a menu with words, and a media node with a recognizer
    telephone, port = Telephone(), free_port()
    for name in ("prompts/en", "recordings"):
        (tmp_path / name).mkdir(parents=True)
    for name, hertz, seconds in (("en/welcome", 3000.0, 20.0), ("music", 3400.0, 0.4)):
        prompt(tmp_path / "prompts" / f"{name}.wav", hertz, seconds)
    (tmp_path / "center.toml").write_text("[queues.billing]\n[queues.operator]\n[agents.li]\nqueues = ['billing']\n")
    (tmp_path / "main.toml").write_text(FLOW)
    (tmp_path / "node.toml").write_text(NODE.format(port=port))
    phone = telephone.phone(FarEnd(rings=0.0, picks_up=0.2))
    queues = '[queues.billing]\nmusic = ["music"]\n[queues.operator]\nmusic = ["music"]\n'
    (tmp_path / "calls.toml").write_text(f'[numbers.4001]\nflow = "main.toml"\n{queues}[phones.li]\nto = "{phone}"\n')
    with serve_command("center.toml", "--calls", "calls.toml", "--json", cwd=tmp_path) as (server, address):
        command = [sys.executable, "-m", "cordboard", "media", "--settings", "node.toml", "--server", address, "--json"]
        node = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        with Client(address) as client:
            client.set_state("li", "ready")
            caller = telephone.call(port, "4001", FarEnd(silent=True), "138")
            until(lambda: telephone.hears(caller, 3000.0))
            # When the caller says a word while the prompt is played
            telephone.speak(caller, said("billing", tmp_path))
            # Then the prompt stops, and the agent of that queue has the call
            agent = lambda: next((call for call in telephone.calls.values() if call is not caller), None)  # noqa: E731
            until(lambda: agent() is not None and agent().up and telephone.hears(caller, agent().hertz))
            assert not telephone.hears(caller, 3000.0)
            [call] = client.calls()
            assert call.queue.endswith("/billing")
            telephone.hang_up(caller)
            until(lambda: client.agent("li").handled_count == 1)
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_S) == 0
        node.stdout.close()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)
    telephone.close()
    assert np.abs(caller.heard).max() > 0
