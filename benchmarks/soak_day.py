"""A simulated day through the services, with faults and without, and whether it was the same day.

    python -m benchmarks.soak_day [--hours 24] [--speed 60] [--seed 1] [--quick] [--database URL] [--keep DIR] [--json]

The real server as a process over TCP, its time in the hands of the soak (``--clock``); agents on their lines, callers by
unary calls and a session, a watcher who must not miss an entry. The first run has faults: ``kill -9`` of the server (also
while it starts), connections cut with whatever is on its way, agents who are gone or deaf, requests sent twice or three
times, old ones sent again, later ones sent before those that they depend on. The second run has none, and goes as fast
as it can. Then the two are compared (docs/background/soak.md says what must be equal). Status 0 if all is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc

from benchmarks import soak_compare
from benchmarks.soak_rig import PATIENCE_S, Clock, Gate, Phone, Refused, ServerProcess, insist
from benchmarks.soak_world import HOUR_S, START_S, Plan, Site
from cordboard.client import AsyncClient, CallError
from cordboard.client.connection import call_error
from cordboard.v1 import admin_service_pb2 as admin
from cordboard.v1 import journal_pb2 as journal
from cordboard.v1 import routing_service_pb2 as routing

TENANT = "tenants/default"
CALLERS = 6
REMEMBERED = 2_000  # requests of a site that may come again
QUICK = Plan(hours=0.3, sites=3, agents=12, losses=4.0, load=1.2, talk_s=60.0)

Make = Callable[[AsyncClient], Awaitable[journal.Applied]]


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong. ``kill_s``: mean seconds from one kill to the next; the others are shares of requests,
    or of lost connections."""

    kill_s: float = 40.0
    cut_s: float = 0.4
    twice: float = 0.25
    stale: float = 0.1
    early: float = 0.1
    take_over: float = 0.05
    deaf: float = 0.03


