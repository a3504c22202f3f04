"""Callers and the numbers that are dialed, where personal data is kept apart: phones show them, the journal does not."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from cordboard.calls.translate import event_of
from cordboard.campaigns.book import Book
from cordboard.campaigns.listing import Row, block_rows, import_rows
from cordboard.journal import CALL_EVENTS, EVENTS
from cordboard.live.privacy import PERSON, Cipher, KeyStore, about_subject, is_private, opened_event
from cordboard.media.backend import TEXT_MAX, Dial, Incoming, Report
from cordboard.media.simulated import FarEnd
from cordboard.services.servicers.privacy import kept_about
from tests.serving import Served
from tests.test_media_node import Running, WallMedia, center, connected, until

CALLER, OTHER, FRIEND = "+8613800138000", "+8613900139000", "+8613700137000"
HEADERS = (("P-Asserted-Identity", f"<sip:{CALLER}@example.org>"), ("X-Empty", ""), ("Diversion", "x" * TEXT_MAX))

# Texts that say nothing about who somebody is: names that cordboard, its nodes or its operators give.
OURS = {
    "agent", "call", "contact", "leg", "node", "preferred_agent", "queue", "reason", "recording",
    "slot", "supervisor", "campaign", "entry", "to", "to_agent", "to_queue", "token", "trunk", "file", "command", "name", "why",
}  # fmt: skip
PAIRS = {"headers", "transcript"}
# What was said or looked up decides what a flow does next: it stands as it is (docs/guides/security.md).
DECIDES = {"answer", "text"}


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[KeyStore]:
    store = KeyStore(tmp_path / "keys.db", Cipher(secrets.token_bytes(32)))
    yield store
    store.close()


class Shows(WallMedia):
    """A media layer that keeps what it is told to dial."""

    def __init__(self) -> None:
        super().__init__()
        self.dialed: list[Dial] = []
        self.extra: list[Report] = []

    def send(self, commands) -> None:
        self.dialed += [command for command in commands if isinstance(command, Dial)]
        super().send(commands)

    def reports(self, timeout: float):
        found, self.extra = self.extra, []
        return found or super().reports(timeout)


def do(server: Served, event: dict) -> None:
    """What a servicer does with an event of somebody's."""
    [tenant] = server.server.tenants

    async def submit() -> None:
        outcome = await tenant.submit(await tenant.private(event), "", "li")
        assert outcome.entry.error is None

    server.run(submit())


def files_with(folder: Path, text: str) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


def test_every_text_of_an_event_is_known_to_be_ours_or_somebodys() -> None:
    # Given the fields of all events that hold one line of text
    found = set()
    for kind, (required, optional) in (EVENTS | CALL_EVENTS).items():
        for key, check in (required | optional).items():
            if check.__name__ in ("_line", "_name", "_pairs", "_transcript"):
                found.add((kind, key))
    # Then each is a person's, or was looked at and is not
    assert {(kind, PERSON[kind]) for kind in PERSON} <= found
    assert {key for kind, key in found if PERSON.get(kind) != key} == OURS | PAIRS | DECIDES
    assert {kind for kind, key in found if key in PAIRS} == {"leg_incoming", "leg_handed_over"}


def test_a_caller_is_shown_to_the_agent_dialed_exported_and_erased_and_stands_nowhere_else(tmp_path: Path, keys: KeyStore) -> None:
    data = tmp_path / "data"
    with center(data, keys) as server:
        media = Shows()
        node = Running(server, media)
        server.engine.submit({"event": "agent_ready", "agent": "li"}).result()
        # When somebody calls, is connected, and is transferred to a friend's number
        node.do(lambda: media.call("c1", "4001", FarEnd(), caller=CALLER))
        until(lambda: connected(server) == 1)
        assert [(dial.to, dial.caller) for dial in media.dialed] == [("sip:li", CALLER)]
        do(server, {"event": "call_transferred", "contact": "c1", "to_number": FRIEND})
        until(lambda: len(media.dialed) == 2)
        assert (media.dialed[1].to, media.dialed[1].caller) == (FRIEND, "4001")
        node.do(lambda: media.call("c2", "4001", FarEnd(), caller=OTHER))
        until(lambda: keys.known(OTHER) is not None)
        # Then no file has a number
        subject = keys.known(CALLER)
        assert subject is not None and keys.known(FRIEND) is not None
        server.engine.snapshot()
        for number in (CALLER, OTHER, FRIEND):
            assert not files_with(data, number[1:])
        assert files_with(data, subject)
        # And an export has the caller's own call
        [tenant] = server.server.tenants
        kept = [entry.event for entry in kept_about(tenant, keys, subject)]
        assert kept[0]["event"] == "leg_incoming" and kept[0]["caller"] == subject
        assert {"leg_answered", "call_transferred"} <= {event["event"] for event in kept}
        assert not [event for event in kept if event.get("leg") == "c2"]
        # And once it is erased, nobody is told who it was
        node.do(lambda: media.hang_up("c1"))
        assert keys.erase(subject).result()
        assert tenant.shown(Dial("d9", "sip:li", caller=subject)) == Dial("d9", "sip:li")
        assert keys.shown(subject) == ""
        node.stop()


