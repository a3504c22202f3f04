"""Webhooks against a real HTTP server that fails, hangs, closes, and says that it is gone."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.errors import InputError
from cordboard.live import Engine, Settings
from cordboard.live.webhook_http import Answer, signature
from cordboard.live.webhooks import Endpoint, Retry, Webhooks, load_endpoints, message
from tests.clocks import until

CENTER = parse_center("[queues.billing]\noffer_timeout = 5\n[agents.li]\nskills = {}\n")
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
QUICK = Retry(first_s=0.01, most_s=0.03, attempts=4)


class Receiver:
    """A server on this machine. ``answers``: what it does with the next requests, in order; then it takes all."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes, int]] = []
        self.answers: list[Callable[[BaseHTTPRequestHandler], int] | int] = []
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = outer.answers.pop(0) if outer.answers else 200
                status = answer if isinstance(answer, int) else answer(self)
                outer.requests.append(({key.lower(): value for key, value in self.headers.items()}, body, status))
                if status:
                    self.send_response(status)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def taken(self) -> list[int]:
        """The revisions that were taken, in the order in which they came."""
        return [json.loads(body)["data"]["revision"] for _, body, status in self.requests if 200 <= status < 300]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.release.set()
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(CENTER, Settings(data=tmp_path, history=50)) as found:
        yield found


def queue(engine: Engine, *names: str) -> None:
    events = [{"event": "contact_queued", "contact": name, "queue": "billing"} for name in names]
    engine.submit_many(events).result(10)


def hooks(engine: Engine, receiver: Receiver, path: Path, **more: object) -> Webhooks:
    endpoint = Endpoint("crm", receiver.url, (SECRET,), after=0, **{"retry": QUICK, "timeout_s": 5.0, **more})
    return Webhooks(engine, [endpoint], path / "webhooks.db").start()


def test_entries_come_in_order_signed_as_the_reference_implementation_verifies(engine, receiver, tmp_path):
    standard = pytest.importorskip("standardwebhooks")
    queue(engine, "c1", "张伟")
    engine.submit({"event": "agent_ready", "agent": "li"}).result(10)
    webhooks = hooks(engine, receiver, tmp_path)
    until(lambda: len(receiver.requests) == 3)
    webhooks.close()
    for headers, body, _ in receiver.requests:
        standard.Webhook(SECRET).verify(body, headers)
        other = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        with pytest.raises(standard.WebhookVerificationError):
            standard.Webhook(other).verify(body, headers)
        with pytest.raises(standard.WebhookVerificationError):
            standard.Webhook(SECRET).verify(body + b" ", headers)
    bodies = [json.loads(body) for _, body, _ in receiver.requests]
    assert [body["data"]["revision"] for body in bodies] == [1, 2, 3]
    assert bodies[1]["data"]["event"]["contact"] == "张伟"
    assert bodies[2]["type"] == "agent_ready" and bodies[2]["data"]["effects"][0]["effect"] == "offer"
    assert [headers["webhook-id"] for headers, _, _ in receiver.requests] == ["default-1", "default-2", "default-3"]


def test_both_secrets_hold_while_one_replaces_the_other():
    standard = pytest.importorskip("standardwebhooks")
    old = "whsec_" + base64.b64encode(bytes(24)).decode()
    now = int(time.time())
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in (SECRET, old)]
    headers = {"webhook-id": "x", "webhook-timestamp": str(now), "webhook-signature": signature(keys, "x", now, b"{}")}
    for secret in (SECRET, old):
        standard.Webhook(secret).verify(b"{}", headers)


def test_a_server_that_fails_gets_the_same_message_again_before_the_next_one(engine, receiver, tmp_path):
    receiver.answers = [500, 429, 302]
    queue(engine, "c1", "c2")
    webhooks = hooks(engine, receiver, tmp_path)
    until(lambda: len(receiver.taken()) == 2)
    webhooks.close()
    assert [headers["webhook-id"] for headers, _, _ in receiver.requests] == ["default-1"] * 4 + ["default-2"]
    assert len({body for _, body, _ in receiver.requests[:4]}) == 1


def test_a_server_that_hangs_or_dribbles_or_hangs_up_is_given_up_in_time(engine, receiver, tmp_path):
    def hang(_: BaseHTTPRequestHandler) -> int:
        receiver.release.wait(20)
        return 0

    def dribble(handler: BaseHTTPRequestHandler) -> int:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(200):
            if receiver.release.wait(0.05):
                break
            try:
                handler.wfile.write(b"X-More: 1\r\n")
            except OSError:
                break
        return 0

    def hang_up(handler: BaseHTTPRequestHandler) -> int:
        handler.connection.close()
        handler.close_connection = True
        return 0

    receiver.answers = [hang, dribble, hang_up]
    queue(engine, "c1")
    webhooks = hooks(engine, receiver, tmp_path, timeout_s=0.3)
    until(lambda: receiver.taken() == [1])
    [state] = webhooks.states()
    webhooks.close()
    assert state.failed >= 2 and state.dead == 0


