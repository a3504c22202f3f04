"""The registrar of agents' phones: passwords, nonces, bounds, and where a phone is."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.bindings.registrar import SOURCES_MAX, Registrar, Request
from cordboard.bindings.settings import Phones

SOURCE, OTHER = "127.0.0.1 5062 UDP", "127.0.0.1 7777 UDP"
CONTACT = "<sip:li@192.168.7.7:5062>"


def ha1(name: str, password: str, new=hashlib.md5) -> str:
    return new(f"{name}:calls:{password}".encode()).hexdigest()


USERS = (("li", ha1("li", "secret")), ("wu", ha1("wu", "other")), ("xu", ha1("xu", "third", hashlib.sha256)))


def registrar(**changes) -> Registrar:
    return Registrar(Phones("calls", USERS, **changes), b"key")


def nonce_of(reply) -> str:
    assert reply.code == 401
    return re.search(r'nonce="([^"]*)"', dict(reply.headers)["WWW-Authenticate"]).group(1)


def answer(request: Request, nonce: str, name: str = "li", password: str = "secret", nc: int = 1, new=hashlib.md5) -> Request:
    asked = new(b"REGISTER:sip:calls").hexdigest()
    proof = new(f"{ha1(name, password, new)}:{nonce}:{nc:08x}:abc:auth:{asked}".encode()).hexdigest()
    algorithm = "MD5" if new is hashlib.md5 else "SHA-256"
    text = f'Digest username="{name}", realm="calls", nonce="{nonce}", uri="sip:calls", response="{proof}", '
    return replace(request, authorization=text + f'algorithm={algorithm}, qop=auth, nc={nc:08x}, cnonce="abc"')


def asks(name: str = "li", source: str = SOURCE, contact: str = CONTACT, **more) -> Request:
    return Request(f"sip:{name}@calls", source, False, contacts=(contact,) if contact else (), **more)


def register(one: Registrar, now: float = 0.0, password: str = "secret", request: Request | None = None, name: str = "li"):
    request = request or asks(name)
    return one.register(answer(request, nonce_of(one.register(request, now)), name, password), now)


def test_a_phone_registers_and_is_dialed_where_it_came_from():
    one = registrar()
    reply = register(one)
    assert reply.code == 200 and dict(reply.headers)["Contact"] == "<sip:li@192.168.7.7:5062>;expires=3600"
    assert one.contact("li", 0.0) == "sip:li@127.0.0.1:5062"
    assert one.owner(SOURCE, 0.0) == "li" and one.owner(OTHER, 0.0) == ""


def test_a_phone_by_tcp_is_dialed_on_its_connection_and_comes_back_soon():
    one = registrar()
    reply = register(one, request=asks(source="127.0.0.1 40000 TCP"))
    assert dict(reply.headers)["Contact"].endswith(";expires=300")
    assert one.contact("li", 0.0) == "sip:li@127.0.0.1:40000;transport=tcp"


def test_a_phone_behind_a_proxy_is_dialed_where_it_says_and_its_proxy_is_not_a_phone():
    one = registrar()
    register(one, request=replace(asks(), proxied=True))
    assert one.contact("li", 0.0) == "sip:li@192.168.7.7:5062" and one.owner(SOURCE, 0.0) == ""


def test_it_is_gone_when_its_time_is_over_or_it_says_so():
    one = registrar()
    register(one, request=asks(expires="60"))
    assert one.contact("li", 59.9) and not one.contact("li", 60.0) and not one.owner(SOURCE, 60.0)
    for contact, expires in ((CONTACT + ";expires=0", ""), ("*", "0")):
        register(one)
        assert register(one, request=asks(contact=contact, expires=expires)).code == 200
        assert not one.contact("li", 0.0) and not one.owner(SOURCE, 0.0)


def test_sha_256_is_asked_of_whose_hash_it_is():
    one = registrar()
    request = asks("xu")
    challenge = one.register(request, 0.0)
    assert "SHA-256" in dict(challenge.headers)["WWW-Authenticate"]
    assert one.register(answer(request, nonce_of(challenge), "xu", "third", new=hashlib.sha256), 0.0).code == 200


def test_a_wrong_password_a_wrong_user_and_nobody_are_told_the_same():
    one = registrar()
    assert register(one, password="wrong").code == 403
    assert register(one, name="nobody", password="x").code == 403
    request = asks("wu")  # with the password of another
    assert one.register(answer(request, nonce_of(one.register(request, 0.0)), "li", "secret"), 0.0).code == 403
    assert one.registered(0.0) == 0


def test_a_nonce_is_for_its_source_and_its_time_and_each_count_once():
    one = registrar(nonce_s=60.0)
    nonce = nonce_of(one.register(asks(), 0.0))
    assert one.register(answer(asks(), nonce), 0.0).code == 200
    for replayed, now in ((asks(), 1.0), (asks(source=OTHER), 1.0), (asks(), 61.0)):
        reply = one.register(answer(replayed, nonce), now)
        assert reply.code == 401 and "stale=true" in dict(reply.headers)["WWW-Authenticate"]
    assert one.register(answer(asks(), nonce, nc=2), 1.0).code == 200
    forged = nonce_of(Registrar(Phones("calls", USERS), b"other").register(asks(), 2.0))
    assert one.register(answer(asks(), forged), 2.0).code == 401


def test_who_fails_too_often_is_not_listened_to_for_a_while():
    one = registrar(failures=3, failures_s=60.0)
    for _ in range(3):
        assert register(one, password="wrong").code == 403
    assert one.register(asks(), 59.0).code == 403  # not even a challenge
    assert register(one, 60.0).code == 200


def test_sources_that_failed_are_bounded():
    one = registrar(networks=("10.0.0.0/8",))
    for i in range(SOURCES_MAX + 100):
        request = asks(source=f"10.0.{i // 256}.{i % 256} 5060 UDP", authorization='Digest username="li"')
        assert one.register(request, 0.0).code == 403
    assert len(one._failures) == SOURCES_MAX


def test_strangers_are_refused():
    assert registrar().register(asks(source="192.0.2.1 5060 UDP"), 0.0).code == 403


def test_a_user_has_one_phone_the_last_one():
    one = registrar()
    register(one)
    register(one, request=asks(source=OTHER))
    assert one.contact("li", 0.0) == "sip:li@127.0.0.1:7777" and one.owner(SOURCE, 0.0) == ""
    register(one, request=asks("wu", source=OTHER), name="wu", password="other")
    assert one.owner(OTHER, 0.0) == "wu" and not one.contact("li", 0.0)
    assert one.registered(0.0) == 1


@pytest.mark.parametrize(
    ("contacts", "expires", "code"),
    [
        ((CONTACT,), "10", 423),
        ((CONTACT,) * 5, "", 400),
        (("*", CONTACT), "0", 400),
        (("*",), "60", 400),
        (("<tel:123>",), "", 400),
        ((), "", 200),
    ],
)
def test_what_can_not_be_done_is_said(contacts, expires, code):
    assert register(registrar(), request=replace(asks(expires=expires), contacts=contacts)).code == code


def test_the_lines_of_a_request_are_read():
    text = 'sip:li@calls\n127.0.0.1 5062 UDP\n0\nExpires: 60\nContact: <sip:a@b>\nAuthorization: Digest a="b"\nContact: <sip:c@d>\n'
    assert Request.parse(text) == Request("sip:li@calls", SOURCE, False, "60", 'Digest a="b"', ("<sip:a@b>", "<sip:c@d>"))


@given(st.text(max_size=200), st.text(max_size=20), st.lists(st.text(max_size=60), max_size=6), st.booleans())
def test_no_text_makes_it_fail_and_none_registers(authorization, expires, contacts, proxied):
    one = registrar()
    reply = one.register(Request("sip:li@calls", SOURCE, proxied, expires, authorization, tuple(contacts)), 0.0)
    assert reply.code in (401, 403) and one.registered(0.0) == 0


@given(st.text(max_size=20), st.lists(st.text(max_size=60), max_size=6))
def test_no_contact_of_one_who_knows_the_password_makes_it_fail(expires, contacts):
    one = registrar()
    assert register(one, request=replace(asks(expires=expires), contacts=tuple(contacts))).code in (200, 400, 423)
