"""A media node of another machine attaches by mTLS: the commands, with certificates as they make them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.floor import CALLS, CENTER
from tests.serving import serve_command

PATIENCE_S = 60.0


def cordboard(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cordboard", *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "center.toml").write_text(CENTER)
    (tmp_path / "calls.toml").write_text(CALLS)
    for arguments in (
        ("init", "certs"),
        ("server", "certs", "--host", "localhost", "--host", "127.0.0.1"),
        ("client", "certs", "--name", "media1", "--role", "service", "--out", "node"),
        ("client", "certs", "--name", "li", "--role", "agent", "--out", "li"),
    ):
        made = cordboard(tmp_path, "certs", *arguments)
        assert made.returncode == 0, made.stderr
    return tmp_path


def media(address: str, *certificate: str) -> list[str]:
    return ["media", "--simulated", "--server", address, "--hourly", "1", "--drain", "0", "--json", *certificate]


def own(name: str) -> tuple[str, ...]:
    return "--certificate", f"certs/{name}.pem", "--key", f"certs/{name}.key"


@pytest.mark.slow
def test_a_node_attaches_by_its_certificate_and_nobody_else_does(folder):
    # Given a server that wants certificates
    tls = ("--tls-cert", "certs/server.pem", "--tls-key", "certs/server.key", "--tls-clients", "certs/ca.pem")
    with serve_command("center.toml", "--calls", "calls.toml", *tls, cwd=folder) as (_, address):
        trust = ("--authority", "certs/ca.pem")
        # When a node shows its own, then it is attached
        command = [sys.executable, "-m", "cordboard", *media(address, *trust, *own("node"))]
        node = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            assert node.stdout is not None and json.loads(node.stdout.readline())["ready"]
        finally:
            node.terminate()
            assert node.wait(PATIENCE_S) == 0
            node.stdout.close()
        # And an agent's certificate attaches nothing: the command says why, and ends
        refused = cordboard(folder, *media(address, *trust, *own("li")))
        assert refused.returncode == 2 and "permission" in refused.stderr, refused
