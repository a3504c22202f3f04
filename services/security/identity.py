"""Who calls: from a token, a client's certificate, or, on loopback without either, an administrator."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from cordboard.errors import UnauthenticatedError
from cordboard.live.access import Caller
from cordboard.live.certificates import caller_of_certificate
from cordboard.live.tokens import Verifier

Teams = Mapping[str, Mapping[str, Collection[str]]]  # tenant -> team -> agents
CACHED_MAX = 10_000


class Identity:
    """Says who calls. ``local``: who does where there are neither tokens nor certificates; None: nobody then.

    A token says who it is even if there is a certificate too, which then must be of the same tenant.
    """

    def __init__(
        self,
        *,
        verifier: Verifier | None = None,
        certificates: bool = False,
        local: Caller | None = None,
        tenants: Collection[str] | None = None,
        teams: Teams | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._verifier, self._certificates, self._local = verifier, certificates, local
        self._tenants, self._teams, self._clock = tenants, teams or {}, clock
        self._known: OrderedDict[bytes, Caller] = OrderedDict()
        self._teamed: dict[Caller, Caller] = {}

    @property
    def knows_callers(self) -> bool:
        """Whether anybody has to show who they are."""
        return self._verifier is not None or self._certificates

    @property
    def by_token_alone(self) -> bool:
        """Whether what an rpc comes with is all that says who calls."""
        return self._verifier is not None and not self._certificates

    def caller(self, metadata: Iterable[tuple[str, Any]], pem: Callable[[], bytes | None]) -> Caller:
        """The caller of an rpc with this metadata; ``pem`` gives the connection's certificate, if there is one.

        Raises UnauthenticatedError with a reason code.
        """
        if not self.knows_callers:
            return self.local()
        token = bearer(metadata) if self._verifier is not None else ""
        certificate = pem() if self._certificates else None
        by_certificate = self._by_certificate(certificate) if certificate is not None else None
        if token or by_certificate is None:
            if self._verifier is None:
                raise UnauthenticatedError("CERTIFICATE_MISSING", "a client's certificate is needed")
            found = self._verifier.verify(token)
            if by_certificate is not None and by_certificate.tenant != found.tenant:
                raise UnauthenticatedError("TOKEN_INVALID", "the token does not hold")
            return self._with_teams(found)
        return self._with_teams(by_certificate)

    def local(self) -> Caller:
        """Who calls where nobody has to show who they are. UnauthenticatedError if nobody may."""
        if self._local is None:
            raise UnauthenticatedError("CALLER_UNKNOWN", "nobody can be known here")
        return self._local

    def _with_teams(self, caller: Caller) -> Caller:
        teams = self._teams.get(caller.tenant)
        if not teams or not caller.teams:
            return caller
        found = self._teamed.get(caller)
        if found is None:
            if len(self._teamed) >= CACHED_MAX:
                self._teamed.clear()
            found = self._teamed[caller] = caller.knowing(teams)
        return found

    def _by_certificate(self, pem: bytes) -> Caller:
        digest = hashlib.sha256(pem).digest()
        found = self._known.get(digest)
        if found is None:
            found = self._known[digest] = caller_of_certificate(pem)
            if len(self._known) > CACHED_MAX:
                self._known.popitem(last=False)
        if self._tenants is not None and found.tenant not in self._tenants:
            raise UnauthenticatedError("CERTIFICATE_WITHOUT_IDENTITY", "the certificate does not say who this is")
        if found.expires <= self._clock():  # a connection may outlive the certificate that opened it
            raise UnauthenticatedError("CERTIFICATE_EXPIRED", "the certificate has expired")
        return found


def bearer(metadata: Iterable[tuple[str, Any]]) -> str:
    """The token in ``authorization: Bearer TOKEN``; empty if there is none. Two of them are none that holds."""
    found = [value for key, value in metadata if key == "authorization"]
    if not found:
        return ""
    scheme, _, token = str(found[0]).partition(" ")
    if len(found) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("TOKEN_INVALID", "the token does not hold")
    return token.strip()
