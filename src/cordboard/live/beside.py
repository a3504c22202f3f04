"""What works beside the engines of a server: records, webhooks, and the port with metrics and health.

``cordboard serve`` makes one :class:`Beside` of its options, checks it before anything is opened, and closes it after
the engines, so that the last entries are booked too.
"""

from __future__ import annotations

import argparse
import logging
import ssl
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from cordboard import words
from cordboard.errors import InputError, StoreError, Where
from cordboard.journal import nearest
from cordboard.live.engine import Engine
from cordboard.live.settings import Settings
from cordboard.live.store import Store, make_store
from cordboard.live.webhooks import Endpoint, Webhooks, load_endpoints

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from cordboard.live.logs import Logs
    from cordboard.live.metrics_server import MetricsServer
    from cordboard.live.traces import Traces
    from cordboard.records import Follower

METRICS = "127.0.0.1:9464"
OFF = "off"
LAST_S = 30.0  # that the records get at the end to catch up

_log = logging.getLogger("cordboard.serve")


def add_arguments(parser: argparse.ArgumentParser, lang: words.Lang) -> None:
    """The options of ``cordboard serve`` that are about this."""
    text = f"port for Prometheus and health; {OFF} for none ({METRICS})", f"Prometheus 与健康检查端口，{OFF} 表示不开"
    parser.add_argument("--metrics", metavar="HOST:PORT", help=words.pick(lang, *text))
    text = f"SQLite file or postgresql://...; {OFF} for none (beside the journal)", f"记录所在数据库，{OFF} 表示不记"
    parser.add_argument("--records", metavar="PLACE", default="", help=words.pick(lang, *text))
    text = "a file of endpoints to which entries are posted", "Webhook 端点配置文件"
    parser.add_argument("--webhooks", metavar="ENDPOINTS.toml", help=words.pick(lang, *text))
    text = "OTLP collector that gets a trace of every contact (http://HOST:4318)", "接收联系跟踪的 OTLP 收集器"
    parser.add_argument("--traces", metavar="URL", help=words.pick(lang, *text))
    text = "structured logs: json for lines on standard error, or an OTLP collector", "结构化日志：json 或 OTLP 收集器"
    parser.add_argument("--logs", metavar="URL", help=words.pick(lang, *text))


def records_place(settings: Settings, tenant: str, own: str = "") -> tuple[str, str]:
    """Where a tenant's records are: (place, schema). ``own``: what ``--records`` says; otherwise beside its journal."""
    if own or settings.database:
        return own or settings.database, f"cordboard_{tenant}_records"
    return str(settings.tenant_folder(tenant) / "records.db"), ""


class Beside:
    """See above. InputError for options that can't be used, MissingExtraError for a library that is missing."""

    def __init__(self, options: argparse.Namespace, *, context: ssl.SSLContext | None = None) -> None:
        from cordboard.live.metrics import Metrics

        self._options, self._context = options, context
        self._endpoints: list[Endpoint] = load_endpoints(options.webhooks) if options.webhooks else []
        self._address = None if options.metrics == OFF else _address(options.metrics or METRICS)
        self._metrics = Metrics()
        self._server: MetricsServer | None = None
        self._followers: list[Follower] = []
        self._webhooks: list[Webhooks] = []
        self._traces: list[Traces] = []
        self._provider: TracerProvider | None = None
        self._logs: Logs | None = None
        if options.logs:
            from cordboard.live.logs import Logs

            self._logs = Logs(options.logs)
        if options.traces or options.logs:
            from cordboard.live.traces import exporting

            self._provider = exporting(options.traces)

    @property
    def metrics(self) -> str | None:
        """Where the metrics are, if they are: host:port."""
        return None if self._server is None or self._address is None else f"{self._address[0]}:{self._server.port}"

    def store(self, settings: Settings, tenant: str) -> Store:
        """The tenant's store with its commits measured, for ``Engine.open``."""
        return self._metrics.timed(tenant, make_store(settings, tenant))

    def start_logs(self) -> None:
        """Before anything is opened, so that what is logged then is seen."""
        if self._logs is not None:
            self._logs.start()

    def check(self, tenants: Collection[str]) -> None:
        """InputError if a webhook is of a tenant that is not served, or tenants would share a file of records."""
        own = self._options.records
        if len(tenants) > 1 and own not in ("", OFF) and not own.startswith("postgres"):
            hint = "Leave it out: each tenant has its own beside its journal"
            raise InputError("one file can't hold the records of several tenants", Where(key="--records"), hint)
        for endpoint in self._endpoints:
            if endpoint.tenant not in tenants:
                what, where = f'there is no tenant "{endpoint.tenant}"', f"webhooks.{endpoint.name}.tenant"
                raise InputError(what, Where(self._options.webhooks, key=where), nearest(endpoint.tenant, tenants))

    def begin(self, engines: Mapping[str, Engine], tls: ssl.SSLContext | None = None) -> None:
        """Follow the engines, which were opened, and open the port, with ``tls`` if it is given."""
        for tenant, engine in engines.items():
            self._follow(tenant, engine)
        self._listen(tls)

    def _follow(self, tenant: str, engine: Engine) -> None:
        follower = webhooks = None
        settings = engine.settings
        if self._options.records != OFF:
            from cordboard.records import Follower

            follower = Follower(engine, *records_place(settings, tenant, self._options.records)).start()
            self._followers.append(follower)
        endpoints = [endpoint for endpoint in self._endpoints if endpoint.tenant == tenant]
        if endpoints:
            folder = settings.tenant_folder(tenant)
            folder.mkdir(parents=True, exist_ok=True)
            webhooks = Webhooks(
                engine, endpoints, folder / "webhooks.db", source=tenant, context=self._context
            ).start()
            self._webhooks.append(webhooks)
        if self._provider is not None:
            from cordboard.live.traces import Traces

            self._traces.append(Traces(engine, tenant, self._provider).start())
        self._metrics.watch(tenant, engine, follower, webhooks)
        done = {"records": lambda: follower.revision} if follower is not None else {}
        engine.compact(done if webhooks is None else {**done, "webhooks": webhooks.done})

    def _listen(self, tls: ssl.SSLContext | None) -> None:
        """Open the port of the metrics. If the usual one is taken, that is logged; StoreError for one asked for."""
        if self._address is None:
            return
        from cordboard.live.metrics_server import MetricsServer

        try:
            self._server = MetricsServer(self._metrics, *self._address, tls=tls).start()
        except StoreError as error:
            if self._options.metrics:
                raise
            _log.warning("no metrics: %s. Give another address with --metrics", error)

    def close(self) -> None:
        """Stop all; after the engines were closed, with their last entries."""
        if self._server is not None:
            self._server.close()
        for webhooks in self._webhooks:
            webhooks.close()
        for follower in self._followers:
            follower.close(LAST_S)
        for traces in self._traces:
            traces.close()
        if self._provider is not None:
            self._provider.shutdown()
        if self._logs is not None:
            self._logs.close()
        self._metrics.close()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise InputError(f"{text!r} is no address", Where(key="--metrics"), f"Write {METRICS}, or {OFF}")
    return host.strip("[]"), int(port)
