"""The examples in Java, built with Debian's packages, against a live server that is killed and comes again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.clocks import until
from tests.debian import unpacked
from tests.postgres import free_port
from tests.serving import serve_command

pytestmark = [pytest.mark.sources, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[1]
CENTER = "[queues.billing]\n[agents.li]\nwrap_up = 1\n"
FACTS = {"connected", "state", "enqueued", "offered", "applied", "refused"}


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs a class of the examples."""
    debian = unpacked("java")
    if shutil.which("javac") is None:
        pytest.skip("a JDK is not installed (sudo apt-get install default-jdk-headless)")
    classes = tmp_path_factory.mktemp("java")
    shared = str(distribution("googleapis-common-protos").locate_file(""))
    env = {**os.environ, "DEBIAN": str(debian), "GOOGLEAPIS": shared}
    command = [ROOT / "services" / "examples" / "java" / "build", classes]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{debian}/usr/share/java/*"]


def take_a_contact(java: list[str], address: str) -> list[dict]:
    done = subprocess.run([*java, "Agent", address, "li", "billing"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_programs_in_java_take_contacts_and_miss_no_event_when_the_server_is_killed(java, tmp_path):
    (tmp_path / "center.toml").write_text(CENTER)
    listen, told, said = f"127.0.0.1:{free_port()}", tmp_path / "told", tmp_path / "said"
    serve = ["center.toml", "--data", "data"]
    with told.open("w") as out, said.open("w") as err:
        watch = subprocess.Popen([*java, "Watch", listen, "1", "11"], stdout=out, stderr=err)
    try:
        # given a watcher, an agent who takes a contact, and a server that dies
        with serve_command(*serve, cwd=tmp_path, listen=listen) as (process, _):
            steps = take_a_contact(java, listen)
            until(lambda: "CONTACT_ENDED" in told.read_text())
            process.kill()
        # when it comes again and the agent takes another one
        with serve_command(*serve, cwd=tmp_path, listen=listen):
            take_a_contact(java, listen)
            assert watch.wait(60) == 0, said.read_text()
    finally:
        watch.kill()
    # then the agent saw all of it
    assert {step["step"] for step in steps} == FACTS
    found = {step["step"]: step for step in steps}
    assert found["offered"] == {"step": "offered", "mine": True, "eligible": 1}
    assert found["refused"] == {"step": "refused", "code": "FAILED_PRECONDITION", "details": 3}
    assert found["enqueued"]["effect"] == "OFFER" and found["enqueued"]["revision"] == found["enqueued"]["again"]
    # and the watcher every entry once
    entries = [line.split() for line in told.read_text().splitlines()]
    assert [int(revision) for revision, _ in entries] == list(range(1, 12))
    assert [kind for _, kind in entries].count("CONTACT_QUEUED") == 2 and "resuming at revision" in said.read_text()
