"""What dies, hangs, fills up or jumps while calls are up: the others see it, account for it, and go on."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("cordboard.bindings.pjsip.sip", reason="the production build is missing (make media)", exc_type=ModuleNotFoundError)
from tests.recorded import channels
from tests.sip_floor import PATIENCE_S, SipFloor, sip_floor, until

SEEN_S = 3.0  # the bar is two seconds; a loaded machine gets one more


@pytest.fixture(scope="module")
def floor(tmp_path_factory):
    with sip_floor(tmp_path_factory.mktemp("floor"), "n1", "n2") as floor:
        floor.ready()
        yield floor


def kill(floor: SipFloor, worker: int) -> None:
    os.kill(worker, signal.SIGKILL)


def abort(floor: SipFloor, worker: int) -> None:
    os.kill(worker, signal.SIGABRT)


def stop(floor: SipFloor, worker: int) -> None:
    os.kill(worker, signal.SIGSTOP)


def block(floor: SipFloor, worker: int) -> None:
    (floor.folder / "stuck-n1").touch()
    until(lambda: not Path(f"/proc/{worker}").exists())  # whoever watches it has ended it
    (floor.folder / "stuck-n1").unlink()


def names(floor: SipFloor, begun: int, *kinds: str) -> list[dict]:
    """What n1's coming and going left in the journal since then."""
    return [event for event in floor.journal()[begun:] if event["event"] in kinds and event["node"] == "n1"]


@pytest.mark.parametrize("fault", [kill, abort, stop, block])
def test_a_node_that_fails_takes_its_own_calls_alone_and_is_started_again(floor, fault):
    # Given a conversation on one node, and somebody who waits on another
    talking = floor.call("n1")
    floor.wait_for_talk(talking)
    waiting = floor.call("n2")
    worker, begun = floor.nodes["n1"].worker(), len(floor.journal())
    # When the first node fails
    at = time.time()
    fault(floor, worker)
    # Then its calls are over for the engine within seconds, and who waited gets the agent
    floor.wait_for_talk(waiting)
    assert names(floor, begun, "node_lost", "node_attached")[0]["t"] - at < SEEN_S
    # And the node is there again, at the same address, with a new worker
    until(lambda: names(floor, begun, "node_attached"))
    assert floor.nodes["n1"].worker() != worker
    floor.telephone.hang_up(waiting)
    again = floor.call("n1")
    floor.wait_for_talk(again)
    floor.telephone.hang_up(again)
    floor.all_over()


def test_conversations_go_on_when_the_engine_is_killed_and_starts_again(floor):
    caller = floor.call("n1")
    agent = floor.wait_for_talk(caller)
    # When the engine dies, they still talk
    floor.server.kill()
    floor.server.wait(PATIENCE_S)
    time.sleep(0.5)
    assert floor.talks_to(caller) is agent
    # And when it is back, their conversation is the same, and its end is heard
    attached = len([event for event in floor.journal() if event["event"] == "node_attached"])
    floor.start()
    until(lambda: len([event for event in floor.journal() if event["event"] == "node_attached"]) == attached + 2)
    assert floor.talks_to(caller) is agent and not [name for name in caller.requests if name in ("BYE", "INVITE")]
    assert len(floor.board().state.legs) == 2
    floor.telephone.hang_up(caller)
    floor.all_over()


def test_one_that_nobody_watches_any_more_hangs_up_and_says_goodbye(floor):
    node = floor.add_node("n3")
    worker, caller = node.worker(), floor.call("n3")
    floor.wait_for_talk(caller)
    node.process.kill()
    node.process.wait(PATIENCE_S)
    until(lambda: caller.over and not Path(f"/proc/{worker}").exists())
    floor.all_over()
    assert node.process.stdout is not None
    node.process.stdout.close()
    del floor.nodes["n3"]


def test_calls_outlive_a_disk_of_recordings_that_is_full(floor):
    # Given a node that can write 60 kB of recordings: two seconds of a call
    shell = ["sh", "-c", 'ulimit -f 118; exec "$0" "$@"']
    node = floor.add_node("n4", before=shell)
    caller = floor.call("n4")
    floor.wait_for_talk(caller)
    # When the disk is full, they still talk
    time.sleep(4.0)
    agent = floor.wait_for_talk(caller)
    floor.telephone.hang_up(caller)
    until(lambda: agent.over)
    floor.all_over()
    # Then what was recorded up to then plays
    recorded = lambda: [event for event in floor.journal() if event["event"] == "leg_recorded" and event["node"] == "n4"]  # noqa: E731
    until(recorded)
    [told] = recorded()
    audio = channels(floor.folder / "recordings" / told["file"])
    assert len(audio) == 2 and len(audio[0]) / 8000 == told["seconds"]
    assert 0.9 < told["seconds"] < 3.0 and told["missing"] > 1.0
    node.close()
    del floor.nodes["n4"]


@pytest.fixture(scope="module")
def jumping(tmp_path_factory):
    """A floor whose clock can be set: the server's and the node's."""
    folder = tmp_path_factory.mktemp("jumping")
    compiled = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", folder / "jump.so", Path(__file__).with_name("clockjump.c"), "-ldl"])
    assert compiled.returncode == 0
    (folder / "jump").write_bytes(struct.pack("q", 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(folder / "jump.so"))
        patch.setenv("CLOCK_JUMP", str(folder / "jump"))
        with sip_floor(folder, "n1") as floor:
            floor.ready()
            yield floor


@pytest.mark.parametrize("seconds", [86_400, -86_400])
def test_a_clock_that_is_set_moves_no_timer_and_ends_no_call(jumping, seconds):
    caller = jumping.call("n1")
    agent = jumping.wait_for_talk(caller)
    began = len(jumping.journal())
    # When the wall clock of server and node jumps by a day
    with (jumping.folder / "jump").open("r+b") as file:
        file.write(struct.pack("q", seconds))
    time.sleep(3.0)
    # Then nobody is lost, they talk, and the next one is served
    assert not [event for event in jumping.journal()[began:] if event["event"].startswith("node_")]
    assert jumping.talks_to(caller) is agent
    jumping.telephone.hang_up(caller)
    again = jumping.call("n1")
    jumping.wait_for_talk(again)
    jumping.telephone.hang_up(again)
    jumping.all_over()
    times = [event["t"] for event in jumping.journal()]
    assert times == sorted(times) and times[-1] - times[0] < 3600
