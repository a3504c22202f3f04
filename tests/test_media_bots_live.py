"""A caller, a voice bot and an agent through the whole: SIP telephones, a media node on PJSIP, the live engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from cordboard.client import Client
from cordboard.media.simulated import FarEnd
from tests.serving import serve_command
from tests.sip_peer import Telephone

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from tests.sip_world import prompt
from tests.test_calls_bots import ADA, CALLS, CENTER
from tests.test_media_bots import Bot
from tests.test_media_sip_live import PATIENCE_S, free_port, until


def test_a_bot_takes_a_call_and_hands_it_to_an_agent_who_reads_what_was_said(tmp_path):
    # Given a bot in routing before li, and a media node on PJSIP
    telephone, bot, port = Telephone(), Bot(), free_port()
    for name in ("prompts", "recordings"):
        (tmp_path / name).mkdir()
    prompt(tmp_path / "prompts" / "music.wav", 3400.0, 0.4)
    (tmp_path / "center.toml").write_text(CENTER)
    phone = telephone.phone(FarEnd(rings=0.0, picks_up=0.2))
    (tmp_path / "calls.toml").write_text(CALLS.replace("sip:li", phone).replace(ADA, bot.url))
    with serve_command("center.toml", "--calls", "calls.toml", "--json", cwd=tmp_path) as (server, address):
        command = [sys.executable, "-m", "cordboard", "media", "--sip", f"127.0.0.1:{port}", "--server", address, "--json"]
        node = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        with Client(address) as client:
            client.set_state("li", "ready")
            # When somebody calls, the bot has the call, and both hear each other
            caller = telephone.call(port, "4001", FarEnd(), "138")
            until(lambda: bot.events("start"))
            told = bot.events("start")[0]["start"]["customParameters"]
            assert (told["from"], told["queue"], told["number"], told["language"]) == ("138", "billing", "4001", "zh")
            bot.say(2600.0, 60.0)
            until(lambda: bot.hears(caller.hertz) and telephone.hears(caller, 2600.0))
            # And it hands over
            bot.send("handover", handover={"queue": "people", "summary": "a refund"})
            agent = lambda: next((call for call in telephone.calls.values() if call is not caller), None)  # noqa: E731
            until(lambda: agent() is not None and telephone.hears(caller, agent().hertz))
            # Then li talks with the caller, and reads what the bot wrote
            [call] = client.calls()
            assert call.agent.endswith("/li") and call.queue.endswith("/people")
            assert [(line.who, line.text) for line in call.transcript] == [("summary", "a refund")]
            until(lambda: bot.over == [1000])
            telephone.hang_up(caller)
            until(lambda: client.agent("li").handled_count == 1)
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_S) == 0
        node.stdout.close()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)
    bot.close()
    telephone.close()
