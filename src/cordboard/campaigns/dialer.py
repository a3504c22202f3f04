"""Who dials: follows the journal, asks the pacers, and has the engine dial, cancel and account for every attempt.

It decides from the journal alone: its time is that of the journal's last entry (while a campaign dials and nothing
happens, ``clock`` events keep that going), its agents and calls are the engine's. What it decides goes into the journal
as events; a replay of the journal needs no pacer. What has come of the entries of a list it writes into the ``Book``.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cordboard.calls.campaign import Campaign
from cordboard.calls.config import Calls
from cordboard.calls.switchboard import Switchboard
from cordboard.campaigns import hours
from cordboard.campaigns.book import Attempt, Book, Place
from cordboard.campaigns.shelf import Shelf
from cordboard.center import Center, serves
from cordboard.errors import (
    CompactedError,
    SlowReaderError,
    StaleEventError,
    StoreError,
    UnavailableError,
    UnknownNameError,
    Where,
)
from cordboard.journal import nearest
from cordboard.live import Engine, Entry, Subscription
from cordboard.pacing.group import PacerGroup
from cordboard.pacing.ledger import Ledger, WindowState
from cordboard.pacing.modes import Asked, Limits
from cordboard.pacing.pacer import AgentState, CallEvent, Leads, Pacer, Plan
from cordboard.pacing.rules import AnsweredCall, rule

STEP_S = 0.02  # between two decisions at least
SHARE = 0.02  # of the writer's time that looks may take: 0.7 ms for 500 agents, 20 ms for 15,000
QUIET_S = 0.5  # and at least, if nothing happens
IDLE_S = 1.0  # and at most
ACTOR = "cordboard campaign"
WRITE_S = 0.25  # between two transactions of the book
RETRY_S = 5.0  # after which an entry is tried again that could not be dialed
LEARN_S = 2 * 3600.0  # attempts so young teach a pacer after a restart
AGENTS: dict[str, AgentState] = {"ready": "idle", "offered": "talk", "connected": "talk", "wrap_up": "wrap"}
CALLS: dict[str, CallEvent] = {
    one: one for one in ("connected", "dropped", "hung_up", "invalid", "machine", "cancelled")
}

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Work:
    """One campaign at work."""

    campaign: Campaign
    pacer: Pacer
    shelf: Shelf = field(default_factory=lambda: Shelf(()))
    attempts: dict[int, int] = field(default_factory=dict)  # that an entry has had, if any
    zones: dict[int, str] = field(default_factory=dict)
    plan: Plan | None = None
    running: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """A campaign as it is now. ``entries``: how many are in each state; ``outcomes``: of attempts."""

    name: str
    running: bool
    asked: Asked
    plan: Plan | None
    entries: dict[str, int]
    outcomes: dict[str, int]
    windows: tuple[WindowState, ...]

    @property
    def connect_rate(self) -> float | None:
        """Connected of all attempts."""
        return _share(self.outcomes.get("connected", 0), sum(self.outcomes.values()))

    @property
    def drop_rate(self) -> float | None:
        """Dropped of all that people answered."""
        answered = sum(self.outcomes.get(one, 0) for one in ("connected", "dropped", "hung_up"))
        return _share(self.outcomes.get("dropped", 0), answered)


def _share(part: int, base: int) -> float | None:
    return part / base if base else None


@dataclass(frozen=True, slots=True)
class Scene:
    """What is read from the engine at one instant: who is free, who waits."""

    now: float
    running: frozenset[str]
    agents: dict[str, AgentState]
    waiting: dict[str, int]  # queue of campaigns -> inbound callers who wait for the same agents
    here: frozenset[tuple[str, int]]  # calls of campaigns
    cost: float = 0.0  # seconds of the writer's time


class Dialer:
    """For one engine. ``step`` does what is to be done now; ``start`` has a thread do so until ``close``."""

    def __init__(self, engine: Engine, calls: Calls, book: Book) -> None:
        self._engine, self._calls, self.book = engine, calls, book
        self._open = {(one.campaign, one.entry): one for one in book.open_attempts()}
        self._attempts: dict[tuple[str, int, int], Attempt] = {}  # changed since the book was written
        self._places: dict[tuple[str, int], Place] = {}
        self._revision = self._written = book.revision
        self._written_at = 0.0
        self.now = 0.0
        self._center: Center | None = None
        self._teams: dict[str, tuple[list[str], list[str]]] = {}  # queue -> its agents, their other queues for voice
        self._told: dict[tuple[str, str], AgentState] = {}
        self.works = {name: self._work(name, campaign) for name, campaign in calls.campaigns.items()}
        self._groups = {
            queue: PacerGroup({n: w.pacer for n, w in self.works.items() if w.campaign.queue == queue})
            for queue in {work.campaign.queue for work in self.works.values()}
        }
        self._wake, self._stopping = threading.Event(), False
        self._turn, self._pause = threading.Lock(), STEP_S
        self._renew: set[str] = set()
        self._thread: threading.Thread | None = None
        self._waiting: deque[Entry] = deque()  # what was polled and is not followed yet
        self._subscription: Subscription | None = self._subscribe()
        self._catch_up(self._subscription.revision)

    # ---- how a campaign begins

    def _work(self, name: str, campaign: Campaign) -> Work:
        rules = [rule(one) for one in campaign.rules]
        zone = campaign.time_zone or self._engine.center.time_zone
        limits = Limits(lines=campaign.lines, calls_per_second=campaign.calls_per_second)
        first = self.book.begun(name)
        begun = self._engine.state.t if first is None else first
        pacer = Pacer(
            target=campaign.drops, mode=campaign.mode, rules=rules or None, limits=limits, start=begun, time_zone=zone
        )
        self._teach(name, pacer)
        ledger = Ledger(pacer.ledger.rules, start=begun, time_zone=zone)
        for one in self.book.attempts(name):  # all of them: the legal windows are what happened, not what we remember
            if one.answered is not None and one.decided is not None:
                ledger.record(max(one.decided, ledger.now), _answered(one))
        pacer.ledger = ledger
        return Work(campaign, pacer)

    def _teach(self, name: str, pacer: Pacer) -> None:
        """Let a new pacer see the last attempts again, so that it need not begin from nothing."""
        seen: list[tuple[float, int, str, CallEvent]] = []
        young = self._engine.state.t - LEARN_S
        for one in [*self.book.attempts(name, young), *(one for one in self._open.values() if one.campaign == name)]:
            moments: list[tuple[float | None, CallEvent]] = [(one.dialed, "placed"), (one.rang, "ringing")]
            moments += [(one.answered, "answered"), (one.decided, CALLS.get(one.outcome, "failed"))]
            seen += [(t, place, _id(one), event) for place, (t, event) in enumerate(moments) if t is not None]
        for t, _, call, event in sorted(seen):
            with suppress(StaleEventError):
                pacer.call(call, event, t)

    def _fill(self, name: str, work: Work) -> None:
        """Put on the shelf what the book has; what is being dialed is not among it."""
        self._write()
        work.shelf, work.attempts, work.zones = Shelf([hours.parse(one) for one in work.campaign.hours]), {}, {}
        for entry, zone, attempts, due in self.book.ready(name):
            work.zones[entry], work.attempts[entry] = zone, attempts
            work.shelf.put(entry, zone, due)

    def _catch_up(self, until: int) -> None:
        """What the journal says that the book does not know yet; then nothing is open that the engine has not."""
        for entry in self._journaled(self._revision, until):
            self._follow(entry)
        scene = self._look()
        self._poll()
        self._follow_waiting()
        for key, attempt in list(self._open.items()):
            if key not in scene.here and attempt.dialed < scene.now:
                for effect in ("attempt_outcome", "attempt_ended"):
                    about = {"campaign": key[0], "entry": str(key[1]), "attempt": attempt.attempt, "outcome": "lost"}
                    self._note({"t": scene.now, "effect": effect, **about})
        self._write()

    # ---- following the journal

    def _journaled(self, after: int, until: int) -> Iterator[Entry]:
        try:
            yield from self._engine.entries(after, until)
        except CompactedError:
            log.warning("the journal does not go back to where the book of campaigns ends")

    def _follow_waiting(self, until: float = math.inf) -> None:
        while self._waiting and self._waiting[0].t <= until:
            self._follow(self._waiting.popleft())

    def _follow(self, entry: Entry) -> None:
        for effect in entry.effects:
            if effect["effect"].startswith("attempt_"):
                self._note(effect)
        self._revision = entry.revision
        self.now = max(self.now, entry.t)

    def _note(self, effect: dict[str, Any]) -> None:
        """What has happened to an attempt."""
        campaign, kind, t = effect["campaign"], effect["effect"], effect["t"]
        key = (campaign, int(effect["entry"]) if effect["entry"].isdigit() else -1)
        work = self.works.get(campaign)
        if kind == "attempt_dialed":
            self._open[key] = Attempt(*key, effect["attempt"], t)
            self._places[key] = Place(*key, "calling", effect["attempt"], 0.0, "")
            self._tell(work, self._open[key], "placed", t)
        attempt = self._open.get(key)
        if attempt is None:
            return
        self._attempts[(*key, attempt.attempt)] = attempt
        if kind == "attempt_ringing":
            attempt.rang = t
            self._tell(work, attempt, "ringing", t)
        elif kind == "attempt_answered":
            attempt.answered = t
            self._tell(work, attempt, "answered", t)
        elif kind == "attempt_outcome" and attempt.decided is None:
            attempt.decided, attempt.outcome, attempt.agent = t, effect["outcome"], effect.get("agent", "")
            if attempt.agent:
                self._tell_agent(attempt.agent, "talk", t)
            self._tell(work, attempt, CALLS.get(attempt.outcome, "failed"), t)
        elif kind == "attempt_ended":
            attempt.ended = t
            del self._open[key]
            self._put_back(work, attempt)

    def _tell(self, work: Work | None, attempt: Attempt, event: CallEvent, t: float) -> None:
        if work is not None:
            with suppress(StaleEventError):  # known already, or placed so long ago that the pacer was not told
                self._groups[work.campaign.queue].call(attempt.campaign, _id(attempt), event, t)

    def _put_back(self, work: Work | None, attempt: Attempt) -> None:
        """Once more later, or never."""
        key, ended = (attempt.campaign, attempt.entry), attempt.ended or 0.0
        campaign = None if work is None else work.campaign
        wait = None if campaign is None else campaign.redial.get(attempt.outcome)
        if wait is None or campaign is None or attempt.attempt >= campaign.attempts:
            self._places[key] = Place(*key, "done", attempt.attempt, 0.0, attempt.outcome)
            return
        self._places[key] = Place(*key, "ready", attempt.attempt, ended + wait, attempt.outcome)
        if work is not None and attempt.entry in work.zones:
            work.attempts[attempt.entry] = attempt.attempt
            work.shelf.put(attempt.entry, work.zones[attempt.entry], ended + wait)

    def _write(self) -> None:
        """Bring the book to where we are."""
        if self._revision > self._written or self._attempts:
            self.book.follow(self._revision, self._attempts.values(), self._places.values())
            self._attempts.clear()
            self._places.clear()
            self._written, self._written_at = self._revision, self.now

    # ---- who is there

    def _look(self) -> Scene:
        scene: Scene = self._engine.read_calls(self._scene).result()
        self._pause = max(STEP_S, scene.cost / SHARE)
        return scene

    def _scene(self, board: Switchboard | None) -> Scene:
        """On the writer's thread: short, and only of those who matter."""
        if board is None:
            return Scene(self.now, frozenset(), {}, {}, frozenset())
        begun, acd, here = time.thread_time(), board.acd, frozenset(_keys(board))
        if not board.state.campaigns:
            return Scene(acd.now, frozenset(), {}, {}, here)
        if acd.center is not self._center:
            self._center = acd.center
            self._teams = {queue: _team(acd.center, queue, set(self._groups)) for queue in self._groups}
        agents: dict[str, AgentState] = {}
        for team, _ in self._teams.values():
            for agent in team:
                if agent not in agents:
                    agents[agent] = AGENTS.get(acd.agent_state(agent)["state"], "away")
        waiting = {
            queue: sum(acd.queue_state(other)["waiting"] for other in others)
            for queue, (_, others) in self._teams.items()
        }
        cost = time.thread_time() - begun
        return Scene(acd.now, frozenset(board.state.campaigns), agents, waiting, here, cost)

    def _tell_agent(self, agent: str, state: AgentState, t: float) -> None:
        for queue, (team, _) in self._teams.items():
            if agent in team and self._told.get((queue, agent)) != state:
                self._told[queue, agent] = state
                self._groups[queue].agent(agent, state, t)

    def _tell_scene(self, scene: Scene) -> None:
        self.now = max(self.now, scene.now)
        for agent, state in scene.agents.items():
            self._tell_agent(agent, state, scene.now)
        for queue, waiting in scene.waiting.items():
            for pacer in self._groups[queue].campaigns.values():
                pacer.inbound(waiting, scene.now)
        for name, work in self.works.items():
            was, work.running = work.running, name in scene.running
            if work.running and (not was or name in self._renew):
                self._renew.discard(name)
                self._fill(name, work)

    # ---- deciding

    def step(self) -> float:
        """Do what is to be done now; seconds until something is to be done again if nothing happens before. After an
        error the next step does what this one did not, with the lists as the book has them."""
        with self._turn:
            try:
                return self._step()
            except BaseException:
                self._renew.update(self.works)
                raise

    def _step(self) -> float:
        scene = self._look()
        self._poll()
        quiet = not self._waiting
        self._follow_waiting(scene.now)
        self._tell_scene(scene)
        self._follow_waiting()
        if self.now - self._written_at >= WRITE_S:
            self._write()
        if not any(work.running for work in self.works.values()):
            return IDLE_S
        events: list[dict[str, Any]] = []
        try:
            for group in self._groups.values():
                events.extend(self._decide(group))
        finally:
            self._do(events)
        if not events and quiet:
            self._engine.submit({"event": "clock"}, actor=ACTOR).result()  # so that time goes on in the journal
        look = min(work.plan.look for work in self.works.values() if work.plan is not None)
        return min(max(look - self.now, QUIET_S), IDLE_S)

    def _poll(self) -> None:
        """Take what is new; where that is too much for a subscription, from the journal."""
        while True:
            try:
                if self._subscription is None:
                    self._resume()
                    continue
                found = self._subscription.poll()
            except SlowReaderError:
                self._subscription = None
                continue
            if not found:
                return
            self._waiting.extend(found)

    def _resume(self) -> None:
        made = self._subscribe()
        try:
            reached = self._waiting[-1].revision if self._waiting else self._revision
            self._waiting.extend(self._journaled(reached, made.revision))
        except BaseException:
            made.close()
            raise
        self._subscription = made

    def _subscribe(self) -> Subscription:
        made = self._engine.subscribe(self._engine.state.revision)
        made.on_ready = self._wake.set
        return made

    def _decide(self, group: PacerGroup) -> Iterator[dict[str, Any]]:
        """The events that the plans of a group ask for."""
        works = {name: self.works[name] for name in group.campaigns}
        if not any(work.running for work in works.values()):
            return
        counts = {name: work.shelf.count(self.now) if work.running else 0 for name, work in works.items()}
        plans = group.plan(self.now, {name: [Leads(count=count)] for name, count in counts.items()})
        for name, plan in plans.items():
            works[name].plan = plan
            for call in plan.cancel:
                entry = str(call).partition(".")[0]
                yield {"event": "campaign_cancelled", "campaign": name, "entry": entry}
            yield from self._dials(name, works[name], sum(plan.dial))

    def _dials(self, name: str, work: Work, count: int) -> Iterator[dict[str, Any]]:
        while count > 0 and (entry := work.shelf.take(self.now)) is not None:
            pending = self._places.get((name, entry))
            if (name, entry) in self._open or (pending is not None and pending.state != "ready"):
                continue
            if not self.book.may_dial(name, entry):
                continue
            count -= 1
            attempt = Attempt(name, entry, work.attempts[entry] + 1, self.now)
            self._tell(work, attempt, "placed", self.now)
            yield {"event": "campaign_dialed", "campaign": name, "entry": str(entry), "attempt": attempt.attempt}

    def _do(self, events: list[dict[str, Any]]) -> None:
        """What the engine refuses to dial is tried again later; a cancelling that came too late is none."""
        refused = events
        try:
            outcomes = self._engine.submit_many(events, actor=ACTOR).result() if events else []
            refused = [one.entry.event for one in outcomes if one.entry.error is not None]
        finally:
            for event in refused:
                if event["event"] == "campaign_dialed":
                    work, entry = self.works[event["campaign"]], int(event["entry"])
                    self._tell(work, Attempt(event["campaign"], entry, event["attempt"], 0.0), "cancelled", self.now)
                    work.shelf.put(entry, work.zones[entry], self.now + RETRY_S)

    # ---- at work

    def start(self) -> None:
        """Work in a thread, until ``close``."""
        self._thread = threading.Thread(target=self._run, name="cordboard-dialer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            wait = IDLE_S
            try:
                wait = self.step()
            except UnavailableError:
                if self._engine.state.status == "closed":
                    return
            except Exception:  # whatever it is: nobody else looks after the calls that ring
                log.exception("campaigns can't go on for now")
            self._wake.wait(wait)
            self._wake.clear()
            time.sleep(self._pause)

    def status(self, name: str) -> Status:
        """How a campaign is. UnknownNameError if there is none of that name."""
        work = self.works.get(name)
        if work is None:
            raise UnknownNameError(f'there is no campaign "{name}"', Where(key="name"), nearest(name, self.works))
        with self._turn:
            self._write()
            counts = self.book.counts(name)
            windows = work.pacer.ledger.windows(max(self.now, work.pacer.ledger.now))
            outcomes = {key: count for key, count in counts["attempts"].items() if key}
            asked = work.campaign.mode
            return Status(name, work.running, asked, work.plan, counts["entries"], outcomes, windows)

    def results(self, name: str) -> Iterator[tuple[Any, ...]]:
        """What has come of every entry of a list, up to now; see ``Book.results``."""
        with self._turn:
            self._write()
        return self.book.results(name)

    def renew(self, campaign: str) -> None:
        """The list of a campaign has changed."""
        self._renew.add(campaign)
        self._wake.set()

    def close(self) -> None:
        """Dial no more; calls go on. The book is written, and open for whoever made it."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        if self._subscription is not None:
            self._subscription.close()
        try:
            self._write()
        except StoreError as error:  # the next one takes it from the journal
            log.warning("the book of campaigns is behind: %s", error)


def _id(attempt: Attempt) -> str:
    """What a pacer knows an attempt by."""
    return f"{attempt.entry}.{attempt.attempt}"


def _answered(attempt: Attempt) -> AnsweredCall:
    """An attempt as the ledger counts it."""
    decided = attempt.decided
    agent = decided if attempt.outcome == "connected" else None
    left = decided if attempt.outcome == "hung_up" else None
    machine = attempt.outcome == "machine"
    return AnsweredCall(attempt.answered or 0.0, None, None, agent, left, machine)


def _keys(board: Switchboard) -> Iterator[tuple[str, int]]:
    return ((campaign, int(entry)) for campaign, entry in board.attempts if entry.isdigit())


def _team(center: Center, queue: str, campaigns: Collection[str]) -> tuple[list[str], list[str]]:
    """The agents of a queue, and the other queues for voice that they serve."""
    queues = {one.name: one for one in center.queues}
    team = [agent for agent in center.agents if queue in queues and serves(agent, queues[queue])]
    others = [
        name
        for name, one in queues.items()
        if name not in campaigns and one.channel == "voice" and any(serves(agent, one) for agent in team)
    ]
    return [agent.name for agent in team], others
