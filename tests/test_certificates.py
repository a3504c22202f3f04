"""Certificates: who they say a client is, and which files are refused."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.cli import main
from cordboard.errors import InputError, UnauthenticatedError
from cordboard.live import certificates
from cordboard.live.access import ALL, Caller, Role

CA = certificates.make_authority("test")
names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=20)
scopes = st.one_of(st.just(ALL), st.frozensets(names.filter(lambda name: name != "*"), max_size=4))
clients = st.builds(Caller, names, names, st.frozensets(st.sampled_from(Role), min_size=1), scopes, scopes)


@given(clients)
def test_the_identity_in_a_uri_is_read_back_whole(client):
    found = certificates.caller_of_uri(certificates.identity(client), 5.0)
    assert found == Caller(client.tenant, client.name, client.roles, client.teams, client.queues, 5.0, "certificate")


def test_a_certificate_says_who_its_client_is_and_until_when():
    client = Caller("acme", "李", frozenset({Role.AGENT}), frozenset({"north"}), ALL)
    now = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    pair = certificates.make_client(CA, client, days=10, now=now)
    found = certificates.caller_of_certificate(pair.certificate)
    assert (found.tenant, found.name, found.roles, found.teams, found.queues) == ("acme", "李", {Role.AGENT}, {"north"}, ALL)
    assert found.expires == (now + dt.timedelta(days=10)).timestamp() and found.by == "certificate"


@pytest.mark.parametrize("pair", [CA, certificates.make_server(CA, ["localhost", "127.0.0.1", "::1"])], ids=["authority", "server"])
def test_a_certificate_without_an_identity_lets_nobody_in(pair):
    with pytest.raises(UnauthenticatedError) as refused:
        certificates.caller_of_certificate(pair.certificate)
    assert refused.value.reason == "CERTIFICATE_WITHOUT_IDENTITY"


@given(st.text(max_size=60))
def test_any_text_is_no_identity(text):
    with pytest.raises(InputError):
        certificates.caller_of_uri(text, 0.0)


@pytest.mark.parametrize(
    "uri",
    ["cordboard://acme/agent", "cordboard://acme/root/li", "cordboard:///agent/li", "cordboard://acme/agent/li/more", "cordboard://acme/agent/li?all=1",
     "cordboard://acme/agent/%0A", "cordboard://acme/agent/li?teams=a&teams=b", "cordboard://acme/agent/li?queues=" + "a," * 5000, "cordboard://acme//li"],
)
def test_an_identity_that_is_not_quite_one_is_refused(uri):
    with pytest.raises(InputError):
        certificates.caller_of_uri(uri, 0.0)


@pytest.mark.parametrize("host", ["", "a b", "host:80", "http://host", "x" * 300, "a\n"])
def test_a_server_has_names_that_a_client_could_use(host):
    with pytest.raises(InputError):
        certificates.make_server(CA, [host])


def test_the_command_makes_them_all_and_shows_what_they_say(tmp_path, capsys):
    def run(*args: object, status: int = 0) -> dict:
        assert main(["certs", "--json", *map(str, args)]) == status
        return json.loads(capsys.readouterr().out or "{}")

    run("server", tmp_path, "--host", "localhost", status=2)
    made = run("init", tmp_path)
    run("init", tmp_path, status=2)
    assert stat.S_IMODE(os.stat(made["key"]).st_mode) == 0o600
    server = run("server", tmp_path, "--host", "localhost", "--host", "127.0.0.1")
    client = run("client", tmp_path, "--tenant", "acme", "--name", "media-1", "--role", "service", "--queue", "*", "--out", "media-1")
    assert stat.S_IMODE(os.stat(client["key"]).st_mode) == 0o600
    assert run("show", client["certificate"])["names"] == ["cordboard://acme/service/media-1?teams=&queues=*"]
    assert run("show", server["certificate"])["names"] == ["localhost", "127.0.0.1"]
    run("show", client["key"], status=2)
    for stem in ("ca", "../ca", ".x"):
        run("client", tmp_path, "--name", "x", "--role", "qa", "--out", stem, status=2)
    run("client", tmp_path, "--name", "x", "--role", "qa", "--queue", "*", "--queue", "vip", status=2)
    run("client", tmp_path, "--name", "x", "--role", "qa", "--days", "0", status=2)


def test_a_key_that_belongs_to_another_certificate_is_refused(tmp_path):
    one, two = (certificates.write_pair(tmp_path, stem, certificates.make_server(CA, ["localhost"])) for stem in ("one", "two"))
    certificates.read_pair(*one)
    with pytest.raises(InputError, match="not the key of"):
        certificates.read_pair(one[0], two[1])
    with pytest.raises(InputError, match="PEM"):
        certificates.read_pair(one[1], one[1])
    os.chmod(one[1], 0o644)
    with pytest.raises(InputError, match="chmod 600"):
        certificates.read_pair(*one)
