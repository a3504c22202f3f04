"""Tokens: what holds, what does not, and how little a peer learns of why."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordboard.cli import main
from cordboard.errors import InputError, UnauthenticatedError
from cordboard.live import tokens
from cordboard.live.access import ALL, Caller, Role

NOW = 1_800_000_000.0
LI = Caller("acme", "li", frozenset({Role.AGENT}), frozenset({"north"}), ALL, NOW + 3600)
KEY, OTHER_KEY = tokens.new_key(), tokens.new_key()


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def key_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "public.jwks"
    tokens.write_keys(path, [KEY], private=False)
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(key_file, clock) -> tokens.Verifier:
    return tokens.Verifier(key_file, tenants={"acme"}, clock=clock)


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def claims(**changed: object) -> dict[str, object]:
    said = tokens.shown(tokens.issue(KEY, LI, now=NOW))["claims"]
    return {name: value for name, value in (said | changed).items() if value is not ...}


def signed(said: dict[str, object], key: tokens.Key = KEY, **header: object) -> str:
    return jwt.encode(said, key.private, algorithm="EdDSA", headers={"kid": key.kid, **header})


def reason(verifier: tokens.Verifier, token: str) -> str:
    with pytest.raises(UnauthenticatedError) as refused:
        verifier.verify(token)
    shown = str(refused.value)
    assert "acme" not in shown and "kid" not in shown and "signature" not in shown.lower()
    return refused.value.reason


def test_a_token_that_was_issued_says_who_its_bearer_is(verifier):
    caller = verifier.verify(tokens.issue(KEY, LI, now=NOW))
    assert (caller.tenant, caller.name, caller.roles, caller.teams, caller.queues) == (
        "acme", "li", {Role.AGENT}, {"north"}, ALL,
    )
    assert caller.by == "token" and caller.expires == NOW + 3600 + tokens.LEEWAY_S


def test_nobody_gets_in_without_a_token(verifier):
    assert reason(verifier, "") == "TOKEN_MISSING"


def test_a_token_ends_when_it_says_and_also_one_that_was_verified_before(verifier, clock):
    token = tokens.issue(KEY, LI, now=NOW)
    verifier.verify(token)
    clock.now = NOW + 3600 + tokens.LEEWAY_S - 0.001
    verifier.verify(token)
    clock.now = NOW + 3600 + tokens.LEEWAY_S
    assert reason(verifier, token) == "TOKEN_EXPIRED"
    assert reason(verifier, token) == "TOKEN_EXPIRED"


def test_clocks_may_differ_by_the_leeway_and_no_more(verifier, clock):
    token = tokens.issue(KEY, LI, now=NOW)
    clock.now = NOW - tokens.LEEWAY_S - 0.5
    assert reason(verifier, token) == "TOKEN_NOT_YET_VALID"
    clock.now = NOW - tokens.LEEWAY_S
    verifier.verify(token)


@given(st.data())
def test_a_token_with_any_character_changed_does_not_hold(key_file, data):
    token = tokens.issue(KEY, LI, now=NOW)
    at = data.draw(st.integers(0, len(token) - 1))
    char = data.draw(st.sampled_from("ABCxyz019-_.=").filter(lambda c: c != token[at]))
    changed = token[:at] + char + token[at + 1 :]
    try:
        same = [base64.urlsafe_b64decode(p + "==") for p in changed.split(".")] == [
            base64.urlsafe_b64decode(p + "==") for p in token.split(".")
        ]
    except ValueError:
        same = False
    if not same:  # the last character of a part has bits that nobody reads
        assert reason(tokens.Verifier(key_file, clock=Clock()), changed) == "TOKEN_INVALID"


@given(st.text(max_size=60))
def test_any_text_is_refused_in_the_same_words(key_file, text):
    assert reason(tokens.Verifier(key_file, clock=Clock()), text + ".") == "TOKEN_INVALID"


def test_the_algorithm_is_the_servers_choice_and_not_the_tokens(verifier):
    body = b64(json.dumps(claims()).encode())
    for alg in ("none", "None", "NONE", ""):
        head = b64(json.dumps({"alg": alg, "typ": "JWT", "kid": KEY.kid}).encode())
        assert reason(verifier, f"{head}.{body}.") == "TOKEN_INVALID"
    # The public key, which all the world knows, as the secret of an HMAC.
    import hashlib
    import hmac

    for secret in (KEY.public.public_bytes_raw(), tokens.keys_text([KEY], private=False)):
        head = b64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": KEY.kid}).encode())
        mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
        assert reason(verifier, f"{head}.{body}.{b64(mac)}") == "TOKEN_INVALID"


def test_a_key_that_the_token_brings_along_vouches_for_nothing(verifier):
    own = json.loads(tokens.keys_text([OTHER_KEY], private=False))["keys"][0]
    assert reason(verifier, signed(claims(), OTHER_KEY, jwk=own)) == "TOKEN_INVALID"
    assert reason(verifier, signed(claims(), OTHER_KEY, kid=KEY.kid, jwk=own)) == "TOKEN_INVALID"
    assert reason(verifier, signed(claims(), KEY, kid="../../keys")) == "TOKEN_INVALID"
    assert reason(verifier, signed(claims(), KEY, crit=["exp"])) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "another"}, {"aud": ...}, {"iss": "another"}, {"iss": ...}, {"tenant": "globex"}, {"tenant": ""}, {"tenant": ...},
        {"sub": ...}, {"sub": "a\nb"}, {"sub": 5}, {"exp": ...}, {"exp": "soon"}, {"exp": float("1e300")}, {"exp": True}, {"nbf": ...}, {"jti": ...},
        {"roles": ["root"]}, {"roles": "administrator"}, {"roles": [["agent"]]}, {"teams": {"a": 1}}, {"queues": [1]},
        {"queues": [str(i) for i in range(1001)]}, {"exp": int(NOW) + 400 * 86400},
    ],
    ids=str,
)
def test_a_signed_token_that_says_something_wrong_does_not_hold(verifier, changed):
    assert reason(verifier, signed(claims(**changed))) == "TOKEN_INVALID"


def test_a_star_beside_names_is_not_all(verifier):
    caller = verifier.verify(signed(claims(queues=["*", "billing"])))
    assert caller.queues == {"billing"} and not caller.covers_queue("vip")


def test_a_token_longer_than_the_limit_is_not_even_read(verifier):
    assert reason(verifier, signed(claims(queues=["q" * 200] * 100))) == "TOKEN_INVALID"
    with pytest.raises(InputError, match="servers take"):
        tokens.issue(KEY, Caller("t", "n", frozenset(), frozenset(f"team-{i:020}" for i in range(500)), expires=NOW + 1), now=NOW)


def test_keys_rotate_and_a_dropped_one_vouches_for_nothing_within_a_second(tmp_path, clock):
    path = tmp_path / "public.jwks"
    old, new = tokens.new_key(), tokens.new_key()
    tokens.write_keys(path, [old], private=False)
    verifier = tokens.Verifier(path, clock=clock)
    by_old, by_new = (tokens.issue(key, LI, now=NOW) for key in (old, new))
    verifier.verify(by_old)
    assert reason(verifier, by_new) == "TOKEN_INVALID"
    tokens.write_keys(path, [new, old], private=False)
    clock.now += 1
    verifier.verify(by_new)
    verifier.verify(by_old)
    tokens.write_keys(path, [new], private=False)
    clock.now += 1
    verifier.verify(by_new)
    assert reason(verifier, by_old) == "TOKEN_INVALID"


def test_a_key_file_that_is_damaged_while_the_server_runs_changes_nothing(tmp_path, clock):
    path = tmp_path / "public.jwks"
    tokens.write_keys(path, [KEY], private=False)
    verifier = tokens.Verifier(path, clock=clock)
    for damage in (lambda: path.write_text("{"), path.unlink):
        damage()
        clock.now += 2
        verifier.verify(tokens.issue(KEY, LI, now=NOW))


def test_a_token_that_was_being_read_when_its_key_was_dropped_is_not_remembered(tmp_path, clock, monkeypatch):
    # Given a verifier that has read a token's signature, while another thread takes the new keys
    path = tmp_path / "public.jwks"
    tokens.write_keys(path, [KEY, OTHER_KEY], private=False)
    verifier = tokens.Verifier(path, clock=clock)
    old, new = (tokens.issue(key, LI, now=NOW) for key in (KEY, OTHER_KEY))
    decoded = verifier._decoded

    def overtaken(token, keys):
        found = decoded(token, keys)
        monkeypatch.undo()
        tokens.write_keys(path, [OTHER_KEY], private=False)
        clock.now += 1
        verifier.verify(new)
        return found

    monkeypatch.setattr(verifier, "_decoded", overtaken)
    assert verifier.verify(old).name == "li"
    # Then the next one who shows it is asked for a key that is there
    assert reason(verifier, old) == "TOKEN_INVALID"


def test_the_cache_is_bounded(key_file, clock, monkeypatch):
    monkeypatch.setattr(tokens, "CACHED_MAX", 3)
    verifier = tokens.Verifier(key_file, clock=clock)
    found = [tokens.issue(KEY, LI, now=NOW) for _ in range(6)]
    for token in found * 2:
        assert verifier.verify(token).name == "li"
    assert len(verifier._known) == 3


def test_a_private_key_file_is_its_owners_alone_and_is_refused_otherwise(tmp_path):
    path = tmp_path / "keys.jwks"
    tokens.write_keys(path, [KEY], private=True)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert tokens.read_keys(path, private=True)[0].private is not None
    os.chmod(path, 0o640)
    with pytest.raises(InputError, match="chmod 600"):
        tokens.read_keys(path, private=True)


def test_a_public_key_set_holds_nothing_private(tmp_path):
    path = tmp_path / "public.jwks"
    tokens.write_keys(path, [KEY], private=False)
    assert '"d"' not in path.read_text()
    os.chmod(path, 0o600)
    with pytest.raises(InputError, match="private"):
        tokens.read_keys(path, private=True)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": []}', '{"keys": [{}]}', '{"keys": [{"kid": "a", "kty": "oct", "k": "AA"}]}', "[" * 100000])
def test_a_file_that_is_no_key_set_says_so(tmp_path, text):
    path = tmp_path / "keys.jwks"
    path.write_text(text)
    with pytest.raises(InputError, match="cordboard token keys"):
        tokens.read_keys(path)


def test_the_command_makes_rotates_issues_and_shows(tmp_path, capsys):
    private, public = tmp_path / "keys.jwks", tmp_path / "public.jwks"

    def run(*args: object, status: int = 0) -> dict:
        assert main(["token", "--json", *map(str, args)]) == status
        return json.loads(capsys.readouterr().out or "{}")

    first = run("keys", private, "--public", public)["signs"]
    token = run("issue", "--keys", private, "--tenant", "acme", "--name", "li", "--role", "agent", "--queue", "*")["token"]
    said = run("show", token, "--keys", public)
    assert said["holds"] is True and said["claims"]["sub"] == "li" and said["header"]["kid"] == first
    second = run("keys", private, "--rotate", "--drop", first, "--public", public)["signs"]
    assert second != first
    said = run("show", token, "--keys", public, status=1)
    assert said["holds"] is False and "TOKEN_INVALID" in said["why"]
    for wrong in (
        ["keys", private, "--drop", second], ["keys", private, "--drop", "none"], ["issue", "--keys", public, "--name", "li", "--role", "agent"],
        ["issue", "--keys", private, "--name", "li", "--role", "boss"], ["issue", "--keys", private, "--name", "li", "--role", "agent", "--hours", "0"],
        ["issue", "--keys", private, "--name", "li", "--role", "agent", "--queue", "*", "--queue", "vip"], ["show", "no.token"],
    ):
        run(*wrong, status=2)


def test_the_command_speaks_to_people_too(tmp_path, capsys):
    private = tmp_path / "keys.jwks"
    assert main(["token", "keys", str(private)]) == 0
    assert main(["token", "issue", "--keys", str(private), "--name", "li", "--role", "agent"]) == 0
    token = capsys.readouterr().out.splitlines()[-1]
    for argv in (["token", "show", token, "--lang", "zh"], ["token", "--lang", "zh", "show", token]):
        assert main(argv) == 0
        assert "未校验" in capsys.readouterr().out
