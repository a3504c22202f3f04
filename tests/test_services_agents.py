"""AgentService against a live server: states, lines, leases, and lines that die."""

from __future__ import annotations

import queue as queues
import threading
import time
from dataclasses import replace

import grpc
import pytest

from cordboard.errors import UnavailableError
from cordboard.services import server as server_module
from cordboard.services.presence import Presence
from cordboard.v1 import agent_service_pb2 as pb
from cordboard.v1 import agent_service_pb2_grpc, routing_service_pb2_grpc
from cordboard.v1 import routing_service_pb2 as routing
from tests.clocks import Wall
from tests.serving import TENANT, agent, queue, served

STATE = pb.Agent.State
READY, AWAY, OFFLINE = STATE.STATE_READY, STATE.STATE_AWAY, STATE.STATE_OFFLINE


@pytest.fixture
def live(tmp_path):
    with served(tmp_path) as found:
        yield found


class Phone:
    """An agent's line as a program of an agent has it."""

    def __init__(self, live, name, lease=None):
        self.channel = grpc.insecure_channel(live.address)
        self.out: queues.Queue = queues.Queue()
        self.messages: queues.Queue = queues.Queue()
        hello = pb.Hello(agent=agent(name))
        if lease is not None:
            hello.lease.FromMilliseconds(int(lease * 1000))
        self.send(hello=hello)
        self.call = agent_service_pb2_grpc.AgentServiceStub(self.channel).Connect(iter(self.out.get, None))
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()
        self.ended: grpc.RpcError | None = None
        self.welcome = self.expect("welcome")

    def send(self, **message):
        self.out.put(pb.ConnectRequest(**message))

    def _listen(self):
        try:
            for message in self.call:
                self.messages.put(message)
        except grpc.RpcError as error:
            self.ended = error
        self.messages.put(None)

    def expect(self, kind, where=lambda message: True):
        """The next message of a kind; others are passed over."""
        while True:
            message = self.messages.get(timeout=20)
            assert message is not None, f"the line has ended: {self.ended}"
            if message.WhichOneof("message") == kind and where(getattr(message, kind)):
                return getattr(message, kind)

    def ready(self):
        self.send(set_state=pb.StateWish(state=READY))
        self.expect("state", lambda state: state.state == READY)
        return self

    def die(self):
        """As when the cable is cut: no goodbye."""
        self.channel.close()

    def hang_up(self):
        self.out.put(None)
        self.thread.join(20)
        self.channel.close()


def enqueue(live, name, to="sales"):
    return live.stub(routing_service_pb2_grpc).Enqueue(routing.EnqueueRequest(queue=queue(to), contact_id=name))


def get(live, name):
    stub = live.stub(agent_service_pb2_grpc)
    return stub.Get(pb.AgentServiceGetRequest(name=agent(name))).agent


def entries(live, after=0):
    subscription = live.engine.subscribe(after)
    found = subscription.poll()
    subscription.close()
    return found


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)


def test_an_agent_takes_a_contact_from_offer_to_end(live):
    ana = Phone(live, "ana").ready()
    enqueue(live, "c1")
    offer = ana.expect("offer")
    assert (offer.contact, offer.queue, offer.why.key) == ("c1", "sales", "idle_s")
    assert offer.expire_time.ToSeconds() >= time.time() + 15
    ana.send(request_id="a1", accept=pb.ContactAnswer(contact="c1"))
    assert ana.expect("answer", lambda answer: answer.request_id == "a1").applied.revision == 3
    ana.expect("state", lambda state: state.state == STATE.STATE_CONNECTED)
    assert list(get(live, "ana").contacts) == [f"{TENANT}/contacts/c1"]
    ana.send(end=pb.ContactAnswer(contact="c1"))
    ana.expect("state", lambda state: state.state == READY)
    assert get(live, "ana").handled_count == 1
    ana.hang_up()


def test_an_agent_who_declines_is_passed_over(live):
    ana, ben = Phone(live, "ana").ready(), Phone(live, "ben").ready()
    enqueue(live, "c1")
    ana.expect("offer")
    ana.send(decline=pb.ContactAnswer(contact="c1"))
    assert ben.expect("offer").contact == "c1"


