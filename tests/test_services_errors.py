"""What callers are told: every error of the library has a code, a reason, fields and words in both languages."""

from __future__ import annotations

import re

import pytest
from google.rpc import code_pb2, error_details_pb2

from cordboard import errors
from cordboard.center import parse_center
from cordboard.services.errors import RULES, rule_of, status_of


def every_error(kind=errors.CordboardError):
    yield kind
    for below in kind.__subclasses__():
        yield from every_error(below)


EXAMPLES = {
    errors.CordboardError: errors.CordboardError("odd"),
    errors.LimitError: errors.LimitError("too many", 7),
    errors.AccessError: errors.AccessError("NO", "not yours"),
    errors.UnauthenticatedError: errors.UnauthenticatedError("TOKEN_EXPIRED", "the token has expired"),
    errors.DeniedError: errors.DeniedError("PERMISSION_MISSING", "not yours"),
    errors.ConflictError: errors.ConflictError("another event"),
    errors.UnavailableError: errors.UnavailableError("not now", "read-only: disk full"),
    errors.StoreError: errors.StoreError("disk full", "the journal can't be written"),
    errors.CompactedError: errors.CompactedError(41),
    errors.SlowReaderError: errors.SlowReaderError(9, 10),
    errors.MissingExtraError: errors.MissingExtraError("sklearn", "learn"),
}
# What the library can raise inside a server. Errors of the services and of the client are not among them, whichever test
# imported those first.
KINDS = [
    kind
    for kind in every_error()
    if kind.__module__.startswith("cordboard.") and not kind.__module__.startswith(("cordboard.services.", "cordboard.client"))
]


def example(kind):
    if kind in EXAMPLES:
        return EXAMPLES[kind]
    if issubclass(kind, errors.InputError):
        return kind("it is wrong", errors.Where(key="field"), "Mend it")
    return kind(*EXAMPLES[next(one for one in kind.__mro__ if one in EXAMPLES)].args)


def details(status):
    found = {}
    for packed in status.details:
        message = getattr(error_details_pb2, packed.TypeName().rsplit(".", 1)[-1])()
        assert packed.Unpack(message)
        found.setdefault(type(message).__name__, []).append(message)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_of_the_library_is_told_as_a_status_with_reason_and_words(kind):
    assert kind is errors.CordboardError or rule_of(kind) is not RULES[errors.CordboardError], "give it a rule"
    status = status_of(example(kind))
    found = details(status)
    (info,) = found["ErrorInfo"]
    words = {message.locale: message.message for message in found["LocalizedMessage"]}
    assert status.code != code_pb2.OK and status.message
    assert info.domain == "cordboard" and re.fullmatch(r"[A-Z][A-Z0-9_]{1,62}", info.reason)
    assert set(words) == {"en", "zh"} and re.search(r"[\u4e00-\u9fff]", words["zh"])
    assert status.ByteSize() < 6000  # it travels in a header


def test_a_wrong_field_is_named_in_bad_request():
    (bad,) = details(status_of(errors.InputError("3 is no name", errors.Where(key="queue"), "Give one")))["BadRequest"]
    assert [violation.field for violation in bad.field_violations] == ["queue"]


def test_a_center_file_tells_all_that_is_wrong_with_it():
    with pytest.raises(errors.CenterError) as raised:
        parse_center("[queues.a]\ndelay = -1\nwrap_up = -1\n[agents.b]\nblend = 3\n")
    (bad,) = details(status_of(raised.value))["BadRequest"]
    assert {violation.field for violation in bad.field_violations} == {
        "queues.a.delay",
        "queues.a.wrap_up",
        "agents.b.blend",
    }


def test_a_status_fits_into_a_header_however_much_is_wrong():
    text = "".join(f"[queues.q{i}]\n{'x' * 200} = -1\n" for i in range(100))
    with pytest.raises(errors.CenterError) as raised:
        parse_center(text)
    assert status_of(raised.value).ByteSize() < 6000


@pytest.mark.parametrize(
    ("error", "metadata"),
    [
        (errors.CompactedError(41), {"oldest_revision": "42"}),
        (errors.LimitError("too many", 7), {"limit": "7"}),
        (errors.UnavailableError("not now", "read-only: disk full"), {"state": "read-only: disk full"}),
        (errors.SlowReaderError(9, 10), {"revision": "9"}),
    ],
)
def test_the_facts_of_an_error_are_there_for_programs(error, metadata):
    assert dict(details(status_of(error))["ErrorInfo"][0].metadata) == metadata
