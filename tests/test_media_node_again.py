"""What a media node says twice, and one whose connection breaks while it attaches: nothing stays as it should not."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest

from cordboard.calls.config import parse_calls
from cordboard.center import parse_center
from cordboard.media import backend
from cordboard.services.media_messages import report_message
from cordboard.services.secret_keys import SecretKeys
from cordboard.v1 import media_service_pb2 as pb
from cordboard.v1 import media_service_pb2_grpc
from tests.floor import CENTER
from tests.test_media_node import NODE, PATIENCE_S, SECRET, center, told, until

REPORTS = (
    backend.Incoming("c1", "4001"),
    backend.Answered("c1"),
    backend.Key("c1", "7"),
    backend.Key("c1", "8"),
)


def test_a_secret_digit_that_is_sent_again_after_the_step_is_acknowledged_and_the_node_stays(tmp_path):
    # Given a node whose reports of secret digits got into the journal, and whose acknowledgements were lost
    with center(tmp_path) as server:
        flows = parse_calls('[numbers.4001]\nflow = "pin"\n', parse_center(CENTER), flows={"pin": SECRET})
        server.engine.change_calls(flows).result()
        stub = server.stub(media_service_pb2_grpc)
        for held in ([], ["c1"]):
            heard = threading.Event()

            def say(held=held, heard=heard):
                yield pb.AttachRequest(hello=pb.NodeHello(node=NODE, capacity=10, legs=held, run="a"))
                for number, report in enumerate(REPORTS, 1):
                    before = len(told(server, "leg_key"))
                    yield pb.AttachRequest(report=pb.NodeReport(number=number, report=report_message(report)))
                    if isinstance(report, backend.Answered) and not held:
                        until(lambda: server.run(_hides(server)))
                    if isinstance(report, backend.Key) and not held:
                        until(lambda before=before: len(told(server, "leg_key")) > before)
                heard.wait(PATIENCE_S)

            # When it attaches again and sends them again, then it is told that they are there
            stream = stub.Attach(say())
            assert any(response.acknowledged == len(REPORTS) for response in stream)
            heard.set()
            stream.cancel()
        assert [entry.event["key"] for entry in told(server, "leg_key")] == ["?", "?"]


async def _hides(server) -> bool:
    [tenant] = server.server.tenants
    wire = tenant.nodes._wires.get("n1")
    return wire is not None and wire.secrets.covered({"event": "leg_key", "leg": "c1", "key": "7"})["key"] == "?"


def test_secret_legs_of_other_nodes_are_not_collected():
    keys = SecretKeys("n1")
    keys.follow([{"effect": "keys_hidden", "node": node, "leg": leg, "on": True} for node, leg in (("n1", "a"), ("n2", "b"))])
    covered = [keys.covered({"event": "leg_key", "leg": leg, "key": "7"})["key"] for leg in ("a", "b")]
    assert covered == ["?", "7"]


def test_a_node_whose_connection_breaks_while_it_attaches_is_given_up(tmp_path):
    with center(tmp_path) as server:
        [tenant] = server.server.tenants

        async def scene() -> None:
            hello = pb.NodeHello(node=NODE, capacity=10, run="a")
            opening = asyncio.ensure_future(tenant.nodes.open(hello, "n1", "boss"))
            await asyncio.sleep(0)  # it waits for the journal now
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening

        server.run(scene())
        until(lambda: told(server, "node_attached") != [])
        # Then no call is sent to a node that is not there
        until(lambda: not server.engine.read_calls(lambda board: board.state.nodes["n1"].attached).result())


ODD = (
    backend.Incoming("c1", "4001", "a\x00\r\nb" + "9" * 2000, headers=(("Diversion", "x\ty\x01"), ("Identity", "z" * 5000))),
    backend.Answered("c1"),
    backend.Key("c1", "R"),  # hook flash, event 16 of RFC 4733
    backend.Key("c1", "\x07"),
    backend.Ended("c1", backend.Cause.NORMAL),
)


def test_what_a_far_end_sends_ends_no_node_whatever_it_is(tmp_path):
    with center(tmp_path) as server:
        heard = threading.Event()

        def say():
            yield pb.AttachRequest(hello=pb.NodeHello(node=NODE, capacity=10, run="a"))
            for number, report in enumerate(ODD, 1):
                yield pb.AttachRequest(report=pb.NodeReport(number=number, report=report_message(report)))
            heard.wait(PATIENCE_S)

        stream = server.stub(media_service_pb2_grpc).Attach(say())
        assert any(response.acknowledged == len(ODD) for response in stream)
        heard.set()
        [incoming] = told(server, "leg_incoming")
        assert incoming.event["caller"].startswith("ab999") and incoming.event["headers"][0] == ["Diversion", "xy"]
        assert told(server, "leg_key") == [] and len(told(server, "leg_ended")) == 1
        stream.cancel()


def test_a_node_that_can_t_be_told_what_to_do_loses_its_connection_and_comes_back(tmp_path, monkeypatch):
    with center(tmp_path) as server:
        def fails(*_):
            raise ZeroDivisionError

        with monkeypatch.context() as broken:
            broken.setattr("cordboard.services.nodes.commands_of", fails)
            hello = pb.AttachRequest(hello=pb.NodeHello(node=NODE, capacity=10, run="a"))
            over = threading.Event()
            stream = server.stub(media_service_pb2_grpc).Attach(message for message in (hello, None) if message or (over.wait(PATIENCE_S) and False))
            with pytest.raises(grpc.RpcError) as raised:
                list(stream)
            over.set()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE and "told" in raised.value.details()
