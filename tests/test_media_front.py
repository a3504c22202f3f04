"""The front of the pool: a relay of SIP that is judged by what goes in and out of it, without sockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.bindings.wheel.front import Front
from cordboard.bindings.wheel.message import Message, parameter

OURS, CALLER, STRANGER = ("127.0.0.1", 5060), ("127.0.0.1", 6000), ("127.0.0.9", 6000)
CHILDREN = [("127.0.0.1", 7001), ("127.0.0.1", 7002)]


class World:
    """Two children in turn; strangers are refused."""

    def __init__(self) -> None:
        self.children, self.placed = list(CHILDREN), []
        self.front = Front(OURS, self._place, lambda: self.children, b"secret")

    def _place(self, method, source):
        if source == STRANGER[0]:
            return 403
        self.placed.append(method)
        return self.children[(len(self.placed) - 1) % len(self.children)] if self.children else 503


def request(method="INVITE", call="c1", tag="", branch="z9hG4bKa", via="Via", more=""):
    to = f"<sip:4001@127.0.0.1>{f';tag={tag}' if tag else ''}"
    return (
        f"{method} sip:4001@127.0.0.1 SIP/2.0\r\n{via}: SIP/2.0/UDP 10.0.0.1:99;branch={branch};rport\r\nFrom: <sip:li@x>;tag=1\r\n"
        f"To: {to}\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 4\r\n\r\nbody"
    ).encode()


def answer(data, status="200 OK"):
    """What a child answers to what it got."""
    got = Message.parse(data)
    kept = [(name, value) for name, value in got.headers if name.lower() in ("via", "v", "from", "to", "call-id", "cseq")]
    return Message(f"SIP/2.0 {status}", kept, b"").data()


@pytest.mark.parametrize("via", ["Via", "v", "VIA"])
def test_a_request_goes_to_a_child_and_its_answer_to_where_it_came_from(via):
    front = World().front
    data, child = front.take(request(via=via), CALLER)
    assert child == CHILDREN[0] and data.endswith(b"\r\n\r\nbody")
    got = Message.parse(data)
    assert len(got.all("via")) == 2 and got.get("max-forwards") == "69"
    assert parameter(got.all("via")[1], "received") == CALLER[0] and parameter(got.all("via")[1], "rport") == str(CALLER[1])
    back, to = front.take(answer(data), child)
    assert to == CALLER
    assert [parameter(each, "branch") for each in Message.parse(back).all("via")] == ["z9hG4bKa"]


def test_all_requests_of_a_call_go_to_its_child_under_the_branch_that_they_belong_to():
    world = World()
    first = world.front.take(request(call="c1"), CALLER)
    assert world.front.take(request(call="c2"), CALLER)[1] == CHILDREN[1]
    for method, tag in (("INVITE", ""), ("CANCEL", ""), ("ACK", "9"), ("BYE", "9")):
        data, child = world.front.take(request(method, "c1", tag), CALLER)
        assert child == first[1]
        assert Message.parse(data).get("via") == Message.parse(first[0]).get("via")  # RFC 3261 section 16.11
    other, _ = world.front.take(request("BYE", "c1", "9", branch="z9hG4bKb"), CALLER)
    assert Message.parse(other).get("via") != Message.parse(first[0]).get("via")
    assert world.placed == ["INVITE", "INVITE"]


@pytest.mark.parametrize(("method", "tag"), [("CANCEL", ""), ("BYE", "9"), ("INVITE", "9")])
def test_a_request_of_a_call_that_is_not_there_is_told_so(method, tag):
    data, to = World().front.take(request(method, tag=tag), CALLER)
    assert data.startswith(b"SIP/2.0 481 ") and to == CALLER


def test_a_call_whose_child_is_gone_is_told_so():
    world = World()
    _, child = world.front.take(request(), CALLER)
    world.children.remove(child)
    assert world.front.take(request("BYE", tag="9"), CALLER)[0].startswith(b"SIP/2.0 481 ")


def test_who_is_refused_hears_it_and_the_acknowledgement_goes_nowhere():
    world = World()
    data, to = world.front.take(request(), STRANGER)
    refusal = Message.parse(data)
    assert refusal.start == "SIP/2.0 403 Forbidden" and to == STRANGER and parameter(refusal.get("to"), "tag")
    assert world.front.take(request("ACK"), STRANGER) is None
    world.children.clear()
    assert b"Retry-After" in world.front.take(request(call="c9"), CALLER)[0]


def test_an_answer_from_anybody_but_a_child_goes_nowhere():
    front = World().front
    data, _ = front.take(request(), CALLER)
    assert front.take(answer(data), STRANGER) is None
    assert front.take(answer(request()), CHILDREN[0]) is None  # our Via is not on top


def test_what_goes_round_in_circles_ends():
    data, _ = World().front.take(request().replace(b"Max-Forwards: 70", b"Max-Forwards: 0"), CALLER)
    assert data.startswith(b"SIP/2.0 483 ")


@given(st.binary(max_size=300) | st.lists(st.sampled_from([*request().split(b"\r\n"), b"Via: ,;", b" folded", b"\x00\xff"]), max_size=20).map(b"\r\n".join))
def test_no_datagram_does_any_harm(data):
    front = World().front
    for source in (CALLER, CHILDREN[0]):
        found = front.take(data, source)
        assert found is None or (isinstance(found[0], bytes) and found[1])
