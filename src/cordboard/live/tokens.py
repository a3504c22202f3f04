"""Tokens: JSON Web Tokens signed with Ed25519 (RFC 7519, 8037), keys that are rotated, and who a token says calls.

A key set is a JWK set (RFC 7517). The private one (mode 0600) signs with its first key; a server needs the public one
alone. To rotate: add a key in front, give the servers the new public set, and drop the old key when its last token has
expired. A server reads its key file again when it has changed, within a second.

A peer learns a reason code and nothing else: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_NOT_YET_VALID. Why a
token is invalid (its form, algorithm, key, signature, audience, tenant) is the ``__cause__`` of the error, for the log.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cordboard.errors import InputError, MissingExtraError, UnauthenticatedError, Where
from cordboard.live.access import ALL, NAMES_MAX, Caller, checked_name, checked_roles
from cordboard.live.keyfiles import read_file, write_file

try:
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from jwt.algorithms import OKPAlgorithm
except ImportError:
    raise MissingExtraError("pyjwt or cryptography", "serve") from None

ISSUER = "cordboard"
AUDIENCE = "cordboard"
TOKEN_CHARACTERS_MAX = 8192
LEEWAY_S = 30.0  # how far the clocks of two machines may differ
LIFETIME_MAX_S = 366 * 86400.0
KEYS_MAX = 100
CACHED_MAX = 10_000
REREAD_S = 1.0


@dataclass(frozen=True, slots=True)
class Key:
    """A key by its id; ``private`` is None in a public set."""

    kid: str
    public: Ed25519PublicKey
    private: Ed25519PrivateKey | None = None


def new_key() -> Key:
    """A fresh key; its id is the start of its thumbprint (RFC 7638)."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    jwk = OKPAlgorithm.to_jwk(public, as_dict=True)
    canonical = json.dumps({name: jwk[name] for name in ("crv", "kty", "x")}, separators=(",", ":"), sort_keys=True)
    return Key(hashlib.sha256(canonical.encode()).hexdigest()[:16], public, private)


def keys_text(keys: Collection[Key], *, private: bool) -> bytes:
    """A key set as a JWK set; without the private parts unless asked for."""
    listed = []
    for key in keys:
        source = key.private if private and key.private is not None else key.public
        listed.append({"kid": key.kid, "use": "sig", "alg": "EdDSA", **OKPAlgorithm.to_jwk(source, as_dict=True)})
    return json.dumps({"keys": listed}, indent=2).encode() + b"\n"


def write_keys(path: Path, keys: Collection[Key], *, private: bool) -> None:
    """Write a key set; a private one with mode 0600."""
    write_file(path, keys_text(keys, private=private), secret=private)


def read_keys(path: Path, *, private: bool = False) -> tuple[Key, ...]:
    """The keys of a JWK set, in its order. With ``private`` all must be, and the file closed to others."""
    text = read_file(path, secret=private)
    try:
        listed = json.loads(text)["keys"]
        if not isinstance(listed, list) or not 0 < len(listed) <= KEYS_MAX:
            raise ValueError(f"1 to {KEYS_MAX} keys are needed")
        keys = tuple(_key(item, private) for item in listed)
    except (ValueError, TypeError, KeyError, RecursionError, jwt.InvalidKeyError) as error:
        raise InputError(
            f"not a set of {'private ' if private else ''}Ed25519 keys: {error}",
            Where(str(path)),
            "Make one with: cordboard token keys FILE",
        ) from None
    if len({key.kid for key in keys}) < len(keys):
        raise InputError("two keys of one id", Where(str(path)), "Keep one of them")
    return keys


def _key(item: Any, private: bool) -> Key:
    kid = checked_name(item["kid"], "kid")
    loaded = OKPAlgorithm.from_jwk(item)
    if isinstance(loaded, Ed25519PrivateKey):
        return Key(kid, loaded.public_key(), loaded)
    if private or not isinstance(loaded, Ed25519PublicKey):
        raise ValueError(f"key {kid} is no {'private ' if private else ''}Ed25519 key")
    return Key(kid, loaded)


def issue(key: Key, caller: Caller, *, now: float, audience: str = AUDIENCE) -> str:
    """A token for this caller until its ``expires``. Raises InputError if it says what no server would take."""
    if key.private is None:
        raise InputError("a public key can't sign", hint="Give the private key set")
    if not 0 < caller.expires - now <= LIFETIME_MAX_S:
        raise InputError("a token holds for 0 to 366 days", Where(key="hours"), "Give fewer hours")
    claims = {
        "iss": ISSUER,
        "aud": checked_name(audience, "audience"),
        "sub": checked_name(caller.name, "name"),
        "jti": secrets.token_hex(8),
        "iat": int(now),
        "nbf": int(now),
        "exp": int(caller.expires),
        "tenant": checked_name(caller.tenant, "tenant"),
        "roles": sorted(caller.roles),
        "teams": sorted(caller.teams),
        "queues": sorted(caller.queues),
    }
    token: str = jwt.encode(claims, key.private, algorithm="EdDSA", headers={"kid": key.kid})
    if len(token) > TOKEN_CHARACTERS_MAX:
        what = f"a token of {len(token)} characters; servers take {TOKEN_CHARACTERS_MAX}"
        raise InputError(what, hint="Name fewer teams and queues, or * for all")
    return token