def test_what_an_agent_may_not_do_is_answered_and_the_line_stays(live):
    ana, ben = Phone(live, "ana").ready(), Phone(live, "ben").ready()
    enqueue(live, "c1")
    ana.expect("offer")
    ben.send(request_id="1", accept=pb.ContactAnswer(contact="c1"))
    assert ben.expect("answer", lambda a: a.request_id == "1").error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    ana.send(accept=pb.ContactAnswer(contact="c1"))
    ana.expect("state", lambda state: state.state == STATE.STATE_CONNECTED)
    ben.send(request_id="2", end=pb.ContactAnswer(contact="c1"))  # another agent's conversation
    assert ben.expect("answer", lambda a: a.request_id == "2").HasField("error")
    ben.send(request_id="3", hello=pb.Hello(agent=agent("cy")))
    assert ben.expect("answer", lambda a: a.request_id == "3").HasField("error")
    ben.send(heartbeat=pb.Heartbeat())
    ben.expect("pulse")
    assert get(live, "ana").state == STATE.STATE_CONNECTED


def test_an_agent_whose_connection_dies_is_away_for_the_network_and_blamed_for_nothing(live):
    # given an agent who would be set away as "no_answer" after one missed offer, with an open one
    ana, ben = Phone(live, "ana").ready(), Phone(live, "ben").ready()
    enqueue(live, "c1")
    ana.expect("offer")
    # when its connection dies
    ana.die()
    # then the offer goes to someone else, at once
    assert ben.expect("offer").contact == "c1"
    event = next(entry for entry in entries(live) if entry.event["event"] == "agent_away")
    assert event.event["reason"] == "network" and event.event["agent"] == "ana"
    assert [effect["effect"] for effect in event.effects] == ["offer_withdrawn", "offer"]
    assert get(live, "ana").state == AWAY and not get(live, "ana").connected
    # and it counts as no miss
    assert live.engine.read(lambda acd: acd._router.agent(0)["misses"]).result(5) == 0


def test_a_conversation_outlives_the_line(live):
    ana = Phone(live, "ana").ready()
    enqueue(live, "c1")
    ana.expect("offer")
    ana.send(accept=pb.ContactAnswer(contact="c1"))
    ana.expect("state", lambda state: state.state == STATE.STATE_CONNECTED)
    ana.die()
    wait_for(lambda: entries(live)[-1].event["event"] == "agent_away")
    assert get(live, "ana").state == STATE.STATE_CONNECTED
    again = Phone(live, "ana")
    assert again.welcome.agent.state == STATE.STATE_CONNECTED and again.welcome.agent.connected
    again.send(end=pb.ContactAnswer(contact="c1"))
    again.expect("state", lambda state: state.state == AWAY)


def test_a_lease_that_runs_out_ends_the_line(live):
    ana = Phone(live, "ana", lease=2.0).ready()
    ben = Phone(live, "ben", lease=60.0).ready()
    enqueue(live, "c1")
    ana.expect("offer")
    assert ben.expect("offer").contact == "c1"  # ana says nothing for two seconds
    ana.thread.join(20)
    assert ana.ended.code() is grpc.StatusCode.UNAVAILABLE
    assert [e.event["reason"] for e in entries(live) if e.event["event"] == "agent_away"] == ["network"]


def test_heartbeats_renew_the_lease(live):
    ana = Phone(live, "ana", lease=2.0).ready()
    for _ in range(8):
        time.sleep(0.4)
        ana.send(heartbeat=pb.Heartbeat())
        ana.expect("pulse")
    assert get(live, "ana").state == READY


