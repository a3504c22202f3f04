"""Replications of scenarios with campaigns: live days, in processes of their own.

A live day drives ``cordboard.Acd`` and ``cordboard.Pacer`` event by event in Python, as an engine at work would; the
kernel, which holds no pacer, is for scenarios without campaigns. Workers are plain interpreters that read a job from
standard input: they need no ``__main__`` guard in the caller's script, and no fork of a process with threads.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

import numpy as np

from cordboard.acd import Acd
from cordboard.center import Center
from cordboard.errors import CordboardError
from cordboard.simulation import outbound
from cordboard.simulation.campaign_result import CampaignRun
from cordboard.simulation.counting import Counting
from cordboard.simulation.live import Day
from cordboard.simulation.run import Plan, Run
from cordboard.simulation.scenario import Scenario

_SERVE = "import sys; sys.path[:] = {path!r}; from cordboard.simulation.live_runs import serve; serve()"


@dataclass(frozen=True)
class Job:
    """Replications to do, by their numbers."""

    center: Center
    scenario: Scenario
    seed: int
    records: bool
    replications: tuple[int, ...]


def one(job: Job, replication: int) -> tuple[Run, list[CampaignRun]]:
    """One replication."""
    center, scenario = job.center, job.scenario
    state = np.random.SeedSequence(job.seed, spawn_key=(replication,)).generate_state(1)
    seed = int(state[0]) >> 1
    acd = Acd(Plan.center_for(center, scenario), seed=seed, explain=False, max_contacts=scenario.max_alive)
    day = Day(center, scenario, seed=seed, acd=acd)
    counting = Counting(day, records=job.records)
    dialings = outbound.join(day)
    start = time.perf_counter()
    for _ in day.run(every=max(60.0, scenario.duration)):
        pass
    seconds = time.perf_counter() - start
    counting.close()
    work = (counting.contacts, counting.events, round(day.now * 1e6))
    run = Run(counting.counters, counting.bins, counting.agents, work, seconds, counting.record_array())
    return run, [CampaignRun.of(dialing, scenario) for dialing in dialings]


def serve() -> None:
    """A worker: answers the job on standard input, one pickle a replication on standard output."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr
    job: Job = pickle.load(sys.stdin.buffer)
    for replication in job.replications:
        try:
            pickle.dump((replication, *one(job, replication)), out)
        except (CordboardError, MemoryError) as error:
            pickle.dump((replication, error, []), out)
        out.flush()


def runs(job: Job, workers: int, done: Callable[[int], None]) -> list[tuple[Run, list[CampaignRun]]]:
    """All replications of a job, in their order; ``done`` is told how many there are so far."""
    found: dict[int, tuple[Run, list[CampaignRun]]] = {}
    for replication, run, campaigns in _parallel(job, workers) if workers > 1 else _here(job):
        found[replication] = (run, campaigns)
        done(len(found))
    return [found[replication] for replication in job.replications]


def _here(job: Job) -> Iterator[tuple[int, Run, list[CampaignRun]]]:
    for replication in job.replications:
        yield replication, *one(job, replication)


def _parallel(job: Job, workers: int) -> Iterator[tuple[int, Run, list[CampaignRun]]]:
    """Each worker takes its share of the replications; what they say is read as it comes."""
    said: SimpleQueue[tuple[int, Any, list[CampaignRun]]] = SimpleQueue()
    command = [sys.executable, "-c", _SERVE.format(path=sys.path)]
    crews = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(workers)]
    readers = [
        threading.Thread(target=_read, args=(crew, replace(job, replications=job.replications[i::workers]), said))
        for i, crew in enumerate(crews)
    ]
    try:
        for reader in readers:
            reader.start()
        for _ in job.replications:
            replication, run, campaigns = said.get()
            if isinstance(run, BaseException):
                raise run
            yield replication, run, campaigns
    finally:  # Ctrl-C and errors, too: who reads from a worker that is gone comes to an end
        for crew, reader in zip(crews, readers, strict=True):
            crew.kill()
            crew.wait()
            if reader.is_alive():
                reader.join()
            if crew.stdout is not None:
                crew.stdout.close()


def _read(crew: subprocess.Popen[bytes], job: Job, said: SimpleQueue[Any]) -> None:
    """Give a worker its job and pass on its answers."""
    try:
        if crew.stdin is None or crew.stdout is None:
            raise EOFError
        with crew.stdin:
            pickle.dump(job, crew.stdin)
        for _ in job.replications:
            said.put(pickle.load(crew.stdout))
    except (EOFError, OSError, pickle.UnpicklingError):
        what = "a worker of the simulation ended before its work was done; its message is on standard error"
        said.put((-1, CordboardError(what), []))
