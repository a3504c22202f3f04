"""ReportService: key figures of queues, with their definitions, from the journal."""

from __future__ import annotations

import asyncio
from typing import Any

from cordboard.errors import InputError, LimitError, Where
from cordboard.kpi import KPIS, Tally, figures
from cordboard.live.reports import queue_tallies
from cordboard.services import names
from cordboard.services.tenants import Tenants
from cordboard.services.translate import duration, seconds_between, seconds_of
from cordboard.v1 import report_service_pb2 as pb

REPORTS_MAX = 2  # of one tenant at a time
THRESHOLD_MAX_S = 86_400.0


class ReportServicer:
    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants
        self._running: dict[str, int] = {}

    async def ListFigures(self, request: pb.ListFiguresRequest, context: Any) -> pb.ListFiguresResponse:
        return pb.ListFiguresResponse(
            figures=[
                pb.FigureDefinition(id=kpi.id, english_name=kpi.en, chinese_name=kpi.zh, formula=kpi.formula)
                for kpi in KPIS.values()
            ]
        )

    async def QueryQueues(self, request: pb.QueryQueuesRequest, context: Any) -> pb.QueryQueuesResponse:
        held, who = self._tenants.of(names.tenant_of(request.tenant, "tenant"))
        start = seconds_of(request.start_time, "start_time") if request.HasField("start_time") else 0.0
        end = seconds_of(request.end_time, "end_time") if request.HasField("end_time") else None
        if end is not None and end < start:
            raise InputError("it ends before it starts", Where(key="end_time"), "Give a later time")
        unknown = [name for name in request.figures if name not in KPIS]
        if unknown:
            raise InputError(f"no figure {unknown[0]!r}", Where(key="figures"), "ListFigures has them all")
        given = request.threshold if request.HasField("threshold") else None
        threshold = None if given is None else seconds_between(given, 0.0, THRESHOLD_MAX_S, 0.0, "threshold")
        if self._running.get(held.name, 0) >= REPORTS_MAX:
            raise LimitError("too many reports are being made", REPORTS_MAX, "Wait for one of them")
        self._running[held.name] = self._running.get(held.name, 0) + 1
        try:
            tallies, revision = await asyncio.to_thread(
                queue_tallies, held.engine.center, held.engine.entries(), start, end, threshold
            )
        finally:
            self._running[held.name] -= 1
        wanted = list(request.figures) or list(KPIS)
        queues = [_report(held.name, name, tally, wanted) for name, tally in tallies.items() if who.covers_queue(name)]
        return pb.QueryQueuesResponse(queues=queues, revision=revision)


def _report(tenant: str, queue: str, tally: Tally, wanted: list[str]) -> pb.QueueReport:
    found = {id: value for id, value in figures(tally, wanted).items() if value is not None}
    return pb.QueueReport(
        queue=names.resource(tenant, "queues", queue),
        threshold=duration(tally.threshold_s),
        offered_count=tally.offered,
        answered_count=tally.answered,
        abandoned_count=tally.abandoned,
        timeout_count=tally.timeout,
        overflowed_count=tally.flowout,
        rejected_count=tally.rejected,
        longest_wait=duration(tally.longest_s),
        figures=found,
        asked_count=tally.asked,
        rated_count=tally.rated,
        satisfied_count=tally.satisfied,
    )
