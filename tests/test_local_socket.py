"""The Unix socket of ``cordboard serve``: programs of this machine come by it, and nobody else."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time

import grpc
import pytest

from cordboard.client import CallError, Client
from tests.serving import serve_command

CENTER = "[queues.calls]\n[agents.li]\n"
CALLS = '[numbers.4001]\nqueue = "calls"\n[phones.li]\nto = "sip:li@example.org"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "center.toml").write_text(CENTER)
    (tmp_path / "calls.toml").write_text(CALLS)
    return tmp_path


def refused(folder, *arguments: str) -> str:
    """What ``serve`` says when it does not start."""
    command = [sys.executable, "-m", "cordboard", "serve", "center.toml", *arguments, "--listen", "127.0.0.1:0"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2, found
    return found.stderr


def test_a_media_node_and_a_client_come_by_a_socket_that_only_its_user_can_open(folder):
    # Given a server with a socket, and what a killed one has left behind there
    (folder / "s").touch()
    with serve_command("center.toml", "--calls", "calls.toml", "--socket", "s", "--json", cwd=folder) as (server, _):
        assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600 and stat.S_ISSOCK((folder / "s").stat().st_mode)
        address = f"unix:{folder / 's'}"
        # When a node attaches and an agent becomes ready through it
        media = [sys.executable, "-m", "cordboard", "media", "--simulated", "--server", address, "--number", "4001", "--hourly", "3600", "--json", "--drain", "0"]
        node = subprocess.Popen(media, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
            with Client(address) as client:
                client.set_state("li", "ready")
                # Then callers of the simulated node reach her
                end = time.monotonic() + 60.0
                while not client.agent("li").handled_count and not client.calls():
                    assert time.monotonic() < end
                    time.sleep(0.1)
        finally:
            node.terminate()
            node.wait(60)
            node.stdout.close()
        # And another server does not take it away; the socket goes with its own
        assert "another server has this socket" in refused(folder, "--data", "other", "--socket", "s")
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    assert not (folder / "s").exists()


def test_callers_show_their_token_at_the_socket_as_at_the_port(folder):
    # Given a server that knows callers by tokens
    keys = [sys.executable, "-m", "cordboard", "token", "keys", "private.jwks", "--public", "public.jwks"]
    subprocess.run(keys, cwd=folder, check=True, timeout=60)
    with serve_command("center.toml", "--token-keys", "public.jwks", "--socket", "s", cwd=folder):
        # When somebody comes without one, then nobody is let in
        with Client(f"unix:{folder / 's'}") as client, pytest.raises(CallError) as found:
            client.set_state("li", "ready")
        assert found.value.code is grpc.StatusCode.UNAUTHENTICATED


def test_a_socket_that_nobody_could_use_is_refused_before_anything_is_opened(folder):
    # Given no folder, and a path that no address holds
    long = folder / ("x" * 100)
    # Expect words that say so, and no journal
    assert "no folder" in refused(folder, "--socket", "absent/s")
    assert "too long" in refused(folder, "--socket", str(long))
    assert not (folder / "cordboard-data").exists()
