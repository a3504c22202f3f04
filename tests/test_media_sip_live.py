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
from tests.sipp import SIPP, Sipp
from tests.sipp import caller as sipp_caller

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from tests.sip_world import prompt

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


def test_people_hold_confer_listen_and_take_over_over_sip(tmp_path):
    # Given li, wang and a supervisor with SIP telephones, and a caller who talks with li
    telephone, port = Telephone(), free_port()
    for name in ("prompts", "recordings"):
        (tmp_path / name).mkdir()
    for name, hertz in (("welcome", 3000.0), ("music", 3400.0), ("hold", 2600.0)):
        prompt(tmp_path / "prompts" / f"{name}.wav", hertz, 0.4)
    (tmp_path / "center.toml").write_text(CENTER)
    calls = CALLS
    for person in ("li", "wang", "boss"):
        calls = calls.replace(f"sip:{person}", telephone.phone(FarEnd(rings=0.0, picks_up=0.1)))
    (tmp_path / "calls.toml").write_text(calls)
    with serve_command("center.toml", "--calls", "calls.toml", "--json", cwd=tmp_path) as (server, address):
        command = [sys.executable, "-m", "cordboard", "media", "--sip", f"127.0.0.1:{port}", "--server", address, "--json"]
        node = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]

        def phone(number: int):
            """The call that the node placed as its n-th."""
            placed = [call for call in telephone.calls.values() if call is not caller]
            return placed[number - 1] if len(placed) >= number and placed[number - 1].up else None

        def hear_each_other(*calls) -> bool:
            return None not in calls and all(telephone.hears(one, two.hertz) for one in calls for two in calls if two is not one)

        with Client(address) as client:
            client.set_state("li", "ready")
            caller = telephone.call(port, "4001", FarEnd(), "138")
            until(lambda: hear_each_other(caller, phone(1)))
            [call] = client.calls()
            contact = call.contact.rpartition("/")[2]
            # When li asks wang, the caller hears the hold music; in the conference all hear all
            client.set_state("wang", "ready")
            client.consult(contact, agent="wang")
            until(lambda: telephone.hears(caller, 2600.0) and hear_each_other(phone(1), phone(2)))
            client.end_consult(contact, "conference")
            until(lambda: hear_each_other(caller, phone(1), phone(2)))
            # A supervisor listens unheard, whispers to li alone, and takes over
            client.monitor(contact, supervisor="boss")
            until(lambda: phone(3) is not None and all(telephone.hears(phone(3), one.hertz) for one in (caller, phone(1), phone(2))))
            assert not telephone.hears(caller, phone(3).hertz) and not telephone.hears(phone(1), phone(3).hertz)
            client.monitor(contact, "whisper", supervisor="boss")
            until(lambda: telephone.hears(phone(1), phone(3).hertz))
            assert not telephone.hears(caller, phone(3).hertz)
            first, boss = phone(1), phone(3)
            client.take_over(contact, supervisor="boss")
            until(lambda: first.over and hear_each_other(caller, phone(2), boss))
            # The node is to end: it drains, and ends with the conversation
            node.send_signal(signal.SIGTERM)
            time.sleep(1.5)
            assert node.poll() is None and hear_each_other(caller, phone(2), boss)
            telephone.hang_up(caller)
            telephone.hang_up(boss)
        assert node.wait(PATIENCE_S) == 0
        node.stdout.close()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)
    telephone.close()


MENU = """
[steps.main]
menu = ["welcome"]
keys = { 1 = "billing", 2 = "sales" }
otherwise = "main"
[steps.billing]
queue = "billing"
[steps.sales]
queue = "sales"
"""


@pytest.mark.skipif(SIPP is None, reason="sipp is not installed (apt-get install sip-tester)")
@pytest.mark.parametrize("backend", [(), ("--backend", "wheel", "--capacity", "8")], ids=["production", "wheel"])
def test_a_key_leads_to_its_queue_over_sip_whether_it_comes_by_rfc_4733_or_info(tmp_path, backend):
    # Given a flow with a menu, and an agent of one of its queues
    telephone, port = Telephone(), free_port()
    for name in ("prompts/en", "recordings"):
        (tmp_path / name).mkdir(parents=True)
    for name, hertz in (("en/welcome", 3000.0), ("music", 3400.0)):
        prompt(tmp_path / "prompts" / f"{name}.wav", hertz, 0.4)
    (tmp_path / "center.toml").write_text("[queues.billing]\n[queues.sales]\n[agents.li]\nqueues = ['billing']\n")
    (tmp_path / "main.toml").write_text(MENU)
    phone = telephone.phone(FarEnd(rings=0.0, picks_up=0.2))
    queues = '[queues.billing]\nmusic = ["music"]\n[queues.sales]\nmusic = ["music"]\n'
    (tmp_path / "calls.toml").write_text(f'[numbers.4001]\nflow = "main.toml"\n{queues}[phones.li]\nto = "{phone}"\n')
    with serve_command("center.toml", "--calls", "calls.toml", "--json", cwd=tmp_path) as (server, address):
        command = [sys.executable, "-m", "cordboard", "media", "--sip", f"127.0.0.1:{port}", "--server", address, "--json", *backend]
        node = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        with Client(address) as client:
            client.set_state("li", "ready")
            # When one caller hears the menu and presses 1, and sipp presses 2
            caller = telephone.call(port, "4001", FarEnd(), "138")
            until(lambda: telephone.hears(caller, 3000.0))
            telephone.press(caller, "1")
            sipp = Sipp(tmp_path, sipp_caller(infos="2", talks_ms=8000), to=f"127.0.0.1:{port}", more=("-s", "4001"))
            # Then the one talks to the agent of billing, and the other waits in sales
            until(lambda: client.queue("sales").waiting_count == 1)
            agent = lambda: next((call for call in telephone.calls.values() if call is not caller), None)  # noqa: E731
            until(lambda: agent() is not None and telephone.hears(caller, agent().hertz))
            assert client.queue("billing").connected_count == 1
            sipp.done()
            until(lambda: client.queue("sales").waiting_count == 0)
            telephone.hang_up(caller)
            until(lambda: client.agent("li").handled_count == 1)
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_S) == 0
        node.stdout.close()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)
    telephone.close()
