"""``simulate``: a center and a scenario become worlds around the routing engine; worlds run on all cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard.center import Agent, Center
from cordboard.errors import CordboardError, DataError, LimitError, MissingExtraError, Where
from cordboard.kpi import SHORT_ABANDON_S
from cordboard.simulation.laws import Deterministic, Gamma, LawTable
from cordboard.simulation.result import STATES, Counts, GroupResult, QueueResult, SimulationResult
from cordboard.simulation.scenario import Rates, Scenario, Shift, Source, Trace, check_names

REPLICATIONS_MAX = 100_000
BACK_AFTER_S = 300.0  # an agent set away for not answering is back so long after, while on shift
_WRAP_UP_FOREVER_S = 1e8  # where a scenario draws the wrap-up, the world ends it and the center's timer must not
_US = 1_000_000

Progress = Callable[[int], None]


def simulate(
    center: Center,
    scenario: Scenario,
    *,
    replications: int = 20,
    batches: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    records: bool = False,
    progress: Progress | None = None,
) -> SimulationResult:
    """Run a scenario through a center's own router, ``replications`` times, and say what came of it.

    With ``batches`` there is one long run instead, cut after the warm-up into that many windows of equal length, whose
    figures are taken as independent (batch means; take them much longer than the longest patience and service).
    ``seed`` and the number of the replication decide everything random; the same caller (number n of its
    source) has the same service demand, patience and retries in every center: common random numbers.
    ``threads``: None or 0 for all cores. ``records`` keeps what became of every contact. ``progress`` is called with
    the replications done.

    A scenario with campaigns goes through live days instead of the kernel: ``cordboard.Acd`` and ``cordboard.Pacer``,
    event by event, replications in processes of their own (``threads`` at once), and no ``batches``.

    Raises DataError where the scenario names what the center does not have, LimitError when more contacts are
    alive than the scenario's ``max_alive``.
    """
    check_names(scenario, center)
    for name, value, least in (("replications", replications, 1), ("batches", batches, 2), ("seed", seed, 0),
                               ("threads", threads, 0)):  # fmt: skip
        if value is not None and (not isinstance(value, int) or value < least):
            raise DataError(f"{name} is {value!r}", Where(key=name), f"Give a whole number from {least} up.")
    if not 1 <= replications <= REPLICATIONS_MAX or (batches is not None and not 2 <= batches <= REPLICATIONS_MAX):
        raise DataError(
            f"{replications} replications, {batches} batches",
            Where(key="replications"),
            f"Give 1 to {REPLICATIONS_MAX} replications, or 2 to {REPLICATIONS_MAX} batches.",
        )
    if scenario.campaigns:
        return _with_campaigns(center, scenario, replications, batches, seed, threads, records, progress)
    plan = Plan(center, scenario, batches or 1, records)
    runs = 1 if batches else replications
    done: list[Run] = []
    with ThreadPoolExecutor(max_workers=min(threads or os.cpu_count() or 1, runs)) as pool:
        try:
            for one in pool.map(lambda r: plan.run(seed, r), range(runs)):
                done.append(one)
                if progress is not None:
                    progress(len(done))
        except BaseException:  # Ctrl-C above all: leaving the pool waits for what runs
            plan.halt()
            raise
    return plan.result(done, seed)


def _with_campaigns(
    center: Center,
    scenario: Scenario,
    replications: int,
    batches: int | None,
    seed: int,
    threads: int | None,
    records: bool,
    progress: Progress | None,
) -> SimulationResult:
    from cordboard.simulation import live_runs
    from cordboard.simulation.campaign_result import campaign_result
    from cordboard.simulation.campaigns import teams

    if batches:
        hint = "Leave batches out and give replications."
        raise DataError("batches are not for scenarios with campaigns", Where(key="batches"), hint)
    job = live_runs.Job(center, scenario, seed, records, tuple(range(replications)))
    done = live_runs.runs(job, min(threads or os.cpu_count() or 1, replications), progress or (lambda n: None))
    plan = Plan(center, scenario, 1, records)
    result = plan.result([run for run, _ in done], seed)
    at = {agent.name: i for i, agent in enumerate(center.agents)}
    states = np.stack([run.agents[0, :, : len(STATES)] for run, _ in done])
    seconds = np.full(len(done), scenario.duration - scenario.warm_up)
    crews = teams(center, scenario.campaigns)
    members = {one.label: [at[name] for name in names] for names, some in crews for one in some}
    campaigns = {
        one.label: campaign_result(
            one.label, one.queue, one.target, members[one.label], [runs[i] for _, runs in done], states, seconds
        )
        for i, one in enumerate(scenario.campaigns)
    }
    return replace(result, campaigns=campaigns)


def sweep(
    cases: Sequence[tuple[Center, Scenario]],
    *,
    replications: int = 20,
    seed: int = 0,
    on_ray: bool = False,
) -> list[SimulationResult]:
    """``simulate`` for many cases; with ``on_ray`` each is a task of a Ray cluster (``cordboard[scale]``).

    A task is a process on some machine and uses one thread; without Ray the cases run one after another on all cores.
    """
    if not on_ray:
        return [simulate(c, s, replications=replications, seed=seed) for c, s in cases]
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "scale") from None
    if not ray.is_initialized():
        ray.init()
    task = ray.remote(simulate)
    waiting = [task.remote(c, s, replications=replications, seed=seed, threads=1) for c, s in cases]
    try:
        return list(ray.get(waiting))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, CordboardError):
            raise error.cause from None  # as it would be here, without the traces of another process
        raise


@dataclass(frozen=True)
class Run:
    """One replication: counters, bins of waits and agents' rows by batch; ``work``: contacts, events, last us."""

    counters: npt.NDArray[np.int64]
    bins: npt.NDArray[np.uint32]
    agents: npt.NDArray[np.int64]
    work: tuple[int, int, int]
    seconds: float
    records: npt.NDArray[Any]