def test_what_is_never_taken_is_a_dead_letter_and_goes_out_again_when_asked(engine, receiver, tmp_path):
    # given an endpoint that refuses the first message as often as it is tried, and takes the second
    receiver.answers = [503] * QUICK.attempts
    queue(engine, "c1", "c2")
    webhooks = hooks(engine, receiver, tmp_path)
    until(lambda: receiver.taken() == [2])
    [letter] = webhooks.store.dead("crm")
    assert (letter.revision, letter.attempts, letter.why) == (1, 4, "503 Service Unavailable")
    # when it is sent again, and refused again, it stays dead
    receiver.answers = [500] * QUICK.attempts
    webhooks.store.again("crm")
    until(lambda: not receiver.answers and not webhooks.store.dead("crm", again=True))
    assert [dead.attempts for dead in webhooks.store.dead("crm")] == [8]
    # and when it is taken, it is gone
    webhooks.store.again("crm", 1)
    until(lambda: webhooks.store.dead("crm") == [])
    webhooks.close()
    assert receiver.taken() == [2, 1]
    assert receiver.requests[-1][0]["webhook-id"] == "default-1"


def test_an_endpoint_that_is_gone_stands_still_until_it_is_resumed_and_misses_nothing(engine, receiver, tmp_path):
    receiver.answers = [200, 410]
    queue(engine, "c1", "c2", "c3")
    webhooks = hooks(engine, receiver, tmp_path)
    until(lambda: "410" in webhooks.states()[0].stopped)
    assert receiver.taken() == [1] and len(receiver.requests) == 2
    webhooks.close()
    # after a restart too
    webhooks = hooks(engine, receiver, tmp_path)
    time.sleep(0.1)
    assert len(receiver.requests) == 2
    webhooks.store.resume("crm")
    until(lambda: receiver.taken() == [1, 2, 3])
    webhooks.close()


def test_after_a_restart_it_goes_on_where_it_was_though_the_engine_remembers_less(engine, receiver, tmp_path):
    queue(engine, "c1")
    webhooks = hooks(engine, receiver, tmp_path)
    until(lambda: receiver.taken() == [1])
    webhooks.close()
    for place in range(0, 150, 10):  # three times what the engine holds
        queue(engine, *(f"d{place + i}" for i in range(10)))
    webhooks = hooks(engine, receiver, tmp_path)
    until(lambda: len(receiver.taken()) >= 151)
    webhooks.close()
    assert receiver.taken() == list(range(1, 152))


def test_a_full_list_of_dead_letters_stops_the_endpoint_and_loses_nothing(engine, receiver, tmp_path, monkeypatch):
    monkeypatch.setattr("cordboard.live.webhook_store.DEAD_MAX", 2)
    receiver.answers = [500] * (QUICK.attempts * 3)
    queue(engine, *(f"c{i}" for i in range(5)))
    webhooks = hooks(engine, receiver, tmp_path)
    until(lambda: "the list of dead letters is full" in webhooks.states()[0].stopped)
    webhooks.store.drop("crm", 1)
    webhooks.store.resume("crm")
    until(lambda: receiver.taken() == [3, 4, 5])
    assert [letter.revision for letter in webhooks.store.dead("crm")] == [2]
    webhooks.close()


def test_an_endpoint_gets_only_the_kinds_it_asked_for(engine, receiver, tmp_path):
    engine.submit({"event": "agent_ready", "agent": "li"}).result(10)
    queue(engine, "c1")  # with an offer
    queue(engine, "c2")  # without
    engine.submit({"event": "contact_left", "contact": "nobody"}).result(10)  # refused
    engine.submit({"event": "agent_offline", "agent": "li"}).result(10)
    webhooks = hooks(engine, receiver, tmp_path, kinds=frozenset({"offer", "agent_offline", "contact_left"}))
    until(lambda: webhooks.states()[0].behind == 0)
    webhooks.close()
    assert receiver.taken() == [2, 5]


def test_a_stopped_server_does_not_wait_for_an_endpoint_that_hangs(engine, receiver, tmp_path):
    arrived = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> int:
        arrived.set()
        receiver.release.wait(20)
        return 0

    receiver.answers = [hang]
    queue(engine, "c1")
    webhooks = hooks(engine, receiver, tmp_path, timeout_s=60.0)
    assert arrived.wait(10)
    webhooks.close(seconds=0.1)
    assert not any(worker.thread.is_alive() for worker in webhooks._workers)


