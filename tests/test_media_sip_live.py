"""Real calls through the whole: SIP telephones, a media node on PJSIP, the live engine; each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from cordboard.client import Client
from cordboard.media.simulated import FarEnd
from tests.floor import CALLS, CENTER
from tests.recorded import RECIPIENT, channels
from tests.serving import serve_command
from tests.sip_peer import Telephone

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from tests.test_media_pjsip import prompt

PATIENCE_S = 20.0


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until(found) -> None:
    end = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_caller_dials_in_hears_the_music_and_talks_to_the_agent_over_sip(tmp_path):
    # Given a center with an agent's telephone, and a media node on PJSIP
    telephone, port = Telephone(), free_port()
    for name in ("prompts", "recordings"):
        (tmp_path / name).mkdir()
    for name, hertz in (("welcome", 3000.0), ("music", 3400.0), ("hold", 2600.0)):
        prompt(tmp_path / "prompts" / f"{name}.wav", hertz, 0.4)
    (tmp_path / "center.toml").write_text(CENTER)
    calls = CALLS.replace("sip:li", telephone.phone(FarEnd(rings=0.0, picks_up=0.2))).replace("music =", "record = true\nmusic =")
    (tmp_path / "calls.toml").write_text(calls)
    with serve_command("center.toml", "--calls", "calls.toml", "--json", cwd=tmp_path) as (server, address):
        command = [sys.executable, "-m", "cordboard", "media", "--sip", f"127.0.0.1:{port}", "--server", address, "--json"]
        command += ["--recipient", RECIPIENT]
        node = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        # When somebody calls, before the agent is there
        caller = telephone.call(port, "4001", FarEnd(), "138")
        until(lambda: telephone.hears(caller, 3400.0))
        with Client(address) as client:
            client.set_state("li", "ready")
            agent = lambda: next((call for call in telephone.calls.values() if call is not caller), None)  # noqa: E731
            until(lambda: agent() is not None and telephone.hears(caller, agent().hertz))
            until(lambda: telephone.hears(agent(), caller.hertz) and not telephone.hears(caller, 3400.0))
            # Then they talk, until the caller hangs up; the agent's telephone is hung up, too
            time.sleep(0.5)
            telephone.hang_up(caller)
            until(lambda: client.agent("li").handled_count == 1)
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_S) == 0
        node.stdout.close()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)
    telephone.close()
    [recording] = (tmp_path / "recordings").glob("*.cbr")
    assert channels(recording).shape[1] > 4000