class Plan:
    """What all replications share."""

    def __init__(self, center: Center, scenario: Scenario, batches: int, records: bool) -> None:
        self.asked = center
        self.scenario = scenario
        self.records = records
        self.halted = False
        self.worlds: set[Any] = set()  # that run now
        self.drawn_wrap_up = draws_wrap_up(scenario)
        self.center = self.center_for(center, scenario)
        self.laws = LawTable()
        self.queue_at = {queue.name: i for i, queue in enumerate(center.queues)}
        self.kinds, self.kind_of = self._kinds_of_agents()
        self.sources = [self._source(source) for source in scenario.sources]
        self.law_arrays = self.laws.arrays()
        window = np.linspace(scenario.warm_up, scenario.duration, batches + 1)
        self.batch_at = np.rint(window * _US).astype(np.int64)
        self.within = np.array([round(q.target_within * _US) for q in center.queues], np.int64)
        self.shifts = shift_plan(center, scenario)

    @staticmethod
    def center_for(center: Center, scenario: Scenario) -> Center:
        """The center as its engine gets it: where the scenario draws wrap-ups, the world ends them, not the timer."""
        if not draws_wrap_up(scenario):
            return center
        return replace(center, queues=tuple(replace(q, wrap_up=_WRAP_UP_FOREVER_S) for q in center.queues))

    def _kinds_of_agents(self) -> tuple[list[tuple[int, ...]], npt.NDArray[np.int32]]:
        """Agents whose law of service is the same for every source are one kind; (rule of each source, own wrap-up)."""
        known: dict[tuple[int, ...], int] = {}
        rules = [
            {name: i for i, rule in enumerate(source.service_by) for name in rule.agents}
            for source in self.scenario.sources
        ]
        kind_of = np.empty(len(self.asked.agents), np.int32)
        for i, agent in enumerate(self.asked.agents):
            kind = (*(rule.get(agent.name, -1) for rule in rules), int(agent.wrap_up is not None))
            kind_of[i] = known.setdefault(kind, len(known))
        return list(known), kind_of

    def _source(self, source: Source) -> dict[str, Any]:
        """The arguments of ``World.add_source`` that do not change from one replication to the next."""
        number = self.scenario.sources.index(source)
        add = self.laws.add
        wrap_up = source.wrap_up or Deterministic(self.asked.queues[self.queue_at[source.queue]].wrap_up)
        by_rule = {-1: add(source.service), **{i: add(rule.service) for i, rule in enumerate(source.service_by)}}
        retry = source.retry
        return {
            "queue": self.queue_at[source.queue],
            "priority": float(source.priority),
            "service": [by_rule[kind[number]] for kind in self.kinds],
            "wrap_up": [-1 if kind[-1] or not self.drawn_wrap_up else add(wrap_up) for kind in self.kinds],
            "patience": add(source.patience),
            "ring": add(source.ring),
            "p_no_answer": source.no_answer,
            "p_retry": retry.probability if retry else 0.0,
            "retry_delay": add(retry.delay) if retry else 0,
            "attempts": retry.attempts if retry else 0,
        }

    def run(self, seed: int, replication: int) -> Run:
        """One replication; all but the set-up without the GIL."""
        from cordboard._core.acd import Router
        from cordboard._core.simkernel import World

        scenario = self.scenario
        state = np.random.SeedSequence(seed, spawn_key=(replication,)).generate_state(1)
        router = Router(
            self.center,
            seed=int(state[0]) >> 1,
            explain=False,
            max_contacts=scenario.max_alive,
            index_ids=False,
        )
        world = World(
            router,
            self.law_arrays,
            n_queues=len(self.center.queues),
            n_agents=len(self.center.agents),
            agent_kind=self.kind_of,
            within=self.within,
            batch_at=self.batch_at,
            shifts=self.shifts,
            stop=round((scenario.duration + scenario.drain) * _US),
            lines=scenario.lines,
            places=scenario.waiting_places,
            back_after=round(BACK_AFTER_S * _US),
            short_us=round(SHORT_ABANDON_S * _US),
            records=self.records,
        )
        for number, source in enumerate(scenario.sources):
            fixed = self.sources[number]
            steps = -1 if source.requires is None else router.plan([(None, dict(source.requires))])
            world.add_source(**fixed, steps=steps, **_arrivals(scenario, source, (seed, replication, number)))
        start = time.perf_counter()
        self.worlds.add(world)
        if self.halted:  # looked at after the world can be seen, so that none slips through
            world.halt()
        code = world.run()
        seconds = time.perf_counter() - start
        self.worlds.discard(world)
        if code != 0:
            raise _refused(code, scenario.max_alive)
        return Run(*world.results(), world.work(), seconds, world.records())

    def halt(self) -> None:
        """End every run, those that have not begun included; what they counted is lost."""
        self.halted = True
        for world in list(self.worlds):
            world.halt()

    def result(self, runs: Sequence[Run], seed: int) -> SimulationResult:
        """Replications (or the batches of one) stacked, by queue and by group of agents."""
        counters = np.concatenate([run.counters[:-1] for run in runs])
        bins = np.concatenate([run.bins[:-1] for run in runs]).astype(np.int64)
        rows = np.concatenate([run.agents[:-1] for run in runs])
        counts = Counts(counters, bins, rows[:, :, : len(STATES)], rows[:, :, len(STATES)], self._seconds(len(runs)))
        queues = {
            q.name: QueueResult(q.name, q.target_within, counts.queues[:, i], counts.waits[:, i], counts.seconds)
            for i, q in enumerate(self.asked.queues)
        }
        longest = counts.queues[:, :, _LONGEST].max(axis=1)
        whole = counts.queues.sum(axis=1)
        whole[:, _LONGEST] = longest
        seconds = counts.seconds
        total = QueueResult("total", self.asked.queues[0].target_within, whole, counts.waits.sum(axis=1), seconds)
        return SimulationResult(
            queues=queues,
            total=total,
            groups=_groups(self.asked.agents, counts),
            everyone=_group("all agents", range(len(self.asked.agents)), self.asked.agents, counts),
            replications=len(seconds),
            seed=seed,
            contacts=sum(run.work[0] for run in runs),
            events=sum(run.work[1] for run in runs),
            kernel_seconds=sum(run.seconds for run in runs),
            records=tuple(run.records for run in runs) if self.records else (),
        )

    def _seconds(self, runs: int) -> npt.NDArray[np.float64]:
        return np.tile(np.diff(self.batch_at) / _US, runs)