def shown(token: str) -> dict[str, Any]:
    """What a token says, unverified: for people. Raises InputError if it is none."""
    try:
        header = jwt.get_unverified_header(token)
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise InputError(f"not a token: {error}", hint="Give the whole of it") from None
    return {"header": header, "claims": claims}


class _Invalid(Exception):
    """Why a token does not hold: for our log, never for the peer."""


class Verifier:
    """Says who a token's bearer is. Thread-safe; remembers the tokens that it has verified until they expire.

    ``keys``: the file of the public (or private) key set. ``tenants``: those that this server has, or None for any.
    """

    def __init__(
        self,
        keys: Path,
        *,
        audience: str = AUDIENCE,
        tenants: Collection[str] | None = None,
        clock: Callable[[], float] = time.time,
        leeway: float = LEEWAY_S,
    ) -> None:
        self._path, self._audience, self._tenants = keys, audience, tenants
        self._clock, self._leeway = clock, leeway
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Caller] = OrderedDict()
        self._stamp = self._stamp_now()
        self._keys = {key.kid: key for key in read_keys(keys)}
        self._looked = clock()

    def _stamp_now(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self._path)
        except OSError as error:
            raise InputError(f"can't be read: {error.strerror}", Where(str(self._path)), "Give a key set") from None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _reread(self, now: float) -> None:
        """Take new keys and forget what old ones vouched for. A file that is gone or damaged changes nothing."""
        if abs(now - self._looked) < REREAD_S:
            return
        self._looked = now
        try:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._keys = {key.kid: key for key in read_keys(self._path)}
                self._stamp = stamp
                self._known.clear()
        except InputError:
            return

    def verify(self, token: str) -> Caller:
        """The caller. Raises UnauthenticatedError with a reason code."""
        if not token:
            raise UnauthenticatedError("TOKEN_MISSING", "a token is needed")
        now = self._clock()
        caller = self._known.get(token)
        if caller is not None and caller.expires > now and abs(now - self._looked) < REREAD_S:
            return caller
        with self._lock:
            self._reread(now)
            caller, keys = self._known.get(token), self._keys
        if caller is None:
            try:
                caller, starts = self._decoded(token, keys)
            except (_Invalid, jwt.InvalidTokenError, InputError, ValueError, RecursionError) as why:
                raise UnauthenticatedError("TOKEN_INVALID", "the token does not hold") from why
            if starts > now + self._leeway:
                raise UnauthenticatedError("TOKEN_NOT_YET_VALID", "the token does not hold yet")
            with self._lock:
                if keys is self._keys:  # otherwise the key may have been dropped meanwhile, and nobody would look again
                    self._known[token] = caller
                if len(self._known) > CACHED_MAX:
                    self._known.popitem(last=False)
        if caller.expires <= now:  # the leeway is in it
            with self._lock:
                self._known.pop(token, None)
            raise UnauthenticatedError("TOKEN_EXPIRED", "the token has expired")
        return caller

    def _decoded(self, token: str, keys: Mapping[str, Key]) -> tuple[Caller, float]:
        """Who it is and from when it holds, its signature checked. The algorithm is ours to say, not the token's."""
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise _Invalid(f"longer than {TOKEN_CHARACTERS_MAX} characters")
        kid = jwt.get_unverified_header(token).get("kid")
        key = keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise _Invalid("signed by an unknown key")
        claims = jwt.decode(
            token,
            key.public,
            algorithms=["EdDSA"],
            audience=self._audience,
            issuer=ISSUER,
            options={
                "require": ["exp", "iat", "nbf", "aud", "iss", "sub", "jti"],
                "verify_exp": False,  # checked here, by our clock
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        starts, ends = (_moment(claims[name]) for name in ("nbf", "exp"))
        if not 0 < ends - starts <= LIFETIME_MAX_S:
            raise _Invalid("holds for longer than any token may")
        caller = caller_of(claims)
        if self._tenants is not None and caller.tenant not in self._tenants:
            raise _Invalid("of a tenant that is not here")
        return replace(caller, expires=ends + self._leeway), starts


def _moment(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 9e9:
        raise _Invalid("a time that is none")
    return float(value)


def _names(claims: dict[str, Any], key: str) -> frozenset[str]:
    value = claims.get(key, [])
    if not isinstance(value, list) or len(value) > NAMES_MAX:
        raise _Invalid(f"{key} is no list of at most {NAMES_MAX} names")
    return frozenset(checked_name(item, key) for item in value)


def caller_of(claims: dict[str, Any]) -> Caller:
    """The caller that verified claims name. Raises InputError or a private error if they don't."""
    tenant, name = checked_name(claims.get("tenant", ""), "tenant"), checked_name(claims.get("sub", ""), "sub")
    roles = checked_roles(_names(claims, "roles"), "roles")
    scopes = []
    for key in ("teams", "queues"):
        found = _names(claims, key)
        scopes.append(ALL if found == ALL else found - ALL)
    return Caller(tenant, name, roles, scopes[0], scopes[1], by="token")
