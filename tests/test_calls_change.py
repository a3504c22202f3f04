"""Another file of calls while calls are up: calls, lists and drop counts stay, and what is gone takes nothing new."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cordboard import Acd
from cordboard.calls.change import diff_calls
from cordboard.calls.config import calls_record, load_calls, parse_calls
from cordboard.campaigns.dialer import _answered
from cordboard.client import Client
from cordboard.errors import ConflictError, UnknownNameError
from cordboard.journal import event_line
from cordboard.live import Engine, Settings
from cordboard.pacing.ledger import Ledger
from cordboard.replay import replay
from tests.floor import Floor as Board
from tests.serving import serve_command
from tests.test_campaign_service import command, kill, status
from tests.test_campaigns import AGENTS, CALLS, CENTER, Floor, listed
from tests.test_flows import CALLS as FLOW_CALLS
from tests.test_flows import MENU, flow_floor, queues

PATIENCE_S = 30.0
SUMMER = CALLS[CALLS.index("[campaigns.spring]") :].replace("campaigns.spring", "campaigns.summer")


def changed(floor: Floor, text: str) -> None:
    """Both sides go over to another file, as a server has them do."""
    floor.calls = parse_calls(text, floor.center)
    outcome = floor.engine.change_calls(floor.calls).result()
    assert outcome.entry.error is None
    floor.dialer.change(floor.calls)
    floor.carry()


def at_work(folder: Path, **more) -> Floor:
    floor = Floor(folder, **more)
    listed(floor, 2000)
    for agent in AGENTS:
        floor.submit("agent_ready", agent=agent)
    floor.submit("campaign_started", campaign="spring")
    floor.run(900.0)
    return floor


def counted(floor: Floor, name: str = "spring") -> list[tuple[str, float, float]]:
    ledger: Ledger = floor.dialer.works[name].pacer.ledger
    return [(one.rule.name, one.base, one.dropped) for one in ledger.windows(floor.dialer.now)]


def drained(floor: Floor) -> None:
    """Nothing more is dialed, and all calls end; then every attempt is accounted for."""
    for name in floor.calls.campaigns:
        floor.submit("campaign_paused", campaign=name)
    floor.run(900.0)
    outcomes = Counter((one["campaign"], one["outcome"]) for one in floor.effects("attempt_outcome"))
    assert sum(outcomes.values()) == len(floor.effects("attempt_dialed")) == len(floor.effects("attempt_ended"))


def test_a_campaign_that_is_changed_mid_dial_keeps_its_list_its_counts_and_its_calls(tmp_path):
    # Given a campaign that dials
    floor = at_work(tmp_path)
    before, dialed = counted(floor), len(floor.dialed)
    calls = floor.engine.read_calls(lambda board: sorted(board.attempts)).result()
    assert calls and before[-1][1] > 20
    # When it may have two lines only from now on
    changed(floor, CALLS.replace("MODE", "predictive").replace("lines = 40", "lines = 2"))
    # Then its calls and its counts are as they were, and nobody is dialed from the beginning again
    assert floor.engine.read_calls(lambda board: sorted(board.attempts)).result() == calls
    assert counted(floor) == before
    floor.run(600.0)
    assert floor.dialer.works["spring"].running
    assert len(floor.engine.read_calls(lambda board: list(board.attempts)).result()) <= 2
    assert len(floor.dialed) > dialed and max(Counter(floor.dialed).values()) <= 3
    drained(floor)
    # And the ledger says of the whole time what the journal says
    book = [one for one in floor.book.attempts("spring") if one.answered is not None]
    outcomes = floor.book.counts("spring")["attempts"]
    assert outcomes == dict(Counter(one["outcome"] for one in floor.effects("attempt_outcome")))
    assert counted(floor)[-1][1] == sum(_answered(one).machine is False for one in book)
    floor.close()


def test_a_campaign_that_is_gone_dials_no_more_and_its_calls_end_as_they_would(tmp_path):
    floor = at_work(tmp_path)
    # Given an entry that rings, and will not be answered
    open_now = floor.engine.read_calls(lambda board: [entry for _, entry in board.attempts]).result()
    without = CALLS[: CALLS.index("[campaigns.spring]")]
    # When the campaign is gone from the file
    changed(floor, without)
    dialed = len(floor.dialed)
    floor.run(900.0)
    # Then nothing is dialed, every call ends with its outcome, and who was dropped has heard the message
    assert len(floor.dialed) == dialed
    assert len(floor.effects("attempt_ended")) == len(floor.effects("attempt_dialed"))
    missed = [one for one in floor.effects("attempt_outcome") if one["outcome"] == "no_answer" and one["entry"] in open_now]
    states = {str(row[0]): row[3] for row in floor.book.results("spring")}
    assert missed and all(states[one["entry"]] == "ready" for one in missed if one["attempt"] < 3)
    with pytest.raises(UnknownNameError, match="no campaign"):
        floor.dialer.status("spring")
    # And when it is back it is paused, with its list
    changed(floor, CALLS.replace("MODE", "predictive"))
    floor.run(60.0)
    assert len(floor.dialed) == dialed and not floor.dialer.works["spring"].running
    floor.submit("campaign_started", campaign="spring")
    floor.run(120.0)
    assert len(floor.dialed) > dialed
    drained(floor)
    floor.close()


def test_a_campaign_that_is_new_leaves_the_pacing_of_others_alone(tmp_path):
    floor = at_work(tmp_path)
    pacer = floor.dialer.works["spring"].pacer
    own = SUMMER.replace('queue = "spring"', 'queue = "summer"')
    floor.engine.change_center(parsed := parsed_center()).result()
    floor.center = parsed
    changed(floor, CALLS.replace("MODE", "predictive") + own.replace("MODE", "progressive"))
    assert floor.dialer.works["spring"].pacer is pacer and counted(floor, "summer")[-1][1] == 0
    assert all(floor.book.add("summer", [("8000001", "UTC", "")]))
    floor.submit("campaign_started", campaign="summer")
    floor.run(60.0)
    assert "8000001" in floor.dialed
    drained(floor)
    floor.close()


def parsed_center():
    from cordboard.center import parse_center

    return parse_center(CENTER + "[queues.summer]\nmax_wait = 2\n")


def test_a_replay_of_changes_gives_the_same_bytes_and_so_does_a_restart(tmp_path):
    # Given changes while calls are up
    floor = at_work(tmp_path)
    changed(floor, CALLS.replace("MODE", "power").replace("lines = 40", "lines = 20"))
    floor.run(30.0)
    changed(floor, CALLS[: CALLS.index("[campaigns.spring]")])
    floor.run(5.0)
    told = [event_line(effect) for entry in floor.engine.entries() for effect in entry.effects]
    state = floor.engine.read_calls(lambda board: (board.state.record(), calls_record(board.left))).result()
    assert state[1]["campaigns"]
    lines = b"".join(event_line(event).encode() + b"\n" for event in floor.engine.export())
    first = floor.engine.first_center()
    answers = replay(Acd(first), first, io.BytesIO(lines))
    assert [event_line(one) for answer in answers for one in (*answer.fired, *answer.effects)] == told
    # And the next engine has it all from its snapshot
    floor.close()
    with Engine.open(floor.center, Settings(data=tmp_path / "data", durable=False), clock=lambda: floor.media.now) as engine:
        assert engine.read_calls(lambda board: (board.state.record(), calls_record(board.left))).result() == state


def test_a_change_of_what_somebody_else_has_changed_is_refused(tmp_path):
    floor = Floor(tmp_path)
    etag = floor.engine.calls_etag
    other = parse_calls(CALLS.replace("MODE", "power"), floor.center)
    floor.engine.change_calls(other, etag=etag, request_id="a").result()
    assert floor.engine.calls_etag != etag
    with pytest.raises(ConflictError, match="settings of calls have changed"):
        floor.engine.change_calls(floor.calls, etag=etag).result()
    # But the same request again is the first one
    again = floor.engine.change_calls(other, etag=etag, request_id="a").result()
    assert again.repeated
    floor.close()


def without(text: str, section: str) -> str:
    return "".join(part for part in re.split(r"(?m)^(?=\[)", text) if not part.startswith(section))


def test_a_caller_goes_on_in_a_flow_that_is_gone_and_nobody_else_comes_into_it():
    # Given a caller at a menu
    floor = flow_floor(MENU)
    floor.call()
    floor.run(1.0)
    # When number and flow are gone
    kept = without(FLOW_CALLS, "[numbers.4001]")
    floor.apply("calls_changed", calls=calls_record(parse_calls(kept, floor.center)))
    floor.media.press("c1", "1")
    floor.run(1.0)
    # Then the key still leads to its queue
    assert queues(floor) == ["billing"]
    second = floor.call()
    floor.run(1.0)
    assert second not in floor.media.legs() and floor.board.state.legs.keys() == {"c1"}
    assert floor.board.left.flows and floor.board.left.numbers
    # And when that call is over, nothing of it is left at the next change
    floor.media.hang_up("c1")
    floor.run(1.0)
    floor.apply("calls_changed", calls=calls_record(parse_calls(kept, floor.center)))
    assert not floor.board.left.flows and not floor.board.left.numbers


def test_a_phone_that_is_gone_stays_until_its_call_is_over():
    floor = Board()
    nailed = FLOW_CALLS.replace('to = "sip:li"', 'to = "sip:li"\nnailed_up = true')
    floor.apply("calls_changed", calls=calls_record(parse_calls(nailed, floor.center)))
    floor.ready("li")
    floor.run(5.0)
    caller = floor.call()
    floor.run(10.0)
    assert floor.hears(caller) == {leg := floor.phone("li")}
    text = without(nailed, "[phones.li]")
    floor.apply("calls_changed", calls=calls_record(parse_calls(text, floor.center)))
    floor.run(1.0)
    assert floor.hears(caller) == {leg}
    floor.media.hang_up(caller)
    floor.run(20.0)
    assert not floor.board.state.legs and not floor.board.nailed
    # And when it is back, it is nailed up again
    floor.apply("calls_changed", calls=calls_record(parse_calls(nailed, floor.center)))
    floor.run(5.0)
    assert floor.phone("li")


def test_the_difference_of_two_files_is_told_without_addresses():
    center = parsed_center()
    old = parse_calls(CALLS.replace("MODE", "power"), center)
    text = CALLS.replace("MODE", "power").replace("lines = 40", "lines = 7").replace('"sip:a1"', '"sip:secret"')
    new = parse_calls(text.replace("[phones.a0]", "[phones.boss]").replace('"sip:a0"\nnailed_up = true', '"sip:a0"') + SUMMER.replace("MODE", "power"), center)
    texts = {one.key: one.text("en") for one in diff_calls(old, new)}
    assert texts["campaigns.spring.lines"] == "campaigns.spring.lines: 40 -> 7"
    assert texts["campaigns.summer"] == "campaigns.summer: new, paused at first"
    assert texts["phones.a0"].startswith("phones.a0: gone") and texts["phones.boss"] == "phones.boss: new"
    assert texts["phones.a1.to"] == "phones.a1.to: changed" and "secret" not in str(texts)
    assert len(texts) == 5 and diff_calls(new, new) == []
    assert all(one.text("zh") != one.text("en") for one in diff_calls(old, new))


def test_a_server_takes_its_file_over_keeps_it_over_kill_9_and_refuses_one_with_mistakes(tmp_path):
    # Given a server whose campaign dials
    (tmp_path / "center.toml").write_text(CENTER)
    file = tmp_path / "calls.toml"
    file.write_text(CALLS.replace("MODE", "power"))
    (tmp_path / "many.csv").write_text("number\n" + "".join(f"1380{n:07d}\n" for n in range(400)))
    arguments = ("center.toml", "--calls", "calls.toml", "--json")
    with serve_command(*arguments, cwd=tmp_path) as (server, address), Client(address) as client:
        assert command(address, "import", "spring", "many.csv", cwd=tmp_path).returncode == 0
        media = [sys.executable, "-m", "cordboard", "media", "--simulated", "--server", address, "--json",
                 "--stays", "2", "--answers", "0.9", "--hourly", "1", "--drain", "0"]  # fmt: skip
        node = subprocess.Popen(media, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        for agent in AGENTS:
            client.set_state(agent, "ready")
        assert command(address, "start", "spring", cwd=tmp_path).returncode == 0
        until(lambda: status(address, tmp_path)["outcomes"].get("connected", 0) >= 3)
        # When the file has a mistake, nothing changes
        etag = client.check_calls().etag
        file.write_text(CALLS.replace("MODE", "power").replace('queue = "spring"', 'queue = "nowhere"'))
        wrong = command(address, "reload", "--json", cwd=tmp_path)
        assert wrong.returncode == 1 and "nowhere" in json.loads(wrong.stdout)["errors"][0]
        wrong = command(address, "reload", "--check", "--json", cwd=tmp_path, lang="zh")
        assert wrong.returncode == 1 and "没有队列“nowhere”。" in json.loads(wrong.stdout)["errors"][0]
        file.write_text("")
        assert command(address, "reload", cwd=tmp_path).returncode == 2
        # When it has another campaign and other limits
        file.write_text(CALLS.replace("MODE", "power").replace("lines = 40", "lines = 3") + SUMMER.replace("MODE", "power"))
        looked = json.loads(command(address, "reload", "--check", "--json", cwd=tmp_path).stdout)
        assert sorted(looked["changes"]) == ["campaigns.spring.lines: 40 -> 3", "campaigns.summer: new, paused at first"]
        before = status_of(address, tmp_path)["spring"]
        assert command(address, "reload", cwd=tmp_path).returncode == 0
        # Then lists and counts are there, and it dials on
        found = status_of(address, tmp_path)
        assert found["spring"]["running"] and not found["summer"]["running"]
        assert sum(found["spring"]["outcomes"].values()) >= sum(before["outcomes"].values())
        assert found["spring"]["windows"][0]["base"] >= before["windows"][0]["base"] > 0
        until(lambda: status_of(address, tmp_path)["spring"]["outcomes"]["connected"] > before["outcomes"]["connected"])
        last = client.check_calls()
        assert not last.changes and last.etag == last.new_etag != etag
        kill(server)
    # And after kill -9 the next one has them, too
    with serve_command(*arguments, cwd=tmp_path) as (server, address), Client(address) as client:
        again = client.check_calls()
        assert again.etag == last.etag and not again.changes
        until(lambda: command(address, "status", "--json", cwd=tmp_path).returncode == 0)  # it reads its list first
        until(lambda: status_of(address, tmp_path)["spring"]["running"])
        # And a signal has it read once more
        file.write_text(CALLS.replace("MODE", "power"))
        server.send_signal(signal.SIGHUP)
        until(lambda: list(status_of(address, tmp_path)) == ["spring"])
        node.kill()
        node.wait(PATIENCE_S)
        node.stdout.close()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)
    assert load_calls(file, parsed_center()).campaigns.keys() == {"spring"}


def until(true) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.3)


def status_of(address: str, cwd: Path) -> dict[str, dict]:
    done = command(address, "status", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return {one["campaign"]: one for one in json.loads(done.stdout)}