_LONGEST = 12


def draws_wrap_up(scenario: Scenario) -> bool:
    """Whether the world ends some wrap-ups, and so has to end all of them."""
    drawn = [one.wrap_up for one in scenario.sources] + [one.wrap_up for one in scenario.campaigns]
    return any(law is not None for law in drawn)


def _refused(code: int, max_alive: int) -> CordboardError | MemoryError:
    if code == -11:
        return LimitError(
            "more contacts were alive at once than the scenario's max_alive",
            max_alive,
            "More agents, less patience or a max_waiting keep queues finite; or raise max_alive",
        )
    if code == -1:
        return MemoryError("the simulation ran out of memory")
    return CordboardError(f"the router refused an event of the simulation with code {code}")


def _arrivals(scenario: Scenario, source: Source, seed: tuple[int, int, int]) -> dict[str, Any]:
    """The arrivals of one source in one replication, with its factors drawn."""
    root, replication, number = seed
    state = np.random.SeedSequence(root, spawn_key=(replication, number)).generate_state(4, np.uint64)
    common = {"arrival_seed": int(state[0]), "key_seed": int(state[1])}
    if isinstance(source.arrivals, Trace):
        times = np.rint(np.array(source.arrivals.times, np.float64) * _US).astype(np.int64)
        times = times[times <= round(scenario.duration * _US)]
        return {**common, "trace": times, "piece_end": (), "piece_rate": ()}
    ends, rates = pieces_of(source.arrivals, scenario.duration, int(state[2]), int(state[3]))
    return {**common, "trace": None, "piece_end": ends * _US, "piece_rate": rates / (3600.0 * _US)}