@dataclass
class Told:
    """What a run told: acknowledgments, the digest of each entry that was watched, and what was done to it."""

    acknowledged: dict[str, int] = field(default_factory=dict)  # request_id -> revision
    watched: list[bytes] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Company:
    """Everyone outside the center, and the faults that befall them. One way to do each thing, for both runs."""

    def __init__(self, plan: Plan, server: ServerProcess, faults: Faults | None) -> None:
        self.plan, self.server, self.faults = plan, server, faults
        self.chance = random.Random(f"faults/{plan.seed}")
        self.told = Told()
        self.revision = 0
        self.over = False
        self.gates: list[Gate] = []
        self._bell = asyncio.Event()
        self._history: dict[int, deque[tuple[Make, journal.Applied]]] = {}

    async def start(self) -> None:
        """Connect the callers and the watcher; the agents come when their shifts begin."""
        self.callers = [AsyncClient((await self._gate()).address) for _ in range(CALLERS)]
        self._agent_gates = {agent: await Gate().start(self.server.port) for _, agent in self.plan.names}
        self.phones = {agent: Phone(agent, gate) for agent, gate in self._agent_gates.items()}
        self.sites = [Site(number, self.plan, self) for number in range(self.plan.sites)]
        self._history = {site.number: deque(maxlen=REMEMBERED) for site in self.sites}
        self._watching = asyncio.create_task(self._watch(AsyncClient((await self._gate()).address)))

    async def _gate(self) -> Gate:
        self.gates.append(await Gate().start(self.server.port))
        return self.gates[-1]

    async def stop(self) -> None:
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(*(phone.hang_up() for phone in self.phones.values()))
        for client in self.callers:
            await client.close()
        for gate in (*self.gates, *self._agent_gates.values()):
            gate.close()

    async def _watch(self, client: AsyncClient) -> None:
        async with client:
            async for entry in client.watch(1):
                assert entry.revision == self.revision + 1, f"revision {entry.revision} after {self.revision}"
                self.told.watched.append(soak_compare.digest(entry))
                for site in self.sites:
                    site.take(entry)
                self.revision = entry.revision
                self._bell.set()
                self._bell = asyncio.Event()

    async def _until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not done():
                if self._watching.done():
                    self._watching.result()
                await self._bell.wait()

    async def seen(self, applied: journal.Applied, request_id: str = "") -> None:
        """An acknowledgment has come; go on when the watcher has told what it did."""
        if request_id:
            self.told.acknowledged[request_id] = applied.revision
        await self._until(lambda: self.revision >= applied.revision)

    def _befalls(self, name: str) -> bool:
        """Whether a fault happens now."""
        happens = self.faults is not None and self.chance.random() < getattr(self.faults, name)
        self.told.done[name] += happens
        return happens

    # ---- time

    async def tick(self) -> admin.GetStateResponse:
        """The clock was set: let the timers fire."""

        async def look() -> admin.GetStateResponse:
            try:
                found: admin.GetStateResponse = await self.callers[0].stubs.admin.GetState(
                    admin.GetStateRequest(tenant=TENANT), timeout=30
                )
            except grpc.aio.AioRpcError as error:
                raise call_error(error) from None
            return found

        state = await insist(look)
        inside = state.waiting_count + state.offered_count + state.connected_count
        assert state.entered_count == inside + state.ended_count, f"contacts are lost: {state}"
        await self.seen(journal.Applied(revision=state.revision))
        return state

    # ---- callers

    async def _request(self, site: Site, request_id: str, make: Make) -> None:
        """Send a request, once or several times at once; and now and then one of before."""
        times = self.chance.choice((2, 3)) if self._befalls("twice") else 1
        clients = self.chance.sample(self.callers, times)
        answers = await asyncio.gather(*(_insisted(make, client) for client in clients))
        assert sum(not answer.repeated_request for answer in answers) <= 1, f"{request_id} was done twice"
        for answer in answers[1:]:
            _expect_same(answer, answers[0], request_id)
        await self.seen(answers[0], request_id)
        history = self._history[site.number]
        if history and self._befalls("stale"):
            old, first = self.chance.choice(history)
            again = await _insisted(old, self.chance.choice(self.callers))
            assert again.repeated_request, f"a request of before was done again: {again}"
            _expect_same(again, first, "a request of before")
        history.append((make, answers[0]))

    async def enqueue(
        self, site: Site, request_id: str, queue: str, contact: str, customer: str, priority: float | None
    ) -> None:
        async def make(client: AsyncClient) -> journal.Applied:
            entered = await client.enqueue(queue, contact, customer=customer, priority=priority, request_id=request_id)
            return entered.applied

        if self._befalls("early"):  # whoever hangs up is heard of before the call is
            try:
                await insist(lambda: self.callers[1].leave(contact, request_id=f"{request_id}-early"))
            except CallError as error:
                assert error.code == grpc.StatusCode.NOT_FOUND, error
            else:
                raise AssertionError(f"{contact} left before it came")
        await self._request(site, request_id, make)

    async def leave(self, site: Site, request_id: str, contact: str) -> None:
        async def make(client: AsyncClient) -> journal.Applied:
            return (await client.leave(contact, request_id=request_id)).applied

        await self._request(site, request_id, make)

    async def _set_state(self, site: Site, request_id: str, agent: str, state: Any, reason: str = "") -> None:
        async def make(client: AsyncClient) -> journal.Applied:
            return (await client.set_state(agent, state, reason=reason, request_id=request_id)).applied

        await self._request(site, request_id, make)

    # ---- agents

    async def _say(self, request_id: str, agent: str, what: str, *about: str) -> None:
        """Say something on an agent's line; now and then on a new line, or several times."""
        phone = self.phones[agent]
        if self._befalls("take_over"):
            await phone.take_over()
        times = 2 if self._befalls("twice") else 1
        await self.seen(await phone.say(what, *about, request_id=request_id, times=times), request_id)

    async def _say_in_vain(self, request_id: str, agent: str, what: str, contact: str) -> None:
        """Say what can't be yet, or can't be any more."""
        with contextlib.suppress(Refused):
            await self.phones[agent].say(what, contact, request_id=request_id)
            raise AssertionError(f"{agent} could {what} {contact}")

    async def answer(self, site: Site, request_id: str, what: str, agent: str, contact: str) -> None:
        await self.phones[agent].told(contact)
        if self._befalls("early"):
            await self._say_in_vain(f"{request_id}-early", agent, "end", contact)
        await self._say(request_id, agent, what, contact)
        if self._befalls("early"):
            await self._say_in_vain(f"{request_id}-late", agent, "decline", contact)

    async def end(self, site: Site, request_id: str, agent: str, contact: str) -> None:
        """A conversation is over; the telephony says so of one whose agent is not there."""
        if agent:
            await self._say(request_id, agent, "end", contact)
            return

        async def make(client: AsyncClient) -> journal.Applied:
            event = journal.Event(contact_ended=journal.ContactEnded(contact=contact))
            return await _session(client, event, request_id)

        await self._request(site, request_id, make)

    async def log_in(self, site: Site, request_id: str, agent: str) -> None:
        await self.phones[agent].connect()
        await self._say(request_id, agent, "ready")

    async def log_out(self, site: Site, request_id: str, agent: str) -> None:
        await self._set_state(site, request_id, agent, "offline")
        await self.phones[agent].hang_up()

    async def wish(self, site: Site, request_id: str, agent: str, state: str, *reason: str) -> None:
        await self._say(request_id, agent, state, *reason)

    async def lose(self, site: Site, request_id: str, agent: str, ready: bool) -> None:
        """An agent's connection is lost: in the run with faults it is; in the other one the agent says so."""
        if self.faults is None:
            if ready:
                await self._set_state(site, request_id, agent, "away", "network")
            await self.phones[agent].hang_up()
            return
        gate, phone = self._agent_gates[agent], self.phones[agent]
        self.told.done["lost"] += 1
        deaf = self._befalls("deaf")
        if deaf:
            gate.deafen()
        else:
            gate.cut()
            await phone.hang_up()
        if ready:
            await self._until(lambda: site.agents[agent].presence != "ready")
        if deaf:
            gate.cut()
            await phone.hang_up()

    async def come_back(self, site: Site, request_id: str, agent: str) -> None:
        await self.log_in(site, request_id, agent)

    # ---- what goes wrong by itself

    async def suffer(self) -> None:
        """Kill the server and cut connections, until it is over."""
        assert self.faults is not None
        loop = asyncio.get_running_loop()
        next_kill = loop.time() + self.faults.kill_s * self.chance.uniform(0.2, 1.0)
        while not self.over:
            await asyncio.sleep(self.faults.cut_s * self.chance.uniform(0.2, 1.8))
            self.chance.choice(self.gates).cut()
            self.told.done["cuts"] += 1
            if loop.time() >= next_kill:
                await self._kill()
                next_kill = loop.time() + self.faults.kill_s * self.chance.uniform(0.5, 1.5)
            elif self.chance.random() < 0.02:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await self.callers[1].stubs.admin.CreateSnapshot(admin.CreateSnapshotRequest(tenant=TENANT), timeout=30)
                    self.told.done["snapshots"] += 1

    async def _kill(self) -> None:
        await self.server.kill()
        self.told.done["kills"] += 1
        while self.chance.random() < 0.3:  # once more while it starts
            starting = asyncio.create_task(self.server.start())
            await asyncio.sleep(self.chance.uniform(0.3, 2.5))
            await self.server.kill()
            await asyncio.gather(starting, return_exceptions=True)
            self.told.done["kills"] += 1
        await self.server.start()


