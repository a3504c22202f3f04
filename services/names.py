"""Resource names: ``tenants/{tenant}/queues/{queue}`` and the like (AIP-122)."""

from __future__ import annotations

from urllib.parse import unquote

from cordboard.errors import InputError, Where

NAME_BYTES_MAX = 4096


def _quoted(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def resource(tenant: str, collection: str, name: str) -> str:
    """The resource name of one thing of a tenant."""
    if "%" in name or "/" in name:
        name = _quoted(name)
    return f"tenants/{tenant}/{collection}/{name}"


def split(name: str, collection: str, key: str) -> tuple[str, str]:
    """(tenant, short name) of a resource name. InputError, with the request's field ``key``, if it is not one."""
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != "tenants" or parts[2] != collection or not parts[1] or not parts[3]:
        raise _wrong(name, f"tenants/{{tenant}}/{collection}/{{name}}", key)
    short = parts[3]
    if "%" in short:
        try:
            short = unquote(short, errors="strict")
        except UnicodeDecodeError:
            raise _wrong(name, "UTF-8 behind its per cent signs", key) from None
    return parts[1], short


def tenant_of(parent: str, key: str = "parent") -> str:
    """The tenant of ``tenants/{tenant}``. InputError, with the request's field ``key``, if it is not one."""
    head, _, tenant = parent.partition("/")
    if head != "tenants" or not tenant or "/" in tenant:
        raise _wrong(parent, "tenants/{tenant}", key)
    return tenant


def _wrong(name: str, form: str, key: str) -> InputError:
    shown = name if len(name) <= 80 else name[:77] + "..."
    hint = f"Write {form}; a slash within a name is %2F"
    return InputError(f"{shown!r} is not a name here" if name else "a name is missing", Where(key=key), hint)
