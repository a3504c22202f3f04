"""Several tenants in one server: for each a center, an engine, a journal and an audit log of its own.

What belongs to one tenant lies in one folder (or schema) that bears its name; nothing of another is read or written
there. A caller reaches the engine of its own tenant only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from cordboard.center import Center
from cordboard.errors import CordboardError, UnavailableError
from cordboard.live.audit import AuditLog
from cordboard.live.engine import Engine
from cordboard.live.privacy import ENVIRONMENT, KeyStore, new_master, read_master
from cordboard.live.settings import Settings, checked_tenant
from cordboard.live.store import Store, make_store
from cordboard.live.tokens import Key, new_key, read_keys, write_keys

SERVER = "_server"  # where what belongs to no tenant is written: no tenant can be called so

_log = logging.getLogger("cordboard.live")


class TenantEngines(Mapping[str, Engine]):
    """The engines of a server's tenants, by name. Made by :meth:`open`, which opens all of them or none."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = dict(engines)

    @classmethod
    def open(
        cls,
        centers: Mapping[str, Center],
        settings: Settings,
        *,
        clock: Callable[[], float] | None = None,
        store: Callable[[Settings, str], Store] = make_store,
    ) -> TenantEngines:
        """Open or make the journal of every tenant. Raises what ``Engine.open`` raises, with none left open.

        ``store``: makes the store of a tenant's journal, not opened yet.
        """
        engines: dict[str, Engine] = {}
        try:
            for name, center in centers.items():
                engines[checked_tenant(name)] = Engine.open(
                    center, settings, tenant=name, clock=clock, store=store(settings, name)
                )
        except BaseException:
            for engine in engines.values():
                engine.close()
            raise
        return cls(engines)

    def __getitem__(self, name: str) -> Engine:
        return self._engines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._engines)

    def __len__(self) -> int:
        return len(self._engines)

    def close(self) -> None:
        """Close all, and raise what the first raised that could not be closed."""
        failed: CordboardError | None = None
        for engine in self._engines.values():
            try:
                engine.close()
            except CordboardError as error:
                failed = failed or error
        if failed is not None:
            raise failed


def audit_key(data: Path, named: Path | None = None) -> Key:
    """The key that signs the audit logs; made in the data folder, with its public part, if none is named."""
    path = named or data / "audit.jwks"
    if named is None and not path.exists():
        made = new_key()
        write_keys(path, [made], private=True)
        write_keys(data / "audit.public.jwks", [made], private=False)
    return read_keys(path, private=True)[0]


def keys_path(data: Path, tenant: str) -> Path:
    """Where a tenant's key store is: in a folder of its own, so that a backup can leave it out."""
    return data / checked_tenant(tenant) / "privacy" / "keys.db"


def master_path(data: Path, named: Path | None = None) -> Path | None:
    """The file of the master key: the one named, else that of the data folder, unless the environment has one."""
    return named or (None if os.environ.get(ENVIRONMENT) else data / "master.key")


def open_key_stores(data: Path, tenants: Iterable[str], named: Path | None) -> dict[str, KeyStore]:
    """The key stores of these tenants; the master key is made in the data folder if none is named or in the
    environment."""
    path = master_path(data, named)
    if path is not None and named is None and not path.exists():
        new_master(path)
    master = read_master(path)
    stores: dict[str, KeyStore] = {}
    try:
        for tenant in tenants:
            stores[tenant] = KeyStore(keys_path(data, tenant), master, tenant=tenant)
    except BaseException:
        for store in stores.values():
            store.close()
        raise
    return stores


class AuditLogs:
    """The audit logs of a server: one a tenant, and one for those whom nobody knows."""

    def __init__(self, data: Path, tenants: Mapping[str, Any], key: Key) -> None:
        self._logs: dict[str, AuditLog] = {}
        try:
            for name in (SERVER, *tenants):
                self._logs[name] = AuditLog(data / name / "audit", key, tenant=name)
        except BaseException:
            self.close()
            raise

    def of(self, tenant: str) -> AuditLog:
        """A tenant's log; the server's for a tenant that is not here."""
        return self._logs.get(tenant) or self._logs[SERVER]

    def __call__(self, tenant: str, action: str, **fields: Any) -> Future[int]:
        """Record what was done, at once; the Future comes when it is on disk."""
        try:
            return self.of(tenant).record(action[:255], wait=True, **fields)
        except CordboardError as error:
            _log.error("not audited: %s: %s", action[:255], error)
            failed: Future[int] = Future()
            failed.set_exception(error)
            return failed

    def note(self, tenant: str, action: str, **fields: Any) -> None:
        """Record what was done; nobody waits for the disk. What can't be recorded any more is logged, and ``check``
        then refuses what follows."""
        try:
            self.of(tenant).note(action[:255], **fields)
        except CordboardError as error:
            _log.error("not audited: %s: %s", action[:255], error)

    def check(self, tenant: str) -> None:
        """Raises UnavailableError while what must be audited can't be: its log's disk has failed for too long."""
        log = self.of(tenant)
        if log.crowded:
            raise UnavailableError("the audit log can't be written", log.failing or "too many records wait")

    def close(self) -> None:
        """Write what waits and sign it."""
        for log in self._logs.values():
            log.close()
