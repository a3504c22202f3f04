"""The settings file of a server: its tenants, and what keeps them safe. See docs/guides/security.md.

Paths in it are taken from the folder of the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cordboard.errors import InputError, Where
from cordboard.journal import nearest
from cordboard.live.access import NAMES_MAX, checked_name
from cordboard.live.settings import checked_tenant
from cordboard.toml_lines import key_lines, line_of

BYTES_MAX = 4 * 1024 * 1024
TENANTS_MAX = 1000
TEAM_AGENTS_MAX = 20_000

_TABLES: dict[str, tuple[str, ...]] = {
    "server": ("listen", "socket", "data"),
    "tls": ("certificate", "key", "clients"),
    "tokens": ("keys", "audience"),
    "audit": ("keys",),
    "privacy": ("master",),
    "limits": (
        *("requests_per_s", "burst", "streams", "refusals_per_s", "refusals_burst", "flood_per_s", "flood_burst"),
        *("connections", "peer_connections", "calls", "pending", "idle_s", "handshake_s", "write_s"),
    ),
    "tenants": (),
}


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """A tenant: its center file, its file of calls if it has one, and its teams, each with its agents."""

    name: str
    center: Path
    teams: Mapping[str, frozenset[str]] = field(default_factory=dict)
    calls: Path | None = None


@dataclass(frozen=True, slots=True)
class ServerFile:
    """What a settings file says; None and empty for what it leaves out."""

    listen: str | None = None
    socket: Path | None = None
    data: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    clients: Path | None = None
    token_keys: Path | None = None
    audience: str | None = None
    audit_keys: Path | None = None
    master: Path | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    tenants: Mapping[str, TenantPlan] = field(default_factory=dict)


def load_server_file(path: str | Path) -> ServerFile:
    """Read a settings file. Raises InputError with file, line and key."""
    path = Path(path)
    try:
        with open(path, "rb") as source:
            content = source.read(BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror}", Where(str(path)), "Check the path") from None
    if len(content) > BYTES_MAX:
        raise InputError(f"longer than {BYTES_MAX} bytes", Where(str(path)), "Is it a settings file?")
    try:
        text = content.decode("utf-8")
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 at byte {error.start}", Where(str(path)), "Save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        raise InputError(f"not TOML: {error}", Where(str(path), int(line[1]) if line else None), "Mend it") from None
    try:
        return _read(data, path.parent)
    except InputError as error:
        key = error.where.key or ""
        where = line_of(key_lines(text), tuple(key.split(".")))
        raise error.at(Where(str(path), where, key)) from None


def _read(data: dict[str, Any], folder: Path) -> ServerFile:
    for table, content in data.items():
        if table not in _TABLES:
            raise InputError("unknown table", Where(key=table), nearest(table, _TABLES))
        if not isinstance(content, dict):
            raise InputError("not a table", Where(key=table), f"Write [{table}]")
        for key in content if table != "tenants" else ():
            if key not in _TABLES[table]:
                raise InputError("unknown key", Where(key=f"{table}.{key}"), nearest(key, _TABLES[table]))

    def text(table: str, key: str) -> str | None:
        value = data.get(table, {}).get(key)
        return None if value is None else checked_name(value, f"{table}.{key}")

    def file(table: str, key: str) -> Path | None:
        value = text(table, key)
        return None if value is None else folder / value

    return ServerFile(
        listen=text("server", "listen"),
        socket=file("server", "socket"),
        data=file("server", "data"),
        certificate=file("tls", "certificate"),
        key=file("tls", "key"),
        clients=file("tls", "clients"),
        token_keys=file("tokens", "keys"),
        audience=text("tokens", "audience"),
        audit_keys=file("audit", "keys"),
        master=file("privacy", "master"),
        limits={key: _number(value, f"limits.{key}") for key, value in data.get("limits", {}).items()},
        tenants=_tenants(data.get("tenants", {}), folder),
    )


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e9:
        raise InputError(f"{str(value)[:40]} is not a number above 0", Where(key=key), "Leave it out for the default")
    return value


def _list(value: Any, key: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise InputError(f"not a list of at most {most}", Where(key=key), 'Write ["one", "two"]')
    return value


def _tenants(table: dict[str, Any], folder: Path) -> dict[str, TenantPlan]:
    if len(table) > TENANTS_MAX:
        raise InputError(f"{len(table)} tenants; the limit is {TENANTS_MAX}", Where(key="tenants"), "Use more servers")
    found = {}
    for name, content in table.items():
        here = f"tenants.{name}"
        try:
            checked_tenant(name)
        except InputError as error:
            raise InputError(error.what, Where(key=here), error.hint) from None
        if not isinstance(content, dict):
            raise InputError("not a table", Where(key=here), f"Write [{here}]")
        for key in content:
            if key not in ("center", "calls", "teams"):
                raise InputError("unknown key", Where(key=f"{here}.{key}"), nearest(key, ("center", "calls", "teams")))
        if "center" not in content:
            raise InputError("the tenant has no center", Where(key=here), 'Write center = "FILE.toml"')
        center = folder / checked_name(content["center"], f"{here}.center")
        calls = folder / checked_name(content["calls"], f"{here}.calls") if "calls" in content else None
        found[name] = TenantPlan(name, center, _teams(content.get("teams", {}), f"{here}.teams"), calls)
    return found


def _teams(table: Any, key: str) -> dict[str, frozenset[str]]:
    if not isinstance(table, dict) or len(table) > NAMES_MAX:
        raise InputError(f"not a table of at most {NAMES_MAX} teams", Where(key=key), 'Write north = ["li", "wang"]')
    return {
        checked_name(team, f"{key}.{team}"): frozenset(
            checked_name(agent, f"{key}.{team}") for agent in _list(agents, f"{key}.{team}", TEAM_AGENTS_MAX)
        )
        for team, agents in table.items()
    }
