"""Leads and numbers that agents dial, over gRPC and by command, against a server with simulated media."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import grpc
import pytest

from cordboard.client import CallError, Client
from cordboard.v1 import agent_service_pb2 as agent_pb
from cordboard.v1 import call_service_pb2 as pb
from tests.serving import serve_command
from tests.test_campaign_service import PATIENCE_S, command

CENTER = "[center]\ntime_zone = 'UTC'\n[queues.sales]\nwrap_up = 600\n[agents.li]\n[agents.wang]\n"
CALLS = """
[trunks.main]
caller = "4001"
[phones.li]
to = "sip:li"
[phones.wang]
to = "sip:wang"
[campaigns.look]
queue = "sales"
trunk = "main"
mode = "preview"
hours = "mon-sun 00:00-24:00"
[campaigns.desk]
queue = "sales"
trunk = "main"
mode = "manual"
hours = "mon-sun 00:00-24:00"
attempts = 1
"""


def until(found: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < end
        time.sleep(0.1)


def refusal(call: Callable[[], object]) -> CallError:
    with pytest.raises(CallError) as found:
        call()
    return found.value


def test_agents_see_leads_accept_and_skip_them_and_dial_numbers_from_their_desk(tmp_path):
    # Given a server with a list and a node whose people all answer
    (tmp_path / "center.toml").write_text(CENTER)
    (tmp_path / "calls.toml").write_text(CALLS)
    (tmp_path / "list.csv").write_text("name,phone\nAnn,13900000001\nBo,13900000002\nCai,13900000003\n")
    (tmp_path / "never.csv").write_text("number\n13911111111\n")
    with serve_command("center.toml", "--calls", "calls.toml", "--json", cwd=tmp_path) as (_, address):
        media = [sys.executable, "-m", "cordboard", "media", "--simulated", "--server", address, "--json",
                 "--stays", "600", "--answers", "1", "--drain", "0"]  # fmt: skip
        node = subprocess.Popen(media, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        try:
            assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
            for args in (("import", "look", "list.csv"), ("block", "never.csv"), ("start", "look")):
                assert command(address, *args, cwd=tmp_path).returncode == 0
            with Client(address) as client, client.connect("li") as line:
                # When an agent is ready, she is told of a lead, and sees what the list says of it
                line.ready()
                told = next(message for message in line if message.WhichOneof("message") == "lead")
                lead = client.lead("li")
                assert (told.lead.campaign, told.lead.entry) == ("look", lead.entry) and lead.about == "name=Ann"
                assert lead.number == "13900000001" and lead.expire_time.seconds > time.time()
                # And skips it: she gets the next one, and accepts that by command
                client.skip_lead("li", "look", lead.entry, "called yesterday")
                until(lambda: not refused_lead(client) and client.lead("li").about == "name=Bo")
                shown = json.loads(command(address, "lead", "li", "--json", cwd=tmp_path).stdout)
                assert shown["number"] == "13900000002" and shown["attempt"] == 1
                assert command(address, "accept", "li", cwd=tmp_path).returncode == 0
                # Then she talks to who answers
                until(lambda: [call.stage for call in client.calls()] == [pb.Call.STAGE_TALKING])
                [call] = client.calls()
                assert call.agent.endswith("/li") and call.placed_by == call.agent and call.contact
                assert refusal(lambda: client.lead("li")).reason == "TOO_LATE"
                client.hang_up(call.contact.rpartition("/")[2])
                # And a number that another agent dials is refused as long as it can't be, and dialed then
                assert command(address, "pause", "look", cwd=tmp_path).returncode == 0
                client.set_state("wang", "ready")
                paused = refusal(lambda: client.dial_number("wang", "139-2222 2222"))
                assert paused.code is grpc.StatusCode.FAILED_PRECONDITION and "paused" in str(paused)
                assert command(address, "start", "desk", cwd=tmp_path).returncode == 0
                never = refusal(lambda: client.dial_number("wang", "13911111111"))
                assert "not to be called" in str(never) and "禁止呼叫" in never.text("zh")
                assert refusal(lambda: client.dial_number("wang", "reception")).code is grpc.StatusCode.INVALID_ARGUMENT
                assert refusal(lambda: client.dial_number("nobody", "139")).reason == "EVENT_REFUSED"
                done = client.dial_number("wang", "139-2222 2222", request_id="once")
                until(lambda: any(call.placed_by.endswith("/wang") and call.contact for call in client.calls()))
                again = client.dial_number("wang", "13922222222", request_id="once")
                assert again.applied.repeated_request and again.entry == done.entry
                [talk] = [call for call in client.calls() if call.placed_by.endswith("/wang")]
                client.hang_up(talk.contact.rpartition("/")[2])
                until(lambda: client.agent("wang").state == agent_pb.Agent.STATE_WRAP_UP and not client.calls())
                busy = refusal(lambda: client.dial_number("wang", "13933333333"))
                assert busy.reason == "TOO_LATE" and "wrap_up" in str(busy)
                often = refusal(lambda: client.dial_number("wang", "13922222222"))
                assert "1 times within 24 hours" in str(often)
                late = refusal(lambda: client.cancel_dial("wang", done.campaign, done.entry))
                assert late.reason == "TOO_LATE"
            rows = command(address, "export", "look", cwd=tmp_path).stdout.splitlines()
            assert [row.split(",")[5] for row in rows[1:]] == ["", "connected", ""]
            desk = command(address, "export", "desk", cwd=tmp_path).stdout.splitlines()
            assert [row.split(",")[1] for row in desk if row.endswith(",wang")] == ["13922222222"]
            journals = list(tmp_path.rglob("journal.db*"))
            assert journals and all(b"13922222222" not in path.read_bytes() for path in journals)
        finally:
            node.kill()
            node.wait(PATIENCE_S)
            node.stdout.close()


def refused_lead(client: Client) -> bool:
    try:
        client.lead("li")
    except CallError:
        return True
    return False
