"""The command ``cordboard serve``, as a process of its own: ready, stopped, killed, started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cordboard.client import CallError, Client
from cordboard.v1 import agent_service_pb2 as agents
from cordboard.v1 import agent_service_pb2_grpc, event_service_pb2, event_service_pb2_grpc, routing_service_pb2_grpc
from cordboard.v1 import journal_pb2 as journal
from cordboard.v1 import routing_service_pb2 as pb
from tests.serving import CENTER, TENANT, agent, queue, serve_command


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "center.toml").write_text(CENTER)
    return tmp_path


def enqueue(address, *names, to="help"):
    with grpc.insecure_channel(address) as channel:
        stub = routing_service_pb2_grpc.RoutingServiceStub(channel)
        return [stub.Enqueue(pb.EnqueueRequest(queue=queue(to), contact_id=n, request_id=n)).applied for n in names]


def stop(process, number=signal.SIGTERM):
    process.send_signal(number)
    return process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_says_when_it_is_ready_and_ends_with_status_0_at_a_signal(folder, number):
    with serve_command("center.toml", "--data", "data", cwd=folder) as (process, address):
        with grpc.insecure_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            found = health.Check(health_pb2.HealthCheckRequest(service="cordboard.v1.RoutingService"))
        assert found.status == health_pb2.HealthCheckResponse.SERVING
        assert stop(process, number) == 0


def test_with_json_the_ready_line_is_a_record(folder):
    with serve_command("center.toml", "--data", "data", "--json", cwd=folder) as (process, address):
        assert enqueue(address, "c1")[0].revision == 1
        assert stop(process) == 0


def test_what_was_acknowledged_before_kill_9_is_there_afterwards(folder):
    with serve_command("center.toml", "--data", "data", cwd=folder) as (process, address):
        first = enqueue(address, "c1", "c2", "c3")
        process.kill()
        process.wait(30)
    with serve_command("center.toml", "--data", "data", cwd=folder) as (process, address):
        again = enqueue(address, "c1", "c2", "c3", "c4")  # the client could not know, and asks again
        assert [a.revision for a in again] == [1, 2, 3, 4]
        assert [a.repeated_request for a in again] == [True, True, True, False]
        assert [a.time for a in again[:3]] == [a.time for a in first]
        with grpc.insecure_channel(address) as channel:
            stub = event_service_pb2_grpc.EventServiceStub(channel)
            watch = stub.Watch(event_service_pb2.WatchRequest(parent=TENANT, start_revision=1), timeout=30)
            found = []
            while len(found) < 4:
                found += [entry.event.contact_queued.contact for entry in next(watch).entries]
        assert found == ["c1", "c2", "c3", "c4"]
        assert stop(process) == 0


def test_a_signal_ends_streams_with_a_status_that_says_come_back(folder):
    with serve_command("center.toml", "--data", "data", cwd=folder) as (process, address):
        with grpc.insecure_channel(address) as channel:
            watch = event_service_pb2_grpc.EventServiceStub(channel).Watch(
                event_service_pb2.WatchRequest(parent=TENANT), timeout=30
            )
            hello = agents.ConnectRequest(hello=agents.Hello(agent=agent("ana")))
            line = agent_service_pb2_grpc.AgentServiceStub(channel).Connect(held_open(hello), timeout=30)
            next(watch), next(line)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            for call in (watch, line):
                with pytest.raises(grpc.RpcError) as raised:
                    for _ in call:
                        pass
                assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert process.wait(30) == 0 and time.monotonic() - began < 25


def held_open(first):
    """A stream of requests that does not end by itself."""
    yield first
    while True:
        time.sleep(0.05)
        yield agents.ConnectRequest(heartbeat=agents.Heartbeat())


def check(folder, *arguments):
    command = [sys.executable, "-m", "cordboard", "serve", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_check_looks_and_does_not_start(folder):
    done = check(folder, "center.toml", "--check", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["agents"] == 3
    assert not (folder / "cordboard-data").exists()


@pytest.mark.parametrize(
    "arguments", [("nothing.toml",), ("center.toml", "--listen", "here"), ("center.toml", "--listen", "127.0.0.1:99999")]
)
def test_what_can_not_be_served_ends_with_status_2_and_one_line(folder, arguments):
    done = check(folder, *arguments)
    assert done.returncode == 2 and done.stderr.startswith("cordboard: ") and "Traceback" not in done.stderr


def test_a_journal_belongs_to_one_server_at_a_time(folder):
    with serve_command("center.toml", "--data", "data", cwd=folder) as (process, _):
        done = check(folder, "center.toml", "--data", "data", "--listen", "127.0.0.1:0")
        assert done.returncode == 2 and "in use" in done.stderr
        assert stop(process) == 0


def test_a_drain_offers_nothing_more_and_lets_a_conversation_finish(folder):
    with serve_command("center.toml", "--data", "data", cwd=folder) as (process, address):
        with grpc.insecure_channel(address) as channel:
            stub = routing_service_pb2_grpc.RoutingServiceStub(channel)
            for name in ("ana", "ben"):
                set_ready(channel, name)
            stub.Enqueue(pb.EnqueueRequest(queue=queue("sales"), contact_id="c1"))
            session(stub, journal.Event(offer_accepted=journal.OfferAccepted(contact="c1", agent="ana")))
            process.send_signal(signal.SIGTERM)
            until_away(channel, "ben")
            (effects,) = [a.effects for a in [stub.Enqueue(pb.EnqueueRequest(queue=queue("sales"), contact_id="c2")).applied]]
            assert not effects and process.poll() is None  # ben is free, and gets nothing; ana still talks
            session(stub, journal.Event(contact_ended=journal.ContactEnded(contact="c1")))
        assert process.wait(30) == 0


def test_a_second_signal_hurries(folder):
    with serve_command("center.toml", "--data", "data", "--drain", "600", cwd=folder) as (process, address):
        with grpc.insecure_channel(address) as channel:
            stub = routing_service_pb2_grpc.RoutingServiceStub(channel)
            set_ready(channel, "ana")
            stub.Enqueue(pb.EnqueueRequest(queue=queue("sales"), contact_id="c1"))
            session(stub, journal.Event(offer_accepted=journal.OfferAccepted(contact="c1", agent="ana")))
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def set_ready(channel, name):
    stub = agent_service_pb2_grpc.AgentServiceStub(channel)
    stub.SetState(agents.SetStateRequest(agent=agent(name), state=agents.Agent.STATE_READY))


def until_away(channel, name):
    stub = agent_service_pb2_grpc.AgentServiceStub(channel)
    for _ in range(500):
        found = stub.Get(agents.AgentServiceGetRequest(name=agent(name))).agent
        if found.state == agents.Agent.STATE_AWAY:
            return
        time.sleep(0.02)
    raise AssertionError("the agent is not away")


def session(stub, *events):
    messages = [pb.SessionRequest(open=pb.SessionOpen(tenant=TENANT)), pb.SessionRequest(events=pb.EventBatch(events=events))]
    *_, last = stub.Session(iter(messages))
    assert not any(outcome.HasField("error") for outcome in last.outcomes.outcomes)


def test_without_certificates_it_listens_on_loopback_alone(folder):
    done = check(folder, "center.toml", "--listen", "0.0.0.0:0")
    assert done.returncode == 2 and "cordboard certs" in done.stderr


def test_an_agent_who_does_not_come_back_after_a_crash_is_set_away_and_its_offer_goes_on(folder):
    with serve_command("center.toml", "--data", "data", cwd=folder) as (process, address), Client(address) as client:
        line = client.connect("ana", lease=3.0)
        line.ready()
        next(message for message in line if message.WhichOneof("message") == "state")
        client.set_state("ben", "ready")  # by another program, without a line
        assert client.enqueue("sales", "c1").applied.effects[0].offer.agent == "ana"
        process.kill()
        process.wait(30)
    with serve_command("center.toml", "--data", "data", cwd=folder) as (process, address), Client(address) as client:
        entry = next(client.watch(1, kinds=["agent_away"]))
        assert (entry.event.agent_away.agent, entry.event.agent_away.reason) == ("ana", "network")
        assert [effect.WhichOneof("kind") for effect in entry.effects] == ["offer_withdrawn", "offer"]
        assert entry.effects[1].offer.agent == "ben"
        assert stop(process) == 0


def test_on_a_read_only_volume_the_server_comes_up_answers_looks_and_goes_on_when_it_may(folder):
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a file system can't be mounted here (root may): {mounted.stderr.strip()}")
    try:
        with serve_command("center.toml", "--data", "disk/data", cwd=folder) as (process, address):
            enqueue(address, "c1", "c2")
            process.kill()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with serve_command("center.toml", "--data", "disk/data", cwd=folder) as (process, address):
            with Client(address, timeout=2.0) as client:
                assert client.queue("help").waiting_count == 2
                with pytest.raises(CallError) as refused:
                    client.enqueue("help", "c3", request_id="r3")
                assert refused.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            with Client(address) as client:  # it repeats what passes
                assert client.enqueue("help", "c3", request_id="r3").applied.revision == 3
            assert stop(process) == 0
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_without_the_extra_the_command_says_what_to_install(folder):
    # given a Python that has no gRPC
    script = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"grpc", "google", "grpc_status"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
from cordboard.cli import main
sys.exit(main(["serve", "center.toml"]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "pip install 'cordboard[serve]'" in done.stderr, done.stderr