def test_a_newer_line_takes_over_with_its_offers_and_keeps_the_state(live):
    first = Phone(live, "ana").ready()
    enqueue(live, "c1", to="sales")
    first.expect("offer")
    second = Phone(live, "ana")
    assert [offer.contact for offer in second.welcome.offers] == ["c1"]
    first.thread.join(20)
    assert first.ended.code() is grpc.StatusCode.ABORTED
    second.send(accept=pb.ContactAnswer(contact="c1"))
    second.expect("state", lambda state: state.state == STATE.STATE_CONNECTED)
    assert not [entry for entry in entries(live) if entry.event["event"] == "agent_away"]


def test_an_agent_who_is_gone_from_the_center_takes_nobody_elses_line_along(live):
    # Given two agents with lines, of whom one talks
    ana, ben = Phone(live, "ana").ready(), Phone(live, "ben").ready()
    enqueue(live, "c1")
    ana.expect("offer")
    ana.send(accept=pb.ContactAnswer(contact="c1"))
    ana.expect("state", lambda state: state.state == STATE.STATE_CONNECTED)
    # When the center loses her, and then her conversation ends
    center = live.engine.center
    live.engine.change_center(replace(center, agents=tuple(one for one in center.agents if one.name != "ana"))).result(20)
    live.engine.submit({"event": "contact_ended", "contact": "c1"}).result(20)
    # Then the other one is told what concerns him
    enqueue(live, "c2")
    assert ben.expect("offer").contact == "c2"
    ben.hang_up()
    # And she is told that there is nothing more for her
    ana.thread.join(20)
    assert ana.ended is not None and ana.ended.code() is grpc.StatusCode.NOT_FOUND
    ana.channel.close()


def test_goodbye_logs_out(live):
    ana = Phone(live, "ana").ready()
    ana.send(goodbye=pb.Goodbye())
    ana.thread.join(20)
    assert ana.ended is None
    wait_for(lambda: not get(live, "ana").connected)
    assert get(live, "ana").state == OFFLINE
    assert [entry.event["event"] for entry in entries(live)] == ["agent_ready", "agent_offline"]


def test_the_end_of_a_conversation_said_again_on_the_next_line_gets_its_first_answer(live):
    ana = Phone(live, "ana").ready()
    enqueue(live, "c1")
    ana.send(accept=pb.ContactAnswer(contact=ana.expect("offer").contact), request_id="r1")
    ana.expect("answer", lambda answer: answer.request_id == "r1")
    ana.send(end=pb.ContactAnswer(contact="c1"), request_id="r2")
    first = ana.expect("answer", lambda answer: answer.request_id == "r2")
    again = Phone(live, "ana")  # the agent's program does not know whether the first one came through
    again.send(end=pb.ContactAnswer(contact="c1"), request_id="r2")
    answer = again.expect("answer")
    assert not answer.HasField("error"), answer
    assert answer.applied.revision == first.applied.revision and answer.applied.repeated_request
    again.send(end=pb.ContactAnswer(contact="c1"), request_id="r3")
    assert again.expect("answer").error.message.startswith("[end.contact]")


def test_an_agent_whose_goodbye_can_not_be_journaled_is_away_when_it_can(live, monkeypatch):
    ana = Phone(live, "ana").ready()
    post = live.engine.post
    full = UnavailableError("the journal can't be written", "read-only: disk full")

    def refusing(asked):
        for one in asked:
            if one.event["event"] == "agent_offline":
                one.reply.set_exception(full)
            else:
                post([one])

    monkeypatch.setattr(live.engine, "post", refusing)
    ana.send(goodbye=pb.Goodbye())
    ana.thread.join(20)
    wait_for(lambda: get(live, "ana").state == AWAY)


def test_an_agent_who_hangs_up_while_its_line_opens_has_none(live, monkeypatch):
    asked, looks = live.engine.look, []

    def stuck(look, reply):
        looks.append(look)
        if len(looks) != 2:  # the one for the welcome is not answered
            asked(look, reply)

    monkeypatch.setattr(live.engine, "look", stuck)
    out: queues.Queue = queues.Queue()
    out.put(pb.ConnectRequest(hello=pb.Hello(agent=agent("ana"))))
    call = agent_service_pb2_grpc.AgentServiceStub(live.channel).Connect(iter(out.get, None))
    wait_for(lambda: len(looks) >= 2)
    call.cancel()
    wait_for(lambda: not get(live, "ana").connected)
    out.put(None)


