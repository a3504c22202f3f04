"""What a server is told about its safety, by its arguments and its settings file, made into what enforces it."""

from __future__ import annotations

import argparse
import os
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from cordboard import words
from cordboard.errors import InputError, Where
from cordboard.live.access import local_administrator
from cordboard.live.privacy import ENVIRONMENT, read_master
from cordboard.live.server_file import ServerFile
from cordboard.live.tokens import AUDIENCE, Verifier, read_keys
from cordboard.services.security.guard import Audit, Guard
from cordboard.services.security.identity import Identity
from cordboard.services.security.limits import Limits
from cordboard.services.security.rules import rules
from cordboard.services.security.tls import Tls, check_address, credentials, https, is_local


def add_arguments(parser: argparse.ArgumentParser, lang: words.Lang) -> None:
    """The arguments of security; each overrides what the settings file says."""
    for flag, metavar, en, zh in (
        ("--tls-cert", "FILE.pem", "its certificate (see cordboard certs)", "服务器证书（见 cordboard certs）"),
        ("--tls-key", "FILE.key", "its key", "证书私钥"),
        ("--tls-clients", "CA.pem", "clients need a certificate of this authority", "客户端须持此机构签发的证书"),
        ("--token-keys", "KEYS.jwks", "tokens' keys (see cordboard token)", "令牌公钥集（见 cordboard token）"),
        ("--audit-keys", "KEYS.jwks", "signs the audit log (made in the data folder)", "审计日志签名密钥"),
        ("--master-key", "FILE", "keeps personal data apart (see cordboard privacy)", "个人资料主密钥"),
    ):
        parser.add_argument(flag, metavar=metavar, type=Path, help=words.pick(lang, en, zh))
    audience = words.pick(lang, f"the deployment that tokens must be for ({AUDIENCE})", f"部署名称（{AUDIENCE}）")
    parser.add_argument("--audience", metavar="NAME", help=audience)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a server is kept safe. ``teams``: of each tenant, with their agents."""

    tls: Tls | None = None
    token_keys: Path | None = None
    audience: str = AUDIENCE
    audit_keys: Path | None = None
    master: Path | None = None
    limits: Limits = field(default_factory=Limits)
    teams: Mapping[str, Mapping[str, Collection[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, options: argparse.Namespace, file: ServerFile) -> Plan:
        """From arguments and a settings file. Raises InputError for halves of a pair."""
        certificate, key = options.tls_cert or file.certificate, options.tls_key or file.key
        clients = options.tls_clients or file.clients
        if (certificate is None) != (key is None) or (clients is not None and certificate is None):
            hint = "Give --tls-cert and --tls-key; see cordboard certs"
            raise InputError("TLS needs a certificate and its key", Where(key="tls"), hint)
        return cls(
            tls=Tls(certificate, key, clients) if certificate is not None and key is not None else None,
            token_keys=options.token_keys or file.token_keys,
            audience=options.audience or file.audience or AUDIENCE,
            audit_keys=options.audit_keys or file.audit_keys,
            master=options.master_key or file.master,
            limits=Limits(**{name: type(getattr(Limits(), name))(value) for name, value in file.limits.items()}),
            teams={name: tenant.teams for name, tenant in file.tenants.items()},
        )

    @property
    def knows_callers(self) -> bool:
        """Whether callers show who they are; otherwise whoever reaches the server is an administrator."""
        return self.token_keys is not None or (self.tls is not None and self.tls.clients is not None)

    @property
    def keeps_apart(self) -> bool:
        """Whether personal data is kept apart: where there is a master key, and wherever callers are known."""
        return self.knows_callers or self.master is not None or bool(os.environ.get(ENVIRONMENT))

    def check(self, address: str, tenants: Collection[str]) -> None:
        """Read all files, and refuse addresses that need more than there is. Raises InputError."""
        check_address(address, self.tls, knows_callers=self.knows_callers)
        if len(tenants) > 1 and not self.knows_callers:
            hint = "Give --token-keys or --tls-clients"
            raise InputError("several tenants need callers that are known", Where(key="tenants"), hint)
        self.credentials()
        self.identity(tenants)
        if self.master is not None or os.environ.get(ENVIRONMENT):
            read_master(self.master)
        if self.audit_keys is not None:
            read_keys(self.audit_keys, private=True)

    def metrics(self, address: str | None) -> ssl.SSLContext | None:
        """What the port of metrics is to speak TLS with: nothing on loopback. Raises InputError without
        certificates."""
        if address is None or address == "off" or is_local(address):
            return None
        check_address(address, self.tls, knows_callers=True)
        return https(self.tls) if self.tls is not None else None

    def credentials(self) -> grpc.ServerCredentials | None:
        """What to listen with."""
        return credentials(self.tls) if self.tls is not None else None

    def identity(self, tenants: Collection[str]) -> Identity:
        """Who says who calls."""
        verifier = None
        if self.token_keys is not None:
            verifier = Verifier(self.token_keys, audience=self.audience, tenants=tenants)
        certificates = self.tls is not None and self.tls.clients is not None
        local = None if self.knows_callers else local_administrator(next(iter(tenants)))
        return Identity(verifier=verifier, certificates=certificates, local=local, tenants=tenants, teams=self.teams)

    def guard(self, tenants: Collection[str], audit: Audit) -> Guard:
        """The interceptor."""
        return Guard(rules(), self.identity(tenants), limits=self.limits, audit=audit)
