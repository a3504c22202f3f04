"""What voice bots write of conversations, where personal data is kept apart: sealed at rest, read by whom it may concern,
exported with its caller, and gone with the caller's key."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cordboard.calls.config import parse_calls
from cordboard.center import parse_center
from cordboard.live.access import ALL, Caller, Role, masked_within
from cordboard.live.privacy import ENVIRONMENT, Cipher, KeyStore, is_private
from cordboard.live.tenants import keys_path
from cordboard.media.backend import HandedOver
from cordboard.media.simulated import FarEnd
from cordboard.services.call_messages import call_message, show_caller
from cordboard.services.servicers.privacy import kept_about
from tests.serving import Served, served
from tests.test_calls_bots import CALLS, CENTER
from tests.test_media_node import Running, WallMedia, until
from tests.test_privacy_calls import files_with

CALLER, CARD = "+8613800138000", "4111 1111 1111 1111"
LINES = (("summary", "Mrs Zhang wants a refund"), ("caller", f"my card is {CARD}, flat 12"), ("bot", "\u5f20\u5973\u58eb" * 20 + "\U0001f600" * 120))
DAY_S = 86_400.0


class Now:
    """A clock of the tests'."""

    at = 1_790_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def keys(tmp_path: Path, now: Now) -> Iterator[KeyStore]:
    path = keys_path(tmp_path / "data", "default")
    path.parent.mkdir(parents=True)
    store = KeyStore(path, Cipher(bytes(32)), clock=now)
    yield store
    store.close()


@contextmanager
def handed_over(folder: Path, keys: KeyStore, caller: str) -> Iterator[Served]:
    """A server whose bot has handed a caller over, with LINES."""
    with served(folder, CENTER, keys=keys) as server:
        calls = parse_calls(CALLS, parse_center(CENTER))
        server.engine.change_calls(calls).result()
        [tenant] = server.server.tenants
        tenant.nodes.calls = calls
        node = Running(server, WallMedia())
        node.do(lambda: node.media.call("c1", "4001", FarEnd(), caller=caller))
        until(lambda: "d1" in node.media.hears("c1"))
        node.do(lambda: node.media.hand_over("d1", HandedOver("d1", caller, "people", transcript=LINES)))
        until(lambda: bool(reads(server, Role.MANAGER)))
        yield server
        node.stop()


def reads(server: Served, role: Role) -> list[tuple[str, str]]:
    """What somebody of a role reads of the call."""
    [tenant] = server.server.tenants
    who = Caller("default", "somebody", frozenset({role}), ALL, ALL)
    look = lambda board: [call_message("default", board, call) for call in board.state.calls.values()]  # noqa: E731
    [call] = server.engine.read_calls(look).result()
    return [(line.who, line.text) for line in show_caller(tenant, call, who).transcript]


def test_a_transcript_is_sealed_at_rest_read_by_role_exported_and_erased_with_its_caller(tmp_path: Path, keys: KeyStore) -> None:
    data = tmp_path / "data"
    with handed_over(data, keys, CALLER) as server:
        # Then nothing of it stands in the journal, a snapshot, records or any other file
        server.engine.snapshot()
        [event] = [entry.event for entry in server.engine.entries() if entry.event["event"] == "leg_handed_over"]
        assert is_private(event) and [who for who, _ in event["transcript"]] == ["summary", "caller", "bot"]
        for secret in (CALLER[1:], "Zhang", "refund", CARD, CARD.replace(" ", ""), "\u5f20\u5973\u58eb"):
            assert not files_with(tmp_path, secret), secret
        # And who may see numbers reads all of it, others all but the numbers
        covered = (LINES[0], ("caller", "my card is **** **** **** **11, flat 12"), LINES[2])
        for role in (Role.MANAGER, Role.ADMINISTRATOR, Role.SERVICE):
            assert tuple(reads(server, role)) == LINES
        for role in (Role.AGENT, Role.TEAM_LEAD, Role.QA):
            assert tuple(reads(server, role)) == covered
        # And it is exported with its caller, by the service and by the command
        [tenant] = server.server.tenants
        subject = keys.known(CALLER)
        assert subject is not None
        [kept] = [entry.event for entry in kept_about(tenant, keys, subject) if entry.event["event"] == "leg_handed_over"]
        assert tuple(map(tuple, kept["transcript"])) == LINES
        found = json.loads(command(tmp_path, "export", "--customer", CALLER))
        [again] = [event for event in found["events"] if event["event"] == "leg_handed_over"]
        assert again["transcript"] == kept["transcript"]
        # When its caller is erased
        assert keys.erase(subject).result()
        # Then nobody can read it any more, in the call, in the journal, or in a copy of either
        assert tuple(reads(server, Role.ADMINISTRATOR)) == tuple((who, "") for who, _ in LINES)
        [gone] = [entry.event for entry in kept_about(tenant, keys, subject) if entry.event["event"] == "leg_handed_over"]
        assert [text for _, text in gone["transcript"]] == ["", "", ""]
        # And the same caller is somebody new, whose words do not open those
        fresh = keys.subject(CALLER).result()
        assert fresh != subject and {keys.opened(text) for _, text in event["transcript"]} == {""}


def test_what_callers_without_a_number_said_is_shredded_when_its_day_is_old(tmp_path: Path, keys: KeyStore, now: Now) -> None:
    with handed_over(tmp_path / "data", keys, "") as server:
        assert tuple(reads(server, Role.MANAGER)) == LINES and not files_with(tmp_path, "refund")
        # When others without a number call each day, and what is older than a month is erased
        for _ in range(31):
            now.at += DAY_S
            found = keys.private({"event": "leg_handed_over", "leg": "d2", "transcript": [["bot", "hello"]]})
            event = found if isinstance(found, dict) else found.result(10)
        assert keys.erase_unseen(now.at - 30 * DAY_S).result()
        # Then it is gone, and what was said today is not
        assert {text for _, text in reads(server, Role.MANAGER)} == {""}
        assert keys.opened(event["transcript"][0][1]) == "hello"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("call +86 138-0013-8000 at 9:30", "call +** ***-****-**00 at 9:30"),
        ("4111111111111111", "**************11"),
        ("order 123456, 2 of 3", "order 123456, 2 of 3"),
        ("(020) 8123 4567 or 12 34", "(***) **** **67 or 12 34"),
        ("", ""),
    ],
)
def test_numbers_in_a_text_are_hidden_but_for_their_last_two_digits(text: str, shown: str) -> None:
    assert masked_within(text) == shown
    assert masked_within(text, Caller("t", "m", frozenset({Role.MANAGER}))) == text


def command(folder: Path, *arguments: str) -> str:
    words = [sys.executable, "-m", "cordboard", "privacy", *arguments, "--data", "data", "--json"]
    master = {ENVIRONMENT: base64.b64encode(bytes(32)).decode()}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=os.environ | master, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