async def _insisted(make: Make, client: AsyncClient) -> journal.Applied:
    return await insist(lambda: make(client))


async def _session(client: AsyncClient, event: journal.Event, request_id: str) -> journal.Applied:
    """One event by a session on the live engine."""
    call = client.stubs.routing.Session(timeout=30)
    try:
        await call.write(routing.SessionRequest(open=routing.SessionOpen(tenant=TENANT)))
        await call.read()
        await call.write(routing.SessionRequest(events=routing.EventBatch(events=[event], request_ids=[request_id])))
        response = await call.read()
        await call.done_writing()
    except grpc.aio.AioRpcError as error:
        raise call_error(error) from None
    except asyncio.InvalidStateError:
        raise CallError(grpc.StatusCode.UNAVAILABLE, "the session has ended") from None
    if response is grpc.aio.EOF:
        raise CallError(grpc.StatusCode.UNAVAILABLE, "the session has ended")
    (outcome,) = response.outcomes.outcomes
    assert not outcome.HasField("error"), outcome.error
    applied: journal.Applied = outcome.applied
    return applied


def _expect_same(answer: journal.Applied, first: journal.Applied, what: str) -> None:
    """Two answers to one request tell the same."""
    same = answer.revision == first.revision and answer.time == first.time and answer.effects == first.effects
    assert same, f"{what}: two answers\n{first}\n{answer}"