def test_a_journal_without_numbers_replays_to_the_same_effects(tmp_path: Path, keys: KeyStore) -> None:
    with center(tmp_path / "data", keys) as server:
        media = Shows()
        node = Running(server, media)
        server.engine.submit({"event": "agent_ready", "agent": "li"}).result()
        node.do(lambda: media.call("c1", "4001", FarEnd(hangs_up=0.3), caller=CALLER))
        until(lambda: media.dialed != [] and not media.legs())
        node.stop()
        watch = server.engine.subscribe(0, capacity=10_000)
        live = [entry for entry in iter(watch.poll, []) for entry in entry]
        assert list(server.engine.entries()) == live and len(live) > 5


def test_headers_are_sealed_for_their_caller_the_same_each_time_and_shredded_with_it(keys: KeyStore) -> None:
    # Given the report of a caller with headers
    event = event_of(Incoming("c1", "4001", CALLER, headers=HEADERS), "n1")
    # When it comes twice
    found, again = keys.private(event), None
    first = found if isinstance(found, dict) else found.result(10)
    again = keys.private(event)
    # Then both are the same event, which says nothing, fits the journal, and can be opened
    assert first == again and is_private(first) and not is_private(event)
    subject = first["caller"]
    assert [name for name, _ in first["headers"]] == [name for name, _ in HEADERS]
    assert all(len(text) <= TEXT_MAX for _, text in first["headers"]) and CALLER not in str(first)
    opened = dict(opened_event(first, keys)["headers"])
    assert opened["P-Asserted-Identity"] == HEADERS[0][1] and opened["X-Empty"] == ""
    assert HEADERS[2][1].startswith(opened["Diversion"]) and len(opened["Diversion"]) > 700
    # And what was changed is no text of ours
    wrong = first["headers"][0][1][:-6] + "AAAA=="
    assert keys.opened(wrong) == wrong
    keys.erase(subject).result()
    assert {text for _, text in opened_event(first, keys)["headers"]} == {""}


def test_a_caller_without_a_number_or_with_a_very_long_one_is_taken(keys: KeyStore) -> None:
    for caller in ("", "9" * TEXT_MAX):
        found = keys.private(event_of(Incoming("c1", "4001", caller, headers=HEADERS[:1]), "n1"))
        event = found if isinstance(found, dict) else found.result(10)
        assert is_private(event) and ("caller" in event) == bool(caller)
        assert dict(opened_event(event, keys)["headers"])["P-Asserted-Identity"] == HEADERS[0][1]


def test_an_event_that_still_says_who_somebody_is_does_not_get_into_the_journal(tmp_path: Path, keys: KeyStore) -> None:
    with center(tmp_path / "data", keys) as server:
        [tenant] = server.server.tenants

        async def submit() -> None:
            with pytest.raises(RuntimeError, match="personal data in call_consulted"):
                tenant.submit({"event": "call_consulted", "contact": "c1", "to_number": FRIEND}, "", "li")

        server.run(submit())
        assert not [row for row in server.engine.rows() if "call_consulted" in row.event]


def test_who_called_under_a_name_of_a_leg_that_is_used_again_is_another(keys: KeyStore) -> None:
    events = [
        {"event": "leg_incoming", "leg": "c1", "caller": "s-1"},
        {"event": "leg_answered", "leg": "c1"},
        {"event": "call_held", "contact": "c1~2"},
        {"event": "leg_incoming", "leg": "c1", "caller": "s-2"},
        {"event": "leg_answered", "leg": "c1"},
        {"event": "call_consulted", "contact": "c1", "to_number": "s-1"},
    ]
    assert about_subject(events, "s-1") == [*events[:3], events[5]]
    assert about_subject(events, "s-2") == events[3:]


def test_a_number_that_must_not_be_called_stays_so_when_its_owner_is_forgotten_and_is_readable_nowhere(tmp_path: Path, keys: KeyStore) -> None:
    def subjects(numbers: Sequence[str]) -> list[str]:
        return [keys.subject(number).result() for number in numbers]

    def marks(numbers: Sequence[str]) -> list[str]:
        return [keys.mark(number) for number in numbers]

    with closing(Book(tmp_path / "outbound.db")) as book:
        # Given somebody on a list who does not want to be called, and then wants to be forgotten
        wanted, number = [Row(2, CALLER), Row(3, FRIEND)], [Row(2, CALLER)]
        assert import_rows(book, "spring", number, {}, "UTC", subjects, marks) == (1, [])
        assert block_rows(book, number, subjects, marks) == (1, [])
        assert block_rows(book, number, subjects, marks) == (0, [])
        assert not book.may_dial("spring", 1)
        subject = keys.known(CALLER)
        assert subject is not None and keys.erase(subject).result()
        # When the number comes again, in another list
        added, [problem] = import_rows(book, "autumn", wanted, {}, "UTC", subjects, marks)
        # Then it is refused, nobody makes a subject of it, and no file has it
        assert (added, problem.line, problem.reason) == (1, 2, "do_not_call")
        assert keys.known(CALLER) is None and book.number("autumn", "1") == keys.known(FRIEND)
        assert block_rows(book, number, subjects, marks) == (0, [])
    assert not any(CALLER.encode() in file.read_bytes() for file in tmp_path.iterdir())
