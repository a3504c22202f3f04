"""The registrar of agents' phones: who may register, and where a phone is. Pure logic, without clock and SIP.

A user has one phone: the one that registered last. Passwords are never here, only HA1 (RFC 2617 section 3.2.2.2; with
SHA-256 RFC 8760). A nonce carries its time and is signed, for one source alone: what somebody else overheard does not
help them, and there is no table of nonces that could fill up. All tables are bounded: by the users, or by SOURCES_MAX.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict, deque
from dataclasses import dataclass

from cordboard.bindings.addresses import networks, sip_uri, user_of
from cordboard.bindings.settings import Phones

SOURCES_MAX = 4096  # that have failed lately
CONTACTS_MAX = 4  # in one request
CONNECTION_S = 300  # a connection that carries nothing for 600 s is closed by PJSIP
_PARAMETER = re.compile(r'(\w+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_CONTACT = re.compile(r"[^<]*<([^<>\s]{1,512})>(.*)|([^<>\s;]{1,512})(.*)")
_EXPIRES = re.compile(r";\s*expires\s*=\s*(\d{1,9})", re.I)


@dataclass(frozen=True, slots=True)
class Request:
    """A REGISTER. ``source``: address, port and transport that it came from. ``proxied``: by way of somebody else."""

    to: str
    source: str
    proxied: bool
    expires: str = ""
    authorization: str = ""
    contacts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Request:
        """Of the lines of registrar.c."""
        to, source, proxies, *lines = text.rstrip("\n").split("\n")
        fields: dict[str, list[str]] = {"expires": [], "authorization": [], "contact": []}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.lower()].append(value.strip())
        first = {name: found[0] if found else "" for name, found in fields.items()}
        return cls(to, source, proxies != "0", first["expires"], first["authorization"], tuple(fields["contact"]))


@dataclass(frozen=True, slots=True)
class Reply:
    """A code of SIP, and headers."""

    code: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Phone:
    contact: str  # as it registered it
    source: str
    proxied: bool
    until: float


class Registrar:
    """See above. ``secret`` signs nonces. Times are seconds of a clock that only goes forward."""

    def __init__(self, phones: Phones, secret: bytes) -> None:
        self._settings, self._secret, self._issued = phones, secret, 0
        self._users = dict(phones.users)
        self._networks = networks(phones.networks)
        self._phones: dict[str, _Phone] = {}
        self._by_source: dict[str, str] = {}
        self._counts: dict[str, tuple[str, int]] = {}  # of a user: the nonce that was used last, and how often
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def register(self, request: Request, now: float) -> Reply:
        """What a phone is told."""
        host = request.source.partition(" ")[0]
        source = networks((host,))[0]
        if not any(source.version == one.version and source.subnet_of(one) for one in self._networks):  # type: ignore[arg-type]
            return Reply(403)
        if self._too_many_failures(host, now):
            return Reply(403)
        user = user_of(request.to)
        if not request.authorization:
            return self._challenge(user, request.source, now)
        given = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(request.authorization)}
        if not self._is_right(user, given):
            self._failures.setdefault(host, deque(maxlen=self._settings.failures)).append(now)
            self._failures.move_to_end(host)
            if len(self._failures) > SOURCES_MAX:
                self._failures.popitem(last=False)
            return Reply(403)
        if not self._is_fresh(user, request.source, given, now):
            return self._challenge(user, request.source, now, stale=True)
        return self._bind(user, request, now)

    def contact(self, user: str, now: float) -> str:
        """The SIP URI to dial for a user; empty if the phone is not registered. Where it registered from counts, not
        where it says that it is: that may be behind a router, or somebody else's."""
        phone = self._phones.get(user)
        if phone is None or phone.until <= now:
            return ""
        if phone.proxied:
            return phone.contact
        host, port, transport = phone.source.split(" ")
        suffix = "" if transport.lower() == "udp" else f";transport={transport.lower()}"
        return sip_uri(user_of(phone.contact) or user, f"{f'[{host}]' if ':' in host else host}:{port}") + suffix

    def owner(self, source: str, now: float) -> str:
        """The user whose phone registered from this very address, port and transport; empty if there is none."""
        user = self._by_source.get(source, "")
        return user if user and self._phones[user].until > now else ""

    def registered(self, now: float) -> int:
        """How many phones are registered."""
        return sum(phone.until > now for phone in self._phones.values())

    # ---- passwords

    def _too_many_failures(self, host: str, now: float) -> bool:
        times = self._failures.get(host)
        return times is not None and len(times) == times.maxlen and now - times[0] < self._settings.failures_s

    def _hash(self, user: str) -> tuple[str, str]:
        """HA1, and the name of its algorithm; for somebody unknown, one that no password has."""
        known = self._users.get(user) or self._sign(user)[: len(next(iter(self._users.values()), "0" * 32))]
        return known, "MD5" if len(known) == 32 else "SHA-256"

    def _challenge(self, user: str, source: str, now: float, stale: bool = False) -> Reply:
        algorithm = self._hash(user)[1]
        text = f'Digest realm="{self._settings.realm}", nonce="{self._nonce(source, now)}", algorithm={algorithm}'
        return Reply(401, (("WWW-Authenticate", text + ', qop="auth"' + (", stale=true" if stale else "")),))

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def _nonce(self, source: str, now: float) -> str:
        self._issued += 1  # so that no two are the same
        stamp = f"{int(now * 1000):x}-{self._issued:x}"
        return f"{stamp}.{self._sign(f'{stamp} {source}')[:32]}"

    def _is_right(self, user: str, given: dict[str, str]) -> bool:
        """Whether the answer proves the password, for the nonce that it names."""
        known, algorithm = self._hash(user)
        new = hashlib.md5 if algorithm == "MD5" else hashlib.sha256
        asked = new(f"REGISTER:{given.get('uri', '')}".encode()).hexdigest()
        parts = (known, *(given.get(name, "") for name in ("nonce", "nc", "cnonce", "qop")), asked)
        expected = new(":".join(parts).encode()).hexdigest()
        named = (given.get("username"), given.get("realm"), given.get("qop"), given.get("algorithm", "MD5").upper())
        same = hmac.compare_digest(expected.encode(), given.get("response", "").lower().encode())
        return same and user in self._users and named == (user, self._settings.realm, "auth", algorithm)

    def _is_fresh(self, user: str, source: str, given: dict[str, str], now: float) -> bool:
        """Whether the nonce is ours, for this source, young, and used for the first time with this count."""
        nonce, count = given.get("nonce", ""), given.get("nc", "")
        stamp, _, signed = nonce.partition(".")
        if not hmac.compare_digest(signed.encode(), self._sign(f"{stamp} {source}")[:32].encode()):
            return False
        age = now - int(stamp.partition("-")[0], 16) / 1000
        if age > self._settings.nonce_s or not re.fullmatch(r"[0-9a-fA-F]{8}", count):
            return False
        last, used = self._counts.get(user, ("", 0))
        if nonce == last and int(count, 16) <= used:
            return False
        self._counts[user] = (nonce, int(count, 16))
        return True

    # ---- where the phones are

    def _bind(self, user: str, request: Request, now: float) -> Reply:
        if len(request.contacts) > CONTACTS_MAX:
            return Reply(400)
        wanted: list[tuple[str, int]] = []
        for text in request.contacts:
            match = _CONTACT.fullmatch(text)
            uri, parameters = (
                (match.group(1) or match.group(3), match.group(2) or match.group(4)) if match else ("", "")
            )
            found = _EXPIRES.search(parameters or "")
            header = int(request.expires) if re.fullmatch(r"\d{1,9}", request.expires) else self._settings.expires_max
            seconds = int(found.group(1)) if found else header
            if uri == "*":
                if header or len(request.contacts) > 1:
                    return Reply(400)
                self._forget(user)
            elif not sip_uri(uri):
                return Reply(400)
            elif seconds:
                wanted.append((uri, seconds))
            elif user in self._phones and self._phones[user].contact == uri:
                self._forget(user)
        if wanted:
            uri, seconds = wanted[0]
            if seconds < self._settings.expires_min:
                return Reply(423, (("Min-Expires", str(self._settings.expires_min)),))
            most = self._settings.expires_max
            if not request.source.lower().endswith(" udp"):
                most = max(self._settings.expires_min, min(most, CONNECTION_S))
            self._forget(user)
            other = self._by_source.get(request.source)
            if other is not None and not request.proxied:
                self._forget(other)  # one phone, which has changed its user
            self._phones[user] = _Phone(uri, request.source, request.proxied, now + min(seconds, most))
            if not request.proxied:
                self._by_source[request.source] = user
        phone = self._phones.get(user)
        if phone is None or phone.until <= now:
            return Reply(200)
        return Reply(200, (("Contact", f"<{phone.contact}>;expires={round(phone.until - now)}"),))

    def _forget(self, user: str) -> None:
        phone = self._phones.pop(user, None)
        if phone is not None and self._by_source.get(phone.source) == user:
            del self._by_source[phone.source]
