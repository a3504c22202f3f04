"""Feed a journal to an engine, line by line.

``replay`` gives an :class:`Answer` for every line: what the engine did, or why it could not take the line. A line that
can't be taken changes nothing but this: timers that were due before it have fired, as they would have without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from cordboard.center import Center, parse_center
from cordboard.errors import CordboardError, EventError, InputError, JournalError, UnknownNameError, Where
from cordboard.journal import CALL_EVENTS, Event, nearest, read_journal, tick
from cordboard.kpi import QueueTallies

Effect = dict[str, Any]


class Engine(Protocol):
    """What a replay needs of an engine; ``cordboard.Acd`` has it."""

    @property
    def now(self) -> float: ...

    def apply(self, event: Event) -> list[Effect]: ...

    def advance(self, t: float) -> list[Effect]: ...

    def next_timer(self) -> float | None: ...

    def with_center(self, center: Center, t: float) -> tuple[Engine, list[Effect]]: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one line. ``fired`` are the effects of the timers before it, ``effects`` its own.

    ``event`` is None where the line could not be read, and at the end of a replay with ``until``.
    """

    line: int
    event: Event | None
    fired: list[Effect]
    effects: list[Effect]
    error: CordboardError | None = None


def replay(
    engine: Engine, center: Center, stream: BinaryIO, file: str = "<journal>", until: float | None = None
) -> Iterator[Answer]:
    """Feed every line of the journal to the engine.

    With ``until`` (seconds), lines later than that are not taken, and at the end the timers up to and at ``until``
    fire; without it, nothing happens after the last line.
    """
    agents, queues = _names(center)
    number = 0
    for number, item in read_journal(stream, file):
        if isinstance(item, JournalError):
            yield Answer(number, None, [], [], item)
            continue
        if until is not None and tick(item["t"]) > tick(until):
            break
        fired: list[Effect] = []
        try:
            _check_names(item, agents, queues)
            if tick(item["t"]) < tick(engine.now):
                what = f"the time goes back: {item['t']} after {engine.now}"
                raise EventError(what, Where(key="t"), "Sort the journal by time")
            fired = fire_timers(engine, item["t"])
            if item["event"] in CALL_EVENTS:
                engine = with_calls(engine)
            if item["event"] == "center_changed":
                changed = parse_center(item["center"], f"{file}:{number}")
                engine, effects = engine.with_center(changed, item["t"])
                agents, queues = _names(changed)
            else:
                effects = engine.apply(item)
            yield Answer(number, item, fired, effects)
        except InputError as error:
            yield Answer(number, item, fired, [], error.at(Where(file, number)))
        except CordboardError as error:  # a bound was reached
            yield Answer(number, item, fired, [], error)
    if until is not None and tick(until) >= tick(engine.now):
        yield Answer(number, None, engine.advance(until), [])


def with_calls(engine: Engine) -> Engine:
    """The engine that goes on when an event of calls comes."""
    from cordboard.acd import Acd  # late: most journals have no calls
    from cordboard.calls import switchboard

    return switchboard.with_calls(engine) if isinstance(engine, Acd) else engine


def _names(center: Center) -> tuple[frozenset[str], frozenset[str]]:
    """The names of its agents and queues."""
    return frozenset(agent.name for agent in center.agents), frozenset(queue.name for queue in center.queues)


def fire_timers(engine: Engine, t: float) -> list[Effect]:
    """Let the timers that are due up to and at ``t`` fire; the clock stops at the last of them."""
    fired: list[Effect] = []
    due = engine.next_timer()
    while due is not None and tick(due) <= tick(t):
        fired += engine.advance(due)
        due = engine.next_timer()
    return fired


def _check_names(event: Event, agents: frozenset[str], queues: frozenset[str]) -> None:
    """Names that the center does not have, before any timer fires for a line that can't be taken."""
    for key, kind, known in (
        ("agent", "agent", agents),
        ("queue", "queue", queues),
        ("preferred_agent", "agent", agents),
    ):
        name = event.get(key)
        if name is not None and name not in known:
            raise UnknownNameError(f'there is no {kind} "{name}"', Where(key=key), nearest(name, sorted(known)))
    for name in event.get("values", ()):
        if name not in agents:
            raise UnknownNameError(f'there is no agent "{name}"', Where(key="values"), nearest(name, sorted(agents)))


@dataclass(slots=True)
class Summary:
    """Counts of a replay: lines taken and skipped, effects by kind, and the tallies of every queue."""

    tallies: QueueTallies
    lines: int = 0
    skipped: int = 0
    ended_at: float = 0.0
    effects: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, center: Center) -> Summary:
        return cls(QueueTallies({queue.name: queue.target_within for queue in center.queues}))

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        self.lines += answer.event is not None and answer.error is None
        self.skipped += answer.error is not None
        self.tallies.observe(None, answer.fired)
        if answer.event is not None and answer.error is None:
            if answer.event["event"] == "center_changed":
                queues = parse_center(answer.event["center"]).queues
                self.tallies.add_queues({queue.name: queue.target_within for queue in queues})
            self.tallies.observe(answer.event, answer.effects)
            self.ended_at = answer.event["t"]
        self._count(answer.fired)
        self._count(answer.effects)

    def _count(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            self.effects[effect["effect"]] += 1
            self.ended_at = max(self.ended_at, effect["t"])
