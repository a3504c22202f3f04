"""Watch for minutes: 500 viewers and 4 updates a second, on a server that has filled by then what it keeps in memory.

``python -m benchmarks.soak_watch --minutes 10`` prints a line a minute (``--viewers``, ``--hz``: others) and at the end
the gaps and how the server's memory grew: MiB a minute, by least squares over the second half.
"""

from __future__ import annotations

import argparse
import asyncio

import grpc
import numpy as np

from benchmarks.bench_services import LOOP, RUN, TENANT, WATCH, Running, an_enqueue, serving
from benchmarks.viewers import Viewers, share
from cordboard.v1 import event_service_pb2, routing_service_pb2_grpc
from cordboard.v1 import journal_pb2 as journal
from cordboard.v1 import routing_service_pb2 as pb

FILLED = 60_000  # events, of which the server holds the last 20,000 to 40,000


async def fill(channel: grpc.aio.Channel) -> None:
    """Contacts that come and go."""
    call = routing_service_pb2_grpc.RoutingServiceStub(channel).Session()
    await call.write(pb.SessionRequest(open=pb.SessionOpen(tenant=TENANT)))
    await call.read()
    for start in range(0, FILLED // 2, 250):
        names = [f"{RUN}-fill-{i}" for i in range(start, start + 250)]
        events = [journal.Event(contact_queued=journal.ContactQueued(contact=name, queue="q1")) for name in names]
        events += [journal.Event(contact_left=journal.ContactLeft(contact=name)) for name in names]
        await call.write(pb.SessionRequest(events=pb.EventBatch(events=events)))
        await call.read()
    await call.done_writing()


async def soak(server: Running, count: int, minutes: int, hz: float) -> tuple[Viewers, list[float]]:
    """The viewers, and the server's memory in MiB at the end of each minute."""
    request = event_service_pb2.WatchRequest(parent=TENANT).SerializeToString()
    viewers, memory = Viewers(server.address, WATCH, request), []
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = routing_service_pb2_grpc.RoutingServiceStub(channel)
        await fill(channel)
        waiting = ""

        async def update() -> int:
            """A contact comes, or the last one goes."""
            nonlocal waiting
            if not waiting:
                done = await stub.Enqueue(an_enqueue())
                waiting = done.contact
            else:
                done = await stub.Leave(pb.LeaveRequest(contact=waiting))
                waiting = ""
            return int(done.applied.revision)

        async with viewers.watching(count):
            for minute in range(1, minutes + 1):
                cpu, reached = server.cpu_s(), 0
                for _ in range(round(60 * hz)):
                    reached, _ = await asyncio.gather(update(), asyncio.sleep(1 / hz))
                await viewers.all_at(reached)
                found = viewers.take()
                memory.append(server.rss_mib())
                used = (server.cpu_s() - cpu) / len(found) * 1e6
                print(
                    f"minute {minute:2}: {len(found):7,} messages  p50 {share(found, 0.5):5.1f} ms  p99 {share(found, 0.99):5.1f} ms"
                    f"  max {found[-1]:5.1f} ms  {viewers.gaps} gaps  {used:.0f} us of CPU a message  {memory[-1]:.1f} MiB",
                    flush=True,
                )
    return viewers, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--viewers", type=int, default=500)
    parser.add_argument("--hz", type=float, default=4.0)
    options = parser.parse_args()
    with serving(True) as server:
        viewers, memory = LOOP.run(soak(server, options.viewers, options.minutes, options.hz))
    later = memory[len(memory) // 2 :]
    slope = float(np.polyfit(range(len(later)), later, 1)[0]) if len(later) > 1 else 0.0
    print(f"{viewers.gaps} gaps; memory grew by {slope:+.2f} MiB a minute over the last {len(later)} minutes")


if __name__ == "__main__":
    main()
