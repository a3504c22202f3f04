"""TLS and mTLS: certificates that can be renewed while the server runs, and addresses that need them."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from cordboard.errors import InputError, Where
from cordboard.live.certificates import read_pair
from cordboard.live.keyfiles import read_file


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a server's TLS. ``clients``: certificates of the authorities whose clients are let in; then every
    client must have a certificate (mTLS)."""

    certificate: Path
    key: Path
    clients: Path | None = None


def is_local(address: str) -> bool:
    """Whether an address that gRPC listens on can be reached from this machine alone."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]") if ":" in address else address
    if host == "localhost":
        return True
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def check_address(address: str, tls: Tls | None, *, knows_callers: bool) -> None:
    """Refuse, with InputError, to be reached from other machines in the clear or by callers that nobody knows.

    ``knows_callers``: whether there are keys for tokens, or certificates for clients.
    """
    if is_local(address):
        return
    if tls is None:
        hint = (
            "Make them: cordboard certs init certs && cordboard certs server certs --host NAME, then give --tls-cert"
            " certs/server.pem --tls-key certs/server.key; or listen on 127.0.0.1"
        )
        raise InputError(f"no listening on {address} without certificates", Where(key="listen"), hint)
    if not knows_callers:
        hint = "Give --token-keys (see cordboard token), or --tls-clients for clients with certificates"
        raise InputError(f"no listening on {address} where nobody could be known", Where(key="listen"), hint)


def https(tls: Tls) -> ssl.SSLContext:
    """The same files for a port that speaks HTTP."""
    read_pair(tls.certificate, tls.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.clients)
    context.load_cert_chain(tls.certificate, tls.key)
    if tls.clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def credentials(tls: Tls) -> grpc.ServerCredentials:
    """Credentials that read the files again when they have changed; what is damaged then is left unread.

    Raises InputError for files that can't be used at the start.
    """
    files = [file for file in (tls.certificate, tls.key, tls.clients) if file is not None]

    def stamp() -> list[tuple[int, int, int]]:
        found = [os.stat(file) for file in files]
        return [(one.st_ino, one.st_size, one.st_mtime_ns) for one in found]

    def configuration() -> grpc.ServerCertificateConfiguration:
        pair = read_pair(tls.certificate, tls.key)
        clients = read_file(tls.clients, secret=False) if tls.clients else None
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], root_certificates=clients)

    first = configuration()
    known = [stamp()]

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC before each handshake."""
        try:
            now = stamp()
            if now == known[0]:
                return None
            found = configuration()
        except (InputError, OSError):
            return None  # between the writing of one file and of the other, or damaged: the old ones hold
        known[0] = now
        return found

    # Its stub does not know that "no change" is None.
    made: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
        first,
        fetch,  # type: ignore[arg-type]
        require_client_authentication=tls.clients is not None,
    )
    return made
