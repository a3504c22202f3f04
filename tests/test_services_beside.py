"""``cordboard serve`` as a process: with metrics, health, records and webhooks beside the services."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("sqlalchemy")
pytest.importorskip("prometheus_client")

from cordboard.cli import main
from cordboard.errors import InputError
from cordboard.live.beside import Beside
from cordboard.records import Records
from tests.clocks import until
from tests.test_live_webhooks import SECRET, Receiver

CENTER = "[queues.billing]\n[agents.li]\nskills = {}\n"


def serve(folder: Path, *more: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A server on ports that the system chooses, and what it says when it is ready."""
    command = [sys.executable, "-m", "cordboard", "serve", str(folder / "center.toml"), "--data", str(folder / "data")]
    command += ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--json", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the server ended with status {process.wait(30)}"
    return process, json.loads(line)


def get(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_served_contact_is_in_the_metrics_the_webhook_and_after_the_end_in_the_records(tmp_path):
    # given a server with an endpoint for its webhooks
    import grpc

    from cordboard.v1 import routing_service_pb2, routing_service_pb2_grpc

    receiver = Receiver()
    (tmp_path / "center.toml").write_text(CENTER, "utf-8")
    (tmp_path / "hooks.toml").write_text(f'[webhooks.crm]\nurl = "{receiver.url}"\nsecret = "{SECRET}"\n', "utf-8")
    process, ready = serve(tmp_path, "--webhooks", str(tmp_path / "hooks.toml"))
    try:
        # when a contact comes in
        with grpc.insecure_channel(ready["address"]) as channel:
            stub = routing_service_pb2_grpc.RoutingServiceStub(channel)
            stub.Enqueue(
                routing_service_pb2.EnqueueRequest(
                    contact_id="c1", queue="tenants/default/queues/billing", request_id="r1"
                )
            )
        # then
        until(lambda: receiver.taken() == [1])
        status, health = get(ready["metrics"], "/health")
        assert (status, json.loads(health)["tenants"]["default"]["status"]) == (200, "serving")
        until(
            lambda: (
                'cordboard_events_total{event="contact_queued",tenant="default"} 1.0'
                in get(ready["metrics"], "/metrics")[1]
            )
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        receiver.server.shutdown()
        receiver.server.server_close()
    with Records(tmp_path / "data" / "default" / "records.db") as records:
        assert [row["contact"] for row in records.rows("contacts")] == ["c1"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--metrics", "127.0.0.1:many"], "is no address"),
        (["--webhooks", "none.toml"], "can't be read"),
        (["--webhooks", "hooks.toml"], 'there is no tenant "other"'),
    ],
)
def test_mistakes_are_told_before_anything_is_opened(tmp_path, monkeypatch, capsys, more, expected):
    monkeypatch.chdir(tmp_path)
    Path("center.toml").write_text(CENTER, "utf-8")
    Path("hooks.toml").write_text(
        f'[webhooks.crm]\nurl = "https://crm.example"\nsecret = "{SECRET}"\ntenant = "other"\n', "utf-8"
    )
    assert main(["serve", "center.toml", "--check", *more]) == 2
    assert expected in capsys.readouterr().err
    assert not Path("cordboard-data").exists()


def test_tenants_do_not_share_a_file_of_records():
    options = argparse.Namespace(metrics="off", records="one.db", webhooks=None, traces=None, logs=None)
    Beside(options).check(["a"])
    with pytest.raises(InputError, match="several tenants"):
        Beside(options).check(["a", "b"])
    options.records = "postgresql://db.example/records"  # a schema for each
    Beside(options).check(["a", "b"])
