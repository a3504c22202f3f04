"""Web phones through Kamailio and rtpengine, with the configuration that services/deploy ships. Run by make interop."""

from __future__ import annotations

import hashlib
import signal
import socket
import time
from pathlib import Path

import pytest

from cordboard.bindings.settings import Trunk
from cordboard.live import certificates
from cordboard.media.backend import Answer, Answered, Cause, Dial, Ended, HangUp, Incoming, Play, Record, Recorded
from tests.interop.flows import wait
from tests.interop.peers import FOLDER, KAMAILIO, LIBRARIES, Process, needs
from tests.recorded import channels
from tests.sip_peer import RATE, loudness
from tests.sip_world import prompt
from tests.sipp import free_port
from tests.test_media_sipp import make  # noqa: F401  (a fixture)

aioice = pytest.importorskip("aioice", reason="aiortc is not installed (make interop does it)")
pytest.importorskip("aiortc", reason="aiortc is not installed (make interop does it)")
InvalidStatus = pytest.importorskip("websockets.exceptions").InvalidStatus
from tests.interop.webphone import WebPhone  # noqa: E402  (it needs them)

DEPLOY = Path(__file__).resolve().parents[2] / "services" / "deploy" / "web-phones"
RTPENGINE = FOLDER / "usr/bin/rtpengine"
REALM, ORIGIN = "calls.example", "https://desk.example"


class Edge:
    """Kamailio and rtpengine on loopback."""

    def __init__(self, folder: Path, node: int) -> None:
        needs(KAMAILIO)
        needs(RTPENGINE)
        self.web, self.sip, control = free_port(), free_port(), free_port()
        authority = certificates.make_authority("interop")
        self.authority = folder / "ca.pem"
        self.authority.write_bytes(authority.certificate)
        certificates.write_pair(folder, "edge", certificates.make_server(authority, ["127.0.0.1"]))
        (folder / "users").mkdir()
        ha1 = hashlib.md5(f"li:{REALM}:secret".encode()).hexdigest()
        (folder / "users/subscriber").write_text(f"username(string) realm(string) ha1(string)\nli:{REALM}:{ha1}\n")
        config = (DEPLOY / "rtpengine.conf").read_text()
        config = config.replace("192.0.2.10", "127.0.0.1").replace("10.0.0.6", "127.0.0.1").replace("2223", str(control))
        (folder / "rtpengine.conf").write_text(config)
        settings = {
            "WEB_LISTEN": f"127.0.0.1:{self.web}", "WEB_CERTIFICATE": folder / "edge.pem", "WEB_KEY": folder / "edge.key",
            "WEB_ORIGIN": ORIGIN, "WEB_REALM": REALM, "WEB_USERS": folder / "users", "SIP_LISTEN": f"127.0.0.1:{self.sip}",
            "CORDBOARD_NODE": f"127.0.0.1:{node}", "CORDBOARD_HOST": "127.0.0.1", "RTPENGINE": f"127.0.0.1:{control}",
        }  # fmt: skip
        self.relay = Process(folder, [str(RTPENGINE), f"--config-file={folder}/rtpengine.conf", "--foreground", "--log-stderr", f"--pidfile={folder}/rtpengine.pid"])
        command = [str(KAMAILIO), "-f", str(DEPLOY / "kamailio.cfg"), "-L", f"{LIBRARIES}/kamailio/modules", "-DD", "-m", "64", "-M", "8"]
        command += ["-Y", str(folder), "-P", str(folder / "kamailio.pid")]
        self.proxy = Process(folder, ["env", *(f"{name}={value}" for name, value in settings.items()), *command])
        for _ in range(100):
            assert self.proxy.process.poll() is None, self.said()
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.web)) == 0:
                    return
            time.sleep(0.1)

    def said(self) -> str:
        return self.proxy.log.read_text()[-4000:] + self.relay.log.read_text()[-2000:]

    def close(self) -> None:
        for one in (self.proxy, self.relay):
            one.process.send_signal(signal.SIGTERM)
            one.process.wait(20)
            one.close()


@pytest.fixture
def edge(make, tmp_path, monkeypatch):  # noqa: F811
    """A node, the edge beside it, and how to get a web phone that is registered there."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    node = free_port()
    one = Edge(tmp_path, node)
    phones = []

    def phone(password: str = "secret", origin: str = ORIGIN) -> WebPhone:
        phones.append(WebPhone(one.web, "li", password, REALM, one.authority, 700.0, origin))
        return phones[-1]

    try:
        yield make(port=node, phones=(), trunks=(Trunk("web", f"127.0.0.1:{one.sip}"),)), one, phone
        for each in phones:
            each.close()
    finally:
        one.close()


def test_a_web_phone_is_dialed_answers_and_both_hear(edge, tmp_path):
    # Given a browser's phone that registered at the edge
    bench, proxy, phone = edge
    prompt(tmp_path / "ours.wav", 900.0, 1.0)
    one = phone()
    assert one.register() == 200, proxy.said()
    # When the node dials it, then it answers, hears us, and we hear it
    bench.backend.send([Dial("d1", f"sip:li@127.0.0.1:{proxy.sip}", caller="4001")])
    bench.until(Answered)
    bench.backend.send([Play("d1", ("ours",), loop=True), Record("r1", ("d1",))])
    wait(bench, lambda: one.hears(900.0))
    bench.rest(2.0)
    bench.backend.send([HangUp("d1")])
    recorded = bench.until(Recorded)
    assert loudness(channels(tmp_path / recorded.file)[0][-RATE:], 700.0) > 1000.0
    assert bench.until(Ended).cause is Cause.NORMAL
    wait(bench, one.over.is_set)


def test_a_web_phone_calls_is_answered_and_hangs_up(edge, tmp_path):
    bench, _, phone = edge
    prompt(tmp_path / "ours.wav", 900.0, 1.0)
    one = phone()
    assert one.register() == 200
    called = one.call("4001")
    incoming = bench.until(Incoming)
    assert (incoming.to, incoming.caller, incoming.trunk) == ("4001", "li", "web")
    bench.backend.send([Answer(incoming.leg)])
    bench.until(Answered)
    bench.backend.send([Play(incoming.leg, ("ours",), loop=True), Record("r1", (incoming.leg,))])
    wait(bench, lambda: one.hears(900.0))
    bench.rest(2.0)
    assert called.result(10.0) == 200
    # When it hangs up, then the leg ends
    hung_up = one.hang_up()
    assert bench.until(Ended).cause is Cause.NORMAL
    assert hung_up.result(10.0) == 200
    recorded = bench.until(Recorded)
    assert loudness(channels(tmp_path / recorded.file)[0][-RATE:], 700.0) > 1000.0


def test_a_web_phone_with_a_wrong_password_or_of_another_page_is_turned_away(edge):
    bench, proxy, phone = edge
    one = phone("guess")
    assert one.register() in (401, 403)
    bench.backend.send([Dial("d1", f"sip:li@127.0.0.1:{proxy.sip}")])
    assert bench.until(Ended).cause is Cause.UNREACHABLE
    called = one.call("4001")
    bench.rest(2.0)
    assert called.result(10.0) in (401, 403, 407) and not any(isinstance(report, Incoming) for report in bench.seen)
    with pytest.raises(InvalidStatus, match="403"):
        phone(origin="https://elsewhere.example").register()
