"""SimulationService, and google.longrunning.Operations for what it starts."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from google.longrunning import operations_pb2 as ops
from google.protobuf.empty_pb2 import Empty
from google.rpc.code_pb2 import CANCELLED
from google.rpc.status_pb2 import Status

from cordboard.center import Center, parse_center
from cordboard.errors import CordboardError, InputError, LimitError, UnknownNameError, Where
from cordboard.services import names
from cordboard.services.errors import status_of
from cordboard.services.paging import page
from cordboard.services.tenants import Tenant, Tenants
from cordboard.services.translate import seconds_of
from cordboard.simulation import parse_scenario, simulate
from cordboard.simulation.scenario import Scenario
from cordboard.v1 import simulation_service_pb2 as pb

RUNNING_MAX = 2  # of one tenant at a time
KEPT_MAX = 100  # of one tenant
REPLICATIONS, REPLICATIONS_MAX = 20, 1000
WAIT_MAX_S = 300.0


class _Cancelled(Exception):
    """Somebody cancelled the simulation; ends it between two runs."""


@dataclass
class Job:
    """A simulation, running or done."""

    name: str
    request_id: str
    replications: int
    done: int = 0
    cancelled: bool = False
    outcome: ops.Operation | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    def progress(self, done: int) -> None:
        """Told by the simulation, in its thread."""
        self.done = done
        if self.cancelled:
            raise _Cancelled

    def message(self) -> ops.Operation:
        """The operation as it is now."""
        found = ops.Operation(name=self.name)
        if self.outcome is not None:
            found.CopyFrom(self.outcome)
        found.metadata.Pack(pb.SimulationMetadata(replications_done=self.done, replications=self.replications))
        return found


class Jobs:
    """The simulations of all tenants, which both services see."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, Job]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, tenant: str) -> dict[str, Job]:
        """A tenant's simulations, by the names of their operations."""
        return self._jobs.setdefault(tenant, {})

    def start(self, tenant: str, request_id: str, center: Center, scenario: Scenario, count: int, seed: int) -> Job:
        """Begin one; the one that is there if this request_id has begun it. LimitError if there are too many."""
        jobs = self.of(tenant)
        for job in jobs.values():
            if request_id and job.request_id == request_id:
                return job
        if sum(job.outcome is None for job in jobs.values()) >= RUNNING_MAX:
            raise LimitError("too many simulations are running", RUNNING_MAX, "Wait for one of them, or cancel it")
        if len(jobs) >= KEPT_MAX:
            raise LimitError("too many operations are kept", KEPT_MAX, "Delete some")
        job = Job(names.resource(tenant, "operations", str(uuid.uuid4())), request_id, count)
        jobs[job.name] = job
        task = asyncio.create_task(self._run(job, center, scenario, seed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _run(self, job: Job, center: Center, scenario: Scenario, seed: int) -> None:
        outcome = ops.Operation(name=job.name, done=True)
        try:
            result = await asyncio.to_thread(
                simulate, center, scenario, replications=job.replications, seed=seed, threads=1, progress=job.progress
            )
            text = json.dumps(result.as_dict(), ensure_ascii=False)
            outcome.response.Pack(pb.SimulationResult(result_json=text))
        except _Cancelled:
            outcome.error.CopyFrom(Status(code=CANCELLED, message="the simulation was cancelled"))
        except CordboardError as error:
            outcome.error.CopyFrom(status_of(error))
        job.outcome = outcome
        job.finished.set()

    async def stop(self) -> None:
        """Cancel all and wait for them."""
        for jobs in self._jobs.values():
            for job in jobs.values():
                job.cancelled = True
        await asyncio.gather(*self._tasks, return_exceptions=True)


class SimulationServicer:
    def __init__(self, tenants: Tenants, jobs: Jobs) -> None:
        self._tenants, self._jobs = tenants, jobs

    async def Simulate(self, request: pb.SimulateRequest, context: Any) -> ops.Operation:
        held, _ = self._tenants.of(names.tenant_of(request.parent))
        count = request.replications or REPLICATIONS
        if not 1 <= count <= REPLICATIONS_MAX:
            raise InputError(f"{count} runs", Where(key="replications"), f"Give 1 to {REPLICATIONS_MAX}")
        if request.seed < 0:
            raise InputError(f"the seed is {request.seed}", Where(key="seed"), "Give 0 or more")
        center, scenario = await asyncio.to_thread(_read, held, request)
        return self._jobs.start(held.name, request.request_id, center, scenario, count, request.seed).message()


def _read(held: Tenant, request: pb.SimulateRequest) -> tuple[Center, Scenario]:
    center = parse_center(request.center_toml, "center_toml") if request.center_toml else held.engine.center
    return center, parse_scenario(request.scenario_toml, "scenario_toml")


class OperationsServicer:
    """google.longrunning.Operations."""

    def __init__(self, tenants: Tenants, jobs: Jobs) -> None:
        self._tenants, self._jobs = tenants, jobs

    def _job(self, name: str) -> tuple[dict[str, Job], Job]:
        tenant, _ = names.split(name, "operations", "name")
        self._tenants.of(tenant)
        jobs = self._jobs.of(tenant)
        job = jobs.get(name)
        if job is None:
            raise UnknownNameError("there is no such operation", Where(key="name"), "It was deleted, or never made")
        return jobs, job

    async def GetOperation(self, request: ops.GetOperationRequest, context: Any) -> ops.Operation:
        return self._job(request.name)[1].message()

    async def ListOperations(self, request: ops.ListOperationsRequest, context: Any) -> ops.ListOperationsResponse:
        held, _ = self._tenants.of(names.tenant_of(request.name, "name"))
        shown, token = page(list(self._jobs.of(held.name).values()), request.page_size, request.page_token)
        return ops.ListOperationsResponse(operations=[job.message() for job in shown], next_page_token=token)

    async def WaitOperation(self, request: ops.WaitOperationRequest, context: Any) -> ops.Operation:
        _, job = self._job(request.name)
        seconds = seconds_of(request.timeout, "timeout") if request.HasField("timeout") else WAIT_MAX_S
        try:
            await asyncio.wait_for(job.finished.wait(), min(seconds, WAIT_MAX_S))
        except TimeoutError:
            return job.message()
        return job.message()

    async def CancelOperation(self, request: ops.CancelOperationRequest, context: Any) -> Empty:
        self._job(request.name)[1].cancelled = True
        return Empty()

    async def DeleteOperation(self, request: ops.DeleteOperationRequest, context: Any) -> Empty:
        jobs, job = self._job(request.name)
        job.cancelled = True
        del jobs[request.name]
        return Empty()