def pieces_of(
    arrivals: Rates, duration: float, day_seed: int, interval_seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ends (seconds) and rates (an hour) of the pieces up to ``duration``, periods repeated, factors multiplied in."""
    starts = np.array([start for start, _ in arrivals.pieces])
    rates = np.array([rate for _, rate in arrivals.pieces])
    period = arrivals.period or duration
    periods = max(1, int(np.ceil(duration / period)))
    all_starts = (np.arange(periods)[:, None] * period + starts[None, :]).ravel()
    all_rates = np.tile(rates, periods)
    if arrivals.day_scv > 0:
        all_rates = all_rates * np.repeat(Gamma(1.0, arrivals.day_scv).draw(periods, day_seed), len(rates))
    if arrivals.interval_scv > 0:
        all_rates = all_rates * Gamma(1.0, arrivals.interval_scv).draw(len(all_rates), interval_seed)
    within = all_starts < duration
    ends = np.append(all_starts[within][1:], duration)
    return ends, all_rates[within]


_OFFLINE, _AWAY, _READY = 0, 1, 2


def shift_plan(center: Center, scenario: Scenario) -> tuple[Any, Any, Any]:
    """(time us, agent, presence) of every change, in time order then agent order."""
    of = {name: shift for shift in scenario.shifts for name in shift.agents}
    general = next((shift for shift in scenario.shifts if not shift.agents), None)
    lines: list[tuple[int, int, int]] = []
    for number, agent in enumerate(center.agents):
        shift = of.get(agent.name, general)
        if shift is None:
            lines.append((0, number, _READY))
        else:
            lines.extend((round(t * _US), number, presence) for t, presence in _hours(shift, scenario.duration))
    lines.sort()
    columns = np.array(lines, np.int64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1].astype(np.int32), columns[:, 2].astype(np.int32)


def _hours(shift: Shift, duration: float) -> list[tuple[float, int]]:
    """(second, presence) of one shift up to ``duration``."""
    out: list[tuple[float, int]] = []
    first = 0.0
    while first < duration:
        for i, (start, end) in enumerate(shift.work):
            last = i == len(shift.work) - 1
            out.append((first + start, _READY))
            out.append((first + end, _OFFLINE if last else _AWAY))
        if shift.period is None:
            break
        first += shift.period
    return out


def _groups(agents: Sequence[Agent], counts: Counts) -> tuple[GroupResult, ...]:
    members: dict[tuple[Any, ...], list[int]] = {}
    for i, agent in enumerate(agents):
        queues = None if agent.queues is None else tuple(sorted(agent.queues.items()))
        key = (tuple(sorted(agent.skills.items())), queues, tuple(sorted(agent.capacity.items())), agent.blend)
        members.setdefault(key, []).append(i)
    out = []
    for at in members.values():
        first = agents[at[0]].name
        out.append(_group(first if len(at) == 1 else f"{first} +{len(at) - 1}", at, agents, counts))
    return tuple(out)


def _group(name: str, at: Sequence[int], agents: Sequence[Agent], counts: Counts) -> GroupResult:
    states, handled = counts.agents[:, list(at)].sum(axis=1), counts.handled[:, list(at)].sum(axis=1)
    return GroupResult(name, tuple(agents[i].name for i in at), states, handled)
