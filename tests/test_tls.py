"""TLS and mTLS against a real server with real certificates; addresses that need them."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import time
import urllib.request
from pathlib import Path

import grpc
import pytest

from cordboard.errors import InputError
from cordboard.live import certificates
from cordboard.live.access import Role
from cordboard.live.metrics import Metrics
from cordboard.live.metrics_server import MetricsServer
from cordboard.services.security.guard import Guard
from cordboard.services.security.identity import Identity
from cordboard.services.security.plan import Plan
from cordboard.services.security.rules import path, rules
from cordboard.services.security.tls import Tls, check_address, credentials, is_local
from tests.secure import CA, OTHER_CA, Told, bearer, code_of, empty_server, methods, run, somebody, verifier

Code = grpc.StatusCode
ENQUEUE = next(m for m in methods() if path(m) == "/cordboard.v1.RoutingService/Enqueue")
SERVER = certificates.make_server(CA, ["localhost", "127.0.0.1"])


@pytest.fixture
def folder(tmp_path) -> Path:
    certificates.write_pair(tmp_path, "server", SERVER)
    (tmp_path / "ca.pem").write_bytes(CA.certificate)
    return tmp_path


def tls(folder: Path, *, mutual: bool = True) -> Tls:
    return Tls(folder / "server.pem", folder / "server.key", folder / "ca.pem" if mutual else None)


def channel(address: str, client: certificates.Pair | None = None, ca: bytes = CA.certificate, *, name: str = "") -> grpc.aio.Channel:
    own = (client.key, client.certificate) if client else (None, None)
    options = [("grpc.ssl_target_name_override", name)] if name else []
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca, *own), options)


def client(*roles: Role, ca: certificates.Pair = CA, **options) -> certificates.Pair:
    who = somebody(*roles, tenant=options.pop("tenant", "acme"), name=options.pop("name", "media-1"))
    return certificates.make_client(ca, who, **options)


LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
STRANGERS = {
    "no certificate": lambda: {},
    "one of another authority": lambda: {"client": client(Role.SERVICE, ca=OTHER_CA)},
    "an expired one": lambda: {"client": client(Role.SERVICE, days=30, now=LONG_AGO)},
    "a server's": lambda: {"client": certificates.make_server(CA, ["localhost"])},
    "trust in another authority": lambda: {"client": client(Role.SERVICE), "ca": OTHER_CA.certificate},
    "another name for the server": lambda: {"client": client(Role.SERVICE), "name": "elsewhere"},
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_no_connection_comes_about_with(folder, kind):
    async def scene():
        guard = Guard(rules(), Identity(certificates=True), Told())
        async with empty_server(guard, credentials(tls(folder))) as (address, reached):
            async with channel(address, **STRANGERS[kind]()) as line:
                assert await code_of(line, ENQUEUE) is Code.UNAVAILABLE
            async with channel(address, client(Role.SERVICE)) as line:
                assert await code_of(line, ENQUEUE) is Code.OK
            assert len(reached.calls) == 1

    run(scene())


def test_in_the_clear_nobody_gets_in_where_there_is_tls(folder):
    async def scene():
        guard = Guard(rules(), Identity(certificates=True), Told())
        async with empty_server(guard, credentials(tls(folder))) as (address, reached):
            async with grpc.aio.insecure_channel(address) as line:
                assert await code_of(line, ENQUEUE) is Code.UNAVAILABLE
            assert not reached.calls

    run(scene())


def test_the_certificate_says_who_calls_and_its_role_what_they_may(folder):
    async def scene():
        guard = Guard(rules(), Identity(certificates=True, tenants={"acme"}), Told())
        async with empty_server(guard, credentials(tls(folder))) as (address, reached):
            for who, expected in (
                (client(Role.SERVICE), Code.OK),
                (client(Role.QA), Code.PERMISSION_DENIED),
                (client(Role.SERVICE, tenant="globex"), Code.UNAUTHENTICATED),
            ):
                async with channel(address, who) as line:
                    assert await code_of(line, ENQUEUE) is expected
            ((_, caller),) = reached.calls
            assert (caller.tenant, caller.name, caller.by) == ("acme", "media-1", "certificate")

    run(scene())


def test_a_token_over_tls_says_who_calls_and_with_a_certificate_only_of_the_same_tenant(folder):
    async def scene():
        identity = Identity(verifier=verifier(folder), certificates=True)
        async with empty_server(Guard(rules(), identity, Told()), credentials(tls(folder))) as (address, reached):
            async with channel(address, client(Role.SERVICE)) as line:
                assert await code_of(line, ENQUEUE, metadata=bearer(somebody(Role.QA))) is Code.PERMISSION_DENIED
                assert await code_of(line, ENQUEUE, metadata=bearer(somebody(Role.MANAGER, name="boss"))) is Code.OK
                stranger = bearer(somebody(Role.MANAGER, tenant="globex"))
                assert await code_of(line, ENQUEUE, metadata=stranger) is Code.UNAUTHENTICATED
                assert await code_of(line, ENQUEUE, metadata=[("authorization", "Bearer x")]) is Code.UNAUTHENTICATED
            assert [caller.name for _, caller in reached.calls] == ["boss"]
        identity = Identity(verifier=verifier(folder))
        alone = credentials(tls(folder, mutual=False))
        async with empty_server(Guard(rules(), identity, Told()), alone) as (address, _), channel(address) as line:
            assert await code_of(line, ENQUEUE) is Code.UNAUTHENTICATED
            assert await code_of(line, ENQUEUE, metadata=bearer(somebody(Role.SERVICE))) is Code.OK

    run(scene())


def test_a_connection_does_not_outlive_the_certificate_that_opened_it(folder):
    async def scene():
        now = [time.time()]
        identity = Identity(certificates=True, clock=lambda: now[0])
        mutual, who = credentials(tls(folder)), client(Role.SERVICE, days=1)
        async with empty_server(Guard(rules(), identity, Told()), mutual) as (address, _), channel(address, who) as line:
            assert await code_of(line, ENQUEUE) is Code.OK
            now[0] += 86400
            assert await code_of(line, ENQUEUE) is Code.UNAUTHENTICATED

    run(scene())


def test_renewed_certificates_are_taken_up_without_a_restart_and_damaged_ones_left_alone(folder):
    async def scene():
        guard = Guard(rules(), Identity(certificates=True), Told())
        async with empty_server(guard, credentials(tls(folder))) as (address, _):
            async with channel(address, client(Role.SERVICE)) as line:
                assert await code_of(line, ENQUEUE) is Code.OK
            (folder / "server.pem").write_text("damaged")
            async with channel(address, client(Role.SERVICE)) as line:
                assert await code_of(line, ENQUEUE) is Code.OK
            certificates.write_pair(folder, "server", certificates.make_server(OTHER_CA, ["localhost"]))
            (folder / "ca.pem").write_bytes(OTHER_CA.certificate)
            async with channel(address, client(Role.SERVICE, ca=OTHER_CA), OTHER_CA.certificate) as line:
                assert await code_of(line, ENQUEUE) is Code.OK
            async with channel(address, client(Role.SERVICE), OTHER_CA.certificate) as line:
                assert await code_of(line, ENQUEUE) is Code.UNAVAILABLE
            await asyncio.sleep(0)

    run(scene())


@pytest.mark.parametrize("address", ["127.0.0.1:7443", "127.9.9.9:1", "localhost:0", "[::1]:7443", "[::ffff:127.0.0.1]:1", "unix:/run/cordboard.sock"])
def test_an_address_of_this_machine_alone_needs_no_certificates(address):
    assert is_local(address)
    check_address(address, None, knows_callers=False)


@pytest.mark.parametrize("address", ["0.0.0.0:7443", "[::]:7443", "10.0.0.1:1", "example.com:443", ":7443", "*:7443", "127.0.0.1.example.com:1", "dns:///x:1", "[::ffff:10.0.0.1]:1", "", "localhost.evil:1"])
def test_any_other_address_needs_certificates_and_known_callers_and_says_how_to_make_them(folder, address):
    assert not is_local(address)
    with pytest.raises(InputError, match="cordboard certs"):
        check_address(address, None, knows_callers=True)
    with pytest.raises(InputError, match="--token-keys"):
        check_address(address, tls(folder, mutual=False), knows_callers=False)
    check_address(address, tls(folder), knows_callers=True)


def test_metrics_beyond_loopback_speak_tls_and_ask_for_the_same_certificates(folder):
    plan = Plan(tls=tls(folder))
    assert plan.metrics("127.0.0.1:9464") is None and plan.metrics("off") is None and plan.metrics(None) is None
    with pytest.raises(InputError, match="cordboard certs"):
        Plan().metrics("0.0.0.0:9464")
    server = MetricsServer(Metrics(), port=0, tls=plan.metrics("0.0.0.0:9464")).start()
    paths = certificates.write_pair(folder, "prometheus", client(Role.QA))
    known, stranger = (ssl.create_default_context(cafile=folder / "ca.pem") for _ in range(2))
    known.load_cert_chain(*paths)
    url = f"https://localhost:{server.port}/live"
    with urllib.request.urlopen(url, timeout=10, context=known) as page:
        assert page.status == 200
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=10, context=stranger)
    with pytest.raises(OSError):
        urllib.request.urlopen(url.replace("https", "http"), timeout=10)
    with urllib.request.urlopen(url, timeout=10, context=known) as page:  # who was turned away hindered nobody
        assert page.status == 200
    server.close()


def test_files_that_can_t_be_used_are_refused_at_the_start(folder):
    (folder / "server.key").chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        credentials(tls(folder))
