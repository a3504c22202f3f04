"""Certificates for TLS and mTLS: an authority of one's own, servers, and clients whose certificate says who they are.

Keys are ECDSA on P-256, which every TLS library takes. A client's identity is a URI among its alternative names:
``cordboard://TENANT/ROLE/NAME?teams=A,B&queues=*`` (several roles: ``qa+trainer``; each part percent-encoded; a scope
that is not named is empty).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from cordboard.errors import InputError, MissingExtraError, UnauthenticatedError, Where
from cordboard.live.access import ALL, NAMES_MAX, Caller, checked_name, checked_roles
from cordboard.live.keyfiles import read_file, write_file

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise MissingExtraError("cryptography", "serve") from None

SCHEME = "cordboard://"
URI_CHARACTERS_MAX = 8192
DAYS_MAX = 3660
SKEW = dt.timedelta(minutes=5)  # a new certificate also holds where the clock is a little behind


class Pair(NamedTuple):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def identity(caller: Caller) -> str:
    """The URI that says who a client is."""

    def listed(names: frozenset[str]) -> str:
        return "*" if names == ALL else ",".join(quote(name, safe="") for name in sorted(names))

    roles = "+".join(sorted(caller.roles))
    path = "/".join((quote(caller.tenant, safe=""), roles, quote(caller.name, safe="")))
    return f"{SCHEME}{path}?teams={listed(caller.teams)}&queues={listed(caller.queues)}"


def caller_of_uri(uri: str, expires: float) -> Caller:
    """The client that a URI names. Raises InputError if it is not such a URI."""
    match = re.fullmatch(r"cordboard://([^/?#]+)/([a-z+-]+)/([^/?#]+)(?:\?([^#]*))?", uri)
    if match is None or len(uri) > URI_CHARACTERS_MAX:
        raise InputError("not a cordboard identity", hint="cordboard://TENANT/ROLE/NAME?teams=*&queues=*")
    scopes = {"teams": frozenset[str](), "queues": frozenset[str]()}
    for part in filter(None, (match.group(4) or "").split("&")):
        key, _, value = part.partition("=")
        names = value.split(",") if value else []
        if key not in scopes or scopes[key] or len(names) > NAMES_MAX:
            raise InputError("an identity with a scope that can't be read", Where(key=key[:40]), "teams, queues")
        scopes[key] = ALL if names == ["*"] else frozenset(checked_name(unquote(n), key) for n in names) - ALL
    tenant, name = (checked_name(unquote(match.group(i)), key) for i, key in ((1, "tenant"), (3, "name")))
    roles = checked_roles(match.group(2).split("+"))
    return Caller(tenant, name, roles, scopes["teams"], scopes["queues"], expires, "certificate")


def caller_of_certificate(pem: bytes) -> Caller:
    """Who a client's certificate, whose chain TLS has checked, says it is. Raises UnauthenticatedError."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [u for u in names.get_values_for_type(x509.UniformResourceIdentifier) if u.startswith(SCHEME)]
        if len(found) != 1:
            raise InputError(f"{len(found)} identities in one certificate")
        return caller_of_uri(found[0], certificate.not_valid_after_utc.timestamp())
    except (ValueError, x509.ExtensionNotFound) as why:
        what = "the certificate does not say who this is"
        raise UnauthenticatedError("CERTIFICATE_WITHOUT_IDENTITY", what) from why


def make_authority(name: str, *, days: int = 3650, now: dt.datetime | None = None) -> Pair:
    """A self-signed authority that may sign end certificates and nothing below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, _common_name(name), key.public_key(), days, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _signed(builder, key, key)


def make_server(authority: Pair, hosts: Sequence[str], *, days: int = 397, now: dt.datetime | None = None) -> Pair:
    """A certificate for a server that is reached by these names and addresses."""
    if not hosts:
        raise InputError("no name of the server", Where(key="host"), "Name every one that clients use")
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            if not re.fullmatch(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,252})", host):
                what = f"{host[:60]!r} is no host name or address"
                raise InputError(what, Where(key="host"), "Write it without a port") from None
            names.append(x509.DNSName(host))
    return _issue(authority, hosts[0], names, ExtendedKeyUsageOID.SERVER_AUTH, days, now)


def make_client(authority: Pair, caller: Caller, *, days: int = 90, now: dt.datetime | None = None) -> Pair:
    """A certificate for a client."""
    for value, key in ((caller.tenant, "tenant"), (caller.name, "name")):
        checked_name(value, key)
    if not caller.roles:
        raise InputError("no role", Where(key="role"), "Name one at least")
    uri = identity(caller)
    if len(uri) > URI_CHARACTERS_MAX:
        raise InputError("a scope of too many names", Where(key="queue"), "Name fewer, or * for all")
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    return _issue(authority, caller.name, names, ExtendedKeyUsageOID.CLIENT_AUTH, days, now)


def write_pair(folder: Path, stem: str, pair: Pair) -> tuple[Path, Path]:
    """Write ``stem.pem`` and ``stem.key`` (mode 0600); returns both paths."""
    paths = folder / f"{stem}.pem", folder / f"{stem}.key"
    write_file(paths[1], pair.key, secret=True)
    write_file(paths[0], pair.certificate, secret=False)
    return paths


def read_pair(certificate: Path, key: Path) -> Pair:
    """A certificate and its key from files. Raises InputError if they are none, or don't belong together."""
    pair = Pair(read_file(certificate, secret=False), read_file(key, secret=True))
    hint = "Make both with: cordboard certs"
    try:
        public = x509.load_pem_x509_certificate(pair.certificate).public_key()
    except ValueError as error:
        raise InputError(f"not a PEM certificate: {error}", Where(str(certificate)), hint) from None
    try:
        private = serialization.load_pem_private_key(pair.key, None)
    except (ValueError, TypeError) as error:
        raise InputError(f"not a PEM key without a password: {error}", Where(str(key)), hint) from None
    if private.public_key() != public:
        raise InputError(f"this is not the key of {certificate}", Where(str(key)), hint)
    return pair


def described(pem: bytes, file: str) -> dict[str, object]:
    """What a certificate says, for people."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise InputError(f"not a PEM certificate: {error}", Where(file), "Give a file that ends in .pem") from None
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        values = [str(name.value) for name in names]
    except x509.ExtensionNotFound:
        values = []
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "names": values,
        "from": certificate.not_valid_before_utc.isoformat(),
        "until": certificate.not_valid_after_utc.isoformat(),
        "serial": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
    }


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name.encode()[:64].decode(errors="ignore") or "-")])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: str, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int, now: dt.datetime | None
) -> x509.CertificateBuilder:
    if not 0 < days <= DAYS_MAX:
        raise InputError(f"{days} days", Where(key="days"), f"Give 1 to {DAYS_MAX}")
    start = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(subject))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - SKEW)
        .not_valid_after(start + dt.timedelta(days=days))
    )


def _issue(
    authority: Pair,
    subject: str,
    names: list[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    days: int,
    now: dt.datetime | None,
) -> Pair:
    parent = x509.load_pem_x509_certificate(authority.certificate)
    signer = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise InputError("the authority's key is not ECDSA", hint="Use one that cordboard certs has made")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(subject, parent.subject, key.public_key(), days, now)
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs=False), True),
        (x509.ExtendedKeyUsage([purpose]), False),
        (x509.SubjectAlternativeName(names), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    return _signed(builder, key, signer)


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> Pair:
    certificate = builder.sign(signer, hashes.SHA256())
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), encoded)
