"""A whole center whose trunk, agents' phones and people are Asterisk's: server, media node and Asterisk. Run by make interop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from cordboard.client import Client
from tests.interop.asterisk import Asterisk
from tests.serving import serve_command
from tests.sipp import free_port

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from tests.sip_world import prompt

PATIENCE_S = 40.0
CENTER = '[queues.calls]\n[queues.spring]\nmax_wait = 2\n[agents.li]\nqueues = ["calls"]\n[agents.wang]\nqueues = ["calls", "spring"]\n'
CALLS = """
[calls]
hold = ["hold"]
[numbers.4001]
queue = "calls"
[phones.li]
to = "sip:91200@127.0.0.1:{port}"
[phones.wang]
to = "sip:91300@127.0.0.1:{port}"
[trunks.main]
caller = "ulaw"
[campaigns.spring]
queue = "spring"
trunk = "main"
message = ["sorry"]
hours = ["mon-sun 00:00-24:00"]
"""


def until(found) -> None:
    end = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.fixture
def center(tmp_path):
    """Asterisk, a client of the server, the node's port, and how to run a command against the server."""
    asterisk, port = Asterisk(), free_port()
    for name in ("prompts", "recordings"):
        (tmp_path / name).mkdir()
    for name, hertz in (("hold", 2600.0), ("sorry", 2200.0)):
        prompt(tmp_path / "prompts" / f"{name}.wav", hertz, 0.4)
    (tmp_path / "center.toml").write_text(CENTER)
    (tmp_path / "calls.toml").write_text(CALLS.format(port=asterisk.port))
    with serve_command("center.toml", "--calls", "calls.toml", "--json", cwd=tmp_path) as (server, address):
        command = [sys.executable, "-m", "cordboard", "media", "--sip", f"127.0.0.1:{port}", "--server", address]
        command += ["--trunk", f"main=127.0.0.1:{asterisk.port}", "--drain", "0", "--json"]
        node = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

        def run(*words: str) -> None:
            subprocess.run([sys.executable, "-m", "cordboard", *words, "--server", address], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE_S)

        try:
            assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
            with Client(address) as client:
                yield asterisk, client, port, run
        finally:
            node.send_signal(signal.SIGTERM)
            node.wait(PATIENCE_S)
            node.stdout.close()
            server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE_S)
            asterisk.close()


def test_a_caller_from_asterisk_waits_meets_an_agent_is_held_and_transferred(center):
    # Given a caller who waits, and an agent who comes
    asterisk, client, port, _ = center
    asterisk.calls("ulaw", f"sip:4001@127.0.0.1:{port}", "91000")
    until(lambda: client.queue("calls").waiting_count == 1)
    client.set_state("li", "ready")
    until(lambda: asterisk.hears("91000", 1200.0) and asterisk.hears("91200", 1000.0))
    [call] = client.calls()
    contact = call.contact.rpartition("/")[2]
    # When li holds, then the caller hears the music and li nothing of the caller
    client.hold(contact)
    until(lambda: asterisk.hears("91000", 2600.0) and not asterisk.hears("91200", 1000.0))
    client.resume(contact)
    until(lambda: asterisk.hears("91000", 1200.0) and asterisk.hears("91200", 1000.0))
    # When li transfers to wang, then these two talk
    client.set_state("wang", "ready")
    client.transfer(contact, agent="wang")
    until(lambda: asterisk.hears("91000", 1300.0) and asterisk.hears("91300", 1000.0))
    [call] = client.calls()
    client.hang_up(call.contact.rpartition("/")[2])
    until(lambda: not client.calls())


def test_a_campaign_dials_over_asterisk_and_connects_who_answers(center, tmp_path):
    asterisk, client, _, run = center
    client.set_state("wang", "ready")
    (tmp_path / "list.csv").write_text("number\n13800000001\n")
    run("campaign", "import", "spring", "list.csv")
    run("campaign", "start", "spring")
    until(lambda: asterisk.hears("91100", 1300.0) and asterisk.hears("91300", 1100.0))
    [call] = client.calls()
    client.hang_up(call.contact.rpartition("/")[2])
    until(lambda: client.agent("wang").handled_count == 1)