def test_pauses_double_within_bounds_with_a_random_half_and_heed_retry_after():
    retry = Retry(first_s=2.0, most_s=60.0)
    failed = Answer(500, "")
    assert [retry.pause(n, failed, lambda: 1.0) for n in (1, 2, 3, 5, 6, 12, 100)] == [2, 4, 8, 32, 60, 60, 60]
    assert [retry.pause(n, failed, lambda: 0.0) for n in (1, 2, 12)] == [1, 2, 30]
    assert retry.pause(1, Answer(429, "", retry_after=20.0), lambda: 1.0) == 20
    assert retry.pause(1, Answer(503, "", retry_after=1e6), lambda: 1.0) == 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('url = "http://crm.example/x"', "in the clear"),
        ('url = "https://user:pw@crm.example/x"', "password"),
        ('url = "ftp://crm.example"', "not an address of the web"),
        ('url = "https://crm.example"\nsecret = "whsec_c2hvcnQ="', "not a secret"),
        ('url = "https://crm.example"\nsecert = "x"', 'Did you mean "secret"'),
        ('url = "https://crm.example"\nkinds = ["contact_qeued"]', 'Did you mean "contact_queued"'),
        ('url = "https://crm.example"\nkinds = [""]', "neither an event nor an effect"),
        ('url = "https://crm.example"\nattempts = 0', "attempts"),
        ('url = "https://crm.example"\nattempts = 1.5', "attempts"),
        ('url = "https://["', "no valid host"),
        ("url = 5", "can't be used"),
        ('url = "https://crm.example"\nsecret = "whsec_é"', "not a secret"),
        ('url = "https://crm.example"\ntimeout_s = "long"', "can't be used"),
    ],
)
def test_mistakes_in_the_file_are_told_with_their_key(tmp_path, text, expected):
    path = tmp_path / "hooks.toml"
    secret = "" if "secret =" in text else f'secret = "{SECRET}"\n'
    path.write_text(f"[webhooks.crm]\n{secret}{text}\n", "utf-8")
    with pytest.raises(InputError, match=expected) as caught:
        load_endpoints(path)
    assert str(path) in str(caught.value) and "webhooks.crm" in str(caught.value)


@pytest.mark.parametrize("text", ["webhooks = 3", "[[webhooks]]\nurl = 'https://crm.example'"])
def test_a_file_without_tables_of_endpoints_is_refused(tmp_path, text):
    (tmp_path / "hooks.toml").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"\[webhooks\]: is not a table"):
        load_endpoints(tmp_path / "hooks.toml")


def test_a_good_file_gives_the_endpoints(tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n", "utf-8")
    (tmp_path / "hooks.toml").write_text(
        '[webhooks.crm]\nurl = "https://crm.example/x"\nsecret_file = "secret"\nkinds = ["offer", "leg_ended"]\nattempts = 3\n', "utf-8"
    )
    [endpoint] = load_endpoints(tmp_path / "hooks.toml")
    assert (endpoint.secrets, endpoint.kinds, endpoint.retry.attempts) == ((SECRET,), {"offer", "leg_ended"}, 3)


def test_the_text_of_a_changed_center_is_not_sent_along(engine):
    entry = engine.submit({"event": "agent_ready", "agent": "li"}).result(10).entry
    changed = type(entry)(9, entry.t, {"t": entry.t, "event": "center_changed", "center": {"big": 1}}, (), None, "", "")
    assert json.loads(message(changed))["data"]["event"] == {"t": entry.t, "event": "center_changed"}


def test_the_command_shows_sends_again_drops_and_resumes(engine, receiver, tmp_path, capsys):
    receiver.answers = [500] * QUICK.attempts + [410]
    queue(engine, "c1", "c2")
    webhooks = hooks(engine, receiver, tmp_path)
    until(lambda: "410" in webhooks.states()[0].stopped)
    store = str(tmp_path / "webhooks.db")
    assert main(["webhooks", "show", store, "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["name"], row["cursor"], row["dead"]) == ("crm", 1, 1) and "410" in row["stopped"]
    assert main(["webhooks", "dead", store, "crm"]) == 0
    assert "500 Internal Server Error" in capsys.readouterr().out
    assert main(["webhooks", "again", store, "crm"]) == 0 and main(["webhooks", "resume", store, "crm"]) == 0
    until(lambda: sorted(receiver.taken()) == [1, 2])
    assert main(["webhooks", "resume", store, "nobody"]) == 2
    assert main(["webhooks", "show", str(tmp_path / "none.db")]) == 2
    webhooks.close()