async def live(plan: Plan, folder: Path, faults: Faults | None, speed: float, database: str = "") -> Told:
    """A run: its data is in the folder, and the server is dead at the end."""
    folder.mkdir(parents=True)
    center = folder / "center.toml"
    center.write_text(plan.center(), "utf-8")
    clock = Clock(folder / "clock", START_S)
    server = ServerProcess(folder, center, clock, _free_port(), database)
    await server.start()
    company = Company(plan, server, faults)
    await company.start()
    suffering = asyncio.create_task(company.suffer()) if faults else None
    began = time.monotonic()
    try:
        for number in range(1, round(plan.hours * HOUR_S / plan.tick) + 1):
            t = START_S + number * plan.tick
            clock.set(t)
            await company.tick()
            await asyncio.gather(*(site.turn(t) for site in company.sites))
            if suffering is not None and suffering.done():
                suffering.result()
            if speed and (ahead := (t - START_S) / speed - (time.monotonic() - began)) > 0:
                await asyncio.sleep(ahead)
            if number % round(HOUR_S / plan.tick) == 0:
                done = " ".join(f"{name} {count}" for name, count in company.told.done.items() if count)
                print(f"{(t - START_S) / HOUR_S:5.1f} h in {time.monotonic() - began:6.0f} s, revision {company.revision}; {done}",
                      file=sys.stderr, flush=True)  # fmt: skip
    finally:
        company.over = True
        if suffering is not None:
            await suffering
        company.told.seconds = time.monotonic() - began
        await server.kill()
        await company.stop()
        clock.close()
    return company.told


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def soak(plan: Plan, folder: Path, faults: Faults, speed: float, database: str = "") -> dict[str, Any]:
    """Both runs and what came of them: figures, and ``differences``, which is empty if it was the same day.
    ``database``: PostgreSQL for the run with faults; the other one is in SQLite."""
    faulted = asyncio.run(live(plan, folder / "faulted", faults, speed, database))
    plain = asyncio.run(live(plan, folder / "plain", None, 0.0))
    found = soak_compare.compare(plan, folder, faulted, plain, database)
    return {"hours": plan.hours, "seconds": faulted.seconds, "speed": plan.hours * HOUR_S / faulted.seconds,
            "plain_seconds": plain.seconds, **faulted.done, **found}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--speed", type=float, default=60.0, help="0: as fast as it can")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="18 minutes of a small center, as fast as it can")
    parser.add_argument("--database", metavar="URL", default="", help="PostgreSQL for the run with faults")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="leave the data of both runs here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    plan, faults, speed = Plan(hours=options.hours), Faults(), options.speed
    if options.quick:
        plan, faults, speed = QUICK, Faults(kill_s=4.0), 0.0
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cordboard-soak-")))
        found = soak(replace(plan, seed=options.seed), folder, faults, speed, options.database)
    differences = found["differences"]
    if options.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            if key != "differences":
                print(f"{key:24} {value:>14,.1f}" if isinstance(value, float) else f"{key:24} {value:>14}")
        print("\n".join(differences) or "the same day")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