def test_states_are_set_and_agents_listed_page_by_page(live):
    stub = live.stub(agent_service_pb2_grpc)
    stub.SetState(pb.SetStateRequest(agent=agent("ben"), state=AWAY, reason="lunch"))
    first = stub.List(pb.AgentServiceListRequest(parent=TENANT, page_size=2))
    rest = stub.List(pb.AgentServiceListRequest(parent=TENANT, page_size=9999, page_token=first.next_page_token))
    assert [a.name for a in (*first.agents, *rest.agents)] == [agent("ana"), agent("ben"), agent("cy")]
    assert first.agents[1].state == AWAY and not rest.next_page_token
    assert dict(first.agents[0].skill_levels) == {"help": 5}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.SetStateRequest(agent=agent("ana"), state=STATE.STATE_WRAP_UP), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.SetStateRequest(agent=agent("ana"), state=READY, reason="why"), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.SetStateRequest(agent=agent("zoe"), state=READY), grpc.StatusCode.NOT_FOUND),
        (pb.SetStateRequest(agent="ana", state=READY), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_states_that_can_not_be_are_refused(live, request_, code):
    with pytest.raises(grpc.RpcError) as raised:
        live.stub(agent_service_pb2_grpc).SetState(request_)
    assert raised.value.code() is code


@pytest.mark.parametrize("size, token", [(-1, ""), (0, "x"), (0, "-3"), (0, "9" * 30)])
def test_pages_that_can_not_be_are_refused(live, size, token):
    with pytest.raises(grpc.RpcError) as raised:
        live.stub(agent_service_pb2_grpc).List(
            pb.AgentServiceListRequest(parent=TENANT, page_size=size, page_token=token)
        )
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_line_that_does_not_begin_with_hello_ends(live):
    call = live.stub(agent_service_pb2_grpc).Connect(iter([pb.ConnectRequest(heartbeat=pb.Heartbeat())]))
    with pytest.raises(grpc.RpcError) as raised:
        next(call)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_what_stands_damaged_in_the_file_of_lines_is_left_out(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"+15 ana\n+3 ben\n-ana\nrubbish\n+x cy\n\xff\xfe\n+2 d e\n+7")
    presence = Presence(path)
    assert presence.left == {"ben": 3.0, "d e": 2.0, "": 7.0}
    presence.went("ben")
    presence.came("ana", 5.0)
    presence.close()
    assert Presence(path).left == {"d e": 2.0, "": 7.0, "ana": 5.0}


def test_agents_who_do_not_come_back_are_waited_for_three_leases_however_often_the_server_starts(tmp_path, monkeypatch):
    wall = Wall()
    monkeypatch.setattr("cordboard.services.presence.time.time", wall)
    path = tmp_path / "lines.txt"
    path.write_bytes(b"+15 ana\n+2 ben\n=x 5 rubbish\n=nan nan cy\n")
    found = []
    for _ in range(5):
        presence = Presence(path)
        presence.close()
        found.append((presence.left["ana"], presence.left["ben"], presence.left["cy"]))
        wall.t += 10.0
    assert found == [(15.0, 2.0, 0.0), (15.0, 0.0, 0.0), (15.0, 0.0, 0.0), (15.0, 0.0, 0.0), (5.0, 0.0, 0.0)]


def test_a_line_outlives_the_age_of_its_connection(tmp_path, monkeypatch):
    # given a server on which an hour passes in two seconds
    quick = [(name, value // 1800 if "connection_age" in name else value) for name, value in server_module.OPTIONS]
    monkeypatch.setattr(server_module, "OPTIONS", tuple(quick))
    with served(tmp_path) as live:
        phone = Phone(live, "ana").ready()
        # when an hour and a half have passed
        time.sleep(3.0)
        # then the agent is still there
        assert live.engine.read(lambda acd: acd.agent_state("ana")).result(10)["presence"] == "ready"
        assert phone.ended is None
        phone.hang_up()
