"""Who calls: the interceptor says it, the servicers ask."""

from __future__ import annotations

from contextvars import ContextVar

from cordboard.errors import DeniedError, UnauthenticatedError
from cordboard.live.access import Caller

# Set once an rpc, before its method runs: by the interceptor of the security part, or by the server itself where
# callers on loopback are let in without one.
CALLER: ContextVar[Caller] = ContextVar("cordboard_caller")


# What an rpc says about itself for its record in the audit log, beside what its request names.
NOTES: ContextVar[dict[str, str]] = ContextVar("cordboard_notes")


def caller() -> Caller:
    """Who calls the rpc that runs now. UnauthenticatedError if nobody has said."""
    found = CALLER.get(None)
    if found is None:
        raise UnauthenticatedError("CALLER_UNKNOWN", "nobody has said who calls")
    return found


def caller_of(tenant: str) -> Caller:
    """Who calls, if they belong to this tenant; DeniedError otherwise, whether there is such a tenant or not."""
    found = caller()
    if found.tenant != tenant:
        raise DeniedError("TENANT_OUT_OF_SCOPE", "that tenant is not this caller's")
    return found
