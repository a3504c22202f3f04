"""A caller, a voice bot and an agent through the whole: SIP telephones, a media node on PJSIP, the live engine."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from cordboard.client import Client
from cordboard.live.privacy import new_master
from cordboard.media.simulated import FarEnd
from tests.serving import serve_command
from tests.sip_peer import Telephone

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from tests.sip_world import prompt
from tests.test_calls_bots import ADA, CALLS, CENTER
from tests.test_media_sip_live import PATIENCE_S, free_port, until
from tests.voice_bots import BOTS

CARD, CALLER, TOLD = "4111111111111111", "+8613800138000", "wants a refund for Mrs Zhang"


@pytest.mark.parametrize("kind", BOTS)
def test_a_bot_takes_a_call_and_hands_it_to_an_agent_who_reads_what_was_said(tmp_path, kind):
    # Given a bot in routing before li, and a media node on PJSIP
    telephone, bot, port = Telephone(), BOTS[kind](), free_port()
    for name in ("prompts", "recordings"):
        (tmp_path / name).mkdir()
    prompt(tmp_path / "prompts" / "music.wav", 3400.0, 0.4)
    (tmp_path / "center.toml").write_text(CENTER)
    phone = telephone.phone(FarEnd(rings=0.0, picks_up=0.2))
    (tmp_path / "calls.toml").write_text(CALLS.replace("sip:li", phone).replace(ADA, bot.url))
    new_master(tmp_path / "master.key")
    options = ("--calls", "calls.toml", "--data", "data", "--master-key", "master.key", "--json")
    with serve_command("center.toml", *options, cwd=tmp_path) as (server, address), (tmp_path / "node.log").open("w") as log:
        command = [sys.executable, "-m", "cordboard", "media", "--sip", f"127.0.0.1:{port}", "--server", address, "--json"]
        node = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True)
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        with Client(address) as client:
            client.set_state("li", "ready")
            # When somebody calls, the bot has the call, and both hear each other
            caller = telephone.call(port, "4001", FarEnd(), CALLER)
            until(lambda: bot.details)
            told = bot.details
            assert (told["from"], told["queue"], told["number"], told["language"]) == (CALLER, "billing", "4001", "zh")
            bot.say(2600.0, 60.0)
            until(lambda: bot.hears(caller.hertz) and telephone.hears(caller, 2600.0))
            # And hears the keys of a card, and hands over
            for key in CARD:
                telephone.press(caller, key)
            until(lambda: "".join(bot.keys) == CARD)
            bot.hand_over(queue="people", summary=TOLD)
            agent = lambda: next((call for call in telephone.calls.values() if call is not caller), None)  # noqa: E731
            until(lambda: agent() is not None and telephone.hears(caller, agent().hertz))
            # Then li talks with the caller, and reads what the bot wrote
            [call] = client.calls()
            assert call.agent.endswith("/li") and call.queue.endswith("/people")
            assert [(line.who, line.text) for line in call.transcript] == [("summary", TOLD)]
            until(lambda: bot.over == [bot.NORMAL])
            telephone.hang_up(caller)
            until(lambda: client.agent("li").handled_count == 1)
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_S) == 0
        node.stdout.close()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)
    # And neither the keys, nor what was said, nor by whom, stands in any file
    with closing(sqlite3.connect(tmp_path / "data" / "default" / "journal.db")) as journal:
        events = [json.loads(text) for (text,) in journal.execute("SELECT event FROM journal ORDER BY revision")]
    assert "".join(event["key"] for event in events if event["event"] == "leg_key") == "?" * len(CARD)
    [handed] = [event for event in events if event["event"] == "leg_handed_over"]
    assert handed["caller"].startswith("s-") and handed["transcript"][0][1].startswith("sealed:")
    written = [file for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".toml"]
    assert len(written) > 5
    for secret in (CARD, CALLER[1:], TOLD):
        assert not [file for file in written if secret.encode() in file.read_bytes()]
    bot.close()
    telephone.close()
